//! `starling measure tls`.

use std::{fmt, net::IpAddr};

use clap::Parser;

use super::{Addresses, Form, Say, Talk, is_ipv6};
use crate::{
    calendar,
    measurement::{
        Body, Outcome, Seen, args,
        tls::{self, Answer, Finding, Missing, Shown},
    },
    wire::x509::Certificate,
};

/// Names of one certificate that are shown.
const NAMES: usize = 12;

/// Show the certificates of a server, when it spoke and in what. Nothing is verified.
#[derive(Debug, Parser)]
#[command(
    name = "starling measure tls",
    max_term_width = 100,
    after_help = "Times count from before the connection. The first hello offers TLS 1.3 and 1.2; a server that cannot \
                  answer it is sent the official probe's, which is what --hello sends at once.\n\nExamples:\n  starling \
                  measure tls www.example\n  starling measure tls -6 --port 993 mail.example\n  starling measure tls \
                  --sni www.example 192.0.2.1\n  starling measure tls --hello tls1.0 old.example\n\nExits with 0 if the \
                  server answered, with certificates or with an alert, and with 1 if it did not."
)]
pub(super) struct Tls {
    /// Host name or address of the server.
    target: String,
    #[command(flatten)]
    addresses: Addresses,
    /// Port: a number, or a name such as imaps.
    #[arg(short, long, default_value = "443", value_name = "PORT")]
    port: String,
    /// Server name to send. Without it a host name is sent, an address is not.
    #[arg(short, long, value_name = "NAME", conflicts_with = "no_sni")]
    sni: Option<String>,
    /// Send no server name.
    #[arg(long)]
    no_sni: bool,
    /// Send the official probe's hello, of this version: tls1.2, tls1.1, tls1.0 or ssl3.0.
    #[arg(short = 'V', long, value_name = "VERSION")]
    hello: Option<String>,
    /// Send from this address or through this interface.
    #[arg(short = 'I', long, value_name = "ADDRESS|NAME")]
    interface: Option<String>,
    #[command(flatten)]
    form: Form,
}

impl Tls {
    /// The server name to send.
    fn name(&self) -> Option<&str> {
        match &self.sni {
            Some(name) => Some(name),
            None if self.no_sni || args::is_numeric_host(&self.target) => None,
            None => Some(&self.target),
        }
    }
}

impl Talk for Tls {
    fn words(&self) -> Vec<String> {
        let mut words = vec!["evsslgetcert".to_owned(), format!("-p{}", self.port)];
        // Neither means both, in turn.
        if self.addresses.ipv4 {
            words.push("-4".to_owned());
        } else if self.addresses.ipv6 || is_ipv6(&self.target) {
            words.push("-6".to_owned());
        }
        let named = [
            ("-h", self.name()),
            ("-V", self.hello.as_deref()),
            ("-i", self.interface.as_deref()),
        ];
        for (option, value) in named {
            if let Some(value) = value {
                words.extend([option.to_owned(), value.to_owned()]);
            }
        }
        words.extend(["--".to_owned(), self.target.clone()]);
        words
    }

    fn form(&self) -> Form {
        self.form
    }

    fn seen(&mut self, seen: &Seen, say: &mut Say) {
        let Seen::Tls(seen) = seen else { return };
        match seen {
            tls::Seen::Resolved(addresses, took) => {
                let name = match self.name() {
                    Some(name) => format!("server name {name}"),
                    None => "no server name".to_owned(),
                };
                say.line(format!("TLS {} port {}, {name}", self.target, self.port));
                if !args::is_numeric_host(&self.target) {
                    let addresses: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
                    step(say, "resolve", Some(*took), &addresses.join(" "));
                }
            }
            tls::Seen::NotConnected(address, why) => {
                let text = say.style.bad(&format!("{address}: {why}"));
                step(say, "connect", None, &text);
            }
            tls::Seen::Connected {
                source,
                destination,
                ttc,
            } => step(
                say,
                "connect",
                Some(*ttc),
                &format!("{destination} from {source}"),
            ),
            tls::Seen::OtherHello(why) => {
                let text = format!("{why}; the official probe's hello follows");
                step(say, "no hello", None, &say.style.faint(&text));
            }
            tls::Seen::Hello { cipher, after } => {
                step(say, "hello", Some(*after), &suite(*cipher));
            }
        }
    }

