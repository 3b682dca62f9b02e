//! Starts a private network and owns what runs in it.

use std::net::SocketAddr;

use tokio::sync::{mpsc, watch};

use super::{
    config::{Config, ConfigError},
    messages::{Event, Request, RequestError},
};
use crate::clock::Clock;

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
}

impl Running {
    /// Waits until everything has stopped, after `shutdown` became true.
    pub async fn finished(self) {}
}

/// Asks things of a running network; cheap to clone.
#[derive(Clone, Debug)]
pub struct ControllerHandle {}

impl ControllerHandle {
    /// Asks for something and waits until it is decided, not until probes have obeyed.
    ///
    /// # Errors
    /// Why it was not honoured.
    pub async fn request(&self, _request: Request) -> Result<(), RequestError> {
        Err(RequestError::Stopping)
    }
}

/// Why a network cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// Starts registration server and controller; returns once both listen.
///
/// `seed` feeds host keys (if there are none yet) and session ids: draw it from the system. A watcher that lags
/// misses events, it never slows the network. `shutdown` becoming true stops everything.
///
/// # Errors
/// A bad configuration, a port that is taken, a data directory that cannot be used.
pub async fn serve(
    config: Config,
    _clock: Clock,
    _seed: [u8; 32],
    _events: mpsc::Sender<Event>,
    _shutdown: watch::Receiver<bool>,
) -> Result<Running, ServeError> {
    config.check()?;
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
    Ok(Running {
        registration_addr: nowhere,
        controller_addr: nowhere,
        registration_host_key_line: String::new(),
        controller_host_key_line: String::new(),
        handle: ControllerHandle {},
    })
}
