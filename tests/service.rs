//! The agent as a service: what it tells its manager, its status socket, its signals. The real binary over loopback.

#![allow(clippy::unwrap_used, reason = "a test says what is wrong by panicking")]
#![allow(clippy::panic, reason = "a test says what is wrong by panicking")]

mod support;

use std::{
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    time::Duration,
};

use nix::sys::signal::Signal;
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
    let manager = Manager::new();
    let service = Service::at(&nobody())
        .env("NOTIFY_SOCKET", env(&manager.path()))
        .start();
    manager.hear(|text| text == "READY=1");
    // Readiness came first or later: each is told in its own words.
    service.wait_for_log("cannot connect to");
    service.stop().expect_success();
}

/// What the status socket tells.
fn status(service: &Service) -> serde_json::Value {
    let data = service.data();
    let output = support::starling(&["status", "--json", "--data-dir", env(&data)]);
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}\n{}",
        support::stderr(&output),
        service.log()
    );
    serde_json::from_slice(&output.stdout).expect("the document is JSON")
}

#[test]
fn the_status_tells_how_the_probe_stands_and_no_secret() {
    runtime().block_on(async {
        let mut lab = Lab::start().await;
        let service = Service::builder(&lab).start();
        lab.wait_for_results("1001", 2).await;
        let told = status(&service);
        assert_eq!(told["session"]["state"], "connected", "{told:#}");
        assert!(told["probe_id"].is_u64(), "{told:#}");
        assert!(told["session"]["controller"].is_string(), "{told:#}");
        assert!(
            told["session"]["last_command"]["words"].is_string(),
            "{told:#}"
        );
        assert_eq!(told["jobs"][0]["kind"], "ping", "{told:#}");
        assert_eq!(told["jobs"][0]["scheduled"], 1, "{told:#}");
        assert!(told["results"]["last_accepted"].is_i64(), "{told:#}");
        assert_eq!(told["results"]["periodic"]["dropped"], 0, "{told:#}");

        let data = service.data();
        let people = support::stdout(&support::starling(&["status", "--data-dir", env(&data)]));
        assert!(people.contains("connected as probe "), "{people}");
        assert!(people.contains("1 ping"), "{people}");

        let state = std::fs::read_to_string(data.join("session.json")).unwrap();
        let state: serde_json::Value = serde_json::from_str(&state).unwrap();
        let session_id = state["opened"]["session_id"].as_str().unwrap();
        let key = std::fs::read_to_string(data.join("probe_key")).unwrap();
        // The public half stands at the beginning of the file, the secret at its end.
        let secret = key
            .lines()
            .rev()
            .find(|line| !line.starts_with('-') && line.len() > 20);
        for secret in [session_id, secret.unwrap()] {
            for text in [told.to_string(), people.clone(), service.log()] {
                assert!(!text.contains(secret), "a secret shows in {text}");
            }
        }
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(data.join("status.sock"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        service.stop().expect_success();
        lab.stop().await;
    });
}

#[test]
fn without_an_agent_the_status_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let output = support::starling(&["status", "--data-dir", env(folder.path())]);
    assert_eq!(output.status.code(), Some(69));
    let words = support::stderr(&output);
    assert!(words.contains("starling run"), "{words}");
    assert_eq!(support::stdout(&output), "");
}

#[test]
fn a_reader_that_never_reads_or_writes_holds_nobody_up() {
    let service = Service::at(&nobody()).start();
    let socket = service.data().join("status.sock");
    let connect = || std::os::unix::net::UnixStream::connect(&socket).ok();
    let idle: Vec<_> = (0..20)
        .map(|_| service.wait_for("a connection", connect))
        .collect();
    use std::io::Write as _;
    for mut stream in &idle {
        // Nobody reads it; the agent may have hung up already.
        let _ = stream.write_all(b"GET / HTTP/1.0\r\n\r\n");
    }
    assert_eq!(
        status(&service)["session"]["controller"],
        serde_json::Value::Null
    );
    service.stop().expect_success();
}

#[test]
fn a_hangup_puts_a_new_configuration_into_force_and_says_what_waits() {
    let builder = Service::at(&nobody()).config("[log]\nlevel = \"info\"\n");
    let file = builder.folder().join("starling.toml");
    let service = builder.start();
    service.wait_for_log("registration failed");
    assert!(!service.log().contains("DEBUG"), "{}", service.log());

    std::fs::write(&file, "[log]\nlevel = \"debug\"\n[upload]\ninterval = 7\n").unwrap();
    service.signal(Signal::SIGHUP);
    service.wait_for_log("is in force");
    status(&service);
    service.wait_for_log("DEBUG");

    std::fs::write(&file, "[log]\nlevel = \"debug\"\n[spool]\nmax_bytes = 7\n").unwrap();
    service.signal(Signal::SIGHUP);
    let log = service.wait_for_log("needs a restart");
    assert!(log.contains("spool"), "{log}");

    std::fs::write(&file, "[spool]\nmax_byte = 7\n").unwrap();
    service.signal(Signal::SIGHUP);
    let log = service.wait_for_log("the one before stays in force");
    assert!(log.contains("max_byte"), "{log}");
    service.stop().expect_success();
}

#[test]
fn a_second_agent_on_the_same_data_is_refused() {
    let service = Service::at(&nobody()).start();
    service.wait_for_log("registration failed");
    let data = service.data();
    let output = support::starling(&["run", "--data-dir", env(&data)]);
    assert_ne!(output.status.code(), Some(0));
    let words = support::stderr(&output);
    assert!(words.contains("in use by another process"), "{words}");
    // The first one's socket is still its own.
    status(&service);
    service.stop().expect_success();
}

#[test]
fn the_first_process_of_a_namespace_stops_when_asked() {
    let Some(unshare) = unshare(&["--pid", "--fork", "--kill-child"]) else {
        println!("NOT TESTED: this system lets us make no process namespace");
        return;
    };
    let service = Service::at(&nobody()).by(&unshare).start();
    service.wait_for_log("registration failed");
    assert_eq!(status(&service)["pid"], 1);
    let children = format!("/proc/{0}/task/{0}/children", service.pid());
    let children = std::fs::read_to_string(children).unwrap();
    let child: i32 = children.trim().parse().unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(child), Signal::SIGTERM).unwrap();
    let log = service.wait().expect_success();
    assert!(log.contains("stopping"), "{log}");
}

