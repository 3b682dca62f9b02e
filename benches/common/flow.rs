//! Captured packets as the datagrams and segments of each local port.

use std::collections::BTreeMap;

use super::capture::Packet;

/// What a flow is told by: `udp` or `tcp`, and the port on our side.
pub(crate) type Key = (&'static str, u16);

/// What went over the wire, by flow.
pub(crate) type Flows = BTreeMap<Key, Vec<Segment>>;

/// One datagram or segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segment {
    /// Nanoseconds of the wall clock.
    pub(crate) at: i64,
    pub(crate) outgoing: bool,
    /// Octets after the UDP or TCP header.
    pub(crate) payload: usize,
    /// Of TCP: the number of the first of them.
    sequence: u32,
    pub(crate) syn: bool,
    /// The sender has nothing more to say: FIN or RST.
    pub(crate) end: bool,
}

/// Everything that was captured, in order.
pub(crate) fn flows(packets: &[Packet]) -> Flows {
    let mut flows = Flows::new();
    for packet in packets {
        if let Some((key, segment)) = read(packet) {
            flows.entry(key).or_default().push(segment);
        }
    }
    flows
}

fn read(packet: &Packet) -> Option<(Key, Segment)> {
    let bytes = &packet.bytes;
    let word = |at: usize| -> Option<u16> {
        let pair: [u8; 2] = bytes.get(at..at + 2)?.try_into().ok()?;
        Some(u16::from_be_bytes(pair))
    };
    let (mut protocol, mut at, end) = match bytes.first()? >> 4 {
        4 => (
            *bytes.get(9)?,
            usize::from(bytes.first()? & 15) * 4,
            usize::from(word(2)?),
        ),
        _ => (*bytes.get(6)?, 40, 40 + usize::from(word(4)?)),
    };
    // Hop-by-hop options and destination options.
    while matches!(protocol, 0 | 60) {
        protocol = *bytes.get(at)?;
        at += (usize::from(*bytes.get(at + 1)?) + 1) * 8;
    }
    let port = word(if packet.outgoing { at } else { at + 2 })?;
    let (name, header, flags) = match protocol {
        17 => ("udp", 8, 0),
        6 => {
            let length = usize::from(bytes.get(at + 12)? >> 4) * 4;
            ("tcp", length, *bytes.get(at + 13)?)
        }
        _ => return None,
    };
    let segment = Segment {
        at: packet.at,
        outgoing: packet.outgoing,
        payload: end.checked_sub(at + header)?,
        sequence: u32::from(word(at + 4)?) << 16 | u32::from(word(at + 6)?),
        syn: flags & 2 != 0,
        end: flags & 5 != 0,
    };
    Some(((name, port), segment))
}

/// One use of a local port: from the first packet that left at or after `since` on.
pub(crate) fn from(segments: &[Segment], since: i64) -> &[Segment] {
    // The wall clock is read a little before the packet leaves.
    let first = segments
        .iter()
        .position(|segment| segment.outgoing && segment.at >= since);
    first.map_or(&[], |first| &segments[first..])
}

/// Nanoseconds from the first query to the first reply.
pub(crate) fn datagram_round_trip(segments: &[Segment]) -> Option<i64> {
    let sent = segments.iter().find(|segment| segment.outgoing)?;
    let reply = segments.iter().find(|segment| !segment.outgoing)?;
    Some(reply.at - sent.at)
}

/// The moments of one TCP connection, nanoseconds of the wall clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Connection {
    /// The SYN left.
    pub(crate) syn: i64,
    /// The SYN and its acknowledgement arrived.
    pub(crate) syn_ack: i64,
    /// What TLS said last before the request arrived; the SYN's answer where there is none.
    pub(crate) ready: i64,
    /// The last octets that we sent before the last that came, the request, left.
    pub(crate) request: i64,
    /// The first octets after those arrived.
    pub(crate) first: i64,
    /// The last octets before we closed arrived.
    pub(crate) last: i64,
}

impl Connection {
    /// Reads the segments of one connection; `None` if it is not complete or a SYN was repeated.
    pub(crate) fn read(segments: &[Segment]) -> Option<Self> {
        let closed = segments
            .iter()
            .position(|segment| segment.outgoing && segment.end);
        let segments = &segments[..closed?];
        let mut syns = segments
            .iter()
            .filter(|segment| segment.outgoing && segment.syn);
        let (syn, None) = (syns.next()?, syns.next()) else {
            return None;
        };
        let syn_ack = segments
            .iter()
            .find(|segment| !segment.outgoing && segment.syn)?;
        // What is sent again, for lack of an acknowledgement, was said before.
        let is_news = |index: usize, segment: &Segment| {
            segments[..index].iter().all(|earlier| {
                earlier.outgoing != segment.outgoing
                    || earlier.payload == 0
                    || earlier.sequence.wrapping_sub(segment.sequence) > u32::MAX / 2
            })
        };
        let said = |outgoing: bool| {
            segments
                .iter()
                .enumerate()
                .filter(move |(_, segment)| segment.outgoing == outgoing && segment.payload > 0)
                .filter(move |(index, segment)| is_news(*index, segment))
                .map(|(_, segment)| segment)
        };
        let last = said(false).next_back()?.at;
        // Some say good-bye in octets of their own.
        let request = said(true).rfind(|segment| segment.at < last)?.at;
        let ready = said(false).rfind(|segment| segment.at < request);
        Some(Self {
            syn: syn.at,
            syn_ack: syn_ack.at,
            ready: ready.map_or(syn_ack.at, |segment| segment.at),
            request,
            first: said(false).find(|segment| segment.at >= request)?.at,
            last,
        })
    }
}
