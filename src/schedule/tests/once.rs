//! What runs once: one-shots of a table, and one-offs.

use super::*;

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
