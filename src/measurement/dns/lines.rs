//! RESULT lines of `evtdig` in both dialects (`dns-measurement` sections 7 and 8.1, the protocol reference).
//!
//! Lines are always JSON: what the reference cuts at 255 bytes is whole here, what it leaves
//! unclosed is closed, and text from outside is escaped where the line would otherwise be no JSON.

use std::fmt::Write;

use base64::{Engine, engine::general_purpose::STANDARD};

use super::body::{Body, Entry, Error, Protocol, Reply};
use crate::{
    measurement::{Head, format::quoted},
    wire::dns::{self, Answer, Header},
};

/// The line as the reference probe writes it: `"key" : value , `.
pub(super) fn reference(body: &Body, head: &Head) -> String {
    let mut line = String::from("RESULT { ");
    if let Some(id) = &head.id {
        push(&mut line, format_args!("\"id\" : {} , ", quoted(id)));
        if let Some(bundle) = &head.bundle {
            push(
                &mut line,
                format_args!("\"bundle\" : {} , ", number(bundle)),
            );
        }
    }
    push(&mut line, format_args!("{}, ", head.version));
    if body.resolvers {
        if let Some(first) = body.entries.first() {
            push_times(&mut line, first);
        }
        line.push_str("\"resultset\" : [ {");
        for (index, entry) in body.entries.iter().enumerate() {
            if index > 0 {
                line.push_str(",{");
            }
            push_entry(&mut line, entry);
            line.push('}');
        }
        line.push(']');
    } else if let Some(entry) = body.entries.first() {
        push_entry(&mut line, entry);
    }
    line.push_str(" }\n");
    line
}

/// Rows 6 to 23 of the grammar in 7.1.
fn push_entry(line: &mut String, entry: &Entry) {
    push_times(line, entry);
    if let Some(tls) = entry.tls {
        push(line, format_args!("\"sslvers\" : {} , ", quoted(tls)));
    }
    if let Some((place, of)) = entry.place {
        push(
            line,
            format_args!("\"subid\" : {place} , \"submax\" : {of} , "),
        );
    }
    if let Some(name) = entry.server_name() {
        let key = match (entry.protocol, &entry.destination) {
            (Protocol::Udp, Some(_)) => "name",
            _ => "dst_name",
        };
        push(line, format_args!("\"{key}\" : {} , ", quoted(name)));
    }
    if let Some(to) = &entry.destination {
        let (address, port) = (quoted(&to.address), quoted(&to.port));
        push(
            line,
            format_args!("\"dst_addr\" : {address} , \"dst_port\" : {port} , "),
        );
        push(line, format_args!("\"af\" : {} , ", to.family));
    }
    if let Some(source) = &entry.source {
        push(line, format_args!("\"src_addr\" : {} , ", quoted(source)));
    }
    if entry.retries > 0 {
        push(line, format_args!("\"retry\" : {} , ", entry.retries));
    }
    if let Some(ttl) = entry.ttl {
        push(line, format_args!("\"ttl\" : {ttl} , "));
    }
    push(
        line,
        format_args!("\"proto\" : \"{}\" ", entry.protocol.name()),
    );
    if let Some(query) = &entry.query {
        push(
            line,
            format_args!(",\"qbuf\" : \"{}\" ", STANDARD.encode(query)),
        );
    }
    if let Some(reply) = &entry.reply {
        push_reply(line, reply);
    }
    if !entry.errors.is_empty() {
        let items: Vec<String> = entry
            .errors
            .iter()
            .map(|error| item(error, entry.protocol))
            .collect();
        push(line, format_args!(", \"error\" : {{{}}}", items.join(", ")));
    }
}

fn push_times(line: &mut String, entry: &Entry) {
    push(
        line,
        format_args!("\"time\" : {} , \"lts\" : {} , ", entry.time, entry.lts),
    );
}

