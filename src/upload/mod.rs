//! Results leaving: which post is due when, and what its answer means (`controller-protocol` section 6).
//!
//! [`Uploader`] is a pure machine; [`http`] makes one post over a stream. Nothing is forgotten without a 2xx
//! answer with the right body, so a segment may arrive twice, but never not at all.

pub mod duty;
pub mod http;
pub mod policy;
#[cfg(test)]
mod tests;

pub use duty::{Duty, Slots};
pub use policy::{Own, Uploader};

use std::{fmt, time::Duration};

use crate::{
    clock::UnixTime,
    protocol::registration::SessionId,
    session::Upload,
    spool::{Number, Sealed},
};

/// A queue of results: each has its own spool, its own posts and at most one post at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Queue {
    /// Periodic measurements and the probe's own reports.
    Periodic,
    /// One-offs.
    OneOff,
}

/// One of the three posts (`controller-protocol` section 6.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Which {
    /// Results of the periodic queue, made even when there are none.
    Main,
    /// Header and footer only, to learn the time.
    TimeSync,
    /// Results of the one-off queue.
    OneOff,
}

impl Which {
    /// The queue that its results come from. The time is asked for by whoever posts periodic results, so the two
    /// never overlap.
    #[must_use]
    pub const fn queue(self) -> Queue {
        match self {
            Self::Main | Self::TimeSync => Queue::Periodic,
            Self::OneOff => Queue::OneOff,
        }
    }
}

/// Who the probe is in this session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The probe's number, once it was told.
    pub probe_id: Option<u32>,
    /// The session's id.
    pub session_id: SessionId,
}

/// Path and query of a post: the session's id stands in it, so it does not show in debug output.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Target(pub String);

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Target(…)")
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// A session began, or another one did.
    Session(Identity),
    /// A table was replaced: these are the utility lines of all of them. Without a line for results we keep to
    /// our own interval.
    Duties(Vec<Duty>),
    /// The tunnel stands (`true`) or fell.
    Tunnel(bool),
    /// What [`Output::Collect`] found: the complete segments, oldest first.
    Collected(Queue, Vec<Sealed>),
    /// How the post ended. Every [`Output::Post`] is answered by one.
    Answered(Which, Answer),
    /// A one-off's result was spooled.
    OneOff {
        /// Whether no other one-off is running now.
        idle: bool,
    },
    /// The process is about to end, and has results that its disk does not take: post them now, whatever the slots
    /// say. Only a controller that asked us to wait is left alone.
    Leaving,
    /// The [deadline](Uploader::deadline) came.
    Deadline,
}

/// What to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Complete the open segment of this queue, unless there are `enough` bytes of lines without it, and tell
    /// which segments there are.
    Collect {
        /// Whose.
        queue: Queue,
        /// Bytes of lines that one post takes.
        enough: u64,
    },
    /// Make this post.
    Post(Post),
    /// These were accepted: remove them.
    Uploaded(Queue, Vec<Number>),
    /// The upload failed: what there is stays for a while.
    Kept(Queue),
    /// Append this line to the periodic spool.
    Append(String),
    /// A new size for the segments of both spools, in bytes of lines.
    Limit(usize),
    /// The server's clock confirms ours at this moment: `lts` counts from here.
    InSync(UnixTime),
    /// The controller asks us to wait: no posts for so long.
    Held(Duration),
    /// The session is to know what became of a post.
    Told(Upload),
    /// Posts begin to fail, or fail for another reason: in words for an operator.
    Failing(String),
    /// Posts are accepted again.
    Works,
    /// The wall clock is off by so many seconds, positive if it is ahead of the controller's.
    ClockOff(i64),
}

/// One post to make.
#[derive(Clone, Debug, PartialEq)]
pub struct Post {
    /// Which of the three.
    pub which: Which,
    /// Host header.
    pub host: String,
    /// Path and query.
    pub target: Target,
    /// The segments whose lines are the body, in this order.
    pub segments: Vec<Number>,
    /// Whether the status lines stand in front of them (`controller-protocol` section 10, row 29).
    pub status: bool,
    /// Whether to send our own time along.
    pub local_time: bool,
    /// The longest wait for an answer.
    pub timeout: Duration,
    /// The session id of the footer.
    pub session_id: SessionId,
}

/// How a post ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The controller said something.
    Heard {
        /// The status.
        status: u16,
        /// A success, and the body that says so: the lines are the controller's now.
        accepted: bool,
        /// `Retry-After`, if there was one.
        retry_after: Option<Duration>,
        /// `Date`, if there was one.
        date: Option<ServerDate>,
    },
    /// No answer.
    Failed(http::PostError),
    /// Not made: a segment could not be read.
    NotMade,
}

/// A `Date` header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerDate {
    /// What it says: Unix seconds.
    pub date: i64,
    /// Our wall clock when the headers had been read.
    pub local: UnixTime,
    /// From just before the connect until then.
    pub rtt: Duration,
}
