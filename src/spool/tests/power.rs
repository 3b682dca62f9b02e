//! Whatever happens, in whatever order: synced lines are never lost, nothing is invented, order is kept, size is
//! bounded.

use std::time::Duration;

use proptest::{prelude::*, sample::Index};

use super::model::{Disk, Loss};
use crate::{
    clock::Tick,
    spool::{Errno, Input, Limits, Output, Spool},
};

const LIMITS: Limits = Limits {
    budget: 48 << 10,
    segment: 9_000,
    memory: 6_000,
    sync_after: Duration::from_secs(60),
    pack_after: Duration::from_secs(300),
};

#[derive(Clone, Debug)]
enum Step {
    Append(u16),
    Seal(u16),
    UploadedOldest,
    Kept,
    Flush,
    Limit(u16),
    Wait(u16),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => (1..4000u16).prop_map(Step::Append),
        3 => (0..20_000u16).prop_map(Step::Seal),
        2 => Just(Step::UploadedOldest),
        1 => Just(Step::Kept),
        1 => Just(Step::Flush),
        1 => (1000..9000u16).prop_map(Step::Limit),
        4 => (1..400u16).prop_map(Step::Wait),
    ]
}

fn loss() -> impl Strategy<Value = Loss> {
    let share = || prop_oneof![Just(0u16), Just(1000u16), 0..=1000u16];
    (
        prop::collection::vec(share(), 1..6),
        share(),
        share(),
        any::<bool>(),
    )
        .prop_map(|(files, names, torn, zeros)| Loss {
            files,
            names,
            torn,
            zeros,
        })
}

/// Which operations fail: full, broken, read-only.
fn faults() -> impl Strategy<Value = Vec<Option<(Errno, u16)>>> {
    let errno = prop_oneof![Just(Errno(28)), Just(Errno(5)), Just(Errno(30))];
    let fault = (errno, 0..1000u16);
    prop::collection::vec(prop::option::weighted(0.25, fault), 0..60)
}

/// A spool on a model disk.
struct Run {
    spool: Spool,
    disk: Disk,
    now: Tick,
    /// The disk after each operation.
    history: Vec<Disk>,
    faults: std::vec::IntoIter<Option<(Errno, u16)>>,
    appended: u64,
}

impl Run {
    fn start(disk: Disk, limits: Limits, faults: Vec<Option<(Errno, u16)>>) -> Self {
        let found = disk.listing();
        let mut run = Self {
            spool: Spool::new(limits),
            history: vec![disk.clone()],
            disk,
            now: Tick::from_secs(1000),
            faults: faults.into_iter(),
            appended: 0,
        };
        run.feed(Input::Recovered(found));
        run
    }

    fn feed(&mut self, input: Input) {
        let mut input = Some(input);
        let mut operations = 0;
        while let Some(next) = input.take() {
            let outputs = self.spool.handle(self.now, next);
            if let Some(Output::Disk(op)) = outputs.last() {
                operations += 1;
                assert!(operations < 1000, "goes round in circles: {op:?}");
                input = Some(self.disk.perform(op, self.faults.next().flatten()));
                self.history.push(self.disk.clone());
            }
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Append(len) => {
                let line = line(self.appended, usize::from(*len));
                self.appended += 1;
                self.feed(Input::Append(line));
            }
            Step::Seal(enough) => self.feed(Input::Seal {
                enough: u64::from(*enough),
            }),
            Step::UploadedOldest => {
                let oldest = self.spool.sealed().next().map(|sealed| sealed.number);
                self.feed(Input::Uploaded(oldest.into_iter().collect()));
            }
            Step::Kept => self.feed(Input::Kept),
            Step::Flush => self.feed(Input::Flush),
            Step::Limit(bytes) => self.feed(Input::Limit(usize::from(*bytes))),
            Step::Wait(secs) => self.wait(Duration::from_secs(u64::from(*secs))),
        }
    }

    /// Lets time pass, heeding the deadlines on the way.
    fn wait(&mut self, time: Duration) {
        let until = self.now + time;
        for _ in 0..1000 {
            match self.spool.deadline() {
                Some(deadline) if deadline <= until => {
                    self.now = self.now.max(deadline);
                    self.feed(Input::Deadline);
                    let next = self.spool.deadline();
                    assert!(
                        next.is_none_or(|next| next > self.now),
                        "would spin at {:?}",
                        self.now
                    );
                }
                _ => {
                    self.now = until;
                    return;
                }
            }
        }
        panic!("too many deadlines");
    }

