//! The controller's side of the command dialogue (`controller-protocol` sections 4.1, 11.2): pure.

use std::time::Duration;

use crate::{
    clock::Tick,
    protocol::{registration::SessionId, telnet::Reply},
};

/// How a dialogue went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// How many of the request's lines were sent.
    pub sent: usize,
    /// The error replies in order, each with the number of lines that had been handed to the tunnel by then: the
    /// line that it is about is one of those.
    pub replies: Vec<(usize, Reply)>,
    /// Whether the request's end was acknowledged.
    pub end: End,
}

impl Outcome {
    /// Whether every line was taken.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.end == End::Acknowledged && self.replies.is_empty()
    }
}

/// How a dialogue ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// With the OK that ends a request.
    Acknowledged,
    /// The password was refused.
    BadPassword,
    /// Nothing came in time while the dialogue waited for this.
    TimedOut(&'static str),
    /// The probe closed while the dialogue waited for this.
    Closed(&'static str),
    /// It sent more than a probe would, or what no probe says.
    Nonsense(&'static str),
    /// The tunnel could not be opened, with the cause.
    Unreachable(String),
}

/// What happens to a dialogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard<'a> {
    /// Bytes came.
    Bytes(&'a [u8]),
    /// The probe closed its side.
    Closed,
    /// The deadline has come.
    Deadline,
}

/// What a dialogue wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Say {
    /// Send these bytes.
    Send(Vec<u8>),
    /// Close; this is how it went. Always last.
    Done(Outcome),
}

/// One dialogue: login, password, request, acknowledgement.
#[derive(Debug)]
pub struct Dialogue {
    _session: SessionId,
    _lines: std::sync::Arc<Vec<String>>,
}

impl Dialogue {
    /// How long the whole may take.
    pub const PATIENCE: Duration = Duration::from_secs(60);

    /// A dialogue that begins now.
    #[must_use]
    pub fn new(_now: Tick, session: SessionId, lines: std::sync::Arc<Vec<String>>) -> Self {
        Self {
            _session: session,
            _lines: lines,
        }
    }

    /// Takes what was heard and says what to do about it.
    pub fn handle(&mut self, _now: Tick, _heard: Heard<'_>) -> Vec<Say> {
        Vec::new()
    }

    /// When to be called next if nothing happens first.
    #[must_use]
    pub fn deadline(&self) -> Tick {
        Tick::default()
    }
}
