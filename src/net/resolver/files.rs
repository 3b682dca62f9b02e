//! The hosts file and the resolver file as values. Pure.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use crate::measurement::machine::Family;

/// Servers that are used at most, as in the C library.
const SERVERS: usize = 3;
/// Domains of the search list that are used at most, as in the C library.
const DOMAINS: usize = 6;

/// The hosts file: addresses by lower-case name, in the order of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Hosts(HashMap<String, Vec<IpAddr>>);

impl Hosts {
    pub(super) fn parse(text: &str) -> Self {
        let mut hosts = Self::default();
        for line in text.lines() {
            let line = line.split('#').next().unwrap_or_default();
            let mut words = line.split_ascii_whitespace();
            let Some(address) = words.next().and_then(numeric) else {
                continue;
            };
            for name in words {
                let addresses = hosts.0.entry(name.to_ascii_lowercase()).or_default();
                if !addresses.contains(&address) {
                    addresses.push(address);
                }
            }
        }
        hosts
    }

    /// The addresses of `name` that are wanted, IPv4 first; `None` if the file does not know the name, nothing
    /// if it knows only others.
    pub(super) fn find(&self, name: &str, family: Family) -> Option<Vec<IpAddr>> {
        let name = name.strip_suffix('.').unwrap_or(name);
        let known = self.0.get(&name.to_ascii_lowercase())?;
        let wanted = known.iter().copied().filter(|one| family.wants(*one));
        let (mut found, v6): (Vec<IpAddr>, Vec<IpAddr>) = wanted.partition(IpAddr::is_ipv4);
        found.extend(v6);
        Some(found)
    }

    /// The first name in alphabetical order that has this address.
    pub(super) fn name_of(&self, address: IpAddr) -> Option<&str> {
        let names = self
            .0
            .iter()
            .filter(|(_, known)| known.contains(&address))
            .map(|(name, _)| name.as_str());
        names.min()
    }
}

/// The name whose PTR record tells the name of an address (RFC 1035 section 3.5, RFC 3596 section 2.5), without
/// a final dot.
#[must_use]
pub fn reverse(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(v6) => {
            let nibbles: Vec<String> = v6
                .octets()
                .iter()
                .rev()
                .map(|octet| format!("{:x}.{:x}", octet & 15, octet >> 4))
                .collect();
            format!("{}.ip6.arpa", nibbles.join("."))
        }
    }
}

/// The resolver file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ResolverFile {
    /// Address, and the interface that a link-local one is reached through.
    pub(super) servers: Vec<(IpAddr, Option<String>)>,
    pub(super) search: Vec<String>,
    /// A name with at least so many dots is tried as it stands first.
    pub(super) dots: usize,
    /// How long one try waits.
    pub(super) timeout: Duration,
    /// How often a query is sent at most.
    pub(super) attempts: usize,
}

impl Default for ResolverFile {
    /// What holds without a file: a server on this host (`man 5 resolv.conf`), three tries of five seconds
    /// (`packet-measurements` section 1.4).
    fn default() -> Self {
        Self {
            servers: vec![(Ipv4Addr::LOCALHOST.into(), None)],
            search: Vec::new(),
            dots: 1,
            timeout: Duration::from_secs(5),
            attempts: 3,
        }
    }
}

impl ResolverFile {
    pub(super) fn parse(text: &str) -> Self {
        let mut file = Self::default();
        let mut servers = Vec::new();
        for line in text.lines() {
            let line = line.split(['#', ';']).next().unwrap_or_default();
            let mut words = line.split_ascii_whitespace();
            match words.next() {
                Some("nameserver") => servers.extend(words.next().and_then(server)),
                Some("domain") => file.search = words.take(1).map(domain).collect(),
                Some("search") => file.search = words.take(DOMAINS).map(domain).collect(),
                Some("options") => words.for_each(|word| file.option(word)),
                _ => {}
            }
        }
        file.search.retain(|domain| !domain.is_empty());
        servers.truncate(SERVERS);
        if !servers.is_empty() {
            file.servers = servers;
        }
        file
    }

    fn option(&mut self, word: &str) {
        let Some((name, value)) = word.split_once(':') else {
            return;
        };
        let Ok(value) = value.parse::<u8>() else {
            return;
        };
        match name {
            "ndots" => self.dots = usize::from(value.min(15)),
            "timeout" => self.timeout = Duration::from_secs(u64::from(value.clamp(1, 30))),
            "attempts" => self.attempts = usize::from(value.clamp(1, 5)),
            _ => {}
        }
    }

