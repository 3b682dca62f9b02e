//! What servers say on streams, for the machine target: whole answers of the protocol that was asked for, made as the
//! input says, then spoilt.

use starling::{
    measurement::{Options, dns::Transport},
    wire::http2::{self, literal},
};

use super::{
    bytes::Bytes,
    peer::{self, reply_to},
};

/// An answer to what a machine wrote.
pub(crate) fn answer(options: &Options, written: &[u8], bytes: &mut Bytes<'_>) -> Vec<u8> {
    let form = bytes.byte();
    let mut said = match options {
        Options::Http(_) => response(form, bytes),
        Options::Tls(_) => flight(form, bytes),
        Options::Dns(options) if options.transport == Transport::Https => http2(written, bytes),
        _ => framed(&reply_to(written.get(2..).unwrap_or_default(), bytes)),
    };
    peer::spoil(&mut said, form >> 4, bytes);
    said
}

/// A DNS message as it stands on a TCP stream.
fn framed(message: &[u8]) -> Vec<u8> {
    let length = u16::try_from(message.len()).unwrap_or(u16::MAX);
    [&length.to_be_bytes()[..], message].concat()
}

/// An HTTP response.
fn response(form: u8, bytes: &mut Bytes<'_>) -> Vec<u8> {
    let status: &[u8] = bytes.of(&[
        b"HTTP/1.1 200 OK",
        b"HTTP/1.0 404 Not Found",
        b"http/1.1\t 00301abc",
        b"HTTP/1.1 100 Continue",
        b"HTTP/1.1 204",
        b"HTTP/2.0 500 ",
        b"HTTP/1.1 99 x",
        b"ICY 200 OK",
    ]);
    let end: &[u8] = if form & 1 == 0 { b"\r\n" } else { b"\n" };
    let mut said = [status, end].concat();
    for _ in 0..bytes.byte() % 8 {
        let name: &[u8] = bytes.of(&[
            b"Content-Length: ",
            b"Transfer-Encoding: chunked",
            b"X-Some: ",
            b" folded ",
            b"Content-Encoding: gzip",
            b"content-length-x:",
            b"Transfer-Encoding",
            b"Set-Cookie: \xe9\0\"\\",
        ]);
        said.extend_from_slice(name);
        if form & 2 == 0 && name.ends_with(b"Length: ") {
            said.extend_from_slice(bytes.byte().to_string().as_bytes());
        } else {
            said.extend_from_slice(bytes.chunk());
        }
        said.extend_from_slice(end);
    }
    said.extend_from_slice(end);
    for _ in 0..bytes.byte() % 6 {
        let piece = bytes.chunk();
        if form & 4 == 0 {
            let size = piece.len() + usize::from(form >> 3 & 1);
            said.extend_from_slice(format!("{size:x}").as_bytes());
            said.extend_from_slice(end);
        }
        said.extend_from_slice(piece);
        said.extend_from_slice(end);
    }
    if form & 4 == 0 {
        said.extend_from_slice(&[b"0", end, b"Trailer: x", end, end].concat());
    }
    said
}

/// The records of a server's first flight.
fn flight(form: u8, bytes: &mut Bytes<'_>) -> Vec<u8> {
    const RETRY: [u8; 32] = [
        0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8,
        0x91, 0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8,
        0x33, 0x9c,
    ];
    let version = bytes.of(&[[3, 3], [3, 1], [3, 0], [3, 4], [254, 255]]);
    let mut said = Vec::new();
    for _ in 0..1 + bytes.byte() % 5 {
        let (kind, payload) = match bytes.byte() % 8 {
            0 => (22, hello(&[7; 32], false, bytes)),
            1 => (22, hello(&[7; 32], true, bytes)),
            2 => (22, hello(&RETRY, true, bytes)),
            3 | 4 => (22, certificates(bytes)),
            5 => (21, vec![bytes.byte() % 3, bytes.byte()]),
            6 => (23, bytes.chunk().to_vec()),
            _ => (bytes.of(&[20, 22, 24]), bytes.chunk().to_vec()),
        };
        // In one record, or in several.
        let size = if form & 1 == 0 {
            payload.len()
        } else {
            usize::from(bytes.byte())
        };
        for part in payload.chunks(size.max(1)) {
            let length = u16::try_from(part.len()).unwrap_or(u16::MAX).to_be_bytes();
            said.extend_from_slice(&[&[kind], &version[..], &length, part].concat());
        }
    }
    said
}

fn handshake(kind: u8, body: &[u8]) -> Vec<u8> {
    let [.., a, b, c] = body.len().to_be_bytes();
    [&[kind, a, b, c], body].concat()
}

fn hello(random: &[u8; 32], is_1_3: bool, bytes: &mut Bytes<'_>) -> Vec<u8> {
    let suite = bytes.word().to_be_bytes();
    let session = &[9; 32][..usize::from(bytes.byte()) % 33];
    let length = [u8::try_from(session.len()).unwrap_or(0)];
    let mut body = [&[3, 3], &random[..], &length, session, &suite, &[0]].concat();
    if is_1_3 {
        // supported_versions, then key_share.
        body.extend_from_slice(&[0, 46, 0, 43, 0, 2, 3, 4, 0, 51, 0, 36, 0, 29, 0, 32]);
        body.extend_from_slice(&[5; 32]);
    }
    handshake(2, &body)
}

fn certificates(bytes: &mut Bytes<'_>) -> Vec<u8> {
    let mut list = Vec::new();
    for _ in 0..bytes.byte() % 5 {
        let certificate = bytes.chunk();
        list.extend_from_slice(&certificate.len().to_be_bytes()[5..]);
        list.extend_from_slice(certificate);
    }
    let length = &list.len().to_be_bytes()[5..];
    handshake(11, &[length, &list].concat())
}

/// A response over HTTP/2 that carries a DNS message.
fn http2(written: &[u8], bytes: &mut Bytes<'_>) -> Vec<u8> {
    let mut said = frame(4, 0, 0, &[0, 3, 0, 0, 0, 100]);
    let status = bytes.of(&["200", "404", "2x0", "99999"]);
    let content = bytes.of(&[
        "application/dns-message",
        "Application/DNS-Message ; x=y",
        "text/html",
    ]);
    let mut block = Vec::new();
    literal(":status", status, &mut block);
    literal("content-type", content, &mut block);
    let flags = bytes.of(&[4, 5, 0, 12]);
    said.extend(frame(1, flags, 1, &block));
    for _ in 0..bytes.byte() % 3 {
        let kind = bytes.of(&[3, 4, 6, 7, 8, 9, 5, 200]);
        said.extend(frame(kind, bytes.byte(), bytes.byte() % 4, bytes.chunk()));
    }
    let reply = reply_to(query_of(written), bytes);
    let (front, back) = reply.split_at(usize::from(bytes.byte()).min(reply.len()));
    said.extend(frame(0, 0, 1, front));
    said.extend(frame(0, 1, 1, back));
    said
}

fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let [.., a, b, c] = payload.len().to_be_bytes();
    [&[a, b, c, kind, flags, 0, 0, 0, stream], payload].concat()
}

/// The DNS message in what a client says: the payload of its last frame.
fn query_of(written: &[u8]) -> &[u8] {
    let mut rest = written.get(http2::PREFACE.len()..).unwrap_or_default();
    let mut payload = rest;
    while let Some(([a, b, c, ..], after)) = rest.split_first_chunk::<9>() {
        let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        (payload, rest) = after.split_at(length.min(after.len()));
    }
    payload
}
