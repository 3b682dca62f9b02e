//! Attempts over TCP, TLS and HTTPS (`dns-measurement` section 5).

use proptest::prelude::*;

use super::{Script, answer};
use crate::{
    clock::Tick,
    measurement::{
        Input, Output,
        dns::{Error, doh},
        machine::{Call, Failure, Handle, ResolveError, Tls, TlsFailure, TlsSession},
    },
    wire::{
        dns::Query,
        http2::{END_HEADERS, END_STREAM, Frame, Kind, PADDED, literal},
    },
};

const TCP: &str = "evtdig -t --qbuf -h 192.0.2.53";
const TLS: &str = "evtdig --tls -h 192.0.2.53";
const HTTPS: &str = "evtdig --https --sni-cert-name dns.example -h 192.0.2.53";

/// Connecting.
fn connecting(command: &str) -> Script {
    let mut script = Script::new(command);
    script.resolved(&["192.0.2.53"]);
    script
}

impl Script {
    fn connected(&mut self, alpn: Option<&[u8]>) -> &mut Self {
        let on = self.opened_handle();
        let alpn = alpn.map(<[u8]>::to_vec);
        self.after(10).tell(Input::Connected {
            on,
            local: "198.51.100.7:4000".parse().unwrap(),
            handshake: None,
            tls: Some(TlsSession {
                alpn,
                ..TlsSession::default()
            }),
        })
    }

    /// The bytes that are written, which the kernel takes.
    fn written(&mut self) -> Vec<u8> {
        let Some(Output::Write { on, bytes }) = self.outputs.first().cloned() else {
            panic!("nothing written: {:?}", self.outputs);
        };
        self.after(10).tell(Input::Written { on });
        assert_eq!(self.outputs, [Output::Await { on }]);
        bytes
    }

    /// These pieces arrive, each at a time of its own.
    fn read(&mut self, pieces: &[&[u8]]) -> &mut Self {
        for piece in pieces {
            let [Output::Await { on }] = self.outputs[..] else {
                panic!("not waiting to read: {:?}", self.outputs);
            };
            self.after(10).tell(Input::Readable { on });
            let mut rest = *piece;
            while let [Output::Read { max, .. }] = self.outputs[..] {
                let (bytes, more) = rest.split_at(rest.len().min(max));
                rest = more;
                let bytes = bytes.to_vec();
                self.tell(Input::Read { on, bytes });
            }
        }
        self
    }
}

/// Connected, asked, and waiting: the script and the query without its length.
fn reading(command: &str) -> (Script, Vec<u8>) {
    let mut script = connecting(command);
    let bytes = script.connected(Some(b"h2")).written();
    let query = if command.contains("https") {
        let start = bytes.len() - 31;
        bytes[start..].to_vec()
    } else {
        let (length, query) = bytes.split_first_chunk::<2>().unwrap();
        assert_eq!(usize::from(u16::from_be_bytes(*length)), query.len());
        query.to_vec()
    };
    assert!(Query::parse(&query).is_some());
    (script, query)
}

fn framed(message: &[u8]) -> Vec<u8> {
    let length = u16::try_from(message.len()).unwrap().to_be_bytes();
    [&length[..], message].concat()
}

fn errors_end(script: &Script, item: &str) {
    let line = script.line();
    assert!(
        line.ends_with(&format!(" , \"error\" : {item} }}")),
        "{line}"
    );
}

