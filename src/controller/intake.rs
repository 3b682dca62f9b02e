//! What becomes of a post: whose it is, which of its lines are results, what is answered and when.
//!
//! A post is acknowledged only once its lines are stored. A probe that hears no acknowledgement sends the same
//! lines again (delivery is at least once), so a line that an *earlier* post of the same probe brought is counted as
//! a duplicate, acknowledged and not stored again. Lines that agree within one post are all kept: a repeated
//! delivery never looks like that, two equal results of one second do. The memory is bounded; a repetition older
//! than it is stored twice, which a reader must expect of at-least-once delivery anyway.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use super::{
    config::Config,
    faults::{is_stored, spoil},
    identity::ProbeId,
    messages::{
        Accepted, Answer, Event, Output, Post, PostFault, Posted, Record, Rejected, Response,
        Source, Ticket,
    },
};
use crate::{
    clock::{Now, Tick},
    protocol::{post::PostBody, registration::SessionId},
    result::{Content, Received},
};

/// Posts on their way to the store, and what is remembered of those before.
#[derive(Debug)]
pub(super) struct Intake {
    posts_per_minute: Option<u32>,
    /// When each probe's latest posts came, at most as many as a minute allows.
    rates: BTreeMap<ProbeId, VecDeque<Tick>>,
    remembered: Remembered,
    waiting: BTreeMap<Ticket, Waiting>,
}

/// A post whose lines are being stored.
#[derive(Debug)]
struct Waiting {
    posted: Posted,
    response: Response,
    /// Of the lines that it brought first.
    digests: Vec<Digest>,
    /// Of the lines that an earlier post brought, which may be waiting itself.
    repeated: Vec<Digest>,
    /// A post that brought such a line first could not be stored.
    is_undone: bool,
}

/// The lines of a post by what is known of them.
#[derive(Debug, Default)]
struct Sorted {
    digests: Vec<Digest>,
    repeated: Vec<Digest>,
}

/// Who posts, and how it goes wrong if it is to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sender<'a> {
    pub(super) probe: ProbeId,
    pub(super) session: &'a SessionId,
    pub(super) fault: Option<PostFault>,
}

/// The status results that each periodic upload should hold (`controller-protocol` section 10, row 29).
const STATUS: [(u64, &str); 4] = [
    (9018, "9018"),
    (7001, "7001"),
    (9002, "9002"),
    (9901, "9901"),
];

/// How many of a post's bad lines are shown.
const MAX_REJECTED: usize = 100;

const MINUTE: Duration = Duration::from_secs(60);

impl Intake {
    /// `stored` are the lines stored last, oldest first.
    pub(super) fn new(
        config: &Config,
        stored: impl IntoIterator<Item = (ProbeId, String)>,
    ) -> Self {
        let mut remembered = Remembered::new(config.limits.remembered_lines);
        for (probe, line) in stored {
            remembered.insert(digest(probe, &line));
        }
        Self {
            posts_per_minute: config.upload.posts_per_minute,
            rates: BTreeMap::new(),
            remembered,
            waiting: BTreeMap::new(),
        }
    }

    /// The answer to a post that is not even looked at, and why.
    fn turned_away(
        &mut self,
        now: &Now,
        sender: Sender<'_>,
        source: Source,
    ) -> Option<(Response, &'static str)> {
        if let Some(fault) = sender.fault.filter(|fault| !is_stored(*fault)) {
            return Some((spoil(fault), "a fault was asked for"));
        }
        let retry_after = self.too_many(now.peek(), sender.probe, source)?;
        let mut response = Response::refused(429, "too many posts");
        response.retry_after = Some(retry_after);
        Some((response, "too many posts a minute"))
    }

    /// Takes a post of a probe that has a session.
    pub(super) fn take(
        &mut self,
        now: &Now,
        ticket: Ticket,
        sender: Sender<'_>,
        post: &Post,
    ) -> Vec<Output> {
        let source = source(&post.target);
        let mut posted = Posted {
            probe: sender.probe,
            source,
            status: 0,
            refused: None,
            accepted: Vec::new(),
            duplicates: 0,
            rejected: Vec::new(),
            unshown: 0,
            missing: Vec::new(),
        };
        if let Some((response, why)) = self.turned_away(now, sender, source) {
            return answered(ticket, posted, response, Some(why.to_owned()));
        }
        let lines = match read(post, sender) {
            Ok(lines) => lines,
            Err(refusal) => {
                let response = Response::refused(refusal.status, &refusal.reason);
                return answered(ticket, posted, response, Some(refusal.reason));
            }
        };
        let response = sender.fault.map_or_else(Response::ok, spoil);
        posted.unshown = lines.rejected - lines.others.len();
        posted.rejected = lines.others;
        let sorted = self.sort(sender.probe, &lines.results, &mut posted);
        if source == Source::Main {
            posted.missing = missing(&lines.results);
        }
        if posted.accepted.is_empty() && posted.duplicates == 0 {
            return answered(ticket, posted, response, None);
        }
        // Duplicates alone wait as well: what they repeat may not have reached the disk yet.
        let record = |line: &Accepted| Record {
            received: now.unix().secs(),
            probe: sender.probe,
            line: line.clone(),
        };
        let records = posted.accepted.iter().map(record).collect();
        self.waiting.insert(
            ticket,
            Waiting {
                posted,
                response,
                digests: sorted.digests,
                repeated: sorted.repeated,
                is_undone: false,
            },
        );
        vec![Output::Store { ticket, records }]
    }

