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
    net::Shutdown,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{net::TcpStream, sync::mpsc, time::timeout};

use super::{greeting::Overheard, race::Way};
use crate::{
    key::{HostKey, ProbeKey, fingerprint},
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
/// How long key exchange and login may take.
const LOGIN_LIMIT: Duration = Duration::from_secs(30);
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
pub(super) async fn greet(target: &Target, way: &Way) -> Result<(), Failure> {
    let (forward, _) = mpsc::channel(1);
    reach(target, way, None, forward).await.map(|_| ())
}

/// Connects and logs in.
pub(super) async fn connect(target: &Target, key: &ProbeKey, way: &Way) -> Result<Line, Failure> {
    let (forward, forwarded) = mpsc::channel(super::commands::MAX_CONNECTIONS);
    let (handle, seen, cut) = reach(target, way, Some(key), forward).await?;
    Ok(Line {
        handle: Arc::new(handle),
        forwarded,
        seen,
        _cut: cut,
    })
}

type Reached = (Handle<Client>, Arc<Mutex<Seen>>, Cut);

/// Connects, checks the host key, and logs in if there is a key for that.
async fn reach(
    target: &Target,
    way: &Way,
    key: Option<&ProbeKey>,
    forward: mpsc::Sender<Channel<Msg>>,
) -> Result<Reached, Failure> {
    let (stream, address) = way
        .connect(target)
        .await
        .map_err(|failure| failure.misdirected(&target.host, None))?;
    let (stream, cut) = cuttable(stream).map_err(|cause| Failure::Ssh(cause.to_string()))?;
    let (stream, first) = Overheard::new(stream);
    let seen = Arc::new(Mutex::new(Seen::default()));
    let client = Client {
        host_key: target.host_key.clone(),
        remote_port: if key.is_some() {
            target.remote_port
        } else {
            None
        },
        forward,
        seen: Arc::clone(&seen),
    };
    let failure = match timeout(LOGIN_LIMIT, login(target, key, stream, client)).await {
        Ok(Ok(handle)) => {
            way.worked(address);
            return Ok((handle, seen, cut));
        }
        Ok(Err(Refusal::Denied(fingerprint))) => {
            way.worked(address);
            return Err(Failure::Denied { fingerprint });
        }
        Ok(Err(Refusal::Ssh(cause))) => explained(&cause, target, &seen),
        Err(_) => Failure::TimedOut {
            step: Step::Login,
            limit: LOGIN_LIMIT,
        },
    };
    way.failed(address);
    let failure = match first.stranger() {
        Some(stranger) => Failure::NotSsh { address, stranger },
        None => failure,
    };
    Err(failure.misdirected(&target.host, Some(address.ip())))
}

/// The stream, and a second hold on its socket.
fn cuttable(stream: TcpStream) -> std::io::Result<(TcpStream, Cut)> {
    stream.set_nodelay(true)?;
    let stream = stream.into_std()?;
    let second = stream.try_clone()?;
    Ok((TcpStream::from_std(stream)?, Cut(Some(second))))
}

enum Refusal {
    /// The key that is not known.
    Denied(String),
    Ssh(russh::Error),
}

async fn login(
    target: &Target,
    key: Option<&ProbeKey>,
    stream: Overheard<TcpStream>,
    client: Client,
) -> Result<Handle<Client>, Refusal> {
    let config = config(&target.host_key).map_err(Refusal::Ssh)?;
    let mut handle = client::connect_stream(Arc::new(config), stream, client)
        .await
        .map_err(Refusal::Ssh)?;
    let Some(key) = key else { return Ok(handle) };
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
        Err(Refusal::Denied(key.fingerprint()))
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
            return prohibited(reply).await;
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
                let words = match collapsed(&info.message) {
                    empty if empty.is_empty() => empty,
                    words => format!(": {words}"),
                };
                (
                    format!("the server disconnected ({:?}){words}", info.reason_code),
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
