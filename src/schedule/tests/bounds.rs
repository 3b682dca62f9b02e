//! How much runs at once, and that all of it runs.

use super::*;

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
