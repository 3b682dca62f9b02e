use proptest::prelude::*;

use super::*;
use crate::clock::{Tick, UnixTime};

const SESSION: &str = "fa0b28e5f26291ad4a41ceecffc73457cbb4180291f53abdcda5667357440a9f";
const GREETING: &[u8] = b"\xff\xfd\x01\xff\xfd\x1f\xff\xfb\x01\xff\xfb\x03Atlas probe, see http://atlas.ripe.net/\r\n\r\nProbe 1015186 (hostname) login: ";
const A: ConnectionId = ConnectionId(1);
const B: ConnectionId = ConnectionId(2);

fn interpreter(dialect: Dialect) -> Interpreter {
    let mut interpreter = Interpreter::new(dialect);
    interpreter.set_identity(Some(1_015_186), "hostname");
    interpreter.set_session(Some(SessionId::new(SESSION).unwrap()));
    interpreter
}

fn handle(interpreter: &mut Interpreter, input: Input) -> Vec<Output> {
    let mut now = Now::new(Tick::from_secs(1), UnixTime::from_secs(1_700_000_000), -1);
    interpreter.handle(&mut now, input)
}

fn open(interpreter: &mut Interpreter, id: ConnectionId) -> Vec<Output> {
    handle(interpreter, Input::Opened(id))
}

fn say(interpreter: &mut Interpreter, id: ConnectionId, text: &str) -> Vec<Output> {
    handle(interpreter, Input::Bytes(id, text.as_bytes().to_vec()))
}

/// A connection that is logged in.
fn logged_in(dialect: Dialect) -> Interpreter {
    let mut interpreter = interpreter(dialect);
    open(&mut interpreter, A);
    log_in(&mut interpreter, A);
    interpreter
}

fn log_in(interpreter: &mut Interpreter, id: ConnectionId) -> Vec<Output> {
    say(interpreter, id, &format!("{}\n{SESSION}\n", telnet::LOGIN))
}

fn replied(id: ConnectionId, text: &str) -> Output {
    Output::Reply(id, text.as_bytes().to_vec())
}

fn table(name: &str, lines: &[&str]) -> Output {
    Output::Change(Change::Table {
        name: name.to_owned(),
        lines: lines.iter().map(|&line| line.to_owned()).collect(),
    })
}

/// Everything sent on connection A, the changes, and whether it was closed.
fn outcome(outputs: Vec<Output>) -> (Vec<u8>, Vec<Change>, bool) {
    let (mut sent, mut changes, mut closed) = (Vec::new(), Vec::new(), false);
    for output in outputs {
        match output {
            Output::Reply(A, bytes) => sent.extend(bytes),
            Output::Change(change) => changes.push(change),
            Output::Close(A) => closed = true,
            other => panic!("{other:?}"),
        }
    }
    (sent, changes, closed)
}

#[test]
fn the_greeting_comes_unasked() {
    let mut interpreter = interpreter(Dialect::Reference);
    assert_eq!(
        open(&mut interpreter, A),
        [Output::Reply(A, GREETING.to_vec())]
    );
}

#[test]
fn a_login_is_answered_by_nothing_but_the_prompt() {
    let mut interpreter = interpreter(Dialect::Reference);
    open(&mut interpreter, A);
    assert_eq!(
        say(&mut interpreter, A, "C_TO_P_TEST_V1\n"),
        [replied(A, "\r\nPassword: ")]
    );
    assert_eq!(say(&mut interpreter, A, &format!("{SESSION}\n")), []);
    assert_eq!(say(&mut interpreter, A, "\n"), [replied(A, "OK\r\n\r\n")]);
}

#[test]
fn in_the_other_dialect_the_password_is_answered_with_ok() {
    let mut interpreter = interpreter(Dialect::Starla);
    open(&mut interpreter, A);
    assert_eq!(
        log_in(&mut interpreter, A),
        [replied(A, "\r\nPassword: OK\r\n\r\n")]
    );
}

