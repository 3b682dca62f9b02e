//! Network namespaces for tests: this process's own, and others behind a router.
//!
//! The test binary runs itself again under `unshare`, which gives it raw sockets and interfaces of its own
//! without being root. Interfaces, routes and files are gone with the process.

use std::process::{Command, ExitCode};

/// Set in the run that is inside.
const INSIDE: &str = "STARLING_INSIDE_NETNS";

/// Whether this is the run inside the namespaces.
pub(crate) fn is_inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// Runs this binary again inside new namespaces. Where they are refused that is said, and is a failure if
/// `STARLING_REQUIRE_NETNS` is `1`.
pub(crate) fn run_inside() -> ExitCode {
    let own = std::env::current_exe().expect("the running binary has a path");
    let ways: [&[&str]; 2] = [
        &["--user", "--map-root-user", "--net", "--mount"],
        &["--net", "--mount"],
    ];
    let allowed = ways.into_iter().find(|way| {
        let tried = Command::new("unshare").args(*way).arg("true").output();
        tried.is_ok_and(|output| output.status.success())
    });
    let Some(way) = allowed else {
        eprintln!();
        eprintln!("NOT TESTED: this host refuses network namespaces (`unshare --user --net`),");
        eprintln!("so nothing was tried on real sockets. Run as root, or allow user namespaces.");
        eprintln!();
        return if std::env::var("STARLING_REQUIRE_NETNS").as_deref() == Ok("1") {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        };
    };
    let status = Command::new("unshare")
        .args(way)
        .arg(own)
        .args(std::env::args_os().skip(1))
        .env(INSIDE, "1")
        .status()
        .expect("unshare was just run");
    if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Runs a command; it must succeed.
pub(crate) fn run(line: &str) {
    let mut words = line.split_ascii_whitespace();
    let program = words.next().expect("a command has a name");
    let output = Command::new(program).args(words).output();
    let output = output.unwrap_or_else(|error| panic!("{line}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{line}: {said}");
}

/// Two hosts and a router. This process is the near host, 192.0.2.1 and 2001:db8:1::1; the far one is
/// 198.51.100.2 to .9 and 2001:db8:2::2; the router's near side is 192.0.2.254 and 2001:db8:1::fe.
///
/// The router has no way to 203.0.113.1 and 2001:db8:f::1 (unreachable), drops what goes to 203.0.113.2 and
/// 2001:db8:f::2 silently, and forbids 203.0.113.3 and 2001:db8:f::3.
pub(crate) fn two_hosts_and_a_router() {
    run("mount -t tmpfs tmpfs /run");
    run("ip link set lo up");
    for name in ["router", "far"] {
        run(&format!("ip netns add {name}"));
        run(&format!("ip -n {name} link set lo up"));
    }
    // Addresses hold at once, without being looked for elsewhere first.
    let no_dad = "sysctl -q net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0";
    run(no_dad);
    run(&format!("ip netns exec router {no_dad}"));
    run(&format!("ip netns exec far {no_dad}"));
    run("ip link add near0 type veth peer name near1 netns router");
    run("ip -n router link add far1 type veth peer name far0 netns far");
    run("ip link set near0 up");
    run("ip -n router link set near1 up");
    run("ip -n router link set far1 up");
    run("ip -n far link set far0 up");
    run("ip address add 192.0.2.1/24 dev near0");
    run("ip address add 2001:db8:1::1/64 dev near0 nodad");
    run("ip -n router address add 192.0.2.254/24 dev near1");
    run("ip -n router address add 2001:db8:1::fe/64 dev near1 nodad");
    run("ip -n router address add 198.51.100.254/24 dev far1");
    run("ip -n router address add 2001:db8:2::fe/64 dev far1 nodad");
    for last in 2..10 {
        run(&format!(
            "ip -n far address add 198.51.100.{last}/24 dev far0"
        ));
    }
    run("ip -n far address add 2001:db8:2::2/64 dev far0 nodad");
    run("ip netns exec router sysctl -q net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1");
    // Errors are tested by the hundred; limits are for strangers.
    for name in ["router", "far"] {
        let limits = "net.ipv4.icmp_ratelimit=0 net.ipv6.icmp.ratelimit=0 \
            net.ipv4.icmp_msgs_per_sec=1000000 net.ipv4.icmp_msgs_burst=10000";
        run(&format!("ip netns exec {name} sysctl -q {limits}"));
    }
    run("ip route add default via 192.0.2.254");
    run("ip -6 route add default via 2001:db8:1::fe");
    run("ip -n far route add default via 198.51.100.254");
    run("ip -n far -6 route add default via 2001:db8:2::fe");
    for (last, kind) in [(1, "unreachable"), (2, "blackhole"), (3, "prohibit")] {
        run(&format!("ip -n router route add {kind} 203.0.113.{last}"));
        run(&format!(
            "ip -n router -6 route add {kind} 2001:db8:f::{last}"
        ));
        run(&format!("ip route add {kind} 203.0.113.10{last}"));
    }
}
