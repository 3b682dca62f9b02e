//! Queries and replies over HTTP/2.

use super::*;

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
