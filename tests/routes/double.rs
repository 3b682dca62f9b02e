//! A network that cannot be trusted: what a run makes of packets that no kernel of ours would send.
//!
//! Behind one interface there is nobody. A test takes the probe's packets from the far end and writes what it
//! likes into it.

use std::{
    io::{Read, Write},
    net::IpAddr,
    os::fd::AsRawFd,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread::JoinHandle,
    time::Duration,
};

use nix::sys::socket::{LinkAddr, bind};
use socket2::{Domain, Protocol, Socket, Type};
use starling::wire::{
    checksum::{Sum, checksum},
    ip::{Ipv4, Ipv6},
    protocol,
    udp::Udp,
};

use super::{Measured, chain::inside, netns, run};

/// One of the two families towards the far end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Way {
    pub(crate) flag: &'static str,
    pub(crate) local: &'static str,
    pub(crate) router: &'static str,
    pub(crate) target: &'static str,
    /// Somebody who was not asked.
    pub(crate) stranger: &'static str,
    /// Octets of the IP header.
    pub(crate) header: usize,
    /// Protocol of ICMP; type of echo requests and replies, of unreachable and of time exceeded.
    pub(crate) icmp: u8,
    pub(crate) request: u8,
    pub(crate) reply: u8,
    pub(crate) unreachable: u8,
    pub(crate) exceeded: u8,
}

pub(crate) const V4: Way = Way {
    flag: "-4",
    local: "198.19.0.1",
    router: "198.19.0.2",
    target: "198.19.1.9",
    stranger: "198.19.1.66",
    header: 20,
    icmp: 1,
    request: 8,
    reply: 0,
    unreachable: 3,
    exceeded: 11,
};

pub(crate) const V6: Way = Way {
    flag: "-6",
    local: "2001:db8:b::1",
    router: "2001:db8:b::2",
    target: "2001:db8:b:1::9",
    stranger: "2001:db8:b:1::66",
    header: 40,
    icmp: 58,
    request: 128,
    reply: 129,
    unreachable: 1,
    exceeded: 3,
};

pub(crate) const WAYS: [Way; 2] = [V4, V6];

/// The hop limit of what is told, unless a test says otherwise.
pub(crate) const TTL: u8 = 55;

/// The far end's address on the link.
const FAR: &str = "02:00:00:00:00:02";

/// Makes the interface with nobody behind it: no address, so its kernel answers nothing.
pub(crate) fn build() {
    netns::run("ip netns add double");
    netns::run(
        "ip netns exec double sysctl -q net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1",
    );
    netns::run(&format!(
        "ip link add bad0 type veth peer name bad1 address {FAR} netns double"
    ));
    netns::run("ip -n double link set bad1 up");
    netns::run("ip link set bad0 up");
    for (way, bits, all) in [(V4, 24, "198.19.0.0/16"), (V6, 64, "2001:db8:b::/48")] {
        let (flag, local, router) = (way.flag, way.local, way.router);
        let nodad = if way == V6 { "nodad" } else { "" };
        netns::run(&format!("ip address add {local}/{bits} dev bad0 {nodad}"));
        netns::run(&format!(
            "ip {flag} neighbour add {router} lladdr {FAR} dev bad0 nud permanent"
        ));
        netns::run(&format!("ip {flag} route add {all} via {router}"));
    }
}

/// Measures while `answer` decides what comes back: it is given all packets of the probe's so far, each from its
/// IP header on, whenever there is one more. Returns them as well.
pub(crate) fn against(
    command: &str,
    answer: impl FnMut(&[Vec<u8>]) -> Vec<Vec<u8>> + Send + 'static,
) -> (Measured, Vec<Vec<u8>>) {
    let over = Arc::new(AtomicBool::new(false));
    let ended = Arc::clone(&over);
    let (ready, started) = mpsc::channel();
    let double: JoinHandle<_> = inside("double", move || double(&ended, &ready, answer));
    started.recv().expect("it starts");
    let measured = run(command);
    over.store(true, Ordering::Relaxed);
    let seen = double.join().expect("the double never failed");
    (measured, seen)
}

fn double(
    over: &AtomicBool,
    ready: &mpsc::Sender<()>,
    mut answer: impl FnMut(&[Vec<u8>]) -> Vec<Vec<u8>>,
) -> Vec<Vec<u8>> {
    /// Every protocol (`linux/if_ether.h`).
    const ALL: u16 = 3;
    let every = Protocol::from(i32::from(ALL.to_be()));
    let wire = Socket::new(Domain::PACKET, Type::RAW, Some(every)).expect("the namespace is ours");
    bind(wire.as_raw_fd(), &interface("bad1")).expect("the interface is there");
    // Only to look now and then whether the run is over.
    let patience = Some(Duration::from_millis(10));
    wire.set_read_timeout(patience).expect("not zero");
    ready.send(()).expect("the test waits");
    let mut seen = Vec::new();
    let mut frame = vec![0; 65_536];
    while !over.load(Ordering::Relaxed) {
        let Ok(length) = (&wire).read(&mut frame) else {
            continue;
        };
        let Some(packet) = probe_in(&frame[..length]) else {
            continue;
        };
        let (to_us, from_probe) = (&frame[..6], &frame[6..12]);
        let head = [from_probe, to_us, &frame[12..14]].concat();
        seen.push(packet);
        for packet in answer(&seen) {
            (&wire)
                .write_all(&[&head[..], &packet].concat())
                .expect("it fits");
        }
    }
    seen
}

