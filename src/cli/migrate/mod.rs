//! `starling migrate`: takes over the identity of a probe that is installed here.
//!
//! Without `--apply` it only says what it would do. It deletes nothing, and replaces nothing but with `--force`, when
//! it keeps what was there.

mod layout;

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, anyhow};
use clap::Args;

use self::layout::{Found, Setting};
use super::{Exit, Failure, Outcome, print};
use crate::{
    config::{self, DATA_DIR},
    key::{KeyError, ProbeKey},
};

#[derive(Args, Debug)]
#[command(after_help = "\
Looks in /etc/ripe-atlas, /var/atlas-probe, /home/atlas and the volumes of Docker and Podman. Deletes nothing, and \
leaves the other probe as it is: stop it before this one starts. Run as root it gives what it writes to the owner of \
the directory.

Examples:
  sudo starling migrate                            what there is, and what would be done
  sudo starling migrate --apply
  sudo starling migrate --from /srv/atlas --apply  a container's directory")]
pub(super) struct MigrateArgs {
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

/// What is to be done, all of it known before any of it is begun.
#[derive(Debug)]
enum Step {
    /// Nothing, for it is so already.
    Done(String),
    /// What is there is kept under another name.
    Keep { file: PathBuf, kept: PathBuf },
    /// The key is copied.
    Key { source: PathBuf, target: PathBuf },
    /// A configuration is written.
    Settings { file: PathBuf, text: String },
}

pub(super) fn main(args: &MigrateArgs) -> Outcome {
    let places = match &args.from {
        Some(place) => vec![place.clone()],
        None => layout::places(Path::new("/")),
    };
    let found = choose(&places)?;
    let key = found
        .key
        .map_err(|error| Failure::new(Exit::OsError, error))?;
    let mut steps = take_key(args, &key)?;
    let ours = ours(&found.settings);
    if let (Some(text), Some(file)) = (&ours, &args.config) {
        steps.extend(take_settings(args, text, file)?);
    }
    print::line(&format!(
        "found     {}: {} {}",
        found.key_file.display(),
        key.type_name(),
        key.fingerprint()
    ))?;
    for Setting { theirs, words, .. } in &found.settings {
        print::line(&format!("found     {theirs}: {words}"))?;
    }
    for step in &steps {
        if args.apply {
            step.take()?;
        }
        print::line(&step.words(args.apply))?;
    }
    if let (Some(text), None) = (&ours, &args.config) {
        print::line(
            "settings  to go on as before, put this into starling.toml, or name a new file with --config:",
        )?;
        print::text(&format!("\n{text}\n"))?;
    }
    print::line(if args.apply {
        "next      stop the other probe for good, then start this one: two with one key take the session from each other"
    } else {
        "next      nothing has been changed: --apply does it"
    })?;
    Ok(Exit::Done)
}

impl Step {
    fn take(&self) -> Result<(), Failure> {
        match self {
            Self::Done(_) => Ok(()),
            Self::Keep { file, kept } => fs::rename(file, kept)
                .with_context(|| format!("cannot keep {} as {}", file.display(), kept.display())),
            Self::Key { source, target } => ProbeKey::import(source, target, false)
                .map(|_| ())
                .map_err(anyhow::Error::from),
            Self::Settings { file, text } => {
                create(file, text).with_context(|| format!("cannot write {}", file.display()))
            }
        }
        .map_err(|error| Failure::new(Exit::OsError, error))
    }

