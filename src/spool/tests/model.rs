//! A disk that forgets: what was not synced may be gone after a power cut, in any suffix, torn or zeroed.

use std::collections::BTreeMap;

use crate::spool::{Contents, Errno, Found, Input, Name, Op, segment};

/// A change to one file.
#[derive(Clone, Debug)]
enum Change {
    Write { at: usize, bytes: Vec<u8> },
    Cut { to: usize },
}

/// A change to the directory.
#[derive(Clone, Copy, Debug)]
enum Entry {
    Link(Name, usize),
    Rename(Name, Name),
    Unlink(Name),
}

#[derive(Clone, Debug, Default)]
struct Inode {
    changes: Vec<Change>,
    synced: usize,
}

impl Inode {
    fn after(&self, changes: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        for change in &self.changes[..changes] {
            apply(&mut bytes, change);
        }
        bytes
    }
}

fn apply(file: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Write { at, bytes } => {
            file.resize(file.len().max(at + bytes.len()), 0);
            file[*at..at + bytes.len()].copy_from_slice(bytes);
        }
        Change::Cut { to } => file.truncate(*to),
    }
}

/// How much of what was not synced a power cut leaves behind.
#[derive(Clone, Debug)]
pub(super) struct Loss {
    /// Per mille of the unsynced changes of each file, and of the names, that survive.
    pub(super) files: Vec<u16>,
    pub(super) names: u16,
    /// Per mille of the first lost write that is there all the same, and whether zeros stand for its rest.
    pub(super) torn: u16,
    pub(super) zeros: bool,
}

/// The model disk: one directory.
#[derive(Clone, Debug, Default)]
pub(super) struct Disk {
    inodes: Vec<Inode>,
    entries: Vec<Entry>,
    entries_synced: usize,
}

impl Disk {
    /// The directory after so many changes.
    fn names(&self, entries: usize) -> BTreeMap<Name, usize> {
        let mut names = BTreeMap::new();
        for entry in &self.entries[..entries] {
            match entry {
                Entry::Link(name, inode) => {
                    names.insert(*name, *inode);
                }
                Entry::Rename(from, to) => {
                    let inode = names.remove(from).expect("renames what is there");
                    names.insert(*to, inode);
                }
                Entry::Unlink(name) => {
                    names.remove(name);
                }
            }
        }
        names
    }

    fn inode(&self, name: Name) -> Option<usize> {
        self.names(self.entries.len()).get(&name).copied()
    }

    /// The files and what a running process reads in them.
    pub(super) fn files(&self) -> BTreeMap<Name, Vec<u8>> {
        let names = self.names(self.entries.len());
        let contents = |inode: usize| self.inodes[inode].after(self.inodes[inode].changes.len());
        names
            .into_iter()
            .map(|(name, inode)| (name, contents(inode)))
            .collect()
    }

    pub(super) fn size(&self) -> u64 {
        self.files().values().map(|bytes| bytes.len() as u64).sum()
    }

    /// The lines that must survive any power cut from here: synced contents under synced names, of files that
    /// were not removed since.
    pub(super) fn durable_lines(&self) -> Vec<Vec<u8>> {
        let live: Vec<usize> = self.names(self.entries.len()).into_values().collect();
        let mut lines = Vec::new();
        for (name, inode) in self.names(self.entries_synced) {
            if live.contains(&inode) && !matches!(name, Name::Temp(_)) {
                lines.extend(lines_of(
                    name,
                    &self.inodes[inode].after(self.inodes[inode].synced),
                ));
            }
        }
        lines
    }

