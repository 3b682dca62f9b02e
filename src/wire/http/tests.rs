//! Responses by table and by chance.

use proptest::prelude::*;

use super::*;

const GET: Expect = Expect {
    head: false,
    read_limit: 0,
    body_limit: u64::MAX,
};

/// How a reading went.
#[derive(Debug, PartialEq)]
struct Read {
    end: Result<(u32, u64, u64), String>,
    headers: Vec<Vec<u8>>,
    truncated: bool,
}

/// Reads a response that arrives in `pieces`, one a read event, after which the stream ends or time is up.
fn read(expect: Expect, pieces: &[&[u8]], ends: bool) -> Read {
    let mut reader = Reader::new(expect);
    let mut headers = Vec::new();
    let result = go(&mut reader, pieces, ends, &mut headers);
    let status = reader.status().unwrap_or_default();
    Read {
        end: result
            .map(|()| (status.code, reader.header_size(), reader.body_size()))
            .map_err(|error| error.to_string()),
        headers,
        truncated: reader.is_truncated(),
    }
}

fn go(
    reader: &mut Reader,
    pieces: &[&[u8]],
    ends: bool,
    headers: &mut Vec<Vec<u8>>,
) -> Result<(), ResponseError> {
    for piece in pieces {
        let mut at_hand = *piece;
        // What is not read in one event is there for the next.
        while !at_hand.is_empty() {
            let mut want = reader.event(&mut |line| headers.push(line.to_vec()))?;
            while let Want::Fill(max) = want {
                assert!((1..=BUFFER).contains(&max));
                let (now, later) = at_hand.split_at(max.min(at_hand.len()));
                at_hand = later;
                want = reader.fill(now, &mut |line| headers.push(line.to_vec()))?;
            }
            assert!(reader.held().len() <= BUFFER);
            if want == Want::Nothing {
                return Ok(());
            }
        }
    }
    if ends {
        reader.end()
    } else {
        Err(reader.timeout())
    }
}

/// The text of the error that a silent server's response ends in, or status, header and body size.
fn result(response: &str) -> Result<(u32, u64, u64), String> {
    read(GET, &[response.as_bytes()], false).end
}

fn error(response: &str) -> String {
    result(response).unwrap_err()
}

fn at_end(response: &str) -> Result<(u32, u64, u64), String> {
    read(GET, &[response.as_bytes()], true).end
}

#[test]
fn status_lines_are_taken_in_any_shape_that_the_reference_takes() {
    for (line, code, major, minor) in [
        ("HTTP/1.1 204 No Content\r", 204, 1, 1),
        ("HTTP/1.1 204", 204, 1, 1),
        ("http/1.1\t 00204abc", 204, 1, 1),
        ("HTTP/2.0 304", 304, 2, 0),
        ("HtTp/257.258 100 Continue\r", 100, 1, 2),
    ] {
        let mut reader = Reader::new(GET);
        let want = reader.event(&mut |_| {}).unwrap();
        assert_eq!(want, Want::Fill(2048));
        let response = format!("{line}\n\n");
        let want = reader.fill(response.as_bytes(), &mut |_| {});
        assert_eq!(want, Ok(Want::Nothing), "{line}");
        let status = Status { major, minor, code };
        assert_eq!(reader.status(), Some(status), "{line}");
    }
}

#[test]
fn status_lines_that_are_none_say_why() {
    for (line, reason) in [
        ("FOO", "bad prefix"),
        ("", "bad prefix"),
        (" HTTP/1.1 200", "bad prefix"),
        ("HTTP/1", "bad major"),
        ("HTTP/", "bad major"),
        ("HTTP/x.1 200", "bad major"),
        ("HTTP/1.1", "bad minor"),
        ("HTTP/1.x 200", "bad minor"),
        ("HTTP/1.1x 200", "bad minor"),
        ("HTTP/1.1 ", "bad status code"),
        ("HTTP/1.1 x", "bad status code"),
        ("HTTP/1.1 -1", "bad status code"),
        ("HTTP/1.1 200\0", "contains nul"),
    ] {
        let expected = format!("bad status line: {reason}");
        assert_eq!(error(&format!("{line}\r\n")), expected, "{line:?}");
    }
}

