//! What the integration tests share.

// Each test binary uses a part of it.
#![allow(dead_code)]

pub(crate) mod exposition;
pub(crate) mod lab;
pub(crate) mod service;

use std::process::{Command, Output};

/// Runs the binary in an empty directory with a bare environment.
pub(crate) fn starling(args: &[&str]) -> Output {
    let folder = tempfile::tempdir().expect("a temporary directory can be made");
    Command::new(env!("CARGO_BIN_EXE_starling"))
        .args(args)
        .env_clear()
        .current_dir(folder.path())
        .output()
        .expect("the binary runs")
}

/// Standard output as text.
pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Standard error as text.
pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A host key that no server of ours has.
pub(crate) fn other_host_key() -> String {
    let other = "AAAAC3NzaC1lZDI1NTE5AAAAILJT4xTOQ6YRqmGXsxzmTzSvbfIiTXLsAhdLnDf3HFVa";
    format!("ssh-ed25519 {other}")
}
