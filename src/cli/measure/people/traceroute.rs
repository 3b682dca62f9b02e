//! `starling measure traceroute`.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use clap::Parser;

use super::{Addresses, Form, Say, Talk, end, interval};
use crate::{
    measurement::{
        Body, Outcome, Seen,
        traceroute::{Answer, Code, Detail, HopOutcome, Item, Outcome as Trace},
    },
    wire::icmp::Object,
};

/// Find the routers on the way to a host, and how long they take to answer.
#[derive(Debug, Parser)]
#[command(
    name = "starling measure traceroute",
    max_term_width = 100,
    after_help = "Each line is a hop: its number, who answered, a time for each probe, `*` for each probe without an \
                  answer. Behind a time may stand:\n  !N !H !P !p !A !<n>  the destination is unreachable; the \
                  summary says how\n  !F-1400              the next link takes 1400 octets\n  \
                  <MPLS:L=…>           the label that the probe travelled under\n  <syn,ack>            the answer \
                  is a TCP segment with these flags\n  (again) (late 2)     a second answer, or one to the probe two \
                  before\n  ittl=5               the hop limit that the probe still had, if not 1\n  (sent on to …)       where \
                  the probe was going, if not to the target any more\n\nExamples:\n  starling measure traceroute host.example\n  starling measure traceroute \
                  --tcp --port 443 --names host.example\n  starling measure traceroute -6 --icmp --queries 1 \
                  --max-hops 20 host.example\n\nExits with 0 if the target answered, with 1 if it did not."
)]
pub(super) struct Traceroute {
    /// Host name or address.
    target: String,
    #[command(flatten)]
    addresses: Addresses,
    #[command(flatten)]
    protocol: Protocol,
    /// Destination port of TCP probes.
    #[arg(
        short,
        long,
        requires = "tcp",
        default_value_t = 80,
        value_name = "PORT"
    )]
    port: u16,
    /// Begin with this hop.
    #[arg(short, long, default_value_t = 1, value_name = "HOP", value_parser = clap::value_parser!(u8).range(1..))]
    first_hop: u8,
    /// End with this hop.
    #[arg(short, long, default_value_t = 32, value_name = "HOP", value_parser = clap::value_parser!(u8).range(1..))]
    max_hops: u8,
    /// After so many hops without an answer, try hop 255 and end.
    #[arg(short, long, default_value_t = 5, value_name = "HOPS", value_parser = clap::value_parser!(u8).range(1..))]
    gap: u8,
    /// Probes for each hop.
    #[arg(short, long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u8).range(1..))]
    queries: u8,
    /// How long to wait for an answer, up to 60s. Bare numbers are seconds.
    #[arg(short, long, default_value = "1s", value_parser = interval, value_name = "DURATION")]
    wait: Duration,
    /// Octets of data in each probe, up to 4096.
    #[arg(short, long, default_value_t = 40, value_name = "OCTETS", value_parser = clap::value_parser!(u16).range(..=4096))]
    size: u16,
    /// Send all probes along one path through load balancers; another number may take another path. 0 lets each
    /// probe go its own way.
    #[arg(long, default_value_t = 1, value_name = "N")]
    paris: u8,
    /// Probes must not be fragmented: finds the largest packet that the way takes.
    #[arg(short = 'F', long)]
    dont_fragment: bool,
    /// Type of service or traffic class of probes, for example 184 or 0xb8.
    #[arg(short, long, default_value = "0", value_name = "OCTET", value_parser = octet)]
    tos: u8,
    /// Send from this address or through this interface.
    #[arg(short, long, value_name = "ADDRESS|NAME")]
    interface: Option<String>,
    /// Look up the names of the addresses that answer. Probes do not wait for names.
    #[arg(long, conflicts_with_all = ["json", "result"])]
    names: bool,
    #[command(flatten)]
    form: Form,
    #[arg(skip)]
    hop: Option<u8>,
    #[arg(skip)]
    last: Option<IpAddr>,
}

/// What probes are.
#[derive(clap::Args, Clone, Copy, Debug)]
struct Protocol {
    /// Send UDP datagrams to unlikely ports (the default).
    #[arg(short = 'U', long, group = "protocol")]
    udp: bool,
    /// Send ICMP echo requests.
    #[arg(short = 'I', long, group = "protocol")]
    icmp: bool,
    /// Send TCP SYN segments.
    #[arg(short = 'T', long, group = "protocol")]
    tcp: bool,
}

impl Protocol {
    const fn word(self) -> &'static str {
        match (self.icmp, self.tcp) {
            (true, _) => "-I",
            (_, true) => "-T",
            _ => "-U",
        }
    }

    const fn name(self) -> &'static str {
        match (self.icmp, self.tcp) {
            (true, _) => "ICMP",
            (_, true) => "TCP",
            _ => "UDP",
        }
    }
}

