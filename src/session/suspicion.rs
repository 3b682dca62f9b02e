//! What a [`Session`] does about a controller that is of no use: step by step, and never so often that it hurts.
//!
//! Registering often is answered with hours of 429. So registrations that nobody asked for, made only because the
//! controller is of no use, keep a distance of their own that doubles with each one and survives a restart.

use std::time::Duration;

use super::{
    answers::tell,
    event::{Doubt, Exchange, Marker, SessionEvent},
    failure::Failure,
    session::{Output, Phase, Session},
    state::Timer,
    supervisor::{Step, Supervisor, Upload},
};
use crate::clock::Now;

/// How many KEEPs in a row the controller may end before they settle until it is asked for a new session.
const KEEP_PATIENCE: u32 = 2;
/// How many INITs in a row may lead to no settled KEEP until the registration servers are asked for a controller.
const INIT_PATIENCE: u32 = 3;
/// How long no KEEP may stand until the session is given up, and the controller.
const ABSENT: (Duration, Duration) = (Duration::from_secs(1800), Duration::from_secs(3600));
/// From one registration on suspicion to the next: the first time, doubling, and at most.
const DOUBT: (Duration, Duration) = (Duration::from_secs(600), Duration::from_secs(6 * 3600));
/// After an upload was answered with 429 nothing is registered on suspicion for so long at least.
const AFTER_HELD: Duration = Duration::from_secs(3600);

/// A KEEP that stands.
impl Session {
    /// Complains about the KEEP that stands if it is of no use.
    pub(super) fn supervise(&mut self, now: &Now, out: &mut Vec<Output>) {
        let strikes = self.state.strikes;
        let complaint = self
            .supervisor
            .as_ref()
            .and_then(|supervisor| supervisor.complaint(now.peek(), strikes));
        let Some(complaint) = complaint else { return };
        let mut step = Step::Reconnect;
        if complaint.is_trouble() {
            self.state.strikes = strikes.saturating_add(1);
            step = complaint.step(self.state.strikes);
        }
        let step = match step {
            Step::Reconnect => step,
            Step::Reopen => self.reopen(),
            Step::Register => self.ask_for_controller(now),
        };
        let retry = self.keep.next(&mut self.random);
        out.push(Output::Disconnect);
        self.keep_ended(now);
        out.push(tell(SessionEvent::Marker(Marker::KeepGone)));
        out.push(tell(SessionEvent::Marker(Marker::Stderr(
            complaint.to_string(),
        ))));
        out.push(tell(SessionEvent::Useless {
            complaint,
            step,
            retry,
        }));
        self.idle(now, retry);
    }

    /// KEEP stands no more.
    pub(super) const fn keep_ended(&mut self, now: &Now) {
        self.absent_since = now.peek();
    }

    pub(super) fn not_forwarded(&mut self, out: &mut Vec<Output>) {
        self.worked(Supervisor::not_forwarded);
        out.extend(self.identity().map(|identity| {
            let port = identity.remote_port;
            tell(SessionEvent::ForwardRefused { port })
        }));
    }

    pub(super) fn uploaded(&mut self, now: &Now, upload: Upload) {
        if let Upload::Held(time) = upload {
            self.hold_doubts(now, time.max(AFTER_HELD));
        }
        self.worked(|supervisor| supervisor.uploaded(now.peek(), upload));
    }

    /// Tells the supervisor; a KEEP that is of use ends all suspicion.
    pub(super) fn worked(&mut self, tell: impl FnOnce(&mut Supervisor)) {
        if let Some(supervisor) = &mut self.supervisor {
            tell(supervisor);
            if supervisor.is_proven() {
                self.state.strikes = 0;
                self.state.doubts = 0;
            }
        }
    }
}

/// A controller that fails.
impl Session {
    /// A controller that fails us again and again is asked for a new session, then the registration servers for a
    /// controller.
    pub(super) fn suspect(
        &mut self,
        now: &Now,
        exchange: Exchange,
        failure: &Failure,
        out: &mut Vec<Output>,
    ) {
        match exchange {
            Exchange::Registration => return,
            Exchange::Init => self.bad_inits = self.bad_inits.saturating_add(1),
            Exchange::Keep => self.bad_keeps = self.bad_keeps.saturating_add(1),
        }
        // Only a registration tells a controller's host key.
        if failure.is_other_host_key() {
            self.bad_keeps = 0;
            self.bad_inits = 0;
            return self.doubt(now, Doubt::OtherHostKey, out);
        }
        if self.bad_keeps >= KEEP_PATIENCE {
            self.bad_keeps = 0;
            let step = self.reopen();
            let doubt = Doubt::KeepsEnded(KEEP_PATIENCE);
            out.push(tell(SessionEvent::Doubted { doubt, step }));
        }
        if self.bad_inits >= INIT_PATIENCE && self.state.opened.is_none() {
            self.bad_inits = 0;
            self.doubt(now, Doubt::InitsFailed(INIT_PATIENCE), out);
        }
    }

    /// No KEEP stood for long: first the session is given up, then the controller.
    pub(super) fn absent(&mut self, now: &Now, out: &mut Vec<Output>) {
        let time = now.peek().since(self.absent_since);
        if time >= ABSENT.1 {
            self.absent_since = now.peek();
            self.doubt(now, Doubt::Absent(time), out);
        } else if time >= ABSENT.0 && self.state.opened.is_some() {
            let step = self.reopen();
            let doubt = Doubt::Absent(time);
            out.push(tell(SessionEvent::Doubted { doubt, step }));
        }
    }

    fn doubt(&mut self, now: &Now, doubt: Doubt, out: &mut Vec<Output>) {
        let step = self.ask_for_controller(now);
        out.push(tell(SessionEvent::Doubted { doubt, step }));
    }

    fn reopen(&mut self) -> Step {
        self.state.opened = None;
        Step::Reopen
    }

    /// Makes a registration due if it may be; else a new session has to do.
    fn ask_for_controller(&mut self, now: &Now) -> Step {
        let left = self.left(self.state.doubt_wait, self.waits.doubt, now);
        if !left.is_zero() {
            return self.reopen();
        }
        let doubled = DOUBT
            .0
            .saturating_mul(2_u32.saturating_pow(self.state.doubts));
        self.state.doubts = self.state.doubts.saturating_add(1);
        self.hold_doubts(now, doubled.min(DOUBT.1));
        self.state.opened = None;
        self.state.reregister = Some(Timer::starting(now.unix(), Duration::ZERO));
        self.waits.reregister = now.peek();
        Step::Register
    }

    /// No registration on suspicion for so long.
    fn hold_doubts(&mut self, now: &Now, time: Duration) {
        if time > self.left(self.state.doubt_wait, self.waits.doubt, now) {
            self.state.doubt_wait = Some(Timer::starting(now.unix(), time));
            self.waits.doubt = now.peek() + time;
        }
    }

    /// The registration servers could not be asked: until they can, the controller that is known may do.
    pub(super) fn take_detour(&mut self) {
        self.detour = self.state.controller.is_some() && !matches!(self.phase, Phase::New);
    }
}
