//! A server's host key as it is pinned: one type and one blob, compared byte for byte.
//!
//! `controller-protocol` sections 1.5 and 2.4. Nothing is ever trusted on first use.

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

use super::fingerprint;

/// The longest blob accepted, in octets: an RSA key of 16384 bits takes about 2 KiB.
const MAX_BLOB: usize = 4096;

/// The types of host key we can check, by their names in a key line.
const TYPES: [&str; 5] = [
    "ssh-rsa",
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
];

/// A pinned host key: the key's type and its public blob (RFC 4253 section 6.6).
///
/// Reads from `ssh-rsa AAAA…`, with or without a comment, and from a `known_hosts` line, whose host names
/// are skipped; prints as `ssh-rsa AAAA…`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(into = "String")]
pub struct HostKey {
    kind: &'static str,
    blob: Vec<u8>,
}

impl HostKey {
    /// The key with the given type name and base64 blob.
    ///
    /// # Errors
    /// The type is none we can check, the base64 is malformed, or the blob is of another type.
    pub fn new(kind: &str, base64: &str) -> Result<Self, HostKeyError> {
        let kind = known_type(kind).ok_or_else(|| HostKeyError::Type(kind.to_owned()))?;
        let blob = BASE64
            .decode(base64)
            .map_err(|_| HostKeyError::Base64(base64.to_owned()))?;
        Self::from_blob(blob).and_then(|key| {
            if key.kind == kind {
                Ok(key)
            } else {
                Err(HostKeyError::Mismatch {
                    named: kind.to_owned(),
                    found: key.kind.to_owned(),
                })
            }
        })
    }

    /// The key in a public blob, which begins with its own type.
    ///
    /// # Errors
    /// The blob is cut short, too long, or of a type that we cannot check.
    pub fn from_blob(blob: Vec<u8>) -> Result<Self, HostKeyError> {
        if blob.len() > MAX_BLOB {
            return Err(HostKeyError::TooLong(blob.len()));
        }
        let (length, rest) = blob.split_first_chunk().ok_or(HostKeyError::Blob)?;
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        let name = rest.get(..length).ok_or(HostKeyError::Blob)?;
        let name = String::from_utf8_lossy(name);
        let kind = known_type(&name).ok_or_else(|| HostKeyError::Type(name.into_owned()))?;
        russh::keys::key::parse_public_key(&blob).map_err(|_| HostKeyError::Blob)?;
        Ok(Self { kind, blob })
    }

    /// The name of the key's type: `ssh-rsa`, `ssh-ed25519` or an `ecdsa-sha2-…`.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        self.kind
    }

    /// The public blob.
    #[must_use]
    pub fn blob(&self) -> &[u8] {
        &self.blob
    }

    /// The public blob in base64, as key lines and the CONTROLLER line hold it.
    #[must_use]
    pub fn base64(&self) -> String {
        BASE64.encode(&self.blob)
    }

    /// `SHA256:…`, as OpenSSH prints it.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        fingerprint(&self.blob)
    }
}

fn known_type(name: &str) -> Option<&'static str> {
    TYPES.into_iter().find(|known| *known == name)
}

impl fmt::Display for HostKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.base64())
    }
}

impl From<HostKey> for String {
    fn from(key: HostKey) -> Self {
        key.to_string()
    }
}

// By hand: derived, the `&'static str` would have to be borrowed from the input.
impl<'de> Deserialize<'de> for HostKey {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

impl FromStr for HostKey {
    type Err = HostKeyError;

    /// Reads a key line or a `known_hosts` line.
    fn from_str(line: &str) -> Result<Self, HostKeyError> {
        if line.trim_start().starts_with('@') {
            return Err(HostKeyError::Marker(line.trim().to_owned()));
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            [kind, blob, ..] if known_type(kind).is_some() => Self::new(kind, blob),
            [_hosts, kind, blob, ..] => Self::new(kind, blob),
            _ => Err(HostKeyError::Shape(line.trim().to_owned())),
        }
    }
}

/// Text or octets that are no host key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostKeyError {
    /// Not a type and a blob.
    #[error(
        "`{0}` is not a host key: write `ssh-rsa AAAA…` or a known_hosts line, as `ssh-keyscan -p PORT HOST` prints it"
    )]
    Shape(String),
    /// A `known_hosts` marker (`@cert-authority`, `@revoked`).
    #[error(
        "`{0}`: certificate authorities and revoked keys cannot be pinned; give the server's own key"
    )]
    Marker(String),
    /// A type we cannot check.
    #[error(
        "host key type `{0}` is not supported: use ssh-rsa, ssh-ed25519 or ecdsa-sha2-nistp256/384/521"
    )]
    Type(String),
    /// Not base64.
    #[error("`{0}` is not base64: copy the whole key line")]
    Base64(String),
    /// The blob is of another type than its line says.
    #[error("the line says `{named}` but the key is `{found}`: copy the whole key line")]
    Mismatch {
        /// The type in the line.
        named: String,
        /// The type in the blob.
        found: String,
    },
    /// The blob is no public key.
    #[error("the host key's blob is damaged: copy the whole key line")]
    Blob,
    /// More octets than any key has.
    #[error("a host key of {0} octets is too long: at most 4096")]
    TooLong(usize),
}
