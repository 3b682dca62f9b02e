//! Result lines: the examples of the specification, both dialects, and everything that can be found.

use super::{
    super::{Answer, Missing, Protocol, Shown},
    *,
};
use crate::{
    measurement::machine::ResolveError,
    wire::tls::{Alert, Problem},
};

fn answer() -> Answer {
    Answer {
        source: ip("192.0.2.10"),
        protocol: Protocol::Record([3, 3]),
        ttc: 11.125,
        rt: 24.5,
        cipher: 0xc02b,
        shown: Shown::Certificates(vec![DER.to_vec(), b"0\x04abcd".to_vec()]),
    }
}

fn body(finding: Finding) -> Body {
    Body {
        started: 1_700_000_000,
        ended: 1_700_000_001,
        lts: 0,
        target: "a.example".to_owned(),
        port: "443".to_owned(),
        ttr: Some(0.9),
        destination: Some(ip("198.51.100.8")),
        finding,
    }
}

fn line(body: &Body) -> String {
    body.line(&head(Some("9"), None), Dialect::Reference)
}

#[test]
fn the_example_with_two_certificates() {
    let body = Body {
        lts: 34,
        target: "www.example.com".to_owned(),
        ttr: Some(7.25),
        destination: Some(ip("2001:db8::20")),
        ..body(Finding::Answer(Answer {
            source: ip("2001:db8:1::10"),
            ..answer()
        }))
    };
    let expected = concat!(
        r#"RESULT { "id":"15001", "fw":5120, "mver": "2.6.4", "lts":34, "time":1700000001, "dst_name":"www.example.com", "#,
        r#""dst_port":"443", "ttr":7.250000, "method":"TLS", "ver":"1.2", "dst_addr":"2001:db8::20", "af": 6, "#,
        r#""src_addr":"2001:db8:1::10", "ttc": 11.125000, "rt": 24.500000, "server_cipher": "0xc02b", "cert":[ "#,
        r#""-----BEGIN CERTIFICATE-----\nMANhYmM=\n-----END CERTIFICATE-----", "#,
        r#""-----BEGIN CERTIFICATE-----\nMARhYmNk\n-----END CERTIFICATE-----" ] }"#,
        "\n"
    );
    assert_eq!(
        body.line(&head(Some("15001"), None), Dialect::Reference),
        expected
    );
}

#[test]
fn the_example_with_an_alert() {
    let body = Body {
        target: "198.51.100.7".to_owned(),
        ttr: None,
        destination: Some(ip("198.51.100.7")),
        ..body(Finding::Answer(Answer {
            ttc: 10.1,
            rt: 20.3,
            cipher: 0,
            shown: Shown::Alert(Alert {
                level: 2,
                description: 70,
            }),
            ..answer()
        }))
    };
    let expected = concat!(
        r#"RESULT { "time":1700000001, "dst_name":"198.51.100.7", "dst_port":"443", "method":"TLS", "ver":"1.2", "#,
        r#""dst_addr":"198.51.100.7", "af": 4, "src_addr":"192.0.2.10", "ttc": 10.100000, "rt": 20.300000, "#,
        r#""server_cipher": "0x0000", "alert": { "level": 2, "description": 70 } }"#,
        "\n"
    );
    assert_eq!(body.line(&head(None, None), Dialect::Reference), expected);
}

#[test]
fn the_examples_without_an_answer() {
    let beginning =
        r#"RESULT { "id":"9", "fw":5120, "mver": "2.6.4", "lts":0, "time":1700000000, "#;
    let refused = Body {
        port: "8443".to_owned(),
        ..body(Finding::NotConnected("Connection refused".to_owned()))
    };
    assert_eq!(
        line(&refused),
        format!(
            "{beginning}{}\n",
            r#""dst_name":"a.example", "dst_port":"8443", "ttr":0.900000, "dst_addr":"198.51.100.8", "af": 4, "err":"connect: Connection refused" }"#
        )
    );
    let unresolved = Body {
        target: "none.example".to_owned(),
        ttr: Some(3.0),
        destination: None,
        ..body(Finding::Unresolved(ResolveError::NotKnown))
    };
    assert_eq!(
        line(&unresolved),
        format!(
            "{beginning}{}\n",
            r#""dst_name":"none.example", "dst_port":"443", "ttr":3.000000, "dnserr":"nodename nor servname provided, or not known" }"#
        )
    );
    let silent = body(stalled(false, Missing::Timeout));
    assert_eq!(
        line(&silent),
        format!(
            "{beginning}{}\n",
            r#""dst_name":"a.example", "dst_port":"443", "ttr":0.900000, "dst_addr":"198.51.100.8", "af": 4, "src_addr":"192.0.2.10", "ttc": 10.000000, "err":"timeout reading hello" }"#
        )
    );
}

fn stalled(greeted: bool, why: Missing) -> Finding {
    Finding::Stalled {
        source: ip("192.0.2.10"),
        ttc: 10.0,
        greeted,
        why,
    }
}

