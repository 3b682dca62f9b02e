//! Command lines in both dialects (`dns-measurement` section 1).

use proptest::prelude::*;

use super::{parsed, rules};
use crate::{
    dialect::Dialect,
    measurement::{
        Rules, SpecError,
        dns::{Options, RandomWord, Transport},
        machine::Family,
    },
    wire::dns::{AD, CD, DO, RD},
};

/// What the words ask for: name, type and class.
fn asks(words: &str) -> (String, u16, u16) {
    let words: Vec<&str> = words.split(' ').chain(["192.0.2.53"]).collect();
    let (_, options) = parsed(&words);
    (options.name, options.rtype, options.class)
}

fn options(words: &str) -> Options {
    let words: Vec<&str> = words.split(' ').chain(["-h", "192.0.2.53"]).collect();
    parsed(&words).1
}

fn refusal(words: &[&str]) -> SpecError {
    Options::parse(words, &rules(Dialect::Reference)).unwrap_err()
}

#[test]
fn type_class_and_name_are_independent() {
    for (words, name, rtype, class) in [
        ("-h", "hostname.bind.", 16, 3),
        ("--hostname.bind", "hostname.bind.", 16, 3),
        ("-i", "id.server.", 16, 3),
        ("-b", "version.bind.", 16, 3),
        ("-r", "version.server.", 16, 3),
        ("--a www.Example.com.", "www.Example.com.", 1, 1),
        ("-s .", ".", 6, 1),
        ("--soa .", ".", 6, 1),
        ("--type 1 --query x.", "x.", 1, 3),
        ("--a x. -h", "hostname.bind.", 1, 1),
        ("--class 0 --type 1 --query x.", "x.", 1, 1),
        ("--type 1 --class 0 --query x.", "x.", 1, 0),
        ("--type 65537 --class 65538 --query x.", "x.", 1, 2),
        ("--type 12junk --query x.", "x.", 12, 3),
        ("--aaaa x. --caa y.", "y.", 257, 1),
        ("--dlv x.", "x.", 32769, 1),
        ("--nsec3param x.", "x.", 51, 1),
    ] {
        assert_eq!(asks(words), (name.to_owned(), rtype, class), "{words}");
    }
}

#[test]
fn families() {
    for (words, family, subnet) in [
        ("--qbuf", Family::V4, 1),
        ("-4", Family::V4, 1),
        ("-6", Family::V6, 2),
        ("-a", Family::Both, 2),
        ("-4 -6", Family::Both, 2),
        ("-64", Family::Both, 1),
        ("-a -4", Family::Both, 1),
        ("--resolv", Family::Both, 2),
        ("--resolv -4", Family::Both, 1),
    ] {
        let options = options(words);
        assert_eq!(options.family, family, "{words}");
        assert_eq!(options.edns.stream_subnet_family, subnet, "{words}");
    }
}

#[test]
fn transports_and_their_ports() {
    for (words, transport, port) in [
        ("-4", Transport::Udp, "53"),
        ("-t", Transport::Tcp, "53"),
        ("--tls", Transport::Tls, "853"),
        ("--tls -t --port domain", Transport::Tls, "domain"),
        ("--https --tls", Transport::Https, "443"),
        ("--port=5300", Transport::Udp, "5300"),
    ] {
        let options = options(words);
        assert_eq!(
            (options.transport, &options.port[..]),
            (transport, port),
            "{words}"
        );
    }
    let options = options("--https --https-path /q{?dns} --sni-cert-name dns.example");
    assert_eq!(options.https_path, "/q{?dns}");
    assert_eq!(options.server_name.as_deref(), Some("dns.example"));
}

