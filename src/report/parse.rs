//! The texts of `/proc` and `/etc`, read as values. Pure; what cannot be read is left out.

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use super::lines::{Inet6, Interface, MOST_INTERFACES, Route, Route6};

/// Name servers that 9104 tells (`controller-protocol` section 7.3).
const MOST_NAMESERVERS: usize = 3;

/// The counters in `/proc/net/dev`, in its order.
#[must_use]
pub fn interfaces(text: &str) -> Vec<Interface> {
    text.lines()
        .filter_map(interface)
        .take(MOST_INTERFACES)
        .collect()
}

fn interface(line: &str) -> Option<Interface> {
    // The name may touch the first counter, and an alias has a colon of its own.
    let (name, counters) = line.rsplit_once(':')?;
    let counters = counters
        .split_ascii_whitespace()
        .map(|word| word.parse().ok());
    let counters: Vec<u64> = counters.collect::<Option<_>>()?;
    Some(Interface {
        name: name.trim().to_owned(),
        received: counters.get(..8)?.try_into().ok()?,
        sent: counters.get(8..16)?.try_into().ok()?,
    })
}

/// The IPv4 routes of `/proc/net/route`, at most so many. A last line that was cut off is left out.
#[must_use]
pub fn routes(text: &str, most: usize) -> Vec<Route> {
    whole_lines(text).filter_map(route).take(most).collect()
}

fn route(line: &str) -> Option<Route> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    // Addresses are printed as the number that their bytes are in memory.
    let address = |index: usize| {
        let number = u32::from_str_radix(words.get(index)?, 16).ok()?;
        Some(Ipv4Addr::from(number.to_ne_bytes()))
    };
    Some(Route {
        interface: (*words.first()?).to_owned(),
        destination: address(1)?,
        next_hop: address(2)?,
        netmask: address(7)?,
    })
}

/// The IPv6 addresses of `/proc/net/if_inet6`, at most so many.
#[must_use]
pub fn inet6(text: &str, most: usize) -> Vec<Inet6> {
    whole_lines(text)
        .filter_map(inet6_line)
        .take(most)
        .collect()
}

fn inet6_line(line: &str) -> Option<Inet6> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    Some(Inet6 {
        address: address6(words.first()?)?,
        prefix: u8::from_str_radix(words.get(2)?, 16).ok()?,
        scope: u8::from_str_radix(words.get(3)?, 16).ok()?,
        interface: (*words.get(5)?).to_owned(),
    })
}

/// The IPv6 routes of `/proc/net/ipv6_route` that 9104 tells, at most so many: none that is down, that address
/// configuration cached, that is for one host or for multicast (`controller-protocol` section 7.3).
#[must_use]
pub fn routes6(text: &str, most: usize) -> Vec<Route6> {
    let routes = whole_lines(text).filter_map(route6);
    routes.filter(is_told).take(most).collect()
}

fn route6(line: &str) -> Option<Route6> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let number = |index: usize| u32::from_str_radix(words.get(index)?, 16).ok();
    Some(Route6 {
        destination: address6(words.first()?)?,
        prefix: u8::from_str_radix(words.get(1)?, 16).ok()?,
        next_hop: address6(words.get(4)?)?,
        metric: number(5)?.cast_signed(),
        flags: number(8)?,
        interface: (*words.get(9)?).to_owned(),
    })
}

fn is_told(route: &Route6) -> bool {
    let cached = Route6::ADDRCONF | Route6::CACHE;
    let multicast = matches!(route.destination.segments()[0], 0xff00 | 0xff02);
    route.flags & Route6::UP != 0
        && route.flags & cached != cached
        && !multicast
        && route.prefix != 128
}

fn address6(digits: &str) -> Option<Ipv6Addr> {
    let digits = Some(digits).filter(|digits| digits.len() == 32)?;
    u128::from_str_radix(digits, 16).ok().map(Ipv6Addr::from)
}

/// The lines that have an end.
fn whole_lines(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive('\n')
        .filter_map(|line| line.strip_suffix('\n'))
}

/// The first name servers of `/etc/resolv.conf`.
#[must_use]
pub fn nameservers(text: &str) -> Vec<String> {
    let servers = text.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        (words.next() == Some("nameserver"))
            .then(|| words.next())
            .flatten()
    });
    servers.take(MOST_NAMESERVERS).map(str::to_owned).collect()
}

/// `ID` and `VERSION_ID` of `/etc/os-release`, quotes removed as a shell does; `generic` and `unknown` where
/// they are missing (`controller-protocol` section 2.2).
#[must_use]
pub fn os_release(text: &str) -> (String, String) {
    let value = |key: &str| {
        // As with a shell, the last assignment counts.
        let line = text
            .lines()
            .rev()
            .find_map(|line| line.trim().strip_prefix(key)?.strip_prefix('='));
        line.map(unquoted).filter(|value| !value.is_empty())
    };
    let id = value("ID").unwrap_or_else(|| "generic".to_owned());
    let version = value("VERSION_ID").unwrap_or_else(|| "unknown".to_owned());
    (id, version)
}

/// The value of a shell assignment, as one word of the registration: without blanks.
fn unquoted(value: &str) -> String {
    let mut text = String::new();
    let (mut quote, mut chars) = (None, value.chars());
    while let Some(c) = chars.next() {
        match c {
            '"' | '\'' if quote == Some(c) => quote = None,
            '"' | '\'' if quote.is_none() => quote = Some(c),
            '\\' if quote != Some('\'') => text.extend(chars.next()),
            _ if quote.is_none() && (c.is_whitespace() || c == '#' || c == ';') => break,
            _ => text.push(c),
        }
    }
    text.chars()
        .filter(char::is_ascii_graphic)
        .take(64)
        .collect()
}

/// The host's uptime from `/proc/uptime`, whole seconds.
#[must_use]
pub fn uptime(text: &str) -> Option<Duration> {
    let seconds = text.split(['.', ' ', '\n']).next()?;
    seconds.parse().ok().map(Duration::from_secs)
}
