//! One run of `evping` (`packet-measurements` sections 2.2 to 2.4).
//!
//! Requests leave one interval apart, whatever comes back, and each has its own sequence number. The slots are
//! counted from the first request, so a late wake-up delays one request and not all that follow.
//!
//! A replay keeps the numbering of the official probe instead (the rules at the end of the
//! file): recorded sequence numbers fit no other.

use std::{net::IpAddr, time::Duration};

use rand::{Rng, SeedableRng, rngs::StdRng};

use super::{
    body::{Body, Seen, Source},
    options::Options,
    packet::{self, Mark, Marked, MarkedKind},
    tally::{Fate, Heard, Tally, Time},
};
use crate::{
    clock::{Now, Tick},
    measurement::{
        Body as AnyBody, Carry as AnyCarry, Input, Machine, Outcome, Output, Run, Seen as AnySeen,
        args::is_numeric_host,
        format,
        machine::{
            Call, Datagram, Failure, Family, Handle, Packet, ResolveError, Socket, SocketKind,
        },
        zones::{Zones, bound_to},
    },
};

/// The most requests of one run. A command may ask for 2³¹; a run ends after these with what came by then, so
/// that neither its result nor its memory grows without end.
pub const MAX_REQUESTS: u32 = 16_384;

/// The cookie in a replay (`replay-vectors` section 3).
const REPLAY_COOKIE: [u8; 8] = [0x2a; 8];
/// The one socket of a run.
const SOCKET: Handle = Handle(0);
/// How long the answer to `Open` may take. It comes at once; this only keeps a run from waiting for ever.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
/// Octets of an error item in the result.
const MAX_ERROR_ITEM: usize = 79;

/// What the next run starts from (`packet-measurements` section 5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Carry {
    /// The sequence number of the next request.
    pub sequence: u16,
    /// The octets that tell this measurement's replies from others'.
    pub cookie: [u8; 8],
    /// With `-e`: the address that the target was resolved to.
    pub address: Option<IpAddr>,
}

/// One run of one ping.
#[derive(Debug)]
pub struct Ping {
    options: Options,
    run: Run,
    carry: Carry,
    state: State,
    /// When the run began: where `ttr` is counted from.
    started: Tick,
    resolve_ms: Option<f64>,
    destination: Option<IpAddr>,
    source: Source,
    mark: Mark,
    /// The sequence number of this run's first request.
    first_sequence: u16,
    tally: Tally,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    New,
    Resolving,
    Opening {
        until: Tick,
    },
    /// A request is on its way; the next one's time, or the end, is `until`.
    Waiting {
        until: Tick,
    },
    Over,
}

impl Ping {
    /// A run of `options` that continues where `carry` left off. Without one, cookie and first sequence number are
    /// new: the cookie from the run's seed, the number 1.
    #[must_use]
    pub fn new(options: Options, run: Run, carry: Option<Carry>) -> Self {
        let mut carry = carry.unwrap_or_else(|| {
            let mut cookie = [0; 8];
            StdRng::seed_from_u64(run.seed).fill_bytes(&mut cookie);
            Carry {
                sequence: 1,
                cookie,
                address: None,
            }
        });
        if run.replay {
            carry.cookie = REPLAY_COOKIE;
        }
        Self {
            mark: Mark {
                identifier: 0,
                cookie: carry.cookie,
            },
            first_sequence: carry.sequence,
            options,
            run,
            carry,
            state: State::New,
            started: Tick::default(),
            resolve_ms: None,
            destination: None,
            source: Source::Unknown,
            tally: Tally::default(),
        }
    }

    fn start(&mut self, now: &mut Now) -> Vec<Output> {
        self.started = now.tick();
        if let Some(address) = self.carry.address.filter(|_| self.options.resolve_once) {
            return self.open(now, address);
        }
        self.state = State::Resolving;
        vec![Output::Resolve {
            name: self.options.target.clone(),
            family: self.options.family,
            interface: self.options.bind.clone(),
        }]
    }

    fn resolved(
        &mut self,
        now: &mut Now,
        answer: &Result<Vec<IpAddr>, ResolveError>,
    ) -> Vec<Output> {
        self.resolve_ms = Some(now.tick().millis_since(self.started));
        match self.options.family.pick(answer) {
            Ok(address) => self.open(now, address),
            Err(error) => {
                let text = format!("dns resolution failed: {error}");
                self.fail(now, self.options.size, text)
            }
        }
    }

