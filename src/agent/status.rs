//! What the probe knows of itself, and the report lines made from it (`controller-protocol` section 7).

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use super::{Stored, source::source_problems, standing};
use crate::{
    clock::{Clock, Now, UnixTime, lts},
    config::{Config, Source},
    dialect::Dialect,
    measurement::{Options, Spec, Version},
    net::{Net, resolver::Loaded},
    observe::{
        self,
        metrics::Metrics,
        status::{Health, Host, Report, Results, Session, WallClock},
        tee::Tee,
    },
    report::{
        Repeats,
        lines::{self, Busy, NotRun, Runner, Stamp, Uptime},
        system,
    },
    schedule::Skip,
    session::SessionEvent,
    spool,
};

/// A probe is ready if an upload was accepted within this time, or within so many upload intervals if that is longer.
const READY: (Duration, u32) = (Duration::from_secs(900), 3);

/// Seconds for which a confirmation of the clock may stay in memory only. After a crash `lts` is so much too large until
/// the next upload.
const SYNC_KEPT_EVERY: i64 = 900;

/// What the probe knows of itself; shared by the agent's tasks.
pub struct Status {
    clock: Clock,
    dialect: Dialect,
    version: Version,
    data_dir: PathBuf,
    interface_counters: AtomicBool,
    /// Seconds between uploads of our own.
    upload_interval: AtomicU64,
    public_key: String,
    net: Net,
    /// Where the agent's tasks count.
    pub(super) metrics: Metrics,
    /// Copies of results, if they are wanted.
    pub(super) tee: Option<Tee>,
    source: Source,
    known: Mutex<Known>,
}

#[derive(Clone, Debug, Default)]
struct Known {
    probe_id: Option<u32>,
    last_sync: Option<UnixTime>,
    /// The one that was written down last.
    kept_sync: Option<UnixTime>,
    addresses: Repeats,
    session: Session,
}

impl Status {
    /// What is known at the start: the last confirmation of the clock survives restarts.
    pub(super) fn new(
        config: &Config,
        version: Version,
        public_key: String,
        clock: Clock,
        net: Net,
        tee: Option<Tee>,
    ) -> Self {
        let status = Self {
            clock,
            dialect: config.dialect,
            version,
            data_dir: config.data_dir.clone(),
            interface_counters: AtomicBool::new(config.upload.interface_counters),
            upload_interval: AtomicU64::new(config.upload.interval.as_secs()),
            public_key,
            net,
            metrics: Metrics::new(if config.metrics.enabled {
                config.metrics.measurements
            } else {
                0
            }),
            tee,
            source: config.source.clone(),
            known: Mutex::default(),
        };
        let confirmed = fs::read_to_string(status.sync_file())
            .ok()
            .and_then(|text| text.trim().parse().ok())
            .map(UnixTime::from_secs);
        status.known().last_sync = confirmed;
        status.known().kept_sync = confirmed;
        status.net.set_last_sync(confirmed);
        status
    }

    /// The probe's number, once a registration server told it.
    #[must_use]
    pub fn probe_id(&self) -> Option<u32> {
        self.known().probe_id
    }

    /// When a controller last confirmed the wall clock.
    #[must_use]
    pub fn last_sync(&self) -> Option<UnixTime> {
        self.known().last_sync
    }

    pub(super) fn set_probe_id(&self, probe_id: Option<u32>) {
        self.known().probe_id = probe_id;
    }

    /// Takes an event of the session; how it stands in words, if that changed.
    pub(super) fn hear(&self, event: &SessionEvent) -> Option<String> {
        let now = self.clock.unix();
        if let Some(step) = standing::step(event) {
            self.metrics.step(step);
        }
        let mut known = self.known();
        standing::hear(&mut known.session, event, now).then(|| {
            let Session { words, advice, .. } = &known.session;
            advice
                .as_ref()
                .map_or_else(|| words.clone(), |advice| format!("{words}; {advice}"))
        })
    }

    pub(super) fn set_interface_counters(&self, wanted: bool) {
        self.interface_counters.store(wanted, Ordering::Relaxed);
    }

    pub(super) fn set_upload_interval(&self, interval: Duration) {
        let secs = interval.as_secs();
        self.upload_interval.store(secs, Ordering::Relaxed);
    }

    /// How old the last accepted upload of a ready probe may be.
    pub(super) fn ready_within(&self) -> Duration {
        let secs = self.upload_interval.load(Ordering::Relaxed);
        let (least, intervals) = READY;
        least.max(Duration::from_secs(secs.saturating_mul(intervals.into())))
    }

    /// All that is known here, as a document; what others know stays empty. Tries sockets and lists the spool: may
    /// block.
    pub(super) fn report(&self, stored: &Stored, net: &Net) -> Report {
        let (time, known) = (self.clock.unix(), self.known().clone());
        let queue = |stats: &spool::Stats, folder| observe::status::Queue {
            lines: stats.lines,
            bytes: stats.stored,
            held: stats.held,
            oldest: (stats.lines > 0)
                .then(|| oldest(&self.data_dir.join("spool").join(folder)))
                .flatten(),
            dropped: stats.dropped,
            disk_refuses: stats
                .disk_refuses
                .map(|errno| format!("{errno}; {}", errno.remedy())),
        };
        let may = net.capabilities();
        Report {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            time: time.secs(),
            uptime: self.clock.tick().0.as_secs(),
            data_dir: self.data_dir.display().to_string(),
            public_key: self.public_key.clone(),
            probe_id: known.probe_id,
            session: known.session,
            health: Health::default(),
            jobs: None,
            results: Results {
                periodic: queue(&stored.periodic, "results"),
                one_offs: queue(&stored.one_offs, "one-offs"),
                last_accepted: stored.last_accepted.map(UnixTime::secs),
            },
            tee: self.tee.as_ref().map(Tee::report),
            clock: WallClock {
                confirmed: known.last_sync.map(UnixTime::secs),
                lts: lts(time, known.last_sync),
            },
            host: Host {
                ipv4: has_route(
                    Ipv4Addr::UNSPECIFIED.into(),
                    Ipv4Addr::new(192, 0, 2, 1).into(),
                ),
                ipv6: has_route(
                    Ipv6Addr::UNSPECIFIED.into(),
                    Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(),
                ),
                raw_sockets: may.raw,
                datagram_icmp: may.datagram_icmp,
                ipv4_source: self.source.ipv4.clone(),
                ipv6_source: self.source.ipv6.clone(),
                source_problems: source_problems(&self.source),
                confinement: Vec::new(),
            },
            troubles: Vec::new(),
        }
    }

