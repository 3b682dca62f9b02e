//! Which replies count, and which of their times.

use super::*;

#[test]
fn only_fitting_replies_count() {
    let mut run = Script::asking("-c 1 198.51.100.7");
    let request = run.request();
    let transmit = Wire::parse(&request.bytes).unwrap().transmit;
    let server = SocketAddr::new(run.target, 123);
    let reply = |origin, mode| {
        Wire {
            origin,
            mode,
            ..gps()
        }
        .emit()
    };
    let other = Timestamp {
        fraction: transmit.fraction ^ 1,
        ..transmit
    };
    run.receive_from(server, reply(other, SERVER));
    run.receive_from(server, reply(Timestamp::default(), SERVER));
    run.receive_from(server, reply(transmit, 3));
    run.receive_from(server, reply(transmit, 5));
    run.receive_from(SocketAddr::new(run.target, 124), reply(transmit, SERVER));
    run.receive_from("192.0.2.99:123".parse().unwrap(), reply(transmit, SERVER));
    run.receive_from(server, reply(transmit, SERVER)[..47].to_vec());
    assert!(run.outcome.is_none());
    run.receive_from(server, reply(transmit, SERVER));
    assert!(run.outcome.is_some());
}

#[test]
fn a_late_reply_takes_the_place_of_its_loss_and_a_second_one_is_ignored() {
    let mut run = Script::asking("-c 2 -w 100 198.51.100.7");
    let first = run.unanswered();
    let second = run.request();
    run.answer(&first, (50 * MS, 50 * MS), 150, |_| {});
    assert_eq!(run.machine.deadline(), Some(Tick::from_millis(200)));
    run.answer(&first, (50 * MS, 50 * MS), 160, |reply| reply.leap = 3);
    run.answer(&second, (150 * MS, 150 * MS), 170, |_| {});
    let items = run.items();
    assert!(
        !items.contains("\"x\"") && !items.contains("\"li\""),
        "{items}"
    );
    assert!(
        items.contains("\"rtt\": 0.150000, \"offset\": -0.025000 }, {"),
        "{items}"
    );
    assert!(
        items.ends_with("\"rtt\": 0.070000, \"offset\": 0.015000 } ]"),
        "{items}"
    );
}

#[test]
fn requests_at_one_instant_have_timestamps_of_their_own() {
    let mut run = Script::asking("-c 2 198.51.100.7");
    let first = run.request();
    run.answer(&first, (0, 0), 0, |_| {});
    let second = run.request();
    assert_ne!(first.bytes[40..], second.bytes[40..]);
}

#[test]
fn the_kernels_times_count() {
    let mut run = Script::asking("-c 2 198.51.100.7");
    let request = run.request();
    run.answer(&request, (30 * MS, 30 * MS), 60, |_| {});
    // The time of sending may be told after the reply.
    run.millis = 20;
    run.stamped(1);
    run.stamped(77);
    run.tell(Input::Stop);
    assert_eq!(
        run.items(),
        r#"[ { "origin-ts": 3908988800.019999981, "receive-ts": 3908988800.030000210, "transmit-ts": 3908988800.030000210, "final-ts": 3908988800.059999943, "rtt": 0.040000, "offset": -0.010000 } ]"#
    );
}

#[test]
fn a_clock_that_is_set_meanwhile_does_not_count() {
    for stepped in [3600, -3600] {
        let mut run = Script::asking("-c 1 198.51.100.7");
        let request = run.request();
        run.stepped = stepped;
        run.millis = 5;
        run.stamped(1);
        run.answer(&request, (30 * MS, 30 * MS), 60, |_| {});
        let items = run.items();
        assert!(
            items.contains(
                "\"final-ts\": 3908988800.059999943, \"rtt\": 0.055000, \"offset\": -0.002500"
            ),
            "{items}"
        );
    }
}

#[test]
fn a_time_of_sending_that_cannot_be_is_not_used() {
    let mut run = Script::asking("-c 2 198.51.100.7");
    let request = run.request();
    run.answer(&request, (20 * MS, 20 * MS), 60, |_| {});
    run.millis = 90;
    run.stamped(1);
    run.tell(Input::Stop);
    assert!(
        run.items()
            .contains("\"rtt\": 0.060000, \"offset\": -0.010000"),
        "{}",
        run.items()
    );
}

#[test]
fn a_server_that_crosses_a_second_alone_does_not_wrap_live_but_does_in_recordings() {
    let times = (950 * MS, 1050 * MS);
    let mut run = Script::new("-c 1 198.51.100.7");
    run.millis = 100;
    run.open();
    let request = run.request();
    run.answer(&request, times, 300, |_| {});
    assert!(
        run.items()
            .ends_with("\"rtt\": 0.100000, \"offset\": 0.800000 } ]")
    );
    let mut run = Script::replaying("-c 1 198.51.100.7");
    run.millis = 100;
    run.open();
    let request = run.request();
    run.answer(&request, times, 300, |_| {});
    assert!(
        run.items().contains("\"rtt\": 4294967296.100000"),
        "{}",
        run.items()
    );
}

#[test]
fn a_replay_takes_whatever_was_recorded() {
    let mut run = Script::replaying("-c 1 198.51.100.7");
    run.open();
    run.receive(Wire::default().emit()[..47].to_vec());
    assert!(run.outcome.is_none());
    run.receive_from("203.0.113.9:9".parse().unwrap(), Wire::default().emit());
    assert!(
        run.line()
            .contains("\"mode\": \"reserved\", \"stratum\": \"invalid\", \"poll\": 1, ")
    );
}

#[test]
fn a_recording_of_a_server_without_a_time_has_the_figures_of_its_formulas() {
    let replay = Run {
        replay: true,
        ..Run::default()
    };
    let mut run = Script::of("-c 2 198.51.100.7", replay);
    run.open();
    // No receive and no transmit timestamp, as with a refusal: T1 = 3908988800.25, T4 = 3908988800.27.
    run.millis = 270;
    let refusal = Wire {
        origin: since_start(250 * MS),
        ..Wire::default()
    };
    run.receive(refusal.emit());
    // Only the server crosses a second. In another order the sums of the round trip end in 0911.
    let second = 3_908_988_800;
    let time = |seconds, fraction| Timestamp { seconds, fraction };
    let crossing = Wire {
        origin: time(second, 1_637_259_727),
        receive: time(second - 1, 930_287_327),
        transmit: time(second, 2_948_425_721),
        ..Wire::default()
    };
    run.millis = 992;
    run.receive(crossing.emit());
    let items = run.items();
    assert!(
        // -((2 T1s mod 2^32) / 2 + .26): half of 3523010304, and the fractions.
        items.contains(r#""rtt": 0.020000, "offset": -1761505152.260000 }"#),
        "{items}"
    );
    assert!(items.contains(r#""rtt": 4294967295.140912"#), "{items}");
}
