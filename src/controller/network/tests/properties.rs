//! What holds whatever clients and an operator do.

use super::*;

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
