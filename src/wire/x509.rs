//! What a person wants to know of a certificate: names, validity, key (RFC 5280 section 4.1, in DER of X.690).
//!
//! Not a verifier, and not a whole decoder: what is not shown is stepped over. Texts come from strangers; they are
//! bounded in length and number, and free of control characters.

use super::Malformed;
use crate::calendar;

mod tag {
    pub(super) const BOOLEAN: u8 = 0x01;
    pub(super) const INTEGER: u8 = 0x02;
    pub(super) const BIT_STRING: u8 = 0x03;
    pub(super) const OCTET_STRING: u8 = 0x04;
    pub(super) const OBJECT: u8 = 0x06;
    pub(super) const UTC_TIME: u8 = 0x17;
    pub(super) const GENERALIZED_TIME: u8 = 0x18;
    pub(super) const BMP_STRING: u8 = 0x1e;
    pub(super) const SEQUENCE: u8 = 0x30;
    pub(super) const VERSION: u8 = 0xa0;
    pub(super) const EXTENSIONS: u8 = 0xa3;
    pub(super) const DNS_NAME: u8 = 0x82;
    pub(super) const IP_ADDRESS: u8 = 0x87;
}

/// The longest text that is kept, in octets.
const MAX_TEXT: usize = 256;
/// Names that are kept at most.
const MAX_NAMES: usize = 256;
/// Attributes of a distinguished name that are kept at most.
const MAX_ATTRIBUTES: usize = 32;

/// What is shown of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Whom it is for: `CN=a.example, O=Example`.
    pub subject: String,
    /// Who signed it.
    pub issuer: String,
    /// From when it is valid, in Unix seconds.
    pub not_before: i64,
    /// Until when it is valid, in Unix seconds.
    pub not_after: i64,
    /// Its key.
    pub key: Key,
    /// Host names and addresses that it is for, in the order given.
    pub names: Vec<String>,
    /// Whether the subject may sign others.
    pub is_authority: bool,
}

/// A public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// RSA with a modulus of this many bits.
    Rsa(usize),
    /// An elliptic curve, by its usual name or its object identifier.
    Ec(String),
    /// Another algorithm, by its usual name or its object identifier.
    Other(String),
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Rsa(bits) => write!(f, "RSA {bits}"),
            Self::Ec(curve) => write!(f, "EC {curve}"),
            Self::Other(name) => f.write_str(name),
        }
    }
}

impl Certificate {
    /// Reads a certificate. What follows it is not looked at.
    ///
    /// # Errors
    /// Octets that are none.
    pub fn parse(der: &[u8]) -> Result<Self, Malformed> {
        let (whole, _) = take(der, tag::SEQUENCE, "certificate")?;
        let (fields, _) = take(whole, tag::SEQUENCE, "certificate fields")?;
        let fields = match take(fields, tag::VERSION, "version") {
            Ok((_, rest)) => rest,
            Err(_) => fields,
        };
        let (_, fields) = take(fields, tag::INTEGER, "serial number")?;
        let (_, fields) = take(fields, tag::SEQUENCE, "signature algorithm")?;
        let (issuer, fields) = take(fields, tag::SEQUENCE, "issuer")?;
        let (validity, fields) = take(fields, tag::SEQUENCE, "validity")?;
        let (subject, fields) = take(fields, tag::SEQUENCE, "subject")?;
        let (key, fields) = take(fields, tag::SEQUENCE, "public key")?;
        let (not_before, validity) = time(validity)?;
        let (not_after, _) = time(validity)?;
        let mut certificate = Self {
            subject: distinguished_name(subject)?,
            issuer: distinguished_name(issuer)?,
            not_before,
            not_after,
            key: public_key(key)?,
            names: Vec::new(),
            is_authority: false,
        };
        certificate.extensions(fields)?;
        Ok(certificate)
    }

