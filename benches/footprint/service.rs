//! A private network of real processes: one controller, one agent.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader},
    os::unix::net::UnixDatagram,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::Options;

/// How long anything may take that must happen.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the controller hands out: the lines of its configuration.
pub(crate) struct Jobs {
    periodic: Vec<(String, u64, u32)>,
    one_offs: Vec<String>,
}

impl Jobs {
    pub(crate) fn none() -> Self {
        Self {
            periodic: Vec::new(),
            one_offs: Vec::new(),
        }
    }

    /// What a well-used probe has: built-in measurements of all sorts, every four to thirty minutes.
    pub(crate) fn thousand() -> Self {
        let periodic = (0..1_000_u64).map(|number| {
            let target = target(number);
            let id = 10_000 + number;
            match number % 10 {
                0..6 => (format!("evping -4 -c 3 -A {id} {target}"), 240, 120),
                6..9 => (
                    format!("evtraceroute -4 -I -c 3 -A {id} {target}"),
                    900,
                    450,
                ),
                _ => (
                    format!("evtdig -4 --type 16 --class 1 --query example.org -A {id} {target}"),
                    1_800,
                    900,
                ),
            }
        });
        Self {
            periodic: periodic.collect(),
            one_offs: Vec::new(),
        }
    }

    /// `count` pings, each every `interval` seconds, beside long traceroutes into a black hole and one-offs.
    pub(crate) fn crowd(count: u64, interval: u64) -> Self {
        let pings = (0..count).map(|number| {
            let ping = format!("evping -4 -c 3 -A {} {}", 10_000 + number, target(number));
            (ping, interval, u32::try_from(interval - 1).unwrap_or(0))
        });
        let long = (0..40).map(|number| {
            let long = format!("evtraceroute -4 -U -c 3 -A {} 203.0.113.2", 20_000 + number);
            (long, 60, 30)
        });
        Self {
            periodic: pings.chain(long).collect(),
            one_offs: (0..40)
                .map(|number| format!("evtraceroute -4 -I -c 3 -A {} 203.0.113.2", 30_000 + number))
                .collect(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.periodic.is_empty()
    }

    fn toml(&self) -> String {
        let periodic = self.periodic.iter().enumerate();
        let periodic = periodic.map(|(number, (command, interval, spread))| {
            // Phases of their own, so that every minute is like the others.
            let start = u64::try_from(number).unwrap_or(0) * 7 % interval;
            format!(
                "[[measurement]]\ncommand = \"{command}\"\ninterval = {interval}\nstart = {start}\nspread = {spread}\n"
            )
        });
        let one_offs = self
            .one_offs
            .iter()
            .map(|command| format!("[[one_off]]\ncommand = \"{command}\"\n"));
        periodic.chain(one_offs).collect()
    }
}

/// One of many addresses of the far host.
fn target(number: u64) -> String {
    format!("10.0.{}.{}", 1 + number / 250, 1 + number % 250)
}

/// A running controller.
pub(crate) struct Network {
    folder: PathBuf,
    binary: PathBuf,
    server: String,
    child: Child,
}

impl Network {
    pub(crate) fn start(options: &Options, jobs: &Jobs) -> Self {
        let folder = std::env::temp_dir().join(format!("starling-bench-{}", std::process::id()));
        // What an earlier part left.
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        let accepted = folder.join("accepted");
        let config = folder.join("controller.toml");
        let text = format!(
            "approval = \"automatic\"\naccepted = {accepted:?}\ndata_dir = {:?}\n\
             [registration]\nlisten = \"127.0.0.1:0\"\n[controller]\nlisten = \"127.0.0.1:0\"\n\
             [upload]\ninterval = 60\nspread = 0\n{}",
            folder.join("controller"),
            jobs.toml()
        );
        fs::write(&config, text).unwrap();
        let mut child = Command::new(&options.binary)
            .arg("controller")
            .arg("--config")
            .arg(&config)
            .env_clear()
            .env("STARLING_LOG", "error")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the controller starts");
        let mut lines = BufReader::new(child.stderr.take().expect("it is piped")).lines();
        let mut said = || {
            lines
                .next()
                .expect("the controller says where it is")
                .unwrap()
        };
        let place = said();
        let address = place
            .strip_prefix("registration server on ")
            .and_then(|rest| rest.strip_suffix(", host key:"))
            .unwrap_or_else(|| panic!("the controller says {place:?}"));
        let server = format!("{address}={}", said());
        // Somebody must read what it goes on to say.
        std::thread::spawn(move || lines.for_each(drop));
        Self {
            folder,
            binary: options.binary.clone(),
            server,
            child,
        }
    }

    /// Starts an agent with its state of last time.
    pub(crate) fn agent(&self, more: &[&str]) -> Agent {
        let socket = self.folder.join("notify");
        let _ = fs::remove_file(&socket);
        let manager = UnixDatagram::bind(&socket).unwrap();
        manager.set_read_timeout(Some(PATIENCE)).unwrap();
        let log = self.folder.join("agent.log");
        let begin = Instant::now();
        let child = Command::new(&self.binary)
            .args(["run", "--allow-any-address", "--data-dir"])
            .arg(self.folder.join("agent"))
            .args(["--registration-server", &self.server])
            .args(more)
            .env_clear()
            .env("NOTIFY_SOCKET", &socket)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .expect("the agent starts");
        Agent {
            child,
            manager,
            begin,
            log,
        }
    }

    /// How many results the controller has accepted.
    pub(crate) fn accepted(&self) -> usize {
        fs::read_to_string(self.folder.join("accepted")).map_or(0, |text| text.lines().count())
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A running agent.
pub(crate) struct Agent {
    child: Child,
    manager: UnixDatagram,
    begin: Instant,
    log: PathBuf,
}

impl Agent {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// From the start of the process until it told its service manager that it serves.
    pub(crate) fn ready(&self) -> Duration {
        self.told("READY=1")
    }

    /// From the start of the process until its session stood.
    pub(crate) fn connected(&self) -> Duration {
        self.told("STATUS=connected")
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn told(&self, wanted: &str) -> Duration {
        let mut buffer = [0; 4096];
        loop {
            let length = self
                .manager
                .recv(&mut buffer)
                .unwrap_or_else(|error| panic!("no {wanted} ({error}):\n{}", self.log()));
            if buffer[..length].starts_with(wanted.as_bytes()) {
                return self.begin.elapsed();
            }
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