#[test]
fn a_query_and_its_reply_over_tcp() {
    let (mut script, query) = reading(TCP);
    script.read(&[&framed(&answer(&query))]);
    assert_eq!(script.outputs[0], Output::Close { on: Handle(1) });
    assert!(script.outcome().answered);
    let line = script.line();
    let start = r#""time" : 1700000000 , "lts" : 12 , "dst_addr" : "192.0.2.53" , "dst_port" : "53" , "af" : 4 , "src_addr" : "198.51.100.7" , "proto" : "TCP" ,"qbuf" : ""#;
    assert!(line.starts_with(start), "{line}");
    assert!(
        line.contains(r#","result" : { "rt" : 30.000,"qt" : 10.000,"size" : 31 , "abuf""#),
        "{line}"
    );
    assert_eq!(script.body().counts.sent_bytes, 33);
}

#[test]
fn a_reply_counts_from_when_the_connection_was_asked_for_to_its_last_bytes() {
    let mut script = connecting(TLS);
    let on = script.opened_handle();
    // Making TLS ready took 40 ms, which are not the network's.
    script.after(40).tell(Input::Stamped { on, tag: 0 });
    assert_eq!(script.outputs, []);
    script.tell(Input::Stamped {
        on: Handle(77),
        tag: 0,
    });
    script.after(10).tell(Input::Connected {
        on,
        local: "198.51.100.7:4000".parse().unwrap(),
        handshake: None,
        tls: None,
    });
    let query = script.written();
    let reply = framed(&answer(&query[2..]));
    script.after(10).tell(Input::Readable { on });
    let bytes = reply[..20].to_vec();
    script.tell(Input::Read { on, bytes });
    // More was at hand, and arrived 5 ms after what was noticed first.
    let bytes = reply[20..].to_vec();
    script.after(5).tell(Input::Read { on, bytes });
    let line = script.line();
    assert!(
        line.contains(r#""rt" : 35.000,"qt" : 15.000,"size" : 31 "#),
        "{line}"
    );
}

#[test]
fn what_the_transports_ask_of_tls() {
    let tls = |command: &str| match &connecting(command).outputs[0] {
        Output::Connect { stream, .. } => (stream.to.port(), stream.tls.clone()),
        other => panic!("{other:?}"),
    };
    assert_eq!(tls(TCP), (53, None));
    assert_eq!(tls(TLS), (853, Some(Tls::default())));
    let named = Some("dns.example".to_owned());
    let expected = Tls {
        sni: named.clone(),
        ..Tls::default()
    };
    assert_eq!(
        tls(&TLS.replace("--tls", "--tls --sni-cert-name dns.example")),
        (853, Some(expected)),
        "never verified"
    );
    let expected = Tls {
        sni: named.clone(),
        alpn: vec![b"h2".to_vec()],
        verify: named,
        ..Tls::default()
    };
    assert_eq!(tls(HTTPS), (443, Some(expected)));
    let expected = Tls {
        alpn: vec![b"h2".to_vec()],
        ..Tls::default()
    };
    assert_eq!(tls("evtdig --https -h 192.0.2.53"), (443, Some(expected)));
}

#[test]
fn the_tls_library_is_named_once_tls_was_tried() {
    let (mut script, query) = reading(TLS);
    script.read(&[&framed(&answer(&query))]);
    assert!(
        script.line().contains(r#" , "sslvers" : "rustls 0."#),
        "{}",
        script.line()
    );
    let mut script = Script::new(TLS);
    script.tell(Input::Resolved(Err(ResolveError::Failed)));
    assert!(!script.line().contains("sslvers"));
}

#[test]
fn a_reply_in_any_pieces_is_a_reply() {
    let (mut script, query) = reading(TCP);
    let bytes = framed(&answer(&query));
    let pieces: Vec<&[u8]> = bytes.chunks(1).collect();
    script.read(&pieces);
    let entry = script.entry();
    assert_eq!(entry.reply.unwrap().message, answer(&query));
    assert_eq!(entry.errors, []);
}

#[test]
fn bytes_behind_the_reply_do_not_matter() {
    let (mut script, query) = reading(TCP);
    script.read(&[&[framed(&answer(&query)), vec![0; 700]].concat()]);
    assert_eq!(script.entry().reply.unwrap().message, answer(&query));
}

#[test]
fn nothing_to_read_is_no_end() {
    let (mut script, query) = reading(TCP);
    script.read(&[&[]]);
    assert_eq!(script.outputs, [Output::Await { on: Handle(1) }]);
    script.read(&[&framed(&answer(&query))]);
    assert!(script.outcome().answered);
}

#[test]
fn lengths_that_no_reply_has() {
    for length in [0, 11] {
        let (mut script, _) = reading("evtdig -t --retry 5 -h 192.0.2.53");
        script.read(&[&[0, length]]);
        errors_end(
            &script,
            &format!(r#"{{ "TCPREADSIZE" :  "reply too small, got {length}"}}"#),
        );
    }
}

#[test]
fn another_id_is_told_with_the_size_of_the_last_piece() {
    for (size, figure) in [
        (12, 12),
        (255, 255),
        (256, 256),
        (257, 1),
        (300, 44),
        (512, 256),
    ] {
        let (mut script, query) = reading(TCP);
        let mut reply = answer(&query);
        reply[0] ^= 1;
        reply.resize(size, 0);
        script.read(&[&framed(&reply)]);
        errors_end(
            &script,
            &format!(r#"{{  "idmismatch" : "mismatch id from tcp fd {figure}"}}"#),
        );
    }
}

#[test]
fn a_connection_that_ends_before_the_reply() {
    for errno in [None, Some(104)] {
        let (mut script, query) = reading(TCP);
        script.read(&[&framed(&query)[..20]]);
        script.tell(Input::Ended {
            on: Handle(1),
            errno,
        });
        errors_end(&script, r#"{ "TU_READ_ERR" : ""}"#);
    }
    let mut script = connecting(TCP);
    script.connected(None);
    let cause = Failure::Os {
        call: Call::Write,
        errno: 32,
    };
    script.tell(Input::Failed {
        on: Handle(1),
        tag: None,
        cause,
    });
    errors_end(&script, r#"{ "TU_READ_ERR" : ""}"#);
}

#[test]
fn five_seconds_for_everything_whatever_is_printed() {
    let mut script = connecting("evtdig -t --timeout 900 -h 192.0.2.53");
    assert_eq!(script.machine.deadline(), Some(Tick::from_millis(6000)));
    script.connected(None).written();
    assert_eq!(script.machine.deadline(), Some(Tick::from_millis(6000)));
    script.deadline();
    errors_end(&script, r#"{ "timeout" : 900}"#);
}

#[test]
fn connections_that_do_not_come_about() {
    let os = |call, errno| Failure::Os { call, errno };
    for (command, cause, item) in [
        (
            TCP,
            os(Call::Connect, 111),
            r#"{ "TUCONNECT" : "Connection refused"}"#,
        ),
        (
            TCP,
            os(Call::Socket, 13),
            r#"{ "TUSOCKET" : "socket call failed"}"#,
        ),
        (
            TCP,
            Failure::Bind,
            r#"{ "TUSOCKET" : "bind_interface failed"}"#,
        ),
        (
            TCP,
            Failure::Forbidden("192.0.2.53".parse().unwrap()),
            r#"{ "TU_BAD_ADDR" : true}"#,
        ),
        (
            TLS,
            os(Call::Connect, 113),
            r#"{ "TUCONNECT" : "No route to host"}"#,
        ),
        (
            TLS,
            Failure::Tls(TlsFailure::NotTls),
            r#"{ "TUCONNECT" : "the server does not speak TLS"}"#,
        ),
        (
            HTTPS,
            Failure::Tls(TlsFailure::Certificate("expired".to_owned())),
            r#"{ "TUCONNECT" : "expired"}"#,
        ),
    ] {
        let mut script = connecting(command);
        script.tell(Input::Failed {
            on: Handle(1),
            tag: None,
            cause,
        });
        errors_end(&script, item);
        let line = script.line();
        assert!(
            line.contains(r#""dst_addr" : "192.0.2.53" ,"#) && !line.contains("src_addr"),
            "{line}"
        );
    }
}

#[test]
fn a_long_text_of_the_tls_library_is_cut() {
    let mut script = connecting(TLS);
    script.tell(Input::Failed {
        on: Handle(1),
        tag: None,
        cause: Failure::Tls(TlsFailure::Other("é".repeat(60))),
    });
    assert_eq!(script.entry().errors, [Error::Connect("é".repeat(39))]);
}

#[test]
fn errors_are_repeated_at_once_and_only_the_last_attempt_is_told() {
    let mut script = Script::new("evtdig -t --retry 2 -h ns.example.net");
    script.tell(Input::Resolved(Err(ResolveError::Failed)));
    assert!(matches!(
        script.outputs[..],
        [Output::Seen(_), Output::Resolve { .. }]
    ));
    let on = script
        .resolved(&["192.0.2.53", "192.0.2.54"])
        .opened_handle();
    let cause = Failure::Os {
        call: Call::Connect,
        errno: 111,
    };
    script.tell(Input::Failed {
        on,
        tag: None,
        cause,
    });
    assert!(matches!(
        script.outputs[..],
        [
            Output::Close { .. },
            Output::Seen(_),
            Output::Resolve { .. }
        ]
    ));
    script.resolved(&["192.0.2.53"]);
    script.connected(None).written();
    script.tell(Input::Ended {
        on: script.handle(),
        errno: None,
    });
    let line = script.line();
    let end = r#""dst_name" : "ns.example.net" , "dst_addr" : "192.0.2.53" , "dst_port" : "53" , "af" : 4 , "src_addr" : "198.51.100.7" , "retry" : 2 , "proto" : "TCP" , "error" : { "TU_READ_ERR" : ""} }"#;
    assert!(line.ends_with(end), "{line}");
}

impl Script {
    /// The handle that was waited on last.
    fn handle(&self) -> Handle {
        match self.outputs[..] {
            [Output::Await { on }] => on,
            _ => panic!("{:?}", self.outputs),
        }
    }
}

#[test]
fn endless_repeats_do_not_spin() {
    let mut script = Script::new("evtdig -t --retry 4000000000 -h ns.example.net");
    let mut at_once = 0;
    while script.machine.deadline().is_none() {
        script.tell(Input::Resolved(Err(ResolveError::Failed)));
        at_once += 1;
    }
    assert_eq!(at_once, 17);
}

#[test]
fn a_failed_resolution_names_no_address() {
    let mut script = Script::new(TCP);
    script.tell(Input::Resolved(Err(ResolveError::NotKnown)));
    let end = r#""dst_name" : "192.0.2.53" , "proto" : "TCP" , "error" : { "TUDNS" : "nodename nor servname provided, or not known"} }"#;
    assert!(script.line().ends_with(end), "{}", script.line());
}

#[test]
fn the_client_subnet_follows_the_options() {
    for (words, family) in [("-t -4", 1), ("-t -6", 2), ("-t -a", 2), ("-t", 1)] {
        let (script, query) = reading(&format!("evtdig {words} --client-subnet -h 192.0.2.53"));
        drop(script);
        let options = Query::parse(&query).unwrap().opt.unwrap().options;
        assert_eq!(options, [(8, vec![0, family, 0, 0])], "{words}");
    }
}

#[test]
fn cookies_work_over_tcp_as_well() {
    let (_, query) = reading("evtdig -t --cookies -h 192.0.2.53");
    let options = Query::parse(&query).unwrap().opt.unwrap().options;
    assert_eq!((options[0].0, options[0].1.len()), (10, 8));
}

#[test]
fn the_batch_of_a_request_is_exact() {
    let mut block = Vec::new();
    for (name, value) in [
        (":method", "POST"),
        (":scheme", "https"),
        (":authority", "dns.example"),
        (":path", "/dns-query"),
        ("user-agent", "RIPE Atlas"),
        ("accept", "application/dns-message"),
        ("content-type", "application/dns-message"),
        ("content-length", "4"),
    ] {
        block.push(0x10);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).unwrap());
            block.extend(text.as_bytes());
        }
    }
    let expected = [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        &b"\0\0\x06\x04\0\0\0\0\0\0\x02\0\0\0\0"[..],
        &[0, 0, u8::try_from(block.len()).unwrap(), 1, 4, 0, 0, 0, 1],
        &block,
        b"\0\0\x04\0\x01\0\0\0\x01quer",
    ]
    .concat();
    assert_eq!(doh::request("dns.example", "/dns-query", b"quer"), expected);
}

#[test]
fn the_authority_carries_an_unusual_port() {
    let authority = |command: &str| {
        let bytes = connecting(command).connected(Some(b"h2")).written();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let (_, rest) = text.split_once(":authority").unwrap();
        let (value, _) = rest[1..].split_once('\u{10}').unwrap();
        value.to_owned()
    };
    assert_eq!(authority(HTTPS), "dns.example");
    assert_eq!(
        authority(&HTTPS.replace(" -h", " --port 8443 -h")),
        "dns.example:8443"
    );
    assert_eq!(authority("evtdig --https -h 192.0.2.53"), "192.0.2.53");
    assert_eq!(
        authority("evtdig --https -6 --port 8443 -h 2001:db8::1"),
        "[2001:db8::1]:8443"
    );
}

#[test]
fn a_server_that_does_not_choose_http2() {
    for (alpn, text) in [
        (None, "server does not offer 'h2' ALPN"),
        (Some(&b"http/1.1"[..]), "server offers wrong ALPN"),
    ] {
        let mut script = connecting(HTTPS);
        script.connected(alpn);
        errors_end(&script, &format!(r#"{{ "TUCONNECT" : "{text}"}}"#));
        assert!(!script.line().contains("src_addr"));
    }
}

fn frame(kind: Kind, flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut wire = Vec::new();
    let stream = match kind {
        Kind::Settings | Kind::Ping | Kind::GoAway => 0,
        _ => 1,
    };
    let payload = payload.to_vec();
    Frame {
        kind,
        flags,
        stream,
        payload,
    }
    .emit(&mut wire);
    wire
}

fn block(status: &str, content: &str) -> Vec<u8> {
    let mut block = Vec::new();
    literal(":status", status, &mut block);
    literal("content-type", content, &mut block);
    block
}

/// HEADERS of a response with a DNS message.
fn headers(status: &str) -> Vec<u8> {
    frame(
        Kind::Headers,
        END_HEADERS,
        &block(status, "application/dns-message"),
    )
}

#[test]
fn a_query_and_its_reply_over_https() {
    let (mut script, query) = reading(HTTPS);
    let reply = answer(&query);
    script.read(&[
        &frame(Kind::Settings, 0, &[0, 3, 0, 0, 0, 100]),
        &frame(Kind::WindowUpdate, 0, &[0, 0, 1, 0]),
        &frame(Kind::Ping, 0, b"12345678"),
        &headers("200"),
        &frame(Kind::Data, END_STREAM, &reply),
    ]);
    let entry = script.entry();
    assert_eq!(entry.errors, []);
    assert_eq!(entry.reply.unwrap().message, reply);
    assert_eq!(script.body().counts.sent, 0, "statistics leave HTTPS out");
    assert!(
        script.line().contains(r#""dst_port" : "443""#),
        "{}",
        script.line()
    );
}

/// The error that comes of this response, as the line has it.
fn response_error(frames: &[Vec<u8>]) -> String {
    let (mut script, _) = reading(HTTPS);
    script.read(&[&frames.concat()]);
    let line = script.line();
    let (_, error) = line.split_once(r#""error" : "#).unwrap();
    error.strip_suffix(" }").unwrap().to_owned()
}

#[test]
fn responses_that_are_no_replies() {
    let broken = r#"{ "TCPREAD" :  "http2_dns_input failed"}"#;
    let body = frame(Kind::Data, END_STREAM, b"body");
    for (frames, error) in [
        (
            vec![headers("404"), body.clone()],
            r#"{  "error" : "http2 request failed with 404"}"#,
        ),
        (
            vec![headers("200"), body.clone()],
            r#"{  "idmismatch" : "mismatch id from http2"}"#,
        ),
        (
            vec![headers("200"), frame(Kind::Data, END_STREAM, b"")],
            r#"{  "idmismatch" : "mismatch id from http2"}"#,
        ),
        (
            vec![
                frame(Kind::Headers, END_HEADERS, &block("200", "text/html")),
                body.clone(),
            ],
            r#"{  "error" : "http2 content is not application/dns-message"}"#,
        ),
        (vec![headers("2x0")], broken),
        (vec![frame(Kind::Headers, END_HEADERS, &[0x80])], broken),
        (
            vec![frame(Kind::PushPromise, END_HEADERS, &[0, 0, 0, 2])],
            broken,
        ),
        (vec![frame(Kind::Settings, 0, &[0])], broken),
        (vec![frame(Kind::Ping, 0, &[0])], broken),
        (vec![frame(Kind::Continuation, END_HEADERS, &[])], broken),
        (
            vec![frame(Kind::Headers, 0, &[]), frame(Kind::Ping, 0, &[0; 8])],
            broken,
        ),
        (vec![frame(Kind::Data, PADDED, &[5])], broken),
        (vec![vec![0x7f, 0xff, 0xff, 0, 0, 0, 0, 0, 1]], broken),
        (vec![b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()], broken),
        (
            [
                vec![headers("200")],
                vec![frame(Kind::Data, 0, &[0; 16_384]); 4],
            ]
            .concat(),
            broken,
        ),
    ] {
        assert_eq!(response_error(&frames), error);
    }
}

#[test]
fn frames_on_other_streams_are_refused() {
    for kind in [Kind::Data, Kind::Headers] {
        let mut wire = Vec::new();
        let other = Frame {
            kind,
            flags: END_HEADERS,
            stream: 3,
            payload: vec![],
        };
        other.emit(&mut wire);
        assert_eq!(
            response_error(&[wire]),
            r#"{ "TCPREAD" :  "http2_dns_input failed"}"#
        );
    }
}

#[test]
fn a_conforming_response_of_any_shape_is_a_reply() {
    let (_, query) = reading(HTTPS);
    let reply = answer(&query);
    let (first, second) = reply.split_at(7);
    let whole = block("200", " Application/DNS-Message ; charset=x");
    let (start, end) = whole.split_at(9);
    let data = frame(Kind::Data, END_STREAM, &reply);
    for frames in [
        vec![
            frame(Kind::Headers, 0, start),
            frame(Kind::Continuation, END_HEADERS, end),
            data.clone(),
        ],
        vec![
            headers("200"),
            frame(Kind::Data, 0, first),
            frame(Kind::Data, END_STREAM, second),
        ],
        vec![
            headers("200"),
            frame(Kind::Data, 0, &reply),
            frame(Kind::Data, END_STREAM, b""),
        ],
        vec![
            headers("200"),
            frame(
                Kind::Data,
                PADDED | END_STREAM,
                &[&[2][..], &reply, &[0, 0]].concat(),
            ),
        ],
        vec![headers("103"), headers("200"), data.clone()],
        vec![
            frame(Kind::Unknown(0xaa), 0, b"grease"),
            frame(Kind::Priority, 0, &[0; 5]),
            headers("200"),
            data.clone(),
        ],
        vec![
            headers("200"),
            frame(Kind::Data, 0, &reply),
            frame(Kind::Headers, END_HEADERS | END_STREAM, &[]),
        ],
        vec![
            frame(
                Kind::Headers,
                END_HEADERS,
                &[b"\x20", &block("200", "application/dns-message")[..]].concat(),
            ),
            data,
        ],
    ] {
        let (mut script, _) = reading(HTTPS);
        script.read(&[&frames.concat()]);
        assert_eq!(script.entry().reply.unwrap().message, reply);
    }
}

#[test]
fn a_response_of_headers_alone_is_waited_on() {
    let (mut script, _) = reading(HTTPS);
    let bare = frame(
        Kind::Headers,
        END_HEADERS | END_STREAM,
        &block("404", "text/html"),
    );
    script.read(&[&bare]);
    script.deadline();
    errors_end(&script, r#"{ "timeout" : 5000}"#);
}

#[test]
fn a_body_shorter_than_a_header_is_told_with_its_size() {
    let (mut script, query) = reading(HTTPS);
    script.read(&[&headers("200"), &frame(Kind::Data, END_STREAM, &query[..3])]);
    let line = script.line();
    assert!(
        line.contains(r#""size" : 3 , "abuf" : "#) && !line.contains("ANCOUNT"),
        "{line}"
    );
}

proptest! {
    #[test]
    fn a_response_gives_the_same_however_it_is_cut(
        cuts in prop::collection::vec(1usize..40, 0..60),
        garbage in prop::collection::vec(any::<u8>(), 0..60),
        at in any::<prop::sample::Index>(),
    ) {
        let (_, query) = reading(HTTPS);
        let mut bytes = [headers("200"), frame(Kind::Data, END_STREAM, &answer(&query))].concat();
        let at = at.index(bytes.len());
        for (place, byte) in bytes[at..].iter_mut().zip(&garbage) {
            *place = *byte;
        }
        let mut whole = doh::Exchange::default();
        let expected = whole.feed(&bytes);
        let mut cut = doh::Exchange::default();
        let mut rest = &bytes[..];
        let mut lengths = cuts.into_iter();
        let mut got = Ok(None);
        while !rest.is_empty() && got == Ok(None) {
            let (piece, more) = rest.split_at(lengths.next().unwrap_or(40).min(rest.len()));
            got = cut.feed(piece);
            rest = more;
        }
        prop_assert_eq!(got, expected);
    }
}
