//! Whole traceroutes and NTP measurements on real sockets, in network namespaces made for the purpose.
//!
//! `cargo test --test routes [PART OF A NAME]`. Brings its own `main`, since all cases run inside namespaces.

#![allow(
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking and speaks on stdout"
)]

#[path = "../support/cases.rs"]
mod cases;
mod chain;
mod double;
mod hostile;
#[path = "../support/measured.rs"]
mod measured;
#[path = "../support/netns.rs"]
mod netns;
mod replies;
#[allow(dead_code, reason = "shared with tests that use more of it")]
#[path = "../support/script.rs"]
mod script;

use std::{net::UdpSocket, process::ExitCode, thread::JoinHandle};

use cases::{Case, cases};
use measured::{Measured, lines};
use script::{block_on, open_net};
use starling::{
    measurement::Carry,
    net::{Net, recording},
    wire::ntp,
};

/// Family, target, its last hop's address, the router's.
const WAYS: [(&str, &str, &str); 2] = [
    ("-4", "198.51.100.2", "192.0.2.254"),
    ("-6", "2001:db8:2::2", "2001:db8:1::fe"),
];

const CASES: &[Case] = cases![
    every_protocol_finds_router_and_target,
    a_hop_before_the_first,
    probes_that_must_not_be_cut_are_lost,
    a_hundred_traceroutes_at_once_do_not_mix,
    a_recorded_run_replays_to_the_same_route,
    a_server_on_this_host_has_the_same_time,
    nobody_at_the_port_is_a_loss,
];

fn main() -> ExitCode {
    if !netns::is_inside() {
        return netns::run_inside();
    }
    netns::two_hosts_and_a_router();
    chain::build();
    double::build();
    let _stamping = script::stamping();
    cases::run(
        CASES
            .iter()
            .chain(chain::CASES)
            .chain(hostile::CASES)
            .chain(replies::CASES),
    )
}

async fn measure(net: Net, command: String) -> Measured {
    measure_after(net, command, Carry::default()).await
}

/// A run that continues where another left off.
async fn measure_after(net: Net, command: String, carry: Carry) -> Measured {
    measured::run_on(&net, &command, carry).await
}

fn run(command: &str) -> Measured {
    block_on(measure(open_net(), command.to_owned()))
}

/// The line from the name of the target on, with a `T` for every round-trip time.
fn timeless(line: &str) -> String {
    let (_, mut rest) = line.split_once("\"dst_name\":").expect("a target");
    let mut out = String::new();
    while let Some((before, after)) = rest.split_once("\"rtt\":") {
        out = out + before + "\"rtt\":T";
        rest = after.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    }
    out + rest
}

/// What stands in `result`, with a `T` for every round-trip time.
fn items(line: &str) -> String {
    let line = timeless(line);
    let (_, result) = line.split_once("\"result\": ").expect("a result");
    let result = result.trim_end().strip_suffix(" }");
    result.expect("an object").to_owned()
}

fn every_protocol_finds_router_and_target() {
    for (family, target, router) in WAYS {
        for options in ["-I", "-U", "-T", "-I -a 0", "-U -a 0", "-I -z 0", "-U -t 8"] {
            let run = run(&format!(
                "evtraceroute {family} {options} -c 2 -w 500 {target}"
            ));
            let line = &run.line;
            assert!(run.outcome.answered, "{line}");
            let (_, hops) = line.split_once("\"result\": ").expect("a result");
            let hops: Vec<&str> = hops.split("\"hop\":").collect();
            assert_eq!(hops.len(), 3, "{line}");
            for (hop, from) in hops[1..].iter().zip([router, target]) {
                let answers = hop.matches(&format!("\"from\":\"{from}\"")).count();
                assert_eq!((answers, hop.matches("\"rtt\":").count()), (2, 2), "{line}");
            }
            assert!(!line.contains("late") && !line.contains("\"x\""), "{line}");
        }
    }
}

