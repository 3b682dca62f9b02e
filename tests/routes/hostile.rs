//! Answers to a traceroute that are odd, forged, too late or too many: each leaves in the result exactly what it
//! should.

use starling::wire::checksum::checksum;

use super::{
    cases::{Case, cases},
    double::{TTL, V4, V6, WAYS, Way, against, flipped, latest},
    items,
};

pub(crate) const CASES: &[Case] = cases![
    probes_keep_to_their_path,
    labels_of_a_router_are_told,
    a_broken_extension_is_not_told,
    every_unreachable_code_is_told,
    changed_quotes_are_told,
    segments_are_told,
    second_answers_are_duplicates,
    answers_that_come_late_say_so,
    an_answer_before_its_probe_is_empty,
    anyone_may_send_an_echo_reply,
    forged_answers_to_probes_are_ignored,
];

const PROTOCOLS: [&str; 3] = ["-I", "-U", "-T"];

/// One hop with these items.
fn hop(items: &[String]) -> String {
    format!(r#"[ {{ "hop":1, "result": [ {} ] }} ]"#, items.join(", "))
}

fn lost() -> String {
    r#"{ "x":"*" }"#.to_owned()
}

fn word(packet: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([packet[at], packet[at + 1]])
}

/// A traceroute of one hop with one probe.
fn one_probe(way: Way, options: &str) -> String {
    format!(
        "evtraceroute {} {options} -m 1 -c 1 -w 3000 -z 100 {}",
        way.flag, way.target
    )
}

fn probes_keep_to_their_path() {
    for way in WAYS {
        for protocol in PROTOCOLS {
            for (paris, whole) in [(true, "-F"), (false, "-a 0")] {
                let command = format!(
                    "evtraceroute {} {protocol} {whole} -m 2 -c 2 -w 20 {}",
                    way.flag, way.target
                );
                let (_, seen) = against(&command, |_| Vec::new());
                assert_eq!(seen.len(), 4, "{command}");
                let limits: Vec<u8> = seen
                    .iter()
                    .map(|packet| packet[if way == V6 { 7 } else { 8 }])
                    .collect();
                assert_eq!(limits, [1, 1, 2, 2], "{command}");
                if way == V4 {
                    assert!(
                        seen.iter().all(|packet| (packet[6] == 0x40) == paris),
                        "{command}"
                    );
                }
                let above = if protocol == "-T" { 20 } else { 8 };
                for (packet, number) in seen.iter().zip(1_u16..) {
                    assert_eq!(packet.len(), way.header + above + 40, "{command}");
                    let upper = &packet[way.header..];
                    has_its_marks(way, protocol, paris.then_some(1), upper, number);
                    assert_eq!(upper[..2], seen[0][way.header..][..2], "{command}");
                }
            }
        }
    }
}

/// What `packet-measurements` section 3.5 says of the packets of a path, which is the first one.
fn has_its_marks(way: Way, protocol: &str, path: Option<u16>, upper: &[u8], number: u16) {
    let said = format!("{} {protocol} {path:?} {number}", way.flag);
    match protocol {
        "-I" => {
            assert_eq!(word(upper, 6), number, "{said}");
            let wanted = if way == V4 {
                path
            } else {
                path.map(|path| path + 1)
            };
            if let Some(wanted) = wanted {
                assert_eq!(word(upper, 2), wanted, "{said}");
            } else {
                assert_eq!(word(upper, 8), 0, "{said}");
            }
            assert!(way == V6 || checksum(upper) == 0, "{said}");
        }
        "-U" => {
            assert_eq!(word(upper, 2), 33_434 + path.unwrap_or(number), "{said}");
            if way == V4 {
                let index = word(upper, 0).wrapping_sub(20_480);
                let constant = index.wrapping_add(1);
                assert_eq!(word(upper, 6), path.map_or(constant, |_| number), "{said}");
            }
        }
        _ => {
            assert_eq!((word(upper, 2), word(upper, 6)), (80, number), "{said}");
            // Five words, SYN alone.
            assert_eq!(upper[12..14], [0x50, 2], "{said}");
        }
    }
    let text = match (protocol, way) {
        ("-T", _) => 20,
        (_, V4) => 10,
        // The text begins behind the block and is cut at the payload's end.
        _ => 8 + 32,
    };
    assert!(
        b"http://atlas.ripe.net Atlas says Hi!".starts_with(&upper[text..text + 8]),
        "{said}"
    );
}

/// Two labels and an object of class 2 and type 3, with a checksum (RFC 4884 section 7, RFC 4950).
fn two_labels() -> Vec<u8> {
    let mut structure = vec![0x20, 0, 0, 0];
    structure.extend([0, 12, 1, 1, 0x00, 0x06, 0x42, 0x05, 0x00, 0x0c, 0x85, 0x06]);
    structure.extend([0, 8, 2, 3, 0xde, 0xad, 0xbe, 0xef]);
    summed(structure)
}

fn summed(mut structure: Vec<u8>) -> Vec<u8> {
    let sum = checksum(&structure);
    structure[2..4].copy_from_slice(&sum.to_be_bytes());
    structure
}

/// Time exceeded with this behind 128 octets of quote, whose length is told or not.
fn extended(way: Way, probe: &[u8], structure: &[u8], told: bool) -> Vec<u8> {
    let mut body = probe.to_vec();
    body.resize(128, 0);
    body.extend(structure);
    let rest = match (told, way) {
        (false, _) => [0; 4],
        // In words of 32 bits, or of 64.
        (true, V4) => [0, 32, 0, 0],
        (true, _) => [16, 0, 0, 0],
    };
    way.message(way.router, TTL, [way.exceeded, 0], rest, &body)
}

fn labels_of_a_router_are_told() {
    for way in WAYS {
        for protocol in PROTOCOLS {
            for told in [true, false] {
                let (run, _) = against(&one_probe(way, protocol), move |seen| {
                    vec![extended(way, latest(seen), &two_labels(), told)]
                });
                let more = format!(
                    r#", "icmpext": {{ "version":2, "rfc4884":{}, "obj": [ {{ "class":1, "type":1, "mpls": [ {{ "label":100, "exp":1, "s":0, "ttl":5 }}, {{ "label":200, "exp":2, "s":1, "ttl":6 }} ] }}, {{ "class":2, "type":3 }} ] }}"#,
                    u8::from(told)
                );
                assert_eq!(
                    items(&run.line),
                    hop(&[way.item("", way.router, TTL, 152, &more)])
                );
            }
        }
    }
}

fn a_broken_extension_is_not_told() {
    // Nothing of one whose sum is wrong; an object that claims more than there is ends the list.
    let long = summed(vec![0x20, 0, 0, 0, 0, 40, 1, 1, 0, 6, 0x42, 5]);
    let head = |objects: &str| {
        format!(r#", "icmpext": {{ "version":2, "rfc4884":1, "obj": [ {objects}] }}"#)
    };
    let cases = [
        (flipped(&two_labels(), 9), String::new()),
        (vec![0x20, 0], String::new()),
        (long, head(r#"{ "class":1, "type":1 } "#)),
        (summed(vec![0x20, 0, 0, 0]), head("")),
    ];
    for way in WAYS {
        for (structure, told) in cases.clone() {
            let size = 128 + structure.len();
            let (run, _) = against(&one_probe(way, "-U"), move |seen| {
                vec![extended(way, latest(seen), &structure, true)]
            });
            assert_eq!(
                items(&run.line),
                hop(&[way.item("", way.router, TTL, size, &told)])
            );
        }
    }
}

fn every_unreachable_code_is_told() {
    let letters4 = [r#""N""#, r#""H""#, r#""P""#, ""];
    let letters6 = [r#""N""#, r#""A""#, r#""h""#, r#""H""#, ""];
    let numbers = |code: u8| {
        if code == 13 {
            r#""A""#.to_owned()
        } else {
            code.to_string()
        }
    };
    for way in WAYS {
        // Code 4 of IPv4 is about sizes, and not an end.
        let codes: Vec<u8> = if way == V4 {
            (0..16).filter(|code| *code != 4).collect()
        } else {
            (0..8).collect()
        };
        for code in codes {
            let letters: &[&str] = if way == V4 { &letters4 } else { &letters6 };
            let letter = letters
                .get(usize::from(code))
                .map_or_else(|| numbers(code), ToString::to_string);
            for protocol in PROTOCOLS {
                // Nobody listens for an echo request, so a missing port is strange to it, in IPv4.
                let strange = (way, code, protocol) == (V4, 3, "-I");
                let letter = if strange { r#""p""# } else { &letter };
                let more = if letter.is_empty() {
                    String::new()
                } else {
                    format!(r#", "err":{letter}"#)
                };
                let command = one_probe(way, protocol).replace("-m 1", "-m 3");
                let (run, seen) = against(&command, move |seen| {
                    let head = [way.unreachable, code];
                    vec![way.message(way.router, TTL, head, [0; 4], latest(seen))]
                });
                let size = seen[0].len();
                assert_eq!(
                    items(&run.line),
                    hop(&[way.item("", way.router, TTL, size, &more)]),
                    "{command} {code}"
                );
            }
        }
    }
}

fn changed_quotes_are_told() {
    let (run, _) = against(&one_probe(V4, "-U"), |seen| {
        let mut quote = latest(seen)[..28].to_vec();
        quote[1] = 0x20;
        quote[8] = 3;
        quote[16..20].copy_from_slice(&[198, 51, 100, 99]);
        vec![V4.exceeded(&quote)]
    });
    let more = r#", "ittl":3, "itos":32, "edst":"198.51.100.99""#;
    assert_eq!(
        items(&run.line),
        hop(&[V4.item("", V4.router, TTL, 28, more)])
    );
    let (run, _) = against(&one_probe(V6, "-U"), |seen| {
        let mut quote = latest(seen).to_vec();
        // Traffic class 32, and another destination, which IPv6 results do not tell.
        quote[0..2].copy_from_slice(&[0x62, 0x00]);
        quote[7] = 3;
        quote[39] = 0x99;
        vec![V6.exceeded(&quote)]
    });
    let more = r#", "ittl":3, "itos":32"#;
    assert_eq!(
        items(&run.line),
        hop(&[V6.item("", V6.router, TTL, 88, more)])
    );
}

/// A segment that answers a SYN: acknowledges so much, with these flags and options.
fn segment(way: Way, from: &str, syn: &[u8], ahead: u32, flags: u8, options: &[u8]) -> Vec<u8> {
    let syn = &syn[way.header..];
    let sequence = u32::from_be_bytes([syn[4], syn[5], syn[6], syn[7]]);
    let mut content = [&syn[2..4], &syn[0..2], &[0; 4]].concat();
    content.extend(sequence.wrapping_add(ahead).to_be_bytes());
    let words = u8::try_from(5 + options.len() / 4).expect("few options");
    content.extend([words << 4, flags, 0, 0, 0, 0, 0, 0]);
    content.extend(options);
    way.packet(from, TTL, 6, content, 16)
}

fn segments_are_told() {
    let cases: [(u8, &[u8], &str); 5] = [
        (
            0x12,
            &[2, 4, 0x05, 0xb4],
            r#""size":4, "flags":"SA", "hdropts": [ { "mss":1460 } ]"#,
        ),
        (
            0x12,
            &[2, 4, 0x05, 0xb4, 1, 3, 3, 7],
            r#""size":8, "flags":"SA", "hdropts": [ { "mss":1460 }, { "unknown-opt":1 } ]"#,
        ),
        (
            0x12,
            &[2, 3, 0, 0],
            r#""size":4, "flags":"SA", "hdropts": [  ]"#,
        ),
        (0x14, &[], r#""size":0, "flags":"RA""#),
        (0x3f, &[], r#""size":0, "flags":"FSRPAU""#),
    ];
    for way in WAYS {
        for (flags, options, told) in cases {
            // With its data or without.
            for ahead in [1, 41] {
                let (run, _) = against(&one_probe(way, "-T"), move |seen| {
                    vec![segment(
                        way,
                        way.target,
                        latest(seen),
                        ahead,
                        flags,
                        options,
                    )]
                });
                let item = format!(
                    r#"{{ "from":"{}", "ttl":{TTL}, {told}, "rtt":T }}"#,
                    way.target
                );
                assert_eq!(items(&run.line), hop(&[item]));
                assert!(run.outcome.answered, "{}", run.line);
            }
        }
    }
}

fn second_answers_are_duplicates() {
    for way in WAYS {
        for protocol in PROTOCOLS {
            let (run, seen) = against(&one_probe(way, protocol), move |seen| {
                let first = way.exceeded(latest(seen));
                let other = way.message(way.router, 44, [way.exceeded, 0], [0; 4], latest(seen));
                vec![first.clone(), first, other]
            });
            let size = seen[0].len();
            let item = |before, ttl| way.item(before, way.router, ttl, size, "");
            // What the official probe prints for UDP and TCP over IPv4 has one more space.
            let dup = if way == V4 && protocol != "-I" {
                r#" "dup":true, "#
            } else {
                r#""dup":true, "#
            };
            assert_eq!(
                items(&run.line),
                hop(&[item("", TTL), item(dup, TTL), item(dup, 44)])
            );
        }
    }
}

fn answers_that_come_late_say_so() {
    for way in WAYS {
        for protocol in PROTOCOLS {
            for swapped in [false, true] {
                let command = format!(
                    "evtraceroute {} {protocol} -m 1 -c 2 -w 400 -z 100 {}",
                    way.flag, way.target
                );
                let (run, seen) = against(&command, move |seen| {
                    let [first, second] = seen else {
                        return Vec::new();
                    };
                    let mut answers = vec![way.exceeded(first), way.exceeded(second)];
                    if swapped {
                        answers.reverse();
                    }
                    answers
                });
                let size = seen[0].len();
                let on_time = way.item("", way.router, TTL, size, "");
                let late = way.item(r#""late":1, "#, way.router, TTL, size, "");
                // Only ICMPv6 quotes carry a time to reckon from.
                let late = if way == V4 {
                    late.replace(r#", "rtt":T"#, "")
                } else {
                    late
                };
                let mut expected = vec![lost(), late, on_time];
                if swapped {
                    expected[1..].reverse();
                }
                assert_eq!(items(&run.line), hop(&expected), "{command}");
            }
        }
    }
}

fn an_answer_before_its_probe_is_empty() {
    for way in WAYS {
        let (run, seen) = against(&one_probe(way, "-I"), move |seen| {
            let probe = latest(seen);
            // Where the number is: the echo's own, or in the block that its payload begins with.
            let at = if way == V4 {
                way.header + 7
            } else {
                way.header + 8 + 15
            };
            vec![way.exceeded(probe), way.exceeded(&flipped(probe, at))]
        });
        let item = way.item("", way.router, TTL, seen[0].len(), "");
        assert_eq!(items(&run.line), hop(&[item, "{  }".to_owned()]));
    }
}

fn anyone_may_send_an_echo_reply() {
    for way in WAYS {
        let (run, _) = against(&one_probe(way, "-I"), move |seen| {
            vec![way.echo_reply(way.stranger, TTL, latest(seen))]
        });
        assert_eq!(
            items(&run.line),
            hop(&[way.item("", way.stranger, TTL, 40, "")])
        );
    }
}

/// What must not count as an answer to a probe.
fn forged_answers(way: Way, protocol: &str, probe: &[u8]) -> Vec<Vec<u8>> {
    let (upper, end) = (way.header, way.header + if way == V4 { 8 } else { 40 });
    let mut forged = vec![
        // Damaged on the way.
        flipped(&way.exceeded(probe), way.header + 2),
        // Too little is quoted.
        way.exceeded(&probe[..way.header + 4]),
        way.exceeded(&probe[..way.header - 1]),
        way.exceeded(&[]),
        // Quoted is another protocol, or the rest of a fragmented packet.
        way.exceeded(&flipped(probe, if way == V4 { 9 } else { 6 })),
        // No error about a packet.
        way.message(way.router, TTL, [200, 0], [0; 4], probe),
        // An echo reply to somebody else.
        way.message(
            way.target,
            TTL,
            [way.reply, 0],
            [0xff; 4],
            &probe[upper + 8..],
        ),
        // Cut short by the sender, whose header tells more.
        way.exceeded(probe)[..way.header + 8 + 30].to_vec(),
    ];
    if way == V4 {
        let mut fragment = probe[..end].to_vec();
        fragment[7] = 185;
        forged.push(way.exceeded(&fragment));
    } else if protocol != "-T" {
        // Another process, another run, too short for the block.
        for at in [8 + 7, 8 + 11] {
            forged.push(way.exceeded(&flipped(probe, upper + at)));
        }
        forged.push(way.exceeded(&probe[..end - 1]));
    }
    match protocol {
        "-I" => {
            // Another's echo request in IPv4; not a request.
            if way == V4 {
                forged.push(way.exceeded(&flipped(probe, upper + 5)));
            }
            forged.push(way.exceeded(&flipped(probe, upper)));
        }
        "-U" => {
            forged.push(way.exceeded(&flipped(probe, upper + 1)));
        }
        _ => {
            // Another's port and sequence; segments of strangers, and to other sequences.
            forged.push(way.exceeded(&flipped(probe, upper + 1)));
            forged.push(way.exceeded(&flipped(probe, upper + 4)));
            forged.push(segment(way, way.stranger, probe, 1, 0x12, &[]));
            forged.push(segment(way, way.target, probe, 0x10_0000, 0x12, &[]));
            forged.push(segment(
                way,
                way.target,
                &flipped(probe, upper + 1),
                1,
                0x12,
                &[],
            ));
        }
    }
    forged
}

fn forged_answers_to_probes_are_ignored() {
    for way in WAYS {
        for protocol in PROTOCOLS {
            let (run, seen) = against(&one_probe(way, protocol), move |seen| {
                let probe = latest(seen);
                let mut answers = forged_answers(way, protocol, probe);
                // With another TTL, to tell it from all these.
                answers.push(way.message(way.router, 77, [way.exceeded, 0], [0; 4], probe));
                answers
            });
            let item = way.item("", way.router, 77, seen[0].len(), "");
            assert_eq!(items(&run.line), hop(&[item]), "{protocol}");
            assert!(!run.outcome.answered, "{}", run.line);
        }
    }
}
