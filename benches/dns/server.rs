//! Unbound on the far host: UDP, TCP, DNS over TLS and DNS over HTTPS, all from local data; and a port that listens and
//! never answers.

use std::{
    fs,
    net::{TcpStream, UdpSocket},
    process::{Child, Command, Stdio},
    time::Duration,
};

use nix::sched::{CloneFlags, setns};
use tempfile::TempDir;

use crate::{V4, V6, common::inside};

/// Ended when dropped.
pub(crate) struct Server {
    child: Child,
    _directory: TempDir,
    _silent: UdpSocket,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts it on the far host; `None` where there is none.
pub(crate) fn start() -> Option<Server> {
    if !inside::is_there("unbound") {
        return None;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().display().to_string();
    certificate(&path);
    let mut interfaces = String::new();
    for address in [V4, V6] {
        for port in [53, 853, 443] {
            interfaces += &format!(" interface: {address}@{port}\n");
        }
    }
    let configuration = format!(
        "server:\n{interfaces} tls-port: 853\n https-port: 443\n http-endpoint: \"/dns-query\"\n \
         tls-service-key: \"{path}/key.pem\"\n tls-service-pem: \"{path}/cert.pem\"\n username: \"\"\n \
         chroot: \"\"\n directory: \"{path}\"\n pidfile: \"\"\n use-syslog: no\n do-daemonize: no\n \
         module-config: \"iterator\"\n access-control: 0.0.0.0/0 allow\n access-control: ::/0 allow\n \
         num-threads: 1\n local-zone: \"bench.test\" redirect\n local-data: \"bench.test. 300 IN A 192.0.2.9\"\n \
         local-data: \"bench.test. 300 IN AAAA 2001:db8::9\"\n local-data: \"bench.test. 300 IN TXT hello\"\n\
         remote-control:\n control-enable: no\n"
    );
    let file = directory.path().join("server.conf");
    fs::write(&file, configuration).expect("a configuration");
    let child = Command::new("ip")
        .args(["netns", "exec", "far", "unbound", "-d", "-c"])
        .arg(&file)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("Unbound starts");
    for port in [53, 853, 443] {
        let up = (0..500).any(|_| {
            let up = TcpStream::connect((V4, port)).is_ok();
            if !up {
                std::thread::sleep(Duration::from_millis(20));
            }
            up
        });
        assert!(up, "Unbound does not listen on port {port}");
    }
    Some(Server {
        child,
        _directory: directory,
        _silent: silent(),
    })
}

fn certificate(path: &str) {
    let line = format!(
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=bench.test \
         -keyout {path}/key.pem -out {path}/cert.pem"
    );
    let made = Command::new("openssl")
        .args(line.split_ascii_whitespace())
        .output()
        .expect("openssl runs");
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
}

/// A socket on the far host that nobody reads from.
fn silent() -> UdpSocket {
    let file = fs::File::open("/run/netns/far").expect("the namespace is there");
    // Only that thread changes its namespace.
    let thread = std::thread::spawn(move || {
        setns(file, CloneFlags::CLONE_NEWNET).expect("root may enter");
        UdpSocket::bind((V4, 5300)).expect("the port is free")
    });
    thread.join().expect("the socket was opened")
}
