//! What is asked: macros in the name, the prefix, cookies and the message (`dns-measurement` sections 2 and 3).

use std::net::IpAddr;

use rand::{RngExt, rngs::StdRng};
use ring::digest;

use super::options::{Options, RandomWord};
use crate::wire::dns::{self, CLIENT_SUBNET, COOKIE, NSID, NameError, Opt, Query};

/// Bytes that an expanded name may have.
const MAX_NAME: usize = 255;
/// Bytes that a name with its prefix may have.
const MAX_PREFIXED: usize = 262;

/// Expands `$p`, `$t` and `$r` in a name (section 2.1). `None` if it holds any other macro, or text or a random
/// word that does not fit; numbers and the text behind the last macro are cut instead.
pub(super) fn expand(
    name: &str,
    word: RandomWord,
    probe_id: Option<u32>,
    unix: i64,
    rng: &mut StdRng,
) -> Option<Vec<u8>> {
    let mut rest = name.as_bytes();
    if !rest.contains(&b'$') {
        return Some(rest.to_vec());
    }
    let mut text = Vec::new();
    while let Some(at) = rest.iter().position(|&byte| byte == b'$') {
        let (before, from) = rest.split_at(at);
        text.extend_from_slice(before);
        if text.len() > MAX_NAME {
            return None;
        }
        match from.get(1)? {
            b'p' => {
                let id = probe_id.map_or_else(|| "-1".to_owned(), |id| id.to_string());
                text.extend_from_slice(id.as_bytes());
            }
            b't' => text.extend_from_slice(unix.to_string().as_bytes()),
            b'r' => {
                text.extend_from_slice(&random_word(word, rng));
                if text.len() > MAX_NAME {
                    return None;
                }
            }
            _ => return None,
        }
        text.truncate(MAX_NAME);
        rest = &from[2..];
    }
    text.extend_from_slice(rest);
    text.truncate(MAX_NAME);
    Some(text)
}

fn random_word(word: RandomWord, rng: &mut StdRng) -> Vec<u8> {
    let (alphabet, length) = match word {
        RandomWord::Hexadecimal => (&b"0123456789abcdef"[..], 16),
        RandomWord::Alphanumeric => (&b"0123456789abcdefghijklmnopqrstuvwxyz"[..], 8),
    };
    let letter = |_| alphabet[rng.random_range(0..alphabet.len())];
    (0..length).map(letter).collect()
}

/// The name behind the probe's number and the attempt's time (`--p_probe_id`, section 2.2).
pub(super) fn prefixed(name: &[u8], probe_id: Option<u32>, time: i64) -> Vec<u8> {
    let mut text = format!("{}.{time}.", probe_id.unwrap_or(0)).into_bytes();
    text.extend_from_slice(name);
    text.truncate(MAX_PREFIXED);
    text
}

/// The cookie that this client shows to a server (section 3.4, RFC 7873 section 6).
pub(super) fn client_cookie(source: IpAddr, server: IpAddr, secret: &[u8; 32]) -> [u8; 8] {
    let mut hash = digest::Context::new(&digest::SHA256);
    for address in [source, server] {
        match address {
            IpAddr::V4(v4) => hash.update(&v4.octets()),
            IpAddr::V6(v6) => hash.update(&v6.octets()),
        }
    }
    hash.update(secret);
    let digest = hash.finish();
    digest.as_ref().last_chunk().copied().unwrap_or_default()
}

/// What a reply's cookie says to the client that sent `sent`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum CookieSeen {
    /// No usable cookie.
    None,
    /// Another client's.
    Mismatch,
    /// The server's part, to be shown next time.
    Server(Vec<u8>),
}

/// Reads the cookie of a reply (section 3.4).
pub(super) fn cookie_of(reply: &[u8], sent: [u8; 8]) -> CookieSeen {
    match dns::cookie(reply).filter(|cookie| (16..=40).contains(&cookie.len())) {
        None => CookieSeen::None,
        Some(cookie) => match cookie.split_at(8) {
            (client, server) if client == sent => CookieSeen::Server(server.to_vec()),
            _ => CookieSeen::Mismatch,
        },
    }
}

/// The parts of a query that differ from one attempt to the next.
pub(super) struct Asking<'a> {
    /// The name as text, expanded.
    pub name: &'a [u8],
    /// Message ID.
    pub id: u16,
    /// The family that Client Subnet names: 1 or 2.
    pub subnet_family: u16,
    /// Client and server cookie.
    pub cookie: Option<([u8; 8], &'a [u8])>,
}

/// The message.
///
/// # Errors
/// When the name has no wire form.
pub(super) fn build(options: &Options, asking: &Asking<'_>) -> Result<Vec<u8>, NameError> {
    let edns = &options.edns;
    let opt = edns.is_wanted().then(|| {
        let mut list = Vec::new();
        if edns.nsid {
            list.push((NSID, Vec::new()));
        }
        if edns.client_subnet {
            let [high, low] = asking.subnet_family.to_be_bytes();
            list.push((CLIENT_SUBNET, vec![high, low, 0, 0]));
        }
        if let Some((client, server)) = asking.cookie {
            list.push((COOKIE, [&client, server].concat()));
        }
        if edns.option != 0 {
            list.push((edns.option, Vec::new()));
        }
        Opt {
            payload: edns.payload,
            version: edns.version,
            flags: edns.flags,
            options: list,
        }
    });
    let query = Query {
        id: asking.id,
        flags: options.flags,
        name: dns::encode_name(asking.name)?,
        rtype: options.rtype,
        class: options.class,
        opt,
    };
    Ok(query.emit())
}
