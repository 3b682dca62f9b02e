//! The controller's language: nothing that a stranger says panics, nothing depends on how it was chunked, and what
//! was understood can be said again.

use std::sync::Arc;

use starling::{
    clock::{Now, Tick, UnixTime},
    controller::telnet::{Dialogue, Heard, Outcome, Say},
    dialect::Dialect,
    measurement::{Rules, Spec},
    protocol::{
        command::Command,
        crontab::{CronLine, Crontab},
        date,
        post::{self, PostBody, PostQuery},
        registration::{
            Answer, InitAnswer, InitReply, InitVerdict, Reply, Request, SessionId, Verdict,
        },
        response::{Response, ResponseParser},
        telnet::{self, Line, LineDecoder},
        utility::{OneOff, Task},
        words,
    },
    session::interpreter::{Change, ConnectionId, Input, Interpreter, Output},
    upload::duty::Duty,
};

use super::bytes::{Bytes, pieces};

/// What the text inputs of these targets say where a session is needed.
pub(crate) const SESSION: &str = "fa0b28e5";

/// The ground rules for commands.
pub(crate) fn rules(dialect: Dialect) -> Rules {
    Rules {
        dialect,
        spool: "/var/spool/ripe-atlas".into(),
        unsafe_paths: false,
    }
}

fn session() -> SessionId {
    SessionId::new(SESSION).expect("eight hexadecimal digits")
}

/// Lines of a connection. First byte: the pieces.
pub(crate) fn telnet(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    let seed = bytes.byte();
    let text = bytes.rest();
    let mut whole = LineDecoder::new();
    let lines = whole.push(text);
    let mut pieced = LineDecoder::new();
    let mut again = Vec::new();
    for piece in pieces(text, seed) {
        again.extend(pieced.push(piece));
        assert!(pieced.pending() <= telnet::MAX_LINE);
    }
    assert_eq!(lines, again);
    assert_eq!(whole.pending(), pieced.pending());
    for line in lines {
        if let Line::Text(line) = line {
            assert!(line.len() <= telnet::MAX_LINE);
            assert!(!line.contains(&b'\n') && !line.contains(&0));
        }
    }
}

/// The dialogue on two connections. First byte: the dialect and whether both are logged in already; then what
/// happens, one byte each with what it needs.
pub(crate) fn interpreter(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    let flags = bytes.byte();
    let dialect = Dialect::ALL[usize::from(flags & 1)];
    let script = said(&mut bytes, flags);
    let whole = dialogue_of(dialect, &script, 255);
    assert_eq!(whole, dialogue_of(dialect, &script, 1));
    let spoken: usize = script.iter().map(|(_, text)| text.len() + 1).sum();
    // Nothing is amplified but a line's end, into an error reply, and an opened connection, into a greeting.
    let replied: usize = whole.iter().map(|said| said.0.len()).sum();
    assert!(replied <= 200 + 160 * spoken, "{replied} of {spoken}");
}

/// What is said on which connection; no text stands for a new connection.
fn said(bytes: &mut Bytes<'_>, flags: u8) -> Vec<(u64, Vec<u8>)> {
    let login = format!("{}\n{SESSION}\n", telnet::LOGIN).into_bytes();
    let mut script = Vec::new();
    if flags & 2 != 0 {
        script.extend([(0, Vec::new()), (0, login.clone())]);
    }
    if flags & 4 != 0 {
        // The rest is one connection's text.
        script.push((0, bytes.rest().to_vec()));
    }
    while !bytes.is_empty() {
        let head = bytes.byte();
        let id = u64::from(head & 1);
        script.push(match head >> 1 & 3 {
            0 => (id, Vec::new()),
            1 => (id, login.clone()),
            _ => (id, bytes.chunk().to_vec()),
        });
    }
    script
}

type Spoken = (Vec<u8>, Vec<Change>, Vec<ConnectionId>);

/// What is replied, changed and closed after each part of the script.
fn dialogue_of(dialect: Dialect, script: &[(u64, Vec<u8>)], size: u8) -> Vec<Spoken> {
    let mut interpreter = Interpreter::new(dialect);
    interpreter.set_identity(Some(1), "host");
    interpreter.set_session(Some(session()));
    let mut now = Now::new(Tick::from_secs(1), UnixTime::from_secs(1_700_000_000), -1);
    let mut spoken = Vec::new();
    for (id, text) in script {
        let id = ConnectionId(*id);
        let inputs = if text.is_empty() {
            vec![Input::Closed(id), Input::Opened(id)]
        } else {
            let pieces = pieces(text, size);
            pieces
                .map(|piece| Input::Bytes(id, piece.to_vec()))
                .collect()
        };
        let (mut replies, mut changes, mut closed) = (Vec::new(), Vec::new(), Vec::new());
        for output in inputs
            .into_iter()
            .flat_map(|input| interpreter.handle(&mut now, input))
        {
            match output {
                Output::Reply(_, bytes) => replies.extend(bytes),
                Output::Change(change) => changes.push(change),
                Output::Close(id) => closed.push(id),
            }
        }
        spoken.push((replies, changes, closed));
    }
    spoken
}

