//! What answers and failures do to a [`Session`].

use std::time::Duration;

use super::{
    event::{Exchange, Marker, SessionEvent},
    failure::Failure,
    session::{LOOK, Output, Phase, SETTLED, Session},
    state::{Controller, Opened, Timer},
    supervisor::Step,
};
use crate::{
    clock::{Now, Tick},
    key::HostKey,
    protocol::registration::{self, Answer, InitAnswer, InitVerdict, Verdict},
};

/// Seconds by which our clock may differ from the registration server's until it is told: the answer takes its time
/// (the official probe would set its clock beyond 2, `controller-protocol` section 2.4).
const CLOCK_TOLERANCE: u64 = 10;
/// The shortest wait between registrations of a probe that is not approved (`controller-protocol` section 10 row 3).
const UNAPPROVED: Duration = Duration::from_secs(180);

/// Reading answers.
impl Session {
    pub(super) fn registered(&mut self, now: &Now, answer: &[u8], out: &mut Vec<Output>) {
        self.round = None;
        let answer = Answer::parse(answer);
        misread(Exchange::Registration, &answer.notes, out);
        self.state.force_registration = false;
        self.state.probe_id = answer.probe_id.or(self.state.probe_id);
        let by = answer
            .server_time
            .map(|server| now.unix().secs().saturating_sub(server));
        if let Some(by) = by.filter(|by| by.unsigned_abs() > CLOCK_TOLERANCE) {
            out.push(tell(SessionEvent::ClockOff { by }));
        }
        match answer.verdict {
            Verdict::Ok {
                controller,
                reregister_secs,
            } => {
                self.forget_assignment();
                out.push(tell(SessionEvent::Registered {
                    probe_id: self.state.probe_id,
                }));
                if let Some(secs) = reregister_secs {
                    let length = Duration::from_secs(secs.into());
                    self.state.reregister = Some(Timer::starting(now.unix(), length));
                    self.waits.reregister = now.peek() + length;
                }
                let controller = controller.and_then(|named| pinned(named, out));
                match controller {
                    Some(controller) => self.assigned(now, controller, out),
                    None => self.unapproved(now, out),
                }
            }
            Verdict::Wait { secs, asked } => {
                self.forget_assignment();
                let wait = Duration::from_secs(secs.into());
                self.state.registration_wait = Some(Timer::starting(now.unix(), wait));
                self.waits.registration = now.peek() + wait;
                out.push(tell(SessionEvent::ToldToWait {
                    exchange: Exchange::Registration,
                    wait,
                    asked,
                }));
                self.idle(now, wait.min(LOOK));
            }
            Verdict::Nothing => self.trouble(now, Exchange::Registration, &Failure::NoAnswer, out),
        }
    }

    fn assigned(&mut self, now: &Now, controller: Controller, out: &mut Vec<Output>) {
        self.registration.reset();
        out.push(tell(SessionEvent::ControllerAssigned {
            host: controller.host.clone(),
            port: controller.port,
        }));
        self.state.controller = Some(controller);
        self.absent_since = now.peek();
        self.detour = false;
        self.approach(now, out);
    }

    /// `OK` without a controller: known, not approved.
    fn unapproved(&mut self, now: &Now, out: &mut Vec<Output>) {
        let least = self
            .left(self.state.reregister, self.waits.reregister, now)
            .max(UNAPPROVED);
        let retry = self.registration.next_at_least(least, &mut self.random);
        out.push(tell(SessionEvent::WaitingForApproval { retry }));
        self.idle(now, retry);
    }

    pub(super) fn initialised(&mut self, now: &Now, answer: &[u8], out: &mut Vec<Output>) {
        let answer = InitAnswer::parse(answer);
        misread(Exchange::Init, &answer.notes, out);
        match answer.verdict {
            InitVerdict::Ok {
                remote_port: Some(remote_port),
                session_id: Some(session_id),
            } => {
                self.bad_inits = self.bad_inits.saturating_add(1);
                self.state.opened = Some(Opened {
                    remote_port,
                    session_id,
                });
                out.extend(
                    self.identity()
                        .map(|identity| tell(SessionEvent::SessionOpened(identity))),
                );
                self.approach(now, out);
            }
            InitVerdict::Ok { .. } => self.trouble(now, Exchange::Init, &Failure::NoSession, out),
            InitVerdict::Wait { secs, asked } => {
                let wait = Duration::from_secs(secs.into());
                self.state.controller_wait = Some(Timer::starting(now.unix(), wait));
                self.waits.controller = now.peek() + wait;
                out.push(tell(SessionEvent::ToldToWait {
                    exchange: Exchange::Init,
                    wait,
                    asked,
                }));
                // A refusal leads to no registration (`controller-protocol` section 3.1), but one that lasts does.
                if !asked {
                    self.absent(now, out);
                }
                self.idle(now, wait.min(LOOK));
            }
            InitVerdict::Nothing => self.trouble(now, Exchange::Init, &Failure::NoAnswer, out),
        }
    }

    /// The controller wrote to KEEP: register anew (`controller-protocol` section 3.3).
    pub(super) fn kicked(&mut self, now: &Now, out: &mut Vec<Output>) {
        if let Phase::Keeping { since, .. } = self.phase {
            self.settle(now, since);
            self.keep_ended(now);
        }
        self.state.force_registration = true;
        self.state.opened = None;
        out.push(Output::Disconnect);
        out.push(tell(SessionEvent::KickedOut));
        out.push(tell(SessionEvent::Marker(Marker::KickedOut)));
        let retry = self.keep.next(&mut self.random);
        self.idle(now, retry);
    }
}

