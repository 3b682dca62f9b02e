//! `starling lab`: the whole system on this machine's loopback, speaking the real protocols over real sockets.

mod namespace;
mod table;
mod targets;
mod verdict;

use std::{
    io,
    net::{Ipv6Addr, SocketAddr, UdpSocket},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use clap::Args;
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::{JoinError, JoinHandle},
    time::{Instant, interval_at, sleep},
};

use super::{Exit, Failure, LogArgs, Outcome, interrupted, print, seed, serve, wide_seed};
use crate::{
    agent::{self, AgentError},
    clock::Clock,
    config::{Config, LogFormat, LogLevel, Server, parse_duration},
    controller::{self, config::Measurement},
    dialect::Dialect,
    measurement::Kind,
};
use targets::Targets;
use verdict::Verdict;

#[derive(Args, Debug)]
pub(super) struct LabArgs {
    /// Stop by itself after this long; exit 0 only if results of every scheduled measurement were accepted.
    #[arg(long, value_parser = parse_duration, value_name = "DURATION")]
    run_for: Option<Duration>,
    /// Append each RESULT line that the controller accepted to this file.
    #[arg(long, value_name = "FILE")]
    accepted: Option<PathBuf>,
    /// Time between uploads.
    #[arg(long, value_parser = parse_duration, value_name = "DURATION", default_value = "5s")]
    upload_interval: Duration,
    /// Keep keys and state here; without it, in a temporary directory.
    #[arg(long, env = "STARLING_DATA_DIR", value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// The form of results and options.
    #[arg(
        long,
        env = "STARLING_DIALECT",
        default_value_t,
        value_name = "DIALECT"
    )]
    dialect: Dialect,
    #[command(flatten)]
    log: LogArgs,
}

/// Events that may wait to be printed.
const EVENTS: usize = 256;
/// How often the table is printed.
const TABLE_EVERY: Duration = Duration::from_secs(10);
/// How long the two sides may take to stop.
const STOPPING: Duration = Duration::from_secs(5);

pub(super) fn main(args: &LabArgs) -> Outcome {
    args.log.start(LogLevel::Error, LogFormat::Text);
    // Before any thread is started: only a single thread may enter a user namespace.
    gain_raw_sockets()?;
    let (data_dir, _temporary) = match &args.data_dir {
        Some(folder) => (folder.clone(), None),
        None => {
            let folder = temporary_folder()
                .context("cannot make a temporary directory; name one with --data-dir")?;
            (folder.0.clone(), Some(folder))
        }
    };
    let clock = Clock::start();
    serve(run(args, data_dir, clock))
}

/// Raw sockets, from the privileges that we have or in a network of our own.
fn gain_raw_sockets() -> Result<(), Failure> {
    if namespace::may_open_raw_sockets() {
        return Ok(());
    }
    match namespace::enter() {
        Ok(()) => {
            print::talk(
                "lab: no CAP_NET_RAW here, so the lab runs in a user and network namespace of its own",
            );
            Ok(())
        }
        Err(error) => Err(Failure::new(
            Exit::NoPermission,
            anyhow::anyhow!(
                "ping needs raw sockets, and neither CAP_NET_RAW nor a user namespace can be had here ({error}). \
                 Run as root, or grant the capability: `sudo setcap cap_net_raw+ep {}`, or allow user namespaces: \
                 `sudo sysctl kernel.unprivileged_userns_clone=1`",
                std::env::current_exe()
                    .map_or_else(|_| "starling".to_owned(), |path| path.display().to_string()),
            ),
        )),
    }
}

