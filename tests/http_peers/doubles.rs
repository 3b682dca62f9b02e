//! Servers that do what no good server does.

use std::{
    fs,
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    thread::{self, JoinHandle},
    time::Duration,
};

use starling::{
    measurement::{Body, http::Entry},
    net::recording,
};

use crate::{run, run_with};

/// A server for one connection at `address`; `act` is given the connection once a whole request header was read.
/// What it returns can be waited for.
fn server<T: Send + 'static>(
    address: &str,
    act: impl FnOnce(TcpStream, String) -> T + Send + 'static,
) -> (u16, JoinHandle<T>) {
    raw_server(address, |mut stream| {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            assert_eq!(stream.read(&mut byte).expect("a request"), 1);
            request.push(byte[0]);
        }
        act(stream, String::from_utf8(request).expect("text"))
    })
}

/// The same without reading anything.
fn raw_server<T: Send + 'static>(
    address: &str,
    act: impl FnOnce(TcpStream) -> T + Send + 'static,
) -> (u16, JoinHandle<T>) {
    let listener = TcpListener::bind((address, 0)).expect("a socket");
    let port = listener.local_addr().expect("its address").port();
    let thread = thread::spawn(move || {
        let (stream, _) = listener.accept().expect("a connection");
        stream.set_nodelay(true).expect("an option");
        act(stream)
    });
    (port, thread)
}

/// Waits until the client closes.
fn linger(mut stream: TcpStream) {
    let mut rest = [0; 256];
    while stream.read(&mut rest).is_ok_and(|length| length > 0) {}
}

/// A server that sends `response` and then waits for the client to close.
fn serving(response: impl Into<Vec<u8>>) -> u16 {
    let response = response.into();
    let (port, _) = server("127.0.0.1", move |mut stream, _| {
        stream.write_all(&response).expect("a response");
        linger(stream);
    });
    port
}

/// A server that sends `response` and closes.
fn closing_after(response: impl Into<Vec<u8>>) -> u16 {
    let response = response.into();
    let (port, _) = server("127.0.0.1", move |mut stream, _| {
        stream.write_all(&response).expect("a response");
    });
    port
}

/// A server that sends `piece` over and over until the client has had enough.
fn endless(start: &str, piece: Vec<u8>) -> u16 {
    let start = start.to_owned();
    let (port, _) = server("127.0.0.1", move |mut stream, _| {
        let mut sent = stream.write_all(start.as_bytes());
        while sent.is_ok() {
            sent = stream.write_all(&piece);
        }
    });
    port
}

const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

#[test]
fn the_request_arrives_as_specified_over_both_families() {
    for (address, host, family) in [("127.0.0.1", "127.0.0.1", 4), ("::1", "[::1]", 6)] {
        let (port, request) = server(address, |mut stream, request| {
            let response = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
            stream.write_all(response).expect("a response");
            linger(stream);
            request
        });
        let ran = run(&format!(
            "evhttpget --user-agent me http://{host}:{port}/x?y"
        ));
        assert_eq!(ran.sizes(), (200, 19, 2));
        let response = ran.response();
        assert_eq!(response.family, family);
        assert_eq!(
            (&*response.destination, response.source.as_deref()),
            (address, Some(address))
        );
        assert_eq!(
            request.join().expect("a request"),
            format!(
                "GET /x?y HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\nUser-Agent: me\r\n\r\n"
            )
        );
    }
}

#[test]
fn a_response_byte_by_byte_is_the_same() {
    let (port, _) = server("127.0.0.1", |mut stream, _| {
        let response = format!("{CHUNKED}5\r\nhello\r\n3\r\nabc\r\n0\r\nA: b\r\n\r\n");
        for byte in response.into_bytes() {
            stream.write_all(&[byte]).expect("a byte");
        }
        linger(stream);
    });
    let ran = run(&format!("evhttpget --eetim http://127.0.0.1:{port}/"));
    assert_eq!(ran.sizes(), (200, 28, 8));
    let complete = ran.complete();
    let timing = complete.timing.expect("timing");
    assert!(timing.connect > 0.0 && timing.first_byte > 0.0);
    assert!(complete.ms >= timing.first_byte, "{complete:?}");
    let reads = ran.response().reads.expect("reading times");
    assert_eq!(reads[0].offset, 0);
    assert!(reads.is_sorted_by(|a, b| a.offset < b.offset && a.ms <= b.ms));
}

