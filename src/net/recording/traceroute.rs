//! Recordings of `evtraceroute` (`replay-vectors` sections 4.2 and 5).
//!
//! A live run's probes carry numbers that are its alone; a recording has those of table slot 0 and process 42. So
//! what answers a probe is rewritten where it quotes or repeats such a number. Checksums of ICMP messages are left
//! as they came: no replay looks at them.

use std::{net::SocketAddr, ops::Range};

use super::{Player, Reader, Record, RecordingError, ReplayError, Writer};
use crate::{
    clock::{Now, Tick},
    measurement::{
        Input, Outcome, Output, Seen,
        machine::{Call, Datagram, Failure, Handle},
        traceroute,
    },
    wire::{
        icmp::{self, Icmp},
        ip::{Ipv4, Ipv6},
        protocol, udp,
    },
};

const PACKET: i32 = 1;
const PEER: i32 = 2;
const LOCAL: i32 = 3;
const EVENT: i32 = 4;
const TTL: i32 = 5;
const CLASS: i32 = 6;
const SEND: i32 = 7;
const ADDRINFO: i32 = 8;
const ADDRESS: i32 = 9;

/// What an event record tells.
const TIMED_OUT: u8 = 0;
const ICMP_PACKET: u8 = 1;
const TCP_PACKET: u8 = 6;

/// The largest packet that a record may hold.
const MAX_PACKET: usize = 65_535;

/// Where source ports begin.
const SOURCE_PORT: u16 = 20480;

/// Where the payload block has process number and table slot, and what a recording has there.
const BLOCK: Range<usize> = 4..12;
const RECORDED_BLOCK: [u8; 8] = [0, 0, 0, 42, 0, 0, 0, 0];

/// Answers the machine from the records until it is done.
pub(super) fn play(player: &mut Player, reader: &mut Reader<'_>) -> Result<Outcome, ReplayError> {
    let mut local = None;
    let mut socket = Handle(0);
    loop {
        match player.next() {
            Some(Output::Done(outcome)) => return Ok(outcome),
            Some(Output::Resolve { .. }) => {
                local = Some(player.resolve(reader, ADDRINFO, ADDRESS, LOCAL)?);
            }
            Some(Output::Open { on, socket: wanted }) => {
                socket = on;
                let local = local.unwrap_or(SocketAddr::new(wanted.to, 0));
                let ident = 0;
                player.tell(Input::Opened { on, local, ident });
            }
            Some(Output::Send { on, packet }) => player.tell(sent(reader, on, packet.tag)?),
            // Something awaited: a packet, or else the timer.
            None => match reader.peek() {
                Some(EVENT) => player.tell(event(reader, socket)?),
                Some(SEND) => player.tell(Input::Deadline),
                _ => {
                    reader.take(EVENT, 1)?;
                    return Err(player.unanswerable(None));
                }
            },
            other => return Err(player.unanswerable(other.as_ref())),
        }
    }
}

/// What became of a probe.
fn sent(reader: &mut Reader<'_>, on: Handle, tag: u32) -> Result<Input, RecordingError> {
    let result: [u8; 8] = reader.take_array(SEND, "outcome of a send call")?;
    let [a, b, c, d, e, f, g, h] = result;
    Ok(match i32::from_le_bytes([a, b, c, d]) {
        -1 => Input::Failed {
            on,
            tag: Some(tag),
            cause: Failure::Os {
                call: Call::Send,
                errno: i32::from_le_bytes([e, f, g, h]),
            },
        },
        _ => Input::Sent { on, tag },
    })
}

