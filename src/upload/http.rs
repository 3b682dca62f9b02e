//! One post over one stream: writes the request, reads the bounded answer, within the time-outs of
//! `controller-protocol` section 6.5. Decides nothing.

use std::{future::Future, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    time::timeout,
};

use super::{Answer, Post, ServerDate};
use crate::{
    clock::{Clock, Tick},
    dialect::Dialect,
    protocol::{
        post::{BODY_HEADER, RequestHead, body_footer},
        response::{Response, ResponseError, ResponseParser},
    },
};

/// For opening the channel, and for any pause once the answer has begun.
const PAUSE: Duration = Duration::from_secs(10);
/// What is written at a time.
const BLOCK: usize = 16 << 10;

/// Why a post got no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PostError {
    /// The tunnel would not open a channel.
    #[error("no channel to the controller's upload service could be opened: {0}")]
    Open(String),
    /// The channel broke or ended before the answer was complete.
    #[error("the upload broke off: {0}")]
    Broken(String),
    /// Nothing came for too long.
    #[error("no answer to the upload within {} s while {during}", after.as_secs())]
    TimedOut {
        /// For how long.
        after: Duration,
        /// What was under way.
        during: &'static str,
    },
    /// The answer is no HTTP, or too large.
    #[error("not an answer to an upload: {0}")]
    BadAnswer(ResponseError),
}

/// A post, ready to be written.
#[derive(Clone, PartialEq, Eq)]
pub struct Request {
    head: String,
    body: Vec<u8>,
    timeout: Duration,
}

impl Request {
    /// Puts header, status lines and footer around the lines of the segments, in order. `unix` is sent along
    /// where the post asks for it.
    #[must_use]
    pub fn new(
        post: &Post,
        status: &str,
        segments: &[Vec<u8>],
        unix: i64,
        dialect: Dialect,
    ) -> Self {
        let mut body = BODY_HEADER.as_bytes().to_vec();
        if post.status {
            body.extend_from_slice(status.as_bytes());
        }
        for lines in segments {
            body.extend_from_slice(lines);
        }
        body.extend_from_slice(body_footer(post.session_id.as_str()).as_bytes());
        let head = RequestHead {
            path_and_query: post.target.0.clone(),
            host: post.host.clone(),
            unix_date: post.local_time.then_some(unix),
            content_length: body.len() as u64,
        };
        Self {
            head: head.render(dialect),
            body,
            timeout: post.timeout,
        }
    }

    /// What follows the request's head.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }
}

/// Makes one post over the stream that `open` gives. Never waits longer than the post's time-out.
pub async fn post<S, E>(
    open: impl Future<Output = Result<S, E>>,
    request: &Request,
    clock: Clock,
) -> Answer
where
    S: AsyncRead + AsyncWrite + Unpin,
    E: std::fmt::Display,
{
    let started = clock.tick();
    let whole = exchange(open, request, clock, started);
    match timeout(request.timeout, whole).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => Answer::Failed(error),
        Err(_) => Answer::Failed(PostError::TimedOut {
            after: request.timeout,
            during: "waiting for its first line",
        }),
    }
}

async fn exchange<S, E>(
    open: impl Future<Output = Result<S, E>>,
    request: &Request,
    clock: Clock,
    started: Tick,
) -> Result<Answer, PostError>
where
    S: AsyncRead + AsyncWrite + Unpin,
    E: std::fmt::Display,
{
    let opened = within(PAUSE, "opening the channel", open).await?;
    let mut stream = opened.map_err(|error| PostError::Open(error.to_string()))?;
    let (mut reader, mut writer) = tokio::io::split(&mut stream);
    let reading = read(&mut reader, clock, started);
    tokio::pin!(reading);
    // A controller may answer, 429 above all, before it has read everything: its answer counts.
    let written = tokio::select! {
        heard = &mut reading => return heard,
        written = write(&mut writer, request) => written,
    };
    let heard = reading.await;
    match (heard, written) {
        (Ok(answer), _) => Ok(answer),
        (Err(_), Err(error)) => Err(broken(&error)),
        (Err(error), Ok(())) => Err(error),
    }
}

async fn write<S: AsyncWrite + Unpin>(stream: &mut S, request: &Request) -> std::io::Result<()> {
    stream.write_all(request.head.as_bytes()).await?;
    for block in request.body.chunks(BLOCK) {
        stream.write_all(block).await?;
    }
    stream.flush().await
}

async fn read<S: AsyncRead + Unpin>(
    stream: &mut S,
    clock: Clock,
    started: Tick,
) -> Result<Answer, PostError> {
    let mut parser = ResponseParser::new();
    let mut buffer = vec![0; 4096];
    let (mut begun, mut date) = (false, None);
    loop {
        let read = stream.read(&mut buffer);
        // The wait for the first bytes is bounded by the whole post's time-out only.
        let read = if begun {
            within(PAUSE, "its answer was read", read).await?
        } else {
            read.await
        };
        let count = read.map_err(|error| broken(&error))?;
        begun = true;
        let response = if count == 0 {
            Some(parser.end().map_err(PostError::BadAnswer)?)
        } else {
            parser
                .push(&buffer[..count])
                .map_err(PostError::BadAnswer)?
        };
        let seconds = parser
            .date()
            .or_else(|| response.as_ref().and_then(|response| response.date));
        date = date.or_else(|| {
            seconds.map(|seconds| ServerDate {
                date: seconds,
                local: clock.unix(),
                rtt: clock.tick().since(started),
            })
        });
        if let Some(response) = response {
            return Ok(heard(&response, date, clock));
        }
    }
}

fn heard(response: &Response, date: Option<ServerDate>, clock: Clock) -> Answer {
    let now = clock.unix().secs();
    let seconds = response.retry_after.map(|retry| retry.seconds_from(now));
    Answer::Heard {
        status: response.status,
        accepted: response.accepted(),
        retry_after: seconds.map(Duration::from_secs),
        date,
    }
}

async fn within<T>(
    time: Duration,
    during: &'static str,
    what: impl Future<Output = T>,
) -> Result<T, PostError> {
    timeout(time, what).await.map_err(|_| PostError::TimedOut {
        after: time,
        during,
    })
}

fn broken(error: &std::io::Error) -> PostError {
    PostError::Broken(error.to_string())
}
