//! Header blocks (RFC 7541): literals written, everything read.

use std::collections::VecDeque;

use super::huffman;

/// Appends a field as "literal never indexed, new name" without Huffman coding (RFC 7541 section 6.2.3).
pub fn literal(name: &str, value: &str, block: &mut Vec<u8>) {
    block.push(0x10);
    for text in [name, value] {
        push_integer(text.len(), 7, block);
        block.extend_from_slice(text.as_bytes());
    }
}

/// Appends an integer behind a prefix of `bits` bits whose upper bits are zero (RFC 7541 section 5.1).
fn push_integer(mut value: usize, bits: u32, block: &mut Vec<u8>) {
    let limit = (1 << bits) - 1;
    if value < limit {
        block.extend(u8::try_from(value));
        return;
    }
    block.extend(u8::try_from(limit));
    value -= limit;
    while value >= 128 {
        block.extend(u8::try_from(value % 128 + 128));
        value /= 128;
    }
    block.extend(u8::try_from(value));
}

/// A header block that cannot be decoded: the connection is lost (RFC 7541 section 2.3.3, 5, 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HpackError {
    /// The block ends within a field.
    #[error("a header block ends within a field")]
    Short,
    /// An integer or string too long to be meant.
    #[error("a header block holds a number that is too large")]
    TooLarge,
    /// A reference to no entry.
    #[error("a header block refers to entry {0}, which does not exist")]
    Index(usize),
    /// A string that is no Huffman code.
    #[error("a header block holds a string that is not Huffman coded as it says")]
    Huffman,
    /// A table size above what was allowed, or not at the start of a block.
    #[error("a header block sets a table size that is not allowed")]
    TableSize,
}

/// A decoded field: name and value.
type Field = (Vec<u8>, Vec<u8>);

/// Bytes that the dynamic table may hold: the protocol's default, which we never change.
const TABLE_SIZE: usize = 4096;

/// Bytes that the fields of one block may come to: a few bytes can stand for the largest entry many times.
const MAX_FIELDS: usize = 65_536;

/// Reads the header blocks of one connection, in order.
#[derive(Clone, Debug)]
pub struct Decoder {
    /// The newest entry first.
    entries: VecDeque<Field>,
    size: usize,
    allowed: usize,
}

impl Default for Decoder {
    fn default() -> Self {
        Self {
            entries: VecDeque::new(),
            size: 0,
            allowed: TABLE_SIZE,
        }
    }
}

impl Decoder {
    /// The fields of a complete block.
    ///
    /// # Errors
    /// When the block is malformed. The decoder is then of no further use.
    pub fn decode(&mut self, block: &[u8]) -> Result<Vec<Field>, HpackError> {
        let mut rest = block;
        let mut fields: Vec<Field> = Vec::new();
        let mut size = 0;
        while let Some(&first) = rest.first() {
            match first {
                0x80.. => {
                    let index = integer(&mut rest, 7)?;
                    fields.push(self.entry(index)?);
                }
                0x40..=0x7f => {
                    let field = self.literal(&mut rest, 6)?;
                    self.insert(field.clone());
                    fields.push(field);
                }
                0x20..=0x3f => {
                    let size = integer(&mut rest, 5)?;
                    if size > TABLE_SIZE || !fields.is_empty() {
                        return Err(HpackError::TableSize);
                    }
                    self.allowed = size;
                    self.shrink();
                }
                // Never indexed and not indexed differ for intermediaries only.
                0x00..=0x1f => fields.push(self.literal(&mut rest, 4)?),
            }
            size += fields.last().map_or(0, entry_size);
            if size > MAX_FIELDS {
                return Err(HpackError::TooLarge);
            }
        }
        Ok(fields)
    }

    fn literal(&self, rest: &mut &[u8], bits: u32) -> Result<Field, HpackError> {
        let name = match integer(rest, bits)? {
            0 => string(rest)?,
            index => self.entry(index)?.0,
        };
        Ok((name, string(rest)?))
    }

    fn entry(&self, index: usize) -> Result<Field, HpackError> {
        let missing = HpackError::Index(index);
        let at = index.checked_sub(1).ok_or(missing)?;
        match STATIC.get(at) {
            Some((name, value)) => Ok((name.as_bytes().to_vec(), value.as_bytes().to_vec())),
            None => self.entries.get(at - STATIC.len()).cloned().ok_or(missing),
        }
    }

    fn insert(&mut self, field: Field) {
        self.size += entry_size(&field);
        self.entries.push_front(field);
        self.shrink();
    }

    fn shrink(&mut self) {
        while self.size > self.allowed {
            let Some(oldest) = self.entries.pop_back() else {
                break;
            };
            self.size -= entry_size(&oldest);
        }
    }
}

/// RFC 7541 section 4.1.
fn entry_size((name, value): &Field) -> usize {
    name.len() + value.len() + 32
}

