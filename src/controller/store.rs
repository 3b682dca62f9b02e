//! Accepted lines and the list of probes, on disk.
//!
//! `results-YYYY-MM-DD.ndjson` holds one JSON object a line: when it came (Unix seconds), from which probe, the
//! measurement's number if it has one, and the RESULT line verbatim. A line is either whole or absent: what a crash
//! cut off was never acknowledged and is removed when the file is opened again.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{identity::ProbeId, messages::Record, registry::Known};
use crate::calendar::{self, day_of};

/// What [`Store`] writes a line.
#[derive(Debug, Serialize, Deserialize)]
struct Row<'a> {
    received: i64,
    probe: ProbeId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    msm: Option<u64>,
    line: std::borrow::Cow<'a, str>,
}

/// Where accepted lines go.
#[derive(Debug)]
pub(super) struct Store {
    dir: PathBuf,
    day: Option<(i64, Whole)>,
    accepted: Option<Whole>,
}

/// A file of whole lines: a write that fails half-way is taken back.
#[derive(Debug)]
struct Whole {
    file: File,
    len: u64,
}

/// How many bytes of stored lines are read again at the start.
const MAX_RECENT: u64 = 64 << 20;

impl Store {
    /// Opens the store in `dir`, which is made if it is missing.
    pub(super) fn open(dir: &Path, accepted: Option<&Path>) -> io::Result<Self> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)?;
        Ok(Self {
            dir: dir.to_owned(),
            day: None,
            accepted: accepted.map(Whole::open).transpose()?,
        })
    }

    /// Writes the records durably, or, as far as can be told, none of them.
    pub(super) fn write(&mut self, records: &[Record]) -> io::Result<()> {
        if records.is_empty() {
            return Ok(());
        }
        for records in records.chunk_by(|one, other| day_of(one.received) == day_of(other.received))
        {
            let file = self.file_of(day_of(records[0].received))?;
            let mut text = Vec::new();
            for record in records {
                let row = Row {
                    received: record.received,
                    probe: record.probe,
                    msm: record.line.id,
                    line: (&record.line.line).into(),
                };
                serde_json::to_writer(&mut text, &row)?;
                text.push(b'\n');
            }
            file.append(&text)?;
        }
        if let Some(accepted) = &mut self.accepted {
            let text: String = records
                .iter()
                .map(|record| format!("{}\n", record.line.line))
                .collect();
            accepted.append(text.as_bytes())?;
        }
        Ok(())
    }

    fn file_of(&mut self, day: i64) -> io::Result<&mut Whole> {
        if self.day.as_ref().is_none_or(|(open, _)| *open != day) {
            let path = self.dir.join(file_name(day));
            let whole = Whole::open(&path)?;
            // The new name is as durable as what it names.
            File::open(&self.dir)?.sync_all()?;
            self.day = Some((day, whole));
        }
        let (_, file) = self
            .day
            .as_mut()
            .expect("the file of the day was just opened");
        Ok(file)
    }
}

impl Whole {
    fn open(path: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let mut file = options
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .open(path)?;
        let len = whole_lines(&mut file)?;
        file.set_len(len)?;
        Ok(Self { file, len })
    }

    fn append(&mut self, text: &[u8]) -> io::Result<()> {
        let written = self
            .file
            .write_all(text)
            .and_then(|()| self.file.sync_data());
        match written {
            Ok(()) => self.len += text.len() as u64,
            Err(_) => self.file.set_len(self.len)?,
        }
        written
    }
}

/// How long the file is up to and with its last line feed.
fn whole_lines(file: &mut File) -> io::Result<u64> {
    let mut end = file.metadata()?.len();
    let mut block = vec![0; 64 << 10];
    while end > 0 {
        let start = end.saturating_sub(block.len() as u64);
        let size = usize::try_from(end - start).expect("a block's size fits");
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(&mut block[..size])?;
        if let Some(at) = block[..size].iter().rposition(|byte| *byte == b'\n') {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

/// The latest lines stored, oldest first, at most `max` of them and at most 64 MiB.
pub(super) fn recent(dir: &Path, max: usize) -> io::Result<Vec<(ProbeId, String)>> {
    let mut names: Vec<PathBuf> = fs::read_dir(dir)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            let name = path.file_name().and_then(|name| name.to_str());
            name.is_some_and(|name| name.starts_with("results-") && name.ends_with(".ndjson"))
        })
        .collect();
    names.sort();
    let mut newest_first = Vec::new();
    let mut budget = MAX_RECENT;
    for path in names.iter().rev() {
        if newest_first.len() >= max || budget == 0 {
            break;
        }
        let (rows, read) = rows(path, budget)?;
        budget -= read;
        newest_first.extend(rows.into_iter().rev());
    }
    newest_first.truncate(max);
    newest_first.reverse();
    Ok(newest_first)
}

/// The rows in the last `budget` bytes of a file, and how many bytes that were.
fn rows(path: &Path, budget: u64) -> io::Result<(Vec<(ProbeId, String)>, u64)> {
    let mut file = File::open(path)?;
    let len = file.metadata()?.len();
    let skipped = len.saturating_sub(budget);
    file.seek(SeekFrom::Start(skipped))?;
    let mut reader = BufReader::new(file.take(len - skipped));
    let mut line = Vec::new();
    if skipped > 0 {
        reader.read_until(b'\n', &mut line)?;
    }
    let mut rows = Vec::new();
    loop {
        line.clear();
        if reader.read_until(b'\n', &mut line)? == 0 {
            return Ok((rows, len - skipped));
        }
        // A line that is no row was put there by someone else, or is torn: it says nothing about what was stored.
        if let Ok(row) = serde_json::from_slice::<Row<'_>>(&line) {
            rows.push((row.probe, row.line.into_owned()));
        }
    }
}

