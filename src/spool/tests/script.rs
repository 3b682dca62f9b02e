//! Dialogues: this input, at this time, yields this operation.

use std::time::Duration;

use crate::{
    clock::Tick,
    spool::{
        Contents, Errno, Found, Input, Limits, Name, Note, Number, Op, Output, Seal, Spool, Why,
        segment::{self, Crc},
    },
};

pub(super) const A: &str = "RESULT { \"id\":\"1001\" }\n";
pub(super) const B: &str = "RESULT { \"id\":\"1002\" }\n";
pub(super) const DONE: Input = Input::Done { size: 0 };

pub(super) fn at(secs: u64) -> Tick {
    Tick::from_secs(secs)
}

pub(super) fn open(number: u64) -> Name {
    Name::Open(Number(number))
}

pub(super) fn seal(lines: &str) -> Seal {
    Seal {
        len: lines.len() as u64,
        crc: Crc::of(lines.as_bytes()),
    }
}

pub(super) fn sealed(number: u64, lines: &str) -> Name {
    Name::Sealed(Number(number), seal(lines))
}

pub(super) fn write(number: u64, at: usize, lines: &str) -> Vec<Output> {
    vec![Output::Disk(Op::Write {
        name: open(number),
        at: at as u64,
        bytes: lines.as_bytes().to_vec(),
    })]
}

pub(super) fn disk(op: Op) -> Vec<Output> {
    vec![Output::Disk(op)]
}

pub(super) fn append(line: &str) -> Input {
    Input::Append(line.to_owned())
}

fn found(name: Name, lines: &str) -> Found {
    Found {
        name,
        stored: lines.len() as u64,
        contents: Contents::Scanned(segment::scan(lines.as_bytes(), name.seal())),
    }
}

/// Tells the spool this, and the disk does whatever it then asks for.
pub(super) fn carry_out(spool: &mut Spool, now: Tick, input: Input) {
    let mut outputs = spool.handle(now, input);
    while matches!(outputs.last(), Some(Output::Disk(_))) {
        outputs = spool.handle(now, DONE);
    }
}

/// A spool that found nothing at its start, at second 0.
pub(super) fn empty(limits: Limits) -> Spool {
    let mut spool = Spool::new(limits);
    assert_eq!(
        spool.handle(at(0), Input::Recovered(Vec::new())),
        disk(Op::SyncDir)
    );
    assert_eq!(spool.handle(at(0), DONE), []);
    spool
}

#[test]
fn a_segment_that_is_accepted_in_time_is_never_synced() {
    let mut spool = empty(Limits::default());
    assert_eq!(spool.handle(at(1), append(A)), write(1, 0, A));
    assert_eq!(spool.handle(at(1), DONE), []);
    assert_eq!(spool.handle(at(2), append(B)), write(1, A.len(), B));
    assert_eq!(spool.handle(at(2), DONE), []);
    let rename = Op::Rename {
        from: open(1),
        to: sealed(1, &format!("{A}{B}")),
    };
    assert_eq!(
        spool.handle(at(30), Input::Seal { enough: 1 }),
        disk(rename)
    );
    assert_eq!(spool.handle(at(30), DONE), []);
    let remove = Op::Remove {
        name: sealed(1, &format!("{A}{B}")),
    };
    assert_eq!(
        spool.handle(at(31), Input::Uploaded(vec![Number(1)])),
        disk(remove)
    );
    assert_eq!(spool.handle(at(31), DONE), []);
    assert_eq!(spool.deadline(), None);
}

#[test]
fn written_lines_are_synced_after_a_minute_at_the_latest() {
    let mut spool = empty(Limits::default());
    carry_out(&mut spool, at(5), append(A));
    assert_eq!(spool.deadline(), Some(at(65)));
    assert_eq!(
        spool.handle(at(65), Input::Deadline),
        disk(Op::Sync { name: open(1) })
    );
    assert_eq!(spool.handle(at(65), DONE), disk(Op::SyncDir));
    assert_eq!(spool.handle(at(65), DONE), []);
    assert_eq!(spool.deadline(), None);
    carry_out(&mut spool, at(70), append(B));
    assert_eq!(
        spool.handle(at(130), Input::Deadline),
        disk(Op::Sync { name: open(1) })
    );
    assert_eq!(spool.handle(at(130), DONE), [], "its name is safe already");
}

