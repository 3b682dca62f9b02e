//! A stream of one run: connecting, TLS on top, and bytes that are pulled.
//!
//! Nothing is read from the peer but for an `Await` or a `Read`, so a stranger cannot send more than was asked
//! for. Time-outs are the machine's.

use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    task::{Context, Poll, ready},
    time::Duration,
};

use nix::{errno::Errno, libc};
use socket2::{Socket, Type};
use tokio::io::Interest;

use super::{
    Arrived, Inner, Precision,
    policy::{self, Permit},
    secure::{Broken, Secure},
    socket::{self, Handshake, Stamps, TCP, Watched},
    tap::Tap,
    timing::Timing,
    tls,
};
use crate::{
    clock::{Now, Tick, UnixTime},
    measurement::machine::{
        Call, ChosenBy, Failure, Handle, Input, Stream, TlsFailure, TlsSession,
    },
};

/// The longest that asking for a connection takes by itself.
const CALL: Duration = Duration::from_micros(250);

/// Given for one `Read` at most.
const LARGEST_READ: usize = 256 * 1_024;

/// An open or opening stream.
#[derive(Debug)]
pub(super) struct Link {
    socket: Watched,
    of: (Handle, u64),
    phase: Phase,
    tls: Option<Box<Secure>>,
    /// Hears what the machine reads, and speaks before it does.
    tap: Option<Box<Tap>>,
    /// Written by the machine and not yet taken by the kernel or by TLS.
    outbound: VecDeque<u8>,
    /// Writes that are still to be answered, by what was to be sent up to their end.
    writes: VecDeque<u64>,
    queued: u64,
    taken: u64,
    awaiting: bool,
    /// How the stream ended, once it has.
    ended: Option<Option<i32>>,
    /// When nothing was left to read: later bytes arrived after that.
    empty_at: Tick,
    /// When the first packet left, as well as can be told.
    began: Now,
    _permit: Permit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Connecting,
    Shaking,
    Open,
    /// Failed before it was open; nothing will come any more.
    Dead,
}

