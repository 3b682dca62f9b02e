//! Many runs of starling in a process that does nothing else, as the agent makes them: one `Net`, one thread.
//!
//! The benchmark runs itself again for that, and reads result lines and CPU time from its standard output.

use std::{
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use serde_json::Value;
use starling::{
    clock::Clock,
    measurement::{Carry, Input, Rules, Run, Spec, machine::Output},
    net::{Config, Event, Net},
};

use super::{cpu, flow::Key, inside};

/// One run.
#[derive(Clone, Debug)]
pub(crate) struct Ran {
    /// Its place in the list of commands.
    pub(crate) item: usize,
    /// The last socket that it opened, and when (nanoseconds of the wall clock).
    pub(crate) flow: Option<(Key, i64)>,
    /// The result line.
    pub(crate) line: Value,
}

/// The checked command.
pub(crate) fn spec(command: &str) -> Spec {
    let words: Vec<&str> = command.split_ascii_whitespace().collect();
    let rules = Rules {
        dialect: Default::default(),
        spool: "/nonexistent".into(),
        unsafe_paths: false,
    };
    Spec::parse(&words, &rules).unwrap_or_else(|error| panic!("{command}: {error}"))
}

/// Begins `rate` runs a minute for so many seconds, the commands in turn, and prints what came of them.
pub(crate) fn make(commands: &[String], rate: u32, seconds: u64) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let net = Net::open(Config::new(7), Clock::start());
    let runs = u64::from(rate) * seconds / 60;
    let apart = Duration::from_secs(60) / rate;
    // Commands are read once, when they are added, and run many times.
    let specs: Vec<Arc<Spec>> = commands
        .iter()
        .map(|command| Arc::new(spec(command)))
        .collect();
    let told = runtime.block_on(async {
        // Everything is in place before counting starts, the kernel's stamping too.
        for spec in &specs {
            run(net.clone(), Arc::clone(spec), 0).await;
        }
        let mut told = Vec::new();
        let before = cpu::own();
        let mut ticks = tokio::time::interval(apart);
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..runs {
            ticks.tick().await;
            let item = usize::try_from(number).expect("few") % specs.len();
            let (net, spec) = (net.clone(), Arc::clone(&specs[item]));
            tasks.spawn(async move { (item, run(net, spec, number).await) });
            while let Some(ended) = tasks.try_join_next() {
                told.push(ended.expect("no run panics"));
            }
        }
        while let Some(ended) = tasks.join_next().await {
            told.push(ended.expect("no run panics"));
        }
        let taken = cpu::own() - before;
        println!("{}", taken.as_nanos() / u128::from(runs.max(1)));
        told
    });
    for (item, (flow, line)) in told {
        let (name, port, since) =
            flow.map_or(("-", 0, 0), |((name, port), since)| (name, port, since));
        let line = line.trim_start_matches("RESULT ");
        print!("{item} {name} {port} {since} {line}");
    }
}

type Told = (Option<(Key, i64)>, String);

async fn run(net: Net, spec: Arc<Spec>, seed: u64) -> Told {
    let run = Run {
        seed,
        ..Run::default()
    };
    let (mut flow, mut since) = (None, 0);
    let watch = |event: &Event<'_>| match event {
        Event::Out {
            output: Output::Open { .. } | Output::Connect { .. },
            ..
        } => since = i64::try_from(net.clock().unix().nanos()).unwrap_or(0),
        Event::In { input, .. } => {
            let key = match input {
                Input::Opened { local, .. } => ("udp", local.port()),
                Input::Connected { local, .. } => ("tcp", local.port()),
                _ => return,
            };
            flow = Some((key, since));
        }
        Event::Out { .. } => {}
    };
    let outcome = net.run(spec.start(run, Carry::Nothing), watch).await;
    let line = outcome.bodies[0].line(&spec.head(&Default::default()), Default::default());
    (flow, line)
}

/// Runs this program again with `arguments`, which make it call [`make`]; the CPU time of a run, and the runs.
pub(crate) fn of(arguments: &[String]) -> (Duration, Vec<Ran>) {
    let own = std::env::current_exe().expect("the running binary has a path");
    let output = Command::new(own)
        .args(arguments)
        .env(inside::INSIDE, "1")
        .stderr(Stdio::inherit())
        .output()
        .expect("this program runs");
    assert!(output.status.success(), "the runs failed");
    let told = String::from_utf8_lossy(&output.stdout);
    let mut lines = told.lines();
    let nanos = lines.next().and_then(|line| line.parse().ok());
    let nanos = nanos.expect("a number of nanoseconds");
    (Duration::from_nanos(nanos), lines.map(read).collect())
}

fn read(line: &str) -> Ran {
    let mut words = line.splitn(5, ' ');
    let mut word = || words.next().expect("five words");
    let item = word().parse().expect("a number");
    let name = match word() {
        "udp" => Some("udp"),
        "tcp" => Some("tcp"),
        _ => None,
    };
    let port = word().parse().expect("a port");
    let since = word().parse().expect("nanoseconds");
    Ran {
        item,
        flow: name.map(|name| ((name, port), since)),
        line: serde_json::from_str(word()).expect("a result line"),
    }
}
