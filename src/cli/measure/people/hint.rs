//! What a person can do about a failure whose own words, those of result lines, do not say it. Pure.

use std::net::IpAddr;

use nix::errno::Errno;

use crate::measurement::machine::{Failure as Refusal, ResolveError};

/// The remedy for a socket or connection to `to` that the system refused.
pub(super) fn refused(to: IpAddr, cause: &Refusal) -> Option<String> {
    let Refusal::Os { errno, .. } = cause else {
        return None;
    };
    let family = if to.is_ipv4() { "IPv4" } else { "IPv6" };
    match Errno::from_raw(*errno) {
        Errno::EINVAL if is_link_local(to) => Some(format!(
            "{to} is a link-local address: it exists on every link, so name the interface too, as in {to}%eth0"
        )),
        Errno::ENETUNREACH => Some(format!(
            "this host has no route to {to}: check its network, or whether it has {family} at all"
        )),
        Errno::EADDRNOTAVAIL => Some(format!(
            "this host has no {family} address that could reach {to}: check its network"
        )),
        Errno::ENODEV => Some("there is no such interface here: `ip link` lists them".to_owned()),
        _ => None,
    }
}

/// The remedy for a name that has no address.
pub(super) fn unresolved(error: ResolveError) -> String {
    match error {
        ResolveError::NotKnown => "there is no such name: check how it is written".to_owned(),
        ResolveError::Failed => {
            "no resolver of /etc/resolv.conf gave an address of the wanted family: either the name has none, or the \
             resolvers do not answer; `starling check` looks them over"
                .to_owned()
        }
    }
}

fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measurement::machine::Call;

    fn os(errno: Errno) -> Refusal {
        Refusal::Os {
            call: Call::Connect,
            errno: errno as i32,
        }
    }

    #[test]
    fn a_link_local_target_without_an_interface_is_told_to_name_one() {
        let to = "fe80::1".parse().unwrap();
        let hint = refused(to, &os(Errno::EINVAL)).unwrap();
        assert!(hint.ends_with("as in fe80::1%eth0"), "{hint}");
        assert_eq!(refused("::1".parse().unwrap(), &os(Errno::EINVAL)), None);
    }

    #[test]
    fn no_route_names_the_family() {
        let hint = refused("2001:db8::1".parse().unwrap(), &os(Errno::ENETUNREACH)).unwrap();
        assert!(hint.contains("IPv6"), "{hint}");
        let refusal = os(Errno::ECONNREFUSED);
        assert_eq!(refused("192.0.2.1".parse().unwrap(), &refusal), None);
    }
}
