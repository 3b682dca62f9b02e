//! Which packets answer a probe of this run, and what they say (`packet-measurements` sections 3.7 and 3.9).

use std::{net::IpAddr, time::Duration};

use super::{
    Code, Detail, HeaderOption, IcmpError, Protocol, Segment,
    probe::{BASE_PORT, BASE_SOURCE_PORT, BLOCK, Mark, low_half},
};
use crate::{
    clock::Tick,
    measurement::machine::Datagram,
    wire::{
        icmp::{self, Icmp},
        ip::{Ipv4, Ipv6, Upper},
        protocol,
        tcp::Tcp,
        udp::{self, Udp},
    },
};

/// A packet that answers some probe of this run.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Reply {
    /// Which probe, as the packet has it.
    pub(super) number: Number,
    /// What it means for the run.
    pub(super) meaning: Meaning,
    /// The time of sending that its quote carries: all that a late reply of a recording has.
    pub(super) quoted_time: Option<Tick>,
    /// Its source.
    pub(super) from: IpAddr,
    /// Its TTL or hop limit.
    pub(super) ttl: Option<u8>,
    /// Its size as results tell it.
    pub(super) size: i64,
    /// What it says.
    pub(super) detail: Detail,
}

/// Which probe a packet answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Number {
    /// This one.
    Exact(u32),
    /// The UDP checksum, where it can be the number of a probe. It is not that of every quote: some translators of
    /// addresses do not restore it, and a host's network card may not have computed it yet.
    Checksum {
        /// The checksum as it is quoted.
        quoted: u32,
        /// What it was when the probe was made, by the payload that made it so, if that is quoted as well.
        made: Option<u32>,
    },
    /// The acknowledgment number's distance from the first sequence number: one beyond the probe's, or also
    /// beyond its data.
    Acknowledged(u32),
}

/// What a packet means for the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// A router on the way.
    TimeExceeded,
    /// The end of the way, good or bad.
    Unreachable,
    /// Try smaller ones: the largest payload that fits, if it is told.
    TooBig(Option<u16>),
    /// The target's echo reply.
    Echo,
    /// The target's TCP.
    Segment,
}

impl Meaning {
    /// Whether it is an ICMP error.
    pub(super) const fn is_error(self) -> bool {
        !matches!(self, Self::Echo | Self::Segment)
    }
}

/// How a quote names its probe.
struct Quoted {
    number: Number,
    time: Option<Tick>,
}

impl Mark {
    /// What a packet says, if it answers a probe of this run.
    pub(super) fn read(&self, datagram: &Datagram) -> Option<Reply> {
        match (self.target, datagram.protocol) {
            (IpAddr::V4(_), protocol::ICMP) => self.read_icmp(datagram),
            (IpAddr::V6(_), protocol::ICMPV6) => self.read_icmpv6(datagram),
            (IpAddr::V4(_), protocol::TCP) => {
                let ip = Ipv4::parse(&datagram.bytes).ok()?;
                let size = signed(datagram.bytes.len()) - 40;
                self.read_segment(datagram, ip.payload, Some(ip.ttl), Some(ip.tos), size)
            }
            (IpAddr::V6(_), protocol::TCP) => {
                let (ttl, tos) = (datagram.hop_limit, datagram.tos);
                let size = signed(datagram.bytes.len()) - 20;
                self.read_segment(datagram, &datagram.bytes, ttl, tos, size)
            }
            _ => None,
        }
    }

    /// The TOS as results tell it: if it or the probe's is not 0.
    fn told(&self, tos: u8) -> Option<u8> {
        (tos != 0 || self.tos_asked).then_some(tos)
    }

    fn read_icmp(&self, datagram: &Datagram) -> Option<Reply> {
        let ip = Ipv4::parse(&datagram.bytes).ok()?;
        let message = Icmp::parse(ip.payload).ok()?;
        let (meaning, quoted, detail) = match (message.kind, message.code) {
            (icmp::v4::ECHO_REPLY, 0) => {
                let ours =
                    self.protocol == Protocol::Icmp && message.identifier() == self.identifier;
                let quoted = Quoted {
                    number: Number::Exact(message.sequence().into()),
                    time: None,
                };
                let tos = self.told(ip.tos);
                ours.then_some((Meaning::Echo, quoted, Detail::Echo { tos }))?
            }
            (icmp::v4::TIME_EXCEEDED | icmp::v4::UNREACHABLE, _) => {
                let quote = Ipv4::parse(message.body).ok()?;
                let quoted = self.quoted_v4(&quote)?;
                let (meaning, code) = self.code_v4(&message);
                let destination = IpAddr::V4(quote.to);
                let detail = Detail::Error(IcmpError {
                    spaced: quote.protocol != protocol::ICMP,
                    quoted_ttl: Some(quote.ttl).filter(|ttl| *ttl != 1),
                    quoted_tos: self.told(quote.tos),
                    quoted_destination: Some(destination).filter(|to| *to != self.target),
                    hop_by_hop: 0,
                    destination_options: 0,
                    code,
                    extensions: message.extensions_v4(),
                });
                (meaning, quoted, detail)
            }
            _ => return None,
        };
        Some(Reply {
            number: quoted.number,
            meaning,
            quoted_time: quoted.time,
            from: datagram.from.ip(),
            ttl: Some(ip.ttl),
            size: signed(datagram.bytes.len()) - 28,
            detail,
        })
    }

