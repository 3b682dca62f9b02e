//! The controller's side of the command dialogue (`controller-protocol` sections 4.1, 11.2): pure.
//!
//! No option bytes are sent, and those of the probe are not answered: an answer would become part of the login
//! name. The official probe says nothing to a right password, the protocol reference's says `OK`: after the password
//! there is a short pause in which that `OK` is awaited, so that it is not taken for the one that ends the request.

use std::{
    fmt::{self, Display, Formatter},
    sync::Arc,
    time::Duration,
};

use crate::{
    clock::Tick,
    protocol::{
        registration::SessionId,
        telnet::{LOGIN, Reply},
    },
};

/// How a dialogue went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// How many of the request's lines were sent.
    pub sent: usize,
    /// The error replies in order, each with the number of lines that had been sent by then. Replies carry no line
    /// number: the line that one is about is among those.
    pub replies: Vec<(usize, Reply)>,
    /// How it ended.
    pub end: End,
}

impl Outcome {
    /// A dialogue that could not begin.
    #[must_use]
    pub const fn unreachable(cause: String) -> Self {
        Self {
            sent: 0,
            replies: Vec::new(),
            end: End::Unreachable(cause),
        }
    }

    /// Whether every line was taken.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.end == End::Acknowledged && self.replies.is_empty()
    }
}

/// For people: how it ended, then the lines that were refused, the first few of many.
impl Display for Outcome {
    fn fmt(&self, to: &mut Formatter<'_>) -> fmt::Result {
        let sent = self.sent;
        match &self.end {
            End::Acknowledged if self.replies.is_empty() => to.write_str("all taken")?,
            End::Acknowledged => to.write_str("not all taken")?,
            End::BadPassword => to.write_str("the probe refused the password")?,
            End::TimedOut(awaited) => {
                write!(to, "waited in vain for {awaited}, {sent} lines sent")?;
            }
            End::Closed(awaited) => {
                write!(
                    to,
                    "the probe closed instead of {awaited}, {sent} lines sent"
                )?;
            }
            End::Nonsense(awaited) => {
                write!(
                    to,
                    "the probe sent nonsense instead of {awaited}, {sent} lines sent"
                )?;
            }
            End::Unreachable(cause) => write!(to, "the probe cannot be reached: {cause}")?,
        }
        for (by, reply) in self.replies.iter().take(SHOWN) {
            write!(to, ", {} by line {by}", reply.word())?;
        }
        match self.replies.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(to, " and {more} more"),
        }
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
    /// It sent more than a probe would, or what no probe says, instead of this.
    Nonsense(&'static str),
    /// The tunnel could not be opened, with the cause.
    Unreachable(String),
}

/// What happens to a dialogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard<'a> {
    /// Bytes came.
    Bytes(&'a [u8]),
    /// What was last to be sent is sent.
    Sent,
    /// The probe closed its side.
    Closed,
    /// The deadline has come.
    Deadline,
}

/// What a dialogue wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Say {
    /// Send these bytes, then say [`Heard::Sent`]; once for several that were asked for meanwhile. Reading goes on.
    Send(Vec<u8>),
    /// Close; this is how it went. Always last.
    Done(Outcome),
}

/// One dialogue: login, password, request, acknowledgement.
#[derive(Debug)]
pub struct Dialogue {
    session: SessionId,
    lines: Arc<Vec<String>>,
    state: State,
    /// Bytes not yet understood: the tail of a prompt, or an unfinished reply.
    heard: Vec<u8>,
    /// How many bytes came before the request: a banner has an end.
    prelude: usize,
    sent: usize,
    /// Whether [`Say::Send`] was asked for and [`Heard::Sent`] has not come.
    sending: bool,
    replies: Vec<(usize, Reply)>,
    /// When the dialogue is given up.
    end_by: Tick,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Waiting for the login prompt.
    Login,
    /// Waiting for the password prompt.
    Password,
    /// The password is sent. Until then an OK is about it.
    Pause(Tick),
    /// Sending the request.
    Request,
    /// Waiting for the OK that ends it.
    Acknowledgement,
    /// Over.
    Over,
}

/// The end of the login prompt.
const LOGIN_PROMPT: &[u8] = b" login: ";
/// The end of the password prompt.
const PASSWORD_PROMPT: &[u8] = b"Password: ";
/// Banner and prompts of a probe take some 150 bytes.
const MAX_PRELUDE: usize = 4096;
/// The longest reply has 30 bytes.
const MAX_REPLY: usize = 128;
/// How many refusals are shown to people.
const SHOWN: usize = 5;
/// A probe can refuse each line once; more than this many are not kept.
const MAX_REPLIES: usize = 10_000;

impl Dialogue {
    /// How long the whole may take.
    pub const PATIENCE: Duration = Duration::from_secs(60);
    /// How long an OK to the password is awaited.
    pub const PAUSE: Duration = Duration::from_millis(250);

