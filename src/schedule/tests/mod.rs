//! The schedule and two clocks, by script.

mod bounds;
mod once;
mod properties;
mod tables;
mod time;

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::{
    clock::{Now, Tick},
    dialect::Dialect,
    measurement::{Rules, ping},
};

const NOW: i64 = 1_700_000_000;

/// A schedule and the two clocks that a driver would have.
struct World {
    schedule: Schedule,
    tick: Duration,
    unix: i128,
}

impl World {
    fn new(limits: Limits) -> Self {
        Self {
            schedule: Schedule::new(7, limits),
            tick: Duration::from_secs(500),
            unix: i128::from(NOW) * 1_000_000_000,
        }
    }

    fn tell(&mut self, input: Input) -> Vec<Output> {
        let mut now = Now::new(Tick(self.tick), UnixTime::from_nanos(self.unix), -1);
        self.schedule.handle(&mut now, input)
    }

    fn secs(&self) -> i64 {
        UnixTime::from_nanos(self.unix).secs()
    }

    fn pass(&mut self, by: Duration) {
        self.tick += by;
        self.unix += i128::try_from(by.as_nanos()).unwrap();
    }

    /// Passes time to the next deadline and tells of it.
    fn next(&mut self) -> Vec<Output> {
        let deadline = self.schedule.deadline().expect("something is planned");
        self.pass(deadline.0.saturating_sub(self.tick));
        self.tell(Input::Deadline)
    }

    /// Passes time and tells of each deadline on the way, when it comes.
    fn run(&mut self, by: Duration) -> Vec<Output> {
        let until = self.tick + by;
        let mut outputs = Vec::new();
        while self.schedule.deadline().is_some_and(|at| at.0 <= until) {
            outputs.extend(self.next());
        }
        self.pass(until.saturating_sub(self.tick));
        outputs
    }

    fn load(&mut self, jobs: Vec<Job>) -> Vec<Output> {
        self.tell(Input::Replace {
            table: "7".to_owned(),
            jobs,
        })
    }

    fn finish(&mut self, id: JobId) -> Vec<Output> {
        let carry = Carry::Nothing;
        self.tell(Input::Finished { id, carry })
    }
}

fn job(text: &str, when: When) -> Job {
    let rules = Rules {
        dialect: Dialect::Reference,
        spool: "/tmp/starling".into(),
        unsafe_paths: false,
    };
    Job {
        table: "7".to_owned(),
        text: text.to_owned(),
        spec: Arc::new(Spec::parse(&["evping", "-4", "192.0.2.1"], &rules).unwrap()),
        when,
    }
}

fn every(text: &str, interval: u32, start: i64, spread: Option<u32>) -> Job {
    job(
        text,
        When::Periodic {
            interval,
            start,
            end: None,
            spread,
        },
    )
}

fn until(mut job: Job, new_end: i64) -> Job {
    match &mut job.when {
        When::Periodic { end, .. } | When::Once { end, .. } => *end = Some(new_end),
    }
    job
}

fn once(text: &str) -> Job {
    let (start, end) = (0, None);
    job(text, When::Once { start, end })
}

/// The jobs launched: who, which text, planned when, late by how much.
fn launched(outputs: &[Output]) -> Vec<(JobId, &str, i64, Duration)> {
    outputs
        .iter()
        .filter_map(|output| match output {
            Output::Launch {
                id,
                text,
                planned,
                late,
                ..
            } => Some((*id, &**text, planned.secs(), *late)),
            _ => None,
        })
        .collect()
}

fn only_launch(outputs: &[Output]) -> (JobId, i64) {
    match launched(outputs)[..] {
        [(id, _, planned, _)] if outputs.len() == 1 => (id, planned),
        _ => panic!("{outputs:?}"),
    }
}
