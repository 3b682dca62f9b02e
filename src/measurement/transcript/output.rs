//! Outputs as transcripts write them. They are only ever compared as text.

use super::text::{octets, octets_in_one};
use crate::measurement::{
    Output,
    format::quoted,
    machine::{ChosenBy, Family, Fragment, Packet, Socket, SocketKind, Stream, Tls},
};

/// The name of an output and its fields. `Done` is several lines and written elsewhere.
pub(super) fn write(output: &Output) -> String {
    match output {
        Output::Resolve {
            name,
            family,
            interface,
        } => {
            let family = match family {
                Family::V4 => "v4",
                Family::V6 => "v6",
                Family::Both => "both",
            };
            let interface = optional("interface", interface.as_deref());
            format!("resolve {} {family}{interface}", quoted(name))
        }
        Output::Resolvers { interface } => {
            format!("resolvers{}", optional("interface", interface.as_deref()))
        }
        Output::ReadFile { path, max } => {
            format!("read-file {} max={max}", quoted(&path.to_string_lossy()))
        }
        Output::Open { on, socket } => format!("open {} {}", on.0, write_socket(socket)),
        Output::Send { on, packet } => format!("send {} {}", on.0, write_packet(packet)),
        Output::Connect { on, stream } => format!("connect {} {}", on.0, write_stream(stream)),
        Output::Write { on, bytes } => format!("write {} {}", on.0, octets(bytes)),
        Output::Await { on } => format!("await {}", on.0),
        Output::Read { on, max } => format!("read {} {max}", on.0),
        Output::Close { on } => format!("close {}", on.0),
        Output::Seen(seen) => format!("seen {seen:?}"),
        Output::Done(_) => "done".to_owned(),
    }
}

fn optional(name: &str, text: Option<&str>) -> String {
    text.map_or_else(String::new, |text| format!(" {name}={}", quoted(text)))
}

fn write_socket(socket: &Socket) -> String {
    let mut out = match socket.kind {
        SocketKind::Echo => format!("echo {}", socket.to),
        SocketKind::IcmpProbe => format!("icmp-probe {}", socket.to),
        SocketKind::UdpProbe => format!("udp-probe {}", socket.to),
        SocketKind::TcpProbe => format!("tcp-probe {}", socket.to),
        SocketKind::Udp { port } => format!("udp {} port={port}", socket.to),
    };
    out += &optional("bind", socket.bind.as_deref());
    if socket.tos != 0 {
        out += &format!(" tos={}", socket.tos);
    }
    match socket.fragment {
        Fragment::KernelDecides => {}
        Fragment::Never => out += " fragment=never",
        Fragment::Allowed => out += " fragment=allowed",
    }
    for (name, header) in [
        ("hop-by-hop", &socket.hop_by_hop),
        ("destination-options", &socket.destination_options),
    ] {
        if !header.is_empty() {
            out += &format!(" {name}={}", octets_in_one(header));
        }
    }
    if socket.chosen_by == ChosenBy::ResolverFile {
        out += " chosen-by=resolver-file";
    }
    out
}

fn write_packet(packet: &Packet) -> String {
    let mut out = packet.tag.to_string();
    if let Some(limit) = packet.hop_limit {
        out += &format!(" ttl={limit}");
    }
    if packet.port != 0 {
        out += &format!(" port={}", packet.port);
    }
    format!("{out} {}", octets(&packet.bytes))
}

fn write_stream(stream: &Stream) -> String {
    let mut out = stream.to.to_string();
    out += &optional("bind", stream.bind.as_deref());
    if let Some(tls) = &stream.tls {
        out += &write_tls(tls);
    }
    out
}

fn write_tls(tls: &Tls) -> String {
    let mut out = String::from(" tls");
    out += &optional("sni", tls.sni.as_deref());
    for name in &tls.alpn {
        out += &format!(" alpn={}", octets_in_one(name));
    }
    out += &optional("verify", tls.verify.as_deref());
    if tls.only_certificates {
        out += " only-certificates";
    }
    out
}
