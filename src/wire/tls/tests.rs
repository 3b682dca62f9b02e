//! The hello against the bytes of the specification; flights written out, cut anywhere, and of any bytes at all.

use proptest::prelude::*;

use super::*;

const RANDOM: [u8; 28] = [0xaa; 28];

fn hello(version: Version, server_name: Option<&[u8]>) -> Vec<u8> {
    let hello = ClientHello {
        version,
        time: 0x6553_f100,
        random: RANDOM,
        server_name,
    };
    hello.emit()
}

#[test]
fn a_hello_is_the_one_of_the_specification() {
    let expected = crate::wire::hex(
        "16 0300 0080  01 00007c  0303  6553f100 aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa 00
         0024 1301 1303 1302 c02b c02f cca9 cca8 c02c c030 c00a c009 c013 c014 009c 009d 002f 0035 000a
         02 0100
         002e
         000d 0018 0016 0403 0503 0603 0804 0805 0806 0401 0501 0601 0203 0201
         000a 000e 000c 001d 0017 0018 0019 0100 0101",
    );
    assert_eq!(hello(TLS_1_2, None), expected);
    assert_eq!(expected.len(), 133);
}

#[test]
fn the_version_changes_two_octets_and_not_the_record() {
    for version in [SSL_3_0, TLS_1_0, TLS_1_1] {
        let bytes = hello(version, None);
        assert_eq!(bytes[1..3], [3, 0]);
        assert_eq!(bytes[9..11], version);
        assert_eq!(bytes[11..], hello(TLS_1_2, None)[11..]);
    }
}

#[test]
fn a_server_name_is_the_first_extension_and_takes_nine_octets_more() {
    let bytes = hello(TLS_1_2, Some(b"a.example"));
    assert_eq!(bytes.len(), 133 + 9 + 9);
    let extension = crate::wire::hex("0000 000e 000c 00 0009 612e6578616d706c65");
    assert_eq!(bytes[5 + 4 + 34 + 1 + 38 + 3 + 2..][..18], extension);
    let empty = hello(TLS_1_2, Some(b""));
    assert_eq!(empty.len(), 133 + 9);
    let extension = crate::wire::hex("0000 0005 0003 00 0000");
    assert_eq!(empty[5 + 4 + 34 + 1 + 38 + 3 + 2..][..9], extension);
}

/// A record of a type and version.
fn record(kind: u8, version: Version, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
    [&[kind][..], &version, &length, payload].concat()
}

fn handshake(payload: &[u8]) -> Vec<u8> {
    record(content::HANDSHAKE, TLS_1_2, payload)
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let [.., a, b, c] = body.len().to_be_bytes();
    [&[kind, a, b, c], body].concat()
}

/// A `ServerHello` without session id and extensions.
fn server_hello() -> Vec<u8> {
    let body = [&[3, 3][..], &[7; 32], &[0], &[0xc0, 0x2b], &[0]].concat();
    message(message::SERVER_HELLO, &body)
}

fn server_hello_1_3(random: [u8; 32]) -> Vec<u8> {
    let extensions = [0, 6, 0, 43, 0, 2, 3, 4];
    let body = [&[3, 3][..], &random, &[0], &[0x13, 0x02], &[0], &extensions].concat();
    message(message::SERVER_HELLO, &body)
}

fn certificate(certificates: &[&[u8]]) -> Vec<u8> {
    let entry = |der: &&[u8]| {
        let [.., a, b, c] = der.len().to_be_bytes();
        [&[a, b, c], *der].concat()
    };
    let list: Vec<u8> = certificates.iter().flat_map(entry).collect();
    let [.., a, b, c] = list.len().to_be_bytes();
    message(message::CERTIFICATE, &[&[a, b, c], &list[..]].concat())
}

const RETRY: &str = "cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c";

fn read(bytes: &[u8]) -> (Result<Option<Found>, Problem>, Flight) {
    let mut flight = Flight::new(false);
    (flight.feed(bytes), flight)
}