/// The words that run a command in namespaces of its own; `None` where that is not allowed.
fn unshare(kinds: &[&'static str]) -> Option<Vec<&'static str>> {
    let mut words = vec!["unshare"];
    if !nix::unistd::geteuid().is_root() {
        words.extend(["--user", "--map-root-user"]);
    }
    words.extend(kinds);
    let tried = std::process::Command::new(words[0])
        .args(&words[1..])
        .arg("true")
        .output();
    tried
        .is_ok_and(|output| output.status.success())
        .then_some(words)
}

#[test]
fn a_resolver_file_without_a_server_is_told_to_the_controller() {
    let Some(mut words) = unshare(&["--mount"]) else {
        println!("NOT TESTED: this system lets us make no mount namespace");
        return;
    };
    let own = "echo '# none' >own && mount --bind own /etc/resolv.conf && exec \"$@\"";
    words.extend(["sh", "-c", own, "sh"]);
    runtime().block_on(async {
        let mut lab = Lab::start().await;
        let service = Service::builder(&lab).by(&words).start();
        for id in [9807, 9809] {
            let id = format!("\"id\":\"{id}\"");
            let loaded = "\"event\": \"load resolv.conf\", \"result\": 6 }";
            let is_told = |line: &String| line.contains(&id) && line.contains(loaded);
            lab.wait_until(|lines| lines.iter().any(is_told)).await;
        }
        service.wait_for_log("it names no server");
        service.stop().expect_success();
        lab.stop().await;
    });
}

/// A server that is not there: the port was free a moment ago.
fn nobody() -> String {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    format!("127.0.0.1:{port}={}", support::other_host_key())
}

/// What the doctor finds: exit code and findings.
fn check(args: &[&str]) -> (Option<i32>, Vec<serde_json::Value>) {
    let output = support::starling(&[&["check", "--json"], args].concat());
    let findings = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", support::stderr(&output)));
    (output.status.code(), findings)
}

/// The verdict and the words of the findings about `what`.
fn found<'a>(findings: &'a [serde_json::Value], what: &str) -> Vec<(&'a str, &'a str)> {
    findings
        .iter()
        .filter(|finding| finding["what"] == what)
        .map(|finding| {
            let text = |key: &str| finding[key].as_str().expect("a text");
            (text("verdict"), text("words"))
        })
        .collect()
}

#[test]
fn the_doctor_verifies_a_registration_server_by_its_host_key() {
    runtime().block_on(async {
        let lab = Lab::start().await;
        let folder = tempfile::tempdir().unwrap();
        let data = env(folder.path()).to_owned();
        let (good, bad) = (
            lab.server(),
            // The key of a production server.
            format!("{}={}", lab.registration(), production_key()),
        );
        let asked = tokio::task::spawn_blocking(move || {
            [good, bad, nobody()].map(|server| {
                check(&[
                    "--network",
                    "--data-dir",
                    &data,
                    "--registration-server",
                    &server,
                ])
            })
        })
        .await
        .unwrap();
        let [(_, good), (bad_exit, bad), (none_exit, none)] = asked;
        let good = found(&good, "registration");
        assert_eq!(good.len(), 1);
        assert_eq!(good[0].0, "ok", "{good:?}");
        assert!(good[0].1.contains("known host key"), "{good:?}");
        let bad = found(&bad, "registration");
        assert_eq!((bad[0].0, bad_exit), ("problem", Some(1)), "{bad:?}");
        assert!(bad[0].1.contains("is pinned"), "{bad:?}");
        let none = found(&none, "registration");
        assert_eq!((none[0].0, none_exit), ("problem", Some(1)), "{none:?}");
        assert!(none[0].1.contains("cannot connect"), "{none:?}");
        lab.stop().await;
    });
}

#[test]
fn the_doctor_goes_nowhere_unless_told_to() {
    let folder = tempfile::tempdir().unwrap();
    let (_, findings) = check(&["--data-dir", env(folder.path())]);
    let servers = found(&findings, "registration");
    assert!(!servers.is_empty());
    for (verdict, words) in servers {
        // Of some production servers no host key is published: they are left out, with and without the network.
        let expected = if verdict == "ok" {
            "not tried without --network"
        } else {
            "is skipped"
        };
        assert!(words.contains(expected), "{words}");
        assert_ne!(verdict, "problem", "{words}");
    }
}

#[test]
fn the_doctor_sees_key_directory_and_kernel() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let args = ["--data-dir", env(&data)];
    let (_, before) = check(&args);
    assert_eq!(found(&before, "data directory")[0].0, "warning");
    assert_eq!(found(&before, "key")[0].0, "warning");
    assert_eq!(found(&before, "time stamps")[0].0, "ok");
    assert_eq!(found(&before, "configuration")[0].0, "ok");

    let made = support::starling(&["key", "--data-dir", env(&data), "generate"]);
    assert_eq!(made.status.code(), Some(0));
    let (_, after) = check(&args);
    assert_eq!(found(&after, "data directory")[0].0, "ok");
    let key = found(&after, "key");
    assert_eq!(key[0].0, "ok");
    assert!(key[0].1.contains("SHA256:"), "{key:?}");

    let file = data.join("probe_key");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let (exit, open) = check(&args);
    let key = found(&open, "key");
    assert_eq!((key[0].0, exit), ("problem", Some(1)));
    assert!(key[0].1.contains("chmod 600"), "{key:?}");
}

