//! Sessions: commands, results, and how they end.

use super::*;

#[test]
fn a_session_takes_commands_and_gives_results() {
    if peer_is_missing() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let lab = Lab::start(dir.path(), |config| {
        config.measurements = vec![ping("evping -4 -c 3 -A 1001 198.51.100.2")];
        config.one_offs = vec![OneOff {
            command: "evping -4 -c 1 -A 2002 198.51.100.3".to_owned(),
            probes: None,
        }];
        config.accepted = Some(dir.path().join("accepted"));
    });
    let key = ed25519(dir.path(), "key");
    lab.register(&key, &[]);
    let (port, session) = lab.init(&key);
    let (telnet_port, telnet) = telnetd(&session);
    let uploads = dir.path().join("uploads");
    let keep = lab.keep(&key, port, telnet_port, &uploads);

    let (lines, outcome) = lab.wait(|event| match event {
        Event::Commanded { lines, outcome, .. } => Some((lines, outcome)),
        _ => None,
    });
    let received = telnet.join().unwrap();
    assert_eq!(outcome.end, End::Acknowledged, "{outcome:?}");
    assert_eq!(*lines, received);
    assert_eq!(received[0], "CRONTAB /home/atlas/crons/main");
    assert!(received[1].contains(&format!(
        "http://127.0.0.1:8080/?PROBE_ID=1&SESSION_ID={session} >>"
    )));
    let measurement = "CRONLINE 10 0 2000000000 NONE 0 evping -O /home/atlas/data/new/7 -4 -c 3 -A 1001 198.51.100.2";
    assert!(
        received.iter().any(|line| line == measurement),
        "{received:?}"
    );
    let one_off = "ONEOFF /home/atlas/crons/oneoff evping -4 -c 1 -A 2002 198.51.100.3";
    assert_eq!(received.last().unwrap(), one_off);

    let result = "RESULT { \"id\":\"1001\", \"fw\":5120, \"mver\": \"2.6.4\", \"lts\":10, \"time\":1700000000, \
                  \"dst_name\":\"198.51.100.2\", \"af\":4, \"dst_addr\":\"198.51.100.2\", \"src_addr\":\"198.51.100.1\", \
                  \"proto\":\"ICMP\", \"ttl\":64, \"size\":64, \"result\": [ { \"rtt\":10.500000 } ] }";
    let answer = post(
        &uploads,
        1,
        &session,
        &format!("{result}\nRESULT 9901 ongoing 1700000001 /x\nnonsense\n"),
    );
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(
        head.starts_with("HTTP/1.1 200 \r\nContent-Length: 3\r\nDate: "),
        "{answer}"
    );
    assert!(head.ends_with(" GMT\r\nConnection: close"));
    assert_eq!(body, "OK\n");
    let posted = lab.wait(|event| match event {
        Event::Posted(posted) => Some(posted),
        _ => None,
    });
    assert_eq!(posted.accepted.len(), 2, "{posted:?}");
    assert!(posted.accepted[0].measured && posted.accepted[0].id == Some(1001));
    assert_eq!(posted.rejected[0].line, "nonsense");
    assert_eq!(posted.missing, ["9018", "7001", "9002"]);
    let accepted = fs::read_to_string(dir.path().join("accepted")).unwrap();
    assert_eq!(
        accepted,
        format!("{result}\nRESULT 9901 ongoing 1700000001 /x\n")
    );

    let foreign = post(&uploads, 1, &"0".repeat(64), &format!("{result}\n"));
    assert!(
        foreign.starts_with("HTTP/1.1 403 Forbidden\r\n"),
        "{foreign}"
    );

    lab.request(Request::Kick(ProbeId(1)));
    assert_eq!(keep.ended(), b"\n", "a kick is a byte on KEEP's stdout");
}

#[test]
fn a_session_outlives_the_controller() {
    if peer_is_missing() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let key = ed25519(dir.path(), "key");
    let uploads = dir.path().join("uploads");
    let (port, session, listened) = {
        let lab = Lab::start(dir.path(), |_| {});
        lab.register(&key, &[]);
        let (port, session) = lab.init(&key);
        (port, session, lab.controller_port)
    };
    let lab = Lab::start(dir.path(), |config| {
        config.controller.listen.set_port(listened);
    });
    let (telnet_port, telnet) = telnetd(&session);
    let keep = lab.keep(&key, port, telnet_port, &uploads);
    let outcome = lab.wait(|event| match event {
        Event::Commanded { outcome, .. } => Some(outcome),
        _ => None,
    });
    assert_eq!(outcome.end, End::Acknowledged);
    assert_eq!(telnet.join().unwrap()[0], "CRONTAB /home/atlas/crons/main");
    lab.request(Request::Drop(ProbeId(1)));
    assert_eq!(keep.ended(), b"", "a drop says nothing on KEEP's stdout");
}

#[test]
fn a_session_that_was_never_given_is_kicked() {
    if peer_is_missing() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let lab = Lab::start(dir.path(), |_| {});
    let keep = lab.keep(
        &ed25519(dir.path(), "key"),
        30_000,
        9,
        &dir.path().join("uploads"),
    );
    assert_eq!(keep.ended(), b"\n");
}

#[test]
fn one_listener_can_have_both_roles() {
    if peer_is_missing() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let lab = Lab::start(dir.path(), |config| {
        config.registration.listen = free;
        config.controller.listen = free;
    });
    assert_eq!(lab.registration_port, lab.controller_port);
    let key = ed25519(dir.path(), "key");
    assert!(text(&lab.register(&key, &[]).stdout).starts_with("OK\nCONTROLLER "));
    assert_eq!(lab.init(&key).0, 30_000);
}
