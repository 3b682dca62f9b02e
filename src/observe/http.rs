//! A page server for machines of one's own: metrics and health. As little HTTP as they need.
//!
//! One GET or HEAD a connection, then it is closed. A stranger costs little: connections, the size of a request and the
//! time for it are bounded, nothing but its first line is looked at, and a body is never read.

use std::{sync::Arc, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpListener,
    sync::Semaphore,
    time::{sleep, timeout},
};

/// Bytes of a request.
const MAX_HEAD: usize = 8 << 10;
/// Header fields of a request.
const MAX_HEADERS: usize = 64;
/// Connections served at a time; more wait.
const MAX_CONNECTIONS: usize = 16;
/// How long a request may take to come, and an answer to be taken.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a listener that cannot accept is left alone.
const PAUSE: Duration = Duration::from_secs(1);

/// What is answered to a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// 200, 404, 503.
    pub status: u16,
    /// `Content-Type`.
    pub content_type: &'static str,
    /// The text.
    pub body: String,
}

impl Page {
    /// Plain words.
    #[must_use]
    pub fn words(status: u16, words: &str) -> Self {
        Self {
            status,
            content_type: "text/plain; charset=utf-8",
            body: format!("{words}\n"),
        }
    }
}

/// Serves until dropped. `page` is asked for each path, without its query.
pub async fn serve<F>(listener: TcpListener, page: impl Fn(String) -> F + Clone + Send + 'static)
where
    F: Future<Output = Page> + Send,
{
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        // The semaphore is never closed.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let page = page.clone();
                tokio::spawn(async move {
                    answer(stream, page).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::debug!(%error, "the metrics listener cannot accept");
                sleep(PAUSE).await;
            }
        }
    }
}

async fn answer<S, F>(mut stream: S, page: impl Fn(String) -> F)
where
    S: AsyncRead + AsyncWrite + Unpin,
    F: Future<Output = Page>,
{
    let asked = match timeout(PATIENCE, read(&mut stream)).await {
        Ok(Some(asked)) => asked,
        // Gone, or as good as that.
        Ok(None) | Err(_) => return,
    };
    let (page, with_body) = match asked {
        Ok(Asked { path, with_body }) => (page(path).await, with_body),
        Err(refused) => (refused, true),
    };
    let bytes = render(&page, with_body);
    // One that does not read has its own reasons.
    let _ = timeout(PATIENCE, async {
        stream.write_all(&bytes).await?;
        stream.shutdown().await
    })
    .await;
}

/// A request that can be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Asked {
    path: String,
    with_body: bool,
}

/// Reads one request; `None` if the client went away.
async fn read<S: AsyncRead + Unpin>(stream: &mut S) -> Option<Result<Asked, Page>> {
    let mut bytes = Vec::with_capacity(1024);
    loop {
        if let Some(asked) = parse(&bytes) {
            return Some(asked);
        }
        let room = (MAX_HEAD + 1).saturating_sub(bytes.len()) as u64;
        match (&mut *stream).take(room).read_buf(&mut bytes).await {
            Ok(1..) => {}
            Ok(0) | Err(_) => return None,
        }
    }
}

/// What the request at the beginning of `bytes` asks for; `None` while it is not whole.
fn parse(bytes: &[u8]) -> Option<Result<Asked, Page>> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut fields);
    match request.parse(bytes) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) if bytes.len() <= MAX_HEAD => return None,
        Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
            return Some(Err(Page::words(431, "the request is too long")));
        }
        Err(_) => return Some(Err(Page::words(400, "this is no HTTP request"))),
    }
    let with_body = match request.method {
        Some("GET") => true,
        Some("HEAD") => false,
        _ => return Some(Err(Page::words(405, "only GET and HEAD"))),
    };
    let target = request.path.unwrap_or_default();
    let path = target.split(['?', '#']).next().unwrap_or_default();
    Some(Ok(Asked {
        path: path.to_owned(),
        with_body,
    }))
}

fn render(page: &Page, with_body: bool) -> Vec<u8> {
    let reason = match page.status {
        200 => "OK",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        431 => "Request Header Fields Too Large",
        503 => "Service Unavailable",
        _ => "",
    };
    let allow = if page.status == 405 {
        "Allow: GET, HEAD\r\n"
    } else {
        ""
    };
    let body = if with_body { page.body.as_str() } else { "" };
    format!(
        "HTTP/1.1 {} {reason}\r\nContent-Type: {}\r\nContent-Length: {}\r\n{allow}Cache-Control: no-store\r\n\
         Connection: close\r\n\r\n{body}",
        page.status,
        page.content_type,
        page.body.len()
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(text: &str) -> Option<Result<Asked, u16>> {
        parse(text.as_bytes()).map(|asked| asked.map_err(|page| page.status))
    }

    fn path(text: &str) -> Asked {
        Asked {
            path: text.to_owned(),
            with_body: true,
        }
    }

    #[test]
    fn a_request_is_a_method_and_a_path() {
        let request = "GET /metrics?x=1 HTTP/1.1\r\nHost: probe\r\n\r\n";
        assert_eq!(asked(request), Some(Ok(path("/metrics"))));
        for cut in 0..request.len() {
            assert_eq!(asked(&request[..cut]), None, "cut at {cut}");
        }
        let head = asked("HEAD /live HTTP/1.0\r\n\r\n").unwrap().unwrap();
        assert!(!head.with_body);
    }

    #[test]
    fn what_is_no_question_is_refused_by_name() {
        for (text, status) in [
            ("POST /metrics HTTP/1.1\r\n\r\n".to_owned(), 405),
            ("\x16\x03\x01\x02\r\n\r\n".to_owned(), 400),
            (format!("GET /{} HTTP/1.1\r\n", "x".repeat(MAX_HEAD)), 431),
            (
                format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(65)),
                431,
            ),
        ] {
            assert_eq!(asked(&text), Some(Err(status)), "{text:.40}");
        }
    }

    #[test]
    fn an_answer_is_whole_and_closes() {
        let page = Page::words(503, "not live");
        assert_eq!(
            String::from_utf8(render(&page, true)).unwrap(),
            "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 9\r\n\
             Cache-Control: no-store\r\nConnection: close\r\n\r\nnot live\n"
        );
        assert!(render(&page, false).ends_with(b"close\r\n\r\n"));
    }

    #[tokio::test]
    async fn a_client_is_answered_however_its_bytes_come() {
        let (mut client, server) = tokio::io::duplex(7);
        let serving = answer(server, |path| async move { Page::words(200, &path) });
        let asking = async {
            client
                .write_all(b"GET /here HTTP/1.1\r\n\r\n")
                .await
                .unwrap();
            let mut told = String::new();
            client.read_to_string(&mut told).await.unwrap();
            told
        };
        let ((), told) = tokio::join!(serving, asking);
        assert!(told.ends_with("\r\n\r\n/here\n"), "{told}");
    }

    proptest::proptest! {
        #[test]
        fn no_request_panics(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300)) {
            let _ = parse(&bytes);
        }
    }
}
