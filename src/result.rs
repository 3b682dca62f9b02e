//! A finished measurement and its RESULT line, written and read.
//!
//! Writing is the agent's side: a [`Document`] joins what was measured with who measured it. Reading is the
//! controller's side: [`Received::parse`] takes a line that some probe sent, ours or the official one, and is
//! as tolerant as a controller has to be (`packet-measurements` section 6 lists output of the official probe
//! that is no JSON) while a stranger's line can cost neither much memory nor much time.

use serde_json::{Map, Value};

use crate::{
    dialect::Dialect,
    measurement::{Body, Head},
};

/// The longest line that is read, in octets: a TLS chain or a `resultset` stays far below it.
pub const MAX_LINE: usize = 1 << 20;

/// How deep the items of a result lie: list of hops, hop, list of replies, reply.
const MAX_DEPTH: usize = 8;

/// A finished measurement with who and which.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// Which measurement and which software.
    pub head: Head,
    /// What was measured.
    pub body: Body,
}

impl Document {
    /// The RESULT line, with its line end. The one place where a measurement meets the dialect.
    #[must_use]
    pub fn line(&self, dialect: Dialect) -> String {
        self.body.line(&self.head, dialect)
    }
}

/// A RESULT line as a controller reads it.
#[derive(Clone, Debug, PartialEq)]
pub struct Received {
    /// The measurement's number, as digits. Absent in results of commands without `-A`.
    pub id: Option<String>,
    /// Unix time that the line gives, in seconds.
    pub time: Option<i64>,
    /// What the line says.
    pub content: Content,
}

/// What a RESULT line says.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// A JSON object: measurements and most status reports.
    Object(Map<String, Value>),
    /// The words of a plain-text line after the number: `ongoing 1700000000 …`, `done 1700000000 …`.
    Text(String),
}

/// Why a line is no RESULT line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResultError {
    /// Too long to be one.
    #[error("line of {0} octets: a RESULT line has at most {MAX_LINE}")]
    TooLong(usize),
    /// Another first word.
    #[error("line begins with `{0}`: expected `RESULT`")]
    NoPrefix(String),
    /// Neither an object nor a number and words.
    #[error("`RESULT {0}`: expected a JSON object or `<number> ongoing|done …`")]
    NoForm(String),
    /// The object is no JSON, not even with the known slips of the official probe mended.
    #[error("bad JSON after RESULT: {0}")]
    Json(String),
    /// The number is none.
    #[error("bad measurement number `{0}`: expected digits")]
    Id(String),
}

impl Received {
    /// Reads one line, with or without its line end.
    ///
    /// # Errors
    /// What keeps it from being a RESULT line.
    pub fn parse(line: &str) -> Result<Self, ResultError> {
        if line.len() > MAX_LINE {
            return Err(ResultError::TooLong(line.len()));
        }
        let line = line.trim_end_matches(['\r', '\n']);
        let rest = line
            .strip_prefix("RESULT ")
            .ok_or_else(|| ResultError::NoPrefix(excerpt(line)))?
            .trim_start_matches(' ');
        if rest.starts_with('{') {
            Self::parse_object(rest)
        } else {
            Self::parse_text(rest)
        }
    }

    fn parse_object(text: &str) -> Result<Self, ResultError> {
        let object: Map<String, Value> = serde_json::from_str(text)
            .or_else(|error| serde_json::from_str(&mended(text)).map_err(|_| error))
            .map_err(|error| ResultError::Json(error.to_string()))?;
        let id = match object.get("id") {
            None => None,
            Some(Value::String(id)) => Some(id.clone()),
            Some(Value::Number(id)) => Some(id.to_string()),
            Some(other) => return Err(ResultError::Id(excerpt(&other.to_string()))),
        };
        if let Some(id) = &id
            && !id.bytes().all(|octet| octet.is_ascii_digit())
        {
            return Err(ResultError::Id(excerpt(id)));
        }
        Ok(Self {
            id: id.filter(|id| !id.is_empty()),
            time: object.get("time").and_then(Value::as_i64),
            content: Content::Object(object),
        })
    }

    fn parse_text(text: &str) -> Result<Self, ResultError> {
        let no_form = || ResultError::NoForm(excerpt(text));
        let (id, words) = text.split_once(' ').ok_or_else(no_form)?;
        if id.is_empty() || !id.bytes().all(|octet| octet.is_ascii_digit()) {
            return Err(no_form());
        }
        let mut each = words.split_ascii_whitespace();
        if !matches!(each.next(), Some("ongoing" | "done")) {
            return Err(no_form());
        }
        Ok(Self {
            id: Some(id.to_owned()),
            time: each.next().and_then(|time| time.parse().ok()),
            content: Content::Text(words.to_owned()),
        })
    }

