//! The agent as a service: what it tells its manager, its status socket, its signals. The real binary over loopback.

#![allow(clippy::panic, reason = "a test says what is wrong by panicking")]

mod support;

use std::{
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    time::Duration,
};

use support::{
    lab::{Lab, runtime},
    service::Service,
};

/// A service manager that listens.
struct Manager {
    folder: tempfile::TempDir,
    socket: UnixDatagram,
}

impl Manager {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        // Patience for a loaded machine; nothing waits for it to pass.
        socket
            .set_read_timeout(Some(Duration::from_secs(90)))
            .unwrap();
        Self { folder, socket }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("notify")
    }

    /// The messages up to the first one that is wanted.
    fn hear(&self, wanted: impl Fn(&str) -> bool) -> Vec<String> {
        let mut heard = Vec::new();
        loop {
            let mut buffer = [0; 4096];
            let len = self
                .socket
                .recv(&mut buffer)
                .unwrap_or_else(|error| panic!("{error}; heard {heard:?}"));
            let text = String::from_utf8(buffer[..len].to_vec()).unwrap();
            heard.push(text);
            if wanted(&heard[heard.len() - 1]) {
                return heard;
            }
        }
    }
}

fn env(path: &Path) -> &str {
    path.to_str().expect("temporary paths are UTF-8")
}

#[test]
fn the_service_manager_is_told_ready_status_progress_and_the_end() {
    runtime().block_on(async {
        let mut lab = Lab::start().await;
        let manager = Manager::new();
        let service = Service::builder(&lab)
            .env("NOTIFY_SOCKET", env(&manager.path()))
            .env("WATCHDOG_USEC", "600000")
            .start();
        lab.wait_for_results("1001", 1).await;
        let manager = tokio::task::spawn_blocking(move || {
            manager.hear(|text| text == "READY=1");
            manager.hear(|text| text.starts_with("STATUS=connected as probe "));
            for _ in 0..3 {
                manager.hear(|text| text == "WATCHDOG=1");
            }
            manager
        })
        .await
        .unwrap();
        service.stop().expect_success();
        manager.hear(|text| text == "STOPPING=1");
        lab.stop().await;
    });
}

#[test]
fn a_service_without_a_controller_is_ready_and_says_what_it_lacks() {
    // Nobody listens there: the port was free a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let server = format!("127.0.0.1:{port}={}", support::other_host_key());
    let manager = Manager::new();
    let service = Service::at(&server)
        .env("NOTIFY_SOCKET", env(&manager.path()))
        .start();
    manager.hear(|text| text == "READY=1");
    // Readiness came first or later: each is told in its own words.
    service.wait_for_log("cannot connect to");
    service.stop().expect_success();
}