#[test]
fn a_failed_upload_syncs_at_once() {
    let mut spool = empty(Limits::default());
    carry_out(&mut spool, at(5), append(A));
    assert_eq!(
        spool.handle(at(6), Input::Kept),
        disk(Op::Sync { name: open(1) })
    );
}

#[test]
fn an_upload_seals_only_what_it_has_room_for() {
    let mut spool = empty(Limits::default());
    for (number, line) in [(1, A), (2, B)] {
        assert_eq!(spool.handle(at(1), append(line)), write(number, 0, line));
        spool.handle(at(1), DONE);
        carry_out(&mut spool, at(1), Input::Seal { enough: 1000 });
    }
    carry_out(&mut spool, at(2), append(A));
    assert_eq!(
        spool.handle(
            at(2),
            Input::Seal {
                enough: A.len() as u64
            }
        ),
        []
    );
    assert_eq!(
        spool
            .sealed()
            .map(|sealed| sealed.number)
            .collect::<Vec<_>>(),
        [Number(1), Number(2)]
    );
}

#[test]
fn a_full_segment_is_sealed_and_the_next_line_opens_another() {
    let limits = Limits {
        segment: A.len() + 1,
        ..Limits::default()
    };
    let mut spool = empty(limits);
    carry_out(&mut spool, at(1), append(A));
    assert_eq!(spool.handle(at(1), append(B)), write(2, 0, B));
    let rename = Op::Rename {
        from: open(1),
        to: sealed(1, A),
    };
    assert_eq!(spool.handle(at(1), DONE), disk(rename));
}

#[test]
fn a_full_disk_keeps_lines_in_memory_and_catches_up_later() {
    let mut spool = empty(Limits::default());
    spool.handle(at(1), append(A));
    let full = Errno(28);
    let cut = Op::Cut {
        name: open(1),
        to: 0,
    };
    assert_eq!(
        spool.handle(at(1), Input::Failed(full)),
        [
            Output::Note(Note::DiskRefuses { errno: full }),
            Output::Disk(cut)
        ]
    );
    assert_eq!(spool.handle(at(1), DONE), []);
    assert_eq!(spool.handle(at(2), append(B)), [], "not tried again yet");
    assert_eq!(spool.handle(at(2), Input::Seal { enough: 1 }), []);
    let (file, tail, _) = spool.contents(Number(1)).expect("uploaded from memory");
    assert_eq!((file, tail), (None, format!("{A}{B}").as_bytes()));
    assert_eq!(spool.deadline(), Some(at(11)));
    assert_eq!(
        spool.handle(at(11), Input::Deadline),
        write(1, 0, &format!("{A}{B}"))
    );
    let rename = Op::Rename {
        from: open(1),
        to: sealed(1, &format!("{A}{B}")),
    };
    assert_eq!(
        spool.handle(at(11), DONE),
        [Output::Note(Note::DiskWorks), Output::Disk(rename)]
    );
}

#[test]
fn a_read_only_disk_bounds_memory_by_dropping_the_oldest() {
    let limits = Limits {
        memory: A.len() + 8,
        ..Limits::default()
    };
    let mut spool = empty(limits);
    spool.handle(at(1), append(A));
    spool.handle(at(1), Input::Failed(Errno(30)));
    let dropped = Note::Dropped {
        lines: 1,
        bytes: A.len() as u64,
        why: Why::Memory,
    };
    assert_eq!(spool.handle(at(2), append(B)), [Output::Note(dropped)]);
    assert_eq!((spool.stats().lines, spool.stats().dropped), (1, 1));
    spool.handle(at(3), Input::Seal { enough: 1 });
    assert_eq!(
        spool
            .contents(Number(1))
            .map(|(_, tail, seal)| (tail.to_vec(), seal)),
        Some((B.into(), seal(B)))
    );
}

