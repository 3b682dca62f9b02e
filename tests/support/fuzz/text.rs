//! Lines, files and recorded runs: what somebody wrote, read by us.

use starling::{
    config::{self, Config},
    controller,
    dialect::Dialect,
    measurement::{Head, Outcome, Spec, Version, transcript},
    net::recording,
    protocol::words,
    report::parse,
    result::{Content, MAX_LINE, Received},
};

use super::{bytes::Bytes, protocol::rules};

/// A RESULT line as a controller gets it.
pub(crate) fn result(data: &[u8]) {
    let line = String::from_utf8_lossy(data);
    for line in [line.clone().into_owned(), format!("RESULT {line}")] {
        let Ok(received) = Received::parse(&line) else {
            continue;
        };
        assert!(line.len() <= MAX_LINE);
        let id = received.id.as_deref().unwrap_or("0");
        assert!(!id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit()));
        let measured = received.has_measurement();
        if let Content::Object(object) = received.content {
            let again = serde_json::to_string(&object).expect("an object can be written");
            let again = Received::parse(&format!("RESULT {again}"));
            assert!(again.is_ok_and(|again| again.has_measurement() == measured));
        }
    }
}

/// Configuration files of agent and controller.
pub(crate) fn config(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let _ = text.parse::<Config>();
    let _ = config::parse_duration(&text);
    if let Ok(config) = toml_of(&text) {
        let _ = config.check();
    }
}

fn toml_of(text: &str) -> Result<controller::Config, toml::de::Error> {
    toml::from_str(text)
}

/// What the kernel and the system say of themselves.
pub(crate) fn system(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let most = 64;
    assert!(parse::routes(&text, most).len() <= most);
    assert!(parse::routes6(&text, most).len() <= most);
    assert!(parse::inet6(&text, most).len() <= most);
    let _ = parse::interfaces(&text);
    let _ = parse::nameservers(&text);
    let _ = parse::os_release(&text);
    let _ = parse::uptime(&text);
}

/// A transcript: an error, or a text that replays into itself.
pub(crate) fn transcript(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(replayed) = transcript::replay(&text) {
        assert_eq!(transcript::replay(&replayed).as_ref(), Ok(&replayed));
    }
}

/// A command on one line, then a recording of it. The first byte says which dialect.
pub(crate) fn recording(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    let dialect = bytes.of(&Dialect::ALL);
    let command = String::from_utf8_lossy(bytes.line()).into_owned();
    let recorded = bytes.rest();
    let Some(spec) = spec(&command, dialect) else {
        return;
    };
    if let Ok(outcome) = recording::replay(&spec, recorded, recording::test_clock()) {
        hold_lines(&spec, &outcome);
    }
}

/// A command, if it is one.
pub(crate) fn spec(command: &str, dialect: Dialect) -> Option<Spec> {
    let words = words::split_one_off(command).ok()?;
    Spec::parse(&words, &rules(dialect)).ok()
}

/// The lines of a finished run are one line of JSON each, and a controller takes them.
pub(crate) fn hold_lines(spec: &Spec, outcome: &Outcome) {
    let head: Head = spec.head(&Version::of_tests());
    for body in &outcome.bodies {
        assert_eq!(body.kind(), spec.kind());
        for dialect in Dialect::ALL {
            let line = body.line(&head, dialect);
            let json = line.strip_prefix("RESULT ").expect("a RESULT line");
            assert!(json.ends_with('\n') && json.matches('\n').count() == 1);
            let value: Result<serde_json::Value, _> = serde_json::from_str(json);
            assert!(
                value.as_ref().is_ok_and(serde_json::Value::is_object),
                "{dialect}: {line}"
            );
            assert!(line.len() > MAX_LINE || Received::parse(&line).is_ok());
        }
    }
}
