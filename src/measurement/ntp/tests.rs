//! Runs by script: inputs at times, and the result to the last byte.

use std::net::{IpAddr, SocketAddr};

use proptest::{collection::vec, prelude::*};

use super::{Body, Item, Ntp, Options, Outcome as Found, Reply};
use crate::{
    clock::{Now, Tick, UnixTime},
    dialect::Dialect,
    measurement::{
        Body as AnyBody, Head, Input, Machine, Outcome, Output, Rules, Run, Version,
        format::When,
        machine::{
            Call, Datagram, Failure, Family, Handle, Packet, ResolveError, Socket, SocketKind,
        },
    },
    wire::ntp::{Ntp as Wire, SERVER, Short, Timestamp},
};

const TARGET: &str = "198.51.100.7";
/// 2023-11-14T22:13:20Z, 3908988800 in NTP seconds.
const START: i128 = 1_700_000_000;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// One run in virtual time, milliseconds since its start.
struct Script {
    machine: Ntp,
    count: u8,
    millis: u64,
    /// What the wall clock was set forward by, in seconds.
    stepped: i128,
    target: IpAddr,
    socket: Option<Socket>,
    sent: Vec<Packet>,
    outcome: Option<Outcome>,
}

impl Script {
    fn new(line: &str) -> Self {
        Self::of(line, Run::default())
    }

    fn of(line: &str, run: Run) -> Self {
        let rules = Rules {
            dialect: Dialect::Reference,
            spool: "/var/spool".into(),
            unsafe_paths: false,
        };
        let words: Vec<&str> = line.split_whitespace().collect();
        let options = Options::parse(&words, &rules).unwrap().1;
        let target = if options.family == Family::V6 {
            "2001:db8:7::7"
        } else {
            TARGET
        };
        Self {
            count: options.count,
            machine: Ntp::new(options, run),
            millis: 0,
            stepped: 0,
            target: ip(target),
            socket: None,
            sent: Vec::new(),
            outcome: None,
        }
    }

    fn asking(line: &str) -> Self {
        let mut run = Self::new(line);
        run.open();
        run
    }

    fn open(&mut self) {
        self.tell(Input::Start);
        self.tell(Input::Resolved(Ok(vec![self.target])));
        let local = if self.target.is_ipv4() {
            "192.0.2.10:40000"
        } else {
            "[2001:db8::10]:40000"
        };
        self.tell(Input::Opened {
            on: Handle(0),
            local: local.parse().unwrap(),
            ident: 0,
        });
    }

    fn tell(&mut self, input: Input) {
        let unix = (START + self.stepped) * 1_000_000_000 + i128::from(self.millis) * 1_000_000;
        let mut now = Now::new(
            Tick::from_millis(self.millis),
            UnixTime::from_nanos(unix),
            12,
        );
        for output in self.machine.handle(&mut now, input) {
            assert!(self.outcome.is_none(), "{output:?} after the end");
            match output {
                Output::Open { socket, .. } => self.socket = Some(socket),
                Output::Send { packet, .. } => self.sent.push(packet),
                Output::Done(outcome) => self.outcome = Some(outcome),
                _ => {}
            }
        }
    }

    fn request(&mut self) -> Packet {
        assert_eq!(self.sent.len(), 1, "one request in flight");
        self.sent.remove(0)
    }

    fn deadline(&mut self) {
        let deadline = self.machine.deadline().expect("a deadline until the end");
        self.millis = self
            .millis
            .max(u64::try_from(deadline.0.as_millis()).unwrap());
        self.tell(Input::Deadline);
    }

    fn receive(&mut self, bytes: Vec<u8>) {
        self.receive_from(SocketAddr::new(self.target, 123), bytes);
    }

    fn receive_from(&mut self, from: SocketAddr, bytes: Vec<u8>) {
        let datagram = Datagram {
            from,
            to: None,
            hop_limit: None,
            tos: None,
            bytes,
            protocol: 17,
        };
        let on = Handle(0);
        self.tell(Input::Datagram { on, datagram });
    }

    /// Answers a request: received by the server at `receive`, sent at `transmit` (nanoseconds since the start),
    /// arriving `arrival` milliseconds after the start.
    fn answer(
        &mut self,
        request: &Packet,
        times: (i128, i128),
        arrival: u64,
        change: impl Fn(&mut Wire),
    ) {
        let mut reply = gps();
        reply.origin = Wire::parse(&request.bytes).unwrap().transmit;
        reply.receive = since_start(times.0);
        reply.transmit = since_start(times.1);
        change(&mut reply);
        self.millis = arrival;
        self.receive(reply.emit());
    }

    fn line(&self) -> String {
        self.line_as(None, Dialect::Reference)
    }

