//! Servers of others: whether they are there, and starting them on loopback.

// Each test binary uses a part of it.
#![allow(dead_code)]

use std::{
    fs,
    net::{IpAddr, TcpListener, UdpSocket},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;

/// Where programs are, servers' too, whatever the user's own search path has.
const PATH: &str = "/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin";

/// Where a program is.
pub(crate) fn path_of(program: &str) -> Option<PathBuf> {
    PATH.split(':')
        .map(|directory| Path::new(directory).join(program))
        .find(|path| path.exists())
}

/// Whether a program is there; if not, says so or fails.
pub(crate) fn is_installed(program: &str) -> bool {
    let found = path_of(program).is_some();
    if !found {
        missing(&format!("{program} is not installed"));
    }
    found
}

/// Says loudly why something is not tested, or, with `STARLING_REQUIRE_PEERS=1`, fails.
pub(crate) fn missing(why: &str) {
    assert!(
        std::env::var("STARLING_REQUIRE_PEERS").as_deref() != Ok("1"),
        "{why}, and STARLING_REQUIRE_PEERS=1"
    );
    eprintln!("SKIPPED: {why}");
}

/// A port that nothing uses, UDP nor TCP, on either loopback address.
pub(crate) fn free_port() -> u16 {
    for _ in 0..100 {
        let tcp = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = tcp.local_addr().expect("its number").port();
        let others = (
            TcpListener::bind(("::1", port)),
            UdpSocket::bind(("127.0.0.1", port)),
            UdpSocket::bind(("::1", port)),
        );
        if let (Ok(_), Ok(_), Ok(_)) = others {
            return port;
        }
    }
    panic!("no free port");
}

/// A certificate that signs itself, and its key, in these files of a directory.
pub(crate) fn certificate(directory: &Path, [key, certificate]: [&str; 2], options: &str) {
    let made = Command::new("openssl")
        .args(["req", "-x509", "-nodes", "-days", "30"])
        .args(["-keyout", key, "-out", certificate])
        .args(options.split_ascii_whitespace())
        .current_dir(directory)
        .output()
        .expect("openssl starts");
    assert!(made.status.success(), "{made:?}");
}

/// Where a server's standard error goes.
const COMPLAINTS: &str = "stderr";

/// A server of a test's own; ended when dropped.
pub(crate) struct Daemon {
    child: Child,
    program: String,
    /// What it reads and writes.
    pub(crate) directory: TempDir,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // NSD has children of its own that end with it on SIGTERM only.
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).expect("a process id"));
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let _ = self.child.wait();
    }
}

impl Daemon {
    /// Starts a server that stays in the foreground.
    pub(crate) fn start(command: &mut Command, directory: TempDir) -> Self {
        let log = directory.path().join(COMPLAINTS);
        let child = command
            .env("PATH", PATH)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(log).expect("a log"))
            .spawn();
        let program = command.get_program().to_string_lossy().into_owned();
        Self {
            child: child.unwrap_or_else(|error| panic!("{program}: {error}")),
            program,
            directory,
        }
    }

    /// A file of its directory; empty if there is none.
    pub(crate) fn file(&self, name: &str) -> String {
        fs::read_to_string(self.directory.path().join(name)).unwrap_or_default()
    }

    /// Waits until it answers; false if it ended instead.
    pub(crate) fn comes_up(&mut self, answers: impl Fn() -> bool) -> bool {
        for _ in 0..500 {
            if self.child.try_wait().expect("its status").is_some() {
                return false;
            }
            if answers() {
                return true;
            }
            // It is still starting, and there is nothing to wait on.
            std::thread::park_timeout(Duration::from_millis(20));
        }
        panic!(
            "{} does not answer: {}",
            self.program,
            self.file(COMPLAINTS)
        );
    }

    /// Waits until it answers, which it must.
    pub(crate) fn wait_until(&mut self, answers: impl Fn() -> bool) {
        let up = self.comes_up(answers);
        assert!(up, "{} ended: {}", self.program, self.file(COMPLAINTS));
    }
}

/// Whether a server answers this datagram on an address of loopback.
pub(crate) fn answers_datagram(server: IpAddr, port: u16, query: &[u8]) -> bool {
    let any = if server.is_ipv4() {
        "127.0.0.1:0"
    } else {
        "[::1]:0"
    };
    let socket = UdpSocket::bind(any).expect("a socket");
    socket.connect((server, port)).expect("loopback");
    let patience = Some(Duration::from_millis(100));
    socket.set_read_timeout(patience).expect("a timeout");
    // Refused while nobody listens, which returns at once.
    socket
        .send(query)
        .and_then(|_| socket.recv(&mut [0; 512]))
        .is_ok()
}
