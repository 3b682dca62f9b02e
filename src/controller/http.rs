//! Posts on direct-tcpip channels: reads one request, hands it over, writes the answer (`controller-protocol`
//! sections 6.1, 6.4, 11.2). One request a channel; nothing is decided here but what is no request at all.

use std::{sync::Arc, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    sync::Semaphore,
    time::timeout,
};

use super::{
    core::Core,
    messages::{Answer, ConnectionId, Input, Manner, Post, Response},
};
use crate::{clock::UnixTime, protocol::date};

/// Bytes of a request's head. A probe's own has some 250.
const MAX_HEAD: usize = 16 << 10;
/// Header fields of a request.
const MAX_HEADERS: usize = 64;
/// How long an answer may take to be taken, and a `Hang` lasts at most.
const WRITE_PATIENCE: Duration = Duration::from_secs(330);

/// What posts share.
#[derive(Clone, Debug)]
pub(super) struct Posts {
    pub(super) core: Core,
    /// Bytes that one body may have.
    pub(super) max_body: usize,
    /// How long a request may take to arrive.
    pub(super) patience: Duration,
    /// KiB of bodies that all connections together may be sending.
    pub(super) budget: Arc<Semaphore>,
}

/// Serves one channel.
pub(super) async fn serve<S>(posts: Posts, connection: ConnectionId, mut stream: S)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let answered = async {
        let request = timeout(posts.patience, read(&posts, &mut stream)).await;
        match request {
            Err(_) => Some(Response::refused(408, "the request took too long")),
            Ok(Err(refusal)) => refusal.response(),
            Ok(Ok((post, _permit))) => posts.ask(connection, post).await,
        }
    };
    if let Some(response) = answered.await {
        tokio::time::sleep(response.delay).await;
        match response.manner {
            Manner::Close => {}
            Manner::Hang => hang(&mut stream).await,
            Manner::Plain | Manner::Chunked => {
                let bytes = render(&response, posts.core.clock().unix());
                let written = async {
                    stream.write_all(&bytes).await?;
                    stream.shutdown().await
                };
                // A client that does not read is no concern of ours: the channel is closed either way.
                let _ = timeout(WRITE_PATIENCE, written).await;
            }
        }
    }
}

impl Posts {
    async fn ask(&self, connection: ConnectionId, post: Post) -> Option<Response> {
        let answer = self.core.ask(|ticket| Input::Posted {
            ticket,
            connection,
            post,
        });
        match answer.await {
            Some(Answer::Respond(response)) => Some(response),
            // Stopping: no answer, so the probe keeps its lines.
            _ => None,
        }
    }
}

/// Keeps the channel open without a word until the client gives up.
async fn hang<S: AsyncRead + Unpin>(stream: &mut S) {
    let mut block = [0; 512];
    let silence = async { while matches!(stream.read(&mut block).await, Ok(1..)) {} };
    let _ = timeout(WRITE_PATIENCE, silence).await;
}

/// A request that cannot be handed over.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Refusal {
    /// The client went away.
    Gone,
    /// What to answer, and why.
    Status(u16, &'static str),
}

impl Refusal {
    fn response(&self) -> Option<Response> {
        match self {
            Self::Gone => None,
            Self::Status(status, reason) => Some(Response::refused(*status, reason)),
        }
    }
}

/// Reads one request. The permit is held until it is answered.
async fn read<S: AsyncRead + Unpin>(
    posts: &Posts,
    stream: &mut S,
) -> Result<(Post, tokio::sync::OwnedSemaphorePermit), Refusal> {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(head) = Head::parse(&bytes)? {
            break head;
        }
        if stream
            .read_buf(&mut bytes)
            .await
            .map_err(|_| Refusal::Gone)?
            == 0
        {
            return Err(Refusal::Gone);
        }
    };
    if head.length > posts.max_body {
        return Err(Refusal::Status(413, "the body is too long"));
    }
    let share = u32::try_from(head.length.div_ceil(1024)).unwrap_or(u32::MAX);
    let permit = Arc::clone(&posts.budget).acquire_many_owned(share).await;
    let permit = permit.map_err(|_| Refusal::Gone)?;
    let mut body = bytes.split_off(head.size);
    body.truncate(head.length);
    while body.len() < head.length {
        let left = head.length - body.len();
        let mut rest = (&mut *stream).take(left as u64);
        if rest.read_buf(&mut body).await.map_err(|_| Refusal::Gone)? == 0 {
            return Err(Refusal::Gone);
        }
    }
    let post = Post {
        method: head.method,
        target: head.target,
        body,
    };
    Ok((post, permit))
}

/// What matters of a request's head.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Head {
    /// Its own bytes, with the empty line.
    size: usize,
    method: String,
    target: String,
    /// `Content-Length`.
    length: usize,
}

impl Head {
    /// The head at the beginning of `bytes`; `None` while it is not whole.
    fn parse(bytes: &[u8]) -> Result<Option<Self>, Refusal> {
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
fn render(response: &Response, now: UnixTime) -> Vec<u8> {
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
