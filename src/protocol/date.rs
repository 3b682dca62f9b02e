//! HTTP dates: `Mon, 02 Jan 2006 15:04:05 GMT` (RFC 9110 section 5.6.7).

/// The date as RFC 1123 writes it, from seconds since the epoch.
#[must_use]
pub fn format(_unix: i64) -> String {
    todo!()
}

/// Seconds since the epoch of an HTTP date; `None` if it is none.
#[must_use]
pub fn parse(_text: &str) -> Option<i64> {
    todo!()
}
