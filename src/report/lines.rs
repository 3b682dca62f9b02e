//! The lines themselves, byte for byte (`controller-protocol` sections 7.1 to 7.3), in both dialects.
//!
//! Pure. Each line ends with LF. Where the protocol reference prints no form, both dialects share one.

use std::{
    fmt::Write as _,
    net::{Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use crate::{clock::UnixTime, dialect::Dialect};

/// More interfaces than these are not reported (`controller-protocol` section 7.2).
pub const MOST_INTERFACES: usize = 100;

/// What stands at the head of every status result.
#[derive(Clone, Copy, Debug)]
pub struct Stamp<'a> {
    /// The version fragment: `"fw":5120, "mver": "2.6.4"`.
    pub version: &'a str,
    /// Now.
    pub time: UnixTime,
    /// Seconds since the clock was confirmed, -1 if never.
    pub lts: i64,
    /// Whose form.
    pub dialect: Dialect,
}

/// A file system, as statvfs tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Disk {
    /// Bytes in a block.
    pub block_size: u64,
    /// Blocks in all.
    pub blocks: u64,
    /// Free blocks.
    pub free: u64,
}

/// For how long what has been up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Uptime {
    /// The host.
    pub host: Duration,
    /// This process.
    pub process: Duration,
}

/// The counters of one interface, in the order of `/proc/net/dev`: eight received, eight sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// bytes, packets, errors, dropped, fifo, framing, compressed, multicast.
    pub received: [u64; 8],
    /// bytes, packets, errors, dropped, fifo, collisions, carrier losses, compressed.
    pub sent: [u64; 8],
}

const RECEIVED: [&str; 8] = [
    "bytes_recv",
    "pkt_recv",
    "errors_recv",
    "dropped_recv",
    "fifo_recv",
    "framing_recv",
    "compressed_recv",
    "multicast_recv",
];
const SENT: [&str; 8] = [
    "bytes_sent",
    "pkt_sent",
    "errors_sent",
    "dropped_sent",
    "fifo_sent",
    "collisions_sent",
    "carr_lost_sent",
    "compressed_sent",
];

/// The lines that stand in front of every batch: 9018, 7001, 9002, 9901 (`controller-protocol` row 29).
#[must_use]
pub fn status(stamp: &Stamp<'_>, disk: Disk, uptime: Uptime, interfaces: &[Interface]) -> String {
    let mut text = self::disk(stamp, disk);
    text += &self::uptime(stamp, uptime);
    text += &self::interfaces(stamp, interfaces);
    text += &ongoing(stamp);
    text
}

/// 9018: the disk. `free` is in KiB.
#[must_use]
pub fn disk(stamp: &Stamp<'_>, disk: Disk) -> String {
    let Disk {
        block_size,
        blocks,
        free,
    } = disk;
    let kib = free.saturating_mul(block_size / 1024);
    let (version, time) = (stamp.version, stamp.time);
    match stamp.dialect {
        Dialect::Reference => format!(
            "RESULT {{ \"id\":\"9018\", {version}, \"time\": {time}, \"bsize\": {block_size}, \"blocks\": {blocks}, \
             \"bfree\": {free}, \"free\": {kib} }}\n"
        ),
        Dialect::Starla => format!(
            "RESULT {{ \"id\":\"9018\", {version}, \"time\":{time}, \"bsize\":{block_size}, \"blocks\":{blocks}, \
             \"bfree\":{free}, \"free\":{kib} }}\n"
        ),
    }
}

/// 7001: the host's uptime, or in the `starla` dialect that of the process.
#[must_use]
pub fn uptime(stamp: &Stamp<'_>, uptime: Uptime) -> String {
    let (version, time, lts) = (stamp.version, stamp.time, stamp.lts);
    match stamp.dialect {
        Dialect::Reference => format!(
            "RESULT {{ \"id\": \"7001\", {version}, \"time\": {time}, \"lts\": {lts}, \"uptime\": {} }}\n",
            uptime.host.as_secs()
        ),
        Dialect::Starla => format!(
            "RESULT {{ \"id\": \"7001\", {version}, \"lts\":{lts}, \"time\":{time}, \"uptime\":{} }}\n",
            uptime.process.as_secs()
        ),
    }
}

