//! RESULT lines against the examples of `dns-measurement` section 10 and of the protocol reference, and what must
//! hold for any.

use base64::{Engine, engine::general_purpose::STANDARD};
use proptest::prelude::*;

use super::{entry, head, reply};
use crate::{
    clock::UnixTime,
    dialect::Dialect,
    measurement::{
        Head, Version,
        dns::{Body, Counts, Destination, Entry, Error, Protocol, Reply},
    },
};

const NOT_KNOWN: &str = "nodename nor servname provided, or not known";

/// The line of one entry in the `reference` dialect, without its line end.
fn line(id: &str, entry: Entry) -> String {
    let body = Body {
        resolvers: entry.place.is_some(),
        entries: vec![entry],
        counts: Counts::default(),
    };
    let line = body.line(&head(id), Dialect::Reference);
    line.strip_suffix('\n').unwrap().to_owned()
}

fn decoded(abuf: &str) -> Vec<u8> {
    STANDARD.decode(abuf).unwrap()
}

/// `192.0.2.53` was tried from `198.51.100.7`.
fn tried() -> Entry {
    Entry {
        server: Some("192.0.2.53".to_owned()),
        destination: Some(Destination {
            address: "192.0.2.53".to_owned(),
            port: "53".to_owned(),
            family: 4,
        }),
        source: Some("198.51.100.7".to_owned()),
        ..entry()
    }
}

fn over_tcp(entry: Entry, port: &str) -> Entry {
    let mut entry = entry;
    entry.protocol = Protocol::Tcp;
    if let Some(to) = &mut entry.destination {
        to.port = port.to_owned();
    }
    entry
}

#[test]
fn an_answer_in_text() {
    let entry = Entry {
        reply: Some(reply(
            29.846,
            "vu+EAAABAAEAAAAACGhvc3RuYW1lBGJpbmQAABAAA8AMABAAAwAAAAAADQxuczFhLmV4YW1wbGU=",
        )),
        ..tried()
    };
    let expected = r#"RESULT { "id" : "1001" , "fw":5120, "mver": "2.6.4", "time" : 1700000000 , "lts" : 12 , "dst_addr" : "192.0.2.53" , "dst_port" : "53" , "af" : 4 , "src_addr" : "198.51.100.7" , "proto" : "UDP" ,"result" : { "rt" : 29.846,"size" : 56 , "abuf" : "vu+EAAABAAEAAAAACGhvc3RuYW1lBGJpbmQAABAAA8AMABAAAwAAAAAADQxuczFhLmV4YW1wbGU=","ID" : 48879 , "ANCOUNT" : 1 , "QDCOUNT" : 1 , "NSCOUNT" : 0 , "ARCOUNT" : 0,"answers" : [ {"TYPE" : "TXT" , "NAME" : "hostname.bind" , "RDATA" : [ "ns1a.example" ] } ] } }"#;
    assert_eq!(line("1001", entry), expected);
}

#[test]
fn a_start_of_authority_from_a_named_server() {
    let entry = Entry {
        server: Some("ns.example.net".to_owned()),
        destination: Some(Destination {
            address: "2001:db8::53".to_owned(),
            port: "53".to_owned(),
            family: 6,
        }),
        source: Some("2001:db8:1::7".to_owned()),
        reply: Some(reply(
            4.218,
            "EjSEAAABAAEAAAAAB2V4YW1wbGUDY29tAAAGAAHADAAGAAEAAA4QACECbnPADAVhZG1pbsAMeKPxdAAAHCAAAA4QABJ1AAAADhA=",
        )),
        ..entry()
    };
    let expected = r#"RESULT { "id" : "1002" , "fw":5120, "mver": "2.6.4", "time" : 1700000000 , "lts" : 12 , "name" : "ns.example.net" , "dst_addr" : "2001:db8::53" , "dst_port" : "53" , "af" : 6 , "src_addr" : "2001:db8:1::7" , "proto" : "UDP" ,"result" : { "rt" : 4.218,"size" : 74 , "abuf" : "EjSEAAABAAEAAAAAB2V4YW1wbGUDY29tAAAGAAHADAAGAAEAAA4QACECbnPADAVhZG1pbsAMeKPxdAAAHCAAAA4QABJ1AAAADhA=","ID" : 4660 , "ANCOUNT" : 1 , "QDCOUNT" : 1 , "NSCOUNT" : 0 , "ARCOUNT" : 0,"answers" : [ { "TYPE" : "SOA" , "NAME" : "example.com." , "TTL" : 3600 , "MNAME" : "ns.example.com." , "RNAME" : "admin.example.com." , "SERIAL" : 2024010100 }  ] } }"#;
    assert_eq!(line("1002", entry), expected);
}

