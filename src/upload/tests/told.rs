//! What the session and the operator are told of posts.

use super::*;
use crate::session::Upload;

/// What is only told.
fn told(outputs: Vec<Output>) -> Vec<Output> {
    let deeds = deeds(outputs.clone());
    outputs
        .into_iter()
        .filter(|output| !deeds.contains(output))
        .collect()
}

fn failing(why: &str) -> Output {
    Output::Failing(why.to_owned())
}

fn not_accepted(why: &str) -> Output {
    Output::Told(Upload::NotAccepted(why.to_owned()))
}

#[test]
fn the_session_hears_of_every_post_and_the_operator_once_of_each_reason() {
    let mut uploader = connected();
    let mut secs = 12;
    let mut after = |answer: Answer| {
        let outputs = main_post(&mut uploader, secs, vec![sealed(1, 100)], answer);
        secs += 60;
        told(outputs)
    };
    assert_eq!(after(accepted()), [Output::Told(Upload::Accepted)]);
    let words = "it answers 500";
    assert_eq!(
        after(refused(500, None)),
        [failing(words), not_accepted(words)]
    );
    assert_eq!(after(refused(500, None)), [not_accepted(words)]);
    let words = "it answers 200 but not OK";
    assert_eq!(
        after(refused(200, None)),
        [failing(words), not_accepted(words)]
    );
    let words = "the upload broke off: reset";
    assert_eq!(after(failed()), [failing(words), not_accepted(words)]);
    assert_eq!(after(Answer::NotMade), []);
    assert_eq!(
        after(accepted()),
        [Output::Told(Upload::Accepted), Output::Works]
    );
}

#[test]
fn a_session_that_the_controller_does_not_know_is_told_apart() {
    for status in [401, 403] {
        let mut uploader = connected();
        let outputs = main_post(&mut uploader, 12, Vec::new(), refused(status, None));
        let words = format!("it answers {status}");
        assert_eq!(
            told(outputs),
            [
                failing(&format!(
                    "{words}, as to a session that it does not know; if that lasts, a new one is opened"
                )),
                Output::Told(Upload::Unknown(words))
            ]
        );
    }
}

#[test]
fn a_controller_that_asks_to_wait_is_no_failure() {
    let mut uploader = connected();
    let outputs = main_post(&mut uploader, 12, Vec::new(), refused(429, Some(700)));
    let held = Output::Told(Upload::Held(Duration::from_secs(700)));
    assert_eq!(told(outputs), [held]);
}

#[test]
fn a_post_that_fails_with_the_tunnel_is_the_session_s_affair() {
    let mut uploader = connected();
    uploader.handle(&at(12), Input::Deadline);
    uploader.handle(&at(12), Input::Collected(Queue::Periodic, Vec::new()));
    uploader.handle(&at(13), Input::Tunnel(false));
    let outputs = uploader.handle(&at(13), Input::Answered(Which::Main, failed()));
    assert_eq!(told(outputs), []);
}

#[test]
fn a_clock_that_is_off_is_told_once_an_hour_and_never_set() {
    let mut uploader = connected();
    let mut hours = Vec::new();
    for minute in 0..121 {
        let secs = 12 + 60 * minute;
        let local = EPOCH + i64::try_from(secs).unwrap();
        let answer = Answer::Heard {
            status: 200,
            accepted: true,
            retry_after: None,
            date: Some(ServerDate {
                date: local + 86_400,
                local: UnixTime::from_secs(local),
                rtt: Duration::from_millis(10),
            }),
        };
        let outputs = main_post(&mut uploader, secs, Vec::new(), answer);
        if outputs.contains(&Output::ClockOff(-86_400)) {
            hours.push(minute);
        }
        // 9015 stands in every post all the same.
        assert!(
            outputs
                .iter()
                .any(|output| matches!(output, Output::Append(_)))
        );
    }
    assert_eq!(hours, [0, 60, 120]);
}

#[test]
fn a_controller_that_only_tells_the_time_takes_no_results() {
    let mut uploader = connected();
    let duties = vec![
        duty(Which::Main, slots(60, 12)),
        duty(Which::TimeSync, slots(60, 42)),
    ];
    uploader.handle(&at(1), Input::Duties(duties));
    let words = "it answers 500";
    let outputs = main_post(&mut uploader, 12, Vec::new(), refused(500, None));
    assert_eq!(told(outputs), [failing(words), not_accepted(words)]);
    let outputs = uploader.handle(&at(42), Input::Deadline);
    assert_eq!(post(&outputs).unwrap().which, Which::TimeSync);
    let outputs = uploader.handle(&at(43), Input::Answered(Which::TimeSync, accepted()));
    assert_eq!(told(outputs), []);
    let outputs = main_post(&mut uploader, 72, Vec::new(), refused(500, None));
    assert_eq!(told(outputs), [not_accepted(words)]);
}
