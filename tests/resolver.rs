//! The resolver against a name server of the test's own, on loopback.

#![allow(
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking and speaks on stdout"
)]

use std::{
    net::{IpAddr, UdpSocket},
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use starling::{
    clock::Clock,
    measurement::machine::{Family, ResolveError},
    net::{Config, Net},
};

/// A name server that does what the first label of a name says. Counts what it is asked and keeps the names.
struct Double {
    port: u16,
    asked: Arc<AtomicUsize>,
    names: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Double {
    fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback");
        let port = socket.local_addr().expect("bound").port();
        let double = Self {
            port,
            asked: Arc::default(),
            names: Arc::default(),
        };
        let (asked, names) = (Arc::clone(&double.asked), Arc::clone(&double.names));
        // Ends with the process.
        thread::spawn(move || {
            let mut buffer = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                asked.fetch_add(1, Ordering::SeqCst);
                let query = &buffer[..length];
                names.lock().expect("no panic").push(query[12..].to_vec());
                for answer in answers(query) {
                    socket.send_to(&answer, from).expect("loopback");
                }
            }
        });
        double
    }

    fn net(&self, directory: &Path, resolver_file: &str) -> Net {
        let mut config = Config::new(99);
        config.hosts_file = directory.join("hosts");
        config.resolver_file = directory.join("resolv.conf");
        config.resolver_port = self.port;
        std::fs::write(
            &config.hosts_file,
            "192.0.2.5 both.hosts\n2001:db8::5 both.hosts\n192.0.2.6 four.hosts\n",
        )
        .expect("a file");
        std::fs::write(&config.resolver_file, resolver_file).expect("a file");
        Net::open(config, Clock::start())
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

fn answers(query: &[u8]) -> Vec<Vec<u8>> {
    let label = 13..13 + usize::from(query[12]);
    let what = query[label].to_ascii_lowercase();
    let reply = |flags: [u8; 2], records: &[&[u8]]| {
        let mut message = query.to_vec();
        message[2..4].copy_from_slice(&flags);
        message[7] = u8::try_from(records.len()).expect("few");
        message.extend(records.iter().copied().flatten());
        message
    };
    let v6 = query[query.len() - 3] == 28;
    let mut record = vec![0xc0, 12, 0, if v6 { 28 } else { 1 }, 0, 1, 0, 0, 0, 9, 0];
    if v6 {
        record.extend([16, 0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9]);
    } else {
        record.extend([4, 192, 0, 2, 9]);
    }
    let good = reply([0x81, 0x80], &[&record]);
    match what.as_slice() {
        b"good" => vec![good],
        b"none" => vec![reply([0x81, 0x80], &[])],
        b"servfail" => vec![reply([0x81, 0x82], &[])],
        b"refused" => vec![reply([0x81, 0x85], &[])],
        b"cut" => vec![reply([0x83, 0x80], &[&record])],
        b"forged" => {
            let (mut id, mut name, mut query) = (good.clone(), good.clone(), good.clone());
            id[0] ^= 0x55;
            name[13] = b'x';
            query[2] = 1;
            for forged in [&mut id, &mut name, &mut query] {
                let last = forged.len() - 1;
                forged[last] = 66;
            }
            vec![id, name, query, good]
        }
        b"silent" => Vec::new(),
        _ => vec![reply([0x81, 0x83], &[])],
    }
}

const ONE: &str = "nameserver 127.0.0.1\n";
const FAST: &str = "nameserver 127.0.0.1\noptions timeout:1 attempts:2\n";

fn lookup(net: &Net, name: &str, family: Family) -> Result<Vec<IpAddr>, ResolveError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(net.lookup(name, family))
}

fn ips(texts: &[&str]) -> Result<Vec<IpAddr>, ResolveError> {
    Ok(texts
        .iter()
        .map(|text| text.parse().expect("an address"))
        .collect())
}

#[test]
fn addresses_of_one_family_or_both() {
    let (double, directory) = (Double::start(), tempfile::tempdir().unwrap());
    let net = double.net(directory.path(), ONE);
    assert_eq!(
        lookup(&net, "good.example", Family::V4),
        ips(&["192.0.2.9"])
    );
    assert_eq!(
        lookup(&net, "good.example.", Family::V6),
        ips(&["2001:db8::9"])
    );
    let both = ips(&["192.0.2.9", "2001:db8::9"]);
    assert_eq!(lookup(&net, "GOOD.example", Family::Both), both);
    assert_eq!(double.asked(), 4);
}

#[test]
fn each_refusal_has_its_error() {
    let (double, directory) = (Double::start(), tempfile::tempdir().unwrap());
    let net = double.net(directory.path(), ONE);
    for (name, error) in [
        ("nx.example", ResolveError::NotKnown),
        ("none.example", ResolveError::Failed),
        ("servfail.example", ResolveError::Failed),
        ("refused.example", ResolveError::Failed),
        ("cut.example", ResolveError::Failed),
        ("a..example", ResolveError::Failed),
    ] {
        assert_eq!(lookup(&net, name, Family::V4), Err(error), "{name}");
    }
    assert_eq!(double.asked(), 5);
}

#[test]
fn a_silent_server_is_asked_as_often_as_the_file_says() {
    let (double, directory) = (Double::start(), tempfile::tempdir().unwrap());
    let net = double.net(directory.path(), FAST);
    assert_eq!(
        lookup(&net, "silent.example", Family::V4),
        Err(ResolveError::Failed)
    );
    assert_eq!(double.asked(), 2);
}

#[test]
fn forged_answers_are_passed_over() {
    let (double, directory) = (Double::start(), tempfile::tempdir().unwrap());
    let net = double.net(directory.path(), FAST);
    assert_eq!(
        lookup(&net, "forged.example", Family::V4),
        ips(&["192.0.2.9"])
    );
    assert_eq!(double.asked(), 1);
}

#[test]
fn literals_and_the_hosts_file_need_no_server() {
    let (double, directory) = (Double::start(), tempfile::tempdir().unwrap());
    let net = double.net(directory.path(), ONE);
    assert_eq!(lookup(&net, "192.0.2.1", Family::V4), ips(&["192.0.2.1"]));
    assert_eq!(
        lookup(&net, "Both.Hosts", Family::Both),
        ips(&["192.0.2.5", "2001:db8::5"])
    );
    assert_eq!(
        lookup(&net, "four.hosts", Family::V6),
        Err(ResolveError::Failed)
    );
    assert_eq!(double.asked(), 0);
    // A literal of the other family is a name like any other.
    assert_eq!(
        lookup(&net, "192.0.2.1", Family::V6),
        Err(ResolveError::NotKnown)
    );
    assert_eq!(double.asked(), 1);
}

#[test]
fn the_search_list_is_tried_until_a_name_exists() {
    let (double, directory) = (Double::start(), tempfile::tempdir().unwrap());
    let net = double.net(
        directory.path(),
        "nameserver 127.0.0.1\nsearch a.example b.example\n",
    );
    assert_eq!(lookup(&net, "good", Family::V4), ips(&["192.0.2.9"]));
    assert_eq!(double.asked(), 1);
    assert_eq!(lookup(&net, "nx", Family::V4), Err(ResolveError::NotKnown));
    assert_eq!(double.asked(), 4);
}

#[test]
fn a_refusing_server_gives_way_to_the_next() {
    let (double, directory) = (Double::start(), tempfile::tempdir().unwrap());
    let two = "nameserver 127.0.0.1\nnameserver 127.0.0.1\n";
    let net = double.net(directory.path(), two);
    assert_eq!(
        lookup(&net, "servfail.example", Family::V4),
        Err(ResolveError::Failed)
    );
    assert_eq!(double.asked(), 2);
}

#[test]
fn the_case_of_letters_changes_from_query_to_query() {
    let (double, directory) = (Double::start(), tempfile::tempdir().unwrap());
    let net = double.net(directory.path(), ONE);
    for _ in 0..4 {
        lookup(&net, "good.abcdefghijklmnopqrstuvwxyz.example", Family::V4).expect("an answer");
    }
    let names = double.names.lock().expect("no panic");
    let mut distinct = names.clone();
    distinct.sort();
    distinct.dedup();
    assert_eq!(distinct.len(), 4);
    for name in names.iter() {
        assert_eq!(name.to_ascii_lowercase(), names[0].to_ascii_lowercase());
    }
}

#[test]
fn many_look_ups_at_once_all_end_beside_a_silent_one() {
    let (double, directory) = (Double::start(), tempfile::tempdir().unwrap());
    let net = double.net(directory.path(), FAST);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let ask = |name: &'static str| {
            let net = net.clone();
            tokio::spawn(async move { net.lookup(name, Family::V4).await })
        };
        let silent = ask("silent.example");
        let good: Vec<_> = (0..200).map(|_| ask("good.example")).collect();
        for answer in good {
            assert_eq!(answer.await.unwrap(), ips(&["192.0.2.9"]));
        }
        assert!(!silent.is_finished());
        assert_eq!(silent.await.unwrap(), Err(ResolveError::Failed));
    });
}
