//! The state of the schedule and its rules.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use rand::{SeedableRng, rngs::StdRng};

use super::{
    ClockStep, Input, Job, JobId, Limits, Loaded, OneShot, Output, Skip, When,
    cycle::{self, Grid},
};
use crate::{
    clock::{Now, Tick, UnixTime},
    measurement::{Carry, Spec},
};

/// How far the clock may be from where a run was planned (`controller-protocol` section 5.2).
const TOLERANCE_NANOS: i128 = 10_000_000_000;

/// Which job runs when.
#[derive(Debug)]
pub struct Schedule {
    limits: Limits,
    chance: StdRng,
    next_id: u64,
    jobs: BTreeMap<JobId, Entry>,
    /// Lines by what makes them the same.
    lines: BTreeMap<Line, JobId>,
    /// Periodic jobs by when they are due.
    armed: BTreeSet<(Tick, JobId)>,
    /// Jobs that are due and find no room.
    waiting: Lanes<BTreeSet<(Turn, JobId)>>,
    next_turn: Turn,
    running: Lanes<usize>,
    ran_before: BTreeSet<OneShot>,
}

/// The order in which jobs came to wait.
type Turn = u64;

/// What makes two lines the same; end and spread do not (`controller-protocol` section 5.3).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Line {
    table: Arc<str>,
    /// `None` for a one-shot.
    interval: Option<u32>,
    start: i64,
    text: Arc<str>,
}

#[derive(Debug)]
struct Entry {
    text: Arc<str>,
    spec: Arc<Spec>,
    lane: Lane,
    /// `None` for a one-off.
    line: Option<Line>,
    end: Option<i64>,
    /// When the run is due that is planned or waits.
    planned: UnixTime,
    /// `None` unless periodic.
    cycle: Option<Cycle>,
    state: State,
    running_since: Option<UnixTime>,
    /// A one-shot that was launched, perhaps before the agent was started.
    ran: bool,
    /// The line is gone from its table; the run goes on.
    removed: bool,
    carry: Carry,
}

#[derive(Clone, Copy, Debug)]
struct Cycle {
    grid: Grid,
    spread: Option<u32>,
    number: i64,
    /// When this cycle was planned.
    generated: UnixTime,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Past its end, or a one-shot that ran.
    Idle,
    /// In `armed` at this tick.
    Armed(Tick),
    /// In `waiting` with this turn.
    Waiting(Turn),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lane {
    Periodic,
    OneShot,
    OneOff,
}

/// One value for each lane.
#[derive(Debug, Default)]
struct Lanes<T> {
    periodic: T,
    one_shot: T,
    one_off: T,
}

impl<T> Lanes<T> {
    const fn of(&mut self, lane: Lane) -> &mut T {
        match lane {
            Lane::Periodic => &mut self.periodic,
            Lane::OneShot => &mut self.one_shot,
            Lane::OneOff => &mut self.one_off,
        }
    }
}

impl Schedule {
    /// Nothing to do; all chance comes from `seed`.
    #[must_use]
    pub fn new(seed: u64, limits: Limits) -> Self {
        Self {
            limits,
            chance: StdRng::seed_from_u64(seed),
            next_id: 0,
            jobs: BTreeMap::new(),
            lines: BTreeMap::new(),
            armed: BTreeSet::new(),
            waiting: Lanes::default(),
            next_turn: 0,
            running: Lanes::default(),
            ran_before: BTreeSet::new(),
        }
    }

    /// Takes what just happened and says what to do about it.
    pub fn handle(&mut self, now: &mut Now, input: Input) -> Vec<Output> {
        let now = Moment {
            tick: now.peek(),
            unix: now.unix(),
        };
        let mut outputs = Vec::new();
        match input {
            Input::AlreadyRan(one_shot) => {
                self.ran_before.insert(one_shot);
            }
            Input::Replace { table, jobs } => self.replace(now, &table, jobs),
            Input::Add(job) => self.add(now, job, &mut outputs),
            Input::Finished { id, carry } => self.finished(id, carry),
            Input::Deadline => self.due(now, &mut outputs),
        }
        for lane in [Lane::Periodic, Lane::OneShot, Lane::OneOff] {
            self.let_in(now, lane, &mut outputs);
        }
        outputs
    }

    /// When to be called next if nothing happens first.
    #[must_use]
    pub fn deadline(&self) -> Option<Tick> {
        self.armed.first().map(|(tick, _)| *tick)
    }

