//! Record data in presentation format.

use std::{
    fmt::Write as _,
    net::{Ipv4Addr, Ipv6Addr},
    ops::Range,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::words::type_name;
use crate::calendar;

/// Octets of a name's labels with their lengths (RFC 1035 section 3.1).
const MAX_NAME: usize = 255;

/// The data of a record of `message`, as text. Data that do not fit the type, or of a type that has no other
/// form, are given in hexadecimal (RFC 3597 section 5).
pub(super) fn text(message: &[u8], rtype: u16, range: Range<usize>) -> String {
    let bytes = message.get(range.clone()).unwrap_or_default();
    let mut data = Data {
        message,
        at: range.start,
        end: range.start + bytes.len(),
    };
    match data.record(rtype) {
        Some(text) if data.at == data.end => text,
        _ if bytes.is_empty() => "\\# 0".to_owned(),
        _ => format!("\\# {} {}", bytes.len(), hex(bytes)),
    }
}

/// A possibly compressed name with escapes and a final dot, and where what follows it stands. Pointers must lead
/// backwards.
pub(super) fn name(message: &[u8], start: usize) -> Option<(String, usize)> {
    let (mut text, mut at, mut least, mut next, mut octets) =
        (String::new(), start, start, None, 1);
    loop {
        let length = usize::from(*message.get(at)?);
        match length {
            0 => break,
            1..=63 => {
                octets += 1 + length;
                if octets > MAX_NAME {
                    return None;
                }
                escape(message.get(at + 1..at + 1 + length)?, &mut text);
                text.push('.');
                at += 1 + length;
            }
            0xc0.. => {
                let to = (length & 0x3f) << 8 | usize::from(*message.get(at + 1)?);
                next.get_or_insert(at + 2);
                if to >= least {
                    return None;
                }
                (at, least) = (to, to);
            }
            _ => return None,
        }
    }
    if text.is_empty() {
        text.push('.');
    }
    Some((text, next.unwrap_or(at + 1)))
}

/// A label as master files have it.
fn escape(label: &[u8], into: &mut String) {
    for &octet in label {
        match octet {
            b'.' | b'\\' | b'"' | b';' | b'(' | b')' | b'@' | b'$' => {
                into.push('\\');
                into.push(char::from(octet));
            }
            b'!'..=b'~' => into.push(char::from(octet)),
            _ => *into += &format!("\\{octet:03}"),
        }
    }
}

/// A character string in quotes.
fn quoted(string: &[u8]) -> String {
    let mut text = String::from("\"");
    for &octet in string {
        match octet {
            b'"' | b'\\' => {
                text.push('\\');
                text.push(char::from(octet));
            }
            b' '..=b'~' => text.push(char::from(octet)),
            _ => text += &format!("\\{octet:03}"),
        }
    }
    text + "\""
}

pub(super) fn word(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..at.checked_add(2)?)?;
    Some(u16::from_be_bytes(bytes.try_into().ok()?))
}

pub(super) fn long(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_be_bytes(bytes.try_into().ok()?))
}

/// Digits without spaces.
fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        let _ = write!(text, "{byte:02X}");
    }
    text
}

fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// RFC 4648 section 7, without padding.
fn base32(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHIJKLMNOPQRSTUV";
    let mut text = String::new();
    for group in bytes.chunks(5) {
        let mut octets = [0; 8];
        octets[3..3 + group.len()].copy_from_slice(group);
        let bits = u64::from_be_bytes(octets);
        for digit in 0..(group.len() * 8).div_ceil(5) {
            let index = bits >> (35 - 5 * digit) & 31;
            text.push(char::from(DIGITS[usize::try_from(index).unwrap_or(0)]));
        }
    }
    text
}

/// Seconds since 1970 as `YYYYMMDDHHmmSS` (RFC 4034 section 3.2).
fn date(seconds: u32) -> String {
    let second = seconds % 86_400;
    let (year, month, day) = calendar::date(calendar::day_of(seconds.into()));
    format!(
        "{year:04}{month:02}{day:02}{:02}{:02}{:02}",
        second / 3_600,
        second / 60 % 60,
        second % 60
    )
}

/// The data of one record on the way through.
struct Data<'a> {
    message: &'a [u8],
    at: usize,
    end: usize,
}

