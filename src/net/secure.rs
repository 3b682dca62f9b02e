//! TLS on a stream: what is written through it, what it makes of what comes, and when that came.

use std::{
    collections::VecDeque,
    io::{self, Read, Write},
    task::{Context, Poll, ready},
};

use nix::{errno::Errno, libc};
use rustls::ClientConnection;

use super::{
    socket::{self, Watched},
    stream::{Awaited, Line},
    timing::Timing,
};
use crate::clock::{Tick, UnixTime};

/// Read from the socket at a time at most.
const CHUNK: usize = 8_192;

/// Octets of a record before its payload.
const RECORD_HEADER: usize = 5;

/// How it broke.
pub(super) enum Broken {
    Io(io::Error),
    Tls(rustls::Error),
}

/// TLS on a stream.
#[derive(Debug)]
pub(super) struct Secure {
    pub(super) connection: ClientConnection,
    /// Received and not yet taken by TLS.
    received: VecDeque<u8>,
    /// The record that is being received.
    record: Record,
    /// Decrypted bytes at hand.
    plain: usize,
    /// When the last bytes that TLS took arrived.
    pub(super) stamp: Option<UnixTime>,
    /// The peer closed, orderly or not.
    closed: bool,
}

impl Secure {
    pub(super) fn new(connection: ClientConnection) -> Self {
        Self {
            connection,
            received: VecDeque::new(),
            record: Record::default(),
            plain: 0,
            stamp: None,
            closed: false,
        }
    }

