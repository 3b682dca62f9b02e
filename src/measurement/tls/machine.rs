//! One run of `evsslgetcert`: addresses in turn until one connects, and on it the modern hello, the reference one, or
//! one after the other (`http-tls-measurements` sections 1.5, 4.1, 4.3). What happens on a connection stands in
//! [`super::attempt`].

use std::net::{IpAddr, SocketAddr};

use rand::{Rng, SeedableRng, rngs::StdRng};

use super::{
    attempt::{Attempt, Ending, Hello, Step, Target},
    body::{Answer, Body, Finding, Seen, Shown},
    options::Options,
};
use crate::{
    clock::{Now, Tick},
    measurement::{
        self, Carry, Input, Machine, Outcome, Output, Run, args,
        machine::{Handle, ResolveError},
        ports,
    },
    wire::tls::{ClientHello, TLS_1_2},
};

/// `protocol_version`: the server speaks no version that was offered.
const PROTOCOL_VERSION: u8 = 70;

/// One run of `evsslgetcert`.
#[derive(Debug)]
pub struct Tls {
    options: Options,
    run: Run,
    rng: StdRng,
    stage: Stage,
    /// The monotonic time and the Unix seconds of the start.
    started: (Tick, i64),
    ttr: Option<f64>,
    port: u16,
    addresses: Vec<IpAddr>,
    /// The address whose turn it is.
    at: usize,
    handles: u16,
    /// The alert that the modern hello on this address was answered with.
    earlier: Option<Answer>,
}

#[derive(Debug)]
enum Stage {
    Fresh,
    /// The target is being resolved, which the driver bounds.
    Resolving,
    Trying(Box<Attempt>),
    Done,
}

impl Tls {
    /// A run of `options`; nothing of it outlives it. With [`Run::replay`] only the reference hello is sent.
    #[must_use]
    pub fn new(options: Options, run: Run) -> Self {
        Self {
            options,
            run,
            rng: StdRng::seed_from_u64(run.seed),
            stage: Stage::Fresh,
            started: (Tick::default(), 0),
            ttr: None,
            port: 0,
            addresses: Vec::new(),
            at: 0,
            handles: 0,
            earlier: None,
        }
    }

    fn start(&mut self, now: &mut Now) -> Vec<Output> {
        self.started = (now.tick(), now.unix().secs());
        let Some(port) = ports::port(&self.options.port) else {
            // Nothing is asked of any server.
            self.ttr = self.is_named().then_some(0.0);
            return self.done(now, Finding::Unresolved(ResolveError::NotKnown));
        };
        self.port = port;
        self.stage = Stage::Resolving;
        vec![Output::Resolve {
            name: self.options.target.clone(),
            family: self.options.family,
            interface: None,
        }]
    }

    fn resolved(
        &mut self,
        now: &mut Now,
        addresses: Result<Vec<IpAddr>, ResolveError>,
    ) -> Vec<Output> {
        let took = now.tick().millis_since(self.started.0);
        self.ttr = self.is_named().then_some(took);
        match addresses {
            Ok(addresses) if !addresses.is_empty() => {
                self.addresses.clone_from(&addresses);
                let mut outputs = vec![seen(Seen::Resolved(addresses, took))];
                outputs.extend(self.try_first_hello(now));
                outputs
            }
            Ok(_) => self.done(now, Finding::Unresolved(ResolveError::Failed)),
            Err(error) => self.done(now, Finding::Unresolved(error)),
        }
    }

    /// Whether the target is a name, as far as the C library tells.
    fn is_named(&self) -> bool {
        !args::is_numeric_host(&self.options.target)
    }

    fn try_first_hello(&mut self, now: &mut Now) -> Vec<Output> {
        let hello = self
            .modern_hello()
            .unwrap_or_else(|| self.reference_hello(now));
        self.attempt(now, hello)
    }

    /// The modern hello, unless this run has no use for it.
    fn modern_hello(&self) -> Option<Hello> {
        if self.run.replay || self.options.version.is_some() {
            return None;
        }
        match &self.options.server_name {
            None => Some(Hello::Modern(None)),
            // RFC 6066 section 3: no addresses. The reference hello sends whatever it is told.
            Some(name) if name.is_empty() || args::is_numeric_host(name) => None,
            Some(name) => Some(Hello::Modern(Some(name.clone()))),
        }
    }

    fn reference_hello(&mut self, now: &Now) -> Hello {
        let mut random = [0; 28];
        self.rng.fill_bytes(&mut random);
        let hello = ClientHello {
            version: self.options.version.unwrap_or(TLS_1_2),
            // Wraps in 2106, as the field does.
            time: u32::try_from(now.unix().secs().rem_euclid(1 << 32)).unwrap_or(0),
            random,
            server_name: self.options.server_name.as_deref().map(str::as_bytes),
        };
        Hello::Reference(hello.emit())
    }

    fn attempt(&mut self, now: &mut Now, hello: Hello) -> Vec<Output> {
        let Some(address) = self.addresses.get(self.at) else {
            return self.done(now, Finding::Unresolved(ResolveError::Failed));
        };
        let target = Target {
            to: SocketAddr::new(*address, self.port),
            bind: self.options.interface.clone(),
        };
        self.handles = self.handles.wrapping_add(1);
        let (attempt, outputs) = Attempt::start(now, Handle(self.handles), target, hello);
        self.stage = Stage::Trying(Box::new(attempt));
        outputs
    }

