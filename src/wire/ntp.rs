//! NTP packets (RFC 5905 section 7.3) and their two time formats (section 6).

use super::{Malformed, split_array};

/// Octets of the header, which is all that a reply must have.
pub const HEADER: usize = 48;

/// Seconds from the NTP epoch (1900) to the Unix epoch.
pub const UNIX_EPOCH: u32 = 2_208_988_800;

/// The 64-bit time format: seconds since 1900, modulo 2^32, and a binary fraction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Timestamp {
    /// Seconds of the era.
    pub seconds: u32,
    /// In units of 2^-32 seconds.
    pub fraction: u32,
}

impl Timestamp {
    /// The time `nanos` nanoseconds after the Unix epoch, the fraction truncated.
    #[must_use]
    pub fn from_unix_nanos(nanos: i128) -> Self {
        const SECOND: i128 = 1_000_000_000;
        let seconds = (nanos.div_euclid(SECOND) + i128::from(UNIX_EPOCH)).rem_euclid(1 << 32);
        let fraction = (nanos.rem_euclid(SECOND) << 32) / SECOND;
        Self {
            seconds: u32::try_from(seconds).expect("a remainder of 2^32"),
            fraction: u32::try_from(fraction).expect("less than a second"),
        }
    }

    /// The fraction in seconds, exact.
    #[must_use]
    pub fn fraction_f64(self) -> f64 {
        f64::from(self.fraction) / 4_294_967_296.0
    }

    /// Seconds of the era, as near as a double comes.
    #[must_use]
    pub fn as_f64(self) -> f64 {
        f64::from(self.seconds) + self.fraction_f64()
    }

    fn of(bytes: &[u8]) -> Self {
        let long = |at: usize| {
            u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        Self {
            seconds: long(0),
            fraction: long(4),
        }
    }
}

/// The 32-bit time format: an interval in units of 2^-16 seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Short(pub u32);

impl Short {
    /// The interval in seconds, exact.
    #[must_use]
    pub fn as_f64(self) -> f64 {
        f64::from(self.0) / 65536.0
    }
}

/// The mode of a request.
pub const CLIENT: u8 = 3;
/// The mode of a reply.
pub const SERVER: u8 = 4;

/// A packet's header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ntp {
    /// Leap indicator, 2 bits.
    pub leap: u8,
    /// Version, 3 bits.
    pub version: u8,
    /// Mode, 3 bits.
    pub mode: u8,
    /// Stratum.
    pub stratum: u8,
    /// Poll exponent.
    pub poll: i8,
    /// Precision exponent.
    pub precision: i8,
    /// Root delay.
    pub root_delay: Short,
    /// Root dispersion.
    pub root_dispersion: Short,
    /// Reference identifier.
    pub reference_id: [u8; 4],
    /// When the server's clock was last set.
    pub reference: Timestamp,
    /// T1: the transmit timestamp of the request.
    pub origin: Timestamp,
    /// T2: when the request arrived.
    pub receive: Timestamp,
    /// T3: when this packet left.
    pub transmit: Timestamp,
}

impl Ntp {
    /// Reads the header; what follows it (extension fields, a digest) is left alone.
    ///
    /// # Errors
    /// Fewer than 48 octets.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let (header, _) = split_array::<HEADER>(bytes, "NTP header")?;
        let long = |at: usize| {
            u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
        };
        Ok(Self {
            leap: header[0] >> 6,
            version: header[0] >> 3 & 7,
            mode: header[0] & 7,
            stratum: header[1],
            poll: header[2].cast_signed(),
            precision: header[3].cast_signed(),
            root_delay: Short(long(4)),
            root_dispersion: Short(long(8)),
            reference_id: [header[12], header[13], header[14], header[15]],
            reference: Timestamp::of(&header[16..24]),
            origin: Timestamp::of(&header[24..32]),
            receive: Timestamp::of(&header[32..40]),
            transmit: Timestamp::of(&header[40..48]),
        })
    }

    /// The 48 octets of the header.
    #[must_use]
    pub fn emit(&self) -> Vec<u8> {
        let mut packet = vec![
            self.leap << 6 | (self.version & 7) << 3 | self.mode & 7,
            self.stratum,
            self.poll.cast_unsigned(),
            self.precision.cast_unsigned(),
        ];
        packet.extend(self.root_delay.0.to_be_bytes());
        packet.extend(self.root_dispersion.0.to_be_bytes());
        packet.extend(self.reference_id);
        for time in [self.reference, self.origin, self.receive, self.transmit] {
            packet.extend(time.seconds.to_be_bytes());
            packet.extend(time.fraction.to_be_bytes());
        }
        packet
    }
}

