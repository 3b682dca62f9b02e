//! HTTP/1 responses as `evhttpget` reads them, byte by byte (`http-tls-measurements` section 2.4).
//!
//! A [`Reader`] is told what was received and says what it wants next. It holds at most [`BUFFER`] bytes whatever a
//! server sends: bodies are counted, not kept, and header lines are shown once and forgotten.
//!
//! Reading goes by *read events*: something can be read, the reader asks for fills until it needs more than is at
//! hand, and then waits for the next event. What is found does not depend on how the bytes were cut, but for three
//! things that the specification says: bytes beyond a body's length count if they came in the same fill, a read limit
//! is looked at between fills, and a time-out tells how many bytes of a line were held.

use std::fmt;

/// Bytes held at most; also the longest line, its line feed included.
pub const BUFFER: usize = 2048;

/// What is known before the response about how to read it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expect {
    /// The request was HEAD: no body follows.
    pub head: bool,
    /// Stop once this many bytes were received; 0 for no limit.
    pub read_limit: u64,
    /// A body without chunks is taken up to this many bytes first, and whatever is held beyond it only if the body goes on.
    pub body_limit: u64,
}

/// A status line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Version before the dot, modulo 256.
    pub major: u8,
    /// Version behind the dot, modulo 256.
    pub minor: u8,
    /// The leading digits, 2147483647 if they come to more.
    pub code: u32,
}

/// What a [`Reader`] wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// To be given at most this many bytes that are at hand, perhaps none.
    Fill(usize),
    /// The next read event.
    Event,
    /// Nothing more: the response is complete, or as much of it as the read limit allows.
    Nothing,
}

/// Why a response cannot be read to its end. The texts are those of result lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResponseError {
    /// A line does not fit into [`BUFFER`].
    #[error("line too long")]
    LineTooLong,
    /// The status line is none.
    #[error("bad status line: {0}")]
    Status(Reason),
    /// A header line cannot be understood.
    #[error("bad header line: {0}")]
    Header(Reason),
    /// A line among the chunks cannot be understood.
    #[error("bad chunk line: {0}")]
    Chunk(Reason),
    /// Time is up, or no more can come where more is needed.
    #[error("timeout reading {0}")]
    Timeout(Part),
    /// The stream ended or broke.
    #[error("error reading {0}")]
    Ended(Part),
}

/// What is wrong with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// It holds a NUL.
    #[error("contains nul")]
    ContainsNul,
    /// It does not begin with `http/`.
    #[error("bad prefix")]
    BadPrefix,
    /// No number and dot follow.
    #[error("bad major")]
    BadMajor,
    /// No number and blank follow.
    #[error("bad minor")]
    BadMinor,
    /// No digit follows.
    #[error("bad status code")]
    BadStatusCode,
    /// The read limit was reached before its end.
    #[error("read truncated")]
    ReadTruncated,
    /// No colon after the name.
    #[error("malformed transfer-encoding")]
    MalformedTransferEncoding,
    /// No colon after the name, or no number after that.
    #[error("malformed content-length")]
    MalformedContentLength,
    /// A chunk's size is not hexadecimal.
    #[error("not a number")]
    NotANumber,
    /// Something stands between a chunk and its line end.
    #[error("garbage at the end of chunk")]
    GarbageAtTheEndOfChunk,
}

/// The part of a response that was being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The status line, or nothing yet.
    Status,
    /// The header lines.
    Headers,
    /// A body without chunks.
    Body,
    /// A body in chunks.
    Chunk {
        /// 5 its size, 6 its data, 7 the line after it, 8 the trailer.
        state: u8,
        /// Bytes of a line that was not complete.
        held: usize,
    },
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status => f.write_str("status"),
            Self::Headers => f.write_str("headers"),
            Self::Body => f.write_str("body"),
            Self::Chunk { state, held } => {
                write!(f, "chunk: state {state} linelen {held} lineoffset 0")
            }
        }
    }
}

/// Reads one response.
#[derive(Clone, Debug)]
pub struct Reader {
    buffer: Vec<u8>,
    /// Bytes at the front of the buffer that are done with.
    consumed: usize,
    received: u64,
    read_limit: u64,
    truncated: bool,
    message: Message,
}

