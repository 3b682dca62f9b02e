//! What the service manager is told, as `sd_notify(3)` has it: ready, still working, stopping, and how it stands.
//!
//! One datagram each to the socket that `NOTIFY_SOCKET` names. Without it nothing is sent. Sending never waits and
//! never fails: a probe whose service manager is gone still measures.

use std::{
    ffi::OsStr,
    io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            ffi::OsStrExt as _,
            net::{SocketAddr, UnixDatagram},
        },
    },
    time::Duration,
};

/// The way to the service manager, if there is one.
#[derive(Debug, Default)]
pub struct Notify {
    socket: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
}

impl Notify {
    /// As the environment says: `NOTIFY_SOCKET`, and `WATCHDOG_USEC` if `WATCHDOG_PID` is absent or ours.
    #[must_use]
    pub fn from_environment() -> Self {
        let Some(path) = std::env::var_os("NOTIFY_SOCKET") else {
            return Self::default();
        };
        let number = |name| std::env::var(name).ok()?.parse::<u64>().ok();
        let ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let watchdog = number("WATCHDOG_USEC").filter(|usec| ours && *usec > 0);
        match Self::to(&path) {
            Ok(socket) => Self {
                socket: Some(socket),
                watchdog: watchdog.map(Duration::from_micros),
            },
            Err(error) => {
                tracing::warn!(%error, "NOTIFY_SOCKET cannot be used: the service manager is not told anything");
                Self::default()
            }
        }
    }

    /// A path, or `@` and a name without one.
    fn to(path: &OsStr) -> io::Result<(UnixDatagram, SocketAddr)> {
        let address = match path.as_bytes().strip_prefix(b"@") {
            Some(name) => SocketAddr::from_abstract_name(name)?,
            None => SocketAddr::from_pathname(path)?,
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        Ok((socket, address))
    }

    /// Whether somebody is told.
    #[must_use]
    pub const fn is_heard(&self) -> bool {
        self.socket.is_some()
    }

    /// The longest time without [`alive`](Self::alive) before the service manager restarts us.
    #[must_use]
    pub const fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    /// The service works.
    pub fn ready(&self) {
        self.send("READY=1");
    }

    /// Progress was made since the last time.
    pub fn alive(&self) {
        self.send("WATCHDOG=1");
    }

    /// The service is about to end.
    pub fn stopping(&self) {
        self.send("STOPPING=1");
    }

    /// How the service stands, in words; one line whatever they are.
    pub fn status(&self, words: &str) {
        let line: String = words
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .take(400)
            .collect();
        self.send(&format!("STATUS={line}"));
    }

    fn send(&self, text: &str) {
        if let Some((socket, address)) = &self.socket
            && let Err(error) = socket.send_to_addr(text.as_bytes(), address)
        {
            tracing::debug!(%error, text, "the service manager is not told");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 1000];
        let len = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..len].to_vec()).unwrap()
    }

    fn notify(path: &OsStr) -> Notify {
        Notify {
            socket: Some(Notify::to(path).unwrap()),
            watchdog: None,
        }
    }

    #[test]
    fn each_word_is_a_datagram() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        let notify = notify(path.as_os_str());
        notify.ready();
        notify.alive();
        notify.status("waiting\nREADY=1");
        notify.stopping();
        let all = [(); 4].map(|()| heard(&manager));
        assert_eq!(
            all,
            [
                "READY=1",
                "WATCHDOG=1",
                "STATUS=waiting READY=1",
                "STOPPING=1"
            ]
        );
    }

    #[test]
    fn a_socket_without_a_path_is_spoken_to_by_its_name() {
        let name = format!("starling-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let manager = UnixDatagram::bind_addr(&address).unwrap();
        notify(OsStr::new(&format!("@{name}"))).ready();
        assert_eq!(heard(&manager), "READY=1");
    }

    #[test]
    fn a_manager_that_does_not_read_holds_nobody_up() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let _manager = UnixDatagram::bind(&path).unwrap();
        let notify = notify(path.as_os_str());
        for _ in 0..10_000 {
            notify.alive();
        }
    }

    #[test]
    fn without_a_manager_nothing_is_sent() {
        let notify = Notify::default();
        notify.ready();
        assert!(!notify.is_heard());
        assert_eq!(notify.watchdog(), None);
    }
}
