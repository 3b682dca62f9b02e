//! What the host gives: key, directory, disk, clock, privileges, the kernel.

use std::{
    fs,
    io::{self, IoSliceMut},
    net::{Ipv4Addr, UdpSocket},
    os::{fd::AsRawFd as _, unix::fs::PermissionsExt as _},
    path::Path,
    time::Duration,
};

use caps::{CapSet, Capability};
use nix::{
    sys::{
        socket::{ControlMessageOwned, MsgFlags, SockaddrIn, recvmsg, setsockopt, sockopt},
        statvfs::statvfs,
        time::TimeSpec,
    },
    unistd::{AccessFlags, access, getegid},
};

use super::Finding;
use crate::{
    agent,
    clock::{Clock, UnixTime},
    config::{Config, Source},
    key::{KeyError, ProbeKey},
    net::Capabilities,
};

/// No clock that is right says less: 2026-01-01.
const EARLIEST: UnixTime = UnixTime::from_secs(1_767_225_600);

pub(super) fn findings(config: &Config) -> Vec<Finding> {
    vec![
        data_dir(&config.data_dir),
        disk(config),
        key(&config.key_file()),
        clock(&config.data_dir),
        stamps(),
    ]
    .into_iter()
    .chain(sources(&config.source))
    .collect()
}

/// Whether packets can leave from where the configuration wants them to.
fn sources(source: &Source) -> Vec<Finding> {
    const WHAT: &str = "source";
    let problems = agent::source_problems(source);
    if problems.is_empty() {
        return [("IPv4", source.of(false)), ("IPv6", source.of(true))]
            .into_iter()
            .filter_map(|(family, from)| {
                Some(Finding::ok(WHAT, format!("{family} from {}", from?)))
            })
            .collect();
    }
    let remedy = "give this host the address or interface, or change [source] in the configuration";
    problems
        .into_iter()
        .map(|problem| Finding::problem(WHAT, problem, remedy))
        .collect()
}

fn data_dir(path: &Path) -> Finding {
    const WHAT: &str = "data directory";
    let shown = path.display();
    let meta = match fs::metadata(path) {
        Ok(meta) if meta.is_dir() => meta,
        Ok(_) => {
            return Finding::problem(
                WHAT,
                format!("{shown} is no directory"),
                "name another with --data-dir or data_dir",
            );
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return match existing(path).map(|parent| access(parent, AccessFlags::W_OK)) {
                Some(Ok(())) => Finding::warning(
                    WHAT,
                    format!("{shown} is not there yet"),
                    "nothing to do: `starling run` makes it",
                ),
                _ => Finding::problem(
                    WHAT,
                    format!("{shown} is not there and cannot be made by this user"),
                    "make it for the user that runs the probe, or name another with --data-dir",
                ),
            };
        }
        Err(error) => {
            return Finding::problem(
                WHAT,
                format!("{shown}: {error}"),
                "run this as root or as the probe's user",
            );
        }
    };
    if let Err(errno) = access(
        path,
        AccessFlags::R_OK | AccessFlags::W_OK | AccessFlags::X_OK,
    ) {
        return Finding::problem(
            WHAT,
            format!("{shown} cannot be written: {}", errno.desc()),
            "give it to the user that runs the probe, and run this as that user",
        );
    }
    if meta.permissions().mode() & 0o077 != 0 {
        return Finding::warning(
            WHAT,
            format!("{shown} is open to others, and the session's state is in it"),
            format!("chmod 700 {shown}"),
        );
    }
    Finding::ok(WHAT, format!("{shown} can be written"))
}

/// The nearest directory above that is there.
fn existing(path: &Path) -> Option<&Path> {
    path.ancestors().skip(1).find_map(|path| {
        let path = if path.as_os_str().is_empty() {
            Path::new(".")
        } else {
            path
        };
        path.is_dir().then_some(path)
    })
}

fn disk(config: &Config) -> Finding {
    let place = if config.data_dir.is_dir() {
        Some(config.data_dir.as_path())
    } else {
        existing(&config.data_dir)
    };
    let Some(told) = place.and_then(|place| statvfs(place).ok()) else {
        return Finding::warning(
            "disk",
            "its free space cannot be told",
            "see what `df` says of the data directory",
        );
    };
    #[allow(
        clippy::useless_conversion,
        reason = "both are 32 bits wide on 32-bit machines, and their product is not"
    )]
    let free = u64::from(told.blocks_available()).saturating_mul(u64::from(told.fragment_size()));
    let (free_mb, wanted_mb) = (free >> 20, config.spool.max_bytes >> 20);
    if free < 1 << 20 {
        Finding::problem(
            "disk",
            if free == 0 {
                "it is full".to_owned()
            } else {
                format!("it is as good as full: {} KiB free", free >> 10)
            },
            "make room: results that do not fit are held in memory, and lost in a power cut",
        )
    } else if free < config.spool.max_bytes {
        Finding::warning(
            "disk",
            format!(
                "{free_mb} MiB free, less than the {wanted_mb} MiB that results may take in an outage"
            ),
            "make room, or lower max_bytes in [spool]",
        )
    } else {
        Finding::ok("disk", format!("{free_mb} MiB free"))
    }
}

fn key(path: &Path) -> Finding {
    match ProbeKey::load(path) {
        Ok(key) => Finding::ok("key", format!("{} {}", key.type_name(), key.fingerprint())),
        Err(KeyError::Missing(_)) => Finding::warning(
            "key",
            format!("there is none at {} yet", path.display()),
            "`starling run` makes one; to take one over, `starling key import FILE`",
        ),
        Err(error) => Finding::error("key", error),
    }
}

