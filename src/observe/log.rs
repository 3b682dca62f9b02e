//! The log: to standard error, quiet by default, no escape codes where nobody would see colours. What is worth an
//! alert is remembered too, for the status document.

use std::{
    collections::VecDeque,
    fmt::{self, Write as _},
    io::{self, IsTerminal},
    sync::{Arc, Mutex, PoisonError},
};

use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
};
use tracing_subscriber::{
    Layer, Registry, filter::Targets, layer::Context, layer::SubscriberExt as _, reload,
    util::SubscriberInitExt as _,
};

use super::status::Trouble;
use crate::{
    clock::Clock,
    config::{LogFormat, LogLevel},
};

/// Troubles remembered; of more, the oldest go.
const TROUBLES: usize = 20;
/// Characters of one trouble remembered.
const TROUBLE: usize = 300;

/// A log that was started.
#[derive(Clone, Debug)]
pub struct Log {
    troubles: Troubles,
    filter: reload::Handle<Targets, Registry>,
    is_chosen: bool,
}

impl Log {
    /// Logs as much as this from now on. An explicit filter stays in force.
    pub fn set_level(&self, level: LogLevel) {
        if !self.is_chosen {
            // Only a log that never was the process's own has no filter any more.
            let _ = self.filter.reload(quiet(level));
        }
    }

    /// What was worth an alert lately.
    #[must_use]
    pub fn troubles(&self) -> Troubles {
        self.troubles.clone()
    }
}

/// Starts logging for the process. A second call changes nothing.
///
/// `filter` is a text for [`Targets`], `info,starling::session=debug`, and goes before `level`; one that cannot be read
/// is said and ignored, for a probe with a misspelt filter must still measure.
pub fn start(level: LogLevel, format: LogFormat, filter: Option<&str>) -> Log {
    let (chosen, complaint) = match filter.map(str::parse::<Targets>) {
        Some(Ok(filter)) => (Some(filter), None),
        Some(Err(error)) => (None, Some(error)),
        None => (None, None),
    };
    let is_chosen = chosen.is_some();
    let (filter, handle) = reload::Layer::new(chosen.unwrap_or_else(|| quiet(level)));
    let troubles = Troubles::default();
    let lines = tracing_subscriber::fmt::layer()
        .with_target(level >= LogLevel::Debug)
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr);
    let lines = match format {
        LogFormat::Text => lines.with_filter(filter).boxed(),
        LogFormat::Json => lines.json().with_filter(filter).boxed(),
    };
    let remember = Remember {
        troubles: troubles.clone(),
        clock: Clock::start(),
    };
    let started = tracing_subscriber::registry()
        .with(lines)
        .with(remember.with_filter(LevelFilter::WARN))
        .try_init();
    if let (Ok(()), Some(error)) = (started, complaint) {
        tracing::warn!(%error, "the log filter cannot be read and is ignored");
    }
    Log {
        troubles,
        filter: handle,
        is_chosen,
    }
}

/// The SSH library tells of each packet at DEBUG; that is a trace to us.
fn quiet(level: LogLevel) -> Targets {
    let russh = if level == LogLevel::Trace {
        Level::DEBUG
    } else {
        Level::ERROR
    };
    let ours = match level {
        LogLevel::Error => Level::ERROR,
        LogLevel::Warn => Level::WARN,
        LogLevel::Info => Level::INFO,
        LogLevel::Debug => Level::DEBUG,
        LogLevel::Trace => Level::TRACE,
    };
    Targets::new()
        .with_default(ours)
        .with_target("russh", russh)
}

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

    fn add(&self, trouble: Trouble) {
        let mut troubles = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if troubles.len() == TROUBLES {
            troubles.pop_front();
        }
        troubles.push_back(trouble);
    }
}

/// Keeps our own warnings and errors; those of libraries are no words for operators.
struct Remember {
    troubles: Troubles,
    clock: Clock,
}

impl<S: Subscriber> Layer<S> for Remember {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        if *metadata.level() > Level::WARN || !metadata.target().starts_with("starling") {
            return;
        }
        let mut words = Words::default();
        event.record(&mut words);
        self.troubles.add(Trouble {
            time: self.clock.unix().secs(),
            words: words.text(),
        });
    }
}

/// An event as one line: the message, then the fields.
#[derive(Default)]
struct Words {
    message: String,
    fields: String,
}

impl Words {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn remembering(log: impl FnOnce()) -> Vec<Trouble> {
        let troubles = Troubles::default();
        let remember = Remember {
            troubles: troubles.clone(),
            clock: Clock::start(),
        };
        tracing::subscriber::with_default(tracing_subscriber::registry().with(remember), log);
        troubles.recent()
    }

    #[test]
    fn warnings_of_ours_are_remembered_in_words() {
        let troubles = remembering(|| {
            tracing::warn!(table = "7", "the table will be lost\nin a restart");
            tracing::info!("stopping");
            tracing::warn!(target: "russh::client", "a library's");
        });
        let words: Vec<&str> = troubles.iter().map(|one| one.words.as_str()).collect();
        assert_eq!(
            words,
            ["the table will be lost in a restart (table: \"7\")"]
        );
    }

    #[test]
    fn memory_is_bounded_in_number_and_length() {
        let troubles = remembering(|| {
            for number in 0..1000 {
                tracing::warn!("{number} {}", "x".repeat(10_000));
            }
        });
        assert_eq!(troubles.len(), TROUBLES);
        assert!(troubles[0].words.starts_with("980 "), "the oldest go first");
        assert!(
            troubles
                .iter()
                .all(|one| one.words.chars().count() <= TROUBLE)
        );
    }
}