fn found(bytes: &[u8]) -> Result<Option<Found>, Problem> {
    read(bytes).0
}

fn two() -> Found {
    Found::Certificates(vec![b"0\x03abc".to_vec(), b"0\x04abcd".to_vec()])
}

fn two_sent() -> Vec<u8> {
    certificate(&[b"0\x03abc", b"0\x04abcd"])
}

#[test]
fn hello_and_certificates_may_share_a_record_or_have_many() {
    let both = [server_hello(), two_sent()].concat();
    for size in [1, 2, 3, 7, 50, 500] {
        let bytes: Vec<u8> = both.chunks(size).flat_map(handshake).collect();
        let (found, flight) = read(&bytes);
        assert_eq!(found, Ok(Some(two())), "records of {size}");
        assert_eq!(flight.hello().unwrap().cipher, 0xc02b);
    }
}

#[test]
fn the_last_record_that_was_needed_decides_the_version() {
    let bytes = [
        record(content::HANDSHAKE, TLS_1_0, &server_hello()),
        record(content::HANDSHAKE, TLS_1_1, &two_sent()),
        record(content::HANDSHAKE, [9, 9], b"never looked at"),
    ]
    .concat();
    assert_eq!(read(&bytes).1.version(), TLS_1_1);
    // A header counts as soon as it is there.
    assert_eq!(read(&[22, 254, 128, 0, 9]).1.version(), [254, 128]);
    assert_eq!(read(&[22, 254, 128, 0]).1.version(), SSL_3_0);
}

#[test]
fn an_alert_in_place_of_the_hello_is_found_however_it_is_cut() {
    let alert = |bytes: &[u8]| record(content::ALERT, TLS_1_0, bytes);
    let expected = Ok(Some(Found::Alert(Alert {
        level: 2,
        description: 70,
    })));
    assert_eq!(found(&alert(&[2, 70])), expected);
    assert_eq!(found(&alert(&[2, 70, 1, 0])), expected);
    let cut = [alert(&[]), alert(&[2]), handshake(b"ignored"), alert(&[70])].concat();
    assert_eq!(found(&cut), expected);
    // A warning ends the flight as well, whatever follows.
    let warning = [
        alert(&[1, 112]),
        handshake(&server_hello()),
        handshake(&two_sent()),
    ]
    .concat();
    let (found, flight) = read(&warning);
    assert_eq!(
        found,
        Ok(Some(Found::Alert(Alert {
            level: 1,
            description: 112
        })))
    );
    assert_eq!(flight.hello(), None);
}

#[test]
fn what_is_of_another_type_is_refused_at_once() {
    let data = record(23, TLS_1_2, b"x");
    let alert = record(content::ALERT, TLS_1_2, &[2, 40]);
    let hello = handshake(&server_hello());
    for bytes in [
        data.clone(),
        record(20, TLS_1_2, &[1]),
        handshake(&message(1, b"")),
        // The type is known before the length.
        handshake(&[11, 0xff, 0xff, 0xff]),
        // Within the hello, and between it and the certificates.
        [handshake(&server_hello()[..10]), alert.clone()].concat(),
        [hello.clone(), alert].concat(),
        [hello.clone(), data].concat(),
        [hello.clone(), handshake(&message(12, b"key exchange"))].concat(),
        [hello, handshake(&message(22, b"status"))].concat(),
    ] {
        assert_eq!(found(&bytes), Err(Problem::Type), "{bytes:?}");
    }
}

#[test]
fn a_short_hello_says_where_it_ends() {
    let whole = [&[3, 3][..], &[7; 32], &[2], &[1, 2], &[0xc0, 0x2b]].concat();
    for (length, expected) in [
        (0, Problem::ShortVersion),
        (1, Problem::ShortVersion),
        (2, Problem::ShortRandom),
        (33, Problem::ShortRandom),
        (34, Problem::ShortSessionLength),
        (35, Problem::ShortSession),
        (36, Problem::ShortSession),
        (37, Problem::ShortCipher),
        (38, Problem::ShortCipher),
    ] {
        let bytes = handshake(&message(message::SERVER_HELLO, &whole[..length]));
        assert_eq!(found(&bytes), Err(expected), "{length} octets");
    }
    assert_eq!(
        found(&handshake(&message(message::SERVER_HELLO, &whole))),
        Ok(None)
    );
    let mut long = whole;
    long[34] = 33;
    assert_eq!(
        found(&handshake(&message(message::SERVER_HELLO, &long))),
        Err(Problem::SessionLength)
    );
}

