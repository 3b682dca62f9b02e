//! The whole program over loopback: agent and controller, killed and restarted, refused and told to wait.
//!
//! The agent is the real binary, so that it can be killed; the controller is the library's own, so that faults can
//! be asked of it. Targets are loopback addresses that the address policy refuses: each run yields a result line
//! without any privilege, which is a complete end-to-end test of everything but the sockets.

#![allow(clippy::panic, reason = "a test says what is wrong by panicking")]

mod support;

use std::collections::BTreeSet;

use starling::controller::{
    Event, Fault, PostFault, Request,
    messages::{ExecFault, Source},
};
use support::lab::{Lab, Network, Probe, runtime};

/// The results of one measurement among accepted lines.
fn results_of(lines: &[String], id: &str) -> Vec<String> {
    let head = format!("RESULT {{ \"id\":\"{id}\"");
    lines
        .iter()
        .filter(|line| line.starts_with(&head))
        .cloned()
        .collect()
}

/// Why a probe registered.
fn reason(event: &Event) -> String {
    match event {
        Event::Registered {
            block: Ok(block), ..
        } => block.reason.to_string(),
        other => panic!("no registration: {other:?}"),
    }
}

#[test]
fn the_lab_shows_every_measurement_accepted() {
    let output = support::starling(&["lab", "--run-for", "20s", "--upload-interval", "2s"]);
    let (out, err) = (support::stdout(&output), support::stderr(&output));
    assert_eq!(output.status.code(), Some(0), "{out}\n{err}");
    assert!(out.contains("measurements had results accepted"), "{out}");
    for step in [
        "registered as probe",
        "session opened",
        "session kept",
        "table 7 of ",
    ] {
        assert!(out.contains(step), "`{step}` is missing:\n{out}");
    }
}

#[test]
fn a_probe_registers_keeps_a_session_measures_and_uploads() {
    runtime().block_on(async {
        let mut lab = Lab::start().await;
        let probe = Probe::start(&lab);
        let registered = lab
            .wait(|event| matches!(event, Event::Registered { assigned: true, .. }))
            .await;
        assert_eq!(reason(&registered), "NEW");
        lab.wait(|event| matches!(event, Event::SessionOpened { port: Some(_), .. }))
            .await;
        lab.wait(|event| matches!(event, Event::Kept { .. })).await;
        lab.wait(|event| matches!(event, Event::Commanded { .. }))
            .await;
        lab.wait_for_results("1001", 2).await;
        let lines = lab.accepted().to_vec();
        for status in [
            "\"id\":\"9018\"",
            "\"id\": \"7001\"",
            "\"id\": \"9002\"",
            "RESULT 9901 ongoing ",
        ] {
            assert!(
                lines.iter().any(|line| line.contains(status)),
                "{status} is missing in {lines:#?}"
            );
        }
        assert!(lab.rejected().is_empty(), "{:?}", lab.rejected());
        assert!(lab.missing().is_empty(), "{:?}", lab.missing());
        probe.stop().expect_success();
        lab.stop().await;
    });
}

#[test]
fn a_killed_probe_comes_back_with_its_session_and_loses_nothing() {
    runtime().block_on(async {
        let mut lab = Lab::start().await;
        // Nothing is accepted at first, so that results must outlive the probe.
        lab.fault(Fault::Posts { probe: None, count: 1000, fault: PostFault::Status(500) }).await;
        let probe = Probe::start(&lab);
        lab.wait(|event| matches!(event, Event::Commanded { .. })).await;
        lab.wait(|event| matches!(event, Event::Posted(posted) if posted.source == Source::Main && posted.status == 500)).await;
        probe.wait_for_spooled_results("1001", 2).await;
        let spooled = probe.spooled_results("1001");
        let probe = probe.kill_and_restart(&lab);
        lab.fault(Fault::Over).await;
        let registered_again = lab
            .wait(|event| matches!(event, Event::Kept { .. } | Event::Registered { .. }))
            .await;
        assert!(matches!(registered_again, Event::Kept { .. }), "a restart reuses controller and session: {registered_again:?}");
        lab.wait_until(|accepted| spooled.iter().all(|line| accepted.contains(line))).await;
        probe.stop().expect_success();
        lab.stop().await;
    });
}

#[test]
fn a_restarted_controller_gets_what_was_measured_meanwhile() {
    runtime().block_on(async {
        let mut lab = Lab::start().await;
        let probe = Probe::start(&lab);
        lab.wait_for_results("1001", 1).await;
        lab.stop_controller().await;
        probe.wait_for_spooled_results("1001", 2).await;
        let spooled = probe.spooled_results("1001");
        lab.start_controller().await;
        lab.wait_until(|accepted| spooled.iter().all(|line| accepted.contains(line)))
            .await;
        probe.stop().expect_success();
        lab.stop().await;
    });
}

#[test]
fn a_lost_session_is_kept_again_without_registration() {
    runtime().block_on(async {
        let mut lab = Lab::start().await;
        let probe = Probe::start(&lab);
        let kept = lab.wait(|event| matches!(event, Event::Kept { .. })).await;
        let Event::Kept { probe: id, port } = kept else {
            unreachable!()
        };
        lab.wait(|event| matches!(event, Event::Commanded { .. }))
            .await;
        lab.request(Request::Drop(id)).await;
        let next = lab
            .wait(|event| {
                matches!(
                    event,
                    Event::Kept { .. } | Event::Registered { .. } | Event::SessionOpened { .. }
                )
            })
            .await;
        assert_eq!(next, Event::Kept { probe: id, port });
        probe.stop().expect_success();
        lab.stop().await;
    });
}