impl<'a> Data<'a> {
    /// The text; the type's data must end where it ends.
    fn record(&mut self, rtype: u16) -> Option<String> {
        Some(match rtype {
            1 => Ipv4Addr::from(self.long()?).to_string(),
            2 | 5 | 7..=9 | 12 | 39 => self.name()?,
            6 => self.soa()?,
            13 | 16 | 99 => self.strings()?,
            14 | 17 => format!("{} {}", self.name()?, self.name()?),
            15 | 18 | 21 | 36 => format!("{} {}", self.word()?, self.name()?),
            28 => Ipv6Addr::from(<[u8; 16]>::try_from(self.take(16)?).ok()?).to_string(),
            24 | 46 => self.signature()?,
            25 | 48 | 60 => {
                let (flags, protocol, algorithm) = (self.word()?, self.octet()?, self.octet()?);
                format!("{flags} {protocol} {algorithm} {}", base64(self.rest()))
            }
            33 => format!(
                "{} {} {} {}",
                self.word()?,
                self.word()?,
                self.word()?,
                self.name()?
            ),
            35 => format!(
                "{} {} {} {} {} {}",
                self.word()?,
                self.word()?,
                self.string()?,
                self.string()?,
                self.string()?,
                self.name()?
            ),
            37 => {
                let (kind, tag, algorithm) = (self.word()?, self.word()?, self.octet()?);
                format!("{kind} {tag} {algorithm} {}", base64(self.rest()))
            }
            43 | 59 | 32769 => {
                let (tag, algorithm, digest) = (self.word()?, self.octet()?, self.octet()?);
                format!("{tag} {algorithm} {digest} {}", self.rest_hex()?)
            }
            44 => format!("{} {} {}", self.octet()?, self.octet()?, self.rest_hex()?),
            47 => format!("{}{}", self.name()?, self.types()?),
            50 => self.nsec3()?,
            51 => self.nsec3_parameters()?,
            52 | 53 => {
                let (usage, selector, matching) = (self.octet()?, self.octet()?, self.octet()?);
                format!("{usage} {selector} {matching} {}", self.rest_hex()?)
            }
            49 | 61 => base64(self.rest()),
            62 => format!("{} {}{}", self.long()?, self.word()?, self.types()?),
            63 => {
                let (serial, scheme, hash) = (self.long()?, self.octet()?, self.octet()?);
                format!("{serial} {scheme} {hash} {}", self.rest_hex()?)
            }
            64 | 65 => self.service()?,
            108 => self.octets(6)?,
            109 => self.octets(8)?,
            256 => {
                let (priority, weight) = (self.word()?, self.word()?);
                format!("{priority} {weight} {}", quoted(self.rest()))
            }
            257 => {
                let flags = self.octet()?;
                let length = usize::from(self.octet()?);
                let tag = self.take(length)?;
                let plain = !tag.is_empty() && tag.iter().all(u8::is_ascii_alphanumeric);
                let tag = plain.then(|| String::from_utf8_lossy(tag).into_owned())?;
                format!("{flags} {tag} {}", quoted(self.rest()))
            }
            _ => return None,
        })
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(length)?;
        let taken = self.message.get(self.at..end).filter(|_| end <= self.end)?;
        self.at = end;
        Some(taken)
    }

    fn octet(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn word(&mut self) -> Option<u16> {
        word(self.take(2)?, 0)
    }

    fn long(&mut self) -> Option<u32> {
        long(self.take(4)?, 0)
    }

    fn rest(&mut self) -> &'a [u8] {
        self.take(self.end - self.at).unwrap_or_default()
    }

    /// The rest in hexadecimal; there must be some.
    fn rest_hex(&mut self) -> Option<String> {
        Some(hex(self.rest())).filter(|digits| !digits.is_empty())
    }

    fn name(&mut self) -> Option<String> {
        let (name, next) = name(self.message, self.at)?;
        self.at = next;
        (next <= self.end).then_some(name)
    }

    fn string(&mut self) -> Option<String> {
        let length = usize::from(self.octet()?);
        Some(quoted(self.take(length)?))
    }

    fn strings(&mut self) -> Option<String> {
        let mut strings = vec![self.string()?];
        while self.at < self.end {
            strings.push(self.string()?);
        }
        Some(strings.join(" "))
    }

    fn octets(&mut self, count: usize) -> Option<String> {
        let octets: Vec<String> = self
            .take(count)?
            .iter()
            .map(|octet| format!("{octet:02x}"))
            .collect();
        Some(octets.join("-"))
    }

    fn soa(&mut self) -> Option<String> {
        let mut text = format!("{} {}", self.name()?, self.name()?);
        for _ in 0..5 {
            let _ = write!(text, " {}", self.long()?);
        }
        Some(text)
    }