/// A packet or a time-out.
fn event(reader: &mut Reader<'_>, on: Handle) -> Result<Input, RecordingError> {
    let offset = reader.offset();
    let [event] = reader.take_array(EVENT, "event")?;
    if event == TIMED_OUT {
        return Ok(Input::Deadline);
    }
    if event != ICMP_PACKET && event != TCP_PACKET {
        let what = "event";
        return Err(RecordingError::Malformed { offset, what });
    }
    let bytes = reader.take(PACKET, MAX_PACKET)?.to_vec();
    let from = reader.take_address(PEER)?;
    let mut octet = |kind, what| -> Result<Option<u8>, RecordingError> {
        // Absent in IPv4, where both stand in the packet; -1 where the kernel did not tell.
        if from.is_ipv4() {
            return Ok(None);
        }
        Ok(u8::try_from(reader.take_i32(kind, what)?).ok())
    };
    let hop_limit = octet(TTL, "hop limit")?;
    let tos = octet(CLASS, "traffic class")?;
    let protocol = match (event, from) {
        (TCP_PACKET, _) => protocol::TCP,
        (_, SocketAddr::V4(_)) => protocol::ICMP,
        (_, SocketAddr::V6(_)) => protocol::ICMPV6,
    };
    let datagram = Datagram {
        from,
        to: None,
        hop_limit,
        tos,
        bytes,
        protocol,
    };
    Ok(Input::Datagram { on, datagram })
}

/// A live run in the making of its recording.
#[derive(Debug, Default)]
pub(super) struct Recording {
    writer: Writer,
    target: Option<SocketAddr>,
    mark: Option<Mark>,
    /// Octets of the probe whose outcome is not known yet.
    pending: Option<usize>,
}

/// The numbers of the live run.
#[derive(Clone, Copy, Debug)]
struct Mark {
    identifier: u16,
    port: u16,
    /// Process and table slot in the payload block of IPv6 probes.
    block: [u8; 8],
}

impl Record for Recording {
    fn input(&mut self, _: &Now, input: &Input) {
        match input {
            Input::Opened { local, ident, .. } => self.opened(*local, *ident),
            Input::Failed {
                cause:
                    Failure::Os {
                        call: Call::Send,
                        errno,
                    },
                tag: Some(_),
                ..
            } if self.pending.take().is_some() => {
                self.put_send(-1, *errno);
            }
            Input::Datagram { datagram, .. } => {
                self.settle();
                self.put_packet(datagram);
            }
            _ => self.settle(),
        }
    }

    fn output(&mut self, _: Tick, output: &Output) {
        match output {
            Output::Open { socket, .. } => self.target = Some(SocketAddr::new(socket.to, 0)),
            Output::Send { packet, .. } => {
                self.settle();
                self.pending = Some(packet.bytes.len());
                if let Some(mark) = &mut self.mark {
                    mark.learn(&packet.bytes);
                }
            }
            Output::Seen(Seen::Traceroute(seen)) if seen.item == traceroute::Item::Lost => {
                self.writer.put(EVENT, &[TIMED_OUT]);
            }
            Output::Done(_) => self.settle(),
            _ => {}
        }
    }

    fn finish(mut self: Box<Self>) -> Vec<u8> {
        self.writer.put(SEND, &0i32.to_le_bytes());
        self.writer.finish()
    }
}

impl Recording {
    fn opened(&mut self, local: SocketAddr, identifier: u16) {
        let Some(target) = self.target else { return };
        self.mark = Some(Mark {
            identifier,
            port: local.port(),
            block: [0; 8],
        });
        // Raw IPv6 sockets have their protocol for a port.
        let port = if target.is_ipv6() {
            protocol::ICMPV6
        } else {
            0
        };
        self.writer.put_addrinfo(ADDRINFO, target.ip(), false);
        self.writer.put_address(ADDRESS, target);
        self.writer
            .put_address(LOCAL, SocketAddr::new(local.ip(), port.into()));
    }

    /// A probe that nothing bad was heard of has been sent.
    fn settle(&mut self) {
        if let Some(octets) = self.pending.take() {
            self.put_send(i32::try_from(octets).unwrap_or(i32::MAX), 0);
        }
    }

