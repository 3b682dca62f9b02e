//! Where packets leave from: an address of the host or an interface, for each family.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use serde::{Deserialize, Deserializer, Serialize, de};

/// The longest name of an interface.
const MOST_NAME: usize = 15;

/// Where packets leave from, if that is not left to the host's routing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Source {
    /// For IPv4: an address of this host, or an interface.
    #[serde(deserialize_with = "checked::<Ipv4Addr, _>")]
    pub ipv4: Option<String>,
    /// For IPv6: an address of this host, or an interface.
    #[serde(deserialize_with = "checked::<Ipv6Addr, _>")]
    pub ipv6: Option<String>,
    /// Whether the session leaves from there too: a controller takes the address that it sees for the probe's own.
    pub session: bool,
}

impl Default for Source {
    fn default() -> Self {
        Self {
            ipv4: None,
            ipv6: None,
            session: true,
        }
    }
}

impl Source {
    /// Address or interface for a family.
    #[must_use]
    pub fn of(&self, ipv6: bool) -> Option<&str> {
        if ipv6 { &self.ipv6 } else { &self.ipv4 }.as_deref()
    }
}

/// A source that cannot be one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is neither an {1} address nor the name of an interface, which has at most 15 characters"
)]
pub struct BadSource(String, &'static str);

fn check<A: FromStr>(text: &str) -> Result<(), BadSource> {
    let is_name = !text.is_empty()
        && text.len() <= MOST_NAME
        && text
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'/');
    // The other family's addresses are no names either.
    if text.parse::<A>().is_ok() || (is_name && text.parse::<IpAddr>().is_err()) {
        return Ok(());
    }
    let family = if "::".parse::<A>().is_ok() {
        "IPv6"
    } else {
        "IPv4"
    };
    Err(BadSource(text.to_owned(), family))
}

fn checked<'de, A: FromStr, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    let text = String::deserialize(from)?;
    check::<A>(&text).map_err(de::Error::custom)?;
    Ok(Some(text))
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    #[test]
    fn a_source_is_an_address_of_its_family_or_a_name() {
        let config: Config = "[source]\nipv4 = \"192.0.2.5\"\nipv6 = \"eth0.7\"\n"
            .parse()
            .unwrap();
        assert_eq!(config.source.of(false), Some("192.0.2.5"));
        assert_eq!(config.source.of(true), Some("eth0.7"));
        assert!(config.source.session);
        for (bad, words) in [
            ("ipv4 = \"2001:db8::1\"", "neither an IPv4 address nor"),
            ("ipv6 = \"192.0.2.1\"", "neither an IPv6 address nor"),
            ("ipv4 = \"\"", "neither"),
            ("ipv4 = \"a/b\"", "neither"),
            ("ipv6 = \"an-interface-name\"", "neither"),
        ] {
            let error = format!("[source]\n{bad}").parse::<Config>().unwrap_err();
            assert!(error.to_string().contains(words), "{error}");
        }
    }
}
