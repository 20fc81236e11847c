//! A store's own time: turns, and the marks at which frequencies halve.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// So many halvings make any counter of few accesses zero; older marks are not kept.
const MARKS: usize = 6;

/// Turns go by with every key that comes in; frequencies halve at every mark. Read at every
/// access, so on a cache line of its own.
#[derive(Debug)]
#[repr(align(64))]
pub struct Pace {
    turn: AtomicU32,
    /// The turns of the last marks, the newest first.
    marks: [AtomicU32; MARKS],
}

impl Default for Pace {
    fn default() -> Self {
        // As if the marks had been long ago: nothing was touched before them.
        Self { turn: AtomicU32::new(1), marks: [const { AtomicU32::new(0) }; MARKS] }
    }
}

impl Pace {
    /// The turn it is.
    #[inline]
    pub fn turn(&self) -> u32 {
        self.turn.load(Relaxed)
    }

    /// One more key came in: its turn.
    #[inline]
    pub fn next_turn(&self) -> u32 {
        self.turn.fetch_add(1, Relaxed).wrapping_add(1)
    }

    /// All frequencies halve now. Called by one thread at a time.
    pub fn mark(&self) {
        for at in (1..MARKS).rev() {
            self.marks[at].store(self.marks[at - 1].load(Relaxed), Relaxed);
        }
        self.marks[0].store(self.next_turn(), Relaxed);
    }

    /// Whether no mark was set since a turn.
    #[inline]
    pub fn is_current(&self, touched: u32) -> bool {
        !is_before(touched, self.marks[0].load(Relaxed))
    }

    /// How many marks were set since a turn.
    #[inline]
    pub fn halvings(&self, touched: u32) -> u32 {
        self.marks.iter().take_while(|mark| is_before(touched, mark.load(Relaxed))).count() as u32
    }
}

/// Whether a turn is before another, over the wrap.
#[inline]
fn is_before(turn: u32, other: u32) -> bool {
    let ahead = other.wrapping_sub(turn);
    ahead != 0 && ahead <= u32::MAX / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_count_for_what_was_touched_before_them() {
        let pace = Pace::default();
        let first = pace.next_turn();
        assert_eq!(pace.halvings(first), 0);
        pace.mark();
        let second = pace.next_turn();
        assert_eq!((pace.halvings(first), pace.halvings(second)), (1, 0));
        (0..20).for_each(|_| pace.mark());
        assert_eq!(pace.halvings(first), MARKS as u32);
        assert!(!pace.is_current(second) && pace.is_current(pace.turn()));
    }

    #[test]
    fn the_wrap_of_turns_does_no_harm() {
        let pace = Pace::default();
        pace.turn.store(u32::MAX - 9, Relaxed);
        (0..MARKS).for_each(|_| pace.mark());
        let before = pace.next_turn();
        pace.mark();
        pace.mark();
        let after = pace.next_turn();
        assert!(after < before);
        assert_eq!(pace.halvings(before), 2);
        assert_eq!(pace.halvings(after), 0);
    }
}
