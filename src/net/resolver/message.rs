//! One question of the stub resolver and what an answer to it means. Pure.

use std::net::IpAddr;

use hickory_proto::{
    op::{Message, MessageType, ResponseCode},
    rr::{Name, RData, RecordType},
};

use crate::wire::dns::{Query, RD, encode_name};

/// CNAME records followed at most.
const CHAIN: usize = 16;

/// A question that was asked.
#[derive(Clone, Debug)]
pub struct Question {
    id: u16,
    rtype: RecordType,
    name: Name,
    /// The message to send.
    pub wire: Vec<u8>,
}

/// What a datagram from the server means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// Not an answer to this question: go on waiting.
    Foreign,
    /// The addresses, in the order received; never none.
    Addresses(Vec<IpAddr>),
    /// The name that an address has, without a final dot.
    Named(String),
    /// The name does not exist.
    NotKnown,
    /// No record of the type, or a cut answer: asking another server would not help.
    Failed,
    /// This server could not or would not tell.
    Refused,
}

impl Question {
    /// Asks for records of `name`; each letter's case comes from `chance`. `None` if there can be no such
    /// name.
    #[must_use]
    pub fn new(
        name: &str,
        rtype: RecordType,
        id: u16,
        mut chance: impl FnMut() -> bool,
    ) -> Option<Self> {
        if name.is_empty() {
            return None;
        }
        let mixed: Vec<u8> = format!("{name}.")
            .bytes()
            .map(|byte| {
                if chance() {
                    byte.to_ascii_uppercase()
                } else {
                    byte.to_ascii_lowercase()
                }
            })
            .collect();
        let name = encode_name(&mixed).ok()?;
        let query = Query {
            id,
            flags: RD,
            name,
            rtype: u16::from(rtype),
            class: 1,
            opt: None,
        };
        let wire = query.emit();
        let name = Message::from_vec(&wire).ok()?.queries.first()?.name.clone();
        Some(Self {
            id,
            rtype,
            name,
            wire,
        })
    }

    /// Reads a datagram from the server that was asked.
    #[must_use]
    pub fn read(&self, datagram: &[u8]) -> Meaning {
        let is_ours = datagram.get(..2) == Some(&self.id.to_be_bytes())
            && datagram.get(2).is_some_and(|flags| flags & 0x80 != 0);
        if !is_ours {
            return Meaning::Foreign;
        }
        let Ok(message) = Message::from_vec(datagram) else {
            return Meaning::Refused;
        };
        if message.metadata.message_type != MessageType::Response || !self.is_asked_in(&message) {
            return Meaning::Foreign;
        }
        match message.metadata.response_code {
            _ if message.metadata.truncation => Meaning::Failed,
            ResponseCode::NoError if self.rtype == RecordType::PTR => {
                self.name(&message).map_or(Meaning::Failed, Meaning::Named)
            }
            ResponseCode::NoError => match self.addresses(&message) {
                addresses if addresses.is_empty() => Meaning::Failed,
                addresses => Meaning::Addresses(addresses),
            },
            ResponseCode::NXDomain => Meaning::NotKnown,
            _ => Meaning::Refused,
        }
    }

    /// Whether the message repeats the question. A refusal may come without one.
    fn is_asked_in(&self, message: &Message) -> bool {
        match message.queries.as_slice() {
            [query] => query.name == self.name && query.query_type == self.rtype,
            [] => !matches!(
                message.metadata.response_code,
                ResponseCode::NoError | ResponseCode::NXDomain
            ),
            _ => false,
        }
    }

    fn addresses(&self, message: &Message) -> Vec<IpAddr> {
        self.found(message, |data| match (data, self.rtype) {
            (RData::A(address), RecordType::A) => Some(IpAddr::from(address.0)),
            (RData::AAAA(address), RecordType::AAAA) => Some(IpAddr::from(address.0)),
            _ => None,
        })
    }

    /// The first name. What is no letter, digit or usual sign is escaped: it comes from a stranger.
    fn name(&self, message: &Message) -> Option<String> {
        let names = self.found(message, |data| match data {
            RData::PTR(name) => Some(name.0.clone()),
            _ => None,
        });
        let mut text = String::new();
        for label in names.first()?.iter() {
            for &octet in label {
                match octet {
                    b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'/' => {
                        text.push(char::from(octet));
                    }
                    _ => text += &format!("\\{octet:03}"),
                }
            }
            text.push('.');
        }
        text.pop();
        (!text.is_empty()).then_some(text)
    }