    fn put_send(&mut self, result: i32, errno: i32) {
        let record = [result.to_le_bytes(), errno.to_le_bytes()].concat();
        self.writer.put(SEND, &record);
    }

    fn put_packet(&mut self, datagram: &Datagram) {
        let event = match datagram.protocol {
            protocol::TCP => TCP_PACKET,
            _ => ICMP_PACKET,
        };
        let mut bytes = datagram.bytes.clone();
        if let Some(mark) = self.mark {
            mark.rewrite(&mut bytes, datagram);
        }
        self.writer.put(EVENT, &[event]);
        self.writer.put(PACKET, &bytes);
        self.writer.put_address(PEER, datagram.from);
        if datagram.from.is_ipv6() {
            let number = |octet: Option<u8>| octet.map_or(-1, i32::from).to_le_bytes();
            self.writer.put(TTL, &number(datagram.hop_limit));
            self.writer.put(CLASS, &number(datagram.tos));
        }
    }
}

impl Mark {
    /// Takes the process number and table slot from an IPv6 probe: an echo request has them behind its header,
    /// a datagram at its start. Others have none, and nothing is looked for there.
    fn learn(&mut self, probe: &[u8]) {
        let start = match probe {
            [icmp::v6::ECHO_REQUEST, ..] => icmp::HEADER,
            _ => 0,
        };
        if let Some(block) = probe.get(start + BLOCK.start..start + BLOCK.end) {
            self.block.copy_from_slice(block);
        }
    }

    /// Puts the numbers of a recording where a packet has those of the live run.
    fn rewrite(self, bytes: &mut [u8], datagram: &Datagram) {
        let Some(place) = place(datagram) else {
            return;
        };
        let port = self.port.to_be_bytes();
        let identifier = self.identifier.to_be_bytes();
        let index = self.port.wrapping_sub(SOURCE_PORT).to_be_bytes();
        let recorded_port = SOURCE_PORT.to_be_bytes();
        let fields: &[(usize, &[u8], &[u8])] = match place {
            Place::Echo(_) => &[(4, &identifier, &[0, 0])],
            Place::Udp(_) => &[(0, &port, &recorded_port)],
            Place::Probe(_) => &[(0, &port, &recorded_port), (4, &index, &[0, 0])],
            Place::Answer(_) => &[(2, &port, &recorded_port), (8, &index, &[0, 0])],
            Place::Block(_) => &[(BLOCK.start, &self.block, &RECORDED_BLOCK)],
        };
        let start = place.start();
        let field = |at: usize, length: usize| start + at..start + at + length;
        let ours = fields
            .iter()
            .all(|(at, live, _)| bytes.get(field(*at, live.len())) == Some(*live));
        for (at, _, recorded) in fields.iter().filter(|_| ours) {
            if let Some(octets) = bytes.get_mut(field(*at, recorded.len())) {
                octets.copy_from_slice(recorded);
            }
        }
    }
}

/// What carries the numbers of a run, and where it begins in the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// An ICMP echo message.
    Echo(usize),
    /// The header of a UDP probe.
    Udp(usize),
    /// The header of a TCP probe.
    Probe(usize),
    /// The header of a segment that answers one.
    Answer(usize),
    /// The block in the payload of an IPv6 probe.
    Block(usize),
}

impl Place {
    const fn start(self) -> usize {
        match self {
            Self::Echo(at)
            | Self::Udp(at)
            | Self::Probe(at)
            | Self::Answer(at)
            | Self::Block(at) => at,
        }
    }
}

