//! What is taken for an answer, and how it is told (`packet-measurements` sections 3.7 to 3.9).

use super::*;
use crate::wire::{icmp::extension_structure, tcp::flag};

/// The items of a single hop with a single probe that `answer` answers after 1 ms.
fn item(line: &str, answer: impl FnOnce(&Script, &Packet) -> Datagram) -> String {
    let mut run = Script::probing(&format!("-c 1 -m 1 {line}"));
    let probe = run.probe();
    let answer = answer(&run, &probe);
    run.after(1000).receive(answer);
    run.deadline();
    let hops = run.hops();
    let items = hops.strip_prefix(r#"[ { "hop":1, "result": [ "#).unwrap();
    items.strip_suffix(" ] } ]").unwrap().to_owned()
}

const LOST: &str = r#"{ "x":"*" }"#;

#[test]
fn unreachable_codes_over_ipv4() {
    for (code, told) in [
        (0, r#", "err":"N""#),
        (1, r#", "err":"H""#),
        (2, r#", "err":"P""#),
        (3, ""),
        (4, r#", "mtu":0"#),
        (5, r#", "err":5"#),
        (13, r#", "err":"A""#),
        (255, r#", "err":255"#),
    ] {
        let item = item(TARGET, |run, probe| run.error_v4(3, code, probe));
        let wanted =
            format!(r#"{{ "from":"203.0.113.1", "ttl":250, "size":28, "rtt":1.000{told} }}"#);
        assert_eq!(item, wanted);
    }
    let icmp = item("-I 198.51.100.7", |run, probe| run.error_v4(3, 3, probe));
    assert!(icmp.contains(r#""err":"p""#));
    let exceeded = item(TARGET, |run, probe| run.error_v4(11, 1, probe));
    assert!(exceeded.ends_with(r#""rtt":1.000 }"#));
}

#[test]
fn unreachable_codes_over_ipv6() {
    for (kind, code, told) in [
        (1, 0, r#", "err":"N""#),
        (1, 1, r#", "err":"A""#),
        (1, 2, r#", "err":"h""#),
        (1, 3, r#", "err":"H""#),
        (1, 4, ""),
        (1, 5, r#", "err":5"#),
        (2, 0, r#", "mtu":0"#),
        (3, 1, ""),
    ] {
        for protocol in ["-I", "-U"] {
            let item = item(&format!("-6 {protocol} {TARGET_6}"), |run, probe| {
                run.icmp(ROUTER_6, 60, kind, code, [0; 4], &run.quote(probe, 1))
            });
            let wanted =
                format!(r#"{{ "from":"2001:db8:1::1", "ttl":60, "rtt":1.000, "size":88{told} }}"#);
            assert_eq!(item, wanted);
        }
    }
}

#[test]
fn the_tos_is_told_if_it_or_the_probes_is_set() {
    let plain = item("-I 198.51.100.7", |run, probe| {
        run.echo_reply(TARGET, 60, probe)
    });
    assert_eq!(
        plain,
        r#"{ "from":"198.51.100.7", "ttl":60, "size":40, "rtt":1.000 }"#
    );
    let asked = item("-I -t 8 198.51.100.7", |run, probe| {
        run.echo_reply(TARGET, 60, probe)
    });
    assert_eq!(
        asked,
        r#"{ "from":"198.51.100.7", "ttl":60, "size":40, "tos":0, "rtt":1.000 }"#
    );
    let asked = item("-t 8 198.51.100.7", Script::exceeded);
    assert!(asked.ends_with(r#""rtt":1.000, "itos":0 }"#), "{asked}");
    let v6 = item("-6 -I 2001:db8:7::7", |run, probe| {
        let mut reply = run.echo_reply(TARGET_6, 60, probe);
        reply.tos = Some(3);
        reply
    });
    assert_eq!(
        v6,
        r#"{ "from":"2001:db8:7::7", "ttl":60, "rtt":1.000, "size":40, "itos":3 }"#
    );
    let tcp = item("-T -t 8 198.51.100.7", |run, probe| {
        run.segment(probe, 1, flag::RST, &[], 60, 0)
    });
    assert_eq!(
        tcp,
        r#"{ "from":"198.51.100.7", "ttl":60, "size":0, "tos":0, "flags":"R", "rtt":1.000 }"#
    );
}

#[test]
fn flags_and_header_options() {
    for (options, told) in [
        (&[][..], ""),
        (&[2, 4, 5, 180], r#", "hdropts": [ { "mss":1460 } ]"#),
        (&[1, 1, 1, 0], r#", "hdropts": [ { "unknown-opt":1 } ]"#),
        (&[0, 0, 0, 0], r#", "hdropts": [ { "unknown-opt":0 } ]"#),
        (&[2, 3, 5, 0], r#", "hdropts": [  ]"#),
        (&[1, 2, 4, 5], r#", "hdropts": [ { "unknown-opt":1 } ]"#),
        (
            &[2, 4, 5, 180, 2, 4, 0, 9],
            r#", "hdropts": [ { "mss":1460 }, { "mss":9 } ]"#,
        ),
        (
            &[2, 4, 5, 180, 2, 4, 0, 9, 8, 1, 1, 2],
            r#", "hdropts": [ { "mss":1460 }, { "mss":9 }, { "unknown-opt":8 } ]"#,
        ),
    ] {
        let item = item("-T 198.51.100.7", |run, probe| {
            run.segment(probe, 1, 0xff, options, 60, 0)
        });
        let size = options.len();
        let wanted = format!(
            r#"{{ "from":"198.51.100.7", "ttl":60, "size":{size}, "flags":"FSRPAU"{told}, "rtt":1.000 }}"#
        );
        assert_eq!(item, wanted);
    }
}

#[test]
fn packets_of_other_runs_are_no_answers() {
    // Another identifier.
    let foreign = item("-I 198.51.100.7", |run, probe| {
        let mut probe = probe.clone();
        probe.bytes[5] ^= 1;
        run.exceeded(&probe)
    });
    assert_eq!(foreign, LOST);
    let foreign = item("-I 198.51.100.7", |run, probe| {
        let mut probe = probe.clone();
        probe.bytes[5] ^= 1;
        run.echo_reply(TARGET, 60, &probe)
    });
    assert_eq!(foreign, LOST);
    // An echo request that is quoted with a code.
    let foreign = item("-I 198.51.100.7", |run, probe| {
        let mut probe = probe.clone();
        probe.bytes[1] = 1;
        run.exceeded(&probe)
    });
    assert_eq!(foreign, LOST);
    // Another source port.
    let foreign = item("-T 198.51.100.7", |run, probe| {
        let mut probe = probe.clone();
        probe.bytes[1] ^= 1;
        run.exceeded(&probe)
    });
    assert_eq!(foreign, LOST);
    // Another process, another slot.
    for octet in [12, 16] {
        let foreign = item("-6 -I 2001:db8:7::7", |run, probe| {
            let mut probe = probe.clone();
            probe.bytes[octet] ^= 1;
            run.exceeded(&probe)
        });
        assert_eq!(foreign, LOST);
    }
    // A segment to another port, and one that acknowledges another slot.
    for octet in [23, 29] {
        let foreign = item("-T 198.51.100.7", |run, probe| {
            let mut answer = run.segment(probe, 1, flag::SYN, &[], 60, 0);
            answer.bytes[octet] ^= 1;
            answer
        });
        assert_eq!(foreign, LOST);
    }
}

#[test]
fn packets_of_another_kind_are_no_answers() {
    // A quote of another protocol.
    let foreign = item("-I 198.51.100.7", |run, probe| {
        let quote = Udp::new((run.local, PORT), (run.target, 33435), &probe.bytes).emit();
        let quote = Ipv4::new(
            [192, 0, 2, 10].into(),
            [198, 51, 100, 7].into(),
            17,
            1,
            &quote,
        )
        .emit();
        run.icmp(ROUTER, 250, 11, 0, [0; 4], &quote)
    });
    assert_eq!(foreign, LOST);
    // Neither an error nor an echo reply.
    let foreign = item("-I 198.51.100.7", |run, probe| run.error_v4(5, 1, probe));
    assert_eq!(foreign, LOST);
    let foreign = item("-6 -I 2001:db8:7::7", |run, _| {
        run.icmp(ROUTER_6, 255, 135, 0, [0; 4], &[0; 24])
    });
    assert_eq!(foreign, LOST);
    // A router that answers a TCP probe's echo.
    let foreign = item("-6 -U 2001:db8:7::7", |run, probe| {
        run.icmp(ROUTER_6, 60, 129, 0, [0; 4], &probe.bytes)
    });
    assert_eq!(foreign, LOST);
}

#[test]
fn quotes_need_their_first_eight_octets() {
    for (length, answered) in [(28, true), (27, false), (20, false), (0, false)] {
        let item = item(TARGET, |run, probe| {
            let quote = run.quote(probe, 1);
            run.icmp(ROUTER, 250, 11, 0, [0; 4], &quote[..length])
        });
        assert_eq!(item != LOST, answered, "{length}");
    }
    for (line, length, answered) in [
        ("-6 -I 2001:db8:7::7", 80, true),
        ("-6 -I 2001:db8:7::7", 79, false),
        ("-6 -U 2001:db8:7::7", 80, true),
        ("-6 -U 2001:db8:7::7", 79, false),
        ("-6 -T 2001:db8:7::7", 60, true),
        ("-6 -T 2001:db8:7::7", 59, false),
    ] {
        let item = item(line, |run, probe| {
            let quote = run.quote(probe, 1);
            run.icmp(ROUTER_6, 60, 3, 0, [0; 4], &quote[..length])
        });
        assert_eq!(item != LOST, answered, "{line} {length}");
    }
}

#[test]
fn later_fragments_are_ignored_and_first_ones_are_not() {
    for (offset, answered) in [(0u8, true), (1, false)] {
        let item = item("-6 -I 2001:db8:7::7", |run, probe| {
            let (IpAddr::V6(from), IpAddr::V6(to)) = (run.local, run.target) else {
                panic!("IPv6");
            };
            let fragment = [protocol::ICMPV6, 0, 0, offset << 3 | 1, 0, 0, 0, 9];
            let upper = [&fragment, &probe.bytes[..]].concat();
            let quote = Ipv6::new(from, to, protocol::FRAGMENT, 1, &upper).emit();
            run.icmp(ROUTER_6, 60, 3, 0, [0; 4], &quote)
        });
        assert_eq!(item != LOST, answered);
    }
}

#[test]
fn a_checksum_that_was_not_restored_counts_as_the_current_probe() {
    let told = item(TARGET, |run, probe| {
        let mut quote = run.quote(probe, 1);
        quote[26..28].copy_from_slice(&[0xab, 0xcd]);
        run.icmp(ROUTER, 250, 11, 0, [0; 4], &quote)
    });
    assert!(told.contains("\"rtt\":1.000"));
}

#[test]
fn a_checksum_that_was_never_made_is_known_by_the_payload() {
    for size in ["", "-S 3 ", "-S 1400 "] {
        let mut run = Script::probing(&format!("-c 3 -m 1 {size}198.51.100.7"));
        let lost = [run.unanswered(), run.unanswered()];
        let probe = run.probe();
        for probe in lost.iter().chain([&probe]) {
            // As the card would have got it: the sum of the addresses only.
            let mut quote = run.quote(probe, 1);
            quote[26..28].copy_from_slice(&[0xab, 0xcd]);
            let error = run.icmp(ROUTER, 250, 3, 1, [0; 4], &quote[..30]);
            run.after(100).receive(error);
        }
        run.deadline();
        let from = r#""from":"203.0.113.1", "ttl":250, "size":30"#;
        assert_eq!(
            run.hops(),
            format!(
                r#"[ {{ "hop":1, "result": [ {{ "x":"*" }}, {{ "x":"*" }}, {{ "late":2, {from}, "err":"H" }}, {{ "late":1, {from}, "err":"H" }}, {{ {from}, "rtt":0.300, "err":"H" }} ] }} ]"#
            )
        );
    }
}

#[test]
fn an_answer_without_a_number_that_came_before_the_probe_is_to_the_one_before() {
    for (command, unnumbered) in [
        (
            "-c 2 -m 1 198.51.100.7",
            (|run, probe| {
                let mut quote = run.quote(probe, 1);
                quote[26..28].copy_from_slice(&[0xab, 0xcd]);
                run.icmp(ROUTER, 250, 11, 0, [0; 4], &quote[..28])
            }) as fn(&Script, &Packet) -> Datagram,
        ),
        ("-T -c 2 -m 1 198.51.100.7", |run, probe| {
            run.segment(probe, 100, flag::RST, &[], 250, 0)
        }),
    ] {
        let mut run = Script::probing(command);
        let first = run.probe();
        // We wake up late: the answer came when the first probe was in flight, and is told after the second left.
        run.after(1_200_000);
        run.deadline();
        let second = run.probe();
        run.micros = 900_000;
        let answer = unnumbered(&run, &first);
        run.receive(answer);
        run.micros = 1_200_300;
        let answer = unnumbered(&run, &second);
        run.receive(answer);
        run.deadline();
        let hops = run.hops();
        assert!(
            hops.starts_with(r#"[ { "hop":1, "result": [ { "x":"*" }, { "late":1, "from":"#),
            "{hops}"
        );
        assert_eq!(hops.matches("\"rtt\"").count(), 1, "{hops}");
        assert!(hops.contains("\"rtt\":0.300"), "{hops}");
    }
}

#[test]
fn an_answer_older_than_its_probe_took_no_time() {
    let mut run = Script::probing("-I -c 1 -m 1 198.51.100.7");
    let probe = run.probe();
    let answer = run.exceeded(&probe);
    let sent = run.tick();
    // A clock that is not quite ours.
    let mut now = Now::new(
        sent - std::time::Duration::from_micros(3),
        UnixTime::from_secs(0),
        0,
    );
    let on = Handle(0);
    run.machine.handle(
        &mut now,
        Input::Datagram {
            on,
            datagram: answer,
        },
    );
    run.tell(Input::Stop);
    assert!(run.hops().contains("\"rtt\":0.000"), "{}", run.hops());
}

#[test]
fn an_answer_to_a_probe_not_sent_yet_leaves_an_empty_item_behind_an_answer() {
    let mut run = Script::probing("-I -c 1 -m 1 198.51.100.7");
    let probe = run.probe();
    let mut early = probe.clone();
    early.bytes[7] = 9;
    let early = run.exceeded(&early);
    run.after(500).receive(early.clone());
    let answer = run.exceeded(&probe);
    run.after(500).receive(answer);
    run.after(500).receive(early);
    run.deadline();
    assert_eq!(
        run.hops(),
        r#"[ { "hop":1, "result": [ { "from":"203.0.113.1", "ttl":250, "size":28, "rtt":1.000 }, {  } ] } ]"#
    );
}

#[test]
fn a_smaller_mtu_shortens_what_follows() {
    let mut run = Script::probing("-S 1400 -c 1 198.51.100.7");
    let probe = run.probe();
    assert_eq!(probe.bytes.len(), 1400);
    let quote = run.quote(&probe, 1);
    let answer = run.icmp(ROUTER, 250, 3, 4, [0, 0, 0x02, 0x40], &quote[..28]);
    run.after(1000).receive(answer);
    run.deadline();
    let probe = run.probe();
    // 576 - 20 - 8, and the hop is not repeated.
    assert_eq!((probe.bytes.len(), probe.hop_limit), (548, Some(2)));
    run.tell(Input::Stop);
    assert!(run.line().contains("\"size\":1400, "));
    assert!(run.hops().contains("\"mtu\":576"));
}

#[test]
fn an_mtu_below_the_headers_is_told_and_not_believed() {
    let mut run = Script::probing("-T -c 1 198.51.100.7");
    run.answered(1000, |run, probe| {
        let quote = run.quote(probe, 1);
        run.icmp(ROUTER, 250, 3, 4, [0, 0, 0, 39], &quote[..28])
    });
    run.deadline();
    assert_eq!(run.probe().bytes.len(), 60);
}

#[test]
fn an_ipv6_mtu_counts_at_least_1200() {
    let mut run = Script::probing("-6 -S 1400 -c 1 2001:db8:7::7");
    run.answered(1000, |run, probe| {
        let quote = run.quote(probe, 1);
        run.icmp(ROUTER_6, 60, 2, 0, [0, 0, 0, 100], &quote[..1200])
    });
    run.deadline();
    assert_eq!(run.probe().bytes.len(), 1200 - 48);
    run.tell(Input::Stop);
    assert!(run.hops().contains("\"mtu\":100 "));
}

#[test]
fn a_live_answer_to_the_probe_before_is_late() {
    for ahead in [1, 41] {
        let mut run = Script::probing("-T -c 2 -m 1 -w 100 198.51.100.7");
        let first = run.unanswered();
        let second = run.probe();
        let late = run.segment(&first, ahead, flag::SYN | flag::ACK, &[], 60, 0);
        run.after(1000).receive(late);
        let answer = run.segment(&second, ahead, flag::SYN | flag::ACK, &[], 60, 0);
        run.after(1000).receive(answer);
        run.deadline();
        assert_eq!(
            run.hops(),
            r#"[ { "hop":1, "result": [ { "x":"*" }, { "late":1, "from":"198.51.100.7", "ttl":60, "size":0, "flags":"SA" }, { "from":"198.51.100.7", "ttl":60, "size":0, "flags":"SA", "rtt":2.000 } ] } ]"#
        );
    }
}

#[test]
fn in_a_replay_the_answer_to_the_probe_before_is_the_current_ones() {
    let mut run = Script::replaying("-T -c 2 -m 1 -w 100 198.51.100.7");
    let first = run.unanswered();
    run.probe();
    let answer = run.segment(&first, 1, flag::SYN | flag::ACK, &[], 60, 0);
    run.after(1000).receive(answer);
    run.deadline();
    assert_eq!(
        run.hops(),
        r#"[ { "hop":1, "result": [ { "x":"*" }, { "from":"198.51.100.7", "ttl":60, "size":0, "flags":"SA", "rtt":1.000 } ] } ]"#
    );
}

#[test]
fn a_late_quote_of_tcp_over_ipv6_has_no_time_in_a_replay_and_its_own_live() {
    for (replay, rtt) in [(true, "-42.000"), (false, "101.000")] {
        let run = Run {
            replay,
            ..Run::default()
        };
        let mut run = Script::carrying("-6 -T -c 2 -m 1 -w 100 2001:db8:7::7", run, None).opened();
        let first = run.unanswered();
        run.probe();
        let late = run.exceeded(&first);
        run.after(1000).receive(late);
        run.deadline();
        assert!(
            run.hops().contains(&format!("\"rtt\":{rtt},")),
            "{}",
            run.hops()
        );
    }
}

#[test]
fn what_the_kernel_does_not_tell_is_left_out() {
    let told = item("-6 -I 2001:db8:7::7", |run, probe| {
        let mut answer = run.exceeded(probe);
        (answer.hop_limit, answer.tos) = (None, None);
        answer
    });
    assert_eq!(
        told,
        r#"{ "from":"2001:db8:1::1", "rtt":1.000, "size":88 }"#
    );
}

#[test]
fn an_extension_without_objects_and_one_that_is_cut() {
    let with = |structure: &[u8]| {
        let structure = structure.to_vec();
        item(TARGET, move |run, probe| {
            let mut body = run.quote(probe, 1);
            body.resize(128, 0);
            body.extend(&structure);
            run.icmp(ROUTER, 250, 11, 0, [0; 4], &body)
        })
    };
    let empty = with(&extension_structure(&[]));
    assert!(
        empty.ends_with(r#", "icmpext": { "version":2, "rfc4884":0, "obj": [ ] } }"#),
        "{empty}"
    );
    let mut cut = vec![0x20, 0, 0, 0, 0, 99, 1, 1, 1, 2, 3, 4];
    let sum = crate::wire::checksum::checksum(&cut);
    cut[2..4].copy_from_slice(&sum.to_be_bytes());
    let cut = with(&cut);
    assert!(
        cut.ends_with(r#""obj": [ { "class":1, "type":1 } ] } }"#),
        "{cut}"
    );
}
