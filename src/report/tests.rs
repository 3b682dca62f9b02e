//! Each line, written out from the specification.

use std::time::Duration;

use super::{
    lines::{
        self, Addresses, Busy, Disk, Inet, Inet6, Interface, NotRun, Route, Route6, Runner, Stamp,
        Uptime,
    },
    parse,
};
use crate::{clock::UnixTime, dialect::Dialect};

const NOW: UnixTime = UnixTime::from_secs(1_775_483_034);

fn stamp(dialect: Dialect) -> Stamp<'static> {
    Stamp {
        version: "\"fw\":5120, \"mver\": \"2.6.4\"",
        time: NOW,
        lts: 12,
        dialect,
    }
}

const DISK: Disk = Disk {
    block_size: 4096,
    blocks: 1000,
    free: 250,
};
const UPTIME: Uptime = Uptime {
    host: Duration::from_millis(86_400_999),
    process: Duration::from_secs(77),
};

fn eth0() -> Interface {
    Interface {
        name: "eth0".to_owned(),
        received: [1, 2, 3, 4, 5, 6, 7, 8],
        sent: [9, 10, 11, 12, 13, 14, 15, 16],
    }
}

#[test]
fn the_reference_status_block_stands_as_the_official_probe_prints_its_lines() {
    let expected = concat!(
        r#"RESULT { "id":"9018", "fw":5120, "mver": "2.6.4", "time": 1775483034, "bsize": 4096, "blocks": 1000, "bfree": 250, "free": 1000 }"#,
        "\n",
        r#"RESULT { "id": "7001", "fw":5120, "mver": "2.6.4", "time": 1775483034, "lts": 12, "uptime": 86400 }"#,
        "\n",
        r#"RESULT { "id": "9002", "fw":5120, "mver": "2.6.4", "time": 1775483034, "lts": 12, "interfaces": [ { "name": "eth0", "bytes_recv": 1, "pkt_recv": 2, "errors_recv": 3, "dropped_recv": 4, "fifo_recv": 5, "framing_recv": 6, "compressed_recv": 7, "multicast_recv": 8, "bytes_sent": 9, "pkt_sent": 10, "errors_sent": 11, "dropped_sent": 12, "fifo_sent": 13, "collisions_sent": 14, "carr_lost_sent": 15, "compressed_sent": 16 } ] }"#,
        "\n",
        "RESULT 9901 ongoing 1775483034 /home/atlas/data/new/main\n",
    );
    assert_eq!(
        lines::status(&stamp(Dialect::Reference), DISK, UPTIME, &[eth0()]),
        expected
    );
}

#[test]
fn the_starla_status_block_is_compact_and_tells_the_process() {
    let expected = concat!(
        r#"RESULT { "id":"9018", "fw":5120, "mver": "2.6.4", "time":1775483034, "bsize":4096, "blocks":1000, "bfree":250, "free":1000 }"#,
        "\n",
        r#"RESULT { "id": "7001", "fw":5120, "mver": "2.6.4", "lts":12, "time":1775483034, "uptime":77 }"#,
        "\n",
        r#"RESULT { "id": "9002", "fw":5120, "mver": "2.6.4", "lts":12, "time":1775483034, "interfaces":[ { "name":"eth0", "bytes_recv":1, "pkt_recv":2, "bytes_sent":9, "pkt_sent":10 }, { "name":"lo", "bytes_recv":0, "pkt_recv":0, "bytes_sent":0, "pkt_sent":0 } ] }"#,
        "\n",
        "RESULT 9901 ongoing 1775483034 starla\n",
    );
    let lo = Interface {
        name: "lo".to_owned(),
        ..Interface::default()
    };
    assert_eq!(
        lines::status(&stamp(Dialect::Starla), DISK, UPTIME, &[eth0(), lo]),
        expected
    );
}