#[test]
fn a_server_that_never_says_anything_runs_into_the_timer() {
    let (port, _) = raw_server("127.0.0.1", linger);
    let ran = run(&format!("evhttpget --timeout 200 http://127.0.0.1:{port}/"));
    assert_eq!(ran.error(), "timeout reading status");
    assert!(!ran.0.outcome.answered);
    for (start, error) in [
        ("HTTP/1.1 ", "timeout reading status"),
        ("HTTP/1.1 200 OK\r\nA", "timeout reading headers"),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n1",
            "timeout reading body",
        ),
        ("HTTP/1.1 200 OK\r\n\r\n", "timeout reading body"),
        (
            "HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
            "timeout reading chunk: state 5 linelen 0 lineoffset 0",
        ),
    ] {
        let port = serving(start);
        let ran = run(&format!("evhttpget --timeout 200 http://127.0.0.1:{port}/"));
        assert_eq!(ran.error(), error, "{start:?}");
    }
}

#[test]
fn servers_that_never_stop_are_cut_off() {
    let body = endless("HTTP/1.1 200 OK\r\n\r\n", vec![b'x']);
    let ran = run(&format!("evhttpget --timeout 300 http://127.0.0.1:{body}/"));
    assert_eq!(ran.error(), "timeout reading body");
    let headers = endless("HTTP/1.1 200 OK\r\n", b"A: b\r\n".to_vec());
    let ran = run(&format!(
        "evhttpget --timeout 300 --eetim --store-headers=-1 http://127.0.0.1:{headers}/"
    ));
    assert_eq!(ran.error(), "timeout reading headers");
    assert!(ran.line().len() < starling::result::MAX_LINE);
    assert!(!ran.response().header.expect("header lines").is_empty());
    let chunks = endless(CHUNKED, b"5\r\nhello\r\n".repeat(100));
    let ran = run(&format!(
        "evhttpget --timeout 300 http://127.0.0.1:{chunks}/"
    ));
    assert!(
        ran.error().starts_with("timeout reading chunk: state "),
        "{}",
        ran.error()
    );
    let trailer = endless(&format!("{CHUNKED}0\r\n"), b"A: b\r\n".to_vec());
    let ran = run(&format!(
        "evhttpget --timeout 300 http://127.0.0.1:{trailer}/"
    ));
    assert!(
        ran.error().starts_with("timeout reading chunk: state 8 "),
        "{}",
        ran.error()
    );
    let line = endless("HTTP/1.1 200 OK\r\n", vec![b'x'; 1000]);
    let ran = run(&format!("evhttpget http://127.0.0.1:{line}/"));
    assert_eq!(ran.error(), "line too long");
}

#[test]
fn a_read_limit_ends_an_endless_body() {
    let body = endless("HTTP/1.1 200 OK\r\n\r\n", vec![b'x'; 5000]);
    let ran = run(&format!(
        "evhttpget --read-limit 100000 http://127.0.0.1:{body}/"
    ));
    assert!(ran.response().truncated);
    let received = ran.complete().body_size + 19;
    assert!((100_000..102_048).contains(&received), "{received}");
}

#[test]
fn an_end_of_stream_at_every_byte_is_told() {
    let status = "HTTP/1.1 200 OK\r\n";
    let headers = "Content-Length: 4\r\n\r\n";
    let response = format!("{status}{headers}body");
    for cut in 0..=response.len() {
        let port = closing_after(&response.as_bytes()[..cut]);
        let ran = run(&format!(
            "evhttpget --timeout 4000 http://127.0.0.1:{port}/"
        ));
        let expected = match cut {
            0 => "timeout reading status",
            _ if cut < status.len() => "error reading status",
            _ if cut < status.len() + headers.len() => "error reading headers",
            _ if cut < response.len() => "error reading body",
            _ => {
                assert_eq!(ran.sizes(), (200, 19, 4));
                continue;
            }
        };
        assert_eq!(ran.error(), expected, "after {cut} bytes");
    }
}

#[test]
fn an_end_of_stream_at_every_byte_of_chunks_is_told() {
    let body = "2 ;x\r\nab\r\n0\r\nA: b\r\n\r\n";
    let states = "555555667755588888888";
    let held = "012345000101201234501";
    let states: Vec<_> = states.chars().zip(held.chars()).collect();
    for cut in 0..=body.len() {
        let port = closing_after(format!("{CHUNKED}{}", &body[..cut]));
        let ran = run(&format!(
            "evhttpget --timeout 4000 http://127.0.0.1:{port}/"
        ));
        if cut == body.len() {
            assert_eq!(ran.sizes(), (200, 28, 2));
            continue;
        }
        let (state, held) = states[cut];
        assert_eq!(
            ran.error(),
            format!("timeout reading chunk: state {state} linelen {held} lineoffset 0"),
            "after {cut} bytes"
        );
    }
}

