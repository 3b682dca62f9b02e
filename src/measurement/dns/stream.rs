//! One attempt over TCP, DNS over TLS or DNS over HTTPS (`dns-measurement` section 5): the first address of the
//! server, one query, one reply, all within five seconds.
//!
//! A reply that arrived is reported, however its bytes were cut into segments and whatever follows it.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use super::{
    body::Error,
    doh,
    machine::{Built, Common, Ending, Step, Unbuilt},
    options::Transport,
};
use crate::{
    clock::{Now, Tick},
    measurement::{
        Input, Output,
        machine::{self, Call, Failure, Handle, Tls, TlsFailure, TlsSession},
    },
};

/// From before the connection to the whole reply, whatever `--timeout` says.
const LIMIT: Duration = Duration::from_secs(5);
/// Bytes asked for at a time.
const PIECE: usize = 4096;
/// The least that a DNS message is.
const LEAST: u16 = 12;
/// An error text of the TLS library is cut to this.
const MAX_TEXT: usize = 79;

/// One attempt.
#[derive(Debug)]
pub(super) struct Stream {
    on: Handle,
    to: IpAddr,
    phase: Phase,
    deadline: Tick,
    connecting: Tick,
    written: Tick,
    readable: Tick,
    id: u16,
    /// Bytes of what is written.
    length: usize,
    client_cookie: Option<[u8; 8]>,
    reader: Reader,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Connecting,
    Writing,
    Reading,
}

/// How replies are found in the stream.
#[derive(Debug)]
enum Reader {
    /// Behind a length of two bytes.
    Framed(Vec<u8>),
    /// In an HTTP response.
    Http(doh::Exchange),
}

/// What the bytes read so far come to.
enum Found {
    /// Nothing yet.
    Incomplete,
    /// The reply.
    Message(Vec<u8>),
    /// An end without a reply.
    Error(Error),
}

impl Stream {
    /// Begins to connect.
    pub(super) fn start(common: &mut Common, now: &mut Now, to: IpAddr) -> (Self, Step) {
        common.attempt.time = now.unix().secs();
        common.aims_at(to);
        let connecting = now.tick();
        let https = common.options.transport == Transport::Https;
        let reader = if https {
            Reader::Http(doh::Exchange::default())
        } else {
            Reader::Framed(Vec::new())
        };
        let attempt = Self {
            on: common.fresh_handle(),
            to,
            phase: Phase::Connecting,
            deadline: connecting + LIMIT,
            connecting,
            written: connecting,
            readable: connecting,
            id: 0,
            length: 0,
            client_cookie: None,
            reader,
        };
        let tls = tls(common);
        if tls.is_some() {
            common.tls_tried();
        }
        let connect = Output::Connect {
            on: attempt.on,
            stream: machine::Stream {
                to: SocketAddr::new(to, common.port),
                bind: common.bind(),
                tls,
            },
        };
        (attempt, Step::Wait(vec![connect]))
    }

    pub(super) fn deadline(&self) -> Tick {
        self.deadline
    }

    pub(super) fn handle(&mut self, common: &mut Common, now: &mut Now, input: Input) -> Step {
        match (self.phase, input) {
            (_, Input::Deadline) => {
                let error = Error::Timeout(common.options.timeout);
                self.over(common, error, Ending::Timeout)
            }
            (Phase::Connecting, Input::Stamped { on, .. }) if on == self.on => {
                self.connecting = now.tick();
                Step::Wait(Vec::new())
            }
            (Phase::Connecting, Input::Connected { on, local, tls, .. }) if on == self.on => {
                self.connected(common, now, local, tls.as_ref())
            }
            (Phase::Connecting, Input::Failed { on, cause, .. }) if on == self.on => {
                let error = not_connected(&cause);
                self.over(common, error, Ending::Error)
            }
            (Phase::Writing, Input::Written { on }) if on == self.on => {
                if !matches!(self.reader, Reader::Http(_)) {
                    common.counts.sent += 1;
                    common.counts.sent_bytes += self.length as u64;
                }
                self.written = now.tick();
                self.phase = Phase::Reading;
                Step::Wait(vec![Output::Await { on }])
            }
            (Phase::Reading, Input::Readable { on }) if on == self.on => {
                self.readable = now.tick();
                Step::Wait(vec![Output::Read { on, max: PIECE }])
            }
            (Phase::Reading, Input::Read { on, bytes }) if on == self.on => {
                self.read(common, now, &bytes)
            }
            (_, Input::Ended { on, .. } | Input::Failed { on, .. }) if on == self.on => {
                self.over(common, Error::Closed, Ending::Error)
            }
            _ => Step::Wait(Vec::new()),
        }
    }

    fn over(&self, common: &mut Common, error: Error, ending: Ending) -> Step {
        common.attempt.errors.push(error);
        Step::Over(vec![Output::Close { on: self.on }], ending)
    }

