//! The result of `evntp` (`packet-measurements` section 4.4).

use std::net::IpAddr;

use crate::{
    dialect::Dialect,
    measurement::{
        Head,
        format::{self, Line, When},
        machine::Family,
        zones::Zones,
    },
    wire::ntp::{Ntp, Timestamp},
};

/// A finished NTP measurement.
#[derive(Clone, Debug, PartialEq)]
pub struct Body {
    /// `time`, the start of probing, and `lts`.
    pub when: When,
    /// `dst_name`: the target as typed.
    pub target: String,
    /// `ttr`: milliseconds of the resolution, unless the target is a literal.
    pub ttr: Option<f64>,
    /// `dst_addr`, once known.
    pub destination: Option<IpAddr>,
    /// `src_addr`, once known.
    pub source: Option<IpAddr>,
    /// `af`: of the address, or what was asked for.
    pub family: Family,
    /// What the server says of itself, in the first reply: `li` to `ref-ts`.
    pub server: Option<Ntp>,
    /// `result`.
    pub outcome: Outcome,
    /// The interfaces of link-local addresses, known once the run is over.
    pub zones: Zones,
}

/// What a run came to.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Nothing was sent, and why.
    Failed(String),
    /// What became of each request.
    Items(Vec<Item>),
}

/// What became of one request.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// No reply in time.
    Lost,
    /// It could not be sent, and why.
    Failed(String),
    /// A reply came.
    Reply(Reply),
}

/// One reply and what follows from it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reply {
    /// The packet. Its receive and transmit timestamps are `receive-ts` and `transmit-ts`.
    pub packet: Ntp,
    /// `origin-ts`: when the request left, as well as that is known.
    pub origin: Timestamp,
    /// `final-ts`: when the reply arrived.
    pub arrival: Timestamp,
    /// `rtt`, seconds.
    pub rtt: f64,
    /// `offset`, seconds: positive if the server's clock is ahead (RFC 5905 section 8).
    pub offset: f64,
}

/// Progress of an NTP measurement.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// Which request, counted from 1.
    pub request: u8,
    /// What became of it. A lost one may still be answered late.
    pub item: Item,
}

impl Body {
    /// The RESULT line.
    #[must_use]
    pub fn line(&self, head: &Head, dialect: Dialect) -> String {
        let style = Style::of(dialect);
        let mut line = Line::new(head, self.when);
        match (dialect, self.destination) {
            // The example of the protocol reference has no name beside the address; without one it says what was asked.
            (Dialect::Starla, Some(_)) => line.push_ttr(self.ttr),
            _ => line.push_target(&self.target, self.ttr),
        }
        for (name, address) in [("dst_addr", self.destination), ("src_addr", self.source)] {
            if let Some(address) = address {
                line.push(format_args!("\"{name}\":\"{}\"", self.zones.print(address)));
            }
        }
        line.push("\"proto\":\"UDP\"");
        let family = if self.family == Family::V6 { 6 } else { 4 };
        line.push(format_args!("\"af\": {family}"));
        for member in self.server.iter().flat_map(|server| style.server(server)) {
            line.push(member);
        }
        let result = match &self.outcome {
            Outcome::Failed(why) => format!("[ {{ {} }} ]", error(why)),
            Outcome::Items(items) => format::list(
                items
                    .iter()
                    .map(|item| style.item(item, self.server.as_ref())),
            ),
        };
        line.push(format_args!("\"result\": {result}"));
        line.finish()
    }
}

fn error(why: &str) -> String {
    format!("\"error\":{}", format::quoted(why))
}

/// How a dialect writes members that only this type has.
#[derive(Clone, Copy)]
struct Style {
    /// What stands behind a member's colon.
    space: &'static str,
    dialect: Dialect,
}

impl Style {
    const fn of(dialect: Dialect) -> Self {
        let space = match dialect {
            Dialect::Reference => " ",
            Dialect::Starla => "",
        };
        Self { space, dialect }
    }

    fn member(self, name: &str, value: &str) -> String {
        format!("\"{name}\":{}{value}", self.space)
    }

