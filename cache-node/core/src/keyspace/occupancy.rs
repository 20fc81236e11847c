//! Which slots have keys of a store: a bit each, so that walks and samples skip the others.

use crate::cluster::{SLOTS, Slot};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

const WORDS: usize = SLOTS as usize / 64;

/// A set of slots. It is changed under the slot's lock; readers take it as a hint.
#[derive(Debug)]
pub struct Occupancy {
    words: Box<[AtomicU64; WORDS]>,
}

impl Default for Occupancy {
    fn default() -> Self {
        Self { words: Box::new([const { AtomicU64::new(0) }; WORDS]) }
    }
}

impl Occupancy {
    /// Puts a slot in or takes it out.
    #[inline]
    pub fn set(&self, slot: Slot, occupied: bool) {
        let Some(word) = self.words.get(usize::from(slot) / 64) else { return };
        let bit = 1 << (slot % 64);
        if occupied {
            word.fetch_or(bit, Relaxed);
        } else {
            word.fetch_and(!bit, Relaxed);
        }
    }

    /// The first slot of the set that is `from` or later.
    pub fn next(&self, from: Slot) -> Option<Slot> {
        let mut index = usize::from(from) / 64;
        let mut word = self.words.get(index)?.load(Relaxed) & (u64::MAX << (from % 64));
        loop {
            if word != 0 {
                return Slot::try_from(index * 64 + word.trailing_zeros() as usize).ok();
            }
            index += 1;
            word = self.words.get(index)?.load(Relaxed);
        }
    }

    /// The first slot of the set from `from` on, going round after the last.
    pub fn next_around(&self, from: Slot) -> Option<Slot> {
        self.next(from).or_else(|| self.next(0))
    }

    /// The first slot from `from` on that is not in the set.
    pub fn next_absent(&self, from: Slot) -> Option<Slot> {
        let mut index = usize::from(from) / 64;
        let mut word = !self.words.get(index)?.load(Relaxed) & (u64::MAX << (from % 64));
        loop {
            if word != 0 {
                return Slot::try_from(index * 64 + word.trailing_zeros() as usize).ok();
            }
            index += 1;
            word = !self.words.get(index)?.load(Relaxed);
        }
    }

    /// The slots of the set, in order.
    pub fn iter(&self) -> impl Iterator<Item = Slot> + '_ {
        let mut from = Some(0);
        std::iter::from_fn(move || {
            let slot = self.next(from?)?;
            from = slot.checked_add(1).filter(|next| *next < SLOTS);
            Some(slot)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_come_and_go() {
        let set = Occupancy::default();
        assert_eq!(set.next_around(5), None);
        for slot in [0, 63, 64, 9000, 16383] {
            set.set(slot, true);
        }
        assert_eq!(set.iter().collect::<Vec<_>>(), [0, 63, 64, 9000, 16383]);
        assert_eq!(set.next(65), Some(9000));
        set.set(16383, false);
        assert_eq!(set.next(9001), None);
        assert_eq!(set.next_around(9001), Some(0));
        assert_eq!(set.next(16384), None);
    }
}
