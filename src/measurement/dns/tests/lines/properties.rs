//! What holds for the line of any reply and any error.

use super::*;

fn any_error() -> impl Strategy<Value = Error> {
    ("\\PC{0,8}", any::<u16>(), 0..8).prop_map(|(text, number, which)| match which {
        0 => Error::Resolution(text, "x\"".to_owned()),
        1 => Error::Connect(text),
        2 => Error::Send(text, true),
        3 => Error::Timeout(number.into()),
        4 => Error::HttpStatus(number),
        5 => Error::Socket(text),
        6 => Error::TooSmall(number),
        _ => Error::OtherId(number.into()),
    })
}

/// A reply such as servers send, with some bytes changed and its end cut.
fn mutated_reply() -> impl Strategy<Value = Vec<u8>> {
    let start = prop::sample::select(vec![
        "EjSEAAABAAEAAAAAB2V4YW1wbGUDY29tAAAGAAHADAAGAAEAAA4QACECbnPADAVhZG1pbsAMeKPxdAAAHCAAAA4QABJ1AAAADhA=",
        "vu+EAAABAAEAAAAACGhvc3RuYW1lBGJpbmQAABAAA8AMABAAAwAAAAAADQxuczFhLmV4YW1wbGU=",
    ]);
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..12);
    (start, changes, any::<prop::sample::Index>(), any::<bool>()).prop_map(
        |(start, changes, cut, whole)| {
            let mut message = decoded(start);
            for (at, byte) in changes {
                let at = at.index(message.len());
                message[at] = byte;
            }
            if !whole {
                message.truncate(cut.index(message.len() + 1));
            }
            message
        },
    )
}

proptest! {
    #[test]
    fn any_reply_and_any_error_give_json_in_both_dialects(
        message in mutated_reply(),
        server in "\\PC{0,300}",
        port in "\\PC{0,5}",
        errors in prop::collection::vec(any_error(), 0..3),
        set in any::<bool>(),
        bundle in "[0-9]{0,4}",
        flags in any::<[bool; 4]>(),
    ) {
        let entry = Entry {
            place: set.then_some((1, 1)),
            server: Some(server.clone()),
            destination: flags[0].then_some(Destination { address: "192.0.2.1".to_owned(), port, family: 4 }),
            source: flags[1].then(|| "192.0.2.2".to_owned()),
            query: flags[2].then(|| message.clone()),
            reply: flags[3].then(|| Reply { message: message.clone(), ..reply(0.5, "") }),
            errors,
            ..entry()
        };
        let body = Body { resolvers: set, entries: vec![entry; 2], counts: Counts::default() };
        let head = Head { bundle: Some(bundle), ..head(Some("1"), None) };
        for dialect in Dialect::ALL {
            let value = json(&body.line(&head, dialect));
            let first = if set { &value["resultset"][0] } else { &value };
            prop_assert_eq!(&first["proto"], "UDP");
            if flags[3] {
                prop_assert_eq!(&first["result"]["size"], &serde_json::Value::from(message.len()));
            }
        }
    }
}
