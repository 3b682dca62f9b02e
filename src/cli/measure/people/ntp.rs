//! `starling measure ntp`.

use std::{net::IpAddr, time::Duration};

use clap::Parser;

use super::{Addresses, Form, Say, Talk, end, interval};
use crate::measurement::{
    Body, Outcome, Seen,
    ntp::{Body as Found, Item, Outcome as Result, Reply},
};

/// Ask a time server for its time and compare it with this clock.
#[derive(Debug, Parser)]
#[command(
    name = "starling measure ntp",
    max_term_width = 100,
    after_help = "The offset is positive if the server's clock is ahead of this one. The delay is the round trip without \
                  the server's own time; the offset cannot be wrong by more than half of it.\n\nExamples:\n  starling \
                  measure ntp time.example\n  starling measure ntp -6 --count 8 time.example\n\nExits with 0 if the \
                  server answered, with 1 if it did not."
)]
pub(super) struct Ntp {
    /// Host name or address of the server.
    target: String,
    #[command(flatten)]
    addresses: Addresses,
    /// Requests to send.
    #[arg(short, long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u8).range(1..))]
    count: u8,
    /// How long to wait for each reply, up to 60s. Bare numbers are seconds.
    #[arg(short, long, default_value = "1s", value_parser = interval, value_name = "DURATION")]
    wait: Duration,
    /// Put an extension field of so many octets behind each request: 0, or 28 to 1184 in steps of 4.
    #[arg(short, long, default_value_t = 0, value_name = "OCTETS", value_parser = extension)]
    size: u16,
    /// Send from this address or through this interface.
    #[arg(short = 'I', long, value_name = "ADDRESS|NAME")]
    interface: Option<String>,
    #[command(flatten)]
    form: Form,
    /// Whether anything failed, which is said at once.
    #[arg(skip)]
    told: bool,
    /// Requests that left.
    #[arg(skip)]
    sent: usize,
    /// Requests that were given up.
    #[arg(skip)]
    lost: usize,
}

fn extension(text: &str) -> std::result::Result<u16, String> {
    match text.parse::<u16>() {
        Ok(size) if size == 0 || ((28..=1184).contains(&size) && size.is_multiple_of(4)) => {
            Ok(size)
        }
        _ => Err("write 0, or 28 to 1184 in steps of 4 (RFC 7822)".to_owned()),
    }
}

impl Talk for Ntp {
    fn check(&self) -> std::result::Result<(), String> {
        self.addresses.check(&self.target)
    }

    fn words(&self) -> Vec<String> {
        let mut words = vec![
            "evntp".to_owned(),
            self.addresses.word(&self.target).to_owned(),
            format!("-c{}", self.count),
            format!("-w{}", self.wait.as_millis()),
        ];
        if self.size != 0 {
            words.push(format!("-s{}", self.size));
        }
        end(&mut words, "-i", self.interface.as_deref(), &self.target);
        words
    }

    fn form(&self) -> Form {
        self.form
    }

    fn turn(&mut self) -> bool {
        self.addresses.turn(&self.target)
    }

    fn begun(&mut self, to: IpAddr, from: IpAddr, say: &mut Say) {
        say.line(format!("NTP {} ({to}) from {from}", self.target));
    }

    fn sent(&mut self) {
        self.sent += 1;
    }

    fn advice(&self) -> Option<String> {
        (self.lost > 0).then(|| {
            format!(
                "no reply: how far packets get shows `starling measure traceroute {}`",
                self.target
            )
        })
    }

    fn seen(&mut self, seen: &Seen, say: &mut Say) {
        let Seen::Ntp(seen) = seen else { return };
        let request = seen.request;
        self.told = true;
        match &seen.item {
            Item::Lost => {
                self.lost += 1;
                let wait = self.wait.as_millis();
                let text = format!("request={request} no reply within {wait} ms");
                say.line(say.style.bad(&text));
            }
            Item::Failed(why) => say.line(say.style.bad(&format!("request={request} {why}"))),
            // Without a time there is nothing to compare.
            Item::Reply(reply) if reply.packet.stratum == 0 => {
                let why = refusal(reply.packet.reference_id);
                say.line(say.style.bad(&format!("request={request} {why}")));
            }
            Item::Reply(reply) => say.line(format!(
                "request={request} offset={} delay={:.3} ms: server {}",
                signed(reply.offset),
                reply.rtt * 1e3,
                ahead_or_behind(reply.offset)
            )),
        }
    }

