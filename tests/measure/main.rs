//! `starling measure` as a person meets it: the real binary among hosts in network namespaces.
//!
//! `cargo test --test measure [PART OF A NAME]`. Brings its own `main`, since all cases run inside namespaces.

#![allow(
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking and speaks on stdout"
)]

#[path = "../support/cases.rs"]
mod cases;
mod ground;
#[path = "../support/netns.rs"]
mod netns;
mod said;

use std::{collections::BTreeSet, fs, io::Read as _, process::ExitCode};

use cases::{Case, cases};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use said::{Said, begin, measure, unprivileged};
use serde_json::Value;

const FAR: [&str; 2] = ["198.51.100.2", "2001:db8:2::2"];
const ROUTER: [&str; 2] = ["192.0.2.254", "2001:db8:1::fe"];
/// What the router has no way to, drops, and forbids.
const UNREACHABLE: [&str; 2] = ["203.0.113.1", "2001:db8:f::1"];
const SILENT: &str = "203.0.113.2";
const FORBIDDEN: &str = "203.0.113.3";

const CASES: &[Case] = cases![
    help_says_what_there_is,
    what_cannot_be_used_is_said_on_stderr,
    ping_answers,
    ping_ends_with_the_last_reply,
    ping_of_nobody_is_an_answer_of_its_own,
    what_a_result_does_not_say_is_told_beside_it,
    a_time_server_that_is_silent_is_said_to_be,
    link_local_targets_are_reached_through_the_interface_they_name,
    an_interface_may_be_named_by_its_number,
    only_interfaces_that_exist_are_printed_behind_a_link_local_address,
    quiet_ping_says_the_summary_only,
    a_name_without_ipv4_is_reached_by_ipv6,
    traceroute_finds_the_way,
    traceroute_tells_why_a_target_is_not_reached,
    traceroute_shows_names_on_request,
    a_name_server_that_is_silent_costs_names_only,
    ntp_says_which_clock_is_ahead,
    dns_shows_the_reply,
    dns_asks_the_servers_of_the_resolver_file,
    dns_that_nobody_answers_is_told,
    every_type_gives_json_and_result_lines,
    a_closed_pipe_ends_the_run_without_a_word,
    an_interrupt_prints_what_there_is,
    // A new namespace allows no group datagram ICMP, and once allowed it cannot be taken back from within.
    without_any_socket_it_says_how_to_get_one,
    without_raw_sockets_it_does_what_it_can,
];

fn main() -> ExitCode {
    if !netns::is_inside() {
        return netns::run_inside();
    }
    netns::two_hosts_and_a_router();
    ground::prepare();
    cases::run(CASES)
}

fn help_says_what_there_is() {
    let help = measure("--help").ended(0);
    for word in ["ping", "traceroute", "dns", "tls", "http", "ntp", "evping"] {
        assert!(help.contains(word), "{word}: {help}");
    }
    for kind in ["ping", "traceroute", "dns", "ntp"] {
        let help = measure(&format!("{kind} --help")).ended(0);
        assert!(
            help.contains("--json") && help.contains("Examples:"),
            "{help}"
        );
        let usage = format!("Usage: starling measure {kind} ");
        assert!(help.contains(&usage), "{help}");
    }
}

fn what_cannot_be_used_is_said_on_stderr() {
    for (line, culprit) in [
        ("ping", "TARGET"),
        ("ping --frobnicate 192.0.2.1", "--frobnicate"),
        ("ping -i 2m 192.0.2.1", "2m"),
        ("ping -s 20 192.0.2.1", "32..=4048"),
        ("ping -4 2001:db8::1", "is an IPv6 address"),
        ("ntp -6 192.0.2.1", "is an IPv4 address"),
        ("traceroute -f 9 -m 3 192.0.2.1", "--max-hops 3"),
        ("traceroute --port 80 192.0.2.1", "--tcp"),
        ("traceroute --icmp --udp 192.0.2.1", "--icmp"),
        ("ntp --size 27 192.0.2.1", "27"),
        ("dns", "WORD"),
        ("dns x y", "`y`"),
        ("dns --type nonsense a", "nonsense"),
        ("pong 192.0.2.1", "pong"),
    ] {
        let said = measure(line);
        assert_eq!(said.code, Some(64), "{line}: {}", said.err);
        assert!(said.err.contains(culprit), "{line}: {}", said.err);
        assert_eq!(said.out, "", "{line}");
    }
}

