//! Recordings of `evntp` (`replay-vectors` sections 4.3 and 5).
//!
//! A recording holds replies only, one for each request: a live run with a lost request has no recording that
//! replays to the end, as with the official probe.

use std::net::{IpAddr, SocketAddr};

use super::{Player, Reader, Record, RecordingError, ReplayError, Writer};
use crate::{
    clock::{Now, Tick, UnixTime},
    measurement::{
        Input, Outcome, Output, Seen,
        machine::{Datagram, Handle},
        ntp,
    },
    wire::protocol,
};

const PACKET: i32 = 1;
const LOCAL: i32 = 2;
const PEER: i32 = 3;
const TIME: i32 = 4;
const ADDRINFO: i32 = 5;
const ADDRESS: i32 = 6;

/// The largest packet that a record may hold.
const MAX_PACKET: usize = 65_535;
/// Octets of a socket address that the records of replies keep, of either family.
const CUT: usize = 16;

/// Answers the machine from the records until it is done.
pub(super) fn play(player: &mut Player, reader: &mut Reader<'_>) -> Result<Outcome, ReplayError> {
    let mut local = None;
    let mut socket = Handle(0);
    loop {
        match player.next() {
            Some(Output::Done(outcome)) => return Ok(outcome),
            Some(Output::Resolve { .. }) => {
                local = Some(player.resolve(reader, ADDRINFO, ADDRESS, LOCAL)?);
            }
            Some(Output::Open { on, socket: wanted }) => {
                socket = on;
                let local = local.unwrap_or(SocketAddr::new(wanted.to, 0));
                let ident = 0;
                player.tell(Input::Opened { on, local, ident });
            }
            Some(Output::Send { on, packet }) => player.tell(Input::Sent {
                on,
                tag: packet.tag,
            }),
            None => {
                player.now.set_unix(time(reader)?);
                let bytes = reader.take(PACKET, MAX_PACKET)?.to_vec();
                // Cut in IPv6, so not told: who answers was settled when the packet was recorded.
                let from = reader.take_address(PEER)?;
                let datagram = Datagram {
                    from,
                    to: None,
                    hop_limit: None,
                    tos: None,
                    bytes,
                    protocol: protocol::UDP,
                };
                player.tell(Input::Datagram {
                    on: socket,
                    datagram,
                });
            }
            other => return Err(player.unanswerable(other.as_ref())),
        }
    }
}

/// A `timeval`.
fn time(reader: &mut Reader<'_>) -> Result<UnixTime, RecordingError> {
    let [a, b, c, d, e, f, g, h, rest @ ..]: [u8; 16] = reader.take_array(TIME, "time")?;
    let seconds = i64::from_le_bytes([a, b, c, d, e, f, g, h]);
    let micros = i64::from_le_bytes(rest);
    let nanos = i128::from(seconds) * 1_000_000_000 + i128::from(micros) * 1000;
    Ok(UnixTime::from_nanos(nanos))
}

/// A live run in the making of its recording.
#[derive(Debug, Default)]
pub(super) struct Recording {
    writer: Writer,
    target: Option<IpAddr>,
    /// The last packet and when it arrived, until the machine takes it for a reply.
    latest: Option<(Datagram, UnixTime)>,
}

impl Record for Recording {
    fn input(&mut self, at: &Now, input: &Input) {
        match input {
            Input::Opened { local, .. } => {
                if let Some(target) = self.target {
                    let server = SocketAddr::new(target, 123);
                    self.writer.put_addrinfo(ADDRINFO, target, false);
                    self.writer.put_address(ADDRESS, server);
                    self.writer.put_address(LOCAL, *local);
                }
            }
            Input::Datagram { datagram, .. } => self.latest = Some((datagram.clone(), at.unix())),
            _ => {}
        }
    }

    fn output(&mut self, _: Tick, output: &Output) {
        match output {
            Output::Open { socket, .. } => self.target = Some(socket.to),
            Output::Seen(Seen::Ntp(seen)) if matches!(seen.item, ntp::Item::Reply(_)) => {
                if let Some((datagram, at)) = self.latest.take() {
                    self.put_reply(&datagram, at);
                }
            }
            _ => {}
        }
    }

    fn finish(self: Box<Self>) -> Vec<u8> {
        self.writer.finish()
    }
}

impl Recording {
    fn put_reply(&mut self, datagram: &Datagram, at: UnixTime) {
        let micros = i64::from(at.subsec_nanos() / 1000);
        let time = [at.secs().to_le_bytes(), micros.to_le_bytes()].concat();
        self.writer.put(TIME, &time);
        self.writer.put(PACKET, &datagram.bytes);
        let mut peer = Writer::new();
        peer.put_address(PEER, datagram.from);
        let peer = peer.finish();
        // Behind type and length.
        self.writer
            .put(PEER, peer.get(12..12 + CUT).unwrap_or_default());
    }
}
