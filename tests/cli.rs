//! The command line as a user meets it: the real binary, its exit codes, what goes to which stream.

#![allow(clippy::panic, reason = "a test says what is wrong by panicking")]

mod support;

use std::fs;

use support::{starling, stderr, stdout};

#[test]
fn help_is_data_and_success() {
    let output = starling(&["--help"]);
    assert_eq!(output.status.code(), Some(0));
    for command in ["lab", "run", "controller", "measure", "key"] {
        assert!(
            stdout(&output).contains(command),
            "{command} is missing from the help"
        );
    }
    assert_eq!(stderr(&output), "");
}

#[test]
fn an_unknown_flag_is_a_usage_error_that_names_it() {
    let output = starling(&["lab", "--frobnicate"]);
    assert_eq!(output.status.code(), Some(64));
    assert!(stderr(&output).contains("--frobnicate"));
    assert_eq!(stdout(&output), "");
}

#[test]
fn a_bad_duration_is_named_with_what_would_do() {
    let output = starling(&["lab", "--run-for", "soon"]);
    assert_eq!(output.status.code(), Some(64));
    assert!(
        stderr(&output).contains("`soon` is no duration"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_key_is_made_once_shown_and_never_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let made = starling(&["key", "--data-dir", data, "generate"]);
    assert_eq!(made.status.code(), Some(0), "{}", stderr(&made));
    assert!(
        stdout(&made).starts_with("ssh-ed25519 AAAA"),
        "{}",
        stdout(&made)
    );
    let shown = starling(&["key", "--data-dir", data, "show"]);
    assert_eq!(stdout(&shown), stdout(&made));
    let again = starling(&["key", "--data-dir", data, "generate"]);
    assert_ne!(again.status.code(), Some(0));
    assert_eq!(
        stdout(&starling(&["key", "--data-dir", data, "show"])),
        stdout(&made)
    );
}

#[test]
fn a_missing_key_is_said_with_the_remedy() {
    let output = starling(&["key", "--data-dir", "nowhere", "show"]);
    assert_ne!(output.status.code(), Some(0));
    assert!(
        stderr(&output).contains("starling key generate"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn an_imported_key_must_be_a_private_key() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("not-a-key");
    fs::write(&file, "hello").unwrap();
    let output = starling(&[
        "key",
        "--data-dir",
        folder.path().to_str().unwrap(),
        "import",
        file.to_str().unwrap(),
    ]);
    assert_ne!(output.status.code(), Some(0));
    assert!(stderr(&output).contains("not-a-key"), "{}", stderr(&output));
    assert!(!folder.path().join("probe_key").exists());
}

#[test]
fn a_key_file_to_take_over_that_is_not_there_is_not_to_be_made() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().to_str().unwrap();
    let output = starling(&["key", "--data-dir", dir, "import", "/nowhere/key"]);
    let said = stderr(&output);
    assert!(said.contains("there is no file /nowhere/key"), "{said}");
    assert!(!said.contains("generate"), "{said}");
}

#[test]
fn a_controller_that_cannot_start_says_once_why() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().to_str().unwrap();
    let start = |more: [&str; 2]| {
        let output = starling(&[&["controller", "--data-dir", dir][..], &more].concat());
        assert_eq!(output.status.code(), Some(71));
        stderr(&output)
    };
    let said = start(["--accepted", "/nowhere/lines"]);
    assert!(said.contains("cannot use /nowhere/lines"), "{said}");
    assert_eq!(said.matches("No such file").count(), 1, "{said}");
    let said = start(["--registration-listen", "192.0.2.1:0"]);
    assert_eq!(said.matches("os error").count(), 1, "{said}");
    assert!(said.contains("this host has no such address"), "{said}");
}

#[test]
fn a_command_that_no_probe_would_run_is_no_secret_of_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("controller.toml");
    let commands = [
        "evping -4 -c x 192.0.2.1",
        "evpong 192.0.2.1",
        "evping 192.0.2.1",
    ];
    let table = |command| format!("[[measurement]]\ncommand = \"{command}\"\ninterval = 60\n");
    fs::write(&file, commands.map(table).concat()).unwrap();
    let output = starling(&["controller", "--check", "--config", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0));
    let said = stderr(&output);
    let warnings: Vec<_> = said
        .lines()
        .filter(|line| line.starts_with("warning"))
        .collect();
    assert_eq!(warnings.len(), 2, "{said}");
    assert!(warnings[0].contains("`evping -4 -c x 192.0.2.1`"), "{said}");
    assert!(warnings[1].contains("`evpong 192.0.2.1`"), "{said}");
}

#[test]
fn a_configuration_is_checked_without_running() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("starling.toml");
    fs::write(&file, "[upload]\ninterval = \"90s\"\n").unwrap();
    let path = file.to_str().unwrap();
    let good = starling(&["run", "--check", "--config", path]);
    assert_eq!(good.status.code(), Some(0), "{}", stderr(&good));
    fs::write(&file, "[upload]\nintervall = \"90s\"\n").unwrap();
    let bad = starling(&["run", "--check", "--config", path]);
    assert_eq!(bad.status.code(), Some(78));
    assert!(stderr(&bad).contains("intervall"), "{}", stderr(&bad));
    let missing = starling(&["run", "--check", "--config", "nowhere.toml"]);
    assert_eq!(missing.status.code(), Some(78));
    assert!(
        stderr(&missing).contains("nowhere.toml"),
        "{}",
        stderr(&missing)
    );
}

#[test]
fn measuring_a_refused_address_prints_its_result_line_and_nothing_else() {
    let output = starling(&[
        "measure", "evping", "-4", "-c", "1", "-A", "1001", "10.0.0.1",
    ]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let line = stdout(&output);
    assert_eq!(line.lines().count(), 1, "{line}");
    assert!(
        line.starts_with(r#"RESULT { "id":"1001", "fw":5120, "mver": "2.6.4", "#),
        "{line}"
    );
    assert!(
        line.ends_with("\"dst_addr\":\"10.0.0.1\", \"proto\":\"ICMP\", \"size\":0, \"result\": [ { \"error\":\"address not allowed\" } ] }\n"),
        "{line}"
    );
}

#[test]
fn a_command_that_cannot_be_read_names_the_word() {
    for (words, culprit) in [
        (&["measure", "evfoo", "192.0.2.1"][..], "evfoo"),
        (&["measure", "evping", "-Z", "192.0.2.1"], "Z"),
        (&["measure", "evping", "-i", "0", "192.0.2.1"], "0"),
    ] {
        let output = starling(words);
        assert_eq!(output.status.code(), Some(64), "{words:?}");
        assert!(stderr(&output).contains(culprit), "{}", stderr(&output));
        assert_eq!(stdout(&output), "");
    }
}
