//! Measuring for a person: long options, lines as things happen, a summary, and a say in the form.
//!
//! A person's options become words of the controller's language, so both ways lead through the same parser. The
//! address policy holds back strangers who command a probe; the person at the keyboard may measure anything.

mod ping;

use std::io::{self, IsTerminal as _};

use clap::{Args, Parser, error::ErrorKind};

use super::{Exit, Failure, MeasureArgs, lines, live, print, rules, version};
use crate::{
    dialect::Dialect,
    measurement::{Kind, Outcome, Seen, Spec},
    net::Event,
};

/// In which form the result is wanted, for every type.
#[derive(Args, Clone, Copy, Debug)]
struct Form {
    /// Print the result as JSON instead of talking.
    #[arg(long, conflicts_with = "result")]
    json: bool,
    /// Print the RESULT line instead of talking.
    #[arg(long)]
    result: bool,
}

/// Which addresses to use, for every type.
#[derive(Args, Clone, Copy, Debug)]
struct Addresses {
    /// IPv4 only.
    #[arg(short = '4', long = "ipv4", conflicts_with = "ipv6")]
    ipv4: bool,
    /// IPv6 only.
    #[arg(short = '6', long = "ipv6")]
    ipv6: bool,
}

impl Addresses {
    /// The word that says so: as asked for, else what the target is, else IPv4.
    fn word(self, target: &str) -> &'static str {
        let literal = target.split('%').next().unwrap_or(target);
        if self.ipv6 || (!self.ipv4 && literal.parse::<std::net::Ipv6Addr>().is_ok()) {
            "-6"
        } else {
            "-4"
        }
    }
}

/// A type as a person meets it.
trait Talk {
    /// The command in the controller's language, `reference` dialect.
    fn words(&self) -> Vec<String>;
    /// In which form the result is wanted.
    fn form(&self) -> Form;
    /// A line about what just happened.
    fn seen(&mut self, seen: &Seen, style: Style) -> Option<String>;
    /// The last words.
    fn summary(&self, outcome: &Outcome, style: Style) -> String;
}

pub(super) fn main(kind: Kind, args: &MeasureArgs) -> super::super::Outcome {
    match kind {
        Kind::Ping => talk::<ping::Ping>(args),
        other => Err(Failure::new(
            Exit::Usage,
            anyhow::anyhow!(
                "`starling measure {other}` is not built yet; use the controller's language: `starling measure {}`",
                other.verb()
            ),
        )),
    }
}

fn talk<T: Talk + Parser>(args: &MeasureArgs) -> super::super::Outcome {
    let mut talk = match T::try_parse_from(&args.command) {
        Ok(talk) => talk,
        Err(error) => {
            let exit = match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Exit::Done,
                _ => Exit::Usage,
            };
            let _ = error.print();
            return Ok(exit);
        }
    };
    let args = MeasureArgs {
        allow_any_address: true,
        dialect: Dialect::Reference,
        transcript: args.transcript.clone(),
        command: talk.words(),
    };
    let spec = Spec::parse(&args.command, &rules(&args))
        .map_err(|error| Failure::new(Exit::Usage, error))?;
    let style = Style::of_stdout();
    let form = talk.form();
    let outcome = live(&spec, &args, |event| {
        if let Event::Out {
            output: crate::measurement::Output::Seen(seen),
            ..
        } = event
            && !form.json
            && !form.result
            && let Some(line) = talk.seen(seen, style)
        {
            let _ = print::line(&line);
        }
    })?;
    let line = lines(&spec, &version(), &outcome, Dialect::Reference);
    if form.result {
        print::text(&line)?;
    } else if form.json {
        for line in line.lines() {
            print::line(line.strip_prefix("RESULT ").unwrap_or(line))?;
        }
    } else {
        print::text(&talk.summary(&outcome, style))?;
    }
    Ok(if outcome.answered {
        Exit::Done
    } else {
        Exit::NoAnswer
    })
}

/// Colours, where somebody would see them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Style {
    colours: bool,
}

impl Style {
    fn of_stdout() -> Self {
        Self {
            colours: io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none(),
        }
    }

    /// What went well.
    fn good(self, text: &str) -> String {
        self.paint("32", text)
    }

    /// What did not.
    fn bad(self, text: &str) -> String {
        self.paint("31", text)
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.colours {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}
