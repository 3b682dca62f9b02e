//! `starling run`: starts the tasks, owns the channels between them, stops in order.
//!
//! ```text
//! session ── Change ──▶ agent ── Launch ──▶ one task a run ── lines ──▶ storage ── posts ──▶ tunnel
//! ```
//!
//! Three tasks live as long as the agent: the session, the storage, and the main loop here, which holds tables
//! and schedule. Each run is a task of its own. Every channel is bounded: a full inbox of the storage holds
//! finished runs back, full session events hold the controller's commands back, and a watcher that lags misses
//! what it did not take.

mod memory;
mod status;
mod storage;
mod tables;

pub use status::Status;
pub use storage::Stored;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    os::unix::fs::DirBuilderExt as _,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::sleep_until,
};

use crate::{
    clock::Clock,
    config::{Config, Server},
    key::{HostKey, HostKeyError, KeyError, ProbeKey},
    measurement::{
        Carry, Outcome, Rules, Run, Version,
        machine::{Family, ResolveError},
    },
    net::{self, Net},
    report::{
        self,
        lines::{NotRun, Runner},
    },
    result::Document,
    schedule::{self, JobId, Limits, OneShot, Schedule},
    session::{
        self, RegistrationServer, ServerList, SessionEvent,
        interpreter::{Change, Interpreter},
    },
    spool,
    upload::{Own, Queue},
};
use memory::Memory;
use storage::{Message, Storage};
use tables::{MAIN, MEASUREMENTS, OneOffTask, Refused};

/// Results that may wait for the storage task; runs that finish while it is full wait.
const INBOX: usize = 256;
/// Session events that may wait for the main loop; the controller's commands wait while it is full.
const SESSION_EVENTS: usize = 64;
/// How often the probe looks after itself: addresses, starts (`controller-protocol` section 2.6).
const PASS: Duration = Duration::from_secs(180);
/// How long stopping may take altogether; systemd and container engines are promised five seconds.
const STOPPING: Duration = Duration::from_secs(4);

/// Something that a person watching the agent would like to see.
#[derive(Clone, Debug)]
pub enum Event {
    /// The key that the probe goes by; `made` on the first start.
    Key {
        /// The line to register.
        line: String,
        /// Whether it was made just now.
        made: bool,
    },
    /// Progress or trouble with the controller.
    Session(SessionEvent),
}

/// Why the agent cannot run.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The data directory.
    #[error(
        "the data directory {0} cannot be used: {1}; make it writable for this user or name another with --data-dir"
    )]
    DataDir(PathBuf, io::Error),
    /// The results of an earlier run.
    #[error(transparent)]
    Spool(#[from] spool::disk::OpenError),
    /// The key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A registration server's host key.
    #[error("the host key of registration server {0}: {1}")]
    HostKey(String, HostKeyError),
}

/// Whether a configuration can be run, as far as can be told without running it.
///
/// # Errors
/// The first value that cannot be used.
pub fn check(config: &Config) -> Result<(), AgentError> {
    servers(&config.registration.servers).map(|_| ())
}

/// Runs the agent until `stop` completes; then flushes and ends within five seconds.
///
/// # Errors
/// The agent cannot start. Once it runs, trouble is logged and dealt with.
pub async fn run(
    config: &Config,
    clock: Clock,
    seed: u64,
    stop: impl Future<Output = ()>,
    watcher: Option<mpsc::Sender<Event>>,
) -> Result<(), AgentError> {
    let mut agent = Agent::start(config, clock, seed, watcher)?;
    let mut stop = std::pin::pin!(stop);
    agent.serve(stop.as_mut()).await;
    agent.finish().await;
    Ok(())
}

