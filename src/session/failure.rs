//! Why an exchange over SSH came to nothing, in words an operator can act on.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use super::event::collapsed;
use crate::{measurement::machine::ResolveError, net::policy};

/// Why an INIT or a KEEP failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The server's name has no addresses.
    #[error(
        "{host} has no address ({cause}): check the host's resolver (/etc/resolv.conf) and its network"
    )]
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
    #[error(
        "{step} took longer than {} s: the server is overloaded, or the path to it loses packets (large ones, perhaps: \
         check the MTU)", .limit.as_secs()
    )]
    TimedOut {
        /// What was under way.
        step: Step,
        /// The time allowed.
        limit: Duration,
    },
    /// The server proved another key than the pinned one.
    #[error(
        "the host key of {host} is {offered}, but {pinned} is pinned: either the server has a new key (a registration \
         server's must then be configured, a controller's comes with the next registration), or somebody else answers in \
         its place"
    )]
    HostKeyRefused {
        /// The server.
        host: String,
        /// Fingerprint of the key it showed.
        offered: String,
        /// Fingerprint of the key that is pinned.
        pinned: String,
    },
    /// Whoever answers speaks no SSH.
    #[error("{address} {stranger}")]
    NotSsh {
        /// Where.
        address: SocketAddr,
        /// What it speaks.
        stranger: Stranger,
    },
    /// The same as `cause`, and the name's address is none that a server of the internet can have.
    #[error(
        "{cause}. Here {host} has the private address {address}, which is right only in a network of your own: otherwise \
         the resolver, or a captive portal, sends the probe elsewhere"
    )]
    Misdirected {
        /// The name.
        host: String,
        /// Its address.
        address: IpAddr,
        /// What came of it.
        cause: Box<Failure>,
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

/// Who answers where an SSH server should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stranger {
    /// Somebody who speaks HTTP: the first line.
    Http(String),
    /// Somebody who speaks TLS.
    Tls,
    /// Somebody who says nothing at all.
    Silent,
    /// Somebody who says something else: the first line.
    Other(String),
}

impl std::fmt::Display for Stranger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let between = "a captive portal, proxy or firewall stands in between: log in to it, or have it let SSH through \
                       to this port";
        match self {
            Self::Http(line) => write!(f, "answers with HTTP ({line}) instead of SSH: {between}"),
            Self::Tls => write!(f, "answers with TLS instead of SSH: {between}"),
            Self::Silent => write!(
                f,
                "takes the connection but says nothing: the server is overloaded, or {between}"
            ),
            Self::Other(line) => write!(f, "answers with `{line}` instead of SSH: {between}"),
        }
    }
}

impl Failure {
    /// The same, with a word about the address if it is private though `host` is a name. Without `address` those that
    /// could not be connected to count.
    #[must_use]
    pub fn misdirected(self, host: &str, address: Option<IpAddr>) -> Self {
        let address = match (&self, address) {
            (Self::Connect(tried), None) => {
                let all = tried.iter().all(|(to, _)| policy::is_refused(to.ip()));
                tried.first().filter(|_| all).map(|(to, _)| to.ip())
            }
            (_, address) => address.filter(|address| policy::is_refused(*address)),
        };
        match address {
            Some(address) if host.parse::<IpAddr>().is_err() => Self::Misdirected {
                host: host.to_owned(),
                address,
                cause: Box::new(self),
            },
            _ => self,
        }
    }

    /// Whether a TCP connection to the server stood, so that the server noticed us.
    #[must_use]
    pub const fn reached(&self) -> bool {
        match self {
            Self::Resolve { .. } | Self::Connect(_) | Self::NoServer => false,
            // Whoever speaks, it is not the server; one that says nothing may be.
            Self::NotSsh { stranger, .. } => matches!(stranger, Stranger::Silent),
            Self::Misdirected { cause, .. } => cause.reached(),
            _ => true,
        }
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
        match self {
            Self::Misdirected { cause, .. } => cause.is_other_host_key(),
            _ => matches!(
                self,
                Self::HostKeyRefused { .. } | Self::NoCommonAlgorithm(_)
            ),
        }
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
    fn a_portal_in_between_is_told_with_what_to_do() {
        let address = SocketAddr::from(([192, 0, 2, 1], 443));
        let not_ssh = |stranger| Failure::NotSsh { address, stranger };
        for (stranger, words) in [
            (
                Stranger::Http("HTTP/1.1 302 Found".into()),
                "192.0.2.1:443 answers with HTTP (HTTP/1.1 302 Found) instead of SSH: a captive portal",
            ),
            (
                Stranger::Tls,
                "192.0.2.1:443 answers with TLS instead of SSH: a captive portal",
            ),
            (
                Stranger::Silent,
                "192.0.2.1:443 takes the connection but says nothing: the server is overloaded, or a captive portal",
            ),
            (
                Stranger::Other("220 mail".into()),
                "192.0.2.1:443 answers with `220 mail` instead of SSH: a captive portal",
            ),
        ] {
            let failure = not_ssh(stranger);
            let told = failure.to_string();
            assert!(told.starts_with(words), "{told}");
            assert!(told.ends_with("let SSH through to this port"), "{told}");
            assert!(failure.try_elsewhere());
        }
        assert!(!not_ssh(Stranger::Tls).reached());
        assert!(
            not_ssh(Stranger::Silent).reached(),
            "it may be the server after all"
        );
    }

    #[test]
    fn a_name_with_a_private_address_is_told() {
        let refused = || Failure::HostKeyRefused {
            host: "reg.example.net".into(),
            offered: "SHA256:a".into(),
            pinned: "SHA256:b".into(),
        };
        let private: IpAddr = [10, 0, 0, 1].into();
        let failure = refused().misdirected("reg.example.net", Some(private));
        let words = failure.to_string();
        assert!(words.contains("private address 10.0.0.1"), "{words}");
        assert!(words.contains("SHA256:a"), "{words}");
        assert!(failure.reached() && failure.is_other_host_key());
        // A literal is what its owner wrote, and a public address what one expects.
        assert_eq!(refused().misdirected("10.0.0.1", Some(private)), refused());
        let public: IpAddr = [192, 0, 2, 1].into();
        assert_eq!(
            refused().misdirected("reg.example.net", Some(public)),
            refused()
        );
        let unreachable = |ip: [u8; 4]| Failure::Connect(vec![((ip, 443).into(), "x".into())]);
        let failure = unreachable([192, 168, 0, 1]).misdirected("reg.example.net", None);
        assert!(
            failure.to_string().contains("192.168.0.1, which"),
            "{failure}"
        );
        assert!(!failure.reached());
        let failure = unreachable([192, 0, 2, 1]);
        assert_eq!(
            failure.clone().misdirected("reg.example.net", None),
            failure
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