impl Link {
    /// Begins to connect.
    pub(super) fn connect(net: &Inner, of: (Handle, u64), spec: &Stream) -> Result<Self, Failure> {
        let address = spec.to.ip();
        policy::check(address, ChosenBy::Command, net.any_address())?;
        let permit = net.sockets.take().ok_or(Failure::Os {
            call: Call::Socket,
            errno: libc::EMFILE,
        })?;
        let (mut tls, mut tap) = (None, None);
        match &spec.tls {
            Some(asked) if asked.only_certificates => {
                tap = Some(Box::new(net.tls.tap(address, asked)?));
            }
            Some(asked) => tls = Some(Box::new(Secure::new(net.tls.client(address, asked)?))),
            None => {}
        }
        let raw = socket::open(address, Type::STREAM, TCP)?;
        socket::bind(&raw, address.is_ipv6(), spec.bind.as_deref())?;
        socket::ask(&raw, address.is_ipv6(), Stamps::Received);
        // Small writes leave at once: waiting for acknowledgements would be measured as the peer's slowness.
        if let Err(error) = raw.set_tcp_nodelay(true) {
            tracing::debug!(%error, "small writes may be delayed");
        }
        // Everything that takes time was done before.
        let asked = net.timing.tick();
        match raw.connect(&spec.to.into()) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
            Err(error) => return Err(socket::failure(Call::Connect, &error)),
        }
        let began = net.timing.back_at(began(&raw, asked, net.timing.tick()));
        Ok(Self {
            socket: socket::watch(raw, Interest::READABLE | Interest::WRITABLE)?,
            of,
            phase: Phase::Connecting,
            tls,
            tap,
            outbound: VecDeque::new(),
            writes: VecDeque::new(),
            queued: 0,
            taken: 0,
            awaiting: false,
            ended: None,
            empty_at: asked,
            began,
            _permit: permit,
        })
    }

    /// When the first packet left, as well as can be told.
    pub(super) const fn began(&self) -> &Now {
        &self.began
    }

    /// Sends `bytes` as soon as the peer takes them.
    pub(super) fn write(&mut self, bytes: &[u8]) {
        self.outbound.extend(bytes);
        self.queued += bytes.len() as u64;
        self.writes.push_back(self.queued);
    }

    /// Tells, once, when something can be read.
    pub(super) fn wait(&mut self) {
        self.awaiting = true;
        self.speak();
    }

    /// Sends what TLS wants to say without the machine.
    fn speak(&mut self) {
        if let Some(tap) = &mut self.tap {
            let bytes = tap.outbound();
            self.queued += bytes.len() as u64;
            self.outbound.extend(bytes);
        }
    }

    /// At most `max` of the bytes at hand, with the time at which the last of them arrived.
    pub(super) fn read(&mut self, timing: &Timing, max: usize) -> (Now, Precision, Vec<u8>) {
        let mut bytes = vec![0; max.min(LARGEST_READ)];
        if self.phase != Phase::Open || bytes.is_empty() {
            return (timing.now(), Precision::Process, Vec::new());
        }
        let (length, stamp) = match &mut self.tls {
            Some(tls) => (tls.read(&mut bytes), tls.stamp),
            None => self.read_plain(timing, &mut bytes),
        };
        bytes.truncate(length);
        let (now, precision) = if bytes.is_empty() {
            (timing.now(), Precision::Process)
        } else {
            timing.stamped(stamp, self.empty_at)
        };
        if let Some(tap) = &mut self.tap {
            tap.hear(&bytes, (now.clone(), precision));
        }
        (now, precision, bytes)
    }

    fn read_plain(&mut self, timing: &Timing, into: &mut [u8]) -> (usize, Option<UnixTime>) {
        let asked = timing.tick();
        match socket::receive(&self.socket, into) {
            Ok(header) => (header.length, header.stamp),
            Err(Errno::EAGAIN) => {
                self.empty_at = asked;
                (0, None)
            }
            Err(errno) => {
                self.ended = Some(Some(errno as i32));
                (0, None)
            }
        }
    }

    /// Goes on as far as possible without waiting; what comes of it goes into `into`.
    pub(super) fn poll(
        &mut self,
        context: &mut Context<'_>,
        timing: &Timing,
        into: &mut VecDeque<Arrived>,
    ) {
        if self.phase == Phase::Connecting {
            match self.poll_connected(context) {
                Poll::Pending => return,
                Poll::Ready(Ok(())) if self.tls.is_some() => self.phase = Phase::Shaking,
                Poll::Ready(Ok(())) => self.connected(timing, into),
                Poll::Ready(Err(cause)) => return self.fail(cause, timing, into),
            }
        }
        if self.phase == Phase::Shaking {
            match self.poll_handshake(context, timing) {
                Poll::Pending => return,
                Poll::Ready(Ok(())) => self.connected(timing, into),
                Poll::Ready(Err(cause)) => return self.fail(cause, timing, into),
            }
        }
        if self.phase == Phase::Open {
            self.poll_writes(context, timing, into);
            if self.awaiting {
                self.poll_awaited(context, timing, into);
            }
        }
    }

    fn poll_connected(&self, context: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        loop {
            let Poll::Ready(Ok(mut writable)) = self.socket.poll_write_ready(context) else {
                return Poll::Pending;
            };
            match self.socket.get_ref().take_error() {
                Ok(Some(error)) | Err(error) => {
                    return Poll::Ready(Err(socket::failure(Call::Connect, &error)));
                }
                Ok(None) => {}
            }
            if self.socket.get_ref().peer_addr().is_ok() {
                return Poll::Ready(Ok(()));
            }
            // Not connected and no error: woken too early.
            writable.clear_ready();
        }
    }

    fn poll_handshake(
        &mut self,
        context: &mut Context<'_>,
        timing: &Timing,
    ) -> Poll<Result<(), Failure>> {
        let broken = |error: io::Error| socket::failure(Call::Connect, &error);
        loop {
            let Some(tls) = &mut self.tls else {
                return Poll::Ready(Ok(()));
            };
            let mut sent = self.empty_at;
            let mut line = Line {
                socket: &self.socket,
                timing,
                sent: &mut sent,
            };
            match tls.poll_flush(&mut line, context) {
                Poll::Ready(result) => result.map_err(broken)?,
                Poll::Pending => return Poll::Pending,
            }
            if !tls.connection.is_handshaking() {
                return Poll::Ready(Ok(()));
            }
            match ready!(tls.poll_take_in(&self.socket, context, timing, &mut self.empty_at)) {
                Ok(0) => return Poll::Ready(Err(Failure::Tls(TlsFailure::Closed))),
                Ok(_) => {}
                Err(Broken::Io(error)) => return Poll::Ready(Err(broken(error))),
                Err(Broken::Tls(error)) => {
                    // Our alert, if it can leave at once; the stream is given up either way.
                    let _ = tls.poll_flush(&mut line, context);
                    return Poll::Ready(Err(tls::failure(&error)));
                }
            }
        }
    }

    fn connected(&mut self, timing: &Timing, into: &mut VecDeque<Arrived>) {
        let raw = self.socket.get_ref();
        let local = match socket::local(raw) {
            Ok(local) => local,
            Err(cause) => return self.fail(cause, timing, into),
        };
        let handshake = socket::handshake(raw);
        self.phase = Phase::Open;
        let input = Input::Connected {
            on: self.of.0,
            local: SocketAddr::new(local.ip(), local.port()),
            handshake: handshake.round_trip,
            tls: self.tls.as_ref().map(|tls| tls::session(&tls.connection)),
        };
        let (now, precision) = match &self.tls {
            Some(tls) => timing.stamped(tls.stamp, self.empty_at),
            None => self.connected_at(handshake, timing),
        };
        into.push_back(Arrived {
            now,
            precision,
            input,
            of: Some(self.of),
            card: None,
        });
        self.speak();
    }

    /// When TCP came to stand: from the kernel, not from when we noticed.
    fn connected_at(&self, handshake: Handshake, timing: &Timing) -> (Now, Precision) {
        let (began, noticed) = (self.began.peek(), timing.tick());
        match handshake.round_trip {
            Some(round_trip) => {
                let stood = (began + round_trip).min(noticed);
                (timing.back_at(stood), Precision::Kernel)
            }
            None => {
                let stood = (noticed - handshake.ago).max(began);
                (timing.back_at(stood), Precision::Process)
            }
        }
    }

    fn fail(&mut self, cause: Failure, timing: &Timing, into: &mut VecDeque<Arrived>) {
        self.phase = Phase::Dead;
        let input = Input::Failed {
            on: self.of.0,
            tag: None,
            cause,
        };
        into.push_back(Arrived::noticed(timing.now(), Some(self.of), input));
    }

    fn poll_writes(
        &mut self,
        context: &mut Context<'_>,
        timing: &Timing,
        into: &mut VecDeque<Arrived>,
    ) {
        if self.writes.is_empty() && self.outbound.is_empty() {
            return;
        }
        let mut sent = timing.tick();
        let mut line = Line {
            socket: &self.socket,
            timing,
            sent: &mut sent,
        };
        let done = match &mut self.tls {
            Some(tls) => tls.poll_write(&mut line, context, &mut self.outbound),
            None => line.poll_write(context, &mut self.outbound),
        };
        let sent = timing.back_at(sent);
        self.taken = self.queued - self.outbound.len() as u64;
        match done {
            Poll::Ready(Err(error)) => {
                for _ in self.writes.drain(..) {
                    let input = Input::Failed {
                        on: self.of.0,
                        tag: None,
                        cause: socket::failure(Call::Write, &error),
                    };
                    into.push_back(Arrived::noticed(timing.now(), Some(self.of), input));
                }
            }
            // With TLS taken means taken by TLS until all has been flushed.
            Poll::Pending if self.tls.is_some() => {}
            Poll::Ready(Ok(())) | Poll::Pending => {
                while self.writes.front().is_some_and(|end| *end <= self.taken) {
                    self.writes.pop_front();
                    let on = self.of.0;
                    let input = Input::Written { on };
                    into.push_back(Arrived::noticed(sent.clone(), Some(self.of), input));
                }
                self.acknowledge_at_once();
            }
        }
    }

    /// Lets the next acknowledgements leave without delay. A server that holds back small writes until earlier ones
    /// are acknowledged (a response behind session tickets, a body behind its header) would seem 40 ms slower.
    fn acknowledge_at_once(&self) {
        if let Err(error) = self.socket.get_ref().set_tcp_quickack(true) {
            tracing::trace!(%error, "acknowledgements may be delayed");
        }
    }

    fn poll_awaited(
        &mut self,
        context: &mut Context<'_>,
        timing: &Timing,
        into: &mut VecDeque<Arrived>,
    ) {
        if let Some(tap) = &mut self.tap
            && let Some(end) = tap.take_end()
        {
            let at = tap.heard.take();
            let at = at.unwrap_or_else(|| (timing.now(), Precision::Process));
            return self.tapped(end, at, into);
        }
        let found = match self.ended {
            Some(errno) => Poll::Ready(Awaited::Ended(errno, None)),
            None => match &mut self.tls {
                Some(tls) => tls.poll_awaited(&self.socket, context, timing, &mut self.empty_at),
                None => self.poll_awaited_plain(context, timing),
            },
        };
        let Poll::Ready(found) = found else { return };
        let on = self.of.0;
        let (input, stamp) = match found {
            Awaited::Readable(stamp) => (Input::Readable { on }, stamp),
            Awaited::Ended(errno, stamp) => {
                self.ended = Some(errno);
                (Input::Ended { on, errno }, stamp)
            }
        };
        self.awaiting = false;
        let (now, precision) = match stamp {
            Some(_) => timing.stamped(stamp, self.empty_at),
            None => (timing.now(), Precision::Process),
        };
        into.push_back(Arrived {
            now,
            precision,
            input,
            of: Some(self.of),
            card: None,
        });
    }

    /// Tells what TLS has come to, as of the octets that brought it there.
    fn tapped(
        &mut self,
        end: Result<TlsSession, Failure>,
        (now, precision): (Now, Precision),
        into: &mut VecDeque<Arrived>,
    ) {
        self.awaiting = false;
        let on = self.of.0;
        let input = match end {
            Ok(tls) => Input::Certified { on, tls },
            Err(cause) => Input::Failed {
                on,
                tag: None,
                cause,
            },
        };
        into.push_back(Arrived {
            now,
            precision,
            input,
            of: Some(self.of),
            card: None,
        });
    }

    fn poll_awaited_plain(&mut self, context: &mut Context<'_>, timing: &Timing) -> Poll<Awaited> {
        // One octet: the time is that of the first bytes at hand.
        let mut first = [0];
        loop {
            let Poll::Ready(Ok(mut readable)) = self.socket.poll_read_ready(context) else {
                return Poll::Pending;
            };
            let asked = timing.tick();
            match socket::peek(&self.socket, &mut first) {
                Ok(header) if header.length == 0 => {
                    return Poll::Ready(Awaited::Ended(None, None));
                }
                Ok(header) => return Poll::Ready(Awaited::Readable(header.stamp)),
                Err(Errno::EAGAIN) => {
                    self.empty_at = asked;
                    readable.clear_ready();
                }
                Err(errno) => return Poll::Ready(Awaited::Ended(Some(errno as i32), None)),
            }
        }
    }
}

