//! What DNS measurements cost and how true their times are: `cargo bench --bench dns`, as root.
//!
//! Makes two hosts and a router in network namespaces, starts Unbound on the far one, and measures it from the near
//! one a thousand times a minute, every transport in its turn, beside a server that never answers. What is reported is
//! compared with what a tap on the measuring host's interface saw. See `benches/README.md` for what the figures mean.

#![allow(
    clippy::disallowed_methods,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark fails by panicking, speaks on stdout and reads the clock"
)]

#[path = "../common/mod.rs"]
mod common;
mod kdig;
#[path = "../../tests/support/peers.rs"]
mod peers;
mod server;

use std::process::ExitCode;

use clap::Parser as _;
use common::{
    capture::Capture,
    figures::{self, Errors, micros},
    flow::{self, Connection},
    inside,
    load::{self, Hogs, Load},
    netns,
    runs::Ran,
    set,
};

/// The interface of the measuring host.
const INTERFACE: &str = "near0";

/// The server, over both families.
const V4: &str = "198.51.100.2";
const V6: &str = "2001:db8:2::2";

/// Counts CPU time of DNS runs, and compares reported times with captured ones.
#[derive(Clone, Debug, clap::Parser)]
struct Options {
    #[command(flatten)]
    set: set::Flags,
    /// Which parts
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Part::ALL)]
    only: Vec<Part>,
    /// Queries of each kind that kdig is asked for
    #[arg(long, default_value_t = 100, value_name = "N")]
    kdig: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// The mixed set: errors, and CPU time of a run
    Mix,
    /// CPU time of a run of each kind
    Cpu,
    /// kdig
    Kdig,
}

impl Part {
    const ALL: [Self; 3] = [Self::Mix, Self::Cpu, Self::Kdig];
}

/// What is measured.
struct Kind {
    name: &'static str,
    /// The command.
    command: &'static str,
    /// What kdig is told for the same.
    kdig: Option<&'static str>,
    /// How many of ten runs.
    share: usize,
}

const KINDS: &[Kind] = &[
    Kind {
        name: "UDP, IPv4",
        command: "evtdig -4 --a a.bench.test. 198.51.100.2",
        kdig: Some("+norec @198.51.100.2 a.bench.test. A"),
        share: 3,
    },
    Kind {
        name: "UDP, IPv6",
        command: "evtdig -6 --aaaa a.bench.test. 2001:db8:2::2",
        kdig: Some("+norec @2001:db8:2::2 a.bench.test. AAAA"),
        share: 2,
    },
    Kind {
        name: "UDP, all options",
        command: "evtdig -4 -R --do -e 1232 --nsid --cookies --client-subnet --ttl --qbuf --txt $r.$p.bench.test. \
                  198.51.100.2",
        kdig: Some(
            "+rec +dnssec +bufsize=1232 +nsid +cookie +subnet=0.0.0.0/0 @198.51.100.2 b.bench.test. TXT",
        ),
        share: 1,
    },
    Kind {
        name: "TCP",
        command: "evtdig -4 -t --qbuf --a a.bench.test. 198.51.100.2",
        kdig: Some("+norec +tcp @198.51.100.2 a.bench.test. A"),
        share: 1,
    },
    Kind {
        name: "DNS over TLS",
        command: "evtdig -6 --tls --noabuf --a a.bench.test. 2001:db8:2::2",
        kdig: Some("+norec +tls @2001:db8:2::2 a.bench.test. A"),
        share: 1,
    },
    Kind {
        name: "DNS over HTTPS",
        command: "evtdig -4 --https --a a.bench.test. 198.51.100.2",
        kdig: Some("+norec +https @198.51.100.2 a.bench.test. A"),
        share: 1,
    },
    Kind {
        name: "UDP, no answer, 1 repeat",
        command: "evtdig -4 --timeout 300 --retry 1 --port 5300 --a a.bench.test. 198.51.100.2",
        kdig: None,
        share: 1,
    },
];

