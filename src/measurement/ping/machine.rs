//! One run of `evping`.
use crate::{
    clock::{Now, Tick},
    measurement::{Input, Machine, Output, Run, ping::Options},
};

/// What the next run starts from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Carry {}

/// One run of one ping.
#[derive(Debug)]
pub struct Ping {}

impl Ping {
    /// A run of `options`.
    #[must_use]
    pub fn new(_options: Options, _run: Run, _carry: Option<Carry>) -> Self {
        Self {}
    }
}

impl Machine for Ping {
    fn handle(&mut self, _now: &mut Now, _input: Input) -> Vec<Output> {
        Vec::new()
    }
    fn deadline(&self) -> Option<Tick> {
        None
    }
}
