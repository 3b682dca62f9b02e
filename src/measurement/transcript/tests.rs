use std::net::{IpAddr, SocketAddr};

use proptest::prelude::*;

use super::*;
use crate::measurement::machine::{
    Call, Datagram, Failure, Handle, ResolveError, TlsFailure, TlsSession,
};

fn header() -> Header {
    Header {
        words: vec!["evping".to_owned(), "-4".to_owned(), "a b".to_owned()],
        dialect: Dialect::Starla,
        seed: 7,
        probe: Some(9),
        tick: Tick::from_millis(5_500),
        time: UnixTime::from_secs(1_700_000_000),
        lts: 12,
    }
}

#[test]
fn a_header_is_read_as_it_was_written() {
    let text = Writer::new(header()).header();
    assert_eq!(
        text,
        "spec    evping -4 \"a b\"\ndialect starla\nseed    7\nprobe   9\ntick    5.5\ntime    1700000000\nlts     12\n"
    );
    let mut read = None;
    for line in text.lines() {
        header_line(line, &mut read).unwrap();
    }
    assert_eq!(read, Some(header()));
}

#[test]
fn an_event_tells_the_wall_clock_only_where_it_went_its_own_way() {
    let writer = Writer::new(header());
    let after = Duration::from_micros(11_900);
    let at = header().now(after, None);
    let line = writer.input(&at, &Input::Start, None);
    assert_eq!(line, "+0.0119 in  start\n");
    let stepped = Now::new(at.peek(), UnixTime::from_secs(5), at.lts());
    let line = writer.input(&stepped, &Input::Start, Some("kernel"));
    assert_eq!(line, "+0.0119 @5 in  start # kernel\n");
    assert_eq!(
        event(line.trim_end()),
        Ok(Some((after, Some(UnixTime::from_secs(5)), Input::Start)))
    );
}

#[test]
fn seconds_since_synchronisation_move_with_the_wall_clock() {
    let now = header().now(Duration::from_secs(3), None);
    assert_eq!((now.unix().secs(), now.lts()), (1_700_000_003, 15));
}

#[test]
fn lines_that_are_none_are_refused_with_their_number() {
    let error = |text: &str| replay(text).unwrap_err().to_string();
    assert_eq!(
        error("+0 in start"),
        "no `spec` line before the first event"
    );
    assert_eq!(
        error("spec evping x\nfoo bar\n"),
        "line 2: unknown header line: `foo bar`"
    );
    assert_eq!(
        error("spec evping x\n+0 in start\n+1 in what\n"),
        "line 3: unknown input: `+1 in what`"
    );
    assert_eq!(
        error("spec evping -9 x\n+0 in start\n"),
        "spec: bad options: unknown option `-9`"
    );
    for bad in [
        "+ in start",
        "+1.0000000001 in start",
        "+0 @x in start",
        "+0 what",
        "+0 in resolved x",
        "+0 in unresolved",
        "+0 in sent 0",
        "+0 in datagram 0 192.0.2.1:0 0800",
        "+0 in read 0 080",
        "+0 in read 0 0g",
        "+0 in read 0 00*99999999",
        "+0 in read 0 00*x",
        "+0 in failed 0",
        "+0 in failed 0 send",
        "+0 in failed 0 what errno=1",
        "+0 in resolvers \"x",
        "+0 in connected 0 192.0.2.1:1 tls=0303",
    ] {
        assert!(event(bad).is_err(), "{bad}");
    }
}

fn handle() -> impl Strategy<Value = Handle> {
    any::<u16>().prop_map(Handle)
}

fn address() -> impl Strategy<Value = SocketAddr> {
    any::<(IpAddr, u16)>().prop_map(SocketAddr::from)
}

fn octets() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..40),
        proptest::collection::vec(0u8..2, 0..80),
    ]
}

