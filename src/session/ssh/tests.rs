//! One connection, against doubles on loopback: a server that is in order until it falls silent, and strangers.
//!
//! Time is virtual where waiting is the point: it jumps to the next timer once nothing else is under way.

use super::{
    Resolve,
    connect::{self, Target},
    exchange::{Progress, keep},
    race::Way,
};
use crate::{
    clock::Clock,
    key::{HostKey, KeyType, ProbeKey},
    session::failure::{Failure, Step, Stranger},
};
use russh::{
    Channel, ChannelId,
    keys::{Algorithm, PrivateKey, PublicKeyBase64},
    server::{self, Auth, ChannelOpenHandle, Msg, Session, VerifiedPublicKey},
};
use std::{future::Future, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional},
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
    time::Instant,
};

fn run<T>(what: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(what)
}

#[expect(
    clippy::disallowed_methods,
    reason = "virtual time is the runtime's own"
)]
fn virtual_now() -> Instant {
    Instant::now()
}

/// A controller that takes whoever comes and keeps it.
struct Double {
    forwards: bool,
}

impl server::Handler for Double {
    type Error = russh::Error;

    async fn auth_publickey(
        &mut self,
        _: &str,
        _: VerifiedPublicKey<'_>,
    ) -> Result<Auth, russh::Error> {
        Ok(Auth::Accept)
    }

    async fn channel_open_session(
        &mut self,
        _: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        reply.accept().await;
        Ok(())
    }

    async fn exec_request(
        &mut self,
        channel: ChannelId,
        _: &[u8],
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        session.channel_success(channel)
    }

    async fn tcpip_forward(
        &mut self,
        _: &str,
        _: &mut u32,
        _: &mut Session,
    ) -> Result<bool, russh::Error> {
        Ok(self.forwards)
    }
}

/// A double behind a wire that can be cut without a word; gives its address and host key.
async fn double(forwards: bool, mut silent: watch::Receiver<bool>) -> (SocketAddr, HostKey) {
    let mut random = rand::rand_core::UnwrapErr(rand::rngs::SysRng);
    let key = PrivateKey::random(&mut random, Algorithm::Ed25519).unwrap();
    let host_key = HostKey::new("ssh-ed25519", &key.public_key_base64()).unwrap();
    let config = server::Config {
        keys: vec![key],
        ..server::Config::default()
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut outside, _) = listener.accept().await.unwrap();
        let (mut inside, end) = tokio::io::duplex(1 << 16);
        let running = server::run_stream(Arc::new(config), end, Double { forwards });
        tokio::spawn(async move { running.await.unwrap().await });
        tokio::select! {
            _ = copy_bidirectional(&mut outside, &mut inside) => {}
            _ = silent.wait_for(|silent| *silent) => {}
        }
        // Neither closed nor answered: a peer whose cable was pulled.
        std::future::pending::<()>().await;
        drop(outside);
    });
    (address, host_key)
}

fn way(resolved: Vec<SocketAddr>) -> Arc<Way> {
    let resolve: Resolve = Arc::new(move |_, _| {
        let resolved = resolved.clone();
        Box::pin(async move { Ok(resolved) })
    });
    Arc::new(Way::new(resolve, super::Sources::default(), Clock::start()))
}

fn target(host: &str, port: u16, host_key: HostKey) -> Target {
    Target {
        host: host.to_owned(),
        port,
        host_key,
        remote_port: Some(2023),
    }
}

fn probe_key() -> (tempfile::TempDir, ProbeKey) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    let key = ProbeKey::generate(&file, KeyType::Ed25519, "probe", false).unwrap();
    (folder, key)
}

#[test]
fn a_peer_that_falls_silent_is_noticed_within_five_minutes() {
    run(async {
        let (_folder, key) = probe_key();
        let (pull, silent) = watch::channel(false);
        let (address, host_key) = double(true, silent).await;
        let (sender, mut progress) = mpsc::channel(8);
        let target = target("127.0.0.1", address.port(), host_key);
        tokio::spawn(keep(target, key, way(vec![]), sender));
        assert!(matches!(
            progress.recv().await,
            Some(Progress::Connected(_))
        ));
        pull.send_replace(true);
        tokio::time::pause();
        let start = virtual_now();
        let Some(Progress::Over(Err(failure))) = progress.recv().await else {
            panic!("KEEP goes on");
        };
        assert_eq!(
            failure.to_string(),
            "the connection to the controller was lost: no answer to 3 keep-alives, 60 s apart"
        );
        let took = start.elapsed();
        assert!(
            (Duration::from_secs(180)..=Duration::from_secs(300)).contains(&took),
            "{took:?}"
        );
    });
}