#[test]
fn a_bundle_and_the_query_over_tcp() {
    let entry = Entry {
        query: Some(decoded(
            "EjUAAAABAAAAAAABA3d3dwdleGFtcGxlA2NvbQAAAQABAAApAgAAAAAAAAQAAwAA",
        )),
        reply: Some(Reply {
            qt: Some(12.316),
            ..reply(
                24.907,
                "EjWEAAABAAEAAAAAA3d3dwdleGFtcGxlA2NvbQAAAQABwAwAAQABAAABLAAEwAACUA==",
            )
        }),
        ..over_tcp(tried(), "53")
    };
    let body = Body {
        resolvers: false,
        entries: vec![entry],
        counts: Counts::default(),
    };
    let head = Head {
        bundle: Some("44".to_owned()),
        ..head("1003")
    };
    let expected = r#"RESULT { "id" : "1003" , "bundle" : 44 , "fw":5120, "mver": "2.6.4", "time" : 1700000000 , "lts" : 12 , "dst_addr" : "192.0.2.53" , "dst_port" : "53" , "af" : 4 , "src_addr" : "198.51.100.7" , "proto" : "TCP" ,"qbuf" : "EjUAAAABAAAAAAABA3d3dwdleGFtcGxlA2NvbQAAAQABAAApAgAAAAAAAAQAAwAA" ,"result" : { "rt" : 24.907,"qt" : 12.316,"size" : 49 , "abuf" : "EjWEAAABAAEAAAAAA3d3dwdleGFtcGxlA2NvbQAAAQABwAwAAQABAAABLAAEwAACUA==","ID" : 4661 , "ANCOUNT" : 1 , "QDCOUNT" : 1 , "NSCOUNT" : 0 , "ARCOUNT" : 0 } }"#;
    assert_eq!(
        body.line(&head, Dialect::Reference),
        format!("{expected}\n")
    );
}

#[test]
fn tls_names_its_library_and_the_reply_may_be_left_out() {
    let mut message =
        decoded("EjWEAAABAAEAAAAAA3d3dwdleGFtcGxlA2NvbQAAAQABwAwAAQABAAABLAAEwAACUA==");
    message[..2].copy_from_slice(&4662u16.to_be_bytes());
    let entry = Entry {
        tls: Some("OpenSSL 3.0.13 30 Jan 2024"),
        reply: Some(Reply {
            rt: 61.2,
            qt: Some(43.009),
            message,
            abuf: false,
            cookie_mismatch: false,
        }),
        ..over_tcp(tried(), "853")
    };
    let expected = r#"RESULT { "id" : "1004" , "fw":5120, "mver": "2.6.4", "time" : 1700000000 , "lts" : 12 , "sslvers" : "OpenSSL 3.0.13 30 Jan 2024" , "dst_addr" : "192.0.2.53" , "dst_port" : "853" , "af" : 4 , "src_addr" : "198.51.100.7" , "proto" : "TCP" ,"result" : { "rt" : 61.200,"qt" : 43.009,"size" : 49 ,"ID" : 4662 , "ANCOUNT" : 1 , "QDCOUNT" : 1 , "NSCOUNT" : 0 , "ARCOUNT" : 0 } }"#;
    assert_eq!(line("1004", entry), expected);
}

