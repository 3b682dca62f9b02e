//! The [`Uploader`]: when to post, what, and what an answer means.

use std::{collections::BTreeMap, time::Duration};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use super::{
    Answer, Duty, Identity, Input, Output, Post, Queue, ServerDate, Target, Upload, Which,
    duty::{Order, Planned},
};
use crate::{
    clock::{Now, Tick, UnixTime},
    protocol::post::{ClockCheck, check_clock, path_and_query},
    spool::{Number, Sealed},
};

/// Bytes of a post that header, status lines and footer may take.
const ENVELOPE: u64 = 64 << 10;
/// Bytes of lines in one post, however much the controller would take: a post is built in memory.
const LARGEST: u64 = 2_000_000;
/// Files in one post of the official probe.
const MOST_SEGMENTS: usize = 1000;
/// More lines than these are no use; a table that has more is not honoured further.
const MOST_DUTIES: usize = 64;
/// Rounds of one-off posts in a row while results remain.
const ROUNDS: u32 = 5;
/// How often one-off results that stayed behind are tried again.
const LEFTOVERS: Duration = Duration::from_secs(60);
/// The wait after 429 starts here, doubles, and stays within the second; `Retry-After` counts up to the third.
const HOLD_FIRST: Duration = Duration::from_secs(60);
const HOLD_MOST: Duration = Duration::from_secs(1800);
const RETRY_AFTER_MOST: Duration = Duration::from_secs(3600);
/// The wall clock may be set while we sleep: look again after this at the latest (`controller-protocol` 5.5).
const LOOK_AGAIN: Duration = Duration::from_secs(60);
/// A clock that stays off is told again after this.
const CLOCK_AGAIN: Duration = Duration::from_secs(3600);

/// How we post until a controller's table says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Own {
    /// `--upload-interval`, at least a second.
    pub interval: Duration,
    /// Bytes of body at most.
    pub max_post_size: u64,
    /// The clock's tolerance in seconds.
    pub set_time: u32,
}

impl Default for Own {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(60),
            max_post_size: 1_000_000,
            set_time: 2,
        }
    }
}

/// What a queue is doing. One post at a time.
#[derive(Clone, Debug, Default, PartialEq)]
enum Lane {
    #[default]
    Idle,
    Collecting(Order),
    Posting {
        order: Order,
        segments: Vec<Number>,
        /// Whether there is more than this post took.
        more: bool,
    },
}

/// Decides when results are posted.
#[derive(Debug)]
pub struct Uploader {
    own: Own,
    rng: StdRng,
    identity: Option<Identity>,
    tunnel: bool,
    duties: Vec<Planned>,
    /// The next post at our own interval; counts only without a line for results.
    next_own: Option<Tick>,
    lanes: BTreeMap<Queue, Lane>,
    /// Posts that came due while their queue was busy.
    due: Vec<Order>,
    /// One-off results may be waiting; they are tried again at this time.
    leftovers: Option<Tick>,
    rounds: u32,
    held_until: Option<Tick>,
    hold: Duration,
    /// Why posts fail, as it was last told.
    failing: Option<String>,
    /// When it was told that the clock is off.
    clock_told: Option<Tick>,
    /// The latest instant that we were told, on both clocks.
    last: (Tick, UnixTime),
    limit: usize,
}

impl Uploader {
    /// An uploader that posts at `own.interval` until a table came. `seed` is where its spread comes from.
    #[must_use]
    pub fn new(own: Own, seed: u64) -> Self {
        let own = Own {
            interval: own.interval.max(Duration::from_secs(1)),
            ..own
        };
        Self {
            own,
            rng: StdRng::seed_from_u64(seed),
            identity: None,
            tunnel: false,
            duties: Vec::new(),
            next_own: None,
            lanes: BTreeMap::new(),
            due: Vec::new(),
            leftovers: None,
            rounds: 0,
            held_until: None,
            hold: HOLD_FIRST,
            failing: None,
            clock_told: None,
            last: (Tick::default(), UnixTime::default()),
            limit: 0,
        }
    }

