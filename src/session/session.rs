//! When to register, when to open a session at the controller, when to keep it: decided here, done elsewhere.
//!
//! `controller-protocol` sections 2.2, 2.3, 2.5, 3 and 10 (rows 2 to 8). A pure machine: at most one exchange is
//! under way at any time, and each one asked for is answered by exactly one input, or cut off by
//! [`Output::Disconnect`], after which nothing more comes of it.
//!
//! Waits written to disk are in wall-clock time, waits under way count ticks as well: whichever ends first ends
//! the wait, so a clock that jumps can shorten a wait but never lengthen it.

use rand::{RngExt, SeedableRng, rngs::StdRng};
use std::{path::PathBuf, time::Duration};

use super::{
    answers::tell,
    backoff::Backoff,
    event::{Exchange, Identity, Marker, SessionEvent},
    failure::{Failure, Step},
    quota::Quota,
    servers::RegistrationServer,
    state::{Controller, State, Timer},
    supervisor::{Supervisor, Upload},
};
use crate::{
    clock::{Now, Tick},
    key::HostKey,
    protocol::registration::{Reason, Request},
};

/// A KEEP that stood for so long is in order: back-off and suspicion start anew.
pub(super) const SETTLED: Duration = Duration::from_secs(60);
/// No exchange takes so long; the driver's own limits are shorter.
const GUARD: Duration = Duration::from_secs(300);
/// While waiting, the wall clock is looked at so often: it may have been set.
pub(super) const LOOK: Duration = Duration::from_secs(180);

/// What a session needs to know of its probe.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The registration servers, in order. Those without a host key are skipped.
    pub servers: Vec<RegistrationServer>,
    /// Firmware number to register with (`controller-protocol` section 1.2).
    pub firmware: u32,
    /// `<ID>/<VERSION_ID>/<machine>` of the host (`controller-protocol` section 2.2).
    pub sub_arch: String,
    /// Where the probe's key lies, which marker lines name.
    pub key: PathBuf,
    /// How often the agent started since the host has been up for ten minutes.
    pub reboot_count: u32,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// KEEP runs: the controller accepted the command.
    Connected,
    /// What the server wrote to stdout: the whole answer of an INIT that ended with exit status 0, or the first
    /// bytes on a KEEP, where any byte means "register again" (`controller-protocol` section 3.3).
    Answered(Vec<u8>),
    /// The exchange that was asked for failed, or KEEP ended.
    Lost(Failure),
    /// The controller would not forward its port to us: it is only a warning, and KEEP goes on
    /// (`controller-protocol` section 3.2).
    NotForwarded,
    /// A command came from the controller.
    Commanded,
    /// An upload ended.
    Uploaded(Upload),
    /// The time that [`Session::deadline`] named has come.
    Deadline,
}

/// What to do about it.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Write the state to disk before doing what follows.
    Save(State),
    /// INIT at a registration server with this block on stdin.
    Register {
        /// Where.
        server: RegistrationServer,
        /// Its host key, which must be proved.
        host_key: HostKey,
        /// The INIT block.
        block: String,
    },
    /// INIT at the controller, with nothing on stdin.
    Connect(Controller),
    /// KEEP at the controller, with the reverse forward of this session.
    Keep {
        /// Where.
        controller: Controller,
        /// As whom.
        identity: Identity,
    },
    /// Cut off what is under way.
    Disconnect,
    /// Tell the rest of the program.
    Tell(SessionEvent),
}

/// The agent's side of registration and session.
#[derive(Debug)]
pub struct Session {
    pub(super) settings: Settings,
    /// Those of `settings.servers` whose key is known.
    pub(super) usable: Vec<(RegistrationServer, HostKey)>,
    pub(super) random: StdRng,
    pub(super) state: State,
    /// The state as it was last handed out to be written.
    pub(super) saved: State,
    pub(super) phase: Phase,
    pub(super) waits: Waits,
    /// Of the KEEP that is asked for or stands.
    pub(super) supervisor: Option<Supervisor>,
    /// Since when no KEEP stood.
    pub(super) absent_since: Tick,
    /// The registration servers could not tell: the controller that is known is tried in between.
    pub(super) detour: bool,
    pub(super) quota: Quota,
    pub(super) registration: Backoff,
    pub(super) init: Backoff,
    pub(super) keep: Backoff,
    /// KEEPs in a row that the controller ended before they settled.
    pub(super) bad_keeps: u32,
    /// INITs in a row that led to no settled KEEP.
    pub(super) bad_inits: u32,
    /// The registration attempt under way: the entry it began with, and how many were tried.
    pub(super) round: Option<(usize, usize)>,
}

/// What is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Before the first input.
    New,
    /// Nothing; decide at this time.
    Idle(Tick),
    /// INIT at a registration server, since.
    Registering(Tick),
    /// INIT at the controller, since.
    Initialising(Tick),
    /// KEEP was asked for, at.
    Connecting(Tick),
    /// KEEP runs.
    Keeping {
        /// Since when.
        since: Tick,
        /// Whether it has stood long enough to be in order.
        settled: bool,
    },
}

