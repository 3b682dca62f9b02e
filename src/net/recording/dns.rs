//! Recordings of `evtdig` (`replay-vectors` sections 4.4 and 5, `dns-measurement` appendix A).
//!
//! Nothing is recorded of resolution and connection failures, so a run that ended in one cannot be replayed.

use std::{
    collections::VecDeque,
    net::{IpAddr, SocketAddr},
};

use super::{Player, Reader, Record, RecordingError, ReplayError, Writer};
use crate::{
    clock::{Now, Tick},
    measurement::{
        Input, Outcome, Output,
        machine::{Datagram, Handle, SocketKind, Stream, TlsSession},
    },
    wire::{http2, protocol},
};

const PACKET: i32 = 1;
const PEER: i32 = 2;
const LOCAL: i32 = 3;
const RESOLVERS: i32 = 4;
const RESOLVER: i32 = 5;
const LENGTH: i32 = 6;
const DATA: i32 = 7;
const CONTROL: i32 = 8;
const TIMEOUT: i32 = 9;
const ADDRINFO: i32 = 10;
const ADDRESS: i32 = 11;

/// The largest datagram that is received, and so recorded.
const MAX_PACKET: usize = 5120;
/// The longest name of a resolver.
const MAX_RESOLVER: usize = 256;
/// The largest piece of a stream that a record may hold.
const MAX_DATA: usize = 65_536;
/// The control messages that a record may hold.
const MAX_CONTROL: usize = 256;
/// More resolvers than any file has.
const MAX_RESOLVERS: i32 = 64;
/// More addresses than any name has.
const MAX_ADDRESSES: usize = 256;
/// Octets of a stream over TCP and TLS that one record holds.
const PIECE: usize = 256;
/// Octets of a control message's header, and of one with a hop limit.
const CONTROL_HEADER: usize = 16;
const CONTROL_MESSAGE: usize = 20;

/// Answers the machine from the records until it is done.
pub(super) fn play(player: &mut Player, reader: &mut Reader<'_>) -> Result<Outcome, ReplayError> {
    let mut playing = Playing::default();
    loop {
        let input = match player.next() {
            Some(Output::Done(outcome)) => return Ok(outcome),
            Some(output) => playing.answer(output, reader, player)?,
            None => playing.event(reader)?,
        };
        player.tell(input);
        playing.look_for_close(player);
    }
}

/// Where a replay stands.
#[derive(Default)]
struct Playing {
    /// Local addresses for the sockets that are opened next.
    locals: VecDeque<SocketAddr>,
    /// The socket that an answer is awaited on.
    awaited: Option<Handle>,
    /// What a record held beyond what was asked for.
    left_over: VecDeque<u8>,
}

impl Playing {
    /// The answer to one thing that the machine wants.
    fn answer(
        &mut self,
        output: Output,
        reader: &mut Reader<'_>,
        player: &Player,
    ) -> Result<Input, ReplayError> {
        Ok(match output {
            Output::Resolvers { .. } => resolvers(reader)?,
            Output::Resolve { .. } => Input::Resolved(Ok(self.resolve(reader)?)),
            Output::Open { on, socket } => {
                let any = SocketAddr::new(socket.to, 0);
                Input::Opened {
                    on,
                    local: self.locals.pop_front().unwrap_or(any),
                    ident: 0,
                }
            }
            Output::Send { on, packet } => {
                self.awaited = Some(on);
                Input::Sent {
                    on,
                    tag: packet.tag,
                }
            }
            Output::Connect { on, stream } => {
                self.left_over.clear();
                if reader.peek() == Some(TIMEOUT) {
                    return Ok(timeout(reader)?);
                }
                connected(on, &stream, reader.take_address(LOCAL)?)
            }
            Output::Write { on, .. } => Input::Written { on },
            Output::Await { on } => match reader.peek() {
                Some(TIMEOUT) if self.left_over.is_empty() => timeout(reader)?,
                _ => Input::Readable { on },
            },
            Output::Read { on, max } => self.read(on, max, reader)?,
            other => return Err(player.unanswerable(Some(&other))),
        })
    }

    /// What happens while the machine waits: the answer to a datagram, or the end of a pause.
    fn event(&mut self, reader: &mut Reader<'_>) -> Result<Input, ReplayError> {
        let Some(on) = self.awaited else {
            return Ok(Input::Deadline);
        };
        if reader.peek() == Some(TIMEOUT) {
            return Ok(timeout(reader)?);
        }
        let datagram = datagram(reader)?;
        Ok(Input::Datagram { on, datagram })
    }

    /// A socket that the machine closes is no longer listened on.
    fn look_for_close(&mut self, player: &Player) {
        for output in &player.outputs {
            if let Output::Close { on } = output
                && self.awaited == Some(*on)
            {
                self.awaited = None;
            }
        }
    }

