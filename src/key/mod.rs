//! SSH keys: the probe's own on disk, and the host keys that servers must prove.
//!
//! `controller-protocol` sections 1.1, 1.5 and 7.4.

mod file;
mod format;
mod host;
mod probe;

pub use file::{read_private, write_private};
pub use host::{HostKey, HostKeyError};
pub use probe::{KeyError, KeyType, ProbeKey};

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};

/// `SHA256:…` of a public blob, as OpenSSH prints it.
#[must_use]
pub fn fingerprint(blob: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, blob);
    format!("SHA256:{}", STANDARD_NO_PAD.encode(digest))
}

#[cfg(test)]
mod tests;
