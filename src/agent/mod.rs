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

mod beacon;
mod commands;
mod confine;
mod memory;
mod names;
mod pulse;
mod reload;
mod resolver;
mod runs;
mod scrape;
mod source;
mod standing;
mod start;
mod status;
mod storage;
mod tables;
mod vitals;
mod watched;
mod window;

pub use confine::{CALLS_CAN_BE_FILTERED, Layer, confine};
pub use names::resolve_through;
pub use source::{session_sources, source_problems};
pub use start::servers;
pub use status::{Status, has_route};
pub use storage::Stored;
pub use tables::refusal;
pub use window::{SOCKET, place};

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::sleep_until,
};

use crate::{
    clock::{Clock, Tick, UnixTime},
    config::Config,
    key::{HostKeyError, KeyError},
    measurement::{Kind, Rules, Version, dns::Counts},
    net::Net,
    observe::{log::Troubles, notify::Notify, status::Jobs},
    report,
    schedule::{self, JobId, OneShot, Schedule},
    session::{SessionEvent, interpreter::Change},
    spool,
    upload::Queue,
};
use beacon::Beacons;
use memory::Memory;
use pulse::Pulse;
use resolver::ResolverFile;
use runs::Finished;
use start::{SessionTask, Windows};
use storage::Message;

/// How often the probe looks after itself: addresses, starts (`controller-protocol` section 2.6).
const PASS: Duration = Duration::from_secs(180);
/// How often the service manager hears from us where it set no watchdog, until it heard that we are ready.
const BEAT: Duration = Duration::from_secs(10);
/// How long stopping may take altogether; systemd and container engines are promised five seconds.
const STOPPING: Duration = Duration::from_secs(4);
/// How much of that is the session's.
const HANGING_UP: Duration = Duration::from_millis(500);
/// How much of that copies of results may take.
const COPYING: Duration = Duration::from_secs(1);

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

/// What surrounds the agent: whoever watches it, and the service manager.
#[derive(Debug, Default)]
pub struct Outside {
    /// Is told what happens.
    pub watcher: Option<mpsc::Sender<Event>>,
    /// Is told that the agent works.
    pub notify: Notify,
    /// Brings configurations that are to be put into force while the agent runs.
    pub reload: Option<mpsc::Receiver<Config>>,
    /// What was worth an alert lately, for the status document.
    pub troubles: Troubles,
    /// How the process is confined, for the status document.
    pub confinement: Vec<Layer>,
    /// Where the status socket lies if not in the data directory: `$RUNTIME_DIRECTORY`.
    pub runtime_dir: Option<PathBuf>,
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
    start::servers(&config.registration.servers).map(|_| ())
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
    outside: Outside,
) -> Result<(), AgentError> {
    let mut agent = Agent::start(config, clock, seed, outside)?;
    let mut stop = std::pin::pin!(stop);
    agent.serve(stop.as_mut()).await;
    agent.finish().await;
    Ok(())
}

struct Agent {
    clock: Clock,
    /// What is in force.
    config: Config,
    rules: Rules,
    version: Version,
    net: Net,
    schedule: Schedule,
    /// Runs under way; each ends in what the next one of its job starts from, or in nothing when the agent leaves.
    runs: JoinSet<Option<Finished>>,
    /// Tells runs under way to end.
    leaving: watch::Sender<bool>,
    one_offs_running: Arc<AtomicUsize>,
    /// Repeats that running queries have made, of those jobs that may repeat any.
    repeats: BTreeMap<JobId, Arc<AtomicU32>>,
    memory: Memory,
    tables: BTreeMap<String, Vec<String>>,
    /// One-shots of the measurement table, and which of them ran.
    one_shots: BTreeSet<OneShot>,
    ran: BTreeSet<OneShot>,
    status: Arc<Status>,
    storage: mpsc::Sender<Message>,
    storage_task: tokio::task::JoinHandle<()>,
    session: SessionTask,
    /// What periodic DNS runs counted since the start.
    dns: Counts,
    outside: Outside,
    windows: Windows,
    /// Absent unless wanted.
    beacons: Option<Beacons>,
    pulse: Pulse,
    is_ready: bool,
    /// What was wrong with the configured sources when last looked at.
    source_problems: Vec<String>,
    next_beat: Option<Tick>,
    next_pass: tokio::time::Instant,
    resolver_file: ResolverFile,
    next_look: tokio::time::Instant,
}

