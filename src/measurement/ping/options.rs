//! The options of `evping`.
use crate::measurement::{Common, Rules, SpecError};

/// The checked options of one `evping` command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The target as typed.
    pub target: String,
}

impl Options {
    /// Reads the words after `evping`.
    ///
    /// # Errors
    /// The first word that cannot be accepted.
    pub fn parse(_words: &[&str], _rules: &Rules) -> Result<(Common, Self), SpecError> {
        Err(SpecError::Empty)
    }
}
