//! What the probes are given to do, and how its results come in.

use serde::{Deserialize, Serialize};

use super::ConfigError;

/// Put after the verb of a command that names no output file: without it the official probe would print its
/// results to nowhere.
pub const OUTPUT_OPTION: &str = " -O /home/atlas/data/new/7";

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
        check_command(&self.command, 511 - OUTPUT_OPTION.len())
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
    pub(super) fn check(&self) -> Result<(), ConfigError> {
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
