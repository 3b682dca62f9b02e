//! Whose packet is it: what an ICMP message says of the run that it answers, and the packet filters that keep
//! everything else in the kernel. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::socket::{ICMP, ICMPV6, TCP, UDP};
use crate::wire::checksum::checksum;

/// What identifies a run on packets that come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mark {
    /// An ICMP identifier.
    Ident(u16),
    /// A local UDP port.
    Udp(u16),
    /// A local TCP port.
    Tcp(u16),
}

/// What an ICMP message is to the runs of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// An echo reply with this identifier.
    EchoReply(u16),
    /// An error that quotes a packet with this mark.
    Error {
        /// Whose packet.
        mark: Mark,
        /// Type of the error.
        kind: u8,
        /// Code of the error.
        code: u8,
    },
}

/// Reads an ICMPv4 packet from its IP header on. `None` for everything that no run can want.
pub(super) fn icmp4(packet: &[u8]) -> Option<Found> {
    let message = after_ipv4(packet)?;
    let (kind, code) = (*message.first()?, *message.get(1)?);
    match kind {
        0 if code == 0 => word(message, 4).map(Found::EchoReply),
        // Unreachable and time exceeded (RFC 792 pp. 4, 6).
        3 | 11 => {
            let quoted = message.get(8..)?;
            let inner = after_ipv4(quoted)?;
            // A later fragment carries no ports.
            if word(quoted, 6)? & 0x1fff != 0 {
                return None;
            }
            let mark = mark(*quoted.get(9)?, inner, [ICMP, 8])?;
            Some(Found::Error { mark, kind, code })
        }
        _ => None,
    }
}

/// Whether the sum of an ICMPv4 packet holds, which is read from its IP header on (RFC 1122 section 3.2.2 has what
/// is damaged dropped). Its sender always computes it: unlike those of UDP and TCP it is never left to an interface.
pub(super) fn is_whole_icmp4(packet: &[u8]) -> bool {
    after_ipv4(packet).is_some_and(|message| checksum(message) == 0)
}

/// Reads an ICMPv6 message from its type on.
pub(super) fn icmp6(message: &[u8]) -> Option<Found> {
    let (kind, code) = (*message.first()?, *message.get(1)?);
    match kind {
        129 if code == 0 => word(message, 4).map(Found::EchoReply),
        // Unreachable, packet too big, time exceeded, parameter problem (RFC 4443 section 3).
        1..=4 => {
            let (protocol, inner) = after_ipv6(message.get(8..)?)?;
            let mark = mark(protocol, inner, [ICMPV6, 128])?;
            Some(Found::Error { mark, kind, code })
        }
        _ => None,
    }
}

