//! Runs of the binary, and what they say.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Output, Stdio},
};

const BINARY: &str = env!("CARGO_BIN_EXE_starling");

pub(crate) fn command(line: &str) -> Command {
    let mut command = Command::new(BINARY);
    command
        .arg("measure")
        .args(line.split_ascii_whitespace())
        .env_clear();
    command
}

/// What a run of `starling measure LINE` said, with its exit code.
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    pub(crate) fn of(output: &Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Ended with this code, and had nothing to say but data.
    pub(crate) fn ended(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "{}{}", self.out, self.err);
        assert_eq!(self.err, "", "{}", self.out);
        assert!(!self.out.contains('\x1b'), "{:?}", self.out);
        self.out
    }

    /// Measured in vain, and said once what can be done about it.
    pub(crate) fn advised(self, words: &str) -> String {
        assert_eq!(self.code, Some(1), "{}{}", self.out, self.err);
        assert_eq!(self.err.lines().count(), 1, "{}", self.err);
        assert!(self.err.contains(words), "{}", self.err);
        self.out
    }
}

pub(crate) fn measure(line: &str) -> Said {
    Said::of(&command(line).output().expect("the binary runs"))
}

/// Without the privilege to open raw sockets.
pub(crate) fn unprivileged(line: &str) -> Said {
    let output = Command::new("setpriv")
        .args([
            "--inh-caps=-all",
            "--bounding-set=-net_raw",
            BINARY,
            "measure",
        ])
        .args(line.split_ascii_whitespace())
        .output()
        .expect("setpriv of util-linux");
    Said::of(&output)
}

#[expect(
    clippy::zombie_processes,
    reason = "the caller waits; a failing test ends the process"
)]
/// A run in progress, and what it has said so far: lines up to one that begins so.
pub(crate) fn begin(
    line: &str,
    until: &str,
) -> (Child, BufReader<std::process::ChildStdout>, String) {
    let mut child = command(line)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let mut out = BufReader::new(child.stdout.take().expect("it is piped"));
    let mut said = String::new();
    loop {
        let mut line = String::new();
        let length = out.read_line(&mut line).expect("it can be read");
        assert!(length > 0, "no line `{until}`: {said}");
        said += &line;
        if line.starts_with(until) {
            return (child, out, said);
        }
    }
}
