//! The session by script, and under whatever may happen.

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

#[test]
fn a_first_start_registers_as_new_and_goes_on_to_keep() {
    let mut script = Script::new(1);
    assert_eq!(script.wait(), (Duration::ZERO, vec![new()]));
    let markers: Vec<String> = script
        .events
        .iter()
        .filter_map(|event| match event {
            SessionEvent::Marker(marker) => Some(format!("{} {}", marker.id(), marker.text())),
            _ => None,
        })
        .collect();
    assert_eq!(
        markers,
        [
            "9000 STARTING ATLAS system initialized (reboot count 0)",
            "9000 STARTING TELNETD LOCALLY",
            "9011 Starting ssh -p 443 atlas@192.0.2.1 INIT",
        ]
    );
    assert_eq!(script.answer(&assignment(Some(3000))), [connect()]);
    assert_eq!(script.answer(&opened()), [Wanted::Keep(2023)]);
    let state = script.saved.clone().unwrap();
    assert_eq!(state.probe_id, Some(7));
    assert_eq!(state.reregister.unwrap().until, EPOCH + 3000);
    assert_eq!(script.tell(Input::Connected), []);
    script.pass(60);
    assert_eq!(script.tell(Input::Deadline), []);
    let watch = script.session.deadline().unwrap().since(Tick::default());
    assert!(secs(480..=720).contains(&watch), "{watch:?}");
}

#[test]
fn the_state_is_saved_before_anything_is_done_about_it() {
    let mut script = Script::new(1);
    let outputs = script.session.handle(&script.now(), Input::Deadline);
    assert!(matches!(outputs.first(), Some(Output::Save(state)) if state.registrations == [EPOCH]));
}

#[test]
fn a_restart_takes_controller_and_session_up_again() {
    let mut script = Script::kept(Some(3000));
    let state = script.saved.take().unwrap();
    let text = serde_json::to_string(&state).unwrap();
    let read: State = serde_json::from_str(&text).unwrap();
    assert_eq!(read, state);
    let mut again = Script::from(settings(servers(1)), read, EPOCH + 100);
    assert_eq!(again.wait(), (Duration::ZERO, vec![Wanted::Keep(2023)]));
}

#[test]
fn a_restart_after_the_reregister_timer_registers_again() {
    let state = Script::kept(Some(3000)).saved.unwrap();
    let mut again = Script::from(settings(servers(1)), state, EPOCH + 3000);
    assert_eq!(again.wait().1, [registration("REREG_TIMER_EXPIRED")]);
}

#[test]
fn an_unapproved_probe_asks_again_after_three_minutes_at_least() {
    let mut script = Script::new(1);
    script.wait_for(&new());
    for _ in 0..8 {
        assert_eq!(script.answer("OK\n"), []);
        assert!(
            script
                .events
                .iter()
                .any(|event| matches!(event, SessionEvent::WaitingForApproval { .. }))
        );
        let took = script.wait_for(&new());
        assert!(secs(180..=360).contains(&took), "{took:?}");
    }
}

#[test]
fn ok_with_a_reregister_timer_and_no_controller_waits_for_that_timer() {
    let mut script = Script::new(1);
    script.wait_for(&new());
    assert_eq!(script.answer("OK\nREREGISTER 3000\n"), []);
    let took = script.wait_for(&registration("REREG_TIMER_EXPIRED"));
    assert!(secs(3000..=3600).contains(&took), "{took:?}");
}

#[test]
fn wait_is_kept_to_the_second_and_across_a_restart() {
    let mut script = Script::new(1);
    script.wait_for(&new());
    assert_eq!(script.answer("WAIT\nTIMEOUT 500\n"), []);
    let mut restarted = Script::from(
        settings(servers(1)),
        script.saved.clone().unwrap(),
        EPOCH + 200,
    );
    assert_eq!(
        script.wait_for(&registration("WAIT_OVER")),
        Duration::from_secs(500)
    );
    assert_eq!(
        restarted.wait_for(&registration("WAIT_OVER")),
        Duration::from_secs(300)
    );
}

