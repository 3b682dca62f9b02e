//! The requests of probes and the answers to them, as bytes (`controller-protocol` sections 6.1, 6.4, 11.2): pure.

use super::messages::{Manner, Response};
use crate::{clock::UnixTime, protocol::date};

/// Bytes of a request's head. A probe's own has some 250.
pub const MAX_HEAD: usize = 16 << 10;
/// Header fields of a request.
const MAX_HEADERS: usize = 64;

/// What matters of a request's head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its own bytes, with the empty line.
    pub size: usize,
    /// As it was sent.
    pub method: String,
    /// Path and query, as they were sent.
    pub target: String,
    /// `Content-Length`.
    pub length: usize,
}

impl Head {
    /// The head at the beginning of `bytes`; `None` while it is not whole.
    ///
    /// # Errors
    /// What stands there is no request that a probe makes.
    pub fn parse(bytes: &[u8]) -> Result<Option<Self>, Refusal> {
        let mut fields = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut request = httparse::Request::new(&mut fields);
        let size = match request.parse(bytes) {
            Ok(httparse::Status::Complete(size)) if size <= MAX_HEAD => size,
            Ok(httparse::Status::Partial) if bytes.len() < MAX_HEAD => return Ok(None),
            Ok(_) => return Err(Refusal::Status(431, "the head is too long")),
            Err(_) => return Err(Refusal::Status(400, "this is no HTTP request")),
        };
        let is = |field: &httparse::Header<'_>, name: &str| field.name.eq_ignore_ascii_case(name);
        if request
            .headers
            .iter()
            .any(|field| is(field, "transfer-encoding"))
        {
            return Err(Refusal::Status(411, "a Content-Length is needed"));
        }
        let mut lengths = request
            .headers
            .iter()
            .filter(|field| is(field, "content-length"));
        let (Some(length), None) = (lengths.next(), lengths.next()) else {
            return Err(Refusal::Status(411, "one Content-Length is needed"));
        };
        let digits = std::str::from_utf8(length.value).unwrap_or_default().trim();
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Refusal::Status(400, "Content-Length is no number"));
        }
        Ok(Some(Self {
            size,
            method: request.method.unwrap_or_default().to_owned(),
            target: request.path.unwrap_or_default().to_owned(),
            length: digits.parse().unwrap_or(usize::MAX),
        }))
    }
}

/// The bytes of an answer. The reason of a 200 is empty, as the genuine controllers leave it.
#[must_use]
pub fn render(response: &Response, now: UnixTime) -> Vec<u8> {
    let reason = match response.status {
        400 => "Bad Request",
        403 => "Forbidden",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        411 => "Length Required",
        413 => "Content Too Large",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        _ => "",
    };
    let date = date::format(now.secs().saturating_add(response.date_offset));
    let chunked = response.manner == Manner::Chunked;
    let framing = if chunked {
        "Transfer-Encoding: chunked".to_owned()
    } else {
        format!("Content-Length: {}", response.body.len())
    };
    let retry = response
        .retry_after
        .map_or(String::new(), |secs| format!("Retry-After: {secs}\r\n"));
    let body = if chunked {
        format!(
            "{:x}\r\n{}\r\n0\r\n\r\n",
            response.body.len(),
            response.body
        )
    } else {
        response.body.clone()
    };
    format!(
        "HTTP/1.1 {} {reason}\r\n{framing}\r\nDate: {date}\r\n{retry}Connection: close\r\n\r\n{body}",
        response.status
    )
    .into_bytes()
}

/// A request that cannot be handed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The client went away.
    Gone,
    /// What to answer, and why.
    Status(u16, &'static str),
}

impl Refusal {
    /// The answer to it, if anybody is there to hear it.
    #[must_use]
    pub fn response(&self) -> Option<Response> {
        match self {
            Self::Gone => None,
            Self::Status(status, reason) => Some(Response::refused(*status, reason)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(response: &Response) -> String {
        String::from_utf8(render(response, UnixTime::from_secs(1_136_214_245))).unwrap()
    }

    #[test]
    fn an_acknowledgement_is_what_the_official_client_needs() {
        assert_eq!(
            text(&Response::ok()),
            "HTTP/1.1 200 \r\nContent-Length: 3\r\nDate: Mon, 02 Jan 2006 15:04:05 GMT\r\nConnection: close\r\n\r\nOK\n"
        );
    }

    #[test]
    fn a_429_says_when_to_come_back() {
        let mut response = Response::refused(429, "too many posts");
        response.retry_after = Some(17);
        assert_eq!(
            text(&response),
            "HTTP/1.1 429 Too Many Requests\r\nContent-Length: 15\r\nDate: Mon, 02 Jan 2006 15:04:05 GMT\r\n\
             Retry-After: 17\r\nConnection: close\r\n\r\ntoo many posts\n"
        );
    }

    #[test]
    fn a_chunked_answer_is_framed_and_a_date_can_be_off() {
        let mut response = Response::ok();
        response.manner = Manner::Chunked;
        response.date_offset = -3600;
        assert_eq!(
            text(&response),
            "HTTP/1.1 200 \r\nTransfer-Encoding: chunked\r\nDate: Mon, 02 Jan 2006 14:04:05 GMT\r\n\
             Connection: close\r\n\r\n3\r\nOK\n\r\n0\r\n\r\n"
        );
    }

    #[test]
    fn a_head_is_found_however_much_of_it_has_come() {
        let request =
            b"POST /?PROBE_ID=1&SESSION_ID=ab HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\
                        User-Agent: httppost for atlas.ripe.net\r\nContent-Length: 5\r\n\r\nhello";
        let size = request.len() - 5;
        for cut in 0..size {
            assert_eq!(Head::parse(&request[..cut]), Ok(None), "cut at {cut}");
        }
        let head = Head {
            size,
            method: "POST".to_owned(),
            target: "/?PROBE_ID=1&SESSION_ID=ab".to_owned(),
            length: 5,
        };
        assert_eq!(Head::parse(request), Ok(Some(head)));
    }

    #[test]
    fn what_is_no_post_is_refused_by_name() {
        let status = |text: &str| match Head::parse(text.as_bytes()) {
            Err(Refusal::Status(status, _)) => status,
            other => panic!("{other:?}"),
        };
        assert_eq!(status("\x16\x03\x01\x02\x00\x01 hello hello\r\n\r\n"), 400);
        assert_eq!(status("POST / HTTP/1.1\r\n\r\n"), 411);
        assert_eq!(
            status("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"),
            411
        );
        assert_eq!(
            status("POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"),
            411
        );
        assert_eq!(status("POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n"), 400);
        assert_eq!(
            status(&format!("POST /{} HTTP/1.1\r\n", "x".repeat(MAX_HEAD))),
            431
        );
    }

    #[test]
    fn a_length_beyond_all_numbers_is_merely_too_long() {
        let head =
            Head::parse(b"POST / HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n");
        assert_eq!(head.unwrap().unwrap().length, usize::MAX);
    }

    proptest::proptest! {
        #[test]
        fn no_head_panics(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            let _ = Head::parse(&bytes);
        }
    }
}
