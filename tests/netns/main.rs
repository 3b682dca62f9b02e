//! Real sockets between real hosts, in network namespaces made for the purpose.
//!
//! `cargo test --test netns [PART OF A NAME]`. Brings its own `main`, since all cases run inside namespaces.

#![allow(
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking and speaks on stdout"
)]

#[path = "../support/cases.rs"]
mod cases;
#[path = "../support/netns.rs"]
mod netns;
mod opening;
mod pings;
mod probes;
#[path = "../support/script.rs"]
mod script;
mod unprivileged;

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

fn main() -> ExitCode {
    if !netns::is_inside() {
        return netns::run_inside();
    }
    if cases::asked().as_deref() == Some("unprivileged") {
        let _stamping = script::stamping();
        return cases::run(unprivileged::CASES);
    }
    netns::two_hosts_and_a_router();
    let _stamping = script::stamping();
    let cases = [
        pings::CASES,
        opening::CASES,
        probes::CASES,
        unprivileged::ENTRY,
    ];
    cases::run(cases.into_iter().flatten())
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
