//! Why an exchange over SSH came to nothing, in words an operator can act on.

use std::{net::SocketAddr, time::Duration};

use super::event::collapsed;
use crate::measurement::machine::ResolveError;

/// Why an INIT or a KEEP failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The server's name has no addresses.
    #[error("{host} has no address ({cause}): check the host's resolver")]
    Resolve {
        /// The name.
        host: String,
        /// Why.
        cause: ResolveError,
    },
    /// No address accepted a TCP connection.
    #[error("cannot connect to {}: check the network and that outgoing TCP to this port is allowed", attempts(.0))]
    Connect(
        /// Each address tried and the system's words.
        Vec<(SocketAddr, String)>,
    ),
    /// The step did not end in time.
    #[error("{step} took longer than {} s", .limit.as_secs())]
    TimedOut {
        /// What was under way.
        step: Step,
        /// The time allowed.
        limit: Duration,
    },
    /// The server proved another key than the pinned one.
    #[error(
        "the host key of {host} is {offered}, but {pinned} is pinned: either the server has a new key, which must then \
         be configured, or somebody else answers in its place"
    )]
    HostKeyRefused {
        /// The server.
        host: String,
        /// Fingerprint of the key it showed.
        offered: String,
        /// Fingerprint of the key that is pinned.
        pinned: String,
    },
    /// The server has no host key of the pinned type, or we share no key exchange, cipher or MAC with it.
    #[error(
        "no algorithm in common with the server ({0}): it may have a host key of another type than the pinned one"
    )]
    NoCommonAlgorithm(String),
    /// The server does not accept the probe's key.
    #[error(
        "Permission denied (publickey). The server does not know the probe's key {fingerprint}: register the line that \
         `starling key show` prints, and wait until it is accepted"
    )]
    Denied {
        /// Of the probe's key.
        fingerprint: String,
    },
    /// The SSH protocol broke down.
    #[error("the SSH connection failed: {0}")]
    Ssh(String),
    /// The server ran the command but says that it failed.
    #[error("the server ended {command} with exit status {status}{}", quoted(.stderr))]
    Exit {
        /// INIT or KEEP.
        command: &'static str,
        /// As the server said.
        status: u32,
        /// What it wrote.
        stdout: String,
        /// What it wrote.
        stderr: String,
    },
    /// The channel ended without saying whether the command succeeded.
    #[error("the server ended {command} without an exit status{}", quoted(.stderr))]
    NoExitStatus {
        /// INIT or KEEP.
        command: &'static str,
        /// What it wrote.
        stdout: String,
        /// What it wrote.
        stderr: String,
    },
    /// INIT succeeded and said nothing that counts.
    #[error("the server's answer is empty or malformed")]
    NoAnswer,
    /// The controller said `OK` but named no session.
    #[error("the controller's answer names no REMOTE_PORT and SESSION_ID")]
    NoSession,
    /// The server would not run the command.
    #[error("the server refuses to run {0}")]
    CommandRefused(&'static str),
    /// The answer is longer than any answer is.
    #[error("the server's answer exceeds {0} octets")]
    TooLong(usize),
    /// The connection was lost while KEEP ran.
    #[error("the connection to the controller was lost: {0}")]
    Disconnected(String),
    /// There is no registration server whose host key is known.
    #[error("no registration server has a known host key: configure one with its host_key")]
    NoServer,
}

/// What an SSH exchange was doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// Key exchange and login, once the TCP connection stands.
    Login,
    /// The command's answer.
    Answer,
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Login => "key exchange and login",
            Self::Answer => "the answer",
        })
    }
}

impl Failure {
    /// Whether a TCP connection to the server stood, so that the server noticed us.
    #[must_use]
    pub const fn reached(&self) -> bool {
        !matches!(
            self,
            Self::Resolve { .. } | Self::Connect(_) | Self::NoServer
        )
    }

    /// Whether another registration server may do better: not so when this one has answered.
    #[must_use]
    pub const fn try_elsewhere(&self) -> bool {
        !matches!(
            self,
            Self::Denied { .. }
                | Self::Exit { .. }
                | Self::NoExitStatus { .. }
                | Self::CommandRefused(_)
                | Self::NoServer
                | Self::NoAnswer
        )
    }

    /// Whether the server proved another host key than the pinned one, or has none of its type.
    #[must_use]
    pub const fn is_other_host_key(&self) -> bool {
        matches!(
            self,
            Self::HostKeyRefused { .. } | Self::NoCommonAlgorithm(_)
        )
    }

    /// The code that OpenSSH's client would have ended with: 255 unless the server's command gave one.
    #[must_use]
    pub const fn code(&self) -> u32 {
        match self {
            Self::Exit { status, .. } => *status,
            _ => 255,
        }
    }

    /// What the server wrote to stdout.
    #[must_use]
    pub fn stdout(&self) -> &str {
        match self {
            Self::Exit { stdout, .. } | Self::NoExitStatus { stdout, .. } => stdout,
            _ => "",
        }
    }

    /// What an `ssh` would have left on stderr: the server's words, or ours.
    #[must_use]
    pub fn stderr(&self) -> String {
        match self {
            Self::Exit { stderr, .. } | Self::NoExitStatus { stderr, .. } => stderr.clone(),
            Self::Denied { .. } => "Permission denied (publickey).".to_owned(),
            other => other.to_string(),
        }
    }
}

fn attempts(tried: &[(SocketAddr, String)]) -> String {
    if tried.is_empty() {
        return "the server: it has no address".to_owned();
    }
    let words: Vec<String> = tried
        .iter()
        .map(|(to, why)| format!("{to} ({why})"))
        .collect();
    words.join(", ")
}

fn quoted(stderr: &str) -> String {
    let words = collapsed(stderr);
    if words.is_empty() {
        words
    } else {
        format!(": {words}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_name_what_was_met_and_the_remedy() {
        let refused = Failure::HostKeyRefused {
            host: "reg03.atlas.ripe.net".into(),
            offered: "SHA256:aaaa".into(),
            pinned: "SHA256:bbbb".into(),
        };
        let words = refused.to_string();
        assert!(
            words.contains("SHA256:aaaa") && words.contains("SHA256:bbbb"),
            "{words}"
        );
        let denied = Failure::Denied {
            fingerprint: "SHA256:cccc".into(),
        };
        assert!(denied.to_string().contains("starling key show"));
        assert_eq!(denied.stderr(), "Permission denied (publickey).");
        let unreachable = Failure::Connect(vec![(
            ([192, 0, 2, 1], 443).into(),
            "Connection refused".into(),
        )]);
        assert_eq!(
            unreachable.to_string(),
            "cannot connect to 192.0.2.1:443 (Connection refused): check the network and that outgoing TCP to this port \
             is allowed"
        );
    }

    #[test]
    fn only_a_server_that_answered_ends_the_search() {
        let exit = Failure::Exit {
            command: "INIT",
            status: 1,
            stdout: "x".into(),
            stderr: "no\n thanks".into(),
        };
        assert!(!exit.try_elsewhere());
        assert_eq!((exit.code(), exit.stdout()), (1, "x"));
        assert_eq!(
            exit.to_string(),
            "the server ended INIT with exit status 1: no thanks"
        );
        assert!(Failure::Connect(vec![]).try_elsewhere());
        assert!(!Failure::Connect(vec![]).reached());
        assert!(Failure::Ssh("reset".into()).reached());
    }
}