/// An extension field (RFC 7822) of `length` octets in all, its value zeros. `length` is at least 4 and a
/// multiple of 4.
#[must_use]
pub fn extension(field_type: u16, length: u16) -> Vec<u8> {
    let mut field = field_type.to_be_bytes().to_vec();
    field.extend(length.to_be_bytes());
    field.resize(usize::from(length).max(4), 0);
    field
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::hex;
    use proptest::prelude::*;

    #[test]
    fn a_server_reply_field_by_field() {
        let bytes = hex(include_str!("../../tests/packets/ntp-reply.hex"));
        let reply = Ntp::parse(&bytes).unwrap();
        assert_eq!(
            reply,
            Ntp {
                leap: 0,
                version: 4,
                mode: SERVER,
                stratum: 1,
                poll: 3,
                precision: -18,
                root_delay: Short(0x0001_0000),
                root_dispersion: Short(69),
                reference_id: *b"GPS\0",
                reference: Timestamp {
                    seconds: 0xe8fd_2800,
                    fraction: 0x4000_0000
                },
                origin: Timestamp {
                    seconds: 0xe8fd_2801,
                    fraction: 0x8000_0000
                },
                receive: Timestamp {
                    seconds: 0xe8fd_2801,
                    fraction: 0x8000_0001
                },
                transmit: Timestamp {
                    seconds: 0xe8fd_2801,
                    fraction: 0xffff_ffff
                },
            }
        );
        assert_eq!(reply.emit(), bytes);
        assert_eq!(reply.root_delay.as_f64().to_bits(), 1f64.to_bits());
    }

    #[test]
    fn forty_seven_octets_are_no_packet() {
        assert_eq!(
            Ntp::parse(&[0; 47]),
            Err(Malformed::Short {
                what: "NTP header",
                have: 47,
                need: 48
            })
        );
    }

    #[test]
    fn unix_times_become_ntp_times() {
        let time = Timestamp::from_unix_nanos(1_700_000_000_250_000_000);
        assert_eq!(
            time,
            Timestamp {
                seconds: 3_908_988_800,
                fraction: 1 << 30
            }
        );
        assert_eq!(Timestamp::from_unix_nanos(-1).seconds, UNIX_EPOCH - 1);
        // trunc(1e-6 x 2^32)
        assert_eq!(Timestamp::from_unix_nanos(1000).fraction, 4294);
    }

    #[test]
    fn the_era_ends_in_2036() {
        let last = i128::from(u32::MAX - UNIX_EPOCH) * 1_000_000_000;
        assert_eq!(Timestamp::from_unix_nanos(last).seconds, u32::MAX);
        assert_eq!(Timestamp::from_unix_nanos(last + 1_000_000_000).seconds, 0);
    }

    #[test]
    fn an_extension_field_is_type_length_and_zeros() {
        assert_eq!(extension(2, 28)[..5], [0, 2, 0, 28, 0]);
        assert_eq!(extension(2, 28).len(), 28);
    }

    proptest! {
        #[test]
        fn any_header_survives_a_round_trip(bytes in prop::collection::vec(any::<u8>(), HEADER)) {
            prop_assert_eq!(Ntp::parse(&bytes).unwrap().emit(), bytes);
        }

        #[test]
        fn microseconds_truncate_as_the_specification_says(micros in 0u32..1_000_000) {
            let time = Timestamp::from_unix_nanos(i128::from(micros) * 1000);
            let wanted = (f64::from(micros) / 1e6 * 4_294_967_296.0).trunc();
            prop_assert_eq!(f64::from(time.fraction).to_bits(), wanted.to_bits());
        }
    }
}