    fn connected(
        &mut self,
        common: &mut Common,
        now: &Now,
        local: SocketAddr,
        tls: Option<&TlsSession>,
    ) -> Step {
        let https = common.options.transport == Transport::Https;
        if https {
            let error = match tls.and_then(|session| session.alpn.as_deref()) {
                Some(b"h2") => None,
                None => Some("server does not offer 'h2' ALPN"),
                Some(_) => Some("server offers wrong ALPN"),
            };
            if let Some(error) = error {
                return self.over(common, Error::Connect(error.to_owned()), Ending::Error);
            }
        }
        common.attempt.source = Some(local);
        let Built {
            message,
            id,
            client_cookie,
        } = match common.build(now, local.ip(), self.to) {
            Ok(built) => built,
            Err(Unbuilt::Format) => return self.over(common, Error::Format, Ending::Final),
            Err(Unbuilt::Macro) => return self.over(common, Error::Macro, Ending::Final),
        };
        (self.id, self.client_cookie) = (id, client_cookie);
        let bytes = if https {
            doh::request(&authority(common), &common.options.https_path, &message)
        } else {
            let length = u16::try_from(message.len()).unwrap_or(u16::MAX);
            [&length.to_be_bytes()[..], &message].concat()
        };
        self.length = bytes.len();
        self.phase = Phase::Writing;
        Step::Wait(vec![Output::Write { on: self.on, bytes }])
    }

    fn read(&mut self, common: &mut Common, now: &Now, bytes: &[u8]) -> Step {
        if bytes.is_empty() {
            return Step::Wait(vec![Output::Await { on: self.on }]);
        }
        match self.reader.feed(bytes, self.id) {
            Found::Incomplete => Step::Wait(vec![Output::Read {
                on: self.on,
                max: PIECE,
            }]),
            Found::Error(error) => self.over(common, error, Ending::Final),
            Found::Message(message) => {
                // When its last bytes arrived. Recordings count from the read event that they were part of.
                let end = if now.is_replay() {
                    self.readable
                } else {
                    now.peek()
                };
                let millis_since = |from| end.since(from).as_secs_f64() * 1e3;
                let (rt, qt) = (millis_since(self.connecting), millis_since(self.written));
                common.accept(message, self.client_cookie, rt, Some(qt));
                Step::Over(vec![Output::Close { on: self.on }], Ending::Final)
            }
        }
    }
}

impl Reader {
    fn feed(&mut self, bytes: &[u8], id: u16) -> Found {
        match self {
            Self::Framed(held) => framed(held, bytes, id),
            Self::Http(exchange) => match exchange.feed(bytes) {
                Ok(None) => Found::Incomplete,
                Err(_) => Found::Error(Error::Http2),
                Ok(Some(response)) => match response {
                    doh::Response { status, .. } if status != 200 => {
                        Found::Error(Error::HttpStatus(status))
                    }
                    doh::Response { is_dns: false, .. } => Found::Error(Error::HttpContent),
                    doh::Response { body, .. } if body.get(..2) != Some(&id.to_be_bytes()) => {
                        Found::Error(Error::OtherIdHttp2)
                    }
                    doh::Response { body, .. } => Found::Message(body),
                },
            },
        }
    }
}

/// Section 5.6, but for what it says of bytes that arrive in other pieces than expected.
fn framed(held: &mut Vec<u8>, bytes: &[u8], id: u16) -> Found {
    held.extend_from_slice(bytes);
    let Some((length, rest)) = held.split_first_chunk::<2>() else {
        return Found::Incomplete;
    };
    let length = u16::from_be_bytes(*length);
    if length < LEAST {
        return Found::Error(Error::TooSmall(length));
    }
    match rest.get(..usize::from(length)) {
        None => Found::Incomplete,
        Some(message) if message[..2] == id.to_be_bytes() => Found::Message(message.to_vec()),
        // The size of the last piece of 256 bytes that the reference reads.
        Some(_) => Found::Error(Error::OtherId((usize::from(length) - 1) % 256 + 1)),
    }
}

/// The TLS client that the transport wants (section 5.2).
fn tls(common: &Common) -> Option<Tls> {
    let options = &common.options;
    match options.transport {
        Transport::Udp | Transport::Tcp => None,
        Transport::Tls => Some(Tls {
            sni: options.server_name.clone(),
            ..Tls::default()
        }),
        Transport::Https => Some(Tls {
            sni: options.server_name.clone(),
            alpn: vec![b"h2".to_vec()],
            verify: options.server_name.clone(),
            ..Tls::default()
        }),
    }
}

/// `:authority`: the name, and the port unless it is written as the usual one (section 5.3).
fn authority(common: &Common) -> String {
    let options = &common.options;
    let name = options
        .server_name
        .clone()
        .unwrap_or_else(|| common.authority());
    match options.port.as_str() {
        "443" => name,
        port => format!("{name}:{port}"),
    }
}

fn not_connected(cause: &Failure) -> Error {
    match cause {
        Failure::Forbidden(_) => Error::Forbidden,
        Failure::Bind
        | Failure::Os {
            call: Call::Bind, ..
        } => Error::Bind,
        Failure::Os {
            call: Call::Socket, ..
        } => Error::Socket(cause.strerror().to_owned()),
        Failure::Os { .. } => Error::Connect(cause.strerror().to_owned()),
        Failure::Tls(failure) => {
            let text = match failure {
                TlsFailure::Alert(number) => format!("the server refused TLS with alert {number}"),
                TlsFailure::Closed => "the server closed during the TLS handshake".to_owned(),
                TlsFailure::NotTls => "the server does not speak TLS".to_owned(),
                TlsFailure::Certificate(text) | TlsFailure::Other(text) => text.clone(),
            };
            let end = text.floor_char_boundary(MAX_TEXT);
            Error::Connect(text[..end].to_owned())
        }
    }
}
