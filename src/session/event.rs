//! What the session tells the rest of the program: progress, trouble, and the marker lines it owes.

use std::{fmt, path::PathBuf, time::Duration};

use super::{
    failure::Failure,
    interpreter::Change,
    servers::RegistrationServer,
    supervisor::{Complaint, Step},
};
use crate::protocol::registration::{Reason, SessionId};

/// The far end of an uploaded result, and of the telnet forward, as the 9011 line of a KEEP names them
/// (`controller-protocol` sections 1.3 and 7.1): no such local port exists here, but the line's shape does.
const TELNET_PORT: u16 = 2023;
const HTTP_PORT: u16 = 8080;

/// Something that happened to the session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionEvent {
    /// The controller changed what is to be done.
    Change(Change),
    /// A registration server is left out because its host key is not known. Said once a server.
    ServerSkipped(RegistrationServer),
    /// A registration begins.
    Registering {
        /// Where.
        server: RegistrationServer,
        /// Why.
        reason: Reason,
    },
    /// A registration was answered with `OK`.
    Registered {
        /// The probe's number, if it was told.
        probe_id: Option<u32>,
    },
    /// The key is known but no controller was assigned: the probe is not approved yet.
    WaitingForApproval {
        /// When the next registration is made, from now.
        retry: Duration,
    },
    /// A server said WAIT, or gave an answer that counts as one.
    ToldToWait {
        /// Who said it.
        exchange: Exchange,
        /// For how long.
        wait: Duration,
        /// Whether it said so; otherwise its answer was a refusal, or none that is known.
        asked: bool,
    },
    /// The hourly limit on registrations holds the next one back.
    RegistrationsSpent {
        /// Until when, from now.
        wait: Duration,
    },
    /// A registration named the controller.
    ControllerAssigned {
        /// Its name or address.
        host: String,
        /// Its port.
        port: u16,
    },
    /// The controller opened a session for this probe; KEEP comes next.
    SessionOpened(Identity),
    /// KEEP runs: commands can come, results can go.
    Kept(Identity),
    /// An exchange or the KEEP connection came to nothing.
    Lost {
        /// What was lost.
        exchange: Exchange,
        /// Why.
        failure: Failure,
        /// When the next attempt is made, from now.
        retry: Duration,
    },
    /// A KEEP that stood was of no use and is given up.
    Useless {
        /// What was wrong.
        complaint: Complaint,
        /// What is done about it.
        step: Step,
        /// When, from now.
        retry: Duration,
    },
    /// The controller fails us in a way that trying again does not mend.
    Doubted {
        /// In what way.
        doubt: Doubt,
        /// What is done about it.
        step: Step,
    },
    /// The controller would not forward its port: no commands can come, results can go.
    ForwardRefused {
        /// Which.
        port: u16,
    },
    /// This host's clock differs from the registration server's.
    ClockOff {
        /// By so many seconds; positive if ours is ahead.
        by: i64,
    },
    /// An answer was understood only in part.
    Misread {
        /// Whose.
        exchange: Exchange,
        /// What was wrong with it.
        why: String,
    },
    /// The controller wrote to KEEP, which means: register again.
    KickedOut,
    /// A marker line to report to the controller.
    Marker(Marker),
}

/// In words for people, on one line whatever a server said, without secrets.
impl fmt::Display for SessionEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = self.words().replace(char::is_control, " ");
        f.write_str(&discreet(&words))
    }
}

