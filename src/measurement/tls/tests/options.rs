//! The options, in both dialects.

use super::{super::Options, *};
use crate::{
    measurement::{Common, SpecError, machine::Family},
    wire::tls::{SSL_3_0, TLS_1_0, TLS_1_1, TLS_1_2},
};

fn parse(line: &str) -> Result<(Common, Options), SpecError> {
    let words: Vec<&str> = line.split(' ').collect();
    let [one, other] = Dialect::ALL.map(|dialect| Options::parse(&words, &rules(dialect)));
    assert_eq!(one, other, "the dialects take the same words");
    one
}

#[test]
fn defaults_are_both_families_port_443_and_no_server_name() {
    assert_eq!(
        parse("a.example").unwrap().1,
        Options {
            target: "a.example".to_owned(),
            family: Family::Both,
            server_name: None,
            port: "443".to_owned(),
            version: None,
            interface: None,
        }
    );
}

#[test]
fn every_option_of_the_specification_is_taken() {
    let (common, options) = parse(
        "-4 -6 -h www.example.com -p https -V tls1.0 -i eth0 -A15001 -B 43 -O /home/atlas/data/new/7 \
         -R /home/atlas/data/r -W /home/atlas/data/w www.example.com",
    )
    .unwrap();
    assert_eq!(options.family, Family::V6, "the last one wins");
    assert_eq!(options.server_name.as_deref(), Some("www.example.com"));
    assert_eq!(options.port, "https");
    assert_eq!(options.version, Some(TLS_1_0));
    assert_eq!(options.interface.as_deref(), Some("eth0"));
    assert_eq!(common.id.as_deref(), Some("15001"));
    assert_eq!(common.bundle.as_deref(), Some("43"));
    assert!(common.output.is_some() && common.replay.is_some() && common.record.is_some());
}

#[test]
fn versions_are_four_in_any_case() {
    for (word, version) in [
        ("TLS1.2", TLS_1_2),
        ("Tls1.1", TLS_1_1),
        ("tls1.0", TLS_1_0),
        ("SSL3.0", SSL_3_0),
    ] {
        let (_, options) = parse(&format!("-V {word} h")).unwrap();
        assert_eq!(options.version, Some(version));
    }
    for word in ["TLS1.3", "TLS1", "1.2", "SSL2.0"] {
        assert!(parse(&format!("-V {word} h")).is_err(), "{word}");
    }
}

#[test]
fn what_is_no_option_is_refused() {
    for line in [
        "-4",
        "h i",
        "-I eth0 h",
        "-b 1 h",
        "-A x h",
        "--all h",
        "-p",
    ] {
        assert!(parse(line).is_err(), "{line}");
    }
}
