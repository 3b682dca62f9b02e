//! IPv6 options headers: hop-by-hop and destination options (RFC 8200 section 4.2), filled with padding.

/// The largest whole header: 8 octets times 255 more than one is 2048; the kernel takes no more than this.
pub const MAX: usize = 2040;

/// A header that carries `size` octets of padding options (`packet-measurements` section 1.7), empty for 0 and
/// for what cannot be sent (2039 and more).
///
/// Octet 0 (next header) is the kernel's to fill in. The length is 2+`size` rounded up to a multiple of 8; the
/// room is filled with `PadN` options of at most 257 octets, and a left-over octet with `Pad1`.
#[must_use]
pub fn padding(size: u16) -> Vec<u8> {
    let length = (2 + usize::from(size)).next_multiple_of(8);
    if size == 0 || length > MAX {
        return Vec::new();
    }
    let units = u8::try_from(length / 8 - 1).expect("at most 254 units of 8 octets");
    let mut header = vec![0, units];
    while header.len() < length {
        match length - header.len() {
            1 => header.push(PAD_1),
            room => {
                let data = u8::try_from(room - 2).unwrap_or(u8::MAX);
                header.extend([PAD_N, data]);
                header.resize(header.len() + usize::from(data), 0);
            }
        }
    }
    header
}

const PAD_1: u8 = 0;
const PAD_N: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn five_octets_fit_one_unit() {
        assert_eq!(padding(5), [0, 0, 1, 4, 0, 0, 0, 0]);
    }

    #[test]
    fn six_octets_fit_one_unit_and_seven_do_not() {
        assert_eq!(padding(6).len(), 8);
        assert_eq!(padding(7).len(), 16);
    }

    #[test]
    fn five_hundred_and_twelve_octets_take_three_options() {
        let header = padding(512);
        assert_eq!(header.len(), 520);
        assert_eq!(header[1], 0x40);
        assert_eq!(header[2..4], [1, 255]);
        assert_eq!(header[2 + 257..2 + 259], [1, 255]);
        // 518 octets of room: 257 + 257 leave 4.
        assert_eq!(header[516..], [1, 2, 0, 0]);
    }

    #[test]
    fn a_single_left_over_octet_is_pad1() {
        let size = (1u16..=2038)
            .find(|size| (padding(*size).len() - 2) % 257 == 1)
            .expect("some room is one more than a multiple of 257");
        assert_eq!(padding(size).last(), Some(&0));
        assert_eq!((padding(size).len() - 2) % 257, 1);
    }

    #[test]
    fn nothing_asked_is_nothing_sent() {
        assert_eq!(padding(0), [0; 0]);
    }

    #[test]
    fn what_the_kernel_refuses_is_nothing_sent() {
        assert_eq!(padding(2038).len(), 2040);
        assert_eq!(padding(2039), [0; 0]);
        assert_eq!(padding(u16::MAX), [0; 0]);
    }

    proptest! {
        #[test]
        fn options_fill_the_header_exactly(size in 1u16..=2038) {
            let header = padding(size);
            prop_assert_eq!(header.len(), 8 * (usize::from(header[1]) + 1));
            prop_assert!(header.len() >= 2 + usize::from(size));
            let mut at = 2;
            while at < header.len() {
                at += match header[at] {
                    PAD_1 => 1,
                    PAD_N => 2 + usize::from(header[at + 1]),
                    other => panic!("option {other}"),
                };
            }
            prop_assert_eq!(at, header.len());
        }
    }
}
