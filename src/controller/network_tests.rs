//! The machine by script: what happens, what it says.

use std::{sync::Arc, time::Duration};

use proptest::prelude::*;

use super::*;
use crate::{
    clock::UnixTime,
    controller::{
        config::{Approval, Measurement, OneOff, UnknownKeys},
        identity::test_key,
        messages::{ExecFault, Fault, Manner, PostFault, Posted},
        telnet::End,
    },
};

const BLOCK: &[u8] =
    b"P_TO_R_INIT\nTOKEN_SPECS fluffy 1000 5120 debian/12/x86_64\nREASON_FOR_REGISTRATION NEW\n";
const PING: &str =
    "RESULT { \"id\":\"1001\", \"time\":1700000000, \"result\": [ { \"rtt\":1.5 } ] }";
const LOST: &str =
    "RESULT { \"id\":\"1001\", \"time\":1700000010, \"result\": [ { \"x\":\"*\" } ] }";

fn at(millis: u64) -> Now {
    Now::new(
        Tick::from_millis(millis),
        UnixTime::from_secs(1_700_000_000),
        -1,
    )
}

fn assigned() -> Controller {
    Controller {
        host: "192.0.2.1".to_owned(),
        port: 8443,
        key_type: "ssh-rsa".to_owned(),
        key_blob: "AAAA".to_owned(),
    }
}

/// A network and the numbers of its driver.
struct Stage {
    network: Network,
    tickets: u64,
}

impl Stage {
    fn new(change: impl FnOnce(&mut Config)) -> Self {
        Self::remembering(Memory::default(), change)
    }

    fn remembering(memory: Memory, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config {
            approval: Approval::Automatic,
            ..Config::default()
        };
        change(&mut config);
        config.check().unwrap();
        Self {
            network: Network::new(config, assigned(), [7; 32], memory),
            tickets: 0,
        }
    }

    fn tell(&mut self, millis: u64, input: Input) -> Vec<Output> {
        self.network.handle(&at(millis), input)
    }

    fn ask(&mut self, millis: u64, input: impl FnOnce(Ticket) -> Input) -> Vec<Output> {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.network.handle(&at(millis), input(ticket))
    }

    fn admits(&mut self, role: Role, key: u8) -> bool {
        let key = test_key(key);
        let said = self.ask(0, |ticket| Input::Offered { ticket, role, key });
        answer_in(&said) == Answer::Admitted(true)
    }

    fn join(&mut self, connection: u64, role: Role, key: u8) {
        let (connection, key) = (ConnectionId(connection), test_key(key));
        assert_eq!(
            self.tell(
                0,
                Input::Joined {
                    connection,
                    role,
                    key
                }
            ),
            []
        );
    }

    fn register(&mut self, key: u8, stdin: &[u8]) -> String {
        let connection = ConnectionId(1000 + u64::from(key));
        self.join(connection.0, Role::Registration, key);
        let stdin = stdin.to_vec();
        let said = self.ask(0, |ticket| Input::Register {
            ticket,
            connection,
            stdin,
        });
        self.tell(0, Input::Left { connection });
        exec_in(&said).stdout
    }

    fn init(&mut self, key: u8) -> String {
        let connection = ConnectionId(2000 + u64::from(key));
        self.join(connection.0, Role::Controller, key);
        let said = self.ask(0, |ticket| Input::Init { ticket, connection });
        self.tell(0, Input::Left { connection });
        exec_in(&said).stdout
    }

    fn forward(&mut self, connection: u64, address: &str, port: u32) -> Vec<Output> {
        let (connection, address) = (ConnectionId(connection), address.to_owned());
        self.ask(0, |ticket| Input::Forward {
            ticket,
            connection,
            address,
            port,
        })
    }

    /// Registers, gets a session, and holds it on this connection; gives the session and what KEEP led to.
    fn keep(&mut self, connection: u64, key: u8) -> (String, Vec<Output>) {
        self.register(key, BLOCK);
        let answer = self.init(key);
        let (port, session) = session_in(&answer);
        self.join(connection, Role::Controller, key);
        let said = self.forward(connection, "localhost", u32::from(port));
        assert_eq!(answer_in(&said), Answer::Forwarded(true));
        let connection = ConnectionId(connection);
        (session, self.tell(0, Input::Keep { connection }))
    }