impl Agent {
    async fn serve(&mut self, mut stop: std::pin::Pin<&mut impl Future<Output = ()>>) {
        // The upload slots and markers of an earlier life's tables hold until they are sent anew.
        self.tell(Message::Duties(tables::duties(&self.tables)))
            .await;
        loop {
            let due = self.schedule.deadline();
            tokio::select! {
                () = &mut stop => return,
                () = due_at(&self.net, due) => self.decide(schedule::Input::Deadline),
                Some(finished) = self.runs.join_next() => self.finished(finished),
                event = self.session.events.recv() => match event {
                    Some(event) => self.heard(event).await,
                    // The session task never ends by itself.
                    None => return,
                },
                () = sleep_until(self.next_pass) => self.pass().await,
                () = sleep_until(self.next_look) => self.look_at_resolver_file().await,
                () = at(self.clock, self.next_beat) => self.beat(),
                Some(question) = self.windows.questions.recv() => {
                    // Who asked may have gone.
                    let _ = question.send(self.jobs());
                }
                Some(config) = next(&mut self.outside.reload) => self.reload(config).await,
                () = self.pulse.answered(), if !self.is_ready => self.get_ready().await,
            }
        }
    }

    /// Drops running machines unreported, lets the storage flush, and then leaves the session: it is the way for what
    /// the disk does not take.
    async fn finish(self) {
        let Self {
            runs,
            leaving,
            storage,
            storage_task,
            session,
            clock,
            outside,
            mut windows,
            status,
            ..
        } = self;
        tracing::info!("stopping");
        windows.tasks.abort_all();
        // The next agent takes its place anyway.
        let _ = std::fs::remove_file(windows.socket);
        outside.notify.stopping();
        leaving.send_replace(true);
        drop(storage);
        let after = |time| clock.instant(clock.tick() + time).into();
        let flushed_by = after(STOPPING - COPYING - HANGING_UP);
        let (copied_by, until) = (after(STOPPING - HANGING_UP), after(STOPPING));
        let mut ended = tokio::time::timeout_at(flushed_by, storage_task)
            .await
            .is_ok();
        // What was measured is with the storage now, or could not get there in time.
        drop(runs);
        if let Some(tee) = &status.tee {
            ended &= tokio::time::timeout_at(copied_by, tee.close(COPYING))
                .await
                .is_ok();
        }
        let _ = session.stopping.send(true);
        drop(session.events);
        ended &= tokio::time::timeout_at(until, session.task).await.is_ok();
        if !ended {
            tracing::warn!(
                "not everything ended in time: what was written stays, results that the disk did not take are lost"
            );
        }
    }

