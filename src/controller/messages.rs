//! What [`Network`](super::Network) takes, gives and tells.
//!
//! [`Input`] and [`Output`] are between the machine and its drivers; [`Request`] is what an operator asks for at
//! run time, [`Event`] what an operator sees. Every request of a driver carries a [`Ticket`] by which its answer
//! finds the way back.

use std::{
    fmt::{self, Display, Formatter},
    sync::Arc,
    time::Duration,
};

use super::{
    config::{Measurement, OneOff},
    identity::{ProbeId, ProbeKey},
    registry::Known,
    telnet::Outcome,
};
use crate::protocol::registration::{self, SessionId};

/// One SSH connection, numbered by the driver, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// One question of a driver, numbered by the driver, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// What a listener is for. INIT means different things to the two roles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Registration only.
    Registration,
    /// Controller only.
    Controller,
    /// One listener for both: an INIT with a block on its stdin is a registration.
    Both,
}

/// What just happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// A client offers a key or has proven that it owns it. Answered by [`Answer::Admitted`].
    Offered {
        /// To answer by.
        ticket: Ticket,
        /// What the listener is for.
        role: Role,
        /// The key.
        key: ProbeKey,
    },
    /// A client has proven its key and is let in. Not answered.
    Joined {
        /// The connection.
        connection: ConnectionId,
        /// What its listener is for.
        role: Role,
        /// Its key.
        key: ProbeKey,
    },
    /// A connection is over.
    Left {
        /// The connection.
        connection: ConnectionId,
    },
    /// INIT at the registration server. Answered by [`Answer::Exec`].
    Register {
        /// To answer by.
        ticket: Ticket,
        /// The connection.
        connection: ConnectionId,
        /// All of stdin.
        stdin: Vec<u8>,
    },
    /// INIT at the controller. Answered by [`Answer::Exec`].
    Init {
        /// To answer by.
        ticket: Ticket,
        /// The connection.
        connection: ConnectionId,
    },
    /// The client asks for a reverse forward. Answered by [`Answer::Forwarded`].
    Forward {
        /// To answer by.
        ticket: Ticket,
        /// The connection.
        connection: ConnectionId,
        /// The bind address it names.
        address: String,
        /// The port it names.
        port: u32,
    },
    /// KEEP arrived: the session stands. Not answered.
    Keep {
        /// The connection.
        connection: ConnectionId,
    },
    /// A post arrived whole. Answered by [`Answer::Respond`].
    Posted {
        /// To answer by.
        ticket: Ticket,
        /// The connection that it came through.
        connection: ConnectionId,
        /// Its request.
        post: Post,
    },
    /// Lines are on disk, or not. Answers [`Output::Store`].
    Stored {
        /// Whose lines.
        ticket: Ticket,
        /// What went wrong, if anything.
        failed: Option<String>,
    },
    /// A dialogue is over. Answers [`Output::Command`].
    Commanded {
        /// The connection.
        connection: ConnectionId,
        /// How it went.
        outcome: Outcome,
    },
    /// An operator asks for something. Answered by [`Answer::Requested`].
    Request {
        /// To answer by.
        ticket: Ticket,
        /// What.
        request: Request,
    },
    /// The time [`Network::deadline`](super::Network::deadline) named has come.
    Deadline,
}

/// The request of a post.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Post {
    /// Its method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Its body.
    pub body: Vec<u8>,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// The answer to a driver's question.
    Answer(Ticket, Answer),
    /// Open the reverse tunnel and hand out these lines. Answered by [`Input::Commanded`].
    Command {
        /// Through which connection.
        connection: ConnectionId,
        /// The forwarded port.
        port: u16,
        /// The password.
        session: SessionId,
        /// The request's lines without line ends and without the empty line that ends it.
        lines: Arc<Vec<String>>,
    },
    /// Write these lines durably. Answered by [`Input::Stored`].
    Store {
        /// To answer by.
        ticket: Ticket,
        /// What to write.
        records: Vec<Record>,
    },
    /// Keep the list of probes across a restart.
    Persist(Vec<Known>),
    /// Write one byte to the stdout of KEEP, then close: the probe registers anew.
    Kick(ConnectionId),
    /// Close the connection: the probe comes back with the same session.
    Drop(ConnectionId),
    /// For whoever watches.
    Event(Event),
}