    /// What the records of the name are, aliases followed.
    fn found<T>(&self, message: &Message, wanted: impl Fn(&RData) -> Option<T>) -> Vec<T> {
        let mut name = &self.name;
        for _ in 0..CHAIN {
            let found: Vec<T> = message
                .answers
                .iter()
                .filter(|record| record.name == *name)
                .filter_map(|record| wanted(&record.data))
                .collect();
            if !found.is_empty() {
                return found;
            }
            let alias = message
                .answers
                .iter()
                .find_map(|record| match &record.data {
                    RData::CNAME(target) if record.name == *name => Some(&target.0),
                    _ => None,
                });
            match alias {
                Some(target) => name = target,
                None => break,
            }
        }
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asks for `a.example` in mixed case with number 0x1234.
    fn question(v6: bool) -> Question {
        let mut turn = false;
        let flip = || {
            turn = !turn;
            turn
        };
        let rtype = if v6 { RecordType::AAAA } else { RecordType::A };
        Question::new("a.example", rtype, 0x1234, flip).unwrap()
    }

    /// An answer to the question: flags, then records that begin with a pointer to the name.
    fn answer(question: &Question, flags: [u8; 2], records: &[&[u8]]) -> Vec<u8> {
        let mut message = question.wire.clone();
        message[2..4].copy_from_slice(&flags);
        message[7] = u8::try_from(records.len()).unwrap();
        message.extend(records.iter().copied().flatten());
        message
    }

    const A: &[u8] = &[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2];
    const OK: [u8; 2] = [0x81, 0x80];

    fn a(last: u8) -> Vec<u8> {
        [A, &[last]].concat()
    }

    #[test]
    fn the_question_is_written_in_mixed_case() {
        assert_eq!(
            question(false).wire,
            b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01A\x07ExAmPlE\x00\x00\x01\x00\x01"
        );
    }

    #[test]
    fn addresses_come_in_the_order_received() {
        let question = question(false);
        let message = answer(&question, OK, &[&a(9), &a(1)]);
        let expected = ["192.0.2.9", "192.0.2.1"].map(|text| text.parse().unwrap());
        assert_eq!(
            question.read(&message),
            Meaning::Addresses(expected.to_vec())
        );
    }

    #[test]
    fn an_answer_in_another_case_is_taken() {
        let question = question(false);
        let mut message = answer(&question, OK, &[&a(1)]);
        message.make_ascii_lowercase();
        assert!(matches!(question.read(&message), Meaning::Addresses(_)));
    }

    #[test]
    fn an_alias_is_followed() {
        let question = question(true);
        // a.example CNAME b.example; b.example AAAA 2001:db8::7
        let alias = [0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 60, 0, 4, 1, b'b', 0xc0, 14];
        let at = u8::try_from(question.wire.len() + 12).unwrap();
        let mut record = vec![0xc0, at, 0, 28, 0, 1, 0, 0, 0, 60, 0, 16];
        record.extend([0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7]);
        let message = answer(&question, OK, &[&alias, &record]);
        let expected = vec!["2001:db8::7".parse().unwrap()];
        assert_eq!(question.read(&message), Meaning::Addresses(expected));
        let alone = answer(&question, OK, &[&alias]);
        assert_eq!(question.read(&alone), Meaning::Failed);
    }

    #[test]
    fn an_alias_of_itself_ends() {
        let question = question(false);
        let alias = [0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 60, 0, 2, 0xc0, 12];
        let message = answer(&question, OK, &[&alias]);
        assert_eq!(question.read(&message), Meaning::Failed);
    }

    #[test]
    fn addresses_of_other_names_and_types_do_not_count() {
        let question = question(true);
        let message = answer(&question, OK, &[&a(1)]);
        assert_eq!(question.read(&message), Meaning::Failed);
    }

    #[test]
    fn each_refusal_has_its_meaning() {
        let question = question(false);
        for (flags, expected) in [
            ([0x81, 0x80], Meaning::Failed),
            ([0x81, 0x81], Meaning::Refused),
            ([0x81, 0x82], Meaning::Refused),
            ([0x81, 0x83], Meaning::NotKnown),
            ([0x81, 0x85], Meaning::Refused),
            ([0x83, 0x80], Meaning::Failed),
        ] {
            assert_eq!(
                question.read(&answer(&question, flags, &[])),
                expected,
                "{flags:x?}"
            );
        }
        let truncated = answer(&question, [0x83, 0x80], &[&a(1)]);
        assert_eq!(question.read(&truncated), Meaning::Failed);
    }

    #[test]
    fn what_is_no_answer_to_the_question_is_foreign() {
        let asked = question(false);
        let good = answer(&asked, OK, &[&a(1)]);
        let mut other_id = good.clone();
        other_id[1] ^= 1;
        let mut query = good.clone();
        query[2] &= 0x7f;
        let mut other_name = good.clone();
        other_name[13] = b'z';
        for message in [other_id, query, other_name, Vec::new(), vec![0x12, 0x34]] {
            assert_eq!(asked.read(&message), Meaning::Foreign);
        }
        assert_eq!(question(true).read(&good), Meaning::Foreign);
    }

    #[test]
    fn names_that_cannot_be_are_not_asked_for() {
        let long = "x".repeat(64);
        for name in ["", "a..b", ".a", long.as_str(), &"x.".repeat(128)] {
            assert!(
                Question::new(name, RecordType::A, 1, || false).is_none(),
                "{name}"
            );
        }
    }

    proptest::proptest! {
        #[test]
        fn no_datagram_panics(mut bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            let asked = question(false);
            let _ = asked.read(&bytes);
            for (at, byte) in asked.wire.iter().enumerate().take(bytes.len()) {
                if !(2..=11).contains(&at) { bytes[at] = *byte; }
            }
            let _ = asked.read(&bytes);
        }
    }
}