    /// The loaded one-shots that ran.
    #[cfg(test)]
    pub(super) fn one_shots_ran(&self) -> impl Iterator<Item = OneShot> {
        self.jobs
            .values()
            .filter(|entry| entry.lane == Lane::OneShot && entry.ran)
            .filter_map(|entry| entry.line.as_ref().map(Line::one_shot))
    }

    /// Other bounds from now on; runs under way go on.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// What is loaded, for people: one-offs that run or wait among it.
    pub fn jobs(&self) -> impl Iterator<Item = Loaded> {
        self.jobs.values().map(|entry| Loaded {
            kind: entry.spec.kind(),
            one_off: entry.line.is_none(),
            running: entry.running_since.is_some(),
            next: matches!(entry.state, State::Armed(_)).then_some(entry.planned),
        })
    }

    /// Loaded jobs, removed ones that still run among them.
    #[must_use]
    pub fn len(&self) -> usize {
        self.jobs.len()
    }

    /// Whether nothing is loaded.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    fn replace(&mut self, now: Moment, table: &str, jobs: Vec<Job>) {
        let name: Arc<str> = table.into();
        let mut gone: BTreeSet<JobId> = self.lines_of(&name);
        for job in jobs {
            gone.remove(&self.load(now, &name, job));
        }
        for id in gone {
            self.remove(id);
        }
        self.ran_before.retain(|one_shot| one_shot.table != table);
    }

    fn lines_of(&self, table: &Arc<str>) -> BTreeSet<JobId> {
        let first = Line {
            table: table.clone(),
            interval: None,
            start: i64::MIN,
            text: "".into(),
        };
        let from_first = self.lines.range(first..);
        let of_table = from_first.take_while(|(line, _)| line.table == *table);
        // Collecting would bring a sort of its own into the binary.
        let mut ids = BTreeSet::new();
        ids.extend(of_table.map(|(_, id)| *id));
        ids
    }

    fn add(&mut self, now: Moment, job: Job, outputs: &mut Vec<Output>) {
        if let When::Once { end, .. } = job.when {
            let id = self.insert(Entry::new(job, Lane::OneOff, None, end, now.unix));
            let room = self.running.one_off < self.limits.one_off;
            if room || self.waiting.one_off.len() < self.limits.queue {
                self.wait(id);
            } else if let Some(entry) = self.jobs.remove(&id) {
                outputs.push(entry.skipped(id, Skip::Full));
            }
        } else {
            let table = job.table.as_str().into();
            self.load(now, &table, job);
        }
    }

    /// Takes a line of a table: the same line goes on, only its end changes.
    fn load(&mut self, now: Moment, table: &Arc<str>, job: Job) -> JobId {
        let (interval, start, end) = match job.when {
            When::Periodic {
                interval,
                start,
                end,
                ..
            } => (Some(interval.max(1)), start, end),
            When::Once { start, end } => (None, start, end),
        };
        let line = Line {
            table: table.clone(),
            interval,
            start,
            text: job.text.as_str().into(),
        };
        if let Some(&id) = self.lines.get(&line) {
            self.renew(now, id, end);
            return id;
        }
        let lane = if interval.is_some() {
            Lane::Periodic
        } else {
            Lane::OneShot
        };
        let ran = lane == Lane::OneShot && self.ran_before.remove(&line.one_shot());
        let mut entry = Entry::new(job, lane, Some(line.clone()), end, now.unix);
        entry.ran = ran;
        let id = self.insert(entry);
        self.lines.insert(line, id);
        self.start(now, id);
        id
    }

    /// Plans a job that is new, or new again.
    fn start(&mut self, now: Moment, id: JobId) {
        let Some(entry) = self.jobs.get_mut(&id) else {
            return;
        };
        if let Some(cycle) = entry.cycle {
            self.plan(now, id, cycle.grid.first(now.unix));
        } else if !entry.ran && !entry.is_over(now.unix) {
            entry.planned = now.unix;
            self.wait(id);
        }
    }

    /// The same line came again.
    fn renew(&mut self, now: Moment, id: JobId, end: Option<i64>) {
        let Some(entry) = self.jobs.get_mut(&id) else {
            return;
        };
        entry.end = end;
        if std::mem::take(&mut entry.removed) {
            self.start(now, id);
            return;
        }
        match (entry.state, entry.lane) {
            (State::Waiting(_), _) => {}
            // Past its end before: the cycle that was planned is due when it always was. If that is past the
            // tolerance it is planned anew when it fires.
            (State::Idle | State::Armed(_), Lane::Periodic) => {
                self.disarm(id);
                self.arm(now, id);
            }
            _ => self.start(now, id),
        }
    }