impl SessionEvent {
    fn words(&self) -> String {
        struct Words<'a>(&'a SessionEvent);
        impl fmt::Display for Words<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.write(f)
            }
        }
        Words(self).to_string()
    }

    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Change(Change::Table { name, lines }) => {
                write!(f, "table {name} of {} lines received", lines.len())
            }
            Self::Change(_) => write!(f, "command received"),
            Self::ServerSkipped(server) => write!(f, "{}", server.missing_key()),
            Self::Registering { server, reason } => write!(f, "registering at {server} ({reason})"),
            Self::Registered { probe_id: Some(id) } => write!(f, "registered as probe {id}"),
            Self::Registered { probe_id: None } => write!(f, "registered"),
            Self::WaitingForApproval { retry } => write!(
                f,
                "the key is known but not approved yet; asking again in {}",
                Seconds(*retry)
            ),
            Self::ToldToWait {
                exchange,
                wait,
                asked: true,
            } => {
                write!(f, "{exchange}: told to wait {}", Seconds(*wait))
            }
            Self::ToldToWait { exchange, wait, .. } => write!(
                f,
                "{exchange} refused: the server will not have this probe now; asking again in {}",
                Seconds(*wait)
            ),
            Self::Useless {
                complaint,
                step,
                retry,
            } => write!(
                f,
                "{complaint}; {step} in {} ({})",
                Seconds(*retry),
                complaint.advice()
            ),
            Self::Doubted { doubt, step } => write!(f, "{doubt}; {step}"),
            Self::ForwardRefused { port } => write!(
                f,
                "the controller refuses to forward its port {port} to this probe, most likely because an older \
                 connection of the probe still holds it: no commands can come until that is gone; results go on"
            ),
            Self::RegistrationsSpent { wait } => {
                write!(
                    f,
                    "registered often enough for an hour; the next one may be made in {}",
                    Seconds(*wait)
                )
            }
            Self::ControllerAssigned { host, port } => {
                write!(f, "controller {host} port {port} assigned")
            }
            Self::SessionOpened(identity) => {
                write!(f, "session opened, reverse port {}", identity.remote_port)
            }
            Self::Kept(identity) => {
                write!(f, "session kept, reverse port {}", identity.remote_port)
            }
            Self::Lost {
                exchange,
                failure,
                retry,
            } if retry.is_zero() => {
                write!(f, "{exchange} failed: {failure}; trying the next server")
            }
            Self::Lost {
                exchange,
                failure,
                retry,
            } => {
                write!(
                    f,
                    "{exchange} failed: {failure}; trying again in {}",
                    Seconds(*retry)
                )
            }
            Self::ClockOff { by } => write!(f, "{}", ClockOff(*by)),
            Self::Misread { exchange, why } => write!(f, "{exchange}: {why}"),
            Self::KickedOut => f.write_str("the controller wants a new registration"),
            Self::Marker(marker) => write!(f, "{} {}", marker.id(), marker.text()),
        }
    }
}

/// A clock that is off by so many seconds, positive if it is ahead: in words, with the remedy.
#[derive(Clone, Copy, Debug)]
pub struct ClockOff(pub i64);

impl fmt::Display for ClockOff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the clock of this host is {} s {} the server's, so results carry a wrong time; starling never sets the clock: \
             turn on time synchronisation (systemd-timesyncd, chrony, ntpd)",
            self.0.unsigned_abs(),
            if self.0 > 0 { "ahead of" } else { "behind" }
        )
    }
}

/// What makes us doubt a controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// It shows another host key than the one that the registration server told.
    OtherHostKey,
    /// It ended so many KEEPs in a row.
    KeepsEnded(u32),
    /// So many INITs in a row came to nothing.
    InitsFailed(u32),
    /// No KEEP stood for so long.
    Absent(Duration),
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherHostKey => f.write_str(
                "the controller shows another host key than the registration server told: it may have moved",
            ),
            Self::KeepsEnded(times) => write!(
                f,
                "the controller ended the connection {times} times in a row: the session may have expired"
            ),
            Self::InitsFailed(times) => write!(
                f,
                "the controller opened no session {times} times in a row: it may have moved"
            ),
            Self::Absent(time) => write!(
                f,
                "no connection to the controller for {} min: it may have moved",
                time.as_secs() / 60
            ),
        }
    }
}

/// A time in whole seconds, at least one.
struct Seconds(Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} s", self.0.as_secs_f64().round().max(1.0))
    }
}

/// As whom the probe speaks to its controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The probe's number, if a registration server told it.
    pub probe_id: Option<u32>,
    /// The session's secret name: password of the telnet dialogue and footer of every upload.
    pub session_id: SessionId,
    /// The port of the reverse forward at the controller.
    pub remote_port: u16,
}

/// The three things done over SSH.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Exchange {
    /// INIT at a registration server.
    Registration,
    /// INIT at the controller.
    Init,
    /// KEEP at the controller.
    Keep,
}

impl fmt::Display for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Registration => "registration",
            Self::Init => "opening a session at the controller",
            Self::Keep => "the session with the controller",
        })
    }
}

