//! The agent's machines, told whatever happens in any order: they keep to one thing at a time, name a later time each
//! time that one has come, and ask for nothing that they were not given.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use starling::{
    clock::{Now, Tick, UnixTime},
    dialect::Dialect,
    measurement::{Carry, Spec},
    protocol::{crontab::CronLine, registration::SessionId},
    schedule::{self, Job, JobId, Limits, Schedule, When},
    session::{self, Failure, ServerList, Session, Settings, State},
    spool::{Number, Sealed},
    upload::{
        self, Answer, Duty, Identity, Own, Queue, ServerDate, Uploader, Which, http::PostError,
    },
};

use super::{bytes::Bytes, protocol};

/// The wall clock when the fuzzers' time begins.
const EPOCH: i64 = 1_775_483_100;
/// Deadlines in a row at one moment, after which a machine would never come to rest.
const RESTLESS: usize = 8;
/// The same for a schedule: chance may put many runs of a line in the past whose spread is much longer than its
/// interval, each as likely as not.
const RESTLESS_BY_CHANCE: usize = 64;

/// Two clocks that time and chance move.
struct Time {
    tick: Tick,
    unix: i128,
    /// Deadlines in a row at this moment.
    restless: usize,
}

impl Time {
    const fn new() -> Self {
        Self {
            tick: Tick::from_secs(0),
            unix: EPOCH as i128 * 1_000_000_000,
            restless: 0,
        }
    }

    fn now(&self) -> Now {
        Now::new(self.tick, UnixTime::from_nanos(self.unix), -1)
    }

    fn pass(&mut self, by: Duration) {
        if !by.is_zero() {
            self.restless = 0;
        }
        self.tick = self.tick + by;
        self.unix += i128::try_from(by.as_nanos()).expect("no such span");
    }

    /// Time passes to a deadline, of which there may be so many at one moment.
    fn pass_to(&mut self, at: Tick, most: usize) {
        let by = at.since(self.tick);
        self.pass(by);
        self.restless += usize::from(by.is_zero());
        assert!(
            self.restless < most,
            "a deadline that comes again and again"
        );
    }

    /// Time passes to the deadline, or by some seconds where there is none.
    fn wait(&mut self, deadline: Option<Tick>, bytes: &mut Bytes<'_>) {
        match deadline {
            Some(at) => self.pass_to(at, RESTLESS),
            None => self.pass(Duration::from_secs(1 + u64::from(bytes.byte()))),
        }
    }

    /// The wall clock is set.
    const fn step(&mut self, secs: i16) {
        self.unix += secs as i128 * 1_000_000_000;
    }
}

/// One exchange at a time, with servers whose key is known.
pub(crate) fn session(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    let mut time = Time::new();
    let mut servers = ServerList::Prod.servers();
    servers.truncate(usize::from(bytes.byte() % 5));
    if bytes.byte() & 1 == 1 {
        servers.reverse();
    }
    let settings = Settings {
        servers,
        firmware: 5120,
        sub_arch: "debian/12/x86_64".into(),
        key: "/etc/key".into(),
        reboot_count: 0,
    };
    let mut session = Session::new(settings.clone(), State::default(), bytes.long().into());
    let mut busy = false;
    for _ in 0..256 {
        let input = match bytes.byte() % 8 {
            _ if bytes.is_empty() => return,
            0 => session::Input::Connected,
            1 | 2 => session::Input::Answered(bytes.chunk().to_vec()),
            3 => session::Input::Lost(failure(&mut bytes)),
            4 => {
                time.step(i16::from_be_bytes(bytes.array()));
                session::Input::Deadline
            }
            5 => {
                // Another life: what was saved is all that is left.
                let saved = session.state().clone();
                session = Session::new(settings.clone(), saved, bytes.long().into());
                busy = false;
                session::Input::Deadline
            }
            _ => {
                time.wait(session.deadline(), &mut bytes);
                session::Input::Deadline
            }
        };
        // An answer ends what was asked, and so does a failure.
        busy &= !matches!(input, session::Input::Lost(_) | session::Input::Answered(_));
        for output in session.handle(&time.now(), input) {
            match output {
                session::Output::Register { server, block, .. } => {
                    assert!(server.host_key.is_some(), "a server without a key");
                    assert!(!block.is_empty() && !busy, "two exchanges at once");
                    busy = true;
                }
                session::Output::Connect(_) | session::Output::Keep { .. } => {
                    assert!(!busy, "two exchanges at once");
                    busy = true;
                }
                session::Output::Disconnect => busy = false,
                session::Output::Save(state) => assert_eq!(state, *session.state()),
                session::Output::Tell(event) => assert!(!event.to_string().contains('\n')),
            }
        }
    }
}

