//! The lines that the specification prints (2.8) and the protocol reference's, byte for byte.

use super::{NOT_KNOWN, Script, head, json};
use crate::{
    dialect::Dialect,
    measurement::{
        Version,
        http::{Body, Complete, Entry, Method, Problem, Response},
    },
    wire::http::Status,
};

#[test]
fn a_get_by_name() {
    let mut script = Script::new("evhttpget -4 -A 1001 http://www.example.com/");
    script.micros += 8_123;
    script.resolved(&["198.51.100.7"]).connect();
    script.micros += 41_500;
    let header = format!(
        "X: {}\r\nContent-Length: 1256\r\n",
        "x".repeat(187 - 22 - 5)
    );
    script.receive(format!(
        "HTTP/1.1 200 OK\r\n{header}\r\n{}",
        "x".repeat(1256)
    ));
    assert_eq!(
        script.lines(),
        "RESULT { \"id\":\"1001\", \"fw\":5120, \"mver\": \"2.6.4\", \"lts\":1, \"time\":1700000000, \
         \"ttr\":8.123000, \"result\":[ { \"method\":\"GET\", \"af\": 4, \"dst_addr\":\"198.51.100.7\", \
         \"src_addr\":\"192.0.2.10\", \"rt\":41.500000, \"res\":200, \"ver\":\"1.1\", \"hsize\":187, \
         \"bsize\":1256 } ] }\n"
    );
    assert!(script.outcome().answered);
}

#[test]
fn a_literal_with_stored_headers() {
    let mut script =
        Script::new("evhttpget -6 -1 --store-headers 1024 -A 13027 http://[2001:db8::80]");
    script.resolved(&["2001:db8::80"]).connect().after(22);
    script.receive(
        "HTTP/1.0 200 OK\r\nX-Client-IP: 2001:db8:1::10\r\nContent-Length: 14\r\n\r\n2001:db8:1::10",
    );
    assert_eq!(
        script.lines(),
        "RESULT { \"id\":\"13027\", \"fw\":5120, \"mver\": \"2.6.4\", \"lts\":1, \"time\":1700000000, \
         \"result\":[ { \"header\": [ \"X-Client-IP: 2001:db8:1::10\", \"Content-Length: 14\", \"\" ], \
         \"method\":\"GET\", \"af\": 6, \"dst_addr\":\"2001:db8::80\", \"src_addr\":\"2001:db8:1::10\", \
         \"rt\":22.000000, \"res\":200, \"ver\":\"1.0\", \"hsize\":49, \"bsize\":14 } ] }\n"
    );
}

#[test]
fn every_address_has_a_line_with_all() {
    let mut script = Script::new("evhttpget --all -A 7 http://www.example.com/");
    script.after(2).resolved(&["198.51.100.7", "2001:db8::7"]);
    script.refuse();
    script.connect().after(30);
    script.receive(format!("HTTP/1.1 204\r\nX: {}\r\n\r\n", "x".repeat(55)));
    let start = "RESULT { \"id\":\"7\", \"fw\":5120, \"mver\": \"2.6.4\", \"lts\":1, \"time\":1700000000, \
                 \"ttr\":2.000000, \"result\":[ { ";
    assert_eq!(
        script.lines(),
        format!(
            "{start}\"err\":\"connect: Connection refused\", \"subid\":1, \"submax\":2, \
             \"method\":\"GET\", \"af\": 4, \"dst_addr\":\"198.51.100.7\" }} ] }}\n\
             {start}\"subid\":2, \"submax\":2, \"method\":\"GET\", \"af\": 6, \
             \"dst_addr\":\"2001:db8::7\", \"src_addr\":\"2001:db8:1::10\", \"rt\":30.000000, \
             \"res\":204, \"ver\":\"1.1\", \"hsize\":60, \"bsize\":0 }} ] }}\n"
        )
    );
}

#[test]
fn a_name_that_is_not_known() {
    let mut script = Script::new("evhttpget -A 7 http://none.example/");
    script.micros += 5_500;
    script.tell(NOT_KNOWN);
    assert_eq!(
        script.lines(),
        "RESULT { \"id\":\"7\", \"fw\":5120, \"mver\": \"2.6.4\", \"lts\":1, \"time\":1700000000, \
         \"ttr\":5.500000, \"result\":[ { \"dnserr\":\"nodename nor servname provided, or not known\" } ] }\n"
    );
    assert!(!script.outcome().answered);
}

#[test]
fn a_connection_that_never_comes() {
    let mut script = Script::new("evhttpget -4 -A 7 http://203.0.113.9/");
    script.resolved(&["203.0.113.9"]).deadline();
    assert_eq!(
        script.lines(),
        "RESULT { \"id\":\"7\", \"fw\":5120, \"mver\": \"2.6.4\", \"lts\":1, \"time\":1700000000, \
         \"result\":[ { \"err\":\"connect: timeout\", \"method\":\"GET\", \"af\": 4, \
         \"dst_addr\":\"203.0.113.9\" } ] }\n"
    );
    assert_eq!(script.micros, 6_000_000);
}

