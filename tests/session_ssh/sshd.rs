//! OpenSSH's server as registration server and controller: a shell script behind a forced command.

use crate::peers;
use starling::{
    key::{HostKey, ProbeKey},
    session::{RegistrationServer, SessionEvent},
};
use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};
use tokio::{sync::mpsc, time::timeout};

/// Set inside the namespaces.
const INSIDE: &str = "STARLING_TEST_INSIDE_SSHD";

/// Runs the ignored tests of this binary again in namespaces of their own, and fails if one fails.
pub(crate) fn run_inside() {
    if !peers::is_installed("sshd") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let passwd = dir.path().join("passwd");
    fs::write(
        &passwd,
        "root:x:0:0::/:/bin/sh\natlas:x:1000:1000::/:/bin/sh\n",
    )
    .unwrap();
    let setup = format!(
        "ip link set lo up && mount --bind {} /etc/passwd || exit 97; exec \"$0\" \"$@\"",
        passwd.display()
    );
    let status = Command::new("unshare")
        .args([
            "--user",
            "--map-root-user",
            "--net",
            // Ends whatever a test leaves waiting once the tests have ended.
            "--pid",
            "--fork",
            "--kill-child",
            "--mount",
            "sh",
            "-c",
            &setup,
        ])
        .arg(std::env::current_exe().unwrap())
        .args(["--ignored", "--test-threads=1"])
        .env(INSIDE, "1")
        .status();
    match status {
        Ok(status) if status.success() => {}
        // 101 is how a test binary fails; anything else is the namespaces' fault.
        Ok(status) if status.code() == Some(101) => {
            panic!("a test inside the namespaces failed: see above")
        }
        other => peers::missing(&format!(
            "user, network and mount namespaces cannot be made here ({other:?})"
        )),
    }
}

/// A directory to work in, if this runs inside the namespaces.
pub(crate) fn inside() -> Option<tempfile::TempDir> {
    if std::env::var_os(INSIDE).is_none() {
        eprintln!("this test runs as part of `our_client_against_openssh_s_server`");
        return None;
    }
    Some(tempfile::tempdir().unwrap())
}

/// What the server answers.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    /// To a registration.
    pub(crate) registration: String,
    /// To a controller INIT.
    pub(crate) init: String,
    /// The exit status of either; with another than 0 comes a word on stderr.
    pub(crate) status: u8,
}

impl Script {
    /// Everything in order; `{rsa}` stands for the server's own host key.
    pub(crate) fn working(port: u16, remote_port: u16, session_id: &str) -> Self {
        Self {
            registration: format!(
                "OK\nCONTROLLER 127.0.0.1 {port} {{rsa}}\nREREGISTER 3000\nPROBE_ID 1015186\n"
            ),
            init: format!("OK\nREMOTE_PORT {remote_port}\nSESSION_ID {session_id}\n"),
            status: 0,
        }
    }
}

