//! Probes and what came back for them, among captured packets.

use std::net::Ipv4Addr;

use crate::common::capture::Packet;

/// A probe and what came back for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Exchange {
    pub(crate) to: Ipv4Addr,
    pub(crate) ttl: u8,
    /// Nanoseconds of the wall clock.
    pub(crate) sent: i64,
    /// When the reply arrived, and its content after the transport header.
    pub(crate) reply: Option<(i64, Vec<u8>)>,
    key: Key,
}

/// What a packet has in common with its reply.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Key {
    /// Identifier and sequence number.
    Echo([u8; 4]),
    /// Our port, the other's.
    Udp(u16, u16),
}

/// Pairs probes with replies, in the order sent.
pub(crate) fn exchanges(packets: &[Packet]) -> Vec<Exchange> {
    let mut found: Vec<Exchange> = Vec::new();
    for packet in packets {
        let Some(ip) = Ip::read(&packet.bytes) else {
            continue;
        };
        if packet.outgoing {
            if let Some(key) = ip.probe() {
                found.push(Exchange {
                    to: ip.to,
                    ttl: ip.ttl,
                    sent: packet.at,
                    reply: None,
                    key,
                });
            }
        } else if let Some((to, key)) = ip.answered() {
            // A traceroute sends to the same ports again, but only after the answer.
            let probe = found
                .iter_mut()
                .rev()
                .find(|probe| probe.key == key && probe.to == to && probe.reply.is_none());
            if let Some(probe) = probe {
                let content = ip.content.get(8..).unwrap_or_default().to_vec();
                probe.reply = Some((packet.at, content));
            }
        }
    }
    found
}

struct Ip<'a> {
    from: Ipv4Addr,
    to: Ipv4Addr,
    ttl: u8,
    protocol: u8,
    content: &'a [u8],
}

impl<'a> Ip<'a> {
    fn read(bytes: &'a [u8]) -> Option<Self> {
        if bytes.first()? >> 4 != 4 {
            return None;
        }
        let length = usize::from(bytes.first()? & 0x0f) * 4;
        let address = |at: usize| -> Option<Ipv4Addr> {
            let octets: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
            Some(octets.into())
        };
        Some(Self {
            from: address(12)?,
            to: address(16)?,
            ttl: *bytes.get(8)?,
            protocol: *bytes.get(9)?,
            content: bytes.get(length..)?,
        })
    }

    fn ports(&self) -> Option<(u16, u16)> {
        let [a, b, c, d] = *self.content.first_chunk()?;
        Some((u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])))
    }

    fn echo(&self) -> Option<Key> {
        let part = self.content.get(4..8)?;
        Some(Key::Echo(part.try_into().ok()?))
    }

    fn probe(&self) -> Option<Key> {
        match (self.protocol, self.content.first()?) {
            (1, 8) => self.echo(),
            (17, _) => self.ports().map(|(from, to)| Key::Udp(from, to)),
            _ => None,
        }
    }

    /// Which probe this answers: its destination and key.
    fn answered(&self) -> Option<(Ipv4Addr, Key)> {
        match (self.protocol, self.content.first()?) {
            (1, 0) => Some((self.from, self.echo()?)),
            (1, 3 | 11) => {
                let quoted = Ip::read(self.content.get(8..)?)?;
                Some((quoted.to, quoted.probe()?))
            }
            (17, _) => {
                let (from, to) = self.ports()?;
                Some((self.from, Key::Udp(to, from)))
            }
            _ => None,
        }
    }
}
