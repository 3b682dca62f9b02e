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
#[path = "support/netns.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod netns;

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket},
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
    time::Duration,
};

use serde_json::Value;
use starling::{
    clock::Clock,
    dialect::Dialect,
    measurement::{Body, Carry, Head, Rules, Run, Spec, Version},
    net::{Config, Net},
};
use tempfile::TempDir;

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
    if !Path::new("/usr/sbin/chronyd").exists() {
        let required = std::env::var("STARLING_REQUIRE_PEERS").is_ok_and(|value| value == "1");
        eprintln!(
            "SKIPPED: chronyd is not installed, so NTP was tried against no server but our own"
        );
        return if required {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        };
    }
    if !netns::is_inside() {
        return netns::run_inside();
    }
    netns::run("ip link set lo up");
    netns::run("ip address add 127.0.0.2/8 dev lo");
    let [v4, v6] = SYNCHRONISED;
    let _servers = [
        Daemon::start(v4, "local stratum 5\n"),
        Daemon::start(v6, "local stratum 5\n"),
        Daemon::start(LOST, ""),
    ];
    cases::run(CASES)
}

/// A server of this test's own; ended when dropped.
struct Daemon {
    child: Child,
    _directory: TempDir,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Daemon {
    /// chrony on port 123 of this address; returns once it answers.
    fn start(address: IpAddr, clock: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().display();
        let configuration = format!(
            "{clock}allow all\nport 123\nbindaddress {address}\ncmdport 0\nbindcmdaddress /\npidfile {path}/pid\n"
        );
        let file = directory.path().join("chrony.conf");
        fs::write(&file, configuration).expect("a configuration");
        // -x: the clock is not touched; -d: in the foreground.
        let child = Command::new("/usr/sbin/chronyd")
            .args(["-x", "-d", "-u", "root", "-f"])
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(directory.path().join("log")).expect("a log"))
            .spawn()
            .expect("the server starts");
        let mut daemon = Self {
            child,
            _directory: directory,
        };
        daemon.wait(address);
        daemon
    }

    /// Asks until there is an answer.
    fn wait(&mut self, address: IpAddr) {
        let any = if address.is_ipv4() {
            "127.0.0.1:0"
        } else {
            "[::1]:0"
        };
        let socket = UdpSocket::bind(any).expect("a socket");
        socket.connect((address, 123)).expect("loopback");
        let patience = Some(Duration::from_millis(100));
        socket.set_read_timeout(patience).expect("a timeout");
        let mut query = [0; 48];
        query[0] = 0x23;
        for _ in 0..200 {
            let status = self.child.try_wait().expect("its status");
            assert!(status.is_none(), "chronyd ended: {status:?}");
            match socket.send(&query).and_then(|_| socket.recv(&mut [0; 512])) {
                Ok(_) => return,
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
                    // It is still starting, and there is nothing to wait on.
                    std::thread::park_timeout(Duration::from_millis(20));
                }
                Err(_) => {}
            }
        }
        panic!("chronyd does not answer on {address}");
    }
}

/// The result of a command, as JSON.
fn measure(command: &str) -> Value {
    let mut config = Config::new(7);
    config.allow_any_address = true;
    let rules = Rules {
        dialect: Dialect::Reference,
        spool: PathBuf::from("/nonexistent"),
        unsafe_paths: false,
    };
    let words: Vec<&str> = command.split_whitespace().collect();
    let spec = Spec::parse(&words, &rules).expect(command);
    let run = Run {
        seed: 11,
        probe_id: Some(1_000_123),
        replay: false,
    };
    let machine = spec.start(run, Carry::Nothing);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let outcome = runtime.block_on(async {
        let net = Net::open(config, Clock::start());
        net.run(machine, |_| {}).await
    });
    let head = Head {
        id: Some("1001".to_owned()),
        bundle: None,
        version: Version::default(),
    };
    let [body] = <[Body; 1]>::try_from(outcome.bodies).expect("one body");
    let line = body.line(&head, Dialect::Reference);
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
