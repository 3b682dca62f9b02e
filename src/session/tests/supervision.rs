//! A controller that is of no use: what is done about it, and how often.

use super::*;
use crate::session::{Complaint, Step, event::Doubt};

/// What was done, in words, and when since the one before, in minutes.
fn steps(
    script: &mut Script,
    count: usize,
    mut during: impl FnMut(&mut Script),
) -> Vec<&'static str> {
    let mut steps = Vec::new();
    while steps.len() < count {
        let (_, wanted) = script.wait();
        match wanted.as_slice() {
            [Wanted::Disconnect] => {}
            [Wanted::Keep(_)] => {
                steps.push("keep");
                script.tell(Input::Connected);
                during(script);
            }
            [Wanted::Connect(_)] => {
                steps.push("init");
                assert_eq!(script.answer(&opened()), [Wanted::Keep(2023)]);
                script.tell(Input::Connected);
                during(script);
            }
            [Wanted::Register(_, reason)] => {
                assert_eq!(reason, "REREG_TIMER_EXPIRED");
                steps.push("register");
                assert_eq!(script.answer(&assignment(Some(90_000))), [connect()]);
                assert_eq!(script.answer(&opened()), [Wanted::Keep(2023)]);
                script.tell(Input::Connected);
                during(script);
            }
            other => panic!("{other:?}"),
        }
    }
    steps
}

fn useless(script: &Script) -> Option<(Complaint, Step)> {
    script.events.iter().find_map(|event| match event {
        SessionEvent::Useless {
            complaint, step, ..
        } => Some((complaint.clone(), *step)),
        _ => None,
    })
}

/// The next complaint, with the time it took, and what was done.
fn complain(script: &mut Script) -> (Duration, Complaint, Step) {
    let start = script.tick;
    loop {
        let deadline = script.session.deadline().unwrap();
        script.tick = script.tick.max(deadline);
        let wanted = script.tell(Input::Deadline);
        if let Some((complaint, step)) = useless(script) {
            assert_eq!(wanted, [Wanted::Disconnect]);
            return (script.tick.since(start), complaint, step);
        }
        assert_eq!(wanted, [], "before any complaint");
    }
}

#[test]
fn without_a_command_it_connects_anew_then_opens_anew_then_registers_anew() {
    let mut script = Script::kept(Some(90_000));
    let (took, complaint, step) = complain(&mut script);
    assert!(secs(480..=720).contains(&took), "{took:?}");
    assert_eq!(
        (complaint, step),
        (Complaint::NoCommand { time: took }, Step::Reconnect)
    );
    // As the official probe tells of a KEEP that is gone.
    assert!(
        script
            .events
            .contains(&SessionEvent::Marker(Marker::KeepGone))
    );
    assert_eq!(
        steps(&mut script, 6, |_| {}),
        ["keep", "init", "register", "keep", "init", "register"]
    );
}

#[test]
fn a_controller_that_never_has_anything_to_say_is_left_alone_longer_and_longer() {
    let mut script = Script::kept(Some(99_999));
    let mut made = Vec::new();
    let end = Tick::from_secs(7 * 86_400);
    while script.tick < end {
        if steps(&mut script, 1, |_| {}) == ["register"] {
            made.push(script.tick);
        }
    }
    let gaps: Vec<u64> = made
        .windows(2)
        .map(|pair| pair[1].since(pair[0]).as_secs() / 60)
        .collect();
    // The first gaps are those of the supervisor's growing patience, the last those of its longest.
    assert!(gaps[0] >= 40 && gaps[1] >= 80 && gaps[2] >= 160, "{gaps:?}");
    assert!(made.len() < 20, "{} registrations in a week", made.len());
    assert!(
        gaps.iter().all(|gap| *gap < 30 * 60),
        "it goes on: {gaps:?}"
    );
}

#[test]
fn a_keep_that_is_of_use_ends_all_suspicion() {
    let mut script = Script::kept(Some(90_000));
    steps(&mut script, 4, |_| {});
    assert!(script.session.state().strikes > 0 && script.session.state().doubts > 0);
    script.tell(Input::Commanded);
    assert!(
        script.session.state().strikes > 0,
        "a command alone is not enough"
    );
    script.tell(Input::Uploaded(Upload::Accepted));
    let state = script.session.state();
    assert_eq!((state.strikes, state.doubts), (0, 0));
    assert_eq!(script.saved.as_ref(), Some(state), "written at once");
}

