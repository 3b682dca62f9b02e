//! The contract between what a measurement decides and what the network does.
//!
//! A [`Machine`] is one run of one measurement: a plain value that is told what happened and says what to
//! do. It owns no socket, clock, task or random source. [`Output`] is the complete list of what the probe
//! can do to a network, so the destination policy, the caps and the recording each have one place: the
//! driver in `net`.
//!
//! Four rules:
//!
//! - *Every effect is answered*: `Resolve` by `Resolved`, `ReadFile` by `File`, `Open` by `Opened`, `Send` by
//!   `Sent`, `Connect` by `Connected`, `Write` by `Written`, `Await` by `Readable`, `Certified` or `Ended`, `Read`
//!   by `Read`; any of them by `Failed` instead. `Close` is not answered; nothing arrives on a closed handle.
//! - *[`Now`] is when it happened*, the kernel's time for a packet, and is asked exactly once for each tick
//!   that is kept. The kernel's transmit time comes after `Sent`, as `Stamped`; until then the machine keeps
//!   the tick it took itself.
//! - *Streams are pulled*: a stranger cannot send more than was asked for.
//! - *What outlives a run is a value*: [`Outcome::carry`].

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use super::{Body, Carry, Seen, zones::Zones};
use crate::clock::{Now, Tick};

/// One run of one measurement.
pub trait Machine: Send {
    /// Takes what just happened and says what to do about it. `now` is when it happened, not when we noticed.
    fn handle(&mut self, now: &mut Now, input: Input) -> Vec<Output>;

    /// When to be called next if nothing happens first. `None` only once done, or while an effect that the
    /// driver bounds by itself (a name look-up) is awaited.
    fn deadline(&self) -> Option<Tick>;

    /// Whether the deadline may be told some time after it: nothing leaves then, and what arrives after it is told after
    /// it all the same. The time told is that of the deadline.
    fn is_patient(&self) -> bool {
        false
    }
}

/// A machine's own name for one of its sockets or streams. Chosen by the machine; a closed one may be reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Handle(pub u16);

/// What a machine is told.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// The run begins. Always first, exactly once.
    Start,
    /// The time that [`Machine::deadline`] named has come.
    Deadline,
    /// A person wants what there is: answer with `Done`. What has not ended yet is no result: no body, rather than
    /// one with a time-out that never was.
    Stop,
    /// The addresses of a name in the order received, never empty when `Ok`; or the resolver file's servers.
    Resolved(Result<Vec<IpAddr>, ResolveError>),
    /// The `nameserver` entries of the resolver file as text, at most three, perhaps none.
    Resolvers(Vec<String>),
    /// The contents of a file; `None` if it cannot be read or is larger than was asked for.
    File(Option<Vec<u8>>),
    /// A datagram socket is open.
    Opened {
        /// Which.
        on: Handle,
        /// The address that packets leave from; the port is 0 for ICMP.
        local: SocketAddr,
        /// The ICMP identifier that is this run's alone while the handle is open (0 for UDP and TCP, where
        /// the local port does that).
        ident: u16,
    },
    /// A packet was handed to the kernel.
    Sent {
        /// On which handle.
        on: Handle,
        /// The tag it was sent with.
        tag: u32,
    },
    /// The transmit time of a packet is `now`: the kernel's; of a stream's first packet the time just before it was
    /// asked for. May never come.
    Stamped {
        /// On which handle.
        on: Handle,
        /// The tag it was sent with; 0 for the first packet of a stream.
        tag: u32,
    },
    /// A packet arrived; `now` is the kernel's receive time.
    Datagram {
        /// On which handle.
        on: Handle,
        /// The packet.
        datagram: Datagram,
    },
    /// A stream is connected, including its TLS handshake if one was asked for; `now` is when the last packet that
    /// this took arrived, where the kernel tells.
    Connected {
        /// Which.
        on: Handle,
        /// Its local address.
        local: SocketAddr,
        /// The TCP handshake's round trip as the kernel measured it, if no SYN was repeated.
        handshake: Option<Duration>,
        /// What TLS agreed on, if it was asked for.
        tls: Option<TlsSession>,
    },
    /// A write was taken over by the kernel; `now` is just before the last of it was.
    Written {
        /// On which handle.
        on: Handle,
    },
    /// Something can be read; `now` is the kernel's receive time of it where the kernel tells.
    Readable {
        /// On which handle.
        on: Handle,
    },
    /// The answer to one `Read`: the bytes at hand, perhaps none.
    Read {
        /// On which handle.
        on: Handle,
        /// At most as many as were asked for.
        bytes: Vec<u8>,
    },
    /// The server has shown its certificates, on a stream with [`Tls::only_certificates`]: the answer to an `Await`.
    Certified {
        /// Which.
        on: Handle,
        /// What TLS agreed on, and the certificates.
        tls: TlsSession,
    },
    /// The peer closed its side, or the stream broke.
    Ended {
        /// Which.
        on: Handle,
        /// The error that broke it; `None` for an orderly end.
        errno: Option<i32>,
    },
    /// An effect could not be carried out.
    Failed {
        /// On which handle.
        on: Handle,
        /// The packet's tag if the effect was a `Send`.
        tag: Option<u32>,
        /// Why.
        cause: Failure,
    },
}

