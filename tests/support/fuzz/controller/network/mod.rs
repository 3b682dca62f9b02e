//! The machine of registration server, controller and intake, and all that its drivers know.

mod clients;
mod drivers;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use starling::{
    clock::{Now, Tick, UnixTime},
    controller::{
        Config, Network, ProbeId, ProbeKey,
        config::{Approval, InitPolicy, OneOff, Probe, UnknownKeys},
        messages::{Answer, ConnectionId, Event, Input, Output, Ticket},
        network::Memory,
        registry::Known,
    },
    protocol::registration::Controller,
};

use super::Bytes;

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

fn assigned() -> Controller {
    Controller {
        host: "192.0.2.1".to_owned(),
        port: 8443,
        key_type: "ssh-rsa".to_owned(),
        key_blob: "AAAA".to_owned(),
    }
}
