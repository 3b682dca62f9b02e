//! One run of `evhttpget`: files to post, resolution, and one address after the other
//! (`http-tls-measurements` 1.3 to 1.5 and 2.7).
//!
//! Nothing is carried from one address to the next, nor from run to run: chunking, sizes and errors are each
//! connection's own.

use std::{net::IpAddr, time::Duration};

use super::{
    body::{Body, Entry, Place, Seen},
    exchange::{Ending, Exchange, Step, seen, with_zone},
    options::{Method, Options},
    request::Post,
};
use crate::{
    clock::{Now, Tick},
    measurement::{
        self, Carry, Input, Machine, Outcome, Output, Run,
        args::is_numeric_host,
        machine::{Handle, ResolveError},
        ports,
    },
};

/// For a file to be read.
const GUARD: Duration = Duration::from_secs(5);
/// The largest file that is posted; a larger one cannot be read.
const MAX_POST: usize = 16 << 20;
/// Addresses of a host that are tried at most.
const MAX_ADDRESSES: usize = 64;
/// Bytes of header lines that one run reports at most, whatever `--store-headers` says. Each may take six in the
/// line, which must stay below what a controller takes.
const MAX_HEADERS: usize = 65_536;
/// Read events that one run reports at most.
const MAX_READS: usize = 8192;

/// One run of `evhttpget`.
#[derive(Debug)]
pub struct Http {
    common: Common,
    state: State,
    started: Tick,
    /// Unix time of the start.
    time: i64,
    /// When resolution began.
    asked: Tick,
    resolve_ms: Option<f64>,
    addresses: Vec<IpAddr>,
    /// How many addresses were begun with.
    tried: usize,
    /// What `--combine` brings together.
    entries: Vec<Entry>,
    destination: Option<IpAddr>,
    bodies: Vec<measurement::Body>,
    answered: bool,
}

/// What exchanges share.
#[derive(Debug)]
pub(super) struct Common {
    pub options: Options,
    pub port: u16,
    /// What is posted.
    pub post: Post,
    /// Milliseconds from the start of the run to the first attempt to connect.
    pub started_ms: f64,
    /// How many bytes of header lines may still be reported.
    pub header_room: usize,
    /// How many read events may still be.
    pub reads_room: usize,
    handles: u16,
}

#[derive(Debug)]
enum State {
    /// Before `Start`.
    Fresh,
    /// A file is being read, which cannot take longer than this; so many were read before.
    File(Tick, usize),
    /// The host's name is being resolved, which the driver bounds.
    Resolving,
    Exchange(Box<Exchange>),
    Done,
}

impl Http {
    /// A run of `options`. It has no chance in it.
    #[must_use]
    pub fn new(options: Options, _: Run) -> Self {
        Self {
            common: Common {
                options,
                port: 0,
                post: Post::default(),
                started_ms: 0.0,
                header_room: MAX_HEADERS,
                reads_room: MAX_READS,
                handles: 0,
            },
            state: State::Fresh,
            started: Tick::default(),
            time: 0,
            asked: Tick::default(),
            resolve_ms: None,
            addresses: Vec::new(),
            tried: 0,
            entries: Vec::new(),
            destination: None,
            bodies: Vec::new(),
            answered: false,
        }
    }

    fn start(&mut self, now: &mut Now) -> Vec<Output> {
        self.started = now.tick();
        self.time = now.unix().secs();
        self.next_file(now, 0)
    }

    /// Asks for the file at `place`; if there is none, for the host's addresses.
    fn next_file(&mut self, now: &mut Now, place: usize) -> Vec<Output> {
        let options = &self.common.options;
        let wanted = options.posts.get(place);
        match wanted.filter(|_| options.method == Method::Post) {
            Some(path) => {
                self.state = State::File(now.peek() + GUARD, place);
                vec![Output::ReadFile {
                    path: path.clone(),
                    max: MAX_POST,
                }]
            }
            None => self.resolve(now),
        }
    }

    fn file(&mut self, now: &mut Now, place: usize, file: Option<Vec<u8>>) -> Vec<Output> {
        self.common.post.add(file);
        self.next_file(now, place + 1)
    }

    fn resolve(&mut self, now: &mut Now) -> Vec<Output> {
        self.asked = now.tick();
        let options = &self.common.options;
        let Some(port) = ports::port(&options.url.port) else {
            return self.resolved(now, Err(ResolveError::NotKnown));
        };
        self.common.port = port;
        self.state = State::Resolving;
        vec![Output::Resolve {
            name: options.url.host_and_zone().0.to_owned(),
            family: options.family,
            interface: None,
        }]
    }

