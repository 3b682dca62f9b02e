//! The written form of a run: what a machine was told and what it said, with the times.
//!
//! A transcript recorded in the field becomes a test by being copied into place: [`replay`] feeds its `in` lines to
//! a fresh machine and writes the transcript anew, so a difference in the text is a difference in behaviour.
//!
//! ```text
//! spec    evping -4 -c 1 192.0.2.1
//! seed    7
//! time    1700000000
//! +0.0000 in  start
//! +0.0000 out resolve "192.0.2.1" v4
//! +0.0000 in  resolved 192.0.2.1
//! +0.0000 out open 0 echo 192.0.2.1
//! +0.0001 in  opened 0 198.51.100.9:0 ident=7
//! …
//! +1.0001 out done answered
//! +1.0001 out result RESULT { … }
//! ```
//!
//! Before the first event stand `spec` (the command), and where they differ from the defaults `dialect`, `seed`,
//! `probe` (the probe's number), `tick` (the monotonic clock at +0, in seconds), `time` (Unix time at +0) and
//! `lts`. An event stands at `+seconds` after that; `@seconds` follows where the wall clock moved
//! otherwise than the monotonic one. Octets are hexadecimal, a pair that repeats as `0000*12`. What follows ` # ` is
//! a remark, such as where a time came from.

mod input;
mod output;
mod text;

use std::time::Duration;

use self::text::{Fields, quoted_word, seconds, seconds_after, words};
use super::{Carry, Head, Input, Output, Run, Spec, SpecError, Version};
use crate::{
    clock::{Now, Tick, UnixTime},
    dialect::Dialect,
    measurement::{Outcome, Rules},
};

/// The largest transcript that is replayed, in octets.
pub const MAX_TRANSCRIPT: usize = 64 << 20;

/// What stands before the first event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The words of the command.
    pub words: Vec<String>,
    /// The dialect that they and the result are in.
    pub dialect: Dialect,
    /// The run's seed.
    pub seed: u64,
    /// The probe's number.
    pub probe: Option<u32>,
    /// The monotonic clock at +0.
    pub tick: Tick,
    /// The wall clock at +0.
    pub time: UnixTime,
    /// Seconds from the last confirmation of the wall clock to +0; -1 for never.
    pub lts: i64,
}

impl Header {
    /// For a run of `words` that begins at `now`.
    #[must_use]
    pub fn new(words: &[impl AsRef<str>], dialect: Dialect, run: &Run, now: &Now) -> Self {
        Self {
            words: words.iter().map(|word| word.as_ref().to_owned()).collect(),
            dialect,
            seed: run.seed,
            probe: run.probe_id,
            tick: now.peek(),
            time: now.unix(),
            lts: now.lts(),
        }
    }

    /// The clock at `after` the beginning, with the wall clock at `unix` if that is said.
    fn now(&self, after: Duration, unix: Option<UnixTime>) -> Now {
        let unix = unix.unwrap_or(self.time + after);
        let lts = match self.lts {
            -1 => -1,
            lts => lts.saturating_add(unix.secs().saturating_sub(self.time.secs())),
        };
        Now::new(self.tick + after, unix, lts)
    }
}

/// Writes a transcript line by line.
#[derive(Clone, Debug)]
pub struct Writer {
    header: Header,
    head: Head,
}

impl Writer {
    /// For a run with this header.
    #[must_use]
    pub fn new(header: Header) -> Self {
        // Which measurement does not matter to a transcript, and the software's version must not.
        let head = Head {
            id: Some("1".to_owned()),
            bundle: None,
            version: Version::of_tests(),
        };
        Self { header, head }
    }

    /// The lines before the first event.
    #[must_use]
    pub fn header(&self) -> String {
        let header = &self.header;
        let words: Vec<String> = header.words.iter().map(|word| quoted_word(word)).collect();
        let mut out = format!("spec    {}\n", words.join(" "));
        if header.dialect != Dialect::default() {
            out += &format!("dialect {}\n", header.dialect);
        }
        out += &format!("seed    {}\n", header.seed);
        if let Some(probe) = header.probe {
            out += &format!("probe   {probe}\n");
        }
        if header.tick != Tick::default() {
            out += &format!("tick    {}\n", seconds(header.tick.0, 0));
        }
        out += &format!("time    {}\n", text::unix(header.time));
        if header.lts != -1 {
            out += &format!("lts     {}\n", header.lts);
        }
        out
    }

    /// The line for something that the machine is about to be told. `remark` may say how well its time is known.
    #[must_use]
    pub fn input(&self, at: &Now, input: &Input, remark: Option<&str>) -> String {
        let after = at.peek().since(self.header.tick);
        let mut out = format!("+{}", seconds(after, 4));
        if at.unix() != self.header.time + after {
            out += &format!(" @{}", text::unix(at.unix()));
        }
        out += " in  ";
        out += &input::write(input);
        if let Some(remark) = remark {
            out += &format!(" # {remark}");
        }
        out.push('\n');
        out
    }

    /// The lines for something that the machine wants.
    #[must_use]
    pub fn output(&self, at: Tick, output: &Output) -> String {
        let prefix = format!("+{} out ", seconds(at.since(self.header.tick), 4));
        match output {
            Output::Done(outcome) => self.outcome(&prefix, outcome),
            output => format!("{prefix}{}\n", output::write(output)),
        }
    }

