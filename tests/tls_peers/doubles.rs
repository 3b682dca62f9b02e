//! Servers that do what no good server does, or that look closely at their client.

use std::{
    io::{ErrorKind, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, mpsc},
    thread,
};

use rustls::{
    ServerConfig, ServerConnection,
    pki_types::{CertificateDer, PrivatePkcs8KeyDer},
};
use starling::{
    measurement::tls::{Finding, Missing},
    wire::tls::Problem,
};

use crate::{run, run_with};

const CERTIFICATE: &[u8] = include_bytes!("../tls/certificate.der");

/// A server for as long as the test runs; `act` is given each connection with the hello that was read from it.
fn serve(act: impl Fn(TcpStream, Vec<u8>) + Send + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a socket");
    let port = listener.local_addr().expect("its address").port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream): Result<TcpStream, _> = stream else {
                return;
            };
            stream.set_nodelay(true).expect("an option");
            let mut header = [0; 5];
            if stream.read_exact(&mut header).is_ok() {
                let length = u16::from_be_bytes([header[3], header[4]]);
                let mut rest = vec![0; length.into()];
                stream.read_exact(&mut rest).expect("a whole hello");
                act(stream, [&header[..], &rest].concat());
            }
        }
    });
    port
}

/// A server that answers every hello with these octets and closes.
fn answers(bytes: Vec<u8>) -> u16 {
    serve(move |mut stream, _| {
        let _ = stream.write_all(&bytes);
    })
}

/// A record of TLS 1.2.
fn record(kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len())
        .expect("a short one")
        .to_be_bytes();
    [&[kind, 3, 3][..], &length, payload].concat()
}

fn alert(description: u8) -> Vec<u8> {
    record(21, &[2, description])
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let [.., a, b, c] = body.len().to_be_bytes();
    [&[kind, a, b, c], body].concat()
}

fn server_hello() -> Vec<u8> {
    let body = [&[3, 3][..], &[7; 32], &[0], &[0xc0, 0x2b], &[0]].concat();
    record(22, &message(2, &body))
}

/// A `Certificate` message with one of five octets.
fn certificate() -> Vec<u8> {
    record(22, &message(11, b"\0\0\x08\0\0\x05\x30\x03abc"))
}

/// What a TLS 1.3 server answers to this hello.
fn flight_1_3(hello: &[u8]) -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = PrivatePkcs8KeyDer::from(&include_bytes!("../tls/key.der")[..]);
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("a version")
        .with_no_client_auth()
        .with_single_cert(vec![CertificateDer::from(CERTIFICATE)], key.into())
        .expect("a certificate");
    let mut server = ServerConnection::new(Arc::new(config)).expect("a server");
    let mut rest = hello;
    while !rest.is_empty() {
        server.read_tls(&mut rest).expect("a hello");
    }
    // An error is told to the client as an alert.
    let _ = server.process_new_packets();
    let mut flight = Vec::new();
    while server.wants_write() {
        server.write_tls(&mut flight).expect("memory");
    }
    flight
}

fn stalled(finding: &Finding) -> (bool, Missing) {
    match finding {
        Finding::Stalled { greeted, why, .. } => (*greeted, *why),
        other => panic!("not stalled: {other:?}"),
    }
}

#[test]
fn alerts_at_every_step() {
    let ran = run("", answers(alert(40)));
    assert_eq!(ran.alert(), 40);
    assert!(ran.line.contains("\"server_cipher\": \"0x0000\""));
    let ran = run("", answers([server_hello(), alert(80)].concat()));
    assert_eq!(ran.body.finding, Finding::Nonsense(Problem::Type));
    let ran = run(
        "",
        answers([server_hello()[..9].to_vec(), alert(80)].concat()),
    );
    // The alert is taken for the rest of the record.
    assert_eq!(stalled(&ran.body.finding), (false, Missing::Closed));
    let ran = run(
        "",
        answers([server_hello(), certificate(), alert(80)].concat()),
    );
    assert_eq!(ran.certificates(), [b"\x30\x03abc"]);
}

#[test]
fn a_close_at_every_octet() {
    let flight = [server_hello(), certificate()].concat();
    let hello = server_hello().len();
    for length in 0..flight.len() {
        let ran = run("", answers(flight[..length].to_vec()));
        let expected = (length >= hello, Missing::Closed);
        assert_eq!(stalled(&ran.body.finding), expected, "{length} octets");
    }
    let ran = run("", answers(flight));
    assert_eq!(ran.certificates(), [b"\x30\x03abc"]);
}

