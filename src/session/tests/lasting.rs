//! What must not be forgotten, and what must be, from one exchange to the next.

use super::*;
use crate::session::{Complaint, SessionEvent, event::Doubt};

#[test]
fn a_session_opened_anew_does_not_shorten_the_back_off() {
    let mut script = Script::kept(Some(90_000));
    script.lose();
    script.wait_for(&Wanted::Keep(2023));
    script.tell(Input::Connected);
    script.lose();
    // Two KEEPs ended before they settled: a new session.
    script.wait_for(&connect());
    assert_eq!(script.answer(&opened()), [Wanted::Keep(2023)]);
    script.tell(Input::Connected);
    script.lose();
    let (took, _) = script.wait();
    assert!(secs(16..=24).contains(&took), "{took:?}");
}

#[test]
fn a_registration_ends_the_session_even_if_it_fails() {
    let mut script = Script::kept(Some(100));
    script.pass(200);
    script.lose();
    script.wait_for(&registration("REREG_TIMER_EXPIRED"));
    assert_eq!(script.saved.as_ref().unwrap().opened, None);
    script.tell(Input::Lost(unreachable()));
    // The controller that is known is tried in between, with a session of its own.
    script.wait_for(&connect());
}

#[test]
fn a_forced_registration_forgets_the_controller_whatever_is_answered() {
    let mut script = Script::kept(Some(90_000));
    script.answer("x");
    script.wait_for(&registration("FORCE_REG"));
    assert_eq!(script.saved.as_ref().unwrap().controller, None);
    script.answer("");
    script.wait_for(&new());
}

#[test]
fn a_controller_assigned_ends_the_back_off_of_registrations() {
    let mut script = Script::new(1);
    script.wait_for(&new());
    for _ in 0..5 {
        script.tell(Input::Lost(unreachable()));
        script.wait_for(&new());
    }
    assert_eq!(script.answer(&assignment(Some(90_000))), [connect()]);
    assert_eq!(script.answer(&opened()), [Wanted::Keep(2023)]);
    script.tell(Input::Connected);
    script.answer("x");
    script.wait_for(&registration("FORCE_REG"));
    script.tell(Input::Lost(unreachable()));
    let took = script.wait_for(&registration("FORCE_REG"));
    assert!(secs(4..=6).contains(&took), "{took:?}");
}

fn not_accepted(script: &mut Script, times: u32) {
    for _ in 0..times {
        script.tell(Input::Uploaded(Upload::NotAccepted("x".into())));
    }
}

/// How long it takes until something is wrong, at most so many seconds.
fn trouble_within(script: &mut Script, most: u64) -> Option<u64> {
    (0..most).find(|_| {
        script.pass(1);
        script.tell(Input::Deadline);
        let mut events = script.events.iter();
        events.any(|event| matches!(event, SessionEvent::Useless { .. }))
    })
}

#[test]
fn uploads_that_fail_while_we_were_asked_to_wait_count_neither_then_nor_later() {
    let mut script = Script::kept(Some(90_000));
    script.tell(Input::Commanded);
    script.tell(Input::Uploaded(Upload::Held(Duration::from_secs(3000))));
    script.pass(10);
    not_accepted(&mut script, 3);
    assert_eq!(trouble_within(&mut script, 8000), None);
    not_accepted(&mut script, 2);
    assert!(trouble_within(&mut script, 720).is_some());
}

#[test]
fn the_time_that_we_were_asked_to_wait_is_no_time_without_uploads() {
    let mut script = Script::kept(Some(90_000));
    script.tell(Input::Commanded);
    script.tell(Input::Uploaded(Upload::Held(Duration::from_secs(3000))));
    script.pass(3000);
    not_accepted(&mut script, 2);
    let took = trouble_within(&mut script, 720).expect("ten minutes and something");
    assert!(took >= 479, "{took}");
}

#[test]
fn probes_that_connected_together_do_not_all_renew_together() {
    let state = Script::kept(Some(90_000)).saved.unwrap();
    let mut times = Vec::new();
    for seed in 0..8 {
        let mut script = Script::from(settings(servers(1)), state.clone(), EPOCH);
        script.session = Session::new(settings(servers(1)), state.clone(), seed);
        script.wait_for(&Wanted::Keep(2023));
        script.tell(Input::Connected);
        script.tell(Input::Commanded);
        script.tell(Input::Uploaded(Upload::Accepted));
        let (took, _) = script.wait();
        let quiet = |event: &SessionEvent| {
            let SessionEvent::Useless { complaint, .. } = event else {
                return false;
            };
            matches!(complaint, Complaint::Quiet { .. })
        };
        assert!(script.events.iter().any(quiet));
        times.push(took.as_secs() / 60);
    }
    times.sort_unstable();
    times.dedup();
    assert!(times.len() > 4, "{times:?}");
}

#[test]
fn a_controller_is_not_called_away_because_we_left_it_ourselves() {
    let mut script = Script::kept(Some(90_000));
    script.tell(Input::Commanded);
    script.pass(7000);
    script.tell(Input::Uploaded(Upload::Accepted));
    not_accepted(&mut script, 2);
    assert!(trouble_within(&mut script, 721).is_some());
    script.wait_for(&Wanted::Keep(2023));
    script.tell(Input::Lost(unreachable()));
    let absent = |event: &SessionEvent| {
        let SessionEvent::Doubted { doubt, .. } = event else {
            return false;
        };
        matches!(doubt, Doubt::Absent(_))
    };
    assert!(!script.events.iter().any(absent), "{:?}", script.events);
}
