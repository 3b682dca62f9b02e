//! `openssl s_server`.

use std::{fs, net::TcpStream, process::Command, sync::OnceLock};

use tempfile::TempDir;

use crate::{
    peers::{self, Daemon},
    replay, run,
};

const PROGRAM: &str = "openssl";

/// A server of this test's own.
struct Server {
    daemon: Daemon,
    port: u16,
}

impl Server {
    /// The certificate in this file, DER.
    fn certificate(&self, file: &str) -> Vec<u8> {
        let made = Command::new(PROGRAM)
            .args(["x509", "-outform", "DER", "-in", file])
            .current_dir(self.daemon.directory.path())
            .output()
            .expect("openssl starts");
        assert!(made.status.success(), "{made:?}");
        made.stdout
    }
}

/// A server with these arguments, `None` where the program is not installed.
fn start(arguments: &str) -> Option<Server> {
    if !peers::is_installed(PROGRAM) {
        return None;
    }
    // Another process may take the port in between; then the server ends and another is tried.
    for _ in 0..10 {
        let directory = TempDir::new().expect("a directory");
        for (file, content) in keys() {
            fs::write(directory.path().join(file), content).expect("a file");
        }
        let port = peers::free_port();
        let mut command = Command::new(PROGRAM);
        command
            // A server of web pages, since others read the standard input.
            .args([
                "s_server", "-www", "-quiet", "-cert", "one.pem", "-key", "key.pem",
            ])
            .args(["-accept", &format!("127.0.0.1:{port}")])
            .args(arguments.split_whitespace())
            .current_dir(directory.path());
        let mut daemon = Daemon::start(&mut command, directory);
        if daemon.comes_up(|| TcpStream::connect(("127.0.0.1", port)).is_ok()) {
            return Some(Server { daemon, port });
        }
    }
    panic!("openssl s_server {arguments} does not start");
}

/// Keys and certificates, made once, as files and what stands in them.
fn keys() -> &'static [(String, Vec<u8>)] {
    static KEYS: OnceLock<Vec<(String, Vec<u8>)>> = OnceLock::new();
    KEYS.get_or_init(|| {
        let directory = TempDir::new().expect("a directory");
        let mut files = Vec::new();
        for (key, certificate, name) in [
            ("key.pem", "one.pem", "/CN=one.example/O=Example"),
            ("key2.pem", "two.pem", "/CN=two.example"),
        ] {
            let options = format!("-newkey rsa:2048 -subj {name}");
            peers::certificate(directory.path(), [key, certificate], &options);
            for file in [key, certificate] {
                let content = fs::read(directory.path().join(file)).expect("a file");
                files.push((file.to_owned(), content));
            }
        }
        files
    })
}

const OLD: &str = "-cipher ALL:@SECLEVEL=0";

#[test]
fn every_version_shows_its_certificate() {
    for (arguments, version, hello) in [
        ("-tls1_3".to_owned(), "1.3", ""),
        (String::new(), "1.3", ""),
        ("-tls1_2".to_owned(), "1.2", ""),
        (format!("-tls1_1 {OLD}"), "1.1", ""),
        (format!("-tls1 {OLD}"), "1.0", ""),
        // What the official probe sees of the same servers.
        (String::new(), "1.2", "-V TLS1.2"),
        (format!("-tls1_1 {OLD}"), "1.1", "-V TLS1.1"),
        (format!("-tls1 {OLD}"), "1.0", "-V TLS1.0"),
    ] {
        let Some(server) = start(&arguments) else {
            return;
        };
        let ran = run(hello, server.port);
        assert_eq!(ran.version(), version, "{arguments} {hello}");
        assert_eq!(ran.certificates(), [server.certificate("one.pem")]);
        let answer = ran.answer();
        assert!(0.0 < answer.ttc && answer.ttc <= answer.rt, "{}", ran.line);
        assert_ne!(answer.cipher, 0);
    }
}

#[test]
fn the_reference_hello_cannot_open_a_server_of_tls_1_3_alone() {
    let Some(server) = start("-tls1_3") else {
        return;
    };
    // OpenSSL has no words for SSL 3.0 any more.
    for (version, alert) in [("TLS1.2", 70), ("TLS1.0", 70), ("SSL3.0", 40)] {
        let ran = run(&format!("-V {version}"), server.port);
        assert_eq!(ran.alert(), alert, "{version}");
        let tail = "\"server_cipher\": \"0x0000\", \"alert\": { \"level\": 2, ";
        assert!(ran.line.contains(tail));
    }
}