/// What an `Await` found, with the kernel's time of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Awaited {
    Readable(Option<UnixTime>),
    Ended(Option<i32>, Option<UnixTime>),
}

/// When the first packet of a connection left that was asked for at `asked`; at `back` the call was over. The packet
/// leaves at its end, or, where an answer came within the call, a round trip before it. A call that took long was
/// interrupted, nobody knows where.
fn began(socket: &Socket, asked: Tick, back: Tick) -> Tick {
    if back.since(asked) > CALL {
        return asked;
    }
    let answered = socket::handshake(socket).round_trip;
    (back - answered.unwrap_or_default()).max(asked)
}

/// A socket that is written to.
pub(super) struct Line<'a> {
    pub(super) socket: &'a Watched,
    pub(super) timing: &'a Timing,
    /// Just before the last write: nothing of it can have left earlier, and no answer can come before.
    pub(super) sent: &'a mut Tick,
}

impl Line<'_> {
    fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        outbound: &mut VecDeque<u8>,
    ) -> Poll<io::Result<()>> {
        while !outbound.is_empty() {
            let (front, _) = outbound.as_slices();
            match ready!(self.poll_writable(context, |raw| raw.send(front))) {
                Ok(sent) => outbound.drain(..sent),
                Err(error) => return Poll::Ready(Err(error)),
            };
        }
        Poll::Ready(Ok(()))
    }

    /// Tries `write` whenever the socket can be written.
    pub(super) fn poll_writable(
        &mut self,
        context: &mut Context<'_>,
        mut write: impl FnMut(&Socket) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            let mut writable = match ready!(self.socket.poll_write_ready(context)) {
                Ok(writable) => writable,
                Err(error) => return Poll::Ready(Err(error)),
            };
            *self.sent = self.timing.tick();
            match writable.try_io(|socket| write(socket.get_ref())) {
                Ok(result) => return Poll::Ready(result),
                Err(_would_block) => {}
            }
        }
    }
}
