//! `starling measure dns`.

use std::{net::IpAddr, time::Duration};

use clap::Parser;

use super::{Addresses, Form, Say, Talk, dns_reply, interval};
use crate::{
    measurement::{
        Body, Outcome, Seen,
        dns::{Entry, Seen as Progress},
    },
    net::resolver::reverse,
    wire::dns::{class_number, type_number},
};

/// Ask a name server, and show what it answers.
#[derive(Debug, Parser)]
#[command(
    name = "starling measure dns",
    max_term_width = 100,
    override_usage = "starling measure dns [OPTIONS] [@SERVER] NAME [TYPE] [CLASS]",
    after_help = "Without @SERVER every server of /etc/resolv.conf is asked, one after the other. Names are taken as they \
                  stand, without a search list; $r in a name stands for a random word and $t for the time, so that \
                  no cache knows it.\n\nExamples:\n  starling measure dns example.org\n  starling measure dns \
                  @192.0.2.53 example.org MX --dnssec\n  starling measure dns @dns.example --tls example.org AAAA\n  \
                  starling measure dns -x 192.0.2.1 --short\n  starling measure dns @192.0.2.53 version.bind TXT \
                  CH\n\nExits with 0 if a server answered, whatever it said, with 1 if none did."
)]
pub(super) struct Dns {
    /// What to ask whom, in any order: NAME, @SERVER (address or name), TYPE such as AAAA or TYPE65, CLASS.
    #[arg(required_unless_present = "reverse", value_name = "WORD")]
    words: Vec<String>,
    /// Ask for the name of this address.
    #[arg(short = 'x', long, value_name = "ADDRESS", conflicts_with_all = ["rtype", "class"])]
    reverse: Option<IpAddr>,
    /// The type to ask for: A unless given here or as a word.
    #[arg(short = 't', long = "type", value_name = "TYPE", value_parser = rtype)]
    rtype: Option<u16>,
    /// The class to ask for: IN unless given here or as a word.
    #[arg(short = 'c', long, value_name = "CLASS", value_parser = class)]
    class: Option<u16>,
    #[command(flatten)]
    family: Addresses,
    #[command(flatten)]
    transport: Transport,
    /// The server's port: 53, 853 or 443 as the transport has it.
    #[arg(short, long, value_name = "PORT")]
    port: Option<u16>,
    /// With --tls or --https: the name that the server's certificate must hold for. Without it any certificate
    /// will do.
    #[arg(long, value_name = "NAME")]
    tls_name: Option<String>,
    /// With --https: the path to post to.
    #[arg(
        long,
        value_name = "PATH",
        requires = "https",
        default_value = "/dns-query"
    )]
    https_path: String,
    /// Ask for DNSSEC records (the DO bit).
    #[arg(short, long)]
    dnssec: bool,
    /// Ask a resolver not to check signatures (the CD bit).
    #[arg(long)]
    no_check: bool,
    /// Do not ask for recursion.
    #[arg(long)]
    no_recursion: bool,
    /// Ask the server for its identifier.
    #[arg(long)]
    nsid: bool,
    /// Send a cookie and check the one that comes back.
    #[arg(long)]
    cookie: bool,
    /// Send the client subnet 0/0, which asks a resolver not to pass on where you are.
    #[arg(long)]
    subnet: bool,
    /// The largest UDP reply to accept; 512 asks without EDNS.
    #[arg(long, default_value_t = 1232, value_name = "OCTETS", value_parser = clap::value_parser!(u16).range(512..))]
    bufsize: u16,
    /// How long to wait for a UDP reply, up to 60s. Bare numbers are seconds.
    #[arg(short, long, default_value = "5s", value_parser = interval, value_name = "DURATION")]
    wait: Duration,
    /// Ask again so often if nothing comes.
    #[arg(long, default_value_t = 2, value_name = "N", value_parser = clap::value_parser!(u8).range(..=20))]
    retry: u8,
    /// Send from this address or through this interface.
    #[arg(short = 'I', long, value_name = "ADDRESS|NAME")]
    interface: Option<String>,
    /// Print only the data of the answers.
    #[arg(long, conflicts_with_all = ["json", "result"])]
    short: bool,
    #[command(flatten)]
    form: Form,
    /// Entries that were shown.
    #[arg(skip)]
    shown: usize,
}

/// How the query travels.
#[derive(clap::Args, Clone, Copy, Debug)]
struct Transport {
    /// Ask over TCP.
    #[arg(short = 'T', long, group = "transport")]
    tcp: bool,
    /// Ask over TLS (RFC 7858).
    #[arg(short = 'S', long, group = "transport")]
    tls: bool,
    /// Ask over HTTPS (RFC 8484).
    #[arg(short = 'H', long, group = "transport")]
    https: bool,
}

