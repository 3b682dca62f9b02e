//! Every shipped example is loaded, and what it says about defaults is so.

#![allow(clippy::panic, reason = "a test says what is wrong by panicking")]
#![allow(clippy::unwrap_used, reason = "a test says what is wrong by panicking")]

use std::{collections::BTreeSet, fs, path::Path, process::Command};

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

/// The environment variables that a subcommand takes.
fn variables(command: &str) -> BTreeSet<String> {
    let commands = starling::cli::command();
    let command = commands.find_subcommand(command).unwrap();
    let names = command.get_arguments().filter_map(clap::Arg::get_env);
    names
        .map(|name| name.to_str().unwrap().to_owned())
        .collect()
}

/// What `--print-config` prints with this environment.
fn printed(command: &str, variable: &str, value: &str) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_starling"))
        .args([command, "--print-config"])
        .env_clear()
        .env(variable, value)
        .output()
        .unwrap();
    assert_eq!(
        output.status.code(),
        Some(0),
        "{variable}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// Each variable takes effect, and there is none but those.
fn check_variables(command: &str, example: &str, cases: &[(&str, &str, &str)], others: &[&str]) {
    let text = shipped(example);
    let mut known: BTreeSet<String> = others.iter().map(|name| (*name).to_owned()).collect();
    for (variable, value, setting) in cases {
        let told = printed(command, variable, value);
        assert!(
            told.lines().any(|line| line == *setting),
            "{variable}={value} does not make {setting}:\n{told}"
        );
        assert!(text.contains(variable), "{variable} is not in {example}");
        known.insert((*variable).to_owned());
    }
    assert_eq!(variables(command), known);
}

#[test]
fn each_environment_variable_of_the_probe_goes_before_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("starling.toml");
    fs::write(&file, "[spool]\nmax_bytes = 4242\n").unwrap();
    check_variables(
        "run",
        "packaging/starling.toml",
        &[
            (
                "STARLING_CONFIG",
                file.to_str().unwrap(),
                "max_bytes = 4242",
            ),
            ("STARLING_DATA_DIR", "/x/data", "data_dir = \"/x/data\""),
            ("STARLING_KEY_FILE", "/x/key", "key_file = \"/x/key\""),
            (
                "STARLING_REGISTRATION_SERVERS",
                "a.example,b.example:8443",
                "port = 8443",
            ),
            ("STARLING_DIALECT", "starla", "dialect = \"starla\""),
            ("STARLING_UPLOAD_INTERVAL", "7m", "interval = \"420s\""),
            (
                "STARLING_ALLOW_ANY_ADDRESS",
                "true",
                "allow_any_address = true",
            ),
            ("STARLING_METRICS_LISTEN", "[::1]:9", "listen = \"[::1]:9\""),
            ("STARLING_METRICS_LISTEN", "[::1]:9", "enabled = true"),
            ("STARLING_TEE", "-", "to = \"stdout\""),
            ("STARLING_TEE", "/x/copies", "file = \"/x/copies\""),
            ("STARLING_LOG_LEVEL", "warn", "level = \"warn\""),
            ("STARLING_LOG_FORMAT", "json", "format = \"json\""),
        ],
        &[],
    );
}

#[test]
fn each_environment_variable_of_the_controller_goes_before_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("controller.toml");
    fs::write(&file, "[registration]\nreregister = 4242\n").unwrap();
    check_variables(
        "controller",
        "packaging/starling-controller.toml",
        &[
            (
                "STARLING_CONTROLLER_CONFIG",
                file.to_str().unwrap(),
                "reregister = 4242",
            ),
            ("STARLING_CONTROLLER_DATA_DIR", "/x", "data_dir = \"/x\""),
            (
                "STARLING_REGISTRATION_LISTEN",
                "127.0.0.1:1",
                "listen = \"127.0.0.1:1\"",
            ),
            (
                "STARLING_CONTROLLER_LISTEN",
                "127.0.0.1:2",
                "listen = \"127.0.0.1:2\"",
            ),
            (
                "STARLING_CONTROLLER_HOST",
                "c.example",
                "advertise_host = \"c.example\"",
            ),
            ("STARLING_APPROVE_ALL", "true", "approval = \"automatic\""),
            (
                "STARLING_CONTROLLER_ACCEPTED",
                "/x/a",
                "accepted = \"/x/a\"",
            ),
        ],
        // Not in its file.
        &["STARLING_LOG_LEVEL", "STARLING_LOG_FORMAT"],
    );
}

#[test]
fn a_controllers_misspelt_key_is_told_with_place_and_suggestion() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("controller.toml");
    fs::write(&file, "[upload]\ninterval = 60\n[controller]\nlistn = 1\n").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_starling"))
        .args(["controller", "--check", "--config"])
        .arg(&file)
        .env_clear()
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(78));
    let words = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        words,
        format!(
            "starling: {}, line 4: unknown key 'listn' in [controller]; did you mean 'listen'?\n",
            file.display()
        )
    );
}
