//! What is left without the privilege to open raw sockets.

use super::*;

/// Runs the others without the privilege.
pub(crate) const ENTRY: &[Case] = cases![without_raw_sockets];

pub(crate) const CASES: &[Case] = cases![
    unprivileged_ping,
    unprivileged_probes,
    unprivileged_tcp_probe_says_why_not,
];

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
        let Measured {
            line,
            stamped,
            outcome,
            ..
        } = ping(&net, &format!("evping {family} -c 3 -i 20 {target}"));
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