fn clock(data_dir: &Path) -> Finding {
    let confirmed = fs::read_to_string(data_dir.join("timesync"))
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .map(UnixTime::from_secs);
    clock_at(Clock::start().unix(), confirmed)
}

/// A running probe confirms its clock with every upload; one that was off for long cannot know.
fn clock_at(now: UnixTime, confirmed: Option<UnixTime>) -> Finding {
    const WHAT: &str = "clock";
    let remedy = "run a time service such as systemd-timesyncd or chrony";
    if now < EARLIEST {
        return Finding::problem(WHAT, "the wall clock is years behind", remedy);
    }
    let Some(confirmed) = confirmed else {
        return Finding::ok(WHAT, "plausible; no controller has confirmed it yet");
    };
    if confirmed > now + Duration::from_secs(2) {
        return Finding::problem(
            WHAT,
            "the wall clock is behind the time that a controller confirmed before",
            remedy,
        );
    }
    match now.secs().saturating_sub(confirmed.secs()) / 86_400 {
        0 => Finding::ok(WHAT, "a controller confirmed it in the last day"),
        days @ 1..=6 => Finding::ok(WHAT, format!("a controller confirmed it {days} days ago")),
        days => Finding::warning(
            WHAT,
            format!("no controller has confirmed it for {days} days"),
            "if the probe was not off for so long, the wall clock is ahead: run a time service such as systemd-timesyncd \
             or chrony",
        ),
    }
}

/// Whether the kernel stamps packets, tried with one to ourselves.
fn stamps() -> Finding {
    const WHAT: &str = "time stamps";
    let remedy = "times are taken by the program instead, which a busy host makes worse";
    match stamped() {
        Ok(true) => Finding::ok(WHAT, "the kernel stamps packets"),
        Ok(false) => Finding::warning(WHAT, "the kernel does not stamp packets", remedy),
        Err(error) => Finding::warning(WHAT, format!("cannot be tried: {error}"), remedy),
    }
}

fn stamped() -> io::Result<bool> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.set_read_timeout(Some(Duration::from_secs(1)))?;
    setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
    socket.send_to(b"?", socket.local_addr()?)?;
    let (mut byte, mut room) = ([0; 1], nix::cmsg_space!(TimeSpec));
    let mut parts = [IoSliceMut::new(&mut byte)];
    let message = recvmsg::<SockaddrIn>(
        socket.as_raw_fd(),
        &mut parts,
        Some(&mut room),
        MsgFlags::empty(),
    )?;
    let mut told = message.cmsgs()?;
    Ok(told.any(|told| matches!(told, ControlMessageOwned::ScmTimestampns(_))))
}

/// What this user may do.
pub(super) fn privileges(may: Capabilities) -> Vec<Finding> {
    [capabilities()].into_iter().chain(sockets(may)).collect()
}

/// Raw sockets, and those that make do without.
pub(super) fn sockets(may: Capabilities) -> [Finding; 2] {
    let raw = if may.raw {
        Finding::ok("raw sockets", "can be opened: everything can be measured")
    } else {
        Finding::warning(
            "raw sockets",
            "cannot be opened by this user: no traceroute by TCP, ping and the rest of it only as far as ping sockets go",
            "run the probe with CAP_NET_RAW, as the systemd unit does (setcap cap_net_raw+ep on the binary)",
        )
    };
    [raw, ping_group(may)]
}

fn capabilities() -> Finding {
    const WHAT: &str = "capabilities";
    match caps::read(None, CapSet::Effective) {
        Ok(held) if held.is_empty() => Finding::ok(WHAT, "none in this process"),
        Ok(held) if held.contains(&Capability::CAP_NET_RAW) && held.len() == 1 => {
            Finding::ok(WHAT, "CAP_NET_RAW only: as it should be")
        }
        Ok(held) => Finding::ok(
            WHAT,
            format!(
                "{} in this process; the probe keeps CAP_NET_RAW only",
                held.len()
            ),
        ),
        Err(error) => Finding::warning(WHAT, format!("cannot be read: {error}"), "mount /proc"),
    }
}

fn ping_group(may: Capabilities) -> Finding {
    const WHAT: &str = "ping sockets";
    let range = fs::read_to_string("/proc/sys/net/ipv4/ping_group_range").unwrap_or_default();
    let range = range.split_whitespace().collect::<Vec<_>>().join(" ");
    if may.datagram_icmp {
        return Finding::ok(
            WHAT,
            format!("allowed to this group (ping_group_range {range})"),
        );
    }
    let words = format!(
        "not allowed to group {} (ping_group_range {range})",
        getegid()
    );
    if may.raw {
        // Raw sockets do all of it.
        return Finding::ok(WHAT, format!("{words}, nor needed"));
    }
    Finding::warning(
        WHAT,
        format!("{words}: no ping and no traceroute by ICMP"),
        format!(
            "sysctl net.ipv4.ping_group_range='{0} {0}', or CAP_NET_RAW",
            getegid()
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn a_clock_is_confirmed_only_as_long_as_somebody_could_have_done_so() {
        let now = UnixTime::from_secs(EARLIEST.secs() + 100 * 86_400);
        let told = |ago: i64| {
            let confirmed = UnixTime::from_secs(now.secs() - ago);
            let finding = clock_at(now, Some(confirmed));
            (finding.verdict, finding.words)
        };
        assert_eq!(told(3600).0, Verdict::Ok);
        assert_eq!(told(-3600).0, Verdict::Problem);
        let (verdict, words) = told(30 * 86_400);
        assert_eq!(verdict, Verdict::Warning);
        assert!(words.contains("30 days"), "{words}");
        assert_eq!(
            clock_at(UnixTime::from_secs(0), None).verdict,
            Verdict::Problem
        );
    }
}