    /// Posts at another interval of our own, from the next post on.
    pub fn set_interval(&mut self, interval: Duration) {
        self.own.interval = interval.max(Duration::from_secs(1));
        let soon = self.last.0 + self.own.interval;
        self.next_own = self.next_own.map(|next| next.min(soon));
    }

    /// Takes what happened and says what to do about it.
    pub fn handle(&mut self, now: &Now, input: Input) -> Vec<Output> {
        self.last = (now.peek(), now.unix());
        let mut outputs = Vec::new();
        match input {
            Input::Session(identity) => self.identity = Some(identity),
            Input::Duties(duties) => self.load(duties),
            Input::Tunnel(stands) => self.tunnel(stands),
            Input::Collected(queue, segments) => self.collected(queue, &segments, &mut outputs),
            Input::Answered(which, answer) => self.answered(which, &answer, &mut outputs),
            Input::OneOff { idle } => {
                // Without this the next look at what stayed behind takes it along.
                let at = if idle {
                    now.peek()
                } else {
                    now.peek() + LEFTOVERS
                };
                self.leftovers = Some(self.leftovers.map_or(at, |before| before.min(at)));
                self.rounds = 0;
            }
            Input::Leaving => self.leave(),
            Input::Deadline => {}
        }
        self.size(&mut outputs);
        self.fall_due(&mut outputs);
        self.start(&mut outputs);
        outputs
    }

    /// When to be called next if nothing happens first; `None` while there is nothing to wait for.
    #[must_use]
    pub fn deadline(&self) -> Option<Tick> {
        let (tick, unix) = self.last;
        let planned = self.duties.iter().filter_map(|planned| {
            let ahead = i128::from(planned.due(unix.secs())?) * 1_000_000_000 - unix.nanos();
            let ahead = Duration::from_nanos(u64::try_from(ahead.max(0)).unwrap_or(u64::MAX));
            Some(tick + ahead.min(LOOK_AGAIN))
        });
        let own = self
            .next_own
            .filter(|_| self.can_post() && !self.has_main());
        // While a queue is busy or held, its end is what is waited for.
        let idle = self.can_post() && *self.lane(Queue::OneOff) == Lane::Idle;
        let leftovers = self
            .leftovers
            .filter(|_| idle)
            .map(|at| at.max(self.held_until.unwrap_or(at)));
        planned.chain(own).chain(leftovers).min()
    }

    fn lane(&self, queue: Queue) -> &Lane {
        self.lanes.get(&queue).unwrap_or(&Lane::Idle)
    }

    fn can_post(&self) -> bool {
        self.tunnel && self.identity.is_some()
    }

    /// Whether the table has a line for results that is not past its end.
    fn has_main(&self) -> bool {
        let now = self.last.1.secs();
        self.orders()
            .any(|(planned, order)| order.which == Which::Main && planned.due(now).is_some())
    }

    fn orders(&self) -> impl Iterator<Item = (&Planned, &Order)> {
        self.duties
            .iter()
            .filter_map(|planned| match &planned.duty {
                Duty::Post { order, .. } => Some((planned, order)),
                Duty::Marker { .. } => None,
            })
    }

    fn load(&mut self, duties: Vec<Duty>) {
        let now = self.last.1.secs();
        let mut before = std::mem::take(&mut self.duties);
        for duty in duties.into_iter().take(MOST_DUTIES) {
            // A line that is sent again as it was keeps its slot.
            let kept = before.iter().position(|planned| planned.duty == duty);
            let planned = match kept {
                Some(index) => before.swap_remove(index),
                None => Planned::new(duty, now, draw(&mut self.rng)),
            };
            self.duties.push(planned);
        }
    }

    fn tunnel(&mut self, stands: bool) {
        self.tunnel = stands;
        let now = self.last.0;
        if stands {
            // A random start keeps probes apart that all lost the same controller.
            let first = self.own.interval.mul_f64(self.rng.random::<f64>());
            self.next_own = Some(
                self.next_own
                    .filter(|next| *next > now)
                    .unwrap_or(now + first),
            );
            // What an earlier run left behind.
            self.leftovers = Some(now);
        }
    }

