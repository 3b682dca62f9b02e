use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::{
    clock::{Now, Tick},
    dialect::Dialect,
    measurement::{Rules, ping},
};

mod properties;

const NOW: i64 = 1_700_000_000;

/// A schedule and the two clocks that a driver would have.
struct World {
    schedule: Schedule,
    tick: Duration,
    unix: i128,
}

impl World {
    fn new(limits: Limits) -> Self {
        Self {
            schedule: Schedule::new(7, limits),
            tick: Duration::from_secs(500),
            unix: i128::from(NOW) * 1_000_000_000,
        }
    }

    fn tell(&mut self, input: Input) -> Vec<Output> {
        let mut now = Now::new(Tick(self.tick), UnixTime::from_nanos(self.unix), -1);
        self.schedule.handle(&mut now, input)
    }

    fn secs(&self) -> i64 {
        UnixTime::from_nanos(self.unix).secs()
    }

    fn pass(&mut self, by: Duration) {
        self.tick += by;
        self.unix += i128::try_from(by.as_nanos()).unwrap();
    }

    /// Passes time to the next deadline and tells of it.
    fn next(&mut self) -> Vec<Output> {
        let deadline = self.schedule.deadline().expect("something is planned");
        self.pass(deadline.0.saturating_sub(self.tick));
        self.tell(Input::Deadline)
    }

    /// Passes time and tells of each deadline on the way, when it comes.
    fn run(&mut self, by: Duration) -> Vec<Output> {
        let until = self.tick + by;
        let mut outputs = Vec::new();
        while self.schedule.deadline().is_some_and(|at| at.0 <= until) {
            outputs.extend(self.next());
        }
        self.pass(until.saturating_sub(self.tick));
        outputs
    }

    fn load(&mut self, jobs: Vec<Job>) -> Vec<Output> {
        self.tell(Input::Replace {
            table: "7".to_owned(),
            jobs,
        })
    }

    fn finish(&mut self, id: JobId) -> Vec<Output> {
        let carry = Carry::Nothing;
        self.tell(Input::Finished { id, carry })
    }
}

fn job(text: &str, when: When) -> Job {
    let rules = Rules {
        dialect: Dialect::Reference,
        spool: "/tmp/starling".into(),
        unsafe_paths: false,
    };
    Job {
        table: "7".to_owned(),
        text: text.to_owned(),
        spec: Arc::new(Spec::parse(&["evping", "-4", "192.0.2.1"], &rules).unwrap()),
        when,
    }
}

fn every(text: &str, interval: u32, start: i64, spread: Option<u32>) -> Job {
    job(
        text,
        When::Periodic {
            interval,
            start,
            end: None,
            spread,
        },
    )
}

fn until(mut job: Job, new_end: i64) -> Job {
    match &mut job.when {
        When::Periodic { end, .. } | When::Once { end, .. } => *end = Some(new_end),
    }
    job
}

fn once(text: &str) -> Job {
    let (start, end) = (0, None);
    job(text, When::Once { start, end })
}

/// The jobs launched: who, which text, planned when, late by how much.
fn launched(outputs: &[Output]) -> Vec<(JobId, &str, i64, Duration)> {
    outputs
        .iter()
        .filter_map(|output| match output {
            Output::Launch {
                id,
                text,
                planned,
                late,
                ..
            } => Some((*id, &**text, planned.secs(), *late)),
            _ => None,
        })
        .collect()
}

fn only_launch(outputs: &[Output]) -> (JobId, i64) {
    match launched(outputs)[..] {
        [(id, _, planned, _)] if outputs.len() == 1 => (id, planned),
        _ => panic!("{outputs:?}"),
    }
}

#[test]
fn runs_lie_on_the_grid_strictly_later_than_loading() {
    let mut world = World::new(Limits::default());
    assert_eq!(world.load(vec![every("a", 240, 269, None)]), []);
    // 1700000000 - 269 = 7083332 * 240 + 51: 189 seconds to the next slot.
    for slot in [NOW + 189, NOW + 189 + 240] {
        let outputs = world.next();
        let (id, planned) = only_launch(&outputs);
        assert_eq!((planned, world.secs()), (slot, slot));
        assert!(world.finish(id).is_empty());
    }
}

