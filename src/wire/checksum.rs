//! The Internet checksum (RFC 1071) and what traceroute needs of it: octets that make it come out as wanted.

use std::net::IpAddr;

/// A sum in the making. Parts may be of any length: the octets count as if they stood in one buffer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    sum: u64,
    odd: bool,
}

impl Sum {
    /// Nothing summed yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { sum: 0, odd: false }
    }

    /// The pseudo header of RFC 793 and RFC 8200 section 8.1. Addresses of two families sum as they are.
    #[must_use]
    pub fn of_pseudo_header(from: IpAddr, to: IpAddr, protocol: u8, length: usize) -> Self {
        let mut sum = Self::new();
        for address in [from, to] {
            sum = match address {
                IpAddr::V4(address) => sum.plus(&address.octets()),
                IpAddr::V6(address) => sum.plus(&address.octets()),
            };
        }
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        sum.plus(&length.to_be_bytes()).plus(&[0, protocol])
    }

    /// With `bytes` after what was summed so far.
    #[must_use]
    pub fn plus(mut self, bytes: &[u8]) -> Self {
        for byte in bytes {
            let shift = if self.odd { 0 } else { 8 };
            self.sum += u64::from(*byte) << shift;
            self.odd = !self.odd;
        }
        self
    }

    /// The checksum: the complement of the folded sum.
    #[must_use]
    pub fn checksum(self) -> u16 {
        let mut sum = self.sum;
        while sum > 0xffff {
            sum = (sum >> 16) + (sum & 0xffff);
        }
        !u16::try_from(sum).unwrap_or(u16::MAX)
    }
}

/// The Internet checksum of `bytes`. Over bytes that carry their own correct checksum it is 0.
#[must_use]
pub fn checksum(bytes: &[u8]) -> u16 {
    Sum::new().plus(bytes).checksum()
}

/// What to put into a zero 16-bit word of a packet so that its checksum becomes `wanted`, when `plain` is its
/// checksum without (`packet-measurements` section 3.5).
///
/// 0xffff cannot be reached by a packet that is not all zeros; asking for it gives 0, the same value in
/// one's complement.
#[must_use]
pub const fn adjustment(plain: u16, wanted: u16) -> u16 {
    let (sum, carry) = plain.overflowing_add(!wanted);
    sum.wrapping_add(carry as u16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_example_of_rfc_1071_section_3() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(checksum(&bytes), !0xddf2);
    }

    #[test]
    fn an_odd_last_octet_counts_as_the_high_one() {
        assert_eq!(checksum(&[0x12]), !0x1200);
    }

    #[test]
    fn nothing_sums_to_nothing() {
        assert_eq!(checksum(&[]), 0xffff);
    }

    proptest! {
        #[test]
        fn parts_sum_like_the_whole(bytes in prop::collection::vec(any::<u8>(), 0..100), cut in 0usize..100) {
            let (head, tail) = bytes.split_at(cut.min(bytes.len()));
            prop_assert_eq!(Sum::new().plus(head).plus(tail).checksum(), checksum(&bytes));
        }

        #[test]
        fn an_adjusted_packet_has_the_wanted_checksum(
            mut bytes in prop::collection::vec(any::<u8>(), 4..64), wanted in 0u16..0xffff, first in 1u8..,
        ) {
            bytes[0] = first;
            bytes[2..4].fill(0);
            let adjust = adjustment(checksum(&bytes), wanted);
            bytes[2..4].copy_from_slice(&adjust.to_be_bytes());
            prop_assert_eq!(checksum(&bytes), wanted);
        }
    }
}