/// What a machine wants done.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Look up the addresses of a name or literal.
    Resolve {
        /// The name exactly as the command gave it.
        name: String,
        /// Which record types.
        family: Family,
        /// The `-I` value, if any: with it `/etc/resolv.conf.<interface>` is preferred.
        interface: Option<String>,
    },
    /// Read the resolver file's servers. Answered by `Resolvers`.
    Resolvers {
        /// The `-I` value, if any: with it `/etc/resolv.conf.<interface>` is preferred.
        interface: Option<String>,
    },
    /// Read a file of this host that the command names. Answered by `File`.
    ReadFile {
        /// Its path, checked when the command was.
        path: PathBuf,
        /// The largest that will do, in bytes.
        max: usize,
    },
    /// Open a socket for datagrams or raw packets.
    Open {
        /// To be known as.
        on: Handle,
        /// What kind of socket.
        socket: Socket,
    },
    /// Send one packet.
    Send {
        /// On which handle.
        on: Handle,
        /// The packet.
        packet: Packet,
    },
    /// Open a stream.
    Connect {
        /// To be known as.
        on: Handle,
        /// Where to and how.
        stream: Stream,
    },
    /// Send bytes on a stream.
    Write {
        /// On which handle.
        on: Handle,
        /// What to send.
        bytes: Vec<u8>,
    },
    /// Tell when the stream can be read.
    Await {
        /// On which handle.
        on: Handle,
    },
    /// Read what is at hand.
    Read {
        /// On which handle.
        on: Handle,
        /// At most this many bytes.
        max: usize,
    },
    /// Close a socket or stream; what was still to come of it does not.
    Close {
        /// Which.
        on: Handle,
    },
    /// Something a person watching would like to see at once.
    Seen(Seen),
    /// The run is over. Always last, exactly once.
    Done(Outcome),
}

/// What a run leaves behind.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The finished results: one, or several where a run reports each address by itself.
    pub bodies: Vec<Body>,
    /// What the next run of the same job starts from.
    pub carry: Carry,
    /// Whether the target answered at all: the exit status of a run by hand.
    pub answered: bool,
}

impl Outcome {
    /// Tells the results which interfaces the link-local addresses are of that they print.
    pub fn name_zones(&mut self, zones: &Zones) {
        for body in &mut self.bodies {
            match body {
                Body::Ping(body) => body.zones.clone_from(zones),
                Body::Traceroute(body) => body.zones.clone_from(zones),
                Body::Ntp(body) => body.zones.clone_from(zones),
                _ => {}
            }
        }
    }

    /// Takes out of the results what no raw socket saw and the driver filled in.
    pub fn leave_out_guesses(&mut self) {
        for body in &mut self.bodies {
            if let Body::Traceroute(body) = body {
                body.leave_out_guesses();
            }
        }
    }
}

