//! The dialogue on the command connections (`controller-protocol` section 4): one [`Interpreter`] for all
//! of them, since at most one may be logged in. Pure.
//!
//! What a command means is decided elsewhere; here it becomes a [`Change`], and what is answered is decided
//! to the byte. A table is handed on whole or not at all.

use std::collections::BTreeMap;

use crate::{
    clock::Now,
    dialect::Dialect,
    protocol::{
        command::Command,
        registration::SessionId,
        telnet::{self, Line, LineDecoder, Reply},
    },
};

/// Open connections. Of more, the oldest that is not logged in gives way: the controller always gets in.
const MAX_CONNECTIONS: usize = 16;
/// Wrong passwords on one connection before it is closed. The official probe never closes; no controller is
/// known to need a second try (section 10 row 12).
const MAX_TRIES: u32 = 10;
/// Lines of one table: as many as the official daemons read. Of more, none is taken.
const MAX_TABLE_LINES: usize = 65_534;
/// Bytes of one table. Of more, none is taken.
const MAX_TABLE_BYTES: usize = 16 * 1024 * 1024;

/// Names one command connection. The driver chooses; a later connection has a greater number.
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
    /// Close it once what was replied is sent. Nothing more is said about it.
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
    /// One more line for the measurement table (`starla` dialect only).
    Add {
        /// The line, unchecked.
        line: String,
    },
}

/// One for all command connections of an agent.
#[derive(Debug)]
pub struct Interpreter {
    dialect: Dialect,
    probe_id: Option<u32>,
    hostname: String,
    session: Option<SessionId>,
    connections: BTreeMap<ConnectionId, Connection>,
    logged_in: Option<ConnectionId>,
}

#[derive(Debug, Default)]
struct Connection {
    decoder: LineDecoder,
    state: State,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Login,
    Password {
        tries: u32,
    },
    Command,
    Crontab(Table),
    EndOfRequest,
}

#[derive(Debug)]
struct Table {
    name: String,
    lines: Vec<String>,
    bytes: usize,
    too_big: bool,
}

/// What becomes of a connection after a line.
enum Then {
    Stay(State),
    Close,
}

impl Interpreter {
    /// No connection, no session: nobody gets in.
    #[must_use]
    pub const fn new(dialect: Dialect) -> Self {
        Self {
            dialect,
            probe_id: None,
            hostname: String::new(),
            session: None,
            connections: BTreeMap::new(),
            logged_in: None,
        }
    }

    /// Who greets: the probe's number once it is known, and the host's node name.
    pub fn set_identity(&mut self, probe_id: Option<u32>, hostname: &str) {
        self.probe_id = probe_id;
        hostname.clone_into(&mut self.hostname);
    }

    /// What the password is from now on; without one every password is wrong.
    pub fn set_session(&mut self, session: Option<SessionId>) {
        self.session = session;
    }

    /// Takes what just happened and says what to do about it. No answer depends on the time.
    pub fn handle(&mut self, _now: &mut Now, input: Input) -> Vec<Output> {
        let mut outputs = Vec::new();
        match input {
            Input::Opened(id) => self.open(id, &mut outputs),
            Input::Bytes(id, bytes) => self.bytes(id, &bytes, &mut outputs),
            Input::Closed(id) => self.forget(id),
        }
        outputs
    }

    fn open(&mut self, id: ConnectionId, outputs: &mut Vec<Output>) {
        if self.connections.len() >= MAX_CONNECTIONS {
            let stranger = self
                .connections
                .keys()
                .copied()
                .find(|&other| self.logged_in != Some(other));
            if let Some(stranger) = stranger {
                self.close(stranger, outputs);
            }
        }
        self.forget(id);
        self.connections.insert(id, Connection::default());
        let greeting = telnet::greeting(self.probe_id, &self.hostname);
        reply(outputs, id, greeting);
    }

    fn bytes(&mut self, id: ConnectionId, bytes: &[u8], outputs: &mut Vec<Output>) {
        // Bytes may be on their way when a connection is closed.
        let Some(mut connection) = self.connections.remove(&id) else {
            return;
        };
        for line in connection.decoder.push(bytes) {
            match self.line(id, std::mem::take(&mut connection.state), line, outputs) {
                Then::Stay(state) => connection.state = state,
                Then::Close => {
                    self.close(id, outputs);
                    return;
                }
            }
        }
        self.connections.insert(id, connection);
    }

    fn line(
        &mut self,
        id: ConnectionId,
        state: State,
        line: Line,
        outputs: &mut Vec<Output>,
    ) -> Then {
        match state {
            State::Login => login(id, line, outputs),
            State::Password { tries } => self.password(id, tries, &line, outputs),
            State::Command => Then::Stay(self.command(id, line, outputs)),
            State::Crontab(table) => Then::Stay(self.crontab(id, table, line, outputs)),
            State::EndOfRequest => {
                reply(outputs, id, Reply::BadCommand.bytes());
                Then::Stay(State::EndOfRequest)
            }
        }
    }