fn interface(name: &str) -> LinkAddr {
    let mut all = nix::ifaddrs::getifaddrs().expect("interfaces");
    let found = all.find_map(|one| {
        let address = one.address.filter(|_| one.interface_name == name)?;
        address.as_link_addr().copied()
    });
    found.expect("the interface is there")
}

/// The packet of a frame, if it is a question to the target, not the kernel's word on an answer. What the interface
/// would have had to fill in is filled in.
fn probe_in(frame: &[u8]) -> Option<Vec<u8>> {
    let mut packet = frame.get(14..)?.to_vec();
    let (way, from, to, next) = match frame[12..14] {
        [0x08, 0x00] => {
            let ip = Ipv4::parse(&packet).ok()?;
            (V4, IpAddr::V4(ip.from), IpAddr::V4(ip.to), ip.protocol)
        }
        [0x86, 0xdd] => {
            let ip = Ipv6::parse(&packet).ok()?;
            (V6, IpAddr::V6(ip.from), IpAddr::V6(ip.to), ip.next_header)
        }
        _ => return None,
    };
    let upper = packet.get(way.header..)?;
    let asks = match next {
        protocol::UDP => true,
        // SYN alone.
        protocol::TCP => upper.get(13) == Some(&2),
        _ => next == way.icmp && upper.first() == Some(&way.request),
    };
    if to != address(way.target) || !asks {
        return None;
    }
    if next == protocol::UDP {
        let udp = Udp::parse(&packet[way.header..]).ok()?;
        let whole = Udp::new((from, udp.from_port), (to, udp.to_port), udp.payload).emit();
        packet[way.header..].copy_from_slice(&whole);
    }
    Some(packet)
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

impl Way {
    /// A packet with this content; its checksum, at `sum` in the content, is filled in.
    pub(crate) fn packet(
        self,
        from: &str,
        ttl: u8,
        next: u8,
        mut content: Vec<u8>,
        sum: usize,
    ) -> Vec<u8> {
        content[sum..sum + 2].fill(0);
        let whole = if next == V4.icmp {
            checksum(&content)
        } else {
            let (from, to) = (address(from), address(self.local));
            Sum::of_pseudo_header(from, to, next, content.len())
                .plus(&content)
                .checksum()
        };
        content[sum..sum + 2].copy_from_slice(&whole.to_be_bytes());
        self.bare(from, ttl, next, &content)
    }

    fn bare(self, from: &str, ttl: u8, next: u8, content: &[u8]) -> Vec<u8> {
        match (address(from), address(self.local)) {
            (IpAddr::V4(from), IpAddr::V4(to)) => Ipv4::new(from, to, next, ttl, content).emit(),
            (IpAddr::V6(from), IpAddr::V6(to)) => Ipv6::new(from, to, next, ttl, content).emit(),
            _ => panic!("two families"),
        }
    }

    /// An ICMP message.
    pub(crate) fn message(
        self,
        from: &str,
        ttl: u8,
        head: [u8; 2],
        rest: [u8; 4],
        body: &[u8],
    ) -> Vec<u8> {
        let content = [&head[..], &[0, 0], &rest, body].concat();
        self.packet(from, ttl, self.icmp, content, 2)
    }

    /// Time exceeded from the router, quoting this.
    pub(crate) fn exceeded(self, quote: &[u8]) -> Vec<u8> {
        self.message(self.router, TTL, [self.exceeded, 0], [0; 4], quote)
    }

    /// What an echo request is answered with, but from, TTL and contents.
    pub(crate) fn echo_reply(self, from: &str, ttl: u8, request: &[u8]) -> Vec<u8> {
        let mut content = request[self.header..].to_vec();
        content[0] = self.reply;
        self.packet(from, ttl, self.icmp, content, 2)
    }

    /// An ICMP error's item with these members behind `size` and `rtt`, and before all others.
    pub(crate) fn item(self, before: &str, from: &str, ttl: u8, size: usize, more: &str) -> String {
        if self == V6 {
            format!(r#"{{ {before}"from":"{from}", "ttl":{ttl}, "rtt":T, "size":{size}{more} }}"#)
        } else {
            format!(r#"{{ {before}"from":"{from}", "ttl":{ttl}, "size":{size}, "rtt":T{more} }}"#)
        }
    }
}

/// The latest of the probe's packets.
pub(crate) fn latest(seen: &[Vec<u8>]) -> &[u8] {
    seen.last().expect("one more than before")
}

/// The packet with one octet changed.
pub(crate) fn flipped(packet: &[u8], at: usize) -> Vec<u8> {
    let mut packet = packet.to_vec();
    packet[at] ^= 0x55;
    packet
}