#[test]
fn any_other_answer_to_a_registration_waits_a_hundred_seconds() {
    let mut script = Script::new(1);
    script.wait_for(&new());
    assert_eq!(script.answer("REFUSED\nno\n"), []);
    assert_eq!(
        script.wait_for(&registration("WAIT_OVER")),
        Duration::from_secs(100)
    );
}

#[test]
fn a_wall_clock_that_jumps_back_does_not_prolong_a_wait() {
    let mut script = Script::new(1);
    script.wait_for(&new());
    script.answer("WAIT\nTIMEOUT 500\n");
    script.unix_offset -= 10 * 365 * 86_400;
    assert_eq!(
        script.wait_for(&registration("WAIT_OVER")),
        Duration::from_secs(500)
    );
    // Nor does starting with a clock that was never set.
    let state = State {
        registration_wait: Some(Timer {
            since: EPOCH,
            until: EPOCH + 500,
        }),
        ..State::default()
    };
    let mut unset = Script::from(settings(servers(1)), state, 0);
    assert_eq!(
        unset.wait_for(&registration("WAIT_OVER")),
        Duration::from_secs(500)
    );
}

#[test]
fn a_clock_that_is_set_right_during_a_wait_is_noticed_within_minutes() {
    let state = State {
        registration_wait: Some(Timer {
            since: EPOCH,
            until: EPOCH + 2_000_000,
        }),
        ..State::default()
    };
    let mut unset = Script::from(settings(servers(1)), state, 0);
    assert_eq!(unset.tell(Input::Deadline), []);
    unset.unix_offset = EPOCH + 2_000_000;
    assert!(unset.wait_for(&registration("WAIT_OVER")) <= Duration::from_secs(180));
}

#[test]
fn a_damaged_state_file_cannot_wait_for_ever() {
    let state = State {
        registration_wait: Some(Timer {
            since: 0,
            until: i64::MAX,
        }),
        registrations: vec![i64::MIN, i64::MAX, 0],
        ..State::default()
    };
    let mut script = Script::from(settings(servers(1)), state, EPOCH);
    assert!(script.wait_for(&registration("WAIT_OVER")) <= Duration::from_secs(28 * 86_400));
}

#[test]
fn a_lost_keep_is_kept_again_with_the_same_session() {
    let mut script = Script::kept(Some(3000));
    script.pass(1000);
    assert_eq!(script.lose(), []);
    assert!(
        script
            .events
            .contains(&SessionEvent::Marker(Marker::KeepGone))
    );
    let took = script.wait_for(&Wanted::Keep(2023));
    assert!(secs(4..=6).contains(&took), "{took:?}");
}

#[test]
fn the_reregister_timer_counts_only_once_keep_is_down() {
    let mut script = Script::kept(Some(3000));
    script.pass(60);
    assert_eq!(script.tell(Input::Deadline), []);
    script.tell(Input::Commanded);
    script.pass(20_000);
    assert!(script.session.deadline() > Some(script.tick));
    assert_eq!(script.tell(Input::Deadline), []);
    assert_eq!(script.lose(), []);
    script.wait_for(&registration("REREG_TIMER_EXPIRED"));
}

#[test]
fn without_a_reregister_timer_every_lost_keep_registers() {
    let mut script = Script::kept(None);
    script.lose();
    script.wait_for(&new());
}

