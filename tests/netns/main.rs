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
#[path = "../support/measured.rs"]
mod measured;
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
use measured::Measured;
use script::{Told, answers, echo_request, exchange, kernel_times, net, open_net};
use starling::{
    measurement::machine::{Call, Failure, Fragment, Handle, Input, Packet, Socket, SocketKind},
    net::Net,
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

fn ping(net: &Net, command: &str) -> Measured {
    script::block_on(measured::run_on(net, command, Default::default()))
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
