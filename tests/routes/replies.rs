//! Replies to ping and NTP that are forged, too late or too many.

use starling::wire::ntp::{Ntp, SERVER, Timestamp};

use super::{
    cases::{Case, cases},
    double::{TTL, WAYS, Way, against, flipped, latest},
    items,
};

pub(crate) const CASES: &[Case] = cases![
    pings_are_doubled_and_reordered,
    forged_replies_to_pings_are_ignored,
    times_are_credited_to_their_request,
    forged_times_are_ignored,
];

fn pings_are_doubled_and_reordered() {
    for way in WAYS {
        let ping =
            |count: u8| format!("evping {} -c {count} -i 300 -s 40 {}", way.flag, way.target);
        let (run, _) = against(&ping(1), move |seen| {
            let reply = way.echo_reply(way.target, TTL, latest(seen));
            let longer = [latest(seen), &[0; 8]].concat();
            vec![
                reply.clone(),
                reply,
                way.echo_reply(way.target, 44, &longer),
            ]
        });
        let expected =
            r#"[ { "rtt":T }, { "dup":1, "rtt":T }, { "dup":1, "rtt":T, "size":48, "ttl":44 } ]"#;
        assert_eq!(items(&run.line), expected);
        // Nothing for the first one until the second is there.
        for (swapped, expected) in [
            (
                false,
                r#"[ { "x":"*" }, { "dup":1, "rtt":T, "ttl":55 }, { "rtt":T } ]"#,
            ),
            (
                true,
                r#"[ { "x":"*" }, { "rtt":T, "ttl":55 }, { "dup":1, "rtt":T } ]"#,
            ),
        ] {
            let (run, _) = against(&ping(2), move |seen| {
                let [first, second] = seen else {
                    return Vec::new();
                };
                let mut replies =
                    [first, second].map(|request| way.echo_reply(way.target, TTL, request));
                if swapped {
                    replies.reverse();
                }
                replies.to_vec()
            });
            assert_eq!(items(&run.line), expected);
            assert!(run.outcome.answered, "{}", run.line);
        }
    }
}

