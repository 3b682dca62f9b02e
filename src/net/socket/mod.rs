//! One socket: opening, options, sending with control messages; receiving with the kernel's time stamp and the error
//! queue in [`receive`](self::receive()). No decision is taken here.

use std::{
    ffi::OsString,
    io::{self, IoSlice},
    net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, SocketAddrV6},
    os::{
        fd::{AsFd, AsRawFd},
        unix::ffi::OsStringExt,
    },
    sync::LazyLock,
    time::Duration,
};

use nix::{
    errno::Errno,
    libc,
    sys::socket::{self, ControlMessage, MsgFlags, SockaddrStorage, TimestampingFlag, sockopt},
};
use socket2::{Domain, Protocol, SockAddr, SockFilter, Socket, Type};
use tokio::io::{Interest, unix::AsyncFd};

use super::demux::Instruction;
use crate::measurement::machine::{Call, Failure, Fragment};

mod option;
mod receive;

pub(super) use receive::{Header, IcmpError, Queued, peek, receive, receive_error};

/// The largest datagram there is.
pub(super) const LARGEST: usize = 65_535;

/// IP's number for ICMP.
pub(super) const ICMP: u8 = 1;
/// IP's number for TCP.
pub(super) const TCP: u8 = 6;
/// IP's number for UDP.
pub(super) const UDP: u8 = 17;
/// IP's number for ICMPv6.
pub(super) const ICMPV6: u8 = 58;

/// A socket that is open and watched by the runtime.
pub(super) type Watched = AsyncFd<Socket>;

/// Opens a non-blocking socket for the family of `of`.
pub(super) fn open(of: IpAddr, kind: Type, protocol: u8) -> Result<Socket, Failure> {
    let domain = Domain::for_address(SocketAddr::new(of, 0));
    Socket::new(
        domain,
        kind.nonblocking().cloexec(),
        Some(Protocol::from(i32::from(protocol))),
    )
    .map_err(|error| failure(Call::Socket, &error))
}

/// Whether ICMP sockets of this kind may be opened.
pub(super) fn may_open(kind: Type) -> bool {
    let v4 = IpAddr::from(Ipv4Addr::UNSPECIFIED);
    open(v4, kind, ICMP).is_ok()
}

/// What the kernel is asked to stamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stamps {
    /// Packets that arrive.
    Received,
    /// Those and packets that leave, numbered from 0 in the order sent.
    Both,
    /// The same, those that leave by the network card as well, each in a message of its own.
    BothByCard,
}

impl Stamps {
    /// What arrives is told with the card's stamp wherever the card makes one; nothing here tells it to.
    fn flags(self) -> TimestampingFlag {
        let received = TimestampingFlag::SOF_TIMESTAMPING_SOFTWARE
            | TimestampingFlag::SOF_TIMESTAMPING_RX_SOFTWARE
            | TimestampingFlag::SOF_TIMESTAMPING_RAW_HARDWARE
            | TimestampingFlag::SOF_TIMESTAMPING_RX_HARDWARE;
        let both = received
            | TimestampingFlag::SOF_TIMESTAMPING_TX_SOFTWARE
            | TimestampingFlag::SOF_TIMESTAMPING_OPT_ID
            | TimestampingFlag::SOF_TIMESTAMPING_OPT_TSONLY;
        match self {
            Self::Received => received,
            Self::Both => both,
            Self::BothByCard => {
                both | TimestampingFlag::SOF_TIMESTAMPING_TX_HARDWARE
                    | TimestampingFlag::from_bits_retain(libc::SOF_TIMESTAMPING_OPT_TX_SWHW)
            }
        }
    }
}

