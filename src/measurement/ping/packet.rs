//! The echo messages of `evping` (`packet-measurements` sections 2.2 and 2.4).
//!
//! The payload keeps the layout of the official probe on 64-bit hosts, little-endian on every host:
//! send time in seconds and nanoseconds of the monotonic clock (8 + 8 octets), table index (4, always 0), cookie
//! (8), zeros (4), and from octet 32 on the signature or zeros. Only a replay takes the time from there; live,
//! every request's time is kept here, and the time in the reply must merely be the one that was sent.

use std::{net::IpAddr, time::Duration};

use super::options::Options;
use crate::{
    clock::Tick,
    measurement::machine::{Datagram, Family},
    wire::{
        checksum::checksum,
        icmp::{HEADER, Icmp, v4, v6},
        ip::Ipv4,
    },
};

/// Octets of payload that a reply must have to be ours.
pub(crate) const MIN_PAYLOAD: usize = 32;
/// Octets of a received packet that count: the receive buffer of the official probe.
const RECEIVE_BUFFER: usize = 4076;
/// What an IPv4 packet's length is reduced by to give the reported size, whatever options its header has.
const IPV4_OVERHEAD: usize = 28;
/// Where table index and cookie stand in the payload.
const COOKIE: std::ops::Range<usize> = 16..28;

/// What makes a reply one of this measurement's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    /// The ICMP identifier of the run.
    pub(crate) identifier: u16,
    /// The measurement's own octets.
    pub(crate) cookie: [u8; 8],
}

/// The ICMP message of one request.
pub(crate) fn request(
    options: &Options,
    mark: Mark,
    sequence: u16,
    sent: Tick,
    signature: Option<&str>,
) -> Vec<u8> {
    let size = usize::try_from(options.wire_size()).expect("clamped to 4068");
    let mut payload = vec![0; size];
    payload[0..8].copy_from_slice(&sent.0.as_secs().to_le_bytes());
    payload[8..16].copy_from_slice(&u64::from(sent.0.subsec_nanos()).to_le_bytes());
    payload[20..28].copy_from_slice(&mark.cookie);
    if let Some(text) = signature {
        let room = &mut payload[MIN_PAYLOAD..];
        let length = room.len().min(text.len());
        room[..length].copy_from_slice(&text.as_bytes()[..length]);
    }
    match options.family {
        Family::V6 => Icmp::echo(v6::ECHO_REQUEST, mark.identifier, sequence, &payload).emit(),
        _ => Icmp::echo(v4::ECHO_REQUEST, mark.identifier, sequence, &payload).emit_v4(),
    }
}

/// A received packet that carries this measurement's mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Marked {
    pub(crate) kind: MarkedKind,
    pub(crate) sequence: u16,
    /// The send time in its payload: seconds and nanoseconds, unchecked.
    pub(crate) stamp: (i64, i64),
    /// The size to report, in octets after the ICMP header.
    pub(crate) size: u32,
    pub(crate) ttl: Option<u8>,
    /// Where it was sent to.
    pub(crate) to: Option<IpAddr>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MarkedKind {
    /// An echo reply.
    Reply,
    /// An echo request: our own, heard on loopback.
    Request,
    /// Any other message.
    Other,
}

impl Marked {
    /// Reads a packet, if it is of this measurement. `check` verifies the checksum of ICMP over IPv4, which the
    /// kernel does not do for raw sockets.
    pub(crate) fn read(
        datagram: &Datagram,
        family: Family,
        mark: Mark,
        check: bool,
    ) -> Option<Self> {
        let received = &datagram.bytes[..datagram.bytes.len().min(RECEIVE_BUFFER)];
        let (message, size, ttl, to) = if family == Family::V6 {
            let size = received.len().checked_sub(HEADER)?;
            (received, size, datagram.hop_limit, datagram.to)
        } else {
            let ip = Ipv4::parse(received).ok()?;
            if check && checksum(Ipv4::parse(&datagram.bytes).ok()?.payload) != 0 {
                return None;
            }
            let size = received.len().checked_sub(IPV4_OVERHEAD)?;
            (ip.payload, size, Some(ip.ttl), Some(IpAddr::V4(ip.to)))
        };
        let icmp = Icmp::parse(message).ok()?;
        let payload = icmp.body.get(..MIN_PAYLOAD)?;
        let (index, cookie) = payload[COOKIE].split_at(4);
        if icmp.identifier() != mark.identifier || index != [0; 4] || cookie != mark.cookie {
            return None;
        }
        Some(Self {
            kind: match (family, icmp.kind) {
                (Family::V6, v6::ECHO_REPLY) => MarkedKind::Reply,
                (Family::V6, v6::ECHO_REQUEST) => MarkedKind::Request,
                (Family::V6, _) => MarkedKind::Other,
                (_, v4::ECHO_REPLY) => MarkedKind::Reply,
                (_, v4::ECHO_REQUEST) => MarkedKind::Request,
                _ => MarkedKind::Other,
            },
            sequence: icmp.sequence(),
            stamp: (integer(&payload[0..8]), integer(&payload[8..16])),
            size: u32::try_from(size).expect("at most the receive buffer"),
            ttl,
            to,
        })
    }

    /// Whether the payload carries the time that was sent.
    pub(crate) fn was_sent_at(&self, sent: Tick) -> bool {
        let (seconds, nanos) = self.stamp;
        let stamp = u64::try_from(seconds)
            .ok()
            .zip(
                u32::try_from(nanos)
                    .ok()
                    .filter(|nanos| *nanos < 1_000_000_000),
            )
            .map(|(seconds, nanos)| Duration::new(seconds, nanos));
        stamp == Some(sent.0)
    }

    /// Milliseconds from the time in the payload to `received`: the round trip in a replay.
    pub(crate) fn millis_by_stamp(&self, received: Tick) -> f64 {
        let (seconds, nanos) = (i128::from(self.stamp.0), i128::from(self.stamp.1));
        let received = i128::try_from(received.0.as_nanos()).unwrap_or(i128::MAX);
        let elapsed = received - (seconds * 1_000_000_000 + nanos);
        // Exact for every interval that a recording can mean; what is beyond is rounded.
        #[expect(clippy::cast_precision_loss, reason = "see above")]
        let millis = elapsed as f64 / 1e6;
        millis
    }
}

/// Eight octets as a little-endian number.
fn integer(octets: &[u8]) -> i64 {
    octets
        .iter()
        .rev()
        .fold(0, |number, octet| number << 8 | i64::from(*octet))
}