    fn post(&mut self, millis: u64, connection: u64, target: &str, body: &str) -> Vec<Output> {
        let post = Post {
            method: "POST".to_owned(),
            target: target.to_owned(),
            body: body.as_bytes().to_vec(),
        };
        let connection = ConnectionId(connection);
        self.ask(millis, |ticket| Input::Posted {
            ticket,
            connection,
            post,
        })
    }

    /// A main post of the only probe; its lines are stored if the machine asks for it.
    fn upload(&mut self, millis: u64, session: &str, lines: &[&str]) -> (Response, Posted) {
        let mut said = self.post(millis, 1, &target(session), &body(session, lines));
        if let [Output::Store { ticket, .. }] = said[..] {
            said = self.tell(
                millis,
                Input::Stored {
                    ticket,
                    failed: None,
                },
            );
        }
        answered(&said)
    }

    fn request(&mut self, request: Request) -> (Result<(), RequestError>, Vec<Output>) {
        let mut said = self.ask(0, |ticket| Input::Request { ticket, request });
        match said.remove(0) {
            Output::Answer(_, Answer::Requested(result)) => (result, said),
            other => panic!("{other:?}"),
        }
    }

    fn commanded(&mut self, millis: u64, connection: u64, end: End) -> Vec<Output> {
        let outcome = Outcome {
            sent: 0,
            replies: Vec::new(),
            end,
        };
        let connection = ConnectionId(connection);
        self.tell(
            millis,
            Input::Commanded {
                connection,
                outcome,
            },
        )
    }
}

fn target(session: &str) -> String {
    format!("/?PROBE_ID=1&SESSION_ID={session}")
}

fn body(session: &str, lines: &[&str]) -> String {
    let lines: String = lines.iter().map(|line| format!("{line}\n")).collect();
    format!("P_TO_C_REPORT\n{lines}\nSESSION_ID {session}\n")
}

fn answer_in(said: &[Output]) -> Answer {
    let mut answers = said.iter().filter_map(|output| match output {
        Output::Answer(_, answer) => Some(answer.clone()),
        _ => None,
    });
    let answer = answers.next().expect("an answer");
    assert!(answers.next().is_none(), "one answer only");
    answer
}

fn exec_in(said: &[Output]) -> Exec {
    match answer_in(said) {
        Answer::Exec(exec) => exec,
        other => panic!("{other:?}"),
    }
}

fn session_in(answer: &str) -> (u16, String) {
    let rest = answer.strip_prefix("OK\nREMOTE_PORT ").unwrap();
    let (port, session) = rest.split_once("\nSESSION_ID ").unwrap();
    (port.parse().unwrap(), session.trim_end().to_owned())
}

fn answered(said: &[Output]) -> (Response, Posted) {
    match said {
        [
            Output::Answer(_, Answer::Respond(response)),
            Output::Event(Event::Posted(posted)),
        ] => (response.clone(), posted.clone()),
        other => panic!("{other:?}"),
    }
}

/// The lines of the dialogue asked for, if one was.
fn command_in(said: &[Output]) -> Option<Arc<Vec<String>>> {
    said.iter().find_map(|output| match output {
        Output::Command { lines, .. } => Some(Arc::clone(lines)),
        _ => None,
    })
}

fn ping(target: &str) -> Measurement {
    Measurement {
        command: format!("evping -4 -A 1001 {target}"),
        interval: 10,
        start: 0,
        end: None,
        spread: 0,
        probes: None,
    }
}

fn one_off(target: &str, probes: Option<Vec<u32>>) -> OneOff {
    OneOff {
        command: format!("evping -4 -A 2002 {target}"),
        probes,
    }
}

