//! What the commands of tables and of the one-off queue ask for (`controller-protocol` sections 4.6, 5.4 to
//! 5.8, 6; section 10 row 20).
//!
//! Measurements stay words: their options are the measurement's own business. The two utilities that this
//! probe honours, `httppost` and `condmv`, are read here. Their file names are kept as sent: what they stand
//! for, results and session, lives elsewhere in this probe.

use super::words::{
    Redirect, UtilityWords, WordsError, split_measurement, split_one_off, split_utility,
};

/// The measurement tools, by the controller's names.
const MEASUREMENTS: [&str; 6] = [
    "evping",
    "evtraceroute",
    "evtdig",
    "evhttpget",
    "evsslgetcert",
    "evntp",
];
/// Utilities that controllers may name and that this probe does not need: what they would report stands in
/// its own status lines.
const IGNORED: [&str; 4] = ["rptaddrs", "buddyinfo", "dfrm", "conntrack"];
/// Bytes of a post unless its command says otherwise.
const DEFAULT_MAX_POST_SIZE: u64 = 1_000_000;
/// Seconds of `condmv`'s suffix unless its command says otherwise.
const DEFAULT_SUFFIX: u32 = 60;

/// What a command of a table asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Task {
    /// A measurement: its words, verb first.
    Measure(Vec<String>),
    /// An upload.
    HttpPost(HttpPost),
    /// Moving results and writing a marker line.
    CondMv(CondMv),
    /// A utility that this probe does not need, by name.
    Ignored(String),
}

impl Task {
    /// Reads a command of the measurement table (`7`): the six measurements and `condmv`, each followed by
    /// exactly one space.
    ///
    /// # Errors
    /// [`TaskError::Words`] is the reason for the 9807 line; [`TaskError::Options`] has none in that line.
    pub fn of_measurement_table(command: &str) -> Result<Self, TaskError> {
        let verb = command.split(' ').next().unwrap_or_default();
        if IGNORED.contains(&verb) {
            return Ok(Self::Ignored(verb.to_owned()));
        }
        // The official daemon looks for the name and a space before it looks at anything else.
        let has_space = command.len() > verb.len();
        if !has_space || !(MEASUREMENTS.contains(&verb) || verb == "condmv") {
            return Err(WordsError::NotFound.into());
        }
        let words = split_measurement(command)?;
        if verb == "condmv" {
            return Ok(Self::CondMv(CondMv::parse(&words)?));
        }
        Ok(Self::Measure(words))
    }

    /// Reads a command of the `main` table: `httppost` and `condmv`.
    ///
    /// # Errors
    /// Why it is skipped, which the official probe does without a word.
    pub fn of_main_table(command: &str) -> Result<Self, TaskError> {
        let UtilityWords { words, redirect } = split_utility(command)?;
        match words.first().map(String::as_str) {
            Some("httppost") => Ok(Self::HttpPost(HttpPost::parse(&words, redirect)?)),
            Some("condmv") => Ok(Self::CondMv(CondMv::parse(&words)?)),
            Some(verb) if IGNORED.contains(&verb) => Ok(Self::Ignored(verb.to_owned())),
            _ => Err(WordsError::NotFound.into()),
        }
    }
}

/// Why a command is not run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TaskError {
    /// It has no words.
    #[error(transparent)]
    Words(#[from] WordsError),
    /// The utility refuses its options.
    #[error(transparent)]
    Options(#[from] OptionError),
}

/// Why a utility refuses its options.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionError {
    /// An option that it does not have, or an abbreviation of several.
    #[error("unknown option `{0}`")]
    Unknown(String),
    /// An option without its argument, or with one too many.
    #[error("option `{0}`: its argument is missing or not wanted")]
    Argument(String),
    /// A number that is none.
    #[error("option `{option}`: bad number `{value}`")]
    Number {
        /// The option.
        option: &'static str,
        /// What was given.
        value: String,
    },
    /// Not as many words besides the options as there have to be.
    #[error("{found} words besides the options instead of {expected}")]
    Operands {
        /// How many there have to be.
        expected: usize,
        /// How many there are.
        found: usize,
    },
    /// Not a URL that can be posted to.
    #[error("bad URL `{0}`: http://host[:port]/path is needed")]
    Url(String),
}

/// What a one-off line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OneOff {
    /// A measurement: its words, verb first.
    Measure(Vec<String>),
    /// Post now.
    Post,
    /// Wait until idle, then create the file.
    Barrier(String),
    /// Read the resolver file again.
    ReloadResolvConf,
}