/// The answer to a driver's question.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// Whether the key may log in.
    Admitted(bool),
    /// What an exec request is answered.
    Exec(Exec),
    /// Whether the forward is accepted.
    Forwarded(bool),
    /// What a post is answered.
    Respond(Response),
    /// What became of an operator's request.
    Requested(Result<(), RequestError>),
}

/// The result of an exec request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exec {
    /// What to write to stdout.
    pub stdout: String,
    /// Exit status.
    pub status: u32,
}

/// The answer to a post, some of them faults that were asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// Status; 0 for no answer at all.
    pub status: u16,
    /// The body.
    pub body: String,
    /// `Retry-After`, seconds.
    pub retry_after: Option<u32>,
    /// Added to the `Date`, seconds.
    pub date_offset: i64,
    /// To wait before the first byte.
    pub delay: Duration,
    /// How the bytes go out.
    pub manner: Manner,
}

impl Response {
    /// The bytes that acknowledge a post.
    #[must_use]
    pub fn ok() -> Self {
        Self::plain(200, "OK\n")
    }

    /// Anything else than an acknowledgement, with its reason for people.
    #[must_use]
    pub fn refused(status: u16, reason: &str) -> Self {
        Self::plain(status, &format!("{reason}\n"))
    }

    /// No answer at all.
    #[must_use]
    pub fn none(manner: Manner) -> Self {
        Self {
            manner,
            ..Self::plain(0, "")
        }
    }

    fn plain(status: u16, body: &str) -> Self {
        Self {
            status,
            body: body.to_owned(),
            retry_after: None,
            date_offset: 0,
            delay: Duration::ZERO,
            manner: Manner::Plain,
        }
    }
}

/// How a response's bytes go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// With `Content-Length`.
    Plain,
    /// With `Transfer-Encoding: chunked`.
    Chunked,
    /// Not at all: the channel is closed.
    Close,
    /// Not at all: the channel stays open.
    Hang,
}

/// One accepted line, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// When the post arrived, Unix seconds.
    pub received: i64,
    /// Who sent it.
    pub probe: ProbeId,
    /// The line and what could be read of it.
    pub line: Accepted,
}

/// What an operator can ask for while the network runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Replace the periodic measurements of everybody; sent to each probe in session at once.
    Schedule(Vec<Measurement>),
    /// Measure once; sent at once, or at the next session of a probe that is away.
    OneOff(OneOff),
    /// Go wrong on purpose.
    Fault(Fault),
    /// Write to KEEP's stdout and close: the probe registers anew.
    Kick(ProbeId),
    /// Close a probe's session without a word.
    Drop(ProbeId),
    /// Approve or suspend a probe by number.
    Approve(ProbeId, bool),
}

/// Why a request was not honoured.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// A command or interval that probes would not accept.
    #[error(transparent)]
    Config(#[from] super::config::ConfigError),
    /// No probe with this number.
    #[error("no probe {0} is known here")]
    UnknownProbe(ProbeId),
    /// It has no session.
    #[error("probe {0} has no session now")]
    Away(ProbeId),
    /// Too many one-offs wait for a probe already.
    #[error("{1} one-offs wait for probe {0} already: let it come back first")]
    Waiting(ProbeId, usize),
    /// The controller is stopping.
    #[error("the controller is stopping")]
    Stopping,
}

/// A failure to be played, for tests of probes and for demonstration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// For the next posts but those for the time only.
    Posts {
        /// Whose; `None` for anybody's.
        probe: Option<ProbeId>,
        /// How many.
        count: u32,
        /// What.
        fault: PostFault,
    },
    /// For the next registrations.
    Registrations {
        /// How many.
        count: u32,
        /// What.
        fault: ExecFault,
    },
    /// For the next controller INITs.
    Inits {
        /// How many.
        count: u32,
        /// What.
        fault: ExecFault,
    },
    /// Refuse the keys of the next logins.
    Logins {
        /// How many.
        count: u32,
    },
    /// No more of it: what was still to be played is not.
    Over,
}