    /// Whether the line holds at least one thing that was measured, rather than only errors or losses: a round
    /// trip (ping, NTP), a hop that answered (traceroute), a response time (DNS, HTTP, TLS).
    #[must_use]
    pub fn has_measurement(&self) -> bool {
        match &self.content {
            Content::Object(object) => is_measured(object, MAX_DEPTH),
            Content::Text(_) => false,
        }
    }
}

/// Whether a result object, or one of the items it holds, reports something measured.
fn is_measured(object: &Map<String, Value>, depth: usize) -> bool {
    let Some(depth) = depth.checked_sub(1) else {
        return false;
    };
    let time = |name| object.get(name).is_some_and(Value::is_number);
    time("rtt")
        || time("rt")
        || object.get("from").is_some_and(Value::is_string)
        || ["result", "resultset"]
            .iter()
            .filter_map(|name| object.get(*name))
            .any(|value| match value {
                Value::Object(item) => is_measured(item, depth),
                Value::Array(items) => items
                    .iter()
                    .filter_map(Value::as_object)
                    .any(|item| is_measured(item, depth)),
                _ => false,
            })
}

/// The same text with the slips that the official probe is known for set right: a comma left out between two
/// members or written twice, a list that is not closed, closing brackets too many (`packet-measurements`
/// section 6, `http-tls-measurements` section 3.5, `dns-measurement` section 10). Text that was cut off stays broken.
fn mended(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    let mut open = Vec::new();
    let mut chars = text.chars();
    // The last character that is no white space, outside of strings.
    let mut last = ' ';
    while let Some(c) = chars.next() {
        match c {
            '"' => {
                if last.is_ascii_digit() || matches!(last, '"' | '}' | ']') {
                    out.push(',');
                }
                out.push('"');
                copy_string(&mut chars, &mut out);
            }
            ',' if matches!(last, ',' | '{' | '[') => continue,
            '{' | '[' => {
                open.push(c);
                out.push(c);
            }
            '}' => {
                if open.last() == Some(&'[') {
                    open.pop();
                    out.push(']');
                }
                if open.pop().is_some() {
                    out.push('}');
                }
            }
            ']' if open.is_empty() => {}
            ']' => {
                open.pop();
                out.push(']');
            }
            _ => out.push(c),
        }
        if !c.is_whitespace() {
            last = c;
        }
    }
    out
}

/// Copies a JSON string after its opening quote, up to and with its closing one.
fn copy_string(chars: &mut std::str::Chars<'_>, out: &mut String) {
    while let Some(c) = chars.next() {
        out.push(c);
        match c {
            '"' => return,
            '\\' => out.extend(chars.next()),
            _ => {}
        }
    }
}

