//! How runs end.

use super::*;

#[test]
fn stop_gives_what_there_is() {
    let mut script = Script::new("-4 -c 9 198.51.100.7");
    script.begin(0, TARGET);
    script.reply(MS, 0, 57, 32);
    script.deadline();
    assert_eq!(
        script.tell(1001 * MS, Input::Stop).first(),
        Some(&Output::Close { on: H })
    );
    assert_eq!(script.items(), "[ { \"rtt\":1.000000 } ]");
    assert_eq!(script.tell(1002 * MS, Input::Stop), []);
    assert_eq!(script.ping.deadline(), None);
}

#[test]
fn stop_before_there_is_anything() {
    let mut script = Script::new("-4 host.example");
    script.tell(0, Input::Start);
    script.tell(MS, Input::Stop);
    assert_eq!(
        script.line(),
        "RESULT { \"dst_name\":\"host.example\", \"af\":4, \"proto\":\"ICMP\", \"size\":0, \"result\": [  ] }\n"
    );
}

#[test]
fn a_name_is_resolved_once_if_that_is_asked_for() {
    let mut first = Script::new("-4 -e -c 1 host.example");
    first.begin(20 * MS, TARGET);
    first.deadline();
    assert!(first.line().contains("\"ttr\":0.000000"));
    let AnyCarry::Ping(carry) = first.outcome.unwrap().carry else {
        panic!("of ping")
    };
    let mut next = Script::of("-4 -e -c 1 host.example", Run::default(), Some(carry));
    let outputs = next.tell(0, Input::Start);
    assert!(matches!(&outputs[..], [Output::Open { socket, .. }] if socket.to == ip(TARGET)));
}

#[test]
fn an_address_that_is_refused_is_not_kept() {
    let mut script = Script::new("-4 -e private.example");
    script.tell(0, Input::Start);
    script.tell(0, Input::Resolved(Ok(vec![ip("10.0.0.1")])));
    let cause = Failure::Forbidden(ip("10.0.0.1"));
    script.tell(
        0,
        Input::Failed {
            on: H,
            tag: None,
            cause,
        },
    );
    let AnyCarry::Ping(carry) = script.outcome.unwrap().carry else {
        panic!("of ping")
    };
    assert_eq!(carry.address, None);
    // One that was fine once, and is refused since: the name is asked for again.
    let carry = Carry {
        address: Some(ip("10.0.0.1")),
        ..carry
    };
    let mut script = Script::of("-4 -e private.example", Run::default(), Some(carry));
    script.tell(0, Input::Start);
    let cause = Failure::Forbidden(ip("10.0.0.1"));
    let (on, tag) = (H, None);
    script.tell(0, Input::Failed { on, tag, cause });
    let AnyCarry::Ping(carry) = script.outcome.unwrap().carry else {
        panic!("of ping")
    };
    assert_eq!(carry.address, None);
}

#[test]
fn a_socket_that_breaks_ends_the_run() {
    let mut script = Script::new("-4 -c 3 198.51.100.7");
    script.begin(0, TARGET);
    script.reply(MS, 0, 57, 32);
    let cause = Failure::Os {
        call: Call::Socket,
        errno: nix::libc::ENETDOWN,
    };
    script.tell(
        2 * MS,
        Input::Failed {
            on: H,
            tag: None,
            cause,
        },
    );
    assert_eq!(
        script.items(),
        "[ { \"rtt\":1.000000 }, { \"error\":\"socket failed: Network is down\" } ]"
    );
}

#[test]
fn a_socket_that_never_comes_ends_the_run() {
    let mut script = Script::new("-4 198.51.100.7");
    script.tell(0, Input::Start);
    script.tell(0, Input::Resolved(Ok(vec![ip(TARGET)])));
    script.deadline();
    assert_eq!(
        script.items(),
        "[ { \"error\":\"socket failed: Connection timed out\" } ]"
    );
}

#[test]
fn a_target_is_escaped_where_it_must_be() {
    let mut script = Script::new("-4 a\"b\\c");
    script.tell(0, Input::Start);
    script.tell(0, Input::Stop);
    assert!(script.line().contains(r#""dst_name":"a\"b\\c""#));
}

#[test]
fn a_command_for_ever_ends() {
    let mut script = Script::new("-4 -i 1 -c 2147483647 198.51.100.7");
    script.begin(0, TARGET);
    while script.outcome.is_none() {
        script.deadline();
    }
    assert_eq!(script.sent.len(), MAX_REQUESTS as usize);
    assert!(script.line().len() < crate::result::MAX_LINE);
}

#[test]
fn only_the_end_may_be_told_late() {
    let mut script = Script::new("-4 -c 2 198.51.100.7");
    assert!(!script.ping.is_patient());
    script.begin(0, TARGET);
    assert!(!script.ping.is_patient(), "a request is due");
    script.deadline();
    assert!(script.ping.is_patient(), "nothing leaves any more");
    script.deadline();
    assert!(script.outcome.is_some());
}
