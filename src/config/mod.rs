//! The agent's configuration: a TOML file, read into types that cannot be wrong.
//!
//! Unknown keys are refused, every key has a default that just works, and nothing below this module knows
//! TOML. Flags and environment variables are laid over the file by `cli` (flag over environment over file
//! over default). The annotated reference is `packaging/starling.toml`.

mod refusal;
mod source;

pub use refusal::{Hint, Refusal, What, parse};
pub use source::{BadSource, Source};

use std::{
    fs, io,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, DeserializeOwned},
};

use crate::dialect::Dialect;

/// Where keys, state and results are kept, if nobody says otherwise.
pub const DATA_DIR: &str = "/var/lib/starling";

/// Everything that `starling run` can be told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The form of options, result lines and a few session answers.
    pub dialect: Dialect,
    /// Where keys, state, crontabs and results are kept.
    pub data_dir: PathBuf,
    /// The probe's private key; `probe_key` in the data directory if absent.
    pub key_file: Option<PathBuf>,
    /// Whom to register with.
    pub registration: Registration,
    /// How measurements are run.
    pub measurement: Measurement,
    /// Where packets leave from.
    pub source: Source,
    /// How results are kept.
    pub spool: Spool,
    /// How results leave.
    pub upload: Upload,
    /// Local copies of results.
    pub tee: Tee,
    /// What the process gives up.
    pub confine: Confine,
    /// What is said while running.
    pub log: Log,
    /// What is counted while running.
    pub metrics: Metrics,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            dialect: Dialect::default(),
            data_dir: PathBuf::from(DATA_DIR),
            key_file: None,
            registration: Registration::default(),
            measurement: Measurement::default(),
            source: Source::default(),
            spool: Spool::default(),
            upload: Upload::default(),
            tee: Tee::default(),
            confine: Confine::default(),
            log: Log::default(),
            metrics: Metrics::default(),
        }
    }
}

impl Config {
    /// Reads a configuration file.
    ///
    /// # Errors
    /// The file cannot be read, is no TOML, has an unknown key or a value that cannot be used; the message
    /// names the place.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        load(path)
    }

    /// The file that copies of results go to.
    #[must_use]
    pub fn tee_file(&self) -> PathBuf {
        let file = self.tee.file.clone();
        file.unwrap_or_else(|| self.data_dir.join("tee/results.ndjson"))
    }

    /// The file of the probe's private key.
    #[must_use]
    pub fn key_file(&self) -> PathBuf {
        key_file(self.key_file.as_deref(), &self.data_dir)
    }
}

/// The file of the probe's private key: the one that is named, or its place in the data directory.
#[must_use]
pub fn key_file(named: Option<&Path>, data_dir: &Path) -> PathBuf {
    named.map_or_else(|| data_dir.join("probe_key"), Path::to_owned)
}

impl FromStr for Config {
    type Err = Refusal;

    fn from_str(text: &str) -> Result<Self, Refusal> {
        parse(text)
    }
}

/// Reads a configuration file of any type; the controller's is another.
///
/// # Errors
/// The file cannot be read, is no TOML, has an unknown key or a value that cannot be used; the message
/// names the place.
pub fn load<T: DeserializeOwned>(path: &Path) -> Result<T, ConfigError> {
    let text = fs::read_to_string(path).map_err(|cause| ConfigError::Unreadable {
        path: path.to_owned(),
        cause,
    })?;
    parse(&text).map_err(|cause| ConfigError::Refused {
        path: path.to_owned(),
        cause,
    })
}

/// Whom to register with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Registration {
    /// The registration servers; none means the built-in production servers.
    pub servers: Vec<Server>,
    /// Look beacon names up under `sos.atlas.ripe.net` at each registration (`controller-protocol` section 7.4).
    pub dns_beacons: bool,
}

/// One registration server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// Host name or address.
    pub host: String,
    /// TCP port.
    #[serde(default = "https")]
    pub port: u16,
    /// The server's host key as an OpenSSH public key line (`ssh-rsa AAAA…`). Without it the key of the
    /// built-in table is used if the host is in it.
    pub host_key: Option<String>,
}

const fn https() -> u16 {
    443
}

impl FromStr for Server {
    type Err = BadServer;

    /// `HOST[:PORT][=TYPE BASE64]`, an IPv6 literal in brackets.
    fn from_str(text: &str) -> Result<Self, BadServer> {
        let bad = || BadServer(text.to_owned());
        let (place, host_key) = match text.split_once('=') {
            Some((place, key)) if !key.is_empty() => (place, Some(key.trim().to_owned())),
            Some(_) => return Err(bad()),
            None => (text, None),
        };
        let (host, port) = if let Some(rest) = place.strip_prefix('[') {
            let (host, port) = rest.split_once(']').ok_or_else(bad)?;
            (host, port.strip_prefix(':'))
        } else {
            match place.split_once(':') {
                Some((_, port)) if port.contains(':') => return Err(bad()),
                Some((host, port)) => (host, Some(port)),
                None => (place, None),
            }
        };
        if host.is_empty() {
            return Err(bad());
        }
        Ok(Self {
            host: host.to_owned(),
            port: port.map_or(Ok(https()), |port| port.parse().map_err(|_| bad()))?,
            host_key,
        })
    }
}

