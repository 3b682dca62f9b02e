use proptest::prelude::*;

use super::*;

/// What the controller side sends (`controller-protocol` section 11.2).
const OK: &[u8] = b"HTTP/1.1 200 \r\nContent-Length: 3\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nConnection: close\r\n\r\nOK\n";

fn read(bytes: &[u8]) -> Result<Response, ResponseError> {
    let mut parser = ResponseParser::new();
    match parser.push(bytes)? {
        Some(response) => Ok(response),
        None => parser.end(),
    }
}

fn response(status: u16, body: &[u8]) -> Response {
    Response {
        status,
        body: body.to_vec(),
        ..Response::default()
    }
}

#[test]
fn the_good_answer() {
    let answer = read(OK).unwrap();
    assert_eq!(
        answer,
        Response {
            date: Some(784_111_777),
            ..response(200, b"OK\n")
        }
    );
    assert!(answer.accepted());
}

#[test]
fn an_answer_is_complete_as_soon_as_its_length_is_there() {
    let mut parser = ResponseParser::new();
    let (most, last) = OK.split_at(OK.len() - 1);
    assert_eq!(parser.push(most), Ok(None));
    assert!(parser.has_head());
    assert_eq!(parser.status(), Some(200));
    assert_eq!(parser.date(), Some(784_111_777));
    assert!(parser.push(last).unwrap().unwrap().accepted());
}

#[test]
fn the_head_is_told_before_the_body() {
    let mut parser = ResponseParser::new();
    parser
        .push(b"HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n")
        .unwrap();
    assert!(!parser.has_head());
    assert_eq!((parser.status(), parser.date()), (None, None));
    parser.push(b"\r\n").unwrap();
    assert!(parser.has_head());
    assert_eq!(parser.date(), Some(784_111_777));
}

#[test]
fn accepted_means_2xx_and_ok_white_space_aside() {
    for body in ["OK", "OK\n", " OK\r\n"] {
        assert!(response(200, body.as_bytes()).accepted());
        assert!(response(202, body.as_bytes()).accepted());
        assert!(!response(429, body.as_bytes()).accepted());
        assert!(!response(302, body.as_bytes()).accepted());
    }
    for body in ["", "ok", "OKAY", "OK\nOK", "NOT OK"] {
        assert!(!response(200, body.as_bytes()).accepted());
    }
}

#[test]
fn bodies_end_by_length_by_chunks_or_by_close() {
    let body = |bytes: &[u8]| read(bytes).map(|response| response.body);
    assert_eq!(body(b"HTTP/1.0 200 OK\r\n\r\nOK\n"), Ok(b"OK\n".to_vec()));
    assert_eq!(
        body(b"HTTP/1.1 200 OK\ncontent-length: 2\n\nOKrest"),
        Ok(b"OK".to_vec())
    );
    assert_eq!(
        body(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\nContent-Length: 99\r\n\r\n1\r\nO\r\n02;x=\"y\"\r\nK\n\r\n0\r\nTrailer: 1\r\n\r\nrest"),
        Ok(b"OK\n".to_vec())
    );
    assert_eq!(
        body(b"HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n3\nOK\n\n0\n\n"),
        Ok(b"OK\n".to_vec())
    );
    assert_eq!(body(b"HTTP/1.1 204 None\r\nX: y\r\n\r\n"), Ok(vec![]));
    assert_eq!(
        body(b"HTTP/1.1 429 Slow Down\r\nContent-Length: 0\r\n\r\n"),
        Ok(vec![])
    );
}

#[test]
fn an_interim_answer_is_not_the_answer() {
    let bytes = [b"HTTP/1.1 100 Continue\r\n\r\n", OK].concat();
    assert!(read(&bytes).unwrap().accepted());
}

#[test]
fn retry_after_in_both_forms() {
    let retry = |value: &str| {
        let head = format!("HTTP/1.1 429 \r\nRetry-After: {value}\r\nContent-Length: 0\r\n\r\n");
        read(head.as_bytes()).unwrap().retry_after
    };
    assert_eq!(retry("120"), Some(RetryAfter::Seconds(120)));
    assert_eq!(
        retry("Sun, 06 Nov 1994 08:49:37 GMT"),
        Some(RetryAfter::At(784_111_777))
    );
    assert_eq!(
        retry("99999999999999999999999"),
        Some(RetryAfter::Seconds(u64::MAX))
    );
    for bad in ["", "-1", "soon", "1.5"] {
        assert_eq!(retry(bad), None, "{bad}");
    }
    assert_eq!(RetryAfter::Seconds(7).seconds_from(100), 7);
    assert_eq!(RetryAfter::At(107).seconds_from(100), 7);
    assert_eq!(RetryAfter::At(93).seconds_from(100), 0);
}

