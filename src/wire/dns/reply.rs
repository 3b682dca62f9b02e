//! Replies: what a result reports of them, read by the rules of `dns-measurement` 3.4 and 7.5.

use super::{COOKIE, OPT, SOA, TXT};

/// The fixed part of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Message ID.
    pub id: u16,
    /// QR, opcode, AA, TC, RD, RA, AD, CD and RCODE.
    pub flags: u16,
    /// `QDCOUNT`
    pub questions: u16,
    /// `ANCOUNT`
    pub answers: u16,
    /// `NSCOUNT`
    pub authorities: u16,
    /// `ARCOUNT`
    pub additionals: u16,
}

impl Header {
    /// The header of a message of at least 12 bytes.
    #[must_use]
    pub fn parse(message: &[u8]) -> Option<Self> {
        Some(Self {
            id: word(message, 0)?,
            flags: word(message, 2)?,
            questions: word(message, 4)?,
            answers: word(message, 6)?,
            authorities: word(message, 8)?,
            additionals: word(message, 10)?,
        })
    }
}

/// An answer record that results show in words. Names are text without a final dot, bytes as they came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A text record.
    Txt {
        /// Its owner.
        name: Vec<u8>,
        /// Its character strings, at least one.
        strings: Vec<Vec<u8>>,
    },
    /// A start of authority.
    Soa {
        /// Its owner.
        name: Vec<u8>,
        /// Seconds that it may be kept.
        ttl: u32,
        /// The primary server.
        mname: Vec<u8>,
        /// The mailbox of who is responsible.
        rname: Vec<u8>,
        /// Version of the zone.
        serial: u32,
    },
}

/// The answers that a result shows: TXT and SOA among the first two records after the question, as far as
/// they can be read (`dns-measurement` 7.5).
#[must_use]
pub fn answers(message: &[u8]) -> Vec<Answer> {
    let mut found = Vec::new();
    let Some(header) = Header::parse(message) else {
        return found;
    };
    let Some(mut at) = past_question(message) else {
        return found;
    };
    for _ in 0..header.answers.min(2) {
        let Some((answer, next)) = record(message, at) else {
            break;
        };
        found.extend(answer);
        at = next;
    }
    found
}

/// Skips what is taken for the one question: in its name a compression pointer counts as one byte.
fn past_question(message: &[u8]) -> Option<usize> {
    let mut at = 12;
    loop {
        match *message.get(at)? {
            0 | 0xc0.. => break,
            0x40..=0xbf => return None,
            length => at += 1 + usize::from(length),
        }
    }
    at += 1 + 4;
    (at <= message.len()).then_some(at)
}

/// One record: the answer if it is of a type that is shown, and where the next one is expected.
fn record(message: &[u8], at: usize) -> Option<(Option<Answer>, usize)> {
    let (name, at) = read_name(message, at)?;
    let (rtype, ttl) = (word(message, at)?, long(message, at + 4)?);
    let length = usize::from(word(message, at + 8)?);
    let data = at + 10;
    match rtype {
        TXT => {
            let strings = character_strings(message.get(data..data + length)?);
            Some((Some(Answer::Txt { name, strings }), data + length))
        }
        SOA => {
            let (mname, at) = read_name(message, data)?;
            let (rname, at) = read_name(message, at)?;
            let serial = long(message, at)?;
            message.get(at..at + 20)?;
            let answer = Answer::Soa {
                name,
                ttl,
                mname,
                rname,
                serial,
            };
            Some((Some(answer), at + 20))
        }
        _ => Some((None, data + length)),
    }
}

/// Splits the data of a TXT record. A string cut short is taken as far as it goes; no data is one empty string.
fn character_strings(mut data: &[u8]) -> Vec<Vec<u8>> {
    let mut strings = Vec::new();
    while let Some((&length, rest)) = data.split_first() {
        let (string, rest) = rest.split_at(usize::from(length).min(rest.len()));
        strings.push(string.to_vec());
        data = rest;
    }
    if strings.is_empty() {
        strings.push(Vec::new());
    }
    strings
}

