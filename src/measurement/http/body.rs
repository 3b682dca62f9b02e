//! The result of `evhttpget`: what came of each address (`http-tls-measurements` 2.6).

use std::{
    fmt::{self, Write as _},
    net::IpAddr,
};

use super::options::Method;
use crate::{
    dialect::Dialect,
    measurement::{
        Head,
        format::{Line, When, quoted},
    },
    wire::http::Status,
};

/// One line's worth of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Body {
    /// Unix time in seconds of the run's start, before the name was resolved (`time`).
    pub time: i64,
    /// Whole seconds since the clock was last confirmed, -1 if never (`lts`).
    pub lts: i64,
    /// Milliseconds of the resolution (`ttr`); none for a literal.
    pub resolve_ms: Option<f64>,
    /// The host of the URL. Only the `starla` dialect prints it, as it does the next one.
    pub host: String,
    /// The address of the first entry, if it has one.
    pub destination: Option<IpAddr>,
    /// What came of each address that is reported in this line.
    pub entries: Vec<Entry>,
}

/// What came of one address.
#[derive(Clone, Debug, PartialEq)]
pub enum Entry {
    /// There is none: why the name could not be resolved.
    Unresolved(String),
    /// The policy refuses it (`dst_addr`).
    Forbidden(String),
    /// It was tried.
    Tried(Box<Response>),
}

/// What came of an address that was tried.
#[derive(Clone, Debug, PartialEq)]
pub struct Response {
    /// Header lines without their line ends, as far as stored, once the status line was read (`header`).
    pub header: Option<Vec<Vec<u8>>>,
    /// What went wrong (`err`, `sockerr`).
    pub problem: Option<Problem>,
    /// Which of several addresses this is.
    pub place: Option<Place>,
    /// The method (`method`).
    pub method: Method,
    /// 4 or 6 (`af`).
    pub family: u8,
    /// The read limit was reached (`read-truncated`).
    pub truncated: bool,
    /// The address (`dst_addr`).
    pub destination: String,
    /// When what was read, if that is reported and anything was (`readtiming`).
    pub reads: Option<Vec<ReadAt>>,
    /// The local address, once connected (`src_addr`).
    pub source: Option<String>,
    /// The response, if it was read to its end.
    pub complete: Option<Complete>,
}

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// With connecting or reading (`err`).
    Exchange(String),
    /// With the socket itself (`sockerr`).
    Socket(String),
}

/// Which of several addresses an entry is about (2.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In a line of its own: `subid` from 1, `submax`.
    Alone {
        /// Which one.
        number: usize,
        /// Out of how many.
        of: usize,
    },
    /// Among others in one line: Unix time in seconds when connecting started (`time`).
    Among {
        /// When.
        time: i64,
    },
}

/// A read event.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ReadAt {
    /// Bytes received before it (`o`).
    pub offset: u64,
    /// Milliseconds from the start of connecting (`t`).
    pub ms: f64,
}

/// A response that was read to its end. Times are milliseconds from the start of connecting.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Complete {
    /// When the end was recognised (`rt`).
    pub ms: f64,
    /// Status code (`res`) and version (`ver`).
    pub status: Status,
    /// Bytes of the header lines with their line ends (`hsize`).
    pub header_size: u64,
    /// Bytes of the body without chunk framing (`bsize`).
    pub body_size: u64,
    /// The phases, if they are reported.
    pub timing: Option<Timing>,
}

/// The phases of an exchange, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Timing {
    /// From the start of the run to the first attempt to connect (`ttr`).
    pub resolve: f64,
    /// From the start of connecting until connected, TLS included (`ttc`).
    pub connect: f64,
    /// From the start of connecting to the first bytes of the response (`ttfb`).
    pub first_byte: f64,
}

impl Body {
    /// The RESULT line. The dialects differ in what stands before the entries (5.1).
    #[must_use]
    pub fn line(&self, head: &Head, dialect: Dialect) -> String {
        let when = When {
            time: self.time,
            endtime: None,
            lts: self.lts,
        };
        let mut line = Line::new(head, when);
        // Without an id neither the time nor this is told.
        if head.id.is_some() {
            line.push_ttr(self.resolve_ms);
        }
        let entries: Vec<String> = self.entries.iter().map(Entry::to_string).collect();
        let entries = entries.join(", ");
        match dialect {
            Dialect::Reference => line.push(format_args!("\"result\":[ {entries} ]")),
            Dialect::Starla => {
                line.push(format_args!("\"dst_name\":{}", quoted(&self.host)));
                if let Some(address) = self.destination {
                    line.push(if address.is_ipv4() {
                        "\"af\":4"
                    } else {
                        "\"af\":6"
                    });
                    let address = crate::measurement::format::address(address);
                    line.push(format_args!("\"dst_addr\":\"{address}\""));
                }
                line.push("\"proto\":\"TCP\"");
                line.push(format_args!("\"result\": [ {entries} ]"));
            }
        }
        line.finish()
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unresolved(text) => write!(f, "{{ \"dnserr\":{} }}", quoted(text)),
            Self::Forbidden(address) => write!(
                f,
                "{{ \"error\": \"address not allowed\", \"dst_addr\":{} }}",
                quoted(address)
            ),
            Self::Tried(response) => response.fmt(f),
        }
    }
}

