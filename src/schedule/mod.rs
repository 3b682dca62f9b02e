//! Which job runs when: periodic and one-off jobs, spread, overlap, missed runs, clock steps
//! (`controller-protocol` sections 5.1 to 5.4, decisions in section 10 rows 14 to 18). Pure.
//!
//! - A *periodic* job runs on its grid, once a cycle, never twice at a time. What is missed stays missed; what
//!   the clock jumped over is reported and planned anew.
//! - A *one-shot* is a table's line without interval: it runs once, and not again when its table is resent.
//! - A *one-off* is no part of a table: it runs as soon as there is room among the one-offs.
//!
//! The three have their own bounds, so none delays another: a one-off never holds up a periodic run. What a
//! job's run leaves for the next one is kept here, so that a resent table does not lose it.
//!
//! Jobs that wait for their time are in an ordered set: an event costs the logarithm of their number.

mod board;
mod cycle;

use std::{sync::Arc, time::Duration};

pub use board::Schedule;

use crate::{
    clock::UnixTime,
    measurement::{Carry, Kind, Spec},
};

/// Names one job for as long as it is loaded. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub u64);

/// A measurement and when it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// The table it is a line of, for example `7`. Without meaning for one-offs.
    pub table: String,
    /// The complete command text. With interval and start it makes two lines of a table the same.
    pub text: String,
    /// What to measure.
    pub spec: Arc<Spec>,
    /// When.
    pub when: When,
}

/// When a job runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// On the grid `start + k * interval`, both in seconds.
    Periodic {
        /// Seconds between slots, at least 1 (0 counts as 1).
        interval: u32,
        /// Phase of the grid: a moment, or a small number as an offset from the epoch.
        start: i64,
        /// No run after this second.
        end: Option<i64>,
        /// Spread in seconds: the offset is uniform in `[0, n] - n/2` and a fraction; `None` for no offset.
        spread: Option<u32>,
    },
    /// Once, at once: a line with interval 0, or a one-off.
    Once {
        /// Of a line: tells it from an equal one that ran. A later start does not delay it.
        start: i64,
        /// No run after this second.
        end: Option<i64>,
    },
}

/// A loaded job, as a person would ask for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// Its type.
    pub kind: Kind,
    /// Whether it is no part of a table.
    pub one_off: bool,
    /// Whether a run of it is under way.
    pub running: bool,
    /// When its next run is due; `None` for what runs once.
    pub next: Option<UnixTime>,
}

/// Bounds on what goes on at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Periodic runs. Of more, those due wait for room; after ten seconds they are skipped.
    pub periodic: usize,
    /// Runs of one-shots of tables. Of more, they wait: their number is bounded by the table's.
    pub one_shot: usize,
    /// One-off runs. Of more, they wait.
    pub one_off: usize,
    /// One-offs that wait. Of more, the newest is skipped.
    pub queue: usize,
}

impl Default for Limits {
    /// Ten one-offs as the official probe; no official bound exists for the others.
    fn default() -> Self {
        Self {
            periodic: 1000,
            one_shot: 10,
            one_off: 10,
            queue: 10_000,
        }
    }
}

/// What the schedule is told.
#[derive(Clone, Debug)]
pub enum Input {
    /// A one-shot that ran before the agent was started: not again when its table is loaded.
    AlreadyRan(OneShot),
    /// A table is replaced as a whole. Lines that are the same go on as if nothing had happened.
    Replace {
        /// Which.
        table: String,
        /// Its jobs.
        jobs: Vec<Job>,
    },
    /// One more job: a periodic one joins its table, a `Once` is a one-off.
    Add(Job),
    /// A run ended, whatever came of it. Without this the job counts as running for ever.
    Finished {
        /// Whose.
        id: JobId,
        /// What its next run starts from.
        carry: Carry,
    },
    /// The time that [`Schedule::deadline`] named has come.
    Deadline,
}

/// A one-shot, told apart from others.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OneShot {
    /// Its table.
    pub table: String,
    /// The start that its line names, in Unix seconds.
    pub start: i64,
    /// Its complete command text.
    pub text: String,
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
        /// The command text.
        text: Arc<str>,
        /// What it starts from.
        carry: Carry,
        /// Where all of its chance comes from.
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
        /// The command text.
        text: Arc<str>,
        /// When it was due.
        planned: UnixTime,
        /// Why.
        why: Skip,
    },
    /// The clock jumped: no run, planned anew; a 9807 line says so (`controller-protocol` section 7.2).
    Inconsistent {
        /// Whose.
        id: JobId,
        /// The command text.
        text: Arc<str>,
        /// What the line tells.
        step: ClockStep,
    },
}

/// A run whose planned time and the time of its firing are too far apart; all times in Unix seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockStep {
    /// The time of firing.
    pub now: i64,
    /// The time planned.
    pub planned: i64,
    /// Seconds from planning to the time planned.
    pub wait: i64,
    /// The number of the slot on its grid.
    pub cycle: i64,
    /// The time of planning.
    pub generated: i64,
}

/// Why a run is not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Skip {
    /// The job's previous run is still going on. (`evtdig` reports that as 9202.)
    Busy {
        /// When that run started.
        since: UnixTime,
    },
    /// As many runs as allowed are going on or waiting.
    Full,
}

#[cfg(test)]
mod tests;