#[test]
fn a_line_loaded_exactly_on_its_slot_waits_for_the_next() {
    let mut world = World::new(Limits::default());
    world.load(vec![every("a", 100, 0, None)]);
    assert_eq!(only_launch(&world.next()).1, NOW + 100);
}

#[test]
fn a_line_with_a_start_to_come_begins_there() {
    let mut world = World::new(Limits::default());
    world.load(vec![every("a", 100, NOW + 1234, None)]);
    assert_eq!(only_launch(&world.next()).1, NOW + 1234);
}

#[test]
fn the_offset_is_drawn_anew_each_cycle_within_its_bounds() {
    let mut world = World::new(Limits::default());
    world.load(vec![every("a", 100, 0, Some(3))]);
    let mut offsets = BTreeSet::new();
    for cycle in 1..=200 {
        let outputs = world.next();
        let (id, planned) = only_launch(&outputs);
        offsets.insert(planned - (NOW + cycle * 100));
        world.finish(id);
    }
    assert_eq!(offsets, BTreeSet::from([-1, 0, 1, 2]));
}

#[test]
fn a_busy_job_is_skipped_and_its_next_cycle_planned() {
    let mut world = World::new(Limits::default());
    world.load(vec![every("a", 100, 0, None)]);
    let (id, _) = only_launch(&world.next());
    let outputs = world.next();
    let [
        Output::Skipped {
            id: skipped,
            planned,
            why,
            ..
        },
    ] = &outputs[..]
    else {
        panic!("{outputs:?}")
    };
    assert_eq!((*skipped, planned.secs()), (id, NOW + 200));
    let since = UnixTime::from_secs(NOW + 100);
    assert_eq!(*why, Skip::Busy { since });
    world.finish(id);
    assert_eq!(only_launch(&world.next()), (id, NOW + 300));
}

#[test]
fn missed_runs_are_skipped_never_replayed() {
    let mut world = World::new(Limits::default());
    world.load(vec![every("a", 2, 0, None)]);
    world.pass(Duration::from_secs(9));
    let (id, planned) = only_launch(&world.tell(Input::Deadline));
    assert_eq!(planned, NOW + 2);
    world.finish(id);
    assert_eq!(only_launch(&world.next()), (id, NOW + 10));
}

#[test]
fn a_clock_step_makes_no_run_but_a_report_and_a_new_plan() {
    let mut world = World::new(Limits::default());
    world.load(vec![every("evping x", 100, 0, None)]);
    world.unix += 3_600_000_000_000;
    let outputs = world.next();
    let [Output::Inconsistent { text, step, .. }] = &outputs[..] else {
        panic!("{outputs:?}")
    };
    assert_eq!(&**text, "evping x");
    let expected = ClockStep {
        now: 1_700_003_700,
        planned: 1_700_000_100,
        wait: 100,
        cycle: 17_000_001,
        generated: 1_700_000_000,
    };
    assert_eq!(*step, expected);
    assert_eq!(only_launch(&world.next()).1, NOW + 3800);
}

#[test]
fn a_clock_that_goes_back_is_noticed_too() {
    let mut world = World::new(Limits::default());
    world.load(vec![every("a", 100, 0, None)]);
    world.unix -= 3_600_000_000_000;
    assert!(matches!(world.next()[..], [Output::Inconsistent { .. }]));
    assert_eq!(only_launch(&world.next()).1, NOW - 3600 + 200);
}

#[test]
fn a_small_correction_of_the_clock_costs_no_run() {
    for step in [-9_000_000_000i128, 9_000_000_000] {
        let mut world = World::new(Limits::default());
        world.load(vec![every("a", 100, 0, None)]);
        world.unix += step;
        let (id, planned) = only_launch(&world.next());
        assert_eq!(planned, NOW + 100);
        world.finish(id);
        assert_eq!(only_launch(&world.next()).1, NOW + 200);
        assert_eq!(world.secs(), NOW + 200);
    }
}

