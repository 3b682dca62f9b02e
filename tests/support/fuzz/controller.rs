//! The controller told whatever clients say, in any order: every question is answered once, nobody is given what is
//! another's, and what is acknowledged is stored.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use starling::{
    clock::{Now, Tick, UnixTime},
    controller::{
        Config, Fault, Network, PostFault, ProbeId, ProbeKey, Request,
        config::{Approval, InitPolicy, Measurement, OneOff, Probe, UnknownKeys},
        messages::{
            Answer, ConnectionId, Event, Exec, ExecFault, Input, Output, Post, Response, Role,
            Ticket,
        },
        network::Memory,
        registry::Known,
        request::{self, Head, Refusal},
        telnet::{End, Outcome},
    },
    protocol::{
        post::{BODY_HEADER, PostBody, body_footer},
        registration::{self, Controller, InitAnswer, InitVerdict, Verdict},
        response::ResponseParser,
    },
    result::Received,
};

use super::bytes::{Bytes, pieces};

/// A request as a client makes it. First byte: the pieces.
pub(crate) fn request(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    let seed = bytes.byte();
    let text = bytes.rest();
    let whole = Head::parse(text);
    // However it comes, it is the same request, found as soon as it is whole.
    let mut come = Vec::new();
    let mut first = Ok(None);
    for piece in pieces(text, seed) {
        come.extend_from_slice(piece);
        first = Head::parse(&come);
        if !matches!(first, Ok(None)) {
            break;
        }
        assert!(come.len() < request::MAX_HEAD, "a head without end");
    }
    match (&whole, &first) {
        (Ok(Some(head)), _) => {
            assert_eq!(first, whole);
            assert!(head.size <= request::MAX_HEAD && head.size <= text.len());
            assert!(!head.method.is_empty() && !head.target.contains([' ', '\r', '\n']));
            assert_eq!(Head::parse(&text[..head.size - 1]), Ok(None));
        }
        (Ok(None), _) => assert_eq!(first, Ok(None)),
        (Err(_), Ok(found)) => assert_eq!(*found, None),
        (Err(_), Err(_)) => {}
    }
    if let Err(refusal) = whole {
        assert_ne!(refusal, Refusal::Gone);
        let response = refusal.response().expect("somebody is there");
        assert!((400..500).contains(&response.status));
        is_read_as(&response, 0);
    }
}

/// A probe reads the answer that was meant.
fn is_read_as(response: &Response, now: i64) {
    let bytes = request::render(response, UnixTime::from_secs(now));
    let mut parser = ResponseParser::new();
    let read = parser.push(&bytes).expect("it can be read");
    let read = read.or_else(|| parser.end().ok()).expect("it is whole");
    assert_eq!(read.status, response.status);
    assert_eq!(read.body, response.body.as_bytes());
    let later = read.retry_after.map(|after| after.seconds_from(0));
    assert_eq!(later, response.retry_after.map(u64::from));
}

/// When it begins; a probe's phase is no business of this.
const EPOCH: i64 = 1_775_483_100;
/// Deadlines in a row at one moment, after which it would never come to rest.
const RESTLESS: usize = 8;
/// Strangers that may become known.
const PROBES: usize = 4;

const KEYS: [&str; 6] = [
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB",
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgIC",
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMD",
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE",
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUF",
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAYGBgYGBgYGBgYGBgYGBgYGBgYGBgYGBgYGBgYGBgYG",
];

fn key(number: u8) -> ProbeKey {
    let line = KEYS[usize::from(number) % KEYS.len()];
    line.parse().expect("a key line")
}

/// The machine of registration server, controller and intake. First byte: the configuration; then what happens, one
/// byte each with what it needs.
pub(crate) fn network(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    let mut stage = Stage::new(bytes.byte(), bytes.byte());
    for _ in 0..256 {
        if bytes.is_empty() {
            return;
        }
        stage.step(&mut bytes);
    }
}

