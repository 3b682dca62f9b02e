//! One address after the other (`http-tls-measurements` 1.3 to 1.5 and 2.7).

use super::{Script, os, parsed};
use crate::measurement::{
    Input, Output,
    machine::{Call, Failure, Family, ResolveError, TlsFailure},
};

const OK: &str = "HTTP/1.1 204 No Content\r\n\r\n";

#[test]
fn a_host_is_looked_up_without_brackets_and_zone() {
    let name = |command: &str| match &Script::new(command).outputs[..] {
        [
            Output::Resolve {
                name,
                family,
                interface: None,
            },
        ] => (name.clone(), *family),
        other => panic!("no look-up: {other:?}"),
    };
    let both = |name: &str| (name.to_owned(), Family::Both);
    assert_eq!(name("evhttpget http://a.example:80/"), both("a.example"));
    assert_eq!(
        name("evhttpget http://[2001:db8::80]/"),
        both("2001:db8::80")
    );
    assert_eq!(name("evhttpget http://[fe80::1%eth0]/"), both("fe80::1"));
    assert_eq!(name("evhttpget -6 http://192.0.2.1/").1, Family::V6);
}

#[test]
fn a_zone_is_bound_to_and_printed() {
    let mut script = Script::new("evhttpget http://[fe80::1%eth0]/");
    script.resolved(&["fe80::1"]);
    let (_, stream) = script.connecting().unwrap();
    assert_eq!(stream.bind.as_deref(), Some("eth0"));
    script.refuse();
    assert!(
        script
            .entries()
            .ends_with("\"dst_addr\":\"fe80::1%eth0\" }")
    );
}

#[test]
fn a_port_that_is_none_is_a_name_that_is_not_known() {
    for port in ["", "99999", "80x", "b:c", "-1"] {
        for host in ["a.example", "192.0.2.1"] {
            let script = Script::new(&format!("evhttpget -A 1 http://{host}:{port}/"));
            let line = script.lines();
            let is_named = host.starts_with('a');
            assert_eq!(line.contains("\"ttr\":0.000000"), is_named, "{line}");
            assert_eq!(
                script.entries(),
                "{ \"dnserr\":\"nodename nor servname provided, or not known\" }"
            );
        }
    }
    let mut script = Script::new("evhttpget http://a:https/");
    script.resolved(&["192.0.2.80"]);
    assert_eq!(script.to(), "192.0.2.80:443");
}

#[test]
fn a_failed_look_up_says_so() {
    let mut script = Script::new("evhttpget --all --combine http://a/");
    script.tell(Input::Resolved(Err(ResolveError::Failed)));
    assert_eq!(
        script.entries(),
        "{ \"dnserr\":\"non-recoverable failure in name resolution\" }"
    );
}

#[test]
fn the_next_address_is_tried_after_a_failure_to_connect() {
    let mut script = Script::new("evhttpget http://a/");
    script.resolved(&["192.0.2.1", "192.0.2.2", "2001:db8::3"]);
    assert_eq!(script.to(), "192.0.2.1:80");
    script.refuse();
    assert_eq!(script.to(), "192.0.2.2:80");
    let before = script.micros;
    // The timer runs for each address anew.
    script.deadline();
    assert_eq!(script.micros - before, 5_000_000);
    assert_eq!(script.to(), "[2001:db8::3]:80");
    script.after(1000).connect().receive(OK);
    let entry = script.entries();
    assert!(
        entry.starts_with("{ \"method\":\"GET\", \"af\": 6, "),
        "{entry}"
    );
    assert!(entry.contains("\"rt\":1000.000000"), "{entry}");
}

#[test]
fn when_all_fail_the_last_is_reported_with_its_own_reason() {
    let mut script = Script::new("evhttpget http://a/");
    script.resolved(&["192.0.2.1", "192.0.2.2"]);
    script
        .fail(os(Call::Connect, 101))
        .fail(os(Call::Connect, 113));
    assert_eq!(
        script.entries(),
        "{ \"err\":\"connect: No route to host\", \"method\":\"GET\", \"af\": 4, \"dst_addr\":\"192.0.2.2\" }"
    );
}

