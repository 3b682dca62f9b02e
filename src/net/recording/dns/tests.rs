//! Recordings made by hand, and what a recording keeps of a run.

use std::path::PathBuf;

use super::*;
use crate::{
    clock::UnixTime,
    dialect::Dialect,
    measurement::{Body, Carry, Head, Rules, Run, Spec, Version, dns},
    net::{
        Event, Precision,
        recording::{Recorder, replay, test_clock},
    },
};

fn spec(command: &str) -> Spec {
    let words: Vec<&str> = command.split(' ').collect();
    let rules = Rules {
        dialect: Dialect::Reference,
        spool: PathBuf::from("/nonexistent"),
        unsafe_paths: true,
    };
    Spec::parse(&words, &rules).unwrap()
}

fn entries(outcome: Outcome) -> Vec<dns::Entry> {
    match outcome.bodies.into_iter().next() {
        Some(Body::Dns(body)) => body.entries,
        other => panic!("no DNS body: {other:?}"),
    }
}

fn replayed(command: &str, recording: &[u8]) -> Result<Vec<dns::Entry>, ReplayError> {
    replay(&spec(command), recording, test_clock()).map(entries)
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// A header alone, with the ID of recordings.
const REPLY: [u8; 12] = [0x30, 0x39, 0x81, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// The records of one address that a query is sent to.
fn put_target(writer: &mut Writer, more: bool) {
    writer.put_addrinfo(ADDRINFO, address("192.0.2.53:53").ip(), more);
    writer.put_address(ADDRESS, address("192.0.2.53:53"));
    writer.put_address(LOCAL, address("198.51.100.7:40000"));
}

fn put_reply(writer: &mut Writer, packet: &[u8], control: &[u8]) {
    writer.put(PACKET, packet);
    writer.put_address(PEER, address("192.0.2.53:53"));
    writer.put(CONTROL, control);
}

#[test]
fn a_repeat_after_a_time_out_and_a_foreign_datagram() {
    let mut writer = Writer::new();
    put_target(&mut writer, false);
    writer.put(TIMEOUT, &[]);
    put_target(&mut writer, true);
    put_target(&mut writer, false);
    put_reply(&mut writer, b"another ID!!", &[]);
    let control = [
        &[20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 57, 0, 0, 0][..],
        &[9; 4],
    ]
    .concat();
    put_reply(&mut writer, &REPLY, &control);
    let recording = writer.finish();
    let found = replayed("evtdig --retry 1 --ttl -h ns.example.net", &recording).unwrap();
    let entry = &found[0];
    assert_eq!((entry.retries, entry.ttl), (1, Some(57)));
    let reply = entry.reply.as_ref().unwrap();
    assert_eq!(reply.message, REPLY);
    assert_eq!(
        format!("{:.3}", reply.rt),
        "2000.002",
        "the foreign datagram cost a tick"
    );
    for end in 0..recording.len() {
        let cut = replayed(
            "evtdig --retry 1 --ttl -h ns.example.net",
            &recording[..end],
        );
        assert!(
            matches!(cut, Err(ReplayError::Recording(_))),
            "{end}: {cut:?}"
        );
    }
}

#[test]
fn hop_limits_behind_other_control_messages() {
    let other = [
        24, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 29, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8,
    ];
    let limit = [
        20, 0, 0, 0, 0, 0, 0, 0, 41, 0, 0, 0, 52, 0, 0, 0, 64, 0, 0, 0,
    ];
    assert_eq!(hop_limit(&[&other[..], &limit].concat()), Some(64));
    assert_eq!(hop_limit(&other), None);
    assert_eq!(hop_limit(&limit[..19]), None);
    assert_eq!(hop_limit(&[]), None);
    assert_eq!(hop_limit(&[0; 60]), None);
    assert_eq!(hop_limit(&[255; 60]), None);
}

#[test]
fn a_stream_in_many_records_is_one_event() {
    let mut writer = Writer::new();
    writer.put_address(PEER, address("[2001:db8::53]:53"));
    writer.put_address(LOCAL, address("[2001:db8::7]:40000"));
    writer.put(LENGTH, &[0]);
    writer.put(LENGTH, &[12]);
    for piece in REPLY.chunks(5) {
        writer.put(DATA, piece);
    }
    let found = replayed("evtdig -t -6 -h 2001:db8::53", &writer.finish()).unwrap();
    let reply = found[0].reply.as_ref().unwrap();
    assert_eq!(reply.message, REPLY);
    let times = (
        format!("{:.3}", reply.rt),
        format!("{:.3}", reply.qt.unwrap()),
    );
    assert_eq!(times, ("2000.002".to_owned(), "1000.001".to_owned()));
    assert_eq!(
        found[0].destination.as_ref().unwrap().address,
        "2001:db8::53"
    );
}

#[test]
fn a_time_out_in_the_middle_of_a_stream() {
    let mut writer = Writer::new();
    writer.put_address(PEER, address("192.0.2.53:53"));
    writer.put_address(LOCAL, address("198.51.100.7:40000"));
    writer.put(LENGTH, &[0, 12]);
    writer.put(DATA, &REPLY[..5]);
    writer.put(TIMEOUT, &[]);
    let found = replayed("evtdig -t -h 192.0.2.53", &writer.finish()).unwrap();
    assert_eq!(found[0].errors, [dns::Error::Timeout(5000)]);
}

#[test]
fn a_recording_of_something_else_is_refused() {
    let mut writer = Writer::new();
    writer.put(RESOLVERS, &1i32.to_le_bytes());
    let recording = writer.finish();
    assert!(replayed("evtdig -h 192.0.2.53", &recording).is_err());
    assert!(replayed("evtdig --resolv -h", &recording).is_err());
    assert!(replayed("evtdig -t -h 192.0.2.53", &[]).is_err());
}

/// Runs `command` with what `answer` makes of each wish, and records it. What is waited for without a wish is
/// `wait`'s.
fn recorded(
    command: &str,
    mut answer: impl FnMut(&Output) -> Input,
    mut wait: impl FnMut() -> Input,
) -> (Vec<dns::Entry>, Vec<u8>) {
    let command = command.replacen("evtdig", "evtdig --write-response x", 1);
    let spec = spec(&command);
    let mut machine = spec.start(Run::default(), Carry::Nothing);
    let mut recorder = Recorder::new(&spec);
    let mut input = Input::Start;
    for millis in 1..1000 {
        let mut now = Now::new(
            Tick::from_millis(millis),
            UnixTime::from_secs(1_700_000_000),
            12,
        );
        recorder.watch(&Event::In {
            at: &now,
            precision: Precision::Process,
            input: &input,
        });
        let at = now.peek();
        let mut next = None;
        for output in machine.handle(&mut now, input) {
            recorder.watch(&Event::Out {
                at,
                output: &output,
            });
            match output {
                Output::Done(outcome) => return (entries(outcome), recorder.finish()),
                Output::Seen(_) | Output::Close { .. } => {}
                output => next = Some(answer(&output)),
            }
        }
        input = next.unwrap_or_else(&mut wait);
    }
    panic!("no end: {command}");
}

/// Grants every wish: servers at two addresses, streams that give `bytes` a few at a time.
fn granting(bytes: Vec<u8>) -> impl FnMut(&Output) -> Input {
    let mut bytes = VecDeque::from(bytes);
    move |output| match output {
        Output::Resolvers { .. } => {
            Input::Resolvers(vec!["192.0.2.53".to_owned(), "::1".to_owned()])
        }
        Output::Resolve { family, .. } => {
            let addresses = ["192.0.2.53", "2001:db8::53"].map(|text| text.parse().unwrap());
            let wanted = addresses
                .into_iter()
                .filter(|address| family.wants(*address));
            Input::Resolved(Ok(wanted.collect()))
        }
        Output::Open { on, socket } => Input::Opened {
            on: *on,
            local: match socket.to {
                IpAddr::V4(_) => address("198.51.100.7:40000"),
                IpAddr::V6(_) => address("[2001:db8::7]:40000"),
            },
            ident: 0,
        },
        Output::Send { on, packet } => Input::Sent {
            on: *on,
            tag: packet.tag,
        },
        Output::Connect { on, stream } => connected(*on, stream, address("198.51.100.7:40000")),
        Output::Write { on, .. } => Input::Written { on: *on },
        Output::Await { on } if bytes.is_empty() => Input::Ended {
            on: *on,
            errno: None,
        },
        Output::Await { on } => Input::Readable { on: *on },
        Output::Read { on, .. } => Input::Read {
            on: *on,
            bytes: bytes.drain(..bytes.len().min(700)).collect(),
        },
        other => panic!("{other:?}"),
    }
}

/// What a replay must give again: all but the times.
fn without_times(entries: Vec<dns::Entry>) -> Vec<dns::Entry> {
    let strip = |mut entry: dns::Entry| {
        (entry.time, entry.lts) = (0, 0);
        if let Some(reply) = &mut entry.reply {
            (reply.rt, reply.qt) = (0.0, reply.qt.map(|_| 0.0));
        }
        entry
    };
    entries.into_iter().map(strip).collect()
}

fn same_again(command: &str, bytes: Vec<u8>, wait: impl FnMut() -> Input) -> Vec<dns::Entry> {
    let (live, recording) = recorded(command, granting(bytes), wait);
    let again = replayed(command, &recording).unwrap();
    assert_eq!(
        without_times(again),
        without_times(live.clone()),
        "{command}"
    );
    live
}

fn datagram_on(on: u16, from: &str) -> Input {
    Input::Datagram {
        on: Handle(on),
        datagram: Datagram {
            from: address(from),
            to: None,
            hop_limit: Some(57),
            tos: None,
            bytes: REPLY.to_vec(),
            protocol: protocol::UDP,
        },
    }
}

#[test]
fn a_recorded_run_over_udp_replays_to_the_same_result() {
    for (words, on, from) in [
        ("-4", 1, "192.0.2.53:53"),
        ("-6", 1, "[2001:db8::53]:53"),
        ("-a", 2, "[2001:db8::53]:53"),
    ] {
        let command = format!("evtdig {words} --ttl --qbuf -h ns.example.net");
        let found = same_again(&command, vec![], || datagram_on(on, from));
        assert!(found[0].reply.is_some());
    }
    let found = same_again("evtdig --retry 2 --qbuf -h ns.example.net", vec![], || {
        Input::Deadline
    });
    assert_eq!(
        (found[0].retries, &found[0].errors[..]),
        (2, &[dns::Error::Timeout(5000)][..])
    );
}

#[test]
fn a_recorded_run_through_the_resolvers_replays_to_the_same_result() {
    let mut first = true;
    let found = same_again("evtdig --resolv --qbuf -h", vec![], || {
        if std::mem::take(&mut first) {
            datagram_on(2, "[2001:db8::53]:53")
        } else {
            Input::Deadline
        }
    });
    assert_eq!(found.len(), 2);
    assert!(found[0].reply.is_some() && found[1].reply.is_none());
}

#[test]
fn a_recorded_stream_replays_to_the_same_result() {
    let mut message = REPLY.to_vec();
    message.resize(3000, 7);
    let mut framed = 3000u16.to_be_bytes().to_vec();
    framed.extend(&message);
    for transport in ["-t", "--tls"] {
        let command = format!("evtdig {transport} --qbuf -h 192.0.2.53");
        let found = same_again(&command, framed.clone(), || Input::Deadline);
        assert_eq!(found[0].reply.as_ref().unwrap().message, message);
    }
}

#[test]
fn a_recorded_exchange_over_https_replays_to_the_same_result() {
    let mut block = Vec::new();
    http2::literal(":status", "200", &mut block);
    http2::literal("content-type", "application/dns-message", &mut block);
    let mut bytes = Vec::new();
    for (kind, flags, stream, payload) in [
        (http2::Kind::Settings, 0, 0, vec![]),
        (http2::Kind::Headers, http2::END_HEADERS, 1, block),
        (http2::Kind::Data, 0, 1, REPLY.to_vec()),
        (http2::Kind::Data, http2::END_STREAM, 1, vec![]),
    ] {
        http2::Frame {
            kind,
            flags,
            stream,
            payload,
        }
        .emit(&mut bytes);
    }
    let found = same_again("evtdig --https --qbuf -h 192.0.2.53", bytes, || {
        Input::Deadline
    });
    assert_eq!(found[0].reply.as_ref().unwrap().message, REPLY);
    assert_eq!(found[0].tls, Some("test 0.0.0"));
}

#[test]
fn the_line_of_a_replay_has_the_versions_of_tests() {
    let mut writer = Writer::new();
    put_target(&mut writer, false);
    put_reply(&mut writer, &REPLY, &[]);
    let outcome = replay(
        &spec("evtdig -h 192.0.2.53"),
        &writer.finish(),
        test_clock(),
    )
    .unwrap();
    let head = Head {
        id: None,
        bundle: None,
        version: Version::of_tests(),
    };
    assert_eq!(
        outcome.bodies[0].line(&head, Dialect::Reference),
        concat!(
            r#"RESULT { "fw":9999, "mver": "0.0.0", "time" : 999999999 , "lts" : 123 , "dst_addr" : "192.0.2.53" , "#,
            r#""dst_port" : "53" , "af" : 4 , "src_addr" : "198.51.100.7" , "proto" : "UDP" ,"#,
            r#""result" : { "rt" : 1000.001,"size" : 12 , "abuf" : "MDmBAAAAAAAAAAAA","ID" : 12345 , "ANCOUNT" : 0 , "#,
            "\"QDCOUNT\" : 0 , \"NSCOUNT\" : 0 , \"ARCOUNT\" : 0 } }\n",
        )
    );
}
