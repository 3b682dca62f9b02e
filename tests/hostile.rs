//! A controller, or a target, that means harm: nothing leaves for forbidden addresses whatever the type and however
//! they are named, nothing is followed, no command floods, and no command path leads anywhere else.

#![allow(
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking and speaks on stdout"
)]

#[path = "support/script.rs"]
#[allow(dead_code, reason = "shared with the namespace tests")]
mod script;

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpListener, UdpSocket},
    thread,
    time::Duration,
};

use script::{block_on, open_net};
use starling::{
    clock::{Clock, Now, Tick},
    dialect::Dialect,
    measurement::{
        Carry, Outcome, Rules, Run, Spec, Version,
        machine::{Handle, Input, Machine, Output, Packet, Socket, SocketKind, Stream},
    },
    net::{Config, Event, Net, policy},
    result::Document,
};

/// Every address that a stranger may not choose, one of each range and each form that carries one.
const FORBIDDEN: [&str; 24] = [
    "0.0.0.0",
    "10.1.2.3",
    "127.0.0.1",
    "169.254.169.254",
    "172.16.0.1",
    "192.168.1.1",
    "224.0.0.1",
    "239.255.255.255",
    "::",
    "::1",
    "::ffff:127.0.0.1",
    "::ffff:192.0.2.1",
    "::10.0.0.1",
    "64:ff9b::10.0.0.1",
    "64:ff9b::169.254.169.254",
    "64:ff9b:1::1",
    "2002:a00:1::1",
    "2002:7f00:1::",
    "2001:0:a00:1:0:f227:f7f7:f7f7",
    "2001:0:808:808:0:f227:f5ff:fffe",
    "2001:db8::5efe:10.0.0.1",
    "fd00::1",
    "fe80::1",
    "ff02::1",
];

fn rules() -> Rules {
    Rules {
        dialect: Dialect::Reference,
        spool: "/nonexistent".into(),
        unsafe_paths: false,
    }
}

/// Commands of all six types, and of every way that they send, for a target.
fn commands(family: char, target: &str, in_url: &str) -> Vec<String> {
    vec![
        format!("evping -{family} -c 1 -A 1 {target}"),
        format!("evtraceroute -{family} -I -c 1 -A 1 {target}"),
        format!("evtraceroute -{family} -U -c 1 -A 1 {target}"),
        format!("evtraceroute -{family} -T -c 1 -A 1 {target}"),
        format!("evntp -{family} -c 1 -A 1 {target}"),
        format!("evtdig -{family} --type 1 --class 1 --query example.org. -A 1 {target}"),
        format!("evtdig -{family} -t --type 1 --class 1 --query example.org. -A 1 {target}"),
        format!("evsslgetcert -{family} -A 1 {target}"),
        format!("evhttpget -{family} -A 1 http://{in_url}/"),
    ]
}

/// Runs a command; its line, and what it was told that only happens once something was opened.
fn carry_out(net: &Net, command: &str) -> (String, Vec<String>) {
    let words: Vec<String> = command.split(' ').map(str::to_owned).collect();
    let spec = Spec::parse(&words, &rules()).unwrap_or_else(|error| panic!("{command}: {error}"));
    let run = Run {
        seed: 7,
        probe_id: None,
        replay: false,
    };
    let mut opened = Vec::new();
    let outcome = block_on(net.run(spec.start(run, Carry::Nothing), |event| {
        if let Event::In { input, .. } = event
            && matches!(
                input,
                Input::Opened { .. } | Input::Sent { .. } | Input::Connected { .. }
            )
        {
            opened.push(format!("{input:?}"));
        }
    }));
    let version = Version {
        firmware: 5120,
        measurement: "2.6.4".to_owned(),
    };
    let lines = outcome.bodies.into_iter().map(|body| {
        let head = spec.head(&version);
        Document { head, body }.line(Dialect::Reference)
    });
    (lines.collect(), opened)
}

fn refused(net: &Net, command: &str) {
    let (line, opened) = carry_out(net, command);
    assert_eq!(opened, Vec::<String>::new(), "{command}");
    // DNS over TCP has words of its own.
    let is_told = line.contains("address not allowed") || line.contains("\"TU_BAD_ADDR\" : true");
    assert!(is_told, "{command}: {line}");
}

#[test]
fn no_type_sends_anything_to_a_forbidden_address_named_as_it_is() {
    let net = script::net();
    for text in FORBIDDEN {
        let address: IpAddr = text.parse().unwrap();
        let (family, in_url) = match address {
            IpAddr::V4(_) => ('4', text.to_owned()),
            IpAddr::V6(_) => ('6', format!("[{text}]")),
        };
        for command in commands(family, text, &in_url) {
            refused(&net, &command);
        }
    }
}

#[test]
fn no_type_sends_anything_to_a_forbidden_address_behind_a_name() {
    let folder = tempfile::tempdir().unwrap();
    let hosts = folder.path().join("hosts");
    let mut text = String::new();
    for (index, address) in FORBIDDEN.iter().enumerate() {
        text.push_str(&format!("{address} host{index}.example.net\n"));
    }
    std::fs::write(&hosts, text).unwrap();
    let mut config = Config::new(7);
    config.hosts_file = hosts;
    config.resolver_file = folder.path().join("resolv.conf");
    let net = Net::open(config, Clock::start());
    for (index, address) in FORBIDDEN.iter().enumerate() {
        let family = if address.contains(':') { '6' } else { '4' };
        let name = format!("host{index}.example.net");
        for command in commands(family, &name, &name) {
            refused(&net, &command);
        }
    }
}