/// The ends of the persisted waits on the monotonic clock.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Waits {
    pub(super) registration: Tick,
    pub(super) controller: Tick,
    pub(super) reregister: Tick,
    pub(super) doubt: Tick,
}

impl Session {
    /// A session that continues from `state`. Its first [`Input::Deadline`] is due at once.
    #[must_use]
    pub fn new(settings: Settings, state: State, seed: u64) -> Self {
        let usable = settings
            .servers
            .iter()
            .filter_map(|server| Some((server.clone(), server.host_key.clone()?)))
            .collect();
        Self {
            settings,
            usable,
            random: StdRng::seed_from_u64(seed),
            saved: state.clone(),
            state,
            phase: Phase::New,
            waits: Waits::default(),
            supervisor: None,
            absent_since: Tick::default(),
            detour: false,
            quota: Quota::default(),
            registration: Backoff::default(),
            init: Backoff::default(),
            keep: Backoff::default(),
            bad_keeps: 0,
            bad_inits: 0,
            round: None,
        }
    }

    /// Takes what just happened and says what to do about it.
    pub fn handle(&mut self, now: &Now, input: Input) -> Vec<Output> {
        let mut out = Vec::new();
        match (self.phase, input) {
            (Phase::New, _) => self.start(now, &mut out),
            (Phase::Idle(at), Input::Deadline) if now.peek() >= at => self.decide(now, &mut out),
            (Phase::Registering(_), Input::Answered(answer)) => {
                self.registered(now, &answer, &mut out);
            }
            (Phase::Initialising(_), Input::Answered(answer)) => {
                self.initialised(now, &answer, &mut out);
            }
            (Phase::Connecting(_) | Phase::Keeping { .. }, Input::Answered(_)) => {
                self.kicked(now, &mut out);
            }
            (Phase::Connecting(_), Input::Connected) => {
                self.phase = Phase::Keeping {
                    since: now.peek(),
                    settled: false,
                };
                if let Some(supervisor) = &mut self.supervisor {
                    supervisor.connected(now.peek());
                }
                out.extend(
                    self.identity()
                        .map(|identity| tell(SessionEvent::Kept(identity))),
                );
            }
            (Phase::Keeping { since, .. }, Input::Deadline) => {
                self.settle(now, since);
                self.supervise(now, &mut out);
            }
            (Phase::Connecting(_) | Phase::Keeping { .. }, Input::NotForwarded) => {
                self.not_forwarded(&mut out);
            }
            (Phase::Connecting(_) | Phase::Keeping { .. }, Input::Commanded) => {
                self.worked(|supervisor| supervisor.commanded(now.peek()));
            }
            (Phase::Connecting(_) | Phase::Keeping { .. }, Input::Uploaded(upload)) => {
                self.uploaded(now, upload);
            }
            (
                Phase::Registering(since) | Phase::Initialising(since) | Phase::Connecting(since),
                Input::Deadline,
            ) if now.peek().since(since) >= GUARD => {
                out.push(Output::Disconnect);
                self.lost(
                    now,
                    &Failure::TimedOut {
                        step: Step::Answer,
                        limit: GUARD,
                    },
                    &mut out,
                );
            }
            (_, Input::Lost(failure)) => self.lost(now, &failure, &mut out),
            // Too early, or of an exchange that is over.
            _ => {}
        }
        if self.state != self.saved {
            self.saved = self.state.clone();
            out.insert(0, Output::Save(self.state.clone()));
        }
        out
    }

    /// When [`Input::Deadline`] is due if nothing happens first. There is always something to come.
    #[must_use]
    pub fn deadline(&self) -> Option<Tick> {
        match self.phase {
            Phase::New => Some(Tick::default()),
            Phase::Idle(at) => Some(at),
            Phase::Registering(since) | Phase::Initialising(since) | Phase::Connecting(since) => {
                Some(since + GUARD)
            }
            Phase::Keeping { since, settled } => {
                let settles = (!settled).then_some(since + SETTLED);
                let ends = self
                    .supervisor
                    .as_ref()
                    .map(|supervisor| supervisor.deadline(self.state.strikes));
                settles.into_iter().chain(ends).min()
            }
        }
    }

    /// The state as it is now.
    #[must_use]
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// As whom the probe speaks, if a session is open.
    #[must_use]
    pub fn identity(&self) -> Option<Identity> {
        let opened = self.state.opened.as_ref()?;
        Some(Identity {
            probe_id: self.state.probe_id,
            session_id: opened.session_id.clone(),
            remote_port: opened.remote_port,
        })
    }
}

/// Deciding, in the order of `controller-protocol` section 2.3.
impl Session {
    fn start(&mut self, now: &Now, out: &mut Vec<Output>) {
        let left = |timer: Option<Timer>| {
            now.peek() + timer.map_or(Duration::ZERO, |timer| timer.left(now.unix()))
        };
        self.waits = Waits {
            registration: left(self.state.registration_wait),
            controller: left(self.state.controller_wait),
            reregister: left(self.state.reregister),
            doubt: left(self.state.doubt_wait),
        };
        self.absent_since = now.peek();
        self.quota = Quota::restored(&self.state.registrations, now);
        let reboot_count = self.settings.reboot_count;
        out.push(tell(SessionEvent::Marker(Marker::Started { reboot_count })));
        out.push(tell(SessionEvent::Marker(Marker::TelnetStarted)));
        let skipped = self
            .settings
            .servers
            .iter()
            .filter(|server| server.host_key.is_none());
        out.extend(skipped.map(|server| tell(SessionEvent::ServerSkipped(server.clone()))));
        self.decide(now, out);
    }

