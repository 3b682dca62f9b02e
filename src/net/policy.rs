//! Where packets may go and how many: the address policy and the caps (`controller-protocol` section 8).
//!
//! Every socket and every stream passes here before it is opened, whatever the measurement type.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use crate::{
    clock::Tick,
    measurement::machine::{ChosenBy, Failure},
};

/// Refuses a destination that strangers may not choose.
///
/// # Errors
/// [`Failure::Forbidden`] with the address.
pub fn check(address: IpAddr, chosen_by: ChosenBy, allow_any: bool) -> Result<(), Failure> {
    if allow_any || chosen_by == ChosenBy::ResolverFile || !is_refused(address) {
        Ok(())
    } else {
        Err(Failure::Forbidden(address))
    }
}

/// Whether the policy refuses `address`: hosts of the local network, this host itself, groups, and every
/// IPv6 form that carries a refused IPv4 address.
#[must_use]
pub fn is_refused(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_refused_v4(address),
        IpAddr::V6(address) => is_refused_v6(address),
    }
}

fn is_refused_v4(address: Ipv4Addr) -> bool {
    match address.octets() {
        [0 | 10 | 127, ..] | [192, 168, ..] | [169, 254, ..] => true,
        [172, second, ..] => (16..32).contains(&second),
        [first, ..] => (224..240).contains(&first),
    }
}

fn is_refused_v6(address: Ipv6Addr) -> bool {
    match address.segments() {
        // The whole mapped range: a socket would speak IPv4 there, past all IPv4 handling.
        [0, 0, 0, 0, 0, 0xffff, ..] => true,
        // Unspecified and loopback, and IPv4-compatible addresses that carry a refused one.
        [0, 0, 0, 0, 0, 0, high, low] => {
            matches!((high, low), (0, 0 | 1)) || is_refused_v4(embedded(high, low))
        }
        // NAT64 (RFC 6052) and 6to4 (RFC 3056).
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => {
            is_refused_v4(embedded(high, low))
        }
        // NAT64 of one's own network (RFC 8215): where the IPv4 address stands is not known.
        [0x64, 0xff9b, 1, ..] => true,
        // Teredo (RFC 4380 section 4): the server, and the client with all bits turned over.
        [0x2001, 0, server_high, server_low, _, _, high, low] => {
            is_refused_v4(embedded(server_high, server_low)) || is_refused_v4(embedded(!high, !low))
        }
        // ISATAP (RFC 5214 section 6.1), below any prefix.
        [first, _, _, _, 0 | 0x200, 0x5efe, high, low] => {
            first >= 0xe000 || is_refused_v4(embedded(high, low))
        }
        // e000::/3: unique local, link-local, site-local, multicast.
        [first, ..] => first >= 0xe000,
    }
}

fn embedded(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from((u32::from(high) << 16) | u32::from(low))
}

/// How many sockets all runs together hold.
#[derive(Debug)]
pub struct SocketCap {
    held: Arc<AtomicUsize>,
    limit: usize,
}

impl SocketCap {
    /// At most `limit` at a time.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            held: Arc::new(AtomicUsize::new(0)),
            limit,
        }
    }

    /// Room for one more socket until the permit is dropped; `None` when all are taken.
    #[must_use]
    pub fn take(&self) -> Option<Permit> {
        self.held
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |held| {
                (held < self.limit).then_some(held + 1)
            })
            .ok()
            .map(|_| Permit(Arc::clone(&self.held)))
    }
}

