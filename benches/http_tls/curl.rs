//! The same requests by curl, a process each.

use std::{
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::{
    Found, INTERFACE, KINDS, Options, Times, captured_times,
    common::{
        capture::Capture,
        cpu::children,
        figures,
        flow::{self, Connection},
        load::Load,
    },
};

/// What curl tells: seconds since it began, and since it had the address.
const FORMAT: &str =
    "%{time_namelookup} %{time_connect} %{time_appconnect} %{time_starttransfer} %{time_total}";

/// Prints what curl reports against what was captured, and what a curl costs.
pub(crate) fn compare(options: &Options, load: Load) {
    let capture = Capture::open(INTERFACE);
    let load = load.name();
    figures::heading(
        &format!("curl, {load}: reported (since its look-up) minus captured, us"),
        "runs",
    );
    for kind in KINDS {
        let Some(words) = kind.curl else { continue };
        let secure = words.contains("https");
        let mut found = Found::default();
        for _ in 0..options.curl {
            capture.drain();
            let output = curl(words).stdout(Stdio::piped()).output();
            let told = String::from_utf8_lossy(&output.expect("curl runs").stdout).into_owned();
            let flows = flow::flows(&capture.drain());
            let captured = flows
                .iter()
                .filter(|((name, _), _)| *name == "tcp")
                .find_map(|(_, segments)| Connection::read(segments));
            let captured = captured.map(|seen| captured_times(&seen, secure));
            found.add(reported(&told, secure), captured.unwrap_or_default());
        }
        found.print(kind, ["connected", "first byte", "total"]);
    }
    let cost = cost(options).as_secs_f64() * 1e3;
    println!(
        "\ncurl, http and https in turn at {} a minute, {load}: CPU time of a run {cost:.3} ms",
        options.rate
    );
}

fn curl(words: &str) -> Command {
    let mut curl = Command::new("curl");
    curl.args([
        "-q",
        "-s",
        "-o",
        "/dev/null",
        "-H",
        "Connection: close",
        "-w",
        FORMAT,
    ])
    .args(words.split_ascii_whitespace())
    .stdin(Stdio::null())
    .stdout(Stdio::null())
    .stderr(Stdio::null());
    curl
}

fn reported(told: &str, secure: bool) -> Times {
    let times: Vec<f64> = told
        .split_ascii_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect();
    let [began, connected, secured, first_byte, done] = times[..] else {
        return Times::default();
    };
    let since = |time: f64| Some((time - began) * 1e6);
    Times {
        connected: since(if secure { secured } else { connected }),
        first_byte: since(first_byte),
        done: since(done),
    }
}

/// CPU time of a curl, begun at the same rate.
fn cost(options: &Options) -> Duration {
    let seconds = options.seconds.div_ceil(4);
    let runs = u32::try_from(u64::from(options.rate) * seconds / 60).expect("few");
    let apart = Duration::from_secs(60) / options.rate;
    let before = children();
    let start = Instant::now();
    let mut running: Vec<Child> = Vec::new();
    let turns = KINDS.iter().filter_map(|kind| kind.curl);
    for (number, words) in (0..runs).zip(turns.cycle()) {
        let due = start + apart * number;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        running.push(curl(words).spawn().expect("curl runs"));
        running.retain_mut(|curl| !matches!(curl.try_wait(), Ok(Some(_))));
    }
    for mut curl in running {
        curl.wait().expect("curl ends");
    }
    (children() - before) / runs.max(1)
}
