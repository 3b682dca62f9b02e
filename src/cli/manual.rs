//! `starling man` and `starling completions`: what `--help` knows, for other readers.
//!
//! Both are made from the declarations of the command line, at any time and by any installed binary, so neither can be
//! of another version than the program.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use clap::{Args, Command, ValueEnum};
use clap_complete::{Generator, shells};
use clap_mangen::{
    Man,
    roff::{Roff, bold, roman},
};

use super::{Exit, Failure, Outcome, measure, print};
use crate::config::DATA_DIR;

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  starling man | man -l -
  starling man measure ping | man -l -
  starling man --all /usr/local/share/man/man1")]
pub(super) struct ManArgs {
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
pub(super) struct CompletionsArgs {
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

/// The names of the exit codes, as the pages list them.
const EXITS: [(Exit, &str); 8] = [
    (Exit::Done, "Done, or measured with an answer."),
    (
        Exit::NoAnswer,
        "Measured without an answer; or a lab run in which something was not accepted.",
    ),
    (Exit::Usage, "The command line cannot be used."),
    (Exit::Unavailable, "Nobody is there who could answer."),
    (Exit::Software, "A bug of the program."),
    (Exit::OsError, "The system lacks something or refuses it."),
    (Exit::NoPermission, "A privilege is missing."),
    (Exit::Config, "The configuration cannot be used."),
];

/// What lies where, if nobody says otherwise.
const FILES: [(&str, &str); 4] = [
    (
        "/etc/starling/starling.toml",
        "The probe's configuration as the packages install it; every setting is explained there.",
    ),
    (
        "/etc/starling/controller.toml",
        "The controller's configuration.",
    ),
    (
        DATA_DIR,
        "The probe's key, the state of its session and its results.",
    ),
    (
        "/var/lib/starling-controller",
        "The controller's keys, the register of its probes and accepted results.",
    ),
];

pub(super) fn completions(args: &CompletionsArgs) -> Outcome {
    let mut text = Vec::new();
    let mut command = whole();
    match args.shell {
        Shell::Bash => generate(shells::Bash, &mut command, &mut text),
        Shell::Zsh => generate(shells::Zsh, &mut command, &mut text),
        Shell::Fish => generate(shells::Fish, &mut command, &mut text),
    }
    print::text(&String::from_utf8_lossy(&text))?;
    Ok(Exit::Done)
}

fn generate(shell: impl Generator, command: &mut Command, text: &mut Vec<u8>) {
    clap_complete::generate(shell, command, "starling", text);
}

pub(super) fn man(args: &ManArgs) -> Outcome {
    let mut whole = whole();
    whole.build();
    if let Some(folder) = &args.all {
        write_all(&whole, folder)
            .with_context(|| format!("cannot write pages to {}", folder.display()))?;
        return Ok(Exit::Done);
    }
    let mut command = &whole;
    for word in &args.page {
        command = command.find_subcommand(word).ok_or_else(|| {
            Failure::new(
                Exit::Usage,
                anyhow::anyhow!(
                    "`{word}` has no page: `starling man` names those of `starling`, and so on below"
                ),
            )
        })?;
    }
    print::text(&String::from_utf8_lossy(&page(command, &whole)?))?;
    Ok(Exit::Done)
}

/// The whole command line: the types of `starling measure` are parsed on their own, and belong to it all the same.
fn whole() -> Command {
    super::command()
        .disable_help_subcommand(true)
        .subcommand_help_heading("COMMANDS")
        .subcommand_value_name("command")
        .mut_subcommand("measure", |measure| {
            measure
                .mut_arg("command", |command| command.hide(true).required(false))
                .subcommands(measure::types())
        })
}

fn write_all(command: &Command, folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let mut left = vec![command];
    while let Some(next) = left.pop() {
        left.extend(next.get_subcommands());
        let file = folder.join(format!("{}.1", title(next)));
        fs::write(file, page(next, command)?)?;
    }
    Ok(())
}

/// `starling-measure-ping`, as pages are called.
fn title(command: &Command) -> &str {
    command
        .get_display_name()
        .unwrap_or_else(|| command.get_name())
}

/// One page of the manual.
fn page(command: &Command, whole: &Command) -> io::Result<Vec<u8>> {
    let version = whole.get_version().unwrap_or_default();
    let man = Man::new(command.clone());
    // By hand: the library drops the empty date, which moves the fields behind it.
    let mut page = format!(
        ".TH {} 1 \"\" \"starling {version}\" \"Starling manual\"\n",
        title(command)
    )
    .into_bytes();
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    if command
        .get_arguments()
        .any(|argument| !argument.is_hide_set())
    {
        man.render_options_section(&mut page)?;
    }
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    let mut rest = Roff::new();
    if let Some(notes) = command.get_after_help() {
        rest.control("SH", ["NOTES"]);
        prose(&mut rest, &notes.to_string());
    }
    if title(command) == title(whole) {
        rest.control("SH", ["EXIT STATUS"]);
        for (exit, words) in EXITS {
            item(&mut rest, &(exit as u8).to_string(), words);
        }
        rest.control("SH", ["FILES"]);
        for (file, words) in FILES {
            item(&mut rest, file, words);
        }
    } else {
        rest.control("SH", ["SEE ALSO"]);
        rest.text([bold(title(whole)), roman("(1)")]);
    }
    rest.to_writer(&mut page)?;
    Ok(page)
}

fn item(roff: &mut Roff, name: &str, words: &str) {
    roff.control("TP", []);
    roff.text([bold(name)]);
    roff.text([roman(words)]);
}

/// Help text as a page shows it: indented lines keep their breaks, the others flow.
fn prose(roff: &mut Roff, text: &str) {
    let mut kept = false;
    for (number, line) in text.lines().enumerate() {
        let keeps = line.starts_with(' ');
        if keeps && !kept {
            roff.control("RS", []);
            roff.control("nf", []);
        } else if kept && !keeps {
            roff.control("fi", []);
            roff.control("RE", []);
        }
        kept = keeps;
        if !line.is_empty() {
            roff.text([roman(line.trim_start())]);
        } else if number > 0 {
            roff.control("PP", []);
        }
    }
    if kept {
        roff.control("fi", []);
        roff.control("RE", []);
    }
}
