//! What time it is, as data: the one place that reads the system's clocks.
//!
//! Everything that decides is handed the time; only drivers call [`Clock`]. Three notions are kept
//! apart: [`Tick`] is monotonic and good for differences, [`UnixTime`] is the wall clock and good for
//! people and for the controller, and *last sync* is when the controller last confirmed the wall clock
//! (`lts` in result lines, `controller-protocol` section 6.7).

use std::{
    fmt,
    ops::{Add, Sub},
    time::Duration,
};

/// A moment of the monotonic clock: the time since an origin that stays fixed for the process.
///
/// Two ticks can be subtracted; a tick alone means nothing to a person.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tick(pub Duration);

impl Tick {
    /// The tick that lies `millis` milliseconds after the origin.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }

    /// The tick that lies `secs` seconds after the origin.
    #[must_use]
    pub const fn from_secs(secs: u64) -> Self {
        Self(Duration::from_secs(secs))
    }

    /// How long after `earlier` this tick lies; zero if it lies before.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// Milliseconds from `earlier` to this tick, negative if it lies before: what an RTT is printed from.
    #[must_use]
    pub fn millis_since(self, earlier: Self) -> f64 {
        if self >= earlier {
            (self.0 - earlier.0).as_secs_f64() * 1e3
        } else {
            -((earlier.0 - self.0).as_secs_f64() * 1e3)
        }
    }
}

impl Add<Duration> for Tick {
    type Output = Self;
    fn add(self, by: Duration) -> Self {
        Self(self.0.saturating_add(by))
    }
}

impl Sub<Duration> for Tick {
    type Output = Self;
    fn sub(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(by))
    }
}

/// A moment of the wall clock: nanoseconds since 1970-01-01T00:00:00Z, leap seconds not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixTime(i128);

impl UnixTime {
    /// The moment `secs` whole seconds after the epoch.
    #[must_use]
    pub const fn from_secs(secs: i64) -> Self {
        Self(secs as i128 * 1_000_000_000)
    }

    /// The moment `nanos` nanoseconds after the epoch.
    #[must_use]
    pub const fn from_nanos(nanos: i128) -> Self {
        Self(nanos)
    }

    /// Whole seconds since the epoch, rounded towards the past.
    #[must_use]
    pub fn secs(self) -> i64 {
        i64::try_from(self.0.div_euclid(1_000_000_000)).unwrap_or(i64::MAX)
    }

    /// Nanoseconds since the epoch.
    #[must_use]
    pub const fn nanos(self) -> i128 {
        self.0
    }

    /// The nanoseconds within the second, 0 to 999 999 999.
    #[must_use]
    pub fn subsec_nanos(self) -> u32 {
        u32::try_from(self.0.rem_euclid(1_000_000_000)).unwrap_or(0)
    }
}

impl Add<Duration> for UnixTime {
    type Output = Self;
    fn add(self, by: Duration) -> Self {
        Self(self.0 + i128::try_from(by.as_nanos()).unwrap_or(i128::MAX / 2))
    }
}

impl fmt::Display for UnixTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.secs())
    }
}

/// The time of one event, as a machine sees it.
///
/// Live, every asking within one call gives the same instant: for a packet the kernel's time of its
/// arrival, not the time we noticed. In a replay of recorded traffic each asking for the [tick](Now::tick)
/// is one step later than the one before, which is how those recordings count (`replay-vectors`
/// section 3). So a machine asks exactly once for each tick that it keeps.
#[derive(Clone, Debug)]
pub struct Now {
    tick: Tick,
    unix: UnixTime,
    lts: i64,
    step: Duration,
}

impl Now {
    /// A live instant: monotonic and wall clock, and `lts`, the whole seconds since the wall clock was
    /// last confirmed by a controller (-1 if never).
    #[must_use]
    pub const fn new(tick: Tick, unix: UnixTime, lts: i64) -> Self {
        Self {
            tick,
            unix,
            lts,
            step: Duration::ZERO,
        }
    }

    /// The clock of a replay: the first asking gives `step`, each further one `step` more.
    #[must_use]
    pub const fn counting(step: Duration, unix: UnixTime, lts: i64) -> Self {
        Self {
            tick: Tick(step),
            unix,
            lts,
            step,
        }
    }

