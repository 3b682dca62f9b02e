//! One SSH connection: TCP to the first address that answers, the pinned host key, and login by the probe's key.

use russh::{
    Channel, ChannelOpenFailure,
    client::{self, ChannelOpenHandle, DisconnectReason, Handle, Msg},
    keys::{
        Algorithm, EcdsaCurve, HashAlg, PrivateKeyWithHashAlg, PublicKeyBase64,
        PublicKeyOrCertificate,
    },
};
use std::{
    borrow::Cow,
    net::{IpAddr, Shutdown, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    net::TcpStream,
    sync::mpsc,
    task::JoinSet,
    time::{sleep, timeout},
};

use super::Resolve;
use crate::{
    key::{HostKey, ProbeKey, fingerprint},
    measurement::machine::ResolveError,
    session::{
        event::collapsed,
        failure::{Failure, Step},
    },
};

/// The address that the reverse forward is bound to at the controller, word for word (`controller-protocol`
/// section 3.2).
pub(super) const FORWARD_ADDRESS: &str = "localhost";

/// The SSH user of every probe (`controller-protocol` section 1.1).
const USER: &str = "atlas";
/// How long resolving may take, and how long one TCP connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(30);
/// How long key exchange and login may take.
const LOGIN_LIMIT: Duration = Duration::from_secs(30);
/// The next address is tried beside the ones before it after this time (RFC 8305 section 8).
const STAGGER: Duration = Duration::from_millis(250);
/// How many addresses of a name are tried.
const MAX_ADDRESSES: usize = 16;
/// `ServerAliveInterval` and `ServerAliveCountMax` (`controller-protocol` sections 2.1 and 3.2).
const KEEPALIVE: (Duration, usize) = (Duration::from_secs(60), 3);

/// The receive window of a channel, in octets.
const WINDOW: u32 = 128 * 1024;

/// Where to connect, and whom to expect there.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) host_key: HostKey,
    /// The port of the reverse forward; nothing is forwarded without one.
    pub(super) remote_port: Option<u16>,
}

/// A connection that is logged in. Dropping it cuts the TCP connection, whoever else holds the handle.
pub(super) struct Line {
    pub(super) handle: Arc<Handle<Client>>,
    /// Channels that the server opens over the reverse forward.
    pub(super) forwarded: mpsc::Receiver<Channel<Msg>>,
    seen: Arc<Mutex<Seen>>,
    _cut: Cut,
}

impl Line {
    /// Why the connection ended, as far as we know.
    pub(super) fn why(&self) -> String {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.ended
            .clone()
            .unwrap_or_else(|| "the controller ended KEEP".to_owned())
    }
}

/// Shuts the TCP connection down when dropped: the SSH library's own task would live on while a channel does.
struct Cut(Option<std::net::TcpStream>);

impl Drop for Cut {
    fn drop(&mut self) {
        if let Some(stream) = &self.0 {
            // It may be down already, which is as good.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// What our side of the connection noticed.
#[derive(Debug, Default)]
struct Seen {
    /// The host key that was refused.
    refused: Option<String>,
    ended: Option<String>,
}

/// Connects as far as the server's host key, which must be the pinned one, and hangs up: nobody logs in.
pub(super) async fn greet(target: &Target, resolve: &Resolve) -> Result<(), Failure> {
    let stream = first_to_answer(addresses(target, resolve).await?).await?;
    let (stream, _cut) = cuttable(stream).map_err(|cause| Failure::Ssh(cause.to_string()))?;
    let (forward, _) = mpsc::channel(1);
    let seen = Arc::new(Mutex::new(Seen::default()));
    let client = Client {
        host_key: target.host_key.clone(),
        remote_port: None,
        forward,
        seen: Arc::clone(&seen),
    };
    let config = config(&target.host_key).map_err(|cause| Failure::Ssh(cause.to_string()))?;
    let greeting = client::connect_stream(Arc::new(config), stream, client);
    match timeout(LOGIN_LIMIT, greeting).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(cause)) => Err(explained(&cause, target, &seen)),
        Err(_) => Err(Failure::TimedOut {
            step: Step::Login,
            limit: LOGIN_LIMIT,
        }),
    }
}

/// Connects and logs in.
pub(super) async fn connect(
    target: &Target,
    key: &ProbeKey,
    resolve: &Resolve,
) -> Result<Line, Failure> {
    let addresses = addresses(target, resolve).await?;
    let stream = first_to_answer(addresses).await?;
    let (stream, cut) = cuttable(stream).map_err(|cause| Failure::Ssh(cause.to_string()))?;
    let (forward, forwarded) = mpsc::channel(super::commands::MAX_CONNECTIONS);
    let seen = Arc::new(Mutex::new(Seen::default()));
    let client = Client {
        host_key: target.host_key.clone(),
        remote_port: target.remote_port,
        forward,
        seen: Arc::clone(&seen),
    };
    let login = login(target, key, stream, client);
    let handle = match timeout(LOGIN_LIMIT, login).await {
        Ok(Ok(handle)) => handle,
        Ok(Err(Refusal::Denied)) => {
            return Err(Failure::Denied {
                fingerprint: key.fingerprint(),
            });
        }
        Ok(Err(Refusal::Ssh(cause))) => return Err(explained(&cause, target, &seen)),
        Err(_) => {
            return Err(Failure::TimedOut {
                step: Step::Login,
                limit: LOGIN_LIMIT,
            });
        }
    };
    Ok(Line {
        handle: Arc::new(handle),
        forwarded,
        seen,
        _cut: cut,
    })
}

async fn addresses(target: &Target, resolve: &Resolve) -> Result<Vec<SocketAddr>, Failure> {
    if let Ok(literal) = target.host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(literal, target.port)]);
    }
    let lookup = resolve(target.host.clone(), target.port);
    let answer = timeout(CONNECT_LIMIT, lookup)
        .await
        .unwrap_or(Err(ResolveError::Failed));
    match answer {
        Ok(found) if !found.is_empty() => Ok(alternating(found)),
        Ok(_) => Err(Failure::Resolve {
            host: target.host.clone(),
            cause: ResolveError::NotKnown,
        }),
        Err(cause) => Err(Failure::Resolve {
            host: target.host.clone(),
            cause,
        }),
    }
}