/// Where a packet has the numbers of a run, ours or another's.
fn place(datagram: &Datagram) -> Option<Place> {
    let bytes = &datagram.bytes[..];
    // Where a slice of the packet begins.
    let start = |rest: &[u8]| bytes.len() - rest.len();
    match (datagram.protocol, datagram.from) {
        (protocol::TCP, SocketAddr::V6(_)) => Some(Place::Answer(0)),
        (protocol::TCP, SocketAddr::V4(_)) => {
            Some(Place::Answer(start(Ipv4::parse(bytes).ok()?.payload)))
        }
        (_, SocketAddr::V4(_)) => {
            let ip = Ipv4::parse(bytes).ok()?;
            let message = Icmp::parse(ip.payload).ok()?;
            if message.kind == icmp::v4::ECHO_REPLY {
                return Some(Place::Echo(start(ip.payload)));
            }
            let quote = Ipv4::parse(message.body).ok()?;
            let at = start(quote.payload);
            match quote.protocol {
                protocol::ICMP => Some(Place::Echo(at)),
                protocol::UDP => Some(Place::Udp(at)),
                protocol::TCP => Some(Place::Probe(at)),
                _ => None,
            }
        }
        (_, SocketAddr::V6(_)) => {
            let message = Icmp::parse(bytes).ok()?;
            if message.kind == icmp::v6::ECHO_REPLY {
                return Some(Place::Block(icmp::HEADER));
            }
            let upper = Ipv6::parse(message.body).ok()?.upper().ok()?;
            let at = start(upper.payload);
            match upper.protocol {
                protocol::ICMPV6 => Some(Place::Block(at + icmp::HEADER)),
                protocol::UDP => Some(Place::Block(at + udp::HEADER)),
                protocol::TCP => Some(Place::Probe(at)),
                _ => None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddrV6;

    use super::*;
    use crate::{
        dialect::Dialect,
        measurement::{Rules, Spec, Version},
        net::recording::{replay, test_clock},
    };

    const TARGET: &str = "2001:db8:7::7";

    /// What a replay of these records prints as the list of hops, and the figures before it.
    fn hops(command: &str, writer: Writer) -> String {
        let rules = Rules {
            dialect: Dialect::Reference,
            spool: "/var/spool".into(),
            unsafe_paths: false,
        };
        let words: Vec<&str> = command.split_whitespace().collect();
        let spec = Spec::parse(&words, &rules).unwrap();
        let outcome = replay(&spec, &writer.finish(), test_clock()).unwrap();
        let line = outcome.bodies[0].line(&spec.head(&Version::of_tests()), Dialect::Reference);
        let (_, hops) = line.split_once("\"result\": ").unwrap();
        hops.strip_suffix(" }\n").unwrap().to_owned()
    }

    fn begun(target: &str, local: &str) -> Writer {
        let target: SocketAddr = target.parse().unwrap();
        let mut writer = Writer::new();
        writer.put_addrinfo(ADDRINFO, target.ip(), false);
        writer.put_address(ADDRESS, target);
        writer.put_address(LOCAL, local.parse().unwrap());
        writer
    }

    fn put_send(writer: &mut Writer, result: i32, errno: i32) {
        writer.put(SEND, &[result.to_le_bytes(), errno.to_le_bytes()].concat());
    }

    /// An echo reply from the target to probe `number`, sent at the `asking`th asking for the time.
    fn put_echo_reply(writer: &mut Writer, number: u8, asking: u8) {
        let mut block = [0; 40];
        (block[7], block[15], block[16]) = (42, number, asking);
        block[24..26].copy_from_slice(&(u16::from(asking) * 1000).to_le_bytes());
        let reply = Icmp::echo(icmp::v6::ECHO_REPLY, 42, u16::from(number), &block).emit();
        writer.put(EVENT, &[ICMP_PACKET]);
        writer.put(PACKET, &reply);
        writer.put_address(PEER, SocketAddr::new(TARGET.parse().unwrap(), 0));
        writer.put(TTL, &59i32.to_le_bytes());
        writer.put(CLASS, &0i32.to_le_bytes());
    }

    #[test]
    fn a_late_reply_is_timed_by_its_quote_and_without_lingering_a_reply_goes_on() {
        let mut writer = begun("[2001:db8:7::7]:80", "[2001:db8::10]:58");
        put_send(&mut writer, 48, 0);
        writer.put(EVENT, &[TIMED_OUT]);
        put_send(&mut writer, 48, 0);
        put_echo_reply(&mut writer, 1, 3);
        put_echo_reply(&mut writer, 2, 4);
        assert_eq!(
            hops("evtraceroute -6 -I -c 2 -m 1 -z 0 host.example", writer),
            r#"[ { "hop":1, "result": [ { "x":"*" }, { "late":1, "from":"2001:db8:7::7", "ttl":59, "rtt":2000.002, "size":40 }, { "from":"2001:db8:7::7", "ttl":59, "rtt":2000.002, "size":40 } ] } ]"#
        );
    }

    #[test]
    fn link_local_addresses_are_printed_with_their_interface() {
        let mut writer = begun("[2001:db8:7::7]:80", "[2001:db8::10]:58");
        // The first interface of every host; and one that none has.
        for (at, scope) in [(1, 1), (2, 4_000_000_000)] {
            put_send(&mut writer, 48, 0);
            let mut block = [0; 40];
            (block[7], block[15]) = (42, at);
            let probe = Icmp::echo(icmp::v6::ECHO_REQUEST, 42, at.into(), &block).emit();
            let (from, to) = ("2001:db8::10".parse().unwrap(), TARGET.parse().unwrap());
            let quote = Ipv6::new(from, to, protocol::ICMPV6, 1, &probe).emit();
            let error = Icmp {
                kind: icmp::v6::TIME_EXCEEDED,
                code: 0,
                checksum: 0,
                rest: [0; 4],
                body: &quote,
            };
            writer.put(EVENT, &[ICMP_PACKET]);
            writer.put(PACKET, &error.emit());
            let router = format!("fe80::{at}").parse().unwrap();
            writer.put_address(PEER, SocketAddrV6::new(router, 0, 0, scope).into());
            writer.put(TTL, &64i32.to_le_bytes());
            writer.put(CLASS, &0i32.to_le_bytes());
        }
        writer.put(SEND, &0i32.to_le_bytes());
        let wanted = ["fe80::1%lo", "fe80::2%4000000000"]
            .map(|from| format!(r#"{{ "from":"{from}", "ttl":64, "rtt":1000.001, "size":88 }}"#));
        assert_eq!(
            hops("evtraceroute -6 -I -c 2 -m 1 host.example", writer),
            format!(r#"[ {{ "hop":1, "result": [ {} ] }} ]"#, wanted.join(", "))
        );
    }

    #[test]
    fn recorded_send_errors_count_as_live_ones() {
        const EMSGSIZE: i32 = 90;
        const EHOSTUNREACH: i32 = 113;
        let mut writer = begun("198.51.100.7:80", "192.0.2.10:0");
        put_send(&mut writer, -1, EMSGSIZE);
        writer.put(EVENT, &[TIMED_OUT]);
        put_send(&mut writer, -1, EHOSTUNREACH);
        assert_eq!(
            hops("evtraceroute -F host.example", writer),
            r#"[ { "hop":1, "result": [ { "x":"*" }, { "error":"sendto failed: No route to host" } ] } ]"#
        );
    }

    #[test]
    fn a_recording_that_ends_early_or_holds_something_else_is_an_error() {
        let rules = Rules {
            dialect: Dialect::Reference,
            spool: "/var/spool".into(),
            unsafe_paths: false,
        };
        let spec = Spec::parse(&["evtraceroute", "host.example"], &rules).unwrap();
        let mut writer = begun("198.51.100.7:80", "192.0.2.10:0");
        assert!(replay(&spec, &writer.clone().finish(), test_clock()).is_err());
        put_send(&mut writer, 40, 0);
        assert!(replay(&spec, &writer.clone().finish(), test_clock()).is_err());
        writer.put(EVENT, &[2]);
        assert!(replay(&spec, &writer.finish(), test_clock()).is_err());
    }
}
