//! What is answered to posts, and which of their lines are kept.

use super::*;

#[test]
fn a_post_is_answered_once_its_lines_are_stored() {
    let mut stage = Stage::new(|_| {});
    let (session, _) = stage.keep(1, 1);
    let said = stage.post(0, 1, &target(&session), &body(&session, &[PING, LOST]));
    let [Output::Store { ticket, records }] = &said[..] else {
        panic!("{said:?}");
    };
    assert_eq!(records.len(), 2);
    assert_eq!(
        (records[0].received, records[0].probe),
        (1_700_000_000, ProbeId(1))
    );
    let (ticket, failed) = (*ticket, None);
    let (response, posted) = answered(&stage.tell(0, Input::Stored { ticket, failed }));
    assert_eq!(response, Response::ok());
    let lines: Vec<(&str, bool)> = posted
        .accepted
        .iter()
        .map(|line| (&line.line[..], line.measured))
        .collect();
    assert_eq!(lines, [(PING, true), (LOST, false)]);
    assert_eq!(posted.missing, ["9018", "7001", "9002", "9901"]);
}

#[test]
fn an_empty_post_is_acknowledged_at_once() {
    let mut stage = Stage::new(|_| {});
    let (session, _) = stage.keep(1, 1);
    let timesync = format!("{}&SRC=timesync", target(&session));
    let said = stage.post(0, 1, &timesync, &body(&session, &[]));
    let (response, posted) = answered(&said);
    assert_eq!((response, posted.missing), (Response::ok(), Vec::new()));
}

#[test]
fn a_post_of_somebody_else_is_refused() {
    let mut stage = Stage::new(|_| {});
    let (session, _) = stage.keep(1, 1);
    let other = "0".repeat(64);
    let good = body(&session, &[PING]);
    for (target, body, status) in [
        (target(&other), &good, 403),
        (format!("/?PROBE_ID=2&SESSION_ID={session}"), &good, 403),
        ("/".to_owned(), &good, 403),
        (target(&session), &body(&other, &[PING]), 403),
        (target(&session), &format!("{PING}\n"), 400),
    ] {
        let (response, posted) = answered(&stage.post(0, 1, &target, body));
        assert_eq!(response.status, status, "{target}");
        assert!(posted.accepted.is_empty() && posted.refused.is_some());
    }
    // A session that was replaced is no longer one.
    stage.init(1);
    assert_eq!(stage.upload(0, &session, &[PING]).0.status, 403);
}

#[test]
fn a_bad_line_is_told_and_does_not_hold_up_the_others() {
    let mut stage = Stage::new(|_| {});
    let (session, _) = stage.keep(1, 1);
    let (response, posted) = stage.upload(0, &session, &["nonsense", PING, "RESULT { \"id\":"]);
    assert_eq!(response, Response::ok());
    assert_eq!((posted.accepted.len(), posted.unshown), (1, 0));
    let bad: Vec<&str> = posted
        .rejected
        .iter()
        .map(|example| &example.line[..])
        .collect();
    assert_eq!(bad, ["nonsense", "RESULT { \"id\":"]);
}

#[test]
fn a_line_of_an_earlier_post_is_a_duplicate_and_one_of_the_same_post_is_not() {
    let mut stage = Stage::new(|_| {});
    let (session, _) = stage.keep(1, 1);
    assert_eq!(stage.upload(0, &session, &[PING, PING]).1.accepted.len(), 2);
    let (response, again) = stage.upload(1, &session, &[PING, PING, LOST]);
    assert_eq!(response, Response::ok());
    assert_eq!((again.accepted.len(), again.duplicates), (1, 2));
    // Another session of the same probe delivers the same line.
    let session = session_in(&stage.init(1)).1;
    assert_eq!(stage.upload(2, &session, &[LOST]).1.duplicates, 1);
}

#[test]
fn duplicates_are_known_after_a_restart() {
    let mut first = Stage::new(|_| {});
    let (session, _) = first.keep(1, 1);
    let memory = Memory {
        known: first.network.registry.snapshot(),
        stored: vec![(ProbeId(1), PING.to_owned())],
    };
    let mut second = Stage::remembering(memory, |_| {});
    second.join(1, Role::Controller, 1);
    let said = second.tell(
        0,
        Input::Keep {
            connection: ConnectionId(1),
        },
    );
    assert_eq!(
        said,
        [Output::Event(Event::Kept {
            probe: ProbeId(1),
            port: 30_000
        })]
    );
    assert_eq!(second.upload(0, &session, &[PING]).1.duplicates, 1);
}

