//! What a server says first: records to messages, however the stream was cut (`http-tls-measurements` section 3.3).

use super::{SSL_3_0, TLS_1_3, Version, content, message};

/// Octets that are taken from a server at most. No chain in use comes near; what a server sends beyond is not waited
/// for.
pub const MAX_FLIGHT: usize = 512 * 1_024;

/// Certificates that are taken at most.
pub const MAX_CERTIFICATES: usize = 1_024;

/// Type, version and length of a record.
const RECORD_HEADER: usize = 5;
/// Type and length of a handshake message.
const MESSAGE_HEADER: usize = 4;
/// `supported_versions` (RFC 8446 section 4.2.1).
const SUPPORTED_VERSIONS: u16 = 43;

/// The random field by which a `ServerHello` says that it is a `HelloRetryRequest` (RFC 8446 section 4.1.3).
const RETRY: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91,
    0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

/// What a `ServerHello` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerHello {
    /// The suite that the server chose.
    pub cipher: u16,
    /// Whether it chose TLS 1.3, in which all that follows is encrypted.
    pub is_1_3: bool,
}

/// What a flight came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// An alert in place of the `ServerHello`.
    Alert(Alert),
    /// The certificates, DER, in the order sent.
    Certificates(Vec<Vec<u8>>),
    /// The server chose TLS 1.3: its certificates are encrypted.
    Encrypted,
}

/// An alert (RFC 8446 section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alert {
    /// 1 warning, 2 fatal.
    pub level: u8,
    /// What it is about.
    pub description: u8,
}

/// Why a flight cannot be what it claims. The texts are those of result lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Problem {
    /// A record or message of another type than must come next.
    #[error("bad type")]
    Type,
    /// The `ServerHello` ends within its version.
    #[error("Server Hello too short (ProtocolVersion)")]
    ShortVersion,
    /// The `ServerHello` ends within its random field.
    #[error("Server Hello too short (Random)")]
    ShortRandom,
    /// The `ServerHello` ends before the session id's length.
    #[error("Server Hello too short (SessionID len)")]
    ShortSessionLength,
    /// The session id is longer than 32 octets.
    #[error("Server Hello bad SessionID len")]
    SessionLength,
    /// The `ServerHello` ends within the session id.
    #[error("Server Hello too short (SessionID)")]
    ShortSession,
    /// The `ServerHello` ends within the suite.
    #[error("Server Hello too short (CipherSuite)")]
    ShortCipher,
    /// A certificate reaches past its message.
    #[error("bad len")]
    CertificateLength,
    /// The list of certificates is not as long as it says, or longer than any is.
    #[error("bad amount of cert data")]
    CertificateAmount,
}

/// Reads one flight, octet by octet or all at once. What comes after its end is not looked at.
#[derive(Clone, Debug)]
pub struct Flight {
    /// Whether TLS 1.3 was offered, so that a server may choose it.
    offers_1_3: bool,
    phase: Phase,
    /// Octets of the record that is not complete.
    pub(super) held: Vec<u8>,
    /// Payload of handshake records that no message has used up.
    pub(super) handshake: Vec<u8>,
    alert: Vec<u8>,
    version: Version,
    hello: Option<ServerHello>,
    retried: bool,
    taken: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Hello,
    Alert,
    Certificates,
    Over,
}

impl Flight {
    /// The flight that answers a hello.
    #[must_use]
    pub const fn new(offers_1_3: bool) -> Self {
        Self {
            offers_1_3,
            phase: Phase::Hello,
            held: Vec::new(),
            handshake: Vec::new(),
            alert: Vec::new(),
            version: SSL_3_0,
            hello: None,
            retried: false,
            taken: 0,
        }
    }