/// 9002: what went through the interfaces; all counters, or in the `starla` dialect four.
#[must_use]
pub fn interfaces(stamp: &Stamp<'_>, interfaces: &[Interface]) -> String {
    let (version, time, lts) = (stamp.version, stamp.time, stamp.lts);
    let shown = interfaces.iter().take(MOST_INTERFACES);
    match stamp.dialect {
        Dialect::Reference => {
            let list = joined(shown.map(|one| counters(one, 8, ": ")), ", ");
            format!(
                "RESULT {{ \"id\": \"9002\", {version}, \"time\": {time}, \"lts\": {lts}, \"interfaces\": [ {list} ] }}\n"
            )
        }
        Dialect::Starla => {
            let list = joined(shown.map(|one| counters(one, 2, ":")), ", ");
            format!(
                "RESULT {{ \"id\": \"9002\", {version}, \"lts\":{lts}, \"time\":{time}, \"interfaces\":[ {list} ] }}\n"
            )
        }
    }
}

fn counters(interface: &Interface, count: usize, colon: &str) -> String {
    let mut text = format!(
        "{{ \"name\"{colon}\"{}\"",
        escaped(interface.name.as_bytes())
    );
    let received = RECEIVED.iter().zip(interface.received).take(count);
    let sent = SENT.iter().zip(interface.sent).take(count);
    for (key, value) in received.chain(sent) {
        let _ = write!(text, ", \"{key}\"{colon}{value}");
    }
    text + " }"
}

/// 9901: this batch was handed over.
#[must_use]
pub fn ongoing(stamp: &Stamp<'_>) -> String {
    let whose = match stamp.dialect {
        Dialect::Reference => "/home/atlas/data/new/main",
        Dialect::Starla => "starla",
    };
    format!("RESULT 9901 ongoing {} {whose}\n", stamp.time)
}

/// A marker such as 9000 or 9011. `mac` is the hardware address without colons, empty if there is none.
#[must_use]
pub fn marker(id: u16, time: UnixTime, mac: &str, text: &str) -> String {
    let text: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    format!("RESULT {id} done {time} {mac} {text}\n")
}

/// Whose the line is: of the official probe's recurring scheduler or of its one-off daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runner {
    /// 9807: of the measurement table.
    Periodic,
    /// 9809: of the one-offs.
    OneOff,
}

impl Runner {
    const fn id(self) -> u16 {
        match self {
            Self::Periodic => 9807,
            Self::OneOff => 9809,
        }
    }
}

/// Why a command was not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotRun<'a> {
    /// The measurement refused its options: no reason is given.
    Options,
    /// Its line cannot be read: `command not found` and the like.
    Line(&'a str),
    /// The clock was set: planned and actual time of the run are too far apart.
    Inconsistent {
        /// Now, Unix seconds.
        now: i64,
        /// When the run was planned for.
        planned: i64,
        /// Seconds that the timer was set to.
        wait: i64,
        /// The number of the run.
        cycle: i64,
        /// When it was planned.
        generated: i64,
    },
}

/// 9807 and 9809: a command was not run.
#[must_use]
pub fn not_run(stamp: &Stamp<'_>, runner: Runner, why: NotRun<'_>, command: &str) -> String {
    let reason = match why {
        NotRun::Options => String::new(),
        NotRun::Line(reason) => format!("\"reason\":\"{}\", ", escaped(reason.as_bytes())),
        NotRun::Inconsistent {
            now,
            planned,
            wait,
            cycle,
            generated,
        } => format!(
            "\"reason\": \"inconsistent time; now {now}; nexttime {planned}; waittime {wait}; cycle {cycle}; \
             generated {generated}\", "
        ),
    };
    format!(
        "RESULT {{ \"id\":\"{}\", {}, \"time\":{}, {reason}\"cmd\": \"{}\" }}\n",
        runner.id(),
        stamp.version,
        stamp.time,
        escaped(command.as_bytes())
    )
}

