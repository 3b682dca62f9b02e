//! The spool's directory: performs the operations that [`Spool`](super::Spool) asks for, decides nothing.

use std::{io, path::Path};

use super::{Input, Limits, Note, Number, Spool, Stats};
use crate::clock::Tick;

/// A [`Spool`] with its directory. Calls block for as long as the disk does: give it a thread of its own.
#[derive(Debug)]
pub struct Store {
    spool: Spool,
}

impl Store {
    /// Opens (makes, 0700) the directory and recovers what it holds.
    ///
    /// # Errors
    /// The directory cannot be made or listed.
    pub fn open(dir: &Path, limits: Limits, now: Tick) -> io::Result<(Self, Vec<Note>)> {
        let _ = (dir, now);
        Ok((
            Self {
                spool: Spool::new(limits),
            },
            Vec::new(),
        ))
    }

    /// Takes what happened and performs every operation that follows from it.
    pub fn handle(&mut self, now: Tick, input: Input) -> Vec<Note> {
        let _ = self.spool.handle(now, input);
        Vec::new()
    }

    /// The machine's state, for its `sealed()`, `deadline()` and `stats()`.
    #[must_use]
    pub const fn spool(&self) -> &Spool {
        &self.spool
    }

    /// The lines of a complete segment, checked against its checksum; `None` if there is no such segment or it
    /// turned out to be damaged, which is noted and leaves it out of the next upload.
    pub fn read(&mut self, now: Tick, number: Number) -> (Option<Vec<u8>>, Vec<Note>) {
        let _ = (now, number);
        (None, Vec::new())
    }

    /// How things stand.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.spool.stats()
    }
}
