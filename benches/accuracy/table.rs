//! Reported minus captured, and how that is distributed.

use crate::{
    capture::{self, Exchange, Packet},
    responder,
    tools::{Kind, Reported, Tool},
};

/// The errors of one tool, in microseconds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Errors {
    micros: Vec<f64>,
    /// Packets that were answered on the wire and that the tool reports as lost.
    missed: usize,
    /// Packets that cannot be compared: the tool and the tap do not agree how many there were, or no reply came.
    apart: usize,
}

impl Errors {
    pub(crate) const fn seen(&self) -> usize {
        self.micros.len() + self.missed + self.apart
    }

    /// Adds one run of the tool: what it reported, and what the tap saw meanwhile.
    pub(crate) fn add(&mut self, kind: Kind, reported: &[Reported], packets: &[Packet]) {
        let mut exchanges = capture::exchanges(packets);
        for reported in reported {
            // The first of those to this target and hop that was not compared yet.
            let at = exchanges.iter().position(|exchange| {
                exchange.to == reported.to && reported.ttl.is_none_or(|ttl| ttl == exchange.ttl)
            });
            let captured = at.and_then(|at| truth(kind, &exchanges.remove(at)));
            match (reported.micros, captured) {
                (Some(reported), Some(captured)) => self.micros.push(reported - captured),
                (None, Some(_)) => self.missed += 1,
                (_, None) => self.apart += 1,
            }
        }
        self.apart += exchanges.len();
        // A tool that says nothing at all must not keep us here forever.
        self.apart += usize::from(reported.is_empty());
    }
}

/// The captured figure in microseconds: a round trip, or the clock offset (RFC 5905 section 8) with the server's
/// times as they stand in its reply.
fn truth(kind: Kind, exchange: &Exchange) -> Option<f64> {
    let (received, content) = exchange.reply.as_ref()?;
    if kind != Kind::Ntp {
        return Some(micros(received - exchange.sent));
    }
    let time = |at: usize| -> Option<i64> {
        let octets = content.get(at..at + 8)?;
        octets.try_into().ok().map(responder::nanos)
    };
    let there = time(32)? - exchange.sent;
    let back = time(40)? - received;
    Some(micros(there + back) / 2.0)
}

#[expect(clippy::cast_precision_loss, reason = "seconds in nanoseconds fit")]
fn micros(nanos: i64) -> f64 {
    nanos as f64 / 1e3
}

/// What was run where.
pub(crate) fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpus = read("/proc/cpuinfo");
    let model = cpus
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown processor", |(_, name)| name);
    let count = cpus
        .lines()
        .filter(|line| line.starts_with("processor"))
        .count();
    let kernel = read("/proc/sys/kernel/osrelease");
    format!(
        "{count} x {model}, Linux {}, load before: {}",
        kernel.trim(),
        read("/proc/loadavg").split(' ').next().unwrap_or("?")
    )
}

/// How early the tap can be.
pub(crate) fn bias(load: &str, later: &[i64]) {
    let mut later: Vec<f64> = later.iter().map(|nanos| micros(*nanos)).collect();
    later.sort_by(f64::total_cmp);
    println!(
        "\nTap, {load}: the far end of the link saw requests {} us (median), {} us (p99) after the tap;",
        quantile(&later, 50),
        quantile(&later, 99)
    );
    println!("the driver's time, which starling reports, lies in between.");
}

/// One table: tools down, figures across.
pub(crate) fn print(kind: Kind, load: &str, errors: &[(Tool, Errors)]) {
    println!("\n{}, {load}: reported minus captured, us", kind.name());
    println!(
        "{:<12}{:>8}{:>9}{:>9}{:>9}{:>9}{:>9}{:>8}{:>7}",
        "", "packets", "median", "p95", "p99", "max", "min", "missed", "apart"
    );
    for (tool, errors) in errors {
        let mut signed = errors.micros.clone();
        signed.sort_by(f64::total_cmp);
        // How far off, whichever way.
        let mut off: Vec<f64> = signed.iter().map(|error| error.abs()).collect();
        off.sort_by(f64::total_cmp);
        println!(
            "{:<12}{:>8}{:>9}{:>9}{:>9}{:>9}{:>9}{:>8}{:>7}",
            tool.name(),
            signed.len(),
            quantile(&signed, 50),
            quantile(&off, 95),
            quantile(&off, 99),
            quantile(&signed, 100),
            quantile(&signed, 0),
            errors.missed,
            errors.apart,
        );
    }
}

/// The value that `percent` of all do not exceed (nearest rank).
fn quantile(sorted: &[f64], percent: usize) -> String {
    let rank = (sorted.len() * percent).div_ceil(100);
    let value = sorted.get(rank.saturating_sub(1));
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.1}"))
}
