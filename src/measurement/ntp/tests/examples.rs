//! What is sent, and the lines that replies give.

use super::*;

#[test]
fn a_request_is_as_specified() {
    let mut run = Script::new("-s 28 -i eth0 198.51.100.7");
    run.millis = 250;
    run.open();
    let socket = run.socket.clone().unwrap();
    assert_eq!(socket.kind, SocketKind::Udp { port: 123 });
    assert_eq!((socket.bind.as_deref(), socket.tos), (Some("eth0"), 0));
    let request = run.request();
    assert_eq!((request.port, request.hop_limit), (123, None));
    let mut wanted = vec![0; 76];
    wanted[0] = 0x23;
    wanted[12..16].copy_from_slice(b"RIPE");
    wanted[40..48].copy_from_slice(&[0xe8, 0xfe, 0x6f, 0x80, 0x40, 0, 0, 0]);
    wanted[48..52].copy_from_slice(&[0, 2, 0, 28]);
    assert_eq!(request.bytes, wanted);
}

#[test]
fn one_reply_of_a_stratum_1_server() {
    let mut run = Script::new("-c 1 -A 9001 ntp.example");
    run.millis = 239;
    run.tell(Input::Start);
    run.millis = 250;
    run.tell(Input::Resolved(Ok(vec![run.target])));
    run.tell(Input::Opened {
        on: Handle(0),
        local: "192.0.2.10:40000".parse().unwrap(),
        ident: 0,
    });
    let request = run.request();
    run.answer(&request, (300 * MS, 301 * MS), 271, |reply| reply.poll = 3);
    assert_eq!(
        run.line_as(Some("9001"), Dialect::Reference),
        r#"RESULT { "id":"9001", "fw":5120, "mver": "2.6.4", "lts":12, "time":1700000000, "dst_name":"ntp.example", "ttr":11.000000, "dst_addr":"198.51.100.7", "src_addr":"192.0.2.10", "proto":"UDP", "af": 4, "li": "no", "version": 4, "mode": "server", "stratum": 1, "poll": 8, "precision": 3.8147e-06, "root-delay": 0, "root-dispersion": 0.00105286, "ref-id": "GPS", "ref-ts": 3908988797.036665440, "result": [ { "origin-ts": 3908988800.250000000, "receive-ts": 3908988800.300000191, "transmit-ts": 3908988800.301000118, "final-ts": 3908988800.270999908, "rtt": 0.020000, "offset": 0.040000 } ] }
"#
    );
    assert!(run.outcome.unwrap().answered);
}

#[test]
fn the_time_is_that_of_the_start_of_probing() {
    let mut run = Script::new("-c 2 ntp.example");
    run.tell(Input::Start);
    run.millis = 5000;
    run.tell(Input::Resolved(Ok(vec![run.target])));
    run.tell(Input::Opened {
        on: Handle(0),
        local: "192.0.2.10:40000".parse().unwrap(),
        ident: 0,
    });
    run.unanswered();
    run.unanswered();
    let line = run.line_as(Some("1"), Dialect::Reference);
    assert!(
        line.contains("\"time\":1700000005, \"dst_name\":\"ntp.example\", \"ttr\":5000.000000"),
        "{line}"
    );
}

#[test]
fn a_reply_a_loss_and_a_reply_with_changes() {
    let mut run = Script::new("198.51.100.7");
    run.millis = 250;
    run.open();
    let request = run.request();
    run.answer(&request, (300 * MS, 301 * MS), 271, second);
    run.unanswered();
    assert_eq!(run.millis, 1271);
    run.millis = 1500;
    let request = run.request();
    run.answer(&request, (1550 * MS, 1551 * MS), 1521, |reply| {
        second(reply);
        reply.leap = 3;
        reply.stratum = 16;
        reply.reference.fraction = 3 << 30;
    });
    assert_eq!(
        run.line(),
        r#"RESULT { "dst_name":"198.51.100.7", "dst_addr":"198.51.100.7", "src_addr":"192.0.2.10", "proto":"UDP", "af": 4, "li": "no", "version": 4, "mode": "server", "stratum": 2, "poll": 64, "precision": 9.53674e-07, "root-delay": 0.00390625, "root-dispersion": 0.0078125, "ref-id": "c0000201", "ref-ts": 3908980000.500000000, "result": [ { "origin-ts": 3908988800.250000000, "receive-ts": 3908988800.300000191, "transmit-ts": 3908988800.301000118, "final-ts": 3908988800.270999908, "rtt": 0.020000, "offset": 0.040000 }, { "x":"*" }, { "li": "unknown", "stratum": "unsynchronized", "ref-ts": 3908980000.750000000, "origin-ts": 3908988801.270999908, "receive-ts": 3908988801.550000191, "transmit-ts": 3908988801.551000118, "final-ts": 3908988801.520999908, "rtt": 0.249000, "offset": 0.154500 } ] }
"#
    );
}

