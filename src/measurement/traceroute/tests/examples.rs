//! The example lines of `packet-measurements` section 3.10, each from a run.

use super::super::{
    Answer, Code, Detail, Hop, HopOutcome, IcmpError, Item, Outcome as Trace, Protocol, Source,
};
use super::*;
use crate::measurement::{
    format::When,
    machine::{Family, ResolveError},
};
use crate::wire::{icmp::extension_structure, options::padding, tcp::flag};

#[test]
fn icmp_with_a_silent_hop_and_a_name() {
    let mut run = Script::new("-I -A 5001 host.example");
    run.tell(Input::Start);
    run.micros = 10_397;
    // 10.396803 ms cannot be said in microseconds: the printed figure follows the clock.
    run.tell(Input::Resolved(Ok(vec![run.target])));
    run.open();
    for rtt in [412, 398, 377] {
        let probe = run.probe();
        let mut answer = run.exceeded(&probe);
        answer = run.icmp("192.0.2.1", 64, 11, 0, [0; 4], &answer.bytes[28..]);
        run.after(rtt).receive(answer);
        run.deadline();
    }
    for _ in 0..3 {
        run.unanswered();
    }
    for rtt in [3812, 3799, 3805] {
        let probe = run.probe();
        let answer = run.echo_reply(TARGET, 62, &probe);
        run.after(rtt).receive(answer);
        run.micros = run.micros.max(4_000_000);
        run.deadline();
    }
    assert_eq!(
        run.line_as(&head(Some("5001"), None), Dialect::Reference),
        r#"RESULT { "id":"5001", "fw":5120, "mver": "2.6.4", "lts":10, "time":1700000000, "endtime":1700000004, "dst_name":"host.example", "ttr":10.397000, "dst_addr":"198.51.100.7", "src_addr":"192.0.2.10", "proto":"ICMP", "af": 4, "size":40, "paris_id":1, "result": [ { "hop":1, "result": [ { "from":"192.0.2.1", "ttl":64, "size":28, "rtt":0.412 }, { "from":"192.0.2.1", "ttl":64, "size":28, "rtt":0.398 }, { "from":"192.0.2.1", "ttl":64, "size":28, "rtt":0.377 } ] }, { "hop":2, "result": [ { "x":"*" }, { "x":"*" }, { "x":"*" } ] }, { "hop":3, "result": [ { "from":"198.51.100.7", "ttl":62, "size":40, "rtt":3.812 }, { "from":"198.51.100.7", "ttl":62, "size":40, "rtt":3.799 }, { "from":"198.51.100.7", "ttl":62, "size":40, "rtt":3.805 } ] } ] }
"#
    );
    assert!(run.outcome.unwrap().answered);
}

#[test]
fn udp_to_port_unreachable_in_a_bundle() {
    let carry = Some(Carry { paris: Some(4) });
    let mut run = Script::carrying("-c 1 198.51.100.7", Run::default(), carry).opened();
    run.answered(412, |run, probe| {
        let quote = run.quote(probe, 1);
        run.icmp("192.0.2.1", 64, 11, 0, [0; 4], &quote[..28])
    });
    run.deadline();
    let probe = run.probe();
    let quote = run.quote(&probe, 1);
    assert_eq!(quote.len(), 68);
    let answer = run.icmp(TARGET, 63, 3, 3, [0; 4], &quote);
    run.after(2108).receive(answer);
    run.micros = 1_000_000;
    run.deadline();
    assert_eq!(
        run.line_as(&head(Some("5002"), Some("9")), Dialect::Reference),
        r#"RESULT { "id":"5002", "fw":5120, "mver": "2.6.4", "lts":10, "time":1700000000, "endtime":1700000001, "bundle":9, "dst_name":"198.51.100.7", "dst_addr":"198.51.100.7", "src_addr":"192.0.2.10", "proto":"UDP", "af": 4, "size":40, "paris_id":5, "result": [ { "hop":1, "result": [ { "from":"192.0.2.1", "ttl":64, "size":28, "rtt":0.412 } ] }, { "hop":2, "result": [ { "from":"198.51.100.7", "ttl":63, "size":68, "rtt":2.108 } ] } ] }
"#
    );
    assert_eq!(
        run.outcome.unwrap().carry,
        crate::measurement::Carry::Traceroute(Carry { paris: Some(5) })
    );
}

