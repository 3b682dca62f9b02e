//! One run of `evntp` (`packet-measurements` sections 4.2, 4.3 and 4.5).
//!
//! Requests go out one after the other, the next one as soon as the last one is answered or given up. Live, a
//! reply must come from the server's port in mode 4 and repeat the transmit timestamp of a request of this run;
//! it then belongs to that request even if it was given up meanwhile. A recording's replies belong to the request
//! in progress, whatever they repeat.

use std::{net::IpAddr, net::SocketAddr, time::Duration};

use super::{Body, Item, Options, Outcome as Found, Reply, Seen};
use crate::{
    clock::{Now, Tick, UnixTime},
    measurement::{
        Body as AnyBody, Carry as AnyCarry, Input, Machine, Outcome, Output, Run, Seen as AnySeen,
        args,
        format::When,
        machine::{
            Call, Datagram, Failure, Family, Handle, Packet, ResolveError, Socket, SocketKind,
        },
        zones::{Zones, bound_to},
    },
    wire::ntp::{self, Timestamp},
};

/// What the next run of the same job starts from: nothing, every run is like the first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Carry {}

/// One run of one NTP measurement.
#[derive(Debug)]
pub struct Ntp {
    options: Options,
    run: Run,
    stage: Stage,
    deadline: Option<Tick>,
    started: Tick,
    /// Unix seconds of the start of probing.
    time: Option<i64>,
    ttr: Option<f64>,
    target: Option<IpAddr>,
    source: Option<IpAddr>,
    requests: Vec<Request>,
    /// The first reply.
    server: Option<ntp::Ntp>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Fresh,
    Resolving,
    Opening,
    Asking,
    Over,
}

/// A request that was sent.
#[derive(Clone, Debug)]
struct Request {
    /// The transmit timestamp in the packet.
    transmit: Timestamp,
    /// When it was handed over.
    sent: Moment,
    /// When the kernel says that it left.
    stamped: Option<Moment>,
    fate: Fate,
}

/// One moment by both clocks.
#[derive(Clone, Copy, Debug)]
struct Moment {
    tick: Tick,
    unix: UnixTime,
}

#[derive(Clone, Debug)]
enum Fate {
    Waiting,
    Lost,
    Failed(String),
    Answered { packet: ntp::Ntp, arrival: Moment },
}

/// The one socket of a run.
const SOCKET: Handle = Handle(0);

/// The only port that is asked.
const PORT: u16 = 123;

/// The type of the extension field that `-s` appends.
const EXTENSION: u16 = 2;

/// A socket that is neither opened nor refused for so long counts as refused.
const OPENING: Duration = Duration::from_secs(30);

impl Ntp {
    /// A run of `options`. Nothing is taken over from earlier runs.
    #[must_use]
    pub fn new(options: Options, run: Run) -> Self {
        Self {
            options,
            run,
            stage: Stage::Fresh,
            deadline: None,
            started: Tick::default(),
            time: None,
            ttr: None,
            target: None,
            source: None,
            requests: Vec::new(),
            server: None,
        }
    }

