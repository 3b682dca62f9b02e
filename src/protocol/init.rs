//! What a controller answers to INIT (`controller-protocol` section 3.1), and the session it names.

use std::fmt;

use super::{
    answer::{First, Lines, Note, WAIT_AFTER_UNEXPECTED},
    registration::{refused, wait},
};

/// Longest session id. The official parser takes 80 digits and its readers only 67; production ids have 64.
const MAX_SESSION_ID: usize = 80;

/// A session's name: hexadecimal digits; the command connection's password and the upload's footer.
///
/// It is a secret between probe and controller, so it does not show in debug output.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SessionId(String);

/// A session id that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("bad session id of {0} bytes: 1 to 80 hexadecimal digits are needed")]
pub struct BadSessionId(pub usize);

impl SessionId {
    /// Checks the digits.
    ///
    /// # Errors
    /// Anything but 1 to 80 hexadecimal digits.
    pub fn new(text: &str) -> Result<Self, BadSessionId> {
        if is_session_id(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(BadSessionId(text.len()))
        }
    }

    /// The digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether these bytes are the id, letter case included, in a time that does not tell how far they agree.
    #[must_use]
    pub fn matches(&self, bytes: &[u8]) -> bool {
        let own = self.0.as_bytes();
        // The length is no secret; the digits are.
        if own.len() != bytes.len() {
            return false;
        }
        let differing = own
            .iter()
            .zip(bytes)
            .fold(0, |sum, (a, b)| std::hint::black_box(sum | (a ^ b)));
        std::hint::black_box(differing) == 0
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionId({} digits)", self.0.len())
    }
}

fn is_session_id(text: &str) -> bool {
    super::answer::made_of(text, MAX_SESSION_ID, |byte| byte.is_ascii_hexdigit())
}

/// A controller's answer to INIT, as the probe understands it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitAnswer {
    /// What to do.
    pub verdict: InitVerdict,
    /// What was ignored or ended the reading, for the log.
    pub notes: Vec<Note>,
}

/// What a controller's INIT answer asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InitVerdict {
    /// `OK`. Both present: go on to KEEP. Without a port there is nothing to keep: INIT again later.
    Ok {
        /// The controller's end of the reverse tunnel.
        remote_port: Option<u16>,
        /// The session.
        session_id: Option<SessionId>,
    },
    /// INIT again later, without registering.
    Wait {
        /// In how many seconds, 100 to 2419200.
        secs: u32,
        /// Whether the controller asked for it; otherwise the answer was none that is known (`REFUSED` among them).
        asked: bool,
    },
    /// Empty, or malformed from the start.
    Nothing,
}

impl InitAnswer {
    /// Reads an answer. Never fails: what cannot be read says so in `notes`.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Self {
        let mut lines = Lines::new(bytes);
        let mut notes = Vec::new();
        let verdict = match lines.first() {
            First::Empty => InitVerdict::Nothing,
            First::Malformed(error) => {
                notes.push(Note::Stopped(error));
                InitVerdict::Nothing
            }
            First::Wait(secs) => InitVerdict::Wait { secs, asked: true },
            First::Unexpected(line) => {
                notes.push(Note::Unexpected(line));
                InitVerdict::Wait {
                    secs: WAIT_AFTER_UNEXPECTED,
                    asked: false,
                }
            }
            First::Ok => session(&mut lines, &mut notes),
        };
        Self { verdict, notes }
    }
}