#[test]
fn suites_that_a_server_insists_on_are_reported() {
    for (arguments, cipher) in [
        ("-tls1_3 -ciphersuites TLS_AES_128_GCM_SHA256", 0x1301),
        ("-tls1_3 -ciphersuites TLS_AES_256_GCM_SHA384", 0x1302),
        ("-tls1_3 -ciphersuites TLS_CHACHA20_POLY1305_SHA256", 0x1303),
        ("-tls1_2 -cipher ECDHE-RSA-AES256-GCM-SHA384", 0xc030),
        // The client's first that both know.
        ("-tls1_2", 0xc02f),
        // The library knows none of these; the reference hello follows.
        ("-tls1_2 -cipher AES128-SHA", 0x002f),
        ("-tls1_2 -cipher AES256-GCM-SHA384", 0x009d),
        ("-tls1_2 -cipher ECDHE-RSA-AES256-SHA", 0xc014),
    ] {
        let Some(server) = start(arguments) else {
            return;
        };
        let ran = run("", server.port);
        assert_eq!(ran.answer().cipher, cipher, "{arguments}: {}", ran.line);
        assert_eq!(ran.certificates(), [server.certificate("one.pem")]);
    }
}

#[test]
fn what_neither_hello_offers_is_the_alert_of_the_modern_one() {
    for arguments in [
        "-tls1_3 -ciphersuites TLS_AES_128_CCM_SHA256",
        "-tls1_3 -groups P-521",
    ] {
        let Some(server) = start(arguments) else {
            return;
        };
        // To the reference hello they answer alert 70, which says less.
        assert_eq!(run("", server.port).alert(), 40, "{arguments}");
    }
}

#[test]
fn a_server_may_ask_for_another_key_share() {
    let Some(server) = start("-tls1_3 -groups P-384") else {
        return;
    };
    let ran = run("", server.port);
    assert_eq!(ran.version(), "1.3");
    assert_eq!(ran.certificates(), [server.certificate("one.pem")]);
}

#[test]
fn servers_that_demand_a_certificate_show_theirs_first() {
    for (arguments, version) in [("-tls1_3 -Verify 1", "1.3"), ("-tls1_2 -Verify 1", "1.2")] {
        let Some(server) = start(arguments) else {
            return;
        };
        let ran = run("", server.port);
        assert_eq!(ran.version(), version);
        assert_eq!(ran.certificates(), [server.certificate("one.pem")]);
    }
}

#[test]
fn a_server_name_chooses_the_certificate_and_is_sent_only_if_given() {
    for version in ["-tls1_3", "-tls1_2"] {
        let arguments = format!("{version} -servername two.example -cert2 two.pem -key2 key2.pem");
        let Some(server) = start(&arguments) else {
            return;
        };
        for (options, file) in [("", "one.pem"), ("-h two.example", "two.pem")] {
            let ran = run(options, server.port);
            assert_eq!(
                ran.certificates(),
                [server.certificate(file)],
                "{version} {options}"
            );
        }
    }
}

#[test]
fn a_warning_about_the_server_name_is_the_result_where_it_is_one() {
    let name = "-servername two.example -cert2 two.pem -key2 key2.pem";
    let Some(server) = start(&format!("-tls1_2 {name}")) else {
        return;
    };
    let ran = run("-h other.example", server.port);
    assert!(
        ran.line
            .contains("\"alert\": { \"level\": 1, \"description\": 112 }")
    );
    // TLS 1.3 has no warnings.
    let Some(server) = start(&format!("-tls1_3 {name}")) else {
        return;
    };
    let ran = run("-h other.example", server.port);
    assert_eq!(ran.certificates(), [server.certificate("one.pem")]);
}

#[test]
fn a_chain_is_reported_in_the_order_sent() {
    for version in ["-tls1_3", "-tls1_2"] {
        // Anything goes for a chain.
        let Some(server) = start(&format!("{version} -cert_chain two.pem")) else {
            return;
        };
        let expected = [server.certificate("one.pem"), server.certificate("two.pem")];
        assert_eq!(run("", server.port).certificates(), expected, "{version}");
    }
}

#[test]
fn a_recorded_run_replays_to_what_it_found() {
    for arguments in ["", "-tls1_3"] {
        let Some(server) = start(arguments) else {
            return;
        };
        let ran = run("-W /home/atlas/data/recording", server.port);
        let replayed = replay("", &ran.recording);
        let starling::measurement::tls::Finding::Answer(answer) = replayed.finding else {
            panic!("{replayed:?}");
        };
        assert_eq!(answer.shown, ran.answer().shown, "{arguments}");
        assert_eq!(answer.protocol, ran.answer().protocol);
        let times = format!("{:.6} {:.6}", answer.ttc, answer.rt);
        assert_eq!(times, "1000.001000 2000.002000");
    }
}