fn ping_answers() {
    for far in FAR {
        let out = measure(&format!("ping -c 2 -i 0.02 {far}")).ended(0);
        let lines: Vec<&str> = out.lines().collect();
        assert_eq!(lines.len(), 5, "{out}");
        assert!(
            lines[0].starts_with(&format!("PING {far} ({far}) from ")),
            "{out}"
        );
        let second = format!("64 octets from {far}: icmp_seq=2 ttl=63 time=");
        assert!(lines[2].starts_with(&second), "{out}");
        let tally = format!("--- {far}: 2 sent, 2 answered, 0 lost (0%)");
        assert_eq!(lines[3], tally, "{out}");
        assert!(lines[4].contains("rtt min/avg/max/mdev = "), "{out}");
    }
}

fn ping_ends_with_the_last_reply() {
    let transcript = "/run/ping.transcript";
    for form in ["", "--json"] {
        let line = format!(
            "--transcript {transcript} ping -c 1 -i 60s {form} {}",
            FAR[0]
        );
        measure(&line).ended(0);
        let run = fs::read_to_string(transcript).expect("it was written");
        assert!(
            run.contains(" in  stop") && !run.contains(" in  deadline"),
            "{run}"
        );
    }
}

fn ping_of_nobody_is_an_answer_of_its_own() {
    let out = measure(&format!("ping -c 1 -i 50ms {SILENT}")).advised("traceroute --icmp");
    assert!(out.contains("icmp_seq=1 no reply within 50 ms"), "{out}");
    assert!(out.contains("1 sent, 0 answered, 1 lost (100%)"), "{out}");
    let out = measure("ping nobody.test").advised("no such name");
    assert!(out.contains("not known"), "{out}");
    for kind in ["ping", "traceroute", "ntp"] {
        let out = measure(&format!("{kind} fe80::1")).advised("as in fe80::1%eth0");
        assert!(out.contains("Invalid argument"), "{out}");
        let line = format!("{kind} --interface nosuch {}", FAR[0]);
        let out = measure(&line).advised("`ip address`");
        assert!(out.contains("interface failed"), "{out}");
    }
}

fn what_a_result_does_not_say_is_told_beside_it() {
    let line = format!("traceroute -F -s 4096 -q 1 -w 10ms -g 1 {}", FAR[0]);
    let out = measure(&line).advised("smaller --size");
    assert!(out.contains("nobody answered"), "{out}");
    for far in FAR {
        let line = format!("ntp -c 1 -w 200ms {far}");
        let out = measure(&line).advised("nothing listens on that port");
        assert!(out.contains("no reply within 200 ms"), "{out}");
    }
}

fn a_time_server_that_is_silent_is_said_to_be() {
    let out = measure(&format!("ntp -c 1 -w 50ms {SILENT}")).advised("measure traceroute");
    assert!(out.contains("1 asked, 0 answered"), "{out}");
}

fn link_local_targets_are_reached_through_the_interface_they_name() {
    netns::run("ip -n router address add fe80::fe/64 dev near1 nodad");
    for line in [
        "ping -c 1",
        "traceroute --udp -q 1",
        "traceroute --icmp -q 1",
        "traceroute --tcp -q 1",
    ] {
        let out = measure(&format!("{line} --json fe80::fe%near0")).ended(0);
        let json: Value = serde_json::from_str(&out).unwrap();
        assert_eq!(json["dst_addr"], "fe80::fe%near0", "{out}");
        let source = json["src_addr"].as_str().unwrap();
        assert!(
            source.starts_with("fe80::") && source.ends_with("%near0"),
            "{out}"
        );
        if line.starts_with("traceroute") {
            let hop = &json["result"][0]["result"][0];
            assert_eq!(hop["from"], "fe80::fe%near0", "{out}");
        }
    }
}

fn an_interface_may_be_named_by_its_number() {
    netns::run("ip -n router address add fe80::fd/64 dev near1 nodad");
    let index = nix::net::if_::if_nametoindex("near0").unwrap();
    for line in ["ping -c 1", "traceroute -q 1"] {
        let out = measure(&format!("{line} --json fe80::fd%{index}")).ended(0);
        let json: Value = serde_json::from_str(&out).unwrap();
        assert_eq!(json["dst_addr"], "fe80::fd%near0", "{out}");
    }
}

