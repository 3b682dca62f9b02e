//! Posts of one-off results.

use super::*;

#[test]
fn one_offs_are_posted_at_once_when_the_last_one_ends() {
    let mut uploader = connected();
    assert_eq!(uploader.handle(&at(1), Input::OneOff { idle: false }), []);
    assert!(collects(
        &uploader.handle(&at(2), Input::OneOff { idle: true }),
        Queue::OneOff
    ));
    let outputs = uploader.handle(
        &at(2),
        Input::Collected(Queue::OneOff, vec![sealed(1, 100)]),
    );
    let post = post(&outputs).expect("posts");
    let target = format!("/?PROBE_ID=1015186&SESSION_ID={SID}&SRC=oneoff");
    assert_eq!(
        (post.target.clone(), post.host.as_str()),
        (Target(target), "127.0.0.1")
    );
    let outputs = uploader.handle(&at(3), Input::Answered(Which::OneOff, accepted()));
    assert_eq!(
        deeds(outputs),
        [Output::Uploaded(Queue::OneOff, vec![Number(1)])]
    );
}

#[test]
fn one_offs_that_stayed_behind_are_tried_again_after_a_minute() {
    let mut uploader = connected();
    uploader.handle(&at(2), Input::OneOff { idle: true });
    uploader.handle(
        &at(2),
        Input::Collected(Queue::OneOff, vec![sealed(1, 100)]),
    );
    let outputs = uploader.handle(&at(3), Input::Answered(Which::OneOff, failed()));
    assert_eq!(deeds(outputs), [Output::Kept(Queue::OneOff)]);
    assert!(!collects(
        &uploader.handle(&at(61), Input::Deadline),
        Queue::OneOff
    ));
    assert!(collects(
        &uploader.handle(&at(63), Input::Deadline),
        Queue::OneOff
    ));
}

#[test]
fn the_next_attempt_for_one_offs_is_a_deadline_of_its_own() {
    let mut uploader = connected();
    let duties = vec![duty(Which::Main, slots(86_400, 12))];
    uploader.handle(&at(13), Input::Duties(duties));
    uploader.handle(&at(20), Input::OneOff { idle: true });
    uploader.handle(
        &at(20),
        Input::Collected(Queue::OneOff, vec![sealed(1, 100)]),
    );
    uploader.handle(&at(21), Input::Answered(Which::OneOff, failed()));
    // Slots are looked at each minute: this is between two looks.
    uploader.handle(&at(50), Input::Deadline);
    assert_eq!(uploader.deadline(), Some(Tick::from_secs(81)));
}

#[test]
fn one_offs_are_posted_in_at_most_five_rounds_in_a_row() {
    let mut uploader = connected();
    let waiting = || vec![sealed(1, 1_900_000), sealed(2, 1_900_000)];
    let mut outputs = uploader.handle(&at(2), Input::OneOff { idle: true });
    for round in 1..=5 {
        assert!(collects(&outputs, Queue::OneOff), "round {round}");
        uploader.handle(&at(2), Input::Collected(Queue::OneOff, waiting()));
        outputs = uploader.handle(&at(2), Input::Answered(Which::OneOff, accepted()));
    }
    assert!(!collects(&outputs, Queue::OneOff), "five are enough");
    assert!(collects(
        &uploader.handle(&at(62), Input::Deadline),
        Queue::OneOff
    ));
}

#[test]
fn one_offs_and_results_do_not_wait_for_each_other() {
    let mut uploader = connected();
    uploader.handle(&at(12), Input::Deadline);
    uploader.handle(&at(12), Input::Collected(Queue::Periodic, Vec::new()));
    assert!(collects(
        &uploader.handle(&at(13), Input::OneOff { idle: true }),
        Queue::OneOff
    ));
}
