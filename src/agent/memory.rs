//! What the agent remembers across restarts besides results and session: the controller's tables, which one-shots
//! of them ran, and how often the agent was started. All in plain text files of the data directory.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use crate::schedule::OneShot;

/// Tables kept at most; a controller uses three.
const TABLES: usize = 32;
/// Bytes of a table kept at most: the line limit of the official probe times a generous line.
const TABLE_BYTES: usize = 8 << 20;

/// The directory of remembered tables.
#[derive(Debug)]
pub(super) struct Memory {
    folder: PathBuf,
}

impl Memory {
    /// Remembers in `folder`, which is made if missing.
    ///
    /// # Errors
    /// It cannot be made.
    pub(super) fn open(folder: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(&folder)?;
        Ok(Self { folder })
    }

    /// All remembered tables. What cannot be read is left out and said: the controller sends it again.
    pub(super) fn tables(&self) -> BTreeMap<String, Vec<String>> {
        let mut tables = BTreeMap::new();
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) => {
                tracing::warn!(%error, "the remembered tables cannot be listed");
                return tables;
            }
        };
        for entry in entries.flatten() {
            let Some(name) = entry
                .file_name()
                .to_str()
                .and_then(|file| file.strip_suffix(".crontab"))
                .map(str::to_owned)
            else {
                continue;
            };
            match fs::read_to_string(entry.path()) {
                Ok(text) => {
                    tables.insert(name, text.lines().map(str::to_owned).collect());
                }
                Err(error) => {
                    tracing::warn!(%error, table = name, "a remembered table cannot be read");
                }
            }
        }
        tables
    }

    /// Remembers a table. Names that are no plain file names, and tables beyond the bounds, are not kept.
    ///
    /// # Errors
    /// The disk refuses.
    pub(super) fn keep_table(&self, name: &str, lines: &[String]) -> io::Result<()> {
        let plain = !name.is_empty()
            && name.len() <= 32
            && name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        let size: usize = lines.iter().map(|line| line.len() + 1).sum();
        let path = self.folder.join(format!("{name}.crontab"));
        if !plain || size > TABLE_BYTES || (!path.exists() && self.count() >= TABLES) {
            tracing::debug!(table = name, size, "a table is not kept across a restart");
            return Ok(());
        }
        let mut text = lines.join("\n");
        if !lines.is_empty() {
            text.push('\n');
        }
        replace(&path, text.as_bytes())
    }

    fn count(&self) -> usize {
        fs::read_dir(&self.folder).map_or(0, Iterator::count)
    }

    /// The one-shots of the current table that ran already.
    pub(super) fn ran(&self) -> BTreeSet<OneShot> {
        let text = fs::read_to_string(self.folder.join("ran")).unwrap_or_default();
        let shots = text.lines().filter_map(|line| {
            let mut fields = line.splitn(3, ' ');
            Some(OneShot {
                table: fields.next()?.to_owned(),
                start: fields.next()?.parse().ok()?,
                text: fields.next()?.to_owned(),
            })
        });
        // Collecting would bring a sort of its own into the binary.
        let mut ran = BTreeSet::new();
        ran.extend(shots);
        ran
    }

    /// Remembers which one-shots ran.
    ///
    /// # Errors
    /// The disk refuses.
    pub(super) fn keep_ran(&self, ran: &BTreeSet<OneShot>) -> io::Result<()> {
        let text: String = ran
            .iter()
            .map(|shot| format!("{} {} {}\n", shot.table, shot.start, shot.text))
            .collect();
        replace(&self.folder.join("ran"), text.as_bytes())
    }

    /// Counts this start: 0 for the first one since the host has been up for ten minutes
    /// (`controller-protocol` section 1.7).
    pub(super) fn count_start(&self) -> u32 {
        let file = self.folder.join("reboot-count");
        let count = fs::read_to_string(&file)
            .ok()
            .and_then(|text| text.trim().parse::<u32>().ok())
            .map_or(0, |count| count.saturating_add(1));
        if let Err(error) = replace(&file, format!("{count}\n").as_bytes()) {
            tracing::warn!(%error, "the number of starts cannot be kept");
        }
        count
    }

    /// Starts counting anew: the host has been up for ten minutes.
    pub(super) fn forget_starts(&self) {
        let _ = fs::remove_file(self.folder.join("reboot-count"));
    }
}

/// Puts `content` in place of a file so that a reader or a power cut meets the old or the new one, never half.
fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("new");
    let mut file = File::create(&beside)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&beside, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory() -> (tempfile::TempDir, Memory) {
        let folder = tempfile::tempdir().unwrap();
        let memory = Memory::open(folder.path().join("crontabs")).unwrap();
        (folder, memory)
    }

    #[test]
    fn a_table_comes_back_as_it_was_kept() {
        let (_folder, memory) = memory();
        let lines = vec!["60 0 0 NONE x evping 192.0.2.1".to_owned(), String::new()];
        memory.keep_table("7", &lines).unwrap();
        memory.keep_table("main", &[]).unwrap();
        let tables = memory.tables();
        assert_eq!(tables["7"], lines);
        assert_eq!(tables["main"], Vec::<String>::new());
    }

    #[test]
    fn one_shots_that_ran_come_back() {
        let (_folder, memory) = memory();
        let shot = |start, text: &str| OneShot {
            table: "7".to_owned(),
            start,
            text: text.to_owned(),
        };
        let ran = BTreeSet::from([shot(0, "evping -4 192.0.2.1"), shot(5, "evping  -c 1 x")]);
        memory.keep_ran(&ran).unwrap();
        assert_eq!(memory.ran(), ran);
    }

    #[test]
    fn a_table_cannot_leave_the_folder() {
        let (folder, memory) = memory();
        for name in ["../x", "", "a/b", ".", "x.y", &"a".repeat(33)] {
            memory.keep_table(name, &["line".to_owned()]).unwrap();
        }
        assert!(memory.tables().is_empty());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn tables_are_bounded_in_number() {
        let (_folder, memory) = memory();
        for number in 0..TABLES + 5 {
            memory.keep_table(&number.to_string(), &[]).unwrap();
        }
        assert_eq!(memory.tables().len(), TABLES);
    }

    #[test]
    fn starts_are_counted_until_forgotten() {
        let (_folder, memory) = memory();
        assert_eq!([memory.count_start(), memory.count_start()], [0, 1]);
        memory.forget_starts();
        assert_eq!(memory.count_start(), 0);
    }
}