/// A line `RESULT <id> done <now> <mac> <text>` that the session owes the controller
/// (`controller-protocol` section 7.1). Time and hardware address belong to whoever writes the line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Marker {
    /// The agent started.
    Started {
        /// Starts since the host has been up for ten minutes.
        reboot_count: u32,
    },
    /// The command interpreter is ready.
    TelnetStarted,
    /// The controller kicked us out of KEEP.
    KickedOut,
    /// KEEP is gone.
    KeepGone,
    /// A registration begins.
    StartRegistration {
        /// The server's host.
        host: String,
        /// The server's port.
        port: u16,
    },
    /// A controller INIT begins.
    StartInit {
        /// The controller's host.
        host: String,
        /// The controller's port.
        port: u16,
        /// Where the probe's key lies.
        key: PathBuf,
    },
    /// A KEEP begins.
    StartKeep {
        /// The controller's host.
        host: String,
        /// The controller's port.
        port: u16,
        /// Where the probe's key lies.
        key: PathBuf,
        /// The port of the reverse forward.
        remote_port: u16,
    },
    /// An INIT failed: the code that `ssh` would have ended with, and what the server wrote to stdout.
    Failed {
        /// Exit status; 255 for a failure of SSH itself.
        code: u32,
        /// White space collapsed.
        stdout: String,
    },
    /// What was written to stderr: the server's words, or ours where SSH failed.
    Stderr(String),
}

impl Marker {
    /// The number of the line.
    #[must_use]
    pub const fn id(&self) -> u16 {
        match self {
            Self::Started { .. } | Self::TelnetStarted => 9000,
            Self::KickedOut => 9003,
            Self::KeepGone => 9010,
            Self::StartRegistration { .. }
            | Self::StartInit { .. }
            | Self::StartKeep { .. }
            | Self::Failed { .. }
            | Self::Stderr(_) => 9011,
        }
    }

    /// The text of the line, one line always.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Started { reboot_count } => {
                format!("STARTING ATLAS system initialized (reboot count {reboot_count})")
            }
            Self::TelnetStarted => "STARTING TELNETD LOCALLY".to_owned(),
            Self::KickedOut => "REREGISTER Controller kicked us out from KEEP".to_owned(),
            Self::KeepGone => "no ssh client running restart registration".to_owned(),
            Self::StartRegistration { host, port } => {
                format!("Starting ssh -p {port} atlas@{host} INIT")
            }
            Self::StartInit { host, port, key } => {
                format!(
                    "Starting ssh -p {port} -i {} atlas@{host} INIT",
                    key.display()
                )
            }
            Self::StartKeep {
                host,
                port,
                key,
                remote_port,
            } => format!(
                "Starting ssh -R {remote_port}:127.0.0.1:{TELNET_PORT} -L {HTTP_PORT}:127.0.0.1:8080 -i {} \
                 -p {port} atlas@{host} KEEP",
                key.display()
            ),
            Self::Failed { code, stdout } => format!("ERR {code} stdout {}", collapsed(stdout)),
            Self::Stderr(text) => format!("stderr {}", collapsed(text)),
        }
    }
}

/// Digits that must be a session's id, wherever they stand: those of production have 64.
const LIKE_AN_ID: usize = 32;
/// Fewer digits are a word, whatever stands before them.
const SHORTEST_ID: usize = 6;

/// A text of a controller as it may be logged: with `…` in place of what is, or looks like, a session's id. It stands in
/// answers (`SESSION_ID <id>`) and in the URLs of upload lines (`SESSION_ID=<id>`).
#[must_use]
pub fn discreet(text: &str) -> String {
    const LABEL: &str = "SESSION_ID";
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_hexdigit).count();
        let labelled = out
            .trim_end_matches(['=', ' ', ':', '`', '"'])
            .ends_with(LABEL)
            && !out.ends_with(LABEL);
        if digits >= LIKE_AN_ID || (digits >= SHORTEST_ID && labelled) {
            out.push('…');
            rest = &rest[digits..];
            continue;
        }
        // A whole run of digits, or one other character.
        let length = rest
            .chars()
            .next()
            .map_or(0, |first| digits.max(first.len_utf8()));
        out.push_str(&rest[..length]);
        rest = &rest[length..];
    }
    out
}

/// How much of a server's words goes into a marker, in characters.
const MAX_QUOTE: usize = 500;

