//! The session's SSH client against OpenSSH's server, on loopback.
//!
//! OpenSSH's server logs in accounts of the host, and a probe's account is `atlas`: so the tests run inside a user,
//! network and mount namespace of their own, where such an account exists, port 8080 is free, and nothing leaves.
//! Where `sshd` or namespaces are missing they say so and, with `STARLING_REQUIRE_PEERS=1`, fail.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "the helpers of a test fail as a test does"
)]

#[path = "../support/peers.rs"]
mod peers;
mod sshd;
mod without_a_peer;

use sshd::{Peer, Script, inside, until};
use starling::{
    clock::Clock,
    dialect::Dialect,
    key::{HostKey, KeyType, ProbeKey},
    session::{
        self, Config, Exchange, Failure, Identity, Marker, RegistrationServer, Resolve,
        SessionEvent, Tunnel, TunnelError,
        interpreter::{Change, Interpreter},
    },
};
use std::{
    io::{Read, Write},
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
    time::timeout,
};

/// Generous: nothing here depends on how fast the machine is.
const LIMIT: Duration = Duration::from_secs(120);
const SESSION_ID: &str = "fa0b28e5f26291ad4a41ceecffc73457cbb4180291f53abdcda5667357440a9f";

/// Runs every test of this file that is marked `ignore`, inside.
#[test]
fn our_client_against_openssh_s_server() {
    sshd::run_inside();
}

/// A session that runs, and what it says.
struct Running {
    events: mpsc::Receiver<SessionEvent>,
    tunnel: Tunnel,
    stop: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

impl Running {
    fn start(servers: Vec<RegistrationServer>, key: &ProbeKey, dir: &Path) -> Self {
        let (sender, events) = mpsc::channel(64);
        let (end, tunnel) = session::tunnel();
        let (stop, shutdown) = watch::channel(false);
        let config = Config {
            servers,
            firmware: 5120,
            sub_arch: "debian/12/x86_64".into(),
            hostname: "lab".into(),
            reboot_count: 0,
            state_file: dir.join("session.json"),
            sources: session::Sources::default(),
        };
        // The literals need no resolver; `localhost` stands for a name with an address that refuses.
        let resolve: Resolve = Arc::new(|_name, port| {
            Box::pin(async move {
                Ok(vec![
                    ([127, 0, 0, 9], port).into(),
                    ([127, 0, 0, 1], port).into(),
                ])
            })
        });
        let interpreter = Interpreter::new(Dialect::Reference);
        let run = session::run(
            config,
            Clock::start(),
            7,
            key.clone(),
            resolve,
            interpreter,
            sender,
            end,
            shutdown,
        );
        Self {
            events,
            tunnel,
            stop,
            task: tokio::spawn(run),
        }
    }

    /// Every event up to and with the first that `wanted` takes.
    async fn until<T>(
        &mut self,
        wanted: impl Fn(&SessionEvent) -> Option<T>,
    ) -> (Vec<SessionEvent>, T) {
        until(&mut self.events, LIMIT, wanted).await
    }

    async fn kept(&mut self) -> (Vec<SessionEvent>, Identity) {
        self.until(|event| match event {
            SessionEvent::Kept(identity) => Some(identity.clone()),
            _ => None,
        })
        .await
    }

    async fn lost(&mut self) -> (Vec<SessionEvent>, (Exchange, Failure)) {
        self.until(|event| match event {
            SessionEvent::Lost {
                exchange, failure, ..
            } => Some((*exchange, failure.clone())),
            _ => None,
        })
        .await
    }

