//! The registration servers and their pinned host keys, as data.
//!
//! `controller-protocol` section 1.5. The table changes with releases of the official probe, so configuration
//! can replace it. A server without a known key is never connected to.

use serde::{Deserialize, Serialize};
use std::fmt;

use crate::key::HostKey;

/// The port of every registration server (`controller-protocol` section 1.5).
pub const REGISTRATION_PORT: u16 = 443;

/// A registration server: where it is, and the key it must prove to hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistrationServer {
    /// Name or address literal.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// The only host key accepted; without one the server is skipped.
    pub host_key: Option<HostKey>,
}

impl RegistrationServer {
    /// The one message for a server that is skipped because its key is not known.
    #[must_use]
    pub fn missing_key(&self) -> String {
        format!(
            "registration server {self} is skipped: its host key is not known. Get the key from a source you trust \
             and give it as this server's host_key (`ssh-keyscan -p {} {}` prints what the server claims; compare \
             its fingerprint with what its operator says)",
            self.port, self.host
        )
    }
}

impl fmt::Display for RegistrationServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Which list of registration servers a probe uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ServerList {
    /// Production, for probes.
    #[default]
    Prod,
    /// Production, for anchors.
    Anchor,
    /// The test network.
    Test,
    /// The development network.
    Dev,
}

impl ServerList {
    /// All lists.
    pub const ALL: [Self; 4] = [Self::Prod, Self::Anchor, Self::Test, Self::Dev];

    /// The word in configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Prod => "prod",
            Self::Anchor => "anchor",
            Self::Test => "test",
            Self::Dev => "dev",
        }
    }

    /// The entries of the list, in its order: host name, IPv4 and IPv6 literal of each server. The newer
    /// production servers stand last and have no known key.
    #[must_use]
    pub fn servers(self) -> Vec<RegistrationServer> {
        TABLE
            .iter()
            .filter(|entry| entry.list == self)
            .flat_map(|entry| {
                let host_key = entry.blob.map(|blob| {
                    HostKey::new("ssh-rsa", blob).expect("the table's blobs are tested to be keys")
                });
                [entry.name, entry.ipv4, entry.ipv6].map(|host| RegistrationServer {
                    host: host.to_owned(),
                    port: REGISTRATION_PORT,
                    host_key: host_key.clone(),
                })
            })
            .collect()
    }
}

/// The built-in host key of a server by its name or address, whichever list it is in.
#[must_use]
pub fn known_key(host: &str) -> Option<HostKey> {
    ServerList::ALL
        .into_iter()
        .flat_map(ServerList::servers)
        .find(|server| server.host == host)?
        .host_key
}

impl fmt::Display for ServerList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One server of the built-in table.
struct Entry {
    list: ServerList,
    name: &'static str,
    ipv4: &'static str,
    ipv6: &'static str,
    /// What OpenSSH prints for `blob`; the two must agree.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "a second witness for the blob, held by a test")
    )]
    fingerprint: Option<&'static str>,
    /// The `ssh-rsa` host key in base64.
    blob: Option<&'static str>,
}

