//! How true are the times that are reported: `cargo bench --bench accuracy`, as root.
//!
//! Makes two hosts and a router in network namespaces, measures from one to the other with starling and with other
//! tools, and compares what each reports with what a tap on the measuring host's interface saw. See
//! `benches/README.md` for what the figures mean.

#![allow(
    clippy::disallowed_methods,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark fails by panicking, speaks on stdout and reads the clock"
)]

#[path = "../common/mod.rs"]
mod common;
mod cost;
mod exchange;
mod responder;
mod table;
mod tools;

use std::{net::Ipv4Addr, process::ExitCode};

use clap::Parser as _;
use common::{
    capture::Capture,
    figures::{self, Errors},
    inside,
    load::{self, Hogs, Load},
    netns,
};
use tools::{Kind, Tool};

/// The host that is measured, behind a router.
const TARGET: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);

/// The interface of the measuring host.
const INTERFACE: &str = "near0";

/// Compares reported times with captured ones, and counts CPU time.
#[derive(Clone, Debug, clap::Parser)]
struct Options {
    /// Packets a tool sends in each measurement of errors
    #[arg(long, default_value_t = 600, value_name = "N")]
    packets: usize,
    /// Repetitions of everything
    #[arg(long, default_value_t = 1, value_name = "N")]
    repeat: usize,
    /// Which parts
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Part::ALL)]
    only: Vec<Part>,
    /// On an otherwise idle machine, or beside six CPU hogs
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Load::ALL)]
    load: Vec<Load>,
    /// Which tools
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Tool::ALL)]
    tools: Vec<Tool>,
    /// How long each rate is held in a round when CPU time is counted
    #[arg(long, default_value_t = 12, value_name = "SECONDS")]
    seconds: u64,
    /// Rounds in which CPU time is counted, the tools in turn
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Install nothing: a tool that is missing is left out
    #[arg(long)]
    no_install: bool,
    /// What cargo passes to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
    /// Inner use: count the CPU time of this many runs a minute
    #[arg(long, hide = true, value_name = "RUNS")]
    count_cpu: Option<u32>,
    /// Inner use: burn CPU time
    #[arg(long, hide = true)]
    hog: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// Ping
    Ping,
    /// Traceroute with echo requests
    Icmp,
    /// Traceroute with UDP
    Udp,
    /// NTP offset
    Ntp,
    /// CPU time of a ping run
    Cpu,
}

impl Part {
    const ALL: [Self; 5] = [Self::Ping, Self::Icmp, Self::Udp, Self::Ntp, Self::Cpu];

    const fn kind(self) -> Option<Kind> {
        match self {
            Self::Ping => Some(Kind::Ping),
            Self::Icmp => Some(Kind::IcmpTraceroute),
            Self::Udp => Some(Kind::UdpTraceroute),
            Self::Ntp => Some(Kind::Ntp),
            Self::Cpu => None,
        }
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    if options.hog {
        load::burn();
    }
    if !inside::is_inside() {
        return inside::enter(|| tools::install(&options));
    }
    if let Some(runs) = options.count_cpu {
        cost::count(runs, options.seconds);
        return ExitCode::SUCCESS;
    }
    netns::two_hosts_and_a_router();
    cost::many_targets();
    let _ntp = responder::start("far");
    println!("{}", figures::machine());
    for round in 1..=options.repeat {
        if options.repeat > 1 {
            println!("\nRepetition {round} of {}", options.repeat);
        }
        for load in &options.load {
            measure(&options, *load);
        }
        if options.only.contains(&Part::Cpu) {
            cost::compare(&options);
        }
    }
    ExitCode::SUCCESS
}

/// All kinds of measurement under one load, the tools in turn, so that whatever else goes on on the machine hits
/// them alike.
fn measure(options: &Options, load: Load) {
    let kinds: Vec<Kind> = options.only.iter().filter_map(|part| part.kind()).collect();
    if kinds.is_empty() {
        return;
    }
    let _hogs = (load == Load::Hogs).then(|| Hogs::start(6));
    let capture = Capture::open(INTERFACE);
    let mut starling = tools::Starling::new();
    table::bias(load.name(), &bias(&capture, &mut starling));
    for kind in kinds {
        let mut errors: Vec<(Tool, Errors)> = options
            .tools
            .iter()
            .filter(|tool| tool.can(kind) && tool.is_there())
            .map(|tool| (*tool, Errors::default()))
            .collect();
        let is_enough = |(_, errors): &(Tool, Errors)| errors.seen() >= options.packets;
        while !errors.iter().all(is_enough) {
            for (tool, errors) in &mut errors {
                if errors.seen() < options.packets {
                    capture.drain();
                    let reported = tool.run(kind, &mut starling);
                    table::compare(errors, kind, &reported, &capture.drain());
                }
            }
        }
        table::print(kind, load.name(), &errors);
    }
}

/// How much later than the tap the other end of the link saw each of a hundred requests, in nanoseconds. The driver
/// takes its time in between, so this is the most by which the tap can be early.
fn bias(capture: &Capture, starling: &mut tools::Starling) -> Vec<i64> {
    let beyond = Capture::open_in("router", "near1");
    let mut later = Vec::new();
    for _ in 0..10 {
        capture.drain();
        Tool::Starling.run(Kind::Ping, starling);
        let arrived = beyond.drain();
        for left in capture.drain().iter().filter(|packet| packet.outgoing) {
            let same = arrived.iter().find(|packet| packet.bytes == left.bytes);
            later.extend(same.map(|packet| packet.at - left.at));
        }
    }
    later
}
