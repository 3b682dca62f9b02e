//! The machine that decides for registration server and controller alike.
//!
//! It is told what clients do and what operators want, and says what to answer, what to store, what to hand out and
//! what there is to see. It holds no socket, file, clock or random source: time comes with each input, chance from
//! the seed. Follows `controller-protocol` sections 2 to 4, 6 and 11.

use std::collections::{BTreeMap, BTreeSet};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use super::{
    config::{Config, InitPolicy},
    dispatch::Dispatch,
    faults::Faults,
    identity::{ProbeId, ProbeKey},
    intake::{Intake, Sender},
    messages::{
        Answer, ConnectionId, Event, Exec, Input, Output, Post, Request, RequestError, Response,
        Role, Ticket,
    },
    registry::{Known, Registry, Standing},
    schedule,
    telnet::Outcome,
};
use crate::{
    clock::{Now, Tick},
    protocol::registration::{self, Controller, InitReply, Reply, SessionId},
};

/// A private network: who may take part, what they measure, what becomes of their results.
#[derive(Debug)]
pub struct Network {
    config: Config,
    /// What registration answers carry.
    controller: Controller,
    registry: Registry,
    dispatch: Dispatch,
    intake: Intake,
    faults: Faults,
    chance: StdRng,
    connections: BTreeMap<ConnectionId, Connection>,
    /// The probes that were given the configuration's one-offs.
    started: BTreeSet<ProbeId>,
}

/// A client that has proven its key.
#[derive(Debug)]
struct Connection {
    role: Role,
    key: ProbeKey,
    since: Tick,
    forwarded: Option<u16>,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing lasting yet: has to come to something soon.
    Idle,
    /// KEEP holds it open.
    Kept,
    /// We asked for its end.
    Leaving,
}

/// What is kept across a restart.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// The probes known.
    pub known: Vec<Known>,
    /// The latest lines stored, oldest first, by which a repeated delivery is recognised.
    pub stored: Vec<(ProbeId, String)>,
}

impl Network {
    /// A network that sends its probes to `controller`. `config` has been checked; `seed` feeds the session ids.
    #[must_use]
    pub fn new(config: Config, controller: Controller, seed: [u8; 32], memory: Memory) -> Self {
        Self {
            registry: Registry::new(&config, memory.known),
            dispatch: Dispatch::default(),
            intake: Intake::new(&config, memory.stored),
            faults: Faults::default(),
            chance: StdRng::from_seed(seed),
            connections: BTreeMap::new(),
            started: BTreeSet::new(),
            controller,
            config,
        }
    }

    /// Takes what just happened and says what to do about it.
    pub fn handle(&mut self, now: &Now, input: Input) -> Vec<Output> {
        match input {
            Input::Offered { ticket, role, key } => self.offered(ticket, role, &key),
            Input::Joined {
                connection,
                role,
                key,
            } => self.joined(now.peek(), connection, role, key),
            Input::Left { connection } => self.left(connection),
            Input::Register {
                ticket,
                connection,
                stdin,
            } => self.register(ticket, connection, &stdin),
            Input::Init { ticket, connection } => self.init(ticket, connection),
            Input::Forward {
                ticket,
                connection,
                address,
                port,
            } => self.forward(now, ticket, connection, &address, port),
            Input::Keep { connection } => self.keep(now, connection),
            Input::Posted {
                ticket,
                connection,
                post,
            } => self.posted(now, ticket, connection, &post),
            Input::Stored { ticket, failed } => self.intake.stored(ticket, failed),
            Input::Commanded {
                connection,
                outcome,
            } => self.commanded(now, connection, outcome),
            Input::Request { ticket, request } => match self.request(now, request) {
                Ok(mut outputs) => {
                    outputs.insert(0, Output::Answer(ticket, Answer::Requested(Ok(()))));
                    outputs
                }
                Err(error) => vec![Output::Answer(ticket, Answer::Requested(Err(error)))],
            },
            Input::Deadline => self.time_passed(now),
        }
    }

    /// When to be called next if nothing happens first.
    #[must_use]
    pub fn deadline(&self) -> Option<Tick> {
        let idle = self
            .connections
            .values()
            .filter(|connection| connection.stage == Stage::Idle);
        let first = idle
            .map(|connection| connection.since + self.patience())
            .min();
        first.into_iter().chain(self.dispatch.deadline()).min()
    }

    fn patience(&self) -> std::time::Duration {
        std::time::Duration::from_secs(self.config.limits.idle_seconds)
    }

