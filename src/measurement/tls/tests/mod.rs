//! Tests of `evsslgetcert`: a script tells the machine what happens and looks at what it wants and reports.

mod lines;
mod modern;
mod options;
mod property;
mod reference;

use super::{Body, Finding};
use crate::{
    clock::{Now, Tick, UnixTime},
    dialect::Dialect,
    measurement::{
        self, Carry, Input, Machine, Outcome, Output, Run, Spec,
        machine::{Call, Failure, Handle, Stream, TlsFailure, TlsSession},
        tests::{head, ip, json, os, rules},
    },
};

/// The server and the address that everything leaves from.
const SERVER: &str = "198.51.100.7";
const LOCAL: &str = "192.0.2.10:40000";

/// A certificate that is none.
const DER: &[u8] = b"0\x03abc";
/// The same as results have it.
const PEM: &str = "\"-----BEGIN CERTIFICATE-----\\nMANhYmM=\\n-----END CERTIFICATE-----\"";

/// A record of TLS 1.2.
fn record(kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
    [&[kind, 3, 3][..], &length, payload].concat()
}

fn alert(level: u8, description: u8) -> Vec<u8> {
    record(21, &[level, description])
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let [.., a, b, c] = body.len().to_be_bytes();
    [&[kind, a, b, c], body].concat()
}

/// A `ServerHello` of TLS 1.2 with the suite c02b.
fn server_hello() -> Vec<u8> {
    let body = [&[3, 3][..], &[7; 32], &[0], &[0xc0, 0x2b], &[0]].concat();
    record(22, &message(2, &body))
}

/// A `ServerHello` of TLS 1.3 with the suite 1302.
fn server_hello_1_3(random: &[u8]) -> Vec<u8> {
    let extensions = [0, 6, 0, 43, 0, 2, 3, 4];
    let body = [&[3, 3][..], random, &[0], &[0x13, 0x02], &[0], &extensions].concat();
    record(22, &message(2, &body))
}

fn retry_request() -> Vec<u8> {
    let random =
        crate::wire::hex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c");
    server_hello_1_3(&random)
}

/// A `Certificate` message with [`DER`].
fn certificate() -> Vec<u8> {
    let body = [&[0, 0, 8, 0, 0, 5][..], DER].concat();
    record(22, &message(11, &body))
}

/// One run under a script, at a clock that the script sets.
struct Script {
    machine: Box<dyn Machine>,
    millis: u64,
    /// Everything that the last input led to.
    outputs: Vec<Output>,
}

impl Script {
    /// A run of these words after the verb.
    fn new(words: &str) -> Self {
        let words: Vec<&str> = ["evsslgetcert"]
            .into_iter()
            .chain(words.split(' ').map(|word| word.trim_matches('\'')))
            .collect();
        let spec = Spec::parse(&words, &rules(Dialect::Reference)).unwrap();
        let run = Run {
            seed: 7,
            probe_id: None,
            replay: false,
        };
        let mut script = Self {
            machine: spec.start(run, Carry::Nothing),
            millis: 1000,
            outputs: Vec::new(),
        };
        script.tell(Input::Start);
        script
    }

    /// A run that is connected to [`SERVER`], a literal, 10 ms after it began to be.
    fn connected(words: &str) -> Self {
        let mut script = Self::new(words);
        script.resolved(&[SERVER]);
        script.after(10).stands();
        script
    }

    fn after(&mut self, millis: u64) -> &mut Self {
        self.millis += millis;
        self
    }

    fn tell(&mut self, input: Input) -> &mut Self {
        let unix =
            UnixTime::from_secs(1_700_000_000 + i64::try_from(self.millis / 1000).unwrap() - 1);
        let mut now = Now::new(Tick::from_millis(self.millis), unix, 12);
        self.outputs = self.machine.handle(&mut now, input);
        self
    }

    fn resolved(&mut self, addresses: &[&str]) -> &mut Self {
        self.tell(Input::Resolved(Ok(addresses
            .iter()
            .map(|text| ip(text))
            .collect())))
    }

