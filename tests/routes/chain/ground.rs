//! The namespaces of the chain, and what its routers do with which addresses.

use super::{NARROW, WAYS, netns};

/// Makes the chain beside the other hosts. Net `n` is 198.18.n.0/24 and 2001:db8:a:n::/64, 1 its near end and 2
/// its far one; this process is on net 0 and the target on net 4.
///
/// The fourth router has no way to net 98; the third cannot reach host 1 of net 99 and drops what goes to host 2
/// silently; the second forbids host 3. Net 5, behind the fourth router, loses what is large without a word.
pub(crate) fn build() {
    // Limits are for strangers. The one of IPv4 on what has no route stays, five at once for each host, and must
    // not be used up by other errors: hence the mask.
    let names = ["r1", "r2", "r3", "r4", "end", "hole"];
    for name in names {
        netns::run(&format!("ip netns add {name}"));
        netns::run(&format!("ip -n {name} link set lo up"));
        netns::run(&format!(
            "ip netns exec {name} sysctl -q net.ipv6.conf.all.accept_dad=0 \
             net.ipv6.conf.default.accept_dad=0 net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 \
             net.ipv4.icmp_ratemask=0 net.ipv6.icmp.ratelimit=0 \
             net.ipv4.icmp_msgs_per_sec=1000000 net.ipv4.icmp_msgs_burst=10000"
        ));
    }
    link(0, None, "r1", [1_500; 2]);
    link(1, Some("r1"), "r2", [1_500; 2]);
    link(2, Some("r2"), "r3", [1_500; 2]);
    link(3, Some("r3"), "r4", [NARROW; 2]);
    link(4, Some("r4"), "end", [1_500; 2]);
    link(5, Some("r4"), "hole", [1_500, 1_280]);
    for way in WAYS {
        let (flag, all) = (
            way.flag,
            ["198.18.0.0/16", "2001:db8:a::/48"][usize::from(way.is_v6())],
        );
        netns::run(&format!(
            "ip {flag} route add {all} via {}",
            way.address(0, 2)
        ));
        for (near, name) in names[..3].iter().enumerate() {
            let next = way.address(near + 1, 2);
            netns::run(&format!("ip {flag} -n {name} route add default via {next}"));
        }
        let home = ["198.18.0.0/24", "2001:db8:a::/64"][usize::from(way.is_v6())];
        for (net, name) in [(1, "r2"), (2, "r3"), (3, "r4"), (4, "end"), (5, "hole")] {
            let back = way.address(net, 1);
            netns::run(&format!("ip {flag} -n {name} route add {home} via {back}"));
        }
        for (name, kind, host) in [
            ("r3", "unreachable", 1),
            ("r3", "blackhole", 2),
            ("r2", "prohibit", 3),
        ] {
            let there = way.address(99, host);
            netns::run(&format!("ip {flag} -n {name} route add {kind} {there}"));
        }
        // Who does not answer is asked once.
        let family = ["ipv4", "ipv6"][usize::from(way.is_v6())];
        netns::run(&format!(
            "ip netns exec r4 sysctl -q net.{family}.neigh.left4.mcast_solicit=1 \
             net.{family}.neigh.left4.retrans_time_ms=20"
        ));
    }
}

/// Net `net` from `left<net>` in a namespace, or in this one, to `right<net>` in another, with the largest packets
/// that each end takes.
fn link(net: usize, left: Option<&str>, right: &str, mtu: [u32; 2]) {
    let at = left.map_or(String::new(), |name| format!("-n {name} "));
    netns::run(&format!(
        "ip {at}link add left{net} type veth peer name right{net} netns {right}"
    ));
    let ends = [(at, "left", 1), (format!("-n {right} "), "right", 2)];
    for ((at, end, host), mtu) in ends.into_iter().zip(mtu) {
        netns::run(&format!("ip {at}link set {end}{net} mtu {mtu} up"));
        for way in WAYS {
            let bits = if way.is_v6() { "64" } else { "24" };
            let nodad = if way.is_v6() { "nodad" } else { "" };
            let address = way.address(net, host);
            netns::run(&format!(
                "ip {at}address add {address}/{bits} dev {end}{net} {nodad}"
            ));
        }
    }
}
