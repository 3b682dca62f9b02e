//! Connections that do not come about, end early or take too long, and the attempts after them.

use super::*;

#[test]
fn a_connection_that_ends_before_the_reply() {
    for errno in [None, Some(104)] {
        let (mut script, query) = reading(TCP);
        script.read(&[&framed(&query)[..20]]);
        script.tell(Input::Ended {
            on: Handle(1),
            errno,
        });
        errors_end(&script, r#"{ "TU_READ_ERR" : ""}"#);
    }
    let mut script = connecting(TCP);
    script.connected(None);
    let cause = os(Call::Write, 32);
    script.tell(Input::Failed {
        on: Handle(1),
        tag: None,
        cause,
    });
    errors_end(&script, r#"{ "TU_READ_ERR" : ""}"#);
}

#[test]
fn five_seconds_for_everything_whatever_is_printed() {
    let mut script = connecting("evtdig -t --timeout 900 -h 192.0.2.53");
    assert_eq!(script.machine.deadline(), Some(Tick::from_millis(6000)));
    script.connected(None).written();
    assert_eq!(script.machine.deadline(), Some(Tick::from_millis(6000)));
    script.deadline();
    errors_end(&script, r#"{ "timeout" : 900}"#);
}

#[test]
fn connections_that_do_not_come_about() {
    for (command, cause, item) in [
        (
            TCP,
            os(Call::Connect, 111),
            r#"{ "TUCONNECT" : "Connection refused"}"#,
        ),
        (
            TCP,
            os(Call::Socket, 13),
            r#"{ "TUSOCKET" : "socket call failed"}"#,
        ),
        (
            TCP,
            Failure::Bind,
            r#"{ "TUSOCKET" : "bind_interface failed"}"#,
        ),
        (
            TCP,
            Failure::Forbidden("192.0.2.53".parse().unwrap()),
            r#"{ "TU_BAD_ADDR" : true}"#,
        ),
        (
            TLS,
            os(Call::Connect, 113),
            r#"{ "TUCONNECT" : "No route to host"}"#,
        ),
        (
            TLS,
            Failure::Tls(TlsFailure::NotTls),
            r#"{ "TUCONNECT" : "the server does not speak TLS"}"#,
        ),
        (
            HTTPS,
            Failure::Tls(TlsFailure::Certificate("expired".to_owned())),
            r#"{ "TUCONNECT" : "expired"}"#,
        ),
    ] {
        let mut script = connecting(command);
        script.tell(Input::Failed {
            on: Handle(1),
            tag: None,
            cause,
        });
        errors_end(&script, item);
        let line = script.line();
        assert!(
            line.contains(r#""dst_addr" : "192.0.2.53" ,"#) && !line.contains("src_addr"),
            "{line}"
        );
    }
}

#[test]
fn a_long_text_of_the_tls_library_is_cut() {
    let mut script = connecting(TLS);
    script.tell(Input::Failed {
        on: Handle(1),
        tag: None,
        cause: Failure::Tls(TlsFailure::Other("é".repeat(60))),
    });
    assert_eq!(script.entry().errors, [Error::Connect("é".repeat(39))]);
}

#[test]
fn errors_are_repeated_at_once_and_only_the_last_attempt_is_told() {
    let mut script = Script::new("evtdig -t --retry 2 -h ns.example.net");
    script.tell(Input::Resolved(Err(ResolveError::Failed)));
    assert!(matches!(
        script.outputs[..],
        [Output::Seen(_), Output::Resolve { .. }]
    ));
    let on = script
        .resolved(&["192.0.2.53", "192.0.2.54"])
        .opened_handle();
    let cause = os(Call::Connect, 111);
    script.tell(Input::Failed {
        on,
        tag: None,
        cause,
    });
    assert!(matches!(
        script.outputs[..],
        [
            Output::Close { .. },
            Output::Seen(_),
            Output::Resolve { .. }
        ]
    ));
    script.resolved(&["192.0.2.53"]);
    script.connected(None).written();
    script.tell(Input::Ended {
        on: script.handle(),
        errno: None,
    });
    let line = script.line();
    let end = r#""dst_name" : "ns.example.net" , "dst_addr" : "192.0.2.53" , "dst_port" : "53" , "af" : 4 , "src_addr" : "198.51.100.7" , "retry" : 2 , "proto" : "TCP" , "error" : { "TU_READ_ERR" : ""} }"#;
    assert!(line.ends_with(end), "{line}");
}

#[test]
fn endless_repeats_do_not_spin() {
    let mut script = Script::new("evtdig -t --retry 4000000000 -h ns.example.net");
    let mut at_once = 0;
    while script.machine.deadline().is_none() {
        script.tell(Input::Resolved(Err(ResolveError::Failed)));
        at_once += 1;
    }
    assert_eq!(at_once, 17);
}

#[test]
fn a_failed_resolution_names_no_address() {
    let mut script = Script::new(TCP);
    script.tell(Input::Resolved(Err(ResolveError::NotKnown)));
    let end = r#""dst_name" : "192.0.2.53" , "proto" : "TCP" , "error" : { "TUDNS" : "nodename nor servname provided, or not known"} }"#;
    assert!(script.line().ends_with(end), "{}", script.line());
}
