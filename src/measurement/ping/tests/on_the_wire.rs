//! What is sent.

use super::*;

#[test]
fn a_request_has_the_official_probes_layout() {
    let mut script = Script::of(
        "-4 -p -s 60 198.51.100.7",
        Run {
            probe_id: Some(1000),
            ..Run::default()
        },
        Some(Carry {
            sequence: 0x0102,
            cookie: *b"COOKIES!",
            address: None,
        }),
    );
    script.begin(3 * 1_000_000_000 + 5, TARGET);
    let bytes = &script.sent[0].bytes;
    assert_eq!(bytes.len(), 8 + 60);
    assert_eq!(bytes[..2], [8, 0]);
    assert_eq!(crate::wire::checksum::checksum(bytes), 0);
    assert_eq!(bytes[4..8], [0x12, 0x34, 0x01, 0x02]);
    assert_eq!(
        bytes[8..24],
        [3, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0]
    );
    assert_eq!(bytes[24..28], [0; 4]);
    assert_eq!(&bytes[28..36], b"COOKIES!");
    assert_eq!(bytes[36..40], [0; 4]);
    assert_eq!(&bytes[40..], b"RIPE Atlas probe 1000\0\0\0\0\0\0\0");
    assert_eq!(script.sent[0].hop_limit, None);
}

#[test]
fn the_kernel_computes_the_checksum_of_icmpv6() {
    let mut script = Script::new("-6 2001:db8:7::7");
    script.source = ip("2001:db8::10");
    script.begin(0, "2001:db8:7::7");
    assert_eq!(script.sent[0].bytes[..4], [128, 0, 0, 0]);
    assert_eq!(script.sent[0].bytes.len(), 40);
}

#[test]
fn the_signature_is_cut_to_fit_and_says_when_the_probe_has_no_number() {
    let mut script = Script::new("-4 -p -s 40 198.51.100.7");
    script.begin(0, TARGET);
    assert_eq!(&script.sent[0].bytes[40..], b"RIPE Atl");
    let mut script = Script::new("-4 -p -s 64 198.51.100.7");
    script.begin(0, TARGET);
    assert_eq!(&script.sent[0].bytes[40..66], b"RIPE Atlas probe <unknown>");
    let mut script = Script::new("-4 -p 198.51.100.7");
    script.begin(0, TARGET);
    assert_eq!(script.sent[0].bytes.len(), 40);
}

#[test]
fn every_request_has_its_own_number_across_runs() {
    let mut script = Script::new("-4 -c 2 198.51.100.7");
    script.begin(0, TARGET);
    script.deadline();
    script.deadline();
    let AnyCarry::Ping(carry) = script.outcome.clone().unwrap().carry else {
        panic!("of ping")
    };
    let run = Run {
        seed: 8,
        ..Run::default()
    };
    let mut next = Script::of("-4 -c 1 198.51.100.7", run, Some(carry));
    next.begin(0, TARGET);
    let number = |packet: &Packet| [packet.bytes[6], packet.bytes[7]];
    assert_eq!(number(&script.sent[0]), [0, 1]);
    assert_eq!(number(&script.sent[1]), [0, 2]);
    assert_eq!(number(&next.sent[0]), [0, 3]);
    assert_eq!(next.sent[0].bytes[28..36], script.sent[0].bytes[28..36]);
}

#[test]
fn a_run_asks_for_a_name_a_socket_and_one_packet() {
    let mut ping = Script::new("-4 -I eth0 host.example");
    assert_eq!(
        ping.tell(0, Input::Start),
        [Output::Resolve {
            name: "host.example".to_owned(),
            family: Family::V4,
            interface: Some("eth0".to_owned()),
        }]
    );
    assert_eq!(ping.ping.deadline(), None);
    let mut socket = Socket::new(SocketKind::Echo, ip(TARGET));
    socket.bind = Some("eth0".to_owned());
    assert_eq!(
        ping.tell(5, Input::Resolved(Ok(vec![ip("2001:db8::1"), ip(TARGET)]))),
        [Output::Open { on: H, socket }]
    );
    assert!(ping.ping.deadline().is_some());
}
