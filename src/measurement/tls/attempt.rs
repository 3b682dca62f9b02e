//! One connection with one hello (`http-tls-measurements` sections 1.5, 3.3, 4.2): to the server's certificates or to
//! its alert, all within five seconds.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use super::body::{Answer, Finding, Missing, Protocol, Seen, Shown};
use crate::{
    clock::{Now, Tick},
    measurement::{
        self, Input, Output,
        machine::{self, Call, Failure, Handle, TlsFailure, TlsSession},
    },
    wire::tls::{Alert, Flight, Found, MAX_CERTIFICATES, Problem},
};

/// From before the connection to the whole answer.
const LIMIT: Duration = Duration::from_secs(5);
/// Octets asked for at a time.
const PIECE: usize = 4_096;
/// The level of an alert that ends a connection.
const FATAL: u8 = 2;

/// One connection.
#[derive(Debug)]
pub(super) struct Attempt {
    on: Handle,
    to: IpAddr,
    hello: Hello,
    phase: Phase,
    began: Tick,
    deadline: Tick,
    /// Milliseconds until it stood, and from where.
    connected: Option<(f64, IpAddr)>,
    flight: Flight,
}

/// What a connection is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub to: SocketAddr,
    pub bind: Option<String>,
}

/// Which hello is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Hello {
    /// The TLS library's, with this server name.
    Modern(Option<String>),
    /// The official probe's: these octets.
    Reference(Vec<u8>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Connecting,
    Writing,
    /// What comes is in plaintext.
    Reading,
    /// What comes is for the TLS library.
    Encrypted,
}

/// What an attempt does after an input.
pub(super) enum Step {
    /// It goes on.
    Wait(Vec<Output>),
    /// It is over.
    Over(Ending),
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Ending {
    /// There was no connection: the next address may do better.
    NotConnected(Finding),
    /// No address is going to do better, or there is an answer.
    Final(Finding),
    /// The modern hello did not come to a `ServerHello`: the alert that it came to, if any.
    Deaf(Option<Answer>),
}

impl Attempt {
    /// Begins to connect.
    pub(super) fn start(
        now: &mut Now,
        on: Handle,
        target: Target,
        hello: Hello,
    ) -> (Self, Vec<Output>) {
        let began = now.tick();
        let tls = match &hello {
            Hello::Modern(name) => Some(machine::Tls {
                sni: name.clone(),
                only_certificates: true,
                ..machine::Tls::default()
            }),
            Hello::Reference(_) => None,
        };
        let attempt = Self {
            on,
            to: target.to.ip(),
            flight: Flight::new(tls.is_some()),
            hello,
            phase: Phase::Connecting,
            began,
            deadline: began + LIMIT,
            connected: None,
        };
        let Target { to, bind } = target;
        let stream = machine::Stream { to, bind, tls };
        (attempt, vec![Output::Connect { on, stream }])
    }

    pub(super) const fn handle_of(&self) -> Handle {
        self.on
    }

    pub(super) const fn is_modern(&self) -> bool {
        matches!(self.hello, Hello::Modern(_))
    }

    pub(super) const fn deadline(&self) -> Tick {
        self.deadline
    }

    pub(super) fn handle(&mut self, now: &mut Now, input: Input) -> Step {
        match (self.phase, input) {
            (Phase::Connecting, Input::Deadline) => {
                Step::Over(Ending::NotConnected(Finding::ConnectTimeout))
            }
            (_, Input::Deadline) => self.stalled(Missing::Timeout),
            (Phase::Connecting, Input::Stamped { on, .. }) if on == self.on => {
                self.began = now.tick();
                Step::Wait(Vec::new())
            }
            (
                Phase::Connecting,
                Input::Connected {
                    on,
                    local,
                    handshake,
                    ..
                },
            ) if on == self.on => self.connected(now, local, handshake),
            (Phase::Connecting, Input::Failed { on, cause, .. }) if on == self.on => {
                Step::Over(self.not_connected(&cause))
            }
            (Phase::Writing, Input::Written { on }) if on == self.on => {
                self.phase = Phase::Reading;
                self.more()
            }
            (Phase::Reading | Phase::Encrypted, Input::Readable { on }) if on == self.on => {
                Step::Wait(vec![Output::Read { on, max: PIECE }])
            }
            (Phase::Reading | Phase::Encrypted, Input::Read { on, bytes }) if on == self.on => {
                self.read(now, &bytes)
            }
            (_, Input::Certified { on, tls }) if on == self.on => self.certified(now, tls),
            (
                _,
                Input::Failed {
                    on,
                    cause: Failure::Tls(cause),
                    ..
                },
            ) if on == self.on => self.library_failed(now, &cause),
            (_, Input::Failed { on, cause, .. }) if on == self.on => self.ended(match cause {
                Failure::Os { errno, .. } => Some(errno),
                _ => None,
            }),
            (_, Input::Ended { on, errno }) if on == self.on => self.ended(errno),
            _ => Step::Wait(Vec::new()),
        }
    }

    fn not_connected(&self, cause: &Failure) -> Ending {
        match cause {
            Failure::Forbidden(_) => Ending::Final(Finding::Forbidden),
            Failure::Bind
            | Failure::Os {
                call: Call::Bind, ..
            } => Ending::Final(Finding::NoSocket("bind_interface failed")),
            Failure::Os {
                call: Call::Socket, ..
            } => Ending::Final(Finding::NoSocket("socket call failed")),
            // The library cannot send this name.
            Failure::Tls(_) if self.is_modern() => Ending::Deaf(None),
            Failure::Os { .. } | Failure::Tls(_) => {
                Ending::NotConnected(Finding::NotConnected(cause.strerror().to_owned()))
            }
        }
    }

