//! Registrations: what they lead to, and how long is waited for the next one, restarts and clocks in between.

use super::*;

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
