//! What stands around the binary: its files, and servers of names and of time on loopback.

use std::{fs, net::UdpSocket, thread};

use starling::{clock::Clock, net::resolver::reverse};

use crate::{ROUTER, netns};

/// A resolver file and a hosts file of our own, in a mount namespace of our own; servers on loopback.
pub(crate) fn prepare() {
    for (file, content) in [
        ("/run/resolv.conf", "nameserver 127.0.0.1\n"),
        ("/run/hosts", "127.0.0.1 here.test\n::1 only-six.test\n"),
    ] {
        fs::write(file, content).expect("/run is ours");
    }
    netns::run("mount --bind /run/resolv.conf /etc/resolv.conf");
    netns::run("mount --bind /run/hosts /etc/hosts");
    let server = |port: u16, answer: fn(&[u8]) -> Option<Vec<u8>>| {
        let socket = UdpSocket::bind(("127.0.0.1", port)).expect("the port is free");
        thread::spawn(move || {
            let mut buffer = [0; 2_048];
            while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                if let Some(reply) = answer(&buffer[..length]) {
                    let _ = socket.send_to(&reply, from);
                }
            }
        });
    };
    server(53, name_server);
    server(123, time_server);
    server(5300, |_| None);
}

/// Answers one question: names of the routers and of an address, nothing for others.
fn name_server(query: &[u8]) -> Option<Vec<u8>> {
    let end = 12 + query[12..].iter().position(|octet| *octet == 0)? + 5;
    let question = &query[12..end];
    let asked = String::from_utf8_lossy(question).to_lowercase();
    let is = |name: &str| {
        let labels: Vec<String> = name
            .split('.')
            .map(|label| format!("{}{label}", char::from(u8::try_from(label.len()).unwrap())))
            .collect();
        asked.starts_with(&format!("{}\0", labels.concat()))
    };
    let routers = ROUTER.map(|router| reverse(router.parse().unwrap()));
    let rtype = question[question.len() - 3];
    let data: Option<&[u8]> = match rtype {
        12 if routers.iter().any(|router| is(router)) => Some(b"\x06router\x04test\0"),
        1 if is("host.test") => Some(&[192, 0, 2, 7]),
        16 if is("host.test") => Some(b"\x05hello"),
        _ => None,
    };
    if is("silent.test") {
        return None;
    }
    let status = if data.is_some() { 0x80 } else { 0x83 };
    let mut reply = query[..2].to_vec();
    reply.extend([0x81, status, 0, 1, 0, u8::from(data.is_some()), 0, 0, 0, 0]);
    reply.extend(question);
    if let Some(data) = data {
        reply.extend([0xc0, 0x0c, 0, rtype, 0, 1, 0, 0, 0, 60]);
        reply.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
        reply.extend(data);
    }
    Some(reply)
}

/// A server whose clock is an hour ahead.
fn time_server(query: &[u8]) -> Option<Vec<u8>> {
    let unix = Clock::start().unix().secs() + 3_600;
    let seconds = u32::try_from(unix + 2_208_988_800).ok()?.to_be_bytes();
    // No leap second, version 4, server; stratum 2; poll 2^6, precision 2^-20.
    let mut reply = vec![0x24, 2, 6, 0xec, 0, 0, 0, 0, 0, 0, 0, 0];
    reply.extend([192, 0, 2, 99]);
    reply.extend([seconds, [0; 4]].concat());
    reply.extend(query.get(40..48)?);
    reply.extend([seconds, [0; 4], seconds, [0; 4]].concat());
    Some(reply)
}