    fn offered(&mut self, ticket: Ticket, role: Role, key: &ProbeKey) -> Vec<Output> {
        let known = match role {
            Role::Registration | Role::Both => self.registry.admits(key),
            // The controller is for those that registration sent there. One that we do not know is let in as far
            // as to be told to register anew: it was ours before our list of probes was lost.
            Role::Controller if self.registry.by_key(key).is_some() => self.approved(key).is_some(),
            Role::Controller => self.registry.admits(key),
        };
        let admitted = known && !self.faults.next_login();
        let mut outputs = vec![Output::Answer(ticket, Answer::Admitted(admitted))];
        if !admitted {
            let fingerprint = key.fingerprint();
            outputs.push(Output::Event(Event::Refused { fingerprint }));
        }
        outputs
    }

    fn joined(
        &mut self,
        now: Tick,
        connection: ConnectionId,
        role: Role,
        key: ProbeKey,
    ) -> Vec<Output> {
        let joined = Connection {
            role,
            key,
            since: now,
            forwarded: None,
            stage: Stage::Idle,
        };
        self.connections.insert(connection, joined);
        Vec::new()
    }

    fn left(&mut self, connection: ConnectionId) -> Vec<Output> {
        self.connections.remove(&connection);
        let probe = self.dispatch.close(connection);
        let event = probe.map(|probe| Output::Event(Event::Left { probe }));
        event.into_iter().collect()
    }

    fn register(&mut self, ticket: Ticket, connection: ConnectionId, stdin: &[u8]) -> Vec<Output> {
        let Some(key) = self.key_of(connection) else {
            return vec![exec(ticket, Reply::Unapproved.render(), 0)];
        };
        let Some(entered) = self.registry.enter(&key) else {
            // No room for another stranger: as good as not approved.
            return vec![exec(ticket, Reply::Unapproved.render(), 0)];
        };
        let probe = entered.id;
        let block = registration::Request::parse(stdin);
        let approved = self.registry.is_approved(probe);
        let reply = match &block {
            Err(error) => Reply::Refused(error.to_string()),
            Ok(_) if approved => Reply::Assigned {
                controller: self.controller.clone(),
                reregister_secs: Some(self.config.registration.reregister),
                probe_id: probe.0,
            },
            Ok(_) => Reply::Unapproved,
        };
        let fault = self.faults.next_registration();
        let assigned = fault.is_none() && matches!(reply, Reply::Assigned { .. });
        let answer = fault.unwrap_or_else(|| Exec {
            stdout: reply.render(),
            status: 0,
        });
        let mut outputs = self.persist_if(entered.new);
        outputs.push(Output::Event(Event::Registered {
            probe,
            name: self.registry.name(probe),
            fingerprint: key.fingerprint(),
            block,
            answer: first_line(&answer.stdout),
            assigned,
        }));
        outputs.push(Output::Answer(ticket, Answer::Exec(answer)));
        outputs
    }

    fn init(&mut self, ticket: Ticket, connection: ConnectionId) -> Vec<Output> {
        let known = self.key_of(connection).and_then(|key| self.approved(&key));
        let Some((probe, port)) = known else {
            let refusal = InitReply::Refused("not approved".to_owned());
            return vec![exec(ticket, refusal.render(), 0)];
        };
        let reply = match (self.faults.next_init(), self.config.controller.init) {
            (Some(fault), _) => Err(fault),
            (None, InitPolicy::Accept) => Ok(self.new_session(probe)),
            (None, InitPolicy::Refuse) => Err(answer(&InitReply::Refused(
                "no new sessions now".to_owned(),
            ))),
            (None, InitPolicy::Wait(secs)) => Err(answer(&InitReply::Wait(secs))),
        };
        let opened = reply.is_ok();
        let reply = reply.map_or_else(
            |other| other,
            |session_id| {
                answer(&InitReply::Session {
                    remote_port: port,
                    session_id,
                })
            },
        );
        let mut outputs = self.persist_if(opened);
        outputs.push(Output::Event(Event::SessionOpened {
            probe,
            port: opened.then_some(port),
            answer: first_line(&reply.stdout),
        }));
        outputs.push(Output::Answer(ticket, Answer::Exec(reply)));
        outputs
    }

    /// A new session id for a probe; the one before is void from now on.
    fn new_session(&mut self, probe: ProbeId) -> SessionId {
        let mut bytes = [0; 32];
        self.chance.fill_bytes(&mut bytes);
        let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let session = SessionId::new(&digits).expect("64 hexadecimal digits are a session id");
        if let Some(known) = self.registry.get_mut(probe) {
            known.session = Some(digits);
        }
        session
    }

