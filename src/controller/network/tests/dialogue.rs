//! A probe that holds a session: its tunnel, its table, its one-offs, and what becomes of a dialogue.

use super::*;

#[test]
fn only_the_probes_own_port_is_forwarded() {
    let mut stage = Stage::new(|_| {});
    stage.register(1, BLOCK);
    stage.init(1);
    stage.join(1, Role::Controller, 1);
    for (address, port) in [
        ("localhost", 30_001),
        ("localhost", 95_536),
        ("127.0.0.1", 30_000),
        ("", 30_000),
    ] {
        assert_eq!(
            answer_in(&stage.forward(1, address, port)),
            Answer::Forwarded(false)
        );
    }
    assert_eq!(
        answer_in(&stage.forward(1, "localhost", 30_000)),
        Answer::Forwarded(true)
    );
}

#[test]
fn a_session_is_told_its_table_and_then_its_one_offs() {
    let mut stage = Stage::new(|config| {
        config.measurements = vec![ping("192.0.2.7")];
        config.one_offs = vec![
            one_off("192.0.2.8", None),
            one_off("192.0.2.9", Some(vec![2])),
        ];
    });
    let (session, said) = stage.keep(1, 1);
    let lines = command_in(&said).unwrap();
    assert_eq!(lines[0], "CRONTAB /home/atlas/crons/main");
    assert!(lines[1].contains(&format!("?PROBE_ID=1&SESSION_ID={session} ")));
    let one_offs: Vec<&String> = lines
        .iter()
        .filter(|line| line.starts_with("ONEOFF "))
        .collect();
    assert_eq!(
        one_offs,
        ["ONEOFF /home/atlas/crons/oneoff evping -4 -A 2002 192.0.2.8"]
    );
    let said = stage.commanded(10, 1, End::Acknowledged);
    assert_eq!(command_in(&said), None);
    // The table comes again with a new session, the one-off does not.
    stage.tell(
        20,
        Input::Left {
            connection: ConnectionId(1),
        },
    );
    let (_, said) = stage.keep(2, 1);
    assert!(
        !command_in(&said)
            .unwrap()
            .iter()
            .any(|line| line.starts_with("ONEOFF "))
    );
}

#[test]
fn nothing_is_said_before_both_forward_and_keep() {
    let mut stage = Stage::new(|_| {});
    stage.register(1, BLOCK);
    stage.init(1);
    stage.join(1, Role::Controller, 1);
    let said = stage.tell(
        0,
        Input::Keep {
            connection: ConnectionId(1),
        },
    );
    assert_eq!(command_in(&said), None);
    let said = stage.forward(1, "localhost", 30_000);
    assert!(command_in(&said).is_some());
}

#[test]
fn a_failed_dialogue_is_repeated_with_growing_pauses() {
    let mut stage = Stage::new(|config| config.limits.idle_seconds = 10_000);
    let (_, said) = stage.keep(1, 1);
    let lines = command_in(&said).unwrap();
    let mut now = 0;
    for pause in [5, 10, 20, 40, 80, 160, 300, 300] {
        let said = stage.commanded(now, 1, End::TimedOut("the login prompt"));
        assert_eq!(command_in(&said), None);
        now += pause * 1000;
        assert_eq!(stage.network.deadline(), Some(Tick::from_millis(now)));
        assert_eq!(stage.tell(now - 1, Input::Deadline), []);
        assert_eq!(
            command_in(&stage.tell(now, Input::Deadline)),
            Some(Arc::clone(&lines))
        );
    }
}

#[test]
fn a_probe_that_refuses_the_password_is_kicked() {
    let mut stage = Stage::new(|_| {});
    stage.keep(1, 1);
    assert!(
        stage
            .commanded(5, 1, End::BadPassword)
            .contains(&Output::Kick(ConnectionId(1)))
    );
}