    fn outcome(&self, prefix: &str, outcome: &Outcome) -> String {
        let answered = if outcome.answered {
            "answered"
        } else {
            "unanswered"
        };
        let mut out = format!("{prefix}done {answered}\n");
        for body in &outcome.bodies {
            let line = body.line(&self.head, self.header.dialect);
            out += &format!("{prefix}result {line}");
        }
        out += &format!("{prefix}carry {:?}\n", outcome.carry);
        out
    }
}

/// Why a transcript cannot be replayed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TranscriptError {
    /// Too long to be one.
    #[error("transcript of {0} octets: at most {MAX_TRANSCRIPT} are replayed")]
    TooLarge(usize),
    /// A line that is none of a transcript's.
    #[error("line {line}: {what}: `{text}`")]
    Line {
        /// Its number, from 1.
        line: usize,
        /// What is wrong.
        what: &'static str,
        /// The line.
        text: String,
    },
    /// No `spec` line before the first event.
    #[error("no `spec` line before the first event")]
    NoSpec,
    /// The command is refused.
    #[error("spec: {0}")]
    Spec(#[from] SpecError),
}

/// Replays the `in` lines of a transcript and writes it anew: header, remarks and `in` lines as they stand, `out`
/// lines as the machine has it now.
///
/// # Errors
/// The first line that cannot be read, or a command that is refused.
pub fn replay(transcript: &str) -> Result<String, TranscriptError> {
    if transcript.len() > MAX_TRANSCRIPT {
        return Err(TranscriptError::TooLarge(transcript.len()));
    }
    let mut out = String::with_capacity(transcript.len());
    let mut header = None;
    let mut started = None;
    // However many an editor left: what is written here has none, and is the same when it is replayed.
    let lines = transcript.lines().map(|line| line.trim_end_matches('\r'));
    for (index, line) in lines.enumerate() {
        let error = |what| TranscriptError::Line {
            line: index + 1,
            what,
            text: line.chars().take(100).collect(),
        };
        if line.starts_with('+') {
            let event = event(line).map_err(error)?;
            let Some((after, unix, input)) = event else {
                continue;
            };
            if started.is_none() {
                let header: Header = header.take().ok_or(TranscriptError::NoSpec)?;
                started = Some(start(header)?);
            }
            let (writer, machine) = started.as_mut().ok_or(TranscriptError::NoSpec)?;
            out += line;
            out.push('\n');
            let mut now = writer.header.now(after, unix);
            let at = now.peek();
            for output in machine.handle(&mut now, input) {
                out += &writer.output(at, &output);
            }
        } else {
            if !line.is_empty() && !line.starts_with('#') {
                header_line(line, &mut header).map_err(error)?;
            }
            out += line;
            out.push('\n');
        }
    }
    Ok(out)
}

fn start(header: Header) -> Result<(Writer, Box<dyn super::Machine>), TranscriptError> {
    let rules = Rules {
        dialect: header.dialect,
        spool: "/var/spool/ripe-atlas".into(),
        // No file is touched, so any name will do.
        unsafe_paths: true,
    };
    let spec = Spec::parse(&header.words, &rules)?;
    let run = Run {
        seed: header.seed,
        probe_id: header.probe,
        replay: false,
    };
    let machine = spec.start(run, Carry::Nothing);
    Ok((Writer::new(header), machine))
}

/// One line before the first event.
fn header_line(line: &str, header: &mut Option<Header>) -> Result<(), &'static str> {
    let (name, value) = line.split_once(' ').ok_or("no header line")?;
    let value = value.trim();
    if name == "spec" {
        *header = Some(Header {
            words: words(value)?
                .iter()
                .map(|word| text::unquoted(word))
                .collect::<Result<_, _>>()?,
            dialect: Dialect::default(),
            seed: 0,
            probe: None,
            tick: Tick::default(),
            time: UnixTime::default(),
            lts: -1,
        });
        return Ok(());
    }
    let header = header.as_mut().ok_or("`spec` comes first")?;
    let bad = "bad value";
    match name {
        "dialect" => header.dialect = value.parse().map_err(|_| bad)?,
        "seed" => header.seed = value.parse().map_err(|_| bad)?,
        "probe" => header.probe = Some(value.parse().map_err(|_| bad)?),
        "tick" => header.tick = Tick(seconds_after(value).ok_or(bad)?),
        "time" => header.time = text::parse_unix(value).ok_or(bad)?,
        "lts" => header.lts = value.parse().map_err(|_| bad)?,
        _ => return Err("unknown header line"),
    }
    Ok(())
}

type Event = (Duration, Option<UnixTime>, Input);

/// An event line; `None` for what the machine said.
fn event(line: &str) -> Result<Option<Event>, &'static str> {
    let words = words(line)?;
    let mut words = &words[..];
    let [after, rest @ ..] = words else {
        return Err("empty line");
    };
    let after = after
        .strip_prefix('+')
        .and_then(seconds_after)
        .ok_or("bad time")?;
    words = rest;
    let mut unix = None;
    if let [at, rest @ ..] = words
        && let Some(at) = at.strip_prefix('@')
    {
        unix = Some(text::parse_unix(at).ok_or("bad wall-clock time")?);
        words = rest;
    }
    match words {
        ["out", ..] => Ok(None),
        ["in", name, rest @ ..] => {
            let fields = Fields::new(rest);
            Ok(Some((after, unix, input::read(name, &fields)?)))
        }
        _ => Err("neither `in` nor `out`"),
    }
}

#[cfg(test)]
mod tests;
