//! Manual pages and completions: made from the command line's declarations, and readable by those who must read them.

#![allow(clippy::panic, reason = "a test says what is wrong by panicking")]

#[path = "support/peers.rs"]
mod peers;
mod support;

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::{Command, Output},
};

use support::{starling, stderr, stdout};

/// Runs a program of the host. `None`, said loudly, if it is not there and may be missing.
fn reader(program: &str, args: &[&str]) -> Option<Output> {
    match Command::new(program).args(args).output() {
        Ok(output) => Some(output),
        Err(error) => {
            peers::missing(&format!("{program} cannot be run: {error}"));
            None
        }
    }
}

fn written(folder: &Path) -> BTreeSet<String> {
    fs::read_dir(folder)
        .expect("the pages are there")
        .map(|entry| entry.expect("a page").file_name().to_string_lossy().into())
        .collect()
}

#[test]
fn every_command_has_a_page_and_no_page_is_malformed() {
    let folder = tempfile::tempdir().expect("a temporary directory can be made");
    let pages = folder.path().join("man1");
    let output = starling(&["man", "--all", pages.to_str().expect("UTF-8")]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let written = written(&pages);
    let mut wanted: BTreeSet<String> = [
        "starling.1",
        "starling-measure-ping.1",
        "starling-measure-dns.1",
    ]
    .map(str::to_owned)
    .into();
    let cli = starling::cli::command();
    for command in cli.get_subcommands() {
        wanted.insert(format!("starling-{}.1", command.get_name()));
        for below in command.get_subcommands() {
            wanted.insert(format!(
                "starling-{}-{}.1",
                command.get_name(),
                below.get_name()
            ));
        }
    }
    let missing: Vec<_> = wanted.difference(&written).collect();
    assert!(missing.is_empty(), "{missing:?} of {written:?}");
    for page in &written {
        let file = pages.join(page);
        let text = fs::read_to_string(&file).expect("a page is text");
        for section in [".SH NAME", ".SH SYNOPSIS", ".SH DESCRIPTION"] {
            assert!(text.contains(section), "{page} lacks {section}");
        }
        let file = file.to_str().expect("UTF-8");
        let Some(lint) = reader("mandoc", &["-T", "lint", "-W", "error", file]) else {
            return;
        };
        assert!(lint.status.success(), "{page}: {}", stdout(&lint));
    }
}

#[test]
fn one_page_is_printed_by_the_words_of_its_command() {
    let page = stdout(&starling(&["man", "measure", "ping"]));
    assert!(page.contains(".TH starling-measure-ping 1 "), "{page}");
    let page = stdout(&starling(&["man"]));
    assert!(page.contains("EXIT STATUS"), "{page}");
    let none = starling(&["man", "fly"]);
    assert_eq!(none.status.code(), Some(64));
    assert!(stderr(&none).contains("fly"), "{}", stderr(&none));
}

#[test]
fn completions_are_scripts_that_their_shells_can_read() {
    let folder = tempfile::tempdir().expect("a temporary directory can be made");
    for shell in ["bash", "zsh", "fish"] {
        let output = starling(&["completions", shell]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let file = folder.path().join(shell);
        fs::write(&file, &output.stdout).expect("a script can be written");
        if let Some(read) = reader(shell, &["-n", file.to_str().expect("UTF-8")]) {
            assert!(read.status.success(), "{shell}: {}", stderr(&read));
        }
    }
}

/// What bash offers for the last of `words`.
fn offered(script: &Path, words: &[&str]) -> Option<String> {
    let program = r#"
        source "$1"; shift
        COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
        _starling "$1" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
        echo "${COMPREPLY[*]}""#;
    let script = script.to_str().expect("UTF-8");
    let args: Vec<&str> = ["--norc", "-c", program, "bash", script]
        .into_iter()
        .chain(words.iter().copied())
        .collect();
    let output = reader("bash", &args)?;
    assert!(output.status.success(), "{}", stderr(&output));
    Some(stdout(&output).trim().to_owned())
}

#[test]
fn bash_completes_commands_types_options_and_values() {
    let folder = tempfile::tempdir().expect("a temporary directory can be made");
    let script = folder.path().join("starling");
    fs::write(&script, starling(&["completions", "bash"]).stdout).expect("a script can be written");
    for (words, wanted) in [
        (&["starling", "stat"][..], "status"),
        (&["starling", "measure", "trace"], "traceroute"),
        (&["starling", "measure", "ping", "--cou"], "--count"),
        (&["starling", "run", "--log-format", ""], "text json"),
        (&["starling", "key", "im"], "import"),
    ] {
        if let Some(offered) = offered(&script, words) {
            assert_eq!(offered, wanted, "{words:?}");
        }
    }
}