#[test]
fn a_byte_on_keep_forces_a_registration_even_after_a_restart() {
    let mut script = Script::kept(Some(3000));
    script.pass(100);
    assert_eq!(script.answer("x"), [Wanted::Disconnect]);
    assert!(script.events.contains(&SessionEvent::KickedOut));
    assert!(
        script
            .events
            .contains(&SessionEvent::Marker(Marker::KickedOut))
    );
    let mut restarted = Script::from(
        settings(servers(1)),
        script.saved.clone().unwrap(),
        EPOCH + 101,
    );
    restarted.wait_for(&registration("FORCE_REG"));
    let took = script.wait_for(&registration("FORCE_REG"));
    assert!(secs(4..=6).contains(&took), "{took:?}");
    // The reason stands until a server has answered.
    assert_eq!(script.tell(Input::Lost(unreachable())), []);
    script.wait_for(&registration("FORCE_REG"));
    assert_eq!(script.answer("OK\n"), []);
    script.wait_for(&new());
}

#[test]
fn a_controller_s_wait_and_refusal_lead_to_init_again_not_to_a_registration() {
    for (answer, wait) in [("WAIT\nTIMEOUT 700\n", 700), ("REFUSED\nfull\n", 100)] {
        let mut script = Script::new(1);
        script.wait_for(&new());
        script.answer(&assignment(Some(3000)));
        assert_eq!(script.answer(answer), []);
        assert_eq!(
            script.wait_for(&connect()),
            Duration::from_secs(wait),
            "{answer}"
        );
    }
}

#[test]
fn ok_without_a_remote_port_opens_no_session() {
    let mut script = Script::new(1);
    script.wait_for(&new());
    script.answer(&assignment(Some(3000)));
    assert_eq!(script.answer("OK\n"), []);
    let lost = script.events.iter().any(|event| {
        matches!(
            event,
            SessionEvent::Lost {
                exchange: Exchange::Init,
                failure: Failure::NoSession,
                ..
            }
        )
    });
    assert!(lost, "{:?}", script.events);
    let took = script.wait_for(&connect());
    assert!(secs(4..=6).contains(&took), "{took:?}");
}

#[test]
fn a_session_that_the_controller_ends_again_and_again_is_opened_anew_and_then_registered_anew() {
    let mut script = Script::kept(Some(90_000));
    let mut steps = Vec::new();
    for _ in 0..12 {
        script.lose();
        let wanted = script.wait().1;
        steps.push(match wanted.as_slice() {
            [Wanted::Keep(_)] => "keep",
            [Wanted::Connect(_)] => {
                assert_eq!(script.answer(&opened()), [Wanted::Keep(2023)]);
                "init"
            }
            [Wanted::Register(_, reason)] => {
                assert_eq!(reason, "REREG_TIMER_EXPIRED");
                break;
            }
            other => panic!("{other:?}"),
        });
    }
    assert_eq!(steps, ["keep", "init", "keep", "init", "keep"]);
}

#[test]
fn a_controller_that_cannot_be_reached_is_tried_until_the_reregister_timer_expires() {
    let mut script = Script::kept(Some(1500));
    script.lose();
    let mut longest = Duration::ZERO;
    while script.tick < Tick::from_secs(1100) {
        longest = longest.max(script.wait_for(&Wanted::Keep(2023)));
        assert_eq!(script.tell(Input::Lost(unreachable())), []);
    }
    assert!(secs(240..=360).contains(&longest), "{longest:?}");
    let mut wanted = Vec::new();
    while script.tick < Tick::from_secs(1500) {
        wanted = script.wait().1;
        script.tell(Input::Lost(unreachable()));
    }
    assert_eq!(wanted, [registration("REREG_TIMER_EXPIRED")]);
}

#[test]
fn a_keep_that_stood_for_a_minute_resets_the_back_off() {
    let mut script = Script::kept(Some(90_000));
    for _ in 0..5 {
        script.lose();
        script.wait();
        script.tell(Input::Lost(unreachable()));
    }
    let (took, _) = script.wait();
    assert!(took > Duration::from_secs(100), "{took:?}");
    script.tell(Input::Connected);
    script.pass(60);
    script.lose();
    let took = script.wait_for(&Wanted::Keep(2023));
    assert!(secs(4..=6).contains(&took), "{took:?}");
}

