//! Measuring for a person: long options, lines as things happen, a summary, and a say in the form.
//!
//! A person's options become words of the controller's language, so both ways lead through the same parser. The
//! address policy holds back strangers who command a probe; the person at the keyboard may measure anything.

mod dns;
mod dns_reply;
mod hint;
mod http;
mod ntp;
mod ping;
mod speech;
mod tls;
mod traceroute;

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use clap::{Args, CommandFactory as _, Parser, error::ErrorKind};
use nix::errno::Errno;
use tokio::sync::{Notify, mpsc};

use self::speech::{Piece, Say, Style};
use super::{Exit, Failure, MeasureArgs, lines, live, print, rules, version};
use crate::{
    config::{BadDuration, parse_duration},
    dialect::Dialect,
    measurement::{
        Input, Kind, Outcome, Output, Rules, Seen, Spec,
        machine::{Call, Failure as Refusal, Family, ResolveError},
    },
    net::{Event, resolver::literal},
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

impl Form {
    /// Whether only the result is printed.
    const fn is_silent(self) -> bool {
        self.json || self.result
    }
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
        if self.ipv6 || (!self.ipv4 && is_ipv6(target)) {
            "-6"
        } else {
            "-4"
        }
    }

    /// The word for types that can use both.
    const fn word_of_both(self) -> &'static str {
        match (self.ipv4, self.ipv6) {
            (true, _) => "-4",
            (_, true) => "-6",
            _ => "-a",
        }
    }

    /// Whether the target can be had in the family asked for.
    fn check(self, target: &str) -> Result<(), String> {
        if target.trim().is_empty() {
            return Err("the target is empty: name a host or an address".to_owned());
        }
        match literal(target, Family::Both) {
            // Names have none of these: a URL, a host with its port, an address in brackets.
            None if target.contains(['/', ':', '[', ' ']) => {
                return Err(format!(
                    "`{target}` is no host: write its name or address and nothing else"
                ));
            }
            Some(IpAddr::V6(address)) => {
                if let Some(address) = address.to_ipv4_mapped() {
                    return Err(format!("{target} is an IPv4 address: write {address}"));
                }
                if address.is_unspecified() {
                    return Err(format!("{target} is no host's address: this one is ::1"));
                }
            }
            Some(IpAddr::V4(address)) if address.is_unspecified() => {
                return Err(format!(
                    "{target} is no host's address: this one is 127.0.0.1"
                ));
            }
            _ => {}
        }
        if self.ipv4 && is_ipv6(target) {
            return Err(format!("{target} is an IPv6 address: leave -4 away"));
        }
        if self.ipv6 && target.parse::<Ipv4Addr>().is_ok() {
            return Err(format!("{target} is an IPv4 address: leave -6 away"));
        }
        Ok(())
    }

    /// Turns to IPv6 where neither was asked for: for names without an IPv4 address.
    fn turn(&mut self, target: &str) -> bool {
        let turns = !self.ipv4 && !self.ipv6 && !is_ipv6(target);
        self.ipv6 |= turns;
        turns
    }
}

/// Ends a command's words: this option with what its packets leave from, and the target, which may look like an option.
fn end(words: &mut Vec<String>, option: &str, interface: Option<&str>, target: &str) {
    if let Some(interface) = interface {
        words.extend([option.to_owned(), interface.to_owned()]);
    }
    words.extend(["--".to_owned(), target.to_owned()]);
}

fn is_ipv6(target: &str) -> bool {
    let literal = target.split('%').next().unwrap_or(target);
    literal.parse::<Ipv6Addr>().is_ok()
}

/// A duration as people type it: with a unit, or seconds with a fraction.
fn seconds(text: &str) -> Result<Duration, BadDuration> {
    parse_duration(text).or_else(|bad| {
        let number: f64 = text
            .strip_suffix('s')
            .unwrap_or(text)
            .parse()
            .map_err(|_| bad.clone())?;
        Duration::try_from_secs_f64(number).map_err(|_| bad)
    })
}

/// A time to wait: what every type takes.
fn interval(text: &str) -> Result<Duration, String> {
    let duration = seconds(text).map_err(|bad| bad.to_string())?;
    if (1..=60_000).contains(&duration.as_millis()) {
        Ok(duration)
    } else {
        Err("write 1ms to 60s".to_owned())
    }
}

