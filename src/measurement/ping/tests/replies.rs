//! What is heard.

use super::*;

#[test]
fn the_kernels_time_of_sending_counts_even_if_it_comes_last() {
    let mut script = Script::new("-4 -c 1 198.51.100.7");
    script.begin(0, TARGET);
    script.reply(10 * MS, 0, 57, 32);
    script.tell(MS, Input::Stamped { on: H, tag: 0 });
    script.deadline();
    assert_eq!(script.items(), "[ { \"rtt\":9.000000 } ]");
}

#[test]
fn a_kernel_time_that_cannot_be_is_not_used() {
    for stamped in [11 * MS, 4 * MS] {
        let mut script = Script::new("-4 -c 1 198.51.100.7");
        script.begin(5 * MS, TARGET);
        script.tell(stamped, Input::Stamped { on: H, tag: 0 });
        script.reply(10 * MS, 0, 57, 32);
        script.deadline();
        assert_eq!(script.items(), "[ { \"rtt\":5.000000 } ]");
    }
    let mut script = Script::new("-4 -c 1 198.51.100.7");
    script.begin(5 * MS, TARGET);
    script.reply(4 * MS, 0, 57, 32);
    script.deadline();
    assert_eq!(script.items(), "[ { \"rtt\":0.000000 } ]");
}

#[test]
fn a_reply_that_arrived_in_time_is_no_loss_though_we_are_told_late() {
    let mut script = Script::new("-4 -c 2 198.51.100.7");
    script.begin(0, TARGET);
    script.deadline();
    script.reply(999 * MS, 0, 57, 32);
    script.deadline();
    assert_eq!(
        script.items(),
        "[ { \"rtt\":999.000000 }, { \"x\":\"*\" } ]"
    );
}

#[test]
fn a_reply_at_the_very_end_of_its_time_is_in_time_and_one_after_it_is_not() {
    for (arrival, items) in [
        (1000 * MS, "[ { \"rtt\":1000.000000 }, { \"x\":\"*\" } ]"),
        (
            1000 * MS + 1,
            "[ { \"x\":\"*\" }, { \"dup\":1, \"rtt\":1000.000001, \"ttl\":57 }, { \"x\":\"*\" } ]",
        ),
    ] {
        let mut script = Script::new("-4 -c 2 198.51.100.7");
        script.begin(0, TARGET);
        script.tell(1500 * MS, Input::Deadline);
        script.reply(arrival, 0, 57, 32);
        script.deadline();
        assert_eq!(script.items(), items);
    }
}

#[test]
fn replies_to_another_address_tell_it_but_for_the_first_which_sets_it() {
    let mut script = Script::new("-4 -c 3 198.51.100.7");
    script.begin(0, TARGET);
    for (request, to) in [(0, "192.0.2.11"), (1, "192.0.2.11"), (2, "192.0.2.12")] {
        let datagram = reply_to(&script.sent[request], ip(to), 57, 32);
        let at = u64::try_from(request).unwrap() * 1000 * MS + MS;
        script.datagram(at, datagram);
        script.deadline();
    }
    assert_eq!(
        script.items(),
        "[ { \"rtt\":1.000000 }, { \"rtt\":1.000000 }, { \"rtt\":1.000000, \"src_addr\":\"192.0.2.12\" } ]"
    );
}

#[test]
fn a_late_wake_up_gives_no_reply_more_time() {
    let mut script = Script::new("-4 -c 2 198.51.100.7");
    script.begin(0, TARGET);
    script.tell(1300 * MS, Input::Deadline);
    script.reply(1100 * MS, 0, 57, 32);
    script.deadline();
    assert_eq!(
        script.items(),
        "[ { \"x\":\"*\" }, { \"dup\":1, \"rtt\":1100.000000, \"ttl\":57 }, { \"x\":\"*\" } ]"
    );
}

#[test]
fn a_late_wake_up_delays_one_request_and_not_all_that_follow() {
    let mut script = Script::new("-4 -c 9 198.51.100.7");
    script.begin(0, TARGET);
    script.tell(1300 * MS, Input::Deadline);
    assert_eq!(script.ping.deadline(), Some(Tick::from_millis(2000)));
    // So late that the next reply would hardly have time: from here on, the slots are others.
    script.tell(2700 * MS, Input::Deadline);
    assert_eq!(script.ping.deadline(), Some(Tick::from_millis(3700)));
}

#[test]
fn a_deadline_that_has_not_come_is_none() {
    let mut script = Script::new("-4 198.51.100.7");
    script.begin(0, TARGET);
    assert_eq!(script.tell(999 * MS, Input::Deadline), []);
}

#[test]
fn strangers_are_not_heard() {
    let mut script = Script::new("-4 -c 1 -s 64 198.51.100.7");
    script.begin(0, TARGET);
    let good = reply_to(&script.sent[0], ip(SOURCE), 57, 64);
    let mut tell = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut datagram = good.clone();
        change(&mut datagram.bytes);
        // Forgers compute checksums.
        datagram.bytes[22..24].fill(0);
        let sum = crate::wire::checksum::checksum(&datagram.bytes[20..]);
        datagram.bytes[22..24].copy_from_slice(&sum.to_be_bytes());
        script.datagram(MS, datagram);
    };
    tell(&|bytes| bytes[24] ^= 1); // identifier
    tell(&|bytes| bytes[27] ^= 1); // sequence number
    tell(&|bytes| bytes[28] ^= 1); // time
    tell(&|bytes| bytes[44] ^= 1); // index
    tell(&|bytes| bytes[48] ^= 1); // cookie
    tell(&|bytes| bytes[20] = 8); // a request
    tell(&|bytes| bytes[20] = 3); // an error
    tell(&|bytes| bytes.truncate(59)); // too short
    tell(&|bytes| bytes[0] = 0x44); // header of four words
    tell(&|bytes| bytes[0] = 0x4f); // header longer than the packet allows
    let mut corrupt = good.clone();
    corrupt.bytes[70] ^= 1;
    script.datagram(MS, corrupt);
    script.datagram(
        MS,
        Datagram {
            bytes: Vec::new(),
            ..good
        },
    );
    script.deadline();
    assert_eq!(script.items(), "[ { \"x\":\"*\" } ]");
}