/// The controller's side of it. First byte: the pieces; second: how many lines it sends. What it sends is on its way
/// until the next NUL.
pub(crate) fn dialogue(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    let (seed, lines) = (bytes.byte(), bytes.byte() % 4);
    let lines = vec!["CRONTAB /home/atlas/crons/7".to_owned(); lines.into()];
    let text = bytes.rest();
    let [pieced, single] = [seed, 0].map(|size| controller(text, size, &lines));
    assert_eq!(pieced, single);
}

/// Holds a dialogue with a probe that says this in pieces; how it ends.
fn controller(text: &[u8], size: u8, lines: &[String]) -> Outcome {
    let now = Tick::from_millis(1);
    let mut dialogue = Dialogue::new(Tick::default(), session(), Arc::new(lines.to_vec()));
    let (mut done, mut sent) = (None, 0);
    let mut take = |said: Vec<Say>| {
        let mut sends = false;
        for say in said {
            assert!(done.is_none(), "nothing after the end");
            match say {
                Say::Send(bytes) => (sends, sent) = (true, sent + bytes.len()),
                Say::Done(outcome) => done = Some(outcome),
            }
        }
        (sends, done.is_some())
    };
    for part in text.split(|byte| *byte == 0) {
        let mut sends = false;
        for piece in pieces(part, size) {
            let (more, over) = take(dialogue.handle(now, Heard::Bytes(piece)));
            sends |= more;
            assert_eq!(over, dialogue.deadline().is_none());
        }
        while sends {
            (sends, _) = take(dialogue.handle(now, Heard::Sent));
        }
    }
    let (_, over) = take(dialogue.handle(now, Heard::Closed));
    assert!(over && dialogue.deadline().is_none(), "closed is the end");
    assert!(sent < 1 << 10);
    let outcome = done.expect("it is over");
    assert!(outcome.sent <= lines.len());
    outcome
}

/// One line of a logged-in connection.
pub(crate) fn command(data: &[u8]) {
    let Ok(command) = Command::parse(data) else {
        return;
    };
    let line = command.render();
    assert_eq!(Command::parse(line.as_bytes()).as_ref(), Ok(&command));
    match command {
        Command::Json(json) => parse_spec(&json.words()),
        Command::OneOff { command, .. } => one_off(&command),
        Command::Cronline { text } => cronline(&text),
        Command::Crontab { table } => {
            assert!(!table.contains("..") && !table.starts_with('/'));
        }
        Command::Reboot | Command::Reload | Command::End => {}
    }
}

/// The lines of a table.
pub(crate) fn crontab(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let lines: Vec<&str> = text.lines().collect();
    let table = Crontab::parse(&lines);
    assert!(table.lines.len() + table.skipped.len() <= lines.len());
    for line in lines {
        cronline(line);
        one_off(line);
    }
}

fn cronline(text: &str) {
    let Ok(line) = CronLine::parse(text) else {
        return;
    };
    let written = line.to_string();
    assert_eq!(CronLine::parse(&written).as_ref(), Ok(&line));
    assert!(line.interval <= 63_244_800);
    let _ = Task::of_main_table(&line.command);
    let _ = Duty::of_main(&line);
    let _ = Duty::of_measurement_table(&line);
    if let Ok(Task::Measure(words)) = Task::of_measurement_table(&line.command) {
        same_words(&words);
        parse_spec(&words);
    }
}

fn one_off(text: &str) {
    if let Ok(OneOff::Measure(words)) = OneOff::parse(text) {
        same_words(&words);
        parse_spec(&words);
    }
}

/// Words that were read can be written.
fn same_words(read: &[String]) {
    if read.iter().any(|word| word.contains('"')) {
        return;
    }
    let quoted: Vec<String> = read.iter().map(|word| words::quote(word)).collect();
    assert_eq!(
        words::split_one_off(&quoted.join(" ")).as_deref(),
        words::split_one_off(&quoted.join("  ")).as_deref()
    );
    if read.len() <= 61 {
        assert_eq!(words::split_one_off(&quoted.join(" ")).as_deref(), Ok(read));
    }
}

