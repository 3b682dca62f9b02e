//! A private network and a probe under test.

use std::{
    fs::{self, File},
    io::Read as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use starling::{
    clock::Clock,
    controller::{
        self, Event, Fault, Request, Running, config::Measurement, config::OneOff,
        messages::Accepted,
    },
};
use tempfile::TempDir;
use tokio::sync::{mpsc, watch};

/// How long a test waits for something that must happen. Generous: a loaded machine is slow, not wrong.
const PATIENCE: Duration = Duration::from_secs(90);
/// How often a file is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// The measurement that all of these tests schedule: refused by the address policy, so it needs no privilege.
const MEASUREMENT: &str = "evping -4 -c 1 -A 1001 127.0.0.1";

/// A runtime for one test.
pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime can be made")
}

/// A private network inside the test, so that faults can be asked of it.
pub(crate) struct Lab {
    folder: TempDir,
    config: controller::Config,
    running: Option<(Running, watch::Sender<bool>)>,
    events: mpsc::Receiver<Event>,
    host_key: String,
    seen: Vec<Event>,
    accepted: Vec<String>,
    rejected: Vec<String>,
    missing: Vec<&'static str>,
}

impl Lab {
    /// Starts registration server and controller on free loopback ports.
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary directory can be made");
        let config = controller::Config {
            measurements: vec![Measurement {
                command: MEASUREMENT.to_owned(),
                interval: 1,
                start: 0,
                end: None,
                spread: 0,
                probes: None,
            }],
            upload: controller::config::Upload {
                interval: 2,
                spread: Some(0),
                ..controller::config::Upload::default()
            },
            ..controller::Config::loopback(folder.path().join("controller"))
        };
        let (_, events) = mpsc::channel(1);
        let mut lab = Self {
            folder,
            config,
            running: None,
            events,
            host_key: String::new(),
            seen: Vec::new(),
            accepted: Vec::new(),
            rejected: Vec::new(),
            missing: Vec::new(),
        };
        lab.start_controller().await;
        lab
    }

    /// Starts the controller (again), on the ports of the first time.
    pub(crate) async fn start_controller(&mut self) {
        let (sender, events) = mpsc::channel(10_000);
        let (stopping, shutdown) = watch::channel(false);
        let running = controller::serve(
            self.config.clone(),
            Clock::start(),
            [7; 32],
            sender,
            shutdown,
        )
        .await
        .expect("the controller starts");
        self.config.registration.listen = running.registration_addr;
        self.config.controller.listen = running.controller_addr;
        self.host_key
            .clone_from(&running.registration_host_key_line);
        self.events = events;
        self.running = Some((running, stopping));
    }

    /// Stops the controller; the probe is left alone.
    pub(crate) async fn stop_controller(&mut self) {
        let (running, stopping) = self.running.take().expect("the controller runs");
        stopping.send(true).expect("the controller listens");
        running.finished().await;
        while let Some(event) = self.events.recv().await {
            self.note(event);
        }
    }

    /// Stops everything.
    pub(crate) async fn stop(mut self) {
        if self.running.is_some() {
            self.stop_controller().await;
        }
    }

    /// Where probes register.
    pub(crate) fn registration(&self) -> SocketAddr {
        self.config.registration.listen
    }

    /// Where probes register, with the key to pin: `HOST:PORT=KEY`.
    pub(crate) fn server(&self) -> String {
        format!("{}={}", self.registration(), self.host_key)
    }

    /// Waits for an event that has not been waited for yet.
    pub(crate) async fn wait(&mut self, wanted: impl Fn(&Event) -> bool) -> Event {
        if let Some(at) = self.seen.iter().position(&wanted) {
            let event = self.seen.remove(at);
            self.seen.drain(..at);
            return event;
        }
        self.seen.clear();
        let waiting = async {
            loop {
                let event = self.events.recv().await.expect("the controller runs");
                let found = wanted(&event);
                self.take(&event);
                if found {
                    return event;
                }
            }
        };
        match tokio::time::timeout(PATIENCE, waiting).await {
            Ok(event) => event,
            Err(_) => panic!("what was waited for did not happen within {PATIENCE:?}"),
        }
    }

    /// Waits until the accepted lines satisfy `enough`.
    pub(crate) async fn wait_until(&mut self, enough: impl Fn(&[String]) -> bool) {
        let waiting = async {
            while !enough(&self.accepted) {
                let event = self.events.recv().await.expect("the controller runs");
                self.note(event);
            }
        };
        assert!(
            tokio::time::timeout(PATIENCE, waiting).await.is_ok(),
            "the accepted lines are not enough after {PATIENCE:?}"
        );
    }

    /// Waits for so many accepted results of one measurement.
    pub(crate) async fn wait_for_results(&mut self, id: &str, count: usize) {
        let head = format!("RESULT {{ \"id\":\"{id}\"");
        self.wait_until(|lines| {
            lines.iter().filter(|line| line.starts_with(&head)).count() >= count
        })
        .await;
    }

    /// Asks something of the controller.
    pub(crate) async fn request(&self, request: Request) {
        let (running, _) = self.running.as_ref().expect("the controller runs");
        running
            .handle
            .request(request)
            .await
            .expect("the request is honoured");
    }

    /// Asks the controller to go wrong.
    pub(crate) async fn fault(&self, fault: Fault) {
        self.request(Request::Fault(fault)).await;
    }

    /// Asks for a one-off measurement.
    pub(crate) async fn one_off(&self, command: &str) {
        self.request(Request::OneOff(OneOff {
            command: command.to_owned(),
            probes: None,
        }))
        .await;
    }

    /// Events that came and were not waited for.
    pub(crate) fn seen_so_far(&mut self) -> Vec<Event> {
        while let Ok(event) = self.events.try_recv() {
            self.note(event);
        }
        std::mem::take(&mut self.seen)
    }

    /// The lines accepted so far, in order.
    pub(crate) fn accepted(&self) -> &[String] {
        &self.accepted
    }

    /// The lines refused so far.
    pub(crate) fn rejected(&self) -> &[String] {
        &self.rejected
    }

    /// Status results that were missing from posts.
    pub(crate) fn missing(&self) -> &[&'static str] {
        &self.missing
    }

    fn note(&mut self, event: Event) {
        self.take(&event);
        self.seen.push(event);
    }

    fn take(&mut self, event: &Event) {
        if let Event::Posted(posted) = event {
            let lines = posted
                .accepted
                .iter()
                .map(|Accepted { line, .. }| line.clone());
            self.accepted.extend(lines);
            self.rejected
                .extend(posted.rejected.iter().map(|rejected| rejected.line.clone()));
            self.missing.extend(&posted.missing);
        }
    }
}