#[test]
fn an_approved_probe_is_assigned_its_controller() {
    let mut stage = Stage::new(|_| {});
    let expected = "OK\nCONTROLLER 192.0.2.1 8443 ssh-rsa AAAA\nREREGISTER 3000\nPROBE_ID 1\n";
    assert_eq!(stage.register(1, BLOCK), expected);
    assert!(stage.register(2, BLOCK).ends_with("PROBE_ID 2\n"));
    assert_eq!(stage.register(1, BLOCK), expected, "a number stays");
}

#[test]
fn a_block_that_is_none_is_refused() {
    let mut stage = Stage::new(|_| {});
    assert!(stage.register(1, b"").starts_with("REFUSED\n"));
    assert!(
        stage
            .register(1, b"GET / HTTP/1.1\n")
            .starts_with("REFUSED\n")
    );
}

#[test]
fn a_stranger_is_refused_or_waits_by_policy() {
    let mut refusing = Stage::new(|config| config.approval = Approval::Listed);
    assert!(!refusing.admits(Role::Registration, 1) && !refusing.admits(Role::Controller, 1));
    let mut patient = Stage::new(|config| {
        config.approval = Approval::Listed;
        config.unknown_keys = UnknownKeys::Pending;
    });
    assert!(patient.admits(Role::Registration, 1));
    assert_eq!(patient.register(1, BLOCK), "OK\n");
    assert!(!patient.admits(Role::Controller, 1));
    assert_eq!(
        patient.request(Request::Approve(ProbeId(1), true)).0,
        Ok(())
    );
    assert!(patient.register(1, BLOCK).starts_with("OK\nCONTROLLER "));
}

#[test]
fn a_suspended_probe_loses_its_session() {
    let mut stage = Stage::new(|_| {});
    stage.keep(1, 1);
    let (result, said) = stage.request(Request::Approve(ProbeId(1), false));
    assert_eq!(result, Ok(()));
    assert!(said.contains(&Output::Drop(ConnectionId(1))));
    assert_eq!(stage.register(1, BLOCK), "OK\n");
    assert!(stage.init(1).starts_with("REFUSED\n"));
}

#[test]
fn each_init_gives_another_session_and_the_same_port() {
    let mut stage = Stage::new(|_| {});
    stage.register(1, BLOCK);
    stage.register(2, BLOCK);
    let (first, second, other) = (stage.init(1), stage.init(1), stage.init(2));
    let ports = [&first, &second, &other].map(|answer| session_in(answer).0);
    assert_eq!(ports, [30_000, 30_000, 30_001]);
    assert_ne!(session_in(&first).1, session_in(&second).1);
    assert_eq!(session_in(&first).1.len(), 64);
}

#[test]
fn init_follows_policy_and_faults() {
    let mut waiting = Stage::new(|config| config.controller.init = InitPolicy::Wait(100));
    waiting.register(1, BLOCK);
    assert_eq!(waiting.init(1), "WAIT\nTIMEOUT 100\n");
    let mut stage = Stage::new(|_| {});
    for fault in [
        ExecFault::PlainOk,
        ExecFault::Silent,
        ExecFault::Text("x".to_owned()),
    ] {
        let fault = Fault::Inits { count: 1, fault };
        assert_eq!(stage.request(Request::Fault(fault)).0, Ok(()));
    }
    let fault = ExecFault::Wait(120);
    stage
        .request(Request::Fault(Fault::Registrations { count: 1, fault }))
        .0
        .unwrap();
    assert_eq!(stage.register(1, BLOCK), "WAIT\nTIMEOUT 120\n");
    stage.register(1, BLOCK);
    assert_eq!(
        [stage.init(1), stage.init(1), stage.init(1)],
        ["OK\n", "", "x"]
    );
    assert!(stage.init(1).starts_with("OK\nREMOTE_PORT "));
    stage
        .request(Request::Fault(Fault::Logins { count: 1 }))
        .0
        .unwrap();
    assert!(!stage.admits(Role::Registration, 1));
    assert!(stage.admits(Role::Registration, 1));
}

