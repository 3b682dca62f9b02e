//! The controller's process: `starling controller` itself, or the same code in a process that can be asked to go wrong.

use std::{
    fs::{self, File},
    io::{BufRead as _, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    time::Duration,
};

use starling::{
    clock::Clock,
    controller::{
        self, Fault, Request,
        config::OneOff,
        messages::{ExecFault, PostFault},
    },
};
use tokio::sync::{mpsc, watch};

use super::{LOOK, PATIENCE};

/// Set in the process that is a controller with faults; its value is the configuration file.
pub(crate) const CHILD: &str = "STARLING_FAULTS_CONTROLLER";

/// A controller that can be killed and started again on the same ports and data.
pub(crate) struct Network {
    folder: PathBuf,
    child: Option<Child>,
    orders: Option<ChildStdin>,
    /// The host key to pin.
    pub(crate) host_key: String,
}

/// What distinguishes one network from another.
pub(crate) struct Plan<'a> {
    pub(crate) folder: &'a Path,
    /// Where registration server and controller listen, and where probes are told that the controller is.
    pub(crate) ports: [u16; 3],
    pub(crate) host_key: &'a Path,
    pub(crate) commands: &'a [String],
    /// Seconds between uploads.
    pub(crate) upload: u32,
}

impl Network {
    pub(crate) fn start(plan: &Plan<'_>) -> Self {
        fs::create_dir_all(plan.folder).expect("the folder can be made");
        let mut network = Self {
            folder: plan.folder.to_owned(),
            child: None,
            orders: None,
            host_key: String::new(),
        };
        network.configure(plan);
        network.restart(true);
        let log = network.folder.join("log");
        network.host_key = super::wait("the controller's host key", || {
            let log = fs::read_to_string(&log).unwrap_or_default();
            let line = log.lines().find(|line| line.starts_with("ssh-rsa "));
            line.map(str::to_owned)
        })
        .unwrap_or_else(|error| panic!("{error}:\n{}", network.log()));
        network
    }

    /// Writes the configuration; it is in force from the next start on.
    pub(crate) fn configure(&self, plan: &Plan<'_>) {
        let [registration, controller, advertised] = plan.ports;
        let key = plan.host_key.display();
        let mut text = format!(
            "approval = \"automatic\"\ndata_dir = \"{}\"\n\
             [registration]\nlisten = \"127.0.0.1:{registration}\"\nhost_key = \"{key}\"\n\
             [controller]\nlisten = \"127.0.0.1:{controller}\"\nhost_key = \"{key}\"\nadvertise_port = {advertised}\n\
             [upload]\ninterval = {}\nspread = 0\n\
             [limits]\nremembered_lines = 0\n",
            self.folder.join("data").display(),
            plan.upload,
        );
        for command in plan.commands {
            text += &format!("[[measurement]]\ncommand = \"{command}\"\ninterval = 1\n");
        }
        fs::write(self.folder.join("controller.toml"), text).expect("the folder is ours");
    }

