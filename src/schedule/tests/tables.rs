//! Tables that are sent, sent again, changed and taken away.

use super::*;

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
