//! What the tests of several types share.

use std::net::IpAddr;

use super::{
    Head, Input, Machine, Outcome, Output, Rules, Version,
    machine::{Call, Failure, ResolveError, TlsFailure},
};
use crate::{
    clock::{Now, Tick, UnixTime},
    dialect::Dialect,
};

/// The rules of a controller's commands.
pub(crate) fn rules(dialect: Dialect) -> Rules {
    Rules {
        dialect,
        spool: "/var/spool/starling".into(),
        unsafe_paths: false,
    }
}

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub(crate) const fn os(call: Call, errno: i32) -> Failure {
    Failure::Os { call, errno }
}

/// The head of a line; no id, no bundle and versions of ours.
pub(crate) fn head(id: Option<&str>, bundle: Option<&str>) -> Head {
    Head {
        id: id.map(str::to_owned),
        bundle: bundle.map(str::to_owned),
        version: Version::default(),
    }
}

/// What a line holds behind `RESULT`.
pub(crate) fn json(line: &str) -> serde_json::Value {
    let object = line
        .strip_prefix("RESULT ")
        .and_then(|line| line.strip_suffix('\n'))
        .expect("a RESULT line");
    serde_json::from_str(object).unwrap_or_else(|error| panic!("{error}: {line}"))
}

/// What comes of a wish that any network grants alike; a read has these bytes.
pub(crate) fn granted(wanted: &Output, bytes: &[u8]) -> Option<Input> {
    Some(match wanted {
        Output::Send { on, packet } => Input::Sent {
            on: *on,
            tag: packet.tag,
        },
        Output::Write { on, .. } => Input::Written { on: *on },
        Output::Await { on } => Input::Readable { on: *on },
        Output::Read { on, max } => Input::Read {
            on: *on,
            bytes: bytes[..bytes.len().min(*max)].to_vec(),
        },
        _ => return None,
    })
}

/// What comes of a wish that fails, in one of the ways that there are.
pub(crate) fn refused(wanted: &Output, which: u8) -> Option<Input> {
    let cause = match which % 7 {
        0 => Failure::Forbidden(ip("192.0.2.1")),
        1 => Failure::Bind,
        2 => os(Call::Connect, 111),
        3 => os(Call::Socket, -7),
        4 => os(Call::Write, -7),
        5 => Failure::Tls(TlsFailure::Other("\"\\\u{1}".repeat(100))),
        _ => Failure::Tls(TlsFailure::Alert(which)),
    };
    let (on, tag) = match wanted {
        Output::Resolve { .. } => return Some(Input::Resolved(Err(ResolveError::NotKnown))),
        Output::ReadFile { .. } => return Some(Input::File(None)),
        Output::Send { on, packet } => (*on, Some(packet.tag)),
        Output::Open { on, .. }
        | Output::Connect { on, .. }
        | Output::Write { on, .. }
        | Output::Await { on } => (*on, None),
        _ => return None,
    };
    Some(Input::Failed { on, tag, cause })
}

/// What the run that ended with these outputs came to.
pub(crate) fn outcome(machine: &dyn Machine, outputs: &[Output]) -> Outcome {
    match outputs.last() {
        Some(Output::Done(outcome)) => {
            assert_eq!(machine.deadline(), None);
            outcome.clone()
        }
        other => panic!("not done: {other:?}"),
    }
}

/// A machine that anything may happen to. What must hold whatever it is told is looked at here: nothing comes after the
/// end, and its lines are JSON.
pub(crate) struct Watched {
    pub(crate) machine: Box<dyn Machine>,
    pub(crate) is_done: bool,
    tick: Tick,
}

impl Watched {
    pub(crate) fn new(machine: Box<dyn Machine>) -> Self {
        Self {
            machine,
            is_done: false,
            tick: Tick::from_secs(1),
        }
    }

    /// What it wants when it is told this; time passes until its deadline if it is told of that.
    pub(crate) fn tell(&mut self, input: Input) -> Vec<Output> {
        if input == Input::Deadline {
            self.tick = self.machine.deadline().unwrap_or(self.tick).max(self.tick);
        }
        let mut now = Now::new(self.tick, UnixTime::from_secs(1_700_000_000), 12);
        let mut outputs = self.machine.handle(&mut now, input);
        assert!(
            !self.is_done || outputs.is_empty(),
            "nothing comes after the end"
        );
        if let Some(Output::Done(outcome)) = outputs.pop_if(|last| matches!(last, Output::Done(_)))
        {
            self.is_done = true;
            lines_hold(&outcome);
        }
        let ends = |output: &Output| matches!(output, Output::Done(_));
        assert!(!outputs.iter().any(ends), "the end is the last");
        outputs.retain(|output| !matches!(output, Output::Seen(_)));
        outputs
    }

    /// Carries out what `granted` grants, and nobody answers: it must come to its end within so many steps.
    pub(crate) fn left_alone(mut self, steps: usize, granted: impl Fn(&Output) -> Option<Input>) {
        let mut input = Input::Start;
        for _ in 0..steps {
            let outputs = self.tell(input);
            if self.is_done {
                return;
            }
            input = outputs
                .iter()
                .filter(|output| !matches!(output, Output::Await { .. }))
                .find_map(&granted)
                .unwrap_or(Input::Deadline);
            let waits = input != Input::Deadline || self.machine.deadline().is_some();
            assert!(waits, "nothing can happen any more");
        }
        panic!("not done after {steps} steps");
    }
}

/// Every line is JSON and has one end.
pub(crate) fn lines_hold(outcome: &Outcome) {
    for (body, dialect) in outcome
        .bodies
        .iter()
        .flat_map(|body| Dialect::ALL.map(|dialect| (body, dialect)))
    {
        for id in [Some("1"), None] {
            let line = body.line(&head(id, None), dialect);
            json(&line);
            assert_eq!(line.matches('\n').count(), 1);
        }
    }
}
