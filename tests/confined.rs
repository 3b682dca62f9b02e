//! The confined agent: every type of measurement works under the real Landlock, seccomp and dropped capabilities, and
//! what the process gave up is gone for good.
//!
//! Brings its own `main`, since all happens in a network namespace: there are raw sockets and a port 123 there.

#![allow(
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test fails by panicking and speaks on stdout"
)]

#[path = "support/cases.rs"]
mod cases;
#[path = "support/everybody.rs"]
mod everybody;
#[path = "support/netns.rs"]
#[allow(dead_code, reason = "shared with tests that use more of it")]
mod netns;
mod support;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use cases::{Case, cases};
use support::{
    lab::{Lab, runtime},
    service::Service,
};

const CASES: &[Case] = cases![
    every_type_measures_while_confined,
    what_was_given_up_stays_given_up,
];

fn main() -> ExitCode {
    if !netns::is_inside() {
        return netns::run_inside();
    }
    netns::run("ip link set lo up");
    cases::run(CASES)
}

/// The layers that the process says it has.
fn confinement(data: &Path) -> Vec<String> {
    let data = data.to_str().unwrap();
    let output = support::starling(&["status", "--json", "--data-dir", data]);
    let told: serde_json::Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", support::stderr(&output)));
    let layers = told["host"]["confinement"].as_array().unwrap();
    layers
        .iter()
        .map(|layer| layer["words"].as_str().unwrap().to_owned())
        .collect()
}

fn every_type_measures_while_confined() {
    let everybody = everybody::start();
    assert!(everybody.ntp, "this namespace has a port 123");
    let commands = everybody.commands();
    runtime().block_on(async {
        let mut lab = Lab::start().await;
        let service = Service::builder(&lab).arg("--allow-any-address").start();
        lab.wait_for_results("1001", 1).await;
        for (_, command) in &commands {
            lab.one_off(command).await;
        }
        let wanted: Vec<u32> = commands.iter().map(|(id, _)| *id).collect();
        lab.wait_until(|lines| wanted.iter().all(|id| result(lines, *id).is_some()))
            .await;
        let layers = confinement(&service.data());
        assert_eq!(layers.len(), 4, "{layers:#?}");
        for expected in [
            "capabilities: CAP_NET_RAW only",
            "no new privileges",
            "landlock: files",
            "seccomp: ",
        ] {
            if !layers.iter().any(|layer| layer.starts_with(expected)) {
                println!(
                    "NOT TESTED: under `{expected}`, which this kernel does not have: {layers:?}"
                );
            }
        }
        for (id, command) in &commands {
            let line = result(lab.accepted(), *id).unwrap();
            let is_answered = [
                "\"rtt\":",
                "\"rt\" :",
                "\"rt\":",
                "\"cert\":",
                "\"offset\":",
            ]
            .iter()
            .any(|sign| line.contains(sign));
            assert!(
                is_answered && !line.contains("error") && !line.contains("\"err\""),
                "{command}\n{line}"
            );
        }
        let log = service.stop().expect_success();
        assert!(log.contains("confined: "), "{log}");
        lab.stop().await;
    });
}

/// The line of this measurement.
fn result(lines: &[String], id: u32) -> Option<&String> {
    let signs = [format!("\"id\":\"{id}\""), format!("\"id\" : \"{id}\"")];
    lines
        .iter()
        .find(|line| signs.iter().any(|sign| line.contains(sign)))
}

/// A thread that is confined like the agent, and tries everything that a stranger in it would.
fn what_was_given_up_stays_given_up() {
    // Confinement holds for a thread and those that come from it: this one is never used again.
    std::thread::spawn(|| {
        let folder = tempfile::tempdir().unwrap();
        let outside = folder.path().join("outside");
        fs::write(&outside, "secret").unwrap();
        let config = starling::config::Config {
            data_dir: folder.path().join("data"),
            ..starling::config::Config::default()
        };
        let layers = starling::agent::confine(&config, &[], &[]);
        let holds = |name: &str| {
            layers
                .iter()
                .any(|layer| layer.holds && layer.words.starts_with(name))
        };
        let mut open = Vec::new();
        let mut tried = 0;
        let mut refused = |what: &str, done: bool| {
            tried += 1;
            if done {
                open.push(what.to_owned());
            }
        };
        if holds("landlock") {
            files(&mut refused, &config.data_dir, &outside);
        } else {
            println!("NOT TESTED: this kernel has no Landlock");
        }
        assert!(holds("seccomp"), "{layers:?}");
        calls(&mut refused, folder.path());
        capabilities(&mut refused);
        assert_eq!(open, [""; 0], "these ways are open: {layers:#?}");
        println!("    {tried} ways tried, none is open");
        // The folder cannot be removed from here.
        let _ = folder.keep();
    })
    .join()
    .unwrap();
}

