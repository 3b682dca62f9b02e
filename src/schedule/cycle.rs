//! The grid that a periodic job's runs lie on (`controller-protocol` section 5.2): cycle `k` is due at
//! `start + k * interval + offset`.

use rand::{Rng, RngExt, rngs::StdRng};

use crate::clock::UnixTime;

const NANOS: i128 = 1_000_000_000;

/// A grid of slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Grid {
    /// Seconds between slots, at least 1.
    pub(super) interval: u32,
    /// Slot 0.
    pub(super) start: i64,
}

impl Grid {
    /// When cycle `cycle` is due before its offset is added.
    pub(super) fn slot(self, cycle: i64) -> UnixTime {
        let secs = i128::from(self.start) + i128::from(cycle) * i128::from(self.interval.max(1));
        UnixTime::from_nanos(secs * NANOS)
    }

    /// The first cycle of a job that is new at `now`: strictly later than now, and none before the start.
    pub(super) fn first(self, now: UnixTime) -> i64 {
        let since = now.nanos() - i128::from(self.start) * NANOS;
        if since < 0 {
            return 0;
        }
        let cycle = since.div_euclid(i128::from(self.interval.max(1)) * NANOS) + 1;
        i64::try_from(cycle).unwrap_or(i64::MAX)
    }

    /// The cycle after `cycle`: the next one, unless its slot is past already. What was missed stays missed.
    pub(super) fn next(self, cycle: i64, now: UnixTime) -> i64 {
        let next = cycle.saturating_add(1);
        if self.slot(next) < now {
            self.first(now)
        } else {
            next
        }
    }
}

/// Draws the offset of one cycle, in nanoseconds: for a spread of `n` seconds a whole number of seconds in
/// `[0, n]` less `n / 2` rounded down, and a fraction of a second in microseconds.
pub(super) fn draw(spread: Option<u32>, chance: &mut StdRng) -> i128 {
    match spread {
        None | Some(0) => 0,
        Some(n) => {
            let whole = i128::from(chance.random_range(0..=n)) - i128::from(n / 2);
            whole * NANOS + i128::from(chance.random_range(0..1_000_000u32)) * 1000
        }
    }
}

/// The seed of one run.
pub(super) fn seed(chance: &mut StdRng) -> u64 {
    chance.next_u64()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng;

    use super::*;

    fn at(secs: i64) -> UnixTime {
        UnixTime::from_secs(secs)
    }

    #[test]
    fn the_first_cycle_is_strictly_later_and_not_before_the_start() {
        let grid = Grid {
            interval: 240,
            start: 269,
        };
        assert_eq!(grid.first(at(0)), 0);
        assert_eq!(grid.first(at(268)), 0);
        assert_eq!(grid.first(at(269)), 1);
        assert_eq!(grid.first(at(269 + 239)), 1);
        assert_eq!(grid.first(at(269 + 240)), 2);
        assert_eq!(grid.slot(2), at(269 + 480));
    }

    #[test]
    fn missed_slots_are_skipped() {
        let grid = Grid {
            interval: 60,
            start: 0,
        };
        assert_eq!(grid.next(5, at(300)), 6);
        assert_eq!(grid.next(5, at(360)), 6);
        assert_eq!(grid.next(5, at(361)), 7);
        assert_eq!(grid.next(5, at(3600)), 61);
        // The clock went back: cycles never do by themselves.
        assert_eq!(grid.next(5, at(0)), 6);
    }

    #[test]
    fn an_offset_of_spread_3_lies_between_minus_1_and_3_seconds() {
        let mut chance = StdRng::seed_from_u64(1);
        let drawn: Vec<i128> = (0..2000).map(|_| draw(Some(3), &mut chance)).collect();
        assert!(drawn.iter().all(|ns| (-NANOS..3 * NANOS).contains(ns)));
        for whole in -1..3 {
            assert!(drawn.iter().any(|ns| ns.div_euclid(NANOS) == whole));
        }
        assert!(drawn.iter().any(|ns| ns.rem_euclid(NANOS) != 0));
        assert_eq!(draw(None, &mut chance), 0);
        assert_eq!(draw(Some(0), &mut chance), 0);
    }

    proptest! {
        #[test]
        fn no_time_and_no_grid_overflows(interval: u32, start: i64, now: i64, cycle: i64) {
            let grid = Grid { interval, start };
            let first = grid.first(at(now));
            prop_assert!(first >= 0);
            prop_assert!(grid.slot(first) > at(now) || first == i64::MAX);
            let _ = grid.next(cycle, at(now));
        }
    }
}
