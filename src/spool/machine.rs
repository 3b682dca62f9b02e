//! The [`Spool`]: what it holds, what inputs change, and its bounds.

use std::collections::{BTreeMap, VecDeque};

use super::{
    Input, Limits, Name, Note, Number, Op, Output, Seal, Sealed, Stats, Why,
    plan::{Packing, Refusal},
    segment::{Crc, first_lines, is_line},
};
use crate::clock::Tick;

/// What a file takes at least: many small files must not outgrow the budget unseen.
pub(super) const BLOCK: u64 = 4096;

/// The spool of one queue of results.
#[derive(Debug)]
pub struct Spool {
    pub(super) limits: Limits,
    /// Bytes of the budget that are left free. The same in every life of the process, whatever size of segments is asked
    /// for in between: otherwise a restart would find too much on disk and drop what was safe.
    spare: u64,
    pub(super) segments: BTreeMap<Number, Segment>,
    /// The number of the next new segment.
    pub(super) next: Number,
    /// Files to be removed, and the bytes that they take until then.
    pub(super) removals: VecDeque<(Name, u64)>,
    /// Whether everything written is to be synced now.
    pub(super) sync: bool,
    /// Whether the directory was listed.
    pub(super) recovered: bool,
    /// Whether names have changed since the directory was synced at the start: a removal that were undone later
    /// could bring back a number that is in use again.
    pub(super) sync_dir: bool,
    pub(super) doing: Option<Op>,
    /// When something happened last.
    now: Tick,
    /// What came while an operation was under way.
    waiting: VecDeque<Input>,
    pub(super) refuses: Option<Refusal>,
    pub(super) packing: Option<Packing>,
    dropped: u64,
    pub(super) notes: Vec<Note>,
}

/// One segment, as it is in memory and on disk.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) state: State,
    /// Its file's present name; `None` while it is in memory only.
    pub(super) file: Option<Name>,
    /// Bytes of lines that are in the file.
    pub(super) on_disk: u64,
    /// Bytes of the file: fewer than `on_disk` when packed.
    pub(super) stored: u64,
    /// Lines that are not in the file yet.
    pub(super) tail: Vec<u8>,
    /// Of the lines on disk, and of all of them.
    pub(super) crc_disk: Crc,
    pub(super) crc: Crc,
    pub(super) lines: u64,
    /// A failed write may have left bytes after those on disk.
    pub(super) cut: bool,
    /// Bytes on disk that are synced.
    pub(super) synced: u64,
    /// Whether a synced name leads to the file.
    pub(super) named: bool,
    /// Since when something of it has been unsynced.
    pub(super) unsynced_since: Tick,
    pub(super) sealed_at: Tick,
    /// Not worth compressing.
    pub(super) incompressible: bool,
    /// It could not be read; until then it is not uploaded.
    pub(super) shunned_until: Option<Tick>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Open,
    Sealed,
    Bad,
}

impl Segment {
    pub(super) fn new(now: Tick) -> Self {
        Self {
            state: State::Open,
            file: None,
            on_disk: 0,
            stored: 0,
            tail: Vec::new(),
            crc_disk: Crc::default(),
            crc: Crc::default(),
            lines: 0,
            cut: false,
            synced: 0,
            named: false,
            unsynced_since: now,
            sealed_at: now,
            incompressible: false,
            shunned_until: None,
        }
    }

    pub(super) fn len(&self) -> u64 {
        self.on_disk + self.tail.len() as u64
    }

    pub(super) fn seal(&self) -> Seal {
        Seal {
            len: self.len(),
            crc: self.crc.value(),
        }
    }

    /// What its file should be called.
    pub(super) fn wanted_name(&self, number: Number) -> Name {
        match (self.state, self.file) {
            (State::Open, _) => Name::Open(number),
            (State::Bad, _) => Name::Bad(number),
            (State::Sealed, Some(Name::Packed(..))) => Name::Packed(number, self.seal()),
            (State::Sealed, _) => Name::Sealed(number, self.seal()),
        }
    }

    pub(super) fn is_unsynced(&self) -> bool {
        self.file.is_some()
            && self.state != State::Bad
            && (self.synced < self.on_disk || !self.named)
    }

    /// What it takes, or will take, of the disk.
    pub(super) fn cost(&self) -> u64 {
        (self.stored + self.tail.len() as u64).next_multiple_of(BLOCK)
    }
}