#[test]
fn only_the_probes_own_port_is_forwarded() {
    let mut stage = Stage::new(|_| {});
    stage.register(1, BLOCK);
    stage.init(1);
    stage.join(1, Role::Controller, 1);
    for (address, port) in [
        ("localhost", 30_001),
        ("localhost", 95_536),
        ("127.0.0.1", 30_000),
        ("", 30_000),
    ] {
        assert_eq!(
            answer_in(&stage.forward(1, address, port)),
            Answer::Forwarded(false)
        );
    }
    assert_eq!(
        answer_in(&stage.forward(1, "localhost", 30_000)),
        Answer::Forwarded(true)
    );
}

#[test]
fn a_session_is_told_its_table_and_then_its_one_offs() {
    let mut stage = Stage::new(|config| {
        config.measurements = vec![ping("192.0.2.7")];
        config.one_offs = vec![
            one_off("192.0.2.8", None),
            one_off("192.0.2.9", Some(vec![2])),
        ];
    });
    let (session, said) = stage.keep(1, 1);
    let lines = command_in(&said).unwrap();
    assert_eq!(lines[0], "CRONTAB /home/atlas/crons/main");
    assert!(lines[1].contains(&format!("?PROBE_ID=1&SESSION_ID={session} ")));
    let one_offs: Vec<&String> = lines
        .iter()
        .filter(|line| line.starts_with("ONEOFF "))
        .collect();
    assert_eq!(
        one_offs,
        ["ONEOFF /home/atlas/crons/oneoff evping -4 -A 2002 192.0.2.8"]
    );
    let said = stage.commanded(10, 1, End::Acknowledged);
    assert_eq!(command_in(&said), None);
    // The table comes again with a new session, the one-off does not.
    stage.tell(
        20,
        Input::Left {
            connection: ConnectionId(1),
        },
    );
    let (_, said) = stage.keep(2, 1);
    assert!(
        !command_in(&said)
            .unwrap()
            .iter()
            .any(|line| line.starts_with("ONEOFF "))
    );
}

#[test]
fn nothing_is_said_before_both_forward_and_keep() {
    let mut stage = Stage::new(|_| {});
    stage.register(1, BLOCK);
    stage.init(1);
    stage.join(1, Role::Controller, 1);
    let said = stage.tell(
        0,
        Input::Keep {
            connection: ConnectionId(1),
        },
    );
    assert_eq!(command_in(&said), None);
    let said = stage.forward(1, "localhost", 30_000);
    assert!(command_in(&said).is_some());
}

#[test]
fn a_failed_dialogue_is_repeated_with_growing_pauses() {
    let mut stage = Stage::new(|config| config.limits.idle_seconds = 10_000);
    let (_, said) = stage.keep(1, 1);
    let lines = command_in(&said).unwrap();
    let mut now = 0;
    for pause in [5, 10, 20, 40, 80, 160, 300, 300] {
        let said = stage.commanded(now, 1, End::TimedOut("the login prompt"));
        assert_eq!(command_in(&said), None);
        now += pause * 1000;
        assert_eq!(stage.network.deadline(), Some(Tick::from_millis(now)));
        assert_eq!(stage.tell(now - 1, Input::Deadline), []);
        assert_eq!(
            command_in(&stage.tell(now, Input::Deadline)),
            Some(Arc::clone(&lines))
        );
    }
}

#[test]
fn a_probe_that_refuses_the_password_is_kicked() {
    let mut stage = Stage::new(|_| {});
    stage.keep(1, 1);
    assert!(
        stage
            .commanded(5, 1, End::BadPassword)
            .contains(&Output::Kick(ConnectionId(1)))
    );
}

#[test]
fn a_session_that_was_never_given_is_kicked_and_a_second_one_replaces_the_first() {
    let mut stage = Stage::new(|_| {});
    stage.join(9, Role::Controller, 9);
    let connection = ConnectionId(9);
    assert_eq!(
        stage.tell(0, Input::Keep { connection }),
        [Output::Kick(connection)]
    );
    stage.keep(1, 1);
    let (_, said) = stage.keep(2, 1);
    assert!(said.contains(&Output::Drop(ConnectionId(1))));
    // The late end of the first is not the end of the second.
    assert_eq!(
        stage.tell(
            0,
            Input::Left {
                connection: ConnectionId(1)
            }
        ),
        []
    );
    let left = stage.tell(
        0,
        Input::Left {
            connection: ConnectionId(2),
        },
    );
    assert_eq!(left, [Output::Event(Event::Left { probe: ProbeId(1) })]);
}

