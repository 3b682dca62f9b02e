//! Dialogues with the uploader, and what holds whatever happens.

use std::time::Duration;

mod leaving;
mod told;

use proptest::prelude::*;

use super::{
    Answer, Duty, Identity, Input, Output, Own, Post, Queue, ServerDate, Slots, Target, Uploader,
    Which, duty::Order, http::PostError,
};
use crate::{
    clock::{Now, Tick, UnixTime},
    protocol::{crontab::CronLine, registration::SessionId},
    spool::{Number, Sealed},
};

/// The Unix time of tick 0: a multiple of 900.
const EPOCH: i64 = 1_775_483_100;
const SID: &str = "fa0b28e5f26291ad4a41ceecffc73457cbb4180291f53abdcda5667357440a9f";

fn at(secs: u64) -> Now {
    let unix = UnixTime::from_secs(EPOCH + i64::try_from(secs).unwrap());
    Now::new(Tick::from_secs(secs), unix, -1)
}

fn identity() -> Identity {
    Identity {
        probe_id: Some(1_015_186),
        session_id: SessionId::new(SID).unwrap(),
    }
}

fn sealed(number: u64, len: u64) -> Sealed {
    Sealed {
        number: Number(number),
        len,
        lines: 1,
    }
}

fn slots(interval: u32, start: i64) -> Slots {
    Slots {
        interval,
        start,
        end: Some(2_000_000_000),
        spread: 0,
    }
}

fn order(which: Which) -> Order {
    let source = if which == Which::TimeSync {
        "&SRC=timesync"
    } else {
        ""
    };
    Order {
        which,
        host: "127.0.0.1".to_owned(),
        target: Target(format!("/?PROBE_ID=1015186&SESSION_ID={SID}{source}")),
        id: "9015".to_owned(),
        set_time: Some(2),
        max_post_size: 9_000_000,
        local_time: false,
        timeout: Duration::from_secs(300),
    }
}

fn duty(which: Which, slots: Slots) -> Duty {
    Duty::Post {
        slots,
        order: order(which),
    }
}

/// Connected at second 0, with a line for results every minute at second 12, and nothing left over.
fn connected() -> Uploader {
    let mut uploader = Uploader::new(Own::default(), 1);
    uploader.handle(&at(0), Input::Session(identity()));
    uploader.handle(
        &at(0),
        Input::Duties(vec![duty(Which::Main, slots(60, 12))]),
    );
    uploader.handle(&at(0), Input::Tunnel(true));
    uploader.handle(&at(0), Input::Collected(Queue::OneOff, Vec::new()));
    uploader
}

fn collects(outputs: &[Output], wanted: Queue) -> bool {
    outputs
        .iter()
        .any(|output| matches!(output, Output::Collect { queue, .. } if *queue == wanted))
}

fn post(outputs: &[Output]) -> Option<&Post> {
    outputs.iter().find_map(|output| match output {
        Output::Post(post) => Some(post),
        _ => None,
    })
}

/// What is done, without what is only told.
fn deeds(outputs: Vec<Output>) -> Vec<Output> {
    let is_deed = |output: &Output| {
        !matches!(
            output,
            Output::Told(_) | Output::Failing(_) | Output::Works | Output::ClockOff(_)
        )
    };
    outputs.into_iter().filter(is_deed).collect()
}

fn accepted() -> Answer {
    Answer::Heard {
        status: 200,
        accepted: true,
        retry_after: None,
        date: None,
    }
}

fn refused(status: u16, retry_after: Option<u64>) -> Answer {
    Answer::Heard {
        status,
        accepted: false,
        retry_after: retry_after.map(Duration::from_secs),
        date: None,
    }
}

fn failed() -> Answer {
    Answer::Failed(PostError::Broken("reset".to_owned()))
}