#[test]
fn tcp_with_a_rewritten_quote_and_header_options() {
    let mut run = Script::probing("-T -c 1 198.51.100.7");
    let probe = run.probe();
    let mut quote = Ipv4::new(
        [192, 0, 2, 10].into(),
        [198, 51, 100, 99].into(),
        6,
        3,
        &probe.bytes,
    );
    quote.tos = 32;
    let answer = run.icmp(ROUTER, 250, 11, 0, [0; 4], &quote.emit()[..28]);
    run.after(5297).receive(answer);
    run.deadline();
    run.answered(5374, |run, probe| {
        run.segment(
            probe,
            1,
            flag::SYN | flag::ACK,
            &[2, 4, 0x05, 0xb4, 1, 3, 3, 7],
            50,
            8,
        )
    });
    run.deadline();
    assert_eq!(
        run.line(),
        r#"RESULT { "dst_name":"198.51.100.7", "dst_addr":"198.51.100.7", "src_addr":"192.0.2.10", "proto":"TCP", "af": 4, "size":40, "paris_id":1, "result": [ { "hop":1, "result": [ { "from":"203.0.113.1", "ttl":250, "size":28, "rtt":5.297, "ittl":3, "itos":32, "edst":"198.51.100.99" } ] }, { "hop":2, "result": [ { "from":"198.51.100.7", "ttl":50, "size":8, "tos":8, "flags":"SA", "hdropts": [ { "mss":1460 }, { "unknown-opt":1 } ], "rtt":5.374 } ] } ] }
"#
    );
}

#[test]
fn tcp_over_ipv6() {
    let mut run = Script::probing("-6 -T -c 1 2001:db8:7::7");
    run.answered(7001, |run, probe| {
        run.segment(probe, 1, flag::SYN | flag::ACK, &[2, 4, 0x05, 0xa0], 59, 0)
    });
    run.deadline();
    assert_eq!(
        run.line(),
        r#"RESULT { "dst_name":"2001:db8:7::7", "dst_addr":"2001:db8:7::7", "src_addr":"2001:db8::10", "proto":"TCP", "af": 6, "size":40, "paris_id":1, "result": [ { "hop":1, "result": [ { "from":"2001:db8:7::7", "ttl":59, "size":4, "flags":"SA", "hdropts": [ { "mss":1440 } ], "rtt":7.001 } ] } ] }
"#
    );
}

#[test]
fn extension_headers_and_a_remarked_quote() {
    let mut run = Script::probing("-6 -H 10 -D 600 -c 1 -m 1 2001:db8:7::7");
    let socket = run.socket.clone().unwrap();
    assert_eq!(
        (socket.hop_by_hop.len(), socket.destination_options.len()),
        (16, 608)
    );
    let probe = run.probe();
    let udp = Udp::new((run.local, PORT), (run.target, probe.port), &probe.bytes).emit();
    let (mut hop_by_hop, mut destination) = (padding(10), padding(600));
    (hop_by_hop[0], destination[0]) = (protocol::DESTINATION_OPTIONS, protocol::UDP);
    let upper = [hop_by_hop, destination, udp].concat();
    let (IpAddr::V6(from), IpAddr::V6(to)) = (run.local, run.target) else {
        panic!("IPv6");
    };
    let mut quote = Ipv6::new(from, to, protocol::HOP_BY_HOP, 1, &upper);
    quote.traffic_class = 32;
    let answer = run.icmp(ROUTER_6, 60, 3, 0, [0; 4], &quote.emit());
    run.after(5331).receive(answer);
    run.deadline();
    assert_eq!(
        run.line(),
        r#"RESULT { "dst_name":"2001:db8:7::7", "dst_addr":"2001:db8:7::7", "src_addr":"2001:db8::10", "proto":"UDP", "af": 6, "size":40, "paris_id":1, "result": [ { "hop":1, "result": [ { "from":"2001:db8:1::1", "ttl":60, "rtt":5.331, "size":712, "itos":32, "hbhoptsize":8, "dstoptsize":600 } ] } ] }
"#
    );
}

