//! What is reported of the header lines (`http-tls-measurements` 2.5).
//!
//! Lines are cut for the report only: what they mean is read from the whole line.

/// Stored header lines.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    /// Bytes that may be stored.
    limit: usize,
    /// Whether an empty string marks that all lines are there.
    marks_end: bool,
    total: usize,
    lines: Vec<Vec<u8>>,
}

/// What stands for the rest of a line.
const CUT: &[u8] = b"[...]";

impl Stored {
    /// For `wanted` bytes, or all if that is negative, but at most `most`.
    pub(super) fn new(wanted: i32, most: usize) -> Self {
        Self {
            limit: usize::try_from(wanted).map_or(most, |wanted| wanted.min(most)),
            marks_end: wanted > 0,
            total: 0,
            lines: Vec::new(),
        }
    }

    /// Takes a line without its line end; the empty one ends the headers.
    pub(super) fn take(&mut self, line: &[u8]) {
        let Some(room) = self.limit.checked_sub(self.total) else {
            return;
        };
        if line.is_empty() {
            if self.marks_end {
                self.lines.push(Vec::new());
            }
            return;
        }
        if line.len() < room {
            self.total += line.len();
            self.lines.push(line.to_vec());
        } else {
            self.total += line.len() + 1;
            self.lines.push([&line[..room], CUT].concat());
        }
    }

    /// Bytes that count as stored.
    pub(super) fn total(&self) -> usize {
        self.total.min(self.limit)
    }

    pub(super) fn into_lines(self) -> Vec<Vec<u8>> {
        self.lines
    }
}
