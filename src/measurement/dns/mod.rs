//! `evtdig`: one DNS question to a server, or to each server of the resolver file (`dns-measurement`).
//!
//! A run is a series of attempts: `machine` resolves the server, repeats and goes through the resolvers; `udp` and
//! `stream` hold one attempt each, `doh` what HTTP/2 adds to a stream. `query` builds what is asked, `body` and
//! `lines` write what came of it.

mod body;
mod doh;
mod lines;
mod machine;
mod options;
mod query;
mod statistics;
mod stream;
mod udp;
mod words;

#[cfg(test)]
mod tests;

pub use body::{Body, Destination, Entry, Error, Protocol, Reply, Seen};
pub use machine::{Carry, Dns};
pub use options::{Edns, Options, RandomWord, Transport};
pub use statistics::Counts;
