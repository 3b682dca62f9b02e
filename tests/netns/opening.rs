//! Sockets: where their packets leave from, what cannot be opened, what is refused later, and the caps.

use super::*;

pub(crate) const CASES: &[Case] = cases![
    no_route_fails_when_opened,
    a_prohibition_fails_the_next_request,
    binding_is_honoured_or_fails,
    a_new_route_counts_from_the_next_run_on,
    packets_leave_from_the_configured_source,
    a_udp_exchange_is_stamped_and_a_refusal_told,
    the_caps_hold,
];

fn no_route_fails_when_opened() {
    for (target, errno) in [
        ("203.0.113.101", nix::libc::EHOSTUNREACH),
        ("203.0.113.102", nix::libc::EINVAL),
        ("203.0.113.103", nix::libc::EACCES),
    ] {
        let told = exchange(
            &net(),
            Socket::new(SocketKind::Echo, ip(target)),
            1,
            1,
            echo_request,
        );
        let cause = Failure::Os {
            call: Call::Connect,
            errno,
        };
        let on = Handle(0);
        let last = &told.last().expect("something is always told").input;
        assert_eq!(
            *last,
            Input::Failed {
                on,
                tag: None,
                cause
            },
            "{target}"
        );
    }
}

fn a_prohibition_fails_the_next_request() {
    for (target, errno) in [
        ("203.0.113.3", nix::libc::EHOSTUNREACH),
        ("2001:db8:f::3", nix::libc::EACCES),
    ] {
        let told = exchange(
            &net(),
            Socket::new(SocketKind::Echo, ip(target)),
            2,
            2,
            echo_request,
        );
        let failed: Vec<_> = told
            .iter()
            .filter_map(|told| match &told.input {
                Input::Failed { tag, cause, .. } => Some((*tag, cause.clone())),
                _ => None,
            })
            .collect();
        let cause = Failure::Os {
            call: Call::Send,
            errno,
        };
        assert_eq!(failed, [(Some(1), cause)], "{target}: {told:#?}");
    }
}

fn binding_is_honoured_or_fails() {
    for (bind, works) in [
        (NEAR[0], true),
        ("near0", true),
        ("192.0.2.77", false),
        ("none0", false),
    ] {
        let mut socket = Socket::new(SocketKind::Echo, ip(FAR[0]));
        socket.bind = Some(bind.to_owned());
        let told = exchange(&net(), socket, 1, 1, echo_request);
        assert_eq!(
            answers(&told).len(),
            usize::from(works),
            "{bind}: {told:#?}"
        );
        let refused = told.iter().any(|told| {
            matches!(
                told.input,
                Input::Failed {
                    cause: Failure::Bind,
                    ..
                }
            )
        });
        assert_eq!(refused, !works, "{bind}");
    }
}

fn a_new_route_counts_from_the_next_run_on() {
    let net = net();
    let source = || {
        let socket = Socket::new(SocketKind::Echo, ip(FAR[0]));
        let told = exchange(&net, socket, 1, 1, echo_request);
        told.iter().find_map(|told| match told.input {
            Input::Opened { local, .. } => Some(local.ip()),
            _ => None,
        })
    };
    assert_eq!([source(), source()], [Some(ip(NEAR[0])); 2]);
    netns::run("ip address add 192.0.2.9/24 dev near0");
    netns::run("ip route add 198.51.100.0/24 via 192.0.2.254 src 192.0.2.9");
    assert_eq!([source(), source()], [Some(ip("192.0.2.9")); 2]);
    // The route goes with the address.
    netns::run("ip address del 192.0.2.9/24 dev near0");
    assert_eq!(source(), Some(ip(NEAR[0])));
    netns::run("ip route add unreachable 198.51.100.0/24");
    assert_eq!(source(), None);
    netns::run("ip route del unreachable 198.51.100.0/24");
    assert_eq!(source(), Some(ip(NEAR[0])));
}

