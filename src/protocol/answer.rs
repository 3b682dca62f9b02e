//! The line rules that the answers to both INITs share (`controller-protocol` sections 2.4 and 3.1), and the
//! fields that occur in them.
//!
//! Lines end in LF only and have at most 1023 bytes; after `OK` at most 16 further lines count; fields stand
//! between spaces; an error ends the reading and what was read before it stays in force. The protocol
//! reference prints whole answers in one line (`OK CONTROLLER … REREGISTER … PROBE_ID …`); no official server
//! does and the official probe would take it for an unknown answer, so that form is read as well.

use std::fmt;

/// Longest line, its LF included.
const MAX_LINE: usize = 1023;
/// Lines read after `OK`.
const MAX_LINES_AFTER_OK: usize = 16;
/// Shortest and longest time to stay away, in seconds.
const WAIT_BOUNDS: (u32, u32) = (100, 2_419_200);
/// How long to stay away after an answer that is none of the known ones, in seconds.
pub(super) const WAIT_AFTER_UNEXPECTED: u32 = 100;
/// How much of an offending text is kept for the log.
const SHOWN: usize = 80;

/// First words of lines that follow `OK` or `WAIT`: where the one-line form breaks.
const KNOWN_TAGS: [&str; 17] = [
    "CONTROLLER",
    "REREGISTER",
    "PROBE_ID",
    "REMOTE_PORT",
    "SESSION_ID",
    "TIMEOUT",
    "REGSERVER_TIMESTAMP",
    "FIRMWARE_APPS",
    "FIRMWARE_KERNEL",
    "SIGNATURE_APPS1",
    "SIGNATURE_APPS2",
    "SIGNATURE_APPS3",
    "SIGNATURE_APPS4",
    "SIGNATURE_APPS5",
    "DHCPV4",
    "DHCPV6",
    "DNS_SERVERS",
];

/// What is wrong with a line of an answer: the reading ends there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// The last line has no LF.
    #[error("the last line, `{0}`, has no line end")]
    Unfinished(String),
    /// A line is too long.
    #[error("a line of {0} bytes, more than 1023")]
    TooLong(usize),
    /// The first word is none.
    #[error("`{0}` does not begin with a word of A-Z, 0-9 and _")]
    BadTag(String),
    /// A field is missing.
    #[error("{tag}: {field} is missing")]
    Missing {
        /// First word of the line.
        tag: String,
        /// Which field.
        field: &'static str,
    },
    /// A field is not what it should be.
    #[error("{tag}: bad {field} `{value}`")]
    BadField {
        /// First word of the line.
        tag: String,
        /// Which field.
        field: &'static str,
        /// What was there.
        value: String,
    },
    /// Text after the last field.
    #[error("{tag}: unexpected `{text}` at the end of the line")]
    Trailing {
        /// First word of the line.
        tag: String,
        /// The text.
        text: String,
    },
}

/// Something in an answer that had no effect: for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// A well-formed line that this probe does not know or need.
    Ignored(String),
    /// A second line of a kind of which the first counts.
    Repeated(String),
    /// The rest of the answer was not read.
    Stopped(LineError),
    /// More lines than are read.
    TooManyLines,
    /// The `PROBE_ID` line holds no number.
    BadProbeId(String),
    /// An answer that is none of the known ones: its first line.
    Unexpected(String),
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ignored(tag) => write!(f, "{tag} ignored"),
            Self::Repeated(tag) => write!(f, "a second {tag} line ignored"),
            Self::Stopped(error) => write!(f, "answer not read further: {error}"),
            Self::TooManyLines => write!(f, "lines after the sixteenth ignored"),
            Self::BadProbeId(text) => write!(f, "PROBE_ID without a number: `{text}`"),
            Self::Unexpected(line) => write!(f, "unexpected answer `{line}`"),
        }
    }
}

