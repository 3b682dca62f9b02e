//! DNS messages as the DNS measurement needs them: queries written to the last byte, replies read without
//! ever trusting them.
//!
//! Queries follow `dns-measurement` sections 2.3 and 3 (RFC 1035 section 4, RFC 6891 section 6). Replies are
//! read by the rules of `dns-measurement` 3.4 and 7.5, which differ from a strict reader's: what is reported of
//! a malformed reply is part of the result. So this is no general DNS library.
//! What people are shown of a reply is read by `text`, which is strict where the measurement must copy a reader.

mod data;
mod reply;
mod text;
mod words;

pub use reply::{Answer, Header, answers, cookie};
pub use text::{Edns, Message, Question, Record};
pub use words::{
    class_name, class_number, error_name, opcode_name, status_name, type_name, type_number,
};

/// Type number of an OPT record (RFC 6891 section 6.1.1).
pub const OPT: u16 = 41;
/// Type number of a TXT record.
pub const TXT: u16 = 16;
/// Type number of an SOA record.
pub const SOA: u16 = 6;

/// EDNS option code of NSID (RFC 5001).
pub const NSID: u16 = 3;
/// EDNS option code of Client Subnet (RFC 7871).
pub const CLIENT_SUBNET: u16 = 8;
/// EDNS option code of Cookie (RFC 7873).
pub const COOKIE: u16 = 10;

/// Header flag: recursion desired.
pub const RD: u16 = 0x0100;
/// Header flag: authentic data.
pub const AD: u16 = 0x0020;
/// Header flag: checking disabled.
pub const CD: u16 = 0x0010;
/// EDNS flag: DNSSEC answers are welcome.
pub const DO: u16 = 0x8000;

/// A name that has no wire form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// More than 255 bytes on the wire.
    #[error("a name of {0} bytes is longer than the 254 that fit")]
    TooLong(usize),
    /// A label of no bytes or more than 63.
    #[error("a label of {0} bytes is not one of 1 to 63")]
    Label(usize),
    /// No final dot.
    #[error("the name does not end in a dot")]
    NoDot,
}

/// The wire form of an absolute name: label bytes are taken verbatim, no escapes, no change of case
/// (`dns-measurement` 2.3).
///
/// # Errors
/// When the name is too long, a label is empty or too long, or the final dot is missing.
pub fn encode_name(name: &[u8]) -> Result<Vec<u8>, NameError> {
    if name == b"." {
        return Ok(vec![0]);
    }
    if name.len() + 1 > 255 {
        return Err(NameError::TooLong(name.len()));
    }
    let labels = name.strip_suffix(b".").ok_or(NameError::NoDot)?;
    let mut wire = Vec::with_capacity(name.len() + 1);
    for label in labels.split(|&byte| byte == b'.') {
        match u8::try_from(label.len()) {
            Ok(length @ 1..=63) => wire.push(length),
            _ => return Err(NameError::Label(label.len())),
        }
        wire.extend_from_slice(label);
    }
    wire.push(0);
    Ok(wire)
}

/// A query of one question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// Message ID.
    pub id: u16,
    /// The second word of the header: [`RD`], [`AD`], [`CD`].
    pub flags: u16,
    /// The name in wire form, as [`encode_name`] makes it.
    pub name: Vec<u8>,
    /// Type asked for.
    pub rtype: u16,
    /// Class asked for.
    pub class: u16,
    /// The OPT record, if there is one.
    pub opt: Option<Opt>,
}

/// The OPT record of a query.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Opt {
    /// UDP payload size.
    pub payload: u16,
    /// EDNS version.
    pub version: u8,
    /// EDNS flags with [`DO`].
    pub flags: u16,
    /// Options in order: code and data.
    pub options: Vec<(u16, Vec<u8>)>,
}