    /// Starts it: the program itself, or (`faulty`) the process that takes orders.
    pub(crate) fn restart(&mut self, faulty: bool) {
        self.kill();
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.folder.join("log"))
            .expect("the log can be opened");
        let config = self.folder.join("controller.toml");
        let mut command = if faulty {
            let mut command = Command::new(std::env::current_exe().expect("we run"));
            command.env(CHILD, &config).stdin(Stdio::piped());
            command
        } else {
            let mut command = Command::new(env!("CARGO_BIN_EXE_starling"));
            command.args(["controller", "--config"]).arg(&config);
            command.stdin(Stdio::null());
            command
        };
        let mut child = command
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the binary runs");
        self.orders = child.stdin.take();
        self.child = Some(child);
    }

    /// Asks the process that takes orders to go wrong; `false` where there is none.
    pub(crate) fn order(&mut self, order: &str) -> bool {
        let Some(orders) = &mut self.orders else {
            return false;
        };
        // It may have been killed.
        writeln!(orders, "{order}").is_ok()
    }

    /// Ends it without a chance to say goodbye.
    pub(crate) fn kill(&mut self) {
        self.orders = None;
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Every line that was ever stored, in order: duplicates are stored as well.
    pub(crate) fn stored(&self) -> Vec<String> {
        #[derive(serde::Deserialize)]
        struct Row {
            line: String,
        }
        let mut files: Vec<PathBuf> = fs::read_dir(self.folder.join("data"))
            .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
            .unwrap_or_default();
        files.retain(|path| path.extension().is_some_and(|kind| kind == "ndjson"));
        files.sort();
        let texts = files
            .iter()
            .map(|path| fs::read_to_string(path).unwrap_or_default());
        let text: String = texts.collect();
        text.lines()
            .filter_map(|row| serde_json::from_str::<Row>(row).ok())
            .map(|row| row.line)
            .collect()
    }

    /// Bytes of results stored.
    pub(crate) fn size(&self) -> u64 {
        let entries = fs::read_dir(self.folder.join("data"));
        entries.map_or(0, |entries| {
            let sizes = entries.flatten().filter_map(|entry| entry.metadata().ok());
            sizes.map(|data| data.len()).sum()
        })
    }

    /// How many lines it refused, by its own log.
    pub(crate) fn rejected(&self) -> usize {
        let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        let counts = log.split("rejected=").skip(1);
        counts
            .filter(|rest| rest.split_ascii_whitespace().next() != Some("0"))
            .count()
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The process that takes orders: `starling controller` with a hand on its faults.
pub(crate) fn serve(config: &Path) {
    let text = fs::read_to_string(config).expect("the bench wrote a configuration");
    let config: controller::Config = toml::from_str(&text).expect("the bench wrote a good one");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime can be made");
    runtime.block_on(async {
        let (sender, mut events) = mpsc::channel(1000);
        let (stopping, shutdown) = watch::channel(false);
        let running = controller::serve(config, Clock::start(), chance(), sender, shutdown)
            .await
            .expect("the controller starts");
        eprintln!("host key:\n{}", running.registration_host_key_line);
        let (lines, mut orders) = mpsc::channel(100);
        std::thread::spawn(move || {
            for line in std::io::stdin().lock().lines().map_while(Result::ok) {
                let _ = lines.blocking_send(line);
            }
        });
        let mut probe = None;
        loop {
            tokio::select! {
                Some(event) = events.recv() => {
                    if let controller::Event::Kept { probe: id, .. } = &event {
                        probe = Some(*id);
                    }
                    if let controller::Event::Posted(posted) = &event {
                        eprintln!("posted rejected={} ", posted.rejected.len() + posted.unshown);
                    }
                }
                order = orders.recv() => {
                    let Some(order) = order else { break };
                    for request in requests(&order, probe) {
                        // One that is away cannot be kicked.
                        let done = running.handle.request(request).await;
                        eprintln!("order {order}: {done:?}");
                    }
                }
            }
        }
        let _ = stopping.send(true);
        let _ = tokio::time::timeout(Duration::from_secs(5), running.finished()).await;
    });
}

/// What an order asks for.
fn requests(order: &str, probe: Option<controller::ProbeId>) -> Vec<Request> {
    let (what, rest) = order.split_once(' ').unwrap_or((order, ""));
    let posts = |fault| {
        Request::Fault(Fault::Posts {
            probe: None,
            count: 1,
            fault,
        })
    };
    let both = |fault: ExecFault| {
        let count = 1;
        vec![
            Request::Fault(Fault::Registrations {
                count,
                fault: fault.clone(),
            }),
            Request::Fault(Fault::Inits { count, fault }),
        ]
    };
    match what {
        "one-off" => vec![Request::OneOff(OneOff {
            command: rest.to_owned(),
            probes: None,
        })],
        "status" => vec![posts(PostFault::Status(rest.parse().unwrap_or(500)))],
        "too-many" => vec![posts(PostFault::TooMany {
            retry_after: rest.parse().ok(),
        })],
        "hang" => vec![posts(PostFault::Hang)],
        "close" => vec![posts(PostFault::Close)],
        "lose-answer" => vec![posts(PostFault::LoseAnswer)],
        "wrong-body" => vec![posts(PostFault::WrongBody)],
        "no-line-feed" => vec![posts(PostFault::NoLineFeed)],
        "chunked" => vec![posts(PostFault::Chunked)],
        "date-off" => vec![posts(PostFault::DateOff(rest.parse().unwrap_or(3600)))],
        "delay" => vec![posts(PostFault::Delay(Duration::from_millis(
            rest.parse().unwrap_or(1500),
        )))],
        "exec-wait" => both(ExecFault::Wait(100)),
        "exec-refused" => both(ExecFault::Refused("no room".to_owned())),
        "exec-plain" => both(ExecFault::PlainOk),
        "exec-silent" => both(ExecFault::Silent),
        "exec-status" => both(ExecFault::Status(1)),
        "exec-garbage" => both(ExecFault::Text(
            "OK\nCONTROLLER \u{1}\u{7f}é 99999999 x\nSESSION_ID zz\nREMOTE_PORT -1\n".to_owned(),
        )),
        "logins" => vec![Request::Fault(Fault::Logins { count: 1 })],
        "kick" => probe.map(Request::Kick).into_iter().collect(),
        "drop" => probe.map(Request::Drop).into_iter().collect(),
        "over" => vec![Request::Fault(Fault::Over)],
        _ => Vec::new(),
    }
}

#[expect(clippy::disallowed_methods, reason = "keys of a network of tests")]
fn chance() -> [u8; 32] {
    rand::random()
}

/// Waits until `look` finds something.
pub(crate) fn wait<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> Result<T, String> {
    for _ in 0..PATIENCE.as_millis() / LOOK.as_millis() {
        if let Some(found) = look() {
            return Ok(found);
        }
        std::thread::sleep(LOOK);
    }
    Err(format!("{what} did not come within {PATIENCE:?}"))
}
