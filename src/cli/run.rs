//! `starling run`: the agent alone.

use std::path::PathBuf;

use anyhow::Context as _;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};

use super::{Exit, Failure, Outcome, RunArgs, interrupted, print, runtime, seed};
use crate::{
    agent,
    clock::Clock,
    config::Config,
    observe::{log::Log, notify::Notify},
};

pub(super) fn main(args: &RunArgs) -> Outcome {
    let config = configuration(args)?;
    agent::check(&config).map_err(|error| Failure::new(Exit::Config, error))?;
    if args.check {
        print::talk("the configuration can be used");
        return Ok(Exit::Done);
    }
    let log = args.log.start(config.log.level, config.log.format);
    let clock = Clock::start();
    runtime()?.block_on(async {
        let stop = interrupted().context("cannot listen for signals")?;
        let (configs, reload) = mpsc::channel(1);
        let rereading = tokio::spawn(reread(args.clone(), log.clone(), hangups()?, configs));
        let outside = agent::Outside {
            notify: Notify::from_environment(),
            reload: Some(reload),
            troubles: log.troubles(),
            runtime_dir: runtime_dir(),
            ..agent::Outside::default()
        };
        let ended = agent::run(&config, clock, seed(), stop, outside)
            .await
            .map_err(|error| Failure::new(Exit::OsError, error));
        rereading.abort();
        ended
    })?;
    Ok(Exit::Done)
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
                log.set_level(args.log.log_level.unwrap_or(config.log.level));
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
    let mut config = match &args.config {
        Some(path) => Config::load(path).map_err(|error| Failure::new(Exit::Config, error))?,
        None => Config::default(),
    };
    if let Some(folder) = &args.data_dir {
        config.data_dir.clone_from(folder);
    }
    if let Some(file) = &args.key_file {
        config.key_file = Some(file.clone());
    }
    if !args.registration_servers.is_empty() {
        config
            .registration
            .servers
            .clone_from(&args.registration_servers);
    }
    if let Some(dialect) = args.dialect {
        config.dialect = dialect;
    }
    if let Some(interval) = args.upload_interval {
        config.upload.interval = interval;
    }
    // Either may lift the policy; neither may be undone by the other's silence.
    config.measurement.allow_any_address |=
        args.allow_any_address || super::policy_lifted_by_environment();
    Ok(config)
}