#[test]
fn once_connected_the_run_stays_with_the_address() {
    let mut script = Script::new("evhttpget http://a/");
    script
        .resolved(&["192.0.2.1", "192.0.2.2"])
        .connect()
        .deadline();
    assert_eq!(
        script.entries(),
        "{ \"err\":\"timeout reading status\", \"method\":\"GET\", \"af\": 4, \"dst_addr\":\"192.0.2.1\", \
         \"src_addr\":\"192.0.2.10\" }"
    );
}

#[test]
fn a_refused_address_ends_the_run_and_stands_alone() {
    let mut script = Script::new("evhttpget http://a/");
    script
        .resolved(&["192.0.2.1", "10.0.0.1", "192.0.2.3"])
        .refuse();
    script.fail(Failure::Forbidden("10.0.0.1".parse().unwrap()));
    assert_eq!(
        script.entries(),
        "{ \"error\": \"address not allowed\", \"dst_addr\":\"10.0.0.1\" }"
    );
}

#[test]
fn with_all_a_refused_address_harms_no_other() {
    let mut script = Script::new("evhttpget --all --store-headers 9 http://a/");
    script.resolved(&["10.0.0.1", "192.0.2.2"]);
    script.fail(Failure::Forbidden("10.0.0.1".parse().unwrap()));
    script.connect().receive(OK);
    let lines = script.lines();
    let (first, second) = lines.split_once('\n').unwrap();
    assert!(
        first.ends_with("[ { \"error\": \"address not allowed\", \"dst_addr\":\"10.0.0.1\" } ] }")
    );
    assert!(second.contains("{ \"header\": [ \"\" ], \"subid\":2, \"submax\":2, \"method\""));
}

#[test]
fn combined_entries_stand_in_one_line_with_their_own_time() {
    let mut script = Script::new("evhttpget -a -c -A 7 http://a/");
    script
        .resolved(&["192.0.2.1", "192.0.2.2", "192.0.2.3"])
        .deadline();
    script.connect().receive(OK);
    script.refuse();
    let lines = script.lines();
    assert_eq!(lines.matches('\n').count(), 1);
    let start = |at| format!("\"time\":{at}, \"method\":\"GET\", \"af\": 4, ");
    let entries = script.entries();
    let expected = format!(
        "{{ \"err\":\"connect: timeout\", {}\"dst_addr\":\"192.0.2.1\" }}, {{ {}\"dst_addr\":\"192.0.2.2\", ",
        start(1_700_000_000),
        start(1_700_000_005)
    );
    assert!(entries.starts_with(&expected), "{entries}");
    assert!(script.outcome().answered);
}

