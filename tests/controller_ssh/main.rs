//! The controller against an independent peer: OpenSSH's client, used as the official probe uses it
//! (`controller-protocol` sections 2.1, 3.1, 3.2, 11).
//!
//! Without `ssh` and `ssh-keygen` these tests say so and pass; with `STARLING_REQUIRE_PEERS=1` they fail.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

#[path = "../support/peers.rs"]
mod peers;
mod registration;
mod session;

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::{fs::PermissionsExt, net::UnixStream},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{OnceLock, mpsc},
    thread::JoinHandle,
    time::Duration,
};

use starling::{
    clock::Clock,
    controller::{
        self, Config, ControllerHandle, Event, ProbeId, Request,
        config::{Approval, Measurement, OneOff, Probe, UnknownKeys},
        telnet::End,
    },
};
use tokio::sync::watch;

/// Far longer than anything here takes: reached only when something hangs.
const PATIENCE: Duration = Duration::from_secs(40);

const BLOCK: &str =
    "P_TO_R_INIT\nTOKEN_SPECS fluffy 1000 5120 debian/12/x86_64\nREASON_FOR_REGISTRATION NEW\n";

/// Whether the peer is there; says so loudly if not.
fn peer_is_missing() -> bool {
    !(peers::is_installed("ssh") && peers::is_installed("ssh-keygen"))
}

/// A private network that runs in a thread of its own.
struct Lab {
    dir: PathBuf,
    registration_port: u16,
    controller_port: u16,
    registration_key: String,
    controller_key: String,
    handle: ControllerHandle,
    events: mpsc::Receiver<Event>,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Lab {
    fn start(dir: &Path, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::loopback(dir.join("controller"));
        fs::create_dir_all(&config.data_dir).unwrap();
        let host_key = config.data_dir.join("host_key");
        if !host_key.exists() {
            fs::write(&host_key, host_key_text()).unwrap();
        }
        change(&mut config);
        let (stop, stopped) = watch::channel(false);
        let (started, running) = mpsc::channel();
        let (seen, events) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let (sender, mut receiver) = tokio::sync::mpsc::channel(1000);
                let running = controller::serve(config, Clock::start(), [7; 32], sender, stopped)
                    .await
                    .unwrap();
                let addresses = (running.registration_addr, running.controller_addr);
                let keys = (
                    running.registration_host_key_line.clone(),
                    running.controller_host_key_line.clone(),
                );
                started
                    .send((addresses, keys, running.handle.clone()))
                    .unwrap();
                let finished = tokio::spawn(running.finished());
                while let Some(event) = receiver.recv().await {
                    let _ = seen.send(event);
                }
                finished.await.unwrap();
            });
        });
        let (addresses, keys, handle) = running
            .recv_timeout(PATIENCE)
            .expect("the controller starts");
        Self {
            dir: dir.to_owned(),
            registration_port: addresses.0.port(),
            controller_port: addresses.1.port(),
            registration_key: keys.0,
            controller_key: keys.1,
            handle,
            events,
            stop,
            thread: Some(thread),
        }
    }

    /// The first event that is one of those looked for.
    fn wait<T>(&self, find: impl Fn(Event) -> Option<T>) -> T {
        loop {
            let event = self.events.recv_timeout(PATIENCE).expect("the event comes");
            if let Some(found) = find(event) {
                return found;
            }
        }
    }

    fn request(&self, request: Request) {
        let handle = self.handle.clone();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(handle.request(request)).unwrap();
    }

    /// OpenSSH's client with the options that the official probe gives it, on a host key pinned by its bare name.
    fn ssh(&self, key: &Path, port: u16, pinned: &str) -> Command {
        let known_hosts = self.dir.join(format!("known_hosts.{port}"));
        fs::write(&known_hosts, format!("127.0.0.1 {pinned}\n")).unwrap();
        let mut ssh = Command::new("ssh");
        ssh.args([
            "-F",
            "none",
            "-o",
            "IdentityAgent=none",
            "-o",
            "IdentitiesOnly=yes",
            "-i",
        ])
        .arg(key)
        .args([
            "-o",
            "ServerAliveInterval 60",
            "-o",
            "StrictHostKeyChecking yes",
            "-o",
        ])
        .arg(format!("UserKnownHostsFile {}", known_hosts.display()))
        .args(["-p", &port.to_string()]);
        ssh
    }

    fn register(&self, key: &Path, options: &[&str]) -> Output {
        let mut ssh = self.ssh(key, self.registration_port, &self.registration_key);
        run(ssh.args(options).args(["atlas@127.0.0.1", "INIT"]), BLOCK)
    }

    /// REMOTE_PORT and SESSION_ID.
    fn init(&self, key: &Path) -> (u16, String) {
        let mut ssh = self.ssh(key, self.controller_port, &self.controller_key);
        let output = run(ssh.args(["atlas@127.0.0.1", "INIT"]), "");
        assert_eq!(output.status.code(), Some(0));
        session_of(&text(&output.stdout))
    }

    fn keep(&self, key: &Path, remote_port: u16, telnetd: u16, uploads: &Path) -> Keep {
        let child = self
            .ssh(key, self.controller_port, &self.controller_key)
            .arg("-R")
            .arg(format!("{remote_port}:127.0.0.1:{telnetd}"))
            .arg("-L")
            .arg(format!("{}:127.0.0.1:8080", uploads.display()))
            .args(["atlas@127.0.0.1", "KEEP"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Keep(child)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = self.stop.send(true);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
            && !std::thread::panicking()
        {
            panic!("the controller panicked");
        }
    }
}

/// One host key for all tests.
fn host_key_text() -> &'static str {
    static TEXT: OnceLock<String> = OnceLock::new();
    TEXT.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        fs::read_to_string(make_key(dir.path(), "host", &["-t", "rsa", "-b", "2048"])).unwrap()
    })
}

