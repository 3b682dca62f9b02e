//! What needs no peer of its own.

use super::*;

fn a_host_key() -> HostKey {
    session::ServerList::Prod.servers()[0]
        .host_key
        .clone()
        .unwrap()
}

fn server(port: u16, host_key: Option<HostKey>) -> RegistrationServer {
    RegistrationServer {
        host: "127.0.0.1".into(),
        port,
        host_key,
    }
}

#[test]
fn servers_without_a_known_key_are_skipped_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let key = ProbeKey::load_or_create(&dir.path().join("key"), "a").unwrap();
    runtime().block_on(async {
        let unknown = server(1, None);
        let mut running = Running::start(vec![unknown.clone()], &key, dir.path());
        let (events, (_, failure)) = running.lost().await;
        assert!(events.contains(&SessionEvent::ServerSkipped(unknown)));
        assert_eq!(failure, Failure::NoServer);
        running.stop().await;
    });
}

#[test]
fn a_refused_connection_names_the_address_and_the_next_server_is_tried() {
    let dir = tempfile::tempdir().unwrap();
    let key = ProbeKey::load_or_create(&dir.path().join("key"), "a").unwrap();
    // A port that nobody listens on: bound, then let go.
    let port = std::net::TcpListener::bind(("127.0.0.1", 0))
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    runtime().block_on(async {
        let servers = vec![
            server(port, Some(a_host_key())),
            server(port, Some(a_host_key())),
        ];
        let mut running = Running::start(servers, &key, dir.path());
        let (_, (_, failure)) = running.lost().await;
        assert!(
            failure.to_string().contains(&format!("127.0.0.1:{port}")),
            "{failure}"
        );
        assert!(matches!(failure, Failure::Connect(_)));
        let (events, _) = running.lost().await;
        assert_eq!(registrations(&events), ["NEW"]);
        running.stop().await;
    });
}

#[test]
fn a_server_that_does_not_speak_ssh_fails_the_exchange_only() {
    let dir = tempfile::tempdir().unwrap();
    let key = ProbeKey::load_or_create(&dir.path().join("key"), "a").unwrap();
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let _ = stream.write_all(b"SSH-2.0-x\r\n\0\0\0\x0c\x0a not a packet at all");
            let _ = stream.read(&mut [0; 64]);
        }
    });
    runtime().block_on(async {
        let mut running = Running::start(vec![server(port, Some(a_host_key()))], &key, dir.path());
        let (_, (_, failure)) = running.lost().await;
        assert!(matches!(failure, Failure::Ssh(_)), "{failure:?}");
        assert!(failure.reached());
        running.stop().await;
    });
}
