//! How late runs begin: the planned times from the agent's debug log, the first packet of each run from the wire.

use std::{collections::BTreeMap, net::Ipv4Addr, time::Duration};

use serde_json::Value;

use crate::{
    Options,
    common::capture::Capture,
    process,
    service::{Jobs, Network},
};

/// Seconds between the runs of each ping, and their number: 10,000 a minute, for runs that meet the one before are skipped.
const INTERVAL: u64 = 6;
const JOBS: u64 = 1_150;
/// How late a run may be, nanoseconds.
const GOAL: i64 = 10_000_000;
/// How often the tap is emptied; its buffer holds several times as much.
const EMPTY: Duration = Duration::from_secs(5);

pub(crate) fn measure(options: &Options) {
    let network = Network::start(options, &Jobs::crowd(JOBS, INTERVAL));
    let capture = Capture::open("near0");
    let log = ["--log-level", "debug", "--log-format", "json"];
    let agent = network.agent(&log);
    agent.connected();
    std::thread::sleep(Duration::from_secs(2 * INTERVAL));
    let before = process::Look::at(agent.pid());
    capture.drain();
    let from = now();
    let mut sent: BTreeMap<Ipv4Addr, Vec<i64>> = BTreeMap::new();
    for _ in 0..options.seconds.div_ceil(EMPTY.as_secs()) {
        std::thread::sleep(EMPTY);
        for packet in capture.drain() {
            if let Some(to) = first_request(packet.outgoing, &packet.bytes) {
                sent.entry(to).or_default().push(packet.at);
            }
        }
    }
    let to = now() - 1_000_000_000;
    let after = process::Look::at(agent.pid());
    let mut late: Vec<i64> = Vec::new();
    // By second: how many were late by more than the goal, and the latest.
    let mut tardy: BTreeMap<i64, (usize, i64)> = BTreeMap::new();
    let mut missing = 0;
    for (target, planned) in planned(&agent.log()) {
        if !(from..to).contains(&planned) {
            continue;
        }
        // The run before may have ended long ago; the next one is seconds away.
        let begun = sent.get(&target).and_then(|times| {
            let found = times.partition_point(|at| *at < planned);
            times.get(found).copied()
        });
        match begun {
            Some(at) if at - planned < 5_000_000_000 => {
                late.push(at - planned);
                if at - planned > GOAL {
                    let (count, latest) =
                        tardy.entry((planned - from) / 1_000_000_000).or_default();
                    *count += 1;
                    *latest = (*latest).max(at - planned);
                }
            }
            _ => missing += 1,
        }
    }
    assert!(!late.is_empty(), "no run was seen:\n{}", agent.log());
    late.sort_unstable();
    let at = |permille: usize| late[(late.len() - 1) * permille / 1000] as f64 / 1e6;
    println!(
        "punctuality of {} runs ({:.0} a minute) beside long traceroutes and one-offs, first packet after the planned \
         time, ms: median {:.2}, p95 {:.2}, p99 {:.2}, latest {:.2}; {missing} without a packet",
        late.len(),
        late.len() as f64 * 60e9 / (to - from) as f64,
        at(500),
        at(950),
        at(990),
        at(1000)
    );
    for (second, (count, latest)) in tardy {
        println!(
            "  in second {second}: {count} later than the goal, by {:.1} ms at most",
            latest as f64 / 1e6
        );
    }
    after.print_since(&before, options.seconds);
}

fn now() -> i64 {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_REALTIME).unwrap();
    now.tv_sec() * 1_000_000_000 + now.tv_nsec()
}

/// Where a departing echo request goes that is the first of a run of three; sequence numbers go on from run to run.
fn first_request(outgoing: bool, packet: &[u8]) -> Option<Ipv4Addr> {
    let (header, icmp) = packet.split_at_checked(20)?;
    if !outgoing || header[0] != 0x45 || header[9] != 1 || icmp.get(..2)? != [8, 0] {
        return None;
    }
    let number = u16::from_be_bytes(icmp.get(6..8)?.try_into().ok()?);
    let to: [u8; 4] = header[16..20].try_into().ok()?;
    (number % 3 == 1).then(|| Ipv4Addr::from(to))
}

/// The planned runs of the pings.
fn planned(log: &str) -> Vec<(Ipv4Addr, i64)> {
    log.lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter_map(|record| {
            let fields = &record["fields"];
            if fields["message"] != "run" || fields["kind"] != "ping" {
                return None;
            }
            Some((
                fields["target"].as_str()?.parse().ok()?,
                fields["planned"].as_i64()?,
            ))
        })
        .collect()
}
