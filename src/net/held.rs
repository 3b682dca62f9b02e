//! What one run has open, by the run's own names: a few things at most, so they stand in a row. Pure.

use crate::measurement::machine::Handle;

/// The things of one kind.
#[derive(Debug)]
pub(super) struct Held<T>(Vec<(Handle, u64, T)>);

impl<T> Held<T> {
    pub(super) const fn new() -> Self {
        Self(Vec::new())
    }

    /// What is open as `on`, and which opening of that name it is.
    pub(super) fn get_mut(&mut self, on: Handle) -> Option<(u64, &mut T)> {
        let found = self.0.iter_mut().find(|(name, ..)| *name == on);
        found.map(|(_, serial, thing)| (*serial, thing))
    }

    /// Whether this opening of `on` is still open.
    pub(super) fn has(&self, on: Handle, opening: u64) -> bool {
        let of = (on, opening);
        self.0
            .iter()
            .any(|(name, serial, _)| (*name, *serial) == of)
    }

    /// Opens something in the place of what was open under that name.
    pub(super) fn insert(&mut self, on: Handle, opening: u64, thing: T) {
        self.remove(on);
        self.0.push((on, opening, thing));
    }

    pub(super) fn remove(&mut self, on: Handle) {
        self.0.retain(|(name, ..)| *name != on);
    }

    /// Everything, what was opened first in front.
    pub(super) fn all(&mut self) -> impl Iterator<Item = &mut T> {
        self.0.iter_mut().map(|(.., thing)| thing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_that_of_the_latest_opening() {
        let mut held = Held::new();
        held.insert(Handle(1), 1, "one");
        held.insert(Handle(2), 2, "two");
        held.insert(Handle(1), 3, "one again");
        assert!(!held.has(Handle(1), 1) && held.has(Handle(1), 3));
        assert_eq!(held.get_mut(Handle(1)), Some((3, &mut "one again")));
        assert_eq!(held.all().count(), 2);
        held.remove(Handle(1));
        assert_eq!(held.get_mut(Handle(1)), None);
        assert!(held.has(Handle(2), 2));
    }
}