fn push_reply(line: &mut String, reply: &Reply) {
    push(
        line,
        format_args!(",\"result\" : {{ \"rt\" : {:.3},", reply.rt),
    );
    if let Some(qt) = reply.qt {
        push(line, format_args!("\"qt\" : {qt:.3},"));
    }
    push(line, format_args!("\"size\" : {} ", reply.message.len()));
    if reply.abuf {
        push(
            line,
            format_args!(", \"abuf\" : \"{}\"", STANDARD.encode(&reply.message)),
        );
    }
    if reply.cookie_mismatch {
        line.push_str(", \"client-cookie-mismatch\" : true");
    }
    if let Some(header) = Header::parse(&reply.message) {
        push(
            line,
            format_args!(
                ",\"ID\" : {} , \"ANCOUNT\" : {} , ",
                header.id, header.answers
            ),
        );
        push(
            line,
            format_args!(
                "\"QDCOUNT\" : {} , \"NSCOUNT\" : {} , ",
                header.questions, header.authorities
            ),
        );
        push(line, format_args!("\"ARCOUNT\" : {}", header.additionals));
    }
    push_answers(line, &dns::answers(&reply.message));
    line.push_str(" }");
}

/// Section 7.5. TXT and SOA differ in where their spaces stand.
fn push_answers(line: &mut String, answers: &[Answer]) {
    for (index, answer) in answers.iter().enumerate() {
        line.push_str(if index == 0 { ",\"answers\" : [ " } else { "," });
        match answer {
            Answer::Txt { name, strings } => {
                line.push_str(if index == 0 { "{" } else { " {" });
                let strings: Vec<String> = strings
                    .iter()
                    .map(|string| decimal_escaped(string))
                    .collect();
                let (name, strings) = (name_text(name, ""), strings.join(", "));
                push(
                    line,
                    format_args!(
                        "\"TYPE\" : \"TXT\" , \"NAME\" : {name} , \"RDATA\" : [ {strings} ] }}"
                    ),
                );
            }
            Answer::Soa {
                name,
                ttl,
                mname,
                rname,
                serial,
            } => {
                let (name, mname, rname) = (
                    name_text(name, "."),
                    name_text(mname, "."),
                    name_text(rname, "."),
                );
                push(
                    line,
                    format_args!("{{ \"TYPE\" : \"SOA\" , \"NAME\" : {name} , \"TTL\" : {ttl} , "),
                );
                push(
                    line,
                    format_args!(
                        "\"MNAME\" : {mname} , \"RNAME\" : {rname} , \"SERIAL\" : {serial} }} "
                    ),
                );
            }
        }
    }
    if !answers.is_empty() {
        line.push_str(" ]");
    }
}

/// The line as the protocol reference prints it: `"key":value, `; what it does not show follows suit.
pub(super) fn starla(body: &Body, head: &Head) -> String {
    let mut members = Vec::new();
    if let Some(id) = &head.id {
        members.push(format!("\"id\":{}", quoted(id)));
    }
    members.push(head.version.to_string());
    let Some(first) = body.entries.first() else {
        return format!("RESULT {{ {} }}\n", members.join(", "));
    };
    members.push(format!("\"lts\":{}, \"time\":{}", first.lts, first.time));
    if let (Some(_), Some(bundle)) = (&head.id, &head.bundle) {
        members.push(format!("\"bundle\":{}", number(bundle)));
    }
    if body.resolvers {
        let entries = body.entries.iter().map(|entry| {
            let times = format!("\"lts\":{}, \"time\":{}", entry.lts, entry.time);
            let members = [vec![times], starla_entry(entry)].concat();
            format!("{{ {} }}", members.join(", "))
        });
        let entries: Vec<String> = entries.collect();
        members.push(format!("\"resultset\":[ {} ]", entries.join(", ")));
    } else {
        members.extend(starla_entry(first));
    }
    format!("RESULT {{ {} }}\n", members.join(", "))
}

