//! The options of `evhttpget` (`http-tls-measurements` 2.1), and the one word that only the protocol reference has.

use std::{path::PathBuf, time::Duration};

use super::url::Url;
use crate::{
    dialect::Dialect,
    measurement::{
        Common, Rules, SpecError,
        args::{self, Given, Opt},
        machine::Family,
    },
};

/// The checked options of one `evhttpget` command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// What to ask for.
    pub url: Url,
    /// Which addresses of the host are used.
    pub family: Family,
    /// The version in the request line is 1.1; else 1.0.
    pub http_1_1: bool,
    /// What to do with it.
    pub method: Method,
    /// `--all`: report every address.
    pub all: bool,
    /// `--combine`: in one line.
    pub combine: bool,
    /// `--host`: the Host header, if not as in the URL.
    pub host: Option<String>,
    /// `--user-agent`
    pub user_agent: String,
    /// `--sni`: the server's name in the TLS hello, if not as in the URL; empty for none.
    pub sni: Option<String>,
    /// What is posted: header, file and footer, as far as given.
    pub posts: Vec<PathBuf>,
    /// `--store-headers`: bytes of header lines to report, 0 for none at all, negative for all.
    pub store_headers: i32,
    /// `--store-body`; see [`crate::wire::http::Expect::body_limit`].
    pub store_body: i32,
    /// `--read-limit`: stop after about as many bytes, 0 for no limit.
    pub read_limit: u64,
    /// `--timeout`: for each address, from its connection on.
    pub timeout: Duration,
    /// `--etim`, `--eetim`
    pub times: Times,
    /// `-I`: an address or an interface to connect from.
    pub interface: Option<String>,
}

/// The method of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// The default.
    Get,
    /// Headers only.
    Head,
    /// With a body from files.
    Post,
}

impl Method {
    /// As in the request line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
        }
    }
}

/// Which times beyond `rt` are reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Times {
    /// None.
    None,
    /// `ttr`, `ttc`, `ttfb`.
    Phases,
    /// These and when what was read.
    Reads,
}

/// The words that commands use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    Family(Family),
    Version(bool),
    Method(Method),
    All,
    Combine,
    Host,
    UserAgent,
    Sni,
    Post(usize),
    StoreHeaders,
    StoreBody,
    ReadLimit,
    Timeout,
    Times(Times),
    Interface,
    Id,
    Bundle,
    Output,
    Record,
    Replay,
}

/// The words of one dialect.
fn words(dialect: Dialect) -> Vec<Opt<Key>> {
    let mut words = vec![
        Opt::flag('4', Key::Family(Family::V4)),
        Opt::flag('6', Key::Family(Family::V6)),
        Opt::flag('0', Key::Version(false)),
        Opt::flag('1', Key::Version(true)),
        Opt::long_flag("get", Key::Method(Method::Get)),
        Opt::long_flag("head", Key::Method(Method::Head)),
        Opt::long_flag("post", Key::Method(Method::Post)),
        Opt::flag('a', Key::All).or_long("all"),
        Opt::flag('c', Key::Combine).or_long("combine"),
        Opt::long_value("host", Key::Host),
        Opt::long_value("user-agent", Key::UserAgent),
        Opt::long_value("sni", Key::Sni),
        Opt::long_value("post-header", Key::Post(0)),
        Opt::long_value("post-file", Key::Post(1)),
        Opt::long_value("post-footer", Key::Post(2)),
        Opt::long_value("store-headers", Key::StoreHeaders),
        Opt::long_value("store-body", Key::StoreBody),
        Opt::long_value("read-limit", Key::ReadLimit),
        Opt::long_value("timeout", Key::Timeout),
        Opt::long_flag("etim", Key::Times(Times::Phases)),
        Opt::long_flag("eetim", Key::Times(Times::Reads)),
        Opt::value('A', Key::Id),
        Opt::value('b', Key::Bundle),
        Opt::value('I', Key::Interface),
        Opt::value('O', Key::Output),
        Opt::value('R', Key::Replay),
        Opt::value('W', Key::Record),
    ];
    if dialect == Dialect::Starla {
        words.push(Opt::value('M', Key::StoreBody));
    }
    words
}

impl Options {
    /// Reads the words after `evhttpget`.
    ///
    /// # Errors
    /// The first word that cannot be accepted.
    pub fn parse(given: &[&str], rules: &Rules) -> Result<(Common, Self), SpecError> {
        let read = args::read(&words(rules.dialect), given)?;
        let mut common = Common::default();
        let mut options = Self::of(Url::parse(read.target()?)?);
        let mut posts = [None, None, None];
        for given in &read.options {
            match given.key {
                Key::Id => common.id = Some(given.id()?),
                Key::Bundle => common.bundle = Some(given.id()?),
                Key::Output => common.output = Some(given.output_file(rules)?),
                Key::Record => common.record = Some(given.recording(rules)?),
                Key::Replay => common.replay = Some(given.recording(rules)?),
                Key::Post(place) => posts[place] = Some(given.post_file(rules)?),
                _ => options.take(given)?,
            }
        }
        options.posts = posts.into_iter().flatten().collect();
        Ok((common, options))
    }

    /// A plain GET.
    fn of(url: Url) -> Self {
        Self {
            url,
            family: Family::Both,
            http_1_1: true,
            method: Method::Get,
            all: false,
            combine: false,
            host: None,
            user_agent: "httpget for atlas.ripe.net".to_owned(),
            sni: None,
            posts: Vec::new(),
            store_headers: 0,
            store_body: i32::MAX,
            read_limit: 0,
            timeout: Duration::from_secs(5),
            times: Times::None,
            interface: None,
        }
    }

    fn take(&mut self, given: &Given<'_, Key>) -> Result<(), SpecError> {
        match given.key {
            Key::Family(family) => self.family = family,
            Key::Version(http_1_1) => self.http_1_1 = http_1_1,
            Key::Method(method) => self.method = method,
            Key::All => self.all = true,
            Key::Combine => self.combine = true,
            Key::Host => self.host = Some(header_value(given)?),
            Key::UserAgent => self.user_agent = header_value(given)?,
            Key::Sni => self.sni = Some(given.value.to_owned()),
            Key::StoreHeaders => self.store_headers = low_32(given.whole_unsigned()?),
            Key::StoreBody => self.store_body = low_32(given.whole_unsigned()?),
            Key::ReadLimit => self.read_limit = given.whole_unsigned()?,
            Key::Timeout => {
                // Longer than 49 days is as good as that.
                let millis = given.whole_unsigned()?.min(u64::from(u32::MAX));
                self.timeout = Duration::from_millis(millis);
            }
            // The one that tells more wins.
            Key::Times(times) => self.times = self.times.max(times),
            Key::Interface => self.interface = Some(given.value.to_owned()),
            Key::Post(_) | Key::Id | Key::Bundle | Key::Output | Key::Record | Key::Replay => {}
        }
        Ok(())
    }
}

/// A value that goes into a header line as it is, so it must not end the line.
fn header_value(given: &Given<'_, Key>) -> Result<String, SpecError> {
    if given.value.contains(['\r', '\n', '\0']) {
        return Err(given.bad("text without line ends"));
    }
    Ok(given.value.to_owned())
}

/// The low 32 bits with their sign, which is what becomes of a larger number.
fn low_32(number: u64) -> i32 {
    let [a, b, c, d, ..] = number.to_le_bytes();
    i32::from_le_bytes([a, b, c, d])
}
