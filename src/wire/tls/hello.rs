//! The hello that the official probe sends, byte by byte (`http-tls-measurements` section 3.2).

use super::{SSL_3_0, Version, content, message};

/// The longest server name that is sent, in octets: the longest that a command line can hold is shorter.
pub const MAX_SERVER_NAME: usize = 4_096;

/// What a record holds at most.
const MAX_FRAGMENT: usize = 0x4000;

/// The suites in the order offered. The TLS 1.3 ones stand there although that version is not offered.
const SUITES: [u16; 18] = [
    0x1301, 0x1303, 0x1302, 0xc02b, 0xc02f, 0xcca9, 0xcca8, 0xc02c, 0xc030, 0xc00a, 0xc009, 0xc013,
    0xc014, 0x009c, 0x009d, 0x002f, 0x0035, 0x000a,
];

/// Deflate and none.
const COMPRESSIONS: [u8; 2] = [1, 0];

const SERVER_NAME: u16 = 0;
const SUPPORTED_GROUPS: u16 = 10;
const SIGNATURE_ALGORITHMS: u16 = 13;

const SIGNATURES: [u16; 11] = [
    0x0403, 0x0503, 0x0603, 0x0804, 0x0805, 0x0806, 0x0401, 0x0501, 0x0601, 0x0203, 0x0201,
];

const GROUPS: [u16; 6] = [0x001d, 0x0017, 0x0018, 0x0019, 0x0100, 0x0101];

/// What differs from one hello to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientHello<'a> {
    /// `client_version`. The record header has SSL 3.0 whatever this is.
    pub version: Version,
    /// The first half of the random field: Unix time in seconds.
    pub time: u32,
    /// The other half.
    pub random: [u8; 28],
    /// The name to send as it is, even an empty one; cut to [`MAX_SERVER_NAME`].
    pub server_name: Option<&'a [u8]>,
}

impl ClientHello<'_> {
    /// The records to send.
    #[must_use]
    pub fn emit(&self) -> Vec<u8> {
        let body = self.body();
        let mut handshake = vec![message::CLIENT_HELLO];
        put_u24(&mut handshake, body.len());
        handshake.extend(body);
        let mut records = Vec::with_capacity(handshake.len() + 5);
        for fragment in handshake.chunks(MAX_FRAGMENT) {
            records.push(content::HANDSHAKE);
            records.extend(SSL_3_0);
            put_block(&mut records, fragment);
        }
        records
    }

    fn body(&self) -> Vec<u8> {
        let mut body = self.version.to_vec();
        body.extend(self.time.to_be_bytes());
        body.extend(self.random);
        // No session to take up again.
        body.push(0);
        put_block(&mut body, &octets(&SUITES));
        body.push(2);
        body.extend(COMPRESSIONS);
        put_block(&mut body, &self.extensions());
        body
    }

    fn extensions(&self) -> Vec<u8> {
        let mut extensions = Vec::new();
        let mut put = |kind: u16, list: &[u8]| {
            let mut data = Vec::new();
            put_block(&mut data, list);
            extensions.extend(kind.to_be_bytes());
            put_block(&mut extensions, &data);
        };
        if let Some(name) = self.server_name {
            // A list of one name of type 0, a host name (RFC 6066 section 3).
            let mut entry = vec![0];
            put_block(&mut entry, &name[..name.len().min(MAX_SERVER_NAME)]);
            put(SERVER_NAME, &entry);
        }
        put(SIGNATURE_ALGORITHMS, &octets(&SIGNATURES));
        put(SUPPORTED_GROUPS, &octets(&GROUPS));
        extensions
    }
}

fn octets(numbers: &[u16]) -> Vec<u8> {
    numbers
        .iter()
        .flat_map(|number| number.to_be_bytes())
        .collect()
}

/// A length in 16 bits and what it counts, which is never more.
fn put_block(out: &mut Vec<u8>, block: &[u8]) {
    out.extend(crate::wire::length16(block.len()).to_be_bytes());
    out.extend(block);
}

fn put_u24(out: &mut Vec<u8>, number: usize) {
    let [.., a, b, c] = number.to_be_bytes();
    out.extend([a, b, c]);
}
