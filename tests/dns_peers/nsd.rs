//! Against NSD, an authoritative server.

use starling::wire::dns;

use crate::{
    answers, message, peers, rcode, run, run_with,
    server::{self, Server},
};

const ZONE: &str = r#"$ORIGIN example.test.
$TTL 300
@       SOA ns.example.test. hostmaster.example.test. 2024010100 3600 900 604800 300
@       NS ns
@       MX 10 mail
@       TXT "first \"quoted\"" "" "second\\\007"
@       RP hostmaster txt
@       AFSDB 1 afs
@       LOC 52 22 23.000 N 4 53 32.000 E -2.00m 0.00m 10000m 10m
@       NAPTR 100 10 "u" "E2U+sip" "!^.*$!sip:a@example.test!" .
@       CERT 1 0 0 dGVzdA==
@       APL 1:192.0.2.0/24
@       DS 12345 8 2 49FD46E6C4B45C55D4AC69CBD3CD34AC1AFE51DE49FD46E6C4B45C55D4AC69CB
@       SSHFP 1 1 123456789abcdef67890123456789abcdef67890
@       IPSECKEY 10 1 2 192.0.2.38 AQNRU3mG7TVTO2BkR47usntb102uFJtugbo6BSGvgqt4AQ==
@       RRSIG SOA 8 2 300 20300101000000 20200101000000 12345 example.test. dGVzdA==
@       NSEC a.example.test. A NS SOA
@       DNSKEY 257 3 8 AwEAAcNEU67LJI5GEgF9QLNqLO1SMq1EdoQ6E9f85ha0k0ewQGCblyW2
@       NSEC3PARAM 1 0 10 AABB
@       SPF "v=spf1 -all"
@       CAA 0 issue "ca.example.test"
@       TYPE24 \# 23 000608020000012c70dbd8805e0be10030390074657374
@       TYPE32768 \# 4 00010002
@       TYPE32769 \# 4 00010002
ns      A 127.0.0.1
mail    A 192.0.2.25
a       A 192.0.2.1
a       AAAA 2001:db8::1
c       CNAME a
d       DNAME other.test.
p       PTR a
s       SRV 0 5 5060 a
t       TLSA 3 1 1 d2abde240d7cd3ee6b4b28c54df034b97983a1d16e8a410e4561cb106618e971
big     TXT "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
big     TXT "1123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
big     TXT "2123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
big     TXT "3123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
big     TXT "4123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
big     TXT "5123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
"#;

