//! ICMP errors that the kernel reports by the error queue, put back into the form in which they came.
//!
//! Without a raw socket the kernel tells type, code, sender and what is quoted after the headers. What it does
//! not tell is filled in from what was sent, with a quoted hop limit of 1; ICMP extensions are lost. Pure.

use std::{
    collections::VecDeque,
    net::{IpAddr, SocketAddr},
};

use super::{
    demux,
    socket::{ICMP, IcmpError, UDP},
};

/// Packets that are remembered for errors about them.
const LIMIT: usize = 32;

/// The latest packets sent.
#[derive(Debug, Default)]
pub(super) struct Recent(VecDeque<(u16, Vec<u8>)>);

impl Recent {
    pub(super) fn push(&mut self, port: u16, bytes: &[u8]) {
        if self.0.len() == LIMIT {
            self.0.pop_front();
        }
        self.0.push_back((port, bytes.to_vec()));
    }

    /// The UDP header and payload of the latest packet to `destination` whose payload begins like `quoted`.
    pub(super) fn udp(
        &self,
        source: SocketAddr,
        destination: SocketAddr,
        quoted: &[u8],
    ) -> Option<Vec<u8>> {
        let fits = |payload: &[u8]| payload.iter().zip(quoted).all(|(a, b)| a == b);
        let (_, payload) = self
            .0
            .iter()
            .rev()
            .find(|(port, payload)| *port == destination.port() && fits(payload))?;
        let length = u16::try_from(8 + payload.len()).ok()?;
        let mut packet = Vec::with_capacity(8 + payload.len());
        packet.extend(source.port().to_be_bytes());
        packet.extend(destination.port().to_be_bytes());
        packet.extend(length.to_be_bytes());
        packet.extend([0, 0]);
        packet.extend_from_slice(payload);
        let sum = udp_checksum(source.ip(), destination.ip(), &packet);
        packet[6..8].copy_from_slice(&sum.to_be_bytes());
        Some(packet)
    }
}

/// The ICMP packet: from its IP header on for IPv4, from the ICMPv6 header on for IPv6. `packet` is what
/// follows the quoted IP header, and `protocol` what it is.
pub(super) fn icmp_from_error_queue(
    error: &IcmpError,
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    packet: &[u8],
) -> Option<Vec<u8>> {
    let mut message = vec![error.kind, error.code, 0, 0, 0, 0, 0, 0];
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let IpAddr::V4(offender) = error.offender else {
                return None;
            };
            if (error.kind, error.code) == (3, 4) {
                let mtu = u16::try_from(error.mtu).unwrap_or(u16::MAX);
                message[6..8].copy_from_slice(&mtu.to_be_bytes());
            }
            message.extend(demux::ipv4_header(
                source,
                destination,
                1,
                0,
                protocol,
                packet.len(),
            ));
            message.extend_from_slice(packet);
            let limit = error.header.hop_limit.unwrap_or(0);
            let tos = error.header.tos.unwrap_or(0);
            let mut bytes =
                demux::ipv4_header(offender, source, limit, tos, ICMP, message.len()).to_vec();
            bytes.extend(message);
            Some(bytes)
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            if error.kind == 2 {
                message[4..8].copy_from_slice(&error.mtu.to_be_bytes());
            }
            message.extend(demux::ipv6_header(
                source,
                destination,
                1,
                protocol,
                packet.len(),
            ));
            message.extend_from_slice(packet);
            Some(message)
        }
        _ => None,
    }
}