    async fn stop(self) {
        self.stop.send_replace(true);
        timeout(LIMIT, self.task)
            .await
            .expect("stops")
            .expect("does not panic");
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

fn registrations(events: &[SessionEvent]) -> Vec<String> {
    let reason = |event: &SessionEvent| match event {
        SessionEvent::Registering { reason, .. } => Some(reason.to_string()),
        _ => None,
    };
    events.iter().filter_map(reason).collect()
}

#[test]
#[ignore = "runs inside namespaces of its own"]
fn the_whole_life_with_an_ed25519_key_and_an_rsa_host_key() {
    let Some(dir) = inside() else { return };
    let key = ProbeKey::load_or_create(&dir.path().join("key"), "probe@lab").unwrap();
    let peer = Peer::start(
        dir.path(),
        2201,
        &key,
        &Script::working(2201, 28_023, SESSION_ID),
    );
    runtime().block_on(async {
        let mut running = Running::start(vec![peer.server("127.0.0.1", &peer.rsa)], &key, dir.path());
        let (events, identity) = running.kept().await;
        assert_eq!((identity.probe_id, identity.remote_port), (Some(1_015_186), 28_023));
        assert_eq!(identity.session_id.as_str(), SESSION_ID);
        assert_eq!(registrations(&events), ["NEW"]);
        assert_eq!(
            std::fs::read_to_string(peer.dir.join("registration")).unwrap(),
            "P_TO_R_INIT\nTOKEN_SPECS fluffy 1000 5120 debian/12/x86_64\nREASON_FOR_REGISTRATION NEW\n"
        );
        let markers: Vec<u16> = events.iter().filter_map(marker).collect();
        assert_eq!(markers, [9000, 9000, 9011, 9011, 9011]);

        commands_come_through_the_reverse_forward(&mut running).await;
        forgotten_connections_give_way().await;
        results_go_through_the_tunnel(&running.tunnel).await;

        let state = dir.path().join("session.json");
        assert_eq!(std::fs::metadata(&state).unwrap().permissions().mode() & 0o777, 0o600);
        let tunnel = running.tunnel.clone();
        running.stop().await;
        assert_eq!(tunnel.open().await.map(|_| ()).unwrap_err(), TunnelError::NotConnected);
    });
}

fn marker(event: &SessionEvent) -> Option<u16> {
    match event {
        SessionEvent::Marker(marker) => Some(marker.id()),
        _ => None,
    }
}

/// OpenSSH listens on the remote port; we connect there as a controller does.
async fn commands_come_through_the_reverse_forward(running: &mut Running) {
    let mut controller = timeout(LIMIT, TcpStream::connect(("127.0.0.1", 28_023)))
        .await
        .unwrap()
        .unwrap();
    let banner = b"\xff\xfd\x01\xff\xfd\x1f\xff\xfb\x01\xff\xfb\x03Atlas probe, see http://atlas.ripe.net/\r\n\r\nProbe 1015186 (lab) login: ";
    expect(&mut controller, banner).await;
    controller.write_all(b"C_TO_P_TEST_V1\n").await.unwrap();
    expect(&mut controller, b"\r\nPassword: ").await;
    controller
        .write_all(format!("{SESSION_ID}\nCRONTAB /home/atlas/crons/7\nCRONLINE 60 0 0 NONE 0 evping -A \"1\" 192.0.2.1\n\n").as_bytes())
        .await
        .unwrap();
    expect(&mut controller, b"OK\r\n\r\n").await;
    let table = |event: &SessionEvent| match event {
        SessionEvent::Change(Change::Table { lines, .. }) => Some(lines.len()),
        _ => None,
    };
    assert_eq!(running.until(table).await.1, 1);
}

/// Sixteen may be open, one more closes the oldest.
async fn forgotten_connections_give_way() {
    let mut open = Vec::new();
    for _ in 0..17 {
        let mut connection = TcpStream::connect(("127.0.0.1", 28_023)).await.unwrap();
        expect(&mut connection, b"\xff\xfd\x01").await;
        open.push(connection);
    }
    let mut rest = Vec::new();
    timeout(LIMIT, open[0].read_to_end(&mut rest))
        .await
        .unwrap()
        .unwrap();
    assert!(rest.ends_with(b"login: "), "{}", rest.escape_ascii());
    open[16].write_all(b"C_TO_P_TEST_V1\n").await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\nPassword: ") {
        answer.push(timeout(LIMIT, open[16].read_u8()).await.unwrap().unwrap());
    }
}

async fn expect(stream: &mut TcpStream, bytes: &[u8]) {
    let mut got = vec![0; bytes.len()];
    timeout(LIMIT, stream.read_exact(&mut got))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        got.escape_ascii().to_string(),
        bytes.escape_ascii().to_string()
    );
}

async fn results_go_through_the_tunnel(tunnel: &Tunnel) {
    // Nobody listens yet, so OpenSSH refuses the channel.
    let refused = timeout(LIMIT, tunnel.open()).await.unwrap();
    assert!(matches!(refused.map(|_| ()), Err(TunnelError::Refused(_))));
    let listener = TcpListener::bind(("127.0.0.1", 8080)).await.unwrap();
    let mut channel = timeout(LIMIT, tunnel.open()).await.unwrap().unwrap();
    let (mut accepted, _) = timeout(LIMIT, listener.accept()).await.unwrap().unwrap();
    channel.write_all(b"POST / HTTP/1.1\r\n\r\n").await.unwrap();
    expect(&mut accepted, b"POST / HTTP/1.1\r\n\r\n").await;
    let answer = vec![b'x'; 300_000];
    let (sent, got) = tokio::join!(
        async {
            accepted.write_all(&answer).await.unwrap();
            drop(accepted);
        },
        async {
            let mut got = Vec::new();
            timeout(LIMIT, channel.read_to_end(&mut got))
                .await
                .unwrap()
                .unwrap();
            got
        }
    );
    let () = sent;
    assert_eq!(got.len(), answer.len());
}

#[test]
#[ignore = "runs inside namespaces of its own"]
fn an_imported_rsa_key_of_the_official_probe_logs_in() {
    let Some(dir) = inside() else { return };
    sshd::keygen(
        &dir.path().join("probe_key"),
        &["-t", "rsa", "-b", "2048", "-C", "probe"],
    );
    let key = ProbeKey::import(
        &dir.path().join("probe_key"),
        &dir.path().join("key"),
        false,
    )
    .unwrap();
    assert!(key.is_rsa());
    let peer = Peer::start(
        dir.path(),
        2202,
        &key,
        &Script::working(2202, 28_024, SESSION_ID),
    );
    runtime().block_on(async {
        let mut running =
            Running::start(vec![peer.server("127.0.0.1", &peer.rsa)], &key, dir.path());
        assert_eq!(running.kept().await.1.remote_port, 28_024);
        running.stop().await;
    });
}

#[test]
#[ignore = "runs inside namespaces of its own"]
fn an_ed25519_host_key_is_asked_for_when_it_is_the_pinned_one_and_names_are_tried_at_every_address()
{
    let Some(dir) = inside() else { return };
    let key = ProbeKey::load_or_create(&dir.path().join("key"), "probe@lab").unwrap();
    let peer = Peer::start(
        dir.path(),
        2203,
        &key,
        &Script::working(2203, 28_025, SESSION_ID),
    );
    runtime().block_on(async {
        // 127.0.0.9 refuses, 127.0.0.1 does not.
        let mut running = Running::start(
            vec![peer.server("registration.test", &peer.ed25519)],
            &key,
            dir.path(),
        );
        let (events, _) = running.kept().await;
        assert!(
            !events
                .iter()
                .any(|event| matches!(event, SessionEvent::Lost { .. })),
            "{events:?}"
        );
        running.stop().await;
    });
}

#[test]
#[ignore = "runs inside namespaces of its own"]
fn another_host_key_than_the_pinned_one_is_refused_before_anything_is_said() {
    let Some(dir) = inside() else { return };
    let key = ProbeKey::load_or_create(&dir.path().join("key"), "probe@lab").unwrap();
    let peer = Peer::start(
        dir.path(),
        2204,
        &key,
        &Script::working(2204, 28_026, SESSION_ID),
    );
    sshd::keygen(&dir.path().join("other"), &["-t", "rsa", "-b", "2048"]);
    let other = sshd::public(&dir.path().join("other"));
    runtime().block_on(async {
        let mut running = Running::start(vec![peer.server("127.0.0.1", &other)], &key, dir.path());
        let (_, (exchange, failure)) = running.lost().await;
        assert_eq!(exchange, Exchange::Registration);
        assert_eq!(
            failure,
            Failure::HostKeyRefused {
                host: "127.0.0.1".into(),
                offered: peer.rsa.fingerprint(),
                pinned: other.fingerprint(),
            }
        );
        running.stop().await;
        assert!(!peer.dir.join("registration").exists());
    });
}

#[test]
#[ignore = "runs inside namespaces of its own"]
fn the_controller_must_prove_the_key_of_the_registration_answer() {
    let Some(dir) = inside() else { return };
    let key = ProbeKey::load_or_create(&dir.path().join("key"), "probe@lab").unwrap();
    sshd::keygen(&dir.path().join("other"), &["-t", "rsa", "-b", "2048"]);
    let other = sshd::public(&dir.path().join("other"));
    let script = Script {
        registration: format!(
            "OK\nCONTROLLER 127.0.0.1 2205 {other}\nREREGISTER 3000\nPROBE_ID 1\n"
        ),
        ..Script::working(2205, 28_027, SESSION_ID)
    };
    let peer = Peer::start(dir.path(), 2205, &key, &script);
    runtime().block_on(async {
        let mut running =
            Running::start(vec![peer.server("127.0.0.1", &peer.rsa)], &key, dir.path());
        let (_, (exchange, failure)) = running.lost().await;
        assert_eq!(exchange, Exchange::Init);
        assert!(
            matches!(failure, Failure::HostKeyRefused { .. }),
            "{failure:?}"
        );
        running.stop().await;
    });
}

#[test]
#[ignore = "runs inside namespaces of its own"]
fn a_key_that_the_server_does_not_know_is_told_apart() {
    let Some(dir) = inside() else { return };
    let known =
        ProbeKey::generate(&dir.path().join("known"), KeyType::Ed25519, "a", false).unwrap();
    let key = ProbeKey::generate(&dir.path().join("key"), KeyType::Ed25519, "b", false).unwrap();
    let peer = Peer::start(
        dir.path(),
        2206,
        &known,
        &Script::working(2206, 28_028, SESSION_ID),
    );
    runtime().block_on(async {
        let mut running =
            Running::start(vec![peer.server("127.0.0.1", &peer.rsa)], &key, dir.path());
        let (events, (exchange, failure)) = running.lost().await;
        assert_eq!(exchange, Exchange::Registration);
        assert_eq!(
            failure,
            Failure::Denied {
                fingerprint: key.fingerprint()
            }
        );
        assert!(events.contains(&SessionEvent::Marker(Marker::Stderr(
            "Permission denied (publickey).".into()
        ))));
        running.stop().await;
    });
}

#[test]
#[ignore = "runs inside namespaces of its own"]
fn an_exit_status_other_than_zero_fails_with_the_server_s_words() {
    let Some(dir) = inside() else { return };
    let key = ProbeKey::load_or_create(&dir.path().join("key"), "probe@lab").unwrap();
    let script = Script {
        registration: "OK\n".into(),
        status: 3,
        ..Script::working(2207, 28_029, SESSION_ID)
    };
    let peer = Peer::start(dir.path(), 2207, &key, &script);
    runtime().block_on(async {
        let mut running =
            Running::start(vec![peer.server("127.0.0.1", &peer.rsa)], &key, dir.path());
        let (_, (_, failure)) = running.lost().await;
        let Failure::Exit {
            command,
            status,
            stdout,
            stderr,
        } = failure
        else {
            panic!("{failure:?}");
        };
        assert_eq!((command, status, stdout.as_str()), ("INIT", 3, "OK\n"));
        assert_eq!(stderr, "as told\n");
        running.stop().await;
    });
}

#[test]
#[ignore = "runs inside namespaces of its own"]
fn a_byte_on_keep_leads_to_a_forced_registration() {
    let Some(dir) = inside() else { return };
    let key = ProbeKey::load_or_create(&dir.path().join("key"), "probe@lab").unwrap();
    let peer = Peer::start(
        dir.path(),
        2208,
        &key,
        &Script::working(2208, 28_030, SESSION_ID),
    );
    runtime().block_on(async {
        let mut running =
            Running::start(vec![peer.server("127.0.0.1", &peer.rsa)], &key, dir.path());
        running.kept().await;
        peer.tell_keep("kick").await;
        let (events, _) = running.kept().await;
        assert!(events.contains(&SessionEvent::KickedOut));
        assert!(events.contains(&SessionEvent::Marker(Marker::KickedOut)));
        assert_eq!(registrations(&events), ["FORCE_REG"]);
        assert!(
            events
                .iter()
                .any(|event| matches!(event, SessionEvent::SessionOpened(_)))
        );
        running.stop().await;
    });
}

#[test]
#[ignore = "runs inside namespaces of its own"]
fn a_lost_keep_and_a_restart_both_take_the_same_session_up_again() {
    let Some(dir) = inside() else { return };
    let key = ProbeKey::load_or_create(&dir.path().join("key"), "probe@lab").unwrap();
    let peer = Peer::start(
        dir.path(),
        2209,
        &key,
        &Script::working(2209, 28_031, SESSION_ID),
    );
    let servers = vec![peer.server("127.0.0.1", &peer.rsa)];
    runtime().block_on(async {
        let mut running = Running::start(servers.clone(), &key, dir.path());
        let (_, first) = running.kept().await;
        peer.tell_keep("drop").await;
        let (events, again) = running.kept().await;
        assert_eq!(again, first);
        assert_eq!(registrations(&events), Vec::<String>::new());
        assert!(
            !events
                .iter()
                .any(|event| matches!(event, SessionEvent::SessionOpened(_)))
        );
        assert!(events.contains(&SessionEvent::Marker(Marker::KeepGone)));
        running.stop().await;

        let mut restarted = Running::start(servers, &key, dir.path());
        let (events, restarted_as) = restarted.kept().await;
        assert_eq!(restarted_as, first);
        assert_eq!(registrations(&events), Vec::<String>::new());
        restarted.stop().await;

        // Under another key it is another probe.
        let other =
            ProbeKey::generate(&dir.path().join("other"), KeyType::Ed25519, "b", false).unwrap();
        let mut other = Running::start(
            vec![peer.server("127.0.0.1", &peer.rsa)],
            &other,
            dir.path(),
        );
        let (events, _) = other.lost().await;
        assert_eq!(registrations(&events), ["NEW"]);
        other.stop().await;
    });
}
