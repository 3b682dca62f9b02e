//! The configuration of a private network: what `starling controller --config FILE` reads and what the lab fills in.
//!
//! Unknown keys are refused. [`Config::check`] turns the file's values into values that cannot be wrong; nothing
//! below it looks at a path's or a command's form again. Not here: flags and environment (`cli`).

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

/// A periodic measurement: one CRONLINE of the table `7` (`controller-protocol` section 5.1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measurement {
    /// The command in the probe's language, verb first: `evping -4 -c 3 -A 1001 198.51.100.2`. `-O` is put in if
    /// it is missing.
    pub command: String,
    /// Seconds between runs, 1 to 63244800.
    pub interval: u64,
    /// Phase of the cycle: a run is due at `start + k·interval`, Unix seconds.
    #[serde(default)]
    pub start: u64,
    /// No run after this time, Unix seconds. `None`: far in the future.
    #[serde(default)]
    pub end: Option<u64>,
    /// Runs are spread at random over this many seconds.
    #[serde(default)]
    pub spread: u32,
    /// The numbers of the probes that measure. `None`: all.
    #[serde(default)]
    pub probes: Option<Vec<u32>>,
}

impl Measurement {
    /// Whether a probe would accept the line.
    ///
    /// # Errors
    /// What it would not accept.
    pub fn check(&self) -> Result<(), ConfigError> {
        if !(1..=63_244_800).contains(&self.interval) {
            return Err(ConfigError::Interval(self.interval));
        }
        // The probe's own limit is 511 bytes of command; `-O` and its path take their share.
        check_command(&self.command, 511 - super::schedule::OUTPUT_OPTION.len())
    }

    /// Whether the probe with this number takes part.
    #[must_use]
    pub fn is_for(&self, probe: u32) -> bool {
        self.probes.as_ref().is_none_or(|ids| ids.contains(&probe))
    }
}

/// A measurement made once: one ONEOFF line (`controller-protocol` section 4.5).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OneOff {
    /// The command in the probe's language, at most 255 bytes.
    pub command: String,
    /// The numbers of the probes that measure. `None`: all.
    #[serde(default)]
    pub probes: Option<Vec<u32>>,
}

impl OneOff {
    /// Whether a probe would accept the line.
    ///
    /// # Errors
    /// What it would not accept.
    pub fn check(&self) -> Result<(), ConfigError> {
        check_command(&self.command, 254)
    }

    /// Whether the probe with this number takes part.
    #[must_use]
    pub fn is_for(&self, probe: u32) -> bool {
        self.probes.as_ref().is_none_or(|ids| ids.contains(&probe))
    }
}

/// How results come in (`controller-protocol` sections 4.6 and 6).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Upload {
    /// Seconds between the uploads of a probe.
    pub interval: u64,
    /// Uploads are spread at random over this many seconds. `None`: a third of the interval, at most 20.
    pub spread: Option<u32>,
    /// Seconds between time synchronisations.
    pub timesync_interval: u64,
    /// Posts a minute that one probe may make before it is answered 429. `None`: no limit.
    pub posts_per_minute: Option<u32>,
}

impl Default for Upload {
    fn default() -> Self {
        Self {
            interval: 60,
            spread: None,
            timesync_interval: 900,
            posts_per_minute: None,
        }
    }
}

impl Upload {
    fn check(&self) -> Result<(), ConfigError> {
        for interval in [self.interval, self.timesync_interval] {
            if !(1..=63_244_800).contains(&interval) {
                return Err(ConfigError::Interval(interval));
            }
        }
        if self.posts_per_minute == Some(0) {
            return Err(ConfigError::PostsPerMinute);
        }
        Ok(())
    }

    /// The spread of the upload line, in seconds.
    #[must_use]
    pub fn spread(&self) -> u32 {
        self.spread
            .unwrap_or_else(|| u32::try_from(self.interval / 3).unwrap_or(20).min(20))
    }
}

/// Bounds on what strangers, and probes gone wrong, can take of us.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Connections at once, both listeners together.
    pub connections: usize,
    /// Connections at once from one address.
    pub connections_per_address: usize,
    /// Seconds from the TCP connection to a proven key.
    pub login_seconds: u64,
    /// Seconds that a connection that proved its key may go without INIT or KEEP.
    pub idle_seconds: u64,
    /// Channels at once on one connection.
    pub channels: usize,
    /// Bytes of a post's body.
    pub body_bytes: usize,
    /// Seconds from the opening of an upload's channel to the end of its body.
    pub post_seconds: u64,
    /// Probes that the list of pending and automatically approved probes may hold.
    pub probes: usize,
    /// Result lines remembered in order to recognise a repeated delivery.
    pub remembered_lines: usize,
    /// One-offs that may wait for one probe to come back.
    pub waiting_one_offs: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1024,
            connections_per_address: 256,
            login_seconds: 30,
            idle_seconds: 60,
            channels: 16,
            body_bytes: 10_000_000,
            post_seconds: 300,
            probes: 10_000,
            remembered_lines: 100_000,
            waiting_one_offs: 1000,
        }
    }
}

