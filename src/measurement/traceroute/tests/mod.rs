//! Runs by script: inputs at times, and the result to the last byte.

mod always;
mod examples;
mod pacing;
mod packets;
mod replies;

use std::net::{IpAddr, SocketAddr};

use super::{Carry, Options, Traceroute};
use crate::{
    clock::{Now, Tick, UnixTime},
    dialect::Dialect,
    measurement::{
        Body, Head, Input, Machine, Outcome, Output, Run,
        machine::{Call, Datagram, Failure, Family, Handle, Packet, Socket},
        tests::{head, ip, json, os, rules},
    },
    wire::{
        icmp::{self, Icmp},
        ip::{Ipv4, Ipv6},
        protocol,
        tcp::Tcp,
        udp::Udp,
    },
};

/// The identifier that the driver gives, and the port of UDP and TCP runs.
const IDENT: u16 = 0x1007;
const PORT: u16 = 20487;

const TARGET: &str = "198.51.100.7";
const ROUTER: &str = "203.0.113.1";
const TARGET_6: &str = "2001:db8:7::7";
const ROUTER_6: &str = "2001:db8:1::1";

fn options(line: &str, dialect: Dialect) -> Options {
    let words: Vec<&str> = line.split_whitespace().collect();
    Options::parse(&words, &rules(dialect)).unwrap().1
}

/// One run in virtual time, microseconds since its start.
struct Script {
    machine: Traceroute,
    options: Options,
    micros: u64,
    lts: i64,
    /// The address that the probes leave from.
    local: IpAddr,
    target: IpAddr,
    /// What was opened.
    socket: Option<Socket>,
    /// Probes sent and not looked at yet.
    sent: Vec<Packet>,
    outcome: Option<Outcome>,
    seen: usize,
}

impl Script {
    fn new(line: &str) -> Self {
        Self::carrying(line, Run::default(), None)
    }

    fn carrying(line: &str, run: Run, carry: Option<Carry>) -> Self {
        let options = options(line, Dialect::Reference);
        let v6 = options.family == Family::V6;
        Self {
            machine: Traceroute::new(options.clone(), run, carry),
            options,
            micros: 0,
            lts: 10,
            local: ip(if v6 { "2001:db8::10" } else { "192.0.2.10" }),
            target: ip(if v6 { TARGET_6 } else { TARGET }),
            socket: None,
            sent: Vec::new(),
            outcome: None,
            seen: 0,
        }
    }

    /// A run whose first probe is on its way.
    fn probing(line: &str) -> Self {
        Self::new(line).opened()
    }

    /// The same by the rules that recordings of the official probe need.
    fn replaying(line: &str) -> Self {
        let run = Run {
            replay: true,
            ..Run::default()
        };
        Self::carrying(line, run, None).opened()
    }

    /// The run asks for its socket.
    fn resolved(&mut self) {
        self.tell(Input::Start);
        self.tell(Input::Resolved(Ok(vec![self.target])));
    }

    fn opened(mut self) -> Self {
        self.resolved();
        self.open();
        self
    }

    fn open(&mut self) {
        let probe_port = self.options.protocol != super::Protocol::Icmp;
        let local = SocketAddr::new(self.local, if probe_port { PORT } else { 0 });
        let ident = if probe_port { 0 } else { IDENT };
        let on = Handle(0);
        self.tell(Input::Opened { on, local, ident });
    }

    fn tell(&mut self, input: Input) {
        let unix = UnixTime::from_nanos(1_700_000_000_000_000_000 + i128::from(self.micros) * 1000);
        let mut now = Now::new(self.tick(), unix, self.lts);
        for output in self.machine.handle(&mut now, input) {
            assert!(self.outcome.is_none(), "{output:?} after the end");
            match output {
                Output::Open { socket, .. } => self.socket = Some(socket),
                Output::Send { packet, .. } => self.sent.push(packet),
                Output::Done(outcome) => self.outcome = Some(outcome),
                Output::Seen(_) => self.seen += 1,
                _ => {}
            }
        }
    }

    fn tick(&self) -> Tick {
        Tick(std::time::Duration::from_micros(1_000_000 + self.micros))
    }

    /// Lets so many microseconds pass; no timer fires.
    fn after(&mut self, micros: u64) -> &mut Self {
        self.micros += micros;
        self
    }

    /// Lets the time pass to the deadline.
    fn deadline(&mut self) {
        let deadline = self.machine.deadline().expect("a deadline until the end");
        let micros = u64::try_from(deadline.0.as_micros()).unwrap() - 1_000_000;
        self.micros = self.micros.max(micros);
        self.tell(Input::Deadline);
    }

    /// The probe that was just sent.
    fn probe(&mut self) -> Packet {
        assert_eq!(self.sent.len(), 1, "one probe in flight");
        self.sent.remove(0)
    }

    /// The probe that was just sent, after the time for its answers.
    fn unanswered(&mut self) -> Packet {
        let probe = self.probe();
        self.deadline();
        probe
    }

    /// So many microseconds after it was sent, the probe gets this answer.
    fn answered(&mut self, micros: u64, answer: impl FnOnce(&Self, &Packet) -> Datagram) {
        let probe = self.probe();
        let answer = answer(self, &probe);
        self.after(micros).receive(answer);
    }

    fn receive(&mut self, datagram: Datagram) {
        let on = Handle(0);
        self.tell(Input::Datagram { on, datagram });
    }

