//! How long to wait before trying again.

use rand::{Rng, RngExt};
use std::time::Duration;

/// The first wait, before jitter.
pub const FIRST: Duration = Duration::from_secs(5);
/// The longest wait, before jitter.
pub const LONGEST: Duration = Duration::from_secs(300);
/// The part of a wait that chance may add or take away: many probes that lost the same server come back apart.
const JITTER: f64 = 0.2;

/// Waits that double from [`FIRST`] to [`LONGEST`], each with ±20 % jitter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The next wait.
    pub fn next(&mut self, random: &mut impl Rng) -> Duration {
        // Six doublings reach the longest wait; more would only overflow.
        let doubled = FIRST * 2_u32.pow(self.failures.min(6));
        self.failures = self.failures.saturating_add(1);
        doubled
            .min(LONGEST)
            .mul_f64(random.random_range(1.0 - JITTER..=1.0 + JITTER))
    }

    /// The next wait, but no shorter than `least`: what chance would take away below it is added instead, so
    /// that probes still come back apart.
    pub fn next_at_least(&mut self, least: Duration, random: &mut impl Rng) -> Duration {
        let doubled = FIRST * 2_u32.pow(self.failures.min(6));
        self.failures = self.failures.saturating_add(1);
        let base = doubled.clamp(least, LONGEST.max(least));
        let wait = base.mul_f64(random.random_range(1.0 - JITTER..=1.0 + JITTER));
        least + wait.abs_diff(least)
    }

    /// Success: the next wait is the first again.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{SeedableRng, rngs::StdRng};

    #[test]
    fn waits_double_from_five_seconds_to_three_hundred_within_a_fifth() {
        let mut random = StdRng::seed_from_u64(1);
        let mut backoff = Backoff::default();
        for base in [5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 300.0, 300.0, 300.0] {
            let wait = backoff.next(&mut random).as_secs_f64();
            assert!(
                (base * 0.8..=base * 1.2).contains(&wait),
                "{wait} for {base}"
            );
        }
        backoff.reset();
        assert!(backoff.next(&mut random) <= Duration::from_secs(6));
    }

    #[test]
    fn a_least_wait_is_kept_and_still_spread() {
        let least = Duration::from_secs(180);
        let mut random = StdRng::seed_from_u64(2);
        let mut waits: Vec<Duration> = (0..50)
            .map(|_| Backoff::default().next_at_least(least, &mut random))
            .collect();
        assert!(
            waits
                .iter()
                .all(|wait| (least..=Duration::from_secs(216)).contains(wait)),
            "{waits:?}"
        );
        waits.sort();
        waits.dedup();
        assert!(waits.len() > 40);
    }
}