/// 9807 and 9809: the resolver's file was read again; `result` is 0 if that went well.
#[must_use]
pub fn resolver_loaded(stamp: &Stamp<'_>, runner: Runner, result: u8) -> String {
    format!(
        "RESULT {{ \"id\":\"{}\", {}, \"time\":{}, \"event\": \"load resolv.conf\", \"result\": {result} }}\n",
        runner.id(),
        stamp.version,
        stamp.time
    )
}

/// A measurement that is still under way when it is due again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Busy<'a> {
    /// Its number, digits; without it the second part is left out.
    pub id: Option<&'a str>,
    /// Its bundle, digits.
    pub bundle: Option<&'a str>,
    /// When it started.
    pub started: UnixTime,
    /// Repeats that it made so far; 0 is left out.
    pub repeats: u32,
    /// Repeats that it may make; 0 is left out.
    pub most_repeats: u32,
}

/// 9202: a query is due while the one before is not done (`dns-measurement` 8.2).
#[must_use]
pub fn busy(stamp: &Stamp<'_>, busy: Busy<'_>) -> String {
    let which = busy.id.map_or_else(String::new, |id| {
        let bundle = busy.bundle.map_or_else(String::new, |bundle| {
            format!(",\"bundle\" : {}", number(bundle))
        });
        let repeats = |key: &str, count: u32| match count {
            0 => String::new(),
            count => format!(",\"{key}\": {count}"),
        };
        format!(
            ",{{\"id\" : \"{id}\"{bundle},\"start time\" : {}{}{}}}",
            busy.started,
            repeats("retry", busy.repeats),
            repeats("retry max", busy.most_repeats)
        )
    });
    format!(
        "RESULT {{ {},\"id\" : 9202 ,\"time\" : {} ,\"error\" : [{{ \"query busy\": \"not starting a new one. \
         previous one is not done yet\"}}{which}]}}\n",
        stamp.version, stamp.time
    )
}

/// What 9104 tells of the host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    /// IPv4 addresses.
    pub inet: Vec<Inet>,
    /// IPv4 routes.
    pub routes: Vec<Route>,
    /// IPv6 addresses.
    pub inet6: Vec<Inet6>,
    /// IPv6 routes.
    pub routes6: Vec<Route6>,
    /// Name servers, as they stand in the resolver's file.
    pub nameservers: Vec<String>,
}

/// An IPv4 address of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inet {
    /// It.
    pub address: Ipv4Addr,
    /// Its mask.
    pub netmask: Ipv4Addr,
    /// Where.
    pub interface: String,
}

/// An IPv4 route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Where to.
    pub destination: Ipv4Addr,
    /// Its mask.
    pub netmask: Ipv4Addr,
    /// By whom.
    pub next_hop: Ipv4Addr,
    /// Where.
    pub interface: String,
}

/// An IPv6 address of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inet6 {
    /// It.
    pub address: Ipv6Addr,
    /// Bits of its prefix.
    pub prefix: u8,
    /// How far it reaches: the kernel's number.
    pub scope: u8,
    /// Where.
    pub interface: String,
}

/// An IPv6 route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route6 {
    /// Where to.
    pub destination: Ipv6Addr,
    /// Bits of its prefix.
    pub prefix: u8,
    /// By whom.
    pub next_hop: Ipv6Addr,
    /// The kernel's flags.
    pub flags: u32,
    /// Its metric, signed as it is printed.
    pub metric: i32,
    /// Where.
    pub interface: String,
}

