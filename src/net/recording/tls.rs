//! Recordings of `evsslgetcert` (`replay-vectors` sections 4.5 and 5, `http-tls-measurements` section 1.6).
//!
//! Nothing is recorded of resolution and connection failures, nor of time-outs, so a run that ended in one cannot be
//! replayed. What a server sent is recorded as it came, before any decryption, and decryption needs keys that no
//! recording holds: so a run that is recorded sends the official probe's hello only.

use std::net::SocketAddr;

use super::{Player, Reader, Record, ReplayError, Writer};
use crate::{
    clock::{Now, Tick},
    measurement::{Input, Outcome, Output, machine::Handle},
};

const DATA: i32 = 1;
const LOCAL: i32 = 2;
const SERVER: i32 = 3;

/// The largest piece of a stream that a record may hold.
const MAX_DATA: usize = 65_536;

/// Answers the machine from the records until it is done.
pub(super) fn play(player: &mut Player, reader: &mut Reader<'_>) -> Result<Outcome, ReplayError> {
    // What a record held beyond what was asked for.
    let mut left_over: Vec<u8> = Vec::new();
    loop {
        let input = match player.next() {
            Some(Output::Done(outcome)) => return Ok(outcome),
            Some(Output::Resolve { .. }) => {
                Input::Resolved(Ok(vec![reader.take_address(SERVER)?.ip()]))
            }
            Some(Output::Connect { on, stream }) if stream.tls.is_none() => Input::Connected {
                on,
                local: reader.take_address(LOCAL)?,
                handshake: None,
                tls: None,
            },
            Some(Output::Write { on, .. }) => Input::Written { on },
            Some(Output::Await { on }) => Input::Readable { on },
            Some(Output::Read { on, max }) => {
                if left_over.is_empty() {
                    left_over.extend(reader.take(DATA, MAX_DATA)?);
                }
                let end = left_over.len().min(max);
                let bytes = left_over.drain(..end).collect();
                Input::Read { on, bytes }
            }
            other => return Err(player.unanswerable(other.as_ref())),
        };
        player.tell(input);
    }
}

/// A live run in the making of its recording.
#[derive(Debug, Default)]
pub(super) struct Recording {
    writer: Writer,
    /// The connection being made, which is recorded once it stands: others that did not are not.
    connecting: Option<(Handle, SocketAddr)>,
    on: Option<Handle>,
}

impl Record for Recording {
    fn input(&mut self, _at: &Now, input: &Input) {
        match input {
            Input::Connected { on, local, .. } => {
                if let Some((_, to)) = self.connecting.filter(|(handle, _)| handle == on) {
                    self.writer.put_address(SERVER, to);
                    self.writer.put_address(LOCAL, *local);
                    self.on = Some(*on);
                }
            }
            Input::Read { on, bytes } if self.on == Some(*on) => self.writer.put(DATA, bytes),
            _ => {}
        }
    }

    fn output(&mut self, _at: Tick, output: &Output) {
        if let Output::Connect { on, stream } = output {
            self.connecting = Some((*on, stream.to));
        }
    }

    fn finish(self: Box<Self>) -> Vec<u8> {
        self.writer.finish()
    }
}