/// What goes wrong with a post (`controller-protocol` section 11.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PostFault {
    /// 429 with `Retry-After` in seconds; nothing is stored.
    TooMany {
        /// `Retry-After`.
        retry_after: Option<u32>,
    },
    /// Another status; nothing is stored.
    Status(u16),
    /// No answer, the channel stays open; nothing is stored.
    Hang,
    /// No answer, the channel is closed; nothing is stored.
    Close,
    /// The lines are stored, then the channel is closed without an answer: what a lost acknowledgement looks like.
    LoseAnswer,
    /// Stored, 200, but the body is not `OK`.
    WrongBody,
    /// Stored, 200, but the body is `OK` without the line feed.
    NoLineFeed,
    /// Stored, 200, `OK` in chunks.
    Chunked,
    /// Stored, 200, but the `Date` is off by so many seconds.
    DateOff(i64),
    /// Stored, 200, but only after so long.
    Delay(Duration),
}

/// What goes wrong with an INIT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExecFault {
    /// `WAIT` and so many seconds.
    Wait(u32),
    /// `REFUSED` and a reason.
    Refused(String),
    /// `OK` and nothing else.
    PlainOk,
    /// No output, exit status 0.
    Silent,
    /// No output, this exit status.
    Status(u32),
    /// These bytes, exit status 0.
    Text(String),
}

/// What an operator sees.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A key was refused.
    Refused {
        /// Its fingerprint.
        fingerprint: String,
    },
    /// A probe registered.
    Registered {
        /// Its number.
        probe: ProbeId,
        /// What people call it.
        name: Option<String>,
        /// Its key's fingerprint.
        fingerprint: String,
        /// The block it sent: `REASON_FOR_REGISTRATION` and software, or what is wrong with it.
        block: Result<registration::Request, registration::RequestError>,
        /// The first line of the answer.
        answer: String,
        /// Whether it was assigned a controller.
        assigned: bool,
    },
    /// The controller's INIT was answered.
    SessionOpened {
        /// The probe.
        probe: ProbeId,
        /// Its port, if it was given a session.
        port: Option<u16>,
        /// The answer's first line.
        answer: String,
    },
    /// KEEP arrived: the session stands.
    Kept {
        /// The probe.
        probe: ProbeId,
        /// The forwarded port.
        port: u16,
    },
    /// Commands were handed out, or not.
    Commanded {
        /// The probe.
        probe: ProbeId,
        /// The lines.
        lines: Arc<Vec<String>>,
        /// How it went.
        outcome: Outcome,
    },
    /// A post was answered.
    Posted(Posted),
    /// The session of a probe is over.
    Left {
        /// The probe.
        probe: ProbeId,
    },
}

/// A post that was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Posted {
    /// The probe.
    pub probe: ProbeId,
    /// Which kind of post.
    pub source: Source,
    /// The status answered; 0 for none.
    pub status: u16,
    /// Why it was not accepted whole, if it was not.
    pub refused: Option<String>,
    /// The lines stored, in order.
    pub accepted: Vec<Accepted>,
    /// How many lines had been stored before and were not stored again.
    pub duplicates: usize,
    /// Lines that are no result, and why: the first 100.
    pub rejected: Vec<Rejected>,
    /// How many more lines are no result.
    pub unshown: usize,
    /// The status results that should have stood in it.
    pub missing: Vec<&'static str>,
}

/// Which kind of post.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// The periodic upload.
    Main,
    /// `SRC=timesync`
    TimeSync,
    /// `SRC=oneoff`
    OneOff,
    /// Another `SRC`.
    Other,
}

impl Display for Source {
    fn fmt(&self, to: &mut Formatter<'_>) -> fmt::Result {
        to.write_str(match self {
            Self::Main => "periodic",
            Self::TimeSync => "timesync",
            Self::OneOff => "oneoff",
            Self::Other => "other",
        })
    }
}

/// A line that was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The result's id, if it has one.
    pub id: Option<u64>,
    /// Whether it holds something that was measured, rather than only errors, losses or the probe's own state.
    pub measured: bool,
    /// The RESULT line verbatim, without its end.
    pub line: String,
}

/// A line that was not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// The line, cut to 4096 bytes.
    pub line: String,
    /// Why.
    pub because: String,
}
