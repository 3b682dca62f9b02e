//! The last words of a process whose disk does not take its results.

use super::*;

#[test]
fn who_leaves_posts_both_queues_at_once_and_not_by_the_slots() {
    let mut uploader = connected();
    let outputs = uploader.handle(&at(3), Input::Leaving);
    assert!(collects(&outputs, Queue::Periodic) && collects(&outputs, Queue::OneOff));
    let outputs = uploader.handle(
        &at(3),
        Input::Collected(Queue::Periodic, vec![sealed(7, 10)]),
    );
    let posted = post(&outputs).expect("posts");
    // The table's line says where to.
    assert_eq!(posted.target, order(Which::Main).target);
    assert_eq!(posted.segments, [Number(7)]);
    let outputs = uploader.handle(&at(4), Input::Answered(Which::Main, accepted()));
    assert_eq!(
        deeds(outputs),
        [Output::Uploaded(Queue::Periodic, vec![Number(7)])]
    );
}

#[test]
fn who_leaves_without_a_table_posts_at_its_own_address() {
    let mut uploader = Uploader::new(Own::default(), 1);
    uploader.handle(&at(0), Input::Session(identity()));
    uploader.handle(&at(0), Input::Tunnel(true));
    uploader.handle(&at(0), Input::Collected(Queue::OneOff, Vec::new()));
    let outputs = uploader.handle(&at(1), Input::Leaving);
    assert!(collects(&outputs, Queue::Periodic), "{outputs:?}");
}

#[test]
fn a_post_under_way_ends_before_the_last_one() {
    let mut uploader = connected();
    uploader.handle(&at(12), Input::Deadline);
    uploader.handle(
        &at(12),
        Input::Collected(Queue::Periodic, vec![sealed(1, 10)]),
    );
    let outputs = uploader.handle(&at(13), Input::Leaving);
    assert!(!collects(&outputs, Queue::Periodic), "{outputs:?}");
    let outputs = uploader.handle(&at(14), Input::Answered(Which::Main, accepted()));
    assert!(collects(&outputs, Queue::Periodic), "{outputs:?}");
}

#[test]
fn nobody_leaves_through_a_closed_door() {
    let mut asked_to_wait = connected();
    main_post(
        &mut asked_to_wait,
        12,
        vec![sealed(1, 10)],
        refused(429, None),
    );
    assert_eq!(deeds(asked_to_wait.handle(&at(13), Input::Leaving)), []);
    let mut alone = connected();
    alone.handle(&at(1), Input::Tunnel(false));
    assert_eq!(deeds(alone.handle(&at(2), Input::Leaving)), []);
}
