//! What holds whatever happens: no panic, `Done` once and nothing after it, a deadline until then, no more packets
//! than the options allow, and a line that is JSON.

use std::net::IpAddr;

use proptest::prelude::*;

use super::rules;
use crate::{
    dialect::Dialect,
    measurement::{
        Carry, Input, Output, Run, Spec,
        machine::{Datagram, Handle, TlsSession},
        tests::{self, Watched},
    },
};

/// What happens next; what it refers to is filled in from what the machine wanted last.
#[derive(Clone, Debug)]
enum Event {
    /// What was wanted is done.
    Granted(Vec<u8>),
    /// What was wanted fails.
    Refused(u8),
    Deadline,
    Datagram(Vec<u8>, bool),
    Ended,
    Stray(u16),
    Stop,
}

fn event() -> impl Strategy<Value = Event> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..60);
    prop_oneof![
        8 => bytes().prop_map(Event::Granted),
        2 => any::<u8>().prop_map(Event::Refused),
        3 => Just(Event::Deadline),
        2 => (bytes(), any::<bool>()).prop_map(|(bytes, fits)| Event::Datagram(bytes, fits)),
        1 => Just(Event::Ended),
        1 => any::<u16>().prop_map(Event::Stray),
        1 => Just(Event::Stop),
    ]
}

fn command() -> impl Strategy<Value = String> {
    let transport = prop::sample::select(vec!["-4", "-a", "-t", "--tls", "--https"]);
    let name = prop::sample::select(vec![
        "-h",
        "--a $r.$p.",
        "--soa .",
        "--a $x.",
        "--a x..",
        "--p_probe_id -i",
    ]);
    let more = prop::sample::select(vec![
        "--qbuf",
        "--ttl --cookies",
        "--noabuf -n",
        "--timeout 0",
        "--timeout -1",
    ]);
    let server = prop::sample::select(vec![
        "192.0.2.1",
        "ns.example.net",
        "--resolv",
        "fe80::1%eth0",
        "--port=x host",
    ]);
    (transport, name, more, server, 0..4u32).prop_map(|(transport, name, more, server, retry)| {
        format!("evtdig {transport} {name} {more} --retry {retry} {server}")
    })
}

/// The answer to what is wanted.
fn granted(wanted: &Output, bytes: &[u8]) -> Option<Input> {
    let addresses: Vec<IpAddr> = vec!["192.0.2.1".parse().unwrap(), "fe80::1".parse().unwrap()];
    let local = "198.51.100.7:4000".parse().unwrap();
    let count = usize::from(bytes.first().copied().unwrap_or(0));
    Some(match wanted {
        Output::Resolve { .. } => Input::Resolved(Ok(addresses[..=count % 2].to_vec())),
        Output::Resolvers { .. } => Input::Resolvers(vec!["192.0.2.1".to_owned(); count % 4]),
        Output::Open { on, .. } => Input::Opened {
            on: *on,
            local,
            ident: 0,
        },
        Output::Connect { on, .. } => Input::Connected {
            on: *on,
            local,
            handshake: None,
            tls: Some(TlsSession {
                alpn: Some(b"h2".to_vec()),
                ..TlsSession::default()
            }),
        },
        wanted => return tests::granted(wanted, bytes),
    })
}

/// A reply, to the query with this ID if it shall be that.
fn datagram(mut bytes: Vec<u8>, id: Option<[u8; 2]>) -> Input {
    if let Some(id) = id {
        bytes.splice(..bytes.len().min(2), id);
    }
    Input::Datagram {
        on: Handle(1),
        datagram: Datagram {
            from: "192.0.2.1:53".parse().unwrap(),
            to: None,
            hop_limit: Some(1),
            tos: None,
            bytes,
            protocol: 17,
        },
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_sequence_of_events_is_survived(
        command in command(),
        dialect in prop::sample::select(Dialect::ALL.to_vec()),
        events in prop::collection::vec(event(), 0..60),
        seed in any::<u64>(),
    ) {
        let words: Vec<&str> = command.split(' ').collect();
        let Ok(spec) = Spec::parse(&words, &rules(dialect)) else {
            return Ok(());
        };
        let mut run = Watched::new(spec.start(Run { seed, ..Run::default() }, Carry::Nothing));
        let (mut wanted, mut id, mut sent) = (None, None, 0);
        let events = [Event::Granted(vec![])].into_iter().chain(events);
        for (index, event) in events.enumerate() {
            let input = match (index, event) {
                (0, _) => Some(Input::Start),
                (_, Event::Deadline) => Some(Input::Deadline),
                (_, Event::Granted(bytes)) => wanted.take().and_then(|wanted| granted(&wanted, &bytes)),
                (_, Event::Refused(which)) => wanted.take().and_then(|wanted| tests::refused(&wanted, which)),
                (_, Event::Datagram(bytes, fits)) => Some(datagram(bytes, id.filter(|_| fits))),
                (_, Event::Ended) => Some(Input::Ended { on: Handle(1), errno: Some(104) }),
                (_, Event::Stray(on)) => Some(Input::Readable { on: Handle(on) }),
                (_, Event::Stop) => Some(Input::Stop),
            };
            let Some(input) = input else { continue };
            for output in run.tell(input) {
                match &output {
                    Output::Send { packet, .. } => (sent, id) = (sent + 1, packet.bytes[..2].try_into().ok()),
                    Output::Write { .. } => sent += 1,
                    _ => {}
                }
                if !matches!(output, Output::Close { .. }) {
                    wanted = Some(output);
                }
            }
            let resolving = matches!(wanted, Some(Output::Resolve { .. }));
            prop_assert_eq!(run.machine.deadline().is_none(), run.is_done || resolving);
        }
        // Two addresses, up to three resolvers, up to three repeats.
        prop_assert!(sent <= 2 * 3 * 4, "{} packets", sent);
    }

    #[test]
    fn left_alone_every_run_comes_to_its_end(command in command(), seed in any::<u64>()) {
        let words: Vec<&str> = command.split(' ').collect();
        let spec = Spec::parse(&words, &rules(Dialect::Reference)).unwrap();
        let machine = spec.start(Run { seed, ..Run::default() }, Carry::Nothing);
        // All that is granted is resolution and sockets.
        Watched::new(machine).left_alone(200, |wanted| granted(wanted, &[1]));
    }
}
