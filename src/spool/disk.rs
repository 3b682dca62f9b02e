//! The spool's directory: performs the operations that [`Spool`] asks for and decides nothing.
//!
//! Every file name is printed from a [`Name`], so nothing outside the directory is ever touched; symbolic links
//! are not followed. Files are made 0600, the directory 0700.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Read as _},
    os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use super::{
    Contents, Errno, Found, Input, Limits, Name, Note, Number, Op, Output, Sealed, Spool, segment,
};
use crate::clock::Tick;

/// No segment is larger; a file that is, is none.
const LARGEST: u64 = 64 << 20;
/// Only one process at a time may work on a spool: it holds a lock on this file.
const LOCK: &str = "lock";

/// A [`Spool`] with its directory. Calls block for as long as the disk does: give it a thread of its own.
#[derive(Debug)]
pub struct Store {
    spool: Spool,
    dir: Dir,
}

/// Why a spool cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Two processes would overwrite each other's results.
    #[error(
        "the spool {0} is in use by another process: stop that one, or give this one a directory of its own"
    )]
    InUse(PathBuf),
    /// It is there and cannot be read.
    #[error("cannot list the spool {0}: {1}; give the directory to the user that runs this")]
    Unreadable(PathBuf, io::Error),
}

impl Store {
    /// Opens (makes, 0700) the directory and recovers what it holds. A directory that cannot be made, as on a
    /// read-only disk, is no error: results then stay in memory until the disk works.
    ///
    /// # Errors
    /// Another process works on it, or it is there and cannot be listed.
    pub fn open(path: &Path, limits: Limits, now: Tick) -> Result<(Self, Vec<Note>), OpenError> {
        let dir = Dir::open(path)?;
        let mut store = Self {
            spool: Spool::new(limits),
            dir,
        };
        let (found, foreign) = match store.dir.list() {
            Ok(listing) => listing,
            Err(error) if error.kind() == io::ErrorKind::NotFound => (Vec::new(), 0),
            Err(error) => return Err(OpenError::Unreadable(path.to_owned(), error)),
        };
        let mut notes = store.handle(now, Input::Recovered(found));
        if foreign > 0 {
            notes.push(Note::Foreign { files: foreign });
        }
        Ok((store, notes))
    }

    /// Takes what happened and performs every operation that follows from it.
    pub fn handle(&mut self, now: Tick, input: Input) -> Vec<Note> {
        let mut notes = Vec::new();
        let mut input = Some(input);
        while let Some(next) = input.take() {
            for output in self.spool.handle(now, next) {
                match output {
                    Output::Note(note) => notes.push(note),
                    Output::Disk(op) => input = Some(self.dir.perform(&op)),
                }
            }
        }
        notes
    }

    /// Completes the open segment (see [`Input::Seal`]) and tells which segments wait for their upload.
    pub fn collect(&mut self, now: Tick, enough: u64) -> (Vec<Sealed>, Vec<Note>) {
        let notes = self.handle(now, Input::Seal { enough });
        (self.spool.sealed().collect(), notes)
    }

    /// The lines of a complete segment, checked against its checksum. `None` if there is no such segment, or if
    /// it turned out to be damaged: what can be saved of it will be in the next upload.
    pub fn read(&mut self, now: Tick, number: Number) -> (Option<Vec<u8>>, Vec<Note>) {
        let Some((file, tail, seal)) = self.spool.contents(number) else {
            return (None, Vec::new());
        };
        let front = file.map_or(Ok(Vec::new()), |name| self.dir.lines(name));
        let seen = match front {
            Ok(mut lines) => {
                // After a write that failed half done, the file may hold more than what counts.
                lines.truncate(usize::try_from(seal.len).unwrap_or(usize::MAX) - tail.len());
                lines.extend_from_slice(tail);
                if lines.len() as u64 == seal.len && segment::Crc::of(&lines) == seal.crc {
                    return (Some(lines), Vec::new());
                }
                Contents::Scanned(segment::scan(&lines, file.and_then(Name::seal)))
            }
            Err(contents) => contents,
        };
        (None, self.handle(now, Input::Damaged(number, seen)))
    }

    /// The machine, for its `sealed()`, `deadline()` and `stats()`.
    #[must_use]
    pub const fn spool(&self) -> &Spool {
        &self.spool
    }
}

/// The directory itself.
#[derive(Debug)]
struct Dir {
    path: PathBuf,
    /// Held, never read.
    _lock: Option<File>,
}