#[test]
fn header_flags_and_edns() {
    assert_eq!(options("-4").flags, 0);
    assert_eq!(options("-R").flags, RD);
    assert_eq!(options("--resolv").flags, RD);
    assert_eq!(options("--ad --cd").flags, AD | CD);
    for (words, wanted) in [
        ("-4", false),
        ("-e 512", false),
        ("-e512", false),
        ("-e 513", true),
        ("--edns0=1232", true),
        ("--edns-version 256", false),
        ("--edns-version 1", true),
        ("--edns-flags 0", false),
        ("--edns-flags 010", true),
        ("--edns-option 0", false),
        ("--edns-option 0xfde9", true),
        ("-n", true),
        ("--nsid", true),
        ("--client-subnet", true),
        ("--cookies", true),
        ("-d", true),
        ("--do", true),
    ] {
        assert_eq!(options(words).edns.is_wanted(), wanted, "{words}");
    }
    assert_eq!(options("-d --edns-flags 0x10").edns.flags, DO | 0x10);
    assert_eq!(options("--edns-flags 8 --edns-flags 010").edns.flags, 8);
    assert_eq!(options("--edns-option 0xfde9").edns.option, 0xfde9);
    assert_eq!(options("-e 66768").edns.payload, 1232);
}

#[test]
fn behaviour_and_output() {
    let words = [
        "--retry",
        "2",
        "--tim",
        "900",
        "--p_probe_id",
        "--qbuf",
        "--no",
        "--ttl",
        "--evdns",
        "-I",
        "eth0",
        "-A",
        "1001",
        "-B",
        "44",
        "-O",
        "/home/atlas/data/new/7",
        "--ipv6-dest-option",
        "128",
        "-6dn",
        "--a",
        "x.",
        "ns.example.net",
    ];
    let (common, options) = parsed(&words);
    assert_eq!(common.id.as_deref(), Some("1001"));
    assert_eq!(common.bundle.as_deref(), Some("44"));
    assert_eq!(
        common.output.unwrap().to_str(),
        Some("/var/spool/starling/data/new/7")
    );
    assert_eq!((options.retry, options.timeout), (2, 900));
    assert!(options.prefix_probe && options.qbuf && !options.abuf && options.ttl);
    assert_eq!(options.interface.as_deref(), Some("eth0"));
    assert_eq!(options.destination_option, 128);
    assert_eq!(options.server, "ns.example.net");
}

#[test]
fn recordings_are_read_and_written_below_data() {
    let (common, _) = parsed(&[
        "-h",
        "--read-response",
        "/home/atlas/data/a",
        "--write-response=/home/atlas/data/b",
        "x",
    ]);
    assert_eq!(
        common.replay.unwrap().to_str(),
        Some("/var/spool/starling/data/a")
    );
    assert_eq!(
        common.record.unwrap().to_str(),
        Some("/var/spool/starling/data/b")
    );
}

#[test]
fn numbers_are_not_range_checked() {
    let options = options("--retry 99999999999 --timeout -1 --ipv6-dest-option 99999");
    assert_eq!((options.retry, options.timeout), (u32::MAX, u64::MAX));
    assert_eq!(options.destination_option, u16::MAX);
}

#[test]
fn lines_that_a_genuine_probe_refuses() {
    for words in [
        &["-h"][..],
        &["-h", "192.0.2.1", "192.0.2.2"],
        &["-h", "+dnssec", "192.0.2.1"],
        &["192.0.2.1"],
        &["--a", "www.example.com", "192.0.2.1"],
        &["--a", "", "192.0.2.1"],
        &["-T", "-h", "192.0.2.1"],
        &["-c", "IN", "-h", "192.0.2.1"],
        &["--edns", "5", "-h", "192.0.2.1"],
        &["--q", "x.", "192.0.2.1"],
        &["--key", "x.", "192.0.2.1"],
        &["--c_output", "-h", "192.0.2.1"],
        &["-q", "-h", "192.0.2.1"],
        &["-?", "-h", "192.0.2.1"],
        &["-D", "X", "-h", "192.0.2.1"],
        &["-A", "1x", "-h", "192.0.2.1"],
        &["-B", "x", "-h", "192.0.2.1"],
        &["-O", "/etc/passwd", "-h", "192.0.2.1"],
        &["-O", "/home/atlas/data/new/../x", "-h", "192.0.2.1"],
        &["-h", "192.0.2.1", "--soa"],
        &["--resolv"],
    ] {
        let _ = refusal(words);
    }
}

