//! The URL of a command (`http-tls-measurements` 2.2): taken apart by hand, nothing decoded, nothing normalised.

use crate::measurement::SpecError;

/// A URL that can be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// As the command gave it.
    pub text: String,
    /// `https`
    pub secure: bool,
    /// The host without brackets, with its zone.
    pub host: String,
    /// The port as text: a number or a service's name, or nothing sensible.
    pub port: String,
    /// Host and port as written.
    pub authority: String,
    /// From the first `/` on, with query and fragment.
    pub path: String,
}

impl Url {
    /// Takes a URL apart.
    ///
    /// # Errors
    /// Another scheme, no host, or characters that would break the request apart.
    pub fn parse(text: &str) -> Result<Self, SpecError> {
        let bad = |expected| SpecError::BadValue {
            option: "URL".to_owned(),
            value: text.to_owned(),
            expected,
        };
        if text.contains(['\r', '\n', '\0']) {
            return Err(bad("no line ends"));
        }
        let (secure, rest) = match (after(text, "http://"), after(text, "https://")) {
            (Some(rest), _) => (false, rest),
            (None, Some(rest)) => (true, rest),
            (None, None) => return Err(bad("http://… or https://…")),
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (host, rest) = match authority.strip_prefix('[') {
            Some(inner) => inner
                .split_once(']')
                .ok_or_else(|| bad("`]` after the address"))?,
            None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
        };
        if host.is_empty() {
            return Err(bad("a host"));
        }
        let port = match rest.strip_prefix(':') {
            Some(port) => port,
            None if secure => "443",
            None => "80",
        };
        Ok(Self {
            text: text.to_owned(),
            secure,
            host: host.to_owned(),
            port: port.to_owned(),
            authority: authority.to_owned(),
            path: if path.is_empty() { "/" } else { path }.to_owned(),
        })
    }

    /// The host as it is looked up, and the zone that an IPv6 literal may carry, which is bound to.
    pub(super) fn host_and_zone(&self) -> (&str, Option<&str>) {
        match self.host.split_once('%') {
            Some((address, zone))
                if !zone.is_empty() && address.parse::<std::net::Ipv6Addr>().is_ok() =>
            {
                (address, Some(zone))
            }
            _ => (&self.host, None),
        }
    }
}

/// What follows a prefix that is compared without case.
fn after<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (start, rest) = text.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}