#[test]
fn an_accepted_segment_that_cannot_be_removed_is_not_posted_again() {
    let mut spool = empty(Limits::default());
    carry_out(&mut spool, at(1), append(A));
    carry_out(&mut spool, at(1), Input::Seal { enough: 1 });
    spool.handle(at(2), Input::Uploaded(vec![Number(1)]));
    spool.handle(at(2), Input::Failed(Errno(30)));
    assert_eq!(spool.sealed().count(), 0);
    let remove = Op::Remove { name: sealed(1, A) };
    assert_eq!(spool.handle(at(12), Input::Deadline), disk(remove));
}

#[test]
fn the_torn_tail_of_an_open_segment_is_cut_at_the_last_whole_line() {
    let mut spool = Spool::new(Limits::default());
    let outputs = spool.handle(
        at(0),
        Input::Recovered(vec![found(open(7), &format!("{A}RESULT {{"))]),
    );
    assert_eq!(
        outputs,
        [
            Output::Note(Note::Torn {
                number: Number(7),
                bytes: 8
            }),
            Output::Note(Note::Recovered {
                segments: 1,
                lines: 1
            }),
            Output::Disk(Op::Cut {
                name: open(7),
                to: A.len() as u64
            }),
        ]
    );
    let rename = Op::Rename {
        from: open(7),
        to: sealed(7, A),
    };
    assert_eq!(spool.handle(at(0), DONE), disk(rename));
}

#[test]
fn a_sealed_segment_of_which_the_end_was_never_synced_keeps_its_front() {
    let whole = sealed(3, &format!("{A}{B}"));
    let mut torn = A.as_bytes().to_vec();
    torn.resize(A.len() + B.len(), 0);
    let file = Found {
        name: whole,
        stored: torn.len() as u64,
        contents: Contents::Scanned(segment::scan(&torn, whole.seal())),
    };
    let mut spool = Spool::new(Limits::default());
    let outputs = spool.handle(at(0), Input::Recovered(vec![file]));
    let cut = Op::Cut {
        name: whole,
        to: A.len() as u64,
    };
    assert_eq!(outputs.last(), Some(&Output::Disk(cut)));
    assert_eq!(
        spool.sealed().map(|sealed| sealed.len).collect::<Vec<_>>(),
        [A.len() as u64]
    );
}

#[test]
fn a_sealed_segment_with_another_checksum_is_quarantined() {
    let name = sealed(3, A);
    let mut spool = Spool::new(Limits::default());
    let outputs = spool.handle(at(0), Input::Recovered(vec![found(name, B)]));
    let rename = Op::Rename {
        from: name,
        to: Name::Bad(Number(3)),
    };
    assert_eq!(
        outputs,
        [
            Output::Note(Note::Quarantined { number: Number(3) }),
            Output::Disk(rename)
        ]
    );
    assert_eq!(spool.sealed().count(), 0);
}

#[test]
fn an_interrupted_packing_leaves_one_of_two_equal_segments() {
    let plain = found(sealed(3, A), A);
    let packed = Found {
        name: Name::Packed(Number(3), seal(A)),
        ..plain
    };
    let mut spool = Spool::new(Limits::default());
    spool.handle(at(0), Input::Recovered(vec![packed, plain]));
    assert_eq!(spool.sealed().count(), 1);
}

#[test]
fn numbers_go_on_after_the_highest_found() {
    let mut spool = Spool::new(Limits::default());
    assert_eq!(spool.handle(at(0), append(B)), [], "waits for the listing");
    spool.handle(at(0), Input::Recovered(vec![found(sealed(41, A), A)]));
    let numbers: Vec<_> = spool.files().iter().map(|name| name.number()).collect();
    assert_eq!(numbers, [Number(41)]);
    assert_eq!(spool.stats().lines, 2);
    spool.handle(at(0), Input::Seal { enough: 1 << 20 });
    while !spool.handle(at(0), DONE).is_empty() {}
    assert_eq!(
        spool.sealed().last().map(|sealed| sealed.number),
        Some(Number(42))
    );
}

#[test]
fn a_damaged_segment_found_when_it_is_posted_is_taken_out() {
    let mut spool = empty(Limits::default());
    carry_out(&mut spool, at(1), append(A));
    carry_out(&mut spool, at(1), Input::Seal { enough: 1 });
    let seen = Contents::Scanned(segment::scan(B.as_bytes(), Some(seal(A))));
    let outputs = spool.handle(at(2), Input::Damaged(Number(1), seen));
    assert!(outputs.contains(&Output::Note(Note::Quarantined { number: Number(1) })));
    assert_eq!(spool.sealed().count(), 0);
    assert_eq!(spool.stats().dropped, 1, "and counted");
}