async fn run(args: &LabArgs, data_dir: PathBuf, clock: Clock) -> Outcome {
    let stop = interrupted().context("cannot listen for signals")?;
    let targets = Targets::start(clock)
        .await
        .context("the lab's targets cannot start")?;
    let measurements = measurements(args.dialect, &targets);
    let mut verdict = Verdict::new(args.dialect);
    for measurement in &measurements {
        verdict.schedule(&measurement.command);
    }

    let (events, mut controller_events) = mpsc::channel(EVENTS);
    let (stopping, shutdown) = watch::channel(false);
    let network = network(args, &data_dir, measurements);
    let running = controller::serve(network, clock, wide_seed(), events, shutdown)
        .await
        .context("the lab's controller cannot start")?;
    print::talk(&format!(
        "lab: registration server on {}, controller on {}, everything kept in {}",
        running.registration_addr,
        running.controller_addr,
        data_dir.display()
    ));
    let mut probe = Probe::start(
        probe_config(
            args,
            &data_dir,
            running.registration_addr,
            &running.registration_host_key_line,
        ),
        clock,
    );
    let ended = show_until(
        enough(stop, args.run_for),
        clock,
        &mut controller_events,
        &mut probe,
        &mut verdict,
    )
    .await?;

    print::talk("lab: stopping");
    let _ = probe.stop.send(());
    let ended = match ended {
        Some(ended) => Some(ended),
        None => tokio::time::timeout(STOPPING, probe.task).await.ok(),
    };
    let _ = stopping.send(true);
    let _ = tokio::time::timeout(STOPPING, running.finished()).await;
    while let Ok(event) = controller_events.try_recv() {
        show(verdict.controller(&event))?;
    }
    print::line(&format!("\n{}", verdict.table()))?;
    if let Some(Ok(Err(error))) = ended {
        return Err(Failure::new(Exit::OsError, error));
    }
    conclude(args, &verdict)
}

/// Completes when it is asked to stop, or after so long.
async fn enough(stop: impl Future<Output = ()>, run_for: Option<Duration>) {
    match run_for {
        Some(time) => tokio::select! {
            () = stop => {}
            () = sleep(time) => {}
        },
        None => stop.await,
    }
}

/// The private network of the lab.
fn network(args: &LabArgs, data_dir: &Path, measurements: Vec<Measurement>) -> controller::Config {
    controller::Config {
        measurements,
        accepted: args.accepted.clone(),
        upload: controller::config::Upload {
            interval: args.upload_interval.as_secs().max(1),
            ..controller::config::Upload::default()
        },
        ..controller::Config::loopback(data_dir.join("controller"))
    }
}

/// How the agent ended.
type Ended = Result<Result<(), AgentError>, JoinError>;

/// The lab's one probe while it runs, and what it tells.
struct Probe {
    task: JoinHandle<Result<(), AgentError>>,
    stop: oneshot::Sender<()>,
    events: mpsc::Receiver<agent::Event>,
}

impl Probe {
    fn start(config: Config, clock: Clock) -> Self {
        let (watcher, events) = mpsc::channel(EVENTS);
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            let stop = async {
                let _ = stopped.await;
            };
            let outside = agent::Outside {
                watcher: Some(watcher),
                ..agent::Outside::default()
            };
            agent::run(&config, clock, seed(), stop, outside).await
        });
        Self { task, stop, events }
    }
}

/// Prints what both sides tell, and a table now and then, until it is `enough`. How the agent ended, if it did so by
/// itself.
async fn show_until(
    enough: impl Future<Output = ()>,
    clock: Clock,
    controller_events: &mut mpsc::Receiver<controller::Event>,
    probe: &mut Probe,
    verdict: &mut Verdict,
) -> Result<Option<Ended>, Failure> {
    let first = Instant::from_std(clock.instant(clock.tick() + TABLE_EVERY));
    let mut table = interval_at(first, TABLE_EVERY);
    let mut enough = std::pin::pin!(enough);
    loop {
        tokio::select! {
            () = &mut enough => return Ok(None),
            ended = &mut probe.task => return Ok(Some(ended)),
            Some(event) = controller_events.recv() => show(verdict.controller(&event))?,
            Some(event) = probe.events.recv() => show(verdict.agent(&event))?,
            _ = table.tick() => print::line(&format!("\n{}", verdict.table()))?,
        }
    }
}

