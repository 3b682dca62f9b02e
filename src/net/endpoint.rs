//! What a machine calls a datagram socket: a place at a shared raw socket, a socket of its own, or both.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, atomic::AtomicI32},
    task::{Context, Poll},
};

use nix::errno::Errno;
use socket2::Type;
use tokio::io::Interest;

use super::{
    Arrived, Inner,
    demux::{self, Mark},
    hub::{Key, Member, Registration},
    inbox::Inbox,
    own::{Drained, Own, Role},
    policy::{self, Permit},
    socket::{self, ICMP, ICMPV6, Stamps, TCP, UDP},
    timing::Timing,
};
use crate::measurement::machine::{Call, Failure, Handle, Packet, Socket, SocketKind};

/// Ports tried until one is found that no other run has on another address.
const PORTS: usize = 32;

/// An open datagram socket of a run.
#[derive(Debug)]
pub(super) struct Endpoint {
    local: SocketAddr,
    spec: Socket,
    own: Option<Own>,
    shared: Option<Registration>,
    /// Keeps the port from everyone else.
    _reserved: Option<socket2::Socket>,
    _permit: Permit,
}

/// The run that opens.
pub(super) struct Opener<'a> {
    pub(super) net: &'a Inner,
    pub(super) on: Handle,
    pub(super) serial: u64,
    pub(super) inbox: &'a Inbox,
}

impl Endpoint {
    /// Opens what `spec` asks for.
    pub(super) fn open(opener: &Opener<'_>, spec: Socket) -> Result<Self, Failure> {
        let net = opener.net;
        policy::check(spec.to, spec.chosen_by, net.any_address())?;
        let permit = net.sockets.take().ok_or(Failure::Os {
            call: Call::Socket,
            errno: nix::libc::EMFILE,
        })?;
        let parts = match spec.kind {
            SocketKind::Echo | SocketKind::IcmpProbe => opener.icmp(&spec)?,
            SocketKind::UdpProbe => opener.udp_probe(&spec)?,
            SocketKind::TcpProbe => opener.tcp_probe(&spec)?,
            SocketKind::Udp { port } => opener.udp(&spec, port)?,
        };
        Ok(Self {
            local: parts.local,
            spec,
            own: parts.own,
            shared: parts.shared,
            _reserved: parts.reserved,
            _permit: permit,
        })
    }

    pub(super) const fn local(&self) -> SocketAddr {
        self.local
    }

    /// The ICMP identifier, 0 where a port does that.
    pub(super) fn ident(&self) -> u16 {
        match (&self.own, &self.shared) {
            (None, Some(shared)) => shared.ident(),
            // A datagram ICMP socket's port is its identifier.
            (Some(own), _)
                if matches!(self.spec.kind, SocketKind::Echo | SocketKind::IcmpProbe) =>
            {
                own.local().port()
            }
            _ => 0,
        }
    }

    /// Whether ICMP errors are put together from what the error queue tells of them.
    pub(super) fn guesses(&self) -> bool {
        self.own.as_ref().is_some_and(Own::guesses)
    }

    pub(super) fn send(&mut self, timing: &Timing, packet: &Packet) -> Result<(), Errno> {
        let Packet {
            tag,
            bytes,
            hop_limit,
            port,
        } = packet;
        match (&mut self.own, &mut self.shared) {
            (Some(own), _) => own.send(timing, *tag, bytes, *port, *hop_limit),
            (None, Some(shared)) => shared.send(*tag, bytes, self.spec.to, *hop_limit),
            (None, None) => Err(Errno::EBADF),
        }
    }

    /// Ready when the run's own socket may have something.
    pub(super) fn poll_ready(&self, context: &mut Context<'_>) -> Poll<()> {
        self.own
            .as_ref()
            .map_or(Poll::Pending, |own| own.poll_ready(context))
    }

    /// Takes in what has arrived at the run's own socket.
    pub(super) fn drain_own(&mut self, timing: &Timing, into: &mut VecDeque<Arrived>) {
        let Some(own) = &mut self.own else { return };
        // What more there is after so many is a flood; the rest comes in its turn.
        for _ in 0..16 {
            if own.drain(timing, into) == Drained::All {
                break;
            }
        }
    }

    /// Takes in what has arrived anywhere for this run. `seen`: the runtime has asked for news since whatever is
    /// wanted arrived.
    pub(super) fn sweep(&mut self, timing: &Timing, seen: bool, into: &mut VecDeque<Arrived>) {
        if let Some(shared) = &self.shared {
            shared.sweep(seen);
        }
        if seen && !self.own.as_ref().is_some_and(Own::is_ready) {
            self.stamps(timing, into);
        } else {
            self.drain_own(timing, into);
        }
    }

    /// Takes in the transmit times that the run's own socket has.
    pub(super) fn stamps(&mut self, timing: &Timing, into: &mut VecDeque<Arrived>) {
        if let Some(own) = &mut self.own {
            own.stamps(timing, into);
        }
    }
}

