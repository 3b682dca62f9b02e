//! `starling measure`: one measurement, now.
//!
//! With a verb of the controller's language (`evping …`) it prints the RESULT line and nothing else; with the plain
//! name of a type (`ping …`) it talks to a person.

mod people;

use std::{
    fs::{self, File},
    io::{BufWriter, Write as _},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use clap::Args;

use super::{Exit, Failure, interrupted, policy_lifted_by_environment, print, runtime, seed};
use crate::{
    clock::Clock,
    config::DATA_DIR,
    dialect::Dialect,
    measurement::{
        Carry, Kind, Outcome, Rules, Run, Spec, Version,
        transcript::{Header, Writer},
    },
    net::{self, Event, Net, recording},
    result::Document,
};

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
pub(super) struct MeasureArgs {
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

pub(super) fn main(args: &MeasureArgs) -> super::Outcome {
    let verb = args.command.first().map_or("", String::as_str);
    match verb.parse::<Kind>() {
        Ok(kind) => people::main(kind, args),
        Err(_) => command(args),
    }
}

/// How each type is asked for, for manual pages and completions.
pub(super) fn types() -> impl Iterator<Item = clap::Command> {
    people::types()
}

/// One command in the controller's language.
fn command(args: &MeasureArgs) -> super::Outcome {
    let rules = rules(args);
    let spec =
        Spec::parse(&args.command, &rules).map_err(|error| Failure::new(Exit::Usage, error))?;
    let version = version();
    // A file that cannot be appended to refuses the command before anything is sent.
    if let Some(file) = &spec.common.output {
        append(file, "").with_context(|| format!("unable to append to {}", file.display()))?;
    }
    let outcome = match &spec.common.replay {
        Some(file) => replay(&spec, file)?,
        None => live(&spec, args, |_| {}, async |_| {}, std::future::pending())?,
    };
    let lines = lines(&spec, &version, &outcome, args.dialect);
    match &spec.common.output {
        Some(file) => append(file, &lines)
            .with_context(|| format!("unable to append to {}", file.display()))?,
        None => print::text(&lines)?,
    }
    Ok(if outcome.answered {
        Exit::Done
    } else {
        Exit::NoAnswer
    })
}

fn lines(spec: &Spec, version: &Version, outcome: &Outcome, dialect: Dialect) -> String {
    let head = spec.head(version);
    outcome
        .bodies
        .iter()
        .map(|body| {
            Document {
                head: head.clone(),
                body: body.clone(),
            }
            .line(dialect)
        })
        .collect()
}

/// Takes all input from a recording of the official probe.
fn replay(spec: &Spec, file: &Path) -> Result<Outcome, Failure> {
    let bytes =
        fs::read(file).with_context(|| format!("cannot read the recording {}", file.display()))?;
    let clock = if std::env::var_os("ATLAS_TESTS").is_some() {
        recording::test_clock()
    } else {
        recording::replay_clock(Clock::start().unix(), -1)
    };
    recording::replay(spec, &bytes, clock)
        .with_context(|| format!("the recording {} cannot be replayed", file.display()))
        .map_err(Failure::from)
}

/// Measures on the network until done, interrupted or `stop`, telling `watch` what happens. `beside` goes on at the
/// same time, and after it as long as it likes; `watch` is dropped when the run is over.
fn live(
    spec: &Spec,
    args: &MeasureArgs,
    mut watch: impl FnMut(&Event<'_>),
    beside: impl AsyncFnOnce(Net),
    stop: impl Future<Output = ()>,
) -> Result<Outcome, Failure> {
    let clock = Clock::start();
    let seed = seed();
    let run = Run {
        seed,
        probe_id: None,
        replay: false,
    };
    let mut files = Files::create(spec, args, &run, clock)?;
    let machine = spec.start(run, Carry::Nothing);
    let outcome = runtime()?.block_on(async {
        let net = Net::open(
            net::Config {
                allow_any_address: args.allow_any_address || policy_lifted_by_environment(),
                ..net::Config::new(seed)
            },
            clock,
        );
        let interrupted = interrupted().context("cannot listen for signals")?;
        let stop = async {
            tokio::select! {
                () = interrupted => {}
                () = stop => {}
            }
        };
        let run = async {
            let outcome = net
                .run_until(machine, stop, |event| {
                    watch(event);
                    files.note(event);
                })
                .await;
            drop(watch);
            outcome
        };
        let (outcome, ()) = tokio::join!(run, beside(net.clone()));
        Ok::<_, Failure>(outcome)
    })?;
    files.finish()?;
    Ok(outcome)
}

/// What a run is written to: the transcript that our flag names, and the recording that the command names.
struct Files<'a> {
    transcript: Option<Transcript>,
    recording: Option<(recording::Recorder, &'a Path)>,
}

impl<'a> Files<'a> {
    fn create(
        spec: &'a Spec,
        args: &MeasureArgs,
        run: &Run,
        clock: Clock,
    ) -> Result<Self, Failure> {
        let transcript = args
            .transcript
            .as_deref()
            .map(|file| Transcript::create(file, args, run, clock))
            .transpose()?;
        let file = spec.common.record.as_deref();
        let recording = file.map(|file| (recording::Recorder::new(spec), file));
        Ok(Self {
            transcript,
            recording,
        })
    }

    fn note(&mut self, event: &Event<'_>) {
        if let Some((recorder, _)) = &mut self.recording {
            recorder.watch(event);
        }
        if let Some(transcript) = &mut self.transcript {
            transcript.note(event);
        }
    }

    fn finish(self) -> Result<(), Failure> {
        if let Some(transcript) = self.transcript {
            transcript.finish()?;
        }
        if let Some((recorder, file)) = self.recording {
            fs::write(file, recorder.finish())
                .with_context(|| format!("cannot write the recording {}", file.display()))?;
        }
        Ok(())
    }
}

fn rules(args: &MeasureArgs) -> Rules {
    Rules {
        dialect: args.dialect,
        spool: std::env::var_os("STARLING_DATA_DIR")
            .map_or_else(|| PathBuf::from(DATA_DIR), PathBuf::from),
        unsafe_paths: std::env::var_os("ATLAS_UNSAFE").is_some(),
    }
}

/// The version in results; recordings were made under that of the tests.
fn version() -> Version {
    if std::env::var_os("ATLAS_TESTS").is_some() {
        Version::of_tests()
    } else {
        Version::default()
    }
}

fn append(file: &Path, text: &str) -> std::io::Result<()> {
    File::options()
        .create(true)
        .append(true)
        .open(file)?
        .write_all(text.as_bytes())
}

/// The written form of a run as it goes.
struct Transcript {
    file: BufWriter<File>,
    writer: Writer,
    failed: Option<std::io::Error>,
    path: PathBuf,
}

impl Transcript {
    fn create(path: &Path, args: &MeasureArgs, run: &Run, clock: Clock) -> Result<Self, Failure> {
        let file = File::create(path)
            .with_context(|| format!("cannot write the transcript {}", path.display()))?;
        let writer = Writer::new(Header::new(
            &args.command,
            args.dialect,
            run,
            &clock.now(None),
        ));
        let header = writer.header();
        let mut transcript = Self {
            file: BufWriter::new(file),
            writer,
            failed: None,
            path: path.to_owned(),
        };
        transcript.write(&header);
        Ok(transcript)
    }

    fn note(&mut self, event: &Event<'_>) {
        let text = match event {
            Event::In {
                at,
                precision,
                input,
            } => {
                let remark = format!("{precision:?}").to_lowercase();
                self.writer.input(at, input, Some(&remark))
            }
            Event::Out { at, output } => self.writer.output(*at, output),
        };
        self.write(&text);
    }

    fn write(&mut self, text: &str) {
        if self.failed.is_none() {
            self.failed = self.file.write_all(text.as_bytes()).err();
        }
    }

    fn finish(mut self) -> Result<(), Failure> {
        let written = match self.failed.take() {
            Some(error) => Err(error),
            None => self.file.flush(),
        };
        written.with_context(|| format!("cannot write the transcript {}", self.path.display()))?;
        Ok(())
    }
}