#[test]
fn a_status_may_have_any_number_of_digits() {
    let end = "\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(result(&format!("HTTP/1.1 99{end}")), Ok((99, 19, 0)));
    assert_eq!(result(&format!("HTTP/1.1 1000{end}")), Ok((1000, 19, 0)));
    let long = format!("HTTP/1.1 {}{end}", "9".repeat(100));
    assert_eq!(result(&long), Ok((2_147_483_647, 19, 0)));
}

#[test]
fn header_lines_are_counted_as_received_without_the_empty_one() {
    let response = "HTTP/1.1 200 OK\r\nA: b\r\n folded: x\nContent-Length: 2\r\n\r\nxy";
    let read = read(GET, &[response.as_bytes()], false);
    assert_eq!(read.end, Ok((200, 6 + 11 + 19, 2)));
    let shown: [&[u8]; 4] = [b"A: b", b" folded: x", b"Content-Length: 2", b""];
    assert_eq!(read.headers, shown);
}

#[test]
fn a_folded_line_is_not_interpreted() {
    let response = "HTTP/1.1 200 OK\r\nA: b\r\n Content-Length: 2\r\n\r\nxy";
    assert_eq!(error(response), "timeout reading body");
}

#[test]
fn names_are_compared_as_prefixes_and_without_case() {
    for header in [
        "Content-Length: 2",
        "CONTENT-LENGTH:2",
        "content-length  :  2  ",
        "Content-Length-X: 2",
        "Content-Length: +2",
        "Content-Length: 9\r\nContent-Length: 2",
        // 32 bits count.
        "Content-Length: 4294967298",
    ] {
        let read = result(&format!("HTTP/1.1 200\r\n{header}\r\n\r\nxy"));
        assert_eq!(read.map(|(_, _, body)| body), Ok(2), "{header}");
    }
}

#[test]
fn headers_that_matter_and_are_malformed_say_so() {
    for (header, reason) in [
        ("Content-Length", "malformed content-length"),
        ("Content-Length 5", "malformed content-length"),
        ("Content-Length x: 5", "malformed content-length"),
        ("Content-Length:", "malformed content-length"),
        ("Content-Length: 5, 5", "malformed content-length"),
        ("Content-Length: 5x", "malformed content-length"),
        ("Transfer-Encoding", "malformed transfer-encoding"),
        ("Transfer-Encoding chunked", "malformed transfer-encoding"),
        ("A\0: b", "contains nul"),
    ] {
        let expected = format!("bad header line: {reason}");
        let response = format!("HTTP/1.1 200\r\n{header}\r\n\r\n");
        assert_eq!(error(&response), expected, "{header:?}");
    }
}

#[test]
fn a_body_is_chunked_by_the_first_word_of_the_encoding_alone() {
    for (encoding, is_chunked) in [
        ("chunked", true),
        ("CHUNKED", true),
        ("chunked, gzip", true),
        ("gzip, chunked", false),
        ("chunked ", false),
        ("chunked ,gzip", false),
        ("", false),
    ] {
        let response = format!("HTTP/1.1 200\r\nTransfer-Encoding: {encoding}\r\n\r\nx");
        let expected = if is_chunked {
            "timeout reading chunk: state 5 linelen 1 lineoffset 0"
        } else {
            "timeout reading body"
        };
        assert_eq!(error(&response), expected, "{encoding:?}");
    }
}

#[test]
fn chunking_wins_over_a_length() {
    let headers = "Content-Length: 1\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n";
    let response = format!("HTTP/1.1 200\r\n{headers}\r\n3\r\nabc\r\n0\r\n\r\n");
    assert_eq!(result(&response).map(|(_, _, body)| body), Ok(3));
}

#[test]
fn responses_without_a_body_end_after_the_headers() {
    for code in [100, 101, 199, 204, 304] {
        let response = format!("HTTP/1.1 {code}\r\nContent-Length: 5\r\n\r\n");
        assert_eq!(result(&response), Ok((code, 19, 0)));
    }
    let head = Expect { head: true, ..GET };
    let response = b"HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(read(head, &[response], false).end, Ok((200, 28, 0)));
}

#[test]
fn an_interim_response_is_taken_for_the_final_one() {
    let response = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n";
    assert_eq!(result(response), Ok((100, 0, 0)));
}

