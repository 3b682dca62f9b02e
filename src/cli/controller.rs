//! `starling controller`: registration server and controller of a private network.

use anyhow::Context as _;
use tokio::sync::{mpsc, watch};

use super::{ControllerArgs, Exit, Failure, Outcome, interrupted, print, serve, wide_seed};
use crate::{
    clock::Clock,
    config::{self, LogFormat, LogLevel},
    controller::{self, Config, Event, config::Approval},
};

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
    if args.check {
        print::talk("the configuration can be used");
        return Ok(Exit::Done);
    }
    let bounded = args.log.start(LogLevel::Info, LogFormat::Text);
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
        } => tracing::info!(%probe, lines = lines.len(), ?outcome, "commands handed out"),
        Event::Posted(posted) => tracing::info!(
            probe = %posted.probe,
            source = ?posted.source,
            status = posted.status,
            accepted = posted.accepted.len(),
            duplicates = posted.duplicates,
            rejected = posted.rejected.len() + posted.unshown,
            missing = ?posted.missing,
            refused = posted.refused.as_deref(),
            "post answered"
        ),
        Event::Left { probe } => tracing::info!(%probe, "session over"),
    }
}