/// A command is refused or taken, and what it stores stays below the spool.
fn parse_spec(words: &[String]) {
    for dialect in Dialect::ALL {
        if let Ok(spec) = Spec::parse(words, &rules(dialect)) {
            let files = [
                &spec.common.output,
                &spec.common.record,
                &spec.common.replay,
            ];
            for file in files.into_iter().flatten() {
                assert!(file.starts_with("/var/spool/ripe-atlas"), "{file:?}");
                let up = file.components().any(|part| part.as_os_str() == "..");
                assert!(!up, "{file:?}");
            }
        }
    }
}

/// Answers to registration and INIT, and the INIT block.
pub(crate) fn registration(data: &[u8]) {
    let in_bounds = |secs: u32| assert!((100..=2_419_200).contains(&secs), "{secs}");
    let answer = Answer::parse(data);
    match answer.verdict {
        Verdict::Wait { secs, .. } => in_bounds(secs),
        Verdict::Nothing => {}
        Verdict::Ok {
            controller,
            reregister_secs,
        } => {
            reregister_secs.into_iter().for_each(in_bounds);
            if let Some(controller) = controller {
                assert_ne!(controller.port, 0);
                let reply = Reply::Assigned {
                    controller: controller.clone(),
                    reregister_secs: None,
                    probe_id: 1,
                };
                let again = Answer::parse(reply.render().as_bytes());
                let expected = Verdict::Ok {
                    controller: Some(controller),
                    reregister_secs: None,
                };
                assert_eq!((again.verdict, again.probe_id), (expected, Some(1)));
            }
        }
    }
    match InitAnswer::parse(data).verdict {
        InitVerdict::Wait { secs, .. } => in_bounds(secs),
        InitVerdict::Ok {
            remote_port: Some(remote_port),
            session_id: Some(session_id),
        } => {
            assert_ne!(remote_port, 0);
            let reply = InitReply::Session {
                remote_port,
                session_id: session_id.clone(),
            };
            let expected = InitVerdict::Ok {
                remote_port: Some(remote_port),
                session_id: Some(session_id),
            };
            let again = InitAnswer::parse(reply.render().as_bytes());
            assert_eq!(again.verdict, expected);
        }
        _ => {}
    }
    if let Ok(request) = Request::parse(data) {
        assert_eq!(Request::parse(request.render().as_bytes()), Ok(request));
    }
}

/// The body of a post, and its path.
pub(crate) fn post(data: &[u8]) {
    let _ = PostQuery::parse(&String::from_utf8_lossy(data));
    let Ok(body) = PostBody::parse(data) else {
        return;
    };
    let mut again = post::BODY_HEADER.to_owned();
    for line in &body.lines {
        assert!(line.starts_with("RESULT ") && !line.contains('\n'));
        again.push_str(line);
        again.push('\n');
    }
    again += &post::body_footer(body.session_id);
    let again = PostBody::parse(again.as_bytes()).expect("what was written can be read");
    assert_eq!(again.lines, body.lines);
    assert_eq!(again.session_id, body.session_id);
    assert!(again.rejected.is_empty());
    let numbers: Vec<usize> = body.rejected.iter().map(|line| line.number).collect();
    assert!(numbers.is_sorted());
    let lines = numbers.len() + body.lines.len();
    assert!(numbers.last().is_none_or(|last| *last <= lines));
}

/// The answer to a post. First byte: the pieces.
pub(crate) fn response(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    let seed = bytes.byte();
    let text = bytes.rest();
    let whole = answer(std::iter::once(text));
    assert_eq!(whole, answer(pieces(text, seed)));
    assert_eq!(whole, answer(pieces(text, 0)));
    if let Some(response) = whole {
        assert!(response.body.len() <= 16 << 10);
        let later = response.retry_after.map(|after| after.seconds_from(0));
        assert!(later.is_none_or(|later| later < u64::MAX || !response.accepted()));
    }
}

fn answer<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Option<Response> {
    let mut parser = ResponseParser::new();
    for piece in pieces {
        if let Some(response) = parser.push(piece).ok()? {
            return Some(response);
        }
        assert_eq!(parser.status().is_some(), parser.has_head());
    }
    parser.end().ok()
}

/// HTTP dates: text, and any number.
pub(crate) fn date(data: &[u8]) {
    if let Some(time) = date::parse(&String::from_utf8_lossy(data)) {
        assert_eq!(date::parse(&date::format(time)), Some(time));
    }
    let number = i64::from_be_bytes(Bytes::new(data).array());
    for number in [number, number % 300_000_000_000] {
        let text = date::format(number);
        let read = date::parse(&text).expect("what was written can be read");
        assert_eq!(date::format(read), text);
    }
}
