//! Packets: no bytes panic a reader, and what it reads is written again as it was.

use std::net::IpAddr;

use hickory_proto::rr::RecordType;
use starling::net::resolver::message::{Meaning, Question};
use starling::wire::{
    self,
    checksum::{Sum, checksum},
    dns::{self as message, Query},
    http2::{self, Decoder, Frame},
    icmp::{Extensions, Icmp},
    ip::{Ipv4, Ipv6},
    ntp::{Ntp, Timestamp},
    protocol::TCP,
    tcp::Tcp,
    udp::Udp,
    x509::Certificate,
};

use super::bytes::Bytes;

/// Both versions, with the walk over extension headers.
pub(crate) fn ip(data: &[u8]) {
    if let Ok(packet) = Ipv4::parse(data) {
        let emitted = packet.emit();
        assert_eq!(emitted.len(), data.len());
        let header = emitted.len() - packet.payload.len();
        assert_eq!(checksum(&emitted[..header]), 0);
        let again = Ipv4::parse(&emitted).expect("what was written can be read");
        let checksum = packet.checksum;
        assert_eq!(Ipv4 { checksum, ..again }, packet);
    }
    if let Ok(packet) = Ipv6::parse(data) {
        let emitted = packet.emit();
        assert_eq!(emitted[1..], data[1..]);
        assert_eq!(Ipv6::parse(&emitted).as_ref(), Ok(&packet));
        if let Ok(upper) = packet.upper() {
            assert!(data.ends_with(upper.payload));
        }
    }
}

/// Messages and the extension structures of errors.
pub(crate) fn icmp(data: &[u8]) {
    let Ok(message) = Icmp::parse(data) else {
        assert!(data.len() < wire::icmp::HEADER);
        return;
    };
    assert_eq!(message.emit(), data);
    assert_eq!(checksum(&message.emit_v4()), 0);
    for at in [usize::from(data[5]) * 4, usize::from(data[4]) * 8] {
        // A structure is only looked at if its checksum holds, which chance never gets right.
        let at = wire::icmp::HEADER + if at == 0 { 128 } else { at };
        let mut mended = data.to_vec();
        if let Some(structure) = mended.get_mut(at..).filter(|rest| rest.len() >= 4) {
            structure[2..4].fill(0);
            let sum = checksum(structure);
            structure[2..4].copy_from_slice(&sum.to_be_bytes());
        }
        let message = Icmp::parse(&mended).expect("the header is there");
        let found = [message.extensions_v4(), message.extensions_v6()];
        found
            .iter()
            .flatten()
            .for_each(|found| hold_extensions(found, data.len()));
    }
}

fn hold_extensions(found: &Extensions, length: usize) {
    let mut octets = 0;
    for (index, object) in found.objects.iter().enumerate() {
        octets += 4 + object.body.as_ref().map_or(0, Vec::len);
        assert!(object.body.is_some() || index + 1 == found.objects.len());
        for label in object.labels().unwrap_or_default() {
            assert!(label.label < 1 << 20 && label.experimental < 8);
        }
    }
    assert!(octets <= length, "objects of {octets} octets");
}

/// Datagrams.
pub(crate) fn udp(data: &[u8]) {
    let Ok(datagram) = Udp::parse(data) else {
        assert!(data.len() < wire::udp::HEADER);
        return;
    };
    assert_eq!(datagram.emit(), data);
    let (from, to) = ends(data);
    let ours = Udp::new(
        (from, datagram.from_port),
        (to, datagram.to_port),
        datagram.payload,
    );
    assert_ne!(ours.checksum, 0);
    assert_eq!(Udp::parse(&ours.emit()), Ok(ours.clone()));
}

/// Segments, whole and in quotes.
pub(crate) fn tcp(data: &[u8]) {
    let fixed = Tcp::parse_fixed(data);
    assert_eq!(fixed.is_ok(), data.len() >= wire::tcp::HEADER);
    let Ok(segment) = Tcp::parse(data) else {
        return;
    };
    let emitted = segment.emit();
    assert_eq!(Tcp::parse(&emitted).as_ref(), Ok(&segment));
    assert_eq!(
        (&emitted[..12], &emitted[13..]),
        (&data[..12], &data[13..]),
        "but for reserved bits"
    );
    let (from, to) = ends(data);
    let summed = segment.emit_between(from, to);
    let sum = Sum::of_pseudo_header(from, to, TCP, summed.len()).plus(&summed);
    assert_eq!(sum.checksum(), 0);
}

fn ends(data: &[u8]) -> (IpAddr, IpAddr) {
    let mut bytes = Bytes::new(data);
    if data.len().is_multiple_of(2) {
        (bytes.array::<4>().into(), bytes.array::<4>().into())
    } else {
        (bytes.array::<16>().into(), bytes.array::<16>().into())
    }
}

/// Packets, and times made of any number.
pub(crate) fn ntp(data: &[u8]) {
    if let Ok(packet) = Ntp::parse(data) {
        assert_eq!(packet.emit(), data[..wire::ntp::HEADER]);
        for time in [packet.origin, packet.receive, packet.transmit] {
            assert!(time.as_f64().is_finite() && time.as_f64() >= 0.0);
            assert!((0.0..=1.0).contains(&time.fraction_f64()));
        }
        assert!(packet.root_delay.as_f64().is_finite());
    } else {
        assert!(data.len() < wire::ntp::HEADER);
    }
    let nanos = i128::from_be_bytes(Bytes::new(data).array());
    let _ = Timestamp::from_unix_nanos(nanos);
}