#[test]
fn a_changed_schedule_is_sent_at_once_or_after_the_dialogue_under_way() {
    let mut stage = Stage::new(|_| {});
    stage.keep(1, 1);
    let (result, said) = stage.request(Request::Schedule(vec![ping("192.0.2.77")]));
    assert_eq!((result, command_in(&said)), (Ok(()), None));
    let lines = command_in(&stage.commanded(1, 1, End::Acknowledged)).unwrap();
    assert!(lines.iter().any(|line| line.ends_with(" 192.0.2.77")));
    stage.commanded(2, 1, End::Acknowledged);
    let (_, said) = stage.request(Request::Schedule(Vec::new()));
    assert!(
        !command_in(&said)
            .unwrap()
            .iter()
            .any(|line| line.contains("evping"))
    );
    let bad = Measurement {
        interval: 0,
        ..ping("192.0.2.1")
    };
    assert!(stage.request(Request::Schedule(vec![bad])).0.is_err());
}

#[test]
fn a_one_off_waits_for_a_probe_that_is_away() {
    let mut stage = Stage::new(|config| config.limits.waiting_one_offs = 1);
    stage.register(1, BLOCK);
    assert_eq!(
        stage.request(Request::OneOff(one_off("192.0.2.5", None))).0,
        Ok(())
    );
    let full = stage.request(Request::OneOff(one_off("192.0.2.6", None))).0;
    assert_eq!(full, Err(RequestError::Waiting(ProbeId(1), 1)));
    let unknown = stage
        .request(Request::OneOff(one_off("192.0.2.6", Some(vec![5]))))
        .0;
    assert_eq!(unknown, Err(RequestError::UnknownProbe(ProbeId(5))));
    let (_, said) = stage.keep(1, 1);
    assert!(
        command_in(&said)
            .unwrap()
            .last()
            .unwrap()
            .ends_with(" 192.0.2.5")
    );
    // Not lost with a tunnel that breaks.
    stage.commanded(1, 1, End::Closed("the request's OK"));
    let again = command_in(&stage.tell(6000, Input::Deadline)).unwrap();
    assert!(again.last().unwrap().ends_with(" 192.0.2.5"));
    stage.commanded(6001, 1, End::Acknowledged);
    let (_, said) = stage.request(Request::OneOff(one_off("192.0.2.6", None)));
    assert_eq!(command_in(&said).unwrap().len(), 1, "alone, at once");
}

#[test]
fn a_post_is_answered_once_its_lines_are_stored() {
    let mut stage = Stage::new(|_| {});
    let (session, _) = stage.keep(1, 1);
    let said = stage.post(0, 1, &target(&session), &body(&session, &[PING, LOST]));
    let [Output::Store { ticket, records }] = &said[..] else {
        panic!("{said:?}");
    };
    assert_eq!(records.len(), 2);
    assert_eq!(
        (records[0].received, records[0].probe),
        (1_700_000_000, ProbeId(1))
    );
    let (ticket, failed) = (*ticket, None);
    let (response, posted) = answered(&stage.tell(0, Input::Stored { ticket, failed }));
    assert_eq!(response, Response::ok());
    let lines: Vec<(&str, bool)> = posted
        .accepted
        .iter()
        .map(|line| (&line.line[..], line.measured))
        .collect();
    assert_eq!(lines, [(PING, true), (LOST, false)]);
    assert_eq!(posted.missing, ["9018", "7001", "9002", "9901"]);
}

#[test]
fn an_empty_post_is_acknowledged_at_once() {
    let mut stage = Stage::new(|_| {});
    let (session, _) = stage.keep(1, 1);
    let timesync = format!("{}&SRC=timesync", target(&session));
    let said = stage.post(0, 1, &timesync, &body(&session, &[]));
    let (response, posted) = answered(&said);
    assert_eq!((response, posted.missing), (Response::ok(), Vec::new()));
}

