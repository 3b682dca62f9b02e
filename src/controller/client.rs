//! One SSH client of registration server or controller: what it asks for, passed to the machine.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use russh::{
    Channel, ChannelId,
    client::GexParams,
    kex::dh::groups::{DH_GROUP14, DH_GROUP16, DhGroup},
    keys::{Algorithm, PublicKey, PublicKeyBase64 as _},
    server::{
        Auth, ChannelOpenHandle, Handle, Handler, Msg, PublicKeyOffer, Session, VerifiedPublicKey,
    },
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::{
    core::{Core, Order},
    http::{self, Posts},
    identity::ProbeKey,
    messages::{Answer, ConnectionId, Exec, Input, Role, Ticket},
};

/// The user that every probe logs in as.
const USER: &str = "atlas";
/// What INIT may bring on its stdin; the block has some 120 bytes.
const MAX_STDIN: usize = 4096;
/// How long an INIT on a listener with both roles may keep it open which of the two is meant.
const BLOCK_PATIENCE: Duration = Duration::from_secs(1);

/// What a client shares with the task that serves its connection.
#[derive(Clone, Debug)]
pub(super) struct Shared {
    keep: Arc<Mutex<Option<ChannelId>>>,
    channels: Arc<Semaphore>,
    joined: Arc<Mutex<Option<oneshot::Sender<mpsc::Receiver<Order>>>>>,
}

impl Shared {
    /// The shared part, and what tells of the login.
    pub(super) fn new(channels: usize) -> (Self, oneshot::Receiver<mpsc::Receiver<Order>>) {
        let (sender, joined) = oneshot::channel();
        let shared = Self {
            keep: Arc::default(),
            channels: Arc::new(Semaphore::new(channels)),
            joined: Arc::new(Mutex::new(Some(sender))),
        };
        (shared, joined)
    }

    /// The channel of KEEP.
    pub(super) fn keep(&self) -> Option<ChannelId> {
        *self.keep.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_keep(&self, channel: ChannelId) {
        *self.keep.lock().unwrap_or_else(PoisonError::into_inner) = Some(channel);
    }

    fn join(&self, orders: mpsc::Receiver<Order>) {
        let sender = self
            .joined
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(sender) = sender {
            // Nobody listens only if the connection is over.
            let _ = sender.send(orders);
        }
    }
}

/// A client.
#[derive(Debug)]
pub(super) struct Client {
    core: Core,
    posts: Posts,
    connection: ConnectionId,
    role: Role,
    shared: Shared,
    key: Option<ProbeKey>,
    /// Its session channels.
    channels: HashMap<ChannelId, Running>,
}

/// A session channel.
#[derive(Debug)]
struct Running {
    _room: OwnedSemaphorePermit,
    what: What,
}

#[derive(Debug)]
enum What {
    /// Nothing was asked for yet.
    Nothing,
    /// INIT of a registration: its stdin so far.
    Block(Vec<u8>),
    /// INIT where both roles listen. Whoever takes the flag answers.
    Either(Arc<Mutex<bool>>),
    /// Answered, or KEEP: what still comes does not matter.
    Deaf,
}

impl Client {
    pub(super) fn new(
        core: Core,
        posts: Posts,
        connection: ConnectionId,
        role: Role,
        shared: Shared,
    ) -> Self {
        Self {
            core,
            posts,
            connection,
            role,
            shared,
            key: None,
            channels: HashMap::new(),
        }
    }

    async fn init(
        &mut self,
        channel: ChannelId,
        session: &mut Session,
    ) -> Result<What, russh::Error> {
        match self.role {
            Role::Registration => Ok(What::Block(Vec::new())),
            Role::Controller => {
                let connection = self.connection;
                let answer = self
                    .core
                    .ask(|ticket| Input::Init { ticket, connection })
                    .await;
                finish(session, channel, answer)?;
                Ok(What::Deaf)
            }
            Role::Both => {
                let open = Arc::new(Mutex::new(true));
                let late = late_init(
                    self.core.clone(),
                    self.connection,
                    channel,
                    session.handle(),
                    Arc::clone(&open),
                );
                tokio::spawn(late);
                Ok(What::Either(open))
            }
        }
    }

