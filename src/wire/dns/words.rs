//! Numbers of the protocol and the words that people know them by (IANA, "Domain Name System Parameters").

use std::borrow::Cow;

/// Record types, and query types that are none.
const TYPES: &[(u16, &str)] = &[
    (1, "A"),
    (2, "NS"),
    (5, "CNAME"),
    (6, "SOA"),
    (7, "MB"),
    (8, "MG"),
    (9, "MR"),
    (10, "NULL"),
    (12, "PTR"),
    (13, "HINFO"),
    (14, "MINFO"),
    (15, "MX"),
    (16, "TXT"),
    (17, "RP"),
    (18, "AFSDB"),
    (21, "RT"),
    (24, "SIG"),
    (25, "KEY"),
    (28, "AAAA"),
    (29, "LOC"),
    (33, "SRV"),
    (35, "NAPTR"),
    (36, "KX"),
    (37, "CERT"),
    (39, "DNAME"),
    (41, "OPT"),
    (42, "APL"),
    (43, "DS"),
    (44, "SSHFP"),
    (45, "IPSECKEY"),
    (46, "RRSIG"),
    (47, "NSEC"),
    (48, "DNSKEY"),
    (49, "DHCID"),
    (50, "NSEC3"),
    (51, "NSEC3PARAM"),
    (52, "TLSA"),
    (53, "SMIMEA"),
    (55, "HIP"),
    (59, "CDS"),
    (60, "CDNSKEY"),
    (61, "OPENPGPKEY"),
    (62, "CSYNC"),
    (63, "ZONEMD"),
    (64, "SVCB"),
    (65, "HTTPS"),
    (99, "SPF"),
    (108, "EUI48"),
    (109, "EUI64"),
    (249, "TKEY"),
    (250, "TSIG"),
    (251, "IXFR"),
    (252, "AXFR"),
    (255, "ANY"),
    (256, "URI"),
    (257, "CAA"),
    (32768, "TA"),
    (32769, "DLV"),
];

const CLASSES: &[(u16, &str)] = &[(1, "IN"), (3, "CH"), (4, "HS"), (254, "NONE"), (255, "ANY")];

const OPCODES: &[(u16, &str)] = &[
    (0, "QUERY"),
    (1, "IQUERY"),
    (2, "STATUS"),
    (4, "NOTIFY"),
    (5, "UPDATE"),
    (6, "DSO"),
];

const STATUS: &[(u16, &str)] = &[
    (0, "NOERROR"),
    (1, "FORMERR"),
    (2, "SERVFAIL"),
    (3, "NXDOMAIN"),
    (4, "NOTIMP"),
    (5, "REFUSED"),
    (6, "YXDOMAIN"),
    (7, "YXRRSET"),
    (8, "NXRRSET"),
    (9, "NOTAUTH"),
    (10, "NOTZONE"),
    (16, "BADVERS"),
    (23, "BADCOOKIE"),
];

/// Extended errors (RFC 8914 section 4).
const ERRORS: &[(u16, &str)] = &[
    (0, "other"),
    (1, "unsupported DNSKEY algorithm"),
    (2, "unsupported DS digest type"),
    (3, "stale answer"),
    (4, "forged answer"),
    (5, "DNSSEC indeterminate"),
    (6, "DNSSEC bogus"),
    (7, "signature expired"),
    (8, "signature not yet valid"),
    (9, "DNSKEY missing"),
    (10, "RRSIGs missing"),
    (11, "no zone key bit set"),
    (12, "NSEC missing"),
    (13, "cached error"),
    (14, "not ready"),
    (15, "blocked"),
    (16, "censored"),
    (17, "filtered"),
    (18, "prohibited"),
    (19, "stale NXDOMAIN answer"),
    (20, "not authoritative"),
    (21, "not supported"),
    (22, "no reachable authority"),
    (23, "network error"),
    (24, "invalid data"),
];

/// `AAAA`, or `TYPE65280` for a type without a name (RFC 3597 section 5).
#[must_use]
pub fn type_name(number: u16) -> Cow<'static, str> {
    word(TYPES, number).map_or_else(|| format!("TYPE{number}").into(), Cow::Borrowed)
}

/// The type that a person names, as word, `TYPE28` or nothing else.
#[must_use]
pub fn type_number(name: &str) -> Option<u16> {
    number(TYPES, "TYPE", name)
}

/// `IN`, or `CLASS32` for a class without a name.
#[must_use]
pub fn class_name(number: u16) -> Cow<'static, str> {
    word(CLASSES, number).map_or_else(|| format!("CLASS{number}").into(), Cow::Borrowed)
}

/// The class that a person names.
#[must_use]
pub fn class_number(name: &str) -> Option<u16> {
    number(CLASSES, "CLASS", name)
}

/// The opcode of a header's flags.
#[must_use]
pub fn opcode_name(flags: u16) -> Cow<'static, str> {
    let opcode = flags >> 11 & 15;
    word(OPCODES, opcode).map_or_else(|| format!("OPCODE{opcode}").into(), Cow::Borrowed)
}

/// A response code, extended or not.
#[must_use]
pub fn status_name(code: u16) -> Cow<'static, str> {
    word(STATUS, code).map_or_else(|| format!("RCODE{code}").into(), Cow::Borrowed)
}

/// What an extended error says.
#[must_use]
pub fn error_name(code: u16) -> Cow<'static, str> {
    word(ERRORS, code).map_or_else(|| format!("code {code}").into(), Cow::Borrowed)
}

fn word(table: &[(u16, &'static str)], number: u16) -> Option<&'static str> {
    let found = table.iter().find(|(known, _)| *known == number);
    found.map(|(_, word)| *word)
}

fn number(table: &[(u16, &str)], prefix: &str, name: &str) -> Option<u16> {
    let upper = name.to_ascii_uppercase();
    let known = table.iter().find(|(_, word)| *word == upper);
    known
        .map(|(number, _)| *number)
        .or_else(|| upper.strip_prefix(prefix)?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_each_others_inverse() {
        for number in 0..=u16::MAX {
            assert_eq!(type_number(&type_name(number)), Some(number));
            assert_eq!(class_number(&class_name(number)), Some(number));
        }
        assert_eq!(type_number("aaaa"), Some(28));
        assert_eq!(type_number("type28"), Some(28));
        assert_eq!(type_number("nonsense"), None);
        assert_eq!(type_number("TYPE65536"), None);
    }

    #[test]
    fn the_opcode_stands_among_the_flags() {
        assert_eq!(opcode_name(0x8180), "QUERY");
        assert_eq!(opcode_name(0x2800), "UPDATE");
        assert_eq!(opcode_name(0x7800), "OPCODE15");
    }
}