    /// Answers a post whose lines are stored, or could not be.
    pub(super) fn stored(&mut self, ticket: Ticket, failed: Option<String>) -> Vec<Output> {
        let Some(mut waiting) = self.waiting.remove(&ticket) else {
            return Vec::new();
        };
        let Some(cause) = failed else {
            if waiting.is_undone {
                // Acknowledged, the lines that it repeats would be lost. Its own are stored: next time they are known.
                let cause = "lines that it repeats could not be stored".to_owned();
                let response = Response::refused(503, "results cannot be stored now");
                return answered(ticket, waiting.posted, response, Some(cause));
            }
            return answered(ticket, waiting.posted, waiting.response, None);
        };
        for digest in &waiting.digests {
            self.remembered.remove(digest);
        }
        for other in self.waiting.values_mut() {
            let mut repeated = other.repeated.iter();
            other.is_undone |= repeated.any(|digest| waiting.digests.contains(digest));
        }
        waiting.posted.accepted.clear();
        waiting.posted.duplicates = 0;
        let response = Response::refused(503, "results cannot be stored now");
        answered(ticket, waiting.posted, response, Some(cause))
    }

    /// Sorts lines into accepted, repeated and rejected; remembers the accepted.
    fn sort(&mut self, probe: ProbeId, lines: &[Line<'_>], posted: &mut Posted) -> Sorted {
        let mut sorted = Sorted::default();
        for line in lines {
            match &line.reading {
                Err(because) => {
                    if posted.rejected.len() < MAX_REJECTED {
                        posted.rejected.push(Rejected {
                            line: cut(line.text),
                            because: because.clone(),
                        });
                    } else {
                        posted.unshown += 1;
                    }
                }
                Ok(reading) => {
                    let digest = digest(probe, line.text);
                    if self.remembered.contains(&digest) {
                        posted.duplicates += 1;
                        sorted.repeated.push(digest);
                        continue;
                    }
                    sorted.digests.push(digest);
                    posted.accepted.push(Accepted {
                        id: reading.id,
                        measured: reading.measured,
                        line: line.text.to_owned(),
                    });
                }
            }
        }
        for digest in &sorted.digests {
            self.remembered.insert(*digest);
        }
        sorted
    }

    /// How long a probe has to wait if this post is one too many. Posts for the time only are always let through:
    /// a probe that is told to wait still needs its clock.
    fn too_many(&mut self, now: Tick, probe: ProbeId, source: Source) -> Option<u32> {
        let limit = usize::try_from(self.posts_per_minute?).unwrap_or(usize::MAX);
        if source == Source::TimeSync {
            return None;
        }
        let times = self.rates.entry(probe).or_default();
        while times.front().is_some_and(|time| now.since(*time) >= MINUTE) {
            times.pop_front();
        }
        if times.len() < limit {
            times.push_back(now);
            return None;
        }
        let left = times
            .front()
            .map_or(MINUTE, |oldest| MINUTE.saturating_sub(now.since(*oldest)));
        Some(
            u32::try_from(left.as_millis().div_ceil(1000))
                .unwrap_or(60)
                .max(1),
        )
    }
}

/// The lines of a post.
struct Lines<'a> {
    results: Vec<Line<'a>>,
    /// The first of those that do not even look like results.
    others: Vec<Rejected>,
    /// How many of those there are.
    rejected: usize,
}

/// A line of a post, read.
struct Line<'a> {
    text: &'a str,
    reading: Result<Reading, String>,
}

struct Reading {
    id: Option<u64>,
    measured: bool,
}

struct Refusal {
    status: u16,
    reason: String,
}

