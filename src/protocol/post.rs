//! The upload's request and body (`controller-protocol` sections 6.1, 6.2, 6.6, 6.7; section 10 row 27).

use crate::dialect::Dialect;

/// First line of every body: what the controller has put into `p_to_c_report_header`.
pub const BODY_HEADER: &str = "P_TO_C_REPORT\n";

const USER_AGENT: &str = "httppost for atlas.ripe.net";
const CONTENT_TYPE: &str = "application/x-www-form-urlencoded";
/// A round trip longer than this says nothing about the clock.
const MAX_RTT_SECS: f64 = 1.0;

/// The request head of a post.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestHead {
    /// Path and query of the URL.
    pub path_and_query: String,
    /// URL host without port and brackets.
    pub host: String,
    /// With `--local-time`: the time now, Unix seconds.
    pub unix_date: Option<i64>,
    /// Bytes of the body.
    pub content_length: u64,
}

impl RequestHead {
    /// The bytes up to and with the empty line. The dialects differ in the order of the headers.
    #[must_use]
    pub fn render(&self, dialect: Dialect) -> String {
        let Self {
            path_and_query,
            host,
            unix_date,
            content_length,
        } = self;
        let head = format!("POST {path_and_query} HTTP/1.1\r\nHost: {host}\r\n");
        let agent = format!("User-Agent: {USER_AGENT}\r\n");
        let kind = format!("Content-Type: {CONTENT_TYPE}\r\n");
        let close = "Connection: close\r\n";
        let headers = match dialect {
            Dialect::Reference => format!("{close}{agent}{kind}"),
            Dialect::Starla => format!("{kind}{agent}{close}"),
        };
        let date = unix_date.map_or_else(String::new, |now| format!("Unix-Date: {now}\r\n"));
        format!("{head}{headers}{date}Content-Length: {content_length}\r\n\r\n")
    }
}

/// The footer of a body: an empty line and the session.
#[must_use]
pub fn body_footer(session_id: &str) -> String {
    format!("\nSESSION_ID {session_id}\n")
}

/// Path and query of a post that the probe builds itself; `source` is `oneoff` or `timesync`.
#[must_use]
pub fn path_and_query(probe_id: u32, session_id: &str, source: Option<&str>) -> String {
    let source = source.map_or_else(String::new, |source| format!("&SRC={source}"));
    format!("/?PROBE_ID={probe_id}&SESSION_ID={session_id}{source}")
}

/// What the URL of a received post says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PostQuery {
    /// `PROBE_ID`
    pub probe_id: Option<u32>,
    /// `SESSION_ID`
    pub session_id: Option<String>,
    /// `SRC`: `oneoff`, `timesync`, or neither.
    pub source: Option<String>,
}

impl PostQuery {
    /// Reads path and query. Anything unknown is ignored; of repeated fields the first counts.
    #[must_use]
    pub fn parse(path_and_query: &str) -> Self {
        let mut query = Self::default();
        let fields = path_and_query
            .split_once('?')
            .map_or("", |(_, query)| query);
        for field in fields.split('&') {
            match field.split_once('=') {
                Some(("PROBE_ID", value)) => query.probe_id = query.probe_id.or(value.parse().ok()),
                Some(("SESSION_ID", value)) => {
                    query.session_id.get_or_insert_with(|| value.to_owned());
                }
                Some(("SRC", value)) => {
                    query.source.get_or_insert_with(|| value.to_owned());
                }
                _ => {}
            }
        }
        query
    }
}

/// A received body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostBody<'a> {
    /// The RESULT lines, without line ends.
    pub lines: Vec<&'a str>,
    /// Lines that are none, counted from 1 at the first line after the header.
    pub rejected: Vec<Rejected>,
    /// What the footer names.
    pub session_id: &'a str,
}

/// A line of a body that is no RESULT line. The others are none the worse for it: a probe that is refused a
/// whole batch for one line would send it for ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// Which line, counted from 1 at the first line after the header.
    pub number: usize,
    /// Why.
    pub fault: Fault,
}

/// Why a line of a body is no RESULT line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Fault {
    /// It does not begin with `RESULT `.
    #[error("does not begin with `RESULT `")]
    NotResult,
    /// It is not text.
    #[error("is not UTF-8")]
    NotText,
}