    /// The kernel's time of sending is now.
    fn stamped(&mut self, tag: u32) {
        let on = Handle(0);
        self.tell(Input::Stamped { on, tag });
    }

    fn send_failed(&mut self, call: Call, errno: i32) {
        let tag = Some(self.sent.last().expect("a probe").tag);
        self.tell(Input::Failed {
            on: Handle(0),
            tag,
            cause: os(call, errno),
        });
    }

    fn open_failed(&mut self, cause: Failure) {
        self.tell(Input::Failed {
            on: Handle(0),
            tag: None,
            cause,
        });
    }

    /// The finished line without an id.
    fn line(&self) -> String {
        self.line_as(&head(None, None), Dialect::Reference)
    }

    fn line_as(&self, head: &Head, dialect: Dialect) -> String {
        let outcome = self.outcome.as_ref().expect("a finished run");
        let [Body::Traceroute(body)] = &outcome.bodies[..] else {
            panic!("one body");
        };
        let line = body.line(head, dialect);
        json(&line);
        line
    }

    /// The list of hops of the finished line.
    fn hops(&self) -> String {
        let line = self.line();
        let (_, hops) = line.split_once("\"result\": ").unwrap();
        hops.strip_suffix(" }\n").unwrap().to_owned()
    }

    /// The quote of a probe as a router has it.
    fn quote(&self, probe: &Packet, ttl: u8) -> Vec<u8> {
        let number = match self.options.protocol {
            super::Protocol::Icmp if self.target.is_ipv6() => protocol::ICMPV6,
            super::Protocol::Icmp => protocol::ICMP,
            super::Protocol::Udp => protocol::UDP,
            super::Protocol::Tcp => protocol::TCP,
        };
        let upper = if number == protocol::UDP {
            let (from, to) = ((self.local, PORT), (self.target, probe.port));
            Udp::new(from, to, &probe.bytes).emit()
        } else {
            probe.bytes.clone()
        };
        match (self.local, self.target) {
            (IpAddr::V4(from), IpAddr::V4(to)) => Ipv4::new(from, to, number, ttl, &upper).emit(),
            (IpAddr::V6(from), IpAddr::V6(to)) => Ipv6::new(from, to, number, ttl, &upper).emit(),
            _ => panic!("one family"),
        }
    }

    /// An IPv4 error with the first 8 octets of the probe behind its header; from `ROUTER`, TTL 250.
    fn error_v4(&self, kind: u8, code: u8, probe: &Packet) -> Datagram {
        let quote = self.quote(probe, 1);
        self.icmp(ROUTER, 250, kind, code, [0; 4], &quote[..28])
    }

    fn exceeded(&self, probe: &Packet) -> Datagram {
        match self.target {
            IpAddr::V4(_) => self.error_v4(icmp::v4::TIME_EXCEEDED, 0, probe),
            IpAddr::V6(_) => {
                let quote = self.quote(probe, 1);
                self.icmp(ROUTER_6, 60, icmp::v6::TIME_EXCEEDED, 0, [0; 4], &quote)
            }
        }
    }

    /// A message as it arrives: with IP header in IPv4, without in IPv6.
    fn icmp(
        &self,
        from: &str,
        ttl: u8,
        kind: u8,
        code: u8,
        rest: [u8; 4],
        body: &[u8],
    ) -> Datagram {
        let message = Icmp {
            kind,
            code,
            checksum: 0,
            rest,
            body,
        };
        match (ip(from), self.local) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                let message = message.emit_v4();
                let bytes = Ipv4::new(from, to, protocol::ICMP, ttl, &message).emit();
                arrived(from.into(), protocol::ICMP, None, bytes)
            }
            (from, _) => arrived(from, protocol::ICMPV6, Some(ttl), message.emit()),
        }
    }

    fn echo_reply(&self, from: &str, ttl: u8, probe: &Packet) -> Datagram {
        let echo = Icmp::parse(&probe.bytes).unwrap();
        let kind = if self.target.is_ipv4() {
            icmp::v4::ECHO_REPLY
        } else {
            icmp::v6::ECHO_REPLY
        };
        self.icmp(from, ttl, kind, 0, echo.rest, echo.body)
    }

    /// The target's answer to a TCP probe.
    fn segment(
        &self,
        probe: &Packet,
        ahead: u32,
        flags: u8,
        options: &[u8],
        ttl: u8,
        tos: u8,
    ) -> Datagram {
        let syn = Tcp::parse(&probe.bytes).unwrap();
        let answer = Tcp {
            from_port: syn.to_port,
            to_port: syn.from_port,
            sequence: 7,
            acknowledgment: syn.sequence.wrapping_add(ahead),
            flags,
            options,
            payload: &[],
            ..syn
        };
        let segment = answer.emit_between(self.target, self.local);
        match (self.target, self.local) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                let mut packet = Ipv4::new(from, to, protocol::TCP, ttl, &segment);
                packet.tos = tos;
                arrived(from.into(), protocol::TCP, None, packet.emit())
            }
            (from, _) => {
                let mut datagram = arrived(from, protocol::TCP, Some(ttl), segment);
                datagram.tos = Some(tos);
                datagram
            }
        }
    }
}

fn arrived(from: IpAddr, protocol: u8, hop_limit: Option<u8>, bytes: Vec<u8>) -> Datagram {
    Datagram {
        from: SocketAddr::new(from, 0),
        to: None,
        hop_limit,
        tos: hop_limit.map(|_| 0),
        bytes,
        protocol,
    }
}