#[test]
fn a_truncated_reply_still_counts_with_its_size() {
    let mut script = Script::new("-4 -c 2 -s 64 198.51.100.7");
    script.begin(0, TARGET);
    script.reply(MS, 0, 57, 64);
    script.deadline();
    script.reply(1001 * MS, 1, 57, 33);
    script.deadline();
    assert_eq!(
        script.items(),
        "[ { \"rtt\":1.000000 }, { \"rtt\":1.000000, \"size\":33 } ]"
    );
}

#[test]
fn ipv4_options_count_into_the_size() {
    let mut script = Script::new("-4 -c 1 198.51.100.7");
    script.begin(0, TARGET);
    let mut datagram = reply_to(&script.sent[0], ip(SOURCE), 57, 32);
    let plain = Ipv4::parse(&datagram.bytes).unwrap();
    let with_options = Ipv4 {
        options: &[0x94, 4, 0, 0],
        total_length: plain.total_length + 4,
        ..plain
    };
    datagram.bytes = with_options.emit();
    script.datagram(MS, datagram);
    script.deadline();
    assert_eq!(script.items(), "[ { \"rtt\":1.000000 } ]");
    assert!(script.line().contains("\"size\":36"), "{}", script.line());
}

#[test]
fn long_ipv4_replies_report_what_the_receive_buffer_holds() {
    let mut script = Script::new("-4 -c 1 -s 4068 198.51.100.7");
    script.begin(0, TARGET);
    script.reply(MS, 0, 57, 4068);
    script.deadline();
    assert!(script.line().contains("\"size\":4048"), "{}", script.line());
}

#[test]
fn duplicates_without_end_have_an_end() {
    let mut script = Script::new("-4 -c 1 198.51.100.7");
    script.begin(0, TARGET);
    for _ in 0..MAX_DUPLICATES + 500 {
        script.reply(MS, 0, 57, 32);
    }
    script.deadline();
    assert_eq!(script.items().matches("\"dup\":1").count(), MAX_DUPLICATES);
    assert_eq!(script.seen.len(), 1 + 1 + MAX_DUPLICATES);
}

#[test]
fn a_reply_to_an_earlier_run_is_not_of_this_one() {
    let mut first = Script::new("-4 -c 1 198.51.100.7");
    first.begin(0, TARGET);
    let late = reply_to(&first.sent[0], ip(SOURCE), 57, 32);
    first.deadline();
    let AnyCarry::Ping(carry) = first.outcome.unwrap().carry else {
        panic!("of ping")
    };
    let mut next = Script::of("-4 -c 1 198.51.100.7", Run::default(), Some(carry));
    next.begin(2000 * MS, TARGET);
    next.datagram(2001 * MS, late);
    next.deadline();
    assert_eq!(next.items(), "[ { \"x\":\"*\" } ]");
}

#[test]
fn another_ttl_than_the_first_is_the_one_reported() {
    let mut script = Script::new("-4 -c 2 198.51.100.7");
    script.begin(0, TARGET);
    script.reply(MS, 0, 57, 32);
    script.deadline();
    script.reply(1001 * MS, 1, 58, 32);
    script.deadline();
    assert!(
        script.line().contains("\"ttl\":58, \"size\""),
        "{}",
        script.line()
    );
}

#[test]
fn the_first_reply_after_a_leading_send_error_shows_its_ttl() {
    let mut script = Script::new("-4 -c 2 198.51.100.7");
    script.begin(0, TARGET);
    let cause = Failure::Os {
        call: Call::Send,
        errno: nix::libc::ENOBUFS,
    };
    script.tell(
        0,
        Input::Failed {
            on: H,
            tag: Some(0),
            cause,
        },
    );
    script.deadline();
    script.reply(1001 * MS, 1, 255, 32);
    script.deadline();
    assert_eq!(
        script.items(),
        "[ { \"error\":\"sendto failed: No buffer space available\" }, { \"rtt\":1.000000, \"ttl\":255 } ]"
    );
}

#[test]
fn a_hop_limit_that_is_not_known_is_left_out() {
    let mut script = Script::new("-6 -c 1 2001:db8:7::7");
    script.source = ip("2001:db8::10");
    script.begin(0, "2001:db8:7::7");
    let mut datagram = reply_to(&script.sent[0], script.source, 57, 32);
    (datagram.hop_limit, datagram.to) = (None, None);
    script.datagram(MS, datagram);
    script.deadline();
    assert!(!script.line().contains("ttl"), "{}", script.line());
    assert_eq!(script.items(), "[ { \"rtt\":1.000000 } ]");
}

#[test]
fn an_ipv6_duplicate_moves_the_number_by_the_reference_rules() {
    let mut script = Script::by_reference_rules("-6 -c 3 2001:db8:7::7");
    script.source = ip("2001:db8::10");
    script.begin(0, "2001:db8:7::7");
    script.reply(MS, 0, 57, 32);
    script.reply(2 * MS, 0, 57, 32);
    script.deadline();
    let number = |packet: &Packet| packet.bytes[7];
    assert_eq!(number(&script.sent[0]), 1);
    assert_eq!(number(&script.sent[1]), 3);
}