#[test]
fn suspicion_survives_a_restart() {
    let mut script = Script::kept(Some(99_999));
    steps(&mut script, 5, |_| {});
    let state = script.saved.clone().unwrap();
    assert_eq!((state.strikes, state.doubts), (5, 1));
    let now = EPOCH + i64::try_from(script.tick.0.as_secs()).unwrap();
    let mut again = Script::from(settings(servers(1)), state, now);
    assert_eq!(again.wait().1, [Wanted::Keep(2023)]);
    again.tell(Input::Connected);
    let (took, _, step) = complain(&mut again);
    assert!(secs(960..=1440).contains(&took), "{took:?}");
    assert_eq!(step, Step::Register);
}

#[test]
fn eight_hours_without_a_command_are_renewed_by_a_connection_and_nothing_else() {
    let mut script = Script::kept(Some(99_999));
    for _ in 0..5 {
        script.tell(Input::Commanded);
        script.tell(Input::Uploaded(Upload::Accepted));
        let (took, complaint, step) = complain(&mut script);
        assert!(secs(23_000..=34_600).contains(&took), "{took:?}");
        assert_eq!(
            (complaint, step),
            (Complaint::Quiet { time: took }, Step::Reconnect)
        );
        script.wait_for(&Wanted::Keep(2023));
        script.tell(Input::Connected);
        if script.tick > Tick::from_secs(60_000) {
            break;
        }
    }
    assert_eq!(script.session.state().strikes, 0);
}

#[test]
fn uploads_that_are_not_accepted_for_ten_minutes_lead_up_the_same_steps() {
    let mut script = Script::kept(Some(99_999));
    script.tell(Input::Commanded);
    let refuse = |script: &mut Script| {
        script.tell(Input::Commanded);
        for _ in 0..2 {
            script.tell(Input::Uploaded(Upload::NotAccepted(
                "it answers 500".into(),
            )));
        }
    };
    refuse(&mut script);
    let (took, complaint, step) = complain(&mut script);
    assert!(secs(480..=720).contains(&took), "{took:?}");
    let why = "it answers 500".to_owned();
    assert_eq!(
        (complaint, step),
        (Complaint::NotAccepted { time: took, why }, Step::Reconnect)
    );
    assert_eq!(steps(&mut script, 3, refuse), ["keep", "init", "register"]);
}

#[test]
fn one_upload_that_fails_is_chance_and_one_that_is_accepted_forgives_all() {
    let mut script = Script::kept(Some(99_999));
    script.tell(Input::Commanded);
    let fail = |script: &mut Script| {
        script.pass(60);
        assert_eq!(
            script.tell(Input::Uploaded(Upload::NotAccepted("x".into()))),
            []
        );
        assert_eq!(script.tell(Input::Deadline), []);
    };
    fail(&mut script);
    script.pass(5000);
    assert_eq!(script.tell(Input::Deadline), []);
    script.tell(Input::Uploaded(Upload::Accepted));
    for _ in 0..7 {
        fail(&mut script);
    }
    script.tell(Input::Uploaded(Upload::Accepted));
    script.pass(5000);
    assert_eq!(script.tell(Input::Deadline), []);
}

#[test]
fn a_session_that_the_controller_does_not_know_is_opened_anew_within_minutes() {
    let mut script = Script::kept(Some(99_999));
    let unknown = |script: &mut Script| {
        script.tell(Input::Commanded);
        for _ in 0..2 {
            script.tell(Input::Uploaded(Upload::Unknown("it answers 403".into())));
        }
    };
    unknown(&mut script);
    let (took, complaint, step) = complain(&mut script);
    assert!(secs(96..=144).contains(&took), "{took:?}");
    let why = "it answers 403".to_owned();
    assert_eq!(
        (complaint, step),
        (Complaint::Unknown { why }, Step::Reopen)
    );
    script.wait_for(&connect());
}

#[test]
fn a_controller_that_asks_to_wait_is_never_registered_away_from() {
    let mut script = Script::kept(Some(99_999));
    script.tell(Input::Commanded);
    let mut held = 60;
    while script.tick < Tick::from_secs(20_000) {
        assert_eq!(
            script.tell(Input::Uploaded(Upload::Held(Duration::from_secs(held)))),
            []
        );
        script.pass(held);
        assert_eq!(script.tell(Input::Deadline), []);
        held = (held * 2).min(1800);
    }
    // Nor for an hour after it: frequent registrations are what it is for.
    let refuse = |script: &mut Script| {
        script.tell(Input::Commanded);
        for _ in 0..2 {
            script.tell(Input::Uploaded(Upload::Unknown("it answers 403".into())));
        }
    };
    script.pass(2000);
    script.tell(Input::Uploaded(Upload::Held(Duration::from_secs(60))));
    script.pass(61);
    refuse(&mut script);
    let start = script.tick;
    assert_eq!(steps(&mut script, 3, refuse), ["init", "init", "init"]);
    assert!(script.tick.since(start) < Duration::from_secs(3600));
}