    fn line_as(&self, id: Option<&str>, dialect: Dialect) -> String {
        let outcome = self.outcome.as_ref().expect("a finished run");
        let [AnyBody::Ntp(body)] = &outcome.bodies[..] else {
            panic!("one body");
        };
        let line = body.line(&head(id), dialect);
        let json = line.strip_prefix("RESULT ").unwrap();
        serde_json::from_str::<serde_json::Value>(json).expect("valid JSON");
        line
    }

    fn items(&self) -> String {
        let line = self.line();
        let (_, items) = line.split_once("\"result\": ").unwrap();
        items.strip_suffix(" }\n").unwrap().to_owned()
    }
}

fn head(id: Option<&str>) -> Head {
    Head {
        id: id.map(str::to_owned),
        bundle: None,
        version: Version::default(),
    }
}

fn since_start(nanos: i128) -> Timestamp {
    Timestamp::from_unix_nanos(START * 1_000_000_000 + nanos)
}

/// A stratum 1 server's reply.
fn gps() -> Wire {
    Wire {
        version: 4,
        mode: SERVER,
        stratum: 1,
        poll: 3,
        precision: -18,
        root_dispersion: Short(69),
        reference_id: *b"GPS\0",
        reference: since_start(-3_000_000_000 + 36_665_440),
        ..Wire::default()
    }
}

/// A stratum 2 server's.
fn second(reply: &mut Wire) {
    reply.stratum = 2;
    reply.poll = 6;
    reply.precision = -20;
    reply.root_delay = Short(256);
    reply.root_dispersion = Short(512);
    reply.reference_id = [192, 0, 2, 1];
    reply.reference = Timestamp {
        seconds: 3_908_980_000,
        fraction: 1 << 31,
    };
}

const MS: i128 = 1_000_000;

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
fn a_reply_a_loss_and_a_reply_with_changes() {
    let mut run = Script::new("198.51.100.7");
    run.millis = 250;
    run.open();
    let request = run.request();
    run.answer(&request, (300 * MS, 301 * MS), 271, second);
    run.request();
    run.deadline();
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
        run.request();
        run.deadline();
    }
    assert_eq!(
        run.line(),
        r#"RESULT { "dst_name":"198.51.100.7", "dst_addr":"198.51.100.7", "src_addr":"192.0.2.10", "proto":"UDP", "af": 4, "result": [ { "x":"*" }, { "x":"*" }, { "x":"*" } ] }
"#
    );
    assert!(!run.outcome.unwrap().answered);
}

#[test]
fn a_count_of_zero_sends_nothing() {
    let run = Script::asking("-c 0 198.51.100.7");
    assert!(run.sent.is_empty());
    assert_eq!(run.items(), "[  ]");
}

#[test]
fn failures_before_anything_is_sent() {
    const EPERM: i32 = 1;
    const ENETUNREACH: i32 = 101;
    for (cause, text) in [
        (Failure::Forbidden(ip(TARGET)), "address not allowed"),
        (Failure::Bind, "bind_interface failed"),
        (
            Failure::Os {
                call: Call::Connect,
                errno: ENETUNREACH,
            },
            "connect failed: Network is unreachable",
        ),
        (
            Failure::Os {
                call: Call::Socket,
                errno: EPERM,
            },
            "socket failed: Operation not permitted",
        ),
    ] {
        let mut run = Script::new("198.51.100.7");
        run.tell(Input::Start);
        run.tell(Input::Resolved(Ok(vec![run.target])));
        run.tell(Input::Failed {
            on: Handle(0),
            tag: None,
            cause,
        });
        assert_eq!(
            run.line(),
            format!(
                r#"RESULT {{ "dst_name":"198.51.100.7", "dst_addr":"198.51.100.7", "proto":"UDP", "af": 4, "result": [ {{ "error":"{text}" }} ] }}
"#
            )
        );
    }
    let mut run = Script::new("-6 nohost.example");
    run.tell(Input::Start);
    run.millis = 10;
    run.tell(Input::Resolved(Err(ResolveError::NotKnown)));
    assert_eq!(
        run.line(),
        r#"RESULT { "dst_name":"nohost.example", "ttr":10.000000, "proto":"UDP", "af": 6, "result": [ { "error":"name resolution failed: nodename nor servname provided, or not known" } ] }
"#
    );
}

#[test]
fn a_send_failure_on_the_second_request_is_valid_json() {
    const EHOSTUNREACH: i32 = 113;
    let mut run = Script::asking("198.51.100.7");
    run.request();
    run.deadline();
    run.tell(Input::Failed {
        on: Handle(0),
        tag: Some(2),
        cause: Failure::Os {
            call: Call::Send,
            errno: EHOSTUNREACH,
        },
    });
    assert_eq!(
        run.items(),
        r#"[ { "x":"*" }, { "error":"sendto failed: No route to host" } ]"#
    );
}

