//! Four routers in a row between the probe and its target, all Linux: what each of them says, in order.

mod ground;

pub(crate) use ground::build;

use std::{
    net::UdpSocket,
    os::fd::AsFd,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use starling::{
    measurement::Carry,
    wire::ntp::{self, Ntp},
};

use super::{
    Measured, block_on,
    cases::{Case, cases},
    host_time, items, measure, measure_after, netns, open_net, run, script, timeless,
};

pub(crate) const CASES: &[Case] = cases![
    every_hop_is_found_in_order,
    a_listening_target_says_so,
    every_refusal_has_its_letter,
    a_neighbour_that_is_missing_is_a_host,
    a_narrow_hop_makes_probes_shrink,
    a_known_narrow_path_loses_large_probes,
    a_narrow_hop_that_says_nothing_is_silence,
    silence_ends_at_the_gap_limit,
    each_run_takes_the_next_path,
    ping_crosses_the_chain,
    ntp_crosses_the_chain,
    two_hundred_runs_of_all_kinds_do_not_mix,
];

/// Routers in the chain.
const ROUTERS: usize = 4;
/// What the third router and the fourth one have between them at most.
const NARROW: u32 = 1_400;

/// One of the two families on the chain.
#[derive(Clone, Copy)]
struct Way {
    flag: &'static str,
    /// `size` of a whole quote of a UDP or ICMP probe with 40 octets, and of a TCP probe.
    quote: [u32; 2],
    /// `size` of the largest quote that Linux sends.
    most: u32,
    /// Octets of the IP header.
    header: u32,
}

const WAYS: [Way; 2] = [
    Way {
        flag: "-4",
        // 20 + 8 + 40; an error has 576 octets at most (RFC 1812 section 4.3.2.3), less 28.
        quote: [68, 80],
        most: 548,
        header: 20,
    },
    Way {
        flag: "-6",
        // 40 + 8 + 40; an error has 1280 octets at most (RFC 4443 section 2.4), less 48.
        quote: [88, 100],
        most: 1_232,
        header: 40,
    },
];

impl Way {
    fn is_v6(self) -> bool {
        self.flag == "-6"
    }

    /// Host `host` of net `net`.
    fn address(self, net: usize, host: usize) -> String {
        match (self.is_v6(), net) {
            (false, _) => format!("198.18.{net}.{host}"),
            // The shortest form, as results have it (RFC 5952).
            (true, 0) => format!("2001:db8:a::{host}"),
            (true, _) => format!("2001:db8:a:{net}::{host}"),
        }
    }

    fn target(self) -> String {
        self.address(ROUTERS, 2)
    }

    /// The near side of the router that is `hop` away.
    fn router(self, hop: usize) -> String {
        self.address(hop - 1, 2)
    }

    /// An ICMP error from `hop` routers away; `more` are the members behind.
    fn error(self, from: &str, hop: usize, size: u32, more: &str) -> String {
        let ttl = 65 - hop;
        let comma = if more.is_empty() { "" } else { ", " };
        if self.is_v6() {
            format!(r#"{{ "from":"{from}", "ttl":{ttl}, "rtt":T, "size":{size}{comma}{more} }}"#)
        } else {
            format!(r#"{{ "from":"{from}", "ttl":{ttl}, "size":{size}, "rtt":T{comma}{more} }}"#)
        }
    }

    /// Time exceeded at `hop`.
    fn exceeded(self, hop: usize, size: u32) -> String {
        self.error(&self.router(hop), hop, size, "")
    }

    /// What the target behind all routers says to a protocol: ICMP with `size` octets of payload.
    fn end(self, protocol: &str, size: u32) -> String {
        let (target, hop) = (self.target(), ROUTERS + 1);
        match protocol {
            // An echo reply has the members of an error.
            "-I" => self.error(&target, hop, size, ""),
            "-U" => self.error(&target, hop, (size + self.header + 8).min(self.most), ""),
            _ => format!(
                r#"{{ "from":"{target}", "ttl":{}, "size":0, "flags":"RA", "rtt":T }}"#,
                65 - hop
            ),
        }
    }

    fn quote(self, protocol: &str) -> u32 {
        self.quote[usize::from(protocol == "-T")]
    }
}

/// A hop with these items.
fn hop(number: usize, items: &[String]) -> String {
    format!(
        r#"{{ "hop":{number}, "result": [ {} ] }}"#,
        items.join(", ")
    )
}

fn list(hops: &[String]) -> String {
    format!("[ {} ]", hops.join(", "))
}

fn lost() -> String {
    r#"{ "x":"*" }"#.to_owned()
}

/// Runs on a thread of its own in the namespace of that name.
pub(crate) fn inside<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    let namespace = std::fs::File::open(format!("/run/netns/{name}")).expect("it was made");
    std::thread::spawn(move || {
        nix::sched::setns(namespace.as_fd(), nix::sched::CloneFlags::CLONE_NEWNET)
            .expect("it is ours");
        work()
    })
}

fn every_hop_is_found_in_order() {
    for way in WAYS {
        for protocol in ["-I", "-U", "-T", "-I -a 0", "-U -a 0"] {
            let run = run(&format!(
                "evtraceroute {} {protocol} -c 2 -w 2000 {}",
                way.flag,
                way.target()
            ));
            let (kind, paris) = match protocol.split_once(' ') {
                Some((kind, _)) => (kind, ""),
                None => (protocol, r#""paris_id":1, "#),
            };
            let mut hops: Vec<String> = (1..=ROUTERS)
                .map(|at| hop(at, &vec![way.exceeded(at, way.quote(kind)); 2]))
                .collect();
            hops.push(hop(ROUTERS + 1, &vec![way.end(kind, 40); 2]));
            let word = match kind {
                "-I" => "ICMP",
                "-U" => "UDP",
                _ => "TCP",
            };
            let target = way.target();
            let expected = format!(
                r#""{target}", "dst_addr":"{target}", "src_addr":"{}", "proto":"{word}", "af": {}, "size":40, {paris}"result": {} }}"#,
                way.address(0, 1),
                &way.flag[1..],
                list(&hops)
            );
            assert_eq!(timeless(&run.line).trim_end(), expected, "{protocol}");
            assert!(run.outcome.answered && run.stamped, "{}", run.line);
        }
    }
}

fn a_listening_target_says_so() {
    for (way, mss) in WAYS.into_iter().zip([1_460, 1_440]) {
        let target = way.target();
        let bound = target.clone();
        let listener = inside("end", move || {
            std::net::TcpListener::bind((bound.as_str(), 80)).expect("a free port")
        });
        let _listener = listener.join().expect("bound");
        let run = run(&format!(
            "evtraceroute {} -T -f 5 -c 1 -w 2000 {target}",
            way.flag
        ));
        let synack = format!(
            r#"{{ "from":"{target}", "ttl":60, "size":4, "flags":"SA", "hdropts": [ {{ "mss":{mss} }} ], "rtt":T }}"#
        );
        assert_eq!(items(&run.line), list(&[hop(5, &[synack])]));
    }
}

fn every_refusal_has_its_letter() {
    for way in WAYS {
        // IPv6 has one code for both kinds of missing routes (RFC 4443 section 3.1).
        let host = if way.is_v6() { "N" } else { "H" };
        for (net, to, from, letter) in [(98, 1, 4, "N"), (99, 1, 3, host), (99, 3, 2, "A")] {
            for protocol in ["-I", "-U", "-T"] {
                let target = way.address(net, to);
                let run = run(&format!(
                    "evtraceroute {} {protocol} -c 1 -w 2000 {target}",
                    way.flag
                ));
                let size = way.quote(protocol);
                let mut hops: Vec<String> = (1..from)
                    .map(|at| hop(at, &[way.exceeded(at, size)]))
                    .collect();
                let code = format!(r#""err":"{letter}""#);
                hops.push(hop(
                    from,
                    &[way.error(&way.router(from), from, size, &code)],
                ));
                assert_eq!(items(&run.line), list(&hops), "{protocol}");
                assert!(!run.outcome.answered, "{}", run.line);
            }
        }
    }
}

fn a_neighbour_that_is_missing_is_a_host() {
    for way in WAYS {
        let target = way.address(ROUTERS, 77);
        let run = run(&format!(
            "evtraceroute {} -U -f 5 -c 1 -w 5000 {target}",
            way.flag
        ));
        let refused = way.error(&way.router(4), 4, way.quote("-U"), r#""err":"H""#);
        assert_eq!(items(&run.line), list(&[hop(5, &[refused])]));
    }
}

/// Forgets what the path to each host was found to be.
fn forget_paths() {
    for way in WAYS {
        netns::run(&format!("ip {} route flush cache", way.flag));
    }
}

/// The hops as far as the router before the narrow one, `count` large probes each, and what it says of the first
/// that does not fit.
fn up_to_the_narrow(way: Way, count: usize) -> (Vec<String>, String) {
    let hops = (1..4).map(|at| hop(at, &vec![way.exceeded(at, way.most); count]));
    let code = format!(r#""ittl":2, "mtu":{NARROW}"#);
    (
        hops.collect(),
        way.error(&way.router(3), 3, way.most, &code),
    )
}

fn a_narrow_hop_makes_probes_shrink() {
    for way in WAYS {
        for (protocol, header) in [("-I", 8), ("-U", 8), ("-T", 20)] {
            forget_paths();
            let run = run(&format!(
                "evtraceroute {} {protocol} -F -S 1400 -c 2 -w 2000 {}",
                way.flag,
                way.target()
            ));
            let (mut hops, too_big) = up_to_the_narrow(way, 2);
            hops.push(hop(4, &[too_big, way.exceeded(4, way.most)]));
            // An echo reply tells the size that arrived.
            let fits = NARROW - way.header - header;
            hops.push(hop(5, &vec![way.end(protocol, fits); 2]));
            assert_eq!(items(&run.line), list(&hops), "{protocol}");
            assert!(run.line.contains(r#""size":1400, "#), "{}", run.line);
        }
    }
}

fn a_known_narrow_path_loses_large_probes() {
    for way in WAYS {
        forget_paths();
        let target = way.target();
        let narrow = format!("evtraceroute {} -U -F -f 4 -m 4 -S 1400 -c 1", way.flag);
        let first = run(&format!("{narrow} -w 2000 {target}"));
        assert!(first.line.contains(r#""mtu":1400"#), "{}", first.line);
        // The kernel refuses to send it now, which is told as a loss.
        let second = run(&format!("{narrow} -w 50 {target}"));
        assert_eq!(items(&second.line), list(&[hop(4, &[lost()])]));
    }
    forget_paths();
}

fn a_narrow_hop_that_says_nothing_is_silence() {
    for way in WAYS {
        let target = way.address(5, 2);
        let small = run(&format!(
            "evtraceroute {} -I -f 5 -c 1 -w 2000 {target}",
            way.flag
        ));
        let whole = way.error(&target, 5, 40, "");
        assert_eq!(items(&small.line), list(&[hop(5, &[whole])]));
        for protocol in ["-I", "-U", "-T"] {
            forget_paths();
            let run = run(&format!(
                "evtraceroute {} {protocol} -F -S 1400 -c 1 -g 1 -w 500 {target}",
                way.flag
            ));
            let (mut hops, too_big) = up_to_the_narrow(way, 1);
            hops.extend([hop(4, &[too_big]), hop(5, &[lost()]), hop(255, &[lost()])]);
            assert_eq!(items(&run.line), list(&hops), "{protocol}");
        }
    }
}

fn silence_ends_at_the_gap_limit() {
    for way in WAYS {
        let target = way.address(99, 2);
        for (protocol, gap) in [("-I", 2), ("-U", 3), ("-T", 1)] {
            let run = run(&format!(
                "evtraceroute {} {protocol} -c 1 -g {gap} -w 300 {target}",
                way.flag
            ));
            let mut hops: Vec<String> = (1..3)
                .map(|at| hop(at, &[way.exceeded(at, way.quote(protocol))]))
                .collect();
            hops.extend((3..3 + gap).map(|at| hop(at, &[lost()])));
            hops.push(hop(255, &[lost()]));
            assert_eq!(items(&run.line), list(&hops), "{protocol}");
        }
    }
}

fn each_run_takes_the_next_path() {
    for way in WAYS {
        for protocol in ["-I", "-U", "-T"] {
            for (options, paths) in [
                ("-a 3 -b 5", [6, 7, 5, 6]),
                ("-a 1 -b 9", [9; 4]),
                ("", [1, 2, 3, 4]),
            ] {
                let command = format!(
                    "evtraceroute {} {protocol} {options} -m 1 -c 1 -w 2000 {}",
                    way.flag,
                    way.target()
                );
                let mut carry = Carry::default();
                for path in paths {
                    let run = block_on(measure_after(open_net(), command.clone(), carry));
                    let told = format!(r#""paris_id":{path}, "#);
                    assert!(run.line.contains(&told), "{}", run.line);
                    let found = list(&[hop(1, &[way.exceeded(1, way.quote(protocol))])]);
                    assert_eq!(items(&run.line), found);
                    carry = run.outcome.carry;
                }
            }
        }
    }
}

fn ping_crosses_the_chain() {
    for way in WAYS {
        let target = way.target();
        let run = run(&format!("evping {} -c 3 -i 300 -s 64 {target}", way.flag));
        let expected = format!(
            r#""{target}", "af":{}, "dst_addr":"{target}", "src_addr":"{}", "proto":"ICMP", "ttl":60, "size":64, "result": [ {{ "rtt":T }}, {{ "rtt":T }}, {{ "rtt":T }} ] }}"#,
            &way.flag[1..],
            way.address(0, 1)
        );
        assert_eq!(timeless(&run.line).trim_end(), expected);
        assert!(run.stamped, "{}", run.line);
    }
}

/// An NTP server on the target, for as long as it lives. Whom it answers shows in its reference time.
struct Server {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    fn start(way: Way) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let (ended, target) = (Arc::clone(&over), way.target());
        let (ready, started) = std::sync::mpsc::channel();
        let thread = inside("end", move || {
            let socket = UdpSocket::bind((target.as_str(), 123)).expect("a free port");
            // Only to look now and then whether the test is over.
            let patience = Some(Duration::from_millis(20));
            socket.set_read_timeout(patience).expect("not zero");
            ready.send(()).expect("the test waits");
            let mut buffer = [0; 1_500];
            while !ended.load(Ordering::Relaxed) {
                let Ok((length, from)) = socket.recv_from(&mut buffer) else {
                    continue;
                };
                let receive = host_time();
                let request = Ntp::parse(&buffer[..length]).expect("a whole request");
                let reply = Ntp {
                    version: 4,
                    mode: ntp::SERVER,
                    stratum: 1,
                    reference_id: *b"TEST",
                    reference: ntp::Timestamp {
                        seconds: from.port().into(),
                        fraction: 0,
                    },
                    origin: request.transmit,
                    receive,
                    transmit: host_time(),
                    ..Ntp::default()
                };
                socket.send_to(&reply.emit(), from).expect("a way back");
            }
        });
        started.recv().expect("it starts");
        Self {
            over,
            thread: Some(thread),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the server never failed");
        }
    }
}

fn ntp_crosses_the_chain() {
    for way in WAYS {
        let _server = Server::start(way);
        let run = run(&format!("evntp {} -c 3 -w 3000 {}", way.flag, way.target()));
        assert!(run.outcome.answered && run.stamped, "{}", run.line);
        let said = r#""li": "no", "version": 4, "mode": "server", "stratum": 1, "poll": 1, "precision": 1, "root-delay": 0, "root-dispersion": 0, "ref-id": "TEST", "ref-ts": "#;
        assert!(run.line.contains(said), "{}", run.line);
        is_three_answers(&run);
    }
}

/// Three answers by one server that always said the same.
fn is_three_answers(run: &Measured) {
    let (_, result) = run.line.split_once("\"result\": ").expect("a result");
    assert_eq!(
        result.matches("{ \"origin-ts\": ").count(),
        3,
        "{}",
        run.line
    );
    assert_eq!(result.matches("\"offset\": ").count(), 3, "{}", run.line);
    assert!(!result.contains("ref-ts"), "{}", run.line);
}

fn two_hundred_runs_of_all_kinds_do_not_mix() {
    let _servers = WAYS.map(Server::start);
    let net = open_net();
    let runs = (0..200).map(|number| {
        let way = WAYS[number % 2];
        let kind = number / 2 % 5;
        let (flag, target) = (way.flag, way.target());
        let command = match kind {
            // Sizes tell the pings apart.
            0 => format!("evping {flag} -c 3 -i 500 -s {} {target}", 32 + number),
            1 => format!("evntp {flag} -c 3 -w 5000 {target}"),
            _ => format!(
                "evtraceroute {flag} {} -c 1 -w 5000 {target}",
                ["-I", "-U", "-T"][kind - 2]
            ),
        };
        let measured = measure(net.clone(), command);
        async move { (number, measured.await) }
    });
    for (number, run) in block_on(script::all(runs)) {
        let way = WAYS[number % 2];
        match number / 2 % 5 {
            0 => {
                let size = format!(r#""ttl":60, "size":{}, "#, 32 + number);
                assert!(run.line.contains(&size), "{}", run.line);
                assert_eq!(
                    items(&run.line),
                    r#"[ { "rtt":T }, { "rtt":T }, { "rtt":T } ]"#
                );
            }
            1 => is_three_answers(&run),
            kind => {
                let protocol = ["-I", "-U", "-T"][kind - 2];
                let mut hops: Vec<String> = (1..=ROUTERS)
                    .map(|at| hop(at, &[way.exceeded(at, way.quote(protocol))]))
                    .collect();
                hops.push(hop(ROUTERS + 1, &[way.end(protocol, 40)]));
                assert_eq!(items(&run.line), list(&hops), "{protocol}");
            }
        }
    }
}
