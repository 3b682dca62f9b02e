//! Events and jumps of time, drawn at random.

use proptest::prelude::*;

use super::*;

/// What may happen to a schedule.
#[derive(Clone, Debug)]
enum Event {
    /// Time passes, each deadline is told in time.
    Pass(u32),
    /// Time passes and nobody tells.
    Stall(u32),
    /// The wall clock jumps.
    Step(i32),
    /// A run ends.
    Finish(usize),
    /// The table is sent with these of the lines.
    Load(u8),
    /// A one-off comes.
    OneOff,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        8 => (0u32..200_000).prop_map(Event::Pass),
        1 => (0u32..60_000).prop_map(Event::Stall),
        1 => (-5000i32..5000).prop_map(Event::Step),
        8 => (0usize..8).prop_map(Event::Finish),
        2 => any::<u8>().prop_map(Event::Load),
        2 => Just(Event::OneOff),
    ];
    proptest::collection::vec(event, 1..80)
}

/// Interval, start and spread of the lines that a test loads; their spreads do not overlap.
const LINES: [(u32, i64, Option<u32>); 6] = [
    (60, 0, None),
    (60, 30, Some(20)),
    (97, NOW + 500, Some(3)),
    (240, 269, Some(200)),
    (7, 1, Some(2)),
    (30, -11, Some(1)),
];

struct Model {
    limits: Limits,
    running: BTreeMap<JobId, (String, bool)>,
    /// The cycle that each line saw last, unless something since allows it to see any.
    cycles: BTreeMap<String, i64>,
    /// Lines whose planned cycle may turn out to be late, so that the one after it is any.
    loose: BTreeSet<String>,
    one_offs: usize,
}

impl Model {
    /// The cycle of a line that was planned for `planned`, which has to lie within its spread.
    fn cycle(text: &str, planned: UnixTime) -> i64 {
        let (interval, start, spread) = LINES[text.parse::<usize>().unwrap()];
        let n = i128::from(spread.unwrap_or(0));
        let from_start = planned.nanos() - i128::from(start) * 1_000_000_000;
        let earliest = from_start + n / 2 * 1_000_000_000;
        let interval = i128::from(interval) * 1_000_000_000;
        let into = earliest.rem_euclid(interval);
        let spread = if n == 0 {
            0
        } else {
            (n + 1) * 1_000_000_000 - 1
        };
        assert!(
            into <= spread,
            "{text}: {into} ns into a spread of {spread}"
        );
        i64::try_from(earliest.div_euclid(interval)).unwrap()
    }

    fn see(&mut self, output: Output) {
        match output {
            Output::Launch {
                id,
                text,
                planned,
                one_off,
                late,
                ..
            } => {
                assert!(
                    self.running
                        .values()
                        .all(|(other, _)| one_off || **other != *text),
                    "{text} overlaps"
                );
                assert!(
                    self.running
                        .insert(id, (text.to_string(), one_off))
                        .is_none()
                );
                if one_off {
                    self.one_offs -= 1;
                } else {
                    assert!(late.as_secs() <= 10);
                    self.advance(&text, planned);
                }
                let busy = |kind| self.running.values().filter(|run| run.1 == kind).count();
                assert!(busy(false) <= self.limits.periodic && busy(true) <= self.limits.one_off);
            }
            Output::Skipped { text, planned, .. } if &*text != "one-off" => {
                self.advance(&text, planned);
            }
            Output::Skipped { .. } => self.one_offs -= 1,
            Output::Inconsistent { text, .. } => {
                self.cycles.remove(&*text);
            }
        }
    }

    fn loosen(&mut self) {
        self.cycles.clear();
        self.loose = (0..LINES.len()).map(|line| line.to_string()).collect();
    }

    /// No cycle twice, none left out.
    fn advance(&mut self, text: &str, planned: UnixTime) {
        let cycle = Self::cycle(text, planned);
        assert!(cycle >= 0);
        if self.loose.remove(text) {
            return;
        }
        if let Some(before) = self.cycles.insert(text.to_owned(), cycle) {
            assert_eq!(cycle, before + 1, "{text}");
        }
    }
}