/// Pointers that are followed in one name.
const MAX_JUMPS: usize = 257;
/// Bytes that a name's text may have, dots between labels included.
const MAX_TEXT: usize = 255;

/// A possibly compressed name as text, and where what follows it stands. Reaching the end of the message
/// ends the name; a missing second byte of a pointer counts as 0.
fn read_name(message: &[u8], start: usize) -> Option<(Vec<u8>, usize)> {
    let (mut text, mut at, mut jumps, mut next) = (Vec::new(), start, 0, None);
    while let Some(&length) = message.get(at) {
        at += 1;
        match length {
            0 => break,
            1..=63 => {
                let end = (at + usize::from(length)).min(message.len());
                if !text.is_empty() {
                    text.push(b'.');
                }
                text.extend_from_slice(&message[at..end]);
                if text.len() > MAX_TEXT {
                    return None;
                }
                at = end;
            }
            0x40..=0xbf => return None,
            0xc0.. => {
                let low = message.get(at).copied().unwrap_or(0);
                next.get_or_insert(at + 1);
                jumps += 1;
                at = usize::from(length & 0x3f) << 8 | usize::from(low);
                if jumps > MAX_JUMPS || at >= message.len() {
                    return None;
                }
            }
        }
    }
    Some((text, next.unwrap_or(at)))
}

/// The data of the Cookie option in the first OPT record, wherever that stands (`dns-measurement` 3.4).
/// `None` also for a message that cannot be walked that far.
#[must_use]
pub fn cookie(message: &[u8]) -> Option<&[u8]> {
    let header = Header::parse(message)?;
    let mut at = 12;
    for _ in 0..header.questions {
        at = skip_name(message, at)? + 4;
    }
    let records = [header.answers, header.authorities, header.additionals];
    for _ in 0..records.into_iter().map(u32::from).sum::<u32>() {
        let root = *message.get(at)? == 0;
        at = skip_name(message, at)?;
        let rtype = word(message, at)?;
        let length = usize::from(word(message, at + 8)?);
        let data = message.get(at + 10..at + 10 + length)?;
        at += 10 + length;
        if root && rtype == OPT {
            return option(data, COOKIE);
        }
    }
    None
}

/// The data of the first option with this code.
fn option(mut data: &[u8], code: u16) -> Option<&[u8]> {
    loop {
        let (found, length) = (word(data, 0)?, usize::from(word(data, 2)?));
        let value = data.get(4..4 + length)?;
        if found == code {
            return Some(value);
        }
        data = &data[4 + length..];
    }
}

/// Where what follows a name stands.
fn skip_name(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *message.get(at)? {
            0 => return Some(at + 1),
            0xc0.. => return Some(at + 2),
            0x40..=0xbf => return None,
            length => at += 1 + usize::from(length),
        }
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..at.checked_add(2)?)?;
    Some(u16::from_be_bytes(bytes.try_into().ok()?))
}

