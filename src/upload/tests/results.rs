//! Posts of periodic results: when, how much, and what stays for the next one.

use super::*;

#[test]
fn results_are_posted_on_the_slots_of_the_table() {
    let mut uploader = connected();
    assert_eq!(uploader.deadline(), Some(Tick::from_secs(12)));
    assert_eq!(uploader.handle(&at(11), Input::Deadline), []);
    assert!(collects(
        &uploader.handle(&at(12), Input::Deadline),
        Queue::Periodic
    ));
    let outputs = uploader.handle(
        &at(12),
        Input::Collected(Queue::Periodic, vec![sealed(1, 100), sealed(2, 50)]),
    );
    let post = post(&outputs).expect("posts").clone();
    assert_eq!(post.target, order(Which::Main).target);
    assert_eq!(
        (post.segments.as_slice(), post.status),
        ([Number(1), Number(2)].as_slice(), true)
    );
    let outputs = uploader.handle(&at(13), Input::Answered(Which::Main, accepted()));
    assert_eq!(
        deeds(outputs),
        [Output::Uploaded(
            Queue::Periodic,
            vec![Number(1), Number(2)]
        )]
    );
    assert_eq!(uploader.deadline(), Some(Tick::from_secs(72)));
}

#[test]
fn a_post_is_made_even_without_results() {
    let mut uploader = connected();
    let outputs = main_post(&mut uploader, 12, Vec::new(), accepted());
    assert_eq!(deeds(outputs), []);
}

#[test]
fn whatever_is_not_an_acknowledgement_keeps_the_segments_for_the_next_slot() {
    let answers = [
        failed(),
        Answer::NotMade,
        refused(500, None),
        refused(200, None),
        refused(404, Some(600)),
    ];
    let mut uploader = connected();
    for (index, answer) in (0..).zip(answers) {
        let secs = 12 + 60 * index;
        let outputs = main_post(&mut uploader, secs, vec![sealed(1, 100)], answer);
        assert_eq!(deeds(outputs), [Output::Kept(Queue::Periodic)]);
        assert_eq!(uploader.deadline(), Some(Tick::from_secs(secs + 60)));
    }
}

#[test]
fn a_post_takes_what_fits_oldest_first() {
    let mut uploader = Uploader::new(
        Own {
            max_post_size: 100_000,
            ..Own::default()
        },
        1,
    );
    uploader.handle(&at(0), Input::Session(identity()));
    let mut due = uploader.handle(&at(0), Input::Tunnel(true));
    assert!(due.contains(&Output::Collect {
        queue: Queue::OneOff,
        enough: 75_000
    }));
    uploader.handle(&at(0), Input::Collected(Queue::OneOff, Vec::new()));
    due = uploader.handle(&at(60), Input::Deadline);
    assert!(due.contains(&Output::Collect {
        queue: Queue::Periodic,
        enough: 75_000
    }));
    let waiting = vec![sealed(1, 40_000), sealed(2, 35_000), sealed(3, 1)];
    let outputs = uploader.handle(&at(60), Input::Collected(Queue::Periodic, waiting));
    assert_eq!(post(&outputs).unwrap().segments, [Number(1), Number(2)]);
    uploader.handle(&at(60), Input::Answered(Which::Main, accepted()));
    uploader.handle(&at(120), Input::Deadline);
    let waiting = vec![sealed(3, 99_000), sealed(4, 1)];
    let outputs = uploader.handle(&at(120), Input::Collected(Queue::Periodic, waiting));
    assert_eq!(
        post(&outputs).unwrap().segments,
        [Number(3)],
        "too large for the new limit: alone"
    );
}

#[test]
fn the_size_of_posts_follows_the_table() {
    let mut uploader = Uploader::new(Own::default(), 1);
    let outputs = uploader.handle(&at(0), Input::Session(identity()));
    assert_eq!(outputs, [Output::Limit(450_000)]);
    let small = Duty::Post {
        slots: slots(60, 12),
        order: Order {
            max_post_size: 200_000,
            ..order(Which::Main)
        },
    };
    assert_eq!(
        uploader.handle(&at(0), Input::Duties(vec![small])),
        [Output::Limit(90_000)]
    );
    assert_eq!(
        uploader.handle(&at(0), Input::Duties(Vec::new())),
        [Output::Limit(450_000)]
    );
}

