//! Keys on disk, against OpenSSH's own tool where it is installed.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use proptest::prelude::*;
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use super::{HostKey, HostKeyError, KeyError, KeyType, ProbeKey, fingerprint, format};

fn place() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("probe_key");
    (dir, path)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// Makes a key with OpenSSH's tool; without it the test says that it checks less.
fn ssh_keygen(path: &Path, options: &[&str]) -> bool {
    let made = Command::new("ssh-keygen")
        .args(["-q", "-f"])
        .arg(path)
        .args(options)
        .status();
    match made {
        Ok(status) => {
            assert!(status.success());
            true
        }
        Err(cause) => {
            assert!(
                std::env::var_os("STARLING_REQUIRE_PEERS").is_none(),
                "ssh-keygen: {cause}"
            );
            eprintln!("*** SKIPPED: ssh-keygen is not installed ({cause}) ***");
            false
        }
    }
}

#[test]
fn the_first_start_makes_an_ed25519_key_that_only_its_owner_can_read() {
    let (dir, path) = place();
    let path = path.with_file_name("etc").join("probe_key");
    let key = ProbeKey::load_or_create(&path, "lab.example").unwrap();
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(path.parent().unwrap()), 0o700);
    let line = key.public_line();
    assert!(
        line.starts_with("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5") && line.ends_with(" lab.example"),
        "{line}"
    );
    assert_eq!(
        fs::read_to_string(path.with_extension("pub")).unwrap(),
        format!("{line}\n")
    );
    let again = ProbeKey::load_or_create(&path, "other").unwrap();
    assert_eq!(again.public_line(), line);
    let names: Vec<_> = fs::read_dir(path.parent().unwrap()).unwrap().collect();
    assert_eq!(names.len(), 2, "nothing is left over");
    drop(dir);
}

#[test]
fn openssh_reads_what_is_made_here() {
    for kind in [KeyType::Ed25519, KeyType::Rsa] {
        let (_dir, path) = place();
        let key = ProbeKey::generate(&path, kind, "lab", false).unwrap();
        let shown = match Command::new("ssh-keygen")
            .args(["-y", "-f"])
            .arg(&path)
            .output()
        {
            Ok(output) => String::from_utf8(output.stdout).unwrap(),
            Err(cause) => {
                return eprintln!("*** SKIPPED: ssh-keygen is not installed ({cause}) ***");
            }
        };
        assert_eq!(shown.trim_end(), key.public_line());
        let listed = Command::new("ssh-keygen")
            .args(["-l", "-f"])
            .arg(&path)
            .output()
            .unwrap();
        assert!(
            String::from_utf8(listed.stdout)
                .unwrap()
                .contains(&key.fingerprint())
        );
    }
}

#[test]
fn keys_of_the_official_probe_are_imported() {
    for options in [
        ["-t", "rsa", "-b", "2048", "-N", "", "-C", "host"].as_slice(),
        // As old installers made them.
        &[
            "-t", "rsa", "-b", "2048", "-m", "PEM", "-N", "", "-C", "host",
        ],
        // As OpenSSL makes them.
        &[
            "-t", "rsa", "-b", "2048", "-m", "PKCS8", "-N", "", "-C", "host",
        ],
        &["-t", "ed25519", "-N", "", "-C", "host"],
    ] {
        let (dir, path) = place();
        let source = dir.path().join("source");
        if !ssh_keygen(&source, options) {
            return;
        }
        let key = ProbeKey::import(&source, &path, false).unwrap();
        let line = fs::read_to_string(source.with_extension("pub")).unwrap();
        let blob = |line: &str| line.split(' ').nth(1).unwrap().to_owned();
        assert_eq!(blob(&key.public_line()), blob(&line));
        assert_eq!(mode(&path), 0o600);
        assert_eq!(
            ProbeKey::load(&path).unwrap().fingerprint(),
            key.fingerprint()
        );
    }
}