    /// Whether the data directory takes files. Touches the disk: may block.
    pub(super) fn try_data_dir(&self) -> std::io::Result<()> {
        let file = self.data_dir.join(".writable");
        fs::write(&file, b"")?;
        fs::remove_file(&file)
    }

    /// A controller confirmed the wall clock; `lts` counts from here, across restarts too.
    pub(super) fn set_last_sync(&self, at: UnixTime) {
        self.net.set_last_sync(Some(at));
        let mut known = self.known();
        known.last_sync = Some(at);
        // Each post confirms the clock; writing that down each time would cost more flash than the results do.
        let is_due = known
            .kept_sync
            .is_none_or(|kept| (at.secs() - kept.secs()).abs() >= SYNC_KEPT_EVERY);
        if is_due {
            known.kept_sync = Some(at);
            drop(known);
            self.keep_last_sync();
        }
    }

    /// Writes down when the clock was last confirmed: the next life begins with that.
    pub(super) fn keep_last_sync(&self) {
        let Some(at) = self.last_sync() else { return };
        if let Err(error) = fs::write(self.sync_file(), format!("{at}\n")) {
            tracing::debug!(%error, "the time of the last synchronisation is not kept");
        }
    }

    /// The status results in front of a batch. Reads the system: may block for a moment.
    pub(super) fn lines(&self, now: &Now) -> String {
        let version = self.version.to_string();
        let stamp = self.stamp(&version, now.unix());
        let uptime = Uptime {
            host: system::host_uptime(),
            process: self.clock.tick().0,
        };
        let mut text = lines::disk(&stamp, system::disk(self.dialect, &self.data_dir));
        text += &lines::uptime(&stamp, uptime);
        if self.interface_counters.load(Ordering::Relaxed) {
            text += &lines::interfaces(&stamp, &system::interfaces());
        }
        text + &lines::ongoing(&stamp)
    }

    /// A marker line such as 9011.
    pub(super) fn marker(&self, id: u16, text: &str) -> String {
        lines::marker(id, self.clock.unix(), &system::mac(), text)
    }

    /// The line for a command that is not run.
    pub(super) fn not_run(&self, runner: Runner, why: NotRun<'_>, command: &str) -> String {
        let version = self.version.to_string();
        lines::not_run(
            &self.stamp(&version, self.clock.unix()),
            runner,
            why,
            command,
        )
    }

    /// The line for the resolver's file having been read again.
    pub(super) fn resolver_loaded(&self, runner: Runner, loaded: Loaded) -> String {
        let version = self.version.to_string();
        let stamp = self.stamp(&version, self.clock.unix());
        lines::resolver_loaded(&stamp, runner, loaded.number())
    }

    /// The line for a run that is skipped, where there is one: only `evtdig` reports that it is busy.
    /// `repeats` are those that the run under way has made.
    pub(super) fn skipped(&self, spec: &Spec, why: Skip, repeats: u32) -> Option<String> {
        let (Skip::Busy { since }, Options::Dns(options)) = (why, &spec.options) else {
            return None;
        };
        let version = self.version.to_string();
        let busy = Busy {
            id: spec.common.id.as_deref(),
            bundle: spec.common.bundle.as_deref(),
            started: since,
            repeats,
            most_repeats: options.retry,
        };
        Some(lines::busy(&self.stamp(&version, self.clock.unix()), busy))
    }

    /// The host's addresses, if they changed or were not told for an hour. Reads the system: may block.
    pub(super) fn addresses(&self) -> Option<String> {
        let (text, now) = (
            lines::addresses_text(&system::addresses()),
            self.clock.unix(),
        );
        let is_due = self.known().addresses.is_due(now, &text);
        is_due.then(|| lines::addresses(now, &text))
    }

    fn stamp<'a>(&self, version: &'a str, time: UnixTime) -> Stamp<'a> {
        Stamp {
            version,
            time,
            lts: lts(time, self.last_sync()),
            dialect: self.dialect,
        }
    }

    fn sync_file(&self) -> PathBuf {
        self.data_dir.join("timesync")
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When the oldest file of a spool's folder was written to, Unix seconds.
fn oldest(folder: &Path) -> Option<i64> {
    let files = fs::read_dir(folder).ok()?.flatten();
    files
        .filter(|file| {
            let name = file.file_name();
            let name = name.to_string_lossy();
            [".open", ".lines", ".lines.z"]
                .iter()
                .any(|end| name.ends_with(end))
        })
        .filter_map(|file| file.metadata().ok())
        .filter(|file| file.len() > 0)
        .map(|file| file.mtime())
        .min()
}

/// Whether the host would know where to send a packet: nothing is sent.
#[must_use]
pub fn has_route(from: IpAddr, to: IpAddr) -> bool {
    UdpSocket::bind((from, 0)).is_ok_and(|socket| socket.connect((to, 9)).is_ok())
}
