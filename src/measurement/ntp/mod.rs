//! `evntp`: a server's time and how far away it is (`packet-measurements` section 4).

mod body;
mod machine;
mod options;
#[cfg(test)]
mod tests;

pub use body::{Body, Item, Outcome, Reply, Seen};
pub use machine::{Carry, Ntp};
pub use options::Options;