#[test]
fn ipv6_codes_and_mtu() {
    let mut run = Script::probing("-6 -I -c 1 -m 1 2001:db8:7::7");
    run.answered(5303, |run, probe| {
        let quote = run.quote(probe, 1);
        run.icmp(ROUTER_6, 60, 1, 1, [0; 4], &quote)
    });
    run.deadline();
    assert_eq!(
        run.hops(),
        r#"[ { "hop":1, "result": [ { "from":"2001:db8:1::1", "ttl":60, "rtt":5.303, "size":88, "err":"A" } ] } ]"#
    );
    let mut run = Script::probing("-6 -I -c 1 -m 1 -S 1500 2001:db8:7::7");
    run.answered(5424, |run, probe| {
        let quote = run.quote(probe, 1);
        run.icmp(ROUTER_6, 60, 2, 0, [0, 0, 0x05, 0x14], &quote[..1232])
    });
    run.deadline();
    assert_eq!(
        run.hops(),
        r#"[ { "hop":1, "result": [ { "from":"2001:db8:1::1", "ttl":60, "rtt":5.424, "size":1232, "mtu":1300 } ] } ]"#
    );
}

#[test]
fn late_on_time_and_duplicate() {
    let mut run = Script::probing("-I -c 2 -m 1 198.51.100.7");
    let first = run.unanswered();
    let second = run.probe();
    let late = run.exceeded(&first);
    run.after(100_000).receive(late);
    let answer = run.exceeded(&second);
    run.after(100_482).receive(answer.clone());
    run.after(4931).receive(answer);
    run.deadline();
    assert_eq!(
        run.hops(),
        r#"[ { "hop":1, "result": [ { "x":"*" }, { "late":1, "from":"203.0.113.1", "ttl":250, "size":28 }, { "from":"203.0.113.1", "ttl":250, "size":28, "rtt":200.482 }, { "dup":true, "from":"203.0.113.1", "ttl":250, "size":28, "rtt":205.413 } ] } ]"#
    );
}

#[test]
fn a_duplicate_error_about_udp_has_two_spaces() {
    for protocol in ["-U", "-T"] {
        let mut run = Script::probing(&format!("{protocol} -c 1 -m 1 -z 20 198.51.100.7"));
        let probe = run.probe();
        let answer = run.exceeded(&probe);
        run.after(10_427).receive(answer.clone());
        run.after(10_016).receive(answer);
        run.deadline();
        assert_eq!(
            run.hops(),
            r#"[ { "hop":1, "result": [ { "from":"203.0.113.1", "ttl":250, "size":28, "rtt":10.427 }, {  "dup":true, "from":"203.0.113.1", "ttl":250, "size":28, "rtt":20.443 } ] } ]"#
        );
    }
}

#[test]
fn a_late_icmpv6_error_has_its_own_round_trip_time() {
    let mut run = Script::probing("-6 -I -c 2 -m 1 -w 100 2001:db8:7::7");
    let first = run.unanswered();
    run.probe();
    let late = run.exceeded(&first);
    run.after(50_345).receive(late);
    run.deadline();
    assert_eq!(
        run.hops(),
        r#"[ { "hop":1, "result": [ { "x":"*" }, { "late":1, "from":"2001:db8:1::1", "ttl":60, "rtt":150.345, "size":88 }, { "x":"*" } ] } ]"#
    );
}

#[test]
fn a_label_stack_and_another_object() {
    let mut run = Script::probing("-I -c 1 -m 1 198.51.100.7");
    let probe = run.probe();
    let mut body = run.quote(&probe, 1);
    body.resize(128, 0);
    let labels = [0x00, 0x06, 0x42, 5, 0x00, 0x0c, 0x85, 6];
    body.extend(extension_structure(&[
        (1, 1, &labels),
        (2, 3, &[1, 2, 3, 4]),
    ]));
    let answer = run.icmp(ROUTER, 250, 11, 0, [0, 32, 0, 0], &body);
    run.after(5315).receive(answer);
    run.deadline();
    assert_eq!(
        run.hops(),
        r#"[ { "hop":1, "result": [ { "from":"203.0.113.1", "ttl":250, "size":152, "rtt":5.315, "icmpext": { "version":2, "rfc4884":1, "obj": [ { "class":1, "type":1, "mpls": [ { "label":100, "exp":1, "s":0, "ttl":5 }, { "label":200, "exp":2, "s":1, "ttl":6 } ] }, { "class":2, "type":3 } ] } } ] } ]"#
    );
}