/// An integer behind a prefix of `bits` bits. More than three further bytes are more than anybody can mean.
fn integer(rest: &mut &[u8], bits: u32) -> Result<usize, HpackError> {
    let limit = (1 << bits) - 1;
    let mut value = usize::from(next(rest)?) & limit;
    if value < limit {
        return Ok(value);
    }
    for shift in [0, 7, 14] {
        let byte = usize::from(next(rest)?);
        value += (byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(HpackError::TooLarge)
}

fn string(rest: &mut &[u8]) -> Result<Vec<u8>, HpackError> {
    let coded = rest.first().ok_or(HpackError::Short)? & 0x80 != 0;
    let length = integer(rest, 7)?;
    let (text, behind) = rest.split_at_checked(length).ok_or(HpackError::Short)?;
    *rest = behind;
    if coded {
        huffman::decode(text).ok_or(HpackError::Huffman)
    } else {
        Ok(text.to_vec())
    }
}

fn next(rest: &mut &[u8]) -> Result<u8, HpackError> {
    let (&byte, behind) = rest.split_first().ok_or(HpackError::Short)?;
    *rest = behind;
    Ok(byte)
}

/// RFC 7541 appendix A.
const STATIC: [(&str, &str); 61] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fields(list: &[(&str, &str)]) -> Vec<Field> {
        list.iter()
            .map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()))
            .collect()
    }

    #[test]
    fn a_literal_is_never_indexed_and_not_coded() {
        let mut block = Vec::new();
        literal(":method", "POST", &mut block);
        assert_eq!(block, b"\x10\x07:method\x04POST");
        block.clear();
        literal("p", &"x".repeat(300), &mut block);
        assert_eq!(block[..5], *b"\x10\x01p\x7f\xad");
        assert_eq!(block[5], 1, "300 = 127 + 45 + 128");
        assert_eq!(Decoder::default().decode(&block).unwrap()[0].1.len(), 300);
    }

    #[test]
    fn responses_with_huffman_coding_and_eviction() {
        // RFC 7541 appendix C.6, with its table of 256 bytes.
        let mut decoder = Decoder {
            allowed: 256,
            ..Decoder::default()
        };
        let first = b"\x48\x82\x64\x02\x58\x85\xae\xc3\x77\x1a\x4b\x61\x96\xd0\x7a\xbe\x94\x10\x54\xd4\x44\xa8\x20\
            \x05\x95\x04\x0b\x81\x66\xe0\x82\xa6\x2d\x1b\xff\x6e\x91\x9d\x29\xad\x17\x18\x63\xc7\x8f\x0b\x97\xc8\xe9\
            \xae\x82\xae\x43\xd3";
        let mut expected = fields(&[
            (":status", "302"),
            ("cache-control", "private"),
            ("date", "Mon, 21 Oct 2013 20:13:21 GMT"),
            ("location", "https://www.example.com"),
        ]);
        assert_eq!(decoder.decode(first), Ok(expected.clone()));
        expected[0].1 = b"307".to_vec();
        assert_eq!(
            decoder.decode(b"\x48\x83\x64\x0e\xff\xc1\xc0\xbf"),
            Ok(expected)
        );
        assert_eq!(decoder.size, 222);
        assert_eq!(decoder.entries.len(), 4);
    }

    #[test]
    fn a_table_size_of_zero_forgets_everything() {
        let mut decoder = Decoder::default();
        assert_eq!(decoder.decode(b"\x40\x01a\x01b\xbe").unwrap().len(), 2);
        assert_eq!(decoder.decode(b"\x20\xbe"), Err(HpackError::Index(62)));
        assert_eq!(decoder.decode(b"\x3f\xe1\x1f"), Ok(vec![]), "4096");
        assert_eq!(decoder.decode(b"\x3f\xe2\x1f"), Err(HpackError::TableSize));
        assert_eq!(decoder.decode(b"\x88\x20"), Err(HpackError::TableSize));
    }

    #[test]
    fn a_small_block_does_not_become_a_large_one() {
        let mut block = Vec::new();
        literal("x", &"y".repeat(4000), &mut block);
        block[0] = 0x40;
        block.extend([0xbe; 20]);
        assert_eq!(Decoder::default().decode(&block), Err(HpackError::TooLarge));
    }

    #[test]
    fn malformed_blocks() {
        for (block, error) in [
            (&b"\x80"[..], HpackError::Index(0)),
            (b"\xbe", HpackError::Index(62)),
            (b"\xff", HpackError::Short),
            (b"\xff\xff\xff\xff\xff", HpackError::TooLarge),
            (b"\x10\x02a", HpackError::Short),
            (b"\x10\x01a", HpackError::Short),
            (b"\x10\x81\x38\x00", HpackError::Huffman),
        ] {
            assert_eq!(Decoder::default().decode(block), Err(error), "{block:?}");
        }
    }

    proptest! {
        #[test]
        fn literals_read_back(list in prop::collection::vec(("[a-z-]{1,40}", "[ -~]{0,400}"), 0..8)) {
            let mut block = Vec::new();
            for (name, value) in &list {
                literal(name, value, &mut block);
            }
            let list: Vec<(&str, &str)> = list.iter().map(|(name, value)| (&name[..], &value[..])).collect();
            prop_assert_eq!(Decoder::default().decode(&block), Ok(fields(&list)));
        }

        #[test]
        fn no_block_panics_and_the_table_stays_small(
            blocks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..8),
        ) {
            let mut decoder = Decoder::default();
            for block in blocks {
                let _ = decoder.decode(&block);
                prop_assert!(decoder.size <= TABLE_SIZE);
            }
        }
    }
}