fn failure() -> impl Strategy<Value = Failure> {
    let call = prop::sample::select(vec![
        Call::Socket,
        Call::Bind,
        Call::Connect,
        Call::Send,
        Call::Tos,
        Call::Write,
        Call::Receive,
    ]);
    prop_oneof![
        any::<IpAddr>().prop_map(Failure::Forbidden),
        Just(Failure::Bind),
        (call, any::<i32>()).prop_map(|(call, errno)| Failure::Os { call, errno }),
        any::<u8>().prop_map(|alert| Failure::Tls(TlsFailure::Alert(alert))),
        Just(Failure::Tls(TlsFailure::Closed)),
        Just(Failure::Tls(TlsFailure::NotTls)),
        any::<String>().prop_map(|text| Failure::Tls(TlsFailure::Certificate(text))),
        any::<String>().prop_map(|text| Failure::Tls(TlsFailure::Other(text))),
    ]
}

fn tls() -> impl Strategy<Value = TlsSession> {
    let certificate = proptest::collection::vec(any::<u8>(), 1..20);
    (
        any::<(u16, u16)>(),
        prop::option::of(octets()),
        proptest::collection::vec(certificate, 0..3),
    )
        .prop_map(|((version, cipher), alpn, certificates)| TlsSession {
            version,
            cipher,
            alpn,
            certificates,
        })
}

fn datagram() -> impl Strategy<Value = Datagram> {
    (
        address(),
        any::<(Option<IpAddr>, Option<u8>, Option<u8>, u8)>(),
        octets(),
    )
        .prop_map(|(from, (to, hop_limit, tos, protocol), bytes)| Datagram {
            from,
            to,
            hop_limit,
            tos,
            bytes,
            protocol,
        })
}

fn input() -> impl Strategy<Value = Input> {
    prop_oneof![
        Just(Input::Start),
        Just(Input::Deadline),
        Just(Input::Stop),
        Just(Input::Resolved(Err(ResolveError::NotKnown))),
        Just(Input::Resolved(Err(ResolveError::Failed))),
        proptest::collection::vec(any::<IpAddr>(), 1..4)
            .prop_map(|addresses| Input::Resolved(Ok(addresses))),
        proptest::collection::vec(any::<String>(), 0..3).prop_map(Input::Resolvers),
        (handle(), address(), any::<u16>()).prop_map(|(on, local, ident)| Input::Opened {
            on,
            local,
            ident
        }),
        (handle(), any::<u32>()).prop_map(|(on, tag)| Input::Sent { on, tag }),
        (handle(), any::<u32>()).prop_map(|(on, tag)| Input::Stamped { on, tag }),
        (handle(), datagram()).prop_map(|(on, datagram)| Input::Datagram { on, datagram }),
        (
            handle(),
            address(),
            prop::option::of(any::<Duration>()),
            prop::option::of(tls())
        )
            .prop_map(|(on, local, handshake, tls)| Input::Connected {
                on,
                local,
                handshake,
                tls
            }),
        handle().prop_map(|on| Input::Written { on }),
        handle().prop_map(|on| Input::Readable { on }),
        (handle(), octets()).prop_map(|(on, bytes)| Input::Read { on, bytes }),
        (handle(), tls()).prop_map(|(on, tls)| Input::Certified { on, tls }),
        (handle(), any::<Option<i32>>()).prop_map(|(on, errno)| Input::Ended { on, errno }),
        (handle(), any::<Option<u32>>(), failure()).prop_map(|(on, tag, cause)| Input::Failed {
            on,
            tag,
            cause
        }),
    ]
}

proptest! {
    #[test]
    fn every_input_is_read_as_it_was_written(
        input in input(),
        after in 0u64..1 << 40,
        wall in any::<i64>(),
    ) {
        let after = Duration::from_nanos(after);
        let unix = UnixTime::from_nanos(wall.into());
        let now = Now::new(header().tick + after, unix, 0);
        let line = Writer::new(header()).input(&now, &input, Some("process"));
        prop_assert_eq!(line.matches('\n').count(), 1);
        prop_assert_eq!(event(line.trim_end()), Ok(Some((after, Some(unix), input))));
    }

    #[test]
    fn no_line_panics(line in "\\+?[0-9.]{0,4} (@[0-9-]{0,3} )?(in|out) {1,2}[a-z]{0,9} [0-9a-z=*:. \"\\\\]{0,30}") {
        let _ = event(&line);
        let _ = replay(&format!("spec evping x\n{line}\n"));
    }
}
