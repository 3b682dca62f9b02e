//! The result of `evsslgetcert` (`http-tls-measurements` sections 3.4 to 3.6, 4.4).

use std::{fmt::Write, net::IpAddr};

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::{
    dialect::Dialect,
    measurement::{
        Head,
        format::{self, quoted},
        machine::{Family, ResolveError},
    },
    wire::tls::{Alert, Problem, Version},
};

/// A finished run.
#[derive(Clone, Debug, PartialEq)]
pub struct Body {
    /// Unix time in seconds at the start of the run: the `time` of all lines but those of an answer.
    pub started: i64,
    /// Unix time in seconds at its end: the `time` of an answer.
    pub ended: i64,
    /// Whole seconds since the clock was last confirmed, -1 if never.
    pub lts: i64,
    /// `dst_name`: the target as typed.
    pub target: String,
    /// `dst_port`: the port as typed.
    pub port: String,
    /// `ttr`: milliseconds of the resolution, unless the target is a literal.
    pub ttr: Option<f64>,
    /// `dst_addr`: the last address tried.
    pub destination: Option<IpAddr>,
    /// What came of it.
    pub finding: Finding,
}

/// What a run came to.
#[derive(Clone, Debug, PartialEq)]
pub enum Finding {
    /// The server said something.
    Answer(Answer),
    /// The target has no address, or the port is none.
    Unresolved(ResolveError),
    /// No connection: the C library's text.
    NotConnected(String),
    /// The timer ran out while connecting.
    ConnectTimeout,
    /// The connection stood, and the answer did not come to its end.
    Stalled {
        /// `src_addr`
        source: IpAddr,
        /// `ttc`: milliseconds from before the connection to when it stood.
        ttc: f64,
        /// Whether the `ServerHello` was complete.
        greeted: bool,
        /// Why no more came.
        why: Missing,
    },
    /// The answer is none, in the words of result lines.
    Nonsense(Problem),
    /// The policy refuses the address.
    Forbidden,
    /// No socket: why.
    NoSocket(&'static str),
}

/// Why an answer did not come to its end. Result lines tell all of these alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// The timer ran out.
    Timeout,
    /// The server closed.
    Closed,
    /// The connection broke with this errno.
    Broken(i32),
    /// The server sent more than is taken from it.
    TooMuch,
}

/// What a server said.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// `src_addr`
    pub source: IpAddr,
    /// `method` and `ver`.
    pub protocol: Protocol,
    /// `ttc`: milliseconds from before the connection to when it stood.
    pub ttc: f64,
    /// `rt`: milliseconds from before the connection to the whole answer.
    pub rt: f64,
    /// `server_cipher`: 0 if there was no `ServerHello`.
    pub cipher: u16,
    /// The rest.
    pub shown: Shown,
}

/// What an answer was spoken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// The version in the last record header, which is what the official probe tells.
    Record(Version),
    /// TLS 1.3, which no record header shows.
    Tls13,
}

/// What a server ended its answer with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    /// Its certificates, DER, in the order sent.
    Certificates(Vec<Vec<u8>>),
    /// An alert.
    Alert(Alert),
}

/// Progress of a run.
#[derive(Clone, Debug, PartialEq)]
pub enum Seen {
    /// The target's addresses, after so many milliseconds.
    Resolved(Vec<IpAddr>, f64),
    /// There is no connection to this address; the next one is tried. Why.
    NotConnected(IpAddr, String),
    /// The connection stands.
    Connected {
        /// From where.
        source: IpAddr,
        /// To where.
        destination: IpAddr,
        /// Milliseconds since before the connection.
        ttc: f64,
    },
    /// The modern hello found no answer; the official probe's goes out on a new connection. What was found.
    OtherHello(String),
    /// The server chose.
    Hello {
        /// The suite.
        cipher: u16,
        /// Milliseconds since before the connection.
        after: f64,
    },
}

impl Body {
    /// The RESULT line.
    #[must_use]
    pub fn line(&self, head: &Head, dialect: Dialect) -> String {
        let style = Style { dialect };
        let members = match &self.finding {
            Finding::Answer(answer) => style.answer(self, head, answer),
            finding => style.failure(self, head, finding),
        };
        format!("RESULT {{ {members} }}\n")
    }
}

impl Protocol {
    /// `method`.
    #[must_use]
    pub const fn method(self) -> &'static str {
        match self {
            Self::Tls13 | Self::Record([3, 1..=3]) => "TLS",
            Self::Record([3, 0]) => "SSL",
            Self::Record(_) => "(unknown)",
        }
    }

    /// `ver`.
    #[must_use]
    pub fn version(self) -> String {
        match self {
            Self::Tls13 => "1.3".to_owned(),
            Self::Record([3, minor @ 1..=3]) => format!("1.{}", minor - 1),
            Self::Record([major, minor]) => format!("{major}.{minor}"),
        }
    }
}

/// How a dialect writes times and members of this type.
#[derive(Clone, Copy)]
struct Style {
    dialect: Dialect,
}

impl Style {
    /// Milliseconds in the dialect's unit.
    fn time(self, millis: f64) -> String {
        match self.dialect {
            Dialect::Reference => format!("{millis:.6}"),
            Dialect::Starla => format!("{:.6}", millis / 1e3),
        }
    }

