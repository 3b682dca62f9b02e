//! Attempts over UDP (`dns-measurement` section 4).

use super::{Script, answer, os};
use crate::{
    clock::Tick,
    measurement::{
        Input, Output, Seen as AnySeen,
        dns::{Error, Seen},
        machine::{Call, ChosenBy, Failure, Family, Handle, ResolveError, SocketKind},
    },
    wire::dns::Query,
};

/// Asked, sent, and waiting for the reply.
fn waiting(command: &str) -> (Script, Vec<u8>) {
    let mut script = Script::new(command);
    let query = script
        .resolved(&["192.0.2.53"])
        .opened_and_sent("198.51.100.7:4000");
    (script, query)
}

#[test]
fn a_query_and_its_reply() {
    let mut script = Script::new("evtdig -4 --ttl --qbuf -h 192.0.2.53");
    assert_eq!(
        script.outputs,
        [Output::Resolve {
            name: "192.0.2.53".to_owned(),
            family: Family::V4,
            interface: None
        }]
    );
    let Output::Open { socket, .. } = &script.resolved(&["192.0.2.53"]).outputs[0] else {
        panic!("{:?}", script.outputs);
    };
    assert_eq!(socket.kind, SocketKind::Udp { port: 53 });
    assert_eq!(socket.chosen_by, ChosenBy::Command);
    let query = script.opened_and_sent("198.51.100.7:4000");
    let asked = Query::parse(&query).unwrap();
    assert_eq!((asked.rtype, asked.class, asked.flags), (16, 3, 0));
    assert_eq!(asked.name, b"\x08hostname\x04bind\0");
    script.after(12).datagram(Handle(1), answer(&query));
    assert_eq!(script.outputs[0], Output::Close { on: Handle(1) });
    assert!(script.outcome().answered);
    let entry = script.entry();
    assert_eq!(entry.ttl, Some(57));
    assert_eq!(entry.query, Some(query));
    assert!((entry.reply.unwrap().rt - 12.0).abs() < 1e-9);
    let start = r#""time" : 1700000000 , "lts" : 12 , "dst_addr" : "192.0.2.53" , "dst_port" : "53" , "af" : 4 , "src_addr" : "198.51.100.7" , "ttl" : 57 , "proto" : "UDP" ,"qbuf" : ""#;
    assert!(script.line().starts_with(start), "{}", script.line());
}

#[test]
fn the_kernels_send_time_counts() {
    let (mut script, query) = waiting("evtdig -h 192.0.2.53");
    let on = Handle(1);
    script.after(2).tell(Input::Stamped { on, tag: 1 });
    assert_eq!(
        script.machine.deadline(),
        Some(Tick::from_millis(6000)),
        "the wait is not prolonged"
    );
    script.after(10).datagram(on, answer(&query));
    assert!((script.entry().reply.unwrap().rt - 10.0).abs() < 1e-9);
}

#[test]
fn short_and_foreign_datagrams_are_ignored_and_counted() {
    let (mut script, query) = waiting("evtdig -h 192.0.2.53");
    let on = Handle(1);
    script.datagram(on, query[..11].to_vec());
    let mut foreign = answer(&query);
    foreign[0] ^= 1;
    script.datagram(on, foreign);
    script.tell(Input::Failed {
        on,
        tag: None,
        cause: os(Call::Connect, 111),
    });
    script.datagram(Handle(9), answer(&query));
    assert_eq!(script.outputs, []);
    script.datagram(on, query.clone());
    let body = script.body();
    assert_eq!(
        body.entries[0].reply.as_ref().unwrap().message,
        query,
        "an echoed query is a reply"
    );
    let counts = body.counts;
    assert_eq!(
        (counts.short, counts.martians, counts.receive_errors),
        (1, 1, 1)
    );
    assert_eq!((counts.sent, counts.received), (1, 2));
    assert_eq!(
        (counts.sent_bytes, counts.received_bytes),
        (query.len() as u64, query.len() as u64)
    );
}

