//! HTTP measurements over real sockets, on loopback: against nginx where it is installed, and against servers of our
//! own that misbehave.
//!
//! Without nginx those tests say loudly that they were skipped; `STARLING_REQUIRE_PEERS=1` makes that a failure.

#![expect(clippy::panic, reason = "how a test fails")]

mod doubles;
mod nginx;

use std::path::PathBuf;

use starling::{
    clock::Clock,
    dialect::Dialect,
    measurement::{
        Body, Carry, Outcome, Rules, Run, Spec, Version,
        http::{Complete, Entry, Problem, Response},
    },
    net::{Config, Net, recording},
};

/// What came of one command.
struct Ran {
    spec: Spec,
    outcome: Outcome,
    /// What `-W` would have written.
    recording: Vec<u8>,
}

impl Ran {
    /// The lines, which are JSON in either dialect.
    fn lines(&self) -> String {
        let head = self.spec.head(&Version::default());
        let in_dialect = |dialect| {
            let lines = self.outcome.bodies.iter().map(|body| {
                let line = body.line(&head, dialect);
                let json = line.strip_prefix("RESULT ").expect("a RESULT line");
                serde_json::from_str::<serde_json::Value>(json).expect(&line);
                line
            });
            lines.collect::<String>()
        };
        in_dialect(Dialect::Starla);
        in_dialect(Dialect::Reference)
    }

    /// The only entry, of an address that was tried.
    fn response(&self) -> Response {
        let lines = self.lines();
        let [Body::Http(body)] = &self.outcome.bodies[..] else {
            panic!("not one body: {lines}");
        };
        match &body.entries[..] {
            [Entry::Tried(response)] => Response::clone(response),
            _ => panic!("not one address tried: {lines}"),
        }
    }

    /// The response, read to its end.
    fn complete(&self) -> Complete {
        let response = self.response();
        assert!(self.outcome.answered && response.problem.is_none());
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
            other => panic!("no error but {other:?}: {}", self.lines()),
        }
    }
}

/// Runs a command as a controller would give it, on loopback.
fn run(command: &str) -> Ran {
    run_with(command, true)
}

fn run_with(command: &str, allow_any_address: bool) -> Ran {
    let mut config = Config::new(7);
    config.allow_any_address = allow_any_address;
    let rules = Rules {
        dialect: Dialect::Reference,
        spool: PathBuf::from("/nonexistent"),
        unsafe_paths: true,
    };
    let words: Vec<&str> = command.split_whitespace().collect();
    let spec = Spec::parse(&words, &rules).expect(command);
    let machine = spec.start(Run::default(), Carry::Nothing);
    let mut recorder = recording::Recorder::new(&spec).expect("a recorder");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let outcome = runtime.block_on(async {
        let net = Net::open(config, Clock::start());
        net.run(machine, |event| recorder.watch(event)).await
    });
    Ran {
        spec,
        outcome,
        recording: recorder.finish(),
    }
}