    /// The connection that was just asked for.
    fn connect(&self) -> (Handle, Stream) {
        let connect = self.outputs.iter().find_map(|output| match output {
            Output::Connect { on, stream } => Some((*on, stream.clone())),
            _ => None,
        });
        connect.unwrap_or_else(|| panic!("no connection: {:?}", self.outputs))
    }

    /// The connection that was just asked for stands; the reference hello is written. What was written.
    fn stands(&mut self) -> Vec<u8> {
        let (on, _) = self.connect();
        self.tell(Input::Connected {
            on,
            local: LOCAL.parse().unwrap(),
            handshake: None,
            tls: None,
        });
        let written = self.outputs.iter().find_map(|output| match output {
            Output::Write { bytes, .. } => Some(bytes.clone()),
            _ => None,
        });
        if written.is_some() {
            self.tell(Input::Written { on });
        }
        written.unwrap_or_default()
    }

    /// The handle that something is awaited on.
    fn awaited(&self) -> Handle {
        match self.outputs.last() {
            Some(Output::Await { on }) => *on,
            other => panic!("nothing awaited: {other:?}"),
        }
    }

    /// These octets come.
    fn reads(&mut self, bytes: &[u8]) -> &mut Self {
        let on = self.awaited();
        self.tell(Input::Readable { on });
        assert!(matches!(self.outputs[..], [Output::Read { max: 4096, .. }]));
        self.tell(Input::Read {
            on,
            bytes: bytes.to_vec(),
        })
    }

    fn ends(&mut self, errno: Option<i32>) -> &mut Self {
        let on = self.awaited();
        self.tell(Input::Ended { on, errno })
    }

    fn certified(&mut self, certificates: &[&[u8]]) -> &mut Self {
        let on = self.awaited();
        self.tell(Input::Certified {
            on,
            tls: TlsSession {
                version: 0x0304,
                cipher: 0x1302,
                alpn: None,
                certificates: certificates.iter().map(|der| der.to_vec()).collect(),
            },
        })
    }

    fn library_fails(&mut self, cause: TlsFailure) -> &mut Self {
        let on = self.awaited();
        self.tell(Input::Failed {
            on,
            tag: None,
            cause: Failure::Tls(cause),
        })
    }

    /// The connection that was just asked for fails.
    fn fails(&mut self, cause: Failure) -> &mut Self {
        let (on, _) = self.connect();
        self.tell(Input::Failed {
            on,
            tag: None,
            cause,
        })
    }

    fn refused(&mut self) -> &mut Self {
        self.fails(os(Call::Connect, nix::libc::ECONNREFUSED))
    }

    /// The deadline comes, whenever that is.
    fn deadline(&mut self) -> &mut Self {
        let at = self.machine.deadline().expect("something to wait for");
        self.millis = u64::try_from(at.0.as_millis()).unwrap();
        self.tell(Input::Deadline)
    }

    fn outcome(&self) -> Outcome {
        measurement::tests::outcome(&*self.machine, &self.outputs)
    }

    fn body(&self) -> Body {
        match self.outcome().bodies.as_slice() {
            [measurement::Body::Tls(body)] => body.clone(),
            other => panic!("not one body: {other:?}"),
        }
    }

    fn finding(&self) -> Finding {
        self.body().finding
    }

    /// The line's members behind the target, its port and how long its resolution took.
    fn tail(&self) -> String {
        let line = self.body().line(&head(None, None), Dialect::Reference);
        let (_, tail) = line.split_once("\"dst_port\":\"443\", ").unwrap();
        let tail = match tail.strip_prefix("\"ttr\":") {
            Some(tail) => tail.split_once(", ").unwrap().1,
            None => tail,
        };
        tail.trim_end_matches(" }\n").to_owned()
    }

    /// Whether the run goes on with the reference hello on a new connection to the same server.
    fn goes_on_with_the_reference_hello(&mut self) -> bool {
        let [
            Output::Close { .. },
            Output::Seen(_),
            Output::Connect { stream, .. },
        ] = &self.outputs[..]
        else {
            return false;
        };
        stream.tls.is_none() && stream.to.ip() == ip(SERVER)
    }
}
