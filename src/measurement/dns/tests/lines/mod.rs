//! RESULT lines against the examples of `dns-measurement` section 10 and of the protocol reference, and what holds for
//! any.

mod answers;
mod errors;
mod properties;
mod starla;

use base64::{Engine, engine::general_purpose::STANDARD};
use proptest::prelude::*;

use super::{entry, head, json, reply};
use crate::{
    clock::UnixTime,
    dialect::Dialect,
    measurement::{
        Head, Version,
        dns::{Body, Counts, Destination, Entry, Error, Protocol, Reply},
    },
};

const NOT_KNOWN: &str = "nodename nor servname provided, or not known";

/// The line of one entry in the `reference` dialect, without its line end.
fn line(id: &str, entry: Entry) -> String {
    let body = Body {
        resolvers: entry.place.is_some(),
        entries: vec![entry],
        counts: Counts::default(),
    };
    let line = body.line(&head(Some(id), None), Dialect::Reference);
    line.strip_suffix('\n').unwrap().to_owned()
}

fn decoded(abuf: &str) -> Vec<u8> {
    STANDARD.decode(abuf).unwrap()
}

/// `192.0.2.53` was tried from `198.51.100.7`.
fn tried() -> Entry {
    Entry {
        server: Some("192.0.2.53".to_owned()),
        destination: Some(Destination {
            address: "192.0.2.53".to_owned(),
            port: "53".to_owned(),
            family: 4,
        }),
        source: Some("198.51.100.7".to_owned()),
        ..entry()
    }
}

fn over_tcp(entry: Entry, port: &str) -> Entry {
    let mut entry = entry;
    entry.protocol = Protocol::Tcp;
    if let Some(to) = &mut entry.destination {
        to.port = port.to_owned();
    }
    entry
}

#[test]
fn the_statistics_line() {
    let mut counts = Counts {
        sent: 1,
        received: 2,
        sent_bytes: 3,
        received_bytes: 4,
        send_errors: 5,
        receive_errors: 6,
        timeouts: 7,
        short: 8,
        martians: 9,
    };
    let line = concat!(
        r#"RESULT { "id" : "9201" , "fw":5120, "mver": "2.6.4", "time" : 1700000000 , "sok" : 1 , "rok" : 2 , "#,
        r#""sent" : 3 , "recv" : 4 , "serr" : 5 , "rerr" : 6 , "timeout" : 7 , "short" : 8 , "martian" : 9 , "#,
        "\"q\" : 10 }\n"
    );
    let now = UnixTime::from_secs(1_700_000_000);
    assert_eq!(counts.line(&Version::default(), now, 10), line);
    counts += counts;
    assert_eq!((counts.sent, counts.martians), (2, 18));
}
