//! What of a response stands in the result (`http-tls-measurements` 2.4 to 2.6). How it is read, byte by byte, is
//! tested beside the reader.

use super::Script;
use crate::measurement::{Input, Output};

/// The header lines as reported with `--store-headers`.
fn header(limit: &str, lines: &str) -> String {
    let mut script = Script::connected(&format!("evhttpget --store-headers={limit} http://a/"));
    script.receive(format!("HTTP/1.1 204 No Content\r\n{lines}\r\n"));
    let entries = script.entries();
    let end = entries.find("\"method\"").unwrap();
    entries[2..end].to_owned()
}

const DATE: &str = "Date: Mon, 01 Jan 2024 00:00:00 GMT\r\n";

#[test]
fn header_lines_are_stored_as_far_as_they_fit() {
    let lines = format!("{DATE}Connection: close\r\n");
    let date = "\"Date: Mon, 01 Jan 2024 00:00:00 GMT\"";
    for (limit, stored) in [
        ("0", String::new()),
        ("1", "\"header\": [ \"D[...]\" ], ".to_owned()),
        ("35", format!("\"header\": [ {}[...]\" ], ", &date[..36])),
        ("36", format!("\"header\": [ {date}, \"C[...]\" ], ")),
        ("40", format!("\"header\": [ {date}, \"Conne[...]\" ], ")),
        (
            "52",
            format!("\"header\": [ {date}, \"Connection: close[...]\" ], "),
        ),
        (
            "53",
            format!("\"header\": [ {date}, \"Connection: close\", \"\" ], "),
        ),
        (
            "4096",
            format!("\"header\": [ {date}, \"Connection: close\", \"\" ], "),
        ),
        (
            "-1",
            format!("\"header\": [ {date}, \"Connection: close\" ], "),
        ),
    ] {
        assert_eq!(header(limit, &lines), stored, "{limit}");
    }
}

#[test]
fn a_line_that_fills_the_budget_leaves_a_mark_of_the_next() {
    // 35 and 4 bytes of 39 leave none, and none left is not less than none.
    let lines = format!("{DATE}A: b\r\nC: d\r\n");
    assert!(header("40", &lines).ends_with("\"A: b\", \"C[...]\" ], "));
    assert!(header("39", &lines).ends_with("\"A: b[...]\" ], "));
}

#[test]
fn no_header_lines_are_an_empty_string() {
    assert_eq!(header("5", ""), "\"header\": [ \"\" ], ");
}

#[test]
fn bytes_that_are_no_text_are_escaped_one_by_one() {
    let mut script = Script::connected("evhttpget --store-headers 50 http://a/");
    script.receive(b"HTTP/1.1 204\r\nA: \"\\\x01\x7f\xc3\xa9\t\r\n b\r\n\r\n");
    let expected = r#"[ "A: \"\\\u0001\u007f\u00c3\u00a9\u0009", " b", "" ]"#;
    assert!(script.entries().contains(expected), "{}", script.entries());
}

#[test]
fn a_line_is_read_whole_where_it_is_stored_cut() {
    let mut script = Script::connected("evhttpget --store-headers 1 http://a/");
    script.receive("HTTP/1.1 200\r\nContent-Length: 5\r\n\r\nhello");
    assert!(
        script
            .entries()
            .starts_with("{ \"header\": [ \"C[...]\" ], \"method\"")
    );
    assert!(script.entries().contains("\"bsize\":5"));
}

#[test]
fn lines_stored_before_an_error_are_reported() {
    for (rest, error) in [
        ("B\0: c\r\n", "bad header line: contains nul"),
        (
            "Content-Length: x\r\n",
            "bad header line: malformed content-length",
        ),
    ] {
        let mut script = Script::connected("evhttpget --store-headers 6 http://a/");
        script.receive(format!("HTTP/1.1 200\r\nA: bcd\r\n{rest}"));
        let start = format!("{{ \"header\": [ \"A: bcd[...]\" ], \"err\":\"{error}\", \"method\"");
        assert!(script.entries().starts_with(&start), "{}", script.entries());
    }
    let mut script = Script::connected("evhttpget --store-headers 6 http://a/");
    script.receive("HTTP/1.1 200\r\nB\0: c\r\n");
    let start = "{ \"header\": [ ], \"err\":\"bad header line: contains nul\", ";
    assert!(script.entries().starts_with(start));
    let mut script = Script::connected("evhttpget --store-headers 9 http://a/");
    script.receive(format!("HTTP/1.1 200\r\nA: b\r\n{}", "x".repeat(3000)));
    let start = "{ \"header\": [ \"A: b\" ], \"err\":\"line too long\", \"method\"";
    assert!(script.entries().starts_with(start));
}

