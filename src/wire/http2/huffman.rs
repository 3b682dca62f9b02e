//! The Huffman code of header strings (RFC 7541 appendix B), reading only.
//!
//! The code is canonical: ordered by length and then by symbol, each code is the one before plus one, shifted to
//! its length. So the lengths are all there is to write down.

/// Bits of the code of each byte, and of the end-of-string symbol at 256.
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, //
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28, //
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, //
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, //
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, //
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, //
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, //
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, //
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, //
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, //
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, //
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, //
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, //
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, //
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, //
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, //
    30,
];

/// The longest code.
const MAX_LENGTH: usize = 30;
/// The symbol that never stands in a string.
const END_OF_STRING: u16 = 256;

/// Symbols in the order of their codes, and for each length how many there are.
struct Table {
    symbols: [u16; 257],
    count: [u32; MAX_LENGTH + 1],
}

const TABLE: Table = table();

const fn table() -> Table {
    let mut table = Table {
        symbols: [0; 257],
        count: [0; MAX_LENGTH + 1],
    };
    let (mut length, mut filled) = (1, 0);
    while length <= MAX_LENGTH {
        let mut symbol: u16 = 0;
        while symbol <= END_OF_STRING {
            if LENGTHS[symbol as usize] as usize == length {
                table.symbols[filled] = symbol;
                table.count[length] += 1;
                filled += 1;
            }
            symbol += 1;
        }
        length += 1;
    }
    table
}

/// The string that `coded` stands for. `None` if it holds the end-of-string symbol, or ends in anything but
/// fewer than eight one bits (RFC 7541 section 5.2).
pub(super) fn decode(coded: &[u8]) -> Option<Vec<u8>> {
    // Codes have at least five bits.
    let mut text = Vec::with_capacity(coded.len() * 8 / 5);
    let (mut code, mut length, mut first, mut index) = (0u32, 0, 0u32, 0u32);
    for bit in coded
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1))
    {
        code = code << 1 | u32::from(bit);
        first <<= 1;
        length += 1;
        let count = TABLE.count[length];
        // Codes of one length are consecutive from `first` on.
        if code - first < count {
            match TABLE.symbols[(index + code - first) as usize] {
                END_OF_STRING => return None,
                symbol => text.push(u8::try_from(symbol).ok()?),
            }
            (code, length, first, index) = (0, 0, 0, 0);
        } else {
            first += count;
            index += count;
        }
    }
    let padded_by_ones = length < 8 && code == (1 << length) - 1;
    padded_by_ones.then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_is_complete() {
        let kraft: u64 = LENGTHS
            .iter()
            .map(|&length| 1u64 << (MAX_LENGTH - usize::from(length)))
            .sum();
        assert_eq!(kraft, 1 << MAX_LENGTH);
    }

    #[test]
    fn the_strings_of_rfc_7541_appendix_c() {
        for (coded, text) in [
            (
                &[
                    0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff,
                ][..],
                "www.example.com",
            ),
            (&[0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf], "no-cache"),
            (
                &[0x25, 0xa8, 0x49, 0xe9, 0x5b, 0xa9, 0x7d, 0x7f],
                "custom-key",
            ),
            (
                &[0x25, 0xa8, 0x49, 0xe9, 0x5b, 0xb8, 0xe8, 0xb4, 0xbf],
                "custom-value",
            ),
            (&[0x64, 0x02], "302"),
            (&[0xae, 0xc3, 0x77, 0x1a, 0x4b], "private"),
        ] {
            assert_eq!(decode(coded).as_deref(), Some(text.as_bytes()));
        }
    }

    #[test]
    fn every_byte_has_its_code() {
        // Encodes by counting codes upwards, as the appendix does.
        let mut order: Vec<usize> = (0..257).collect();
        order.sort_by_key(|&symbol| (LENGTHS[symbol], symbol));
        let mut code = 0u64;
        for pair in order.windows(2) {
            let length = u32::from(LENGTHS[pair[0]]);
            let coded = (code << (64 - length)) | (u64::MAX >> length);
            let bytes = &coded.to_be_bytes()[..(length as usize).div_ceil(8)];
            assert_eq!(decode(bytes), Some(vec![u8::try_from(pair[0]).unwrap()]));
            code = (code + 1) << (LENGTHS[pair[1]] - LENGTHS[pair[0]]);
        }
        assert_eq!(code, (1 << 30) - 1, "the end of string is all ones");
    }

    #[test]
    fn wrong_padding_and_the_end_of_string_are_refused() {
        assert_eq!(decode(&[0b0011_1000]), None, "`o` and zeros");
        assert_eq!(decode(&[0b0011_1111]), Some(b"o".to_vec()));
        assert_eq!(
            decode(&[0b0011_1111, 0xff]),
            None,
            "more than seven bits of padding"
        );
        assert_eq!(decode(&[0xff, 0xff, 0xff, 0xfc]), None, "the end of string");
        assert_eq!(decode(&[]), Some(vec![]));
    }
}
