//! The result of `evtraceroute` (`packet-measurements` section 3.9).

use std::{fmt::Write, net::IpAddr};

use super::Protocol;
use crate::{
    dialect::Dialect,
    measurement::{
        Head,
        format::{self, Line, When},
        machine::Family,
        zones::Zones,
    },
    wire::{icmp::Extensions, tcp::flag},
};

/// A finished traceroute.
#[derive(Clone, Debug, PartialEq)]
pub struct Body {
    /// `time`, the start of probing; `endtime`; `lts`.
    pub when: When,
    /// `dst_name`: the target as typed.
    pub target: String,
    /// `ttr`: milliseconds of the resolution, unless the target is a literal.
    pub ttr: Option<f64>,
    /// `dst_addr`, once known.
    pub destination: Option<IpAddr>,
    /// `src_addr`.
    pub source: Source,
    /// `proto`.
    pub protocol: Protocol,
    /// `af`: of the address, or what was asked for.
    pub family: Family,
    /// `size`: the payload asked for.
    pub size: u16,
    /// `paris_id`.
    pub paris: Option<u32>,
    /// `result`.
    pub outcome: Outcome,
    /// The interfaces of link-local addresses, known once the run is over.
    pub zones: Zones,
}

/// `src_addr`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The run did not come so far: left out.
    NotTold,
    /// There is none: printed as empty text.
    None,
    /// The local address.
    Address(IpAddr),
}

/// What a run came to.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Nothing was probed, and why.
    Failed(String),
    /// The hops in the order probed.
    Hops(Vec<Hop>),
}

/// One hop.
#[derive(Clone, Debug, PartialEq)]
pub struct Hop {
    /// `hop`: the hop limit of its probes.
    pub hop: u8,
    /// What became of them.
    pub outcome: HopOutcome,
}

/// What became of the probes of a hop.
#[derive(Clone, Debug, PartialEq)]
pub enum HopOutcome {
    /// None could be sent, and why.
    Failed(String),
    /// What was seen, in order.
    Items(Vec<Item>),
}

/// One item of a hop.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// No reply in time.
    Lost,
    /// A packet that answers a probe not sent yet, after an answer: told without any member.
    Empty,
    /// The probe could not be sent, and why.
    Failed(String),
    /// A packet came.
    Answer(Answer),
}

/// A packet that answers a probe. What the kernel did not tell is left out of the result.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// `late`: it answers the probe that many before the current one.
    pub late: Option<u32>,
    /// `dup`: the current probe was answered already.
    pub duplicate: bool,
    /// `from`.
    pub from: IpAddr,
    /// `ttl`: its TTL or hop limit.
    pub ttl: Option<u8>,
    /// `size`: octets beyond the usual headers, which can be negative for short ones.
    pub size: Option<i64>,
    /// `rtt`, milliseconds.
    pub rtt: Option<f64>,
    /// What kind of packet.
    pub detail: Detail,
}

/// What kind of packet answers a probe.
#[derive(Clone, Debug, PartialEq)]
pub enum Detail {
    /// An ICMP error.
    Error(IcmpError),
    /// An echo reply.
    Echo {
        /// Its TOS or traffic class, if it or the probe's is not 0.
        tos: Option<u8>,
    },
    /// A TCP segment.
    Segment(Segment),
}

/// An ICMP error about a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IcmpError {
    /// Whether the quoted probe is UDP or TCP over IPv4: a duplicate then has one more space.
    pub spaced: bool,
    /// `ittl`: the quoted TTL or hop limit, if not 1.
    pub quoted_ttl: Option<u8>,
    /// `itos`: the quoted TOS or traffic class, if it or the probe's is not 0.
    pub quoted_tos: Option<u8>,
    /// `edst`: the quoted destination, if it is not the target.
    pub quoted_destination: Option<IpAddr>,
    /// `hbhoptsize`, if not 0.
    pub hop_by_hop: u16,
    /// `dstoptsize`, if not 0.
    pub destination_options: u16,
    /// `err` or `mtu`.
    pub code: Code,
    /// `icmpext`.
    pub extensions: Option<Extensions>,
}

/// What an ICMP error says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// Time exceeded, or the expected end: nothing is printed.
    None,
    /// `err` with a letter.
    Letter(char),
    /// `err` with the code.
    Number(u8),
    /// `mtu`.
    Mtu(u32),
}

