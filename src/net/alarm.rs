//! One kernel timer that wakes whoever waits for a time.
//!
//! The runtime keeps its timers in slots: one that is more than 64 ms away wakes the process once to be put into a
//! finer slot, and once more when its time has come. A probe waits most of the time, and waking up costs it more than
//! measuring does. Here everybody is woken once.

use std::{
    collections::BTreeMap,
    io,
    os::fd::{AsFd as _, AsRawFd, RawFd},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll, Waker},
    time::Duration,
};

use nix::sys::{
    time::TimeSpec,
    timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags},
};
use tokio::{
    io::{Interest, unix::AsyncFd},
    task::JoinHandle,
    time::Sleep,
};

use super::socket;
use crate::clock::{Clock, Tick};

/// How much later than asked one who waits may be woken, with all whose time has come until then: a probe on which
/// much goes on wakes up less often. What is measured does not depend on it, for packets have times of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    /// Something leaves at that time.
    Little,
    /// Nothing does: it may as well be noticed when something else is.
    Much,
}

impl Patience {
    const ALL: [Self; 2] = [Self::Little, Self::Much];

    const fn slack(self) -> Duration {
        match self {
            Self::Little => Duration::from_millis(4),
            Self::Much => Duration::from_millis(100),
        }
    }
}

/// The timer, and who waits for it.
#[derive(Debug)]
pub(super) struct Alarm {
    clock: Clock,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// Those with little patience and those with much, by time; the number tells those apart who wait for the same one.
    waiting: [BTreeMap<(Tick, u64), Waker>; 2],
    next_number: u64,
    /// When the timer will go off. Between two rings it is only ever set to an earlier time.
    armed: Option<Tick>,
    /// The latest time at which the timer is known to have gone off.
    rung: Tick,
    /// `None` until somebody waits.
    timer: Option<Timer>,
}

/// The timer and the task that hears it.
#[derive(Debug)]
struct Timer {
    watched: Arc<AsyncFd<Descriptor>>,
    pump: JoinHandle<()>,
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.pump.abort();
    }
}

#[derive(Debug)]
struct Descriptor(TimerFd);

impl AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl Alarm {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            clock,
            state: Arc::default(),
        }
    }

    /// A place in the queue, for one who waits for one time after another.
    pub(super) const fn bell(&self) -> Bell<'_> {
        Bell {
            alarm: self,
            place: None,
            instead: None,
        }
    }

    /// A time that the runtime has asked the kernel for news since: what arrived anywhere before it has made its
    /// socket ready by now.
    ///
    /// The kernel tells of what happened in the order in which it did, and it has told that the timer went off.
    pub(super) fn rung(&self) -> Tick {
        lock(&self.state).rung
    }
}

/// One who waits. Within a runtime only.
#[derive(Debug)]
pub(super) struct Bell<'a> {
    alarm: &'a Alarm,
    place: Option<(Patience, (Tick, u64))>,
    /// The runtime's timer, should there be no other.
    instead: Option<Pin<Box<Sleep>>>,
}

impl Bell<'_> {
    /// Ready at `at` and after, later by at most what `patience` stands for if the machine allows. Each asking replaces
    /// the one before; `None` waits for nothing.
    pub(super) fn poll(
        &mut self,
        at: Option<Tick>,
        patience: Patience,
        context: &mut Context<'_>,
    ) -> Poll<()> {
        let now = self.alarm.clock.tick();
        let Some(at) = at else {
            self.leave();
            return Poll::Pending;
        };
        if now >= at {
            self.leave();
            return Poll::Ready(());
        }
        match self.wait((at, patience), now, context.waker()) {
            Ok(()) => Poll::Pending,
            Err(error) => {
                tracing::debug!(%error, "no timer of our own");
                let until = self.alarm.clock.instant(at).into();
                let sleep = self
                    .instead
                    .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
                sleep.as_mut().reset(until);
                sleep.as_mut().poll(context)
            }
        }
    }

    fn wait(
        &mut self,
        (at, patience): (Tick, Patience),
        now: Tick,
        waker: &Waker,
    ) -> io::Result<()> {
        let mut state = lock(&self.alarm.state);
        if let Some((known, place)) = self.place {
            let waiting = &mut state.waiting[known as usize];
            if (known, place.0) == (patience, at)
                && let Some(known) = waiting.get_mut(&place)
            {
                known.clone_from(waker);
                return Ok(());
            }
            waiting.remove(&place);
            self.place = None;
        }
        let latest = at + patience.slack();
        if state.armed.is_none_or(|armed| latest < armed) {
            state.arm(&self.alarm.state, self.alarm.clock, latest, now)?;
        }
        let place = (at, state.next_number);
        state.next_number += 1;
        state.waiting[patience as usize].insert(place, waker.clone());
        self.place = Some((patience, place));
        Ok(())
    }

    fn leave(&mut self) {
        if let Some((patience, place)) = self.place.take() {
            lock(&self.alarm.state).waiting[patience as usize].remove(&place);
        }
    }
}

