//! One address: connect, ask, read, all before one deadline (`http-tls-measurements` 1.5, 2.3 to 2.6).

use std::net::{IpAddr, SocketAddr};

use rustls::pki_types::DnsName;

use super::{
    body::{Complete, Entry, Place, Problem, ReadAt, Response, Seen, Timing},
    headers::Stored,
    machine::Common,
    openssl,
    options::{Method, Times},
    request,
};
use crate::{
    clock::{Now, Tick},
    measurement::{
        self, Input, Output, format,
        machine::{self, Call, Failure, Handle, Tls},
    },
    wire::http::{Expect, Reader, ResponseError, Want},
};

/// Bytes of a posted body that are handed over at a time.
const PIECE: usize = 65_536;

/// An exchange with one address.
#[derive(Debug)]
pub(super) struct Exchange {
    on: Handle,
    to: IpAddr,
    place: Option<Place>,
    connected: bool,
    deadline: Tick,
    began: Tick,
    source: Option<String>,
    connect_ms: f64,
    first_byte_ms: Option<f64>,
    /// A read event began and nothing was read in it yet.
    event_begins: bool,
    reads: Vec<ReadAt>,
    reader: Reader,
    stored: Option<Stored>,
    /// Bytes of the posted body that were handed over.
    posted: usize,
}

/// What an exchange does after an input.
pub(super) enum Step {
    /// It goes on.
    Wait(Vec<Output>),
    /// It is over, once this is done.
    Over(Vec<Output>, Entry, Ending),
}

/// How an exchange ended, which decides whether the next address is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// There was no connection.
    NotConnected,
    /// The policy refuses the address.
    Forbidden,
    /// No socket can be had, for this address or any other.
    NoSocket,
    /// The server was reached; its response was complete or not.
    Reached,
}

impl Exchange {
    /// Begins to connect.
    pub(super) fn start(
        common: &mut Common,
        now: &mut Now,
        to: IpAddr,
        place: Option<Place>,
    ) -> (Self, Vec<Output>) {
        let options = &common.options;
        let expect = Expect {
            head: options.method == Method::Head,
            read_limit: options.read_limit,
            body_limit: u64::try_from(options.store_body).unwrap_or(u64::MAX),
        };
        let wanted = options.store_headers;
        let stored = (wanted != 0).then(|| Stored::new(wanted, common.header_room));
        let began = now.tick();
        let exchange = Self {
            on: common.fresh_handle(),
            to,
            place,
            connected: false,
            deadline: began + common.options.timeout,
            began,
            source: None,
            connect_ms: 0.0,
            first_byte_ms: None,
            event_begins: false,
            reads: Vec::new(),
            reader: Reader::new(expect),
            stored,
            posted: 0,
        };
        let connect = Output::Connect {
            on: exchange.on,
            stream: machine::Stream {
                to: SocketAddr::new(to, common.port),
                bind: common.bind(),
                tls: tls(common),
            },
        };
        (exchange, vec![seen(Seen::Connecting(to)), connect])
    }

    pub(super) const fn deadline(&self) -> Tick {
        self.deadline
    }

