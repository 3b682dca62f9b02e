//! What the service costs and how punctual it is: `cargo bench --bench footprint`, as root.
//!
//! Runs the real binary as a service, against a real controller, in network namespaces of its own, and reads from
//! `/proc` what it takes. See `benches/README.md` for what the figures mean.

#![allow(
    clippy::disallowed_methods,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark fails by panicking, speaks on stdout and reads the clock"
)]

#[path = "../common/mod.rs"]
mod common;
mod process;
mod punctual;
mod service;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::Parser as _;
use common::{inside, netns};
use service::{Jobs, Network};

/// Memory, wake-ups, start-up time and punctuality of the agent.
#[derive(Clone, Debug, clap::Parser)]
struct Options {
    /// Which parts
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Part::ALL)]
    only: Vec<Part>,
    /// How long the agent is watched, after it has settled
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    seconds: u64,
    /// How long it may settle: sessions, first uploads
    #[arg(long, default_value_t = 70, value_name = "SECONDS")]
    settle: u64,
    /// The binary to measure, for example a static one
    #[arg(long, default_value = env!("CARGO_BIN_EXE_starling"), value_name = "FILE")]
    binary: PathBuf,
    /// What cargo passes to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// Size of the binary, time from its start to ready
    Start,
    /// A connected agent without jobs
    Idle,
    /// A connected agent with 1,000 jobs
    Jobs,
    /// Lateness of 10,000 runs a minute
    Punctual,
}

impl Part {
    const ALL: [Self; 4] = [Self::Start, Self::Idle, Self::Jobs, Self::Punctual];
}

fn main() -> ExitCode {
    let options = Options::parse();
    if !inside::is_inside() {
        return inside::enter(|| {});
    }
    netns::two_hosts_and_a_router();
    netns::run("ip route add 10.0.0.0/16 via 192.0.2.254");
    netns::run("ip -n router route add 10.0.0.0/16 via 198.51.100.2");
    netns::run("ip -n far route add local 10.0.0.0/16 dev lo");
    for part in &options.only {
        match part {
            Part::Start => start(&options),
            Part::Idle => rest(&options, "connected, no jobs", &Jobs::none()),
            Part::Jobs => rest(&options, "connected, 1,000 jobs", &Jobs::thousand()),
            Part::Punctual => punctual::measure(&options),
        }
    }
    ExitCode::SUCCESS
}

/// How large the program is, and how soon it serves.
fn start(options: &Options) {
    let size = std::fs::metadata(&options.binary)
        .expect("the binary is there")
        .len();
    println!("binary: {size} bytes, {}", options.binary.display());
    let network = Network::start(options, &Jobs::none());
    let mut ready: Vec<Duration> = Vec::new();
    let mut connected: Vec<Duration> = Vec::new();
    for _ in 0..10 {
        let agent = network.agent(&[]);
        ready.push(agent.ready());
        connected.push(agent.connected());
    }
    for (what, times) in [("ready", &mut ready), ("connected", &mut connected)] {
        times.sort_unstable();
        println!(
            "start to {what}: median {:.1} ms, longest {:.1} ms of {}",
            times[times.len() / 2].as_secs_f64() * 1e3,
            times[times.len() - 1].as_secs_f64() * 1e3,
            times.len()
        );
    }
}

/// What a settled agent takes.
fn rest(options: &Options, name: &str, jobs: &Jobs) {
    let network = Network::start(options, jobs);
    let agent = network.agent(&[]);
    agent.connected();
    std::thread::sleep(Duration::from_secs(options.settle));
    let before = process::Look::at(agent.pid());
    std::thread::sleep(Duration::from_secs(options.seconds));
    let after = process::Look::at(agent.pid());
    println!("{name}, watched for {} s:", options.seconds);
    after.print_since(&before, options.seconds);
    let accepted = network.accepted();
    println!("  results accepted so far: {accepted}");
    assert!(
        jobs.is_empty() || accepted > 0,
        "an agent that delivers nothing is not worth measuring"
    );
}
