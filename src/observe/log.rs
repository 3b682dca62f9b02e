//! The log: to standard error, quiet by default, no escape codes where nobody would see colours.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

use crate::config::{LogFormat, LogLevel};

/// Starts logging for the process. A second call changes nothing.
///
/// `filter` is a [`tracing_subscriber::EnvFilter`] text and goes before `level`; one that cannot be read is
/// said and ignored, for a probe with a misspelt filter must still measure.
pub fn start(level: LogLevel, format: LogFormat, filter: Option<&str>) {
    // The SSH library tells of each packet at DEBUG; that is a trace to us.
    let quiet = format!(
        "{},russh={}",
        level.name(),
        if level == LogLevel::Trace {
            "debug"
        } else {
            "error"
        }
    );
    let (chosen, complaint) = match filter.map(EnvFilter::try_new) {
        Some(Ok(filter)) => (filter, None),
        Some(Err(error)) => (EnvFilter::new(&quiet), Some(error)),
        None => (EnvFilter::new(&quiet), None),
    };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(chosen)
        .with_target(level >= LogLevel::Debug)
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr);
    let started = match format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    if let (Ok(()), Some(error)) = (started, complaint) {
        tracing::warn!(%error, "the log filter cannot be read and is ignored");
    }
}