    fn summary(&self, outcome: &Outcome, say: &mut Say) {
        for body in &outcome.bodies {
            let Body::Ntp(body) = body else { continue };
            let items = match &body.outcome {
                Result::Failed(why) => {
                    let text = format!("--- {}: {why}", self.target);
                    say.line(say.style.bad(&text));
                    continue;
                }
                Result::Items(items) => items,
            };
            let replies: Vec<&Reply> = items
                .iter()
                .filter_map(|item| match item {
                    Item::Reply(reply) => Some(reply),
                    _ => None,
                })
                .collect();
            let asked = self.sent.max(items.len());
            let mut tally = format!(
                "--- {}: {asked} asked, {} answered",
                self.target,
                replies.len()
            );
            if asked > items.len() {
                tally += &format!(", {} still awaited", asked - items.len());
            }
            say.line(if replies.len() == asked && asked > 0 {
                say.style.good(&tally)
            } else {
                say.style.bad(&tally)
            });
            for line in server(body) {
                say.line(format!("    {line}"));
            }
            if let Some(best) = best(&replies) {
                let text = format!(
                    "    offset {} ± {:.6} s (least delay): the server's clock is {}",
                    signed(best.offset),
                    best.rtt.abs() / 2.0,
                    ahead_or_behind(best.offset)
                );
                say.line(if is_synchronised(best) {
                    say.style.strong(&text)
                } else {
                    say.style.bad(&format!(
                        "{text}, but set by nothing: do not set others by it"
                    ))
                });
            }
            if !self.told {
                for item in items {
                    if let Item::Failed(why) = item {
                        say.line(format!("    {why}"));
                    }
                }
            }
        }
    }
}

/// The reply that can mislead least: that of the shortest way (RFC 5905 section 10).
fn best<'a>(replies: &[&'a Reply]) -> Option<&'a Reply> {
    let timed = replies.iter().filter(|reply| reply.packet.stratum != 0);
    timed.min_by(|a, b| a.rtt.total_cmp(&b.rtt)).copied()
}

/// Whether the server says that its clock is set by something (RFC 5905 section 7.3).
const fn is_synchronised(reply: &Reply) -> bool {
    reply.packet.leap != 3 && matches!(reply.packet.stratum, 1..=15)
}

/// An offset with its sign, to the microsecond; none is never negative.
fn signed(offset: f64) -> String {
    format!("{:+.6} s", if is_none(offset) { 0.0 } else { offset })
}

/// Whether an offset is less than what is printed.
fn is_none(offset: f64) -> bool {
    offset.abs() < 0.5e-6
}

fn ahead_or_behind(offset: f64) -> String {
    if is_none(offset) {
        return "in step with this one".to_owned();
    }
    let way = if offset > 0.0 { "ahead" } else { "behind" };
    format!("{} {way}", span(offset.abs()))
}

/// Seconds in the unit that reads best.
fn span(seconds: f64) -> String {
    match seconds {
        s if s < 1e-6 => format!("{:.0} ns", s * 1e9),
        s if s < 1e-3 => format!("{:.0} µs", s * 1e6),
        s if s < 1.0 => format!("{:.3} ms", s * 1e3),
        s if s < 120.0 => format!("{s:.3} s"),
        s if s < 7_200.0 => format!("{:.1} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.1} h", s / 3_600.0),
        s => format!("{:.1} days", s / 86_400.0),
    }
}

/// What the server says of itself.
fn server(body: &Found) -> Vec<String> {
    let Some(packet) = &body.server else {
        return Vec::new();
    };
    let stratum = match packet.stratum {
        0 => "stratum 0: no time given".to_owned(),
        1 => "stratum 1: has a reference clock".to_owned(),
        stratum @ 2..=15 => format!("stratum {stratum}"),
        16 => "stratum 16: not synchronised".to_owned(),
        other => format!("stratum {other}: not defined"),
    };
    let id = packet.reference_id;
    let reference = match packet.stratum {
        0 => refusal(id),
        1 => format!("reference {}", letters(id)),
        _ => format!(
            "reference {} (an address, or part of a hash of one)",
            IpAddr::from(id)
        ),
    };
    let leap = match packet.leap {
        0 => "no leap second announced",
        1 => "a leap second will be inserted",
        2 => "a leap second will be left out",
        _ => "its clock is not synchronised",
    };
    let precision = 2_f64.powi(packet.precision.into());
    vec![
        format!("{stratum}, {reference}, {leap}"),
        format!(
            "version {}, precision {}, root delay {}, root dispersion {}",
            packet.version,
            span(precision),
            span(packet.root_delay.as_f64()),
            span(packet.root_dispersion.as_f64())
        ),
    ]
}

