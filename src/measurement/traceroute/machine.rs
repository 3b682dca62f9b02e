//! One run of `evtraceroute` (`packet-measurements` sections 3.2, 3.6 and 3.9).
//!
//! One probe is in flight at a time. A run cannot hang: while it probes there is always a deadline, and sending
//! is not waited for.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use super::{
    Body, Hop, HopOutcome, Item, Options, Outcome as Trace, Seen, Source,
    probe::{Mark, MarkSource, low_half, next_path, same_path},
    reply::Meaning,
    route::{Pace, Route},
};
use crate::{
    clock::{Now, Tick},
    measurement::{
        Body as AnyBody, Carry as AnyCarry, Input, Machine, Outcome, Output, Run, Seen as AnySeen,
        args,
        format::When,
        machine::{
            Call, Datagram, Failure, Family, Fragment, Handle, ResolveError, Socket, SocketKind,
        },
        zones::{Zones, bound_to},
    },
    wire::options,
};

/// What the next run of the same job starts from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Carry {
    /// The path of the last run that probed.
    pub paris: Option<u32>,
}

/// One run of one traceroute.
#[derive(Debug)]
pub struct Traceroute {
    options: Options,
    run: Run,
    carried: Option<u32>,
    stage: Stage,
    deadline: Option<Tick>,
    started: Tick,
    /// Unix seconds of the start of probing.
    time: Option<i64>,
    ttr: Option<f64>,
    target: Option<IpAddr>,
    source: Source,
    paris: Option<u32>,
    answered: bool,
}

#[derive(Debug)]
enum Stage {
    Fresh,
    Resolving,
    Opening,
    Probing(Box<Probing>),
    Over,
}

#[derive(Debug)]
struct Probing {
    mark: Mark,
    route: Route,
}

/// The one socket of a run.
const SOCKET: Handle = Handle(0);

/// A socket that is neither opened nor refused for so long counts as refused.
const OPENING: Duration = Duration::from_secs(30);

impl Traceroute {
    /// A run of `options` that continues where `carry` left off.
    #[must_use]
    pub fn new(options: Options, run: Run, carry: Option<Carry>) -> Self {
        let carried = carry.and_then(|carry| carry.paris);
        Self {
            paris: same_path(options.paris, carried),
            options,
            run,
            carried,
            stage: Stage::Fresh,
            deadline: None,
            started: Tick::default(),
            time: None,
            ttr: None,
            target: None,
            source: Source::NotTold,
            answered: false,
        }
    }

    fn start(&mut self, now: &mut Now) -> Vec<Output> {
        self.started = now.tick();
        if self.options.port.is_none() {
            return self.resolved(now, &Err(ResolveError::NotKnown));
        }
        self.stage = Stage::Resolving;
        vec![Output::Resolve {
            name: self.options.target.clone(),
            family: self.options.family,
            interface: self.options.interface.clone(),
        }]
    }

    fn resolved(
        &mut self,
        now: &mut Now,
        answer: &Result<Vec<IpAddr>, ResolveError>,
    ) -> Vec<Output> {
        let taken = now.tick().millis_since(self.started);
        self.ttr = (!args::is_numeric_host(&self.options.target)).then_some(taken);
        let target = match self.options.family.pick(answer) {
            Ok(target) => target,
            Err(why) => return self.fail(now, format!("name resolution failed: {why}")),
        };
        self.time = Some(now.unix().secs());
        self.target = Some(target);
        self.stage = Stage::Opening;
        self.deadline = Some(now.peek() + OPENING);
        vec![Output::Open {
            on: SOCKET,
            socket: self.socket(target),
        }]
    }

    fn socket(&self, target: IpAddr) -> Socket {
        let kind = match self.options.protocol {
            super::Protocol::Icmp => SocketKind::IcmpProbe,
            super::Protocol::Udp => SocketKind::UdpProbe,
            super::Protocol::Tcp => SocketKind::TcpProbe,
        };
        let mut socket = Socket::new(kind, target);
        socket.bind = bound_to(&self.options.target, self.options.interface.as_deref());
        socket.tos = low_half(self.options.tos).to_be_bytes()[1];
        socket.fragment = if self.options.dont_fragment {
            Fragment::Never
        } else {
            Fragment::Allowed
        };
        if target.is_ipv6() {
            socket.hop_by_hop = options::padding(self.options.hop_by_hop);
            socket.destination_options = options::padding(self.options.destination_options);
        }
        socket
    }

