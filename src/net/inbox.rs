//! Where a run's packets wait for it: small, since every run has one, and bounded.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use super::Arrived;

/// Packets that wait for a run at most. One more is lost, like one for which a socket has no room.
const LIMIT: usize = 1_024;

/// A run's end: what is in it goes with it.
#[derive(Debug, Default)]
pub(super) struct Inbox(Arc<Mutex<State>>);

/// The end of those who hear packets for the run.
#[derive(Clone, Debug)]
pub(super) struct Slot(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Arrived>,
    /// Whom to wake, once for all that comes until it is asked again.
    waker: Option<Waker>,
}

impl Inbox {
    pub(super) fn slot(&self) -> Slot {
        Slot(Arc::clone(&self.0))
    }

    /// Who asks is awake, and is not woken until it has waited again.
    pub(super) fn pop(&self) -> Option<Arrived> {
        let mut state = lock(&self.0);
        state.waker = None;
        state.waiting.pop_front()
    }

    /// Ready when something waits.
    pub(super) fn poll(&self, context: &Context<'_>) -> Poll<Arrived> {
        let mut state = lock(&self.0);
        if let Some(arrived) = state.waiting.pop_front() {
            return Poll::Ready(arrived);
        }
        match &mut state.waker {
            Some(waker) => waker.clone_from(context.waker()),
            none => *none = Some(context.waker().clone()),
        }
        Poll::Pending
    }
}

impl Slot {
    /// Returns whether there was room.
    pub(super) fn give(&self, arrived: Arrived) -> bool {
        let mut state = lock(&self.0);
        let has_room = state.waiting.len() < LIMIT;
        if has_room {
            state.waiting.push_back(arrived);
        }
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        has_room
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicU32, Ordering},
        task::Wake,
    };

    use super::*;
    use crate::{
        clock::{Now, Tick, UnixTime},
        measurement::machine::Input,
    };

    #[derive(Default)]
    struct Count(AtomicU32);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn arrived() -> Arrived {
        let now = Now::new(Tick::from_secs(1), UnixTime::from_secs(1), -1);
        Arrived::noticed(now, None, Input::Deadline)
    }

    #[test]
    fn whoever_waits_is_woken_once_for_all_that_comes() {
        let (inbox, count) = (Inbox::default(), Arc::new(Count::default()));
        let waker = Waker::from(Arc::clone(&count));
        let context = Context::from_waker(&waker);
        assert!(inbox.poll(&context).is_pending());
        let slot = inbox.slot();
        assert!(slot.give(arrived()) && slot.give(arrived()));
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        assert!(inbox.poll(&context).is_ready());
        assert!(inbox.pop().is_some());
        assert!(inbox.pop().is_none() && inbox.poll(&context).is_pending());
        slot.give(arrived());
        assert_eq!(count.0.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn whoever_asks_is_awake_already() {
        let (inbox, count) = (Inbox::default(), Arc::new(Count::default()));
        let waker = Waker::from(Arc::clone(&count));
        assert!(inbox.poll(&Context::from_waker(&waker)).is_pending());
        assert!(inbox.pop().is_none());
        inbox.slot().give(arrived());
        assert_eq!(count.0.load(Ordering::Relaxed), 0);
        assert!(inbox.pop().is_some());
    }

    #[test]
    fn what_does_not_fit_is_lost_and_the_rest_kept() {
        let inbox = Inbox::default();
        let slot = inbox.slot();
        let taken = (0..LIMIT + 3).filter(|_| slot.give(arrived())).count();
        assert_eq!(taken, LIMIT);
        assert!(inbox.pop().is_some());
        assert!(slot.give(arrived()));
    }
}
