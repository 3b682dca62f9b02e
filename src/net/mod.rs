//! The network as machines use it: carries out what they ask and tells them what came back.
//!
//! One [`Net`] serves the process. It owns the shared raw sockets, the resolver, the address policy and the
//! caps; a run borrows from them what it needs and gives it back when it ends or is dropped. Nothing here
//! decides what is measured.
//!
//! - `driver` is the loop of one run, `alarm` what wakes it, `endpoint` and `stream` what it has open, `held` in which
//!   order;
//! - `hub` is a raw socket shared by many runs, `inbox` where their packets wait for each, `own` a socket of one
//!   run, `socket` the system calls of both;
//! - `demux` tells whose a packet is, `errors` rebuilds ICMP errors where raw sockets are not allowed;
//! - `routes` knows which address packets leave from;
//! - `timing` and `outstanding` turn the kernel's time stamps into times of inputs, `card` those of network cards;
//! - `policy` holds the refused addresses and the caps, `resolver` asks for names, `tls` and `secure` are the client on top
//!   of a stream.

mod alarm;
mod card;
mod demux;
mod driver;
mod endpoint;
mod errors;
mod held;
mod hub;
mod inbox;
mod outstanding;
mod own;
pub mod policy;
pub mod recording;
pub mod resolver;
mod routes;
mod secure;
mod socket;
mod stream;
mod tap;
mod timing;
mod tls;

use std::{
    net::IpAddr,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use crate::{
    clock::{Clock, Now, Tick, UnixTime},
    measurement::machine::{
        Call, Failure, Family, Handle, Input, Machine, Outcome, Output, ResolveError,
    },
    observe::metrics::Traffic,
};

/// How the process may use the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where all of the network's own chance comes from: identifiers, query numbers, letter case.
    pub seed: u64,
    /// Lifts the address policy (`--allow-any-address`; environment `ATLAS_DISABLE_CHECK_ADDR` exactly
    /// `yes`; `controller-protocol` section 8).
    pub allow_any_address: bool,
    /// Packets a second that all runs together may send; one second's worth may leave at once. A packet
    /// beyond that is not sent and fails with `ENOBUFS`, so a cap never looks like a slow network.
    pub packets_per_second: u32,
    /// Sockets and streams that all runs together may hold. One beyond that fails with `EMFILE`.
    pub sockets: usize,
    /// What IPv4 sockets are bound to unless a run says otherwise: an address of this host, or an interface. Sockets
    /// to loopback addresses never are.
    pub source_v4: Option<String>,
    /// The same for IPv6.
    pub source_v6: Option<String>,
    /// The hosts file.
    pub hosts_file: PathBuf,
    /// The resolver file. `<file>.<interface>` is preferred for a run that names an interface.
    pub resolver_file: PathBuf,
    /// UDP port of the resolver file's servers: 53 but for tests.
    pub resolver_port: u16,
}

impl Config {
    /// The system's files, generous caps, the policy in force.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            allow_any_address: false,
            packets_per_second: 5_000,
            sockets: 4_096,
            source_v4: None,
            source_v6: None,
            hosts_file: PathBuf::from("/etc/hosts"),
            resolver_file: PathBuf::from("/etc/resolv.conf"),
            resolver_port: 53,
        }
    }

    /// What a socket to this address is bound to unless its run says otherwise.
    fn source(&self, to: IpAddr) -> Option<String> {
        if to.is_loopback() {
            return None;
        }
        if to.is_ipv6() {
            self.source_v6.clone()
        } else {
            self.source_v4.clone()
        }
    }
}

/// The network, shared by all runs of the process. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Net(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: Config,
    /// Like the configuration's until it is changed.
    any_address: AtomicBool,
    timing: Arc<timing::Timing>,
    alarm: alarm::Alarm,
    routes: routes::Routes,
    pool: hub::Pool,
    resolver: resolver::Resolver,
    sockets: policy::SocketCap,
    packets: Mutex<policy::PacketCap>,
    tally: Tally,
    tls: tls::Configs,
    /// Open as long as the process measures, so that the first packet of a run is stamped like all others.
    _stamping: Option<socket2::Socket>,
}

