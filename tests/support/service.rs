//! The agent under test as a service: its environment, arguments and signals are the test's to choose.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;

use super::lab::Lab;

/// How long a test waits for something that must happen, and how often it looks.
const LOOKS: u32 = 900;
const LOOK: Duration = Duration::from_millis(100);

/// How a service is to be started.
pub(crate) struct Builder {
    folder: TempDir,
    server: String,
    env: Vec<(String, String)>,
    args: Vec<String>,
    before: Vec<String>,
}

/// A running service.
pub(crate) struct Service {
    child: Child,
    folder: TempDir,
}

impl Service {
    /// One that registers with `lab`.
    pub(crate) fn builder(lab: &Lab) -> Builder {
        Self::at(&lab.server())
    }

    /// One that registers with `HOST:PORT=KEY`.
    pub(crate) fn at(server: &str) -> Builder {
        Builder {
            folder: tempfile::tempdir().expect("a temporary directory can be made"),
            server: server.to_owned(),
            env: Vec::new(),
            args: Vec::new(),
            before: Vec::new(),
        }
    }

    /// Its data directory.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// A file beside the data directory.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Its process.
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).expect("a process id fits"))
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).expect("the service can be signalled");
    }

    /// Its log so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.beside("log")).unwrap_or_default()
    }

    /// Waits until the log contains `text`.
    pub(crate) fn wait_for_log(&self, text: &str) -> String {
        self.wait_for(text, || {
            let log = self.log();
            log.contains(text).then_some(log)
        })
    }

    /// Waits until `look` finds something.
    pub(crate) fn wait_for<T>(&self, what: &str, look: impl Fn() -> Option<T>) -> T {
        for _ in 0..LOOKS {
            if let Some(found) = look() {
                return found;
            }
            std::thread::sleep(LOOK);
        }
        panic!("`{what}` did not come; the log:\n{}", self.log());
    }

    /// Asks it to stop and waits.
    pub(crate) fn stop(self) -> Ended {
        self.signal(Signal::SIGTERM);
        self.wait()
    }

    /// Waits until it ends.
    pub(crate) fn wait(mut self) -> Ended {
        let status = self.child.wait().expect("the service ends");
        Ended {
            status,
            log: self.log(),
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // A test that failed leaves no process behind.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How a service ended.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) log: String,
}

impl Ended {
    /// The log of a service that ended well.
    pub(crate) fn expect_success(self) -> String {
        assert!(
            self.status.success(),
            "the service ended badly ({}):\n{}",
            self.status,
            self.log
        );
        self.log
    }
}

impl Builder {
    /// With this environment variable; all others are cleared.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With this argument.
    pub(crate) fn arg(mut self, arg: &str) -> Self {
        self.args.push(arg.to_owned());
        self
    }

    /// Started by this program.
    pub(crate) fn by(mut self, words: &[&str]) -> Self {
        self.before = words.iter().map(|word| (*word).to_owned()).collect();
        self
    }

    /// With this configuration file.
    pub(crate) fn config(self, text: &str) -> Self {
        let file = self.folder.path().join("starling.toml");
        fs::write(&file, text).expect("the configuration can be written");
        let file = file.to_str().expect("temporary paths are UTF-8").to_owned();
        self.arg("--config").arg(&file)
    }

    /// The folder that everything is in.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Starts it.
    pub(crate) fn start(self) -> Service {
        let path = self.folder.path();
        let log = File::options()
            .create(true)
            .append(true)
            .open(path.join("log"))
            .expect("the log can be opened");
        let mut words = self.before.clone();
        words.push(env!("CARGO_BIN_EXE_starling").to_owned());
        let child = Command::new(&words[0])
            .args(&words[1..])
            .args(["run", "--data-dir"])
            .arg(path.join("data"))
            .args(["--registration-server", &self.server])
            .args(&self.args)
            .env_clear()
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .current_dir(path)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the binary runs");
        Service {
            child,
            folder: self.folder,
        }
    }
}
