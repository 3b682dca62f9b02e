//! Every shipped example is loaded, and what it says about defaults is so.

#![allow(clippy::panic, reason = "a test says what is wrong by panicking")]

use std::{fs, path::Path};

use starling::{config::Config, controller};

fn shipped(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The example with every commented-out setting in force.
fn with_defaults_spelled_out(text: &str) -> String {
    text.lines()
        .map(|line| match line.strip_prefix('#') {
            Some(setting) if !setting.starts_with(' ') => setting,
            _ => line,
        })
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn the_probes_example_is_the_default() {
    let text = shipped("packaging/starling.toml");
    assert_eq!(text.parse::<Config>().unwrap(), Config::default());
}

#[test]
fn the_probes_example_shows_the_defaults() {
    let text = with_defaults_spelled_out(&shipped("packaging/starling.toml"));
    let config: Config = text.parse().unwrap();
    assert_eq!(
        config.registration.servers.len(),
        1,
        "the example server is spelled out"
    );
    // Defaults that cannot be spelled out as they are.
    let mut expected = Config {
        registration: config.registration.clone(),
        key_file: config.key_file.clone(),
        ..Config::default()
    };
    expected.source.ipv4.clone_from(&config.source.ipv4);
    expected.source.ipv6.clone_from(&config.source.ipv6);
    expected.tee.file.clone_from(&config.tee.file);
    assert_eq!(config, expected);
    assert_eq!(config.key_file(), Config::default().key_file());
    assert_eq!(config.tee_file(), Config::default().tee_file());
}

#[test]
fn the_controllers_example_can_be_used() {
    let text = shipped("packaging/starling-controller.toml");
    let config: controller::Config = toml::from_str(&text).unwrap();
    config.check().unwrap();
    assert_eq!(config.probes.len(), 1);
    assert_eq!(config.measurements.len(), 1);
}

#[test]
fn the_controllers_example_shows_the_defaults() {
    let text = with_defaults_spelled_out(&shipped("packaging/starling-controller.toml"));
    let config: controller::Config = toml::from_str(&text).unwrap();
    let default = controller::Config::default();
    assert_eq!(config.data_dir, default.data_dir);
    assert_eq!(config.approval, default.approval);
    assert_eq!(config.unknown_keys, default.unknown_keys);
    assert_eq!(config.registration, default.registration);
    assert_eq!(config.controller.listen, default.controller.listen);
    assert_eq!(config.upload.interval, default.upload.interval);
    assert_eq!(
        config.upload.timesync_interval,
        default.upload.timesync_interval
    );
}

#[test]
fn the_units_start_what_there_is() {
    for (unit, command) in [
        ("systemd/starling.service", "run"),
        ("systemd/starling-controller.service", "controller"),
    ] {
        let text = shipped(unit);
        let start = text
            .lines()
            .find_map(|line| line.strip_prefix("ExecStart="))
            .unwrap_or_else(|| panic!("{unit} starts nothing"));
        let words: Vec<&str> = start.split_whitespace().collect();
        assert_eq!(words[..2], ["/usr/bin/starling", command]);
        // The words must be a command line that the binary takes.
        starling::cli::command()
            .try_get_matches_from(std::iter::once("starling").chain(words[1..].iter().copied()))
            .unwrap_or_else(|error| panic!("{unit}: {error}"));
    }
}
