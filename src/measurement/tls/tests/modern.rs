//! Runs with the modern hello, and when the reference hello follows it.

use super::{
    super::{Answer, Protocol, Shown},
    *,
};
use crate::{
    measurement::machine::Tls,
    wire::tls::{Alert, MAX_CERTIFICATES, Problem},
};

/// What a first connection asks for.
fn asked(words: &str) -> Option<Tls> {
    Script::new(words).resolved(&[SERVER]).connect().1.tls
}

#[test]
fn the_modern_hello_goes_first_with_the_name_that_is_given() {
    let modern = |sni: Option<&str>| {
        Some(Tls {
            sni: sni.map(str::to_owned),
            only_certificates: true,
            ..Tls::default()
        })
    };
    assert_eq!(asked("a.example"), modern(None), "no name unless given");
    assert_eq!(asked("-h b.example a.example"), modern(Some("b.example")));
    for words in [
        "-V TLS1.2 a.example",
        "-h '' a.example",
        "-h 198.51.100.7 a.example",
        "-h 2001:db8::1 a.example",
        "-W /home/atlas/data/w a.example",
    ] {
        assert_eq!(asked(words), None, "{words}");
    }
}

#[test]
fn a_name_that_the_library_cannot_send_is_sent_by_hand() {
    let mut script = Script::new("-h a..b 198.51.100.7");
    script.resolved(&[SERVER]);
    script.fails(Failure::Tls(TlsFailure::Other("no server name".to_owned())));
    assert!(script.goes_on_with_the_reference_hello());
    let hello = script.stands();
    assert_eq!(hello.len(), 133 + 9 + 4);
}

#[test]
fn a_tls_1_3_server_is_reported_once_its_certificates_are_decrypted() {
    let mut script = Script::connected("a.example");
    script
        .after(10)
        .reads(&[server_hello_1_3(&[7; 32]), record(23, b"encrypted")].concat());
    script.after(5).certified(&[DER]);
    assert_eq!(
        script.tail(),
        format!(
            "\"method\":\"TLS\", \"ver\":\"1.3\", \"dst_addr\":\"198.51.100.7\", \"af\": 4, \
             \"src_addr\":\"192.0.2.10\", \"ttc\": 10.000000, \"rt\": 25.000000, \
             \"server_cipher\": \"0x1302\", \"cert\":[ {PEM} ]"
        )
    );
    assert!(script.outcome().answered);
}

#[test]
fn encrypted_octets_are_read_on_until_the_library_has_enough() {
    let mut script = Script::connected("a.example");
    script.reads(&server_hello_1_3(&[7; 32]));
    for _ in 0..3 {
        script.reads(&record(23, b"encrypted"));
    }
    script.certified(&[]);
    assert!(
        script
            .tail()
            .ends_with("\"server_cipher\": \"0x1302\", \"cert\":[  ]")
    );
}

#[test]
fn a_second_hello_of_tls_1_3_is_the_librarys() {
    let mut script = Script::connected("a.example");
    script.reads(&retry_request());
    script.reads(&[record(20, &[1]), server_hello_1_3(&[7; 32])].concat());
    script.certified(&[DER]);
    assert!(script.tail().contains("\"ver\":\"1.3\""));
    // Which it may not be able to send.
    let mut script = Script::connected("a.example");
    script.reads(&retry_request());
    script.library_fails(TlsFailure::Other("no such group".to_owned()));
    assert!(script.goes_on_with_the_reference_hello());
}

#[test]
fn what_goes_wrong_under_encryption_is_reported_as_tls_1_3() {
    let failed = |cause| {
        let mut script = Script::connected("a.example");
        script
            .reads(&server_hello_1_3(&[7; 32]))
            .library_fails(cause);
        script.finding()
    };
    let Finding::Answer(answer) = failed(TlsFailure::Alert(112)) else {
        panic!("an alert");
    };
    assert_eq!(answer.protocol, Protocol::Tls13);
    assert_eq!(answer.cipher, 0x1302);
    let expected = Alert {
        level: 2,
        description: 112,
    };
    assert_eq!(answer.shown, Shown::Alert(expected));
    let broken = failed(TlsFailure::Other("decryption failed".to_owned()));
    assert_eq!(broken, Finding::Nonsense(Problem::Type));
    assert!(matches!(
        failed(TlsFailure::Closed),
        Finding::Stalled { greeted: true, .. }
    ));
    let mut script = Script::connected("a.example");
    script.reads(&server_hello_1_3(&[7; 32])).ends(None);
    assert!(
        script
            .tail()
            .ends_with("\"err\":\"timeout reading certificates\"")
    );
    let mut script = Script::connected("a.example");
    script.reads(&server_hello_1_3(&[7; 32])).deadline();
    assert!(
        script
            .tail()
            .ends_with("\"err\":\"timeout reading certificates\"")
    );
}

