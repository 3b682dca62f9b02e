//! The result of `evtdig`: what came of each attempt that counted. How it is written stands in `lines`.

use super::{lines, statistics::Counts};
use crate::{dialect::Dialect, measurement::Head};

/// A finished run.
#[derive(Clone, Debug, PartialEq)]
pub struct Body {
    /// The servers came from the resolver file: the line is a `resultset`.
    pub resolvers: bool,
    /// One entry for each server asked, in order; never empty.
    pub entries: Vec<Entry>,
    /// What the run adds to the statistics that are reported now and then.
    pub counts: Counts,
}

/// What came of one server, in the final attempt.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Entry {
    /// Unix time in seconds: when sending or connecting started, or the resolution if it got no further;
    /// 0 if not even that.
    pub time: i64,
    /// Whole seconds since the clock was last confirmed, -1 if never.
    pub lts: i64,
    /// The TLS implementation, once TLS was tried.
    pub tls: Option<&'static str>,
    /// With `--resolv`: the place among the servers, from 1, and how many there are.
    pub place: Option<(usize, usize)>,
    /// The server as the command or the resolver file names it; none if there was none to ask.
    pub server: Option<String>,
    /// By what the query travelled.
    pub protocol: Protocol,
    /// The address that was tried.
    pub destination: Option<Destination>,
    /// The address that the query left from, with its zone.
    pub source: Option<String>,
    /// Attempts before this one.
    pub retries: u32,
    /// TTL or hop limit of the reply, if asked for.
    pub ttl: Option<u8>,
    /// The query that was handed to the network, if it is to be reported.
    pub query: Option<Vec<u8>>,
    /// The reply that was accepted.
    pub reply: Option<Reply>,
    /// What went wrong, in order; may stand beside a reply.
    pub errors: Vec<Error>,
}

/// By what a query travels, as results tell it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Datagrams.
    #[default]
    Udp,
    /// TCP, whatever is on top.
    Tcp,
}

impl Protocol {
    /// `proto` of a result.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
        }
    }
}

/// An address that was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// The address; over TCP with its zone.
    pub address: String,
    /// The port as the options name it.
    pub port: String,
    /// 4 or 6.
    pub family: u8,
}

/// An accepted reply.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// Milliseconds from the start of sending or connecting to the reply.
    pub rt: f64,
    /// Milliseconds from the query to the reply; streams only.
    pub qt: Option<f64>,
    /// The message.
    pub message: Vec<u8>,
    /// Whether the message is reported.
    pub abuf: bool,
    /// The reply carried a cookie that is not ours.
    pub cookie_mismatch: bool,
}

/// What went wrong (`dns-measurement` 8.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The server's name has no address: the server and why.
    Resolution(String, String),
    /// The name holds a macro that is none.
    Macro,
    /// The resolver file names no server.
    NoResolvers,
    /// No socket: the C library's text.
    Socket(String),
    /// `-I` could not be honoured.
    Bind,
    /// The policy refuses the address.
    Forbidden,
    /// A datagram socket could not be connected: the C library's text.
    Unreachable(String),
    /// The name cannot be encoded.
    Format,
    /// A datagram could not be sent: the C library's text, and whether to IPv4.
    Send(String, bool),
    /// No reply in this many milliseconds, as the options say.
    Timeout(u64),
    /// The connection ended before the reply was complete.
    Closed,
    /// No connection, no TLS or no HTTP/2: why.
    Connect(String),
    /// The length before a reply is too small to be one.
    TooSmall(u16),
    /// The reply answers another query; the reference's figure for it.
    OtherId(usize),
    /// The server speaks no HTTP/2 that can be understood.
    Http2,
    /// As [`Error::OtherId`], over HTTPS.
    OtherIdHttp2,
    /// An HTTP status that is no success.
    HttpStatus(u16),
    /// An HTTP body that is no DNS message.
    HttpContent,
}

impl Body {
    /// The RESULT line.
    #[must_use]
    pub fn line(&self, head: &Head, dialect: Dialect) -> String {
        match dialect {
            Dialect::Reference => lines::reference(self, head),
            Dialect::Starla => lines::starla(self, head),
        }
    }
}

/// Progress of a run.
#[derive(Clone, Debug, PartialEq)]
pub enum Seen {
    /// A server is done with; more follow.
    Entry(Box<Entry>),
    /// An attempt failed and is repeated; how many repeats that makes.
    Repeat(u32),
}
