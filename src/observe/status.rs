//! How the agent stands, as one JSON document: what the status socket gives and `starling status` reads.
//!
//! Plain words and numbers. No secret has a field here: neither the session's id nor the private key.

use serde::{Deserialize, Serialize};

/// Everything that the agent says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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
    /// The session with the controller.
    pub session: Session,
    /// What is on the schedule, by type. Absent if the main loop does not answer.
    pub jobs: Option<Vec<Jobs>>,
    /// Results that wait for upload.
    pub results: Results,
    /// The wall clock.
    pub clock: WallClock,
    /// What the host gives us.
    pub host: Host,
    /// What was worth an alert lately, oldest first.
    pub troubles: Vec<Trouble>,
}

/// The session with the controller.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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

/// The jobs of one type.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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

/// The wall clock.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WallClock {
    /// When a controller last confirmed it, Unix seconds.
    pub confirmed: Option<i64>,
    /// Seconds since then, -1 if never (`lts` in results).
    pub lts: i64,
}

/// What the host gives us.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// A route to IPv4 addresses of the internet.
    pub ipv4: bool,
    /// A route to IPv6 addresses of the internet.
    pub ipv6: bool,
    /// Raw sockets: everything can be measured.
    pub raw_sockets: bool,
    /// Datagram ICMP: ping works without raw sockets.
    pub datagram_icmp: bool,
    /// How the process is confined, a line each.
    pub confinement: Vec<String>,
}

/// Something that happened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// When, Unix seconds.
    pub time: i64,
    /// What, in words.
    pub words: String,
}
