//! Echo requests and their replies, as measurements and as packets.

use super::*;

pub(crate) const CASES: &[Case] = cases![
    a_host_behind_a_router_answers,
    a_neighbour_answers_with_its_own_hop_limit,
    loopback_answers,
    a_reply_follows_its_request_in_kernel_time,
    a_late_wake_up_is_no_slow_network,
    what_nobody_answers_is_lost,
    two_hundred_pings_at_once_do_not_mix,
];

fn a_host_behind_a_router_answers() {
    for (family, target) in [("-4", FAR[0]), ("-6", FAR[1])] {
        let Measured {
            line,
            stamped,
            outcome,
            ..
        } = ping(&net(), &format!("evping {family} -c 3 -i 20 {target}"));
        assert!(outcome.answered && stamped, "{line}");
        assert!(line.contains(r#""ttl":63"#), "{line}");
        assert_eq!(line.matches("rtt").count(), 3, "{line}");
    }
}

fn a_neighbour_answers_with_its_own_hop_limit() {
    for (family, target) in [("-4", ROUTER[0]), ("-6", ROUTER[1])] {
        let Measured { line, .. } = ping(&net(), &format!("evping {family} -c 1 -i 20 {target}"));
        assert!(line.contains(r#""ttl":64"#), "{line}");
    }
}

fn loopback_answers() {
    for (family, target) in [("-4", "127.0.0.1"), ("-6", "::1")] {
        let Measured {
            line,
            stamped,
            outcome,
            ..
        } = ping(&open_net(), &format!("evping {family} -c 2 -i 20 {target}"));
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
        let Measured { line, outcome, .. } =
            ping(&net(), &format!("evping {family} -c 2 -i 20 {target}"));
        assert!(!outcome.answered, "{line}");
        assert_eq!(line.matches(r#"{ "x":"*" }"#).count(), 2, "{line}");
    }
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
        async move {
            (
                number,
                measured::run_on(&net, &command, Default::default()).await,
            )
        }
    })));
    assert_eq!(results.len(), 200);
    for (number, Measured { line, stamped, .. }) in results {
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
