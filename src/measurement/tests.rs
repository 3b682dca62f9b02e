//! What the tests of several types share.

use std::net::IpAddr;

use super::{
    Head, Input, Machine, Outcome, Output, Rules, Version,
    machine::{Call, Failure, ResolveError},
};
use crate::dialect::Dialect;

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

/// What comes of a wish that fails.
pub(crate) fn refused(wanted: &Output, cause: Failure) -> Option<Input> {
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
