//! The loop of one run: every effect is carried out at once and answered by an input; inputs are told in the
//! order in which they happened.

use std::{
    collections::VecDeque,
    fs::{self, File},
    io::{self, Read as _},
    net::SocketAddr,
    path::Path,
    pin::{Pin, pin},
    task::{Context, Poll},
};

use nix::{errno::Errno, libc};

use super::{
    Arrived, Event, Net, Precision, Tally,
    alarm::Patience,
    card::Latest,
    endpoint::{Endpoint, Opener},
    held::Held,
    inbox::Inbox,
    policy, resolver,
    socket::{self, Bind, bind_target},
    stream::Link,
};
use crate::{
    clock::Tick,
    measurement::{
        machine::{
            Call, Failure, Family, Handle, Input, Machine, Outcome, Output, Packet, ResolveError,
            Socket, Stream,
        },
        zones::Zones,
    },
};

/// Inputs that one run is told in a row before others have their turn. A peer that sends faster than we read would
/// otherwise keep everything else waiting.
const BURST: u32 = 64;

/// Runs `machine` to its `Done`.
pub(super) async fn run(
    net: &Net,
    mut machine: Box<dyn Machine>,
    stop: impl Future<Output = ()>,
    mut watch: impl FnMut(&Event<'_>),
) -> Outcome {
    let mut stop = pin!(stop);
    let mut stopped = false;
    let mut run = Run::new(net);
    let mut bell = net.0.alarm.bell();
    run.answer(None, Input::Start);
    let mut in_a_row = 0;
    loop {
        // It did more than any command may: it ends with what there is.
        if run.cap.is_spent() && !stopped {
            stopped = true;
            run.ready
                .push_front(Arrived::noticed(net.now(), None, Input::Stop));
        }
        let Arrived {
            mut now,
            precision,
            input,
            ..
        } = loop {
            if in_a_row >= BURST {
                in_a_row = 0;
                tokio::select! {
                    biased;
                    () = &mut stop, if !stopped => {
                        stopped = true;
                        break Arrived::noticed(net.now(), None, Input::Stop);
                    }
                    () = tokio::task::yield_now() => {}
                }
            }
            let deadline = machine.deadline();
            let patience = if machine.is_patient() {
                Patience::Much
            } else {
                Patience::Little
            };
            if let Some(arrived) = run.pop(deadline, patience) {
                in_a_row += 1;
                break arrived;
            }
            in_a_row = 0;
            tokio::select! {
                biased;
                () = &mut stop, if !stopped => {
                    stopped = true;
                    break Arrived::noticed(net.now(), None, Input::Stop);
                }
                () = std::future::poll_fn(|context| run.poll(context)) => {}
                () = std::future::poll_fn(|context| bell.poll(deadline, patience, context)) => {}
            }
        };
        run.note_zone(&input);
        watch(&Event::In {
            at: &now,
            precision,
            input: &input,
        });
        for output in machine.handle(&mut now, input) {
            watch(&Event::Out {
                at: now.peek(),
                output: &output,
            });
            match output {
                Output::Done(mut outcome) => {
                    if run.guesses {
                        outcome.leave_out_guesses();
                    }
                    outcome.name_zones(&run.zones);
                    return outcome;
                }
                effect => run.perform(effect),
            }
        }
    }
}

/// What a look-up will be answered with.
type Lookup = Pin<Box<dyn Future<Output = Input> + Send>>;

/// All that one run holds of the network; dropping it gives everything back.
struct Run<'a> {
    net: &'a Net,
    /// Inputs to be told next, in this order.
    ready: VecDeque<Arrived>,
    inbox: Inbox,
    endpoints: Held<Endpoint>,
    links: Held<Link>,
    lookups: Vec<Lookup>,
    /// Counts openings: what belongs to an earlier one of the same handle is not told.
    serial: u64,
    /// Whether everything was taken in since the deadline passed.
    swept: bool,
    /// What the run may still do.
    cap: policy::RunCap,
    /// Packets were put together from what the kernel told of them, for lack of a raw socket.
    guesses: bool,
    /// The interfaces of link-local addresses.
    zones: Zones,
    /// By which a network card's times are told.
    latest: Latest,
}

impl<'a> Run<'a> {
    fn new(net: &'a Net) -> Self {
        Self {
            net,
            ready: VecDeque::new(),
            inbox: Inbox::default(),
            endpoints: Held::new(),
            links: Held::new(),
            lookups: Vec::new(),
            serial: 0,
            swept: false,
            cap: policy::RunCap::default(),
            guesses: false,
            zones: Zones::default(),
            latest: Latest::default(),
        }
    }

