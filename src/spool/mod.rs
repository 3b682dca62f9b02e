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
pub mod segment;

use std::time::Duration;

use crate::clock::Tick;
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
    /// An upload is due: the open segment is complete.
    Seal,
    /// These segments were accepted (2xx with the right body).
    Uploaded(Vec<Number>),
    /// An upload failed, so what there is will stay for a while.
    Kept,
    /// The process is about to end.
    Flush,
    /// The controller wants posts of another size: bytes of lines in one segment from now on.
    Limit(usize),
    /// This segment's contents, just read, do not match its checksum.
    Damaged(Number, Option<Scan>),
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

/// A file that was there at the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its name.
    pub name: Name,
    /// Its size on disk in bytes.
    pub stored: u64,
    /// What is in it, once unpacked; `None` if it cannot be read or unpacked.
    pub scan: Option<Scan>,
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
    /// The disk refuses: lines stay in memory.
    DiskRefuses {
        /// Why.
        errno: Errno,
    },
    /// The disk works again.
    DiskWorks,
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

/// The spool of one queue of results.
#[derive(Debug)]
pub struct Spool {
    limits: Limits,
}

impl Spool {
    /// An empty spool. Its first input is [`Input::Recovered`].
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits }
    }

    /// Takes what happened and says which disk operation comes next, if any.
    pub fn handle(&mut self, now: Tick, input: Input) -> Vec<Output> {
        let _ = (now, input, self.limits);
        Vec::new()
    }

    /// When to be called next if nothing happens first; `None` if there is nothing to wait for.
    #[must_use]
    pub fn deadline(&self) -> Option<Tick> {
        None
    }

    /// The complete segments, oldest first.
    pub fn sealed(&self) -> impl Iterator<Item = Sealed> + '_ {
        std::iter::empty()
    }

    /// How things stand.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats::default()
    }
}
