//! Bytes to fields and back: one file per protocol, no sockets, no clock.
//!
//! Every reader takes bytes from strangers: it checks lengths before it looks, returns [`Malformed`] where a
//! packet cannot be what it claims, and never panics. A reader borrows what it does not interpret. Writers
//! produce exactly the bytes of the RFC named at the top of each file.

pub mod checksum;
pub mod dns;
pub mod http;
pub mod http2;
pub mod icmp;
pub mod ip;
pub mod ntp;
pub mod options;
pub mod tcp;
pub mod tls;
pub mod udp;
pub mod x509;

/// Protocol numbers of IP and of IPv6 extension headers (IANA).
pub mod protocol {
    /// IPv6 hop-by-hop options.
    pub const HOP_BY_HOP: u8 = 0;
    /// ICMP.
    pub const ICMP: u8 = 1;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// IPv6 fragment header.
    pub const FRAGMENT: u8 = 44;
    /// ICMPv6.
    pub const ICMPV6: u8 = 58;
    /// IPv6 destination options.
    pub const DESTINATION_OPTIONS: u8 = 60;
}

/// Why bytes are not the packet that they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// They end too early.
    #[error("{what}: {have} octets, at least {need} needed")]
    Short {
        /// The header or field that does not fit.
        what: &'static str,
        /// How many octets are there.
        have: usize,
        /// How many it takes.
        need: usize,
    },
    /// A field has a value that the format does not allow.
    #[error("{what} is {value}")]
    Value {
        /// The field.
        what: &'static str,
        /// Its value.
        value: u32,
    },
}

/// The first `need` octets of `bytes` and the rest.
fn split<'a>(
    bytes: &'a [u8],
    need: usize,
    what: &'static str,
) -> Result<(&'a [u8], &'a [u8]), Malformed> {
    bytes.split_at_checked(need).ok_or(Malformed::Short {
        what,
        have: bytes.len(),
        need,
    })
}

/// The first `N` octets of `bytes` as an array, and the rest.
fn split_array<'a, const N: usize>(
    bytes: &'a [u8],
    what: &'static str,
) -> Result<(&'a [u8; N], &'a [u8]), Malformed> {
    bytes.split_first_chunk::<N>().ok_or(Malformed::Short {
        what,
        have: bytes.len(),
        need: N,
    })
}

/// A length as a 16-bit header field; what does not fit is the largest such length.
fn length16(length: usize) -> u16 {
    u16::try_from(length).unwrap_or(u16::MAX)
}

/// Reading the packets below `tests/packets`: hexadecimal digits in any grouping, `#` begins a comment.
#[cfg(test)]
pub(crate) fn hex(text: &str) -> Vec<u8> {
    let digits: String = text
        .lines()
        .map(|line| line.split('#').next().unwrap_or(""))
        .flat_map(str::chars)
        .filter(|c| !c.is_whitespace())
        .collect();
    (0..digits.len() / 2)
        .map(|at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).expect("hexadecimal digits"))
        .collect()
}
