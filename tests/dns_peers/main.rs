//! DNS measurements over real sockets, on loopback: against NSD and Unbound where they are installed, and against
//! servers of our own that misbehave.
//!
//! Without the daemons those tests say loudly that they were skipped; `STARLING_REQUIRE_PEERS=1` makes that a
//! failure.

#![expect(clippy::panic, reason = "how a test fails")]

mod doubles;
mod nsd;
mod peers;
mod unbound;

use std::path::PathBuf;

use starling::{
    clock::Clock,
    dialect::Dialect,
    measurement::{
        Body, Carry, Head, Rules, Run, Spec, Version,
        dns::{Body as DnsBody, Entry},
    },
    net::{Config, Net},
};

/// What came of one command.
struct Ran {
    body: DnsBody,
    carry: Carry,
}

impl Ran {
    /// The only entry, which has no error.
    fn answered(self) -> Entry {
        let line = self.line();
        let [entry] = <[Entry; 1]>::try_from(self.body.entries).expect("one entry");
        assert!(entry.errors.is_empty() && entry.reply.is_some(), "{line}");
        entry
    }

    /// The `error` object of the only entry, in the reference dialect.
    fn error(&self) -> String {
        let line = self.line();
        let (_, error) = line.split_once("\"error\" : ").expect(&line);
        error.trim_end().trim_end_matches(" }").to_owned()
    }

    /// The RESULT line, which is JSON in either dialect.
    fn line(&self) -> String {
        let head = Head {
            id: Some("1001".to_owned()),
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
    let mut config = Config::new(7);
    config.allow_any_address = true;
    configure(&mut config);
    let rules = Rules {
        dialect: Dialect::Reference,
        spool: PathBuf::from("/nonexistent"),
        unsafe_paths: false,
    };
    let words: Vec<&str> = command.split_whitespace().collect();
    let spec = Spec::parse(&words, &rules).expect(command);
    let machine = spec.start(
        Run {
            seed: 11,
            probe_id: Some(1_000_123),
            replay: false,
        },
        carry,
    );
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let outcome = runtime.block_on(async {
        let net = Net::open(config, Clock::start());
        net.run(machine, |_| {}).await
    });
    match <[Body; 1]>::try_from(outcome.bodies) {
        Ok([Body::Dns(body)]) => Ran {
            body,
            carry: outcome.carry,
        },
        other => panic!("not one DNS body: {other:?}"),
    }
}
