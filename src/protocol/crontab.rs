//! The lines of a table (`controller-protocol` section 5.1; section 10 rows 14 to 17).

use std::fmt;

/// Longest interval: two leap years, in seconds.
const MAX_INTERVAL: u32 = 63_244_800;
/// Most lines read of a table.
const MAX_LINES: usize = 65_534;

/// How a run's offset from its slot is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Distribution {
    /// Uniform in `[0, n] - n/2` whole seconds plus a fraction of one; `n` is not 0.
    Uniform(u32),
    /// None.
    None,
}

/// One line: what runs when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CronLine {
    /// Seconds between runs, at most 63244800; 0 runs once, at once.
    pub interval: u32,
    /// Phase of the grid, seconds since the epoch.
    pub start: i64,
    /// No run after it, seconds since the epoch; `None` (0 in the text) for no end.
    pub end: Option<i64>,
    /// Offset.
    pub distribution: Distribution,
    /// The command, as sent.
    pub command: String,
}

/// Why a line is skipped. The official probe does so without a word; ours says it to its operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CronLineError {
    /// Fewer than six fields.
    #[error(
        "fewer than six fields: interval, start, end, distribution, its parameter and a command"
    )]
    Fields,
    /// A field that has to be a number is none, or is out of its range.
    #[error("bad {field} `{value}`: {expected}")]
    Number {
        /// Which field.
        field: &'static str,
        /// What was there.
        value: String,
        /// What would do.
        expected: &'static str,
    },
}

impl CronLine {
    /// Reads one line that is no comment.
    ///
    /// # Errors
    /// Why it is skipped.
    pub fn parse(text: &str) -> Result<Self, CronLineError> {
        let mut rest = text.trim_matches(is_blank);
        let mut field = || -> Result<&str, CronLineError> {
            let (word, after) = rest.split_once(is_blank).ok_or(CronLineError::Fields)?;
            rest = after.trim_start_matches(is_blank);
            Ok(word)
        };
        let (interval, start, end) = (field()?, field()?, field()?);
        let (distribution, parameter) = (field()?, field()?);
        if rest.is_empty() {
            return Err(CronLineError::Fields);
        }
        let end = time("end", end)?;
        Ok(Self {
            interval: number("interval", interval, MAX_INTERVAL, "0 to 63244800 seconds")?,
            start: time("start", start)?,
            end: Some(end).filter(|end| *end != 0),
            distribution: match distribution {
                "UNIFORM" => match number("spread", parameter, u32::MAX, "seconds")? {
                    0 => Distribution::None,
                    n => Distribution::Uniform(n),
                },
                // Any other word is none, and its parameter only has to be there.
                _ => Distribution::None,
            },
            command: rest.to_owned(),
        })
    }
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t')
}

fn number(
    field: &'static str,
    word: &str,
    max: u32,
    expected: &'static str,
) -> Result<u32, CronLineError> {
    Some(word)
        .filter(|word| word.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|word| word.parse().ok())
        .filter(|number| *number <= max)
        .ok_or_else(|| CronLineError::Number {
            field,
            value: word.to_owned(),
            expected,
        })
}

fn time(field: &'static str, word: &str) -> Result<i64, CronLineError> {
    Some(word)
        .filter(|word| !word.starts_with('+'))
        .and_then(|word| word.parse().ok())
        .ok_or_else(|| CronLineError::Number {
            field,
            value: word.to_owned(),
            expected: "seconds since 1970",
        })
}

impl fmt::Display for CronLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (distribution, parameter) = match self.distribution {
            Distribution::Uniform(n) => ("UNIFORM", n),
            Distribution::None => ("NONE", 0),
        };
        write!(
            f,
            "{} {} {} {distribution} {parameter} {}",
            self.interval,
            self.start,
            self.end.unwrap_or(0),
            self.command
        )
    }
}

/// A line that is not in the table after all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// The line, joined and without comment.
    pub text: String,
    /// Why.
    pub error: CronLineError,
}

/// A table as read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Crontab {
    /// The good lines.
    pub lines: Vec<CronLine>,
    /// The others, but for comments and empty lines.
    pub skipped: Vec<Skipped>,
}

impl Crontab {
    /// Reads the lines of a table. A `\` at the end of a line joins the next, `#` ends a line anywhere,
    /// `MAILTO=` lines are skipped, and nothing is read beyond line 65534.
    #[must_use]
    pub fn parse<S: AsRef<str>>(lines: &[S]) -> Self {
        let mut table = Self::default();
        let mut joined = String::new();
        let read = &lines[..lines.len().min(MAX_LINES)];
        for (number, line) in read.iter().enumerate() {
            match line.as_ref().strip_suffix('\\') {
                Some(part) if number + 1 < read.len() => joined += part,
                part => {
                    joined += part.unwrap_or(line.as_ref());
                    table.take(&joined);
                    joined.clear();
                }
            }
        }
        table
    }