    /// Every line that the spool would post, oldest first, each checked against its seal.
    fn lines(&self) -> Vec<u64> {
        let mut lines = Vec::new();
        let mut spool = self.spool.sealed().collect::<Vec<_>>();
        spool.sort_by_key(|sealed| sealed.number);
        for sealed in spool {
            let (file, tail, seal) = self
                .spool
                .contents(sealed.number)
                .expect("a sealed segment has contents");
            let mut bytes = file.map_or_else(Vec::new, |name| self.disk.lines(name));
            bytes.truncate(usize::try_from(seal.len).unwrap() - tail.len());
            bytes.extend_from_slice(tail);
            assert_eq!(
                crate::spool::segment::Crc::of(&bytes),
                seal.crc,
                "the seal holds"
            );
            assert_eq!(bytes.len() as u64, sealed.len);
            let text = String::from_utf8(bytes).unwrap();
            assert_eq!(text.lines().count() as u64, sealed.lines);
            lines.extend(text.split_inclusive('\n').map(index));
        }
        lines
    }
}

/// A line that tells which it is, and whether it is whole.
fn line(index: u64, len: usize) -> String {
    format!("RESULT {{ {index} {} }}\n", "x".repeat(len))
}

fn index(line: &str) -> u64 {
    let mut words = line.split(' ');
    let index = words
        .nth(2)
        .and_then(|word| word.parse().ok())
        .expect("a line of ours");
    assert!(line.ends_with(" }\n"), "a whole line: {line:?}");
    index
}

fn index_of(line: &[u8]) -> u64 {
    index(std::str::from_utf8(line).unwrap())
}

fn is_increasing(lines: &[u64]) -> bool {
    lines.windows(2).all(|pair| pair[0] < pair[1])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn power_loss_keeps_every_synced_line(
        steps in prop::collection::vec(step(), 1..60),
        faults in faults(),
        cut in any::<Index>(),
        loss in loss(),
    ) {
        let mut run = Run::start(Disk::default(), LIMITS, faults);
        for step in &steps {
            run.step(step);
            prop_assert!(run.disk.size() <= LIMITS.budget);
        }
        let before = cut.get(&run.history);
        let after = Run::start(before.after(&loss), LIMITS, Vec::new());
        let lines = after.lines();
        prop_assert!(is_increasing(&lines), "order, and nothing twice: {lines:?}");
        prop_assert!(lines.iter().all(|line| *line < run.appended), "nothing invented");
        for durable in before.durable_lines() {
            let durable = index_of(&durable);
            prop_assert!(lines.contains(&durable), "lost {durable} of {lines:?}");
        }
        prop_assert!(after.disk.size() <= LIMITS.budget);
    }

    #[test]
    fn a_restart_after_smaller_segments_drops_nothing(
        lens in prop::collection::vec(1500..4000u16, 8..16),
        limit in 1000..4500u16,
    ) {
        let mut run = Run::start(Disk::default(), LIMITS, Vec::new());
        run.step(&Step::Limit(limit));
        for len in lens {
            run.step(&Step::Append(len));
        }
        run.step(&Step::Flush);
        let lines = run.lines();
        let after = Run::start(run.disk.clone(), LIMITS, Vec::new());
        prop_assert_eq!(after.lines(), lines);
    }

    #[test]
    fn a_killed_process_loses_nothing_that_it_took_in(
        steps in prop::collection::vec(step(), 1..40),
    ) {
        let limits = Limits { budget: 64 << 20, ..LIMITS };
        let mut run = Run::start(Disk::default(), limits, Vec::new());
        let (mut taken, mut uploaded) = (Vec::new(), Vec::new());
        for step in &steps {
            let oldest = run.spool.sealed().next().map(|sealed| sealed.number);
            if let (Step::UploadedOldest, Some(number)) = (step, oldest) {
                let (file, ..) = run.spool.contents(number).unwrap();
                let text = String::from_utf8(run.disk.lines(file.unwrap())).unwrap();
                uploaded.extend(text.split_inclusive('\n').map(index));
            }
            let dropped = run.spool.stats().dropped;
            run.step(step);
            if matches!(step, Step::Append(_)) && run.spool.stats().dropped == dropped {
                taken.push(run.appended - 1);
            }
            let after = Run::start(run.disk.clone(), limits, Vec::new());
            let kept: Vec<u64> = taken.iter().filter(|line| !uploaded.contains(line)).copied().collect();
            prop_assert_eq!(after.lines(), kept);
        }
    }

    #[test]
    fn a_disk_that_works_again_gets_everything_that_memory_held(
        steps in prop::collection::vec(step(), 1..60),
        faults in faults(),
    ) {
        let mut run = Run::start(Disk::default(), LIMITS, faults);
        for step in &steps {
            run.step(step);
            prop_assert!(run.spool.stats().held <= LIMITS.memory + 9_000);
        }
        run.faults = Vec::new().into_iter();
        run.wait(Duration::from_secs(3600));
        run.feed(Input::Flush);
        prop_assert_eq!(run.spool.stats().held, 0);
        prop_assert_eq!(run.spool.stats().disk_refuses, None);
        let lines = run.lines();
        prop_assert!(is_increasing(&lines));
        prop_assert_eq!(run.disk.durable_lines().len(), lines.len(), "all of it is synced");
        let names: Vec<_> = run.disk.files().into_keys().collect();
        let mut believed = run.spool.files();
        believed.sort_unstable();
        prop_assert_eq!(names, believed, "no file is forgotten");
    }
}
