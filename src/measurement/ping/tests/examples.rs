//! The lines of `packet-measurements` section 2.6, and the protocol reference's.

use super::*;

#[test]
fn three_replies() {
    let mut script = Script::new("-4 -s 64 -A 1001 198.51.100.7");
    script.begin(0, TARGET);
    for (request, rtt) in [10_512_345, 10_498_211, 10_733_020].into_iter().enumerate() {
        let sent = request as u64 * 1000 * MS;
        script.reply(sent + rtt, request, 57, 64);
        script.deadline();
    }
    assert_eq!(
        script.line(),
        "RESULT { \"id\":\"1001\", \"fw\":5120, \"mver\": \"2.6.4\", \"lts\":12, \"time\":1700000003, \"dst_name\":\"198.51.100.7\", \"af\":4, \"dst_addr\":\"198.51.100.7\", \"src_addr\":\"192.0.2.10\", \"proto\":\"ICMP\", \"ttl\":57, \"size\":64, \"result\": [ { \"rtt\":10.512345 }, { \"rtt\":10.498211 }, { \"rtt\":10.733020 } ] }\n"
    );
    assert!(script.outcome.unwrap().answered);
}

#[test]
fn named_ipv6_target_with_bundle() {
    let mut script = Script::new("-6 -A 1002 -B 77 host.example");
    script.source = ip("2001:db8::10");
    script.begin(21_337_000, "2001:db8:7::7");
    for (request, rtt) in [5_120_001, 5_090_444, 5_101_873].into_iter().enumerate() {
        let sent = request as u64 * 1000 * MS + 21_337_000;
        script.reply(sent + rtt, request, 55, 32);
        script.deadline();
    }
    assert_eq!(
        script.line(),
        "RESULT { \"id\":\"1002\", \"fw\":5120, \"mver\": \"2.6.4\", \"lts\":12, \"time\":1700000003, \"bundle\":77, \"dst_name\":\"host.example\", \"ttr\":21.337000, \"af\":6, \"dst_addr\":\"2001:db8:7::7\", \"src_addr\":\"2001:db8::10\", \"proto\":\"ICMP\", \"ttl\":55, \"size\":32, \"result\": [ { \"rtt\":5.120001 }, { \"rtt\":5.090444 }, { \"rtt\":5.101873 } ] }\n"
    );
}

#[test]
fn first_lost_then_changing_size_and_ttl() {
    for mut script in [
        Script::new("-4 -c 5 -s 34 198.51.100.7"),
        Script::by_reference_rules("-4 -c 5 -s 34 198.51.100.7"),
    ] {
        script.begin(0, TARGET);
        script.deadline();
        for (request, rtt, ttl, size) in [
            (1, 10_273_983, 57, 34),
            (2, 10_231_621, 57, 36),
            (3, 10_440_891, 51, 32),
            (4, 10_390_318, 52, 34),
        ] {
            script.reply(request as u64 * 1000 * MS + rtt, request, ttl, size);
            script.deadline();
        }
        assert_eq!(
            script.line(),
            "RESULT { \"dst_name\":\"198.51.100.7\", \"af\":4, \"dst_addr\":\"198.51.100.7\", \"src_addr\":\"192.0.2.10\", \"proto\":\"ICMP\", \"ttl\":52, \"size\":34, \"result\": [ { \"x\":\"*\" }, { \"rtt\":10.273983, \"ttl\":57 }, { \"rtt\":10.231621, \"size\":36 }, { \"rtt\":10.440891, \"size\":32, \"ttl\":51 }, { \"rtt\":10.390318, \"size\":34, \"ttl\":52 } ] }\n"
        );
    }
}

/// Six sent: 1 answered, 2 and 3 lost, 4 answered twice, 5 answered with another TTL, 6 lost.
fn six(mut script: Script) -> Script {
    script.begin(0, TARGET);
    script.reply(10_378_193, 0, 57, 40);
    for _ in 0..3 {
        script.deadline();
    }
    script.reply(3000 * MS + 10_540_863, 3, 57, 40);
    script.reply(3000 * MS + 100_461_243, 3, 57, 40);
    script.deadline();
    script.reply(4000 * MS + 10_497_191, 4, 50, 40);
    script.deadline();
    script.deadline();
    script
}

