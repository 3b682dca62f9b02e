//! Inputs as transcripts write them.

use std::{fmt::Write, net::IpAddr};

use super::text::{Fields, octets, octets_in_one, parse_octets, seconds, seconds_after};
use crate::measurement::{
    Input,
    format::quoted,
    machine::{Call, Datagram, Failure, Handle, ResolveError, TlsFailure, TlsSession},
};

/// The name of an input and its fields.
pub(super) fn write(input: &Input) -> String {
    match input {
        Input::Start => "start".to_owned(),
        Input::Deadline => "deadline".to_owned(),
        Input::Stop => "stop".to_owned(),
        Input::Resolved(Ok(addresses)) => {
            let addresses: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
            format!("resolved {}", addresses.join(" "))
        }
        Input::Resolved(Err(ResolveError::NotKnown)) => "unresolved not-known".to_owned(),
        Input::Resolved(Err(ResolveError::Failed)) => "unresolved failed".to_owned(),
        Input::Resolvers(servers) => {
            let servers: Vec<String> = servers.iter().map(|server| quoted(server)).collect();
            format!("resolvers {}", servers.join(" "))
                .trim_end()
                .to_owned()
        }
        Input::File(Some(bytes)) => format!("file {}", octets(bytes)).trim_end().to_owned(),
        Input::File(None) => "no-file".to_owned(),
        Input::Opened { on, local, ident } => format!("opened {} {local} ident={ident}", on.0),
        Input::Sent { on, tag } => format!("sent {} {tag}", on.0),
        Input::Stamped { on, tag } => format!("stamped {} {tag}", on.0),
        Input::Datagram { on, datagram } => {
            format!("datagram {} {}", on.0, write_datagram(datagram))
        }
        Input::Connected {
            on,
            local,
            handshake,
            tls,
        } => {
            let mut out = format!("connected {} {local}", on.0);
            if let Some(handshake) = handshake {
                out += &format!(" handshake={}", seconds(*handshake, 0));
            }
            if let Some(tls) = tls {
                out += &write_tls(tls);
            }
            out
        }
        Input::Written { on } => format!("written {}", on.0),
        Input::Readable { on } => format!("readable {}", on.0),
        Input::Read { on, bytes } => format!("read {} {}", on.0, octets(bytes))
            .trim_end()
            .to_owned(),
        Input::Certified { on, tls } => format!("certified {}{}", on.0, write_tls(tls)),
        Input::Ended { on, errno } => match errno {
            Some(errno) => format!("ended {} errno={errno}", on.0),
            None => format!("ended {}", on.0),
        },
        Input::Failed { on, tag, cause } => {
            let mut out = format!("failed {} {}", on.0, write_failure(cause));
            if let Some(tag) = tag {
                out += &format!(" tag={tag}");
            }
            out
        }
    }
}

fn write_datagram(datagram: &Datagram) -> String {
    let mut out = datagram.from.to_string();
    let mut field = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            let _ = write!(out, " {name}={value}");
        }
    };
    field("to", datagram.to.map(|to| to.to_string()));
    field("ttl", datagram.hop_limit.map(|ttl| ttl.to_string()));
    field("tos", datagram.tos.map(|tos| tos.to_string()));
    field("protocol", Some(datagram.protocol.to_string()));
    format!("{out} {}", octets(&datagram.bytes))
        .trim_end()
        .to_owned()
}

fn write_tls(tls: &TlsSession) -> String {
    let mut out = format!(" tls={:04x} cipher={:04x}", tls.version, tls.cipher);
    if let Some(alpn) = &tls.alpn {
        out += &format!(" alpn={}", octets_in_one(alpn));
    }
    if !tls.certificates.is_empty() {
        let certificates: Vec<String> = tls
            .certificates
            .iter()
            .map(|der| octets_in_one(der))
            .collect();
        out += &format!(" certificates={}", certificates.join(","));
    }
    out
}

fn write_failure(cause: &Failure) -> String {
    match cause {
        Failure::Forbidden(address) => format!("forbidden {address}"),
        Failure::Bind => "interface".to_owned(),
        Failure::Os { call, errno } => format!("{} errno={errno}", call_name(*call)),
        Failure::Tls(TlsFailure::Alert(alert)) => format!("tls-alert {alert}"),
        Failure::Tls(TlsFailure::Closed) => "tls-closed".to_owned(),
        Failure::Tls(TlsFailure::NotTls) => "tls-none".to_owned(),
        Failure::Tls(TlsFailure::Certificate(text)) => format!("tls-certificate {}", quoted(text)),
        Failure::Tls(TlsFailure::Other(text)) => format!("tls-other {}", quoted(text)),
    }
}

const CALLS: [Call; 7] = [
    Call::Socket,
    Call::Bind,
    Call::Connect,
    Call::Send,
    Call::Tos,
    Call::Write,
    Call::Receive,
];