/// The text with white space collapsed and control characters dropped, cut to a sane length: servers are
/// strangers, and a marker is one line.
pub(crate) fn collapsed(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words
        .join(" ")
        .chars()
        .filter(|char| !char.is_control())
        .take(MAX_QUOTE)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_says_stays_on_one_line() {
        let event = SessionEvent::Lost {
            exchange: Exchange::Keep,
            failure: Failure::Ssh("bye\r\nhealth  live\x1b[2J".to_owned()),
            retry: Duration::from_secs(5),
        };
        let words = event.to_string();
        assert!(words.contains("bye  health  live [2J"), "{words}");
        assert!(!words.contains(char::is_control), "{words:?}");
    }

    #[test]
    fn the_markers_read_as_the_official_probe_writes_them() {
        let key = PathBuf::from("/etc/ripe-atlas/probe_key");
        let keep = Marker::StartKeep {
            host: "ctr-dub-sw01.atlas.prod.ripe.net".into(),
            port: 443,
            key: key.clone(),
            remote_port: 51234,
        };
        assert_eq!(
            (keep.id(), keep.text().as_str()),
            (
                9011,
                "Starting ssh -R 51234:127.0.0.1:2023 -L 8080:127.0.0.1:8080 -i /etc/ripe-atlas/probe_key -p 443 \
                 atlas@ctr-dub-sw01.atlas.prod.ripe.net KEEP"
            )
        );
        let init = Marker::StartInit {
            host: "192.0.2.1".into(),
            port: 22,
            key,
        };
        assert_eq!(
            init.text(),
            "Starting ssh -p 22 -i /etc/ripe-atlas/probe_key atlas@192.0.2.1 INIT"
        );
        let register = Marker::StartRegistration {
            host: "reg03.atlas.ripe.net".into(),
            port: 443,
        };
        assert_eq!(
            register.text(),
            "Starting ssh -p 443 atlas@reg03.atlas.ripe.net INIT"
        );
        let started = Marker::Started { reboot_count: 0 };
        assert_eq!(
            (started.id(), started.text().as_str()),
            (9000, "STARTING ATLAS system initialized (reboot count 0)")
        );
    }

    #[test]
    fn a_stranger_cannot_break_out_of_the_line() {
        let marker = Marker::Failed {
            code: 255,
            stdout: "a\nRESULT 1 \x1b[31m\r\n b".into(),
        };
        assert_eq!(marker.text(), "ERR 255 stdout a RESULT 1 [31m b");
        assert!(Marker::Stderr("x".repeat(9999)).text().len() < 600);
    }

    #[test]
    fn what_a_controller_says_is_logged_without_session_ids() {
        let id = "fa0b28e5f26291ad4a41ceecffc73457cbb4180291f53abdcda5667357440a9f";
        for (text, logged) in [
            (format!("SESSION_ID {id}"), "SESSION_ID …"),
            (
                format!("httppost http://127.0.0.1:8080/?PROBE_ID=7&SESSION_ID={id}&SRC=x >> y"),
                "httppost http://127.0.0.1:8080/?PROBE_ID=7&SESSION_ID=…&SRC=x >> y",
            ),
            (
                "the last line, `SESSION_ID c0ffee`, é".to_owned(),
                "the last line, `SESSION_ID …`, é",
            ),
            (
                "SESSION_ID: bad id `c0ffee`".to_owned(),
                "SESSION_ID: bad id `c0ffee`",
            ),
            (format!("oops {id}!"), "oops …!"),
            (
                "evping -A 1001 2001:db8::1".to_owned(),
                "evping -A 1001 2001:db8::1",
            ),
            (String::new(), ""),
        ] {
            assert_eq!(discreet(&text), logged);
        }
        let exchange = Exchange::Init;
        let why = format!("SESSION_ID: unexpected `{id}`");
        let misread = SessionEvent::Misread { exchange, why };
        assert!(!misread.to_string().contains(id), "{misread}");
        let stdout = format!("OK SESSION_ID {id}");
        let marker = SessionEvent::Marker(Marker::Failed { code: 1, stdout });
        assert!(!marker.to_string().contains(id), "{marker}");
    }

    #[test]
    fn a_session_id_does_not_show() {
        let identity = Identity {
            probe_id: Some(7),
            session_id: SessionId::new("c0ffee").unwrap(),
            remote_port: 1,
        };
        assert!(!format!("{identity:?}").contains("c0ffee"));
    }
}
