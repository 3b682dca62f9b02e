//! What was on the wire: a packet socket on the measuring host's interface, with the kernel's nanosecond times.
//!
//! Nobody waits for it; it is read when a tool has ended, so that watching disturbs nothing.

use std::{
    fs::File,
    io::IoSliceMut,
    net::Ipv4Addr,
    os::fd::{AsRawFd, OwnedFd},
};

use nix::{
    ifaddrs::getifaddrs,
    libc,
    sched::{CloneFlags, setns},
    sys::socket::{
        AddressFamily, ControlMessageOwned, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType,
        bind, recvmsg, setsockopt, socket, sockopt,
    },
};

/// One packet, from its IPv4 header on.
#[derive(Clone, Debug)]
pub(crate) struct Packet {
    /// When the tap saw it, nanoseconds of the wall clock.
    pub(crate) at: i64,
    pub(crate) outgoing: bool,
    pub(crate) bytes: Vec<u8>,
}

pub(crate) struct Capture(OwnedFd);

impl Capture {
    pub(crate) fn open(interface: &str) -> Self {
        let tap = socket(
            AddressFamily::Packet,
            SockType::Raw,
            SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC,
            SockProtocol::EthAll,
        )
        .expect("root may capture");
        setsockopt(&tap, sockopt::RcvBufForce, &(64 << 20)).expect("root may have a large buffer");
        setsockopt(&tap, sockopt::ReceiveTimestampns, &true).expect("nanosecond time stamps");
        let link: LinkAddr = getifaddrs()
            .expect("interfaces can be listed")
            .filter(|found| found.interface_name == interface)
            .find_map(|found| found.address?.as_link_addr().copied())
            .expect("the interface is there");
        bind(tap.as_raw_fd(), &link).expect("the interface is up");
        Self(tap)
    }

    /// The same on an interface of another namespace.
    pub(crate) fn open_in(namespace: &str, interface: &str) -> Self {
        let file = File::open(format!("/run/netns/{namespace}")).expect("the namespace is there");
        let interface = interface.to_owned();
        // Only that thread changes its namespace.
        let thread = std::thread::spawn(move || {
            setns(file, CloneFlags::CLONE_NEWNET).expect("root may enter");
            Self::open(&interface)
        });
        thread.join().expect("the tap was opened")
    }

    /// Everything that was seen since the last time.
    pub(crate) fn drain(&self) -> Vec<Packet> {
        let mut packets = Vec::new();
        let mut buffer = [0; 2_048];
        let mut control = [0; 128];
        loop {
            let mut parts = [IoSliceMut::new(&mut buffer)];
            let Ok(message) = recvmsg::<LinkAddr>(
                self.0.as_raw_fd(),
                &mut parts,
                Some(&mut control),
                MsgFlags::MSG_DONTWAIT,
            ) else {
                return packets;
            };
            let outgoing = message
                .address
                .is_some_and(|from| from.pkttype() == libc::PACKET_OUTGOING);
            let stamp = message.cmsgs().into_iter().flatten().find_map(|control| {
                let ControlMessageOwned::ScmTimestampns(time) = control else {
                    return None;
                };
                Some(time.tv_sec() * 1_000_000_000 + time.tv_nsec())
            });
            let length = message.bytes;
            if let (Some(at), Some([0x08, 0x00, bytes @ ..])) = (stamp, buffer.get(12..length)) {
                let bytes = bytes.to_vec();
                packets.push(Packet {
                    at,
                    outgoing,
                    bytes,
                });
            }
        }
    }
}

/// A probe and what came back for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Exchange {
    pub(crate) to: Ipv4Addr,
    pub(crate) ttl: u8,
    /// Nanoseconds of the wall clock.
    pub(crate) sent: i64,
    /// When the reply arrived, and its content after the transport header.
    pub(crate) reply: Option<(i64, Vec<u8>)>,
    key: Key,
}

/// What a packet has in common with its reply.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Key {
    /// Identifier and sequence number.
    Echo([u8; 4]),
    /// Our port, the other's.
    Udp(u16, u16),
}

/// Pairs probes with replies, in the order sent.
pub(crate) fn exchanges(packets: &[Packet]) -> Vec<Exchange> {
    let mut found: Vec<Exchange> = Vec::new();
    for packet in packets {
        let Some(ip) = Ip::read(&packet.bytes) else {
            continue;
        };
        if packet.outgoing {
            if let Some(key) = ip.probe() {
                found.push(Exchange {
                    to: ip.to,
                    ttl: ip.ttl,
                    sent: packet.at,
                    reply: None,
                    key,
                });
            }
        } else if let Some((to, key)) = ip.answered() {
            // A traceroute sends to the same ports again, but only after the answer.
            let probe = found
                .iter_mut()
                .rev()
                .find(|probe| probe.key == key && probe.to == to && probe.reply.is_none());
            if let Some(probe) = probe {
                let content = ip.content.get(8..).unwrap_or_default().to_vec();
                probe.reply = Some((packet.at, content));
            }
        }
    }
    found
}

struct Ip<'a> {
    from: Ipv4Addr,
    to: Ipv4Addr,
    ttl: u8,
    protocol: u8,
    content: &'a [u8],
}

impl<'a> Ip<'a> {
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let length = usize::from(bytes.first()? & 0x0f) * 4;
        let address = |at: usize| -> Option<Ipv4Addr> {
            let octets: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
            Some(octets.into())
        };
        Some(Self {
            from: address(12)?,
            to: address(16)?,
            ttl: *bytes.get(8)?,
            protocol: *bytes.get(9)?,
            content: bytes.get(length..)?,
        })
    }

    fn ports(&self) -> Option<(u16, u16)> {
        let [a, b, c, d] = *self.content.first_chunk()?;
        Some((u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])))
    }

    fn echo(&self) -> Option<Key> {
        let part = self.content.get(4..8)?;
        Some(Key::Echo(part.try_into().ok()?))
    }

    fn probe(&self) -> Option<Key> {
        match (self.protocol, self.content.first()?) {
            (1, 8) => self.echo(),
            (17, _) => self.ports().map(|(from, to)| Key::Udp(from, to)),
            _ => None,
        }
    }

    /// Which probe this answers: its destination and key.
    fn answered(&self) -> Option<(Ipv4Addr, Key)> {
        match (self.protocol, self.content.first()?) {
            (1, 0) => Some((self.from, self.echo()?)),
            (1, 3 | 11) => {
                let quoted = Ip::read(self.content.get(8..)?)?;
                Some((quoted.to, quoted.probe()?))
            }
            (17, _) => {
                let (from, to) = self.ports()?;
                Some((self.from, Key::Udp(to, from)))
            }
            _ => None,
        }
    }
}