/// A type as a person meets it.
trait Talk {
    /// What the option parser cannot see for itself.
    ///
    /// # Errors
    /// What cannot be used, in words.
    fn check(&self) -> Result<(), String> {
        Ok(())
    }

    /// The command in the controller's language, `reference` dialect.
    fn words(&self) -> Vec<String>;

    /// In which form the result is wanted.
    fn form(&self) -> Form;

    /// The first socket is open: what is measured, and where from.
    fn begun(&mut self, to: IpAddr, from: IpAddr, say: &mut Say) {
        let _ = (to, from, say);
    }

    /// A packet was handed to the system.
    fn sent(&mut self) {}

    /// Something happened.
    fn seen(&mut self, seen: &Seen, say: &mut Say);

    /// Whether nothing that is still to come would be news to a person: the run need not go on.
    fn is_complete(&self) -> bool {
        false
    }

    /// The last words.
    fn summary(&self, outcome: &Outcome, say: &mut Say);

    /// The name has no address of the family that was tried. Whether to try again, with other words.
    fn turn(&mut self) -> bool {
        false
    }

    /// What a person can do when nobody answers and nobody says why.
    fn advice(&self) -> Option<String> {
        None
    }

    /// What stays unknown without raw sockets, if anything does.
    fn missing(&self) -> Option<&'static str> {
        None
    }
}

pub(super) fn main(kind: Kind, args: &MeasureArgs) -> super::super::Outcome {
    match kind {
        Kind::Tls => talk::<tls::Tls>(args),
        Kind::Ping => talk::<ping::Ping>(args),
        Kind::Traceroute => talk::<traceroute::Traceroute>(args),
        Kind::Dns => talk::<dns::Dns>(args),
        Kind::Http => talk::<http::Http>(args),
        Kind::Ntp => talk::<ntp::Ntp>(args),
    }
}

/// How each type is asked for, by the word that a person writes.
pub(super) fn types() -> impl Iterator<Item = clap::Command> {
    Kind::ALL.into_iter().map(|kind| {
        let command = match kind {
            Kind::Tls => tls::Tls::command(),
            Kind::Ping => ping::Ping::command(),
            Kind::Traceroute => traceroute::Traceroute::command(),
            Kind::Dns => dns::Dns::command(),
            Kind::Http => http::Http::command(),
            Kind::Ntp => ntp::Ntp::command(),
        };
        command.name(kind.name())
    })
}

