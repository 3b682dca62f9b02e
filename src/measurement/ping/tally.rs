//! What became of the requests of one run, and how it reads as items of the result.
//!
//! Everything is kept in ticks until the end: the kernel may tell when a packet left after its reply came.

use std::net::IpAddr;

use super::body::{Item, Reply};
use crate::clock::Tick;

/// The most `dup` items of one run. A target that repeats itself without end costs no more than these.
pub const MAX_DUPLICATES: usize = 1_000;

/// The TTL in force after a leading loss.
const TTL_AFTER_LOSS: u8 = 255;
/// The TTL in force after a leading send error.
const TTL_AFTER_ERROR: u8 = 0;

/// The requests of one run and what was heard of them, in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    requests: Vec<Request>,
    entries: Vec<Entry>,
    duplicates: usize,
}

/// One request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    /// When we handed it to the kernel.
    pub(super) sent: Tick,
    /// When the kernel says that it left.
    stamped: Option<Tick>,
    pub(super) fate: Fate,
}

/// What is known about a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Fate {
    Awaited,
    Answered,
    Failed,
    /// Its time was over at `at`; `entry` says so.
    GivenUp {
        at: Tick,
        entry: usize,
    },
}

#[derive(Clone, Debug)]
enum Entry {
    Heard(Heard),
    Lost,
    Error(String),
}

/// A reply before it is an item.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heard {
    pub(super) time: Time,
    pub(super) duplicate: bool,
    pub(super) size: u32,
    pub(super) ttl: Option<u8>,
    /// Where it was sent to, if that is not where the request came from.
    pub(super) source: Option<IpAddr>,
}

/// How the round trip is found.
#[derive(Clone, Copy, Debug)]
pub(super) enum Time {
    /// From the request with this index to the moment of reception.
    Since { request: usize, received: Tick },
    /// Milliseconds, known already: a replay.
    Known(f64),
}

/// What the items amount to.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Summary {
    pub(super) items: Vec<Item>,
    /// The last size in force, if anything set one.
    pub(super) size: Option<u32>,
    /// The TTL of the latest reply, if a request was answered in time.
    pub(super) ttl: Option<u8>,
    pub(super) answered: bool,
}

impl Tally {
    /// How many requests there were.
    pub(super) fn requests(&self) -> usize {
        self.requests.len()
    }

    pub(super) fn request(&self, index: usize) -> Option<&Request> {
        self.requests.get(index)
    }

    /// The latest request with its index.
    pub(super) fn latest(&self) -> Option<(usize, &Request)> {
        self.requests.iter().enumerate().next_back()
    }

    /// Whether nothing happened yet that would be an item.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether a request was answered in time.
    pub(super) fn is_answered(&self) -> bool {
        self.entries
            .iter()
            .any(|entry| matches!(entry, Entry::Heard(heard) if !heard.duplicate))
    }

    /// Whether an error was noted.
    pub(super) fn has_errors(&self) -> bool {
        self.entries
            .iter()
            .any(|entry| matches!(entry, Entry::Error(_)))
    }

    /// A request leaves.
    pub(super) fn send(&mut self, sent: Tick) {
        self.requests.push(Request {
            sent,
            stamped: None,
            fate: Fate::Awaited,
        });
    }

    /// The kernel's time of sending.
    pub(super) fn stamp(&mut self, request: usize, at: Tick) {
        if let Some(request) = self.requests.get_mut(request) {
            request.stamped = Some(at);
        }
    }

    /// A request could not be sent.
    pub(super) fn fail(&mut self, request: usize, text: String) {
        if let Some(request) = self.requests.get_mut(request)
            && request.fate == Fate::Awaited
        {
            request.fate = Fate::Failed;
            self.entries.push(Entry::Error(text));
        }
    }

    /// Something failed that ends the run.
    pub(super) fn note(&mut self, text: String) {
        self.entries.push(Entry::Error(text));
    }

