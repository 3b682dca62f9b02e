//! What the probe reports of itself, end to end: each line with the values that are true, at the times of the
//! specification (`controller-protocol` section 7). The real binary against the real controller on loopback.

#![allow(clippy::unwrap_used, reason = "a test says what is wrong by panicking")]
#![allow(clippy::panic, reason = "a test says what is wrong by panicking")]

mod support;

use std::{net::SocketAddr, ops::RangeInclusive, path::Path};

use serde_json::Value;
use starling::{
    controller::{ProbeId, Request},
    report::system,
};
use support::{
    lab::{Lab, runtime},
    service::Service,
};

/// The lines of a status result, as JSON.
fn reports(lines: &[String], id: &str) -> Vec<Value> {
    let json = lines.iter().filter_map(|line| {
        let value: Value = serde_json::from_str(line.strip_prefix("RESULT ")?).ok()?;
        (value["id"] == id).then_some(value)
    });
    json.collect()
}

/// The texts of marker lines, and that each carries the time and the hardware address.
fn markers(lines: &[String], id: u16) -> Vec<String> {
    let head = format!("RESULT {id} done ");
    let mac = system::mac();
    let texts = lines.iter().filter_map(|line| {
        let (time, rest) = line.strip_prefix(&head)?.split_once(' ')?;
        assert!(time.parse::<i64>().unwrap() > 1_700_000_000, "{line}");
        let text = rest
            .strip_prefix(&mac)
            .and_then(|rest| rest.strip_prefix(' '));
        Some(
            text.unwrap_or_else(|| panic!("{line}"))
                .trim_end()
                .to_owned(),
        )
    });
    texts.collect()
}

fn counters(reports: &[Value]) -> u64 {
    let names = |value: &Value| {
        let interfaces = value["interfaces"].as_array().unwrap();
        let lo = interfaces.iter().find(|one| one["name"] == "lo").unwrap();
        lo["bytes_recv"].as_u64().unwrap()
    };
    names(reports.last().unwrap())
}

#[test]
fn the_probe_s_own_reports_are_accepted_and_true() {
    runtime().block_on(async {
        let mut lab = Lab::start().await;
        let before = system::host_uptime().as_secs();
        let bytes_before = lo_bytes();
        let service = Service::builder(&lab).start();
        // Enough batches for one that was made after the first confirmed the clock.
        lab.wait_until(|lines| {
            let synced = |value: &Value| value["lts"].as_i64() >= Some(0);
            reports(lines, "7001").iter().any(synced) && !reports(lines, "9104").is_empty()
        })
        .await;
        let lines = lab.accepted().to_vec();
        let after = system::host_uptime().as_secs();

        uptimes_are_true(&lines, before..=after);
        disk_is_true(&lines, &service.data());
        let bytes = counters(&reports(&lines, "9002"));
        assert!((bytes_before..=lo_bytes()).contains(&bytes), "{bytes}");
        addresses_are_true(&lines);
        steps_are_told(
            &lines,
            lab.registration(),
            &service.data().join("probe_key"),
        );
        reports_stand_first(&lines);
        service.stop().expect_success();
        lab.stop().await;
    });
}

/// The host's uptime in seconds, in each batch.
fn uptimes_are_true(lines: &[String], host: RangeInclusive<u64>) {
    let uptimes = reports(lines, "7001");
    for one in &uptimes {
        let uptime = one["uptime"].as_u64().unwrap();
        assert!(host.contains(&uptime), "{one}");
        assert_eq!(
            (one["fw"].as_u64(), one["mver"].as_str()),
            (Some(5120), Some("2.6.4"))
        );
    }
    assert_eq!(uptimes[0]["lts"], -1, "nobody confirmed the clock yet");
}