impl Spool {
    /// An empty spool. Its first input is [`Input::Recovered`].
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits: Limits {
                segment: limits
                    .segment
                    .min(usize::try_from(limits.budget / 4).unwrap_or(usize::MAX)),
                ..limits
            },
            spare: (limits.segment as u64).min(limits.budget / 8),
            segments: BTreeMap::new(),
            next: Number(1),
            removals: VecDeque::new(),
            sync: false,
            recovered: false,
            sync_dir: false,
            doing: None,
            now: Tick::default(),
            waiting: VecDeque::new(),
            refuses: None,
            packing: None,
            dropped: 0,
            notes: Vec::new(),
        }
    }

    /// Takes what happened and says which disk operation comes next, if any.
    pub fn handle(&mut self, now: Tick, input: Input) -> Vec<Output> {
        self.now = now;
        match (self.doing.take(), input) {
            (Some(op), Input::Done { size }) => self.done(now, &op, size),
            (Some(op), Input::Failed(errno)) => self.failed(now, &op, errno),
            (Some(op), other) => {
                self.doing = Some(op);
                self.waiting.push_back(other);
                return Vec::new();
            }
            (None, Input::Done { .. } | Input::Failed(_)) => {}
            (None, other) => self.take(now, other),
        }
        self.doing = self.next_op(now);
        while self.doing.is_none() {
            let Some(input) = self.waiting.pop_front() else {
                break;
            };
            self.take(now, input);
            self.doing = self.next_op(now);
        }
        let notes = std::mem::take(&mut self.notes)
            .into_iter()
            .map(Output::Note);
        notes.chain(self.doing.clone().map(Output::Disk)).collect()
    }

    /// When to be called next if nothing happens first; `None` if there is nothing to wait for.
    #[must_use]
    pub fn deadline(&self) -> Option<Tick> {
        if let Some(refusal) = self.refuses {
            return Some(refusal.until);
        }
        let unsynced = self
            .segments
            .values()
            .filter(|segment| segment.is_unsynced());
        let sync = unsynced.map(|segment| segment.unsynced_since + self.limits.sync_after);
        let pack = self
            .packable()
            .map(|(_, segment)| segment.sealed_at + self.limits.pack_after);
        sync.chain(pack).min()
    }

    /// The complete segments that can be uploaded, oldest first.
    pub fn sealed(&self) -> impl Iterator<Item = Sealed> + '_ {
        let is_shunned =
            |segment: &Segment| segment.shunned_until.is_some_and(|until| self.now < until);
        let sealed = self
            .segments
            .iter()
            .filter(move |(_, segment)| segment.state == State::Sealed && !is_shunned(segment));
        sealed.map(|(number, segment)| Sealed {
            number: *number,
            len: segment.len(),
            lines: segment.lines,
        })
    }

    /// Where the lines of a complete segment are: its file, if it has one with lines in it, the lines that are in
    /// memory after those, and the seal that all of them together must match.
    #[must_use]
    pub fn contents(&self, number: Number) -> Option<(Option<Name>, &[u8], Seal)> {
        let segment = self.segments.get(&number)?;
        let file = segment.file.filter(|_| segment.on_disk > 0);
        (segment.state == State::Sealed).then(|| (file, segment.tail.as_slice(), segment.seal()))
    }

    /// How things stand.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let live = || {
            self.segments
                .values()
                .filter(|segment| segment.state != State::Bad)
        };
        Stats {
            sealed: self.sealed().count(),
            lines: live().map(|segment| segment.lines).sum(),
            stored: self.segments.values().map(|segment| segment.stored).sum(),
            held: self.held(),
            dropped: self.dropped,
            disk_refuses: self.refuses.map(|refusal| refusal.errno),
        }
    }

    /// Lines that are in memory only, because the disk refuses or is not done yet.
    #[must_use]
    pub fn held_lines(&self) -> u64 {
        let tails = self.segments.values().map(|segment| &segment.tail);
        tails
            .map(|tail| tail.iter().filter(|byte| **byte == b'\n').count() as u64)
            .sum()
    }

    fn take(&mut self, now: Tick, input: Input) {
        match input {
            Input::Recovered(_) if self.recovered => {}
            Input::Recovered(found) => self.recover(now, found),
            Input::Append(text) => {
                for line in text.split_inclusive('\n') {
                    self.append(now, line);
                }
            }
            Input::Seal { enough } => {
                if self.sealed().map(|sealed| sealed.len).sum::<u64>() < enough {
                    self.seal(now);
                }
            }
            Input::Uploaded(numbers) => {
                for number in numbers {
                    if self
                        .segments
                        .get(&number)
                        .is_some_and(|s| s.state == State::Sealed)
                    {
                        self.forget(number);
                    }
                }
            }
            Input::Kept => self.sync = true,
            Input::Flush => {
                self.seal(now);
                self.sync = true;
                self.try_again(now);
            }
            Input::Limit(bytes) => {
                let budget = usize::try_from(self.limits.budget / 4).unwrap_or(usize::MAX);
                self.limits.segment = bytes.clamp(1, budget);
            }
            Input::Damaged(number, contents) => self.damaged(now, number, contents),
            Input::Deadline | Input::Done { .. } | Input::Failed(_) => {}
        }
        self.keep_within_budget();
        self.keep_within_memory(now);
    }

    fn append(&mut self, now: Tick, line: &str) {
        let mut bytes = line.as_bytes().to_vec();
        if !bytes.ends_with(b"\n") {
            bytes.push(b'\n');
        }
        if !is_line(&bytes) || bytes.len() > self.limits.segment {
            let why = if is_line(&bytes) {
                Why::TooLong
            } else {
                Why::NoResult
            };
            return self.lost(1, bytes.len() as u64, why);
        }
        if let Some((_, open)) = self.open()
            && open.len() + bytes.len() as u64 > self.limits.segment as u64
        {
            self.seal(now);
        }
        if self.open().is_none() {
            self.segments.insert(self.next, Segment::new(now));
            self.next = self.next.next();
        }
        if let Some((_, open)) = self.open() {
            open.tail.extend_from_slice(&bytes);
            open.crc.add(&bytes);
            open.lines += 1;
        }
    }

    /// The open segment: always the last.
    fn open(&mut self) -> Option<(Number, &mut Segment)> {
        let (number, segment) = self.segments.iter_mut().next_back()?;
        (segment.state == State::Open).then_some((*number, segment))
    }

    fn seal(&mut self, now: Tick) {
        if let Some((number, open)) = self.open() {
            open.state = State::Sealed;
            open.sealed_at = now;
            if open.len() == 0 {
                self.forget(number);
            }
        }
    }

    /// Takes a segment out and has its files removed.
    pub(super) fn forget(&mut self, number: Number) {
        let Some(segment) = self.segments.remove(&number) else {
            return;
        };
        if let Some(name) = segment.file {
            self.removals.push_back((name, segment.stored));
        }
        if self.packing.is_some_and(|packing| packing.number == number) {
            self.packing = None;
            self.removals.push_back((Name::Temp(number), 0));
            self.removals
                .push_back((Name::Packed(number, segment.seal()), 0));
        }
    }

    pub(super) fn lost(&mut self, lines: u64, bytes: u64, why: Why) {
        self.dropped += lines;
        self.notes.push(Note::Dropped { lines, bytes, why });
    }

    fn drop_segment(&mut self, number: Number, why: Why) {
        if let Some(segment) = self.segments.get(&number) {
            let (lines, bytes, bad) = (segment.lines, segment.len(), segment.state == State::Bad);
            self.forget(number);
            if !bad {
                self.lost(lines, bytes, why);
            }
        }
    }

    pub(super) fn total(&self) -> u64 {
        let segments = self.segments.values().map(Segment::cost).sum::<u64>();
        segments
            + self
                .removals
                .iter()
                .map(|(_, size)| size.next_multiple_of(BLOCK))
                .sum::<u64>()
    }

    /// Drops the damaged and then the oldest, so that what is on disk and what will be written fits the budget.
    /// Room for compressing one segment is left, as that needs both forms for a moment.
    fn keep_within_budget(&mut self) {
        let mut total = self.segments.values().map(Segment::cost).sum::<u64>();
        while total > self.limits.budget - self.spare {
            let mut closed = self.segments.iter().filter(|(_, s)| s.state != State::Open);
            let oldest = closed
                .clone()
                .find(|(_, s)| s.state == State::Bad)
                .or_else(|| closed.next());
            let Some((number, segment)) = oldest else {
                break;
            };
            total -= segment.cost();
            self.drop_segment(*number, Why::Budget);
        }
    }

    fn held(&self) -> usize {
        self.segments
            .values()
            .map(|segment| segment.tail.len())
            .sum()
    }

    /// While the disk refuses: makes room on a full one by removing the oldest segment, else drops the oldest
    /// lines in memory.
    pub(super) fn keep_within_memory(&mut self, now: Tick) {
        let makes_room = self
            .refuses
            .is_some_and(|refusal| refusal.errno.is_full() && refusal.frees);
        if self.recovered && self.refuses.is_none() {
            return;
        }
        while self.held() > self.limits.memory {
            let Some((number, segment)) = self.segments.iter().find(|(_, s)| !s.tail.is_empty())
            else {
                return;
            };
            let (number, open) = (*number, segment.state == State::Open);
            let older = self
                .segments
                .range(..number)
                .find(|(_, s)| s.state != State::Open);
            if let Some((oldest, _)) = older.filter(|_| makes_room) {
                self.drop_segment(*oldest, Why::Memory);
                return self.try_again(now);
            }
            if open {
                self.drop_first_lines(number);
            } else {
                self.drop_segment(number, Why::Memory);
            }
        }
    }

    /// Drops the oldest lines in memory of the open segment until an eighth of the allowance is free.
    fn drop_first_lines(&mut self, number: Number) {
        let excess = self.held() - self.limits.memory + self.limits.memory / 8;
        let Some(segment) = self.segments.get_mut(&number) else {
            return;
        };
        let first = first_lines(&segment.tail, excess);
        let bytes = first.len() as u64;
        let lines = segment
            .tail
            .drain(first)
            .filter(|byte| *byte == b'\n')
            .count() as u64;
        segment.crc = segment.crc_disk;
        segment.crc.add(&segment.tail);
        segment.lines -= lines;
        self.lost(lines, bytes, Why::Memory);
    }

    pub(super) fn try_again(&mut self, now: Tick) {
        if let Some(refusal) = &mut self.refuses {
            refusal.until = now;
        }
    }
}

#[cfg(test)]
impl Spool {
    /// The files that the machine believes to be there.
    pub(super) fn files(&self) -> Vec<Name> {
        self.segments
            .values()
            .filter_map(|segment| segment.file)
            .collect()
    }
}
