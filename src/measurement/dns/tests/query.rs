//! Names, cookies and messages (`dns-measurement` sections 2 and 3).

use rand::{SeedableRng, rngs::StdRng};

use super::{Script, answer};
use crate::{
    measurement::{
        Output,
        dns::{
            RandomWord,
            query::{CookieSeen, client_cookie, cookie_of, expand, prefixed},
        },
        machine::Handle,
    },
    wire::dns::{COOKIE, Opt, Query},
};

fn expanded(name: &str, word: RandomWord) -> Option<String> {
    let mut rng = StdRng::seed_from_u64(7);
    let text = expand(name, word, Some(1_000_123), 1_700_000_000, &mut rng)?;
    Some(String::from_utf8(text).unwrap())
}

fn hexadecimal(name: &str) -> Option<String> {
    expanded(name, RandomWord::Hexadecimal)
}

#[test]
fn probe_and_time_are_decimal() {
    assert_eq!(hexadecimal("$p.$t.x.").unwrap(), "1000123.1700000000.x.");
    let mut rng = StdRng::seed_from_u64(7);
    let unknown = expand("$p.", RandomWord::Hexadecimal, None, 0, &mut rng).unwrap();
    assert_eq!(unknown, b"-1.");
}

#[test]
fn random_words_of_either_dialect() {
    let name = hexadecimal("$r.$r.x.").unwrap();
    let words: Vec<&str> = name.split('.').collect();
    for word in &words[..2] {
        assert_eq!(word.len(), 16);
        assert!(
            word.bytes()
                .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)),
            "{word}"
        );
    }
    assert_ne!(words[0], words[1]);
    let name = expanded("$r.x.", RandomWord::Alphanumeric).unwrap();
    let (word, _) = name.split_once('.').unwrap();
    assert_eq!(word.len(), 8);
    assert!(
        word.bytes().all(|byte| byte.is_ascii_alphanumeric()),
        "{word}"
    );
}

#[test]
fn any_other_macro_fails() {
    for name in ["$x.", "a$.", "$P.", "$$p.", "$p.$"] {
        assert_eq!(hexadecimal(name), None, "{name}");
    }
    assert_eq!(hexadecimal("plain.").unwrap(), "plain.");
    let long = "x".repeat(400) + ".";
    assert_eq!(hexadecimal(&long).unwrap(), long, "no macro, no limit");
}

#[test]
fn what_does_not_fit_fails_or_is_cut() {
    let text = |length: usize, rest: &str| "x".repeat(length) + rest;
    assert_eq!(hexadecimal(&text(256, "$p.")), None);
    assert_eq!(hexadecimal(&text(255, "$p.")).unwrap(), text(255, ""));
    assert_eq!(hexadecimal(&text(250, "$t.")).unwrap(), text(250, "17000"));
    assert_eq!(hexadecimal(&text(240, "$r.")), None);
    assert_eq!(hexadecimal(&text(239, "$r.")).unwrap().len(), 255);
    assert_eq!(
        hexadecimal(&("$p".to_owned() + &text(300, ".")))
            .unwrap()
            .len(),
        255
    );
}

#[test]
fn the_prefix_of_probe_and_time() {
    assert_eq!(prefixed(b"x.", None, 999_999_999), b"0.999999999.x.");
    assert_eq!(prefixed(b".", Some(7), 1), b"7.1..");
    assert_eq!(prefixed(&[b'x'; 300], Some(7), 1).len(), 262);
}

