//! The lines themselves, in both dialects.

use crate::{clock::UnixTime, dialect::Dialect};

/// What stands at the head of every status result.
#[derive(Clone, Copy, Debug)]
pub struct Stamp<'a> {
    /// The version fragment: `"fw":5120, "mver": "2.6.4"`.
    pub version: &'a str,
    /// Now.
    pub time: UnixTime,
    /// Seconds since the clock was confirmed, -1 if never.
    pub lts: i64,
    /// Whose form.
    pub dialect: Dialect,
}
