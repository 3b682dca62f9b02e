//! To the octet: how much a segment, an upload and the budget hold, and what is done about a file that is gone or that
//! does not shrink.

use std::time::Duration;

use super::script::{A, B, DONE, append, at, carry_out, disk, empty, open, seal, sealed, write};
use crate::spool::{Contents, Errno, Input, Limits, Name, Note, Number, Op, Output, Spool, Why};

#[test]
fn a_line_that_just_fits_goes_into_the_segment_and_one_octet_more_does_not() {
    for (room, number) in [(A.len() + B.len(), 1), (A.len() + B.len() - 1, 2)] {
        let mut spool = empty(Limits {
            segment: room,
            ..Limits::default()
        });
        carry_out(&mut spool, at(1), append(A));
        let offset = if number == 1 { A.len() } else { 0 };
        assert_eq!(spool.handle(at(1), append(B)), write(number, offset, B));
    }
}

#[test]
fn an_upload_that_has_enough_to_the_octet_seals_no_more() {
    let mut spool = empty(Limits::default());
    carry_out(&mut spool, at(1), append(A));
    carry_out(&mut spool, at(1), Input::Seal { enough: 1 });
    carry_out(&mut spool, at(2), append(B));
    let enough = A.len() as u64;
    assert_eq!(spool.handle(at(2), Input::Seal { enough }), []);
    assert_eq!(spool.sealed().count(), 1);
    spool.handle(at(2), Input::Seal { enough: enough + 1 });
    assert_eq!(spool.sealed().count(), 2);
}

#[test]
fn no_controller_makes_a_segment_larger_than_a_quarter_of_the_budget() {
    let mut spool = empty(Limits {
        budget: 64 << 10,
        ..Limits::default()
    });
    spool.handle(at(1), Input::Limit(usize::MAX));
    let line = format!("RESULT {}\n", "x".repeat(16 << 10));
    let bytes = line.len() as u64;
    let lost = Note::Dropped {
        lines: 1,
        bytes,
        why: Why::TooLong,
    };
    assert_eq!(spool.handle(at(1), append(&line)), [Output::Note(lost)]);
}

#[test]
fn the_oldest_go_while_there_is_still_room_to_compress_one() {
    let limits = Limits {
        budget: 64 << 10,
        segment: 8 << 10,
        pack_after: Duration::from_secs(86_400),
        ..Limits::default()
    };
    let mut spool = empty(limits);
    let line = format!("RESULT {}\n", "x".repeat(4000));
    let (mut most, mut removed) = (0, 0);
    for _ in 0..40 {
        let mut outputs = spool.handle(at(1), append(&line));
        while let Some(Output::Disk(op)) = outputs.last() {
            removed += u32::from(matches!(op, Op::Remove { .. }));
            outputs = spool.handle(at(1), DONE);
        }
        most = most.max(spool.stats().stored);
    }
    assert!(removed > 0, "the budget was reached");
    assert!(most <= (64 << 10) - (8 << 10), "{most}");
    assert!(
        most > (64 << 10) - 2 * (8 << 10),
        "{most}: no more room than that"
    );
}

#[test]
fn lines_that_were_on_their_way_to_a_file_that_vanished_get_another() {
    let mut spool = empty(Limits::default());
    carry_out(&mut spool, at(1), append(A));
    spool.handle(at(2), append(B));
    let outputs = spool.handle(at(2), Input::Failed(Errno::GONE));
    let lost = Note::Dropped {
        lines: 1,
        bytes: A.len() as u64,
        why: Why::Vanished,
    };
    assert!(outputs.contains(&Output::Note(lost)), "{outputs:?}");
    assert_eq!(spool.held_lines(), 1);
    let until = spool.deadline().expect("it is tried again");
    assert_eq!(spool.handle(until, Input::Deadline), write(1, 0, B));
    assert_eq!(spool.handle(until, DONE), [Output::Note(Note::DiskWorks)]);
    assert_eq!(spool.stats().lines, 1);
}

#[test]
fn what_hardly_shrinks_stays_as_it_is_and_is_not_tried_again() {
    let limits = Limits {
        pack_after: Duration::from_secs(600),
        ..Limits::default()
    };
    let lines = A.repeat(400);
    let (plain, temp) = (sealed(1, &lines), Name::Temp(Number(1)));
    let size = lines.len() as u64;
    for (packed, is_taken) in [
        (size / 4 * 3, true),
        (size / 4 * 3 + 1, false),
        (2 * size, false),
    ] {
        let mut spool = empty(limits);
        carry_out(&mut spool, at(0), append(&lines));
        carry_out(&mut spool, at(0), Input::Seal { enough: 1 });
        carry_out(&mut spool, at(1), Input::Kept);
        let pack = Op::Pack {
            from: plain,
            to: temp,
        };
        assert_eq!(spool.handle(at(600), Input::Deadline), disk(pack));
        let next = spool.handle(at(600), Input::Done { size: packed });
        if is_taken {
            assert_eq!(next, disk(Op::Sync { name: temp }));
            continue;
        }
        assert_eq!(next, disk(Op::Remove { name: temp }), "{packed} of {size}");
        assert_eq!(spool.handle(at(600), DONE), []);
        assert_eq!(spool.deadline(), None);
        let (file, _, promise) = spool.contents(Number(1)).expect("it is there");
        assert_eq!((file, promise), (Some(plain), seal(&lines)));
    }
}

#[test]
fn a_new_file_that_cannot_be_made_is_tried_under_the_same_name() {
    let mut spool = empty(Limits::default());
    assert_eq!(spool.handle(at(1), append(A)), write(1, 0, A));
    spool.handle(at(1), Input::Failed(Errno(13)));
    let until = spool.deadline().expect("it is tried again");
    let cut = Op::Cut {
        name: open(1),
        to: 0,
    };
    assert_eq!(spool.handle(until, Input::Deadline), disk(cut));
    let again = spool.handle(until, Input::Failed(Errno::GONE));
    assert_eq!(spool.held_lines(), 1, "{again:?}");
}

#[test]
fn a_segment_that_may_not_be_read_now_is_neither_lost_nor_in_the_way() {
    for errno in [Errno(13), Errno(24)] {
        let mut spool = empty(Limits::default());
        for line in [A, B] {
            carry_out(&mut spool, at(1), append(line));
            carry_out(&mut spool, at(1), Input::Seal { enough: u64::MAX });
        }
        let numbers = |spool: &Spool| spool.sealed().map(|one| one.number.0).collect::<Vec<_>>();
        assert_eq!(numbers(&spool), [1, 2]);
        let seen = Contents::Unreadable(errno);
        let name = sealed(1, A);
        let told = Output::Note(Note::Unreadable { name, errno });
        let outputs = spool.handle(at(10), Input::Damaged(Number(1), seen));
        assert_eq!(outputs, [told]);
        assert_eq!(numbers(&spool), [2]);
        assert_eq!((spool.stats().dropped, spool.stats().lines), (0, 2));
        spool.handle(at(70), Input::Seal { enough: 1 });
        assert_eq!(numbers(&spool), [1, 2], "in order again");
    }
}