#[test]
fn a_port_that_is_not_forwarded_is_told_and_tried_again_after_minutes_then_with_a_new_session() {
    let mut script = Script::new(1);
    script.wait_for(&new());
    script.answer(&assignment(Some(90_000)));
    script.answer(&opened());
    script.tell(Input::NotForwarded);
    assert!(
        script
            .events
            .contains(&SessionEvent::ForwardRefused { port: 2023 })
    );
    script.tell(Input::Connected);
    let (took, complaint, step) = complain(&mut script);
    assert!(secs(144..=216).contains(&took), "{took:?}");
    assert_eq!(
        (complaint, step),
        (Complaint::NotForwarded { port: 2023 }, Step::Reconnect)
    );
    let refuse = |script: &mut Script| {
        script.tell(Input::NotForwarded);
    };
    assert_eq!(steps(&mut script, 2, refuse), ["keep", "init"]);
    // Forwarded again, it waits for commands as ever.
    assert_eq!(complain(&mut script).2, Step::Register);
}

fn other_host_key() -> Failure {
    Failure::HostKeyRefused {
        host: "ctr.example.net".into(),
        offered: "SHA256:a".into(),
        pinned: "SHA256:b".into(),
    }
}

#[test]
fn a_controller_with_another_host_key_is_asked_after_at_once_and_then_ever_less_often() {
    let mut script = Script::kept(Some(99_999));
    script.pass(5000);
    assert_eq!(script.lose(), []);
    script.wait_for(&Wanted::Keep(2023));
    assert_eq!(script.tell(Input::Lost(other_host_key())), []);
    let doubted = SessionEvent::Doubted {
        doubt: Doubt::OtherHostKey,
        step: Step::Register,
    };
    assert!(script.events.contains(&doubted), "{:?}", script.events);
    let took = script.wait_for(&registration("REREG_TIMER_EXPIRED"));
    assert!(took < Duration::from_secs(30), "{took:?}");
    // The registration server tells the same key again: somebody stands in between.
    let mut registrations = vec![script.tick];
    script.answer(&assignment(Some(99_999)));
    script.tell(Input::Lost(other_host_key()));
    while script.tick < Tick::from_secs(90_000) {
        match script.wait().1.as_slice() {
            [Wanted::Register(..)] => {
                registrations.push(script.tick);
                assert_eq!(script.answer(&assignment(Some(99_999))), [connect()]);
            }
            [Wanted::Connect(_)] => {}
            other => panic!("{other:?}"),
        }
        assert_eq!(script.tell(Input::Lost(other_host_key())), []);
    }
    let gaps: Vec<u64> = registrations
        .windows(2)
        .map(|pair| pair[1].since(pair[0]).as_secs())
        .collect();
    for (gap, least) in gaps
        .iter()
        .zip([600, 1200, 2400, 4800, 9600, 19_200, 21_600])
    {
        // The back-off before one may be shorter than before the other.
        assert!((least - 130..least + 800).contains(gap), "{gaps:?}");
    }
}

#[test]
fn a_controller_that_cannot_be_reached_for_an_hour_is_asked_after_whatever_the_timer_says() {
    let mut script = Script::kept(Some(99_999));
    script.lose();
    let mut wanted = Vec::new();
    while script.tick < Tick::from_secs(4200)
        && !matches!(wanted.as_slice(), [Wanted::Register(..)])
    {
        wanted = script.wait().1;
        let expected = match script.tick.0.as_secs() {
            0..1700 => Wanted::Keep(2023),
            2200..3500 => connect(),
            _ => wanted[0].clone(),
        };
        assert_eq!(wanted, [expected], "at {:?}", script.tick);
        assert_eq!(script.tell(Input::Lost(unreachable())), []);
    }
    assert_eq!(wanted, [registration("REREG_TIMER_EXPIRED")]);
    // It cannot be reached either: the controller that is known is tried in between.
    assert_eq!(script.wait().1, [connect()]);
    script.tell(Input::Lost(unreachable()));
    assert_eq!(script.wait().1, [registration("REREG_TIMER_EXPIRED")]);
    script.tell(Input::Lost(unreachable()));
    assert_eq!(script.wait().1, [connect()]);
    assert_eq!(script.answer(&opened()), [Wanted::Keep(2023)]);
}