/// Why a body is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum BodyError {
    /// It does not begin with the header.
    #[error("the body does not begin with the line P_TO_C_REPORT")]
    Header,
    /// It does not end with an empty line and a SESSION_ID line.
    #[error("the body does not end with an empty line and a SESSION_ID line")]
    Footer,
    /// The footer's session is none.
    #[error("the SESSION_ID line names no session: 1 to 80 hexadecimal digits are needed")]
    SessionId,
}

impl<'a> PostBody<'a> {
    /// Checks header, RESULT lines and footer.
    ///
    /// # Errors
    /// Header or footer are not as they have to be.
    pub fn parse(body: &'a [u8]) -> Result<Self, BodyError> {
        let rest = body
            .strip_prefix(BODY_HEADER.as_bytes())
            .ok_or(BodyError::Header)?;
        let rest = rest.strip_suffix(b"\n").ok_or(BodyError::Footer)?;
        let footer = rest.iter().rposition(|&byte| byte == b'\n');
        let footer = footer.ok_or(BodyError::Footer)?;
        let (lines, id) = (&rest[..footer], &rest[footer + 1..]);
        let id = id.strip_prefix(b"SESSION_ID ").ok_or(BodyError::Footer)?;
        let session_id = std::str::from_utf8(id)
            .ok()
            .filter(|id| super::registration::SessionId::new(id).is_ok())
            .ok_or(BodyError::SessionId)?;
        let (mut good, mut rejected) = (Vec::new(), Vec::new());
        if !lines.is_empty() {
            // Each line has its own end; what is left before the footer's empty line is nothing.
            let lines = lines.strip_suffix(b"\n").ok_or(BodyError::Footer)?;
            for (index, line) in lines.split(|&byte| byte == b'\n').enumerate() {
                match result_line(line) {
                    Ok(line) => good.push(line),
                    Err(fault) => rejected.push(Rejected {
                        number: index + 1,
                        fault,
                    }),
                }
            }
        }
        Ok(Self {
            lines: good,
            rejected,
            session_id,
        })
    }
}

fn result_line(line: &[u8]) -> Result<&str, Fault> {
    let text = std::str::from_utf8(line).map_err(|_| Fault::NotText)?;
    if text.starts_with("RESULT ") {
        Ok(text)
    } else {
        Err(Fault::NotResult)
    }
}

/// What an upload's `Date` says about our clock (`controller-protocol` section 6.7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClockCheck {
    /// Confirmed: the last synchronisation is now. Not reported.
    InSync,
    /// Right as far as can be told, which is not far. What stands after `RESULT 9015 ongoing <now> `.
    TooSlow(String),
    /// Off. What stands after `RESULT 9015 ongoing <now> `.
    OutOfSync(String),
}

/// Judges our clock by an upload's answer: `now` when its headers were read and the server's `date` are Unix
/// seconds, `rtt_secs` is the time since just before connecting, `tolerance_secs` that of `--set-time`.
#[must_use]
pub fn check_clock(now: f64, date: i64, tolerance_secs: u32, rtt_secs: f64) -> ClockCheck {
    #[expect(
        clippy::cast_precision_loss,
        reason = "seconds since the epoch fit a double for ages"
    )]
    let off = (now - date as f64).abs();
    if off > f64::from(tolerance_secs) + rtt_secs {
        let local = now.floor();
        ClockCheck::OutOfSync(format!(
            "httppost not in sync, local {local}, remote {date}"
        ))
    } else if rtt_secs > MAX_RTT_SECS {
        ClockCheck::TooSlow(format!("httppost rtt {} ms", general(rtt_secs * 1e3)))
    } else {
        ClockCheck::InSync
    }
}

