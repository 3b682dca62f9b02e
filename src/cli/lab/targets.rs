//! What the lab measures against: small servers on loopback that answer as the real ones do.
//!
//! They serve the lab's own probe only, and anything else that comes is dropped.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
};

use hickory_proto::{
    op::{Message, MessageType},
    rr::{RData, Record, RecordType, rdata},
};
use rustls::{
    ServerConfig, ServerConnection,
    crypto::ring,
    pki_types::{CertificateDer, PrivatePkcs8KeyDer},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UdpSocket},
    task::JoinSet,
};

use crate::{
    clock::Clock,
    wire::ntp::{self, Ntp, Short, Timestamp},
};

/// The port of NTP, which the measurement cannot change.
const NTP: u16 = 123;
/// An address of our own, so that a time server of the host is not in the way.
const NTP_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 3));
/// Connections that are served at once; more wait.
const CONNECTIONS: usize = 16;
/// Bytes of a request that are read at most.
const REQUEST: usize = 8192;

/// The lab's certificate and key. No secret: nobody trusts them, and whoever has the source has them.
const CERTIFICATE: &[u8] = include_bytes!("certificate.der");
const KEY: &[u8] = include_bytes!("key.der");

/// The servers, for as long as it is kept.
pub(super) struct Targets {
    /// DNS over UDP and TCP.
    pub(super) dns: SocketAddr,
    /// HTTP.
    pub(super) http: SocketAddr,
    /// TLS, with a certificate of the lab's own.
    pub(super) tls: SocketAddr,
    /// NTP, unless its port cannot be had.
    pub(super) ntp: Option<IpAddr>,
    _tasks: JoinSet<()>,
}

impl Targets {
    /// Starts all servers.
    ///
    /// # Errors
    /// No port of the loopback can be had.
    pub(super) async fn start(clock: Clock) -> io::Result<Self> {
        let mut tasks = JoinSet::new();
        let dns_tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let dns = dns_tcp.local_addr()?;
        let dns_udp = UdpSocket::bind(dns).await?;
        let http_listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let http = http_listener.local_addr()?;
        let tls_listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let tls = tls_listener.local_addr()?;
        let config = tls_config()?;
        tasks.spawn(serve_dns(dns_udp));
        tasks.spawn(accept(dns_tcp, answer_dns));
        tasks.spawn(accept(http_listener, answer_http));
        tasks.spawn(accept(tls_listener, move |stream| {
            answer_tls(Arc::clone(&config), stream)
        }));
        let ntp = match UdpSocket::bind((NTP_ADDRESS, NTP)).await {
            Ok(socket) => {
                tasks.spawn(serve_ntp(socket, clock));
                Some(NTP_ADDRESS)
            }
            Err(_) => None,
        };
        Ok(Self {
            dns,
            http,
            tls,
            ntp,
            _tasks: tasks,
        })
    }
}

async fn serve_ntp(socket: UdpSocket, clock: Clock) {
    let mut buffer = [0; 1500];
    loop {
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else {
            continue;
        };
        let received = Timestamp::from_unix_nanos(clock.unix().nanos());
        let Ok(request) = Ntp::parse(&buffer[..length]) else {
            continue;
        };
        if request.mode != ntp::CLIENT {
            continue;
        }
        let mut reply = Ntp {
            leap: 0,
            version: request.version,
            mode: ntp::SERVER,
            stratum: 1,
            poll: request.poll,
            precision: -20,
            root_delay: Short(0),
            root_dispersion: Short(0),
            reference_id: *b"LAB\0",
            reference: received,
            origin: request.transmit,
            receive: received,
            transmit: received,
        };
        reply.transmit = Timestamp::from_unix_nanos(clock.unix().nanos());
        let _ = socket.send_to(&reply.emit(), from).await;
    }
}

async fn serve_dns(socket: UdpSocket) {
    let mut buffer = [0; 1500];
    loop {
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else {
            continue;
        };
        if let Some(reply) = dns_reply(&buffer[..length]) {
            let _ = socket.send_to(&reply, from).await;
        }
    }
}

async fn answer_dns(mut stream: TcpStream) -> io::Result<()> {
    let length = stream.read_u16().await?;
    let mut query = vec![0; usize::from(length)];
    stream.read_exact(&mut query).await?;
    if let Some(reply) = dns_reply(&query) {
        let mut framed = u16::try_from(reply.len())
            .unwrap_or(0)
            .to_be_bytes()
            .to_vec();
        framed.extend(reply);
        stream.write_all(&framed).await?;
    }
    stream.shutdown().await
}

