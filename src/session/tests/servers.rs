//! Which registration server is asked, and what one that is of no use costs.

use super::*;

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
    let mut longest = Duration::ZERO;
    let mut attempts = 0;
    while script.tick < Tick::from_secs(1800) {
        attempts += 1;
        if script.tell(Input::Lost(unreachable())).is_empty() {
            longest = longest.max(script.wait().0);
        }
    }
    // Six servers a round, and none of the rounds waits for the hour to pass.
    assert!(attempts > 40, "{attempts}");
    assert!(longest <= Duration::from_secs(360), "{longest:?}");
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
