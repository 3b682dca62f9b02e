//! The command connections: bytes from the reverse forward to the interpreter, replies back.
//!
//! The official probe forwards to a telnet daemon on a local port; here the channels end inside the program.

use russh::{Channel, ChannelStream, client::Msg};
use std::{collections::BTreeMap, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf},
    sync::mpsc,
    task::JoinHandle,
    time::timeout,
};

use crate::{
    clock::Clock,
    session::interpreter::{Change, ConnectionId, Input, Interpreter, Output},
};

/// How many command connections may be open at once; one more closes the oldest, so that connections which a
/// controller forgot cannot lock it out. A controller uses one.
pub(super) const MAX_CONNECTIONS: usize = 16;
/// Octets read at once.
const CHUNK: usize = 4096;
/// Replies under way to one connection. Who does not read them is closed.
const MAX_REPLIES: usize = 256;
/// How long a peer may take to read one reply; longer, and its connection is given up.
const WRITE_LIMIT: Duration = Duration::from_secs(60);
/// Chunks under way to the interpreter; when full, readers wait and the window of their channel closes.
const MAX_CHUNKS: usize = 32;

/// All command connections of one KEEP.
pub(super) struct Connections {
    interpreter: Interpreter,
    clock: Clock,
    next: u64,
    open: BTreeMap<ConnectionId, Pumps>,
    heard: mpsc::Sender<(ConnectionId, Heard)>,
    hearing: mpsc::Receiver<(ConnectionId, Heard)>,
}

/// The two tasks of one connection.
struct Pumps {
    replies: mpsc::Sender<Vec<u8>>,
    reader: JoinHandle<()>,
}

impl Drop for Pumps {
    fn drop(&mut self) {
        // The writer ends by itself once what was replied is sent.
        self.reader.abort();
    }
}

/// What a connection's reader met.
pub(super) enum Heard {
    Bytes(Vec<u8>),
    End,
}

impl Connections {
    pub(super) fn new(interpreter: Interpreter, clock: Clock) -> Self {
        let (heard, hearing) = mpsc::channel(MAX_CHUNKS);
        Self {
            interpreter,
            clock,
            next: 0,
            open: BTreeMap::new(),
            heard,
            hearing,
        }
    }

    pub(super) const fn interpreter(&mut self) -> &mut Interpreter {
        &mut self.interpreter
    }

    /// A channel that the controller opened.
    pub(super) fn open(&mut self, channel: Channel<Msg>) -> Vec<Change> {
        let mut changes = Vec::new();
        if self.open.len() >= MAX_CONNECTIONS
            && let Some((oldest, _)) = self.open.pop_first()
        {
            changes = self.tell(Input::Closed(oldest));
        }
        self.next += 1;
        let id = ConnectionId(self.next);
        let (from, to) = tokio::io::split(channel.into_stream());
        let (replies, queued) = mpsc::channel(MAX_REPLIES);
        tokio::spawn(write(to, queued));
        let reader = tokio::spawn(read(from, id, self.heard.clone()));
        self.open.insert(id, Pumps { replies, reader });
        changes.extend(self.tell(Input::Opened(id)));
        changes
    }

    /// The next thing heard on any connection. Cancelling loses nothing.
    pub(super) async fn hear(&mut self) -> (ConnectionId, Heard) {
        match self.hearing.recv().await {
            Some(heard) => heard,
            // Never: a sender is kept here.
            None => std::future::pending().await,
        }
    }

    /// What was heard, told to the interpreter.
    pub(super) fn heard(&mut self, id: ConnectionId, heard: Heard) -> Vec<Change> {
        if !self.open.contains_key(&id) {
            return Vec::new();
        }
        match heard {
            Heard::Bytes(bytes) => self.tell(Input::Bytes(id, bytes)),
            Heard::End => {
                self.open.remove(&id);
                self.tell(Input::Closed(id))
            }
        }
    }

    /// KEEP is gone, and every connection with it.
    pub(super) fn close_all(&mut self) -> Vec<Change> {
        let ids: Vec<ConnectionId> = self.open.keys().copied().collect();
        self.open.clear();
        while self.hearing.try_recv().is_ok() {}
        ids.into_iter()
            .flat_map(|id| self.tell(Input::Closed(id)))
            .collect()
    }

    fn tell(&mut self, input: Input) -> Vec<Change> {
        let mut changes = Vec::new();
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            for output in self.interpreter.handle(&mut self.clock.now(None), input) {
                match output {
                    Output::Change(change) => changes.push(change),
                    Output::Close(id) => {
                        self.open.remove(&id);
                    }
                    Output::Reply(id, bytes) => {
                        let sent = self
                            .open
                            .get(&id)
                            .map(|pumps| pumps.replies.try_send(bytes));
                        if let Some(Err(_)) = sent {
                            self.open.remove(&id);
                            inputs.push(Input::Closed(id));
                        }
                    }
                }
            }
        }
        changes
    }
}

async fn read(
    mut from: ReadHalf<ChannelStream<Msg>>,
    id: ConnectionId,
    heard: mpsc::Sender<(ConnectionId, Heard)>,
) {
    let mut chunk = vec![0; CHUNK];
    loop {
        let bytes = match from.read(&mut chunk).await {
            Ok(count) if count > 0 => chunk[..count].to_vec(),
            _ => break,
        };
        if heard.send((id, Heard::Bytes(bytes))).await.is_err() {
            return;
        }
    }
    // Nobody listens any more: as good as told.
    let _ = heard.send((id, Heard::End)).await;
}

/// Sends what is replied until no more can come, then ends the channel.
async fn write(mut to: WriteHalf<ChannelStream<Msg>>, mut replies: mpsc::Receiver<Vec<u8>>) {
    while let Some(bytes) = replies.recv().await {
        if !matches!(timeout(WRITE_LIMIT, to.write_all(&bytes)).await, Ok(Ok(()))) {
            return;
        }
    }
    // The peer may be gone already.
    let _ = timeout(WRITE_LIMIT, to.shutdown()).await;
}
