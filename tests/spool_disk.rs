//! The spool in a real directory: a process that is killed, a disk that is full, files that are not ours.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use starling::{
    clock::Tick,
    spool::{
        Input, Limits, Note, Number,
        disk::{OpenError, Store},
    },
};

/// Tells the test binary, when it runs itself, in which directory to play its part.
const PART: &str = "STARLING_SPOOL_TEST_DIR";

fn at(secs: u64) -> Tick {
    Tick::from_secs(secs)
}

fn open(dir: &Path, limits: Limits) -> (Store, Vec<Note>) {
    Store::open(dir, limits, at(0)).expect("opens")
}

fn line(index: u64) -> String {
    format!(
        "RESULT {{ \"id\":\"1001\", \"index\":{index}, \"fill\":\"{}\" }}\n",
        "x".repeat(100)
    )
}

fn append(store: &mut Store, index: u64) {
    assert_eq!(store.handle(at(1), Input::Append(line(index))), []);
}

/// Every line that would be posted.
fn lines(store: &mut Store) -> Vec<String> {
    let (sealed, _) = store.collect(at(2), u64::MAX);
    let mut lines = Vec::new();
    for segment in sealed {
        let (contents, notes) = store.read(at(2), segment.number);
        assert_eq!(notes, []);
        let text = String::from_utf8(contents.expect("reads")).expect("is text");
        lines.extend(text.split_inclusive('\n').map(str::to_owned));
    }
    lines
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).expect("lists");
    let mut names: Vec<_> = entries
        .map(|entry| {
            entry
                .expect("lists")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    names.sort();
    names
}

/// This test binary, playing one of its ignored parts.
fn part(name: &str, dir: &Path) -> Vec<String> {
    let binary = std::env::current_exe().expect("has a path");
    let words = [
        binary.to_str().expect("is text"),
        "--exact",
        name,
        "--ignored",
        "--nocapture",
    ];
    assert!(dir.is_absolute());
    words.map(str::to_owned).to_vec()
}

/// Where to play; `None` when nobody asked, as when all ignored tests are run.
fn part_dir() -> Option<PathBuf> {
    std::env::var_os(PART).map(PathBuf::from)
}

#[test]
#[ignore = "a part of `a_killed_process_loses_no_line_that_it_acknowledged`"]
fn child_that_appends_until_killed() {
    let Some(dir) = part_dir() else {
        return;
    };
    let limits = Limits {
        segment: 1500,
        ..Limits::default()
    };
    let (mut store, _) = open(&dir, limits);
    let first = lines(&mut store).len() as u64;
    let mut out = std::io::stdout();
    for index in first.. {
        append(&mut store, index);
        if index % 5 == 0 {
            store.handle(at(1), Input::Kept);
        }
        if index % 7 == 0 {
            store.handle(at(1), Input::Seal { enough: u64::MAX });
        }
        writeln!(out, "\nacknowledged {index}")
            .and_then(|()| out.flush())
            .expect("has a reader");
    }
}

#[test]
fn a_killed_process_loses_no_line_that_it_acknowledged() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut total = 0;
    for acknowledged in [1, 2, 9, 30, 100] {
        let words = part("child_that_appends_until_killed", dir.path());
        let mut child = Command::new(&words[0])
            .args(&words[1..])
            .env(PART, dir.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("runs itself");
        let told = BufReader::new(child.stdout.take().expect("is piped")).lines();
        let told = told
            .map_while(Result::ok)
            .filter_map(|line| line.strip_prefix("acknowledged ")?.parse::<u64>().ok());
        let last = told.take(acknowledged).last().expect("acknowledges");
        // SIGKILL, in the middle of whatever it does.
        child.kill().expect("kills");
        child.wait().expect("ends");
        let (mut store, _) = open(dir.path(), Limits::default());
        let kept = lines(&mut store);
        assert!(
            kept.len() as u64 > last,
            "{} of {last} and more",
            kept.len()
        );
        let expected: Vec<String> = (0..kept.len() as u64).map(line).collect();
        assert_eq!(
            kept, expected,
            "in order, whole, nothing twice, nothing invented"
        );
        total = kept.len();
    }
    assert!(total > 140);
}

#[test]
fn what_was_accepted_is_gone_and_what_was_not_is_there_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let spool = dir.path().join("new/spool");
    let (mut store, _) = open(&spool, Limits::default());
    append(&mut store, 0);
    let (sealed, _) = store.collect(at(1), 1);
    store.handle(at(1), Input::Uploaded(vec![sealed[0].number]));
    assert_eq!(names(&spool), ["lock"]);
    append(&mut store, 1);
    drop(store);
    let (mut store, notes) = open(&spool, Limits::default());
    assert_eq!(
        notes,
        [Note::Recovered {
            segments: 1,
            lines: 1
        }]
    );
    assert_eq!(lines(&mut store), [line(1)]);
}

