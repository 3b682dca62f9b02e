//! How the main loop knows that the storage task makes progress: it asks, and the task answers in its turn.
//!
//! A timer would keep ticking while the work stands still; an answer cannot. Asking needs no place in the inbox of
//! the storage, so a full one is no standstill. Whoever else wants to know asks by a [`Pulse`] of its own.

use tokio::sync::watch;

/// The asking end. Each clone asks for itself.
#[derive(Clone, Debug)]
pub(super) struct Pulse {
    ask: watch::Sender<u64>,
    answer: watch::Receiver<u64>,
    /// The number of the question that this end asked last.
    asked: u64,
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
            asked: 1,
        },
        Heart { ask: asked, answer },
    )
}

impl Pulse {
    /// Whether the last question was answered; then the next one is asked.
    pub(super) fn beat(&mut self) -> bool {
        let answered = *self.answer.borrow() >= self.asked;
        if answered {
            self.ask();
        }
        answered
    }

    /// Asks, and completes when this question is answered; never once nobody is left to do that.
    pub(super) async fn feel(&mut self) {
        self.ask();
        let asked = self.asked;
        if self
            .answer
            .wait_for(|answer| *answer >= asked)
            .await
            .is_err()
        {
            std::future::pending::<()>().await;
        }
    }

    fn ask(&mut self) {
        self.ask.send_modify(|asked| {
            *asked += 1;
            self.asked = *asked;
        });
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

    #[test]
    fn each_asking_end_wants_an_answer_to_its_own_question() {
        let (mut one, heart) = pulse();
        let mut other = one.clone();
        heart.answer();
        assert!(one.beat());
        assert!(other.beat(), "the first question is answered for both");
        assert!(!one.beat());
        heart.answer();
        assert!(other.beat());
        assert!(one.beat());
    }

    #[tokio::test]
    async fn a_question_is_answered_by_a_later_answer_only() {
        let (mut pulse, heart) = pulse();
        heart.answer();
        let (mut asking, answering) = (Box::pin(pulse.feel()), async {});
        tokio::select! {
            biased;
            () = &mut asking => panic!("the answer came before the question"),
            () = answering => {}
        }
        heart.answer();
        asking.await;
    }
}
