//! One attempt over UDP (`dns-measurement` section 4): a query to every address of the server in turn, each from a
//! socket of its own that closes the one before, so that the last address is the one that can answer.

use std::{net::IpAddr, time::Duration};

use super::{
    body::Error,
    machine::{Built, Common, Ending, Step, Unbuilt},
};
use crate::{
    clock::{Now, Tick},
    measurement::{
        Input, Output,
        machine::{Call, ChosenBy, Datagram, Failure, Handle, Packet, Socket, SocketKind},
    },
    wire::options,
};

/// The longest datagram that is received whole.
const BUFFER: usize = 5120;
/// For an effect that is answered at once.
const GUARD: Duration = Duration::from_secs(5);
/// The only packet on a socket.
const TAG: u32 = 1;

/// One attempt.
#[derive(Debug)]
pub(super) struct Udp {
    addresses: Vec<IpAddr>,
    /// The address whose turn it is.
    at: usize,
    on: Handle,
    phase: Phase,
    deadline: Tick,
    /// When the query left.
    sent: Tick,
    id: u16,
    /// Bytes of the query.
    length: usize,
    client_cookie: Option<[u8; 8]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The socket is being opened.
    Opening,
    /// The query is being sent.
    Sending,
    /// A reply may come.
    Waiting,
}

impl Udp {
    /// Begins with the first of `addresses`, of which there is one at least.
    pub(super) fn start(common: &mut Common, now: &Now, addresses: Vec<IpAddr>) -> (Self, Step) {
        common.attempt.time = now.unix().secs();
        let mut attempt = Self {
            addresses,
            at: 0,
            on: Handle(0),
            phase: Phase::Opening,
            deadline: now.peek(),
            sent: now.peek(),
            id: 0,
            length: 0,
            client_cookie: None,
        };
        let open = attempt.open(common, now);
        (attempt, Step::Wait(vec![open]))
    }

    pub(super) fn deadline(&self) -> Tick {
        self.deadline
    }

    pub(super) fn handle(&mut self, common: &mut Common, now: &mut Now, input: Input) -> Step {
        match (self.phase, input) {
            (_, Input::Deadline) => {
                common
                    .attempt
                    .errors
                    .push(Error::Timeout(common.options.timeout));
                self.over(Ending::Timeout)
            }
            (Phase::Opening, Input::Opened { on, local, .. }) if on == self.on => {
                common.attempt.source = Some(local);
                self.send(common, now)
            }
            (Phase::Opening, Input::Failed { on, cause, .. }) if on == self.on => {
                self.not_opened(common, &cause)
            }
            (Phase::Sending, Input::Sent { on, tag }) if on == self.on && tag == TAG => {
                self.left(common, now)
            }
            (Phase::Sending, Input::Failed { on, cause, .. }) if on == self.on => {
                self.not_sent(common, now, &cause)
            }
            (Phase::Sending | Phase::Waiting, Input::Stamped { on, tag })
                if on == self.on && tag == TAG =>
            {
                self.sent = now.tick();
                Step::Wait(Vec::new())
            }
            (Phase::Waiting, Input::Datagram { on, datagram }) if on == self.on => {
                self.received(common, now, datagram)
            }
            (Phase::Waiting, Input::Failed { on, .. }) if on == self.on => {
                // An ICMP error: nothing comes of it, the reply may still.
                common.counts.receive_errors += 1;
                Step::Wait(Vec::new())
            }
            _ => Step::Wait(Vec::new()),
        }
    }

    fn address(&self) -> IpAddr {
        self.addresses[self.at]
    }

    fn is_last(&self) -> bool {
        self.at + 1 >= self.addresses.len()
    }

    fn over(&self, ending: Ending) -> Step {
        Step::Over(vec![Output::Close { on: self.on }], ending)
    }