impl Drop for Bell<'_> {
    fn drop(&mut self) {
        self.leave();
    }
}

impl State {
    /// When the first of those who wait is to be woken at the latest.
    fn latest(&self) -> Option<Tick> {
        let latest = |patience: Patience| {
            let first = self.waiting[patience as usize].first_key_value();
            first.map(|((at, _), _)| *at + patience.slack())
        };
        Patience::ALL.into_iter().filter_map(latest).min()
    }

    fn arm(
        &mut self,
        shared: &Arc<Mutex<Self>>,
        clock: Clock,
        at: Tick,
        now: Tick,
    ) -> io::Result<()> {
        let timer = match &mut self.timer {
            Some(timer) => timer,
            none => none.insert(Timer::open(shared, clock)?),
        };
        set(&timer.watched, at, now)?;
        self.armed = Some(at);
        Ok(())
    }
}

impl Timer {
    fn open(shared: &Arc<Mutex<State>>, clock: Clock) -> io::Result<Self> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let descriptor = Descriptor(TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?);
        let watched = Arc::new(socket::watched(descriptor, Interest::READABLE)?);
        let of_pump = OfPump {
            state: Arc::downgrade(shared),
            watched: Arc::clone(&watched),
        };
        let pump = tokio::spawn(pump(of_pump, clock));
        Ok(Self { watched, pump })
    }
}

/// Has the timer go off at `at`, which lies after `now`.
fn set(timer: &AsyncFd<Descriptor>, at: Tick, now: Tick) -> io::Result<()> {
    let after = Expiration::OneShot(TimeSpec::from_duration(at.since(now)));
    Ok(timer.get_ref().0.set(after, TimerSetTimeFlags::empty())?)
}

/// What the task that hears the timer holds.
struct OfPump {
    state: Weak<Mutex<State>>,
    watched: Arc<AsyncFd<Descriptor>>,
}

impl Drop for OfPump {
    /// The runtime ends: in another one the timer is opened anew.
    fn drop(&mut self) {
        if let Some(state) = self.state.upgrade() {
            let mut state = lock(&state);
            let is_ours = |timer: &Timer| Arc::ptr_eq(&timer.watched, &self.watched);
            if state.timer.as_ref().is_some_and(is_ours) {
                state.armed = None;
                state.timer = None;
            }
        }
    }
}

async fn pump(own: OfPump, clock: Clock) {
    // The timer is never read: setting it makes it forget that it went off.
    while let Ok(mut ready) = own.watched.readable().await {
        // Cleared first: that it goes off from now on makes it ready again.
        ready.clear_ready();
        let Some(state) = own.state.upgrade() else {
            return;
        };
        ring(&state, &own.watched, clock);
    }
}

