//! The getopt-style option reader that all measurement types share.
//!
//! GNU rules: options and the target in any order, short options cluster and take attached arguments,
//! long options take `--name VALUE`, `--name=VALUE` and unambiguous abbreviations, `--` ends options, the last
//! of repeated options wins (`packet-measurements` 1.1, `dns-measurement` 1.1, `http-tls-measurements` 1.1).
//!
//! A type declares its options in a table and then walks over what was [`read`]. Beside the reader stand the
//! readers of values: strict integers for the packet tools, the C library's `strtoul` in the two forms in which
//! the other tools use it, and the rule for file names.

use std::path::PathBuf;

use super::{Rules, SpecError};

/// The largest number that the packet tools take.
pub const MAX_NUMBER: u32 = 2_147_483_647;

/// One option that a command takes. `key` is the type's own name for it; several declarations may share one.
#[derive(Clone, Copy, Debug)]
pub struct Opt<K> {
    short: Option<char>,
    long: Option<&'static str>,
    takes_value: bool,
    key: K,
}

impl<K> Opt<K> {
    /// A short option without a value: `-t`.
    #[must_use]
    pub const fn flag(short: char, key: K) -> Self {
        Self {
            short: Some(short),
            long: None,
            takes_value: false,
            key,
        }
    }

    /// A short option with a value: `-c 3`.
    #[must_use]
    pub const fn value(short: char, key: K) -> Self {
        Self {
            short: Some(short),
            long: None,
            takes_value: true,
            key,
        }
    }

    /// A long option without a value: `--qbuf`.
    #[must_use]
    pub const fn long_flag(long: &'static str, key: K) -> Self {
        Self {
            short: None,
            long: Some(long),
            takes_value: false,
            key,
        }
    }

    /// A long option with a value: `--port 53`.
    #[must_use]
    pub const fn long_value(long: &'static str, key: K) -> Self {
        Self {
            short: None,
            long: Some(long),
            takes_value: true,
            key,
        }
    }

    /// The same option under a long name as well (without the two dashes).
    #[must_use]
    pub fn or_long(mut self, long: &'static str) -> Self {
        self.long = Some(long);
        self
    }
}

/// One option as it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given<'a, K> {
    /// Which option.
    pub key: K,
    /// Its word, for messages: `-c` or `--port`.
    pub name: String,
    /// Its value; empty for one that takes none.
    pub value: &'a str,
}

/// A command line taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words<'a, K> {
    /// The options in the order given.
    pub options: Vec<Given<'a, K>>,
    /// Everything that is no option, in the order given.
    pub rest: Vec<&'a str>,
}

impl<'a, K> Words<'a, K> {
    /// The one word that is no option.
    ///
    /// # Errors
    /// There is none, or more than one.
    pub fn target(&self) -> Result<&'a str, SpecError> {
        match self.rest[..] {
            [target] => Ok(target),
            [] => Err(SpecError::BadOptions("no target given".to_owned())),
            [_, second, ..] => Err(SpecError::BadOptions(format!(
                "second target `{second}`: give exactly one"
            ))),
        }
    }
}

/// Takes the words after the verb apart by the declarations of `table`.
///
/// # Errors
/// An option that is unknown, ambiguous, lacks its value or has one that it does not take.
pub fn read<'a, K: Copy + PartialEq>(
    table: &[Opt<K>],
    words: &[&'a str],
) -> Result<Words<'a, K>, SpecError> {
    let mut read = Words {
        options: Vec::new(),
        rest: Vec::new(),
    };
    let mut words = words.iter().copied();
    while let Some(word) = words.next() {
        if word == "--" {
            read.rest.extend(words.by_ref());
        } else if let Some(long) = word.strip_prefix("--") {
            read.options.push(read_long(table, long, &mut words)?);
        } else if let Some(cluster) = word.strip_prefix('-').filter(|rest| !rest.is_empty()) {
            read_cluster(table, cluster, &mut words, &mut read.options)?;
        } else {
            read.rest.push(word);
        }
    }
    Ok(read)
}

fn read_long<'a, K: Copy + PartialEq>(
    table: &[Opt<K>],
    word: &'a str,
    words: &mut impl Iterator<Item = &'a str>,
) -> Result<Given<'a, K>, SpecError> {
    let (name, attached) = match word.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (word, None),
    };
    let opt = find_long(table, name)?;
    let name = format!("--{}", opt.long.unwrap_or(name));
    let value = match (opt.takes_value, attached) {
        (true, Some(value)) => value,
        (true, None) => words.next().ok_or_else(|| no_value(&name))?,
        (false, None) => "",
        (false, Some(_)) => {
            return Err(SpecError::BadOptions(format!("`{name}` takes no value")));
        }
    };
    Ok(Given {
        key: opt.key,
        name,
        value,
    })
}

