//! DNS replies as people read them, in the order that other tools have made familiar.

use super::Say;
use crate::{
    measurement::dns::{Entry, Error, Reply},
    wire::dns::{
        AD, CD, CLIENT_SUBNET, COOKIE, DO, Edns, Message, NSID, RD, Record, class_name, error_name,
        opcode_name, status_name, type_name,
    },
};

/// EDNS option code of Padding (RFC 7830).
const PADDING: u16 = 12;
/// EDNS option code of Extended DNS Errors (RFC 8914).
const EXTENDED_ERROR: u16 = 15;
/// Header flag: truncated.
const TC: u16 = 0x0200;
/// The header's flags in the order in which they stand.
const FLAGS: [(u16, &str); 7] = [
    (0x8000, "qr"),
    (0x0400, "aa"),
    (TC, "tc"),
    (RD, "rd"),
    (0x0080, "ra"),
    (AD, "ad"),
    (CD, "cd"),
];
/// An owner's column at most.
const NAME_WIDTH: usize = 40;

/// The data of the answers, and what went wrong instead.
pub(super) fn short(entry: &Entry, say: &mut Say) {
    if let Some(message) = entry
        .reply
        .as_ref()
        .and_then(|reply| Message::parse(&reply.message))
    {
        for record in &message.sections[0] {
            say.line(record.data.clone());
        }
    }
    errors(entry, say);
}

/// Everything.
pub(super) fn full(entry: &Entry, transport: &str, say: &mut Say) {
    if let Some(reply) = &entry.reply {
        match Message::parse(&reply.message) {
            Some(message) => shown(&message, say),
            None => say.line(";; the reply is shorter than a header"),
        }
    }
    errors(entry, say);
    if entry.reply.is_some() {
        say.line("");
    }
    if let Some(to) = &entry.destination {
        let named = entry
            .server
            .as_ref()
            .filter(|name| **name != to.address)
            .map_or_else(String::new, |name| format!(" ({name})"));
        say.line(format!(
            ";; SERVER: {}#{}{named} over {transport}",
            to.address, to.port
        ));
    }
    if let Some(reply) = &entry.reply {
        say.line(format!(";; TIME: {}", time(reply)));
        say.line(format!(";; SIZE: {} octets", reply.message.len()));
        if reply.cookie_mismatch {
            say.line(say.style.bad(";; COOKIE: not the one that was sent"));
        }
    }
    if let Some(ttl) = entry.ttl {
        say.line(format!(";; TTL: {ttl}"));
    }
}

fn time(reply: &Reply) -> String {
    match reply.qt {
        Some(query) => format!("{:.3} ms, of which the query took {query:.3} ms", reply.rt),
        None => format!("{:.3} ms", reply.rt),
    }
}

fn shown(message: &Message, say: &mut Say) {
    let header = &message.header;
    let status = status_name(message.status());
    let status = match message.status() {
        0 => say.style.good(&status),
        _ => say.style.bad(&status),
    };
    say.line(format!(
        ";; ->>HEADER<<- opcode: {}, status: {status}, id: {}",
        opcode_name(header.flags),
        header.id
    ));
    let set = FLAGS.iter().filter(|(flag, _)| header.flags & flag != 0);
    let set: Vec<&str> = set.map(|(_, name)| *name).collect();
    say.line(format!(
        ";; flags: {}; QUERY: {}, ANSWER: {}, AUTHORITY: {}, ADDITIONAL: {}",
        set.join(" "),
        header.questions,
        header.answers,
        header.authorities,
        header.additionals
    ));
    if header.flags & TC != 0 {
        say.line(
            say.style
                .bad(";; cut short by the server: ask again with --tcp"),
        );
    }
    if let Some(edns) = &message.edns {
        say.line("");
        say.line(";; OPT PSEUDOSECTION:");
        pseudosection(edns, say);
    }
    say.line("");
    say.line(";; QUESTION SECTION:");
    for question in &message.questions {
        say.line(format!(
            ";{} {} {}",
            question.name,
            class_name(question.class),
            type_name(question.rtype)
        ));
    }
    let titles = ["ANSWER", "AUTHORITY", "ADDITIONAL"];
    for (title, records) in titles.iter().zip(&message.sections) {
        if !records.is_empty() {
            say.line("");
            say.line(format!(";; {title} SECTION:"));
            section(records, say);
        }
    }
    if message.is_cut {
        say.line(say.style.bad(";; what follows cannot be read"));
    }
}