#[test]
fn what_is_no_result_line_or_too_long_is_refused_and_counted() {
    let mut spool = empty(Limits {
        segment: A.len(),
        ..Limits::default()
    });
    for (text, why) in [
        ("hello\n".to_owned(), Why::NoResult),
        ("RESULT \0\n".to_owned(), Why::NoResult),
        (format!("RESULT {}\n", "x".repeat(100)), Why::TooLong),
    ] {
        let (lines, bytes) = (1, text.len() as u64);
        assert_eq!(
            spool.handle(at(1), Input::Append(text)),
            [Output::Note(Note::Dropped { lines, bytes, why })]
        );
    }
}

#[test]
fn a_long_outage_compresses_what_waits() {
    let limits = Limits {
        pack_after: Duration::from_secs(600),
        ..Limits::default()
    };
    let lines = A.repeat(400);
    let mut spool = empty(limits);
    carry_out(&mut spool, at(0), append(&lines));
    carry_out(&mut spool, at(0), Input::Seal { enough: 1 });
    carry_out(&mut spool, at(1), Input::Kept);
    assert_eq!(spool.deadline(), Some(at(600)));
    let (plain, temp) = (sealed(1, &lines), Name::Temp(Number(1)));
    let packed = Name::Packed(Number(1), seal(&lines));
    assert_eq!(
        spool.handle(at(600), Input::Deadline),
        disk(Op::Pack {
            from: plain,
            to: temp
        })
    );
    assert_eq!(
        spool.handle(at(600), Input::Done { size: 200 }),
        disk(Op::Sync { name: temp })
    );
    assert_eq!(
        spool.handle(at(600), DONE),
        disk(Op::Rename {
            from: temp,
            to: packed
        })
    );
    assert_eq!(spool.handle(at(600), DONE), disk(Op::SyncDir));
    assert_eq!(
        spool.handle(at(600), DONE),
        disk(Op::Remove { name: plain })
    );
    assert_eq!(spool.handle(at(600), DONE), []);
    assert_eq!((spool.stats().stored, spool.deadline()), (200, None));
}

#[test]
fn names_are_read_as_they_are_printed_and_nothing_else_is() {
    let number = Number(42);
    let seal = Seal {
        len: 12345,
        crc: 0x1c29_1ca3,
    };
    for (name, text) in [
        (Name::Open(number), "000000000042.open"),
        (
            Name::Sealed(number, seal),
            "000000000042-12345-1c291ca3.lines",
        ),
        (
            Name::Packed(number, seal),
            "000000000042-12345-1c291ca3.lines.z",
        ),
        (Name::Temp(number), "000000000042.tmp"),
        (Name::Bad(number), "000000000042.bad"),
    ] {
        assert_eq!(name.to_string(), text);
        assert_eq!(text.parse(), Ok(name));
    }
    for text in [
        "",
        "lock",
        "42.open",
        "+00000000042.open",
        "000000000042.open.z",
        "000000000042-12345-1C291CA3.lines",
        "000000000042-12345.lines",
        "000000000042-12345-1c291ca3-0.lines",
        "000000000042-12345-1c291ca3.open",
        "../000000000042.open",
    ] {
        assert!(text.parse::<Name>().is_err(), "{text}");
    }
}

#[test]
fn the_checksum_is_that_of_everybody() {
    assert_eq!(Crc::of(b"123456789"), 0xcbf4_3926);
}

#[test]
fn one_of_a_kind_is_said_so() {
    let (segments, lines) = (1, 1);
    let kept = Note::Recovered { segments, lines };
    assert_eq!(
        kept.to_string(),
        "1 result of an earlier run kept for upload, in 1 segment"
    );
    let (lines, bytes, why) = (2, 80, Why::Budget);
    let lost = Note::Dropped { lines, bytes, why };
    assert!(
        lost.to_string()
            .starts_with("2 results (80 bytes) are lost")
    );
}
