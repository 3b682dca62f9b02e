//! The session's state on disk, and what the host says of itself.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::{servers::RegistrationServer, state::State};
use crate::key::{self, ProbeKey};

/// The longest state file read, in octets.
const MAX_FILE: u64 = 64 * 1024;

/// What a state is made for: another key, or other registration servers, are another probe's state.
pub(super) fn made_for(key: &ProbeKey, servers: &[RegistrationServer]) -> String {
    let mut text = key.fingerprint();
    for server in servers {
        text.push_str(&format!(
            "\n{server} {:?}",
            server.host_key.as_ref().map(ToString::to_string)
        ));
    }
    key::fingerprint(text.as_bytes())
}

/// The state at `path` if it was made for this; a new one if there is none. A damaged one is put aside with a
/// warning: the session then begins anew, which costs one registration.
pub(super) async fn load(path: PathBuf, made_for: String) -> State {
    let file = path.clone();
    let read = tokio::task::spawn_blocking(move || read(&file)).await;
    let state = match read.unwrap_or_else(|cause| Err(io::Error::other(cause))) {
        Ok(state) => state,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => State::default(),
        Err(cause) => {
            tracing::warn!(file = %path.display(), %cause, "the session's state is unreadable: beginning anew");
            State::default()
        }
    };
    if state.made_for == made_for {
        return state;
    }
    State {
        // The limit on registrations holds whatever changed.
        registrations: state.registrations,
        made_for,
        ..State::default()
    }
}

fn read(path: &Path) -> io::Result<State> {
    let text = key::read_private(path, MAX_FILE)?;
    serde_json::from_str(&text).map_err(|cause| io::Error::new(io::ErrorKind::InvalidData, cause))
}

/// Writes the state whole or not at all, readable by its owner alone since it holds the session id.
pub(super) async fn save(path: PathBuf, state: State) -> io::Result<()> {
    let text = serde_json::to_vec_pretty(&state).map_err(io::Error::other)?;
    tokio::task::spawn_blocking(move || key::write_private(&path, &text, true))
        .await
        .unwrap_or_else(|cause| Err(io::Error::other(cause)))
}