#[test]
fn before_the_status_line_there_is_no_header_array() {
    let mut script = Script::connected("evhttpget --store-headers 9 http://a/");
    script.receive("HTTP/1.1").deadline();
    let start = "{ \"err\":\"timeout reading status\", \"method\"";
    assert!(script.entries().starts_with(start));
}

#[test]
fn a_server_cannot_make_the_line_too_long() {
    let mut script = Script::connected("evhttpget --store-headers=-1 --eetim http://a/");
    script.receive("HTTP/1.1 200\r\n");
    for _ in 0..20_000 {
        script.receive(b"\x01\n");
        script.receive([b'\xff'; 40]);
        script.receive(b"\n");
    }
    script.deadline();
    let line = script.lines();
    assert!(line.len() < crate::result::MAX_LINE, "{}", line.len());
    assert!(line.contains("[...]"));
}

#[test]
fn an_end_of_stream_completes_a_body_without_length() {
    let mut script = Script::connected("evhttpget http://a/");
    script.after(5).receive("HTTP/1.0 200 OK\r\n\r\nabc");
    script.after(5).end();
    let expected = "\"rt\":10.000000, \"res\":200, \"ver\":\"1.0\", \"hsize\":0, \"bsize\":3 }";
    assert!(script.entries().ends_with(expected), "{}", script.entries());
}

#[test]
fn an_end_of_stream_elsewhere_is_an_error_at_once() {
    for (response, error) in [
        ("", "timeout reading status"),
        ("HTTP", "error reading status"),
        ("HTTP/1.1 200\r\n", "error reading headers"),
        (
            "HTTP/1.1 200\r\nContent-Length: 3\r\n\r\nab",
            "error reading body",
        ),
        (
            "HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
            "timeout reading chunk: state 6 linelen 0 lineoffset 0",
        ),
    ] {
        let mut script = Script::connected("evhttpget http://a/");
        if !response.is_empty() {
            script.receive(response);
        }
        script.end();
        let start = format!("{{ \"err\":\"{error}\", \"method\"");
        assert!(script.entries().starts_with(&start), "{}", script.entries());
    }
}

#[test]
fn the_timer_is_not_armed_again_by_what_arrives() {
    let mut script = Script::new("evhttpget --timeout 3000 http://a/");
    script.resolved(&["192.0.2.80"]).after(1000).connect();
    script.after(1000).receive("HTTP/1.1 200 OK\r\n\r\nx");
    script.after(900).receive("y").deadline();
    assert_eq!(script.micros, 4_000_000);
    assert!(
        script
            .entries()
            .starts_with("{ \"err\":\"timeout reading body\", ")
    );
}

#[test]
fn a_read_limit_is_flagged() {
    let mut script = Script::connected("evhttpget --read-limit 40 http://a/");
    script
        .receive("HTTP/1.1 200 OK\r\n\r\n")
        .receive("x".repeat(30));
    let entry = script.entries();
    assert!(
        entry.contains("\"af\": 4, \"read-truncated\": true, \"dst_addr\""),
        "{entry}"
    );
    assert!(entry.contains("\"bsize\":30"), "{entry}");
    let mut script = Script::connected("evhttpget --read-limit 4 http://a/");
    script.receive("HTTP/1.1 200 OK\r\n\r\n");
    let start = "{ \"err\":\"bad header line: read truncated\", \"method\":\"GET\", \"af\": 4, \
                 \"read-truncated\": true, \"dst_addr\"";
    assert!(script.entries().starts_with(start), "{}", script.entries());
}

#[test]
fn nothing_is_read_after_the_end() {
    let mut script = Script::connected("evhttpget http://a/");
    script.receive("HTTP/1.1 200\r\nContent-Length: 0\r\n\r\nHTTP/1.1 500\r\n\r\n");
    assert!(matches!(
        script.outputs[..],
        [Output::Close { .. }, Output::Done(_)]
    ));
    assert!(script.entries().contains("\"res\":200"));
    let on = script.on;
    script.tell(Input::Readable { on });
    assert!(script.outputs.is_empty());
}

#[test]
fn several_fills_of_one_event_are_one_reading_time() {
    let mut script = Script::connected("evhttpget --eetim http://a/");
    script.receive(format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(10_000)));
    script.after(1).receive("y").end();
    let json: serde_json::Value = serde_json::from_str(&script.entries()).unwrap();
    let offsets: Vec<u64> = json["readtiming"]
        .as_array()
        .unwrap()
        .iter()
        .map(|read| read["o"].as_u64().unwrap())
        .collect();
    assert_eq!(offsets, [0, 10_019]);
}

#[test]
fn reading_times_without_a_byte_are_not_printed() {
    let mut script = Script::connected("evhttpget --eetim http://a/");
    script.deadline();
    assert!(!script.entries().contains("readtiming"));
}
