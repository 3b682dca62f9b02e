//! Socket options that nix does not declare.

use std::ffi::OsString;

use nix::{libc, sys::socket::sockopt};

#[derive(Clone, Copy, Debug)]
pub(super) struct MtuDiscover;
nix::setsockopt_impl!(
    MtuDiscover,
    libc::IPPROTO_IP,
    libc::IP_MTU_DISCOVER,
    i32,
    sockopt::SetStruct<i32>
);

#[derive(Clone, Copy, Debug)]
pub(super) struct Ipv6MtuDiscover;
nix::setsockopt_impl!(
    Ipv6MtuDiscover,
    libc::IPPROTO_IPV6,
    libc::IPV6_MTU_DISCOVER,
    i32,
    sockopt::SetStruct<i32>
);

#[derive(Clone, Copy, Debug)]
pub(super) struct HopByHop;
nix::setsockopt_impl!(
    HopByHop,
    libc::IPPROTO_IPV6,
    libc::IPV6_HOPOPTS,
    OsString,
    sockopt::SetOsString
);

#[derive(Clone, Copy, Debug)]
pub(super) struct DestinationOptions;
nix::setsockopt_impl!(
    DestinationOptions,
    libc::IPPROTO_IPV6,
    libc::IPV6_DSTOPTS,
    OsString,
    sockopt::SetOsString
);

#[derive(Clone, Copy, Debug)]
pub(super) struct SelectErrorQueue;
nix::setsockopt_impl!(
    SelectErrorQueue,
    libc::SOL_SOCKET,
    libc::SO_SELECT_ERR_QUEUE,
    bool,
    sockopt::SetBool
);

/// The beginning of `tcp_info`, which every kernel has. The C library's whole structure is that of the newest kernel;
/// an older one fills less of it, at which nix panics.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(super) struct TcpBeginning {
    octets: [u8; 8],
    before_last_ack_recv: [u32; 12],
    pub(super) last_ack_recv: u32,
    before_rtt: [u32; 2],
    pub(super) rtt: u32,
    before_total_retrans: [u32; 7],
    pub(super) total_retrans: u32,
}
const _: () = assert!(size_of::<TcpBeginning>() == 104);

#[derive(Clone, Copy, Debug)]
pub(super) struct TcpInfo;
nix::getsockopt_impl!(
    TcpInfo,
    libc::IPPROTO_TCP,
    libc::TCP_INFO,
    TcpBeginning,
    sockopt::GetStruct<TcpBeginning>
);