    fn summary(&self, outcome: &Outcome, say: &mut Say) {
        for body in &outcome.bodies {
            let Body::Tls(body) = body else { continue };
            match &body.finding {
                Finding::Answer(answer) => answered(answer, body.ended, say),
                finding => {
                    let text = format!("--- {}: {}", self.target, Why(finding));
                    say.line(say.style.bad(&text));
                }
            }
        }
    }
}

/// One line of the time line.
fn step(say: &mut Say, what: &str, millis: Option<f64>, text: &str) {
    let millis = millis.map_or_else(|| " ".repeat(12), |millis| format!("{millis:>9.3} ms"));
    say.line(format!("  {what:<12} {millis}  {text}"));
}

fn answered(answer: &Answer, now: i64, say: &mut Say) {
    let spoken = format!("{} {}", answer.protocol.method(), answer.protocol.version());
    match &answer.shown {
        Shown::Alert(alert) => {
            let level = if alert.level == 1 { "warning" } else { "alert" };
            let text = format!(
                "{level} {}{}, {spoken}",
                alert.description,
                alert_name(alert.description)
            );
            step(say, "refusal", Some(answer.rt), &say.style.bad(&text));
        }
        Shown::Certificates(certificates) => {
            let text = format!("{}, {spoken}", count(certificates.len()));
            step(say, "certificates", Some(answer.rt), &say.style.good(&text));
            for (place, der) in (1..).zip(certificates) {
                shown(place, der, now, say);
            }
        }
    }
}

fn count(certificates: usize) -> String {
    match certificates {
        1 => "1 certificate".to_owned(),
        count => format!("{count} certificates"),
    }
}

/// One certificate of a chain.
fn shown(place: usize, der: &[u8], now: i64, say: &mut Say) {
    let certificate = match Certificate::parse(der) {
        Ok(certificate) => certificate,
        Err(error) => {
            let text = format!(
                "{place:>3}  {} octets that are no certificate: {error}",
                der.len()
            );
            say.line(say.style.bad(&text));
            return;
        }
    };
    let Certificate {
        subject,
        issuer,
        not_before,
        not_after,
        key,
        names,
        is_authority,
    } = certificate;
    let role = if is_authority { " (authority)" } else { "" };
    let subject = if subject.is_empty() {
        "(no subject)".to_owned()
    } else {
        subject
    };
    say.line(format!("{place:>3}  {}{role}", say.style.strong(&subject)));
    let issuer = if issuer == subject {
        "itself".to_owned()
    } else {
        issuer
    };
    say.line(format!("     issued by  {issuer}"));
    let validity = validity(not_before, not_after, now);
    let validity = match validity {
        Ok(text) => text,
        Err(text) => say.style.bad(&text),
    };
    say.line(format!(
        "     valid      {} to {}, {validity}",
        calendar::written(calendar::day_of(not_before)),
        calendar::written(calendar::day_of(not_after))
    ));
    say.line(format!("     key        {key}"));
    if !names.is_empty() {
        let more = names.len().saturating_sub(NAMES);
        let mut text = names[..names.len() - more].join(" ");
        if more > 0 {
            text += &format!(" and {more} more");
        }
        say.line(format!("     names      {text}"));
    }
}

/// How a certificate's validity stands; an error if it is not valid.
fn validity(not_before: i64, not_after: i64, now: i64) -> Result<String, String> {
    if now < not_before {
        return Err("not valid yet".to_owned());
    }
    if now > not_after {
        return Err(format!(
            "expired {} days ago",
            (now - not_after) / calendar::DAY
        ));
    }
    Ok(format!("{} days left", (not_after - now) / calendar::DAY))
}

/// Why there is no answer, in words for a person.
struct Why<'a>(&'a Finding);

impl fmt::Display for Why<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Finding::Answer(_) => f.write_str("answered"),
            Finding::Unresolved(error) => write!(f, "{error}"),
            Finding::NotConnected(text) => write!(f, "no connection: {text}"),
            Finding::ConnectTimeout => f.write_str("no connection within 5 s"),
            Finding::Stalled { greeted, why, .. } => {
                let awaited = if *greeted { "certificates" } else { "hello" };
                match why {
                    Missing::Timeout => write!(f, "connected, but no {awaited} within 5 s"),
                    Missing::Closed => write!(f, "the server closed before its {awaited}"),
                    Missing::Broken(errno) => {
                        let text = nix::errno::Errno::from_raw(*errno).desc();
                        write!(f, "the connection broke before the {awaited}: {text}")
                    }
                    Missing::TooMuch => {
                        write!(f, "more octets than any server sends, and no {awaited}")
                    }
                }
            }
            Finding::Nonsense(problem) => write!(f, "does not speak TLS properly: {problem}"),
            Finding::Forbidden => f.write_str("address not allowed"),
            Finding::NoSocket(text) => f.write_str(text),
        }
    }
}

