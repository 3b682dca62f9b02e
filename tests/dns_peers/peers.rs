//! Starting real servers.

use std::{
    fs,
    net::{TcpListener, UdpSocket},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;

/// A server of this test's own; ended when dropped.
pub(crate) struct Daemon {
    child: Child,
    pub(crate) port: u16,
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

/// Whether a program is there; if not, says so or fails.
pub(crate) fn is_installed(program: &str) -> bool {
    let directories = ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"];
    let found = directories
        .iter()
        .any(|directory| Path::new(directory).join(program).exists());
    if !found {
        let required = std::env::var("STARLING_REQUIRE_PEERS").is_ok_and(|value| value == "1");
        assert!(
            !required,
            "{program} is not installed and STARLING_REQUIRE_PEERS=1"
        );
        eprintln!("SKIPPED: {program} is not installed");
    }
    found
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

/// Starts `program` with `configuration` in a directory of its own and waits until it answers on `port`.
pub(crate) fn start(
    program: &str,
    arguments: &[&str],
    directory: TempDir,
    port: u16,
    configuration: &str,
) -> Daemon {
    let file = directory.path().join("server.conf");
    fs::write(&file, configuration).expect("a configuration");
    let child = Command::new(program)
        .args(arguments)
        .arg("-c")
        .arg(&file)
        .env("PATH", "/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(fs::File::create(directory.path().join("log")).expect("a log"))
        .spawn()
        .expect("the server starts");
    let mut daemon = Daemon {
        child,
        port,
        directory,
    };
    for server in ["127.0.0.1", "::1"] {
        wait_for(&mut daemon, server, program);
    }
    daemon
}

/// Asks until there is an answer.
fn wait_for(daemon: &mut Daemon, server: &str, program: &str) {
    let socket = UdpSocket::bind((server, 0)).expect("a socket");
    socket.connect((server, daemon.port)).expect("loopback");
    socket
        .set_read_timeout(Some(Duration::from_millis(100)))
        .expect("a timeout");
    let query = b"\x12\x34\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x06\x00\x01";
    for _ in 0..200 {
        let status = daemon.child.try_wait().expect("its status");
        let log = daemon.directory.path().join("log");
        let said = || fs::read_to_string(&log).unwrap_or_default();
        assert!(status.is_none(), "{program} ended: {status:?}\n{}", said());
        // Refused while nobody listens, which returns at once.
        let mut reply = [0; 512];
        match socket.send(query).and_then(|_| socket.recv(&mut reply)) {
            Ok(_) => return,
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
                // It is still starting, and there is nothing to wait on.
                std::thread::park_timeout(Duration::from_millis(20));
            }
            Err(_) => {}
        }
    }
    panic!("{program} does not answer on {server} port {}", daemon.port);
}