fn make_key(dir: &Path, name: &str, kind: &[&str]) -> PathBuf {
    let path = dir.join(name);
    let made = Command::new("ssh-keygen")
        .args(["-q", "-N", "", "-f"])
        .arg(&path)
        .args(kind)
        .status();
    assert!(made.unwrap().success());
    path
}

fn ed25519(dir: &Path, name: &str) -> PathBuf {
    make_key(dir, name, &["-t", "ed25519"])
}

/// Runs to its end with this on its stdin, then EOF.
fn run(command: &mut Command, stdin: &str) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A client that fails early closes its stdin.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Port and session of `OK\nREMOTE_PORT <n>\nSESSION_ID <64 hex>\n`.
fn session_of(answer: &str) -> (u16, String) {
    let lines: Vec<&str> = answer.split('\n').collect();
    let ["OK", port, session, ""] = lines[..] else {
        panic!("not an INIT answer: {answer:?}");
    };
    let port = port.strip_prefix("REMOTE_PORT ").unwrap().parse().unwrap();
    let session = session.strip_prefix("SESSION_ID ").unwrap().to_owned();
    assert!(session.len() == 64 && session.bytes().all(|digit| digit.is_ascii_hexdigit()));
    (port, session)
}

/// The official probe's telnetd, by its transcript: one connection, all lines up to and with the empty one.
fn telnetd(session: &str) -> (u16, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let session = session.to_owned();
    let thread = std::thread::spawn(move || serve_telnet(&listener, &session));
    (port, thread)
}

fn serve_telnet(listener: &TcpListener, session: &str) -> Vec<String> {
    let (mut stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
        .write_all(b"\xff\xfd\x01\xff\xfd\x1f\xff\xfb\x01\xff\xfb\x03Atlas probe, see http://atlas.ripe.net/\r\n\r\n")
        .unwrap();
    stream
        .write_all(b"Probe 1 (probe.example) login: ")
        .unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    assert_eq!(line(&mut reader), "C_TO_P_TEST_V1");
    stream.write_all(b"\r\nPassword: ").unwrap();
    assert_eq!(line(&mut reader), session);
    let mut lines = Vec::new();
    loop {
        match line(&mut reader) {
            end if end.is_empty() => break,
            line => lines.push(line),
        }
    }
    stream.write_all(b"OK\r\n\r\n").unwrap();
    // The controller closes.
    assert_eq!(reader.read(&mut [0; 1]).unwrap(), 0);
    lines
}

fn line(reader: &mut BufReader<TcpStream>) -> String {
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    assert!(line.ends_with('\n') && !line.contains('\r'), "{line:?}");
    line.trim_end_matches('\n').to_owned()
}

/// A post as the official client makes it, and the whole answer.
fn post(uploads: &Path, probe: u32, session: &str, results: &str) -> String {
    let body = format!("P_TO_C_REPORT\n{results}\nSESSION_ID {session}\n");
    let mut stream = UnixStream::connect(uploads).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(
        stream,
        "POST /?PROBE_ID={probe}&SESSION_ID={session} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\
         User-Agent: httppost for atlas.ripe.net\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn ping(command: &str) -> Measurement {
    Measurement {
        command: command.to_owned(),
        interval: 10,
        start: 0,
        end: None,
        spread: 0,
        probes: None,
    }
}

/// A client that holds a session; ended with the test.
struct Keep(Child);

impl Keep {
    /// What it said on stdout, once it has ended by itself.
    fn ended(mut self) -> Vec<u8> {
        let mut stdout = Vec::new();
        self.0
            .stdout
            .take()
            .unwrap()
            .read_to_end(&mut stdout)
            .unwrap();
        self.0.wait().unwrap();
        stdout
    }
}

impl Drop for Keep {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