#[test]
fn the_doctor_names_what_is_wrong_with_a_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("starling.toml");
    std::fs::write(&file, "[upload]\nintervall = 5\n").unwrap();
    let (exit, findings) = check(&["--config", env(&file)]);
    let words = found(&findings, "configuration");
    assert_eq!((words[0].0, exit), ("problem", Some(1)));
    assert!(words[0].1.contains("intervall"), "{words:?}");
}

/// A host key of the right type that no server of ours has.
fn production_key() -> String {
    let servers = starling::session::ServerList::Prod.servers();
    let key = servers[0].host_key.as_ref().expect("the table has keys");
    format!("{} {}", key.kind(), key.base64())
}

#[test]
fn a_confined_thread_cannot_leave_its_data_and_still_measures() {
    let folder = tempfile::tempdir().unwrap();
    let outside = folder.path().join("outside");
    std::fs::write(&outside, "secret").unwrap();
    let config = starling::config::Config {
        data_dir: folder.path().join("data"),
        ..starling::config::Config::default()
    };
    let raw = || {
        socket2::Socket::new(
            socket2::Domain::IPV4,
            socket2::Type::RAW,
            Some(socket2::Protocol::ICMPV4),
        )
        .is_ok()
    };
    let before = raw();
    // Each layer binds the thread that asks for it, and those that come from it.
    std::thread::spawn(move || {
        let layers = starling::agent::confine(&config, &[], &[]);
        let holds = |name: &str| {
            layers
                .iter()
                .any(|layer| layer.holds && layer.words.starts_with(name))
        };
        std::fs::write(config.data_dir.join("file"), "kept").unwrap();
        std::fs::read("/etc/hosts").unwrap();
        std::fs::read("/proc/uptime").unwrap();
        assert_eq!(raw(), before, "raw sockets must outlive the confinement");
        if holds("landlock") {
            assert!(std::fs::read(&outside).is_err(), "{layers:?}");
            assert!(std::fs::write(&outside, "changed").is_err(), "{layers:?}");
        } else {
            println!("NOT TESTED: this kernel has no Landlock: {layers:?}");
        }
        assert!(holds("seccomp"), "{layers:?}");
        let started = std::process::Command::new("/bin/true").status();
        assert!(started.is_err(), "{started:?}");
    })
    .join()
    .unwrap();
}

