//! The servers' host keys: RSA, since the official probe takes no other from a registration answer, and 2048 bits,
//! since every signature costs the server time (`controller-protocol` sections 2.4, 11.1).

use std::{fs, io, path::Path};

use rand::{SeedableRng as _, rngs::StdRng};
use russh::keys::{
    PrivateKey,
    ssh_key::{self, LineEnding, private::RsaKeypair},
};

use super::store;

const BITS: usize = 2048;

/// Why there is no host key.
#[derive(Debug, thiserror::Error)]
pub enum HostKeyError {
    /// The file.
    #[error("host key {0}: {1}")]
    File(String, #[source] io::Error),
    /// What is in it.
    #[error("host key {0}: {1}; it has to be an OpenSSH private key without passphrase")]
    Key(String, #[source] ssh_key::Error),
    /// Another type of key.
    #[error(
        "host key {0} is of type {1}: probes accept RSA only, make one with `ssh-keygen -t rsa -b 2048`"
    )]
    NotRsa(String, String),
}

/// The host key in this file, which is made from the seed if it is missing.
pub(super) fn load_or_make(path: &Path, seed: [u8; 32]) -> Result<PrivateKey, HostKeyError> {
    let name = path.display().to_string();
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return make(path, seed),
        Err(error) => return Err(HostKeyError::File(name, error)),
    };
    let key = match PrivateKey::from_openssh(text) {
        Ok(key) if key.is_encrypted() => {
            return Err(HostKeyError::Key(name, ssh_key::Error::Encrypted));
        }
        Ok(key) => key,
        Err(error) => return Err(HostKeyError::Key(name, error)),
    };
    if !key.algorithm().is_rsa() {
        return Err(HostKeyError::NotRsa(name, key.algorithm().to_string()));
    }
    Ok(key)
}

fn make(path: &Path, seed: [u8; 32]) -> Result<PrivateKey, HostKeyError> {
    let name = || path.display().to_string();
    let bad = |error| HostKeyError::Key(name(), error);
    let pair = RsaKeypair::random(&mut StdRng::from_seed(seed), BITS).map_err(bad)?;
    let key = PrivateKey::from(pair);
    let text = key.to_openssh(LineEnding::LF).map_err(bad)?;
    store::replace(path, text.as_bytes()).map_err(|error| HostKeyError::File(name(), error))?;
    Ok(key)
}

/// `ssh-rsa AAAA…`, without comment.
pub(super) fn line(key: &PrivateKey) -> String {
    use russh::keys::PublicKeyBase64 as _;
    format!("ssh-rsa {}", key.public_key().public_key_base64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_key_is_made_once_and_then_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let first = load_or_make(&path, [1; 32]).unwrap();
        let second = load_or_make(&path, [2; 32]).unwrap();
        assert_eq!(line(&first), line(&second));
        assert!(line(&first).starts_with("ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABA"));
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }

    #[test]
    fn a_key_that_probes_would_refuse_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let pair = ssh_key::private::Ed25519Keypair::from_seed(&[7; 32]);
        let text = PrivateKey::from(pair).to_openssh(LineEnding::LF).unwrap();
        fs::write(&path, text).unwrap();
        assert!(matches!(
            load_or_make(&path, [1; 32]),
            Err(HostKeyError::NotRsa(..))
        ));
        fs::write(&path, "nonsense").unwrap();
        assert!(matches!(
            load_or_make(&path, [1; 32]),
            Err(HostKeyError::Key(..))
        ));
    }
}
