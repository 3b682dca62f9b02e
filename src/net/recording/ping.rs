//! Recordings of `evping` (`replay-vectors` sections 4.1 and 5).
//!
//! A recording holds exactly one packet for each request. So of a live run that heard more or less, the request's
//! own reply is recorded if it came in time, else a late or repeated one that came meanwhile, else a packet of
//! nobody's, which a replay turns into a loss as the official probe does. Identifier, cookie, sequence number and
//! time in the payload are rewritten to what a replay expects, and the time such that the same round trip comes out.

use std::{
    net::{IpAddr, SocketAddr},
    ops::Range,
    time::Duration,
};

use super::{Player, Reader, Record, ReplayError, STEP, Writer};
use crate::{
    clock::{Now, Tick},
    measurement::{
        Input, Outcome, Output, Seen,
        machine::{Datagram, Handle},
        ping,
    },
    wire::{
        checksum::checksum,
        icmp::{HEADER, Icmp, v4, v6},
        ip::Ipv4,
        protocol,
    },
};

const PACKET: i32 = 1;
const PEER: i32 = 2;
const LOCAL: i32 = 3;
const TTL: i32 = 4;
const DESTINATION: i32 = 5;
const ADDRINFO: i32 = 6;
const ADDRESS: i32 = 7;

/// The identifier octets `2a 00`: process 42 in host byte order.
const IDENTIFIER: u16 = 0x2a00;
/// The largest packet that a record may hold.
const MAX_PACKET: usize = 65_535;
/// Octets of a packet that the official probe receives, and so records.
const RECEIVE_BUFFER: usize = 4076;
/// Another process's identifier.
const FOREIGN_IDENTIFIER: u16 = 0x2b00;

/// Answers the machine from the records until it is done.
pub(super) fn play(player: &mut Player, reader: &mut Reader<'_>) -> Result<Outcome, ReplayError> {
    let mut local = None;
    loop {
        match player.next() {
            Some(Output::Done(outcome)) => return Ok(outcome),
            Some(Output::Resolve { .. }) => {
                local = Some(player.resolve(reader, ADDRINFO, ADDRESS, LOCAL)?);
            }
            Some(Output::Open { on, socket }) => {
                let local = local.unwrap_or(SocketAddr::new(socket.to, 0));
                player.tell(opened(on, local));
            }
            Some(Output::Send { on, packet }) => {
                if local.is_some_and(|local| local.is_ipv6()) {
                    player.tell(opened(on, reader.take_address(LOCAL)?));
                }
                player.tell(Input::Sent {
                    on,
                    tag: packet.tag,
                });
                let datagram = datagram(reader)?;
                player.tell(Input::Datagram { on, datagram });
                if player.is_waiting() {
                    player.tell(Input::Deadline);
                }
            }
            other => return Err(player.unanswerable(other.as_ref())),
        }
    }
}

fn opened(on: Handle, local: SocketAddr) -> Input {
    Input::Opened {
        on,
        local,
        ident: IDENTIFIER,
    }
}

/// A packet with its source; destination and hop limit stand behind an accepted IPv6 reply only.
fn datagram(reader: &mut Reader<'_>) -> Result<Datagram, ReplayError> {
    let bytes = reader.take(PACKET, MAX_PACKET)?.to_vec();
    let from = reader.take_address(PEER)?;
    let (mut to, mut hop_limit) = (None, None);
    if reader.peek() == Some(DESTINATION) {
        to = Some(reader.take_address(DESTINATION)?.ip());
        let [limit] = reader.take_array(TTL, "hop limit")?;
        hop_limit = Some(limit);
    }
    Ok(Datagram {
        from,
        to,
        hop_limit,
        tos: None,
        bytes,
        protocol: if from.is_ipv6() {
            protocol::ICMPV6
        } else {
            protocol::ICMP
        },
    })
}

