//! Lines of queries that were answered.

use super::*;

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
        ..head(Some("1003"), None)
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
        body.line(&head(Some("1016"), None), Dialect::Reference),
        format!("{expected}\n")
    );
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