    fn step(&mut self, now: &mut Now, on: Handle, is_modern: bool, step: Step) -> Vec<Output> {
        let ending = match step {
            Step::Wait(outputs) => return outputs,
            Step::Over(ending) => ending,
        };
        let mut outputs = vec![Output::Close { on }];
        outputs.extend(match ending {
            Ending::NotConnected(finding) => self.not_connected(now, finding, is_modern),
            Ending::Final(finding) => self.finish(now, finding),
            Ending::Deaf(alert) => self.other_hello(now, alert),
        });
        outputs
    }

    /// The next address, if there is one and this one never connected.
    fn not_connected(&mut self, now: &mut Now, finding: Finding, is_modern: bool) -> Vec<Output> {
        let is_second = !is_modern && self.modern_hello().is_some();
        let is_last = self.at + 1 >= self.addresses.len();
        if is_last || is_second {
            return self.finish(now, finding);
        }
        let why = match finding {
            Finding::NotConnected(text) => text,
            _ => "timeout".to_owned(),
        };
        let mut outputs = vec![seen(Seen::NotConnected(self.addresses[self.at], why))];
        self.at += 1;
        outputs.extend(self.try_first_hello(now));
        outputs
    }

    fn other_hello(&mut self, now: &mut Now, alert: Option<Answer>) -> Vec<Output> {
        let why = match &alert {
            Some(Answer {
                shown: Shown::Alert(alert),
                ..
            }) => format!("alert {}", alert.description),
            _ => "no answer that can be understood".to_owned(),
        };
        self.earlier = alert;
        let hello = self.reference_hello(now);
        let mut outputs = vec![seen(Seen::OtherHello(why))];
        outputs.extend(self.attempt(now, hello));
        outputs
    }

    /// Reports what the last connection came to, or the alert before it where that says more: to the reference hello
    /// a server of TLS 1.3 alone answers that it does not know the version, whatever else it disliked in a hello
    /// that it did know (section 4.3); and silence says nothing.
    fn finish(&mut self, now: &mut Now, finding: Finding) -> Vec<Output> {
        let says_less = match &finding {
            Finding::Answer(answer) => is_protocol_version(answer),
            Finding::NotConnected(_) | Finding::ConnectTimeout => true,
            Finding::Stalled { greeted, .. } => !greeted,
            _ => false,
        };
        let finding = match self.earlier.take() {
            Some(earlier) if says_less && !is_protocol_version(&earlier) => {
                Finding::Answer(earlier)
            }
            Some(earlier) if says_less && !matches!(finding, Finding::Answer(_)) => {
                Finding::Answer(earlier)
            }
            _ => finding,
        };
        self.done(now, finding)
    }

    fn done(&mut self, now: &Now, finding: Finding) -> Vec<Output> {
        let answered = matches!(finding, Finding::Answer(_));
        let body = Body {
            started: self.started.1,
            ended: now.unix().secs(),
            lts: now.lts(),
            target: self.options.target.clone(),
            port: self.options.port.clone(),
            ttr: self.ttr,
            destination: self.addresses.get(self.at).copied(),
            finding,
        };
        self.over(vec![measurement::Body::Tls(body)], answered)
    }

    fn over(&mut self, bodies: Vec<measurement::Body>, answered: bool) -> Vec<Output> {
        self.stage = Stage::Done;
        vec![Output::Done(Outcome {
            bodies,
            carry: Carry::Nothing,
            answered,
        })]
    }

    /// What there is: an alert, or nothing.
    fn stop(&mut self, now: &Now) -> Vec<Output> {
        match self.earlier.take() {
            Some(earlier) => self.done(now, Finding::Answer(earlier)),
            None => self.over(Vec::new(), false),
        }
    }
}

impl Machine for Tls {
    fn handle(&mut self, now: &mut Now, input: Input) -> Vec<Output> {
        match (&mut self.stage, input) {
            (Stage::Done, _) => Vec::new(),
            (_, Input::Stop) => self.stop(now),
            (Stage::Fresh, Input::Start) => self.start(now),
            (Stage::Resolving, Input::Resolved(addresses)) => self.resolved(now, addresses),
            (Stage::Trying(attempt), input) => {
                let (on, is_modern) = (attempt.handle_of(), attempt.is_modern());
                let step = attempt.handle(now, input);
                self.step(now, on, is_modern, step)
            }
            _ => Vec::new(),
        }
    }

    fn deadline(&self) -> Option<Tick> {
        match &self.stage {
            Stage::Fresh => Some(Tick::default()),
            Stage::Trying(attempt) => Some(attempt.deadline()),
            Stage::Resolving | Stage::Done => None,
        }
    }
}

fn is_protocol_version(answer: &Answer) -> bool {
    matches!(&answer.shown, Shown::Alert(alert) if alert.description == PROTOCOL_VERSION)
}

fn seen(seen: Seen) -> Output {
    Output::Seen(measurement::Seen::Tls(seen))
}