    /// The next input, if there is one without waiting.
    ///
    /// What arrived after the deadline comes after it, packets and the bytes of streams alike. Once the deadline
    /// has passed, what arrived before it and was not noticed yet comes first: waking up late does not make a
    /// network slow.
    fn pop(&mut self, deadline: Option<Tick>, patience: Patience) -> Option<Arrived> {
        loop {
            while let Some(arrived) = self.ready.pop_front().or_else(|| self.inbox.pop()) {
                if !self.is_open(arrived.of) {
                    continue;
                }
                if let Some(deadline) = deadline.filter(|deadline| arrived.now.peek() > *deadline)
                    && arrived.is_of_the_network()
                {
                    self.ready.push_front(arrived);
                    return Some(self.deadline(deadline, patience));
                }
                if let Input::Datagram { on, .. } = arrived.input
                    && self.put_stamps_before(on)
                {
                    // Transmit times now stand in front; the packet follows them.
                    let at = self
                        .ready
                        .iter()
                        .take_while(|first| first.is_stamp())
                        .count();
                    self.ready.insert(at, arrived);
                    continue;
                }
                if let Some(arrived) = self.by_card(arrived) {
                    return Some(arrived);
                }
                continue;
            }
            let passed = deadline.filter(|deadline| self.net.0.timing.tick() >= *deadline)?;
            if self.swept {
                return Some(self.deadline(passed, patience));
            }
            self.swept = true;
            let seen = passed <= self.net.0.alarm.rung();
            for endpoint in self.endpoints.all() {
                endpoint.sweep(&self.net.0.timing, seen, &mut self.ready);
            }
        }
    }

    /// Takes a network card's times into account. What it said of a packet that left is told to nobody.
    fn by_card(&mut self, mut arrived: Arrived) -> Option<Arrived> {
        match (&arrived.input, arrived.card) {
            (Input::Stamped { on, tag }, None) => {
                self.latest.left((*on, *tag), arrived.now.peek());
            }
            (Input::Stamped { on, tag }, Some(card)) => {
                self.latest.left_card((*on, *tag), card);
                return None;
            }
            (Input::Datagram { .. }, Some(card)) => {
                if let Some(at) = self.latest.arrived(card, arrived.now.peek()) {
                    arrived.now = self.net.0.timing.earlier(&arrived.now, at);
                    arrived.precision = Precision::Card;
                }
            }
            _ => {}
        }
        Some(arrived)
    }

    fn deadline(&mut self, due: Tick, patience: Patience) -> Arrived {
        self.swept = false;
        let now = match patience {
            Patience::Little => self.net.now(),
            // Told later than it need be, so that nothing may depend on when that is.
            Patience::Much => self.net.0.timing.back_at(due),
        };
        Arrived::noticed(now, None, Input::Deadline)
    }

    /// Puts transmit times that a run's own socket has in front of all other inputs; whether there were any.
    fn put_stamps_before(&mut self, on: Handle) -> bool {
        let Some((_, endpoint)) = self.endpoints.get_mut(on) else {
            return false;
        };
        let mut stamps = VecDeque::new();
        endpoint.stamps(&self.net.0.timing, &mut stamps);
        let any = !stamps.is_empty();
        for stamp in stamps.into_iter().rev() {
            self.ready.push_front(stamp);
        }
        any
    }

    /// Whether an input's handle is still the one that it was meant for.
    fn is_open(&self, of: Option<(Handle, u64)>) -> bool {
        let Some((on, serial)) = of else { return true };
        self.endpoints.has(on, serial) || self.links.has(on, serial)
    }

    /// Which interface a link-local address is of stands in the packet that came from it.
    fn note_zone(&mut self, input: &Input) {
        if let Input::Datagram { datagram, .. } = input
            && let SocketAddr::V6(from) = datagram.from
            && from.scope_id() != 0
            && self.zones.lacks(datagram.from.ip())
        {
            let zone = socket::zone(from.scope_id());
            self.zones.note(datagram.from.ip(), &zone);
        }
    }

    /// Ready when an input has come.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let timing = &self.net.0.timing;
        if let Poll::Ready(arrived) = self.inbox.poll(context) {
            self.ready.push_back(arrived);
        }
        for endpoint in self.endpoints.all() {
            while self.ready.is_empty() && endpoint.poll_ready(context).is_ready() {
                endpoint.drain_own(timing, &mut self.ready);
            }
        }
        for link in self.links.all() {
            link.poll(context, timing, &mut self.ready);
        }
        let (net, ready) = (self.net, &mut self.ready);
        self.lookups
            .retain_mut(|lookup| match lookup.as_mut().poll(context) {
                Poll::Ready(input) => {
                    ready.push_back(Arrived::noticed(net.now(), None, input));
                    false
                }
                Poll::Pending => true,
            });
        if self.ready.is_empty() {
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    }