#[test]
fn the_gap_limit_leads_to_hop_255_and_the_end() {
    let mut run = Script::probing("-a 0 -g 2 -c 1 198.51.100.7");
    for _ in 0..3 {
        run.unanswered();
    }
    assert_eq!(
        run.line(),
        r#"RESULT { "dst_name":"198.51.100.7", "dst_addr":"198.51.100.7", "src_addr":"192.0.2.10", "proto":"UDP", "af": 4, "size":40, "result": [ { "hop":1, "result": [ { "x":"*" } ] }, { "hop":2, "result": [ { "x":"*" } ] }, { "hop":255, "result": [ { "x":"*" } ] } ] }
"#
    );
    assert!(!run.outcome.unwrap().answered);
}

const ENETUNREACH: i32 = 101;
const EHOSTUNREACH: i32 = 113;
const EADDRNOTAVAIL: i32 = 99;
const EPERM: i32 = 1;

#[test]
fn no_route() {
    let mut run = Script::new("198.51.100.7");
    run.resolved();
    run.open_failed(os(Call::Connect, ENETUNREACH));
    assert_eq!(
        run.line(),
        r#"RESULT { "dst_name":"198.51.100.7", "dst_addr":"198.51.100.7", "src_addr":"", "proto":"UDP", "af": 4, "size":40, "paris_id":1, "result": [ { "hop":1, "error":"connect failed: Network is unreachable" } ] }
"#
    );
}

#[test]
fn no_such_interface_and_no_privilege() {
    for (cause, text) in [
        (Failure::Bind, "bind_interface failed"),
        (
            os(Call::Socket, EPERM),
            "socket failed: Operation not permitted",
        ),
        (os(Call::Tos, EPERM), "setting ToS failed"),
    ] {
        let mut run = Script::new("-I -i nosuch 198.51.100.7");
        run.resolved();
        assert_eq!(run.socket.clone().unwrap().bind.as_deref(), Some("nosuch"));
        run.open_failed(cause);
        assert_eq!(
            run.line(),
            format!(
                r#"RESULT {{ "dst_name":"198.51.100.7", "dst_addr":"198.51.100.7", "src_addr":"", "proto":"ICMP", "af": 4, "size":40, "paris_id":1, "result": [ {{ "hop":1, "error":"{text}" }} ] }}
"#
            )
        );
    }
}

#[test]
fn no_such_name() {
    let mut run = Script::new("-A 1 nohost.example");
    run.tell(Input::Start);
    run.after(10_447)
        .tell(Input::Resolved(Err(ResolveError::NotKnown)));
    assert_eq!(
        run.line(),
        r#"RESULT { "dst_name":"nohost.example", "ttr":10.447000, "proto":"UDP", "af": 4, "size":40, "paris_id":0, "result": [ { "error":"name resolution failed: nodename nor servname provided, or not known" } ] }
"#
    );
}

#[test]
fn a_forbidden_address() {
    let mut run = Script::new("private.example");
    run.tell(Input::Start);
    run.after(10_440)
        .tell(Input::Resolved(Ok(vec![ip("10.0.0.1")])));
    run.open_failed(Failure::Forbidden(ip("10.0.0.1")));
    assert_eq!(
        run.line(),
        r#"RESULT { "dst_name":"private.example", "ttr":10.440000, "dst_addr":"10.0.0.1", "proto":"UDP", "af": 4, "size":40, "paris_id":0, "result": [ { "error":"address not allowed" } ] }
"#
    );
    assert_eq!(
        run.outcome.unwrap().carry,
        crate::measurement::Carry::Traceroute(Carry { paris: None })
    );
}

#[test]
fn the_time_of_what_was_forbidden_is_that_of_the_refusal() {
    let mut run = Script::new("-A 1 private.example");
    run.tell(Input::Start);
    run.after(3_000_000)
        .tell(Input::Resolved(Ok(vec![ip("10.0.0.1")])));
    run.after(2_000_000);
    run.open_failed(Failure::Forbidden(ip("10.0.0.1")));
    let line = run.line_as(&head(Some("1"), None), Dialect::Reference);
    assert!(
        line.contains("\"time\":1700000005, \"endtime\":1700000005, "),
        "{line}"
    );
}