/// The beginning of a stranger's text, short enough for a message.
fn excerpt(text: &str) -> String {
    const MAX: usize = 60;
    match text.char_indices().nth(MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Received {
        Received::parse(line).unwrap()
    }

    #[test]
    fn a_ping_result_gives_number_time_and_round_trips() {
        let line = "RESULT { \"id\":\"1001\", \"fw\":5120, \"mver\": \"2.6.4\", \"lts\":12, \"time\":1700000003, \
                    \"dst_name\":\"198.51.100.7\", \"af\":4, \"result\": [ { \"x\":\"*\" }, { \"rtt\":10.498211 } ] }\n";
        let received = parse(line);
        assert_eq!(received.id.as_deref(), Some("1001"));
        assert_eq!(received.time, Some(1_700_000_003));
        assert!(received.has_measurement());
    }

    #[test]
    fn losses_and_errors_are_no_measurement() {
        for items in [
            r#"[ { "x":"*" }, { "x":"*" } ]"#,
            r#"[ { "error":"address not allowed" } ]"#,
            "[  ]",
        ] {
            let line = format!(r#"RESULT {{ "id":"1", "time":2, "result": {items} }}"#);
            assert!(!parse(&line).has_measurement(), "{items}");
        }
    }

    #[test]
    fn every_type_shows_what_it_measured() {
        for measured in [
            r#""result": [ { "hop":1, "result": [ { "x":"*" }, { "from":"192.0.2.1", "ttl":64 } ] } ]"#,
            r#""result" : { "rt" : 1.207,"size" : 54 }"#,
            r#""resultset" : [ {"subid" : 1 , "error" : { "timeout" : 5000}}, {"subid" : 2 , "result" : { "rt" : 1.2 }}]"#,
            r#""result":[ { "method":"GET", "af": 4, "rt":106.612889, "res":200 } ]"#,
            r#""method":"TLS", "ttc": 0.1, "rt": 0.3, "cert":[  ]"#,
            r#""result": [ { "origin-ts": 3908988800.25, "rtt": 0.02, "offset": -0.04 } ]"#,
        ] {
            assert!(
                parse(&format!("RESULT {{ {measured} }}")).has_measurement(),
                "{measured}"
            );
        }
        for failed in [
            r#""result": [ { "hop":1, "result": [ { "x":"*" } ] }, { "hop":255, "error":"connect failed: x" } ]"#,
            r#""result": [ { "error":"name resolution failed: x" } ]"#,
            r#""error" : { "timeout" : 5000}"#,
            r#""result": { "error":{"timeout":5000} }"#,
            r#""resultset" : [ {"subid" : 1 , "error" : {"nameserver": "no local resolvers found"}}]"#,
            r#""result":[ { "err":"connect: timeout", "method":"GET", "af": 4 } ]"#,
            r#""result":[ { "dnserr":"x" } ]"#,
        ] {
            assert!(
                !parse(&format!("RESULT {{ {failed} }}")).has_measurement(),
                "{failed}"
            );
        }
    }

    #[test]
    fn status_lines_are_read_in_both_forms() {
        let uptime = parse(
            r#"RESULT { "id": "7001", "fw":5120, "mver": "2.6.4", "time": 7, "lts": 0, "uptime": 9 }"#,
        );
        assert_eq!((uptime.id.as_deref(), uptime.time), (Some("7001"), Some(7)));
        let busy = parse(
            r#"RESULT { "fw":5120, "mver": "2.6.4","id" : 9202 ,"time" : 5 ,"error" : [{"id" : "1"}]}"#,
        );
        assert_eq!(busy.id.as_deref(), Some("9202"));
        let ongoing = parse("RESULT 9901 ongoing 1775483034 starla");
        assert_eq!(ongoing.id.as_deref(), Some("9901"));
        assert_eq!(ongoing.time, Some(1_775_483_034));
        assert_eq!(
            ongoing.content,
            Content::Text("ongoing 1775483034 starla".to_owned())
        );
        let done = parse("RESULT 9000 done 17 525400123456 STARTING TELNETD LOCALLY\r\n");
        assert_eq!((done.time, done.has_measurement()), (Some(17), false));
    }

    #[test]
    fn slips_of_the_official_probe_are_mended() {
        for (line, measured) in [
            (
                r#"RESULT { "id":"42", "fw":9999, "mver": "0.0.0", "lts":123"bundle":43, , "time":9, "rt": 2.0, "cert":[ "x, , y" ] }"#,
                true,
            ),
            (
                r#"RESULT { "af": 4, "result": [ { "x":"*" }, { "error":"sendto failed: No route to host" } ] } ] }"#,
                false,
            ),
            (r#"RESULT { "af": 4, "result": [  } ] }"#, false),
            (
                r#"RESULT { "result": [ { "rtt": 0.1 }, { , "version": 3, "rtt": 0.2 } ] }"#,
                true,
            ),
            (
                r#"RESULT { "result": [ { "hop":1, "result": [  } ] }"#,
                false,
            ),
            (
                r#"RESULT { "result" : { "rt" : 1.5,"answers" : [ {"TYPE" : "TXT" , "RDATA" : [ "a" ] } } }"#,
                true,
            ),
        ] {
            assert_eq!(parse(line).has_measurement(), measured, "{line}");
        }
    }

    #[test]
    fn what_is_no_result_line_is_refused_with_the_reason() {
        let error = |line: &str| Received::parse(line).unwrap_err();
        assert_eq!(
            error("P_TO_C_REPORT"),
            ResultError::NoPrefix("P_TO_C_REPORT".to_owned())
        );
        assert!(matches!(error("RESULT "), ResultError::NoForm(_)));
        assert!(matches!(error("RESULT 9901"), ResultError::NoForm(_)));
        assert!(matches!(
            error("RESULT 9901 maybe 5"),
            ResultError::NoForm(_)
        ));
        assert!(matches!(
            error(r#"RESULT { "id":"1001", "result": [ { "rtt":10.4"#),
            ResultError::Json(_)
        ));
        assert!(matches!(
            error(r#"RESULT { "id":"../1" }"#),
            ResultError::Id(_)
        ));
        assert!(matches!(error(r#"RESULT { "id":[] }"#), ResultError::Id(_)));
        let long = format!("RESULT {}", " ".repeat(MAX_LINE));
        assert!(matches!(error(&long), ResultError::TooLong(_)));
        let deep = format!("RESULT {{ \"result\": {}", "[".repeat(100_000));
        assert!(matches!(error(&deep), ResultError::Json(_)));
    }

    #[test]
    fn a_deep_result_is_not_searched_without_end() {
        let deep = format!(
            "RESULT {}{{ \"rtt\":1 }}{}",
            r#"{ "result":"#.repeat(30),
            "}".repeat(30)
        );
        assert!(!parse(&deep).has_measurement());
    }

    proptest::proptest! {
        #[test]
        fn no_line_panics(line in "(RESULT )?[ {}\\[\\]\",:a-z0-9\\\\é]{0,80}") {
            let _ = Received::parse(&line);
        }
    }
}
