//! Any run of any type, whatever happens: `Done` once and nothing after it, a deadline until then, no more packets than
//! the options allow, result lines that are JSON, and a transcript that replays into itself.
//!
//! The input is a byte of flags, a command on one line, and then what happens, one byte each with what it needs.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    time::Duration,
};

use starling::{
    clock::{Now, Tick, UnixTime},
    dialect::Dialect,
    measurement::{
        Carry, Input, Machine, Options, Outcome, Output, Run, Spec,
        machine::{Handle, Packet, ResolveError, Socket},
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
    peer::Sent,
    server,
    text::{hold_lines, spec},
    told::{addresses, datagram, failure, local, session, stray},
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
        recordings.push(recording);
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
    /// What the server has said and the machine has not read.
    said: VecDeque<u8>,
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
    recorder: Recorder,
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
            recorder: Recorder::new(spec),
        }
    }

    fn now(&self) -> Now {
        Now::new(Tick(self.at), self.unix, -1)
    }

    fn play(mut self, bytes: &mut Bytes<'_>) -> (Outcome, Vec<u8>) {
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
        let recording = self.recorder.finish();
        // What cannot be recorded is an error when it is read, no more.
        if let Ok(outcome) = recording::replay(self.spec, &recording, recording::test_clock()) {
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
        self.recorder.watch(&heard);
        for output in self.machine.handle(&mut now, input) {
            assert!(self.done.is_none(), "`Done` comes last");
            if let Some(transcript) = &mut self.transcript {
                transcript.output(Tick(self.at), &output);
            }
            let said = Event::Out {
                at: Tick(self.at),
                output: &output,
            };
            self.recorder.watch(&said);
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
                door.said.clear();
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
                let bytes = self.read(on, max, bytes);
                Input::Read { on, bytes }
            }
            Output::Close { .. } | Output::Seen(_) | Output::Done(_) => return,
        };
        self.tell(input);
    }

    /// Any octets, or some of what a server says that speaks the protocol.
    fn read(&mut self, on: Handle, max: usize, bytes: &mut Bytes<'_>) -> Vec<u8> {
        let form = bytes.byte();
        let length = usize::from(form >> 1);
        if form & 1 == 0 {
            return bytes.take(length.min(max)).to_vec();
        }
        let spec = self.spec;
        let door = self.door(on);
        if door.said.is_empty() {
            door.said = server::answer(&spec.options, &door.written, bytes).into();
        }
        let length = if length == 0 { max } else { length.min(max) };
        let length = length.min(door.said.len());
        door.said.drain(..length).collect()
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
