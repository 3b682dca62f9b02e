//! HTTP/2 frames (RFC 9113 section 4) and header blocks (RFC 7541), as far as one request on one connection
//! needs them.
//!
//! Header blocks are written as literals that are never indexed, without Huffman coding, and read in full.

mod hpack;
mod huffman;

pub use hpack::{Decoder, HpackError, literal};

/// What a client says before its first frame (RFC 9113 section 3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Bytes of a frame before its payload.
pub const FRAME_HEADER: usize = 9;

/// Payload that a peer may send unless told otherwise (`SETTINGS_MAX_FRAME_SIZE`).
pub const MAX_FRAME_SIZE: usize = 16_384;

/// Flag of DATA and HEADERS: nothing more comes on this stream.
pub const END_STREAM: u8 = 0x1;
/// Flag of HEADERS and CONTINUATION: the header block is complete.
pub const END_HEADERS: u8 = 0x4;
/// Flag of DATA and HEADERS: the payload is padded.
pub const PADDED: u8 = 0x8;
/// Flag of HEADERS: a priority precedes the block.
pub const PRIORITY: u8 = 0x20;

/// The kind of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Body bytes.
    Data,
    /// The start of a header block.
    Headers,
    /// Advice on priority.
    Priority,
    /// The end of a stream by error.
    RstStream,
    /// Connection parameters.
    Settings,
    /// An announced response.
    PushPromise,
    /// A liveness check.
    Ping,
    /// The end of a connection.
    GoAway,
    /// Flow control credit.
    WindowUpdate,
    /// More of a header block.
    Continuation,
    /// Something that is to be ignored (RFC 9113 section 5.5).
    Unknown(u8),
}

impl Kind {
    /// The number on the wire.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Data => 0,
            Self::Headers => 1,
            Self::Priority => 2,
            Self::RstStream => 3,
            Self::Settings => 4,
            Self::PushPromise => 5,
            Self::Ping => 6,
            Self::GoAway => 7,
            Self::WindowUpdate => 8,
            Self::Continuation => 9,
            Self::Unknown(number) => number,
        }
    }

    /// The kind with this number.
    #[must_use]
    pub const fn from_number(number: u8) -> Self {
        match number {
            0 => Self::Data,
            1 => Self::Headers,
            2 => Self::Priority,
            3 => Self::RstStream,
            4 => Self::Settings,
            5 => Self::PushPromise,
            6 => Self::Ping,
            7 => Self::GoAway,
            8 => Self::WindowUpdate,
            9 => Self::Continuation,
            other => Self::Unknown(other),
        }
    }
}

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What it is.
    pub kind: Kind,
    /// [`END_STREAM`], [`END_HEADERS`] and others.
    pub flags: u8,
    /// The stream's number, 31 bits.
    pub stream: u32,
    /// What it carries.
    pub payload: Vec<u8>,
}

/// A frame longer than [`MAX_FRAME_SIZE`] was announced, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a frame of {0} bytes is longer than the {MAX_FRAME_SIZE} allowed")]
pub struct FrameTooLong(pub usize);

impl Frame {
    /// Appends the frame. Payloads of 16 MiB and more have no wire form and are cut.
    pub fn emit(&self, wire: &mut Vec<u8>) {
        let payload = &self.payload[..self.payload.len().min(0xff_ffff)];
        let length = u32::try_from(payload.len()).unwrap_or(0).to_be_bytes();
        wire.extend_from_slice(&length[1..]);
        wire.extend_from_slice(&[self.kind.number(), self.flags]);
        wire.extend_from_slice(&(self.stream & 0x7fff_ffff).to_be_bytes());
        wire.extend_from_slice(payload);
    }

    /// Takes the first frame out of `buffer`, if it is all there.
    ///
    /// # Errors
    /// When the frame is longer than a peer may send; the connection is then lost.
    pub fn take(buffer: &mut Vec<u8>) -> Result<Option<Self>, FrameTooLong> {
        let Some(head) = buffer.first_chunk::<FRAME_HEADER>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        if length > MAX_FRAME_SIZE {
            return Err(FrameTooLong(length));
        }
        let (kind, flags) = (Kind::from_number(head[3]), head[4]);
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & 0x7fff_ffff;
        if buffer.len() < FRAME_HEADER + length {
            return Ok(None);
        }
        let rest = buffer.split_off(FRAME_HEADER + length);
        let payload = std::mem::replace(buffer, rest).split_off(FRAME_HEADER);
        Ok(Some(Self {
            kind,
            flags,
            stream,
            payload,
        }))
    }

    /// The payload of DATA or HEADERS without padding and priority; `None` if they do not fit into it.
    #[must_use]
    pub fn content(&self) -> Option<&[u8]> {
        let mut content = &self.payload[..];
        let mut padding = 0;
        if self.flags & PADDED != 0 {
            let (&length, rest) = content.split_first()?;
            (padding, content) = (usize::from(length), rest);
        }
        if self.kind == Kind::Headers && self.flags & PRIORITY != 0 {
            content = content.get(5..)?;
        }
        content.get(..content.len().checked_sub(padding)?)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(kind: Kind, flags: u8, payload: &[u8]) -> Frame {
        Frame {
            kind,
            flags,
            stream: 1,
            payload: payload.to_vec(),
        }
    }

    #[test]
    fn settings_that_refuse_pushes() {
        let mut wire = Vec::new();
        let settings = Frame {
            stream: 0,
            ..frame(Kind::Settings, 0, &[0, 2, 0, 0, 0, 0])
        };
        settings.emit(&mut wire);
        assert_eq!(
            wire,
            [0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0],
            "`dns-measurement` 5.3"
        );
    }

    #[test]
    fn a_frame_is_taken_once_complete() {
        let mut wire = Vec::new();
        frame(Kind::Data, END_STREAM, b"body").emit(&mut wire);
        for cut in 0..wire.len() {
            let mut part = wire[..cut].to_vec();
            assert_eq!(Frame::take(&mut part), Ok(None));
            assert_eq!(part.len(), cut);
        }
        wire.push(9);
        let taken = Frame::take(&mut wire).unwrap().unwrap();
        assert_eq!(taken, frame(Kind::Data, END_STREAM, b"body"));
        assert_eq!(wire, [9]);
    }

    #[test]
    fn a_frame_longer_than_allowed_is_refused_before_it_is_buffered() {
        let mut wire = vec![0, 0x40, 1, 0, 0, 0, 0, 0, 1];
        assert_eq!(Frame::take(&mut wire), Err(FrameTooLong(16_385)));
    }

    #[test]
    fn padding_and_priority_are_not_content() {
        let padded = frame(Kind::Data, PADDED, b"\x02bodyxx");
        assert_eq!(padded.content(), Some(&b"body"[..]));
        let both = frame(Kind::Headers, PADDED | PRIORITY, b"\x01dddd\x10block.");
        assert_eq!(both.content(), Some(&b"block"[..]));
        for payload in [&b""[..], b"\x01", b"\x05abcd"] {
            let broken = frame(Kind::Data, PADDED, payload);
            assert_eq!(broken.content(), None, "{payload:?}");
        }
        assert_eq!(frame(Kind::Headers, PRIORITY, b"dddd").content(), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_taken(
            number: u8, flags: u8, stream in 0..=0x7fff_ffffu32,
            payload in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let frame = Frame { kind: Kind::from_number(number), flags, stream, payload };
            let mut wire = Vec::new();
            frame.emit(&mut wire);
            prop_assert_eq!(Frame::take(&mut wire), Ok(Some(frame)));
            prop_assert!(wire.is_empty());
        }
    }
}
