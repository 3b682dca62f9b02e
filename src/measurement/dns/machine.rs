//! One run of `evtdig`: attempts, repeats, and one server of the resolver file after the other
//! (`dns-measurement` 5.5, 6.1). What happens within an attempt stands in `udp` and `stream`.
//!
//! Nothing is carried from one attempt into the report of the next; only cookies are (`README.md`, sane form).

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::{
    Counts,
    body::{Body, Destination, Entry, Error, Protocol, Reply, Seen},
    options::{Options, Transport},
    query::{self, Asking, CookieSeen},
    stream::Stream,
    udp::Udp,
};
use crate::{
    clock::{Now, Tick},
    measurement::{
        self, Input, Machine, Outcome, Output, Run, format,
        machine::{Handle, ResolveError},
        ports,
    },
    wire::dns::NameError,
};

/// Between a time-out and the repeat.
const PAUSE: Duration = Duration::from_micros(1_000_001);
/// Between one resolver's result and the next resolver.
const RESOLVER_PAUSE: Duration = Duration::from_secs(1);
/// Repeats after an error that come at once; further ones wait like those after a time-out, so that no command
/// makes a probe spin.
const REPEATS_AT_ONCE: u32 = 16;
/// For an effect that is answered at once.
const GUARD: Duration = Duration::from_secs(5);
/// The query's ID while a recording is read or written.
const RECORDED_ID: u16 = 12345;
/// The TLS library of a live run. A test holds it against the lock file.
pub(super) const TLS_LIBRARY: &str = "rustls 0.23.46";
/// The TLS library of a recording.
const RECORDED_TLS_LIBRARY: &str = "test 0.0.0";

/// What the next run of the same command starts from: its cookies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Carry {
    /// What this client's cookies are made with.
    secret: Option<[u8; 32]>,
    /// What each server said last, by its place among the servers.
    servers: Vec<Vec<u8>>,
}

/// One run of `evtdig`.
#[derive(Debug)]
pub struct Dns {
    common: Common,
    state: State,
    retries: u32,
    entries: Vec<Entry>,
    /// The attempt that the one under way repeats.
    repeated: Option<Entry>,
}

/// What attempts share.
#[derive(Debug)]
pub(super) struct Common {
    pub options: Options,
    pub run: Run,
    pub counts: Counts,
    /// What the current attempt has found out so far.
    pub attempt: Attempt,
    /// The port, which the options name as text.
    pub port: u16,
    rng: StdRng,
    carry: Carry,
    /// The name with macros expanded.
    name: Vec<u8>,
    servers: Vec<String>,
    /// The server whose turn it is.
    at: usize,
    handles: u16,
    tls: Option<&'static str>,
}

/// One attempt.
#[derive(Debug, Default)]
pub(super) struct Attempt {
    pub time: i64,
    pub destination: Option<Destination>,
    pub source: Option<SocketAddr>,
    pub ttl: Option<u8>,
    pub query: Option<Vec<u8>>,
    pub reply: Option<Reply>,
    pub errors: Vec<Error>,
}

#[derive(Debug)]
enum State {
    /// Before `Start`.
    Fresh,
    /// The resolver file is being read; it cannot take longer than this.
    Resolvers(Tick),
    /// The server's name is being resolved, which the driver bounds.
    Resolving,
    Udp(Udp),
    Stream(Box<Stream>),
    /// The next attempt begins then.
    Pause(Tick),
    Done,
}

/// What an attempt does after an input.
pub(super) enum Step {
    /// It goes on.
    Wait(Vec<Output>),
    /// It is over, once this is done.
    Over(Vec<Output>, Ending),
}

/// How an attempt ended: whether it is repeated while there are repeats left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// For good.
    Final,
    /// By an error that a repeat may mend.
    Error,
    /// By a time-out.
    Timeout,
}

/// A query that was built.
pub(super) struct Built {
    pub message: Vec<u8>,
    pub id: u16,
    pub client_cookie: Option<[u8; 8]>,
}

/// Why a query cannot be built.
pub(super) enum Unbuilt {
    /// The name has no wire form.
    Format,
    /// Macros in it cannot be expanded.
    Macro,
}

impl From<NameError> for Unbuilt {
    fn from(_: NameError) -> Self {
        Self::Format
    }
}

