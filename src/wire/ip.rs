//! IPv4 (RFC 791) and IPv6 (RFC 8200) headers, and the walk over IPv6 extension headers in a quote.
//!
//! The readers also serve quotes in ICMP errors, which are cut short: a length field that says more than is
//! there is no error.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::{Malformed, checksum::checksum, length16, protocol, split, split_array};

/// An IPv4 header and what follows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ipv4<'a> {
    /// Type of service.
    pub tos: u8,
    /// The total length as the header states it.
    pub total_length: u16,
    /// Identification.
    pub identification: u16,
    /// Don't fragment.
    pub dont_fragment: bool,
    /// More fragments follow.
    pub more_fragments: bool,
    /// Fragment offset in units of 8 octets.
    pub fragment_offset: u16,
    /// Time to live.
    pub ttl: u8,
    /// What follows.
    pub protocol: u8,
    /// Header checksum as received; ignored when written.
    pub checksum: u16,
    /// Source.
    pub from: Ipv4Addr,
    /// Destination.
    pub to: Ipv4Addr,
    /// Options, a multiple of 4 octets, at most 40.
    pub options: &'a [u8],
    /// Everything after the header.
    pub payload: &'a [u8],
}

impl<'a> Ipv4<'a> {
    /// Reads a header with its options. The version field is not looked at: quotes of some routers have it wrong.
    ///
    /// # Errors
    /// Fewer octets than the header length field says, or one that says less than 5 words.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let (fixed, _) = split_array::<20>(bytes, "IPv4 header")?;
        let words = fixed[0] & 0x0f;
        if words < 5 {
            return Err(Malformed::Value {
                what: "IPv4 header length in words",
                value: words.into(),
            });
        }
        let (header, payload) = split(bytes, usize::from(words) * 4, "IPv4 header")?;
        let fragment = u16::from_be_bytes([fixed[6], fixed[7]]);
        Ok(Self {
            tos: fixed[1],
            total_length: u16::from_be_bytes([fixed[2], fixed[3]]),
            identification: u16::from_be_bytes([fixed[4], fixed[5]]),
            dont_fragment: fragment & 0x4000 != 0,
            more_fragments: fragment & 0x2000 != 0,
            fragment_offset: fragment & 0x1fff,
            ttl: fixed[8],
            protocol: fixed[9],
            checksum: u16::from_be_bytes([fixed[10], fixed[11]]),
            from: Ipv4Addr::new(fixed[12], fixed[13], fixed[14], fixed[15]),
            to: Ipv4Addr::new(fixed[16], fixed[17], fixed[18], fixed[19]),
            options: &header[20..],
            payload,
        })
    }

    /// A header without options in front of `payload`, lengths filled in.
    #[must_use]
    pub fn new(from: Ipv4Addr, to: Ipv4Addr, protocol: u8, ttl: u8, payload: &'a [u8]) -> Self {
        Self {
            tos: 0,
            total_length: length16(20 + payload.len()),
            identification: 0,
            dont_fragment: false,
            more_fragments: false,
            fragment_offset: 0,
            ttl,
            protocol,
            checksum: 0,
            from,
            to,
            options: &[],
            payload,
        }
    }

    /// The packet, with the header checksum computed. Options beyond 40 octets are cut, others padded with
    /// zeros to whole words.
    #[must_use]
    pub fn emit(&self) -> Vec<u8> {
        let mut options = self.options[..self.options.len().min(40)].to_vec();
        options.resize(options.len().next_multiple_of(4), 0);
        let words = u8::try_from(5 + options.len() / 4).expect("at most 15 words");
        let mut fragment = self.fragment_offset & 0x1fff;
        fragment |= u16::from(self.dont_fragment) << 14 | u16::from(self.more_fragments) << 13;
        let mut packet = vec![0x40 | words, self.tos];
        packet.extend(self.total_length.to_be_bytes());
        packet.extend(self.identification.to_be_bytes());
        packet.extend(fragment.to_be_bytes());
        packet.extend([self.ttl, self.protocol, 0, 0]);
        packet.extend(self.from.octets());
        packet.extend(self.to.octets());
        packet.extend(&options);
        let sum = checksum(&packet);
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
        packet.extend(self.payload);
        packet
    }
}

/// An IPv6 header and what follows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ipv6<'a> {
    /// Traffic class.
    pub traffic_class: u8,
    /// Flow label, 20 bits.
    pub flow_label: u32,
    /// The payload length as the header states it.
    pub payload_length: u16,
    /// What follows.
    pub next_header: u8,
    /// Hop limit.
    pub hop_limit: u8,
    /// Source.
    pub from: Ipv6Addr,
    /// Destination.
    pub to: Ipv6Addr,
    /// Everything after the header.
    pub payload: &'a [u8],
}

