//! Any run of any type, whatever happens: `Done` once and nothing after it, a deadline until then, no more packets than
//! the options allow, result lines that are JSON, and a transcript that replays into itself.
//!
//! The input is a byte of flags, a command on one line, and then what happens, one byte each with what it needs.

use std::{
    collections::{BTreeMap, VecDeque},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use starling::{
    clock::{Now, Tick, UnixTime},
    dialect::Dialect,
    measurement::{
        Carry, Input, Machine, Options, Outcome, Output, Run, Spec,
        machine::{
            Call, Datagram, Failure, Family, Handle, Packet, ResolveError, Socket, TlsFailure,
            TlsSession,
        },
        transcript,
    },
    net::{
        Event, Precision,
        recording::{self, Recorder},
    },
    protocol::words,
};

use super::{
    bytes::Bytes,
    peer::{self, Sent},
    text::{hold_lines, spec},
};

/// Runs of one job in one input: what is carried over counts too.
const RUNS: usize = 3;
/// Steps that a run left alone may take to its end; longer ones are told to stop.
const STEPS: usize = 400;

/// Any sequence of inputs to any type.
pub(crate) fn machine(data: &[u8]) {
    recorded(data);
}

/// The same; the recordings of the runs, where they can be recorded.
pub(crate) fn recorded(data: &[u8]) -> Vec<Vec<u8>> {
    let mut recordings = Vec::new();
    let mut bytes = Bytes::new(data);
    let flags = bytes.byte();
    let dialect = Dialect::ALL[usize::from(flags & 1)];
    let command = String::from_utf8_lossy(bytes.line()).into_owned();
    let Some(spec) = spec(&command, dialect) else {
        return recordings;
    };
    let mut carry = Carry::Nothing;
    for number in 0..RUNS {
        if number > 0 && bytes.is_empty() {
            break;
        }
        let run = Run {
            seed: u64::from(flags),
            probe_id: (flags & 2 != 0).then_some(1_000_001),
            replay: flags & 4 != 0,
        };
        let mut world = World::new(&spec, run, carry);
        if number == 0 && !run.replay && spec.common.record.is_none() {
            world.transcript = Some(Transcript::new(&command, dialect, &run, &world.now()));
        }
        let (outcome, recording) = world.play(&mut bytes);
        recordings.extend(recording);
        carry = outcome.carry;
    }
    recordings
}

/// A socket or a stream as the machine has it.
#[derive(Default)]
struct Door {
    socket: Option<Socket>,
    local: Option<SocketAddr>,
    sent: Vec<Packet>,
    written: Vec<u8>,
    /// The server's certificates are asked for, and have not been shown.
    certificates: bool,
}

/// A machine and everything around it.
struct World<'a> {
    spec: &'a Spec,
    machine: Box<dyn Machine>,
    at: Duration,
    unix: UnixTime,
    /// Effects that wait for their answers.
    wishes: VecDeque<Output>,
    doors: BTreeMap<Handle, Door>,
    packets: usize,
    stopped: bool,
    done: Option<Outcome>,
    transcript: Option<Transcript>,
    recorder: Option<Recorder>,
}

const START: UnixTime = UnixTime::from_secs(1_700_000_000);

impl<'a> World<'a> {
    fn new(spec: &'a Spec, run: Run, carry: Carry) -> Self {
        Self {
            spec,
            machine: spec.start(run, carry),
            at: Duration::ZERO,
            unix: START,
            wishes: VecDeque::new(),
            doors: BTreeMap::new(),
            packets: 0,
            stopped: false,
            done: None,
            transcript: None,
            recorder: Recorder::new(spec).ok(),
        }
    }

    fn now(&self) -> Now {
        Now::new(Tick(self.at), self.unix, -1)
    }

    fn play(mut self, bytes: &mut Bytes<'_>) -> (Outcome, Option<Vec<u8>>) {
        self.tell(Input::Start);
        while self.done.is_none() && !bytes.is_empty() {
            self.happen(bytes);
        }
        self.end();
        let outcome = self.done.take().expect("it is over");
        // Only a person who says stop gets what there is, perhaps nothing.
        assert!(self.stopped || !outcome.bodies.is_empty(), "no result");
        hold_lines(self.spec, &outcome);
        // What still comes in is nobody's business.
        for input in [
            Input::Deadline,
            Input::Stop,
            Input::Resolved(Err(ResolveError::Failed)),
        ] {
            assert_eq!(
                self.machine.handle(&mut self.now(), input),
                [],
                "after the end"
            );
        }
        if let Some(transcript) = self.transcript {
            transcript.hold();
        }
        let recording = self.recorder.map(Recorder::finish);
        // What cannot be recorded is an error when it is read, no more.
        if let Some(Ok(outcome)) = recording
            .as_ref()
            .map(|bytes| recording::replay(self.spec, bytes, recording::test_clock()))
        {
            hold_lines(self.spec, &outcome);
        }
        (outcome, recording)
    }

