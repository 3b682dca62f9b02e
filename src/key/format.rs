//! The formats of private key files: OpenSSH's own, PKCS #1 (RFC 8017 appendix A.1.2), which old installers made, and
//! PKCS #8 (RFC 5958), which OpenSSL makes.
//!
//! The SSH library reads these too, and PuTTY's, and each with a passphrase. A probe starts by itself and knows no
//! passphrase; leaving the ciphers and hashes for them out makes the binary a fiftieth smaller.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use russh::keys::{
    PrivateKey,
    ssh_key::{
        self, Mpint,
        private::{Ed25519Keypair, RsaKeypair, RsaPrivateKey},
        public::RsaPublicKey,
    },
};

/// rsaEncryption (RFC 8017 appendix C), content octets.
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
/// id-Ed25519 (RFC 8410 section 3), content octets.
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];

const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const OBJECT_IDENTIFIER: u8 = 0x06;
const SEQUENCE: u8 = 0x30;

/// Why a file's text is no usable key.
#[derive(Debug, thiserror::Error)]
pub(super) enum FormatError {
    #[error("it has no line that begins a private key")]
    NoKey,
    #[error("it is protected by a passphrase")]
    Encrypted,
    #[error("a {0} is not read here: give a key in OpenSSH's format")]
    Unread(String),
    #[error("it is PuTTY's: `puttygen FILE -O private-openssh -o NEW` rewrites it as OpenSSH's")]
    Putty,
    #[error("it breaks off, or is not base64")]
    Base64,
    #[error("it is not a {0} key: something in it is missing or misplaced")]
    Structure(&'static str),
    #[error("its key is of type {0}")]
    Kind(String),
    #[error("{0}")]
    Key(#[from] ssh_key::Error),
}

/// The private key in a file's `text`; the parts of an RSA key need not belong together.
pub(super) fn decode(text: &str) -> Result<PrivateKey, FormatError> {
    let (label, bytes) = armour(text)?;
    let key = match label {
        "OPENSSH PRIVATE KEY" => PrivateKey::from_bytes(&bytes)?,
        "RSA PRIVATE KEY" => pkcs1(&bytes)?,
        "PRIVATE KEY" => pkcs8(&bytes)?,
        "ENCRYPTED PRIVATE KEY" => return Err(FormatError::Encrypted),
        "EC PRIVATE KEY" => return Err(FormatError::Kind("ECDSA".to_owned())),
        other => return Err(FormatError::Unread(other.to_owned())),
    };
    if key.is_encrypted() {
        return Err(FormatError::Encrypted);
    }
    Ok(key)
}

/// The label of the first armoured key in `text`, and what it holds (RFC 7468, laxly).
fn armour(text: &str) -> Result<(&str, Vec<u8>), FormatError> {
    if text.trim_start().starts_with("PuTTY-User-Key-File") {
        return Err(FormatError::Putty);
    }
    let mut lines = text.lines().map(str::trim);
    let label = lines
        .find_map(|line| {
            let label = line.strip_prefix("-----BEGIN ")?.strip_suffix("-----")?;
            label.ends_with("PRIVATE KEY").then_some(label)
        })
        .ok_or(FormatError::NoKey)?;
    let mut body = String::new();
    for line in lines {
        if line.starts_with("-----END ") {
            let bytes = STANDARD.decode(&body).map_err(|_| FormatError::Base64)?;
            return Ok((label, bytes));
        }
        if line.starts_with("Proc-Type:") && line.contains("ENCRYPTED") {
            return Err(FormatError::Encrypted);
        }
        if !line.contains(':') {
            body.push_str(line);
        }
    }
    Err(FormatError::Base64)
}

/// RSAPrivateKey: version, n, e, d, p, q, two exponents that follow from these, and the inverse of q modulo p.
fn pkcs1(bytes: &[u8]) -> Result<PrivateKey, FormatError> {
    const WRONG: FormatError = FormatError::Structure("PKCS #1");
    let mut bytes = bytes;
    let mut fields = element(&mut bytes, SEQUENCE).ok_or(WRONG)?;
    let mut numbers: [&[u8]; 9] = [&[]; 9];
    for number in &mut numbers {
        *number = element(&mut fields, INTEGER).ok_or(WRONG)?;
    }
    let [_version, n, e, d, p, q, _dp, _dq, inverse] = numbers;
    let number = |bytes: &[u8]| Mpint::from_positive_bytes(bytes);
    let public = RsaPublicKey::new(number(e), number(n))?;
    let private = RsaPrivateKey::new(number(d), number(inverse), number(p), number(q))?;
    Ok(RsaKeypair::new(public, private)?.into())
}

/// OneAsymmetricKey: version, algorithm, and the key in a form of the algorithm's own.
fn pkcs8(bytes: &[u8]) -> Result<PrivateKey, FormatError> {
    const WRONG: FormatError = FormatError::Structure("PKCS #8");
    let mut bytes = bytes;
    let mut fields = element(&mut bytes, SEQUENCE).ok_or(WRONG)?;
    let _version = element(&mut fields, INTEGER).ok_or(WRONG)?;
    let mut algorithm = element(&mut fields, SEQUENCE).ok_or(WRONG)?;
    let algorithm = element(&mut algorithm, OBJECT_IDENTIFIER).ok_or(WRONG)?;
    let mut key = element(&mut fields, OCTET_STRING).ok_or(WRONG)?;
    match algorithm {
        RSA => pkcs1(key),
        ED25519 => {
            let seed = element(&mut key, OCTET_STRING).ok_or(WRONG)?;
            let seed = seed.try_into().map_err(|_| WRONG)?;
            Ok(Ed25519Keypair::from_seed(&seed).into())
        }
        _ => Err(FormatError::Kind("neither RSA nor Ed25519".to_owned())),
    }
}

/// The content of the DER element at the start of `bytes`, which must have this tag; `bytes` goes on behind it.
fn element<'a>(bytes: &mut &'a [u8], tag: u8) -> Option<&'a [u8]> {
    let (&found, rest) = bytes.split_first()?;
    let (&short, rest) = rest.split_first()?;
    let (length, rest) = match short {
        0..=0x7f => (usize::from(short), rest),
        0x81..=0x84 => {
            let (long, rest) = rest.split_at_checked(usize::from(short & 0x7f))?;
            let length = long
                .iter()
                .fold(0, |length, &octet| length << 8 | usize::from(octet));
            (length, rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    *bytes = rest;
    (found == tag).then_some(content)
}
