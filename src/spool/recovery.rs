//! What to make of the files that an earlier run, perhaps a power cut, left behind.

use std::{collections::btree_map::Entry, time::Duration};

use super::{
    Contents, Errno, Found, Name, Note, Number, Scan, Seal, Why,
    machine::{Segment, Spool, State},
    segment::Crc,
};
use crate::clock::Tick;

/// How long a segment that the system will not let us read is left out of uploads.
const READ_AGAIN: Duration = Duration::from_secs(60);

/// What a file is good for.
enum Verdict {
    /// Exactly these lines, though there may be more bytes after them.
    Lines { seal: Seal, lines: u64, cut: bool },
    /// Nothing at all.
    Nothing,
    /// Damaged in a way that no power cut explains.
    Damaged,
    /// Not for us to say.
    Unreadable,
}

impl Spool {
    /// Takes over what the directory holds. Every file counts as unsynced: the process may have died just now.
    pub(super) fn recover(&mut self, now: Tick, mut found: Vec<Found>) {
        self.recovered = true;
        self.sync = true;
        self.sync_dir = true;
        // Lines that came before the listing have a number already; they stay the newest.
        let early = std::mem::take(&mut self.segments);
        found.sort_by_key(|file| (file.name.number(), !is_whole(file), file.name));
        let last = found.last().map(|file| file.name.number());
        self.next = last.map_or(self.next, Number::next);
        for file in found {
            self.admit(now, file);
        }
        let number = self.sealed().count();
        let lines = self.sealed().map(|sealed| sealed.lines).sum();
        if number > 0 {
            self.notes.push(Note::Recovered {
                segments: number,
                lines,
            });
        }
        for segment in early.into_values() {
            self.segments.insert(self.next, segment);
            self.next = self.next.next();
        }
    }

    fn admit(&mut self, now: Tick, file: Found) {
        let number = file.name.number();
        let state = match (file.name, verdict(&file)) {
            (Name::Temp(_), _) | (_, Verdict::Nothing) => {
                return self.removals.push_back((file.name, file.stored));
            }
            (Name::Bad(_), _) | (_, Verdict::Damaged) => State::Bad,
            (_, Verdict::Lines { .. }) => State::Sealed,
            (_, Verdict::Unreadable) => {
                if let Contents::Unreadable(errno) = file.contents {
                    self.notes.push(Note::Unreadable {
                        name: file.name,
                        errno,
                    });
                }
                return;
            }
        };
        let segment = recovered(now, file, state);
        match self.segments.entry(number) {
            Entry::Vacant(entry) => {
                entry.insert(segment);
            }
            // Compressing was interrupted: both forms of the same lines are there.
            Entry::Occupied(twin) if state == State::Bad || twin.get().seal() == segment.seal() => {
                return self.removals.push_back((file.name, file.stored));
            }
            // Somebody copied files here. Nothing is lost by giving one of them another number.
            Entry::Occupied(_) => {
                self.segments.insert(self.next, segment);
                self.next = self.next.next();
            }
        }
        self.tell(file, state);
    }

    fn tell(&mut self, file: Found, state: State) {
        let number = file.name.number();
        match (state, file.contents) {
            (State::Bad, _) if !matches!(file.name, Name::Bad(_)) => {
                self.notes.push(Note::Quarantined { number });
            }
            (State::Sealed, Contents::Scanned(scan))
                if !is_whole(&file) && scan.all != scan.good =>
            {
                let bytes = scan.all.len - scan.good.len;
                self.notes.push(Note::Torn { number, bytes });
            }
            _ => {}
        }
    }

    /// A segment that was about to be posted does not match its checksum.
    pub(super) fn damaged(&mut self, now: Tick, number: Number, contents: Contents) {
        let Some(segment) = self
            .segments
            .get(&number)
            .filter(|s| s.state == State::Sealed)
        else {
            return;
        };
        let (lines, bytes) = (segment.lines, segment.len());
        let Some(name) = segment.file else {
            return;
        };
        let stored = segment.stored;
        if let Contents::Unreadable(errno) = contents
            && !matches!(errno, Errno::GONE | Errno::BROKEN)
        {
            // Nothing is wrong with it as far as anybody knows. It must not hold up the others, nor be lost.
            self.notes.push(Note::Unreadable { name, errno });
            if let Some(segment) = self.segments.get_mut(&number) {
                segment.shunned_until = Some(now + READ_AGAIN);
            }
            return;
        }
        self.segments.remove(&number);
        if contents == Contents::Unreadable(Errno::GONE) {
            return self.lost(lines, bytes, Why::Vanished);
        }
        let contents = match contents {
            // A disk that is broken here now will be tomorrow: out of the way, for a person to look at.
            Contents::Unreadable(_) => Contents::Garbled,
            other => other,
        };
        self.admit(
            now,
            Found {
                name,
                stored,
                contents,
            },
        );
        let kept = self
            .segments
            .get(&number)
            .filter(|s| s.state == State::Sealed);
        let (kept_lines, kept_bytes) = kept.map_or((0, 0), |s| (s.lines, s.len()));
        self.lost(
            lines.saturating_sub(kept_lines),
            bytes.saturating_sub(kept_bytes),
            Why::Vanished,
        );
        self.sync = true;
    }
}

fn recovered(now: Tick, file: Found, state: State) -> Segment {
    let (seal, lines, cut) = match verdict(&file) {
        Verdict::Lines { seal, lines, cut } => (seal, lines, cut),
        _ => (Seal::default(), 0, false),
    };
    // A damaged file is evidence: it stays as it is.
    let (seal, lines, cut) = match state {
        State::Bad => (Seal::default(), 0, false),
        _ => (seal, lines, cut),
    };
    let packed = matches!(file.name, Name::Packed(..));
    let crc = Crc::resume(seal.crc);
    Segment {
        state,
        file: Some(file.name),
        on_disk: seal.len,
        stored: if packed || state == State::Bad {
            file.stored
        } else {
            seal.len
        },
        crc_disk: crc,
        crc,
        lines,
        cut,
        ..Segment::new(now)
    }
}

fn is_whole(file: &Found) -> bool {
    matches!(file.contents, Contents::Scanned(scan) if scan.keeps_promise)
}

fn verdict(file: &Found) -> Verdict {
    let scan = match file.contents {
        Contents::Scanned(scan) => scan,
        Contents::Garbled => return Verdict::Damaged,
        Contents::Unreadable(_) => return Verdict::Unreadable,
    };
    match file.name.seal() {
        Some(seal) if scan.keeps_promise => Verdict::Lines {
            seal,
            lines: scan.lines,
            cut: scan.all.len > seal.len,
        },
        // It was sealed, but a power cut came before its contents were synced.
        Some(seal)
            if matches!(file.name, Name::Sealed(..)) && (scan.all.len < seal.len || scan.nul) =>
        {
            salvage(scan)
        }
        Some(_) => Verdict::Damaged,
        None => salvage(scan),
    }
}

fn salvage(scan: Scan) -> Verdict {
    if scan.good.len == 0 {
        return Verdict::Nothing;
    }
    Verdict::Lines {
        seal: scan.good,
        lines: scan.lines,
        cut: scan.all.len > scan.good.len,
    }
}