/// The option with this long name, or the only one that it abbreviates. Abbreviations that lead to several names
/// of the same option are fine.
fn find_long<'t, K: Copy + PartialEq>(
    table: &'t [Opt<K>],
    name: &str,
) -> Result<&'t Opt<K>, SpecError> {
    let longs = || {
        table
            .iter()
            .filter_map(|opt| opt.long.map(|long| (long, opt)))
    };
    if let Some((_, opt)) = longs().find(|(long, _)| *long == name) {
        return Ok(opt);
    }
    let mut candidates = longs().filter(|(long, _)| long.starts_with(name));
    let Some((first, opt)) = candidates.next() else {
        return Err(SpecError::BadOptions(format!("unknown option `--{name}`")));
    };
    match candidates.find(|(_, other)| other.key != opt.key || other.takes_value != opt.takes_value)
    {
        Some((second, _)) => Err(SpecError::BadOptions(format!(
            "`--{name}` is ambiguous: `--{first}` or `--{second}`"
        ))),
        None => Ok(opt),
    }
}

fn read_cluster<'a, K: Copy>(
    table: &[Opt<K>],
    cluster: &'a str,
    words: &mut impl Iterator<Item = &'a str>,
    options: &mut Vec<Given<'a, K>>,
) -> Result<(), SpecError> {
    let mut letters = cluster.chars();
    while let Some(letter) = letters.next() {
        let name = format!("-{letter}");
        let opt = table
            .iter()
            .find(|opt| opt.short == Some(letter))
            .ok_or_else(|| SpecError::BadOptions(format!("unknown option `{name}`")))?;
        let mut value = "";
        if opt.takes_value {
            value = letters.as_str();
            if value.is_empty() {
                value = words.next().ok_or_else(|| no_value(&name))?;
            }
            letters = "".chars();
        }
        options.push(Given {
            key: opt.key,
            name,
            value,
        });
    }
    Ok(())
}

fn no_value(name: &str) -> SpecError {
    SpecError::BadOptions(format!("`{name}` needs a value"))
}

impl<K> Given<'_, K> {
    /// The value as the packet tools read integers: decimal digits only, 0 to [`MAX_NUMBER`]
    /// (`packet-measurements` section 1.1).
    ///
    /// # Errors
    /// Anything else.
    pub fn number(&self) -> Result<u32, SpecError> {
        digits(self.value)
            .and_then(|digits| digits.parse().ok())
            .filter(|number| *number <= MAX_NUMBER)
            .ok_or_else(|| self.bad("decimal digits, 0 to 2147483647"))
    }

    /// The value as the C library's `strtoul` reads it, in the way of HTTP options: base 10, and the whole
    /// text must be the number; the empty text is 0 (`http-tls-measurements` section 2.1).
    ///
    /// # Errors
    /// Something follows the number, or there is none.
    pub fn whole_unsigned(&self) -> Result<u64, SpecError> {
        match strtoul(self.value, Base::Ten) {
            (number, "") => Ok(number),
            _ => Err(self.bad("an unsigned decimal number")),
        }
    }

    /// The value as the C library's `strtoul` reads it, in the way of DNS options: what follows the number is
    /// ignored, no number is 0 (`dns-measurement` section 1.1).
    #[must_use]
    pub fn leading_unsigned(&self, base: Base) -> u64 {
        strtoul(self.value, base).0
    }

    /// The value as a measurement's or bundle's number: digits only, the empty text passes
    /// (`packet-measurements` section 1.2).
    ///
    /// # Errors
    /// Anything but digits.
    pub fn id(&self) -> Result<String, SpecError> {
        if self.value.bytes().all(|octet| octet.is_ascii_digit()) {
            Ok(self.value.to_owned())
        } else {
            Err(self.bad("digits"))
        }
    }

    /// The value as the file that results are appended to: below `data/new` of the spool directory.
    ///
    /// # Errors
    /// A file elsewhere.
    pub fn output_file(&self, rules: &Rules) -> Result<PathBuf, SpecError> {
        file(self.value, "data/new", rules)
    }

    /// The value as the file that posted bodies are taken from: below `data/out` of the spool directory.
    ///
    /// # Errors
    /// A file elsewhere.
    pub fn post_file(&self, rules: &Rules) -> Result<PathBuf, SpecError> {
        file(self.value, "data/out", rules)
    }

    /// The value as a recording, to read or to write: below `data` of the spool directory.
    ///
    /// # Errors
    /// A file elsewhere.
    pub fn recording(&self, rules: &Rules) -> Result<PathBuf, SpecError> {
        file(self.value, "data", rules)
    }

    /// The refusal of this option's value.
    #[must_use]
    pub fn bad(&self, expected: &'static str) -> SpecError {
        SpecError::BadValue {
            option: self.name.clone(),
            value: self.value.to_owned(),
            expected,
        }
    }
}

