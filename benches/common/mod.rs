//! What the benchmarks share.

#![allow(dead_code, reason = "each benchmark uses a part of it")]

pub(crate) mod capture;
pub(crate) mod cpu;
pub(crate) mod figures;
pub(crate) mod flow;
pub(crate) mod inside;
pub(crate) mod load;
#[path = "../../tests/support/netns.rs"]
pub(crate) mod netns;
pub(crate) mod runs;
pub(crate) mod set;