/// [`Traffic`], being counted.
#[derive(Debug, Default)]
struct Tally {
    sent: AtomicU64,
    connections: AtomicU64,
    refused_addresses: AtomicU64,
    refused_packets: AtomicU64,
    refused_sockets: AtomicU64,
}

impl Tally {
    fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// A socket or connection came to nothing; counted if that was our own doing.
    fn refused(&self, cause: &Failure) {
        match cause {
            Failure::Forbidden(_) => Self::add(&self.refused_addresses),
            Failure::Os {
                call: Call::Socket,
                errno: nix::libc::EMFILE,
            } => Self::add(&self.refused_sockets),
            _ => {}
        }
    }
}

impl Inner {
    /// Whether the address policy is lifted.
    fn any_address(&self) -> bool {
        self.any_address.load(Ordering::Relaxed)
    }

    /// Whether the cap lets one more packet leave; counts it if so.
    fn may_send(&self, now: Tick) -> bool {
        let mut cap = self.packets.lock().unwrap_or_else(PoisonError::into_inner);
        let may = cap.take(now);
        if !may {
            Tally::add(&self.tally.refused_packets);
        }
        if !may && cap.is_news(now) {
            tracing::warn!(
                limit = self.config.packets_per_second,
                "packets are not sent: more at once than the cap allows"
            );
        }
        may
    }
}

impl Net {
    /// Prepares the network. Never fails: a missing privilege shows when a socket is opened, as a `Failed`
    /// input of the run that wanted it.
    #[must_use]
    pub fn open(config: Config, clock: Clock) -> Self {
        let timing = Arc::new(timing::Timing::new(clock));
        Self(Arc::new(Inner {
            pool: hub::Pool::new(Arc::clone(&timing), config.seed),
            alarm: alarm::Alarm::new(clock),
            routes: routes::Routes::default(),
            resolver: resolver::Resolver::new(&config, clock),
            sockets: policy::SocketCap::new(config.sockets),
            packets: Mutex::new(policy::PacketCap::new(config.packets_per_second)),
            tally: Tally::default(),
            tls: tls::Configs::default(),
            any_address: AtomicBool::new(config.allow_any_address),
            _stamping: socket::keep_stamping(),
            timing,
            config,
        }))
    }

    /// Lifts the address policy, or puts it into force, for what is opened from now on.
    pub fn set_allow_any_address(&self, allowed: bool) {
        self.0.any_address.store(allowed, Ordering::Relaxed);
    }

    /// Tells when a controller last confirmed the wall clock, for the `lts` of results.
    pub fn set_last_sync(&self, at: Option<UnixTime>) {
        self.0.timing.set_last_sync(at);
    }

    /// Carries out one run to its end, telling `watch` all that goes in and out. Dropping the future frees
    /// everything that the run held.
    pub async fn run(&self, machine: Box<dyn Machine>, watch: impl FnMut(&Event<'_>)) -> Outcome {
        self.run_until(machine, std::future::pending(), watch).await
    }

    /// Like [`run`](Self::run); once `stop` completes, the machine is told [`Input::Stop`].
    pub async fn run_until(
        &self,
        machine: Box<dyn Machine>,
        stop: impl Future<Output = ()>,
        watch: impl FnMut(&Event<'_>),
    ) -> Outcome {
        driver::run(self, machine, stop, watch).await
    }

    /// The addresses of a name or literal, in the order received.
    ///
    /// # Errors
    /// The name does not exist, or the look-up failed (`packet-measurements` section 1.4).
    pub async fn lookup(&self, host: &str, family: Family) -> Result<Vec<IpAddr>, ResolveError> {
        match resolver::literal(host, family) {
            Some(address) => Ok(vec![address]),
            None => self.0.resolver.lookup(host, family, None).await,
        }
    }

    /// How the system's resolver file stands. Reads it: may block.
    #[must_use]
    pub fn look_at_resolver_file(&self) -> resolver::Look {
        self.0.resolver.look()
    }

    /// The name of an address, for people: from the hosts file, else from its PTR record. `None` if nobody
    /// tells. Strangers choose the names of their addresses; characters that names have not are escaped.
    pub async fn name_of(&self, address: IpAddr) -> Option<String> {
        self.0.resolver.name_of(address).await
    }

    /// What this process may do, found out by trying; for messages to people.
    #[must_use]
    pub fn capabilities(&self) -> Capabilities {
        Capabilities {
            raw: socket::may_open(socket2::Type::RAW),
            datagram_icmp: socket::may_open(socket2::Type::DGRAM),
        }
    }

    /// What runs did to the network since the start.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        let tally = &self.0.tally;
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Traffic {
            sent: count(&tally.sent),
            connections: count(&tally.connections),
            refused_addresses: count(&tally.refused_addresses),
            refused_packets: count(&tally.refused_packets),
            refused_sockets: count(&tally.refused_sockets),
        }
    }

    /// The clock that everything here is timed by.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.0.timing.clock()
    }