#[test]
fn every_other_finding_has_its_text() {
    let connected = r#""src_addr":"192.0.2.10", "ttc": 10.000000, "#;
    for (finding, text) in [
        (
            Finding::Unresolved(ResolveError::Failed),
            r#""dnserr":"non-recoverable failure in name resolution""#.to_owned(),
        ),
        (
            Finding::ConnectTimeout,
            r#""err":"connect: timeout""#.to_owned(),
        ),
        (
            stalled(true, Missing::Closed),
            format!(r#"{connected}"err":"timeout reading certificates""#),
        ),
        (
            stalled(false, Missing::Broken(104)),
            format!(r#"{connected}"err":"timeout reading hello""#),
        ),
        (
            Finding::Nonsense(Problem::CertificateAmount),
            r#""err":"bad amount of cert data""#.to_owned(),
        ),
        (
            Finding::Forbidden,
            r#""error": "address not allowed""#.to_owned(),
        ),
        (
            Finding::NoSocket("bind_interface failed"),
            r#""sockerr":"bind_interface failed""#.to_owned(),
        ),
    ] {
        let line = line(&body(finding));
        assert!(
            line.ends_with(&format!(
                "\"dst_addr\":\"198.51.100.8\", \"af\": 4, {text} }}\n"
            )),
            "{line}"
        );
    }
}

#[test]
fn a_bundle_is_well_formed_but_for_the_answers_of_the_reference() {
    let head = head(Some("42"), Some("043"));
    let answered = body(Finding::Answer(answer()));
    let line = answered.line(&head, Dialect::Reference);
    assert!(
        line.contains(r#""lts":0"bundle":043, , "time":1700000001, "#),
        "{line}"
    );
    let line = answered.line(&head, Dialect::Starla);
    assert!(
        line.contains(r#""lts":0, "bundle":43, "time":1700000001, "#),
        "{line}"
    );
    for dialect in Dialect::ALL {
        let line = body(Finding::Forbidden).line(&head, dialect);
        assert!(
            line.contains(r#""time":1700000000, "bundle":43, "dst_name""#),
            "{line}"
        );
    }
}

#[test]
fn methods_and_versions_are_those_of_the_last_record() {
    for (protocol, expected) in [
        (Protocol::Record([3, 3]), r#""method":"TLS", "ver":"1.2""#),
        (Protocol::Record([3, 2]), r#""method":"TLS", "ver":"1.1""#),
        (Protocol::Record([3, 1]), r#""method":"TLS", "ver":"1.0""#),
        (Protocol::Record([3, 0]), r#""method":"SSL", "ver":"3.0""#),
        (
            Protocol::Record([3, 4]),
            r#""method":"(unknown)", "ver":"3.4""#,
        ),
        (
            Protocol::Record([254, 128]),
            r#""method":"(unknown)", "ver":"254.128""#,
        ),
        (Protocol::Tls13, r#""method":"TLS", "ver":"1.3""#),
    ] {
        let line = line(&body(Finding::Answer(Answer {
            protocol,
            ..answer()
        })));
        assert!(line.contains(expected), "{line}");
    }
}

#[test]
fn certificates_are_cut_into_lines_of_64() {
    let shown = |certificates: &[&[u8]]| {
        let certificates = certificates.iter().map(|der| der.to_vec()).collect();
        let line = line(&body(Finding::Answer(Answer {
            shown: Shown::Certificates(certificates),
            ..answer()
        })));
        line.split_once("\"cert\":").unwrap().1.to_owned()
    };
    assert_eq!(shown(&[]), "[  ] }\n");
    assert_eq!(
        shown(&[b""]),
        "[ \"-----BEGIN CERTIFICATE-----\\n-----END CERTIFICATE-----\" ] }\n"
    );
    // 48 octets are one line, 49 are two.
    let line = "A".repeat(64);
    assert_eq!(
        shown(&[&[0; 48]]),
        format!("[ \"-----BEGIN CERTIFICATE-----\\n{line}\\n-----END CERTIFICATE-----\" ] }}\n")
    );
    assert_eq!(
        shown(&[&[0; 49]]),
        format!(
            "[ \"-----BEGIN CERTIFICATE-----\\n{line}\\nAA==\\n-----END CERTIFICATE-----\" ] }}\n"
        )
    );
}

/// The page abbreviates certificates, which is undone the same way here.
#[test]
fn the_line_of_the_protocol_reference() {
    let body = Body {
        started: 1,
        ended: 1_775_325_499,
        lts: 0,
        target: "atlas.ripe.net".to_owned(),
        port: "443".to_owned(),
        ttr: Some(390.310),
        destination: Some(ip("193.0.11.37")),
        finding: Finding::Answer(Answer {
            source: ip("10.0.0.1"),
            protocol: Protocol::Tls13,
            ttc: 191.244,
            rt: 390.310,
            cipher: 0x1302,
            shown: Shown::Certificates(vec![vec![0x30, 0x82, 0x06], vec![0x30, 0x82, 0x05]]),
        }),
    };
    let line = body.line(&head(Some("14002"), None), Dialect::Starla);
    let line = line
        .replace("MIIG\\n", "MIIG...\\n")
        .replace("MIIF\\n", "MIIF...\\n");
    let golden = include_str!("../../../../tests/golden/starla/tls.result");
    assert_eq!(line, golden);
}

#[test]
fn seconds_stand_in_every_time_of_the_starla_dialect() {
    let line = body(stalled(false, Missing::Timeout)).line(&head(Some("9"), None), Dialect::Starla);
    assert!(line.contains("\"ttr\":0.000900, "), "{line}");
    assert!(line.contains("\"ttc\":0.010000, "), "{line}");
}

#[test]
fn names_cannot_break_the_line() {
    let body = Body {
        target: "a\"b\\".to_owned(),
        port: "\n".to_owned(),
        ..body(Finding::Forbidden)
    };
    for dialect in Dialect::ALL {
        let line = body.line(&head(Some("1"), None), dialect);
        assert_eq!(json(&line)["dst_name"], "a\"b\\");
        assert_eq!(line.matches('\n').count(), 1);
    }
}