#[test]
fn another_login_is_echoed_and_the_connection_closed() {
    let mut interpreter = interpreter(Dialect::Reference);
    open(&mut interpreter, A);
    assert_eq!(
        say(&mut interpreter, A, "root\nC_TO_P_TEST_V1\n"),
        [replied(A, "root"), Output::Close(A)]
    );
    assert_eq!(say(&mut interpreter, A, "C_TO_P_TEST_V1\n"), []);
    open(&mut interpreter, B);
    assert_eq!(say(&mut interpreter, B, "\n"), [Output::Close(B)]);
}

#[test]
fn a_wrong_password_leaves_the_connection_open_for_a_number_of_tries() {
    let mut interpreter = interpreter(Dialect::Reference);
    open(&mut interpreter, A);
    say(&mut interpreter, A, "C_TO_P_TEST_V1\n");
    let upper = SESSION.to_uppercase();
    for wrong in ["", "wrong", &upper, &SESSION[..63]] {
        assert_eq!(
            say(&mut interpreter, A, &format!("{wrong}\n")),
            [replied(A, "BAD_PASSWORD\r\n\r\n")]
        );
    }
    for _ in 4..9 {
        say(&mut interpreter, A, "again\n");
    }
    assert_eq!(
        say(&mut interpreter, A, "again\n"),
        [replied(A, "BAD_PASSWORD\r\n\r\n"), Output::Close(A)]
    );
}

#[test]
fn in_the_other_dialect_one_wrong_password_is_enough() {
    let mut interpreter = interpreter(Dialect::Starla);
    open(&mut interpreter, A);
    assert_eq!(
        say(&mut interpreter, A, "C_TO_P_TEST_V1\nwrong\n"),
        [
            replied(A, "\r\nPassword: BAD_PASSWORD\r\n\r\n"),
            Output::Close(A)
        ]
    );
}

#[test]
fn without_a_session_every_password_is_wrong() {
    let mut interpreter = interpreter(Dialect::Reference);
    interpreter.set_session(None);
    open(&mut interpreter, A);
    assert_eq!(
        say(&mut interpreter, A, "C_TO_P_TEST_V1\n\n"),
        [replied(A, "\r\nPassword: BAD_PASSWORD\r\n\r\n")]
    );
}

#[test]
fn a_crontab_is_handed_on_when_another_line_ends_it() {
    let mut interpreter = logged_in(Dialect::Reference);
    assert_eq!(
        say(
            &mut interpreter,
            A,
            "CRONTAB /home/atlas/crons/7\nCRONLINE 1 2 3\nCRONLINE  \\\n"
        ),
        []
    );
    assert_eq!(
        say(&mut interpreter, A, "CRONTAB /home/atlas/crons/main\n"),
        [table("7", &["1 2 3", " \\"])]
    );
    assert_eq!(
        say(&mut interpreter, A, "\n"),
        [table("main", &[]), replied(A, "OK\r\n\r\n")]
    );
}

#[test]
fn a_bad_line_ends_a_crontab_too_and_does_not_disturb_the_rest() {
    let mut interpreter = logged_in(Dialect::Reference);
    assert_eq!(
        say(
            &mut interpreter,
            A,
            "CRONTAB /home/atlas/crons/7\nCRONLINE a\nwhat\nCRONLINE b\nRELOAD\nREBOOT\n\n"
        ),
        [
            table("7", &["a"]),
            replied(
                A,
                "BAD_COMMAND\r\n\r\nBAD_COMMAND\r\n\r\nBAD_REMOUNT\r\n\r\nOK\r\n\r\n"
            )
        ]
    );
}

