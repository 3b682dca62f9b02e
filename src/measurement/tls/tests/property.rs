//! What holds whatever happens: no panic, `Done` once and nothing after it, a deadline until then, few connections,
//! the same result however octets are cut, and a line that is JSON.

use proptest::prelude::*;

use super::*;
use crate::measurement::tests::{self, Watched, lines_hold};

/// Parts of what servers say, whole and broken.
fn part() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => Just(server_hello()),
        4 => Just(certificate()),
        2 => Just(server_hello_1_3(&[7; 32])),
        1 => Just(retry_request()),
        1 => (any::<u8>(), any::<u8>()).prop_map(|(level, description)| alert(level, description)),
        1 => Just(record(20, &[1])),
        1 => prop::collection::vec(any::<u8>(), 0..40),
        1 => prop::collection::vec(0u8..24, 0..40).prop_map(|bytes| record(22, &bytes)),
        1 => prop::collection::vec(0u8..9, 0..40).prop_map(|bytes| record(22, &message(11, &bytes))),
    ]
}

#[derive(Clone, Debug)]
enum Event {
    Granted(Vec<u8>),
    Refused(u8),
    Deadline,
    Ended,
    Certified(usize),
    LibraryFailed(u8),
    Stray(u16),
    Stop,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        12 => part().prop_map(Event::Granted),
        2 => any::<u8>().prop_map(Event::Refused),
        1 => Just(Event::Deadline),
        1 => Just(Event::Ended),
        1 => (0usize..3).prop_map(Event::Certified),
        1 => any::<u8>().prop_map(Event::LibraryFailed),
        1 => any::<u16>().prop_map(Event::Stray),
        1 => Just(Event::Stop),
    ]
}

fn words() -> impl Strategy<Value = String> {
    let hello = prop::sample::select(vec![
        "",
        " -V TLS1.0",
        " -h b.example",
        " -h a\"\\",
        " -p x",
    ]);
    let target = prop::sample::select(vec!["a.example", "198.51.100.7", "a\"b", "-- -"]);
    (hello, target).prop_map(|(hello, target)| format!("-A 1{hello} {target}"))
}

fn granted(wanted: &Output, bytes: &[u8]) -> Option<Input> {
    Some(match wanted {
        Output::Resolve { .. } => Input::Resolved(Ok(vec![ip(SERVER), ip("2001:db8::1")])),
        Output::Connect { on, .. } => Input::Connected {
            on: *on,
            local: LOCAL.parse().unwrap(),
            handshake: None,
            tls: None,
        },
        wanted => return tests::granted(wanted, bytes),
    })
}

/// The input for an event, given what is wanted.
fn input(event: Event, wanted: &mut Option<Output>, on: Handle) -> Option<Input> {
    match event {
        Event::Granted(bytes) => wanted.take().and_then(|wanted| granted(&wanted, &bytes)),
        Event::Refused(which) => wanted
            .take()
            .and_then(|wanted| tests::refused(&wanted, which)),
        Event::Deadline => Some(Input::Deadline),
        Event::Ended => Some(Input::Ended { on, errno: None }),
        Event::Certified(count) => Some(Input::Certified {
            on,
            tls: TlsSession {
                certificates: vec![DER.to_vec(); count],
                ..TlsSession::default()
            },
        }),
        Event::LibraryFailed(alert) => Some(Input::Failed {
            on,
            tag: None,
            cause: Failure::Tls(TlsFailure::Alert(alert)),
        }),
        Event::Stray(on) => Some(Input::Readable { on: Handle(on) }),
        Event::Stop => Some(Input::Stop),
    }
}

fn start(words: &str) -> Box<dyn Machine> {
    let words: Vec<&str> = ["evsslgetcert"]
        .into_iter()
        .chain(words.split(' '))
        .collect();
    let spec = Spec::parse(&words, &rules(Dialect::Reference)).unwrap();
    spec.start(Run::default(), Carry::Nothing)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_sequence_of_events_is_survived(
        words in words(),
        events in prop::collection::vec(event(), 0..40),
    ) {
        let mut run = Watched::new(start(&words));
        let (mut wanted, mut on, mut connections) = (None, Handle(1), 0);
        let mut next = Some(Input::Start);
        let mut events = events.into_iter();
        loop {
            let input = match next.take() {
                Some(input) => Some(input),
                None => match events.next() {
                    Some(event) => input(event, &mut wanted, on),
                    None => break,
                },
            };
            let Some(input) = input else { continue };
            for output in run.tell(input) {
                if let Output::Connect { on: handle, .. } = &output {
                    (connections, on) = (connections + 1, *handle);
                }
                if !matches!(output, Output::Close { .. }) {
                    wanted = Some(output);
                }
            }
            let resolving = matches!(wanted, Some(Output::Resolve { .. }));
            prop_assert!(run.is_done || resolving || connections > 0);
            prop_assert_eq!(run.machine.deadline().is_none(), run.is_done || connections == 0);
        }
        // Two addresses, and a second hello to one of them.
        prop_assert!(connections <= 3, "{} connections", connections);
    }

    #[test]
    fn the_same_octets_cut_otherwise_come_to_the_same(
        parts in prop::collection::vec(part(), 0..5),
        sizes in prop::collection::vec(1usize..60, 1..10),
        modern in any::<bool>(),
    ) {
        let bytes = parts.concat();
        let words = if modern { "-A 1 198.51.100.7" } else { "-V TLS1.2 -A 1 198.51.100.7" };
        let run = |sizes: &[usize]| {
            let mut script = Script::connected(words);
            let (mut rest, mut sizes) = (&bytes[..], sizes.iter().cycle());
            while matches!(script.outputs.last(), Some(Output::Await { .. })) && !rest.is_empty() {
                let size = sizes.next().copied().unwrap_or(4096).min(rest.len());
                let (piece, after) = rest.split_at(size);
                rest = after;
                script.reads(piece);
            }
            // What comes of an answer that is not complete, and of a second hello.
            let second = script.goes_on_with_the_reference_hello();
            if !second && matches!(script.outputs.last(), Some(Output::Await { .. })) {
                script.deadline();
            }
            match script.outputs.last() {
                Some(Output::Done(outcome)) => {
                    lines_hold(outcome);
                    Some(outcome.clone())
                }
                _ => None,
            }
        };
        prop_assert_eq!(run(&[4096]), run(&sizes));
    }

    #[test]
    fn left_alone_every_run_comes_to_its_end(words in words()) {
        Watched::new(start(&words)).left_alone(20, |wanted| granted(wanted, &[]));
    }
}
