//! The result of `evping` (`packet-measurements` section 2.5).

use std::{fmt, net::IpAddr};

use crate::{
    dialect::Dialect,
    measurement::{
        Head,
        format::{Line, When, address, list, quoted},
        machine::Family,
        zones::Zones,
    },
};

/// A finished ping.
#[derive(Clone, Debug, PartialEq)]
pub struct Body {
    /// `time`: Unix time at the end of the run, in seconds.
    pub time: i64,
    /// `lts`: seconds from the last synchronisation of the clock to `time`, -1 if there was none.
    pub lts: i64,
    /// `dst_name`: the target as typed.
    pub target: String,
    /// `ttr`: how long the resolution took, in milliseconds; `None` for a target that is an address.
    pub resolve_ms: Option<f64>,
    /// `af`: the family that was asked for.
    pub family: Family,
    /// `dst_addr`: the address that was pinged, once there was one.
    pub destination: Option<IpAddr>,
    /// `src_addr`.
    pub source: Source,
    /// `ttl`: of the latest reply, if a request was answered in time.
    pub ttl: Option<u8>,
    /// `size`: octets after the ICMP header, the last size in force.
    pub size: u32,
    /// `result`: what became of each request, and the duplicates, in the order of their coming.
    pub items: Vec<Item>,
    /// The interfaces of link-local addresses, known once the run is over.
    pub zones: Zones,
}

/// The address that requests left from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The run did not come that far: not printed.
    Unknown,
    /// A socket could not be had: printed empty.
    NoSocket,
    /// Known.
    Address(IpAddr),
}

/// One entry of `result`.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// `rtt` and its companions.
    Reply(Reply),
    /// `x`: no reply within the interval.
    Lost,
    /// `error`.
    Error(String),
}

/// A reply.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reply {
    /// `rtt`, in milliseconds.
    pub rtt_ms: f64,
    /// `dup`: the request was answered, or given up, before.
    pub duplicate: bool,
    /// `size`, if it differs from the size in force.
    pub size: Option<u32>,
    /// `ttl`, if it differs from the TTL in force.
    pub ttl: Option<u8>,
    /// `src_addr`: where the reply was sent to, if that is not where the request came from.
    pub source: Option<IpAddr>,
}

impl Reply {
    /// A reply to the latest request that brings nothing new but its time.
    #[must_use]
    pub const fn in_time(rtt_ms: f64) -> Self {
        Self {
            rtt_ms,
            duplicate: false,
            size: None,
            ttl: None,
            source: None,
        }
    }
}

impl Body {
    /// The RESULT line. The protocol reference prints pings as the official probe does, so the dialects agree: it
    /// is silent on `ttr`, error items and duplicates, and its own example has the space in `"result": [`.
    #[must_use]
    pub fn line(&self, head: &Head, _dialect: Dialect) -> String {
        let when = When {
            time: self.time,
            endtime: None,
            lts: self.lts,
        };
        let mut line = Line::new(head, when);
        line.push_target(&self.target, self.resolve_ms);
        line.push(if self.family == Family::V6 {
            r#""af":6"#
        } else {
            r#""af":4"#
        });
        if let Some(destination) = self.destination {
            line.push(format_args!(
                r#""dst_addr":"{}""#,
                self.zones.print(destination)
            ));
        }
        match self.source {
            Source::Unknown => {}
            Source::NoSocket => line.push(r#""src_addr":"""#),
            Source::Address(source) => {
                line.push(format_args!(r#""src_addr":"{}""#, self.zones.print(source)));
            }
        }
        line.push(r#""proto":"ICMP""#);
        if let Some(ttl) = self.ttl {
            line.push(format_args!(r#""ttl":{ttl}"#));
        }
        line.push(format_args!(r#""size":{}"#, self.size));
        line.push(format_args!(r#""result": {}"#, list(&self.items)));
        line.finish()
    }
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reply(reply) => reply.fmt(f),
            Self::Lost => f.write_str(r#"{ "x":"*" }"#),
            Self::Error(text) => write!(f, r#"{{ "error":{} }}"#, quoted(text)),
        }
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let duplicate = if self.duplicate { r#""dup":1, "# } else { "" };
        write!(f, r#"{{ {duplicate}"rtt":{:.6}"#, self.rtt_ms)?;
        if let Some(size) = self.size {
            write!(f, r#", "size":{size}"#)?;
        }
        if let Some(ttl) = self.ttl {
            write!(f, r#", "ttl":{ttl}"#)?;
        }
        if let Some(source) = self.source {
            write!(f, r#", "src_addr":"{}""#, address(source))?;
        }
        f.write_str(" }")
    }
}

/// Progress of a ping, for a person who watches. Requests count from 1 in each run.
#[derive(Clone, Debug, PartialEq)]
pub enum Seen {
    /// The target's address is known and requests begin to leave.
    Started {
        /// Where to.
        destination: IpAddr,
        /// Where from.
        source: IpAddr,
        /// Octets after the ICMP header of each request.
        size: u32,
    },
    /// A reply came. The result may correct its time when the kernel tells the time of sending later.
    Reply {
        /// Which request it answers.
        request: u32,
        /// Round-trip time in milliseconds.
        rtt_ms: f64,
        /// Octets after the ICMP header.
        size: u32,
        /// Its TTL or hop limit, where known.
        ttl: Option<u8>,
        /// The request was answered, or given up, before.
        duplicate: bool,
    },
    /// The time to wait for a reply is over.
    Lost {
        /// Which request.
        request: u32,
    },
    /// Something failed; the text is the result's.
    Error(String),
}