/// Other ways of writing an address that a lenient parser takes for `127.0.0.1`.
#[test]
fn odd_spellings_of_an_address_are_no_way_around() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config::new(7);
    config.hosts_file = folder.path().join("hosts");
    // Nobody answers there, so what is no address is a name that does not exist.
    std::fs::write(
        folder.path().join("resolv.conf"),
        "nameserver 127.0.0.1\noptions attempts:1 timeout:1\n",
    )
    .unwrap();
    config.resolver_file = folder.path().join("resolv.conf");
    config.resolver_port = UdpSocket::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let net = Net::open(config, Clock::start());
    for text in [
        "2130706433",
        "0x7f000001",
        "127.1",
        "0177.0.0.1",
        "127.0.0.1.",
    ] {
        let (line, opened) = carry_out(&net, &format!("evping -4 -c 1 -A 1 {text}"));
        assert_eq!(opened, Vec::<String>::new(), "{text}: {line}");
    }
}

#[test]
fn a_redirect_is_a_result_and_is_not_followed() {
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let (at, to) = (
        server.local_addr().unwrap(),
        elsewhere.local_addr().unwrap(),
    );
    let serving = thread::spawn(move || {
        let (mut stream, _) = server.accept().unwrap();
        let mut request = [0; 1024];
        assert!(stream.read(&mut request).unwrap() > 0);
        let answer = format!(
            "HTTP/1.1 302 Found\r\nLocation: http://{to}/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(answer.as_bytes()).unwrap();
    });
    let (line, _) = carry_out(&open_net(), &format!("evhttpget -4 -A 1 http://{at}/"));
    serving.join().unwrap();
    assert!(line.contains("\"res\":302"), "{line}");
    assert_eq!(
        elsewhere.accept().unwrap_err().kind(),
        ErrorKind::WouldBlock
    );
}

#[test]
fn files_outside_the_data_directory_are_neither_read_nor_written() {
    for command in [
        "evping -4 -c 1 -A 1 -O /etc/passwd 192.0.2.1",
        "evping -4 -c 1 -A 1 -O /home/atlas/data/new/../../../etc/x 192.0.2.1",
        "evping -4 -c 1 -A 1 -O /home/atlas/crons/7/root 192.0.2.1",
        "evping -4 -c 1 -A 1 -R /etc/passwd 192.0.2.1",
        "evping -4 -c 1 -A 1 -W /tmp/x 192.0.2.1",
        "evhttpget --post-file /etc/shadow -A 1 http://192.0.2.1/",
        "evhttpget --post-header /proc/self/environ -A 1 http://192.0.2.1/",
        "evhttpget --post-footer /home/atlas/status/../../etc/passwd -A 1 http://192.0.2.1/",
    ] {
        let words: Vec<String> = command.split(' ').map(str::to_owned).collect();
        assert!(Spec::parse(&words, &rules()).is_err(), "{command}");
    }
}

const ON: Handle = Handle(0);

/// Does the same thing again and again, as often as it is answered.
struct Again {
    first: Output,
    again: Output,
    count: u32,
}

impl Machine for Again {
    fn handle(&mut self, _: &mut Now, input: Input) -> Vec<Output> {
        match input {
            Input::Start => vec![self.first.clone()],
            Input::Stop => {
                println!("stopped after {}", self.count);
                let outcome = Outcome {
                    bodies: Vec::new(),
                    carry: Carry::Nothing,
                    answered: true,
                };
                vec![Output::Done(outcome)]
            }
            // The time that a packet left says nothing new.
            Input::Stamped { .. } => Vec::new(),
            _ => {
                self.count += 1;
                assert!(self.count < 2 * policy::PACKETS_PER_RUN, "nobody stops it");
                vec![self.again.clone()]
            }
        }
    }

    fn deadline(&self) -> Option<Tick> {
        Some(Tick(Duration::MAX / 2))
    }
}

fn again(first: Output, again: Output) {
    let machine = Again {
        first,
        again,
        count: 0,
    };
    let outcome = block_on(open_net().run(Box::new(machine), |_| {}));
    assert!(outcome.answered, "it was asked for what there is");
}

#[test]
fn a_run_that_sends_without_end_is_stopped() {
    let sink = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = sink.local_addr().unwrap().port();
    let loopback: IpAddr = [127, 0, 0, 1].into();
    let packet = Packet {
        tag: 1,
        bytes: vec![0; 8],
        hop_limit: None,
        port,
    };
    let socket = Socket::new(SocketKind::Udp { port }, loopback);
    again(
        Output::Open { on: ON, socket },
        Output::Send { on: ON, packet },
    );
}

#[test]
fn a_run_that_connects_or_looks_names_up_without_end_is_stopped() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to: SocketAddr = listener.local_addr().unwrap();
    thread::spawn(move || while listener.accept().is_ok() {});
    let connect = Output::Connect {
        on: ON,
        stream: Stream {
            to,
            bind: None,
            tls: None,
        },
    };
    again(connect.clone(), connect);
    let resolve = Output::Resolve {
        name: "localhost".to_owned(),
        family: starling::measurement::machine::Family::V4,
        interface: None,
    };
    again(resolve.clone(), resolve);
}
