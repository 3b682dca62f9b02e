//! Tests of `evtdig`: a script tells the machine what happens and looks at what it wants and reports.

mod lines;
mod options;
mod property;
mod query;
mod resolvers;
mod stream;
mod udp;

use std::net::SocketAddr;

use base64::{Engine, engine::general_purpose::STANDARD};

use super::{Body, Entry, Options, Reply};
use crate::{
    clock::{Now, Tick, UnixTime},
    dialect::Dialect,
    measurement::{
        self, Carry, Common, Input, Machine, Outcome, Output, Run, Spec, SpecError,
        machine::{Datagram, Handle},
        tests::{head, json, os, rules},
    },
};

/// The options that the words after `evtdig` mean to a genuine controller.
fn parsed(words: &[&str]) -> (Common, Options) {
    Options::parse(words, &rules(Dialect::Reference)).unwrap()
}

/// An entry of the time that all examples have.
fn entry() -> Entry {
    Entry {
        time: 1_700_000_000,
        lts: 12,
        ..Entry::default()
    }
}

fn reply(rt: f64, abuf: &str) -> Reply {
    Reply {
        rt,
        qt: None,
        message: STANDARD.decode(abuf).unwrap(),
        abuf: true,
        cookie_mismatch: false,
    }
}

/// One run under a script, at a clock that the script sets.
struct Script {
    machine: Box<dyn Machine>,
    millis: u64,
    /// Everything that the last input led to.
    outputs: Vec<Output>,
}

impl Script {
    fn new(command: &str) -> Self {
        Self::continued(command, Carry::Nothing)
    }

    /// A run that starts from what an earlier one left.
    fn continued(command: &str, carry: Carry) -> Self {
        let words: Vec<&str> = command.split_whitespace().collect();
        let spec = Spec::parse(&words, &rules(Dialect::Reference)).unwrap();
        let run = Run {
            seed: 7,
            probe_id: Some(1_000_123),
            replay: false,
        };
        let mut script = Self {
            machine: spec.start(run, carry),
            millis: 1000,
            outputs: Vec::new(),
        };
        script.tell(Input::Start);
        script
    }

    /// Time passes.
    fn after(&mut self, millis: u64) -> &mut Self {
        self.millis += millis;
        self
    }

    fn tell(&mut self, input: Input) -> &mut Self {
        let unix =
            UnixTime::from_secs(1_700_000_000 + i64::try_from(self.millis / 1000).unwrap() - 1);
        let mut now = Now::new(Tick::from_millis(self.millis), unix, 12);
        self.outputs = self.machine.handle(&mut now, input);
        self
    }

    /// The deadline comes, whenever that is.
    fn deadline(&mut self) -> &mut Self {
        let at = self.machine.deadline().expect("something to wait for");
        self.millis = u64::try_from(at.0.as_millis()).unwrap();
        self.tell(Input::Deadline)
    }

    fn resolved(&mut self, addresses: &[&str]) -> &mut Self {
        let addresses = addresses.iter().map(|text| text.parse().unwrap()).collect();
        self.tell(Input::Resolved(Ok(addresses)))
    }

    /// The socket that was just asked for is open, and the query it leads to is sent.
    fn opened_and_sent(&mut self, local: &str) -> Vec<u8> {
        let on = self.opened_handle();
        self.tell(Input::Opened {
            on,
            local: local.parse().unwrap(),
            ident: 0,
        });
        let Some(Output::Send { packet, .. }) = self.outputs.first().cloned() else {
            panic!("no packet: {:?}", self.outputs);
        };
        self.tell(Input::Sent {
            on,
            tag: packet.tag,
        });
        packet.bytes
    }

    fn opened_handle(&self) -> Handle {
        let open = self.outputs.iter().find_map(|output| match output {
            Output::Open { on, .. } | Output::Connect { on, .. } => Some(*on),
            _ => None,
        });
        open.unwrap_or_else(|| panic!("nothing opened: {:?}", self.outputs))
    }

    fn datagram(&mut self, on: Handle, bytes: Vec<u8>) -> &mut Self {
        self.tell(Input::Datagram {
            on,
            datagram: Datagram {
                from: SocketAddr::from(([192, 0, 2, 53], 53)),
                to: None,
                hop_limit: Some(57),
                tos: None,
                bytes,
                protocol: 17,
            },
        })
    }

    fn outcome(&self) -> Outcome {
        measurement::tests::outcome(&*self.machine, &self.outputs)
    }

    fn body(&self) -> Body {
        match self.outcome().bodies.as_slice() {
            [measurement::Body::Dns(body)] => body.clone(),
            other => panic!("not one body: {other:?}"),
        }
    }

    /// The line's members behind the versions.
    fn line(&self) -> String {
        let line = self.body().line(&head(None, None), Dialect::Reference);
        let rest = line.strip_prefix("RESULT { \"fw\":5120, \"mver\": \"2.6.4\", ");
        rest.unwrap().trim_end().to_owned()
    }

    /// The final entry.
    fn entry(&self) -> Entry {
        self.body().entries.pop().unwrap()
    }
}

/// A reply to `query` that has its ID and question and nothing more.
fn answer(query: &[u8]) -> Vec<u8> {
    let mut reply = query.to_vec();
    reply[2] |= 0x80;
    reply
}

#[test]
fn the_type_is_registered() {
    let spec = Spec::parse(&["evtdig", "-h", "192.0.2.53"], &rules(Dialect::Reference)).unwrap();
    assert_eq!(spec.kind(), measurement::Kind::Dns);
    assert_eq!(spec.target(), "192.0.2.53");
    let error = Spec::parse(&["evtdig"], &rules(Dialect::Reference)).unwrap_err();
    assert!(matches!(error, SpecError::BadOptions(_)));
}

#[test]
fn the_tls_library_is_the_one_in_the_lock_file() {
    let lock = include_str!("../../../../Cargo.lock");
    let (_, version) = super::machine::TLS_LIBRARY.split_once(' ').unwrap();
    let entry = format!("name = \"rustls\"\nversion = \"{version}\"\n");
    assert!(
        lock.contains(&entry),
        "set TLS_LIBRARY to the version in Cargo.lock"
    );
}