proptest! {
    #[test]
    fn no_run_is_missed_doubled_or_overlapping(events in events(), periodic in 1usize..5) {
        let limits = Limits { periodic, one_off: 2, queue: 3, ..Limits::default() };
        let mut world = World::new(limits);
        let mut model = Model { limits, running: BTreeMap::new(), cycles: BTreeMap::new(), loose: BTreeSet::new(), one_offs: 0 };
        let mut added = 0;
        for event in events {
            let outputs = match event {
                Event::Pass(millis) => world.run(Duration::from_millis(millis.into())),
                Event::Stall(millis) => {
                    model.loosen();
                    world.pass(Duration::from_millis(millis.into()));
                    world.tell(Input::Deadline)
                }
                Event::Step(secs) => {
                    model.loosen();
                    world.unix += i128::from(secs) * 1_000_000_000;
                    vec![]
                }
                Event::Finish(nth) => {
                    let Some(id) = model.running.keys().nth(nth).copied() else { continue };
                    model.running.remove(&id);
                    world.finish(id)
                }
                Event::Load(mask) => {
                    let chosen = (0..LINES.len()).filter(|line| mask & (1 << line) != 0);
                    let jobs: Vec<Job> = chosen.map(|line| {
                        let (interval, start, spread) = LINES[line];
                        every(&line.to_string(), interval, start, spread)
                    }).collect();
                    model.cycles.retain(|text, _| jobs.iter().any(|job| job.text == *text));
                    world.load(jobs)
                }
                Event::OneOff => {
                    added += 1;
                    model.one_offs += 1;
                    world.tell(Input::Add(once("one-off")))
                }
            };
            for output in outputs {
                // What waited for room may have waited past its next slot, which is missed then.
                let waited = matches!(&output, Output::Launch { late, .. } if !late.is_zero())
                    || matches!(&output, Output::Skipped { why: Skip::Full, .. });
                model.see(output);
                if waited {
                    model.cycles.clear();
                }
            }
            // What is neither launched nor refused waits, within its bound.
            prop_assert!(model.one_offs <= limits.queue);
            prop_assert!(added >= model.one_offs);
        }
    }

    #[test]
    fn with_room_for_all_every_cycle_is_seen_on_time(events in events()) {
        let mut world = World::new(Limits::default());
        let mut model = Model { limits: Limits::default(), running: BTreeMap::new(), cycles: BTreeMap::new(), loose: BTreeSet::new(), one_offs: 0 };
        for event in events {
            let outputs = match event {
                Event::Pass(millis) => world.run(Duration::from_millis(millis.into())),
                Event::Finish(nth) => {
                    let Some(id) = model.running.keys().nth(nth).copied() else { continue };
                    model.running.remove(&id);
                    world.finish(id)
                }
                _ => world.load((0..LINES.len()).map(|line| {
                    let (interval, start, spread) = LINES[line];
                    every(&line.to_string(), interval, start, spread)
                }).collect()),
            };
            prop_assert!(launched(&outputs).iter().all(|run| run.3.is_zero()));
            for output in outputs {
                prop_assert!(!matches!(output, Output::Inconsistent { .. } | Output::Skipped { why: Skip::Full, .. }), "{:?}", output);
                model.see(output);
            }
        }
    }

    #[test]
    fn any_job_is_planned_without_overflow(interval: u32, start: i64, end: Option<i64>, spread: Option<u32>, unix in -4_000_000_000i64..400_000_000_000) {
        let mut world = World::new(Limits::default());
        world.unix = i128::from(unix) * 1_000_000_000;
        world.load(vec![job("a", When::Periodic { interval, start, end, spread })]);
        for _ in 0..3 {
            if let Some(deadline) = world.schedule.deadline() {
                world.pass(deadline.0.saturating_sub(world.tick).min(Duration::from_secs(1 << 40)));
                world.tell(Input::Deadline);
            }
        }
    }
}