/// A line, if there is one to print.
fn show(line: Option<String>) -> io::Result<()> {
    line.map_or(Ok(()), |line| print::line(&line))
}

/// Whether a run that ends by itself showed what it should.
fn conclude(args: &LabArgs, verdict: &Verdict) -> Outcome {
    let missing = verdict.missing();
    if missing.is_empty() {
        print::line(&verdict.success())?;
        return Ok(Exit::Done);
    }
    for line in &missing {
        print::talk(&format!("lab: {line}"));
    }
    // A person who stopped it early has seen what there was.
    Ok(if args.run_for.is_some() {
        Exit::NoAnswer
    } else {
        Exit::Done
    })
}

/// What the lab measures: its own loopback, in both families where there are two, with every type.
fn measurements(dialect: Dialect, targets: &Targets) -> Vec<Measurement> {
    // The distance between two requests is the one option below that the dialects name differently.
    let interval = match dialect {
        Dialect::Reference => "-i 500",
        Dialect::Starla => "-I 500",
    };
    let mut commands = vec![
        format!("evping -4 -c 3 {interval} -A 1001 127.0.0.1"),
        format!("evping -4 -c 3 {interval} -s 1000 -A 1002 127.0.0.2"),
        "evtraceroute -4 -I -A 5001 127.0.0.1".to_owned(),
        "evtraceroute -4 -U -A 5002 127.0.0.1".to_owned(),
        format!(
            "evtdig -4 --port {} --type 1 --class 1 --query www.example.com. -A 10001 {}",
            targets.dns.port(),
            targets.dns.ip()
        ),
        format!("evhttpget -4 -A 12001 http://{}/", targets.http),
        format!(
            "evsslgetcert -4 -p {} -A 14001 {}",
            targets.tls.port(),
            targets.tls.ip()
        ),
    ];
    match targets.ntp {
        Some(ntp) => commands.push(format!("evntp -4 -A 9101 {ntp}")),
        None => print::talk("lab: port 123 cannot be had here, so NTP is left out"),
    }
    if has_ipv6() {
        commands.push(format!("evping -6 -c 3 {interval} -A 2001 ::1"));
        commands.push("evtraceroute -6 -U -A 6001 ::1".to_owned());
    } else {
        print::talk("lab: this machine has no IPv6 loopback, so IPv6 is left out");
    }
    commands
        .into_iter()
        .map(|command| Measurement {
            command,
            interval: 5,
            start: 0,
            end: None,
            spread: 1,
            probes: None,
        })
        .collect()
}

fn has_ipv6() -> bool {
    UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_ok()
}

/// What the lab's one probe is told.
fn probe_config(
    args: &LabArgs,
    data_dir: &Path,
    registration: SocketAddr,
    host_key: &str,
) -> Config {
    let mut config = Config {
        dialect: args.dialect,
        data_dir: data_dir.join("probe"),
        ..Config::default()
    };
    config.registration.servers = vec![Server {
        host: registration.ip().to_string(),
        port: registration.port(),
        host_key: Some(host_key.to_owned()),
    }];
    config.measurement.allow_any_address = true;
    config.upload.interval = args.upload_interval;
    config
}

/// A directory of our own that goes when the lab ends.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn temporary_folder() -> std::io::Result<Temporary> {
    use std::os::unix::fs::DirBuilderExt as _;
    // The name is drawn and the directory must be new, so nobody can have put something in our way.
    let path = std::env::temp_dir().join(format!("starling-lab-{:016x}", seed()));
    std::fs::DirBuilder::new().mode(0o700).create(&path)?;
    Ok(Temporary(path))
}

/// The type and target of a command, for the table.
pub(super) fn kind_and_target(command: &str) -> Option<(Kind, &str)> {
    let kind = Kind::from_verb(command.split_whitespace().next()?)?;
    Some((kind, command.split_whitespace().next_back()?))
}