#[test]
fn a_session_that_was_never_given_is_kicked_and_a_second_one_replaces_the_first() {
    let mut stage = Stage::new(|_| {});
    stage.join(9, Role::Controller, 9);
    let connection = ConnectionId(9);
    assert_eq!(
        stage.tell(0, Input::Keep { connection }),
        [Output::Kick(connection)]
    );
    stage.keep(1, 1);
    let (_, said) = stage.keep(2, 1);
    assert!(said.contains(&Output::Drop(ConnectionId(1))));
    // The late end of the first is not the end of the second.
    assert_eq!(
        stage.tell(
            0,
            Input::Left {
                connection: ConnectionId(1)
            }
        ),
        []
    );
    let left = stage.tell(
        0,
        Input::Left {
            connection: ConnectionId(2),
        },
    );
    assert_eq!(left, [Output::Event(Event::Left { probe: ProbeId(1) })]);
}

#[test]
fn a_changed_schedule_is_sent_at_once_or_after_the_dialogue_under_way() {
    let mut stage = Stage::new(|_| {});
    stage.keep(1, 1);
    let (result, said) = stage.request(Request::Schedule(vec![ping("192.0.2.77")]));
    assert_eq!((result, command_in(&said)), (Ok(()), None));
    let lines = command_in(&stage.commanded(1, 1, End::Acknowledged)).unwrap();
    assert!(lines.iter().any(|line| line.ends_with(" 192.0.2.77")));
    stage.commanded(2, 1, End::Acknowledged);
    let (_, said) = stage.request(Request::Schedule(Vec::new()));
    assert!(
        !command_in(&said)
            .unwrap()
            .iter()
            .any(|line| line.contains("evping"))
    );
    let bad = Measurement {
        interval: 0,
        ..ping("192.0.2.1")
    };
    assert!(stage.request(Request::Schedule(vec![bad])).0.is_err());
}

#[test]
fn a_one_off_waits_for_a_probe_that_is_away() {
    let mut stage = Stage::new(|config| config.limits.waiting_one_offs = 1);
    stage.register(1, BLOCK);
    assert_eq!(
        stage.request(Request::OneOff(one_off("192.0.2.5", None))).0,
        Ok(())
    );
    let full = stage.request(Request::OneOff(one_off("192.0.2.6", None))).0;
    assert_eq!(full, Err(RequestError::Waiting(ProbeId(1), 1)));
    let unknown = stage
        .request(Request::OneOff(one_off("192.0.2.6", Some(vec![5]))))
        .0;
    assert_eq!(unknown, Err(RequestError::UnknownProbe(ProbeId(5))));
    let (_, said) = stage.keep(1, 1);
    assert!(
        command_in(&said)
            .unwrap()
            .last()
            .unwrap()
            .ends_with(" 192.0.2.5")
    );
    // Not lost with a tunnel that breaks.
    stage.commanded(1, 1, End::Closed("the request's OK"));
    let again = command_in(&stage.tell(6000, Input::Deadline)).unwrap();
    assert!(again.last().unwrap().ends_with(" 192.0.2.5"));
    stage.commanded(6001, 1, End::Acknowledged);
    let (_, said) = stage.request(Request::OneOff(one_off("192.0.2.6", None)));
    assert_eq!(command_in(&said).unwrap().len(), 1, "alone, at once");
}

#[test]
fn a_connection_that_comes_to_nothing_is_dropped() {
    let mut stage = Stage::new(|config| config.limits.idle_seconds = 60);
    stage.join(1, Role::Controller, 1);
    assert_eq!(stage.network.deadline(), Some(Tick::from_secs(60)));
    assert_eq!(
        stage.tell(60_000, Input::Deadline),
        [Output::Drop(ConnectionId(1))]
    );
    assert_eq!(stage.network.deadline(), None);
    stage.keep(2, 2);
    assert_eq!(stage.network.deadline(), None, "a session may last");
}

#[test]
fn requests_to_probes_that_are_not_there_say_so() {
    let mut stage = Stage::new(|_| {});
    assert_eq!(
        stage.request(Request::Kick(ProbeId(1))).0,
        Err(RequestError::UnknownProbe(ProbeId(1)))
    );
    stage.register(1, BLOCK);
    assert_eq!(
        stage.request(Request::Drop(ProbeId(1))).0,
        Err(RequestError::Away(ProbeId(1)))
    );
    stage.keep(1, 1);
    let (result, said) = stage.request(Request::Kick(ProbeId(1)));
    assert_eq!(
        (result, said),
        (Ok(()), vec![Output::Kick(ConnectionId(1))])
    );
}
