//! Real sockets between real hosts, in network namespaces made for the purpose.
//!
//! `cargo test --test netns [PART OF A NAME]`. Brings its own `main`, since all cases run inside namespaces.

#![allow(
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking and speaks on stdout"
)]

#[path = "support/cases.rs"]
mod cases;
#[path = "support/netns.rs"]
mod netns;
#[path = "support/script.rs"]
mod script;

use std::{net::IpAddr, process::ExitCode};

use cases::{Case, cases};
use script::{Told, answers, echo_request, exchange, kernel_times, net, open_net};
use starling::{
    measurement::{
        Outcome, Rules, Run, Spec,
        machine::{Call, Failure, Fragment, Handle, Input, Packet, Socket, SocketKind},
    },
    net::{Event, Net, Precision},
};

const FAR: [&str; 2] = ["198.51.100.2", "2001:db8:2::2"];
const ROUTER: [&str; 2] = ["192.0.2.254", "2001:db8:1::fe"];
const NEAR: [&str; 2] = ["192.0.2.1", "2001:db8:1::1"];

const CASES: &[Case] = cases![
    a_host_behind_a_router_answers,
    a_neighbour_answers_with_its_own_hop_limit,
    loopback_answers,
    a_reply_follows_its_request_in_kernel_time,
    a_late_wake_up_is_no_slow_network,
    what_nobody_answers_is_lost,
    no_route_fails_when_opened,
    a_prohibition_fails_the_next_request,
    binding_is_honoured_or_fails,
    packets_leave_from_the_configured_source,
    a_new_route_counts_from_the_next_run_on,
    a_spent_hop_limit_is_told_by_the_router,
    the_target_ends_every_kind_of_probe,
    a_packet_that_must_not_be_cut_is_refused,
    traffic_class_and_options_are_sent,
    two_hundred_pings_at_once_do_not_mix,
    two_hundred_probes_at_once_do_not_mix,
    a_udp_exchange_is_stamped_and_a_refusal_told,
    the_caps_hold,
    without_raw_sockets,
];

/// Run by themselves without the privilege to open raw sockets.
const UNPRIVILEGED: &[Case] = cases![
    unprivileged_ping,
    unprivileged_probes,
    unprivileged_tcp_probe_says_why_not,
];