    /// What stands behind the colon of `ttc`, `rt` and `server_cipher`.
    const fn space(self) -> &'static str {
        match self.dialect {
            Dialect::Reference => " ",
            Dialect::Starla => "",
        }
    }

    fn ttr(self, body: &Body) -> Option<String> {
        body.ttr.map(|ttr| format!("\"ttr\":{}", self.time(ttr)))
    }

    /// Section 3.5.
    fn answer(self, body: &Body, head: &Head, answer: &Answer) -> String {
        let mut out = self.answer_id(body, head);
        let protocol = answer.protocol;
        let mut members = target(body);
        members.extend(self.ttr(body));
        members.push(format!("\"method\":\"{}\"", protocol.method()));
        members.push(format!("\"ver\":\"{}\"", protocol.version()));
        members.extend(body.destination.map(destination));
        members.extend(self.connected(answer.source, answer.ttc));
        let space = self.space();
        members.push(format!("\"rt\":{space}{}", self.time(answer.rt)));
        members.push(format!(
            "\"server_cipher\":{space}\"0x{:04x}\"",
            answer.cipher
        ));
        members.push(match &answer.shown {
            Shown::Certificates(certificates) => {
                let list = format::list(certificates.iter().map(|der| pem(der)));
                format!("\"cert\":{list}")
            }
            Shown::Alert(alert) => format!(
                "\"alert\": {{ \"level\": {}, \"description\": {} }}",
                alert.level, alert.description
            ),
        });
        out += &members.join(", ");
        out
    }

    /// The beginning of an answer, `time` included. A bundle comes out as the official probe has it, which is no
    /// JSON, where recordings hold it so.
    fn answer_id(self, body: &Body, head: &Head) -> String {
        let mut out = String::new();
        if let Some(id) = &head.id {
            out += &format!(
                "\"id\":{}, {}, \"lts\":{}",
                quoted(id),
                head.version,
                body.lts
            );
            match (&head.bundle, self.dialect) {
                (Some(bundle), Dialect::Reference) => {
                    out += &format!("\"bundle\":{bundle}, , ");
                }
                (Some(bundle), Dialect::Starla) => out += &format!(", {}, ", member(bundle)),
                (None, _) => out += ", ",
            }
        }
        out + &format!("\"time\":{}, ", body.ended)
    }

    /// Section 3.6.
    fn failure(self, body: &Body, head: &Head, finding: &Finding) -> String {
        let mut members = Vec::new();
        if let Some(id) = &head.id {
            members.push(format!("\"id\":{}", quoted(id)));
            members.push(head.version.to_string());
            members.push(format!("\"lts\":{}", body.lts));
            members.push(format!("\"time\":{}", body.started));
            members.extend(head.bundle.as_deref().map(member));
        }
        members.extend(target(body));
        members.extend(self.ttr(body));
        members.extend(body.destination.map(destination));
        let (name, text) = match finding {
            Finding::Unresolved(error) => ("\"dnserr\":", error.to_string()),
            Finding::NotConnected(text) => ("\"err\":", format!("connect: {text}")),
            Finding::ConnectTimeout => ("\"err\":", "connect: timeout".to_owned()),
            Finding::Stalled {
                source,
                ttc,
                greeted,
                ..
            } => {
                members.extend(self.connected(*source, *ttc));
                let awaited = if *greeted { "certificates" } else { "hello" };
                ("\"err\":", format!("timeout reading {awaited}"))
            }
            Finding::Nonsense(problem) => ("\"err\":", problem.to_string()),
            Finding::Forbidden => ("\"error\": ", "address not allowed".to_owned()),
            Finding::NoSocket(text) => ("\"sockerr\":", (*text).to_owned()),
            // Written elsewhere.
            Finding::Answer(_) => ("\"err\":", String::new()),
        };
        members.push(format!("{name}{}", quoted(&text)));
        members.join(", ")
    }

    fn connected(self, source: IpAddr, ttc: f64) -> [String; 2] {
        [
            format!("\"src_addr\":\"{}\"", format::address(source)),
            format!("\"ttc\":{}{}", self.space(), self.time(ttc)),
        ]
    }
}

/// The bundle as a JSON number: without leading zeros, and never without a digit.
fn member(bundle: &str) -> String {
    let digits = bundle.trim_start_matches('0');
    let digits = if digits.is_empty() { "0" } else { digits };
    format!("\"bundle\":{digits}")
}

fn target(body: &Body) -> Vec<String> {
    vec![
        format!("\"dst_name\":{}", quoted(&body.target)),
        format!("\"dst_port\":{}", quoted(&body.port)),
    ]
}

fn destination(address: IpAddr) -> String {
    let family = match Family::of(address) {
        Family::V6 => 6,
        Family::V4 | Family::Both => 4,
    };
    format!(
        "\"dst_addr\":\"{}\", \"af\": {family}",
        format::address(address)
    )
}

/// The certificate as a JSON string: PEM (RFC 7468) with its line ends escaped and none after the last line.
fn pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut out = String::with_capacity(text.len() + text.len() / 32 + 64);
    out += "\"-----BEGIN CERTIFICATE-----\\n";
    let mut rest = &text[..];
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        // Writing to a string cannot fail.
        let _ = write!(out, "{line}\\n");
        rest = after;
    }
    out + "-----END CERTIFICATE-----\""
}
