use proptest::prelude::*;

use super::*;

const OFFICIAL: &str = "OK\nCONTROLLER ctr-dub-sw01.atlas.prod.ripe.net 443 ssh-rsa AAAAB3Nz+/=\nREREGISTER 3000\nPROBE_ID 1015186\n";

fn controller() -> Controller {
    Controller {
        host: "ctr-dub-sw01.atlas.prod.ripe.net".to_owned(),
        port: 443,
        key_type: "ssh-rsa".to_owned(),
        key_blob: "AAAAB3Nz+/=".to_owned(),
    }
}

fn parse(text: &str) -> Answer {
    Answer::parse(text.as_bytes())
}

fn ok(controller: Option<Controller>, reregister_secs: Option<u32>) -> Verdict {
    Verdict::Ok {
        controller,
        reregister_secs,
    }
}

#[test]
fn the_init_block_has_three_lines() {
    let request = Request::software(5120, "debian/12/x86_64", Reason::New);
    assert_eq!(
        request.render(),
        "P_TO_R_INIT\nTOKEN_SPECS fluffy 1000 5120 debian/12/x86_64\nREASON_FOR_REGISTRATION NEW\n"
    );
    for (reason, word) in [
        (Reason::New, "NEW"),
        (Reason::ForceReg, "FORCE_REG"),
        (Reason::WaitOver, "WAIT_OVER"),
        (Reason::ReregisterTimerExpired, "REREG_TIMER_EXPIRED"),
    ] {
        let request = Request::software(5120, "generic/unknown/x86_64", reason);
        assert!(
            request
                .render()
                .ends_with(&format!("REASON_FOR_REGISTRATION {word}\n"))
        );
        assert_eq!(Request::parse(request.render().as_bytes()), Ok(request));
    }
}

#[test]
fn the_init_block_is_read_in_one_line_too() {
    let line = "P_TO_R_INIT TOKEN_SPECS fluffy 1000 5120 generic/unknown/x86_64 REASON_FOR_REGISTRATION NEW";
    assert_eq!(
        Request::parse(line.as_bytes()),
        Ok(Request::software(
            5120,
            "generic/unknown/x86_64",
            Reason::New
        ))
    );
}

#[test]
fn a_blank_in_the_sub_architecture_cannot_add_a_field() {
    assert_eq!(
        Request::software(5120, "my os/1\n2/x", Reason::New).sub_arch,
        "my_os/1_2/x"
    );
}

#[test]
fn bad_init_blocks_are_refused_with_the_reason() {
    use RequestError as E;
    let word = |expected, found: &str| E::Word {
        expected,
        found: found.to_owned(),
    };
    let cases: [(&str, E); 9] = [
        ("", word("P_TO_R_INIT", "")),
        ("P_TO_R_INIT\n", word("TOKEN_SPECS", "")),
        (
            "P_TO_R_INIT\nTOKEN_SPECS fluffy 1000 5120 a/b/c\n",
            E::Lines(2),
        ),
        (
            "P_TO_R_INIT\nTOKEN_SPECS fluffy 1000 5120 a/b/c\nREASON_FOR_REGISTRATION NEW",
            E::Lines(3),
        ),
        (
            "P_TO_R_INIT\nTOKEN_SPECS fluffy 1000 5120 a/b/c\nREASON_FOR_REGISTRATION OLD\n",
            E::Reason("OLD".to_owned()),
        ),
        (
            "P_TO_R_INIT\nTOKEN_SPECS fluffy 1000 51x0 a/b/c\nREASON_FOR_REGISTRATION NEW\n",
            E::Number {
                field: "firmware version",
                value: "51x0".to_owned(),
            },
        ),
        (
            "P_TO_R_INIT\nTOKEN_SPECS fluffy 1000 5120 a/b/c d\nREASON_FOR_REGISTRATION NEW\n",
            word("REASON_FOR_REGISTRATION", "d"),
        ),
        (
            "P_TO_R_INIT\nTOKEN_SPECS fluffy 1000 5120 a/b/c\nREASON_FOR_REGISTRATION NEW x\n",
            word("", "x"),
        ),
        (
            "P_TO_R_INIT\r\nTOKEN_SPECS fluffy 1000 5120 a/b/c\nREASON_FOR_REGISTRATION NEW\n",
            word("P_TO_R_INIT", "P_TO_R_INIT\r"),
        ),
    ];
    for (text, error) in cases {
        assert_eq!(Request::parse(text.as_bytes()), Err(error), "{text:?}");
    }
    assert_eq!(Request::parse(b"\xff"), Err(E::NotText));
    assert_eq!(Request::parse(&[b'a'; 5000]), Err(E::TooLong(5000)));
}

#[test]
fn the_official_answer() {
    assert_eq!(
        parse(OFFICIAL),
        Answer {
            verdict: ok(Some(controller()), Some(3000)),
            probe_id: Some(1_015_186),
            server_time: None,
            notes: vec![],
        }
    );
}

