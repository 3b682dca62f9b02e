//! The SSH side of registration server and controller: listeners, clients, channels (`controller-protocol` sections
//! 11.1, 11.2). Who may do what, and every answer, comes from the machine; here are only the bounds on what a
//! stranger can hold: connections, time to log in, channels, stdin, bodies.

use std::{
    borrow::Cow,
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use russh::{
    MethodKind, MethodSet, Preferred, SshId, compression, kex,
    keys::{Algorithm, HashAlg, PrivateKey},
    server::{self, Handle},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch},
    time::timeout,
};

use super::{
    client::{Client, Shared},
    config::Limits,
    core::{Core, Order, stopped},
    http::Posts,
    messages::{ConnectionId, Input, Role},
    telnet::{Dialogue, Heard, Outcome, Say},
};
use crate::protocol::registration::SessionId;

/// How long a client that was told to go may take.
const GRACE: Duration = Duration::from_secs(2);
/// How long a kicked client may take to close by itself.
const KICK_GRACE: Duration = Duration::from_secs(5);
/// How long the client may take to open the reverse tunnel.
const TUNNEL_PATIENCE: Duration = Duration::from_secs(30);
/// A client that neither takes nor sends a byte for so long is gone; the keepalives come well before.
const INACTIVITY: Duration = Duration::from_secs(300);
/// As the probes' own: three unanswered requests, one a minute.
const KEEPALIVE: Duration = Duration::from_secs(60);
/// What a client may send before it has to wait for us, a channel.
const WINDOW: u32 = 256 << 10;
/// Bodies of all connections together, in KiB.
const POST_BUDGET: usize = 256 << 10;