/// Every name has an address here, and a text that says where it is.
fn dns_reply(query: &[u8]) -> Option<Vec<u8>> {
    let query = Message::from_vec(query).ok()?;
    if query.metadata.message_type != MessageType::Query {
        return None;
    }
    let question = query.queries.first()?;
    let data = match question.query_type() {
        RecordType::A => Some(RData::A(rdata::A::new(192, 0, 2, 1))),
        RecordType::AAAA => Some(RData::AAAA(rdata::AAAA::new(
            0x2001, 0xdb8, 0, 0, 0, 0, 0, 1,
        ))),
        RecordType::TXT => Some(RData::TXT(rdata::TXT::new(vec!["starling lab".to_owned()]))),
        _ => None,
    };
    let mut reply = query.clone();
    reply.metadata.message_type = MessageType::Response;
    reply.metadata.authoritative = true;
    if let Some(data) = data {
        let mut record = Record::from_rdata(question.name().clone(), 60, data);
        record.dns_class = question.query_class();
        reply.add_answer(record);
    }
    reply.to_vec().ok()
}

async fn answer_http(mut stream: TcpStream) -> io::Result<()> {
    let mut request = Vec::new();
    while !request.windows(4).any(|end| end == b"\r\n\r\n") && request.len() < REQUEST {
        if stream.read_buf(&mut request).await? == 0 {
            break;
        }
    }
    let body = "Hello, probe.\n";
    let response = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(response.as_bytes()).await?;
    stream.shutdown().await
}

/// A server of TLS 1.2 and 1.3 that shows the lab's certificate.
fn tls_config() -> io::Result<Arc<ServerConfig>> {
    let config = ServerConfig::builder_with_provider(ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .and_then(|builder| {
            builder.with_no_client_auth().with_single_cert(
                vec![CertificateDer::from(CERTIFICATE)],
                PrivatePkcs8KeyDer::from(KEY).into(),
            )
        })
        .map_err(io::Error::other)?;
    Ok(Arc::new(config))
}

/// Shakes hands, or tells by an alert why not, and closes.
async fn answer_tls(config: Arc<ServerConfig>, mut stream: TcpStream) -> io::Result<()> {
    let mut tls = ServerConnection::new(config).map_err(io::Error::other)?;
    let mut received = Vec::new();
    while tls.is_handshaking() {
        received.clear();
        if stream.read_buf(&mut received).await? == 0 {
            return Ok(());
        }
        let mut records = received.as_slice();
        while !records.is_empty() {
            tls.read_tls(&mut records)?;
            if tls.process_new_packets().is_err() {
                send_records(&mut tls, &mut stream).await?;
                return stream.shutdown().await;
            }
        }
        send_records(&mut tls, &mut stream).await?;
    }
    tls.send_close_notify();
    send_records(&mut tls, &mut stream).await?;
    stream.shutdown().await
}

async fn send_records(tls: &mut ServerConnection, stream: &mut TcpStream) -> io::Result<()> {
    let mut records = Vec::new();
    while tls.wants_write() {
        tls.write_tls(&mut records)?;
    }
    stream.write_all(&records).await
}

async fn accept<F>(listener: TcpListener, answer: impl Fn(TcpStream) -> F)
where
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    let mut connections = JoinSet::new();
    loop {
        if connections.len() >= CONNECTIONS {
            connections.join_next().await;
        }
        if let Ok((stream, _)) = listener.accept().await {
            connections.spawn(answer(stream));
        }
        while connections.try_join_next().is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_an_address() {
        let query = crate::wire::dns::Query {
            id: 7,
            flags: 0,
            name: crate::wire::dns::encode_name(b"www.example.com.").unwrap(),
            rtype: 1,
            class: 1,
            opt: None,
        };
        let reply = dns_reply(&query.emit()).unwrap();
        assert_eq!(reply[..2], [0, 7]);
        assert_eq!(reply[reply.len() - 4..], [192, 0, 2, 1]);
        assert_eq!(dns_reply(&reply), None, "a reply is not answered");
        assert_eq!(dns_reply(b"nonsense"), None);
    }

    #[tokio::test]
    async fn a_hello_that_is_none_gets_an_alert() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut client = TcpStream::connect(address).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        // A handshake record with a hello of no octets.
        let hello = [22, 3, 1, 0, 4, 1, 0, 0, 0];
        client.write_all(&hello).await.unwrap();
        answer_tls(tls_config().unwrap(), server).await.unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        // An alert, fatal: `decode_error`.
        assert_eq!((answer[0], &answer[5..]), (21, &[2, 50][..]));
    }
}