    async fn heard(&mut self, event: SessionEvent) {
        if let Some(watcher) = &self.outside.watcher {
            // A watcher that lags misses events; it never holds the agent back.
            let _ = watcher.try_send(Event::Session(event.clone()));
        }
        log(&event);
        self.beacon(&event);
        if let Some(words) = self.status.hear(&event) {
            self.outside.notify.status(&words);
        }
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

    /// The service manager is told that we work only if the storage answered since the last time: a main loop or a
    /// disk that stands still is told by silence.
    fn beat(&mut self) {
        self.next_beat = self.outside.notify.is_heard().then(|| {
            let third = self.outside.notify.watchdog().map(|limit| limit / 3);
            self.clock.tick() + third.unwrap_or(BEAT).min(BEAT)
        });
        if self.pulse.beat() {
            self.outside.notify.alive();
        }
        if self.is_ready && self.outside.notify.watchdog().is_none() {
            self.next_beat = None;
        }
    }

    /// Ready is who can do the work: the storage answers, and the data directory takes what must outlive us. Whether a
    /// controller is there is told in words, for that is not ours to bring about.
    async fn get_ready(&mut self) {
        let status = Arc::clone(&self.status);
        let writable = tokio::task::spawn_blocking(move || status.try_data_dir()).await;
        match writable {
            Ok(Ok(())) => {
                self.is_ready = true;
                self.outside.notify.ready();
                tracing::debug!("ready");
            }
            Ok(Err(error)) => self
                .outside
                .notify
                .status(&format!("the data directory cannot be written: {error}")),
            Err(_) => {}
        }
    }

    /// What is on the schedule, by type.
    fn jobs(&self) -> Vec<Jobs> {
        let mut kinds: BTreeMap<&str, Jobs> = BTreeMap::new();
        for job in self.schedule.jobs() {
            let jobs = kinds.entry(job.kind.name()).or_default();
            jobs.scheduled += usize::from(!job.one_off);
            jobs.one_offs += usize::from(job.one_off);
            jobs.running += usize::from(job.running);
            let next = job.next.map(UnixTime::secs);
            jobs.next = jobs.next.into_iter().chain(next).min();
        }
        kinds
            .into_iter()
            .map(|(kind, jobs)| Jobs {
                kind: kind.to_owned(),
                ..jobs
            })
            .collect()
    }

    /// What the probe does every three minutes.
    async fn pass(&mut self) {
        self.next_pass =
            tokio::time::Instant::from_std(self.clock.instant(self.clock.tick() + PASS));
        if report::system::host_uptime() > Duration::from_secs(600) {
            self.memory.forget_starts();
        }
        self.look_at_source();
        let status = Arc::clone(&self.status);
        let addresses = tokio::task::spawn_blocking(move || status.addresses()).await;
        if let Ok(Some(line)) = addresses {
            self.keep(Queue::Periodic, line).await;
        }
        // Cumulative, once anything was sent (`dns-measurement` 8.3).
        if self.dns.sent > 0 {
            let loaded = self.schedule.jobs();
            let queries = loaded.filter(|job| job.kind == Kind::Dns && !job.one_off);
            let line = self
                .dns
                .line(&self.version, self.clock.unix(), queries.count());
            self.keep(Queue::Periodic, line).await;
        }
    }

    /// Says when packets can no longer leave from where they should, and when they can again.
    fn look_at_source(&mut self) {
        let problems = source_problems(&self.config.source);
        for problem in &problems {
            if !self.source_problems.contains(problem) {
                tracing::warn!("{problem}");
            }
        }
        if problems.is_empty() && !self.source_problems.is_empty() {
            tracing::info!("packets can leave from the configured sources again");
        }
        self.source_problems = problems;
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

/// The next configuration; none where nobody sends any.
async fn next(reload: &mut Option<mpsc::Receiver<Config>>) -> Option<Config> {
    reload.as_mut()?.recv().await
}

/// Completes when the schedule has something to do, which runs wait for as well.
async fn due_at(net: &Net, tick: Option<Tick>) {
    match tick {
        Some(tick) => net.sleep_until(tick).await,
        None => std::future::pending().await,
    }
}

/// Completes at this tick; never without one.
async fn at(clock: Clock, tick: Option<Tick>) {
    match tick {
        Some(tick) => sleep_until(clock.instant(tick).into()).await,
        None => std::future::pending().await,
    }
}

/// What an operator would notice is said at INFO, what wants doing something about at WARN.
fn log(event: &SessionEvent) {
    match event {
        SessionEvent::Useless { complaint, .. } if complaint.is_trouble() => {
            tracing::warn!("{event}");
        }
        SessionEvent::Registered { .. }
        | SessionEvent::Kept(_)
        | SessionEvent::Useless { .. }
        | SessionEvent::ToldToWait { .. }
        | SessionEvent::Change(Change::Table { .. }) => tracing::info!("{event}"),
        SessionEvent::ServerSkipped(_)
        | SessionEvent::WaitingForApproval { .. }
        | SessionEvent::RegistrationsSpent { .. }
        | SessionEvent::Lost { .. }
        | SessionEvent::Doubted { .. }
        | SessionEvent::ForwardRefused { .. }
        | SessionEvent::ClockOff { .. }
        | SessionEvent::Misread { .. }
        | SessionEvent::KickedOut => tracing::warn!("{event}"),
        _ => tracing::debug!("{event}"),
    }
}