    fn start(&mut self, now: &mut Now) -> Vec<Output> {
        // In recordings the reading at the start is not taken and counts as 0 (`replay-vectors` section 5).
        if !self.run.replay {
            self.started = now.tick();
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
        let mut socket = Socket::new(SocketKind::Udp { port: PORT }, target);
        socket.bind = bound_to(&self.options.target, self.options.interface.as_deref());
        vec![Output::Open { on: SOCKET, socket }]
    }

    fn opened(&mut self, now: &mut Now, local: SocketAddr) -> Vec<Output> {
        self.source = Some(local.ip());
        self.stage = Stage::Asking;
        self.ask(now)
    }

    /// Sends the next request, or ends the run after the last one.
    fn ask(&mut self, now: &mut Now) -> Vec<Output> {
        if self.requests.len() >= usize::from(self.options.count) {
            return self.finish(now);
        }
        let transmit = self.transmit_timestamp(now.unix());
        let request = ntp::Ntp {
            version: 4,
            mode: ntp::CLIENT,
            reference_id: *b"RIPE",
            transmit,
            ..ntp::Ntp::default()
        };
        let mut bytes = request.emit();
        if self.options.extension != 0 {
            bytes.extend(ntp::extension(EXTENSION, self.options.extension));
        }
        self.requests.push(Request {
            transmit,
            sent: Moment::of(now),
            stamped: None,
            fate: Fate::Waiting,
        });
        self.deadline = Some(now.peek() + self.options.wait);
        let packet = Packet {
            tag: u32::from(self.current()),
            bytes,
            hop_limit: None,
            port: PORT,
        };
        vec![Output::Send { on: SOCKET, packet }]
    }

    /// The time of sending with microseconds, unlike that of any earlier request.
    fn transmit_timestamp(&self, now: UnixTime) -> Timestamp {
        let mut transmit = Timestamp::from_unix_nanos(now.nanos().div_euclid(1000) * 1000);
        while self
            .requests
            .iter()
            .any(|earlier| earlier.transmit == transmit)
        {
            transmit.fraction = transmit.fraction.wrapping_add(1);
        }
        transmit
    }

    /// The number of the request in progress, counted from 1.
    fn current(&self) -> u8 {
        u8::try_from(self.requests.len()).unwrap_or(u8::MAX)
    }

    fn timed_out(&mut self, now: &mut Now) -> Vec<Output> {
        match self.stage {
            Stage::Asking => {
                let mut outputs = self.settle(self.requests.len(), Fate::Lost);
                outputs.extend(self.ask(now));
                outputs
            }
            Stage::Opening => self.fail(
                now,
                format!("socket failed: {}", nix::errno::Errno::ETIMEDOUT.desc()),
            ),
            Stage::Fresh | Stage::Resolving | Stage::Over => Vec::new(),
        }
    }

    fn received(&mut self, now: &mut Now, datagram: &Datagram) -> Vec<Output> {
        let Ok(packet) = ntp::Ntp::parse(&datagram.bytes) else {
            return Vec::new();
        };
        let Some(number) = self.answers(&packet, datagram) else {
            return Vec::new();
        };
        self.server.get_or_insert(packet);
        let arrival = Moment::of(now);
        let mut outputs = self.settle(number, Fate::Answered { packet, arrival });
        if number == self.requests.len() {
            outputs.extend(self.ask(now));
        }
        outputs
    }

    /// Which request a reply answers, counted from 1; one that was answered before is not answered again.
    fn answers(&self, packet: &ntp::Ntp, datagram: &Datagram) -> Option<usize> {
        if self.run.replay {
            return Some(self.requests.len()).filter(|number| *number > 0);
        }
        let from_server = Some(datagram.from.ip()) == self.target && datagram.from.port() == PORT;
        let fits = |request: &Request| {
            request.transmit == packet.origin && matches!(request.fate, Fate::Waiting | Fate::Lost)
        };
        let index = self.requests.iter().rposition(fits)?;
        (from_server && packet.mode == ntp::SERVER).then_some(index + 1)
    }

    /// Writes down what became of request `number`.
    fn settle(&mut self, number: usize, fate: Fate) -> Vec<Output> {
        let Some(request) = number
            .checked_sub(1)
            .and_then(|index| self.requests.get_mut(index))
        else {
            return Vec::new();
        };
        request.fate = fate;
        let item = request.item(self.run.replay);
        let request = u8::try_from(number).unwrap_or(u8::MAX);
        item.map(|item| Output::Seen(AnySeen::Ntp(Seen { request, item })))
            .into_iter()
            .collect()
    }

    fn failed(&mut self, now: &mut Now, cause: &Failure) -> Vec<Output> {
        match self.stage {
            Stage::Opening => {
                let why = match cause {
                    Failure::Forbidden(_) => "address not allowed".to_owned(),
                    Failure::Os {
                        call: Call::Socket, ..
                    } => {
                        format!("socket failed: {}", cause.strerror())
                    }
                    Failure::Bind
                    | Failure::Os {
                        call: Call::Bind, ..
                    } => "bind_interface failed".to_owned(),
                    _ => format!("connect failed: {}", cause.strerror()),
                };
                self.fail(now, why)
            }
            Stage::Asking if !is_tolerated(cause, self.target) => {
                let why = format!("sendto failed: {}", cause.strerror());
                let mut outputs = self.settle(self.requests.len(), Fate::Failed(why));
                outputs.extend(self.finish(now));
                outputs
            }
            _ => Vec::new(),
        }
    }

    fn fail(&mut self, now: &mut Now, why: String) -> Vec<Output> {
        self.done(now, Found::Failed(why))
    }

    /// Ends the run with what is known; a request still awaited is left out.
    fn finish(&mut self, now: &mut Now) -> Vec<Output> {
        let items = self
            .requests
            .iter()
            .filter_map(|request| request.item(self.run.replay))
            .collect();
        self.done(now, Found::Items(items))
    }

    fn done(&mut self, now: &mut Now, outcome: Found) -> Vec<Output> {
        self.stage = Stage::Over;
        self.deadline = None;
        let body = Body {
            when: When {
                time: self.time.unwrap_or(now.unix().secs()),
                endtime: None,
                lts: now.lts(),
            },
            target: self.options.target.clone(),
            ttr: self.ttr,
            destination: self.target,
            source: self.source,
            family: self.target.map_or(self.options.family, Family::of),
            server: self.server,
            outcome,
            zones: Zones::default(),
        };
        vec![Output::Done(Outcome {
            bodies: vec![AnyBody::Ntp(body)],
            carry: AnyCarry::Ntp(Carry {}),
            answered: self.server.is_some(),
        })]
    }
}

impl Moment {
    /// When something happened. In a replay the ticks count nothing here, and none is taken.
    const fn of(now: &Now) -> Self {
        Self {
            tick: now.peek(),
            unix: now.unix(),
        }
    }