#[test]
fn a_post_of_somebody_else_is_refused() {
    let mut stage = Stage::new(|_| {});
    let (session, _) = stage.keep(1, 1);
    let other = "0".repeat(64);
    let good = body(&session, &[PING]);
    for (target, body, status) in [
        (target(&other), &good, 403),
        (format!("/?PROBE_ID=2&SESSION_ID={session}"), &good, 403),
        ("/".to_owned(), &good, 403),
        (target(&session), &body(&other, &[PING]), 403),
        (target(&session), &format!("{PING}\n"), 400),
    ] {
        let (response, posted) = answered(&stage.post(0, 1, &target, body));
        assert_eq!(response.status, status, "{target}");
        assert!(posted.accepted.is_empty() && posted.refused.is_some());
    }
    // A session that was replaced is no longer one.
    stage.init(1);
    assert_eq!(stage.upload(0, &session, &[PING]).0.status, 403);
}

#[test]
fn a_bad_line_is_told_and_does_not_hold_up_the_others() {
    let mut stage = Stage::new(|_| {});
    let (session, _) = stage.keep(1, 1);
    let (response, posted) = stage.upload(0, &session, &["nonsense", PING, "RESULT { \"id\":"]);
    assert_eq!(response, Response::ok());
    assert_eq!((posted.accepted.len(), posted.unshown), (1, 0));
    let bad: Vec<&str> = posted
        .rejected
        .iter()
        .map(|example| &example.line[..])
        .collect();
    assert_eq!(bad, ["nonsense", "RESULT { \"id\":"]);
}

#[test]
fn a_line_of_an_earlier_post_is_a_duplicate_and_one_of_the_same_post_is_not() {
    let mut stage = Stage::new(|_| {});
    let (session, _) = stage.keep(1, 1);
    assert_eq!(stage.upload(0, &session, &[PING, PING]).1.accepted.len(), 2);
    let (response, again) = stage.upload(1, &session, &[PING, PING, LOST]);
    assert_eq!(response, Response::ok());
    assert_eq!((again.accepted.len(), again.duplicates), (1, 2));
    // Another session of the same probe delivers the same line.
    let session = session_in(&stage.init(1)).1;
    assert_eq!(stage.upload(2, &session, &[LOST]).1.duplicates, 1);
}

#[test]
fn duplicates_are_known_after_a_restart() {
    let mut first = Stage::new(|_| {});
    let (session, _) = first.keep(1, 1);
    let memory = Memory {
        known: first.network.registry.snapshot(),
        stored: vec![(ProbeId(1), PING.to_owned())],
    };
    let mut second = Stage::remembering(memory, |_| {});
    second.join(1, Role::Controller, 1);
    let said = second.tell(
        0,
        Input::Keep {
            connection: ConnectionId(1),
        },
    );
    assert_eq!(
        said,
        [Output::Event(Event::Kept {
            probe: ProbeId(1),
            port: 30_000
        })]
    );
    assert_eq!(second.upload(0, &session, &[PING]).1.duplicates, 1);
}

#[test]
fn the_memory_of_lines_is_bounded() {
    let mut stage = Stage::new(|config| config.limits.remembered_lines = 2);
    let (session, _) = stage.keep(1, 1);
    for number in 0..3 {
        stage.upload(0, &session, &[&format!("RESULT 9000 done {number} x")]);
    }
    assert_eq!(
        stage
            .upload(0, &session, &["RESULT 9000 done 0 x"])
            .1
            .duplicates,
        0
    );
    assert_eq!(
        stage
            .upload(0, &session, &["RESULT 9000 done 2 x"])
            .1
            .duplicates,
        1
    );
}

#[test]
fn lines_that_could_not_be_stored_are_not_acknowledged_and_welcome_again() {
    let mut stage = Stage::new(|_| {});
    let (session, _) = stage.keep(1, 1);
    let said = stage.post(0, 1, &target(&session), &body(&session, &[PING]));
    let [Output::Store { ticket, .. }] = said[..] else {
        panic!("{said:?}");
    };
    let failed = Some("no space left".to_owned());
    let (response, posted) = answered(&stage.tell(0, Input::Stored { ticket, failed }));
    assert_eq!((response.status, posted.accepted.len()), (503, 0));
    assert_eq!(stage.upload(1, &session, &[PING]).1.accepted.len(), 1);
}

