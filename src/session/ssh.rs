//! Carries out what the session and the interpreter say, over SSH.

use russh::{
    client::{self, Handle},
    keys::PublicKeyOrCertificate,
};
use std::{future::Future, net::SocketAddr, path::PathBuf, pin::Pin, sync::Arc};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{mpsc, watch},
};

use super::{SessionEvent, interpreter::Interpreter, servers::RegistrationServer};
use crate::{clock::Clock, key::ProbeKey, measurement::machine::ResolveError};

/// How names become addresses: the crate's own resolver, handed in. All addresses of the name, both families.
pub type Resolve = Arc<
    dyn Fn(
            String,
            u16,
        ) -> Pin<Box<dyn Future<Output = Result<Vec<SocketAddr>, ResolveError>> + Send>>
        + Send
        + Sync,
>;

/// What a session needs to know of its probe.
#[derive(Clone, Debug)]
pub struct Config {
    /// The registration servers, in order. Those without a host key are skipped.
    pub servers: Vec<RegistrationServer>,
    /// Firmware number to register with (`controller-protocol` section 1.2).
    pub firmware: u32,
    /// `<ID>/<VERSION_ID>/<machine>` of the host (`controller-protocol` section 2.2).
    pub sub_arch: String,
    /// The node's name, for the banner of the command connection.
    pub hostname: String,
    /// For the 9000 marker: how often the agent started since the host has been up for ten minutes.
    pub reboot_count: u32,
    /// Where the state is kept across restarts.
    pub state_file: PathBuf,
}

/// Registers, connects, and stays connected until `shutdown` turns true. What happens is told through `events`,
/// bounded: a receiver that does not keep up holds the session back.
#[expect(
    clippy::too_many_arguments,
    clippy::unused_async,
    reason = "each is handed in once, by the agent"
)]
pub async fn run(
    _config: Config,
    _clock: Clock,
    _seed: u64,
    _key: ProbeKey,
    _resolve: Resolve,
    _interpreter: Interpreter,
    _events: mpsc::Sender<SessionEvent>,
    _tunnel: TunnelEnd,
    _shutdown: watch::Receiver<bool>,
) {
}

/// The two ends of the way uploads take: one for [`run`], one for the uploader.
#[must_use]
pub fn tunnel() -> (TunnelEnd, Tunnel) {
    let (end, current) = watch::channel(None);
    (TunnelEnd(end), Tunnel { current })
}

/// The session's end of a [`Tunnel`].
pub struct TunnelEnd(watch::Sender<Option<Arc<Handle<Client>>>>);

/// The way uploads take: channels to `127.0.0.1:8080` at the controller, on the current KEEP connection.
///
/// Cloneable; every clone sees the connection come and go.
#[derive(Clone)]
pub struct Tunnel {
    current: watch::Receiver<Option<Arc<Handle<Client>>>>,
}

/// The port of the controller's upload service, at its own loopback (`controller-protocol` section 3.2).
const UPLOAD_PORT: u32 = 8080;
/// The originator we name for an upload: OpenSSH names the ephemeral port of a local connection, of which
/// there is none here.
const ORIGINATOR: (&str, u32) = ("127.0.0.1", 49_152);

impl Tunnel {
    /// Whether there is a KEEP connection now.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.current.borrow().is_some()
    }

    /// Opens a channel for one upload; fails at once when there is no KEEP connection.
    ///
    /// # Errors
    /// There is no connection, or the controller refuses the channel.
    pub async fn open(
        &self,
    ) -> Result<impl AsyncRead + AsyncWrite + Unpin + Send + use<>, TunnelError> {
        let handle = self
            .current
            .borrow()
            .clone()
            .ok_or(TunnelError::NotConnected)?;
        let (address, port) = ORIGINATOR;
        match handle
            .channel_open_direct_tcpip("127.0.0.1", UPLOAD_PORT, address, port)
            .await
        {
            Ok(channel) => Ok(channel.into_stream()),
            Err(russh::Error::ChannelOpenFailure(reason)) => {
                Err(TunnelError::Refused(format!("{reason:?}")))
            }
            Err(_) => Err(TunnelError::NotConnected),
        }
    }
}

/// Why no channel to the controller's upload service could be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TunnelError {
    /// There is no KEEP connection now.
    #[error("not connected to a controller")]
    NotConnected,
    /// The controller did not open the channel.
    #[error("the controller refuses the upload channel: {0}")]
    Refused(String),
}

/// Our side of one SSH connection.
struct Client {}

impl client::Handler for Client {
    type Error = russh::Error;

    async fn check_server_key(
        &mut self,
        _key: &PublicKeyOrCertificate,
    ) -> Result<bool, russh::Error> {
        Ok(false)
    }
}