    /// Sends what TLS has to send.
    pub(super) fn poll_flush(
        &mut self,
        line: &mut Line<'_>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while self.connection.wants_write() {
            let connection = &mut self.connection;
            let sent =
                ready!(line.poll_writable(context, |mut raw| { connection.write_tls(&mut raw) }));
            if let Err(error) = sent {
                return Poll::Ready(Err(error));
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Gives `outbound` to TLS and sends it.
    pub(super) fn poll_write(
        &mut self,
        line: &mut Line<'_>,
        context: &mut Context<'_>,
        outbound: &mut VecDeque<u8>,
    ) -> Poll<io::Result<()>> {
        loop {
            if let Err(error) = ready!(self.poll_flush(line, context)) {
                return Poll::Ready(Err(error));
            }
            let (front, _) = outbound.as_slices();
            if front.is_empty() {
                return Poll::Ready(Ok(()));
            }
            match self.connection.writer().write(front) {
                Ok(taken) => outbound.drain(..taken),
                Err(error) => return Poll::Ready(Err(error)),
            };
        }
    }

    /// Receives once and lets TLS work on it; how many octets came, 0 at the end. No more than to the end of a record:
    /// what it holds cannot be known before its last octets came, whose time is wanted, nor does it need later ones.
    pub(super) fn poll_take_in(
        &mut self,
        socket: &Watched,
        context: &mut Context<'_>,
        timing: &Timing,
        empty_at: &mut Tick,
    ) -> Poll<Result<usize, Broken>> {
        let mut buffer = [0; CHUNK];
        loop {
            let Poll::Ready(Ok(mut readable)) = socket.poll_read_ready(context) else {
                return Poll::Pending;
            };
            let asked = timing.tick();
            let wanted = self.record.missing().min(CHUNK);
            match socket::receive(socket, &mut buffer[..wanted]) {
                Ok(header) => {
                    self.stamp = header.stamp;
                    let received = &buffer[..header.length];
                    self.record.add(received);
                    self.received.extend(received);
                    let result = self.work().map(|()| header.length).map_err(Broken::Tls);
                    return Poll::Ready(result);
                }
                Err(Errno::EAGAIN) => {
                    *empty_at = asked;
                    readable.clear_ready();
                }
                Err(errno) => return Poll::Ready(Err(Broken::Io(errno.into()))),
            }
        }
    }

    /// Lets TLS work on what was received, up to one bufferful of decrypted bytes.
    fn work(&mut self) -> Result<(), rustls::Error> {
        while self.plain == 0 && !self.received.is_empty() {
            // The only error is a full buffer, which cannot be while nothing is decrypted.
            let taken = self.connection.read_tls(&mut self.received).unwrap_or(0);
            let state = self.connection.process_new_packets()?;
            self.plain = state.plaintext_bytes_to_read();
            self.closed |= state.peer_has_closed();
            if taken == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Decrypted bytes at hand.
    pub(super) fn read(&mut self, into: &mut [u8]) -> usize {
        let mut length = 0;
        while length < into.len() && self.plain > 0 {
            match self.connection.reader().read(&mut into[length..]) {
                Ok(0) | Err(_) => self.plain = 0,
                Ok(read) => {
                    length += read;
                    self.plain = self.plain.saturating_sub(read);
                }
            }
            // An error shows at the next `Await`.
            if self.plain == 0 && self.work().is_err() {
                self.closed = true;
            }
        }
        length
    }

    pub(super) fn poll_awaited(
        &mut self,
        socket: &Watched,
        context: &mut Context<'_>,
        timing: &Timing,
        empty_at: &mut Tick,
    ) -> Poll<Awaited> {
        loop {
            if self.plain > 0 {
                return Poll::Ready(Awaited::Readable(self.stamp));
            }
            if self.closed {
                return Poll::Ready(Awaited::Ended(None, self.stamp));
            }
            // Answers to what the peer asked of TLS itself; if they cannot leave, they leave later.
            let mut sent = *empty_at;
            let mut line = Line {
                socket,
                timing,
                sent: &mut sent,
            };
            let _ = self.poll_flush(&mut line, context);
            match ready!(self.poll_take_in(socket, context, timing, empty_at)) {
                Ok(0) => return Poll::Ready(Awaited::Ended(None, None)),
                Ok(_) => {}
                Err(Broken::Io(error)) => {
                    let errno = error.raw_os_error().unwrap_or(libc::EIO);
                    return Poll::Ready(Awaited::Ended(Some(errno), None));
                }
                Err(Broken::Tls(error)) => {
                    tracing::debug!(%error, "TLS broke");
                    return Poll::Ready(Awaited::Ended(Some(libc::EPROTO), self.stamp));
                }
            }
        }
    }
}

/// Where the records of a TLS stream end.
#[derive(Debug, Default)]
struct Record {
    header: [u8; RECORD_HEADER],
    /// Octets of the header that came.
    known: usize,
    /// Octets of the payload that are still to come.
    left: usize,
}

impl Record {
    /// Octets to the end of the header or of the record; never 0.
    const fn missing(&self) -> usize {
        match self.left {
            0 => RECORD_HEADER - self.known,
            left => left,
        }
    }

    /// Takes note of octets, no more than are missing.
    fn add(&mut self, received: &[u8]) {
        if self.left > 0 {
            self.left -= received.len().min(self.left);
            return;
        }
        for octet in received.iter().take(RECORD_HEADER - self.known) {
            self.header[self.known] = *octet;
            self.known += 1;
        }
        if self.known == RECORD_HEADER {
            let [.., high, low] = self.header;
            self.left = usize::from(u16::from_be_bytes([high, low]));
            self.known = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_told_apart_however_they_come() {
        let stream = [
            &[23, 3, 3, 0, 3, 1, 2, 3][..],
            &[21, 3, 3, 0, 0],
            &[22, 3, 1, 1, 0],
        ]
        .concat();
        let mut record = Record::default();
        let mut wanted = Vec::new();
        for octet in &stream {
            wanted.push(record.missing());
            record.add(&[*octet]);
        }
        let header = [5, 4, 3, 2, 1];
        assert_eq!(wanted, [&header[..], &[3, 2, 1], &header, &header].concat());
        assert_eq!(record.missing(), 256);
        record.add(&[0; 256]);
        assert_eq!(record.missing(), RECORD_HEADER);
    }
}