fn talk<T: Talk + Parser>(args: &MeasureArgs) -> super::super::Outcome {
    // In usage lines the type is called as it was, not like the program of that name.
    let mut words = args.command.clone();
    if let Some(verb) = words.first_mut() {
        T::command().get_name().clone_into(verb);
    }
    let mut talk = match T::try_parse_from(&words) {
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
    talk.check()
        .map_err(|error| Failure::new(Exit::Usage, anyhow::anyhow!(error)))?;
    loop {
        let (outcome, found) = measure(&mut talk, args)?;
        if !(found.no_address && talk.turn()) {
            return finish(&talk, &outcome, &found);
        }
    }
}

/// What a run met with that its result does not tell apart.
#[derive(Debug, Default)]
struct Found {
    /// Where to, once a socket was wanted.
    to: Option<IpAddr>,
    /// A socket is open.
    begun: bool,
    /// The name exists and has no address of the family asked for.
    no_address: bool,
    /// What was said of that: not worth saying if the other family has one.
    held: Vec<Piece>,
    /// What a person can do about the first failure.
    hint: Option<String>,
    /// A socket was refused for lack of privilege.
    refused: bool,
    /// Without raw sockets.
    unprivileged: bool,
    /// The RESULT lines.
    lines: String,
}

impl Found {
    /// Takes note of an event and lets it be talked about.
    fn hear(&mut self, event: &Event<'_>, talk: &mut impl Talk, say: &mut Say) {
        match event {
            Event::Out { output, .. } => match output {
                Output::Open { socket, .. } => self.to = Some(socket.to),
                Output::Connect { stream, .. } => self.to = Some(stream.to.ip()),
                Output::Seen(seen) => talk.seen(seen, say),
                _ => {}
            },
            Event::In {
                input: Input::Sent { .. },
                ..
            } => talk.sent(),
            Event::In { input, .. } => match input {
                Input::Resolved(Err(error)) => {
                    self.no_address |= *error == ResolveError::Failed;
                    self.hint.get_or_insert_with(|| hint::unresolved(*error));
                }
                Input::Opened { local, .. } | Input::Connected { local, .. } => {
                    if !self.begun
                        && let Some(to) = self.to
                    {
                        talk.begun(to, local.ip(), say);
                    }
                    self.begun = true;
                }
                Input::Failed { cause, .. } => {
                    if let Refusal::Os { call, errno } = cause {
                        let refusals = [Errno::EPERM as i32, Errno::EACCES as i32];
                        self.refused |= *call == Call::Socket && refusals.contains(errno);
                    }
                    if let (None, Some(to)) = (&self.hint, self.to) {
                        self.hint = hint::refused(to, cause);
                    }
                }
                _ => {}
            },
        }
    }
}

/// One run, with talk unless the result is wanted instead.
fn measure(talk: &mut impl Talk, args: &MeasureArgs) -> Result<(Outcome, Found), Failure> {
    let args = MeasureArgs {
        allow_any_address: true,
        dialect: Dialect::Reference,
        transcript: args.transcript.clone(),
        command: talk.words(),
    };
    // As with addresses: files may be named anywhere.
    let rules = Rules {
        unsafe_paths: true,
        ..rules(&args)
    };
    let spec =
        Spec::parse(&args.command, &rules).map_err(|error| Failure::new(Exit::Usage, error))?;
    let silent = talk.form().is_silent();
    let style = Style::of_stdout();
    // Holds no more than the run keeps for its result, which is bounded.
    let (tell, said) = mpsc::unbounded_channel();
    let closed = Notify::new();
    let complete = Notify::new();
    let mut found = Found::default();
    let mut unprivileged = false;
    let outcome = live(
        &spec,
        &args,
        {
            let found = &mut found;
            let complete = &complete;
            let mut say = Say::new(style);
            move |event| {
                found.hear(event, talk, &mut say);
                if talk.is_complete() {
                    complete.notify_one();
                }
                for piece in say.take() {
                    if found.no_address && !found.begun {
                        found.held.push(piece);
                    } else if !silent {
                        // The speaker leaves only when nobody listens.
                        let _ = tell.send(piece);
                    }
                }
            }
        },
        async |net| {
            unprivileged = !net.capabilities().raw;
            speech::speak(said, net, style, &closed).await;
        },
        async {
            tokio::select! {
                () = closed.notified() => {}
                () = complete.notified() => {}
            }
        },
    )?;
    found.unprivileged = unprivileged;
    found.lines = lines(&spec, &version(), &outcome, Dialect::Reference);
    Ok((outcome, found))
}

/// The result in the form that is wanted, what was missing, and the exit code.
fn finish(talk: &impl Talk, outcome: &Outcome, found: &Found) -> super::super::Outcome {
    let form = talk.form();
    if form.result {
        print::text(&found.lines)?;
    } else if form.json {
        for line in found.lines.lines() {
            print::line(line.strip_prefix("RESULT ").unwrap_or(line))?;
        }
    } else {
        let mut say = Say::again(Style::of_stdout(), &found.held);
        talk.summary(outcome, &mut say);
        print::text(&say.text())?;
    }
    if found.refused && !found.begun {
        let error = anyhow::anyhow!(
            "this needs a raw socket, which the system refused.\n{}\nPing and `traceroute --icmp` also do with: \
             sudo sysctl net.ipv4.ping_group_range=\"0 2147483647\"",
            grant()
        );
        return Err(Failure::new(Exit::NoPermission, error));
    }
    if found.begun
        && found.unprivileged
        && let Some(missing) = talk.missing()
    {
        print::talk(&format!(
            "starling: without raw sockets: {missing}.\n{}",
            grant()
        ));
    }
    if !outcome.answered
        && let Some(hint) = found.hint.clone().or_else(|| talk.advice())
    {
        print::talk(&format!("starling: {hint}"));
    }
    Ok(if outcome.answered {
        Exit::Done
    } else {
        Exit::NoAnswer
    })
}

/// How to give the program what it lacks.
fn grant() -> String {
    let program = std::env::current_exe().map_or_else(
        |_| "/path/to/starling".to_owned(),
        |path| path.display().to_string(),
    );
    format!("To allow it: sudo setcap cap_net_raw+ep {program}")
}
