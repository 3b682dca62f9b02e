//! The loop of one run.

use std::{collections::VecDeque, pin::pin};

use super::{Event, Net, Precision};
use crate::{
    clock::Now,
    measurement::machine::{Call, Failure, Handle, Input, Machine, Outcome, Output, ResolveError},
};

/// Runs `machine` to its `Done`.
pub(super) async fn run(
    net: &Net,
    mut machine: Box<dyn Machine>,
    stop: impl Future<Output = ()>,
    mut watch: impl FnMut(&Event<'_>),
) -> Outcome {
    let mut stop = pin!(stop);
    let mut stopped = false;
    let mut inputs = VecDeque::from([(net.now(), Precision::Process, Input::Start)]);
    loop {
        let (mut now, precision, input) = match inputs.pop_front() {
            Some(next) => next,
            None => {
                let deadline = machine.deadline().map(|tick| net.clock().instant(tick));
                let input = tokio::select! {
                    () = &mut stop, if !stopped => { stopped = true; Input::Stop }
                    () = sleep_until(deadline) => Input::Deadline,
                };
                (net.now(), Precision::Process, input)
            }
        };
        watch(&Event::In {
            at: &now,
            precision,
            input: &input,
        });
        let outputs = machine.handle(&mut now, input);
        for output in outputs {
            watch(&Event::Out {
                at: now.peek(),
                output: &output,
            });
            match output {
                Output::Done(outcome) => return outcome,
                effect => inputs.extend(refuse(net, &effect)),
            }
        }
    }
}

async fn sleep_until(deadline: Option<std::time::Instant>) {
    match deadline {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

fn refuse(net: &Net, effect: &Output) -> Option<(Now, Precision, Input)> {
    let failed = |on: Handle, tag: Option<u32>, call: Call| Input::Failed {
        on,
        tag,
        cause: Failure::Os {
            call,
            errno: nix::libc::ENOSYS,
        },
    };
    let input = match effect {
        Output::Resolve { .. } => Input::Resolved(Err(ResolveError::Failed)),
        Output::Resolvers { .. } => Input::Resolvers(Vec::new()),
        Output::Open { on, .. } | Output::Connect { on, .. } => failed(*on, None, Call::Socket),
        Output::Send { on, packet } => failed(*on, Some(packet.tag), Call::Send),
        Output::Write { on, .. } => failed(*on, None, Call::Write),
        Output::Await { on } => Input::Ended {
            on: *on,
            errno: None,
        },
        Output::Read { on, .. } => Input::Read {
            on: *on,
            bytes: Vec::new(),
        },
        Output::Close { .. } | Output::Seen(_) | Output::Done(_) => return None,
    };
    Some((net.now(), Precision::Process, input))
}
