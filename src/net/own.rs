//! A datagram or raw socket that belongs to one run.

use std::{
    collections::VecDeque,
    net::{IpAddr, SocketAddr},
    task::{Context, Poll},
};

use nix::errno::Errno;

use super::{
    Arrived, demux,
    errors::{Recent, icmp_from_error_queue},
    outstanding::Outstanding,
    socket::{self, Header, ICMP, ICMPV6, IcmpError, Queued, TCP, UDP, Watched},
    timing::Timing,
};
use crate::{
    clock::Tick,
    measurement::machine::{Call, Datagram, Handle, Input},
};

/// Packets handled before other inputs get their turn.
const BATCH: usize = 64;

/// What a socket of one run is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Connected UDP.
    Udp,
    /// UDP probes; what comes back is heard elsewhere.
    SendOnly,
    /// UDP probes; ICMP errors come by the error queue, for lack of a raw socket.
    UdpErrors,
    /// Raw TCP, connected.
    Tcp,
    /// Datagram ICMP; hears replies from the target only.
    Ping,
    /// Datagram ICMP; hears replies from anyone and ICMP errors by the error queue.
    PingProbe,
}

impl Role {
    /// Whether ICMP errors come by the error queue.
    const fn has_errors(self) -> bool {
        matches!(self, Self::UdpErrors | Self::PingProbe)
    }
}

/// The socket.
#[derive(Debug)]
pub(super) struct Own {
    socket: Watched,
    role: Role,
    /// The run's name for it, and which opening of that name.
    of: (Handle, u64),
    /// The target.
    to: IpAddr,
    local: SocketAddr,
    sent: Outstanding<u32>,
    recent: Recent,
    empty_at: Tick,
    buffer: Vec<u8>,
}

impl Own {
    pub(super) fn new(
        socket: Watched,
        role: Role,
        of: (Handle, u64),
        to: IpAddr,
        local: SocketAddr,
        opened: Tick,
    ) -> Self {
        Self {
            socket,
            role,
            of,
            to,
            local,
            sent: Outstanding::new(),
            recent: Recent::default(),
            empty_at: opened,
            buffer: Vec::new(),
        }
    }

    pub(super) const fn local(&self) -> SocketAddr {
        self.local
    }

    /// Whether ICMP errors are put together from what the error queue tells of them.
    pub(super) const fn guesses(&self) -> bool {
        self.role.has_errors()
    }

    /// Sends one packet, to `port` of the target if the socket is not connected.
    pub(super) fn send(
        &mut self,
        timing: &Timing,
        tag: u32,
        bytes: &[u8],
        port: u16,
        hop_limit: Option<u8>,
    ) -> Result<(), Errno> {
        let to = match self.role {
            Role::Udp | Role::Tcp => None,
            Role::SendOnly | Role::UdpErrors => Some(SocketAddr::new(self.to, port)),
            Role::Ping | Role::PingProbe => Some(SocketAddr::new(self.to, 0)),
        };
        if self.role.has_errors() {
            // An error that the queue told already would fail this send as well. Nothing to be done if it
            // cannot be taken.
            let _ = self.socket.get_ref().take_error();
            self.recent.push(port, bytes);
        }
        if timing.is_stamped_by_cards() && self.sent.ask_card() {
            socket::ask_card(&self.socket);
        }
        let before = timing.tick();
        socket::send(&self.socket, self.to.is_ipv6(), bytes, to, hop_limit)?;
        self.sent.push(before, tag);
        Ok(())
    }

    /// Ready when something may have arrived; [`drain`](Self::drain) tells what.
    pub(super) fn poll_ready(&self, context: &mut Context<'_>) -> Poll<()> {
        // An error means that the runtime is shutting down: nothing will come any more.
        match self.socket.poll_read_ready(context) {
            Poll::Ready(Ok(mut ready)) => {
                // Cleared before reading: what arrives from now on makes it ready again.
                ready.clear_ready();
                Poll::Ready(())
            }
            Poll::Ready(Err(_)) | Poll::Pending => Poll::Pending,
        }
    }

    /// Whether the runtime knows of something that was not taken in yet.
    pub(super) fn is_ready(&self) -> bool {
        socket::is_ready(&self.socket)
    }

    /// Takes in what has arrived: transmit times before packets, since a reply cannot arrive before its
    /// request was stamped.
    pub(super) fn drain(&mut self, timing: &Timing, into: &mut VecDeque<Arrived>) -> Drained {
        if self.buffer.is_empty() {
            self.buffer = vec![0; socket::LARGEST];
        }
        let mut packets = Vec::new();
        let drained = self.receive(timing, &mut packets);
        self.error_queue(timing, into);
        into.extend(packets);
        drained
    }

    /// Takes in transmit times only.
    pub(super) fn stamps(&mut self, timing: &Timing, into: &mut VecDeque<Arrived>) {
        if !self.sent.is_empty() {
            self.error_queue(timing, into);
        }
    }