/// IPv6 and IPv4 in turn, IPv6 first, each in the order given (RFC 8305 section 4).
fn alternating(found: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let (v6, v4): (Vec<_>, Vec<_>) = found.into_iter().partition(SocketAddr::is_ipv6);
    let (mut v6, mut v4) = (v6.into_iter(), v4.into_iter());
    let mut mixed = Vec::new();
    loop {
        let pair: Vec<SocketAddr> = v6.next().into_iter().chain(v4.next()).collect();
        if pair.is_empty() || mixed.len() >= MAX_ADDRESSES {
            return mixed;
        }
        mixed.extend(pair);
    }
}

/// The first TCP connection that stands; a further address is tried when one fails or is slow.
async fn first_to_answer(addresses: Vec<SocketAddr>) -> Result<TcpStream, Failure> {
    let mut waiting = addresses.into_iter();
    let mut racing = JoinSet::new();
    let mut failed = Vec::new();
    loop {
        if let Some(to) = waiting.next() {
            racing.spawn(async move {
                let result = match timeout(CONNECT_LIMIT, TcpStream::connect(to)).await {
                    Ok(result) => result.map_err(|cause| cause.to_string()),
                    Err(_) => Err(format!("no answer in {} s", CONNECT_LIMIT.as_secs())),
                };
                (to, result)
            });
        }
        let ended = tokio::select! {
            ended = racing.join_next() => ended,
            () = sleep(STAGGER), if waiting.len() > 0 => continue,
        };
        match ended {
            Some(Ok((_, Ok(stream)))) => return Ok(stream),
            Some(Ok((to, Err(why)))) => failed.push((to, why)),
            Some(Err(_)) => {}
            None => return Err(Failure::Connect(failed)),
        }
    }
}

/// The stream, and a second hold on its socket.
fn cuttable(stream: TcpStream) -> std::io::Result<(TcpStream, Cut)> {
    stream.set_nodelay(true)?;
    let stream = stream.into_std()?;
    let second = stream.try_clone()?;
    Ok((TcpStream::from_std(stream)?, Cut(Some(second))))
}

enum Refusal {
    Denied,
    Ssh(russh::Error),
}

async fn login(
    target: &Target,
    key: &ProbeKey,
    stream: TcpStream,
    client: Client,
) -> Result<Handle<Client>, Refusal> {
    let config = config(&target.host_key).map_err(Refusal::Ssh)?;
    let mut handle = client::connect_stream(Arc::new(config), stream, client)
        .await
        .map_err(Refusal::Ssh)?;
    // The server names the hashes it takes for RSA; SHA-1 is out of the question whatever it names.
    let hash = if key.is_rsa() {
        let named = handle
            .best_supported_rsa_hash()
            .await
            .map_err(Refusal::Ssh)?;
        Some(named.flatten().unwrap_or(HashAlg::Sha256))
    } else {
        None
    };
    let signer = PrivateKeyWithHashAlg::new(key.private(), hash);
    let answer = handle
        .authenticate_publickey(USER, signer)
        .await
        .map_err(Refusal::Ssh)?;
    if answer.success() {
        Ok(handle)
    } else if handle.is_closed() {
        Err(Refusal::Ssh(russh::Error::Disconnect))
    } else {
        Err(Refusal::Denied)
    }
}