    fn connected(&mut self, now: &mut Now, local: SocketAddr, handshake: Option<Duration>) -> Step {
        let took = now.tick().millis_since(self.began);
        let ttc = handshake.map_or(took, |handshake| handshake.as_secs_f64() * 1e3);
        self.connected = Some((ttc, local.ip()));
        let on = self.on;
        let next = match &self.hello {
            Hello::Reference(bytes) => {
                self.phase = Phase::Writing;
                Output::Write {
                    on,
                    bytes: bytes.clone(),
                }
            }
            Hello::Modern(_) => {
                self.phase = Phase::Reading;
                Output::Await { on }
            }
        };
        let seen = seen(Seen::Connected {
            source: local.ip(),
            destination: self.to,
            ttc,
        });
        Step::Wait(vec![seen, next])
    }

    /// Waits for more, unless there has been enough.
    fn more(&self) -> Step {
        if self.flight.is_full() {
            return self.stalled(Missing::TooMuch);
        }
        Step::Wait(vec![Output::Await { on: self.on }])
    }

    fn read(&mut self, now: &mut Now, bytes: &[u8]) -> Step {
        let greeted = self.flight.hello().is_some();
        match self.flight.feed(bytes) {
            Ok(Some(Found::Alert(alert))) => {
                let answer = self.answer(now, Shown::Alert(alert));
                Step::Over(if self.is_modern() {
                    Ending::Deaf(Some(answer))
                } else {
                    Ending::Final(Finding::Answer(answer))
                })
            }
            Ok(Some(Found::Certificates(certificates))) => {
                self.finish(now, Shown::Certificates(certificates))
            }
            Ok(found) => {
                if found == Some(Found::Encrypted) {
                    self.phase = Phase::Encrypted;
                }
                let mut step = self.more();
                if let (false, Some(hello), Step::Wait(outputs)) =
                    (greeted, self.flight.hello(), &mut step)
                {
                    let after = now.peek().millis_since(self.began);
                    let cipher = hello.cipher;
                    outputs.insert(0, seen(Seen::Hello { cipher, after }));
                }
                step
            }
            Err(_) if self.is_deaf() => Step::Over(Ending::Deaf(None)),
            Err(problem) => Step::Over(Ending::Final(Finding::Nonsense(problem))),
        }
    }

    /// Whether the server has not answered the modern hello with one of its own.
    const fn is_deaf(&self) -> bool {
        self.is_modern() && self.flight.hello().is_none()
    }

    fn certified(&mut self, now: &mut Now, tls: TlsSession) -> Step {
        if self.phase != Phase::Encrypted {
            return self.awaiting_plaintext();
        }
        if tls.certificates.len() > MAX_CERTIFICATES {
            return Step::Over(Ending::Final(Finding::Nonsense(Problem::CertificateAmount)));
        }
        self.finish(now, Shown::Certificates(tls.certificates))
    }

    fn library_failed(&mut self, now: &mut Now, cause: &TlsFailure) -> Step {
        match cause {
            _ if self.phase != Phase::Encrypted => self.awaiting_plaintext(),
            TlsFailure::Alert(description) => {
                let alert = Alert {
                    level: FATAL,
                    description: *description,
                };
                self.finish(now, Shown::Alert(alert))
            }
            TlsFailure::Closed => self.ended(None),
            _ => Step::Over(Ending::Final(Finding::Nonsense(Problem::Type))),
        }
    }

    /// The library has come to an end while the answer is in plaintext, which is read without it. But it is the one
    /// to send a second hello.
    fn awaiting_plaintext(&self) -> Step {
        match self.phase {
            Phase::Reading if self.flight.is_retrying() => Step::Over(Ending::Deaf(None)),
            Phase::Reading => self.more(),
            _ => Step::Wait(Vec::new()),
        }
    }

    fn ended(&self, errno: Option<i32>) -> Step {
        if self.is_deaf() {
            return Step::Over(Ending::Deaf(None));
        }
        self.stalled(errno.map_or(Missing::Closed, Missing::Broken))
    }

    fn stalled(&self, why: Missing) -> Step {
        let (ttc, source) = self.connection();
        Step::Over(Ending::Final(Finding::Stalled {
            source,
            ttc,
            greeted: self.flight.hello().is_some(),
            why,
        }))
    }

    fn finish(&self, now: &mut Now, shown: Shown) -> Step {
        Step::Over(Ending::Final(Finding::Answer(self.answer(now, shown))))
    }

    fn answer(&self, now: &mut Now, shown: Shown) -> Answer {
        let (ttc, source) = self.connection();
        Answer {
            source,
            protocol: match self.phase {
                Phase::Encrypted => Protocol::Tls13,
                _ => Protocol::Record(self.flight.version()),
            },
            ttc,
            rt: now.tick().millis_since(self.began),
            cipher: self.flight.hello().map_or(0, |hello| hello.cipher),
            shown,
        }
    }

    /// Milliseconds until the connection stood, and from where. Only asked once it did.
    fn connection(&self) -> (f64, IpAddr) {
        let unspecified: IpAddr = match self.to {
            IpAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
        };
        self.connected.unwrap_or((0.0, unspecified))
    }
}

fn seen(seen: Seen) -> Output {
    Output::Seen(measurement::Seen::Tls(seen))
}