impl<'a> Ipv6<'a> {
    /// Reads a header. The version field is not looked at.
    ///
    /// # Errors
    /// Fewer than 40 octets.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let (fixed, payload) = split_array::<40>(bytes, "IPv6 header")?;
        let first = u32::from_be_bytes([fixed[0], fixed[1], fixed[2], fixed[3]]);
        let [_, _, _, traffic_class] = (first >> 20).to_be_bytes();
        let address = |at: usize| {
            let mut octets = [0; 16];
            octets.copy_from_slice(&fixed[at..at + 16]);
            Ipv6Addr::from(octets)
        };
        Ok(Self {
            traffic_class,
            flow_label: first & 0x000f_ffff,
            payload_length: u16::from_be_bytes([fixed[4], fixed[5]]),
            next_header: fixed[6],
            hop_limit: fixed[7],
            from: address(8),
            to: address(24),
            payload,
        })
    }

    /// A header in front of `payload`, lengths filled in.
    #[must_use]
    pub fn new(
        from: Ipv6Addr,
        to: Ipv6Addr,
        next_header: u8,
        hop_limit: u8,
        payload: &'a [u8],
    ) -> Self {
        Self {
            traffic_class: 0,
            flow_label: 0,
            payload_length: length16(payload.len()),
            next_header,
            hop_limit,
            from,
            to,
            payload,
        }
    }

    /// The packet.
    #[must_use]
    pub fn emit(&self) -> Vec<u8> {
        let first = 6 << 28 | u32::from(self.traffic_class) << 20 | (self.flow_label & 0x000f_ffff);
        let mut packet = first.to_be_bytes().to_vec();
        packet.extend(self.payload_length.to_be_bytes());
        packet.extend([self.next_header, self.hop_limit]);
        packet.extend(self.from.octets());
        packet.extend(self.to.octets());
        packet.extend(self.payload);
        packet
    }

    /// The upper-layer header behind the extension headers that a probe can have: at most one hop-by-hop
    /// options header, one fragment header and one destination options header, in this order
    /// (`packet-measurements` section 3.7). Anything else is taken for the upper layer.
    ///
    /// # Errors
    /// An extension header that is cut short.
    pub fn upper(&self) -> Result<Upper<'a>, Malformed> {
        let mut upper = Upper {
            hop_by_hop: None,
            fragment: None,
            destination_options: None,
            protocol: self.next_header,
            payload: self.payload,
        };
        if upper.protocol == protocol::HOP_BY_HOP {
            upper.hop_by_hop = Some(upper.skip_options()?);
        }
        if upper.protocol == protocol::FRAGMENT {
            let (header, rest) = split_array::<8>(upper.payload, "IPv6 fragment header")?;
            let offset = u16::from_be_bytes([header[2], header[3]]);
            upper.fragment = Some(Fragment {
                offset: offset >> 3,
                more: offset & 1 != 0,
                identification: u32::from_be_bytes([header[4], header[5], header[6], header[7]]),
            });
            (upper.protocol, upper.payload) = (header[0], rest);
        }
        if upper.protocol == protocol::DESTINATION_OPTIONS {
            upper.destination_options = Some(upper.skip_options()?);
        }
        Ok(upper)
    }
}

/// What lies behind the extension headers of an IPv6 packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upper<'a> {
    /// The length octet of the hop-by-hop options header, in units of 8 octets beyond the first 8.
    pub hop_by_hop: Option<u8>,
    /// The fragment header.
    pub fragment: Option<Fragment>,
    /// The length octet of the destination options header.
    pub destination_options: Option<u8>,
    /// The protocol of what follows.
    pub protocol: u8,
    /// Everything after the extension headers.
    pub payload: &'a [u8],
}

impl Upper<'_> {
    /// Steps over one options header; its length octet.
    fn skip_options(&mut self) -> Result<u8, Malformed> {
        let (start, _) = split_array::<2>(self.payload, "IPv6 options header")?;
        let [next, length] = *start;
        let whole = 8 * (usize::from(length) + 1);
        let (_, rest) = split(self.payload, whole, "IPv6 options header")?;
        (self.protocol, self.payload) = (next, rest);
        Ok(length)
    }
}