/// Our offer: only what the pinned key can sign with, so that a server with several keys shows that one.
fn config(host_key: &HostKey) -> Result<client::Config, russh::Error> {
    let key = match host_key.kind() {
        "ssh-ed25519" => vec![Algorithm::Ed25519],
        "ecdsa-sha2-nistp256" => vec![ecdsa(EcdsaCurve::NistP256)],
        "ecdsa-sha2-nistp384" => vec![ecdsa(EcdsaCurve::NistP384)],
        "ecdsa-sha2-nistp521" => vec![ecdsa(EcdsaCurve::NistP521)],
        _rsa => [HashAlg::Sha512, HashAlg::Sha256]
            .map(|hash| Algorithm::Rsa { hash: Some(hash) })
            .to_vec(),
    };
    let (keepalive_interval, keepalive_max) = KEEPALIVE;
    Ok(client::Config {
        client_id: russh::SshId::Standard(Cow::Borrowed(concat!(
            "SSH-2.0-starling_",
            env!("CARGO_PKG_VERSION")
        ))),
        preferred: russh::Preferred {
            key: Cow::Owned(key),
            ..russh::Preferred::default()
        },
        keepalive_interval: Some(keepalive_interval),
        keepalive_max,
        // The default asks for 8192 bits, which costs a small probe seconds.
        gex: client::GexParams::new(2048, 3072, 8192)?,
        nodelay: true,
        // What a channel may hold that nobody has read: commands and upload answers are small.
        window_size: WINDOW,
        ..client::Config::default()
    })
}

const fn ecdsa(curve: EcdsaCurve) -> Algorithm {
    Algorithm::Ecdsa { curve }
}

fn explained(cause: &russh::Error, target: &Target, seen: &Mutex<Seen>) -> Failure {
    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    match (seen.refused.take(), cause) {
        (Some(offered), _) => Failure::HostKeyRefused {
            host: target.host.clone(),
            offered,
            pinned: target.host_key.fingerprint(),
        },
        (None, russh::Error::NoCommonAlgo { kind, theirs, .. }) => Failure::NoCommonAlgorithm(
            format!("{kind:?}: it offers {}", collapsed(&theirs.join(" "))),
        ),
        (None, russh::Error::Disconnect | russh::Error::HUP) => Failure::Ssh(
            seen.ended
                .take()
                .unwrap_or_else(|| "the server closed it".to_owned()),
        ),
        (None, other) => Failure::Ssh(other.to_string()),
    }
}

/// Our side of one SSH connection, as the library calls it.
pub(super) struct Client {
    host_key: HostKey,
    remote_port: Option<u16>,
    forward: mpsc::Sender<Channel<Msg>>,
    seen: Arc<Mutex<Seen>>,
}

impl Client {
    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// Every kind of channel that a server could open is named here, since the library accepts most by default.
impl client::Handler for Client {
    type Error = russh::Error;

    async fn check_server_key(
        &mut self,
        key: &PublicKeyOrCertificate,
    ) -> Result<bool, russh::Error> {
        let blob = match key {
            PublicKeyOrCertificate::PublicKey { key, .. } => key.public_key_bytes(),
            // None was offered by us; a certificate is nobody we know.
            PublicKeyOrCertificate::Certificate(_) => Vec::new(),
        };
        let known = blob == self.host_key.blob();
        if !known {
            self.seen().refused = Some(fingerprint(&blob));
        }
        Ok(known)
    }

    async fn server_channel_open_forwarded_tcpip(
        &mut self,
        channel: Channel<Msg>,
        connected_address: &str,
        connected_port: u32,
        _originator_address: &str,
        _originator_port: u32,
        reply: ChannelOpenHandle,
        _session: &mut client::Session,
    ) -> Result<(), russh::Error> {
        // Exactly what was asked to be forwarded, as OpenSSH has it (`controller-protocol` section 3.2).
        let ours = connected_address == FORWARD_ADDRESS
            && self
                .remote_port
                .is_some_and(|port| u32::from(port) == connected_port);
        if !ours {
            reply
                .reject(ChannelOpenFailure::AdministrativelyProhibited)
                .await;
            return Ok(());
        }
        // Reserved before accepting: a channel that nobody takes would stay open for ever.
        match self.forward.try_reserve() {
            Ok(place) => {
                reply.accept().await;
                place.send(channel);
            }
            Err(_) => reply.reject(ChannelOpenFailure::ResourceShortage).await,
        }
        Ok(())
    }