#[test]
fn a_close_within_encrypted_octets() {
    for length in (0..900).step_by(61) {
        let port = serve(move |mut stream, hello| {
            let flight = flight_1_3(&hello);
            let _ = stream.write_all(&flight[..length.min(flight.len())]);
        });
        let ran = run("", port);
        match ran.body.finding {
            // The reference hello was answered with the beginning of an alert, or with all of it.
            Finding::Stalled { greeted, why, .. } => {
                // What the client said between two pieces may be unread, which makes the close a reset.
                let reset = Missing::Broken(nix::libc::ECONNRESET);
                assert!([Missing::Closed, reset].contains(&why), "{why:?}");
                assert!(greeted || length < 150, "{length} octets");
            }
            Finding::Answer(_) => {
                let whole = ran.version() == "1.3" && ran.certificates() == [CERTIFICATE];
                assert!(whole || ran.alert() == 70, "{length} octets: {}", ran.line);
            }
            other => panic!("{length} octets: {other:?}"),
        }
    }
}

#[test]
fn one_octet_at_a_time() {
    let port = serve(|mut stream, hello| {
        for octet in flight_1_3(&hello) {
            if stream.write_all(&[octet]).is_err() {
                return;
            }
        }
    });
    let ran = run("-h target.example", port);
    assert_eq!(ran.version(), "1.3");
    assert_eq!(ran.certificates(), [CERTIFICATE]);
    let port = serve(|mut stream, _| {
        for octet in [server_hello(), certificate()].concat() {
            if stream.write_all(&[octet]).is_err() {
                return;
            }
        }
    });
    assert_eq!(run("", port).certificates(), [b"\x30\x03abc"]);
}

#[test]
fn endless_octets_are_not_read_for_ever() {
    let message_without_end =
        |kind: u8| record(22, &[&[kind, 255, 255, 255][..], &[0; 9000]].concat());
    for (beginning, more, greeted) in [
        (message_without_end(2), record(22, &[0; 9000]), false),
        (record(22, &[]), record(22, &[]), false),
        (
            [server_hello(), message_without_end(11)].concat(),
            record(22, &[0; 9000]),
            true,
        ),
    ] {
        let more = more.repeat(64);
        let port = serve(move |mut stream, _| {
            let _ = stream.write_all(&beginning);
            while stream.write_all(&more).is_ok() {}
        });
        let ran = run("", port);
        assert_eq!(stalled(&ran.body.finding), (greeted, Missing::TooMuch));
    }
}

#[test]
fn octets_that_do_not_decrypt_are_nonsense() {
    let port = serve(|mut stream, hello| {
        let mut flight = flight_1_3(&hello);
        let end = flight.len() - 1;
        flight[end] ^= 1;
        let first_encrypted = flight.len() / 2;
        flight[first_encrypted] ^= 1;
        let _ = stream.write_all(&flight);
        // The client leaves; until then there is no end to tell it of.
        let _ = stream.read(&mut [0]);
    });
    assert_eq!(run("", port).body.finding, Finding::Nonsense(Problem::Type));
}

#[test]
fn lengths_that_lie() {
    for (body, expected) in [
        (
            &b"\0\0\x09\0\0\x05\x30\x03abc"[..],
            Problem::CertificateLength,
        ),
        (
            b"\xff\xff\xff\xff\xff\xff\x30\x03abc",
            Problem::CertificateLength,
        ),
        (b"\0\0\x07\0\0\x05\x30\x03abc", Problem::CertificateAmount),
        (b"\0\0\0\0\0\x05\x30\x03abc", Problem::CertificateAmount),
    ] {
        let flight = [server_hello(), record(22, &message(11, body))].concat();
        let ran = run("", answers(flight));
        assert_eq!(ran.body.finding, Finding::Nonsense(expected), "{body:?}");
    }
    let mut hello = server_hello();
    hello[5 + 4 + 34] = 33;
    let ran = run("", answers(hello));
    assert_eq!(ran.body.finding, Finding::Nonsense(Problem::SessionLength));
}

