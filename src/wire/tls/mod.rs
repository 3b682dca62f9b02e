//! TLS up to the server's certificates, in plaintext: RFC 5246, and of RFC 8446 what can be seen without keys.
//!
//! Not a TLS client. [`ClientHello`] builds the one hello of `http-tls-measurements` section 3.2, [`Flight`] reads what
//! a server says to that or to any other hello (section 3.3): alerts, the `ServerHello`, the `Certificate` message.

mod flight;
mod hello;

#[cfg(test)]
mod tests;

pub use flight::{Alert, Flight, Found, MAX_CERTIFICATES, MAX_FLIGHT, Problem, ServerHello};
pub use hello::{ClientHello, MAX_SERVER_NAME};

/// Types of records (RFC 8446 section 5.1).
mod content {
    pub(super) const CHANGE_CIPHER_SPEC: u8 = 20;
    pub(super) const ALERT: u8 = 21;
    pub(super) const HANDSHAKE: u8 = 22;
}

/// Types of handshake messages (RFC 8446 section 4).
mod message {
    pub(super) const CLIENT_HELLO: u8 = 1;
    pub(super) const SERVER_HELLO: u8 = 2;
    pub(super) const CERTIFICATE: u8 = 11;
}

/// A protocol version as its two octets: `[3, 3]` is TLS 1.2.
pub type Version = [u8; 2];

/// SSL 3.0.
pub const SSL_3_0: Version = [3, 0];
/// TLS 1.0.
pub const TLS_1_0: Version = [3, 1];
/// TLS 1.1.
pub const TLS_1_1: Version = [3, 2];
/// TLS 1.2.
pub const TLS_1_2: Version = [3, 3];
/// TLS 1.3, which no record header has.
pub const TLS_1_3: Version = [3, 4];
