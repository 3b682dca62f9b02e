//! What survives a restart: the controller, the session, and what may not be done before when.
//!
//! One JSON file in the data directory, mode 0600 since it holds the session id. It is the counterpart of the
//! status files of `controller-protocol` section 1.7, so a restart reuses controller and session.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::time::Duration;

use crate::{clock::UnixTime, key::HostKey, protocol::registration::SessionId};

/// The longest wait that any server can ask for: 28 days (`controller-protocol` section 9).
pub const MAX_WAIT: Duration = Duration::from_secs(2_419_200);

/// The state of a session at rest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// Which key and registration servers it belongs to; under others it does not count.
    pub made_for: String,
    /// The probe's number, once told.
    pub probe_id: Option<u32>,
    /// The controller that the last registration named.
    pub controller: Option<Controller>,
    /// The session that the controller opened, until a registration or a refusal ends it.
    pub opened: Option<Opened>,
    /// From when on a lost KEEP leads to a registration rather than to the same controller again.
    pub reregister: Option<Timer>,
    /// Before when no registration is made.
    pub registration_wait: Option<Timer>,
    /// Before when the controller is left alone.
    pub controller_wait: Option<Timer>,
    /// Whether the next registration is forced by the controller.
    pub force_registration: bool,
    /// Before when no registration is made for the sole reason that the controller is of no use.
    pub doubt_wait: Option<Timer>,
    /// Registrations made for that reason since the controller was last of use.
    pub doubts: u32,
    /// Complaints about a KEEP that stands since one was last of use.
    pub strikes: u32,
    /// When registrations were made in the last hour, Unix seconds, oldest first.
    pub registrations: Vec<i64>,
}

/// The controller of a probe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Controller {
    /// Name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// The only host key accepted, from the registration answer.
    pub host_key: HostKey,
}

/// A session at the controller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opened {
    /// The port of the reverse forward.
    pub remote_port: u16,
    /// Password and upload footer.
    #[serde(
        serialize_with = "write_session_id",
        deserialize_with = "read_session_id"
    )]
    pub session_id: SessionId,
}

fn write_session_id<S: Serializer>(id: &SessionId, serializer: S) -> Result<S::Ok, S::Error> {
    id.as_str().serialize(serializer)
}

fn read_session_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SessionId, D::Error> {
    let text = String::deserialize(deserializer)?;
    SessionId::new(&text).map_err(|_| serde::de::Error::custom("not a session id"))
}

/// A wait written down in wall-clock time.
///
/// Both ends are kept, so that a clock that jumped can shorten a wait but never lengthen it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timer {
    /// When the wait began, Unix seconds.
    pub since: i64,
    /// When it ends, Unix seconds.
    pub until: i64,
}

impl Timer {
    /// A wait of `length` from `now`; whole seconds, rounded up.
    #[must_use]
    pub fn starting(now: UnixTime, length: Duration) -> Self {
        let secs = length.as_secs() + u64::from(length.subsec_nanos() > 0);
        let since = now.secs();
        Self {
            since,
            until: since.saturating_add(i64::try_from(secs).unwrap_or(i64::MAX)),
        }
    }

    /// How much of the wait is left at `now`: never more than its whole length, nor than [`MAX_WAIT`].
    #[must_use]
    pub fn left(&self, now: UnixTime) -> Duration {
        let left = self.until.saturating_sub(now.secs().max(self.since));
        Duration::from_secs(u64::try_from(left).unwrap_or(0)).min(MAX_WAIT)
    }
}
