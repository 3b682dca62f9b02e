//! ICMP (RFC 792), ICMPv6 (RFC 4443), and the extension structure in their errors (RFC 4884) with MPLS label
//! stacks (RFC 4950).

use super::{Malformed, checksum::checksum, split_array};

/// Octets of the header that all messages have.
pub const HEADER: usize = 8;

/// Message types of ICMP.
pub mod v4 {
    /// Echo reply.
    pub const ECHO_REPLY: u8 = 0;
    /// Destination unreachable.
    pub const UNREACHABLE: u8 = 3;
    /// Echo request.
    pub const ECHO_REQUEST: u8 = 8;
    /// Time exceeded.
    pub const TIME_EXCEEDED: u8 = 11;
    /// Code of "destination unreachable": fragmentation needed and DF set (RFC 1191).
    pub const FRAGMENTATION_NEEDED: u8 = 4;
    /// Code of "destination unreachable": port unreachable.
    pub const PORT_UNREACHABLE: u8 = 3;
}

/// Message types of ICMPv6.
pub mod v6 {
    /// Destination unreachable.
    pub const UNREACHABLE: u8 = 1;
    /// Packet too big.
    pub const PACKET_TOO_BIG: u8 = 2;
    /// Time exceeded.
    pub const TIME_EXCEEDED: u8 = 3;
    /// Echo request.
    pub const ECHO_REQUEST: u8 = 128;
    /// Echo reply.
    pub const ECHO_REPLY: u8 = 129;
    /// Code of "destination unreachable": port unreachable.
    pub const PORT_UNREACHABLE: u8 = 4;
}

/// A message of either version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Icmp<'a> {
    /// Type.
    pub kind: u8,
    /// Code.
    pub code: u8,
    /// Checksum.
    pub checksum: u16,
    /// The four octets after the checksum, whose meaning depends on the type.
    pub rest: [u8; 4],
    /// Everything after the header: echo data, or the quoted packet and what follows it.
    pub body: &'a [u8],
}

impl<'a> Icmp<'a> {
    /// Reads a message. The checksum is not verified: the kernel did that.
    ///
    /// # Errors
    /// Fewer than 8 octets.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let (header, body) = split_array::<HEADER>(bytes, "ICMP header")?;
        Ok(Self {
            kind: header[0],
            code: header[1],
            checksum: u16::from_be_bytes([header[2], header[3]]),
            rest: [header[4], header[5], header[6], header[7]],
            body,
        })
    }

    /// An echo message of `kind`; checksum 0.
    #[must_use]
    pub const fn echo(kind: u8, identifier: u16, sequence: u16, body: &'a [u8]) -> Self {
        let ([a, b], [c, d]) = (identifier.to_be_bytes(), sequence.to_be_bytes());
        Self {
            kind,
            code: 0,
            checksum: 0,
            rest: [a, b, c, d],
            body,
        }
    }

    /// The identifier of an echo message.
    #[must_use]
    pub const fn identifier(&self) -> u16 {
        u16::from_be_bytes([self.rest[0], self.rest[1]])
    }

    /// The sequence number of an echo message, and the next-hop MTU of an IPv4 "fragmentation needed"
    /// (RFC 1191).
    #[must_use]
    pub const fn sequence(&self) -> u16 {
        u16::from_be_bytes([self.rest[2], self.rest[3]])
    }

    /// The MTU of an IPv6 "packet too big", in octets.
    #[must_use]
    pub const fn mtu(&self) -> u32 {
        u32::from_be_bytes(self.rest)
    }

    /// The message as it stands: for ICMPv6, where the kernel computes the checksum.
    #[must_use]
    pub fn emit(&self) -> Vec<u8> {
        let mut packet = Vec::with_capacity(HEADER + self.body.len());
        packet.extend([self.kind, self.code]);
        packet.extend(self.checksum.to_be_bytes());
        packet.extend(self.rest);
        packet.extend(self.body);
        packet
    }

    /// The message with its checksum computed as ICMP has it, without pseudo header.
    #[must_use]
    pub fn emit_v4(&self) -> Vec<u8> {
        let plain = Self {
            checksum: 0,
            ..self.clone()
        };
        let mut packet = plain.emit();
        let sum = checksum(&packet);
        packet[2..4].copy_from_slice(&sum.to_be_bytes());
        packet
    }

    /// The extension structure of an ICMP error, if it has a valid one.
    #[must_use]
    pub fn extensions_v4(&self) -> Option<Extensions> {
        Extensions::find(self.body, usize::from(self.rest[1]) * 4)
    }

    /// The extension structure of an ICMPv6 error, if it has a valid one.
    #[must_use]
    pub fn extensions_v6(&self) -> Option<Extensions> {
        Extensions::find(self.body, usize::from(self.rest[0]) * 8)
    }
}

