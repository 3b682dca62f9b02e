//! A benchmark runs itself again in namespaces of its own.

use std::process::{Command, ExitCode, Stdio};

/// Set in the run that is inside the namespaces.
pub(crate) const INSIDE: &str = "STARLING_BENCH_INSIDE";

/// Whether this is that run.
pub(crate) fn is_inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// Runs this program again inside, once `install` got what it needs. Real root, not a user namespace: the tap needs
/// a buffer that is larger than strangers may have.
pub(crate) fn enter(install: impl FnOnce()) -> ExitCode {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("the benchmark makes namespaces and captures packets: run it as root");
        return ExitCode::from(77);
    }
    install();
    let own = std::env::current_exe().expect("the running binary has a path");
    let status = Command::new("unshare")
        .args(["--net", "--mount"])
        .arg(own)
        .args(std::env::args_os().skip(1))
        .env(INSIDE, "1")
        .status();
    match status {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("unshare: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether a program can be run.
pub(crate) fn is_there(program: &str) -> bool {
    let tried = Command::new("which").arg(program).output();
    tried.is_ok_and(|output| output.status.success())
}

/// Gets `program` from the Debian package `package` if it is not there and `allowed`; says loudly if it still is not.
pub(crate) fn need(program: &str, package: &str, allowed: bool) {
    if !is_there(program) && allowed {
        let mut apt = Command::new("apt-get");
        apt.args(["install", "-y", package])
            .env("DEBIAN_FRONTEND", "noninteractive");
        let ended = apt.stdout(Stdio::null()).status();
        if !ended.is_ok_and(|status| status.success()) {
            eprintln!("failed: {apt:?}");
        }
    }
    if !is_there(program) {
        eprintln!();
        eprintln!(
            "NOT COMPARED: {program} is not here (Debian package {package}); its rows are missing."
        );
        eprintln!();
    }
}
