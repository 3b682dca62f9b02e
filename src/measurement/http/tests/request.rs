//! What is sent (`http-tls-measurements` 2.3).

use super::{Script, os};
use crate::measurement::{Input, Output, machine::Call};

fn request(command: &str) -> String {
    let mut script = Script::new(command);
    script.resolved(&["192.0.2.80"]).connect().writing()
}

#[test]
fn a_get_has_four_lines() {
    assert_eq!(
        request("evhttpget http://www.example.com:8080/a?b#c"),
        "GET /a?b#c HTTP/1.1\r\nHost: www.example.com:8080\r\nConnection: close\r\n\
         User-Agent: httpget for atlas.ripe.net\r\n\r\n"
    );
}

#[test]
fn options_change_their_line_only() {
    assert_eq!(
        request("evhttpget -0 --head --host foo --user-agent bar http://[2001:db8::80]"),
        "HEAD / HTTP/1.0\r\nHost: foo\r\nConnection: close\r\nUser-Agent: bar\r\n\r\n"
    );
    assert!(request("evhttpget http://[2001:db8::80]").contains("\r\nHost: [2001:db8::80]\r\n"));
}

#[test]
fn a_post_without_files_has_an_empty_body() {
    assert_eq!(
        request("evhttpget --post http://a/x"),
        "POST /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\nUser-Agent: httpget for atlas.ripe.net\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 0\r\n\r\n"
    );
}

const FILES: &str = "--post-header /home/atlas/data/out/h --post-file /home/atlas/data/out/f \
                     --post-footer /home/atlas/data/out/t";

/// The request and the body that follows it, with these files.
fn posted(files: [Option<&[u8]>; 3]) -> (String, String) {
    let mut script = Script::new(&format!("evhttpget --post {FILES} http://a/"));
    for (file, name) in files.into_iter().zip(["h", "f", "t"]) {
        let [Output::ReadFile { path, .. }] = &script.outputs[..] else {
            panic!("no file wanted: {:?}", script.outputs);
        };
        assert!(path.ends_with(name));
        script.tell(Input::File(file.map(<[u8]>::to_vec)));
    }
    let head = script.resolved(&["192.0.2.80"]).connect().writing();
    let mut body = String::new();
    loop {
        let piece = script.written().writing();
        if piece.is_empty() {
            return (head, body);
        }
        body += &piece;
    }
}

#[test]
fn files_are_posted_in_their_order() {
    let (head, body) = posted([Some(b"one,"), Some(b"two,"), Some(b"three")]);
    assert!(head.ends_with("\r\nContent-Length: 13\r\n\r\n"), "{head}");
    assert_eq!(body, "one,two,three");
}

#[test]
fn a_file_that_cannot_be_read_counts_nothing_and_ends_the_body() {
    let (head, body) = posted([Some(b"one,"), None, Some(b"three")]);
    assert!(head.ends_with("\r\nContent-Length: 9\r\n\r\n"), "{head}");
    assert_eq!(body, "one,");
}

#[test]
fn a_large_body_goes_out_in_pieces() {
    let file = vec![b'x'; 200_000];
    let (head, body) = posted([None, Some(&file), None]);
    assert!(
        head.ends_with("\r\nContent-Length: 200000\r\n\r\n"),
        "{head}"
    );
    assert_eq!(body, "");
    let (_, body) = posted([Some(&file), Some(b""), None]);
    assert_eq!(body.len(), 200_000);
}

#[test]
fn files_are_left_alone_unless_they_are_posted() {
    let script = Script::new(&format!("evhttpget {FILES} http://a/"));
    assert!(matches!(script.outputs[..], [Output::Resolve { .. }]));
}

#[test]
fn a_file_that_takes_for_ever_counts_as_unreadable() {
    let command = "evhttpget --post --post-file /home/atlas/data/out/f http://192.0.2.80/";
    let mut script = Script::new(command);
    let head = script
        .deadline()
        .resolved(&["192.0.2.80"])
        .connect()
        .writing();
    assert!(head.ends_with("\r\nContent-Length: 0\r\n\r\n"), "{head}");
}

#[test]
fn an_answer_before_all_was_sent_is_taken() {
    let mut script = Script::new("evhttpget --post --post-file /home/atlas/data/out/f http://a/");
    script.tell(Input::File(Some(vec![b'x'; 100_000])));
    script.resolved(&["192.0.2.80"]).connect();
    let on = script.on;
    let cause = os(Call::Write, 32);
    script.tell(Input::Failed {
        on,
        tag: None,
        cause,
    });
    assert!(script.outputs.is_empty());
    script.receive("HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n");
    assert!(script.entries().contains("\"res\":413"));
    assert!(script.entries().contains("\"method\":\"POST\""));
}

#[test]
fn https_names_the_server_by_its_name_alone() {
    let sni = |command: &str| {
        let mut script = Script::new(command);
        script.resolved(&["192.0.2.80"]);
        let (_, stream) = script.connecting().unwrap();
        let tls = stream.tls.expect("TLS");
        assert_eq!((tls.alpn.len(), tls.verify), (0, None));
        tls.sni
    };
    assert_eq!(
        sni("evhttpget https://a.example:8443/").as_deref(),
        Some("a.example")
    );
    assert_eq!(
        sni("evhttpget --host b https://a.example").as_deref(),
        Some("a.example")
    );
    assert_eq!(
        sni("evhttpget --sni c.example https://a").as_deref(),
        Some("c.example")
    );
    assert_eq!(sni("evhttpget --sni= https://a.example"), None);
    assert_eq!(sni("evhttpget https://192.0.2.80"), None);
    assert_eq!(sni("evhttpget https://[2001:db8::80]"), None);
}