/// `controller-protocol` section 1.5.
const TABLE: &[Entry] = &[
    Entry {
        list: ServerList::Prod,
        name: "reg03.atlas.ripe.net",
        ipv4: "193.0.19.246",
        ipv6: "2001:67c:2e8:11::c100:13f6",
        fingerprint: Some("SHA256:kZA7AmBZ10pjRQO8UL2SlJcPspris1Nc98/npv8cLDw"),
        blob: Some(
            "AAAAB3NzaC1yc2EAAAADAQABAAABAQCqe2qSBtJqwT0R10cu0QOkanVWThaxc4Wp7mMS88kjLJgruxS0TKz73Jk9I0kNBjg3L8rY8SFAUBfEh7mD/4YRqIawo7yAQXRdiDXFaIp8RL63aZPebpbHtHwoYCKogRDnaCcdwmh1WHzwj0tStoTWRQ/9XVApQC5r4hsKMTelZqtczRq3o3gUSzkp7qPJRmDYsbox4BrSIT5lRoMDjSTVNlBFQFX98f0JbcmsQcDxaedoTAMUUMoMvoJHHtsf6sZ5NncCb99a8OanjZ7lytAJu2phkoasS46kY4a3QVrYABGtPAHKtuhDEsrGEZNCc6oz1kfN6lJQDMiJ16R3y2Cp",
        ),
    },
    Entry {
        list: ServerList::Prod,
        name: "reg04.atlas.ripe.net",
        ipv4: "193.0.19.247",
        ipv6: "2001:67c:2e8:11::c100:13f7",
        fingerprint: Some("SHA256:hJDXw7TOZjgZ0vKbw3k/4esGS4vG7bzaWxfBZOQ0NBA"),
        blob: Some(
            "AAAAB3NzaC1yc2EAAAADAQABAAABAQCpFuG/G4T1kjtyuLEyr7ySt7KAlAfL5D8VMYf+Xn+tq4GuImwoBlYVcWR6AH1ugcoHxryS5r9EY48FvxtPmi/RTJPejYP9SP1+/VgAm+sowG40FWs4wsh2oJG2jC/tcd7832nUfkYtDMvhPKLYD9z9T3RE2pQ7YGGnymrBps79X6pPc7DuCBdt+9yXiy56OH3dtf5EU/URNULPhm4qGluWq1wf66XgTJuloHXOU2/sozXBwtJNNzFkFq07K0+AUd4dWt0LuzgncF02W6czFW/n7pY365deK7IFiG4ssCOLhsgehw48r0lYlKlzXaZtDtYyHCXE2tIXpRd0aEAXJzc3",
        ),
    },
    Entry {
        list: ServerList::Anchor,
        name: "reg02.atlas.ripe.net",
        ipv4: "193.0.19.25",
        ipv6: "2001:67c:2e8:11::c100:1319",
        fingerprint: Some("SHA256:bKoEu45cSxhDTttU2GojjjS4GthLCJLkicwPr+UqplE"),
        blob: Some(
            "AAAAB3NzaC1yc2EAAAABIwAAAQEAw5iBrIjWfDIXuyROc8gXxqvPbhh2hvflBIySfe7XMQgjxhRtx5zT61K6Yz/LcViK9pa/+gQNfvOF0I7GAS/5Fsr1q3954mNLqLAoGj9tFBRStQJzExnb43plzxbH8m2apNYIQ9jNNHCaz9YU1x3AJeUcLZXI68f2yPw2w9JNskKN8wi4MoW1qskOQvDQjft9Y37uHtp2BamkTYNqEYb9tolg/0dEfPG6g6diyqRbf1tyvk52J1PezapCOWAqPvw6aL7HNB3IeiDIuSfzsN/6Aj04UTRjJoCTRvTiB81ISPdYJjgK2XLmkSuiIKPTuiCx0KoQffbqrkOEgv8JFCeU6Q==",
        ),
    },
    Entry {
        list: ServerList::Anchor,
        name: "reg01.atlas.ripe.net",
        ipv4: "193.0.19.12",
        ipv6: "2001:67c:2e8:11::c100:130c",
        fingerprint: Some("SHA256:qLqgNq97Scbf2Uw8LZGgN1NnwXA6T1z7DKPZ9nHsbYg"),
        blob: Some(
            "AAAAB3NzaC1yc2EAAAADAQABAAABAQC6ppVOLn3umFMY7SWFdIBG3k0XBQHdmJrjTKNrVIIZpBIdVQEfAEGKrbfqknv0dazEpqsbcXOSCLYUdbR9jKoV8/dX5iT/Rd4ig1bnBojZDDr1qOz+ookUDf9lamGgWHLdjbWPevhTEZh1Jwhc9GpStGdVTmoUB97QLWsrFriYVyUoGqRyWIUUAHUrrGSlM+tYZXgc1X8Pr3pvFdZ86scIqfkTU4v8xoKO8VaWsI+csye0k4/rRanxxgbVPokhwmS6M7E5svT4hvTuL6lzwrfvt9uLjqP40Tw5XfcItOqnTkXjwYfhJWcGCKZqsECvii3a3zABVc3K1uPkvRyNTXrh",
        ),
    },
    Entry {
        list: ServerList::Test,
        name: "reg01-test.atlas.ripe.net",
        ipv4: "193.0.19.181",
        ipv6: "2001:67c:2e8:11::c100:13b5",
        fingerprint: Some("SHA256:OnzrURuvCIJhmu51AZCpSy2as0D2/ZJBz91om8qFQxU"),
        blob: Some(
            "AAAAB3NzaC1yc2EAAAABIwAAAQEA3ExHZJtLuv4TLn/zZMPiAUzXO8At8Sf+TOVH7JqrPtNDx+6UiRSAYtDmkb7qp2YWBDThCwI7z8jrKIpDhKRpHEWgOW8pczek5tZvATu5DjgmBjH2k36efeVECGry6+QHn+P3v3mi3g6qwF+1+pjdiXRr0r2pgAoRumMVU1ZsBHkMmvmuo6P8g2de7NWi5wdGUM2EhWghnESBmzr1++bOVWduv0ikA75PZbdj+p32hsjnJGkIM8YgX+lvVuyXTY0iN/HjjlL5+2Ii2iCFntmolEIw7ZDQBQNrIXjXK7Udlrqxn14ywAOD97kO527zmAcYP3pqznJpw8FCp4FxKOXNtQ==",
        ),
    },
    Entry {
        list: ServerList::Test,
        name: "reg02-test.atlas.ripe.net",
        ipv4: "193.0.19.26",
        ipv6: "2001:67c:2e8:11::c100:131a",
        fingerprint: Some("SHA256:ob6E3lJUQA4qqWi4arCceYjB/U1gtn2Q7TYHlBDqFK0"),
        blob: Some(
            "AAAAB3NzaC1yc2EAAAABIwAAAQEAxhrmPoZBlvIwDThjIxrxW/JhH2hfmfcJm5czCwt39OrA0Done8/KE8f4EkyI+apsT2nfw43hPZCjZrNSE8jqqDLvy7JBZixJdgj+hkXzZLVeLM7is3IOMmOsSxScKgjdZNQpKsmFe9IUCCzTXnhWmE6pry8t+3ulcLhjuz07tM6TaL4OwVDCw50uaCHkuHu7wpseU2dta28fB6JI5k7Q5HKhH9VAiFWpMRMq8UHUlCRS/WlthYtMG6VL2d2h4igXk5pqNAWQvMC9ovCHAWjf+pkhspJSesR7Z+IW9GSdtKA5XAGGIXClz8O3UD+COGpbX1G3dgsr5ZOE3Q1ZhybqLQ==",
        ),
    },
    Entry {
        list: ServerList::Dev,
        name: "reg01-dev.atlas.ripe.net",
        ipv4: "193.0.19.93",
        ipv6: "2001:67c:2e8:11::c100:135d",
        fingerprint: Some("SHA256:3LtRNWHNzbKs5/5EsVo6ze9HV46UPEJws8lOkxay+Tc"),
        blob: Some(
            "AAAAB3NzaC1yc2EAAAABIwAAAQEA65LBLf30PqFNQEDo+Aly6C+3hWeOoJpbY5qvFgounNPH4puCqYg8uEMNSoXeStm72d1ghKUEvP6O3+W62WgkoBXZJOh8jhRviDOdd23m6Xfmkd0PMmjTx2gjTFsbxrYuuuTJy+ljyWe2FIp8DKRHbyQQ4tAeQ6u9btkqQluFTZCntdZExakjiHPBlA/cmj6JOP1H2VWQVVVK8bR/pzxVPprJ81XyWyFHbIwU47F3wurpjYN+Fd5cFYJbb3Q7V6sDLE2oxFsqwsX8yAyZYh4j7pI769JLGjcUGyoW+b0MLpu46VSUy756jlhvQImIMzGX7Z1sBxj/zO5dioP3vAUo/w==",
        ),
    },
    Entry {
        list: ServerList::Dev,
        name: "reg02-dev.atlas.ripe.net",
        ipv4: "193.0.19.92",
        ipv6: "2001:67c:2e8:11::c100:135c",
        fingerprint: Some("SHA256:qstmAS7IMNWG1Sri+ubpiqs0+FjguRDNEnMSOrJl+LE"),
        blob: Some(
            "AAAAB3NzaC1yc2EAAAABIwAAAQEAzddu7ATb63Q7/g2rZN+ZivwfV9KI/YN+3R3yuKlctz4TWGInClCqt+hMtVyuKxDqRUA7zFq7JMLuVCPJZt2UlOQJdvy05vYKQKuy8lxPw28m0TnVEWbI4SWvlcL+Sz5a/D/qd/Eg7gLWJTB7L5Z345PH6Ip+l2N8TeiCPWSrBt5bJHecbQptWnG+giafaNCsv3bJM+sirnpWXk9OpycBA9xK2UzKA7dMEsfI5KdRr791R2uMgfaAtR2JyW3R1MzY2Bf0s1VvVT1YlaoJlL7fAc8628V8oea6o/YjUi/Yb1ldmFIGUIUqNpJra5sgrZ5UND+F4BZbqbyaZObwgI6XzQ==",
        ),
    },
    Entry {
        list: ServerList::Prod,
        name: "reg-05.prod.atlas.ripe.net",
        ipv4: "193.0.19.75",
        ipv6: "2001:67c:2e8:11::c100:134b",
        fingerprint: None,
        blob: None,
    },
    Entry {
        list: ServerList::Prod,
        name: "reg-06.prod.atlas.ripe.net",
        ipv4: "193.0.19.76",
        ipv6: "2001:67c:2e8:11::c100:134c",
        fingerprint: None,
        blob: None,
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_key_has_the_fingerprint_that_was_published_with_it() {
        for entry in TABLE {
            let found = entry
                .blob
                .map(|blob| HostKey::new("ssh-rsa", blob).unwrap().fingerprint());
            assert_eq!(found.as_deref(), entry.fingerprint, "{}", entry.name);
        }
    }

    #[test]
    fn the_production_list_has_six_entries_with_keys_and_the_newer_six_without() {
        let servers = ServerList::Prod.servers();
        let (known, unknown): (Vec<_>, Vec<_>) =
            servers.iter().partition(|server| server.host_key.is_some());
        assert_eq!(known.len(), 6);
        assert_eq!(unknown.len(), 6);
        assert_eq!(
            known.iter().map(ToString::to_string).collect::<Vec<_>>(),
            [
                "reg03.atlas.ripe.net:443",
                "193.0.19.246:443",
                "[2001:67c:2e8:11::c100:13f6]:443",
                "reg04.atlas.ripe.net:443",
                "193.0.19.247:443",
                "[2001:67c:2e8:11::c100:13f7]:443",
            ]
        );
    }

    #[test]
    fn the_other_lists_have_six_entries_each_all_with_keys() {
        for list in [ServerList::Anchor, ServerList::Test, ServerList::Dev] {
            let servers = list.servers();
            assert_eq!(servers.len(), 6, "{list}");
            assert!(
                servers.iter().all(|server| server.host_key.is_some()),
                "{list}"
            );
        }
    }

    #[test]
    fn the_literals_are_addresses_of_their_family() {
        for entry in TABLE {
            assert!(
                entry.ipv4.parse::<std::net::Ipv4Addr>().is_ok(),
                "{}",
                entry.ipv4
            );
            assert!(
                entry.ipv6.parse::<std::net::Ipv6Addr>().is_ok(),
                "{}",
                entry.ipv6
            );
        }
    }

    #[test]
    fn a_server_without_a_key_says_how_to_add_one() {
        let server = ServerList::Prod.servers().pop().unwrap();
        let message = server.missing_key();
        assert!(message.contains("host_key"), "{message}");
        // Not every network is RIPE NCC's.
        assert!(message.contains("with what its operator says"), "{message}");
        assert!(
            message.contains("[2001:67c:2e8:11::c100:134c]:443"),
            "{message}"
        );
    }
}
