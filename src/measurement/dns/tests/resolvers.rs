//! `--resolv`: one server of the resolver file after the other (`dns-measurement` 6.1).

use super::{Script, answer};
use crate::{
    clock::Tick,
    measurement::{
        Input, Output, Seen as AnySeen,
        dns::Seen,
        machine::{ChosenBy, Family, Handle},
    },
    wire::dns::{Query, RD},
};

fn asked(command: &str, servers: &[&str]) -> Script {
    let mut script = Script::new(command);
    let servers = servers.iter().map(|server| (*server).to_owned()).collect();
    script.tell(Input::Resolvers(servers));
    script
}

#[test]
fn the_file_of_the_interface_is_asked_for() {
    let script = Script::new("evtdig --resolv -I eth1 -h");
    let interface = Some("eth1".to_owned());
    assert_eq!(script.outputs, [Output::Resolvers { interface }]);
}

#[test]
fn servers_are_asked_in_turn_a_second_apart_with_names_of_their_own() {
    let mut script = asked(
        "evtdig --resolv --timeout 900 --a $r.example.",
        &["192.168.1.1", "fe80::1%eth0"],
    );
    assert_eq!(
        script.outputs,
        [Output::Resolve {
            name: "192.168.1.1".to_owned(),
            family: Family::Both,
            interface: None
        }]
    );
    let Output::Open { socket, .. } = &script.resolved(&["192.168.1.1"]).outputs[0] else {
        panic!("{:?}", script.outputs);
    };
    assert_eq!(socket.chosen_by, ChosenBy::ResolverFile);
    let first = script.opened_and_sent("192.168.1.7:1");
    let asked = Query::parse(&first).unwrap();
    assert_eq!(asked.flags, RD);
    script.after(5).datagram(Handle(1), answer(&first));
    assert!(
        matches!(
            &script.outputs[1],
            Output::Seen(AnySeen::Dns(Seen::Entry(_)))
        ),
        "{:?}",
        script.outputs
    );
    assert_eq!(script.machine.deadline(), Some(Tick::from_millis(2005)));
    script.deadline();
    let second = script.resolved(&["fe80::1"]).opened_and_sent("[fe80::7]:1");
    assert_ne!(
        asked.name,
        Query::parse(&second).unwrap().name,
        "each server has its own word"
    );
    script.deadline();
    let body = script.body();
    assert!(body.resolvers);
    assert_eq!(body.entries.len(), 2);
    let line = script.line();
    let start = r#""time" : 1700000000 , "lts" : 12 , "resultset" : [ {"time" : 1700000000 , "lts" : 12 , "subid" : 1 , "submax" : 2 , "dst_addr" : "192.168.1.1" , "#;
    assert!(line.starts_with(start), "{line}");
    let end = r#"}},{"time" : 1700000001 , "lts" : 12 , "subid" : 2 , "submax" : 2 , "name" : "fe80::1%eth0" , "dst_addr" : "fe80::1" , "dst_port" : "53" , "af" : 6 , "src_addr" : "fe80::7%eth0" , "proto" : "UDP" , "error" : { "timeout" : 900}}] }"#;
    assert!(line.ends_with(end), "{line}");
}

#[test]
fn every_server_has_its_own_repeats() {
    let mut script = asked(
        "evtdig --resolv --retry 1 -h",
        &["192.168.1.1", "192.168.1.2"],
    );
    for server in ["192.168.1.1", "192.168.1.2"] {
        for _ in 0..2 {
            script.resolved(&[server]).opened_and_sent("192.168.1.7:1");
            script.deadline();
            if script.machine.deadline().is_some() {
                script.deadline();
            }
        }
    }
    let retries: Vec<u32> = script
        .body()
        .entries
        .iter()
        .map(|entry| entry.retries)
        .collect();
    assert_eq!(retries, [1, 1]);
}

#[test]
fn no_server_at_all() {
    let line = r#""time" : 1700000000 , "lts" : 12 , "resultset" : [ {"time" : 1700000000 , "lts" : 12 , "subid" : 1 , "submax" : 0 , "proto" : "UDP" , "error" : {"nameserver": "no local resolvers found"}}] }"#;
    let script = asked("evtdig --resolv -h", &[]);
    assert_eq!(script.line(), line);
    let mut script = Script::new("evtdig --resolv -h");
    script.tell(Input::Deadline);
    assert!(
        script
            .line()
            .ends_with(r#""no local resolvers found"}}] }"#),
        "an unreadable file"
    );
}

#[test]
fn a_macro_that_is_none_names_no_server() {
    let script = Script::new("evtdig --resolv --a $x.");
    let line = script.line();
    let end = r#""subid" : 1 , "submax" : 0 , "proto" : "UDP" , "error" : {"err": "macro expansion failed"}}] }"#;
    assert!(line.ends_with(end), "{line}");
}

#[test]
fn over_tcp_the_policy_holds_and_the_name_stays() {
    let mut script = asked(
        "evtdig --resolv -t --a $r.example.",
        &["192.0.2.1", "192.0.2.2"],
    );
    let mut names = Vec::new();
    for server in ["192.0.2.1", "192.0.2.2"] {
        let on = script.resolved(&[server]).opened_handle();
        script.tell(Input::Connected {
            on,
            local: "198.51.100.7:1".parse().unwrap(),
            handshake: None,
            tls: None,
        });
        let Output::Write { bytes, .. } = &script.outputs[0] else {
            panic!("{:?}", script.outputs);
        };
        names.push(Query::parse(&bytes[2..]).unwrap().name);
        script.deadline();
        if script.machine.deadline().is_some() {
            script.deadline();
        }
    }
    assert_eq!(names[0], names[1]);
}

#[test]
fn what_is_done_is_reported_when_a_person_stops_the_run() {
    let mut script = asked("evtdig --resolv -h", &["192.168.1.1", "192.168.1.2"]);
    let query = script
        .resolved(&["192.168.1.1"])
        .opened_and_sent("192.168.1.7:1");
    script.datagram(Handle(1), answer(&query));
    script.tell(Input::Stop);
    assert_eq!(script.body().entries.len(), 1);
}
