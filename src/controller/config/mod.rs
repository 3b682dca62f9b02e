//! The configuration of a private network: what `starling controller --config FILE` reads and what the lab fills in.
//!
//! Unknown keys are refused. [`Config::check`] turns the file's values into values that cannot be wrong; nothing
//! below it looks at a path's or a command's form again. Not here: flags and environment (`cli`).

mod limits;
mod work;

pub use limits::Limits;
pub use work::{Measurement, OUTPUT_OPTION, OneOff, Upload};

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use serde::{Deserialize, Serialize};

use super::identity::{KeyError, KeyPattern};

/// A whole private network: registration server, controller, the probes it knows and what they measure.
///
/// Every duration is in seconds, every size in bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where host keys, the list of probes and the stored results live. Made if missing, readable by us alone.
    pub data_dir: PathBuf,
    /// The registration server.
    pub registration: Registration,
    /// The controller.
    pub controller: Controller,
    /// Who is approved.
    pub approval: Approval,
    /// What a key that is on no list is told while [`Approval::Listed`] holds.
    pub unknown_keys: UnknownKeys,
    /// The probes known beforehand.
    #[serde(rename = "probe")]
    pub probes: Vec<Probe>,
    /// What probes measure again and again.
    #[serde(rename = "measurement")]
    pub measurements: Vec<Measurement>,
    /// What each probe measures once, at its first session after the controller's start.
    #[serde(rename = "one_off")]
    pub one_offs: Vec<OneOff>,
    /// How results come in.
    pub upload: Upload,
    /// A file that gets each accepted RESULT line verbatim, one a line.
    pub accepted: Option<PathBuf>,
    /// What strangers can take of us.
    pub limits: Limits,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("/var/lib/starling-controller"),
            registration: Registration::default(),
            controller: Controller::default(),
            approval: Approval::default(),
            unknown_keys: UnknownKeys::default(),
            probes: Vec::new(),
            measurements: Vec::new(),
            one_offs: Vec::new(),
            upload: Upload::default(),
            accepted: None,
            limits: Limits::default(),
        }
    }
}

impl Config {
    /// A network on ephemeral loopback ports that approves everybody: the lab, and tests.
    #[must_use]
    pub fn loopback(data_dir: PathBuf) -> Self {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        // One key for both: it takes a while to make one.
        let host_key = Some(data_dir.join("host_key"));
        Self {
            data_dir,
            registration: Registration {
                listen: any,
                host_key: host_key.clone(),
                ..Registration::default()
            },
            controller: Controller {
                listen: any,
                host_key,
                ..Controller::default()
            },
            approval: Approval::Automatic,
            ..Self::default()
        }
    }

    /// Whether every value can be worked with.
    ///
    /// # Errors
    /// The first value that cannot, and what to write instead.
    pub fn check(&self) -> Result<(), ConfigError> {
        let advertised = self.controller.host();
        if !is_controller_host(&advertised) {
            return Err(ConfigError::Host(advertised));
        }
        if !(1..=99_999).contains(&self.registration.reregister) {
            return Err(ConfigError::Reregister(self.registration.reregister));
        }
        for (number, probe) in self.probes.iter().enumerate() {
            probe.pattern()?;
            let twin = self.probes[..number]
                .iter()
                .find(|other| other.id == probe.id);
            if probe.id == 0 || twin.is_some() {
                return Err(ConfigError::ProbeId(probe.id));
            }
        }
        for measurement in &self.measurements {
            measurement.check()?;
        }
        for one_off in &self.one_offs {
            one_off.check()?;
        }
        self.upload.check()?;
        self.limits.check()
    }
}

/// The registration server (`controller-protocol` section 2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Registration {
    /// Address and port; the official probe insists on port 443. Port 0 takes a free one. The same address as the
    /// controller's puts both roles on one listener.
    pub listen: SocketAddr,
    /// The RSA host key in OpenSSH's form; made on first start. `None`: `registration_host_key` in the data directory.
    pub host_key: Option<PathBuf>,
    /// `REREGISTER`: seconds until a probe whose session is lost asks again, 1 to 99999.
    pub reregister: u32,
}

impl Default for Registration {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 443)),
            host_key: None,
            reregister: 3000,
        }
    }
}

