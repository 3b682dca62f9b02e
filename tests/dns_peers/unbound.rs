//! Against Unbound: recursion, DNS over TLS and DNS over HTTPS.

use std::process::Command;

use crate::{
    Carry, answers, message, peers, rcode, run, run_with,
    server::{self, Server},
};

struct Unbound {
    server: Server,
    tls: u16,
    https: u16,
}

fn start(stub: Option<u16>) -> Option<Unbound> {
    if !peers::is_installed("unbound") || !peers::is_installed("openssl") {
        return None;
    }
    let directory = tempfile::tempdir().expect("a directory");
    peers::certificate(
        directory.path(),
        ["key.pem", "cert.pem"],
        "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -subj /CN=dns.example.test \
         -addext subjectAltName=DNS:dns.example.test -addext basicConstraints=critical,CA:FALSE",
    );
    let path = directory.path().display().to_string();
    let (port, tls, https) = (peers::free_port(), peers::free_port(), peers::free_port());
    let mut interfaces = String::new();
    for port in [port, tls, https] {
        interfaces += &format!(" interface: 127.0.0.1@{port}\n interface: ::1@{port}\n");
    }
    let stub = stub.map_or_else(String::new, |port| {
        format!("stub-zone:\n name: \"example.test\"\n stub-addr: 127.0.0.1@{port}\n")
    });
    let configuration = format!(
        "server:\n{interfaces} tls-port: {tls}\n https-port: {https}\n http-endpoint: \"/dns-query\"\n \
         tls-service-key: \"{path}/key.pem\"\n tls-service-pem: \"{path}/cert.pem\"\n username: \"\"\n \
         chroot: \"\"\n directory: \"{path}\"\n pidfile: \"\"\n use-syslog: no\n do-daemonize: no\n \
         module-config: \"iterator\"\n do-not-query-localhost: no\n access-control: 127.0.0.0/8 allow\n \
         access-control: ::1/128 allow\n local-zone: \"test\" nodefault\n identity: \"peer\"\n num-threads: 1\n \
         local-zone: \"local.test\" static\n local-data: \"a.local.test. 300 IN A 192.0.2.1\"\n \
         local-data: \"a.local.test. 300 IN TXT hello\"\n\
         remote-control:\n control-enable: no\n{stub}"
    );
    let server = server::start("unbound", directory, port, &configuration);
    Some(Unbound { server, tls, https })
}

#[test]
fn recursion_needs_to_be_desired() {
    let Some(nsd) = crate::nsd::start() else {
        return;
    };
    let Some(unbound) = start(Some(nsd.port)) else {
        return;
    };
    let port = unbound.server.port;
    let entry = run(&format!(
        "evtdig -R --port {port} --a a.example.test. 127.0.0.1"
    ))
    .answered();
    assert_eq!((rcode(&entry), answers(&entry)), (0, 1));
    assert_eq!(message(&entry)[3] & 0x80, 0x80, "RA");
}

#[test]
fn the_resolver_files_servers_in_turn() {
    let Some(nsd) = crate::nsd::start() else {
        return;
    };
    let Some(unbound) = start(Some(nsd.port)) else {
        return;
    };
    let port = unbound.server.port;
    let file = unbound.server.daemon.directory.path().join("resolv.conf");
    std::fs::write(
        &file,
        "search x\nnameserver 127.0.0.1 # the first\n nameserver\t::1\n",
    )
    .expect("a file");
    for transport in ["--qbuf", "--qbuf -t"] {
        let command = format!("evtdig --resolv {transport} --port {port} --a $r.$p.example.test.");
        let ran = run_with(&command, Carry::Nothing, |config| {
            config.resolver_file.clone_from(&file);
        });
        let line = ran.line;
        let entries = &ran.body.entries;
        assert_eq!(entries.len(), 2, "{line}");
        for (entry, server) in entries.iter().zip(["127.0.0.1", "::1"]) {
            assert_eq!(
                entry.destination.as_ref().map(|to| &to.address[..]),
                Some(server),
                "{line}"
            );
            assert_eq!(rcode(entry), 3, "{line}");
        }
        let query = |at: usize| &entries[at].query.as_ref().expect("a query")[12..];
        assert_eq!(query(0) == query(1), transport.ends_with("-t"), "{line}");
    }
    let missing = file.with_file_name("missing");
    let ran = run_with("evtdig --resolv -h", Carry::Nothing, |config| {
        config.resolver_file = missing;
    });
    assert!(ran.line.contains(
        r#""submax" : 0 , "proto" : "UDP" , "error" : {"nameserver": "no local resolvers found"}"#
    ));
}

#[test]
fn dns_over_tls_never_checks_the_certificate() {
    let Some(unbound) = start(None) else { return };
    let tls = unbound.tls;
    for (name, server) in [
        ("", "127.0.0.1"),
        ("--sni-cert-name wrong.example", "127.0.0.1"),
        ("-6", "::1"),
    ] {
        let entry = run(&format!(
            "evtdig --tls {name} --port {tls} --txt a.local.test. {server}"
        ))
        .answered();
        assert_eq!(answers(&entry), 1);
        assert!(entry.tls.is_some_and(|tls| tls.starts_with("rustls ")));
    }
}

#[test]
fn dns_over_https_checks_the_certificate_if_it_has_a_name() {
    let Some(unbound) = start(None) else { return };
    let https = unbound.https;
    let entry = run(&format!(
        "evtdig --https --port {https} --a a.local.test. 127.0.0.1"
    ))
    .answered();
    assert_eq!((rcode(&entry), answers(&entry)), (0, 1));
    let command = format!(
        "evtdig --https --sni-cert-name dns.example.test --port {https} --a a.local.test. 127.0.0.1"
    );
    let ran = run(&command);
    assert!(
        ran.error()
            .starts_with(r#"{ "TUCONNECT" : "invalid peer certificate"#),
        "{}",
        ran.line
    );
    assert_eq!(ran.body.entries[0].source, None);
    // The same with the certificate trusted, in a process of its own since the environment says what is.
    let trusting = Command::new(std::env::current_exe().expect("this program"))
        .args([
            "--exact",
            "unbound::with_a_trusted_certificate",
            "--nocapture",
        ])
        .env(
            "SSL_CERT_FILE",
            unbound.server.daemon.directory.path().join("cert.pem"),
        )
        .env("STARLING_TEST_COMMAND", command)
        .output()
        .expect("this program again");
    let said = String::from_utf8_lossy(&trusting.stdout);
    assert!(
        trusting.status.success() && said.contains("1 passed"),
        "{said}"
    );
}

/// Run by the test above, which says by the environment what to do; nothing otherwise.
#[test]
fn with_a_trusted_certificate() {
    let Ok(command) = std::env::var("STARLING_TEST_COMMAND") else {
        return;
    };
    assert_eq!(answers(&run(&command).answered()), 1);
    let ran = run(&command.replace("dns.example.test", "other.example.test"));
    assert!(
        ran.error()
            .starts_with(r#"{ "TUCONNECT" : "invalid peer certificate"#),
        "{}",
        ran.line
    );
}

#[test]
fn a_path_that_is_not_served() {
    let Some(unbound) = start(None) else { return };
    let https = unbound.https;
    let ran = run(&format!(
        "evtdig --https --https-path /other --port {https} --a a.local.test. 127.0.0.1"
    ));
    assert_eq!(
        ran.error(),
        r#"{  "error" : "http2 request failed with 404"}"#
    );
}