/// What all listeners share.
#[derive(Clone, Debug)]
pub(super) struct Servers {
    core: Core,
    limits: Limits,
    posts: Posts,
    numbers: Arc<AtomicU64>,
    room: Arc<Semaphore>,
    addresses: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Servers {
    pub(super) fn new(core: Core, limits: Limits) -> Self {
        let posts = Posts {
            core: core.clone(),
            max_body: limits.body_bytes,
            patience: Duration::from_secs(limits.post_seconds),
            budget: Arc::new(Semaphore::new(
                POST_BUDGET.max(limits.body_bytes.div_ceil(1024)),
            )),
        };
        Self {
            core,
            posts,
            numbers: Arc::new(AtomicU64::new(1)),
            room: Arc::new(Semaphore::new(limits.connections)),
            addresses: Arc::new(Mutex::new(HashMap::new())),
            limits,
        }
    }

    /// Accepts clients until `shutdown` is true.
    pub(super) async fn listen(
        self,
        listener: TcpListener,
        role: Role,
        key: PrivateKey,
        mut shutdown: watch::Receiver<bool>,
    ) {
        let config = Arc::new(config(key));
        loop {
            let accepted = tokio::select! {
                biased;
                () = stopped(&mut shutdown) => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    if let Some(place) = self.place(peer.ip()) {
                        let client = self.clone().serve(stream, role, Arc::clone(&config), place);
                        tokio::spawn(client);
                    } else {
                        tracing::debug!(%peer, "refused a connection: too many");
                    }
                }
                Err(error) => {
                    // Out of descriptors, most likely: others have to leave first.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    fn place(&self, address: IpAddr) -> Option<Place> {
        let room = Arc::clone(&self.room).try_acquire_owned().ok()?;
        let mut addresses = locked(&self.addresses);
        let taken = addresses.entry(address).or_default();
        if *taken >= self.limits.connections_per_address {
            return None;
        }
        *taken += 1;
        Some(Place {
            address,
            addresses: Arc::clone(&self.addresses),
            _room: room,
        })
    }

    async fn serve(self, stream: TcpStream, role: Role, config: Arc<server::Config>, place: Place) {
        let connection = ConnectionId(self.numbers.fetch_add(1, Ordering::Relaxed));
        // A second handle on the socket ends the connection whatever state its protocol is in.
        let Ok((stream, cutter)) = doubled(stream) else {
            return;
        };
        let login_by = tokio::time::sleep(Duration::from_secs(self.limits.login_seconds));
        tokio::pin!(login_by);
        let (shared, mut joined) = Shared::new(self.limits.channels);
        let client = Client::new(
            self.core.clone(),
            self.posts,
            connection,
            role,
            shared.clone(),
        );
        let running = tokio::select! {
            running = server::run_stream(config, stream, client) => running,
            () = &mut login_by => return,
        };
        let Ok(running) = running else {
            return;
        };
        let handle = running.handle();
        tokio::pin!(running);
        let mut orders = None;
        let mut late = false;
        loop {
            tokio::select! {
                ended = &mut running => {
                    if let Err(error) = ended {
                        tracing::debug!(?connection, %error, "connection ended");
                    }
                    break;
                }
                () = &mut login_by, if orders.is_none() && !late => {
                    tracing::debug!(?connection, "no login in time");
                    late = true;
                    cut(&cutter);
                }
                Ok(taken) = &mut joined, if orders.is_none() => orders = Some(taken),
                Some(order) = next(&mut orders) => match order {
                    Order::Command { port, session, lines } => {
                        let talk = talk(self.core.clone(), connection, handle.clone(), port, session, lines);
                        tokio::spawn(talk);
                    }
                    Order::Kick => {
                        tokio::spawn(kick(handle.clone(), shared.clone(), cutter.try_clone()));
                    }
                    Order::Drop => {
                        tokio::spawn(leave(handle.clone(), cutter.try_clone()));
                    }
                },
            }
        }
        // A client whose login raced with its end was announced all the same.
        if orders.is_some() || joined.try_recv().is_ok() {
            self.core.tell(Input::Left { connection }).await;
        }
        drop(place);
    }
}

/// The next order, once there can be any.
async fn next(orders: &mut Option<mpsc::Receiver<Order>>) -> Option<Order> {
    match orders {
        Some(orders) => orders.recv().await,
        None => std::future::pending().await,
    }
}

/// A connection's share of what is limited.
#[derive(Debug)]
struct Place {
    address: IpAddr,
    addresses: Arc<Mutex<HashMap<IpAddr, usize>>>,
    _room: OwnedSemaphorePermit,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut addresses = locked(&self.addresses);
        if let Some(taken) = addresses.get_mut(&self.address) {
            *taken -= 1;
            if *taken == 0 {
                addresses.remove(&self.address);
            }
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What it guards is never left half-changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The algorithms: what is quick first; group exchange is there for clients that offer little else. RSA signatures
/// with SHA-2 only. No compression: nobody gains, and a stranger could make us unpack.
fn config(key: PrivateKey) -> server::Config {
    const KEX: &[kex::Name] = &[
        kex::CURVE25519,
        kex::CURVE25519_PRE_RFC_8731,
        kex::MLKEM768X25519_SHA256,
        kex::DH_GEX_SHA256,
        kex::DH_G14_SHA256,
        kex::EXTENSION_SUPPORT_AS_SERVER,
        kex::EXTENSION_OPENSSH_STRICT_KEX_AS_SERVER,
    ];
    const KEYS: &[Algorithm] = &[
        Algorithm::Rsa {
            hash: Some(HashAlg::Sha512),
        },
        Algorithm::Rsa {
            hash: Some(HashAlg::Sha256),
        },
    ];
    server::Config {
        server_id: SshId::Standard(Cow::Borrowed("SSH-2.0-starling")),
        methods: MethodSet::from(&[MethodKind::PublicKey][..]),
        auth_rejection_time: Duration::from_millis(100),
        auth_rejection_time_initial: Some(Duration::ZERO),
        max_auth_attempts: 6,
        keys: vec![key],
        preferred: Preferred {
            kex: Cow::Borrowed(KEX),
            key: Cow::Borrowed(KEYS),
            compression: Cow::Borrowed(&[compression::NONE]),
            ..Preferred::DEFAULT
        },
        window_size: WINDOW,
        channel_buffer_size: 16,
        inactivity_timeout: Some(INACTIVITY),
        keepalive_interval: Some(KEEPALIVE),
        keepalive_max: 3,
        nodelay: true,
        ..server::Config::default()
    }
}

fn doubled(stream: TcpStream) -> std::io::Result<(TcpStream, std::net::TcpStream)> {
    stream.set_nodelay(true)?;
    let stream = stream.into_std()?;
    let cutter = stream.try_clone()?;
    Ok((TcpStream::from_std(stream)?, cutter))
}

fn cut(cutter: &std::net::TcpStream) {
    // Fails only if the connection is gone already.
    let _ = cutter.shutdown(std::net::Shutdown::Both);
}

/// Writes a byte to the stdout of KEEP and closes it; the client is to go by itself.
async fn kick(handle: Handle, shared: Shared, cutter: std::io::Result<std::net::TcpStream>) {
    if let Some(channel) = shared.keep() {
        let _ = handle.data(channel, &b"\n"[..]).await;
        let _ = handle.eof(channel).await;
        let _ = handle.close(channel).await;
        tokio::time::sleep(KICK_GRACE).await;
    }
    leave(handle, cutter).await;
}

/// Says good-bye, and then makes it true.
async fn leave(handle: Handle, cutter: std::io::Result<std::net::TcpStream>) {
    let reason = russh::Disconnect::ByApplication;
    let bye = handle.disconnect(reason, String::new(), String::new());
    let _ = timeout(GRACE, bye).await;
    tokio::time::sleep(GRACE).await;
    if let Ok(cutter) = cutter {
        cut(&cutter);
    }
}

/// Opens the reverse tunnel, holds the dialogue, reports how it went.
async fn talk(
    core: Core,
    connection: ConnectionId,
    handle: Handle,
    port: u16,
    session: SessionId,
    lines: Arc<Vec<String>>,
) {
    // The official probe's client accepts no other address than this word.
    let opened = handle.channel_open_forwarded_tcpip(
        "localhost",
        u32::from(port),
        "127.0.0.1",
        u32::from(port),
    );
    let outcome = match timeout(TUNNEL_PATIENCE, opened).await {
        Ok(Ok(channel)) => {
            let dialogue = Dialogue::new(core.clock().tick(), session, lines);
            hold(&core, dialogue, channel.into_stream()).await
        }
        Ok(Err(error)) => Outcome::unreachable(error.to_string()),
        Err(_) => Outcome::unreachable("the client does not answer".to_owned()),
    };
    core.tell(Input::Commanded {
        connection,
        outcome,
    })
    .await;
}

/// Carries the bytes of a dialogue.
pub(super) async fn hold<S>(core: &Core, mut dialogue: Dialogue, stream: S) -> Outcome
where
    S: AsyncRead + AsyncWrite,
{
    let clock = core.clock();
    let (mut reader, mut writer) = tokio::io::split(stream);
    let mut block = [0; 4096];
    let mut unsent: Vec<u8> = Vec::new();
    let mut reading = true;
    loop {
        let deadline = dialogue.deadline().unwrap_or_default();
        let heard = tokio::select! {
            read = reader.read(&mut block), if reading => match read {
                Ok(size @ 1..) => Heard::Bytes(&block[..size]),
                _ => Heard::Closed,
            },
            written = writer.write(&unsent), if !unsent.is_empty() => match written {
                Ok(size @ 1..) => {
                    unsent.drain(..size);
                    if !unsent.is_empty() {
                        continue;
                    }
                    Heard::Sent
                }
                _ => Heard::Closed,
            },
            () = tokio::time::sleep_until(clock.instant(deadline).into()) => Heard::Deadline,
        };
        reading = heard != Heard::Closed;
        for say in dialogue.handle(clock.tick(), heard) {
            match say {
                Say::Send(bytes) => unsent.extend_from_slice(&bytes),
                Say::Done(outcome) => {
                    // The probe may have gone first.
                    let _ = timeout(GRACE, writer.shutdown()).await;
                    return outcome;
                }
            }
        }
    }
}

/// Where a listener listens.
pub(super) async fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(address).await
}