/// Asks for time stamps and for what stands in the IP header of arriving packets. What the kernel does not
/// know how to do is not done: times are then this process's own.
pub(super) fn ask(socket: &Socket, v6: bool, stamps: Stamps) {
    let mut refused = Vec::new();
    let mut note = |what: &'static str, result: nix::Result<()>| {
        if let Err(errno) = result {
            refused.push((what, errno));
        }
    };
    note(
        "time stamps",
        socket::setsockopt(socket, sockopt::Timestamping, &stamps.flags()),
    );
    if v6 {
        note(
            "hop limit",
            socket::setsockopt(socket, sockopt::Ipv6RecvHopLimit, &true),
        );
        note(
            "destination",
            socket::setsockopt(socket, sockopt::Ipv6RecvPacketInfo, &true),
        );
        note(
            "traffic class",
            socket::setsockopt(socket, sockopt::Ipv6RecvTClass, &true),
        );
    } else {
        note(
            "TTL",
            socket::setsockopt(socket, sockopt::Ipv4RecvTtl, &true),
        );
        note(
            "destination",
            socket::setsockopt(socket, sockopt::Ipv4PacketInfo, &true),
        );
        note("TOS", socket::setsockopt(socket, sockopt::IpRecvTos, &true));
    }
    for (what, errno) in refused {
        tracing::debug!(what, %errno, "the kernel does not tell");
    }
}

/// Asks for the network card's stamps of what leaves, too. Packets keep their numbers.
pub(super) fn ask_card(socket: &impl AsFd) {
    let flags = Stamps::BothByCard.flags();
    if let Err(errno) = socket::setsockopt(socket, sockopt::Timestamping, &flags) {
        // A kernel before 4.13, which would give either stamp and not both.
        tracing::debug!(what = "the network card's time stamps", %errno, "the kernel does not tell");
    }
}

/// Asks for ICMP errors about packets sent to be put into the error queue.
pub(super) fn ask_for_errors(socket: &Socket, v6: bool) -> io::Result<()> {
    if v6 {
        socket::setsockopt(socket, sockopt::Ipv6RecvErr, &true)?;
    } else {
        socket::setsockopt(socket, sockopt::Ipv4RecvErr, &true)?;
    }
    Ok(())
}

/// A socket that only keeps the kernel stamping. It begins to some time after the first socket asks for stamps,
/// and gives packets that came before that the time at which they are read.
pub(super) fn keep_stamping() -> Option<Socket> {
    let v4 = IpAddr::from(Ipv4Addr::UNSPECIFIED);
    let socket = open(v4, Type::DGRAM, UDP).ok()?;
    ask(&socket, false, Stamps::Received);
    Some(socket)
}

/// What the kernel knows of the handshake of a connection that has just been made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Handshake {
    /// Its round trip; `None` if a SYN was repeated.
    pub(super) round_trip: Option<Duration>,
    /// How long ago it ended, in whole milliseconds.
    pub(super) ago: Duration,
}

/// The same; nothing where the kernel does not tell.
pub(super) fn handshake(socket: &Socket) -> Handshake {
    if !tells_structures() {
        return Handshake::default();
    }
    let Ok(info) = socket::getsockopt(socket, option::TcpInfo) else {
        return Handshake::default();
    };
    let is_clean = info.total_retrans == 0 && info.rtt > 0;
    Handshake {
        round_trip: is_clean.then(|| Duration::from_micros(info.rtt.into())),
        ago: Duration::from_millis(info.last_ack_recv.into()),
    }
}

/// Whether a TCP option may be longer than a number. An emulator of another processor (qemu's user mode) cuts all of them
/// off after four octets, at which nix panics; the kernel knows such a process by the emulator's name.
fn tells_structures() -> bool {
    static TELLS: LazyLock<bool> = LazyLock::new(|| {
        let name = std::fs::read("/proc/self/comm").unwrap_or_default();
        !name.starts_with(b"qemu-")
    });
    *TELLS
}

/// Hands a socket to the runtime. Transmit times and errors wake nobody.
pub(super) fn watch(socket: Socket, interest: Interest) -> Result<Watched, Failure> {
    watched(socket, interest).map_err(|error| failure(Call::Socket, &error))
}

