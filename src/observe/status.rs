//! How the agent stands, as one JSON document: what the status socket gives and `starling status` reads.
//!
//! Plain words and numbers. No secret has a field here: neither the session's id nor the private key. A field that a
//! document lacks has its default, so that one version's `starling status` reads another version's agent.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Everything that the agent says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// The program's version.
    pub version: String,
    /// The agent's process.
    pub pid: u32,
    /// When this was said, Unix seconds.
    pub time: i64,
    /// For how long the agent has been up, in seconds.
    pub uptime: u64,
    /// Where keys and results are kept.
    pub data_dir: String,
    /// The line to register.
    pub public_key: String,
    /// The probe's number, once it was told.
    pub probe_id: Option<u32>,
    /// Whether it does its work, for health checks.
    pub health: Health,
    /// The session with the controller.
    pub session: Session,
    /// What is on the schedule, by type. Absent if the main loop does not answer.
    pub jobs: Option<Vec<Jobs>>,
    /// Results that wait for upload.
    pub results: Results,
    /// Local copies of results, if they are wanted.
    pub tee: Option<Tee>,
    /// The wall clock.
    pub clock: WallClock,
    /// What the host gives us.
    pub host: Host,
    /// What was worth an alert lately, oldest first.
    pub troubles: Vec<Trouble>,
}

/// Whether the agent does its work.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Health {
    /// Main loop and disk make progress; without that only a restart helps.
    pub live: bool,
    /// It is live, the session stands and the controller accepted an upload lately.
    pub ready: bool,
    /// What it lacks, in words.
    pub lacks: Vec<String>,
}

impl Health {
    /// Judges by what stands still, if anything, by the session, and by the last upload that was accepted, which may be
    /// no older than `ready_within`.
    #[must_use]
    pub fn of(
        standstill: Option<(&str, Duration)>,
        session: &Session,
        last_accepted: Option<i64>,
        now: i64,
        ready_within: Duration,
    ) -> Self {
        let mut lacks = Vec::new();
        if let Some((what, silent)) = standstill {
            let secs = silent.as_secs();
            lacks.push(format!("the {what} has not answered for {secs} s"));
        }
        let live = lacks.is_empty();
        if session.state != SessionState::Connected {
            lacks.push(if session.words.is_empty() {
                "no session with a controller yet".to_owned()
            } else {
                format!("no session with a controller: {}", session.words)
            });
        }
        let within = i64::try_from(ready_within.as_secs()).unwrap_or(i64::MAX);
        match last_accepted {
            // A clock that was set back makes nothing old.
            Some(at) if now.saturating_sub(at) <= within => {}
            Some(at) => lacks.push(format!(
                "the last upload was accepted {} s ago",
                now.saturating_sub(at)
            )),
            None => lacks.push("no upload was accepted yet".to_owned()),
        }
        Self {
            live,
            ready: lacks.is_empty(),
            lacks,
        }
    }

    /// In one line.
    #[must_use]
    pub fn words(&self) -> String {
        let verdict = match (self.live, self.ready) {
            (_, true) => "live and ready",
            (true, false) => "live, not ready",
            (false, false) => "not live",
        };
        if self.lacks.is_empty() {
            verdict.to_owned()
        } else {
            format!("{verdict}: {}", self.lacks.join("; "))
        }
    }
}

/// The session with the controller.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Session {
    /// Where it stands.
    pub state: SessionState,
    /// The same in words.
    pub words: String,
    /// What the operator can do about it, if anything.
    pub advice: Option<String>,
    /// Since when it stands there, Unix seconds.
    pub since: i64,
    /// When the next attempt is made, Unix seconds.
    pub next_attempt: Option<i64>,
    /// The controller's name and port.
    pub controller: Option<String>,
    /// The last command of the controller.
    pub last_command: Option<Trouble>,
}

/// Where a session stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SessionState {
    /// Nothing was tried yet.
    #[default]
    Starting,
    /// A registration is under way or was answered.
    Registering,
    /// The key is known and waits for somebody's approval.
    WaitingForApproval,
    /// A server wants us to wait.
    ToldToWait,
    /// A session is being opened at the controller.
    Connecting,
    /// Commands can come, results can go.
    Connected,
    /// The last attempt failed.
    Failing,
}

impl SessionState {
    /// Every state.
    pub const ALL: [Self; 7] = [
        Self::Starting,
        Self::Registering,
        Self::WaitingForApproval,
        Self::ToldToWait,
        Self::Connecting,
        Self::Connected,
        Self::Failing,
    ];

    /// As the document writes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Registering => "registering",
            Self::WaitingForApproval => "waiting-for-approval",
            Self::ToldToWait => "told-to-wait",
            Self::Connecting => "connecting",
            Self::Connected => "connected",
            Self::Failing => "failing",
        }
    }
}

