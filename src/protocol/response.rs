//! The answer to an upload (`controller-protocol` section 6.4; section 10 rows 35 and 36), read within bounds
//! however it is chunked.

use super::date;

/// Most bytes of status line and headers together.
const MAX_HEAD: usize = 16 * 1024;
/// Most headers.
const MAX_HEADERS: usize = 64;
/// Bytes of the body that are kept. The good one has three; the answer counts as complete when more came.
const MAX_BODY: usize = 16 * 1024;
/// Most bytes of a chunk's size line, and of a trailer line.
const MAX_CHUNK_LINE: usize = 1024;

/// When to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryAfter {
    /// After so many seconds.
    Seconds(u64),
    /// At this Unix time.
    At(i64),
}

impl RetryAfter {
    /// Both forms of RFC 9110 section 10.2.3.
    fn parse(text: &str) -> Option<Self> {
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Some(Self::Seconds(text.parse().unwrap_or(u64::MAX)));
        }
        date::parse(text).map(Self::At)
    }

    /// Seconds from `now` on, where a date in the past is none.
    #[must_use]
    pub fn seconds_from(self, now: i64) -> u64 {
        match self {
            Self::Seconds(seconds) => seconds,
            Self::At(time) => u64::try_from(time.saturating_sub(now)).unwrap_or(0),
        }
    }
}

/// A whole answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// Status.
    pub status: u16,
    /// `Date`, Unix seconds.
    pub date: Option<i64>,
    /// `Retry-After`
    pub retry_after: Option<RetryAfter>,
    /// Decoded body, of which at most the first 16 KiB are kept.
    pub body: Vec<u8>,
}

impl Response {
    /// 2xx and the body is `OK`, white space aside: the posted lines are the controller's now.
    #[must_use]
    pub fn accepted(&self) -> bool {
        (200..300).contains(&self.status) && self.body.trim_ascii() == b"OK"
    }
}

/// Why an answer cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResponseError {
    /// Closed too early.
    #[error("the connection was closed before the answer was complete")]
    Truncated,
    /// Status line and headers take more than there is room for.
    #[error("more than {MAX_HEAD} bytes of headers")]
    HeadTooLong,
    /// Not HTTP.
    #[error("the answer is no HTTP: {0}")]
    Head(String),
    /// A length that is none, or two that differ.
    #[error("bad Content-Length `{0}`")]
    ContentLength(String),
    /// A chunk that is none.
    #[error("bad chunk in the answer's body")]
    Chunk,
}

/// Bytes to an answer, however they are chunked.
#[derive(Clone, Debug, Default)]
pub struct ResponseParser {
    head: Vec<u8>,
    response: Response,
    state: State,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Head,
    /// So many bytes of the body are to come.
    Length(u64),
    Chunked(Chunk),
    UntilClose,
    Complete,
}

/// Where in a chunked body we are (RFC 9112 section 7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chunk {
    /// In the size line: what the digits say so far, whether any were seen, whether they are over, bytes read.
    Size {
        size: u64,
        digits: bool,
        over: bool,
        read: usize,
    },
    /// So many bytes are to come.
    Data(u64),
    /// In the line end after the data.
    DataEnd,
    /// In a trailer line of which so many bytes were read, CR not counted.
    Trailer(usize),
}

impl Chunk {
    const START: Self = Self::Size {
        size: 0,
        digits: false,
        over: false,
        read: 0,
    };
}