#[test]
fn a_controller_that_refuses_for_an_hour_is_asked_after() {
    let mut script = Script::new(1);
    script.wait_for(&new());
    script.answer(&assignment(Some(99_999)));
    let mut count = 0;
    loop {
        assert_eq!(script.answer("REFUSED\nfull\n"), []);
        count += 1;
        match script.wait().1.as_slice() {
            [Wanted::Connect(_)] => {}
            [Wanted::Register(_, reason)] => {
                assert_eq!(reason, "REREG_TIMER_EXPIRED");
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(count, 37, "the first at once, then a hundred seconds each");
}

#[test]
fn a_controller_s_own_wait_is_kept_however_long() {
    let mut script = Script::new(1);
    script.wait_for(&new());
    script.answer(&assignment(Some(99_999)));
    assert_eq!(script.answer("WAIT\nTIMEOUT 50000\n"), []);
    assert_eq!(script.wait_for(&connect()), Duration::from_secs(50_000));
}

#[test]
fn a_clock_that_is_off_is_told_at_registration() {
    let off = |by: i64| {
        let mut script = Script::new(1);
        script.wait_for(&new());
        script.answer(&format!("OK\nREGSERVER_TIMESTAMP {} x\n", EPOCH - by));
        let told = script.events.iter().find_map(|event| match event {
            SessionEvent::ClockOff { by } => Some(*by),
            _ => None,
        });
        (told, script.events.clone())
    };
    assert_eq!(off(0).0, None);
    assert_eq!(off(-10).0, None);
    assert_eq!(off(11).0, Some(11));
    let (told, events) = off(-86_400);
    assert_eq!(told, Some(-86_400));
    let words: Vec<String> = events.iter().map(ToString::to_string).collect();
    assert!(
        words.iter().any(|words| words
            .starts_with("the clock of this host is 86400 s behind the server's")
            && words.contains("turn on time synchronisation")),
        "{words:?}"
    );
}

#[test]
fn the_words_say_what_happened_and_what_to_do() {
    let why = "it answers 500".to_owned();
    let time = Duration::from_secs(610);
    for (event, words) in [
        (
            SessionEvent::Useless {
                complaint: Complaint::NotAccepted { time, why },
                step: Step::Reconnect,
                retry: Duration::from_secs(5),
            },
            "connected, but the controller accepted no upload for 10 min, the last one because: it answers 500; \
             connecting anew in 5 s (results are kept until the controller takes them; if this lasts, tell whoever runs \
             the controller)",
        ),
        (
            SessionEvent::Doubted {
                doubt: Doubt::Absent(Duration::from_secs(3600)),
                step: Step::Register,
            },
            "no connection to the controller for 60 min: it may have moved; asking the registration servers for a \
             controller",
        ),
        (
            SessionEvent::ForwardRefused { port: 4711 },
            "the controller refuses to forward its port 4711 to this probe, most likely because an older connection of \
             the probe still holds it: no commands can come until that is gone; results go on",
        ),
    ] {
        assert_eq!(event.to_string(), words);
    }
}

proptest! {
    /// Whatever uploads do, a KEEP without commands and one whose uploads fail lead to a registration in the end, and
    /// registrations nobody asked for keep their distance.
    #[test]
    fn a_useless_controller_is_left_in_the_end_and_never_hammered(
        uploads in prop::collection::vec(prop_oneof![
            Just(Upload::NotAccepted("x".to_owned())),
            Just(Upload::Unknown("x".to_owned())),
            Just(Upload::Accepted),
            (60_u64..=3600).prop_map(|secs| Upload::Held(Duration::from_secs(secs))),
        ], 1..20),
        every in 20_u64..400,
    ) {
        let mut script = Script::kept(Some(99_999));
        let mut registrations = Vec::new();
        let mut exchanges = 0_u32;
        let is_held = uploads.iter().any(|upload| matches!(upload, Upload::Held(_)));
        let mut uploads = uploads.into_iter().cycle();
        let mut next = script.tick;
        while script.tick < Tick::from_secs(80_000) {
            let due = script.session.deadline().unwrap();
            let wanted = if due <= next {
                script.tick = script.tick.max(due);
                script.tell(Input::Deadline)
            } else {
                script.tick = next;
                next = next + Duration::from_secs(every);
                script.tell(Input::Uploaded(uploads.next().unwrap()))
            };
            for wanted in wanted {
                exchanges += 1;
                match wanted {
                    Wanted::Register(..) => {
                        registrations.push(script.tick);
                        script.answer(&assignment(Some(99_999)));
                        script.answer(&opened());
                        script.tell(Input::Connected);
                    }
                    Wanted::Connect(_) => {
                        script.answer(&opened());
                        script.tell(Input::Connected);
                    }
                    Wanted::Keep(_) => {
                        script.tell(Input::Connected);
                    }
                    Wanted::Disconnect => {}
                }
            }
        }
        // One that asks for patience gets it.
        prop_assert!(is_held || !registrations.is_empty(), "never left");
        for (count, pair) in registrations.windows(2).enumerate() {
            let gap = pair[1].since(pair[0]).as_secs();
            let least = (600_u64 << count.min(10)).min(21_600);
            prop_assert!(gap + 130 >= least, "{gap} s after registration {count}");
        }
        prop_assert!(exchanges < 500, "{exchanges} exchanges in a day");
    }
}
