//! `evhttpget`: one HTTP request to one address of a server, or to each (`http-tls-measurements` sections 1 and 2).
//!
//! A run resolves the host and goes through its addresses: [`machine`]. What happens with one address, from the
//! connection to the end of the response, stands in [`exchange`]; how responses are read, byte by byte, in
//! [`crate::wire::http`]. [`request`] builds what is sent, [`headers`] keeps what is asked for of the header lines,
//! [`body`] writes what came of it.

mod body;
mod exchange;
mod headers;
mod machine;
mod openssl;
mod options;
mod request;
mod url;

#[cfg(test)]
mod tests;

pub use body::{Body, Complete, Entry, Place, Problem, ReadAt, Response, Seen, Timing};
pub use machine::Http;
pub use options::{Method, Options, Times};
pub use url::Url;
