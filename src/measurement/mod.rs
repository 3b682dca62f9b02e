//! What the probe can measure: the registration point of the measurement types.
//!
//! A command line becomes a [`Spec`] (checked options), a `Spec` starts a [`Machine`] (one run), a machine
//! ends in an [`Outcome`] with one or more [`Body`] values (finished results), and `result` joins a body with
//! its [`Head`] into a RESULT line. Everything here is pure.
//!
//! A type is one folder with the same four files (`options`, `machine`, `body`, `tests`) and one arm in each
//! `match` of this file.

pub mod args;
pub mod dns;
mod figures;
pub mod format;
pub mod http;
pub mod machine;
pub mod ntp;
pub mod ping;
pub mod ports;
pub mod tls;
pub mod traceroute;
pub mod transcript;
pub mod zones;

pub use figures::Figures;
pub use machine::{Input, Machine, Outcome, Output};

use std::{fmt, path::PathBuf, str::FromStr};

use crate::dialect::Dialect;

/// A measurement type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `evping`
    Ping,
    /// `evtraceroute`
    Traceroute,
    /// `evtdig`
    Dns,
    /// `evsslgetcert`
    Tls,
    /// `evhttpget`
    Http,
    /// `evntp`
    Ntp,
}

impl Kind {
    /// Every type, in the order in which people list them.
    pub const ALL: [Self; 6] = [
        Self::Ping,
        Self::Traceroute,
        Self::Dns,
        Self::Tls,
        Self::Http,
        Self::Ntp,
    ];

    /// The controller's name for the type.
    #[must_use]
    pub const fn verb(self) -> &'static str {
        match self {
            Self::Ping => "evping",
            Self::Traceroute => "evtraceroute",
            Self::Dns => "evtdig",
            Self::Tls => "evsslgetcert",
            Self::Http => "evhttpget",
            Self::Ntp => "evntp",
        }
    }

    /// The name that people and JSON commands use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ping => "ping",
            Self::Traceroute => "traceroute",
            Self::Dns => "dns",
            Self::Tls => "tls",
            Self::Http => "http",
            Self::Ntp => "ntp",
        }
    }

    /// The type with this controller's name.
    #[must_use]
    pub fn from_verb(verb: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.verb() == verb)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Kind {
    type Err = SpecError;

    fn from_str(name: &str) -> Result<Self, SpecError> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.name() == name)
            .ok_or_else(|| SpecError::UnknownVerb(name.to_owned()))
    }
}

/// The ground rules that a command line is read under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Which option words and defaults hold.
    pub dialect: Dialect,
    /// The directory that `/home/atlas` stands for in any path that a command names.
    pub spool: PathBuf,
    /// Take file names as they are, unchecked: environment `ATLAS_UNSAFE`.
    pub unsafe_paths: bool,
}

/// A checked command line: what to measure and how to label the result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// The options that every type has.
    pub common: Common,
    /// The options of the type.
    pub options: Options,
}

/// Options that every type has (`packet-measurements` section 1.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Common {
    /// `-A`: the measurement's number, as digits. Without it the id block is left out.
    pub id: Option<String>,
    /// `-B`: the bundle's number, as digits.
    pub bundle: Option<String>,
    /// `-O`: the file to append the RESULT line to.
    pub output: Option<PathBuf>,
    /// `-R`: a recording to take all network input from.
    pub replay: Option<PathBuf>,
    /// `-W`: a recording to write.
    pub record: Option<PathBuf>,
}

/// The options of one type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Options {
    /// `evping`
    Ping(ping::Options),
    /// `evtraceroute`
    Traceroute(traceroute::Options),
    /// `evntp`
    Ntp(ntp::Options),
    /// `evtdig`
    Dns(dns::Options),
    /// `evsslgetcert`
    Tls(tls::Options),
    /// `evhttpget`
    Http(http::Options),
}

