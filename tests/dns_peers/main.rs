//! DNS measurements over real sockets, on loopback: against NSD and Unbound where they are installed, and against
//! servers of our own that misbehave.
//!
//! Without the daemons those tests say loudly that they were skipped; `STARLING_REQUIRE_PEERS=1` makes that a
//! failure.

#![expect(clippy::panic, reason = "how a test fails")]

mod doubles;
#[path = "../support/measured.rs"]
mod measured;
mod nsd;
#[path = "../support/peers.rs"]
mod peers;
mod server;
mod unbound;

use starling::{
    measurement::{
        Body, Carry,
        dns::{Body as DnsBody, Entry},
    },
    net::Config,
};

/// What came of one command.
struct Ran {
    body: DnsBody,
    carry: Carry,
    /// The RESULT line in the reference dialect.
    line: String,
}

impl Ran {
    /// The only entry, which has no error.
    fn answered(self) -> Entry {
        let line = self.line;
        let [entry] = <[Entry; 1]>::try_from(self.body.entries).expect("one entry");
        assert!(entry.errors.is_empty() && entry.reply.is_some(), "{line}");
        entry
    }

    /// The `error` object of the only entry, in the reference dialect.
    fn error(&self) -> String {
        let (_, error) = self.line.split_once("\"error\" : ").expect(&self.line);
        error.trim_end().trim_end_matches(" }").to_owned()
    }
}

fn message(entry: &Entry) -> &[u8] {
    &entry.reply.as_ref().expect("a reply").message
}

/// `ANCOUNT` of the reply.
fn answers(entry: &Entry) -> u16 {
    u16::from_be_bytes([message(entry)[6], message(entry)[7]])
}

fn rcode(entry: &Entry) -> u8 {
    message(entry)[3] & 15
}

/// Runs a command as a controller would give it.
fn run(command: &str) -> Ran {
    run_with(command, Carry::Nothing, |_| {})
}

fn run_with(command: &str, carry: Carry, configure: impl FnOnce(&mut Config)) -> Ran {
    let run = measured::run(command, carry, configure);
    match <[Body; 1]>::try_from(run.outcome.bodies) {
        Ok([Body::Dns(body)]) => Ran {
            body,
            carry: run.outcome.carry,
            line: run.line,
        },
        other => panic!("not one DNS body: {other:?}"),
    }
}
