//! Durations counted by how long they are.

use std::time::Duration;

/// Counts of durations at most as long as each bound, in milliseconds.
#[derive(Clone, Debug)]
pub(super) struct Histogram<const N: usize> {
    bounds: [u64; N],
    counts: [u64; N],
    /// All of them, those beyond the last bound too.
    pub(super) count: u64,
    /// Their sum.
    pub(super) sum: Duration,
}

impl<const N: usize> Histogram<N> {
    /// An empty one; `bounds` ascend.
    pub(super) const fn new(bounds: [u64; N]) -> Self {
        Self {
            bounds,
            counts: [0; N],
            count: 0,
            sum: Duration::ZERO,
        }
    }

    pub(super) fn add(&mut self, duration: Duration) {
        let place = self
            .bounds
            .iter()
            .position(|bound| duration <= Duration::from_millis(*bound));
        if let Some(place) = place {
            self.counts[place] += 1;
        }
        self.count += 1;
        self.sum = self.sum.saturating_add(duration);
    }

    /// Each bound in seconds and how many durations are no longer than it.
    pub(super) fn cumulative(&self) -> impl Iterator<Item = (f64, u64)> + '_ {
        let mut sum = 0;
        self.bounds
            .iter()
            .zip(self.counts)
            .map(move |(bound, count)| {
                sum += count;
                (Duration::from_millis(*bound).as_secs_f64(), sum)
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_counts_what_is_no_longer_than_it() {
        let mut histogram = Histogram::new([1, 10]);
        for micros in [0, 1_000, 1_001, 10_000, 10_001] {
            histogram.add(Duration::from_micros(micros));
        }
        let counts: Vec<_> = histogram.cumulative().collect();
        assert_eq!(counts, [(0.001, 2), (0.01, 4)]);
        assert_eq!(histogram.count, 5);
        assert_eq!(histogram.sum, Duration::from_micros(22_002));
    }
}