#[test]
fn losses_after_the_first_reply_are_silent_by_the_reference_rules() {
    assert_eq!(
        six(Script::by_reference_rules("-4 -c 6 -s 40 198.51.100.7")).line(),
        "RESULT { \"dst_name\":\"198.51.100.7\", \"af\":4, \"dst_addr\":\"198.51.100.7\", \"src_addr\":\"192.0.2.10\", \"proto\":\"ICMP\", \"ttl\":50, \"size\":40, \"result\": [ { \"rtt\":10.378193 }, { \"rtt\":10.540863 }, { \"dup\":1, \"rtt\":100.461243 }, { \"rtt\":10.497191, \"ttl\":50 } ] }\n"
    );
}

#[test]
fn live_every_loss_is_an_item_in_send_order() {
    assert_eq!(
        six(Script::new("-4 -c 6 -s 40 198.51.100.7")).items(),
        "[ { \"rtt\":10.378193 }, { \"x\":\"*\" }, { \"x\":\"*\" }, { \"rtt\":10.540863 }, { \"dup\":1, \"rtt\":100.461243 }, { \"rtt\":10.497191, \"ttl\":50 }, { \"x\":\"*\" } ]"
    );
}

#[test]
fn a_late_reply_leaves_the_loss_and_adds_a_duplicate() {
    for mut script in [
        Script::new("-4 -c 2 -i 200 198.51.100.7"),
        Script::by_reference_rules("-4 -c 2 -i 200 198.51.100.7"),
    ] {
        script.begin(0, TARGET);
        script.deadline();
        script.reply(250_342_466, 0, 57, 32);
        script.reply(200 * MS + 100_459_989, 1, 57, 32);
        script.deadline();
        assert_eq!(
            script.line(),
            "RESULT { \"dst_name\":\"198.51.100.7\", \"af\":4, \"dst_addr\":\"198.51.100.7\", \"src_addr\":\"192.0.2.10\", \"proto\":\"ICMP\", \"ttl\":57, \"size\":32, \"result\": [ { \"x\":\"*\" }, { \"dup\":1, \"rtt\":250.342466, \"ttl\":57 }, { \"rtt\":100.459989 } ] }\n"
        );
    }
}

#[test]
fn nothing_received() {
    let mut script = Script::new("-4 198.51.100.7");
    script.begin(0, TARGET);
    for _ in 0..3 {
        script.deadline();
    }
    assert_eq!(
        script.line(),
        "RESULT { \"dst_name\":\"198.51.100.7\", \"af\":4, \"dst_addr\":\"198.51.100.7\", \"src_addr\":\"192.0.2.10\", \"proto\":\"ICMP\", \"size\":32, \"result\": [ { \"x\":\"*\" }, { \"x\":\"*\" }, { \"x\":\"*\" } ] }\n"
    );
    assert!(!script.outcome.unwrap().answered);
}

fn failed(tag: Option<u32>, call: Call, errno: i32) -> Input {
    let cause = Failure::Os { call, errno };
    Input::Failed { on: H, tag, cause }
}

#[test]
fn send_failures_after_a_loss() {
    let mut script = Script::new("-4 -s 50 198.51.100.7");
    script.begin(0, TARGET);
    for tag in 1..3 {
        let at = script.deadline();
        script.tell(at, failed(Some(tag), Call::Send, nix::libc::EHOSTUNREACH));
    }
    script.deadline();
    assert_eq!(
        script.line(),
        "RESULT { \"dst_name\":\"198.51.100.7\", \"af\":4, \"dst_addr\":\"198.51.100.7\", \"src_addr\":\"192.0.2.10\", \"proto\":\"ICMP\", \"size\":50, \"result\": [ { \"x\":\"*\" }, { \"error\":\"sendto failed: No route to host\" }, { \"error\":\"sendto failed: No route to host\" } ] }\n"
    );
}

