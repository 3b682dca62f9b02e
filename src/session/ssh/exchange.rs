//! The two things done on a connection: INIT, which ends by itself, and KEEP, which does not.

use russh::{Channel, ChannelMsg, client::Msg};
use std::{sync::Arc, time::Duration};
use tokio::{sync::mpsc, time::timeout};

use super::{
    connect::{FORWARD_ADDRESS, Line, Target, connect},
    race::Way,
};
use crate::{
    key::ProbeKey,
    session::failure::{Failure, Step},
};

/// How long an INIT may take once logged in.
const ANSWER_LIMIT: Duration = Duration::from_secs(120);
/// The longest answer read, in octets: 17 lines of 1023 and plenty (`controller-protocol` section 2.4).
const MAX_ANSWER: usize = 64 * 1024;
/// How much of what a server writes to stderr is kept, in octets.
const MAX_STDERR: usize = 4096;
/// How long a polite goodbye may take.
const GOODBYE_LIMIT: Duration = Duration::from_secs(1);

/// INIT: `stdin`, then EOF; gives stdout if the exit status is 0.
pub(super) async fn init(
    target: Target,
    stdin: String,
    key: ProbeKey,
    way: Arc<Way>,
) -> Result<Vec<u8>, Failure> {
    let line = connect(&target, &key, &way).await?;
    let answer = timeout(ANSWER_LIMIT, ask(&line, &stdin))
        .await
        .unwrap_or(Err(Failure::TimedOut {
            step: Step::Answer,
            limit: ANSWER_LIMIT,
        }));
    let goodbye = line
        .handle
        .disconnect(russh::Disconnect::ByApplication, "", "");
    // Dropping the line cuts the connection if the server does not listen any more.
    let _ = timeout(GOODBYE_LIMIT, goodbye).await;
    answer
}

async fn ask(line: &Line, stdin: &str) -> Result<Vec<u8>, Failure> {
    let ssh = |cause: russh::Error| Failure::Ssh(cause.to_string());
    let mut channel = line.handle.channel_open_session().await.map_err(ssh)?;
    channel.exec(true, "INIT").await.map_err(ssh)?;
    if !stdin.is_empty() {
        channel.data(stdin.as_bytes()).await.map_err(ssh)?;
    }
    channel.eof().await.map_err(ssh)?;
    let mut heard = Heard::default();
    while !heard.is_complete() {
        match channel.wait().await {
            Some(message) => heard.take(&message, "INIT")?,
            None => break,
        }
    }
    heard.answer("INIT")
}

/// What a command's channel brought so far.
#[derive(Default)]
struct Heard {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    status: Option<u32>,
    eof: bool,
    closed: bool,
}

impl Heard {
    fn take(&mut self, message: &ChannelMsg, command: &'static str) -> Result<(), Failure> {
        match message {
            ChannelMsg::Data { data } => {
                if self.stdout.len() + data.len() > MAX_ANSWER {
                    return Err(Failure::TooLong(MAX_ANSWER));
                }
                self.stdout.extend_from_slice(data);
            }
            ChannelMsg::ExtendedData { data, .. } => {
                let room = MAX_STDERR.saturating_sub(self.stderr.len());
                self.stderr.extend(data.iter().take(room));
            }
            ChannelMsg::ExitStatus { exit_status } => self.status = Some(*exit_status),
            ChannelMsg::Failure => return Err(Failure::CommandRefused(command)),
            ChannelMsg::Eof => self.eof = true,
            ChannelMsg::Close => self.closed = true,
            _ => {}
        }
        Ok(())
    }

    /// Nothing that matters can follow.
    const fn is_complete(&self) -> bool {
        self.closed || (self.eof && self.status.is_some())
    }

    fn answer(self, command: &'static str) -> Result<Vec<u8>, Failure> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match self.status {
            Some(0) => Ok(self.stdout),
            Some(status) => Err(Failure::Exit {
                command,
                status,
                stdout: text(&self.stdout),
                stderr: text(&self.stderr),
            }),
            None => Err(Failure::NoExitStatus {
                command,
                stdout: text(&self.stdout),
                stderr: text(&self.stderr),
            }),
        }
    }
}