/// Room for one socket.
#[derive(Debug)]
pub struct Permit(Arc<AtomicUsize>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Packets that one run may send: more than any options of an official probe ask for (a traceroute of 255 hops, 255
/// packets each).
pub const PACKETS_PER_RUN: u32 = 70_000;
/// Streams and sockets that one run may open, and names that it may look up, altogether.
pub const OPENED_PER_RUN: u32 = 1_000;

/// What one run may still do. Whatever a command asks for, it comes to an end.
#[derive(Clone, Copy, Debug)]
pub struct RunCap {
    packets: u32,
    opened: u32,
    is_spent: bool,
}

impl Default for RunCap {
    fn default() -> Self {
        Self {
            packets: PACKETS_PER_RUN,
            opened: OPENED_PER_RUN,
            is_spent: false,
        }
    }
}

impl RunCap {
    /// Whether one more packet may be sent; counts it if so.
    pub fn packet(&mut self) -> bool {
        Self::take(&mut self.packets, &mut self.is_spent)
    }

    /// Whether one more socket or stream may be opened, or name looked up; counts it if so.
    pub fn open(&mut self) -> bool {
        Self::take(&mut self.opened, &mut self.is_spent)
    }

    /// Whether something was refused: the run is to end with what there is.
    #[must_use]
    pub const fn is_spent(&self) -> bool {
        self.is_spent
    }

    fn take(left: &mut u32, is_spent: &mut bool) -> bool {
        let may = left.checked_sub(1);
        *is_spent |= may.is_none();
        *left = may.unwrap_or(0);
        may.is_some()
    }
}

/// How many packets all runs together send: a bucket that holds one second's worth and fills at that rate.
#[derive(Debug)]
pub struct PacketCap {
    per_second: u32,
    /// When the bucket would have been full again, had nothing been sent since: later than now by what is
    /// missing.
    full_at: Tick,
    /// When a refusal was last worth a message.
    told: Option<Tick>,
}

impl PacketCap {
    /// `per_second` packets a second; 0 sends nothing.
    #[must_use]
    pub const fn new(per_second: u32) -> Self {
        Self {
            per_second,
            full_at: Tick(Duration::ZERO),
            told: None,
        }
    }

    /// Whether one more packet may leave at `now`; counts it if so.
    pub fn take(&mut self, now: Tick) -> bool {
        let Some(each) = Duration::from_secs(1).checked_div(self.per_second) else {
            return false;
        };
        let full_at = self.full_at.max(now) + each;
        // A bucket of one second: what is missing may be at most that.
        if full_at.since(now) > Duration::from_secs(1) {
            return false;
        }
        self.full_at = full_at;
        true
    }

    /// Whether a refusal at `now` is worth a message: at most one a minute is.
    pub fn is_news(&mut self, now: Tick) -> bool {
        let is_news = self
            .told
            .is_none_or(|told| now.since(told) >= Duration::from_secs(60));
        if is_news {
            self.told = Some(now);
        }
        is_news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> bool {
        is_refused(text.parse().unwrap())
    }

    #[test]
    fn first_and_last_address_of_each_refused_range() {
        for text in [
            "0.0.0.0",
            "0.255.255.255",
            "10.0.0.0",
            "10.255.255.255",
            "127.0.0.0",
            "127.255.255.255",
            "169.254.0.0",
            "169.254.255.255",
            "172.16.0.0",
            "172.31.255.255",
            "192.168.0.0",
            "192.168.255.255",
            "224.0.0.0",
            "239.255.255.255",
            "::",
            "::1",
            "::ffff:0.0.0.0",
            "::ffff:8.8.8.8",
            "::ffff:255.255.255.255",
            "64:ff9b:1::",
            "64:ff9b:1:ffff:ffff:ffff:ffff:ffff",
            "fe80::5efe:808:808",
            "e000::",
            "fc00::1",
            "fe80::1",
            "ff02::1",
            "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        ] {
            assert!(refused(text), "{text}");
        }
    }

    #[test]
    fn the_neighbours_of_refused_ranges_and_the_explicitly_allowed_pass() {
        for text in [
            "1.0.0.0",
            "9.255.255.255",
            "11.0.0.0",
            "100.64.0.1",
            "126.255.255.255",
            "128.0.0.0",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.2.1",
            "192.167.255.255",
            "192.169.0.0",
            "198.51.100.1",
            "223.255.255.255",
            "240.0.0.0",
            "255.255.255.255",
            "2001:db8::1",
            "dfff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            "::fffe:10.0.0.1",
            "64:ff9b:2::1",
            "2001:1::1",
            "0:0:0:0:1::",
        ] {
            assert!(!refused(text), "{text}");
        }
    }

    #[test]
    fn an_ipv6_form_is_judged_by_the_ipv4_address_it_carries() {
        for (inside, expected) in [
            ("10.1.2.3", true),
            ("127.0.0.1", true),
            ("0.0.0.9", true),
            ("224.0.0.1", true),
            ("8.8.8.8", false),
            ("192.0.2.1", false),
        ] {
            let [a, b, c, d] = inside.parse::<Ipv4Addr>().unwrap().octets();
            assert_eq!(refused(&format!("64:ff9b::{inside}")), expected, "{inside}");
            assert_eq!(refused(&format!("::{inside}")), expected, "{inside}");
            let six_to_four = format!("2002:{a:02x}{b:02x}:{c:02x}{d:02x}::1");
            assert_eq!(refused(&six_to_four), expected, "{six_to_four}");
            let server = format!("2001:0:{a:02x}{b:02x}:{c:02x}{d:02x}:0:f227:f7f7:f7f7");
            assert_eq!(refused(&server), expected, "{server}");
            let [w, x, y, z] = [!a, !b, !c, !d];
            let client = format!("2001:0:808:808:0:f227:{w:02x}{x:02x}:{y:02x}{z:02x}");
            assert_eq!(refused(&client), expected, "{client}");
            for isatap in ["2001:db8::5efe", "2001:db8::200:5efe"] {
                let isatap = format!("{isatap}:{a:02x}{b:02x}:{c:02x}{d:02x}");
                assert_eq!(refused(&isatap), expected, "{isatap}");
            }
        }
    }

    #[test]
    fn the_resolver_files_servers_and_a_lifted_policy_pass() {
        let private = "10.0.0.53".parse().unwrap();
        assert_eq!(
            check(private, ChosenBy::Command, false),
            Err(Failure::Forbidden(private))
        );
        assert_eq!(check(private, ChosenBy::ResolverFile, false), Ok(()));
        assert_eq!(check(private, ChosenBy::Command, true), Ok(()));
    }

    #[test]
    fn a_dropped_permit_makes_room() {
        let cap = SocketCap::new(2);
        let (first, second) = (cap.take(), cap.take());
        assert!(first.is_some() && second.is_some());
        assert!(cap.take().is_none());
        drop(first);
        assert!(cap.take().is_some());
    }

    #[test]
    fn one_seconds_worth_of_packets_may_leave_at_once_and_then_the_rate_holds() {
        let mut cap = PacketCap::new(10);
        let sent = |cap: &mut PacketCap, now| (0..100).filter(|_| cap.take(now)).count();
        assert_eq!(sent(&mut cap, Tick::from_secs(5)), 10);
        assert_eq!(sent(&mut cap, Tick::from_millis(5_250)), 2);
        assert_eq!(sent(&mut cap, Tick::from_secs(60)), 10);
    }

    #[test]
    fn a_refusal_is_told_once_a_minute() {
        let mut cap = PacketCap::new(0);
        let told = [0, 1, 59, 60, 61, 119, 120].map(|second| cap.is_news(Tick::from_secs(second)));
        assert_eq!(told, [true, false, false, true, false, false, true]);
    }

    #[test]
    fn one_run_may_do_much_but_not_without_end() {
        let mut cap = RunCap::default();
        assert!((0..PACKETS_PER_RUN).all(|_| cap.packet()));
        assert!((0..OPENED_PER_RUN).all(|_| cap.open()));
        assert!(!cap.is_spent(), "all that it may do is no reason to end it");
        assert!(!cap.packet());
        assert!(cap.is_spent() && !cap.open());
    }

    #[test]
    fn a_cap_of_nothing_sends_nothing() {
        assert!(!PacketCap::new(0).take(Tick::from_secs(1)));
    }
}
