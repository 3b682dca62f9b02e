//! When things happened: the kernel's wall-clock stamps as ticks of the monotonic clock.
//!
//! The kernel stamps packets with the wall clock, which can be stepped; round trips are differences of
//! the monotonic clock, which cannot. The two clocks are slewed alike, so their offset stays the same to the
//! nanosecond until the wall clock is stepped: it is kept as an interval that each reading of both clocks
//! narrows, and a reading outside the interval is a step. A stamp that a step makes ambiguous is not used; the
//! time at which this process noticed the packet is, and that is counted.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use super::{Precision, card::CardTime};
use crate::clock::{Clock, Now, Tick, UnixTime, lts};

/// Jitter of clock readings below which two of them agree, in nanoseconds.
const SLACK: i128 = 1_000;

/// A packet may be stamped, and then lie this long in the kernel before a socket has it.
const LAG: Duration = Duration::from_millis(10);
/// The same where the host is so busy that the kernel's own work waits, as long as the clock was not stepped.
const BUSY_LAG: Duration = Duration::from_secs(1);

/// The clocks of all runs.
#[derive(Debug)]
pub(super) struct Timing {
    clock: Clock,
    last_sync: Mutex<Option<UnixTime>>,
    offset: Mutex<Offset>,
    /// Stamps that could not be used.
    unusable: AtomicU64,
    /// Whether a network card has stamped what arrived.
    by_cards: AtomicBool,
}

impl Timing {
    pub(super) fn new(clock: Clock) -> Self {
        let timing = Self {
            clock,
            last_sync: Mutex::new(None),
            offset: Mutex::new(Offset::default()),
            unusable: AtomicU64::new(0),
            by_cards: AtomicBool::new(false),
        };
        timing.sample();
        timing
    }

    pub(super) fn clock(&self) -> Clock {
        self.clock
    }

    pub(super) fn tick(&self) -> Tick {
        self.clock.tick()
    }

    pub(super) fn set_last_sync(&self, at: Option<UnixTime>) {
        *self
            .last_sync
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = at;
    }

    /// Whether a network card stamps what arrives, and may be asked to stamp what leaves.
    pub(super) fn is_stamped_by_cards(&self) -> bool {
        self.by_cards.load(Ordering::Relaxed)
    }

    /// A packet arrived with or without a card's stamp.
    pub(super) fn note_card(&self, stamp: Option<CardTime>) {
        if stamp.is_some() && !self.by_cards.swap(true, Ordering::Relaxed) {
            tracing::debug!("a network card stamps packets: its round trips are used");
        }
    }

    /// Now, by this process's own reading.
    pub(super) fn now(&self) -> Now {
        self.clock.now(self.last_sync())
    }

    /// The time of an event that lies back, at `tick`.
    pub(super) fn back_at(&self, tick: Tick) -> Now {
        self.earlier(&self.now(), tick)
    }

    /// The time of an event that was taken for `now` and lies before that, at `tick`.
    pub(super) fn earlier(&self, now: &Now, tick: Tick) -> Now {
        let by = i128::try_from(now.peek().since(tick).as_nanos()).unwrap_or_default();
        self.at(tick, UnixTime::from_nanos(now.unix().nanos() - by))
    }

    /// `tick` and `unix` as the time of an event.
    fn at(&self, tick: Tick, unix: UnixTime) -> Now {
        Now::new(tick, unix, lts(unix, self.last_sync()))
    }

