//! Which job runs when: periodic and one-off jobs, spread, overlap, missed runs, clock steps
//! (`controller-protocol` sections 5.1 to 5.4). Pure.
use std::{sync::Arc, time::Duration};

use crate::{
    clock::{Now, Tick, UnixTime},
    measurement::{Carry, Spec},
};

/// Names one job for as long as it is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub u64);

/// A measurement and when it runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    /// The table it came in; one-offs have one of their own choosing.
    pub table: String,
    /// The complete command text: what makes two lines the same.
    pub text: String,
    /// What to measure.
    pub spec: Arc<Spec>,
    /// When.
    pub when: When,
}

/// When a job runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum When {
    /// On the grid `start + k * interval`.
    Periodic {
        /// Seconds, at least 1.
        interval: u32,
        /// Phase.
        start: i64,
        /// No run after it.
        end: Option<i64>,
        /// Spread: offset uniform in `[0, n] - n/2` seconds and a fraction; `None` for no offset.
        spread: Option<u32>,
    },
    /// Once, at once.
    Once,
}

/// Bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Periodic runs at once.
    pub periodic: usize,
    /// One-off runs at once.
    pub one_off: usize,
    /// One-offs waiting for a place.
    pub queue: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            periodic: 1000,
            one_off: 10,
            queue: 10_000,
        }
    }
}

/// What the schedule is told.
#[derive(Clone, Debug)]
pub enum Input {
    /// A table is replaced as a whole.
    Replace {
        /// Which.
        table: String,
        /// Its jobs.
        jobs: Vec<Job>,
    },
    /// One more job.
    Add(Job),
    /// A run ended.
    Finished {
        /// Whose.
        id: JobId,
        /// What its next run starts from.
        carry: Carry,
    },
    /// The time that [`Schedule::deadline`] named has come.
    Deadline,
}

/// What the schedule wants done or known.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Start a run.
    Launch {
        /// Whose; to be named in `Finished`.
        id: JobId,
        /// What.
        spec: Arc<Spec>,
        /// What it starts from.
        carry: Carry,
        /// Its seed.
        seed: u64,
        /// When it was due.
        planned: UnixTime,
        /// How late it is.
        late: Duration,
        /// Whether it is a one-off, whose result goes by its own post.
        one_off: bool,
    },
    /// A run is not made.
    Skipped {
        /// Whose.
        id: JobId,
        /// What.
        spec: Arc<Spec>,
        /// When it was due.
        planned: UnixTime,
        /// Why.
        why: Skip,
    },
    /// The clock jumped: no run, planned anew; a 9807 line says so.
    Inconsistent {
        /// Whose.
        id: JobId,
        /// The command text.
        command: String,
        /// The text of the 9807 line's reason.
        reason: String,
    },
}

/// Why a run is not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Skip {
    /// The job's previous run is still going on.
    Busy {
        /// When that run started.
        since: UnixTime,
    },
    /// As many runs as allowed are going on.
    Full,
}

/// Which job runs when.
#[derive(Debug)]
pub struct Schedule {}

impl Schedule {
    /// Nothing to do; all chance comes from `seed`.
    #[must_use]
    pub fn new(_seed: u64, _limits: Limits) -> Self {
        todo!()
    }

    /// Takes what just happened and says what to do about it.
    pub fn handle(&mut self, _now: &mut Now, _input: Input) -> Vec<Output> {
        todo!()
    }

    /// When to be called next if nothing happens first.
    #[must_use]
    pub fn deadline(&self) -> Option<Tick> {
        todo!()
    }
}