#[test]
fn a_hello_of_37_octets_with_an_empty_session_is_whole() {
    let body = [&[3, 3][..], &[7; 32], &[0], &[0xc0, 0x2b]].concat();
    let (found, flight) = read(&handshake(&message(message::SERVER_HELLO, &body)));
    assert_eq!(found, Ok(None));
    assert_eq!(flight.hello().unwrap().cipher, 0xc02b);
}

#[test]
fn lists_of_certificates_must_add_up() {
    let of = |body: &[u8]| {
        found(&handshake(
            &[server_hello(), message(message::CERTIFICATE, body)].concat(),
        ))
    };
    assert_eq!(of(&[0, 0, 0]), Ok(Some(Found::Certificates(vec![]))));
    assert_eq!(
        of(&[0, 0, 3, 0, 0, 0]),
        Ok(Some(Found::Certificates(vec![vec![]])))
    );
    for (body, expected) in [
        (&[][..], Problem::CertificateLength),
        (&[0, 0], Problem::CertificateLength),
        // The entry reaches past the message.
        (&[0, 0, 4, 0, 0, 2, 1], Problem::CertificateLength),
        // The list does.
        (&[0, 0, 9, 0, 0, 1, 1], Problem::CertificateLength),
        (&[255, 255, 255, 0, 0, 1, 1], Problem::CertificateLength),
        // The entry reaches past the list, but not past the message.
        (&[0, 0, 3, 0, 0, 1, 1], Problem::CertificateAmount),
        // Something follows the list.
        (&[0, 0, 0, 1], Problem::CertificateAmount),
        (&[0, 0, 4, 0, 0, 1, 1, 1], Problem::CertificateAmount),
    ] {
        assert_eq!(of(body), Err(expected), "{body:?}");
    }
}

#[test]
fn more_certificates_than_any_server_has_are_refused() {
    let many = vec![&b""[..]; MAX_CERTIFICATES + 1];
    let whole: Vec<u8> = [server_hello(), certificate(&many)].concat();
    assert_eq!(found(&handshake(&whole)), Err(Problem::CertificateAmount));
}

#[test]
fn giant_lengths_and_endless_octets_are_not_waited_for() {
    let mut flight = Flight::new(false);
    let header = [2, 0xff, 0xff, 0xff];
    assert_eq!(flight.feed(&handshake(&header)), Ok(None));
    let mut fed = 9;
    while !flight.is_full() {
        let more = handshake(&[0; 4096]);
        assert_eq!(flight.feed(&more), Ok(None));
        fed += more.len();
        assert!(fed < MAX_FLIGHT + 8192);
    }
    assert_eq!(flight.feed(&handshake(&[0; 4096])), Ok(None));
    assert!(flight.held.len() + flight.handshake.len() <= MAX_FLIGHT);
}

#[test]
fn tls_1_3_is_seen_where_it_was_offered() {
    let bytes = handshake(&server_hello_1_3([7; 32]));
    let mut flight = Flight::new(true);
    assert_eq!(flight.feed(&bytes), Ok(Some(Found::Encrypted)));
    assert_eq!(
        flight.hello(),
        Some(ServerHello {
            cipher: 0x1302,
            is_1_3: true
        })
    );
    // Where it was not, the server does not know what it says.
    assert_eq!(found(&bytes), Ok(None));
    let mut flight = Flight::new(true);
    assert_eq!(
        flight.feed(&handshake(&[server_hello(), two_sent()].concat())),
        Ok(Some(two()))
    );
}