    async fn server_channel_open_forwarded_streamlocal(
        &mut self,
        _channel: Channel<Msg>,
        _path: &str,
        reply: ChannelOpenHandle,
        _session: &mut client::Session,
    ) -> Result<(), russh::Error> {
        prohibited(reply).await
    }

    async fn server_channel_open_agent_forward(
        &mut self,
        _channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _session: &mut client::Session,
    ) -> Result<(), russh::Error> {
        prohibited(reply).await
    }

    async fn server_channel_open_session(
        &mut self,
        _channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _session: &mut client::Session,
    ) -> Result<(), russh::Error> {
        prohibited(reply).await
    }

    async fn server_channel_open_direct_tcpip(
        &mut self,
        _channel: Channel<Msg>,
        _host: &str,
        _port: u32,
        _originator_address: &str,
        _originator_port: u32,
        reply: ChannelOpenHandle,
        _session: &mut client::Session,
    ) -> Result<(), russh::Error> {
        prohibited(reply).await
    }

    async fn server_channel_open_direct_streamlocal(
        &mut self,
        _channel: Channel<Msg>,
        _path: &str,
        reply: ChannelOpenHandle,
        _session: &mut client::Session,
    ) -> Result<(), russh::Error> {
        prohibited(reply).await
    }

    async fn server_channel_open_x11(
        &mut self,
        _channel: Channel<Msg>,
        _originator_address: &str,
        _originator_port: u32,
        reply: ChannelOpenHandle,
        _session: &mut client::Session,
    ) -> Result<(), russh::Error> {
        prohibited(reply).await
    }

    async fn disconnected(
        &mut self,
        reason: DisconnectReason<russh::Error>,
    ) -> Result<(), russh::Error> {
        let (why, result) = match reason {
            DisconnectReason::ReceivedDisconnect(info) => {
                let words = collapsed(&info.message);
                (
                    format!("the server disconnected: {words} ({:?})", info.reason_code),
                    Ok(()),
                )
            }
            DisconnectReason::Error(russh::Error::KeepaliveTimeout) => {
                let (interval, max) = KEEPALIVE;
                let why = format!(
                    "no answer to {max} keep-alives, {} s apart",
                    interval.as_secs()
                );
                (why, Err(russh::Error::KeepaliveTimeout))
            }
            DisconnectReason::Error(cause) => (cause.to_string(), Err(cause)),
        };
        self.seen().ended = Some(why);
        result
    }
}

async fn prohibited(reply: ChannelOpenHandle) -> Result<(), russh::Error> {
    reply
        .reject(ChannelOpenFailure::AdministrativelyProhibited)
        .await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_alternate_between_the_families() {
        let parse = |text: &str| text.parse::<SocketAddr>().unwrap();
        let found = [
            "192.0.2.1:1",
            "192.0.2.2:1",
            "192.0.2.3:1",
            "[2001:db8::1]:1",
        ]
        .map(parse);
        let mixed = [
            "[2001:db8::1]:1",
            "192.0.2.1:1",
            "192.0.2.2:1",
            "192.0.2.3:1",
        ]
        .map(parse);
        assert_eq!(alternating(found.to_vec()), mixed);
        assert_eq!(alternating(vec![]), []);
        let many = (1..200)
            .map(|port| SocketAddr::from(([192, 0, 2, 1], port)))
            .collect();
        assert_eq!(alternating(many).len(), MAX_ADDRESSES);
    }

    #[test]
    fn only_the_pinned_key_s_algorithms_are_offered_and_never_sha1() {
        for server in crate::session::ServerList::Prod.servers() {
            if let Some(host_key) = server.host_key {
                let offered = config(&host_key).unwrap().preferred.key;
                let names: Vec<String> = offered.iter().map(ToString::to_string).collect();
                assert_eq!(names, ["rsa-sha2-512", "rsa-sha2-256"]);
            }
        }
    }

    #[test]
    fn group_exchange_with_sha256_is_offered() {
        let host_key = crate::session::ServerList::Prod.servers()[0]
            .host_key
            .clone()
            .unwrap();
        let config = config(&host_key).unwrap();
        let kex: Vec<&str> = config.preferred.kex.iter().map(AsRef::as_ref).collect();
        assert!(
            kex.contains(&"diffie-hellman-group-exchange-sha256"),
            "{kex:?}"
        );
        assert!(!kex.contains(&"diffie-hellman-group1-sha1"), "{kex:?}");
    }
}