/// A TCP segment that answers a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// `tos`, if it or the probe's is not 0.
    pub tos: Option<u8>,
    /// `flags`.
    pub flags: u8,
    /// `hdropts`, if the header has options.
    pub options: Option<Vec<HeaderOption>>,
}

/// One TCP option as far as results tell them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderOption {
    /// Maximum segment size.
    Mss(u16),
    /// Another kind; nothing after it is told.
    Unknown(u8),
}

/// Progress of a traceroute.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// The hop in progress.
    pub hop: u8,
    /// What was added to it. Its `rtt` may still be corrected by the kernel's transmit time.
    pub item: Item,
}

impl Body {
    /// Takes out what is not known of ICMP errors that came by the kernel's error queue: their size, the TOS that
    /// they quote, and their TTL where the kernel did not tell one.
    pub(crate) fn leave_out_guesses(&mut self) {
        let Outcome::Hops(hops) = &mut self.outcome else {
            return;
        };
        for hop in hops {
            let HopOutcome::Items(items) = &mut hop.outcome else {
                continue;
            };
            for item in items {
                if let Item::Answer(answer) = item
                    && let Detail::Error(error) = &mut answer.detail
                {
                    answer.size = None;
                    answer.ttl = answer.ttl.filter(|ttl| *ttl > 0);
                    error.quoted_tos = None;
                }
            }
        }
    }

    /// The RESULT line.
    #[must_use]
    pub fn line(&self, head: &Head, dialect: Dialect) -> String {
        let mut line = Line::new(head, self.when);
        line.push_target(&self.target, self.ttr);
        if let Some(destination) = self.destination {
            let address = self.zones.print(destination);
            line.push(format_args!("\"dst_addr\":\"{address}\""));
        }
        match self.source {
            Source::NotTold => {}
            Source::None => line.push("\"src_addr\":\"\""),
            Source::Address(source) => {
                let address = self.zones.print(source);
                line.push(format_args!("\"src_addr\":\"{address}\""));
            }
        }
        line.push(format_args!("\"proto\":\"{}\"", self.protocol.name()));
        let family = if self.family == Family::V6 { 6 } else { 4 };
        line.push(format_args!("\"af\": {family}"));
        line.push(format_args!("\"size\":{}", self.size));
        if let Some(paris) = self.paris {
            line.push(format_args!("\"paris_id\":{paris}"));
        }
        line.push(format_args!("\"result\": {}", self.result(dialect)));
        line.finish()
    }

    fn result(&self, dialect: Dialect) -> String {
        match &self.outcome {
            Outcome::Failed(why) => format!("[ {{ {} }} ]", error(why)),
            Outcome::Hops(hops) => format::list(hops.iter().map(|hop| {
                let outcome = match &hop.outcome {
                    HopOutcome::Failed(why) => error(why),
                    HopOutcome::Items(items) => {
                        let items = items.iter().map(|item| self.item(item, dialect));
                        format!("\"result\": {}", format::list(items))
                    }
                };
                format!("{{ \"hop\":{}, {outcome} }}", hop.hop)
            })),
        }
    }

    fn item(&self, item: &Item, dialect: Dialect) -> String {
        match item {
            Item::Lost => "{ \"x\":\"*\" }".to_owned(),
            Item::Empty => "{  }".to_owned(),
            Item::Failed(why) => format!("{{ {} }}", error(why)),
            Item::Answer(answer) => {
                let rtt_first = match dialect {
                    Dialect::Reference => {
                        answer.from.is_ipv6() && !matches!(answer.detail, Detail::Segment(_))
                    }
                    Dialect::Starla => self.destination == Some(answer.from),
                };
                answer.item(&self.zones, rtt_first)
            }
        }
    }
}

