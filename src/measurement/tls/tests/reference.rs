//! Runs with the reference hello: `-V`, addresses in turn, the timer, everything that a server can say.

use super::{
    super::{Answer, Missing, Protocol, Shown},
    *,
};
use crate::{
    measurement::machine::ResolveError,
    wire::tls::{Alert, Problem},
};

#[test]
fn a_name_is_resolved_connected_to_and_greeted() {
    let mut script = Script::new("-V TLS1.0 -h www.example.com -i 192.0.2.10 a.example");
    assert_eq!(
        script.outputs,
        [Output::Resolve {
            name: "a.example".to_owned(),
            family: crate::measurement::machine::Family::Both,
            interface: None
        }]
    );
    script.after(7).resolved(&[SERVER]);
    let (_, stream) = script.connect();
    assert_eq!(
        stream,
        Stream {
            to: "198.51.100.7:443".parse().unwrap(),
            bind: Some("192.0.2.10".to_owned()),
            tls: None
        }
    );
    let hello = script.after(10).stands();
    assert_eq!(hello[..3], [22, 3, 0]);
    assert_eq!(hello[9..11], [3, 1]);
    assert_eq!(hello[11..15], 1_700_000_000u32.to_be_bytes());
    assert_eq!(hello.len(), 133 + 9 + 15);
    script.after(5).reads(&server_hello());
    script.after(5).reads(&certificate());
    assert!(script.outcome().answered);
    assert_eq!(
        script.finding(),
        Finding::Answer(Answer {
            source: ip("192.0.2.10"),
            protocol: Protocol::Record([3, 3]),
            ttc: 10.0,
            rt: 20.0,
            cipher: 0xc02b,
            shown: Shown::Certificates(vec![DER.to_vec()]),
        })
    );
    assert_eq!(script.body().ttr, Some(7.0));
    assert!(
        script
            .outputs
            .iter()
            .any(|output| matches!(output, Output::Close { .. }))
    );
}

#[test]
fn the_kernels_round_trip_is_the_time_to_connect() {
    let mut script = Script::new("-V TLS1.2 198.51.100.7");
    script.resolved(&[SERVER]);
    let (on, _) = script.connect();
    script.after(10).tell(Input::Connected {
        on,
        local: LOCAL.parse().unwrap(),
        handshake: Some(std::time::Duration::from_micros(9_250)),
        tls: None,
    });
    script.tell(Input::Written { on });
    script.after(10).reads(&alert(2, 40));
    assert_eq!(
        script.tail(),
        "\"method\":\"TLS\", \"ver\":\"1.2\", \"dst_addr\":\"198.51.100.7\", \"af\": 4, \
         \"src_addr\":\"192.0.2.10\", \"ttc\": 9.250000, \"rt\": 20.000000, \
         \"server_cipher\": \"0x0000\", \"alert\": { \"level\": 2, \"description\": 40 }"
    );
    assert_eq!(script.body().ttr, None, "a literal");
}

#[test]
fn two_runs_of_one_seed_send_the_same_and_others_do_not() {
    let hello = || {
        let mut script = Script::new("-V TLS1.2 198.51.100.7");
        script.resolved(&[SERVER]).stands()
    };
    assert_eq!(hello(), hello());
    assert_ne!(hello()[15..43], [0; 28]);
}

#[test]
fn addresses_are_tried_until_one_connects_and_only_the_last_is_reported() {
    let mut script = Script::new("-V TLS1.2 a.example");
    script.resolved(&["198.51.100.1", "2001:db8::2", SERVER]);
    script.refused();
    assert_eq!(script.connect().1.to, "[2001:db8::2]:443".parse().unwrap());
    script.deadline();
    assert_eq!(script.connect().1.to, "198.51.100.7:443".parse().unwrap());
    script.fails(os(Call::Connect, nix::libc::ENETUNREACH));
    assert_eq!(
        script.tail(),
        "\"dst_addr\":\"198.51.100.7\", \"af\": 4, \"err\":\"connect: Network is unreachable\""
    );
    assert!(!script.outcome().answered);
}

#[test]
fn the_timer_is_five_seconds_for_each_address() {
    let mut script = Script::new("-V TLS1.2 a.example");
    script.after(3000).resolved(&["198.51.100.1", SERVER]);
    assert_eq!(script.machine.deadline(), Some(Tick::from_millis(9000)));
    script.deadline();
    assert_eq!(script.machine.deadline(), Some(Tick::from_millis(14_000)));
    script.after(4000).stands();
    assert_eq!(
        script.machine.deadline(),
        Some(Tick::from_millis(14_000)),
        "never armed again"
    );
    script.deadline();
    assert_eq!(
        script.tail(),
        "\"dst_addr\":\"198.51.100.7\", \"af\": 4, \"src_addr\":\"192.0.2.10\", \
         \"ttc\": 4000.000000, \"err\":\"timeout reading hello\""
    );
    assert_eq!(script.body().started, 1_700_000_000);
    assert_eq!(script.body().ended, 1_700_000_013);
}

#[test]
fn an_only_address_that_does_not_connect_times_out() {
    let mut script = Script::new("198.51.100.7");
    script.resolved(&[SERVER]).deadline();
    assert!(script.tail().ends_with("\"err\":\"connect: timeout\""));
}