    fn open(&mut self, now: &Now, address: IpAddr) -> Vec<Output> {
        self.destination = Some(address);
        self.state = State::Opening {
            until: now.peek() + OPEN_TIMEOUT,
        };
        let mut socket = Socket::new(SocketKind::Echo, address);
        socket.bind = bound_to(&self.options.target, self.options.bind.as_deref());
        vec![Output::Open { on: SOCKET, socket }]
    }

    fn opened(&mut self, now: &mut Now, local: IpAddr, identifier: u16) -> Vec<Output> {
        self.mark.identifier = identifier;
        self.source = Source::Address(local);
        let Some(destination) = self.destination else {
            return Vec::new();
        };
        if self.options.resolve_once {
            self.carry.address = Some(destination);
        }
        if self.options.count == 0 {
            return self.finish(now);
        }
        let mut outputs = vec![Output::Seen(AnySeen::Ping(Seen::Started {
            destination,
            source: local,
            size: self.options.wire_size(),
        }))];
        outputs.extend(self.send(now, None));
        outputs
    }

    /// The next request. `slot` is when it was due.
    fn send(&mut self, now: &mut Now, slot: Option<Tick>) -> Vec<Output> {
        let sent = now.tick();
        self.state = State::Waiting {
            until: next_slot(sent, slot, self.options.interval),
        };
        let sequence = self.carry.sequence;
        if !self.run.replay {
            self.carry.sequence = sequence.wrapping_add(1);
        }
        let signature = self.options.sign.then(|| self.signature());
        let bytes = packet::request(
            &self.options,
            self.mark,
            sequence,
            sent,
            signature.as_deref(),
        );
        let tag = u32::try_from(self.tally.requests()).expect("at most MAX_REQUESTS");
        self.tally.send(sent);
        vec![Output::Send {
            on: SOCKET,
            packet: Packet {
                tag,
                bytes,
                hop_limit: None,
                port: 0,
            },
        }]
    }

    fn signature(&self) -> String {
        match self.run.probe_id {
            Some(id) => format!("RIPE Atlas probe {id}"),
            None => "RIPE Atlas probe <unknown>".to_owned(),
        }
    }

    /// The time to wait for the latest reply is over.
    fn next(&mut self, now: &mut Now, slot: Tick) -> Vec<Output> {
        let mut outputs = Vec::new();
        if self.run.replay {
            self.replay_time_out(now);
        } else if let Some((index, request)) = self.tally.latest()
            && request.fate == Fate::Awaited
        {
            // At the time that was due, whenever we woke: a reply is late or not by its own time.
            self.tally.give_up(index, slot, true);
            outputs.push(Output::Seen(AnySeen::Ping(Seen::Lost {
                request: number(index),
            })));
        }
        if self.is_last() {
            outputs.extend(self.finish(now));
        } else {
            outputs.extend(self.send(now, Some(slot)));
        }
        outputs
    }

    /// Whether no request follows those that left.
    fn is_last(&self) -> bool {
        number(self.tally.requests()) > self.options.count.min(MAX_REQUESTS)
    }

    fn received(&mut self, now: &mut Now, datagram: &Datagram) -> Vec<Output> {
        // Taken before the packet is looked at: in a replay foreign packets cost their tick, too.
        let received = now.tick();
        let check = !self.run.replay;
        let Some(marked) = Marked::read(datagram, self.options.family, self.mark, check) else {
            return Vec::new();
        };
        match marked.kind {
            MarkedKind::Request => Vec::new(),
            MarkedKind::Other if self.run.replay => self.next(now, received),
            // Live, the network lets in nothing but replies; were it otherwise, a stranger's message would still
            // not hurry us.
            MarkedKind::Other => Vec::new(),
            MarkedKind::Reply if self.run.replay => self.replay_reply(received, &marked),
            MarkedKind::Reply => self.reply(received, &marked),
        }
    }

