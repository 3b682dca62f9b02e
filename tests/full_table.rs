//! The status results on a host with a full routing table. Makes a network namespace with many routes; the time that
//! reading them takes is printed, not judged.

#![allow(
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking and speaks on stdout"
)]

#[path = "support/netns.rs"]
#[allow(dead_code, reason = "shared with the namespace tests")]
mod netns;

use std::{fmt::Write as _, process::ExitCode, time::Duration};

use netns::run;
use starling::{
    clock::{Clock, UnixTime},
    dialect::Dialect,
    report::{
        lines::{self, Stamp},
        system,
    },
};

/// As many as the internet's IPv4 table has today would take longer to make than to tell.
const ROUTES: (u32, u32) = (120_000, 30_000);

fn main() -> ExitCode {
    if !netns::is_inside() {
        return netns::run_inside();
    }
    fill();
    let clock = Clock::start();
    let (mut shortest, mut longest) = ([Duration::MAX; 3], [Duration::ZERO; 3]);
    let mut text = String::new();
    for _ in 0..20 {
        let times = [
            timed(clock, || {
                text = lines::addresses_text(&system::addresses());
            }),
            timed(clock, || {
                assert!(system::interfaces().iter().any(|one| one.name == "lo"));
            }),
            timed(clock, || {
                let stamp = Stamp {
                    version: "",
                    time: UnixTime::default(),
                    lts: -1,
                    dialect: Dialect::Reference,
                };
                let data = std::env::temp_dir();
                assert!(!system::status(&stamp, &data, Duration::ZERO).is_empty());
            }),
        ];
        for (index, time) in times.into_iter().enumerate() {
            shortest[index] = time.min(shortest[index]);
            longest[index] = time.max(longest[index]);
        }
    }
    // The beginning of the table, whole lines, a bounded number of them.
    assert_eq!(
        text.matches("\"destination\": ").count(),
        100,
        "IPv4 routes"
    );
    assert!(
        text.matches("\"destination\" : ").count() <= 100,
        "IPv6 routes"
    );
    assert!(text.len() < 64 << 10, "{} octets", text.len());
    println!(
        "with {} IPv4 and {} IPv6 routes, shortest and longest of 20:",
        ROUTES.0, ROUTES.1
    );
    let names = [
        "addresses and routes (9104)",
        "interface counters (9002)",
        "all lines of a batch",
    ];
    for ((name, shortest), longest) in names.iter().zip(shortest).zip(longest) {
        println!("{name}: {shortest:?} to {longest:?}");
    }
    ExitCode::SUCCESS
}

fn timed(clock: Clock, what: impl FnOnce()) -> Duration {
    let start = clock.tick();
    what();
    clock.tick().since(start)
}

/// Fills the routing tables of this namespace.
fn fill() {
    run("ip link set lo up");
    run("ip link add dummy0 type veth peer name dummy1");
    run("ip link set dummy0 up");
    run("ip link set dummy1 up");
    run("ip address add 192.0.2.1/24 dev dummy0");
    run("ip address add 2001:db8:1::1/64 dev dummy0 nodad");
    let mut four = String::new();
    for number in 0..ROUTES.0 {
        let [_, a, b, c] = (number << 4).to_be_bytes();
        let _ = writeln!(four, "route add {}.{b}.{c}.0/28 via 192.0.2.2", 16 + a);
    }
    let mut six = String::new();
    for number in 0..ROUTES.1 {
        let _ = writeln!(six, "route add 2a00:{number:x}::/32 via 2001:db8:1::2");
    }
    let folder = tempfile::tempdir().unwrap();
    for (family, text) in [("-4", four), ("-6", six)] {
        let file = folder.path().join(family);
        std::fs::write(&file, text).unwrap();
        run(&format!("ip {family} -batch {}", file.display()));
    }
}
