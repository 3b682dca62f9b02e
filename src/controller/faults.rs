//! Failures that are played on request: which one is due next.

use super::{
    identity::ProbeId,
    messages::{Exec, ExecFault, Fault, Manner, PostFault, Response},
};
use crate::protocol::registration::{InitReply, Reply};

/// The failures still to be played, each kind in the order asked for.
#[derive(Debug, Default)]
pub(super) struct Faults {
    posts: Vec<(Option<ProbeId>, u32, PostFault)>,
    registrations: Vec<(u32, ExecFault)>,
    inits: Vec<(u32, ExecFault)>,
    logins: u32,
}

impl Faults {
    pub(super) fn add(&mut self, fault: Fault) {
        match fault {
            Fault::Posts {
                probe,
                count,
                fault,
            } => self.posts.push((probe, count, fault)),
            Fault::Registrations { count, fault } => self.registrations.push((count, fault)),
            Fault::Inits { count, fault } => self.inits.push((count, fault)),
            Fault::Logins { count } => self.logins = self.logins.saturating_add(count),
            Fault::Over => *self = Self::default(),
        }
    }

    pub(super) fn next_post(&mut self, of: ProbeId) -> Option<PostFault> {
        self.posts.retain(|(_, count, _)| *count > 0);
        let (_, count, fault) = self
            .posts
            .iter_mut()
            .find(|(probe, ..)| probe.is_none_or(|probe| probe == of))?;
        *count -= 1;
        Some(*fault)
    }

    pub(super) fn next_registration(&mut self) -> Option<Exec> {
        next_exec(&mut self.registrations, |fault| match fault {
            ExecFault::Wait(secs) => Reply::Wait(secs).render(),
            ExecFault::Refused(reason) => Reply::Refused(reason).render(),
            _ => Reply::Unapproved.render(),
        })
    }

    pub(super) fn next_init(&mut self) -> Option<Exec> {
        next_exec(&mut self.inits, |fault| match fault {
            ExecFault::Wait(secs) => InitReply::Wait(secs).render(),
            ExecFault::Refused(reason) => InitReply::Refused(reason).render(),
            _ => InitReply::Ok.render(),
        })
    }

    pub(super) const fn next_login(&mut self) -> bool {
        let due = self.logins > 0;
        self.logins = self.logins.saturating_sub(1);
        due
    }
}

fn next_exec(
    faults: &mut Vec<(u32, ExecFault)>,
    render: impl Fn(ExecFault) -> String,
) -> Option<Exec> {
    faults.retain(|(count, _)| *count > 0);
    let (count, fault) = faults.first_mut()?;
    *count -= 1;
    let (stdout, status) = match fault.clone() {
        ExecFault::Silent => (String::new(), 0),
        ExecFault::Status(status) => (String::new(), status),
        ExecFault::Text(text) => (text, 0),
        fault => (render(fault), 0),
    };
    Some(Exec { stdout, status })
}

/// What a failure makes of an acknowledgement.
pub(super) fn spoil(fault: PostFault) -> Response {
    let mut response = Response::ok();
    match fault {
        PostFault::TooMany { retry_after } => {
            response = Response::refused(429, "too many posts");
            response.retry_after = retry_after;
        }
        PostFault::Status(status) => response = Response::refused(status, "as asked for"),
        PostFault::Hang => response = Response::none(Manner::Hang),
        PostFault::Close | PostFault::LoseAnswer => response = Response::none(Manner::Close),
        PostFault::WrongBody => "NOT OK\n".clone_into(&mut response.body),
        PostFault::NoLineFeed => "OK".clone_into(&mut response.body),
        PostFault::Chunked => response.manner = Manner::Chunked,
        PostFault::DateOff(secs) => response.date_offset = secs,
        PostFault::Delay(delay) => response.delay = delay,
    }
    response
}

/// Whether a post that fails so is stored first.
pub(super) const fn is_stored(fault: PostFault) -> bool {
    !matches!(
        fault,
        PostFault::TooMany { .. } | PostFault::Status(_) | PostFault::Hang | PostFault::Close
    )
}