struct Agent {
    clock: Clock,
    rules: Rules,
    version: Version,
    net: Net,
    schedule: Schedule,
    /// Runs under way; each ends in what the next one of its job starts from.
    runs: JoinSet<Finished>,
    one_offs_running: Arc<AtomicUsize>,
    memory: Memory,
    tables: BTreeMap<String, Vec<String>>,
    /// One-shots of the measurement table, and which of them ran.
    one_shots: BTreeSet<OneShot>,
    ran: BTreeSet<OneShot>,
    status: Arc<Status>,
    storage: mpsc::Sender<Message>,
    storage_task: tokio::task::JoinHandle<()>,
    session_events: mpsc::Receiver<SessionEvent>,
    session_task: tokio::task::JoinHandle<()>,
    stopping: watch::Sender<bool>,
    watcher: Option<mpsc::Sender<Event>>,
    next_pass: tokio::time::Instant,
}

/// A run that ended.
struct Finished {
    id: JobId,
    carry: Carry,
}

impl Agent {
    fn start(
        config: &Config,
        clock: Clock,
        seed: u64,
        watcher: Option<mpsc::Sender<Event>>,
    ) -> Result<Self, AgentError> {
        let servers = servers(&config.registration.servers)?;
        let unusable = |error| AgentError::DataDir(config.data_dir.clone(), error);
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&config.data_dir)
            .map_err(unusable)?;
        let memory = Memory::open(config.data_dir.join("crontabs")).map_err(unusable)?;
        let key_file = config.key_file();
        let made = !key_file.exists();
        let hostname = report::system::node_name();
        let key = ProbeKey::load_or_create(&key_file, &hostname)?;
        introduce(&key, made, watcher.as_ref());

        let version = Version {
            firmware: i64::from(config.measurement.firmware),
            measurement: config.measurement.version.clone(),
        };
        let net = Net::open(
            net::Config {
                allow_any_address: config.measurement.allow_any_address,
                ..net::Config::new(seed ^ 1)
            },
            clock,
        );
        let status = Arc::new(Status::new(config, version.clone(), clock, net.clone()));
        let (tunnel_end, tunnel) = session::ssh::tunnel();
        let (storage, _stored) = Storage::open(
            &config.data_dir.join("spool"),
            spool::Limits {
                budget: config.spool.max_bytes,
                sync_after: config.spool.sync_interval,
                ..spool::Limits::default()
            },
            Own {
                interval: config.upload.interval,
                ..Own::default()
            },
            config.dialect,
            seed ^ 2,
            clock,
            tunnel,
            Arc::clone(&status),
        )?;

