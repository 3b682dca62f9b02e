//! Taking over a probe that is installed already: its key, its settings, and nothing lost on the way.

#![allow(clippy::panic, reason = "a test says what is wrong by panicking")]
#![allow(clippy::unwrap_used, reason = "a test says what is wrong by panicking")]

mod support;

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use support::{starling, stderr, stdout};

struct Host {
    folder: tempfile::TempDir,
}

impl Host {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A probe with its key in `place`, and its public line.
    fn probe(&self, place: &str) -> String {
        let file = self.path(place).join("probe_key");
        let made = starling(&["key", "--key-file", text(&file), "generate"]);
        assert_eq!(made.status.code(), Some(0), "{}", stderr(&made));
        stdout(&made)
    }

    fn write(&self, name: &str, content: &str) {
        let file = self.path(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, content).unwrap();
    }

    /// Runs `starling migrate` with what is in `old`, to `new`.
    fn migrate(&self, more: &[&str]) -> (Option<i32>, String, String) {
        let (from, to) = (self.path("old"), self.path("new"));
        let mut args = vec!["migrate", "--from", text(&from), "--data-dir", text(&to)];
        args.extend(more);
        let output = starling(&args);
        (output.status.code(), stdout(&output), stderr(&output))
    }

    /// Every file below, with its content.
    fn files(&self) -> BTreeMap<PathBuf, String> {
        let mut files = BTreeMap::new();
        let mut left = vec![self.folder.path().to_owned()];
        while let Some(folder) = left.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    left.push(path);
                } else {
                    files.insert(path.clone(), fs::read_to_string(path).unwrap());
                }
            }
        }
        files
    }

    fn public_line(&self) -> String {
        stdout(&starling(&[
            "key",
            "--data-dir",
            text(&self.path("new")),
            "show",
        ]))
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn without_apply_everything_is_said_and_nothing_done() {
    let host = Host::new();
    host.probe("old");
    host.write("old/config.txt", "RXTXRPT=yes\nTELNETD_PORT=2023\n");
    let before = host.files();
    let (code, said, talk) = host.migrate(&[]);
    assert_eq!(code, Some(0), "{talk}");
    assert_eq!(host.files(), before);
    for part in [
        "would be copied to",
        "RXTXRPT=yes",
        "TELNETD_PORT=2023: not needed",
        "nothing has been changed",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn the_key_is_taken_from_wherever_a_layout_has_it_and_stays_there() {
    for place in ["old", "old/etc", "old/etc/ripe-atlas"] {
        let host = Host::new();
        let line = host.probe(place);
        let before = host.files();
        let (code, said, talk) = host.migrate(&["--apply"]);
        assert_eq!(code, Some(0), "{place}: {said}{talk}");
        assert_eq!(host.public_line(), line, "{place}");
        let key = fs::metadata(host.path("new/probe_key")).unwrap();
        assert_eq!(key.permissions().mode() & 0o777, 0o600);
        assert_eq!(
            fs::metadata(host.path("new")).unwrap().permissions().mode() & 0o777,
            0o700
        );
        let after = host.files();
        assert!(before.iter().all(|(file, content)| after[file] == *content));
        // A second time there is nothing left to do.
        let (code, said, _) = host.migrate(&["--apply"]);
        assert_eq!(code, Some(0));
        assert!(said.contains("already"), "{said}");
        assert_eq!(host.files(), after);
    }
}

#[test]
fn another_key_is_replaced_only_by_force_and_kept() {
    let host = Host::new();
    let line = host.probe("old");
    let ours = host.probe("new");
    let before = host.files();
    let (code, _, talk) = host.migrate(&["--apply"]);
    assert_eq!(code, Some(71), "{talk}");
    assert!(talk.contains("--force"), "{talk}");
    assert_eq!(host.files(), before);
    let (code, said, talk) = host.migrate(&["--apply", "--force"]);
    assert_eq!(code, Some(0), "{talk}");
    assert!(said.contains("kept as"), "{said}");
    assert_eq!(host.public_line(), line);
    let kept = host.path("new/probe_key.before-migration");
    let shown = starling(&["key", "--key-file", text(&kept), "show"]);
    assert_eq!(stdout(&shown), ours);
    // What is kept is not run over by a second migration.
    fs::copy(&kept, host.path("new/probe_key")).unwrap();
    let before = host.files();
    let (code, _, talk) = host.migrate(&["--apply", "--force"]);
    assert_eq!(code, Some(71));
    assert!(talk.contains("move it away first"), "{talk}");
    assert_eq!(host.files(), before);
}

#[test]
fn settings_are_written_where_asked_and_the_probe_can_use_them() {
    let host = Host::new();
    host.probe("old/etc");
    host.write("old/state/config.txt", "RXTXRPT=no\n");
    host.write("old/state/mode", "test\n");
    let file = host.path("starling.toml");
    let (code, said, talk) = host.migrate(&["--apply", "--config", text(&file)]);
    assert_eq!(code, Some(0), "{said}{talk}");
    let config = starling::config::Config::load(&file).unwrap();
    assert!(!config.upload.interface_counters);
    assert_eq!(config.registration.servers.len(), 6);
    let checked = starling(&["run", "--check", "--config", text(&file)]);
    assert_eq!(checked.status.code(), Some(0), "{}", stderr(&checked));
    // The probe runs as another user than the one who migrated.
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o400, 0o400);
}

#[test]
fn a_configuration_of_ones_own_is_left_alone_and_so_is_all_else() {
    let host = Host::new();
    host.probe("old");
    host.write("starling.toml", "[log]\nlevel = \"debug\"\n");
    let before = host.files();
    let file = host.path("starling.toml");
    let (code, _, talk) = host.migrate(&["--apply", "--config", text(&file)]);
    assert_eq!(code, Some(71), "{talk}");
    assert!(talk.contains("interface_counters = false"), "{talk}");
    assert_eq!(host.files(), before);
}

#[test]
fn what_cannot_be_taken_is_said_with_the_remedy() {
    let host = Host::new();
    let (code, _, talk) = host.migrate(&[]);
    assert_eq!(code, Some(69));
    assert!(talk.contains("--from"), "{talk}");
    host.write("old/probe_key", "not a key");
    let file = host.path("old/probe_key");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let (code, _, talk) = host.migrate(&[]);
    assert_eq!(code, Some(71));
    assert!(talk.contains("not a private key"), "{talk}");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let (code, _, talk) = host.migrate(&[]);
    assert_eq!(code, Some(71));
    assert!(talk.contains("chmod 600"), "{talk}");
}

#[test]
fn root_gives_the_key_to_the_owner_of_the_directory() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("SKIPPED: only root can give files away");
        return;
    }
    let host = Host::new();
    host.probe("old");
    fs::create_dir(host.path("new")).unwrap();
    std::os::unix::fs::chown(host.path("new"), Some(1234), Some(1235)).unwrap();
    let (code, _, talk) = host.migrate(&["--apply"]);
    assert_eq!(code, Some(0), "{talk}");
    for file in ["probe_key", "probe_key.pub"] {
        let meta = fs::metadata(host.path("new").join(file)).unwrap();
        assert_eq!((meta.uid(), meta.gid()), (1234, 1235), "{file}");
    }
}