    /// Both queues are due.
    fn leave(&mut self) {
        if self.held_until.is_some_and(|until| self.last.0 < until) {
            return;
        }
        let named = self
            .orders()
            .find(|(_, order)| order.which == Which::Main)
            .map(|(_, order)| order.clone());
        let main = named.or_else(|| self.own_order(Which::Main));
        self.due.clear();
        self.due
            .extend(main.into_iter().chain(self.own_order(Which::OneOff)));
    }

    /// Tells the spools when posts change their size.
    fn size(&mut self, outputs: &mut Vec<Output>) {
        let smallest = self
            .orders()
            .filter(|(_, order)| order.which == Which::Main);
        let bytes = smallest.map(|(_, order)| order.max_post_size).min();
        let bytes = bytes
            .unwrap_or(self.own.max_post_size)
            .clamp(20_000, LARGEST);
        let limit = usize::try_from(bytes / 100 * 45).unwrap_or(usize::MAX);
        if limit != self.limit {
            self.limit = limit;
            outputs.push(Output::Limit(limit));
        }
    }

    /// Moves every duty whose slot has come on to its next one, and notes what is to be done.
    fn fall_due(&mut self, outputs: &mut Vec<Output>) {
        let (tick, unix) = self.last;
        let now = unix.secs();
        let mut orders = Vec::new();
        for planned in &mut self.duties {
            if planned.due(now).is_none_or(|due| due > now) {
                continue;
            }
            planned.advance(now, draw(&mut self.rng));
            match &planned.duty {
                Duty::Post { order, .. } => orders.push(order.clone()),
                Duty::Marker { text, path, .. } => {
                    outputs.push(Output::Append(format!("{text} {now} {path}\n")));
                }
            }
        }
        if self.next_own.is_some_and(|next| next <= tick) {
            self.next_own = Some(tick + self.own.interval);
            if !self.has_main() {
                orders.extend(self.own_order(Which::Main));
            }
        }
        if self.leftovers.is_some_and(|at| at <= tick) {
            // Until the post begins, which takes this back.
            self.leftovers = Some(tick + LEFTOVERS);
            orders.extend(self.own_order(Which::OneOff));
        }
        // A slot that comes while there is no way to the controller, or while it asked us to wait, is skipped.
        if !self.can_post() || self.held_until.is_some_and(|until| tick < until) {
            return;
        }
        for order in orders {
            if !self.due.iter().any(|due| due.which == order.which) {
                self.due.push(order);
            }
        }
    }

    /// A post that the probe builds by itself.
    fn own_order(&self, which: Which) -> Option<Order> {
        let identity = self.identity.as_ref()?;
        let source = match which {
            Which::Main => None,
            Which::TimeSync => Some("timesync"),
            Which::OneOff => Some("oneoff"),
        };
        let target = path_and_query(identity.probe_id?, identity.session_id.as_str(), source);
        Some(Order {
            which,
            host: "127.0.0.1".to_owned(),
            target: Target(target),
            id: "9015".to_owned(),
            set_time: Some(self.own.set_time).filter(|_| which != Which::OneOff),
            max_post_size: self.own.max_post_size,
            local_time: false,
            timeout: Duration::from_secs(300),
        })
    }

    /// Starts what is due on every queue that is idle.
    fn start(&mut self, outputs: &mut Vec<Output>) {
        if !self.can_post() {
            // What was due is due again at its next slot.
            self.due.clear();
            return;
        }
        for queue in [Queue::Periodic, Queue::OneOff] {
            let next = self
                .due
                .iter()
                .position(|order| order.which.queue() == queue);
            if let Some(index) = next.filter(|_| *self.lane(queue) == Lane::Idle) {
                let order = self.due.remove(index);
                self.begin(queue, order, outputs);
            }
        }
    }

