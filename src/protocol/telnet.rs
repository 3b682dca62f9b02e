//! The command connection's bytes: lines, prompts, reply texts (`controller-protocol` sections 4.1 to 4.3).

/// The longest line taken, without its end. The official probe's limit is 4067.
pub const MAX_LINE: usize = 64 * 1024;

/// The login that a controller gives.
pub const LOGIN: &str = "C_TO_P_TEST_V1";

/// Asks for the password.
pub const PASSWORD_PROMPT: &[u8] = b"\r\nPassword: ";

/// What is said on accept: option bytes, banner, login prompt.
#[must_use]
pub fn greeting(_probe_id: Option<u32>, _hostname: &str) -> Vec<u8> {
    todo!()
}

/// One received line, without its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// Its bytes.
    Text(Vec<u8>),
    /// It was longer than [`MAX_LINE`] and is lost.
    TooLong,
}

/// Bytes to lines, however they are chunked.
#[derive(Clone, Debug, Default)]
pub struct LineDecoder {}

impl LineDecoder {
    /// A decoder at the start of a connection.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes bytes, gives the lines that they complete.
    pub fn push(&mut self, _bytes: &[u8]) -> Vec<Line> {
        todo!()
    }
}

/// What the probe answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reply {
    /// End of the request.
    Ok,
    /// Wrong password.
    BadPassword,
    /// No such command.
    BadCommand,
    /// The path rule is violated.
    BadPath,
    /// Path too long.
    NameTooLong,
    /// Directory missing.
    UnableToCreateNewCrontab,
    /// Could not be stored.
    IoError,
    /// Never sent; known to parse it.
    CrontabBusy,
    /// Never sent; known to parse it.
    BadFwFile,
    /// Answer to RELOAD.
    BadRemount,
}

impl Reply {
    /// The word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        todo!()
    }

    /// The bytes on the wire.
    #[must_use]
    pub fn bytes(self) -> Vec<u8> {
        todo!()
    }

    /// The reply with this word.
    #[must_use]
    pub fn from_word(_word: &str) -> Option<Self> {
        todo!()
    }
}