#[test]
fn a_port_that_is_not_forwarded_is_told_before_keep_stands() {
    run(async {
        let (_folder, key) = probe_key();
        let (_pull, silent) = watch::channel(false);
        let (address, host_key) = double(false, silent).await;
        let (sender, mut progress) = mpsc::channel(8);
        let target = target("127.0.0.1", address.port(), host_key);
        tokio::spawn(keep(target, key, way(vec![]), sender));
        assert!(matches!(
            progress.recv().await,
            Some(Progress::NotForwarded)
        ));
        assert!(matches!(
            progress.recv().await,
            Some(Progress::Connected(_))
        ));
    });
}

/// Whoever says `words` once it was spoken to, or nothing for ever.
async fn stranger(words: Option<&'static [u8]>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _): (TcpStream, _) = listener.accept().await.unwrap();
            let mut greeting = [0; 4];
            stream.read_exact(&mut greeting).await.unwrap();
            assert_eq!(&greeting, b"SSH-");
            match words {
                Some(words) => stream.write_all(words).await.unwrap(),
                None => std::future::pending().await,
            }
        }
    });
    address
}

fn any_host_key() -> HostKey {
    crate::session::ServerList::Prod.servers()[0]
        .host_key
        .clone()
        .unwrap()
}

#[test]
fn whoever_answers_in_place_of_a_server_is_named() {
    run(async {
        for (words, expected) in [
            (
                &b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"[..],
                Stranger::Http("HTTP/1.1 400 Bad Request".into()),
            ),
            (b"\x15\x03\x01\x00\x02\x02\x46", Stranger::Tls),
            (b"", Stranger::Silent),
            (b"421 go away\r\n", Stranger::Other("421 go away".into())),
        ] {
            let address = stranger(Some(words)).await;
            let target = target("127.0.0.1", address.port(), any_host_key());
            let failure = connect::greet(&target, &way(vec![])).await.unwrap_err();
            let stranger = expected;
            assert_eq!(failure, Failure::NotSsh { address, stranger });
        }
    });
}

#[test]
fn whoever_says_nothing_at_all_is_not_waited_for_long() {
    run(async {
        let address = stranger(None).await;
        let target = target("127.0.0.1", address.port(), any_host_key());
        tokio::time::pause();
        let start = virtual_now();
        let failure = connect::greet(&target, &way(vec![])).await.unwrap_err();
        let stranger = Stranger::Silent;
        assert_eq!(failure, Failure::NotSsh { address, stranger });
        assert!(start.elapsed() <= Duration::from_secs(31));
    });
}

#[test]
fn a_greeting_and_then_nothing_is_a_path_that_loses_packets() {
    run(async {
        let address = stranger(Some(b"SSH-2.0-x\r\n")).await;
        let keeping = stranger(None).await;
        assert_ne!(address, keeping);
        let target = target("127.0.0.1", address.port(), any_host_key());
        let failure = connect::greet(&target, &way(vec![])).await.unwrap_err();
        // It closes: SSH it was, and it broke down.
        assert!(
            matches!(
                failure,
                Failure::Ssh(_)
                    | Failure::TimedOut {
                        step: Step::Login,
                        ..
                    }
            ),
            "{failure:?}"
        );
    });
}

#[test]
fn a_resolver_that_lies_is_named_along_with_what_came_of_it() {
    run(async {
        let address = stranger(Some(b"HTTP/1.1 302 Found\r\n\r\n")).await;
        let target = target("reg.example.net", 443, any_host_key());
        let failure = connect::greet(&target, &way(vec![address]))
            .await
            .unwrap_err();
        let words = failure.to_string();
        assert!(
            words.contains("answers with HTTP (HTTP/1.1 302 Found) instead of SSH"),
            "{words}"
        );
        assert!(
            words.contains("reg.example.net has the private address 127.0.0.1"),
            "{words}"
        );
        assert!(!failure.reached(), "no registration was made");
    });
}
