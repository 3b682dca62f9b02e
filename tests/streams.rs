//! Streams on loopback: what a machine is told of connecting, of TLS, of bytes and of ends.

#![allow(
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking and speaks on stdout"
)]

#[path = "support/script.rs"]
#[allow(dead_code, reason = "shared with the namespace tests")]
mod script;

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use rustls::{ServerConfig, ServerConnection, pki_types::PrivatePkcs8KeyDer};
use script::{Told, done, net, open_net, watch};
use starling::{
    clock::{Now, Tick},
    measurement::machine::{
        Call, Failure, Handle, Input, Machine, Output, Stream, Tls, TlsFailure,
    },
    net::Precision,
};

const ON: Handle = Handle(0);

/// Connects, writes `request`, reads until the stream ends, in pieces of at most `piece`.
struct Client {
    stream: Stream,
    request: Vec<u8>,
    piece: usize,
    deadline: Option<Tick>,
}

impl Client {
    fn new(to: SocketAddr, tls: Option<Tls>, request: &[u8]) -> Self {
        Self {
            stream: Stream {
                to,
                bind: None,
                tls,
            },
            request: request.to_vec(),
            piece: 1_000,
            deadline: None,
        }
    }

    fn run(self) -> Vec<Told> {
        script::block_on(watch(&open_net(), Box::new(self)))
    }
}

impl Machine for Client {
    fn handle(&mut self, now: &mut Now, input: Input) -> Vec<Output> {
        match input {
            Input::Start => {
                self.deadline = Some(now.peek() + Duration::from_secs(5));
                vec![Output::Connect {
                    on: ON,
                    stream: self.stream.clone(),
                }]
            }
            Input::Connected { .. } => {
                vec![
                    Output::Write {
                        on: ON,
                        bytes: self.request.clone(),
                    },
                    Output::Await { on: ON },
                ]
            }
            Input::Readable { .. } => vec![Output::Read {
                on: ON,
                max: self.piece,
            }],
            Input::Read { .. } => vec![Output::Await { on: ON }],
            Input::Stamped { .. } | Input::Written { .. } => Vec::new(),
            _ => vec![done()],
        }
    }

    fn deadline(&self) -> Option<Tick> {
        self.deadline
    }
}

fn received(told: &[Told]) -> Vec<u8> {
    told.iter()
        .filter_map(|told| match &told.input {
            Input::Read { bytes, .. } => Some(bytes.clone()),
            _ => None,
        })
        .flatten()
        .collect()
}

fn last(told: &[Told]) -> &Input {
    &told.last().expect("something is always told").input
}

/// Serves one connection.
fn serve(
    address: &str,
    work: impl FnOnce(TcpStream) + Send + 'static,
) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind(address).expect("loopback");
    let to = listener.local_addr().expect("bound");
    let served = thread::spawn(move || work(listener.accept().expect("a client").0));
    (to, served)
}

fn tls_server(alpn: &[&[u8]]) -> Arc<ServerConfig> {
    let certificate = include_bytes!("tls/certificate.der").to_vec().into();
    let key = PrivatePkcs8KeyDer::from(include_bytes!("tls/key.der").to_vec());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key.into())
        .expect("a key that fits");
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    Arc::new(config)
}

#[test]
fn bytes_are_written_and_pulled_until_the_peer_closes() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let (to, served) = serve(address, |mut peer| {
            let mut request = [0; 5];
            peer.read_exact(&mut request).expect("a request");
            assert_eq!(&request, b"hello");
            peer.write_all(&[7; 5_000]).expect("a reader");
        });
        let told = Client::new(to, None, b"hello").run();
        served.join().expect("the server ended");
        assert_eq!(received(&told), [7; 5_000]);
        assert_eq!(
            *last(&told),
            Input::Ended {
                on: ON,
                errno: None
            }
        );
        let reads = told.iter().filter_map(|told| match &told.input {
            Input::Read { bytes, .. } => Some(bytes.len()),
            _ => None,
        });
        assert!(reads.max() <= Some(1_000));
        let connected = told.iter().find_map(|told| match &told.input {
            Input::Connected {
                local, handshake, ..
            } => Some((*local, *handshake)),
            _ => None,
        });
        let (local, handshake) = connected.expect("connected");
        assert_eq!(local.ip(), to.ip());
        assert!(local.port() != 0 && handshake.is_some(), "{handshake:?}");
        times_are_the_kernels(&told, handshake);
        let kernel = told
            .iter()
            .filter(|told| matches!(told.input, Input::Readable { .. }));
        assert!(kernel.clone().count() > 0);
        assert!(
            kernel
                .into_iter()
                .all(|told| told.precision == Precision::Kernel),
            "{told:#?}"
        );
    }
}

/// A connection stands when the kernel says so, whenever that was noticed; a request is no later than its answer.
fn times_are_the_kernels(told: &[Told], handshake: Option<Duration>) {
    let find = |wanted: fn(&Input) -> bool| {
        let found = told.iter().find(|told| wanted(&told.input));
        found.expect("told").clone()
    };
    let began = find(|input| matches!(input, Input::Stamped { tag: 0, .. }));
    let connected = find(|input| matches!(input, Input::Connected { .. }));
    assert_eq!(connected.precision, Precision::Kernel);
    assert_eq!(Some(connected.at.since(began.at)), handshake);
    let written = find(|input| matches!(input, Input::Written { .. }));
    let readable = find(|input| matches!(input, Input::Readable { .. }));
    assert!(connected.at <= written.at && written.at <= readable.at);
}