    /// The line is gone; a run of it ends by itself.
    fn remove(&mut self, id: JobId) {
        self.disarm(id);
        let Some(entry) = self.jobs.get_mut(&id) else {
            return;
        };
        if entry.running_since.is_some() {
            entry.removed = true;
            return;
        }
        self.forget(id);
    }

    fn forget(&mut self, id: JobId) {
        if let Some(line) = self.jobs.remove(&id).and_then(|entry| entry.line) {
            self.lines.remove(&line);
        }
    }

    fn finished(&mut self, id: JobId, carry: Carry) {
        let Some(entry) = self.jobs.get_mut(&id) else {
            return;
        };
        if entry.running_since.take().is_none() {
            return;
        }
        entry.carry = carry;
        let (lane, over) = (entry.lane, entry.removed || entry.line.is_none());
        *self.running.of(lane) -= 1;
        if over {
            self.forget(id);
        }
    }

    fn due(&mut self, now: Moment, outputs: &mut Vec<Output>) {
        // Each job at most once: one that is due again at once has its turn at the next deadline, which is now.
        let later = self
            .armed
            .split_off(&(now.tick + Duration::from_nanos(1), JobId(0)));
        for (_, id) in std::mem::replace(&mut self.armed, later) {
            self.fire(now, id, outputs);
        }
    }

    fn fire(&mut self, now: Moment, id: JobId, outputs: &mut Vec<Output>) {
        let Some(entry) = self.jobs.get_mut(&id) else {
            return;
        };
        entry.state = State::Idle;
        let Some(cycle) = entry.cycle else { return };
        if now.unix.nanos().abs_diff(entry.planned.nanos()) > TOLERANCE_NANOS.unsigned_abs() {
            outputs.push(Output::Inconsistent {
                id,
                text: entry.text.clone(),
                step: clock_step(now.unix, entry.planned, cycle),
            });
            self.plan(now, id, cycle.grid.first(now.unix));
        } else if let Some(since) = entry.running_since {
            outputs.push(entry.skipped(id, Skip::Busy { since }));
            self.plan(now, id, cycle.grid.next(cycle.number, now.unix));
        } else {
            self.wait(id);
        }
    }

    /// Plans a cycle of a periodic job: draws its offset and arms it.
    fn plan(&mut self, now: Moment, id: JobId, number: i64) {
        let Some(entry) = self.jobs.get_mut(&id) else {
            return;
        };
        let Some(cycle) = &mut entry.cycle else {
            return;
        };
        cycle.number = number;
        cycle.generated = now.unix;
        let offset = cycle::draw(cycle.spread, &mut self.chance);
        let due = cycle.grid.slot(number).nanos() + offset;
        // The slot is not past, its offset may be: then at once, which is still within the spread.
        entry.planned = UnixTime::from_nanos(due.max(now.unix.nanos()));
        self.arm(now, id);
    }

    /// Arms a periodic job for when it is planned, unless that is after its end.
    fn arm(&mut self, now: Moment, id: JobId) {
        let Some(entry) = self.jobs.get_mut(&id) else {
            return;
        };
        if entry.removed || entry.is_over(entry.planned) {
            return;
        }
        let tick = now.tick + now.until(entry.planned);
        entry.state = State::Armed(tick);
        self.armed.insert((tick, id));
    }

    /// Takes a job out of wherever it waits.
    fn disarm(&mut self, id: JobId) {
        let Some(entry) = self.jobs.get_mut(&id) else {
            return;
        };
        match std::mem::replace(&mut entry.state, State::Idle) {
            State::Idle => {}
            State::Armed(tick) => {
                self.armed.remove(&(tick, id));
            }
            State::Waiting(turn) => {
                let lane = entry.lane;
                self.waiting.of(lane).remove(&(turn, id));
            }
        }
    }

    fn wait(&mut self, id: JobId) {
        if let Some(entry) = self.jobs.get_mut(&id) {
            entry.state = State::Waiting(self.next_turn);
            let lane = entry.lane;
            self.waiting.of(lane).insert((self.next_turn, id));
            self.next_turn += 1;
        }
    }

