//! INIT: what the probe says to a registration server and what registration servers and controllers answer
//! (`controller-protocol` sections 2.2, 2.4, 3.1).

/// Why the probe registers (`controller-protocol` section 2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Nothing is known yet.
    New,
    /// The controller asked for it by writing to KEEP.
    ForceReg,
    /// The wait that was asked for is over.
    WaitOver,
    /// The assignment has run out.
    ReregisterTimerExpired,
}

/// The INIT block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Architecture: `fluffy` for every software probe.
    pub arch: String,
    /// "Kernel" version: 1000 for every software probe.
    pub kernel: u32,
    /// Firmware number.
    pub firmware: u32,
    /// `<ID>/<VERSION_ID>/<machine>`.
    pub sub_arch: String,
    /// Why.
    pub reason: Reason,
}

/// Why an INIT block is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Not the three lines.
    #[error("bad INIT block")]
    Shape,
}

impl Request {
    /// What a software probe sends.
    #[must_use]
    pub fn software(_firmware: u32, _sub_arch: &str, _reason: Reason) -> Self {
        todo!()
    }

    /// The three lines.
    #[must_use]
    pub fn render(&self) -> String {
        todo!()
    }

    /// Reads the three lines.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn parse(_bytes: &[u8]) -> Result<Self, RequestError> {
        todo!()
    }
}

/// Where the probe's controller is and how to know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Controller {
    /// Name or address.
    pub host: String,
    /// SSH port.
    pub port: u16,
    /// Host key type, for example `ssh-rsa`.
    pub key_type: String,
    /// Host key, base64.
    pub key_blob: String,
}

/// A registration server's answer, as the probe understands it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What to do.
    pub verdict: Verdict,
    /// The probe's number, looked for in the whole answer.
    pub probe_id: Option<u32>,
    /// What was ignored or ended the reading, for the log.
    pub notes: Vec<String>,
}

/// What a registration answer asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// `OK`, with what came along. No controller: known and not yet approved.
    Ok {
        /// The assignment.
        controller: Option<Controller>,
        /// After so many seconds register again, 100 to 2419200.
        reregister_secs: Option<u32>,
    },
    /// Come back later.
    Wait {
        /// In how many seconds, 100 to 2419200.
        secs: u32,
        /// Whether the server asked for it; otherwise the answer was none that is known (`REFUSED` among them).
        asked: bool,
    },
    /// Empty, or a malformed WAIT: as if nothing had been answered.
    Nothing,
}

impl Answer {
    /// Reads an answer. Never fails: what cannot be read says so in `notes`.
    #[must_use]
    pub fn parse(_bytes: &[u8]) -> Self {
        todo!()
    }
}

/// A registration server's answer, as the server means it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Go to this controller.
    Assigned {
        /// Where.
        controller: Controller,
        /// For how long, seconds.
        reregister_secs: Option<u32>,
        /// The probe's number.
        probe_id: u32,
    },
    /// Known, not yet approved.
    Unapproved,
    /// Come back in so many seconds.
    Wait(u32),
    /// Go away, with the reason.
    Refused(String),
}

impl Reply {
    /// The bytes.
    #[must_use]
    pub fn render(&self) -> String {
        todo!()
    }
}

/// A session's name: hexadecimal digits; the command connection's password and the upload's footer.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SessionId(String);

/// A session id that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("bad session id `{0}`: 1 to 80 hexadecimal digits are needed")]
pub struct BadSessionId(pub String);

impl SessionId {
    /// Checks the digits.
    ///
    /// # Errors
    /// Anything but 1 to 80 hexadecimal digits.
    pub fn new(text: &str) -> Result<Self, BadSessionId> {
        Ok(Self(text.to_owned()))
    }

    /// The digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether these bytes are the id, in a time that does not tell how far they agree.
    #[must_use]
    pub fn matches(&self, _bytes: &[u8]) -> bool {
        todo!()
    }
}

impl std::fmt::Debug for SessionId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SessionId(..)")
    }
}

/// A controller's answer to INIT, as the probe understands it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitAnswer {
    /// What to do.
    pub verdict: InitVerdict,
    /// What was ignored or ended the reading, for the log.
    pub notes: Vec<String>,
}

/// What a controller's INIT answer asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InitVerdict {
    /// `OK`. Both present: go on to KEEP.
    Ok {
        /// The controller's end of the reverse tunnel.
        remote_port: Option<u16>,
        /// The session.
        session_id: Option<SessionId>,
    },
    /// INIT again later.
    Wait {
        /// In how many seconds, 100 to 2419200.
        secs: u32,
        /// Whether the controller asked for it; otherwise the answer was none that is known (`REFUSED` among them).
        asked: bool,
    },
    /// Empty, or a malformed WAIT.
    Nothing,
}

impl InitAnswer {
    /// Reads an answer. Never fails: what cannot be read says so in `notes`.
    #[must_use]
    pub fn parse(_bytes: &[u8]) -> Self {
        todo!()
    }
}

/// A controller's answer to INIT, as the controller means it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InitReply {
    /// Go on to KEEP.
    Session {
        /// The port to forward.
        remote_port: u16,
        /// The session.
        session_id: SessionId,
    },
    /// Come back in so many seconds.
    Wait(u32),
    /// Go away, with the reason.
    Refused(String),
    /// `OK` and nothing else.
    Ok,
}

impl InitReply {
    /// The bytes.
    #[must_use]
    pub fn render(&self) -> String {
        todo!()
    }
}
