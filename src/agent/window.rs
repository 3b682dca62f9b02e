//! The status socket: whoever connects gets one JSON document and is hung up on. Nothing is ever read from it.
//!
//! It lies in `$RUNTIME_DIRECTORY` for owner and group, else in the data directory for the owner alone. Connections are
//! served one after the other, each for a bounded time, so a stranger costs one descriptor.

use std::{
    fs, io,
    os::unix::{ffi::OsStrExt as _, fs::PermissionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::{
    io::AsyncWriteExt as _,
    net::{UnixListener, UnixStream},
    sync::watch,
    time::{sleep, timeout},
};

use super::{Layer, Status, Stored, vitals::Vitals};
use crate::{
    net::Net,
    observe::{
        log::Troubles,
        status::{Health, Report},
    },
};

/// The name of the socket.
pub const SOCKET: &str = "status.sock";
/// How long a reader has to take the document.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a socket that cannot accept is left alone.
const PAUSE: Duration = Duration::from_secs(1);

/// What a document is made of.
pub(super) struct Window {
    pub(super) status: Arc<Status>,
    pub(super) stored: watch::Receiver<Stored>,
    pub(super) vitals: Arc<Vitals>,
    pub(super) troubles: Troubles,
    pub(super) net: Net,
    pub(super) confinement: Vec<Layer>,
}

/// Where the socket lies: `runtime` is `$RUNTIME_DIRECTORY`.
#[must_use]
pub fn place(runtime: Option<&Path>, data_dir: &Path) -> PathBuf {
    runtime.unwrap_or(data_dir).join(SOCKET)
}

/// Opens the socket. Whoever has the data directory's lock may take the place of one that died.
pub(super) fn open(path: &Path, for_group: bool) -> io::Result<UnixListener> {
    // The kernel's message for a long path names neither it nor the bound.
    if path.as_os_str().as_bytes().len() > 107 {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "the path of a socket has at most 107 bytes",
        ));
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    let mode = if for_group { 0o660 } else { 0o600 };
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    Ok(listener)
}

impl Window {
    /// Serves until dropped.
    pub(super) async fn serve(&self, listener: UnixListener) {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => self.show(stream).await,
                Err(error) => {
                    tracing::debug!(%error, "the status socket cannot accept");
                    sleep(PAUSE).await;
                }
            }
        }
    }

    async fn show(&self, mut stream: UnixStream) {
        let Ok(mut text) = serde_json::to_vec(&self.report().await) else {
            return;
        };
        text.push(b'\n');
        // A reader that went away, or does not read, has its own reasons.
        let _ = timeout(PATIENCE, async {
            stream.write_all(&text).await?;
            stream.shutdown().await
        })
        .await;
    }

    pub(super) async fn report(&self) -> Report {
        let found = self.vitals.ask().await;
        let (status, net) = (Arc::clone(&self.status), self.net.clone());
        let stored = *self.stored.borrow();
        // Listing the spool and trying sockets is work for another thread.
        let told = tokio::task::spawn_blocking(move || status.report(&stored, &net)).await;
        let mut report = told.unwrap_or_default();
        report.jobs = found.jobs;
        report.health = Health::of(
            found.standstill,
            &report.session,
            report.results.last_accepted,
            report.time,
            self.status.ready_within(),
        );
        report.troubles = self.troubles.recent();
        report.host.confinement.clone_from(&self.confinement);
        report
    }
}