#[test]
fn a_time_out_after_repeats() {
    let entry = Entry {
        retries: 2,
        ttl: Some(57),
        query: Some(decoded("EjcAAAABAAAAAAAAA3d3dwdleGFtcGxlA2NvbQAAAQAB")),
        errors: vec![Error::Timeout(5000)],
        ..tried()
    };
    let expected = r#"RESULT { "id" : "1005" , "fw":5120, "mver": "2.6.4", "time" : 1700000000 , "lts" : 12 , "dst_addr" : "192.0.2.53" , "dst_port" : "53" , "af" : 4 , "src_addr" : "198.51.100.7" , "retry" : 2 , "ttl" : 57 , "proto" : "UDP" ,"qbuf" : "EjcAAAABAAAAAAAAA3d3dwdleGFtcGxlA2NvbQAAAQAB" , "error" : { "timeout" : 5000} }"#;
    assert_eq!(line("1005", entry), expected);
}

#[test]
fn a_server_that_is_not_found() {
    let entry = Entry {
        server: Some("ns.example.net".to_owned()),
        errors: vec![Error::Resolution(
            "ns.example.net".to_owned(),
            NOT_KNOWN.to_owned(),
        )],
        ..entry()
    };
    let expected = r#"RESULT { "id" : "1006" , "fw":5120, "mver": "2.6.4", "time" : 1700000000 , "lts" : 12 , "dst_name" : "ns.example.net" , "proto" : "UDP" , "error" : {"evdns_getaddrinfo": "ns.example.net nodename nor servname provided, or not known"} }"#;
    assert_eq!(line("1006", entry), expected);
}

#[test]
fn no_route() {
    let entry = Entry {
        server: Some("2001:db8::53".to_owned()),
        errors: vec![Error::Unreachable("Network is unreachable".to_owned())],
        ..entry()
    };
    let expected = r#"RESULT { "id" : "1007" , "fw":5120, "mver": "2.6.4", "time" : 1700000000 , "lts" : 12 , "dst_name" : "2001:db8::53" , "proto" : "UDP" , "error" : { "socket" : "connect failed Network is unreachable"} }"#;
    assert_eq!(line("1007", entry), expected);
}

#[test]
fn a_refused_address() {
    let entry = Entry {
        server: Some("10.0.0.53".to_owned()),
        destination: Some(Destination {
            address: "10.0.0.53".to_owned(),
            port: "53".to_owned(),
            family: 4,
        }),
        errors: vec![Error::Forbidden],
        ..entry()
    };
    let expected = r#"RESULT { "id" : "1008" , "fw":5120, "mver": "2.6.4", "time" : 1700000000 , "lts" : 12 , "dst_addr" : "10.0.0.53" , "dst_port" : "53" , "af" : 4 , "proto" : "UDP" , "error" : { "reason" : "address not allowed"} }"#;
    assert_eq!(line("1008", entry), expected);
}

#[test]
fn a_send_error_before_a_time_out() {
    let entry = Entry {
        server: Some("ns.example.net".to_owned()),
        destination: Some(Destination {
            address: "192.0.2.54".to_owned(),
            port: "53".to_owned(),
            family: 4,
        }),
        errors: vec![
            Error::Send("Operation not permitted".to_owned(), true),
            Error::Timeout(5000),
        ],
        ..tried()
    };
    let expected = r#"RESULT { "id" : "1009" , "fw":5120, "mver": "2.6.4", "time" : 1700000000 , "lts" : 12 , "name" : "ns.example.net" , "dst_addr" : "192.0.2.54" , "dst_port" : "53" , "af" : 4 , "src_addr" : "198.51.100.7" , "proto" : "UDP" , "error" : { "senderror" : "AF Operation not permitted, AF_INET",  "timeout" : 5000} }"#;
    assert_eq!(line("1009", entry), expected);
}