    fn last_sync(&self) -> Option<UnixTime> {
        *self
            .last_sync
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The time of arrival of a packet that the kernel stamped and that no socket had at `empty_at`. Without a
    /// usable stamp it is the present.
    pub(super) fn stamped(&self, stamp: Option<UnixTime>, empty_at: Tick) -> (Now, Precision) {
        let steady = |stamp| self.try_steady(stamp, empty_at);
        let found = stamp
            .and_then(|stamp| steady(stamp).or_else(|| self.try_stamped(stamp, empty_at - LAG)));
        match found {
            Some(now) => (now, Precision::Kernel),
            None => (self.now(), Precision::Process),
        }
    }

    /// The time of an event that the kernel stamped while the clock ran steadily; `None` if it may have been stepped.
    fn try_steady(&self, stamp: UnixTime, empty_at: Tick) -> Option<Now> {
        let latest = self.sample();
        let offset = *self.offset.lock().unwrap_or_else(PoisonError::into_inner);
        let tick = offset.convert_steady(stamp, empty_at - BUSY_LAG, latest);
        tick.map(|tick| self.at(tick, stamp))
    }

    /// The time of an event that the kernel stamped and that cannot lie before `earliest`; `None` if the stamp
    /// cannot be trusted.
    pub(super) fn try_stamped(&self, stamp: UnixTime, earliest: Tick) -> Option<Now> {
        let latest = self.sample();
        let offset = *self.offset.lock().unwrap_or_else(PoisonError::into_inner);
        let tick = offset.convert(stamp, earliest, latest);
        if tick.is_none() {
            let count = self.unusable.fetch_add(1, Ordering::Relaxed) + 1;
            tracing::debug!(count, "kernel time stamp not usable, clock stepped?");
        }
        tick.map(|tick| self.at(tick, stamp))
    }

    /// Reads both clocks, which is how a step is noticed; returns the tick of the reading.
    fn sample(&self) -> Tick {
        let before = self.clock.tick();
        let wall = self.clock.unix();
        let after = self.clock.tick();
        let mut offset = self.offset.lock().unwrap_or_else(PoisonError::into_inner);
        offset.sample(before, wall, after);
        after
    }
}

/// Wall clock minus monotonic clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Offset {
    now: Option<Interval>,
    /// What it was before the last step, and by when that step was noticed.
    stepped: Option<(Interval, Tick)>,
}

/// Nanoseconds, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Interval {
    low: i128,
    high: i128,
}

impl Interval {
    const fn middle(self) -> i128 {
        self.low + (self.high - self.low) / 2
    }
}

impl Offset {
    /// The wall clock was read as `wall` at some moment from `before` to `after`.
    fn sample(&mut self, before: Tick, wall: UnixTime, after: Tick) {
        let read = Interval {
            low: wall.nanos() - nanos(after),
            high: wall.nanos() - nanos(before),
        };
        self.now = Some(match self.now {
            None => read,
            Some(known) if read.low > known.high + SLACK || read.high < known.low - SLACK => {
                self.stepped = Some((known, after));
                read
            }
            Some(known) => {
                let both = Interval {
                    low: known.low.max(read.low),
                    high: known.high.min(read.high),
                };
                if both.low <= both.high { both } else { read }
            }
        });
    }

    /// The same if no step was noticed since `earliest`.
    fn convert_steady(&self, stamp: UnixTime, earliest: Tick, latest: Tick) -> Option<Tick> {
        let is_steady = self.stepped.is_none_or(|(_, noticed)| noticed < earliest);
        if is_steady {
            self.convert(stamp, earliest, latest)
        } else {
            None
        }
    }

    /// The tick at which the wall clock showed `stamp`, known to lie from `earliest` to `latest`. `None` if
    /// no reading fits, or if one fits before and another one after a step.
    fn convert(&self, stamp: UnixTime, earliest: Tick, latest: Tick) -> Option<Tick> {
        let fits = |offset: Interval| {
            let tick = stamp.nanos() - offset.middle();
            let fits = tick >= nanos(earliest) - SLACK && tick <= nanos(latest) + SLACK;
            fits.then(|| tick_of(tick)).flatten()
        };
        let with_present = self.now.and_then(fits);
        let with_former = self
            .stepped
            .filter(|(_, noticed)| *noticed > earliest)
            .and_then(|(offset, _)| fits(offset));
        match (with_present, with_former) {
            (Some(tick), None) | (None, Some(tick)) => Some(tick),
            (None, None) | (Some(_), Some(_)) => None,
        }
    }
}

fn nanos(tick: Tick) -> i128 {
    i128::try_from(tick.0.as_nanos()).unwrap_or(i128::MAX / 4)
}