    /// A reply, live: it belongs to the request with its number, and to no other.
    fn reply(&mut self, received: Tick, marked: &Marked) -> Vec<Output> {
        let index = usize::from(marked.sequence.wrapping_sub(self.first_sequence));
        match self.tally.request(index) {
            Some(request) if marked.was_sent_at(request.sent) => {}
            _ => return Vec::new(),
        }
        let heard = self.heard(
            Time::Since {
                request: index,
                received,
            },
            marked,
            false,
        );
        match self.tally.hear(index, received, heard) {
            Some(duplicate) => self.show(index, &Heard { duplicate, ..heard }),
            None => Vec::new(),
        }
    }

    /// A reply with its members, and what it says about the address that requests come from.
    fn heard(&mut self, time: Time, marked: &Marked, duplicate: bool) -> Heard {
        let differs = match (marked.to, self.source) {
            (Some(to), Source::Address(source)) if to != source => Some(to),
            _ => None,
        };
        // The first item sets what later ones are compared with, so it names no difference of its own.
        let first = self.tally.is_empty();
        if let Some(to) = differs {
            self.source = Source::Address(to);
        }
        Heard {
            time,
            duplicate,
            size: marked.size,
            ttl: marked.ttl,
            source: differs.filter(|_| !first),
        }
    }

    fn show(&self, index: usize, heard: &Heard) -> Vec<Output> {
        vec![Output::Seen(AnySeen::Ping(Seen::Reply {
            request: number(index),
            rtt_ms: self.tally.millis(heard.time),
            size: heard.size,
            ttl: heard.ttl,
            duplicate: heard.duplicate,
        }))]
    }

    fn failed(&mut self, now: &mut Now, tag: Option<u32>, cause: &Failure) -> Vec<Output> {
        match (self.state, tag) {
            (State::Opening { .. }, None) => self.not_opened(now, cause),
            (State::Waiting { .. }, Some(tag)) => {
                let text = match cause {
                    Failure::Forbidden(_) => "address not allowed".to_owned(),
                    cause => format!("sendto failed: {}", cause.strerror()),
                };
                self.tally
                    .fail(usize::try_from(tag).unwrap_or(usize::MAX), text.clone());
                vec![Output::Seen(AnySeen::Ping(Seen::Error(text)))]
            }
            // The socket itself is gone: nothing can be sent or heard any more.
            (State::Waiting { .. }, None) => {
                let text = format!("socket failed: {}", cause.strerror());
                self.tally.note(cut(&text));
                self.finish(now)
            }
            _ => Vec::new(),
        }
    }

    fn not_opened(&mut self, now: &Now, cause: &Failure) -> Vec<Output> {
        let text = match cause {
            Failure::Forbidden(_) => {
                // Never again for a target that was to be resolved only once.
                self.carry.address = None;
                return self.fail(now, self.options.size, "address not allowed".to_owned());
            }
            Failure::Bind
            | Failure::Os {
                call: Call::Bind, ..
            } => "bind to interface failed".to_owned(),
            Failure::Os {
                call: Call::Connect,
                ..
            } => {
                format!("connect failed: {}", cause.strerror())
            }
            Failure::Os { .. } | Failure::Tls(_) => format!("socket failed: {}", cause.strerror()),
        };
        self.source = Source::NoSocket;
        self.fail(now, 0, cut(&text))
    }

    /// The run ends before the first request.
    fn fail(&mut self, now: &Now, size: u32, text: String) -> Vec<Output> {
        let seen = Output::Seen(AnySeen::Ping(Seen::Error(text.clone())));
        self.tally.note(text);
        vec![seen, self.done(now, size)]
    }

    /// The run ends after its socket was open, or asked for.
    fn finish(&mut self, now: &Now) -> Vec<Output> {
        let size = self.tally.summary(self.options.wire_size()).size;
        vec![
            Output::Close { on: SOCKET },
            self.done(now, size.unwrap_or(self.options.size)),
        ]
    }

    fn done(&mut self, now: &Now, size: u32) -> Output {
        self.state = State::Over;
        let summary = self.tally.summary(self.options.wire_size());
        let resolve_ms = if self.options.resolve_once {
            Some(0.0)
        } else {
            self.resolve_ms
        };
        let body = Body {
            time: now.unix().secs(),
            lts: now.lts(),
            target: self.options.target.clone(),
            resolve_ms: resolve_ms.filter(|_| !is_numeric_host(&self.options.target)),
            family: self.options.family,
            destination: self.destination,
            source: self.source,
            ttl: summary.ttl,
            size,
            items: summary.items,
            zones: Zones::default(),
        };
        Output::Done(Outcome {
            bodies: vec![AnyBody::Ping(body)],
            carry: AnyCarry::Ping(self.carry.clone()),
            answered: summary.answered,
        })
    }
}