#[test]
fn bytes_beyond_the_length_count_if_they_came_in_the_same_fill() {
    let head = "HTTP/1.1 200\r\nContent-Length: 5\r\n\r\n";
    let whole = format!("{head}hello world");
    assert_eq!(result(&whole), Ok((200, 19, 11)));
    let pieces: [&[u8]; 3] = [head.as_bytes(), b"hello", b" world"];
    assert_eq!(read(GET, &pieces, false).end, Ok((200, 19, 5)));
    let limited = |body_limit| {
        let expect = Expect { body_limit, ..GET };
        read(expect, &[whole.as_bytes()], false).end.unwrap().2
    };
    // Cut once at the limit: what is held beyond it counts if the body is not complete by that.
    assert_eq!((limited(5), limited(3), limited(0)), (5, 11, 11));
    let both = "HTTP/1.1 200\r\nContent-Length: 5\r\nContent-Length: 3\r\n\r\nhello";
    assert_eq!(result(both), Ok((200, 38, 5)));
}

#[test]
fn a_body_without_length_ends_with_the_stream() {
    let response = "HTTP/1.1 200 OK\r\n\r\nsome text";
    assert_eq!(at_end(response), Ok((200, 0, 9)));
    assert_eq!(error(response), "timeout reading body");
    // Minus one is as good as none, other negative ones are not.
    let minus = |length| format!("HTTP/1.1 200\r\nContent-Length: {length}\r\n\r\nabc");
    assert_eq!(at_end(&minus(-1)).map(|(_, _, body)| body), Ok(3));
    assert_eq!(at_end(&minus(-5)), Err("error reading body".to_owned()));
    assert_eq!(error(&minus(-5)), "timeout reading body");
}

fn chunked(body: &str) -> String {
    format!("HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n{body}")
}

#[test]
fn chunks_are_added_up() {
    for (body, size) in [
        ("0\r\n\r\n", 0),
        ("5\r\nhello\r\n0\r\n\r\n", 5),
        (
            "5\nhello\n6 ;ext=1\r\n world\r\n000\r\nTrailer: x\r\n\r\nmore",
            11,
        ),
        ("A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n", 20),
    ] {
        let read = result(&chunked(body)).map(|(_, _, body)| body);
        assert_eq!(read, Ok(size), "{body:?}");
    }
}

#[test]
fn chunk_lines_that_are_none_say_why() {
    for (body, reason) in [
        ("5;ext=1\r\n", "not a number"),
        ("x\r\n", "not a number"),
        ("\r\n", "not a number"),
        ("-5\r\n", "not a number"),
        ("5\0\r\n", "contains nul"),
        ("5\r\nhello!\r\n", "garbage at the end of chunk"),
        ("5\r\nhello\0\r\n", "contains nul"),
        ("0\r\na\0b\r\n", "contains nul"),
    ] {
        let expected = format!("bad chunk line: {reason}");
        assert_eq!(error(&chunked(body)), expected, "{body:?}");
    }
}

#[test]
fn a_chunk_of_more_than_there_can_be_is_waited_for() {
    let response = chunked(&format!("{}\r\nabc", "f".repeat(30)));
    let expected = "timeout reading chunk: state 6 linelen 0 lineoffset 0";
    assert_eq!(error(&response), expected);
}

#[test]
fn ends_and_time_outs_name_the_state() {
    let chunk =
        |state, held| format!("timeout reading chunk: state {state} linelen {held} lineoffset 0");
    for (response, time_out, end) in [
        ("", "timeout reading status", "timeout reading status"),
        ("HT", "timeout reading status", "error reading status"),
        (
            "HTTP/1.1 200\n",
            "timeout reading headers",
            "error reading headers",
        ),
        (
            "HTTP/1.1 200\nA: b\nC",
            "timeout reading headers",
            "error reading headers",
        ),
        (
            "HTTP/1.1 200\nContent-Length: 5\n\nx",
            "timeout reading body",
            "error reading body",
        ),
    ] {
        assert_eq!(error(response), time_out, "{response:?}");
        assert_eq!(at_end(response), Err(end.to_owned()), "{response:?}");
    }
    for (body, state, held) in [
        ("", 5, 0),
        ("5", 5, 1),
        ("5\r\n", 6, 0),
        ("5\r\nhel", 6, 0),
        ("5\r\nhello", 7, 0),
        ("5\r\nhello\r", 7, 1),
        ("0\r\n", 8, 0),
        ("0\r\nTra", 8, 3),
    ] {
        assert_eq!(error(&chunked(body)), chunk(state, held), "{body:?}");
        assert_eq!(at_end(&chunked(body)), Err(chunk(state, held)), "{body:?}");
    }
}