#[test]
fn too_many_requests_holds_all_posts_longer_each_time() {
    let mut uploader = connected();
    let mut secs = 12;
    for (asked, held) in [
        (None, 60),
        (Some(10), 120),
        (Some(3000), 3000),
        (Some(7200), 3600),
        (None, 960),
        (None, 1800),
        (None, 1800),
    ] {
        let outputs = main_post(
            &mut uploader,
            secs,
            vec![sealed(1, 100)],
            refused(429, asked),
        );
        assert!(
            outputs.contains(&Output::Held(Duration::from_secs(held))),
            "{outputs:?}"
        );
        assert!(outputs.contains(&Output::Kept(Queue::Periodic)));
        let end = secs + held;
        while secs + 60 < end {
            secs += 60;
            assert_eq!(
                uploader.handle(&at(secs), Input::Deadline),
                [],
                "held at {secs}"
            );
        }
        secs += 60;
    }
    main_post(&mut uploader, secs, Vec::new(), accepted());
    let outputs = main_post(&mut uploader, secs + 60, Vec::new(), refused(429, None));
    assert!(
        outputs.contains(&Output::Held(Duration::from_secs(60))),
        "reset by success"
    );
}

#[test]
fn without_a_table_results_are_posted_at_our_own_interval() {
    let own = Own {
        interval: Duration::from_secs(5),
        ..Own::default()
    };
    let mut uploader = Uploader::new(own, 7);
    uploader.handle(&at(0), Input::Session(identity()));
    uploader.handle(&at(0), Input::Tunnel(true));
    uploader.handle(&at(0), Input::Collected(Queue::OneOff, Vec::new()));
    let first = uploader.deadline().expect("is due");
    assert!(first <= Tick::from_secs(5));
    assert!(collects(
        &uploader.handle(&at(5), Input::Deadline),
        Queue::Periodic
    ));
    let outputs = uploader.handle(&at(5), Input::Collected(Queue::Periodic, Vec::new()));
    let target = format!("/?PROBE_ID=1015186&SESSION_ID={SID}");
    assert_eq!(post(&outputs).unwrap().target, Target(target));
    uploader.handle(&at(5), Input::Answered(Which::Main, accepted()));
    assert_eq!(uploader.deadline(), Some(Tick::from_secs(10)));
}

#[test]
fn nothing_is_posted_while_there_is_no_tunnel() {
    let mut uploader = connected();
    uploader.handle(&at(1), Input::Tunnel(false));
    assert_eq!(uploader.handle(&at(12), Input::Deadline), []);
    uploader.handle(&at(20), Input::Tunnel(true));
    uploader.handle(&at(20), Input::Collected(Queue::OneOff, Vec::new()));
    assert_eq!(
        uploader.handle(&at(71), Input::Deadline),
        [],
        "the missed slot is not made up for"
    );
    assert!(collects(
        &uploader.handle(&at(72), Input::Deadline),
        Queue::Periodic
    ));
}

#[test]
fn a_post_takes_a_thousand_segments_at_most() {
    let mut uploader = connected();
    uploader.handle(&at(12), Input::Deadline);
    let waiting = (1..=1001).map(|number| sealed(number, 1)).collect();
    let outputs = uploader.handle(&at(12), Input::Collected(Queue::Periodic, waiting));
    assert_eq!(post(&outputs).unwrap().segments.len(), 1000);
}

#[test]
fn of_two_lines_for_results_the_smaller_post_counts() {
    let mut uploader = Uploader::new(Own::default(), 1);
    uploader.handle(&at(0), Input::Session(identity()));
    let sized = |max_post_size| Duty::Post {
        slots: slots(60, 12),
        order: Order {
            max_post_size,
            ..order(Which::Main)
        },
    };
    let duties = vec![sized(400_000), sized(200_000), sized(300_000)];
    let outputs = uploader.handle(&at(0), Input::Duties(duties));
    assert_eq!(outputs, [Output::Limit(90_000)]);
}

#[test]
fn what_was_due_when_the_way_was_lost_waits_for_its_next_slot() {
    let mut uploader = connected();
    uploader.handle(&at(12), Input::Deadline);
    uploader.handle(&at(12), Input::Collected(Queue::Periodic, Vec::new()));
    // Due again while the first is still under way; then the tunnel falls.
    uploader.handle(&at(72), Input::Deadline);
    uploader.handle(&at(73), Input::Tunnel(false));
    uploader.handle(&at(73), Input::Answered(Which::Main, failed()));
    let outputs = uploader.handle(&at(74), Input::Tunnel(true));
    assert!(!collects(&outputs, Queue::Periodic), "{outputs:?}");
    assert!(collects(
        &uploader.handle(&at(132), Input::Deadline),
        Queue::Periodic
    ));
}
