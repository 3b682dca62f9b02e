//! The same queries by kdig, a process each.

use std::{
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::{
    INTERFACE, KINDS, Options,
    common::{
        capture::Capture,
        cpu::children,
        figures::{self, Errors, micros},
        flow::{self, Connection},
        load::Load,
    },
    mix,
};

/// Prints what kdig reports against what was captured, and what a kdig costs.
pub(crate) fn compare(options: &Options, load: Load) {
    let capture = Capture::open(INTERFACE);
    let load = load.name();
    figures::heading(
        &format!("kdig, {load}: its time reported minus captured, us"),
        "runs",
    );
    for kind in KINDS {
        let Some(words) = kind.kdig else { continue };
        let mut errors = Errors::default();
        for _ in 0..options.kdig {
            capture.drain();
            let output = kdig(words).stdout(Stdio::piped()).output();
            let told = String::from_utf8_lossy(&output.expect("kdig runs").stdout).into_owned();
            let flows = flow::flows(&capture.drain());
            let captured = flows.iter().find_map(|((name, _), segments)| match *name {
                "udp" => flow::datagram_round_trip(segments),
                _ => Connection::read(segments).map(|seen| seen.last - seen.syn),
            });
            errors.add(reported(&told), captured.map(micros));
        }
        figures::row(kind.name, &errors);
    }
    let cost = cost(options).as_secs_f64() * 1e3;
    println!(
        "\nkdig, mixed set without the unanswered at {} a minute, {load}: CPU time of a run {cost:.3} ms",
        options.rate
    );
}

fn kdig(words: &str) -> Command {
    let mut kdig = Command::new("kdig");
    kdig.args(words.split_ascii_whitespace())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    kdig
}

/// `;; From 198.51.100.2@53(UDP) in 0.3 ms`, as microseconds.
fn reported(told: &str) -> Option<f64> {
    let line = told.lines().find(|line| line.starts_with(";; From "))?;
    let (_, time) = line.rsplit_once(" in ")?;
    let millis: f64 = time.split(' ').next()?.parse().ok()?;
    Some(millis * 1e3)
}

/// CPU time of a kdig, begun at the same rate.
fn cost(options: &Options) -> Duration {
    let turns: Vec<&str> = mix().iter().filter_map(|kind| KINDS[*kind].kdig).collect();
    let seconds = options.seconds.div_ceil(4);
    let runs = u32::try_from(u64::from(options.rate) * seconds / 60).expect("few");
    let apart = Duration::from_secs(60) / options.rate;
    let before = children();
    let start = Instant::now();
    let mut running: Vec<Child> = Vec::new();
    for (number, words) in (0..runs).zip(turns.iter().cycle()) {
        let due = start + apart * number;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        running.push(kdig(words).spawn().expect("kdig runs"));
        running.retain_mut(|kdig| !matches!(kdig.try_wait(), Ok(Some(_))));
    }
    for mut kdig in running {
        kdig.wait().expect("kdig ends");
    }
    (children() - before) / runs.max(1)
}