#[test]
fn only_this_user_can_read_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let spool = dir.path().join("spool");
    let (mut store, _) = open(&spool, Limits::default());
    append(&mut store, 0);
    let mode = |path: &Path| fs::metadata(path).expect("is there").permissions().mode() & 0o777;
    assert_eq!(mode(&spool), 0o700);
    assert_eq!(mode(&spool.join("000000000001.open")), 0o600);
}

#[test]
fn two_processes_do_not_share_a_spool() {
    let dir = tempfile::tempdir().expect("a directory");
    let (_store, _) = open(dir.path(), Limits::default());
    let second = Store::open(dir.path(), Limits::default(), at(0));
    assert!(matches!(second, Err(OpenError::InUse(_))));
}

#[test]
fn a_torn_segment_is_cut_at_its_last_whole_line() {
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(
        dir.path().join("000000000007.open"),
        format!("{}RESULT {{ \"id", line(0)),
    )
    .expect("writes");
    let (mut store, notes) = open(dir.path(), Limits::default());
    assert!(
        notes.contains(&Note::Torn {
            number: Number(7),
            bytes: 12
        }),
        "{notes:?}"
    );
    assert_eq!(lines(&mut store), [line(0)]);
    append(&mut store, 1);
    assert_eq!(lines(&mut store), [line(0), line(1)]);
}

#[test]
fn a_segment_that_rots_is_never_posted() {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut store, _) = open(dir.path(), Limits::default());
    append(&mut store, 0);
    let (sealed, _) = store.collect(at(1), 1);
    append(&mut store, 1);
    let name = names(dir.path())
        .into_iter()
        .find(|name| name.ends_with(".lines"))
        .expect("is sealed");
    let rotten = line(0).replace("1001", "1002");
    fs::write(dir.path().join(&name), &rotten).expect("writes");
    let (contents, notes) = store.read(at(2), sealed[0].number);
    assert_eq!(contents, None);
    assert!(
        notes.contains(&Note::Quarantined { number: Number(1) }),
        "{notes:?}"
    );
    assert_eq!(lines(&mut store), [line(1)]);
    assert_eq!(
        fs::read_to_string(dir.path().join("000000000001.bad")).expect("is kept"),
        rotten
    );
    drop(store);
    let (mut store, _) = open(dir.path(), Limits::default());
    assert_eq!(lines(&mut store), [line(1)]);
}

#[test]
fn files_of_others_are_left_alone_and_links_are_not_followed() {
    let dir = tempfile::tempdir().expect("a directory");
    let outside = dir.path().join("outside");
    fs::write(&outside, line(9)).expect("writes");
    let spool = dir.path().join("spool");
    fs::create_dir(&spool).expect("makes");
    symlink(&outside, spool.join("000000000003.open")).expect("links");
    fs::write(spool.join("notes.txt"), "mine").expect("writes");
    let (mut store, notes) = open(&spool, Limits::default());
    assert!(notes.contains(&Note::Foreign { files: 1 }), "{notes:?}");
    assert!(
        notes
            .iter()
            .any(|note| matches!(note, Note::Unreadable { .. })),
        "{notes:?}"
    );
    append(&mut store, 0);
    assert_eq!(lines(&mut store), [line(0)]);
    store.handle(at(3), Input::Flush);
    assert_eq!(fs::read_to_string(&outside).expect("is there"), line(9));
    assert!(spool.join("notes.txt").exists());
}

#[test]
fn files_that_somebody_removed_are_counted_and_forgotten() {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut store, _) = open(dir.path(), Limits::default());
    append(&mut store, 0);
    fs::remove_file(dir.path().join("000000000001.open")).expect("removes");
    let notes = store.handle(at(1), Input::Append(line(1)));
    assert!(
        matches!(notes[0], Note::Dropped { lines: 1, .. }),
        "{notes:?}"
    );
    store.handle(at(60), Input::Deadline);
    assert_eq!(lines(&mut store), [line(1)]);
}