    /// Left alone, or stopped if that takes long: it comes to its end.
    fn end(&mut self) {
        for _ in 0..STEPS {
            if self.done.is_some() {
                return;
            }
            if self.machine.deadline().is_some() {
                self.deadline();
            } else if let Some(wish) = self.wishes.pop_front() {
                self.refuse(wish, &mut Bytes::new(&[]));
            }
        }
        self.tell(Input::Stop);
        assert!(self.done.is_some(), "`Stop` is answered by `Done`");
    }

    fn deadline(&mut self) {
        let Some(due) = self.machine.deadline() else {
            return;
        };
        self.pass(due.0.saturating_sub(self.at));
        let before = self.wishes.len();
        self.tell(Input::Deadline);
        let waits = self.machine.deadline() == Some(due) && self.wishes.len() == before;
        assert!(self.done.is_some() || !waits, "a machine that spins");
    }

    fn pass(&mut self, time: Duration) {
        self.at += time;
        self.unix = self.unix + time;
    }

    fn tell(&mut self, input: Input) {
        if let Input::Resolved(_) = input {
            self.drop_wishes(|wish| matches!(wish, Output::Resolve { .. }));
        }
        self.stopped |= input == Input::Stop;
        let mut now = self.now();
        if let Some(transcript) = &mut self.transcript {
            transcript.input(&now, &input);
        }
        let heard = Event::In {
            at: &now,
            precision: Precision::Process,
            input: &input,
        };
        self.recorder
            .iter_mut()
            .for_each(|recorder| recorder.watch(&heard));
        for output in self.machine.handle(&mut now, input) {
            assert!(self.done.is_none(), "`Done` comes last");
            if let Some(transcript) = &mut self.transcript {
                transcript.output(Tick(self.at), &output);
            }
            let said = Event::Out {
                at: Tick(self.at),
                output: &output,
            };
            self.recorder
                .iter_mut()
                .for_each(|recorder| recorder.watch(&said));
            self.perform(output);
        }
        assert!(
            self.packets <= most_packets(self.spec),
            "{} packets",
            self.packets
        );
        assert!(self.doors.len() <= 64, "{} handles", self.doors.len());
        // The driver bounds a look-up by itself; everything else is for the machine to bound.
        let resolves = self.wishes.iter().any(|wish| {
            matches!(
                wish,
                Output::Resolve { .. } | Output::Resolvers { .. } | Output::ReadFile { .. }
            )
        });
        match (&self.done, self.machine.deadline()) {
            (Some(_), deadline) => assert_eq!(deadline, None, "a deadline after the end"),
            (None, deadline) => assert!(deadline.is_some() || resolves, "a run that hangs"),
        }
    }

    fn perform(&mut self, output: Output) {
        match &output {
            Output::Open { on, socket } => {
                self.door(*on).socket = Some(socket.clone());
            }
            Output::Connect { on, stream } => {
                self.packets += 1;
                let door = self.door(*on);
                door.socket = None;
                let tls = stream.tls.as_ref();
                door.certificates = tls.is_some_and(|tls| tls.only_certificates);
            }
            Output::Send { on, packet } => {
                self.packets += 1;
                assert!(
                    packet.bytes.len() <= 65_535,
                    "{} octets",
                    packet.bytes.len()
                );
                let sent = &mut self.door(*on).sent;
                sent.push(packet.clone());
            }
            Output::Write { on, bytes } => self.door(*on).written.clone_from(bytes),
            Output::Read { max, .. } => assert!(*max <= 1 << 20, "{max} octets at once"),
            Output::Resolve { .. }
            | Output::Resolvers { .. }
            | Output::ReadFile { .. }
            | Output::Await { .. } => {}
            Output::Close { on } => {
                let on = *on;
                self.doors.remove(&on);
                self.drop_wishes(|wish| handle(wish) == Some(on));
                return;
            }
            Output::Seen(_) => return,
            Output::Done(outcome) => {
                self.done = Some(outcome.clone());
                return;
            }
        }
        self.wishes.push_back(output);
    }