impl Limits {
    fn check(&self) -> Result<(), ConfigError> {
        let counts = [
            ("connections", self.connections),
            ("connections_per_address", self.connections_per_address),
            ("channels", self.channels),
            ("body_bytes", self.body_bytes),
            ("probes", self.probes),
        ];
        match counts.into_iter().find(|(_, count)| *count == 0) {
            Some((name, _)) => Err(ConfigError::Zero(name)),
            None => Ok(()),
        }
    }
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

fn check_command(command: &str, max: usize) -> Result<(), ConfigError> {
    let because = if command
        .split_whitespace()
        .next()
        .is_none_or(|verb| !verb.starts_with("ev"))
    {
        "it must begin with one of the probe's measurement commands, such as `evping`".to_owned()
    } else if command.len() > max {
        format!("longer than {max} bytes, which probes would cut")
    } else if let Some(bad) = command.chars().find(|c| c.is_control() || *c == '#') {
        format!("it must not contain {bad:?}, which would end the line")
    } else if command.ends_with('\\') {
        "it must not end in a backslash, which would join the next line".to_owned()
    } else {
        return Ok(());
    };
    Err(ConfigError::Command {
        command: command.to_owned(),
        because,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"
        data_dir = "/tmp/network"
        approval = "listed"
        unknown_keys = "pending"
        accepted = "/tmp/accepted"

        [registration]
        listen = "0.0.0.0:443"
        reregister = 600

        [controller]
        listen = "0.0.0.0:8443"
        advertise_host = "ctr.example.net"
        init = { wait = 100 }

        [upload]
        interval = 30
        posts_per_minute = 4

        [[probe]]
        id = 7
        name = "cellar"
        key = "SHA256:kZA7AmBZ10pjRQO8UL2SlJcPspris1Nc98/npv8cLDw"

        [[measurement]]
        command = "evping -4 -c 3 -A 1001 198.51.100.2"
        interval = 240
        spread = 3
        probes = [7]

        [[one_off]]
        command = "evping -4 -c 1 -A 2002 198.51.100.2"

        [limits]
        connections = 50
    "#;

    fn file(text: &str) -> Config {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn a_file_says_everything() {
        let config = file(FILE);
        assert_eq!(config.check(), Ok(()));
        assert_eq!(config.controller.init, InitPolicy::Wait(100));
        assert_eq!(config.upload.spread(), 10);
        assert!(config.probes[0].approved);
        assert!(config.measurements[0].is_for(7) && !config.measurements[0].is_for(8));
        assert_eq!(file(&toml::to_string(&config).unwrap()), config);
    }

    #[test]
    fn an_unknown_key_is_refused_wherever_it_stands() {
        for text in [
            "data_dirr = '/x'",
            "[registration]\nport = 1",
            "[controller]\nport = 1",
            "[upload]\nrate = 1",
            "[limits]\nprobe = 1",
            "[[probe]]\nid = 1\nkey = 'x'\napprove = true",
            "[[measurement]]\ncommand = 'evping x'\ninterval = 1\nphase = 1",
            "[[one_off]]\ncommand = 'evping x'\ninterval = 1",
        ] {
            assert!(toml::from_str::<Config>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_probes_would_not_take_is_refused_by_name() {
        let error = |text: &str| file(text).check().unwrap_err();
        let command = |command: &str| {
            error(&format!(
                "[[measurement]]\ninterval = 1\ncommand = '{command}'"
            ))
        };
        assert!(matches!(
            error("[controller]\nadvertise_host = 'CTR.example.net'"),
            ConfigError::Host(_)
        ));
        let long = format!("[controller]\nadvertise_host = '{}'", "c".repeat(33));
        assert!(matches!(error(&long), ConfigError::Host(_)));
        assert_eq!(
            error("[registration]\nreregister = 100000"),
            ConfigError::Reregister(100_000)
        );
        assert_eq!(error("[upload]\ninterval = 0"), ConfigError::Interval(0));
        assert_eq!(
            error("[upload]\nposts_per_minute = 0"),
            ConfigError::PostsPerMinute
        );
        assert_eq!(
            error("[limits]\nchannels = 0"),
            ConfigError::Zero("channels")
        );
        assert!(matches!(
            error("[[probe]]\nid = 1\nkey = 'nonsense'"),
            ConfigError::Key(1, _)
        ));
        let twins =
            "[[probe]]\nid = 1\nkey = 'SHA256:kZA7AmBZ10pjRQO8UL2SlJcPspris1Nc98/npv8cLDw'\n";
        assert_eq!(error(&format!("{twins}{twins}")), ConfigError::ProbeId(1));
        for bad in [
            "reboot",
            "",
            "evping #",
            "evping \\",
            &format!("evping {}", "x".repeat(500)),
        ] {
            assert!(matches!(command(bad), ConfigError::Command { .. }), "{bad}");
        }
        let one_off = format!("[[one_off]]\ncommand = 'evping {}'", "x".repeat(248));
        assert!(matches!(error(&one_off), ConfigError::Command { .. }));
    }

    #[test]
    fn the_defaults_can_be_worked_with() {
        assert_eq!(Config::default().check(), Ok(()));
        assert_eq!(Config::loopback(PathBuf::from("/tmp/x")).check(), Ok(()));
    }
}
