//! Attempts over TCP, TLS and HTTPS (`dns-measurement` section 5).

mod ends;
mod https;
mod replies;

use proptest::prelude::*;

use super::{Script, answer, os};
use crate::{
    clock::Tick,
    measurement::{
        Input, Output,
        dns::{Error, doh},
        machine::{Call, Failure, Handle, ResolveError, Tls, TlsFailure, TlsSession},
    },
    wire::{
        dns::Query,
        http2::{END_HEADERS, END_STREAM, Frame, Kind, PADDED, literal},
    },
};

const TCP: &str = "evtdig -t --qbuf -h 192.0.2.53";
const TLS: &str = "evtdig --tls -h 192.0.2.53";
const HTTPS: &str = "evtdig --https --sni-cert-name dns.example -h 192.0.2.53";

/// Connecting.
fn connecting(command: &str) -> Script {
    let mut script = Script::new(command);
    script.resolved(&["192.0.2.53"]);
    script
}

impl Script {
    fn connected(&mut self, alpn: Option<&[u8]>) -> &mut Self {
        let on = self.opened_handle();
        let alpn = alpn.map(<[u8]>::to_vec);
        self.after(10).tell(Input::Connected {
            on,
            local: "198.51.100.7:4000".parse().unwrap(),
            handshake: None,
            tls: Some(TlsSession {
                alpn,
                ..TlsSession::default()
            }),
        })
    }

    /// The bytes that are written, which the kernel takes.
    fn written(&mut self) -> Vec<u8> {
        let Some(Output::Write { on, bytes }) = self.outputs.first().cloned() else {
            panic!("nothing written: {:?}", self.outputs);
        };
        self.after(10).tell(Input::Written { on });
        assert_eq!(self.outputs, [Output::Await { on }]);
        bytes
    }

    /// These pieces arrive, each at a time of its own.
    fn read(&mut self, pieces: &[&[u8]]) -> &mut Self {
        for piece in pieces {
            let [Output::Await { on }] = self.outputs[..] else {
                panic!("not waiting to read: {:?}", self.outputs);
            };
            self.after(10).tell(Input::Readable { on });
            let mut rest = *piece;
            while let [Output::Read { max, .. }] = self.outputs[..] {
                let (bytes, more) = rest.split_at(rest.len().min(max));
                rest = more;
                let bytes = bytes.to_vec();
                self.tell(Input::Read { on, bytes });
            }
        }
        self
    }
}

/// Connected, asked, and waiting: the script and the query without its length.
fn reading(command: &str) -> (Script, Vec<u8>) {
    let mut script = connecting(command);
    let bytes = script.connected(Some(b"h2")).written();
    let query = if command.contains("https") {
        let start = bytes.len() - 31;
        bytes[start..].to_vec()
    } else {
        let (length, query) = bytes.split_first_chunk::<2>().unwrap();
        assert_eq!(usize::from(u16::from_be_bytes(*length)), query.len());
        query.to_vec()
    };
    assert!(Query::parse(&query).is_some());
    (script, query)
}

fn framed(message: &[u8]) -> Vec<u8> {
    let length = u16::try_from(message.len()).unwrap().to_be_bytes();
    [&length[..], message].concat()
}

fn errors_end(script: &Script, item: &str) {
    let line = script.line();
    assert!(
        line.ends_with(&format!(" , \"error\" : {item} }}")),
        "{line}"
    );
}

impl Script {
    /// The handle that was waited on last.
    fn handle(&self) -> Handle {
        match self.outputs[..] {
            [Output::Await { on }] => on,
            _ => panic!("{:?}", self.outputs),
        }
    }
}