    pub(super) fn handle(&mut self, common: &mut Common, now: &mut Now, input: Input) -> Step {
        match input {
            Input::Deadline => self.timeout(common),
            Input::Stamped { on, .. } if on == self.on && !self.connected => {
                self.began = now.tick();
                Step::Wait(Vec::new())
            }
            Input::Connected {
                on,
                local,
                handshake,
                tls,
            } if on == self.on && !self.connected => {
                self.connect_ms = now.tick().millis_since(self.began);
                let tcp_ms = handshake.map(|handshake| handshake.as_secs_f64() * 1e3);
                // The kernel's time of the handshake is not late when we are. TLS comes on top of it.
                if let (Some(tcp_ms), None) = (tcp_ms, &tls) {
                    self.connect_ms = tcp_ms;
                }
                let tls = tls.map(|session| (session.version, session.cipher));
                self.connected(common, local.ip(), tcp_ms, tls)
            }
            Input::Failed { on, cause, .. } if on == self.on && !self.connected => {
                self.not_connected(common, &cause)
            }
            Input::Written { on } if on == self.on && self.connected => {
                Step::Wait(self.next_piece(common))
            }
            Input::Readable { on } if on == self.on && self.connected => self.readable(common, now),
            Input::Read { on, bytes } if on == self.on && self.connected => {
                let Self { reader, stored, .. } = self;
                let want = reader.fill(&bytes, &mut |line| {
                    if let Some(stored) = stored {
                        stored.take(line);
                    }
                });
                self.follow(common, now, want)
            }
            // The server no longer listens; it may have answered all the same.
            Input::Failed {
                on,
                cause: Failure::Os {
                    call: Call::Write, ..
                },
                ..
            } if on == self.on => {
                self.posted = usize::MAX;
                Step::Wait(Vec::new())
            }
            Input::Ended { on, .. } | Input::Failed { on, .. } if on == self.on => {
                match self.reader.end() {
                    Ok(()) => self.complete(common, now),
                    Err(error) => self.broken(common, error),
                }
            }
            _ => Step::Wait(Vec::new()),
        }
    }

    fn timeout(&mut self, common: &mut Common) -> Step {
        if self.connected {
            let error = self.reader.timeout();
            return self.broken(common, error);
        }
        let problem = Problem::Exchange("connect: timeout".to_owned());
        self.over(common, Some(problem), None, Ending::NotConnected)
    }

    fn not_connected(&mut self, common: &mut Common, cause: &Failure) -> Step {
        let socket = |text: &str| (Problem::Socket(text.to_owned()), Ending::NoSocket);
        let (problem, ending) = match cause {
            Failure::Forbidden(_) => {
                let close = vec![Output::Close { on: self.on }];
                let entry = Entry::Forbidden(common.address(self.to));
                return Step::Over(close, entry, Ending::Forbidden);
            }
            Failure::Bind
            | Failure::Os {
                call: Call::Bind, ..
            } => socket("bind_interface failed"),
            Failure::Os {
                call: Call::Socket, ..
            } => socket("socket call failed"),
            cause => {
                let text = openssl::connect_error(cause, common.options.url.secure);
                let problem = Problem::Exchange(format!("connect: {text}"));
                (problem, Ending::NotConnected)
            }
        };
        self.over(common, Some(problem), None, ending)
    }

    fn connected(
        &mut self,
        common: &Common,
        source: IpAddr,
        tcp_ms: Option<f64>,
        tls: Option<(u16, u16)>,
    ) -> Step {
        self.connected = true;
        self.source = Some(common.address(source));
        Step::Wait(vec![
            seen(Seen::Connected {
                source,
                tcp_ms,
                ms: self.connect_ms,
                tls,
            }),
            Output::Write {
                on: self.on,
                bytes: request::head(&common.options, &common.post),
            },
            Output::Await { on: self.on },
        ])
    }

    /// The next piece of what is posted, if there is one.
    fn next_piece(&mut self, common: &Common) -> Vec<Output> {
        let left = match common.options.method {
            Method::Post => common.post.body.get(self.posted..).unwrap_or_default(),
            Method::Get | Method::Head => &[],
        };
        let piece = &left[..left.len().min(PIECE)];
        if piece.is_empty() {
            return Vec::new();
        }
        self.posted += piece.len();
        vec![Output::Write {
            on: self.on,
            bytes: piece.to_vec(),
        }]
    }

    fn readable(&mut self, common: &mut Common, now: &mut Now) -> Step {
        let is_first = self.first_byte_ms.is_none();
        if is_first {
            self.first_byte_ms = Some(now.tick().millis_since(self.began));
        }
        self.event_begins = true;
        // Nothing is at hand between events but the beginning of a line, so no header shows here.
        let want = self.reader.event(&mut |_| {});
        let mut step = self.follow(common, now, want);
        if let (true, Some(ms), Step::Wait(outputs)) = (is_first, self.first_byte_ms, &mut step) {
            outputs.insert(0, seen(Seen::FirstByte(ms)));
        }
        step
    }