/// Runs the main post that is due now, up to its answer.
fn main_post(
    uploader: &mut Uploader,
    secs: u64,
    segments: Vec<Sealed>,
    answer: Answer,
) -> Vec<Output> {
    assert!(
        collects(
            &uploader.handle(&at(secs), Input::Deadline),
            Queue::Periodic
        ),
        "due at {secs}"
    );
    let outputs = uploader.handle(&at(secs), Input::Collected(Queue::Periodic, segments));
    assert_eq!(post(&outputs).map(|post| post.which), Some(Which::Main));
    uploader.handle(&at(secs), Input::Answered(Which::Main, answer))
}

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
fn the_time_is_asked_for_on_its_own_slots_and_never_beside_results() {
    let mut uploader = connected();
    let duties = vec![
        duty(Which::Main, slots(60, 12)),
        duty(Which::TimeSync, slots(900, 12)),
    ];
    uploader.handle(&at(1), Input::Duties(duties));
    uploader.handle(&at(12), Input::Deadline);
    let outputs = uploader.handle(&at(12), Input::Collected(Queue::Periodic, Vec::new()));
    assert_eq!(post(&outputs).unwrap().which, Which::Main);
    let outputs = uploader.handle(&at(13), Input::Answered(Which::Main, accepted()));
    let post = post(&outputs).expect("now it is its turn");
    assert_eq!(
        (post.which, post.status, post.segments.len()),
        (Which::TimeSync, false, 0)
    );
    assert!(post.target.0.ends_with("&SRC=timesync"));
    let outputs = uploader.handle(&at(14), Input::Answered(Which::TimeSync, failed()));
    assert_eq!(deeds(outputs), []);
}

#[test]
fn the_servers_clock_confirms_ours_or_is_reported() {
    let heard = |date, rtt| Answer::Heard {
        status: 200,
        accepted: true,
        retry_after: None,
        date: Some(ServerDate {
            date,
            local: UnixTime::from_secs(EPOCH + 12),
            rtt,
        }),
    };
    let mut uploader = connected();
    let outputs = main_post(
        &mut uploader,
        12,
        Vec::new(),
        heard(EPOCH + 11, Duration::from_millis(200)),
    );
    assert_eq!(
        deeds(outputs),
        [Output::InSync(UnixTime::from_secs(EPOCH + 12))]
    );
    let outputs = main_post(
        &mut uploader,
        72,
        Vec::new(),
        heard(EPOCH - 3600, Duration::from_millis(200)),
    );
    let (local, remote) = (EPOCH + 12, EPOCH - 3600);
    let line = format!(
        "RESULT 9015 ongoing {local} httppost not in sync, local {local}, remote {remote}\n"
    );
    assert_eq!(deeds(outputs), [Output::Append(line)]);
    let outputs = main_post(
        &mut uploader,
        132,
        Vec::new(),
        heard(EPOCH + 12, Duration::from_micros(2_000_920)),
    );
    assert_eq!(
        deeds(outputs),
        [Output::Append(format!(
            "RESULT 9015 ongoing {local} httppost rtt 2000.92 ms\n"
        ))]
    );
}

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

#[test]
fn a_line_of_an_earlier_session_posts_in_this_one() {
    let mut uploader = connected();
    let session_id = SessionId::new(&"ab".repeat(32)).unwrap();
    uploader.handle(
        &at(1),
        Input::Session(Identity {
            session_id: session_id.clone(),
            ..identity()
        }),
    );
    uploader.handle(&at(12), Input::Deadline);
    let outputs = uploader.handle(&at(12), Input::Collected(Queue::Periodic, Vec::new()));
    let post = post(&outputs).expect("posts");
    let target = format!("/?PROBE_ID=1015186&SESSION_ID={}", "ab".repeat(32));
    assert_eq!(
        (post.target.clone(), post.session_id.clone()),
        (Target(target), session_id)
    );
}

#[test]
fn the_same_table_again_keeps_its_slots() {
    let spread = Slots {
        spread: 40,
        ..slots(60, 30)
    };
    let mut uploader = connected();
    uploader.handle(&at(1), Input::Duties(vec![duty(Which::Main, spread)]));
    let planned = uploader.deadline();
    for secs in 2..8 {
        uploader.handle(&at(secs), Input::Duties(vec![duty(Which::Main, spread)]));
        assert_eq!(uploader.deadline(), planned);
    }
}

#[test]
fn slots_are_spread_by_the_parameter_less_half_of_it() {
    let mut seen = std::collections::BTreeSet::new();
    let mut uploader = connected();
    uploader.handle(
        &at(1),
        Input::Duties(vec![duty(
            Which::Main,
            Slots {
                spread: 3,
                ..slots(60, 0)
            },
        )]),
    );
    for _ in 0..100 {
        let due = loop {
            let next = uploader.deadline().expect("is due").0.as_secs();
            if collects(
                &uploader.handle(&at(next), Input::Deadline),
                Queue::Periodic,
            ) {
                break next;
            }
        };
        seen.insert((due + 30) % 60);
        uploader.handle(&at(due), Input::Collected(Queue::Periodic, Vec::new()));
        uploader.handle(&at(due), Input::Answered(Which::Main, accepted()));
    }
    assert_eq!(
        seen.into_iter().collect::<Vec<_>>(),
        [29, 30, 31, 32],
        "-1 to 2 seconds"
    );
}