fn only_interfaces_that_exist_are_printed_behind_a_link_local_address() {
    let line = "--allow-any-address evntp -6 -c 1 -i";
    for (interface, printed) in [("nosuch", "fe80::1\","), ("2001:db8::99", "fe80::1\",")] {
        let said = measure(&format!("{line} {interface} fe80::1"));
        assert!(
            said.out.contains(&format!("\"dst_addr\":\"{printed}")),
            "{}",
            said.out
        );
    }
    let said = measure("--allow-any-address evntp -6 -c 1 -w 10 -i near0 fe80::1");
    assert!(
        said.out.contains("\"dst_addr\":\"fe80::1%near0\""),
        "{}",
        said.out
    );
}

fn quiet_ping_says_the_summary_only() {
    let out = measure("ping -q -c 2 -i 10ms here.test").ended(0);
    assert!(!out.contains("icmp_seq"), "{out}");
    assert!(out.contains("--- here.test: 2 sent, 2 answered"), "{out}");
}

fn a_name_without_ipv4_is_reached_by_ipv6() {
    let out = measure("ping -c 1 -i 10ms only-six.test").ended(0);
    assert!(out.contains("PING only-six.test (::1) from ::1"), "{out}");
    let out = measure("ping -4 -c 1 -i 10ms only-six.test").advised("of the wanted family");
    assert_eq!(out.matches("resolution failed").count(), 1, "{out}");
}

fn traceroute_finds_the_way() {
    for (far, router) in FAR.into_iter().zip(ROUTER) {
        for protocol in ["--udp", "--icmp", "--tcp"] {
            let out = measure(&format!("traceroute {protocol} --queries 2 {far}")).ended(0);
            let lines: Vec<&str> = out.lines().collect();
            assert_eq!(lines.len(), 4, "{protocol}: {out}");
            let name = protocol.trim_start_matches('-').to_uppercase();
            assert!(lines[0].contains(&format!("({far})")), "{out}");
            assert!(lines[0].contains(&name), "{out}");
            for (line, (hop, from)) in lines[1..].iter().zip([(1, router), (2, far)]) {
                assert!(
                    line.starts_with(&format!("  {hop}  {from} ")),
                    "{protocol}: {out}"
                );
                assert_eq!(line.matches(" ms").count(), 2, "{protocol}: {out}");
            }
            assert!(
                lines[3].contains("reached at hop 2; 4 probes, 0 without"),
                "{out}"
            );
        }
        let out = measure(&format!("traceroute --tcp -q 1 {far}")).ended(0);
        assert!(out.contains("<rst,ack>"), "{out}");
    }
}

fn traceroute_tells_why_a_target_is_not_reached() {
    for (target, sign, meaning) in [
        (UNREACHABLE[0], "!H", "host unreachable"),
        (UNREACHABLE[1], "!N", "no route"),
        (FORBIDDEN, "!A", "prohibited"),
    ] {
        let out = measure(&format!("traceroute -q 1 {target}")).ended(1);
        assert!(out.contains(&format!(" ms {sign}")), "{out}");
        assert!(out.contains(meaning), "{out}");
    }
    let out = measure(&format!("traceroute -q 2 -w 20ms --gap 2 {SILENT}")).ended(1);
    assert!(out.contains("\n  2  * *\n"), "{out}");
    assert!(out.contains("\n255  * *\n"), "{out}");
    assert!(out.contains("not reached; nobody answered"), "{out}");
}

fn traceroute_shows_names_on_request() {
    for (far, router) in FAR.into_iter().zip(ROUTER) {
        let out = measure(&format!("traceroute --names -q 1 {far}")).ended(0);
        assert!(
            out.contains(&format!("  1  {router} [router.test] ")),
            "{out}"
        );
        assert!(out.contains(&format!("  2  {far} ")), "{out}");
    }
}

fn a_name_server_that_is_silent_costs_names_only() {
    fs::write("/run/resolv.conf", "nameserver 192.0.2.250\n").expect("it is ours");
    let said = measure(&format!("traceroute --names -q 1 {}", FAR[0]));
    fs::write("/run/resolv.conf", "nameserver 127.0.0.1\n").expect("it is ours");
    let out = said.ended(0);
    assert!(out.contains("\n  2  198.51.100.2 "), "{out}");
    assert!(!out.contains('['), "{out}");
}

