//! Packets whose transmit time is still to come, by the number that the kernel gave them. Pure.

use std::collections::VecDeque;

use crate::clock::Tick;

/// Stamps that are waited for at most; the oldest gives way.
const LIMIT: usize = 4_096;
/// The same for those of network cards, which drivers leave out when they are busy.
const CARD_LIMIT: usize = 32;

/// Packets sent on one socket. The kernel numbers them from 0; failed sends are not counted.
#[derive(Debug)]
pub(super) struct Outstanding<T> {
    next: u32,
    sent: VecDeque<Sent<T>>,
    /// Stamps of forgotten packets may still lie in the error queue.
    forgot: bool,
    /// Packets that the kernel has stamped and the network card has not; `None` where it is not asked.
    by_card: Option<VecDeque<(u32, T)>>,
}

#[derive(Debug)]
struct Sent<T> {
    id: u32,
    /// Before the packet was handed over: its transmit time cannot lie before that.
    before: Tick,
    what: T,
}

impl<T: Copy> Outstanding<T> {
    pub(super) const fn new() -> Self {
        Self {
            next: 0,
            sent: VecDeque::new(),
            forgot: false,
            by_card: None,
        }
    }

    /// From now on the network card is asked for stamps as well. Returns whether that is new.
    pub(super) fn ask_card(&mut self) -> bool {
        let is_new = self.by_card.is_none();
        self.by_card.get_or_insert_default();
        is_new
    }

    /// Whether the error queue has nothing that would be missed.
    pub(super) fn is_empty(&self) -> bool {
        let waits_for_card = self.by_card.as_ref().is_some_and(|sent| !sent.is_empty());
        self.sent.is_empty() && !self.forgot && !waits_for_card
    }

    /// The next packet was sent.
    pub(super) fn push(&mut self, before: Tick, what: T) {
        if self.sent.len() == LIMIT {
            self.sent.pop_front();
            self.forgot = true;
        }
        let id = self.next;
        self.sent.push_back(Sent { id, before, what });
        self.next = self.next.wrapping_add(1);
    }

    /// The packet that the kernel stamped as number `id`, once.
    pub(super) fn take(&mut self, id: u32) -> Option<(Tick, T)> {
        // A number not given yet: some kernels count failed sends after all. What is outstanding cannot be
        // told apart any more; from here on the numbers fit again.
        if id.wrapping_sub(self.next) < u32::MAX / 2 {
            tracing::debug!(id, expected = self.next, "transmit stamps renumbered");
            self.sent.clear();
            self.next = id.wrapping_add(1);
            return None;
        }
        let at = self.sent.iter().position(|sent| sent.id == id)?;
        let sent = self.sent.remove(at)?;
        if let Some(by_card) = &mut self.by_card {
            by_card.truncate(CARD_LIMIT - 1);
            by_card.push_front((id, sent.what));
        }
        Some((sent.before, sent.what))
    }

    /// The packet that the network card stamped as number `id`, once; the kernel's stamp comes first.
    pub(super) fn take_card(&mut self, id: u32) -> Option<T> {
        let by_card = self.by_card.as_mut()?;
        let at = by_card.iter().position(|(sent, _)| *sent == id)?;
        by_card.remove(at).map(|(_, what)| what)
    }

    /// The error queue was seen empty.
    pub(super) const fn drained(&mut self) {
        self.forgot = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THEN: Tick = Tick::from_secs(1);

    #[test]
    fn each_packet_is_found_once_in_any_order() {
        let mut sent = Outstanding::new();
        for name in ["a", "b", "c"] {
            sent.push(THEN, name);
        }
        assert_eq!(sent.take(1), Some((THEN, "b")));
        assert_eq!(sent.take(1), None);
        assert_eq!(sent.take(0), Some((THEN, "a")));
        assert_eq!(sent.take(2), Some((THEN, "c")));
        assert!(sent.is_empty());
    }

    #[test]
    fn a_number_not_given_yet_starts_over_after_it() {
        let mut sent = Outstanding::new();
        sent.push(THEN, "a");
        assert_eq!(sent.take(1), None);
        assert_eq!(sent.take(0), None);
        sent.push(THEN, "b");
        assert_eq!(sent.take(2), Some((THEN, "b")));
    }

    #[test]
    fn a_card_stamps_after_the_kernel_once_and_perhaps_never() {
        let mut sent = Outstanding::new();
        sent.push(THEN, "unasked");
        assert_eq!(sent.take(0), Some((THEN, "unasked")));
        assert_eq!(sent.take_card(0), None);
        assert!(sent.ask_card() && !sent.ask_card());
        assert!(sent.is_empty());
        sent.push(THEN, "asked");
        assert_eq!(sent.take_card(1), None);
        assert_eq!(sent.take(1), Some((THEN, "asked")));
        assert!(!sent.is_empty());
        assert_eq!(sent.take_card(1), Some("asked"));
        assert_eq!(sent.take_card(1), None);
        assert!(sent.is_empty());
        for id in 2..u32::try_from(CARD_LIMIT).unwrap() + 3 {
            sent.push(THEN, "never");
            assert!(sent.take(id).is_some());
        }
        assert_eq!(sent.take_card(2), None);
        assert_eq!(sent.take_card(3), Some("never"));
    }

    #[test]
    fn numbers_wrap() {
        let mut sent = Outstanding::new();
        sent.next = u32::MAX;
        sent.push(THEN, "last");
        sent.push(THEN, "first");
        assert_eq!(sent.take(0), Some((THEN, "first")));
        assert_eq!(sent.take(u32::MAX), Some((THEN, "last")));
    }

    #[test]
    fn stamps_that_never_come_do_not_pile_up() {
        let mut sent = Outstanding::new();
        for number in 0..LIMIT + 3 {
            sent.push(THEN, number);
        }
        assert_eq!(sent.sent.len(), LIMIT);
        assert_eq!(sent.take(2), None);
        assert_eq!(sent.take(3), Some((THEN, 3)));
    }
}
