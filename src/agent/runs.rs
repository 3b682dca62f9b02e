//! Runs: what the schedule says is done, and what comes of a run goes to the storage.

use std::sync::{Arc, atomic::Ordering};

use super::{Agent, storage::Message};
use crate::{
    measurement::{Body, Carry, Outcome, Run, Spec, dns::Counts},
    report::lines::{NotRun, Runner},
    result::Document,
    schedule::{self, JobId},
    upload::Queue,
};

/// A run that ended.
pub(super) struct Finished {
    id: JobId,
    carry: Carry,
    /// What a periodic DNS run counted.
    counts: Counts,
}

impl Agent {
    pub(super) fn finished(&mut self, finished: Result<Finished, tokio::task::JoinError>) {
        match finished {
            Ok(Finished { id, carry, counts }) => {
                self.dns += counts;
                self.decide(schedule::Input::Finished { id, carry });
            }
            // A bug of ours: half a dead agent is worse than a restart, and the spool makes a restart cheap.
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => {}
        }
    }

    /// Tells the schedule and does what it says.
    pub(super) fn decide(&mut self, input: schedule::Input) {
        let mut now = self.clock.now(self.status.last_sync());
        for output in self.schedule.handle(&mut now, input) {
            match output {
                schedule::Output::Launch {
                    id,
                    spec,
                    text,
                    carry,
                    seed,
                    late,
                    one_off,
                    ..
                } => {
                    if !one_off {
                        self.note_one_shot(&text);
                    }
                    tracing::debug!(job = id.0, kind = %spec.kind(), target = spec.target(), ?late, "run");
                    self.launch(id, &spec, carry, seed, one_off);
                }
                schedule::Output::Skipped { spec, why, .. } => {
                    tracing::debug!(kind = %spec.kind(), target = spec.target(), ?why, "run skipped");
                    if let Some(line) = self.status.skipped(&spec, why) {
                        self.keep_later(Queue::Periodic, line);
                    }
                }
                schedule::Output::Inconsistent { text, step, .. } => {
                    tracing::warn!(command = %text, ?step, "the clock was set: run skipped and planned anew");
                    let why = NotRun::Inconsistent {
                        now: step.now,
                        planned: step.planned,
                        wait: step.wait,
                        cycle: step.cycle,
                        generated: step.generated,
                    };
                    let line = self.status.not_run(Runner::Periodic, why, &text);
                    self.keep_later(Queue::Periodic, line);
                }
            }
        }
    }

    pub(super) fn launch(
        &mut self,
        id: JobId,
        spec: &Spec,
        carry: Carry,
        seed: u64,
        one_off: bool,
    ) {
        let machine = spec.start(
            Run {
                seed,
                probe_id: self.status.probe_id(),
                replay: false,
            },
            carry,
        );
        let (net, storage) = (self.net.clone(), self.storage.clone());
        let (head, dialect) = (spec.head(&self.version), self.rules.dialect);
        let running = Arc::clone(&self.one_offs_running);
        if one_off {
            running.fetch_add(1, Ordering::Relaxed);
        }
        self.runs.spawn(async move {
            let Outcome { bodies, carry, .. } = net.run(machine, |_| {}).await;
            let mut counts = Counts::default();
            for body in &bodies {
                // The statistics are those of the recurring scheduler (`dns-measurement` 8.3).
                if let (Body::Dns(body), false) = (body, one_off) {
                    counts += body.counts;
                }
            }
            let lines: String = bodies
                .into_iter()
                .map(|body| {
                    Document {
                        head: head.clone(),
                        body,
                    }
                    .line(dialect)
                })
                .collect();
            let idle = one_off && running.fetch_sub(1, Ordering::Relaxed) == 1;
            let queue = if one_off {
                Queue::OneOff
            } else {
                Queue::Periodic
            };
            // Only a stopping agent has no storage any more.
            let _ = storage.send(Message::Keep { queue, lines, idle }).await;
            Finished { id, carry, counts }
        });
    }

    /// A one-shot that ran is not run again when its table is resent, nor after a restart.
    pub(super) fn note_one_shot(&mut self, text: &str) {
        let shots = self
            .one_shots
            .iter()
            .filter(|shot| shot.text == text)
            .cloned();
        let before = self.ran.len();
        self.ran.extend(shots);
        if self.ran.len() > before {
            self.remember_ran();
        }
    }

    pub(super) fn remember_ran(&self) {
        if let Err(error) = self.memory.keep_ran(&self.ran) {
            tracing::warn!(%error, "one-shots may run again after a restart");
        }
    }
}