    fn opened(&mut self, now: &mut Now, local: SocketAddr, ident: u16) -> Vec<Output> {
        let Some(target) = self.target else {
            return Vec::new();
        };
        self.source = Source::Address(local.ip());
        self.paris = next_path(self.options.paris, self.carried);
        // A replay sets no option of any socket.
        if target.is_ipv6() && self.options.tos > u8::MAX.into() && !self.run.replay {
            return self.fail_first_hop(now, "setting traffic class failed".to_owned());
        }
        let source = if self.run.replay {
            MarkSource::Recording
        } else {
            MarkSource::Chance(low_half(fold(self.run.seed)))
        };
        let mark = Mark::new(&self.options, target, (local, ident), self.paris, source);
        let size = self.options.size.max(mark.least());
        let route = Route::new(&self.options, size, self.run.replay);
        self.stage = Stage::Probing(Box::new(Probing { mark, route }));
        self.probe(now)
    }

    /// Sends the next probe, or ends the run.
    fn probe(&mut self, now: &mut Now) -> Vec<Output> {
        let Stage::Probing(probing) = &mut self.stage else {
            return Vec::new();
        };
        let Some((next, sent)) = probing.route.next(|| now.tick()) else {
            return self.finish(now);
        };
        self.deadline = Some(sent + self.options.wait);
        vec![Output::Send {
            on: SOCKET,
            packet: probing.mark.packet(next.number, next.size, next.hop, sent),
        }]
    }

    fn timed_out(&mut self, now: &mut Now) -> Vec<Output> {
        match &mut self.stage {
            Stage::Probing(probing) => {
                let lost = probing.route.time_out();
                let mut outputs = self.seen(lost);
                outputs.extend(self.probe(now));
                outputs
            }
            Stage::Opening => self.open_failed(
                now,
                &Failure::Os {
                    call: Call::Socket,
                    errno: nix::errno::Errno::ETIMEDOUT as i32,
                },
            ),
            Stage::Fresh | Stage::Resolving | Stage::Over => Vec::new(),
        }
    }

    fn received(&mut self, now: &mut Now, datagram: &Datagram) -> Vec<Output> {
        let received = now.tick();
        let Stage::Probing(probing) = &mut self.stage else {
            return Vec::new();
        };
        let Some(reply) = probing.mark.read(datagram) else {
            return Vec::new();
        };
        let from_target = reply.from == probing.mark.target
            || matches!(reply.meaning, Meaning::Echo | Meaning::Segment);
        let (item, pace) = probing.route.answer(reply, received);
        self.answered |= from_target && item.is_some();
        let mut outputs = self.seen(item);
        if pace == Pace::Answered {
            if self.options.linger.is_zero() {
                outputs.extend(self.probe(now));
            } else {
                self.deadline = Some(received + self.options.linger);
            }
        }
        outputs
    }

    fn failed(&mut self, now: &mut Now, cause: &Failure) -> Vec<Output> {
        match &mut self.stage {
            Stage::Opening => self.open_failed(now, cause),
            Stage::Probing(probing)
                if !is_tolerated(cause, &probing.mark, probing.route.hop(), self.run.replay) =>
            {
                let item =
                    probing
                        .route
                        .fail(describe(cause, probing.mark.target, "sendto failed"));
                let mut outputs = self.seen(Some(item));
                outputs.extend(self.finish(now));
                outputs
            }
            _ => Vec::new(),
        }
    }

    /// Nothing could be opened: told in place of the first hop's items, but for a port that cannot be bound,
    /// which is the first probe's failure.
    fn open_failed(&mut self, now: &mut Now, cause: &Failure) -> Vec<Output> {
        let Some(target) = self.target else {
            return Vec::new();
        };
        if matches!(cause, Failure::Forbidden(_)) {
            return self.fail(now, "address not allowed".to_owned());
        }
        self.source = Source::None;
        self.paris = next_path(self.options.paris, self.carried);
        let why = describe(cause, target, "connect failed");
        if matches!(
            cause,
            Failure::Os {
                call: Call::Bind,
                ..
            }
        ) {
            let outcome = HopOutcome::Items(vec![Item::Failed(why)]);
            return self.first_hop_only(now, outcome);
        }
        self.fail_first_hop(now, why)
    }

    fn fail_first_hop(&mut self, now: &mut Now, why: String) -> Vec<Output> {
        self.first_hop_only(now, HopOutcome::Failed(why))
    }

    fn first_hop_only(&mut self, now: &mut Now, outcome: HopOutcome) -> Vec<Output> {
        let hop = self.options.first;
        self.done(now, Trace::Hops(vec![Hop { hop, outcome }]))
    }

    fn fail(&mut self, now: &mut Now, why: String) -> Vec<Output> {
        self.time = Some(now.unix().secs());
        self.done(now, Trace::Failed(why))
    }