impl Spec {
    /// Reads a command: the first word is the controller's name for the type, the rest are its options.
    ///
    /// # Errors
    /// The first word that cannot be accepted, and why. Nothing is measured then.
    pub fn parse<W: AsRef<str>>(words: &[W], rules: &Rules) -> Result<Self, SpecError> {
        let (verb, rest) = words.split_first().ok_or(SpecError::Empty)?;
        let kind = Kind::from_verb(verb.as_ref())
            .ok_or_else(|| SpecError::UnknownVerb(verb.as_ref().to_owned()))?;
        let rest: Vec<&str> = rest.iter().map(AsRef::as_ref).collect();
        match kind {
            Kind::Ping => {
                let (common, options) = ping::Options::parse(&rest, rules)?;
                Ok(Self {
                    common,
                    options: Options::Ping(options),
                })
            }
            Kind::Ntp => {
                let (common, options) = ntp::Options::parse(&rest, rules)?;
                Ok(Self {
                    common,
                    options: Options::Ntp(options),
                })
            }
            Kind::Traceroute => {
                let (common, options) = traceroute::Options::parse(&rest, rules)?;
                Ok(Self {
                    common,
                    options: Options::Traceroute(options),
                })
            }
            Kind::Dns => {
                let (common, options) = dns::Options::parse(&rest, rules)?;
                Ok(Self {
                    common,
                    options: Options::Dns(options),
                })
            }
            Kind::Tls => {
                let (common, options) = tls::Options::parse(&rest, rules)?;
                Ok(Self {
                    common,
                    options: Options::Tls(options),
                })
            }
            Kind::Http => {
                let (common, options) = http::Options::parse(&rest, rules)?;
                Ok(Self {
                    common,
                    options: Options::Http(options),
                })
            }
        }
    }

    /// The type.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self.options {
            Options::Ping(_) => Kind::Ping,
            Options::Traceroute(_) => Kind::Traceroute,
            Options::Ntp(_) => Kind::Ntp,
            Options::Dns(_) => Kind::Dns,
            Options::Tls(_) => Kind::Tls,
            Options::Http(_) => Kind::Http,
        }
    }

    /// The target as the command gave it.
    #[must_use]
    pub fn target(&self) -> &str {
        match &self.options {
            Options::Ping(options) => &options.target,
            Options::Traceroute(options) => &options.target,
            Options::Ntp(options) => &options.target,
            Options::Dns(options) => &options.server,
            Options::Tls(options) => &options.target,
            Options::Http(options) => &options.url.text,
        }
    }

    /// A new run that continues where `carry` left off (a carry of another type counts as none).
    #[must_use]
    pub fn start(&self, run: Run, carry: Carry) -> Box<dyn Machine> {
        match &self.options {
            Options::Ping(options) => {
                let carry = match carry {
                    Carry::Ping(carry) => Some(carry),
                    _ => None,
                };
                Box::new(ping::Ping::new(options.clone(), run, carry))
            }
            // Nothing of these outlives a run.
            Options::Ntp(options) => Box::new(ntp::Ntp::new(options.clone(), run)),
            Options::Http(options) => Box::new(http::Http::new(options.clone(), run)),
            Options::Traceroute(options) => {
                let carry = match carry {
                    Carry::Traceroute(carry) => Some(carry),
                    _ => None,
                };
                Box::new(traceroute::Traceroute::new(options.clone(), run, carry))
            }
            Options::Dns(options) => {
                let carry = match carry {
                    Carry::Dns(carry) => Some(carry),
                    _ => None,
                };
                // What is being recorded has the fixed values that it will be replayed with.
                let replay = run.replay || self.common.record.is_some();
                Box::new(dns::Dns::new(options.clone(), Run { replay, ..run }, carry))
            }
            Options::Tls(options) => {
                // Recordings hold what the official probe's hello is answered with.
                let replay = run.replay || self.common.record.is_some();
                Box::new(tls::Tls::new(options.clone(), Run { replay, ..run }))
            }
        }
    }

    /// What stands at the head of this command's result lines.
    #[must_use]
    pub fn head(&self, version: &Version) -> Head {
        Head {
            id: self.common.id.clone(),
            bundle: self.common.bundle.clone(),
            version: version.clone(),
        }
    }
}

/// What a run is given besides its options.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Run {
    /// Where all of the run's chance comes from.
    pub seed: u64,
    /// The probe's number, once the registration server told it.
    pub probe_id: Option<u32>,
    /// Input comes from a recording of the official probe: keep its numbering (`replay-vectors`).
    pub replay: bool,
}

