//! Registration, INIT, and the keys of both sides.

use super::*;

#[test]
fn registration_init_is_answered_to_both_types_of_key() {
    if peer_is_missing() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let lab = Lab::start(dir.path(), |_| {});
    let keys = [
        ed25519(dir.path(), "one"),
        make_key(dir.path(), "two", &["-t", "rsa", "-b", "2048"]),
    ];
    for (number, key) in (1..).zip(&keys) {
        let output = lab.register(key, &[]);
        let expected = format!(
            "OK\nCONTROLLER 127.0.0.1 {} {}\nREREGISTER 3000\nPROBE_ID {number}\n",
            lab.controller_port, lab.controller_key
        );
        assert_eq!(text(&output.stdout), expected, "{}", text(&output.stderr));
        assert_eq!(output.status.code(), Some(0));
        let (probe, block) = lab.wait(|event| match event {
            Event::Registered { probe, block, .. } => Some((probe, block)),
            _ => None,
        });
        assert_eq!(probe, ProbeId(number));
        assert_eq!(block.unwrap().render(), BLOCK);
    }
}

#[test]
fn a_client_that_offers_only_group_exchange_is_served() {
    if peer_is_missing() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let lab = Lab::start(dir.path(), |_| {});
    let only = [
        "-o",
        "KexAlgorithms=diffie-hellman-group-exchange-sha256",
        "-o",
        "HostKeyAlgorithms=rsa-sha2-256",
    ];
    let output = lab.register(&ed25519(dir.path(), "key"), &only);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
}

#[test]
fn controller_init_does_not_wait_for_the_end_of_stdin() {
    if peer_is_missing() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let lab = Lab::start(dir.path(), |_| {});
    let key = ed25519(dir.path(), "key");
    lab.register(&key, &[]);
    let mut ssh = lab.ssh(&key, lab.controller_port, &lab.controller_key);
    let mut child = ssh
        .args(["atlas@127.0.0.1", "INIT"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let stdin = child.stdin.take();
    let mut answer = String::new();
    child
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut answer)
        .unwrap();
    assert_eq!(session_of(&answer).0, 30_000);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    drop(stdin);
}

#[test]
fn a_server_with_another_host_key_is_left_by_the_client() {
    if peer_is_missing() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let lab = Lab::start(dir.path(), |_| {});
    let key = ed25519(dir.path(), "key");
    let other = make_key(dir.path(), "other", &["-t", "rsa", "-b", "2048"]);
    let pinned = fs::read_to_string(other.with_extension("pub")).unwrap();
    let mut ssh = lab.ssh(&key, lab.registration_port, pinned.trim_end());
    let output = run(ssh.args(["atlas@127.0.0.1", "INIT"]), BLOCK);
    assert_eq!(output.status.code(), Some(255));
    assert!(
        text(&output.stderr).contains("Host key verification failed"),
        "{}",
        text(&output.stderr)
    );
    assert_eq!(text(&output.stdout), "");
}

#[test]
fn an_unknown_key_is_refused_and_a_listed_one_served() {
    if peer_is_missing() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (listed, unknown) = (
        ed25519(dir.path(), "listed"),
        ed25519(dir.path(), "unknown"),
    );
    let line = fs::read_to_string(listed.with_extension("pub")).unwrap();
    let lab = Lab::start(dir.path(), |config| {
        config.approval = Approval::Listed;
        config.probes = vec![Probe {
            id: 1_015_186,
            key: line,
            name: Some("the listed one".to_owned()),
            approved: true,
        }];
    });
    let refused = lab.register(&unknown, &[]);
    assert_eq!(refused.status.code(), Some(255));
    assert!(
        text(&refused.stderr).contains("Permission denied (publickey)."),
        "{}",
        text(&refused.stderr)
    );
    let served = lab.register(&listed, &[]);
    assert!(
        text(&served.stdout).ends_with("PROBE_ID 1015186\n"),
        "{}",
        text(&served.stderr)
    );
    let wrong_user = {
        let mut ssh = lab.ssh(&listed, lab.registration_port, &lab.registration_key);
        run(ssh.args(["root@127.0.0.1", "INIT"]), BLOCK)
    };
    assert_eq!(wrong_user.status.code(), Some(255));
}

#[test]
fn a_key_that_waits_for_approval_gets_a_plain_ok() {
    if peer_is_missing() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let lab = Lab::start(dir.path(), |config| {
        config.approval = Approval::Listed;
        config.unknown_keys = UnknownKeys::Pending;
    });
    let key = ed25519(dir.path(), "key");
    let waiting = lab.register(&key, &[]);
    assert_eq!(
        (text(&waiting.stdout), waiting.status.code()),
        ("OK\n".to_owned(), Some(0))
    );
    lab.request(Request::Approve(ProbeId(1), true));
    assert!(text(&lab.register(&key, &[]).stdout).starts_with("OK\nCONTROLLER "));
}

#[test]
fn what_is_no_probe_is_turned_away() {
    if peer_is_missing() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let lab = Lab::start(dir.path(), |_| {});
    let key = ed25519(dir.path(), "key");
    let ssh = |command: &str| {
        let mut ssh = lab.ssh(&key, lab.registration_port, &lab.registration_key);
        run(ssh.args(["atlas@127.0.0.1", command]), "")
    };
    assert_ne!(ssh("cat /etc/passwd").status.code(), Some(0));
    let malformed = ssh("INIT");
    assert!(
        text(&malformed.stdout).starts_with("REFUSED\n"),
        "{malformed:?}"
    );
    drop(lab);
    let mode = fs::metadata(dir.path().join("controller/probes.json"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}