/// Hands a socket to the runtime whose error queue is something to read as well.
pub(super) fn watch_errors(socket: Socket) -> Result<Watched, Failure> {
    if let Err(errno) = socket::setsockopt(&socket, option::SelectErrorQueue, &true) {
        tracing::debug!(what = "error queue readiness", %errno, "the kernel does not tell");
    }
    watch(socket, Interest::READABLE | Interest::PRIORITY)
}

/// Hands a descriptor to the runtime.
#[expect(
    deprecated,
    reason = "the successor is an unsafe function; `of` owns its descriptor, which is what it asks for"
)]
pub(super) fn watched<T: AsRawFd>(of: T, interest: Interest) -> io::Result<AsyncFd<T>> {
    AsyncFd::with_interest(of, interest)
}

/// Whether the runtime knows of something that was not taken in yet. Asks the kernel nothing.
pub(super) fn is_ready(socket: &Watched) -> bool {
    socket.try_io(Interest::READABLE, |_| Ok(())).is_ok()
}

/// Binds per `-I`: to the address if it is one of the family, to the device of that name otherwise
/// (`packet-measurements` section 1.6). Returns whether an address was bound.
pub(super) fn bind(socket: &Socket, v6: bool, to: Option<&str>) -> Result<(), Failure> {
    match to.map(|text| bind_target(text, v6)) {
        None => Ok(()),
        Some(Bind::Address(address)) => socket
            .bind(&SocketAddr::new(address, 0).into())
            .map_err(|_| Failure::Bind),
        Some(Bind::Device(name)) => socket
            .bind_device(Some(name.as_bytes()))
            .map_err(|_| Failure::Bind),
    }
}

/// What `-I` names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Bind<'a> {
    /// An address of the wanted family.
    Address(IpAddr),
    /// Anything else.
    Device(&'a str),
}

pub(super) fn bind_target(text: &str, v6: bool) -> Bind<'_> {
    match text.parse::<IpAddr>() {
        Ok(address) if address.is_ipv6() == v6 => Bind::Address(address),
        _ => Bind::Device(text),
    }
}

/// Only the device part of `-I`, for a socket whose address is bound otherwise.
pub(super) fn bind_device(socket: &Socket, v6: bool, to: Option<&str>) -> Result<(), Failure> {
    match to.map(|text| bind_target(text, v6)) {
        Some(Bind::Device(_)) => bind(socket, v6, to),
        _ => Ok(()),
    }
}

/// The kernel's choice of local address towards `to`; fails where no route leads there.
pub(super) fn route(to: IpAddr, bound_to: Option<&str>) -> Result<IpAddr, Failure> {
    let socket = open(to, Type::DGRAM, UDP)?;
    bind(&socket, to.is_ipv6(), bound_to)?;
    // Any port: nothing is sent.
    socket
        .connect(&SocketAddr::new(to, 9).into())
        .map_err(|error| failure(Call::Connect, &error))?;
    local(&socket).map(|local| local.ip())
}

/// The local address of a socket.
pub(super) fn local(socket: &Socket) -> Result<SocketAddr, Failure> {
    socket
        .local_addr()
        .ok()
        .as_ref()
        .and_then(SockAddr::as_socket)
        .ok_or(Failure::Os {
            call: Call::Connect,
            errno: libc::EAFNOSUPPORT,
        })
}

/// Path MTU discovery.
pub(super) fn fragment(socket: &Socket, v6: bool, fragment: Fragment) -> Result<(), Failure> {
    let discover = match fragment {
        Fragment::KernelDecides => return Ok(()),
        Fragment::Never => libc::IP_PMTUDISC_DO,
        Fragment::Allowed => libc::IP_PMTUDISC_DONT,
    };
    let result = if v6 {
        let never = fragment == Fragment::Never;
        let discovery = socket::setsockopt(socket, option::Ipv6MtuDiscover, &discover);
        discovery.and_then(
            |()| match socket::setsockopt(socket, sockopt::Ipv6DontFrag, &never) {
                // Emulators do not know it. Only packets longer than a link's would go otherwise.
                Err(Errno::ENOPROTOOPT) => Ok(()),
                set => set,
            },
        )
    } else {
        socket::setsockopt(socket, option::MtuDiscover, &discover)
    };
    result.map_err(|errno| os(Call::Socket, errno))
}