fn octet(text: &str) -> Result<u8, String> {
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => u8::from_str_radix(digits, 16),
        None => text.parse(),
    };
    parsed.map_err(|_| "write 0 to 255 or 0x00 to 0xff".to_owned())
}

impl Talk for Traceroute {
    fn check(&self) -> Result<(), String> {
        if self.first_hop > self.max_hops {
            return Err(format!(
                "--first-hop {} lies beyond --max-hops {}",
                self.first_hop, self.max_hops
            ));
        }
        self.addresses.check(&self.target)
    }

    fn words(&self) -> Vec<String> {
        let mut words = vec![
            "evtraceroute".to_owned(),
            self.addresses.word(&self.target).to_owned(),
            self.protocol.word().to_owned(),
            format!("-c{}", self.queries),
            format!("-f{}", self.first_hop),
            format!("-m{}", self.max_hops),
            format!("-g{}", self.gap),
            format!("-w{}", self.wait.as_millis()),
            format!("-S{}", self.size),
        ];
        // One path of one is always the same.
        words.extend(match self.paris {
            0 => vec!["-a0".to_owned()],
            path => vec!["-a1".to_owned(), format!("-b{path}")],
        });
        if self.protocol.tcp {
            words.push(format!("-p{}", self.port));
        }
        if self.dont_fragment {
            words.push("-F".to_owned());
        }
        if self.tos != 0 {
            words.push(format!("-t{}", self.tos));
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

    fn missing(&self) -> Option<&'static str> {
        (!self.protocol.tcp)
            .then_some("what the kernel keeps to itself is left out, such as MPLS labels")
    }

    fn begun(&mut self, to: IpAddr, from: IpAddr, say: &mut Say) {
        let port = if self.protocol.tcp {
            format!(" port {}", self.port)
        } else {
            String::new()
        };
        say.line(format!(
            "traceroute to {} ({to}) from {from}: {}{port}, up to {} hops, {} octets of data",
            self.target,
            self.protocol.name(),
            self.max_hops,
            self.size
        ));
    }

    fn seen(&mut self, seen: &Seen, say: &mut Say) {
        let Seen::Traceroute(seen) = seen else { return };
        if self.hop != Some(seen.hop) {
            (self.hop, self.last) = (Some(seen.hop), None);
            say.open(say.style.strong(&format!("{:>3} ", seen.hop)));
        }
        match &seen.item {
            Item::Lost => say.word(say.style.bad("*")),
            Item::Empty => say.word("?"),
            Item::Failed(why) => say.word(say.style.bad(why)),
            Item::Answer(answer) => {
                if self.last != Some(answer.from) {
                    self.last = Some(answer.from);
                    say.word(answer.from.to_string());
                    if self.names {
                        say.name(answer.from);
                    }
                }
                for word in words_of(answer) {
                    say.word(word);
                }
            }
        }
    }

    fn summary(&self, outcome: &Outcome, say: &mut Say) {
        for body in &outcome.bodies {
            let Body::Traceroute(body) = body else {
                continue;
            };
            let way = Way::of(&body.outcome);
            let text = way.text(body.destination);
            let line = format!("--- {}: {text}", self.target);
            say.line(if outcome.answered {
                say.style.good(&line)
            } else {
                say.style.bad(&line)
            });
            for (flag, meaning) in way.flags {
                say.line(format!("    {flag} {meaning}"));
            }
        }
    }
}

/// What stands behind the address.
fn words_of(answer: &Answer) -> Vec<String> {
    let mut words = Vec::new();
    words.extend(answer.rtt.map(|rtt| format!("{rtt:.3} ms")));
    match &answer.detail {
        Detail::Error(error) => {
            words.extend(flag(error.code));
            words.extend(error.quoted_ttl.map(|ttl| format!("ittl={ttl}")));
            words.extend(
                error
                    .quoted_destination
                    .map(|to| format!("(sent on to {to})")),
            );
            let labels = error.extensions.iter().flat_map(|all| &all.objects);
            for label in labels.filter_map(Object::labels).flatten() {
                words.push(format!(
                    "<MPLS:L={},E={},S={},T={}>",
                    label.label,
                    label.experimental,
                    u8::from(label.bottom),
                    label.ttl
                ));
            }
        }
        Detail::Echo { .. } => {}
        Detail::Segment(segment) => {
            let names = ["fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr"];
            let set = (0..8).filter(|bit| segment.flags >> bit & 1 == 1);
            let set: Vec<&str> = set.map(|bit| names[bit]).collect();
            words.push(format!("<{}>", set.join(",")));
        }
    }
    if answer.duplicate {
        words.push("(again)".to_owned());
    }
    words.extend(answer.late.map(|by| format!("(late {by})")));
    words
}

/// The sign of an ICMP error other than time exceeded.
fn flag(code: Code) -> Option<String> {
    match code {
        Code::None => None,
        Code::Letter(letter) => Some(format!("!{letter}")),
        Code::Number(code) => Some(format!("!<{code}>")),
        Code::Mtu(mtu) => Some(format!("!F-{mtu}")),
    }
}

/// What a sign means.
fn meaning(code: Code, v6: bool) -> String {
    match (code, v6) {
        (Code::Letter('N'), false) => "network unreachable".to_owned(),
        (Code::Letter('N'), true) => "no route to the destination".to_owned(),
        (Code::Letter('H'), false) => "host unreachable".to_owned(),
        (Code::Letter('H'), true) => "address unreachable".to_owned(),
        (Code::Letter('h'), _) => "beyond the scope of the source address".to_owned(),
        (Code::Letter('P'), _) => "protocol unreachable".to_owned(),
        (Code::Letter('p'), _) => "port unreachable".to_owned(),
        (Code::Letter('A'), _) => "administratively prohibited".to_owned(),
        (Code::Mtu(mtu), _) => format!("the next link takes {mtu} octets"),
        (Code::Letter(other), _) => format!("unreachable ({other})"),
        (Code::Number(code), _) => format!("unreachable, ICMP code {code}"),
        (Code::None, _) => String::new(),
    }
}

/// How far it went.
#[derive(Debug, Default)]
struct Way {
    failed: Option<String>,
    /// Hops that were probed.
    hops: usize,
    probes: usize,
    lost: usize,
    /// Every answer in order: the hop and who.
    answers: Vec<(u8, IpAddr, bool)>,
    /// The signs seen, and what they mean.
    flags: BTreeMap<String, String>,
}

impl Way {
    fn of(outcome: &Trace) -> Self {
        let mut way = Self::default();
        let hops = match outcome {
            Trace::Failed(why) => {
                way.failed = Some(why.clone());
                return way;
            }
            Trace::Hops(hops) => hops,
        };
        way.hops = hops.len();
        for hop in hops {
            match &hop.outcome {
                HopOutcome::Failed(why) => way.failed = Some(why.clone()),
                HopOutcome::Items(items) => {
                    for item in items {
                        way.take(hop.hop, item);
                    }
                }
            }
        }
        way
    }