    fn follow(
        &mut self,
        common: &mut Common,
        now: &mut Now,
        want: Result<Want, ResponseError>,
    ) -> Step {
        let on = self.on;
        match want {
            Ok(Want::Fill(max)) => {
                if self.event_begins {
                    self.event_begins = false;
                    self.note_read(common, now);
                }
                Step::Wait(vec![Output::Read { on, max }])
            }
            Ok(Want::Event) => Step::Wait(vec![Output::Await { on }]),
            Ok(Want::Nothing) => self.complete(common, now),
            Err(error) => self.broken(common, error),
        }
    }

    fn note_read(&mut self, common: &mut Common, now: &mut Now) {
        if common.options.times == Times::Reads && common.reads_room > 0 {
            common.reads_room -= 1;
            self.reads.push(ReadAt {
                offset: self.reader.received(),
                ms: now.tick().millis_since(self.began),
            });
        }
    }

    fn complete(&mut self, common: &mut Common, now: &mut Now) -> Step {
        let phases = Timing {
            resolve: common.started_ms,
            connect: self.connect_ms,
            first_byte: self.first_byte_ms.unwrap_or_default(),
        };
        let complete = Complete {
            // Where the kernel tells no time of the first bytes, they are noticed later than the last ones arrived.
            ms: now.tick().millis_since(self.began).max(phases.first_byte),
            status: self.reader.status().unwrap_or_default(),
            header_size: self.reader.header_size(),
            body_size: self.reader.body_size(),
            timing: (common.options.times > Times::None).then_some(phases),
        };
        self.over(common, None, Some(complete), Ending::Reached)
    }

    fn broken(&mut self, common: &mut Common, error: ResponseError) -> Step {
        let problem = Problem::Exchange(error.to_string());
        self.over(common, Some(problem), None, Ending::Reached)
    }

    fn over(
        &mut self,
        common: &mut Common,
        problem: Option<Problem>,
        complete: Option<Complete>,
        ending: Ending,
    ) -> Step {
        let has_status = self.reader.status().is_some();
        let header = self.stored.take().filter(|_| has_status).map(|stored| {
            common.header_room = common.header_room.saturating_sub(stored.total());
            stored.into_lines()
        });
        let reads = std::mem::take(&mut self.reads);
        let is_timed = self.reader.received() > 0 && !reads.is_empty();
        let response = Response {
            header,
            problem,
            place: self.place,
            method: common.options.method,
            family: if self.to.is_ipv4() { 4 } else { 6 },
            truncated: self.reader.is_truncated(),
            destination: common.address(self.to),
            reads: is_timed.then_some(reads),
            source: self.source.take(),
            complete,
        };
        let close = vec![Output::Close { on: self.on }];
        Step::Over(close, Entry::Tried(Box::new(response)), ending)
    }
}

/// The TLS client for `https`: it accepts every certificate and names the server if that has a name (2.3).
fn tls(common: &Common) -> Option<Tls> {
    let options = &common.options;
    options.url.secure.then(|| {
        let name = options.sni.as_deref().unwrap_or(&options.url.host);
        Tls {
            sni: DnsName::try_from(name).is_ok().then(|| name.to_owned()),
            ..Tls::default()
        }
    })
}

/// Where `address` is printed with a zone: link-local ones, if the zone is known.
pub(super) fn with_zone(address: IpAddr, zone: Option<&str>) -> String {
    let text = format::address(address);
    match (address, zone) {
        (IpAddr::V6(v6), Some(zone))
            if v6.is_unicast_link_local() && zone.parse::<IpAddr>().is_err() =>
        {
            format!("{text}%{zone}")
        }
        _ => text,
    }
}

pub(super) fn seen(seen: Seen) -> Output {
    Output::Seen(measurement::Seen::Http(seen))
}
