//! Runs in which nothing or not everything can be sent.

use super::*;

#[test]
fn a_count_of_zero_sends_nothing() {
    let run = Script::asking("-c 0 198.51.100.7");
    assert!(run.sent.is_empty());
    assert_eq!(run.items(), "[  ]");
}

#[test]
fn failures_before_anything_is_sent() {
    const EPERM: i32 = 1;
    const ENETUNREACH: i32 = 101;
    for (cause, text) in [
        (Failure::Forbidden(ip(TARGET)), "address not allowed"),
        (Failure::Bind, "bind_interface failed"),
        (
            os(Call::Connect, ENETUNREACH),
            "connect failed: Network is unreachable",
        ),
        (
            os(Call::Socket, EPERM),
            "socket failed: Operation not permitted",
        ),
    ] {
        let mut run = Script::new("198.51.100.7");
        run.tell(Input::Start);
        run.tell(Input::Resolved(Ok(vec![run.target])));
        run.failed(None, cause);
        assert_eq!(
            run.line(),
            format!(
                r#"RESULT {{ "dst_name":"198.51.100.7", "dst_addr":"198.51.100.7", "proto":"UDP", "af": 4, "result": [ {{ "error":"{text}" }} ] }}
"#
            )
        );
    }
    let mut run = Script::new("-6 nohost.example");
    run.tell(Input::Start);
    run.millis = 10;
    run.tell(Input::Resolved(Err(ResolveError::NotKnown)));
    assert_eq!(
        run.line(),
        r#"RESULT { "dst_name":"nohost.example", "ttr":10.000000, "proto":"UDP", "af": 6, "result": [ { "error":"name resolution failed: nodename nor servname provided, or not known" } ] }
"#
    );
    // The other dialect has no name beside an address; here it is all that tells the target.
    assert_eq!(run.line_as(None, Dialect::Starla), run.line());
}

#[test]
fn a_send_failure_on_the_second_request_is_valid_json() {
    const EHOSTUNREACH: i32 = 113;
    let mut run = Script::asking("198.51.100.7");
    run.unanswered();
    run.failed(Some(2), os(Call::Send, EHOSTUNREACH));
    assert_eq!(
        run.items(),
        r#"[ { "x":"*" }, { "error":"sendto failed: No route to host" } ]"#
    );
}

#[test]
fn refused_requests_look_like_losses_where_the_official_probe_says_so() {
    const EACCES: i32 = 13;
    const EMSGSIZE: i32 = 90;
    const ECONNREFUSED: i32 = 111;
    for (line, errno, goes_on) in [
        ("-c 1 198.51.100.7", EMSGSIZE, true),
        ("-c 1 198.51.100.7", ECONNREFUSED, false),
        ("-c 1 -6 2001:db8:7::7", EACCES, true),
        ("-c 1 -6 2001:db8:7::7", ECONNREFUSED, true),
    ] {
        let mut run = Script::asking(line);
        run.failed(Some(1), os(Call::Send, errno));
        assert_eq!(run.outcome.is_none(), goes_on);
    }
}
