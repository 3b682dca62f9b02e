//! `evping`: ICMP echo (`packet-measurements` section 2).
//!
//! `options` reads the command, `machine` decides, `packet` knows the echo messages, `tally` collects what came
//! and turns it into a `body`.

mod body;
mod machine;
mod options;
pub(crate) mod packet;
mod tally;
#[cfg(test)]
mod tests;

pub use body::{Body, Item, Reply, Seen, Source};
pub use machine::{Carry, MAX_REQUESTS, Ping};
pub use options::Options;
pub use tally::MAX_DUPLICATES;
