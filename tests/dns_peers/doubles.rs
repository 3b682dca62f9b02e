//! Servers that do what no good server does.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    thread,
};

use crate::{message, run};

/// A UDP server for one query; `act` answers it.
fn udp(address: &str, act: impl FnOnce(&UdpSocket, SocketAddr, &mut [u8]) + Send + 'static) -> u16 {
    let socket = UdpSocket::bind((address, 0)).expect("a socket");
    let port = socket.local_addr().expect("its address").port();
    thread::spawn(move || {
        let mut query = [0; 512];
        let (length, from) = socket.recv_from(&mut query).expect("a query");
        query[2] |= 0x80;
        act(&socket, from, &mut query[..length]);
    });
    port
}

/// A TCP server for one connection; `act` is given the query with its length.
fn tcp(act: impl FnOnce(TcpStream, Vec<u8>) + Send + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a socket");
    let port = listener.local_addr().expect("its address").port();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        stream.set_nodelay(true).expect("an option");
        let mut query = vec![0; 512];
        let length = stream.read(&mut query).expect("a query");
        query.truncate(length);
        act(stream, query);
    });
    port
}

#[test]
fn wrong_ids_short_datagrams_and_other_ports_are_not_the_reply() {
    for address in ["127.0.0.1", "::1"] {
        let family = if address == "::1" { "-6" } else { "-4" };
        let port = udp(address, move |socket, from, query| {
            let stranger = UdpSocket::bind((address, 0)).expect("a socket");
            stranger.send_to(query, from).expect("a spoofed reply");
            socket.send_to(&query[..11], from).expect("a short reply");
            query[1] ^= 1;
            socket.send_to(query, from).expect("a foreign reply");
            query[1] ^= 1;
            query[3] = 5;
            socket.send_to(query, from).expect("the reply");
        });
        let ran = run(&format!("evtdig {family} --port {port} -h {address}"));
        let counts = ran.body.counts;
        let entry = ran.answered();
        assert_eq!(message(&entry)[3], 5);
        assert_eq!((counts.short, counts.martians, counts.received), (1, 1, 2));
    }
}

#[test]
fn nobody_listens_and_nobody_answers() {
    // The port is taken but not read from.
    let silent = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let port = silent.local_addr().expect("its address").port();
    let ran = run(&format!("evtdig --timeout 50 --port {port} -h 127.0.0.1"));
    assert_eq!(ran.error(), r#"{ "timeout" : 50}"#);
    drop(silent);
    let ran = run(&format!("evtdig --timeout 50 --port {port} -h 127.0.0.1"));
    assert_eq!(
        ran.error(),
        r#"{ "timeout" : 50}"#,
        "an ICMP error is a time-out"
    );
    assert_eq!(ran.body.counts.receive_errors, 1, "and is counted");
}

#[test]
fn a_repeat_is_answered() {
    let port = {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let port = socket.local_addr().expect("its address").port();
        thread::spawn(move || {
            let mut query = [0; 512];
            socket.recv_from(&mut query).expect("the first, lost");
            let (length, from) = socket.recv_from(&mut query).expect("the second");
            socket.send_to(&query[..length], from).expect("its reply");
        });
        port
    };
    let entry = run(&format!(
        "evtdig --retry 3 --timeout 100 --port {port} -h 127.0.0.1"
    ))
    .answered();
    assert_eq!(entry.retries, 1);
}

#[test]
fn a_long_datagram_is_cut() {
    let port = udp("127.0.0.1", |socket, from, query| {
        let mut long = query.to_vec();
        long.resize(6000, 0);
        socket.send_to(&long, from).expect("a reply");
    });
    let entry = run(&format!("evtdig --port {port} -h 127.0.0.1")).answered();
    assert_eq!(message(&entry).len(), 5120);
}

#[test]
fn a_stream_in_single_bytes_and_with_bytes_behind_it() {
    let port = tcp(|mut stream, query| {
        for byte in query {
            stream.write_all(&[byte]).expect("a byte");
        }
        stream.write_all(&[0; 1000]).expect("more");
        let _ = stream.read(&mut [0]);
    });
    let entry = run(&format!("evtdig -t --qbuf --port {port} -h 127.0.0.1")).answered();
    assert_eq!(message(&entry), entry.query.as_deref().expect("a query"));
}

#[test]
fn streams_that_end_early_or_lie() {
    let cut = tcp(|mut stream, query| stream.write_all(&query[..20]).expect("half a reply"));
    let ran = run(&format!("evtdig -t --port {cut} -h 127.0.0.1"));
    assert_eq!(ran.error(), r#"{ "TU_READ_ERR" : ""}"#);
    let small = tcp(|mut stream, _| {
        stream.write_all(&[0, 7]).expect("a length");
        let _ = stream.read(&mut [0]);
    });
    let ran = run(&format!("evtdig -t --port {small} -h 127.0.0.1"));
    assert_eq!(
        ran.error(),
        r#"{ "TCPREADSIZE" :  "reply too small, got 7"}"#
    );
    let foreign = tcp(|mut stream, mut query| {
        query[3] ^= 1;
        stream.write_all(&query).expect("a foreign reply");
        let _ = stream.read(&mut [0]);
    });
    let ran = run(&format!("evtdig -t --port {foreign} -h 127.0.0.1"));
    assert_eq!(
        ran.error(),
        r#"{  "idmismatch" : "mismatch id from tcp fd 31"}"#
    );
}

#[test]
fn a_refused_connection_and_a_reset() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a socket");
    let port = listener.local_addr().expect("its address").port();
    drop(listener);
    for words in ["-t", "--tls", "--https"] {
        let ran = run(&format!(
            "evtdig {words} --retry 1 --port {port} -h 127.0.0.1"
        ));
        assert_eq!(ran.error(), r#"{ "TUCONNECT" : "Connection refused"}"#);
        assert_eq!(ran.body.entries[0].retries, 1);
    }
    let reset = tcp(|stream, _| {
        let socket = socket2::SockRef::from(&stream);
        socket
            .set_linger(Some(std::time::Duration::ZERO))
            .expect("an option");
    });
    let ran = run(&format!("evtdig -t --port {reset} -h 127.0.0.1"));
    assert_eq!(ran.error(), r#"{ "TU_READ_ERR" : ""}"#);
}

#[test]
fn a_half_open_stream_is_given_up_after_five_seconds_whatever_is_printed() {
    // Never accepted: the kernel's backlog takes the connection and the query.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a socket");
    let port = listener.local_addr().expect("its address").port();
    let ran = run(&format!(
        "evtdig -t --qbuf --timeout 10 --port {port} -h 127.0.0.1"
    ));
    assert_eq!(ran.error(), r#"{ "timeout" : 10}"#);
    assert!(ran.body.entries[0].query.is_some());
}

#[test]
fn a_server_that_speaks_plain_text_where_tls_is_expected() {
    for words in ["--tls", "--https"] {
        let port = tcp(|mut stream, _| {
            stream
                .write_all(b"220 hello there\r\n")
                .expect("a greeting");
            let _ = stream.read(&mut [0]);
        });
        let ran = run(&format!("evtdig {words} --port {port} -h 127.0.0.1"));
        assert_eq!(
            ran.error(),
            r#"{ "TUCONNECT" : "the server does not speak TLS"}"#,
            "{}",
            ran.line
        );
    }
}
