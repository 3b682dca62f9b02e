//! Packets of a traceroute: hop limits, sizes, options.

use super::*;

pub(crate) const CASES: &[Case] = cases![
    a_spent_hop_limit_is_told_by_the_router,
    the_target_ends_every_kind_of_probe,
    a_packet_that_must_not_be_cut_is_refused,
    traffic_class_and_options_are_sent,
    two_hundred_probes_at_once_do_not_mix,
];

fn a_spent_hop_limit_is_told_by_the_router() {
    for (target, router) in FAR.into_iter().zip(ROUTER) {
        for kind in probe_kinds() {
            let told = exchange(
                &net(),
                Socket::new(kind, ip(target)),
                3,
                3,
                probe(kind, Some(1)),
            );
            let heard = answers(&told);
            assert_eq!(heard.len(), 3, "{kind:?} {target}: {told:#?}");
            for datagram in heard {
                assert_eq!(datagram.from.ip(), ip(router), "{kind:?}");
                assert_eq!(datagram.hop_limit, Some(64), "{kind:?}");
                let at = if router.contains(':') { 0 } else { 20 };
                let exceeded = if at == 0 { 3 } else { 11 };
                assert_eq!(datagram.bytes[at], exceeded, "{kind:?}");
            }
            let (sent, received) = kernel_times(&told);
            assert_eq!((sent.len(), received.len()), (3, 3), "{kind:?} {target}");
        }
    }
}

fn the_target_ends_every_kind_of_probe() {
    for target in FAR {
        for (kind, protocol) in probe_kinds().into_iter().zip([1, 1, 6]) {
            let told = exchange(
                &net(),
                Socket::new(kind, ip(target)),
                2,
                2,
                probe(kind, None),
            );
            let heard = answers(&told);
            assert_eq!(heard.len(), 2, "{kind:?} {target}: {told:#?}");
            for datagram in heard {
                assert_eq!(datagram.from.ip(), ip(target), "{kind:?}");
                let expected = if target.contains(':') && protocol == 1 {
                    58
                } else {
                    protocol
                };
                assert_eq!(datagram.protocol, expected, "{kind:?}");
            }
        }
    }
}

fn a_packet_that_must_not_be_cut_is_refused() {
    for target in FAR {
        for (fragment, arrives) in [(Fragment::Never, false), (Fragment::Allowed, true)] {
            let mut socket = Socket::new(SocketKind::IcmpProbe, ip(target));
            socket.fragment = fragment;
            let large = |tag, opened: &Told| script::echo_of(tag, opened, 2_000);
            let told = exchange(&net(), socket, 1, 1, large);
            assert_eq!(
                answers(&told).len(),
                usize::from(arrives),
                "{target} {told:#?}"
            );
            let cause = Failure::Os {
                call: Call::Send,
                errno: nix::libc::EMSGSIZE,
            };
            let refused = Input::Failed {
                on: Handle(0),
                tag: Some(0),
                cause,
            };
            assert_eq!(
                told.iter().any(|told| told.input == refused),
                !arrives,
                "{target}"
            );
        }
    }
}

fn traffic_class_and_options_are_sent() {
    for target in FAR {
        let mut socket = Socket::new(SocketKind::Echo, ip(target));
        socket.tos = 0x28;
        let told = exchange(&net(), socket, 1, 1, echo_request);
        // An echo reply carries the class of its request.
        assert_eq!(answers(&told)[0].tos, Some(0x28), "{told:#?}");
    }
    let mut socket = Socket::new(SocketKind::IcmpProbe, ip(FAR[1]));
    socket.destination_options = vec![0, 0, 1, 4, 0, 0, 0, 0];
    socket.hop_by_hop = vec![0, 0, 1, 4, 0, 0, 0, 0];
    let told = exchange(&net(), socket, 1, 1, probe(SocketKind::IcmpProbe, Some(1)));
    let bytes = &answers(&told)[0].bytes;
    // Quoted: IPv6 header with next header 0, hop-by-hop with next header 60, destination options, ICMPv6.
    assert_eq!(
        (bytes[8 + 6], bytes[48], bytes[56]),
        (0, 60, 58),
        "{told:#?}"
    );
}

fn two_hundred_probes_at_once_do_not_mix() {
    let net = net();
    let results = script::block_on(script::all((0..200_usize).map(|number| {
        let net = net.clone();
        let kind = probe_kinds()[number % 3];
        let socket = Socket::new(kind, ip(FAR[number % 2]));
        let limit = (number % 4 < 2).then_some(1);
        async move { script::exchange_async(&net, socket, 3, 3, probe(kind, limit)).await }
    })));
    for told in results {
        assert_eq!(answers(&told).len(), 3, "{told:#?}");
        let (sent, received) = kernel_times(&told);
        assert_eq!((sent.len(), received.len()), (3, 3), "{told:#?}");
    }
}