    async fn register(&self, stdin: Vec<u8>) -> Option<Answer> {
        let connection = self.connection;
        let input = |ticket: Ticket| Input::Register {
            ticket,
            connection,
            stdin,
        };
        self.core.ask(input).await
    }
}

impl Handler for Client {
    type Error = russh::Error;

    async fn auth_publickey_offered(
        &mut self,
        user: &str,
        offer: PublicKeyOffer<'_>,
    ) -> Result<Auth, Self::Error> {
        // SHA-1 signatures prove nothing any more.
        let sound = !matches!(offer.algorithm, Algorithm::Rsa { hash: None });
        let Some(key) = probe_key(offer.public_key).filter(|_| sound && user == USER) else {
            return Ok(Auth::reject());
        };
        let role = self.role;
        let admitted = self.core.ask(|ticket| Input::Offered {
            ticket,
            role,
            key: key.clone(),
        });
        if admitted.await != Some(Answer::Admitted(true)) {
            return Ok(Auth::reject());
        }
        self.key = Some(key);
        Ok(Auth::Accept)
    }

    async fn auth_publickey(
        &mut self,
        user: &str,
        key: VerifiedPublicKey<'_>,
    ) -> Result<Auth, Self::Error> {
        let proven = probe_key(key.public_key);
        Ok(if user == USER && proven.is_some() && proven == self.key {
            Auth::Accept
        } else {
            Auth::reject()
        })
    }

    async fn auth_succeeded(&mut self, _: &mut Session) -> Result<(), Self::Error> {
        let (connection, role) = (self.connection, self.role);
        if let Some(key) = self.key.clone() {
            let input = Input::Joined {
                connection,
                role,
                key,
            };
            let orders = self.core.join(input, connection).await;
            self.shared.join(orders);
        }
        Ok(())
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        // Without room the handle is dropped, which refuses the channel.
        if let Ok(room) = Arc::clone(&self.shared.channels).try_acquire_owned() {
            let running = Running {
                _room: room,
                what: What::Nothing,
            };
            self.channels.insert(channel.id(), running);
            reply.accept().await;
        }
        Ok(())
    }

    async fn exec_request(
        &mut self,
        channel: ChannelId,
        command: &[u8],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        let is_new = |running: &Running| matches!(running.what, What::Nothing);
        if !self.channels.get(&channel).is_some_and(is_new) {
            return session.channel_failure(channel);
        }
        let what = match command {
            b"INIT" => {
                session.channel_success(channel)?;
                self.init(channel, session).await?
            }
            b"KEEP" => {
                session.channel_success(channel)?;
                self.shared.set_keep(channel);
                let connection = self.connection;
                self.core.tell(Input::Keep { connection }).await;
                What::Deaf
            }
            _ => {
                session.channel_failure(channel)?;
                return session.close(channel);
            }
        };
        if let Some(running) = self.channels.get_mut(&channel) {
            running.what = what;
        }
        Ok(())
    }

    async fn data(
        &mut self,
        channel: ChannelId,
        data: &[u8],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        let Some(running) = self.channels.get_mut(&channel) else {
            return Ok(());
        };
        if let What::Either(open) = &running.what {
            // A block has begun: this is a registration.
            running.what = if take(open) {
                What::Block(Vec::new())
            } else {
                What::Deaf
            };
        }
        if let What::Block(stdin) = &mut running.what {
            if stdin.len() + data.len() > MAX_STDIN {
                running.what = What::Deaf;
                return finish(session, channel, None);
            }
            stdin.extend_from_slice(data);
        }
        Ok(())
    }

    async fn channel_eof(
        &mut self,
        channel: ChannelId,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        let Some(running) = self.channels.get_mut(&channel) else {
            return Ok(());
        };
        match std::mem::replace(&mut running.what, What::Deaf) {
            What::Block(stdin) => {
                let answer = self.register(stdin).await;
                finish(session, channel, answer)
            }
            What::Either(open) if take(&open) => {
                let connection = self.connection;
                let answer = self
                    .core
                    .ask(|ticket| Input::Init { ticket, connection })
                    .await;
                finish(session, channel, answer)
            }
            What::Nothing => {
                running.what = What::Nothing;
                Ok(())
            }
            What::Either(_) | What::Deaf => Ok(()),
        }
    }

