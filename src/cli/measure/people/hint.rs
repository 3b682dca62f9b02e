//! What a person can do about a failure whose own words, those of result lines, do not say it. Pure.

use std::net::IpAddr;

use nix::errno::Errno;

use crate::measurement::machine::{Call, Failure as Refusal, ResolveError};

/// The remedy for a socket or connection to `to` that the system refused, or the reason that it told later.
pub(super) fn refused(to: IpAddr, cause: &Refusal) -> Option<String> {
    let (call, errno) = match cause {
        Refusal::Bind => {
            return Some(
                "what is to be sent from or through is no address and no interface of this host: `ip address` lists them"
                    .to_owned(),
            );
        }
        Refusal::Os { call, errno } => (*call, Errno::from_raw(*errno)),
        Refusal::Forbidden(_) | Refusal::Tls(_) => return None,
    };
    let family = if to.is_ipv4() { "IPv4" } else { "IPv6" };
    match (call, errno) {
        (Call::Receive, Errno::ECONNREFUSED) => {
            Some(format!("{to} says that nothing listens on that port"))
        }
        (Call::Receive, Errno::EHOSTUNREACH | Errno::ENETUNREACH | Errno::EACCES) => Some(format!(
            "a router on the way says that {to} cannot be reached"
        )),
        (Call::Send, Errno::EMSGSIZE) => Some(
            "a packet of this size is larger than the link of this host takes, and may not be fragmented: choose a \
             smaller --size"
                .to_owned(),
        ),
        (Call::Send | Call::Connect, Errno::EPERM | Errno::EACCES) => Some(format!(
            "this host does not let it out to {to}: its firewall or a route forbids it, or it is a broadcast address"
        )),
        (_, Errno::EINVAL) if is_link_local(to) => Some(format!(
            "{to} is a link-local address: it exists on every link, so name the interface too, as in {to}%eth0"
        )),
        (Call::Connect, Errno::EINVAL | Errno::EHOSTUNREACH) => Some(format!(
            "a route of this host discards or refuses what goes to {to}: `ip route get {to}` shows it"
        )),
        (_, Errno::ENETUNREACH) => Some(format!(
            "this host has no route to {to}: check its network, or whether it has {family} at all"
        )),
        (_, Errno::EADDRNOTAVAIL) => Some(format!(
            "this host has no {family} address that could reach {to}: check its network"
        )),
        (_, Errno::ENODEV) => {
            Some("there is no such interface here: `ip link` lists them".to_owned())
        }
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
        let hint = refused("::1".parse().unwrap(), &os(Errno::EINVAL)).unwrap();
        assert!(!hint.contains("link-local"), "{hint}");
    }

    #[test]
    fn what_was_only_heard_of_is_told_apart_from_what_this_host_refuses() {
        let to = "192.0.2.1".parse().unwrap();
        for (call, errno, words) in [
            (Call::Receive, Errno::ECONNREFUSED, "nothing listens"),
            (Call::Receive, Errno::ENETUNREACH, "a router on the way"),
            (Call::Connect, Errno::ENETUNREACH, "no route"),
            (Call::Connect, Errno::EINVAL, "ip route get 192.0.2.1"),
            (Call::Connect, Errno::EHOSTUNREACH, "a route of this host"),
            (Call::Send, Errno::EMSGSIZE, "smaller --size"),
            (Call::Send, Errno::EPERM, "firewall"),
        ] {
            let errno = errno as i32;
            let hint = refused(to, &Refusal::Os { call, errno }).unwrap();
            assert!(hint.contains(words), "{hint}");
        }
        assert!(refused(to, &Refusal::Bind).unwrap().contains("interface"));
        assert_eq!(refused(to, &Refusal::Forbidden(to)), None);
    }

    #[test]
    fn no_route_names_the_family() {
        let hint = refused("2001:db8::1".parse().unwrap(), &os(Errno::ENETUNREACH)).unwrap();
        assert!(hint.contains("IPv6"), "{hint}");
        let refusal = os(Errno::ECONNREFUSED);
        assert_eq!(refused("192.0.2.1".parse().unwrap(), &refusal), None);
    }
}
