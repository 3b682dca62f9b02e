//! Link-local addresses and the interfaces that they are of, without which they mean nothing.

use std::{collections::BTreeMap, net::IpAddr};

use super::format;

/// The interfaces of the link-local addresses that a run saw.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Zones(BTreeMap<IpAddr, String>);

impl Zones {
    /// `address` is of the interface of this name. Others than link-local ones are not noted, for they are printed
    /// without.
    pub fn note(&mut self, address: IpAddr, interface: &str) {
        if is_link_local(address) {
            self.0.insert(address, interface.to_owned());
        }
    }

    /// Whether the interface of `address` would be printed and is not known.
    #[must_use]
    pub fn lacks(&self, address: IpAddr) -> bool {
        is_link_local(address) && !self.0.contains_key(&address)
    }

    /// The address as the C library prints it, a link-local one with `%<interface>` (`packet-measurements` section 1.3).
    #[must_use]
    pub fn print(&self, address: IpAddr) -> String {
        let mut text = format::address(address);
        if let Some(interface) = self.0.get(&address) {
            text.push('%');
            text.push_str(interface);
        }
        text
    }
}

/// The interface that a target names behind `%`, which packets to it leave by.
#[must_use]
pub fn zone(target: &str) -> Option<&str> {
    let (address, zone) = target.split_once('%')?;
    let address: IpAddr = address.parse().ok()?;
    (is_link_local(address) && !zone.is_empty()).then_some(zone)
}

/// What a socket is bound to: the interface or address that the options name, or else the target's zone.
#[must_use]
pub fn bound_to(target: &str, named: Option<&str>) -> Option<String> {
    named.or_else(|| zone(target)).map(str::to_owned)
}

fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_link_local_addresses_have_their_interface_printed() {
        let mut zones = Zones::default();
        for (text, printed) in [
            ("fe80::1", "fe80::1%eth0"),
            ("febf::1", "febf::1%eth0"),
            ("2001:db8::1", "2001:db8::1"),
            ("169.254.0.1", "169.254.0.1"),
        ] {
            let address = text.parse().unwrap();
            zones.note(address, "eth0");
            assert_eq!(zones.print(address), printed);
            assert!(!zones.lacks(address));
        }
        let unknown = "fe80::2".parse().unwrap();
        assert!(zones.lacks(unknown));
        assert_eq!(zones.print(unknown), "fe80::2");
    }

    #[test]
    fn a_target_names_its_interface() {
        for (target, named) in [
            ("fe80::1%eth0", Some("eth0")),
            ("fe80::1%", None),
            ("fe80::1", None),
            ("2001:db8::1%eth0", None),
            ("a.example%eth0", None),
        ] {
            assert_eq!(zone(target), named, "{target}");
        }
    }
}