    /// A dialogue that begins now. `lines` are without their ends and without the empty line that ends a request.
    #[must_use]
    pub fn new(now: Tick, session: SessionId, lines: Arc<Vec<String>>) -> Self {
        Self {
            session,
            lines,
            state: State::Login,
            heard: Vec::new(),
            prelude: 0,
            sent: 0,
            sending: false,
            replies: Vec::new(),
            end_by: now + Self::PATIENCE,
        }
    }

    /// Takes what was heard and says what to do about it.
    pub fn handle(&mut self, now: Tick, heard: Heard<'_>) -> Vec<Say> {
        match heard {
            _ if self.state == State::Over => Vec::new(),
            Heard::Bytes(bytes) => self.hear(now, bytes),
            Heard::Sent => {
                self.sending = false;
                self.speak()
            }
            Heard::Closed => self.finish(End::Closed(self.awaited())),
            Heard::Deadline => self.time_passed(now),
        }
    }

    /// When to be called next if nothing happens first; `None` once done.
    #[must_use]
    pub fn deadline(&self) -> Option<Tick> {
        match self.state {
            State::Over => None,
            State::Pause(until) => Some(until.min(self.end_by)),
            _ => Some(self.end_by),
        }
    }

    /// Takes bytes one at a time, so that it cannot matter how they were chunked.
    fn hear(&mut self, now: Tick, bytes: &[u8]) -> Vec<Say> {
        let mut said = Vec::new();
        for byte in bytes {
            self.heard.push(*byte);
            match self.state {
                State::Login | State::Password => said.extend(self.hear_prompt(now)),
                State::Pause(_) | State::Request | State::Acknowledgement => {
                    said.extend(self.hear_reply());
                }
                State::Over => break,
            }
        }
        said
    }

    fn hear_prompt(&mut self, now: Tick) -> Vec<Say> {
        self.prelude += 1;
        let prompt = if self.state == State::Login {
            LOGIN_PROMPT
        } else {
            PASSWORD_PROMPT
        };
        if !self.heard.ends_with(prompt) {
            if self.prelude > MAX_PRELUDE {
                return self.finish(End::Nonsense(self.awaited()));
            }
            let surplus = self.heard.len().saturating_sub(prompt.len());
            self.heard.drain(..surplus);
            return Vec::new();
        }
        self.heard.clear();
        let line = if self.state == State::Login {
            self.state = State::Password;
            format!("{LOGIN}\n")
        } else {
            self.state = State::Pause(now + Self::PAUSE);
            format!("{}\n", self.session.as_str())
        };
        self.send(line)
    }

    fn hear_reply(&mut self) -> Vec<Say> {
        if self.heard.last() != Some(&b'\n') {
            if self.heard.len() > MAX_REPLY {
                return self.finish(End::Nonsense(self.awaited()));
            }
            return Vec::new();
        }
        let line = std::mem::take(&mut self.heard);
        let word = String::from_utf8_lossy(&line);
        let word = word.trim_end_matches(['\r', '\n']);
        if word.is_empty() {
            return Vec::new();
        }
        match Reply::from_word(word) {
            None => self.finish(End::Nonsense(self.awaited())),
            Some(Reply::BadPassword) => self.finish(End::BadPassword),
            Some(Reply::Ok) if self.state == State::Acknowledgement => {
                self.finish(End::Acknowledged)
            }
            // An OK before the request's end can only be about the password.
            Some(Reply::Ok) if matches!(self.state, State::Pause(_)) => {
                self.state = State::Request;
                self.speak()
            }
            Some(Reply::Ok) => Vec::new(),
            Some(reply) => {
                if self.replies.len() < MAX_REPLIES {
                    self.replies.push((self.sent, reply));
                }
                Vec::new()
            }
        }
    }

    fn time_passed(&mut self, now: Tick) -> Vec<Say> {
        match self.state {
            _ if now >= self.end_by => self.finish(End::TimedOut(self.awaited())),
            State::Pause(until) if now >= until => {
                self.state = State::Request;
                self.speak()
            }
            _ => Vec::new(),
        }
    }

    /// Sends the next line of the request, if it is time.
    fn speak(&mut self) -> Vec<Say> {
        if self.state != State::Request || self.sending {
            return Vec::new();
        }
        if let Some(line) = self.lines.get(self.sent) {
            let line = format!("{line}\n");
            self.sent += 1;
            return self.send(line);
        }
        self.state = State::Acknowledgement;
        self.send("\n".to_owned())
    }

    fn send(&mut self, line: String) -> Vec<Say> {
        self.sending = true;
        vec![Say::Send(line.into_bytes())]
    }

    fn finish(&mut self, end: End) -> Vec<Say> {
        self.state = State::Over;
        vec![Say::Done(Outcome {
            sent: self.sent,
            replies: std::mem::take(&mut self.replies),
            end,
        })]
    }

    /// What the dialogue waits for, for people.
    const fn awaited(&self) -> &'static str {
        match self.state {
            State::Login => "the login prompt",
            State::Password => "the password prompt",
            State::Pause(_) | State::Request => "the request to be taken",
            State::Acknowledgement | State::Over => "the request's OK",
        }
    }
}

#[cfg(test)]
#[path = "telnet_tests.rs"]
mod tests;