/// The UDP checksum as it stands in the packet (RFC 768, RFC 8200 section 8.1).
fn udp_checksum(source: IpAddr, destination: IpAddr, packet: &[u8]) -> u16 {
    let mut pseudo = Vec::with_capacity(40 + packet.len());
    for address in [source, destination] {
        match address {
            IpAddr::V4(address) => pseudo.extend(address.octets()),
            IpAddr::V6(address) => pseudo.extend(address.octets()),
        }
    }
    pseudo.extend([0, UDP]);
    pseudo.extend(
        u16::try_from(packet.len())
            .unwrap_or(u16::MAX)
            .to_be_bytes(),
    );
    pseudo.extend_from_slice(packet);
    let mut sum: u32 = pseudo
        .chunks(2)
        .map(|pair| (u32::from(pair[0]) << 8) | u32::from(pair.get(1).copied().unwrap_or(0)))
        .sum();
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    match !u16::try_from(sum).unwrap_or(0) {
        0 => 0xffff,
        sum => sum,
    }
}

#[cfg(test)]
mod tests {
    use super::super::demux::{Found, Mark};
    use super::super::socket::Header;
    use super::*;

    fn error(kind: u8, code: u8, offender: &str, destination: Option<&str>) -> IcmpError {
        IcmpError {
            kind,
            code,
            mtu: 1_280,
            offender: offender.parse().unwrap(),
            destination: destination.map(|text| text.parse().unwrap()),
            header: Header::default(),
        }
    }

    #[test]
    fn a_udp_probe_is_found_again_with_ports_and_checksum() {
        let mut recent = Recent::default();
        recent.push(33_435, &[0xaa, 0xbb, 1]);
        recent.push(33_436, &[0xaa, 0xbb, 2]);
        let source = "192.0.2.1:20480".parse().unwrap();
        let to = "198.51.100.2:33435".parse().unwrap();
        let packet = recent.udp(source, to, &[0xaa]).unwrap();
        // 0xc000+0x0201 + 0xc633+0x6402 + 0x0011 + 0x000b + 0x5000+0x829b + 0x000b + 0xaabb+0x0100
        assert_eq!(
            packet,
            [0x50, 0, 0x82, 0x9b, 0, 11, 0x95, 0x49, 0xaa, 0xbb, 1]
        );
        assert_eq!(recent.udp(source, to, &[0xab]), None);
    }

    #[test]
    fn an_error_about_a_udp_probe_reads_like_one_from_a_raw_socket() {
        for (offender, local, to) in [
            ("203.0.113.1", "192.0.2.1:20480", "198.51.100.2:33435"),
            ("2001:db8::3", "[2001:db8::1]:20480", "[2001:db8::2]:33435"),
        ] {
            let mut recent = Recent::default();
            recent.push(33_435, &[8; 12]);
            let (source, destination): (SocketAddr, SocketAddr) =
                (local.parse().unwrap(), to.parse().unwrap());
            let packet = recent.udp(source, destination, &[]).unwrap();
            let v6 = source.is_ipv6();
            let error = error(if v6 { 3 } else { 11 }, 0, offender, Some(to));
            let bytes =
                icmp_from_error_queue(&error, source.ip(), destination.ip(), UDP, &packet).unwrap();
            let found = if v6 {
                demux::icmp6(&bytes)
            } else {
                demux::icmp4(&bytes)
            };
            let Some(Found::Error { mark, .. }) = found else {
                panic!("{found:?}");
            };
            assert_eq!(mark, Mark::Udp(20_480));
        }
    }

    #[test]
    fn an_error_about_an_echo_request_keeps_its_identifier_and_the_mtu() {
        let quoted = [8, 0, 0, 0, 0x12, 0x34, 0, 1];
        let (from, to) = (
            "192.0.2.1".parse().unwrap(),
            "198.51.100.2".parse().unwrap(),
        );
        let error = error(3, 4, "203.0.113.1", Some("198.51.100.2:0"));
        let bytes = icmp_from_error_queue(&error, from, to, ICMP, &quoted).unwrap();
        assert_eq!(bytes[26..28], [5, 0]);
        let found = demux::icmp4(&bytes);
        let mark = Mark::Ident(0x1234);
        assert_eq!(
            found,
            Some(Found::Error {
                mark,
                kind: 3,
                code: 4
            })
        );
    }
}
