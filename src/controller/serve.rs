//! Starts a private network and owns what runs in it.

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use ring::digest::{SHA256, digest};
use russh::keys::PrivateKey;
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    task::JoinSet,
};

use super::{
    config::{Config, ConfigError},
    core::{self, Core},
    hostkey::{self, HostKeyError},
    messages::{Answer, Event, Input, Request, RequestError, Role},
    network::{Memory, Network},
    ssh::{self, Servers},
    store::{self, Store},
};
use crate::{clock::Clock, protocol::registration};

/// A network that runs.
#[derive(Debug)]
pub struct Running {
    /// Where the registration server listens.
    pub registration_addr: SocketAddr,
    /// Where the controller listens.
    pub controller_addr: SocketAddr,
    /// The registration server's host key, `ssh-rsa AAAA…`: what probes pin.
    pub registration_host_key_line: String,
    /// The controller's host key, `ssh-rsa AAAA…`: what registration answers carry.
    pub controller_host_key_line: String,
    /// To ask things of it.
    pub handle: ControllerHandle,
    tasks: JoinSet<()>,
}

impl Running {
    /// Waits until everything has stopped and all that was accepted is on disk, after `shutdown` became true.
    pub async fn finished(mut self) {
        while self.tasks.join_next().await.is_some() {}
    }
}

/// Asks things of a running network; cheap to clone.
#[derive(Clone, Debug)]
pub struct ControllerHandle {
    core: Core,
}

impl ControllerHandle {
    /// Asks for something and waits until it is decided, not until probes have obeyed.
    ///
    /// # Errors
    /// Why it was not honoured.
    pub async fn request(&self, request: Request) -> Result<(), RequestError> {
        match self
            .core
            .ask(|ticket| Input::Request { ticket, request })
            .await
        {
            Some(Answer::Requested(result)) => result,
            _ => Err(RequestError::Stopping),
        }
    }
}

/// Why a network cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A host key.
    #[error(transparent)]
    HostKey(#[from] HostKeyError),
    /// A port.
    #[error("cannot listen on {address}: {cause}{}", remedy(cause))]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why not. No source: the message has it.
        cause: io::Error,
    },
    /// A directory or file.
    #[error("cannot use {path}: {cause}")]
    Data {
        /// Which.
        path: PathBuf,
        /// Why not. No source: the message has it.
        cause: io::Error,
    },
}

/// What can be done about an address that cannot be listened on.
fn remedy(cause: &io::Error) -> &'static str {
    match cause.kind() {
        io::ErrorKind::AddrInUse => "; stop what listens there, or choose another port",
        io::ErrorKind::AddrNotAvailable => "; this host has no such address",
        io::ErrorKind::PermissionDenied => "; a port below 1024 wants root or CAP_NET_BIND_SERVICE",
        _ => "",
    }
}

/// Starts registration server and controller; returns once both listen.
///
/// `seed` feeds host keys (if there are none yet) and session ids: draw it from the system. A watcher that lags
/// misses events, it never slows the network. `shutdown` becoming true, or its sender going away, stops everything.
///
/// # Errors
/// A bad configuration, a port that is taken, a data directory that cannot be used.
pub async fn serve(
    mut config: Config,
    clock: Clock,
    seed: [u8; 32],
    events: mpsc::Sender<Event>,
    shutdown: watch::Receiver<bool>,
) -> Result<Running, ServeError> {
    config.check()?;
    let dir = config.data_dir.clone();
    let store = Store::open(&dir, config.accepted.as_deref())
        .map_err(data(config.accepted.as_deref().unwrap_or(&dir)))?;
    let (registration_key, controller_key) = host_keys(&config, seed).await?;
    let listeners = Listeners::open(&config).await?;
    let (registration_addr, controller_addr) = listeners.addresses().map_err(data(&dir))?;
    let served_key = match listeners.controller {
        Some(_) => &controller_key,
        None => &registration_key,
    };
    let controller_host_key_line = hostkey::line(served_key);
    let assigned = assigned(&config, controller_addr.port(), &controller_host_key_line);
    config.controller.listen = controller_addr;
    let memory = Memory {
        known: store::load_probes(&dir).map_err(data(&dir.join("probes.json")))?,
        stored: store::recent(&dir, config.limits.remembered_lines).map_err(data(&dir))?,
    };
    let limits = config.limits.clone();
    let network = Network::new(config, assigned, derived(seed, "sessions"), memory);
    let (core, driver) =
        core::start(network, clock, store, dir.clone(), events).map_err(data(&dir))?;
    let servers = Servers::new(core.clone(), limits);
    let mut tasks = JoinSet::new();
    tasks.spawn(driver.run(shutdown.clone()));
    let registration_host_key_line = hostkey::line(&registration_key);
    let role = match listeners.controller {
        Some(_) => Role::Registration,
        None => Role::Both,
    };
    tasks.spawn(servers.clone().listen(
        listeners.registration,
        role,
        registration_key,
        shutdown.clone(),
    ));
    if let Some(controller) = listeners.controller {
        tasks.spawn(servers.listen(controller, Role::Controller, controller_key, shutdown));
    }
    Ok(Running {
        registration_addr,
        controller_addr,
        registration_host_key_line,
        controller_host_key_line,
        handle: ControllerHandle { core },
        tasks,
    })
}