    /// This moment by the wall clock as it was at `before`: if that clock was set meanwhile, by the other one.
    fn by_clock_of(self, before: Self) -> Timestamp {
        /// No clock that is only slewed gains or loses so much within a request.
        const STEP: i128 = 1_000_000;
        let ticked = nanos(self.tick) - nanos(before.tick);
        let went = self.unix.nanos() - before.unix.nanos();
        let elapsed = if (went - ticked).abs() > STEP {
            ticked
        } else {
            went
        };
        Timestamp::from_unix_nanos(before.unix.nanos() + elapsed)
    }
}

fn nanos(tick: Tick) -> i128 {
    i128::try_from(tick.0.as_nanos()).unwrap_or(i128::MAX)
}

impl Request {
    /// What is told of it, if its fate is known.
    fn item(&self, replay: bool) -> Option<Item> {
        Some(match &self.fate {
            Fate::Waiting => return None,
            Fate::Lost => Item::Lost,
            Fate::Failed(why) => Item::Failed(why.clone()),
            Fate::Answered { packet, arrival } => {
                let times = if replay {
                    Times::recorded(packet, *arrival)
                } else {
                    self.times(packet, *arrival)
                };
                Item::Reply(Reply {
                    packet: *packet,
                    origin: times.origin,
                    arrival: times.arrival,
                    rtt: if replay {
                        times.recorded_rtt()
                    } else {
                        times.rtt()
                    },
                    offset: if replay {
                        times.recorded_offset()
                    } else {
                        times.offset()
                    },
                })
            }
        })
    }

    /// The times of a live request: the kernel's time of sending unless it lies outside the time between, which
    /// one has that was made by a clock that was set meanwhile.
    fn times(&self, packet: &ntp::Ntp, arrival: Moment) -> Times {
        let stamped = self
            .stamped
            .filter(|stamped| (self.sent.tick..=arrival.tick).contains(&stamped.tick));
        Times {
            origin: stamped.map_or(packet.origin, |stamped| stamped.by_clock_of(self.sent)),
            receive: packet.receive,
            transmit: packet.transmit,
            arrival: arrival.by_clock_of(self.sent),
        }
    }
}

/// T1 to T4 of RFC 5905 section 8.
struct Times {
    origin: Timestamp,
    receive: Timestamp,
    transmit: Timestamp,
    arrival: Timestamp,
}

impl Times {
    /// Those of a recording.
    fn recorded(packet: &ntp::Ntp, arrival: Moment) -> Self {
        Self {
            origin: packet.origin,
            receive: packet.receive,
            transmit: packet.transmit,
            arrival: Timestamp::from_unix_nanos(arrival.unix.nanos()),
        }
    }