/// Failing, and trying again.
impl Session {
    pub(super) fn lost(&mut self, now: &Now, failure: &Failure, out: &mut Vec<Output>) {
        match self.phase {
            Phase::New | Phase::Idle(_) => {}
            Phase::Registering(_) => self.registration_lost(now, failure, out),
            Phase::Initialising(_) => self.trouble(now, Exchange::Init, failure, out),
            Phase::Connecting(_) => self.trouble(now, Exchange::Keep, failure, out),
            Phase::Keeping { since, .. } => {
                self.settle(now, since);
                self.keep_ended(now);
                self.trouble(now, Exchange::Keep, failure, out);
            }
        }
    }

    fn registration_lost(&mut self, now: &Now, failure: &Failure, out: &mut Vec<Output>) {
        if !failure.reached() {
            self.quota.uncount();
            self.state.registrations = self.quota.times();
        }
        let tried = self.round.map_or(0, |(_, tried)| tried);
        if failure.try_elsewhere() && tried < self.usable.len() {
            // The lines of the failure come at the end of the round, one pair as from one attempt.
            out.push(tell(SessionEvent::Lost {
                exchange: Exchange::Registration,
                failure: failure.clone(),
                retry: Duration::ZERO,
            }));
            return self.decide(now, out);
        }
        self.take_detour();
        self.trouble(now, Exchange::Registration, failure, out);
    }

    /// Tells of a failure and waits before the next attempt; a controller that fails us again and again is
    /// asked for a new session, then the registration servers for a controller.
    pub(super) fn trouble(
        &mut self,
        now: &Now,
        exchange: Exchange,
        failure: &Failure,
        out: &mut Vec<Output>,
    ) {
        self.round = None;
        let mut retry = match exchange {
            Exchange::Registration => self.registration.next(&mut self.random),
            Exchange::Init => self.init.next(&mut self.random),
            Exchange::Keep => self.keep.next(&mut self.random),
        };
        // The loss of a KEEP that stood in order says nothing about the session, nor does not reaching the
        // server at all: the network may be down.
        let settled = matches!(self.phase, Phase::Keeping { settled: true, .. });
        let mut doubts = Vec::new();
        if failure.reached() && !settled {
            self.suspect(now, exchange, failure, &mut doubts);
        }
        if exchange != Exchange::Registration {
            self.absent(now, &mut doubts);
        }
        // How long the controller failed is no reason to let the registration servers wait.
        if doubts.iter().any(registers) {
            retry = retry.min(self.registration.next(&mut self.random));
        }
        report(exchange, failure, out);
        out.push(tell(SessionEvent::Lost {
            exchange,
            failure: failure.clone(),
            retry,
        }));
        out.append(&mut doubts);
        self.idle(now, retry);
    }

    /// A KEEP that stood long enough puts everything in order.
    pub(super) fn settle(&mut self, now: &Now, since: Tick) {
        if now.peek().since(since) < SETTLED {
            return;
        }
        if let Phase::Keeping { settled, .. } = &mut self.phase {
            *settled = true;
        }
        self.registration.reset();
        self.init.reset();
        self.keep.reset();
        self.bad_keeps = 0;
        self.bad_inits = 0;
    }

    pub(super) fn idle(&mut self, now: &Now, wait: Duration) {
        self.phase = Phase::Idle(now.peek() + wait);
    }

    /// What is left of a wait that ends at `end` on the monotonic clock.
    pub(super) fn left(&self, timer: Option<Timer>, end: Tick, now: &Now) -> Duration {
        timer.map_or(Duration::ZERO, |timer| {
            timer.left(now.unix()).min(end.since(now.peek()))
        })
    }
}

/// Whether a doubt leads to a registration.
const fn registers(output: &Output) -> bool {
    matches!(
        output,
        Output::Tell(SessionEvent::Doubted {
            step: Step::Register,
            ..
        })
    )
}

pub(super) fn tell(event: SessionEvent) -> Output {
    Output::Tell(event)
}

fn misread<N: ToString>(exchange: Exchange, notes: &[N], out: &mut Vec<Output>) {
    out.extend(notes.iter().map(|note| {
        let why = note.to_string();
        tell(SessionEvent::Misread { exchange, why })
    }));
}

/// The controller with its host key; without a usable key it is none.
fn pinned(named: registration::Controller, out: &mut Vec<Output>) -> Option<Controller> {
    match HostKey::new(&named.key_type, &named.key_blob) {
        Ok(host_key) => Some(Controller {
            host: named.host,
            port: named.port,
            host_key,
        }),
        Err(cause) => {
            misread(
                Exchange::Registration,
                &[format!("the controller's key: {cause}")],
                out,
            );
            None
        }
    }
}

/// The marker lines of a failure (`controller-protocol` sections 2.5, 3.3 and 7.1).
fn report(exchange: Exchange, failure: &Failure, out: &mut Vec<Output>) {
    let first = match exchange {
        Exchange::Registration | Exchange::Init => Marker::Failed {
            code: failure.code(),
            stdout: failure.stdout().to_owned(),
        },
        Exchange::Keep => Marker::KeepGone,
    };
    out.push(tell(SessionEvent::Marker(first)));
    out.push(tell(SessionEvent::Marker(Marker::Stderr(failure.stderr()))));
}