#[test]
fn a_marker_is_one_line_whatever_its_text() {
    assert_eq!(
        lines::marker(9000, NOW, "0200c0000201", "STARTING TELNETD LOCALLY"),
        "RESULT 9000 done 1775483034 0200c0000201 STARTING TELNETD LOCALLY\n"
    );
    assert_eq!(
        lines::marker(9011, NOW, "", "stderr a\nb\r"),
        "RESULT 9011 done 1775483034  stderr a b \n"
    );
}

#[test]
fn a_refused_command_is_told_with_its_reason_and_escaped() {
    let stamp = stamp(Dialect::Reference);
    assert_eq!(
        lines::not_run(
            &stamp,
            Runner::Periodic,
            NotRun::Line("command not found"),
            "evfoo \"a\\b\"\t\u{e9}"
        ),
        concat!(
            r#"RESULT { "id":"9807", "fw":5120, "mver": "2.6.4", "time":1775483034, "reason":"command not found", "#,
            r#""cmd": "evfoo \"a\\b\"\u0009\u00c3\u00a9" }"#,
            "\n"
        )
    );
    assert_eq!(
        lines::not_run(&stamp, Runner::OneOff, NotRun::Options, "evping"),
        "RESULT { \"id\":\"9809\", \"fw\":5120, \"mver\": \"2.6.4\", \"time\":1775483034, \"cmd\": \"evping\" }\n"
    );
    let why = NotRun::Inconsistent {
        now: 100,
        planned: 50,
        wait: 5,
        cycle: 3,
        generated: 45,
    };
    assert_eq!(
        lines::not_run(&stamp, Runner::Periodic, why, "evping"),
        concat!(
            r#"RESULT { "id":"9807", "fw":5120, "mver": "2.6.4", "time":1775483034, "reason": "inconsistent time; "#,
            r#"now 100; nexttime 50; waittime 5; cycle 3; generated 45", "cmd": "evping" }"#,
            "\n"
        )
    );
}

#[test]
fn a_busy_query_is_told_with_what_it_is() {
    let started = UnixTime::from_secs(1_775_483_000);
    let with_repeats = |id, bundle, repeats, most_repeats| {
        lines::busy(
            &stamp(Dialect::Reference),
            Busy {
                id,
                bundle,
                started,
                repeats,
                most_repeats,
            },
        )
    };
    let told = |id, bundle| with_repeats(id, bundle, 0, 0);
    let head = concat!(
        r#"RESULT { "fw":5120, "mver": "2.6.4","id" : 9202 ,"time" : 1775483034 ,"error" : "#,
        r#"[{ "query busy": "not starting a new one. previous one is not done yet"}"#
    );
    assert_eq!(told(None, Some("7")), format!("{head}]}}\n"));
    assert_eq!(
        told(Some("1001"), Some("7")),
        format!("{head},{{\"id\" : \"1001\",\"bundle\" : 7,\"start time\" : 1775483000}}]}}\n")
    );
    assert_eq!(
        told(Some("1001"), None),
        format!("{head},{{\"id\" : \"1001\",\"start time\" : 1775483000}}]}}\n")
    );
    assert_eq!(
        with_repeats(Some("1001"), Some("007"), 2, 5),
        format!(
            "{head},{{\"id\" : \"1001\",\"bundle\" : 7,\"start time\" : 1775483000,\"retry\": 2,\"retry max\": 5}}]}}\n"
        )
    );
    assert_eq!(
        with_repeats(Some("1001"), Some(""), 0, 3),
        format!(
            "{head},{{\"id\" : \"1001\",\"bundle\" : 0,\"start time\" : 1775483000,\"retry max\": 3}}]}}\n"
        )
    );
}