/// Files outside of the data directory, by every way to them.
fn files(refused: &mut impl FnMut(&str, bool), data: &Path, outside: &Path) {
    fs::write(data.join("own"), "kept").expect("the data directory stays ours");
    refused("read a file", fs::read(outside).is_ok());
    refused("write a file", fs::write(outside, "changed").is_ok());
    refused("shorten a file", nix::unistd::truncate(outside, 0).is_ok());
    refused("remove a file", fs::remove_file(outside).is_ok());
    refused(
        "make a file",
        fs::write(outside.with_file_name("new"), "").is_ok(),
    );
    refused(
        "make a directory",
        fs::create_dir(outside.with_file_name("directory")).is_ok(),
    );
    refused(
        "rename a file into the data directory",
        fs::rename(outside, data.join("stolen")).is_ok(),
    );
    refused(
        "link a file into the data directory",
        fs::hard_link(outside, data.join("linked")).is_ok(),
    );
    let link = data.join("symbolic");
    if std::os::unix::fs::symlink(outside, &link).is_ok() {
        refused("read through a symbolic link", fs::read(&link).is_ok());
    }
    refused("write to /etc", fs::write("/etc/starling-test", "").is_ok());
    for listed in ["/", "/root", "/home", "/tmp", "/var", "/dev/shm"] {
        refused(&format!("list {listed}"), fs::read_dir(listed).is_ok());
    }
    refused(
        "open a disk or terminal",
        fs::File::open("/dev/tty").is_ok(),
    );
    let memory = fs::OpenOptions::new().write(true).open("/proc/self/mem");
    refused("write memory through /proc", memory.is_ok());
    let name = PathBuf::from("/proc/self/comm");
    refused("write to /proc", fs::write(name, "other").is_ok());
}

/// Programs, other processes, namespaces, the clock.
fn calls(refused: &mut impl FnMut(&str, bool), folder: &Path) {
    use nix::{mount, sched, sys::ptrace, unistd};
    let run = std::process::Command::new("/bin/true").status();
    refused("run a program", run.is_ok());
    refused("be traced", ptrace::traceme().is_ok());
    let parent = unistd::getppid();
    refused("trace another process", ptrace::attach(parent).is_ok());
    for (what, flag) in [
        ("a user namespace", sched::CloneFlags::CLONE_NEWUSER),
        ("a network namespace", sched::CloneFlags::CLONE_NEWNET),
        ("a mount namespace", sched::CloneFlags::CLONE_NEWNS),
    ] {
        refused(what, sched::unshare(flag).is_ok());
    }
    let flags = mount::MsFlags::empty();
    let mounted = mount::mount(None::<&str>, folder, Some("tmpfs"), flags, None::<&str>);
    refused("mount", mounted.is_ok());
    refused("change the root", unistd::chroot(folder).is_ok());
    refused("set the host's name", unistd::sethostname("other").is_ok());
    let clock = nix::time::ClockId::CLOCK_REALTIME;
    let now = nix::time::clock_gettime(clock).unwrap();
    refused(
        "set the clock",
        nix::time::clock_settime(clock, now).is_ok(),
    );
}

/// What root could do, and getting it back.
fn capabilities(refused: &mut impl FnMut(&str, bool)) {
    use caps::{CapSet, Capability};
    let low = std::net::TcpListener::bind("127.0.0.1:81");
    refused("listen on port 81", low.is_ok());
    let low = std::net::UdpSocket::bind("127.0.0.1:81");
    refused("take UDP port 81", low.is_ok());
    for capability in [
        Capability::CAP_SYS_ADMIN,
        Capability::CAP_NET_ADMIN,
        Capability::CAP_DAC_OVERRIDE,
        Capability::CAP_SETUID,
        Capability::CAP_NET_BIND_SERVICE,
        Capability::CAP_SYS_PTRACE,
    ] {
        for set in [
            CapSet::Effective,
            CapSet::Permitted,
            CapSet::Inheritable,
            CapSet::Ambient,
        ] {
            let raised = caps::raise(None, set, capability);
            let has = raised.is_ok() && caps::has_cap(None, set, capability).unwrap_or(true);
            refused(&format!("raise {capability} in {set:?}"), has);
        }
        let bounded = caps::has_cap(None, CapSet::Bounding, capability);
        let is_bounded = bounded.unwrap_or(true);
        let could_be = caps::has_cap(None, CapSet::Permitted, Capability::CAP_SETPCAP);
        refused(
            &format!("{capability} in the bounding set, and power over it"),
            is_bounded && could_be.unwrap_or(true),
        );
    }
    let identity = BTreeMap::from([
        (
            "become another user",
            nix::unistd::setuid(nix::unistd::Uid::from_raw(12_345)).is_ok(),
        ),
        (
            "join another group",
            nix::unistd::setgroups(&[nix::unistd::Gid::from_raw(0)]).is_ok(),
        ),
    ]);
    for (what, done) in identity {
        refused(what, done);
    }
}
