//! What a run's probes look like and what marks them as its own (`packet-measurements` sections 3.3 to 3.5).

use std::net::{IpAddr, SocketAddr};

use super::{Options, Paris, Protocol};
use crate::{
    clock::Tick,
    measurement::machine::Packet,
    wire::{
        checksum::{Sum, adjustment, checksum},
        icmp::{self, Icmp},
        protocol,
        tcp::{self, Tcp},
        udp::{self, Udp},
    },
};

/// Source ports of UDP and TCP probes count from here.
pub(super) const BASE_SOURCE_PORT: u16 = 20480;

/// Destination ports of UDP probes count from here.
pub(super) const BASE_PORT: u16 = 33434;

/// The block that begins the payload of IPv6 probes.
pub(super) const BLOCK: usize = 32;

/// The text that follows the fixed part of every payload.
const FILLER: &[u8] = b"http://atlas.ripe.net Atlas says Hi!";

/// The largest payload that a probe has.
const LARGEST: usize = 4096;

/// The process number and table size under which recordings were made (`replay-vectors` section 3).
const RECORDED: (u32, u16) = (42, 10);

/// What marks the probes of one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// What probes are.
    pub(super) protocol: Protocol,
    /// Where they go.
    pub(super) target: IpAddr,
    /// Where they leave from.
    pub(super) local: IpAddr,
    /// The run's number among those at work: beyond the base of source ports, and the high half of TCP
    /// sequence numbers.
    pub(super) index: u16,
    /// The identifier of echo requests.
    pub(super) identifier: u16,
    /// The process number in IPv6 probes.
    pub(super) process: u32,
    /// The ports that a quoted TCP probe may come from.
    pub(super) ports: std::ops::RangeInclusive<u16>,
    /// The path that is kept, if one is.
    pub(super) paris: Option<u32>,
    /// Destination port of TCP probes.
    pub(super) tcp_port: u16,
    /// Whether `-t` asked for a TOS, which makes results tell that of replies.
    pub(super) tos_asked: bool,
}

impl Mark {
    /// The mark of a run of `options` that goes to `target`.
    ///
    /// Live, the driver's identifier (ICMP) or local port (UDP, TCP) is the run's alone, and `chance` makes the
    /// process number hard to guess. A replay has the numbers of the recording.
    pub(super) fn new(
        options: &Options,
        target: IpAddr,
        opened: (SocketAddr, u16),
        paris: Option<u32>,
        source: MarkSource,
    ) -> Self {
        let (local, identifier) = opened;
        let (index, identifier, process, ports) = match source {
            MarkSource::Recording => {
                let (process, table) = RECORDED;
                let [.., high, low] = process.to_be_bytes();
                let identifier = match target {
                    IpAddr::V4(_) => 0,
                    IpAddr::V6(_) => u16::from_be_bytes([high, low]),
                };
                let last = BASE_SOURCE_PORT + table - 1;
                (0, identifier, process, BASE_SOURCE_PORT..=last)
            }
            MarkSource::Chance(chance) => {
                let index = match options.protocol {
                    Protocol::Icmp => identifier,
                    _ => local.port().wrapping_sub(BASE_SOURCE_PORT),
                };
                // The low half of the process number is the identifier of ICMPv6 probes.
                let process = u32::from(chance) << 16 | u32::from(identifier);
                (index, identifier, process, local.port()..=local.port())
            }
        };
        Self {
            protocol: options.protocol,
            target,
            local: local.ip(),
            index,
            identifier,
            process,
            ports,
            paris,
            tcp_port: options.port.unwrap_or(0),
            tos_asked: options.tos != 0,
        }
    }

    /// The source port of UDP and TCP probes.
    fn source_port(&self) -> u16 {
        BASE_SOURCE_PORT.wrapping_add(self.index)
    }

    /// Octets of the header between the IP header and the payload.
    pub(super) const fn header(&self) -> u16 {
        match self.protocol {
            Protocol::Tcp => 20,
            Protocol::Icmp | Protocol::Udp => 8,
        }
    }

    /// The least payload that a probe can have.
    pub(super) const fn least(&self) -> u16 {
        match (self.protocol, self.target) {
            (Protocol::Tcp, _) => 0,
            (_, IpAddr::V4(_)) => 2,
            (_, IpAddr::V6(_)) => 32,
        }
    }

    /// The destination port of a UDP probe.
    fn udp_port(&self, number: u16) -> u16 {
        let offset = match self.paris {
            Some(paris) => low_half(paris),
            None => number,
        };
        BASE_PORT.wrapping_add(offset)
    }

    /// Probe `number` with `size` octets of payload, sent at `now` towards the hop `hop`.
    pub(super) fn packet(&self, number: u16, size: u16, hop: u8, now: Tick) -> Packet {
        let payload = self.payload(number, usize::from(size.max(self.least())), now);
        let (port, bytes) = match self.protocol {
            Protocol::Icmp => (0, self.echo(number, payload)),
            Protocol::Udp => (self.udp_port(number), self.datagram(number, payload)),
            Protocol::Tcp => {
                let sequence = u32::from(self.index) << 16 | u32::from(number);
                let syn = Tcp::syn(self.source_port(), self.tcp_port, sequence, &payload);
                (self.tcp_port, syn.emit_between(self.local, self.target))
            }
        };
        Packet {
            tag: number.into(),
            bytes,
            hop_limit: Some(hop),
            port,
        }
    }