/// The part of 9104 that tells whether anything changed.
#[must_use]
pub fn addresses_text(addresses: &Addresses) -> String {
    let inet = addresses.inet.iter().map(|one| {
        let (address, netmask, interface) = (one.address, one.netmask, escaped(one.interface.as_bytes()));
        format!("{{ \"inet-addr\": \"{address}\", \"netmask\": \"{netmask}\", \"interface\": \"{interface}\" }}")
    });
    let routes = addresses.routes.iter().map(|one| {
        let (to, netmask, by) = (one.destination, one.netmask, one.next_hop);
        let interface = escaped(one.interface.as_bytes());
        format!(
            "{{ \"destination\": \"{to}\", \"netmask\": \"{netmask}\", \"next-hop\": \"{by}\", \
             \"interface\": \"{interface}\" }}"
        )
    });
    let mut text = format!(
        "\"inet-addresses\": [ {} ], \"inet-routes\": [ {} ], \"inet-dhcp\": true",
        joined(inet, ", "),
        joined(routes, ", ")
    );
    if !addresses.inet6.is_empty() {
        let list = joined(addresses.inet6.iter().map(inet6), " , ");
        let _ = write!(text, ", \"inet6-addresses\" : [ {list}]");
    }
    if !addresses.routes6.is_empty() {
        let list = joined(addresses.routes6.iter().map(route6), " , ");
        let _ = write!(text, ", \"inet6-routes\" : [ {list}]");
    }
    let servers = addresses.nameservers.iter().map(|one| {
        let server = escaped(one.as_bytes());
        format!("{{ \"nameserver\": \"{server}\" }}")
    });
    let _ = write!(text, ", \"dns\": [ {} ]", joined(servers, ", "));
    text
}

/// 9104: addresses, routes and resolvers, from [`addresses_text`].
#[must_use]
pub fn addresses(time: UnixTime, text: &str) -> String {
    format!("RESULT {{ \"id\" : \"9104\" , \"time\" : {time} , {text}}}\n")
}

fn inet6(one: &Inet6) -> String {
    let scope = match one.scope {
        0x00 => "Global".to_owned(),
        0x20 => "Link".to_owned(),
        0x40 => "Site".to_owned(),
        0x80 => "Compat".to_owned(),
        0x10 => "Host".to_owned(),
        other => format!("Unknown {other}"),
    };
    format!(
        "{{\"inet6-addr\" : \"{}\", \"prefix-length\" : {},\"scope\" : \"{scope}\", \"interface\" : \"{}\"}}",
        one.address,
        one.prefix,
        escaped(one.interface.as_bytes())
    )
}

fn route6(one: &Route6) -> String {
    let letters = [
        ('G', Route6::GATEWAY),
        ('H', Route6::HOST),
        ('D', Route6::DEFAULT),
        ('A', Route6::ADDRCONF),
        ('C', Route6::CACHE),
    ];
    let flags = letters.iter().filter(|(_, bit)| one.flags & bit != 0);
    let flags: String = flags.map(|(letter, _)| letter).collect();
    format!(
        "{{\"destination\" : \"{}\", \"prefix-length\" : {},\"next-hop\" : \"{}\", \"flags\" : \"{flags}\", \
         \"metric\" : {} , \"interface\" : \"{}\"}}",
        one.destination,
        one.prefix,
        one.next_hop,
        one.metric,
        escaped(one.interface.as_bytes())
    )
}

impl Route6 {
    /// The route is usable.
    pub const UP: u32 = 0x1;
    /// It leads to a gateway.
    pub const GATEWAY: u32 = 0x2;
    /// It leads to one host.
    pub const HOST: u32 = 0x4;
    /// It is a default route that a router announced.
    pub const DEFAULT: u32 = 0x1_0000;
    /// It was made by address configuration.
    pub const ADDRCONF: u32 = 0x4_0000;
    /// It is a cache entry.
    pub const CACHE: u32 = 0x100_0000;
}

fn joined(parts: impl Iterator<Item = String>, separator: &str) -> String {
    parts.collect::<Vec<_>>().join(separator)
}

/// Digits as a JSON number: without leading zeros, and never without a digit.
fn number(digits: &str) -> &str {
    match digits.trim_start_matches('0') {
        "" => "0",
        number => number,
    }
}

/// As the official probe escapes: by byte, so that what is not printable ASCII becomes `\u00xx`.
fn escaped(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for byte in bytes {
        match byte {
            b'"' | b'\\' => {
                text.push('\\');
                text.push(char::from(*byte));
            }
            b' '..=b'~' => text.push(char::from(*byte)),
            other => {
                let _ = write!(text, "\\u00{other:02x}");
            }
        }
    }
    text
}
