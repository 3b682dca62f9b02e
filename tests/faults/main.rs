//! The fault bench: real agents and controllers, and everything that can go wrong between and under them.
//!
//! `cargo test --test faults -- [--seed N] [--seconds N] [--keep] [PART OF A NAME]`. Each theme is a world of its own: a probe,
//! a controller, cuttable wires between them, and a name server whose every answer carries a number, so that it is
//! known without asking the agent what there is to arrive. After the faults everything that was produced must have
//! been accepted at least once, nothing may have been invented, and each job's results must have come in order.
//!
//! Brings its own `main`: all happens inside namespaces made for it, and the figures are printed.

#![allow(
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test fails by panicking and speaks on stdout"
)]

mod agent;
mod ledger;
#[path = "../support/netns.rs"]
#[allow(dead_code, reason = "shared with tests that use more of it")]
mod netns;
mod network;
mod proxy;
mod shim;
mod stops;
mod targets;
mod themes;
mod world;

use std::{path::Path, process::ExitCode, time::Duration};

use ledger::{Count, Ledger};
use network::{CHILD, Network, Plan};
use world::{Ground, World};

pub(crate) use network::wait;

/// How long something that must happen is waited for. Generous: a loaded machine is slow, not wrong.
const PATIENCE: Duration = Duration::from_secs(90);
/// How often is looked.
const LOOK: Duration = Duration::from_millis(100);

/// What is played, each in its own world and all at once.
const THEMES: &[&str] = &[
    "deaths",
    "registrations",
    "sessions",
    "answers",
    "disk",
    "clock",
    "stops",
];

struct Options {
    seed: u64,
    length: Duration,
    filter: Option<String>,
    /// Logs and data stay after a run that went well, too.
    keep: bool,
}

fn main() -> ExitCode {
    if let Some(config) = std::env::var_os(CHILD) {
        network::serve(Path::new(&config));
        return ExitCode::SUCCESS;
    }
    if !netns::is_inside() {
        return netns::run_inside();
    }
    netns::run("ip link set lo up");
    let options = options();
    println!(
        "faults: seed {}, {} s",
        options.seed,
        options.length.as_secs()
    );
    let folder = tempfile::tempdir().expect("a temporary directory can be made");
    let ground = ground(&options, folder.path());
    let (failed, total) = play_all(&options, &ground);
    println!("faults: {total}");
    if failed > 0 || options.keep {
        println!("logs are in {}", folder.keep().display());
    }
    if failed == 0 {
        return ExitCode::SUCCESS;
    }
    println!(
        "to try it again: cargo test --test faults -- --seed {}",
        options.seed
    );
    ExitCode::FAILURE
}

fn ground(options: &Options, folder: &Path) -> Ground {
    let ground = Ground {
        folder: folder.to_owned(),
        host_key: folder.join("host_key"),
        shim: shim::build(folder),
        seed: options.seed,
        length: options.length,
    };
    // All worlds share a host key: it takes a while to make one.
    drop(Network::start(&Plan {
        folder: &folder.join("key"),
        ports: [19_990, 19_991, 19_992],
        host_key: &ground.host_key,
        commands: &[],
        upload: 1,
    }));
    ground
}

/// Plays the themes that are asked for, all at once: how many failed, and what happened in all.
fn play_all(options: &Options, ground: &Ground) -> (usize, Count) {
    let threads: Vec<_> = (0..)
        .zip(THEMES)
        .filter(|(_, name)| {
            options
                .filter
                .as_deref()
                .is_none_or(|part| name.contains(part))
        })
        .map(|(number, name)| {
            let ground = ground.clone();
            (
                name,
                std::thread::spawn(move || play(name, number, &ground)),
            )
        })
        .collect();
    let mut failed = 0;
    let mut total = Count::default();
    for (name, thread) in threads {
        match thread.join() {
            Ok((count, ledger)) => {
                failed += usize::from(!report(name, count, &ledger));
                total.add(count);
            }
            Err(_) => {
                failed += 1;
                println!("test {name} ... FAILED (panicked)");
            }
        }
    }
    (failed, total)
}

fn options() -> Options {
    let mut options = Options {
        seed: std::env::var("STARLING_FAULTS_SEED")
            .ok()
            .and_then(|seed| seed.parse().ok())
            .unwrap_or_else(fresh),
        length: Duration::from_secs(60),
        filter: None,
        keep: false,
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut number = || words.next().and_then(|word| word.parse().ok());
        match word.as_str() {
            "--seed" => options.seed = number().expect("--seed NUMBER"),
            "--seconds" => {
                options.length = Duration::from_secs(number().expect("--seconds NUMBER"));
            }
            "--keep" => options.keep = true,
            flag if flag.starts_with('-') => {}
            part => options.filter = Some(part.to_owned()),
        }
    }
    options
}

#[expect(
    clippy::disallowed_methods,
    reason = "printed, so that a run can be repeated"
)]
fn fresh() -> u64 {
    u64::from(rand::random::<u32>())
}

fn play(name: &'static str, number: u16, ground: &Ground) -> (Count, Ledger) {
    let world = World::new(name, number, ground);
    let world = match name {
        "deaths" => themes::deaths(world),
        "registrations" => themes::cut_registrations(world),
        "sessions" => themes::cut_sessions(world),
        "answers" => themes::answers(world),
        "disk" => {
            let small = ground.folder.join("small");
            small_disk(&small);
            themes::disk(world, &small)
        }
        "clock" => themes::clock(world, ground),
        _ => stops::stops(world),
    };
    world.settle()
}

/// A disk of four megabytes.
fn small_disk(folder: &Path) {
    std::fs::create_dir(folder).expect("the folder is ours");
    netns::run(&format!(
        "mount -t tmpfs -o size=4m tmpfs {}",
        folder.display()
    ));
}

/// Prints how a theme went; whether it went well.
fn report(name: &str, count: Count, ledger: &Ledger) -> bool {
    let good = ledger.wrong.is_empty();
    println!("test {name} ... {}", if good { "ok" } else { "FAILED" });
    println!("    {count}");
    let faults = ledger
        .faults
        .iter()
        .map(|(name, times)| format!("{times} x {name}"));
    println!("    {}", faults.collect::<Vec<_>>().join(", "));
    for wrong in ledger.wrong.iter().take(20) {
        println!("    WRONG: {wrong}");
    }
    if ledger.wrong.len() > 20 {
        println!("    … and {} more", ledger.wrong.len() - 20);
    }
    good
}

impl Count {
    fn add(&mut self, other: Self) {
        self.faults += other.faults;
        self.produced += other.produced;
        self.accepted += other.accepted;
        self.duplicates += other.duplicates;
        self.unfinished += other.unfinished;
        self.lost += other.lost;
    }
}

impl std::fmt::Display for Count {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} faults injected, {} results produced, {} accepted, {} duplicates, {} runs cut off by a death, {} lost",
            self.faults, self.produced, self.accepted, self.duplicates, self.unfinished, self.lost
        )
    }
}