/// Wakes all whose time has come and sets the timer for the first of the others.
fn ring(state: &Mutex<State>, timer: &AsyncFd<Descriptor>, clock: Clock) {
    let mut due = Vec::new();
    let mut state = lock(state);
    let now = clock.tick();
    if let Some(armed) = state.armed.take_if(|armed| *armed <= now) {
        state.rung = armed;
    }
    for waiting in &mut state.waiting {
        while let Some(first) = waiting.first_entry() {
            if first.key().0 > now {
                break;
            }
            due.push(first.remove());
        }
    }
    if let (None, Some(at)) = (state.armed, state.latest()) {
        match set(timer, at, now) {
            Ok(()) => state.armed = Some(at),
            // They ask again and fall back on the runtime's timer.
            Err(_) => {
                let all = std::mem::take(&mut state.waiting);
                due.extend(all.into_iter().flat_map(BTreeMap::into_values));
            }
        }
    }
    drop(state);
    due.into_iter().for_each(Waker::wake);
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::{
        future::poll_fn,
        sync::atomic::{AtomicU32, Ordering},
        task::Wake,
    };

    use super::*;

    const SOON: Duration = Duration::from_millis(2);
    const LATE: Duration = Duration::from_secs(3_600);

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
            .block_on(future)
    }

    async fn wait(bell: &mut Bell<'_>, at: Tick) {
        poll_fn(|context| bell.poll(Some(at), Patience::Little, context)).await;
    }

    #[derive(Default)]
    struct Count(AtomicU32);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn nobody_is_woken_before_the_time_and_the_ring_is_known() {
        let alarm = Alarm::new(Clock::start());
        block_on(async {
            let mut bell = alarm.bell();
            while alarm.rung() == Tick::default() {
                let at = alarm.clock.tick() + SOON;
                wait(&mut bell, at).await;
                assert!(alarm.clock.tick() >= at);
                assert!(alarm.rung() <= at + Patience::Little.slack());
            }
        });
    }

    #[test]
    fn an_earlier_time_asked_for_later_is_kept() {
        let alarm = Alarm::new(Clock::start());
        block_on(async {
            let context = &mut Context::from_waker(Waker::noop());
            let (mut late, mut soon) = (alarm.bell(), alarm.bell());
            let at = alarm.clock.tick() + LATE;
            assert!(late.poll(Some(at), Patience::Little, context).is_pending());
            let at = alarm.clock.tick() + SOON;
            wait(&mut soon, at).await;
            assert!(late.poll(None, Patience::Little, context).is_pending());
            assert_eq!(lock(&alarm.state).latest(), None);
        });
    }

    #[test]
    fn a_wait_given_up_wakes_nobody() {
        let alarm = Alarm::new(Clock::start());
        block_on(async {
            let count = Arc::new(Count::default());
            let waker = Waker::from(Arc::clone(&count));
            let mut bell = alarm.bell();
            let at = alarm.clock.tick() + SOON;
            let _ = bell.poll(Some(at), Patience::Little, &mut Context::from_waker(&waker));
            drop(bell);
            wait(&mut alarm.bell(), at + SOON).await;
            assert_eq!(count.0.load(Ordering::Relaxed), 0);
        });
    }

    #[test]
    fn patience_is_woken_with_others() {
        let alarm = Alarm::new(Clock::start());
        block_on(async {
            let count = Arc::new(Count::default());
            let waker = Waker::from(Arc::clone(&count));
            let mut patient = alarm.bell();
            let at = alarm.clock.tick() + SOON;
            let asked = patient.poll(Some(at), Patience::Much, &mut Context::from_waker(&waker));
            assert!(asked.is_pending());
            assert_eq!(
                lock(&alarm.state).latest(),
                Some(at + Patience::Much.slack())
            );
            wait(&mut alarm.bell(), at).await;
            assert_eq!(count.0.load(Ordering::Relaxed), 1);
            assert_eq!(lock(&alarm.state).latest(), None);
        });
    }

    #[test]
    fn patience_ends() {
        let alarm = Alarm::new(Clock::start());
        block_on(async {
            let mut patient = alarm.bell();
            let at = alarm.clock.tick() + SOON;
            poll_fn(|context| patient.poll(Some(at), Patience::Much, context)).await;
            assert!(alarm.clock.tick() >= at);
        });
    }

    #[test]
    fn another_runtime_has_a_timer_of_its_own() {
        let alarm = Alarm::new(Clock::start());
        for _ in 0..2 {
            let at = alarm.clock.tick() + SOON;
            block_on(async { wait(&mut alarm.bell(), at).await });
            assert!(lock(&alarm.state).timer.is_none());
        }
    }
}