#[test]
fn an_outage_is_packed_small_and_read_back_whole() {
    let dir = tempfile::tempdir().expect("a directory");
    let limits = Limits {
        pack_after: Duration::from_secs(600),
        ..Limits::default()
    };
    let (mut store, _) = open(dir.path(), limits);
    let all: Vec<String> = (0..200).map(line).collect();
    for index in 0..200 {
        append(&mut store, index);
    }
    store.collect(at(1), 1);
    store.handle(at(1), Input::Kept);
    let before = store.spool().stats().stored;
    store.handle(at(601), Input::Deadline);
    let after = store.spool().stats().stored;
    assert!(after * 5 < before, "{after} of {before}");
    let packed = names(dir.path())
        .into_iter()
        .find(|name| name.ends_with(".lines.z"))
        .expect("is packed");
    assert_eq!(
        fs::metadata(dir.path().join(packed))
            .expect("is there")
            .len(),
        after
    );
    assert_eq!(lines(&mut store), all);
    drop(store);
    let (mut store, _) = open(dir.path(), limits);
    assert_eq!(lines(&mut store), all);
}

#[test]
fn a_directory_that_cannot_be_made_is_no_reason_to_lose_results() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("file");
    fs::write(&file, "").expect("writes");
    let spool = file.join("spool");
    // A file stands in its way: listing fails with another error than "not found", so say so at the start.
    assert!(matches!(
        Store::open(&spool, Limits::default(), at(0)),
        Err(OpenError::Unreadable(..))
    ));
    // A parent that will be mounted later.
    let spool = dir.path().join("later/spool");
    let (mut store, _) = open(&spool, Limits::default());
    append(&mut store, 0);
    assert_eq!(lines(&mut store), [line(0)]);
}

#[test]
#[ignore = "a part of `a_full_disk_keeps_results_in_memory_and_catches_up`"]
fn child_on_a_small_disk() {
    let Some(dir) = part_dir() else {
        return;
    };
    let limits = Limits {
        memory: 64 << 10,
        ..Limits::default()
    };
    let (mut store, _) = open(&dir.join("spool"), limits);
    let ballast = dir.join("ballast");
    // The rest of the disk is somebody else's.
    let _ = fs::write(&ballast, vec![1; 1 << 20]);
    let mut refused = false;
    for index in 0..300 {
        let notes = store.handle(at(1), Input::Append(line(index)));
        refused |= notes
            .iter()
            .any(|note| matches!(note, Note::DiskRefuses { .. }));
        assert!(
            !notes
                .iter()
                .any(|note| matches!(note, Note::Dropped { .. })),
            "{notes:?}"
        );
    }
    assert!(refused, "the disk is full");
    let expected: Vec<String> = (0..300).map(line).collect();
    assert_eq!(lines(&mut store), expected, "posted from memory");
    fs::remove_file(ballast).expect("removes");
    let notes = store.handle(at(60), Input::Deadline);
    assert!(notes.contains(&Note::DiskWorks), "{notes:?}");
    assert_eq!(store.spool().stats().held, 0);
    drop(store);
    let (mut store, _) = open(&dir.join("spool"), limits);
    assert_eq!(lines(&mut store), expected, "it is all on disk now");
    println!("small disk: passed");
}

/// A small file system of the test's own, where the system allows one.
#[test]
fn a_full_disk_keeps_results_in_memory_and_catches_up() {
    let dir = tempfile::tempdir().expect("a directory");
    let words = part("child_on_a_small_disk", dir.path());
    let script = "mount -t tmpfs -o size=256k tmpfs \"$0\" || exit 77; exec \"$@\"";
    let told = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", script])
        .arg(dir.path())
        .args(&words)
        .env(PART, dir.path())
        .output();
    let (ran, said) = match told {
        Ok(told) => (
            told.status.success(),
            format!(
                "{}{}",
                String::from_utf8_lossy(&told.stdout),
                String::from_utf8_lossy(&told.stderr)
            ),
        ),
        Err(error) => (false, error.to_string()),
    };
    if said.contains("running 1 test") {
        assert!(ran && said.contains("small disk: passed"), "{said}");
        return;
    }
    eprintln!("NOT TESTED: no file system of our own here (unshare, mount): {said}");
    assert!(
        std::env::var_os("STARLING_REQUIRE_NETNS").is_none(),
        "namespaces are required here"
    );
}
