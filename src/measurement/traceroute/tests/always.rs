//! What holds whatever happens.

use proptest::{collection::vec, prelude::*, sample::Index};

use super::*;
use crate::measurement::machine::ResolveError;

/// Something that happens to a run.
#[derive(Clone, Debug)]
enum Event {
    Input(Input),
    /// The newest probe is answered by a packet made from it, with some octets changed.
    Answer {
        kind: u8,
        code: u8,
        rest: [u8; 4],
        cut: Index,
        flips: Vec<(Index, u8)>,
        tail: Vec<u8>,
    },
    Deadline,
}

fn arb_address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        Just(ip(TARGET)),
        Just(ip(TARGET_6)),
        any::<u32>().prop_map(|bits| IpAddr::V4(bits.into())),
        any::<u128>().prop_map(|bits| IpAddr::V6(bits.into())),
    ]
}

fn arb_failure() -> impl Strategy<Value = Failure> {
    let calls = prop_oneof![
        Just(Call::Socket),
        Just(Call::Bind),
        Just(Call::Connect),
        Just(Call::Send),
        Just(Call::Tos),
        Just(Call::Write),
        Just(Call::Receive),
    ];
    prop_oneof![
        arb_address().prop_map(Failure::Forbidden),
        Just(Failure::Bind),
        (calls, any::<i32>()).prop_map(|(call, errno)| Failure::Os { call, errno }),
    ]
}

fn arb_input() -> impl Strategy<Value = Input> {
    let on = Handle(0);
    prop_oneof![
        Just(Input::Start),
        Just(Input::Deadline),
        Just(Input::Stop),
        vec(arb_address(), 0..3).prop_map(|addresses| Input::Resolved(Ok(addresses))),
        Just(Input::Resolved(Err(ResolveError::Failed))),
        (arb_address(), any::<(u16, u16)>()).prop_map(move |(address, (port, ident))| {
            Input::Opened {
                on,
                local: SocketAddr::new(address, port),
                ident,
            }
        }),
        any::<u32>().prop_map(move |tag| Input::Sent { on, tag }),
        (0u32..4).prop_map(move |tag| Input::Stamped { on, tag }),
        arb_failure().prop_map(move |cause| Input::Failed {
            on,
            tag: None,
            cause
        }),
        (
            arb_address(),
            any::<(Option<u8>, Option<u8>, u8)>(),
            vec(any::<u8>(), 0..80)
        )
            .prop_map(move |(from, (hop_limit, tos, protocol), bytes)| {
                let protocol = [1, 6, 17, 58][usize::from(protocol % 4)];
                let from = SocketAddr::new(from, 0);
                let datagram = Datagram {
                    from,
                    to: None,
                    hop_limit,
                    tos,
                    bytes,
                    protocol,
                };
                Input::Datagram { on, datagram }
            }),
    ]
}

fn arb_event() -> impl Strategy<Value = Event> {
    let kinds = prop_oneof![
        Just(3u8),
        Just(11),
        Just(0),
        Just(1),
        Just(2),
        Just(129),
        any::<u8>()
    ];
    let answer = (
        kinds,
        any::<(u8, [u8; 4], Index)>(),
        vec(any::<(Index, u8)>(), 0..3),
        vec(any::<u8>(), 0..20),
    );
    prop_oneof![
        2 => arb_input().prop_map(Event::Input),
        4 => answer.prop_map(|(kind, (code, rest, cut), flips, tail)| Event::Answer {
            kind, code, rest, cut, flips, tail,
        }),
        4 => Just(Event::Deadline),
    ]
}

fn arb_line() -> impl Strategy<Value = String> {
    let flags = (any::<[bool; 4]>(), 0u8..5, 0u8..8, 0u8..8, 0u8..4, 0u16..3);
    (flags, 0u16..200, prop_oneof![Just(0u16), Just(10)]).prop_map(
        |(([v6, icmp, tcp, df], count, first, last, gap, paris), size, linger)| {
            let flag = |on: bool, flag: &'static str| if on { flag } else { "" };
            format!(
                "{} {} {} {} -c {count} -f {first} -m {last} -g {gap} -a {paris} -S {size} -z {linger} -H 9 -D 9 {}",
                flag(v6, "-6"),
                flag(icmp, "-I"),
                flag(tcp, "-T"),
                flag(df, "-F"),
                if v6 { TARGET_6 } else { "host.example\"\\" },
            )
        },
    )
}