fn packets_leave_from_the_configured_source() {
    let second = ["192.0.2.7", "2001:db8:1::7"];
    let change = |what: &str, how: &str| {
        netns::run(&format!("ip address {what} {}/24 dev near0", second[0]));
        netns::run(&format!(
            "ip address {what} {}/64 dev near0{how}",
            second[1]
        ));
    };
    change("add", " nodad");
    let from = |sources: [&str; 2]| {
        let mut config = starling::net::Config::new(1);
        config.allow_any_address = true;
        config.source_v4 = Some(sources[0].to_owned());
        config.source_v6 = Some(sources[1].to_owned());
        Net::open(config, starling::clock::Clock::start())
    };
    let local = |net: &Net, socket: Socket| {
        let told = exchange(net, socket, 1, 1, echo_request);
        told.into_iter().find_map(|told| match told.input {
            Input::Opened { local, .. } => Some(local.ip()),
            Input::Failed { cause, .. } => {
                assert_eq!(cause, Failure::Bind);
                None
            }
            _ => None,
        })
    };
    let net = from(second);
    for (far, (near, source)) in FAR.into_iter().zip(NEAR.into_iter().zip(second)) {
        let family = if far.contains(':') { "-6" } else { "-4" };
        let Measured { line, .. } = ping(&net, &format!("evping {family} -c 1 {far}"));
        assert!(
            line.contains(&format!("\"src_addr\":\"{source}\"")),
            "{line}"
        );
        for kind in probe_kinds() {
            let socket = || Socket::new(kind, ip(far));
            assert_eq!(local(&net, socket()), Some(ip(source)), "{kind:?}");
            // Its own wish goes first.
            let mut bound = socket();
            bound.bind = Some(near.to_owned());
            assert_eq!(local(&net, bound), Some(ip(near)), "{kind:?}");
        }
    }
    // Loopback is left alone, and an address of another host is a failure, not another source.
    let absent = from(["192.0.2.77", "2001:db8:1::77"]);
    let echo = |to: &str| Socket::new(SocketKind::Echo, ip(to));
    assert_eq!(local(&absent, echo("127.0.0.1")), Some(ip("127.0.0.1")));
    assert_eq!(local(&absent, echo(FAR[0])), None);
    assert_eq!(local(&absent, echo(FAR[1])), None);
    change("del", "");
}

fn a_udp_exchange_is_stamped_and_a_refusal_told() {
    for address in ["127.0.0.1", "::1"] {
        let server = std::net::UdpSocket::bind((address, 0)).expect("loopback");
        let port = server.local_addr().expect("bound").port();
        let echo = std::thread::spawn(move || {
            let mut buffer = [0; 64];
            for _ in 0..2 {
                let (length, from) = server.recv_from(&mut buffer).expect("a request");
                server.send_to(&buffer[..length], from).expect("an answer");
            }
        });
        let payload = |tag: u32, _: &Told| Packet {
            tag,
            bytes: tag.to_be_bytes().to_vec(),
            hop_limit: None,
            port: 0,
        };
        let socket = Socket::new(SocketKind::Udp { port }, ip(address));
        let told = exchange(&open_net(), socket.clone(), 2, 2, payload);
        echo.join().expect("the server ended");
        let heard: Vec<_> = answers(&told)
            .iter()
            .map(|datagram| datagram.bytes.clone())
            .collect();
        assert_eq!(heard, [[0, 0, 0, 0], [0, 0, 0, 1]], "{told:#?}");
        let (sent, received) = kernel_times(&told);
        assert_eq!((sent.len(), received.len()), (2, 2), "{told:#?}");
        // Nobody listens any more: the refusal is told as such.
        let told = exchange(&open_net(), socket, 1, 1, payload);
        let cause = Failure::Os {
            call: Call::Receive,
            errno: nix::libc::ECONNREFUSED,
        };
        let on = Handle(0);
        let refused = Input::Failed {
            on,
            tag: None,
            cause,
        };
        assert_eq!(told.last().expect("told").input, refused, "{told:#?}");
    }
}

fn the_caps_hold() {
    let mut config = starling::net::Config::new(1);
    config.packets_per_second = 2;
    config.sockets = 1;
    let net = Net::open(config, starling::clock::Clock::start());
    let told = exchange(
        &net,
        Socket::new(SocketKind::Echo, ip(FAR[0])),
        4,
        4,
        echo_request,
    );
    let sent = told
        .iter()
        .filter(|told| matches!(told.input, Input::Sent { .. }))
        .count();
    assert!((2..4).contains(&sent), "{told:#?}");
    let told = script::block_on(script::open_twice(
        &net,
        Socket::new(SocketKind::Echo, ip(FAR[0])),
    ));
    let cause = Failure::Os {
        call: Call::Socket,
        errno: nix::libc::EMFILE,
    };
    assert_eq!(
        told.last().map(|told| &told.input),
        Some(&Input::Failed {
            on: Handle(1),
            tag: None,
            cause
        })
    );
}
