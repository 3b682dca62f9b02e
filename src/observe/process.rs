//! What the kernel says of this process: memory, descriptors, time.

use std::{fs, time::Duration};

use nix::{
    sys::resource::{Resource, UsageWho, getrlimit, getrusage},
    unistd::{SysconfVar, sysconf},
};

/// What a process holds. What the kernel does not tell is missing.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Process {
    /// Bytes of memory that it really takes.
    pub resident: Option<u64>,
    /// Bytes of address space.
    pub virtual_memory: Option<u64>,
    /// Open descriptors.
    pub descriptors: Option<u64>,
    /// How many it may have.
    pub descriptors_most: Option<u64>,
    /// Processor time, user and system.
    pub cpu: Option<Duration>,
    /// Threads.
    pub threads: Option<u64>,
}

impl Process {
    /// Reads /proc: may block for a moment.
    #[must_use]
    pub fn own() -> Self {
        let page = sysconf(SysconfVar::PAGE_SIZE).ok().flatten();
        let page = page.and_then(|size| u64::try_from(size).ok());
        let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
        let mut pages = statm
            .split_whitespace()
            .map(|word| word.parse::<u64>().ok());
        let mut bytes = || pages.next().flatten().zip(page).map(|(n, size)| n * size);
        let (virtual_memory, resident) = (bytes(), bytes());
        let usage = getrusage(UsageWho::RUSAGE_SELF).ok();
        #[allow(
            clippy::useless_conversion,
            reason = "limits are 32 bits wide on 32-bit machines"
        )]
        Self {
            resident,
            virtual_memory,
            // The one that lists them is one more.
            descriptors: entries("/proc/self/fd").map(|count| count.saturating_sub(1)),
            descriptors_most: getrlimit(Resource::RLIMIT_NOFILE)
                .ok()
                .map(|(soft, _)| soft.into()),
            cpu: usage.and_then(|usage| {
                let micros = |time: nix::sys::time::TimeVal| {
                    Some(
                        Duration::from_secs(u64::try_from(time.tv_sec()).ok()?)
                            + Duration::from_micros(u64::try_from(time.tv_usec()).ok()?),
                    )
                };
                Some(micros(usage.user_time())? + micros(usage.system_time())?)
            }),
            threads: entries("/proc/self/task"),
        }
    }
}

fn entries(folder: &str) -> Option<u64> {
    let count = fs::read_dir(folder).ok()?.count();
    u64::try_from(count).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_holds_something() {
        let own = Process::own();
        assert!(own.resident > Some(100_000), "{own:?}");
        assert!(own.virtual_memory >= own.resident, "{own:?}");
        assert!(
            own.descriptors >= Some(3) && own.descriptors <= own.descriptors_most,
            "{own:?}"
        );
        assert!(own.threads >= Some(1), "{own:?}");
        assert!(own.cpu > Some(Duration::ZERO), "{own:?}");
    }
}
