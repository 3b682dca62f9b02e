//! The probe's own key: made, imported, kept and shown.

use russh::keys::{
    Algorithm, PrivateKey, PublicKeyBase64,
    signature::Signer as _,
    ssh_key::{LineEnding, private::RsaKeypair},
};
use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    file, fingerprint,
    format::{self, FormatError},
};

/// The smallest RSA key accepted, in bits: smaller ones are refused by today's SSH servers.
const MIN_RSA_BITS: u32 = 2048;
/// The size of RSA keys made here, in bits: what the official probe's installer asks for (`controller-protocol` 1.1).
const RSA_BITS: usize = 3072;
/// The longest key file read, in octets.
const MAX_FILE: u64 = 64 * 1024;

/// The types of key a probe can have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum KeyType {
    /// Ed25519, the default.
    #[default]
    Ed25519,
    /// RSA of 3072 bits, as the official probe has it.
    Rsa,
}

/// A probe's private key and where it lies. The secret shows in no output.
#[derive(Clone)]
pub struct ProbeKey {
    private: Arc<PrivateKey>,
    path: PathBuf,
}

impl ProbeKey {
    /// The key at `path`; an Ed25519 key is made if there is none, with `comment` (the node's name).
    ///
    /// # Errors
    /// The file is unreadable, no usable key, or open to others; or a new one cannot be written.
    pub fn load_or_create(path: &Path, comment: &str) -> Result<Self, KeyError> {
        match Self::load(path) {
            Err(KeyError::Missing(_)) => {
                match Self::generate(path, KeyType::Ed25519, comment, false) {
                    // Another process was faster: its key is the probe's.
                    Err(KeyError::Exists(_)) => Self::load(path),
                    made => made,
                }
            }
            loaded => loaded,
        }
    }

    /// The key at `path`.
    ///
    /// A file that others may read or write is refused rather than repaired: the secret may have been copied,
    /// which its owner must know.
    ///
    /// # Errors
    /// The file is missing, unreadable, no usable key, or open to others.
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        Ok(Self {
            private: Arc::new(read(path)?),
            path: path.to_owned(),
        })
    }

    /// Makes a new key at `path`. An existing one is kept unless `replace` is set.
    ///
    /// # Errors
    /// There is a key already, or the file cannot be written.
    pub fn generate(
        path: &Path,
        kind: KeyType,
        comment: &str,
        replace: bool,
    ) -> Result<Self, KeyError> {
        if !replace && path.exists() {
            return Err(KeyError::Exists(path.to_owned()));
        }
        // A key is the one thing that must come straight from the system's generator, not from a seed.
        let mut random = rand::rand_core::UnwrapErr(rand::rngs::SysRng);
        let private = match kind {
            KeyType::Ed25519 => PrivateKey::random(&mut random, Algorithm::Ed25519),
            KeyType::Rsa => RsaKeypair::random(&mut random, RSA_BITS).map(PrivateKey::from),
        };
        let mut private = private.map_err(|cause| KeyError::Generate(cause.to_string()))?;
        private.set_comment(one_word(comment));
        Self::store(private, path, replace)
    }

    /// Copies the key of an official probe (or any unencrypted Ed25519 or RSA key) from `source` to `path`.
    ///
    /// # Errors
    /// The source is missing, encrypted, malformed, of another type, or open to others; there is a key already;
    /// or the file cannot be written.
    pub fn import(source: &Path, path: &Path, replace: bool) -> Result<Self, KeyError> {
        let private = read(source).map_err(|error| match error {
            KeyError::Missing(source) => KeyError::NoSource(source),
            error => error,
        })?;
        Self::store(private, path, replace)
    }

    fn store(private: PrivateKey, path: &Path, replace: bool) -> Result<Self, KeyError> {
        let text = private
            .to_openssh(LineEnding::LF)
            .map_err(|cause| KeyError::Generate(cause.to_string()))?;
        let failed = |cause| KeyError::Write(path.to_owned(), cause);
        match file::write_private(path, text.as_bytes(), replace) {
            Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => {
                return Err(KeyError::Exists(path.to_owned()));
            }
            written => written.map_err(failed)?,
        }
        let key = Self {
            private: Arc::new(private),
            path: path.to_owned(),
        };
        let mut public = path.as_os_str().to_owned();
        public.push(".pub");
        file::write_public(
            Path::new(&public),
            format!("{}\n", key.public_line()).as_bytes(),
        )
        .map_err(failed)?;
        Ok(key)
    }

    /// Where the key lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// `ssh-ed25519 AAAA… comment`: what is entered where probes are registered.
    #[must_use]
    pub fn public_line(&self) -> String {
        let comment = one_word(self.private.comment().as_ref());
        let line = format!("{} {}", self.type_name(), self.blob_text());
        if comment.is_empty() {
            line
        } else {
            format!("{line} {comment}")
        }
    }

    /// `SHA256:…`, as OpenSSH prints it.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        fingerprint(&self.private.public_key_bytes())
    }

    /// `H` and sixteen hexadecimal digits: the key's part of beacon names (`controller-protocol` section 7.4).
    #[must_use]
    pub fn sos_id(&self) -> String {
        if self.is_rsa() {
            sos_hash(&self.blob_text())
        } else {
            sos_hash(&self.public_line())
        }
    }

    /// Whether this is an RSA key, whose signatures name a hash.
    #[must_use]
    pub fn is_rsa(&self) -> bool {
        matches!(self.private.algorithm(), Algorithm::Rsa { .. })
    }

    /// The secret itself, for signing.
    #[must_use]
    pub fn private(&self) -> Arc<PrivateKey> {
        Arc::clone(&self.private)
    }

    /// `ssh-ed25519` or `ssh-rsa`.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        if self.is_rsa() {
            "ssh-rsa"
        } else {
            "ssh-ed25519"
        }
    }

    fn blob_text(&self) -> String {
        self.private.public_key_base64()
    }
}