    fn drop_wishes(&mut self, which: impl Fn(&Output) -> bool) {
        self.wishes.retain(|wish| !which(wish));
    }

    fn door(&mut self, on: Handle) -> &mut Door {
        self.doors.entry(on).or_default()
    }

    /// One thing that the input says.
    fn happen(&mut self, bytes: &mut Bytes<'_>) {
        let what = bytes.byte();
        self.pass(Duration::from_micros(u64::from(what >> 4) * 731));
        match what & 15 {
            0..=4 => {
                if let Some(wish) = self.wishes.pop_front() {
                    self.grant(wish, bytes);
                }
            }
            5 => {
                if let Some(wish) = self.wishes.pop_front() {
                    self.refuse(wish, bytes);
                }
            }
            6 => self.deadline(),
            7 | 8 => self.answer(bytes),
            9 => {
                // Another than the oldest.
                let index = usize::from(bytes.byte()) % self.wishes.len().max(1);
                if let Some(wish) = self.wishes.remove(index) {
                    self.grant(wish, bytes);
                }
            }
            10 => {
                let input = stray(bytes);
                self.tell(input);
            }
            11 => self.pass(Duration::from_millis(bytes.word().into())),
            12 => {
                let step = i128::from(bytes.word().cast_signed()) * 100_000_000;
                self.unix = UnixTime::from_nanos(self.unix.nanos() + step);
            }
            13 => {
                let on = self.some_handle(bytes);
                let tag = self.door(on).sent.last().map_or(0, |packet| packet.tag);
                self.tell(Input::Stamped { on, tag });
            }
            14 => {
                let on = self.some_handle(bytes);
                let errno = bytes.of(&[None, Some(104), Some(110), Some(-1)]);
                self.tell(Input::Ended { on, errno });
            }
            _ => match bytes.byte() {
                0..16 => self.tell(Input::Stop),
                _ => {
                    let on = self.some_handle(bytes);
                    let datagram = datagram(bytes);
                    self.tell(Input::Datagram { on, datagram });
                }
            },
        }
    }

    fn some_handle(&self, bytes: &mut Bytes<'_>) -> Handle {
        let index = usize::from(bytes.byte()) % self.doors.len().max(1);
        let on = self.doors.keys().nth(index);
        on.copied().unwrap_or(Handle(0))
    }

    /// An answer made of something that was sent.
    fn answer(&mut self, bytes: &mut Bytes<'_>) {
        let on = self.some_handle(bytes);
        let back = usize::from(bytes.byte());
        let Some(door) = self.doors.get(&on) else {
            return;
        };
        let (Some(socket), Some(local)) = (&door.socket, door.local) else {
            return;
        };
        let Some(packet) = door
            .sent
            .iter()
            .rev()
            .cycle()
            .nth(back % door.sent.len().max(1))
        else {
            return;
        };
        let sent = Sent {
            kind: self.spec.kind(),
            socket,
            local,
            packet,
        };
        let datagram = sent.answer(bytes);
        self.tell(Input::Datagram { on, datagram });
    }

    fn grant(&mut self, wish: Output, bytes: &mut Bytes<'_>) {
        let input = match wish {
            Output::Resolve { family, .. } => Input::Resolved(Ok(addresses(family, bytes))),
            Output::Resolvers { .. } => {
                let names = ["192.0.2.1", "2001:db8::53", "fe80::1%eth0", "garbage \""];
                let count = bytes.byte() % 4;
                Input::Resolvers((0..count).map(|_| bytes.of(&names).to_owned()).collect())
            }
            Output::ReadFile { max, .. } => {
                let count = usize::from(bytes.byte()).min(max);
                Input::File(Some(bytes.take(count).to_vec()))
            }
            Output::Open { on, socket } => {
                let (local, ident) = (local(socket.to), bytes.word());
                self.door(on).local = Some(local);
                Input::Opened { on, local, ident }
            }
            Output::Send { on, packet } => Input::Sent {
                on,
                tag: packet.tag,
            },
            Output::Connect { on, stream } => {
                let form = bytes.byte();
                Input::Connected {
                    on,
                    local: local(stream.to.ip()),
                    handshake: (form & 1 == 0).then(|| Duration::from_micros(form.into())),
                    tls: stream.tls.map(|_| session(form, bytes)),
                }
            }
            Output::Write { on, .. } => Input::Written { on },
            Output::Await { on } => {
                if self.door(on).certificates && bytes.byte() & 1 == 1 {
                    self.door(on).certificates = false;
                    let tls = session(bytes.byte(), bytes);
                    Input::Certified { on, tls }
                } else {
                    Input::Readable { on }
                }
            }
            Output::Read { on, max } => {
                let form = bytes.byte();
                let mut read = match form & 1 {
                    0 => bytes.take(usize::from(form >> 1)).to_vec(),
                    _ => framed(&peer::reply_to(unframed(&self.door(on).written), bytes)),
                };
                read.truncate(max);
                Input::Read { on, bytes: read }
            }
            Output::Close { .. } | Output::Seen(_) | Output::Done(_) => return,
        };
        self.tell(input);
    }

