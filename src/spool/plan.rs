//! Which disk operation comes next, and what its answer changes.
//!
//! The next operation is not remembered but derived: it is the first thing, in a fixed order of importance, in
//! which the directory differs from what it should be. So a refused operation is simply tried again later.

use std::time::Duration;

use super::{
    Errno, Name, Note, Number, Op, Why,
    machine::{BLOCK, Segment, Spool, State},
    segment::Crc,
};
use crate::clock::Tick;

/// How long a disk that refused is left in peace.
const RETRY: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug)]
pub(super) struct Refusal {
    pub(super) errno: Errno,
    /// Until when nothing is tried.
    pub(super) until: Tick,
    /// Whether files can still be removed and shortened.
    pub(super) frees: bool,
}

/// A segment that is being compressed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packing {
    pub(super) number: Number,
    stage: Stage,
    /// Bytes of the compressed file, once it is written.
    size: u64,
}

/// How far compressing a segment has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Write,
    Sync,
    Rename,
    SyncDir,
}

impl Spool {
    pub(super) fn next_op(&mut self, now: Tick) -> Option<Op> {
        let waits = self.refuses.filter(|refusal| now < refusal.until);
        if !self.recovered || waits.is_some_and(|refusal| !refusal.frees) {
            return None;
        }
        let op = self.freeing_op();
        if op.is_some() || waits.is_some() {
            return op;
        }
        let unsynced =
            |s: &Segment| s.is_unsynced() && s.unsynced_since + self.limits.sync_after <= now;
        self.sync |= self.segments.values().any(unsynced);
        let op = self.writing_op().or_else(|| self.naming_op());
        let op = op
            .or_else(|| self.sync_op())
            .or_else(|| self.packing_op(now));
        if op.is_none() && self.refuses.take().is_some() {
            self.notes.push(Note::DiskWorks);
        }
        op
    }

    fn freeing_op(&self) -> Option<Op> {
        if let Some((name, _)) = self.removals.front() {
            return Some(Op::Remove { name: *name });
        }
        let cut = self.segments.values().find(|segment| segment.cut)?;
        let (name, to) = (cut.file?, cut.on_disk);
        Some(Op::Cut { name, to })
    }

    fn writing_op(&self) -> Option<Op> {
        let (number, segment) = self.segments.iter().find(|(_, s)| !s.tail.is_empty())?;
        Some(Op::Write {
            name: segment.file.unwrap_or(Name::Open(*number)),
            at: segment.on_disk,
            bytes: segment.tail.clone(),
        })
    }

    fn naming_op(&self) -> Option<Op> {
        self.segments.iter().find_map(|(number, segment)| {
            let (from, to) = (segment.file?, segment.wanted_name(*number));
            (from != to).then_some(Op::Rename { from, to })
        })
    }

    fn sync_op(&mut self) -> Option<Op> {
        if self.sync {
            let behind = |s: &&Segment| s.is_unsynced() && s.synced < s.on_disk;
            if let Some(name) = self.segments.values().find(behind).and_then(|s| s.file) {
                return Some(Op::Sync { name });
            }
            if self.segments.values().any(Segment::is_unsynced) {
                return Some(Op::SyncDir);
            }
            self.sync = false;
        }
        self.sync_dir.then_some(Op::SyncDir)
    }

    /// Segments that could be compressed: complete, safe on disk, and larger than the least that a file takes.
    pub(super) fn packable(&self) -> impl Iterator<Item = (Number, &Segment)> {
        let room = self.limits.budget.saturating_sub(self.total());
        self.segments.iter().filter_map(move |(number, s)| {
            let fits = s.stored > BLOCK && s.cost() <= room && !s.incompressible;
            let plain = s.state == State::Sealed && matches!(s.file, Some(Name::Sealed(..)));
            (fits && plain && s.tail.is_empty() && !s.is_unsynced()).then_some((*number, s))
        })
    }

    fn packing_op(&mut self, now: Tick) -> Option<Op> {
        if self.packing.is_none() {
            let due = |(_, s): &(Number, &Segment)| s.sealed_at + self.limits.pack_after <= now;
            let number = self.packable().find(due).map(|(number, _)| number)?;
            self.packing = Some(Packing {
                number,
                stage: Stage::Write,
                size: 0,
            });
        }
        let Packing { number, stage, .. } = self.packing?;
        let segment = self.segments.get(&number)?;
        let (temp, packed) = (Name::Temp(number), Name::Packed(number, segment.seal()));
        Some(match stage {
            Stage::Write => Op::Pack {
                from: segment.file?,
                to: temp,
            },
            Stage::Sync => Op::Sync { name: temp },
            Stage::Rename => Op::Rename {
                from: temp,
                to: packed,
            },
            Stage::SyncDir => Op::SyncDir,
        })
    }