    /// Performs an operation whole, or with an error: writes then leave `part` per mille of themselves behind.
    pub(super) fn perform(&mut self, op: &Op, fault: Option<(Errno, u16)>) -> Input {
        if let Some((errno, part)) = fault {
            if let Op::Write { name, at, bytes } = op {
                let part = bytes.len() * usize::from(part) / 1000;
                if part > 0 {
                    self.write(*name, usize::try_from(*at).unwrap(), bytes[..part].to_vec());
                }
            }
            return Input::Failed(errno);
        }
        let mut size = 0;
        match op {
            Op::Write { name, at, bytes } => {
                assert_eq!(
                    self.inode(*name).map_or(0, |inode| self.files_len(inode)),
                    *at,
                    "writes append"
                );
                self.write(*name, usize::try_from(*at).unwrap(), bytes.clone());
            }
            Op::Cut { name, to } => {
                if let Some(inode) = self.inode(*name) {
                    let to = usize::try_from(*to).unwrap();
                    self.inodes[inode].changes.push(Change::Cut { to });
                } else {
                    assert_eq!(*to, 0, "only a file that was never made may be missing");
                }
            }
            Op::Sync { name } => {
                let inode = self.inode(*name).expect("syncs what is there");
                self.inodes[inode].synced = self.inodes[inode].changes.len();
            }
            Op::SyncDir => self.entries_synced = self.entries.len(),
            Op::Rename { from, to } => {
                assert!(self.inode(*from).is_some(), "renames what is there");
                assert!(self.inode(*to).is_none(), "renames onto nothing");
                self.entries.push(Entry::Rename(*from, *to));
            }
            Op::Remove { name } => self.entries.push(Entry::Unlink(*name)),
            Op::Pack { from, to } => {
                let inode = self.inode(*from).expect("packs what is there");
                let packed =
                    segment::pack(&self.inodes[inode].after(self.inodes[inode].changes.len()));
                size = packed.len() as u64;
                self.write(*to, 0, packed);
            }
        }
        Input::Done { size }
    }

    fn files_len(&self, inode: usize) -> u64 {
        self.inodes[inode]
            .after(self.inodes[inode].changes.len())
            .len() as u64
    }

    fn write(&mut self, name: Name, at: usize, bytes: Vec<u8>) {
        let inode = self.inode(name).unwrap_or_else(|| {
            self.inodes.push(Inode::default());
            self.entries.push(Entry::Link(name, self.inodes.len() - 1));
            self.inodes.len() - 1
        });
        self.inodes[inode].changes.push(Change::Write { at, bytes });
    }

    /// The disk after the power came back.
    pub(super) fn after(&self, loss: &Loss) -> Self {
        let kept = |synced: usize, all: usize, share: u16| {
            synced + (all - synced) * usize::from(share) / 1000
        };
        let mut disk = Self::default();
        let names = self.names(kept(self.entries_synced, self.entries.len(), loss.names));
        for (index, (name, inode)) in names.into_iter().enumerate() {
            let inode = &self.inodes[inode];
            let share = loss
                .files
                .get(index % loss.files.len().max(1))
                .copied()
                .unwrap_or(0);
            let changes = kept(inode.synced, inode.changes.len(), share);
            let mut bytes = inode.after(changes);
            if let Some(Change::Write { at, bytes: lost }) = inode.changes.get(changes) {
                let there = lost.len() * usize::from(loss.torn) / 1000;
                let mut torn = lost[..there].to_vec();
                if loss.zeros {
                    torn.resize(lost.len(), 0);
                }
                apply(
                    &mut bytes,
                    &Change::Write {
                        at: *at,
                        bytes: torn,
                    },
                );
            }
            disk.write(name, 0, bytes);
        }
        for inode in &mut disk.inodes {
            inode.synced = inode.changes.len();
        }
        disk.entries_synced = disk.entries.len();
        disk
    }

    pub(super) fn listing(&self) -> Vec<Found> {
        let files = self.files().into_iter();
        let listing = files.map(|(name, bytes)| Found {
            name,
            stored: bytes.len() as u64,
            contents: match (name, unpacked(name, &bytes)) {
                (_, Some(lines)) => Contents::Scanned(segment::scan(&lines, name.seal())),
                (_, None) => Contents::Garbled,
            },
        });
        listing.collect()
    }

    pub(super) fn lines(&self, name: Name) -> Vec<u8> {
        unpacked(name, &self.files()[&name]).expect("unpacks")
    }
}

fn unpacked(name: Name, bytes: &[u8]) -> Option<Vec<u8>> {
    match name {
        Name::Packed(_, seal) => segment::unpack(bytes, seal.len),
        _ => Some(bytes.to_vec()),
    }
}

fn lines_of(name: Name, bytes: &[u8]) -> Vec<Vec<u8>> {
    let lines = unpacked(name, bytes).unwrap_or_default();
    let lines = lines
        .split_inclusive(|byte| *byte == b'\n')
        .filter(|line| segment::is_line(line));
    lines.map(<[u8]>::to_vec).collect()
}