    fn forward(
        &mut self,
        now: &Now,
        ticket: Ticket,
        connection: ConnectionId,
        address: &str,
        port: u32,
    ) -> Vec<Output> {
        let own = self.key_of(connection).and_then(|key| self.approved(&key));
        // Only the port that INIT gave out: opening another would be refused by the client anyway.
        let accepted = address == "localhost" && own.is_some_and(|(_, own)| u32::from(own) == port);
        let mut outputs = vec![Output::Answer(ticket, Answer::Forwarded(accepted))];
        if accepted {
            if let Some(connection) = self.connections.get_mut(&connection) {
                connection.forwarded = own.map(|(_, port)| port);
            }
            if let Some(probe) = self.dispatch.reach(connection) {
                outputs.extend(self.speak(now, probe));
            }
        }
        outputs
    }

    fn keep(&mut self, now: &Now, connection: ConnectionId) -> Vec<Output> {
        let known = self.key_of(connection).and_then(|key| self.approved(&key));
        let Some(client) = self.connections.get(&connection) else {
            return Vec::new();
        };
        if client.stage != Stage::Idle {
            return Vec::new();
        }
        if client.role == Role::Registration {
            return vec![self.drop_connection(connection)];
        }
        let session = known.and_then(|(probe, port)| Some((probe, port, self.session_of(probe)?)));
        let Some((probe, port, session)) = session else {
            // It holds a session that we never gave it, or forgot: it has to register anew.
            return self.kick(connection);
        };
        let reachable = match self.connections.get_mut(&connection) {
            Some(client) => {
                client.stage = Stage::Kept;
                client.forwarded == Some(port)
            }
            None => false,
        };
        let mut outputs = Vec::new();
        if let Some(old) = self
            .dispatch
            .open(probe, connection, port, session, reachable)
        {
            outputs.push(self.drop_connection(old));
        }
        if self.started.insert(probe) {
            let first = self
                .config
                .one_offs
                .iter()
                .filter(|one_off| one_off.is_for(probe.0));
            for one_off in first {
                self.dispatch.add_one_off(probe, &one_off.command);
            }
        }
        outputs.push(Output::Event(Event::Kept { probe, port }));
        outputs.extend(self.speak(now, probe));
        outputs
    }

    fn posted(
        &mut self,
        now: &Now,
        ticket: Ticket,
        connection: ConnectionId,
        post: &Post,
    ) -> Vec<Output> {
        let probe = self.key_of(connection).and_then(|key| self.approved(&key));
        let session = probe.and_then(|(probe, _)| Some((probe, self.session_of(probe)?)));
        let Some((probe, session)) = session else {
            let refused = Response::refused(403, "no session");
            return vec![Output::Answer(ticket, Answer::Respond(refused))];
        };
        let timesync = post.target.ends_with("SRC=timesync");
        let fault = if timesync {
            None
        } else {
            self.faults.next_post(probe)
        };
        let sender = Sender {
            probe,
            session: &session,
            fault,
        };
        self.intake.take(now, ticket, sender, post)
    }

    fn commanded(&mut self, now: &Now, connection: ConnectionId, outcome: Outcome) -> Vec<Output> {
        let Some(told) = self.dispatch.finish(now.peek(), connection, &outcome) else {
            return Vec::new();
        };
        let mut outputs = vec![Output::Event(Event::Commanded {
            probe: told.probe,
            lines: told.lines,
            outcome,
        })];
        if told.estranged {
            outputs.extend(self.kick(connection));
        } else {
            outputs.extend(self.speak(now, told.probe));
        }
        outputs
    }

    fn request(&mut self, now: &Now, request: Request) -> Result<Vec<Output>, RequestError> {
        match request {
            Request::Schedule(measurements) => {
                for measurement in &measurements {
                    measurement.check()?;
                }
                self.config.measurements = measurements;
                self.dispatch.renew_tables();
                let probes = self.dispatch.probes();
                Ok(probes
                    .into_iter()
                    .filter_map(|probe| self.speak(now, probe))
                    .collect())
            }
            Request::OneOff(one_off) => {
                one_off.check()?;
                let probes = self.addressed(one_off.probes.as_deref())?;
                for probe in &probes {
                    self.dispatch.add_one_off(*probe, &one_off.command);
                }
                Ok(probes
                    .into_iter()
                    .filter_map(|probe| self.speak(now, probe))
                    .collect())
            }
            Request::Fault(fault) => {
                self.faults.add(fault);
                Ok(Vec::new())
            }
            Request::Kick(probe) => Ok(self.kick(self.connected(probe)?)),
            Request::Drop(probe) => {
                let connection = self.connected(probe)?;
                Ok(vec![self.drop_connection(connection)])
            }
            Request::Approve(probe, approved) => self.approve(probe, approved),
        }
    }

