//! The upload's request and body (`controller-protocol` sections 6.1, 6.2, 6.6, 6.7, row 27).
use crate::dialect::Dialect;

/// First line of every body.
pub const BODY_HEADER: &str = "P_TO_C_REPORT\n";

/// The request head of a post.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestHead {
    /// Path and query of the URL.
    pub path_and_query: String,
    /// URL host without port and brackets.
    pub host: String,
    /// With `--local-time`: Unix seconds.
    pub unix_date: Option<i64>,
    /// Bytes of the body.
    pub content_length: u64,
}

impl RequestHead {
    /// The bytes up to and with the empty line.
    #[must_use]
    pub fn render(&self, _dialect: Dialect) -> String {
        todo!()
    }
}

/// The footer of a body: the empty line and the session.
#[must_use]
pub fn body_footer(_session_id: &str) -> String {
    todo!()
}

/// Path and query of a post that the probe builds itself.
#[must_use]
pub fn path_and_query(_probe_id: u32, _session_id: &str, _source: Option<&str>) -> String {
    todo!()
}

/// A received body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostBody<'a> {
    /// The RESULT lines, without line ends.
    pub lines: Vec<&'a str>,
    /// What the footer names.
    pub session_id: &'a str,
}

/// Why a body is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// It does not begin with the header.
    #[error("the body does not begin with P_TO_C_REPORT")]
    Header,
}

impl<'a> PostBody<'a> {
    /// Checks header, RESULT lines and footer.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn parse(_body: &'a [u8]) -> Result<Self, BodyError> {
        todo!()
    }
}

/// What an upload's `Date` says about our clock (`controller-protocol` section 6.7).
#[derive(Clone, Debug, PartialEq)]
pub enum ClockCheck {
    /// Confirmed: last sync is now.
    InSync,
    /// Too slow to tell; the text after `RESULT 9015 ongoing <now> `.
    TooSlow(String),
    /// Off; the text after `RESULT 9015 ongoing <now> `.
    OutOfSync(String),
}

/// Judges our clock by an upload's answer.
#[must_use]
pub fn check_clock(_now: f64, _date: i64, _tolerance_secs: u32, _rtt_secs: f64) -> ClockCheck {
    todo!()
}
