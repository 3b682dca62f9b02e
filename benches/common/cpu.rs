//! CPU time that was spent.

use std::time::Duration;

use nix::{
    sys::{
        resource::{UsageWho, getrusage},
        time::TimeVal,
    },
    time::{ClockId, clock_gettime},
};

/// By this process so far.
pub(crate) fn own() -> Duration {
    clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID)
        .expect("Linux has it")
        .into()
}

/// By all children that have ended.
pub(crate) fn children() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).expect("Linux has it");
    let time = |value: TimeVal| {
        let whole = Duration::from_secs(value.tv_sec().try_into().unwrap_or(0));
        whole + Duration::from_micros(value.tv_usec().try_into().unwrap_or(0))
    };
    time(usage.user_time()) + time(usage.system_time())
}