impl Transport {
    const fn name(self) -> &'static str {
        match (self.tcp, self.tls, self.https) {
            (true, _, _) => "TCP",
            (_, true, _) => "TLS",
            (_, _, true) => "HTTPS",
            _ => "UDP",
        }
    }
}

fn rtype(text: &str) -> Result<u16, String> {
    let number = type_number(text).or_else(|| text.parse().ok());
    number.ok_or_else(|| "write a type such as AAAA, TYPE28 or 28".to_owned())
}

fn class(text: &str) -> Result<u16, String> {
    let number = class_number(text).or_else(|| text.parse().ok());
    number.ok_or_else(|| "write a class such as IN, CH or 1".to_owned())
}

/// What the words say.
#[derive(Debug, Default, PartialEq, Eq)]
struct Question {
    server: Option<String>,
    name: Option<String>,
    rtype: Option<u16>,
    class: Option<u16>,
    /// A word that can be none of these.
    spare: Option<String>,
}

impl Question {
    /// Sorts words: the name is the first that is neither type nor class, or the first if all are.
    fn of(words: &[String]) -> Self {
        let mut question = Self::default();
        let mut bare: Vec<&String> = Vec::new();
        for word in words {
            match word.strip_prefix('@') {
                Some(server) if question.server.is_none() => {
                    let literal = server
                        .strip_prefix('[')
                        .and_then(|text| text.strip_suffix(']'));
                    question.server = Some(literal.unwrap_or(server).to_owned());
                }
                Some(_) => question.spare = Some(word.clone()),
                None => bare.push(word),
            }
        }
        let is_name = |word: &&String| type_number(word).is_none() && class_number(word).is_none();
        let at = bare.iter().position(is_name).unwrap_or(0);
        if !bare.is_empty() {
            question.name = Some(bare.remove(at).clone());
        }
        for word in bare {
            // ANY is both; what is asked for every day is the type.
            match (type_number(word), class_number(word)) {
                (Some(rtype), _) if question.rtype.is_none() => question.rtype = Some(rtype),
                (_, Some(class)) if question.class.is_none() => question.class = Some(class),
                _ => question.spare = Some(word.clone()),
            }
        }
        question
    }
}

impl Talk for Dns {
    fn check(&self) -> Result<(), String> {
        let question = Question::of(&self.words);
        match (question.spare, question.name, self.reverse) {
            (Some(word), ..) => Err(format!("one word too many: `{word}`")),
            (None, Some(name), Some(_)) => Err(format!("one word too many beside -x: `{name}`")),
            (None, None, None) => Err("no name to ask for".to_owned()),
            _ => Ok(()),
        }
    }

    fn words(&self) -> Vec<String> {
        let question = Question::of(&self.words);
        let (name, usual) = match self.reverse {
            Some(address) => (reverse(address), 12),
            None => (question.name.unwrap_or_default(), 1),
        };
        let dot = if name.ends_with('.') { "" } else { "." };
        let rtype = self.rtype.or(question.rtype).unwrap_or(usual);
        let class = self.class.or(question.class).unwrap_or(1);
        let mut words: Vec<String> = vec![
            "evtdig".to_owned(),
            "--query".to_owned(),
            format!("{name}{dot}"),
            "--type".to_owned(),
            rtype.to_string(),
            "--class".to_owned(),
            class.to_string(),
            "--edns0".to_owned(),
            self.bufsize.to_string(),
            "--timeout".to_owned(),
            self.wait.as_millis().to_string(),
            "--retry".to_owned(),
            self.retry.to_string(),
        ];
        let flags = [
            (self.transport.tcp, "-t"),
            (self.transport.tls, "--tls"),
            (self.transport.https, "--https"),
            (self.dnssec, "--do"),
            (self.no_check, "--cd"),
            (!self.no_recursion, "-R"),
            (self.nsid, "--nsid"),
            (self.cookie, "--cookies"),
            (self.subnet, "--client-subnet"),
        ];
        let set = flags.iter().filter(|(set, _)| *set);
        words.extend(set.map(|(_, word)| (*word).to_owned()));
        let mut value = |word: &str, value: Option<String>| {
            if let Some(value) = value {
                words.extend([word.to_owned(), value]);
            }
        };
        value("--port", self.port.map(|port| port.to_string()));
        value("--sni-cert-name", self.tls_name.clone());
        let path = self.transport.https.then(|| self.https_path.clone());
        value("--https-path", path);
        value("-I", self.interface.clone());
        words.push(self.family.word_of_both().to_owned());
        match question.server {
            Some(server) => words.extend(["--".to_owned(), server]),
            None => words.push("--resolv".to_owned()),
        }
        words
    }