#[test]
fn an_existing_key_is_not_replaced_unless_asked() {
    let (_dir, path) = place();
    let first = ProbeKey::generate(&path, KeyType::Ed25519, "", false).unwrap();
    let refused = ProbeKey::generate(&path, KeyType::Ed25519, "", false);
    assert!(matches!(refused, Err(KeyError::Exists(_))));
    let source = path.with_file_name("source");
    ProbeKey::generate(&source, KeyType::Ed25519, "", false).unwrap();
    assert!(matches!(
        ProbeKey::import(&source, &path, false),
        Err(KeyError::Exists(_))
    ));
    assert_eq!(
        ProbeKey::load(&path).unwrap().fingerprint(),
        first.fingerprint()
    );
    let second = ProbeKey::import(&source, &path, true).unwrap();
    assert_ne!(second.fingerprint(), first.fingerprint());
}

#[test]
fn a_key_that_others_can_read_is_refused_with_the_remedy() {
    let (_dir, path) = place();
    ProbeKey::generate(&path, KeyType::Ed25519, "", false).unwrap();
    for open in [0o640, 0o604, 0o660, 0o622, 0o700 | 0o011] {
        fs::set_permissions(&path, fs::Permissions::from_mode(open)).unwrap();
        let refused = ProbeKey::load_or_create(&path, "").unwrap_err();
        let words = refused.to_string();
        assert!(
            words.contains("chmod 600") && words.contains(&format!("{open:04o}")),
            "{words}"
        );
        let copy = path.with_file_name("copy");
        assert!(matches!(
            ProbeKey::import(&path, &copy, false),
            Err(KeyError::TooOpen { .. })
        ));
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
    ProbeKey::load(&path).unwrap();
}

#[test]
fn a_key_with_a_passphrase_is_refused_with_the_remedy() {
    let (dir, path) = place();
    for format in ["RFC4716", "PEM", "PKCS8"] {
        let source = dir.path().join(format);
        if !ssh_keygen(
            &source,
            &[
                "-t",
                "rsa",
                "-b",
                "2048",
                "-m",
                format,
                "-N",
                "a passphrase",
            ],
        ) {
            return;
        }
        let refused = ProbeKey::import(&source, &path, false).unwrap_err();
        assert!(matches!(refused, KeyError::Encrypted(_)), "{refused:?}");
        assert!(refused.to_string().contains("ssh-keygen -p"), "{refused}");
    }
}

#[test]
fn what_is_no_usable_key_is_refused() {
    let (dir, path) = place();
    let source = dir.path().join("source");
    let write = |text: &str| {
        fs::write(&source, text).unwrap();
        fs::set_permissions(&source, fs::Permissions::from_mode(0o600)).unwrap();
        ProbeKey::import(&source, &path, false).unwrap_err()
    };
    assert!(matches!(write(""), KeyError::Malformed { .. }));
    assert!(matches!(
        write("ssh-ed25519 AAAA comment\n"),
        KeyError::Malformed { .. }
    ));
    let cut = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjE=\n-----END OPENSSH PRIVATE KEY-----\n";
    assert!(matches!(write(cut), KeyError::Malformed { .. }));
    assert!(matches!(write(&"x".repeat(100_000)), KeyError::Read(..)));
    let missing = dir.path().join("missing");
    assert!(matches!(
        ProbeKey::import(&missing, &path, false),
        Err(KeyError::NoSource(_))
    ));
    assert!(matches!(
        ProbeKey::load(dir.path()),
        Err(KeyError::Read(..))
    ));
    for (name, options) in [
        ("ecdsa", ["-t", "ecdsa", "-N", ""]),
        ("weak", ["-t", "rsa", "-N", ""]),
    ] {
        let source = dir.path().join(name);
        let weak = ["-b", "1024"];
        let options = [options.as_slice(), if name == "weak" { &weak } else { &[] }].concat();
        if !ssh_keygen(&source, &options) {
            return;
        }
        let refused = ProbeKey::import(&source, &path, false).unwrap_err();
        match name {
            "weak" => assert!(
                matches!(refused, KeyError::Weak { bits: 1024, .. }),
                "{refused:?}"
            ),
            _ => assert!(
                matches!(refused, KeyError::Unsupported { .. }),
                "{refused:?}"
            ),
        }
    }
    assert!(!path.exists());
}

#[test]
fn an_ed25519_key_of_openssl_is_imported() {
    // RFC 8410 section 10.3, and the public key that it gives for it in section 10.1.
    let text = "-----BEGIN PRIVATE KEY-----\r\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\r\n-----END PRIVATE KEY-----\r\n";
    let public = "19bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1";
    let (dir, path) = place();
    let source = dir.path().join("source");
    fs::write(&source, text).unwrap();
    fs::set_permissions(&source, fs::Permissions::from_mode(0o600)).unwrap();
    let line = ProbeKey::import(&source, &path, false)
        .unwrap()
        .public_line();
    let blob = STANDARD.decode(line.split(' ').nth(1).unwrap()).unwrap();
    let key: String = blob[blob.len() - 32..]
        .iter()
        .map(|octet| format!("{octet:02x}"))
        .collect();
    assert_eq!(key, public);
}

#[test]
fn an_rsa_key_whose_parts_do_not_belong_together_is_refused() {
    let (dir, path) = place();
    let source = dir.path().join("source");
    let other = dir.path().join("other");
    for file in [&source, &other] {
        if !ssh_keygen(file, &["-t", "rsa", "-b", "2048", "-m", "PEM", "-N", ""]) {
            return;
        }
    }
    let body = |file: &Path| {
        let text = fs::read_to_string(file).unwrap();
        let lines = text.lines().filter(|line| !line.starts_with("-----"));
        STANDARD.decode(lines.collect::<String>()).unwrap()
    };
    // The modulus is the second field: 4 octets of SEQUENCE, 3 of version, 4 of tag and length, 257 of number.
    let (mut mixed, other) = (body(&source), body(&other));
    mixed[11..268].copy_from_slice(&other[11..268]);
    let text = format!(
        "-----BEGIN RSA PRIVATE KEY-----\n{}\n-----END RSA PRIVATE KEY-----\n",
        STANDARD.encode(mixed)
    );
    fs::write(&source, text).unwrap();
    let refused = ProbeKey::import(&source, &path, false).unwrap_err();
    assert!(matches!(refused, KeyError::Malformed { .. }), "{refused:?}");
}

#[test]
fn what_putty_makes_is_refused_with_the_remedy() {
    let (dir, path) = place();
    let source = dir.path().join("source");
    fs::write(&source, "PuTTY-User-Key-File-3: ssh-ed25519\n").unwrap();
    fs::set_permissions(&source, fs::Permissions::from_mode(0o600)).unwrap();
    let refused = ProbeKey::import(&source, &path, false).unwrap_err();
    assert!(refused.to_string().contains("puttygen"), "{refused}");
}

#[test]
fn a_key_does_not_show_its_secret() {
    let (_dir, path) = place();
    let key = ProbeKey::generate(&path, KeyType::Ed25519, "lab", false).unwrap();
    let secret = key
        .private()
        .key_data()
        .ed25519()
        .unwrap()
        .private
        .to_bytes();
    let shown = format!("{key:?} {key:#?} {}", key.public_line());
    assert!(shown.contains("SHA256:"));
    for window in secret.windows(4) {
        assert!(!shown.contains(&format!("{window:?}")));
        assert!(
            !shown.contains(
                &window
                    .iter()
                    .map(|byte| format!("{byte:02x}"))
                    .collect::<String>()
            )
        );
    }
}

#[test]
fn the_beacon_name_is_a_hash_of_the_key_s_text() {
    // `controller-protocol` section 7.4.
    assert_eq!(
        super::probe::sos_hash("AAAAB3NzaC1yc2EAAAADAQAB"),
        "H24d96fd0ca3b6abf"
    );
    let (_dir, path) = place();
    let key = ProbeKey::generate(&path, KeyType::Ed25519, "lab", false).unwrap();
    assert_eq!(key.sos_id(), super::probe::sos_hash(&key.public_line()));
    let rsa = ProbeKey::generate(&path, KeyType::Rsa, "lab", true).unwrap();
    let text = rsa.public_line().split(' ').nth(1).unwrap().to_owned();
    assert_eq!(rsa.sos_id(), super::probe::sos_hash(&text));
}

#[test]
fn a_comment_cannot_break_its_line() {
    let (_dir, path) = place();
    let key = ProbeKey::generate(&path, KeyType::Ed25519, " a\nssh-rsa b\0 ", false).unwrap();
    assert!(
        key.public_line().ends_with(" assh-rsa b"),
        "{}",
        key.public_line()
    );
    assert_eq!(key.public_line().lines().count(), 1);
}

/// A key line whose fingerprint is widely published.
const LINE: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl";

#[test]
fn host_keys_are_read_from_key_lines_and_known_hosts_lines() {
    let key: HostKey = LINE.parse().unwrap();
    assert_eq!(key.to_string(), LINE);
    assert_eq!(key.kind(), "ssh-ed25519");
    // As `ssh-keygen -lf` prints it.
    assert_eq!(
        key.fingerprint(),
        "SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU"
    );
    for line in [
        format!("{LINE} github.com"),
        format!("github.com {LINE}"),
        format!("[reg03.atlas.ripe.net]:443,193.0.19.246 {LINE} a comment"),
        format!("|1|hash=|salt= {LINE}\n"),
    ] {
        assert_eq!(line.parse::<HostKey>().unwrap(), key, "{line}");
    }
}

#[test]
fn what_is_no_host_key_says_why() {
    let blob = LINE.split(' ').nth(1).unwrap();
    let error = |line: &str| line.parse::<HostKey>().unwrap_err();
    assert!(matches!(error(""), HostKeyError::Shape(_)));
    assert!(matches!(error("ssh-rsa"), HostKeyError::Shape(_)));
    assert!(matches!(
        error(&format!("ssh-dss {blob}")),
        HostKeyError::Shape(_)
    ));
    assert!(matches!(
        error(&format!("host ssh-dss {blob}")),
        HostKeyError::Type(_)
    ));
    assert!(matches!(
        error("ssh-rsa not*base64"),
        HostKeyError::Base64(_)
    ));
    assert!(matches!(error("ssh-rsa AAAA"), HostKeyError::Blob));
    assert!(matches!(
        error(&format!("ssh-rsa {blob}")),
        HostKeyError::Mismatch { .. }
    ));
    assert!(matches!(
        error(&format!("@cert-authority * {LINE}")),
        HostKeyError::Marker(_)
    ));
    assert!(matches!(
        HostKey::from_blob(vec![0; 5000]),
        Err(HostKeyError::TooLong(5000))
    ));
}

#[test]
fn a_fingerprint_is_the_unpadded_base64_of_the_sha256() {
    assert_eq!(
        fingerprint(b""),
        "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU"
    );
}

proptest! {
    #[test]
    fn no_key_file_panics(label in "(OPENSSH |RSA |)", octets in prop::collection::vec(any::<u8>(), 0..120), der in any::<bool>()) {
        let mut body = octets;
        if der {
            // A SEQUENCE, so that something inside is looked at.
            let length = u8::try_from(body.len()).unwrap();
            body.splice(0..0, [0x30, length, 0x02, 0x01, 0x00]);
        }
        let text = format!(
            "-----BEGIN {label}PRIVATE KEY-----\n{}\n-----END {label}PRIVATE KEY-----\n",
            STANDARD.encode(body)
        );
        prop_assert!(format::decode(&text).is_err());
    }

    #[test]
    fn no_blob_from_a_stranger_panics(blob in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = HostKey::from_blob(blob);
    }

    #[test]
    fn no_line_from_a_stranger_panics(line in ".{0,200}") {
        let _ = line.parse::<HostKey>();
    }
}
