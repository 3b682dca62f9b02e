//! The first octets that a server says, kept for the case that it turns out to speak no SSH.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::session::{event::collapsed, failure::Stranger};

/// Octets kept: the first line of any protocol.
const KEPT: usize = 256;

/// What a server said first, growing while it is read.
#[derive(Clone, Debug, Default)]
pub(super) struct First(Arc<Mutex<Vec<u8>>>);

impl First {
    /// Who speaks, if it is not SSH.
    pub(super) fn stranger(&self) -> Option<Stranger> {
        stranger(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Who speaks, if it is not SSH. A server may say a few lines before it greets (RFC 4253 section 4.2).
fn stranger(first: &[u8]) -> Option<Stranger> {
    let mut lines = first.split(|octet| *octet == b'\n');
    if lines.any(|line| line.starts_with(b"SSH-")) {
        return None;
    }
    let line = || {
        let line = first.split(|octet| *octet == b'\n').next();
        collapsed(&String::from_utf8_lossy(line.unwrap_or_default()))
    };
    Some(match first {
        [] => Stranger::Silent,
        // A TLS record: handshake or alert, version 3.x (RFC 8446 section 5.1).
        [20..=23, 3, ..] => Stranger::Tls,
        [b'H', b'T', b'T', b'P', b'/', ..] => Stranger::Http(line()),
        [b'<', ..] => Stranger::Http("a page".to_owned()),
        _ => Stranger::Other(line()),
    })
}

/// A stream whose first octets are kept.
pub(super) struct Overheard<S> {
    stream: S,
    first: First,
    kept: usize,
}

impl<S> Overheard<S> {
    pub(super) fn new(stream: S) -> (Self, First) {
        let first = First::default();
        let overheard = Self {
            stream,
            first: first.clone(),
            kept: 0,
        };
        (overheard, first)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Overheard<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        if self.kept < KEPT && polled.is_ready() {
            let new = &buffer.filled()[before..];
            let new = &new[..new.len().min(KEPT - self.kept)];
            let mut first = self.first.0.lock().unwrap_or_else(PoisonError::into_inner);
            first.extend_from_slice(new);
            let kept = first.len();
            drop(first);
            self.kept = kept;
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Overheard<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt as _;

    #[test]
    fn who_speaks_is_told_by_the_first_octets() {
        let http = |line: &str| Some(Stranger::Http(line.to_owned()));
        for (first, expected) in [
            (&b"SSH-2.0-OpenSSH_9.9\r\n"[..], None),
            (b"welcome\r\nSSH-2.0-x\r\n", None),
            (b"", Some(Stranger::Silent)),
            (
                b"HTTP/1.1 302 Found\r\nLocation: http://portal/\r\n",
                http("HTTP/1.1 302 Found"),
            ),
            (b"<html><body>", http("a page")),
            (b"\x15\x03\x01\x00\x02\x02\x46", Some(Stranger::Tls)),
            (b"\x16\x03\x03", Some(Stranger::Tls)),
            (
                b"220 mail.example ESMTP\x1b[31m\r\n",
                Some(Stranger::Other("220 mail.example ESMTP[31m".to_owned())),
            ),
            (
                b"\xff\xfe\x00",
                Some(Stranger::Other("\u{fffd}\u{fffd}".to_owned())),
            ),
        ] {
            assert_eq!(stranger(first), expected, "{}", first.escape_ascii());
        }
    }

    #[test]
    fn no_more_is_kept_than_a_line_and_nothing_is_lost() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(async {
            let (mut overheard, first) = Overheard::new(&[b'x'; 1000][..]);
            let mut all = Vec::new();
            overheard.read_to_end(&mut all).await.unwrap();
            assert_eq!(all.len(), 1000);
            assert_eq!(first.0.lock().unwrap().len(), KEPT);
        });
    }
}
