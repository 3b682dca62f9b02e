//! Lines of queries that were not.

use super::*;

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
