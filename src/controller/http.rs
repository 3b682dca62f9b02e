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
    request::{Head, Refusal, render},
};

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
