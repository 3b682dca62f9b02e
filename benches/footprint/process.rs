//! What the kernel tells of a process.

use std::{collections::BTreeMap, fs};

/// One look at `/proc/PID`.
pub(crate) struct Look {
    /// Of `status`, in KiB.
    memory: BTreeMap<String, u64>,
    /// Of `smaps_rollup`, in KiB.
    rollup: BTreeMap<String, u64>,
    /// Voluntary and other context switches of each thread. One that came and went between two looks is missed; the
    /// main thread, which does the waiting, never is.
    switches: BTreeMap<String, [u64; 2]>,
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
        let mut switches = BTreeMap::new();
        for task in fs::read_dir(format!("/proc/{pid}/task")).unwrap() {
            let task = task.unwrap();
            let Ok(status) = fs::read_to_string(task.path().join("status")) else {
                continue;
            };
            let status = numbers(&status);
            let counts = ["voluntary_ctxt_switches", "nonvoluntary_ctxt_switches"];
            let thread = task.file_name().to_string_lossy().into_owned();
            switches.insert(thread, counts.map(|name| status[name]));
        }
        let stat = read("stat");
        let fields: Vec<&str> = stat[stat.rfind(')').unwrap() + 2..].split(' ').collect();
        Self {
            rollup: numbers(&read("smaps_rollup")),
            memory,
            switches,
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
            self.switches.len(),
            self.descriptors
        );
        let a_second = |now: u64, then: u64| now.saturating_sub(then) as f64 / seconds as f64;
        println!(
            "  context switches a second: {:.2} voluntary, {:.2} not; CPU {:.2} ms a second; {:.0} bytes written a second",
            a_second(self.switches_since(before, 0), 0),
            a_second(self.switches_since(before, 1), 0),
            a_second(self.ticks, before.ticks) * 10.0,
            a_second(self.written, before.written),
        );
    }

    fn switches_since(&self, before: &Self, which: usize) -> u64 {
        let one = |(thread, now): (&String, &[u64; 2])| {
            let then = before.switches.get(thread).map_or(0, |then| then[which]);
            now[which].saturating_sub(then)
        };
        self.switches.iter().map(one).sum()
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
