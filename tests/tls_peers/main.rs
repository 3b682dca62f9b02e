//! Certificates over real sockets, on loopback: from `openssl s_server` in every version and mood, and from servers
//! of our own that misbehave.
//!
//! Without the `openssl` program its tests say loudly that they were skipped; `STARLING_REQUIRE_PEERS=1` makes that
//! a failure.

#![expect(clippy::panic, reason = "how a test fails")]

mod doubles;
#[path = "../support/measured.rs"]
mod measured;
mod openssl;
#[path = "../support/peers.rs"]
mod peers;

use starling::{
    measurement::{
        Body, Carry,
        tls::{Answer, Body as TlsBody, Finding, Shown},
    },
    net::{Config, recording},
};

/// What came of one command.
struct Ran {
    body: TlsBody,
    /// The RESULT line in the reference dialect.
    line: String,
    /// What `-W` would have written.
    recording: Vec<u8>,
}

impl Ran {
    fn answer(&self) -> &Answer {
        match &self.body.finding {
            Finding::Answer(answer) => answer,
            other => panic!("no answer: {other:?}"),
        }
    }

    fn certificates(&self) -> &[Vec<u8>] {
        match &self.answer().shown {
            Shown::Certificates(certificates) => certificates,
            Shown::Alert(alert) => panic!("{alert:?}"),
        }
    }

    /// The description of the alert that was shown.
    fn alert(&self) -> u8 {
        match &self.answer().shown {
            Shown::Alert(alert) => alert.description,
            Shown::Certificates(_) => panic!("certificates: {}", self.line),
        }
    }

    /// `ver`
    fn version(&self) -> String {
        self.answer().protocol.version()
    }
}

/// Runs a command with these options against a port of 127.0.0.1.
fn run(options: &str, port: u16) -> Ran {
    run_with(options, port, |_| {})
}

fn run_with(options: &str, port: u16, configure: impl FnOnce(&mut Config)) -> Ran {
    let command = format!("evsslgetcert {options} -p {port} 127.0.0.1");
    let run = measured::run(&command, Carry::Nothing, configure);
    Ran {
        body: only(run.outcome.bodies),
        line: run.line,
        recording: run.recording,
    }
}

/// What a recording comes to.
fn replay(options: &str, recording: &[u8]) -> TlsBody {
    let spec = measured::spec(&format!("evsslgetcert {options} 127.0.0.1"));
    let outcome = recording::replay(&spec, recording, recording::test_clock());
    only(outcome.expect("a recording of this type").bodies)
}

fn only(bodies: Vec<Body>) -> TlsBody {
    match <[Body; 1]>::try_from(bodies) {
        Ok([Body::Tls(body)]) => body,
        other => panic!("not one TLS body: {other:?}"),
    }
}