    /// The probes that a one-off is for, if each can take one more.
    fn addressed(&self, ids: Option<&[u32]>) -> Result<Vec<ProbeId>, RequestError> {
        let probes: Vec<ProbeId> = match ids {
            Some(ids) => ids.iter().copied().map(ProbeId).collect(),
            None => {
                let known = self.registry.snapshot().into_iter().map(|known| known.id);
                known.filter(|id| self.registry.is_approved(*id)).collect()
            }
        };
        for probe in &probes {
            if self.registry.get(*probe).is_none() {
                return Err(RequestError::UnknownProbe(*probe));
            }
            let waiting = self.dispatch.waiting_one_offs(*probe);
            if waiting >= self.config.limits.waiting_one_offs {
                return Err(RequestError::Waiting(*probe, waiting));
            }
        }
        Ok(probes)
    }

    fn approve(&mut self, probe: ProbeId, approved: bool) -> Result<Vec<Output>, RequestError> {
        let known = self
            .registry
            .get_mut(probe)
            .ok_or(RequestError::UnknownProbe(probe))?;
        known.standing = if approved {
            Standing::Approved
        } else {
            Standing::Suspended
        };
        let mut outputs = self.persist_if(true);
        if !approved && let Some(connection) = self.dispatch.connection(probe) {
            outputs.push(self.drop_connection(connection));
        }
        Ok(outputs)
    }

    fn time_passed(&mut self, now: &Now) -> Vec<Output> {
        let patience = self.patience();
        let idle: Vec<ConnectionId> = self
            .connections
            .iter()
            .filter(|(_, client)| {
                client.stage == Stage::Idle && client.since + patience <= now.peek()
            })
            .map(|(connection, _)| *connection)
            .collect();
        let mut outputs: Vec<Output> = idle
            .into_iter()
            .map(|one| self.drop_connection(one))
            .collect();
        for probe in self.dispatch.due(now.peek()) {
            outputs.extend(self.speak(now, probe));
        }
        outputs
    }

    fn speak(&mut self, now: &Now, probe: ProbeId) -> Option<Output> {
        let (upload, measurements) = (&self.config.upload, &self.config.measurements);
        self.dispatch.speak(now.peek(), probe, |session| {
            schedule::table(upload, measurements, probe, session, now.unix().secs())
        })
    }

    fn kick(&mut self, connection: ConnectionId) -> Vec<Output> {
        if let Some(client) = self.connections.get_mut(&connection) {
            client.stage = Stage::Leaving;
        }
        vec![Output::Kick(connection)]
    }

    fn drop_connection(&mut self, connection: ConnectionId) -> Output {
        if let Some(client) = self.connections.get_mut(&connection) {
            client.stage = Stage::Leaving;
        }
        Output::Drop(connection)
    }

    fn connected(&self, probe: ProbeId) -> Result<ConnectionId, RequestError> {
        self.registry
            .get(probe)
            .ok_or(RequestError::UnknownProbe(probe))?;
        self.dispatch
            .connection(probe)
            .ok_or(RequestError::Away(probe))
    }

    fn key_of(&self, connection: ConnectionId) -> Option<ProbeKey> {
        self.connections
            .get(&connection)
            .map(|client| client.key.clone())
    }

    /// Number and port of the probe with this key, if it may measure.
    fn approved(&self, key: &ProbeKey) -> Option<(ProbeId, u16)> {
        let known = self.registry.by_key(key)?;
        self.registry
            .is_approved(known.id)
            .then_some((known.id, known.port))
    }

    fn session_of(&self, probe: ProbeId) -> Option<SessionId> {
        SessionId::new(self.registry.get(probe)?.session.as_deref()?).ok()
    }

    fn persist_if(&self, changed: bool) -> Vec<Output> {
        if changed {
            vec![Output::Persist(self.registry.snapshot())]
        } else {
            Vec::new()
        }
    }
}

fn answer(reply: &InitReply) -> Exec {
    Exec {
        stdout: reply.render(),
        status: 0,
    }
}

fn exec(ticket: Ticket, stdout: String, status: u32) -> Output {
    Output::Answer(ticket, Answer::Exec(Exec { stdout, status }))
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests;