/// The agent under test: the real binary.
pub(crate) struct Probe {
    child: Child,
    folder: TempDir,
    server: String,
}

impl Probe {
    /// A new probe that registers with `lab`.
    pub(crate) fn start(lab: &Lab) -> Self {
        Self::start_pinning(lab, &lab.host_key)
    }

    /// A new probe that expects another host key.
    pub(crate) fn start_pinning(lab: &Lab, host_key: &str) -> Self {
        Self::start_at(&format!("{}={host_key}", lab.registration()))
    }

    /// A new probe that registers with `server`, `HOST:PORT=KEY`.
    pub(crate) fn start_at(server: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary directory can be made");
        let child = spawn(folder.path(), server);
        Self {
            child,
            folder,
            server: server.to_owned(),
        }
    }

    /// Ends the probe as a power cut would end its process, and starts it again.
    pub(crate) fn kill_and_restart(mut self, _lab: &Lab) -> Self {
        self.child.kill().expect("the probe can be killed");
        self.child.wait().expect("the probe ends");
        self.child = spawn(self.folder.path(), &self.server);
        self
    }

    /// Asks the probe to stop.
    pub(crate) fn stop(mut self) -> Stopped {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("a process id fits"));
        kill(pid, Signal::SIGTERM).expect("the probe can be signalled");
        let status = self.child.wait().expect("the probe ends");
        Stopped {
            success: status.success(),
            log: self.log(),
        }
    }

    /// The probe's log so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Waits until the log contains `text`.
    pub(crate) async fn wait_for_log(&self, text: &str) -> String {
        let waiting = async {
            loop {
                let log = self.log();
                if log.contains(text) {
                    return log;
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        match tokio::time::timeout(PATIENCE, waiting).await {
            Ok(log) => log,
            Err(_) => panic!("`{text}` is not in the log:\n{}", self.log()),
        }
    }

    /// The results of one measurement that are on the probe's disk.
    pub(crate) fn spooled_results(&self, id: &str) -> Vec<String> {
        let head = format!("RESULT {{ \"id\":\"{id}\"");
        let folder = self.folder.path().join("data/spool/results");
        let mut lines = Vec::new();
        for file in files(&folder) {
            let mut bytes = Vec::new();
            if File::open(&file)
                .and_then(|mut file| file.read_to_end(&mut bytes))
                .is_err()
            {
                continue; // Sealed under another name between listing and reading.
            }
            let text = String::from_utf8_lossy(&bytes);
            let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
            lines.extend(
                whole
                    .lines()
                    .filter(|line| line.starts_with(&head))
                    .map(str::to_owned),
            );
        }
        lines
    }

    /// Waits until so many results of one measurement are on the probe's disk.
    pub(crate) async fn wait_for_spooled_results(&self, id: &str, count: usize) {
        let waiting = async {
            while self.spooled_results(id).len() < count {
                tokio::time::sleep(LOOK).await;
            }
        };
        assert!(
            tokio::time::timeout(PATIENCE, waiting).await.is_ok(),
            "too few results on disk; the log:\n{}",
            self.log()
        );
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        // A test that failed leaves no process behind.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How a probe ended.
pub(crate) struct Stopped {
    success: bool,
    log: String,
}

impl Stopped {
    /// The log of a probe that ended well.
    pub(crate) fn expect_success(self) -> String {
        assert!(self.success, "the probe ended badly:\n{}", self.log);
        self.log
    }
}

fn spawn(folder: &Path, server: &str) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_starling"));
    command
        .args(["run", "--upload-interval", "2s", "--log-level", "debug"])
        .arg("--data-dir")
        .arg(folder.join("data"))
        .args(["--registration-server", server]);
    started(command, folder)
}

/// `starling controller` as a process of its own, so that it can be killed.
pub(crate) struct Network {
    child: Child,
    folder: TempDir,
    registration: String,
}

impl Network {
    /// Starts it on free ports.
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary directory can be made");
        let (registration, controller) = (free_port(), free_port());
        fs::write(
            folder.path().join("controller.toml"),
            format!(
                "approval = \"automatic\"\n\
                 [registration]\nlisten = \"127.0.0.1:{registration}\"\n\
                 [controller]\nlisten = \"127.0.0.1:{controller}\"\n\
                 [upload]\ninterval = 2\nspread = 0\n\
                 [[measurement]]\ncommand = \"{MEASUREMENT}\"\ninterval = 1\n"
            ),
        )
        .expect("the configuration can be written");
        let child = spawn_controller(folder.path());
        let mut network = Self {
            child,
            folder,
            registration: String::new(),
        };
        let key = network.wait_for(|network| {
            let log = fs::read_to_string(network.folder.path().join("log")).unwrap_or_default();
            log.lines()
                .find(|line| line.starts_with("ssh-rsa "))
                .map(str::to_owned)
        });
        network.registration = format!("127.0.0.1:{registration}={key}");
        network
    }

    /// Where probes register, with the key to pin.
    pub(crate) fn registration(&self) -> String {
        self.registration.clone()
    }

    /// The accepted results of one measurement.
    pub(crate) fn results(&self, id: &str) -> Vec<String> {
        let head = format!("RESULT {{ \"id\":\"{id}\"");
        fs::read_to_string(self.folder.path().join("accepted"))
            .unwrap_or_default()
            .lines()
            .filter(|line| line.starts_with(&head))
            .map(str::to_owned)
            .collect()
    }

    /// Waits for so many accepted results of one measurement.
    pub(crate) fn wait_for_results(&self, id: &str, count: usize) {
        self.wait_for(|network| (network.results(id).len() >= count).then_some(()));
    }

    /// Ends the process without a chance to say goodbye.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("the controller can be killed");
        self.child.wait().expect("the controller ends");
    }

    /// Starts it again on the same ports and data.
    pub(crate) fn restart(&mut self) {
        self.child = spawn_controller(self.folder.path());
    }

    /// Asks it to stop and checks that it ends well.
    pub(crate) fn stop(mut self) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("a process id fits"));
        kill(pid, Signal::SIGTERM).expect("the controller can be signalled");
        assert!(self.child.wait().expect("the controller ends").success());
    }

    fn wait_for<T>(&self, look: impl Fn(&Self) -> Option<T>) -> T {
        let looks = PATIENCE.as_millis() / LOOK.as_millis();
        for _ in 0..looks {
            if let Some(found) = look(self) {
                return found;
            }
            std::thread::sleep(LOOK);
        }
        let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        panic!(
            "what was waited for did not happen within {PATIENCE:?}; the controller's log:\n{log}"
        );
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn_controller(folder: &Path) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_starling"));
    command
        .args(["controller", "--config"])
        .arg(folder.join("controller.toml"))
        .arg("--data-dir")
        .arg(folder.join("data"))
        .arg("--accepted")
        .arg(folder.join("accepted"));
    started(command, folder)
}

/// Starts it in a folder, with a bare environment; what it says is added to `log` there.
fn started(mut command: Command, folder: &Path) -> Child {
    let log = File::options()
        .create(true)
        .append(true)
        .open(folder.join("log"))
        .expect("the log can be opened");
    command
        .env_clear()
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("the binary runs")
}

fn free_port() -> u16 {
    std::net::TcpListener::bind(("127.0.0.1", 0))
        .and_then(|listener| listener.local_addr())
        .expect("a port is free")
        .port()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder)
        .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
        .unwrap_or_default()
}
