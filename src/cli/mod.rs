//! The command line: one file a subcommand, with its flags, declared once, and what it makes of them.
//!
//! Data goes to standard output, talk to standard error. Errors are printed once, as a chain. Exit codes
//! mean something: see [`Exit`].

mod check;
mod controller;
mod key;
mod lab;
mod manual;
mod measure;
mod migrate;
mod print;
mod run;
mod status;

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum, error::ErrorKind};

use crate::{
    config::{Config, ConfigError, LogFormat, LogLevel, Server},
    observe,
};

/// How the program ends: 0 and 1 are answers, the others are those of `sysexits.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// Measured, without an answer; or a lab run in which something was not accepted.
    NoAnswer = 1,
    /// The command line cannot be used.
    Usage = 64,
    /// Nobody is there who could answer.
    Unavailable = 69,
    /// A bug of ours.
    Software = 70,
    /// The system lacks something or refuses it.
    OsError = 71,
    /// A privilege is missing.
    NoPermission = 77,
    /// The configuration cannot be used.
    Config = 78,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// A failure with the exit code that it deserves.
#[derive(Debug)]
struct Failure {
    exit: Exit,
    error: anyhow::Error,
}

impl Failure {
    fn new(exit: Exit, error: impl Into<anyhow::Error>) -> Self {
        Self {
            exit,
            error: error.into(),
        }
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::new(Exit::OsError, error)
    }
}

type Outcome = Result<Exit, Failure>;

/// An independent RIPE Atlas-compatible measurement probe, and the private controller to run a network of them.
#[derive(Debug, Parser)]
#[command(
    name = "starling",
    version,
    arg_required_else_help = true,
    max_term_width = 100
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Try everything at once on this machine: registration server, controller, targets and one probe on loopback.
    Lab(lab::LabArgs),
    /// Run a probe: register, keep the session, measure, upload.
    Run(run::RunArgs),
    /// Run a registration server and controller for a network of one's own.
    Controller(controller::ControllerArgs),
    /// Measure once, now: ping, traceroute, dns, tls, http, ntp, or a command in the controller's language.
    Measure(measure::MeasureArgs),
    /// Say how the running probe stands, and what it lacks.
    Status(status::StatusArgs),
    /// Look the host over, before and after installation: each finding with its remedy.
    Check(check::CheckArgs),
    /// Show, make or import the probe's key.
    Key(key::KeyArgs),
    /// Take over the key and the settings of the official probe that is installed here, or of a container's.
    Migrate(migrate::MigrateArgs),
    /// Print the manual page of the program or of one of its commands.
    Man(manual::ManArgs),
    /// Print what a shell needs to complete this program's command line.
    Completions(manual::CompletionsArgs),
}

/// What is said while running, for the long-running commands.
#[derive(Args, Clone, Debug, Default)]
struct LogArgs {
    /// How much to log.
    #[arg(long, value_enum, env = "STARLING_LOG_LEVEL", value_name = "LEVEL")]
    log_level: Option<LogLevel>,
    /// In which form to log.
    #[arg(long, value_enum, env = "STARLING_LOG_FORMAT", value_name = "FORMAT")]
    log_format: Option<LogFormat>,
}

impl LogArgs {
    /// Starts the log with these flags laid over what the configuration says.
    fn start(&self, level: LogLevel, format: LogFormat) -> observe::log::Log {
        let filter = std::env::var("STARLING_LOG").ok();
        observe::log::start(
            self.log_level.unwrap_or(level),
            self.log_format.unwrap_or(format),
            filter.as_deref(),
        )
    }
}

/// Which probe it is: what is laid over the configuration file by all that read it.
#[derive(Args, Clone, Debug)]
struct ProbeArgs {
    /// Where keys, state and results are kept.
    #[arg(long, env = "STARLING_DATA_DIR", value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// The probe's private key file.
    #[arg(long, env = "STARLING_KEY_FILE", value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Register here instead of with the production servers: `HOST:PORT=ssh-rsa AAAA…`. May be repeated.
    #[arg(
        long = "registration-server",
        env = "STARLING_REGISTRATION_SERVERS",
        value_delimiter = ',',
        value_name = "SERVER"
    )]
    registration_servers: Vec<Server>,
}

impl ProbeArgs {
    /// Flag over environment over file over default.
    fn over(&self, file: Option<&Path>) -> Result<Config, ConfigError> {
        let mut config = file.map(Config::load).transpose()?.unwrap_or_default();
        if let Some(folder) = &self.data_dir {
            config.data_dir.clone_from(folder);
        }
        if let Some(file) = &self.key_file {
            config.key_file = Some(file.clone());
        }
        if !self.registration_servers.is_empty() {
            let servers = &mut config.registration.servers;
            servers.clone_from(&self.registration_servers);
        }
        Ok(config)
    }
}

impl ValueEnum for LogLevel {
    fn value_variants<'a>() -> &'a [Self] {
        &[
            Self::Error,
            Self::Warn,
            Self::Info,
            Self::Debug,
            Self::Trace,
        ]
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        Some(clap::builder::PossibleValue::new(self.name()))
    }
}

impl ValueEnum for LogFormat {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Text, Self::Json]
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        Some(clap::builder::PossibleValue::new(match self {
            Self::Text => "text",
            Self::Json => "json",
        }))
    }
}

/// Runs the program with these arguments, the program's name first.
#[must_use]
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are answers, not errors; a closed pipe is neither.
            let exit = match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Exit::Done,
                _ => Exit::Usage,
            };
            let _ = error.print();
            return exit.into();
        }
    };
    let outcome = match cli.command {
        Command::Lab(args) => lab::main(&args),
        Command::Run(args) => run::main(&args),
        Command::Controller(args) => controller::main(&args),
        Command::Measure(args) => measure::main(&args),
        Command::Check(args) => check::main(&args),
        Command::Status(args) => status::main(&args),
        Command::Key(args) => key::main(&args),
        Command::Migrate(args) => migrate::main(&args),
        Command::Man(args) => manual::man(&args),
        Command::Completions(args) => manual::completions(&args),
    };
    match outcome {
        Ok(exit) => exit.into(),
        Err(failure) => {
            print::error(&failure.error);
            failure.exit.into()
        }
    }
}

/// The command line as it is parsed.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

/// Where all chance comes from: drawn once a process, here.
#[expect(clippy::disallowed_methods, reason = "the one place that draws a seed")]
fn seed() -> u64 {
    rand::random()
}

/// Chance enough for keys and session numbers, drawn from the system.
#[expect(clippy::disallowed_methods, reason = "the one place that draws a seed")]
fn wide_seed() -> [u8; 32] {
    rand::random()
}

/// One thread serves everything: the work is waiting, and memory is what a small host lacks.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(2)
        .thread_keep_alive(Duration::from_secs(5))
        .build()
}

/// Runs the work of a service. What still stands at its end, such as a disk that does not answer, is left behind:
/// a process that was asked to end must not wait for it.
fn serve<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = runtime()?;
    let ended = runtime.block_on(work);
    runtime.shutdown_background();
    ended
}

/// Completes at SIGINT or SIGTERM; works as PID 1 too, where these have no default effect.
fn interrupted() -> std::io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// The official probe's switch for measuring any address.
fn policy_lifted_by_environment() -> bool {
    std::env::var_os("ATLAS_DISABLE_CHECK_ADDR").is_some_and(|value| value == "yes")
}