    /// The probe that an IPv4 quote is of: its first 8 octets suffice.
    fn quoted_v4(&self, quote: &Ipv4<'_>) -> Option<Quoted> {
        let upper = quote.payload;
        let word = |at: usize| Some(u16::from_be_bytes([*upper.get(at)?, *upper.get(at + 1)?]));
        let (ours, number) = match (quote.protocol, self.protocol) {
            (protocol::ICMP, Protocol::Icmp) => {
                let echo = Icmp::parse(upper).ok()?;
                let ours = (echo.kind, echo.code) == (icmp::v4::ECHO_REQUEST, 0)
                    && echo.identifier() == self.identifier;
                (ours, Number::Exact(echo.sequence().into()))
            }
            (protocol::UDP, Protocol::Udp) => {
                let probe = Udp::parse(upper).ok()?;
                let ours = probe.from_port.wrapping_sub(BASE_SOURCE_PORT) == self.index;
                let number = match self.paris {
                    Some(_) => Number::Checksum {
                        quoted: probe.checksum.into(),
                        made: self.checksum_made(&probe).map(u32::from),
                    },
                    None => Number::Exact(probe.to_port.wrapping_sub(BASE_PORT).into()),
                };
                (ours, number)
            }
            (protocol::TCP, Protocol::Tcp) => {
                let (high, low) = (word(4)?, word(6)?);
                let ours = self.ports.contains(&word(0)?) && high == self.index;
                (ours, Number::Exact(low.into()))
            }
            _ => return None,
        };
        ours.then_some(Quoted { number, time: None })
    }

    fn code_v4(&self, message: &Icmp<'_>) -> (Meaning, Code) {
        if message.kind == icmp::v4::TIME_EXCEEDED {
            return (Meaning::TimeExceeded, Code::None);
        }
        let code = match message.code {
            0 => Code::Letter('N'),
            1 => Code::Letter('H'),
            2 => Code::Letter('P'),
            icmp::v4::PORT_UNREACHABLE if self.protocol == Protocol::Icmp => Code::Letter('p'),
            icmp::v4::PORT_UNREACHABLE => Code::None,
            icmp::v4::FRAGMENTATION_NEEDED => {
                // For this code the field of the sequence number is the next hop's MTU.
                let mtu = message.sequence();
                let fits = mtu.checked_sub(20 + self.header());
                return (Meaning::TooBig(fits), Code::Mtu(mtu.into()));
            }
            13 => Code::Letter('A'),
            other => Code::Number(other),
        };
        (Meaning::Unreachable, code)
    }

    fn read_icmpv6(&self, datagram: &Datagram) -> Option<Reply> {
        let message = Icmp::parse(&datagram.bytes).ok()?;
        let (meaning, quoted, detail) = match message.kind {
            icmp::v6::ECHO_REPLY if self.protocol == Protocol::Icmp => {
                let quoted = self.block_of(message.body)?;
                let tos = datagram.tos.and_then(|tos| self.told(tos));
                (Meaning::Echo, quoted, Detail::Echo { tos })
            }
            icmp::v6::TIME_EXCEEDED | icmp::v6::UNREACHABLE | icmp::v6::PACKET_TOO_BIG => {
                let quote = Ipv6::parse(message.body).ok()?;
                let upper = quote.upper().ok()?;
                if upper.fragment.is_some_and(|fragment| fragment.offset != 0) {
                    return None;
                }
                let quoted = self.quoted_v6(&upper)?;
                let (meaning, code) = self.code_v6(&message);
                let octets = |length: Option<u8>| 8 * u16::from(length.unwrap_or(0));
                let detail = Detail::Error(IcmpError {
                    spaced: false,
                    quoted_ttl: Some(quote.hop_limit).filter(|ttl| *ttl != 1),
                    quoted_tos: self.told(quote.traffic_class),
                    quoted_destination: None,
                    hop_by_hop: octets(upper.hop_by_hop),
                    destination_options: octets(upper.destination_options),
                    code,
                    extensions: message.extensions_v6(),
                });
                (meaning, quoted, detail)
            }
            _ => return None,
        };
        Some(Reply {
            number: quoted.number,
            meaning,
            quoted_time: quoted.time,
            from: datagram.from.ip(),
            ttl: datagram.hop_limit,
            size: signed(datagram.bytes.len()) - 8,
            detail,
        })
    }

