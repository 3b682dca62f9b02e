//! Receiving: a packet with what the kernel says of it, and the error queue.

use std::{
    io::IoSliceMut,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6},
    os::fd::AsRawFd,
};

use nix::{
    errno::Errno,
    libc,
    sys::{
        socket::{self, ControlMessageOwned, MsgFlags, SockaddrStorage},
        time::TimeSpec,
    },
};

use crate::{clock::UnixTime, net::card::CardTime};

/// Room for every control message that is asked for: stamps, address, hop limit, traffic class, error.
const CONTROL: usize = 512;

/// A packet that was received, but for its bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::net) struct Header {
    pub(in crate::net) from: Option<SocketAddr>,
    pub(in crate::net) to: Option<IpAddr>,
    pub(in crate::net) hop_limit: Option<u8>,
    pub(in crate::net) tos: Option<u8>,
    /// The kernel's time of arrival.
    pub(in crate::net) stamp: Option<UnixTime>,
    /// The network card's time of arrival.
    pub(in crate::net) card: Option<CardTime>,
    /// Length of what was received.
    pub(in crate::net) length: usize,
}

impl Header {
    /// Takes what packets and errors are told alike.
    fn note(&mut self, control: &ControlMessageOwned) {
        match *control {
            ControlMessageOwned::ScmTimestampsns(stamps) => {
                self.stamp = stamp(&stamps.system);
                self.card = CardTime::read(&stamps.hw_raw);
            }
            ControlMessageOwned::Ipv4Ttl(limit) | ControlMessageOwned::Ipv6HopLimit(limit) => {
                self.hop_limit = u8::try_from(limit).ok();
            }
            ControlMessageOwned::Ipv4Tos(tos) => self.tos = Some(tos),
            ControlMessageOwned::Ipv6TClass(class) => self.tos = u8::try_from(class).ok(),
            _ => {}
        }
    }
}

/// Receives one packet into `buffer`.
pub(in crate::net) fn receive(socket: &impl AsRawFd, buffer: &mut [u8]) -> Result<Header, Errno> {
    receive_with(socket, buffer, MsgFlags::empty())
}

/// Looks at what a stream holds without taking it.
pub(in crate::net) fn peek(socket: &impl AsRawFd, buffer: &mut [u8]) -> Result<Header, Errno> {
    receive_with(socket, buffer, MsgFlags::MSG_PEEK)
}

fn receive_with(
    socket: &impl AsRawFd,
    buffer: &mut [u8],
    flags: MsgFlags,
) -> Result<Header, Errno> {
    let mut control = [0; CONTROL];
    let mut iov = [IoSliceMut::new(buffer)];
    let message = socket::recvmsg::<SockaddrStorage>(
        socket.as_raw_fd(),
        &mut iov,
        Some(&mut control),
        flags | MsgFlags::MSG_DONTWAIT,
    )?;
    let mut header = Header {
        from: message.address.as_ref().and_then(address),
        length: message.bytes,
        ..Header::default()
    };
    // Control messages that were cut tell nothing; the packet itself still counts.
    for control in message.cmsgs().into_iter().flatten() {
        match control {
            ControlMessageOwned::Ipv4PacketInfo(info) => {
                header.to = Some(Ipv4Addr::from(u32::from_be(info.ipi_addr.s_addr)).into());
            }
            ControlMessageOwned::Ipv6PacketInfo(info) => {
                header.to = Some(Ipv6Addr::from(info.ipi6_addr.s6_addr).into());
            }
            other => header.note(&other),
        }
    }
    Ok(header)
}

/// What was read from an error queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::net) enum Queued {
    /// The kernel's time of sending the packet of this number.
    Stamp {
        /// Which packet, counted from 0.
        id: u32,
        /// When.
        at: UnixTime,
    },
    /// The network card's time of sending the same, in a message of its own.
    CardStamp {
        /// Which packet, counted from 0.
        id: u32,
        /// When.
        at: CardTime,
    },
    /// An ICMP error about a packet that was sent.
    Icmp(IcmpError),
    /// Anything else.
    Other,
}

/// An ICMP error as the kernel reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::net) struct IcmpError {
    pub(in crate::net) kind: u8,
    pub(in crate::net) code: u8,
    /// The next hop's MTU where the message carries one.
    pub(in crate::net) mtu: u32,
    /// Who sent it.
    pub(in crate::net) offender: IpAddr,
    /// Where the packet had been sent.
    pub(in crate::net) destination: Option<SocketAddr>,
    /// Time and hop limit of the error, length of what it quotes of the packet.
    pub(in crate::net) header: Header,
}

/// Reads one entry of the error queue; what it quotes goes into `buffer`.
pub(in crate::net) fn receive_error(
    socket: &impl AsRawFd,
    buffer: &mut [u8],
) -> Result<Queued, Errno> {
    let mut control = [0; CONTROL];
    let mut iov = [IoSliceMut::new(buffer)];
    let message = socket::recvmsg::<SockaddrStorage>(
        socket.as_raw_fd(),
        &mut iov,
        Some(&mut control),
        MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT,
    )?;
    let mut header = Header {
        length: message.bytes,
        ..Header::default()
    };
    let mut error = None;
    for control in message.cmsgs().into_iter().flatten() {
        match control {
            ControlMessageOwned::Ipv4RecvErr(extended, offender) => {
                let offender = offender
                    .map(|from| IpAddr::from(Ipv4Addr::from(u32::from_be(from.sin_addr.s_addr))));
                error = Some((extended, offender));
            }
            ControlMessageOwned::Ipv6RecvErr(extended, offender) => {
                let offender =
                    offender.map(|from| IpAddr::from(Ipv6Addr::from(from.sin6_addr.s6_addr)));
                error = Some((extended, offender));
            }
            other => header.note(&other),
        }
    }
    let Some((extended, offender)) = error else {
        return Ok(Queued::Other);
    };
    let id = extended.ee_data;
    Ok(match (extended.ee_origin, header.stamp, offender) {
        (libc::SO_EE_ORIGIN_TIMESTAMPING, Some(at), _) => Queued::Stamp { id, at },
        (libc::SO_EE_ORIGIN_TIMESTAMPING, None, _) => match header.card {
            Some(at) => Queued::CardStamp { id, at },
            None => Queued::Other,
        },
        (libc::SO_EE_ORIGIN_ICMP | libc::SO_EE_ORIGIN_ICMP6, _, Some(offender)) => {
            Queued::Icmp(IcmpError {
                kind: extended.ee_type,
                code: extended.ee_code,
                mtu: extended.ee_info,
                offender,
                destination: message.address.as_ref().and_then(address),
                header,
            })
        }
        _ => Queued::Other,
    })
}

fn stamp(time: &TimeSpec) -> Option<UnixTime> {
    let nanos = i128::from(time.tv_sec()) * 1_000_000_000 + i128::from(time.tv_nsec());
    (nanos != 0).then(|| UnixTime::from_nanos(nanos))
}

fn address(storage: &SockaddrStorage) -> Option<SocketAddr> {
    if let Some(v4) = storage.as_sockaddr_in() {
        return Some(SocketAddrV4::new(v4.ip(), v4.port()).into());
    }
    storage
        .as_sockaddr_in6()
        .map(|v6| SocketAddrV6::new(v6.ip(), v6.port(), v6.flowinfo(), v6.scope_id()).into())
}
