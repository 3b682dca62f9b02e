use super::*;

fn echo_reply4(ident: u16) -> Vec<u8> {
    let mut packet =
        ipv4_header([192, 0, 2, 1].into(), [192, 0, 2, 2].into(), 64, 0, ICMP, 8).to_vec();
    packet.extend([0, 0, 0, 0]);
    packet.extend(ident.to_be_bytes());
    packet.extend([0, 1]);
    packet
}

fn error4(kind: u8, code: u8, protocol: u8, quoted: [u8; 8]) -> Vec<u8> {
    let ends = ([192, 0, 2, 9].into(), [192, 0, 2, 2].into());
    let mut packet = ipv4_header(ends.0, ends.1, 64, 0, ICMP, 36).to_vec();
    packet.extend([kind, code, 0, 0, 0, 0, 0, 0]);
    packet.extend(ipv4_header(
        ends.1,
        [198, 51, 100, 1].into(),
        1,
        0,
        protocol,
        8,
    ));
    packet.extend(quoted);
    packet
}

fn error6(kind: u8, headers: &[u8], first: u8, quoted: [u8; 8]) -> Vec<u8> {
    let end = "2001:db8::1".parse().unwrap();
    let mut message = vec![kind, 0, 0, 0, 0, 0, 0, 0];
    message.extend(ipv6_header(end, end, 1, first, headers.len() + 8));
    message.extend(headers);
    message.extend(quoted);
    message
}

/// Source port 0x5001, or echo request with identifier 0.
const PORTS: [u8; 8] = [0x50, 1, 0x82, 0x9a, 0, 8, 0, 0];
const ECHO4: [u8; 8] = [8, 0, 0, 0, 0x12, 0x34, 0, 1];
const ECHO6: [u8; 8] = [128, 0, 0, 0, 0x12, 0x34, 0, 1];

fn mark_of(found: Option<Found>) -> Option<Mark> {
    match found? {
        Found::Error { mark, .. } => Some(mark),
        Found::EchoReply(_) => None,
    }
}

#[test]
fn an_echo_reply_is_known_by_its_identifier() {
    assert_eq!(icmp4(&echo_reply4(0x1234)), Some(Found::EchoReply(0x1234)));
    assert_eq!(
        icmp6(&[129, 0, 0, 0, 0x12, 0x34, 0, 1]),
        Some(Found::EchoReply(0x1234))
    );
}

#[test]
fn echo_requests_and_replies_with_a_code_are_nobodys() {
    let mut request = echo_reply4(1);
    request[20] = 8;
    let mut coded = echo_reply4(1);
    coded[21] = 1;
    assert_eq!((icmp4(&request), icmp4(&coded)), (None, None));
    assert_eq!(icmp6(&[128, 0, 0, 0, 0x12, 0x34, 0, 1]), None);
}

#[test]
fn an_ipv4_error_is_known_by_what_it_quotes() {
    for kind in [3, 11] {
        assert_eq!(
            icmp4(&error4(kind, 5, UDP, PORTS)),
            Some(Found::Error {
                mark: Mark::Udp(0x5001),
                kind,
                code: 5
            })
        );
    }
    let tcp = icmp4(&error4(11, 0, TCP, PORTS));
    assert_eq!(mark_of(tcp), Some(Mark::Tcp(0x5001)));
    let echo = icmp4(&error4(11, 0, ICMP, ECHO4));
    assert_eq!(mark_of(echo), Some(Mark::Ident(0x1234)));
}

#[test]
fn an_error_about_an_echo_reply_or_a_later_fragment_is_nobodys() {
    let mut reply = ECHO4;
    reply[0] = 0;
    assert_eq!(icmp4(&error4(3, 1, ICMP, reply)), None);
    let mut fragment = error4(11, 1, UDP, PORTS);
    fragment[20 + 8 + 7] = 1;
    assert_eq!(icmp4(&fragment), None);
}

#[test]
fn an_ipv6_error_is_known_through_extension_headers() {
    let plain = icmp6(&error6(3, &[], UDP, PORTS));
    assert_eq!(mark_of(plain), Some(Mark::Udp(0x5001)));
    let options = [60, 0, 1, 4, 0, 0, 0, 0, ICMPV6, 0, 1, 4, 0, 0, 0, 0];
    let both = icmp6(&error6(1, &options, 0, ECHO6));
    assert_eq!(mark_of(both), Some(Mark::Ident(0x1234)));
    let first_fragment = [TCP, 0, 0, 1, 0, 0, 0, 7];
    let first = icmp6(&error6(2, &first_fragment, 44, PORTS));
    assert_eq!(mark_of(first), Some(Mark::Tcp(0x5001)));
    let later_fragment = [TCP, 0, 0, 9, 0, 0, 0, 7];
    assert_eq!(icmp6(&error6(2, &later_fragment, 44, PORTS)), None);
}

#[test]
fn no_prefix_of_a_packet_is_read_past_its_end() {
    let options = [60, 0, 1, 4, 0, 0, 0, 0, ICMPV6, 0, 1, 4, 0, 0, 0, 0];
    for whole in [echo_reply4(7), error4(3, 3, UDP, PORTS)] {
        for length in 0..26.min(whole.len()) {
            assert_eq!(icmp4(&whole[..length]), None, "{length}");
        }
    }
    let whole = error6(3, &options, 0, ECHO6);
    for length in 0..whole.len() - 2 {
        assert_eq!(icmp6(&whole[..length]), None, "{length}");
    }
}

proptest::proptest! {
    #[test]
    fn no_packet_panics(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..120)) {
        let _ = (icmp4(&bytes), icmp6(&bytes));
    }
}