#[test]
fn the_protocol_reference_prints_it_in_one_line() {
    let one_line = OFFICIAL.trim_end().replace('\n', " ");
    assert_eq!(parse(&one_line), parse(OFFICIAL));
    assert_eq!(parse(&(one_line + "\n")), parse(OFFICIAL));
}

#[test]
fn a_plain_ok_is_known_and_not_approved() {
    assert_eq!(parse("OK\n").verdict, ok(None, None));
}

#[test]
fn an_empty_answer_is_no_answer() {
    assert_eq!(parse("").verdict, Verdict::Nothing);
}

#[test]
fn waits_and_unexpected_answers() {
    let wait = |secs, asked| Verdict::Wait { secs, asked };
    assert_eq!(parse("WAIT\nTIMEOUT 100\n").verdict, wait(100, true));
    assert_eq!(parse("WAIT\nTIMEOUT 5\n").verdict, wait(100, true));
    assert_eq!(parse("WAIT\nTIMEOUT 999999\n").verdict, wait(999_999, true));
    assert_eq!(parse("WAIT\nTIMEOUT x\n").verdict, Verdict::Nothing);
    let refused = parse("REFUSED\nnot you\n");
    assert_eq!(refused.verdict, wait(100, false));
    assert_eq!(refused.notes, [Note::Unexpected("REFUSED".to_owned())]);
    assert_eq!(parse("OK\r\n").verdict, wait(100, false));
}

#[test]
fn an_error_ends_the_reading_and_keeps_what_was_read() {
    for bad in [
        "REREGISTER 0",
        "REREGISTER 123456",
        "REREGISTER 30s",
        "REREGISTER",
        "REREGISTER 3000 4000",
        "lower case",
        " INDENTED",
        "\u{e9}",
        "CONTROLLER UPPER.example 443 ssh-rsa AAAA",
        "CONTROLLER host.example 443 ssh-rsa AAAA comment",
        "CONTROLLER host.example 443 ssh-rsa",
        "CONTROLLER host.example 443 ssh-dss AAAA",
        "CONTROLLER host.example 123456 ssh-rsa AAAA",
        "CONTROLLER host.example 65536 ssh-rsa AAAA",
        "CONTROLLER host_name 443 ssh-rsa AAAA",
        "CONTROLLER host.example 443 ssh-rsa AA-A",
        "FIRMWARE_APPS 5120 sha1 x x y",
        "REGSERVER_TIMESTAMP 1234567890123",
        "DHCPV4 Maybe",
        "DHCPV4 False IPV4ADDRESS 192.0.2.1",
        "DHCPV6 False IPV6ADDRESS x IPV6PREFIXLEN 64 IPV6GATEWAY ::1",
        "DNS_SERVERS",
        "DNS_SERVERS 192.0.2.1 nowhere",
    ] {
        let answer = parse(&format!(
            "OK\nCONTROLLER ctr-dub-sw01.atlas.prod.ripe.net 443 ssh-rsa AAAAB3Nz+/=\n{bad}\nREREGISTER 3000\nPROBE_ID 7\n"
        ));
        assert_eq!(answer.verdict, ok(Some(controller()), None), "{bad}");
        assert_eq!(answer.probe_id, Some(7), "{bad}");
        assert!(matches!(answer.notes[..], [Note::Stopped(_)]), "{bad}");
    }
}

#[test]
fn well_formed_lines_without_effect_do_not_end_it() {
    for good in [
        "",
        "SIGNATURE_APPS1 anything at all",
        "SOMETHING_NEW 1 2 3",
        "REGSERVER_TIMESTAMP 1700000000 and more",
        "FIRMWARE_APPS 5130 md5 0123456789abcdef0123456789abcdef 0123456789ABCDEF0123456789abcdef app-5130.tar.gz",
        "DHCPV4 True",
        "DHCPV4 False IPV4ADDRESS 192.0.2.2 IPV4NETMASK 255.255.255.0 IPV4NETWORK 192.0.2.0 IPV4BROADCAST 192.0.2.255 IPV4GATEWAY 192.0.2.1",
        "DHCPV6 True",
        "DHCPV6 False IPV6ADDRESS 2001:db8::2 IPV6PREFIXLEN 64 IPV6GATEWAY 2001:db8::1",
        "DNS_SERVERS 192.0.2.53 2001:db8::53",
    ] {
        let answer = parse(&format!("OK\n{good}\nREREGISTER 3000  \nPROBE_ID 7\n"));
        assert_eq!(answer.verdict, ok(None, Some(3000)), "{good}");
    }
}

#[test]
fn hosts_are_names_up_to_32_characters_or_addresses() {
    let host = |host: &str| {
        let answer = parse(&format!("OK\nCONTROLLER {host} 443 ssh-rsa AAAA\n"));
        matches!(
            answer.verdict,
            Verdict::Ok {
                controller: Some(_),
                ..
            }
        )
    };
    assert!(host(&"a".repeat(32)));
    assert!(!host(&"a".repeat(33)));
    assert!(host("127.0.0.1"));
    assert!(host("2001:db8:1234:5678:9abc:DEF0:1234:5678"));
    assert!(!host("2001:db8:1234:5678:9abc:DEF0:1234:5678:999"));
    assert!(!host("Host.example"));
}

