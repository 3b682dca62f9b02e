//! Printing for people and pipes: a closed pipe is no error.

use std::io::{self, Write};

/// Data: a line to standard output.
pub(super) fn line(line: &str) -> io::Result<()> {
    text(&format!("{line}\n"))
}

/// Data: text with its own line ends to standard output.
pub(super) fn text(text: &str) -> io::Result<()> {
    open_text(text).map(|_| ())
}

/// Like [`text`]; whether somebody is still there to read more.
pub(super) fn open_text(text: &str) -> io::Result<bool> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        other => other.map(|()| true),
    }
}

/// Talk: a line to standard error.
pub(super) fn talk(text: &str) {
    // Where standard error is gone there is nobody to tell.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// An error and its causes, once.
pub(super) fn error(error: &anyhow::Error) {
    talk(&format!("starling: {error:#}"));
}