struct Parts {
    local: SocketAddr,
    own: Option<Own>,
    shared: Option<Registration>,
    reserved: Option<socket2::Socket>,
}

impl Opener<'_> {
    fn icmp(&self, spec: &Socket) -> Result<Parts, Failure> {
        let probe = spec.kind == SocketKind::IcmpProbe;
        let hub = match self.net.pool.hub(&key(spec, probe)) {
            Ok(hub) => hub,
            Err(failure) if socket::lacks_privilege(&failure) => {
                return self.ping(spec, probe).map_err(|_| failure);
            }
            Err(failure) => return Err(failure),
        };
        let source = self.source(spec)?;
        let member = self.member((!probe).then_some(spec.to));
        Ok(Parts {
            local: SocketAddr::new(source, 0),
            own: None,
            shared: Some(hub.join_with_ident(member)?),
            reserved: None,
        })
    }

    /// The address that packets leave from; fails where no route leads to the target.
    fn source(&self, spec: &Socket) -> Result<std::net::IpAddr, Failure> {
        let now = self.net.timing.tick();
        let bound_to = spec.bind.as_deref();
        self.net.routes.source(spec.to, bound_to, now)
    }

    /// Datagram ICMP, for lack of a raw socket; the identifier is the kernel's choice.
    fn ping(&self, spec: &Socket, probe: bool) -> Result<Parts, Failure> {
        let v6 = spec.to.is_ipv6();
        let source = self.source(spec)?;
        let raw = socket::open(spec.to, Type::DGRAM, if v6 { ICMPV6 } else { ICMP })?;
        socket::bind_device(&raw, v6, spec.bind.as_deref())?;
        raw.bind(&SocketAddr::new(source, 0).into())
            .map_err(|_| Failure::Bind)?;
        dress(&raw, spec)?;
        if probe {
            socket::ask_for_errors(&raw, v6)
                .map_err(|error| socket::failure(Call::Socket, &error))?;
        }
        tracing::debug!("no raw socket: datagram ICMP");
        let role = if probe { Role::PingProbe } else { Role::Ping };
        let local = socket::local(&raw)?;
        Ok(Parts {
            local: SocketAddr::new(source, 0),
            own: Some(self.own(raw, role, spec, local)?),
            shared: None,
            reserved: None,
        })
    }

    fn udp(&self, spec: &Socket, port: u16) -> Result<Parts, Failure> {
        let raw = socket::open(spec.to, Type::DGRAM, UDP)?;
        socket::bind(&raw, spec.to.is_ipv6(), spec.bind.as_deref())?;
        dress(&raw, spec)?;
        raw.connect(&SocketAddr::new(spec.to, port).into())
            .map_err(|error| socket::failure(Call::Connect, &error))?;
        let local = socket::local(&raw)?;
        Ok(Parts {
            local: SocketAddr::new(local.ip(), local.port()),
            own: Some(self.own(raw, Role::Udp, spec, local)?),
            shared: None,
            reserved: None,
        })
    }

    fn udp_probe(&self, spec: &Socket) -> Result<Parts, Failure> {
        let v6 = spec.to.is_ipv6();
        let source = self.source(spec)?;
        let bound = || {
            let raw = socket::open(spec.to, Type::DGRAM, UDP)?;
            socket::bind_device(&raw, v6, spec.bind.as_deref())?;
            dress(&raw, spec)?;
            raw.bind(&SocketAddr::new(source, 0).into())
                .map_err(|error| socket::failure(Call::Bind, &error))?;
            Ok(raw)
        };
        let (raw, shared) = match self.with_port(spec, bound, Mark::Udp) {
            Ok((raw, registration)) => {
                socket::filter(&raw, &demux::closed_filter());
                (raw, Some(registration))
            }
            Err(failure) if socket::lacks_privilege(&failure) => {
                tracing::debug!("no raw socket: ICMP errors from the error queue");
                let raw = bound()?;
                socket::ask_for_errors(&raw, v6)
                    .map_err(|error| socket::failure(Call::Socket, &error))?;
                (raw, None)
            }
            Err(failure) => return Err(failure),
        };
        let role = if shared.is_some() {
            Role::SendOnly
        } else {
            Role::UdpErrors
        };
        let local = socket::local(&raw)?;
        Ok(Parts {
            local: SocketAddr::new(local.ip(), local.port()),
            own: Some(self.own(raw, role, spec, local)?),
            shared,
            reserved: None,
        })
    }

    fn tcp_probe(&self, spec: &Socket) -> Result<Parts, Failure> {
        let v6 = spec.to.is_ipv6();
        let source = self.source(spec)?;
        // Bound and never listening: the port is ours, and the kernel's TCP answers with a reset.
        let bound = || {
            let reserved = socket::open(spec.to, Type::STREAM, TCP)?;
            // A link-local address is one of an interface only.
            socket::bind_device(&reserved, v6, spec.bind.as_deref())?;
            reserved
                .bind(&SocketAddr::new(source, 0).into())
                .map_err(|error| socket::failure(Call::Bind, &error))?;
            Ok(reserved)
        };
        let (reserved, registration) = self.with_port(spec, bound, Mark::Tcp)?;
        let local = socket::local(&reserved)?;
        let raw = socket::open(spec.to, Type::RAW, TCP)?;
        socket::filter(&raw, &demux::tcp_filter(v6, local.port()));
        socket::bind_device(&raw, v6, spec.bind.as_deref())?;
        raw.bind(&SocketAddr::new(source, 0).into())
            .map_err(|_| Failure::Bind)?;
        dress(&raw, spec)?;
        raw.connect(&SocketAddr::new(spec.to, 0).into())
            .map_err(|error| socket::failure(Call::Connect, &error))?;
        Ok(Parts {
            local: SocketAddr::new(local.ip(), local.port()),
            own: Some(self.own(raw, Role::Tcp, spec, local)?),
            shared: Some(registration),
            reserved: Some(reserved),
        })
    }

    /// A socket bound to a port of this run's own, and the run's place at the socket that hears errors.
    fn with_port(
        &self,
        spec: &Socket,
        bound: impl Fn() -> Result<socket2::Socket, Failure>,
        mark: impl Fn(u16) -> Mark,
    ) -> Result<(socket2::Socket, Registration), Failure> {
        // Sticky options of the probes do not matter to the socket that only hears.
        let hub = self.net.pool.hub(&Key {
            bind: device(spec),
            ..hearing(spec)
        })?;
        let mut member = self.member(None);
        // Kept until the end, so that the kernel gives another port each time.
        let mut taken = Vec::new();
        for _ in 0..PORTS {
            let raw = bound()?;
            let port = socket::local(&raw)?.port();
            match hub.join_with_port(mark(port), member) {
                Ok(registration) => return Ok((raw, registration)),
                Err(back) => {
                    member = back;
                    taken.push(raw);
                }
            }
        }
        Err(Failure::Os {
            call: Call::Bind,
            errno: nix::libc::EADDRINUSE,
        })
    }

    fn own(
        &self,
        raw: socket2::Socket,
        role: Role,
        spec: &Socket,
        local: SocketAddr,
    ) -> Result<Own, Failure> {
        socket::ask(&raw, spec.to.is_ipv6(), Stamps::Both);
        let opened = self.net.timing.tick();
        // An error that is kept for a connected socket is to be taken at once, lest the next send fail for it.
        let watched = if role == Role::SendOnly {
            socket::watch(raw, Interest::READABLE)?
        } else {
            socket::watch_errors(raw)?
        };
        let of = (self.on, self.serial);
        Ok(Own::new(watched, role, of, spec.to, local, opened))
    }

    fn member(&self, only_from: Option<std::net::IpAddr>) -> Member {
        Member {
            on: self.on,
            serial: self.serial,
            inbox: self.inbox.slot(),
            only_from,
            error: Arc::new(AtomicI32::new(0)),
            since: self.net.timing.tick(),
        }
    }
}