/// A live run in the making of its recording.
#[derive(Debug, Default)]
pub(super) struct Recording {
    target: Option<IpAddr>,
    local: Option<SocketAddr>,
    requests: Vec<Request>,
    /// The packet that the machine was told of last, and when it arrived.
    latest: Option<(Datagram, Tick)>,
}

#[derive(Debug)]
struct Request {
    sent: Tick,
    stamped: Option<Tick>,
    /// Its reply, or else whatever reply came first while it was awaited.
    reply: Option<Reply>,
}

#[derive(Debug)]
struct Reply {
    datagram: Datagram,
    /// The request that it answers.
    answers: usize,
    received: Tick,
    duplicate: bool,
}

impl Record for Recording {
    fn input(&mut self, at: &Now, input: &Input) {
        match input {
            Input::Opened { local, .. } => self.local = Some(*local),
            Input::Stamped { tag, .. } => {
                let request = usize::try_from(*tag).unwrap_or(usize::MAX);
                if let Some(request) = self.requests.get_mut(request) {
                    request.stamped = Some(at.peek());
                }
            }
            Input::Datagram { datagram, .. } => self.latest = Some((datagram.clone(), at.peek())),
            _ => {}
        }
    }

    fn output(&mut self, at: Tick, output: &Output) {
        match output {
            Output::Open { socket, .. } => self.target = Some(socket.to),
            Output::Send { .. } => self.requests.push(Request {
                sent: at,
                stamped: None,
                reply: None,
            }),
            Output::Seen(Seen::Ping(ping::Seen::Reply {
                request, duplicate, ..
            })) => self.accepted(*request, *duplicate),
            _ => {}
        }
    }

    fn finish(self: Box<Self>) -> Vec<u8> {
        let mut writer = Writer::new();
        let (Some(target), Some(local)) = (self.target, self.local) else {
            return writer.finish();
        };
        // Raw IPv6 sockets have their protocol for a port.
        let port = if target.is_ipv6() {
            protocol::ICMPV6.into()
        } else {
            0
        };
        let local = SocketAddr::new(local.ip(), port);
        writer.put_addrinfo(ADDRINFO, target, false);
        writer.put_address(ADDRESS, SocketAddr::new(target, 0));
        writer.put_address(LOCAL, local);
        let mut numbering = Numbering::default();
        for index in 0..self.requests.len() {
            if target.is_ipv6() {
                writer.put_address(LOCAL, local);
            }
            self.put_reply(&mut writer, index, target, local.ip(), &mut numbering);
        }
        writer.finish()
    }
}

impl Recording {
    /// The machine took the latest packet for a reply. Requests count from 1.
    fn accepted(&mut self, request: u32, duplicate: bool) {
        let Some((datagram, received)) = self.latest.take() else {
            return;
        };
        let answers = usize::try_from(request).unwrap_or(0).saturating_sub(1);
        let slot = if duplicate {
            self.requests.len().saturating_sub(1)
        } else {
            answers
        };
        let Some(request) = self.requests.get_mut(slot) else {
            return;
        };
        if request
            .reply
            .as_ref()
            .is_none_or(|known| known.duplicate && !duplicate)
        {
            request.reply = Some(Reply {
                datagram,
                answers,
                received,
                duplicate,
            });
        }
    }

    /// The packet and what stands around it, for the request with this index.
    fn put_reply(
        &self,
        writer: &mut Writer,
        index: usize,
        target: IpAddr,
        local: IpAddr,
        numbering: &mut Numbering,
    ) {
        let peer = SocketAddr::new(target, 0);
        let Some(reply) = &self.requests[index].reply else {
            writer.put(PACKET, &foreign(target, local));
            writer.put_address(PEER, peer);
            numbering.lost();
            return;
        };
        let sequence = numbering.heard(reply.duplicate, target.is_ipv6());
        let stamp = received_tick(index) - self.round_trip(reply);
        let datagram = &reply.datagram;
        writer.put(PACKET, &rewritten(&datagram.bytes, target, sequence, stamp));
        writer.put_address(PEER, peer);
        if target.is_ipv6() {
            let to = SocketAddr::new(datagram.to.unwrap_or(local), 0);
            writer.put_address(DESTINATION, to);
            writer.put(TTL, &[datagram.hop_limit.unwrap_or(0)]);
        }
    }