    /// Completes at `tick`. Cheaper than a timer of the runtime: whoever waits here shares one timer with all runs.
    pub async fn sleep_until(&self, tick: Tick) {
        let mut bell = self.0.alarm.bell();
        std::future::poll_fn(|context| bell.poll(Some(tick), alarm::Patience::Little, context))
            .await;
    }

    /// The present, as an input that is noticed now would carry it.
    #[must_use]
    pub fn now(&self) -> Now {
        self.0.timing.now()
    }
}

/// What the process may do on this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// Raw sockets: everything works.
    pub raw: bool,
    /// Datagram ICMP sockets (`net.ipv4.ping_group_range`): ping works without raw sockets.
    pub datagram_icmp: bool,
}

/// What goes in and out of a machine, for people, transcripts and recordings.
#[derive(Debug)]
pub enum Event<'a> {
    /// Something happened and the machine is about to be told.
    In {
        /// When it happened.
        at: &'a Now,
        /// How well that is known.
        precision: Precision,
        /// What happened.
        input: &'a Input,
    },
    /// The machine wants something done, which is about to be.
    Out {
        /// When the machine said so.
        at: Tick,
        /// What it wants.
        output: &'a Output,
    },
}

/// How well the time of an input is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Precision {
    /// Its round trip is that which the network card saw.
    Card,
    /// Stamped by the kernel as the packet passed the driver.
    Kernel,
    /// Read from the clock by this process when it noticed.
    Process,
}

/// An input on its way to a run.
#[derive(Debug)]
struct Arrived {
    now: Now,
    precision: Precision,
    input: Input,
    /// The handle it belongs to and which opening of it; told only while that is open.
    of: Option<(Handle, u64)>,
    /// The network card's time. A [`Stamped`](Input::Stamped) with one is for the driver alone.
    card: Option<card::CardTime>,
}

impl Arrived {
    /// Timed by this process.
    fn noticed(now: Now, of: Option<(Handle, u64)>, input: Input) -> Self {
        Self {
            now,
            precision: Precision::Process,
            input,
            of,
            card: None,
        }
    }

    /// A packet's transmit time; `None` if it cannot be trusted.
    fn stamped(
        timing: &timing::Timing,
        at: UnixTime,
        before: Tick,
        of: (Handle, u64),
        tag: u32,
    ) -> Option<Self> {
        let on = of.0;
        Some(Self {
            now: timing.try_stamped(at, before)?,
            precision: Precision::Kernel,
            input: Input::Stamped { on, tag },
            of: Some(of),
            card: None,
        })
    }

    /// The network card's transmit time of a packet.
    fn card_stamped(
        timing: &timing::Timing,
        at: card::CardTime,
        of: (Handle, u64),
        tag: u32,
    ) -> Self {
        let on = of.0;
        Self {
            card: Some(at),
            ..Self::noticed(timing.now(), Some(of), Input::Stamped { on, tag })
        }
    }

    /// Whether this has a time of arrival, by which it may be too late.
    const fn is_of_the_network(&self) -> bool {
        matches!(
            self.input,
            Input::Datagram { .. } | Input::Readable { .. } | Input::Read { .. }
        )
    }

    const fn is_stamp(&self) -> bool {
        matches!(self.input, Input::Stamped { .. })
    }
}