/// A registration server that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no registration server: write HOST, HOST:PORT or [IPV6]:PORT, and `=ssh-rsa AAAA…` after it to pin its host key"
)]
pub struct BadServer(pub String);

/// How measurements are run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Measurement {
    /// Measure private and loopback addresses too. For networks of one's own only.
    pub allow_any_address: bool,
    /// The firmware number that results and registration carry (`fw`).
    pub firmware: u32,
    /// The measurement code version that results carry (`mver`).
    pub version: String,
    /// Runs of periodic measurements at once, at most.
    #[serde(deserialize_with = "at_least_one")]
    pub periodic_at_once: usize,
    /// Runs of one-off measurements at once, at most.
    #[serde(deserialize_with = "at_least_one")]
    pub one_offs_at_once: usize,
}

impl Default for Measurement {
    fn default() -> Self {
        Self {
            allow_any_address: false,
            firmware: 5120,
            version: "2.6.4".to_owned(),
            periodic_at_once: 1000,
            one_offs_at_once: 10,
        }
    }
}

/// How results are kept until a controller has them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Spool {
    /// Bytes of results kept at most; the oldest go first.
    pub max_bytes: u64,
    /// The longest time for which a power cut may cost finished results.
    #[serde(deserialize_with = "duration", serialize_with = "write_duration")]
    pub sync_interval: Duration,
}

impl Default for Spool {
    fn default() -> Self {
        Self {
            max_bytes: 64 << 20,
            sync_interval: Duration::from_secs(60),
        }
    }
}

/// How results leave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Upload {
    /// Time between uploads until the controller names its own slots.
    #[serde(deserialize_with = "duration", serialize_with = "write_duration")]
    pub interval: Duration,
    /// Report interface counters (9002) with every upload.
    pub interface_counters: bool,
}

impl Default for Upload {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(60),
            interface_counters: true,
        }
    }
}

/// Local copies of results.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tee {
    /// Where they go.
    pub to: TeeTo,
    /// Which file; `tee/results.ndjson` in the data directory if absent.
    pub file: Option<PathBuf>,
    /// Bytes of that file at most, before it is put aside.
    pub max_bytes: u64,
    /// How many files put aside are kept.
    pub keep: u32,
}

impl Default for Tee {
    fn default() -> Self {
        Self {
            to: TeeTo::Nowhere,
            file: None,
            max_bytes: 10 << 20,
            keep: 4,
        }
    }
}

/// Where copies of results go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TeeTo {
    /// None are made.
    #[default]
    Nowhere,
    /// To a file.
    File,
    /// To standard output.
    Stdout,
}

/// What the process gives up at its start, where the kernel can do it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Confine {
    /// Files outside the data directory cannot be written, and few can be read.
    pub landlock: bool,
    /// System calls that nothing here makes are refused.
    pub seccomp: bool,
}

impl Default for Confine {
    fn default() -> Self {
        Self {
            landlock: true,
            seccomp: true,
        }
    }
}

/// Metrics and health for Prometheus and others, over HTTP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Metrics {
    /// Whether anything is served.
    pub enabled: bool,
    /// Where.
    pub listen: SocketAddr,
    /// Measurements that are told apart, at most; 0 for none.
    pub measurements: usize,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            enabled: false,
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 9469)),
            measurements: 500,
        }
    }
}

/// What is said while running.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// How much.
    pub level: LogLevel,
    /// In which form.
    pub format: LogFormat,
}

/// How much is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Only why we stop.
    Error,
    /// What is worth an alert.
    Warn,
    /// Changes that an operator would notice.
    #[default]
    Info,
    /// Every decision.
    Debug,
    /// Every packet.
    Trace,
}

impl LogLevel {
    /// The word that filters use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// The form of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Why a configuration file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Reading failed.
    #[error("cannot read the configuration file {path}: {cause}")]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// The text is refused; the cause names line, key and what would do.
    #[error("{path}, {cause}")]
    Refused {
        /// Which file.
        path: PathBuf,
        /// Why.
        cause: Refusal,
    },
}