    fn form(&self) -> Form {
        self.form
    }

    fn seen(&mut self, seen: &Seen, say: &mut Say) {
        let Seen::Dns(seen) = seen else { return };
        match seen {
            Progress::Entry(entry) => {
                self.shown += 1;
                self.show(entry, say);
            }
            Progress::Repeat(_) if self.short => {}
            Progress::Repeat(times) => {
                say.line(
                    say.style
                        .faint(&format!(";; no usable reply, asking again ({times})")),
                );
            }
        }
    }

    fn summary(&self, outcome: &Outcome, say: &mut Say) {
        for body in &outcome.bodies {
            let Body::Dns(body) = body else { continue };
            for entry in body.entries.iter().skip(self.shown) {
                self.show(entry, say);
            }
        }
        if outcome.bodies.is_empty() {
            say.line(say.style.bad(";; nothing came before the end"));
        }
    }
}

impl Dns {
    fn show(&self, entry: &Entry, say: &mut Say) {
        if self.short {
            return dns_reply::short(entry, say);
        }
        if let Some((place, of)) = entry.place.filter(|(_, of)| *of > 1) {
            let blank = if place > 1 { "\n" } else { "" };
            say.line(
                say.style
                    .strong(&format!("{blank};; Server {place} of {of}")),
            );
        }
        dns_reply::full(entry, self.transport.name(), say);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::dns::type_name;

    fn words(line: &str) -> String {
        Dns::parse_from(line.split(' ')).words().join(" ")
    }

    #[test]
    fn words_may_stand_in_any_order() {
        let usual = "evtdig --query a.example. --type 15 --class 1 --edns0 1232 --timeout 5000 --retry 2 -R -a -- 192.0.2.1";
        assert_eq!(words("dns a.example MX @192.0.2.1"), usual);
        assert_eq!(words("dns @192.0.2.1 mx a.example."), usual);
        assert_eq!(words("dns -t15 @192.0.2.1 a.example in"), usual);
    }

    #[test]
    fn without_a_server_those_of_the_resolver_file_are_asked() {
        assert_eq!(
            words("dns a.example"),
            "evtdig --query a.example. --type 1 --class 1 --edns0 1232 --timeout 5000 --retry 2 -R -a --resolv"
        );
        assert_eq!(
            words("dns version.bind ch TXT"),
            "evtdig --query version.bind. --type 16 --class 3 --edns0 1232 --timeout 5000 --retry 2 -R -a --resolv"
        );
    }

    #[test]
    fn an_address_is_asked_for_backwards() {
        assert!(words("dns -x 192.0.2.1").contains("--query 1.2.0.192.in-addr.arpa. --type 12 "));
    }

    #[test]
    fn flags_become_the_controllers() {
        let line = "dns @[2001:db8::1] -6 --https --https-path /q --tls-name n --dnssec --nsid --cookie --subnet \
                    --no-check --no-recursion --port 8443 -w 1 --retry 0 -I lo a.example ns";
        assert_eq!(
            words(&line.split_whitespace().collect::<Vec<_>>().join(" ")),
            "evtdig --query a.example. --type 2 --class 1 --edns0 1232 --timeout 1000 --retry 0 --https --do --cd --nsid \
             --cookies --client-subnet --port 8443 --sni-cert-name n --https-path /q -I lo -6 -- 2001:db8::1"
        );
    }

    #[test]
    fn a_name_may_look_like_a_type() {
        let words = |line: &str| {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            Question::of(&words)
        };
        assert_eq!(words("ns").name.as_deref(), Some("ns"));
        assert_eq!(words("ns a").rtype, Some(1));
        assert_eq!(words("a.example mx txt").spare.as_deref(), Some("txt"));
        assert_eq!(words("@a @b c").spare.as_deref(), Some("@b"));
        assert_eq!(type_name(words("x any").rtype.unwrap()), "ANY");
    }

    #[test]
    fn what_cannot_be_asked_is_refused() {
        let check = |line: &str| Dns::try_parse_from(line.split(' ')).map(|dns| dns.check());
        assert!(check("dns").is_err());
        assert!(check("dns --tcp --tls a").is_err());
        assert_eq!(
            check("dns x y").unwrap(),
            Err("one word too many: `y`".to_owned())
        );
        assert!(check("dns @a").unwrap().is_err());
        assert!(check("dns -x ::1 a").unwrap().is_err());
        assert_eq!(check("dns -x ::1 @a").unwrap(), Ok(()));
    }
}
