//! The tools and what they report.

use std::{
    collections::BTreeMap,
    io::Read as _,
    net::Ipv4Addr,
    path::PathBuf,
    process::{Command, Stdio},
};

use serde_json::Value;
use starling::{
    clock::Clock,
    measurement::{Carry, Run},
    net::{Config, Net},
};
use tokio::runtime::Runtime;

use crate::{Options, TARGET, common::runs::spec};

/// Packets of one run of a tool.
const BURST: usize = 10;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Ping,
    IcmpTraceroute,
    UdpTraceroute,
    Ntp,
}

impl Kind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Ping => "ping, RTT",
            Self::IcmpTraceroute => "ICMP traceroute, RTT",
            Self::UdpTraceroute => "UDP traceroute, RTT",
            Self::Ntp => "NTP, offset",
        }
    }
}

/// One figure that a tool reports, in the order sent to each target and hop.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Reported {
    pub(crate) to: Ipv4Addr,
    /// The hop, where hops are measured.
    pub(crate) ttl: Option<u8>,
    /// Microseconds; `None` if the tool saw no reply.
    pub(crate) micros: Option<f64>,
}

/// Who measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Tool {
    Starling,
    Fping,
    Scamper,
    SurgePing,
}

impl Tool {
    pub(crate) const ALL: [Self; 4] = [Self::Starling, Self::Fping, Self::Scamper, Self::SurgePing];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Starling => "starling",
            Self::Fping => "fping",
            Self::Scamper => "scamper",
            Self::SurgePing => "surge-ping",
        }
    }

    pub(crate) const fn can(self, kind: Kind) -> bool {
        match self {
            Self::Starling => true,
            Self::Scamper => !matches!(kind, Kind::Ntp),
            Self::Fping | Self::SurgePing => matches!(kind, Kind::Ping),
        }
    }

    /// Whether it is installed.
    pub(crate) fn is_there(self) -> bool {
        match self {
            Self::Starling => true,
            Self::SurgePing => peers().is_file(),
            Self::Fping | Self::Scamper => Command::new(self.name()).arg("-v").output().is_ok(),
        }
    }

    /// Runs it once. [`BURST`] packets 20 ms apart, or a traceroute with three packets a hop.
    pub(crate) fn run(self, kind: Kind, starling: &mut Starling) -> Vec<Reported> {
        match self {
            Self::Starling => starling.run(kind),
            Self::Fping => fping(),
            Self::Scamper => scamper(kind),
            Self::SurgePing => surge_ping(),
        }
    }
}

/// Gets the tools that are missing, as far as that is allowed.
pub(crate) fn install(options: &Options) {
    for tool in [Tool::Fping, Tool::Scamper] {
        if options.tools.contains(&tool) && !tool.is_there() && !options.no_install {
            say(Command::new("apt-get").args(["install", "-y", tool.name()]));
        }
    }
    if options.tools.contains(&Tool::SurgePing) && !options.no_install {
        let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/peers/Cargo.toml");
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args([
            "build",
            "--release",
            "--quiet",
            "--locked",
            "--manifest-path",
            manifest,
        ]);
        say(cargo.arg("--target-dir").arg(peers_directory()));
    }
    for tool in &options.tools {
        if !tool.is_there() {
            eprintln!("{} is not here and is left out", tool.name());
        }
    }
}

fn say(command: &mut Command) {
    let ended = command.stdout(Stdio::null()).status();
    if !ended.is_ok_and(|status| status.success()) {
        eprintln!("failed: {command:?}");
    }
}

fn peers_directory() -> PathBuf {
    // …/target/release/deps/accuracy-…
    let own = std::env::current_exe().expect("the running binary has a path");
    let target = own.ancestors().nth(3).expect("cargo's layout");
    target.join("peers")
}

fn peers() -> PathBuf {
    peers_directory().join("release/starling-bench-peers")
}

/// starling as the agent uses it: one network for many runs.
pub(crate) struct Starling {
    runtime: Runtime,
    net: Net,
    seed: u64,
    carry: Vec<(Kind, Carry)>,
}