#[test]
fn lengths_that_are_wrong() {
    let sizes = |response: &str| {
        run(&format!(
            "evhttpget http://127.0.0.1:{}/",
            serving(response)
        ))
        .sizes()
    };
    // More than was announced counts where it came at once.
    let (code, header, body) = sizes("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhello");
    assert_eq!((code, header), (200, 19));
    assert!((3..=5).contains(&body), "{body}");
    assert_eq!(
        sizes("HTTP/1.1 204 No Content\r\nContent-Length: 9\r\n\r\n"),
        (204, 19, 0)
    );
    assert_eq!(
        sizes("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nmore"),
        (200, 19, 0)
    );
    let error = |response: &str| {
        run(&format!(
            "evhttpget http://127.0.0.1:{}/",
            serving(response)
        ))
        .error()
    };
    assert_eq!(
        error("HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\n"),
        "bad header line: malformed content-length"
    );
    assert_eq!(
        error(&format!("{CHUNKED}xyz\r\n")),
        "bad chunk line: not a number"
    );
    assert_eq!(
        error(&format!("{CHUNKED}2\r\nabc\r\n")),
        "bad chunk line: garbage at the end of chunk"
    );
    assert_eq!(
        error("SSH-2.0-OpenSSH_9.9\r\n"),
        "bad status line: bad prefix"
    );
}

#[test]
fn interim_responses_and_folded_headers() {
    let port = serving("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n\r\n");
    let ran = run(&format!("evhttpget http://127.0.0.1:{port}/"));
    assert_eq!(ran.sizes(), (103, 9, 0));
    let port = serving("HTTP/1.1 204 x\r\nA: b\r\n\tc\r\n Content-Length: 5\r\n\r\n");
    let ran = run(&format!(
        "evhttpget --store-headers 99 http://127.0.0.1:{port}/"
    ));
    let lines = ran.line();
    let header = r#""header": [ "A: b", "\u0009c", " Content-Length: 5", "" ], "#;
    assert!(lines.contains(header), "{lines}");
}

#[test]
fn a_reset_is_an_end() {
    let (port, _) = server("127.0.0.1", |stream, _| {
        let socket = socket2::SockRef::from(&stream);
        socket.set_linger(Some(Duration::ZERO)).expect("an option");
    });
    let ran = run(&format!("evhttpget http://127.0.0.1:{port}/"));
    assert_eq!(ran.error(), "timeout reading status");
}

#[test]
fn an_answer_before_the_body_was_taken_is_read() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("body");
    fs::write(&file, vec![b'x'; 8 << 20]).expect("a file");
    let (port, _) = server("127.0.0.1", |mut stream, _| {
        let response = b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n";
        stream.write_all(response).expect("a response");
        stream.shutdown(Shutdown::Write).expect("half a close");
        linger(stream);
    });
    let ran = run(&format!(
        "evhttpget --post --post-file {} http://127.0.0.1:{port}/",
        file.display()
    ));
    assert_eq!(ran.sizes(), (413, 19, 0));
}

#[test]
fn files_are_posted_whole_and_those_that_cannot_be_read_are_not() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| directory.path().join(name);
    let large: String = "0123456789".repeat(30_000);
    fs::write(path("header"), "one,").expect("a file");
    fs::write(path("file"), &large).expect("a file");
    // As large as no file is read.
    let sparse = fs::File::create(path("sparse")).expect("a file");
    sparse.set_len((16 << 20) + 1).expect("its length");
    let posted = |file: &str, length: usize| {
        let (port, body) = server("127.0.0.1", move |mut stream, request| {
            let mut body = vec![0; length];
            stream.read_exact(&mut body).expect("a body");
            let response = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
            stream.write_all(response).expect("a response");
            linger(stream);
            (request, String::from_utf8(body).expect("text"))
        });
        let ran = run(&format!(
            "evhttpget --post --post-header {} --post-file {} http://127.0.0.1:{port}/",
            path("header").display(),
            path(file).display()
        ));
        assert_eq!(ran.sizes(), (200, 19, 0));
        body.join().expect("a body")
    };
    let (request, body) = posted("file", 300_004);
    assert!(
        request.ends_with("\r\nContent-Length: 300004\r\n\r\n"),
        "{request}"
    );
    assert_eq!(body, format!("one,{large}"));
    for unreadable in ["missing", "", "sparse"] {
        let (request, body) = posted(unreadable, 4);
        assert!(
            request.ends_with("\r\nContent-Length: 4\r\n\r\n"),
            "{request}"
        );
        assert_eq!(body, "one,");
    }
}