/// What a server without a time says instead (RFC 5905 section 7.4).
fn refusal(code: [u8; 4]) -> String {
    let meaning = match &code {
        b"RATE" => " (asked too often)",
        b"DENY" | b"RSTR" => " (it does not serve this host)",
        b"INIT" | b"STEP" => " (its own clock is not set yet)",
        _ => "",
    };
    format!("refused with code {}{meaning}", letters(code))
}

/// The letters of a reference identifier; what is none comes from a stranger and is not shown as it is.
fn letters(id: [u8; 4]) -> String {
    let end = id.iter().position(|octet| *octet == 0).unwrap_or(4);
    let shown = id[..end].iter().map(|octet| match octet {
        b'!'..=b'~' => char::from(*octet),
        _ => '?',
    });
    shown.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_become_the_controllers_words() {
        let ntp = Ntp::parse_from("ntp -c 8 -w 500ms -s 28 -I lo h".split(' '));
        assert_eq!(ntp.words().join(" "), "evntp -4 -c8 -w500 -s28 -i lo -- h");
        assert!(Ntp::try_parse_from("ntp -s 27 h".split(' ')).is_err());
        assert!(Ntp::try_parse_from("ntp -c 0 h".split(' ')).is_err());
    }

    #[test]
    fn offsets_say_which_clock_is_ahead() {
        for (offset, text) in [
            (0.0, "in step with this one"),
            (-0.000_000_4, "in step with this one"),
            (0.000_012, "12 µs ahead"),
            (-0.001_5, "1.500 ms behind"),
            (3.25, "3.250 s ahead"),
            (-600.0, "10.0 min behind"),
            (-86_400.0 * 365.0, "365.0 days behind"),
        ] {
            assert_eq!(ahead_or_behind(offset), text);
        }
    }

    fn reply(stratum: u8, leap: u8, offset: f64) -> Reply {
        let packet = crate::wire::ntp::Ntp {
            stratum,
            leap,
            reference_id: *b"RATE",
            ..Default::default()
        };
        Reply {
            packet,
            origin: packet.origin,
            arrival: packet.origin,
            rtt: 0.02,
            offset,
        }
    }

    /// What is said of these replies to one request each, but for what the server says of itself.
    fn said(replies: &[Reply], sent: usize) -> Vec<String> {
        let mut ntp = Ntp::parse_from(["ntp", "h"]);
        let mut say = Say::default();
        (0..sent).for_each(|_| ntp.sent());
        for (index, reply) in replies.iter().enumerate() {
            let request = u8::try_from(index + 1).unwrap();
            let item = Item::Reply(*reply);
            ntp.seen(
                &Seen::Ntp(crate::measurement::ntp::Seen { request, item }),
                &mut say,
            );
        }
        let body = Found {
            when: Default::default(),
            target: "h".to_owned(),
            ttr: None,
            destination: None,
            source: None,
            family: crate::measurement::machine::Family::V4,
            server: None,
            outcome: Result::Items(replies.iter().copied().map(Item::Reply).collect()),
            zones: Default::default(),
        };
        let outcome = Outcome {
            bodies: vec![Body::Ntp(body)],
            carry: crate::measurement::Carry::Nothing,
            answered: true,
        };
        ntp.summary(&outcome, &mut say);
        say.text().lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_refusal_is_told_instead_of_an_offset() {
        assert_eq!(
            said(&[reply(0, 3, -1.5e9)], 2),
            [
                "request=1 refused with code RATE (asked too often)",
                "--- h: 2 asked, 1 answered, 1 still awaited",
            ]
        );
    }

    #[test]
    fn the_time_of_a_server_that_is_not_synchronised_is_not_recommended() {
        for (stratum, leap) in [(16, 0), (2, 3)] {
            let lines = said(&[reply(stratum, leap, -0.000_000_1)], 1);
            assert_eq!(
                lines[2],
                "    offset +0.000000 s ± 0.010000 s (least delay): the server's clock is in step with this one, but set \
                 by nothing: do not set others by it"
            );
        }
        assert!(!said(&[reply(2, 0, 1.0)], 1)[2].contains("set others"));
    }

    #[test]
    fn letters_of_strangers_are_not_trusted() {
        assert_eq!(letters(*b"GPS\0"), "GPS");
        assert_eq!(letters(*b"\x1b[2J"), "?[2J");
    }
}