/// Reads `90s`, `5m`, `2h`, `1d`, `250ms`, or a bare number of seconds.
///
/// # Errors
/// The text, if it is none of these or too large to be a duration.
pub fn parse_duration(text: &str) -> Result<Duration, BadDuration> {
    let bad = || BadDuration(text.to_owned());
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| bad())?;
    let millis = match unit.trim() {
        "ms" => 1,
        "" | "s" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(bad()),
    };
    let millis = number.checked_mul(millis).ok_or_else(bad)?;
    Ok(Duration::from_millis(millis))
}

/// A duration that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no duration: write for example 90s, 5m, 2h or 250ms")]
pub struct BadDuration(pub String);

fn at_least_one<'de, D: Deserializer<'de>>(from: D) -> Result<usize, D::Error> {
    match usize::deserialize(from)? {
        0 => Err(de::Error::custom("nothing would run: write at least 1")),
        number => Ok(number),
    }
}

fn duration<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Seconds(u64),
        Text(String),
    }
    match Either::deserialize(from)? {
        Either::Seconds(seconds) => Ok(Duration::from_secs(seconds)),
        Either::Text(text) => parse_duration(&text).map_err(de::Error::custom),
    }
}

/// Writes a duration so that it is read as the same one.
fn write_duration<S: Serializer>(duration: &Duration, to: S) -> Result<S::Ok, S::Error> {
    if duration.subsec_nanos() == 0 {
        to.collect_str(&format_args!("{}s", duration.as_secs()))
    } else {
        to.collect_str(&format_args!("{}ms", duration.as_millis()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_file_is_the_default() {
        assert_eq!("".parse::<Config>().unwrap(), Config::default());
    }

    #[test]
    fn a_refusal_names_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("starling.toml");
        fs::write(&file, "[upload]\nintervall = 5").unwrap();
        assert_eq!(
            Config::load(&file).unwrap_err().to_string(),
            format!(
                "{}, line 2: unknown key 'intervall' in [upload]; did you mean 'interval'?",
                file.display()
            )
        );
    }

    #[test]
    fn a_probe_that_would_run_nothing_is_refused() {
        for key in ["periodic_at_once", "one_offs_at_once"] {
            let error = format!("[measurement]\n{key} = 0").parse::<Config>();
            let words = error.unwrap_err().to_string();
            assert!(words.contains("nothing would run"), "{words}");
        }
    }

    #[test]
    fn an_address_without_its_port_is_shown_with_the_remedy() {
        let error = "[metrics]\nlisten = \"localhost\"".parse::<Config>();
        assert_eq!(
            error.unwrap_err().to_string(),
            "line 2: in [metrics]: \"localhost\" is no address with its port: write for example \"127.0.0.1:9469\""
        );
    }

    #[test]
    fn what_is_printed_is_read_as_the_same() {
        for text in [
            "",
            "[upload]\ninterval = \"250ms\"\n[spool]\nsync_interval = 90\n[source]\nipv4 = \"eth0\"\nsession = false\n\
             [tee]\nto = \"stdout\"\n[log]\nlevel = \"warn\"\nformat = \"json\"\n[metrics]\nlisten = \"[::1]:1\"\n\
             [[registration.servers]]\nhost = \"x\"\n",
        ] {
            let config: Config = text.parse().unwrap();
            let printed = toml::to_string(&config).unwrap();
            assert_eq!(printed.parse::<Config>().unwrap(), config, "{printed}");
        }
    }

    #[test]
    fn durations_are_seconds_or_carry_a_unit() {
        let config: Config = "[upload]\ninterval = 5\n[spool]\nsync_interval = \"2m\""
            .parse()
            .unwrap();
        assert_eq!(config.upload.interval, Duration::from_secs(5));
        assert_eq!(config.spool.sync_interval, Duration::from_secs(120));
        for bad in ["", "s", "5 weeks", "-1s", "1.5s", "99999999999999999999d"] {
            assert_eq!(parse_duration(bad), Err(BadDuration(bad.to_owned())));
        }
    }

    #[test]
    fn a_server_is_host_port_and_key() {
        let server = |host: &str, port, key: Option<&str>| Server {
            host: host.to_owned(),
            port,
            host_key: key.map(str::to_owned),
        };
        for (text, expected) in [
            ("reg.example", server("reg.example", 443, None)),
            ("reg.example:8443", server("reg.example", 8443, None)),
            ("[2001:db8::1]:22", server("2001:db8::1", 22, None)),
            ("[2001:db8::1]", server("2001:db8::1", 443, None)),
            (
                "192.0.2.1:2222=ssh-rsa AAAA==",
                server("192.0.2.1", 2222, Some("ssh-rsa AAAA==")),
            ),
        ] {
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
        for bad in ["", ":443", "host:port", "2001:db8::1", "[::1", "host="] {
            assert_eq!(bad.parse::<Server>(), Err(BadServer(bad.to_owned())));
        }
    }
}
