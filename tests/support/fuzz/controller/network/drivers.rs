//! What the disk, the dialogues with probes and the operator come to.

use starling::controller::{
    Fault, PostFault, ProbeId, Request,
    config::{Measurement, OneOff},
    messages::{Answer, ConnectionId, ExecFault, Input, Ticket},
    telnet::{End, Outcome},
};

use super::{super::Bytes, Stage};

impl Stage {
    pub(super) fn stored(&mut self, bytes: &mut Bytes<'_>) {
        let form = bytes.byte();
        let waiting: Vec<Ticket> = self.pending.keys().copied().collect();
        // The disk takes them in the order in which they came, and each may fail.
        let Some(ticket) = waiting.first().copied() else {
            self.tell(Input::Stored {
                ticket: Ticket(form.into()),
                failed: None,
            });
            return;
        };
        let lines = self.pending.remove(&ticket).expect("it waits");
        let failed = (form & 1 == 1).then(|| "no space left".to_owned());
        if failed.is_none() {
            let fresh = lines.into_iter();
            self.durable.extend(fresh);
        }
        let mut answers = self.perform(Input::Stored { ticket, failed });
        let answer = answers.remove(&ticket).expect("a stored post is answered");
        assert!(answers.is_empty());
        let (sender, lines) = self.storing.remove(&ticket).expect("it waits");
        self.answered(Some(&sender), &lines, &answer);
    }

    pub(super) fn commanded(&mut self, bytes: &mut Bytes<'_>) {
        let form = bytes.byte();
        let talking: Vec<ConnectionId> = self.talks.keys().copied().collect();
        let connection = match talking.get(usize::from(form >> 4)) {
            Some(connection) => *connection,
            None => self.connection(bytes),
        };
        let sent = self.talks.remove(&connection).unwrap_or(0);
        let end = match form % 6 {
            0..=2 => End::Acknowledged,
            3 => End::BadPassword,
            4 => End::TimedOut("login"),
            _ => End::Unreachable("refused".to_owned()),
        };
        let outcome = Outcome {
            sent,
            replies: Vec::new(),
            end,
        };
        self.tell(Input::Commanded {
            connection,
            outcome,
        });
    }

    pub(super) fn request(&mut self, bytes: &mut Bytes<'_>) {
        let ticket = self.ticket();
        let (form, probe) = (bytes.byte(), ProbeId(bytes.byte().into()));
        let count = u32::from(form >> 4);
        let command = String::from_utf8_lossy(bytes.chunk()).into_owned();
        let request = match form % 8 {
            0 => Request::Schedule(vec![Measurement {
                command,
                interval: bytes.long().into(),
                start: bytes.long().into(),
                end: None,
                spread: 0,
                probes: None,
            }]),
            1 => Request::OneOff(OneOff {
                command,
                probes: (count & 1 == 1).then(|| vec![probe.0]),
            }),
            2 => Request::Fault(Fault::Posts {
                probe: None,
                count,
                fault: post_fault(bytes),
            }),
            3 => Request::Fault(Fault::Registrations {
                count,
                fault: exec_fault(bytes),
            }),
            4 => Request::Fault(Fault::Inits {
                count,
                fault: exec_fault(bytes),
            }),
            5 => Request::Kick(probe),
            6 => Request::Drop(probe),
            _ => Request::Approve(probe, count & 1 == 1),
        };
        let answer = self.ask(ticket, Input::Request { ticket, request });
        assert!(matches!(answer, Answer::Requested(_)));
        let over = Request::Fault(Fault::Over);
        let ticket = self.ticket();
        if matches!(form % 8, 3 | 4) && count > 2 {
            let _ = self.ask(
                ticket,
                Input::Request {
                    ticket,
                    request: over,
                },
            );
        }
    }
}

fn post_fault(bytes: &mut Bytes<'_>) -> PostFault {
    match bytes.byte() % 9 {
        0 => PostFault::TooMany {
            retry_after: Some(bytes.long()),
        },
        1 => PostFault::Status(503),
        2 => PostFault::Hang,
        3 => PostFault::Close,
        4 => PostFault::LoseAnswer,
        5 => PostFault::WrongBody,
        6 => PostFault::NoLineFeed,
        7 => PostFault::Chunked,
        _ => PostFault::DateOff(i64::from(bytes.long())),
    }
}

fn exec_fault(bytes: &mut Bytes<'_>) -> ExecFault {
    match bytes.byte() % 5 {
        0 => ExecFault::Wait(bytes.long()),
        1 => ExecFault::Refused("not now".to_owned()),
        2 => ExecFault::PlainOk,
        3 => ExecFault::Silent,
        _ => ExecFault::Status(bytes.long()),
    }
}