fn long(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_be_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A reply with this many questions and answers, and what follows the header.
    fn message(questions: u8, answers: u8, rest: &[u8]) -> Vec<u8> {
        let header = [0x30, 0x39, 0x84, 0, 0, questions, 0, answers, 0, 0, 0, 0];
        [&header, rest].concat()
    }

    /// The question `a. TXT CH`.
    const QUESTION: &[u8] = b"\x01a\0\0\x10\0\x03";

    fn txt(name: &[u8], data: &[u8]) -> Vec<u8> {
        let length = u16::try_from(data.len()).unwrap().to_be_bytes();
        [name, b"\0\x10\0\x03\0\0\0\0", &length, data].concat()
    }

    fn soa(name: &[u8], mname: &[u8], rname: &[u8]) -> Vec<u8> {
        let fixed = b"\0\0\0\x07\0\0\0\x01\0\0\0\x02\0\0\0\x03\0\0\0\x04";
        // The wrong length must not matter.
        [name, b"\0\x06\0\x01\0\0\x0e\x10\0\x01", mname, rname, fixed].concat()
    }

    fn one_txt(name: &[u8], strings: &[&[u8]]) -> Vec<Answer> {
        vec![Answer::Txt {
            name: name.to_vec(),
            strings: strings.iter().map(|string| string.to_vec()).collect(),
        }]
    }

    #[test]
    fn character_strings_split_by_their_lengths() {
        for (data, strings) in [
            (&b"\x03abc"[..], &[&b"abc"[..]][..]),
            (b"\x03abc\0\x01d", &[b"abc", b"", b"d"]),
            (b"\x09abc", &[b"abc"]),
            (b"", &[b""]),
            (b"\0", &[b""]),
        ] {
            let reply = message(1, 1, &[QUESTION, &txt(b"\xc0\x0c", data)].concat());
            assert_eq!(answers(&reply), one_txt(b"a", strings), "{data:?}");
        }
    }

    #[test]
    fn at_most_two_records_are_looked_at() {
        let record = txt(b"\xc0\x0c", b"\x01x");
        let reply = message(1, 3, &[QUESTION, &record, &record, &record].concat());
        assert_eq!(answers(&reply).len(), 2);
    }

    #[test]
    fn a_start_of_authority_is_not_bound_by_its_length() {
        let records = [
            soa(b"\xc0\x0c", b"\x02ns\xc0\x0c", b"\0"),
            txt(b"\0", b"\x01x"),
        ];
        let reply = message(1, 2, &[QUESTION, &records.concat()].concat());
        let expected = Answer::Soa {
            name: b"a".to_vec(),
            ttl: 3600,
            mname: b"ns.a".to_vec(),
            rname: b"".to_vec(),
            serial: 7,
        };
        assert_eq!(
            answers(&reply),
            [vec![expected], one_txt(b"", &[b"x"])].concat()
        );
    }

    #[test]
    fn a_second_record_cut_short_leaves_the_first() {
        let first = txt(b"\xc0\x0c", b"\x01x");
        for cut in 0..first.len() {
            let reply = message(1, 2, &[QUESTION, &first, &first[..cut]].concat());
            assert_eq!(answers(&reply), one_txt(b"a", &[b"x"]), "{cut}");
        }
    }

    #[test]
    fn a_pointer_in_the_question_counts_as_one_byte() {
        // C0, type and class; then the 0c of the pointer would belong to the type.
        let reply = message(
            1,
            1,
            &[b"\xc0\0\x10\0\x03", &txt(b"\0", b"\x01x")[..]].concat(),
        );
        assert_eq!(answers(&reply), one_txt(b"", &[b"x"]));
    }

    #[test]
    fn reserved_label_types_and_loops_stop_the_reading() {
        for name in [&b"\x40"[..], b"\x80", b"\xc0\x13", b"\xff\xff"] {
            let reply = message(1, 1, &[QUESTION, &txt(name, b"\x01x")].concat());
            assert_eq!(answers(&reply), vec![], "{name:?}");
        }
        let reply = message(1, 1, b"\x40\0\0\x10\0\x03");
        assert_eq!(answers(&reply), vec![]);
    }

    #[test]
    fn a_pointer_forward_and_a_name_at_the_end_are_followed() {
        let mut reply = message(1, 1, &[QUESTION, &txt(b"\xc0\x21", b"\x01x")].concat());
        assert_eq!(reply.len(), 0x21);
        reply.extend_from_slice(b"\x03end");
        assert_eq!(answers(&reply), one_txt(b"end", &[b"x"]));
    }

    #[test]
    fn the_cookie_of_the_first_opt_record_in_any_section() {
        let opt = b"\0\0\x29\x02\0\0\0\0\0\0\x0e\0\x03\0\x02ab\0\x0a\0\x041234";
        let mut reply = message(1, 0, &[QUESTION, &opt[..]].concat());
        reply[9] = 1;
        assert_eq!(cookie(&reply), Some(&b"1234"[..]));
        for end in 0..reply.len() {
            assert_eq!(cookie(&reply[..end]), None, "{end}");
        }
        let mut named = message(1, 0, &[QUESTION, b"\xc0\x0c", &opt[1..]].concat());
        named[11] = 1;
        assert_eq!(cookie(&named), None, "only the root owns an OPT record");
    }
}
