//! CPU time of a three-packet ping run.
//!
//! Both sides send the same packets at the same even rate for the same time, in rounds that take turns, and what is
//! printed is the median of the rounds. The kernel's work within a process's calls counts for all of them.

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
        cpu::{self, Spent},
        inside, netns, runs,
    },
    tools::Tool,
};

/// Runs a minute.
const RATES: [u32; 2] = [500, 10_000];

/// Seconds for which system calls are counted, and how much longer once more.
const STRACED: u64 = 5;

/// All of 10.0.0.0/16 is the far host, so that as many targets can be had as are wanted.
pub(crate) fn many_targets() {
    netns::run("ip route add 10.0.0.0/16 via 192.0.2.254");
    netns::run("ip -n router route add 10.0.0.0/16 via 198.51.100.2");
    netns::run("ip -n far route add local 10.0.0.0/16 dev lo");
}

fn target(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 0, 1, 0)) + number % 500)
}

/// Who is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Contestant {
    Starling,
    FpingTogether,
    FpingEach,
}

impl Contestant {
    const fn name(self) -> &'static str {
        match self {
            Self::Starling => "starling, one process",
            Self::FpingTogether => "fping, one process for all targets",
            Self::FpingEach => "fping, a process each run",
        }
    }

    /// One round: what each run took.
    fn round(self, rate: u32, seconds: u64) -> Each {
        match self {
            Self::Starling => starling(rate, seconds),
            Self::FpingTogether => fping_together(rate, seconds),
            Self::FpingEach => fping_each(rate, seconds),
        }
    }

    /// What does the runs in one process.
    fn command(self, rate: u32, seconds: u64) -> Option<Command> {
        match self {
            Self::Starling => Some(starling_command(rate, seconds)),
            Self::FpingTogether => Some(fping_command(rate, seconds)),
            Self::FpingEach => None,
        }
    }
}

/// What one run took.
#[derive(Clone, Copy, Debug)]
struct Each {
    millis: f64,
    waits: f64,
}

impl Each {
    fn of(spent: Spent, runs: f64) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "few")]
        let waits = spent.waits as f64;
        Self {
            millis: spent.time.as_secs_f64() * 1e3 / runs,
            waits: waits / runs,
        }
    }
}

/// Prints what each tool spends at each rate.
pub(crate) fn compare(options: &Options) {
    let mut contestants = vec![Contestant::Starling];
    if options.tools.contains(&Tool::Fping) && Tool::Fping.is_there() {
        contestants.extend([Contestant::FpingTogether, Contestant::FpingEach]);
    }
    println!(
        "\nA run of three echo requests one second apart: CPU time in ms, median (least to most) of {} rounds of {} s; \
         how often the process slept; system calls",
        options.rounds, options.seconds
    );
    for rate in RATES {
        println!("{rate} a minute");
        let mut rounds = vec![Vec::new(); contestants.len()];
        for round in 0..options.rounds {
            for (contestant, rounds) in contestants.iter().zip(&mut rounds) {
                // It costs so much more that once will do.
                if round == 0 || *contestant != Contestant::FpingEach {
                    rounds.push(contestant.round(rate, options.seconds));
                }
            }
        }
        for (contestant, mut rounds) in contestants.iter().zip(rounds) {
            rounds.sort_by(|one, other| one.millis.total_cmp(&other.millis));
            let (least, most) = (rounds[0].millis, rounds[rounds.len() - 1].millis);
            let Each { millis, waits } = rounds[rounds.len() / 2];
            let calls = contestant_calls(*contestant, rate);
            let calls = calls.map_or("-".to_owned(), |calls| format!("{calls:.1}"));
            let name = contestant.name();
            println!("  {name:<36}{millis:>8.3} ({least:.3} to {most:.3}){waits:>8.2}{calls:>8}");
        }
    }
}

fn runs_of(rate: u32, seconds: u64) -> u32 {
    u32::try_from(u64::from(rate) * seconds / 60).expect("few")
}

/// In a process of its own, which does nothing else.
fn starling_command(rate: u32, seconds: u64) -> Command {
    let own = std::env::current_exe().expect("the running binary has a path");
    let mut command = Command::new(own);
    command.args(["--count-cpu", &rate.to_string()]);
    command.args(["--seconds", &seconds.to_string()]);
    command.env(inside::INSIDE, "1");
    command
}

fn starling(rate: u32, seconds: u64) -> Each {
    let mut command = starling_command(rate, seconds);
    let output = command.stderr(Stdio::inherit()).output();
    let output = output.expect("this program runs");
    let told = String::from_utf8_lossy(&output.stdout);
    let mut told = told.split_ascii_whitespace().map(str::parse);
    let mut number = || told.next().and_then(Result::ok).expect("two numbers");
    let spent = Spent {
        time: Duration::from_nanos(number()),
        waits: number(),
    };
    Each::of(spent, runs_of(rate, seconds).into())
}

