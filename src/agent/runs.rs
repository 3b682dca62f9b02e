//! Runs: what the schedule says is done, and what comes of a run goes to the storage.

use std::{
    fs,
    io::{self, Read as _},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use super::{Agent, storage::Message, watched::Watch};
use crate::{
    clock::Clock,
    dialect::Dialect,
    measurement::{Body, Carry, Head, Kind, Options, Outcome, Run, Spec, dns::Counts},
    net::{Net, recording},
    observe::metrics::{Metrics, Ran},
    report::lines::{NotRun, Runner},
    result::Document,
    schedule::{self, ClockStep, JobId, Skip},
    upload::Queue,
};

/// A run that ended.
pub(super) struct Finished {
    id: JobId,
    carry: Carry,
    /// What a periodic DNS run counted.
    counts: Counts,
}

/// Makes one run: on the network, or on a recording where the command names one (`-R`), recorded where it asks for
/// that (`-W`). Both files lie in `data` below the data directory, which exists only where its owner made it: the path
/// rule held when the command was read.
async fn carry_out(
    net: &Net,
    spec: &Arc<Spec>,
    run: Run,
    carry: Carry,
    watch: &mut Watch,
) -> Outcome {
    if let Some(file) = spec.common.replay.clone() {
        let (spec, now) = (Arc::clone(spec), net.now());
        let clock = recording::replay_clock(now.unix(), now.lts());
        // Files are read, and recordings replayed, where it may take its time.
        let replayed = tokio::task::spawn_blocking(move || {
            let bytes = read_bounded(&file)?;
            recording::replay(&spec, &bytes, clock).map_err(io::Error::other)
        });
        return match replayed.await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(error)) => {
                tracing::info!(%error, "a recording that a command names cannot be replayed");
                Outcome {
                    bodies: Vec::new(),
                    carry: Carry::Nothing,
                    answered: false,
                }
            }
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        };
    }
    let machine = spec.start(run, carry);
    let Some(file) = spec.common.record.clone() else {
        return net.run(machine, |event| watch.see(event)).await;
    };
    let mut recorder = recording::Recorder::new(spec);
    let outcome = net
        .run(machine, |event| {
            watch.see(event);
            recorder.watch(event);
        })
        .await;
    let written = tokio::task::spawn_blocking(move || fs::write(file, recorder.finish()));
    if let Ok(Err(error)) = written.await {
        tracing::info!(%error, "a recording that a command asks for cannot be written");
    }
    outcome
}

/// Counts a run that ended.
fn count(metrics: &Metrics, spec: &Spec, id: Option<&str>, bodies: &[Body], clock: Clock) {
    let mut ran = Ran {
        kind: spec.kind().name(),
        measurement: id,
        requests: 0,
        answered: 0,
        rtt_sum: 0.0,
        rtt_min: None,
        now: clock.tick(),
        time: clock.unix().secs(),
    };
    for figures in bodies.iter().map(Body::figures) {
        ran.requests += figures.requests;
        ran.answered += figures.answered;
        ran.rtt_sum += figures.rtt_sum;
        ran.rtt_min = ran
            .rtt_min
            .into_iter()
            .chain(figures.rtt_min)
            .min_by(f64::total_cmp);
    }
    metrics.ran(&ran);
}

/// What the bodies of a DNS run counted.
fn dns_counts(bodies: &[Body]) -> Counts {
    let mut counts = Counts::default();
    for body in bodies {
        if let Body::Dns(body) = body {
            counts += body.counts;
        }
    }
    counts
}

/// The RESULT lines of a run.
fn lines(head: &Head, bodies: Vec<Body>, dialect: Dialect) -> String {
    let line = |body| {
        Document {
            head: head.clone(),
            body,
        }
        .line(dialect)
    };
    bodies.into_iter().map(line).collect()
}