    /// Nothing is under way: what comes next?
    pub(super) fn decide(&mut self, now: &Now, out: &mut Vec<Output>) {
        if self.round.is_some() {
            return self.register(now, self.reason(now).unwrap_or(Reason::New), out);
        }
        let left = self.left(self.state.registration_wait, self.waits.registration, now);
        if !self.state.force_registration && !left.is_zero() {
            return self.idle(now, left.min(LOOK));
        }
        if std::mem::take(&mut self.detour)
            && self.state.controller.is_some()
            && !self.state.force_registration
        {
            return self.approach(now, out);
        }
        match self.reason(now) {
            Some(reason) => self.register(now, reason, out),
            None if self.state.controller.is_some() => self.approach(now, out),
            // Approved later, perhaps: the server said when to come back, and gave no controller.
            None => {
                let left = self.left(self.state.reregister, self.waits.reregister, now);
                self.idle(now, left.min(LOOK));
            }
        }
    }

    /// Why a registration is due, if one is.
    fn reason(&self, now: &Now) -> Option<Reason> {
        let State {
            registration_wait,
            reregister,
            ..
        } = self.state;
        if self.state.force_registration {
            Some(Reason::ForceReg)
        } else if registration_wait.is_some() {
            Some(Reason::WaitOver)
        } else if reregister.is_none() {
            Some(Reason::New)
        } else {
            let left = self.left(reregister, self.waits.reregister, now);
            left.is_zero().then_some(Reason::ReregisterTimerExpired)
        }
    }

    /// The controller is known: INIT or KEEP.
    pub(super) fn approach(&mut self, now: &Now, out: &mut Vec<Output>) {
        let left = self.left(self.state.controller_wait, self.waits.controller, now);
        if !left.is_zero() {
            return self.idle(now, left.min(LOOK));
        }
        self.state.controller_wait = None;
        let Some(controller) = self.state.controller.clone() else {
            return self.idle(now, LOOK);
        };
        let Controller { host, port, .. } = controller.clone();
        let key = self.settings.key.clone();
        if let Some(identity) = self.identity() {
            self.phase = Phase::Connecting(now.peek());
            let remote_port = identity.remote_port;
            let jitter = self.random.random_range(0.8..=1.2);
            self.supervisor = Some(Supervisor::new(now.peek(), remote_port, jitter));
            out.push(tell(SessionEvent::Marker(Marker::StartKeep {
                host,
                port,
                key,
                remote_port,
            })));
            out.push(Output::Keep {
                controller,
                identity,
            });
        } else {
            self.phase = Phase::Initialising(now.peek());
            out.push(tell(SessionEvent::Marker(Marker::StartInit {
                host,
                port,
                key,
            })));
            out.push(Output::Connect(controller));
        }
    }

    /// Registers at the next server of the round, if the hourly limit leaves room.
    fn register(&mut self, now: &Now, reason: Reason, out: &mut Vec<Output>) {
        let wait = self.quota.wait(now.peek());
        if !wait.is_zero() {
            self.round = None;
            out.push(tell(SessionEvent::RegistrationsSpent { wait }));
            // Better the controller that is known than none for the rest of the hour.
            return if self.state.controller.is_some() && !self.state.force_registration {
                self.approach(now, out);
            } else {
                self.idle(now, wait);
            };
        }
        if self.usable.is_empty() {
            return self.trouble(now, Exchange::Registration, &Failure::NoServer, out);
        }
        let (first, tried) = self
            .round
            .unwrap_or_else(|| (self.random.random_range(0..self.usable.len()), 0));
        self.round = Some((first, tried + 1));
        let (server, host_key) = self.usable[(first + tried) % self.usable.len()].clone();
        // A registration ends the session, whatever comes of it (`controller-protocol` section 2.3).
        self.state.opened = None;
        if reason == Reason::ForceReg {
            self.forget_assignment();
        }
        self.quota.count(now);
        self.state.registrations = self.quota.times();
        self.phase = Phase::Registering(now.peek());
        let (host, port) = (server.host.clone(), server.port);
        out.push(tell(SessionEvent::Registering {
            server: server.clone(),
            reason,
        }));
        out.push(tell(SessionEvent::Marker(Marker::StartRegistration {
            host,
            port,
        })));
        out.push(Output::Register {
            server,
            host_key,
            block: Request::software(self.settings.firmware, &self.settings.sub_arch, reason)
                .render(),
        });
    }

    pub(super) fn forget_assignment(&mut self) {
        self.state.controller = None;
        self.state.reregister = None;
        self.state.registration_wait = None;
        self.state.controller_wait = None;
        self.state.opened = None;
    }
}