/// An RFC 4884 extension structure whose checksum holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extensions {
    /// Version, 2 by RFC 4884.
    pub version: u8,
    /// Whether the message states the length of its quote as RFC 4884 wants; otherwise the structure was found
    /// where older routers put it, 128 octets into the body.
    pub compliant: bool,
    /// The objects in order. The last one may be cut short.
    pub objects: Vec<Object>,
}

/// One object of an extension structure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Class-Num.
    pub class: u8,
    /// C-Type.
    pub kind: u8,
    /// What follows the object's header; `None` if its length cannot be true.
    pub body: Option<Vec<u8>>,
}

/// One entry of an MPLS label stack (RFC 3032 section 2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label {
    /// The label, 20 bits.
    pub label: u32,
    /// Experimental use, 3 bits.
    pub experimental: u8,
    /// Bottom of stack.
    pub bottom: bool,
    /// Time to live.
    pub ttl: u8,
}

impl Object {
    /// The label stack, if the object is one (class 1, type 1). Octets short of an entry are left out.
    #[must_use]
    pub fn labels(&self) -> Option<Vec<Label>> {
        let body = self
            .body
            .as_ref()
            .filter(|_| (self.class, self.kind) == (1, 1))?;
        Some(
            body.chunks_exact(4)
                .map(|entry| Label {
                    label: u32::from_be_bytes([0, entry[0], entry[1], entry[2]]) >> 4,
                    experimental: entry[2] >> 1 & 7,
                    bottom: entry[2] & 1 == 1,
                    ttl: entry[3],
                })
                .collect(),
        )
    }
}

impl Extensions {
    /// Finds and reads the structure behind a quote of `stated` octets (0: not stated) by the rules of
    /// `packet-measurements` section 3.9.
    fn find(body: &[u8], stated: usize) -> Option<Self> {
        const UNSTATED: usize = 128;
        let structure = match stated {
            0 => body.get(UNSTATED..),
            stated => body.get(stated..),
        }?;
        if structure.len() < 4 || checksum(structure) != 0 {
            return None;
        }
        let mut objects = Vec::new();
        let mut left = &structure[4..];
        // A header alone at the very end is not an object worth telling.
        while let [high, low, class, kind, _, ..] = *left {
            let length = usize::from(u16::from_be_bytes([high, low]));
            let body = left.get(4..length);
            objects.push(Object {
                class,
                kind,
                body: body.map(<[u8]>::to_vec),
            });
            if body.is_none() {
                break;
            }
            left = &left[length..];
        }
        Some(Self {
            version: structure[0] >> 4,
            compliant: stated != 0,
            objects,
        })
    }
}