    pub(super) fn done(&mut self, now: Tick, op: &Op, size: u64) {
        match op {
            Op::Write { name, bytes, .. } => self.wrote(now, *name, bytes),
            Op::Cut { name, .. } => {
                if let Some(segment) = self.of_file(*name) {
                    segment.cut = false;
                }
            }
            Op::Sync {
                name: Name::Temp(_),
            } => self.packed_as_far_as(Stage::Rename),
            Op::Sync { name } => {
                if let Some(segment) = self.of_file(*name) {
                    segment.synced = segment.on_disk;
                }
            }
            Op::SyncDir => {
                self.sync_dir = false;
                for segment in self.segments.values_mut().filter(|s| s.file.is_some()) {
                    segment.named = true;
                }
                self.packed_for_good();
            }
            Op::Rename {
                from: Name::Temp(_),
                ..
            } => self.packed_as_far_as(Stage::SyncDir),
            Op::Rename { from, to } => {
                if let Some(segment) = self.of_file(*from) {
                    segment.file = Some(*to);
                }
            }
            Op::Remove { .. } => {
                self.removals.pop_front();
                // What was freed may be just what a refused write needs.
                self.try_again(now);
            }
            Op::Pack { from, to } => self.compressed(*from, *to, size),
        }
        // On a full disk, only a write shows that there is room again.
        let proof = matches!(op, Op::Write { .. } | Op::Pack { .. });
        if self
            .refuses
            .is_some_and(|refusal| proof || !refusal.errno.is_full())
        {
            self.refuses = None;
            self.notes.push(Note::DiskWorks);
        }
    }

    fn wrote(&mut self, now: Tick, name: Name, bytes: &[u8]) {
        // The first write makes the file.
        let Some(segment) = self.segments.get_mut(&name.number()) else {
            return;
        };
        if !segment.is_unsynced() {
            segment.unsynced_since = now;
        }
        segment.file = Some(name);
        segment.tail.drain(..bytes.len());
        segment.on_disk += bytes.len() as u64;
        segment.stored = segment.on_disk;
        segment.crc_disk.add(bytes);
    }

    fn of_file(&mut self, name: Name) -> Option<&mut Segment> {
        self.segments
            .values_mut()
            .find(|segment| segment.file == Some(name))
    }

    fn compressed(&mut self, from: Name, to: Name, size: u64) {
        let Some(segment) = self.of_file(from) else {
            return;
        };
        // Anything much less than half is worth another write; results usually shrink to a tenth.
        if size > segment.stored / 4 * 3 {
            segment.incompressible = true;
            self.packing = None;
            self.removals.push_back((to, size));
        } else {
            self.packing = Some(Packing {
                number: from.number(),
                stage: Stage::Sync,
                size,
            });
        }
    }

    fn packed_as_far_as(&mut self, stage: Stage) {
        if let Some(packing) = &mut self.packing {
            packing.stage = stage;
        }
    }

    fn packed_for_good(&mut self) {
        if let Some(Packing {
            number,
            stage: Stage::SyncDir,
            size,
        }) = self.packing
        {
            self.packing = None;
            if let Some(segment) = self.segments.get_mut(&number) {
                let packed = Name::Packed(number, segment.seal());
                let plain = segment.file.replace(packed);
                self.removals
                    .extend(plain.map(|plain| (plain, segment.stored)));
                segment.stored = size;
            }
        }
    }

    pub(super) fn failed(&mut self, now: Tick, op: &Op, errno: Errno) {
        match op {
            Op::Write { at, .. } if *at > 0 && errno == Errno::GONE => self.vanished(now, op),
            Op::Write { name, .. } => {
                if let Some(segment) = self.segments.get_mut(&name.number()) {
                    segment.file = Some(*name);
                    segment.cut = true;
                }
            }
            Op::Pack { .. }
            | Op::Sync {
                name: Name::Temp(_),
            }
            | Op::Rename {
                from: Name::Temp(_),
                ..
            } => {
                self.stop_packing();
            }
            Op::Cut { .. } | Op::Sync { .. } | Op::Rename { .. } if errno == Errno::GONE => {
                self.vanished(now, op);
            }
            _ => {}
        }
        let frees = errno.is_full() && !matches!(op, Op::Remove { .. } | Op::Cut { .. });
        if self.refuses.is_none_or(|refusal| refusal.errno != errno) {
            self.notes.push(Note::DiskRefuses { errno });
        }
        self.refuses = Some(Refusal {
            errno,
            until: now + RETRY,
            frees,
        });
        self.keep_within_memory(now);
    }

    fn stop_packing(&mut self) {
        if let Some(Packing { number, .. }) = self.packing.take() {
            self.removals.push_back((Name::Temp(number), 0));
            if let Some(segment) = self.segments.get_mut(&number) {
                segment.incompressible = true;
            }
        }
    }

    /// The file that an operation was about is not there any more: somebody else removed it.
    fn vanished(&mut self, now: Tick, op: &Op) {
        let name = match op {
            Op::Write { name, .. } | Op::Cut { name, .. } | Op::Sync { name } => *name,
            Op::Rename { from, .. } => *from,
            _ => return,
        };
        let number = self
            .segments
            .iter()
            .find(|(_, s)| s.file == Some(name))
            .map(|(number, _)| *number);
        let Some(mut segment) = number.and_then(|number| self.segments.remove(&number)) else {
            return;
        };
        let tail = std::mem::take(&mut segment.tail);
        let kept = tail.iter().filter(|byte| **byte == b'\n').count() as u64;
        if segment.on_disk > 0 && segment.state != State::Bad {
            self.lost(segment.lines - kept, segment.on_disk, Why::Vanished);
        }
        if kept > 0
            && let Some(number) = number
        {
            let mut crc = Crc::default();
            crc.add(&tail);
            let rest = Segment {
                state: segment.state,
                tail,
                crc,
                lines: kept,
                ..Segment::new(now)
            };
            self.segments.insert(number, rest);
        }
    }
}