#[test]
fn a_refused_connection() {
    let entry = Entry {
        source: None,
        errors: vec![Error::Connect("Connection refused".to_owned())],
        ..over_tcp(tried(), "53")
    };
    let expected = r#"RESULT { "id" : "1010" , "fw":5120, "mver": "2.6.4", "time" : 1700000000 , "lts" : 12 , "dst_addr" : "192.0.2.53" , "dst_port" : "53" , "af" : 4 , "proto" : "TCP" , "error" : { "TUCONNECT" : "Connection refused"} }"#;
    assert_eq!(line("1010", entry), expected);
}

#[test]
fn a_connection_closed_early_to_a_named_server() {
    let entry = Entry {
        server: Some("ns.example.net".to_owned()),
        retries: 2,
        errors: vec![Error::Closed],
        ..over_tcp(tried(), "53")
    };
    let expected = r#"RESULT { "id" : "1011" , "fw":5120, "mver": "2.6.4", "time" : 1700000000 , "lts" : 12 , "dst_name" : "ns.example.net" , "dst_addr" : "192.0.2.53" , "dst_port" : "53" , "af" : 4 , "src_addr" : "198.51.100.7" , "retry" : 2 , "proto" : "TCP" , "error" : { "TU_READ_ERR" : ""} }"#;
    assert_eq!(line("1011", entry), expected);
}

#[test]
fn another_query_answered() {
    let entry = Entry {
        errors: vec![Error::OtherId(44)],
        ..over_tcp(tried(), "53")
    };
    let expected = r#"RESULT { "id" : "1013" , "fw":5120, "mver": "2.6.4", "time" : 1700000000 , "lts" : 12 , "dst_addr" : "192.0.2.53" , "dst_port" : "53" , "af" : 4 , "src_addr" : "198.51.100.7" , "proto" : "TCP" , "error" : {  "idmismatch" : "mismatch id from tcp fd 44"} }"#;
    assert_eq!(line("1013", entry), expected);
}

#[test]
fn an_http_status() {
    let entry = Entry {
        tls: Some("OpenSSL 3.0.13 30 Jan 2024"),
        errors: vec![Error::HttpStatus(404)],
        ..over_tcp(tried(), "443")
    };
    let expected = r#"RESULT { "id" : "1014" , "fw":5120, "mver": "2.6.4", "time" : 1700000000 , "lts" : 12 , "sslvers" : "OpenSSL 3.0.13 30 Jan 2024" , "dst_addr" : "192.0.2.53" , "dst_port" : "443" , "af" : 4 , "src_addr" : "198.51.100.7" , "proto" : "TCP" , "error" : {  "error" : "http2 request failed with 404"} }"#;
    assert_eq!(line("1014", entry), expected);
}

#[test]
fn a_certificate_that_does_not_hold() {
    let entry = Entry {
        tls: Some("OpenSSL 3.0.13 30 Jan 2024"),
        source: None,
        errors: vec![Error::Connect(
            "error:0A000086:SSL routines::certificate verify failed".to_owned(),
        )],
        ..over_tcp(tried(), "443")
    };
    let expected = r#"RESULT { "id" : "1015" , "fw":5120, "mver": "2.6.4", "time" : 1700000000 , "lts" : 12 , "sslvers" : "OpenSSL 3.0.13 30 Jan 2024" , "dst_addr" : "192.0.2.53" , "dst_port" : "443" , "af" : 4 , "proto" : "TCP" , "error" : { "TUCONNECT" : "error:0A000086:SSL routines::certificate verify failed"} }"#;
    assert_eq!(line("1015", entry), expected);
}

