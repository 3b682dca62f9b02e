//! What strangers can take of a private network.

use serde::{Deserialize, Serialize};

use super::ConfigError;

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
    pub(super) fn check(&self) -> Result<(), ConfigError> {
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