impl OneOff {
    /// Reads a one-off command.
    ///
    /// # Errors
    /// The reason for the 9809 line.
    pub fn parse(command: &str) -> Result<Self, WordsError> {
        match command.trim_end_matches([' ', '\t']) {
            "post" => return Ok(Self::Post),
            "reload_resolv_conf" => return Ok(Self::ReloadResolvConf),
            _ => {}
        }
        let (verb, rest) = command.split_once(' ').ok_or(WordsError::NotFound)?;
        if verb == "barrier" {
            return Ok(Self::Barrier(rest.trim().to_owned()));
        }
        if !MEASUREMENTS.contains(&verb) {
            return Err(WordsError::NotFound);
        }
        split_one_off(command).map(Self::Measure)
    }
}

/// A checked `httppost`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpPost {
    /// `-A`: the id of its own report lines.
    pub id: Option<String>,
    /// `--set-time`: how far the clock may be off, in seconds; `None` (also for 0) does not look.
    pub set_time: Option<u32>,
    /// `--delete-file`: what was accepted is deleted.
    pub delete_file: bool,
    /// `--maxpostsize`: most bytes of a body.
    pub max_post_size: u64,
    /// `--post-header`
    pub post_header: Option<String>,
    /// `--post-dir`
    pub post_dir: Option<String>,
    /// `--post-file`
    pub post_file: Option<String>,
    /// `--post-footer`
    pub post_footer: Option<String>,
    /// `--local-time`: send `Unix-Date`.
    pub local_time: bool,
    /// `--timeout`: most seconds until the status line.
    pub timeout: Option<u32>,
    /// `-O`: where the answer's body goes.
    pub output: Option<String>,
    /// URL host without port and brackets.
    pub host: String,
    /// URL port.
    pub port: Option<u16>,
    /// Path and query of the URL, as sent.
    pub path_and_query: String,
    /// Where its report lines go.
    pub redirect: Option<Redirect>,
}

/// Which of the two uploads a line asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Results.
    Main,
    /// Header and footer only, for the time.
    TimeSync,
}

impl HttpPost {
    /// Which upload this is: one that names nothing to send between header and footer is for the time.
    #[must_use]
    pub const fn purpose(&self) -> Purpose {
        if self.post_dir.is_some() || self.post_file.is_some() {
            Purpose::Main
        } else {
            Purpose::TimeSync
        }
    }

    fn parse(words: &[String], redirect: Option<Redirect>) -> Result<Self, OptionError> {
        const OPTIONS: [Flag; 11] = [
            Flag("-A", true),
            Flag("-O", true),
            Flag("--set-time", true),
            Flag("--delete-file", false),
            Flag("--maxpostsize", true),
            Flag("--post-header", true),
            Flag("--post-dir", true),
            Flag("--post-file", true),
            Flag("--post-footer", true),
            Flag("--local-time", false),
            Flag("--timeout", true),
        ];
        let (options, operands) = read(words, &OPTIONS)?;
        let [url] = operands.as_slice() else {
            return Err(OptionError::Operands {
                expected: 1,
                found: operands.len(),
            });
        };
        let (host, port, path_and_query) = url_parts(url)?;
        let mut post = Self {
            id: None,
            set_time: None,
            delete_file: false,
            max_post_size: DEFAULT_MAX_POST_SIZE,
            post_header: None,
            post_dir: None,
            post_file: None,
            post_footer: None,
            local_time: false,
            timeout: None,
            output: None,
            host,
            port,
            path_and_query,
            redirect,
        };
        for (option, value) in options {
            match option {
                "-A" => post.id = Some(digits(option, value)?),
                "-O" => post.output = Some(value),
                "--set-time" => {
                    post.set_time = Some(number(option, value)?).filter(|tolerance| *tolerance > 0);
                }
                "--delete-file" => post.delete_file = true,
                "--maxpostsize" => post.max_post_size = number(option, value)?,
                "--post-header" => post.post_header = Some(value),
                "--post-dir" => post.post_dir = Some(value),
                "--post-file" => post.post_file = Some(value),
                "--post-footer" => post.post_footer = Some(value),
                "--local-time" => post.local_time = true,
                _ => post.timeout = Some(number(option, value)?),
            }
        }
        Ok(post)
    }
}

/// Host, port, path and query. Nothing in them may end a header line or a word of one.
fn url_parts(url: &str) -> Result<(String, Option<u16>, String), OptionError> {
    let bad = || OptionError::Url(url.chars().take(80).collect());
    if url.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(bad());
    }
    let rest = url.strip_prefix("http://").ok_or_else(bad)?;
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let (host, port) = match authority.strip_prefix('[') {
        Some(literal) => {
            let (host, after) = literal.split_once(']').ok_or_else(bad)?;
            match after.strip_prefix(':') {
                Some(port) => (host, Some(port)),
                None if after.is_empty() => (host, None),
                None => return Err(bad()),
            }
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let port = match port {
        None => None,
        Some(port) => Some(port.parse::<u16>().map_err(|_| bad())?),
    };
    if host.is_empty() || port == Some(0) {
        return Err(bad());
    }
    let path = if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("/{path}")
    };
    Ok((host.to_owned(), port, path))
}