#[test]
fn a_byte_on_keep_leads_to_a_new_registration() {
    runtime().block_on(async {
        let mut lab = Lab::start().await;
        let probe = Probe::start(&lab);
        let kept = lab.wait(|event| matches!(event, Event::Kept { .. })).await;
        let Event::Kept { probe: id, .. } = kept else {
            unreachable!()
        };
        lab.request(Request::Kick(id)).await;
        let again = lab
            .wait(|event| matches!(event, Event::Registered { .. }))
            .await;
        assert_eq!(reason(&again), "FORCE_REG");
        lab.wait(|event| matches!(event, Event::Kept { .. })).await;
        probe.stop().expect_success();
        lab.stop().await;
    });
}

#[test]
fn a_refused_login_is_said_and_tried_again() {
    runtime().block_on(async {
        let mut lab = Lab::start().await;
        lab.fault(Fault::Logins { count: 1 }).await;
        let probe = Probe::start(&lab);
        lab.wait(|event| matches!(event, Event::Refused { .. }))
            .await;
        lab.wait(|event| matches!(event, Event::Kept { .. })).await;
        let log = probe.stop().expect_success();
        assert!(log.contains("Permission denied"), "{log}");
        assert!(log.contains("starling key show"), "{log}");
        lab.stop().await;
    });
}

#[test]
fn a_wait_is_obeyed() {
    runtime().block_on(async {
        let mut lab = Lab::start().await;
        lab.fault(Fault::Registrations {
            count: 1,
            fault: ExecFault::Wait(100),
        })
        .await;
        let probe = Probe::start(&lab);
        let answered = lab
            .wait(|event| matches!(event, Event::Registered { .. }))
            .await;
        assert!(
            matches!(
                answered,
                Event::Registered {
                    assigned: false,
                    ..
                }
            ),
            "{answered:?}"
        );
        probe.wait_for_log("100 s").await;
        probe.stop().expect_success();
        lab.stop().await;
    });
}

#[test]
fn a_server_with_another_host_key_is_refused() {
    runtime().block_on(async {
        let mut lab = Lab::start().await;
        let probe = Probe::start_pinning(&lab, &support::other_host_key());
        let log = probe.wait_for_log("host key").await;
        assert!(!log.contains("session kept"), "{log}");
        assert_eq!(
            lab.seen_so_far(),
            [],
            "a probe that was not let in did something"
        );
        probe.stop().expect_success();
        lab.stop().await;
    });
}

#[test]
fn results_outlive_429_and_lost_answers_without_gaps() {
    runtime().block_on(async {
        let mut lab = Lab::start().await;
        for fault in [
            PostFault::TooMany {
                retry_after: Some(2),
            },
            PostFault::LoseAnswer,
            PostFault::WrongBody,
        ] {
            lab.fault(Fault::Posts {
                probe: None,
                count: 1,
                fault,
            })
            .await;
        }
        let probe = Probe::start(&lab);
        lab.wait(|event| matches!(event, Event::Posted(posted) if posted.status == 429))
            .await;
        lab.wait_for_results("1001", 4).await;
        let times: BTreeSet<&str> = lab
            .accepted()
            .iter()
            .filter(|line| line.starts_with("RESULT { \"id\":\"1001\""))
            .filter_map(|line| line.split("\"time\":").nth(1)?.split(',').next())
            .collect();
        let times: Vec<i64> = times.iter().filter_map(|time| time.parse().ok()).collect();
        assert!(
            times.windows(2).all(|pair| pair[1] - pair[0] <= 2),
            "a run a second, but results are missing between {times:?}"
        );
        probe.stop().expect_success();
        lab.stop().await;
    });
}

#[test]
fn a_one_off_goes_by_its_own_post_and_runs_once() {
    runtime().block_on(async {
        let mut lab = Lab::start().await;
        let probe = Probe::start(&lab);
        lab.wait(|event| matches!(event, Event::Commanded { .. })).await;
        lab.one_off("evping -4 -c 1 -A 4242 127.0.0.1").await;
        let posted = lab
            .wait(|event| matches!(event, Event::Posted(posted) if posted.source == Source::OneOff && !posted.accepted.is_empty()))
            .await;
        let Event::Posted(posted) = posted else { unreachable!() };
        let lines: Vec<String> = posted.accepted.iter().map(|accepted| accepted.line.clone()).collect();
        assert_eq!(results_of(&lines, "4242").len(), 1, "{posted:?}");
        lab.wait_for_results("1001", 3).await;
        assert_eq!(results_of(lab.accepted(), "4242").len(), 1);
        probe.stop().expect_success();
        lab.stop().await;
    });
}

#[test]
fn measurements_go_on_after_a_restart_without_any_controller() {
    runtime().block_on(async {
        let mut lab = Lab::start().await;
        let probe = Probe::start(&lab);
        lab.wait_for_results("1001", 1).await;
        lab.stop_controller().await;
        let before = probe.spooled_results("1001").len();
        let probe = probe.kill_and_restart(&lab);
        probe.wait_for_spooled_results("1001", before + 2).await;
        probe.stop().expect_success();
    });
}

#[test]
fn a_controller_that_was_killed_serves_on_from_its_disk() {
    let mut network = Network::start();
    let probe = Probe::start_at(&network.registration());
    network.wait_for_results("1001", 1);
    network.kill();
    network.restart();
    let before = network.results("1001").len();
    network.wait_for_results("1001", before + 2);
    probe.stop().expect_success();
    network.stop();
}