fn starla_entry(entry: &Entry) -> Vec<String> {
    let mut members = Vec::new();
    if let Some(tls) = entry.tls {
        members.push(format!("\"sslvers\":{}", quoted(tls)));
    }
    if let Some((place, of)) = entry.place {
        members.push(format!("\"subid\":{place}, \"submax\":{of}"));
    }
    if let Some(name) = entry.server_name() {
        members.push(format!("\"dst_name\":{}", quoted(name)));
    }
    if let Some(to) = &entry.destination {
        let (address, port) = (quoted(&to.address), quoted(&to.port));
        members.push(format!(
            "\"af\":{}, \"dst_addr\":{address}, \"dst_port\":{port}",
            to.family
        ));
    }
    if let Some(source) = &entry.source {
        members.push(format!("\"src_addr\":{}", quoted(source)));
    }
    if entry.retries > 0 {
        members.push(format!("\"retry\":{}", entry.retries));
    }
    members.push(format!("\"proto\":\"{}\"", entry.protocol.name()));
    if let Some(ttl) = entry.ttl {
        members.push(format!("\"ttl\":{ttl}"));
    }
    if let Some(query) = &entry.query {
        members.push(format!("\"qbuf\":\"{}\"", STANDARD.encode(query)));
    }
    let mut result: Vec<String> = entry.reply.as_ref().map(starla_reply).into_iter().collect();
    if !entry.errors.is_empty() {
        let items = entry.errors.iter().map(|error| {
            let (key, value, _) = parts(error, entry.protocol);
            format!("\"{key}\":{value}")
        });
        let items: Vec<String> = items.collect();
        result.push(format!("\"error\":{{{}}}", items.join(", ")));
    }
    if !result.is_empty() {
        members.push(format!("\"result\": {{ {} }}", result.join(", ")));
    }
    members
}

fn starla_reply(reply: &Reply) -> String {
    let mut text = format!("\"rt\":{:.3},", reply.rt);
    if let Some(qt) = reply.qt {
        push(&mut text, format_args!("\"qt\":{qt:.3},"));
    }
    push(&mut text, format_args!("\"size\":{}", reply.message.len()));
    if reply.abuf {
        push(
            &mut text,
            format_args!(", \"abuf\":\"{}\"", STANDARD.encode(&reply.message)),
        );
    }
    if reply.cookie_mismatch {
        text.push_str(", \"client-cookie-mismatch\":true");
    }
    if let Some(header) = Header::parse(&reply.message) {
        push(
            &mut text,
            format_args!(", \"ID\":{}, \"ANCOUNT\":{}", header.id, header.answers),
        );
        push(
            &mut text,
            format_args!(
                ", \"QDCOUNT\":{}, \"NSCOUNT\":{}",
                header.questions, header.authorities
            ),
        );
        push(
            &mut text,
            format_args!(", \"ARCOUNT\":{}", header.additionals),
        );
    }
    let answers: Vec<String> = dns::answers(&reply.message)
        .iter()
        .map(starla_answer)
        .collect();
    if !answers.is_empty() {
        push(
            &mut text,
            format_args!(", \"answers\":[ {} ]", answers.join(", ")),
        );
    }
    text
}

/// Every name ends in a dot here.
fn starla_answer(answer: &Answer) -> String {
    match answer {
        Answer::Txt { name, strings } => {
            let strings: Vec<String> = strings
                .iter()
                .map(|string| decimal_escaped(string))
                .collect();
            let (name, strings) = (name_text(name, "."), strings.join(", "));
            format!("{{\"TYPE\":\"TXT\", \"NAME\":{name}, \"RDATA\":[ {strings} ]}}")
        }
        Answer::Soa {
            name,
            ttl,
            mname,
            rname,
            serial,
        } => {
            let (name, mname, rname) = (
                name_text(name, "."),
                name_text(mname, "."),
                name_text(rname, "."),
            );
            format!(
                "{{\"TYPE\":\"SOA\", \"NAME\":{name}, \"TTL\":{ttl}, \"MNAME\":{mname}, \"RNAME\":{rname}, \
                 \"SERIAL\":{serial}}}"
            )
        }
    }
}

impl Entry {
    /// The server as named, where that is worth telling: it differs from the address, or there is none.
    fn server_name(&self) -> Option<&str> {
        let server = self.server.as_deref()?;
        match &self.destination {
            Some(to) if to.address == server => None,
            _ => Some(server),
        }
    }
}

/// The digits as a JSON number: without leading zeros, and never without a digit.
fn number(digits: &str) -> &str {
    match digits.trim_start_matches('0') {
        "" => "0",
        number => number,
    }
}

/// One entry of an `error` object, its leading spaces included.
fn item(error: &Error, protocol: Protocol) -> String {
    let (key, value, spacing) = parts(error, protocol);
    let (lead, colon) = spacing.around();
    format!("{lead}\"{key}\"{colon}{value}")
}

/// Where the spaces of an error entry stand.
#[derive(Clone, Copy)]
enum Spacing {
    /// `"key": value`
    None,
    /// ` "key" : value`
    Lead,
    /// ` "key" :  value`
    LeadAndDouble,
    /// `  "key" : value`
    DoubleLead,
}

