//! A set of measurements, each kind in its turn at a rate that is held: the flags, starling's runs, and other tools' for
//! comparison.

use std::{
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use super::{
    capture::Capture,
    cpu,
    flow::{self, Flows},
    load::Load,
    runs::{self, Ran},
};

/// The flags that benchmarks of a set share.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Flags {
    /// Runs begun in a minute
    #[arg(long, default_value_t = 1_000, value_name = "N")]
    pub(crate) rate: u32,
    /// How long that is held
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    pub(crate) seconds: u64,
    /// On an otherwise idle machine, or beside six CPU hogs
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Load::ALL)]
    pub(crate) load: Vec<Load>,
    /// Install nothing: what is missing is left out
    #[arg(long)]
    pub(crate) no_install: bool,
    /// What cargo passes to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
    /// Inner use: make the runs
    #[arg(long, hide = true)]
    pub(crate) runs: bool,
    /// Inner use: only runs of this kind
    #[arg(long, hide = true, value_name = "INDEX")]
    kind: Option<usize>,
    /// Inner use: burn CPU time
    #[arg(long, hide = true)]
    pub(crate) hog: bool,
}

impl Flags {
    /// The runs that are asked for: of one kind, or of all in these turns.
    pub(crate) fn make(&self, commands: &[&str], turns: &[usize]) {
        let turns = match &self.kind {
            Some(kind) => std::slice::from_ref(kind),
            None => turns,
        };
        let commands: Vec<String> = turns
            .iter()
            .map(|kind| commands[*kind].to_owned())
            .collect();
        runs::make(&commands, self.rate, self.seconds);
    }

    /// Has runs made by a process of their own; what one cost, and all of them. A kind by itself needs no such long time.
    pub(crate) fn starling(&self, kind: Option<usize>) -> (Duration, Vec<Ran>) {
        let seconds = kind.map_or(self.seconds, |_| self.seconds.div_ceil(10));
        let mut arguments = vec![
            "--runs".to_owned(),
            format!("--rate={}", self.rate),
            format!("--seconds={seconds}"),
        ];
        arguments.extend(kind.map(|kind| format!("--kind={kind}")));
        runs::of(&arguments)
    }

    /// Prints what a run of each kind costs, at the same rate.
    pub(crate) fn each<'a>(&self, names: impl Iterator<Item = &'a str>, load: Load) {
        println!(
            "\nstarling, {} a minute, {}: CPU time of a run, ms",
            self.rate,
            load.name()
        );
        for (index, name) in names.enumerate() {
            let (cost, _) = self.starling(Some(index));
            println!("{name:<26}{:>10.3}", cost.as_secs_f64() * 1e3);
        }
    }

    /// CPU time of a process that makes one run, these in turn, begun at the same rate.
    pub(crate) fn processes(&self, turns: impl Iterator<Item = Command>) -> Duration {
        let seconds = self.seconds.div_ceil(4);
        let runs = u32::try_from(u64::from(self.rate) * seconds / 60).expect("few");
        let apart = Duration::from_secs(60) / self.rate;
        let before = cpu::children();
        let start = Instant::now();
        let mut running: Vec<Child> = Vec::new();
        for (number, mut tool) in (0..runs).zip(turns) {
            let due = start + apart * number;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            running.push(tool.spawn().expect("the tool runs"));
            running.retain_mut(|tool| !matches!(tool.try_wait(), Ok(Some(_))));
        }
        for mut tool in running {
            tool.wait().expect("the tool ends");
        }
        (cpu::children() - before) / runs.max(1)
    }
}

/// Another tool, told this, that says nothing.
pub(crate) fn tool(name: &str, words: &str) -> Command {
    let mut tool = Command::new(name);
    tool.args(words.split_ascii_whitespace())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    tool
}

/// Runs a tool to its end: what it told, and what went over the wire meanwhile.
pub(crate) fn watch(capture: &Capture, mut tool: Command) -> (String, Flows) {
    capture.drain();
    let output = tool.stdout(Stdio::piped()).output();
    let told = String::from_utf8_lossy(&output.expect("the tool runs").stdout).into_owned();
    (told, flow::flows(&capture.drain()))
}
