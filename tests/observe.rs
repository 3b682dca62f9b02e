//! What operators see of a running agent: health, metrics, copies of results. The real binary over loopback.

#![allow(clippy::unwrap_used, reason = "a test says what is wrong by panicking")]
#![allow(clippy::panic, reason = "a test says what is wrong by panicking")]

mod support;

use std::path::Path;

use support::{
    lab::{Lab, runtime},
    service::Service,
};

fn env(path: &Path) -> &str {
    path.to_str().expect("temporary paths are UTF-8")
}

/// A registration server that is not there.
fn nobody() -> String {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    format!("127.0.0.1:{port}={}", support::other_host_key())
}

/// Exit code and line of a health check.
fn health(data: &Path, flag: &str) -> (Option<i32>, String) {
    let output = support::starling(&["status", flag, "--data-dir", env(data)]);
    (output.status.code(), support::stdout(&output))
}

#[test]
fn a_probe_that_works_is_live_and_ready() {
    runtime().block_on(async {
        let mut lab = Lab::start().await;
        let service = Service::builder(&lab).start();
        lab.wait_for_results("1001", 1).await;
        let data = service.data();
        let ready = service.wait_for("readiness", || {
            let (code, line) = health(&data, "--health=ready");
            (code == Some(0)).then_some(line)
        });
        assert_eq!(ready, "live and ready\n");
        assert_eq!(health(&data, "--health"), (Some(0), ready));
        service.stop().expect_success();
        lab.stop().await;
    });
}

#[test]
fn a_probe_without_a_controller_is_live_and_says_why_it_is_not_ready() {
    let service = Service::at(&nobody()).start();
    service.wait_for_log("cannot connect to");
    let data = service.data();
    assert_eq!(health(&data, "--health").0, Some(0));
    let (code, line) = health(&data, "--health=ready");
    assert_eq!(code, Some(1));
    assert!(
        line.starts_with("live, not ready: no session with a controller: "),
        "{line}"
    );
    assert!(line.contains("no upload was accepted yet"), "{line}");
    service.stop().expect_success();
    let (code, line) = health(&data, "--health");
    assert_eq!(code, Some(1));
    assert!(line.starts_with("not live: no agent runs"), "{line}");
}

#[test]
fn a_probe_that_hangs_is_not_live() {
    let service = Service::at(&nobody()).start();
    service.wait_for_log("cannot connect to");
    service.signal(nix::sys::signal::Signal::SIGSTOP);
    let (code, line) = health(&service.data(), "--health");
    service.signal(nix::sys::signal::Signal::SIGCONT);
    assert_eq!(code, Some(1), "{line}");
    assert!(line.contains("does not answer within"), "{line}");
    service.stop().expect_success();
}