impl Machine for Ping {
    fn handle(&mut self, now: &mut Now, input: Input) -> Vec<Output> {
        match (self.state, input) {
            (State::Over, _) => Vec::new(),
            (State::New, Input::Start) => self.start(now),
            (State::New | State::Resolving, Input::Stop) => {
                let size = self.options.size;
                vec![self.done(now, size)]
            }
            (_, Input::Stop) => self.finish(now),
            (State::Resolving, Input::Resolved(answer)) => self.resolved(now, &answer),
            (State::Opening { .. }, Input::Opened { local, ident, .. }) => {
                self.opened(now, local.ip(), ident)
            }
            // Only a replay tells the socket's name again.
            (State::Waiting { .. }, Input::Opened { local, .. }) => {
                self.source = Source::Address(local.ip());
                Vec::new()
            }
            (State::Opening { until }, Input::Deadline) if now.peek() >= until => {
                let cause = Failure::Os {
                    call: Call::Socket,
                    errno: nix::errno::Errno::ETIMEDOUT as i32,
                };
                self.not_opened(now, &cause)
            }
            (State::Waiting { until }, Input::Deadline)
                if self.run.replay || now.peek() >= until =>
            {
                self.next(now, until)
            }
            (State::Waiting { .. }, Input::Datagram { datagram, .. }) => {
                self.received(now, &datagram)
            }
            (State::Waiting { .. }, Input::Stamped { tag, .. }) => {
                let at = now.tick();
                self.tally
                    .stamp(usize::try_from(tag).unwrap_or(usize::MAX), at);
                Vec::new()
            }
            (_, Input::Failed { tag, cause, .. }) => self.failed(now, tag, &cause),
            _ => Vec::new(),
        }
    }

    fn deadline(&self) -> Option<Tick> {
        match self.state {
            State::New | State::Resolving | State::Over => None,
            State::Opening { until } | State::Waiting { until } => Some(until),
        }
    }

    fn is_patient(&self) -> bool {
        matches!(self.state, State::Waiting { .. }) && self.is_last()
    }
}

/// The rules of the official probe for sequence numbers and losses (`packet-measurements` sections 2.2 and 2.5):
/// one number is expected at a time, any other is a duplicate, and a loss after the first reply leaves no item.
impl Ping {
    fn replay_reply(&mut self, received: Tick, marked: &Marked) -> Vec<Output> {
        let expected = self.carry.sequence;
        let duplicate = marked.sequence != expected;
        if !duplicate || self.options.family == Family::V6 {
            self.replay_advance();
        }
        let time = Time::Known(marked.millis_by_stamp(received));
        let heard = self.heard(time, marked, duplicate);
        let index = self.tally.requests().saturating_sub(1);
        match self.tally.push(heard) {
            Some(_) => self.show(index, &heard),
            None => Vec::new(),
        }
    }

    fn replay_time_out(&mut self, now: &Now) {
        if self.tally.is_answered() || self.tally.has_errors() {
            return;
        }
        self.replay_advance();
        let latest = self.tally.requests().saturating_sub(1);
        self.tally.give_up(latest, now.peek(), true);
    }

    fn replay_advance(&mut self) {
        self.carry.sequence = self.carry.sequence.wrapping_add(1) & 0xff;
    }
}

/// When the request after one sent at `sent` is due: an interval after that one was. Only when it left so late
/// that its reply would have less than half of its time do the slots move, so requests never leave in a burst.
fn next_slot(sent: Tick, slot: Option<Tick>, interval: Duration) -> Tick {
    match slot {
        Some(slot) if sent <= slot + interval / 2 => slot + interval,
        _ => sent + interval,
    }
}

/// The number of a request for people: from 1.
fn number(index: usize) -> u32 {
    u32::try_from(index + 1).unwrap_or(u32::MAX)
}

/// A text that, as the only member of an error item, makes no more than 79 octets.
fn cut(text: &str) -> String {
    format::cut(text, MAX_ERROR_ITEM - r#"{ "error":"" }"#.len()).to_owned()
}