fn data(path: &Path) -> impl FnOnce(io::Error) -> ServeError {
    let path = path.to_owned();
    move |cause| ServeError::Data { path, cause }
}

/// What the two servers listen with.
struct Listeners {
    registration: TcpListener,
    /// Absent where both roles are to have one address: the other one has both then.
    controller: Option<TcpListener>,
}

impl Listeners {
    async fn open(config: &Config) -> Result<Self, ServeError> {
        let registration = bind(config.registration.listen).await?;
        let shared = config.registration.listen == config.controller.listen
            && config.controller.listen.port() != 0;
        let controller = if shared {
            None
        } else {
            Some(bind(config.controller.listen).await?)
        };
        Ok(Self {
            registration,
            controller,
        })
    }

    /// Of the registration server, and of the controller.
    fn addresses(&self) -> io::Result<(SocketAddr, SocketAddr)> {
        let registration = self.registration.local_addr()?;
        let controller = self.controller.as_ref();
        let controller = controller.map_or(Ok(registration), TcpListener::local_addr)?;
        Ok((registration, controller))
    }
}

/// The controller as registration answers name it. `port` is the one listened on.
fn assigned(config: &Config, port: u16, host_key_line: &str) -> registration::Controller {
    registration::Controller {
        host: config.controller.host(),
        port: config.controller.advertise_port.unwrap_or(port),
        key_type: "ssh-rsa".to_owned(),
        key_blob: host_key_line.trim_start_matches("ssh-rsa ").to_owned(),
    }
}

async fn bind(address: SocketAddr) -> Result<TcpListener, ServeError> {
    ssh::bind(address)
        .await
        .map_err(|cause| ServeError::Listen { address, cause })
}

/// Both host keys. Making one takes a while, so it is done where it holds up nobody.
async fn host_keys(
    config: &Config,
    seed: [u8; 32],
) -> Result<(PrivateKey, PrivateKey), ServeError> {
    let path = |given: &Option<PathBuf>, name: &str| {
        given.clone().unwrap_or_else(|| config.data_dir.join(name))
    };
    let registration = path(&config.registration.host_key, "registration_host_key");
    let controller = path(&config.controller.host_key, "controller_host_key");
    let both = tokio::task::spawn_blocking(move || {
        let first = hostkey::load_or_make(&registration, derived(seed, "registration host key"))?;
        let second = hostkey::load_or_make(&controller, derived(seed, "controller host key"))?;
        Ok::<_, HostKeyError>((first, second))
    });
    Ok(both.await.expect("making keys does not panic")?)
}

/// A seed for one purpose, which tells nothing of those for others.
fn derived(seed: [u8; 32], purpose: &str) -> [u8; 32] {
    let mut own = [0; 32];
    own.copy_from_slice(digest(&SHA256, &[&seed[..], purpose.as_bytes()].concat()).as_ref());
    own
}