#[test]
fn every_server_is_tried_once_in_order_from_a_random_start_before_backing_off() {
    let mut script = Script::new(4);
    let (_, first) = script.wait();
    let mut tried = first;
    for _ in 0..3 {
        tried.extend(script.tell(Input::Lost(unreachable())));
    }
    let numbers: Vec<u8> = tried
        .iter()
        .map(|wanted| match wanted {
            Wanted::Register(host, _) => host.rsplit('.').next().unwrap().parse().unwrap(),
            other => panic!("{other:?}"),
        })
        .collect();
    let expected: Vec<u8> = (0..4).map(|step| (numbers[0] - 1 + step) % 4 + 1).collect();
    assert_eq!(numbers, expected);
    assert_eq!(script.tell(Input::Lost(unreachable())), []);
    let (took, _) = script.wait();
    assert!(secs(4..=6).contains(&took), "{took:?}");
}

#[test]
fn a_server_that_does_not_know_the_key_ends_the_round() {
    let mut script = Script::new(4);
    script.wait();
    let denied = Failure::Denied {
        fingerprint: "SHA256:x".into(),
    };
    assert_eq!(script.tell(Input::Lost(denied)), []);
    let words = Marker::Stderr("Permission denied (publickey).".into());
    assert!(script.events.contains(&SessionEvent::Marker(words)));
}

#[test]
fn servers_without_a_key_are_named_once_and_never_used() {
    let mut list = servers(1);
    list.push(RegistrationServer {
        host: "192.0.2.99".into(),
        port: 443,
        host_key: None,
    });
    let mut script = Script::from(settings(list.clone()), State::default(), EPOCH);
    for round in 0..20 {
        script.wait_for(&new());
        let named = script
            .events
            .contains(&SessionEvent::ServerSkipped(list[1].clone()));
        assert_eq!(named, round == 0);
        script.tell(Input::Lost(unreachable()));
    }
}

#[test]
fn a_network_that_is_down_does_not_use_up_the_hour() {
    let mut script = Script::new(6);
    script.wait();
    while script.tick < Tick::from_secs(1800) {
        if script.tell(Input::Lost(unreachable())).is_empty() {
            script.wait();
        }
        assert!(
            !script
                .events
                .iter()
                .any(|event| matches!(event, SessionEvent::RegistrationsSpent { .. }))
        );
    }
}

#[test]
fn a_spent_hour_falls_back_on_the_controller_that_is_known() {
    let state = State {
        controller: Some(Controller {
            host: "ctr.example.net".into(),
            port: 443,
            host_key: host_key(),
        }),
        reregister: Some(Timer {
            since: EPOCH - 10,
            until: EPOCH - 1,
        }),
        registrations: vec![EPOCH - 30; 20],
        ..State::default()
    };
    let mut script = Script::from(settings(servers(1)), state.clone(), EPOCH);
    assert_eq!(script.wait(), (Duration::ZERO, vec![connect()]));
    // Without one it waits for the hour to pass.
    let mut script = Script::from(
        settings(servers(1)),
        State {
            controller: None,
            ..state
        },
        EPOCH,
    );
    let took = script.wait_for(&registration("REREG_TIMER_EXPIRED"));
    assert_eq!(took, Duration::from_secs(3571));
}

#[test]
fn an_exchange_that_is_never_answered_is_cut_off() {
    let mut script = Script::new(1);
    script.wait_for(&new());
    let (took, wanted) = script.wait();
    assert_eq!(
        (took, wanted),
        (Duration::from_secs(300), vec![Wanted::Disconnect])
    );
    script.wait_for(&new());
}

#[test]
fn a_controller_key_that_is_none_is_not_connected_to() {
    let mut script = Script::new(1);
    script.wait_for(&new());
    assert_eq!(
        script.answer("OK\nCONTROLLER ctr.example.net 443 ssh-rsa AAAA\nREREGISTER 3000\n"),
        []
    );
    assert!(
        script
            .events
            .iter()
            .any(|event| matches!(event, SessionEvent::Misread { .. }))
    );
}

