use super::*;
use crate::dialect::Dialect;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    Four,
    Count,
    Noabuf,
    A,
    Aaaa,
    Edns,
    EdnsFlags,
    Soa,
    Timeout,
}

fn table() -> Vec<Opt<Key>> {
    vec![
        Opt::flag('4', Key::Four),
        Opt::value('c', Key::Count),
        Opt::long_flag("noabuf", Key::Noabuf),
        Opt::long_value("a", Key::A),
        Opt::long_value("aaaa", Key::Aaaa),
        Opt::value('e', Key::Edns).or_long("edns0"),
        Opt::long_value("edns-flags", Key::EdnsFlags),
        Opt::value('s', Key::Soa).or_long("soa"),
        Opt::long_value("timeout", Key::Timeout),
    ]
}

fn options(words: &[&str]) -> Result<Vec<(Key, String)>, SpecError> {
    Ok(read(&table(), words)?
        .options
        .into_iter()
        .map(|given| (given.key, given.value.to_owned()))
        .collect())
}

fn given(value: &str) -> Given<'_, ()> {
    Given {
        key: (),
        name: "-c".to_owned(),
        value,
    }
}

fn rules(unsafe_paths: bool) -> Rules {
    Rules {
        unsafe_paths,
        ..super::super::tests::rules(Dialect::Reference)
    }
}

#[test]
fn short_options_cluster_and_take_attached_values() {
    assert_eq!(
        options(&["-4c3"]).unwrap(),
        [(Key::Four, String::new()), (Key::Count, "3".to_owned())]
    );
    assert_eq!(
        options(&["-c", "-4"]).unwrap(),
        [(Key::Count, "-4".to_owned())]
    );
}

#[test]
fn targets_and_options_come_in_any_order_until_two_dashes() {
    let words = read(&table(), &["x", "-4", "-", "--", "-c", "--soa"]).unwrap();
    assert_eq!(words.rest, ["x", "-", "-c", "--soa"]);
    assert_eq!(words.options.len(), 1);
}

#[test]
fn long_options_take_values_in_both_ways_and_abbreviations() {
    for words in [
        &["--timeout", "900"][..],
        &["--timeout=900"],
        &["--tim", "900"],
        &["--t=900"],
    ] {
        assert_eq!(
            options(words).unwrap(),
            [(Key::Timeout, "900".to_owned())],
            "{words:?}"
        );
    }
    assert_eq!(options(&["--no"]).unwrap(), [(Key::Noabuf, String::new())]);
    assert_eq!(
        options(&["--a", "x."]).unwrap(),
        [(Key::A, "x.".to_owned())]
    );
    assert_eq!(
        options(&["--timeout="]).unwrap(),
        [(Key::Timeout, String::new())]
    );
}

#[test]
fn words_that_cannot_be_options_are_refused_with_the_reason() {
    let error = |words: &[&str]| options(words).unwrap_err().to_string();
    assert_eq!(error(&["-x"]), "bad options: unknown option `-x`");
    assert_eq!(error(&["-4é"]), "bad options: unknown option `-é`");
    assert_eq!(error(&["--nope"]), "bad options: unknown option `--nope`");
    assert_eq!(error(&["-4c"]), "bad options: `-c` needs a value");
    assert_eq!(error(&["--soa"]), "bad options: `--soa` needs a value");
    assert_eq!(
        error(&["--noabuf=1"]),
        "bad options: `--noabuf` takes no value"
    );
    assert_eq!(
        error(&["--edns", "1"]),
        "bad options: `--edns` is ambiguous: `--edns0` or `--edns-flags`"
    );
}

#[test]
fn exactly_one_target_is_wanted() {
    let target = |words: &[&str]| read(&table(), words).unwrap().target().map(str::to_owned);
    assert_eq!(target(&["-4", "x"]), Ok("x".to_owned()));
    assert!(target(&["-4"]).is_err());
    assert!(target(&["x", "y"]).is_err());
}

#[test]
fn packet_tools_take_digits_only() {
    assert_eq!(given("0").number(), Ok(0));
    assert_eq!(given("007").number(), Ok(7));
    assert_eq!(given("2147483647").number(), Ok(MAX_NUMBER));
    for bad in [
        "",
        "-1",
        "+1",
        " 1",
        "1 ",
        "0x10",
        "2147483648",
        "99999999999999999999",
    ] {
        assert!(given(bad).number().is_err(), "{bad:?}");
    }
}

