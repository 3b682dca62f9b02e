//! When runs come due, and what a clock that is set does to them.

use super::*;

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