    fn quoted_v6(&self, upper: &Upper<'_>) -> Option<Quoted> {
        match (upper.protocol, self.protocol) {
            (protocol::ICMPV6, Protocol::Icmp) => self.block_of(upper.payload.get(icmp::HEADER..)?),
            (protocol::UDP, Protocol::Udp) => self.block_of(upper.payload.get(udp::HEADER..)?),
            (protocol::TCP, Protocol::Tcp) => {
                let probe = Tcp::parse_fixed(upper.payload).ok()?;
                let [a, b, c, d] = probe.sequence.to_be_bytes();
                let ours = u16::from_be_bytes([a, b]) == self.index;
                ours.then(|| Quoted {
                    number: Number::Exact(u16::from_be_bytes([c, d]).into()),
                    time: None,
                })
            }
            _ => None,
        }
    }

    /// The block that begins the payload of an IPv6 probe, if it is one of this run.
    fn block_of(&self, payload: &[u8]) -> Option<Quoted> {
        let block = payload.first_chunk::<BLOCK>()?;
        let word = |at: usize| {
            u32::from_be_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]])
        };
        let long = |at: usize| {
            let mut octets = [0; 8];
            octets.copy_from_slice(&block[at..at + 8]);
            u64::from_le_bytes(octets)
        };
        let ours = word(4) == self.process && word(8) == u32::from(self.index);
        // Nanoseconds that are none count as a wrong time of a strange packet, not as an overflow.
        let nanos = Duration::from_nanos(long(24).min(u64::from(u32::MAX)));
        let time = Duration::from_secs(long(16).min(u64::from(u32::MAX))) + nanos;
        ours.then_some(Quoted {
            number: Number::Exact(word(12)),
            time: Some(Tick(time)),
        })
    }

    fn code_v6(&self, message: &Icmp<'_>) -> (Meaning, Code) {
        match (message.kind, message.code) {
            (icmp::v6::TIME_EXCEEDED, _) => (Meaning::TimeExceeded, Code::None),
            (icmp::v6::PACKET_TOO_BIG, _) => {
                let mtu = message.mtu();
                let fits = low_half(mtu.clamp(LEAST_MTU, u16::MAX.into())) - 40 - self.header();
                (Meaning::TooBig(Some(fits)), Code::Mtu(mtu))
            }
            (_, 0) => (Meaning::Unreachable, Code::Letter('N')),
            (_, 1) => (Meaning::Unreachable, Code::Letter('A')),
            (_, 2) => (Meaning::Unreachable, Code::Letter('h')),
            (_, 3) => (Meaning::Unreachable, Code::Letter('H')),
            (_, icmp::v6::PORT_UNREACHABLE) => (Meaning::Unreachable, Code::None),
            (_, other) => (Meaning::Unreachable, Code::Number(other)),
        }
    }

    fn read_segment(
        &self,
        datagram: &Datagram,
        bytes: &[u8],
        ttl: Option<u8>,
        tos: Option<u8>,
        size: i64,
    ) -> Option<Reply> {
        let segment = Tcp::parse(bytes).ok()?;
        let acknowledged = segment
            .acknowledgment
            .wrapping_sub(u32::from(self.index) << 16);
        let ours = self.protocol == Protocol::Tcp
            && self.ports.contains(&segment.to_port)
            && acknowledged <= u16::MAX.into();
        ours.then(|| Reply {
            number: Number::Acknowledged(acknowledged),
            meaning: Meaning::Segment,
            quoted_time: None,
            from: datagram.from.ip(),
            ttl,
            size,
            detail: Detail::Segment(Segment {
                tos: tos.and_then(|tos| self.told(tos)),
                flags: segment.flags,
                options: (!segment.options.is_empty()).then(|| header_options(segment.options)),
            }),
        })
    }
}

/// The least MTU that an IPv6 "packet too big" is believed.
const LEAST_MTU: u32 = 1200;

/// TCP options up to the first one that is not a maximum segment size, or not a whole one.
fn header_options(mut options: &[u8]) -> Vec<HeaderOption> {
    const MSS: u8 = 2;
    let mut told = Vec::new();
    while let Some((&kind, rest)) = options.split_first() {
        if kind != MSS {
            told.push(HeaderOption::Unknown(kind));
            break;
        }
        let [4, high, low, ..] = *rest else { break };
        told.push(HeaderOption::Mss(u16::from_be_bytes([high, low])));
        options = &rest[3..];
    }
    told
}

/// A packet's length, to subtract from.
fn signed(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}