#[test]
fn a_changed_version_is_an_ordinary_member() {
    let mut run = Script::asking("-c 2 198.51.100.7");
    let request = run.request();
    run.answer(&request, (0, 0), 1, |_| {});
    let request = run.request();
    run.answer(&request, (0, 0), 2, |reply| reply.version = 3);
    assert!(run.items().contains(r#" }, { "version": 3, "origin-ts": "#));
}

#[test]
fn strata_and_reference_ids() {
    for (stratum, id, told) in [
        (
            0,
            *b"RATE",
            r#""stratum": "invalid", "poll": 8, "precision": 3.8147e-06, "root-delay": 0, "root-dispersion": 0.00105286, "ref-id": "RATE""#,
        ),
        (1, *b"A\x01\"\\", r#""ref-id": "A\\x01\\x22\\x5c""#),
        (1, *b"\xff\x7f\0B", r#""ref-id": "\\xff\\x7f""#),
        (15, [0, 0, 0, 1], r#""stratum": 15, "#),
        (15, [0, 0, 0, 1], r#""ref-id": "00000001""#),
        (16, [0; 4], r#""stratum": "unsynchronized""#),
        (17, [0; 4], r#""stratum": "reserved (17)""#),
        (255, [0; 4], r#""stratum": "reserved (255)""#),
    ] {
        let mut run = Script::asking("-c 1 198.51.100.7");
        let request = run.request();
        run.answer(&request, (0, 0), 1, |reply| {
            reply.stratum = stratum;
            reply.reference_id = id;
        });
        assert!(run.line().contains(told), "{} {told}", run.line());
    }
}

#[test]
fn nothing_answers() {
    let mut run = Script::asking("198.51.100.7");
    for _ in 0..3 {
        run.unanswered();
    }
    assert_eq!(
        run.line(),
        r#"RESULT { "dst_name":"198.51.100.7", "dst_addr":"198.51.100.7", "src_addr":"192.0.2.10", "proto":"UDP", "af": 4, "result": [ { "x":"*" }, { "x":"*" }, { "x":"*" } ] }
"#
    );
    assert!(!run.outcome.unwrap().answered);
}

#[test]
fn the_line_of_the_protocol_reference() {
    let time = |seconds, decimals: f64| Timestamp {
        seconds,
        fraction: format!("{:.0}", decimals * 4_294_967_296.0)
            .parse()
            .unwrap(),
    };
    let packet = Wire {
        version: 4,
        mode: SERVER,
        stratum: 2,
        poll: 8,
        precision: -24,
        root_delay: Short(627),
        root_dispersion: Short(932),
        reference_id: [0x7c, 0xd8, 0xa4, 0x0e],
        reference: time(3_984_311_600, 0.292_619_705),
        receive: time(3_984_312_052, 0.989_268_303),
        transmit: time(3_984_312_052, 0.989_336_491),
        ..Wire::default()
    };
    let body = Body {
        when: When {
            time: 1_775_323_252,
            endtime: None,
            lts: 12,
        },
        target: "213.239.234.28".to_owned(),
        ttr: None,
        destination: Some(ip("213.239.234.28")),
        source: Some(ip("204.168.188.81")),
        family: Family::V4,
        server: Some(packet),
        outcome: Found::Items(vec![Item::Reply(Reply {
            packet,
            origin: time(3_984_312_052, 0.977_718_830),
            arrival: time(3_984_312_053, 0.002_320_766),
            rtt: 0.024_534,
            offset: 0.011_981,
        })]),
        zones: Default::default(),
    };
    let golden = include_str!("../../../../tests/golden/starla/ntp.result");
    assert_eq!(
        body.line(&head(Some("99998"), None), Dialect::Starla),
        golden
    );
}
