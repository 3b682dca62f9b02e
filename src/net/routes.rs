//! Which local address packets to a target leave from: asked of the kernel once and kept until its routing changes.
//!
//! The kernel announces each change of links, addresses, routes and rules before the change is done with, and the
//! announcements are looked for each time, so an answer is never older than the latest of them. Nobody is woken by
//! them: however often a router changes its mind, at most a few wait in a small buffer.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    os::fd::{AsRawFd as _, OwnedFd},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use nix::{
    errno::Errno,
    libc,
    sys::socket::{
        AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv,
        setsockopt, sockopt,
    },
};

use super::socket;
use crate::{clock::Tick, measurement::machine::Failure};

/// How long an answer is kept though nothing was announced: that a gateway of several has died is not.
const AGE: Duration = Duration::from_secs(600);

/// Targets that are remembered; with one more all are forgotten.
const LIMIT: usize = 4_096;

/// What is announced of the groups that this has a bit of (`man 7 rtnetlink`).
const GROUPS: u32 = bit(libc::RTNLGRP_LINK)
    | bit(libc::RTNLGRP_IPV4_IFADDR)
    | bit(libc::RTNLGRP_IPV4_ROUTE)
    | bit(libc::RTNLGRP_IPV4_RULE)
    | bit(libc::RTNLGRP_IPV6_IFADDR)
    | bit(libc::RTNLGRP_IPV6_ROUTE)
    | bit(libc::RTNLGRP_IPV6_RULE)
    | bit(libc::RTNLGRP_NEXTHOP);

const fn bit(group: libc::c_uint) -> u32 {
    1 << (group - 1)
}

/// What is known of the kernel's routing.
#[derive(Debug, Default)]
pub(super) struct Routes(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Where changes are announced. Without it nothing is kept.
    changes: Option<OwnedFd>,
    /// By target and `-I`; when the kernel was asked.
    known: BTreeMap<(IpAddr, Option<String>), (IpAddr, Tick)>,
}

impl Routes {
    /// The kernel's choice of local address towards `to`; fails where no route leads there.
    pub(super) fn source(
        &self,
        to: IpAddr,
        bound_to: Option<&str>,
        now: Tick,
    ) -> Result<IpAddr, Failure> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !state.is_current() {
            state.known.clear();
            // Before the kernel is asked, lest a change in between be missed.
            state.changes = listen()
                .inspect_err(|errno| tracing::debug!(%errno, "routing is asked for each time"))
                .ok();
        }
        let key = (to, bound_to.map(str::to_owned));
        match state.known.get(&key) {
            Some((source, asked)) if now.since(*asked) < AGE => return Ok(*source),
            _ => {}
        }
        let source = socket::route(to, bound_to)?;
        if state.changes.is_some() {
            if state.known.len() == LIMIT {
                state.known.clear();
            }
            state.known.insert(key, (source, now));
        }
        Ok(source)
    }
}

impl State {
    /// Whether nothing was announced.
    fn is_current(&self) -> bool {
        self.changes.as_ref().is_some_and(|changes| {
            let announced = recv(changes.as_raw_fd(), &mut [0], MsgFlags::MSG_DONTWAIT);
            announced == Err(Errno::EAGAIN)
        })
    }
}

fn listen() -> Result<OwnedFd, Errno> {
    let changes = nix::sys::socket::socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkRoute,
    )?;
    // One announcement is enough to know; the kernel rounds this up to its least.
    setsockopt(&changes, sockopt::RcvBuf, &1)?;
    bind(changes.as_raw_fd(), &NetlinkAddr::new(0, GROUPS))?;
    Ok(changes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Tick = Tick::from_secs(1);

    #[test]
    fn what_is_known_is_what_the_kernel_says() {
        let routes = Routes::default();
        for to in ["127.0.0.1", "127.0.0.2", "::1", "127.0.0.1"] {
            let to = to.parse().unwrap();
            assert_eq!(routes.source(to, None, NOW), socket::route(to, None));
        }
        let bound = routes.source("127.0.0.1".parse().unwrap(), Some("127.0.0.9"), NOW);
        assert_eq!(bound, Ok("127.0.0.9".parse().unwrap()));
        let refused = routes.source("127.0.0.1".parse().unwrap(), Some("no-such-device"), NOW);
        assert_eq!(refused, Err(Failure::Bind));
        assert!(routes.0.lock().unwrap().known.len() <= 4);
    }

    #[test]
    fn no_more_targets_are_remembered_than_there_is_room_for() {
        let routes = Routes::default();
        for number in 0..=LIMIT {
            let number = u32::try_from(number).unwrap();
            let to = IpAddr::from((0x7f00_0001 + number).to_be_bytes());
            assert!(routes.source(to, None, NOW).is_ok());
        }
        assert!(routes.0.lock().unwrap().known.len() <= LIMIT);
    }
}
