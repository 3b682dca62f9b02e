//! Against nginx.

use std::{fs, net::TcpStream, path::Path, process::Command};

use crate::{
    peers::{self, Daemon},
    run,
};

/// Octets of the page.
const PAGE: usize = 50_000;

/// An nginx of this test's own.
struct Nginx {
    daemon: Daemon,
    ports: Ports,
}

#[derive(Clone, Copy)]
struct Ports {
    plain: u16,
    tls12: u16,
    tls13: u16,
    client_certificate: u16,
}

impl Ports {
    fn all(self) -> [u16; 4] {
        [self.plain, self.tls12, self.tls13, self.client_certificate]
    }
}

fn configuration(directory: &Path, ports: Ports) -> String {
    let dir = directory.display();
    let listen =
        |port: u16, tls: &str| format!("listen 127.0.0.1:{port}{tls}; listen [::1]:{port}{tls};");
    let secure = |port: u16, version: &str, more: &str| {
        format!(
            "server {{ {} ssl_certificate {dir}/cert.pem; ssl_certificate_key {dir}/key.pem; \
             ssl_protocols {version}; {more} root {dir}/www; }}\n",
            listen(port, " ssl")
        )
    };
    format!(
        "daemon off; master_process off; pid {dir}/pid; error_log {dir}/log;\n\
         events {{ worker_connections 64; }}\n\
         http {{ log_format body '$request_method $request_body';\n\
         access_log off; client_body_temp_path {dir}/t1; proxy_temp_path {dir}/t2; fastcgi_temp_path {dir}/t3;\n\
         uwsgi_temp_path {dir}/t4; scgi_temp_path {dir}/t5; root {dir}/www;\n\
         server {{ {} keepalive_timeout 60;\n\
         location /list/ {{ autoindex on; }}\n\
         location /moved {{ return 301 http://192.0.2.1/; }}\n\
         location /nothing {{ return 204; }}\n\
         location /sink {{ return 200 ok; }}\n\
         location /post {{ access_log {dir}/posted body; proxy_pass http://127.0.0.1:{}/sink; }}\n\
         }}\n{}{}{}}}\n",
        listen(ports.plain, ""),
        ports.plain,
        secure(ports.tls12, "TLSv1.2", ""),
        secure(ports.tls13, "TLSv1.3", ""),
        secure(
            ports.client_certificate,
            "TLSv1.2 TLSv1.3",
            &format!("ssl_verify_client on; ssl_client_certificate {dir}/cert.pem;")
        ),
    )
}

/// Starts nginx, or does not where there is none.
fn nginx() -> Option<Nginx> {
    if !peers::is_installed("nginx") || !peers::is_installed("openssl") {
        return None;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| directory.path().join(name);
    fs::create_dir_all(path("www/list")).expect("a directory");
    fs::write(path("www/page"), vec![b'x'; PAGE]).expect("a page");
    for number in 0..30 {
        fs::write(path(&format!("www/list/file-{number}")), "x").expect("a file");
    }
    peers::certificate(
        directory.path(),
        ["key.pem", "cert.pem"],
        "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -subj /CN=peer.example",
    );
    let ports = Ports {
        plain: peers::free_port(),
        tls12: peers::free_port(),
        tls13: peers::free_port(),
        client_certificate: peers::free_port(),
    };
    fs::write(path("conf"), configuration(directory.path(), ports)).expect("a configuration");
    let mut command = Command::new("nginx");
    command
        .arg("-p")
        .arg(directory.path())
        .arg("-c")
        .arg(path("conf"));
    let mut daemon = Daemon::start(&mut command, directory);
    for port in ports.all() {
        for host in ["127.0.0.1", "::1"] {
            daemon.wait_until(|| TcpStream::connect((host, port)).is_ok());
        }
    }
    Some(Nginx { daemon, ports })
}

impl Nginx {
    fn plain(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.ports.plain)
    }
}

#[test]
fn a_page_over_both_versions_and_families() {
    let Some(nginx) = nginx() else { return };
    for words in ["-0", "-1", "-4", "--etim", "--eetim"] {
        let ran = run(&format!("evhttpget {words} {}", nginx.plain("/page")));
        let complete = ran.complete();
        // nginx answers a request of HTTP/1.0 with version 1.1.
        assert_eq!((complete.status.major, complete.status.minor), (1, 1));
        assert_eq!(
            (complete.status.code, complete.body_size),
            (200, PAGE as u64)
        );
        assert!(complete.header_size > 100);
    }
    let ran = run(&format!(
        "evhttpget -6 http://[::1]:{}/page",
        nginx.ports.plain
    ));
    assert_eq!(ran.complete().body_size, PAGE as u64);
    assert_eq!(ran.response().family, 6);
}

