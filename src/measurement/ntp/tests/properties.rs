//! What holds whatever happens.

use super::*;

fn arb_input() -> impl Strategy<Value = Input> {
    let on = Handle(0);
    let address = || {
        prop_oneof![
            Just(ip(TARGET)),
            Just(ip("2001:db8:7::7")),
            any::<u32>().prop_map(|bits| IpAddr::V4(bits.into()))
        ]
    };
    let cause = prop_oneof![
        Just(Failure::Bind),
        address().prop_map(Failure::Forbidden),
        any::<i32>().prop_map(|errno| os(Call::Send, errno)),
    ];
    prop_oneof![
        4 => Just(Input::Deadline),
        1 => Just(Input::Stop),
        2 => vec(address(), 0..3).prop_map(|addresses| Input::Resolved(Ok(addresses))),
        1 => Just(Input::Resolved(Err(ResolveError::Failed))),
        2 => address().prop_map(move |local| Input::Opened { on, local: SocketAddr::new(local, 9), ident: 0 }),
        1 => cause.prop_map(move |cause| Input::Failed { on, tag: None, cause }),
        2 => (0u32..4).prop_map(move |tag| Input::Stamped { on, tag }),
        6 => (address(), vec(any::<u8>(), 40..60)).prop_map(move |(from, bytes)| Input::Datagram {
            on,
            datagram: Datagram {
                from: SocketAddr::new(from, 123),
                to: None,
                hop_limit: None,
                tos: None,
                bytes,
                protocol: 17,
            },
        }),
    ]
}

proptest! {
    #[test]
    fn a_run_ends_once_and_asks_no_more_than_its_count(
        count in 0u8..6, inputs in vec((arb_input(), any::<bool>()), 0..40), replay in any::<bool>(),
    ) {
        let mut run = Script::of(&format!("-c {count} -s 28 host.example\"\\"), Run { replay, ..Run::default() });
        run.tell(Input::Start);
        for (mut input, ours) in inputs {
            run.millis += 7;
            // Some replies answer the newest request.
            if let (true, Input::Datagram { datagram, .. }, Some(request)) = (ours, &mut input, run.sent.last())
                && datagram.bytes.len() >= 48
            {
                datagram.bytes[0] = 0x24;
                datagram.bytes[24..32].copy_from_slice(&request.bytes[40..48]);
            }
            run.tell(input);
        }
        if run.outcome.is_none() && run.machine.deadline().is_none() {
            run.tell(Input::Resolved(Err(ResolveError::Failed)));
        }
        while run.outcome.is_none() {
            run.deadline();
        }
        prop_assert_eq!(run.machine.deadline(), None);
        run.tell(Input::Deadline);
        prop_assert!(run.sent.len() <= usize::from(run.count));
        for dialect in Dialect::ALL {
            run.line_as(Some("1"), dialect);
        }
    }
}