#[test]
fn too_many_posts_a_minute_are_told_when_to_come_back() {
    let mut stage = Stage::new(|config| config.upload.posts_per_minute = Some(2));
    let (session, _) = stage.keep(1, 1);
    assert_eq!(stage.upload(0, &session, &[]).0.status, 200);
    assert_eq!(stage.upload(20_500, &session, &[]).0.status, 200);
    let (response, _) = stage.upload(30_000, &session, &[PING]);
    assert_eq!((response.status, response.retry_after), (429, Some(30)));
    let timesync = format!("{}&SRC=timesync", target(&session));
    let said = stage.post(30_001, 1, &timesync, &body(&session, &[]));
    assert_eq!(answered(&said).0.status, 200, "the clock is always served");
    assert_eq!(stage.upload(60_000, &session, &[PING]).0.status, 200);
    assert_eq!(stage.upload(60_001, &session, &[]).0.retry_after, Some(21));
}

#[test]
fn each_fault_spoils_its_post_and_no_more() {
    let mut stage = Stage::new(|_| {});
    let (session, _) = stage.keep(1, 1);
    let mut spoiled = |number: u32, fault: PostFault| {
        let probe = Some(ProbeId(1));
        stage
            .request(Request::Fault(Fault::Posts {
                probe,
                count: 1,
                fault,
            }))
            .0
            .unwrap();
        let line = format!("RESULT 9000 done {number} x");
        let (response, posted) = stage.upload(0, &session, &[&line]);
        let stored = posted.accepted.len() == 1;
        assert_eq!(
            stage.upload(0, &session, &[&line]).1.duplicates,
            usize::from(stored)
        );
        (response, stored)
    };
    let retry_after = Some(9);
    let (response, stored) = spoiled(1, PostFault::TooMany { retry_after });
    assert_eq!(
        (response.status, response.retry_after, stored),
        (429, Some(9), false)
    );
    assert_eq!(spoiled(2, PostFault::Status(500)).0.status, 500);
    assert_eq!(
        spoiled(3, PostFault::Hang),
        (Response::none(Manner::Hang), false)
    );
    assert_eq!(
        spoiled(4, PostFault::Close),
        (Response::none(Manner::Close), false)
    );
    assert_eq!(
        spoiled(5, PostFault::LoseAnswer),
        (Response::none(Manner::Close), true)
    );
    let (response, stored) = spoiled(6, PostFault::NoLineFeed);
    assert_eq!(
        (response.status, &response.body[..], stored),
        (200, "OK", true)
    );
    assert_eq!(spoiled(7, PostFault::WrongBody).0.body, "NOT OK\n");
    assert_eq!(spoiled(8, PostFault::Chunked).0.manner, Manner::Chunked);
    assert_eq!(spoiled(9, PostFault::DateOff(-3600)).0.date_offset, -3600);
    assert_eq!(
        spoiled(10, PostFault::Delay(Duration::from_secs(2)))
            .0
            .delay,
        Duration::from_secs(2)
    );
}

#[test]
fn a_fault_for_another_probe_waits_for_it() {
    let mut stage = Stage::new(|_| {});
    let (session, _) = stage.keep(1, 1);
    let fault = Fault::Posts {
        probe: Some(ProbeId(2)),
        count: 1,
        fault: PostFault::Status(500),
    };
    stage.request(Request::Fault(fault)).0.unwrap();
    assert_eq!(stage.upload(0, &session, &[PING]).0.status, 200);
}

#[test]
fn a_connection_that_comes_to_nothing_is_dropped() {
    let mut stage = Stage::new(|config| config.limits.idle_seconds = 60);
    stage.join(1, Role::Controller, 1);
    assert_eq!(stage.network.deadline(), Some(Tick::from_secs(60)));
    assert_eq!(
        stage.tell(60_000, Input::Deadline),
        [Output::Drop(ConnectionId(1))]
    );
    assert_eq!(stage.network.deadline(), None);
    stage.keep(2, 2);
    assert_eq!(stage.network.deadline(), None, "a session may last");
}