#[test]
fn without_an_id_no_group_stands_before_the_result() {
    let mut script = Script::new("evhttpget -b 43 --head http://www.example.com/");
    script
        .after(3)
        .resolved(&["203.0.113.9"])
        .connect()
        .receive("SSH-2.0-x\r\n");
    assert_eq!(
        script.lines(),
        "RESULT { \"result\":[ { \"err\":\"bad status line: bad prefix\", \"method\":\"HEAD\", \
         \"af\": 4, \"dst_addr\":\"203.0.113.9\", \"src_addr\":\"192.0.2.10\" } ] }\n"
    );
}

#[test]
fn extended_timing_stands_in_three_places() {
    let mut script = Script::new("evhttpget --eetim http://a/");
    script.micros += 8_200;
    script.resolved(&["198.51.100.7"]);
    script.after(10).connect();
    script.micros += 10_100;
    let head = format!(
        "HTTP/1.1 200 OK\r\nX: {}\r\nContent-Length: 1256\r\n\r\n",
        "x".repeat(160)
    );
    let body = 1400 - head.len();
    script.receive(format!("{head}{}", "x".repeat(body)));
    script.micros += 800;
    script.receive("x".repeat(1256 - body));
    assert!(
        script.entries().contains(
            ", \"dst_addr\":\"198.51.100.7\", \"readtiming\": [ { \"o\": 0, \"t\": 20.100000 }, \
         { \"o\": 1400, \"t\": 20.900000 } ], \"src_addr\":\"192.0.2.10\", \"rt\":20.900000, \
         \"res\":200, \"ver\":\"1.1\", \"hsize\":187, \"bsize\":1256, \"ttr\":8.200000, \
         \"ttc\":10.000000, \"ttfb\":20.100000 }"
        ),
        "{}",
        script.entries()
    );
}

#[test]
fn a_bundle_stands_behind_the_time() {
    let mut script = Script::new("evhttpget -A 7 -b 043 http://none.example/");
    script.tell(NOT_KNOWN);
    let expected = "\"time\":1700000000, \"bundle\":43, \"ttr\":0.000000, ";
    assert!(script.lines().contains(expected));
}

/// The values that the protocol reference's example prints; its two addresses fit no single run.
fn page_example() -> Body {
    Body {
        time: 1_775_317_966,
        lts: 19,
        resolve_ms: None,
        host: "example.com".to_owned(),
        destination: Some("93.184.216.34".parse().unwrap()),
        entries: vec![Entry::Tried(Box::new(Response {
            header: None,
            problem: None,
            place: None,
            method: Method::Get,
            family: 6,
            truncated: false,
            destination: "2600:140f:3::17df:2fba".to_owned(),
            reads: None,
            source: Some("10.0.0.1".to_owned()),
            complete: Some(Complete {
                ms: 106.612_889,
                status: Status {
                    major: 1,
                    minor: 1,
                    code: 200,
                },
                header_size: 296,
                body_size: 0,
                timing: None,
            }),
        }))],
    }
}

#[test]
fn the_page_has_its_line() {
    let golden = include_str!("../../../../tests/golden/starla/http.result");
    assert_eq!(
        page_example().line(&head(Some("12023"), None), Dialect::Starla),
        golden
    );
}

#[test]
fn the_page_never_has_a_family_of_zero() {
    let body = Body {
        resolve_ms: Some(2.0),
        destination: None,
        entries: vec![Entry::Unresolved("x".to_owned())],
        ..page_example()
    };
    assert_eq!(
        body.line(&head(Some("7"), None), Dialect::Starla),
        "RESULT { \"id\":\"7\", \"fw\":5120, \"mver\": \"2.6.4\", \"lts\":19, \"time\":1775317966, \
         \"ttr\":2.000000, \"dst_name\":\"example.com\", \"proto\":\"TCP\", \
         \"result\": [ { \"dnserr\":\"x\" } ] }\n"
    );
}

#[test]
fn whatever_a_problem_says_it_is_json() {
    let mut body = page_example();
    let Entry::Tried(response) = &mut body.entries[0] else {
        panic!("an entry");
    };
    response.problem = Some(Problem::Exchange("a \"quoted\"\n text".to_owned()));
    response.header = Some(vec![b"\"\\\x00\xff\r".to_vec()]);
    body.host = "\"".to_owned();
    for dialect in Dialect::ALL {
        let json = json(&body.line(&head(Some(""), None), dialect));
        let entry = &json["result"][0];
        assert_eq!(entry["err"], "a \"quoted\"\n text");
        assert_eq!(entry["header"][0], "\"\\\u{0}\u{ff}\r");
        assert_eq!(json["mver"], Version::default().measurement);
    }
}
