//! A server of each kind on loopback: what every type of measurement can be made against.
//!
//! Threads and blocking sockets; each answers as briefly as its protocol allows. They end with the process.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, UdpSocket},
    sync::Arc,
    thread,
    time::Duration,
};

use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    crypto::ring::default_provider,
    pki_types::{CertificateDer, PrivatePkcs8KeyDer},
};

/// Where the servers are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Everybody {
    /// DNS over UDP and TCP.
    pub(crate) dns: u16,
    /// DNS over TLS.
    pub(crate) dot: u16,
    /// DNS over HTTPS.
    pub(crate) doh: u16,
    pub(crate) http: u16,
    /// HTTP over TLS; for certificates too.
    pub(crate) https: u16,
    /// Whether there is one on port 123.
    pub(crate) ntp: bool,
}

/// What a server does with a connection.
type Serve = fn(&mut dyn Stream) -> io::Result<()>;

pub(crate) trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

/// Starts them all.
pub(crate) fn start() -> Everybody {
    let udp = UdpSocket::bind("127.0.0.1:0").expect("loopback has a free port");
    let dns = udp.local_addr().expect("it is bound");
    tcp(dns, None, dns_stream);
    thread::spawn(move || {
        let mut packet = [0; 1500];
        while let Ok((len, from)) = udp.recv_from(&mut packet) {
            if let Some(reply) = dns_reply(&packet[..len]) {
                // Whoever asked may have gone.
                let _ = udp.send_to(&reply, from);
            }
        }
    });
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let ntp = UdpSocket::bind("127.0.0.1:123").ok();
    let has_ntp = ntp.is_some();
    if let Some(socket) = ntp {
        thread::spawn(move || serve_ntp(&socket));
    }
    Everybody {
        dns: dns.port(),
        dot: tcp(any, Some(&[]), dns_stream),
        doh: tcp(any, Some(&[b"h2"]), doh),
        http: tcp(any, None, http),
        https: tcp(any, Some(&[]), http),
        ntp: has_ntp,
    }
}

impl Everybody {
    /// A command of every type and transport, with its measurement number.
    pub(crate) fn commands(&self) -> Vec<(u32, String)> {
        let Self {
            dns,
            dot,
            doh,
            http,
            https,
            ntp,
        } = self;
        let query = "--type 1 --class 1 --query www.everybody.test.";
        let mut commands = vec![
            "evping -4 -c 2 -i 200 -A 1101 127.0.0.1".to_owned(),
            "evtraceroute -4 -I -c 1 -A 5101 127.0.0.1".to_owned(),
            "evtraceroute -4 -U -c 1 -A 5102 127.0.0.1".to_owned(),
            format!("evtraceroute -4 -T -c 1 -p {http} -A 5103 127.0.0.1"),
            format!("evtdig -4 --port {dns} {query} -A 10101 127.0.0.1"),
            format!("evtdig -4 -t --port {dns} {query} -A 10102 127.0.0.1"),
            format!("evtdig -4 --tls --port {dot} {query} -A 10103 127.0.0.1"),
            format!("evtdig -4 --https --port {doh} {query} -A 10104 127.0.0.1"),
            format!("evhttpget -4 -A 12101 http://127.0.0.1:{http}/"),
            format!("evhttpget -4 -A 12102 https://127.0.0.1:{https}/"),
            format!("evsslgetcert -4 -p {https} -A 14101 127.0.0.1"),
        ];
        if *ntp {
            commands.push("evntp -4 -c 1 -A 9101 127.0.0.1".to_owned());
        }
        commands
            .into_iter()
            .map(|command| {
                let mut words = command.split(' ');
                words.find(|word| *word == "-A");
                let id = words.next().and_then(|id| id.parse().ok());
                (id.expect("each has one"), command)
            })
            .collect()
    }
}