    fn begin(&mut self, queue: Queue, order: Order, outputs: &mut Vec<Output>) {
        if order.which == Which::TimeSync {
            return self.post(order, Vec::new(), false, outputs);
        }
        if order.which == Which::OneOff {
            self.leftovers = None;
        }
        let enough = room(&order);
        self.lanes.insert(queue, Lane::Collecting(order));
        outputs.push(Output::Collect { queue, enough });
    }

    fn collected(&mut self, queue: Queue, waiting: &[Sealed], outputs: &mut Vec<Output>) {
        let Some(Lane::Collecting(order)) = self.lanes.remove(&queue) else {
            return;
        };
        if waiting.is_empty() && queue == Queue::OneOff {
            return;
        }
        let (room, mut taken) = (room(&order), 0);
        let fits = waiting.iter().take(MOST_SEGMENTS).take_while(|sealed| {
            // One that is too large by itself, after the limit was lowered, goes alone.
            let fits = taken == 0 || taken + sealed.len <= room;
            taken += sealed.len;
            fits
        });
        let segments: Vec<Number> = fits.map(|sealed| sealed.number).collect();
        let more = segments.len() < waiting.len();
        self.post(order, segments, more, outputs);
    }

    fn post(&mut self, order: Order, segments: Vec<Number>, more: bool, outputs: &mut Vec<Output>) {
        let Some(identity) = &self.identity else {
            return;
        };
        let order = self.in_this_session(order);
        outputs.push(Output::Post(Post {
            which: order.which,
            host: order.host.clone(),
            target: order.target.clone(),
            segments: segments.clone(),
            status: order.which != Which::TimeSync,
            local_time: order.local_time,
            timeout: order.timeout,
            session_id: identity.session_id.clone(),
        }));
        let queue = order.which.queue();
        self.lanes.insert(
            queue,
            Lane::Posting {
                order,
                segments,
                more,
            },
        );
    }

    /// Lines of an earlier session name it in their URL, which the controller would refuse.
    fn in_this_session(&self, order: Order) -> Order {
        let Some(identity) = &self.identity else {
            return order;
        };
        let named = order
            .target
            .0
            .split(['?', '&'])
            .find_map(|part| part.strip_prefix("SESSION_ID="));
        if named.is_none_or(|id| identity.session_id.matches(id.as_bytes())) {
            return order;
        }
        match self.own_order(order.which) {
            Some(own) => Order {
                target: own.target,
                ..order
            },
            None => order,
        }
    }

    fn answered(&mut self, which: Which, answer: &Answer, outputs: &mut Vec<Output>) {
        let queue = which.queue();
        let Some(Lane::Posting {
            order,
            segments,
            more,
        }) = self.lanes.remove(&queue)
        else {
            return;
        };
        let (accepted, refused) = match answer {
            Answer::Heard {
                accepted,
                status,
                retry_after,
                date,
            } => {
                self.judge_clock(&order, *date, outputs);
                let refused = (*status == 429 && !accepted).then_some(*retry_after);
                (*accepted, refused)
            }
            Answer::Failed(_) | Answer::NotMade => (false, None),
        };
        match refused {
            Some(retry_after) => self.hold(retry_after, outputs),
            None => self.tell(which, answer, outputs),
        }
        if accepted {
            self.hold = HOLD_FIRST;
            if !segments.is_empty() {
                outputs.push(Output::Uploaded(queue, segments));
            }
        } else if which != Which::TimeSync {
            outputs.push(Output::Kept(queue));
        }
        if which == Which::OneOff {
            self.next_round(accepted, more);
        }
    }

