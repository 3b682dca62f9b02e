//! The result of `evping`.
use crate::{dialect::Dialect, measurement::Head};

/// A finished ping.
#[derive(Clone, Debug, PartialEq)]
pub struct Body {}

impl Body {
    /// The RESULT line.
    #[must_use]
    pub fn line(&self, _head: &Head, _dialect: Dialect) -> String {
        String::new()
    }
}

/// Progress of a ping.
#[derive(Clone, Debug, PartialEq)]
pub enum Seen {}