    /// The full names to ask for, without final dots, in this order.
    pub(super) fn candidates(&self, name: &str) -> Vec<String> {
        if let Some(absolute) = name.strip_suffix('.') {
            return vec![absolute.to_owned()];
        }
        let mut names: Vec<String> = self
            .search
            .iter()
            .map(|domain| format!("{name}.{domain}"))
            .collect();
        let dots = name.bytes().filter(|byte| *byte == b'.').count();
        let at = if dots >= self.dots { 0 } else { names.len() };
        names.insert(at, name.to_owned());
        names
    }
}

fn domain(text: &str) -> String {
    text.trim_matches('.').to_owned()
}

fn server(text: &str) -> Option<(IpAddr, Option<String>)> {
    let (address, interface) = match text.split_once('%') {
        Some((address, interface)) => (address, Some(interface.to_owned())),
        None => (text, None),
    };
    Some((address.parse().ok()?, interface))
}

/// The `nameserver` entries as they stand in the file (`dns-measurement` section 6.1): read in pieces of at most
/// 91 octets, at most three, nothing checked.
pub(super) fn nameservers(file: &[u8]) -> Vec<String> {
    const PIECE: usize = 91;
    let mut servers = Vec::new();
    for line in file.split_inclusive(|byte| *byte == b'\n') {
        for piece in line.chunks(PIECE) {
            let piece = String::from_utf8_lossy(piece);
            let piece = piece.strip_suffix('\n').unwrap_or(&piece);
            let mut words = piece.trim_start_matches([' ', '\t']).split([' ', '\t']);
            if words.next() == Some("nameserver") && servers.len() < SERVERS {
                let mut rest = words.skip_while(|word| word.is_empty());
                // Only blanks after the keyword: an empty name. Nothing after it: no entry.
                match rest.next() {
                    Some(server) => servers.push(server.to_owned()),
                    None if piece.ends_with([' ', '\t']) => servers.push(String::new()),
                    None => {}
                }
            }
        }
    }
    servers
}

/// A numeric address of the wanted family as the C library's numeric-host test reads it: IPv4 in one to four
/// parts, decimal, octal or hexadecimal; IPv6 with an optional `%interface`.
#[must_use]
pub fn literal(text: &str, family: Family) -> Option<IpAddr> {
    let v4 = || inet_aton(text).map(IpAddr::from);
    let v6 = || {
        let address = text.split_once('%').map_or(text, |(address, _)| address);
        address.parse::<Ipv6Addr>().ok().map(IpAddr::from)
    };
    match family {
        Family::V4 => v4(),
        Family::V6 => v6(),
        Family::Both => v4().or_else(v6),
    }
}

fn numeric(text: &str) -> Option<IpAddr> {
    text.parse().ok()
}

fn inet_aton(text: &str) -> Option<Ipv4Addr> {
    let parts: Vec<u32> = text.split('.').map(number).collect::<Option<_>>()?;
    let (last, octets) = parts.split_last()?;
    if octets.len() > 3 || octets.iter().any(|octet| *octet > 255) {
        return None;
    }
    // The last part fills what the others leave.
    let bits = 32 - 8 * u32::try_from(octets.len()).ok()?;
    if bits < 32 && *last >> bits != 0 {
        return None;
    }
    let high = octets
        .iter()
        .zip([24, 16, 8])
        .fold(0, |sum, (octet, shift)| sum | (octet << shift));
    Some(Ipv4Addr::from(high | last))
}

