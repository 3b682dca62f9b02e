//! What the lab has seen so far: lines for a person as it happens, and whether everything did that should.

use serde_json::Value;

use super::{kind_and_target, table::Table};
use crate::{
    agent,
    controller::{
        Event,
        messages::{Posted, Source},
    },
    dialect::Dialect,
    result::Received,
    session::SessionEvent,
};

/// The steps that a healthy probe takes, in order, and the results that were accepted.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    registered: bool,
    session_opened: bool,
    kept: bool,
    commanded: bool,
    uploaded: bool,
    accepted: usize,
    table: Table,
}

impl Verdict {
    /// Of results in this dialect.
    pub(super) fn new(dialect: Dialect) -> Self {
        Self {
            table: Table::new(dialect),
            ..Self::default()
        }
    }

    /// A command is scheduled: results of it must be accepted.
    pub(super) fn schedule(&mut self, command: &str) {
        let id = command
            .split_whitespace()
            .skip_while(|word| *word != "-A")
            .nth(1)
            .and_then(|id| id.parse().ok());
        if let (Some(id), Some((kind, target))) = (id, kind_and_target(command)) {
            self.table.schedule(id, kind, target);
        }
    }

    /// Takes in what the controller saw; a line about it if a person would care.
    pub(super) fn controller(&mut self, event: &Event) -> Option<String> {
        match event {
            Event::Refused { fingerprint } => {
                Some(format!("controller: refused key {fingerprint}"))
            }
            Event::Registered {
                probe,
                block,
                assigned,
                answer,
                ..
            } => {
                self.registered |= assigned;
                let reason = match block {
                    Ok(block) => block.reason.to_string(),
                    Err(error) => error.to_string(),
                };
                Some(format!(
                    "controller: probe {probe} registers ({reason}), answered {answer}"
                ))
            }
            Event::SessionOpened {
                probe,
                port,
                answer,
            } => {
                self.session_opened |= port.is_some();
                Some(format!(
                    "controller: probe {probe} asked for a session, answered {answer}"
                ))
            }
            Event::Kept { probe, port } => {
                self.kept = true;
                Some(format!(
                    "controller: session of probe {probe} stands, reverse port {port}"
                ))
            }
            Event::Commanded {
                probe,
                lines,
                outcome,
            } => {
                self.commanded |= outcome.is_clean();
                Some(format!(
                    "controller: {} command lines to probe {probe}, {outcome}",
                    lines.len(),
                ))
            }
            Event::Posted(posted) => self.posted(posted),
            Event::Left { probe } => Some(format!("controller: session of probe {probe} is over")),
        }
    }

    fn posted(&mut self, posted: &Posted) -> Option<String> {
        let mut results = 0;
        for accepted in &posted.accepted {
            let Ok(received) = Received::parse(&accepted.line) else {
                continue;
            };
            let json = accepted
                .line
                .strip_prefix("RESULT ")
                .and_then(|json| serde_json::from_str::<Value>(json).ok());
            if let (Some(id), Some(json)) = (accepted.id, json)
                && self.table.accept(id, &json, received.has_measurement())
            {
                results += 1;
            }
        }
        self.accepted += results;
        self.uploaded |= results > 0 && posted.status == 200;
        if let Some(refused) = &posted.refused {
            return Some(format!(
                "controller: post answered {}: {refused}",
                posted.status
            ));
        }
        match posted.source {
            Source::TimeSync => None,
            _ => Some(format!(
                "controller: accepted {} lines, {results} of them results{}",
                posted.accepted.len(),
                if posted.duplicates > 0 {
                    format!(", {} seen before", posted.duplicates)
                } else {
                    String::new()
                }
            )),
        }
    }

    /// Takes in what the agent saw; a line about it if a person would care.
    pub(super) fn agent(&mut self, event: &agent::Event) -> Option<String> {
        match event {
            agent::Event::Key { line, made } => Some(format!(
                "probe: {} key {line}",
                if *made { "made its" } else { "goes by its" }
            )),
            agent::Event::Session(SessionEvent::Marker(_)) => None,
            agent::Event::Session(event) => Some(format!("probe: {event}")),
        }
    }

    /// What did not happen that should have, in words.
    pub(super) fn missing(&self) -> Vec<String> {
        let steps = [
            (
                self.registered,
                "the probe was never registered and assigned a controller",
            ),
            (self.session_opened, "the controller never opened a session"),
            (self.kept, "no session was ever kept"),
            (self.commanded, "no commands were ever accepted"),
            (self.uploaded, "no upload with results was ever accepted"),
        ];
        let steps = steps
            .into_iter()
            .filter(|(done, _)| !done)
            .map(|(_, words)| words.to_owned());
        let results = self.table.missing().map(|(id, row)| {
            format!(
                "no result of measurement {id} ({} {}) that measured something was accepted; latest: {}",
                row.kind, row.target, row.latest
            )
        });
        steps.chain(results).collect()
    }

    /// The closing line of a run that showed everything.
    pub(super) fn success(&self) -> String {
        format!(
            "every one of {} measurements had results accepted, {} in all",
            self.table.len(),
            self.accepted
        )
    }

    /// The table of latest results.
    pub(super) fn table(&self) -> String {
        self.table.render()
    }
}