    fn take(&mut self, hop: u8, item: &Item) {
        match item {
            Item::Lost => {
                self.lost += 1;
                self.probes += 1;
            }
            Item::Empty => {}
            Item::Failed(_) => self.probes += 1,
            Item::Answer(answer) => {
                self.probes += usize::from(!answer.duplicate && answer.late.is_none());
                let is_end = match &answer.detail {
                    Detail::Echo { .. } | Detail::Segment(_) => true,
                    Detail::Error(error) => {
                        if let Some(flag) = flag(error.code) {
                            let meaning = meaning(error.code, answer.from.is_ipv6());
                            self.flags.insert(flag, meaning);
                        }
                        false
                    }
                };
                self.answers.push((hop, answer.from, is_end));
            }
        }
    }

    fn text(&self, destination: Option<IpAddr>) -> String {
        if let Some(why) = &self.failed {
            return why.clone();
        }
        let reached = self
            .answers
            .iter()
            .find(|(_, from, is_end)| *is_end || Some(*from) == destination);
        let how_far = match (reached, self.answers.iter().max_by_key(|(hop, ..)| *hop)) {
            (Some((1, ..)), _) => "reached at the first hop".to_owned(),
            (Some((hop, ..)), _) => format!("reached at hop {hop}"),
            (None, Some((hop, from, _))) => {
                format!("not reached; hop {hop}, {from}, was the last to answer")
            }
            (None, None) => "not reached; nobody answered".to_owned(),
        };
        let probes = match self.probes {
            1 => "1 probe".to_owned(),
            probes => format!("{probes} probes"),
        };
        format!("{how_far}; {probes}, {} without an answer", self.lost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measurement::traceroute;

    #[test]
    fn options_become_the_controllers_words() {
        let trace = Traceroute::parse_from(["traceroute", "h"]);
        let words = trace.words().join(" ");
        assert_eq!(
            words,
            "evtraceroute -4 -U -c3 -f1 -m32 -g5 -w1000 -S40 -a1 -b1 -- h"
        );
        let line =
            "traceroute -6 --tcp --port 443 -q1 -f2 -m9 -w 0.25 --paris 0 -F -t 0xb8 -i eth0 h";
        let trace = Traceroute::parse_from(line.split(' '));
        let words = trace.words().join(" ");
        assert_eq!(
            words,
            "evtraceroute -6 -T -c1 -f2 -m9 -g5 -w250 -S40 -a0 -p443 -F -t184 -i eth0 -- h"
        );
    }

    #[test]
    fn options_that_cannot_be_are_refused() {
        for line in [
            "traceroute --icmp --tcp h",
            "traceroute --port 80 h",
            "traceroute -f 0 h",
            "traceroute -m 256 h",
            "traceroute -w 2m h",
            "traceroute -t 256 h",
            "traceroute --names --json h",
            "traceroute",
        ] {
            assert!(
                Traceroute::try_parse_from(line.split(' ')).is_err(),
                "{line}"
            );
        }
    }

    #[test]
    fn a_first_hop_beyond_the_last_one_is_refused() {
        let refused = |line: &str| Traceroute::parse_from(line.split(' ')).check().is_err();
        assert!(refused("traceroute -f 9 -m 3 h"));
        assert!(refused("traceroute -f 33 h"));
        assert!(!refused("traceroute -f 32 h"));
        assert!(refused("traceroute -4 ::1"));
    }

    fn answer(from: &str, rtt: f64, detail: Detail) -> Answer {
        Answer {
            late: None,
            duplicate: false,
            from: from.parse().unwrap(),
            ttl: Some(64),
            size: Some(28),
            rtt: Some(rtt),
            detail,
        }
    }

    fn error(code: Code) -> Detail {
        Detail::Error(traceroute::IcmpError {
            spaced: false,
            quoted_ttl: None,
            quoted_tos: None,
            quoted_destination: None,
            hop_by_hop: 0,
            destination_options: 0,
            code,
            extensions: None,
        })
    }

    fn said(items: &[(u8, Item)]) -> String {
        let mut trace = Traceroute::parse_from(["traceroute", "h"]);
        let mut say = Say::default();
        for (hop, item) in items {
            let seen = traceroute::Seen {
                hop: *hop,
                item: item.clone(),
            };
            trace.seen(&Seen::Traceroute(seen), &mut say);
        }
        say.text()
    }

    #[test]
    fn a_hop_is_a_line_and_an_address_stands_once_until_another_answers() {
        let router = |rtt| Item::Answer(answer("192.0.2.1", rtt, error(Code::None)));
        let other = Item::Answer(answer("192.0.2.2", 2.0, error(Code::Letter('H'))));
        assert_eq!(
            said(&[
                (1, router(1.0)),
                (1, router(1.5)),
                (1, Item::Lost),
                (2, Item::Lost),
                (2, other),
                (2, router(3.0)),
            ]),
            "  1  192.0.2.1 1.000 ms 1.500 ms *\n  2  * 192.0.2.2 2.000 ms !H 192.0.2.1 3.000 ms\n"
        );
    }

    #[test]
    fn segments_tell_their_flags_and_duplicates_what_they_are() {
        let mut segment = answer(
            "192.0.2.9",
            1.0,
            Detail::Segment(traceroute::Segment {
                tos: None,
                flags: 0x12,
                options: None,
            }),
        );
        segment.duplicate = true;
        assert_eq!(
            said(&[(7, Item::Answer(segment))]),
            "  7  192.0.2.9 1.000 ms <syn,ack> (again)\n"
        );
    }

    #[test]
    fn the_summary_says_how_far_it_went() {
        let hops = |hops: Vec<(u8, Item)>| {
            Trace::Hops(
                hops.into_iter()
                    .map(|(hop, item)| traceroute::Hop {
                        hop,
                        outcome: HopOutcome::Items(vec![item]),
                    })
                    .collect(),
            )
        };
        let target: IpAddr = "192.0.2.9".parse().unwrap();
        let router = || Item::Answer(answer("192.0.2.1", 1.0, error(Code::None)));
        let end = Item::Answer(answer("192.0.2.9", 1.0, error(Code::None)));
        let prohibited = Item::Answer(answer("192.0.2.1", 1.0, error(Code::Letter('A'))));
        for (found, text) in [
            (
                hops(vec![(1, router()), (2, end)]),
                "reached at hop 2; 2 probes, 0 without an answer",
            ),
            (
                hops(vec![(1, router()), (2, Item::Lost)]),
                "not reached; hop 1, 192.0.2.1, was the last to answer; 2 probes, 1 without an answer",
            ),
            (
                hops(vec![(1, Item::Lost)]),
                "not reached; nobody answered; 1 probe, 1 without an answer",
            ),
            (
                Trace::Failed("address not allowed".to_owned()),
                "address not allowed",
            ),
        ] {
            assert_eq!(Way::of(&found).text(Some(target)), text);
        }
        let way = Way::of(&hops(vec![(1, prohibited)]));
        assert_eq!(way.flags["!A"], "administratively prohibited");
    }
}
