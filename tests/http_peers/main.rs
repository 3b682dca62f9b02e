//! HTTP measurements over real sockets, on loopback: against nginx where it is installed, and against servers of our
//! own that misbehave.
//!
//! Without nginx those tests say loudly that they were skipped; `STARLING_REQUIRE_PEERS=1` makes that a failure.

#![expect(clippy::panic, reason = "how a test fails")]

mod doubles;
#[path = "../support/measured.rs"]
mod measured;
mod nginx;
#[path = "../support/peers.rs"]
mod peers;

use measured::Measured;
use starling::{
    measurement::{
        Body, Carry,
        http::{Complete, Entry, Problem, Response},
    },
    net::Config,
};

/// What came of one command.
struct Ran(Measured);

impl Ran {
    fn line(&self) -> &str {
        &self.0.line
    }

    /// The only entry, of an address that was tried.
    fn response(&self) -> Response {
        let Self(run) = self;
        let [Body::Http(body)] = &run.outcome.bodies[..] else {
            panic!("not one body: {}", run.line);
        };
        match &body.entries[..] {
            [Entry::Tried(response)] => Response::clone(response),
            _ => panic!("not one address tried: {}", run.line),
        }
    }

    /// The response, read to its end.
    fn complete(&self) -> Complete {
        let response = self.response();
        assert!(self.0.outcome.answered && response.problem.is_none());
        assert!(response.source.is_some());
        response
            .complete
            .unwrap_or_else(|| panic!("incomplete: {response:?}"))
    }

    /// Status and sizes of header and body of the response, read to its end.
    fn sizes(&self) -> (u32, u64, u64) {
        let complete = self.complete();
        (
            complete.status.code,
            complete.header_size,
            complete.body_size,
        )
    }

    /// What went wrong.
    fn error(&self) -> String {
        match self.response().problem {
            Some(Problem::Exchange(text)) => text,
            other => panic!("no error but {other:?}: {}", self.line()),
        }
    }
}

/// Runs a command as a controller would give it, on loopback.
fn run(command: &str) -> Ran {
    run_with(command, |_| {})
}

fn run_with(command: &str, configure: impl FnOnce(&mut Config)) -> Ran {
    Ran(measured::run(command, Carry::Nothing, configure))
}