impl Dns {
    /// A run of `options`. With [`Run::replay`] ID and TLS library are those of recordings, read or written.
    #[must_use]
    pub fn new(options: Options, run: Run, carry: Option<Carry>) -> Self {
        let servers = if options.resolv {
            Vec::new()
        } else {
            vec![options.server.clone()]
        };
        Self {
            common: Common {
                options,
                run,
                counts: Counts::default(),
                attempt: Attempt::default(),
                port: 0,
                rng: StdRng::seed_from_u64(run.seed),
                carry: carry.unwrap_or_default(),
                name: Vec::new(),
                servers,
                at: 0,
                handles: 0,
                tls: None,
            },
            state: State::Fresh,
            retries: 0,
            entries: Vec::new(),
            repeated: None,
        }
    }

    fn start(&mut self, now: &Now) -> Vec<Output> {
        let common = &mut self.common;
        let Some(name) = common.expanded(now.unix().secs()) else {
            common.attempt.errors.push(Error::Macro);
            return self.entry_done(now);
        };
        common.name = name;
        if common.options.resolv {
            self.state = State::Resolvers(now.peek() + GUARD);
            let interface = common.options.interface.clone();
            return vec![Output::Resolvers { interface }];
        }
        self.begin_attempt(now)
    }

    fn resolvers(&mut self, now: &Now, servers: Vec<String>) -> Vec<Output> {
        if servers.is_empty() {
            self.common.attempt.time = now.unix().secs();
            self.common.attempt.errors.push(Error::NoResolvers);
            return self.entry_done(now);
        }
        self.common.servers = servers;
        self.begin_attempt(now)
    }

    fn begin_attempt(&mut self, now: &Now) -> Vec<Output> {
        let common = &mut self.common;
        common.attempt = Attempt {
            time: now.unix().secs(),
            ..Attempt::default()
        };
        let server = common.server();
        let Some(port) = ports::port(&common.options.port) else {
            // No repeat can mend this one.
            let reason = ResolveError::NotKnown.to_string();
            common
                .attempt
                .errors
                .push(Error::Resolution(server, reason));
            return self.attempt_over(now, Vec::new(), Ending::Final);
        };
        common.port = port;
        let name = match scoped_literal(&server) {
            Some((address, _)) => address.to_string(),
            None => server,
        };
        self.state = State::Resolving;
        vec![Output::Resolve {
            name,
            family: common.options.family,
            interface: None,
        }]
    }

    fn resolved(
        &mut self,
        now: &mut Now,
        addresses: Result<Vec<IpAddr>, ResolveError>,
    ) -> Vec<Output> {
        let common = &mut self.common;
        let udp = common.protocol() == Protocol::Udp;
        let reason = match addresses {
            Ok(addresses) if !addresses.is_empty() => {
                let step = if udp {
                    let (udp, step) = Udp::start(common, now, addresses);
                    self.state = State::Udp(udp);
                    step
                } else {
                    let (stream, step) = Stream::start(common, now, addresses[0]);
                    self.state = State::Stream(Box::new(stream));
                    step
                };
                return self.step(now, step);
            }
            Ok(_) => ResolveError::Failed,
            Err(reason) => reason,
        };
        let error = Error::Resolution(common.server(), reason.to_string());
        common.attempt.errors.push(error);
        self.attempt_over(
            now,
            Vec::new(),
            if udp { Ending::Final } else { Ending::Error },
        )
    }

    fn step(&mut self, now: &Now, step: Step) -> Vec<Output> {
        match step {
            Step::Wait(outputs) => outputs,
            Step::Over(outputs, ending) => self.attempt_over(now, outputs, ending),
        }
    }

    /// Repeats the attempt or takes what it found for the server's entry.
    fn attempt_over(&mut self, now: &Now, mut outputs: Vec<Output>, ending: Ending) -> Vec<Output> {
        if ending == Ending::Timeout {
            self.common.counts.timeouts += 1;
        }
        if ending == Ending::Final || self.retries >= self.common.options.retry {
            outputs.extend(self.entry_done(now));
            return outputs;
        }
        self.repeated = Some(self.common.entry(self.retries, now.lts()));
        self.retries += 1;
        outputs.push(Output::Seen(measurement::Seen::Dns(Seen::Repeat(
            self.retries,
        ))));
        if ending == Ending::Error && self.retries <= REPEATS_AT_ONCE {
            outputs.extend(self.begin_attempt(now));
        } else {
            self.state = State::Pause(now.peek() + PAUSE);
        }
        outputs
    }