#[test]
fn two_resolvers_of_which_one_is_silent() {
    let first = Entry {
        place: Some((1, 2)),
        server: Some("192.168.1.1".to_owned()),
        destination: Some(Destination {
            address: "192.168.1.1".to_owned(),
            port: "53".to_owned(),
            family: 4,
        }),
        source: Some("192.168.1.7".to_owned()),
        query: Some(decoded(
            "EjkBAAABAAAAAAAABzEwMDAxMjMQMDEyMzQ1Njc4OWFiY2RlZgdleGFtcGxlA2NvbQAAAQAB",
        )),
        reply: Some(reply(
            1.207,
            "EjmBgwABAAAAAAAABzEwMDAxMjMQMDEyMzQ1Njc4OWFiY2RlZgdleGFtcGxlA2NvbQAAAQAB",
        )),
        ..entry()
    };
    let second = Entry {
        time: 1_700_000_001,
        lts: 18,
        place: Some((2, 2)),
        server: Some("fe80::1%eth0".to_owned()),
        destination: Some(Destination {
            address: "fe80::1".to_owned(),
            port: "53".to_owned(),
            family: 6,
        }),
        source: Some("fe80::7%eth0".to_owned()),
        query: Some(decoded(
            "EjoBAAABAAAAAAAABzEwMDAxMjMQZmVkY2JhOTg3NjU0MzIxMAdleGFtcGxlA2NvbQAAAQAB",
        )),
        errors: vec![Error::Timeout(5000)],
        ..entry()
    };
    let body = Body {
        resolvers: true,
        entries: vec![first, second],
        counts: Counts::default(),
    };
    let expected = r#"RESULT { "id" : "1016" , "fw":5120, "mver": "2.6.4", "time" : 1700000000 , "lts" : 12 , "resultset" : [ {"time" : 1700000000 , "lts" : 12 , "subid" : 1 , "submax" : 2 , "dst_addr" : "192.168.1.1" , "dst_port" : "53" , "af" : 4 , "src_addr" : "192.168.1.7" , "proto" : "UDP" ,"qbuf" : "EjkBAAABAAAAAAAABzEwMDAxMjMQMDEyMzQ1Njc4OWFiY2RlZgdleGFtcGxlA2NvbQAAAQAB" ,"result" : { "rt" : 1.207,"size" : 54 , "abuf" : "EjmBgwABAAAAAAAABzEwMDAxMjMQMDEyMzQ1Njc4OWFiY2RlZgdleGFtcGxlA2NvbQAAAQAB","ID" : 4665 , "ANCOUNT" : 0 , "QDCOUNT" : 1 , "NSCOUNT" : 0 , "ARCOUNT" : 0 }},{"time" : 1700000001 , "lts" : 18 , "subid" : 2 , "submax" : 2 , "name" : "fe80::1%eth0" , "dst_addr" : "fe80::1" , "dst_port" : "53" , "af" : 6 , "src_addr" : "fe80::7%eth0" , "proto" : "UDP" ,"qbuf" : "EjoBAAABAAAAAAAABzEwMDAxMjMQZmVkY2JhOTg3NjU0MzIxMAdleGFtcGxlA2NvbQAAAQAB" , "error" : { "timeout" : 5000}}] }"#;
    assert_eq!(
        body.line(&head("1016"), Dialect::Reference),
        format!("{expected}\n")
    );
}

#[test]
fn no_resolver_to_ask() {
    let entry = Entry {
        place: Some((1, 0)),
        errors: vec![Error::NoResolvers],
        ..entry()
    };
    let expected = r#"RESULT { "id" : "1017" , "fw":5120, "mver": "2.6.4", "time" : 1700000000 , "lts" : 12 , "resultset" : [ {"time" : 1700000000 , "lts" : 12 , "subid" : 1 , "submax" : 0 , "proto" : "UDP" , "error" : {"nameserver": "no local resolvers found"}}] }"#;
    assert_eq!(line("1017", entry), expected);
}

