//! What holds whatever happens.

use super::*;

/// What may happen to a run, in any order.
#[derive(Clone, Debug)]
enum Event {
    Tell(Input),
    Deadline,
    /// A reply to one of the requests so far, with one octet changed perhaps.
    Reply {
        request: prop::sample::Index,
        ttl: u8,
        size: usize,
        change: Option<(prop::sample::Index, u8)>,
    },
}

fn event() -> impl Strategy<Value = Event> {
    let cause = prop_oneof![
        Just(Failure::Bind),
        any::<IpAddr>().prop_map(Failure::Forbidden),
        (0..140).prop_map(|errno| os(Call::Connect, errno)),
        (0..140).prop_map(|errno| os(Call::Send, errno)),
    ];
    let input = prop_oneof![
        Just(Input::Stop),
        proptest::collection::vec(any::<IpAddr>(), 0..3).prop_map(|all| Input::Resolved(Ok(all))),
        Just(Input::Resolved(Err(ResolveError::Failed))),
        (any::<(IpAddr, u16)>(), any::<u16>()).prop_map(|(local, ident)| Input::Opened {
            on: H,
            local: local.into(),
            ident
        }),
        (0..6u32).prop_map(|tag| Input::Sent { on: H, tag }),
        (0..6u32).prop_map(|tag| Input::Stamped { on: H, tag }),
        (prop::option::of(0..6u32), cause).prop_map(|(tag, cause)| Input::Failed {
            on: H,
            tag,
            cause
        }),
        (
            proptest::collection::vec(any::<u8>(), 0..80),
            any::<Option<u8>>()
        )
            .prop_map(|(bytes, hop_limit)| Input::Datagram {
                on: H,
                datagram: Datagram {
                    from: "192.0.2.1:0".parse().unwrap(),
                    to: None,
                    hop_limit,
                    tos: None,
                    bytes,
                    protocol: 1
                }
            }),
        Just(Input::Readable { on: H }),
    ];
    prop_oneof![
        4 => input.prop_map(Event::Tell),
        3 => Just(Event::Deadline),
        4 => (any::<prop::sample::Index>(), any::<u8>(), 0..100usize, prop::option::of(any::<(prop::sample::Index, u8)>()))
            .prop_map(|(request, ttl, size, change)| Event::Reply { request, ttl, size, change }),
    ]
}

fn drive(script: &mut Script, events: &[(Event, u64)], family: Family) {
    let (target, source) = match family {
        Family::V6 => ("2001:db8:7::7", "2001:db8::10"),
        _ => (TARGET, SOURCE),
    };
    script.source = ip(source);
    let mut at = 0;
    script.tell(0, Input::Start);
    if !events.len().is_multiple_of(4) {
        script.tell(0, Input::Resolved(Ok(vec![ip(target)])));
        let local = (script.source, 0).into();
        script.tell(
            0,
            Input::Opened {
                on: H,
                local,
                ident: 7,
            },
        );
    }
    for (event, pause) in events {
        at += pause;
        let input = match event {
            Event::Tell(input) => input.clone(),
            Event::Deadline => {
                if let Some(due) = script.ping.deadline() {
                    at = at.max(u64::try_from(due.0.as_nanos()).unwrap());
                }
                Input::Deadline
            }
            Event::Reply { .. } if script.sent.is_empty() => continue,
            Event::Reply {
                request,
                ttl,
                size,
                change,
            } => {
                let mut datagram = reply_to(request.get(&script.sent), ip(source), *ttl, *size);
                if let Some((index, value)) = change {
                    let index = index.index(datagram.bytes.len());
                    datagram.bytes[index] = *value;
                }
                Input::Datagram { on: H, datagram }
            }
        };
        let was_done = script.outcome.is_some();
        let outputs = script.tell(at, input);
        if was_done {
            assert_eq!(outputs, [], "nothing after Done");
        }
        if script.outcome.is_some() {
            assert_eq!(script.ping.deadline(), None);
        } else if !script.sent.is_empty() {
            assert!(script.ping.deadline().is_some(), "a deadline until then");
        }
    }
}

proptest! {
    #[test]
    fn whatever_happens_a_run_ends_once_in_valid_json(
        events in proptest::collection::vec((event(), 0u64..2_000_000_000), 0..40),
        v6 in any::<bool>(),
        replay in any::<bool>(),
        count in 0usize..6,
        id in any::<bool>(),
    ) {
        let family = if v6 { Family::V6 } else { Family::V4 };
        let flag = if v6 { "-6" } else { "-4" };
        let id = if id { "-A 1 -B 007" } else { "" };
        let command = format!("{flag} -c {count} {id} -s 50 host\".example");
        let mut script = Script::of(&command, Run { seed: 1, probe_id: None, replay }, None);
        drive(&mut script, &events, family);
        prop_assert!(script.sent.len() <= count);
        // It comes to an end by itself, or because someone says so while a name is looked up.
        let mut steps = 0;
        while script.outcome.is_none() {
            steps += 1;
            prop_assert!(steps <= count + 2, "a run that does not end");
            if script.ping.deadline().is_some() {
                script.deadline();
            } else {
                script.tell(0, Input::Stop);
            }
        }
        prop_assert!(script.sent.len() <= count);
        let outcome = script.outcome.clone().unwrap();
        for dialect in Dialect::ALL {
            for body in &outcome.bodies {
                let line = body.line(&head(&script.common), dialect);
                prop_assert!(json(&line)["result"].is_array());
                prop_assert!(replay || !line.contains("\"rtt\":-"));
                prop_assert_eq!(line.matches('\n').count(), 1);
            }
        }
        prop_assert_eq!(
            crate::result::Received::parse(&script.line()).unwrap().has_measurement(),
            script.items().contains("\"rtt\"")
        );
    }

    #[test]
    fn no_packet_panics(bytes in proptest::collection::vec(any::<u8>(), 0..100), v6 in any::<bool>(), check in any::<bool>()) {
        let datagram = Datagram {
            from: "192.0.2.1:0".parse().unwrap(),
            to: None,
            hop_limit: None,
            tos: None,
            bytes,
            protocol: 1,
        };
        let family = if v6 { Family::V6 } else { Family::V4 };
        let mark = Mark { identifier: 0, cookie: [0; 8] };
        let _ = packet::Marked::read(&datagram, family, mark, check);
    }
}