fn tick_of(nanos: i128) -> Option<Tick> {
    u64::try_from(nanos.max(0))
        .ok()
        .map(|nanos| Tick(Duration::from_nanos(nanos)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const EPOCH: i128 = 1_700_000_000_000_000_000;

    fn micros(micros: u64) -> Tick {
        Tick(Duration::from_micros(micros))
    }

    fn wall(micros: i128) -> UnixTime {
        UnixTime::from_nanos(EPOCH + micros * 1_000)
    }

    /// Offset `EPOCH`, read at 0 within 2 µs.
    fn settled() -> Offset {
        let mut offset = Offset::default();
        offset.sample(micros(0), wall(1), micros(2));
        offset
    }

    #[test]
    fn each_reading_narrows_the_offset() {
        let mut offset = settled();
        offset.sample(micros(1_000), wall(1_000), micros(1_001));
        let known = offset.now.unwrap();
        assert_eq!((known.low, known.high), (EPOCH - 1_000, EPOCH));
    }

    #[test]
    fn a_reading_that_was_interrupted_does_not_widen_it() {
        let mut offset = settled();
        offset.sample(micros(1_000), wall(1_001), micros(1_002));
        let before = offset.now;
        offset.sample(micros(2_000), wall(2_005), micros(9_000));
        assert_eq!(offset.now, before);
        assert_eq!(offset.stepped, None);
    }

    #[test]
    fn a_packet_that_a_busy_kernel_hands_over_late_keeps_its_stamp_unless_the_clock_was_stepped() {
        let mut offset = settled();
        offset.sample(micros(60_000), wall(60_000), micros(60_001));
        // Stamped at 1 ms, in the socket's queue at 55 ms, which was seen empty at 50 ms.
        let (stamp, empty_at) = (wall(1_000), micros(50_000));
        assert_eq!(offset.convert(stamp, empty_at - LAG, micros(60_001)), None);
        let tick = offset.convert_steady(stamp, empty_at - BUSY_LAG, micros(60_001));
        assert!(tick.is_some_and(|tick| tick.since(micros(1_000)) <= Duration::from_micros(2)));
        offset.sample(micros(70_000), wall(170_000), micros(70_001));
        let tick = offset.convert_steady(stamp, empty_at - BUSY_LAG, micros(70_001));
        assert_eq!(tick, None);
    }

    #[test]
    fn a_stamp_becomes_the_tick_at_which_it_was_made() {
        let mut offset = settled();
        offset.sample(micros(1_000), wall(1_000), micros(1_000));
        let tick = offset.convert(wall(1_500), micros(1_000), micros(2_000));
        assert_eq!(tick, Some(micros(1_500)));
    }

    #[test]
    fn a_stamp_outside_what_is_possible_is_not_used() {
        let offset = settled();
        assert_eq!(
            offset.convert(wall(900), micros(1_000), micros(2_000)),
            None
        );
        assert_eq!(
            offset.convert(wall(2_100), micros(1_000), micros(2_000)),
            None
        );
    }

    #[test]
    fn a_stamp_from_before_a_large_step_is_read_with_the_offset_of_its_time() {
        let mut offset = settled();
        offset.sample(micros(1_000), wall(1_000), micros(1_000));
        // Stamped at 1500, the clock set ahead by ten seconds, read at 2000.
        offset.sample(micros(2_000), wall(10_002_000), micros(2_000));
        let tick = offset.convert(wall(1_500), micros(1_000), micros(2_000));
        assert_eq!(tick, Some(micros(1_500)));
    }

    #[test]
    fn a_stamp_from_after_a_large_step_is_read_with_the_new_offset() {
        let mut offset = settled();
        offset.sample(micros(1_000), wall(1_000), micros(1_000));
        offset.sample(micros(2_000), wall(-9_998_000), micros(2_000));
        let tick = offset.convert(wall(-9_998_200), micros(1_000), micros(2_000));
        assert_eq!(tick, Some(micros(1_800)));
    }

    #[test]
    fn a_stamp_that_fits_before_and_after_a_small_step_is_not_used() {
        let mut offset = settled();
        offset.sample(micros(1_000), wall(1_000), micros(1_000));
        offset.sample(micros(2_000), wall(2_100), micros(2_000));
        assert_eq!(
            offset.convert(wall(1_500), micros(1_000), micros(2_000)),
            None
        );
    }

    #[test]
    fn once_past_a_step_is_forgotten() {
        let mut offset = settled();
        offset.sample(micros(2_000), wall(2_100), micros(2_000));
        offset.sample(micros(3_000), wall(3_100), micros(3_000));
        let tick = offset.convert(wall(3_600), micros(3_000), micros(4_000));
        assert_eq!(tick, Some(micros(3_500)));
    }

    proptest::proptest! {
        #[test]
        fn no_stamp_and_no_step_makes_a_tick_outside_the_window(
            steps in proptest::collection::vec((0u64..1_000_000, -5_000_000i128..5_000_000), 0..8),
            stamp in -10_000_000i128..10_000_000, from in 0u64..1_000_000, length in 0u64..1_000_000,
        ) {
            let mut offset = Offset::default();
            for (at, by) in steps {
                offset.sample(micros(at), wall(i128::from(at) + by), micros(at + 1));
            }
            let (earliest, latest) = (micros(from), micros(from + length));
            if let Some(tick) = offset.convert(wall(stamp), earliest, latest) {
                let slack = micros(1).0;
                proptest::prop_assert!(tick >= earliest - slack && tick <= latest + slack);
            }
        }
    }
}
