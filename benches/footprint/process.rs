//! What the kernel tells of a process.

use std::{collections::BTreeMap, fs};

/// One look at `/proc/PID`.
pub(crate) struct Look {
    /// Of `status`, in KiB.
    memory: BTreeMap<String, u64>,
    /// Of `smaps_rollup`, in KiB.
    rollup: BTreeMap<String, u64>,
    voluntary: u64,
    involuntary: u64,
    threads: usize,
    descriptors: usize,
    /// User and system time, in ticks of 10 ms.
    ticks: u64,
    /// Bytes that reached the disk's queue.
    written: u64,
}

impl Look {
    pub(crate) fn at(pid: u32) -> Self {
        let read = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap();
        let memory = numbers(&read("status"));
        // The main thread's count only; each thread keeps its own.
        let (mut voluntary, mut involuntary, mut threads) = (0, 0, 0);
        for task in fs::read_dir(format!("/proc/{pid}/task")).unwrap() {
            let Ok(status) = fs::read_to_string(task.unwrap().path().join("status")) else {
                continue;
            };
            let status = numbers(&status);
            voluntary += status["voluntary_ctxt_switches"];
            involuntary += status["nonvoluntary_ctxt_switches"];
            threads += 1;
        }
        let stat = read("stat");
        let fields: Vec<&str> = stat[stat.rfind(')').unwrap() + 2..].split(' ').collect();
        Self {
            rollup: numbers(&read("smaps_rollup")),
            memory,
            voluntary,
            involuntary,
            threads,
            descriptors: fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count(),
            ticks: fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap(),
            written: numbers(&read("io"))["write_bytes"],
        }
    }

    pub(crate) fn print_since(&self, before: &Self, seconds: u64) {
        println!(
            "  resident {} KiB (anonymous {}, file {}), at most {}; proportional {} KiB, dirty {} KiB",
            self.memory["VmRSS"],
            self.memory["RssAnon"],
            self.memory["RssFile"],
            self.memory["VmHWM"],
            self.rollup["Pss"],
            self.rollup["Private_Dirty"],
        );
        println!(
            "  threads {}, descriptors {}",
            self.threads, self.descriptors
        );
        let a_second = |now: u64, then: u64| now.saturating_sub(then) as f64 / seconds as f64;
        println!(
            "  context switches a second: {:.2} voluntary, {:.2} not; CPU {:.2} ms a second; {:.0} bytes written a second",
            a_second(self.voluntary, before.voluntary),
            a_second(self.involuntary, before.involuntary),
            a_second(self.ticks, before.ticks) * 10.0,
            a_second(self.written, before.written),
        );
    }
}

/// The lines `Name: number …`.
fn numbers(text: &str) -> BTreeMap<String, u64> {
    text.lines()
        .filter_map(|line| {
            let (name, rest) = line.split_once(':')?;
            let number = rest.split_ascii_whitespace().next()?.parse().ok()?;
            Some((name.to_owned(), number))
        })
        .collect()
}
