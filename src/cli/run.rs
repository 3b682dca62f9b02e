//! `starling run`: the agent alone.

use anyhow::Context as _;

use super::{Exit, Failure, Outcome, RunArgs, interrupted, print, runtime, seed};
use crate::{agent, clock::Clock, config::Config, observe::notify::Notify};

pub(super) fn main(args: &RunArgs) -> Outcome {
    let config = configuration(args)?;
    agent::check(&config).map_err(|error| Failure::new(Exit::Config, error))?;
    if args.check {
        print::talk("the configuration can be used");
        return Ok(Exit::Done);
    }
    args.log.start(config.log.level, config.log.format);
    let clock = Clock::start();
    runtime()?.block_on(async {
        let stop = interrupted().context("cannot listen for signals")?;
        let outside = agent::Outside {
            notify: Notify::from_environment(),
            ..agent::Outside::default()
        };
        agent::run(&config, clock, seed(), stop, outside)
            .await
            .map_err(|error| Failure::new(Exit::OsError, error))
    })?;
    Ok(Exit::Done)
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