    /// Takes the attempt for the entry of its server; then the next server, or the end.
    fn entry_done(&mut self, now: &Now) -> Vec<Output> {
        let entry = self.common.entry(self.retries, now.lts());
        self.repeated = None;
        self.retries = 0;
        let is_last = self.common.at + 1 >= self.common.servers.len();
        if is_last {
            self.entries.push(entry);
            return vec![self.done()];
        }
        let seen = Seen::Entry(Box::new(entry.clone()));
        self.entries.push(entry);
        self.common.at += 1;
        self.state = State::Pause(now.peek() + RESOLVER_PAUSE);
        vec![Output::Seen(measurement::Seen::Dns(seen))]
    }

    /// What there is: servers that are done with, and of the one whose turn it is what went wrong so far. Nothing is
    /// made up: an attempt that was not allowed to come to its end is neither answered nor timed out.
    fn stop(&mut self, now: &Now) -> Output {
        if !self.common.attempt.errors.is_empty() {
            let entry = self.common.entry(self.retries, now.lts());
            self.entries.push(entry);
        } else if let Some(entry) = self.repeated.take() {
            self.entries.push(entry);
        }
        self.done()
    }

    fn done(&mut self) -> Output {
        self.state = State::Done;
        let entries = std::mem::take(&mut self.entries);
        let answered = entries.iter().any(|entry| entry.reply.is_some());
        let mut bodies = Vec::new();
        if !entries.is_empty() {
            bodies.push(measurement::Body::Dns(Body {
                resolvers: self.common.options.resolv,
                entries,
                counts: self.common.counts,
            }));
        }
        Output::Done(Outcome {
            bodies,
            carry: measurement::Carry::Dns(self.common.carry.clone()),
            answered,
        })
    }
}

impl Machine for Dns {
    fn handle(&mut self, now: &mut Now, input: Input) -> Vec<Output> {
        let common = &mut self.common;
        match (&mut self.state, input) {
            (State::Done, _) => Vec::new(),
            (_, Input::Stop) => vec![self.stop(now)],
            (State::Fresh, Input::Start) => self.start(now),
            (State::Resolvers(_), Input::Resolvers(servers)) => self.resolvers(now, servers),
            (State::Resolvers(_), Input::Deadline) => self.resolvers(now, Vec::new()),
            (State::Resolving, Input::Resolved(addresses)) => self.resolved(now, addresses),
            (State::Pause(_), Input::Deadline) => self.begin_attempt(now),
            (State::Udp(udp), input) => {
                let step = udp.handle(common, now, input);
                self.step(now, step)
            }
            (State::Stream(stream), input) => {
                let step = stream.handle(common, now, input);
                self.step(now, step)
            }
            _ => Vec::new(),
        }
    }

    fn deadline(&self) -> Option<Tick> {
        match &self.state {
            State::Fresh => Some(Tick::default()),
            State::Resolvers(at) | State::Pause(at) => Some(*at),
            State::Udp(udp) => Some(udp.deadline()),
            State::Stream(stream) => Some(stream.deadline()),
            State::Resolving | State::Done => None,
        }
    }
}

impl Common {
    /// The server whose turn it is, as named.
    fn server(&self) -> String {
        self.servers.get(self.at).cloned().unwrap_or_default()
    }

    /// By what queries travel.
    pub(super) fn protocol(&self) -> Protocol {
        match self.options.transport {
            Transport::Udp => Protocol::Udp,
            Transport::Tcp | Transport::Tls | Transport::Https => Protocol::Tcp,
        }
    }

    /// A handle that nothing has arrived on.
    pub(super) fn fresh_handle(&mut self) -> Handle {
        self.handles = self.handles.wrapping_add(1);
        Handle(self.handles)
    }

    /// The server's host as an HTTP authority, for a command that names none.
    pub(super) fn authority(&self) -> String {
        match scoped_literal(&self.server()) {
            Some((address, _)) => format!("[{address}]"),
            None => self.server(),
        }
    }

    /// Notes that TLS was tried.
    pub(super) fn tls_tried(&mut self) {
        self.tls = Some(if self.run.replay {
            RECORDED_TLS_LIBRARY
        } else {
            TLS_LIBRARY
        });
    }

    /// Notes the address that is tried. Over TCP it shows its zone.
    pub(super) fn aims_at(&mut self, address: IpAddr) {
        let text = match self.protocol() {
            Protocol::Udp => format::address(address),
            Protocol::Tcp => self.with_zone(address),
        };
        self.attempt.destination = Some(Destination {
            address: text,
            port: self.options.port.clone(),
            family: if address.is_ipv4() { 4 } else { 6 },
        });
    }