        let (stopping, shutdown) = watch::channel(false);
        let (storage_inbox, inbox) = mpsc::channel(INBOX);
        let (events, session_events) = mpsc::channel(SESSION_EVENTS);
        let session_task = tokio::spawn(session::ssh::run(
            session::ssh::Config {
                servers,
                firmware: config.measurement.firmware,
                sub_arch: report::system::sub_arch(),
                hostname,
                reboot_count: memory.count_start(),
                state_file: config.data_dir.join("session.json"),
            },
            clock,
            seed ^ 3,
            key,
            resolve_through(net.clone()),
            Interpreter::new(config.dialect),
            events,
            tunnel_end,
            shutdown,
        ));
        let tables = memory.tables();
        let mut agent = Self {
            clock,
            rules: Rules {
                dialect: config.dialect,
                spool: config.data_dir.clone(),
                unsafe_paths: false,
            },
            version,
            net,
            schedule: Schedule::new(
                seed ^ 4,
                Limits {
                    periodic: config.measurement.periodic_at_once,
                    one_off: config.measurement.one_offs_at_once,
                    ..Limits::default()
                },
            ),
            runs: JoinSet::new(),
            one_offs_running: Arc::default(),
            one_shots: BTreeSet::new(),
            ran: memory.ran(),
            memory,
            tables,
            status,
            storage: storage_inbox,
            storage_task: tokio::spawn(storage.run(inbox)),
            session_events,
            session_task,
            stopping,
            watcher,
            next_pass: clock.instant(clock.tick()).into(),
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

    async fn serve(&mut self, mut stop: std::pin::Pin<&mut impl Future<Output = ()>>) {
        loop {
            let due = self.schedule.deadline();
            let due = async {
                match due {
                    Some(tick) => sleep_until(self.clock.instant(tick).into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = &mut stop => return,
                () = due => self.decide(schedule::Input::Deadline),
                Some(finished) = self.runs.join_next() => self.finished(finished),
                event = self.session_events.recv() => match event {
                    Some(event) => self.heard(event).await,
                    // The session task never ends by itself.
                    None => return,
                },
                () = sleep_until(self.next_pass) => self.pass().await,
            }
        }
    }

    /// Leaves the session, drops running machines unreported, lets the storage flush.
    async fn finish(self) {
        let Self {
            mut runs,
            storage,
            storage_task,
            session_task,
            session_events,
            stopping,
            clock,
            ..
        } = self;
        tracing::info!("stopping");
        let _ = stopping.send(true);
        drop(session_events);
        runs.abort_all();
        drop(runs);
        drop(storage);
        let until = clock.instant(clock.tick() + STOPPING).into();
        let ended = tokio::time::timeout_at(until, async {
            let _ = storage_task.await;
            let _ = session_task.await;
        });
        if ended.await.is_err() {
            tracing::warn!("not everything ended in time; what was written stays");
        }
    }

    async fn heard(&mut self, event: SessionEvent) {
        if let Some(watcher) = &self.watcher {
            // A watcher that lags misses events; it never holds the agent back.
            let _ = watcher.try_send(Event::Session(event.clone()));
        }
        log(&event);
        match event {
            SessionEvent::Change(change) => self.change(change).await,
            SessionEvent::Registered { probe_id } => {
                self.status.set_probe_id(probe_id);
            }
            SessionEvent::SessionOpened(identity) | SessionEvent::Kept(identity) => {
                self.status.set_probe_id(identity.probe_id);
                self.tell(Message::Session(storage::identity(&identity)))
                    .await;
            }
            SessionEvent::Marker(marker) => {
                let line = self.status.marker(marker.id(), &marker.text());
                self.keep(Queue::Periodic, line).await;
            }
            _ => {}
        }
    }

    async fn change(&mut self, change: Change) {
        match change {
            Change::Table { name, lines } => {
                self.replace_table(name, lines).await;
            }
            Change::Add { line } => {
                let mut lines = self.tables.get(MEASUREMENTS).cloned().unwrap_or_default();
                lines.push(line);
                self.replace_table(MEASUREMENTS.to_owned(), lines).await;
            }
            Change::OneOff { command } => match tables::read_one_off(&command, &self.rules) {
                Ok(OneOffTask::Run(job)) => self.decide(schedule::Input::Add(job)),
                Ok(OneOffTask::Post) => self.tell(Message::PostOneOffs).await,
                Ok(OneOffTask::Nothing) => {}
                Err(refused) => self.refuse_one_off(refused).await,
            },
            Change::Json { words } => {
                match tables::one_off_job(&words, &words.join(" "), &self.rules) {
                    Ok(job) => self.decide(schedule::Input::Add(job)),
                    Err(refused) => self.refuse_one_off(refused).await,
                }
            }
        }
    }

    async fn replace_table(&mut self, name: String, lines: Vec<String>) {
        if let Err(error) = self.memory.keep_table(&name, &lines) {
            tracing::warn!(table = name, %error, "the table works but will be lost in a restart");
        }
        // Others than these two are kept on disk only: nothing reads them.
        if name != MAIN && name != MEASUREMENTS {
            return;
        }
        self.tables.insert(name.clone(), lines);
        for refused in self.apply(&name) {
            tracing::info!(
                command = refused.command,
                why = refused.why,
                "command refused"
            );
            let line = self.report(Runner::Periodic, &refused);
            self.keep(Queue::Periodic, line).await;
        }
        let duties = tables::duties(&self.tables);
        self.tell(Message::Duties(duties)).await;
    }

    /// Puts a table into force; returns the commands that it cannot run.
    fn apply(&mut self, name: &str) -> Vec<Refused> {
        if name != MEASUREMENTS {
            return Vec::new();
        }
        let lines = self.tables.get(name).map_or(&[][..], Vec::as_slice);
        let table = tables::read_measurements(lines, &self.rules);
        for skipped in &table.skipped {
            tracing::info!(line = skipped.text, why = %skipped.error, "line skipped");
        }
        self.one_shots = tables::one_shots(&table.jobs).collect();
        // What is no longer in the table need not be remembered.
        self.ran = &self.ran & &self.one_shots;
        self.remember_ran();
        self.decide(schedule::Input::Replace {
            table: MEASUREMENTS.to_owned(),
            jobs: table.jobs,
        });
        table.refused
    }

    /// A one-shot that ran is not run again when its table is resent, nor after a restart.
    fn note_one_shot(&mut self, text: &str) {
        let shots = self
            .one_shots
            .iter()
            .filter(|shot| shot.text == text)
            .cloned();
        let before = self.ran.len();
        self.ran.extend(shots);
        if self.ran.len() > before {
            self.remember_ran();
        }
    }

    fn remember_ran(&self) {
        if let Err(error) = self.memory.keep_ran(&self.ran) {
            tracing::warn!(%error, "one-shots may run again after a restart");
        }
    }

    fn finished(&mut self, finished: Result<Finished, tokio::task::JoinError>) {
        match finished {
            Ok(Finished { id, carry }) => self.decide(schedule::Input::Finished { id, carry }),
            // A bug of ours: half a dead agent is worse than a restart, and the spool makes a restart cheap.
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => {}
        }
    }

    /// Tells the schedule and does what it says.
    fn decide(&mut self, input: schedule::Input) {
        let mut now = self.clock.now(self.status.last_sync());
        for output in self.schedule.handle(&mut now, input) {
            match output {
                schedule::Output::Launch {
                    id,
                    spec,
                    text,
                    carry,
                    seed,
                    late,
                    one_off,
                    ..
                } => {
                    if !one_off {
                        self.note_one_shot(&text);
                    }
                    tracing::debug!(job = id.0, kind = %spec.kind(), target = spec.target(), ?late, "run");
                    self.launch(id, &spec, carry, seed, one_off);
                }
                schedule::Output::Skipped { spec, why, .. } => {
                    tracing::debug!(kind = %spec.kind(), target = spec.target(), ?why, "run skipped");
                    if let Some(line) = self.status.skipped(&spec, why) {
                        self.keep_later(Queue::Periodic, line);
                    }
                }
                schedule::Output::Inconsistent { text, step, .. } => {
                    tracing::warn!(command = %text, ?step, "the clock was set: run skipped and planned anew");
                    let why = NotRun::Inconsistent {
                        now: step.now,
                        planned: step.planned,
                        wait: step.wait,
                        cycle: step.cycle,
                        generated: step.generated,
                    };
                    let line = self.status.not_run(Runner::Periodic, why, &text);
                    self.keep_later(Queue::Periodic, line);
                }
            }
        }
    }

    /// The line that tells the controller of a refused command.
    fn report(&self, runner: Runner, refused: &Refused) -> String {
        let reason = refused.reason.map(|reason| reason.to_string());
        let why = reason.as_deref().map_or(NotRun::Options, NotRun::Line);
        self.status.not_run(runner, why, &refused.command)
    }

    fn launch(
        &mut self,
        id: JobId,
        spec: &crate::measurement::Spec,
        carry: Carry,
        seed: u64,
        one_off: bool,
    ) {
        let machine = spec.start(
            Run {
                seed,
                probe_id: self.status.probe_id(),
                replay: false,
            },
            carry,
        );
        let (net, storage) = (self.net.clone(), self.storage.clone());
        let (head, dialect) = (spec.head(&self.version), self.rules.dialect);
        let running = Arc::clone(&self.one_offs_running);
        if one_off {
            running.fetch_add(1, Ordering::Relaxed);
        }
        self.runs.spawn(async move {
            let Outcome { bodies, carry, .. } = net.run(machine, |_| {}).await;
            let lines: String = bodies
                .into_iter()
                .map(|body| {
                    Document {
                        head: head.clone(),
                        body,
                    }
                    .line(dialect)
                })
                .collect();
            let idle = one_off && running.fetch_sub(1, Ordering::Relaxed) == 1;
            let queue = if one_off {
                Queue::OneOff
            } else {
                Queue::Periodic
            };
            // Only a stopping agent has no storage any more.
            let _ = storage.send(Message::Keep { queue, lines, idle }).await;
            Finished { id, carry }
        });
    }

    async fn refuse_one_off(&mut self, refused: Refused) {
        tracing::info!(
            command = refused.command,
            why = refused.why,
            "one-off refused"
        );
        let line = self.report(Runner::OneOff, &refused);
        self.keep(Queue::OneOff, line).await;
    }

    /// What the probe does every three minutes.
    async fn pass(&mut self) {
        self.next_pass =
            tokio::time::Instant::from_std(self.clock.instant(self.clock.tick() + PASS));
        if report::system::host_uptime() > Duration::from_secs(600) {
            self.memory.forget_starts();
        }
        let status = Arc::clone(&self.status);
        let addresses = tokio::task::spawn_blocking(move || status.addresses()).await;
        if let Ok(Some(line)) = addresses {
            self.keep(Queue::Periodic, line).await;
        }
    }

    async fn keep(&self, queue: Queue, lines: String) {
        let idle = queue == Queue::OneOff && self.one_offs_running.load(Ordering::Relaxed) == 0;
        self.tell(Message::Keep { queue, lines, idle }).await;
    }

    /// Like [`keep`](Self::keep) where nothing may wait: the line goes as a task of its own.
    fn keep_later(&self, queue: Queue, lines: String) {
        let storage = self.storage.clone();
        tokio::spawn(async move {
            let message = Message::Keep {
                queue,
                lines,
                idle: false,
            };
            let _ = storage.send(message).await;
        });
    }

    async fn tell(&self, message: Message) {
        // The storage task ends only after this sender is gone.
        let _ = self.storage.send(message).await;
    }
}

/// What an operator would notice is said at INFO, what wants doing something about at WARN.
fn log(event: &SessionEvent) {
    match event {
        SessionEvent::Registered { .. }
        | SessionEvent::Kept(_)
        | SessionEvent::ToldToWait { .. }
        | SessionEvent::Change(Change::Table { .. }) => tracing::info!("{event}"),
        SessionEvent::ServerSkipped(_)
        | SessionEvent::WaitingForApproval { .. }
        | SessionEvent::RegistrationsSpent { .. }
        | SessionEvent::Lost { .. }
        | SessionEvent::Misread { .. }
        | SessionEvent::KickedOut => tracing::warn!("{event}"),
        _ => tracing::debug!("{event}"),
    }
}

/// The line to register, plainly and once, where the user will see it.
fn introduce(key: &ProbeKey, made: bool, watcher: Option<&mpsc::Sender<Event>>) {
    let line = key.public_line();
    if made {
        tracing::info!(key = %key.path().display(), "made the probe's key; register this line: {line}");
    } else {
        tracing::info!(key = %key.path().display(), fingerprint = %key.fingerprint(), "the probe's key");
    }
    if let Some(watcher) = watcher {
        let _ = watcher.try_send(Event::Key { line, made });
    }
}

/// The configured registration servers with their keys, or the production servers.
fn servers(configured: &[Server]) -> Result<Vec<RegistrationServer>, AgentError> {
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

/// The session's names go through the same resolver as everything else.
fn resolve_through(net: Net) -> session::ssh::Resolve {
    Arc::new(move |host: String, port: u16| {
        let net = net.clone();
        Box::pin(async move {
            let addresses = net.lookup(&host, Family::Both).await?;
            Ok::<_, ResolveError>(
                addresses
                    .into_iter()
                    .map(|address| (address, port).into())
                    .collect(),
            )
        })
    })
}
