//! `starling controller`: registration server and controller of a private network.

use std::{net::SocketAddr, path::PathBuf};

use anyhow::Context as _;
use clap::Args;
use tokio::sync::{mpsc, watch};

use super::{Exit, Failure, LogArgs, Outcome, interrupted, print, serve, wide_seed};
use crate::{
    agent::refusal,
    clock::Clock,
    config::{self, LogFormat, LogLevel},
    controller::{
        self, Config, Event,
        config::{Approval, Measurement},
    },
    dialect::Dialect,
};

#[derive(Args, Debug)]
pub(super) struct ControllerArgs {
    /// The configuration file.
    #[arg(long, env = "STARLING_CONTROLLER_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Read the configuration, say whether it can be used, and stop.
    #[arg(long)]
    check: bool,
    /// Print the configuration in force, made of defaults, file, environment and flags, and stop.
    #[arg(long)]
    print_config: bool,
    /// Where keys, the register of probes and accepted results are kept.
    #[arg(long, env = "STARLING_CONTROLLER_DATA_DIR", value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Address and port of the registration server.
    #[arg(
        long,
        env = "STARLING_REGISTRATION_LISTEN",
        value_name = "ADDRESS:PORT"
    )]
    registration_listen: Option<SocketAddr>,
    /// Address and port of the controller.
    #[arg(long, env = "STARLING_CONTROLLER_LISTEN", value_name = "ADDRESS:PORT")]
    controller_listen: Option<SocketAddr>,
    /// The controller's host as probes are told to connect to it, where that differs from the address listened on.
    #[arg(long, env = "STARLING_CONTROLLER_HOST", value_name = "HOST")]
    advertise_host: Option<String>,
    /// Let every probe that asks take part.
    #[arg(long, env = "STARLING_APPROVE_ALL")]
    approve_all: bool,
    /// Append each RESULT line that was accepted to this file.
    #[arg(long, env = "STARLING_CONTROLLER_ACCEPTED", value_name = "FILE")]
    accepted: Option<PathBuf>,
    #[command(flatten)]
    log: LogArgs,
}

/// Events that may wait for the log; what comes while it is full is not logged.
const EVENTS: usize = 256;

pub(super) fn main(args: &ControllerArgs) -> Outcome {
    let config = configuration(args)?;
    config
        .check()
        .map_err(|error| Failure::new(Exit::Config, error))?;
    if args.print_config {
        return super::run::print_config(&config);
    }
    let unread = config.measurements.iter().filter_map(unread);
    if args.check {
        for warning in unread {
            print::talk(&format!("warning: {warning}"));
        }
        print::talk("the configuration can be used");
        return Ok(Exit::Done);
    }
    let bounded = args.log.start(LogLevel::Info, LogFormat::Text);
    for warning in unread {
        tracing::warn!("{warning}");
    }
    let clock = Clock::start();
    serve(async {
        let stop = interrupted().context("cannot listen for signals")?;
        tokio::spawn(bounded.bound());
        let (events, mut log) = mpsc::channel(EVENTS);
        let (stopping, shutdown) = watch::channel(false);
        let running = controller::serve(config, clock, wide_seed(), events, shutdown)
            .await
            .map_err(|error| Failure::new(Exit::OsError, error))?;
        print::talk(&format!(
            "registration server on {}, host key:\n{}\ncontroller on {}",
            running.registration_addr, running.registration_host_key_line, running.controller_addr
        ));
        let mut stop = std::pin::pin!(stop);
        loop {
            tokio::select! {
                () = &mut stop => break,
                event = log.recv() => match event {
                    Some(event) => say(&event),
                    None => break,
                },
            }
        }
        let _ = stopping.send(true);
        running.finished().await;
        Ok(Exit::Done)
    })
}

/// What probes like this one will not run. No reason to stop: other probes may know more.
fn unread(measurement: &Measurement) -> Option<String> {
    let refusal = |dialect| refusal(&measurement.command, dialect);
    let why = refusal(Dialect::Reference)?;
    refusal(Dialect::Starla)?;
    Some(format!(
        "starling would not run `{}`: {why}",
        measurement.command
    ))
}

/// Flag over environment over file over default.
fn configuration(args: &ControllerArgs) -> Result<Config, Failure> {
    let mut config = match &args.config {
        Some(path) => config::load(path).map_err(|error| Failure::new(Exit::Config, error))?,
        None => Config::default(),
    };
    if let Some(folder) = &args.data_dir {
        config.data_dir.clone_from(folder);
    }
    if let Some(address) = args.registration_listen {
        config.registration.listen = address;
    }
    if let Some(address) = args.controller_listen {
        config.controller.listen = address;
    }
    if let Some(host) = &args.advertise_host {
        config.controller.advertise_host = Some(host.clone());
    }
    if args.approve_all {
        config.approval = Approval::Automatic;
    }
    if let Some(file) = &args.accepted {
        config.accepted = Some(file.clone());
    }
    Ok(config)
}

/// One event as a log line.
fn say(event: &Event) {
    match event {
        Event::Refused { fingerprint } => tracing::warn!(
            key = %fingerprint,
            "a key that is on no list was refused; list it under [[probe]] to let it in"
        ),
        Event::Registered {
            probe,
            fingerprint,
            block,
            assigned,
            ..
        } => match block {
            Ok(block) => tracing::info!(
                %probe, key = %fingerprint, reason = %block.reason, assigned, "probe registered"
            ),
            Err(error) => tracing::warn!(
                %probe, key = %fingerprint, %error, assigned, "a registration cannot be read"
            ),
        },
        Event::SessionOpened { probe, answer, .. } => {
            tracing::info!(%probe, %answer, "session asked for");
        }
        Event::Kept { probe, port } => tracing::info!(%probe, port, "session stands"),
        Event::Commanded {
            probe,
            lines,
            outcome,
        } => tracing::info!(%probe, lines = lines.len(), %outcome, "commands handed out"),
        Event::Posted(posted) => tracing::info!(
            probe = %posted.probe,
            source = %posted.source,
            status = posted.status,
            accepted = posted.accepted.len(),
            duplicates = posted.duplicates,
            rejected = posted.rejected.len() + posted.unshown,
            missing = (!posted.missing.is_empty()).then(|| posted.missing.join(" ")),
            refused = posted.refused.as_deref(),
            "post answered"
        ),
        Event::Left { probe } => tracing::info!(%probe, "session over"),
    }
}
