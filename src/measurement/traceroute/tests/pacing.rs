//! Order, timers and the end of the run (`packet-measurements` section 3.6).

use super::*;
use crate::measurement::Carry as AnyCarry;

/// The hop limits of the probes of a run in which nothing answers.
fn silent(line: &str) -> Vec<u8> {
    let mut run = Script::probing(line);
    let mut hops = Vec::new();
    while run.outcome.is_none() {
        hops.push(run.probe().hop_limit.unwrap());
        run.deadline();
    }
    hops
}

#[test]
fn three_probes_a_hop_and_a_gap_of_five() {
    let wanted = [1, 2, 3, 4, 5, 255].map(|hop| [hop; 3]).concat();
    assert_eq!(silent("198.51.100.7"), wanted);
}

#[test]
fn the_last_hop_ends_the_run() {
    assert_eq!(silent("-c 1 -m 3 198.51.100.7"), [1, 2, 3]);
    assert_eq!(silent("-c 1 -m 0 198.51.100.7"), [1]);
    assert_eq!(silent("-c 1 -f 4 -m 2 198.51.100.7"), [4]);
    assert_eq!(silent("-c 1 -f 254 -m 255 198.51.100.7"), [254, 255]);
}

#[test]
fn hop_zero_can_be_probed() {
    assert_eq!(silent("-c 1 -f 0 -m 2 198.51.100.7"), [0, 1, 2]);
}

#[test]
fn a_kernel_that_cannot_send_to_hop_zero_does_not_end_the_run() {
    const EINVAL: i32 = 22;
    let mut run = Script::probing("-c 1 -f 0 198.51.100.7");
    run.send_failed(Call::Send, EINVAL);
    run.unanswered();
    run.send_failed(Call::Send, EINVAL);
    assert_eq!(
        run.hops(),
        r#"[ { "hop":0, "result": [ { "x":"*" } ] }, { "hop":1, "result": [ { "error":"sendto failed: Invalid argument" } ] } ]"#
    );
}

#[test]
fn a_recorded_refusal_to_send_to_hop_zero_ends_the_run_as_any_other() {
    const EINVAL: i32 = 22;
    let replay = Run {
        replay: true,
        ..Run::default()
    };
    let mut run = Script::carrying("-c 1 -f 0 198.51.100.7", replay, None).opened();
    run.send_failed(Call::Send, EINVAL);
    assert_eq!(
        run.hops(),
        r#"[ { "hop":0, "result": [ { "error":"sendto failed: Invalid argument" } ] } ]"#
    );
}

#[test]
fn the_gap_counts_from_the_first_hop() {
    assert_eq!(silent("-c 1 -f 10 -g 2 198.51.100.7"), [10, 11, 255]);
    assert_eq!(silent("-c 1 -g 0 198.51.100.7"), [1, 255]);
}

