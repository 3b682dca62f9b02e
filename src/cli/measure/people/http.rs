//! `starling measure http`.

use std::{net::IpAddr, path::PathBuf, time::Duration};

use clap::Parser;

use super::{Addresses, Form, Say, Talk, end, interval};
use crate::measurement::{
    Outcome, Seen,
    http::{self, Complete, Entry, Problem, Response},
};

/// Columns of the timeline.
const WIDTH: u32 = 32;

/// Ask a web server for a page and time each phase of it.
#[derive(Debug, Parser)]
#[command(
    name = "starling measure http",
    max_term_width = 100,
    after_help = "The page is counted, not shown. Redirects are not followed and certificates are not checked: this \
                  measures the server that was named, whatever it is.\n\nExamples:\n  starling measure http \
                  https://www.example/\n  starling measure http -6 --head --headers http://www.example/\n  starling \
                  measure http --all https://www.example/\n\nExits with 0 if a response came to its end, with 1 if \
                  none did."
)]
pub(super) struct Http {
    /// Where the page is: http://… or https://…
    url: String,
    #[command(flatten)]
    addresses: Addresses,
    /// Ask for the headers only.
    #[arg(long, conflicts_with = "post")]
    head: bool,
    /// Send the contents of this file.
    #[arg(long, value_name = "FILE")]
    post: Option<PathBuf>,
    /// Try every address of the host rather than the first that connects.
    #[arg(short, long)]
    all: bool,
    /// Show the header lines of the response.
    #[arg(long)]
    headers: bool,
    /// How long each address may take, up to 60s. Bare numbers are seconds.
    #[arg(short, long, default_value = "5s", value_parser = interval, value_name = "DURATION")]
    timeout: Duration,
    /// Stop after about so many octets of the response.
    #[arg(long, default_value_t = 0, value_name = "OCTETS")]
    read_limit: u64,
    /// Ask with HTTP/1.0.
    #[arg(short = '0', long = "http1.0")]
    http_1_0: bool,
    /// Ask for this host rather than the one of the URL.
    #[arg(long, value_name = "NAME")]
    host: Option<String>,
    /// Name this server in the TLS handshake rather than the one of the URL.
    #[arg(long, value_name = "NAME")]
    sni: Option<String>,
    /// What to say who asks.
    #[arg(long, value_name = "TEXT")]
    user_agent: Option<String>,
    /// Connect from this address or through this interface.
    #[arg(short = 'I', long, value_name = "ADDRESS|NAME")]
    interface: Option<String>,
    #[command(flatten)]
    form: Form,
    #[arg(skip)]
    phases: Phases,
}

/// What is known of the exchange that goes on.
#[derive(Clone, Debug, Default)]
struct Phases {
    resolve_ms: Option<f64>,
    to: Option<IpAddr>,
    tcp_ms: Option<f64>,
    connect_ms: f64,
    tls: Option<(u16, u16)>,
    first_byte_ms: Option<f64>,
}

impl Talk for Http {
    fn words(&self) -> Vec<String> {
        let mut words = vec!["evhttpget".to_owned(), "--etim".to_owned()];
        let mut flag = |given: bool, word: &str| {
            if given {
                words.push(word.to_owned());
            }
        };
        flag(self.addresses.ipv4, "-4");
        flag(self.addresses.ipv6, "-6");
        flag(self.http_1_0, "-0");
        flag(self.head, "--head");
        flag(self.post.is_some(), "--post");
        flag(self.all, "--all");
        flag(self.headers, "--store-headers=65536");
        flag(
            self.read_limit > 0,
            &format!("--read-limit={}", self.read_limit),
        );
        flag(true, &format!("--timeout={}", self.timeout.as_millis()));
        let mut value = |word: &str, value: Option<&str>| {
            if let Some(value) = value {
                words.push(format!("--{word}={value}"));
            }
        };
        let file = self.post.as_ref().map(|file| file.to_string_lossy());
        value("post-file", file.as_deref());
        value("host", self.host.as_deref());
        value("sni", self.sni.as_deref());
        value("user-agent", self.user_agent.as_deref());
        end(&mut words, "-I", self.interface.as_deref(), &self.url);
        words
    }