    fn resolved(
        &mut self,
        now: &mut Now,
        addresses: Result<Vec<IpAddr>, ResolveError>,
    ) -> Vec<Output> {
        let ms = now.tick().millis_since(self.asked);
        let host = &self.common.options.url.host;
        self.resolve_ms = (!is_numeric_host(host)).then_some(ms);
        let reason = match addresses {
            Ok(mut addresses) if !addresses.is_empty() => {
                addresses.truncate(MAX_ADDRESSES);
                self.addresses = addresses;
                self.common.started_ms = now.tick().millis_since(self.started);
                let mut outputs = vec![seen(Seen::Resolved {
                    addresses: self.addresses.clone(),
                    ms: self.resolve_ms,
                })];
                outputs.extend(self.next_address(now));
                return outputs;
            }
            Ok(_) => ResolveError::Failed,
            Err(reason) => reason,
        };
        self.report(now, vec![Entry::Unresolved(reason.to_string())]);
        vec![self.done(now)]
    }

    /// Tries the next address, or ends the run.
    fn next_address(&mut self, now: &mut Now) -> Vec<Output> {
        let Some(address) = self.addresses.get(self.tried).copied() else {
            return vec![self.done(now)];
        };
        self.tried += 1;
        let Options { all, combine, .. } = self.common.options;
        let place = match (all, combine) {
            (false, _) => None,
            (true, false) => Some(Place::Alone {
                number: self.tried,
                of: self.addresses.len(),
            }),
            (true, true) => Some(Place::Among {
                time: now.unix().secs(),
            }),
        };
        if self.entries.is_empty() {
            self.destination = Some(address);
        }
        let (exchange, outputs) = Exchange::start(&mut self.common, now, address, place);
        self.state = State::Exchange(Box::new(exchange));
        outputs
    }

    fn step(&mut self, now: &mut Now, step: Step) -> Vec<Output> {
        let (mut outputs, entry, ending) = match step {
            Step::Wait(outputs) => return outputs,
            Step::Over(outputs, entry, ending) => (outputs, entry, ending),
        };
        outputs.push(seen(Seen::Entry(Box::new(entry.clone()))));
        if let Entry::Tried(response) = &entry {
            self.answered |= response.complete.is_some();
        }
        let Options { all, combine, .. } = self.common.options;
        let is_last = self.tried >= self.addresses.len();
        let goes_on = match ending {
            Ending::NotConnected => true,
            Ending::Forbidden | Ending::Reached => all,
            Ending::NoSocket => false,
        };
        if all && combine {
            self.entries.push(entry);
        } else if all || is_last || !goes_on {
            self.report(now, vec![entry]);
        }
        outputs.extend(if goes_on {
            self.next_address(now)
        } else {
            vec![self.done(now)]
        });
        outputs
    }

    fn report(&mut self, now: &Now, entries: Vec<Entry>) {
        self.bodies.push(measurement::Body::Http(Body {
            time: self.time,
            lts: now.lts(),
            resolve_ms: self.resolve_ms,
            host: self.common.options.url.host.clone(),
            destination: self.destination,
            entries,
        }));
    }

    fn done(&mut self, now: &Now) -> Output {
        self.state = State::Done;
        let entries = std::mem::take(&mut self.entries);
        if !entries.is_empty() {
            self.report(now, entries);
        }
        Output::Done(Outcome {
            bodies: std::mem::take(&mut self.bodies),
            carry: Carry::Nothing,
            answered: self.answered,
        })
    }
}

impl Machine for Http {
    fn handle(&mut self, now: &mut Now, input: Input) -> Vec<Output> {
        match (&mut self.state, input) {
            (State::Done, _) => Vec::new(),
            (_, Input::Stop) => vec![self.done(now)],
            (State::Fresh, Input::Start) => self.start(now),
            (State::File(_, place), Input::File(file)) => {
                let place = *place;
                self.file(now, place, file)
            }
            // An answer that still comes is not taken for another file's: the rest is given up with this one.
            (State::File(..), Input::Deadline) => {
                self.common.post.add(None);
                self.resolve(now)
            }
            (State::Resolving, Input::Resolved(addresses)) => self.resolved(now, addresses),
            (State::Exchange(exchange), input) => {
                let step = exchange.handle(&mut self.common, now, input);
                self.step(now, step)
            }
            _ => Vec::new(),
        }
    }

    fn deadline(&self) -> Option<Tick> {
        match &self.state {
            State::Fresh => Some(Tick::default()),
            State::File(at, _) => Some(*at),
            State::Exchange(exchange) => Some(exchange.deadline()),
            State::Resolving | State::Done => None,
        }
    }
}

impl Common {
    /// A handle that nothing has arrived on.
    pub(super) fn fresh_handle(&mut self) -> Handle {
        self.handles = self.handles.wrapping_add(1);
        Handle(self.handles)
    }

    /// What to bind to: `-I`, else the zone of a link-local literal, which is not reached otherwise.
    pub(super) fn bind(&self) -> Option<String> {
        let zone = self.options.url.host_and_zone().1.map(str::to_owned);
        self.options.interface.clone().or(zone)
    }

    /// An address as results print it.
    pub(super) fn address(&self, address: IpAddr) -> String {
        with_zone(address, self.bind().as_deref())
    }
}