#[test]
fn a_clock_that_is_set_back_does_not_silence_the_probe() {
    let mut uploader = connected();
    let back = Now::new(Tick::from_secs(20), UnixTime::from_secs(EPOCH - 86_400), -1);
    assert!(
        collects(&uploader.handle(&back, Input::Deadline), Queue::Periodic),
        "due at once"
    );
    uploader.handle(&back, Input::Collected(Queue::Periodic, Vec::new()));
    uploader.handle(&back, Input::Answered(Which::Main, accepted()));
    assert!(uploader.deadline() <= Some(Tick::from_secs(80)));
}

#[test]
fn a_marker_is_written_on_its_slots_with_or_without_a_tunnel() {
    let line = "60 1 2000000000 UNIFORM 0 condmv -A \"RESULT 9907 ongoing\" /home/atlas/data/new/7 /home/atlas/data/out/7";
    let duty = Duty::of_measurement_table(&CronLine::parse(line).unwrap()).expect("is ours");
    let mut uploader = Uploader::new(Own::default(), 1);
    uploader.handle(&at(0), Input::Duties(vec![duty]));
    assert_eq!(uploader.deadline(), Some(Tick::from_secs(1)));
    let expected = format!(
        "RESULT 9907 ongoing {} /var/spool/ripe-atlas/data/new/7\n",
        EPOCH + 1
    );
    assert_eq!(
        uploader.handle(&at(1), Input::Deadline),
        [Output::Append(expected)]
    );
    assert_eq!(uploader.deadline(), Some(Tick::from_secs(61)));
}

#[test]
fn the_lines_that_controllers_send_are_understood() {
    let common = "httppost -A 9015 --set-time 2 --delete-file --maxpostsize 9000000 --post-header /home/atlas/status/p_to_c_report_header";
    let footer =
        "--post-footer /home/atlas/status/con_session_id.txt -O /home/atlas/data/new/main_sent.vol";
    let url = format!("http://127.0.0.1:8080/?PROBE_ID=1015186&SESSION_ID={SID}");
    let redirect = ">> /home/atlas/data/new/main";
    let main = format!(
        "60 12 2000000000 UNIFORM 20 {common} --post-dir /home/atlas/data/out {footer} {url} {redirect}"
    );
    let sync =
        format!("900 312 2000000000 UNIFORM 20 {common} {footer} {url}&SRC=timesync {redirect}");
    for (line, interval, start, which) in [
        (main, 60, 12, Which::Main),
        (sync, 900, 312, Which::TimeSync),
    ] {
        let duty = Duty::of_main(&CronLine::parse(&line).unwrap());
        let slots = Slots {
            spread: 20,
            ..slots(interval, start)
        };
        assert_eq!(
            duty,
            Some(Duty::Post {
                slots,
                order: order(which)
            })
        );
    }
    let condmv = "60 1 2000000000 UNIFORM 5 condmv -A \"RESULT 9901 ongoing\" /home/atlas/data/new/main /home/atlas/data/out/main";
    assert_eq!(
        Duty::of_main(&CronLine::parse(condmv).unwrap()),
        None,
        "9901 stands in front of every batch"
    );
}

#[test]
fn the_session_id_does_not_show() {
    let mut uploader = connected();
    uploader.handle(&at(12), Input::Deadline);
    let outputs = uploader.handle(&at(12), Input::Collected(Queue::Periodic, Vec::new()));
    assert!(!format!("{outputs:?} {uploader:?}").contains(SID));
}

#[derive(Clone, Debug)]
enum Step {
    Wait(u16),
    Jump(i32),
    Tunnel(bool),
    OneOff(bool),
    Answer(u8),
    Duties(Vec<(u32, i64, u32, bool)>),
    Leave,
}