fn number(text: &str) -> Option<u32> {
    let (digits, radix) = match text.as_bytes() {
        [b'0', b'x' | b'X', ..] => (&text[2..], 16),
        [b'0', _, ..] => (&text[1..], 8),
        _ => (text, 10),
    };
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_alphanumeric());
    plain.then(|| u32::from_str_radix(digits, radix).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn addresses_have_names_backwards() {
        let hosts = Hosts::parse("192.0.2.1 router.example router\n");
        let known: Vec<Option<&str>> = addresses(&["192.0.2.1", "192.0.2.2"])
            .into_iter()
            .map(|address| hosts.name_of(address))
            .collect();
        assert_eq!(known, [Some("router"), None]);
        assert_eq!(
            reverse("192.0.2.1".parse().unwrap()),
            "1.2.0.192.in-addr.arpa"
        );
        assert_eq!(
            reverse("2001:db8::f1".parse().unwrap()),
            format!("1.f.{}8.b.d.0.1.0.0.2.ip6.arpa", "0.".repeat(22))
        );
    }

    #[test]
    fn hosts_are_found_by_any_name_in_any_case_ipv4_first() {
        let hosts = Hosts::parse(
            "::1 localhost\n127.0.0.1\tlocalhost loop # other\n#192.0.2.1 off\nnonsense name\n",
        );
        let both = addresses(&["127.0.0.1", "::1"]);
        assert_eq!(hosts.find("LocalHost", Family::Both), Some(both));
        assert_eq!(
            hosts.find("localhost.", Family::V6),
            Some(addresses(&["::1"]))
        );
        assert_eq!(hosts.find("loop", Family::V6), Some(Vec::new()));
        assert_eq!(hosts.find("off", Family::V4), None);
        assert_eq!(hosts.find("other", Family::V4), None);
    }

    #[test]
    fn every_line_of_a_resolver_file_counts() {
        let file = ResolverFile::parse(
            "; comment\nnameserver 192.0.2.1\nnameserver fe80::1%eth0 # note\ndomain a.example\n\
             search one.example two.example.\noptions ndots:2 timeout:1 attempts:2 rotate\n\
             nameserver bad\nnameserver 192.0.2.3\nnameserver 192.0.2.4\n",
        );
        let server = |text: &str, on: Option<&str>| (text.parse().unwrap(), on.map(str::to_owned));
        assert_eq!(
            file,
            ResolverFile {
                servers: vec![
                    server("192.0.2.1", None),
                    server("fe80::1", Some("eth0")),
                    server("192.0.2.3", None)
                ],
                search: vec!["one.example".to_owned(), "two.example".to_owned()],
                dots: 2,
                timeout: Duration::from_secs(1),
                attempts: 2,
            }
        );
    }

    #[test]
    fn an_empty_file_means_a_server_on_this_host_and_three_tries_of_five_seconds() {
        let file = ResolverFile::parse("");
        assert_eq!(file.servers, [("127.0.0.1".parse().unwrap(), None)]);
        assert_eq!((file.attempts, file.timeout), (3, Duration::from_secs(5)));
    }

    #[test]
    fn the_search_list_comes_after_a_name_with_dots_and_before_one_without() {
        let file = ResolverFile::parse("search x.example y.example\n");
        assert_eq!(
            file.candidates("a.b"),
            ["a.b", "a.b.x.example", "a.b.y.example"]
        );
        assert_eq!(file.candidates("a"), ["a.x.example", "a.y.example", "a"]);
        assert_eq!(file.candidates("a."), ["a"]);
    }

    #[test]
    fn nameserver_entries_are_taken_as_they_stand() {
        let file = b"nameserver 192.0.2.1 # text\r\n \tnameserver\t2001:db8::1\r\nnameservers x\n\
            #nameserver no\nnameserver  \nnameserver 192.0.2.4\n";
        assert_eq!(nameservers(file), ["192.0.2.1", "2001:db8::1\r", ""]);
        assert_eq!(nameservers(b"nameserver"), Vec::<String>::new());
    }

    #[test]
    fn a_long_line_goes_on_as_another_one() {
        let mut file = vec![b' '; 91];
        file.extend(b"nameserver 192.0.2.9");
        assert_eq!(nameservers(&file), ["192.0.2.9"]);
    }

    #[test]
    fn literals_are_what_the_c_library_takes_for_one() {
        for (text, expected) in [
            ("192.0.2.1", Some("192.0.2.1")),
            ("1.2", Some("1.0.0.2")),
            ("1.2.3", Some("1.2.0.3")),
            ("16909060", Some("1.2.3.4")),
            ("0x7f.1", Some("127.0.0.1")),
            ("0300.0.2.1", Some("192.0.2.1")),
            ("0", Some("0.0.0.0")),
            ("256.1.1.1", None),
            ("1.2.3.256", None),
            ("1.2.65536", None),
            ("4294967296", None),
            ("1.2.3.4.5", None),
            ("1..2", None),
            ("", None),
            ("+1.2.3.4", None),
            ("09.1.1.1", None),
            ("a", None),
            ("2001:db8::1", None),
        ] {
            let expected = expected.map(|text| text.parse().unwrap());
            assert_eq!(literal(text, Family::V4), expected, "{text}");
        }
    }

    #[test]
    fn a_literal_of_the_other_family_is_none_and_a_scope_is_dropped() {
        let address = Some("fe80::1".parse().unwrap());
        assert_eq!(literal("fe80::1%eth0", Family::V6), address);
        assert_eq!(literal("fe80::1", Family::Both), address);
        assert_eq!(literal("192.0.2.1", Family::V6), None);
        assert_eq!(literal("fe80::1", Family::V4), None);
    }

    proptest::proptest! {
        #[test]
        fn no_file_and_no_name_panics(text in "\\PC*", bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300)) {
            let file = ResolverFile::parse(&text);
            let _ = (file.candidates(&text), Hosts::parse(&text), nameservers(&bytes));
            let _ = literal(&text, Family::Both);
        }
    }
}