/// A port that nobody listens on.
fn closed_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a socket");
    listener.local_addr().expect("its address").port()
}

#[test]
fn refused_connections_are_told_in_each_schemes_words() {
    let port = closed_port();
    let ran = run(&format!("evhttpget http://127.0.0.1:{port}/"));
    assert_eq!(ran.error(), "connect: Connection refused");
    assert_eq!(ran.response().source, None);
    let ran = run(&format!("evhttpget https://127.0.0.1:{port}/"));
    assert_eq!(ran.error(), "connect: error:00000005:lib(0)::reason(5)");
}

#[test]
fn tls_that_does_not_come_about_is_told_as_openssl_does() {
    let tls_error = |act: fn(TcpStream)| {
        let (port, _) = raw_server("127.0.0.1", act);
        run(&format!(
            "evhttpget --timeout 300 https://127.0.0.1:{port}/"
        ))
        .error()
    };
    /// Takes what there is of the hello.
    fn hello(stream: &mut TcpStream) {
        let mut hello = [0; 4096];
        assert!(stream.read(&mut hello).expect("a hello") > 5);
    }
    assert_eq!(
        tls_error(|mut stream| {
            hello(&mut stream);
            stream
                .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                .expect("text");
            linger(stream);
        }),
        "connect: error:0A00010B:SSL routines::wrong version number"
    );
    assert_eq!(
        tls_error(|mut stream| {
            hello(&mut stream);
            stream
                .write_all(b"\x15\x03\x03\x00\x02\x02\x28")
                .expect("an alert");
            linger(stream);
        }),
        "connect: error:0A000410:SSL routines::sslv3 alert handshake failure"
    );
    assert_eq!(
        tls_error(|mut stream| hello(&mut stream)),
        "connect: error:0A000126:SSL routines::unexpected eof while reading"
    );
    assert_eq!(tls_error(linger), "connect: timeout");
}

#[test]
fn addresses_of_this_host_are_refused_unless_it_is_our_test() {
    let (port, _) = raw_server("127.0.0.1", |_| ());
    let ran = run_with(&format!("evhttpget http://127.0.0.1:{port}/"), |config| {
        config.allow_any_address = false;
    });
    assert_eq!(
        ran.line(),
        "RESULT { \"result\":[ { \"error\": \"address not allowed\", \"dst_addr\":\"127.0.0.1\" } ] }\n"
    );
}

#[test]
fn an_interface_that_is_none_is_a_socket_error() {
    let ran = run("evhttpget -I nonexistent0 http://127.0.0.1:9/");
    assert!(
        ran.line()
            .contains("\"sockerr\":\"bind_interface failed\", \"method\"")
    );
}

#[test]
fn a_recorded_run_replays_to_the_same_sizes() {
    for response in [
        format!("{CHUNKED}1000\r\n{}\r\n0\r\n\r\n", "x".repeat(4096)),
        format!("HTTP/1.0 200 OK\r\n\r\n{}", "x".repeat(9000)),
    ] {
        let port = closing_after(response);
        let live = run(&format!(
            "evhttpget --store-headers 99 http://127.0.0.1:{port}/"
        ));
        let outcome = recording::replay(&live.0.spec, &live.0.recording, recording::test_clock());
        let outcome = outcome.expect("a recording that replays");
        let [Body::Http(body)] = &outcome.bodies[..] else {
            panic!("one body");
        };
        let [Entry::Tried(replayed)] = &body.entries[..] else {
            panic!("one entry");
        };
        let (replayed, live) = (replayed.clone(), live.response());
        assert_eq!(replayed.header, live.header);
        assert_eq!(
            (replayed.source, replayed.destination),
            (live.source, live.destination)
        );
        let (replayed, live) = (replayed.complete.unwrap(), live.complete.unwrap());
        assert_eq!(
            (replayed.header_size, replayed.body_size),
            (live.header_size, live.body_size)
        );
    }
}