/// What the next run of the same job starts from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Carry {
    /// Nothing: the first run.
    #[default]
    Nothing,
    /// Of `evping`.
    Ping(ping::Carry),
    /// Of `evtraceroute`.
    Traceroute(traceroute::Carry),
    /// Of `evntp`.
    Ntp(ntp::Carry),
    /// Of `evtdig`.
    Dns(dns::Carry),
}

/// A finished measurement, without who and which: fields only, no text.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// Of `evping`.
    Ping(ping::Body),
    /// Of `evtraceroute`.
    Traceroute(traceroute::Body),
    /// Of `evntp`.
    Ntp(ntp::Body),
    /// Of `evtdig`.
    Dns(dns::Body),
    /// Of `evsslgetcert`.
    Tls(tls::Body),
    /// Of `evhttpget`.
    Http(http::Body),
}

impl Body {
    /// The type.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Ping(_) => Kind::Ping,
            Self::Traceroute(_) => Kind::Traceroute,
            Self::Ntp(_) => Kind::Ntp,
            Self::Dns(_) => Kind::Dns,
            Self::Tls(_) => Kind::Tls,
            Self::Http(_) => Kind::Http,
        }
    }

    /// The RESULT line of this body under `head`, with its line end.
    #[must_use]
    pub fn line(&self, head: &Head, dialect: Dialect) -> String {
        match self {
            Self::Ping(body) => body.line(head, dialect),
            Self::Traceroute(body) => body.line(head, dialect),
            Self::Ntp(body) => body.line(head, dialect),
            Self::Dns(body) => body.line(head, dialect),
            Self::Tls(body) => body.line(head, dialect),
            Self::Http(body) => body.line(head, dialect),
        }
    }
}

/// Something a person watching a run would like to see at once.
#[derive(Clone, Debug, PartialEq)]
pub enum Seen {
    /// Of `evping`.
    Ping(ping::Seen),
    /// Of `evtraceroute`.
    Traceroute(traceroute::Seen),
    /// Of `evntp`.
    Ntp(ntp::Seen),
    /// Of `evtdig`.
    Dns(dns::Seen),
    /// Of `evsslgetcert`.
    Tls(tls::Seen),
    /// Of `evhttpget`.
    Http(http::Seen),
}

/// The part of a result line that says which measurement and which software.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The measurement's number; without it the id block is left out.
    pub id: Option<String>,
    /// The bundle's number; printed only beside an id.
    pub bundle: Option<String>,
    /// The software.
    pub version: Version,
}

/// The version numbers that stand in results.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Firmware number (`fw`).
    pub firmware: i64,
    /// Measurement code version (`mver`).
    pub measurement: String,
}

impl Version {
    /// What the vectors were recorded under: environment `ATLAS_TESTS` (`replay-vectors` section 3).
    #[must_use]
    pub fn of_tests() -> Self {
        Self {
            firmware: 9999,
            measurement: "0.0.0".to_owned(),
        }
    }
}

impl Default for Version {
    /// The deployed release that controllers know.
    fn default() -> Self {
        Self {
            firmware: 5120,
            measurement: "2.6.4".to_owned(),
        }
    }
}

impl fmt::Display for Version {
    /// The fragment that most lines share; only `mver` has a space after its colon.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            r#""fw":{}, "mver": "{}""#,
            self.firmware, self.measurement
        )
    }
}

/// Why a command line is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// No words at all.
    #[error("empty command: name a measurement type, for example `evping 192.0.2.1`")]
    Empty,
    /// The first word is no type.
    #[error("unknown measurement type `{0}`")]
    UnknownVerb(String),
    /// Unknown option, missing argument, or not exactly one target.
    #[error("bad options: {0}")]
    BadOptions(String),
    /// A number that is none or out of its range.
    #[error("{option}: bad value `{value}`, expected {expected}")]
    BadValue {
        /// The option's word.
        option: String,
        /// What was given.
        value: String,
        /// What would do.
        expected: &'static str,
    },
    /// A file name outside the places that commands may name.
    #[error("insecure file `{0}`: commands may only name files below {1}")]
    InsecureFile(String, String),
}

#[cfg(test)]
mod tests;