#[test]
fn a_reset_is_told_at_once() {
    let port = serve(|stream, _| {
        let stream = socket2::Socket::from(stream);
        let linger = stream.set_linger(Some(std::time::Duration::ZERO));
        linger.expect("an option");
    });
    let ran = run("", port);
    assert_eq!(
        stalled(&ran.body.finding),
        (false, Missing::Broken(nix::libc::ECONNRESET))
    );
    assert!(ran.line.contains("\"err\":\"timeout reading hello\""));
}

/// What a server hears after its answer, until the client leaves.
fn heard_after(answer: impl Fn(&[u8]) -> Vec<u8> + Send + 'static) -> (crate::Ran, Vec<u8>) {
    let (tell, told) = mpsc::channel();
    let port = serve(move |mut stream, hello| {
        stream.write_all(&answer(&hello)).expect("a client");
        let mut heard = Vec::new();
        if let Err(error) = stream.read_to_end(&mut heard) {
            // What it had not read is answered by a reset, as of every client that leaves.
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        }
        let _ = tell.send(heard);
    });
    let ran = run("", port);
    (ran, told.recv().expect("the client left"))
}

#[test]
fn nothing_is_sent_once_the_certificates_are_there() {
    let (ran, heard) = heard_after(flight_1_3);
    assert_eq!(ran.certificates(), [CERTIFICATE]);
    assert!(
        heard.is_empty(),
        "no Finished, no alert, no close_notify: {heard:02x?}"
    );
    let (ran, heard) = heard_after(|_| {
        let done = record(22, &message(14, b""));
        [server_hello(), certificate(), done].concat()
    });
    assert_eq!(ran.certificates(), [b"\x30\x03abc"]);
    assert!(heard.is_empty(), "{heard:02x?}");
}

#[test]
fn an_older_server_hears_no_opinion_of_its_version() {
    // The library would say alert 70 to a version that it does not speak.
    let (tell, told) = mpsc::channel();
    let port = serve(move |mut stream, _| {
        let old = |mut record: Vec<u8>| {
            record[2] = 1;
            record
        };
        let mut hello = old(server_hello());
        hello[10] = 1;
        stream.write_all(&hello).expect("a client");
        // Later, once the client has had time for a reply.
        for octet in old(certificate()) {
            stream.write_all(&[octet]).expect("a client");
        }
        let mut heard = Vec::new();
        let _ = stream.read_to_end(&mut heard);
        let _ = tell.send(heard);
    });
    let ran = run("", port);
    assert_eq!(ran.version(), "1.0");
    assert_eq!(ran.certificates(), [b"\x30\x03abc"]);
    let heard: Vec<u8> = told.recv().expect("the client left");
    assert!(heard.is_empty(), "{heard:02x?}");
}

#[test]
fn the_hellos_are_what_they_should_be() {
    let (tell, told) = mpsc::channel();
    let port = serve(move |mut stream, hello| {
        let _ = stream.write_all(&alert(40));
        let _ = tell.send(hello);
    });
    run("-h target.example", port);
    let modern = told.recv().expect("a hello");
    let reference = told.recv().expect("another");
    let position = |bytes: &[u8], part: &[u8]| bytes.windows(part.len()).position(|it| it == part);
    // The suites in the order of section 4.2, and behind them only the mark of renegotiation.
    let suites = [
        0x13, 2, 0x13, 1, 0x13, 3, 0xc0, 0x2b, 0xc0, 0x2f, 0xcc, 0xa9, 0xcc, 0xa8, 0xc0, 0x2c,
        0xc0, 0x30,
    ];
    assert!(position(&modern, &suites).is_some(), "{modern:02x?}");
    assert!(position(&modern, b"target.example").is_some());
    assert!(
        position(&modern, &[0, 43, 0, 5, 4, 3, 4, 3, 3]).is_some(),
        "{modern:02x?}"
    );
    assert!(modern.len() < 350, "{} octets", modern.len());
    assert_eq!(reference[..3], [22, 3, 0]);
    assert_eq!(reference.len(), 133 + 9 + 14);
}

#[test]
fn the_address_policy_holds() {
    let port = answers(alert(40));
    let ran = run_with("", port, |config| config.allow_any_address = false);
    assert!(
        ran.line
            .ends_with("\"af\": 4, \"error\": \"address not allowed\" }\n")
    );
}
