//! What holds whatever happens.

use std::collections::{BTreeMap, VecDeque};

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Wait(u16),
    Jump(i32),
    Tunnel(bool),
    OneOff(bool),
    Answer(u8),
    Duties(Vec<(u32, i64, u32, bool)>),
    Leave,
}

fn step() -> impl Strategy<Value = Step> {
    let duty = (
        1..200u32,
        -5..100i64,
        prop_oneof![0..30u32, Just(u32::MAX)],
        any::<bool>(),
    );
    prop_oneof![
        6 => (0..300u16).prop_map(Step::Wait),
        1 => (-100_000..100_000i32).prop_map(Step::Jump),
        1 => any::<bool>().prop_map(Step::Tunnel),
        2 => any::<bool>().prop_map(Step::OneOff),
        6 => (0..6u8).prop_map(Step::Answer),
        1 => prop::collection::vec(duty, 0..4).prop_map(Step::Duties),
        1 => Just(Step::Leave),
    ]
}

/// The uploader, and what its driver knows.
struct World {
    uploader: Uploader,
    secs: u64,
    /// What the wall clock was set forward by.
    shift: i64,
    tunnel: bool,
    /// Until when the controller asked to be left alone, as far as was said.
    held: u64,
    posting: BTreeMap<Queue, Post>,
    inputs: VecDeque<Input>,
}

impl World {
    fn new() -> Self {
        Self {
            uploader: Uploader::new(Own::default(), 3),
            secs: 0,
            shift: 0,
            tunnel: true,
            held: 0,
            posting: BTreeMap::new(),
            inputs: [Input::Session(identity()), Input::Tunnel(true)].into(),
        }
    }

    fn now(&self) -> Now {
        let unix = EPOCH + i64::try_from(self.secs).unwrap() + self.shift;
        Now::new(Tick::from_secs(self.secs), UnixTime::from_secs(unix), -1)
    }

    fn take(&mut self, step: Step) {
        let input = match step {
            Step::Wait(secs) => {
                self.secs += u64::from(secs);
                Input::Deadline
            }
            Step::Jump(secs) => {
                self.shift += i64::from(secs);
                return;
            }
            Step::Tunnel(stands) => Input::Tunnel(stands),
            Step::OneOff(idle) => Input::OneOff { idle },
            Step::Leave => Input::Leaving,
            Step::Answer(kind) => {
                let Some(post) = self.posting.values().next() else {
                    return;
                };
                let answer = match kind {
                    0 | 1 => accepted(),
                    2 => refused(429, Some(30)),
                    3 => refused(500, None),
                    4 => Answer::NotMade,
                    _ => failed(),
                };
                Input::Answered(post.which, answer)
            }
            Step::Duties(lines) => {
                let duties = lines.into_iter().map(|(interval, start, spread, sync)| {
                    let which = if sync { Which::TimeSync } else { Which::Main };
                    let slots = slots(interval, start);
                    duty(which, Slots { spread, ..slots })
                });
                Input::Duties(duties.collect())
            }
        };
        self.inputs.push_back(input);
    }

    /// Tells it all that is to be told, and what comes of that at once.
    fn settle(&mut self) {
        let mut rounds = 0;
        while let Some(input) = self.inputs.pop_front() {
            rounds += 1;
            assert!(rounds < 50, "goes round in circles");
            if let Input::Tunnel(stands) = input {
                self.tunnel = stands;
            }
            let answered = match &input {
                Input::Answered(which, answer) => {
                    let good = matches!(answer, Answer::Heard { accepted: true, .. });
                    let post = self.posting.remove(&which.queue());
                    post.map(|post| (post, good))
                }
                _ => None,
            };
            for output in self.uploader.handle(&self.now(), input) {
                self.perform(output, answered.as_ref());
            }
        }
    }

    fn perform(&mut self, output: Output, answered: Option<&(Post, bool)>) {
        match output {
            Output::Collect { queue, .. } => {
                assert!(!self.posting.contains_key(&queue), "one post at a time");
                assert!(self.tunnel && self.secs >= self.held);
                let there = vec![sealed(1, 10), sealed(2, 10)];
                self.inputs.push_back(Input::Collected(queue, there));
            }
            Output::Post(post) => {
                let before = self.posting.insert(post.which.queue(), post);
                assert!(before.is_none(), "one post at a time");
            }
            Output::Uploaded(queue, segments) => {
                let (post, good) = answered.expect("only an answer removes");
                assert!(*good && post.which.queue() == queue && post.segments == segments);
            }
            Output::Held(wait) => {
                assert!(wait >= Duration::from_secs(60) && wait <= Duration::from_secs(3600));
                self.held = self.secs + wait.as_secs();
            }
            _ => {}
        }
    }

    /// Awoken at its deadline, it has a later one.
    fn wake(&mut self) {
        let Some(deadline) = self.uploader.deadline() else {
            return;
        };
        let next = deadline.0.as_secs() + u64::from(deadline.0.subsec_nanos() > 0);
        assert!(next >= self.secs);
        self.secs = next;
        for output in self.uploader.handle(&self.now(), Input::Deadline) {
            match output {
                Output::Collect { queue, .. } => {
                    self.inputs.push_back(Input::Collected(queue, Vec::new()));
                }
                Output::Post(post) => {
                    self.posting.insert(post.which.queue(), post);
                }
                _ => {}
            }
        }
        let later = |next| next > Tick::from_secs(self.secs);
        assert!(self.uploader.deadline().is_none_or(later), "would spin");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_dropped_without_an_acknowledgement_and_nothing_spins(steps in prop::collection::vec(step(), 1..80)) {
        let mut world = World::new();
        for step in steps {
            world.take(step);
            world.settle();
            world.wake();
        }
    }
}
