//! Unbound on the far host: UDP, TCP, DNS over TLS and DNS over HTTPS, all from local data; and a port that listens and
//! never answers.

use std::{
    fs,
    net::{TcpStream, UdpSocket},
    process::Command,
};

use nix::sched::{CloneFlags, setns};

use crate::{
    V4, V6,
    common::inside,
    peers::{self, Daemon},
};

/// Ended when dropped.
pub(crate) struct Server {
    _daemon: Daemon,
    _silent: UdpSocket,
}

/// Starts it on the far host; `None` where there is none.
pub(crate) fn start() -> Option<Server> {
    if !inside::is_there("unbound") {
        return None;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().display().to_string();
    peers::certificate(
        directory.path(),
        ["key.pem", "cert.pem"],
        "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -subj /CN=bench.test",
    );
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
    let mut command = Command::new("ip");
    command
        .args(["netns", "exec", "far", "unbound", "-d", "-c"])
        .arg(&file);
    let mut daemon = Daemon::start(&mut command, directory);
    for port in [53, 853, 443] {
        daemon.wait_until(|| TcpStream::connect((V4, port)).is_ok());
    }
    Some(Server {
        _daemon: daemon,
        _silent: silent(),
    })
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