impl fmt::Debug for ProbeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProbeKey")
            .field("path", &self.path)
            .field("type", &self.type_name())
            .field("fingerprint", &self.fingerprint())
            .finish_non_exhaustive()
    }
}

/// `H` and the first sixteen hexadecimal digits of the text's SHA-256.
pub(super) fn sos_hash(text: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    let hex: String = digest
        .as_ref()
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("H{hex}")
}

/// A comment that cannot break its line.
fn one_word(comment: &str) -> String {
    comment
        .chars()
        .filter(|char| !char.is_control())
        .take(200)
        .collect::<String>()
        .trim()
        .to_owned()
}

fn read(path: &Path) -> Result<PrivateKey, KeyError> {
    let text = match file::read(path, MAX_FILE) {
        Ok(file::Private { mode, .. }) if mode & 0o077 != 0 => {
            return Err(KeyError::TooOpen {
                path: path.to_owned(),
                mode,
            });
        }
        Ok(file::Private { text, .. }) => text,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => {
            return Err(KeyError::Missing(path.to_owned()));
        }
        Err(cause) => return Err(KeyError::Read(path.to_owned(), cause)),
    };
    let private = format::decode(&text).map_err(|cause| match cause {
        FormatError::Encrypted => KeyError::Encrypted(path.to_owned()),
        FormatError::Kind(kind) => KeyError::Unsupported {
            path: path.to_owned(),
            kind,
        },
        other => KeyError::Malformed {
            path: path.to_owned(),
            why: other.to_string(),
        },
    })?;
    usable(private, path)
}

fn usable(private: PrivateKey, path: &Path) -> Result<PrivateKey, KeyError> {
    if let Some(rsa) = private.key_data().rsa() {
        let bits = rsa.key_size();
        if bits < MIN_RSA_BITS {
            return Err(KeyError::Weak {
                path: path.to_owned(),
                bits,
            });
        }
        // Parts that do not belong together sign nothing: better to know now than at the server's door.
        return match private.try_sign(b"starling") {
            Ok(_) => Ok(private),
            Err(cause) => Err(KeyError::Malformed {
                path: path.to_owned(),
                why: cause.to_string(),
            }),
        };
    }
    match private.algorithm() {
        Algorithm::Ed25519 => Ok(private),
        other => Err(KeyError::Unsupported {
            path: path.to_owned(),
            kind: other.to_string(),
        }),
    }
}

/// A key that cannot be used or kept.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// No file there.
    #[error("there is no key at {}: `starling key generate` makes one", .0.display())]
    Missing(PathBuf),
    /// No file to take over.
    #[error("there is no file {}: name the private key to take over", .0.display())]
    NoSource(PathBuf),
    /// A key is there already.
    #[error("there is a key at {} already; replacing it makes this a different probe. Move it away first", .0.display())]
    Exists(PathBuf),
    /// Others may read or write it.
    #[error(
        "the key at {} is open to others (mode {mode:04o}): run `chmod 600 {}`, and make a new one if somebody may have \
         copied it", .path.display(), .path.display()
    )]
    TooOpen {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It has a passphrase.
    #[error(
        "the key at {} is protected by a passphrase, which a probe that starts by itself cannot give: remove it with \
         `ssh-keygen -p -N '' -f {}`", .0.display(), .0.display()
    )]
    Encrypted(PathBuf),
    /// It is no key.
    #[error("{} is not a private key that can be used ({why}): give the file without `.pub`", .path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What the decoder says.
        why: String,
    },
    /// Neither Ed25519 nor RSA.
    #[error("the key at {} is of type {kind}: use Ed25519 or RSA", .path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// Its type.
        kind: String,
    },
    /// Too short.
    #[error("the RSA key at {} has {bits} bits, too few for today's servers: use at least 2048", .path.display())]
    Weak {
        /// The file.
        path: PathBuf,
        /// Its size.
        bits: u32,
    },
    /// Reading failed.
    #[error("cannot read the key at {}", .0.display())]
    Read(PathBuf, #[source] io::Error),
    /// Writing failed.
    #[error("cannot write the key to {}", .0.display())]
    Write(PathBuf, #[source] io::Error),
    /// Making a key failed.
    #[error("cannot make a key: {0}")]
    Generate(String),
}