/// TOS or traffic class of everything sent; 0 leaves the kernel's.
pub(super) fn tos(socket: &Socket, v6: bool, tos: u8) -> Result<(), Failure> {
    if tos == 0 {
        return Ok(());
    }
    let result = if v6 {
        socket::setsockopt(socket, sockopt::Ipv6TClass, &i32::from(tos))
    } else {
        socket::setsockopt(socket, sockopt::Ipv4Tos, &i32::from(tos))
    };
    result.map_err(|errno| os(Call::Tos, errno))
}

/// IPv6 extension headers of everything sent. A header that the kernel refuses is not sent, silently
/// (`packet-measurements` section 1.7).
pub(super) fn extension_headers(socket: &Socket, hop_by_hop: &[u8], destination: &[u8]) {
    if !hop_by_hop.is_empty() {
        let header = OsString::from_vec(hop_by_hop.to_vec());
        if let Err(errno) = socket::setsockopt(socket, option::HopByHop, &header) {
            tracing::debug!(%errno, "hop-by-hop options not sent");
        }
    }
    if !destination.is_empty() {
        let header = OsString::from_vec(destination.to_vec());
        if let Err(errno) = socket::setsockopt(socket, option::DestinationOptions, &header) {
            tracing::debug!(%errno, "destination options not sent");
        }
    }
}

/// Asks for room for packets in both directions, past the system's limit where that is allowed.
pub(super) fn buffers(socket: &Socket, bytes: usize) {
    let wanted = [
        socket::setsockopt(socket, sockopt::RcvBufForce, &bytes)
            .or_else(|_| socket::setsockopt(socket, sockopt::RcvBuf, &bytes)),
        socket::setsockopt(socket, sockopt::SndBufForce, &bytes)
            .or_else(|_| socket::setsockopt(socket, sockopt::SndBuf, &bytes)),
    ];
    for errno in wanted.into_iter().filter_map(Result::err) {
        tracing::debug!(%errno, "socket buffer left as it is");
    }
}

/// Attaches a packet filter. Without one everything is let in and sorted here: slower, not wrong.
pub(super) fn filter(socket: &Socket, program: &[Instruction]) {
    let program: Vec<SockFilter> = program
        .iter()
        .map(|step| SockFilter::new(step.code, step.then, step.otherwise, step.value))
        .collect();
    if let Err(error) = socket.attach_filter(&program) {
        tracing::debug!(%error, "packet filter refused");
    }
}

/// Sends one packet. `to` is `None` on a connected socket.
pub(super) fn send(
    socket: &impl AsRawFd,
    v6: bool,
    bytes: &[u8],
    to: Option<SocketAddr>,
    hop_limit: Option<u8>,
) -> Result<(), Errno> {
    let to = to.map(SockaddrStorage::from);
    let iov = [IoSlice::new(bytes)];
    let limit = hop_limit.map(i32::from).unwrap_or_default();
    let control = if v6 {
        [ControlMessage::Ipv6HopLimit(&limit)]
    } else {
        [ControlMessage::Ipv4Ttl(&limit)]
    };
    let control = if hop_limit.is_some() {
        &control[..]
    } else {
        &[]
    };
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    loop {
        match socket::sendmsg(socket.as_raw_fd(), &iov, control, flags, to.as_ref()) {
            Ok(_) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// The address with another port; of what comes with an IPv6 address only the scope stays.
pub(super) fn with_port(address: SocketAddr, port: u16) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) => SocketAddrV4::new(*v4.ip(), port).into(),
        SocketAddr::V6(v6) => SocketAddrV6::new(*v6.ip(), port, 0, v6.scope_id()).into(),
    }
}

