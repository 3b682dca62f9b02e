//! What the controller's tables want done besides measuring: posts and markers, and when they are due.

use std::time::Duration;

use super::{Target, Which};
use crate::protocol::{
    crontab::{CronLine, Distribution},
    utility::{CondMv, HttpPost, Purpose, Task},
};

/// The directory that an official probe names where a controller writes `/home/atlas`.
const SPOOL: &str = "/var/spool/ripe-atlas";
/// The prefix that stands for it.
const ALIAS: &str = "/home/atlas";
/// The file of which we write the marker ourselves, in front of every batch (`controller-protocol` row 33).
const MAIN: &str = "/home/atlas/data/new/main";
/// How far ahead of now a cycle may be before the clock must have been set back (section 5.5).
const AHEAD: i64 = 10;

/// When a line of a table is due (`controller-protocol` sections 5.1 and 5.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Slots {
    /// Seconds from one slot to the next, at least 1.
    pub interval: u32,
    /// Unix seconds of the first slot, and the phase of all others.
    pub start: i64,
    /// Unix seconds after which there are none.
    pub end: Option<i64>,
    /// Each slot is moved by a random whole number of seconds, 0 to this, less half of it.
    pub spread: u32,
}

/// A line of a table that is no measurement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Duty {
    /// A post of results, or of the time alone.
    Post {
        /// When.
        slots: Slots,
        /// What and where to.
        order: Order,
    },
    /// `condmv -A`: a line that says that the results up to here are handed over.
    Marker {
        /// When.
        slots: Slots,
        /// The text, such as `RESULT 9907 ongoing`.
        text: String,
        /// The path that is printed after the time.
        path: String,
    },
}

/// An `httppost` line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// [`Which::Main`] or [`Which::TimeSync`].
    pub which: Which,
    /// Host of the URL, without port and brackets.
    pub host: String,
    /// Path and query of the URL.
    pub target: Target,
    /// `-A`: the number of the line that tells of a clock that is off.
    pub id: String,
    /// `--set-time`: tolerance in seconds; `None` leaves the time alone.
    pub set_time: Option<u32>,
    /// `--maxpostsize`: bytes of body at most.
    pub max_post_size: u64,
    /// `--local-time`: send our time along.
    pub local_time: bool,
    /// `--timeout`: the longest wait for an answer.
    pub timeout: Duration,
}

impl Duty {
    /// What a line of table `main` asks for, if it is ours to do.
    #[must_use]
    pub fn of_main(line: &CronLine) -> Option<Self> {
        match Task::of_main_table(&line.command).ok()? {
            Task::HttpPost(post) => Some(Self::Post {
                slots: Slots::of(line)?,
                order: Order::of(post),
            }),
            Task::CondMv(condmv) if condmv.from != MAIN => {
                let path = condmv.from.clone();
                Self::marker(line, condmv, path)
            }
            _ => None,
        }
    }

    /// What a line of the measurement table (`7`) asks for, if it is ours to do: there, paths are printed as
    /// they are on an official probe.
    #[must_use]
    pub fn of_measurement_table(line: &CronLine) -> Option<Self> {
        match Task::of_measurement_table(&line.command).ok()? {
            Task::CondMv(condmv) => {
                let path = match condmv.from.strip_prefix(ALIAS) {
                    Some(rest) if rest.starts_with('/') => format!("{SPOOL}{rest}"),
                    _ => condmv.from.clone(),
                };
                Self::marker(line, condmv, path)
            }
            _ => None,
        }
    }

    fn marker(line: &CronLine, condmv: CondMv, path: String) -> Option<Self> {
        let text = condmv.text.filter(|text| text.starts_with("RESULT "))?;
        Some(Self::Marker {
            slots: Slots::of(line)?,
            text,
            path,
        })
    }

    /// When it is due.
    #[must_use]
    pub const fn slots(&self) -> Slots {
        match self {
            Self::Post { slots, .. } | Self::Marker { slots, .. } => *slots,
        }
    }
}

impl Order {
    fn of(post: HttpPost) -> Self {
        Self {
            which: match post.purpose() {
                Purpose::Main => Which::Main,
                Purpose::TimeSync => Which::TimeSync,
            },
            host: post.host,
            target: Target(post.path_and_query),
            id: post.id.unwrap_or_else(|| "9015".to_owned()),
            set_time: post.set_time.filter(|tolerance| *tolerance > 0),
            max_post_size: post.max_post_size,
            local_time: post.local_time,
            timeout: Duration::from_secs(post.timeout.map_or(300, u64::from).clamp(1, 300)),
        }
    }
}

impl Slots {
    /// Of a line that recurs; one that does not is no way to run an upload.
    fn of(line: &CronLine) -> Option<Self> {
        (line.interval > 0).then_some(Self {
            interval: line.interval,
            start: line.start,
            end: line.end,
            spread: match line.distribution {
                Distribution::Uniform(spread) => spread,
                Distribution::None => 0,
            },
        })
    }

    /// The first cycle whose slot, before it is moved, is later than `now`; the first of all before the start.
    const fn cycle_after(&self, now: i64) -> i64 {
        if now < self.start {
            0
        } else {
            now.saturating_sub(self.start) / self.interval as i64 + 1
        }
    }

    const fn slot(&self, cycle: i64) -> i64 {
        self.start
            .saturating_add(cycle.saturating_mul(self.interval as i64))
    }

    const fn is_over(&self, now: i64) -> bool {
        matches!(self.end, Some(end) if now > end)
    }
}

/// A duty and its next slot.
#[derive(Clone, Debug)]
pub(super) struct Planned {
    pub(super) duty: Duty,
    cycle: i64,
    /// Seconds by which this cycle's slot is moved.
    offset: i64,
    /// The second after the last run: whatever a table says, a line runs once a second at most.
    not_before: i64,
}

impl Planned {
    /// Plans a line that was just loaded: never at once.
    pub(super) fn new(duty: Duty, now: i64, draw: impl FnMut(u32) -> u32) -> Self {
        let cycle = duty.slots().cycle_after(now);
        let mut planned = Self {
            duty,
            cycle,
            offset: 0,
            not_before: i64::MIN,
        };
        planned.draw(draw);
        planned
    }

    fn draw(&mut self, mut draw: impl FnMut(u32) -> u32) {
        let slots = self.duty.slots();
        // More than the interval would put slots before those that have been.
        let spread = slots.spread.min(slots.interval);
        self.offset = i64::from(draw(spread)) - i64::from(spread / 2);
    }

    /// When it is due next, in Unix seconds; `None` once its end is past.
    pub(super) fn due(&self, now: i64) -> Option<i64> {
        let slots = self.duty.slots();
        if slots.is_over(now) {
            return None;
        }
        let moved = slots.slot(self.cycle).saturating_add(self.offset);
        // The clock was set back: the cycle would be out of reach for long, so it is due at once.
        let set_back = self.cycle > slots.cycle_after(now) + AHEAD;
        let due = if set_back { now } else { moved };
        let rested = if self.not_before <= now + 1 {
            self.not_before
        } else {
            now
        };
        Some(due.max(slots.start).max(rested))
    }

    /// Moves on to the next slot: those that were missed are not made up for.
    pub(super) fn advance(&mut self, now: i64, draw: impl FnMut(u32) -> u32) {
        let slots = self.duty.slots();
        let next = self.cycle.saturating_add(1);
        let missed = slots.slot(next) <= now;
        let set_back = next > slots.cycle_after(now) + AHEAD;
        self.cycle = if missed || set_back {
            slots.cycle_after(now)
        } else {
            next
        };
        self.not_before = now + 1;
        self.draw(draw);
    }
}