    /// RFC 4034 section 3.2.
    fn signature(&mut self) -> Option<String> {
        let covered = type_name(self.word()?);
        let (algorithm, labels, ttl) = (self.octet()?, self.octet()?, self.long()?);
        let (expires, begins) = (date(self.long()?), date(self.long()?));
        let (tag, signer) = (self.word()?, self.name()?);
        let signature = base64(self.rest());
        Some(format!(
            "{covered} {algorithm} {labels} {ttl} {expires} {begins} {tag} {signer} {signature}"
        ))
    }

    /// A bitmap of types, each behind a space (RFC 4034 section 4.1.2).
    fn types(&mut self) -> Option<String> {
        let mut text = String::new();
        while self.at < self.end {
            let (window, length) = (self.octet()?, self.octet()?);
            if !(1..=32).contains(&length) {
                return None;
            }
            for (index, octet) in (0_u8..).zip(self.take(length.into())?) {
                for bit in 0..8 {
                    if octet & 0x80 >> bit != 0 {
                        let rtype = u16::from_be_bytes([window, 8 * index + bit]);
                        let _ = write!(text, " {}", type_name(rtype));
                    }
                }
            }
        }
        Some(text)
    }

    /// RFC 5155 section 4.3.
    fn nsec3_parameters(&mut self) -> Option<String> {
        let (hash, flags, iterations) = (self.octet()?, self.octet()?, self.word()?);
        let length = usize::from(self.octet()?);
        let salt = match self.take(length)? {
            [] => "-".to_owned(),
            salt => hex(salt),
        };
        Some(format!("{hash} {flags} {iterations} {salt}"))
    }

    fn nsec3(&mut self) -> Option<String> {
        let parameters = self.nsec3_parameters()?;
        let length = usize::from(self.octet()?);
        let next = base32(self.take(length)?);
        Some(format!("{parameters} {next}{}", self.types()?))
    }

    /// RFC 9460 section 2.1.
    fn service(&mut self) -> Option<String> {
        let mut text = format!("{} {}", self.word()?, self.name()?);
        while self.at < self.end {
            let (key, length) = (self.word()?, self.word()?);
            let mut value = Data {
                message: self.message,
                at: self.at,
                end: self.at + usize::from(length),
            };
            let bytes = self.take(length.into())?;
            let shown = value.parameter(key)?;
            text.push(' ');
            text += &key_name(key);
            if !bytes.is_empty() {
                let _ = write!(text, "={shown}");
            }
        }
        Some(text)
    }

    fn parameter(&mut self, key: u16) -> Option<String> {
        let mut items = Vec::new();
        while self.at < self.end {
            items.push(match key {
                0 => key_name(self.word()?),
                1 => {
                    let length = usize::from(self.octet()?);
                    let mut item = String::new();
                    escape(self.take(length)?, &mut item);
                    item.replace(',', "\\\\,")
                }
                3 => self.word()?.to_string(),
                4 => Ipv4Addr::from(self.long()?).to_string(),
                5 => base64(self.rest()),
                6 => Ipv6Addr::from(<[u8; 16]>::try_from(self.take(16)?).ok()?).to_string(),
                _ => quoted(self.rest()),
            });
        }
        Some(items.join(","))
    }
}

