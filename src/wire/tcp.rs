//! TCP segments (RFC 9293) as far as a prober meets them: header, options, data.

use std::net::IpAddr;

use super::{Malformed, checksum::Sum, protocol, split, split_array};

/// Octets of a header without options.
pub const HEADER: usize = 20;

/// The control bits.
pub mod flag {
    /// No more data from the sender.
    pub const FIN: u8 = 0x01;
    /// Synchronise sequence numbers.
    pub const SYN: u8 = 0x02;
    /// Reset the connection.
    pub const RST: u8 = 0x04;
    /// Push.
    pub const PSH: u8 = 0x08;
    /// The acknowledgment number is valid.
    pub const ACK: u8 = 0x10;
    /// The urgent pointer is valid.
    pub const URG: u8 = 0x20;
}

/// A segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tcp<'a> {
    /// Source port.
    pub from_port: u16,
    /// Destination port.
    pub to_port: u16,
    /// Sequence number.
    pub sequence: u32,
    /// Acknowledgment number.
    pub acknowledgment: u32,
    /// Control bits ([`flag`]), the two of RFC 3168 included.
    pub flags: u8,
    /// Window.
    pub window: u16,
    /// Checksum.
    pub checksum: u16,
    /// Urgent pointer.
    pub urgent: u16,
    /// Options, a multiple of 4 octets, at most 40.
    pub options: &'a [u8],
    /// Everything after the header.
    pub payload: &'a [u8],
}

impl<'a> Tcp<'a> {
    /// Reads a segment whose whole header is there.
    ///
    /// # Errors
    /// Fewer octets than the data offset says, or one that says less than 5 words.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let (fixed, _) = split_array::<HEADER>(bytes, "TCP header")?;
        let words = fixed[12] >> 4;
        if words < 5 {
            return Err(Malformed::Value {
                what: "TCP data offset in words",
                value: words.into(),
            });
        }
        let (header, payload) = split(bytes, usize::from(words) * 4, "TCP header")?;
        let mut segment = Self::of_fixed(fixed);
        segment.options = &header[HEADER..];
        segment.payload = payload;
        Ok(segment)
    }

    /// Reads the first 20 octets alone, for a quote that ends there: no options, no payload.
    ///
    /// # Errors
    /// Fewer than 20 octets.
    pub fn parse_fixed(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let (fixed, _) = split_array::<HEADER>(bytes, "TCP header")?;
        Ok(Self::of_fixed(fixed))
    }

    fn of_fixed(fixed: &[u8; HEADER]) -> Self {
        let word = |at: usize| u16::from_be_bytes([fixed[at], fixed[at + 1]]);
        let long = |at: usize| {
            u32::from_be_bytes([fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]])
        };
        Self {
            from_port: word(0),
            to_port: word(2),
            sequence: long(4),
            acknowledgment: long(8),
            flags: fixed[13],
            window: word(14),
            checksum: word(16),
            urgent: word(18),
            options: &[],
            payload: &[],
        }
    }

    /// A segment that asks for a connection and offers no window: what a prober sends.
    #[must_use]
    pub const fn syn(from_port: u16, to_port: u16, sequence: u32, payload: &'a [u8]) -> Self {
        Self {
            from_port,
            to_port,
            sequence,
            acknowledgment: 0,
            flags: flag::SYN,
            window: 0,
            checksum: 0,
            urgent: 0,
            options: &[],
            payload,
        }
    }

    /// The segment as it stands. Options beyond 40 octets are cut, others padded with zeros to whole words.
    #[must_use]
    pub fn emit(&self) -> Vec<u8> {
        let mut options = self.options[..self.options.len().min(40)].to_vec();
        options.resize(options.len().next_multiple_of(4), 0);
        let words = u8::try_from(5 + options.len() / 4).expect("at most 15 words");
        let mut packet = Vec::with_capacity(HEADER + options.len() + self.payload.len());
        packet.extend(self.from_port.to_be_bytes());
        packet.extend(self.to_port.to_be_bytes());
        packet.extend(self.sequence.to_be_bytes());
        packet.extend(self.acknowledgment.to_be_bytes());
        packet.extend([words << 4, self.flags]);
        packet.extend(self.window.to_be_bytes());
        packet.extend(self.checksum.to_be_bytes());
        packet.extend(self.urgent.to_be_bytes());
        packet.extend(&options);
        packet.extend(self.payload);
        packet
    }

    /// The segment with its checksum computed for these addresses.
    #[must_use]
    pub fn emit_between(&self, from: IpAddr, to: IpAddr) -> Vec<u8> {
        let plain = Self {
            checksum: 0,
            ..self.clone()
        };
        let mut packet = plain.emit();
        let sum = Sum::of_pseudo_header(from, to, protocol::TCP, packet.len())
            .plus(&packet)
            .checksum();
        packet[16..18].copy_from_slice(&sum.to_be_bytes());
        packet
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::hex;
    use proptest::prelude::*;

    #[test]
    fn a_syn_is_twenty_octets_and_a_checksum() {
        let bytes = hex(include_str!("../../tests/packets/tcp-syn.hex"));
        let (from, to) = (
            "192.0.2.10".parse().unwrap(),
            "198.51.100.7".parse().unwrap(),
        );
        assert_eq!(Tcp::syn(20480, 80, 1, &[]).emit_between(from, to), bytes);
    }

    #[test]
    fn a_syn_ack_with_options() {
        let bytes = hex(include_str!("../../tests/packets/tcp-syn-ack.hex"));
        let segment = Tcp::parse(&bytes).unwrap();
        assert_eq!(segment.flags, flag::SYN | flag::ACK);
        assert_eq!((segment.from_port, segment.to_port), (80, 20480));
        assert_eq!((segment.sequence, segment.acknowledgment), (0x1000, 2));
        assert_eq!(segment.options, [2, 4, 0x05, 0xb4, 1, 3, 3, 7]);
        let (from, to) = (
            "198.51.100.7".parse().unwrap(),
            "192.0.2.10".parse().unwrap(),
        );
        assert_eq!(segment.emit_between(from, to), bytes);
    }

    #[test]
    fn options_beyond_the_end_are_an_error_but_the_fixed_part_is_read() {
        let bytes = hex(include_str!("../../tests/packets/tcp-syn-ack.hex"));
        assert_eq!(
            Tcp::parse(&bytes[..24]),
            Err(Malformed::Short {
                what: "TCP header",
                have: 24,
                need: 28
            })
        );
        assert_eq!(Tcp::parse_fixed(&bytes[..24]).unwrap().sequence, 0x1000);
    }

    #[test]
    fn an_offset_of_four_words_is_none() {
        let mut bytes = [0; 20];
        bytes[12] = 0x40;
        assert_eq!(
            Tcp::parse(&bytes),
            Err(Malformed::Value {
                what: "TCP data offset in words",
                value: 4
            })
        );
    }

    proptest! {
        #[test]
        fn any_segment_survives_a_round_trip(
            (from_port, to_port, sequence, acknowledgment) in any::<(u16, u16, u32, u32)>(),
            (flags, window, checksum, urgent) in any::<(u8, u16, u16, u16)>(),
            options in prop::collection::vec(any::<[u8; 4]>(), 0..=10),
            payload in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let options = options.concat();
            let segment = Tcp {
                from_port, to_port, sequence, acknowledgment, flags, window, checksum, urgent,
                options: &options, payload: &payload,
            };
            let bytes = segment.emit();
            prop_assert_eq!(Tcp::parse(&bytes), Ok(segment));
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..70)) {
            let _ = (Tcp::parse(&bytes), Tcp::parse_fixed(&bytes));
        }
    }
}