/// What the first line of an answer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum First {
    /// No bytes at all.
    Empty,
    /// `OK`; field lines follow.
    Ok,
    /// `WAIT` and a good `TIMEOUT`, already within bounds.
    Wait(u32),
    /// `WAIT` and no good `TIMEOUT`, or a first line that breaks the line rules.
    Malformed(LineError),
    /// Anything else.
    Unexpected(String),
}

/// An answer, cut into lines.
pub(super) struct Lines {
    text: Vec<u8>,
    at: usize,
}

impl Lines {
    /// The lines of `bytes`, the one-line form unfolded.
    pub(super) fn new(bytes: &[u8]) -> Self {
        Self {
            text: unfold(bytes),
            at: 0,
        }
    }

    /// The whole text, for what is searched regardless of line rules.
    pub(super) fn text(&self) -> &[u8] {
        &self.text
    }

    /// Reads the first line, and for `WAIT` the second.
    pub(super) fn first(&mut self) -> First {
        match self.next() {
            None => First::Empty,
            Some(Err(error)) => First::Malformed(error),
            Some(Ok(line)) => match line.trim_end_matches(' ') {
                "OK" => First::Ok,
                "WAIT" => match self.timeout() {
                    Ok(secs) => First::Wait(secs),
                    Err(error) => First::Malformed(error),
                },
                _ => First::Unexpected(shown(line.as_bytes())),
            },
        }
    }

    /// Hands each field line after `OK` to `take`, within the line limit, until an error.
    pub(super) fn fields(
        &mut self,
        notes: &mut Vec<Note>,
        mut take: impl FnMut(Fields, &mut Vec<Note>) -> Result<(), LineError>,
    ) {
        for _ in 0..MAX_LINES_AFTER_OK {
            let Some(line) = self.next() else { return };
            let taken = line.and_then(|line| match Fields::of(&line)? {
                Some(fields) => take(fields, notes),
                None => Ok(()),
            });
            if let Err(error) = taken {
                notes.push(Note::Stopped(error));
                return;
            }
        }
        if self.at < self.text.len() {
            notes.push(Note::TooManyLines);
        }
    }

    fn timeout(&mut self) -> Result<u32, LineError> {
        let missing = || LineError::Missing {
            tag: "WAIT".to_owned(),
            field: "TIMEOUT line",
        };
        let line = self.next().ok_or_else(missing)??;
        let mut fields = Fields::of(&line)?.ok_or_else(missing)?;
        if fields.tag() != "TIMEOUT" {
            return Err(missing());
        }
        let secs = fields.positive("seconds", 6)?;
        fields.end()?;
        Ok(bounded(secs))
    }

    fn next(&mut self) -> Option<Result<String, LineError>> {
        let rest = &self.text[self.at..];
        if rest.is_empty() {
            return None;
        }
        let Some(end) = rest.iter().position(|&byte| byte == b'\n') else {
            self.at = self.text.len();
            return Some(Err(if rest.len() >= MAX_LINE {
                LineError::TooLong(rest.len())
            } else {
                LineError::Unfinished(shown(rest))
            }));
        };
        self.at += end + 1;
        if end + 1 > MAX_LINE {
            return Some(Err(LineError::TooLong(end + 1)));
        }
        Some(Ok(String::from_utf8_lossy(&rest[..end]).into_owned()))
    }
}

/// One line's fields.
pub(super) struct Fields {
    tag: String,
    rest: std::vec::IntoIter<String>,
}

impl Fields {
    /// The fields of a line; `None` for the empty line.
    fn of(line: &str) -> Result<Option<Self>, LineError> {
        if line.is_empty() {
            return Ok(None);
        }
        let tag = line.split(' ').next().unwrap_or_default();
        let is_tag = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        if tag.is_empty() || !tag.chars().all(is_tag) {
            return Err(LineError::BadTag(shown(line.as_bytes())));
        }
        let words: Vec<String> = line[tag.len()..]
            .split(' ')
            .filter(|word| !word.is_empty())
            .map(str::to_owned)
            .collect();
        Ok(Some(Self {
            tag: tag.to_owned(),
            rest: words.into_iter(),
        }))
    }

