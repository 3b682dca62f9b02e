//! Recordings of `evhttpget` (`replay-vectors` sections 4.5 and 5, `http-tls-measurements` 1.6).
//!
//! A recording holds one connection: what it says of the addresses and what each read gave, decrypted. Nothing is
//! recorded of resolution and of connections that failed, so a run that ended in one cannot be replayed.

use super::{MAX_RECORDING, Player, Reader, Record, ReplayError, Writer};
use crate::{
    clock::{Now, Tick},
    measurement::{Input, Outcome, Output, machine::Handle},
};

const DATA: i32 = 1;
const LOCAL: i32 = 2;
const PEER: i32 = 3;
const END: i32 = 4;

/// Octets of a stream that are recorded: with a record for each read they stay below what is replayed.
const MAX_DATA: usize = MAX_RECORDING / 16;

/// Answers the machine from the records until it is done.
pub(super) fn play(player: &mut Player, reader: &mut Reader<'_>) -> Result<Outcome, ReplayError> {
    loop {
        let input = match player.next() {
            Some(Output::Done(outcome)) => return Ok(outcome),
            Some(output) => answer(output, reader, player)?,
            None => return Err(player.unanswerable(None)),
        };
        player.tell(input);
    }
}

/// The answer to one thing that the machine wants.
fn answer(output: Output, reader: &mut Reader<'_>, player: &Player) -> Result<Input, ReplayError> {
    Ok(match output {
        // What would have been posted is not heard by a recording.
        Output::ReadFile { .. } => Input::File(None),
        Output::Resolve { .. } => Input::Resolved(Ok(vec![reader.take_address(PEER)?.ip()])),
        Output::Connect { on, .. } => Input::Connected {
            on,
            local: reader.take_address(LOCAL)?,
            handshake: None,
            tls: None,
        },
        Output::Write { on, .. } => Input::Written { on },
        Output::Await { on } if reader.peek() == Some(END) => {
            reader.take(END, 0)?;
            Input::Ended { on, errno: None }
        }
        Output::Await { on } => Input::Readable { on },
        // Within a read event the end shows as nothing more at hand.
        Output::Read { on, .. } if reader.peek() == Some(END) => Input::Read {
            on,
            bytes: Vec::new(),
        },
        Output::Read { on, max } => Input::Read {
            on,
            bytes: reader.take(DATA, max)?.to_vec(),
        },
        other => return Err(player.unanswerable(Some(&other))),
    })
}

/// A live run in the making of its recording: its last connection, which is the one that was reported.
#[derive(Debug, Default)]
pub(super) struct Recording {
    writer: Writer,
    on: Option<Handle>,
    /// Octets received.
    kept: usize,
}

impl Record for Recording {
    fn input(&mut self, _at: &Now, input: &Input) {
        match input {
            Input::Connected { on, local, .. } if self.on == Some(*on) => {
                self.writer.put_address(LOCAL, *local);
            }
            // More than is replayed is not kept: the recording then ends early, as a broken one does.
            Input::Read { on, bytes } if self.on == Some(*on) => {
                self.kept += bytes.len();
                if self.kept <= MAX_DATA {
                    self.writer.put(DATA, bytes);
                }
            }
            Input::Ended { on, .. } if self.on == Some(*on) => self.writer.put(END, &[]),
            _ => {}
        }
    }

    fn output(&mut self, _at: Tick, output: &Output) {
        if let Output::Connect { on, stream } = output {
            self.on = Some(*on);
            self.writer = Writer::new();
            self.kept = 0;
            self.writer.put_address(PEER, stream.to);
        }
    }

    fn finish(self: Box<Self>) -> Vec<u8> {
        self.writer.finish()
    }
}