    /// Ends the run with what is known.
    fn finish(&mut self, now: &mut Now) -> Vec<Output> {
        let hops = match &self.stage {
            Stage::Probing(probing) => probing.route.hops(),
            _ => Vec::new(),
        };
        self.done(now, Trace::Hops(hops))
    }

    fn done(&mut self, now: &mut Now, outcome: Trace) -> Vec<Output> {
        let probed = matches!(self.stage, Stage::Probing(_)) || self.source != Source::NotTold;
        self.stage = Stage::Over;
        self.deadline = None;
        let end = now.unix().secs();
        let body = Body {
            when: When {
                time: self.time.unwrap_or(end),
                endtime: Some(end),
                lts: now.lts(),
            },
            target: self.options.target.clone(),
            ttr: self.ttr,
            destination: self.target,
            source: self.source,
            protocol: self.options.reported,
            family: self.target.map_or(self.options.family, Family::of),
            size: self.options.size,
            paris: self.paris,
            outcome,
            zones: Zones::default(),
        };
        let carry = Carry {
            paris: if probed { self.paris } else { self.carried },
        };
        vec![Output::Done(Outcome {
            bodies: vec![AnyBody::Traceroute(body)],
            carry: AnyCarry::Traceroute(carry),
            answered: self.answered,
        })]
    }

    fn seen(&self, item: Option<Item>) -> Vec<Output> {
        let Stage::Probing(probing) = &self.stage else {
            return Vec::new();
        };
        let hop = probing.route.hop();
        item.map(|item| Output::Seen(AnySeen::Traceroute(Seen { hop, item })))
            .into_iter()
            .collect()
    }
}

impl Machine for Traceroute {
    fn handle(&mut self, now: &mut Now, input: Input) -> Vec<Output> {
        match (input, &mut self.stage) {
            (_, Stage::Over) => Vec::new(),
            (Input::Start, Stage::Fresh) => self.start(now),
            (Input::Resolved(answer), Stage::Resolving) => self.resolved(now, &answer),
            (Input::Opened { local, ident, .. }, Stage::Opening) => self.opened(now, local, ident),
            (Input::Deadline, _) => self.timed_out(now),
            (Input::Datagram { datagram, .. }, _) => self.received(now, &datagram),
            (Input::Stamped { tag, .. }, Stage::Probing(probing)) => {
                probing.route.stamp(tag, now.tick());
                Vec::new()
            }
            (Input::Failed { .. }, Stage::Resolving) => {
                self.resolved(now, &Err(ResolveError::Failed))
            }
            (Input::Failed { cause, .. }, _) => self.failed(now, &cause),
            (Input::Stop, _) => self.finish(now),
            _ => Vec::new(),
        }
    }

    fn deadline(&self) -> Option<Tick> {
        self.deadline
    }
}

/// Failures of sending after which the probe times out like a lost one. Hop 0 is one that IPv4 cannot send to live:
/// the run goes on with the next.
fn is_tolerated(cause: &Failure, mark: &Mark, hop: u8, replay: bool) -> bool {
    use nix::errno::Errno;
    let Failure::Os {
        call: Call::Send,
        errno,
    } = cause
    else {
        return false;
    };
    match Errno::from_raw(*errno) {
        Errno::EMSGSIZE => true,
        Errno::EINVAL => hop == 0 && !replay,
        Errno::EACCES | Errno::ECONNREFUSED => {
            mark.target.is_ipv6() && mark.protocol != super::Protocol::Icmp
        }
        _ => false,
    }
}

/// The text of an error item; `step` is what fails without a name of its own.
fn describe(cause: &Failure, target: IpAddr, step: &str) -> String {
    let step = match cause {
        Failure::Forbidden(_) => return "address not allowed".to_owned(),
        Failure::Bind => return "bind_interface failed".to_owned(),
        Failure::Tls(_) => step,
        Failure::Os { call, .. } => match call {
            Call::Tos if target.is_ipv4() => return "setting ToS failed".to_owned(),
            Call::Tos => return "setting traffic class failed".to_owned(),
            Call::Socket => "socket failed",
            Call::Bind => "bind failed",
            Call::Connect => "connect failed",
            Call::Send => "sendto failed",
            Call::Write | Call::Receive => step,
        },
    };
    format!("{step}: {}", cause.strerror())
}

/// The seed in 32 bits.
fn fold(seed: u64) -> u32 {
    let [a, b, c, d, e, f, g, h] = seed.to_be_bytes();
    u32::from_be_bytes([a ^ e, b ^ f, c ^ g, d ^ h])
}