/// A file that is no larger than a recording may be.
fn read_bounded(file: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let limit = recording::MAX_RECORDING as u64 + 1;
    fs::File::open(file)?.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

impl Agent {
    pub(super) fn finished(&mut self, finished: Result<Option<Finished>, tokio::task::JoinError>) {
        match finished {
            Ok(Some(Finished { id, carry, counts })) => {
                self.dns += counts;
                self.repeats.remove(&id);
                self.decide(schedule::Input::Finished { id, carry });
            }
            // A bug of ours: half a dead agent is worse than a restart, and the spool makes a restart cheap.
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Ok(None) | Err(_) => {}
        }
    }

    /// Tells the schedule and does what it says.
    pub(super) fn decide(&mut self, input: schedule::Input) {
        let mut now = self.clock.now(self.status.last_sync());
        let mut steps = 0;
        for output in self.schedule.handle(&mut now, input) {
            match output {
                schedule::Output::Launch {
                    id,
                    spec,
                    text,
                    carry,
                    seed,
                    planned,
                    late,
                    one_off,
                    ..
                } => {
                    if !one_off {
                        self.note_one_shot(&text);
                    }
                    self.status.metrics.started(late);
                    tracing::debug!(
                        job = id.0,
                        kind = %spec.kind(),
                        target = spec.target(),
                        // Unix nanoseconds, so that lateness can be found from packets too.
                        planned = i64::try_from(planned.nanos()).unwrap_or(i64::MAX),
                        ?late,
                        "run"
                    );
                    self.launch(id, &spec, carry, seed, one_off);
                }
                schedule::Output::Skipped { id, spec, why, .. } => self.skipped(id, &spec, why),
                schedule::Output::Inconsistent { text, step, .. } => {
                    self.planned_anew(&text, step, steps == 0);
                    steps += 1;
                }
            }
        }
    }

    /// A run that was due does not take place.
    fn skipped(&mut self, id: JobId, spec: &Spec, why: Skip) {
        tracing::debug!(kind = %spec.kind(), target = spec.target(), ?why, "run skipped");
        let reason = match why {
            Skip::Busy { .. } => "busy",
            Skip::Full => "full",
        };
        self.status.metrics.skipped(spec.kind().name(), reason);
        let repeats = self.repeats.get(&id);
        let repeats = repeats.map_or(0, |count| count.load(Ordering::Relaxed));
        if let Some(line) = self.status.skipped(spec, why, repeats) {
            self.keep_later(Queue::Periodic, line);
        }
    }

    /// The wall clock was set, so a run is at another time than planned. All jobs notice that at once; the `first` one
    /// says it.
    fn planned_anew(&mut self, text: &str, step: ClockStep, first: bool) {
        let verb = text.split(' ').next().and_then(Kind::from_verb);
        let kind = verb.map_or("unknown", Kind::name);
        self.status.metrics.skipped(kind, "clock_set");
        if first {
            let seconds = step.now - step.planned;
            let side = if seconds < 0 { "behind" } else { "ahead of" };
            tracing::warn!(
                "the clock is {} s {side} what was planned: it was set, or this process stood still; the runs \
                 concerned are skipped and planned anew",
                seconds.unsigned_abs()
            );
        }
        tracing::debug!(command = %text, ?step, "run skipped and planned anew");
        let why = NotRun::Inconsistent {
            now: step.now,
            planned: step.planned,
            wait: step.wait,
            cycle: step.cycle,
            generated: step.generated,
        };
        let line = self.status.not_run(Runner::Periodic, why, text);
        self.keep_later(Queue::Periodic, line);
    }

    pub(super) fn launch(
        &mut self,
        id: JobId,
        spec: &Arc<Spec>,
        carry: Carry,
        seed: u64,
        one_off: bool,
    ) {
        let run = Run {
            seed,
            probe_id: self.status.probe_id(),
            replay: false,
        };
        let (net, storage) = (self.net.clone(), self.storage.clone());
        let (head, dialect) = (spec.head(&self.version), self.rules.dialect);
        let running = Arc::clone(&self.one_offs_running);
        if one_off {
            running.fetch_add(1, Ordering::Relaxed);
        }
        let repeats = match &spec.options {
            Options::Dns(options) if options.retry > 0 => {
                let repeats = Arc::<AtomicU32>::default();
                self.repeats.insert(id, Arc::clone(&repeats));
                Some(repeats)
            }
            _ => None,
        };
        let spec = Arc::clone(spec);
        let (status, clock) = (Arc::clone(&self.status), self.clock);
        let mut leaving = self.leaving.subscribe();
        self.runs.spawn(async move {
            let mut watch = Watch {
                repeats,
                ..Watch::default()
            };
            let Outcome { bodies, carry, .. } = tokio::select! {
                outcome = carry_out(&net, &spec, run, carry, &mut watch) => outcome,
                // A stopping agent drops what is under way, but not what is finished: that still goes to the storage.
                _ = leaving.wait_for(|leaving| *leaving) => return None,
            };
            tracing::debug!(job = id.0, times = %watch.times, "run ended");
            // One-offs have numbers of their own, each used once.
            let number = spec.common.id.as_deref().filter(|_| !one_off);
            count(&status.metrics, &spec, number, &bodies, clock);
            // The statistics are those of the recurring scheduler (`dns-measurement` 8.3).
            let counts = if one_off {
                Counts::default()
            } else {
                dns_counts(&bodies)
            };
            let lines = lines(&head, bodies, dialect);
            let idle = one_off && running.fetch_sub(1, Ordering::Relaxed) == 1;
            let queue = if one_off {
                Queue::OneOff
            } else {
                Queue::Periodic
            };
            // The storage ends only after this sender is gone.
            let _ = storage.send(Message::Keep { queue, lines, idle }).await;
            Some(Finished { id, carry, counts })
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