/// An extension structure of these objects (class, type, body) with its checksum: what a router appends.
#[must_use]
pub fn extension_structure(objects: &[(u8, u8, &[u8])]) -> Vec<u8> {
    let mut structure = vec![0x20, 0, 0, 0];
    for (class, kind, body) in objects {
        structure.extend(super::length16(4 + body.len()).to_be_bytes());
        structure.extend([*class, *kind]);
        structure.extend(*body);
    }
    let sum = checksum(&structure);
    structure[2..4].copy_from_slice(&sum.to_be_bytes());
    structure
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{hex, ip::Ipv4, udp::Udp};
    use proptest::prelude::*;

    fn extensions(bytes: &[u8]) -> Option<Extensions> {
        Icmp::parse(bytes).unwrap().extensions_v4()
    }

    #[test]
    fn an_echo_request_with_its_checksum() {
        let bytes = hex(include_str!("../../tests/packets/icmp-echo.hex"));
        assert_eq!(Icmp::echo(v4::ECHO_REQUEST, 7, 1, b"abcd").emit_v4(), bytes);
        let echo = Icmp::parse(&bytes).unwrap();
        assert_eq!(
            (echo.identifier(), echo.sequence(), echo.body),
            (7, 1, &b"abcd"[..])
        );
    }

    #[test]
    fn an_icmpv6_echo_request_leaves_the_checksum_to_the_kernel() {
        assert_eq!(
            Icmp::echo(v6::ECHO_REQUEST, 0x1234, 2, b"ab").emit(),
            [0x80, 0, 0, 0, 0x12, 0x34, 0, 2, b'a', b'b']
        );
    }

    #[test]
    fn a_time_exceeded_with_a_label_stack_and_its_quote() {
        let bytes = hex(include_str!(
            "../../tests/packets/icmp-time-exceeded-mpls.hex"
        ));
        let error = Icmp::parse(&bytes).unwrap();
        assert_eq!(
            (error.kind, error.code, error.rest),
            (v4::TIME_EXCEEDED, 0, [0, 32, 0, 0])
        );
        assert_eq!(checksum(&bytes), 0);
        let quote = Ipv4::parse(error.body).unwrap();
        assert_eq!((quote.protocol, quote.ttl), (17, 1));
        assert_eq!(Udp::parse(quote.payload).unwrap().to_port, 33435);
        let extensions = error.extensions_v4().unwrap();
        assert_eq!((extensions.version, extensions.compliant), (2, true));
        assert_eq!(
            extensions.objects[0].labels().unwrap(),
            [
                Label {
                    label: 100,
                    experimental: 1,
                    bottom: false,
                    ttl: 5
                },
                Label {
                    label: 200,
                    experimental: 2,
                    bottom: true,
                    ttl: 6
                }
            ]
        );
        assert_eq!(
            extensions.objects[1],
            Object {
                class: 2,
                kind: 3,
                body: Some(vec![0xde, 0xad, 0xbe, 0xef])
            }
        );
        assert_eq!(extensions.objects[1].labels(), None);
    }

    /// An error whose quote is `quote` zeros, stated as such or not, followed by `structure`.
    fn error(rest: [u8; 4], quote: usize, structure: &[u8]) -> Vec<u8> {
        let body = [&vec![0; quote], structure].concat();
        Icmp {
            kind: 3,
            code: 0,
            checksum: 0,
            rest,
            body: &body,
        }
        .emit()
    }

    #[test]
    fn an_unstated_quote_is_taken_for_128_octets() {
        let structure = extension_structure(&[(1, 1, &[0, 1, 0x11, 9])]);
        let bytes = error([0; 4], 128, &structure);
        let message = Icmp::parse(&bytes).unwrap();
        for found in [message.extensions_v4(), message.extensions_v6()] {
            let found = found.unwrap();
            assert!(!found.compliant);
            assert_eq!(found.objects.len(), 1);
        }
        assert_eq!(extensions(&error([0; 4], 128, &[])), None);
        assert_eq!(extensions(&error([0; 4], 127, &[])), None);
    }

    #[test]
    fn icmpv6_states_its_quote_in_the_first_octet_in_units_of_eight() {
        let structure = extension_structure(&[(1, 1, &[0, 1, 0x11, 9])]);
        let bytes = error([16, 0, 0, 0], 128, &structure);
        assert!(
            Icmp::parse(&bytes)
                .unwrap()
                .extensions_v6()
                .unwrap()
                .compliant
        );
        assert!(!extensions(&bytes).unwrap().compliant);
    }

    #[test]
    fn a_wrong_checksum_hides_the_structure() {
        let mut bytes = error([0, 32, 0, 0], 128, &extension_structure(&[(2, 3, b"abcd")]));
        *bytes.last_mut().unwrap() ^= 1;
        assert_eq!(extensions(&bytes), None);
    }

    #[test]
    fn an_empty_structure_has_no_objects() {
        let bytes = error([0, 32, 0, 0], 128, &extension_structure(&[]));
        assert_eq!(extensions(&bytes).unwrap().objects, []);
    }

    #[test]
    fn an_object_header_alone_at_the_end_is_not_told() {
        let bytes = error(
            [0, 32, 0, 0],
            128,
            &extension_structure(&[(2, 3, b"abcd"), (5, 6, b"")]),
        );
        assert_eq!(extensions(&bytes).unwrap().objects.len(), 1);
    }

    #[test]
    fn an_object_header_alone_in_the_middle_is_told() {
        let bytes = error(
            [0, 32, 0, 0],
            128,
            &extension_structure(&[(5, 6, b""), (2, 3, b"abcd")]),
        );
        assert_eq!(extensions(&bytes).unwrap().objects.len(), 2);
    }

    #[test]
    fn an_object_of_impossible_length_is_the_last() {
        for length in [0u8, 3, 200] {
            let mut structure = vec![0x20, 0, 0, 0, 0, length, 1, 1, 1, 2, 3, 4];
            let sum = checksum(&structure);
            structure[2..4].copy_from_slice(&sum.to_be_bytes());
            let bytes = error([0, 32, 0, 0], 128, &structure);
            assert_eq!(
                extensions(&bytes).unwrap().objects,
                [Object {
                    class: 1,
                    kind: 1,
                    body: None
                }]
            );
        }
    }

    #[test]
    fn seven_octets_are_no_message() {
        assert_eq!(
            Icmp::parse(&[0; 7]),
            Err(Malformed::Short {
                what: "ICMP header",
                have: 7,
                need: 8
            })
        );
    }

    proptest! {
        #[test]
        fn any_message_survives_a_round_trip(
            (kind, code, checksum, rest) in any::<(u8, u8, u16, [u8; 4])>(),
            body in prop::collection::vec(any::<u8>(), 0..64),
        ) {
            let message = Icmp { kind, code, checksum, rest, body: &body };
            let bytes = message.emit();
            prop_assert_eq!(Icmp::parse(&bytes), Ok(message));
        }

        #[test]
        fn objects_survive_a_round_trip(
            objects in prop::collection::vec((any::<u8>(), any::<u8>(), (1usize..12).prop_flat_map(|words| prop::collection::vec(any::<u8>(), 2 * words))), 0..6),
        ) {
            let parts: Vec<(u8, u8, &[u8])> = objects.iter().map(|(a, b, c)| (*a, *b, &c[..])).collect();
            let bytes = error([0, 32, 0, 0], 128, &extension_structure(&parts));
            let read = extensions(&bytes).unwrap().objects;
            let wanted: Vec<Object> = objects
                .into_iter()
                .map(|(class, kind, body)| Object { class, kind, body: Some(body) })
                .collect();
            prop_assert_eq!(read, wanted);
        }

        #[test]
        fn no_bytes_panic(
            mut structure in prop::collection::vec(any::<u8>(), 4..64), rest in any::<[u8; 4]>(), quote in 0usize..300,
        ) {
            structure[2..4].fill(0);
            let sum = checksum(&structure);
            structure[2..4].copy_from_slice(&sum.to_be_bytes());
            let bytes = error(rest, quote, &structure);
            let message = Icmp::parse(&bytes).unwrap();
            for found in [message.extensions_v4(), message.extensions_v6()].into_iter().flatten() {
                for object in found.objects {
                    let _ = object.labels();
                }
            }
        }
    }
}