/// What a KEEP tells while it runs.
pub(super) enum Progress {
    /// The controller accepted the command: uploads can go over this handle.
    Connected(Arc<russh::client::Handle<super::connect::Client>>),
    /// The controller opened a command connection.
    Forwarded(Channel<Msg>),
    /// The reverse forward was refused: no commands can come, results can still go.
    NotForwarded,
    /// The exchange is over: an INIT's answer, the first bytes on a KEEP, or a failure.
    Over(Result<Vec<u8>, Failure>),
}

/// KEEP: the reverse forward, the command, EOF; until the controller writes, or it ends.
pub(super) async fn keep(
    target: Target,
    key: ProbeKey,
    way: Arc<Way>,
    progress: mpsc::Sender<Progress>,
) {
    let over = match connect(&target, &key, &way).await {
        Ok(mut line) => {
            let over = hold(&mut line, target.remote_port, &progress).await;
            let goodbye = line
                .handle
                .disconnect(russh::Disconnect::ByApplication, "", "");
            let _ = timeout(GOODBYE_LIMIT, goodbye).await;
            over
        }
        Err(failure) => Err(failure),
    };
    // Nobody waits for it any more: as good as told.
    let _ = progress.send(Progress::Over(over)).await;
}

async fn hold(
    line: &mut Line,
    remote_port: Option<u16>,
    progress: &mpsc::Sender<Progress>,
) -> Result<Vec<u8>, Failure> {
    let limit = |_| Failure::TimedOut {
        step: Step::Answer,
        limit: ANSWER_LIMIT,
    };
    let mut channel = timeout(ANSWER_LIMIT, begin(line, remote_port, progress))
        .await
        .map_err(limit)??;
    let mut heard = Heard::default();
    loop {
        tokio::select! {
            message = channel.wait() => match message {
                Some(ChannelMsg::Success) => {
                    tell(progress, Progress::Connected(Arc::clone(&line.handle))).await;
                }
                Some(ChannelMsg::Data { data }) if !data.is_empty() => return Ok(data.to_vec()),
                Some(message) => {
                    heard.take(&message, "KEEP")?;
                    if heard.is_complete() {
                        return Err(ended(heard, line));
                    }
                }
                None => return Err(ended(heard, line)),
            },
            Some(channel) = line.forwarded.recv() => tell(progress, Progress::Forwarded(channel)).await,
        }
    }
}

async fn begin(
    line: &Line,
    remote_port: Option<u16>,
    progress: &mpsc::Sender<Progress>,
) -> Result<Channel<Msg>, Failure> {
    let ssh = |cause: russh::Error| Failure::Ssh(cause.to_string());
    if let Some(port) = remote_port {
        // Asked for before the command, and only a warning if refused (`controller-protocol` section 3.2).
        match line
            .handle
            .tcpip_forward(FORWARD_ADDRESS, port.into())
            .await
        {
            Ok(_) => {}
            Err(russh::Error::RequestDenied) => {
                tell(progress, Progress::NotForwarded).await;
            }
            Err(cause) => return Err(ssh(cause)),
        }
    }
    let channel = line.handle.channel_open_session().await.map_err(ssh)?;
    channel.exec(true, "KEEP").await.map_err(ssh)?;
    channel.eof().await.map_err(ssh)?;
    Ok(channel)
}

/// A KEEP never ends well: it ended by exit status, or the connection did.
fn ended(heard: Heard, line: &Line) -> Failure {
    match heard.answer("KEEP") {
        Err(failure @ Failure::Exit { .. }) => failure,
        Err(failure @ Failure::NoExitStatus { .. }) if !failure.stderr().is_empty() => failure,
        _ => Failure::Disconnected(line.why()),
    }
}

async fn tell(to: &mpsc::Sender<Progress>, progress: Progress) {
    // Nobody waits for it any more: as good as told.
    let _ = to.send(progress).await;
}
