//! `starling status`: how the running agent stands, from its status socket.

use std::{
    io::{self, Read as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{Args, ValueEnum};

use super::{Exit, Failure, Outcome, print};
use crate::{
    agent,
    config::{DATA_DIR, parse_duration},
    observe::status::{Jobs, Queue, Report, SessionState, Tee, Trouble},
};

#[derive(Args, Debug)]
#[command(
    after_help = "Exits with 0 if an agent answered, 69 if none is there, 77 if it may not be asked; with --health, with 0 or 1."
)]
pub(super) struct StatusArgs {
    /// The data directory of the probe.
    #[arg(
        long,
        env = "STARLING_DATA_DIR",
        value_name = "DIR",
        default_value = DATA_DIR
    )]
    data_dir: PathBuf,
    /// The agent's own document, for programs.
    #[arg(long)]
    json: bool,
    /// A health check: prints one line; exits with 0 if the probe is live (main loop and disk make progress), or with
    /// `=ready` if its session stands too and an upload was accepted lately; else with 1.
    #[arg(long, value_enum, value_name = "WHICH", num_args = 0..=1, default_missing_value = "live", require_equals = true, conflicts_with_all = ["json", "watch"])]
    health: Option<Health>,
    /// Ask again and again, every two seconds or as often as this.
    #[arg(long, value_parser = parse_duration, value_name = "INTERVAL", num_args = 0..=1, default_missing_value = "2s", require_equals = true)]
    watch: Option<Duration>,
}

/// What a health check asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Health {
    /// Main loop and disk make progress: what does not is to be restarted.
    Live,
    /// Besides, the session stands, and an upload was accepted in the last 15 minutes or three upload intervals.
    Ready,
}

/// Where the unit's agent has its socket.
const RUNTIME: &str = "/run/starling";
/// A document is never longer; what says so is no agent of ours.
const MOST_BYTES: u64 = 1 << 20;
/// How long an agent may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) fn main(args: &StatusArgs) -> Outcome {
    if let Some(health) = args.health {
        return check(health, &args.data_dir);
    }
    loop {
        let text = if args.json {
            ask(&args.data_dir).map_err(Unasked::failure)?
        } else {
            tell(&report(&args.data_dir).map_err(Unasked::failure)?)
        };
        let Some(pause) = args.watch else {
            print::text(&text)?;
            return Ok(Exit::Done);
        };
        // On a terminal each answer takes the place of the one before.
        let clear = if args.json || !std::io::IsTerminal::is_terminal(&io::stdout()) {
            ""
        } else {
            "\x1b[H\x1b[2J"
        };
        if !print::open_text(&format!("{clear}{text}"))? {
            return Ok(Exit::Done);
        }
        std::thread::sleep(pause.max(Duration::from_millis(100)));
    }
}

/// How the agent that keeps this data directory stands.
///
/// # Errors
/// None runs, or it cannot be asked.
pub(super) fn report(data_dir: &Path) -> Result<Report, Unasked> {
    let text = ask(data_dir)?;
    serde_json::from_str(&text).map_err(Unasked::Unread)
}

/// Why an agent does not tell how it stands.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unasked {
    /// There is none.
    #[error(
        "no agent runs with the data directory {}: start one with `starling run`, or name its directory with --data-dir",
        .0.display()
    )]
    Nobody(PathBuf),
    /// There is one, and it does not answer.
    #[error("the agent at {} does not answer within {} s: it hangs, restart it", .0.display(), PATIENCE.as_secs())]
    Hangs(PathBuf),
    /// We may not ask.
    #[error("cannot ask the agent at {}: {}; run this as root or as the agent's user", .0.display(), .1)]
    Refused(PathBuf, io::Error),
    /// The answer is none.
    #[error("the agent's answer cannot be read ({0}): is it of another version?")]
    Unread(serde_json::Error),
}

impl Unasked {
    fn failure(self) -> Failure {
        let exit = match &self {
            Self::Nobody(_) | Self::Hangs(_) => Exit::Unavailable,
            Self::Refused(..) => Exit::NoPermission,
            Self::Unread(_) => Exit::Software,
        };
        Failure::new(exit, self)
    }
}

/// A health check: one line, and an exit code that says yes or no. That nobody answers is a no too.
fn check(wanted: Health, data_dir: &Path) -> Outcome {
    let report = match report(data_dir) {
        Ok(report) => report,
        Err(why @ (Unasked::Nobody(_) | Unasked::Hangs(_))) => {
            print::line(&format!("not live: {why}"))?;
            return Ok(Exit::NoAnswer);
        }
        Err(why) => return Err(why.failure()),
    };
    print::line(&report.health.words())?;
    let healthy = match wanted {
        Health::Live => report.health.live,
        Health::Ready => report.health.ready,
    };
    Ok(if healthy { Exit::Done } else { Exit::NoAnswer })
}