#[test]
fn a_header_alone_is_a_reply() {
    let (mut script, query) = waiting("evtdig -h 192.0.2.53");
    script.datagram(
        Handle(1),
        [&query[..2], &[0x80, 5, 0, 0, 0, 0, 0, 0, 0, 0]].concat(),
    );
    let end = r#""size" : 12 , "abuf" : "#;
    assert!(script.line().contains(end), "{}", script.line());
    assert!(script.line().contains(r#""ANCOUNT" : 0 , "QDCOUNT" : 0"#));
}

#[test]
fn a_datagram_longer_than_the_buffer_is_cut() {
    let (mut script, query) = waiting("evtdig -h 192.0.2.53");
    let mut long = answer(&query);
    long.resize(6000, 0);
    script.datagram(Handle(1), long);
    assert_eq!(script.entry().reply.unwrap().message.len(), 5120);
}

#[test]
fn a_time_out_is_a_result() {
    let (mut script, _) = waiting("evtdig --timeout 900 --qbuf -h 192.0.2.53");
    assert_eq!(script.machine.deadline(), Some(Tick::from_millis(1900)));
    script.deadline();
    assert_eq!(script.outputs[0], Output::Close { on: Handle(1) });
    assert!(!script.outcome().answered);
    assert!(
        script
            .line()
            .ends_with(r#" , "error" : { "timeout" : 900} }"#),
        "{}",
        script.line()
    );
    assert_eq!(script.body().counts.timeouts, 1);
}

#[test]
fn a_time_out_is_repeated_as_a_whole_after_a_pause() {
    let (mut script, first) = waiting("evtdig --retry 1 -h ns.example.net");
    script.deadline();
    assert_eq!(
        script.outputs[1],
        Output::Seen(AnySeen::Dns(Seen::Repeat(1)))
    );
    assert_eq!(
        script.machine.deadline(),
        Some(Tick(std::time::Duration::from_micros(7_000_001)))
    );
    script.after(1).deadline();
    assert!(matches!(script.outputs[..], [Output::Resolve { .. }]));
    let query = script
        .resolved(&["192.0.2.54"])
        .opened_and_sent("198.51.100.7:4001");
    assert_ne!(first[..2], query[..2]);
    script.datagram(Handle(1), answer(&query));
    assert_eq!(script.outputs, [], "the first socket is closed");
    script.datagram(Handle(2), answer(&query));
    let start = r#""time" : 1700000006 , "lts" : 12 , "name" : "ns.example.net" , "dst_addr" : "192.0.2.54" , "dst_port" : "53" , "af" : 4 , "src_addr" : "198.51.100.7" , "retry" : 1 , "proto" : "UDP" ,"result""#;
    assert!(script.line().starts_with(start), "{}", script.line());
}

#[test]
fn every_address_is_sent_to_and_the_last_may_answer() {
    let mut script = Script::new("evtdig -a -h ns.example.net");
    let first = script
        .resolved(&["192.0.2.53", "2001:db8::53"])
        .opened_and_sent("198.51.100.7:1");
    assert_eq!(script.outputs[0], Output::Close { on: Handle(1) });
    let second = script.opened_and_sent("[2001:db8::7]:1");
    assert_ne!(first[..2], second[..2]);
    script.datagram(Handle(1), answer(&first));
    assert_eq!(script.outputs, []);
    script.datagram(Handle(2), answer(&second));
    let part = r#""name" : "ns.example.net" , "dst_addr" : "2001:db8::53" , "dst_port" : "53" , "af" : 6 , "src_addr" : "2001:db8::7" ,"#;
    assert!(script.line().contains(part), "{}", script.line());
    assert_eq!(script.body().counts.sent, 2);
}

/// The socket is open, and the packet cannot be sent.
fn not_sent(script: &mut Script, local: &str, errno: i32) {
    let on = script.opened_handle();
    let local = local.parse().unwrap();
    script.tell(Input::Opened {
        on,
        local,
        ident: 0,
    });
    script.tell(Input::Failed {
        on,
        tag: Some(1),
        cause: os(Call::Send, errno),
    });
}

#[test]
fn an_early_send_error_stands_beside_the_final_result() {
    let mut script = Script::new("evtdig -h ns.example.net");
    script.resolved(&["192.0.2.53", "192.0.2.54"]);
    not_sent(&mut script, "198.51.100.7:1", 1);
    let query = script.opened_and_sent("198.51.100.7:2");
    script.datagram(Handle(2), answer(&query));
    let line = script.line();
    assert!(line.contains(r#","result" : { "rt""#), "{line}");
    assert!(
        line.ends_with(r#" }, "error" : { "senderror" : "AF Operation not permitted, AF_INET"} }"#),
        "{line}"
    );
}

#[test]
fn a_last_send_error_ends_the_attempt_for_good() {
    let mut script = Script::new("evtdig --retry 5 -6 -h 2001:db8::53");
    script.resolved(&["2001:db8::53"]);
    not_sent(&mut script, "[2001:db8::7]:1", 101);
    let line = script.line();
    assert!(line.contains(r#""dst_addr" : "2001:db8::53""#), "{line}");
    assert!(
        line.ends_with(r#" "senderror" : "AF Network is unreachable, NOT AF_INET"} }"#),
        "{line}"
    );
    let counts = script.body().counts;
    assert_eq!(
        (counts.send_errors, counts.sent, counts.sent_bytes),
        (1, 0, 0)
    );
}

#[test]
fn sockets_that_cannot_be_opened() {
    for (cause, item, aimed) in [
        (
            os(Call::Connect, 101),
            r#"{ "socket" : "connect failed Network is unreachable"}"#,
            false,
        ),
        (
            os(Call::Socket, 13),
            r#"{ "socket" : "socket failed Permission denied"}"#,
            false,
        ),
        (
            Failure::Bind,
            r#"{ "socket" : "bind_interface failed"}"#,
            false,
        ),
        (
            Failure::Forbidden("10.0.0.53".parse().unwrap()),
            r#"{ "reason" : "address not allowed"}"#,
            true,
        ),
    ] {
        let mut script = Script::new("evtdig --retry 5 -h 10.0.0.53");
        let on = script.resolved(&["10.0.0.53"]).opened_handle();
        script.tell(Input::Failed {
            on,
            tag: None,
            cause,
        });
        let line = script.line();
        assert!(
            line.ends_with(&format!(r#""proto" : "UDP" , "error" : {item} }}"#)),
            "{line}"
        );
        assert_eq!(
            line.contains(r#""dst_addr" : "10.0.0.53" , "dst_port" : "53" , "af" : 4 "#),
            aimed,
            "{line}"
        );
        assert_eq!(
            line.contains(r#""dst_name" : "10.0.0.53" ,"#),
            !aimed,
            "{line}"
        );
    }
}

#[test]
fn a_later_socket_that_cannot_be_opened_leaves_the_address_before() {
    let mut script = Script::new("evtdig -h ns.example.net");
    script
        .resolved(&["192.0.2.53", "192.0.2.54"])
        .opened_and_sent("198.51.100.7:1");
    let on = script.opened_handle();
    let cause = os(Call::Connect, 101);
    script.tell(Input::Failed {
        on,
        tag: None,
        cause,
    });
    let line = script.line();
    assert!(
        line.contains(r#""name" : "ns.example.net" , "dst_addr" : "192.0.2.53" ,"#),
        "{line}"
    );
}

#[test]
fn a_later_address_that_is_refused_has_no_source() {
    let mut script = Script::new("evtdig -h ns.example.net");
    script
        .resolved(&["192.0.2.53", "10.0.0.53"])
        .opened_and_sent("198.51.100.7:1");
    let on = script.opened_handle();
    let cause = Failure::Forbidden("10.0.0.53".parse().unwrap());
    script.tell(Input::Failed {
        on,
        tag: None,
        cause,
    });
    let line = script.line();
    assert!(
        line.contains(r#""dst_addr" : "10.0.0.53" , "dst_port" : "53" , "af" : 4 , "proto""#),
        "{line}"
    );
}

#[test]
fn a_name_without_addresses() {
    for (error, text) in [
        (
            ResolveError::NotKnown,
            "nodename nor servname provided, or not known",
        ),
        (
            ResolveError::Failed,
            "non-recoverable failure in name resolution",
        ),
    ] {
        let mut script = Script::new("evtdig --retry 5 -h ns.example.net");
        script.tell(Input::Resolved(Err(error)));
        let errors = script.entry().errors;
        assert_eq!(
            errors,
            [Error::Resolution(
                "ns.example.net".to_owned(),
                text.to_owned()
            )]
        );
        let end = format!(
            r#""dst_name" : "ns.example.net" , "proto" : "UDP" , "error" : {{"evdns_getaddrinfo": "ns.example.net {text}"}} }}"#
        );
        assert!(script.line().ends_with(&end), "{}", script.line());
    }
}

#[test]
fn a_port_that_is_none_is_not_even_looked_up() {
    for port in ["nonsense", "65536", "-1", ""] {
        let script = Script::new(&format!(
            "evtdig --retry 4000000000 --port={port} -h 192.0.2.53"
        ));
        let text = "nodename nor servname provided, or not known".to_owned();
        assert_eq!(
            script.entry().errors,
            [Error::Resolution("192.0.2.53".to_owned(), text)]
        );
    }
    let mut script = Script::new("evtdig --port domain -h 192.0.2.53");
    script
        .resolved(&["192.0.2.53"])
        .opened_and_sent("198.51.100.7:1");
    script.deadline();
    assert!(
        script.line().contains(r#""dst_port" : "domain""#),
        "{}",
        script.line()
    );
}

#[test]
fn a_macro_that_is_none_sends_nothing() {
    let script = Script::new("evtdig --a $x.example. 192.0.2.53");
    let line = r#""time" : 0 , "lts" : 12 , "dst_name" : "192.0.2.53" , "proto" : "UDP" , "error" : {"err": "macro expansion failed"} }"#;
    assert_eq!(script.line(), line);
}

#[test]
fn a_link_local_server_is_reached_through_its_zone() {
    let mut script = Script::new("evtdig -6 -h fe80::53%eth0");
    let Output::Resolve { name, .. } = &script.outputs[0] else {
        panic!("{:?}", script.outputs);
    };
    assert_eq!(name, "fe80::53");
    let Output::Open { socket, .. } = &script.resolved(&["fe80::53"]).outputs[0] else {
        panic!("{:?}", script.outputs);
    };
    assert_eq!(socket.bind.as_deref(), Some("eth0"));
    script.opened_and_sent("[fe80::7]:1");
    script.deadline();
    let part = r#""name" : "fe80::53%eth0" , "dst_addr" : "fe80::53" , "dst_port" : "53" , "af" : 6 , "src_addr" : "fe80::7%eth0" ,"#;
    assert!(script.line().contains(part), "{}", script.line());
}

#[test]
fn destination_options_go_to_ipv6_only() {
    for (server, header) in [("192.0.2.53", 0), ("2001:db8::53", 136)] {
        let mut script = Script::new(&format!("evtdig -a --ipv6-dest-option 128 -h {server}"));
        let Output::Open { socket, .. } = &script.resolved(&[server]).outputs[0] else {
            panic!("{:?}", script.outputs);
        };
        assert_eq!(socket.destination_options.len(), header);
    }
}

#[test]
fn the_name_carries_probe_and_time_if_asked() {
    let (_, query) = waiting("evtdig --p_probe_id --a $p.example. 192.0.2.53");
    let name = Query::parse(&query).unwrap().name;
    assert_eq!(name, b"\x071000123\x0a1700000000\x071000123\x07example\0");
}

#[test]
fn a_person_who_stops_the_run_gets_nothing_of_an_unfinished_attempt() {
    let (mut script, _) = waiting("evtdig -h 192.0.2.53");
    script.tell(Input::Stop);
    assert_eq!(script.outcome().bodies, []);
}

#[test]
fn a_person_who_stops_a_repeat_gets_the_attempt_before_it() {
    let (mut script, _) = waiting("evtdig --retry 3 --timeout 700 --qbuf -h 192.0.2.53");
    script.deadline();
    script.deadline().resolved(&["192.0.2.53"]);
    script.opened_and_sent("198.51.100.7:40001");
    script.deadline();
    script.deadline().resolved(&["192.0.2.53"]);
    script.opened_and_sent("198.51.100.7:40002");
    script.tell(Input::Stop);
    let line = script.line();
    assert!(
        line.contains(r#""retry" : 1 , "proto" : "UDP" ,"qbuf" : "#),
        "{line}"
    );
    assert!(
        line.ends_with(r#", "error" : { "timeout" : 700} }"#),
        "{line}"
    );
    assert!(!script.outcome().answered);
}

#[test]
fn a_person_who_stops_after_a_failed_send_is_told_of_it() {
    let mut script = Script::new("evtdig -h ns.example");
    script.resolved(&["192.0.2.53", "192.0.2.54"]);
    let on = script.opened_handle();
    let local = "198.51.100.7:40000".parse().unwrap();
    script.tell(Input::Opened {
        on,
        local,
        ident: 0,
    });
    script.tell(Input::Failed {
        on,
        tag: Some(1),
        cause: os(Call::Send, 1),
    });
    script.tell(Input::Stop);
    let end = r#", "error" : { "senderror" : "AF Operation not permitted, AF_INET"} }"#;
    assert!(script.line().ends_with(end), "{}", script.line());
}