    /// The version in the last record header that was looked at: complete headers only, and none after the end.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.version
    }

    /// The `ServerHello`, once complete.
    #[must_use]
    pub const fn hello(&self) -> Option<ServerHello> {
        self.hello
    }

    /// Whether the server asked for another TLS 1.3 hello and has not answered that one yet.
    #[must_use]
    pub const fn is_retrying(&self) -> bool {
        self.retried && self.hello.is_none()
    }

    /// Whether the server has sent as much as is taken from it, without coming to an end.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.taken >= MAX_FLIGHT
    }

    /// Takes the octets that came next; tells once how the flight ended.
    ///
    /// # Errors
    /// How the flight is none. Also told once, and its end.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Option<Found>, Problem> {
        let room = MAX_FLIGHT - self.taken;
        let bytes = &bytes[..bytes.len().min(room)];
        self.taken += bytes.len();
        if self.phase == Phase::Over {
            return Ok(None);
        }
        let mut held = std::mem::take(&mut self.held);
        held.extend_from_slice(bytes);
        let mut rest = &held[..];
        let found = self.advance(&mut rest);
        if matches!(found, Ok(None)) {
            let used = held.len() - rest.len();
            held.drain(..used);
            self.held = held;
        } else {
            self.phase = Phase::Over;
            self.handshake = Vec::new();
        }
        found
    }

    /// Goes on record by record, each only taken when what came before does not do.
    fn advance(&mut self, rest: &mut &[u8]) -> Result<Option<Found>, Problem> {
        loop {
            if let Some(found) = self.look()? {
                return Ok(Some(found));
            }
            let Some((header, after)) = rest.split_first_chunk::<RECORD_HEADER>() else {
                return Ok(None);
            };
            let [kind, major, minor, high, low] = *header;
            self.version = [major, minor];
            let length = usize::from(u16::from_be_bytes([high, low]));
            let Some((payload, after)) = after.split_at_checked(length) else {
                return Ok(None);
            };
            *rest = after;
            self.record(kind, payload)?;
        }
    }

    /// Takes one record.
    fn record(&mut self, kind: u8, payload: &[u8]) -> Result<(), Problem> {
        let starts_hello = self.phase == Phase::Hello && self.handshake.len() < MESSAGE_HEADER;
        match kind {
            // Only more of the alert is of interest.
            content::ALERT if self.phase == Phase::Alert => self.alert.extend_from_slice(payload),
            _ if self.phase == Phase::Alert => {}
            content::HANDSHAKE => self.handshake.extend_from_slice(payload),
            content::ALERT if starts_hello => {
                self.phase = Phase::Alert;
                self.alert.extend_from_slice(payload);
            }
            // Stands for nothing in TLS 1.3 (RFC 8446 appendix D.4).
            content::CHANGE_CIPHER_SPEC if self.is_retrying() => {}
            _ => return Err(Problem::Type),
        }
        Ok(())
    }

    /// Looks at what is complete.
    fn look(&mut self) -> Result<Option<Found>, Problem> {
        match self.phase {
            Phase::Over => Ok(None),
            Phase::Alert => Ok(match self.alert[..] {
                [level, description, ..] => Some(Found::Alert(Alert { level, description })),
                _ => None,
            }),
            Phase::Hello => {
                let Some(body) = self.message(message::SERVER_HELLO)? else {
                    return Ok(None);
                };
                let (hello, is_retry) = server_hello(&body, self.offers_1_3)?;
                if is_retry && !self.retried {
                    self.retried = true;
                    return self.look();
                }
                self.hello = Some(hello);
                if hello.is_1_3 {
                    return Ok(Some(Found::Encrypted));
                }
                self.phase = Phase::Certificates;
                self.look()
            }
            Phase::Certificates => match self.message(message::CERTIFICATE)? {
                Some(body) => certificates(&body).map(Found::Certificates).map(Some),
                None => Ok(None),
            },
        }
    }

    /// The body of the next message, which must be of type `kind`, once complete.
    fn message(&mut self, kind: u8) -> Result<Option<Vec<u8>>, Problem> {
        let Some(header) = self.handshake.first_chunk::<MESSAGE_HEADER>() else {
            return Ok(None);
        };
        if header[0] != kind {
            return Err(Problem::Type);
        }
        let end = MESSAGE_HEADER + u24([header[1], header[2], header[3]]);
        if self.handshake.len() < end {
            return Ok(None);
        }
        let mut body: Vec<u8> = self.handshake.drain(..end).collect();
        body.drain(..MESSAGE_HEADER);
        Ok(Some(body))
    }
}

fn u24([a, b, c]: [u8; 3]) -> usize {
    usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c)
}

/// A `ServerHello`, and whether it is a `HelloRetryRequest`.
fn server_hello(body: &[u8], offers_1_3: bool) -> Result<(ServerHello, bool), Problem> {
    let (_, rest) = body.split_at_checked(2).ok_or(Problem::ShortVersion)?;
    let (random, rest) = rest.split_at_checked(32).ok_or(Problem::ShortRandom)?;
    let (length, rest) = rest.split_first().ok_or(Problem::ShortSessionLength)?;
    if *length > 32 {
        return Err(Problem::SessionLength);
    }
    let (_, rest) = rest
        .split_at_checked(usize::from(*length))
        .ok_or(Problem::ShortSession)?;
    let (cipher, rest) = rest.split_first_chunk().ok_or(Problem::ShortCipher)?;
    let is_1_3 = offers_1_3 && selects_1_3(rest);
    let hello = ServerHello {
        cipher: u16::from_be_bytes(*cipher),
        is_1_3,
    };
    Ok((hello, is_1_3 && random == RETRY))
}

/// Whether what follows the suite has an extension that selects TLS 1.3. Extensions that do not fit say nothing.
fn selects_1_3(rest: &[u8]) -> bool {
    // A compression method, then the length of all extensions.
    let mut rest = rest.get(3..).unwrap_or_default();
    while let [a, b, c, d, after @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*c, *d]));
        let Some((data, after)) = after.split_at_checked(length) else {
            return false;
        };
        if u16::from_be_bytes([*a, *b]) == SUPPORTED_VERSIONS {
            return data == TLS_1_3;
        }
        rest = after;
    }
    false
}

/// The certificates of a `Certificate` message (RFC 5246 section 7.4.2).
fn certificates(body: &[u8]) -> Result<Vec<Vec<u8>>, Problem> {
    let (length, list) = body.split_first_chunk().ok_or(Problem::CertificateLength)?;
    let length = u24(*length);
    let mut certificates = Vec::new();
    let mut rest = list;
    while list.len() - rest.len() < length {
        let (length, after) = rest.split_first_chunk().ok_or(Problem::CertificateLength)?;
        let (der, after) = after
            .split_at_checked(u24(*length))
            .ok_or(Problem::CertificateLength)?;
        if certificates.len() == MAX_CERTIFICATES {
            return Err(Problem::CertificateAmount);
        }
        certificates.push(der.to_vec());
        rest = after;
    }
    if list.len() - rest.len() == length && rest.is_empty() {
        Ok(certificates)
    } else {
        Err(Problem::CertificateAmount)
    }
}