/// A server of TCP, or of TLS with these application protocols; its port.
fn tcp(at: SocketAddr, tls: Option<&[&[u8]]>, serve: Serve) -> u16 {
    let listener = TcpListener::bind(at).expect("loopback has a free port");
    let port = listener.local_addr().expect("it is bound").port();
    let tls = tls.map(|protocols| Arc::new(server_config(protocols)));
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let tls = tls.clone();
            thread::spawn(move || {
                let patience = Some(Duration::from_secs(10));
                let _ = stream.set_read_timeout(patience);
                // A client that goes away ends its own connection only.
                let _ = match tls {
                    None => converse(stream, serve),
                    Some(config) => ServerConnection::new(config)
                        .map_err(io::Error::other)
                        .and_then(|tls| converse(StreamOwned::new(tls, stream), serve)),
                };
            });
        }
    });
    port
}

fn converse(mut stream: impl Stream, serve: Serve) -> io::Result<()> {
    serve(&mut stream)?;
    stream.flush()
}

fn server_config(protocols: &[&[u8]]) -> ServerConfig {
    let mut config = ServerConfig::builder_with_provider(default_provider().into())
        .with_safe_default_protocol_versions()
        .expect("the defaults are safe")
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from(
                include_bytes!("../tls/certificate.der").as_slice(),
            )],
            PrivatePkcs8KeyDer::from(include_bytes!("../tls/key.der").as_slice()).into(),
        )
        .expect("the key is the certificate's");
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    config
}

/// An address for any question.
fn dns_reply(query: &[u8]) -> Option<Vec<u8>> {
    let mut end = 12;
    while *query.get(end)? != 0 {
        end += usize::from(query[end]) + 1;
    }
    end += 5;
    let mut reply = query.get(..2)?.to_vec();
    reply.extend([0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
    reply.extend(query.get(12..end)?);
    reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1]);
    Some(reply)
}

/// Messages with their length in front (RFC 7766 section 8).
fn dns_stream(stream: &mut dyn Stream) -> io::Result<()> {
    loop {
        let mut length = [0; 2];
        stream.read_exact(&mut length)?;
        let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut query)?;
        let reply = dns_reply(&query).ok_or(io::ErrorKind::InvalidData)?;
        let length = u16::try_from(reply.len()).map_err(io::Error::other)?;
        stream.write_all(&[&length.to_be_bytes()[..], &reply].concat())?;
        stream.flush()?;
    }
}

/// One question over HTTP/2 (RFC 8484, RFC 9113).
fn doh(stream: &mut dyn Stream) -> io::Result<()> {
    stream.read_exact(&mut [0; 24])?;
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        stream.read_exact(&mut payload)?;
        if head[3] != 0 {
            continue;
        }
        let reply = dns_reply(&payload).ok_or(io::ErrorKind::InvalidData)?;
        // `:status 200` of the static table, `content-type` as a literal with that table's name 31.
        let mut fields = vec![0x88, 0x0f, 0x10, 23];
        fields.extend(b"application/dns-message");
        let mut answer = frame(4, 0, 0, &[]);
        answer.extend(frame(1, 4, 1, &fields));
        answer.extend(frame(0, 1, 1, &reply));
        stream.write_all(&answer)?;
        return stream.flush();
    }
}

fn frame(kind: u8, flags: u8, on: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or(0).to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend(on.to_be_bytes());
    frame.extend(payload);
    frame
}

/// One request, whatever it is.
fn http(stream: &mut dyn Stream) -> io::Result<()> {
    let mut seen = Vec::new();
    while !seen.ends_with(b"\r\n\r\n") && seen.len() < 8192 {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        seen.push(byte[0]);
    }
    stream
        .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nhello\n")?;
    stream.flush()
}

/// Stratum 1, and the client's own time as everything else.
fn serve_ntp(socket: &UdpSocket) {
    let mut packet = [0; 128];
    while let Ok((len, from)) = socket.recv_from(&mut packet) {
        if len < 48 {
            continue;
        }
        let mut reply = packet[..48].to_vec();
        // No leap second, the client's version, mode 4; stratum 1.
        reply[0] = (packet[0] & 0x38) | 4;
        reply[1] = 1;
        let sent: Vec<u8> = packet[40..48].to_vec();
        reply[24..32].copy_from_slice(&sent);
        reply[32..40].copy_from_slice(&sent);
        let _ = socket.send_to(&reply, from);
    }
}
