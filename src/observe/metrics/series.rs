//! Metrics by measurement: bounded in number, for a controller may schedule as many as it likes.

use std::{collections::BTreeMap, time::Duration};

use super::Ran;
use crate::clock::Tick;

/// A measurement that did not run for so long gives its place to another one.
const FORGOTTEN: Duration = Duration::from_secs(3600);

/// What the runs of one measurement came to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Series {
    pub(super) requests: u64,
    pub(super) answered: u64,
    /// Sum of the round-trip times, in seconds.
    pub(super) rtt_sum: f64,
    /// The shortest round trip of the latest run that had any, in seconds.
    pub(super) last_rtt: Option<f64>,
    /// Unix seconds of the end of the latest run.
    pub(super) last_run: i64,
    seen: Tick,
}

/// The measurements that are told apart.
#[derive(Clone, Debug)]
pub(super) struct Measurements {
    most: usize,
    /// By number and type.
    pub(super) series: BTreeMap<(String, &'static str), Series>,
    /// Runs that belong to none of them.
    pub(super) untold: u64,
}

impl Measurements {
    /// At most `most` of them; 0 for none.
    pub(super) const fn new(most: usize) -> Self {
        Self {
            most,
            series: BTreeMap::new(),
            untold: 0,
        }
    }

    pub(super) fn add(&mut self, ran: &Ran<'_>) {
        // Those without a number are not the controller's recurring ones.
        let Some(id) = ran.measurement else { return };
        let key = (id.to_owned(), ran.kind);
        if !self.series.contains_key(&key) && !self.make_room(ran.now) {
            self.untold += 1;
            return;
        }
        let series = self.series.entry(key).or_default();
        series.requests += ran.requests;
        series.answered += ran.answered;
        series.rtt_sum += ran.rtt_sum;
        series.last_rtt = ran.rtt_min.or(series.last_rtt);
        series.last_run = ran.time;
        series.seen = ran.now;
    }

    /// Whether there is room for one more.
    fn make_room(&mut self, now: Tick) -> bool {
        if self.series.len() < self.most {
            return true;
        }
        let oldest = self.series.iter().min_by_key(|(_, series)| series.seen);
        match oldest {
            Some((key, series)) if now.since(series.seen) > FORGOTTEN => {
                let key = key.clone();
                self.series.remove(&key);
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ran(measurement: Option<&str>, secs: u64) -> Ran<'_> {
        Ran {
            kind: "ping",
            measurement,
            requests: 3,
            answered: 2,
            rtt_sum: 0.5,
            rtt_min: Some(0.2),
            now: Tick::from_secs(secs),
            time: 1_000,
        }
    }

    #[test]
    fn runs_of_one_measurement_add_up() {
        let mut all = Measurements::new(10);
        all.add(&ran(Some("1001"), 1));
        all.add(&Ran {
            answered: 0,
            rtt_sum: 0.0,
            rtt_min: None,
            ..ran(Some("1001"), 2)
        });
        all.add(&ran(None, 3));
        assert_eq!(all.series.len(), 1);
        let series = all.series[&("1001".to_owned(), "ping")];
        assert_eq!((series.requests, series.answered), (6, 2));
        assert_eq!((series.rtt_sum, series.last_rtt), (0.5, Some(0.2)));
    }

    #[test]
    fn there_are_never_more_than_allowed_and_the_rest_is_counted() {
        let mut all = Measurements::new(2);
        for id in ["1", "2", "3", "3"] {
            all.add(&ran(Some(id), 10));
        }
        assert_eq!((all.series.len(), all.untold), (2, 2));
        // One that no longer runs makes room.
        all.add(&ran(Some("1"), 4_000));
        all.add(&ran(Some("3"), 4_000));
        assert_eq!((all.series.len(), all.untold), (2, 2));
        assert!(all.series.contains_key(&("3".to_owned(), "ping")));
        let mut none = Measurements::new(0);
        none.add(&ran(Some("1"), 1));
        assert_eq!((none.series.len(), none.untold), (0, 1));
    }
}
