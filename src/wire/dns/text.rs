//! Messages as people read them: sections of records in the presentation format of master files (RFC 1035 section
//! 5.1, RFC 3597 section 5, and the document of each type).
//!
//! What cannot be read is no error: the message is shown as far as it goes, and data that do not fit their type in
//! hexadecimal.

use super::{Header, OPT, data};

/// A message, read as far as it can be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its fixed part.
    pub header: Header,
    /// What was asked.
    pub questions: Vec<Question>,
    /// Answer, authority and additional records, but for the OPT record.
    pub sections: [Vec<Record>; 3],
    /// The first OPT record.
    pub edns: Option<Edns>,
    /// The message ends, or makes no sense, before all of its records were read.
    pub is_cut: bool,
}

/// A question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The name, escaped, with its final dot.
    pub name: String,
    /// The type.
    pub rtype: u16,
    /// The class.
    pub class: u16,
}

/// A record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The owner, escaped, with its final dot.
    pub name: String,
    /// The type.
    pub rtype: u16,
    /// The class.
    pub class: u16,
    /// Seconds that it may be kept.
    pub ttl: u32,
    /// The data in presentation format.
    pub data: String,
}

/// An OPT record (RFC 6891 section 6.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edns {
    /// UDP payload size.
    pub payload: u16,
    /// The upper octet of the response code.
    pub status: u8,
    /// Version.
    pub version: u8,
    /// Flags with DO.
    pub flags: u16,
    /// Options in order: code and data.
    pub options: Vec<(u16, Vec<u8>)>,
}

impl Message {
    /// Reads a message; `None` if it is shorter than a header.
    #[must_use]
    pub fn parse(message: &[u8]) -> Option<Self> {
        let header = Header::parse(message)?;
        let mut read = Self {
            header,
            questions: Vec::new(),
            sections: Default::default(),
            edns: None,
            is_cut: false,
        };
        read.is_cut = read.fill(message).is_none();
        Some(read)
    }

    /// The response code with its extension.
    #[must_use]
    pub fn status(&self) -> u16 {
        let upper = self.edns.as_ref().map_or(0, |edns| edns.status);
        u16::from(upper) << 4 | self.header.flags & 15
    }

    fn fill(&mut self, message: &[u8]) -> Option<()> {
        let mut at = 12;
        for _ in 0..self.header.questions {
            let (name, next) = data::name(message, at)?;
            self.questions.push(Question {
                name,
                rtype: data::word(message, next)?,
                class: data::word(message, next + 2)?,
            });
            at = next + 4;
        }
        let counts = [
            self.header.answers,
            self.header.authorities,
            self.header.additionals,
        ];
        for (section, count) in counts.into_iter().enumerate() {
            for _ in 0..count {
                at = self.record(message, at, section)?;
            }
        }
        Some(())
    }

    fn record(&mut self, message: &[u8], at: usize, section: usize) -> Option<usize> {
        let (name, at) = data::name(message, at)?;
        let (rtype, class) = (data::word(message, at)?, data::word(message, at + 2)?);
        let ttl = data::long(message, at + 4)?;
        let from = at + 10;
        let to = from + usize::from(data::word(message, at + 8)?);
        let bytes = message.get(from..to)?;
        if rtype == OPT && self.edns.is_none() {
            let [status, version, high, low] = ttl.to_be_bytes();
            self.edns = Some(Edns {
                payload: class,
                status,
                version,
                flags: u16::from_be_bytes([high, low]),
                options: options(bytes),
            });
        } else {
            self.sections[section].push(Record {
                name,
                rtype,
                class,
                ttl,
                data: data::text(message, rtype, from..to),
            });
        }
        Some(to)
    }
}

/// The options as far as they can be read.
fn options(mut bytes: &[u8]) -> Vec<(u16, Vec<u8>)> {
    let mut options = Vec::new();
    while let (Some(code), Some(length)) = (data::word(bytes, 0), data::word(bytes, 2)) {
        let Some((value, rest)) = bytes[4..].split_at_checked(length.into()) else {
            break;
        };
        options.push((code, value.to_vec()));
        bytes = rest;
    }
    options
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `a.example` asked for MX: one answer with a compressed name, one OPT record with NSID.
    const REPLY: &[u8] = b"\x12\x34\x81\x80\0\x01\0\x01\0\0\0\x01\
        \x01a\x07example\0\0\x0f\0\x01\
        \xc0\x0c\0\x0f\0\x01\0\0\x0e\x10\0\x09\0\x0a\x04mail\xc0\x0e\
        \0\0\x29\x04\xd0\x01\0\x80\0\0\x06\0\x03\0\x02ns";

    #[test]
    fn sections_and_edns_are_read() {
        let message = Message::parse(REPLY).unwrap();
        assert_eq!(
            message.questions,
            [Question {
                name: "a.example.".to_owned(),
                rtype: 15,
                class: 1
            }]
        );
        assert_eq!(
            message.sections[0],
            [Record {
                name: "a.example.".to_owned(),
                rtype: 15,
                class: 1,
                ttl: 3600,
                data: "10 mail.example.".to_owned()
            }]
        );
        assert_eq!(
            message.edns,
            Some(Edns {
                payload: 1232,
                status: 1,
                version: 0,
                flags: 0x8000,
                options: vec![(3, b"ns".to_vec())]
            })
        );
        assert!(!message.is_cut);
        assert_eq!(message.status(), 16);
    }

    #[test]
    fn a_message_is_read_as_far_as_it_goes() {
        for end in 0..REPLY.len() {
            let message = Message::parse(&REPLY[..end]);
            assert_eq!(message.is_some(), end >= 12);
            if let Some(message) = message {
                assert!(message.is_cut, "{end}");
                assert_eq!(message.questions.len(), usize::from(end >= 27), "{end}");
                assert_eq!(message.sections[0].len(), usize::from(end >= 48), "{end}");
            }
        }
    }

    proptest! {
        #[test]
        fn any_octets_are_read_or_not_and_shown_in_ascii(
            octets in prop::collection::vec(any::<u8>(), 0..200),
            rtype in 0..70_u16,
        ) {
            let _ = Message::parse(&octets);
            // Behind a header that promises records of this type.
            let head = b"\0\0\x80\0\0\0\0\x02\0\0\0\0\0";
            let length = u16::try_from(octets.len()).unwrap().to_be_bytes();
            let record = [head, &rtype.to_be_bytes()[..], b"\0\x01\0\0\0\0", &length, &octets].concat();
            let message = Message::parse(&record).unwrap();
            for record in &message.sections[0] {
                prop_assert!(record.data.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
            }
        }
    }
}