#[test]
fn the_stored_headers_are_those_that_were_counted() {
    let Some(nginx) = nginx() else { return };
    let ran = run(&format!(
        "evhttpget --store-headers 4096 {}",
        nginx.plain("/page")
    ));
    let header = ran.response().header.expect("header lines");
    let (last, lines) = header.split_last().expect("lines");
    assert!(last.is_empty(), "all of them");
    let size: usize = lines.iter().map(|line| line.len() + 2).sum();
    assert_eq!(ran.complete().header_size, size as u64);
    let length = format!("Content-Length: {PAGE}");
    assert!(lines.iter().any(|line| line == length.as_bytes()));
}

#[test]
fn chunks_and_an_end_of_stream_hold_the_same_page() {
    let Some(nginx) = nginx() else { return };
    let chunked = run(&format!(
        "evhttpget --store-headers 999 {}",
        nginx.plain("/list/")
    ));
    let lines = chunked.line();
    assert!(lines.contains("\"Transfer-Encoding: chunked\""), "{lines}");
    let framed = chunked.complete().body_size;
    assert!(framed > 1000);
    let closed = run(&format!("evhttpget -0 {}", nginx.plain("/list/")));
    assert!(!closed.line().contains("chunked"));
    assert_eq!(closed.complete().body_size, framed);
}

#[test]
fn responses_without_a_body() {
    let Some(nginx) = nginx() else { return };
    let head = run(&format!("evhttpget --head {}", nginx.plain("/page")));
    assert_eq!((head.sizes().0, head.sizes().2), (200, 0));
    let chunked = run(&format!("evhttpget --head {}", nginx.plain("/list/")));
    assert_eq!((chunked.sizes().0, chunked.sizes().2), (200, 0));
    let nothing = run(&format!("evhttpget {}", nginx.plain("/nothing")));
    assert_eq!((nothing.sizes().0, nothing.sizes().2), (204, 0));
    // Redirects are results, not orders.
    assert_eq!(
        run(&format!("evhttpget {}", nginx.plain("/moved")))
            .sizes()
            .0,
        301
    );
    assert_eq!(
        run(&format!("evhttpget {}", nginx.plain("/missing")))
            .sizes()
            .0,
        404
    );
}

#[test]
fn a_post_arrives() {
    let Some(nginx) = nginx() else { return };
    let file = nginx.daemon.directory.path().join("body");
    fs::write(&file, "a=b&c=d").expect("a file");
    let ran = run(&format!(
        "evhttpget --post --post-file {} {}",
        file.display(),
        nginx.plain("/post")
    ));
    assert_eq!((ran.sizes().0, ran.sizes().2), (200, 2));
    let ran = run(&format!("evhttpget --post {}", nginx.plain("/post")));
    assert_eq!(ran.sizes().0, 200);
    let posted = nginx.daemon.file("posted");
    assert!(posted.starts_with("POST a=b&c=d\nPOST "), "{posted}");
}

#[test]
fn both_versions_of_tls_and_a_certificate_that_is_nobodys() {
    let Some(nginx) = nginx() else { return };
    for port in [nginx.ports.tls12, nginx.ports.tls13] {
        for host in ["127.0.0.1", "[::1]"] {
            let ran = run(&format!(
                "evhttpget --etim --sni peer.example https://{host}:{port}/page"
            ));
            let complete = ran.complete();
            assert_eq!(complete.body_size, PAGE as u64);
            let timing = complete.timing.expect("timing");
            assert!(timing.connect > 0.0 && timing.first_byte <= complete.ms);
        }
    }
    let port = nginx.ports.client_certificate;
    let ran = run(&format!("evhttpget https://127.0.0.1:{port}/page"));
    assert_eq!(ran.sizes().0, 400);
}

#[test]
fn plain_text_to_a_tls_port_is_answered_in_plain_text() {
    let Some(nginx) = nginx() else { return };
    let port = nginx.ports.tls13;
    let ran = run(&format!("evhttpget http://127.0.0.1:{port}/page"));
    assert_eq!(ran.sizes().0, 400);
    let ran = run(&format!(
        "evhttpget https://127.0.0.1:{}/page",
        nginx.ports.plain
    ));
    assert_eq!(
        ran.error(),
        "connect: error:0A00010B:SSL routines::wrong version number"
    );
}