/// The options of a socket that sends.
fn dress(raw: &socket2::Socket, spec: &Socket) -> Result<(), Failure> {
    let v6 = spec.to.is_ipv6();
    socket::tos(raw, v6, spec.tos)?;
    socket::fragment(raw, v6, spec.fragment)?;
    if v6 {
        socket::extension_headers(raw, &spec.hop_by_hop, &spec.destination_options);
    }
    Ok(())
}

fn key(spec: &Socket, all_errors: bool) -> Key {
    let v6 = spec.to.is_ipv6();
    let only_v6 = |header: &Vec<u8>| if v6 { header.clone() } else { Vec::new() };
    Key {
        v6,
        all_errors,
        bind: spec.bind.clone(),
        tos: spec.tos,
        fragment: spec.fragment,
        hop_by_hop: only_v6(&spec.hop_by_hop),
        destination_options: only_v6(&spec.destination_options),
    }
}

/// A socket that only hears errors about UDP and TCP probes. It shares the options that ICMP probes have by
/// default, so that they use one together.
fn hearing(spec: &Socket) -> Key {
    Key {
        tos: 0,
        hop_by_hop: Vec::new(),
        destination_options: Vec::new(),
        ..key(spec, true)
    }
}

/// The device that `-I` names, if it names one.
fn device(spec: &Socket) -> Option<String> {
    let bind = spec.bind.as_deref()?;
    match socket::bind_target(bind, spec.to.is_ipv6()) {
        socket::Bind::Device(name) => Some(name.to_owned()),
        socket::Bind::Address(_) => None,
    }
}