#[test]
fn what_no_address_can_mend_ends_the_run() {
    for (cause, text) in [
        (
            Failure::Forbidden(ip(SERVER)),
            "\"error\": \"address not allowed\"",
        ),
        (Failure::Bind, "\"sockerr\":\"bind_interface failed\""),
        (os(Call::Bind, 99), "\"sockerr\":\"bind_interface failed\""),
        (os(Call::Socket, 24), "\"sockerr\":\"socket call failed\""),
    ] {
        for words in ["-V TLS1.2 a.example", "a.example"] {
            let mut script = Script::new(words);
            script
                .resolved(&[SERVER, "198.51.100.8"])
                .fails(cause.clone());
            assert_eq!(
                script.tail(),
                format!("\"dst_addr\":\"198.51.100.7\", \"af\": 4, {text}")
            );
        }
    }
}

#[test]
fn no_address_is_a_dns_error() {
    for (answer, text) in [
        (
            Err(ResolveError::NotKnown),
            "nodename nor servname provided, or not known",
        ),
        (
            Err(ResolveError::Failed),
            "non-recoverable failure in name resolution",
        ),
        (Ok(vec![]), "non-recoverable failure in name resolution"),
    ] {
        let mut script = Script::new("a.example");
        script.after(5).tell(Input::Resolved(answer));
        assert_eq!(script.tail(), format!("\"dnserr\":\"{text}\""));
        assert_eq!(script.body().ttr, Some(5.0));
    }
}

#[test]
fn a_port_that_is_none_asks_nobody() {
    for port in ["foo", "99999", "80x", "''"] {
        for target in ["a.example", "198.51.100.7"] {
            let script = Script::new(&format!("-p {port} {target}"));
            assert_eq!(
                script.finding(),
                Finding::Unresolved(ResolveError::NotKnown),
                "{port}"
            );
        }
    }
    let mut script = Script::new("-p imaps a.example");
    script.resolved(&[SERVER]);
    assert_eq!(script.connect().1.to.port(), 993);
}

#[test]
fn an_answer_octet_by_octet_is_the_same() {
    let mut script = Script::connected("-V TLS1.2 a.example");
    let bytes = [server_hello(), certificate()].concat();
    for octet in &bytes {
        script.reads(&[*octet]);
    }
    assert!(script.tail().ends_with(&format!("\"cert\":[ {PEM} ]")));
}

#[test]
fn nothing_at_hand_is_waited_for_again() {
    let mut script = Script::connected("-V TLS1.2 a.example");
    script.reads(&[]);
    script.awaited();
}

#[test]
fn ends_before_and_after_the_hello_are_told_as_time_outs() {
    for (errno, why) in [(None, Missing::Closed), (Some(104), Missing::Broken(104))] {
        let mut script = Script::connected("-V TLS1.2 a.example");
        script.ends(errno);
        let stalled = |greeted| Finding::Stalled {
            source: ip("192.0.2.10"),
            ttc: 10.0,
            greeted,
            why,
        };
        assert_eq!(script.finding(), stalled(false));
        let mut script = Script::connected("-V TLS1.2 a.example");
        script.reads(&server_hello()).ends(errno);
        assert_eq!(script.finding(), stalled(true));
    }
}

#[test]
fn a_hello_that_cannot_be_sent_is_one_without_an_answer() {
    let mut script = Script::new("-V TLS1.2 a.example");
    script.resolved(&[SERVER]);
    let (on, _) = script.connect();
    script.tell(Input::Connected {
        on,
        local: LOCAL.parse().unwrap(),
        handshake: None,
        tls: None,
    });
    script.tell(Input::Failed {
        on,
        tag: None,
        cause: os(Call::Write, 104),
    });
    assert!(script.tail().ends_with("\"err\":\"timeout reading hello\""));
}

#[test]
fn nonsense_is_named_without_times() {
    let mut script = Script::connected("-V TLS1.2 a.example");
    script.reads(&record(23, b"x"));
    assert_eq!(
        script.tail(),
        "\"dst_addr\":\"198.51.100.7\", \"af\": 4, \"err\":\"bad type\""
    );
    let mut script = Script::connected("-V TLS1.2 a.example");
    script.reads(&[server_hello(), alert(2, 40)].concat());
    assert_eq!(script.finding(), Finding::Nonsense(Problem::Type));
}

#[test]
fn a_warning_before_the_hello_is_the_result() {
    let mut script = Script::connected("-V TLS1.2 a.example");
    script.reads(&[alert(1, 112), server_hello(), certificate()].concat());
    let Finding::Answer(answer) = script.finding() else {
        panic!("{:?}", script.finding());
    };
    assert_eq!(answer.cipher, 0);
    let expected = Alert {
        level: 1,
        description: 112,
    };
    assert_eq!(answer.shown, Shown::Alert(expected));
}

#[test]
fn endless_octets_are_given_up() {
    let mut script = Script::connected("-V TLS1.2 a.example");
    let endless = record(22, &[&[2, 255, 255, 255][..], &[0; 4000]].concat());
    for _ in 0..1000 {
        script.reads(&endless);
        if matches!(script.outputs.last(), Some(Output::Done(_))) {
            break;
        }
    }
    assert_eq!(
        script.finding(),
        Finding::Stalled {
            source: ip("192.0.2.10"),
            ttc: 10.0,
            greeted: false,
            why: Missing::TooMuch
        }
    );
}

#[test]
fn a_stop_ends_a_run_without_a_result() {
    let mut script = Script::connected("-V TLS1.2 a.example");
    script.tell(Input::Stop);
    assert_eq!(script.outcome().bodies, []);
    script.tell(Input::Deadline);
    assert_eq!(script.outputs, []);
}