/// Which addresses of a name are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// A records only.
    V4,
    /// AAAA records only.
    V6,
    /// Both together, all IPv4 addresses first.
    Both,
}

impl Family {
    /// The family of one address.
    #[must_use]
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// The first address of this family in an answer; none counts as a look-up that failed.
    ///
    /// # Errors
    /// Why there is none.
    pub fn pick(self, answer: &Result<Vec<IpAddr>, ResolveError>) -> Result<IpAddr, ResolveError> {
        let addresses = answer.as_ref().map_err(|why| *why)?;
        let mut wanted = addresses.iter().filter(|address| self.wants(**address));
        wanted.next().copied().ok_or(ResolveError::Failed)
    }

    /// Whether an address of this family was asked for.
    #[must_use]
    pub const fn wants(self, address: IpAddr) -> bool {
        matches!(
            (self, address),
            (Self::Both, _) | (Self::V4, IpAddr::V4(_)) | (Self::V6, IpAddr::V6(_))
        )
    }
}

/// A socket for datagrams or raw packets, towards one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Socket {
    /// What is sent and what is let in.
    pub kind: SocketKind,
    /// The target. Checked by the address policy before anything is opened.
    pub to: IpAddr,
    /// `-I`: an address of the target's family or an interface to bind to (`packet-measurements` 1.6).
    pub bind: Option<String>,
    /// TOS or traffic class of every packet; 0 leaves the kernel's.
    pub tos: u8,
    /// Whether packets may be fragmented.
    pub fragment: Fragment,
    /// IPv6 hop-by-hop options header to send, empty for none. First two octets: next header (ignored), length.
    pub hop_by_hop: Vec<u8>,
    /// IPv6 destination options header to send, empty for none.
    pub destination_options: Vec<u8>,
    /// Who chose the target.
    pub chosen_by: ChosenBy,
}

impl Socket {
    /// A socket of `kind` towards `to` with the kernel's defaults.
    #[must_use]
    pub const fn new(kind: SocketKind, to: IpAddr) -> Self {
        Self {
            kind,
            to,
            bind: None,
            tos: 0,
            fragment: Fragment::KernelDecides,
            hop_by_hop: Vec::new(),
            destination_options: Vec::new(),
            chosen_by: ChosenBy::Command,
        }
    }
}

/// What a [`Socket`] sends and what it lets in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SocketKind {
    /// Sends ICMP or ICMPv6 messages; lets in echo replies from the target that carry this run's identifier.
    Echo,
    /// Sends ICMP or ICMPv6 messages with a chosen hop limit; lets in echo replies with this run's identifier
    /// from anyone, and ICMP errors that quote a probe of this run.
    IcmpProbe,
    /// Sends UDP datagrams with a chosen hop limit from one local port of its own; lets in ICMP errors that
    /// quote it.
    UdpProbe,
    /// Sends TCP segments with a chosen hop limit from one local port of its own, without the kernel's TCP
    /// taking part; lets in segments from the target to that port and ICMP errors that quote it.
    TcpProbe,
    /// A connected UDP socket; lets in datagrams from the target's port only.
    Udp {
        /// The target's port.
        port: u16,
    },
}

/// Path MTU discovery on a [`Socket`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fragment {
    /// The kernel's default.
    KernelDecides,
    /// IPv4 DF set; no local fragmentation in IPv6.
    Never,
    /// IPv4 DF clear; IPv6 may fragment to the path MTU.
    Allowed,
}

/// Who chose a target: strangers' choices are held to the address policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChosenBy {
    /// A command. The policy applies.
    Command,
    /// The host's own resolver file, over UDP: exempt (`controller-protocol` section 8).
    ResolverFile,
}

/// One packet to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Names this packet in `Sent`, `Stamped` and `Failed`.
    pub tag: u32,
    /// The message after the IP header: ICMP with checksum (ICMPv6: the kernel fills it in), UDP payload,
    /// or TCP segment with checksum.
    pub bytes: Vec<u8>,
    /// TTL or hop limit; `None` for the kernel's default.
    pub hop_limit: Option<u8>,
    /// Destination port of a UDP or TCP probe; ignored elsewhere.
    pub port: u16,
}

