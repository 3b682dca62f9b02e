//! CPU time that was spent, and how often a process slept and woke up meanwhile.

use std::{
    ops::{Add, Sub},
    time::Duration,
};

use nix::{
    sys::{
        resource::{Usage, UsageWho, getrusage},
        time::TimeVal,
    },
    time::{ClockId, clock_gettime},
};

/// What was spent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Spent {
    /// In user code and in the kernel.
    pub(crate) time: Duration,
    /// Times that it gave up the CPU to wait for something.
    pub(crate) waits: u64,
}

impl Add for Spent {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self {
            time: self.time + other.time,
            waits: self.waits + other.waits,
        }
    }
}

impl Sub for Spent {
    type Output = Self;
    fn sub(self, earlier: Self) -> Self {
        Self {
            time: self.time.saturating_sub(earlier.time),
            waits: self.waits.saturating_sub(earlier.waits),
        }
    }
}

/// By this process so far.
pub(crate) fn own() -> Duration {
    clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID)
        .expect("Linux has it")
        .into()
}

/// The same, with waits.
pub(crate) fn spent() -> Spent {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("Linux has it");
    Spent {
        time: own(),
        waits: waits(&usage),
    }
}

/// By all children that have ended.
pub(crate) fn children() -> Duration {
    children_spent().time
}

/// The same, with waits.
pub(crate) fn children_spent() -> Spent {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).expect("Linux has it");
    let time = |value: TimeVal| {
        let whole = Duration::from_secs(value.tv_sec().try_into().unwrap_or(0));
        whole + Duration::from_micros(value.tv_usec().try_into().unwrap_or(0))
    };
    Spent {
        time: time(usage.user_time()) + time(usage.system_time()),
        waits: waits(&usage),
    }
}

fn waits(usage: &Usage) -> u64 {
    usage.voluntary_context_switches().try_into().unwrap_or(0)
}