#[test]
fn nothing_of_one_address_shows_in_the_next() {
    let mut script = Script::new("evhttpget --all --eetim http://a/");
    script.resolved(&["192.0.2.1", "192.0.2.2", "192.0.2.3"]);
    script
        .connect()
        .receive("HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
    script.connect().receive(OK);
    script
        .connect()
        .receive("HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nab");
    let sizes: Vec<u64> = script
        .lines()
        .split_inclusive('\n')
        .map(|line| super::json(line)["result"][0]["bsize"].as_u64().unwrap())
        .collect();
    assert_eq!(sizes, [5, 0, 2]);
}

#[test]
fn without_a_socket_the_run_is_over() {
    for (cause, text) in [
        (Failure::Bind, "bind_interface failed"),
        (os(Call::Bind, 99), "bind_interface failed"),
        (os(Call::Socket, 24), "socket call failed"),
    ] {
        let mut script = Script::new("evhttpget --all -I eth9 http://a/");
        script.resolved(&["192.0.2.1", "192.0.2.2"]).fail(cause);
        assert_eq!(
            script.entries(),
            format!(
                "{{ \"sockerr\":\"{text}\", \"subid\":1, \"submax\":2, \"method\":\"GET\", \"af\": 4, \
                 \"dst_addr\":\"192.0.2.1\" }}"
            )
        );
    }
}

#[test]
fn failures_below_https_are_told_as_openssl_does() {
    for (cause, text) in [
        (os(Call::Connect, 111), "error:00000005:lib(0)::reason(5)"),
        (os(Call::Connect, 104), "error:00000005:lib(0)::reason(5)"),
        (os(Call::Connect, 101), "Network is unreachable"),
        (
            Failure::Tls(TlsFailure::Closed),
            "error:0A000126:SSL routines::unexpected eof while reading",
        ),
        (
            Failure::Tls(TlsFailure::NotTls),
            "error:0A00010B:SSL routines::wrong version number",
        ),
        (
            Failure::Tls(TlsFailure::Alert(40)),
            "error:0A000410:SSL routines::sslv3 alert handshake failure",
        ),
        (
            Failure::Tls(TlsFailure::Alert(70)),
            "error:0A00042E:SSL routines::tlsv1 alert protocol version",
        ),
        (
            Failure::Tls(TlsFailure::Alert(120)),
            "error:0A000460:SSL routines::tlsv1 alert no application protocol",
        ),
        (
            Failure::Tls(TlsFailure::Alert(99)),
            "error:0A00044B:SSL routines::reason(1099)",
        ),
    ] {
        let mut script = Script::new("evhttpget https://a.example/");
        script.resolved(&["192.0.2.1"]).fail(cause);
        let start = format!("{{ \"err\":\"connect: {text}\", \"method\"");
        assert!(script.entries().starts_with(&start), "{}", script.entries());
    }
}

#[test]
fn a_timer_of_zero_fires_at_once() {
    let mut script = Script::new("evhttpget --timeout 0 http://a/");
    script.resolved(&["192.0.2.1"]);
    assert_eq!(
        script.machine.deadline().unwrap().0.as_micros(),
        u128::from(script.micros)
    );
    script.deadline();
    assert!(script.entries().contains("connect: timeout"));
}

#[test]
fn a_person_who_stops_gets_what_there_is() {
    let mut script = Script::new("evhttpget --all --combine http://a/");
    script
        .resolved(&["192.0.2.1", "192.0.2.2"])
        .connect()
        .receive(OK);
    script.tell(Input::Stop);
    assert_eq!(script.entries().matches("dst_addr").count(), 1);
    let mut script = Script::new("evhttpget http://a/");
    script.tell(Input::Stop);
    assert_eq!(script.outcome().bodies, []);
}

#[test]
fn the_kernels_handshake_time_counts_where_nothing_is_on_top() {
    for (url, ttc) in [("http://a", "3.250000"), ("https://a", "9.000000")] {
        let mut script = Script::new(&format!("evhttpget --etim {url}/"));
        script.resolved(&["192.0.2.1"]).after(9);
        let (on, stream) = script.connecting().unwrap();
        script.tell(Input::Connected {
            on,
            local: "192.0.2.10:9".parse().unwrap(),
            handshake: Some(std::time::Duration::from_micros(3250)),
            tls: stream.tls.map(|_| Default::default()),
        });
        script.receive(OK);
        let expected = format!("\"ttc\":{ttc}");
        assert!(script.entries().contains(&expected), "{}", script.entries());
    }
}

#[test]
fn times_count_from_when_the_connection_was_asked_for() {
    let mut script = Script::new("evhttpget --etim https://a/");
    script.resolved(&["192.0.2.1"]).after(40);
    let (on, stream) = script.connecting().unwrap();
    // Making TLS ready took 40 ms, which are not the network's.
    script.tell(Input::Stamped { on, tag: 0 });
    script.after(9).tell(Input::Connected {
        on,
        local: "192.0.2.10:9".parse().unwrap(),
        handshake: Some(std::time::Duration::from_micros(3250)),
        tls: stream.tls.map(|_| Default::default()),
    });
    script.after(5).receive(OK);
    let entries = script.entries();
    assert!(entries.contains("\"rt\":14.000000"), "{entries}");
    let times = "\"ttr\":0.000000, \"ttc\":9.000000, \"ttfb\":14.000000";
    assert!(entries.contains(times), "{entries}");
}

#[test]
fn options_of_a_genuine_line_pass() {
    let (common, _) = parsed(
        "-6 -1 --store-headers 1024 -A 13027 -O /home/atlas/data/new/7 http://[2001:db8::80]",
    );
    assert_eq!(common.id.as_deref(), Some("13027"));
}