    fn form(&self) -> Form {
        self.form
    }

    fn begun(&mut self, to: IpAddr, from: IpAddr, say: &mut Say) {
        say.line(format!("HTTP {} ({to}) from {from}", self.url));
    }

    fn seen(&mut self, seen: &Seen, say: &mut Say) {
        let Seen::Http(seen) = seen else { return };
        match seen {
            http::Seen::Resolved { ms, .. } => self.phases.resolve_ms = *ms,
            http::Seen::Connecting(to) => {
                // The look-up was for all addresses; it stands with the first.
                let resolve_ms = self.phases.resolve_ms.filter(|_| self.phases.to.is_none());
                self.phases = Phases {
                    resolve_ms,
                    to: Some(*to),
                    ..Phases::default()
                };
            }
            http::Seen::Connected {
                tcp_ms, ms, tls, ..
            } => {
                self.phases.tcp_ms = *tcp_ms;
                self.phases.connect_ms = *ms;
                self.phases.tls = *tls;
            }
            http::Seen::FirstByte(ms) => self.phases.first_byte_ms = Some(*ms),
            http::Seen::Entry(entry) => match &**entry {
                Entry::Tried(response) => self.tried(response, say),
                // These are for the summary, or not for people.
                Entry::Unresolved(_) | Entry::Forbidden(_) => {}
            },
        }
    }

    fn summary(&self, outcome: &Outcome, say: &mut Say) {
        let unresolved = outcome.bodies.iter().find_map(|body| match body {
            crate::measurement::Body::Http(body) => match body.entries.first() {
                Some(Entry::Unresolved(why)) => Some(why),
                _ => None,
            },
            _ => None,
        });
        let text = match unresolved {
            Some(why) => format!("--- {}: {why}", self.url),
            None if outcome.answered => format!("--- {}: answered", self.url),
            None => format!("--- {}: no answer", self.url),
        };
        say.line(if outcome.answered {
            say.style.good(&text)
        } else {
            say.style.bad(&text)
        });
    }
}

impl Http {
    /// What came of one address.
    fn tried(&self, response: &Response, say: &mut Say) {
        let to = &response.destination;
        if let Some(complete) = &response.complete {
            for line in self.phases.lines(complete.ms) {
                say.line(line);
            }
            say.line(
                say.style
                    .strong(&format!("  {}", ending(response, complete))),
            );
        }
        if let Some(Problem::Exchange(why) | Problem::Socket(why)) = &response.problem {
            say.line(say.style.bad(&format!("  {to}: {why}")));
        }
        let lines = response.header.iter().flatten();
        for line in lines.filter(|line| !line.is_empty()) {
            say.line(format!("    {}", shown(line)));
        }
    }
}

/// The response in a few words.
fn ending(response: &Response, complete: &Complete) -> String {
    let status = complete.status;
    let cut = if response.truncated {
        ", the rest left unread"
    } else {
        ""
    };
    format!(
        "HTTP/{}.{} {} from {}: {} octets of headers, {} of body{cut}",
        status.major,
        status.minor,
        status.code,
        response.destination,
        complete.header_size,
        complete.body_size
    )
}

impl Phases {
    /// The timeline: a line a phase, its time, and where it lies in the whole.
    fn lines(&self, done_ms: f64) -> Vec<String> {
        let start = self.resolve_ms.unwrap_or(0.0);
        let tcp_ms = self.tcp_ms.filter(|ms| *ms <= self.connect_ms);
        let mut ends = Vec::new();
        if self.resolve_ms.is_some() {
            ends.push(("resolve", start, String::new()));
        }
        match (self.tls, tcp_ms) {
            (Some(tls), Some(tcp_ms)) => {
                ends.push(("connect", start + tcp_ms, String::new()));
                ends.push(("TLS", start + self.connect_ms, tls_text(tls)));
            }
            (Some(tls), None) => ends.push((
                "connect",
                start + self.connect_ms,
                format!("with {}", tls_text(tls)),
            )),
            (None, _) => ends.push(("connect", start + self.connect_ms, String::new())),
        }
        if let Some(ms) = self.first_byte_ms {
            ends.push(("first byte", start + ms, String::new()));
        }
        ends.push(("done", start + done_ms, String::new()));
        let total = start + done_ms;
        let mut from = 0.0;
        ends.into_iter()
            .map(|(name, to, note)| {
                let line = line(name, from, to, total);
                from = to;
                format!("{line} {note}").trim_end().to_owned()
            })
            .collect()
    }
}