fn ntp_says_which_clock_is_ahead() {
    let out = measure("ntp -c 2 127.0.0.1").ended(0);
    assert!(
        out.starts_with("NTP 127.0.0.1 (127.0.0.1) from 127.0.0.1\n"),
        "{out}"
    );
    assert_eq!(out.matches("request=").count(), 2, "{out}");
    assert!(out.contains("2 asked, 2 answered"), "{out}");
    assert!(out.contains("stratum 2, reference 192.0.2.99"), "{out}");
    assert!(
        out.contains("the server's clock is 60.0 min ahead"),
        "{out}"
    );
    assert!(measure("ntp -c 1 -w 20ms 192.0.2.250").code == Some(1));
}

fn dns_shows_the_reply() {
    let out = measure("dns @127.0.0.1 host.test").ended(0);
    for line in [
        ";; flags: qr rd ra; QUERY: 1, ANSWER: 1, AUTHORITY: 0, ADDITIONAL: 0",
        ";host.test. IN A",
        "host.test. 60 IN A 192.0.2.7",
        ";; SERVER: 127.0.0.1#53 over UDP",
        ";; SIZE: 43 octets",
    ] {
        assert!(out.lines().any(|said| said == line), "{line}: {out}");
    }
    assert!(out.contains("status: NOERROR"), "{out}");
    let out = measure("dns @127.0.0.1 nobody.test MX").ended(0);
    assert!(out.contains("status: NXDOMAIN"), "{out}");
    assert_eq!(
        measure("dns --short @127.0.0.1 host.test TXT").ended(0),
        "\"hello\"\n"
    );
    let out = measure(&format!("dns @127.0.0.1 -x {} --short", ROUTER[1])).ended(0);
    assert_eq!(out, "router.test.\n");
}

fn dns_asks_the_servers_of_the_resolver_file() {
    fs::write(
        "/run/resolv.conf",
        "nameserver 127.0.0.1\nnameserver 127.0.0.1\n",
    )
    .expect("ours");
    let said = measure("dns host.test");
    fs::write("/run/resolv.conf", "nameserver 127.0.0.1\n").expect("it is ours");
    let out = said.ended(0);
    assert!(out.contains(";; Server 1 of 2\n"), "{out}");
    assert!(out.contains(";; Server 2 of 2\n"), "{out}");
    assert_eq!(out.matches("192.0.2.7").count(), 2, "{out}");
}

fn dns_that_nobody_answers_is_told() {
    let out = measure("dns @127.0.0.1 --port 5300 -w 50ms --retry 1 host.test").ended(1);
    assert!(
        out.contains(";; no usable reply, asking again (1)"),
        "{out}"
    );
    assert!(out.contains(";; no reply within 50 ms"), "{out}");
    let out = measure("dns @127.0.0.1 --tcp --port 5301 --retry 0 host.test").ended(1);
    assert!(out.contains(";; no connection"), "{out}");
}

/// The member names of a value with their places, lists taken as one.
fn shape(value: &Value, path: &str, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                let path = format!("{path}.{name}");
                into.insert(path.clone());
                shape(value, &path, into);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| shape(item, path, into)),
        _ => {}
    }
}

fn every_type_gives_json_and_result_lines() {
    let far = FAR[0];
    for (people, controller) in [
        (
            format!("ping -c 1 -i 20ms {far}"),
            format!("evping -4 -c 1 -i 20 {far}"),
        ),
        (
            format!("traceroute -q 1 {far}"),
            format!("evtraceroute -4 -c 1 {far}"),
        ),
        (
            "ntp -c 1 127.0.0.1".to_owned(),
            "evntp -4 -c 1 127.0.0.1".to_owned(),
        ),
        (
            "dns @127.0.0.1 host.test".to_owned(),
            "evtdig --query host.test. --type 1 --class 1 -R -4 127.0.0.1".to_owned(),
        ),
    ] {
        let json = measure(&format!("{people} --json")).ended(0);
        let result = measure(&format!("{people} --result")).ended(0);
        let allowed = format!("--allow-any-address {controller}");
        let reference = measure(&allowed).ended(0);
        let shapes =
            [("", json), ("RESULT ", result), ("RESULT ", reference)].map(|(head, text)| {
                assert_eq!(text.lines().count(), 1, "{text}");
                let line = text.strip_prefix(head).unwrap_or_else(|| panic!("{text}"));
                let value: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{text}"));
                let mut members = BTreeSet::new();
                shape(&value, "", &mut members);
                members
            });
        assert_eq!(shapes[0], shapes[1], "{people}");
        assert_eq!(shapes[1], shapes[2], "{people}");
    }
}

