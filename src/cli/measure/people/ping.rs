//! `starling measure ping`.

use std::{fmt, net::IpAddr, time::Duration};

use clap::Parser;

use super::{Addresses, Form, Say, Talk, interval, is_ipv6};
use crate::measurement::{
    Body, Outcome, Seen,
    ping::{self, Item},
};

/// Requests of one run at most: those of the machine.
const MOST: u32 = 16_384;

/// Send ICMP echo requests and time the replies with the kernel's clock.
#[derive(Debug, Parser)]
#[command(
    name = "starling measure ping",
    max_term_width = 100,
    after_help = "Examples:\n  starling measure ping ping.example\n  starling measure ping -6 -c 10 -i 200ms ping.example\n  \
                  starling measure ping --count 0 192.0.2.1      until Ctrl-C\n\nExits with 0 if anything came back, with 1 if nothing did."
)]
pub(super) struct Ping {
    /// Host name or address.
    target: String,
    #[command(flatten)]
    addresses: Addresses,
    /// Requests to send; 0 goes on until Ctrl-C (or 16384 are sent).
    #[arg(short, long, default_value_t = 3, value_name = "N")]
    count: u32,
    /// Time from one request to the next, and how long each waits for its reply. 1ms to 60s; bare numbers are
    /// seconds, as in 0.2.
    #[arg(short, long, default_value = "1s", value_parser = interval, value_name = "DURATION")]
    interval: Duration,
    /// Octets of data after the ICMP header, 32 to 4068.
    #[arg(short, long, default_value_t = 56, value_name = "OCTETS")]
    size: u32,
    /// Send from this address or through this interface.
    #[arg(short = 'I', long, value_name = "ADDRESS|NAME")]
    interface: Option<String>,
    /// Say nothing about single requests, only the summary.
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    form: Form,
    #[arg(skip)]
    destination: Option<IpAddr>,
}

impl Talk for Ping {
    fn words(&self) -> Vec<String> {
        let count = match self.count {
            0 => MOST,
            count => count,
        };
        let mut words = vec![
            "evping".to_owned(),
            self.addresses.word(&self.target).to_owned(),
            format!("-c{count}"),
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

    fn turn(&mut self) -> bool {
        !is_ipv6(&self.target) && self.addresses.turn()
    }

    fn begun(&mut self, to: IpAddr, from: IpAddr, say: &mut Say) {
        self.destination = Some(to);
        let size = self.size.clamp(32, 4068);
        say.line(format!(
            "PING {} ({to}) from {from}: {size} octets of data",
            self.target
        ));
    }

    fn seen(&mut self, seen: &Seen, say: &mut Say) {
        let Seen::Ping(seen) = seen else { return };
        if self.quiet {
            return;
        }
        match seen {
            // Said already.
            ping::Seen::Started { .. } => {}
            ping::Seen::Reply {
                request,
                rtt_ms,
                size,
                ttl,
                duplicate,
            } => {
                let from = self
                    .destination
                    .map_or_else(String::new, |to| format!(" from {to}"));
                let ttl = ttl.map_or_else(String::new, |ttl| format!(" ttl={ttl}"));
                let again = if *duplicate { " (again or late)" } else { "" };
                // With the ICMP header, as everybody counts.
                let size = size + 8;
                say.line(format!(
                    "{size} octets{from}: icmp_seq={request}{ttl} time={rtt_ms:.3} ms{again}"
                ));
            }
            ping::Seen::Lost { request } => {
                let text = format!(
                    "icmp_seq={request} no reply within {} ms",
                    self.interval.as_millis()
                );
                say.line(say.style.bad(&text));
            }
            ping::Seen::Error(text) => say.line(say.style.bad(text)),
        }
    }

    fn summary(&self, outcome: &Outcome, say: &mut Say) {
        for body in &outcome.bodies {
            let Body::Ping(body) = body else { continue };
            let tally = Tally::of(&body.items);
            let line = format!("--- {}: {tally}", self.target);
            say.line(if tally.is_good() {
                say.style.good(&line)
            } else {
                say.style.bad(&line)
            });
            if let Some(times) = times(&tally.rtts) {
                say.line(format!("    {times}"));
            }
        }
    }
}

/// What became of all requests.
#[derive(Debug, Default)]
struct Tally {
    /// Milliseconds.
    rtts: Vec<f64>,
    lost: usize,
    errors: usize,
    duplicates: usize,
}

impl Tally {
    fn of(items: &[Item]) -> Self {
        let mut tally = Self::default();
        for item in items {
            match item {
                Item::Reply(reply) if reply.duplicate => tally.duplicates += 1,
                Item::Reply(reply) => tally.rtts.push(reply.rtt_ms),
                Item::Lost => tally.lost += 1,
                Item::Error(_) => tally.errors += 1,
            }
        }
        tally
    }

    const fn sent(&self) -> usize {
        self.rtts.len() + self.lost
    }

    const fn is_good(&self) -> bool {
        self.lost == 0 && self.errors == 0 && !self.rtts.is_empty()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} sent, {} answered", self.sent(), self.rtts.len())?;
        if let Some(percent) = (100 * self.lost).checked_div(self.sent()) {
            write!(f, ", {} lost ({percent}%)", self.lost)?;
        }
        for (count, what) in [(self.errors, "failed"), (self.duplicates, "again or late")] {
            if count > 0 {
                write!(f, ", {count} {what}")?;
            }
        }
        Ok(())
    }
}

/// Least, mean, most and standard deviation of round-trip times in milliseconds.
fn times(rtts: &[f64]) -> Option<String> {
    #[expect(clippy::cast_precision_loss, reason = "a run has few replies")]
    let count = rtts.len() as f64;
    let least = rtts.iter().copied().reduce(f64::min)?;
    let most = rtts.iter().copied().reduce(f64::max)?;
    let mean = rtts.iter().sum::<f64>() / count;
    let variance = rtts.iter().map(|rtt| (rtt - mean).powi(2)).sum::<f64>() / count;
    let deviation = variance.sqrt();
    Some(format!(
        "rtt min/avg/max/mdev = {least:.3}/{mean:.3}/{most:.3}/{deviation:.3} ms"
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
    fn bare_numbers_are_seconds_and_a_count_of_zero_goes_on() {
        let ping = Ping::parse_from(["ping", "-c0", "-i", "0.2", "-I", "lo", "h"]);
        assert_eq!(
            ping.words(),
            [
                "evping", "-4", "-c16384", "-i200", "-s56", "-I", "lo", "--", "h"
            ]
        );
    }

    #[test]
    fn a_name_without_ipv4_is_tried_with_ipv6_once() {
        let mut ping = Ping::parse_from(["ping", "h"]);
        assert!(ping.turn());
        assert_eq!(ping.words()[1], "-6");
        assert!(!ping.turn());
        assert!(!Ping::parse_from(["ping", "-4", "h"]).turn());
    }

    #[test]
    fn times_of_nothing_are_nothing() {
        assert_eq!(times(&[]), None);
        assert_eq!(
            times(&[1.0, 3.0]).as_deref(),
            Some("rtt min/avg/max/mdev = 1.000/2.000/3.000/1.000 ms")
        );
    }
}