    fn refuse(&mut self, wish: Output, bytes: &mut Bytes<'_>) {
        let cause = failure(bytes);
        let input = match wish {
            Output::Resolve { .. } => {
                let causes = [ResolveError::NotKnown, ResolveError::Failed];
                Input::Resolved(Err(bytes.of(&causes)))
            }
            Output::Resolvers { .. } => Input::Resolvers(Vec::new()),
            Output::ReadFile { .. } => Input::File(None),
            Output::Read { on, .. } | Output::Await { on } => Input::Ended {
                on,
                errno: bytes.of(&[None, Some(104)]),
            },
            Output::Send { on, packet } => Input::Failed {
                on,
                tag: Some(packet.tag),
                cause,
            },
            Output::Open { on, .. } | Output::Connect { on, .. } | Output::Write { on, .. } => {
                Input::Failed {
                    on,
                    tag: None,
                    cause,
                }
            }
            Output::Close { .. } | Output::Seen(_) | Output::Done(_) => return,
        };
        self.tell(input);
    }
}

/// The handle that an effect is about.
fn handle(wish: &Output) -> Option<Handle> {
    match wish {
        Output::Open { on, .. }
        | Output::Send { on, .. }
        | Output::Connect { on, .. }
        | Output::Write { on, .. }
        | Output::Await { on }
        | Output::Read { on, .. } => Some(*on),
        _ => None,
    }
}

/// How many packets and connections a command may cost at most.
fn most_packets(spec: &Spec) -> usize {
    match &spec.options {
        Options::Ping(options) => options.count as usize,
        Options::Traceroute(options) => {
            let hops = usize::from(options.last.max(options.first) - options.first) + 2;
            usize::from(options.count.max(1)) * hops
        }
        Options::Ntp(options) => options.count.into(),
        // Up to three addresses of each of up to three resolvers, for each try.
        Options::Dns(options) => (options.retry as usize + 1) * 9,
        // Up to three addresses, and a second hello to the one that connects.
        Options::Tls(_) => 4,
        // Up to three addresses.
        Options::Http(_) => 3,
    }
}

fn addresses(family: Family, bytes: &mut Bytes<'_>) -> Vec<IpAddr> {
    let count = 1 + bytes.byte() % 3;
    let v4: [IpAddr; 3] = [[192, 0, 2, 1], [198, 51, 100, 7], [127, 0, 0, 1]]
        .map(|octets| Ipv4Addr::from(octets).into());
    let v6 = [
        Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(),
        Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1).into(),
        Ipv6Addr::LOCALHOST.into(),
    ];
    let all = v4.into_iter().chain(v6);
    let of_family: Vec<IpAddr> = all.filter(|address| family.wants(*address)).collect();
    of_family.into_iter().take(count.into()).collect()
}

fn local(to: IpAddr) -> SocketAddr {
    match to {
        IpAddr::V4(_) => SocketAddr::new(Ipv4Addr::new(198, 51, 100, 9).into(), 40_000),
        IpAddr::V6(_) => {
            let ours = Ipv6Addr::new(0x2001, 0xdb8, 9, 0, 0, 0, 0, 9);
            SocketAddr::new(ours.into(), 40_000)
        }
    }
}

fn session(form: u8, bytes: &mut Bytes<'_>) -> TlsSession {
    TlsSession {
        version: 0x0303 + u16::from(form >> 1 & 1),
        cipher: 0x1301,
        alpn: (form & 4 == 0).then(|| b"h2".to_vec()),
        certificates: (0..form >> 6).map(|_| bytes.chunk().to_vec()).collect(),
    }
}