fn failure(bytes: &mut Bytes<'_>) -> Failure {
    let text = String::from_utf8_lossy(bytes.chunk()).into_owned();
    match bytes.byte() % 6 {
        0 => Failure::Connect(Vec::new()),
        1 => Failure::Ssh(text),
        2 => Failure::Denied { fingerprint: text },
        3 => Failure::NoCommonAlgorithm(text),
        4 => Failure::Exit {
            command: "INIT",
            status: bytes.byte().into(),
            stdout: text.clone(),
            stderr: text,
        },
        _ => Failure::HostKeyRefused {
            host: text.clone(),
            offered: text.clone(),
            pinned: text,
        },
    }
}

const BOUNDS: Limits = Limits {
    periodic: 3,
    one_shot: 2,
    one_off: 2,
    queue: 4,
};

/// Runs do not overlap, and never more than allowed.
pub(crate) fn schedule(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    let mut time = Time::new();
    let mut schedule = Schedule::new(bytes.long().into(), BOUNDS);
    let mut running: BTreeSet<JobId> = BTreeSet::new();
    let mut one_offs: BTreeSet<JobId> = BTreeSet::new();
    for _ in 0..256 {
        let input = match bytes.byte() % 8 {
            _ if bytes.is_empty() => return,
            0 => schedule::Input::Replace {
                table: table(&mut bytes),
                jobs: (0..bytes.byte() % 8).map(|_| job(&mut bytes)).collect(),
            },
            1 => schedule::Input::Add(job(&mut bytes)),
            2 | 3 => {
                let ids: Vec<JobId> = running.iter().copied().collect();
                let Some(id) = (!ids.is_empty()).then(|| bytes.of(&ids)) else {
                    continue;
                };
                running.remove(&id);
                one_offs.remove(&id);
                schedule::Input::Finished {
                    id,
                    carry: Carry::Nothing,
                }
            }
            4 => {
                time.step(i16::from_be_bytes(bytes.array()));
                schedule::Input::Deadline
            }
            5 => {
                time.pass(Duration::from_millis(bytes.word().into()));
                schedule::Input::Deadline
            }
            _ => {
                let Some(at) = schedule.deadline() else {
                    continue;
                };
                time.pass_to(at, RESTLESS_BY_CHANCE);
                schedule::Input::Deadline
            }
        };
        for output in schedule.handle(&mut time.now(), input) {
            if let schedule::Output::Launch { id, one_off, .. } = output {
                assert!(running.insert(id), "two runs of one job at once");
                if one_off {
                    one_offs.insert(id);
                }
            }
        }
        assert!(one_offs.len() <= BOUNDS.one_off);
        let lines = running.len() - one_offs.len();
        assert!(lines <= BOUNDS.periodic + BOUNDS.one_shot);
    }
}

fn table(bytes: &mut Bytes<'_>) -> String {
    (bytes.byte() % 3).to_string()
}

fn job(bytes: &mut Bytes<'_>) -> Job {
    let commands = [
        "evping -4 192.0.2.1",
        "evping -6 2001:db8::1",
        "evntp -4 ntp.example",
    ];
    let text = bytes.of(&commands);
    let words: Vec<&str> = text.split(' ').collect();
    let spec = Spec::parse(&words, &protocol::rules(Dialect::Reference)).expect("a command");
    let (form, interval, number) = (bytes.byte(), bytes.word(), bytes.long());
    let start = if form & 1 == 0 {
        number.into()
    } else {
        EPOCH + i64::from(number) - i64::from(u32::MAX / 2)
    };
    let end = (form & 2 != 0).then(|| EPOCH + i64::from(bytes.word()));
    let when = if form & 4 == 0 {
        When::Periodic {
            interval: interval.into(),
            start,
            end,
            spread: (form & 8 != 0).then(|| bytes.word().into()),
        }
    } else {
        When::Once { start, end }
    };
    Job {
        table: table(bytes),
        text: text.to_owned(),
        spec: spec.into(),
        when,
    }
}

/// One post of a queue at a time, of segments that there are, and only accepted ones are removed.
pub(crate) fn uploader(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    let mut time = Time::new();
    let mut uploads = Uploads {
        uploader: Uploader::new(Own::default(), bytes.long().into()),
        stored: BTreeMap::new(),
        posts: BTreeMap::new(),
        made: 0,
    };
    for _ in 0..256 {
        let input = match bytes.byte() % 8 {
            _ if bytes.is_empty() => return,
            0 => upload::Input::Session(identity(&mut bytes)),
            1 => upload::Input::Tunnel(bytes.byte() & 1 == 1),
            2 => upload::Input::Duties(duties(&mut bytes)),
            3 => {
                uploads.store(&mut bytes);
                upload::Input::OneOff {
                    idle: bytes.byte() & 1 == 1,
                }
            }
            4 => {
                let under_way: Vec<Which> = uploads.posts.keys().copied().collect();
                let Some(which) = (!under_way.is_empty()).then(|| bytes.of(&under_way)) else {
                    continue;
                };
                upload::Input::Answered(which, answer(&mut bytes, &time))
            }
            5 => {
                time.step(i16::from_be_bytes(bytes.array()));
                upload::Input::Deadline
            }
            _ => {
                time.wait(uploads.uploader.deadline(), &mut bytes);
                upload::Input::Deadline
            }
        };
        uploads.tell(&time, input);
    }
}