/// Runs the few BPF instructions that the filters use; whether the packet is let in.
fn lets_in(program: &[Instruction], packet: &[u8]) -> bool {
    let (mut at, mut a, mut x) = (0, 0_u32, 0_usize);
    loop {
        let step = program[at];
        at += 1;
        let index = usize::try_from(step.value).unwrap_or(usize::MAX);
        let load = |from: usize, length: usize| -> Option<u32> {
            let bytes = packet.get(from..from + length)?;
            Some(
                bytes
                    .iter()
                    .fold(0, |sum, byte| (sum << 8) | u32::from(*byte)),
            )
        };
        let loaded = match step.code {
            0x30 => load(index, 1),
            0x50 => load(x + index, 1),
            0x28 => load(index, 2),
            0x48 => load(x + index, 2),
            0xb1 => {
                x = usize::from(packet.first().map_or(0, |first| first & 15)) * 4;
                Some(a)
            }
            0x54 => Some(a & step.value),
            0x15 => {
                let skip = if a == step.value {
                    step.then
                } else {
                    step.otherwise
                };
                at += usize::from(skip);
                Some(a)
            }
            0x06 => return step.value > 0,
            other => panic!("unknown instruction {other:#x}"),
        };
        match loaded {
            Some(value) => a = value,
            None => return false,
        }
    }
}

#[test]
fn echo_replies_outside_the_block_stay_in_the_kernel() {
    for errors in [false, true] {
        let four = icmp_filter(false, 0x3000, errors);
        let six = icmp_filter(true, 0x3000, errors);
        for (ident, expected) in [
            (0x3000, true),
            (0x3fff, true),
            (0x2fff, false),
            (0x4000, false),
        ] {
            assert_eq!(lets_in(&four, &echo_reply4(ident)), expected, "{ident:x}");
            let [high, low] = ident.to_be_bytes();
            assert_eq!(lets_in(&six, &[129, 0, 0, 0, high, low, 0, 1]), expected);
        }
    }
}

#[test]
fn a_filter_for_pings_lets_in_errors_about_echo_requests_only() {
    let (four, six) = (icmp_filter(false, 0, false), icmp_filter(true, 0, false));
    assert!(lets_in(&four, &error4(3, 13, ICMP, ECHO4)));
    assert!(lets_in(&four, &error4(11, 0, ICMP, ECHO4)));
    assert!(!lets_in(&four, &error4(3, 3, UDP, PORTS)));
    for kind in 1..=4 {
        assert!(lets_in(&six, &error6(kind, &[], ICMPV6, ECHO6)), "{kind}");
        assert!(!lets_in(&six, &error6(kind, &[], UDP, PORTS)), "{kind}");
    }
}

#[test]
fn a_filter_for_probes_lets_in_errors_about_all_of_them() {
    let (four, six) = (icmp_filter(false, 0, true), icmp_filter(true, 0, true));
    for protocol in [ICMP, TCP, UDP] {
        assert!(lets_in(&four, &error4(3, 1, protocol, PORTS)), "{protocol}");
        assert!(
            lets_in(&four, &error4(11, 0, protocol, PORTS)),
            "{protocol}"
        );
    }
    assert!(!lets_in(&four, &error4(11, 0, 47, PORTS)));
    assert!(!lets_in(&four, &error4(5, 0, UDP, PORTS)), "redirect");
    for kind in 1..=4 {
        assert!(lets_in(&six, &error6(kind, &[], UDP, PORTS)), "{kind}");
    }
}

#[test]
fn other_messages_stay_in_the_kernel() {
    for errors in [false, true] {
        let (four, six) = (icmp_filter(false, 0, errors), icmp_filter(true, 0, errors));
        for kind in [4, 5, 8, 9, 13, 14] {
            let mut packet = echo_reply4(0);
            packet[20] = kind;
            assert!(!lets_in(&four, &packet), "{kind}");
        }
        for kind in [128, 133, 134, 135, 136, 143] {
            assert!(!lets_in(&six, &[kind, 0, 0, 0, 0, 0, 0, 0]), "{kind}");
        }
    }
}

#[test]
fn a_tcp_filter_lets_in_its_own_port_only() {
    let segment = |port: u16| {
        let mut bytes = vec![0, 80];
        bytes.extend(port.to_be_bytes());
        bytes.extend([0; 16]);
        bytes
    };
    let packet = |port| {
        let mut bytes = ipv4_header([0; 4].into(), [0; 4].into(), 64, 0, TCP, 20).to_vec();
        bytes.extend(segment(port));
        bytes
    };
    for (port, expected) in [(40_000, true), (40_001, false), (80, false)] {
        assert_eq!(lets_in(&tcp_filter(true, 40_000), &segment(port)), expected);
        assert_eq!(lets_in(&tcp_filter(false, 40_000), &packet(port)), expected);
    }
}

#[test]
fn the_closed_filter_lets_in_nothing() {
    assert!(!lets_in(&closed_filter(), &echo_reply4(0)));
}

#[test]
fn a_damaged_message_is_not_whole() {
    // Echo reply 0000 + identifier 1234 + sequence 0001: the sum's complement is edca.
    let mut packet = vec![
        0x45, 0, 0, 28, 0, 0, 0, 0, 64, 1, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2,
    ];
    packet.extend([0, 0, 0xed, 0xca, 0x12, 0x34, 0, 1]);
    assert!(is_whole_icmp4(&packet));
    for at in 20..28 {
        let mut damaged = packet.clone();
        damaged[at] ^= 1;
        assert!(!is_whole_icmp4(&damaged), "{at}");
    }
    assert!(!is_whole_icmp4(&packet[..19]));
}