    /// (T4-T1) - (T3-T2), right also if one side crosses a second and the other does not.
    fn rtt(&self) -> f64 {
        f64::from(self.rtt_seconds().cast_signed()) + self.rtt_fraction()
    }

    /// The same as recordings have it (`packet-measurements` section 4.5): the seconds alone must not be negative,
    /// else they wrap, and what is then lost of the fractions depends on the order of the sums.
    fn recorded_rtt(&self) -> f64 {
        let server = self.transmit.fraction_f64() - self.receive.fraction_f64();
        f64::from(self.rtt_seconds()) + self.arrival.fraction_f64()
            - self.origin.fraction_f64()
            - server
    }

    fn rtt_seconds(&self) -> u32 {
        let server = self.transmit.seconds.wrapping_sub(self.receive.seconds);
        let all = self.arrival.seconds.wrapping_sub(self.origin.seconds);
        all.wrapping_sub(server)
    }

    fn rtt_fraction(&self) -> f64 {
        let server = self.transmit.fraction_f64() - self.receive.fraction_f64();
        self.arrival.fraction_f64() - self.origin.fraction_f64() - server
    }

    /// ((T2-T1) + (T3-T4)) / 2.
    fn offset(&self) -> f64 {
        let there = self.receive.seconds.wrapping_sub(self.origin.seconds);
        let back = self.transmit.seconds.wrapping_sub(self.arrival.seconds);
        let seconds = f64::from(there.cast_signed()) + f64::from(back.cast_signed());
        let there = self.receive.fraction_f64() - self.origin.fraction_f64();
        let back = self.transmit.fraction_f64() - self.arrival.fraction_f64();
        f64::midpoint(seconds, there + back)
    }

    /// The negation of what recordings have (formula P of `packet-measurements` section 4.5): the same, except for a
    /// server so far off that the sums of the seconds wrap differently.
    fn recorded_offset(&self) -> f64 {
        let half = |a: u32, b: u32| f64::from(a.wrapping_add(b)) / 2.0;
        let local = half(self.origin.seconds, self.arrival.seconds);
        let server = half(self.receive.seconds, self.transmit.seconds);
        let local_fraction = self.origin.fraction_f64() + self.arrival.fraction_f64();
        let server_fraction = self.receive.fraction_f64() + self.transmit.fraction_f64();
        -(local - server + local_fraction / 2.0 - server_fraction / 2.0)
    }
}

/// Failures after which the request times out like a lost one: ICMP errors, and some of sending.
fn is_tolerated(cause: &Failure, target: Option<IpAddr>) -> bool {
    use nix::errno::Errno;
    if let Failure::Os {
        call: Call::Receive,
        ..
    } = cause
    {
        return true;
    }
    let Failure::Os {
        call: Call::Send,
        errno,
    } = cause
    else {
        return false;
    };
    match Errno::from_raw(*errno) {
        Errno::EMSGSIZE => true,
        Errno::EACCES | Errno::ECONNREFUSED => target.is_some_and(|target| target.is_ipv6()),
        _ => false,
    }
}

impl Machine for Ntp {
    fn handle(&mut self, now: &mut Now, input: Input) -> Vec<Output> {
        match (input, self.stage) {
            (_, Stage::Over) => Vec::new(),
            (Input::Start, Stage::Fresh) => self.start(now),
            (Input::Resolved(answer), Stage::Resolving) => self.resolved(now, &answer),
            (Input::Failed { .. }, Stage::Resolving) => {
                self.resolved(now, &Err(ResolveError::Failed))
            }
            (Input::Opened { local, .. }, Stage::Opening) => self.opened(now, local),
            (Input::Deadline, _) => self.timed_out(now),
            (Input::Datagram { datagram, .. }, Stage::Asking) => self.received(now, &datagram),
            (Input::Stamped { tag, .. }, Stage::Asking) => {
                let index = usize::try_from(tag).unwrap_or(0).wrapping_sub(1);
                if let Some(request) = self.requests.get_mut(index) {
                    request.stamped = Some(Moment::of(now));
                }
                Vec::new()
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
