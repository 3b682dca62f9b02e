//! What the lines of the table ask for, and on which slots.

use super::*;

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
