//! The session by script.

mod keeping;
mod lasting;
mod properties;
mod registering;
mod servers;
mod supervision;

use proptest::prelude::*;
use std::time::Duration;

use super::{
    Exchange, Failure, Input, Marker, Output, RegistrationServer, Session, SessionEvent, Settings,
    State, Upload,
    failure::Step,
    state::{Controller, Timer},
};
use crate::{
    clock::{Now, Tick, UnixTime},
    key::HostKey,
    session::ServerList,
};

/// The wall clock at tick 0 of a script.
const EPOCH: i64 = 1_700_000_000;
const SESSION_ID: &str = "fa0b28e5f26291ad4a41ceecffc73457cbb4180291f53abdcda5667357440a9f";

fn host_key() -> HostKey {
    ServerList::Prod.servers()[0].host_key.clone().unwrap()
}

fn servers(count: u8) -> Vec<RegistrationServer> {
    (1..=count)
        .map(|number| RegistrationServer {
            host: format!("192.0.2.{number}"),
            port: 443,
            host_key: Some(host_key()),
        })
        .collect()
}

fn settings(servers: Vec<RegistrationServer>) -> Settings {
    Settings {
        servers,
        firmware: 5120,
        sub_arch: "debian/12/x86_64".into(),
        key: "/etc/key".into(),
        reboot_count: 0,
    }
}

/// A session, its clocks, and what it last wanted done.
struct Script {
    session: Session,
    tick: Tick,
    /// Wall clock minus monotonic clock, in seconds.
    unix_offset: i64,
    events: Vec<SessionEvent>,
    saved: Option<State>,
}

/// What a session wants done to the network.
#[derive(Clone, Debug, PartialEq)]
enum Wanted {
    Register(String, String),
    Connect(String),
    Keep(u16),
    Disconnect,
}

impl Script {
    fn new(count: u8) -> Self {
        Self::from(settings(servers(count)), State::default(), EPOCH)
    }

    fn from(settings: Settings, state: State, unix: i64) -> Self {
        Self {
            session: Session::new(settings, state, 42),
            tick: Tick::default(),
            unix_offset: unix,
            events: Vec::new(),
            saved: None,
        }
    }

    fn now(&self) -> Now {
        let secs = i64::try_from(self.tick.0.as_secs()).unwrap() + self.unix_offset;
        Now::new(self.tick, UnixTime::from_secs(secs), -1)
    }

    fn tell(&mut self, input: Input) -> Vec<Wanted> {
        let mut wanted = Vec::new();
        self.events.clear();
        for output in self.session.handle(&self.now(), input) {
            match output {
                Output::Tell(event) => self.events.push(event),
                Output::Save(state) => self.saved = Some(state),
                Output::Register { server, block, .. } => {
                    let reason = block.lines().last().unwrap().to_owned();
                    wanted.push(Wanted::Register(
                        server.host,
                        reason.replace("REASON_FOR_REGISTRATION ", ""),
                    ));
                }
                Output::Connect(controller) => wanted.push(Wanted::Connect(controller.host)),
                Output::Keep { identity, .. } => {
                    assert_eq!(identity.session_id.as_str(), SESSION_ID);
                    wanted.push(Wanted::Keep(identity.remote_port));
                }
                Output::Disconnect => wanted.push(Wanted::Disconnect),
            }
        }
        wanted
    }

    /// Lets time pass to the next deadline until something is wanted; says how long that took.
    fn wait(&mut self) -> (Duration, Vec<Wanted>) {
        let start = self.tick;
        loop {
            let deadline = self.session.deadline().expect("something is to come");
            self.tick = self.tick.max(deadline);
            let wanted = self.tell(Input::Deadline);
            if !wanted.is_empty() {
                return (self.tick.since(start), wanted);
            }
        }
    }

    fn wait_for(&mut self, wanted: &Wanted) -> Duration {
        let (took, got) = self.wait();
        assert_eq!(got, std::slice::from_ref(wanted));
        took
    }

    fn answer(&mut self, text: &str) -> Vec<Wanted> {
        self.tell(Input::Answered(text.as_bytes().to_vec()))
    }

    fn lose(&mut self) -> Vec<Wanted> {
        self.tell(Input::Lost(Failure::Disconnected("gone".into())))
    }

    fn pass(&mut self, secs: u64) {
        self.tick = self.tick + Duration::from_secs(secs);
    }

    /// Registered, opened and kept.
    fn kept(reregister: Option<u32>) -> Self {
        let mut script = Self::new(1);
        script.wait_for(&new());
        assert_eq!(script.answer(&assignment(reregister)), [connect()]);
        assert_eq!(script.answer(&opened()), [Wanted::Keep(2023)]);
        assert_eq!(script.tell(Input::Connected), []);
        assert!(matches!(script.events.as_slice(), [SessionEvent::Kept(_)]));
        script
    }
}

fn registration(reason: &str) -> Wanted {
    Wanted::Register("192.0.2.1".into(), reason.into())
}

fn new() -> Wanted {
    registration("NEW")
}

fn connect() -> Wanted {
    Wanted::Connect("ctr.example.net".into())
}

fn assignment(reregister: Option<u32>) -> String {
    let timer = reregister.map_or_else(String::new, |secs| format!("REREGISTER {secs}\n"));
    format!(
        "OK\nCONTROLLER ctr.example.net 443 {}\n{timer}PROBE_ID 7\n",
        host_key()
    )
}

fn opened() -> String {
    format!("OK\nREMOTE_PORT 2023\nSESSION_ID {SESSION_ID}\n")
}

fn unreachable() -> Failure {
    Failure::Connect(vec![])
}

fn secs(range: std::ops::RangeInclusive<u64>) -> std::ops::RangeInclusive<Duration> {
    Duration::from_secs(*range.start())..=Duration::from_secs(*range.end())
}