impl Starling {
    pub(crate) fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let net = Net::open(Config::new(7), Clock::start());
        // The kernel begins to stamp some time after it was first asked.
        std::thread::sleep(std::time::Duration::from_millis(50));
        Self {
            runtime,
            net,
            seed: 0,
            carry: Vec::new(),
        }
    }

    fn run(&mut self, kind: Kind) -> Vec<Reported> {
        let command = match kind {
            Kind::Ping => format!("evping -4 -c {BURST} -i 20 {TARGET}"),
            Kind::IcmpTraceroute => format!("evtraceroute -4 -I -c 3 {TARGET}"),
            Kind::UdpTraceroute => format!("evtraceroute -4 -U -c 3 {TARGET}"),
            Kind::Ntp => format!("evntp -4 -c {BURST} {TARGET}"),
        };
        let spec = spec(&command);
        self.seed += 1;
        let run = Run {
            seed: self.seed,
            ..Run::default()
        };
        let at = self.carry.iter().position(|(of, _)| *of == kind);
        let carry = at.map_or(Carry::Nothing, |at| self.carry.swap_remove(at).1);
        let machine = spec.start(run, carry);
        let outcome = self.runtime.block_on(self.net.run(machine, |_| {}));
        self.carry.push((kind, outcome.carry));
        let line = outcome.bodies[0].line(&spec.head(&Default::default()), Default::default());
        let json = line.strip_prefix("RESULT ").expect("a result line");
        let json: Value = serde_json::from_str(json).expect("a result line");
        let results = json["result"].as_array().expect("results");
        let (member, unit) = match kind {
            Kind::Ntp => ("offset", 1e6),
            _ => ("rtt", 1e3),
        };
        let reported = |ttl: Option<u8>, item: &Value| Reported {
            to: TARGET,
            ttl,
            micros: item[member].as_f64().map(|time| time * unit),
        };
        match kind {
            Kind::Ping | Kind::Ntp => results.iter().map(|item| reported(None, item)).collect(),
            Kind::IcmpTraceroute | Kind::UdpTraceroute => results
                .iter()
                .flat_map(|hop| {
                    let ttl = hop["hop"].as_u64().and_then(|ttl| u8::try_from(ttl).ok());
                    let items = hop["result"].as_array().into_iter().flatten();
                    items.map(move |item| reported(ttl, item))
                })
                .collect(),
        }
    }
}

fn output(program: &str, words: &str) -> (String, String) {
    let output = Command::new(program)
        .args(words.split_ascii_whitespace())
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

fn of_target(micros: Option<f64>) -> Reported {
    Reported {
        to: TARGET,
        ttl: None,
        micros,
    }
}

fn fping() -> Vec<Reported> {
    let (_, told) = output("fping", &format!("-q -C {BURST} -p 20 {TARGET}"));
    // 198.51.100.2 : 0.045 0.047 -
    let times = told.lines().find_map(|line| line.split_once(" : "));
    let times = times.map(|(_, times)| times).unwrap_or_default();
    times
        .split_ascii_whitespace()
        .map(|time| of_target(time.parse::<f64>().ok().map(|millis| millis * 1e3)))
        .collect()
}

/// Its shortest interval is 0.2 s: several targets at once, so that it sends every 20 ms as well.
fn scamper(kind: Kind) -> Vec<Reported> {
    let targets: Vec<String> = (2..10).map(|last| format!("198.51.100.{last}")).collect();
    let (told, _) = match kind {
        Kind::Ping => scamper_run("ping -c 3 -i 0.2", &targets),
        Kind::IcmpTraceroute => scamper_run("trace -P icmp-paris -q 3 -Q", &targets[..1]),
        _ => scamper_run("trace -P udp-paris -q 3 -Q", &targets[..1]),
    };
    let mut reported = Vec::new();
    for json in told
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
    {
        let Some(to) = json["dst"].as_str().and_then(|text| text.parse().ok()) else {
            continue;
        };
        let micros = |item: &Value| item["rtt"].as_f64().map(|millis| millis * 1e3);
        if kind == Kind::Ping {
            let mut replies: BTreeMap<u64, f64> = BTreeMap::new();
            for item in json["responses"].as_array().into_iter().flatten() {
                if let (Some(seq), Some(micros)) = (item["seq"].as_u64(), micros(item)) {
                    replies.insert(seq, micros);
                }
            }
            let sent = json["ping_sent"].as_u64().unwrap_or(0);
            reported.extend((0..sent).map(|seq| Reported {
                to,
                ttl: None,
                micros: replies.get(&seq).copied(),
            }));
        } else {
            for hop in json["hops"].as_array().into_iter().flatten() {
                let ttl = hop["probe_ttl"].as_u64();
                reported.push(Reported {
                    to,
                    ttl: ttl.and_then(|ttl| u8::try_from(ttl).ok()),
                    micros: micros(hop),
                });
            }
        }
    }
    reported
}

fn scamper_run(command: &str, targets: &[String]) -> (String, String) {
    let mut scamper = Command::new("scamper");
    scamper.args(["-p", "50", "-O", "json", "-c", command, "-i"]);
    let child = scamper
        .args(targets)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let mut child = child.expect("scamper runs");
    let mut told = String::new();
    let pipe = child.stdout.as_mut().expect("its output is piped");
    pipe.read_to_string(&mut told).expect("its output is text");
    child.wait().expect("it ends");
    (told, String::new())
}

fn surge_ping() -> Vec<Reported> {
    let program = peers();
    let program = program.to_str().expect("a path in UTF-8");
    let (told, _) = output(program, &format!("{TARGET} {BURST} 20"));
    told.lines()
        .map(|line| of_target(line.parse().ok()))
        .collect()
}
