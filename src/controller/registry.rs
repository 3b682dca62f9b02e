//! The probes that are known: key to number, port and session; what survives a restart.

use serde::{Deserialize, Serialize};

use super::identity::{ProbeId, ProbeKey};

/// One known probe, as kept on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Known {
    /// Its number, never given to another key.
    pub id: ProbeId,
    /// Its key.
    pub key: ProbeKey,
    /// Its end of the reverse tunnel, never given to another probe.
    pub port: u16,
    /// Its session, if INIT gave it one.
    pub session: Option<String>,
    /// Whether it may measure.
    pub approved: bool,
}