/// The mark of a quoted packet of ours. `echo` is the protocol and type of our echo requests.
fn mark(protocol: u8, quoted: &[u8], echo: [u8; 2]) -> Option<Mark> {
    match protocol {
        UDP => word(quoted, 0).map(Mark::Udp),
        TCP => word(quoted, 0).map(Mark::Tcp),
        _ if protocol == echo[0] && quoted.first() == Some(&echo[1]) => {
            word(quoted, 4).map(Mark::Ident)
        }
        _ => None,
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    let pair = bytes.get(at..at + 2)?;
    Some(u16::from_be_bytes([pair[0], pair[1]]))
}

/// What follows an IPv4 header.
pub(super) fn after_ipv4(packet: &[u8]) -> Option<&[u8]> {
    let first = *packet.first()?;
    let length = usize::from(first & 0x0f) * 4;
    (first >> 4 == 4 && length >= 20)
        .then(|| packet.get(length..))
        .flatten()
}

/// Protocol and content after an IPv6 header and the extension headers that our probes may carry.
fn after_ipv6(packet: &[u8]) -> Option<(u8, &[u8])> {
    if packet.first()? >> 4 != 6 {
        return None;
    }
    let mut protocol = *packet.get(6)?;
    let mut rest = packet.get(40..)?;
    // Each kind of header at most once.
    for _ in 0..4 {
        let length = match protocol {
            // Hop-by-hop and destination options.
            0 | 60 => (usize::from(*rest.get(1)?) + 1) * 8,
            // Fragment header: only the first fragment carries ports.
            44 if word(rest, 2)? & 0xfff8 == 0 => 8,
            44 => return None,
            _ => break,
        };
        protocol = *rest.first()?;
        rest = rest.get(length..)?;
    }
    Some((protocol, rest))
}

/// The errno that the kernel would leave on a connected socket for an ICMP error of this kind, for errors
/// grave enough to make its next send fail.
pub(super) fn hard_error(v6: bool, kind: u8, code: u8) -> Option<i32> {
    use nix::libc;
    match (v6, kind, code) {
        (false, 3, 2) => Some(libc::ENOPROTOOPT),
        (false, 3, 3) | (true, 1, 4) => Some(libc::ECONNREFUSED),
        (false, 3, 6 | 9) => Some(libc::ENETUNREACH),
        (false, 3, 7) => Some(libc::EHOSTDOWN),
        (false, 3, 8) => Some(libc::ENONET),
        (false, 3, 10 | 13 | 14 | 15) => Some(libc::EHOSTUNREACH),
        (true, 1, 1 | 5 | 6) => Some(libc::EACCES),
        (true, 4, _) => Some(libc::EPROTO),
        _ => None,
    }
}

/// An IPv4 header as it would have stood before `content`, for packets that the kernel gives without one.
pub(super) fn ipv4_header(
    from: Ipv4Addr,
    to: Ipv4Addr,
    hop_limit: u8,
    tos: u8,
    protocol: u8,
    content: usize,
) -> [u8; 20] {
    let total = u16::try_from(20 + content)
        .unwrap_or(u16::MAX)
        .to_be_bytes();
    let mut header = [0; 20];
    header[..4].copy_from_slice(&[0x45, tos, total[0], total[1]]);
    header[8] = hop_limit;
    header[9] = protocol;
    header[12..16].copy_from_slice(&from.octets());
    header[16..].copy_from_slice(&to.octets());
    header
}

/// The same for IPv6.
pub(super) fn ipv6_header(
    from: Ipv6Addr,
    to: Ipv6Addr,
    hop_limit: u8,
    protocol: u8,
    content: usize,
) -> [u8; 40] {
    let mut header = [0; 40];
    header[0] = 0x60;
    header[4..6].copy_from_slice(&u16::try_from(content).unwrap_or(u16::MAX).to_be_bytes());
    header[6] = protocol;
    header[7] = hop_limit;
    header[8..24].copy_from_slice(&from.octets());
    header[24..].copy_from_slice(&to.octets());
    header
}

/// One instruction of a packet filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Instruction {
    pub(super) code: u16,
    /// Instructions skipped if a comparison holds.
    pub(super) then: u8,
    /// Instructions skipped if it does not.
    pub(super) otherwise: u8,
    pub(super) value: u32,
}

impl Instruction {
    const fn new(code: u16, then: u8, otherwise: u8, value: u32) -> Self {
        Self {
            code,
            then,
            otherwise,
            value,
        }
    }
}

/// Classic BPF (`man 7 bpf`, `linux/filter.h`), the few instructions that are used.
mod bpf {
    use super::Instruction;

    /// Accumulator = octet at `at`.
    pub(super) const fn octet(at: u32) -> Instruction {
        Instruction::new(0x30, 0, 0, at)
    }
    /// Accumulator = octet at index + `at`.
    pub(super) const fn octet_x(at: u32) -> Instruction {
        Instruction::new(0x50, 0, 0, at)
    }
    /// Accumulator = 16 bits at `at`.
    pub(super) const fn half(at: u32) -> Instruction {
        Instruction::new(0x28, 0, 0, at)
    }
    /// Accumulator = 16 bits at index + `at`.
    pub(super) const fn half_x(at: u32) -> Instruction {
        Instruction::new(0x48, 0, 0, at)
    }
    /// Index = 4 * (low nibble of octet 0), an IPv4 header's length.
    pub(super) const fn header_length() -> Instruction {
        Instruction::new(0xb1, 0, 0, 0)
    }
    /// Accumulator &= `mask`.
    pub(super) const fn and(mask: u32) -> Instruction {
        Instruction::new(0x54, 0, 0, mask)
    }
    /// Skips `then` instructions if the accumulator equals `value`, `otherwise` instructions if not.
    pub(super) const fn equal(value: u32, then: u8, otherwise: u8) -> Instruction {
        Instruction::new(0x15, then, otherwise, value)
    }
    /// Takes the whole packet.
    pub(super) const ACCEPT: Instruction = Instruction::new(0x06, 0, 0, 0xffff_ffff);
    /// Takes nothing.
    pub(super) const DROP: Instruction = Instruction::new(0x06, 0, 0, 0);
}