    /// The server's fields in order.
    fn server(self, packet: &Ntp) -> [String; 10] {
        let poll = match self.dialect {
            Dialect::Reference => format::power_of_two(packet.poll),
            Dialect::Starla => packet.poll.to_string(),
        };
        [
            self.member("li", leap(packet.leap)),
            self.member("version", &packet.version.to_string()),
            self.member("mode", mode(packet.mode)),
            self.member("stratum", &self.stratum(packet.stratum)),
            self.member("poll", &poll),
            self.member("precision", &format::power_of_two(packet.precision)),
            self.member("root-delay", &format::g(packet.root_delay.as_f64())),
            self.member(
                "root-dispersion",
                &format::g(packet.root_dispersion.as_f64()),
            ),
            self.member("ref-id", &reference_id(packet)),
            self.member("ref-ts", &time(packet.reference)),
        ]
    }

    fn stratum(self, stratum: u8) -> String {
        match (self.dialect, stratum) {
            (Dialect::Starla, _) | (_, 1..=15) => stratum.to_string(),
            (_, 0) => "\"invalid\"".to_owned(),
            (_, 16) => "\"unsynchronized\"".to_owned(),
            (_, other) => format!("\"reserved ({other})\""),
        }
    }

    fn item(self, item: &Item, server: Option<&Ntp>) -> String {
        match item {
            Item::Lost => "{ \"x\":\"*\" }".to_owned(),
            Item::Failed(why) => format!("{{ {} }}", error(why)),
            Item::Reply(reply) => {
                let mut members = self.changes(&reply.packet, server.unwrap_or(&reply.packet));
                members.extend([
                    self.member("origin-ts", &time(reply.origin)),
                    self.member("receive-ts", &time(reply.packet.receive)),
                    self.member("transmit-ts", &time(reply.packet.transmit)),
                    self.member("final-ts", &time(reply.arrival)),
                    self.member("rtt", &format!("{:.6}", reply.rtt)),
                    self.member("offset", &format!("{:.6}", reply.offset)),
                ]);
                format!("{{ {} }}", members.join(", "))
            }
        }
    }

    /// The fields in which a reply differs from the first one.
    fn changes(self, packet: &Ntp, first: &Ntp) -> Vec<String> {
        let differs = [
            packet.leap != first.leap,
            packet.version != first.version,
            packet.mode != first.mode,
            packet.stratum != first.stratum,
            packet.poll != first.poll,
            packet.precision != first.precision,
            packet.root_delay != first.root_delay,
            packet.root_dispersion != first.root_dispersion,
            packet.reference_id != first.reference_id,
            packet.reference != first.reference,
        ];
        let members = self.server(packet).into_iter().zip(differs);
        members
            .filter_map(|(member, differs)| differs.then_some(member))
            .collect()
    }
}

const fn leap(leap: u8) -> &'static str {
    match leap {
        0 => "\"no\"",
        1 => "\"61\"",
        2 => "\"59\"",
        _ => "\"unknown\"",
    }
}

const fn mode(mode: u8) -> &'static str {
    match mode {
        0 => "\"reserved\"",
        1 => "\"sym. active\"",
        2 => "\"sym. passive\"",
        3 => "\"client\"",
        4 => "\"server\"",
        5 => "\"broadcast\"",
        6 => "\"control\"",
        _ => "\"private\"",
    }
}

/// A name up to the first zero octet where the stratum says that it is one, hexadecimal digits otherwise.
fn reference_id(packet: &Ntp) -> String {
    let id = packet.reference_id;
    let text: String = match packet.stratum {
        0 | 1 => id
            .iter()
            .take_while(|octet| **octet != 0)
            .map(|octet| match octet {
                b'"' | b'\\' | ..=31 | 127.. => format!("\\\\x{octet:02x}"),
                octet => char::from(*octet).to_string(),
            })
            .collect(),
        _ => format!("{:08x}", u32::from_be_bytes(id)),
    };
    format!("\"{text}\"")
}

fn time(time: Timestamp) -> String {
    format!("{:.9}", time.as_f64())
}
