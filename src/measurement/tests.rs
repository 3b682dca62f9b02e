//! What the tests of several types share.

use super::{
    Input, Machine, Outcome, Output,
    machine::{Failure, ResolveError},
};

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
