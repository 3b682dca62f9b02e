//! The machine by script: what happens, what it says.

mod dialogue;
mod joining;
mod posts;
mod properties;

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
