//! The log: to standard error, quiet by default, no escape codes where nobody would see colours, and never a flood. What
//! is worth an alert is remembered too, for the status document.

mod form;
mod rate;
mod troubles;

pub use troubles::Troubles;

use std::{
    fmt,
    io::{self, IsTerminal},
    os::fd::AsFd,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use nix::sys::stat::fstat;
use tokio::{sync::Notify, time::sleep_until};
use tracing::{Event, Level, Metadata, Subscriber, callsite, level_filters::LevelFilter};
use tracing_subscriber::{
    Layer, Registry,
    filter::{FilterExt as _, Targets},
    layer::{Context, Filter, SubscriberExt as _},
    reload,
    util::SubscriberInitExt as _,
};

use crate::{
    clock::Clock,
    config::{LogFormat, LogLevel},
};
use form::{Fields, Lines, PLAIN};
use rate::Rate;
use troubles::{Remember, Words};

/// A log that was started.
#[derive(Clone, Debug)]
pub struct Log {
    troubles: Troubles,
    filter: reload::Handle<Targets, Registry>,
    is_chosen: bool,
    limit: Limit,
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

    /// Bounds what repeats, and sums up what was not said: as long as this runs. Nothing but debugging is exempt.
    pub async fn bound(self) {
        let limit = self.limit;
        *limit.rate() = Some(Rate::new());
        loop {
            let deadline = limit.rate().as_ref().and_then(Rate::deadline);
            let Some(deadline) = deadline else {
                limit.0.wake.notified().await;
                continue;
            };
            sleep_until(limit.0.clock.instant(deadline).into()).await;
            let now = limit.0.clock.tick();
            let summaries = limit.rate().as_mut().map(|rate| rate.sum_up(now));
            for rate::Summary {
                level,
                count,
                example,
            } in summaries.unwrap_or_default()
            {
                match level {
                    Level::ERROR => {
                        tracing::error!(target: SUMMARY, "… {count} more like this in the last minute: {example}");
                    }
                    Level::WARN => {
                        tracing::warn!(target: SUMMARY, "… {count} more like this in the last minute: {example}");
                    }
                    _ => {
                        tracing::info!(target: SUMMARY, "… {count} more like this in the last minute: {example}");
                    }
                }
            }
        }
    }
}

/// Says this to people word for word, whatever the level: what they are to copy.
pub fn plainly(words: &str) {
    tracing::info!(target: PLAIN, "{words}");
}

/// Under which summaries are said: never summed up themselves.
const SUMMARY: &str = "starling::log";

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
    let chosen = chosen.map(|filter| filter.with_target(PLAIN, Level::INFO));
    let (filter, handle) = reload::Layer::new(chosen.unwrap_or_else(|| quiet(level)));
    let clock = Clock::start();
    let troubles = Troubles::default();
    let limit = Limit(Arc::new(Limited {
        clock,
        rate: Mutex::default(),
        wake: Notify::new(),
    }));
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(wants_colour())
        .with_writer(io::stderr);
    let filter = filter.and(limit.clone());
    let lines = match format {
        LogFormat::Text => lines
            .fmt_fields(Fields)
            .event_format(Lines {
                journal: is_journal(),
                targets: level >= LogLevel::Debug,
            })
            .with_filter(filter)
            .boxed(),
        LogFormat::Json => lines
            .json()
            .with_target(level >= LogLevel::Debug)
            .with_filter(filter)
            .boxed(),
    };
    let remember = Remember::new(troubles.clone(), clock);
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
        limit,
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
        .with_target(PLAIN, Level::INFO)
}

/// A terminal shows colours, unless its user does not want any (no-color.org) or it cannot.
fn wants_colour() -> bool {
    let says = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    io::stderr().is_terminal()
        && says("NO_COLOR").is_none()
        && says("TERM").is_none_or(|term| term != "dumb")
}

/// Whether the journal reads our standard error: it is the stream that `$JOURNAL_STREAM` names.
fn is_journal() -> bool {
    let named = std::env::var("JOURNAL_STREAM").unwrap_or_default();
    fstat(io::stderr().as_fd())
        .is_ok_and(|stat| named == format!("{}:{}", stat.st_dev, stat.st_ino))
}

/// The filter that keeps floods out.
#[derive(Clone, Debug)]
struct Limit(Arc<Limited>);

#[derive(Debug)]
struct Limited {
    clock: Clock,
    /// None while nobody would sum up.
    rate: Mutex<Option<Rate<callsite::Identifier, Level>>>,
    wake: Notify,
}

impl Limit {
    fn rate(&self) -> MutexGuard<'_, Option<Rate<callsite::Identifier, Level>>> {
        self.0.rate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Subscriber> Filter<S> for Limit {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        let metadata = event.metadata();
        let level = *metadata.level();
        // Who debugs wants everything.
        if level > Level::INFO || [SUMMARY, PLAIN].contains(&metadata.target()) {
            return true;
        }
        let mut rate = self.rate();
        let Some(rate) = rate.as_mut() else {
            return true;
        };
        let text = Words::of(event);
        let now = self.0.clock.tick();
        let said = rate.admits(now, &metadata.callsite(), level, &text);
        if !said {
            self.0.wake.notify_one();
        }
        said
    }
}

impl fmt::Debug for Remember {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Remember")
    }
}

#[cfg(test)]
mod tests;
