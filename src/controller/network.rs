//! The machine that decides for registration server and controller alike.

use super::{
    config::Config,
    messages::{Input, Output},
    registry::Known,
};
use crate::clock::{Now, Tick};

/// A private network: who may take part, what they measure, what becomes of their results.
#[derive(Debug)]
pub struct Network {
    _config: Config,
}

impl Network {
    /// A network that knows these probes from before.
    #[must_use]
    pub fn new(config: Config, _seed: [u8; 32], _known: Vec<Known>) -> Self {
        Self { _config: config }
    }

    /// Takes what just happened and says what to do about it.
    pub fn handle(&mut self, _now: &Now, _input: Input) -> Vec<Output> {
        Vec::new()
    }

    /// When to be called next if nothing happens first.
    #[must_use]
    pub fn deadline(&self) -> Option<Tick> {
        None
    }
}
