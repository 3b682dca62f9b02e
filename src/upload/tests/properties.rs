//! What holds whatever happens.

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

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_dropped_without_an_acknowledgement_and_nothing_spins(steps in prop::collection::vec(step(), 1..80)) {
        let mut uploader = Uploader::new(Own::default(), 3);
        let (mut tick, mut shift) = (0u64, 0i64);
        let mut posting: std::collections::BTreeMap<Queue, Post> = std::collections::BTreeMap::new();
        let mut held = 0;
        let mut inputs = vec![Input::Session(identity()), Input::Tunnel(true)];
        let mut tunnel = true;
        for step in steps {
            let wait = if let Step::Wait(secs) = step { u64::from(secs) } else { 0 };
            match step {
                Step::Wait(_) => inputs.push(Input::Deadline),
                Step::Jump(secs) => shift += i64::from(secs),
                Step::Tunnel(stands) => inputs.push(Input::Tunnel(stands)),
                Step::OneOff(idle) => inputs.push(Input::OneOff { idle }),
                Step::Leave => inputs.push(Input::Leaving),
                Step::Answer(kind) => {
                    if let Some(post) = posting.values().next() {
                        let answer = match kind {
                            0 | 1 => accepted(),
                            2 => refused(429, Some(30)),
                            3 => refused(500, None),
                            4 => Answer::NotMade,
                            _ => failed(),
                        };
                        inputs.push(Input::Answered(post.which, answer));
                    }
                }
                Step::Duties(ref lines) => {
                    let duties = lines.iter().map(|(interval, start, spread, sync)| {
                        let which = if *sync { Which::TimeSync } else { Which::Main };
                        duty(which, Slots { spread: *spread, ..slots(*interval, *start) })
                    });
                    inputs.push(Input::Duties(duties.collect()));
                }
            }
            tick += wait;
            let mut rounds = 0;
            while !inputs.is_empty() {
                rounds += 1;
                prop_assert!(rounds < 50, "goes round in circles");
                let input = inputs.remove(0);
                if let Input::Tunnel(stands) = input {
                    tunnel = stands;
                }
                let unix = UnixTime::from_secs(EPOCH + i64::try_from(tick).unwrap() + shift);
                let now = Now::new(Tick::from_secs(tick), unix, -1);
                let answered = match &input {
                    Input::Answered(which, answer) => {
                        let good = matches!(answer, Answer::Heard { accepted: true, .. });
                        posting.remove(&which.queue()).map(|post| (post, good))
                    }
                    _ => None,
                };
                for output in uploader.handle(&now, input) {
                    match output {
                        Output::Collect { queue, .. } => {
                            prop_assert!(!posting.contains_key(&queue), "one post at a time");
                            prop_assert!(tunnel && tick >= held);
                            inputs.push(Input::Collected(queue, vec![sealed(1, 10), sealed(2, 10)]));
                        }
                        Output::Post(post) => {
                            let queue = post.which.queue();
                            prop_assert!(posting.insert(queue, post).is_none(), "one post at a time");
                        }
                        Output::Uploaded(queue, segments) => {
                            let (post, good) = answered.clone().expect("only an answer removes");
                            prop_assert!(good && post.which.queue() == queue && post.segments == segments);
                        }
                        Output::Held(wait) => {
                            prop_assert!(wait >= Duration::from_secs(60) && wait <= Duration::from_secs(3600));
                            held = tick + wait.as_secs();
                        }
                        _ => {}
                    }
                }
            }
            // Awoken at its deadline, it has a later one.
            if let Some(deadline) = uploader.deadline() {
                let next = deadline.0.as_secs() + u64::from(deadline.0.subsec_nanos() > 0);
                let unix = UnixTime::from_secs(EPOCH + i64::try_from(next).unwrap() + shift);
                prop_assert!(deadline >= Tick::from_secs(tick) || next >= tick);
                tick = tick.max(next);
                for output in uploader.handle(&Now::new(Tick::from_secs(tick), unix, -1), Input::Deadline) {
                    match output {
                        Output::Collect { queue, .. } => inputs.push(Input::Collected(queue, Vec::new())),
                        Output::Post(post) => { posting.insert(post.which.queue(), post); }
                        _ => {}
                    }
                }
                prop_assert!(uploader.deadline().is_none_or(|next| next > Tick::from_secs(tick)), "would spin");
            }
        }
    }
}