    /// Carries out one effect. Never waits: what comes of it is an input.
    fn perform(&mut self, effect: Output) {
        match effect {
            Output::Resolve {
                name,
                family,
                interface,
            } => self.resolve(name, family, interface),
            Output::Resolvers { interface } => {
                let servers = self.net.0.resolver.nameservers(interface.as_deref());
                self.answer(None, Input::Resolvers(servers));
            }
            Output::ReadFile { path, max } => self.lookups.push(Box::pin(async move {
                let read = tokio::task::spawn_blocking(move || read_file(&path, max));
                Input::File(read.await.ok().flatten())
            })),
            Output::Open { on, socket } => self.open(on, socket),
            Output::Send { on, packet } => self.send(on, &packet),
            Output::Connect { on, stream } => self.connect(on, stream),
            Output::Write { on, bytes } => match self.links.get_mut(on) {
                Some((_, link)) => link.write(&bytes),
                None => self.failed(on, None, not_open(Call::Write)),
            },
            Output::Await { on } => match self.links.get_mut(on) {
                Some((_, link)) => link.wait(),
                None => self.failed(on, None, not_open(Call::Connect)),
            },
            Output::Read { on, max } => match self.links.get_mut(on) {
                Some((serial, link)) => {
                    let (now, precision, bytes) = link.read(&self.net.0.timing, max);
                    self.ready.push_back(Arrived {
                        now,
                        precision,
                        input: Input::Read { on, bytes },
                        of: Some((on, serial)),
                        card: None,
                    });
                }
                None => self.failed(on, None, not_open(Call::Connect)),
            },
            Output::Close { on } => {
                self.endpoints.remove(on);
                self.links.remove(on);
            }
            // Seen is for whoever watches, and Done ended the loop.
            Output::Seen(_) | Output::Done(_) => {}
        }
    }

    fn resolve(&mut self, name: String, family: Family, interface: Option<String>) {
        if let Some(address) = resolver::literal(&name, family) {
            return self.answer(None, Input::Resolved(Ok(vec![address])));
        }
        if !self.cap.open() {
            return self.answer(None, Input::Resolved(Err(ResolveError::Failed)));
        }
        let net = self.net.clone();
        self.lookups.push(Box::pin(async move {
            let resolver = &net.0.resolver;
            Input::Resolved(resolver.lookup(&name, family, interface.as_deref()).await)
        }));
    }

    fn open(&mut self, on: Handle, mut spec: Socket) {
        self.endpoints.remove(on);
        self.links.remove(on);
        self.serial += 1;
        if !self.cap.open() {
            return self.refused(on, socket::os(Call::Socket, Errno::EMFILE));
        }
        let opener = Opener {
            net: &self.net.0,
            on,
            serial: self.serial,
            inbox: &self.inbox,
        };
        spec.bind = spec.bind.or_else(|| self.net.0.config.source(spec.to));
        if self.zones.lacks(spec.to) {
            spec.bind = spec.bind.map(socket::interface);
        }
        let device = match spec.bind.as_deref().map(|bind| bind_target(bind, true)) {
            Some(Bind::Device(device)) => Some(device.to_owned()),
            _ => None,
        };
        if let Some(device) = &device
            && self.zones.lacks(spec.to)
            && nix::net::if_::if_nametoindex(device.as_str()).is_ok()
        {
            self.zones.note(spec.to, device);
        }
        match Endpoint::open(&opener, spec) {
            Ok(endpoint) => {
                if let Some(device) = &device {
                    self.zones.note(endpoint.local().ip(), device);
                }
                let (local, ident) = (endpoint.local(), endpoint.ident());
                self.guesses |= endpoint.guesses();
                self.endpoints.insert(on, self.serial, endpoint);
                let of = Some((on, self.serial));
                self.answer(of, Input::Opened { on, local, ident });
            }
            Err(cause) => self.refused(on, cause),
        }
    }

    fn send(&mut self, on: Handle, packet: &Packet) {
        let tag = packet.tag;
        // Before the call: the packet cannot have left earlier, and this must not shorten a round trip.
        let now = self.net.now();
        let Some((serial, endpoint)) = self.endpoints.get_mut(on) else {
            return self.failed(on, Some(tag), not_open(Call::Send));
        };
        let of = Some((on, serial));
        let sent = if self.cap.packet() && self.net.0.may_send(now.peek()) {
            endpoint.send(&self.net.0.timing, packet)
        } else {
            Err(Errno::ENOBUFS)
        };
        let input = match sent {
            Ok(()) => {
                Tally::add(&self.net.0.tally.sent);
                Input::Sent { on, tag }
            }
            Err(errno) => Input::Failed {
                on,
                tag: Some(tag),
                cause: socket::os(Call::Send, errno),
            },
        };
        self.ready.push_back(Arrived::noticed(now, of, input));
    }

