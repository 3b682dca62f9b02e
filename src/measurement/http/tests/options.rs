//! Words and URLs (`http-tls-measurements` 2.1 and 2.2).

use std::{path::PathBuf, time::Duration};

use super::{parsed, rules};
use crate::{
    dialect::Dialect,
    measurement::{
        SpecError,
        http::{Method, Options, Times, Url},
        machine::Family,
    },
};

fn options(command: &str) -> Options {
    parsed(command).1
}

fn refused(command: &str) -> SpecError {
    let words: Vec<&str> = command.split_whitespace().collect();
    Options::parse(&words, &rules(Dialect::Reference)).unwrap_err()
}

#[test]
fn the_defaults_are_those_of_the_table() {
    let options = options("http://a.example");
    assert_eq!(options.family, Family::Both);
    assert!(options.http_1_1);
    assert_eq!(options.method, Method::Get);
    assert_eq!((options.all, options.combine), (false, false));
    assert_eq!(options.user_agent, "httpget for atlas.ripe.net");
    assert_eq!((options.store_headers, options.read_limit), (0, 0));
    assert_eq!(options.timeout, Duration::from_secs(5));
    assert_eq!(options.times, Times::None);
}

#[test]
fn the_last_of_several_wins() {
    assert_eq!(options("-4 -6 http://a").family, Family::V6);
    assert_eq!(options("-6 -4 http://a").family, Family::V4);
    assert!(!options("-1 -0 http://a").http_1_1);
    assert_eq!(options("--head --post http://a").method, Method::Post);
    assert_eq!(options("--post --get http://a").method, Method::Get);
}

#[test]
fn the_timing_that_tells_more_wins() {
    assert_eq!(options("--etim http://a").times, Times::Phases);
    assert_eq!(options("--eetim --etim http://a").times, Times::Reads);
}

#[test]
fn long_words_may_be_shortened_and_joined() {
    let options = options("http://a --store-h=100 --read 7 --user=x -a -c --ti 0");
    assert_eq!((options.store_headers, options.read_limit), (100, 7));
    assert_eq!(options.user_agent, "x");
    assert!(options.all && options.combine);
    assert_eq!(options.timeout, Duration::ZERO);
}

#[test]
fn numbers_are_read_as_c_does() {
    let stored = |value: &str| options(&format!("--store-headers={value} http://a")).store_headers;
    assert_eq!((stored(""), stored("+7"), stored("-1")), (0, 7, -1));
    assert_eq!(stored("4294967295"), -1);
    assert_eq!(options("--store-body=-2 http://a").store_body, -2);
    for value in ["5x", "0x5", "x"] {
        let error = refused(&format!("--timeout={value} http://a"));
        assert!(matches!(error, SpecError::BadValue { .. }), "{value}");
    }
}

#[test]
fn words_that_other_tools_have_are_refused() {
    for word in [
        "-h", "-p", "-u", "-M5", "-B3", "-T", "--url", "--post-", "--h",
    ] {
        let error = refused(&format!("{word} http://a"));
        assert!(matches!(error, SpecError::BadOptions(_)), "{word}: {error}");
    }
    assert!(matches!(refused(""), SpecError::BadOptions(_)));
    assert!(matches!(
        refused("http://a http://b"),
        SpecError::BadOptions(_)
    ));
    assert!(matches!(
        refused("-Ax http://a"),
        SpecError::BadValue { .. }
    ));
}

#[test]
fn the_page_has_a_word_for_the_body() {
    let words = ["-4", "-M", "1048576", "-A", "12023", "http://example.com"];
    let (common, options) = Options::parse(&words, &rules(Dialect::Starla)).unwrap();
    assert_eq!(common.id.as_deref(), Some("12023"));
    assert_eq!(options.store_body, 1_048_576);
}

#[test]
fn posted_files_come_in_a_fixed_order_from_one_place() {
    let dir = "/home/atlas/data/out";
    let command = format!("--post --post-footer {dir}/c --post-header {dir}/a http://a");
    let spool = PathBuf::from("/var/spool/starling/data/out");
    assert_eq!(options(&command).posts, [spool.join("a"), spool.join("c")]);
    for path in [
        "/etc/passwd",
        "/home/atlas/data/new/x",
        "/home/atlas/data/out/../new/x",
    ] {
        let error = refused(&format!("--post-file {path} http://a"));
        assert!(matches!(error, SpecError::InsecureFile(..)), "{path}");
    }
}

#[test]
fn header_values_cannot_end_their_line() {
    for word in ["--host", "--user-agent"] {
        let words = [word, "a\r\nX: y", "http://a"];
        let error = Options::parse(&words, &rules(Dialect::Reference)).unwrap_err();
        assert!(matches!(error, SpecError::BadValue { .. }));
    }
    assert!(Url::parse("http://a/\r\nX: y").is_err());
}

#[test]
fn urls_are_taken_apart_and_nothing_is_decoded() {
    for (text, secure, host, port, authority, path) in [
        ("http://a", false, "a", "80", "a", "/"),
        (
            "HTTPS://A.example/x?y#z",
            true,
            "A.example",
            "443",
            "A.example",
            "/x?y#z",
        ),
        ("http://a:8080/", false, "a", "8080", "a:8080", "/"),
        ("http://a:http/%41", false, "a", "http", "a:http", "/%41"),
        ("http://a:b:c/", false, "a", "b:c", "a:b:c", "/"),
        ("http://a:", false, "a", "", "a:", "/"),
        ("http://a?b/c", false, "a?b", "80", "a?b", "/c"),
        ("http://u@h/", false, "u@h", "80", "u@h", "/"),
        (
            "http://[2001:db8::80]:81/x",
            false,
            "2001:db8::80",
            "81",
            "[2001:db8::80]:81",
            "/x",
        ),
        ("https://[::1]", true, "::1", "443", "[::1]", "/"),
    ] {
        let url = Url::parse(text).unwrap();
        let parts = (
            url.secure,
            &*url.host,
            &*url.port,
            &*url.authority,
            &*url.path,
        );
        assert_eq!(parts, (secure, host, port, authority, path), "{text}");
    }
}

#[test]
fn texts_that_are_no_url_are_refused() {
    for text in [
        "a",
        "",
        "ftp://a",
        "http:/a",
        "http://",
        "http:///x",
        "http://:80/",
        "http://[::1",
        "http://[]/",
        "https://[]:443",
    ] {
        assert!(Url::parse(text).is_err(), "{text:?}");
    }
}