/// Service parameters (RFC 9460 section 14.3.2, RFC 9461, RFC 9540).
fn key_name(key: u16) -> String {
    let names = [
        "mandatory",
        "alpn",
        "no-default-alpn",
        "port",
        "ipv4hint",
        "ech",
        "ipv6hint",
        "dohpath",
        "ohttp",
    ];
    names
        .get(usize::from(key))
        .map_or_else(|| format!("key{key}"), |name| (*name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(rtype: u16, data: &[u8]) -> String {
        text(data, rtype, 0..data.len())
    }

    #[test]
    fn each_type_has_its_form() {
        for (rtype, data, text) in [
            (1, &[192, 0, 2, 1][..], "192.0.2.1"),
            (
                28,
                b"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01",
                "2001:db8::1",
            ),
            (2, b"\x02ns\x01a\0", "ns.a."),
            (
                6,
                b"\x01m\0\x01r\0\0\0\0\x01\0\0\0\x02\0\0\0\x03\0\0\0\x04\0\0\0\x05",
                "m. r. 1 2 3 4 5",
            ),
            (15, b"\0\x0a\x01m\0", "10 m."),
            (16, b"\x03a\"b\x02\\\xff\0", "\"a\\\"b\" \"\\\\\\255\" \"\""),
            (33, b"\0\x01\0\x02\x14\xe9\x01s\0", "1 2 5353 s."),
            (35, b"\0\x01\0\x02\x01u\x01s\0\0", "1 2 \"u\" \"s\" \"\" ."),
            (43, b"\x30\x39\x0d\x02\xab\xcd", "12345 13 2 ABCD"),
            (44, b"\x04\x02\xab", "4 2 AB"),
            (
                46,
                b"\0\x01\x0d\x02\0\0\x0e\x10\x65\x92\x00\x80\0\0\0\0\x30\x39\x01a\0sig",
                "A 13 2 3600 20240101000000 19700101000000 12345 a. c2ln",
            ),
            (
                47,
                b"\x01b\0\0\x06\x40\x01\0\0\0\x03\x01\x01\x40",
                "b. A MX RRSIG NSEC CAA",
            ),
            (48, b"\x01\x01\x03\x0dkey", "257 3 13 a2V5"),
            (
                50,
                b"\x01\x01\0\x05\x02\xaa\xbb\x05abcde\0\x01\x40",
                "1 1 5 AABB C5H66P35 A",
            ),
            (51, b"\x01\0\0\0\0", "1 0 0 -"),
            (52, b"\x03\x01\x01\xab", "3 1 1 AB"),
            (
                65,
                b"\0\x01\0\0\x01\0\x06\x02h2\x02h3\0\x03\0\x02\x01\xbb\0\x04\0\x04\xc0\0\x02\x01",
                "1 . alpn=h2,h3 port=443 ipv4hint=192.0.2.1",
            ),
            (
                64,
                b"\0\x01\0\0\x02\0\0\x03\x09\0\x01z",
                "1 . no-default-alpn key777=\"z\"",
            ),
            (108, b"\0\x01\x02\xaa\xbb\xcc", "00-01-02-aa-bb-cc"),
            (256, b"\0\x0a\0\x01x:y", "10 1 \"x:y\""),
            (257, b"\0\x05issueca.example", "0 issue \"ca.example\""),
        ] {
            assert_eq!(shown(rtype, data), text, "type {rtype}");
        }
    }

    #[test]
    fn what_does_not_fit_is_shown_in_hexadecimal() {
        for (rtype, data, text) in [
            (1, &b"\x01\x02\x03"[..], "\\# 3 010203"),
            (1, b"", "\\# 0"),
            (1, b"\x01\x02\x03\x04\x05", "\\# 5 0102030405"),
            (16, b"\x05ab", "\\# 3 056162"),
            (2, b"\x03ab", "\\# 3 036162"),
            (47, b"\0\0\x21", "\\# 3 000021"),
            (257, b"\0\x01\x1bx", "\\# 4 00011B78"),
            (65280, b"\xff", "\\# 1 FF"),
        ] {
            assert_eq!(shown(rtype, data), text, "type {rtype} {data:?}");
        }
    }

    #[test]
    fn names_are_escaped_and_pointers_lead_back() {
        let message = b"\x03a.b\x02\x1b@\0\xc0\x00\xc0\x0a\xc0\x0a";
        assert_eq!(name(message, 0), Some(("a\\.b.\\027\\@.".to_owned(), 8)));
        assert_eq!(name(message, 8), Some(("a\\.b.\\027\\@.".to_owned(), 10)));
        assert_eq!(name(message, 10), None, "to itself");
        assert_eq!(name(message, 12), None, "to one that leads to itself");
        assert_eq!(name(b"\0", 0), Some((".".to_owned(), 1)));
        assert_eq!(name(b"\x40", 0), None);
        let long = [&[63; 64][..], &[63; 64], &[63; 64], &[63; 64], &[0]].concat();
        assert_eq!(name(&long, 0), None, "more than 255 octets");
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, text) in [
            (0, "19700101000000"),
            (951_782_399, "20000228235959"),
            (951_782_400, "20000229000000"),
            (1_709_251_199, "20240229235959"),
            (u32::MAX, "21060207062815"),
        ] {
            assert_eq!(date(seconds), text);
        }
    }

    #[test]
    fn digits_to_the_base_of_thirty_two() {
        // RFC 4648 section 10, without padding.
        for (bytes, text) in [
            (&b""[..], ""),
            (b"f", "CO"),
            (b"fo", "CPNG"),
            (b"foo", "CPNMU"),
            (b"foob", "CPNMUOG"),
            (b"fooba", "CPNMUOJ1"),
            (b"foobar", "CPNMUOJ1E8"),
        ] {
            assert_eq!(base32(bytes), text);
        }
    }
}