#[test]
fn a_macro_that_is_none() {
    let entry = Entry {
        time: 0,
        server: Some("192.0.2.53".to_owned()),
        errors: vec![Error::Macro],
        ..entry()
    };
    let expected = r#"RESULT { "id" : "1018" , "fw":5120, "mver": "2.6.4", "time" : 0 , "lts" : 12 , "dst_name" : "192.0.2.53" , "proto" : "UDP" , "error" : {"err": "macro expansion failed"} }"#;
    assert_eq!(line("1018", entry), expected);
}

#[test]
fn a_name_that_cannot_be_encoded() {
    let entry = Entry {
        server: Some("192.0.2.53".to_owned()),
        source: Some("198.51.100.7".to_owned()),
        errors: vec![Error::Format],
        ..entry()
    };
    let expected = r#"RESULT { "id" : "1019" , "fw":5120, "mver": "2.6.4", "time" : 1700000000 , "lts" : 12 , "dst_name" : "192.0.2.53" , "src_addr" : "198.51.100.7" , "proto" : "UDP" , "error" : { "err" : "unable to format DNS query"} }"#;
    assert_eq!(line("1019", entry), expected);
}

#[test]
fn a_second_answer_cut_short_leaves_the_first_and_a_line_that_is_json() {
    let mut message = decoded("EjiEAAABAAIAAAAA");
    message.extend(b"\x01t\x07example\0\0\x10\0\x01");
    message.extend(b"\xc0\x0c\0\x10\0\x01\0\0\0\0\0\x09\x04a\"b\\\0\x02\x01\xff");
    message.extend(b"\xc0\x0c");
    let entry = Entry {
        reply: Some(Reply {
            rt: 1.5,
            qt: None,
            message,
            abuf: false,
            cookie_mismatch: false,
        }),
        ..tried()
    };
    let line = line("1020", entry);
    let answers = r#","answers" : [ {"TYPE" : "TXT" , "NAME" : "t.example" , "RDATA" : [ "a\\034b\\092", "", "\\001\\255" ] } ] } }"#;
    assert!(line.ends_with(answers), "{line}");
}

