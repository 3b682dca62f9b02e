//! The request, byte by byte (`http-tls-measurements` 2.3).

use std::fmt::Write as _;

use super::options::{Method, Options};

/// What a POST sends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Post {
    /// Content-Length: all files together, one that cannot be read counts nothing.
    pub length: u64,
    /// The files up to the first that cannot be read.
    pub body: Vec<u8>,
    stopped: bool,
}

impl Post {
    /// Adds the next file; none if it cannot be read.
    pub(super) fn add(&mut self, file: Option<Vec<u8>>) {
        match file {
            None => self.stopped = true,
            Some(bytes) => {
                self.length += bytes.len() as u64;
                if !self.stopped {
                    self.body.extend(bytes);
                }
            }
        }
    }
}

/// Everything before the body.
pub(super) fn head(options: &Options, post: &Post) -> Vec<u8> {
    let mut head = format!(
        "{} {} HTTP/1.{}\r\nHost: {}\r\nConnection: close\r\nUser-Agent: {}\r\n",
        options.method.name(),
        options.url.path,
        u8::from(options.http_1_1),
        options.host.as_deref().unwrap_or(&options.url.authority),
        options.user_agent,
    );
    if options.method == Method::Post {
        // Writing to a string cannot fail.
        let _ = write!(
            head,
            "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n",
            post.length
        );
    }
    head += "\r\n";
    head.into_bytes()
}
