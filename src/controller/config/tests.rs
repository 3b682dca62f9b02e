//! Files that are accepted, and those that are not.

use super::*;

const FILE: &str = r#"
    data_dir = "/tmp/network"
    approval = "listed"
    unknown_keys = "pending"
    accepted = "/tmp/accepted"

    [registration]
    listen = "0.0.0.0:443"
    reregister = 600

    [controller]
    listen = "0.0.0.0:8443"
    advertise_host = "ctr.example.net"
    init = { wait = 100 }

    [upload]
    interval = 30
    posts_per_minute = 4

    [[probe]]
    id = 7
    name = "cellar"
    key = "SHA256:kZA7AmBZ10pjRQO8UL2SlJcPspris1Nc98/npv8cLDw"

    [[measurement]]
    command = "evping -4 -c 3 -A 1001 198.51.100.2"
    interval = 240
    spread = 3
    probes = [7]

    [[one_off]]
    command = "evping -4 -c 1 -A 2002 198.51.100.2"

    [limits]
    connections = 50
"#;

fn file(text: &str) -> Config {
    toml::from_str(text).unwrap()
}

#[test]
fn a_file_says_everything() {
    let config = file(FILE);
    assert_eq!(config.check(), Ok(()));
    assert_eq!(config.controller.init, InitPolicy::Wait(100));
    assert_eq!(config.upload.spread(), 10);
    assert!(config.probes[0].approved);
    assert!(config.measurements[0].is_for(7) && !config.measurements[0].is_for(8));
    assert_eq!(file(&toml::to_string(&config).unwrap()), config);
}

#[test]
fn an_unknown_key_is_refused_wherever_it_stands() {
    for text in [
        "data_dirr = '/x'",
        "[registration]\nport = 1",
        "[controller]\nport = 1",
        "[upload]\nrate = 1",
        "[limits]\nprobe = 1",
        "[[probe]]\nid = 1\nkey = 'x'\napprove = true",
        "[[measurement]]\ncommand = 'evping x'\ninterval = 1\nphase = 1",
        "[[one_off]]\ncommand = 'evping x'\ninterval = 1",
    ] {
        assert!(toml::from_str::<Config>(text).is_err(), "{text}");
    }
}

#[test]
fn what_probes_would_not_take_is_refused_by_name() {
    let error = |text: &str| file(text).check().unwrap_err();
    let command = |command: &str| {
        error(&format!(
            "[[measurement]]\ninterval = 1\ncommand = '{command}'"
        ))
    };
    assert!(matches!(
        error("[controller]\nadvertise_host = 'CTR.example.net'"),
        ConfigError::Host(_)
    ));
    let long = format!("[controller]\nadvertise_host = '{}'", "c".repeat(33));
    assert!(matches!(error(&long), ConfigError::Host(_)));
    assert_eq!(
        error("[registration]\nreregister = 100000"),
        ConfigError::Reregister(100_000)
    );
    assert_eq!(error("[upload]\ninterval = 0"), ConfigError::Interval(0));
    assert_eq!(
        error("[upload]\nposts_per_minute = 0"),
        ConfigError::PostsPerMinute
    );
    assert_eq!(
        error("[limits]\nchannels = 0"),
        ConfigError::Zero("channels")
    );
    assert!(matches!(
        error("[[probe]]\nid = 1\nkey = 'nonsense'"),
        ConfigError::Key(1, _)
    ));
    let twins = "[[probe]]\nid = 1\nkey = 'SHA256:kZA7AmBZ10pjRQO8UL2SlJcPspris1Nc98/npv8cLDw'\n";
    assert_eq!(error(&format!("{twins}{twins}")), ConfigError::ProbeId(1));
    for bad in [
        "reboot",
        "",
        "evping #",
        "evping \\",
        &format!("evping {}", "x".repeat(500)),
    ] {
        assert!(matches!(command(bad), ConfigError::Command { .. }), "{bad}");
    }
    let one_off = format!("[[one_off]]\ncommand = 'evping {}'", "x".repeat(248));
    assert!(matches!(error(&one_off), ConfigError::Command { .. }));
}

#[test]
fn the_defaults_can_be_worked_with() {
    assert_eq!(Config::default().check(), Ok(()));
    assert_eq!(Config::loopback(PathBuf::from("/tmp/x")).check(), Ok(()));
}