#[test]
fn a_refused_connection_fails_with_its_errno() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let to = listener.local_addr().expect("bound");
    drop(listener);
    let told = Client::new(to, None, b"").run();
    let cause = Failure::Os {
        call: Call::Connect,
        errno: nix::libc::ECONNREFUSED,
    };
    assert_eq!(
        *last(&told),
        Input::Failed {
            on: ON,
            tag: None,
            cause
        }
    );
}

#[test]
fn the_address_policy_holds_for_streams() {
    let to: SocketAddr = "127.0.0.1:80".parse().expect("an address");
    let client = Client::new(to, None, b"");
    let told = script::block_on(watch(&net(), Box::new(client)));
    let cause = Failure::Forbidden(to.ip());
    assert_eq!(
        *last(&told),
        Input::Failed {
            on: ON,
            tag: None,
            cause
        }
    );
}

#[test]
fn binding_to_what_is_not_there_fails() {
    let (to, served) = serve("127.0.0.1:0", |_| {});
    let mut client = Client::new(to, None, b"");
    client.stream.bind = Some("192.0.2.77".to_owned());
    let told = client.run();
    assert_eq!(
        *last(&told),
        Input::Failed {
            on: ON,
            tag: None,
            cause: Failure::Bind
        }
    );
    drop(TcpStream::connect(to).expect("still listening"));
    served.join().expect("the server ended");
}

#[test]
fn a_reset_ends_with_its_errno() {
    let (to, served) = serve("127.0.0.1:0", |mut peer| {
        // Once the client knows that it is connected: a reset that comes before is a connect that failed.
        peer.read_exact(&mut [0; 5]).expect("a request");
        let peer = socket2::Socket::from(peer);
        peer.set_linger(Some(Duration::ZERO)).expect("linger");
    });
    let told = Client::new(to, None, b"hello").run();
    served.join().expect("the server ended");
    let errno = Some(nix::libc::ECONNRESET);
    assert_eq!(*last(&told), Input::Ended { on: ON, errno });
}

fn tls(verify: Option<&str>) -> Tls {
    Tls {
        sni: Some("target.example".to_owned()),
        alpn: vec![b"h2".to_vec()],
        verify: verify.map(str::to_owned),
        ..Tls::default()
    }
}

#[test]
fn a_tls_stream_tells_what_was_agreed_and_carries_bytes() {
    let (to, served) = serve("127.0.0.1:0", |mut peer| {
        let mut connection = ServerConnection::new(tls_server(&[b"h2"])).expect("a server");
        let mut tls = rustls::Stream::new(&mut connection, &mut peer);
        let mut request = [0; 5];
        tls.read_exact(&mut request).expect("a request");
        tls.write_all(&vec![9; 100_000]).expect("a reader");
        tls.conn.send_close_notify();
        tls.flush().expect("a reader");
    });
    let told = Client::new(to, Some(tls(None)), b"hello").run();
    served.join().expect("the server ended");
    assert_eq!(received(&told), vec![9; 100_000]);
    assert_eq!(
        *last(&told),
        Input::Ended {
            on: ON,
            errno: None
        }
    );
    let session = told.iter().find_map(|told| match &told.input {
        Input::Connected { tls, .. } => Some((tls.clone(), told.precision)),
        _ => None,
    });
    let (session, precision) = session.expect("connected");
    // When the server's last word of the handshake arrived.
    assert_eq!(precision, Precision::Kernel);
    let session = session.expect("TLS was asked for");
    assert_eq!(session.version, 0x0304);
    assert!((0x1301..=0x1303).contains(&session.cipher));
    assert_eq!(session.alpn.as_deref(), Some(&b"h2"[..]));
    assert_eq!(
        session.certificates,
        [include_bytes!("tls/certificate.der").to_vec()]
    );
}

#[test]
fn a_checked_certificate_that_nobody_trusts_fails() {
    let (to, served) = serve("127.0.0.1:0", |mut peer| {
        let mut connection = ServerConnection::new(tls_server(&[])).expect("a server");
        connection
            .complete_io(&mut peer)
            .expect_err("the client gives up");
    });
    let told = Client::new(to, Some(tls(Some("target.example"))), b"").run();
    served.join().expect("the server ended");
    let Input::Failed {
        cause: Failure::Tls(TlsFailure::Certificate(text)),
        ..
    } = last(&told)
    else {
        panic!("{told:#?}");
    };
    assert!(text.contains("certificate"), "{text}");
}

#[test]
fn an_alert_a_close_and_another_protocol_are_told_apart() {
    let cases: [(&[u8], TlsFailure); 3] = [
        (&[21, 3, 3, 0, 2, 2, 70], TlsFailure::Alert(70)),
        (&[], TlsFailure::Closed),
        (b"HTTP/1.0 400 Bad Request\r\n\r\n", TlsFailure::NotTls),
    ];
    for (answer, expected) in cases {
        let (to, served) = serve("127.0.0.1:0", move |mut peer| {
            let mut hello = [0; 5];
            peer.read_exact(&mut hello).expect("a hello");
            let mut rest = vec![0; usize::from(u16::from_be_bytes([hello[3], hello[4]]))];
            peer.read_exact(&mut rest).expect("the rest of it");
            peer.write_all(answer).expect("a reader");
        });
        let told = Client::new(to, Some(tls(None)), b"").run();
        served.join().expect("the server ended");
        let cause = Failure::Tls(expected);
        assert_eq!(
            *last(&told),
            Input::Failed {
                on: ON,
                tag: None,
                cause
            }
        );
    }
}
