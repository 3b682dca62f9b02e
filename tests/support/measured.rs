//! Whole measurements on real sockets, as a controller orders them.

// Each test binary uses a part of it.
#![allow(dead_code)]

use starling::{
    clock::Clock,
    dialect::Dialect,
    measurement::{Carry, Input, Outcome, Rules, Run, Spec, Version},
    net::{Config, Event, Net, Precision, recording::Recorder},
};

/// A finished run.
pub(crate) struct Measured {
    pub(crate) spec: Spec,
    pub(crate) outcome: Outcome,
    /// The RESULT lines in the reference dialect.
    pub(crate) line: String,
    /// Every packet that arrived had the kernel's time.
    pub(crate) stamped: bool,
    /// What `-W` would have written.
    pub(crate) recording: Vec<u8>,
}

/// The command, checked; files that it names may be anywhere.
pub(crate) fn spec(command: &str) -> Spec {
    let rules = Rules {
        dialect: Dialect::Reference,
        spool: "/nonexistent".into(),
        unsafe_paths: true,
    };
    let words: Vec<&str> = command.split_ascii_whitespace().collect();
    Spec::parse(&words, &rules).unwrap_or_else(|error| panic!("{command}: {error}"))
}

/// The RESULT lines of a run in the reference dialect; in either they are JSON.
pub(crate) fn lines(spec: &Spec, outcome: &Outcome) -> String {
    let head = spec.head(&Version::default());
    let in_dialect = |dialect| {
        let lines = outcome.bodies.iter().map(|body| {
            let line = body.line(&head, dialect);
            let json = line.strip_prefix("RESULT ").expect("a RESULT line");
            serde_json::from_str::<serde_json::Value>(json).expect(&line);
            line
        });
        lines.collect()
    };
    let _: String = in_dialect(Dialect::Starla);
    in_dialect(Dialect::Reference)
}

/// Runs a command that goes on where another left off.
pub(crate) async fn run_on(net: &Net, command: &str, carry: Carry) -> Measured {
    let spec = spec(command);
    let run = Run {
        seed: 11,
        probe_id: Some(1_000_123),
        replay: false,
    };
    let mut recorder = Recorder::new(&spec);
    let mut stamped = true;
    let outcome = net
        .run(spec.start(run, carry), |event| {
            if let Event::In {
                precision,
                input: Input::Datagram { .. },
                ..
            } = event
            {
                stamped &= *precision == Precision::Kernel;
            }
            recorder.watch(event);
        })
        .await;
    Measured {
        line: lines(&spec, &outcome),
        spec,
        outcome,
        stamped,
        recording: recorder.finish(),
    }
}

/// The same in a network of its own, which allows every address unless it is configured otherwise.
pub(crate) fn run(command: &str, carry: Carry, configure: impl FnOnce(&mut Config)) -> Measured {
    let mut config = Config::new(7);
    config.allow_any_address = true;
    configure(&mut config);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let net = Net::open(config, Clock::start());
        run_on(&net, command, carry).await
    })
}