    /// The first word.
    pub(super) fn tag(&self) -> &str {
        &self.tag
    }

    /// The next field.
    pub(super) fn word(&mut self, field: &'static str) -> Result<String, LineError> {
        self.rest.next().ok_or_else(|| LineError::Missing {
            tag: self.tag.clone(),
            field,
        })
    }

    /// The next field if `good` says so.
    pub(super) fn word_if(
        &mut self,
        field: &'static str,
        good: impl FnOnce(&str) -> bool,
    ) -> Result<String, LineError> {
        let word = self.word(field)?;
        if good(&word) {
            Ok(word)
        } else {
            Err(self.bad(field, &word))
        }
    }

    /// The next field as a number of at most `max_digits` digits.
    pub(super) fn number(
        &mut self,
        field: &'static str,
        max_digits: usize,
    ) -> Result<u64, LineError> {
        let word = self.word_if(field, |word| {
            word.len() <= max_digits && word.bytes().all(|byte| byte.is_ascii_digit())
        })?;
        word.parse().map_err(|_| self.bad(field, &word))
    }

    /// The next field as a number above zero.
    pub(super) fn positive(
        &mut self,
        field: &'static str,
        max_digits: usize,
    ) -> Result<u32, LineError> {
        let number = self.number(field, max_digits)?;
        u32::try_from(number)
            .ok()
            .filter(|&number| number > 0)
            .ok_or_else(|| self.bad(field, &number.to_string()))
    }

    /// The next field as a port. Five digits can name more than there are: those are refused as well.
    pub(super) fn port(&mut self) -> Result<u16, LineError> {
        let number = self.number("port", 5)?;
        u16::try_from(number)
            .ok()
            .filter(|&port| port > 0)
            .ok_or_else(|| self.bad("port", &number.to_string()))
    }

    /// Nothing may follow.
    pub(super) fn end(mut self) -> Result<(), LineError> {
        match self.rest.next() {
            None => Ok(()),
            Some(text) => Err(LineError::Trailing {
                text: shown(text.as_bytes()),
                tag: self.tag,
            }),
        }
    }

    /// Whether another field follows.
    pub(super) fn more(&self) -> bool {
        self.rest.len() > 0
    }

    fn bad(&self, field: &'static str, value: &str) -> LineError {
        LineError::BadField {
            tag: self.tag.clone(),
            field,
            value: shown(value.as_bytes()),
        }
    }
}

/// Seconds within the bounds of a wait.
pub(super) fn bounded(secs: u32) -> u32 {
    secs.clamp(WAIT_BOUNDS.0, WAIT_BOUNDS.1)
}

/// `[0-9.]`, at most 16.
pub(super) fn is_ipv4_text(word: &str) -> bool {
    made_of(word, 16, |byte| byte.is_ascii_digit() || byte == b'.')
}

/// `[0-9A-Fa-f:]`, at most 40.
pub(super) fn is_ipv6_text(word: &str) -> bool {
    made_of(word, 40, |byte| byte.is_ascii_hexdigit() || byte == b':')
}

/// One to `max` bytes, each of them good.
pub(super) fn made_of(word: &str, max: usize, good: impl Fn(u8) -> bool) -> bool {
    !word.is_empty() && word.len() <= max && word.bytes().all(good)
}

