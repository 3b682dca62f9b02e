//! The answer to an upload (`controller-protocol` section 6.4).

/// When to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryAfter {
    /// After so many seconds.
    Seconds(u64),
    /// At this Unix time.
    At(i64),
}

/// A whole answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// Status.
    pub status: u16,
    /// `Date`, Unix seconds.
    pub date: Option<i64>,
    /// `Retry-After`
    pub retry_after: Option<RetryAfter>,
    /// Decoded body.
    pub body: Vec<u8>,
}

impl Response {
    /// 2xx and the body is `OK`, white space aside: the posted lines are the controller's now.
    #[must_use]
    pub fn accepted(&self) -> bool {
        todo!()
    }
}

/// Why an answer cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResponseError {
    /// Closed too early.
    #[error("the connection was closed before the answer was complete")]
    Truncated,
}

/// Bytes to an answer, however they are chunked, within bounds.
#[derive(Clone, Debug, Default)]
pub struct ResponseParser {}

impl ResponseParser {
    /// A parser before the first byte.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes bytes; gives the answer once it is complete.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub fn push(&mut self, _bytes: &[u8]) -> Result<Option<Response>, ResponseError> {
        todo!()
    }

    /// The peer closed.
    ///
    /// # Errors
    /// The answer was not complete.
    pub fn end(&mut self) -> Result<Response, ResponseError> {
        todo!()
    }

    /// The `Date`, as soon as the headers are read: the moment at which round trip and clock are judged.
    #[must_use]
    pub fn date(&self) -> Option<i64> {
        todo!()
    }

    /// Whether the headers are complete.
    #[must_use]
    pub fn has_head(&self) -> bool {
        todo!()
    }
}
