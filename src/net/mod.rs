//! The network as machines use it: carries out what they ask and tells them what came back.
//!
//! One [`Net`] serves the process. It owns the shared raw sockets, the resolver, the address policy and the
//! caps; a run borrows from them what it needs and gives it back when it ends or is dropped. Nothing here
//! decides what is measured.

mod driver;
pub mod recording;

use std::{net::IpAddr, path::PathBuf, sync::Arc};

use crate::{
    clock::{Clock, Now, Tick, UnixTime},
    measurement::machine::{Family, Input, Machine, Outcome, Output, ResolveError},
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
    /// The hosts file.
    pub hosts_file: PathBuf,
    /// The resolver file. `<file>.<interface>` is preferred for a run that names an interface.
    pub resolver_file: PathBuf,
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
            hosts_file: PathBuf::from("/etc/hosts"),
            resolver_file: PathBuf::from("/etc/resolv.conf"),
        }
    }
}

/// The network, shared by all runs of the process. Cheap to clone.
#[derive(Clone)]
pub struct Net(Arc<Inner>);

struct Inner {
    config: Config,
    clock: Clock,
    last_sync: std::sync::Mutex<Option<UnixTime>>,
}

impl Net {
    /// Prepares the network. Never fails: a missing privilege shows when a socket is opened, as a `Failed`
    /// input of the run that wanted it.
    #[must_use]
    pub fn open(config: Config, clock: Clock) -> Self {
        Self(Arc::new(Inner {
            config,
            clock,
            last_sync: std::sync::Mutex::new(None),
        }))
    }

    /// Tells when a controller last confirmed the wall clock, for the `lts` of results.
    pub fn set_last_sync(&self, at: Option<UnixTime>) {
        *self
            .0
            .last_sync
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner) = at;
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
        let _ = family;
        host.parse()
            .map(|address| vec![address])
            .map_err(|_| ResolveError::Failed)
    }

    /// What this process may do, found out by trying; for messages to people.
    #[must_use]
    pub fn capabilities(&self) -> Capabilities {
        Capabilities {
            raw: false,
            datagram_icmp: false,
        }
    }

    /// The clock that everything here is timed by.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.0.clock
    }

    fn now(&self) -> Now {
        let sync = *self
            .0
            .last_sync
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        self.0.clock.now(sync)
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
    /// Stamped by the network interface.
    Hardware,
    /// Stamped by the kernel as the packet passed the driver.
    Kernel,
    /// Read from the clock by this process when it noticed.
    Process,
}