    /// The payload, its adjust octets still 0.
    fn payload(&self, number: u16, size: usize, now: Tick) -> Vec<u8> {
        let mut payload = match (self.protocol, self.target) {
            (Protocol::Tcp, _) => Vec::new(),
            (_, IpAddr::V4(_)) => vec![0; 2],
            (_, IpAddr::V6(_)) => self.block(number, now).to_vec(),
        };
        payload.extend(FILLER);
        payload.resize(size, 0);
        payload
    }

    /// What IPv6 probes carry to be known by.
    fn block(&self, number: u16, now: Tick) -> [u8; BLOCK] {
        let mut block = [0; BLOCK];
        block[4..8].copy_from_slice(&self.process.to_be_bytes());
        block[8..12].copy_from_slice(&u32::from(self.index).to_be_bytes());
        block[12..16].copy_from_slice(&u32::from(number).to_be_bytes());
        block[16..24].copy_from_slice(&now.0.as_secs().to_le_bytes());
        block[24..32].copy_from_slice(&u64::from(now.0.subsec_nanos()).to_le_bytes());
        block
    }

    /// An echo request whose checksum is the path's number (IPv6: one more).
    fn echo(&self, number: u16, mut payload: Vec<u8>) -> Vec<u8> {
        match self.target {
            IpAddr::V4(_) => {
                let kind = icmp::v4::ECHO_REQUEST;
                if let Some(paris) = self.paris {
                    let plain = Icmp::echo(kind, self.identifier, number, &payload).emit();
                    adjust(&mut payload, checksum(&plain), low_half(paris));
                }
                Icmp::echo(kind, self.identifier, number, &payload).emit_v4()
            }
            IpAddr::V6(_) => {
                let kind = icmp::v6::ECHO_REQUEST;
                if let Some(paris) = self.paris {
                    let plain = Icmp::echo(kind, self.identifier, number, &payload).emit();
                    let (from, to) = (self.local, self.target);
                    let sum = Sum::of_pseudo_header(from, to, protocol::ICMPV6, plain.len());
                    let wanted = low_half(paris).wrapping_add(1);
                    adjust(&mut payload, sum.plus(&plain).checksum(), wanted);
                }
                Icmp::echo(kind, self.identifier, number, &payload).emit()
            }
        }
    }

    /// The number that the adjust octets of a quoted UDP probe gave to its checksum. They survive what rewrites headers.
    pub(super) fn checksum_made(&self, probe: &Udp<'_>) -> Option<u16> {
        let adjust = u16::from_be_bytes(*probe.payload.first_chunk()?);
        let size = usize::from(probe.length).checked_sub(udp::HEADER)?;
        let payload = self.payload(0, size.clamp(2, LARGEST), Tick::default());
        let from = (self.local, self.source_port());
        let to = (self.target, self.udp_port(0));
        let plain = udp::plain_checksum(from, to, &payload);
        Some(unadjusted(plain, adjust))
    }

    /// The payload of a UDP probe. In IPv4 its checksum is the probe's number, or without Paris a constant.
    fn datagram(&self, number: u16, mut payload: Vec<u8>) -> Vec<u8> {
        if self.target.is_ipv4() {
            let from = (self.local, self.source_port());
            let to = (self.target, self.udp_port(number));
            let wanted = match self.paris {
                Some(_) => number,
                None => self.index.wrapping_add(1),
            };
            let plain = udp::plain_checksum(from, to, &payload);
            adjust(&mut payload, plain, wanted);
        }
        payload
    }
}

/// Where the numbers of a run come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MarkSource {
    /// The recording that is replayed.
    Recording,
    /// The driver, and this.
    Chance(u16),
}

/// Sets the first two octets of a payload.
fn adjust(payload: &mut [u8], plain: u16, wanted: u16) {
    if let Some(octets) = payload.first_chunk_mut::<2>() {
        *octets = adjustment(plain, wanted).to_be_bytes();
    }
}

/// What was wanted of a checksum that is `plain` without the octets `adjust`: the inverse of [`adjustment`].
const fn unadjusted(plain: u16, adjust: u16) -> u16 {
    !adjustment(adjust, plain)
}

/// The low 16 bits.
pub(super) fn low_half(number: u32) -> u16 {
    let [.., high, low] = number.to_be_bytes();
    u16::from_be_bytes([high, low])
}

/// The path of a run: the one after `previous`, or a fixed one. `None` without Paris.
pub(super) fn next_path(paris: Paris, previous: Option<u32>) -> Option<u32> {
    match paris {
        Paris::Off => None,
        Paris::Fixed(id) => Some(id),
        Paris::Cycle { modulus, base } => {
            let (modulus, base) = (u32::from(modulus), u32::from(base));
            let previous = previous.unwrap_or(base);
            // A carry from other options may lie below the base.
            Some((previous.saturating_sub(base) + 1) % modulus + base)
        }
    }
}

/// The path that is told when no probe was sent: that of the previous run.
pub(super) fn same_path(paris: Paris, previous: Option<u32>) -> Option<u32> {
    match paris {
        Paris::Off => None,
        Paris::Fixed(id) => Some(id),
        Paris::Cycle { base, .. } => Some(previous.unwrap_or(base.into())),
    }
}

const _: () = assert!(tcp::HEADER == 20 && udp::HEADER == 8 && icmp::HEADER == 8);