fn main() -> ExitCode {
    if !netns::is_inside() {
        return netns::run_inside();
    }
    let cases = if cases::asked().as_deref() == Some("unprivileged") {
        UNPRIVILEGED
    } else {
        netns::two_hosts_and_a_router();
        CASES
    };
    let _stamping = script::stamping();
    cases::run(cases)
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// Runs one `evping` command and returns its line, whether all times were the kernel's, and the outcome.
fn ping(net: &Net, command: &str) -> (String, bool, Outcome) {
    script::block_on(ping_async(net, command))
}

async fn ping_async(net: &Net, command: &str) -> (String, bool, Outcome) {
    let words: Vec<&str> = command.split_ascii_whitespace().collect();
    let rules = Rules {
        dialect: Default::default(),
        spool: "/nonexistent".into(),
        unsafe_paths: false,
    };
    let spec = Spec::parse(&words, &rules).expect("a good command");
    let run = Run {
        seed: 7,
        probe_id: None,
        replay: false,
    };
    let mut stamped = true;
    let outcome = net
        .run(spec.start(run, Default::default()), |event| {
            if let Event::In {
                precision,
                input: Input::Datagram { .. },
                ..
            } = event
            {
                stamped &= *precision == Precision::Kernel;
            }
        })
        .await;
    let head = spec.head(&Default::default());
    let line = outcome
        .bodies
        .iter()
        .map(|body| body.line(&head, Default::default()))
        .collect();
    (line, stamped, outcome)
}

fn a_host_behind_a_router_answers() {
    for (family, target) in [("-4", FAR[0]), ("-6", FAR[1])] {
        let (line, stamped, outcome) =
            ping(&net(), &format!("evping {family} -c 3 -i 20 {target}"));
        assert!(outcome.answered && stamped, "{line}");
        assert!(line.contains(r#""ttl":63"#), "{line}");
        assert_eq!(line.matches("rtt").count(), 3, "{line}");
    }
}

fn a_neighbour_answers_with_its_own_hop_limit() {
    for (family, target) in [("-4", ROUTER[0]), ("-6", ROUTER[1])] {
        let (line, ..) = ping(&net(), &format!("evping {family} -c 1 -i 20 {target}"));
        assert!(line.contains(r#""ttl":64"#), "{line}");
    }
}

fn loopback_answers() {
    for (family, target) in [("-4", "127.0.0.1"), ("-6", "::1")] {
        let (line, stamped, outcome) =
            ping(&open_net(), &format!("evping {family} -c 2 -i 20 {target}"));
        assert!(outcome.answered && stamped, "{line}");
        assert_eq!(line.matches("rtt").count(), 2, "{line}");
    }
}

fn a_reply_follows_its_request_in_kernel_time() {
    for target in FAR {
        let told = exchange(
            &net(),
            Socket::new(SocketKind::Echo, ip(target)),
            5,
            5,
            echo_request,
        );
        let (sent, received) = kernel_times(&told);
        assert_eq!((sent.len(), received.len()), (5, 5), "{told:#?}");
        for (sent, received) in sent.iter().zip(&received) {
            assert!(sent < received, "{told:#?}");
        }
        // Each transmit time is told before the reply to its packet.
        let order: String = told
            .iter()
            .filter_map(|told| match told.input {
                Input::Stamped { .. } => Some('s'),
                Input::Datagram { .. } => Some('r'),
                _ => None,
            })
            .collect();
        let lead = order.chars().scan(0, |lead, kind| {
            *lead += if kind == 's' { 1 } else { -1 };
            Some(*lead)
        });
        assert!(lead.min() >= Some(0), "{order}");
    }
}

fn a_late_wake_up_is_no_slow_network() {
    let net = open_net();
    let told = script::block_on(script::oversleep(&net, ip("127.0.0.1")));
    let order: Vec<&str> = told
        .iter()
        .map(|told| match told.input {
            Input::Stamped { .. } => "stamped",
            Input::Datagram { .. } => "reply",
            Input::Deadline => "deadline",
            _ => "-",
        })
        .filter(|name| *name != "-")
        .collect();
    assert_eq!(order, ["stamped", "reply", "deadline"], "{told:#?}");
    // The reply has its own time, not that of the late look.
    let deadline = told.last().expect("the deadline came").at;
    let (_, received) = kernel_times(&told);
    assert!(received[0] < deadline, "{told:#?}");
}

fn what_nobody_answers_is_lost() {
    for target in [
        "203.0.113.1",
        "203.0.113.2",
        "2001:db8:f::1",
        "2001:db8:f::2",
    ] {
        let family = if target.contains(':') { "-6" } else { "-4" };
        let (line, _, outcome) = ping(&net(), &format!("evping {family} -c 2 -i 20 {target}"));
        assert!(!outcome.answered, "{line}");
        assert_eq!(line.matches(r#"{ "x":"*" }"#).count(), 2, "{line}");
    }
}

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
        let (line, _, _) = ping(&net, &format!("evping {family} -c 1 {far}"));
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

fn probe_kinds() -> [SocketKind; 3] {
    [
        SocketKind::IcmpProbe,
        SocketKind::UdpProbe,
        SocketKind::TcpProbe,
    ]
}

fn probe(kind: SocketKind, limit: Option<u8>) -> impl Fn(u32, &Told) -> Packet {
    move |tag, opened| Packet {
        hop_limit: limit,
        ..script::probe(kind, tag, opened)
    }
}

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

fn two_hundred_pings_at_once_do_not_mix() {
    let net = net();
    let results = script::block_on(script::all((0..200).map(|number| {
        let net = net.clone();
        // Sizes tell the runs apart: a reply to another run would show it.
        let (family, target) = if number % 2 == 0 {
            ("-4", FAR[0])
        } else {
            ("-6", FAR[1])
        };
        let command = format!("evping {family} -c 3 -i 200 -s {} {target}", 32 + number);
        async move { (number, ping_async(&net, &command).await) }
    })));
    assert_eq!(results.len(), 200);
    for (number, (line, stamped, _)) in results {
        assert!(stamped, "{number}: {line}");
        assert_eq!(line.matches("rtt").count(), 3, "{number}: {line}");
        assert!(
            !line.contains("dup") && !line.contains("error"),
            "{number}: {line}"
        );
        assert!(
            line.contains(&format!(r#""size":{}"#, 32 + number)),
            "{number}: {line}"
        );
    }
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

fn without_raw_sockets() {
    std::fs::write("/proc/sys/net/ipv4/ping_group_range", "0 0").expect("the namespace is ours");
    let own = std::env::current_exe().expect("a path");
    let status = std::process::Command::new("setpriv")
        .args(["--inh-caps=-all", "--bounding-set=-net_raw"])
        .arg(own)
        .arg("unprivileged")
        .status()
        .expect("setpriv of util-linux");
    assert!(status.success());
}

fn unprivileged_ping() {
    let net = net();
    let capabilities = net.capabilities();
    assert!(
        !capabilities.raw && capabilities.datagram_icmp,
        "{capabilities:?}"
    );
    for (family, target) in [("-4", FAR[0]), ("-6", FAR[1])] {
        let (line, stamped, outcome) = ping(&net, &format!("evping {family} -c 3 -i 20 {target}"));
        assert!(outcome.answered && stamped, "{line}");
        assert!(line.contains(r#""ttl":63"#), "{line}");
        assert_eq!(line.matches("rtt").count(), 3, "{line}");
    }
}

fn unprivileged_probes() {
    for (target, router) in FAR.into_iter().zip(ROUTER) {
        for kind in [SocketKind::IcmpProbe, SocketKind::UdpProbe] {
            for (limit, from) in [(Some(1), router), (None, target)] {
                let socket = Socket::new(kind, ip(target));
                let told = exchange(&net(), socket, 3, 3, probe(kind, limit));
                let heard = answers(&told);
                assert_eq!(heard.len(), 3, "{kind:?} {target} {limit:?}: {told:#?}");
                for datagram in heard {
                    assert_eq!(datagram.from.ip(), ip(from), "{kind:?}: {told:#?}");
                }
                let (sent, _) = kernel_times(&told);
                assert_eq!(sent.len(), 3, "{kind:?} {target} {limit:?}: {told:#?}");
            }
        }
    }
}

fn unprivileged_tcp_probe_says_why_not() {
    let kind = SocketKind::TcpProbe;
    let told = exchange(
        &net(),
        Socket::new(kind, ip(FAR[0])),
        1,
        1,
        probe(kind, Some(1)),
    );
    let cause = Failure::Os {
        call: Call::Socket,
        errno: nix::libc::EPERM,
    };
    let failed = Input::Failed {
        on: Handle(0),
        tag: None,
        cause,
    };
    assert_eq!(told.last().map(|told| &told.input), Some(&failed));
}