#[test]
fn nothing_runs_after_the_end_and_a_later_end_goes_on() {
    let mut world = World::new(Limits::default());
    let line = every("a", 100, 0, None);
    world.load(vec![until(line.clone(), NOW + 250)]);
    for _ in 0..2 {
        let (id, _) = only_launch(&world.next());
        world.finish(id);
    }
    assert_eq!(world.schedule.deadline(), None);
    world.load(vec![until(line.clone(), NOW + 1000)]);
    let (id, planned) = only_launch(&world.next());
    assert_eq!(planned, NOW + 300);
    world.finish(id);
    world.load(vec![until(line.clone(), NOW + 301)]);
    assert_eq!(world.schedule.deadline(), None);
    // The stored cycle is long past: planned anew, and said so.
    world.pass(Duration::from_secs(1000));
    world.load(vec![line]);
    assert!(matches!(world.next()[..], [Output::Inconsistent { .. }]));
    assert_eq!(only_launch(&world.next()), (id, NOW + 1400));
}

#[test]
fn a_line_past_its_end_never_runs() {
    let mut world = World::new(Limits::default());
    world.load(vec![until(every("a", 100, 0, None), NOW - 1)]);
    assert_eq!(world.schedule.deadline(), None);
    assert_eq!(world.schedule.len(), 1);
}

#[test]
fn a_resent_table_changes_nothing() {
    let mut world = World::new(Limits::default());
    let table = vec![every("a", 300, 17, Some(100)), every("b", 60, 1, Some(20))];
    world.load(table.clone());
    let deadline = world.schedule.deadline();
    world.pass(Duration::from_millis(10));
    assert_eq!(world.load(table), []);
    assert_eq!(world.schedule.deadline(), deadline);
    assert_eq!(world.schedule.len(), 2);
}

#[test]
fn interval_start_and_text_make_a_line_spread_and_end_do_not() {
    let mut world = World::new(Limits::default());
    world.load(vec![every("a", 100, 0, None)]);
    let (id, _) = only_launch(&world.next());
    world.finish(id);
    world.load(vec![until(every("a", 100, 0, Some(50)), NOW + 9999)]);
    assert_eq!(only_launch(&world.next()), (id, NOW + 200));
    world.finish(id);
    for other in [
        every("a", 101, 0, None),
        every("a", 100, 1, None),
        every("b", 100, 0, None),
    ] {
        world.load(vec![other]);
        let (new, _) = only_launch(&world.next());
        assert_ne!(new, id);
        world.finish(new);
    }
}

#[test]
fn a_line_that_stands_twice_in_a_table_is_one() {
    let mut world = World::new(Limits::default());
    world.load(vec![every("a", 100, 0, None), every("a", 100, 0, None)]);
    assert_eq!(world.schedule.len(), 1);
    only_launch(&world.next());
}

#[test]
fn a_removed_line_finishes_its_run_and_starts_none() {
    let mut world = World::new(Limits::default());
    world.load(vec![every("a", 100, 0, None)]);
    let (id, _) = only_launch(&world.next());
    world.load(vec![]);
    assert_eq!(world.schedule.deadline(), None);
    assert_eq!(world.schedule.len(), 1);
    world.finish(id);
    assert!(world.schedule.is_empty());
}

#[test]
fn a_line_that_comes_back_while_its_run_goes_on_does_not_run_twice_at_a_time() {
    let mut world = World::new(Limits::default());
    world.load(vec![every("a", 100, 0, None)]);
    let (id, _) = only_launch(&world.next());
    world.load(vec![]);
    world.load(vec![every("a", 100, 0, None)]);
    assert!(matches!(
        world.next()[..],
        [Output::Skipped {
            why: Skip::Busy { .. },
            ..
        }]
    ));
    world.finish(id);
    assert_eq!(only_launch(&world.next()), (id, NOW + 300));
}

#[test]
fn tables_do_not_touch_each_other() {
    let mut world = World::new(Limits::default());
    world.load(vec![every("a", 100, 0, None)]);
    for table in ["main", "", "70", "6"] {
        let table = table.to_owned();
        let jobs = vec![every("a", 100, 0, None)];
        world.tell(Input::Replace { table, jobs });
    }
    assert_eq!(world.schedule.len(), 5);
    world.tell(Input::Replace {
        table: String::new(),
        jobs: vec![],
    });
    assert_eq!(world.schedule.len(), 4);
}

