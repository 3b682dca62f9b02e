//! Scripts: what happens and when, and what the machine makes of it.

mod command;
mod ends;
mod examples;
mod on_the_wire;
mod properties;
mod replies;

use std::{net::IpAddr, path::PathBuf, time::Duration};

use proptest::prelude::*;

use super::{packet::Mark, *};
use crate::{
    clock::{Now, Tick, UnixTime},
    dialect::Dialect,
    measurement::{
        Body as AnyBody, Carry as AnyCarry, Common, Head, Input, Machine, Outcome, Output, Run,
        Seen as AnySeen, SpecError, Version,
        machine::{
            Call, Datagram, Failure, Family, Handle, Packet, ResolveError, Socket, SocketKind,
        },
        tests::{ip, json, os, rules},
    },
    wire::{
        icmp::{Icmp, v4, v6},
        ip::Ipv4,
        protocol,
    },
};

const H: Handle = Handle(0);
const MS: u64 = 1_000_000;
const TARGET: &str = "198.51.100.7";
const SOURCE: &str = "192.0.2.10";

fn parse(command: &str) -> Result<(Common, Options), SpecError> {
    let words: Vec<&str> = command.split_whitespace().collect();
    Options::parse(&words, &rules(Dialect::Reference))
}

fn options(command: &str) -> Options {
    parse(command).unwrap().1
}

/// A run that is told what happens at which nanosecond.
struct Script {
    ping: Ping,
    common: Common,
    source: IpAddr,
    /// Every request so far.
    sent: Vec<Packet>,
    seen: Vec<Seen>,
    outcome: Option<Outcome>,
}

impl Script {
    fn new(command: &str) -> Self {
        Self::of(
            command,
            Run {
                seed: 7,
                ..Run::default()
            },
            None,
        )
    }

    /// By the rules that recordings of the official probe need.
    fn by_reference_rules(command: &str) -> Self {
        let run = Run {
            replay: true,
            ..Run::default()
        };
        Self::of(command, run, None)
    }

    fn of(command: &str, run: Run, carry: Option<Carry>) -> Self {
        let (common, options) = parse(command).unwrap();
        Self {
            ping: Ping::new(options, run, carry),
            common,
            source: ip(SOURCE),
            sent: Vec::new(),
            seen: Vec::new(),
            outcome: None,
        }
    }

    fn tell(&mut self, at: u64, input: Input) -> Vec<Output> {
        let after = Duration::from_nanos(at);
        let unix = UnixTime::from_secs(1_700_000_000) + after;
        let outputs = self
            .ping
            .handle(&mut Now::new(Tick(after), unix, 12), input);
        for output in &outputs {
            match output {
                Output::Send { packet, .. } => self.sent.push(packet.clone()),
                Output::Seen(AnySeen::Ping(seen)) => self.seen.push(seen.clone()),
                Output::Done(outcome) => {
                    assert_eq!(self.outcome, None, "done twice");
                    self.outcome = Some(outcome.clone());
                }
                _ => {}
            }
        }
        outputs
    }

    /// From the start to the first request, the resolution taking until `at`.
    fn begin(&mut self, at: u64, target: &str) {
        self.tell(0, Input::Start);
        self.tell(at, Input::Resolved(Ok(vec![ip(target)])));
        let local = (self.source, 0).into();
        self.tell(
            at,
            Input::Opened {
                on: H,
                local,
                ident: 0x1234,
            },
        );
    }

    /// The time of the latest request is over.
    fn deadline(&mut self) -> u64 {
        let at = self.ping.deadline().expect("a run that is not done");
        let at = u64::try_from(at.0.as_nanos()).unwrap();
        self.tell(at, Input::Deadline);
        at
    }

    fn datagram(&mut self, at: u64, datagram: Datagram) {
        self.tell(at, Input::Datagram { on: H, datagram });
    }

    /// The reply to request `request` (from 0) arrives, `size` octets after the ICMP header.
    fn reply(&mut self, at: u64, request: usize, ttl: u8, size: usize) {
        let datagram = reply_to(&self.sent[request], self.source, ttl, size);
        self.datagram(at, datagram);
    }

    fn line(&self) -> String {
        let outcome = self.outcome.as_ref().expect("a run that is done");
        let [AnyBody::Ping(body)] = &outcome.bodies[..] else {
            panic!("one ping")
        };
        body.line(&head(&self.common), Dialect::Reference)
    }

    fn items(&self) -> String {
        let line = self.line();
        let from = line.find(r#""result": "#).unwrap() + r#""result": "#.len();
        line[from..].trim_end_matches(" }\n").to_owned()
    }
}

fn head(common: &Common) -> Head {
    Head {
        id: common.id.clone(),
        bundle: common.bundle.clone(),
        version: Version::default(),
    }
}

fn payload(request: &Packet, size: usize) -> Vec<u8> {
    let mut payload = request.bytes[8..].to_vec();
    payload.resize(size, 0);
    payload
}

fn reply_to(request: &Packet, to: IpAddr, ttl: u8, size: usize) -> Datagram {
    let message = Icmp::parse(&request.bytes).unwrap();
    let (identifier, sequence) = (message.identifier(), message.sequence());
    let payload = payload(request, size);
    if message.kind == v6::ECHO_REQUEST {
        return Datagram {
            from: "[2001:db8:7::7]:0".parse().unwrap(),
            to: Some(to),
            hop_limit: Some(ttl),
            tos: None,
            bytes: Icmp::echo(v6::ECHO_REPLY, identifier, sequence, &payload).emit(),
            protocol: protocol::ICMPV6,
        };
    }
    let IpAddr::V4(to) = to else { panic!("IPv4") };
    let message = Icmp::echo(v4::ECHO_REPLY, identifier, sequence, &payload).emit_v4();
    let from = TARGET.parse().unwrap();
    Datagram {
        from: (IpAddr::V4(from), 0).into(),
        to: None,
        hop_limit: None,
        tos: None,
        bytes: Ipv4::new(from, to, protocol::ICMP, ttl, &message).emit(),
        protocol: protocol::ICMP,
    }
}