/// The text if it is decimal digits and nothing else.
fn digits(text: &str) -> Option<&str> {
    (!text.is_empty() && text.bytes().all(|octet| octet.is_ascii_digit())).then_some(text)
}

/// The base that a number is read in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Base {
    /// Ten.
    Ten,
    /// As the prefix says: `0x` sixteen, `0` eight, otherwise ten.
    AsPrefixed,
}

/// The C library's `strtoul` for 64-bit: the number and what follows it. Leading white space is skipped, a sign is
/// taken (a negative number wraps), too large a number saturates; without any digit the number is 0 and all of the
/// text follows it.
#[must_use]
pub fn strtoul(text: &str, base: Base) -> (u64, &str) {
    let white = |c: char| matches!(c, ' ' | '\t'..='\r');
    let unsigned = text.trim_start_matches(white);
    let (negative, unsigned) = match unsigned.as_bytes().first() {
        Some(b'-') => (true, &unsigned[1..]),
        Some(b'+') => (false, &unsigned[1..]),
        _ => (false, unsigned),
    };
    let hexadecimal = || {
        let rest = unsigned
            .strip_prefix("0x")
            .or_else(|| unsigned.strip_prefix("0X"))?;
        rest.starts_with(|c: char| c.is_ascii_hexdigit())
            .then_some(rest)
    };
    let (radix, number) = match base {
        Base::Ten => (10, unsigned),
        Base::AsPrefixed => match hexadecimal() {
            Some(rest) => (16, rest),
            None if unsigned.starts_with('0') => (8, unsigned),
            None => (10, unsigned),
        },
    };
    let end = number
        .find(|c: char| !c.is_digit(radix))
        .unwrap_or(number.len());
    if end == 0 {
        return (0, text);
    }
    // Only an overflow can fail here, and an overflow ignores the sign.
    let value = match u64::from_str_radix(&number[..end], radix) {
        Ok(value) if negative => value.wrapping_neg(),
        Ok(value) => value,
        Err(_) => u64::MAX,
    };
    (value, &number[end..])
}

/// The rule for file names that commands give (`packet-measurements` section 1.2): below `dir` of the spool
/// directory, which `/home/atlas` stands for; no way up. [`Rules::unsafe_paths`] lets every name pass unchanged.
///
/// # Errors
/// Any other name.
pub fn file(name: &str, dir: &'static str, rules: &Rules) -> Result<PathBuf, SpecError> {
    if rules.unsafe_paths {
        return Ok(PathBuf::from(name));
    }
    let spool = rules.spool.to_string_lossy();
    let spool = spool.trim_end_matches('/');
    let below = |root: &str| {
        name.strip_prefix(root)?
            .strip_prefix('/')?
            .strip_prefix(dir)?
            .strip_prefix('/')
    };
    match below("/home/atlas").or_else(|| below(spool)) {
        Some(rest) if !name.contains("/../") && !name.ends_with("/..") && !name.contains('\0') => {
            Ok(rules.spool.join(dir).join(rest.trim_start_matches('/')))
        }
        _ => Err(SpecError::InsecureFile(
            name.to_owned(),
            format!("{spool}/{dir}/"),
        )),
    }
}

/// Whether the C library takes the text for a numeric address of either family, so that no name was resolved and
/// no `ttr` is printed (`packet-measurements` section 1.3): IPv4 in one to four parts, each decimal, octal
/// (`010`) or hexadecimal (`0x8`), the last one filling what the others leave; IPv6 with or without a zone.
#[must_use]
pub fn is_numeric_host(host: &str) -> bool {
    is_numeric_v4(host)
        || match host.split_once('%') {
            Some((address, zone)) => {
                !zone.is_empty() && address.parse::<std::net::Ipv6Addr>().is_ok()
            }
            None => host.parse::<std::net::Ipv6Addr>().is_ok(),
        }
}

fn is_numeric_v4(host: &str) -> bool {
    let mut parts = host.split('.');
    let Some(last) = parts.next_back() else {
        return false;
    };
    let mut free_octets = 4;
    for part in parts {
        if free_octets == 1 || !number_of_part(part).is_some_and(|number| number < 1 << 8) {
            return false;
        }
        free_octets -= 1;
    }
    number_of_part(last).is_some_and(|number| number < 1 << (8 * free_octets))
}

fn number_of_part(part: &str) -> Option<u64> {
    if !part.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    match strtoul(part, Base::AsPrefixed) {
        (number, "") => Some(number),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
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
            dialect: Dialect::Reference,
            spool: PathBuf::from("/var/spool/ripe-atlas"),
            unsafe_paths,
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
            "/var/spool/ripe-atlas/data/new/7",
            "/home/atlas/data/new//7",
        ] {
            assert_eq!(
                given(name).output_file(&rules),
                Ok(PathBuf::from("/var/spool/ripe-atlas/data/new/7")),
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
            "/var/spool/ripe-atlas2/data/new/7",
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
}
