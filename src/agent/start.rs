//! How the agent is put together, and what is asked of the configuration for that.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio::{
    sync::{mpsc, watch},
    task::{JoinHandle, JoinSet},
};

use super::{
    Agent, AgentError, Event, Outside, Status, Stored,
    beacon::Beacons,
    memory::Memory,
    names::resolve_through,
    pulse::pulse,
    resolver::ResolverFile,
    scrape,
    source::session_sources,
    storage::Storage,
    tables::{MAIN, MEASUREMENTS},
    vitals::{Question, Vitals},
    window::{self, Window},
};
use crate::{
    clock::Clock,
    config::{Config, Server, TeeTo},
    dialect::Dialect,
    key::{HostKey, ProbeKey},
    measurement::{Rules, Version, dns::Counts},
    net::{self, Net},
    observe::{
        log::plainly,
        tee::{self, Tee},
    },
    report,
    schedule::{self, Limits, Schedule},
    session::{self, RegistrationServer, ServerList, SessionEvent, interpreter::Interpreter},
    spool,
    upload::Own,
};

/// The session's state in the data directory.
const SESSION: &str = "session.json";
/// Results that may wait for the storage task; runs that finish while it is full wait.
const INBOX: usize = 256;
/// Session events that may wait for the main loop; the controller's commands wait while it is full.
const SESSION_EVENTS: usize = 64;

impl Agent {
    pub(super) fn start(
        config: &Config,
        clock: Clock,
        seed: u64,
        outside: Outside,
    ) -> Result<Self, AgentError> {
        let servers = servers(&config.registration.servers)?;
        let memory = remember(config)?;
        let hostname = report::system::node_name();
        let key = identity(config, &hostname, outside.watcher.as_ref())?;

        let version = version(config);
        let net = Net::open(net_config(config, seed ^ 1), clock);
        tell_missing(net.capabilities());
        let status = Arc::new(Status::new(
            config,
            version.clone(),
            key.public_line(),
            clock,
            net.clone(),
            tee(config),
        ));
        let (tunnel_end, tunnel) = session::ssh::tunnel();
        let (pulse, heart) = pulse();
        let (storage, stored) = open_storage(config, clock, seed ^ 2, tunnel, &status)?;

        let beacons = config
            .registration
            .dns_beacons
            .then(|| Beacons::new(key.sos_id()));
        let (inbox, finished) = mpsc::channel(INBOX);
        let session = SessionTask::start(
            session_config(config, servers, hostname, memory.count_start()),
            config.dialect,
            clock,
            seed ^ 3,
            key,
            net.clone(),
            tunnel_end,
        );
        let tables = memory.tables();
        let (question, questions) = mpsc::channel(1);
        let window = Window {
            status: Arc::clone(&status),
            stored,
            vitals: Arc::new(Vitals::new(clock, question, pulse.clone())),
            troubles: outside.troubles.clone(),
            net: net.clone(),
            confinement: outside.confinement.clone(),
        };
        let windows = Windows::open(config, window, questions, outside.runtime_dir.as_deref());
        let mut agent = Self {
            clock,
            config: config.clone(),
            rules: rules(config),
            version,
            net,
            schedule: Schedule::new(seed ^ 4, limits(config)),
            runs: JoinSet::new(),
            one_offs_running: Arc::default(),
            one_shots: BTreeSet::new(),
            ran: memory.ran(),
            memory,
            tables,
            status,
            storage: inbox,
            storage_task: tokio::spawn(storage.run(finished, heart)),
            session,
            leaving: watch::channel(false).0,
            repeats: BTreeMap::new(),
            dns: Counts::default(),
            outside,
            windows,
            beacons,
            pulse,
            is_ready: false,
            source_problems: Vec::new(),
            next_beat: Some(clock.tick()),
            next_pass: clock.instant(clock.tick()).into(),
            resolver_file: ResolverFile::default(),
            next_look: clock.instant(clock.tick()).into(),
        };
        agent.resume();
        Ok(agent)
    }

    /// Takes up the tables of an earlier life: measurements go on without any controller.
    fn resume(&mut self) {
        for shot in self.ran.clone() {
            self.decide(schedule::Input::AlreadyRan(shot));
        }
        for name in [MAIN, MEASUREMENTS] {
            if self.tables.contains_key(name) {
                self.apply(name);
            }
        }
    }
}