fn section(records: &[Record], say: &mut Say) {
    let widest = |length: fn(&Record) -> usize| records.iter().map(length).max().unwrap_or(0);
    let name = widest(|record| record.name.len()).min(NAME_WIDTH);
    let ttl = widest(|record| record.ttl.to_string().len());
    let rtype = widest(|record| type_name(record.rtype).len());
    for record in records {
        say.line(format!(
            "{:name$} {:<ttl$} {} {:rtype$} {}",
            record.name,
            record.ttl,
            class_name(record.class),
            type_name(record.rtype),
            record.data
        ));
    }
}

fn pseudosection(edns: &Edns, say: &mut Say) {
    let flags = match edns.flags {
        0 => String::new(),
        DO => " do".to_owned(),
        flags if flags & DO != 0 => format!(" do 0x{:04x}", flags & !DO),
        flags => format!(" 0x{flags:04x}"),
    };
    say.line(format!(
        "; EDNS: version: {}, flags:{flags}; udp: {}",
        edns.version, edns.payload
    ));
    for (code, data) in &edns.options {
        say.line(match *code {
            NSID => format!("; NSID: {} (\"{}\")", hex(data), printable(data)),
            CLIENT_SUBNET => format!("; CLIENT-SUBNET: {}", subnet(data)),
            COOKIE => format!("; COOKIE: {}", hex(data)),
            PADDING => format!("; PADDING: {} octets", data.len()),
            EXTENDED_ERROR => match data.split_at_checked(2) {
                Some(([high, low], text)) => {
                    let code = u16::from_be_bytes([*high, *low]);
                    let text = match text {
                        [] => String::new(),
                        text => format!(": \"{}\"", printable(text)),
                    };
                    format!("; EDE: {code} ({}){text}", error_name(code))
                }
                _ => format!("; EDE: {}", hex(data)),
            },
            code => format!("; OPT={code}: {}", hex(data)),
        });
    }
}

/// Family, prefix lengths and address (RFC 7871 section 6).
fn subnet(data: &[u8]) -> String {
    let shown = || {
        let (&[high, low, source, scope], address) = data.split_first_chunk::<4>()?;
        let family = u16::from_be_bytes([high, low]);
        let mut octets = [0; 16];
        octets.get_mut(..address.len())?.copy_from_slice(address);
        let [a, b, c, d, ..] = octets;
        let address = match family {
            1 if address.len() <= 4 => std::net::IpAddr::from([a, b, c, d]),
            2 => std::net::IpAddr::from(octets),
            _ => return None,
        };
        Some(format!("{address}/{source}, answer holds for /{scope}"))
    };
    shown().unwrap_or_else(|| hex(data))
}

fn hex(data: &[u8]) -> String {
    let digits: Vec<String> = data.iter().map(|octet| format!("{octet:02x}")).collect();
    digits.join(" ")
}

/// Strangers do not write to the terminal.
fn printable(data: &[u8]) -> String {
    let text = String::from_utf8_lossy(data);
    text.chars()
        .map(|c| if c.is_control() { '.' } else { c })
        .collect()
}

fn errors(entry: &Entry, say: &mut Say) {
    for error in &entry.errors {
        say.line(say.style.bad(&format!(";; {}", text_of(error))));
    }
}

