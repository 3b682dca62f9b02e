//! Results at rest: from a finished measurement until a 2xx answer for it.
//!
//! [`Spool`] is a pure machine. It takes lines in and says which disk operation comes next; [`disk`] performs
//! them. One operation is under way at a time, and each is answered by [`Input::Done`] or [`Input::Failed`].
//!
//! A segment is the result lines of one upload. Lines are appended to the open segment as they are finished;
//! sealing it renames its file so that it carries length and checksum; an accepted upload removes it. There is
//! no ledger to keep in step, and a power failure is a prefix of the list of operations.
//!
//! Written is not synced: what is written survives the death of the process, what is synced survives a power
//! cut. Synced is when an upload failed, at shutdown, and at the latest [`Limits::sync_after`] after the write;
//! a segment that is accepted sooner costs no flash at all.
//!
//! When the disk refuses (full, read-only, broken) lines stay in memory, up to [`Limits::memory`], are uploaded
//! from there, and go to disk when it works again. What cannot be kept is dropped, oldest first, and counted.

pub mod disk;
mod machine;
mod plan;
mod recovery;
pub mod segment;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use machine::Spool;
pub use segment::{Name, Number, Scan, Seal};

/// How much is kept, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of disk that all segments together may take.
    pub budget: u64,
    /// Bytes of lines in one segment; a longer line is dropped.
    pub segment: usize,
    /// Bytes of lines held in memory while the disk refuses them.
    pub memory: usize,
    /// The longest time that written lines stay unsynced.
    pub sync_after: Duration,
    /// How long a sealed segment waits for its upload before it is compressed.
    pub pack_after: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            budget: 64 << 20,
            segment: 450_000,
            memory: 1 << 20,
            sync_after: Duration::from_secs(60),
            pack_after: Duration::from_secs(600),
        }
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// What the directory holds at the start. Comes first, once; until then lines wait in memory.
    Recovered(Vec<Found>),
    /// A finished result: one or several RESULT lines, each with its line end.
    Append(String),
    /// An upload is due: the open segment is complete, unless the complete ones already have `enough` bytes of
    /// lines for it. (Else every vain attempt of an outage would leave a small file behind.)
    Seal {
        /// Bytes of lines that one upload takes.
        enough: u64,
    },
    /// These segments were accepted (2xx with the right body).
    Uploaded(Vec<Number>),
    /// An upload failed, so what there is will stay for a while.
    Kept,
    /// The process is about to end.
    Flush,
    /// The controller wants posts of another size: bytes of lines in one segment from now on.
    Limit(usize),
    /// This segment was just read, and its contents do not match its checksum.
    Damaged(Number, Contents),
    /// The operation was performed. `size`: bytes of the file that [`Op::Pack`] made.
    Done {
        /// Bytes of the file that [`Op::Pack`] made; else 0.
        size: u64,
    },
    /// The operation failed, perhaps half done.
    Failed(Errno),
    /// The [deadline](Spool::deadline) came.
    Deadline,
}

/// A system call's error number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Errno(pub i32);

impl Errno {
    /// No such file.
    pub const GONE: Self = Self(2);
    /// Input or output error: EIO.
    pub const BROKEN: Self = Self(5);

    /// Whether it says that there is no room: ENOSPC, EDQUOT, EFBIG.
    #[must_use]
    pub const fn is_full(self) -> bool {
        matches!(self.0, 28 | 122 | 27)
    }

    /// What an operator can do about it.
    #[must_use]
    pub fn remedy(self) -> &'static str {
        use nix::errno::Errno as E;
        match E::from_raw(self.0) {
            _ if self.is_full() => "make room on the disk of the data directory",
            E::EROFS => {
                "mount the disk of the data directory writable; a disk that became read-only by itself may be failing"
            }
            E::EACCES | E::EPERM => "give the data directory to the user that runs this",
            E::EMFILE | E::ENFILE => "raise the limit of open files",
            E::EIO => "the disk may be failing: look into the kernel's log",
            _ => "look at the disk of the data directory",
        }
    }
}

impl std::fmt::Display for Errno {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(nix::errno::Errno::from_raw(self.0).desc())
    }
}

/// A file that was there at the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its name.
    pub name: Name,
    /// Its size on disk in bytes.
    pub stored: u64,
    /// What is in it.
    pub contents: Contents,
}

/// What is in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contents {
    /// This, once unpacked.
    Scanned(Scan),
    /// What cannot be unpacked.
    Garbled,
    /// The system will not let us read it.
    Unreadable(Errno),
}

/// What to do, or what to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Perform this and answer. Always last.
    Disk(Op),
    /// For the log, metrics and status.
    Note(Note),
}

