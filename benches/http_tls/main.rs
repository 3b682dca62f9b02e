//! What HTTP and TLS measurements cost and how true their times are: `cargo bench --bench http_tls`, as root.
//!
//! Makes two hosts and a router in network namespaces, serves pages and certificates on the far one, and measures it
//! from the near one a thousand times a minute. What is reported is compared with what a tap on the measuring host's
//! interface saw, and with what curl reports. See `benches/README.md` for what the figures mean.

#![allow(
    clippy::disallowed_methods,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark fails by panicking, speaks on stdout and reads the clock"
)]

#[path = "../common/mod.rs"]
mod common;
mod curl;
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
use serde_json::Value;

/// The interface of the measuring host.
const INTERFACE: &str = "near0";

/// Counts CPU time of HTTP and TLS runs, and compares reported times with captured ones.
#[derive(Clone, Debug, clap::Parser)]
struct Options {
    #[command(flatten)]
    set: set::Flags,
    /// Which parts
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Part::ALL)]
    only: Vec<Part>,
    /// Requests of each kind that curl makes
    #[arg(long, default_value_t = 100, value_name = "N")]
    curl: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// All kinds in turn: errors, and CPU time of a run
    Mix,
    /// CPU time of a run of each kind
    Cpu,
    /// curl
    Curl,
}

impl Part {
    const ALL: [Self; 3] = [Self::Mix, Self::Cpu, Self::Curl];
}

/// What is measured.
struct Kind {
    name: &'static str,
    /// The command.
    command: &'static str,
    /// What curl is told for the same.
    curl: Option<&'static str>,
}

const KINDS: &[Kind] = &[
    Kind {
        name: "http, IPv4",
        command: "evhttpget -4 -1 --etim http://198.51.100.2:8080/",
        curl: Some("http://198.51.100.2:8080/"),
    },
    Kind {
        name: "http, IPv6",
        command: "evhttpget -6 -1 --eetim --store-headers 1024 http://[2001:db8:2::2]:8080/",
        curl: Some("http://[2001:db8:2::2]:8080/"),
    },
    Kind {
        name: "https, TLS 1.3",
        command: "evhttpget -4 -1 --etim https://198.51.100.2:8443/",
        curl: Some("-k https://198.51.100.2:8443/"),
    },
    Kind {
        name: "https, TLS 1.2",
        command: "evhttpget -4 -1 --etim https://198.51.100.2:8412/",
        curl: Some("-k https://198.51.100.2:8412/"),
    },
    Kind {
        name: "certificate, TLS 1.3",
        command: "evsslgetcert -4 -p 8443 -h bench.test 198.51.100.2",
        curl: None,
    },
    Kind {
        name: "certificate, TLS 1.2",
        command: "evsslgetcert -6 -p 8412 2001:db8:2::2",
        curl: None,
    },
];

/// What is reported and captured, microseconds since the SYN left.
#[derive(Clone, Copy, Debug, Default)]
struct Times {
    connected: Option<f64>,
    first_byte: Option<f64>,
    done: Option<f64>,
}

/// The errors of each.
#[derive(Clone, Debug, Default)]
struct Found {
    connected: Errors,
    first_byte: Errors,
    done: Errors,
}

impl Found {
    fn add(&mut self, reported: Times, captured: Times) {
        self.connected.add(reported.connected, captured.connected);
        if reported.first_byte.is_some() {
            self.first_byte
                .add(reported.first_byte, captured.first_byte);
        }
        self.done.add(reported.done, captured.done);
    }

    fn print(&self, kind: &Kind, words: [&str; 3]) {
        for (word, errors) in words
            .iter()
            .zip([&self.connected, &self.first_byte, &self.done])
        {
            if errors.seen() > 0 {
                figures::row(&format!("{}: {word}", kind.name), errors);
            }
        }
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    if options.set.hog {
        load::burn();
    }
    if !inside::is_inside() {
        return inside::enter(|| {
            if options.only.contains(&Part::Curl) {
                inside::need("curl", "curl", !options.set.no_install);
            }
        });
    }
    if options.set.runs {
        let turns: Vec<usize> = (0..KINDS.len()).collect();
        let commands: Vec<&str> = KINDS.iter().map(|kind| kind.command).collect();
        options.set.make(&commands, &turns);
        return ExitCode::SUCCESS;
    }
    netns::two_hosts_and_a_router();
    server::start();
    println!("{}", figures::machine());
    for load in &options.set.load {
        let _hogs = (*load == Load::Hogs).then(|| Hogs::start(6));
        for part in &options.only {
            match part {
                Part::Mix => mixed(&options, *load),
                Part::Cpu => options.set.each(KINDS.iter().map(|kind| kind.name), *load),
                Part::Curl if inside::is_there("curl") => curl::compare(&options, *load),
                Part::Curl => println!("\ncurl is not here: NOT COMPARED"),
            }
        }
    }
    ExitCode::SUCCESS
}

/// All kinds in turn: what a run costs, and how true the reported times are.
fn mixed(options: &Options, load: Load) {
    let capture = Capture::open(INTERFACE);
    let (cost, ran) = options.set.starling(None);
    let flows = flow::flows(&capture.drain());
    let mut found = vec![Found::default(); KINDS.len()];
    for run in &ran {
        let segments = run.flow.and_then(|(key, since)| {
            let segments = flows.get(&key)?;
            Some(flow::from(segments, since))
        });
        let secure = KINDS[run.item].name.starts_with("https");
        let captured = segments.and_then(Connection::read);
        let captured = captured.map(|seen| captured_times(&seen, secure));
        found[run.item].add(reported(run), captured.unwrap_or_default());
    }
    let (rate, load) = (options.set.rate, load.name());
    figures::heading(
        &format!("starling, {rate} a minute, {load}: reported minus captured, us"),
        "runs",
    );
    for (kind, found) in KINDS.iter().zip(&found) {
        found.print(kind, ["ttc", "ttfb", "rt"]);
    }
    let millis = cost.as_secs_f64() * 1e3;
    println!(
        "\nstarling, all kinds in turn at {rate} a minute, {load}: CPU time of a run {millis:.3} ms"
    );
}

fn reported(run: &Ran) -> Times {
    let place = match &run.line["result"] {
        Value::Array(entries) => &entries[0],
        _ => &run.line,
    };
    let micros = |member: &str| place[member].as_f64().map(|millis| millis * 1e3);
    Times {
        connected: micros("ttc"),
        first_byte: micros("ttfb"),
        done: micros("rt"),
    }
}

/// For `https` a connection stands when the handshake is done.
fn captured_times(seen: &Connection, secure: bool) -> Times {
    let connected = if secure { seen.ready } else { seen.syn_ack };
    let since = |at: i64| Some(micros(at - seen.syn));
    Times {
        connected: since(connected),
        first_byte: since(seen.first),
        done: since(seen.last),
    }
}