    fn round_trip(&self, reply: &Reply) -> Duration {
        self.requests
            .get(reply.answers)
            .map_or(Duration::ZERO, |request| {
                let sent = request
                    .stamped
                    .filter(|stamped| (request.sent..=reply.received).contains(stamped))
                    .unwrap_or(request.sent);
                reply.received.since(sent)
            })
    }
}

/// The sequence numbers that a replay expects (`packet-measurements` section 2.2).
#[derive(Debug)]
struct Numbering {
    expected: u8,
    answered: bool,
}

impl Default for Numbering {
    fn default() -> Self {
        Self {
            expected: 1,
            answered: false,
        }
    }
}

impl Numbering {
    /// The number for a reply that is, or is not, to be taken for a duplicate.
    fn heard(&mut self, duplicate: bool, v6: bool) -> u8 {
        let expected = self.expected;
        if !duplicate {
            self.answered = true;
            self.expected = expected.wrapping_add(1);
            return expected;
        }
        if v6 {
            self.expected = expected.wrapping_add(1);
        }
        self.lost();
        expected.wrapping_sub(1)
    }

    fn lost(&mut self) {
        if !self.answered {
            self.expected = self.expected.wrapping_add(1);
        }
    }
}

/// When a replay receives the packet of the request with this index: after the ticks of start and resolution, and
/// two a request, its own reception being the second.
fn received_tick(index: usize) -> Tick {
    let asked = u32::try_from(2 * index + 4).unwrap_or(u32::MAX);
    Tick(STEP.saturating_mul(asked))
}

/// A reply as this measurement's would be in a replay.
fn rewritten(packet: &[u8], target: IpAddr, sequence: u8, stamp: Tick) -> Vec<u8> {
    let mut packet = packet.to_vec();
    packet.truncate(RECEIVE_BUFFER);
    let start = match target {
        IpAddr::V4(_) => packet
            .first()
            .map_or(0, |first| usize::from(first & 15) * 4),
        IpAddr::V6(_) => 0,
    };
    let mut set = |range: Range<usize>, octets: &[u8]| {
        let range = start + range.start..start + range.end;
        if let Some(field) = packet.get_mut(range) {
            field.copy_from_slice(octets);
        }
    };
    set(4..6, &IDENTIFIER.to_be_bytes());
    set(6..8, &[0, sequence]);
    set(8..16, &stamp.0.as_secs().to_le_bytes());
    set(16..24, &u64::from(stamp.0.subsec_nanos()).to_le_bytes());
    set(24..28, &[0; 4]);
    set(28..36, &[0x2a; 8]);
    if target.is_ipv4() {
        set_checksum(&mut packet, start);
    }
    packet
}

/// The ICMP checksum anew. A packet that was cut keeps a wrong one, as it must.
fn set_checksum(packet: &mut [u8], start: usize) {
    if let Some(message) = packet.get_mut(start..)
        && message.len() >= HEADER
    {
        message[2..4].fill(0);
        let sum = checksum(message);
        message[2..4].copy_from_slice(&sum.to_be_bytes());
    }
}

/// An echo reply to some other process.
fn foreign(target: IpAddr, local: IpAddr) -> Vec<u8> {
    let payload = [0; 32];
    match (target, local) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let message = Icmp::echo(v4::ECHO_REPLY, FOREIGN_IDENTIFIER, 0, &payload).emit_v4();
            Ipv4::new(from, to, protocol::ICMP, 64, &message).emit()
        }
        _ => Icmp::echo(v6::ECHO_REPLY, FOREIGN_IDENTIFIER, 0, &payload).emit(),
    }
}

#[cfg(test)]
mod tests;