#[test]
fn requests_to_probes_that_are_not_there_say_so() {
    let mut stage = Stage::new(|_| {});
    assert_eq!(
        stage.request(Request::Kick(ProbeId(1))).0,
        Err(RequestError::UnknownProbe(ProbeId(1)))
    );
    stage.register(1, BLOCK);
    assert_eq!(
        stage.request(Request::Drop(ProbeId(1))).0,
        Err(RequestError::Away(ProbeId(1)))
    );
    stage.keep(1, 1);
    let (result, said) = stage.request(Request::Kick(ProbeId(1)));
    assert_eq!(
        (result, said),
        (Ok(()), vec![Output::Kick(ConnectionId(1))])
    );
}

/// What a handful of clients and an operator may do, in any order.
fn step() -> impl Strategy<Value = (u8, u64, u8, Vec<u8>)> {
    (
        0_u8..14,
        1_u64..4,
        1_u8..4,
        prop::collection::vec(any::<u8>(), 0..40),
    )
}

fn input((what, connection, key, bytes): (u8, u64, u8, Vec<u8>), ticket: Ticket) -> Input {
    let connection = ConnectionId(connection);
    let probe = ProbeId(u32::from(key));
    let role = [Role::Registration, Role::Controller, Role::Both][usize::from(key % 3)];
    let request = |request| Input::Request { ticket, request };
    let key = test_key(key);
    match what {
        0 => Input::Offered { ticket, role, key },
        1 => Input::Joined {
            connection,
            role,
            key,
        },
        2 => Input::Left { connection },
        3 => Input::Register {
            ticket,
            connection,
            stdin: if bytes.is_empty() {
                BLOCK.to_vec()
            } else {
                bytes
            },
        },
        4 => Input::Init { ticket, connection },
        5 => Input::Forward {
            ticket,
            connection,
            address: "localhost".to_owned(),
            port: 30_000,
        },
        6 => Input::Keep { connection },
        7 => Input::Posted {
            ticket,
            connection,
            post: Post {
                method: "POST".to_owned(),
                target: String::from_utf8_lossy(&bytes).into_owned(),
                body: bytes,
            },
        },
        8 => Input::Commanded {
            connection,
            outcome: Outcome::unreachable(String::new()),
        },
        9 => request(Request::Kick(probe)),
        10 => request(Request::Approve(probe, bytes.len() > 20)),
        11 => request(Request::OneOff(one_off("192.0.2.1", None))),
        12 => request(Request::Schedule(vec![ping("192.0.2.1")])),
        _ => Input::Deadline,
    }
}

const fn is_question(input: &Input) -> bool {
    matches!(
        input,
        Input::Offered { .. }
            | Input::Register { .. }
            | Input::Init { .. }
            | Input::Forward { .. }
            | Input::Posted { .. }
            | Input::Request { .. }
    )
}

proptest! {
    #[test]
    fn every_question_is_answered_once_whatever_happens(steps in prop::collection::vec(step(), 0..120)) {
        let mut stage = Stage::new(|_| {});
        let mut talking = std::collections::BTreeSet::new();
        for (number, step) in (1..).zip(steps) {
            let input = input(step, Ticket(number));
            let asked = is_question(&input);
            if let Input::Commanded { connection, .. } | Input::Left { connection } | Input::Joined { connection, .. } = &input {
                talking.remove(connection);
            }
            let said = stage.network.handle(&at(number * 997), input);
            let answers = said.iter().filter(|output| matches!(output, Output::Answer(..)));
            let stores = said.iter().filter(|output| matches!(output, Output::Store { .. }));
            prop_assert_eq!(answers.count() + stores.count(), usize::from(asked));
            for output in &said {
                if let Output::Command { connection, lines, .. } = output {
                    prop_assert!(talking.insert(*connection), "two dialogues at once");
                    prop_assert!(!lines.is_empty());
                }
            }
        }
    }
}