/// The interface with this number as the C library prints it behind a link-local address: its name, or the number of
/// one that is not there (any more).
pub(super) fn zone(scope: u32) -> String {
    // Of no interface the name comes back empty.
    nix::net::if_::if_indextoname(scope)
        .ok()
        .map(|name| name.to_string_lossy().into_owned())
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| scope.to_string())
}

/// The name of the interface that is named by its number, as the C library lets one do behind a link-local address.
pub(super) fn interface(text: String) -> String {
    match text.parse() {
        Ok(scope) if nix::net::if_::if_nametoindex(text.as_str()).is_err() => zone(scope),
        _ => text,
    }
}

/// A failed system call as a machine is told.
pub(super) fn failure(call: Call, error: &io::Error) -> Failure {
    Failure::Os {
        call,
        errno: error.raw_os_error().unwrap_or(libc::EIO),
    }
}

/// The same from an errno.
pub(super) const fn os(call: Call, errno: Errno) -> Failure {
    Failure::Os {
        call,
        errno: errno as i32,
    }
}

/// Whether a failure means that the process lacks a privilege.
pub(super) const fn lacks_privilege(failure: &Failure) -> bool {
    matches!(
        failure,
        Failure::Os {
            call: Call::Socket,
            errno: libc::EPERM | libc::EACCES,
        }
    )
}

/// Keeps `AsFd` in reach of the option macros.
const _: fn(&Socket) -> std::os::fd::BorrowedFd<'_> = Socket::as_fd;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_the_other_family_names_a_device() {
        let four = "192.0.2.1";
        assert_eq!(
            bind_target(four, false),
            Bind::Address(four.parse().unwrap())
        );
        assert_eq!(bind_target(four, true), Bind::Device(four));
        assert_eq!(bind_target("eth0", false), Bind::Device("eth0"));
    }

    #[test]
    fn an_interface_that_is_not_there_is_printed_by_its_number() {
        assert_eq!(zone(1), "lo");
        assert_eq!(zone(4_000_000_000), "4000000000");
    }

    #[test]
    fn an_interface_may_be_named_by_its_number() {
        for (text, name) in [
            ("1", "lo"),
            ("lo", "lo"),
            ("4000000000", "4000000000"),
            ("2001:db8::1", "2001:db8::1"),
        ] {
            assert_eq!(interface(text.to_owned()), name);
        }
    }

    #[test]
    fn the_local_address_towards_loopback_is_loopback() {
        for address in ["127.0.0.1", "::1"] {
            let to: IpAddr = address.parse().unwrap();
            assert_eq!(route(to, None), Ok(to));
        }
    }

    #[test]
    fn binding_to_an_address_of_another_host_fails() {
        let to = "127.0.0.1".parse().unwrap();
        assert_eq!(route(to, Some("192.0.2.77")), Err(Failure::Bind));
        assert_eq!(route(to, Some("no-such-device")), Err(Failure::Bind));
    }

    #[test]
    fn asking_for_a_cards_stamps_keeps_the_kernels_and_their_numbers() {
        let to: SocketAddr = "127.0.0.1:9".parse().unwrap();
        let socket = open(to.ip(), Type::DGRAM, UDP).unwrap();
        ask(&socket, false, Stamps::Both);
        let asked = || socket::getsockopt(&socket, sockopt::Timestamping).unwrap();
        assert_eq!(asked(), Stamps::Both.flags());
        let mut stamped = Vec::new();
        for number in 0..4 {
            if number == 2 {
                ask_card(&socket);
                assert_eq!(asked(), Stamps::BothByCard.flags());
            }
            send(&socket, false, b"x", Some(to), None).unwrap();
            // The loopback interface stamps within the call, by the kernel's clock alone.
            match receive_error(&socket, &mut [0; 64]) {
                Ok(Queued::Stamp { id, .. }) => stamped.push(id),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(stamped, [0, 1, 2, 3]);
    }
}