    /// The addresses of a server: one behind a stream; for datagrams as many as follow one another.
    fn resolve(&mut self, reader: &mut Reader<'_>) -> Result<Vec<IpAddr>, RecordingError> {
        if reader.peek() == Some(PEER) {
            return Ok(vec![reader.take_address(PEER)?.ip()]);
        }
        let mut addresses = Vec::new();
        self.locals.clear();
        loop {
            let more = reader.take_addrinfo(ADDRINFO)?;
            addresses.push(reader.take_address(ADDRESS)?.ip());
            self.locals.push_back(reader.take_address(LOCAL)?);
            if !more || addresses.len() >= MAX_ADDRESSES {
                return Ok(addresses);
            }
        }
    }

    /// One record of a stream, or what the one before held too much. None comes where time is up.
    fn read(
        &mut self,
        on: Handle,
        max: usize,
        reader: &mut Reader<'_>,
    ) -> Result<Input, RecordingError> {
        if self.left_over.is_empty() && reader.peek() != Some(TIMEOUT) {
            let kind = match reader.peek() {
                Some(LENGTH) => LENGTH,
                _ => DATA,
            };
            self.left_over.extend(reader.take(kind, MAX_DATA)?);
        }
        let end = self.left_over.len().min(max);
        Ok(Input::Read {
            on,
            bytes: self.left_over.drain(..end).collect(),
        })
    }
}

fn resolvers(reader: &mut Reader<'_>) -> Result<Input, RecordingError> {
    let count = reader.take_i32(RESOLVERS, "number of resolvers")?;
    let mut servers = Vec::new();
    for _ in 0..count.min(MAX_RESOLVERS) {
        let text = reader.take(RESOLVER, MAX_RESOLVER)?;
        servers.push(String::from_utf8_lossy(text).into_owned());
    }
    Ok(Input::Resolvers(servers))
}

fn timeout(reader: &mut Reader<'_>) -> Result<Input, RecordingError> {
    reader.take(TIMEOUT, 0)?;
    Ok(Input::Deadline)
}

/// A connection; TLS agreed to whatever was offered.
fn connected(on: Handle, stream: &Stream, local: SocketAddr) -> Input {
    let tls = stream.tls.as_ref().map(|tls| TlsSession {
        alpn: tls.alpn.first().cloned(),
        ..TlsSession::default()
    });
    Input::Connected {
        on,
        local,
        handshake: None,
        tls,
    }
}

fn datagram(reader: &mut Reader<'_>) -> Result<Datagram, RecordingError> {
    let bytes = reader.take(PACKET, MAX_PACKET)?.to_vec();
    let from = reader.take_address(PEER)?;
    let hop_limit = hop_limit(reader.take(CONTROL, MAX_CONTROL)?);
    Ok(Datagram {
        from,
        to: None,
        hop_limit,
        tos: None,
        bytes,
        protocol: protocol::UDP,
    })
}

/// The hop limit or TTL in control messages: each has a length of 8 octets, a level, a type and a value of 4 each,
/// and is padded to a multiple of 8 (`replay-vectors` section 4).
fn hop_limit(mut control: &[u8]) -> Option<u8> {
    while let Some(message) = control.first_chunk::<CONTROL_MESSAGE>() {
        let word = |at: usize| {
            i32::from_le_bytes([
                message[at],
                message[at + 1],
                message[at + 2],
                message[at + 3],
            ])
        };
        if matches!((word(8), word(12)), (IP, IP_TTL) | (IPV6, IPV6_HOP_LIMIT)) {
            return u8::try_from(word(16)).ok();
        }
        let length = message
            .first_chunk()
            .map_or(0, |length| u64::from_le_bytes(*length));
        let length = usize::try_from(length).ok()?.max(CONTROL_HEADER);
        control = control.get(length.checked_next_multiple_of(8)?..)?;
    }
    None
}

/// Levels and types of control messages on Linux.
const IP: i32 = 0;
const IP_TTL: i32 = 2;
const IPV6: i32 = 41;
const IPV6_HOP_LIMIT: i32 = 52;

/// A live run in the making of its recording.
#[derive(Debug, Default)]
pub(super) struct Recording {
    writer: Writer,
    /// The socket or stream that is open.
    on: Option<Handle>,
    /// Where its datagrams go.
    to: Option<SocketAddr>,
    /// How many addresses have no socket yet.
    sockets_to_come: usize,
    stream: Option<Heard>,
}

/// What was read of a stream.
#[derive(Debug)]
struct Heard {
    https: bool,
    bytes: Vec<u8>,
}