    async fn channel_close(
        &mut self,
        channel: ChannelId,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        self.channels.remove(&channel);
        Ok(())
    }

    async fn channel_open_direct_tcpip(
        &mut self,
        channel: Channel<Msg>,
        host: &str,
        port: u32,
        _: &str,
        _: u32,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        let is_ours = self.role != Role::Registration
            && matches!(host, "127.0.0.1" | "localhost")
            && port == 8080;
        // Otherwise the handle is dropped, which refuses the channel.
        if is_ours && let Ok(room) = Arc::clone(&self.shared.channels).try_acquire_owned() {
            reply.accept().await;
            let (posts, connection) = (self.posts.clone(), self.connection);
            tokio::spawn(async move {
                http::serve(posts, connection, channel.into_stream()).await;
                drop(room);
            });
        }
        Ok(())
    }

    async fn tcpip_forward(
        &mut self,
        address: &str,
        port: &mut u32,
        _: &mut Session,
    ) -> Result<bool, Self::Error> {
        let (connection, port) = (self.connection, *port);
        let accepted = self.core.ask(|ticket| Input::Forward {
            ticket,
            connection,
            address: address.to_owned(),
            port,
        });
        Ok(accepted.await == Some(Answer::Forwarded(true)))
    }

    async fn env_request(
        &mut self,
        channel: ChannelId,
        _: &str,
        _: &str,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        session.channel_failure(channel)
    }

    async fn shell_request(
        &mut self,
        channel: ChannelId,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        session.channel_failure(channel)
    }

    async fn pty_request(
        &mut self,
        channel: ChannelId,
        _: &str,
        _: u32,
        _: u32,
        _: u32,
        _: u32,
        _: &[(russh::Pty, u32)],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        session.channel_failure(channel)
    }

    async fn subsystem_request(
        &mut self,
        channel: ChannelId,
        _: &str,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        session.channel_failure(channel)
    }

    /// The smallest group that the client takes: larger ones cost seconds and protect nothing here.
    async fn lookup_dh_gex_group(
        &mut self,
        wanted: &GexParams,
    ) -> Result<Option<DhGroup>, Self::Error> {
        let fits = |group: &&DhGroup| {
            (wanted.min_group_size()..=wanted.max_group_size()).contains(&group.bit_size())
        };
        Ok([&DH_GROUP14, &DH_GROUP16].into_iter().find(fits).cloned())
    }
}

/// Answers an INIT that brought no block for a while as the controller's.
async fn late_init(
    core: Core,
    connection: ConnectionId,
    channel: ChannelId,
    handle: Handle,
    open: Arc<Mutex<bool>>,
) {
    tokio::time::sleep(BLOCK_PATIENCE).await;
    if !take(&open) {
        return;
    }
    let exec = exec(core.ask(|ticket| Input::Init { ticket, connection }).await);
    // If the client is gone, nobody wants the answer.
    let _ = handle.data(channel, exec.stdout.into_bytes()).await;
    let _ = handle.exit_status_request(channel, exec.status).await;
    let _ = handle.eof(channel).await;
    let _ = handle.close(channel).await;
}

/// Takes the flag; false if somebody has taken it.
fn take(flag: &Mutex<bool>) -> bool {
    std::mem::take(&mut flag.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Writes the result of an exec request and ends it.
fn finish(
    session: &mut Session,
    channel: ChannelId,
    answer: Option<Answer>,
) -> Result<(), russh::Error> {
    let exec = exec(answer);
    if !exec.stdout.is_empty() {
        session.data(channel, exec.stdout.into_bytes())?;
    }
    session.exit_status_request(channel, exec.status)?;
    session.eof(channel)?;
    session.close(channel)
}

/// The result of an exec request; a failure if there is none, so that the client tries again later.
fn exec(answer: Option<Answer>) -> Exec {
    match answer {
        Some(Answer::Exec(exec)) => exec,
        _ => Exec {
            stdout: String::new(),
            status: 1,
        },
    }
}

fn probe_key(key: &PublicKey) -> Option<ProbeKey> {
    let kind = key.algorithm();
    format!("{} {}", kind.as_str(), key.public_key_base64())
        .parse()
        .ok()
}
