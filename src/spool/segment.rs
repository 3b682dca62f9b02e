//! What a segment is called and what it holds: file names, checksums, and what can be saved of a damaged one.
//!
//! Pure. A segment file is nothing but RESULT lines. While it is open its name carries its number only; sealed,
//! also the length and the checksum of its lines; packed, the same with the lines compressed.

use std::{fmt, ops::Range, str::FromStr};

/// A segment's number: counts up, never a time, so that steps of the clock cannot reorder results.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Number(pub u64);

impl Number {
    /// The number after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:012}", self.0)
    }
}

/// Length and checksum of a segment's lines, whether or not they are stored compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seal {
    /// Bytes of RESULT lines.
    pub len: u64,
    /// CRC-32 (IEEE 802.3) of them.
    pub crc: u32,
}

/// A file of the spool. No other file name is ever read, written or removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Name {
    /// Being appended to: `000000000042.open`.
    Open(Number),
    /// Complete: `000000000042-12345-1c291ca3.lines`.
    Sealed(Number, Seal),
    /// Complete and compressed (zlib): `000000000042-12345-1c291ca3.lines.z`.
    Packed(Number, Seal),
    /// Being compressed; worthless until renamed: `000000000042.tmp`.
    Temp(Number),
    /// Damaged, kept for a person to look at, never posted: `000000000042.bad`.
    Bad(Number),
}

impl Name {
    /// The segment's number.
    #[must_use]
    pub const fn number(self) -> Number {
        match self {
            Self::Open(number)
            | Self::Sealed(number, _)
            | Self::Packed(number, _)
            | Self::Temp(number)
            | Self::Bad(number) => number,
        }
    }

    /// The length and checksum that the name promises, if it does.
    #[must_use]
    pub const fn seal(self) -> Option<Seal> {
        match self {
            Self::Sealed(_, seal) | Self::Packed(_, seal) => Some(seal),
            Self::Open(_) | Self::Temp(_) | Self::Bad(_) => None,
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open(number) => write!(f, "{number}.open"),
            Self::Sealed(number, seal) => {
                write!(f, "{number}-{}-{:08x}.lines", seal.len, seal.crc)
            }
            Self::Packed(number, seal) => {
                write!(f, "{number}-{}-{:08x}.lines.z", seal.len, seal.crc)
            }
            Self::Temp(number) => write!(f, "{number}.tmp"),
            Self::Bad(number) => write!(f, "{number}.bad"),
        }
    }
}

impl FromStr for Name {
    type Err = ForeignName;

    /// Accepts exactly what [`Name`] prints; anything else in the directory is not ours.
    fn from_str(text: &str) -> Result<Self, ForeignName> {
        let foreign = || ForeignName(text.to_owned());
        let (stem, kind) = text.split_once('.').ok_or_else(foreign)?;
        let mut parts = stem.split('-');
        let number = parts
            .next()
            .and_then(|digits| digits.parse().ok())
            .map(Number)
            .ok_or_else(foreign)?;
        let seal = match (parts.next(), parts.next()) {
            (Some(len), Some(crc)) => Some(Seal {
                len: len.parse().map_err(|_| foreign())?,
                crc: u32::from_str_radix(crc, 16).map_err(|_| foreign())?,
            }),
            _ => None,
        };
        let name = match (kind, seal) {
            ("open", None) => Self::Open(number),
            ("tmp", None) => Self::Temp(number),
            ("bad", None) => Self::Bad(number),
            ("lines", Some(seal)) => Self::Sealed(number, seal),
            ("lines.z", Some(seal)) => Self::Packed(number, seal),
            _ => return Err(foreign()),
        };
        // Signs, leading zeros, upper case, a further part: all of them print differently.
        if name.to_string() == text {
            Ok(name)
        } else {
            Err(foreign())
        }
    }
}

/// A file name that is none of the spool's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no file of the spool: it is left alone, move it elsewhere")]
pub struct ForeignName(pub String);