/// The IPv6 fragment header (RFC 8200 section 4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// Offset in units of 8 octets.
    pub offset: u16,
    /// More fragments follow.
    pub more: bool,
    /// Identification.
    pub identification: u32,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::hex;
    use proptest::prelude::*;

    #[test]
    fn an_ipv4_header_with_router_alert() {
        let bytes = hex(include_str!("../../tests/packets/ipv4-router-alert.hex"));
        let ip = Ipv4::parse(&bytes).unwrap();
        assert_eq!(ip.options, [0x94, 0x04, 0x00, 0x00]);
        assert_eq!(ip.payload, [0x16, 0x00]);
        assert_eq!(
            (ip.tos, ip.ttl, ip.protocol, ip.total_length),
            (0xc0, 1, 2, 26)
        );
        assert!(ip.dont_fragment && !ip.more_fragments);
        assert_eq!(ip.from, Ipv4Addr::new(192, 0, 2, 10));
        assert_eq!(ip.to, Ipv4Addr::new(224, 0, 0, 22));
        assert_eq!(ip.emit(), bytes);
    }

    #[test]
    fn an_ipv4_header_of_four_words_is_none() {
        let mut bytes = [0; 20];
        bytes[0] = 0x44;
        assert_eq!(
            Ipv4::parse(&bytes),
            Err(Malformed::Value {
                what: "IPv4 header length in words",
                value: 4
            })
        );
    }

    #[test]
    fn ipv4_options_beyond_the_end_are_an_error() {
        let mut bytes = [0; 22];
        bytes[0] = 0x46;
        assert_eq!(
            Ipv4::parse(&bytes),
            Err(Malformed::Short {
                what: "IPv4 header",
                have: 22,
                need: 24
            })
        );
    }

    #[test]
    fn an_ipv6_quote_with_all_three_extension_headers() {
        let bytes = hex(include_str!(
            "../../tests/packets/ipv6-extension-headers.hex"
        ));
        let ip = Ipv6::parse(&bytes).unwrap();
        assert_eq!(
            (ip.traffic_class, ip.flow_label, ip.hop_limit),
            (0x20, 0xabcde, 3)
        );
        let upper = ip.upper().unwrap();
        assert_eq!(upper.hop_by_hop, Some(0));
        assert_eq!(
            upper.fragment,
            Some(Fragment {
                offset: 0,
                more: true,
                identification: 0x0102_0304
            })
        );
        assert_eq!(upper.destination_options, Some(1));
        assert_eq!(
            (upper.protocol, upper.payload),
            (protocol::UDP, &[0x50, 0x00][..])
        );
        assert_eq!(ip.emit(), bytes);
    }

    #[test]
    fn a_second_options_header_is_left_as_the_upper_layer() {
        let headers = [[60, 0, 1, 4, 0, 0, 0, 0], [17, 0, 1, 4, 0, 0, 0, 0]].concat();
        let ip = Ipv6::new(Ipv6Addr::LOCALHOST, Ipv6Addr::LOCALHOST, 60, 1, &headers);
        let upper = ip.upper().unwrap();
        assert_eq!((upper.protocol, upper.payload.len()), (60, 8));
    }

    #[test]
    fn an_options_header_beyond_the_end_is_an_error() {
        let header = [17, 1, 1, 4, 0, 0, 0, 0];
        let ip = Ipv6::new(Ipv6Addr::LOCALHOST, Ipv6Addr::LOCALHOST, 0, 1, &header);
        assert_eq!(
            ip.upper(),
            Err(Malformed::Short {
                what: "IPv6 options header",
                have: 8,
                need: 16
            })
        );
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
            let _ = Ipv4::parse(&bytes);
            if let Ok(ip) = Ipv6::parse(&bytes) {
                let _ = ip.upper();
            }
        }

        #[test]
        fn ipv4_survives_a_round_trip(
            (tos, total_length, identification) in any::<(u8, u16, u16)>(),
            (dont_fragment, more_fragments, fragment_offset) in (any::<bool>(), any::<bool>(), 0u16..0x2000),
            (ttl, protocol, from, to) in any::<(u8, u8, u32, u32)>(),
            options in prop::collection::vec(any::<[u8; 4]>(), 0..=10),
            payload in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let options = options.concat();
            let ip = Ipv4 {
                tos, total_length, identification, dont_fragment, more_fragments, fragment_offset, ttl, protocol,
                checksum: 0, from: from.into(), to: to.into(), options: &options, payload: &payload,
            };
            let bytes = ip.emit();
            let read = Ipv4::parse(&bytes).unwrap();
            prop_assert_eq!(checksum(&bytes[..20 + options.len()]), 0);
            prop_assert_eq!(Ipv4 { checksum: 0, ..read }, ip);
        }

        #[test]
        fn ipv6_survives_a_round_trip(
            (traffic_class, flow_label, payload_length) in (any::<u8>(), 0u32..0x10_0000, any::<u16>()),
            (next_header, hop_limit, from, to) in any::<(u8, u8, u128, u128)>(),
            payload in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let ip = Ipv6 {
                traffic_class, flow_label, payload_length, next_header, hop_limit,
                from: from.into(), to: to.into(), payload: &payload,
            };
            let bytes = ip.emit();
            prop_assert_eq!(Ipv6::parse(&bytes), Ok(ip));
        }
    }
}