/// Where the list of probes is kept.
const PROBES: &str = "probes.json";

/// The probes known from before.
pub(super) fn load_probes(dir: &Path) -> io::Result<Vec<Known>> {
    match fs::read(dir.join(PROBES)) {
        Ok(text) => Ok(serde_json::from_slice(&text)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Keeps the list of probes: whole and durable, or the one before.
pub(super) fn save_probes(dir: &Path, known: &[Known]) -> io::Result<()> {
    replace(&dir.join(PROBES), &serde_json::to_vec_pretty(known)?)
}

/// Puts a file readable by us alone in place of another, or none.
pub(super) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    File::open(dir.unwrap_or(Path::new(".")))?.sync_all()
}

/// `results-2023-11-14.ndjson`
fn file_name(day: i64) -> String {
    format!("results-{}.ndjson", calendar::written(day))
}

#[cfg(test)]
mod tests {
    use super::{
        super::{identity::test_key, messages::Accepted, registry::Standing},
        *,
    };

    /// 2023-11-14T22:13:20Z
    const THEN: i64 = 1_700_000_000;

    fn record(received: i64, probe: u32, line: &str) -> Record {
        Record {
            received,
            probe: ProbeId(probe),
            line: Accepted {
                id: Some(1001),
                measured: true,
                line: line.to_owned(),
            },
        }
    }

    #[test]
    fn lines_are_kept_by_day_and_verbatim() {
        let dir = tempfile::tempdir().unwrap();
        let accepted = dir.path().join("accepted.txt");
        let mut store = Store::open(dir.path(), Some(&accepted)).unwrap();
        store
            .write(&[
                record(THEN, 7, "RESULT { \"a\":1 }"),
                record(THEN + 86_400, 8, "RESULT 9901 ongoing 1 x"),
            ])
            .unwrap();
        let read = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
        assert_eq!(
            read("results-2023-11-14.ndjson"),
            "{\"received\":1700000000,\"probe\":7,\"msm\":1001,\"line\":\"RESULT { \\\"a\\\":1 }\"}\n"
        );
        assert_eq!(
            read("results-2023-11-15.ndjson"),
            "{\"received\":1700086400,\"probe\":8,\"msm\":1001,\"line\":\"RESULT 9901 ongoing 1 x\"}\n"
        );
        assert_eq!(
            read("accepted.txt"),
            "RESULT { \"a\":1 }\nRESULT 9901 ongoing 1 x\n"
        );
    }

    #[test]
    fn a_line_that_a_crash_cut_off_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("results-2023-11-14.ndjson");
        Store::open(dir.path(), None)
            .unwrap()
            .write(&[record(THEN, 7, "RESULT one")])
            .unwrap();
        let whole = fs::read(&path).unwrap();
        for cut in 0..=whole.len() {
            fs::write(&path, [&whole[..], &whole[..cut]].concat()).unwrap();
            Store::open(dir.path(), None)
                .unwrap()
                .write(&[record(THEN, 7, "RESULT two")])
                .unwrap();
            let lines = recent(dir.path(), 100).unwrap();
            assert_eq!(
                lines.len(),
                if cut == whole.len() { 3 } else { 2 },
                "cut at {cut}"
            );
            assert_eq!(lines.last().unwrap().1, "RESULT two");
        }
    }

    #[test]
    fn the_latest_lines_come_back_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::open(dir.path(), None).unwrap();
        for (days, line) in [(0, "a"), (0, "b"), (1, "c"), (2, "d")] {
            store
                .write(&[record(THEN + days * 86_400, 1, line)])
                .unwrap();
        }
        let lines = |max| -> Vec<String> {
            recent(dir.path(), max)
                .unwrap()
                .into_iter()
                .map(|(_, line)| line)
                .collect()
        };
        assert_eq!(lines(3), ["b", "c", "d"]);
        assert_eq!(lines(10), ["a", "b", "c", "d"]);
        assert_eq!(
            rows(&dir.path().join("results-2023-11-14.ndjson"), 60)
                .unwrap()
                .0
                .len(),
            1
        );
    }

    #[test]
    fn the_list_of_probes_survives() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(load_probes(dir.path()).unwrap(), []);
        let known = vec![Known {
            id: ProbeId(3),
            key: test_key(3),
            port: 30_000,
            session: Some("ab".to_owned()),
            standing: Standing::Open,
        }];
        save_probes(dir.path(), &known).unwrap();
        assert_eq!(load_probes(dir.path()).unwrap(), known);
    }

    #[test]
    fn days_have_their_dates() {
        for (unix, name) in [
            (0, "results-1970-01-01.ndjson"),
            (951_782_400, "results-2000-02-29.ndjson"),
            (4_107_542_400, "results-2100-03-01.ndjson"),
            (-1, "results-1969-12-31.ndjson"),
        ] {
            assert_eq!(file_name(day_of(unix)), name);
        }
    }
}