/// The session's task, which lives as long as the agent.
pub(super) struct SessionTask {
    pub(super) events: mpsc::Receiver<SessionEvent>,
    pub(super) task: JoinHandle<()>,
    /// Tells it to end.
    pub(super) stopping: watch::Sender<bool>,
}

impl SessionTask {
    fn start(
        config: session::ssh::Config,
        dialect: Dialect,
        clock: Clock,
        seed: u64,
        key: ProbeKey,
        net: Net,
        tunnel: session::ssh::TunnelEnd,
    ) -> Self {
        let (stopping, shutdown) = watch::channel(false);
        let (sender, events) = mpsc::channel(SESSION_EVENTS);
        let task = tokio::spawn(session::ssh::run(
            config,
            clock,
            seed,
            key,
            resolve_through(net),
            Interpreter::new(dialect),
            sender,
            tunnel,
            shutdown,
        ));
        Self {
            events,
            task,
            stopping,
        }
    }
}

/// What others look in by: the status socket, and metrics if they are wanted.
pub(super) struct Windows {
    pub(super) tasks: JoinSet<()>,
    /// Where the status socket lies.
    pub(super) socket: PathBuf,
    /// What they ask the main loop.
    pub(super) questions: mpsc::Receiver<Question>,
}

impl Windows {
    fn open(
        config: &Config,
        window: Window,
        questions: mpsc::Receiver<Question>,
        runtime_dir: Option<&Path>,
    ) -> Self {
        let window = Arc::new(window);
        let socket = window::place(runtime_dir, &config.data_dir);
        let mut tasks = JoinSet::new();
        tasks.spawn(look_out(
            Arc::clone(&window),
            socket.clone(),
            runtime_dir.is_some(),
        ));
        if config.metrics.enabled {
            tasks.spawn(scrape::serve(window, config.metrics.listen));
        }
        Self {
            tasks,
            socket,
            questions,
        }
    }
}

/// Opens the status socket and serves it. A probe without one measures all the same.
async fn look_out(window: Arc<Window>, socket: PathBuf, for_group: bool) {
    match window::open(&socket, for_group) {
        Ok(listener) => window.serve(listener).await,
        Err(error) => tracing::warn!(
            socket = %socket.display(), %error, "no status socket: `starling status` will not work"
        ),
    }
}

/// Makes the data directory, readable by us alone, and opens what earlier lives left in it.
fn remember(config: &Config) -> Result<Memory, AgentError> {
    let unusable = |error| AgentError::DataDir(config.data_dir.clone(), error);
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&config.data_dir)
        .map_err(unusable)?;
    Memory::open(config.data_dir.join("crontabs")).map_err(unusable)
}

/// The probe's key, made if there is none.
fn identity(
    config: &Config,
    hostname: &str,
    watcher: Option<&mpsc::Sender<Event>>,
) -> Result<ProbeKey, AgentError> {
    let file = config.key_file();
    let made = !file.exists();
    let key = ProbeKey::load_or_create(&file, hostname)?;
    introduce(&key, made, config, watcher);
    Ok(key)
}

fn version(config: &Config) -> Version {
    Version {
        firmware: i64::from(config.measurement.firmware),
        measurement: config.measurement.version.clone(),
    }
}

fn rules(config: &Config) -> Rules {
    Rules {
        dialect: config.dialect,
        spool: config.data_dir.clone(),
        unsafe_paths: false,
    }
}

fn limits(config: &Config) -> Limits {
    Limits {
        periodic: config.measurement.periodic_at_once,
        one_off: config.measurement.one_offs_at_once,
        ..Limits::default()
    }
}

fn net_config(config: &Config, seed: u64) -> net::Config {
    net::Config {
        allow_any_address: config.measurement.allow_any_address,
        source_v4: config.source.ipv4.clone(),
        source_v6: config.source.ipv6.clone(),
        ..net::Config::new(seed)
    }
}