#[test]
fn with_resolvers_further_words_are_ignored() {
    let (_, options) = parsed(&["--resolv", "-h", "x", "y"]);
    assert!(options.resolv);
    assert_eq!(options.server, "");
}

#[test]
fn an_at_sign_before_the_server_is_accepted() {
    assert_eq!(parsed(&["-h", "@192.0.2.53"]).1.server, "192.0.2.53");
}

/// What the words mean in the dialect of the protocol reference's page.
fn page(words: &str) -> Result<Options, SpecError> {
    let words: Vec<&str> = words.split(' ').collect();
    Options::parse(&words, &rules(Dialect::Starla)).map(|(_, options)| options)
}

#[test]
fn the_flag_table_of_the_protocol_reference() {
    let asked = |words: &str| {
        let options = page(words).unwrap();
        assert_eq!(options.server, "192.0.2.53", "{words}");
        (options.name, options.rtype, options.class)
    };
    for (words, name, rtype, class) in [
        ("@192.0.2.53 www.example.com", "www.example.com.", 1, 1),
        (
            "-t AAAA @192.0.2.53 www.example.com.",
            "www.example.com.",
            28,
            1,
        ),
        ("-t 28 -c CH @192.0.2.53 x", "x.", 28, 3),
        ("-t TYPE65 -c CLASS4 @192.0.2.53 x", "x.", 65, 4),
        ("-h @192.0.2.53", "hostname.bind.", 16, 3),
        ("--type 1 --class 1 -b @192.0.2.53", "version.bind.", 16, 3),
        ("-i 192.0.2.53", "id.server.", 16, 3),
        ("--soa @192.0.2.53", ".", 6, 1),
        (
            "-4 --type 16 --class 3 --query hostname.bind 192.0.2.53",
            "hostname.bind.",
            16,
            3,
        ),
        ("--type 28 --query x. @192.0.2.53", "x.", 28, 1),
        ("--mx x 192.0.2.53", "x.", 15, 1),
    ] {
        assert_eq!(asked(words), (name.to_owned(), rtype, class), "{words}");
    }
}

#[test]
fn recursion_is_desired_unless_taken_back_in_the_other_dialect() {
    assert_eq!(page("-h @192.0.2.53").unwrap().flags, RD);
    assert_eq!(page("-R -h @192.0.2.53").unwrap().flags, 0);
    assert_eq!(
        page("-h @192.0.2.53").unwrap().random_word,
        RandomWord::Alphanumeric
    );
    assert_eq!(options("-4").random_word, RandomWord::Hexadecimal);
}

#[test]
fn tcp_and_dnssec_in_the_other_dialect() {
    assert_eq!(page("-T -h @192.0.2.53").unwrap().transport, Transport::Tcp);
    for words in [
        "-r -h @192.0.2.53",
        "-d -h @192.0.2.53",
        "-h @192.0.2.53 +dnssec",
    ] {
        assert_eq!(page(words).unwrap().edns.flags, DO, "{words}");
    }
    assert_eq!(page("-e 1232 -h @192.0.2.53").unwrap().edns.payload, 1232);
}

#[test]
fn words_that_mean_nothing_in_the_other_dialect() {
    for words in [
        "-h",
        "@192.0.2.53",
        "-h @192.0.2.53 @192.0.2.54",
        "-h @192.0.2.53 +short",
        "@192.0.2.53 a b",
        "-t nonsense @192.0.2.53 x",
        "-c nonsense @192.0.2.53 x",
        "-t 65536 @192.0.2.53 x",
    ] {
        assert!(page(words).is_err(), "{words}");
    }
    assert_eq!(page("--resolv x").unwrap().name, "x.");
}

proptest! {
    #[test]
    fn no_words_panic(words in prop::collection::vec("(-[46adtTrRhibnseABIO?]|--[a-z0-9_.-]{1,6}|@?[a-z.]{0,4}|[0-9]{1,3})", 0..8)) {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        for dialect in Dialect::ALL {
            let rules = Rules { unsafe_paths: true, ..rules(dialect) };
            if let Ok((_, options)) = Options::parse(&words, &rules) {
                prop_assert!(options.name.ends_with('.'));
            }
        }
    }
}