#[test]
fn a_count_of_zero_leaves_the_first_hop_empty_and_probes_each_further_one_once() {
    assert_eq!(silent("-c 0 -m 3 198.51.100.7"), [2, 3]);
    let run = Script::probing("-c 0 -m 1 198.51.100.7");
    assert_eq!(run.hops(), r#"[ { "hop":1, "result": [  ] } ]"#);
}

#[test]
fn a_reply_shortens_the_wait_to_the_time_for_duplicates() {
    let mut run = Script::probing("-z 250 198.51.100.7");
    assert_eq!(
        run.machine.deadline(),
        Some(run.tick() + std::time::Duration::from_secs(1))
    );
    let probe = run.probe();
    let answer = run.exceeded(&probe);
    run.after(400_000).receive(answer.clone());
    let wanted = run.tick() + std::time::Duration::from_millis(250);
    assert_eq!(run.machine.deadline(), Some(wanted));
    run.after(10_000).receive(answer);
    assert_eq!(
        run.machine.deadline(),
        Some(wanted),
        "a duplicate changes nothing"
    );
    run.deadline();
    run.probe();
}

#[test]
fn without_time_for_duplicates_a_reply_sends_the_next_probe() {
    let mut run = Script::probing("-z 0 -c 2 198.51.100.7");
    run.answered(1000, Script::exceeded);
    assert_eq!(run.probe().tag, 2);
}

#[test]
fn the_end_needs_an_end_and_nothing_before_it() {
    let mut run = Script::probing("-c 2 198.51.100.7");
    // One path is one hop longer than the other.
    run.answered(1000, Script::exceeded);
    run.deadline();
    run.answered(1000, |run, probe| run.error_v4(3, 3, probe));
    run.deadline();
    for _ in 0..2 {
        let probe = run.probe();
        assert_eq!(probe.hop_limit, Some(2));
        let answer = run.error_v4(3, 3, &probe);
        run.after(1000).receive(answer);
        run.deadline();
    }
    assert!(run.outcome.is_some());
}

#[test]
fn a_late_end_is_none() {
    let mut run = Script::probing("-c 1 -w 100 198.51.100.7");
    let first = run.unanswered();
    run.probe();
    let late = run.error_v4(3, 3, &first);
    run.after(10).receive(late);
    run.deadline();
    assert_eq!(run.probe().hop_limit, Some(3));
}

#[test]
fn a_late_echo_reply_over_ipv4_is_an_end() {
    let mut run = Script::probing("-I -c 1 -w 100 198.51.100.7");
    let first = run.unanswered();
    run.probe();
    let late = run.echo_reply(TARGET, 60, &first);
    run.after(10).receive(late);
    run.deadline();
    assert!(run.outcome.is_some());
}

#[test]
fn a_late_echo_reply_over_ipv6_is_no_end() {
    let mut run = Script::probing("-6 -I -c 1 -w 100 2001:db8:7::7");
    let first = run.unanswered();
    run.probe();
    let late = run.echo_reply(TARGET_6, 60, &first);
    run.after(10).receive(late);
    run.deadline();
    run.probe();
}

#[test]
fn answers_put_the_gap_off() {
    let mut run = Script::probing("-c 1 -g 2 198.51.100.7");
    run.unanswered();
    run.answered(10, Script::exceeded);
    run.deadline();
    let mut hops = Vec::new();
    while run.outcome.is_none() {
        hops.push(run.probe().hop_limit.unwrap());
        run.deadline();
    }
    assert_eq!(hops, [3, 4, 255]);
}

#[test]
fn too_large_probes_and_refused_ones_look_like_losses() {
    const EACCES: i32 = 13;
    const ENOBUFS: i32 = 105;
    const EMSGSIZE: i32 = 90;
    const ECONNREFUSED: i32 = 111;
    for (target, errno) in [
        (TARGET, EMSGSIZE),
        ("-6 2001:db8:7::7", EMSGSIZE),
        ("-6 2001:db8:7::7", EACCES),
        ("-6 2001:db8:7::7", ECONNREFUSED),
    ] {
        let mut run = Script::probing(&format!("-c 1 -m 1 {target}"));
        run.send_failed(Call::Send, errno);
        assert!(run.outcome.is_none());
        run.deadline();
        assert_eq!(run.hops(), r#"[ { "hop":1, "result": [ { "x":"*" } ] } ]"#);
    }
    for (command, errno, text) in [
        (TARGET, EACCES, "Permission denied"),
        ("-6 -T 2001:db8:7::7", ENOBUFS, "No buffer space available"),
        // Of IPv6 only UDP and TCP probes may be refused without an end.
        ("-6 -I 2001:db8:7::7", EACCES, "Permission denied"),
        ("-6 -I 2001:db8:7::7", ECONNREFUSED, "Connection refused"),
    ] {
        let mut run = Script::probing(command);
        run.send_failed(Call::Send, errno);
        assert_eq!(
            run.hops(),
            format!(r#"[ {{ "hop":1, "result": [ {{ "error":"sendto failed: {text}" }} ] }} ]"#)
        );
    }
}

#[test]
fn a_person_gets_what_there_is() {
    let mut run = Script::probing("-c 1 198.51.100.7");
    run.unanswered();
    run.probe();
    run.tell(Input::Stop);
    assert_eq!(run.hops(), r#"[ { "hop":1, "result": [ { "x":"*" } ] } ]"#);
    assert_eq!(run.machine.deadline(), None);
    let mut run = Script::new("198.51.100.7");
    run.tell(Input::Stop);
    assert_eq!(run.hops(), "[  ]");
    assert!(matches!(
        run.outcome.unwrap().carry,
        AnyCarry::Traceroute(Carry { paris: None })
    ));
}

#[test]
fn a_socket_that_never_opens_ends_the_run() {
    let mut run = Script::new("198.51.100.7");
    run.tell(Input::Start);
    assert_eq!(run.machine.deadline(), None, "the driver bounds look-ups");
    run.tell(Input::Resolved(Ok(vec![run.target])));
    run.deadline();
    assert_eq!(
        run.hops(),
        r#"[ { "hop":1, "error":"socket failed: Connection timed out" } ]"#
    );
}

#[test]
fn the_kernels_time_of_sending_counts_even_if_it_comes_after_the_answer() {
    let mut run = Script::probing("-c 1 -m 1 198.51.100.7");
    run.answered(5000, Script::exceeded);
    run.micros = 1500;
    run.stamped(1);
    run.stamped(99);
    run.deadline();
    assert!(run.hops().contains("\"rtt\":3.500"));
}

#[test]
fn a_time_of_sending_that_cannot_be_is_not_used() {
    for stamped in [0, 10_001] {
        let mut run = Script::new("-c 1 -m 1 198.51.100.7");
        run.micros = 5000;
        run = run.opened();
        run.answered(5000, Script::exceeded);
        run.micros = stamped;
        run.stamped(1);
        run.deadline();
        assert!(run.hops().contains("\"rtt\":5.000"), "{}", run.hops());
    }
}