/// Holds the rate for so many seconds, as the agent would, and prints the nanoseconds and waits that the runs took.
pub(crate) fn count(rate: u32, seconds: u64) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    // The many targets are private addresses.
    let mut config = Config::new(7);
    config.allow_any_address = true;
    let net = Net::open(config, Clock::start());
    let apart = Duration::from_secs(60) / rate;
    // Commands are read once, when they are added, and run many times.
    let specs: Vec<Arc<Spec>> = (0..500)
        .map(|number| Arc::new(runs::spec(&format!("evping -4 -c 3 {}", target(number)))))
        .collect();
    runtime.block_on(async {
        // As in the agent, each run continues where the one before of the same command left off.
        let mut carries = vec![Carry::Nothing; specs.len()];
        let mut tasks = tokio::task::JoinSet::new();
        // Everything is in place before counting starts: each command ran once.
        for (of, spec) in specs.iter().enumerate() {
            let ran = run(net.clone(), Arc::clone(spec), (0, Carry::Nothing));
            tasks.spawn(async move { (of, ran.await) });
        }
        while let Some(ended) = tasks.join_next().await {
            let (of, carry) = ended.expect("no run panics");
            carries[of] = carry;
        }
        let before = cpu::spent();
        let start = net.clock().tick();
        for number in 0..runs_of(rate, seconds) {
            net.sleep_until(start + apart * number).await;
            let of = usize::try_from(number).expect("few") % specs.len();
            let carry = std::mem::take(&mut carries[of]);
            let ran = run(net.clone(), Arc::clone(&specs[of]), (number.into(), carry));
            tasks.spawn(async move { (of, ran.await) });
            while let Some(ended) = tasks.try_join_next() {
                let (of, carry) = ended.expect("no run panics");
                carries[of] = carry;
            }
        }
        while tasks.join_next().await.is_some() {}
        let Spent { time, waits } = cpu::spent() - before;
        println!("{} {waits}", time.as_nanos());
    });
}

async fn run(net: Net, spec: Arc<Spec>, (seed, carry): (u64, Carry)) -> Carry {
    let run = Run {
        seed,
        ..Run::default()
    };
    let outcome = net.run(spec.start(run, carry), |_| {}).await;
    let line = outcome.bodies[0].line(&spec.head(&Default::default()), Default::default());
    assert!(outcome.answered, "{line}");
    outcome.carry
}

/// One fping that sends each of its targets a request a second for as long, all evenly spread. What it takes to begin
/// is spread over all of that, as that of an agent is.
fn fping_command(rate: u32, seconds: u64) -> Command {
    // Three packets a run.
    let targets = rate / 20;
    let mut fping = Command::new("fping");
    fping.args(["-q", "-p", "1000", "-c", &seconds.to_string()]);
    fping.args(["-i", &(1_000 / targets).to_string()]);
    fping.args((0..targets).map(|number| target(number).to_string()));
    fping.stdout(Stdio::null()).stderr(Stdio::null());
    fping
}

fn fping_together(rate: u32, seconds: u64) -> Each {
    let before = cpu::children_spent();
    let ended = fping_command(rate, seconds).status();
    assert!(ended.expect("fping runs").success(), "not all answered");
    let spent = cpu::children_spent() - before;
    Each::of(spent, runs_of(rate, seconds).into())
}

/// An fping for each run.
fn fping_each(rate: u32, seconds: u64) -> Each {
    let runs = runs_of(rate, seconds);
    let apart = Duration::from_secs(60) / rate;
    let before = cpu::children_spent();
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
    Each::of(cpu::children_spent() - before, runs.into())
}

/// System calls of a run, if strace is here: those of a longer time less those of a shorter one, so that beginning and
/// end are left out.
fn contestant_calls(contestant: Contestant, rate: u32) -> Option<f64> {
    if !inside::is_there("strace") {
        return None;
    }
    let calls = |seconds| straced(&contestant.command(rate, seconds)?);
    let more = calls(2 * STRACED)? - calls(STRACED)?;
    Some(more / f64::from(runs_of(rate, STRACED)))
}

/// System calls that a command makes.
fn straced(command: &Command) -> Option<f64> {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-c", "-U", "calls,name"]);
    strace.arg(command.get_program()).args(command.get_args());
    strace.env(inside::INSIDE, "1").stdout(Stdio::null());
    let told = strace.output().ok()?.stderr;
    let told = String::from_utf8_lossy(&told);
    let total = told.lines().rfind(|line| line.ends_with("total"))?;
    total.split_ascii_whitespace().next()?.parse().ok()
}