impl Answer {
    /// The item. `rtt_first` puts `rtt` before `size`.
    fn item(&self, zones: &Zones, rtt_first: bool) -> String {
        let mut members = Vec::new();
        if let Some(late) = self.late {
            members.push(format!("\"late\":{late}"));
        }
        if self.duplicate {
            members.push("\"dup\":true".to_owned());
        }
        members.push(format!("\"from\":\"{}\"", zones.print(self.from)));
        members.extend(self.ttl.map(|ttl| format!("\"ttl\":{ttl}")));
        let mut rtt = self.rtt.map(|rtt| format!("\"rtt\":{rtt:.3}"));
        if rtt_first {
            members.extend(rtt.take());
        }
        members.extend(self.size.map(|size| format!("\"size\":{size}")));
        match &self.detail {
            Detail::Error(error) => {
                members.extend(rtt);
                error.push(&mut members);
            }
            Detail::Echo { tos } => {
                // One name per family, and another place.
                if self.from.is_ipv4() {
                    members.extend(tos.map(|tos| format!("\"tos\":{tos}")));
                    members.extend(rtt);
                } else {
                    members.extend(rtt);
                    members.extend(tos.map(|tos| format!("\"itos\":{tos}")));
                }
            }
            Detail::Segment(segment) => {
                segment.push(&mut members);
                members.extend(rtt);
            }
        }
        let quirk = matches!(&self.detail, Detail::Error(error) if error.spaced && self.duplicate);
        let space = if quirk { " " } else { "" };
        format!("{{ {space}{} }}", members.join(", "))
    }
}

impl IcmpError {
    fn push(&self, members: &mut Vec<String>) {
        members.extend(self.quoted_ttl.map(|ttl| format!("\"ittl\":{ttl}")));
        members.extend(self.quoted_tos.map(|tos| format!("\"itos\":{tos}")));
        if let Some(destination) = self.quoted_destination {
            members.push(format!("\"edst\":\"{}\"", format::address(destination)));
        }
        for (name, size) in [
            ("hbhoptsize", self.hop_by_hop),
            ("dstoptsize", self.destination_options),
        ] {
            if size != 0 {
                members.push(format!("\"{name}\":{size}"));
            }
        }
        match self.code {
            Code::None => {}
            Code::Letter(letter) => members.push(format!("\"err\":\"{letter}\"")),
            Code::Number(code) => members.push(format!("\"err\":{code}")),
            Code::Mtu(mtu) => members.push(format!("\"mtu\":{mtu}")),
        }
        if let Some(extensions) = &self.extensions {
            members.push(format!("\"icmpext\": {}", icmpext(extensions)));
        }
    }
}

impl Segment {
    fn push(&self, members: &mut Vec<String>) {
        members.extend(self.tos.map(|tos| format!("\"tos\":{tos}")));
        let mut letters = String::new();
        for (bit, letter) in [
            (flag::FIN, 'F'),
            (flag::SYN, 'S'),
            (flag::RST, 'R'),
            (flag::PSH, 'P'),
            (flag::ACK, 'A'),
            (flag::URG, 'U'),
        ] {
            if self.flags & bit != 0 {
                letters.push(letter);
            }
        }
        members.push(format!("\"flags\":\"{letters}\""));
        if let Some(options) = &self.options {
            let options = options.iter().map(|option| match option {
                HeaderOption::Mss(mss) => format!("{{ \"mss\":{mss} }}"),
                HeaderOption::Unknown(kind) => format!("{{ \"unknown-opt\":{kind} }}"),
            });
            members.push(format!("\"hdropts\": {}", format::list(options)));
        }
    }
}

fn icmpext(extensions: &Extensions) -> String {
    let objects: Vec<String> = extensions
        .objects
        .iter()
        .map(|object| {
            let mut text = format!("{{ \"class\":{}, \"type\":{}", object.class, object.kind);
            if let Some(labels) = object.labels() {
                let labels: Vec<String> = labels
                    .iter()
                    .map(|label| {
                        format!(
                            "{{ \"label\":{}, \"exp\":{}, \"s\":{}, \"ttl\":{} }}",
                            label.label,
                            label.experimental,
                            u8::from(label.bottom),
                            label.ttl
                        )
                    })
                    .collect();
                // Writing to a string cannot fail.
                let _ = write!(text, ", \"mpls\": {}", tight_list(&labels));
            }
            text + " }"
        })
        .collect();
    format!(
        "{{ \"version\":{}, \"rfc4884\":{}, \"obj\": {} }}",
        extensions.version,
        u8::from(extensions.compliant),
        tight_list(&objects)
    )
}

/// A list that has one space between its brackets if it is empty.
fn tight_list(items: &[String]) -> String {
    if items.is_empty() {
        "[ ]".to_owned()
    } else {
        format::list(items)
    }
}

fn error(why: &str) -> String {
    format!("\"error\":{}", format::quoted(why))
}