#[test]
fn addresses_are_told_with_their_odd_spacing() {
    let told = Addresses {
        inet: vec![
            Inet {
                address: [127, 0, 0, 1].into(),
                netmask: [255, 0, 0, 0].into(),
                interface: "lo".to_owned(),
            },
            Inet {
                address: [192, 0, 2, 7].into(),
                netmask: [255, 255, 255, 0].into(),
                interface: "eth0".to_owned(),
            },
        ],
        routes: vec![Route {
            destination: [0, 0, 0, 0].into(),
            netmask: [0, 0, 0, 0].into(),
            next_hop: [192, 0, 2, 1].into(),
            interface: "eth0".to_owned(),
        }],
        inet6: ["2001:db8::7", "fe80::7"]
            .map(|address| Inet6 {
                address: address.parse().unwrap(),
                prefix: 64,
                scope: if address.starts_with("fe80") { 0x20 } else { 0 },
                interface: "eth0".to_owned(),
            })
            .to_vec(),
        routes6: vec![Route6 {
            destination: "::".parse().unwrap(),
            prefix: 0,
            next_hop: "fe80::1".parse().unwrap(),
            flags: Route6::UP | Route6::GATEWAY | Route6::DEFAULT | Route6::ADDRCONF,
            metric: -1,
            interface: "eth0".to_owned(),
        }],
        nameservers: vec!["192.0.2.53".to_owned()],
    };
    assert_eq!(
        lines::addresses(NOW, &lines::addresses_text(&told)),
        concat!(
            r#"RESULT { "id" : "9104" , "time" : 1775483034 , "#,
            r#""inet-addresses": [ { "inet-addr": "127.0.0.1", "netmask": "255.0.0.0", "interface": "lo" }, "#,
            r#"{ "inet-addr": "192.0.2.7", "netmask": "255.255.255.0", "interface": "eth0" } ], "#,
            r#""inet-routes": [ { "destination": "0.0.0.0", "netmask": "0.0.0.0", "next-hop": "192.0.2.1", "interface": "eth0" } ], "#,
            r#""inet-dhcp": true, "#,
            r#""inet6-addresses" : [ {"inet6-addr" : "2001:db8::7", "prefix-length" : 64,"scope" : "Global", "interface" : "eth0"} , "#,
            r#"{"inet6-addr" : "fe80::7", "prefix-length" : 64,"scope" : "Link", "interface" : "eth0"}], "#,
            r#""inet6-routes" : [ {"destination" : "::", "prefix-length" : 0,"next-hop" : "fe80::1", "flags" : "GDA", "metric" : -1 , "interface" : "eth0"}], "#,
            r#""dns": [ { "nameserver": "192.0.2.53" } ]}"#,
            "\n"
        )
    );
}

#[test]
fn a_host_without_addresses_tells_empty_lists_and_no_ipv6() {
    assert_eq!(
        lines::addresses_text(&Addresses::default()),
        r#""inet-addresses": [  ], "inet-routes": [  ], "inet-dhcp": true, "dns": [  ]"#
    );
}