fn line(name: &str, from: f64, to: f64, total: f64) -> String {
    let (start, end) = (column(from, total).min(WIDTH - 1), column(to, total));
    let bar: String = (0..WIDTH)
        .map(|column| match column {
            _ if column == start || (start..end).contains(&column) => '━',
            _ => ' ',
        })
        .collect();
    format!("  {name:<10} {:>10.3} ms  {bar}", (to - from).max(0.0))
}

/// The column in which a moment lies.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a fraction of a small width"
)]
fn column(ms: f64, total: f64) -> u32 {
    if total <= 0.0 {
        return 0;
    }
    let part = (ms / total).clamp(0.0, 1.0) * f64::from(WIDTH);
    part as u32
}

/// Version and cipher suite.
fn tls_text((version, cipher): (u16, u16)) -> String {
    match version {
        0x0304 => format!("TLS 1.3, suite 0x{cipher:04x}"),
        0x0303 => format!("TLS 1.2, suite 0x{cipher:04x}"),
        other => format!("TLS version 0x{other:04x}, suite 0x{cipher:04x}"),
    }
}

/// A header line of a stranger, as it is safe to show.
fn shown(line: &[u8]) -> String {
    String::from_utf8_lossy(line)
        .chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_become_the_controllers_words() {
        let http = |words: &str| Http::parse_from(words.split(' ')).words().join(" ");
        assert_eq!(
            http("http http://a/"),
            "evhttpget --etim --timeout=5000 -- http://a/"
        );
        assert_eq!(
            http("http -6 -0 --head --all --headers -t 500ms --host h --sni s -I lo https://a/"),
            "evhttpget --etim -6 -0 --head --all --store-headers=65536 --timeout=500 --host=h --sni=s -I lo -- \
             https://a/"
        );
        assert_eq!(
            http("http --post body.txt --read-limit 9 http://a/"),
            "evhttpget --etim --post --read-limit=9 --timeout=5000 --post-file=body.txt -- http://a/"
        );
    }

    #[test]
    fn phases_lie_behind_one_another() {
        let phases = Phases {
            resolve_ms: Some(8.0),
            tcp_ms: Some(8.0),
            connect_ms: 16.0,
            tls: Some((0x0304, 0x1302)),
            first_byte_ms: Some(20.0),
            ..Phases::default()
        };
        let bar = |start: usize, length: usize| {
            let rest = 32 - start - length;
            format!(
                "{}{}{}",
                " ".repeat(start),
                "━".repeat(length),
                " ".repeat(rest)
            )
        };
        assert_eq!(
            phases.lines(24.0),
            [
                format!("  resolve         8.000 ms  {}", bar(0, 8).trim_end()),
                format!("  connect         8.000 ms  {}", bar(8, 8).trim_end()),
                format!(
                    "  TLS             8.000 ms  {} TLS 1.3, suite 0x1302",
                    bar(16, 8)
                ),
                format!("  first byte      4.000 ms  {}", bar(24, 4).trim_end()),
                format!("  done            4.000 ms  {}", bar(28, 4).trim_end()),
            ]
        );
    }

    #[test]
    fn a_phase_that_took_no_time_still_shows() {
        let lines = Phases::default().lines(0.0);
        assert_eq!(
            lines,
            [
                "  connect         0.000 ms  ━",
                "  done            0.000 ms  ━"
            ]
        );
    }

    #[test]
    fn header_lines_of_strangers_cannot_move_the_cursor() {
        assert_eq!(shown(b"A: \x1b[2J\xff"), "A: \u{fffd}[2J\u{fffd}");
    }
}
