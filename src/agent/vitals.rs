//! Whether the agent lives, for whoever asks: its main loop and its disk, asked as the watchdog asks them.
//!
//! A disk may take its time, and so may a busy main loop: one that does not answer at once stands still only after
//! [`GRACE`]. The question stays open meanwhile, so that the time counts from when it was asked first.

use std::time::Duration;

use tokio::{
    sync::{Mutex, mpsc, oneshot},
    time::timeout,
};

use super::pulse::Pulse;
use crate::{
    clock::{Clock, Tick},
    observe::status::Jobs,
};

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(2);
/// Without an answer for so long it stands still. The unit's watchdog waits three times as long before it acts.
const GRACE: Duration = Duration::from_secs(60);

/// The main loop's answer to this is what is on the schedule.
pub(super) type Question = oneshot::Sender<Vec<Jobs>>;

/// Asks main loop and storage.
pub(super) struct Vitals {
    clock: Clock,
    questions: mpsc::Sender<Question>,
    state: Mutex<State>,
}

struct State {
    pulse: Pulse,
    main_loop: Silence,
    storage: Silence,
}

/// What was found.
pub(super) struct Found {
    /// What is on the schedule, if the main loop answered.
    pub(super) jobs: Option<Vec<Jobs>>,
    /// What stands still, and for how long it has been silent.
    pub(super) standstill: Option<(&'static str, Duration)>,
}

impl Vitals {
    pub(super) fn new(clock: Clock, questions: mpsc::Sender<Question>, pulse: Pulse) -> Self {
        Self {
            clock,
            questions,
            state: Mutex::new(State {
                pulse,
                main_loop: Silence::default(),
                storage: Silence::default(),
            }),
        }
    }

    /// Asks both; takes at most as long as their patience.
    pub(super) async fn ask(&self) -> Found {
        let mut state = self.state.lock().await;
        let State {
            pulse,
            main_loop,
            storage,
        } = &mut *state;
        let asked = self.clock.tick();
        let (jobs, answered) = tokio::join!(
            timeout(PATIENCE, self.jobs()),
            timeout(PATIENCE, pulse.feel())
        );
        let jobs = jobs.ok().flatten();
        let now = self.clock.tick();
        let silent = [
            ("main loop", main_loop.heard(jobs.is_some(), asked, now)),
            ("disk", storage.heard(answered.is_ok(), asked, now)),
        ];
        Found {
            jobs,
            standstill: silent.into_iter().find(|(_, silent)| *silent >= GRACE),
        }
    }

    async fn jobs(&self) -> Option<Vec<Jobs>> {
        let (question, answer) = oneshot::channel();
        self.questions.send(question).await.ok()?;
        answer.await.ok()
    }
}

/// Since when somebody does not answer.
#[derive(Debug, Default)]
struct Silence(Option<Tick>);

impl Silence {
    /// Takes whether a question asked at `asked` was answered by `now`; for how long there has been silence.
    fn heard(&mut self, answered: bool, asked: Tick, now: Tick) -> Duration {
        if answered {
            self.0 = None;
            return Duration::ZERO;
        }
        now.since(*self.0.get_or_insert(asked))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_counts_from_the_first_question_without_an_answer() {
        let mut silence = Silence::default();
        let mut heard = |answered, asked, now| {
            silence
                .heard(answered, Tick::from_secs(asked), Tick::from_secs(now))
                .as_secs()
        };
        assert_eq!(heard(true, 1, 3), 0);
        assert_eq!(heard(false, 10, 12), 2);
        assert_eq!(heard(false, 40, 42), 32);
        assert_eq!(heard(true, 50, 51), 0);
        assert_eq!(heard(false, 60, 62), 2);
    }
}