    fn open(&mut self, common: &mut Common, now: &Now) -> Output {
        let to = self.address();
        self.on = common.fresh_handle();
        self.phase = Phase::Opening;
        self.deadline = now.peek() + GUARD;
        let mut socket = Socket::new(SocketKind::Udp { port: common.port }, to);
        socket.bind = common.bind();
        if to.is_ipv6() {
            socket.destination_options = options::padding(common.options.destination_option);
        }
        if common.options.resolv {
            socket.chosen_by = ChosenBy::ResolverFile;
        }
        Output::Open {
            on: self.on,
            socket,
        }
    }

    /// A failure here ends the attempt: further addresses are not tried. The address counts as used only if the
    /// policy refused it.
    fn not_opened(&self, common: &mut Common, cause: &Failure) -> Step {
        let text = cause.strerror().to_owned();
        let error = match cause {
            Failure::Forbidden(address) => {
                common.aims_at(*address);
                // Another address's socket had one; nothing left for this.
                common.attempt.source = None;
                Error::Forbidden
            }
            Failure::Bind
            | Failure::Os {
                call: Call::Bind, ..
            } => Error::Bind,
            Failure::Os {
                call: Call::Connect,
                ..
            } => Error::Unreachable(text),
            Failure::Os { .. } | Failure::Tls(_) => Error::Socket(text),
        };
        common.attempt.errors.push(error);
        self.over(Ending::Final)
    }

    fn send(&mut self, common: &mut Common, now: &mut Now) -> Step {
        let to = self.address();
        let source = common.attempt.source.map_or(to, |source| source.ip());
        let Built {
            message,
            id,
            client_cookie,
        } = match common.build(now, source, to) {
            Ok(built) => built,
            Err(unbuilt) => {
                common.attempt.errors.push(match unbuilt {
                    Unbuilt::Format => Error::Format,
                    Unbuilt::Macro => Error::Macro,
                });
                return self.over(Ending::Final);
            }
        };
        common.aims_at(to);
        (self.id, self.client_cookie) = (id, client_cookie);
        self.phase = Phase::Sending;
        self.sent = now.tick();
        self.deadline = self.sent + GUARD;
        self.length = message.len();
        Step::Wait(vec![Output::Send {
            on: self.on,
            packet: Packet {
                tag: TAG,
                bytes: message,
                hop_limit: None,
                port: common.port,
            },
        }])
    }

    /// The query left: the next address, or the wait for a reply.
    fn left(&mut self, common: &mut Common, now: &Now) -> Step {
        common.counts.sent += 1;
        common.counts.sent_bytes += self.length as u64;
        if self.is_last() {
            self.phase = Phase::Waiting;
            self.deadline = self.sent + Duration::from_millis(common.options.timeout);
            return Step::Wait(Vec::new());
        }
        self.next(common, now)
    }

    fn next(&mut self, common: &mut Common, now: &Now) -> Step {
        let close = Output::Close { on: self.on };
        self.at += 1;
        Step::Wait(vec![close, self.open(common, now)])
    }

    fn not_sent(&mut self, common: &mut Common, now: &Now, cause: &Failure) -> Step {
        common.counts.send_errors += 1;
        let v4 = self.address().is_ipv4();
        let error = Error::Send(cause.strerror().to_owned(), v4);
        common.attempt.errors.push(error);
        if self.is_last() {
            return self.over(Ending::Final);
        }
        self.next(common, now)
    }

    /// Takes any datagram of at least a header with the query's ID (section 4.2).
    fn received(&self, common: &mut Common, now: &mut Now, datagram: Datagram) -> Step {
        let received = now.tick();
        let mut message = datagram.bytes;
        message.truncate(BUFFER);
        if message.len() < 12 {
            common.counts.short += 1;
            return Step::Wait(Vec::new());
        }
        common.counts.received += 1;
        if message[..2] != self.id.to_be_bytes() {
            common.counts.martians += 1;
            return Step::Wait(Vec::new());
        }
        common.counts.received_bytes += message.len() as u64;
        if common.options.ttl {
            common.attempt.ttl = datagram.hop_limit;
        }
        let rt = received.since(self.sent).as_secs_f64() * 1e3;
        common.accept(message, self.client_cookie, rt, None);
        self.over(Ending::Final)
    }
}
