//! The lines of the protocol reference page.

use super::*;

/// What the protocol reference prints, fed with the values that it prints.
#[test]
fn the_line_of_the_protocol_reference() {
    let entry = Entry {
        time: 1_775_314_719,
        lts: 51,
        server: Some("170.247.170.2".to_owned()),
        destination: Some(Destination {
            address: "170.247.170.2".to_owned(),
            port: "53".to_owned(),
            family: 4,
        }),
        source: Some("204.168.188.81".to_owned()),
        reply: Some(reply(
            29.846,
            "qr2AAAABAAEAAAAACGhvc3RuYW1lBGJpbmQAABAAA8AMABAAAwAAAAAABwZiNC1mcmE=",
        )),
        ..Entry::default()
    };
    assert_eq!(
        starla("10310", entry),
        include_str!("../../../../../tests/golden/starla/dns.result")
    );
}

#[test]
fn the_time_out_of_the_protocol_reference() {
    let entry = Entry {
        errors: vec![Error::Timeout(5000)],
        ..tried()
    };
    assert_eq!(
        starla("1001", entry),
        include_str!("../../../../../tests/golden/starla/dns-timeout.result")
    );
}

#[test]
fn what_the_protocol_reference_does_not_show_follows_its_spacing() {
    let entry = Entry {
        server: Some("ns.example.net".to_owned()),
        retries: 1,
        ttl: Some(57),
        errors: vec![
            Error::Send("Operation not permitted".to_owned(), true),
            Error::Timeout(900),
        ],
        query: Some(vec![0; 3]),
        place: Some((1, 1)),
        tls: Some("rustls 0"),
        ..tried()
    };
    assert_eq!(
        starla("7", entry),
        concat!(
            r#"RESULT { "id":"7", "fw":5120, "mver": "2.6.4", "lts":12, "time":1700000000, "resultset":[ { "#,
            r#""lts":12, "time":1700000000, "sslvers":"rustls 0", "subid":1, "submax":1, "dst_name":"ns.example.net", "#,
            r#""af":4, "dst_addr":"192.0.2.53", "dst_port":"53", "src_addr":"198.51.100.7", "retry":1, "proto":"UDP", "#,
            r#""ttl":57, "qbuf":"AAAA", "result": { "error":{"senderror":"AF Operation not permitted, AF_INET", "#,
            "\"timeout\":900} } } ] }\n"
        )
    );
}

fn starla(id: &str, entry: Entry) -> String {
    let body = Body {
        resolvers: entry.place.is_some(),
        entries: vec![entry],
        counts: Counts::default(),
    };
    body.line(&head(Some(id), None), Dialect::Starla)
}