fn text_of(error: &Error) -> String {
    match error {
        Error::Resolution(server, why) => format!("the server {server} has no address: {why}"),
        Error::Macro => "the name holds a `$` that stands for nothing".to_owned(),
        Error::NoResolvers => "the resolver file names no server; name one as @SERVER".to_owned(),
        Error::Socket(why) => format!("no socket: {why}"),
        Error::Bind => "cannot send from that address or interface".to_owned(),
        Error::Forbidden => "address not allowed".to_owned(),
        Error::Unreachable(why) => format!("the server cannot be reached: {why}"),
        Error::Format => {
            "the name cannot be asked for: a label is empty or longer than 63 octets, \
                          or all are longer than 255"
                .to_owned()
        }
        Error::Send(why, _) => format!("the query cannot be sent: {why}"),
        Error::Timeout(millis) => format!("no reply within {millis} ms"),
        Error::Closed => "the connection was closed before the reply was complete".to_owned(),
        Error::Connect(why) => format!("no connection: {why}"),
        Error::TooSmall(length) => format!("a reply of {length} octets is none"),
        Error::OtherId(_) | Error::OtherIdHttp2 => "the reply answers another query".to_owned(),
        Error::Http2 => "the server's HTTP/2 cannot be understood".to_owned(),
        Error::HttpStatus(status) => format!("HTTP status {status}"),
        Error::HttpContent => "the HTTP reply is no DNS message".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measurement::dns::Destination;

    fn entry(message: &[u8]) -> Entry {
        Entry {
            server: Some("ns.example".to_owned()),
            destination: Some(Destination {
                address: "192.0.2.53".to_owned(),
                port: "53".to_owned(),
                family: 4,
            }),
            reply: Some(Reply {
                rt: 1.5,
                qt: None,
                message: message.to_vec(),
                abuf: true,
                cookie_mismatch: false,
            }),
            ..Entry::default()
        }
    }

    fn text(entry: &Entry) -> String {
        let mut say = Say::default();
        full(entry, "UDP", &mut say);
        say.text()
    }

    #[test]
    fn a_reply_has_the_familiar_order() {
        let reply = entry(
            b"\x12\x34\x81\x80\0\x01\0\x02\0\0\0\x01\
              \x01a\x07example\0\0\x01\0\x01\
              \xc0\x0c\0\x05\0\x01\0\0\x0e\x10\0\x04\x01b\xc0\x0e\
              \xc0\x27\0\x01\0\x01\0\0\0\x3c\0\x04\xc0\0\x02\x01\
              \0\0\x29\x04\xd0\0\0\x80\0\0\x06\0\x03\0\x02ns",
        );
        assert_eq!(
            text(&reply),
            ";; ->>HEADER<<- opcode: QUERY, status: NOERROR, id: 4660\n\
             ;; flags: qr rd ra; QUERY: 1, ANSWER: 2, AUTHORITY: 0, ADDITIONAL: 1\n\
             \n\
             ;; OPT PSEUDOSECTION:\n\
             ; EDNS: version: 0, flags: do; udp: 1232\n\
             ; NSID: 6e 73 (\"ns\")\n\
             \n\
             ;; QUESTION SECTION:\n\
             ;a.example. IN A\n\
             \n\
             ;; ANSWER SECTION:\n\
             a.example. 3600 IN CNAME b.example.\n\
             b.example. 60   IN A     192.0.2.1\n\
             \n\
             ;; SERVER: 192.0.2.53#53 (ns.example) over UDP\n\
             ;; TIME: 1.500 ms\n\
             ;; SIZE: 76 octets\n"
        );
        let mut say = Say::default();
        short(&reply, &mut say);
        assert_eq!(say.text(), "b.example.\n192.0.2.1\n");
    }

    #[test]
    fn a_reply_that_is_cut_says_so() {
        let cut = entry(b"\x12\x34\x83\x83\0\x01\0\0\0\0\0\0\x01a");
        let text = text(&cut);
        assert!(text.contains("status: NXDOMAIN"), "{text}");
        assert!(text.contains("with --tcp"), "{text}");
        assert!(text.contains("cannot be read"), "{text}");
    }

    #[test]
    fn failures_are_told_in_words() {
        let mut failed = entry(b"");
        failed.reply = None;
        failed.errors = vec![Error::Timeout(5000)];
        assert_eq!(
            text(&failed),
            ";; no reply within 5000 ms\n;; SERVER: 192.0.2.53#53 (ns.example) over UDP\n"
        );
    }

    #[test]
    fn options_are_explained() {
        assert_eq!(
            subnet(&[0, 1, 24, 16, 192, 0, 2]),
            "192.0.2.0/24, answer holds for /16"
        );
        assert_eq!(subnet(&[0, 1, 0]), "00 01 00");
        assert_eq!(
            subnet(&[0, 1, 32, 0, 1, 2, 3, 4, 5]),
            "00 01 20 00 01 02 03 04 05"
        );
        assert_eq!(printable(b"a\x1b[2J"), "a.[2J");
    }
}