impl Reader {
    /// Before the first byte.
    #[must_use]
    pub fn new(expect: Expect) -> Self {
        Self {
            buffer: Vec::new(),
            consumed: 0,
            received: 0,
            read_limit: expect.read_limit,
            truncated: false,
            message: Message::new(expect),
        }
    }

    /// A read event begins. `header` is shown each header line without its line end, and the empty one behind them.
    ///
    /// # Errors
    /// What keeps the response from being read to its end.
    pub fn event(&mut self, header: &mut dyn FnMut(&[u8])) -> Result<Want, ResponseError> {
        self.advance(false, header)
    }

    /// What a fill that was wanted gave. More than was wanted is ignored.
    ///
    /// # Errors
    /// What keeps the response from being read to its end.
    pub fn fill(
        &mut self,
        bytes: &[u8],
        header: &mut dyn FnMut(&[u8]),
    ) -> Result<Want, ResponseError> {
        self.buffer.drain(..self.consumed);
        self.consumed = 0;
        let room = BUFFER - self.buffer.len();
        let bytes = &bytes[..bytes.len().min(room)];
        self.received += bytes.len() as u64;
        self.buffer.extend_from_slice(bytes);
        self.advance(true, header)
    }

    /// The stream ended or broke.
    ///
    /// # Errors
    /// The response is not complete by that.
    pub fn end(&self) -> Result<(), ResponseError> {
        match self.message.state {
            State::Status if self.received > 0 => Err(ResponseError::Ended(Part::Status)),
            State::Headers => Err(ResponseError::Ended(Part::Headers)),
            State::Body if self.message.length == ABSENT => Ok(()),
            State::Body => Err(ResponseError::Ended(Part::Body)),
            State::Done => Ok(()),
            _ => Err(self.timeout()),
        }
    }

    /// Time is up.
    #[must_use]
    pub fn timeout(&self) -> ResponseError {
        let chunk = |state, held| Part::Chunk { state, held };
        let held = self.held().len();
        ResponseError::Timeout(match self.message.state {
            State::Status => Part::Status,
            State::Headers => Part::Headers,
            State::Body | State::Done => Part::Body,
            State::ChunkSize => chunk(5, held),
            State::ChunkData { .. } => chunk(6, 0),
            State::ChunkEnd => chunk(7, held),
            State::Trailer => chunk(8, held),
        })
    }

    /// Bytes received so far, of whatever kind.
    #[must_use]
    pub const fn received(&self) -> u64 {
        self.received
    }

    /// Whether the read limit was reached.
    #[must_use]
    pub const fn is_truncated(&self) -> bool {
        self.truncated
    }

    /// The status line, once it was read.
    #[must_use]
    pub const fn status(&self) -> Option<Status> {
        self.message.status
    }

    /// Bytes of the header lines with their line ends, without the empty one.
    #[must_use]
    pub const fn header_size(&self) -> u64 {
        self.message.header_size
    }

    /// Bytes of the body without its framing.
    #[must_use]
    pub const fn body_size(&self) -> u64 {
        self.message.body_size
    }

    fn held(&self) -> &[u8] {
        self.buffer.get(self.consumed..).unwrap_or_default()
    }

    /// Goes on until more is needed. `filled`: the step at hand was given what it asked for.
    fn advance(
        &mut self,
        mut filled: bool,
        header: &mut dyn FnMut(&[u8]),
    ) -> Result<Want, ResponseError> {
        loop {
            if !filled && self.read_limit > 0 && self.received >= self.read_limit {
                self.truncated = true;
                return match self.message.state {
                    State::Status => Err(ResponseError::Status(Reason::ReadTruncated)),
                    State::Headers => Err(ResponseError::Header(Reason::ReadTruncated)),
                    _ => Ok(Want::Nothing),
                };
            }
            if self.message.state == State::Done {
                return Ok(Want::Nothing);
            }
            let held = &self.buffer[self.consumed..];
            match self.message.take(held, header)? {
                0 if filled => return Ok(Want::Event),
                0 => return Ok(Want::Fill(BUFFER - held.len())),
                taken => self.consumed += taken,
            }
            filled = false;
        }
    }
}

