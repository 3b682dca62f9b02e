//! What a machine may be told, as the input has it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use starling::measurement::{
    Input,
    machine::{Call, Datagram, Failure, Family, Handle, ResolveError, TlsFailure, TlsSession},
};

use super::bytes::Bytes;

pub(crate) fn addresses(family: Family, bytes: &mut Bytes<'_>) -> Vec<IpAddr> {
    let count = 1 + bytes.byte() % 3;
    let v4: [IpAddr; 3] = [[192, 0, 2, 1], [198, 51, 100, 7], [127, 0, 0, 1]]
        .map(|octets| Ipv4Addr::from(octets).into());
    let v6 = [
        Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(),
        Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1).into(),
        Ipv6Addr::LOCALHOST.into(),
    ];
    let all = v4.into_iter().chain(v6);
    let of_family: Vec<IpAddr> = all.filter(|address| family.wants(*address)).collect();
    of_family.into_iter().take(count.into()).collect()
}

pub(crate) fn local(to: IpAddr) -> SocketAddr {
    match to {
        IpAddr::V4(_) => SocketAddr::new(Ipv4Addr::new(198, 51, 100, 9).into(), 40_000),
        IpAddr::V6(_) => {
            let ours = Ipv6Addr::new(0x2001, 0xdb8, 9, 0, 0, 0, 0, 9);
            SocketAddr::new(ours.into(), 40_000)
        }
    }
}

pub(crate) fn session(form: u8, bytes: &mut Bytes<'_>) -> TlsSession {
    TlsSession {
        version: 0x0303 + u16::from(form >> 1 & 1),
        cipher: 0x1301,
        alpn: (form & 4 == 0).then(|| b"h2".to_vec()),
        certificates: (0..form >> 6).map(|_| bytes.chunk().to_vec()).collect(),
    }
}

pub(crate) fn failure(bytes: &mut Bytes<'_>) -> Failure {
    let form = bytes.byte();
    let call = bytes.of(&[
        Call::Connect,
        Call::Send,
        Call::Socket,
        Call::Bind,
        Call::Tos,
        Call::Write,
        Call::Receive,
    ]);
    match form % 8 {
        0..=3 => Failure::Os {
            call,
            errno: bytes.of(&[111, 113, 101, 90, 13, 1, 0, -7, i32::MAX]),
        },
        4 => Failure::Forbidden(Ipv4Addr::LOCALHOST.into()),
        5 => Failure::Bind,
        _ => Failure::Tls(match form >> 4 {
            0..=3 => TlsFailure::Alert(bytes.byte()),
            4 => TlsFailure::Closed,
            5 => TlsFailure::NotTls,
            6 => TlsFailure::Certificate("expired \"today\"\n".to_owned()),
            _ => TlsFailure::Other("\u{1}odd\\".to_owned()),
        }),
    }
}

pub(crate) fn datagram(bytes: &mut Bytes<'_>) -> Datagram {
    let form = bytes.byte();
    let from: IpAddr = match form & 1 {
        0 => bytes.array::<4>().into(),
        _ => bytes.array::<16>().into(),
    };
    Datagram {
        from: SocketAddr::new(from, bytes.word()),
        to: None,
        hop_limit: Some(form),
        tos: None,
        protocol: bytes.of(&[1, 6, 17, 58]),
        bytes: bytes.chunk().to_vec(),
    }
}

/// Something that no driver would say at this time.
pub(crate) fn stray(bytes: &mut Bytes<'_>) -> Input {
    let form = bytes.byte();
    let on = Handle(u16::from(form >> 4));
    let tag = u32::from(bytes.byte());
    match form & 15 {
        0 => Input::Opened {
            on,
            local: SocketAddr::new(bytes.array::<4>().into(), 0),
            ident: u16::from(form),
        },
        1 => Input::Sent { on, tag },
        2 => Input::Stamped { on, tag },
        3 => Input::Datagram {
            on,
            datagram: datagram(bytes),
        },
        4 => Input::Connected {
            on,
            local: SocketAddr::new(bytes.array::<16>().into(), 1),
            handshake: None,
            tls: (tag & 1 == 1).then(|| session(form, bytes)),
        },
        5 => Input::Written { on },
        6 => Input::Readable { on },
        7 => Input::Read {
            on,
            bytes: bytes.chunk().to_vec(),
        },
        8 => Input::Ended { on, errno: None },
        9 => Input::Failed {
            on,
            tag: (tag & 1 == 1).then_some(tag >> 1),
            cause: failure(bytes),
        },
        10 => Input::Resolved(Ok(addresses(Family::Both, bytes))),
        11 => Input::Resolved(Err(ResolveError::NotKnown)),
        12 => Input::Resolvers(vec!["192.0.2.9".to_owned()]),
        13 => Input::File((tag & 1 == 1).then(|| bytes.chunk().to_vec())),
        14 => Input::Certified {
            on,
            tls: session(form, bytes),
        },
        _ => Input::Deadline,
    }
}