impl ResponseParser {
    /// A parser before the first byte.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes bytes; gives the answer once it is complete. What comes after it is ignored.
    ///
    /// # Errors
    /// Why it cannot be read. No more bytes should be given then.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Option<Response>, ResponseError> {
        let mut rest = bytes;
        while self.state == State::Head && !rest.is_empty() {
            // The head can only be complete at a line's end.
            let line = rest.iter().position(|&byte| byte == b'\n');
            let take = line.map_or(rest.len(), |end| end + 1);
            self.head.extend_from_slice(&rest[..take]);
            rest = &rest[take..];
            if self.head.len() > MAX_HEAD {
                return Err(ResponseError::HeadTooLong);
            }
            if line.is_some() && self.head_ends() {
                self.read_head()?;
            }
        }
        self.body(rest)?;
        Ok(self.take_complete())
    }

    /// The peer closed.
    ///
    /// # Errors
    /// The answer was not complete.
    pub fn end(&mut self) -> Result<Response, ResponseError> {
        if self.state == State::UntilClose {
            self.state = State::Complete;
        }
        self.take_complete().ok_or(ResponseError::Truncated)
    }

    /// Whether the headers are complete: the moment at which round trip and clock are judged.
    #[must_use]
    pub fn has_head(&self) -> bool {
        self.state != State::Head
    }

    /// The status, once the headers are complete.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.has_head().then_some(self.response.status)
    }

    /// The `Date` in Unix seconds, once the headers are complete.
    #[must_use]
    pub const fn date(&self) -> Option<i64> {
        self.response.date
    }

    fn head_ends(&self) -> bool {
        self.head.ends_with(b"\n\n") || self.head.ends_with(b"\n\r\n")
    }

    fn read_head(&mut self) -> Result<(), ResponseError> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut parsed = httparse::Response::new(&mut headers);
        match parsed.parse(&self.head) {
            Ok(httparse::Status::Complete(_)) => {}
            // It ends in an empty line: there is nothing to come that would complete it.
            Ok(httparse::Status::Partial) => {
                return Err(ResponseError::Head("incomplete status line".to_owned()));
            }
            Err(error) => return Err(ResponseError::Head(error.to_string())),
        }
        let status = parsed.code.unwrap_or_default();
        let mut response = Response {
            status,
            ..Response::default()
        };
        let (mut length, mut chunked) = (None, false);
        for header in parsed.headers.iter() {
            let value = String::from_utf8_lossy(header.value);
            let value = value.trim();
            let named = |name: &str| header.name.eq_ignore_ascii_case(name);
            if named("Date") {
                response.date = response.date.or_else(|| date::parse(value));
            } else if named("Retry-After") {
                let earlier = response.retry_after;
                response.retry_after = earlier.or_else(|| RetryAfter::parse(value));
            } else if named("Transfer-Encoding") {
                chunked |= value.to_ascii_lowercase().ends_with("chunked");
            } else if named("Content-Length") {
                let new = content_length(value)?;
                if length.is_some_and(|earlier| earlier != new) {
                    return Err(ResponseError::ContentLength(value.to_owned()));
                }
                length = Some(new);
            }
        }
        self.head.clear();
        // An interim answer (1xx) is not the answer.
        if (100..200).contains(&status) {
            return Ok(());
        }
        self.response = response;
        self.state = match (chunked, length) {
            _ if matches!(status, 204 | 304) => State::Complete,
            (true, _) => State::Chunked(Chunk::START),
            (false, Some(0)) => State::Complete,
            (false, Some(length)) => State::Length(length),
            (false, None) => State::UntilClose,
        };
        Ok(())
    }

    fn body(&mut self, bytes: &[u8]) -> Result<(), ResponseError> {
        match self.state {
            State::Head | State::Complete => {}
            State::UntilClose => self.keep(bytes),
            State::Length(left) => {
                let (taken, left) = split(bytes, left);
                self.state = match left {
                    0 => State::Complete,
                    left => State::Length(left),
                };
                self.keep(taken);
            }
            State::Chunked(chunk) => self.chunked(chunk, bytes)?,
        }
        Ok(())
    }

    fn chunked(&mut self, mut chunk: Chunk, mut bytes: &[u8]) -> Result<(), ResponseError> {
        while let Some((&byte, rest)) = bytes.split_first() {
            if let Chunk::Data(left) = chunk {
                let (taken, left) = split(bytes, left);
                self.keep(taken);
                bytes = &bytes[taken.len()..];
                chunk = match left {
                    0 => Chunk::DataEnd,
                    left => Chunk::Data(left),
                };
                continue;
            }
            bytes = rest;
            match chunk.after(byte)? {
                Some(next) => chunk = next,
                None => {
                    self.state = State::Complete;
                    return Ok(());
                }
            }
        }
        if self.state != State::Complete {
            self.state = State::Chunked(chunk);
        }
        Ok(())
    }

    /// Keeps a part of the body. An answer that has more than the bound is as complete as it gets.
    fn keep(&mut self, bytes: &[u8]) {
        let room = MAX_BODY - self.response.body.len();
        self.response
            .body
            .extend_from_slice(&bytes[..bytes.len().min(room)]);
        if bytes.len() > room {
            self.state = State::Complete;
        }
    }

    fn take_complete(&mut self) -> Option<Response> {
        (self.state == State::Complete).then(|| self.response.clone())
    }
}

impl Chunk {
    /// The place after one byte that is no data; `None` at the end of the body.
    fn after(self, byte: u8) -> Result<Option<Self>, ResponseError> {
        let next = match self {
            Self::Size {
                size,
                digits,
                over,
                read,
            } => match (byte, char::from(byte).to_digit(16)) {
                (b'\n', _) if !digits => return Err(ResponseError::Chunk),
                (b'\n', _) if size == 0 => Self::Trailer(0),
                (b'\n', _) => Self::Data(size),
                _ if read >= MAX_CHUNK_LINE => return Err(ResponseError::Chunk),
                (_, Some(digit)) if !over => Self::Size {
                    size: size
                        .checked_mul(16)
                        .and_then(|size| size.checked_add(digit.into()))
                        .ok_or(ResponseError::Chunk)?,
                    digits: true,
                    over,
                    read: read + 1,
                },
                // Extensions are ignored.
                (b'\r' | b';' | b' ' | b'\t', _) if digits => Self::Size {
                    size,
                    digits,
                    over: true,
                    read: read + 1,
                },
                _ if over => Self::Size {
                    size,
                    digits,
                    over,
                    read: read + 1,
                },
                _ => return Err(ResponseError::Chunk),
            },
            Self::DataEnd => match byte {
                b'\r' => Self::DataEnd,
                b'\n' => Self::START,
                _ => return Err(ResponseError::Chunk),
            },
            Self::Trailer(read) => match byte {
                b'\n' if read == 0 => return Ok(None),
                b'\n' => Self::Trailer(0),
                b'\r' => Self::Trailer(read),
                _ if read >= MAX_CHUNK_LINE => return Err(ResponseError::Chunk),
                _ => Self::Trailer(read + 1),
            },
            Self::Data(_) => return Err(ResponseError::Chunk),
        };
        Ok(Some(next))
    }
}

fn content_length(value: &str) -> Result<u64, ResponseError> {
    Some(value)
        .filter(|value| value.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|value| value.parse().ok())
        .ok_or_else(|| ResponseError::ContentLength(value.chars().take(80).collect()))
}

/// The part of `bytes` that belongs to `left` bytes to come, and how many are to come after it.
fn split(bytes: &[u8], left: u64) -> (&[u8], u64) {
    let take = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
    let taken = &bytes[..take];
    (taken, left - u64::try_from(take).unwrap_or(left))
}

#[cfg(test)]
#[path = "response_tests.rs"]
mod tests;
