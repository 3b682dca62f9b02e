//! What operators see of a running agent: health, metrics, copies of results. The real binary over loopback.

#![allow(clippy::unwrap_used, reason = "a test says what is wrong by panicking")]
#![allow(clippy::panic, reason = "a test says what is wrong by panicking")]

mod support;

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
};

use support::{
    exposition::Exposition,
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

/// Waits until `look` finds something, while the controller in this process goes on.
async fn eventually<T>(service: &Service, what: &str, look: impl Fn() -> Option<T>) -> T {
    for _ in 0..900 {
        if let Some(found) = look() {
            return found;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("`{what}` did not come; the log:\n{}", service.log());
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
        let ready = eventually(&service, "readiness", || {
            let (code, line) = health(&data, "--health=ready");
            (code == Some(0)).then_some(line)
        })
        .await;
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

/// Where a service serves its metrics.
fn metrics_address(service: &Service) -> SocketAddr {
    service.wait_for("the address of the metrics", || {
        let log = service.log();
        let (_, after) = log.split_once("metrics are served address=")?;
        after.split_whitespace().next()?.parse().ok()
    })
}

/// Status and body of an answer to this request.
fn ask(address: SocketAddr, request: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, body.to_owned())
}

fn get(address: SocketAddr, path: &str) -> (u16, String) {
    ask(address, &format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"))
}

#[test]
fn the_metrics_are_valid_and_true() {
    runtime().block_on(async {
        let mut lab = Lab::start().await;
        let service = Service::builder(&lab)
            .arg("--metrics-listen")
            .arg("127.0.0.1:0")
            .start();
        let address = metrics_address(&service);
        lab.wait_for_results("1001", 2).await;
        eventually(&service, "readiness", || {
            (get(address, "/ready").0 == 200).then_some(())
        })
        .await;
        assert_eq!(get(address, "/live"), (200, "live and ready\n".to_owned()));

        let (status, text) = get(address, "/metrics");
        assert_eq!(status, 200);
        let page = Exposition::read(&text);
        let version = env!("CARGO_PKG_VERSION");
        let arch = std::env::consts::ARCH;
        for (name, labels, value) in [
            (
                "starling_build_info",
                &[("version", version), ("arch", arch)][..],
                1.0,
            ),
            ("starling_live", &[], 1.0),
            ("starling_ready", &[], 1.0),
            ("starling_session_up", &[], 1.0),
            ("starling_session_state", &[("state", "connected")], 1.0),
            ("starling_session_state", &[("state", "failing")], 0.0),
            ("starling_registrations_total", &[], 1.0),
            ("starling_session_connects_total", &[], 1.0),
            (
                "starling_results_dropped_total",
                &[("queue", "periodic")],
                0.0,
            ),
            (
                "starling_jobs",
                &[("type", "ping"), ("schedule", "periodic")],
                1.0,
            ),
        ] {
            assert_eq!(page.value(name, labels), value, "{name} {labels:?}");
        }
        // Its target is refused by the address policy.
        let of = [("measurement", "1001"), ("type", "ping")];
        let requests = page.value("starling_measurement_requests_total", &of);
        let unanswered = page.value("starling_measurement_requests_unanswered_total", &of);
        assert!(requests >= 2.0, "{text}");
        assert_eq!(requests, unanswered);
        assert_eq!(
            page.find("starling_measurement_last_rtt_seconds", &of),
            None
        );
        let runs = [("type", "ping"), ("outcome", "unanswered")];
        assert!(page.value("starling_runs_total", &runs) >= 2.0);
        assert!(page.value("starling_schedule_lateness_seconds_count", &[]) >= 2.0);
        assert!(page.value("starling_packets_refused_total", &[("reason", "address")]) >= 2.0);
        assert!(page.value("starling_uploads_total", &[("post", "periodic")]) >= 1.0);
        let posted = page.value(
            "starling_upload_duration_seconds_count",
            &[("post", "periodic")],
        );
        assert!(posted >= 1.0);
        assert!(page.value("process_resident_memory_bytes", &[]) > 1e6);
        assert!(page.value("process_open_fds", &[]) > 3.0);

        let state = std::fs::read_to_string(service.data().join("session.json")).unwrap();
        let state: serde_json::Value = serde_json::from_str(&state).unwrap();
        let session_id = state["opened"]["session_id"].as_str().unwrap();
        assert!(!text.contains(session_id), "a secret shows");
        service.stop().expect_success();
        lab.stop().await;
    });
}

#[test]
fn a_probe_without_a_controller_tells_so_by_its_metrics() {
    let service = Service::at(&nobody())
        .config("[metrics]\nenabled = true\nlisten = \"127.0.0.1:0\"\n")
        .start();
    let address = metrics_address(&service);
    service.wait_for_log("cannot connect to");
    assert_eq!(get(address, "/live").0, 200);
    let (status, words) = get(address, "/ready");
    assert_eq!(status, 503);
    assert!(words.starts_with("live, not ready: "), "{words}");
    let page = Exposition::read(&get(address, "/metrics").1);
    assert_eq!(page.value("starling_session_up", &[]), 0.0);
    assert_eq!(page.value("starling_ready", &[]), 0.0);
    let lost = page.value(
        "starling_session_failures_total",
        &[("exchange", "registration")],
    );
    assert!(lost >= 1.0);
    assert!(!page.names().contains("starling_runs_total"));
    service.stop().expect_success();
}

#[test]
fn strangers_at_the_metrics_are_bounded_and_harmless() {
    let service = Service::at(&nobody())
        .arg("--metrics-listen")
        .arg("127.0.0.1:0")
        .start();
    let address = metrics_address(&service);
    assert_eq!(get(address, "/").0, 200);
    assert_eq!(get(address, "/etc/passwd").0, 404);
    assert_eq!(ask(address, "POST /metrics HTTP/1.1\r\n\r\n").0, 405);
    assert_eq!(ask(address, "\u{16}\u{3}\u{1}\r\n\r\n").0, 400);
    assert_eq!(ask(address, &format!("GET /{} ", "x".repeat(8192))).0, 431);
    let (status, body) = ask(address, "HEAD /metrics HTTP/1.1\r\n\r\n");
    assert_eq!((status, body.as_str()), (200, ""));
    // More that say nothing than are served at a time: they are let go in their turn.
    let idle: Vec<TcpStream> = (0..24)
        .map(|_| TcpStream::connect(address).unwrap())
        .collect();
    assert_eq!(get(address, "/live").0, 200);
    drop(idle);
    service.stop().expect_success();
}

#[test]
fn a_metrics_address_that_is_taken_is_said_and_stops_nothing() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let service = Service::at(&nobody())
        .env("STARLING_METRICS_LISTEN", &address)
        .start();
    service.wait_for_log("no metrics: the address cannot be listened on");
    service.wait_for_log("cannot connect to");
    service.stop().expect_success();
}

/// The lines of a copy; panics unless each is a JSON object.
fn objects(text: &str) -> Vec<serde_json::Value> {
    text.lines()
        .map(|line| {
            let value: serde_json::Value = serde_json::from_str(line).expect(line);
            assert!(value.is_object(), "{line}");
            value
        })
        .collect()
}

#[test]
fn each_result_is_copied_and_the_files_are_rotated() {
    runtime().block_on(async {
        let mut lab = Lab::start().await;
        let folder = tempfile::tempdir().unwrap();
        // Outside the data directory: confinement must know of it.
        let file = folder.path().join("copies/results.ndjson");
        let service = Service::builder(&lab)
            .config(&format!(
                "[tee]\nto = \"file\"\nfile = \"{}\"\nmax_bytes = 300\nkeep = 2\n",
                file.display()
            ))
            .start();
        lab.wait_for_results("1001", 3).await;
        eventually(&service, "a file put aside", || {
            file.with_extension("ndjson.1").exists().then_some(())
        })
        .await;
        let data = service.data();
        let told = support::stdout(&support::starling(&["status", "--data-dir", env(&data)]));
        assert!(told.contains(&format!("to {}\n", file.display())), "{told}");
        service.stop().expect_success();
        let copies = objects(&std::fs::read_to_string(file.with_extension("ndjson.1")).unwrap());
        assert!(copies.iter().any(|copy| copy["id"] == "1001"), "{copies:?}");
        lab.stop().await;
    });
}

#[test]
fn a_copy_that_fails_costs_the_controller_nothing_and_is_said() {
    runtime().block_on(async {
        let mut lab = Lab::start().await;
        let service = Service::builder(&lab)
            .env("STARLING_TEE", "/proc/no/such/results")
            .start();
        lab.wait_for_results("1001", 2).await;
        let log = service.wait_for_log("results are not copied");
        assert_eq!(log.matches("results are not copied").count(), 1, "{log}");
        let data = service.data();
        let told = support::stdout(&support::starling(&["status", "--data-dir", env(&data)]));
        assert!(told.contains("not copied, failing: "), "{told}");
        service.stop().expect_success();
        lab.stop().await;
    });
}

#[test]
fn standard_output_carries_results_and_nothing_else() {
    runtime().block_on(async {
        let mut lab = Lab::start().await;
        let folder = tempfile::tempdir().unwrap();
        let mut probe = std::process::Command::new(env!("CARGO_BIN_EXE_starling"))
            .args(["run", "--tee", "-", "--registration-server", &lab.server()])
            .arg("--data-dir")
            .arg(folder.path().join("data"))
            .env_clear()
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        lab.wait_for_results("1001", 2).await;
        let pid = nix::unistd::Pid::from_raw(i32::try_from(probe.id()).unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        let mut text = String::new();
        let mut out = probe.stdout.take().unwrap();
        out.read_to_string(&mut text).unwrap();
        assert!(probe.wait().unwrap().success());
        let copies = objects(&text);
        let ours = copies.iter().filter(|copy| copy["id"] == "1001").count();
        assert!(ours >= 2, "{text}");
        lab.stop().await;
    });
}

#[test]
fn a_source_that_is_not_there_is_a_result_and_a_warning() {
    runtime().block_on(async {
        let mut lab = Lab::start().await;
        let service = Service::builder(&lab)
            .config("[source]\nipv4 = \"192.0.2.5\"\nsession = false\n")
            .start();
        lab.wait_for_results("1001", 1).await;
        service.wait_for_log("there is no address 192.0.2.5 on this host");
        // Never sent: the source cannot be bound to.
        lab.one_off("evntp -4 -c 1 -A 3001 198.51.100.1").await;
        lab.wait_for_results("3001", 1).await;
        let lines = lab.accepted();
        let line = lines.iter().find(|line| line.contains("\"3001\"")).unwrap();
        assert!(line.contains("error"), "{line}");
        let data = service.data();
        let told = support::stdout(&support::starling(&["status", "--data-dir", env(&data)]));
        assert!(told.contains("from 192.0.2.5"), "{told}");
        assert!(told.contains("no IPv4 measurement works until"), "{told}");
        service.stop().expect_success();
        lab.stop().await;
    });
}

#[test]
fn the_line_to_register_is_alone_on_its_line_until_the_key_is_known() {
    runtime().block_on(async {
        let mut lab = Lab::start().await;
        // However little is logged.
        let service = Service::builder(&lab).arg("--log-level=error").start();
        lab.wait_for_results("1001", 1).await;
        let data = service.data();
        let shown = support::starling(&["key", "show", "--data-dir", env(&data)]);
        let key = support::stdout(&shown);
        let log = service.log();
        assert_eq!(log.matches(&key).count(), 1, "{log}");
        assert!(log.lines().any(|line| line == key.trim_end()), "{log}");
        assert!(!log.contains('\x1b'), "{log}");

        // Another life of the same probe.
        let again = Service::builder(&lab);
        let its = again.folder().join("data");
        std::fs::create_dir(&its).unwrap();
        for file in ["probe_key", "session.json"] {
            std::fs::copy(data.join(file), its.join(file)).unwrap();
        }
        service.stop().expect_success();
        let again = again.start();
        let log = eventually(&again, "a session", || {
            let log = again.log();
            log.contains("session kept").then_some(log)
        })
        .await;
        assert!(log.contains("the probe's key"), "{log}");
        assert!(!log.contains(key.trim_end()), "{log}");
        again.stop().expect_success();
        lab.stop().await;
    });
}

#[test]
fn the_doctor_asks_the_agent_what_it_got() {
    let service = Service::at(&nobody()).start();
    service.wait_for_log("cannot connect to");
    let data = service.data();
    let check = || {
        let output = support::starling(&["check", "--json", "--data-dir", env(&data)]);
        let findings: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).unwrap();
        findings
    };
    let about = |findings: &[serde_json::Value], what: &str| -> Vec<String> {
        let about = findings.iter().filter(|finding| finding["what"] == what);
        about
            .map(|finding| finding["words"].as_str().unwrap().to_owned())
            .collect()
    };
    let findings = check();
    let agent = about(&findings, "agent").concat();
    assert!(agent.contains("live, not ready"), "{agent}");
    let confinement = about(&findings, "confinement");
    assert_eq!(confinement.len(), 4, "{confinement:?}");
    assert!(about(&findings, "landlock").is_empty());
    service.stop().expect_success();
    let findings = check();
    assert_eq!(
        about(&findings, "agent"),
        ["none runs with this data directory"]
    );
    assert_eq!(about(&findings, "landlock").len(), 1);
    assert_eq!(about(&findings, "seccomp").len(), 1);
    assert!(about(&findings, "confinement").is_empty());
}