/// Breaks the one-line form before each known tag; anything else comes back as it is.
fn unfold(bytes: &[u8]) -> Vec<u8> {
    let end = bytes.iter().position(|&byte| byte == b'\n');
    let first = &bytes[..end.unwrap_or(bytes.len())];
    let is_tag = |word: &[u8]| KNOWN_TAGS.iter().any(|tag| tag.as_bytes() == word);
    let mut words = first
        .split(|&byte| byte == b' ')
        .filter(|word| !word.is_empty());
    let (Some(verdict @ (b"OK" | b"WAIT")), Some(tag)) = (words.next(), words.next()) else {
        return bytes.to_vec();
    };
    if !is_tag(tag) || first.starts_with(b" ") {
        return bytes.to_vec();
    }
    let mut text = verdict.to_vec();
    for word in std::iter::once(tag).chain(words) {
        text.push(if is_tag(word) { b'\n' } else { b' ' });
        text.extend_from_slice(word);
    }
    text.push(b'\n');
    text.extend_from_slice(end.map_or(&[][..], |end| &bytes[end + 1..]));
    text
}

/// The beginning of an offending text, fit for a log.
fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN)]);
    text.chars()
        .map(|c| if c.is_control() { '.' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(bytes: &[u8]) -> First {
        Lines::new(bytes).first()
    }

    #[test]
    fn the_first_line_is_ok_wait_or_something_else() {
        assert_eq!(first(b""), First::Empty);
        assert_eq!(first(b"OK\n"), First::Ok);
        assert_eq!(first(b"OK  \n"), First::Ok);
        assert_eq!(first(b"OK\r\n"), First::Unexpected("OK.".to_owned()));
        assert_eq!(first(b"ok\n"), First::Unexpected("ok".to_owned()));
        assert_eq!(
            first(b"REFUSED\ngo away\n"),
            First::Unexpected("REFUSED".to_owned())
        );
        assert_eq!(first(b"\n"), First::Unexpected(String::new()));
        assert_eq!(
            first(b"OK"),
            First::Malformed(LineError::Unfinished("OK".to_owned()))
        );
    }

    #[test]
    fn a_wait_is_clamped_to_its_bounds() {
        assert_eq!(first(b"WAIT\nTIMEOUT 1\n"), First::Wait(100));
        assert_eq!(first(b"WAIT\nTIMEOUT 300\n"), First::Wait(300));
        assert_eq!(first(b"WAIT\nTIMEOUT 999999 \n"), First::Wait(999_999));
        assert_eq!(bounded(9_999_999), 2_419_200);
    }

    #[test]
    fn a_malformed_wait_is_none() {
        for answer in [
            &b"WAIT\n"[..],
            b"WAIT\nTIMEOUT\n",
            b"WAIT\nTIMEOUT 0\n",
            b"WAIT\nTIMEOUT 1234567\n",
            b"WAIT\nTIMEOUT 12s\n",
            b"WAIT\nTIMEOUT 100 200\n",
            b"WAIT\nTIMEOUT 100",
            b"WAIT\n\nTIMEOUT 100\n",
        ] {
            assert!(matches!(first(answer), First::Malformed(_)), "{answer:?}");
        }
    }

    #[test]
    fn only_a_known_tag_after_ok_makes_the_one_line_form() {
        assert_eq!(unfold(b"OK PROBE_ID 7"), b"OK\nPROBE_ID 7\n");
        assert_eq!(
            unfold(b"OK  REMOTE_PORT 7 SESSION_ID ab\nX\n"),
            b"OK\nREMOTE_PORT 7\nSESSION_ID ab\nX\n"
        );
        assert_eq!(unfold(b"OK then\n"), b"OK then\n");
        assert_eq!(unfold(b"OK\nPROBE_ID 7\n"), b"OK\nPROBE_ID 7\n");
    }

    #[test]
    fn a_line_has_at_most_1023_bytes() {
        let mut good = vec![b'A'; 1022];
        good.push(b'\n');
        assert!(matches!(first(&good), First::Unexpected(_)));
        good.insert(0, b'A');
        assert_eq!(first(&good), First::Malformed(LineError::TooLong(1024)));
        assert_eq!(
            first(&[b'A'; 5000]),
            First::Malformed(LineError::TooLong(5000))
        );
    }
}