fn a_hop_before_the_first() {
    let run = run("evtraceroute -4 -I -f 0 -c 1 -w 100 198.51.100.2");
    // IPv4 cannot be sent with a TTL of 0; the run goes on.
    assert!(
        run.line.contains(r#""hop":0, "result": [ { "x":"*" } ]"#),
        "{}",
        run.line
    );
    assert!(run.outcome.answered, "{}", run.line);
}

fn probes_that_must_not_be_cut_are_lost() {
    for (family, target, router) in WAYS {
        let large = format!("-U -S 3000 -c 1 -w 300 {target}");
        let cut = run(&format!("evtraceroute {family} {large}"));
        assert!(cut.line.contains(router), "{}", cut.line);
        let whole = run(&format!("evtraceroute {family} -F -m 1 {large}"));
        assert!(whole.line.contains(r#"[ { "x":"*" } ]"#), "{}", whole.line);
    }
}

fn a_hundred_traceroutes_at_once_do_not_mix() {
    let net = open_net();
    let runs = (0..102).map(|number| {
        let (family, target, _) = WAYS[number % 2];
        let protocol = ["-I", "-U", "-T"][number % 3];
        measure(
            net.clone(),
            format!("evtraceroute {family} {protocol} -c 2 -w 2000 {target}"),
        )
    });
    for run in block_on(script::all(runs)) {
        // Under load a probe may be lost, but nobody hears another's answers.
        for sign in ["late", "dup", "{  }", "edst", "error"] {
            assert!(!run.line.contains(sign), "{}", run.line);
        }
        assert!(run.outcome.answered, "{}", run.line);
    }
}

fn a_recorded_run_replays_to_the_same_route() {
    for (family, target, _) in WAYS {
        for options in ["-I", "-U", "-U -a 0", "-T"] {
            let run = run(&format!(
                "evtraceroute {family} {options} -c 2 -w 500 {target}"
            ));
            let replayed = recording::replay(&run.spec, &run.recording, recording::test_clock())
                .unwrap_or_else(|error| panic!("{error}: {}", run.line));
            assert_eq!(timeless(&lines(&run.spec, &replayed)), timeless(&run.line));
        }
    }
}

/// A server on loopback that answers so many requests with this host's time.
fn server(address: &str, requests: usize) -> JoinHandle<()> {
    let socket = UdpSocket::bind((address, 123)).expect("a port that is free in a namespace");
    std::thread::spawn(move || {
        let mut buffer = [0; 1500];
        for _ in 0..requests {
            let (length, from) = socket.recv_from(&mut buffer).expect("a request");
            let receive = host_time();
            let request = ntp::Ntp::parse(&buffer[..length]).expect("a whole request");
            let reply = ntp::Ntp {
                version: 4,
                mode: ntp::SERVER,
                stratum: 1,
                reference_id: *b"TEST",
                origin: request.transmit,
                receive,
                transmit: host_time(),
                ..ntp::Ntp::default()
            };
            socket.send_to(&reply.emit(), from).expect("loopback");
        }
    })
}

fn host_time() -> ntp::Timestamp {
    ntp::Timestamp::from_unix_nanos(starling::clock::Clock::start().unix().nanos())
}

fn a_server_on_this_host_has_the_same_time() {
    for (family, address) in [("-4", "127.0.0.1"), ("-6", "::1")] {
        let server = server(address, 3);
        let run = run(&format!("evntp {family} -w 5000 {address}"));
        server.join().expect("three requests came");
        assert!(run.outcome.answered && run.stamped, "{}", run.line);
        assert_eq!(run.line.matches("\"offset\":").count(), 3, "{}", run.line);
        let replayed = recording::replay(&run.spec, &run.recording, recording::test_clock())
            .unwrap_or_else(|error| panic!("{error}: {}", run.line));
        let replayed = lines(&run.spec, &replayed);
        let receive = |line: &str| -> Vec<String> {
            line.split("\"receive-ts\": ")
                .skip(1)
                .map(|rest| rest.chars().take(20).collect())
                .collect()
        };
        assert_eq!(receive(&replayed), receive(&run.line));
    }
}

fn nobody_at_the_port_is_a_loss() {
    for (family, address) in [("-4", "127.0.0.1"), ("-6", "::1")] {
        let run = run(&format!("evntp {family} -c 2 -w 50 {address}"));
        assert!(
            run.line
                .contains(r#""result": [ { "x":"*" }, { "x":"*" } ]"#),
            "{}",
            run.line
        );
    }
}
