//! What must have arrived, what arrived, and what is wrong with the difference.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    time::{Duration, Instant},
};

use starling::spool::Name;

use super::targets::{Book, Served, now, number};

/// What was answered so long before its agent died must have been on disk: a bound far above what a loaded machine needs.
const UNFINISHED: Duration = Duration::from_secs(10);

/// What one probe produced, as far as it can be known from outside.
#[derive(Default)]
pub(crate) struct Ledger {
    /// Lines seen on the agent's disk after it had died.
    on_disk: BTreeSet<String>,
    /// The ends of agents, one after the other.
    deaths: Vec<Death>,
    /// The longest time that an agent took to end when asked to.
    pub(crate) longest: Duration,
    /// Faults by name.
    pub(crate) faults: BTreeMap<String, u64>,
    /// What is wrong.
    pub(crate) wrong: Vec<String>,
}

/// The end of an agent.
#[derive(Clone, Copy, Debug)]
struct Death {
    /// When it was asked to end, or killed.
    asked: Instant,
    /// When it was gone.
    dead: Instant,
    /// How long before it was asked what was answered may have been under way.
    under_way: Duration,
}

/// The figures of one probe.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Count {
    pub(crate) faults: u64,
    pub(crate) produced: usize,
    pub(crate) accepted: usize,
    pub(crate) duplicates: usize,
    pub(crate) unfinished: usize,
    pub(crate) lost: usize,
}

impl Ledger {
    pub(crate) fn fault(&mut self, name: impl Into<String>) {
        *self.faults.entry(name.into()).or_default() += 1;
    }

    /// The agent is dead: what its disk holds now is what it owes.
    pub(crate) fn death(&mut self, data: &Path, at: Instant) {
        self.stopped(data, at, UNFINISHED);
    }

    /// The agent was asked to end, and is gone: what its disk holds now is what it owes, and all that was finished is
    /// there.
    pub(crate) fn stopped(&mut self, data: &Path, asked: Instant, under_way: Duration) {
        self.deaths.push(Death {
            asked,
            dead: now(),
            under_way,
        });
        self.on_disk.extend(spooled(data));
    }

    /// Compares with what the controller stored, in the order in which it did.
    pub(crate) fn close(&mut self, stored: &[String], book: &Book) -> Count {
        let book = book.lock().expect("nobody panics with the book").clone();
        let mut count = Count {
            faults: self.faults.values().sum(),
            ..Count::default()
        };
        let mut arrived = BTreeSet::new();
        let mut latest: BTreeMap<u32, u32> = BTreeMap::new();
        let mut wrong = Vec::new();
        for line in stored.iter().filter(|line| is_ours(line)) {
            let Some((number, job)) = number(line) else {
                wrong.push(format!("an answer was not understood: {line}"));
                continue;
            };
            let served = book.get(number as usize);
            if served.is_none_or(|served| served.job != job) {
                wrong.push(format!("invented: {line}"));
            } else if !arrived.insert(number) {
                count.duplicates += 1;
            } else if let Some(before) = latest.insert(job, number)
                && before > number
            {
                wrong.push(format!("job {job}: answer {number} came after {before}"));
            }
        }
        let whole: BTreeSet<&String> = stored.iter().collect();
        for line in self.on_disk.iter().filter(|line| !whole.contains(line)) {
            count.lost += 1;
            wrong.push(format!("was on disk and never arrived: {line}"));
        }
        for (number, served) in (0..).zip(&book) {
            if arrived.contains(&number) {
                continue;
            }
            if self.was_cut_off(number, &book, &arrived) {
                count.unfinished += 1;
            } else {
                count.lost += 1;
                wrong.push(format!("answer {number} of job {} is lost", served.job));
            }
        }
        count.accepted = arrived.len();
        count.produced = count.accepted + count.lost;
        self.wrong.extend(wrong);
        count
    }
}

impl Ledger {
    /// Whether the run that this answer was for may have been under way when its agent died: shortly before a death,
    /// and nothing arrived that was answered later in the same life for the same job, nor a second later for the same
    /// queue.
    fn was_cut_off(&self, number: u32, book: &[Served], arrived: &BTreeSet<u32>) -> bool {
        let answer = book[number as usize];
        // Lives end one after the other.
        let death = self.deaths.iter().find(|death| answer.at <= death.dead);
        let Some(death) = death.filter(|death| answer.at + death.under_way > death.asked) else {
            return false;
        };
        let later = (number + 1..).zip(&book[number as usize + 1..]);
        let mut same_life = later.take_while(|(_, served)| served.at <= death.dead);
        !same_life.any(|(later, served)| {
            let same_job = served.job == answer.job;
            let same_queue = is_one_off(served.job) == is_one_off(answer.job)
                && served.at.duration_since(answer.at) > Duration::from_secs(1);
            (same_job || same_queue) && arrived.contains(&later)
        })
    }
}

/// One-offs have a queue of their own.
const fn is_one_off(job: u32) -> bool {
    job >= 30_000
}

/// Whether a line is a result of the bench's jobs, and not one of the probe's own reports.
fn is_ours(line: &str) -> bool {
    ["RESULT { \"id\" : \"2", "RESULT { \"id\" : \"3"]
        .iter()
        .any(|head| line.starts_with(head))
}

/// The results in a data directory's spool, whole lines only.
pub(crate) fn spooled(data: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    for queue in ["results", "one-offs"] {
        let Ok(entries) = fs::read_dir(data.join("spool").join(queue)) else {
            continue;
        };
        for entry in entries.flatten() {
            let Some(Ok(name)) = entry.file_name().to_str().map(str::parse::<Name>) else {
                continue;
            };
            let Ok(bytes) = fs::read(entry.path()) else {
                continue;
            };
            let bytes = match name {
                Name::Packed(..) => {
                    miniz_oxide::inflate::decompress_to_vec_zlib(&bytes).unwrap_or_default()
                }
                Name::Temp(_) | Name::Bad(_) => continue,
                _ => bytes,
            };
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
            lines.extend(
                whole
                    .lines()
                    .filter(|line| is_ours(line))
                    .map(str::to_owned),
            );
        }
    }
    lines
}