fn failure(bytes: &mut Bytes<'_>) -> Failure {
    let form = bytes.byte();
    let call = bytes.of(&[
        Call::Connect,
        Call::Send,
        Call::Socket,
        Call::Bind,
        Call::Tos,
        Call::Write,
    ]);
    match form % 8 {
        0..=3 => Failure::Os {
            call,
            errno: bytes.of(&[111, 113, 101, 90, 13, 1, 0, -7, i32::MAX]),
        },
        4 => Failure::Forbidden(Ipv4Addr::LOCALHOST.into()),
        5 => Failure::Bind,
        _ => Failure::Tls(match form >> 4 {
            0..=3 => TlsFailure::Alert(bytes.byte()),
            4 => TlsFailure::Closed,
            5 => TlsFailure::NotTls,
            6 => TlsFailure::Certificate("expired \"today\"\n".to_owned()),
            _ => TlsFailure::Other("\u{1}odd\\".to_owned()),
        }),
    }
}

fn datagram(bytes: &mut Bytes<'_>) -> Datagram {
    let form = bytes.byte();
    let from: IpAddr = match form & 1 {
        0 => bytes.array::<4>().into(),
        _ => bytes.array::<16>().into(),
    };
    Datagram {
        from: SocketAddr::new(from, bytes.word()),
        to: None,
        hop_limit: Some(form),
        tos: None,
        protocol: bytes.of(&[1, 6, 17, 58]),
        bytes: bytes.chunk().to_vec(),
    }
}

/// Something that no driver would say at this time.
fn stray(bytes: &mut Bytes<'_>) -> Input {
    let form = bytes.byte();
    let on = Handle(u16::from(form >> 4));
    let tag = u32::from(bytes.byte());
    match form & 15 {
        0 => Input::Opened {
            on,
            local: SocketAddr::new(bytes.array::<4>().into(), 0),
            ident: u16::from(form),
        },
        1 => Input::Sent { on, tag },
        2 => Input::Stamped { on, tag },
        3 => Input::Datagram {
            on,
            datagram: datagram(bytes),
        },
        4 => Input::Connected {
            on,
            local: SocketAddr::new(bytes.array::<16>().into(), 1),
            handshake: None,
            tls: (tag & 1 == 1).then(|| session(form, bytes)),
        },
        5 => Input::Written { on },
        6 => Input::Readable { on },
        7 => Input::Read {
            on,
            bytes: bytes.chunk().to_vec(),
        },
        8 => Input::Ended { on, errno: None },
        9 => Input::Failed {
            on,
            tag: (tag & 1 == 1).then_some(tag >> 1),
            cause: failure(bytes),
        },
        10 => Input::Resolved(Ok(addresses(Family::Both, bytes))),
        11 => Input::Resolved(Err(ResolveError::NotKnown)),
        12 => Input::Resolvers(vec!["192.0.2.9".to_owned()]),
        13 => Input::File((tag & 1 == 1).then(|| bytes.chunk().to_vec())),
        14 => Input::Certified {
            on,
            tls: session(form, bytes),
        },
        _ => Input::Deadline,
    }
}

/// A message as it stands on a TCP stream.
fn framed(message: &[u8]) -> Vec<u8> {
    let length = u16::try_from(message.len()).unwrap_or(u16::MAX);
    [&length.to_be_bytes()[..], message].concat()
}

fn unframed(written: &[u8]) -> &[u8] {
    written.get(2..).unwrap_or_default()
}

/// The transcript of a run, as `--transcript` writes it.
struct Transcript {
    writer: transcript::Writer,
    text: String,
}

impl Transcript {
    fn new(command: &str, dialect: Dialect, run: &Run, now: &Now) -> Self {
        let words = words::split_one_off(command).expect("it is a command");
        let header = transcript::Header::new(&words, dialect, run, now);
        let writer = transcript::Writer::new(header);
        let text = writer.header();
        Self { writer, text }
    }

    fn input(&mut self, now: &Now, input: &Input) {
        self.text += &self.writer.input(now, input, None);
    }

    fn output(&mut self, at: Tick, output: &Output) {
        self.text += &self.writer.output(at, output);
    }

    fn hold(self) {
        assert_eq!(transcript::replay(&self.text).as_deref(), Ok(&*self.text));
    }
}
