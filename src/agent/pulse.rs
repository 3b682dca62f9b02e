//! How the main loop knows that the storage task makes progress: it asks, and the task answers in its turn.
//!
//! A timer would keep ticking while the work stands still; an answer cannot. Asking needs no place in the inbox of
//! the storage, so a full one is no standstill.

use tokio::sync::watch;

/// The asking end.
#[derive(Debug)]
pub(super) struct Pulse {
    ask: watch::Sender<u64>,
    answer: watch::Receiver<u64>,
}

/// The answering end.
#[derive(Debug)]
pub(super) struct Heart {
    ask: watch::Receiver<u64>,
    answer: watch::Sender<u64>,
}

/// Both ends; the first question is already asked.
pub(super) fn pulse() -> (Pulse, Heart) {
    let (ask, mut asked) = watch::channel(1);
    asked.mark_changed();
    let (answer, answered) = watch::channel(0);
    (
        Pulse {
            ask,
            answer: answered,
        },
        Heart { ask: asked, answer },
    )
}

impl Pulse {
    /// Whether the last question was answered; then the next one is asked.
    pub(super) fn beat(&mut self) -> bool {
        let asked = *self.ask.borrow();
        let answered = *self.answer.borrow() == asked;
        if answered {
            self.ask.send_modify(|asked| *asked += 1);
        }
        answered
    }

    /// Completes when an answer comes; never once nobody is left to give one.
    pub(super) async fn answered(&mut self) {
        if self.answer.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Heart {
    /// Completes when asked; never once nobody asks any more.
    pub(super) async fn asked(&mut self) {
        if self.ask.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Answers what was asked so far.
    pub(super) fn answer(&self) {
        let asked = *self.ask.borrow();
        self.answer.send_if_modified(|answer| {
            let is_news = *answer != asked;
            *answer = asked;
            is_news
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_answer_no_beat() {
        let (mut pulse, heart) = pulse();
        assert!(!pulse.beat());
        heart.answer();
        assert!(pulse.beat());
        assert!(!pulse.beat(), "each question wants an answer of its own");
        heart.answer();
        heart.answer();
        assert!(pulse.beat());
    }
}