fn a_closed_pipe_ends_the_run_without_a_word() {
    let line = format!("ping --count 0 --interval 10ms {}", FAR[0]);
    let (child, out, _) = begin(&line, "64 octets");
    drop(out);
    let ended = Said::of(&child.wait_with_output().expect("it ends by itself"));
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
}

fn an_interrupt_prints_what_there_is() {
    for (line, until, code, last) in [
        (
            format!("ping --count 0 --interval 20ms {}", FAR[0]),
            "64 octets",
            0,
            "0 lost (0%)",
        ),
        (
            format!("ping --interval 60s {SILENT}"),
            "PING",
            1,
            "1 sent, 0 answered, 0 lost (0%), 1 still awaited",
        ),
        (
            format!("ntp --wait 60s {SILENT}"),
            "NTP",
            1,
            "1 asked, 0 answered, 1 still awaited",
        ),
        (
            format!("traceroute --wait 60s {SILENT}"),
            "traceroute to",
            1,
            "nobody answered",
        ),
        (
            "dns @127.0.0.1 --port 5300 --wait 50ms --retry 20 host.test".to_owned(),
            ";; no usable reply",
            1,
            ";; no reply within 50 ms",
        ),
    ] {
        let (mut child, mut out, _) = begin(&line, until);
        let pid = i32::try_from(child.id()).expect("a process number");
        kill(Pid::from_raw(pid), Signal::SIGINT).expect("it is ours");
        let mut rest = String::new();
        out.read_to_string(&mut rest).expect("it can be read");
        assert!(rest.contains(last), "{line}: {rest}");
        let status = child.wait().expect("it ends");
        assert_eq!(status.code(), Some(code), "{line}: {rest}");
    }
}

fn without_raw_sockets_it_does_what_it_can() {
    fs::write("/proc/sys/net/ipv4/ping_group_range", "0 0").expect("the namespace is ours");
    for (far, router) in FAR.into_iter().zip(ROUTER) {
        let out = unprivileged(&format!("ping -c 1 -i 50ms {far}")).ended(0);
        assert!(out.contains(" ttl=63 time="), "{out}");
        for protocol in ["--icmp", "--udp"] {
            let said = unprivileged(&format!("traceroute -q 1 {protocol} {far}"));
            assert_eq!(said.code, Some(0), "{protocol}: {}{}", said.out, said.err);
            assert!(
                said.out.contains(&format!("  1  {router} ")),
                "{}",
                said.out
            );
            assert!(said.out.contains("reached at hop 2"), "{}", said.out);
            assert!(said.err.contains("MPLS"), "{}", said.err);
            assert!(said.err.contains("setcap cap_net_raw+ep /"), "{}", said.err);
            let line = format!("traceroute --json -q 1 {protocol} {far}");
            let json: Value = serde_json::from_str(&unprivileged(&line).out).unwrap();
            let hop = &json["result"][0]["result"][0];
            assert!(hop["rtt"].is_number(), "{json}");
            // The kernel does not tell the size of the packet that brought an error.
            assert!(hop["size"].is_null(), "{json}");
        }
    }
}

fn without_any_socket_it_says_how_to_get_one() {
    let far = FAR[0];
    for line in [
        format!("ping {far}"),
        format!("traceroute --icmp {far}"),
        format!("traceroute --tcp {far}"),
    ] {
        let said = unprivileged(&line);
        assert_eq!(said.code, Some(77), "{line}: {}{}", said.out, said.err);
        assert!(said.err.contains("setcap cap_net_raw+ep /"), "{}", said.err);
    }
    let said = unprivileged(&format!("traceroute --udp -q 1 {far}"));
    assert_eq!(said.code, Some(0), "{}{}", said.out, said.err);
}