    fn take(&mut self, line: &str) {
        let text = line
            .split('#')
            .next()
            .unwrap_or_default()
            .trim_matches(is_blank);
        if text.is_empty() || text.starts_with("MAILTO=") {
            return;
        }
        match CronLine::parse(text) {
            Ok(line) => self.lines.push(line),
            Err(error) => self.skipped.push(Skipped {
                text: text.to_owned(),
                error,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<CronLine, CronLineError> {
        CronLine::parse(text)
    }

    fn bad_field(text: &str) -> &'static str {
        match parse(text) {
            Err(CronLineError::Number { field, .. }) => field,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn a_production_line() {
        assert_eq!(
            parse(
                "240 269 1777902395 UNIFORM 3 evping -4 -c 3 -A \"1001\" -O /home/atlas/data/new/7 193.0.14.129"
            ),
            Ok(CronLine {
                interval: 240,
                start: 269,
                end: Some(1_777_902_395),
                distribution: Distribution::Uniform(3),
                command: "evping -4 -c 3 -A \"1001\" -O /home/atlas/data/new/7 193.0.14.129"
                    .to_owned()
            })
        );
    }

    #[test]
    fn blanks_and_tabs_separate_and_the_command_keeps_its_own() {
        let line = parse(" \t60\t 1  2 NONE\t0 \tcondmv  -A\t\"x  y\" ").unwrap();
        assert_eq!(line.command, "condmv  -A\t\"x  y\"");
    }

    #[test]
    fn interval_0_is_once_and_end_0_is_never() {
        let line = parse("0 0 0 UNIFORM 0 evping x").unwrap();
        assert_eq!((line.interval, line.end), (0, None));
        assert_eq!(line.distribution, Distribution::None);
        assert_eq!(line.to_string(), "0 0 0 NONE 0 evping x");
    }

    #[test]
    fn fields_out_of_their_range_skip_the_line() {
        assert_eq!(parse("63244800 0 0 NONE 0 x").unwrap().interval, 63_244_800);
        for (text, field) in [
            ("63244801 0 0 NONE 0 x", "interval"),
            ("60s 0 0 NONE 0 x", "interval"),
            ("-1 0 0 NONE 0 x", "interval"),
            ("60 x 0 NONE 0 x", "start"),
            ("60 +1 0 NONE 0 x", "start"),
            ("60 0 1.5 NONE 0 x", "end"),
            ("60 0 0 UNIFORM x x", "spread"),
            ("60 0 0 UNIFORM 4294967296 x", "spread"),
        ] {
            assert_eq!(bad_field(text), field, "{text}");
        }
        for text in ["", "60", "60 0 0 UNIFORM 3", "60 0 0 UNIFORM 3 "] {
            assert_eq!(parse(text), Err(CronLineError::Fields), "{text}");
        }
    }

    #[test]
    fn an_unknown_distribution_is_none_whatever_its_parameter() {
        assert_eq!(
            parse("60 0 0 NORMAL x evping y").unwrap().distribution,
            Distribution::None
        );
    }

    #[test]
    fn comments_joins_and_mailto() {
        let table = Crontab::parse(&[
            "# all of it",
            "MAILTO=root",
            "",
            "60 0 0 NONE 0 evping \\",
            "a # host",
            "60 0 0 NONE 0 evhttpget http://b/#fragment",
            "nonsense",
            "60 0 0 NONE 0 evping c\\",
        ]);
        let commands: Vec<&str> = table.lines.iter().map(|line| &*line.command).collect();
        assert_eq!(commands, ["evping a", "evhttpget http://b/", "evping c"]);
        assert_eq!(
            table.skipped,
            [Skipped {
                text: "nonsense".to_owned(),
                error: CronLineError::Fields
            }]
        );
    }

    #[test]
    fn nothing_is_read_beyond_the_last_line() {
        let lines = vec!["60 0 0 NONE 0 x"; 65_540];
        assert_eq!(Crontab::parse(&lines).lines.len(), 65_534);
    }

    proptest! {
        #[test]
        fn the_probe_reads_what_the_controller_renders(interval in 0..=MAX_INTERVAL, start: i64, end: i64, n: u32, command in "[!-~]([ -~]{0,60}[!-~])?") {
            let line = CronLine {
                interval,
                start,
                end: Some(end).filter(|end| *end != 0),
                distribution: if n == 0 { Distribution::None } else { Distribution::Uniform(n) },
                command,
            };
            prop_assert_eq!(parse(&line.to_string()), Ok(line));
        }

        #[test]
        fn any_text_is_taken_or_skipped(lines in proptest::collection::vec("\\PC{0,60}", 0..9)) {
            let _ = Crontab::parse(&lines);
        }
    }
}
