//! The options.

use super::*;

#[test]
fn defaults_are_the_official_probes() {
    assert_eq!(
        options("host.example"),
        Options {
            target: "host.example".to_owned(),
            family: Family::V6,
            count: 3,
            size: 0,
            interval: Duration::from_secs(1),
            bind: None,
            sign: false,
            resolve_once: false,
        }
    );
}

#[test]
fn every_option_is_taken() {
    let (common, options) = parse(
        "-64prec5 -s1000 -i 60000 -I eth0 -A 1001 -B 7 -O /home/atlas/data/new/7 -R /home/atlas/data/a \
         -W /var/spool/starling/data/b x",
    )
    .unwrap();
    assert_eq!(options.family, Family::V4);
    assert_eq!((options.count, options.size), (5, 1000));
    assert_eq!(options.interval, Duration::from_secs(60));
    assert_eq!(options.bind.as_deref(), Some("eth0"));
    assert!(options.sign && options.resolve_once);
    assert_eq!(common.id.as_deref(), Some("1001"));
    assert_eq!(common.bundle.as_deref(), Some("7"));
    let file = |name| Some(PathBuf::from("/var/spool/starling/data").join(name));
    assert_eq!(common.output, file("new/7"));
    assert_eq!(common.replay, file("a"));
    assert_eq!(common.record, file("b"));
}

#[test]
fn bad_commands_are_refused() {
    for command in [
        "",
        "x y",
        "-4",
        "-i 0 x",
        "-i 60001 x",
        "-c -1 x",
        "-s x x",
        "-A 1a x",
        "-B - x",
        "-O /etc/passwd x",
        "-z x",
        "--interval 5 x",
        "-c",
    ] {
        assert!(parse(command).is_err(), "{command}");
    }
}

#[test]
fn the_starla_dialect_has_its_own_defaults_and_interval() {
    let parse = |words: &[&str]| Options::parse(words, &rules(Dialect::Starla)).unwrap().1;
    let plain = parse(&["x"]);
    assert_eq!((plain.family, plain.size, plain.count), (Family::V4, 64, 3));
    let options = parse(&["-6", "-I", "250", "x"]);
    assert_eq!(options.family, Family::V6);
    assert_eq!(options.interval, Duration::from_millis(250));
    assert_eq!(options.bind, None);
    assert_eq!(parse(&["-6", "-4", "x"]).family, Family::V4);
    assert_eq!(parse(&["-i", "250", "x"]).interval, options.interval);
}

#[test]
fn sizes_are_clamped_on_the_wire_only() {
    for (given, sent) in [(0, 32), (33, 33), (4068, 4068), (2_147_483_647, 4068)] {
        let options = options(&format!("-s {given} x"));
        assert_eq!((options.size, options.wire_size()), (given, sent));
    }
}
