//! A small NTP server in another namespace: receive time from the kernel, transmit time read just before it sends.

use std::{
    fs::File,
    io::{IoSlice, IoSliceMut},
    net::{SocketAddrV4, UdpSocket},
    os::fd::AsRawFd,
    thread::JoinHandle,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use nix::{
    sched::{CloneFlags, setns},
    sys::socket::{
        ControlMessageOwned, MsgFlags, SockaddrIn, recvmsg, sendmsg, setsockopt, sockopt,
    },
};

/// Answers on port 123 of the namespace for as long as the process lives.
pub(crate) fn start(namespace: &str) -> JoinHandle<()> {
    let file = File::open(format!("/run/netns/{namespace}")).expect("the namespace is there");
    let (ready, is_ready) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        setns(file, CloneFlags::CLONE_NEWNET).expect("root may enter");
        let socket = UdpSocket::bind("0.0.0.0:123").expect("the port is free");
        setsockopt(&socket, sockopt::ReceiveTimestampns, &true).expect("nanosecond time stamps");
        ready.send(()).expect("the starter waits");
        loop {
            serve(&socket);
        }
    });
    is_ready.recv().expect("the responder started");
    thread
}

fn serve(socket: &UdpSocket) {
    let mut request = [0; 512];
    let mut control = [0; 128];
    let mut parts = [IoSliceMut::new(&mut request)];
    let flags = MsgFlags::empty();
    let Ok(message) =
        recvmsg::<SockaddrIn>(socket.as_raw_fd(), &mut parts, Some(&mut control), flags)
    else {
        return;
    };
    let stamp = message.cmsgs().into_iter().flatten().find_map(|control| {
        let ControlMessageOwned::ScmTimestampns(time) = control else {
            return None;
        };
        let (secs, nanos) = (time.tv_sec(), time.tv_nsec());
        Some(Duration::new(secs.try_into().ok()?, nanos.try_into().ok()?))
    });
    let (Some(from), Some(received), true) = (message.address, stamp, message.bytes >= 48) else {
        return;
    };
    let mut reply = [0; 48];
    // No warning, version 4, server; stratum 1.
    reply[..4].copy_from_slice(&[0x24, 1, 6, 0xec]);
    reply[12..16].copy_from_slice(b"LOCL");
    reply[16..24].copy_from_slice(&timestamp(received));
    reply[24..32].copy_from_slice(&request[40..48]);
    reply[32..40].copy_from_slice(&timestamp(received));
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    reply[40..48].copy_from_slice(&timestamp(now.expect("it is after 1970")));
    let to = SockaddrIn::from(SocketAddrV4::new(from.ip(), from.port()));
    // A reply that cannot be sent is a lost one.
    let _ = sendmsg(
        socket.as_raw_fd(),
        &[IoSlice::new(&reply)],
        &[],
        flags,
        Some(&to),
    );
}

/// Seconds from 1900 to 1970.
const ERA: u64 = 2_208_988_800;

/// An NTP timestamp (RFC 5905 section 6).
fn timestamp(since_1970: Duration) -> [u8; 8] {
    let fraction = (u64::from(since_1970.subsec_nanos()) << 32) / 1_000_000_000;
    (((since_1970.as_secs() + ERA) << 32) | fraction).to_be_bytes()
}

/// Nanoseconds since 1970 of an NTP timestamp.
pub(crate) fn nanos(timestamp: [u8; 8]) -> i64 {
    let number = u64::from_be_bytes(timestamp);
    let secs = (number >> 32) - ERA;
    let nanos = ((number & 0xffff_ffff) * 1_000_000_000) >> 32;
    i64::try_from(secs * 1_000_000_000 + nanos).expect("it is before 2262")
}