    /// Section 10 rows 11 and 12 hold the two differences between the dialects.
    fn password(
        &mut self,
        id: ConnectionId,
        tries: u32,
        line: &Line,
        outputs: &mut Vec<Output>,
    ) -> Then {
        let right = match (&self.session, line) {
            (Some(session), Line::Text(text)) => session.matches(text),
            _ => false,
        };
        if right {
            if let Some(older) = self.logged_in.replace(id) {
                self.connections.remove(&older);
                outputs.push(Output::Close(older));
            }
            if self.dialect == Dialect::Starla {
                reply(outputs, id, Reply::Ok.bytes());
            }
            return Then::Stay(State::Command);
        }
        reply(outputs, id, Reply::BadPassword.bytes());
        let tries = tries + 1;
        if self.dialect == Dialect::Starla || tries >= MAX_TRIES {
            Then::Close
        } else {
            Then::Stay(State::Password { tries })
        }
    }

    fn command(&self, id: ConnectionId, line: Line, outputs: &mut Vec<Output>) -> State {
        let Line::Text(text) = line else {
            reply(outputs, id, Reply::BadCommand.bytes());
            return State::Command;
        };
        match Command::parse(&text) {
            Err(error) => reply(outputs, id, error.reply().bytes()),
            Ok(Command::Crontab { table }) => return State::Crontab(Table::new(table)),
            // Row 19.
            Ok(Command::Cronline { text }) if self.dialect == Dialect::Starla => {
                outputs.push(Output::Change(Change::Add { line: text }));
            }
            Ok(Command::Cronline { .. }) => reply(outputs, id, Reply::BadCommand.bytes()),
            Ok(Command::OneOff { command, .. }) => {
                outputs.push(Output::Change(Change::OneOff { command }));
            }
            Ok(Command::Json(json)) => {
                let words = json.words();
                outputs.push(Output::Change(Change::Json { words }));
            }
            // An unprivileged probe can do neither.
            Ok(Command::Reboot) => {}
            Ok(Command::Reload) => reply(outputs, id, Reply::BadRemount.bytes()),
            Ok(Command::End) => {
                reply(outputs, id, Reply::Ok.bytes());
                return State::EndOfRequest;
            }
        }
        State::Command
    }

    fn crontab(
        &self,
        id: ConnectionId,
        mut table: Table,
        line: Line,
        outputs: &mut Vec<Output>,
    ) -> State {
        let Line::Text(text) = line else {
            // Most likely a CRONLINE: it is lost, the table goes on.
            reply(outputs, id, Reply::BadCommand.bytes());
            return State::Crontab(table);
        };
        if let Ok(Command::Cronline { text }) = Command::parse(&text) {
            table.push(text);
            return State::Crontab(table);
        }
        if table.too_big {
            reply(outputs, id, Reply::IoError.bytes());
        } else {
            let Table { name, lines, .. } = table;
            outputs.push(Output::Change(Change::Table { name, lines }));
        }
        self.command(id, Line::Text(text), outputs)
    }

    fn close(&mut self, id: ConnectionId, outputs: &mut Vec<Output>) {
        self.forget(id);
        outputs.push(Output::Close(id));
    }

    fn forget(&mut self, id: ConnectionId) {
        self.connections.remove(&id);
        if self.logged_in == Some(id) {
            self.logged_in = None;
        }
    }
}

/// The official probe hands any other name to the system's login; here it is echoed and the door closed.
fn login(id: ConnectionId, line: Line, outputs: &mut Vec<Output>) -> Then {
    match line {
        Line::Text(name) if name == telnet::LOGIN.as_bytes() => {
            reply(outputs, id, telnet::PASSWORD_PROMPT.to_vec());
            Then::Stay(State::Password { tries: 0 })
        }
        Line::Text(name) => {
            reply(outputs, id, name);
            Then::Close
        }
        Line::TooLong => Then::Close,
    }
}

impl Table {
    const fn new(name: String) -> Self {
        Self {
            name,
            lines: Vec::new(),
            bytes: 0,
            too_big: false,
        }
    }

    /// A table beyond the bounds is given up at once, so that it takes no memory, and answered at its end.
    fn push(&mut self, line: String) {
        self.bytes += line.len();
        if self.lines.len() >= MAX_TABLE_LINES || self.bytes > MAX_TABLE_BYTES {
            self.too_big = true;
            self.lines = Vec::new();
        }
        if !self.too_big {
            self.lines.push(line);
        }
    }
}

/// Replies that follow each other leave together.
fn reply(outputs: &mut Vec<Output>, id: ConnectionId, bytes: Vec<u8>) {
    match outputs.last_mut() {
        Some(Output::Reply(to, earlier)) if *to == id => earlier.extend(bytes),
        _ if bytes.is_empty() => {}
        _ => outputs.push(Output::Reply(id, bytes)),
    }
}

#[cfg(test)]
#[path = "interpreter_tests.rs"]
mod tests;