#[test]
fn interface_counters_are_read_where_the_name_touches_them() {
    let text = concat!(
        "Inter-|   Receive                                                |  Transmit\n",
        " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n",
        "    lo:    1024      10    0    0    0     0          0         0     1024      10    0    0    0     0       0          0\n",
        "eth0:4294967296 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n",
        "cut:1 2 3\n",
    );
    let read = parse::interfaces(text);
    assert_eq!(read.len(), 2);
    assert_eq!(
        (read[0].name.as_str(), read[0].received[0], read[0].sent[1]),
        ("lo", 1024, 10)
    );
    assert_eq!(read[1].name, "eth0");
    assert_eq!(read[1].received, [4_294_967_296, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(read[1].sent, [9, 10, 11, 12, 13, 14, 15, 16]);
}

#[test]
#[cfg(target_endian = "little")]
fn routes_are_read_with_their_bytes_in_order() {
    let text = concat!(
        "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n",
        "eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n",
        "eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n",
        "eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FF",
    );
    let read = parse::routes(text, 10);
    assert_eq!(read.len(), 2, "a line that was cut off is not a route");
    assert_eq!(read[0].next_hop, std::net::Ipv4Addr::new(192, 0, 2, 1));
    assert_eq!(read[1].destination, std::net::Ipv4Addr::new(192, 0, 2, 0));
    assert_eq!(read[1].netmask, std::net::Ipv4Addr::new(255, 255, 255, 0));
    assert_eq!(parse::routes(text, 1).len(), 1);
}

#[test]
fn only_the_ipv6_routes_that_are_told_are_read() {
    let net = "20010db8000000000000000000000000";
    let any = "00000000000000000000000000000000";
    let multicast = "ff000000000000000000000000000000";
    let route = |to: &str, prefix: &str, flags: &str| {
        format!("{to} {prefix} {any} 00 {any} ffffffff 00000001 00000000 {flags}     eth0\n")
    };
    let text = [
        route(net, "20", "00000001"),
        route(net, "20", "00000000"),
        route(net, "80", "00000001"),
        route(multicast, "08", "00000001"),
        route(net, "40", "01040001"),
    ]
    .concat();
    let read = parse::routes6(&text, 10);
    assert_eq!(read.len(), 1);
    assert_eq!(
        (read[0].prefix, read[0].metric, read[0].interface.as_str()),
        (32, -1, "eth0")
    );
}

#[test]
fn ipv6_addresses_are_read() {
    let text = "fe8000000000000000000000000000aa 02 40 20 80     eth0\n00000000000000000000000000000001 01 80 10 80       lo\n";
    let read = parse::inet6(text, 10);
    assert_eq!(
        read[0].address,
        "fe80::aa".parse::<std::net::Ipv6Addr>().unwrap()
    );
    assert_eq!(
        (read[0].prefix, read[0].scope, read[1].scope),
        (64, 0x20, 0x10)
    );
}

#[test]
fn the_first_three_name_servers_are_read() {
    let text = "# nameserver 192.0.2.9\nsearch example.org\nnameserver 192.0.2.1\nnameserver\t2001:db8::1 # x\nnameserver\nnameserver c\nnameserver d\n";
    assert_eq!(parse::nameservers(text), ["192.0.2.1", "2001:db8::1", "c"]);
}

#[test]
fn the_release_is_read_as_a_shell_would() {
    let text = "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nVERSION_ID=\"12\"\nID=debian\n";
    assert_eq!(
        parse::os_release(text),
        ("debian".to_owned(), "12".to_owned())
    );
    assert_eq!(
        parse::os_release("ID='a b'\nVERSION_ID=\n"),
        ("ab".to_owned(), "unknown".to_owned())
    );
    assert_eq!(
        parse::os_release(""),
        ("generic".to_owned(), "unknown".to_owned())
    );
}

#[test]
fn the_uptime_is_whole_seconds() {
    assert_eq!(
        parse::uptime("86400.99 1234.5\n"),
        Some(Duration::from_secs(86_400))
    );
    assert_eq!(parse::uptime("x"), None);
}

proptest::proptest! {
    #[test]
    fn no_text_makes_a_parser_panic(text in "\\PC{0,200}(\n\\PC{0,80}){0,4}") {
        let _ = parse::interfaces(&text);
        let _ = parse::routes(&text, 5);
        let _ = parse::inet6(&text, 5);
        let _ = parse::routes6(&text, 5);
        let _ = parse::nameservers(&text);
        let _ = parse::os_release(&text);
        let _ = parse::uptime(&text);
    }
}

#[test]
fn a_new_resolver_file_is_told() {
    assert_eq!(
        lines::resolver_loaded(&stamp(Dialect::Reference), Runner::OneOff, 6),
        concat!(
            r#"RESULT { "id":"9809", "fw":5120, "mver": "2.6.4", "time":1775483034, "event": "load resolv.conf", "result": 6 }"#,
            "\n"
        )
    );
}