#[test]
fn other_host_keys_are_taken_from_a_private_controller() {
    for key_type in ["ssh-ed25519", "ecdsa-sha2-nistp256"] {
        let answer = parse(&format!("OK\nCONTROLLER 127.0.0.1 2222 {key_type} AAAA\n"));
        let Verdict::Ok {
            controller: Some(controller),
            ..
        } = answer.verdict
        else {
            panic!("{key_type}")
        };
        assert_eq!(controller.key_type, key_type);
    }
    let blob = "A".repeat(513);
    let too_long = parse(&format!("OK\nCONTROLLER 127.0.0.1 2222 ssh-rsa {blob}\n"));
    assert_eq!(too_long.verdict, ok(None, None));
}

#[test]
fn the_first_of_two_controllers_counts_whole() {
    let answer = parse(
        "OK\nCONTROLLER ctr-dub-sw01.atlas.prod.ripe.net 443 ssh-rsa AAAAB3Nz+/=\nCONTROLLER other.example 22 ssh-rsa BBBB\n",
    );
    assert_eq!(answer.verdict, ok(Some(controller()), None));
    assert_eq!(answer.notes, [Note::Repeated("CONTROLLER".to_owned())]);
}

#[test]
fn sixteen_lines_are_read_after_ok_but_the_probe_id_is_searched_in_all() {
    let filler = "X_1\n".repeat(15);
    let inside = parse(&format!("OK\n{filler}REREGISTER 3000\nPROBE_ID 7\n"));
    assert_eq!(inside.verdict, ok(None, Some(3000)));
    assert_eq!(inside.probe_id, Some(7));
    assert!(inside.notes.contains(&Note::TooManyLines));
    let outside = parse(&format!("OK\nX\n{filler}REREGISTER 3000\nPROBE_ID 7\n"));
    assert_eq!(outside.verdict, ok(None, None));
    assert_eq!(outside.probe_id, Some(7));
}

#[test]
fn a_probe_id_needs_digits_and_the_line_start() {
    assert_eq!(parse("OK\nPROBE_ID 12 34\n").probe_id, Some(12));
    assert_eq!(parse("OK\nMY_PROBE_ID 12\n").probe_id, None);
    assert_eq!(parse("OK\nPROBE_ID 99999999999\n").probe_id, None);
    let bad = parse("OK\nPROBE_ID none\n");
    assert_eq!(bad.probe_id, None);
    assert_eq!(bad.notes, [Note::BadProbeId("none".to_owned())]);
    assert_eq!(parse("REFUSED\nPROBE_ID 12").probe_id, Some(12));
}

#[test]
fn a_last_line_without_line_end_is_not_read() {
    let answer = parse("OK\nREREGISTER 3000");
    assert_eq!(answer.verdict, ok(None, None));
    assert_eq!(
        answer.notes,
        [Note::Stopped(LineError::Unfinished(
            "REREGISTER 3000".to_owned()
        ))]
    );
}

#[test]
fn reregister_is_clamped() {
    assert_eq!(parse("OK\nREREGISTER 5\n").verdict, ok(None, Some(100)));
    assert_eq!(
        parse("OK\nREREGISTER 99999\n").verdict,
        ok(None, Some(99_999))
    );
}

#[test]
fn the_server_renders_what_the_probe_reads() {
    let reply = Reply::Assigned {
        controller: controller(),
        reregister_secs: Some(3000),
        probe_id: 1_015_186,
    };
    assert_eq!(reply.render(), OFFICIAL);
    assert_eq!(Reply::Unapproved.render(), "OK\n");
    assert_eq!(Reply::Wait(100).render(), "WAIT\nTIMEOUT 100\n");
    assert_eq!(
        Reply::Refused("unknown probe".to_owned()).render(),
        "REFUSED\nunknown probe\n"
    );
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..3000)) {
        let _ = Answer::parse(&bytes);
        let _ = InitAnswer::parse(&bytes);
        let _ = Request::parse(&bytes);
        let _ = Answer::parse(&[b"OK\n", &bytes[..]].concat());
        let _ = Answer::parse(&[b"OK PROBE_ID ", &bytes[..]].concat());
    }

    #[test]
    fn assignments_survive_the_trip(host in "[0-9a-z.-]{1,32}", port in 1u16.., secs in 100u32..=99_999, probe_id: u32, key_blob in "[0-9A-Za-z+/]{4,512}") {
        let controller = Controller { host, port, key_type: "ssh-rsa".to_owned(), key_blob };
        let reply = Reply::Assigned { controller: controller.clone(), reregister_secs: Some(secs), probe_id };
        let answer = parse(&reply.render());
        prop_assert_eq!(answer.verdict, ok(Some(controller), Some(secs)));
        prop_assert_eq!(answer.probe_id, Some(probe_id));
    }
}