#[test]
fn the_memory_of_lines_is_bounded() {
    let mut stage = Stage::new(|config| config.limits.remembered_lines = 2);
    let (session, _) = stage.keep(1, 1);
    for number in 0..3 {
        stage.upload(0, &session, &[&format!("RESULT 9000 done {number} x")]);
    }
    assert_eq!(
        stage
            .upload(0, &session, &["RESULT 9000 done 0 x"])
            .1
            .duplicates,
        0
    );
    assert_eq!(
        stage
            .upload(0, &session, &["RESULT 9000 done 2 x"])
            .1
            .duplicates,
        1
    );
}

#[test]
fn lines_that_could_not_be_stored_are_not_acknowledged_and_welcome_again() {
    let mut stage = Stage::new(|_| {});
    let (session, _) = stage.keep(1, 1);
    let said = stage.post(0, 1, &target(&session), &body(&session, &[PING]));
    let [Output::Store { ticket, .. }] = said[..] else {
        panic!("{said:?}");
    };
    let failed = Some("no space left".to_owned());
    let (response, posted) = answered(&stage.tell(0, Input::Stored { ticket, failed }));
    assert_eq!((response.status, posted.accepted.len()), (503, 0));
    assert_eq!(stage.upload(1, &session, &[PING]).1.accepted.len(), 1);
}

#[test]
fn too_many_posts_a_minute_are_told_when_to_come_back() {
    let mut stage = Stage::new(|config| config.upload.posts_per_minute = Some(2));
    let (session, _) = stage.keep(1, 1);
    assert_eq!(stage.upload(0, &session, &[]).0.status, 200);
    assert_eq!(stage.upload(20_500, &session, &[]).0.status, 200);
    let (response, _) = stage.upload(30_000, &session, &[PING]);
    assert_eq!((response.status, response.retry_after), (429, Some(30)));
    let timesync = format!("{}&SRC=timesync", target(&session));
    let said = stage.post(30_001, 1, &timesync, &body(&session, &[]));
    assert_eq!(answered(&said).0.status, 200, "the clock is always served");
    assert_eq!(stage.upload(60_000, &session, &[PING]).0.status, 200);
    assert_eq!(stage.upload(60_001, &session, &[]).0.retry_after, Some(21));
}

#[test]
fn each_fault_spoils_its_post_and_no_more() {
    let mut stage = Stage::new(|_| {});
    let (session, _) = stage.keep(1, 1);
    let mut spoiled = |number: u32, fault: PostFault| {
        let probe = Some(ProbeId(1));
        stage
            .request(Request::Fault(Fault::Posts {
                probe,
                count: 1,
                fault,
            }))
            .0
            .unwrap();
        let line = format!("RESULT 9000 done {number} x");
        let (response, posted) = stage.upload(0, &session, &[&line]);
        let stored = posted.accepted.len() == 1;
        assert_eq!(
            stage.upload(0, &session, &[&line]).1.duplicates,
            usize::from(stored)
        );
        (response, stored)
    };
    let retry_after = Some(9);
    let (response, stored) = spoiled(1, PostFault::TooMany { retry_after });
    assert_eq!(
        (response.status, response.retry_after, stored),
        (429, Some(9), false)
    );
    assert_eq!(spoiled(2, PostFault::Status(500)).0.status, 500);
    assert_eq!(
        spoiled(3, PostFault::Hang),
        (Response::none(Manner::Hang), false)
    );
    assert_eq!(
        spoiled(4, PostFault::Close),
        (Response::none(Manner::Close), false)
    );
    assert_eq!(
        spoiled(5, PostFault::LoseAnswer),
        (Response::none(Manner::Close), true)
    );
    let (response, stored) = spoiled(6, PostFault::NoLineFeed);
    assert_eq!(
        (response.status, &response.body[..], stored),
        (200, "OK", true)
    );
    assert_eq!(spoiled(7, PostFault::WrongBody).0.body, "NOT OK\n");
    assert_eq!(spoiled(8, PostFault::Chunked).0.manner, Manner::Chunked);
    assert_eq!(spoiled(9, PostFault::DateOff(-3600)).0.date_offset, -3600);
    assert_eq!(
        spoiled(10, PostFault::Delay(Duration::from_secs(2)))
            .0
            .delay,
        Duration::from_secs(2)
    );
}

#[test]
fn a_fault_for_another_probe_waits_for_it() {
    let mut stage = Stage::new(|_| {});
    let (session, _) = stage.keep(1, 1);
    let fault = Fault::Posts {
        probe: Some(ProbeId(2)),
        count: 1,
        fault: PostFault::Status(500),
    };
    stage.request(Request::Fault(fault)).0.unwrap();
    assert_eq!(stage.upload(0, &session, &[PING]).0.status, 200);
}
