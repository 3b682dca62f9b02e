//! `evping`: ICMP echo (`packet-measurements` section 2).
mod body;
mod machine;
mod options;
pub use body::{Body, Seen};
pub use machine::{Carry, Ping};
pub use options::Options;
