//! A web server on the far host: http on port 8080, https by TLS 1.3 on 8443 and by TLS 1.2 on 8412, over both
//! families. The page comes in two pieces, a little apart, so that its first octets and its last ones have times of their own.

use std::{
    fs::File,
    io::{Read, Write},
    net::TcpListener,
    sync::Arc,
    time::Duration,
};

use nix::sched::{CloneFlags, setns};
use rustls::{
    ServerConfig, ServerConnection, StreamOwned, SupportedProtocolVersion,
    pki_types::PrivatePkcs8KeyDer,
    version::{TLS12, TLS13},
};

/// Between a request and the first piece, and between the pieces.
const PAUSE: Duration = Duration::from_millis(2);

/// Octets of the page.
const PAGE: usize = 4_000;

/// Serves for as long as the process lives.
pub(crate) fn start() {
    serve(8080, None);
    serve(8443, Some(config(&TLS13)));
    serve(8412, Some(config(&TLS12)));
}

fn serve(port: u16, tls: Option<Arc<ServerConfig>>) {
    let file = File::open("/run/netns/far").expect("the namespace is there");
    let (ready, is_ready) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        // Only this thread, and those that it makes.
        setns(file, CloneFlags::CLONE_NEWNET).expect("root may enter");
        // IPv4 too: the kernel's default.
        let listener = TcpListener::bind(("::", port)).expect("the port is free");
        ready.send(()).expect("the starter waits");
        for stream in listener.incoming().flatten() {
            let tls = tls.clone();
            std::thread::spawn(move || {
                // A client that leaves early is its own affair.
                let _ = stream.set_nodelay(true);
                let _ = match tls {
                    None => answer(stream),
                    Some(tls) => {
                        let connection = ServerConnection::new(tls).expect("a good configuration");
                        answer(StreamOwned::new(connection, stream))
                    }
                };
            });
        }
    });
    is_ready.recv().expect("the server listens");
}

fn answer<S: Read + Write>(mut stream: S) -> std::io::Result<()> {
    let mut request = Vec::new();
    let mut piece = [0; 1024];
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read(&mut piece)? {
            0 => return Ok(()),
            length => request.extend_from_slice(&piece[..length]),
        }
    }
    std::thread::sleep(PAUSE);
    let half = vec![b'x'; PAGE / 2];
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {PAGE}\r\nX-Pad: y\r\n\r\n");
    stream.write_all(&[head.as_bytes(), &half].concat())?;
    stream.flush()?;
    std::thread::sleep(PAUSE);
    stream.write_all(&half)?;
    stream.flush()?;
    // The client closes.
    let _ = stream.read(&mut piece);
    Ok(())
}

fn config(version: &'static SupportedProtocolVersion) -> Arc<ServerConfig> {
    let certificate = include_bytes!("../../tests/tls/certificate.der").to_vec();
    let key = PrivatePkcs8KeyDer::from(include_bytes!("../../tests/tls/key.der").to_vec());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .expect("a version that there is")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.into()], key.into())
        .expect("a key that fits");
    // Tickets would arrive between the handshake and the page, and be taken for it by the tap.
    config.send_tls13_tickets = 0;
    Arc::new(config)
}