    /// What to bind to: `-I`, else the zone of a link-local server, which no other address can be reached by.
    pub(super) fn bind(&self) -> Option<String> {
        let zone = || scoped_literal(&self.server()).and_then(|(_, zone)| zone);
        self.options.interface.clone().or_else(zone)
    }

    /// The address, a link-local one with its zone where that is known.
    fn with_zone(&self, address: IpAddr) -> String {
        let text = format::address(address);
        match (address, self.bind()) {
            (IpAddr::V6(v6), Some(zone))
                if v6.is_unicast_link_local() && zone.parse::<IpAddr>().is_err() =>
            {
                format!("{text}%{zone}")
            }
            _ => text,
        }
    }

    fn expanded(&mut self, unix: i64) -> Option<Vec<u8>> {
        let options = &self.options;
        query::expand(
            &options.name,
            options.random_word,
            self.run.probe_id,
            unix,
            &mut self.rng,
        )
    }

    /// Builds the query that leaves from `source` to `to` (sections 2 and 3).
    pub(super) fn build(
        &mut self,
        now: &Now,
        source: IpAddr,
        to: IpAddr,
    ) -> Result<Built, Unbuilt> {
        let udp = self.protocol() == Protocol::Udp;
        if udp && self.options.resolv {
            self.name = self.expanded(now.unix().secs()).ok_or(Unbuilt::Macro)?;
        }
        let drawn = self.rng.random_range(0..u16::MAX);
        let id = if self.run.replay { RECORDED_ID } else { drawn };
        let client_cookie = self.options.edns.cookies.then(|| {
            let secret = self.carry.secret.get_or_insert_with(|| self.rng.random());
            query::client_cookie(source, to, secret)
        });
        let server_cookie = self
            .carry
            .servers
            .get(self.at)
            .map_or(&[][..], Vec::as_slice);
        let with_prefix;
        let name = if self.options.prefix_probe {
            with_prefix = query::prefixed(&self.name, self.run.probe_id, self.attempt.time);
            &with_prefix
        } else {
            &self.name
        };
        let subnet_family = match to {
            _ if !udp => self.options.edns.stream_subnet_family,
            IpAddr::V4(_) => 1,
            IpAddr::V6(_) => 2,
        };
        let message = query::build(
            &self.options,
            &Asking {
                name,
                id,
                subnet_family,
                cookie: client_cookie.map(|client| (client, server_cookie)),
            },
        )?;
        if self.options.qbuf {
            self.attempt.query = Some(message.clone());
        }
        Ok(Built {
            message,
            id,
            client_cookie,
        })
    }

    /// Takes an accepted reply: its cookie is remembered, the rest is reported.
    pub(super) fn accept(
        &mut self,
        message: Vec<u8>,
        client_cookie: Option<[u8; 8]>,
        rt: f64,
        qt: Option<f64>,
    ) {
        let cookie =
            client_cookie.map_or(CookieSeen::None, |sent| query::cookie_of(&message, sent));
        if client_cookie.is_some() {
            if self.carry.servers.len() <= self.at {
                self.carry.servers.resize(self.at + 1, Vec::new());
            }
            self.carry.servers[self.at] = match &cookie {
                CookieSeen::Server(server) => server.clone(),
                CookieSeen::None | CookieSeen::Mismatch => Vec::new(),
            };
        }
        self.attempt.reply = Some(Reply {
            rt,
            qt,
            message,
            abuf: self.options.abuf,
            cookie_mismatch: cookie == CookieSeen::Mismatch,
        });
    }

    /// What the finished attempt comes to.
    fn entry(&mut self, retries: u32, lts: i64) -> Entry {
        let attempt = std::mem::take(&mut self.attempt);
        let place = (self.at + 1, self.servers.len());
        Entry {
            time: attempt.time,
            lts,
            tls: self.tls,
            place: self.options.resolv.then_some(place),
            server: self.servers.get(self.at).cloned(),
            protocol: self.protocol(),
            destination: attempt.destination,
            source: attempt.source.map(|source| self.with_zone(source.ip())),
            retries,
            ttl: attempt.ttl,
            query: attempt.query,
            reply: attempt.reply,
            errors: attempt.errors,
        }
    }
}

/// An IPv6 literal, perhaps with a zone: resolving it takes the address alone, the zone is bound to.
fn scoped_literal(server: &str) -> Option<(Ipv6Addr, Option<String>)> {
    match server.split_once('%') {
        Some((address, zone)) if !zone.is_empty() => {
            Some((address.parse().ok()?, Some(zone.to_owned())))
        }
        Some(_) => None,
        None => Some((server.parse().ok()?, None)),
    }
}