impl fmt::Display for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{ ")?;
        if let Some(lines) = &self.header {
            write_header(f, lines)?;
        }
        match &self.problem {
            None => {}
            Some(Problem::Exchange(text)) => write!(f, "\"err\":{}, ", quoted(text))?,
            Some(Problem::Socket(text)) => write!(f, "\"sockerr\":{}, ", quoted(text))?,
        }
        match self.place {
            None => {}
            Some(Place::Alone { number, of }) => {
                write!(f, "\"subid\":{number}, \"submax\":{of}, ")?;
            }
            Some(Place::Among { time }) => write!(f, "\"time\":{time}, ")?,
        }
        let (method, family) = (self.method.name(), self.family);
        write!(f, "\"method\":\"{method}\", \"af\": {family}")?;
        if self.truncated {
            f.write_str(", \"read-truncated\": true")?;
        }
        write!(f, ", \"dst_addr\":{}", quoted(&self.destination))?;
        if let Some(reads) = &self.reads {
            write_reads(f, reads)?;
        }
        if let Some(source) = &self.source {
            write!(f, ", \"src_addr\":{}", quoted(source))?;
        }
        if let Some(complete) = &self.complete {
            complete.fmt(f)?;
        }
        f.write_str(" }")
    }
}

impl fmt::Display for Complete {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Status { code, major, minor } = self.status;
        write!(
            f,
            ", \"rt\":{:.6}, \"res\":{code}, \"ver\":\"{major}.{minor}\", \"hsize\":{}, \"bsize\":{}",
            self.ms, self.header_size, self.body_size
        )?;
        if let Some(timing) = self.timing {
            write!(
                f,
                ", \"ttr\":{:.6}, \"ttc\":{:.6}, \"ttfb\":{:.6}",
                timing.resolve, timing.connect, timing.first_byte
            )?;
        }
        Ok(())
    }
}

fn write_header(f: &mut fmt::Formatter<'_>, lines: &[Vec<u8>]) -> fmt::Result {
    f.write_str("\"header\": [")?;
    for (index, line) in lines.iter().enumerate() {
        f.write_str(if index == 0 { " \"" } else { ", \"" })?;
        for octet in line {
            match octet {
                b'"' | b'\\' => write!(f, "\\{}", char::from(*octet))?,
                0x20..=0x7e => f.write_char(char::from(*octet))?,
                _ => write!(f, "\\u00{octet:02x}")?,
            }
        }
        f.write_char('"')?;
    }
    f.write_str(" ], ")
}

fn write_reads(f: &mut fmt::Formatter<'_>, reads: &[ReadAt]) -> fmt::Result {
    f.write_str(", \"readtiming\": [")?;
    for (index, ReadAt { offset, ms }) in reads.iter().enumerate() {
        let separator = if index == 0 { "" } else { "," };
        write!(f, "{separator} {{ \"o\": {offset}, \"t\": {ms:.6} }}")?;
    }
    f.write_str(" ]")
}

/// Progress of a run, for a person who watches.
#[derive(Clone, Debug, PartialEq)]
pub enum Seen {
    /// The host has addresses.
    Resolved {
        /// In the order in which they are tried.
        addresses: Vec<IpAddr>,
        /// Milliseconds it took; none for a literal.
        ms: Option<f64>,
    },
    /// An address is tried.
    Connecting(IpAddr),
    /// It is connected.
    Connected {
        /// The local address.
        source: IpAddr,
        /// Milliseconds of the TCP handshake, where the kernel tells.
        tcp_ms: Option<f64>,
        /// Milliseconds in all, TLS included.
        ms: f64,
        /// TLS version and cipher suite as on the wire.
        tls: Option<(u16, u16)>,
    },
    /// The first bytes of the response came; milliseconds from the start of connecting.
    FirstByte(f64),
    /// An address is done with.
    Entry(Box<Entry>),
}
