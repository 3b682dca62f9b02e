//! What was worth an alert lately.

use std::{
    collections::VecDeque,
    fmt::{self, Write as _},
    sync::{Arc, Mutex, PoisonError},
};

use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{Layer, layer::Context};

use super::{SUMMARY, rate::without_numbers};
use crate::{clock::Clock, observe::status::Trouble};

/// Troubles remembered; of more, the oldest go.
const TROUBLES: usize = 20;
/// Characters of one trouble remembered.
const TROUBLE: usize = 600;

/// What was worth an alert lately, bounded in number and length. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Troubles(Arc<Mutex<VecDeque<Trouble>>>);

impl Troubles {
    /// Oldest first.
    #[must_use]
    pub fn recent(&self) -> Vec<Trouble> {
        let troubles = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        troubles.iter().cloned().collect()
    }

    /// One that happened before, whatever the numbers in it, takes the place of that and counts.
    fn add(&self, mut trouble: Trouble) {
        let mut troubles = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let text = without_numbers(&trouble.words);
        let before = troubles
            .iter()
            .position(|known| without_numbers(&known.words) == text);
        if let Some(before) = before.and_then(|at| troubles.remove(at)) {
            trouble.times = before.times.saturating_add(1);
        }
        if troubles.len() == TROUBLES {
            troubles.pop_front();
        }
        troubles.push_back(trouble);
    }
}

/// Keeps our own warnings and errors; those of libraries are no words for operators.
pub(super) struct Remember {
    troubles: Troubles,
    clock: Clock,
}

impl Remember {
    pub(super) const fn new(troubles: Troubles, clock: Clock) -> Self {
        Self { troubles, clock }
    }
}

impl<S: Subscriber> Layer<S> for Remember {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let ours = metadata.target().starts_with("starling") && metadata.target() != SUMMARY;
        if *metadata.level() > Level::WARN || !ours {
            return;
        }
        self.troubles.add(Trouble {
            time: self.clock.unix().secs(),
            words: Words::of(event),
            times: 1,
        });
    }
}

/// An event as one line: the message, then the fields.
#[derive(Default)]
pub(super) struct Words {
    message: String,
    fields: String,
}

impl Words {
    pub(super) fn of(event: &Event<'_>) -> String {
        let mut words = Self::default();
        event.record(&mut words);
        words.text()
    }

    fn text(self) -> String {
        let fields = self.fields.trim_end_matches([',', ' ']);
        let text = if fields.is_empty() {
            self.message
        } else {
            format!("{} ({fields})", self.message)
        };
        text.chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .take(TROUBLE)
            .collect()
    }
}

impl Visit for Words {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string does not fail.
        let _ = if field.name() == "message" {
            write!(self.message, "{value:?}")
        } else {
            write!(self.fields, "{}: {value:?}, ", field.name())
        };
    }
}