impl Spacing {
    const fn around(self) -> (&'static str, &'static str) {
        match self {
            Self::None => ("", ": "),
            Self::Lead => (" ", " : "),
            Self::LeadAndDouble => (" ", " :  "),
            Self::DoubleLead => ("  ", " : "),
        }
    }
}

/// Key, value as JSON, and spacing of an error (the table in 8.1).
fn parts(error: &Error, protocol: Protocol) -> (&'static str, String, Spacing) {
    use Spacing::{DoubleLead, Lead, LeadAndDouble};
    let udp = protocol == Protocol::Udp;
    match error {
        Error::Resolution(server, reason) if udp => (
            "evdns_getaddrinfo",
            quoted(&format!("{server} {reason}")),
            Spacing::None,
        ),
        Error::Resolution(_, reason) => ("TUDNS", quoted(reason), Lead),
        Error::Macro => ("err", quoted("macro expansion failed"), Spacing::None),
        Error::NoResolvers => (
            "nameserver",
            quoted("no local resolvers found"),
            Spacing::None,
        ),
        Error::Socket(cause) if udp => ("socket", quoted(&format!("socket failed {cause}")), Lead),
        Error::Socket(_) => ("TUSOCKET", quoted("socket call failed"), Lead),
        Error::Bind if udp => ("socket", quoted("bind_interface failed"), Lead),
        Error::Bind => ("TUSOCKET", quoted("bind_interface failed"), Lead),
        Error::Forbidden if udp => ("reason", quoted("address not allowed"), Lead),
        Error::Forbidden => ("TU_BAD_ADDR", "true".to_owned(), Lead),
        Error::Unreachable(cause) => ("socket", quoted(&format!("connect failed {cause}")), Lead),
        Error::Format => ("err", quoted("unable to format DNS query"), Lead),
        Error::Send(cause, v4) => {
            let family = if *v4 { "AF_INET" } else { "NOT AF_INET" };
            ("senderror", quoted(&format!("AF {cause}, {family}")), Lead)
        }
        Error::Timeout(millis) => ("timeout", millis.to_string(), Lead),
        Error::Closed => ("TU_READ_ERR", quoted(""), Lead),
        Error::Connect(cause) => ("TUCONNECT", quoted(cause), Lead),
        Error::TooSmall(length) => (
            "TCPREADSIZE",
            quoted(&format!("reply too small, got {length}")),
            LeadAndDouble,
        ),
        Error::OtherId(figure) => (
            "idmismatch",
            quoted(&format!("mismatch id from tcp fd {figure}")),
            DoubleLead,
        ),
        Error::Http2 => ("TCPREAD", quoted("http2_dns_input failed"), LeadAndDouble),
        Error::OtherIdHttp2 => ("idmismatch", quoted("mismatch id from http2"), DoubleLead),
        Error::HttpStatus(status) => (
            "error",
            quoted(&format!("http2 request failed with {status}")),
            DoubleLead,
        ),
        Error::HttpContent => (
            "error",
            quoted("http2 content is not application/dns-message"),
            DoubleLead,
        ),
    }
}

/// A name from a reply as a JSON string, `dot` behind it. A zero byte ends it. Results carry names unescaped; only
/// one that would break the line is escaped as text data is.
fn name_text(name: &[u8], dot: &str) -> String {
    let end = name
        .iter()
        .position(|&byte| byte == 0)
        .unwrap_or(name.len());
    let name = &name[..end];
    let breaks = |c: char| c < ' ' || matches!(c, '"' | '\\');
    match std::str::from_utf8(name) {
        Ok(text) if !text.contains(breaks) => format!("\"{text}{dot}\""),
        _ => {
            let mut text = decimal_escaped(name);
            text.insert_str(text.len() - 1, dot);
            text
        }
    }
}

/// Bytes as a JSON string: printable ASCII as it is, all else as a backslash and three decimal digits.
fn decimal_escaped(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() + 2);
    text.push('"');
    for &byte in bytes {
        match byte {
            b'"' | b'\\' | ..b' ' | 127.. => push(&mut text, format_args!("\\\\{byte:03}")),
            _ => text.push(char::from(byte)),
        }
    }
    text.push('"');
    text
}

fn push(text: &mut String, what: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = text.write_fmt(what);
}
