//! The commands of a table, measurements or not (`controller-protocol` sections 4.6, 5.4 to 5.8, 6).
use super::words::{Redirect, WordsError};

/// What a command asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Task {
    /// A measurement: its words, verb first.
    Measure(Vec<String>),
    /// An upload.
    HttpPost(HttpPost),
    /// Moving results and writing a marker line.
    CondMv(CondMv),
    /// A utility that this probe does not need, by name.
    Ignored(String),
}

impl Task {
    /// Reads a command of the measurement table (`7`).
    ///
    /// # Errors
    /// The reason for the 9807 line; none where the verb's options are refused.
    pub fn of_measurement_table(_command: &str) -> Result<Self, TaskError> {
        todo!()
    }

    /// Reads a command of the `main` table.
    ///
    /// # Errors
    /// Why it is skipped.
    pub fn of_main_table(_command: &str) -> Result<Self, TaskError> {
        todo!()
    }
}

/// Why a command is not run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TaskError {
    /// It has no words.
    #[error(transparent)]
    Words(#[from] WordsError),
    /// The utility refuses its options.
    #[error("{0}")]
    Options(String),
}

/// What a one-off line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OneOff {
    /// A measurement: its words, verb first.
    Measure(Vec<String>),
    /// Post now.
    Post,
    /// Wait until idle, then create the file.
    Barrier(String),
    /// Read the resolver file again.
    ReloadResolvConf,
}

impl OneOff {
    /// Reads a one-off command.
    ///
    /// # Errors
    /// The reason for the 9809 line.
    pub fn parse(_command: &str) -> Result<Self, WordsError> {
        todo!()
    }
}

/// A checked `httppost`.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpPost {
    /// `-A`: the id of its own report lines.
    pub id: Option<String>,
    /// `--set-time`: tolerance in seconds.
    pub set_time: Option<u32>,
    /// `--delete-file`
    pub delete_file: bool,
    /// `--maxpostsize`: bytes.
    pub max_post_size: u64,
    /// `--post-header`
    pub post_header: Option<String>,
    /// `--post-dir`
    pub post_dir: Option<String>,
    /// `--post-file`
    pub post_file: Option<String>,
    /// `--post-footer`
    pub post_footer: Option<String>,
    /// `--local-time`: send `Unix-Date`.
    pub local_time: bool,
    /// `--timeout`: seconds.
    pub timeout: Option<u32>,
    /// `-O`: where the answer's body goes.
    pub output: Option<String>,
    /// URL host without port and brackets.
    pub host: String,
    /// URL port.
    pub port: Option<u16>,
    /// Path and query of the URL.
    pub path_and_query: String,
    /// Where stdout goes.
    pub redirect: Option<Redirect>,
}

/// Which of the two uploads a line asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Results.
    Main,
    /// Header and footer only, for the time.
    TimeSync,
}

impl HttpPost {
    /// Which upload this is.
    #[must_use]
    pub fn purpose(&self) -> Purpose {
        todo!()
    }
}

/// A checked `condmv`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CondMv {
    /// `-A`: the text of the marker line.
    pub text: Option<String>,
    /// `-f`: even if the destination exists.
    pub force: bool,
    /// `-i`: granularity of the suffix, seconds.
    pub interval: u32,
    /// From.
    pub from: String,
    /// To.
    pub to: String,
}