/// What a stranger may do to a session.
#[derive(Clone, Debug)]
enum Happening {
    Connected,
    Answer(String),
    Lost(Failure),
    NotForwarded,
    Commanded,
    Uploaded(Upload),
    /// Seconds pass; deadlines come when they are due.
    Pass(u64),
    /// The wall clock jumps.
    Jump(i64),
    /// The process dies and starts again from what was saved.
    Restart,
}

fn happening() -> impl Strategy<Value = Happening> {
    let failure = prop_oneof![
        Just(unreachable()),
        Just(Failure::Denied {
            fingerprint: String::new()
        }),
        Just(Failure::Ssh("broken".into())),
        Just(Failure::Disconnected("gone".into())),
        Just(Failure::TimedOut {
            step: Step::Login,
            limit: Duration::from_secs(30)
        }),
    ];
    let answer = prop_oneof![
        Just(assignment(Some(3000))),
        Just(assignment(None)),
        Just(opened()),
        Just("OK\n".to_owned()),
        Just("WAIT\nTIMEOUT 500\n".to_owned()),
        Just("REFUSED\n".to_owned()),
        Just(String::new()),
        ".{0,40}",
    ];
    let upload = prop_oneof![
        Just(Upload::Accepted),
        Just(Upload::NotAccepted("it answers 500".to_owned())),
        Just(Upload::Unknown("it answers 403".to_owned())),
        (60_u64..=3600).prop_map(|secs| Upload::Held(Duration::from_secs(secs))),
    ];
    prop_oneof![
        3 => Just(Happening::Connected),
        6 => answer.prop_map(Happening::Answer),
        6 => failure.prop_map(Happening::Lost),
        1 => Just(Happening::NotForwarded),
        2 => Just(Happening::Commanded),
        4 => upload.prop_map(Happening::Uploaded),
        6 => (0_u64..700).prop_map(Happening::Pass),
        1 => (700_u64..40_000).prop_map(Happening::Pass),
        1 => (-100_000_000_i64..100_000_000).prop_map(Happening::Jump),
        1 => Just(Happening::Restart),
    ]
}

/// A driver that checks what must always hold.
struct Check {
    script: Script,
    under_way: Option<Wanted>,
    kept: bool,
    /// When registrations that reached a server were made, by the check's clock and by the wall clock.
    made: Vec<(Tick, i64)>,
    /// The process's own clock began at this time of the check's clock.
    born: Duration,
}

impl Check {
    fn new() -> Self {
        Self {
            script: Script::new(3),
            under_way: None,
            kept: false,
            made: Vec::new(),
            born: Duration::from_secs(1_000_000_000),
        }
    }

