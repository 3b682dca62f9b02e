//! Runs by script: inputs at times, and the result to the last byte.

mod examples;
mod failures;
mod properties;
mod replies;

use std::net::{IpAddr, SocketAddr};

use proptest::{collection::vec, prelude::*};

use super::{Body, Item, Ntp, Options, Outcome as Found, Reply};
use crate::{
    clock::{Now, Tick, UnixTime},
    dialect::Dialect,
    measurement::{
        Body as AnyBody, Input, Machine, Outcome, Output, Run,
        format::When,
        machine::{
            Call, Datagram, Failure, Family, Handle, Packet, ResolveError, Socket, SocketKind,
        },
        tests::{head, ip, json, os, rules},
    },
    wire::ntp::{Ntp as Wire, SERVER, Short, Timestamp},
};

const TARGET: &str = "198.51.100.7";
/// 2023-11-14T22:13:20Z, 3908988800 in NTP seconds.
const START: i128 = 1_700_000_000;

/// One run in virtual time, milliseconds since its start.
struct Script {
    machine: Ntp,
    count: u8,
    millis: u64,
    /// What the wall clock was set forward by, in seconds.
    stepped: i128,
    target: IpAddr,
    socket: Option<Socket>,
    sent: Vec<Packet>,
    outcome: Option<Outcome>,
}

impl Script {
    fn new(line: &str) -> Self {
        Self::of(line, Run::default())
    }

    fn of(line: &str, run: Run) -> Self {
        let words: Vec<&str> = line.split_whitespace().collect();
        let options = Options::parse(&words, &rules(Dialect::Reference))
            .unwrap()
            .1;
        let target = if options.family == Family::V6 {
            "2001:db8:7::7"
        } else {
            TARGET
        };
        Self {
            count: options.count,
            machine: Ntp::new(options, run),
            millis: 0,
            stepped: 0,
            target: ip(target),
            socket: None,
            sent: Vec::new(),
            outcome: None,
        }
    }

    /// By the rules that recordings of the official probe need.
    fn replaying(line: &str) -> Self {
        let run = Run {
            replay: true,
            ..Run::default()
        };
        Self::of(line, run)
    }

    /// A run whose first request is on its way.
    fn asking(line: &str) -> Self {
        let mut run = Self::new(line);
        run.open();
        run
    }

    fn open(&mut self) {
        self.tell(Input::Start);
        self.tell(Input::Resolved(Ok(vec![self.target])));
        let local = if self.target.is_ipv4() {
            "192.0.2.10:40000"
        } else {
            "[2001:db8::10]:40000"
        };
        self.tell(Input::Opened {
            on: Handle(0),
            local: local.parse().unwrap(),
            ident: 0,
        });
    }

    fn tell(&mut self, input: Input) {
        let unix = (START + self.stepped) * 1_000_000_000 + i128::from(self.millis) * 1_000_000;
        let mut now = Now::new(
            Tick::from_millis(self.millis),
            UnixTime::from_nanos(unix),
            12,
        );
        for output in self.machine.handle(&mut now, input) {
            assert!(self.outcome.is_none(), "{output:?} after the end");
            match output {
                Output::Open { socket, .. } => self.socket = Some(socket),
                Output::Send { packet, .. } => self.sent.push(packet),
                Output::Done(outcome) => self.outcome = Some(outcome),
                _ => {}
            }
        }
    }

    fn request(&mut self) -> Packet {
        assert_eq!(self.sent.len(), 1, "one request in flight");
        self.sent.remove(0)
    }

    fn deadline(&mut self) {
        let deadline = self.machine.deadline().expect("a deadline until the end");
        self.millis = self
            .millis
            .max(u64::try_from(deadline.0.as_millis()).unwrap());
        self.tell(Input::Deadline);
    }

    /// The request that was just sent, after the time for its reply.
    fn unanswered(&mut self) -> Packet {
        let request = self.request();
        self.deadline();
        request
    }

    /// The kernel's time of sending is now.
    fn stamped(&mut self, tag: u32) {
        let on = Handle(0);
        self.tell(Input::Stamped { on, tag });
    }

    fn failed(&mut self, tag: Option<u32>, cause: Failure) {
        let on = Handle(0);
        self.tell(Input::Failed { on, tag, cause });
    }

    fn receive(&mut self, bytes: Vec<u8>) {
        self.receive_from(SocketAddr::new(self.target, 123), bytes);
    }

    fn receive_from(&mut self, from: SocketAddr, bytes: Vec<u8>) {
        let datagram = Datagram {
            from,
            to: None,
            hop_limit: None,
            tos: None,
            bytes,
            protocol: 17,
        };
        let on = Handle(0);
        self.tell(Input::Datagram { on, datagram });
    }

    /// Answers a request: received by the server at `receive`, sent at `transmit` (nanoseconds since the start),
    /// arriving `arrival` milliseconds after the start.
    fn answer(
        &mut self,
        request: &Packet,
        times: (i128, i128),
        arrival: u64,
        change: impl Fn(&mut Wire),
    ) {
        let mut reply = gps();
        reply.origin = Wire::parse(&request.bytes).unwrap().transmit;
        reply.receive = since_start(times.0);
        reply.transmit = since_start(times.1);
        change(&mut reply);
        self.millis = arrival;
        self.receive(reply.emit());
    }

    fn line(&self) -> String {
        self.line_as(None, Dialect::Reference)
    }

    fn line_as(&self, id: Option<&str>, dialect: Dialect) -> String {
        let outcome = self.outcome.as_ref().expect("a finished run");
        let [AnyBody::Ntp(body)] = &outcome.bodies[..] else {
            panic!("one body");
        };
        let line = body.line(&head(id, None), dialect);
        json(&line);
        line
    }

    fn items(&self) -> String {
        let line = self.line();
        let (_, items) = line.split_once("\"result\": ").unwrap();
        items.strip_suffix(" }\n").unwrap().to_owned()
    }
}

fn since_start(nanos: i128) -> Timestamp {
    Timestamp::from_unix_nanos(START * 1_000_000_000 + nanos)
}

/// A stratum 1 server's reply.
fn gps() -> Wire {
    Wire {
        version: 4,
        mode: SERVER,
        stratum: 1,
        poll: 3,
        precision: -18,
        root_dispersion: Short(69),
        reference_id: *b"GPS\0",
        reference: since_start(-3_000_000_000 + 36_665_440),
        ..Wire::default()
    }
}

/// A stratum 2 server's.
fn second(reply: &mut Wire) {
    reply.stratum = 2;
    reply.poll = 6;
    reply.precision = -20;
    reply.root_delay = Short(256);
    reply.root_dispersion = Short(512);
    reply.reference_id = [192, 0, 2, 1];
    reply.reference = Timestamp {
        seconds: 3_908_980_000,
        fraction: 1 << 31,
    };
}

const MS: i128 = 1_000_000;