impl Query {
    /// The message (`dns-measurement` 3.1 and 3.2).
    #[must_use]
    pub fn emit(&self) -> Vec<u8> {
        let mut wire = Vec::with_capacity(64 + self.name.len());
        for word in [self.id, self.flags, 1, 0, 0, u16::from(self.opt.is_some())] {
            wire.extend_from_slice(&word.to_be_bytes());
        }
        wire.extend_from_slice(&self.name);
        wire.extend_from_slice(&self.rtype.to_be_bytes());
        wire.extend_from_slice(&self.class.to_be_bytes());
        if let Some(opt) = &self.opt {
            opt.emit(&mut wire);
        }
        wire
    }

    /// Reads a message as [`Query::emit`] writes it: one uncompressed question and at most an OPT record.
    /// `None` for any other message.
    #[must_use]
    pub fn parse(wire: &[u8]) -> Option<Self> {
        let header = Header::parse(wire)?;
        if (header.questions, header.answers, header.authorities) != (1, 0, 0) {
            return None;
        }
        let mut end = 12;
        while *wire.get(end)? != 0 {
            let length = usize::from(wire[end]);
            if length > 63 {
                return None;
            }
            end += 1 + length;
        }
        end += 1;
        let (fixed, rest) = wire.get(end..)?.split_at_checked(4)?;
        let opt = match header.additionals {
            0 if rest.is_empty() => None,
            1 => Some(Opt::parse(rest)?),
            _ => return None,
        };
        Some(Self {
            id: header.id,
            flags: header.flags,
            name: wire[12..end].to_vec(),
            rtype: u16::from_be_bytes([fixed[0], fixed[1]]),
            class: u16::from_be_bytes([fixed[2], fixed[3]]),
            opt,
        })
    }
}

impl Opt {
    fn emit(&self, wire: &mut Vec<u8>) {
        wire.push(0);
        wire.extend_from_slice(&OPT.to_be_bytes());
        wire.extend_from_slice(&self.payload.to_be_bytes());
        wire.extend_from_slice(&[0, self.version]);
        wire.extend_from_slice(&self.flags.to_be_bytes());
        let mut data = Vec::new();
        for (code, value) in &self.options {
            data.extend_from_slice(&code.to_be_bytes());
            data.extend_from_slice(&length_of(value));
            data.extend_from_slice(value);
        }
        wire.extend_from_slice(&length_of(&data));
        wire.extend_from_slice(&data);
    }

    fn parse(record: &[u8]) -> Option<Self> {
        let (fixed, mut data) = record.split_at_checked(11)?;
        let word = |at: usize| u16::from_be_bytes([fixed[at], fixed[at + 1]]);
        if fixed[0] != 0 || word(1) != OPT || usize::from(word(9)) != data.len() {
            return None;
        }
        let mut options = Vec::new();
        while !data.is_empty() {
            let (head, rest) = data.split_at_checked(4)?;
            let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
            let (value, rest) = rest.split_at_checked(length)?;
            options.push((u16::from_be_bytes([head[0], head[1]]), value.to_vec()));
            data = rest;
        }
        Some(Self {
            payload: word(3),
            version: fixed[6],
            flags: word(7),
            options,
        })
    }
}