/// Identifiers share their high bits with the socket that they are sent from, so that the kernel can tell
/// which of several sockets an echo reply is for.
pub(super) const BLOCK: u16 = 0xf000;

/// Lets in echo replies to identifiers of `block`, and ICMP errors: about echo requests only, or about any
/// probe.
pub(super) fn icmp_filter(v6: bool, block: u16, all_errors: bool) -> Vec<Instruction> {
    let block = u32::from(block & BLOCK);
    if v6 {
        icmp6_filter(block, all_errors)
    } else {
        icmp4_filter(block, all_errors)
    }
}

fn icmp4_filter(block: u32, all_errors: bool) -> Vec<Instruction> {
    use bpf::{ACCEPT, DROP, and, equal, half_x, header_length, octet_x};
    let (icmp, tcp, udp) = (u32::from(ICMP), u32::from(TCP), u32::from(UDP));
    let quoted_protocol = octet_x(8 + 9);
    if all_errors {
        vec![
            header_length(),
            octet_x(0),
            equal(0, 0, 3), // echo reply?
            half_x(4),
            and(u32::from(BLOCK)),
            equal(block, 6, 7),
            equal(3, 1, 0),  // unreachable?
            equal(11, 0, 5), // time exceeded?
            quoted_protocol,
            equal(icmp, 2, 0),
            equal(tcp, 1, 0),
            equal(udp, 0, 1),
            ACCEPT,
            DROP,
        ]
    } else {
        vec![
            header_length(),
            octet_x(0),
            equal(0, 0, 3),
            half_x(4),
            and(u32::from(BLOCK)),
            equal(block, 4, 5),
            equal(3, 1, 0),
            equal(11, 0, 3),
            quoted_protocol,
            equal(icmp, 0, 1),
            ACCEPT,
            DROP,
        ]
    }
}

fn icmp6_filter(block: u32, all_errors: bool) -> Vec<Instruction> {
    use bpf::{ACCEPT, DROP, and, equal, half, octet};
    let quoted_next_header = octet(8 + 6);
    if all_errors {
        // Probes may carry extension headers, so what is quoted is looked at in the process.
        vec![
            octet(0),
            equal(129, 0, 3), // echo reply?
            half(4),
            and(u32::from(BLOCK)),
            equal(block, 4, 5),
            equal(1, 3, 0), // unreachable?
            equal(2, 2, 0), // packet too big?
            equal(3, 1, 0), // time exceeded?
            equal(4, 0, 1), // parameter problem?
            ACCEPT,
            DROP,
        ]
    } else {
        vec![
            octet(0),
            equal(129, 0, 3),
            half(4),
            and(u32::from(BLOCK)),
            equal(block, 6, 7),
            equal(1, 3, 0),
            equal(2, 2, 0),
            equal(3, 1, 0),
            equal(4, 0, 3),
            quoted_next_header,
            equal(u32::from(ICMPV6), 0, 1),
            ACCEPT,
            DROP,
        ]
    }
}

/// Lets in TCP segments to one local port.
pub(super) fn tcp_filter(v6: bool, port: u16) -> Vec<Instruction> {
    use bpf::{ACCEPT, DROP, equal, half, half_x, header_length};
    let port = u32::from(port);
    if v6 {
        vec![half(2), equal(port, 0, 1), ACCEPT, DROP]
    } else {
        vec![header_length(), half_x(2), equal(port, 0, 1), ACCEPT, DROP]
    }
}

/// Lets in nothing.
pub(super) fn closed_filter() -> Vec<Instruction> {
    vec![bpf::DROP]
}

/// The two ends of a packet, if both are IPv4.
pub(super) const fn both_v4(from: IpAddr, to: IpAddr) -> Option<(Ipv4Addr, Ipv4Addr)> {
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => Some((from, to)),
        _ => None,
    }
}

#[cfg(test)]
#[path = "demux_tests.rs"]
mod tests;
