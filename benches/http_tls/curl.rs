//! The same requests by curl, a process each.

use std::process::Command;

use crate::{
    Found, INTERFACE, KINDS, Options, Times, captured_times,
    common::{capture::Capture, figures, flow::Connection, load::Load, set},
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
            let (told, flows) = set::watch(&capture, curl(words));
            let captured = flows
                .iter()
                .filter(|((name, _), _)| *name == "tcp")
                .find_map(|(_, segments)| Connection::read(segments));
            let captured = captured.map(|seen| captured_times(&seen, secure));
            found.add(reported(&told, secure), captured.unwrap_or_default());
        }
        found.print(kind, ["connected", "first byte", "total"]);
    }
    let turns = KINDS.iter().filter_map(|kind| kind.curl);
    let cost = options.set.processes(turns.cycle().map(curl)).as_secs_f64() * 1e3;
    println!(
        "\ncurl, http and https in turn at {} a minute, {load}: CPU time of a run {cost:.3} ms",
        options.set.rate
    );
}

fn curl(words: &str) -> Command {
    let mut curl = set::tool("curl", "-q -s -o /dev/null");
    curl.args(["-H", "Connection: close", "-w", FORMAT])
        .args(words.split_ascii_whitespace());
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