const fn call_name(call: Call) -> &'static str {
    match call {
        Call::Socket => "socket",
        Call::Bind => "bind",
        Call::Connect => "connect",
        Call::Send => "send",
        Call::Tos => "tos",
        Call::Write => "write",
        Call::Receive => "receive",
    }
}

/// The input with this name and these fields.
pub(super) fn read(name: &str, fields: &Fields<'_>) -> Result<Input, &'static str> {
    let on = || fields.at(0).map(Handle);
    Ok(match name {
        "start" => Input::Start,
        "deadline" => Input::Deadline,
        "stop" => Input::Stop,
        "resolved" => Input::Resolved(Ok(fields
            .plain()
            .map(|address| address.parse().map_err(|_| "bad address"))
            .collect::<Result<_, _>>()?)),
        "unresolved" => Input::Resolved(Err(match fields.plain().next() {
            Some("not-known") => ResolveError::NotKnown,
            Some("failed") => ResolveError::Failed,
            _ => return Err("neither `not-known` nor `failed`"),
        })),
        "resolvers" => Input::Resolvers(
            (0..fields.plain().count())
                .map(|place| fields.text_at(place))
                .collect::<Result<_, _>>()?,
        ),
        "file" => Input::File(Some(fields.octets_from(0)?)),
        "no-file" => Input::File(None),
        "opened" => Input::Opened {
            on: on()?,
            local: fields.at(1)?,
            ident: fields.named("ident")?.unwrap_or(0),
        },
        "sent" => Input::Sent {
            on: on()?,
            tag: fields.at(1)?,
        },
        "stamped" => Input::Stamped {
            on: on()?,
            tag: fields.at(1)?,
        },
        "datagram" => Input::Datagram {
            on: on()?,
            datagram: read_datagram(fields)?,
        },
        "connected" => Input::Connected {
            on: on()?,
            local: fields.at(1)?,
            handshake: fields
                .raw("handshake")
                .map(|text| seconds_after(text).ok_or("bad handshake"))
                .transpose()?,
            tls: read_tls(fields)?,
        },
        "written" => Input::Written { on: on()? },
        "readable" => Input::Readable { on: on()? },
        "read" => Input::Read {
            on: on()?,
            bytes: fields.octets_from(1)?,
        },
        "certified" => Input::Certified {
            on: on()?,
            tls: read_tls(fields)?.ok_or("no version")?,
        },
        "ended" => Input::Ended {
            on: on()?,
            errno: fields.named("errno")?,
        },
        "failed" => Input::Failed {
            on: on()?,
            tag: fields.named("tag")?,
            cause: read_failure(fields)?,
        },
        _ => return Err("unknown input"),
    })
}

fn read_datagram(fields: &Fields<'_>) -> Result<Datagram, &'static str> {
    Ok(Datagram {
        from: fields.at(1)?,
        to: fields.named("to")?,
        hop_limit: fields.named("ttl")?,
        tos: fields.named("tos")?,
        bytes: fields.octets_from(2)?,
        protocol: fields.named("protocol")?.ok_or("no protocol")?,
    })
}

fn read_tls(fields: &Fields<'_>) -> Result<Option<TlsSession>, &'static str> {
    let number = |name| {
        fields
            .raw(name)
            .map(|digits| u16::from_str_radix(digits, 16).map_err(|_| "bad TLS number"))
            .transpose()
    };
    let Some(version) = number("tls")? else {
        return Ok(None);
    };
    let octets = |digits| {
        let mut octets = Vec::new();
        parse_octets(digits, &mut octets).map(|()| octets)
    };
    Ok(Some(TlsSession {
        version,
        cipher: number("cipher")?.ok_or("no cipher")?,
        alpn: fields.raw("alpn").map(octets).transpose()?,
        certificates: fields
            .raw("certificates")
            .map(|list| list.split(',').map(octets).collect::<Result<_, _>>())
            .transpose()?
            .unwrap_or_default(),
    }))
}

fn read_failure(fields: &Fields<'_>) -> Result<Failure, &'static str> {
    let name = fields.plain().nth(1).ok_or("no cause")?;
    Ok(match name {
        "forbidden" => Failure::Forbidden(fields.at(2)?),
        "interface" => Failure::Bind,
        "tls-alert" => Failure::Tls(TlsFailure::Alert(fields.at(2)?)),
        "tls-closed" => Failure::Tls(TlsFailure::Closed),
        "tls-none" => Failure::Tls(TlsFailure::NotTls),
        "tls-certificate" => Failure::Tls(TlsFailure::Certificate(fields.text_at(2)?)),
        "tls-other" => Failure::Tls(TlsFailure::Other(fields.text_at(2)?)),
        name => Failure::Os {
            call: CALLS
                .into_iter()
                .find(|call| call_name(*call) == name)
                .ok_or("unknown cause")?,
            errno: fields.named("errno")?.ok_or("no errno")?,
        },
    })
}