#[test]
fn a_line_of_2048_bytes_with_its_line_feed_is_the_longest() {
    let line = |length: usize| format!("{}\n", "x".repeat(length));
    for prefix in ["", "HTTP/1.1 200\r\n", &chunked(""), &chunked("0\r\n")] {
        let long = format!("{prefix}{}", line(2048));
        assert_eq!(error(&long), "line too long", "{prefix:?}");
        let fits = error(&format!("{prefix}{}", line(2047)));
        assert_ne!(fits, "line too long", "{prefix:?}");
    }
}

#[test]
fn a_read_limit_stops_between_steps() {
    let response = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
    let limited = |read_limit, pieces: &[&[u8]]| {
        let read = read(Expect { read_limit, ..GET }, pieces, false);
        (read.end, read.truncated)
    };
    let bytes = response.as_bytes();
    // All of it comes in the first fill, before the limit is looked at again.
    let header_error = Err("bad header line: read truncated".to_owned());
    assert_eq!(limited(10, &[bytes]), (header_error.clone(), true));
    assert_eq!(limited(43, &[bytes]), (header_error, true));
    assert_eq!(limited(44, &[bytes]), (Ok((200, 19, 5)), false));
    let status_error = Err("bad status line: read truncated".to_owned());
    assert_eq!(
        limited(4, &[&bytes[..4], &bytes[4..]]),
        (status_error, true)
    );
    // In the body it is an end like any other, and told even where nothing is missing.
    let pieces = [&bytes[..17], &bytes[17..38], &bytes[38..41], &bytes[41..]];
    assert_eq!(limited(41, &pieces), (Ok((200, 19, 3)), true));
    assert_eq!(limited(43, &pieces), (Ok((200, 19, 5)), true));
}

/// Pieces of a response at arbitrary places.
fn cut(bytes: &[u8], cuts: &[prop::sample::Index]) -> Vec<Vec<u8>> {
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    places.extend([0, bytes.len()]);
    places.sort_unstable();
    places
        .windows(2)
        .map(|pair| bytes[pair[0]..pair[1]].to_vec())
        .collect()
}

/// Bytes that lead far into the reader more often than chance does.
fn response() -> impl Strategy<Value = Vec<u8>> {
    let words = prop::sample::select(vec![
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.0 204\n",
        "Content-Length: 7\r\n",
        "Transfer-Encoding: chunked\r\n",
        "A: b\r\n",
        " folded\r\n",
        "\r\n",
        "\n",
        "5\r\nhello\r\n",
        "3 ;x\r\n",
        "0\r\n",
        "abc",
        "\0",
        "x",
    ]);
    let part = prop_oneof![
        8 => words.prop_map(|word| word.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..30),
        1 => (any::<u8>(), 0..4000usize).prop_map(|(octet, count)| vec![octet; count]),
    ];
    let start = prop_oneof![
        4 => Just(b"HTTP/1.1 200 OK\r\n".to_vec()),
        2 => Just(b"HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec()),
        1 => Just(Vec::new()),
    ];
    (start, prop::collection::vec(part, 0..12))
        .prop_map(|(start, parts)| [start, parts.concat()].concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn what_is_found_does_not_depend_on_how_it_was_cut(
        bytes in response(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
        head in any::<bool>(),
        ends in any::<bool>(),
    ) {
        let expect = Expect { head, ..GET };
        let whole = read(expect, &[&bytes], ends);
        let pieces = cut(&bytes, &cuts);
        let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
        let mut in_pieces = read(expect, &pieces, ends);
        // Bytes beyond a body's length count where they came in one fill with it.
        if let (Ok((code, header, whole)), Ok((same_code, same_header, pieces))) =
            (&whole.end, &mut in_pieces.end)
        {
            prop_assert!(whole.abs_diff(*pieces) < BUFFER as u64);
            prop_assert_eq!((code, header), (&*same_code, &*same_header));
            *pieces = *whole;
        }
        prop_assert_eq!(whole, in_pieces);
    }

    #[test]
    fn no_bytes_make_it_panic_or_hold_much(
        bytes in response(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
        read_limit in 0..200u64,
        body_limit in 0..20u64,
    ) {
        let pieces = cut(&bytes, &cuts);
        let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
        let expect = Expect { head: false, read_limit, body_limit };
        let read = read(expect, &pieces, true);
        prop_assert!(read.end.is_err() || read.headers.last().is_none_or(Vec::is_empty));
    }
}