/// The jobs of one type.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Jobs {
    /// The type.
    pub kind: String,
    /// Periodic jobs and one-shots of the controller's table.
    pub scheduled: usize,
    /// One-offs that run or wait.
    pub one_offs: usize,
    /// Runs under way.
    pub running: usize,
    /// When the next periodic run starts, Unix seconds.
    pub next: Option<i64>,
}

/// Results that wait for upload.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Results {
    /// Of periodic measurements.
    pub periodic: Queue,
    /// Of one-offs.
    pub one_offs: Queue,
    /// When the controller last accepted results, Unix seconds.
    pub last_accepted: Option<i64>,
}

/// One queue of results.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Queue {
    /// Result lines waiting.
    pub lines: u64,
    /// Bytes of disk that they take.
    pub bytes: u64,
    /// Bytes held in memory because the disk refuses.
    pub held: usize,
    /// Since when the oldest file waits, Unix seconds.
    pub oldest: Option<i64>,
    /// Lines lost since the start.
    pub dropped: u64,
    /// Why the disk takes nothing, if so.
    pub disk_refuses: Option<String>,
}

/// Local copies of results.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tee {
    /// Where they go.
    pub to: String,
    /// Results copied since the start.
    pub lines: u64,
    /// Results not copied since the start.
    pub dropped: u64,
    /// Why nothing is copied, if so.
    pub trouble: Option<String>,
}

/// The wall clock.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WallClock {
    /// When a controller last confirmed it, Unix seconds.
    pub confirmed: Option<i64>,
    /// Seconds since then, -1 if never (`lts` in results).
    pub lts: i64,
}

/// What the host gives us.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Host {
    /// A route to IPv4 addresses of the internet.
    pub ipv4: bool,
    /// A route to IPv6 addresses of the internet.
    pub ipv6: bool,
    /// What the configuration wants IPv4 packets to leave from.
    pub ipv4_source: Option<String>,
    /// What the configuration wants IPv6 packets to leave from.
    pub ipv6_source: Option<String>,
    /// Why packets cannot leave from there, a line each.
    pub source_problems: Vec<String>,
    /// Raw sockets: everything can be measured.
    pub raw_sockets: bool,
    /// Datagram ICMP: ping works without raw sockets.
    pub datagram_icmp: bool,
    /// How the process is confined.
    pub confinement: Vec<Layer>,
}

/// One layer of a process's confinement.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Layer {
    /// Whether it is in force as wanted.
    pub holds: bool,
    /// In words.
    pub words: String,
}

/// Something that happened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Trouble {
    /// When, Unix seconds.
    pub time: i64,
    /// What, in words.
    pub words: String,
    /// How often since it came up, numbers in the words aside.
    pub times: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    const WITHIN: Duration = Duration::from_secs(900);

    fn session(state: SessionState) -> Session {
        Session {
            state,
            words: "said so".to_owned(),
            ..Session::default()
        }
    }

    #[test]
    fn ready_is_a_session_and_an_upload_accepted_lately() {
        let connected = session(SessionState::Connected);
        let judged = |last| Health::of(None, &connected, last, 10_000, WITHIN);
        for (last, ready) in [
            (Some(9_100), true),
            (Some(20_000), true),
            (Some(9_099), false),
            (None, false),
        ] {
            let health = judged(last);
            assert_eq!((health.live, health.ready), (true, ready), "{last:?}");
        }
        assert_eq!(judged(Some(10_000)).words(), "live and ready");
        assert_eq!(
            judged(Some(1)).words(),
            "live, not ready: the last upload was accepted 9999 s ago"
        );
    }

    #[test]
    fn without_a_session_it_is_live_and_not_ready() {
        let health = Health::of(None, &session(SessionState::Failing), Some(9), 9, WITHIN);
        assert_eq!(
            health.words(),
            "live, not ready: no session with a controller: said so"
        );
    }

    #[test]
    fn what_stands_still_is_neither_live_nor_ready() {
        let connected = session(SessionState::Connected);
        let still = Some(("disk", Duration::from_secs(61)));
        let health = Health::of(still, &connected, Some(9), 9, WITHIN);
        assert!(!health.live && !health.ready);
        assert_eq!(
            health.words(),
            "not live: the disk has not answered for 61 s"
        );
    }

    #[test]
    fn states_are_named_as_the_document_writes_them() {
        for state in SessionState::ALL {
            let written = serde_json::to_value(state).unwrap();
            assert_eq!(written, state.name());
        }
    }

    #[test]
    fn a_document_of_another_version_can_be_read() {
        let told = r#"{"version":"9","news":1,"health":{"live":true}}"#;
        let report: Report = serde_json::from_str(told).unwrap();
        assert!(report.health.live && !report.health.ready);
        assert_eq!(report.version, "9");
    }
}
