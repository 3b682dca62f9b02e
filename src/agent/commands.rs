//! What the controller's commands change: tables, one-offs, and the lines that tell of what is refused.

use super::{
    Agent,
    storage::Message,
    tables::{self, MAIN, MEASUREMENTS, OneOffTask, Refused},
};
use crate::{
    report::lines::{NotRun, Runner},
    schedule,
    session::{discreet, interpreter::Change},
    upload::Queue,
};

impl Agent {
    pub(super) async fn change(&mut self, change: Change) {
        match change {
            Change::Table { name, lines } => {
                self.replace_table(name, lines).await;
            }
            Change::Add { line } => {
                let lines = self.tables.get(MEASUREMENTS).map_or(&[][..], Vec::as_slice);
                match tables::with_line(lines, line) {
                    Some(lines) => self.replace_table(MEASUREMENTS.to_owned(), lines).await,
                    None => tracing::warn!(
                        "the controller adds more lines to the table than a probe takes one by one: they are left out"
                    ),
                }
            }
            Change::OneOff { command } => match tables::read_one_off(&command, &self.rules) {
                Ok(OneOffTask::Run(job)) => self.decide(schedule::Input::Add(job)),
                Ok(OneOffTask::Post) => self.tell(Message::PostOneOffs).await,
                Ok(OneOffTask::Nothing) => {}
                Err(refused) => self.refuse_one_off(refused).await,
            },
            Change::Json { words } => {
                match tables::one_off_job(&words, &words.join(" "), &self.rules) {
                    Ok(job) => self.decide(schedule::Input::Add(job)),
                    Err(refused) => self.refuse_one_off(refused).await,
                }
            }
        }
    }

    pub(super) async fn replace_table(&mut self, name: String, lines: Vec<String>) {
        if let Err(error) = self.memory.keep_table(&name, &lines) {
            tracing::warn!(table = name, %error, "the table works but will be lost in a restart");
        }
        // Others than these two are kept on disk only: nothing reads them.
        if name != MAIN && name != MEASUREMENTS {
            return;
        }
        self.tables.insert(name.clone(), lines);
        for refused in self.apply(&name) {
            tracing::info!(
                command = discreet(&refused.command),
                why = refused.why,
                "command refused"
            );
            let line = self.report(Runner::Periodic, &refused);
            self.keep(Queue::Periodic, line).await;
        }
        let duties = tables::duties(&self.tables);
        self.tell(Message::Duties(duties)).await;
    }

    /// Puts a table into force; returns the commands that it cannot run.
    pub(super) fn apply(&mut self, name: &str) -> Vec<Refused> {
        if name != MEASUREMENTS {
            return Vec::new();
        }
        let lines = self.tables.get(name).map_or(&[][..], Vec::as_slice);
        let table = tables::read_measurements(lines, &self.rules);
        for skipped in &table.skipped {
            tracing::info!(line = discreet(&skipped.text), why = %skipped.error, "line skipped");
        }
        self.one_shots = tables::one_shots(&table.jobs).collect();
        // What is no longer in the table need not be remembered.
        self.ran = &self.ran & &self.one_shots;
        self.remember_ran();
        self.decide(schedule::Input::Replace {
            table: MEASUREMENTS.to_owned(),
            jobs: table.jobs,
        });
        table.refused
    }

    pub(super) async fn refuse_one_off(&mut self, refused: Refused) {
        tracing::info!(
            command = discreet(&refused.command),
            why = refused.why,
            "one-off refused"
        );
        let line = self.report(Runner::OneOff, &refused);
        self.keep(Queue::OneOff, line).await;
    }

    /// The line that tells the controller of a refused command.
    pub(super) fn report(&self, runner: Runner, refused: &Refused) -> String {
        let reason = refused.reason.map(|reason| reason.to_string());
        let why = reason.as_deref().map_or(NotRun::Options, NotRun::Line);
        self.status.not_run(runner, why, &refused.command)
    }
}