impl Record for Recording {
    fn input(&mut self, _at: &Now, input: &Input) {
        match input {
            Input::Resolvers(servers) => {
                let count = i32::try_from(servers.len()).unwrap_or(i32::MAX);
                self.writer.put(RESOLVERS, &count.to_le_bytes());
                for server in servers {
                    self.writer.put(RESOLVER, server.as_bytes());
                }
            }
            Input::Resolved(Ok(addresses)) => self.sockets_to_come = addresses.len(),
            Input::Opened { on, local, .. } if self.on == Some(*on) => {
                if let Some(to) = self.to {
                    self.sockets_to_come = self.sockets_to_come.saturating_sub(1);
                    let more = self.sockets_to_come > 0;
                    self.writer.put_addrinfo(ADDRINFO, to.ip(), more);
                    self.writer.put_address(ADDRESS, to);
                    self.writer.put_address(LOCAL, *local);
                }
            }
            Input::Datagram { on, datagram } if self.on == Some(*on) => self.datagram(datagram),
            Input::Connected { on, local, .. } if self.on == Some(*on) => {
                self.writer.put_address(LOCAL, *local);
            }
            Input::Read { on, bytes } if self.on == Some(*on) => {
                if let Some(heard) = &mut self.stream {
                    heard.bytes.extend_from_slice(bytes);
                }
            }
            // Of a pause, not of an attempt, where nothing is open.
            Input::Deadline if self.on.is_some() => {
                self.put_stream();
                self.writer.put(TIMEOUT, &[]);
            }
            _ => {}
        }
    }

    fn output(&mut self, _at: Tick, output: &Output) {
        match output {
            Output::Open { on, socket } => {
                self.on = Some(*on);
                self.to = match socket.kind {
                    SocketKind::Udp { port } => Some(SocketAddr::new(socket.to, port)),
                    _ => None,
                };
            }
            Output::Connect { on, stream } => {
                self.on = Some(*on);
                let offered = stream.tls.as_ref().is_some_and(|tls| !tls.alpn.is_empty());
                self.writer.put_address(PEER, stream.to);
                self.stream = Some(Heard {
                    https: offered,
                    bytes: Vec::new(),
                });
            }
            Output::Close { on } if self.on == Some(*on) => {
                self.put_stream();
                self.on = None;
            }
            _ => {}
        }
    }

    fn finish(mut self: Box<Self>) -> Vec<u8> {
        self.put_stream();
        self.writer.finish()
    }
}

impl Recording {
    fn datagram(&mut self, datagram: &Datagram) {
        let bytes = &datagram.bytes;
        self.writer
            .put(PACKET, &bytes[..bytes.len().min(MAX_PACKET)]);
        // Sixteen octets whatever the family.
        let mut peer = Writer::new();
        peer.put_address(PEER, datagram.from);
        let peer = peer.finish();
        let address = &peer[peer.len().min(RECORD_HEADER)..];
        self.writer.put(PEER, &address[..address.len().min(16)]);
        let control = datagram.hop_limit.map_or_else(Vec::new, |limit| {
            let (level, kind) = match datagram.from {
                SocketAddr::V4(_) => (IP, IP_TTL),
                SocketAddr::V6(_) => (IPV6, IPV6_HOP_LIMIT),
            };
            let mut control = (CONTROL_MESSAGE as u64).to_le_bytes().to_vec();
            for word in [level, kind, i32::from(limit), 0] {
                control.extend(word.to_le_bytes());
            }
            control
        });
        self.writer.put(CONTROL, &control);
    }

    /// Puts down what was read of a stream, in the pieces that a replay expects.
    fn put_stream(&mut self) {
        let Some(Heard { https, bytes, .. }) = self.stream.take() else {
            return;
        };
        if https {
            self.put_frames(&bytes);
        } else if let Some((length, message)) = bytes.split_first_chunk::<2>() {
            self.writer.put(LENGTH, length);
            let length = usize::from(u16::from_be_bytes(*length)).min(message.len());
            for piece in message[..length].chunks(PIECE) {
                self.writer.put(DATA, piece);
            }
        }
    }

    /// Frame headers and payloads by turns; an empty payload has no record.
    fn put_frames(&mut self, mut bytes: &[u8]) {
        while let Some(header) = bytes.first_chunk::<{ http2::FRAME_HEADER }>() {
            let length = u32::from_be_bytes([0, header[0], header[1], header[2]]);
            let rest = &bytes[header.len()..];
            let payload = &rest[..rest
                .len()
                .min(usize::try_from(length).unwrap_or(usize::MAX))];
            self.writer.put(DATA, header);
            if !payload.is_empty() {
                self.writer.put(DATA, payload);
            }
            bytes = &rest[payload.len()..];
        }
    }
}

/// Octets of a record before its data.
const RECORD_HEADER: usize = 12;

#[cfg(test)]
mod tests;