fn open_storage(
    config: &Config,
    clock: Clock,
    seed: u64,
    tunnel: session::Tunnel,
    status: &Arc<Status>,
) -> Result<(Storage, watch::Receiver<Stored>), AgentError> {
    let own = Own {
        interval: config.upload.interval,
        ..Own::default()
    };
    let opened = Storage::open(
        &config.data_dir.join("spool"),
        spool_limits(config),
        own,
        config.dialect,
        seed,
        clock,
        tunnel,
        Arc::clone(status),
    )?;
    Ok(opened)
}

fn spool_limits(config: &Config) -> spool::Limits {
    spool::Limits {
        budget: config.spool.max_bytes,
        sync_after: config.spool.sync_interval,
        ..spool::Limits::default()
    }
}

fn session_config(
    config: &Config,
    servers: Vec<RegistrationServer>,
    hostname: String,
    reboot_count: u32,
) -> session::ssh::Config {
    session::ssh::Config {
        servers,
        firmware: config.measurement.firmware,
        sub_arch: report::system::sub_arch(),
        hostname,
        reboot_count,
        state_file: config.data_dir.join(SESSION),
        sources: session_sources(&config.source),
    }
}

/// Starts copying results, if that is wanted. A probe without copies measures all the same.
fn tee(config: &Config) -> Option<Tee> {
    let target = match config.tee.to {
        TeeTo::Nowhere => return None,
        TeeTo::Stdout => tee::Target::Stdout,
        TeeTo::File => tee::Target::File(tee::Rotated {
            path: config.tee_file(),
            max_bytes: config.tee.max_bytes,
            keep: config.tee.keep,
        }),
    };
    Tee::start(target)
        .inspect_err(|error| tracing::warn!(%error, "results are not copied"))
        .ok()
}

/// Says what cannot be measured for want of privileges.
fn tell_missing(may: net::Capabilities) {
    let lost = match (may.raw, may.datagram_icmp) {
        (true, _) => return,
        (false, true) => "no raw sockets: TCP traceroute fails",
        (false, false) => "no raw sockets: ping, and traceroute by ICMP or TCP, fail",
    };
    tracing::warn!(
        "{lost}, and the controller is told so; give the probe CAP_NET_RAW, as its systemd unit does, or by `setcap \
         cap_net_raw+ep` on the binary"
    );
}

/// The line to register, plainly, where the user will see it: at each start until a registration server knew the key.
/// `starling status` and `starling key show` repeat it.
fn introduce(key: &ProbeKey, made: bool, config: &Config, watcher: Option<&mpsc::Sender<Event>>) {
    let line = key.public_line();
    let file = key.path().display();
    if made {
        tracing::info!(key = %file, "made the probe's key");
    } else {
        tracing::info!(key = %file, fingerprint = %key.fingerprint(), "the probe's key");
    }
    if let Some(watcher) = watcher {
        // Whoever watches tells it.
        let _ = watcher.try_send(Event::Key { line, made });
    } else if made || !was_registered(config) {
        let place = if config.registration.servers.is_empty() {
            "at https://atlas.ripe.net/apply/swprobe/"
        } else {
            "with whoever runs its network"
        };
        plainly(&format!(
            "Register this probe {place} by the next line, its public key; `starling key show` repeats it:"
        ));
        plainly(&line);
    }
}

/// Whether a registration server knew this probe in an earlier life.
fn was_registered(config: &Config) -> bool {
    fs::read(config.data_dir.join(SESSION))
        .ok()
        .and_then(|text| serde_json::from_slice::<session::State>(&text).ok())
        .is_some_and(|state| state.probe_id.is_some() || state.controller.is_some())
}

/// The configured registration servers with their keys, or the production servers.
///
/// # Errors
/// A host key cannot be read.
pub fn servers(configured: &[Server]) -> Result<Vec<RegistrationServer>, AgentError> {
    if configured.is_empty() {
        return Ok(ServerList::Prod.servers());
    }
    configured
        .iter()
        .map(|server| {
            let host_key = match &server.host_key {
                Some(line) => Some(
                    line.parse::<HostKey>()
                        .map_err(|error| AgentError::HostKey(server.host.clone(), error))?,
                ),
                None => session::servers::known_key(&server.host),
            };
            Ok(RegistrationServer {
                host: server.host.clone(),
                port: server.port,
                host_key,
            })
        })
        .collect()
}