/// The controller (`controller-protocol` section 3).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Controller {
    /// Address and port to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The RSA host key in OpenSSH's form; made on first start. `None`: `controller_host_key` in the data directory.
    pub host_key: Option<PathBuf>,
    /// Name or address that probes are told to connect to: lower-case letters, digits, `.` and `-`, at most 32
    /// characters. `None`: the address listened on.
    pub advertise_host: Option<String>,
    /// Port that probes are told to connect to. `None`: the port listened on.
    pub advertise_port: Option<u16>,
    /// How a probe's INIT is answered.
    pub init: InitPolicy,
    /// The lowest REMOTE_PORT handed out; each probe has one of its own, counted upwards from here.
    pub first_remote_port: u16,
}

impl Default for Controller {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8443)),
            host_key: None,
            advertise_host: None,
            advertise_port: None,
            init: InitPolicy::Accept,
            first_remote_port: 30_000,
        }
    }
}

impl Controller {
    /// The host that registration answers name.
    #[must_use]
    pub fn host(&self) -> String {
        self.advertise_host
            .clone()
            .unwrap_or_else(|| self.listen.ip().to_string())
    }
}

/// How the controller answers INIT.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InitPolicy {
    /// `OK` with port and session.
    #[default]
    Accept,
    /// `REFUSED`: no new sessions.
    Refuse,
    /// `WAIT` and this many seconds.
    Wait(u32),
}

/// Who may take part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Approval {
    /// Every key that asks: for the lab.
    Automatic,
    /// The probes of the configuration only.
    #[default]
    Listed,
}

/// What a key on no list meets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UnknownKeys {
    /// SSH authentication fails, as at the genuine servers.
    #[default]
    Refuse,
    /// Registration answers a plain `OK`: known by name from now on, approval pending.
    Pending,
}

/// A probe known beforehand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// Its number, not 0.
    pub id: u32,
    /// Its key: the line of its `.pub` file (a comment is ignored), or a fingerprint, `SHA256:…`.
    pub key: String,
    /// What people call it.
    #[serde(default)]
    pub name: Option<String>,
    /// Whether it may measure; false registers it with a plain `OK`.
    #[serde(default = "yes")]
    pub approved: bool,
}

impl Probe {
    /// The key, parsed.
    ///
    /// # Errors
    /// If it is neither a key line nor a fingerprint.
    pub fn pattern(&self) -> Result<KeyPattern, ConfigError> {
        self.key
            .parse()
            .map_err(|cause| ConfigError::Key(self.id, cause))
    }
}

const fn yes() -> bool {
    true
}

/// A value that cannot be worked with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Not a host that a registration answer may name.
    #[error(
        "controller host `{0}`: probes accept lower-case letters, digits, `.` and `-`, at most 32 characters, or a \
         literal address; set `controller.advertise_host`"
    )]
    Host(String),
    /// Outside of what an answer can carry.
    #[error("registration.reregister {0}: use 1 to 99999 seconds")]
    Reregister(u32),
    /// Number 0, or two probes with one number.
    #[error("probe id {0}: each probe needs a number of its own, from 1")]
    ProbeId(u32),
    /// Neither key line nor fingerprint.
    #[error("key of probe {0}: {1}")]
    Key(u32, KeyError),
    /// Not an interval that probes accept.
    #[error("interval {0}: use 1 to 63244800 seconds")]
    Interval(u64),
    /// A command that probes would cut or drop.
    #[error("command `{command}`: {because}")]
    Command {
        /// The command as given.
        command: String,
        /// What is wrong with it.
        because: String,
    },
    /// No posts at all is no rate.
    #[error("upload.posts_per_minute 0: leave it out for no limit, or use at least 1")]
    PostsPerMinute,
    /// A limit that lets nothing through.
    #[error("limits.{0} is 0: use at least 1")]
    Zero(&'static str),
}

/// Names of at most 32 characters of `[0-9a-z.-]`, or literal addresses (`controller-protocol` section 2.4).
fn is_controller_host(host: &str) -> bool {
    let is_name = !host.is_empty()
        && host.len() <= 32
        && host
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'z' | b'.' | b'-'));
    is_name || host.parse::<std::net::IpAddr>().is_ok()
}

#[cfg(test)]
mod tests;