#[test]
fn a_confined_probe_measures_and_uploads() {
    runtime().block_on(async {
        let mut lab = Lab::start().await;
        let args = ["--allow-any-address", "--log-level=debug"];
        let service = args
            .iter()
            .fold(Service::builder(&lab), |service, arg| service.arg(arg));
        let service = service.start();
        lab.wait_for_results("1001", 2).await;
        lab.one_off("evtraceroute -4 -I -c 1 -A 2001 127.0.0.1")
            .await;
        lab.wait_for_results("2001", 1).await;
        let told = status(&service);
        let confinement = told["host"]["confinement"].as_array().unwrap();
        assert_eq!(confinement.len(), 4, "{told:#}");
        let log = service.stop().expect_success();
        assert!(log.contains("confined: "));
        if told["host"]["raw_sockets"] == true {
            let lines = lab.accepted();
            let answered = |id: &str| {
                lines.iter().any(|line| {
                    line.contains(&format!("\"id\":\"{id}\"")) && line.contains("\"rtt\":")
                })
            };
            assert!(answered("1001") && answered("2001"), "{lines:#?}");
            // Whose times those of packets are can be read in the debug log.
            let is_by_the_kernel = |line: &str| {
                line.contains("run ended")
                    && line.contains(" kernel, 0 process")
                    && !line.contains(" 0 kernel")
            };
            assert!(log.lines().any(is_by_the_kernel), "{log}");
        } else {
            println!("NOT TESTED: no raw sockets here");
        }
        lab.stop().await;
    });
}

/// Everything that may be said is said: nothing of it is a secret.
#[test]
fn no_secret_is_in_a_log_at_trace_level_nor_in_the_status() {
    runtime().block_on(async {
        let mut lab = Lab::start().await;
        let service = Service::builder(&lab).env("STARLING_LOG", "trace").start();
        lab.wait_for_results("1001", 2).await;
        let told = status(&service).to_string();
        let data = service.data();
        let state = std::fs::read_to_string(data.join("session.json")).unwrap();
        let state: serde_json::Value = serde_json::from_str(&state).unwrap();
        let id = state["opened"]["session_id"].as_str().unwrap().to_owned();
        assert!(id.len() >= 32, "{id}");
        let key = std::fs::read_to_string(data.join("probe_key")).unwrap();
        let public = std::fs::read_to_string(data.join("probe_key.pub")).unwrap();
        let log = service.stop().expect_success();
        assert!(
            log.contains("DEBUG"),
            "the log says everything there is to say"
        );
        assert!(log.contains("table 7 of"), "commands came");
        for text in [&log, &told] {
            assert!(!text.contains(&id), "the session's id: {text}");
            // No line of the private key, whole or by its half.
            for line in key
                .lines()
                .filter(|line| line.len() >= 32 && !line.contains(' '))
            {
                let half = &line[line.len() / 2..];
                let shared_with_public = public.contains(half);
                assert!(
                    shared_with_public || !text.contains(half),
                    "the key: {half}"
                );
            }
        }
        lab.stop().await;
    });
}