#[test]
fn what_a_run_leaves_is_given_to_the_next_across_a_reload() {
    let mut world = World::new(Limits::default());
    let table = vec![every("a", 100, 0, None)];
    world.load(table.clone());
    let (id, _) = only_launch(&world.next());
    world.load(table.clone());
    let carry = Carry::Ping(ping::Carry {
        sequence: 4,
        cookie: [1; 8],
        address: None,
    });
    world.tell(Input::Finished {
        id,
        carry: carry.clone(),
    });
    world.load(table);
    let outputs = world.next();
    let [Output::Launch { carry: given, .. }] = &outputs[..] else {
        panic!("{outputs:?}")
    };
    assert_eq!(*given, carry);
}

#[test]
fn a_one_shot_runs_at_once_and_not_again_when_its_table_is_resent() {
    let mut world = World::new(Limits::default());
    let outputs = world.load(vec![once("a")]);
    let (id, planned) = only_launch(&outputs);
    assert_eq!(planned, NOW);
    assert_eq!(world.load(vec![once("a")]), []);
    world.finish(id);
    assert_eq!(world.load(vec![once("a"), every("b", 100, 0, None)]), []);
    let ran: Vec<OneShot> = world.schedule.one_shots_ran().collect();
    let expected = OneShot {
        table: "7".to_owned(),
        start: 0,
        text: "a".to_owned(),
    };
    assert_eq!(ran, std::slice::from_ref(&expected));
    // Gone from its table and back, it is another.
    world.load(vec![]);
    assert_eq!(launched(&world.load(vec![once("a")])).len(), 1);

    let mut restarted = World::new(Limits::default());
    restarted.tell(Input::AlreadyRan(expected));
    assert_eq!(restarted.load(vec![once("a")]), []);
    assert_eq!(restarted.load(vec![once("a")]), []);
    assert_eq!(restarted.schedule.one_shots_ran().count(), 1);
}

#[test]
fn what_ran_in_an_earlier_life_counts_only_for_the_table_that_comes_first() {
    let mut world = World::new(Limits::default());
    world.load(vec![once("a")]);
    let ran: Vec<_> = world.schedule.one_shots_ran().collect();
    let mut restarted = World::new(Limits::default());
    for one_shot in ran {
        restarted.tell(Input::AlreadyRan(one_shot));
    }
    // The table came without the line, so that one of a later table is another.
    restarted.load(vec![once("b")]);
    assert_eq!(launched(&restarted.load(vec![once("a")])).len(), 1);
}

#[test]
fn a_one_shot_past_its_end_waits_for_a_later_one() {
    let mut world = World::new(Limits::default());
    assert_eq!(world.load(vec![until(once("a"), NOW - 1)]), []);
    assert_eq!(world.schedule.one_shots_ran().count(), 0);
    assert_eq!(launched(&world.load(vec![until(once("a"), NOW)])).len(), 1);
}

#[test]
fn many_one_shots_of_a_table_run_some_at_a_time_and_each_once() {
    let mut world = World::new(Limits {
        one_shot: 3,
        ..Limits::default()
    });
    let table: Vec<Job> = (0..10).map(|n| once(&n.to_string())).collect();
    let mut running: Vec<JobId> = launched(&world.load(table.clone()))
        .iter()
        .map(|run| run.0)
        .collect();
    assert_eq!(running.len(), 3);
    let mut all = running.clone();
    while let Some(id) = running.pop() {
        assert_eq!(world.load(table.clone()), []);
        let more: Vec<JobId> = launched(&world.finish(id))
            .iter()
            .map(|run| run.0)
            .collect();
        running.extend(&more);
        all.extend(&more);
    }
    assert_eq!(all.len(), 10);
    assert_eq!(world.load(table), []);
}

