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
    let sent = first_requests(&capture, options.seconds);
    let to = now() - 1_000_000_000;
    let after = process::Look::at(agent.pid());
    let planned = planned(&agent.log()).into_iter();
    let planned = planned.filter(|(_, planned)| (from..to).contains(planned));
    let found = compare(planned, &sent, from);
    assert!(!found.late.is_empty(), "no run was seen:\n{}", agent.log());
    found.print(to - from);
    after.print_since(&before, options.seconds);
}

/// When requests that begin a run were on the wire, by target.
type Sent = BTreeMap<Ipv4Addr, Vec<i64>>;

fn first_requests(capture: &Capture, seconds: u64) -> Sent {
    let mut sent = Sent::new();
    for _ in 0..seconds.div_ceil(EMPTY.as_secs()) {
        std::thread::sleep(EMPTY);
        for packet in capture.drain() {
            if let Some(to) = first_request(packet.outgoing, &packet.bytes) {
                sent.entry(to).or_default().push(packet.at);
            }
        }
    }
    sent
}

/// How late runs were, in nanoseconds.
#[derive(Default)]
struct Found {
    late: Vec<i64>,
    /// By second: how many were late by more than the goal, and the latest.
    tardy: BTreeMap<i64, (usize, i64)>,
    missing: usize,
}

fn compare(planned: impl Iterator<Item = (Ipv4Addr, i64)>, sent: &Sent, from: i64) -> Found {
    let mut found = Found::default();
    for (target, planned) in planned {
        // The run before may have ended long ago; the next one is seconds away.
        let begun = sent.get(&target).and_then(|times| {
            let place = times.partition_point(|at| *at < planned);
            times.get(place).copied()
        });
        match begun {
            Some(at) if at - planned < 5_000_000_000 => {
                found.late.push(at - planned);
                if at - planned > GOAL {
                    let second = (planned - from) / 1_000_000_000;
                    let (count, latest) = found.tardy.entry(second).or_default();
                    *count += 1;
                    *latest = (*latest).max(at - planned);
                }
            }
            _ => found.missing += 1,
        }
    }
    found.late.sort_unstable();
    found
}

impl Found {
    fn print(&self, nanos: i64) {
        let (late, missing) = (&self.late, self.missing);
        let at = |permille: usize| late[(late.len() - 1) * permille / 1000] as f64 / 1e6;
        println!(
            "punctuality of {} runs ({:.0} a minute) beside long traceroutes and one-offs, first packet after the planned \
         time, ms: median {:.2}, p95 {:.2}, p99 {:.2}, latest {:.2}; {missing} without a packet",
            late.len(),
            late.len() as f64 * 60e9 / nanos as f64,
            at(500),
            at(950),
            at(990),
            at(1000)
        );
        for (second, (count, latest)) in &self.tardy {
            println!(
                "  in second {second}: {count} later than the goal, by {:.1} ms at most",
                *latest as f64 / 1e6
            );
        }
    }
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
