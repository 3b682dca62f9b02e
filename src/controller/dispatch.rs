//! The sessions that stand, and what each still has to be told.
//!
//! One dialogue with a probe at a time: a second login would take the first one over. A dialogue that fails is
//! repeated with growing pauses. What it carried may have arrived all the same, so a one-off can be measured twice
//! when a tunnel breaks between its line and the acknowledgement; that is preferred to not at all.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use super::{
    identity::ProbeId,
    messages::{ConnectionId, Output},
    schedule,
    telnet::{End, Outcome},
};
use crate::{clock::Tick, protocol::registration::SessionId};

/// The first pause before a dialogue is repeated; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
/// The longest pause.
const LAST_PAUSE: Duration = Duration::from_secs(300);
/// How many one-offs one request carries, well within what a probe buffers.
const ONE_OFFS_AT_ONCE: usize = 100;

/// The sessions, and the one-offs of everybody.
#[derive(Debug, Default)]
pub(super) struct Dispatch {
    sessions: BTreeMap<ProbeId, Session>,
    one_offs: BTreeMap<ProbeId, VecDeque<String>>,
}

/// One session that stands.
#[derive(Debug)]
struct Session {
    connection: ConnectionId,
    port: u16,
    id: SessionId,
    /// Whether the reverse forward stands: without it nothing can be said.
    reachable: bool,
    /// Whether the table has to be sent.
    table_due: bool,
    /// What the dialogue under way carries.
    talk: Option<Talk>,
    failures: u32,
    retry_at: Option<Tick>,
}

#[derive(Debug)]
struct Talk {
    lines: Arc<Vec<String>>,
    table: bool,
    one_offs: usize,
}

/// What came of a dialogue.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) probe: ProbeId,
    pub(super) lines: Arc<Vec<String>>,
    /// The probe holds another session than we do.
    pub(super) estranged: bool,
}

impl Dispatch {
    /// A session begins. The connection of the one that it replaces, if any, is given back.
    pub(super) fn open(
        &mut self,
        probe: ProbeId,
        connection: ConnectionId,
        port: u16,
        id: SessionId,
        reachable: bool,
    ) -> Option<ConnectionId> {
        let session = Session {
            connection,
            port,
            id,
            reachable,
            table_due: true,
            talk: None,
            failures: 0,
            retry_at: None,
        };
        let old = self.sessions.insert(probe, session)?;
        Some(old.connection)
    }

    /// A connection is over. Gives the probe whose session it was.
    pub(super) fn close(&mut self, connection: ConnectionId) -> Option<ProbeId> {
        let probe = self.probe_on(connection)?;
        self.sessions.remove(&probe);
        Some(probe)
    }

    /// The reverse forward of a session stands now.
    pub(super) fn reach(&mut self, connection: ConnectionId) -> Option<ProbeId> {
        let probe = self.probe_on(connection)?;
        self.sessions.get_mut(&probe)?.reachable = true;
        Some(probe)
    }

    pub(super) fn connection(&self, probe: ProbeId) -> Option<ConnectionId> {
        self.sessions.get(&probe).map(|session| session.connection)
    }

    pub(super) fn probes(&self) -> Vec<ProbeId> {
        self.sessions.keys().copied().collect()
    }

    /// Everybody's table has changed.
    pub(super) fn renew_tables(&mut self) {
        for session in self.sessions.values_mut() {
            session.table_due = true;
        }
    }

    pub(super) fn waiting_one_offs(&self, probe: ProbeId) -> usize {
        self.one_offs.get(&probe).map_or(0, VecDeque::len)
    }

    pub(super) fn add_one_off(&mut self, probe: ProbeId, command: &str) {
        self.one_offs
            .entry(probe)
            .or_default()
            .push_back(schedule::one_off(command));
    }

    /// Starts a dialogue if there is something to say and it can be said. `table` makes the lines of the table.
    pub(super) fn speak(
        &mut self,
        now: Tick,
        probe: ProbeId,
        table: impl FnOnce(&SessionId) -> Vec<String>,
    ) -> Option<Output> {
        let session = self.sessions.get_mut(&probe)?;
        let waiting = self.one_offs.get(&probe);
        let one_offs = waiting.map_or(0, VecDeque::len).min(ONE_OFFS_AT_ONCE);
        let paused = session.retry_at.is_some_and(|at| now < at);
        let nothing = !session.table_due && one_offs == 0;
        if !session.reachable || session.talk.is_some() || paused || nothing {
            return None;
        }
        let mut lines = Vec::new();
        if session.table_due {
            lines = table(&session.id);
        }
        lines.extend(waiting.into_iter().flatten().take(one_offs).cloned());
        let lines = Arc::new(lines);
        session.retry_at = None;
        session.talk = Some(Talk {
            lines: Arc::clone(&lines),
            table: session.table_due,
            one_offs,
        });
        // A change of the table during the dialogue makes it due again.
        session.table_due = false;
        Some(Output::Command {
            connection: session.connection,
            port: session.port,
            session: session.id.clone(),
            lines,
        })
    }

    /// A dialogue is over.
    pub(super) fn finish(
        &mut self,
        now: Tick,
        connection: ConnectionId,
        outcome: &Outcome,
    ) -> Option<Told> {
        let probe = self.probe_on(connection)?;
        let session = self.sessions.get_mut(&probe)?;
        let talk = session.talk.take()?;
        let told = Told {
            probe,
            lines: Arc::clone(&talk.lines),
            estranged: outcome.end == End::BadPassword,
        };
        if outcome.end == End::Acknowledged {
            session.failures = 0;
            let waiting = self.one_offs.entry(probe).or_default();
            waiting.drain(..talk.one_offs.min(waiting.len()));
            if waiting.is_empty() {
                self.one_offs.remove(&probe);
            }
        } else {
            session.table_due |= talk.table;
            let pause = FIRST_PAUSE
                .saturating_mul(1 << session.failures.min(10))
                .min(LAST_PAUSE);
            session.failures = session.failures.saturating_add(1);
            session.retry_at = Some(now + pause);
        }
        Some(told)
    }

    /// The probes whose pause is over.
    pub(super) fn due(&self, now: Tick) -> Vec<ProbeId> {
        let due = self
            .sessions
            .iter()
            .filter(|(_, session)| session.retry_at.is_some_and(|at| at <= now));
        due.map(|(probe, _)| *probe).collect()
    }

    /// When the first pause is over.
    pub(super) fn deadline(&self) -> Option<Tick> {
        self.sessions
            .values()
            .filter_map(|session| session.retry_at)
            .min()
    }

    fn probe_on(&self, connection: ConnectionId) -> Option<ProbeId> {
        let mut sessions = self.sessions.iter();
        let (probe, _) = sessions.find(|(_, session)| session.connection == connection)?;
        Some(*probe)
    }
}
