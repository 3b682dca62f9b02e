//! When a report is made again: once it changed, and at the latest after an hour (`controller-protocol` sections 7.2
//! and 9). Pure.

use std::time::Duration;

use crate::clock::UnixTime;

/// A report that did not change is repeated after this long.
const AGAIN: Duration = Duration::from_secs(3600);

/// What was reported last, and when.
#[derive(Clone, Debug, Default)]
pub struct Repeats(Option<(String, UnixTime)>);

impl Repeats {
    /// Whether `text` is to be reported at `now`; it counts as reported then. A clock that was set back does not
    /// silence it.
    pub fn is_due(&mut self, now: UnixTime, text: &str) -> bool {
        let is_due = self.0.as_ref().is_none_or(|(told, at)| {
            told != text || now.nanos() > (*at + AGAIN).nanos() || now < *at
        });
        if is_due {
            self.0 = Some((text.to_owned(), now));
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_made_at_the_start_when_it_changes_and_each_hour() {
        let mut repeats = Repeats::default();
        // A pass each 180 s and a bit, as the main loop makes them.
        let mut at = |pass: i64, text| {
            let now = UnixTime::from_nanos(i128::from(pass) * 180_000_100_000);
            repeats.is_due(now, text)
        };
        let due: Vec<i64> = (0..=50).filter(|pass| at(*pass, "a")).collect();
        assert_eq!(due, [0, 20, 40]);
        let due: Vec<i64> = (51..=75).filter(|pass| at(*pass, "b")).collect();
        assert_eq!(due, [51, 71]);
        assert!(!at(72, "b"));
        assert!(at(70, "b"), "the clock was set back");
        assert!(!at(71, "b"));
    }
}