/// The lines of a post that is this sender's, or why it is refused.
fn read<'a>(post: &'a Post, sender: Sender<'_>) -> Result<Lines<'a>, Refusal> {
    let refuse = |status: u16, reason: String| Err(Refusal { status, reason });
    if post.method != "POST" {
        return refuse(
            405,
            format!("method {}: only POST is served", cut(&post.method)),
        );
    }
    if parameter(&post.target, "PROBE_ID") != Some(&sender.probe.to_string()) {
        return refuse(403, "PROBE_ID is not that of the key".to_owned());
    }
    let named = parameter(&post.target, "SESSION_ID").unwrap_or_default();
    if !sender.session.matches(named.as_bytes()) {
        return refuse(403, "SESSION_ID is not that of the session".to_owned());
    }
    let body = match PostBody::parse(&post.body) {
        Ok(body) => body,
        Err(error) => return refuse(400, error.to_string()),
    };
    if !sender.session.matches(body.session_id.as_bytes()) {
        return refuse(
            403,
            "the body's SESSION_ID is not that of the session".to_owned(),
        );
    }
    let line = |text: &'a str| Line {
        text,
        reading: Received::parse(text)
            .map(|received| Reading {
                id: received.id.as_ref().and_then(|id| id.parse().ok()),
                measured: matches!(received.content, Content::Object(_))
                    && received.has_measurement(),
            })
            .map_err(|error| error.to_string()),
    };
    let faults: BTreeMap<usize, String> = body
        .rejected
        .iter()
        .map(|rejected| (rejected.number, rejected.fault.to_string()))
        .collect();
    // The header is line 0, as the faults count.
    let numbered = post.body.split(|byte| *byte == b'\n').enumerate();
    let others = numbered.filter_map(|(number, text)| {
        let because = faults.get(&number)?.clone();
        let line = cut(&String::from_utf8_lossy(text));
        Some(Rejected { line, because })
    });
    Ok(Lines {
        results: body.lines.iter().map(|text| line(text)).collect(),
        others: others.take(MAX_REJECTED).collect(),
        rejected: body.rejected.len(),
    })
}

fn missing(lines: &[Line<'_>]) -> Vec<&'static str> {
    let has = |id: u64| {
        lines.iter().any(|line| {
            line.reading
                .as_ref()
                .is_ok_and(|reading| reading.id == Some(id))
        })
    };
    let missing = STATUS.iter().filter(|(id, _)| !has(*id));
    missing.map(|(_, name)| *name).collect()
}

fn answered(
    ticket: Ticket,
    mut posted: Posted,
    response: Response,
    refused: Option<String>,
) -> Vec<Output> {
    posted.status = response.status;
    posted.refused = refused;
    vec![
        Output::Answer(ticket, Answer::Respond(response)),
        Output::Event(Event::Posted(posted)),
    ]
}

fn source(target: &str) -> Source {
    match parameter(target, "SRC") {
        None => Source::Main,
        Some("timesync") => Source::TimeSync,
        Some("oneoff") => Source::OneOff,
        Some(_) => Source::Other,
    }
}

/// A parameter of the query, verbatim: probes escape nothing.
fn parameter<'a>(target: &'a str, name: &str) -> Option<&'a str> {
    let (_, query) = target.split_once('?')?;
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs
        .into_iter()
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value)
}

/// At most 4096 bytes of it, for events and logs.
fn cut(text: &str) -> String {
    let mut end = text.len().min(4096);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

/// Half a SHA-256 over probe and line: nobody can make one line pass for another.
type Digest = [u8; 16];

fn digest(probe: ProbeId, line: &str) -> Digest {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    context.update(&probe.0.to_be_bytes());
    context.update(line.as_bytes());
    let whole = context.finish();
    let mut half = Digest::default();
    half.copy_from_slice(&whole.as_ref()[..16]);
    half
}

/// The latest digests, the oldest forgotten first.
#[derive(Debug)]
struct Remembered {
    max: usize,
    known: BTreeSet<Digest>,
    order: VecDeque<Digest>,
}

impl Remembered {
    const fn new(max: usize) -> Self {
        Self {
            max,
            known: BTreeSet::new(),
            order: VecDeque::new(),
        }
    }

    fn contains(&self, digest: &Digest) -> bool {
        self.known.contains(digest)
    }

    fn insert(&mut self, digest: Digest) {
        if self.max == 0 || !self.known.insert(digest) {
            return;
        }
        self.order.push_back(digest);
        if self.order.len() > self.max
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }

    /// Rare: only when a store failed.
    fn remove(&mut self, digest: &Digest) {
        if self.known.remove(digest) {
            self.order.retain(|other| other != digest);
        }
    }
}
