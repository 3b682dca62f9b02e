//! How a command becomes words (`controller-protocol` sections 5.4 to 5.6).

/// Why a command has no words; the text is the `reason` of a 9807 line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum WordsError {
    /// No such verb.
    #[error("command not found")]
    NotFound,
    /// Too many bytes.
    #[error("command line too big")]
    TooBig,
    /// Too many words.
    #[error("too many arguments")]
    TooMany,
    /// A quote is not closed.
    #[error("end of string not found")]
    Unterminated,
}

/// The words of a measurement command in a table.
///
/// # Errors
/// More than 511 bytes or 63 words, or an open quote.
pub fn split_measurement(_command: &str) -> Result<Vec<String>, WordsError> {
    todo!()
}

/// The words of a one-off command.
///
/// # Errors
/// More than 61 words, or an open quote.
pub fn split_one_off(_command: &str) -> Result<Vec<String>, WordsError> {
    todo!()
}

/// The words of a utility command in the `main` table, and where its output goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UtilityWords {
    /// The words without the redirection.
    pub words: Vec<String>,
    /// `>` or `>>` and the file.
    pub redirect: Option<Redirect>,
}

/// Where a utility's output goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// `>>`
    pub append: bool,
    /// The path as sent.
    pub file: String,
}

/// The words of a utility command in the `main` table.
///
/// # Errors
/// More than 4095 bytes or 39 words, or an open quote.
pub fn split_utility(_command: &str) -> Result<UtilityWords, WordsError> {
    todo!()
}
