//! Starting real name servers.

use std::{
    fs,
    net::{Ipv4Addr, Ipv6Addr},
    process::Command,
};

use tempfile::TempDir;

use crate::peers::{self, Daemon};

/// The root's name servers are asked for.
const QUERY: &[u8] = b"\x12\x34\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x06\x00\x01";

/// A name server on both loopback addresses.
pub(crate) struct Server {
    pub(crate) daemon: Daemon,
    pub(crate) port: u16,
}

/// Starts `program` with `configuration` in a directory of its own and waits until it answers on `port`.
pub(crate) fn start(program: &str, directory: TempDir, port: u16, configuration: &str) -> Server {
    let file = directory.path().join("server.conf");
    fs::write(&file, configuration).expect("a configuration");
    let mut command = Command::new(program);
    command.args(["-d", "-c"]).arg(file);
    let mut daemon = Daemon::start(&mut command, directory);
    for server in [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()] {
        daemon.wait_until(|| peers::answers_datagram(server, port, QUERY));
    }
    Server { daemon, port }
}
