//! `evtraceroute`: the routers on the way, by ICMP, UDP or TCP probes (`packet-measurements` section 3).
//!
//! `options` reads the command, `machine` is one run; beside it `probe` builds packets, `reply` recognises what
//! answers them, `route` keeps hops, pacing and the end of the run. `body` is the finished result.

mod body;
mod machine;
mod options;
mod probe;
mod reply;
mod route;
#[cfg(test)]
mod tests;

pub use body::{
    Answer, Body, Code, Detail, HeaderOption, Hop, HopOutcome, IcmpError, Item, Outcome, Seen,
    Segment, Source,
};
pub use machine::{Carry, Traceroute};
pub use options::{Options, Paris, Protocol};