/// An operation on the spool's directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Put `bytes` at offset `at`; create the file (0600) if it is not there.
    Write {
        /// Which file.
        name: Name,
        /// Offset in bytes.
        at: u64,
        /// Whole lines.
        bytes: Vec<u8>,
    },
    /// Shorten the file to `to` bytes.
    Cut {
        /// Which file.
        name: Name,
        /// Its new length in bytes.
        to: u64,
    },
    /// Make the file's contents survive a power cut.
    Sync {
        /// Which file.
        name: Name,
    },
    /// Make the names in the directory survive a power cut.
    SyncDir,
    /// Rename a file.
    Rename {
        /// From this.
        from: Name,
        /// To this.
        to: Name,
    },
    /// Remove a file; one that is not there is as good as removed.
    Remove {
        /// Which.
        name: Name,
    },
    /// Write the compressed contents of one file into another.
    Pack {
        /// From this.
        from: Name,
        /// To this.
        to: Name,
    },
}

/// What an operator would like to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// Segments from an earlier run are there.
    Recovered {
        /// How many.
        segments: usize,
        /// How many lines.
        lines: u64,
    },
    /// Lines are lost.
    Dropped {
        /// How many.
        lines: u64,
        /// How many bytes.
        bytes: u64,
        /// Why.
        why: Why,
    },
    /// The end of a segment was torn by a power cut; its first lines are kept.
    Torn {
        /// Which.
        number: Number,
        /// Bytes cut off.
        bytes: u64,
    },
    /// A segment is damaged and will not be posted; its file is kept under a name that ends in `.bad`.
    Quarantined {
        /// Which.
        number: Number,
    },
    /// Files that are not the spool's lie in its directory; they are left alone.
    Foreign {
        /// How many.
        files: usize,
    },
    /// A file that we are not allowed to read is left alone.
    Unreadable {
        /// Which.
        name: Name,
        /// Why.
        errno: Errno,
    },
    /// The disk refuses: lines stay in memory.
    DiskRefuses {
        /// Why.
        errno: Errno,
    },
    /// The disk works again.
    DiskWorks,
}

/// A number and what it counts.
fn counted(number: impl TryInto<u64>, what: &str) -> String {
    match number.try_into().unwrap_or(u64::MAX) {
        1 => format!("1 {what}"),
        number => format!("{number} {what}s"),
    }
}

impl std::fmt::Display for Note {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Recovered { segments, lines } => write!(
                f,
                "{} of an earlier run kept for upload, in {}",
                counted(*lines, "result"),
                counted(*segments, "segment")
            ),
            Self::Dropped { lines, bytes, why } => {
                let verb = if *lines == 1 { "is" } else { "are" };
                write!(
                    f,
                    "{} ({bytes} bytes) {verb} lost: {why}",
                    counted(*lines, "result")
                )
            }
            Self::Torn { number, bytes } => write!(
                f,
                "segment {number} ends in a line half written, as after a power cut; its {bytes} bytes are cut off"
            ),
            Self::Quarantined { number } => write!(
                f,
                "segment {number} is damaged and not posted; it is kept as {number}.bad for you to look at, and may be \
                 removed"
            ),
            Self::Foreign { files } => write!(
                f,
                "{files} files in the spool are not ours and left alone; move them elsewhere"
            ),
            Self::Unreadable { name, errno } => write!(
                f,
                "{name} cannot be read ({errno}): its results stay in it and are not uploaded until it can; {}",
                errno.remedy()
            ),
            Self::DiskRefuses { errno } => write!(
                f,
                "the disk refuses results ({errno}): they stay in memory and are uploaded from there; {}",
                errno.remedy()
            ),
            Self::DiskWorks => f.write_str("the disk takes results again"),
        }
    }
}

/// Why lines were lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Why {
    /// The oldest, because the disk budget is full.
    Budget,
    /// The oldest, because the disk refuses and memory is full.
    Memory,
    /// Longer than a segment may be.
    TooLong,
    /// No RESULT line.
    NoResult,
    /// Somebody removed or damaged the file.
    Vanished,
}

impl std::fmt::Display for Why {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Budget => {
                "the oldest, since no upload was accepted for so long that spool.max_bytes is used up"
            }
            Self::Memory => "the oldest, since the disk refuses them and memory for them is used up",
            Self::TooLong => "longer than a post of this controller may be",
            Self::NoResult => "no RESULT lines",
            Self::Vanished => "somebody else removed or changed the file",
        })
    }
}

/// A complete segment that waits for its upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// Its number.
    pub number: Number,
    /// Bytes of lines.
    pub len: u64,
    /// How many lines.
    pub lines: u64,
}

/// How the spool stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Complete segments waiting.
    pub sealed: usize,
    /// Lines waiting, those of the open segment included.
    pub lines: u64,
    /// Bytes of disk taken.
    pub stored: u64,
    /// Bytes held in memory because the disk refuses.
    pub held: usize,
    /// Lines lost since the start.
    pub dropped: u64,
    /// Whether the disk refuses.
    pub disk_refuses: Option<Errno>,
}