    /// The time of a request is over: an item if `visible`, which only a replay denies.
    pub(super) fn give_up(&mut self, request: usize, at: Tick, visible: bool) {
        if let Some(request) = self.requests.get_mut(request) {
            request.fate = Fate::GivenUp {
                at,
                entry: self.entries.len(),
            };
        }
        if visible {
            self.entries.push(Entry::Lost);
        }
    }

    /// A reply to a request of this run. It counts as in time if the request was still awaited when it arrived,
    /// even if we were told later. Says whether it is a duplicate; `None` if there were too many of those.
    pub(super) fn hear(&mut self, request: usize, received: Tick, heard: Heard) -> Option<bool> {
        let known = self.requests.get_mut(request)?;
        match known.fate {
            Fate::Awaited => {
                known.fate = Fate::Answered;
                self.push(Heard {
                    duplicate: false,
                    ..heard
                })
            }
            Fate::GivenUp { at, entry } if received <= at => {
                known.fate = Fate::Answered;
                *self.entries.get_mut(entry)? = Entry::Heard(Heard {
                    duplicate: false,
                    ..heard
                });
                Some(false)
            }
            Fate::Answered | Fate::GivenUp { .. } => self.push(Heard {
                duplicate: true,
                ..heard
            }),
            Fate::Failed => None,
        }
    }

    /// A reply as it stands.
    pub(super) fn push(&mut self, heard: Heard) -> Option<bool> {
        if heard.duplicate {
            self.duplicates += 1;
            if self.duplicates > MAX_DUPLICATES {
                return None;
            }
        }
        self.entries.push(Entry::Heard(heard));
        Some(heard.duplicate)
    }

    /// The round trip in milliseconds, never negative when live. A kernel's time of sending that lies before we
    /// handed the packet over, or after the reply, is wrong (a step of the clock that it is taken from), so our own
    /// time of sending serves instead. A reply before that one is still a reply: it took no time that can be told.
    pub(super) fn millis(&self, time: Time) -> f64 {
        match time {
            Time::Known(millis) => millis,
            Time::Since { request, received } => {
                self.requests.get(request).map_or(0.0, |request| {
                    let sent = request
                        .stamped
                        .filter(|stamped| (request.sent..=received).contains(stamped))
                        .unwrap_or(request.sent);
                    received.since(sent).as_secs_f64() * 1e3
                })
            }
        }
    }

    /// The items, each reply with the members that changed. `sent_size` is the size in force after a leading
    /// loss or error.
    pub(super) fn summary(&self, sent_size: u32) -> Summary {
        let mut in_force: Option<(u32, Option<u8>)> = None;
        let mut latest_ttl = None;
        let mut items = Vec::with_capacity(self.entries.len());
        for entry in &self.entries {
            items.push(match entry {
                Entry::Lost => {
                    in_force.get_or_insert((sent_size, Some(TTL_AFTER_LOSS)));
                    Item::Lost
                }
                Entry::Error(text) => {
                    in_force.get_or_insert((sent_size, Some(TTL_AFTER_ERROR)));
                    Item::Error(text.clone())
                }
                Entry::Heard(heard) => {
                    let (size, ttl) = in_force.unwrap_or((heard.size, heard.ttl));
                    let new_ttl = heard.ttl.filter(|new| ttl.is_some_and(|ttl| ttl != *new));
                    in_force = Some((heard.size, heard.ttl.or(ttl)));
                    latest_ttl = heard.ttl.or(latest_ttl);
                    Item::Reply(Reply {
                        rtt_ms: self.millis(heard.time),
                        duplicate: heard.duplicate,
                        size: (heard.size != size).then_some(heard.size),
                        ttl: new_ttl,
                        source: heard.source,
                    })
                }
            });
        }
        let answered = self.is_answered();
        Summary {
            items,
            size: in_force.map(|(size, _)| size),
            ttl: latest_ttl.filter(|_| answered),
            answered,
        }
    }
}