    /// The monotonic time of the event. Costs one step in a replay.
    pub fn tick(&mut self) -> Tick {
        let tick = self.tick;
        self.tick = tick + self.step;
        tick
    }

    /// The monotonic time without counting as an asking: for scheduling a deadline, never for a
    /// figure that is reported.
    #[must_use]
    pub const fn peek(&self) -> Tick {
        self.tick
    }

    /// Whether this is the counting clock of a replay, in which timers do not run.
    #[must_use]
    pub fn is_replay(&self) -> bool {
        !self.step.is_zero()
    }

    /// The wall-clock time of the event.
    #[must_use]
    pub const fn unix(&self) -> UnixTime {
        self.unix
    }

    /// The same clock at another wall-clock time: a replay takes receive times from its recording.
    pub const fn set_unix(&mut self, unix: UnixTime) {
        self.unix = unix;
    }

    /// Whole seconds since the wall clock was last confirmed by a controller, -1 if never (`lts`).
    #[must_use]
    pub const fn lts(&self) -> i64 {
        self.lts
    }
}

/// The system's clocks. Cheap to copy; every copy shares the origin it was made with.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: std::time::Instant,
}

impl Clock {
    /// Starts counting ticks now.
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the monotonic clock"
    )]
    pub fn start() -> Self {
        Self {
            origin: std::time::Instant::now(),
        }
    }

    /// The monotonic time.
    #[must_use]
    pub fn tick(&self) -> Tick {
        Tick(self.origin.elapsed())
    }

    /// The wall-clock time.
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the wall clock"
    )]
    pub fn unix(&self) -> UnixTime {
        match std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH) {
            Ok(after) => UnixTime(i128::try_from(after.as_nanos()).unwrap_or(i128::MAX / 2)),
            Err(before) => UnixTime(-i128::try_from(before.duration().as_nanos()).unwrap_or(0)),
        }
    }

    /// Both clocks at once, with `lts` computed from the time of the last synchronisation.
    #[must_use]
    pub fn now(&self, last_sync: Option<UnixTime>) -> Now {
        let unix = self.unix();
        Now::new(self.tick(), unix, lts(unix, last_sync))
    }

    /// The standard library's instant at which `tick` is or was, for the runtime's timers.
    #[must_use]
    pub fn instant(&self, tick: Tick) -> std::time::Instant {
        // A tick too far away to be an instant is as good as never: a century.
        self.origin
            .checked_add(tick.0)
            .unwrap_or(self.origin + Duration::from_secs(100 * 365 * 86_400))
    }
}

/// `lts`: whole seconds from the last synchronisation to `unix`, -1 if there was none
/// (`controller-protocol` section 6.7).
#[must_use]
pub fn lts(unix: UnixTime, last_sync: Option<UnixTime>) -> i64 {
    last_sync.map_or(-1, |sync| unix.secs() - sync.secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counting_clock_advances_by_one_step_an_asking() {
        let step = Duration::new(1, 1000);
        let mut now = Now::counting(step, UnixTime::from_secs(999_999_999), 123);
        let (first, second) = (now.tick(), now.tick());
        assert_eq!(first, Tick(step));
        assert_eq!(format!("{:.6}", second.millis_since(first)), "1000.001000");
    }

    #[test]
    fn a_live_instant_stands_still() {
        let mut now = Now::new(Tick::from_secs(5), UnixTime::from_secs(7), -1);
        assert_eq!(now.tick(), now.tick());
        assert!(!now.is_replay());
    }

    #[test]
    fn seconds_before_the_epoch_round_towards_the_past() {
        let time = UnixTime::from_nanos(-1);
        assert_eq!((time.secs(), time.subsec_nanos()), (-1, 999_999_999));
    }

    #[test]
    fn lts_is_minus_one_until_the_clock_was_confirmed() {
        let now = UnixTime::from_secs(100);
        assert_eq!(lts(now, None), -1);
        assert_eq!(lts(now, Some(UnixTime::from_secs(88))), 12);
    }
}