    /// Launches what waits for as long as there is room.
    fn let_in(&mut self, now: Moment, lane: Lane, outputs: &mut Vec<Output>) {
        let limit = match lane {
            Lane::Periodic => self.limits.periodic,
            Lane::OneShot => self.limits.one_shot,
            Lane::OneOff => self.limits.one_off,
        };
        while *self.running.of(lane) < limit {
            let Some((_, id)) = self.waiting.of(lane).pop_first() else {
                return;
            };
            self.launch(now, id, outputs);
        }
    }

    fn launch(&mut self, now: Moment, id: JobId, outputs: &mut Vec<Output>) {
        let Some(entry) = self.jobs.get_mut(&id) else {
            return;
        };
        entry.state = State::Idle;
        let late = now.since(entry.planned);
        let next = entry.cycle.map(|c| c.grid.next(c.number, now.unix));
        let over = entry.is_over(now.unix);
        if next.is_some() && late.as_nanos() > TOLERANCE_NANOS.unsigned_abs() {
            outputs.push(entry.skipped(id, Skip::Full));
        } else if !over {
            entry.running_since = Some(now.unix);
            entry.ran = entry.lane == Lane::OneShot;
            outputs.push(Output::Launch {
                id,
                spec: entry.spec.clone(),
                text: entry.text.clone(),
                carry: std::mem::take(&mut entry.carry),
                seed: cycle::seed(&mut self.chance),
                planned: entry.planned,
                late,
                one_off: entry.line.is_none(),
            });
            let lane = entry.lane;
            *self.running.of(lane) += 1;
        }
        let is_one_off = entry.line.is_none();
        match next {
            Some(number) => self.plan(now, id, number),
            None if is_one_off && over => self.forget(id),
            None => {}
        }
    }

    fn insert(&mut self, entry: Entry) -> JobId {
        let id = JobId(self.next_id);
        self.next_id += 1;
        self.jobs.insert(id, entry);
        id
    }
}

/// The time of one event.
#[derive(Clone, Copy, Debug)]
struct Moment {
    tick: Tick,
    unix: UnixTime,
}

impl Moment {
    fn until(self, time: UnixTime) -> Duration {
        nanos(time.nanos() - self.unix.nanos())
    }

    fn since(self, time: UnixTime) -> Duration {
        nanos(self.unix.nanos() - time.nanos())
    }
}

/// Zero for what is negative, the longest duration for what is longer.
fn nanos(nanos: i128) -> Duration {
    let nanos = nanos.max(0);
    let secs = u64::try_from(nanos / 1_000_000_000).unwrap_or(u64::MAX);
    let rest = u32::try_from(nanos % 1_000_000_000).unwrap_or(0);
    Duration::new(secs, rest)
}

impl Line {
    fn one_shot(&self) -> OneShot {
        OneShot {
            table: self.table.to_string(),
            start: self.start,
            text: self.text.to_string(),
        }
    }
}

impl Entry {
    fn new(job: Job, lane: Lane, line: Option<Line>, end: Option<i64>, now: UnixTime) -> Self {
        let cycle = match job.when {
            When::Periodic {
                interval,
                start,
                spread,
                ..
            } => Some(Cycle {
                grid: Grid { interval, start },
                spread,
                number: 0,
                generated: now,
            }),
            When::Once { .. } => None,
        };
        let text = match &line {
            Some(line) => line.text.clone(),
            None => job.text.into(),
        };
        Self {
            text,
            spec: job.spec,
            lane,
            line,
            end,
            planned: now,
            cycle,
            state: State::Idle,
            running_since: None,
            ran: false,
            removed: false,
            carry: Carry::default(),
        }
    }

    fn is_over(&self, time: UnixTime) -> bool {
        self.end.is_some_and(|end| time.secs() > end)
    }

    fn skipped(&self, id: JobId, why: Skip) -> Output {
        Output::Skipped {
            id,
            spec: self.spec.clone(),
            text: self.text.clone(),
            planned: self.planned,
            why,
        }
    }
}

fn clock_step(now: UnixTime, planned: UnixTime, cycle: Cycle) -> ClockStep {
    ClockStep {
        now: now.secs(),
        planned: planned.secs(),
        wait: planned.secs() - cycle.generated.secs(),
        cycle: cycle.number,
        generated: cycle.generated.secs(),
    }
}