/// A running server.
pub(crate) struct Peer {
    pub(crate) dir: PathBuf,
    pub(crate) rsa: HostKey,
    pub(crate) ed25519: HostKey,
    port: u16,
    process: Child,
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Peer {
    /// Starts a server on the port that lets `key` in as `atlas`, and waits until it listens.
    pub(crate) fn start(dir: &Path, port: u16, key: &ProbeKey, script: &Script) -> Self {
        let dir = dir.join(format!("sshd-{port}"));
        fs::create_dir(&dir).unwrap();
        keygen(&dir.join("rsa"), &["-t", "rsa", "-b", "2048"]);
        keygen(&dir.join("ed25519"), &["-t", "ed25519"]);
        let (rsa, ed25519) = (public(&dir.join("rsa")), public(&dir.join("ed25519")));
        fs::write(dir.join("authorized_keys"), key.public_line() + "\n").unwrap();
        fs::write(
            dir.join("registration-answer"),
            script.registration.replace("{rsa}", &rsa.to_string()),
        )
        .unwrap();
        fs::write(dir.join("init-answer"), &script.init).unwrap();
        let made = Command::new("mkfifo")
            .arg(dir.join("keep"))
            .status()
            .unwrap();
        assert!(made.success());
        write_script(&dir, script.status);
        fs::write(dir.join("config"), config(&dir, port)).unwrap();
        // Inside, we look like root, for whom the server wants accounts that do not exist here: so not root.
        let mut process = Command::new("unshare")
            .args(["--user", "--map-user=1000", "--map-group=1000"])
            .arg(peers::path_of("sshd").unwrap())
            .args(["-D", "-e", "-f"])
            .arg(dir.join("config"))
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        await_listening(BufReader::new(process.stderr.take().unwrap()));
        Self {
            dir,
            rsa,
            ed25519,
            port,
            process,
        }
    }

    /// As a registration server, under this name and with this key pinned.
    pub(crate) fn server(&self, host: &str, host_key: &HostKey) -> RegistrationServer {
        RegistrationServer {
            host: host.into(),
            port: self.port,
            host_key: Some(host_key.clone()),
        }
    }

    /// Makes the running KEEP write a byte (`kick`) or end (`drop`).
    pub(crate) async fn tell_keep(&self, word: &str) {
        let (fifo, word) = (self.dir.join("keep"), format!("{word}\n"));
        // Opening waits for the script, which waits for our client: so not on its thread.
        let told = tokio::task::spawn_blocking(move || fs::write(fifo, word));
        told.await.unwrap().unwrap();
    }
}

/// Reads the server's log until it says that it listens; the rest is read so that it never waits for us.
fn await_listening(mut log: BufReader<std::process::ChildStderr>) {
    let mut said = String::new();
    while !said.contains("Server listening on") {
        let more = log.read_line(&mut said).unwrap();
        assert!(more > 0, "sshd ended:\n{said}");
    }
    std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
}

fn write_script(dir: &Path, status: u8) {
    let script = dir.join("script");
    let text = format!(
        r#"#!/bin/sh
cd {dir} || exit 99
case "$SSH_ORIGINAL_COMMAND" in
INIT)
    cat > stdin.$$
    if [ -s stdin.$$ ]; then mv stdin.$$ registration; cat registration-answer; else cat init-answer; fi
    [ {status} = 0 ] || echo as told >&2
    exit {status};;
KEEP)
    cat > /dev/null
    read -r word < keep
    [ "$word" = drop ] && exit 0
    printf x
    read -r word < keep;;
*) exit 98;;
esac
"#,
        dir = dir.display()
    );
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
}

/// As registration servers are: one key exchange that few libraries have, RSA and Ed25519 host keys.
fn config(dir: &Path, port: u16) -> String {
    let dir = dir.display();
    format!(
        "ListenAddress 127.0.0.1:{port}
HostKey {dir}/rsa
HostKey {dir}/ed25519
KexAlgorithms diffie-hellman-group-exchange-sha256
AuthorizedKeysFile {dir}/authorized_keys
ForceCommand {dir}/script
PasswordAuthentication no
KbdInteractiveAuthentication no
AllowTcpForwarding yes
StrictModes no
UsePAM no
PidFile none
LogLevel VERBOSE
"
    )
}

/// Makes a key without a passphrase with OpenSSH's own tool.
pub(crate) fn keygen(path: &Path, options: &[&str]) {
    let made = Command::new("ssh-keygen")
        .args(["-q", "-N", "", "-f"])
        .arg(path)
        .args(options)
        .status()
        .unwrap();
    assert!(made.success());
}

/// The public half of a key that OpenSSH made.
pub(crate) fn public(path: &Path) -> HostKey {
    fs::read_to_string(path.with_extension("pub"))
        .unwrap()
        .parse()
        .unwrap()
}

/// Every event up to and with the first that `wanted` takes.
pub(crate) async fn until<T>(
    events: &mut mpsc::Receiver<SessionEvent>,
    limit: Duration,
    wanted: impl Fn(&SessionEvent) -> Option<T>,
) -> (Vec<SessionEvent>, T) {
    let mut seen = Vec::new();
    loop {
        let event = match timeout(limit, events.recv()).await {
            Ok(Some(event)) => event,
            Ok(None) => panic!("the session ended; so far: {seen:#?}"),
            Err(_) => panic!("nothing more in {limit:?}; so far: {seen:#?}"),
        };
        let found = wanted(&event);
        seen.push(event);
        if let Some(found) = found {
            return (seen, found);
        }
    }
}