    fn connect(&mut self, on: Handle, mut stream: Stream) {
        self.endpoints.remove(on);
        self.links.remove(on);
        self.serial += 1;
        if !self.cap.open() {
            return self.refused(on, socket::os(Call::Connect, Errno::EMFILE));
        }
        let bind = stream.bind.take();
        stream.bind = bind.or_else(|| self.net.0.config.source(stream.to.ip()));
        match Link::connect(&self.net.0, (on, self.serial), &stream) {
            Ok(link) => {
                Tally::add(&self.net.0.tally.connections);
                let input = Input::Stamped { on, tag: 0 };
                let of = Some((on, self.serial));
                self.ready
                    .push_back(Arrived::noticed(link.began().clone(), of, input));
                self.links.insert(on, self.serial, link);
            }
            Err(cause) => self.refused(on, cause),
        }
    }

    /// A socket or stream that was not opened.
    fn refused(&mut self, on: Handle, cause: Failure) {
        self.net.0.tally.refused(&cause);
        self.failed(on, None, cause);
    }

    fn failed(&mut self, on: Handle, tag: Option<u32>, cause: Failure) {
        self.answer(None, Input::Failed { on, tag, cause });
    }

    fn answer(&mut self, of: Option<(Handle, u64)>, input: Input) {
        self.ready
            .push_back(Arrived::noticed(self.net.now(), of, input));
    }
}

/// The contents of an ordinary file of at most `max` octets.
fn read_file(path: &Path, max: usize) -> Option<Vec<u8>> {
    let read = || -> io::Result<Vec<u8>> {
        // Opening anything else could wait for ever.
        if !fs::metadata(path)?.is_file() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut bytes = Vec::new();
        let limit = u64::try_from(max).unwrap_or(u64::MAX).saturating_add(1);
        File::open(path)?.take(limit).read_to_end(&mut bytes)?;
        if bytes.len() > max {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(bytes)
    };
    read()
        .inspect_err(|error| tracing::debug!(path = %path.display(), %error, "file not read"))
        .ok()
}

const fn not_open(call: Call) -> Failure {
    Failure::Os {
        call,
        errno: libc::EBADF,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use nix::sys::time::TimeSpec;

    use super::*;
    use crate::{
        clock::{Clock, Now, UnixTime},
        measurement::machine::Datagram,
        net::{Config, card::CardTime},
    };

    const ON: Handle = Handle(3);

    fn arrived(micros: u64, card: Option<i64>, input: Input) -> Arrived {
        let tick = Tick(Duration::from_micros(micros));
        let unix = UnixTime::from_nanos(1_000_000_000 + i128::from(micros) * 1_000);
        Arrived {
            precision: Precision::Kernel,
            card: card.and_then(|micros| CardTime::read(&TimeSpec::new(70, micros * 1_000))),
            ..Arrived::noticed(Now::new(tick, unix, -1), None, input)
        }
    }

    fn stamped(tag: u32) -> Input {
        Input::Stamped { on: ON, tag }
    }

    fn reply() -> Input {
        Input::Datagram {
            on: ON,
            datagram: Datagram {
                from: "192.0.2.1:0".parse().unwrap(),
                to: None,
                hop_limit: None,
                tos: None,
                bytes: Vec::new(),
                protocol: 1,
            },
        }
    }

    #[test]
    fn a_machine_is_told_the_round_trip_that_the_card_saw_and_nothing_else_of_it() {
        let net = Net::open(Config::new(1), Clock::start());
        let mut run = Run::new(&net);
        let sent = run.by_card(arrived(100, None, stamped(0))).unwrap();
        assert_eq!(sent.now.peek(), Tick(Duration::from_micros(100)));
        assert!(run.by_card(arrived(500, Some(7), stamped(0))).is_none());
        let heard = run.by_card(arrived(450, Some(307), reply())).unwrap();
        assert_eq!(heard.precision, Precision::Card);
        assert_eq!(heard.now.peek(), Tick(Duration::from_micros(400)));
        assert_eq!(heard.now.unix(), UnixTime::from_nanos(1_000_400_000));
    }

    #[test]
    fn where_the_card_saw_only_one_end_both_are_the_kernels() {
        let net = Net::open(Config::new(1), Clock::start());
        let mut run = Run::new(&net);
        run.by_card(arrived(100, None, stamped(0)));
        let heard = run.by_card(arrived(450, Some(307), reply())).unwrap();
        assert_eq!(heard.precision, Precision::Kernel);
        assert_eq!(heard.now.peek(), Tick(Duration::from_micros(450)));
        run.by_card(arrived(500, Some(7), stamped(0)));
        let heard = run.by_card(arrived(600, None, reply())).unwrap();
        assert_eq!(heard.precision, Precision::Kernel);
        assert_eq!(heard.now.peek(), Tick(Duration::from_micros(600)));
    }
}