    fn words(&self, applied: bool) -> String {
        let will = if applied { "" } else { "would be " };
        match self {
            Self::Done(words) => words.clone(),
            Self::Keep { file, kept } => {
                format!(
                    "kept      {} {will}kept as {}",
                    file.display(),
                    kept.display()
                )
            }
            Self::Key { target, .. } => format!("key       {will}copied to {}", target.display()),
            Self::Settings { file, .. } => {
                format!("settings  {will}written to {}", file.display())
            }
        }
    }
}

/// Writes a configuration, which the probe's user must be able to read, where there is none.
fn create(file: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o644)
        .open(file)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// The one probe that there is.
fn choose(places: &[PathBuf]) -> Result<Found, Failure> {
    let mut found: Vec<Found> = Vec::new();
    for probe in places.iter().filter_map(|place| layout::probe(place)) {
        // The same probe by two ways, such as a directory mounted in a container.
        let known = found.iter().any(|other| match (&other.key, &probe.key) {
            (Ok(one), Ok(two)) => one.fingerprint() == two.fingerprint(),
            _ => false,
        });
        if !known {
            found.push(probe);
        }
    }
    if found.len() > 1 {
        return Err(Failure::new(
            Exit::Usage,
            anyhow!(
                "there are several probes here: name the directory of one with --from. Keys are in {}",
                list(found.iter().map(|probe| probe.key_file.as_path()))
            ),
        ));
    }
    found.pop().ok_or_else(|| {
        Failure::new(
            Exit::Unavailable,
            anyhow!(
                "there is no `probe_key` in {}: run this as root, or name the probe's directory (or its container's \
                 volume) with --from",
                list(places.iter().map(PathBuf::as_path))
            ),
        )
    })
}

fn list<'a>(paths: impl Iterator<Item = &'a Path>) -> String {
    paths
        .map(|path| path.display().to_string())
        .collect::<Vec<_>>()
        .join(", ")
}

fn take_key(args: &MigrateArgs, key: &ProbeKey) -> Result<Vec<Step>, Failure> {
    let target = config::key_file(args.key_file.as_deref(), &args.data_dir);
    let mut steps = Vec::new();
    match ProbeKey::load(&target) {
        Ok(before) if before.fingerprint() == key.fingerprint() => {
            return Ok(vec![Step::Done(format!(
                "key       is at {} already",
                target.display()
            ))]);
        }
        Err(KeyError::Missing(_)) => {}
        _ if args.force => steps.push(keep(&target)?),
        Ok(_) => {
            return Err(anyhow!(
                "there is another key at {}, so this is another probe already: --force keeps that key as {} and takes \
                 the one found",
                target.display(),
                aside(&target).display()
            )
            .into());
        }
        Err(error) => return Err(error.into()),
    }
    steps.push(Step::Key {
        source: key.path().to_owned(),
        target,
    });
    Ok(steps)
}

/// The settings in our words, if any differ from our defaults.
fn ours(settings: &[Setting]) -> Option<String> {
    let ours: Vec<&str> = settings
        .iter()
        .filter_map(|setting| setting.ours.as_deref())
        .collect();
    (!ours.is_empty()).then(|| {
        format!(
            "# Taken over by `starling migrate`.\n{}\n",
            ours.join("\n\n")
        )
    })
}

fn take_settings(args: &MigrateArgs, text: &str, file: &Path) -> Result<Vec<Step>, Failure> {
    let mut steps = Vec::new();
    match fs::read_to_string(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Ok(before) if before == text => {
            return Ok(vec![Step::Done(format!(
                "settings  are in {} already",
                file.display()
            ))]);
        }
        _ if args.force => steps.push(keep(file)?),
        _ => {
            return Err(anyhow!(
                "{} is there already: --force keeps it as {} and writes a new one; or put this into it by hand:\n\n{text}",
                file.display(),
                aside(file).display()
            )
            .into());
        }
    }
    steps.push(Step::Settings {
        file: file.to_owned(),
        text: text.to_owned(),
    });
    Ok(steps)
}

fn keep(file: &Path) -> Result<Step, Failure> {
    let kept = aside(file);
    if kept.exists() {
        return Err(anyhow!(
            "{} is there from an earlier time: move it away first",
            kept.display()
        )
        .into());
    }
    Ok(Step::Keep {
        file: file.to_owned(),
        kept,
    })
}

/// The name under which a file is kept.
fn aside(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".before-migration");
    PathBuf::from(name)
}