    fn extensions(&mut self, mut fields: &[u8]) -> Result<(), Malformed> {
        while !fields.is_empty() {
            let (kind, content, rest) = next(fields, "certificate field")?;
            fields = rest;
            if kind != tag::EXTENSIONS {
                continue;
            }
            let (mut list, _) = take(content, tag::SEQUENCE, "extensions")?;
            while !list.is_empty() {
                let (extension, rest) = take(list, tag::SEQUENCE, "extension")?;
                list = rest;
                let (object, rest) = take(extension, tag::OBJECT, "extension type")?;
                let (kind, value, rest) = next(rest, "extension value")?;
                let value = match kind {
                    tag::BOOLEAN => take(rest, tag::OCTET_STRING, "extension value")?.0,
                    _ => value,
                };
                match object {
                    SUBJECT_ALTERNATIVE_NAME => self.names = alternative_names(value)?,
                    BASIC_CONSTRAINTS => {
                        let (constraints, _) = take(value, tag::SEQUENCE, "basic constraints")?;
                        let is_authority = take(constraints, tag::BOOLEAN, "authority");
                        self.is_authority = is_authority.is_ok_and(|(value, _)| value != [0]);
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }
}

/// 2.5.29.17
const SUBJECT_ALTERNATIVE_NAME: &[u8] = &[0x55, 0x1d, 0x11];
/// 2.5.29.19
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];
/// 1.2.840.113549.1.1.1
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
/// 1.2.840.10045.2.1
const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];

/// Objects that have usual names.
const USUAL: [(&[u8], &str); 19] = [
    (&[0x55, 0x04, 0x03], "CN"),
    (&[0x55, 0x04, 0x05], "serialNumber"),
    (&[0x55, 0x04, 0x06], "C"),
    (&[0x55, 0x04, 0x07], "L"),
    (&[0x55, 0x04, 0x08], "ST"),
    (&[0x55, 0x04, 0x09], "street"),
    (&[0x55, 0x04, 0x0a], "O"),
    (&[0x55, 0x04, 0x0b], "OU"),
    (
        &[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 0x01, 0x19],
        "DC",
    ),
    (
        &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x01],
        "emailAddress",
    ),
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07], "P-256"),
    (&[0x2b, 0x81, 0x04, 0x00, 0x22], "P-384"),
    (&[0x2b, 0x81, 0x04, 0x00, 0x23], "P-521"),
    (&[0x2b, 0x81, 0x04, 0x00, 0x0a], "secp256k1"),
    (&[0x2b, 0x65, 0x70], "Ed25519"),
    (&[0x2b, 0x65, 0x71], "Ed448"),
    (
        &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a],
        "RSA-PSS",
    ),
    (&[0x2a, 0x86, 0x48, 0xce, 0x38, 0x04, 0x01], "DSA"),
    (
        &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x03, 0x12],
        "ML-DSA-65",
    ),
];

/// An object's usual name, or its numbers.
fn object_name(object: &[u8]) -> String {
    if let Some((_, name)) = USUAL.iter().find(|(usual, _)| *usual == object) {
        return (*name).to_owned();
    }
    let mut numbers = Vec::new();
    let mut number = 0u64;
    for octet in object.iter().take(MAX_TEXT / 4) {
        number = number
            .saturating_mul(128)
            .saturating_add((octet & 0x7f).into());
        if octet & 0x80 != 0 {
            continue;
        }
        if numbers.is_empty() {
            // Two numbers in one, the first at most 2.
            let first = (number / 40).min(2);
            numbers.push(first.to_string());
            number -= 40 * first;
        }
        numbers.push(number.to_string());
        number = 0;
    }
    numbers.join(".")
}

