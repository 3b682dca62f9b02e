//! What was on the wire: a packet socket on the measuring host's interface, with the kernel's nanosecond times.
//!
//! Nobody waits for it; it is read when a tool has ended, so that watching disturbs nothing.

use std::{
    fs::File,
    io::IoSliceMut,
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

/// One packet, from its IP header on.
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
            if let (Some(at), Some([0x08, 0x00, bytes @ ..] | [0x86, 0xdd, bytes @ ..])) =
                (stamp, buffer.get(12..length))
            {
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
