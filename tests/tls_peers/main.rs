//! Certificates over real sockets, on loopback: from `openssl s_server` in every version and mood, and from servers
//! of our own that misbehave.
//!
//! Without the `openssl` program its tests say loudly that they were skipped; `STARLING_REQUIRE_PEERS=1` makes that
//! a failure.

#![expect(clippy::panic, reason = "how a test fails")]

mod doubles;
mod openssl;

use std::path::PathBuf;

use starling::{
    clock::Clock,
    dialect::Dialect,
    measurement::{
        Body, Carry, Head, Rules, Run, Spec, Version,
        tls::{Answer, Body as TlsBody, Finding, Shown},
    },
    net::{
        Config, Net,
        recording::{self, Recorder},
    },
};

/// What came of one command.
struct Ran {
    body: TlsBody,
    /// What a recorder wrote down, if the command asked for one.
    recording: Option<Vec<u8>>,
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
            Shown::Certificates(_) => panic!("certificates: {}", self.line()),
        }
    }

    /// `ver`
    fn version(&self) -> String {
        self.answer().protocol.version()
    }

    /// The RESULT line, which is JSON in either dialect.
    fn line(&self) -> String {
        let head = Head {
            id: Some("15001".to_owned()),
            bundle: None,
            version: Version::default(),
        };
        for dialect in Dialect::ALL {
            let line = self.body.line(&head, dialect);
            let json = line.strip_prefix("RESULT ").expect("a RESULT line");
            serde_json::from_str::<serde_json::Value>(json).expect(&line);
        }
        self.body.line(&head, Dialect::Reference)
    }
}

/// The command as a controller would give it.
fn spec(command: &str) -> Spec {
    let rules = Rules {
        dialect: Dialect::Reference,
        spool: PathBuf::from("/nonexistent"),
        unsafe_paths: false,
    };
    let words: Vec<&str> = command.split_whitespace().collect();
    Spec::parse(&words, &rules).expect(command)
}

/// Runs a command with these options against a port of 127.0.0.1.
fn run(options: &str, port: u16) -> Ran {
    run_with(options, port, |_| {})
}

fn run_with(options: &str, port: u16, configure: impl FnOnce(&mut Config)) -> Ran {
    let mut config = Config::new(7);
    config.allow_any_address = true;
    configure(&mut config);
    let spec = spec(&format!("evsslgetcert {options} -p {port} 127.0.0.1"));
    let mut recorder = spec
        .common
        .record
        .is_some()
        .then(|| Recorder::new(&spec).expect("recordings are built"));
    let machine = spec.start(
        Run {
            seed: 11,
            probe_id: None,
            replay: false,
        },
        Carry::Nothing,
    );
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let outcome = runtime.block_on(async {
        let net = Net::open(config, Clock::start());
        net.run(machine, |event| {
            if let Some(recorder) = &mut recorder {
                recorder.watch(event);
            }
        })
        .await
    });
    let ran = Ran {
        body: only(outcome.bodies),
        recording: recorder.map(Recorder::finish),
    };
    // JSON, whatever it is.
    ran.line();
    ran
}

/// What a recording comes to.
fn replay(options: &str, recording: &[u8]) -> TlsBody {
    let spec = spec(&format!("evsslgetcert {options} 127.0.0.1"));
    let outcome = recording::replay(&spec, recording, recording::test_clock());
    only(outcome.expect("a recording of this type").bodies)
}

fn only(bodies: Vec<Body>) -> TlsBody {
    match <[Body; 1]>::try_from(bodies) {
        Ok([Body::Tls(body)]) => body,
        other => panic!("not one TLS body: {other:?}"),
    }
}