/// NSD with the zone above, on both loopback addresses.
pub(crate) fn start() -> Option<Server> {
    if !peers::is_installed("nsd") {
        return None;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().display();
    let port = peers::free_port();
    std::fs::write(directory.path().join("zone"), ZONE).expect("a zone");
    let configuration = format!(
        "server:\n ip-address: 127.0.0.1@{port}\n ip-address: ::1@{port}\n username: \"\"\n zonesdir: \"{path}\"\n \
         pidfile: \"{path}/pid\"\n database: \"\"\n zonelistfile: \"{path}/zones\"\n xfrdfile: \"{path}/xfrd\"\n \
         xfrdir: \"{path}\"\n answer-cookie: yes\n identity: \"peer\"\n \
         nsid: \"ascii_peer\"\n server-count: 1\n minimal-responses: no\n refuse-any: no\n\
         remote-control:\n control-enable: no\n\
         zone:\n name: example.test\n zonefile: zone\n provide-xfr: 127.0.0.1 NOKEY\n"
    );
    Some(server::start("nsd", directory, port, &configuration))
}

#[test]
fn every_type_word_over_udp_and_tcp_and_both_families() {
    let Some(nsd) = start() else { return };
    let port = nsd.port;
    let apex = [
        "ns",
        "mx",
        "txt",
        "rp",
        "afsdb",
        "sig",
        "loc",
        "naptr",
        "cert",
        "apl",
        "ds",
        "sshfp",
        "ipseckey",
        "rrsig",
        "nsec",
        "dnskey",
        "nsec3param",
        "spf",
        "any",
        "caa",
        "ta",
        "dlv",
        "soa",
    ];
    let apex = apex.map(|word| (word, "example.test."));
    let below = [
        ("a", "a.example.test."),
        ("aaaa", "a.example.test."),
        ("cname", "c.example.test."),
        ("dname", "d.example.test."),
        ("ptr", "p.example.test."),
        ("srv", "s.example.test."),
        ("tlsa", "t.example.test."),
    ];
    for (word, name) in apex.into_iter().chain(below) {
        for (transport, server) in [
            ("-4", "127.0.0.1"),
            ("-6", "::1"),
            ("-4 -t", "127.0.0.1"),
            ("-6 -t", "::1"),
        ] {
            let ran = run(&format!(
                "evtdig {transport} --port {port} -e 4096 --{word} {name} {server}"
            ));
            let line = ran.line.clone();
            let entry = ran.answered();
            assert_eq!(rcode(&entry), 0, "{line}");
            // A parent holds DS records, so a child answers none of its own.
            assert!(answers(&entry) > 0 || word == "ds", "{line}");
            assert_eq!(
                entry.reply.as_ref().is_some_and(|reply| reply.qt.is_some()),
                transport.contains("-t")
            );
        }
    }
}

#[test]
fn answers_in_words() {
    let Some(nsd) = start() else { return };
    let port = nsd.port;
    let line = run(&format!(
        "evtdig --port {port} --soa example.test. 127.0.0.1"
    ))
    .line;
    let soa = r#""answers" : [ { "TYPE" : "SOA" , "NAME" : "example.test." , "TTL" : 300 , "MNAME" : "ns.example.test." , "RNAME" : "hostmaster.example.test." , "SERIAL" : 2024010100 }  ] } }"#;
    assert!(line.trim_end().ends_with(soa), "{line}");
    let line = run(&format!(
        "evtdig --port {port} --txt example.test. 127.0.0.1"
    ))
    .line;
    let txt = r#""answers" : [ {"TYPE" : "TXT" , "NAME" : "example.test" , "RDATA" : [ "first \\034quoted\\034", "", "second\\092\\007" ] } ] } }"#;
    assert!(line.trim_end().ends_with(txt), "{line}");
    let line = run(&format!("evtdig --port {port} -h 127.0.0.1")).line;
    let own = r#""answers" : [ {"TYPE" : "TXT" , "NAME" : "hostname.bind" , "RDATA" : [ "peer" ] } ] } }"#;
    assert!(line.trim_end().ends_with(own), "{line}");
}

#[test]
fn a_truncated_reply_is_no_reason_for_tcp() {
    let Some(nsd) = start() else { return };
    let port = nsd.port;
    let entry = run(&format!(
        "evtdig --port {port} --txt big.example.test. 127.0.0.1"
    ))
    .answered();
    assert_eq!(message(&entry)[2] & 2, 2, "TC");
    assert_eq!(entry.protocol.name(), "UDP");
    let entry = run(&format!(
        "evtdig -t --port {port} --txt big.example.test. 127.0.0.1"
    ))
    .answered();
    assert_eq!((message(&entry)[2] & 2, answers(&entry)), (0, 6));
}

#[test]
fn names_that_are_not_there_and_zones_that_are_not_served_are_results() {
    let Some(nsd) = start() else { return };
    let port = nsd.port;
    for (name, code) in [("none.example.test.", 3), ("elsewhere.test.", 5)] {
        let entry = run(&format!("evtdig --port {port} --a {name} 127.0.0.1")).answered();
        assert_eq!(rcode(&entry), code, "{name}");
    }
}

#[test]
fn edns_options_are_understood() {
    let Some(nsd) = start() else { return };
    let port = nsd.port;
    let entry = run(&format!(
        "evtdig --nsid --ttl --port {port} --soa example.test. 127.0.0.1"
    ))
    .answered();
    assert!(
        message(&entry).windows(4).any(|part| part == b"peer"),
        "the server's NSID"
    );
    assert_eq!(entry.ttl, Some(64));
    let entry = run(&format!(
        "evtdig --edns-version 1 --port {port} --soa example.test. 127.0.0.1"
    ))
    .answered();
    assert_eq!(
        (rcode(&entry), answers(&entry)),
        (0, 0),
        "BADVERS is an extended code"
    );
    let words = "-R --ad --cd --do --client-subnet --edns-option 0xfde9 --edns-flags 2 --qbuf";
    let entry = run(&format!(
        "evtdig {words} --port {port} --soa example.test. ::1 -6"
    ))
    .answered();
    assert_eq!(rcode(&entry), 0);
    let query = dns::Query::parse(entry.query.as_deref().expect("a query")).expect("our own form");
    assert_eq!(query.flags, dns::RD | dns::AD | dns::CD);
    assert_eq!(
        query.opt.expect("an OPT record").options,
        [(8, vec![0, 2, 0, 0]), (0xfde9, vec![])]
    );
}

#[test]
fn the_servers_cookie_comes_back_in_the_next_run() {
    let Some(nsd) = start() else { return };
    let command = format!(
        "evtdig --cookies --qbuf --port {} --soa example.test. 127.0.0.1",
        nsd.port
    );
    let ran = run(&command);
    let carry = ran.carry.clone();
    let entry = ran.answered();
    let given = dns::cookie(message(&entry))
        .expect("the server answers cookies")
        .to_vec();
    assert!((16..=40).contains(&given.len()));
    let entry = run_with(&command, carry, |_| {}).answered();
    let query = dns::Query::parse(entry.query.as_deref().expect("a query")).expect("our own form");
    assert_eq!(query.opt.expect("an OPT record").options, [(10, given)]);
    assert!(!entry.reply.expect("a reply").cookie_mismatch);
}

#[test]
fn only_the_first_message_of_a_transfer_is_looked_at() {
    let Some(nsd) = start() else { return };
    let entry = run(&format!(
        "evtdig -t --port {} --axfr example.test. 127.0.0.1",
        nsd.port
    ))
    .answered();
    assert!(answers(&entry) > 20);
}
