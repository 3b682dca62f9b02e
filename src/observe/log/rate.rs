//! What repeats is said a few times a minute and then counted: a machine that decides what is logged. Pure.
//!
//! A message counts as the same one whatever the numbers in it. Two bounds hold: for one message, and for all that one
//! place in the program says, since what strangers send makes many different ones of it.

use std::{collections::HashMap, hash::Hash, time::Duration};

use crate::clock::Tick;

/// The time that is counted together.
const WINDOW: Duration = Duration::from_secs(60);
/// How often a message is said in that time.
const SAME: u32 = 5;
/// How much one place says in that time.
const PLACE: u32 = 20;
/// Places remembered; there are a few hundred in the program.
const PLACES: usize = 2_000;
/// Different messages of a place remembered in that time.
const TEXTS: usize = 64;
/// Characters of a message that a summary repeats.
const EXAMPLE: usize = 160;

/// Decides for places that are told apart by `K` and messages that weigh `L`.
#[derive(Debug)]
pub(super) struct Rate<K, L> {
    places: HashMap<K, Place<L>>,
}

#[derive(Debug)]
struct Place<L> {
    since: Tick,
    said: u32,
    texts: Vec<(String, u32)>,
    unsaid: Option<Summary<L>>,
}

/// What was not said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Summary<L> {
    /// How much it weighs.
    pub(super) level: L,
    /// How many messages.
    pub(super) count: u64,
    /// The first of them.
    pub(super) example: String,
}

impl<K: Clone + Eq + Hash, L: Copy> Rate<K, L> {
    pub(super) fn new() -> Self {
        Self {
            places: HashMap::new(),
        }
    }

    /// Whether to say `text` now; else it is counted.
    pub(super) fn admits(&mut self, now: Tick, place: &K, level: L, text: &str) -> bool {
        if self.places.len() >= PLACES && !self.places.contains_key(place) {
            return true;
        }
        let place = self.places.entry(place.clone()).or_insert_with(|| Place {
            since: now,
            said: 0,
            texts: Vec::new(),
            unsaid: None,
        });
        // With something unsaid the time goes on until that is summed up.
        if now.since(place.since) >= WINDOW && place.unsaid.is_none() {
            place.since = now;
            place.said = 0;
            place.texts.clear();
        }
        let text_only = without_numbers(text);
        let times = match place
            .texts
            .iter_mut()
            .find(|(known, _)| *known == text_only)
        {
            Some((_, times)) => {
                *times += 1;
                *times
            }
            None => {
                if place.texts.len() < TEXTS {
                    place.texts.push((text_only, 1));
                }
                1
            }
        };
        if times <= SAME && place.said < PLACE {
            place.said += 1;
            return true;
        }
        match &mut place.unsaid {
            Some(summary) => summary.count += 1,
            unsaid => {
                *unsaid = Some(Summary {
                    level,
                    count: 1,
                    example: text.chars().take(EXAMPLE).collect(),
                });
            }
        }
        false
    }

    /// When there is something to sum up.
    pub(super) fn deadline(&self) -> Option<Tick> {
        let unsaid = self.places.values().filter(|place| place.unsaid.is_some());
        unsaid.map(|place| place.since + WINDOW).min()
    }

    /// What was not said in a time that is over.
    pub(super) fn sum_up(&mut self, now: Tick) -> Vec<Summary<L>> {
        let over = self
            .places
            .values_mut()
            .filter(|place| now.since(place.since) >= WINDOW);
        over.filter_map(|place| place.unsaid.take()).collect()
    }
}

/// A message by which it is told from others: its numbers are all one.
pub(super) fn without_numbers(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        if !c.is_ascii_digit() {
            plain.push(c);
        } else if !plain.ends_with('0') {
            plain.push('0');
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Tick {
        Tick::from_secs(secs)
    }

    #[test]
    fn a_message_that_repeats_is_said_five_times_and_then_summed_up() {
        let mut rate = Rate::new();
        let said = (0..5000)
            .filter(|number| rate.admits(at(1), &"here", 'W', &format!("failed in {number} s")))
            .count();
        assert_eq!(said, 5);
        assert_eq!(rate.deadline(), Some(at(61)));
        assert!(rate.sum_up(at(60)).is_empty());
        let summaries = rate.sum_up(at(61));
        assert_eq!(
            summaries,
            [Summary {
                level: 'W',
                count: 4995,
                example: "failed in 5 s".to_owned()
            }]
        );
        assert_eq!(rate.deadline(), None);
        assert!(
            rate.admits(at(61), &"here", 'W', "failed in 9 s"),
            "a new minute"
        );
    }

    #[test]
    fn a_place_that_says_ever_new_things_is_bounded_too() {
        let mut rate = Rate::new();
        let names = (0..1000).map(|number| "x".repeat(number + 1));
        let said = names
            .filter(|name| rate.admits(at(0), &1, (), name))
            .count();
        assert_eq!(said, 20);
        assert!(rate.admits(at(0), &2, (), "another place is not concerned"));
    }

    #[test]
    fn what_comes_now_and_then_is_always_said() {
        let mut rate = Rate::new();
        let said = (0..100).filter(|minute| rate.admits(at(minute * 13), &1, (), "again"));
        assert_eq!(said.count(), 100);
    }

    #[test]
    fn what_is_unsaid_stays_counted_until_it_is_summed_up() {
        let mut rate = Rate::new();
        for _ in 0..6 {
            rate.admits(at(0), &1, (), "x");
        }
        assert!(!rate.admits(at(200), &1, (), "x"));
        assert_eq!(rate.sum_up(at(200))[0].count, 2);
    }

    #[test]
    fn numbers_do_not_make_a_message_another_one() {
        assert_eq!(without_numbers("in 34 s, 7 of 100"), "in 0 s, 0 of 0");
        assert_eq!(without_numbers("in 3 s, 7 of 9"), "in 0 s, 0 of 0");
    }
}