/// The length of option data as its two bytes. What the measurement sends is far below 64 KiB.
fn length_of(value: &[u8]) -> [u8; 2] {
    u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::{dns, hex};

    #[test]
    fn a_question_alone() {
        let query = Query {
            id: 0xbeef,
            flags: 0,
            name: encode_name(b"www.example.com.").unwrap(),
            rtype: 1,
            class: 1,
            opt: None,
        };
        let wire = hex("beef0000000100000000000003777777076578616d706c6503636f6d0000010001");
        assert_eq!(query.emit(), wire);
        assert_eq!(Query::parse(&wire), Some(query));
    }

    #[test]
    fn the_root_is_one_zero_byte() {
        let query = Query {
            id: 0xbeef,
            flags: 0,
            name: encode_name(b".").unwrap(),
            rtype: SOA,
            class: 1,
            opt: None,
        };
        assert_eq!(query.emit(), hex("beef000000010000000000000000060001"));
    }

    #[test]
    fn every_edns_option_at_once() {
        let query = Query {
            id: 0xbeef,
            flags: RD | AD | CD,
            name: encode_name(b"example.com.").unwrap(),
            rtype: 28,
            class: 1,
            opt: Some(Opt {
                payload: 1232,
                version: 1,
                flags: DO | 2,
                options: vec![
                    (NSID, vec![]),
                    (CLIENT_SUBNET, vec![0, 1, 0, 0]),
                    (COOKIE, hex("0123456789abcdef")),
                    (0xfde9, vec![]),
                ],
            }),
        };
        let wire = hex(
            "beef01300001000000000001076578616d706c6503636f6d00001c0001 00002904d000018002001c
             00030000 0008000400010000 000a00080123456789abcdef fde90000",
        );
        assert_eq!(query.emit(), wire);
        assert_eq!(Query::parse(&wire), Some(query));
    }

    #[test]
    fn names_that_have_no_wire_form() {
        assert_eq!(encode_name(b""), Err(NameError::NoDot));
        assert_eq!(encode_name(b"a"), Err(NameError::NoDot));
        assert_eq!(encode_name(b"a.."), Err(NameError::Label(0)));
        assert_eq!(encode_name(b".a."), Err(NameError::Label(0)));
        assert_eq!(encode_name(b".."), Err(NameError::Label(0)));
        let label = [b'x'; 64];
        assert_eq!(
            encode_name(&[&label[..], b"."].concat()),
            Err(NameError::Label(64))
        );
        assert!(encode_name(&[&label[1..], b"."].concat()).is_ok());
        let long = [&label[1..], b"."].concat().repeat(4);
        assert_eq!(encode_name(&long), Err(NameError::TooLong(256)));
        assert!(
            encode_name(&long[2..]).is_ok(),
            "254 bytes of text are 255 on the wire"
        );
        assert_eq!(encode_name(b"A\\.\xff.").unwrap(), b"\x02A\\\x01\xff\0");
    }

    fn any_opt() -> impl Strategy<Value = Opt> {
        let option = (any::<u16>(), prop::collection::vec(any::<u8>(), 0..40));
        (any::<(u16, u8, u16)>(), prop::collection::vec(option, 0..5)).prop_map(
            |((payload, version, flags), options)| Opt {
                payload,
                version,
                flags,
                options,
            },
        )
    }

    prop_compose! {
        fn any_query()(
            labels in prop::collection::vec("[a-zA-Z0-9_$-]{1,20}", 0..6),
            numbers in any::<(u16, u16, u16, u16)>(),
            opt in prop::option::of(any_opt()),
        ) -> Query {
            let name = if labels.is_empty() { ".".to_owned() } else { labels.join(".") + "." };
            Query {
                id: numbers.0,
                flags: numbers.1,
                name: encode_name(name.as_bytes()).unwrap(),
                rtype: numbers.2,
                class: numbers.3,
                opt,
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(query in any_query()) {
            prop_assert_eq!(Query::parse(&query.emit()), Some(query));
        }

        #[test]
        fn another_library_reads_what_is_written(query in any_query()) {
            use hickory_proto::serialize::binary::BinDecodable;
            // Its reader knows neither reserved opcodes nor undefined EDNS data in known options.
            let query = Query {
                flags: query.flags & (RD | AD | CD),
                opt: query.opt.map(|opt| Opt { options: vec![], ..opt }),
                ..query
            };
            let message = hickory_proto::op::Message::from_bytes(&query.emit()).unwrap();
            prop_assert_eq!(message.metadata.id, query.id);
            prop_assert_eq!(message.metadata.recursion_desired, query.flags & RD != 0);
            prop_assert_eq!(message.metadata.authentic_data, query.flags & AD != 0);
            prop_assert_eq!(message.metadata.checking_disabled, query.flags & CD != 0);
            let asked = &message.queries[0];
            prop_assert_eq!(u16::from(asked.query_type()), query.rtype);
            prop_assert_eq!(u16::from(asked.query_class()), query.class);
            prop_assert_eq!(message.edns.is_some(), query.opt.is_some());
        }

        #[test]
        fn no_input_panics(wire in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Query::parse(&wire);
            let _ = dns::answers(&wire);
            let _ = dns::cookie(&wire);
        }
    }
}
