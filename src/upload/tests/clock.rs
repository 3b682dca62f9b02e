//! The servers' clock and ours.

use super::*;

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
fn a_clock_that_was_right_in_between_is_told_again_at_once() {
    let heard = |date| Answer::Heard {
        status: 200,
        accepted: true,
        retry_after: None,
        date: Some(ServerDate {
            date,
            local: UnixTime::from_secs(EPOCH),
            rtt: Duration::from_millis(200),
        }),
    };
    let mut uploader = connected();
    let mut told = Vec::new();
    for (secs, date) in [
        (12, EPOCH - 3600),
        (72, EPOCH - 3600),
        (132, EPOCH),
        (192, EPOCH - 60),
    ] {
        let outputs = main_post(&mut uploader, secs, Vec::new(), heard(date));
        told.extend(outputs.into_iter().filter_map(|output| match output {
            Output::ClockOff(by) => Some((secs, by)),
            _ => None,
        }));
    }
    assert_eq!(told, [(12, 3600), (192, 60)]);
}