#[test]
fn an_answer_that_breaks_off_is_truncated() {
    for bytes in [
        &b""[..],
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nOK",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nOK\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nOK\n\r\n0\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
    ] {
        assert_eq!(read(bytes), Err(ResponseError::Truncated), "{bytes:?}");
    }
}

#[test]
fn what_is_no_answer_is_refused() {
    for bytes in [
        &b"SSH-2.0-OpenSSH\r\n\r\n"[..],
        b"HTTP/1.1 2x0 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno header\r\n\r\n",
        b"\n\n",
    ] {
        assert!(
            matches!(read(bytes), Err(ResponseError::Head(_))),
            "{bytes:?} {:?}",
            read(bytes)
        );
    }
    for length in ["x", "-1", "3, 3", "99999999999999999999"] {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
        assert_eq!(
            read(head.as_bytes()),
            Err(ResponseError::ContentLength(length.to_owned()))
        );
    }
    assert_eq!(
        read(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n"),
        Err(ResponseError::ContentLength("4".to_owned()))
    );
    for chunks in [
        "\r\n",
        "x\r\n",
        "-1\r\n",
        "1\r\nOK\r\n",
        "fffffffffffffffff\r\n",
    ] {
        let text = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}");
        assert_eq!(
            read(text.as_bytes()),
            Err(ResponseError::Chunk),
            "{chunks:?}"
        );
    }
}

#[test]
fn nothing_grows_without_bound() {
    let mut parser = ResponseParser::new();
    parser.push(b"HTTP/1.1 200 OK\r\nX: ").unwrap();
    let refused = (0..100).find_map(|_| parser.push(&[b'x'; 1024]).err());
    assert_eq!(refused, Some(ResponseError::HeadTooLong));

    for framing in [
        "Content-Length: 99999999",
        "X: y",
        "Transfer-Encoding: chunked",
    ] {
        let mut parser = ResponseParser::new();
        let head = format!("HTTP/1.1 500 \r\n{framing}\r\n\r\n");
        parser.push(head.as_bytes()).unwrap();
        if framing.ends_with("chunked") {
            parser.push(b"ffffff\r\n").unwrap();
        }
        let complete = (0..100).find_map(|_| parser.push(&[b'x'; 1024]).unwrap());
        assert_eq!(complete.unwrap().body.len(), MAX_BODY, "{framing}");
    }

    let mut parser = ResponseParser::new();
    parser
        .push(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;")
        .unwrap();
    let refused = (0..100).find_map(|_| parser.push(&[b'x'; 1024]).err());
    assert_eq!(refused, Some(ResponseError::Chunk));
}

proptest! {
    #[test]
    fn answers_do_not_depend_on_chunking(cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..6), chunked: bool, body in "[ -~\n]{0,40}") {
        let bytes = if chunked {
            let (a, b) = body.split_at(body.len() / 2);
            let chunks: String = [a, b, ""].iter().enumerate()
                .filter(|(nth, chunk)| *nth == 2 || !chunk.is_empty())
                .map(|(_, chunk)| format!("{:x}\r\n{chunk}\r\n", chunk.len()))
                .collect();
            format!("HTTP/1.1 200 \r\nTransfer-Encoding: chunked\r\n\r\n{chunks}")
        } else {
            format!("HTTP/1.1 200 \r\nContent-Length: {}\r\n\r\n{body}", body.len())
        }.into_bytes();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let mut parser = ResponseParser::new();
        let mut answer = None;
        for cut in cuts.windows(2) {
            answer = parser.push(&bytes[cut[0]..cut[1]]).unwrap();
        }
        prop_assert_eq!(answer, Some(response(200, body.as_bytes())));
    }

    #[test]
    fn any_bytes_are_read_without_panic(chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..60), 0..6), prefix in 0usize..4) {
        let mut parser = ResponseParser::new();
        let prefixes = ["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: "];
        let mut failed = parser.push(prefixes[prefix].as_bytes()).is_err();
        for chunk in chunks {
            if failed { break }
            failed = parser.push(&chunk).is_err();
        }
        let _ = parser.end();
    }
}
