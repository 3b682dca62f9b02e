//! Round trips by the clock of a network card.
//!
//! A card that stamps packets itself does so on the wire; the kernel's own stamps have the driver, the bus and the
//! interrupt in them. Its clock has an epoch of its own, so its times are only ever compared with each other: a reply
//! is told to have come as long after the kernel's time of its request as the card saw between the two. What lies
//! between kernel and card on both ends is so taken out of the round trip.
//!
//! Cards are never told to stamp, which takes privileges and is somebody else's choice. One that is seen to stamp what
//! arrives is asked for stamps of what leaves. Pure.

use std::time::Duration;

use nix::sys::time::TimeSpec;

use crate::{clock::Tick, measurement::machine::Handle};

/// What lies between kernel and card at most. Where it seems to be more, the card's clock was set, or they were two cards.
const MOST: Duration = Duration::from_millis(10);
/// How far a card's clock may run ahead of the kernel's within a round trip.
const SLACK: Duration = Duration::from_micros(1);

/// A card's time of a packet, in nanoseconds since an epoch of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CardTime(u64);

impl CardTime {
    /// As the kernel tells it: all zero stands for none. So does what no clock shows before the year 2554.
    pub(super) fn read(time: &TimeSpec) -> Option<Self> {
        let [whole, part] = [time.tv_sec(), time.tv_nsec()].map(u64::try_from);
        let nanos = whole.ok()?.checked_mul(1_000_000_000)?;
        let nanos = nanos.checked_add(part.ok()?)?;
        (nanos != 0).then_some(Self(nanos))
    }

    fn since(self, earlier: Self) -> Option<Duration> {
        self.0.checked_sub(earlier.0).map(Duration::from_nanos)
    }
}

/// The latest packet that a run sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Latest {
    sent: Option<((Handle, u32), Tick)>,
    by_card: Option<CardTime>,
}

impl Latest {
    /// The kernel's time of packet `tag`.
    pub(super) const fn left(&mut self, of: (Handle, u32), at: Tick) {
        self.sent = Some((of, at));
        self.by_card = None;
    }

    /// The card's time of packet `tag`, which comes after the kernel's. That of an earlier packet is of no use any more.
    pub(super) fn left_card(&mut self, of: (Handle, u32), at: CardTime) {
        if self.sent.is_some_and(|(latest, _)| latest == of) {
            self.by_card = Some(at);
        }
    }

    /// When a packet came that the card stamped with `card` and the kernel as of `at`; `None` if the card does not tell.
    pub(super) fn arrived(&self, card: CardTime, at: Tick) -> Option<Tick> {
        let ((_, sent), by_card) = self.sent.zip(self.by_card)?;
        let arrived = sent + card.since(by_card)?;
        let is_plausible = arrived <= at + SLACK && at.since(arrived) <= MOST;
        is_plausible.then_some(arrived)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: (Handle, u32) = (Handle(0), 1);
    const SECOND: (Handle, u32) = (Handle(0), 2);

    fn micros(micros: u64) -> Tick {
        Tick(Duration::from_micros(micros))
    }

    fn card(micros: i64) -> CardTime {
        CardTime(
            37_000_000_000_u64
                .checked_add_signed(micros * 1_000)
                .unwrap(),
        )
    }

    /// The kernel's time of the first request is 100 µs, the card's 5 µs later.
    fn sent() -> Latest {
        let mut latest = Latest::default();
        latest.left(FIRST, micros(100));
        latest.left_card(FIRST, card(105));
        latest
    }

    #[test]
    fn a_round_trip_is_the_cards() {
        // On the wire from 105 to 405, noticed by the kernel at 450.
        assert_eq!(sent().arrived(card(405), micros(450)), Some(micros(400)));
    }

    #[test]
    fn without_the_cards_time_of_the_request_there_is_none() {
        let mut latest = Latest::default();
        assert_eq!(latest.arrived(card(405), micros(450)), None);
        latest.left(FIRST, micros(100));
        assert_eq!(latest.arrived(card(405), micros(450)), None);
        latest.left_card(SECOND, card(105));
        assert_eq!(latest.arrived(card(405), micros(450)), None);
    }

    #[test]
    fn a_stamp_of_the_request_before_does_not_count_for_this_one() {
        let mut latest = sent();
        latest.left(SECOND, micros(1_100));
        assert_eq!(latest.arrived(card(1_405), micros(1_450)), None);
        latest.left_card(FIRST, card(105));
        assert_eq!(latest.arrived(card(1_405), micros(1_450)), None);
        latest.left_card(SECOND, card(1_105));
        assert_eq!(
            latest.arrived(card(1_405), micros(1_450)),
            Some(micros(1_400))
        );
    }

    #[test]
    fn a_clock_that_was_set_or_is_another_cards_does_not_count() {
        for set_by in [-50_000, -400, 60, 9_000_000] {
            assert_eq!(sent().arrived(card(405 + set_by), micros(450)), None);
        }
        assert_eq!(sent().arrived(card(405 - 15_000), micros(20_000)), None);
        let late = sent().arrived(card(405), micros(10_401));
        assert_eq!(late, None, "more than any driver takes");
    }

    #[test]
    fn no_time_is_all_zero_and_none_lies_before_the_epoch() {
        for (whole, part) in [(0, 0), (-1, 0), (0, -1)] {
            assert_eq!(CardTime::read(&TimeSpec::new(whole, part)), None, "{whole}");
        }
        assert_eq!(
            CardTime::read(&TimeSpec::new(1, 2)),
            Some(CardTime(1_000_000_002))
        );
    }
}