#[test]
fn refused_requests_look_like_losses_where_the_official_probe_says_so() {
    const EACCES: i32 = 13;
    const EMSGSIZE: i32 = 90;
    const ECONNREFUSED: i32 = 111;
    for (line, errno, goes_on) in [
        ("-c 1 198.51.100.7", EMSGSIZE, true),
        ("-c 1 198.51.100.7", ECONNREFUSED, false),
        ("-c 1 -6 2001:db8:7::7", EACCES, true),
        ("-c 1 -6 2001:db8:7::7", ECONNREFUSED, true),
    ] {
        let mut run = Script::asking(line);
        let cause = Failure::Os {
            call: Call::Send,
            errno,
        };
        run.tell(Input::Failed {
            on: Handle(0),
            tag: Some(1),
            cause,
        });
        assert_eq!(run.outcome.is_none(), goes_on);
    }
}

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
    let first = run.request();
    run.deadline();
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
    run.tell(Input::Stamped {
        on: Handle(0),
        tag: 1,
    });
    run.tell(Input::Stamped {
        on: Handle(0),
        tag: 77,
    });
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
        run.tell(Input::Stamped {
            on: Handle(0),
            tag: 1,
        });
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
    run.tell(Input::Stamped {
        on: Handle(0),
        tag: 1,
    });
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
    let replay = Run {
        replay: true,
        ..Run::default()
    };
    let mut run = Script::of("-c 1 198.51.100.7", replay);
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
    let replay = Run {
        replay: true,
        ..Run::default()
    };
    let mut run = Script::of("-c 1 198.51.100.7", replay);
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
    let golden = include_str!("../../../tests/golden/starla/ntp.result");
    assert_eq!(body.line(&head(Some("99998")), Dialect::Starla), golden);
}

fn arb_input() -> impl Strategy<Value = Input> {
    let on = Handle(0);
    let address = || {
        prop_oneof![
            Just(ip(TARGET)),
            Just(ip("2001:db8:7::7")),
            any::<u32>().prop_map(|bits| IpAddr::V4(bits.into()))
        ]
    };
    let cause = prop_oneof![
        Just(Failure::Bind),
        address().prop_map(Failure::Forbidden),
        any::<i32>().prop_map(|errno| Failure::Os {
            call: Call::Send,
            errno
        }),
    ];
    prop_oneof![
        4 => Just(Input::Deadline),
        1 => Just(Input::Stop),
        2 => vec(address(), 0..3).prop_map(|addresses| Input::Resolved(Ok(addresses))),
        1 => Just(Input::Resolved(Err(ResolveError::Failed))),
        2 => address().prop_map(move |local| Input::Opened { on, local: SocketAddr::new(local, 9), ident: 0 }),
        1 => cause.prop_map(move |cause| Input::Failed { on, tag: None, cause }),
        2 => (0u32..4).prop_map(move |tag| Input::Stamped { on, tag }),
        6 => (address(), vec(any::<u8>(), 40..60)).prop_map(move |(from, bytes)| Input::Datagram {
            on,
            datagram: Datagram {
                from: SocketAddr::new(from, 123),
                to: None,
                hop_limit: None,
                tos: None,
                bytes,
                protocol: 17,
            },
        }),
    ]
}

proptest! {
    #[test]
    fn a_run_ends_once_and_asks_no_more_than_its_count(
        count in 0u8..6, inputs in vec((arb_input(), any::<bool>()), 0..40), replay in any::<bool>(),
    ) {
        let mut run = Script::of(&format!("-c {count} -s 28 host.example\"\\"), Run { replay, ..Run::default() });
        run.tell(Input::Start);
        for (mut input, ours) in inputs {
            run.millis += 7;
            // Some replies answer the newest request.
            if let (true, Input::Datagram { datagram, .. }, Some(request)) = (ours, &mut input, run.sent.last())
                && datagram.bytes.len() >= 48
            {
                datagram.bytes[0] = 0x24;
                datagram.bytes[24..32].copy_from_slice(&request.bytes[40..48]);
            }
            run.tell(input);
        }
        if run.outcome.is_none() && run.machine.deadline().is_none() {
            run.tell(Input::Resolved(Err(ResolveError::Failed)));
        }
        while run.outcome.is_none() {
            run.deadline();
        }
        prop_assert_eq!(run.machine.deadline(), None);
        run.tell(Input::Deadline);
        prop_assert!(run.sent.len() <= usize::from(run.count));
        for dialect in Dialect::ALL {
            run.line_as(Some("1"), dialect);
        }
    }
}
