//! Tests of `evhttpget`: a script tells the machine what happens and looks at what it wants and reports.

mod addresses;
mod examples;
mod options;
mod property;
mod reading;
mod request;

use super::{Body, Options};
use crate::{
    clock::{Now, Tick, UnixTime},
    dialect::Dialect,
    measurement::{
        self, Carry, Common, Input, Machine, Outcome, Output, Run, Spec, Version,
        machine::{Call, Failure, Handle, ResolveError, Stream},
        tests::{head, json, os, rules},
    },
};

/// The options that the words after `evhttpget` mean to a genuine controller.
fn parsed(command: &str) -> (Common, Options) {
    let words: Vec<&str> = command.split_whitespace().collect();
    Options::parse(&words, &rules(Dialect::Reference)).unwrap()
}

fn spec(command: &str, dialect: Dialect) -> Spec {
    let words: Vec<&str> = command.split_whitespace().collect();
    Spec::parse(&words, &rules(dialect)).unwrap()
}

/// One run under a script, at a clock that the script sets.
struct Script {
    spec: Spec,
    machine: Box<dyn Machine>,
    micros: u64,
    /// Everything that the last input led to, without what is only for watching.
    outputs: Vec<Output>,
    /// The connection that was last asked for.
    on: Handle,
}

impl Script {
    fn new(command: &str) -> Self {
        let spec = spec(command, Dialect::Reference);
        let machine = spec.start(Run::default(), Carry::Nothing);
        let mut script = Self {
            spec,
            machine,
            micros: 1_000_000,
            outputs: Vec::new(),
            on: Handle(0),
        };
        script.tell(Input::Start);
        script
    }

    /// A run that is connected to 192.0.2.80 at once and has sent its request.
    fn connected(command: &str) -> Self {
        let mut script = Self::new(command);
        script.resolved(&["192.0.2.80"]).connect().written();
        script
    }

    /// Time passes.
    fn after(&mut self, millis: u64) -> &mut Self {
        self.micros += millis * 1000;
        self
    }

    fn tell(&mut self, input: Input) -> &mut Self {
        let secs = i64::try_from(self.micros / 1_000_000).unwrap();
        let unix = UnixTime::from_secs(1_700_000_000 + secs - 1);
        let tick = Tick(std::time::Duration::from_micros(self.micros));
        let mut now = Now::new(tick, unix, 1);
        self.outputs = self.machine.handle(&mut now, input);
        self.outputs
            .retain(|output| !matches!(output, Output::Seen(_)));
        if let Some((on, _)) = self.connecting() {
            self.on = on;
        }
        self
    }

    /// The deadline comes, whenever that is.
    fn deadline(&mut self) -> &mut Self {
        let at = self.machine.deadline().expect("something to wait for");
        self.micros = u64::try_from(at.0.as_micros()).unwrap();
        self.tell(Input::Deadline)
    }

    fn resolved(&mut self, addresses: &[&str]) -> &mut Self {
        let addresses = addresses.iter().map(|text| text.parse().unwrap()).collect();
        self.tell(Input::Resolved(Ok(addresses)))
    }

    fn connecting(&self) -> Option<(Handle, Stream)> {
        self.outputs.iter().find_map(|output| match output {
            Output::Connect { on, stream } => Some((*on, stream.clone())),
            _ => None,
        })
    }

    /// Where a connection was just asked for.
    fn to(&self) -> String {
        let (_, stream) = self.connecting().expect("a connection");
        stream.to.to_string()
    }

    fn connect(&mut self) -> &mut Self {
        let (on, stream) = self.connecting().expect("a connection");
        let local = if stream.to.is_ipv4() {
            "192.0.2.10:4000"
        } else {
            "[2001:db8:1::10]:4000"
        };
        self.tell(Input::Connected {
            on,
            local: local.parse().unwrap(),
            handshake: None,
            tls: None,
        })
    }

    fn fail(&mut self, cause: Failure) -> &mut Self {
        let (on, _) = self.connecting().expect("a connection");
        self.tell(Input::Failed {
            on,
            tag: None,
            cause,
        })
    }

    fn refuse(&mut self) -> &mut Self {
        self.fail(os(Call::Connect, 111))
    }

    /// What was just asked to be written.
    fn writing(&self) -> String {
        let bytes = self.outputs.iter().find_map(|output| match output {
            Output::Write { bytes, .. } => Some(bytes.clone()),
            _ => None,
        });
        String::from_utf8(bytes.unwrap_or_default()).unwrap()
    }

    fn written(&mut self) -> &mut Self {
        let on = self.on;
        self.tell(Input::Written { on })
    }

    /// A segment arrives and is read until nothing is at hand.
    fn receive(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        let mut bytes = bytes.as_ref();
        let on = self.on;
        self.tell(Input::Readable { on });
        while let [Output::Read { on, max }] = self.outputs[..] {
            let (now, later) = bytes.split_at(bytes.len().min(max));
            bytes = later;
            self.tell(Input::Read {
                on,
                bytes: now.to_vec(),
            });
        }
        self
    }

    fn end(&mut self) -> &mut Self {
        let on = self.on;
        self.tell(Input::Ended { on, errno: None })
    }

    fn outcome(&self) -> Outcome {
        measurement::tests::outcome(&*self.machine, &self.outputs)
    }

    fn bodies(&self) -> Vec<Body> {
        let bodies = self.outcome().bodies.into_iter().map(|body| match body {
            measurement::Body::Http(body) => body,
            other => panic!("another type: {other:?}"),
        });
        bodies.collect()
    }

    /// The lines of the run; each is JSON.
    fn lines(&self) -> String {
        let head = self.spec.head(&Version::default());
        let lines = self.bodies().into_iter().map(|body| {
            let line = body.line(&head, Dialect::Reference);
            json(&line);
            line
        });
        lines.collect()
    }

    /// What stands between the brackets of `"result"` in the only line.
    fn entries(&self) -> String {
        let line = self.lines();
        let (_, rest) = line.split_once("\"result\":[ ").unwrap();
        rest.strip_suffix(" ] }\n").unwrap().to_owned()
    }
}

const NOT_KNOWN: Input = Input::Resolved(Err(ResolveError::NotKnown));

#[test]
fn the_type_is_registered() {
    let spec = spec(
        "evhttpget -A 7 http://www.example.com/x",
        Dialect::Reference,
    );
    assert_eq!(spec.kind(), measurement::Kind::Http);
    assert_eq!(spec.target(), "http://www.example.com/x");
}
