//! NTP measurements against chrony, in a network namespace of this test's own: the server's clock is this host's own, so
//! an offset can be no more than half of the delay.
//!
//! Without chrony that is said loudly; `STARLING_REQUIRE_PEERS=1` makes it a failure.

#![allow(
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking and speaks on stdout"
)]

#[path = "support/cases.rs"]
mod cases;
#[path = "support/measured.rs"]
mod measured;
#[path = "support/netns.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod netns;
#[path = "support/peers.rs"]
mod peers;

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    process::{Command, ExitCode},
};

use peers::Daemon;
use serde_json::Value;
use starling::measurement::Carry;

/// Where the server with a clock of stratum 5 is, for each family, and where one without any source.
const SYNCHRONISED: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::LOCALHOST),
    IpAddr::V6(Ipv6Addr::LOCALHOST),
];
const LOST: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

const CASES: &[cases::Case] = cases::cases![
    the_fields_are_what_the_server_is,
    an_offset_is_within_half_of_the_delay,
    a_server_without_a_clock_says_so,
    a_probe_without_raw_sockets_measures_as_well,
];

fn main() -> ExitCode {
    if !peers::is_installed("chronyd") {
        return ExitCode::SUCCESS;
    }
    if !netns::is_inside() {
        return netns::run_inside();
    }
    netns::run("ip link set lo up");
    netns::run("ip address add 127.0.0.2/8 dev lo");
    let [v4, v6] = SYNCHRONISED;
    let _servers = [
        chrony(v4, "local stratum 5\n"),
        chrony(v6, "local stratum 5\n"),
        chrony(LOST, ""),
    ];
    cases::run(CASES)
}

/// chrony on port 123 of this address; returns once it answers.
fn chrony(address: IpAddr, clock: &str) -> Daemon {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().display();
    let configuration = format!(
        "{clock}allow all\nport 123\nbindaddress {address}\ncmdport 0\nbindcmdaddress /\npidfile {path}/pid\n"
    );
    let file = directory.path().join("chrony.conf");
    fs::write(&file, configuration).expect("a configuration");
    let mut command = Command::new("chronyd");
    // -x: the clock is not touched; -d: in the foreground.
    command.args(["-x", "-d", "-u", "root", "-f"]).arg(&file);
    let mut daemon = Daemon::start(&mut command, directory);
    let mut query = [0; 48];
    query[0] = 0x23;
    daemon.wait_until(|| peers::answers_datagram(address, 123, &query));
    daemon
}

/// The result of a command, as JSON.
fn measure(command: &str) -> Value {
    let line = measured::run(command, Carry::Nothing, |_| {}).line;
    let json = line.strip_prefix("RESULT ").expect("a RESULT line");
    serde_json::from_str(json).expect(&line)
}

/// A measurement of a server, with its replies.
fn ask(server: IpAddr, count: usize) -> (Value, Vec<Value>) {
    let family = if server.is_ipv4() { 4 } else { 6 };
    let result = measure(&format!("evntp -{family} -c {count} -A 1001 {server}"));
    let replies = result["result"].as_array().expect("a list").clone();
    assert_eq!(replies.len(), count, "{result}");
    (result, replies)
}

fn the_fields_are_what_the_server_is() {
    for server in SYNCHRONISED {
        let (result, _) = ask(server, 1);
        assert_eq!(result["li"], "no", "{result}");
        assert_eq!(result["version"], 4, "{result}");
        assert_eq!(result["mode"], "server", "{result}");
        assert_eq!(result["stratum"], 5, "{result}");
        // 127.127.1.1: its own clock.
        assert_eq!(result["ref-id"], "7f7f0101", "{result}");
        assert_eq!(result["root-delay"], 0, "{result}");
    }
}

fn an_offset_is_within_half_of_the_delay() {
    for server in SYNCHRONISED {
        let (_, replies) = ask(server, 8);
        for reply in replies {
            let (offset, delay) = (&reply["offset"], &reply["rtt"]);
            let (Some(offset), Some(delay)) = (offset.as_f64(), delay.as_f64()) else {
                panic!("{reply}");
            };
            // Both are written in whole microseconds.
            assert!(
                delay >= 0.0 && offset.abs() <= delay / 2.0 + 2e-6,
                "{reply}"
            );
            let times = ["origin-ts", "receive-ts", "transmit-ts", "final-ts"];
            let times = times.map(|time| reply[time].as_f64().expect("a time"));
            assert!(times.is_sorted(), "{reply}");
        }
    }
}

fn a_server_without_a_clock_says_so() {
    let (result, replies) = ask(LOST, 1);
    assert_eq!(result["li"], "unknown", "{result}");
    assert_eq!(result["mode"], "server", "{result}");
    assert!(replies[0]["offset"].is_number(), "{result}");
}

/// In a thread of its own, whose privileges end with it.
fn a_probe_without_raw_sockets_measures_as_well() {
    let deprived = std::thread::spawn(|| {
        caps::clear(None, caps::CapSet::Effective).expect("privileges can be given up");
        ask(SYNCHRONISED[0], 2)
    });
    let (result, replies) = deprived.join().expect("it measures");
    assert!(
        replies.iter().all(|reply| reply["offset"].is_number()),
        "{result}"
    );
}