#[test]
fn sockets_that_cannot_be_had() {
    let line = |cause: Input| {
        let mut script = Script::new("-4 198.51.100.7");
        script.tell(0, Input::Start);
        script.tell(0, Input::Resolved(Ok(vec![ip(TARGET)])));
        script.tell(0, cause);
        script.line()
    };
    let with = |text: &str| {
        format!(
            "RESULT {{ \"dst_name\":\"198.51.100.7\", \"af\":4, \"dst_addr\":\"198.51.100.7\", \"src_addr\":\"\", \"proto\":\"ICMP\", \"size\":0, \"result\": [ {{ \"error\":\"{text}\" }} ] }}\n"
        )
    };
    let unreachable = failed(None, Call::Connect, nix::libc::ENETUNREACH);
    assert_eq!(
        line(unreachable),
        with("connect failed: Network is unreachable")
    );
    let interface = Input::Failed {
        on: H,
        tag: None,
        cause: Failure::Bind,
    };
    assert_eq!(line(interface), with("bind to interface failed"));
    let privilege = failed(None, Call::Socket, nix::libc::EPERM);
    assert_eq!(
        line(privilege),
        with("socket failed: Operation not permitted")
    );
}

#[test]
fn unknown_name() {
    let mut script = Script::new("-4 nohost.example");
    script.tell(0, Input::Start);
    script.tell(12_881_330, Input::Resolved(Err(ResolveError::NotKnown)));
    assert_eq!(
        script.line(),
        "RESULT { \"dst_name\":\"nohost.example\", \"ttr\":12.881330, \"af\":4, \"proto\":\"ICMP\", \"size\":0, \"result\": [ { \"error\":\"dns resolution failed: nodename nor servname provided, or not known\" } ] }\n"
    );
}

#[test]
fn forbidden_address() {
    let mut script = Script::new("-4 private.example");
    script.tell(0, Input::Start);
    script.tell(10_506_420, Input::Resolved(Ok(vec![ip("10.0.0.1")])));
    let cause = Failure::Forbidden(ip("10.0.0.1"));
    script.tell(
        10_506_420,
        Input::Failed {
            on: H,
            tag: None,
            cause,
        },
    );
    assert_eq!(
        script.line(),
        "RESULT { \"dst_name\":\"private.example\", \"ttr\":10.506420, \"af\":4, \"dst_addr\":\"10.0.0.1\", \"proto\":\"ICMP\", \"size\":0, \"result\": [ { \"error\":\"address not allowed\" } ] }\n"
    );
}

#[test]
fn no_requests() {
    let mut script = Script::new("-4 -c 0 198.51.100.7");
    script.begin(0, TARGET);
    assert_eq!(
        script.line(),
        "RESULT { \"dst_name\":\"198.51.100.7\", \"af\":4, \"dst_addr\":\"198.51.100.7\", \"src_addr\":\"192.0.2.10\", \"proto\":\"ICMP\", \"size\":0, \"result\": [  ] }\n"
    );
    assert!(script.sent.is_empty());
}

/// The protocol reference's line, in its own dialect, from the values it prints.
#[test]
fn the_protocol_reference() {
    let body = Body {
        time: 1_700_000_000,
        lts: 10,
        target: "193.0.14.129".to_owned(),
        resolve_ms: None,
        family: Family::V4,
        destination: Some(ip("193.0.14.129")),
        source: Source::Address(ip("10.0.0.1")),
        ttl: Some(56),
        size: 64,
        items: [10.5, 11.2, 10.8]
            .map(|rtt_ms| Item::Reply(Reply::in_time(rtt_ms)))
            .to_vec(),
        zones: Default::default(),
    };
    let (common, _) = parse("-A 1001 x").unwrap();
    assert_eq!(
        body.line(&head(&common), Dialect::Starla),
        include_str!("../../../../tests/golden/starla/ping.result")
    );
}