/// The uploader, and what its drivers know.
struct Uploads {
    uploader: Uploader,
    stored: BTreeMap<Queue, BTreeMap<Number, Sealed>>,
    posts: BTreeMap<Which, Vec<Number>>,
    /// Segments so far.
    made: u64,
}

impl Uploads {
    fn store(&mut self, bytes: &mut Bytes<'_>) {
        let queue = bytes.of(&[Queue::Periodic, Queue::OneOff]);
        self.made += 1;
        let sealed = Sealed {
            number: Number(self.made),
            len: bytes.long().into(),
            lines: 1,
        };
        let there = self.stored.entry(queue).or_default();
        there.insert(sealed.number, sealed);
    }

    fn tell(&mut self, time: &Time, input: upload::Input) {
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            let mut accepted = None;
            if let upload::Input::Answered(which, answer) = &input {
                let segments = self.posts.remove(which).expect("it was under way");
                let good = matches!(answer, Answer::Heard { accepted: true, .. });
                accepted = good.then_some((which.queue(), segments));
            }
            for output in self.uploader.handle(&time.now(), input) {
                inputs.extend(self.perform(output, &mut accepted));
            }
        }
    }

    /// What comes of an output at once. `accepted` is what was just taken, until it is said to be uploaded.
    fn perform(
        &mut self,
        output: upload::Output,
        accepted: &mut Option<(Queue, Vec<Number>)>,
    ) -> Option<upload::Input> {
        match output {
            upload::Output::Collect { queue, .. } => {
                let there = self.stored.get(&queue).into_iter();
                let there = there.flat_map(BTreeMap::values).cloned().collect();
                return Some(upload::Input::Collected(queue, there));
            }
            upload::Output::Post(post) => {
                let queue = post.which.queue();
                let under_way = self.posts.keys().any(|which| which.queue() == queue);
                assert!(!under_way, "two posts of one queue");
                let there = self.stored.entry(queue).or_default();
                let is_there = |number| there.contains_key(number);
                assert!(post.segments.iter().all(is_there));
                self.posts.insert(post.which, post.segments);
            }
            upload::Output::Uploaded(queue, numbers) => {
                assert_eq!(accepted.take(), Some((queue, numbers.clone())));
                let there = self.stored.entry(queue).or_default();
                there.retain(|number, _| !numbers.contains(number));
            }
            upload::Output::Append(line) => assert!(line.ends_with('\n')),
            upload::Output::Limit(bytes) => assert!(bytes > 0),
            upload::Output::Kept(_)
            | upload::Output::InSync(_)
            | upload::Output::Held(_)
            | upload::Output::Told(_)
            | upload::Output::Failing(_)
            | upload::Output::Works
            | upload::Output::ClockOff(_) => {}
        }
        None
    }
}

fn identity(bytes: &mut Bytes<'_>) -> Identity {
    let id = bytes.byte();
    let session_id = SessionId::new(protocol::SESSION).expect("eight hexadecimal digits");
    Identity {
        probe_id: (id > 0).then(|| id.into()),
        session_id,
    }
}

/// Lines of text, those of them that are duties.
fn duties(bytes: &mut Bytes<'_>) -> Vec<Duty> {
    let text = String::from_utf8_lossy(bytes.chunk()).into_owned();
    let lines = text.lines().filter_map(|line| CronLine::parse(line).ok());
    lines
        .filter_map(|line| Duty::of_main(&line).or_else(|| Duty::of_measurement_table(&line)))
        .collect()
}

fn answer(bytes: &mut Bytes<'_>, time: &Time) -> Answer {
    let (form, status) = (bytes.byte(), bytes.word());
    match form & 3 {
        0 => Answer::NotMade,
        1 => Answer::Failed(PostError::Open(String::new())),
        _ => Answer::Heard {
            status,
            accepted: form & 4 != 0,
            retry_after: (form & 8 != 0).then(|| Duration::from_secs(bytes.long().into())),
            date: (form & 16 != 0).then(|| ServerDate {
                date: EPOCH + i64::from(i16::from_be_bytes(bytes.array())),
                local: time.now().unix(),
                rtt: Duration::from_millis(bytes.word().into()),
            }),
        },
    }
}