/// The document of the agent that keeps this data directory.
fn ask(data_dir: &Path) -> Result<String, Unasked> {
    let mut places: Vec<PathBuf> = Vec::new();
    if data_dir == Path::new(DATA_DIR) {
        places.push(agent::place(Some(Path::new(RUNTIME)), data_dir));
    }
    places.push(agent::place(None, data_dir));
    let mut why = Unasked::Nobody(data_dir.to_owned());
    for place in places {
        match read(&place) {
            Ok(text) => return Ok(text),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                why = Unasked::Refused(place, error);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                why = Unasked::Hangs(place);
            }
            Err(_) => {}
        }
    }
    Err(why)
}

fn read(place: &Path) -> io::Result<String> {
    let stream = UnixStream::connect(place)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut text = String::new();
    stream.take(MOST_BYTES).read_to_string(&mut text)?;
    Ok(text)
}

/// The document for people.
fn tell(report: &Report) -> String {
    [identity(report), work(report), surroundings(report)]
        .concat()
        .into_iter()
        .map(|(what, text)| format!("{what:<13}{text}\n"))
        .collect()
}

/// What a line is about, nothing where it goes on with the one before; and what it says.
type Line = (&'static str, String);

/// Who this is, and how it stands with its controller.
fn identity(report: &Report) -> Vec<Line> {
    let session = &report.session;
    let mut lines = vec![
        (
            "agent",
            format!(
                "starling {}, process {}, up {}",
                report.version,
                report.pid,
                span(report.uptime)
            ),
        ),
        (
            "probe",
            report
                .probe_id
                .map_or_else(|| "no number yet".to_owned(), |id| id.to_string()),
        ),
        ("health", report.health.words()),
        ("session", session_words(report)),
    ];
    lines.extend(session.advice.iter().map(|advice| ("", advice.clone())));
    if session.state != SessionState::Connected {
        lines.push(("key", report.public_key.clone()));
    }
    if let Some(controller) = &session.controller {
        lines.push(("controller", controller.clone()));
    }
    if let Some(command) = &session.last_command {
        let since = span(ago(report, command.time));
        lines.push(("last command", format!("{}, {since} ago", command.words)));
    }
    lines
}

/// What it measures, and what becomes of the results.
fn work(report: &Report) -> Vec<Line> {
    let mut lines = Vec::new();
    match &report.jobs {
        None => lines.push((
            "jobs",
            "the main loop does not answer: the agent hangs, restart it".to_owned(),
        )),
        Some(jobs) if jobs.is_empty() => lines.push(("jobs", "none".to_owned())),
        Some(jobs) => lines.extend(jobs.iter().map(|job| ("jobs", job_words(report, job)))),
    }
    lines.push(("results", queue(report, &report.results.periodic)));
    if report.results.one_offs != Queue::default() {
        lines.push(("one-offs", queue(report, &report.results.one_offs)));
    }
    lines.push((
        "last upload",
        report.results.last_accepted.map_or_else(
            || "none accepted yet".to_owned(),
            |at| format!("accepted {} ago", span(ago(report, at))),
        ),
    ));
    lines.extend(report.tee.iter().map(|tee| ("copies", copies(tee))));
    lines
}

/// What it has to work with, and what troubles it.
fn surroundings(report: &Report) -> Vec<Line> {
    let clock = match u64::try_from(report.clock.lts) {
        Ok(lts) => format!("confirmed by the controller {} ago", span(lts)),
        Err(_) => "never confirmed by a controller".to_owned(),
    };
    let mut lines = vec![("clock", clock), ("network", network(report))];
    let problems = report.host.source_problems.iter();
    lines.extend(problems.map(|problem| ("", problem.clone())));
    lines.push(("privileges", privileges(report)));
    lines.extend(report.host.confinement.iter().map(|layer| {
        let lacks = if layer.holds { "" } else { "not as wanted: " };
        ("confinement", format!("{lacks}{}", layer.words))
    }));
    lines.extend(report.troubles.iter().map(|trouble| {
        let since = span(ago(report, trouble.time));
        let words = format!("{since} ago: {}{}", trouble.words, times(trouble));
        ("trouble", words)
    }));
    lines
}

fn job_words(report: &Report, job: &Jobs) -> String {
    let mut text = format!("{} {}", job.scheduled, job.kind);
    if job.one_offs > 0 {
        text += &format!(", {} one-offs", job.one_offs);
    }
    if job.running > 0 {
        text += &format!(", {} running", job.running);
    }
    if let Some(next) = job.next {
        let wait = u64::try_from(next - report.time).unwrap_or(0);
        text += &format!(", next in {}", span(wait));
    }
    text
}

fn session_words(report: &Report) -> String {
    let session = &report.session;
    let words = if session.words.is_empty() {
        "starting"
    } else {
        &session.words
    };
    let mut text = words.to_owned();
    if session.since > 0 {
        text += &format!(", since {}", span(ago(report, session.since)));
    }
    if let Some(next) = session.next_attempt {
        let wait = u64::try_from(next - report.time).unwrap_or(0);
        text += &format!(", next attempt in {}", span(wait));
    }
    text
}

fn queue(report: &Report, queue: &Queue) -> String {
    let mut text = match queue.lines {
        0 => "none waiting".to_owned(),
        lines => format!("{lines} waiting, {} bytes", queue.bytes),
    };
    if let Some(oldest) = queue.oldest {
        text += &format!(", for {}", span(ago(report, oldest)));
    }
    if queue.held > 0 {
        text += &format!(", {} bytes in memory only", queue.held);
    }
    if queue.dropped > 0 {
        text += &format!(", {} lost since the start", queue.dropped);
    }
    if let Some(why) = &queue.disk_refuses {
        text += &format!(", the disk refuses them: {why}");
    }
    text
}

fn times(trouble: &Trouble) -> String {
    if trouble.times > 1 {
        format!(" ({} times)", trouble.times)
    } else {
        String::new()
    }
}

fn copies(tee: &Tee) -> String {
    let mut text = format!("{} to {}", tee.lines, tee.to);
    if tee.dropped > 0 {
        text += &format!(", {} not copied", tee.dropped);
    }
    if let Some(why) = &tee.trouble {
        text += &format!(", failing: {why}");
    }
    text
}

fn network(report: &Report) -> String {
    let host = &report.host;
    let family = |name: &str, source: &Option<String>| match source {
        Some(source) => format!("{name} from {source}"),
        None => name.to_owned(),
    };
    let (four, six) = (
        family("IPv4", &host.ipv4_source),
        family("IPv6", &host.ipv6_source),
    );
    match (host.ipv4, host.ipv6) {
        (true, true) => format!("{four} and {six}"),
        (true, false) => format!("{four} only"),
        (false, true) => format!("{six} only"),
        (false, false) => "no route to the internet: check the host's network".to_owned(),
    }
}

fn privileges(report: &Report) -> String {
    match (report.host.raw_sockets, report.host.datagram_icmp) {
        (true, _) => "raw sockets: everything can be measured",
        (false, true) => {
            "no raw sockets: ping and traceroute work, TCP traceroute does not; give it CAP_NET_RAW"
        }
        (false, false) => "no raw sockets: no ping, traceroute by UDP only; give it CAP_NET_RAW",
    }
    .to_owned()
}

fn ago(report: &Report, time: i64) -> u64 {
    u64::try_from(report.time - time).unwrap_or(0)
}

/// A time as people say it, in its two largest units.
fn span(secs: u64) -> String {
    let units = [(86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")];
    let at = units
        .iter()
        .position(|(size, _)| secs >= *size)
        .unwrap_or(3);
    let (size, name) = units[at];
    let rest = units
        .get(at + 1)
        .map(|(small, name)| (secs % size / small, *name))
        .filter(|(count, _)| *count > 0);
    match rest {
        Some((count, small)) => format!("{} {name} {count} {small}", secs / size),
        None => format!("{} {name}", secs / size),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::status::{Host, Jobs, Session};

    #[test]
    fn times_are_said_in_two_units() {
        for (secs, words) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (90, "1 min 30 s"),
            (3_600, "1 h"),
            (90_000, "1 d 1 h"),
        ] {
            assert_eq!(span(secs), words);
        }
    }

    #[test]
    fn a_waiting_probe_is_told_what_to_do() {
        let report = Report {
            version: "1.0".to_owned(),
            pid: 7,
            time: 1000,
            uptime: 61,
            public_key: "ssh-ed25519 AAAA x".to_owned(),
            session: Session {
                state: SessionState::WaitingForApproval,
                words: "not approved yet".to_owned(),
                advice: Some("have it approved".to_owned()),
                since: 940,
                next_attempt: Some(1030),
                ..Session::default()
            },
            jobs: Some(vec![Jobs {
                kind: "ping".to_owned(),
                scheduled: 3,
                running: 1,
                next: Some(1005),
                one_offs: 0,
            }]),
            host: Host {
                ipv4: true,
                ..Host::default()
            },
            troubles: vec![Trouble {
                time: 999,
                words: "something".to_owned(),
                times: 12,
            }],
            clock: crate::observe::status::WallClock {
                confirmed: None,
                lts: -1,
            },
            ..Report::default()
        };
        assert_eq!(
            tell(&report),
            "agent        starling 1.0, process 7, up 1 min 1 s\n\
             probe        no number yet\n\
             health       not live\n\
             session      not approved yet, since 1 min, next attempt in 30 s\n\
             \x20            have it approved\n\
             key          ssh-ed25519 AAAA x\n\
             jobs         3 ping, 1 running, next in 5 s\n\
             results      none waiting\n\
             last upload  none accepted yet\n\
             clock        never confirmed by a controller\n\
             network      IPv4 only\n\
             privileges   no raw sockets: no ping, traceroute by UDP only; give it CAP_NET_RAW\n\
             trouble      1 s ago: something (12 times)\n"
        );
    }
}