fn step() -> impl Strategy<Value = Step> {
    let duty = (
        1..200u32,
        -5..100i64,
        prop_oneof![0..30u32, Just(u32::MAX)],
        any::<bool>(),
    );
    prop_oneof![
        6 => (0..300u16).prop_map(Step::Wait),
        1 => (-100_000..100_000i32).prop_map(Step::Jump),
        1 => any::<bool>().prop_map(Step::Tunnel),
        2 => any::<bool>().prop_map(Step::OneOff),
        6 => (0..6u8).prop_map(Step::Answer),
        1 => prop::collection::vec(duty, 0..4).prop_map(Step::Duties),
        1 => Just(Step::Leave),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_dropped_without_an_acknowledgement_and_nothing_spins(steps in prop::collection::vec(step(), 1..80)) {
        let mut uploader = Uploader::new(Own::default(), 3);
        let (mut tick, mut shift) = (0u64, 0i64);
        let mut posting: std::collections::BTreeMap<Queue, Post> = std::collections::BTreeMap::new();
        let mut held = 0;
        let mut inputs = vec![Input::Session(identity()), Input::Tunnel(true)];
        let mut tunnel = true;
        for step in steps {
            let wait = if let Step::Wait(secs) = step { u64::from(secs) } else { 0 };
            match step {
                Step::Wait(_) => inputs.push(Input::Deadline),
                Step::Jump(secs) => shift += i64::from(secs),
                Step::Tunnel(stands) => inputs.push(Input::Tunnel(stands)),
                Step::OneOff(idle) => inputs.push(Input::OneOff { idle }),
                Step::Leave => inputs.push(Input::Leaving),
                Step::Answer(kind) => {
                    if let Some(post) = posting.values().next() {
                        let answer = match kind {
                            0 | 1 => accepted(),
                            2 => refused(429, Some(30)),
                            3 => refused(500, None),
                            4 => Answer::NotMade,
                            _ => failed(),
                        };
                        inputs.push(Input::Answered(post.which, answer));
                    }
                }
                Step::Duties(ref lines) => {
                    let duties = lines.iter().map(|(interval, start, spread, sync)| {
                        let which = if *sync { Which::TimeSync } else { Which::Main };
                        duty(which, Slots { spread: *spread, ..slots(*interval, *start) })
                    });
                    inputs.push(Input::Duties(duties.collect()));
                }
            }
            tick += wait;
            let mut rounds = 0;
            while !inputs.is_empty() {
                rounds += 1;
                prop_assert!(rounds < 50, "goes round in circles");
                let input = inputs.remove(0);
                if let Input::Tunnel(stands) = input {
                    tunnel = stands;
                }
                let unix = UnixTime::from_secs(EPOCH + i64::try_from(tick).unwrap() + shift);
                let now = Now::new(Tick::from_secs(tick), unix, -1);
                let answered = match &input {
                    Input::Answered(which, answer) => {
                        let good = matches!(answer, Answer::Heard { accepted: true, .. });
                        posting.remove(&which.queue()).map(|post| (post, good))
                    }
                    _ => None,
                };
                for output in uploader.handle(&now, input) {
                    match output {
                        Output::Collect { queue, .. } => {
                            prop_assert!(!posting.contains_key(&queue), "one post at a time");
                            prop_assert!(tunnel && tick >= held);
                            inputs.push(Input::Collected(queue, vec![sealed(1, 10), sealed(2, 10)]));
                        }
                        Output::Post(post) => {
                            let queue = post.which.queue();
                            prop_assert!(posting.insert(queue, post).is_none(), "one post at a time");
                        }
                        Output::Uploaded(queue, segments) => {
                            let (post, good) = answered.clone().expect("only an answer removes");
                            prop_assert!(good && post.which.queue() == queue && post.segments == segments);
                        }
                        Output::Held(wait) => {
                            prop_assert!(wait >= Duration::from_secs(60) && wait <= Duration::from_secs(3600));
                            held = tick + wait.as_secs();
                        }
                        _ => {}
                    }
                }
            }
            // Awoken at its deadline, it has a later one.
            if let Some(deadline) = uploader.deadline() {
                let next = deadline.0.as_secs() + u64::from(deadline.0.subsec_nanos() > 0);
                let unix = UnixTime::from_secs(EPOCH + i64::try_from(next).unwrap() + shift);
                prop_assert!(deadline >= Tick::from_secs(tick) || next >= tick);
                tick = tick.max(next);
                for output in uploader.handle(&Now::new(Tick::from_secs(tick), unix, -1), Input::Deadline) {
                    match output {
                        Output::Collect { queue, .. } => inputs.push(Input::Collected(queue, Vec::new())),
                        Output::Post(post) => { posting.insert(post.which.queue(), post); }
                        _ => {}
                    }
                }
                prop_assert!(uploader.deadline().is_none_or(|next| next > Tick::from_secs(tick)), "would spin");
            }
        }
    }
}