/// One packet that arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// Its source; the port is 0 for ICMP.
    pub from: SocketAddr,
    /// Its destination, where the kernel tells.
    pub to: Option<IpAddr>,
    /// TTL or hop limit, where the kernel tells.
    pub hop_limit: Option<u8>,
    /// TOS or traffic class, where the kernel tells.
    pub tos: Option<u8>,
    /// ICMP and TCP over IPv4: from the IP header on. ICMPv6: from the ICMPv6 header. TCP over IPv6: from the
    /// TCP header. UDP: the payload.
    pub bytes: Vec<u8>,
    /// The protocol it came by, where one handle hears several: 1 ICMP, 58 ICMPv6, 6 TCP, 17 UDP.
    pub protocol: u8,
}

/// A stream towards one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream {
    /// Where to. Checked by the address policy.
    pub to: SocketAddr,
    /// `-I`: an address of the target's family or an interface to bind to.
    pub bind: Option<String>,
    /// TLS on top, handshake included in `Connected`.
    pub tls: Option<Tls>,
}

/// The TLS client to put on a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// Server name to send, if any.
    pub sni: Option<String>,
    /// Application protocols to offer, in order.
    pub alpn: Vec<Vec<u8>>,
    /// Check chain and this name; `None` accepts every certificate.
    pub verify: Option<String>,
    /// Go no further than to the server's certificates. `Connected` then comes once TCP stands and the driver sends the
    /// hello by itself; `Read` gives the server's octets as they come, before any decryption; and once, an `Await`
    /// is answered by `Certified` or `Failed` when TLS has come to its end. After that the driver sends nothing.
    pub only_certificates: bool,
}

/// What a TLS handshake agreed on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsSession {
    /// Protocol version as on the wire: `0x0303` is TLS 1.2, `0x0304` TLS 1.3.
    pub version: u16,
    /// Cipher suite as on the wire.
    pub cipher: u16,
    /// The application protocol that the server chose.
    pub alpn: Option<Vec<u8>>,
    /// The server's certificates, DER, in the order sent.
    pub certificates: Vec<Vec<u8>>,
}

/// Why an effect could not be carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The address policy refuses the destination.
    Forbidden(IpAddr),
    /// `-I` could not be honoured.
    Bind,
    /// A system call failed.
    Os {
        /// Which step.
        call: Call,
        /// Its errno.
        errno: i32,
    },
    /// TLS failed; the TCP connection stood.
    Tls(TlsFailure),
}

impl Failure {
    /// The C library's text for the errno, as result lines quote it; empty for causes without one.
    #[must_use]
    pub fn strerror(&self) -> &'static str {
        match self {
            Self::Os { errno, .. } => nix::errno::Errno::from_raw(*errno).desc(),
            _ => "",
        }
    }
}

/// The step that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    /// Opening the socket, for lack of privilege among others.
    Socket,
    /// Binding to a local address or port.
    Bind,
    /// Connecting to the target, where a missing route shows.
    Connect,
    /// Sending.
    Send,
    /// Setting the TOS or traffic class.
    Tos,
    /// Writing to a stream.
    Write,
    /// Receiving, where an ICMP error about an earlier packet shows. The socket stays usable.
    Receive,
}

/// Why a TLS handshake failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TlsFailure {
    /// The peer sent this fatal alert.
    Alert(u8),
    /// The peer closed during the handshake.
    Closed,
    /// The peer does not speak TLS.
    NotTls,
    /// The certificate does not hold, in words.
    Certificate(String),
    /// Anything else, in words.
    Other(String),
}

/// Why a name has no addresses. The texts are those of result lines (`packet-measurements` section 1.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ResolveError {
    /// The name does not exist, or a port is none.
    #[error("nodename nor servname provided, or not known")]
    NotKnown,
    /// No record of the type, SERVFAIL, REFUSED, time-out, truncation.
    #[error("non-recoverable failure in name resolution")]
    Failed,
}
