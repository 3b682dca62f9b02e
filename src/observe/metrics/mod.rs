//! What the agent counts, and how it is told to Prometheus.
//!
//! [`Metrics`] is what the agent's tasks count in; [`tell`] makes a page of it, of the status document and of what the
//! kernel says of the process. Names and units follow the conventions: base units, `_total` for what only grows. Every
//! label has a bounded set of values. No secret is ever a label or a value.

mod histogram;
mod series;
mod tell;
mod text;

pub use tell::{Page, tell};
pub use text::CONTENT_TYPE;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::clock::Tick;
use histogram::Histogram;
use series::Measurements;

/// Bounds of start lateness, in milliseconds.
const LATENESS: [u64; 12] = [1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 5_000, 30_000];
/// Bounds of the time that an upload takes, in milliseconds.
const UPLOAD: [u64; 11] = [
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000, 300_000,
];

/// Where the agent's tasks count. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Mutex<Counts>>);

/// A run that ended.
#[derive(Clone, Copy, Debug)]
pub struct Ran<'a> {
    /// Its type's name.
    pub kind: &'static str,
    /// The measurement's number, if it is a recurring one of the controller's.
    pub measurement: Option<&'a str>,
    /// What wanted an answer.
    pub requests: u64,
    /// What got one.
    pub answered: u64,
    /// Sum of the answers' round-trip times, in seconds.
    pub rtt_sum: f64,
    /// The shortest of them, in seconds.
    pub rtt_min: Option<f64>,
    /// When it ended.
    pub now: Tick,
    /// The same in Unix seconds.
    pub time: i64,
}

/// The outcome of a post whose results are the controller's now.
pub const ACCEPTED: &str = "accepted";

/// What measurements did to the network, counted from the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Packets sent on datagram and raw sockets.
    pub sent: u64,
    /// TCP connections begun.
    pub connections: u64,
    /// Sockets and connections that the address policy refused.
    pub refused_addresses: u64,
    /// Packets that the cap on packets a second refused.
    pub refused_packets: u64,
    /// Sockets and connections that the cap on sockets refused.
    pub refused_sockets: u64,
}

/// What a session went through, as far as it is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// A registration was asked for.
    Registering,
    /// A registration was answered with `OK`.
    Registered,
    /// A session stands.
    Connected,
    /// Something was lost: which exchange.
    Lost(&'static str),
}

#[derive(Debug)]
struct Counts {
    /// Runs by type and outcome.
    runs: BTreeMap<(&'static str, &'static str), u64>,
    /// Runs that were not made, by type and reason.
    skipped: BTreeMap<(&'static str, &'static str), u64>,
    lateness: Histogram<12>,
    measurements: Measurements,
    steps: BTreeMap<Step, u64>,
    /// Posts by which and outcome.
    posts: BTreeMap<(&'static str, &'static str), u64>,
    post_times: BTreeMap<&'static str, Histogram<11>>,
    /// Result lines made, by queue.
    results: BTreeMap<&'static str, u64>,
}

impl Metrics {
    /// Counts from 0; tells at most so many measurements apart.
    #[must_use]
    pub fn new(measurements: usize) -> Self {
        Self(Arc::new(Mutex::new(Counts {
            runs: BTreeMap::new(),
            skipped: BTreeMap::new(),
            lateness: Histogram::new(LATENESS),
            measurements: Measurements::new(measurements),
            steps: BTreeMap::new(),
            posts: BTreeMap::new(),
            post_times: BTreeMap::new(),
            results: BTreeMap::new(),
        })))
    }

    /// A run began, so late.
    pub fn started(&self, late: Duration) {
        self.counts().lateness.add(late);
    }

    /// A run was not made: its type, and why in a word.
    pub fn skipped(&self, kind: &'static str, why: &'static str) {
        *self.counts().skipped.entry((kind, why)).or_default() += 1;
    }

    /// A run ended; `one_off` ones are not told apart by measurement, for each has a number of its own.
    pub fn ran(&self, ran: &Ran<'_>) {
        let mut counts = self.counts();
        let outcome = if ran.answered > 0 {
            "answered"
        } else {
            "unanswered"
        };
        *counts.runs.entry((ran.kind, outcome)).or_default() += 1;
        counts.measurements.add(ran);
    }

    /// Result lines were made.
    pub fn results(&self, queue: &'static str, lines: u64) {
        *self.counts().results.entry(queue).or_default() += lines;
    }

    /// The session came so far.
    pub fn step(&self, step: Step) {
        *self.counts().steps.entry(step).or_default() += 1;
    }

    /// A post ended: which, `accepted` or why not in a word, and how long it took.
    pub fn posted(&self, post: &'static str, outcome: &'static str, took: Duration) {
        let mut counts = self.counts();
        *counts.posts.entry((post, outcome)).or_default() += 1;
        let times = counts.post_times.entry(post);
        times.or_insert(Histogram::new(UPLOAD)).add(took);
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
