//! The dialogue on the command connections (`controller-protocol` section 4).
use crate::{clock::Now, dialect::Dialect, protocol::registration::SessionId};

/// Names one command connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// What the interpreter is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// The controller opened a connection.
    Opened(ConnectionId),
    /// Bytes came.
    Bytes(ConnectionId, Vec<u8>),
    /// It is gone.
    Closed(ConnectionId),
}

/// What the interpreter wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send bytes.
    Reply(ConnectionId, Vec<u8>),
    /// Close it once what was replied is sent.
    Close(ConnectionId),
    /// The controller changed what is to be done.
    Change(Change),
}

/// What the controller changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A whole table is replaced.
    Table {
        /// Its name, for example `main` or `7`.
        name: String,
        /// Its lines, unchecked.
        lines: Vec<String>,
    },
    /// Run once, now.
    OneOff {
        /// The command, unchecked.
        command: String,
    },
    /// Run once, now.
    Json {
        /// The words, verb first.
        words: Vec<String>,
    },
    /// One more line for the measurement table (`starla` dialect).
    Add {
        /// The line, unchecked.
        line: String,
    },
}

/// One for all command connections of a session.
#[derive(Debug)]
pub struct Interpreter {}

impl Interpreter {
    /// No connection, no session.
    #[must_use]
    pub fn new(_dialect: Dialect) -> Self {
        todo!()
    }

    /// Who greets.
    pub fn set_identity(&mut self, _probe_id: Option<u32>, _hostname: &str) {
        todo!()
    }

    /// What the password is; without one nobody gets in.
    pub fn set_session(&mut self, _session: Option<SessionId>) {
        todo!()
    }

    /// Takes what just happened and says what to do about it.
    pub fn handle(&mut self, _now: &mut Now, _input: Input) -> Vec<Output> {
        todo!()
    }
}
