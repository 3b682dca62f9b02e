//! CPU time of a three-packet ping run.

use std::{
    net::Ipv4Addr,
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use starling::{
    clock::Clock,
    measurement::{Carry, Run, Spec},
    net::{Config, Net},
};

use crate::{
    Options,
    common::{
        cpu::{self, children},
        inside, netns, runs,
    },
    tools::Tool,
};

/// Runs a minute.
const RATES: [u32; 2] = [500, 10_000];

/// All of 10.0.0.0/16 is the far host, so that as many targets can be had as are wanted.
pub(crate) fn many_targets() {
    netns::run("ip route add 10.0.0.0/16 via 192.0.2.254");
    netns::run("ip -n router route add 10.0.0.0/16 via 198.51.100.2");
    netns::run("ip -n far route add local 10.0.0.0/16 dev lo");
}

fn target(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 0, 1, 0)) + number % 500)
}

/// Prints what each tool spends at each rate.
pub(crate) fn compare(options: &Options) {
    println!("\nCPU time of a run of three echo requests one second apart, ms");
    println!("{:<34}{:>12}{:>14}", "", "500/minute", "10,000/minute");
    let row = |name: &str, cost: &dyn Fn(u32) -> Duration| {
        let figures = RATES.map(|rate| format!("{:.3}", cost(rate).as_secs_f64() * 1e3));
        println!("{name:<34}{:>12}{:>14}", figures[0], figures[1]);
    };
    row("starling, one process", &|rate| {
        starling(rate, options.seconds)
    });
    if options.tools.contains(&Tool::Fping) && Tool::Fping.is_there() {
        row("fping, one process for all targets", &fping_together);
        row("fping, a process each run", &|rate| {
            fping_each(rate, options.seconds)
        });
    }
}

/// In a process of its own, which does nothing else.
fn starling(rate: u32, seconds: u64) -> Duration {
    let own = std::env::current_exe().expect("the running binary has a path");
    let output = Command::new(own)
        .args([
            "--count-cpu",
            &rate.to_string(),
            "--seconds",
            &seconds.to_string(),
        ])
        .env(inside::INSIDE, "1")
        .stderr(Stdio::inherit())
        .output()
        .expect("this program runs");
    let told = String::from_utf8_lossy(&output.stdout);
    let nanos = told.trim().parse().expect("a number of nanoseconds");
    Duration::from_nanos(nanos)
}

/// Holds the rate for so many seconds, as the agent would, and prints the nanoseconds that each run took.
pub(crate) fn count(rate: u32, seconds: u64) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    // The many targets are private addresses.
    let mut config = Config::new(7);
    config.allow_any_address = true;
    let net = Net::open(config, Clock::start());
    let runs = u64::from(rate) * seconds / 60;
    let apart = Duration::from_secs(60) / rate;
    // Commands are read once, when they are added, and run many times.
    let specs: Vec<Arc<Spec>> = (0..500)
        .map(|number| Arc::new(runs::spec(&format!("evping -4 -c 3 {}", target(number)))))
        .collect();
    runtime.block_on(async {
        // Everything is in place before counting starts.
        run(net.clone(), Arc::clone(&specs[0]), 0).await;
        let before = cpu::own();
        let start = net.clock().tick();
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..runs {
            let due = u32::try_from(number).expect("few");
            net.sleep_until(start + apart * due).await;
            let spec = Arc::clone(&specs[usize::try_from(number % 500).expect("few")]);
            tasks.spawn(run(net.clone(), spec, number));
            while tasks.try_join_next().is_some() {}
        }
        while tasks.join_next().await.is_some() {}
        let taken = cpu::own() - before;
        println!("{}", taken.as_nanos() / u128::from(runs));
    });
}

async fn run(net: Net, spec: Arc<Spec>, seed: u64) {
    let run = Run {
        seed,
        ..Run::default()
    };
    let outcome = net.run(spec.start(run, Carry::Nothing), |_| {}).await;
    let line = outcome.bodies[0].line(&spec.head(&Default::default()), Default::default());
    assert!(outcome.answered, "{line}");
}

/// One fping that goes through 500 targets, sending at the same rate.
fn fping_together(rate: u32) -> Duration {
    // Three packets a run; 500 targets take a second at 10,000 runs a minute, 20 seconds at 500.
    let (between, period, targets) = if rate > 500 {
        (2, 1_000, 500)
    } else {
        (40, 1_000, 25)
    };
    let rounds = 500 / targets;
    let before = children();
    for _ in 0..rounds.min(5) {
        let mut fping = Command::new("fping");
        fping
            .args(["-q", "-c", "3"])
            .args(["-p", &period.to_string(), "-i", &between.to_string()])
            .args((0..targets).map(|number| target(number).to_string()))
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        fping.status().expect("fping runs");
    }
    (children() - before) / (targets * rounds.min(5))
}

/// An fping for each run.
fn fping_each(rate: u32, seconds: u64) -> Duration {
    let runs = u32::try_from(u64::from(rate) * seconds / 60).expect("few");
    let apart = Duration::from_secs(60) / rate;
    let before = children();
    let start = std::time::Instant::now();
    let mut running = std::collections::VecDeque::new();
    for number in 0..runs {
        let due = start + apart * number;
        std::thread::sleep(due.saturating_duration_since(std::time::Instant::now()));
        let mut fping = Command::new("fping");
        fping.args(["-q", "-c", "3", "-p", "1000", &target(number).to_string()]);
        fping.stdout(Stdio::null()).stderr(Stdio::null());
        running.push_back(fping.spawn().expect("fping runs"));
        while let Some(first) = running.front_mut() {
            if !matches!(first.try_wait(), Ok(Some(_))) {
                break;
            }
            running.pop_front();
        }
    }
    for mut fping in running {
        fping.wait().expect("fping ends");
    }
    (children() - before) / runs
}