/// `CN=a.example, O=Example`, in the order given.
fn distinguished_name(mut name: &[u8]) -> Result<String, Malformed> {
    let mut parts: Vec<String> = Vec::new();
    while !name.is_empty() && parts.len() < MAX_ATTRIBUTES {
        let (_, mut set, rest) = next(name, "name part")?;
        name = rest;
        while !set.is_empty() && parts.len() < MAX_ATTRIBUTES {
            let (attribute, rest) = take(set, tag::SEQUENCE, "name attribute")?;
            set = rest;
            let (object, value) = take(attribute, tag::OBJECT, "attribute type")?;
            let (kind, value, _) = next(value, "attribute value")?;
            parts.push(format!("{}={}", object_name(object), text(kind, value)));
        }
    }
    Ok(parts.join(", "))
}

/// A string as text that can be shown.
fn text(kind: u8, value: &[u8]) -> String {
    let value = &value[..value.len().min(MAX_TEXT)];
    let text = if kind == tag::BMP_STRING {
        let units = value
            .chunks_exact(2)
            .map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
        char::decode_utf16(units)
            .map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER))
            .collect()
    } else {
        String::from_utf8_lossy(value).into_owned()
    };
    text.chars()
        .map(|c| {
            if is_plain(c) {
                c
            } else {
                char::REPLACEMENT_CHARACTER
            }
        })
        .collect()
}

/// Whether a character does nothing to a terminal: no control, and none that turns the direction of text.
fn is_plain(c: char) -> bool {
    !c.is_control()
        && !matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

fn alternative_names(value: &[u8]) -> Result<Vec<String>, Malformed> {
    let (mut list, _) = take(value, tag::SEQUENCE, "alternative names")?;
    let mut names = Vec::new();
    while !list.is_empty() && names.len() < MAX_NAMES {
        let (kind, value, rest) = next(list, "alternative name")?;
        list = rest;
        match (kind, value) {
            (tag::DNS_NAME, name) => names.push(text(kind, name)),
            (tag::IP_ADDRESS, &[a, b, c, d]) => {
                names.push(std::net::Ipv4Addr::new(a, b, c, d).to_string());
            }
            (tag::IP_ADDRESS, octets) => {
                if let Ok(octets) = <[u8; 16]>::try_from(octets) {
                    names.push(std::net::Ipv6Addr::from(octets).to_string());
                }
            }
            _ => {}
        }
    }
    Ok(names)
}

fn public_key(key: &[u8]) -> Result<Key, Malformed> {
    let (algorithm, rest) = take(key, tag::SEQUENCE, "key algorithm")?;
    let (object, parameters) = take(algorithm, tag::OBJECT, "key algorithm")?;
    Ok(match object {
        RSA => {
            let (bits, _) = take(rest, tag::BIT_STRING, "key")?;
            // The first octet counts unused bits.
            let (numbers, _) = take(bits.get(1..).unwrap_or_default(), tag::SEQUENCE, "RSA key")?;
            let (modulus, _) = take(numbers, tag::INTEGER, "modulus")?;
            let zeros = modulus.iter().take_while(|octet| **octet == 0).count();
            let modulus = &modulus[zeros..];
            let unused = modulus
                .first()
                .map_or(0, |octet| octet.leading_zeros() as usize);
            Key::Rsa((modulus.len() * 8).saturating_sub(unused))
        }
        EC => match take(parameters, tag::OBJECT, "curve") {
            Ok((curve, _)) => Key::Ec(object_name(curve)),
            Err(_) => Key::Ec("of its own curve".to_owned()),
        },
        other => Key::Other(object_name(other)),
    })
}

/// A moment, and what follows it.
fn time(der: &[u8]) -> Result<(i64, &[u8]), Malformed> {
    let bad = |value: &[u8]| Malformed::Value {
        what: "time of a certificate",
        value: value.len().try_into().unwrap_or(u32::MAX),
    };
    let (kind, value, rest) = next(der, "time of a certificate")?;
    let digits: &[u8] = value.strip_suffix(b"Z").ok_or_else(|| bad(value))?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return Err(bad(value));
    }
    let number = |digits: &[u8]| {
        digits
            .iter()
            .fold(0i64, |number, digit| number * 10 + i64::from(digit - b'0'))
    };
    let (year, rest_of_it) = match (kind, digits.len()) {
        // RFC 5280 section 4.1.2.5.1.
        (tag::UTC_TIME, 12) => match number(&digits[..2]) {
            year @ ..50 => (2000 + year, &digits[2..]),
            year => (1900 + year, &digits[2..]),
        },
        (tag::GENERALIZED_TIME, 14) => (number(&digits[..4]), &digits[4..]),
        _ => return Err(bad(value)),
    };
    let part = |at: usize| number(&rest_of_it[2 * at..2 * at + 2]);
    let (month, day) = (part(0), part(1));
    let (hour, minute, second) = (part(2), part(3), part(4));
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 24 || minute > 59 {
        return Err(bad(value));
    }
    let days = calendar::day(year, month, day);
    Ok((((days * 24 + hour) * 60 + minute) * 60 + second, rest))
}

