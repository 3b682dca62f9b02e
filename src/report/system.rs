//! Reads what the reports tell from the running system. What cannot be read counts as empty: a report is made
//! all the same.

use std::{fs::File, io::Read as _, path::Path, time::Duration};

use nix::{ifaddrs::getifaddrs, sys::statvfs::statvfs};

use super::{
    lines::{self, Addresses, Disk, Inet, Interface, Stamp, Uptime},
    parse,
};
use crate::dialect::Dialect;

/// Bytes read of any of these files.
const MOST_BYTES: u64 = 64 << 10;
/// Bytes read of a routing table: a full one costs no more than its beginning, which holds the routes that are told
/// (128 bytes a line for IPv4, 150 for IPv6, where not every line counts).
const MOST_ROUTE_BYTES: (u64, u64) = (16 << 10, 32 << 10);
/// Routes told of each family.
const MOST_ROUTES: usize = 100;
/// Addresses told (`controller-protocol` section 7.3), and as many of IPv6 as of routes.
const MOST_INET: usize = 10;
/// Hardware type of Ethernet (`ARPHRD_ETHER`).
const ETHER: u16 = 1;

/// The lines that stand in front of a batch, from the state of the system now. `data` is the data directory,
/// `process` how long this process has been up.
#[must_use]
pub fn status(stamp: &Stamp<'_>, data: &Path, process: Duration) -> String {
    let uptime = Uptime {
        host: host_uptime(),
        process,
    };
    lines::status(stamp, disk(stamp.dialect, data), uptime, &interfaces())
}

/// The file system of the data directory, or in the `starla` dialect the root (`controller-protocol` row 31).
#[must_use]
#[allow(
    clippy::useless_conversion,
    reason = "sizes are 32 bits wide on 32-bit machines"
)]
pub fn disk(dialect: Dialect, data: &Path) -> Disk {
    let path = match dialect {
        Dialect::Reference => data,
        Dialect::Starla => Path::new("/"),
    };
    statvfs(path).map_or_else(
        |_| Disk::default(),
        |told| Disk {
            block_size: told.block_size().into(),
            blocks: told.blocks().into(),
            free: told.blocks_free().into(),
        },
    )
}

/// For how long the host has been up.
#[must_use]
pub fn host_uptime() -> Duration {
    parse::uptime(&text("/proc/uptime")).unwrap_or_default()
}

/// The counters of the interfaces.
#[must_use]
pub fn interfaces() -> Vec<Interface> {
    parse::interfaces(&text("/proc/net/dev"))
}

/// What 9104 tells.
#[must_use]
pub fn addresses() -> Addresses {
    Addresses {
        inet: inet(),
        routes: parse::routes(
            &beginning("/proc/net/route", MOST_ROUTE_BYTES.0),
            MOST_ROUTES,
        ),
        inet6: parse::inet6(&text("/proc/net/if_inet6"), MOST_ROUTES),
        routes6: parse::routes6(
            &beginning("/proc/net/ipv6_route", MOST_ROUTE_BYTES.1),
            MOST_ROUTES,
        ),
        nameservers: parse::nameservers(&text("/etc/resolv.conf")),
    }
}

fn inet() -> Vec<Inet> {
    let Ok(all) = getifaddrs() else {
        return Vec::new();
    };
    let inet = all.filter_map(|one| {
        let address = one.address.as_ref()?.as_sockaddr_in()?.ip();
        let netmask = one.netmask.as_ref()?.as_sockaddr_in()?.ip();
        Some(Inet {
            address,
            netmask,
            interface: one.interface_name,
        })
    });
    inet.take(MOST_INET).collect()
}

/// The first Ethernet address, without colons; empty if there is none.
#[must_use]
pub fn mac() -> String {
    let Ok(all) = getifaddrs() else {
        return String::new();
    };
    let links = all.filter_map(|one| {
        let link = *one.address?.as_link_addr()?;
        let address = link.addr().filter(|_| link.hatype() == ETHER)?;
        Some((link.ifindex(), address))
    });
    let first = links.min_by_key(|(index, _)| *index);
    let digits = first.map(|(_, address)| address.map(|byte| format!("{byte:02x}")).concat());
    digits.unwrap_or_default()
}

/// The node's name, not shortened.
#[must_use]
pub fn node_name() -> String {
    nix::unistd::gethostname().map_or_else(
        |_| String::new(),
        |name| name.to_string_lossy().into_owned(),
    )
}

/// `<ID>/<VERSION_ID>/<machine>` of the host (`controller-protocol` section 2.2).
#[must_use]
pub fn sub_arch() -> String {
    let (id, version) = parse::os_release(&text("/etc/os-release"));
    let machine = nix::sys::utsname::uname().map_or_else(
        |_| "unknown".to_owned(),
        |told| told.machine().to_string_lossy().into_owned(),
    );
    format!("{id}/{version}/{machine}")
}

fn text(path: &str) -> String {
    beginning(path, MOST_BYTES)
}

/// The beginning of a file, at most so many bytes.
fn beginning(path: &str, most: u64) -> String {
    let mut bytes = Vec::new();
    // What was read before an error counts.
    let _ = File::open(path).and_then(|file| file.take(most).read_to_end(&mut bytes));
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_tells_what_it_is() {
        let disk = disk(Dialect::Reference, Path::new("/"));
        assert!(disk.block_size > 0 && disk.blocks >= disk.free);
        assert!(host_uptime() > Duration::ZERO);
        assert!(interfaces().iter().any(|one| one.name == "lo"));
        assert!(!node_name().is_empty());
        assert_eq!(sub_arch().split('/').count(), 3);
        let mac = mac();
        assert!(mac.is_empty() || mac.len() == 12, "{mac}");
        assert!(addresses().inet.len() <= MOST_INET);
    }
}