#[test]
fn one_offs_run_ten_at_a_time_in_order_and_the_queue_is_bounded() {
    let mut world = World::new(Limits {
        queue: 2,
        ..Limits::default()
    });
    let mut ids = Vec::new();
    for number in 0..10 {
        let outputs = world.tell(Input::Add(once(&number.to_string())));
        ids.push(only_launch(&outputs).0);
    }
    assert_eq!(world.tell(Input::Add(once("x"))), []);
    assert_eq!(world.tell(Input::Add(once("x"))), []);
    let outputs = world.tell(Input::Add(once("y")));
    assert!(
        matches!(&outputs[..], [Output::Skipped { text, why: Skip::Full, .. }] if &**text == "y")
    );
    world.pass(Duration::from_secs(60));
    let outputs = world.finish(ids[4]);
    let late = Duration::from_secs(60);
    assert!(matches!(launched(&outputs)[..], [(_, "x", NOW, l)] if l == late));
    assert!(matches!(
        outputs[..],
        [Output::Launch { one_off: true, .. }]
    ));
    for id in ids {
        world.finish(id);
    }
    assert_eq!(world.schedule.len(), 2);
}

#[test]
fn one_offs_never_delay_a_periodic_run() {
    let mut world = World::new(Limits {
        periodic: 1,
        ..Limits::default()
    });
    world.load(vec![every("a", 100, 0, None)]);
    for _ in 0..1000 {
        world.tell(Input::Add(once("x")));
    }
    let outputs = world.next();
    assert!(
        matches!(launched(&outputs)[..], [(_, "a", planned, Duration::ZERO)] if planned == NOW + 100)
    );
}

#[test]
fn periodic_runs_beyond_the_bound_wait_a_little_and_are_skipped_then() {
    let mut world = World::new(Limits {
        periodic: 1,
        ..Limits::default()
    });
    let lines = ["a", "b", "c"].map(|text| every(text, 100, 0, None));
    world.load(lines.to_vec());
    let first = only_launch(&world.next()).0;
    world.pass(Duration::from_secs(4));
    let outputs = world.finish(first);
    let second = launched(&outputs)[0];
    assert_eq!((second.2, second.3), (NOW + 100, Duration::from_secs(4)));
    world.pass(Duration::from_secs(7));
    let outputs = world.finish(second.0);
    let [
        Output::Skipped {
            planned,
            why: Skip::Full,
            ..
        },
    ] = &outputs[..]
    else {
        panic!("{outputs:?}")
    };
    assert_eq!(planned.secs(), NOW + 100);
    // All three are planned for the next cycle.
    assert_eq!(only_launch(&world.next()).1, NOW + 200);
}

#[test]
fn a_waiting_line_that_is_removed_does_not_run() {
    let mut world = World::new(Limits {
        periodic: 1,
        ..Limits::default()
    });
    world.load(vec![every("a", 100, 0, None), every("b", 100, 0, None)]);
    let (id, _) = only_launch(&world.next());
    world.load(vec![every("a", 100, 0, None)]);
    assert_eq!(world.finish(id), []);
}

#[test]
fn finishing_what_does_not_run_changes_nothing() {
    let mut world = World::new(Limits::default());
    world.load(vec![every("a", 100, 0, None)]);
    assert_eq!(world.finish(JobId(0)), []);
    assert_eq!(world.finish(JobId(99)), []);
    let (id, _) = only_launch(&world.next());
    world.finish(id);
    assert_eq!(world.finish(id), []);
}

#[test]
fn ten_thousand_jobs_all_have_their_run() {
    let mut world = World::new(Limits {
        periodic: 10_000,
        ..Limits::default()
    });
    let table: Vec<Job> = (0..10_000)
        .map(|n| every(&n.to_string(), 240, n, Some(3)))
        .collect();
    world.load(table.clone());
    let outputs = world.run(Duration::from_secs(236));
    let texts: BTreeSet<&str> = launched(&outputs).iter().map(|run| run.1).collect();
    assert_eq!(outputs.len(), texts.len());
    world.load(table);
    let outputs = [outputs.clone(), world.run(Duration::from_secs(8))].concat();
    let texts: BTreeSet<&str> = launched(&outputs).iter().map(|run| run.1).collect();
    assert_eq!(texts.len(), 10_000);
}

#[test]
fn the_same_seed_draws_the_same() {
    let table = vec![every("a", 100, 0, Some(50))];
    let runs = [(), ()].map(|()| {
        let mut world = World::new(Limits::default());
        world.load(table.clone());
        world.next()
    });
    assert_eq!(runs[0], runs[1]);
}
