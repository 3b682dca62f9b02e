//! The same queries by kdig, a process each.

use crate::{
    INTERFACE, KINDS, Options,
    common::{
        capture::Capture,
        figures::{self, Errors, micros},
        flow::{self, Connection},
        load::Load,
        set,
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
            let (told, flows) = set::watch(&capture, set::tool("kdig", words));
            let captured = flows.iter().find_map(|((name, _), segments)| match *name {
                "udp" => flow::datagram_round_trip(segments),
                _ => Connection::read(segments).map(|seen| seen.last - seen.syn),
            });
            errors.add(reported(&told), captured.map(micros));
        }
        figures::row(kind.name, &errors);
    }
    let turns: Vec<&str> = mix().iter().filter_map(|kind| KINDS[*kind].kdig).collect();
    let turns = turns.iter().cycle().map(|words| set::tool("kdig", words));
    let cost = options.set.processes(turns).as_secs_f64() * 1e3;
    println!(
        "\nkdig, mixed set without the unanswered at {} a minute, {load}: CPU time of a run {cost:.3} ms",
        options.set.rate
    );
}

/// `;; From 198.51.100.2@53(UDP) in 0.3 ms`, as microseconds.
fn reported(told: &str) -> Option<f64> {
    let line = told.lines().find(|line| line.starts_with(";; From "))?;
    let (_, time) = line.rsplit_once(" in ")?;
    let millis: f64 = time.split(' ').next()?.parse().ok()?;
    Some(millis * 1e3)
}
