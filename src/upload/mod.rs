//! Results leaving: which post is due when, and what its answer means (`controller-protocol` section 6).
//!
//! [`Uploader`] is a pure machine; [`http`] makes one post over a stream. Nothing is forgotten without a 2xx answer
//! with the right body, so a segment may arrive twice, never not at all.

pub mod http;
pub mod policy;

pub use policy::{Envelope, Uploader};

use std::time::Duration;

use crate::{
    clock::UnixTime,
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

/// When a line of crontab `main` is due (`controller-protocol` sections 5.1 and 5.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Slots {
    /// Seconds from one slot to the next, at least 1.
    pub interval: u64,
    /// Unix time of the first slot: the phase of all others.
    pub start: i64,
    /// Unix time after which there are none; 0 for no end.
    pub end: i64,
    /// `UNIFORM n`: each slot is moved by a random whole number of seconds, 0 to n, less n/2. 0 for none.
    pub spread: u64,
}

/// What crontabs `main` and `7` want done besides measuring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Duty {
    /// A post of results, or of the time alone.
    Post {
        /// [`Which::Main`] or [`Which::TimeSync`].
        which: Which,
        /// When.
        slots: Slots,
        /// Host of the URL, without port and brackets.
        host: String,
        /// Path and query of the URL.
        target: String,
        /// `--set-time`: tolerance in seconds; `None` to leave the time alone.
        set_time: Option<u32>,
        /// `--maxpostsize`: bytes of body at most.
        max_post_size: u64,
        /// `--local-time`: send our time along.
        local_time: bool,
    },
    /// `condmv -A`: a line that says that results up to here are handed over.
    Marker {
        /// When.
        slots: Slots,
        /// The text, such as `RESULT 9907 ongoing`.
        text: String,
        /// The path as it is printed after the time.
        path: String,
    },
}

/// Who the probe is in this session.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    /// The probe's number.
    pub probe_id: u32,
    /// The session's id: a secret.
    pub session_id: String,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// A session began (or another one did).
    Session(Identity),
    /// The table was replaced: these are its utility lines. Empty: back to our own interval.
    Duties(Vec<Duty>),
    /// The tunnel stands (`true`) or fell.
    Tunnel(bool),
    /// What [`Output::Collect`] found: the complete segments, oldest first.
    Collected(Queue, Vec<Sealed>),
    /// How the post ended.
    Answered(Which, Answer),
    /// A one-off's result was spooled; `idle` if no other one-off is running.
    OneOff {
        /// Whether that was the last one running.
        idle: bool,
    },
    /// The deadline came.
    Deadline,
}

/// What to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Seal the open segment of this queue and tell what there is.
    Collect(Queue),
    /// Make this post.
    Post(Post),
    /// These were accepted: remove them.
    Uploaded(Queue, Vec<Number>),
    /// The upload failed, what there is stays.
    Kept(Queue),
    /// Append this line to the periodic spool.
    Append(String),
    /// A new size for segments, in bytes of lines.
    Limit(usize),
    /// The controller asks us to wait: no posts for so long.
    Held(Duration),
}

/// One post to make.
#[derive(Clone, Debug, PartialEq)]
pub struct Post {
    /// Which of the three.
    pub which: Which,
    /// Host header.
    pub host: String,
    /// Path and query.
    pub target: String,
    /// The segments whose lines are the body, in this order.
    pub segments: Vec<Number>,
    /// Whether status lines stand in front of them.
    pub status: bool,
    /// Tolerance in seconds for the server's time, if it is to be looked at.
    pub set_time: Option<u32>,
    /// Whether to send our own time along.
    pub local_time: bool,
    /// The session id of the footer.
    pub session_id: String,
}

/// How a post ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// 2xx and the body that says so.
    Accepted {
        /// The server's time and how long it took to get it.
        date: Option<ServerDate>,
    },
    /// 2xx with another body: nothing was acknowledged.
    OtherBody {
        /// As above.
        date: Option<ServerDate>,
    },
    /// Another status.
    Refused {
        /// The status.
        status: u16,
        /// `Retry-After`, if it was understood.
        retry_after: Option<Duration>,
        /// As above.
        date: Option<ServerDate>,
    },
    /// No answer.
    Failed(http::PostError),
}

/// A `Date` header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerDate {
    /// What it says.
    pub date: UnixTime,
    /// Our wall clock when the headers were read.
    pub local: UnixTime,
    /// From just before the connect until then.
    pub rtt: Duration,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity")
            .field("probe_id", &self.probe_id)
            .finish_non_exhaustive()
    }
}