/// Replies as results read them, and queries there and back.
pub(crate) fn dns(data: &[u8]) {
    let header = message::Header::parse(data);
    assert_eq!(header.is_some(), data.len() >= 12);
    let answers = message::answers(data);
    assert!(answers.len() <= 2);
    for answer in answers {
        let names = match answer {
            message::Answer::Txt { name, strings } => {
                assert!(!strings.is_empty());
                assert!(strings.iter().map(Vec::len).sum::<usize>() <= data.len());
                vec![name]
            }
            message::Answer::Soa {
                name, mname, rname, ..
            } => vec![name, mname, rname],
        };
        assert!(names.iter().all(|name| name.len() <= 255));
    }
    if let Some(cookie) = message::cookie(data) {
        assert!(cookie.len() <= data.len());
    }
    if let Some(query) = Query::parse(data) {
        assert_eq!(Query::parse(&query.emit()), Some(query));
    }
    if let Ok(name) = message::encode_name(data) {
        assert!(name.len() <= 255 && name.last() == Some(&0));
        let query = Query {
            id: 1,
            flags: message::RD,
            name,
            rtype: 16,
            class: 1,
            opt: None,
        };
        assert_eq!(Query::parse(&query.emit()), Some(query));
    }
}

/// Frames out of a buffer, and the header blocks that they hold.
pub(crate) fn http2(data: &[u8]) {
    let mut buffer = data.to_vec();
    let mut emitted = Vec::new();
    let mut decoder = Decoder::default();
    let mut bad = false;
    while let Ok(Some(frame)) = Frame::take(&mut buffer) {
        assert!(frame.payload.len() <= http2::MAX_FRAME_SIZE && frame.stream < 1 << 31);
        frame.emit(&mut emitted);
        let Some(content) = frame.content() else {
            continue;
        };
        assert!(content.len() <= frame.payload.len());
        if !bad && frame.kind == http2::Kind::Headers {
            bad = hold_fields(&mut decoder, content);
        }
    }
    // The one bit of the header that says nothing is cleared.
    assert_eq!(emitted.len() + buffer.len(), data.len());
    // Bytes that are no frames are a header block all the same.
    if !hold_fields(&mut Decoder::default(), data) {
        let (name, value) = data.split_at(data.len() / 2);
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        let (name, value) = (text(name), text(value));
        let mut block = Vec::new();
        http2::literal(&name, &value, &mut block);
        let fields = Decoder::default().decode(&block);
        if name.len() + value.len() < 1 << 14 {
            assert_eq!(fields, Ok(vec![(name.into_bytes(), value.into_bytes())]));
        }
    }
}

/// Decodes a block; whether it is broken.
fn hold_fields(decoder: &mut Decoder, block: &[u8]) -> bool {
    let Ok(fields) = decoder.decode(block) else {
        return true;
    };
    let size: usize = fields
        .iter()
        .map(|(name, value)| name.len() + value.len())
        .sum();
    assert!(size <= 1 << 16, "fields of {size} octets");
    false
}

/// Certificates: texts are bounded and harmless, and what follows is not looked at.
pub(crate) fn x509(data: &[u8]) {
    let Ok(certificate) = Certificate::parse(data) else {
        return;
    };
    let key = certificate.key.to_string();
    let texts = [&certificate.subject, &certificate.issuer, &key];
    for text in texts.into_iter().chain(&certificate.names) {
        assert!(!text.chars().any(char::is_control), "{text:?}");
        assert!(text.len() <= 64 * data.len().max(1), "{text:?}");
    }
    let longer = [data, &[0x30]].concat();
    assert_eq!(Certificate::parse(&longer), Ok(certificate));
}

/// Answers to the resolver's questions. First byte: what was asked for, and whether the answer begins like one.
pub(crate) fn resolver(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    let form = bytes.byte();
    let rtype = match form & 3 {
        0 => RecordType::A,
        1 => RecordType::AAAA,
        _ => RecordType::PTR,
    };
    let name = String::from_utf8_lossy(bytes.chunk()).into_owned();
    let Some(question) = Question::new(&name, rtype, 0x1234, || form & 4 != 0) else {
        return;
    };
    let mut datagram = bytes.rest().to_vec();
    if form & 8 == 0 {
        let mut front = Bytes::new(&datagram);
        let (flags, counts) = (front.word().to_be_bytes(), front.word().to_be_bytes());
        let mut whole = question.wire.clone();
        whole[2..4].copy_from_slice(&flags);
        whole[2] |= 0x80;
        whole[6..8].copy_from_slice(&counts);
        whole[6] = 0;
        whole.extend(datagram.get(4..).unwrap_or_default());
        datagram = whole;
    }
    match question.read(&datagram) {
        Meaning::Addresses(addresses) => {
            assert!(!addresses.is_empty());
            let v6 = rtype == RecordType::AAAA;
            assert!(addresses.iter().all(|address| address.is_ipv6() == v6));
        }
        Meaning::Named(name) => {
            let plain = |octet: u8| octet.is_ascii_alphanumeric() || b"-_/\\.".contains(&octet);
            assert!(!name.is_empty() && name.bytes().all(plain), "{name:?}");
        }
        Meaning::Foreign => assert!(form & 8 != 0 || datagram != question.wire),
        Meaning::NotKnown | Meaning::Failed | Meaning::Refused => {}
    }
    assert_eq!(question.read(&question.wire), Meaning::Foreign);
}