fn session(lines: &mut Lines, notes: &mut Vec<Note>) -> InitVerdict {
    let (mut remote_port, mut session_id) = (None, None);
    lines.fields(notes, |mut fields, notes| {
        match fields.tag() {
            "REMOTE_PORT" => {
                let port = fields.port()?;
                fields.end()?;
                remote_port = Some(port);
            }
            "SESSION_ID" => {
                let id = fields.word_if("session id", is_session_id)?;
                fields.end()?;
                session_id = Some(SessionId(id));
            }
            tag => notes.push(Note::Ignored(tag.to_owned())),
        }
        Ok(())
    });
    InitVerdict::Ok {
        remote_port,
        session_id,
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
    /// Come back in so many seconds; 1 to 999999 can be told.
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
        match self {
            Self::Session {
                remote_port,
                session_id,
            } => format!(
                "OK\nREMOTE_PORT {remote_port}\nSESSION_ID {}\n",
                session_id.as_str()
            ),
            Self::Wait(secs) => wait(*secs),
            Self::Refused(why) => refused(why),
            Self::Ok => "OK\n".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "fa0b28e5f26291ad4a41ceecffc73457cbb4180291f53abdcda5667357440a9f";

    fn ok(remote_port: Option<u16>, session_id: Option<&str>) -> InitVerdict {
        InitVerdict::Ok {
            remote_port,
            session_id: session_id.map(|id| SessionId::new(id).unwrap()),
        }
    }

    fn verdict(answer: &str) -> InitVerdict {
        InitAnswer::parse(answer.as_bytes()).verdict
    }

    #[test]
    fn a_session_comes_in_any_order_and_in_one_line() {
        let both = ok(Some(2023), Some(ID));
        assert_eq!(
            verdict(&format!("OK\nREMOTE_PORT 2023\nSESSION_ID {ID}\n")),
            both
        );
        assert_eq!(
            verdict(&format!("OK\nSESSION_ID {ID}\nREMOTE_PORT 2023\n")),
            both
        );
        assert_eq!(
            verdict(&format!("OK SESSION_ID {ID} REMOTE_PORT 2023\n")),
            both
        );
    }

    #[test]
    fn other_tags_are_ignored_with_a_note() {
        let answer = InitAnswer::parse(b"OK\nMOTD hello there\nREMOTE_PORT 2023\n");
        assert_eq!(answer.verdict, ok(Some(2023), None));
        assert_eq!(answer.notes, [Note::Ignored("MOTD".to_owned())]);
    }

    #[test]
    fn a_plain_ok_has_no_port() {
        assert_eq!(verdict("OK\n"), ok(None, None));
    }

    #[test]
    fn bad_ports_and_ids_end_the_reading() {
        assert_eq!(
            verdict("OK\nREMOTE_PORT 123456\nSESSION_ID ab\n"),
            ok(None, None)
        );
        assert_eq!(verdict("OK\nREMOTE_PORT 70000\n"), ok(None, None));
        assert_eq!(verdict("OK\nREMOTE_PORT 0\n"), ok(None, None));
        assert_eq!(
            verdict("OK\nSESSION_ID xyz\nREMOTE_PORT 1\n"),
            ok(None, None)
        );
        let long = "a".repeat(80);
        assert_eq!(
            verdict(&format!("OK\nSESSION_ID {long}\n")),
            ok(None, Some(&long))
        );
        assert_eq!(
            verdict(&format!("OK\nSESSION_ID {long}a\n")),
            ok(None, None)
        );
    }

    #[test]
    fn waiting_and_refusing() {
        let asked = |secs, asked| InitVerdict::Wait { secs, asked };
        assert_eq!(verdict("WAIT\nTIMEOUT 30\n"), asked(100, true));
        assert_eq!(verdict("WAIT\nTIMEOUT 600\n"), asked(600, true));
        assert_eq!(verdict("REFUSED\nno\n"), asked(100, false));
        assert_eq!(verdict("WAIT\n"), InitVerdict::Nothing);
        assert_eq!(verdict(""), InitVerdict::Nothing);
    }

    #[test]
    fn the_probe_reads_what_the_controller_renders() {
        let reply = InitReply::Session {
            remote_port: 50_001,
            session_id: SessionId::new(ID).unwrap(),
        };
        assert_eq!(
            reply.render(),
            format!("OK\nREMOTE_PORT 50001\nSESSION_ID {ID}\n")
        );
        assert_eq!(verdict(&reply.render()), ok(Some(50_001), Some(ID)));
        assert_eq!(InitReply::Wait(100).render(), "WAIT\nTIMEOUT 100\n");
        assert_eq!(
            InitReply::Refused("two\nlines".to_owned()).render(),
            "REFUSED\ntwo lines\n"
        );
        assert_eq!(InitReply::Ok.render(), "OK\n");
    }

    #[test]
    fn ids_match_exactly_and_do_not_show() {
        let id = SessionId::new("aB01").unwrap();
        assert!(id.matches(b"aB01"));
        for other in [&b"ab01"[..], b"aB0", b"aB012", b"", b"aB01\r"] {
            assert!(!id.matches(other));
        }
        assert_eq!(format!("{id:?}"), "SessionId(4 digits)");
        assert_eq!(SessionId::new(""), Err(BadSessionId(0)));
    }
}
