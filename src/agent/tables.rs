//! What the controller's tables ask for: crontab text to jobs, uploads and marker lines. Pure.
//!
//! Two tables are read: `main` (uploads and the marker of the main file) and `7` (measurements and the marker
//! of the result file). Others are kept without effect, as nothing reads them on the official probe either
//! (`controller-protocol` sections 4.6, 5.4, 5.5).

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use crate::{
    config::DATA_DIR,
    dialect::Dialect,
    measurement::{Rules, Spec, SpecError},
    protocol::{
        crontab::{CronLine, Crontab, Distribution, Skipped},
        utility::{OneOff, Task, TaskError},
        words::WordsError,
    },
    schedule::{Job, OneShot, When},
    upload::Duty,
};

/// The table that holds uploads.
pub(super) const MAIN: &str = "main";
/// The table that holds measurements.
pub(super) const MEASUREMENTS: &str = "7";
/// The name under which one-offs are scheduled.
pub(super) const ONE_OFFS: &str = "oneoff";

/// What `7` asks for.
#[derive(Clone, Debug, Default)]
pub(super) struct MeasurementTable {
    /// Measurements.
    pub(super) jobs: Vec<Job>,
    /// Lines that are no crontab lines, and why.
    pub(super) skipped: Vec<Skipped>,
    /// Commands that are refused: each is reported by a 9807 line.
    pub(super) refused: Vec<Refused>,
}

/// A command that is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    /// As sent.
    pub(super) command: String,
    /// The scheduler's own reason, for the report line; none where the tool refuses its options.
    pub(super) reason: Option<WordsError>,
    /// In words, for the log.
    pub(super) why: String,
}

/// Lines that a table may have for another one to be added by itself: each time all of them are read and kept anew.
const MOST_ADDED: usize = 2000;

/// A table with one more line; `None` if it has too many to be added to line by line.
pub(super) fn with_line(lines: &[String], line: String) -> Option<Vec<String>> {
    (lines.len() < MOST_ADDED).then(|| lines.iter().cloned().chain([line]).collect())
}

/// Why a probe of this dialect would not run a command of the measurement table, if it would not.
#[must_use]
pub fn refusal(command: &str, dialect: Dialect) -> Option<String> {
    let rules = Rules {
        dialect,
        spool: PathBuf::from(DATA_DIR),
        unsafe_paths: false,
    };
    match Task::of_measurement_table(command) {
        Ok(Task::Measure(words)) => Some(Spec::parse(&words, &rules).err()?.to_string()),
        Ok(Task::CondMv(_) | Task::HttpPost(_) | Task::Ignored(_)) => None,
        Err(error) => Some(error.to_string()),
    }
}

/// Reads the lines of `7`.
pub(super) fn read_measurements(lines: &[String], rules: &Rules) -> MeasurementTable {
    let crontab = Crontab::parse(lines);
    let mut table = MeasurementTable {
        skipped: crontab.skipped,
        ..MeasurementTable::default()
    };
    for line in crontab.lines {
        match Task::of_measurement_table(&line.command) {
            Ok(Task::Measure(words)) => match Spec::parse(&words, rules) {
                Ok(spec) => table.jobs.push(job(&line, spec)),
                Err(error) => table.refused.push(Refused::options(&line.command, &error)),
            },
            Ok(Task::CondMv(_) | Task::HttpPost(_) | Task::Ignored(_)) => {}
            Err(TaskError::Words(reason)) => {
                table.refused.push(Refused::words(&line.command, reason));
            }
            Err(TaskError::Options(why)) => table.refused.push(Refused {
                command: line.command,
                reason: None,
                why: why.to_string(),
            }),
        }
    }
    table
}

fn job(line: &CronLine, spec: Spec) -> Job {
    let when = if line.interval == 0 {
        When::Once {
            start: line.start,
            end: line.end,
        }
    } else {
        When::Periodic {
            interval: line.interval,
            start: line.start,
            end: line.end,
            spread: match line.distribution {
                Distribution::Uniform(spread) => Some(spread),
                Distribution::None => None,
            },
        }
    };
    Job {
        table: MEASUREMENTS.to_owned(),
        text: line.command.clone(),
        spec: Arc::new(spec),
        when,
    }
}

/// What a one-off command asks for.
#[derive(Clone, Debug)]
pub(super) enum OneOffTask {
    /// Run this, now.
    Run(Job),
    /// Post finished one-offs now.
    Post,
    /// Nothing that concerns us: the resolver file is read afresh anyway, and no daemon waits at a barrier.
    Nothing,
}

/// Reads a one-off command.
///
/// # Errors
/// What is to be reported by a 9809 line.
pub(super) fn read_one_off(command: &str, rules: &Rules) -> Result<OneOffTask, Refused> {
    let words = match OneOff::parse(command).map_err(|reason| Refused::words(command, reason))? {
        OneOff::Measure(words) => words,
        OneOff::Post => return Ok(OneOffTask::Post),
        OneOff::Barrier(_) | OneOff::ReloadResolvConf => return Ok(OneOffTask::Nothing),
    };
    one_off_job(&words, command, rules).map(OneOffTask::Run)
}

/// A job that runs once, now, from words that are split already.
///
/// # Errors
/// What is to be reported by a 9809 line.
pub(super) fn one_off_job(words: &[String], text: &str, rules: &Rules) -> Result<Job, Refused> {
    let spec = Spec::parse(words, rules).map_err(|error| Refused::options(text, &error))?;
    Ok(Job {
        table: ONE_OFFS.to_owned(),
        text: text.to_owned(),
        spec: Arc::new(spec),
        when: When::Once {
            start: 0,
            end: None,
        },
    })
}

impl Refused {
    fn words(command: &str, reason: WordsError) -> Self {
        Self {
            command: command.to_owned(),
            reason: Some(reason),
            why: reason.to_string(),
        }
    }

    fn options(command: &str, error: &SpecError) -> Self {
        Self {
            command: command.to_owned(),
            reason: None,
            why: error.to_string(),
        }
    }
}

/// What both tables ask for besides measuring.
pub(super) fn duties(tables: &BTreeMap<String, Vec<String>>) -> Vec<Duty> {
    let lines = |name: &str| Crontab::parse(tables.get(name).map_or(&[][..], Vec::as_slice)).lines;
    let main = lines(MAIN);
    let measurements = lines(MEASUREMENTS);
    main.iter()
        .filter_map(Duty::of_main)
        .chain(measurements.iter().filter_map(Duty::of_measurement_table))
        .collect()
}

/// The one-shots of a table.
pub(super) fn one_shots(jobs: &[Job]) -> impl Iterator<Item = OneShot> + '_ {
    jobs.iter().filter_map(|job| match job.when {
        When::Once { start, .. } => Some(OneShot {
            table: job.table.clone(),
            start,
            text: job.text.clone(),
        }),
        When::Periodic { .. } => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_added_one_by_one_are_bounded() {
        let mut lines = Vec::new();
        while let Some(longer) = with_line(&lines, "x".to_owned()) {
            lines = longer;
            assert!(lines.len() <= MOST_ADDED);
        }
        assert_eq!(lines.len(), MOST_ADDED);
    }
}