/// A CRC-32 (IEEE 802.3, reflected) that is being computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crc(u32);

impl Default for Crc {
    fn default() -> Self {
        Self(!0)
    }
}

impl Crc {
    /// Of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> u32 {
        let mut crc = Self::default();
        crc.add(bytes);
        crc.value()
    }

    /// Continues after bytes that have this checksum.
    #[must_use]
    pub const fn resume(crc: u32) -> Self {
        Self(!crc)
    }

    /// Continues with these bytes.
    pub fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            let index = (self.0 ^ u32::from(*byte)) & 0xff;
            self.0 = TABLE[index as usize] ^ (self.0 >> 8);
        }
    }

    /// The checksum of everything so far.
    #[must_use]
    pub const fn value(self) -> u32 {
        !self.0
    }
}

const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let mut value = index;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 {
                0xedb8_8320 ^ (value >> 1)
            } else {
                value >> 1
            };
            bit += 1;
        }
        table[index as usize] = value;
        index += 1;
    }
    table
};

/// Whether these bytes, line end included, are one line that the spool takes in and, after a crash, believes.
#[must_use]
pub fn is_line(line: &[u8]) -> bool {
    line.starts_with(b"RESULT ")
        && line.ends_with(b"\n")
        && !line.contains(&0)
        && std::str::from_utf8(line).is_ok()
}

/// What was found in a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scan {
    /// All of it.
    pub all: Seal,
    /// The lines from the start up to the first that is torn or no RESULT line.
    pub good: Seal,
    /// How many these are.
    pub lines: u64,
    /// Whether the whole of it begins with as many bytes as `promised` of the promised checksum.
    pub keeps_promise: bool,
    /// Whether there is a NUL byte: what a file system leaves of a write that a power cut tore.
    pub nul: bool,
}

/// Looks at the contents of a file whose name promises `promised`.
#[must_use]
pub fn scan(contents: &[u8], promised: Option<Seal>) -> Scan {
    let mut crc = Crc::default();
    let (mut good, mut lines) = (0, 0);
    for line in contents.split_inclusive(|byte| *byte == b'\n') {
        if !is_line(line) {
            break;
        }
        crc.add(line);
        good += line.len();
        lines += 1;
    }
    let good_seal = Seal {
        len: good as u64,
        crc: crc.value(),
    };
    let mut whole = crc;
    whole.add(&contents[good..]);
    let keeps_promise = promised.is_some_and(|seal| {
        usize::try_from(seal.len)
            .ok()
            .and_then(|len| contents.get(..len))
            .is_some_and(|front| Crc::of(front) == seal.crc)
    });
    Scan {
        all: Seal {
            len: contents.len() as u64,
            crc: whole.value(),
        },
        good: good_seal,
        lines,
        keeps_promise,
        nul: contents.contains(&0),
    }
}

/// A segment's lines, compressed (zlib).
#[must_use]
pub(crate) fn pack(lines: &[u8]) -> Vec<u8> {
    // Level 6 takes a tenth of what the lines took; higher ones cost much more time for little.
    miniz_oxide::deflate::compress_to_vec_zlib(lines, 6)
}

/// What [`pack`] compressed, if it unpacks into at most `most` bytes.
#[must_use]
pub(crate) fn unpack(packed: &[u8], most: u64) -> Option<Vec<u8>> {
    let most = usize::try_from(most).ok()?;
    miniz_oxide::inflate::decompress_to_vec_zlib_with_limit(packed, most).ok()
}

/// The first lines of `tail` that together have at least `bytes`: what to let go when memory is full.
#[must_use]
pub(crate) fn first_lines(tail: &[u8], bytes: usize) -> Range<usize> {
    let from = bytes.saturating_sub(1).min(tail.len());
    let end = tail[from..]
        .iter()
        .position(|byte| *byte == b'\n')
        .map_or(tail.len(), |at| from + at + 1);
    0..end
}