fn forged_replies_to_pings_are_ignored() {
    for way in WAYS {
        let command = format!("evping {} -c 1 -i 300 -s 40 {}", way.flag, way.target);
        let (run, _) = against(&command, move |seen| {
            let request = latest(seen);
            let reply = way.echo_reply(way.target, TTL, request);
            let changed = |at| way.echo_reply(way.target, TTL, &flipped(request, way.header + at));
            vec![
                flipped(&reply, way.header + 2),
                flipped(&reply, way.header + 40),
                // Identifier, sequence, time, table index, cookie.
                changed(5),
                changed(7),
                changed(8),
                changed(16),
                changed(24),
                changed(28),
                changed(35),
                way.echo_reply(way.stranger, TTL, request),
                way.echo_reply(way.target, TTL, &request[..way.header + 8 + 31]),
                way.echo_reply(way.target, TTL, &request[..way.header + 8]),
                reply[..reply.len() - 4].to_vec(),
                // The request itself, and an error about it.
                way.packet(way.target, TTL, way.icmp, request[way.header..].to_vec(), 2),
                way.exceeded(request),
                way.message(way.router, TTL, [way.unreachable, 1], [0; 4], request),
                way.echo_reply(way.target, 77, request),
            ]
        });
        assert_eq!(items(&run.line), r#"[ { "rtt":T } ]"#, "{}", run.line);
        assert!(
            run.line.contains(r#""ttl":77, "size":40, "#),
            "{}",
            run.line
        );
    }
}

/// What a server says: 3908988800.25.
const SAID: Timestamp = Timestamp {
    seconds: 3_908_988_800,
    fraction: 0x4000_0000,
};

/// A server's reply to a request, and how it is sent off.
fn time(way: Way, request: &[u8], change: impl FnOnce(&mut Ntp)) -> Vec<u8> {
    let asked = Ntp::parse(&request[way.header + 8..]).expect("a whole request");
    let mut reply = Ntp {
        version: 4,
        mode: SERVER,
        stratum: 2,
        reference_id: [192, 0, 2, 1],
        reference: SAID,
        origin: asked.transmit,
        receive: SAID,
        transmit: SAID,
        ..Ntp::default()
    };
    change(&mut reply);
    time_from(way, way.target, 123, request, &reply.emit())
}

fn time_from(way: Way, from: &str, port: u16, request: &[u8], content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(8 + content.len()).expect("short");
    let ours = &request[way.header..way.header + 2];
    let datagram = [
        &port.to_be_bytes(),
        ours,
        &length.to_be_bytes(),
        &[0, 0],
        content,
    ]
    .concat();
    way.packet(from, TTL, 17, datagram, 6)
}

/// The items of an NTP result, an `N` for each number that only clocks know.
fn times(line: &str) -> String {
    let (_, mut rest) = line.split_once("\"result\": ").expect("a result");
    let mut out = String::new();
    while let Some((before, after)) = rest.split_once("\": ") {
        let ours = ["origin-ts", "final-ts", "rtt", "offset"]
            .iter()
            .any(|name| before.ends_with(name));
        out = out + before + "\": ";
        rest = after;
        if ours {
            out += "N";
            rest = after.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.' || c == '-');
        }
    }
    let all = out + rest.trim_end();
    all.strip_suffix(" }").expect("an object").to_owned()
}

/// A reply's item with these members before all others.
fn answered(before: &str) -> String {
    format!(
        r#"{{ {before}"origin-ts": N, "receive-ts": 3908988800.250000000, "transmit-ts": 3908988800.250000000, "final-ts": N, "rtt": N, "offset": N }}"#
    )
}

/// What is said of the server, but for its stratum.
fn server(stratum: u8) -> String {
    format!(
        r#""li": "no", "version": 4, "mode": "server", "stratum": {stratum}, "poll": 1, "precision": 1, "root-delay": 0, "root-dispersion": 0, "ref-id": "c0000201", "ref-ts": 3908988800.250000000, "result": "#
    )
}

fn times_are_credited_to_their_request() {
    for way in WAYS {
        for swapped in [false, true] {
            let command = format!("evntp {} -c 3 -w 500 {}", way.flag, way.target);
            let (run, _) = against(&command, move |seen| match seen {
                // The first one is given up before it is answered, by a server that has fallen meanwhile.
                [first, second] => {
                    let mut replies = vec![
                        time(way, first, |reply| reply.stratum = 3),
                        time(way, second, |_| {}),
                    ];
                    if swapped {
                        replies.reverse();
                    }
                    replies
                }
                [_, _, third] => vec![time(way, third, |_| {})],
                _ => Vec::new(),
            });
            let (stratum, items) = if swapped {
                (
                    2,
                    [answered(r#""stratum": 3, "#), answered(""), answered("")],
                )
            } else {
                let two = r#""stratum": 2, "#;
                (3, [answered(""), answered(two), answered(two)])
            };
            assert_eq!(
                times(&run.line),
                format!("[ {} ]", items.join(", ")),
                "{}",
                run.line
            );
            assert!(run.line.contains(&server(stratum)), "{}", run.line);
        }
    }
}

fn forged_times_are_ignored() {
    for way in WAYS {
        let command = format!("evntp {} -c 2 -w 3000 {}", way.flag, way.target);
        let (run, _) = against(&command, move |seen| {
            let request = latest(seen);
            let good = time(way, request, |_| {});
            let content = &good[way.header + 8..];
            let mut replies = vec![
                // Damaged, too short, from elsewhere.
                flipped(&good, way.header + 8 + 1),
                time_from(way, way.target, 123, request, &content[..47]),
                time_from(way, way.target, 123, request, &[]),
                time_from(way, way.stranger, 123, request, content),
                time_from(way, way.target, 124, request, content),
                good[..good.len() - 8].to_vec(),
                // The request as it came.
                time_from(way, way.target, 123, request, &request[way.header + 8..]),
            ];
            // No server's, or answering nothing that was asked.
            for mode in [0, 1, 2, 3, 5, 6, 7] {
                replies.push(time(way, request, |reply| {
                    (reply.mode, reply.stratum) = (mode, 9);
                }));
            }
            replies.push(time(way, request, |reply| {
                (reply.origin.fraction, reply.stratum) = (reply.origin.fraction ^ 1, 9);
            }));
            replies.push(time(way, request, |reply| {
                (reply.origin, reply.stratum) = (SAID, 9);
            }));
            replies.push(good);
            // Answered already.
            replies.push(time(way, request, |reply| reply.stratum = 9));
            replies
        });
        assert_eq!(
            times(&run.line),
            format!("[ {}, {} ]", answered(""), answered("")),
            "{}",
            run.line
        );
        assert!(run.line.contains(&server(2)), "{}", run.line);
    }
}