    fn tell(&mut self, input: Input) {
        if let (Some(Wanted::Register(..)), Input::Lost(failure)) = (&self.under_way, &input)
            && !failure.reached()
        {
            self.made.pop();
        }
        match (&self.under_way, &input) {
            (Some(Wanted::Keep(_)), Input::Connected) => self.kept = true,
            (Some(_), Input::Lost(_)) => self.under_way = None,
            // A byte on KEEP is followed by our own disconnect.
            (Some(Wanted::Register(..) | Wanted::Connect(_)), Input::Answered(_)) => {
                self.under_way = None;
            }
            _ => {}
        }
        for wanted in self.script.tell(input) {
            if wanted == Wanted::Disconnect {
                assert!(
                    self.under_way.take().is_some(),
                    "cut off what was not there"
                );
                continue;
            }
            assert_eq!(self.under_way, None, "two exchanges at once");
            if matches!(wanted, Wanted::Register(..)) {
                let now = Tick(self.script.tick.0 + self.born);
                self.made.push((now, self.script.now().unix().secs()));
                let hour = self
                    .made
                    .iter()
                    .filter(|(made, _)| now.since(*made) < Duration::from_secs(3600));
                assert!(hour.count() <= 20, "too many registrations in an hour");
            }
            self.kept = false;
            self.under_way = Some(wanted);
        }
        for event in &self.script.events {
            if let SessionEvent::Lost { retry, .. } = event {
                let within = secs(4..=360).contains(retry) || retry.is_zero();
                assert!(within, "a back-off of {retry:?}");
            }
        }
        if self.under_way.is_none() {
            self.kept = false;
            let deadline = self
                .script
                .session
                .deadline()
                .expect("nothing is under way, so something is due");
            let wait = deadline.since(self.script.tick);
            assert!(
                wait <= Duration::from_secs(3600),
                "waits {wait:?} without looking"
            );
        }
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Connected
                if matches!(self.under_way, Some(Wanted::Keep(_))) && !self.kept =>
            {
                self.tell(Input::Connected);
            }
            Happening::Answer(text) if self.under_way.is_some() => {
                self.tell(Input::Answered(text.into_bytes()));
            }
            Happening::Lost(failure) if self.under_way.is_some() => self.tell(Input::Lost(failure)),
            Happening::NotForwarded if matches!(self.under_way, Some(Wanted::Keep(_))) => {
                self.tell(Input::NotForwarded);
            }
            Happening::Commanded if self.kept => self.tell(Input::Commanded),
            // Of an upload under way one may hear late.
            Happening::Uploaded(upload) => self.tell(Input::Uploaded(upload)),
            Happening::Pass(secs) => self.pass(secs),
            Happening::Jump(secs) => self.script.unix_offset += secs,
            Happening::Restart => self.restart(),
            _ => {}
        }
    }

    fn pass(&mut self, secs: u64) {
        let end = self.script.tick + Duration::from_secs(secs);
        while let Some(due) = self.script.session.deadline().filter(|due| *due <= end) {
            self.script.tick = self.script.tick.max(due);
            self.tell(Input::Deadline);
        }
        self.script.tick = end;
    }

    fn restart(&mut self) {
        let state = self.script.saved.clone().unwrap_or_default();
        let unix = self.script.now().unix().secs();
        self.born += self.script.tick.0;
        // After a restart the wall clock is all there is: set ahead, it cannot be told from a long rest.
        for (made, wall) in &mut self.made {
            let age = u64::try_from(unix.saturating_sub(*wall)).unwrap_or(0);
            *made = (*made).min(Tick(self.born) - Duration::from_secs(age));
        }
        let saved = self.script.saved.take();
        self.script = Script::from(settings(servers(3)), state, unix);
        self.script.saved = saved;
        self.under_way = None;
        self.kept = false;
        self.tell(Input::Deadline);
    }
}

proptest! {
    #[test]
    fn whatever_happens_one_exchange_at_a_time_twenty_registrations_an_hour_and_bounded_waits(
        happenings in prop::collection::vec(happening(), 0..200)
    ) {
        let mut check = Check::new();
        check.tell(Input::Deadline);
        for happening in happenings {
            check.happen(happening);
        }
    }

    /// Progress: from any state, once the servers behave, the session is kept within an hour and a bit.
    #[test]
    fn whatever_happened_a_world_in_order_is_joined_again(
        happenings in prop::collection::vec(happening(), 0..100)
    ) {
        let mut check = Check::new();
        check.tell(Input::Deadline);
        for happening in happenings {
            check.happen(happening);
        }
        let start = check.script.tick;
        while !check.kept {
            prop_assert!(check.script.tick.since(start) <= Duration::from_secs(2 * 3600), "no progress");
            match &check.under_way {
                Some(Wanted::Register(..)) => check.tell(Input::Answered(assignment(Some(3000)).into_bytes())),
                Some(Wanted::Connect(_)) => check.tell(Input::Answered(opened().into_bytes())),
                Some(Wanted::Keep(_)) => check.tell(Input::Connected),
                _ => check.pass(60),
            }
        }
    }
}