/// An alert's name (RFC 8446 section 6, RFC 5246 section 7.2) behind a space.
fn alert_name(description: u8) -> &'static str {
    match description {
        0 => " (close notify)",
        10 => " (unexpected message)",
        20 => " (bad record mac)",
        22 => " (record overflow)",
        40 => " (handshake failure)",
        42 => " (bad certificate)",
        43 => " (unsupported certificate)",
        47 => " (illegal parameter)",
        48 => " (unknown authority)",
        49 => " (access denied)",
        50 => " (decode error)",
        51 => " (decrypt error)",
        70 => " (protocol version)",
        71 => " (insufficient security)",
        80 => " (internal error)",
        86 => " (inappropriate fallback)",
        90 => " (user cancelled)",
        109 => " (missing extension)",
        112 => " (unrecognized name)",
        116 => " (certificate required)",
        120 => " (no application protocol)",
        _ => "",
    }
}

/// A suite by number and, where it is offered by a hello of ours, by name (IANA).
fn suite(cipher: u16) -> String {
    let name = match cipher {
        0x1301 => "TLS_AES_128_GCM_SHA256",
        0x1302 => "TLS_AES_256_GCM_SHA384",
        0x1303 => "TLS_CHACHA20_POLY1305_SHA256",
        0xc02b => "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        0xc02f => "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        0xcca9 => "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        0xcca8 => "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        0xc02c => "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        0xc030 => "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        0xc00a => "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
        0xc009 => "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
        0xc013 => "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
        0xc014 => "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
        0x009c => "TLS_RSA_WITH_AES_128_GCM_SHA256",
        0x009d => "TLS_RSA_WITH_AES_256_GCM_SHA384",
        0x002f => "TLS_RSA_WITH_AES_128_CBC_SHA",
        0x0035 => "TLS_RSA_WITH_AES_256_CBC_SHA",
        0x000a => "TLS_RSA_WITH_3DES_EDE_CBC_SHA",
        _ => return format!("suite 0x{cipher:04x}"),
    };
    format!("0x{cipher:04x} {name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> String {
        let words = ["tls"].into_iter().chain(line.split(' '));
        Tls::parse_from(words).words().join(" ")
    }

    #[test]
    fn options_become_the_controllers_words() {
        assert_eq!(
            words("www.example"),
            "evsslgetcert -p443 -h www.example -- www.example"
        );
        assert_eq!(words("192.0.2.1"), "evsslgetcert -p443 -- 192.0.2.1");
        assert_eq!(words("2001:db8::1"), "evsslgetcert -p443 -6 -- 2001:db8::1");
        assert_eq!(
            words("-4 -p imaps --no-sni --hello ssl3.0 -I eth0 mail.example"),
            "evsslgetcert -pimaps -4 -V ssl3.0 -i eth0 -- mail.example"
        );
        assert_eq!(
            words("-6 --sni b.example a.example"),
            "evsslgetcert -p443 -6 -h b.example -- a.example"
        );
    }

    #[test]
    fn a_certificate_is_shown_with_names_validity_and_key() {
        let der = include_bytes!("../../../../tests/tls/certificate.der");
        let certificate = Certificate::parse(der).unwrap();
        let mut say = Say::new(super::super::Style::default());
        shown(1, der, certificate.not_after - 86_400, &mut say);
        let text = say.text();
        assert!(text.contains("     names      "), "{text}");
        assert!(text.contains("target.example"), "{text}");
        assert!(text.contains(", 1 days left"), "{text}");
        assert!(text.contains("     key        "), "{text}");
        let mut say = Say::new(super::super::Style::default());
        shown(2, b"x", 0, &mut say);
        assert!(say.text().contains("1 octets that are no certificate"));
    }

    #[test]
    fn validity_tells_what_is_left_of_it() {
        let day = 86_400;
        assert_eq!(validity(0, 10 * day, day), Ok("9 days left".to_owned()));
        assert_eq!(validity(day, 10 * day, 0), Err("not valid yet".to_owned()));
        assert_eq!(
            validity(0, day, 3 * day),
            Err("expired 2 days ago".to_owned())
        );
    }
}
