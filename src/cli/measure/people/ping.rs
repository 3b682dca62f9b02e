//! `starling measure ping`.

use std::{fmt::Write as _, time::Duration};

use clap::Parser;

use super::{Addresses, Form, Style, Talk};
use crate::{
    config::parse_duration,
    measurement::{
        Body, Outcome, Seen,
        ping::{self, Item},
    },
};

/// Send ICMP echo requests and time the replies with the kernel's clock.
#[derive(Debug, Parser)]
#[command(name = "starling measure ping")]
pub(super) struct Ping {
    /// Host name or address.
    target: String,
    #[command(flatten)]
    addresses: Addresses,
    /// Requests to send.
    #[arg(short, long, default_value_t = 3, value_name = "N")]
    count: u32,
    /// Time from one request to the next; also how long each waits for its reply. 1ms to 60s.
    #[arg(short, long, default_value = "1s", value_parser = parse_duration, value_name = "DURATION")]
    interval: Duration,
    /// Octets after the ICMP header, 32 to 4068.
    #[arg(short, long, default_value_t = 56, value_name = "OCTETS")]
    size: u32,
    /// Send from this address or interface.
    #[arg(short = 'I', long, value_name = "ADDRESS")]
    interface: Option<String>,
    #[command(flatten)]
    form: Form,
}

impl Talk for Ping {
    fn words(&self) -> Vec<String> {
        let mut words = vec![
            "evping".to_owned(),
            self.addresses.word(&self.target).to_owned(),
            format!("-c{}", self.count),
            format!("-i{}", self.interval.as_millis()),
            format!("-s{}", self.size),
        ];
        if let Some(interface) = &self.interface {
            words.extend(["-I".to_owned(), interface.clone()]);
        }
        words.extend(["--".to_owned(), self.target.clone()]);
        words
    }

    fn form(&self) -> Form {
        self.form
    }

    fn seen(&mut self, seen: &Seen, style: Style) -> Option<String> {
        let Seen::Ping(seen) = seen else { return None };
        Some(match seen {
            ping::Seen::Started {
                destination,
                source,
                size,
            } => format!(
                "PING {} ({destination}) from {source}: {size} octets",
                self.target
            ),
            ping::Seen::Reply {
                request,
                rtt_ms,
                size,
                ttl,
                duplicate,
            } => {
                let ttl = ttl.map_or_else(String::new, |ttl| format!(" ttl={ttl}"));
                let again = if *duplicate { " (again or late)" } else { "" };
                format!("{size} octets: request={request}{ttl} time={rtt_ms:.3} ms{again}")
            }
            ping::Seen::Lost { request } => style.bad(&format!(
                "request={request} no reply within {} ms",
                self.interval.as_millis()
            )),
            ping::Seen::Error(text) => style.bad(text),
        })
    }

    fn summary(&self, outcome: &Outcome, style: Style) -> String {
        let mut text = String::new();
        for body in &outcome.bodies {
            let Body::Ping(body) = body else { continue };
            let rtts: Vec<f64> = body
                .items
                .iter()
                .filter_map(|item| match item {
                    Item::Reply(reply) if !reply.duplicate => Some(reply.rtt_ms),
                    _ => None,
                })
                .collect();
            let missed = body
                .items
                .iter()
                .filter(|item| !matches!(item, Item::Reply(_)))
                .count();
            let sent = rtts.len() + missed;
            let tally = format!("{sent} sent, {} answered, {missed} not", rtts.len());
            let tally = if missed == 0 {
                style.good(&tally)
            } else {
                style.bad(&tally)
            };
            let _ = write!(text, "--- {}: {tally}", self.target);
            if let Some(times) = times(&rtts) {
                let _ = write!(text, "; {times}");
            }
            text.push('\n');
        }
        text
    }
}

/// Least, mean, most and mean deviation of round-trip times in milliseconds.
fn times(rtts: &[f64]) -> Option<String> {
    #[expect(clippy::cast_precision_loss, reason = "a run has few replies")]
    let count = rtts.len() as f64;
    let least = rtts.iter().copied().reduce(f64::min)?;
    let most = rtts.iter().copied().reduce(f64::max)?;
    let mean = rtts.iter().sum::<f64>() / count;
    let deviation = rtts.iter().map(|rtt| (rtt - mean).abs()).sum::<f64>() / count;
    Some(format!(
        "rtt min/avg/max/mdev {least:.3}/{mean:.3}/{most:.3}/{deviation:.3} ms"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_become_the_controllers_words() {
        let ping = Ping::parse_from(["ping", "-c", "5", "-i", "200ms", "2001:db8::1"]);
        assert_eq!(
            ping.words(),
            ["evping", "-6", "-c5", "-i200", "-s56", "--", "2001:db8::1"]
        );
    }

    #[test]
    fn times_of_nothing_are_nothing() {
        assert_eq!(times(&[]), None);
        assert_eq!(
            times(&[1.0, 3.0]).as_deref(),
            Some("rtt min/avg/max/mdev 1.000/2.000/3.000/1.000 ms")
        );
    }
}