fn main() -> ExitCode {
    let options = Options::parse();
    if options.set.hog {
        load::burn();
    }
    if !inside::is_inside() {
        return inside::enter(|| {
            inside::need("unbound", "unbound", !options.set.no_install);
            if options.only.contains(&Part::Kdig) {
                inside::need("kdig", "knot-dnsutils", !options.set.no_install);
            }
        });
    }
    if options.set.runs {
        let commands: Vec<&str> = KINDS.iter().map(|kind| kind.command).collect();
        options.set.make(&commands, &mix());
        return ExitCode::SUCCESS;
    }
    netns::two_hosts_and_a_router();
    let Some(_server) = server::start() else {
        eprintln!("without Unbound there is nobody to ask: install the Debian package unbound");
        return ExitCode::FAILURE;
    };
    println!("{}", figures::machine());
    for load in &options.set.load {
        let _hogs = (*load == Load::Hogs).then(|| Hogs::start(6));
        for part in &options.only {
            match part {
                Part::Mix => mixed(&options, *load),
                Part::Cpu => options.set.each(KINDS.iter().map(|kind| kind.name), *load),
                Part::Kdig if inside::is_there("kdig") => kdig::compare(&options, *load),
                Part::Kdig => println!("\nkdig is not here: NOT COMPARED"),
            }
        }
    }
    ExitCode::SUCCESS
}

/// The order in which kinds take their turns.
fn mix() -> Vec<usize> {
    let mut turns = Vec::new();
    for round in 0..10 {
        turns.extend((0..KINDS.len()).filter(|kind| round < KINDS[*kind].share));
    }
    turns
}

/// The mixed set: what a run costs, and how true the reported times are.
fn mixed(options: &Options, load: Load) {
    let capture = Capture::open(INTERFACE);
    let (cost, ran) = options.set.starling(None);
    let flows = flow::flows(&capture.drain());
    let mut rt = vec![Errors::default(); KINDS.len()];
    let mut qt = rt.clone();
    let turns = mix();
    for run in &ran {
        let kind = turns[run.item];
        let (seen, query) = captured(run, &flows);
        rt[kind].add(reported(run, "rt"), seen);
        qt[kind].add(reported(run, "qt"), query);
    }
    let (rate, load) = (options.set.rate, load.name());
    figures::heading(
        &format!(
            "starling, mixed set at {rate} a minute, {load}: `rt` reported minus captured, us"
        ),
        "runs",
    );
    for (kind, errors) in KINDS.iter().zip(&rt) {
        figures::row(kind.name, errors);
    }
    figures::heading(&format!("The same, {load}: `qt` of streams"), "runs");
    for (kind, errors) in KINDS.iter().zip(&qt) {
        if errors.micros.len() + errors.missed > 0 {
            figures::row(kind.name, errors);
        }
    }
    let millis = cost.as_secs_f64() * 1e3;
    println!("\nstarling, mixed set at {rate} a minute, {load}: CPU time of a run {millis:.3} ms");
}

/// Microseconds of a member of the result.
fn reported(run: &Ran, member: &str) -> Option<f64> {
    run.line["result"][member]
        .as_f64()
        .map(|millis| millis * 1e3)
}

/// `rt` and `qt` as they were on the wire, microseconds.
fn captured(run: &Ran, flows: &flow::Flows) -> (Option<f64>, Option<f64>) {
    let Some((key, since)) = run.flow else {
        return (None, None);
    };
    let segments = flows.get(&key).map_or(&[][..], Vec::as_slice);
    let segments = flow::from(segments, since);
    if key.0 == "udp" {
        let nanos = flow::datagram_round_trip(segments);
        return (nanos.map(micros), None);
    }
    match Connection::read(segments) {
        Some(seen) => (
            Some(micros(seen.last - seen.syn)),
            Some(micros(seen.last - seen.request)),
        ),
        None => (None, None),
    }
}
