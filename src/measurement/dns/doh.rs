//! DNS over HTTPS: the one batch that is sent, and the response (`dns-measurement` 5.3, RFC 8484, RFC 9113).
//!
//! The batch is the whole of what is sent: SETTINGS and PING of the server stay unacknowledged, as the
//! specification fixes it. No server can have a reply wait for that, and a reply fits the initial window.

use crate::wire::http2::{Decoder, END_HEADERS, END_STREAM, Frame, Kind, PREFACE, literal};

/// The media type of DNS messages (RFC 8484 section 6).
const DNS_MESSAGE: &str = "application/dns-message";
/// The only stream.
const STREAM: u32 = 1;
/// No DNS message is longer.
const MAX_BODY: usize = 65_535;
/// Bytes of one header block that are held.
const MAX_BLOCK: usize = 65_536;

/// The request: preface, SETTINGS, HEADERS and DATA in one piece.
pub(super) fn request(authority: &str, path: &str, message: &[u8]) -> Vec<u8> {
    let mut block = Vec::new();
    let length = message.len().to_string();
    for (name, value) in [
        (":method", "POST"),
        (":scheme", "https"),
        (":authority", authority),
        (":path", path),
        ("user-agent", "RIPE Atlas"),
        ("accept", DNS_MESSAGE),
        ("content-type", DNS_MESSAGE),
        ("content-length", &length),
    ] {
        literal(name, value, &mut block);
    }
    let frame = |kind, flags, stream, payload| Frame {
        kind,
        flags,
        stream,
        payload,
    };
    let mut batch = PREFACE.to_vec();
    // ENABLE_PUSH is 0.
    frame(Kind::Settings, 0, 0, vec![0, 2, 0, 0, 0, 0]).emit(&mut batch);
    frame(Kind::Headers, END_HEADERS, STREAM, block).emit(&mut batch);
    frame(Kind::Data, END_STREAM, STREAM, message.to_vec()).emit(&mut batch);
    batch
}

/// A complete response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Response {
    /// `:status`, 0 if there was none.
    pub status: u16,
    /// Whether the body is a DNS message.
    pub is_dns: bool,
    /// The body, if it is.
    pub body: Vec<u8>,
}

/// The server broke the protocol, or used of it what a client is not bound to take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Broken;

/// The receiving side of the connection.
#[derive(Debug, Default)]
pub(super) struct Exchange {
    held: Vec<u8>,
    decoder: Decoder,
    /// A header block that CONTINUATION frames still belong to, and the flags that it began with.
    block: Option<(Vec<u8>, u8)>,
    status: u16,
    is_dns: bool,
    body: Vec<u8>,
    /// DATA has come.
    has_data: bool,
}

impl Exchange {
    /// Takes what was read; the response once it is complete.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<Option<Response>, Broken> {
        self.held.extend_from_slice(bytes);
        while let Some(frame) = Frame::take(&mut self.held).map_err(|_| Broken)? {
            if self.frame(&frame)? {
                return Ok(Some(Response {
                    status: self.status,
                    is_dns: self.is_dns,
                    body: std::mem::take(&mut self.body),
                }));
            }
        }
        Ok(None)
    }

    /// Takes one frame; true if it completes the response.
    fn frame(&mut self, frame: &Frame) -> Result<bool, Broken> {
        if self.block.is_some() && frame.kind != Kind::Continuation {
            return Err(Broken);
        }
        let length = frame.payload.len();
        let well_formed = match frame.kind {
            Kind::Data => return self.data(frame),
            Kind::Headers => {
                let block = frame.content().ok_or(Broken)?.to_vec();
                return self.headers(frame.stream, frame.flags, block, frame.flags);
            }
            Kind::Continuation => {
                let (mut block, flags) = self.block.take().ok_or(Broken)?;
                block.extend_from_slice(&frame.payload);
                return self.headers(frame.stream, frame.flags, block, flags);
            }
            Kind::Settings => frame.stream == 0 && length.is_multiple_of(6),
            Kind::Ping => frame.stream == 0 && length == 8,
            Kind::GoAway => frame.stream == 0 && length >= 8,
            Kind::RstStream | Kind::WindowUpdate => length == 4,
            Kind::Priority => length == 5,
            // We said that we want none.
            Kind::PushPromise => false,
            Kind::Unknown(_) => true,
        };
        if well_formed { Ok(false) } else { Err(Broken) }
    }

    fn data(&mut self, frame: &Frame) -> Result<bool, Broken> {
        let content = frame.content().ok_or(Broken)?;
        if frame.stream != STREAM || self.body.len() + content.len() > MAX_BODY {
            return Err(Broken);
        }
        self.has_data = true;
        if self.is_dns {
            self.body.extend_from_slice(content);
        }
        Ok(frame.flags & END_STREAM != 0)
    }

    /// Takes a header block as far as it has come; `flags` are those of its last frame, `first` of its first. The
    /// end of the stream counts here only for trailers: a response of headers alone is waited on, as the
    /// reference does, until the server closes or time is up.
    fn headers(
        &mut self,
        stream: u32,
        flags: u8,
        block: Vec<u8>,
        first: u8,
    ) -> Result<bool, Broken> {
        if stream != STREAM || block.len() > MAX_BLOCK {
            return Err(Broken);
        }
        if flags & END_HEADERS == 0 {
            self.block = Some((block, first));
            return Ok(false);
        }
        for (name, value) in self.decoder.decode(&block).map_err(|_| Broken)? {
            match &name[..] {
                b":status" => self.status = status(&value).ok_or(Broken)?,
                b"content-type" => self.is_dns = is_dns_message(&value),
                _ => {}
            }
        }
        Ok(self.has_data && first & END_STREAM != 0)
    }
}

/// A status is three digits.
fn status(value: &[u8]) -> Option<u16> {
    let digits: &[u8; 3] = value.try_into().ok()?;
    digits.iter().try_fold(0, |status, digit| {
        digit
            .is_ascii_digit()
            .then(|| status * 10 + u16::from(digit - b'0'))
    })
}

/// Whether a content type is that of DNS messages; case, white space and parameters do not matter.
fn is_dns_message(value: &[u8]) -> bool {
    let essence = value.split(|&byte| byte == b';').next().unwrap_or(value);
    essence
        .trim_ascii()
        .eq_ignore_ascii_case(DNS_MESSAGE.as_bytes())
}