#[test]
fn a_send_failure_on_the_second_probe() {
    for (call, errno, text) in [
        (Call::Send, EHOSTUNREACH, "sendto failed: No route to host"),
        (
            Call::Bind,
            EADDRNOTAVAIL,
            "bind failed: Cannot assign requested address",
        ),
    ] {
        let mut run = Script::probing("198.51.100.7");
        run.unanswered();
        run.send_failed(call, errno);
        assert_eq!(
            run.line(),
            format!(
                r#"RESULT {{ "dst_name":"198.51.100.7", "dst_addr":"198.51.100.7", "src_addr":"192.0.2.10", "proto":"UDP", "af": 4, "size":40, "paris_id":1, "result": [ {{ "hop":1, "result": [ {{ "x":"*" }}, {{ "error":"{text}" }} ] }} ] }}
"#
            )
        );
    }
}

#[test]
fn a_port_that_is_none_fails_like_a_name() {
    let mut run = Script::new("-p nosuch 198.51.100.7");
    run.tell(Input::Start);
    assert_eq!(
        run.line(),
        r#"RESULT { "dst_name":"198.51.100.7", "proto":"UDP", "af": 4, "size":40, "paris_id":0, "result": [ { "error":"name resolution failed: nodename nor servname provided, or not known" } ] }
"#
    );
}

#[test]
fn a_traffic_class_beyond_an_octet_is_refused_in_ipv6_and_cut_in_ipv4() {
    let run = Script::probing("-6 -t 256 2001:db8:7::7");
    assert_eq!(
        run.hops(),
        r#"[ { "hop":1, "error":"setting traffic class failed" } ]"#
    );
    let run = Script::probing("-t 257 198.51.100.7");
    assert_eq!(run.socket.unwrap().tos, 1);
    // A replay opens no socket that could refuse it.
    let replay = Run {
        replay: true,
        ..Run::default()
    };
    let run = Script::carrying("-6 -t 256 2001:db8:7::7", replay, None).opened();
    assert_eq!((run.sent.len(), run.outcome), (1, None));
}

#[test]
fn the_line_of_the_protocol_reference() {
    let golden = include_str!("../../../../tests/golden/starla/traceroute.result");
    let router = answer("10.0.0.1", 255, 76, 3.723);
    let target = answer("192.112.36.4", 54, 88, 31.981);
    let hop = |hop, items| Hop {
        hop,
        outcome: HopOutcome::Items(items),
    };
    let body = super::super::Body {
        when: When {
            time: 1_700_000_000,
            endtime: Some(1_700_000_030),
            lts: 0,
        },
        target: "192.112.36.4".to_owned(),
        ttr: None,
        destination: Some(ip("192.112.36.4")),
        source: Source::Address(ip("10.0.0.1")),
        protocol: Protocol::Udp,
        family: Family::V4,
        size: 40,
        paris: Some(5),
        outcome: Trace::Hops(vec![
            hop(1, vec![router]),
            hop(2, vec![Item::Lost, Item::Lost, Item::Lost]),
            hop(13, vec![target]),
        ]),
        zones: Default::default(),
    };
    assert_eq!(
        body.line(&head(Some("5001"), None), Dialect::Starla),
        golden
    );
}

fn answer(from: &str, ttl: u8, size: i64, rtt: f64) -> Item {
    Item::Answer(Answer {
        late: None,
        duplicate: false,
        from: ip(from),
        ttl: Some(ttl),
        size: Some(size),
        rtt: Some(rtt),
        detail: Detail::Error(IcmpError {
            spaced: true,
            quoted_ttl: None,
            quoted_tos: None,
            quoted_destination: None,
            hop_by_hop: 0,
            destination_options: 0,
            code: Code::None,
            extensions: None,
        }),
    })
}

#[test]
fn without_a_modulus_starla_tells_path_zero() {
    let options = options("-I 198.51.100.7", Dialect::Starla);
    let machine = Traceroute::new(options, Run::default(), None);
    let mut run = Script::new("-I 198.51.100.7");
    run.machine = machine;
    let mut run = run.opened();
    // An echo request on path 0 has checksum 0.
    assert_eq!(run.probe().bytes[2..4], [0, 0]);
    run.tell(Input::Stop);
    let line = run.line_as(&head(None, None), Dialect::Starla);
    assert!(line.contains("\"paris_id\":0, \"result\": [  ]"), "{line}");
}