/// Content-Length where there is none.
const ABSENT: i32 = -1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Status,
    Headers,
    Body,
    ChunkSize,
    ChunkData { left: u64 },
    ChunkEnd,
    Trailer,
    Done,
}

/// What was found so far.
#[derive(Clone, Debug)]
struct Message {
    state: State,
    head: bool,
    body_limit: u64,
    status: Option<Status>,
    header_size: u64,
    chunked: bool,
    length: i32,
    body_size: u64,
}

impl Message {
    const fn new(expect: Expect) -> Self {
        Self {
            state: State::Status,
            head: expect.head,
            body_limit: expect.body_limit,
            status: None,
            header_size: 0,
            chunked: false,
            length: ABSENT,
            body_size: 0,
        }
    }

    /// Takes what can be taken from the front of `held` in one step; how many bytes, 0 if more are needed.
    fn take(&mut self, held: &[u8], header: &mut dyn FnMut(&[u8])) -> Result<usize, ResponseError> {
        match self.state {
            State::Body => Ok(self.take_body(held.len())),
            State::ChunkData { left } => {
                let taken = usize::try_from(left).map_or(held.len(), |left| left.min(held.len()));
                let left = left - taken as u64;
                self.body_size += taken as u64;
                self.state = if left == 0 {
                    State::ChunkEnd
                } else {
                    State::ChunkData { left }
                };
                Ok(taken)
            }
            _ => {
                let Some(end) = held.iter().position(|octet| *octet == b'\n') else {
                    return if held.len() >= BUFFER {
                        Err(ResponseError::LineTooLong)
                    } else {
                        Ok(0)
                    };
                };
                let line = held[..end].strip_suffix(b"\r").unwrap_or(&held[..end]);
                self.take_line(line, end + 1, header)?;
                Ok(end + 1)
            }
        }
    }

    fn take_body(&mut self, held: usize) -> usize {
        let room = self.body_limit.saturating_sub(self.body_size);
        let taken = match usize::try_from(room) {
            Ok(room) if room > 0 => held.min(room),
            _ => held,
        };
        self.body_size += taken as u64;
        if u64::try_from(self.length).is_ok_and(|length| self.body_size >= length) {
            self.state = State::Done;
        }
        taken
    }

    /// Takes a line; `size` is what it took with its line end.
    fn take_line(
        &mut self,
        line: &[u8],
        size: usize,
        header: &mut dyn FnMut(&[u8]),
    ) -> Result<(), ResponseError> {
        let bad: fn(Reason) -> ResponseError = match self.state {
            State::Status => ResponseError::Status,
            State::Headers => ResponseError::Header,
            _ => ResponseError::Chunk,
        };
        if line.contains(&0) {
            return Err(bad(Reason::ContainsNul));
        }
        self.state = match self.state {
            State::Status => {
                self.status = Some(status(line).map_err(bad)?);
                State::Headers
            }
            State::Headers => {
                header(line);
                if line.is_empty() {
                    self.after_headers()
                } else {
                    self.header_size += size as u64;
                    self.header(line).map_err(bad)?;
                    State::Headers
                }
            }
            State::ChunkSize => match chunk_size(line).ok_or(bad(Reason::NotANumber))? {
                0 => State::Trailer,
                left => State::ChunkData { left },
            },
            State::ChunkEnd if !line.is_empty() => return Err(bad(Reason::GarbageAtTheEndOfChunk)),
            State::ChunkEnd => State::ChunkSize,
            State::Trailer if line.is_empty() => State::Done,
            state => state,
        };
        Ok(())
    }

    /// The two names that matter, compared as prefixes of the line.
    fn header(&mut self, line: &[u8]) -> Result<(), Reason> {
        if let Some(rest) = after_prefix(line, b"transfer-encoding") {
            let value = value(rest).ok_or(Reason::MalformedTransferEncoding)?;
            if let Some(rest) = after_prefix(value, b"chunked") {
                self.chunked |= !rest.first().is_some_and(|octet| is_blank(*octet));
            }
        } else if let Some(rest) = after_prefix(line, b"content-length") {
            let length = value(rest).and_then(content_length);
            self.length = length.ok_or(Reason::MalformedContentLength)?;
        }
        Ok(())
    }

