//! `evsslgetcert`: the certificates that a server shows (`http-tls-measurements` sections 1, 3 and 4). Nothing is
//! verified, and nothing is sent to the server once it has shown them.
//!
//! The official probe sends one hello that it builds by hand and reads the answer in plaintext. It can never see
//! the certificates of a server that speaks only TLS 1.3, whose answer is encrypted. So there are two hellos:
//!
//! - the *modern* one, of a TLS library, which offers TLS 1.3 and 1.2. It goes first. The server's octets are
//!   read twice: by the official probe's rules ([`wire::tls::Flight`](crate::wire::tls::Flight)), and by the library.
//!   If the server chooses TLS 1.2 or older, the library's opinion does not matter: what is reported comes from the
//!   plaintext, the same fields at the same moments as the official probe, also where the library would have given
//!   up (old versions, odd certificates). If it chooses TLS 1.3, the library decrypts up to the certificates.
//! - the *reference* one, the official probe's, on a connection of its own. It goes out if the modern one did not come
//!   to a `ServerHello` (an alert, a close, nonsense), and alone if the command names a version (`-V`), if its
//!   server name is one that only the reference hello can carry, or if the run is a recording or is recorded.
//!
//! Times stay those of one connection. `ttc` and `rt` count from the beginning of the connection whose answer is
//! reported; what a first attempt took is in neither. `rt` ends with the kernel's time of the octets that completed the
//! certificates; with TLS 1.3 those that completed the server's proof of owning them, which follows in the same
//! flight and without which the library tells nothing. `ttc` is the kernel's measure of the TCP handshake unless a SYN
//! was repeated.
//!
//! The modern hello first, not second, because that is what a client of today would see; a server of both versions
//! would otherwise be reported as TLS 1.2 for ever. Its TLS 1.2 suites stand in the reference hello's order, so that a
//! server that follows its client chooses the same.

mod attempt;
mod body;
mod machine;
mod options;

#[cfg(test)]
mod tests;

pub use body::{Answer, Body, Finding, Missing, Protocol, Seen, Shown};
pub use machine::Tls;
pub use options::Options;