#[test]
fn errors_of_paths_have_their_replies() {
    let mut interpreter = logged_in(Dialect::Reference);
    let long = "x".repeat(300);
    for (line, expected) in [
        ("CRONTAB /etc/cron.d", "BAD_PATH\r\n\r\n"),
        (
            "CRONTAB /home/atlas/crons/99",
            "UNABLE_TO_CREATE_NEW_CRONTAB\r\n\r\n",
        ),
        (
            &format!("CRONTAB /home/atlas/crons/{long}"),
            "NAME_TOO_LONG\r\n\r\n",
        ),
        ("ONEOFF /etc/passwd evping x", "BAD_PATH\r\n\r\n"),
        (&format!("ONEOFF /{long} evping x"), "NAME_TOO_LONG\r\n\r\n"),
    ] {
        assert_eq!(
            say(&mut interpreter, A, &format!("{line}\n")),
            [replied(A, expected)]
        );
    }
}

#[test]
fn one_offs_and_json_commands_are_done_without_an_answer() {
    let mut interpreter = logged_in(Dialect::Reference);
    assert_eq!(
        say(
            &mut interpreter,
            A,
            "ONEOFF /home/atlas/crons/oneoff evping -6 2001:db8::1\n"
        ),
        [Output::Change(Change::OneOff {
            command: "evping -6 2001:db8::1".to_owned()
        })]
    );
    assert_eq!(
        say(
            &mut interpreter,
            A,
            "{\"type\":\"ping\",\"msm_id\":1001,\"target\":\"8.8.8.8\",\"af\":4,\"packets\":3}\n"
        ),
        [Output::Change(Change::Json {
            words: ["evping", "-4", "-c", "3", "-A", "1001", "8.8.8.8"]
                .map(str::to_owned)
                .to_vec()
        })]
    );
    assert_eq!(
        say(&mut interpreter, A, "{\"type\":\"ping\"}\n"),
        [replied(A, "BAD_COMMAND\r\n\r\n")]
    );
}

#[test]
fn a_cronline_outside_a_crontab_is_added_in_one_dialect_only() {
    let line = "CRONLINE 60 0 0 UNIFORM 3 evping x\n";
    assert_eq!(
        say(&mut logged_in(Dialect::Reference), A, line),
        [replied(A, "BAD_COMMAND\r\n\r\n")]
    );
    assert_eq!(
        say(&mut logged_in(Dialect::Starla), A, line),
        [Output::Change(Change::Add {
            line: "60 0 0 UNIFORM 3 evping x".to_owned()
        })]
    );
}

#[test]
fn after_the_end_of_the_request_everything_is_a_bad_command() {
    let mut interpreter = logged_in(Dialect::Reference);
    assert_eq!(
        say(&mut interpreter, A, "\n\nCRONTAB /home/atlas/crons/7\n"),
        [replied(
            A,
            "OK\r\n\r\nBAD_COMMAND\r\n\r\nBAD_COMMAND\r\n\r\n"
        )]
    );
}

#[test]
fn cr_lf_is_one_line_end_and_option_answers_do_not_spoil_the_login() {
    let mut interpreter = interpreter(Dialect::Reference);
    open(&mut interpreter, A);
    let bytes = [
        b"\xff\xfb\x01\xff\xfc\x1f\xff\xfd\x03C_TO_P_TEST_V1\r\n".as_slice(),
        SESSION.as_bytes(),
        b"\r\n\r\n",
    ]
    .concat();
    assert_eq!(
        handle(&mut interpreter, Input::Bytes(A, bytes)),
        [replied(A, "\r\nPassword: OK\r\n\r\n")]
    );
}

#[test]
fn an_over_long_line_is_a_bad_command_and_costs_only_itself() {
    let mut interpreter = logged_in(Dialect::Reference);
    let long = format!("CRONLINE {}\n", "x".repeat(telnet::MAX_LINE));
    assert_eq!(
        say(&mut interpreter, A, &long),
        [replied(A, "BAD_COMMAND\r\n\r\n")]
    );
    say(
        &mut interpreter,
        A,
        "CRONTAB /home/atlas/crons/7\nCRONLINE a\n",
    );
    assert_eq!(
        say(&mut interpreter, A, &long),
        [replied(A, "BAD_COMMAND\r\n\r\n")]
    );
    assert_eq!(
        say(&mut interpreter, A, "CRONLINE b\n\n"),
        [table("7", &["a", "b"]), replied(A, "OK\r\n\r\n")]
    );
}

