//! `starling measure ping`.

use std::{collections::BTreeSet, fmt, net::IpAddr, time::Duration};

use clap::Parser;

use super::{Addresses, Form, Say, Talk, end, interval};
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
    #[arg(short, long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u32).range(..=i64::from(MOST)))]
    count: u32,
    /// Time from one request to the next, and how long each waits for its reply. 1ms to 60s; bare numbers are
    /// seconds, as in 0.2.
    #[arg(short, long, default_value = "1s", value_parser = interval, value_name = "DURATION")]
    interval: Duration,
    /// Octets of data after the ICMP header, 32 to 4048.
    #[arg(short, long, default_value_t = 56, value_name = "OCTETS", value_parser = clap::value_parser!(u32).range(32..=4048))]
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
    /// Requests that left.
    #[arg(skip)]
    sent: usize,
    /// The last request was answered.
    #[arg(skip)]
    complete: bool,
    /// Requests that were given up and are not answered since.
    #[arg(skip)]
    lost: BTreeSet<u32>,
    /// Those that were answered after that.
    #[arg(skip)]
    late: usize,
}

impl Ping {
    /// Requests to send.
    const fn requests(&self) -> u32 {
        match self.count {
            0 => MOST,
            count => count,
        }
    }
}

impl Talk for Ping {
    fn check(&self) -> Result<(), String> {
        self.addresses.check(&self.target)
    }

    fn words(&self) -> Vec<String> {
        let count = self.requests();
        let mut words = vec![
            "evping".to_owned(),
            self.addresses.word(&self.target).to_owned(),
            format!("-c{count}"),
            format!("-i{}", self.interval.as_millis()),
            format!("-s{}", self.size),
        ];
        end(&mut words, "-I", self.interface.as_deref(), &self.target);
        words
    }

    fn form(&self) -> Form {
        self.form
    }

    fn turn(&mut self) -> bool {
        self.addresses.turn(&self.target)
    }

    fn begun(&mut self, to: IpAddr, from: IpAddr, say: &mut Say) {
        self.destination = Some(to);
        say.line(format!(
            "PING {} ({to}) from {from}: {} octets of data",
            self.target, self.size
        ));
    }

    fn sent(&mut self) {
        self.sent += 1;
    }

    fn is_complete(&self) -> bool {
        self.complete
    }

    fn advice(&self) -> Option<String> {
        if self.late > 0 {
            return Some(format!(
                "replies come after more than {} ms: wait longer with --interval",
                self.interval.as_millis()
            ));
        }
        (!self.lost.is_empty()).then(|| {
            format!(
                "no reply: how far packets get shows `starling measure traceroute --icmp {}`",
                self.target
            )
        })
    }

    fn seen(&mut self, seen: &Seen, say: &mut Say) {
        let Seen::Ping(seen) = seen else { return };
        let mut is_late = false;
        match seen {
            ping::Seen::Reply {
                request,
                duplicate: false,
                ..
            } => {
                self.lost.remove(request);
                self.complete |= *request == self.requests();
            }
            ping::Seen::Reply { request, .. } => {
                is_late = self.lost.remove(request);
                self.late += usize::from(is_late);
            }
            ping::Seen::Lost { request } => {
                self.lost.insert(*request);
            }
            _ => {}
        }
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
                let again = match (is_late, duplicate) {
                    (true, _) => " (late)",
                    (false, true) => " (again)",
                    (false, false) => "",
                };
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
            let tally = Tally::of(&body.items, self.sent, self.late);
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
    /// Lost ones that were answered later.
    late: usize,
    duplicates: usize,
    /// Sent when the run was interrupted, and neither answered nor lost yet.
    awaited: usize,
}

impl Tally {
    /// `sent`: requests that left; `late`: those among the lost that were answered later.
    fn of(items: &[Item], sent: usize, late: usize) -> Self {
        let mut tally = Self::default();
        for item in items {
            match item {
                Item::Reply(reply) if reply.duplicate => tally.duplicates += 1,
                Item::Reply(reply) => tally.rtts.push(reply.rtt_ms),
                Item::Lost => tally.lost += 1,
                Item::Error(_) => tally.errors += 1,
            }
        }
        tally.awaited = sent.saturating_sub(tally.rtts.len() + tally.lost);
        tally.late = late;
        tally.duplicates = tally.duplicates.saturating_sub(late);
        tally
    }