/// C's `%g`: six significant digits, no trailing zeros.
fn general(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return format!("{value}");
    }
    let scientific = format!("{value:.5e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let trim = |text: &str| {
        if text.contains('.') {
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        } else {
            text.to_owned()
        }
    };
    match usize::try_from(5 - exponent) {
        Ok(decimals) if exponent >= -4 => trim(&format!("{value:.decimals$}")),
        _ => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{}e{sign}{:02}", trim(digits), exponent.abs())
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: &str = "fa0b28e5f26291ad4a41ceecffc73457cbb4180291f53abdcda5667357440a9f";

    fn head(unix_date: Option<i64>) -> RequestHead {
        RequestHead {
            path_and_query: path_and_query(1_015_186, "fa0b28e5", None),
            host: "127.0.0.1".to_owned(),
            unix_date,
            content_length: 1234,
        }
    }

    #[test]
    fn the_head_in_the_order_of_the_official_probe() {
        assert_eq!(
            head(None).render(Dialect::Reference),
            "POST /?PROBE_ID=1015186&SESSION_ID=fa0b28e5 HTTP/1.1\r\n\
             Host: 127.0.0.1\r\n\
             Connection: close\r\n\
             User-Agent: httppost for atlas.ripe.net\r\n\
             Content-Type: application/x-www-form-urlencoded\r\n\
             Content-Length: 1234\r\n\r\n"
        );
        assert!(
            head(Some(1_700_000_000))
                .render(Dialect::Reference)
                .contains("urlencoded\r\nUnix-Date: 1700000000\r\nContent-Length: 1234\r\n\r\n")
        );
    }

    #[test]
    fn the_head_in_the_order_of_the_protocol_reference() {
        assert_eq!(
            head(None).render(Dialect::Starla),
            "POST /?PROBE_ID=1015186&SESSION_ID=fa0b28e5 HTTP/1.1\r\n\
             Host: 127.0.0.1\r\n\
             Content-Type: application/x-www-form-urlencoded\r\n\
             User-Agent: httppost for atlas.ripe.net\r\n\
             Connection: close\r\n\
             Content-Length: 1234\r\n\r\n"
        );
    }

    #[test]
    fn urls_of_the_probes_own_posts() {
        assert_eq!(
            path_and_query(7, "ab", Some("oneoff")),
            "/?PROBE_ID=7&SESSION_ID=ab&SRC=oneoff"
        );
        assert_eq!(
            PostQuery::parse("/?PROBE_ID=7&SESSION_ID=ab&SRC=timesync"),
            PostQuery {
                probe_id: Some(7),
                session_id: Some("ab".to_owned()),
                source: Some("timesync".to_owned())
            }
        );
        assert_eq!(PostQuery::parse("/"), PostQuery::default());
        assert_eq!(
            PostQuery::parse("/?X&PROBE_ID=-1&PROBE_ID=8").probe_id,
            Some(8)
        );
    }

    #[test]
    fn a_body_without_results_has_91_bytes() {
        let body = format!("{BODY_HEADER}{}", body_footer(ID));
        assert_eq!(body.len(), 91);
        assert_eq!(
            PostBody::parse(body.as_bytes()),
            Ok(PostBody {
                lines: vec![],
                rejected: vec![],
                session_id: ID
            })
        );
    }

    #[test]
    fn a_body_with_results() {
        let body = b"P_TO_C_REPORT\nRESULT { \"id\":\"9018\" }\nRESULT 9901 ongoing 1 starla\n\nSESSION_ID ab\n";
        let parsed = PostBody::parse(body).unwrap();
        assert_eq!(
            parsed.lines,
            ["RESULT { \"id\":\"9018\" }", "RESULT 9901 ongoing 1 starla"]
        );
        assert_eq!((parsed.rejected.len(), parsed.session_id), (0, "ab"));
    }

    #[test]
    fn lines_that_are_no_results_do_not_spoil_the_others() {
        let body = b"P_TO_C_REPORT\nRESULT 1\nresult 2\n\n\xff\nRESULT 3\n\nSESSION_ID ab\n";
        let parsed = PostBody::parse(body).unwrap();
        assert_eq!(parsed.lines, ["RESULT 1", "RESULT 3"]);
        let rejected: Vec<(usize, Fault)> = parsed
            .rejected
            .iter()
            .map(|rejected| (rejected.number, rejected.fault))
            .collect();
        assert_eq!(
            rejected,
            [
                (2, Fault::NotResult),
                (3, Fault::NotResult),
                (4, Fault::NotText)
            ]
        );
    }

    #[test]
    fn bodies_without_header_or_footer_are_refused() {
        for (body, error) in [
            (&b""[..], BodyError::Header),
            (b"RESULT 1\n\nSESSION_ID ab\n", BodyError::Header),
            (b"P_TO_C_REPORT\r\n\nSESSION_ID ab\n", BodyError::Header),
            (b"P_TO_C_REPORT\n", BodyError::Footer),
            (b"P_TO_C_REPORT\nSESSION_ID ab\n", BodyError::Footer),
            (
                b"P_TO_C_REPORT\nRESULT 1\nSESSION_ID ab\n",
                BodyError::Footer,
            ),
            (
                b"P_TO_C_REPORT\nRESULT 1\n\nSESSION_ID ab",
                BodyError::Footer,
            ),
            (
                b"P_TO_C_REPORT\nRESULT 1\n\nSESSION ab\n",
                BodyError::Footer,
            ),
            (b"P_TO_C_REPORT\n\nSESSION_ID \n", BodyError::SessionId),
            (b"P_TO_C_REPORT\n\nSESSION_ID xyz\n", BodyError::SessionId),
            (b"P_TO_C_REPORT\n\nSESSION_ID a b\n", BodyError::SessionId),
        ] {
            assert_eq!(PostBody::parse(body), Err(error), "{body:?}");
        }
    }

    #[test]
    fn a_clock_within_the_tolerance_is_confirmed() {
        for now in [97.5, 98.0, 100.0, 102.5] {
            assert_eq!(check_clock(now, 100, 2, 0.5), ClockCheck::InSync);
        }
        assert_eq!(check_clock(100.0, 100, 2, 1.0), ClockCheck::InSync);
    }

    #[test]
    fn a_clock_that_is_off_is_reported() {
        for (now, rtt) in [(97.4, 0.5), (102.6, 0.5), (3700.0, 1.5)] {
            assert!(matches!(
                check_clock(now, 100, 2, rtt),
                ClockCheck::OutOfSync(_)
            ));
        }
        assert_eq!(
            check_clock(1_700_003_600.75, 1_700_000_000, 2, 0.01),
            ClockCheck::OutOfSync(
                "httppost not in sync, local 1700003600, remote 1700000000".to_owned()
            )
        );
    }

    #[test]
    fn a_slow_answer_widens_the_tolerance_and_confirms_nothing() {
        assert_eq!(
            check_clock(104.0, 100, 2, 2.000_92),
            ClockCheck::TooSlow("httppost rtt 2000.92 ms".to_owned())
        );
    }

    #[test]
    fn general_numbers_as_c_prints_them() {
        for (value, text) in [
            (0.0, "0"),
            (2000.0, "2000"),
            (1234.5, "1234.5"),
            (299_999.96, "300000"),
            (123_456.7, "123457"),
            (1_234_567.0, "1.23457e+06"),
            (999_999.9, "1e+06"),
            (0.000_123_456_78, "0.000123457"),
            (0.000_012_3, "1.23e-05"),
            (-2.5, "-2.5"),
        ] {
            assert_eq!(general(value), text);
        }
    }

    proptest! {
        #[test]
        fn bodies_survive_the_trip(results in proptest::collection::vec("RESULT [ -~]{0,60}", 0..9), id in "[0-9a-f]{1,80}") {
            let lines: String = results.iter().map(|line| format!("{line}\n")).collect();
            let body = format!("{BODY_HEADER}{lines}{}", body_footer(&id));
            let parsed = PostBody::parse(body.as_bytes()).unwrap();
            prop_assert_eq!(parsed.lines, results);
            prop_assert_eq!(parsed.session_id, id);
        }

        #[test]
        fn any_body_is_taken_or_refused(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = PostBody::parse(&body);
            let _ = PostBody::parse(&[BODY_HEADER.as_bytes(), &body, b"\n\nSESSION_ID ab\n"].concat());
        }

        #[test]
        fn any_times_are_judged(now in -1e12f64..1e12, date: i64, tolerance: u32, rtt in 0.0f64..1e9) {
            let _ = check_clock(now, date, tolerance, rtt);
        }
    }
}