    fn receive(&mut self, timing: &Timing, packets: &mut Vec<Arrived>) -> Drained {
        for _ in 0..BATCH {
            let asked = timing.tick();
            match socket::receive(&self.socket, &mut self.buffer) {
                Ok(header) => packets.extend(self.sort(timing, &header)),
                Err(Errno::EAGAIN) => {
                    self.empty_at = asked;
                    return Drained::All;
                }
                // An ICMP error that the kernel remembered, now forgotten: the request times out.
                Err(errno) if self.role == Role::Udp => {
                    let input = Input::Failed {
                        on: self.of.0,
                        tag: None,
                        cause: socket::os(Call::Receive, errno),
                    };
                    packets.push(Arrived::noticed(timing.now(), Some(self.of), input));
                }
                Err(errno) => tracing::trace!(%errno, "receive error ignored"),
            }
        }
        Drained::Part
    }

    fn sort(&self, timing: &Timing, header: &Header) -> Option<Arrived> {
        let from = header.from?;
        let content = &self.buffer[..header.length];
        let (protocol, bytes) = match self.role {
            Role::Udp => (UDP, content.to_vec()),
            Role::Tcp => (TCP, content.to_vec()),
            Role::SendOnly | Role::UdpErrors => return None,
            Role::Ping if from.ip() != self.to => return None,
            Role::Ping | Role::PingProbe => self.ping(header, from.ip(), content)?,
        };
        let port = if self.role == Role::Udp {
            from.port()
        } else {
            0
        };
        let (now, precision) = timing.stamped(header.stamp, self.empty_at);
        timing.note_card(header.card);
        let datagram = Datagram {
            from: socket::with_port(from, port),
            to: header.to,
            hop_limit: header.hop_limit,
            tos: header.tos,
            bytes,
            protocol,
        };
        let on = self.of.0;
        Some(Arrived {
            now,
            precision,
            input: Input::Datagram { on, datagram },
            of: Some(self.of),
            card: header.card,
        })
    }

    /// An echo reply of a datagram socket, which comes without its IPv4 header.
    fn ping(&self, header: &Header, from: IpAddr, content: &[u8]) -> Option<(u8, Vec<u8>)> {
        if self.to.is_ipv6() {
            return (content.first() == Some(&129)).then(|| (ICMPV6, content.to_vec()));
        }
        if content.first() != Some(&0) {
            return None;
        }
        let (from, to) = demux::both_v4(from, header.to.unwrap_or(self.local.ip()))?;
        let limit = header.hop_limit.unwrap_or(0);
        let tos = header.tos.unwrap_or(0);
        let mut bytes = demux::ipv4_header(from, to, limit, tos, ICMP, content.len()).to_vec();
        bytes.extend_from_slice(content);
        Some((ICMP, bytes))
    }

    fn error_queue(&mut self, timing: &Timing, into: &mut VecDeque<Arrived>) {
        let mut errors = Vec::new();
        while self.role.has_errors() || !self.sent.is_empty() {
            if self.buffer.is_empty() {
                self.buffer = vec![0; socket::LARGEST];
            }
            match socket::receive_error(&self.socket, &mut self.buffer) {
                Ok(Queued::Stamp { id, at }) => {
                    if let Some((before, tag)) = self.sent.take(id) {
                        into.extend(Arrived::stamped(timing, at, before, self.of, tag));
                    }
                }
                Ok(Queued::CardStamp { id, at }) => {
                    if let Some(tag) = self.sent.take_card(id) {
                        into.push_back(Arrived::card_stamped(timing, at, self.of, tag));
                    }
                }
                Ok(Queued::Icmp(error)) => errors.extend(self.icmp_error(timing, &error)),
                Ok(Queued::Other) => {}
                Err(_) => {
                    self.sent.drained();
                    break;
                }
            }
        }
        into.extend(errors);
    }

    fn icmp_error(&self, timing: &Timing, error: &IcmpError) -> Option<Arrived> {
        let quoted = &self.buffer[..error.header.length];
        let (source, destination) = (self.local, SocketAddr::new(self.to, 0));
        let destination = error.destination.unwrap_or(destination);
        let icmp = if self.to.is_ipv6() { ICMPV6 } else { ICMP };
        let (protocol, packet) = if self.role == Role::UdpErrors {
            (UDP, self.recent.udp(source, destination, quoted)?)
        } else {
            (icmp, quoted.to_vec())
        };
        let bytes = icmp_from_error_queue(error, source.ip(), destination.ip(), protocol, &packet)?;
        let (now, precision) = timing.stamped(error.header.stamp, self.empty_at);
        let on = self.of.0;
        let datagram = Datagram {
            from: SocketAddr::new(error.offender, 0),
            to: Some(source.ip()),
            hop_limit: error.header.hop_limit,
            tos: error.header.tos,
            bytes,
            protocol: icmp,
        };
        Some(Arrived {
            now,
            precision,
            input: Input::Datagram { on, datagram },
            of: Some(self.of),
            card: error.header.card,
        })
    }
}

/// How much of what had arrived was taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Drained {
    /// Everything.
    All,
    /// More is waiting.
    Part,
}
