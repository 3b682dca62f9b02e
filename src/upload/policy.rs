//! The [`Uploader`]: when to post, what, and what an answer means.

use std::time::Duration;

use super::{Input, Output};
use crate::clock::{Now, Tick};

/// What our own posts look like until a crontab says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// `--upload-interval`.
    pub interval: Duration,
    /// Bytes of body at most.
    pub max_post_size: u64,
}

impl Default for Envelope {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(60),
            max_post_size: 1_000_000,
        }
    }
}

/// Decides when results are posted.
#[derive(Debug)]
pub struct Uploader {
    own: Envelope,
}

impl Uploader {
    /// An uploader that posts at `own.interval` until a crontab came. `seed` is where its spread comes from.
    #[must_use]
    pub fn new(own: Envelope, seed: u64) -> Self {
        let _ = seed;
        Self { own }
    }

    /// Takes what happened and says what to do about it.
    pub fn handle(&mut self, now: &Now, input: Input) -> Vec<Output> {
        let _ = (now, input, self.own);
        Vec::new()
    }

    /// When to be called next if nothing happens first.
    #[must_use]
    pub fn deadline(&self) -> Option<Tick> {
        None
    }
}