    fn after_headers(&self) -> State {
        let code = self.status.map_or(0, |status| status.code);
        if self.head || matches!(code, 100..=199 | 204 | 304) {
            State::Done
        } else if self.chunked {
            State::ChunkSize
        } else if self.length == 0 {
            State::Done
        } else {
            State::Body
        }
    }
}

/// A status line: `http/`, major, dot, minor, blanks, digits.
fn status(line: &[u8]) -> Result<Status, Reason> {
    let rest = after_prefix(line, b"http/").ok_or(Reason::BadPrefix)?;
    let (major, rest) = number(rest).ok_or(Reason::BadMajor)?;
    let rest = rest.strip_prefix(b".").ok_or(Reason::BadMajor)?;
    let (minor, rest) = number(rest).ok_or(Reason::BadMinor)?;
    if !rest.first().is_some_and(|octet| is_blank(*octet)) {
        return Err(Reason::BadMinor);
    }
    let (code, _) = number(after_blanks(rest)).ok_or(Reason::BadStatusCode)?;
    Ok(Status {
        major: major.to_le_bytes()[0],
        minor: minor.to_le_bytes()[0],
        code: u32::try_from(code.min(i32::MAX as u64)).unwrap_or(0),
    })
}

/// Leading decimal digits, saturating, and what follows them.
fn number(text: &[u8]) -> Option<(u64, &[u8])> {
    let end = text
        .iter()
        .position(|octet| !octet.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    let number = digits.iter().fold(0u64, |number, digit| {
        number
            .saturating_mul(10)
            .saturating_add(u64::from(digit - b'0'))
    });
    (!digits.is_empty()).then_some((number, rest))
}

/// The value of a header, given what follows the name that was looked for: the rest of the name, blanks, a colon.
fn value(rest: &[u8]) -> Option<&[u8]> {
    let end = rest
        .iter()
        .position(|octet| *octet == b':' || is_blank(*octet))?;
    let value = after_blanks(&rest[end..]).strip_prefix(b":")?;
    Some(after_blanks(value))
}

/// A decimal number, perhaps with a sign, and only blanks after it; 32 bits of it count.
fn content_length(value: &[u8]) -> Option<i32> {
    let (negative, digits) = match value.first()? {
        b'-' => (true, &value[1..]),
        b'+' => (false, &value[1..]),
        _ => (false, value),
    };
    let (length, rest) = number(digits)?;
    if !after_blanks(rest).is_empty() {
        return None;
    }
    let length = i64::try_from(length).unwrap_or(i64::MAX);
    let length = if negative { -length } else { length };
    length
        .to_le_bytes()
        .first_chunk()
        .map(|low| i32::from_le_bytes(*low))
}

/// A hexadecimal number and the end of the line or a blank after it. One too large for 64 bits is the largest.
fn chunk_size(line: &[u8]) -> Option<u64> {
    let text = after_blanks(line);
    let end = text
        .iter()
        .position(|octet| !octet.is_ascii_hexdigit())
        .unwrap_or(text.len());
    if end == 0 || text.get(end).is_some_and(|octet| !is_blank(*octet)) {
        return None;
    }
    Some(text[..end].iter().fold(0u64, |size, digit| {
        let digit = char::from(*digit).to_digit(16).unwrap_or(0);
        size.checked_mul(16)
            .map_or(u64::MAX, |size| size | u64::from(digit))
    }))
}

/// What follows `prefix`, which is compared without case.
fn after_prefix<'a>(line: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
    let (start, rest) = line.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}

fn after_blanks(text: &[u8]) -> &[u8] {
    let blanks = text.iter().take_while(|octet| is_blank(**octet)).count();
    &text[blanks..]
}

/// White space as the C library has it.
const fn is_blank(octet: u8) -> bool {
    matches!(octet, b' ' | b'\t'..=b'\r')
}

#[cfg(test)]
mod tests;