/// The machine and all that its drivers know.
struct Stage {
    network: Network,
    config: Config,
    now: Tick,
    unix: i64,
    restless: usize,
    tickets: u64,
    numbers: u64,
    /// Who is connected, with which key.
    connected: BTreeMap<ConnectionId, ProbeKey>,
    /// The dialogues under way.
    talks: BTreeMap<ConnectionId, usize>,
    /// The posts that wait for the disk.
    storing: BTreeMap<Ticket, (ProbeKey, Vec<String>)>,
    /// What stands on the disk.
    durable: BTreeSet<(ProbeId, String)>,
    pending: BTreeMap<Ticket, Vec<(ProbeId, String)>>,
    /// The number, port and session of each key, as clients were told.
    probes: BTreeMap<ProbeKey, (u32, u16, String)>,
    known: Vec<Known>,
}

impl Stage {
    fn new(form: u8, limits: u8) -> Self {
        let mut config = Config {
            approval: [Approval::Automatic, Approval::Listed][usize::from(form & 1)],
            unknown_keys: [UnknownKeys::Refuse, UnknownKeys::Pending][usize::from(form >> 1 & 1)],
            ..Config::default()
        };
        config.controller.init = match form >> 2 & 3 {
            0 | 1 => InitPolicy::Accept,
            2 => InitPolicy::Refuse,
            _ => InitPolicy::Wait(100),
        };
        if form & 16 != 0 {
            for (number, id) in [(0, 7), (1, u32::MAX)] {
                config.probes.push(Probe {
                    id,
                    key: key(number).as_line().to_owned(),
                    name: Some("a name".to_owned()),
                    approved: form & 32 == 0,
                });
            }
        }
        config.upload.posts_per_minute = (limits & 1 != 0).then_some(2);
        config.limits.remembered_lines = [100, 2, 0, 1][usize::from(limits >> 1 & 3)];
        config.limits.probes = PROBES;
        config.limits.waiting_one_offs = 2;
        if limits & 8 != 0 {
            config.controller.first_remote_port = u16::MAX - 1;
        }
        if limits & 16 != 0 {
            config.controller.first_remote_port = 2022;
        }
        config.one_offs.push(OneOff {
            command: "evping -4 192.0.2.1".to_owned(),
            probes: None,
        });
        config.check().expect("a configuration");
        Self {
            network: Network::new(config.clone(), assigned(), [7; 32], Memory::default()),
            config,
            now: Tick::from_secs(0),
            unix: EPOCH,
            restless: 0,
            tickets: 0,
            numbers: 0,
            connected: BTreeMap::new(),
            talks: BTreeMap::new(),
            storing: BTreeMap::new(),
            durable: BTreeSet::new(),
            pending: BTreeMap::new(),
            probes: BTreeMap::new(),
            known: Vec::new(),
        }
    }

    fn step(&mut self, bytes: &mut Bytes<'_>) {
        match bytes.byte() % 16 {
            0 | 1 => self.join(bytes),
            2 => self.leave(bytes),
            3 => self.register(bytes),
            4 => self.init(bytes),
            5 => self.forward(bytes),
            6 => {
                let connection = self.connection(bytes);
                self.tell(Input::Keep { connection });
            }
            7..=9 => self.post(bytes),
            10 => self.stored(bytes),
            11 => self.commanded(bytes),
            12 => self.request(bytes),
            13 => self.restart(),
            14 => {
                self.unix += i64::from(i16::from_be_bytes(bytes.array()));
                self.now = self.now + Duration::from_millis(bytes.word().into());
                self.tell(Input::Deadline);
            }
            _ => self.wait(bytes),
        }
    }

    /// One that is there, or one that is not.
    fn connection(&self, bytes: &mut Bytes<'_>) -> ConnectionId {
        let number = bytes.byte();
        let there: Vec<ConnectionId> = self.connected.keys().copied().collect();
        match there.get(usize::from(number)) {
            Some(connection) => *connection,
            None => there.last().copied().unwrap_or(ConnectionId(999)),
        }
    }

    fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        Ticket(self.tickets)
    }

    /// A question that is answered at once.
    fn ask(&mut self, ticket: Ticket, input: Input) -> Answer {
        let mut answers = self.perform(input);
        let answer = answers.remove(&ticket).expect("an answer at once");
        assert!(answers.is_empty(), "an answer that nobody asked for");
        answer
    }

    fn tell(&mut self, input: Input) {
        let answers = self.perform(input);
        assert!(answers.is_empty(), "an answer that nobody asked for");
    }

    fn perform(&mut self, input: Input) -> BTreeMap<Ticket, Answer> {
        let now = Now::new(self.now, UnixTime::from_secs(self.unix), -1);
        let mut answers = BTreeMap::new();
        for output in self.network.handle(&now, input) {
            match output {
                Output::Answer(ticket, answer) => {
                    let before = answers.insert(ticket, answer);
                    assert!(before.is_none(), "two answers to one question");
                }
                Output::Command {
                    connection, lines, ..
                } => {
                    assert!(self.connected.contains_key(&connection), "nobody is there");
                    let before = self.talks.insert(connection, lines.len());
                    assert!(before.is_none(), "two dialogues at once");
                    assert!(!lines.is_empty());
                    assert!(lines.iter().all(|line| !line.contains(['\r', '\n'])));
                }
                Output::Store { ticket, records } => {
                    let records = records
                        .into_iter()
                        .map(|record| (record.probe, record.line.line));
                    let before = self.pending.insert(ticket, records.collect());
                    assert!(before.is_none(), "lines stored twice");
                }
                Output::Persist(known) => self.persist(known),
                Output::Kick(connection) | Output::Drop(connection) => {
                    assert!(self.connected.contains_key(&connection), "nobody is there");
                }
                Output::Event(event) => seen(&event),
            }
        }
        answers
    }

    fn persist(&mut self, known: Vec<Known>) {
        let mut keys = BTreeSet::new();
        let (mut ids, mut ports) = (BTreeSet::new(), BTreeSet::new());
        for probe in &known {
            assert!(keys.insert(&probe.key), "a key with two numbers");
            assert!(ids.insert(probe.id), "a number with two keys");
            assert!(ports.insert(probe.port), "a port of two probes");
            assert_ne!(probe.port, 2023);
            let before = self.known.iter().find(|before| before.key == probe.key);
            assert!(before.is_none_or(|before| before.id == probe.id && before.port == probe.port));
        }
        assert!(known.len() <= PROBES + self.config.probes.len());
        self.known = known;
    }

    fn join(&mut self, bytes: &mut Bytes<'_>) {
        let role = bytes.of(&[Role::Registration, Role::Controller, Role::Both]);
        let (ticket, key) = (self.ticket(), key(bytes.byte()));
        let offered = Input::Offered {
            ticket,
            role,
            key: key.clone(),
        };
        if self.ask(ticket, offered) == Answer::Admitted(true) {
            self.numbers += 1;
            let connection = ConnectionId(self.numbers);
            self.connected.insert(connection, key.clone());
            self.tell(Input::Joined {
                connection,
                role,
                key,
            });
        }
    }

    fn leave(&mut self, bytes: &mut Bytes<'_>) {
        let connection = self.connection(bytes);
        self.connected.remove(&connection);
        self.talks.remove(&connection);
        self.tell(Input::Left { connection });
    }

    fn register(&mut self, bytes: &mut Bytes<'_>) {
        let (ticket, connection) = (self.ticket(), self.connection(bytes));
        let stdin = match bytes.byte() % 4 {
            0 => bytes.chunk().to_vec(),
            _ => b"P_TO_R_INIT\nTOKEN_SPECS fluffy 1000 5120 debian/12/x86_64\nREASON_FOR_REGISTRATION NEW\n"
                .to_vec(),
        };
        let good = registration::Request::parse(&stdin).is_ok();
        let Answer::Exec(exec) = self.ask(
            ticket,
            Input::Register {
                ticket,
                connection,
                stdin,
            },
        ) else {
            unreachable!("another answer than asked for");
        };
        assert!(exec.stdout.len() < 16 << 10);
        let answer = registration::Answer::parse(exec.stdout.as_bytes());
        // What a client says in its block does not come back as an assignment.
        if let Verdict::Ok {
            controller: Some(controller),
            ..
        } = answer.verdict
        {
            assert!(good && controller == assigned());
            let key = self.connected.get(&connection).expect("somebody asks");
            let known = self.known.iter().find(|known| known.key == *key);
            assert_eq!(answer.probe_id, known.map(|known| known.id.0));
        }
    }

    fn init(&mut self, bytes: &mut Bytes<'_>) {
        let (ticket, connection) = (self.ticket(), self.connection(bytes));
        let Answer::Exec(Exec { stdout, .. }) =
            self.ask(ticket, Input::Init { ticket, connection })
        else {
            unreachable!("another answer than asked for");
        };
        if let InitVerdict::Ok {
            remote_port: Some(port),
            session_id: Some(id),
        } = InitAnswer::parse(stdout.as_bytes()).verdict
        {
            let key = self.connected.get(&connection).expect("somebody asks");
            let known = self.known.iter().find(|known| known.key == *key);
            let known = known.expect("a session is for a probe that is known");
            assert_eq!(known.port, port);
            let taken = self
                .probes
                .values()
                .any(|(_, _, other)| other == id.as_str());
            assert!(!taken, "a session that is another's");
            let probe = (known.id.0, port, id.as_str().to_owned());
            self.probes.insert(key.clone(), probe);
        }
    }

    fn forward(&mut self, bytes: &mut Bytes<'_>) {
        let (ticket, connection) = (self.ticket(), self.connection(bytes));
        let form = bytes.byte();
        let own = self.own(connection).map_or(0, |(_, port, _)| port);
        let (address, port) = match form % 4 {
            0 => ("0.0.0.0", own.into()),
            1 => ("localhost", bytes.long()),
            _ => ("localhost", own.into()),
        };
        let answer = self.ask(
            ticket,
            Input::Forward {
                ticket,
                connection,
                address: address.to_owned(),
                port,
            },
        );
        if answer == Answer::Forwarded(true) {
            assert_eq!(address, "localhost");
            let key = self.connected.get(&connection).expect("somebody asks");
            let known = self.known.iter().find(|known| known.key == *key);
            assert_eq!(known.map(|known| u32::from(known.port)), Some(port));
        }
    }

    /// What the client on a connection was told.
    fn own(&self, connection: ConnectionId) -> Option<(u32, u16, String)> {
        self.probes.get(self.connected.get(&connection)?).cloned()
    }

    fn post(&mut self, bytes: &mut Bytes<'_>) {
        let (ticket, connection) = (self.ticket(), self.connection(bytes));
        let (id, _, session) = self.own(connection).unwrap_or((1, 1, "00".to_owned()));
        let form = bytes.byte();
        let source = ["", "&SRC=oneoff", "&SRC=timesync", "&SRC="][usize::from(form & 3)];
        let body = if form & 4 == 0 {
            let text = String::from_utf8_lossy(bytes.chunk()).into_owned();
            let lines = text.replace(['\r', '\0'], "\n");
            let mut body = BODY_HEADER.to_owned();
            for line in lines.lines() {
                // Short for what a fuzzer would have to find out.
                body += &match line.strip_prefix('=') {
                    Some(rest) => {
                        format!("RESULT {{ \"id\":\"{rest}\", \"result\":[{{\"rtt\":1.5}}] }}\n")
                    }
                    None => format!("{line}\n"),
                };
            }
            body += &body_footer(&session);
            body.into_bytes()
        } else {
            bytes.chunk().to_vec()
        };
        let target = if form & 8 == 0 {
            format!("/?PROBE_ID={id}&SESSION_ID={session}{source}")
        } else {
            String::from_utf8_lossy(bytes.chunk()).into_owned()
        };
        let method = if form & 0x70 == 0x70 { "GET" } else { "POST" }.to_owned();
        let lines = good_lines(&body);
        let post = Post {
            method,
            target,
            body,
        };
        let input = Input::Posted {
            ticket,
            connection,
            post,
        };
        let sender = self.connected.get(&connection).cloned();
        let mut answers = self.perform(input);
        match answers.remove(&ticket) {
            Some(answer) => self.answered(sender.as_ref(), &lines, &answer),
            None => {
                assert!(
                    self.pending.contains_key(&ticket),
                    "a post without an answer"
                );
                let sender = sender.expect("nothing is stored for nobody");
                self.storing.insert(ticket, (sender, lines));
            }
        }
        assert!(answers.is_empty());
    }

    /// What is acknowledged is on the disk, whoever brought it there.
    fn answered(&self, sender: Option<&ProbeKey>, lines: &[String], answer: &Answer) {
        let Answer::Respond(response) = answer else {
            unreachable!("another answer than asked for");
        };
        if response.status != 0 {
            is_read_as(
                &Response {
                    date_offset: 0,
                    ..response.clone()
                },
                self.unix,
            );
        }
        if response.status != 200 || response.body.trim() != "OK" {
            return;
        }
        let known = |known: &&Known| Some(&known.key) == sender;
        let probe = self.known.iter().find(known).expect("a probe posts").id;
        for line in lines {
            let there = self.durable.contains(&(probe, line.clone()));
            assert!(there, "acknowledged and not stored: {line}");
        }
    }

    fn stored(&mut self, bytes: &mut Bytes<'_>) {
        let form = bytes.byte();
        let waiting: Vec<Ticket> = self.pending.keys().copied().collect();
        // The disk takes them in the order in which they came, and each may fail.
        let Some(ticket) = waiting.first().copied() else {
            self.tell(Input::Stored {
                ticket: Ticket(form.into()),
                failed: None,
            });
            return;
        };
        let lines = self.pending.remove(&ticket).expect("it waits");
        let failed = (form & 1 == 1).then(|| "no space left".to_owned());
        if failed.is_none() {
            let fresh = lines.into_iter();
            self.durable.extend(fresh);
        }
        let mut answers = self.perform(Input::Stored { ticket, failed });
        let answer = answers.remove(&ticket).expect("a stored post is answered");
        assert!(answers.is_empty());
        let (sender, lines) = self.storing.remove(&ticket).expect("it waits");
        self.answered(Some(&sender), &lines, &answer);
    }

    fn commanded(&mut self, bytes: &mut Bytes<'_>) {
        let form = bytes.byte();
        let talking: Vec<ConnectionId> = self.talks.keys().copied().collect();
        let connection = match talking.get(usize::from(form >> 4)) {
            Some(connection) => *connection,
            None => self.connection(bytes),
        };
        let sent = self.talks.remove(&connection).unwrap_or(0);
        let end = match form % 6 {
            0..=2 => End::Acknowledged,
            3 => End::BadPassword,
            4 => End::TimedOut("login"),
            _ => End::Unreachable("refused".to_owned()),
        };
        let outcome = Outcome {
            sent,
            replies: Vec::new(),
            end,
        };
        self.tell(Input::Commanded {
            connection,
            outcome,
        });
    }

    fn request(&mut self, bytes: &mut Bytes<'_>) {
        let ticket = self.ticket();
        let (form, probe) = (bytes.byte(), ProbeId(bytes.byte().into()));
        let count = u32::from(form >> 4);
        let command = String::from_utf8_lossy(bytes.chunk()).into_owned();
        let request = match form % 8 {
            0 => Request::Schedule(vec![Measurement {
                command,
                interval: bytes.long().into(),
                start: bytes.long().into(),
                end: None,
                spread: 0,
                probes: None,
            }]),
            1 => Request::OneOff(OneOff {
                command,
                probes: (count & 1 == 1).then(|| vec![probe.0]),
            }),
            2 => Request::Fault(Fault::Posts {
                probe: None,
                count,
                fault: post_fault(bytes),
            }),
            3 => Request::Fault(Fault::Registrations {
                count,
                fault: exec_fault(bytes),
            }),
            4 => Request::Fault(Fault::Inits {
                count,
                fault: exec_fault(bytes),
            }),
            5 => Request::Kick(probe),
            6 => Request::Drop(probe),
            _ => Request::Approve(probe, count & 1 == 1),
        };
        let answer = self.ask(ticket, Input::Request { ticket, request });
        assert!(matches!(answer, Answer::Requested(_)));
        let over = Request::Fault(Fault::Over);
        let ticket = self.ticket();
        if matches!(form % 8, 3 | 4) && count > 2 {
            let _ = self.ask(
                ticket,
                Input::Request {
                    ticket,
                    request: over,
                },
            );
        }
    }

    /// Another life: what was kept is all that is left, and nobody is connected.
    fn restart(&mut self) {
        let memory = Memory {
            known: self.known.clone(),
            stored: self.durable.iter().cloned().collect(),
        };
        self.network = Network::new(self.config.clone(), assigned(), [8; 32], memory);
        // The sessions of this life differ from those of the last.
        self.probes.clear();
        self.connected.clear();
        self.talks.clear();
        self.storing.clear();
        self.pending.clear();
        self.restless = 0;
    }

    fn wait(&mut self, bytes: &mut Bytes<'_>) {
        let before = self.now;
        match self.network.deadline() {
            Some(at) => self.now = self.now.max(at),
            None => self.now = self.now + Duration::from_secs(1 + u64::from(bytes.byte())),
        }
        self.restless = if self.now == before {
            self.restless + 1
        } else {
            0
        };
        assert!(
            self.restless < RESTLESS,
            "a deadline that comes again and again"
        );
        self.tell(Input::Deadline);
    }
}