#[test]
fn an_over_long_login_closes_and_an_over_long_password_is_wrong() {
    let mut interpreter = interpreter(Dialect::Reference);
    let long = format!("{}\n", "x".repeat(telnet::MAX_LINE + 1));
    open(&mut interpreter, A);
    assert_eq!(say(&mut interpreter, A, &long), [Output::Close(A)]);
    open(&mut interpreter, B);
    say(&mut interpreter, B, "C_TO_P_TEST_V1\n");
    assert_eq!(
        say(&mut interpreter, B, &long),
        [replied(B, "BAD_PASSWORD\r\n\r\n")]
    );
}

#[test]
fn a_line_of_4067_bytes_is_taken() {
    let mut interpreter = logged_in(Dialect::Reference);
    let text = "x".repeat(4067 - "CRONLINE ".len());
    assert_eq!(
        say(
            &mut interpreter,
            A,
            &format!("CRONTAB /home/atlas/crons/7\nCRONLINE {text}\n\n")
        ),
        [table("7", &[&text]), replied(A, "OK\r\n\r\n")]
    );
}

#[test]
fn a_new_login_takes_over_and_the_half_sent_crontab_is_dropped() {
    let mut interpreter = logged_in(Dialect::Reference);
    say(
        &mut interpreter,
        A,
        "CRONTAB /home/atlas/crons/7\nCRONLINE a\n",
    );
    open(&mut interpreter, B);
    assert_eq!(
        log_in(&mut interpreter, B),
        [replied(B, "\r\nPassword: "), Output::Close(A)]
    );
    assert_eq!(say(&mut interpreter, A, "\n"), []);
    assert_eq!(say(&mut interpreter, B, "\n"), [replied(B, "OK\r\n\r\n")]);
}

#[test]
fn a_lost_connection_takes_its_crontab_with_it() {
    let mut interpreter = logged_in(Dialect::Reference);
    say(
        &mut interpreter,
        A,
        "CRONTAB /home/atlas/crons/7\nCRONLINE a\nCRONLI",
    );
    assert_eq!(handle(&mut interpreter, Input::Closed(A)), []);
    open(&mut interpreter, A);
    assert_eq!(
        say(&mut interpreter, A, "C_TO_P_TEST_V1\n"),
        [replied(A, "\r\nPassword: ")]
    );
}

#[test]
fn a_stranger_that_waits_does_not_lock_the_controller_out() {
    let mut interpreter = logged_in(Dialect::Reference);
    for number in 2..=16 {
        let opened = open(&mut interpreter, ConnectionId(number));
        assert_eq!(opened.len(), 1, "{number}");
    }
    assert_eq!(
        open(&mut interpreter, ConnectionId(17)),
        [
            Output::Close(B),
            Output::Reply(ConnectionId(17), GREETING.to_vec())
        ]
    );
    assert_eq!(interpreter.connections.len(), MAX_CONNECTIONS);
    assert_eq!(say(&mut interpreter, A, "\n"), [replied(A, "OK\r\n\r\n")]);
}

#[test]
fn a_table_beyond_the_bounds_is_not_taken() {
    let mut interpreter = logged_in(Dialect::Reference);
    say(&mut interpreter, A, "CRONTAB /home/atlas/crons/7\n");
    for _ in 0..=MAX_TABLE_LINES {
        assert_eq!(say(&mut interpreter, A, "CRONLINE x\n"), []);
    }
    assert_eq!(
        say(&mut interpreter, A, "\n"),
        [replied(A, "IO_ERROR\r\n\r\nOK\r\n\r\n")]
    );
}