#[test]
fn a_request_for_another_hello_is_not_the_servers_hello() {
    let retry: [u8; 32] = crate::wire::hex(RETRY).try_into().unwrap();
    let mut flight = Flight::new(true);
    let again = handshake(&server_hello_1_3(retry));
    let spec_change = record(content::CHANGE_CIPHER_SPEC, TLS_1_2, &[1]);
    assert_eq!(
        flight.feed(&[again.clone(), spec_change].concat()),
        Ok(None)
    );
    assert!(flight.is_retrying());
    assert_eq!(flight.hello(), None);
    assert_eq!(
        flight.feed(&handshake(&server_hello_1_3([7; 32]))),
        Ok(Some(Found::Encrypted))
    );
    assert!(!flight.is_retrying());
    // Asked for twice, it is taken at its word.
    let mut flight = Flight::new(true);
    assert_eq!(
        flight.feed(&[again.clone(), again].concat()),
        Ok(Some(Found::Encrypted))
    );
}

#[test]
fn a_banner_is_the_beginning_of_a_record_that_never_ends() {
    for banner in [
        "HTTP/1.1 400 Bad Request\r\n\r\n",
        "SSH-2.0-OpenSSH_9\r\n",
        "220 mail.example ESMTP\r\n",
    ] {
        assert_eq!(found(banner.as_bytes()), Ok(None), "{banner}");
    }
}

/// Flights that look like some, with octets changed.
fn flights() -> impl Strategy<Value = Vec<u8>> {
    let retry: [u8; 32] = crate::wire::hex(RETRY).try_into().unwrap();
    let part = prop_oneof![
        Just(handshake(&server_hello())),
        Just(handshake(&server_hello_1_3([7; 32]))),
        Just(handshake(&server_hello_1_3(retry))),
        Just(handshake(&two_sent())),
        Just(record(content::ALERT, TLS_1_1, &[2, 40])),
        Just(record(content::CHANGE_CIPHER_SPEC, TLS_1_2, &[1])),
        prop::collection::vec(any::<u8>(), 0..30),
        prop::collection::vec(0u8..24, 0..30).prop_map(|bytes| handshake(&bytes)),
    ];
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3);
    (prop::collection::vec(part, 0..5), changes).prop_map(|(parts, changes)| {
        let mut bytes = parts.concat();
        for (at, octet) in changes {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = octet;
            }
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_flight_comes_to_the_same_however_it_is_cut(
        bytes in flights(),
        sizes in prop::collection::vec(1usize..40, 1..20),
        offers_1_3 in any::<bool>(),
    ) {
        let mut whole = Flight::new(offers_1_3);
        let at_once = whole.feed(&bytes);
        let mut flight = Flight::new(offers_1_3);
        let mut found = Ok(None);
        let mut rest = &bytes[..];
        for size in sizes.iter().cycle() {
            let (piece, after) = rest.split_at(rest.len().min(*size));
            found = flight.feed(piece);
            if found != Ok(None) || after.is_empty() {
                break;
            }
            rest = after;
        }
        prop_assert_eq!(found, at_once);
        prop_assert_eq!(flight.version(), whole.version());
        prop_assert_eq!(flight.hello(), whole.hello());
        prop_assert_eq!(flight.is_retrying(), whole.is_retrying());
    }

    #[test]
    fn after_the_end_nothing_is_told(bytes in flights()) {
        let mut flight = Flight::new(true);
        if flight.feed(&bytes) != Ok(None) {
            prop_assert_eq!(flight.feed(&bytes), Ok(None));
            prop_assert!(flight.held.is_empty() && flight.handshake.is_empty());
        }
    }

    #[test]
    fn names_of_any_length_make_records_that_add_up(name in prop::collection::vec(any::<u8>(), 0..9000)) {
        let bytes = hello(TLS_1_2, Some(&name));
        let length = usize::from(u16::from_be_bytes([bytes[3], bytes[4]]));
        prop_assert_eq!(length + 5, bytes.len());
        prop_assert_eq!(bytes.len(), 133 + 9 + name.len().min(MAX_SERVER_NAME));
    }
}