/// The content of the element that comes next, which must have this tag, and what follows it.
fn take<'a>(
    der: &'a [u8],
    wanted: u8,
    what: &'static str,
) -> Result<(&'a [u8], &'a [u8]), Malformed> {
    let (kind, content, rest) = next(der, what)?;
    if kind == wanted {
        Ok((content, rest))
    } else {
        Err(Malformed::Value {
            what,
            value: kind.into(),
        })
    }
}

/// Tag and content of the element that comes next, and what follows it.
fn next<'a>(der: &'a [u8], what: &'static str) -> Result<(u8, &'a [u8], &'a [u8]), Malformed> {
    let (&[kind, length], rest) = super::split_array::<2>(der, what)?;
    let (length, rest) = match length {
        0..=0x7f => (usize::from(length), rest),
        // More octets than that are longer than anything here.
        0x81..=0x84 => {
            let (octets, rest) = super::split(rest, usize::from(length & 0x7f), what)?;
            let length = octets
                .iter()
                .fold(0usize, |length, octet| length << 8 | usize::from(*octet));
            (length, rest)
        }
        _ => {
            return Err(Malformed::Value {
                what,
                value: length.into(),
            });
        }
    };
    let (content, rest) = super::split(rest, length, what)?;
    Ok((kind, content, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// An element with a short length.
    fn element(kind: u8, content: &[u8]) -> Vec<u8> {
        let length = u8::try_from(content.len()).unwrap();
        match length {
            0..=0x7f => [&[kind, length], content].concat(),
            _ => [&[kind, 0x81, length], content].concat(),
        }
    }

    fn sequence(parts: &[Vec<u8>]) -> Vec<u8> {
        element(tag::SEQUENCE, &parts.concat())
    }

    fn name(common_name: &[u8]) -> Vec<u8> {
        let attribute = |object: &[u8], value: &[u8]| {
            let attribute = sequence(&[element(tag::OBJECT, object), element(0x0c, value)]);
            element(0x31, &attribute)
        };
        sequence(&[
            attribute(&[0x55, 4, 3], common_name),
            attribute(&[0x55, 4, 10], b"Example"),
        ])
    }

    /// A certificate with this key, without a signature.
    fn certificate(common_name: &[u8], key: &[u8], names: &[Vec<u8>]) -> Vec<u8> {
        let extension = |object: &[u8], critical: bool, value: &[u8]| {
            let mut parts = vec![element(tag::OBJECT, object)];
            if critical {
                parts.push(element(tag::BOOLEAN, &[0xff]));
            }
            parts.push(element(tag::OCTET_STRING, value));
            sequence(&parts)
        };
        let extensions = sequence(&[
            extension(
                BASIC_CONSTRAINTS,
                true,
                &sequence(&[element(tag::BOOLEAN, &[0xff])]),
            ),
            extension(SUBJECT_ALTERNATIVE_NAME, false, &sequence(names)),
        ]);
        let fields = [
            element(tag::VERSION, &[2, 1, 2]),
            element(tag::INTEGER, &[7]),
            sequence(&[element(tag::OBJECT, &[0x2a, 3])]),
            name(b"Root"),
            sequence(&[
                element(tag::UTC_TIME, b"991231235959Z"),
                element(tag::GENERALIZED_TIME, b"20500101000000Z"),
            ]),
            name(common_name),
            key.to_vec(),
            element(tag::EXTENSIONS, &extensions),
        ];
        sequence(&[sequence(&fields)])
    }

    fn ec_key() -> Vec<u8> {
        let curve = element(tag::OBJECT, &[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7]);
        sequence(&[
            sequence(&[element(tag::OBJECT, EC), curve]),
            element(tag::BIT_STRING, &[0, 4]),
        ])
    }

    #[test]
    fn names_validity_and_key_are_found() {
        let names = [
            element(tag::DNS_NAME, b"a.example"),
            element(tag::IP_ADDRESS, &[192, 0, 2, 1]),
            element(0x81, b"mail@example"),
        ];
        let der = certificate("ä\u{1b}[31m\u{202e}".as_bytes(), &ec_key(), &names);
        assert_eq!(
            Certificate::parse(&der),
            Ok(Certificate {
                subject: "CN=ä\u{fffd}[31m\u{fffd}, O=Example".to_owned(),
                issuer: "CN=Root, O=Example".to_owned(),
                not_before: 946_684_799,
                not_after: 2_524_608_000,
                key: Key::Ec("P-256".to_owned()),
                names: vec!["a.example".to_owned(), "192.0.2.1".to_owned()],
                is_authority: true,
            })
        );
    }

    #[test]
    fn the_certificate_of_the_stream_tests_is_read() {
        let der = include_bytes!("../../tests/tls/certificate.der");
        let certificate = Certificate::parse(der).unwrap();
        assert!(
            certificate.names.contains(&"target.example".to_owned()),
            "{certificate:?}"
        );
        assert!(certificate.not_before < certificate.not_after);
    }

    #[test]
    fn keys_are_told_with_their_size() {
        let modulus = [&[0][..], &[0x80], &[0; 255]].concat();
        let length = u16::try_from(modulus.len()).unwrap().to_be_bytes();
        let numbers = [&[tag::INTEGER, 0x82][..], &length, &modulus].concat();
        let length = u16::try_from(numbers.len()).unwrap().to_be_bytes();
        let numbers = [&[0, tag::SEQUENCE, 0x82][..], &length, &numbers].concat();
        let length = u16::try_from(numbers.len()).unwrap().to_be_bytes();
        let bits = [&[tag::BIT_STRING, 0x82][..], &length, &numbers].concat();
        let key = [sequence(&[element(tag::OBJECT, RSA), vec![5, 0]]), bits].concat();
        assert_eq!(public_key(&key).unwrap().to_string(), "RSA 2048");
        let key = sequence(&[element(tag::OBJECT, &[0x2b, 0x65, 0x70])]);
        assert_eq!(public_key(&key).unwrap().to_string(), "Ed25519");
        assert_eq!(object_name(&[0x2a, 0x86, 0x48, 0x01]), "1.2.840.1");
        assert_eq!(object_name(&[0x88, 0x37, 0x03]), "2.999.3");
    }

    proptest! {
        #[test]
        fn no_octets_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = Certificate::parse(&bytes);
        }

        #[test]
        fn a_damaged_certificate_is_read_or_refused(
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut der = certificate(b"a.example", &ec_key(), &[element(tag::DNS_NAME, b"a")]);
            for (at, octet) in changes {
                let at = at.index(der.len());
                der[at] = octet;
            }
            let _ = Certificate::parse(&der);
            let _ = Certificate::parse(&der[..cut.index(der.len())]);
        }
    }
}
