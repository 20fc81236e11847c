//! Which slots have a primary that may lack what one before it had answered for: what was written to a store of
//! acks `one` before that counts as lost, whatever the new primary's copies are.

use crate::cluster::{SLOTS, Slot};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::*};

/// See the module.
#[derive(Debug, Default)]
pub struct Losses {
    /// How often slots were noted.
    count: AtomicU64,
    /// Of each slot, which of these it was last; made with the first.
    last: OnceLock<Box<[AtomicU64]>>,
}

impl Losses {
    /// How often there were some: by that it can be asked later what was lost since.
    pub fn count(&self) -> u64 {
        self.count.load(Acquire)
    }

    /// These slots have such a primary from now on. Called before that is told to anybody who asks for the slots' owners.
    pub fn note(&self, slots: &[Slot]) {
        let last = self.last.get_or_init(|| (0..SLOTS).map(|_| AtomicU64::new(0)).collect());
        let this = self.count.fetch_add(1, AcqRel) + 1;
        for place in slots.iter().filter_map(|slot| last.get(usize::from(*slot))) {
            place.store(this, Release);
        }
    }

    /// Whether a slot was noted since there were so many.
    pub fn is_lost_since(&self, slot: Slot, count: u64) -> bool {
        let place = self.last.get().and_then(|last| last.get(usize::from(slot)));
        place.is_some_and(|last| last.load(Acquire) > count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_that_was_noted_is_lost_to_who_wrote_before_and_not_to_who_did_after() {
        let losses = Losses::default();
        let before = losses.count();
        assert!(!losses.is_lost_since(3, before));
        losses.note(&[3, 16383]);
        assert!(losses.is_lost_since(3, before) && losses.is_lost_since(16383, before));
        assert!(!losses.is_lost_since(4, before));
        assert!(!losses.is_lost_since(3, losses.count()));
    }
}