/// A checked `condmv`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CondMv {
    /// `-A`: the text of the marker line, which time and path follow.
    pub text: Option<String>,
    /// `-f`: even if the destination exists.
    pub force: bool,
    /// `-i`: granularity of the destination's suffix in the measurement table, seconds.
    pub interval: u32,
    /// From, as sent.
    pub from: String,
    /// To, as sent.
    pub to: String,
}

impl CondMv {
    fn parse(words: &[String]) -> Result<Self, OptionError> {
        const OPTIONS: [Flag; 3] = [Flag("-A", true), Flag("-f", false), Flag("-i", true)];
        let (options, operands) = read(words, &OPTIONS)?;
        let [from, to] = operands.as_slice() else {
            return Err(OptionError::Operands {
                expected: 2,
                found: operands.len(),
            });
        };
        let mut condmv = Self {
            text: None,
            force: false,
            interval: DEFAULT_SUFFIX,
            from: from.clone(),
            to: to.clone(),
        };
        for (option, value) in options {
            match option {
                "-A" => condmv.text = Some(value),
                "-f" => condmv.force = true,
                _ => {
                    condmv.interval = number(option, value.clone())?;
                    if condmv.interval == 0 {
                        return Err(OptionError::Number { option, value });
                    }
                }
            }
        }
        Ok(condmv)
    }
}

/// An option's name and whether it takes an argument.
#[derive(Clone, Copy)]
struct Flag(&'static str, bool);

/// Options with their arguments (empty for those that take none) in the order given, and the other words.
type Read = (Vec<(&'static str, String)>, Vec<String>);

/// GNU rules: options anywhere, `-Ax`, `--name=x`, unambiguous abbreviations of long names, `--` ends them.
fn read(words: &[String], flags: &[Flag]) -> Result<Read, OptionError> {
    let (mut options, mut operands) = (Vec::new(), Vec::new());
    let mut words = words.iter().skip(1).cloned();
    while let Some(word) = words.next() {
        if word == "--" {
            operands.extend(words.by_ref());
        } else if word.starts_with("--") {
            let (name, attached) = match word.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (&*word, None),
            };
            let Flag(name, takes) = long(name, flags)?;
            let value = match (takes, attached) {
                (true, None) => words.next(),
                (true, attached) => attached,
                (false, None) => Some(String::new()),
                (false, Some(_)) => None,
            };
            options.push((name, value.ok_or(OptionError::Argument(word))?));
        } else if word.len() > 1 && word.starts_with('-') {
            short(&word, flags, &mut words, &mut options)?;
        } else {
            operands.push(word);
        }
    }
    Ok((options, operands))
}

fn long(name: &str, flags: &[Flag]) -> Result<Flag, OptionError> {
    let mut fitting = flags
        .iter()
        .filter(|flag| flag.0.len() > 2 && flag.0.starts_with(name));
    match (fitting.next(), fitting.next()) {
        (Some(flag), None) => Ok(*flag),
        _ => flags
            .iter()
            .find(|flag| flag.0 == name)
            .copied()
            .ok_or_else(|| OptionError::Unknown(name.to_owned())),
    }
}

fn short(
    word: &str,
    flags: &[Flag],
    words: &mut impl Iterator<Item = String>,
    options: &mut Vec<(&'static str, String)>,
) -> Result<(), OptionError> {
    let mut rest = &word[1..];
    while let Some(letter) = rest.chars().next() {
        rest = &rest[letter.len_utf8()..];
        let Flag(name, takes) = flags
            .iter()
            .find(|flag| flag.0.len() == 2 && flag.0.ends_with(letter) && letter != '-')
            .copied()
            .ok_or_else(|| OptionError::Unknown(word.to_owned()))?;
        let value = match (takes, std::mem::take(&mut rest)) {
            (false, cluster) => {
                rest = cluster;
                Some(String::new())
            }
            (true, "") => words.next(),
            (true, attached) => Some(attached.to_owned()),
        };
        options.push((
            name,
            value.ok_or_else(|| OptionError::Argument(word.to_owned()))?,
        ));
    }
    Ok(())
}

fn number<N: std::str::FromStr>(option: &'static str, value: String) -> Result<N, OptionError> {
    let value = digits(option, value)?;
    value
        .parse()
        .map_err(|_| OptionError::Number { option, value })
}

fn digits(option: &'static str, value: String) -> Result<String, OptionError> {
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        Ok(value)
    } else {
        Err(OptionError::Number { option, value })
    }
}

#[cfg(test)]
#[path = "utility_tests.rs"]
mod tests;