fn disk_is_true(lines: &[String], data: &Path) {
    let disk = system::disk(starling::dialect::Dialect::Reference, data);
    let told = &reports(lines, "9018")[0];
    assert_eq!(told["bsize"].as_u64(), Some(disk.block_size));
    assert_eq!(told["blocks"].as_u64(), Some(disk.blocks));
    let (free, kib) = (
        told["bfree"].as_u64().unwrap(),
        told["free"].as_u64().unwrap(),
    );
    assert_eq!(kib, free * (disk.block_size / 1024));
    assert!(free > 0 && free <= disk.blocks);
}

fn addresses_are_true(lines: &[String]) {
    let addresses = reports(lines, "9104");
    assert_eq!(addresses.len(), 1, "told once, unless they change");
    let inet = addresses[0]["inet-addresses"].as_array().unwrap();
    assert!(
        inet.iter()
            .any(|one| one["inet-addr"] == "127.0.0.1" && one["netmask"] == "255.0.0.0")
    );
    assert_eq!(addresses[0]["inet-dhcp"], true);
}

/// The way to the controller, step by step.
fn steps_are_told(lines: &[String], server: SocketAddr, key: &Path) {
    assert_eq!(
        markers(lines, 9000),
        [
            "STARTING ATLAS system initialized (reboot count 0)",
            "STARTING TELNETD LOCALLY"
        ]
    );
    let started = markers(lines, 9011);
    assert_eq!(
        started[0],
        format!(
            "Starting ssh -p {} atlas@{} INIT",
            server.port(),
            server.ip()
        )
    );
    assert!(started[1].starts_with("Starting ssh -p "), "{started:?}");
    assert!(
        started[1].ends_with(" INIT") && started[1].contains(path(key)),
        "{started:?}"
    );
    assert!(started[2].starts_with("Starting ssh -R "), "{started:?}");
    assert!(
        started[2].contains(":127.0.0.1:2023 -L 8080:127.0.0.1:8080 -i "),
        "{started:?}"
    );
    assert!(started[2].ends_with(" KEEP"), "{started:?}");
    assert_eq!(started.len(), 3);
}

fn reports_stand_first(lines: &[String]) {
    // 9018, 7001, 9002 and 9901 stand first in every batch (section 10 row 29).
    let first: Vec<&str> = lines.iter().take(4).map(String::as_str).collect();
    for (line, begin) in first.iter().zip([
        "RESULT { \"id\":\"9018\"",
        "RESULT { \"id\": \"7001\"",
        "RESULT { \"id\": \"9002\"",
        "RESULT 9901 ongoing ",
    ]) {
        assert!(line.starts_with(begin), "{first:#?}");
    }
    assert!(
        first[3].trim_end().ends_with(" /home/atlas/data/new/main"),
        "{}",
        first[3]
    );
    let batches = |id| reports(lines, id).len();
    assert_eq!(
        (batches("9018"), batches("7001")),
        (batches("7001"), batches("9002"))
    );
}

#[test]
fn a_lost_keep_and_a_kick_are_reported() {
    runtime().block_on(async {
        let mut lab = Lab::start().await;
        let service = Service::builder(&lab).start();
        lab.wait_for_results("1001", 1).await;
        lab.stop_controller().await;
        lab.start_controller().await;
        lab.wait_until(|lines| !markers(lines, 9010).is_empty())
            .await;
        let lost = markers(lab.accepted(), 9010);
        assert_eq!(lost[0], "no ssh client running restart registration");
        let told = |lines: &[String]| {
            markers(lines, 9011)
                .iter()
                .any(|text| text.starts_with("stderr "))
        };
        lab.wait_until(told).await;

        lab.request(Request::Kick(ProbeId(1))).await;
        lab.wait_until(|lines| !markers(lines, 9003).is_empty())
            .await;
        assert_eq!(
            markers(lab.accepted(), 9003)[0],
            "REREGISTER Controller kicked us out from KEEP"
        );
        service.stop().expect_success();
        lab.stop().await;
    });
}

fn lo_bytes() -> u64 {
    let interfaces = system::interfaces();
    let lo = interfaces.iter().find(|one| one.name == "lo");
    lo.unwrap().received[0]
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}