/// What is shown of what strangers say is bounded.
fn seen(event: &Event) {
    match event {
        Event::Posted(posted) => {
            assert!(posted.rejected.len() <= 100);
            assert!(posted.rejected.iter().all(|line| line.line.len() <= 4096));
            let lines = posted.accepted.iter().map(|accepted| &accepted.line);
            assert!(
                lines
                    .clone()
                    .all(|line| line.starts_with("RESULT ") && !line.contains('\n'))
            );
        }
        Event::Registered { answer, .. } | Event::SessionOpened { answer, .. } => {
            assert!(!answer.contains('\n'));
        }
        _ => {}
    }
}

/// The lines of a body that are results.
fn good_lines(body: &[u8]) -> Vec<String> {
    let body = PostBody::parse(body).ok();
    let lines = body.iter().flat_map(|body| body.lines.iter());
    lines
        .filter(|line| Received::parse(line).is_ok())
        .map(|line| (*line).to_owned())
        .collect()
}

fn post_fault(bytes: &mut Bytes<'_>) -> PostFault {
    match bytes.byte() % 9 {
        0 => PostFault::TooMany {
            retry_after: Some(bytes.long()),
        },
        1 => PostFault::Status(503),
        2 => PostFault::Hang,
        3 => PostFault::Close,
        4 => PostFault::LoseAnswer,
        5 => PostFault::WrongBody,
        6 => PostFault::NoLineFeed,
        7 => PostFault::Chunked,
        _ => PostFault::DateOff(i64::from(bytes.long())),
    }
}

fn exec_fault(bytes: &mut Bytes<'_>) -> ExecFault {
    match bytes.byte() % 5 {
        0 => ExecFault::Wait(bytes.long()),
        1 => ExecFault::Refused("not now".to_owned()),
        2 => ExecFault::PlainOk,
        3 => ExecFault::Silent,
        _ => ExecFault::Status(bytes.long()),
    }
}

fn assigned() -> Controller {
    Controller {
        host: "192.0.2.1".to_owned(),
        port: 8443,
        key_type: "ssh-rsa".to_owned(),
        key_blob: "AAAA".to_owned(),
    }
}
