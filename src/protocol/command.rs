//! One command of the controller (`controller-protocol` sections 4.1, 4.3, 4.5, row 21).
use super::telnet::Reply;

/// A command line of an authenticated connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// `CRONTAB <dir>`: CRONLINEs follow that replace the table.
    Crontab {
        /// The table: the path below `crons/`, for example `7` or `main`.
        table: String,
    },
    /// `CRONLINE <text>`
    Cronline {
        /// The line, not checked here.
        text: String,
    },
    /// `ONEOFF <file> <command>`
    OneOff {
        /// The path below `crons/`.
        file: String,
        /// The command.
        command: String,
    },
    /// `REBOOT`
    Reboot,
    /// `RELOAD`
    Reload,
    /// The empty line: end of the request.
    End,
    /// A line that starts with `{`.
    Json(JsonCommand),
}

impl Command {
    /// Reads a line.
    ///
    /// # Errors
    /// Why it is refused; [`CommandError::reply`] is what to answer.
    pub fn parse(_line: &[u8]) -> Result<Self, CommandError> {
        todo!()
    }

    /// The line, without its end.
    #[must_use]
    pub fn render(&self) -> String {
        todo!()
    }
}

/// Why a command is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// No such command.
    #[error("unknown command `{0}`")]
    Unknown(String),
}

impl CommandError {
    /// What to answer.
    #[must_use]
    pub fn reply(&self) -> Reply {
        todo!()
    }
}

/// A measurement as a JSON line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonCommand {
    /// Which type.
    pub kind: JsonKind,
    /// The measurement's number.
    pub msm_id: u64,
    /// What to measure.
    pub target: String,
    /// 4 or 6.
    pub af: Option<u8>,
    /// How many packets.
    pub packets: Option<u32>,
    /// Option words to put before the target.
    pub args: Vec<String>,
}

/// A measurement type by the name that JSON commands use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JsonKind {
    /// `ping`
    Ping,
    /// `traceroute`
    Traceroute,
    /// `dns`
    Dns,
    /// `http`
    Http,
    /// `tls`
    Tls,
    /// `ntp`
    Ntp,
}

impl JsonCommand {
    /// The words of the same command in the controller's language, verb first.
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        todo!()
    }
}
