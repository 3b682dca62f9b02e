//! What servers say on streams to the HTTP and TLS measurements: pieces do not matter, memory is bounded.

use starling::wire::{
    http::{BUFFER, Expect, Reader, ResponseError, Want},
    tls::{ClientHello, Flight, Found, MAX_CERTIFICATES, MAX_SERVER_NAME, Problem, TLS_1_2},
};

use super::bytes::{Bytes, pieces};

/// A response. First byte: HEAD, and whether the second counts as a read limit; third: the pieces.
pub(crate) fn http(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    let (form, limit, seed) = (bytes.byte(), bytes.byte(), bytes.byte());
    let expect = Expect {
        head: form & 1 != 0,
        read_limit: u64::from(form >> 1 & 1) * u64::from(limit) * 8,
        body_limit: u64::from(form >> 2 & 1) * u64::from(limit),
    };
    let text = bytes.rest();
    let (reader, headers) = response(expect, std::iter::once(text), text.len());
    let (pieced, again) = response(expect, pieces(text, seed), text.len());
    if expect.read_limit == 0 {
        // The limit is looked at between fills, so there it does matter.
        assert_eq!(reader.status(), pieced.status());
        assert_eq!(headers, again);
        assert_eq!(reader.header_size(), pieced.header_size());
    }
}

/// What is read of a response in pieces, and its header lines.
fn response<'a>(
    expect: Expect,
    pieces: impl Iterator<Item = &'a [u8]>,
    length: usize,
) -> (Reader, Vec<Vec<u8>>) {
    let mut reader = Reader::new(expect);
    let mut headers = Vec::new();
    let mut keep = |line: &[u8]| headers.push(line.to_vec());
    let mut ended = false;
    for mut piece in pieces {
        let mut want = reader.event(&mut keep);
        let mut fills = 0;
        while let Ok(Want::Fill(room)) = want {
            assert!(room > 0 && room <= BUFFER, "{room} bytes wanted");
            fills += 1;
            assert!(fills <= length + 16, "a reader that spins");
            let (front, rest) = piece.split_at(room.min(piece.len()));
            piece = rest;
            want = reader.fill(front, &mut keep);
        }
        if !matches!(want, Ok(Want::Event)) {
            ended = true;
            break;
        }
    }
    if !ended {
        let _: Result<(), ResponseError> = reader.end();
    }
    assert!(!reader.timeout().to_string().is_empty());
    assert!(reader.received() <= length as u64);
    assert!(reader.header_size() <= length as u64);
    assert!(reader.body_size() <= length as u64);
    (reader, headers)
}

/// A server's first flight, and a hello with this name. First byte: whether TLS 1.3 is offered; second: the pieces.
pub(crate) fn tls(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    let (offers_1_3, seed) = (bytes.byte() & 1 == 1, bytes.byte());
    let text = bytes.rest();
    let whole = flight(offers_1_3, std::iter::once(text));
    assert_eq!(whole, flight(offers_1_3, pieces(text, seed)));
    if let Some(Ok(Found::Certificates(chain))) = &whole.0 {
        assert!(chain.len() <= MAX_CERTIFICATES);
        let octets: usize = chain.iter().map(Vec::len).sum();
        assert!(octets <= text.len(), "more than was sent");
    }
    let hello = ClientHello {
        version: TLS_1_2,
        time: 0,
        random: [0; 28],
        server_name: Some(text),
    };
    let records = hello.emit();
    assert!(records.len() < MAX_SERVER_NAME + 512);
    assert!(matches!(
        flight(true, std::iter::once(&records[..])).0,
        Some(Err(Problem::Type))
    ));
}

type Ending = (Option<Result<Found, Problem>>, bool);

/// How a flight ended, if it did, and whether another hello was asked for.
fn flight<'a>(offers_1_3: bool, pieces: impl Iterator<Item = &'a [u8]>) -> Ending {
    let mut flight = Flight::new(offers_1_3);
    let mut ending = None;
    for piece in pieces {
        let found = flight.feed(piece).transpose();
        assert!(found.is_none() || ending.is_none(), "told once");
        ending = ending.or(found);
    }
    (ending, flight.is_retrying())
}