/// What a production controller says within a second of KEEP, shortened.
fn production_request() -> Vec<u8> {
    format!(
        "C_TO_P_TEST_V1\n{SESSION}\n\
         CRONTAB /home/atlas/crons/main\n\
         CRONLINE 60 12 2000000000 UNIFORM 20 httppost -A 9015 --set-time 2 http://127.0.0.1:8080/?PROBE_ID=1&SESSION_ID={SESSION} >> /home/atlas/data/new/main\n\
         CRONTAB /home/atlas/crons/2\n\
         CRONTAB /home/atlas/crons/7\n\
         CRONLINE 240 269 1777902395 UNIFORM 3 evping -4 -c 3 -A \"1001\" -O /home/atlas/data/new/7 193.0.14.129\n\
         \x00ONEOFF /home/atlas/crons/oneoff evping -6 2001:db8::1\n\
         {{\"type\":\"dns\",\"msm_id\":1,\"target\":\"192.0.2.53\"}}\n\
         oops\r\n\
         \n"
    )
    .into_bytes()
}

#[test]
fn the_production_dialogue_does_not_depend_on_chunking() {
    let request = production_request();
    let dialogue = |chunks: &[&[u8]]| {
        let mut interpreter = interpreter(Dialect::Reference);
        let mut outputs = open(&mut interpreter, A);
        for chunk in chunks {
            outputs.extend(handle(&mut interpreter, Input::Bytes(A, chunk.to_vec())));
        }
        outcome(outputs)
    };
    let whole = dialogue(&[&request]);
    let expected = [
        GREETING,
        b"\r\nPassword: BAD_COMMAND\r\n\r\nOK\r\n\r\n".as_slice(),
    ]
    .concat();
    assert_eq!(whole.0, expected);
    assert_eq!(whole.1.len(), 5);
    assert!(
        matches!(&whole.1[1], Change::Table { name, lines } if name == "2" && lines.is_empty())
    );
    assert!(!whole.2);
    for cut in 0..=request.len() {
        assert_eq!(
            dialogue(&[&request[..cut], &request[cut..]]),
            whole,
            "{cut}"
        );
    }
    let bytes: Vec<&[u8]> = request.chunks(1).collect();
    assert_eq!(dialogue(&bytes), whole);
}

fn inputs() -> impl Strategy<Value = Input> {
    let id = (0u64..4).prop_map(ConnectionId);
    let text = prop_oneof![
        Just("C_TO_P_TEST_V1\n".to_owned()),
        Just(format!("{SESSION}\n")),
        Just("CRONTAB /home/atlas/crons/7\n".to_owned()),
        Just("CRONLINE x\n".to_owned()),
        Just("\n".to_owned()),
        "\\PC{0,20}\n?",
    ];
    prop_oneof![
        id.clone().prop_map(Input::Opened),
        id.clone().prop_map(Input::Closed),
        (id, text).prop_map(|(id, text)| Input::Bytes(id, text.into_bytes())),
    ]
}

proptest! {
    #[test]
    fn nothing_changes_without_a_login_and_closed_connections_are_silent(inputs in proptest::collection::vec(inputs(), 0..60)) {
        for dialect in Dialect::ALL {
            let mut interpreter = interpreter(dialect);
            let mut open = std::collections::BTreeSet::new();
            for input in inputs.clone() {
                let from = match &input {
                    Input::Opened(id) => { open.insert(*id); *id }
                    Input::Closed(id) => { open.remove(id); *id }
                    Input::Bytes(id, _) => *id,
                };
                let before = interpreter.logged_in;
                for output in handle(&mut interpreter, input) {
                    match output {
                        Output::Reply(id, bytes) => {
                            prop_assert!(open.contains(&id));
                            prop_assert!(!bytes.is_empty());
                        }
                        Output::Close(id) => prop_assert!(open.remove(&id)),
                        Output::Change(_) => prop_assert!(before == Some(from) && interpreter.logged_in == Some(from)),
                    }
                }
                prop_assert!(interpreter.connections.keys().all(|id| open.contains(id)));
            }
        }
    }
}
