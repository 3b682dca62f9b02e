//! At most so many registrations an hour, whatever happens.

use std::{collections::VecDeque, time::Duration};

use crate::clock::{Now, Tick};

/// Registrations an hour, at most.
pub(super) const PER_HOUR: usize = 20;
const HOUR: Duration = Duration::from_secs(3600);

/// The registrations of the last hour: when each stops counting, and when it was made by the wall clock.
#[derive(Clone, Debug, Default)]
pub(super) struct Quota(VecDeque<(Tick, i64)>);

impl Quota {
    /// From the times of an earlier run. One that seems to lie ahead, because the clock went back, counts as
    /// just made.
    pub(super) fn restored(times: &[i64], now: &Now) -> Self {
        let recent = times.iter().rev().take(PER_HOUR).rev();
        let left = recent.filter_map(|time| {
            // A second less, since both times were cut to whole seconds.
            let age = now
                .unix()
                .secs()
                .saturating_sub(*time)
                .saturating_sub(1)
                .max(0);
            let left = HOUR.checked_sub(Duration::from_secs(u64::try_from(age).unwrap_or(0)))?;
            (!left.is_zero()).then_some((now.peek() + left, *time))
        });
        let mut list: Vec<(Tick, i64)> = left.collect();
        list.sort_unstable();
        Self(list.into())
    }

    /// How long until the next registration may be made.
    pub(super) fn wait(&mut self, now: Tick) -> Duration {
        while self.0.front().is_some_and(|(end, _)| *end <= now) {
            self.0.pop_front();
        }
        match self.0.front() {
            Some((end, _)) if self.0.len() >= PER_HOUR => end.since(now),
            _ => Duration::ZERO,
        }
    }

    /// A registration is made now.
    pub(super) fn count(&mut self, now: &Now) {
        self.0.push_back((now.peek() + HOUR, now.unix().secs()));
    }

    /// The last one did not reach a server.
    pub(super) fn uncount(&mut self) {
        self.0.pop_back();
    }

    /// The wall-clock times, for the state at rest.
    pub(super) fn times(&self) -> Vec<i64> {
        self.0.iter().map(|(_, time)| *time).collect()
    }
}
