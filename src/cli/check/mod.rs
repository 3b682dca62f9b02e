//! `starling check`: the doctor, before and after installation. Each finding names its remedy.
//!
//! Where an agent runs it is asked what it got; else it is said what this user and this kernel would give it.
//!
//! Nothing leaves the host without `--network`; with it, names are looked up and registration servers are greeted: their
//! host keys are verified, nobody logs in and nothing is registered.

mod host;
mod kernel;
mod reach;
mod running;

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::{Exit, Failure, Outcome, ProbeArgs, print, runtime, seed};
use crate::{
    clock::Clock,
    net::{self, Net},
};

#[derive(Args, Debug)]
#[command(
    after_help = "Exits with 0 if nothing is a problem, warnings or not; else with 1.",
    mut_arg("registration_servers", |servers| servers.help(
        "Look at this server instead of the configured ones: `HOST:PORT=ssh-rsa AAAA…`. May be repeated"
    ))
)]
pub(super) struct CheckArgs {
    /// Go to the network: look up names, and greet each registration server without logging in.
    #[arg(long)]
    network: bool,
    /// The findings as JSON, for programs.
    #[arg(long)]
    json: bool,
    /// The configuration file; without it, the defaults.
    #[arg(long, env = "STARLING_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    probe: ProbeArgs,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    /// As it should be.
    Ok,
    /// The probe works, but not at its best.
    Warning,
    /// The probe cannot work like this.
    Problem,
}

/// One line of the doctor's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Finding {
    what: &'static str,
    verdict: Verdict,
    words: String,
    remedy: Option<String>,
}

impl Finding {
    fn ok(what: &'static str, words: impl Into<String>) -> Self {
        Self {
            what,
            verdict: Verdict::Ok,
            words: words.into(),
            remedy: None,
        }
    }

    fn warning(what: &'static str, words: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            what,
            verdict: Verdict::Warning,
            words: words.into(),
            remedy: Some(remedy.into()),
        }
    }

    fn problem(what: &'static str, words: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Problem,
            ..Self::warning(what, words, remedy)
        }
    }

    /// An error whose own words name the remedy.
    fn error(what: &'static str, error: impl std::fmt::Display) -> Self {
        Self {
            what,
            verdict: Verdict::Problem,
            words: error.to_string(),
            remedy: None,
        }
    }
}

pub(super) fn main(args: &CheckArgs) -> Outcome {
    let mut findings = Vec::new();
    let config = match args.probe.over(args.config.as_deref()) {
        Ok(config) => config,
        Err(error) => {
            findings.push(Finding::error("configuration", error));
            return finish(args, &findings);
        }
    };
    findings.push(match crate::agent::check(&config) {
        Ok(()) => Finding::ok("configuration", "can be used"),
        Err(error) => Finding::error("configuration", error),
    });
    findings.extend(host::findings(&config));
    let running = super::status::report(&config.data_dir);
    findings.push(running::finding(&running));
    let clock = Clock::start();
    runtime()?.block_on(async {
        let net = Net::open(net::Config::new(seed()), clock);
        match &running {
            // What it got counts, not what this process could get.
            Ok(report) => findings.extend(running::privileges(report)),
            Err(_) => {
                findings.extend(host::privileges(net.capabilities()));
                findings.extend(kernel::findings());
            }
        }
        findings.extend(reach::findings(&config, &net, args.network).await);
    });
    finish(args, &findings)
}

/// Says what was found; the exit code is that of the worst.
fn finish(args: &CheckArgs, findings: &[Finding]) -> Outcome {
    if args.json {
        let text =
            serde_json::to_string(findings).map_err(|error| Failure::new(Exit::Software, error))?;
        print::line(&text)?;
    } else {
        print::text(&findings.iter().map(tell).collect::<String>())?;
    }
    let worst = findings.iter().map(|finding| finding.verdict).max();
    Ok(match worst {
        Some(Verdict::Problem) => Exit::NoAnswer,
        _ => Exit::Done,
    })
}

fn tell(finding: &Finding) -> String {
    let verdict = match finding.verdict {
        Verdict::Ok => "ok",
        Verdict::Warning => "warning",
        Verdict::Problem => "PROBLEM",
    };
    let mut text = format!("{verdict:<8} {:<15} {}\n", finding.what, finding.words);
    if let Some(remedy) = &finding.remedy {
        text += &format!("{:25}{remedy}\n", "");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remedy_stands_below_its_finding() {
        let finding = Finding::problem("disk", "full", "make room");
        assert_eq!(
            tell(&finding),
            "PROBLEM  disk            full\n                         make room\n"
        );
        assert_eq!(
            tell(&Finding::ok("clock", "good")),
            "ok       clock           good\n"
        );
    }
}
