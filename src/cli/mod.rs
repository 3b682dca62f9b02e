//! The command line: one subcommand each, declared once and acted on elsewhere.
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
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum, error::ErrorKind};

use crate::{
    config::{Config, ConfigError, DATA_DIR, LogFormat, LogLevel, Server, parse_duration},
    dialect::Dialect,
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
    Lab(LabArgs),
    /// Run a probe: register, keep the session, measure, upload.
    Run(RunArgs),
    /// Run a registration server and controller for a network of one's own.
    Controller(ControllerArgs),
    /// Measure once, now: ping, traceroute, dns, tls, http, ntp, or a command in the controller's language.
    Measure(MeasureArgs),
    /// Say how the running probe stands, and what it lacks.
    Status(StatusArgs),
    /// Look the host over, before and after installation: each finding with its remedy.
    Check(CheckArgs),
    /// Show, make or import the probe's key.
    Key(KeyArgs),
    /// Take over the key and the settings of the official probe that is installed here, or of a container's.
    Migrate(MigrateArgs),
    /// Print the manual page of the program or of one of its commands.
    Man(ManArgs),
    /// Print what a shell needs to complete this program's command line.
    Completions(CompletionsArgs),
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

#[derive(Args, Debug)]
struct LabArgs {
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

#[derive(Args, Clone, Debug)]
struct RunArgs {
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

#[derive(Args, Debug)]
struct ControllerArgs {
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

#[derive(Args, Debug)]
#[command(
    override_usage = "starling measure [OPTIONS] <TYPE> [OPTIONS OF THE TYPE] <TARGET>\n       starling measure \
                      [OPTIONS] <VERB> [OPTIONS OF THE CONTROLLER'S LANGUAGE] <TARGET>",
    after_help = "\
Types, each with its own --help:
  ping        echo requests and their round-trip times     starling measure ping host.example
  traceroute  the routers on the way                       starling measure traceroute --names host.example
  dns         what a name server answers                   starling measure dns @192.0.2.53 example.org AAAA
  tls         a server's certificates                      starling measure tls host.example
  http        what a web server answers, and how fast      starling measure http http://host.example/
  ntp         how far two clocks are apart                 starling measure ntp time.example

A type talks to people: long options, lines as things happen, a summary; --json or --result for its result alone. \
Any address may be measured.

A verb (evping, evtraceroute, evtdig, evsslgetcert, evhttpget, evntp) is a command as controllers send it: its options \
have one letter and their own defaults, it prints the RESULT line and nothing else, --dialect says how it is read, and \
private addresses are refused without --allow-any-address. Our own flags stand before the verb.
  starling measure evping -4 -c 3 -A 1001 198.51.100.2

Exits with 0 if there was an answer, 1 if there was none, 64 if the command cannot be used, 77 for lack of privilege."
)]
struct MeasureArgs {
    /// Verbs only: measure private and loopback addresses too.
    #[arg(long)]
    allow_any_address: bool,
    /// Verbs only: the form of results and options.
    #[arg(
        long,
        env = "STARLING_DIALECT",
        default_value_t,
        value_name = "DIALECT"
    )]
    dialect: Dialect,
    /// Write what was asked for and what came back, with times, to this file.
    #[arg(long, value_name = "FILE")]
    transcript: Option<PathBuf>,
    /// A type (ping …) or a verb (evping …), its options and its target.
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        required = true,
        value_name = "COMMAND"
    )]
    command: Vec<String>,
}

#[derive(Args, Debug)]
#[command(
    after_help = "Exits with 0 if an agent answered, 69 if none is there, 77 if it may not be asked; with --health, with 0 or 1."
)]
struct StatusArgs {
    /// The data directory of the probe.
    #[arg(
        long,
        env = "STARLING_DATA_DIR",
        value_name = "DIR",
        default_value = DATA_DIR
    )]
    data_dir: PathBuf,
    /// The agent's own document, for programs.
    #[arg(long)]
    json: bool,
    /// A health check: prints one line; exits with 0 if the probe is live (main loop and disk make progress), or with
    /// `=ready` if its session stands too and an upload was accepted lately; else with 1.
    #[arg(long, value_enum, value_name = "WHICH", num_args = 0..=1, default_missing_value = "live", require_equals = true, conflicts_with_all = ["json", "watch"])]
    health: Option<Health>,
    /// Ask again and again, every two seconds or as often as this.
    #[arg(long, value_parser = parse_duration, value_name = "INTERVAL", num_args = 0..=1, default_missing_value = "2s", require_equals = true)]
    watch: Option<Duration>,
}

