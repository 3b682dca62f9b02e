//! The way results take to the controller: channels on the KEEP connection.

use russh::client::Handle;
use std::{fmt, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{mpsc, watch},
    time::timeout,
};

use super::connect::Client;
use crate::session::{Upload, event::collapsed};

/// The port of the controller's upload service, at its own loopback (`controller-protocol` section 3.2).
const UPLOAD_PORT: u32 = 8080;
/// The originator we name for an upload: OpenSSH names the ephemeral port of a local connection, of which
/// there is none here.
const ORIGINATOR: (&str, u32) = ("127.0.0.1", 49_152);
/// How long the controller may take to open a channel (`controller-protocol` section 6.5: connect within 10 s).
const OPEN_LIMIT: Duration = Duration::from_secs(10);

/// Fates of uploads that may wait for the session.
const MAX_TOLD: usize = 16;

type Current = Option<Arc<Handle<Client>>>;

/// The two ends of the way that uploads take: one for [`run`](super::run), one for the uploader.
#[must_use]
pub fn tunnel() -> (TunnelEnd, Tunnel) {
    let (end, current) = watch::channel(None);
    let (uploads, told) = mpsc::channel(MAX_TOLD);
    (
        TunnelEnd { current: end, told },
        Tunnel { current, uploads },
    )
}

/// The session's end of a [`Tunnel`].
pub struct TunnelEnd {
    current: watch::Sender<Current>,
    told: mpsc::Receiver<Upload>,
}

impl TunnelEnd {
    pub(super) fn set(&self, current: Current) {
        self.current.send_replace(current);
    }

    /// What became of the next upload. Never returns when nobody uploads any more.
    pub(super) async fn told(&mut self) -> Upload {
        match self.told.recv().await {
            Some(upload) => upload,
            None => std::future::pending().await,
        }
    }
}

impl fmt::Debug for TunnelEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TunnelEnd").finish_non_exhaustive()
    }
}

/// The way uploads take: channels to `127.0.0.1:8080` at the controller, on the current KEEP connection.
///
/// Cloneable; every clone sees the connection come and go.
#[derive(Clone)]
pub struct Tunnel {
    current: watch::Receiver<Current>,
    uploads: mpsc::Sender<Upload>,
}

impl Tunnel {
    /// Tells the session what became of an upload, so that it can tell a connection that is of use from one that
    /// only stands. Never waits: what a busy session misses, the next upload tells.
    pub fn tell(&self, upload: Upload) {
        let _ = self.uploads.try_send(upload);
    }

    /// Waits for the next KEEP connection, at once if there is one. Never returns when the session has ended.
    pub async fn connected(&mut self) {
        if self.current.wait_for(Option::is_some).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Waits until the connection came or went, and tells whether there is one. Never returns when the session has
    /// ended.
    pub async fn changed(&mut self) -> bool {
        if self.current.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        self.current.borrow_and_update().is_some()
    }

    /// Opens a channel for one upload; fails at once when there is no KEEP connection.
    ///
    /// # Errors
    /// There is no connection, or the controller refuses the channel or does not answer within ten seconds.
    pub async fn open(
        &self,
    ) -> Result<impl AsyncRead + AsyncWrite + Unpin + Send + use<>, TunnelError> {
        let handle = self
            .current
            .borrow()
            .clone()
            .ok_or(TunnelError::NotConnected)?;
        let (address, port) = ORIGINATOR;
        let opening = handle.channel_open_direct_tcpip("127.0.0.1", UPLOAD_PORT, address, port);
        match timeout(OPEN_LIMIT, opening).await {
            Ok(Ok(channel)) => Ok(channel.into_stream()),
            Ok(Err(russh::Error::ChannelOpenFailure(reason))) => {
                Err(TunnelError::Refused(collapsed(&format!("{reason:?}"))))
            }
            Ok(Err(_)) => Err(TunnelError::NotConnected),
            Err(_) => Err(TunnelError::TimedOut),
        }
    }
}

impl fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tunnel")
            .field("connected", &self.current.borrow().is_some())
            .finish()
    }
}

/// Why no channel to the controller's upload service could be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TunnelError {
    /// There is no KEEP connection now.
    #[error("not connected to a controller")]
    NotConnected,
    /// The controller did not open the channel.
    #[error("it refuses it: {0}")]
    Refused(String),
    /// The controller did not answer.
    #[error("it does not answer")]
    TimedOut,
}
