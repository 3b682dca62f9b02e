//! Replies in a stream: their length, their pieces, and when they count as read.

use super::*;

#[test]
fn a_query_and_its_reply_over_tcp() {
    let (mut script, query) = reading(TCP);
    script.read(&[&framed(&answer(&query))]);
    assert_eq!(script.outputs[0], Output::Close { on: Handle(1) });
    assert!(script.outcome().answered);
    let line = script.line();
    let start = r#""time" : 1700000000 , "lts" : 12 , "dst_addr" : "192.0.2.53" , "dst_port" : "53" , "af" : 4 , "src_addr" : "198.51.100.7" , "proto" : "TCP" ,"qbuf" : ""#;
    assert!(line.starts_with(start), "{line}");
    assert!(
        line.contains(r#","result" : { "rt" : 30.000,"qt" : 10.000,"size" : 31 , "abuf""#),
        "{line}"
    );
    assert_eq!(script.body().counts.sent_bytes, 33);
}

#[test]
fn a_reply_counts_from_when_the_connection_was_asked_for_to_its_last_bytes() {
    let mut script = connecting(TLS);
    let on = script.opened_handle();
    // Making TLS ready took 40 ms, which are not the network's.
    script.after(40).tell(Input::Stamped { on, tag: 0 });
    assert_eq!(script.outputs, []);
    script.tell(Input::Stamped {
        on: Handle(77),
        tag: 0,
    });
    script.after(10).tell(Input::Connected {
        on,
        local: "198.51.100.7:4000".parse().unwrap(),
        handshake: None,
        tls: None,
    });
    let query = script.written();
    let reply = framed(&answer(&query[2..]));
    script.after(10).tell(Input::Readable { on });
    let bytes = reply[..20].to_vec();
    script.tell(Input::Read { on, bytes });
    // More was at hand, and arrived 5 ms after what was noticed first.
    let bytes = reply[20..].to_vec();
    script.after(5).tell(Input::Read { on, bytes });
    let line = script.line();
    assert!(
        line.contains(r#""rt" : 35.000,"qt" : 15.000,"size" : 31 "#),
        "{line}"
    );
}

#[test]
fn what_the_transports_ask_of_tls() {
    let tls = |command: &str| match &connecting(command).outputs[0] {
        Output::Connect { stream, .. } => (stream.to.port(), stream.tls.clone()),
        other => panic!("{other:?}"),
    };
    assert_eq!(tls(TCP), (53, None));
    assert_eq!(tls(TLS), (853, Some(Tls::default())));
    let named = Some("dns.example".to_owned());
    let expected = Tls {
        sni: named.clone(),
        ..Tls::default()
    };
    assert_eq!(
        tls(&TLS.replace("--tls", "--tls --sni-cert-name dns.example")),
        (853, Some(expected)),
        "never verified"
    );
    let expected = Tls {
        sni: named.clone(),
        alpn: vec![b"h2".to_vec()],
        verify: named,
        ..Tls::default()
    };
    assert_eq!(tls(HTTPS), (443, Some(expected)));
    let expected = Tls {
        alpn: vec![b"h2".to_vec()],
        ..Tls::default()
    };
    assert_eq!(tls("evtdig --https -h 192.0.2.53"), (443, Some(expected)));
}

#[test]
fn the_tls_library_is_named_once_tls_was_tried() {
    let (mut script, query) = reading(TLS);
    script.read(&[&framed(&answer(&query))]);
    assert!(
        script.line().contains(r#" , "sslvers" : "rustls 0."#),
        "{}",
        script.line()
    );
    let mut script = Script::new(TLS);
    script.tell(Input::Resolved(Err(ResolveError::Failed)));
    assert!(!script.line().contains("sslvers"));
}

#[test]
fn a_reply_in_any_pieces_is_a_reply() {
    let (mut script, query) = reading(TCP);
    let bytes = framed(&answer(&query));
    let pieces: Vec<&[u8]> = bytes.chunks(1).collect();
    script.read(&pieces);
    let entry = script.entry();
    assert_eq!(entry.reply.unwrap().message, answer(&query));
    assert_eq!(entry.errors, []);
}

#[test]
fn bytes_behind_the_reply_do_not_matter() {
    let (mut script, query) = reading(TCP);
    script.read(&[&[framed(&answer(&query)), vec![0; 700]].concat()]);
    assert_eq!(script.entry().reply.unwrap().message, answer(&query));
}

#[test]
fn nothing_to_read_is_no_end() {
    let (mut script, query) = reading(TCP);
    script.read(&[&[]]);
    assert_eq!(script.outputs, [Output::Await { on: Handle(1) }]);
    script.read(&[&framed(&answer(&query))]);
    assert!(script.outcome().answered);
}

#[test]
fn lengths_that_no_reply_has() {
    for length in [0, 11] {
        let (mut script, _) = reading("evtdig -t --retry 5 -h 192.0.2.53");
        script.read(&[&[0, length]]);
        errors_end(
            &script,
            &format!(r#"{{ "TCPREADSIZE" :  "reply too small, got {length}"}}"#),
        );
    }
}

#[test]
fn another_id_is_told_with_the_size_of_the_last_piece() {
    for (size, figure) in [
        (12, 12),
        (255, 255),
        (256, 256),
        (257, 1),
        (300, 44),
        (512, 256),
    ] {
        let (mut script, query) = reading(TCP);
        let mut reply = answer(&query);
        reply[0] ^= 1;
        reply.resize(size, 0);
        script.read(&[&framed(&reply)]);
        errors_end(
            &script,
            &format!(r#"{{  "idmismatch" : "mismatch id from tcp fd {figure}"}}"#),
        );
    }
}

#[test]
fn the_client_subnet_follows_the_options() {
    for (words, family) in [("-t -4", 1), ("-t -6", 2), ("-t -a", 2), ("-t", 1)] {
        let (script, query) = reading(&format!("evtdig {words} --client-subnet -h 192.0.2.53"));
        drop(script);
        let options = Query::parse(&query).unwrap().opt.unwrap().options;
        assert_eq!(options, [(8, vec![0, family, 0, 0])], "{words}");
    }
}

#[test]
fn cookies_work_over_tcp_as_well() {
    let (_, query) = reading("evtdig -t --cookies -h 192.0.2.53");
    let options = Query::parse(&query).unwrap().opt.unwrap().options;
    assert_eq!((options[0].0, options[0].1.len()), (10, 8));
}