#[test]
fn a_client_cookie_depends_on_both_addresses_and_the_secret() {
    let (a, b) = ("192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap());
    let cookie = client_cookie(a, b, &[1; 32]);
    assert_eq!(cookie, client_cookie(a, b, &[1; 32]));
    assert_ne!(cookie, client_cookie(b, a, &[1; 32]));
    assert_ne!(cookie, client_cookie(a, b, &[2; 32]));
}

/// A reply with an OPT record that holds this cookie.
fn with_cookie(query: &[u8], cookie: &[u8]) -> Vec<u8> {
    let mut query = Query::parse(query).unwrap();
    query.opt = Some(Opt {
        options: vec![(COOKIE, cookie.to_vec())],
        ..Opt::default()
    });
    answer(&query.emit())
}

#[test]
fn the_cookies_of_replies() {
    let query = Query {
        id: 1,
        flags: 0,
        name: vec![0],
        rtype: 6,
        class: 1,
        opt: None,
    }
    .emit();
    let sent = [1; 8];
    let seen = |cookie: &[u8]| cookie_of(&with_cookie(&query, cookie), sent);
    assert_eq!(cookie_of(&answer(&query), sent), CookieSeen::None);
    assert_eq!(seen(&[1; 8]), CookieSeen::None, "no server part");
    assert_eq!(seen(&[1; 15]), CookieSeen::None);
    assert_eq!(seen(&[1; 16]), CookieSeen::Server(vec![1; 8]));
    assert_eq!(seen(&[1; 40]), CookieSeen::Server(vec![1; 32]));
    assert_eq!(seen(&[1; 41]), CookieSeen::None);
    assert_eq!(seen(&[2; 16]), CookieSeen::Mismatch);
}

const ASK: &str = "evtdig --cookies -h 192.0.2.53";

/// The cookie in a query.
fn cookie(query: &[u8]) -> Vec<u8> {
    let options = Query::parse(query).unwrap().opt.unwrap().options;
    let (code, cookie) = options.into_iter().next().unwrap();
    assert_eq!(code, COOKIE);
    cookie
}

#[test]
fn a_servers_cookie_is_shown_to_it_in_the_next_run() {
    let mut script = Script::new(ASK);
    let query = script
        .resolved(&["192.0.2.53"])
        .opened_and_sent("198.51.100.7:4000");
    let first = cookie(&query);
    assert_eq!(first.len(), 8);
    let full = [&first[..], b"server's"].concat();
    script.datagram(Handle(1), with_cookie(&query, &full));
    assert!(!script.entry().reply.unwrap().cookie_mismatch);

    let mut script = Script::continued(ASK, script.outcome().carry);
    let query = script
        .resolved(&["192.0.2.53"])
        .opened_and_sent("198.51.100.7:4001");
    assert_eq!(cookie(&query), full);
    script.datagram(Handle(1), with_cookie(&query, b"another!server's"));
    assert!(script.entry().reply.unwrap().cookie_mismatch);

    let mut script = Script::continued(ASK, script.outcome().carry);
    let query = script
        .resolved(&["192.0.2.53"])
        .opened_and_sent("198.51.100.7:4002");
    assert_eq!(cookie(&query), first, "a mismatch empties the memory");
}

#[test]
fn the_client_subnet_names_the_address_family() {
    for (server, local, family) in [
        ("192.0.2.53", "198.51.100.7:1", 1),
        ("2001:db8::53", "[2001:db8::7]:1", 2),
    ] {
        let mut script = Script::new(&format!("evtdig -a --client-subnet -h {server}"));
        let query = script.resolved(&[server]).opened_and_sent(local);
        let options = Query::parse(&query).unwrap().opt.unwrap().options;
        assert_eq!(options, [(8, vec![0, family, 0, 0])]);
    }
}

#[test]
fn ids_are_drawn_anew_and_never_the_last_number() {
    let mut seen = std::collections::BTreeSet::new();
    for retry in 0..3 {
        let mut script = Script::new("evtdig --retry 9 --soa . 192.0.2.53");
        for _ in 0..=retry {
            let query = script
                .resolved(&["192.0.2.53"])
                .opened_and_sent("198.51.100.7:1");
            assert_ne!(query[..2], [0xff, 0xff]);
            seen.insert(query[..2].to_vec());
            script.deadline();
            script.deadline();
        }
    }
    assert_eq!(
        seen.len(),
        3,
        "one for each attempt, the same for the same seed"
    );
}

#[test]
fn a_name_that_cannot_be_encoded_is_an_error_on_every_transport() {
    for transport in ["--qbuf", "-t"] {
        let mut script = Script::new(&format!(
            "evtdig {transport} --retry 3 --a x..y. 192.0.2.53"
        ));
        let on = script.resolved(&["192.0.2.53"]).opened_handle();
        let local = "198.51.100.7:1".parse().unwrap();
        script.tell(match transport {
            "-t" => crate::measurement::Input::Connected {
                on,
                local,
                handshake: None,
                tls: None,
            },
            _ => crate::measurement::Input::Opened {
                on,
                local,
                ident: 0,
            },
        });
        assert_eq!(script.outputs[0], Output::Close { on });
        let line = script.line();
        assert!(
            line.contains(r#""src_addr" : "198.51.100.7" , "proto""#),
            "{line}"
        );
        assert!(
            line.ends_with(r#", "error" : { "err" : "unable to format DNS query"} }"#),
            "{line}"
        );
    }
}