#[test]
fn an_older_server_is_read_in_plaintext_whatever_the_library_says() {
    let mut script = Script::connected("a.example");
    script.reads(&server_hello());
    script.library_fails(TlsFailure::Other("peer is incompatible".to_owned()));
    script.reads(&certificate());
    assert!(script.tail().contains("\"ver\":\"1.2\""));
    assert!(script.tail().ends_with(&format!(
        "\"server_cipher\": \"0xc02b\", \"cert\":[ {PEM} ]"
    )));
}

#[test]
fn no_server_hello_leads_to_the_reference_hello() {
    let mut scripts: Vec<Script> = (0..5).map(|_| Script::connected("a.example")).collect();
    scripts[0].reads(&alert(2, 70));
    scripts[1].reads(&record(23, b"x"));
    scripts[2].ends(None);
    scripts[3].ends(Some(104));
    scripts[4].reads(&server_hello()[..20]).ends(None);
    for mut script in scripts {
        assert!(script.goes_on_with_the_reference_hello());
        // Its own five seconds, and its own times.
        let at = Tick::from_millis(script.millis + 5000);
        assert_eq!(script.machine.deadline(), Some(at));
        script.after(3).stands();
        script
            .after(4)
            .reads(&[server_hello(), certificate()].concat());
        assert!(
            script
                .tail()
                .contains("\"ttc\": 3.000000, \"rt\": 7.000000, ")
        );
    }
}

#[test]
fn silence_is_not_answered_with_another_hello() {
    let mut script = Script::connected("a.example");
    script.reads(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    script.library_fails(TlsFailure::NotTls);
    script.deadline();
    assert!(script.tail().ends_with("\"err\":\"timeout reading hello\""));
}

#[test]
fn nonsense_after_the_hello_is_reported_as_it_is() {
    let mut script = Script::connected("a.example");
    script.reads(&[server_hello(), alert(2, 80)].concat());
    assert_eq!(script.finding(), Finding::Nonsense(Problem::Type));
}

/// A run in which the modern hello was answered with this alert, and the reference hello now stands.
fn after_alert(description: u8) -> Script {
    let mut script = Script::connected("a.example");
    script.after(10).reads(&alert(2, description));
    assert!(script.goes_on_with_the_reference_hello());
    script.after(3).stands();
    script
}

fn alert_of(script: &Script) -> (u8, f64) {
    match script.finding() {
        Finding::Answer(Answer {
            shown: Shown::Alert(alert),
            rt,
            ..
        }) => (alert.description, rt),
        other => panic!("no alert: {other:?}"),
    }
}

#[test]
fn of_two_alerts_the_one_that_says_more_is_reported() {
    for (modern, reference, expected) in [
        // It knows TLS 1.3 alone, and dislikes something else.
        (40, 70, (40, 20.0)),
        (40, 40, (40, 5.0)),
        (70, 70, (70, 5.0)),
        (70, 40, (40, 5.0)),
    ] {
        let mut script = after_alert(modern);
        script.after(2).reads(&alert(2, reference));
        assert_eq!(alert_of(&script), expected, "{modern} then {reference}");
    }
}

#[test]
fn certificates_after_an_alert_are_reported() {
    let mut script = after_alert(40);
    script.reads(&[server_hello(), certificate()].concat());
    assert!(script.tail().ends_with(&format!("\"cert\":[ {PEM} ]")));
}

#[test]
fn an_alert_says_more_than_silence() {
    for description in [40, 70] {
        let mut script = after_alert(description);
        script.deadline();
        assert_eq!(alert_of(&script), (description, 20.0));
        let mut script = Script::connected("a.example");
        script.after(10).reads(&alert(2, description)).refused();
        assert_eq!(alert_of(&script), (description, 20.0));
        let mut script = after_alert(description);
        script.tell(Input::Stop);
        assert_eq!(alert_of(&script), (description, 20.0));
    }
}

#[test]
fn a_connection_that_stood_is_not_given_up_for_another_address() {
    let mut script = Script::new("a.example");
    script.resolved(&[SERVER, "198.51.100.8"]).stands();
    script.ends(None).refused();
    assert_eq!(
        script.tail(),
        "\"dst_addr\":\"198.51.100.7\", \"af\": 4, \"err\":\"connect: Connection refused\""
    );
}

#[test]
fn more_certificates_than_any_server_has_are_no_result() {
    let mut script = Script::connected("a.example");
    script.reads(&server_hello_1_3(&[7; 32]));
    script.certified(&vec![&b""[..]; MAX_CERTIFICATES + 1]);
    assert_eq!(
        script.finding(),
        Finding::Nonsense(Problem::CertificateAmount)
    );
}

#[test]
fn what_belongs_to_an_earlier_connection_is_not_heard() {
    let mut script = Script::connected("a.example");
    let old = script.awaited();
    script.ends(None).stands();
    let awaited = script.awaited();
    assert_ne!(old, awaited);
    script.tell(Input::Ended {
        on: old,
        errno: None,
    });
    assert_eq!(script.outputs, []);
}