    /// Tells the session and the operator what became of a post.
    fn tell(&mut self, which: Which, answer: &Answer, outputs: &mut Vec<Output>) {
        let (why, is_unknown) = match answer {
            // A controller that tells the time may still refuse results.
            Answer::Heard { accepted: true, .. } if which == Which::TimeSync => return,
            Answer::Heard { accepted: true, .. } => {
                outputs.push(Output::Told(Upload::Accepted));
                if self.failing.take().is_some() {
                    outputs.push(Output::Works);
                }
                return;
            }
            Answer::Heard { status, .. } if (200..300).contains(status) => {
                (format!("it answers {status} but not OK"), false)
            }
            // 401 and 403: what is wrong is not the results but who brings them.
            Answer::Heard { status, .. } => {
                (format!("it answers {status}"), [401, 403].contains(status))
            }
            // A tunnel that fell is the session's own affair.
            Answer::Failed(_) if !self.tunnel => return,
            Answer::Failed(error) => (error.to_string(), false),
            // Ours to mend: the spool tells of it.
            Answer::NotMade => return,
        };
        if self.failing.as_ref() != Some(&why) {
            self.failing = Some(why.clone());
            outputs.push(Output::Failing(if is_unknown {
                format!("{why}, as to a session that it does not know; if that lasts, a new one is opened")
            } else {
                why.clone()
            }));
        }
        outputs.push(Output::Told(if is_unknown {
            Upload::Unknown(why)
        } else {
            Upload::NotAccepted(why)
        }));
    }

    /// One-offs are posted up to five times in a row while there are more of them, then each minute.
    fn next_round(&mut self, accepted: bool, more: bool) {
        let now = self.last.0;
        self.rounds += 1;
        let at_once = accepted && more && self.rounds < ROUNDS;
        if !at_once {
            self.rounds = 0;
        }
        if !accepted || more {
            let at = if at_once { now } else { now + LEFTOVERS };
            self.leftovers = Some(self.leftovers.map_or(at, |before| before.min(at)));
        }
    }

    fn hold(&mut self, retry_after: Option<Duration>, outputs: &mut Vec<Output>) {
        let asked = retry_after.unwrap_or_default().min(RETRY_AFTER_MOST);
        let wait = self.hold.max(asked);
        self.hold = (self.hold * 2).min(HOLD_MOST);
        self.held_until = Some(self.last.0 + wait);
        self.due.clear();
        outputs.push(Output::Held(wait));
        outputs.push(Output::Told(Upload::Held(wait)));
    }

    /// What the server's clock says about ours (`controller-protocol` section 6.7). Ours is never set, whatever
    /// `--set-time` says: the official probe cannot either, for want of the privilege, and reports instead.
    fn judge_clock(&mut self, order: &Order, date: Option<ServerDate>, outputs: &mut Vec<Output>) {
        let (Some(tolerance), Some(seen)) = (order.set_time, date) else {
            return;
        };
        let local = seen.local.secs();
        #[expect(
            clippy::cast_precision_loss,
            reason = "seconds since the epoch fit a double for ages"
        )]
        let precise = local as f64 + f64::from(seen.local.subsec_nanos()) / 1e9;
        let id = &order.id;
        let report = |text: &str| Output::Append(format!("RESULT {id} ongoing {local} {text}\n"));
        match check_clock(precise, seen.date, tolerance, seen.rtt.as_secs_f64()) {
            ClockCheck::InSync => {
                self.clock_told = None;
                outputs.push(Output::InSync(seen.local));
            }
            ClockCheck::TooSlow(text) => outputs.push(report(&text)),
            ClockCheck::OutOfSync(text) => {
                outputs.push(report(&text));
                let now = self.last.0;
                let told = self
                    .clock_told
                    .filter(|told| now.since(*told) < CLOCK_AGAIN);
                if told.is_none() {
                    self.clock_told = Some(now);
                    outputs.push(Output::ClockOff(local - seen.date));
                }
            }
        }
    }
}

/// Bytes of lines that fit a post of this order.
fn room(order: &Order) -> u64 {
    let most = order.max_post_size;
    most.saturating_sub(ENVELOPE.min(most / 4)).min(LARGEST)
}

/// Draws a whole number of seconds, 0 to the spread.
fn draw(rng: &mut StdRng) -> impl FnMut(u32) -> u32 {
    |spread| rng.random_range(0..=spread)
}