/// What a health check asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Health {
    /// Main loop and disk make progress: what does not is to be restarted.
    Live,
    /// Besides, the session stands, and an upload was accepted in the last 15 minutes or three upload intervals.
    Ready,
}

#[derive(Args, Debug)]
#[command(
    after_help = "Exits with 0 if nothing is a problem, warnings or not; else with 1.",
    mut_arg("registration_servers", |servers| servers.help(
        "Look at this server instead of the configured ones: `HOST:PORT=ssh-rsa AAAA…`. May be repeated"
    ))
)]
struct CheckArgs {
    /// Go to the network: look up names, and greet each registration server without logging in.
    #[arg(long)]
    network: bool,
    /// The findings as JSON, for programs.
    #[arg(long)]
    json: bool,
    /// The configuration file; without it, the defaults.
    #[arg(long, env = "STARLING_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    probe: ProbeArgs,
}

#[derive(Args, Debug)]
struct KeyArgs {
    /// The probe's private key file; by default `probe_key` in the data directory.
    #[arg(long, env = "STARLING_KEY_FILE", global = true, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// The data directory.
    #[arg(
        long,
        env = "STARLING_DATA_DIR",
        global = true,
        value_name = "DIR",
        default_value = DATA_DIR
    )]
    data_dir: PathBuf,
    #[command(subcommand)]
    command: KeyCommand,
}

#[derive(Debug, Subcommand)]
enum KeyCommand {
    /// Print the line to register.
    Show,
    /// Make a new Ed25519 key. Refuses to replace one.
    Generate,
    /// Take over an existing private key, for example one of the official probe. Refuses to replace one.
    Import {
        /// The private key file, as OpenSSH or OpenSSL makes it, without a passphrase.
        file: PathBuf,
    },
}

#[derive(Args, Debug)]
#[command(after_help = "\
Looks in /etc/ripe-atlas, /var/atlas-probe, /home/atlas and the volumes of Docker and Podman. Deletes nothing, and \
leaves the other probe as it is: stop it before this one starts. Run as root it gives what it writes to the owner of \
the directory.

Examples:
  sudo starling migrate                            what there is, and what would be done
  sudo starling migrate --apply
  sudo starling migrate --from /srv/atlas --apply  a container's directory")]
struct MigrateArgs {
    /// Do it. Without this it is only said.
    #[arg(long)]
    apply: bool,
    /// The directory of the other probe, or what is mounted into its container; without it, the usual places.
    #[arg(long, value_name = "DIR")]
    from: Option<PathBuf>,
    /// Where our data is kept.
    #[arg(
        long,
        env = "STARLING_DATA_DIR",
        value_name = "DIR",
        default_value = DATA_DIR
    )]
    data_dir: PathBuf,
    /// Our private key file; by default `probe_key` in the data directory.
    #[arg(long, env = "STARLING_KEY_FILE", value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Write what differs from our defaults to this configuration file; without it, it is printed.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Take the place of a key or configuration that is there, and keep that under another name.
    #[arg(long)]
    force: bool,
}

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  starling man | man -l -
  starling man measure ping | man -l -
  starling man --all /usr/local/share/man/man1")]
struct ManArgs {
    /// Write every page to this directory instead, made if it is missing.
    #[arg(long, value_name = "DIR", conflicts_with = "page")]
    all: Option<PathBuf>,
    /// The words of a command, such as `run` or `measure ping`; without them, the program's own page.
    #[arg(value_name = "COMMAND")]
    page: Vec<String>,
}

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  starling completions bash > ~/.local/share/bash-completion/completions/starling
  starling completions zsh > /usr/local/share/zsh/site-functions/_starling
  starling completions fish > ~/.config/fish/completions/starling.fish")]
struct CompletionsArgs {
    /// Which shell.
    #[arg(value_enum, value_name = "SHELL")]
    shell: Shell,
}

/// The shells that can be told.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
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
