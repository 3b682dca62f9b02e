//! The agent's process: `starling run`, killed, stopped and started again on the same data.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{shim::Shim, targets::now};

/// What an agent is started with.
#[derive(Clone, Debug)]
pub(crate) struct Agent {
    /// Where log and configuration lie.
    pub(crate) folder: PathBuf,
    /// Where its data lies: another file system, perhaps.
    pub(crate) data: PathBuf,
    /// `HOST:PORT=KEY`.
    pub(crate) server: String,
    pub(crate) shim: Option<Shim>,
    /// Started by this program.
    pub(crate) by: Vec<String>,
    /// The configuration file.
    pub(crate) config: String,
}

/// One that runs.
pub(crate) struct Running {
    child: Child,
}

impl Agent {
    pub(crate) fn new(folder: &Path, server: String) -> Self {
        fs::create_dir_all(folder).expect("the folder can be made");
        Self {
            folder: folder.to_owned(),
            data: folder.join("data"),
            server,
            shim: None,
            by: Vec::new(),
            config: "[spool]\nsync_interval = \"5s\"\n".to_owned(),
        }
    }

    pub(crate) fn start(&self) -> Running {
        let config = self.folder.join("starling.toml");
        fs::write(&config, &self.config).expect("the folder is ours");
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.folder.join("log"))
            .expect("the log can be opened");
        let mut words = self.by.clone();
        words.push(env!("CARGO_BIN_EXE_starling").to_owned());
        let mut command = Command::new(&words[0]);
        command
            .args(&words[1..])
            .args(["run", "--allow-any-address", "--upload-interval", "1s"])
            .args(["--log-level", "debug"])
            .arg("--config")
            .arg(&config)
            .arg("--data-dir")
            .arg(&self.data)
            .args(["--registration-server", &self.server])
            .env_clear()
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        if let Some(shim) = &self.shim {
            command
                .env("LD_PRELOAD", &shim.library)
                .env("STARLING_SHIM", &shim.orders);
        }
        let child = command.spawn().expect("the binary runs");
        Running { child }
    }

    pub(crate) fn log(&self) -> String {
        let log = fs::read(self.folder.join("log")).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// The last lines of the log that are worth an alert.
    pub(crate) fn complaints(&self) -> String {
        let log = self.log();
        let lines = log
            .lines()
            .filter(|line| line.contains("WARN") || line.contains("ERROR"));
        let mut lines: Vec<&str> = lines.rev().take(20).collect();
        lines.reverse();
        lines.join("\n")
    }
}

impl Running {
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).expect("a process id fits"))
    }

    pub(crate) fn signal(&self, signal: Signal) {
        // It may have ended by itself, which whoever waits for it will say.
        let _ = kill(self.pid(), signal);
    }

    /// Ends it as `kill -9` does; when it was dead.
    pub(crate) fn kill(mut self) -> Instant {
        let _ = self.child.kill();
        let _ = self.child.wait();
        now()
    }

    /// Asks it to stop and waits; how it ended, and how long that took.
    pub(crate) fn stop(self, signal: Signal) -> (ExitStatus, Duration) {
        self.signal(signal);
        self.wait()
    }

    /// Waits for its end.
    pub(crate) fn wait(mut self) -> (ExitStatus, Duration) {
        let asked = now();
        let status = self.child.wait().expect("it is our child");
        (status, now().duration_since(asked))
    }

    /// Whether it ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|status| status.is_some())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
