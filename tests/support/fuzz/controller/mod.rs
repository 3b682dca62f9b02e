//! The controller told whatever clients say, in any order: every question is answered once, nobody is given what is
//! another's, and what is acknowledged is stored.

mod network;

use starling::{
    clock::UnixTime,
    controller::{
        messages::Response,
        request::{self, Head, Refusal},
    },
    protocol::response::ResponseParser,
};

pub(crate) use network::network;

use super::bytes::{Bytes, pieces};

/// A request as a client makes it. First byte: the pieces.
pub(crate) fn request(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    let seed = bytes.byte();
    let text = bytes.rest();
    let whole = Head::parse(text);
    // However it comes, it is the same request, found as soon as it is whole.
    let mut come = Vec::new();
    let mut first = Ok(None);
    for piece in pieces(text, seed) {
        come.extend_from_slice(piece);
        first = Head::parse(&come);
        if !matches!(first, Ok(None)) {
            break;
        }
        assert!(come.len() < request::MAX_HEAD, "a head without end");
    }
    match (&whole, &first) {
        (Ok(Some(head)), _) => {
            assert_eq!(first, whole);
            assert!(head.size <= request::MAX_HEAD && head.size <= text.len());
            assert!(!head.method.is_empty() && !head.target.contains([' ', '\r', '\n']));
            assert_eq!(Head::parse(&text[..head.size - 1]), Ok(None));
        }
        (Ok(None), _) => assert_eq!(first, Ok(None)),
        (Err(_), Ok(found)) => assert_eq!(*found, None),
        (Err(_), Err(_)) => {}
    }
    if let Err(refusal) = whole {
        assert_ne!(refusal, Refusal::Gone);
        let response = refusal.response().expect("somebody is there");
        assert!((400..500).contains(&response.status));
        is_read_as(&response, 0);
    }
}

/// A probe reads the answer that was meant.
fn is_read_as(response: &Response, now: i64) {
    let bytes = request::render(response, UnixTime::from_secs(now));
    let mut parser = ResponseParser::new();
    let read = parser.push(&bytes).expect("it can be read");
    let read = read.or_else(|| parser.end().ok()).expect("it is whole");
    assert_eq!(read.status, response.status);
    assert_eq!(read.body, response.body.as_bytes());
    let later = read.retry_after.map(|after| after.seconds_from(0));
    assert_eq!(later, response.retry_after.map(u64::from));
}
