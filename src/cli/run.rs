//! `starling run`: the agent alone.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use clap::Args;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};

use super::{Exit, Failure, LogArgs, Outcome, ProbeArgs, interrupted, print, seed, serve};
use crate::{
    agent,
    clock::Clock,
    config::{Config, TeeTo, parse_duration},
    dialect::Dialect,
    observe::{log::Log, notify::Notify},
};

#[derive(Args, Clone, Debug)]
pub(super) struct RunArgs {
    /// The configuration file; without it, the defaults.
    #[arg(long, env = "STARLING_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Read the configuration, say whether it can be used, and stop.
    #[arg(long)]
    check: bool,
    /// Print the configuration in force, made of defaults, file, environment and flags, and stop.
    #[arg(long)]
    print_config: bool,
    #[command(flatten)]
    probe: ProbeArgs,
    /// The form of results and options.
    #[arg(long, env = "STARLING_DIALECT", value_name = "DIALECT")]
    dialect: Option<Dialect>,
    /// Time between uploads until the controller names its own.
    #[arg(long, env = "STARLING_UPLOAD_INTERVAL", value_parser = parse_duration, value_name = "DURATION")]
    upload_interval: Option<Duration>,
    /// Measure private and loopback addresses too.
    #[arg(long, env = "STARLING_ALLOW_ANY_ADDRESS")]
    allow_any_address: bool,
    /// Serve metrics and health here, over HTTP: `127.0.0.1:9469`.
    #[arg(long, env = "STARLING_METRICS_LISTEN", value_name = "ADDRESS:PORT")]
    metrics_listen: Option<SocketAddr>,
    /// Copy results to this file, one JSON object a line, rotated; `-` for standard output.
    #[arg(long, env = "STARLING_TEE", value_name = "FILE")]
    tee: Option<PathBuf>,
    #[command(flatten)]
    log: LogArgs,
}

pub(super) fn main(args: &RunArgs) -> Outcome {
    let config = configuration(args)?;
    agent::check(&config).map_err(|error| Failure::new(Exit::Config, error))?;
    if args.print_config {
        return print_config(&config);
    }
    if args.check {
        print::talk("the configuration can be used");
        return Ok(Exit::Done);
    }
    let log = args.log.start(config.log.level, config.log.format);
    // Before there is a second thread: what is given up is given up by all that follow.
    let confinement = confine(args, &config);
    let clock = Clock::start();
    serve(async {
        let stop = interrupted().context("cannot listen for signals")?;
        let bounding = tokio::spawn(log.clone().bound());
        let (configs, reload) = mpsc::channel(1);
        let rereading = tokio::spawn(reread(args.clone(), log.clone(), hangups()?, configs));
        let outside = agent::Outside {
            notify: Notify::from_environment(),
            reload: Some(reload),
            troubles: log.troubles(),
            confinement,
            runtime_dir: runtime_dir(),
            watcher: None,
        };
        let ended = agent::run(&config, clock, seed(), stop, outside)
            .await
            .map_err(|error| Failure::new(Exit::OsError, error));
        rereading.abort();
        bounding.abort();
        ended
    })?;
    Ok(Exit::Done)
}

/// What is in force, as a file would say it.
pub(super) fn print_config(config: &impl serde::Serialize) -> Outcome {
    let text = toml::to_string(config).map_err(|error| Failure::new(Exit::Software, error))?;
    print::text(&text)?;
    Ok(Exit::Done)
}

/// Gives up what the agent does not need, and says so; each layer in words.
fn confine(args: &RunArgs, config: &Config) -> Vec<agent::Layer> {
    // Editors put a new file in place of the old one: the directory is what can be read again.
    let readable: Vec<PathBuf> = args.config.iter().map(|file| folder(file)).collect();
    let key = config.key_file();
    let made = (!key.exists()).then(|| folder(&key));
    let copies = (config.tee.to == TeeTo::File).then(|| folder(&config.tee_file()));
    if let Some(copies) = &copies
        && !copies.starts_with(&config.data_dir)
    {
        // A rule needs its directory; why it cannot be made is said when a result is copied.
        let _ = fs::create_dir_all(copies);
    }
    let writable: Vec<PathBuf> = runtime_dir()
        .into_iter()
        .chain(made)
        .chain(copies)
        .collect();
    let layers = agent::confine(config, &readable, &writable);
    for layer in layers.iter().filter(|layer| !layer.holds) {
        tracing::warn!("not confined as wanted: {}", layer.words);
    }
    let words: Vec<&str> = layers.iter().map(|layer| layer.words.as_str()).collect();
    tracing::info!("confined: {}", words.join("; "));
    layers
}

/// The directory of a file.
fn folder(file: &Path) -> PathBuf {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// The first directory that the service manager made for us to run in.
fn runtime_dir() -> Option<PathBuf> {
    let folders = std::env::var_os("RUNTIME_DIRECTORY")?;
    let first = std::env::split_paths(&folders).next()?;
    (!first.as_os_str().is_empty()).then_some(first)
}

fn hangups() -> Result<tokio::signal::unix::Signal, Failure> {
    Ok(signal(SignalKind::hangup()).context("cannot listen for signals")?)
}

/// Reads the configuration again at each SIGHUP. One that cannot be used changes nothing.
async fn reread(
    args: RunArgs,
    log: Log,
    mut hangups: tokio::signal::unix::Signal,
    configs: mpsc::Sender<Config>,
) {
    while hangups.recv().await.is_some() {
        let read = configuration(&args).and_then(|config| {
            agent::check(&config).map_err(|error| Failure::new(Exit::Config, error))?;
            Ok(config)
        });
        match read {
            Ok(config) => {
                log.set_level(config.log.level);
                // Gone only when the agent stops.
                let _ = configs.send(config).await;
            }
            Err(failure) => tracing::warn!(
                error = format!("{:#}", failure.error),
                "the configuration cannot be used: the one before stays in force"
            ),
        }
    }
}

/// Flag over environment over file over default.
fn configuration(args: &RunArgs) -> Result<Config, Failure> {
    let read = args.probe.over(args.config.as_deref());
    let mut config = read.map_err(|error| Failure::new(Exit::Config, error))?;
    if let Some(dialect) = args.dialect {
        config.dialect = dialect;
    }
    if let Some(interval) = args.upload_interval {
        config.upload.interval = interval;
    }
    if let Some(listen) = args.metrics_listen {
        config.metrics.enabled = true;
        config.metrics.listen = listen;
    }
    if let Some(to) = &args.tee {
        if to.as_os_str() == "-" {
            config.tee.to = TeeTo::Stdout;
        } else {
            config.tee.to = TeeTo::File;
            config.tee.file = Some(to.clone());
        }
    }
    if let Some(level) = args.log.log_level {
        config.log.level = level;
    }
    if let Some(format) = args.log.log_format {
        config.log.format = format;
    }
    // Either may lift the policy; neither may be undone by the other's silence.
    config.measurement.allow_any_address |=
        args.allow_any_address || super::policy_lifted_by_environment();
    Ok(config)
}
