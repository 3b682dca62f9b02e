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
        if free_octets == 1 || number_of_part(part).is_none_or(|number| number >= 1 << 8) {
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
mod tests;
