//! What is shipped beside the program can be read by those who must read it, and says what the program takes.

#![allow(clippy::panic, reason = "a test says what is wrong by panicking")]
#![allow(clippy::unwrap_used, reason = "a test says what is wrong by panicking")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use starling::config::Config;

fn path(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(file)
}

fn shipped(file: &str) -> String {
    fs::read_to_string(path(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// Runs a program of the host. `None`, said loudly, if it is not there.
fn reader(program: &str, args: &[&str]) -> Option<Output> {
    match Command::new(program)
        .args(args)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
    {
        Ok(output) => Some(output),
        Err(error) => {
            eprintln!("SKIPPED: {program} cannot be run ({error}), so what it reads was not tried");
            None
        }
    }
}

fn expect_success(what: &str, output: &Output) {
    assert!(
        output.status.success(),
        "{what}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// The words after the program's name must be a command line that the binary takes.
fn expect_command(what: &str, words: &[String]) {
    let (program, rest) = words.split_first().expect("a command");
    assert_eq!(program, "/usr/bin/starling", "{what}");
    starling::cli::command()
        .try_get_matches_from(std::iter::once("starling".to_owned()).chain(rest.iter().cloned()))
        .unwrap_or_else(|error| panic!("{what}: {error}"));
}

const SCRIPTS: [&str; 13] = [
    "packaging/build",
    "packaging/cross",
    "packaging/proof/install",
    "packaging/proof/inside",
    "packaging/proof/container",
    "packaging/proof/lint",
    "packaging/proof/router",
    "packaging/deb/postinst",
    "packaging/deb/prerm",
    "packaging/deb/postrm",
    "packaging/rpm/post",
    "packaging/rpm/preun",
    "packaging/rpm/postun",
];

#[test]
fn scripts_can_be_read() {
    for script in SCRIPTS
        .into_iter()
        .chain(["packaging/openwrt/files/starling.init"])
    {
        let bash = shipped(script)
            .lines()
            .next()
            .is_some_and(|line| line.ends_with("bash"));
        if let Some(read) = reader(if bash { "bash" } else { "sh" }, &["-n", script]) {
            expect_success(script, &read);
        }
    }
    for script in SCRIPTS {
        if let Some(read) = reader(
            "shellcheck",
            &["--shell=bash", "--severity=warning", script],
        ) {
            expect_success(script, &read);
        }
    }
}

#[test]
fn the_image_starts_and_checks_what_there_is() {
    let text = shipped("packaging/Containerfile");
    let words = |from: &str| -> Vec<String> {
        let line = text
            .lines()
            .find(|line| line.starts_with(from))
            .unwrap_or_else(|| panic!("no {from}"));
        let list = &line[line.find('[').expect("a list of words")..];
        serde_json::from_str(list).unwrap_or_else(|error| panic!("{from}: {error}"))
    };
    let start = [words("ENTRYPOINT"), words("CMD")].concat();
    expect_command("ENTRYPOINT and CMD", &start);
    expect_command("HEALTHCHECK", &words("HEALTHCHECK"));
    assert!(text.contains("\nUSER 65532:65532\n"));
}

#[test]
fn the_quadlet_file_gives_one_capability_and_nothing_to_write_to() {
    let text = shipped("packaging/quadlet/starling.container");
    let mut section = String::new();
    let mut settings = Vec::new();
    for line in text
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
    {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']').to_owned();
        } else {
            let (key, value) = line.split_once('=').unwrap_or_else(|| panic!("`{line}`"));
            settings.push(format!("{section} {key}={value}"));
        }
    }
    for wanted in [
        "Container DropCapability=all",
        "Container AddCapability=NET_RAW",
        "Container NoNewPrivileges=true",
        "Container ReadOnly=true",
        "Container Volume=starling:/var/lib/starling",
        "Service Restart=always",
        "Install WantedBy=multi-user.target",
    ] {
        assert!(
            settings.iter().any(|is| is == wanted),
            "{wanted}: {settings:?}"
        );
    }
    let health = settings
        .iter()
        .find_map(|is| is.strip_prefix("Container HealthCmd="))
        .expect("a health check");
    expect_command(
        "HealthCmd",
        &serde_json::from_str::<Vec<String>>(health).unwrap(),
    );
}

#[test]
fn the_compose_file_can_be_read() {
    let program = "import sys, yaml\n\
        probe = yaml.safe_load(open('packaging/compose.yaml'))['services']['probe']\n\
        assert probe['read_only'] is True and probe['cap_drop'] == ['ALL'] and probe['cap_add'] == ['NET_RAW'], probe\n";
    match reader("python3", &["-c", "import yaml"]) {
        Some(output) if output.status.success() => {}
        _ => {
            eprintln!("SKIPPED: no YAML for python3, so compose.yaml was not read");
            return;
        }
    }
    if let Some(read) = reader("python3", &["-c", program]) {
        expect_success("compose.yaml", &read);
    }
}

#[test]
fn the_routers_files_can_be_read() {
    let config: Config = shipped("packaging/openwrt/files/starling.toml")
        .parse()
        .unwrap();
    starling::agent::check(&config).unwrap();
    assert!(
        config.key_file().starts_with("/etc"),
        "upgrades keep /etc only"
    );
    let may: serde_json::Value =
        serde_json::from_str(&shipped("packaging/openwrt/files/starling.capabilities")).unwrap();
    for (set, held) in may.as_object().unwrap() {
        assert_eq!(*held, serde_json::json!(["CAP_NET_RAW"]), "{set}");
    }
}

#[test]
fn the_routers_recipe_and_script_do_what_their_readers_expect() {
    if let Some(tried) = reader("packaging/proof/router", &[]) {
        match tried.status.code() {
            Some(77) => eprintln!("{}", String::from_utf8_lossy(&tried.stdout)),
            _ => expect_success("packaging/proof/router", &tried),
        }
    }
}

#[test]
fn the_packages_of_all_kinds_are_of_this_version() {
    let version = env!("CARGO_PKG_VERSION");
    let changelog = shipped("packaging/deb/changelog");
    assert!(
        changelog.starts_with(&format!("starling-probe ({version}-1) ")),
        "{changelog}"
    );
    let recipe = shipped("packaging/openwrt/Makefile");
    assert!(recipe.contains(&format!("\nPKG_VERSION:={version}\n")));
}

#[test]
fn the_units_are_hardly_exposed() {
    for unit in [
        "systemd/starling.service",
        "systemd/starling-controller.service",
    ] {
        let file = path(unit);
        let file = file.to_str().expect("UTF-8");
        let Some(judged) = reader("systemd-analyze", &["security", "--offline=true", file]) else {
            return;
        };
        let text = String::from_utf8_lossy(&judged.stdout).into_owned();
        let exposure: f64 = text
            .lines()
            .last()
            .and_then(|line| line.split(':').nth(1))
            .and_then(|rest| rest.split_whitespace().next())
            .and_then(|number| number.parse().ok())
            .unwrap_or_else(|| panic!("{unit}: {text}"));
        assert!(exposure <= 1.5, "{unit}: {exposure}\n{text}");
    }
}