    const fn sent(&self) -> usize {
        self.rtts.len() + self.lost + self.awaited
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
        for (count, what) in [
            (self.late, "of them late"),
            (self.awaited, "still awaited"),
            (self.errors, "failed"),
            (self.duplicates, "again"),
        ] {
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
    fn the_reply_to_the_last_request_completes_the_run() {
        let mut ping = Ping::parse_from(["ping", "-c2", "-q", "h"]);
        let mut say = Say::default();
        for (request, duplicate, complete) in
            [(1, false, false), (2, true, false), (2, false, true)]
        {
            let reply = ping::Seen::Reply {
                request,
                rtt_ms: 1.0,
                size: 56,
                ttl: None,
                duplicate,
            };
            ping.seen(&Seen::Ping(reply), &mut say);
            assert_eq!(ping.is_complete(), complete);
        }
    }

    #[test]
    fn what_comes_late_is_told_from_what_comes_again() {
        let mut ping = Ping::parse_from(["ping", "-c2", "-i", "200ms", "h"]);
        let mut say = Say::default();
        let reply = |request, duplicate| ping::Seen::Reply {
            request,
            rtt_ms: 300.0,
            size: 56,
            ttl: None,
            duplicate,
        };
        for seen in [
            ping::Seen::Lost { request: 1 },
            reply(1, true),
            reply(1, true),
        ] {
            ping.seen(&Seen::Ping(seen), &mut say);
        }
        let text = say.text();
        let lines: Vec<&str> = text.lines().collect();
        assert!(
            lines[1].ends_with("icmp_seq=1 time=300.000 ms (late)"),
            "{text}"
        );
        assert!(
            lines[2].ends_with("icmp_seq=1 time=300.000 ms (again)"),
            "{text}"
        );
        assert!(ping.advice().unwrap().contains("--interval"));
        let again = Item::Reply(ping::Reply {
            duplicate: true,
            ..ping::Reply::in_time(300.0)
        });
        assert_eq!(
            Tally::of(&[Item::Lost, again.clone(), again], 1, ping.late).to_string(),
            "1 sent, 0 answered, 1 lost (100%), 1 of them late, 1 again"
        );
    }

    #[test]
    fn what_was_not_answered_when_interrupted_is_neither_lost_nor_forgotten() {
        let items = [Item::Reply(ping::Reply::in_time(1.0)), Item::Lost];
        assert_eq!(
            Tally::of(&items, 3, 0).to_string(),
            "3 sent, 1 answered, 1 lost (33%), 1 still awaited"
        );
        assert_eq!(
            Tally::of(&[Item::Error("no".to_owned())], 0, 0).to_string(),
            "0 sent, 0 answered, 1 failed"
        );
    }

    #[test]
    fn sizes_and_counts_that_would_be_changed_silently_are_refused() {
        assert!(Ping::try_parse_from(["ping", "-c", "16385", "h"]).is_err());
        assert!(Ping::try_parse_from(["ping", "-c", "16384", "h"]).is_ok());
        for size in ["31", "4049", "x"] {
            assert!(Ping::try_parse_from(["ping", "-s", size, "h"]).is_err());
        }
        assert!(Ping::try_parse_from(["ping", "-s", "4048", "h"]).is_ok());
    }

    #[test]
    fn a_target_that_cannot_be_in_the_family_is_refused() {
        for (line, culprit) in [
            ("ping -4 2001:db8::1", "leave -4 away"),
            ("ping -6 192.0.2.1", "leave -6 away"),
            ("ping ::ffff:192.0.2.1", "write 192.0.2.1"),
            ("ping 0", "127.0.0.1"),
            ("ping http://192.0.2.1/", "nothing else"),
            ("ping h.example:80", "nothing else"),
            ("ping [2001:db8::1]", "nothing else"),
            ("ping ::", "::1"),
        ] {
            let refusal = Ping::parse_from(line.split(' ')).check().unwrap_err();
            assert!(refusal.contains(culprit), "{refusal}");
        }
        assert!(Ping::parse_from(["ping", " "]).check().is_err());
        for target in [
            "h",
            "2001:db8::1",
            "fe80::1%eth0",
            "a_b.example.",
            "xn--9ca.example",
        ] {
            assert_eq!(Ping::parse_from(["ping", "-6", target]).check(), Ok(()));
        }
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
