//! Who a probe is: its public key and the number it is given.

use std::{fmt, str::FromStr};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD},
};
use serde::{Deserialize, Serialize};

/// A probe's number, as in `PROBE_ID`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ProbeId(pub u32);

impl fmt::Display for ProbeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A public key as `type base64`, without comment: what a probe is known by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ProbeKey {
    line: String,
}

impl ProbeKey {
    /// The fingerprint as OpenSSH prints it: `SHA256:` and the unpadded base64 of the blob's digest.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let blob = self.line.split(' ').nth(1).unwrap_or_default();
        let bytes = STANDARD
            .decode(blob)
            .expect("a key's blob was decoded when the key was parsed");
        let digest = ring::digest::digest(&ring::digest::SHA256, &bytes);
        format!("SHA256:{}", STANDARD_NO_PAD.encode(digest))
    }

    /// `type base64`.
    #[must_use]
    pub fn as_line(&self) -> &str {
        &self.line
    }
}

impl FromStr for ProbeKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let mut words = text.split_whitespace();
        let (Some(kind), Some(blob)) = (words.next(), words.next()) else {
            return Err(KeyError::NotALine(text.to_owned()));
        };
        let bytes = STANDARD
            .decode(blob)
            .map_err(|_| KeyError::Blob(kind.to_owned()))?;
        // The blob repeats the type: a four-byte length and the name (RFC 4253 section 6.6).
        let inner = bytes
            .split_first_chunk::<4>()
            .and_then(|(len, rest)| rest.get(..usize::try_from(u32::from_be_bytes(*len)).ok()?));
        if inner != Some(kind.as_bytes()) {
            return Err(KeyError::Blob(kind.to_owned()));
        }
        Ok(Self {
            line: format!("{kind} {blob}"),
        })
    }
}

impl TryFrom<String> for ProbeKey {
    type Error = KeyError;
    fn try_from(text: String) -> Result<Self, KeyError> {
        text.parse()
    }
}

impl From<ProbeKey> for String {
    fn from(key: ProbeKey) -> Self {
        key.line
    }
}

impl fmt::Display for ProbeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line)
    }
}

/// How a configuration names a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyPattern {
    /// The key itself.
    Key(ProbeKey),
    /// Its fingerprint, `SHA256:…`.
    Fingerprint(String),
}

impl KeyPattern {
    /// Whether `key` is the one meant.
    #[must_use]
    pub fn matches(&self, key: &ProbeKey) -> bool {
        match self {
            Self::Key(own) => own == key,
            Self::Fingerprint(print) => *print == key.fingerprint(),
        }
    }
}

impl FromStr for KeyPattern {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let text = text.trim();
        let Some(digest) = text.strip_prefix("SHA256:") else {
            return text.parse().map(Self::Key);
        };
        match STANDARD_NO_PAD.decode(digest.trim_end_matches('=')) {
            Ok(bytes) if bytes.len() == 32 => Ok(Self::Fingerprint(format!(
                "SHA256:{}",
                STANDARD_NO_PAD.encode(bytes)
            ))),
            _ => Err(KeyError::Fingerprint(text.to_owned())),
        }
    }
}

/// Text that names no key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not two words.
    #[error("`{0}` is neither a key line (`ssh-ed25519 AAAA…`) nor a fingerprint (`SHA256:…`)")]
    NotALine(String),
    /// The second word is no key of that type.
    #[error("what follows `{0}` is not the base64 text of such a key")]
    Blob(String),
    /// Not 32 bytes of base64.
    #[error("`{0}` is not a SHA-256 fingerprint as `ssh-keygen -l` prints it")]
    Fingerprint(String),
}

/// A made-up Ed25519 key for tests: the blob's 32 bytes are all `number`.
#[cfg(test)]
pub(super) fn test_key(number: u8) -> ProbeKey {
    let mut blob = b"\0\0\0\x0bssh-ed25519\0\0\0\x20".to_vec();
    blob.extend([number; 32]);
    let line = format!("ssh-ed25519 {}", STANDARD.encode(blob));
    line.parse().expect("a well-formed key line")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made with `ssh-keygen -t ed25519 -N ''`; fingerprint by `ssh-keygen -lf`.
    const LINE: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILDwJnKL9z2q0SQxqzNzyeTqYPXA0N4XRyNZBT3sqFgU";

    #[test]
    fn a_comment_is_not_part_of_a_key() {
        let key: ProbeKey = format!("{LINE} probe@example\n").parse().unwrap();
        assert_eq!(key.as_line(), LINE);
    }

    #[test]
    fn a_key_is_found_by_its_fingerprint() {
        let key: ProbeKey = LINE.parse().unwrap();
        let pattern: KeyPattern = key.fingerprint().parse().unwrap();
        assert!(pattern.matches(&key));
    }

    #[test]
    fn a_blob_of_another_type_is_refused() {
        let wrong = LINE.replacen("ssh-ed25519", "ssh-rsa", 1);
        assert_eq!(
            wrong.parse::<ProbeKey>(),
            Err(KeyError::Blob("ssh-rsa".to_owned()))
        );
    }

    #[test]
    fn the_fingerprint_is_that_of_ssh_keygen() {
        // `controller-protocol` section 1.5, server P1.
        let p1: ProbeKey = concat!(
            "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQCqe2qSBtJqwT0R10cu0QOkanVWThaxc4Wp7mMS88kjLJgruxS0TKz73Jk9I0kNBjg3L8",
            "rY8SFAUBfEh7mD/4YRqIawo7yAQXRdiDXFaIp8RL63aZPebpbHtHwoYCKogRDnaCcdwmh1WHzwj0tStoTWRQ/9XVApQC5r4hsKMTelZqtczR",
            "q3o3gUSzkp7qPJRmDYsbox4BrSIT5lRoMDjSTVNlBFQFX98f0JbcmsQcDxaedoTAMUUMoMvoJHHtsf6sZ5NncCb99a8OanjZ7lytAJu2phko",
            "asS46kY4a3QVrYABGtPAHKtuhDEsrGEZNCc6oz1kfN6lJQDMiJ16R3y2Cp"
        )
        .parse()
        .unwrap();
        assert_eq!(
            p1.fingerprint(),
            "SHA256:kZA7AmBZ10pjRQO8UL2SlJcPspris1Nc98/npv8cLDw"
        );
    }

    #[test]
    fn nonsense_is_refused_with_what_to_write_instead() {
        assert!(matches!(
            "".parse::<KeyPattern>(),
            Err(KeyError::NotALine(_))
        ));
        assert!(matches!(
            "SHA256:abc".parse::<KeyPattern>(),
            Err(KeyError::Fingerprint(_))
        ));
    }
}
