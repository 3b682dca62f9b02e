//! What holds whatever happens: no panic, `Done` once and nothing after it, a deadline until then, and lines that are
//! JSON in both dialects.

use std::net::IpAddr;

use proptest::prelude::*;

use super::rules;
use crate::{
    dialect::Dialect,
    measurement::{
        Carry, Input, Output, Run, Spec,
        machine::{Handle, TlsSession},
        tests::{self, Watched},
    },
};

/// What happens next; what it refers to is filled in from what the machine wanted last.
#[derive(Clone, Debug)]
enum Event {
    /// The oldest wish is granted, a read with these bytes.
    Granted(Vec<u8>),
    /// The oldest wish fails.
    Refused(u8),
    Deadline,
    Ended(u16),
    Stray(u16),
    Stop,
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let words = prop::sample::select(vec![
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "A: \"b\\\r\n",
        "\r\n",
        "5\r\nhello\r\n",
        "0\r\n\r\n",
    ]);
    prop_oneof![
        4 => words.prop_map(|word| word.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..60),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        20 => bytes().prop_map(Event::Granted),
        2 => any::<u8>().prop_map(Event::Refused),
        1 => Just(Event::Deadline),
        1 => (0..3u16).prop_map(Event::Ended),
        1 => any::<u16>().prop_map(Event::Stray),
        1 => Just(Event::Stop),
    ]
}

fn command() -> impl Strategy<Value = String> {
    let method = prop::sample::select(vec![
        "-4",
        "--head",
        "--post --post-file /home/atlas/data/out/x",
    ]);
    let more = prop::sample::select(vec![
        "--store-headers 40",
        "--store-headers=-1 --etim",
        "--eetim --timeout 0",
        "--read-limit 25",
        "--store-body 2 -I eth0",
    ]);
    let all = prop::sample::select(vec!["", "--all", "--all --combine", "-c"]);
    let url = prop::sample::select(vec![
        "http://a.example/",
        "https://a.example/",
        "http://192.0.2.1:x/",
        "http://[fe80::1%eth0]/",
        "http://a\"b/",
    ]);
    (method, more, all, url)
        .prop_map(|(method, more, all, url)| format!("evhttpget {method} {more} {all} {url}"))
}

/// The answer to what is wanted.
fn granted(wanted: &Output, bytes: &[u8]) -> Option<Input> {
    let addresses: Vec<IpAddr> = ["192.0.2.1", "192.0.2.2", "fe80::1"]
        .map(|text| text.parse().unwrap())
        .to_vec();
    Some(match wanted {
        Output::Resolve { .. } => Input::Resolved(Ok(addresses[..=bytes.len() % 3].to_vec())),
        Output::ReadFile { .. } => Input::File(Some(bytes.to_vec())),
        Output::Connect { on, stream } => Input::Connected {
            on: *on,
            local: "198.51.100.7:4000".parse().unwrap(),
            handshake: None,
            tls: stream.tls.as_ref().map(|_| TlsSession::default()),
        },
        wanted => return tests::granted(wanted, bytes),
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn any_sequence_of_events_is_survived(
        command in command(),
        dialect in prop::sample::select(Dialect::ALL.to_vec()),
        events in prop::collection::vec(event(), 0..60),
    ) {
        let words: Vec<&str> = command.split_whitespace().collect();
        let spec = Spec::parse(&words, &rules(dialect)).unwrap();
        let mut run = Watched::new(spec.start(Run::default(), Carry::Nothing));
        let mut wanted: Vec<Output> = Vec::new();
        // At last every timer runs out.
        let events = events.into_iter().chain(vec![Event::Refused(2); 8]);
        let events = events.chain(vec![Event::Deadline; 12]);
        for (index, event) in [Event::Stop].into_iter().chain(events).enumerate() {
            let mut oldest = || (!wanted.is_empty()).then(|| wanted.remove(0));
            let input = match (index, event) {
                (0, _) => Some(Input::Start),
                (_, Event::Deadline) => Some(Input::Deadline),
                (_, Event::Granted(bytes)) => oldest().and_then(|wish| granted(&wish, &bytes)),
                (_, Event::Refused(which)) => oldest().and_then(|wish| tests::refused(&wish, which)),
                (_, Event::Ended(on)) => Some(Input::Ended { on: Handle(on), errno: Some(104) }),
                (_, Event::Stray(on)) => Some(Input::Readable { on: Handle(on) }),
                (_, Event::Stop) => Some(Input::Stop),
            };
            let Some(input) = input else { continue };
            for output in run.tell(input) {
                match output {
                    Output::Close { .. } => wanted.clear(),
                    output => wanted.push(output),
                }
            }
            let resolving = wanted.iter().any(|wish| matches!(wish, Output::Resolve { .. }));
            prop_assert_eq!(run.machine.deadline().is_none(), run.is_done || resolving);
        }
        prop_assert!(run.is_done, "it ends");
    }
    #[test]
    fn left_alone_every_run_comes_to_its_end(command in command()) {
        let words: Vec<&str> = command.split_whitespace().collect();
        let spec = Spec::parse(&words, &rules(Dialect::Reference)).unwrap();
        let machine = spec.start(Run::default(), Carry::Nothing);
        Watched::new(machine).left_alone(100, |wanted| granted(wanted, b"xy"));
    }
}
