//! The other end of the network, for the machine target: answers made of what a machine sent, then spoilt.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use starling::{
    measurement::{
        Kind,
        machine::{Datagram, Packet, Socket, SocketKind},
    },
    wire::{
        icmp::{self, Icmp},
        ip::{Ipv4, Ipv6},
        ntp::{self, Ntp},
        protocol::{ICMP, ICMPV6, TCP, UDP},
        tcp::{Tcp, flag},
        udp::Udp,
    },
};

use super::bytes::Bytes;

/// Where a socket is and what left it last.
pub(crate) struct Sent<'a> {
    pub(crate) kind: Kind,
    pub(crate) socket: &'a Socket,
    pub(crate) local: SocketAddr,
    pub(crate) packet: &'a Packet,
}

impl Sent<'_> {
    /// Something that could come back, as `bytes` has it.
    pub(crate) fn answer(&self, bytes: &mut Bytes<'_>) -> Datagram {
        let form = bytes.byte();
        let (from, protocol, mut packet) = match self.socket.kind {
            SocketKind::Udp { .. } => (self.socket.to, UDP, self.payload(form, bytes)),
            SocketKind::TcpProbe if form & 1 == 0 => (self.socket.to, TCP, self.segment(bytes)),
            SocketKind::Echo | SocketKind::IcmpProbe if form & 1 == 0 => {
                (self.socket.to, self.icmp(), self.reply())
            }
            _ => (self.router(form), self.icmp(), self.error(bytes)),
        };
        spoil(&mut packet, form >> 5, bytes);
        let port = match self.socket.kind {
            SocketKind::Udp { port } => port,
            _ => 0,
        };
        Datagram {
            from: SocketAddr::new(from, port),
            to: Some(self.local.ip()).filter(|_| form & 4 != 0),
            hop_limit: Some(57).filter(|_| form & 8 == 0),
            tos: Some(bytes.byte()).filter(|_| form & 16 != 0),
            bytes: packet,
            protocol,
        }
    }

    fn icmp(&self) -> u8 {
        match self.socket.to {
            IpAddr::V4(_) => ICMP,
            IpAddr::V6(_) => ICMPV6,
        }
    }

    fn router(&self, form: u8) -> IpAddr {
        match self.socket.to {
            to if form & 2 != 0 => to,
            IpAddr::V4(_) => Ipv4Addr::new(203, 0, 113, 1).into(),
            IpAddr::V6(_) => Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1).into(),
        }
    }

    /// Puts an IP header before a packet where the machine sees one.
    fn arrives(&self, from: IpAddr, protocol: u8, packet: Vec<u8>) -> Vec<u8> {
        match (from, self.local.ip()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => Ipv4::new(from, to, protocol, 57, &packet).emit(),
            _ => packet,
        }
    }

    fn reply(&self) -> Vec<u8> {
        let (v4, v6) = (icmp::v4::ECHO_REPLY, icmp::v6::ECHO_REPLY);
        let mut reply = self.packet.bytes.clone();
        if let Some(kind) = reply.first_mut() {
            *kind = if self.socket.to.is_ipv4() { v4 } else { v6 };
        }
        self.arrives(self.socket.to, self.icmp(), reply)
    }

    fn segment(&self, bytes: &mut Bytes<'_>) -> Vec<u8> {
        let Ok(probe) = Tcp::parse(&self.packet.bytes) else {
            return bytes.chunk().to_vec();
        };
        let mut reply = Tcp::syn(probe.to_port, probe.from_port, bytes.long(), &[]);
        reply.flags = bytes.of(&[flag::SYN | flag::ACK, flag::RST | flag::ACK, flag::RST, 0]);
        reply.acknowledgment = probe.sequence.wrapping_add(bytes.byte().into());
        let reply = reply.emit_between(self.socket.to, self.local.ip());
        self.arrives(self.socket.to, TCP, reply)
    }

    /// An ICMP error that quotes the packet, perhaps with an extension structure.
    fn error(&self, bytes: &mut Bytes<'_>) -> Vec<u8> {
        let kinds = if self.socket.to.is_ipv4() {
            [11, 3, 3, bytes.byte()]
        } else {
            [3, 1, 2, bytes.byte()]
        };
        let (kind, code) = (bytes.of(&kinds), bytes.byte() % 16);
        let mut body = self.quote();
        let extension = bytes.byte();
        let mut rest = [0, 0, bytes.byte(), bytes.byte()];
        if extension & 1 != 0 {
            body.resize(128, 0);
            // Stated as RFC 4884 wants, or found where older routers put it.
            if extension & 2 != 0 {
                rest[..2].copy_from_slice(&[16, 32]);
            }
            let labels = bytes.chunk();
            body.extend(icmp::extension_structure(&[
                (1, 1, labels),
                (extension, 1, &[]),
            ]));
        }
        let error = Icmp {
            kind,
            code,
            checksum: 0,
            rest,
            body: &body,
        };
        self.arrives(self.router(0), self.icmp(), error.emit_v4())
    }

    /// The packet as a router saw it.
    fn quote(&self) -> Vec<u8> {
        let (local, to, packet) = (self.local.ip(), self.socket.to, &self.packet.bytes);
        let datagram;
        let (protocol, packet) = match self.socket.kind {
            SocketKind::UdpProbe | SocketKind::Udp { .. } => {
                let from = (local, self.local.port());
                datagram = Udp::new(from, (to, self.packet.port), packet).emit();
                (UDP, &datagram)
            }
            SocketKind::TcpProbe => (TCP, packet),
            SocketKind::Echo | SocketKind::IcmpProbe => (self.icmp(), packet),
        };
        match (local, to) {
            (IpAddr::V4(local), IpAddr::V4(to)) => Ipv4::new(local, to, protocol, 1, packet).emit(),
            (IpAddr::V6(local), IpAddr::V6(to)) => Ipv6::new(local, to, protocol, 1, packet).emit(),
            _ => packet.clone(),
        }
    }

    /// What a server says over UDP.
    fn payload(&self, form: u8, bytes: &mut Bytes<'_>) -> Vec<u8> {
        let request = &self.packet.bytes;
        match (self.kind, Ntp::parse(request)) {
            (Kind::Ntp, Ok(asked)) => {
                let mut reply = Ntp::parse(&bytes.array::<48>()).expect("48 octets");
                if form & 1 == 0 {
                    (reply.mode, reply.version) = (ntp::SERVER, asked.version);
                    reply.origin = asked.transmit;
                }
                reply.emit()
            }
            _ => reply_to(request, bytes),
        }
    }
}

/// Changes as many octets as the low two bits of `form` say, and cuts the end off where the third is set.
pub(crate) fn spoil(packet: &mut Vec<u8>, form: u8, bytes: &mut Bytes<'_>) {
    for _ in 0..form & 3 {
        let (at, bits) = (usize::from(bytes.word()), bytes.byte());
        let at = at % packet.len().max(1);
        if let Some(octet) = packet.get_mut(at) {
            *octet ^= bits;
        }
    }
    if form & 4 != 0 {
        packet.truncate(usize::from(bytes.byte()));
    }
}

/// A DNS reply: the query with flags and counts of its own and records behind it.
pub(crate) fn reply_to(query: &[u8], bytes: &mut Bytes<'_>) -> Vec<u8> {
    let mut reply = query.to_vec();
    if let Some(header) = reply.first_chunk_mut::<12>() {
        header[2] |= 0x80;
        header[3] = bytes.byte();
        header[7] = bytes.byte();
    }
    reply.extend_from_slice(bytes.chunk());
    reply
}
