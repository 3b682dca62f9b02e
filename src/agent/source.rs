//! Whether packets can leave from where the configuration wants them to.

use std::net::{IpAddr, UdpSocket};

use nix::net::if_::if_nametoindex;

use crate::{config::Source, session::Sources};

/// Why packets cannot leave from the configured sources, a line each. Asks the kernel; sends nothing.
#[must_use]
pub fn source_problems(source: &Source) -> Vec<String> {
    [(false, "IPv4"), (true, "IPv6")]
        .into_iter()
        .filter_map(|(ipv6, family)| {
            let from = source.of(ipv6)?;
            let why = problem(from)?;
            Some(format!(
                "{why}: no {family} measurement works until there is, see [source] in the configuration"
            ))
        })
        .collect()
}

/// Where the session leaves from.
#[must_use]
pub fn session_sources(source: &Source) -> Sources {
    if !source.session {
        return Sources::default();
    }
    Sources {
        ipv4: source.ipv4.clone(),
        ipv6: source.ipv6.clone(),
    }
}

fn problem(from: &str) -> Option<String> {
    match from.parse::<IpAddr>() {
        Ok(address) => UdpSocket::bind((address, 0)).err().map(|error| {
            format!("there is no address {address} on this host to send from ({error})")
        }),
        Err(_) => if_nametoindex(from).err().map(|errno| {
            format!(
                "there is no interface {from} to send from ({})",
                errno.desc()
            )
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_on_this_host_is_told() {
        let source = |ipv4: &str, ipv6: Option<&str>| Source {
            ipv4: Some(ipv4.to_owned()),
            ipv6: ipv6.map(str::to_owned),
            ..Source::default()
        };
        assert!(source_problems(&Source::default()).is_empty());
        assert!(source_problems(&source("127.0.0.1", None)).is_empty());
        assert!(source_problems(&source("lo", None)).is_empty());
        let problems = source_problems(&source("192.0.2.5", Some("nosuch0")));
        assert!(problems[0].contains("no address 192.0.2.5"), "{problems:?}");
        assert!(problems[1].contains("no interface nosuch0"), "{problems:?}");
        assert!(problems[1].contains("no IPv6 measurement"), "{problems:?}");
    }
}