#[test]
fn the_other_errors_of_the_table() {
    for (error, udp, item) in [
        (
            Error::Socket("Permission denied".to_owned()),
            true,
            r#"{ "socket" : "socket failed Permission denied"}"#,
        ),
        (
            Error::Bind,
            true,
            r#"{ "socket" : "bind_interface failed"}"#,
        ),
        (
            Error::Send("Network is unreachable".to_owned(), false),
            true,
            r#"{ "senderror" : "AF Network is unreachable, NOT AF_INET"}"#,
        ),
        (
            Error::Resolution("x".to_owned(), NOT_KNOWN.to_owned()),
            false,
            r#"{ "TUDNS" : "nodename nor servname provided, or not known"}"#,
        ),
        (
            Error::Socket("x".to_owned()),
            false,
            r#"{ "TUSOCKET" : "socket call failed"}"#,
        ),
        (
            Error::Bind,
            false,
            r#"{ "TUSOCKET" : "bind_interface failed"}"#,
        ),
        (Error::Forbidden, false, r#"{ "TU_BAD_ADDR" : true}"#),
        (
            Error::TooSmall(11),
            false,
            r#"{ "TCPREADSIZE" :  "reply too small, got 11"}"#,
        ),
        (
            Error::Http2,
            false,
            r#"{ "TCPREAD" :  "http2_dns_input failed"}"#,
        ),
        (
            Error::OtherIdHttp2,
            false,
            r#"{  "idmismatch" : "mismatch id from http2"}"#,
        ),
    ] {
        let entry = Entry {
            protocol: if udp { Protocol::Udp } else { Protocol::Tcp },
            errors: vec![error],
            ..entry()
        };
        let line = line("1", entry);
        assert!(
            line.ends_with(&format!(
                r#" , "lts" : 12 , "proto" : "{}" , "error" : {item} }}"#,
                if udp { "UDP" } else { "TCP" }
            )),
            "{line}"
        );
    }
}

#[test]
fn without_an_id_there_is_neither_id_nor_bundle() {
    let body = Body {
        resolvers: false,
        entries: vec![tried()],
        counts: Counts::default(),
    };
    let head = Head {
        id: None,
        bundle: Some("44".to_owned()),
        version: Version::default(),
    };
    let line = body.line(&head, Dialect::Reference);
    assert!(
        line.starts_with(r#"RESULT { "fw":5120, "mver": "2.6.4", "time" : "#),
        "{line}"
    );
    let line = body.line(&head, Dialect::Starla);
    assert!(
        line.starts_with(r#"RESULT { "fw":5120, "mver": "2.6.4", "lts":12, "time":"#),
        "{line}"
    );
}

#[test]
fn a_cookie_that_is_not_ours_and_a_reply_over_https_without_a_header() {
    let entry = Entry {
        reply: Some(Reply {
            cookie_mismatch: true,
            message: vec![0x30, 0x39],
            ..reply(1.0, "")
        }),
        ..tried()
    };
    let end = r#","result" : { "rt" : 1.000,"size" : 2 , "abuf" : "MDk=", "client-cookie-mismatch" : true } }"#;
    let line = line("1", entry);
    assert!(line.ends_with(end), "{line}");
}

/// What the protocol reference prints, fed with the values that it prints.
#[test]
fn the_line_of_the_protocol_reference() {
    let entry = Entry {
        time: 1_775_314_719,
        lts: 51,
        server: Some("170.247.170.2".to_owned()),
        destination: Some(Destination {
            address: "170.247.170.2".to_owned(),
            port: "53".to_owned(),
            family: 4,
        }),
        source: Some("204.168.188.81".to_owned()),
        reply: Some(reply(
            29.846,
            "qr2AAAABAAEAAAAACGhvc3RuYW1lBGJpbmQAABAAA8AMABAAAwAAAAAABwZiNC1mcmE=",
        )),
        ..Entry::default()
    };
    assert_eq!(
        starla("10310", entry),
        include_str!("../../../../tests/golden/starla/dns.result")
    );
}

#[test]
fn the_time_out_of_the_protocol_reference() {
    let entry = Entry {
        errors: vec![Error::Timeout(5000)],
        ..tried()
    };
    assert_eq!(
        starla("1001", entry),
        include_str!("../../../../tests/golden/starla/dns-timeout.result")
    );
}

#[test]
fn what_the_protocol_reference_does_not_show_follows_its_spacing() {
    let entry = Entry {
        server: Some("ns.example.net".to_owned()),
        retries: 1,
        ttl: Some(57),
        errors: vec![
            Error::Send("Operation not permitted".to_owned(), true),
            Error::Timeout(900),
        ],
        query: Some(vec![0; 3]),
        place: Some((1, 1)),
        tls: Some("rustls 0"),
        ..tried()
    };
    assert_eq!(
        starla("7", entry),
        concat!(
            r#"RESULT { "id":"7", "fw":5120, "mver": "2.6.4", "lts":12, "time":1700000000, "resultset":[ { "#,
            r#""lts":12, "time":1700000000, "sslvers":"rustls 0", "subid":1, "submax":1, "dst_name":"ns.example.net", "#,
            r#""af":4, "dst_addr":"192.0.2.53", "dst_port":"53", "src_addr":"198.51.100.7", "retry":1, "proto":"UDP", "#,
            r#""ttl":57, "qbuf":"AAAA", "result": { "error":{"senderror":"AF Operation not permitted, AF_INET", "#,
            "\"timeout\":900} } } ] }\n"
        )
    );
}

fn starla(id: &str, entry: Entry) -> String {
    let body = Body {
        resolvers: entry.place.is_some(),
        entries: vec![entry],
        counts: Counts::default(),
    };
    body.line(&head(id), Dialect::Starla)
}

#[test]
fn the_statistics_line() {
    let mut counts = Counts {
        sent: 1,
        received: 2,
        sent_bytes: 3,
        received_bytes: 4,
        send_errors: 5,
        receive_errors: 6,
        timeouts: 7,
        short: 8,
        martians: 9,
    };
    let line = concat!(
        r#"RESULT { "id" : "9201" , "fw":5120, "mver": "2.6.4", "time" : 1700000000 , "sok" : 1 , "rok" : 2 , "#,
        r#""sent" : 3 , "recv" : 4 , "serr" : 5 , "rerr" : 6 , "timeout" : 7 , "short" : 8 , "martian" : 9 , "#,
        "\"q\" : 10 }\n"
    );
    let now = UnixTime::from_secs(1_700_000_000);
    assert_eq!(counts.line(&Version::default(), now, 10), line);
    counts += counts;
    assert_eq!((counts.sent, counts.martians), (2, 18));
}

fn json(line: &str) -> serde_json::Value {
    let object = line
        .strip_prefix("RESULT ")
        .and_then(|line| line.strip_suffix('\n'));
    serde_json::from_str(object.unwrap()).unwrap_or_else(|error| panic!("{error}: {line}"))
}

fn any_error() -> impl Strategy<Value = Error> {
    ("\\PC{0,8}", any::<u16>(), 0..8).prop_map(|(text, number, which)| match which {
        0 => Error::Resolution(text, "x\"".to_owned()),
        1 => Error::Connect(text),
        2 => Error::Send(text, true),
        3 => Error::Timeout(number.into()),
        4 => Error::HttpStatus(number),
        5 => Error::Socket(text),
        6 => Error::TooSmall(number),
        _ => Error::OtherId(number.into()),
    })
}

/// A reply such as servers send, with some bytes changed and its end cut.
fn mutated_reply() -> impl Strategy<Value = Vec<u8>> {
    let start = prop::sample::select(vec![
        "EjSEAAABAAEAAAAAB2V4YW1wbGUDY29tAAAGAAHADAAGAAEAAA4QACECbnPADAVhZG1pbsAMeKPxdAAAHCAAAA4QABJ1AAAADhA=",
        "vu+EAAABAAEAAAAACGhvc3RuYW1lBGJpbmQAABAAA8AMABAAAwAAAAAADQxuczFhLmV4YW1wbGU=",
    ]);
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..12);
    (start, changes, any::<prop::sample::Index>(), any::<bool>()).prop_map(
        |(start, changes, cut, whole)| {
            let mut message = decoded(start);
            for (at, byte) in changes {
                let at = at.index(message.len());
                message[at] = byte;
            }
            if !whole {
                message.truncate(cut.index(message.len() + 1));
            }
            message
        },
    )
}

proptest! {
    #[test]
    fn any_reply_and_any_error_give_json_in_both_dialects(
        message in mutated_reply(),
        server in "\\PC{0,300}",
        port in "\\PC{0,5}",
        errors in prop::collection::vec(any_error(), 0..3),
        set in any::<bool>(),
        bundle in "[0-9]{0,4}",
        flags in any::<[bool; 4]>(),
    ) {
        let entry = Entry {
            place: set.then_some((1, 1)),
            server: Some(server.clone()),
            destination: flags[0].then_some(Destination { address: "192.0.2.1".to_owned(), port, family: 4 }),
            source: flags[1].then(|| "192.0.2.2".to_owned()),
            query: flags[2].then(|| message.clone()),
            reply: flags[3].then(|| Reply { message: message.clone(), ..reply(0.5, "") }),
            errors,
            ..entry()
        };
        let body = Body { resolvers: set, entries: vec![entry; 2], counts: Counts::default() };
        let head = Head { bundle: Some(bundle), ..head("1") };
        for dialect in Dialect::ALL {
            let value = json(&body.line(&head, dialect));
            let first = if set { &value["resultset"][0] } else { &value };
            prop_assert_eq!(&first["proto"], "UDP");
            if flags[3] {
                prop_assert_eq!(&first["result"]["size"], &serde_json::Value::from(message.len()));
            }
        }
    }
}
