//! A session that is opened, held, lost and taken up again.

use super::*;

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