impl Dir {
    fn open(path: &Path) -> Result<Self, OpenError> {
        // Whatever fails here fails again, and is reported, at the first operation.
        let _ = make(path);
        let lock = plain()
            .write(true)
            .create(true)
            .mode(0o600)
            .open(path.join(LOCK));
        if let Ok(file) = &lock
            && let Err(TryLockError::WouldBlock) = file.try_lock()
        {
            return Err(OpenError::InUse(path.to_owned()));
        }
        Ok(Self {
            path: path.to_owned(),
            _lock: lock.ok(),
        })
    }

    /// The files that are ours, looked into, and how many are not.
    fn list(&self) -> io::Result<(Vec<Found>, usize)> {
        let (mut found, mut foreign) = (Vec::new(), 0);
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let name = entry.file_name();
            match name.to_str().map(str::parse::<Name>) {
                Some(Ok(name)) => {
                    let (stored, contents) = self.look(name);
                    found.push(Found {
                        name,
                        stored,
                        contents,
                    });
                }
                _ if name == LOCK => {}
                _ => foreign += 1,
            }
        }
        Ok((found, foreign))
    }

    fn look(&self, name: Name) -> (u64, Contents) {
        let stored = fs::symlink_metadata(self.at(name)).map_or(0, |data| data.len());
        let contents = match self.lines(name) {
            Ok(lines) => Contents::Scanned(segment::scan(&lines, name.seal())),
            Err(contents) => contents,
        };
        (stored, contents)
    }

    /// What is in a file, unpacked.
    fn lines(&self, name: Name) -> Result<Vec<u8>, Contents> {
        let raw = self
            .bytes(name)
            .map_err(|error| Contents::Unreadable(errno(&error)))?;
        if raw.len() as u64 > LARGEST {
            return Err(Contents::Garbled);
        }
        match name {
            Name::Packed(_, seal) => {
                segment::unpack(&raw, seal.len.min(LARGEST)).ok_or(Contents::Garbled)
            }
            _ => Ok(raw),
        }
    }

    fn bytes(&self, name: Name) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let file = plain().read(true).open(self.at(name))?;
        file.take(LARGEST + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn at(&self, name: Name) -> PathBuf {
        self.path.join(name.to_string())
    }

    fn perform(&self, op: &Op) -> Input {
        let result = match op {
            Op::Write { name, at, bytes } => self.write(*name, *at, bytes),
            Op::Cut { name, to } => self.cut(*name, *to),
            Op::Sync { name } => plain()
                .write(true)
                .open(self.at(*name))
                .and_then(|file| file.sync_data()),
            Op::SyncDir => File::open(&self.path).and_then(|dir| dir.sync_all()),
            Op::Rename { from, to } => fs::rename(self.at(*from), self.at(*to)),
            Op::Remove { name } => match fs::remove_file(self.at(*name)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                other => other,
            },
            Op::Pack { from, to } => {
                return match self.pack(*from, *to) {
                    Ok(size) => Input::Done { size },
                    Err(error) => Input::Failed(errno(&error)),
                };
            }
        };
        match result {
            Ok(()) => Input::Done { size: 0 },
            Err(error) => Input::Failed(errno(&error)),
        }
    }

    fn write(&self, name: Name, at: u64, bytes: &[u8]) -> io::Result<()> {
        if at == 0 {
            make(&self.path)?;
        }
        let file = plain()
            .write(true)
            .create(at == 0)
            .mode(0o600)
            .open(self.at(name))?;
        let len = file.metadata()?.len();
        if len < at {
            // Somebody shortened it: what was written is as gone as the file.
            return Err(io::Error::from_raw_os_error(Errno::GONE.0));
        }
        file.write_all_at(bytes, at)
    }

    fn cut(&self, name: Name, to: u64) -> io::Result<()> {
        match plain().write(true).open(self.at(name)) {
            Ok(file) if file.metadata()?.len() >= to => file.set_len(to),
            Err(error) if error.kind() == io::ErrorKind::NotFound && to == 0 => Ok(()),
            Ok(_) => Err(io::Error::from_raw_os_error(Errno::GONE.0)),
            Err(error) => Err(error),
        }
    }

    fn pack(&self, from: Name, to: Name) -> io::Result<u64> {
        let packed = segment::pack(&self.bytes(from)?);
        let file = plain()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(self.at(to))?;
        file.write_all_at(&packed, 0)?;
        Ok(packed.len() as u64)
    }
}

/// Files only where they are expected: the last part of a path is no symbolic link.
fn plain() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.custom_flags(nix::fcntl::OFlag::O_NOFOLLOW.bits());
    options
}

fn make(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn errno(error: &io::Error) -> Errno {
    // Errors without a number are the library's own, such as "write zero": EIO.
    Errno(error.raw_os_error().unwrap_or(5))
}
