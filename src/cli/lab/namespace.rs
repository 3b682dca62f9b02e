//! A network of our own for users without privileges.
//!
//! Raw sockets need CAP_NET_RAW. Where the system lets ordinary users make user namespaces, the whole lab
//! runs inside one with a network namespace of its own: there we are root, and its loopback is nobody
//! else's.

use std::{
    fs,
    io::{self, ErrorKind},
    os::fd::AsRawFd,
};

use nix::{
    sched::{CloneFlags, unshare},
    sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket},
    unistd::{getegid, geteuid},
};
use socket2::{Domain, Protocol, Socket, Type};

/// Whether this process may open raw sockets where it stands.
pub(super) fn may_open_raw_sockets() -> bool {
    Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4)).is_ok()
}

/// Moves this process into a user and network namespace of its own and brings the loopback up there.
/// Must be called before any thread is started.
///
/// # Errors
/// The kernel or the administrator forbids user namespaces; nothing has changed then.
pub(super) fn enter() -> io::Result<()> {
    let (user, group) = (geteuid(), getegid());
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET)?;
    // Without this the kernel refuses the group map of a user without privileges.
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("0 {user} 1"))?;
    fs::write("/proc/self/gid_map", format!("0 {group} 1"))?;
    bring_loopback_up()
}

/// `ip link set lo up`, as one rtnetlink request.
fn bring_loopback_up() -> io::Result<()> {
    const RTM_NEWLINK: u16 = 16;
    const NLM_F_REQUEST_ACK: u16 = 1 | 4;
    const NLMSG_ERROR: u16 = 2;
    const IFF_UP: u32 = 1;
    const LOOPBACK_INDEX: i32 = 1;

    let mut request = Vec::with_capacity(32);
    request.extend(32u32.to_ne_bytes()); // nlmsghdr: length
    request.extend(RTM_NEWLINK.to_ne_bytes());
    request.extend(NLM_F_REQUEST_ACK.to_ne_bytes());
    request.extend(1u32.to_ne_bytes()); // sequence
    request.extend(0u32.to_ne_bytes()); // port
    request.extend([0u8; 4]); // ifinfomsg: family, padding, type
    request.extend(LOOPBACK_INDEX.to_ne_bytes());
    request.extend(IFF_UP.to_ne_bytes()); // flags
    request.extend(IFF_UP.to_ne_bytes()); // which of them change

    let netlink = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkRoute,
    )?;
    send(netlink.as_raw_fd(), &request, MsgFlags::empty())?;
    let mut answer = [0u8; 1024];
    let length = recv(netlink.as_raw_fd(), &mut answer, MsgFlags::empty())?;
    let answer = &answer[..length];
    let field = |at: usize| {
        answer
            .get(at..at + 4)
            .and_then(|bytes| bytes.try_into().ok())
    };
    let kind = answer
        .get(4..6)
        .and_then(|bytes| bytes.try_into().ok())
        .map(u16::from_ne_bytes);
    match (kind, field(16).map(i32::from_ne_bytes)) {
        (Some(NLMSG_ERROR), Some(0)) => Ok(()),
        (Some(NLMSG_ERROR), Some(errno)) => Err(io::Error::from_raw_os_error(-errno)),
        _ => Err(io::Error::new(
            ErrorKind::InvalidData,
            "the kernel's answer about the loopback interface cannot be read",
        )),
    }
}