/// The packet that an answer event makes of a probe.
fn answer(run: &Script, probe: &Packet, event: &Event) -> Option<Datagram> {
    let Event::Answer {
        kind,
        code,
        rest,
        cut,
        flips,
        tail,
    } = event
    else {
        return None;
    };
    let v6 = run.target.is_ipv6();
    let mut datagram = if run.options.protocol == super::super::Protocol::Tcp && kind % 2 == 0 {
        run.segment(probe, u32::from(rest[0]), *code, &rest[..], 60, rest[1])
    } else if *kind == 0 || *kind == 129 {
        run.icmp(
            if v6 { TARGET_6 } else { TARGET },
            60,
            *kind,
            *code % 2,
            *rest,
            &probe.bytes,
        )
    } else {
        let mut body = run.quote(probe, *code);
        body.truncate(cut.index(body.len() + 1).max(60));
        body.extend(tail);
        run.icmp(
            if v6 { ROUTER_6 } else { ROUTER },
            60,
            *kind,
            *code,
            *rest,
            &body,
        )
    };
    for (at, bits) in flips {
        let at = at.index(datagram.bytes.len());
        datagram.bytes[at] ^= bits;
    }
    Some(datagram)
}

proptest! {
    #[test]
    fn a_run_ends_once_and_sends_no_more_than_its_options_allow(
        line in arb_line(), events in vec(arb_event(), 0..60), opened in any::<bool>(), seed in any::<u64>(),
        replay in any::<bool>(),
    ) {
        let run = Run { seed, probe_id: None, replay };
        let mut run = Script::carrying(&line, run, None);
        if opened {
            run = run.opened();
        } else {
            run.tell(Input::Start);
        }
        let mut newest = None;
        let mut packets = 0;
        for event in &events {
            packets += run.sent.len();
            newest = run.sent.drain(..).next_back().or(newest);
            run.after(500);
            // `tell` fails the test if anything follows the end.
            match event {
                Event::Input(Input::Start) => {}
                Event::Input(input) => run.tell(input.clone()),
                Event::Deadline if run.machine.deadline().is_some() => run.deadline(),
                Event::Deadline => {}
                answered => {
                    let same_family = run.local.is_ipv6() == run.target.is_ipv6();
                    if let Some(datagram) = newest.as_ref().filter(|_| same_family)
                        .and_then(|probe: &Packet| answer(&run, probe, answered))
                    {
                        run.receive(datagram);
                    }
                }
            }
        }
        if run.outcome.is_none() && run.machine.deadline().is_none() {
            // Only a look-up may be awaited without a deadline.
            run.tell(Input::Resolved(Err(ResolveError::Failed)));
        }
        while run.outcome.is_none() {
            run.deadline();
        }
        packets += run.sent.len();
        prop_assert_eq!(run.machine.deadline(), None);
        run.tell(Input::Deadline);
        run.tell(Input::Stop);
        let options = &run.options;
        let hops = usize::from(options.last.max(options.first) - options.first) + 2;
        prop_assert!(packets <= usize::from(options.count.max(1)) * hops);
        for dialect in Dialect::ALL {
            // `line_as` fails the test on anything but JSON.
            run.line_as(&head(Some("1"), Some("007")), dialect);
        }
    }
}

#[test]
fn strangers_cannot_make_a_result_large() {
    let mut run = Script::probing("-I -c 1 -m 1 198.51.100.7");
    let probe = run.probe();
    let answer = run.exceeded(&probe);
    for _ in 0..20_000 {
        run.receive(answer.clone());
    }
    run.deadline();
    assert!(run.line().len() < 2 << 20);
}
