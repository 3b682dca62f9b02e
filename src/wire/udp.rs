//! UDP (RFC 768).

use std::net::IpAddr;

use super::{Malformed, checksum::Sum, length16, protocol, split_array};

/// Octets of the header.
pub const HEADER: usize = 8;

/// A UDP header and what follows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Udp<'a> {
    /// Source port.
    pub from_port: u16,
    /// Destination port.
    pub to_port: u16,
    /// Length of header and payload as the header states it.
    pub length: u16,
    /// Checksum, 0 for none.
    pub checksum: u16,
    /// Everything after the header, perhaps cut short in a quote.
    pub payload: &'a [u8],
}

impl<'a> Udp<'a> {
    /// Reads a header.
    ///
    /// # Errors
    /// Fewer than 8 octets.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let (header, payload) = split_array::<HEADER>(bytes, "UDP header")?;
        let word = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        Ok(Self {
            from_port: word(0),
            to_port: word(2),
            length: word(4),
            checksum: word(6),
            payload,
        })
    }

    /// A datagram between two addresses, length and checksum filled in.
    #[must_use]
    pub fn new(from: (IpAddr, u16), to: (IpAddr, u16), payload: &'a [u8]) -> Self {
        let sum = plain_checksum(from, to, payload);
        Self {
            from_port: from.1,
            to_port: to.1,
            length: length16(HEADER + payload.len()),
            // 0 would mean that there is none; 0xffff is the same number in one's complement.
            checksum: if sum == 0 { 0xffff } else { sum },
            payload,
        }
    }

    /// The datagram.
    #[must_use]
    pub fn emit(&self) -> Vec<u8> {
        let words = [self.from_port, self.to_port, self.length, self.checksum];
        let mut packet: Vec<u8> = words.into_iter().flat_map(u16::to_be_bytes).collect();
        packet.extend(self.payload);
        packet
    }
}

/// The checksum of a datagram as it comes out of the sum: 0 stands for itself.
#[must_use]
pub fn plain_checksum(from: (IpAddr, u16), to: (IpAddr, u16), payload: &[u8]) -> u16 {
    let length = HEADER + payload.len();
    Sum::of_pseudo_header(from.0, to.0, protocol::UDP, length)
        .plus(&from.1.to_be_bytes())
        .plus(&to.1.to_be_bytes())
        .plus(&length16(length).to_be_bytes())
        .plus(payload)
        .checksum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::hex;
    use proptest::prelude::*;

    #[test]
    fn a_datagram_with_its_checksum() {
        let bytes = hex(include_str!("../../tests/packets/udp-ipv4.hex"));
        let from = ("192.0.2.10".parse().unwrap(), 20480);
        let to = ("198.51.100.7".parse().unwrap(), 33435);
        assert_eq!(Udp::new(from, to, b"abc").emit(), bytes);
        let udp = Udp::parse(&bytes).unwrap();
        assert_eq!(
            (udp.from_port, udp.to_port, udp.length, udp.payload),
            (20480, 33435, 11, &b"abc"[..])
        );
    }

    #[test]
    fn seven_octets_are_no_header() {
        assert_eq!(
            Udp::parse(&[0; 7]),
            Err(Malformed::Short {
                what: "UDP header",
                have: 7,
                need: 8
            })
        );
    }

    proptest! {
        #[test]
        fn any_datagram_survives_a_round_trip(
            (from_port, to_port, length, checksum) in any::<(u16, u16, u16, u16)>(),
            payload in prop::collection::vec(any::<u8>(), 0..64),
        ) {
            let udp = Udp { from_port, to_port, length, checksum, payload: &payload };
            let bytes = udp.emit();
            prop_assert_eq!(Udp::parse(&bytes), Ok(udp));
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..16)) {
            let _ = Udp::parse(&bytes);
        }
    }
}