#[test]
fn strtoul_reads_as_the_c_library() {
    for (text, base, number, rest) in [
        ("12x", Base::Ten, 12, "x"),
        ("x", Base::Ten, 0, "x"),
        (" \t+5", Base::Ten, 5, ""),
        ("-1", Base::Ten, u64::MAX, ""),
        ("99999999999999999999 ", Base::Ten, u64::MAX, " "),
        ("0x10", Base::Ten, 0, "x10"),
        ("0x10", Base::AsPrefixed, 16, ""),
        ("0xg", Base::AsPrefixed, 0, "xg"),
        ("010", Base::AsPrefixed, 8, ""),
        ("08", Base::AsPrefixed, 0, "8"),
        ("", Base::Ten, 0, ""),
        ("- 1", Base::Ten, 0, "- 1"),
    ] {
        assert_eq!(strtoul(text, base), (number, rest), "{text:?}");
    }
}

#[test]
fn http_options_must_be_numbers_throughout() {
    assert_eq!(given("").whole_unsigned(), Ok(0));
    assert_eq!(given("-1").whole_unsigned(), Ok(u64::MAX));
    assert!(given("5x").whole_unsigned().is_err());
    assert!(given("-").whole_unsigned().is_err());
    assert_eq!(given("5x").leading_unsigned(Base::Ten), 5);
}

#[test]
fn ids_are_digits_or_nothing() {
    assert_eq!(given("").id(), Ok(String::new()));
    assert_eq!(given("0042").id(), Ok("0042".to_owned()));
    assert!(given("42\"").id().is_err());
    assert!(given("-1").id().is_err());
}

#[test]
fn results_go_below_data_new_under_either_name() {
    let rules = rules(false);
    for name in [
        "/home/atlas/data/new/7",
        "/var/spool/starling/data/new/7",
        "/home/atlas/data/new//7",
    ] {
        assert_eq!(
            given(name).output_file(&rules),
            Ok(PathBuf::from("/var/spool/starling/data/new/7")),
            "{name}"
        );
    }
}

#[test]
fn files_elsewhere_are_refused() {
    let rules = rules(false);
    for name in [
        "",
        "/etc/passwd",
        "data/new/7",
        "/home/atlas/data/newer/7",
        "/home/atlas/data/out/7",
        "/home/atlas/data/new",
        "/home/atlas/data/new/../../x",
        "/home/atlas/data/new/..",
        "/home/atlas/data/new/a/..",
        "/var/spool/starling2/data/new/7",
        "/home/atlas/data/new/\0",
    ] {
        assert!(
            matches!(
                given(name).output_file(&rules),
                Err(SpecError::InsecureFile(..))
            ),
            "{name}"
        );
    }
    assert!(given("/home/atlas/data/x.net").recording(&rules).is_ok());
    assert!(given("/home/atlas/data/out/x").post_file(&rules).is_ok());
}

#[test]
fn unsafe_paths_pass_unchanged() {
    assert_eq!(
        given("../x").output_file(&rules(true)),
        Ok(PathBuf::from("../x"))
    );
}

#[test]
fn numeric_hosts_are_those_of_the_c_library() {
    for host in [
        "192.0.2.1",
        "1.2",
        "1",
        "0x7f.1",
        "0177.0.0.1",
        "4294967295",
        "::1",
        "2001:db8::7",
        "fe80::1%eth0",
    ] {
        assert!(is_numeric_host(host), "{host}");
    }
    for host in [
        "",
        "a",
        "1.2.3.4.5",
        "256.1",
        "1.2.3.256",
        "4294967296",
        "1.",
        ".1",
        "1..2",
        "0x",
        "08.1.1.1",
        "::1%",
        "192.0.2.1 ",
        "-1",
        "+1",
        "1.-2",
        "host.example",
    ] {
        assert!(!is_numeric_host(host), "{host}");
    }
}

proptest::proptest! {
    #[test]
    fn no_words_panic(words in proptest::collection::vec("-{0,3}[4ceésoa0-9=]{0,6}", 0..6)) {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let _ = read(&table(), &words);
    }

    #[test]
    fn no_number_panics(text in "\\PC{0,30}") {
        let _ = strtoul(&text, Base::AsPrefixed);
        let _ = is_numeric_host(&text);
    }
}
