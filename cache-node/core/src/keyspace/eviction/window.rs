//! The window of W-TinyLFU: keys that came in of late, by their last access.

use crate::cluster::Slot;
use crate::keyspace::memory::block_bytes;
use std::collections::VecDeque;

/// A key of the window, as it was when it was put there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The hash of its key.
    pub hash: u64,
    /// The lowest bits of the turn of its last access then.
    pub touched: u32,
    /// Its slot.
    pub slot: Slot,
    /// How many keys came in between its last two accesses, see [`super::newcomers::part`].
    pub distance: u16,
}

/// So many spans make a window.
const SPANS: usize = 16;

/// The keys that were used last in one span of turns.
#[derive(Debug)]
struct Span {
    /// The turn in which it begins.
    from: u64,
    places: Vec<Place>,
}

impl Span {
    fn heap_bytes(&self) -> usize {
        block_bytes(self.places.capacity() * size_of::<Place>())
    }
}

/// Keys by the turn of their last access, exact to a sixteenth of the window. Reads do not come
/// here: a key that was read since is put where it belongs when it would leave.
#[derive(Debug, Default)]
pub struct Window {
    /// The oldest first.
    spans: VecDeque<Span>,
    len: usize,
    /// No more keys are kept; the oldest are forgotten, and so become keys as all others.
    bound: usize,
    /// What the places of all spans cost.
    bytes: usize,
}

impl Window {
    /// Adds a key that was used last in a turn.
    pub fn push(&mut self, place: Place, turn: u64) {
        while self.len >= self.bound.max(1) {
            self.pop();
        }
        let full = self.bound.max(self.len) / SPANS + 1;
        if self.spans.back().is_none_or(|last| last.from <= turn && last.places.len() >= full) {
            let span = Span { from: turn, places: Vec::with_capacity(full) };
            self.bytes += span.heap_bytes();
            self.spans.push_back(span);
        }
        let after = self.spans.partition_point(|span| span.from <= turn);
        let Some(span) = self.spans.get_mut(after.saturating_sub(1)) else { return };
        let before = span.heap_bytes();
        if span.places.len() == span.places.capacity() {
            span.places.reserve_exact(full / 4 + 1);
        }
        span.places.push(place);
        self.bytes = self.bytes + span.heap_bytes() - before;
        self.len += 1;
    }

    /// Takes one of the oldest keys out if more than `target` are here.
    pub fn pop_over(&mut self, target: usize) -> Option<Place> {
        self.bound = target + target / 4 + 64;
        if self.len > target { self.pop() } else { None }
    }

    fn pop(&mut self) -> Option<Place> {
        loop {
            let span = self.spans.front_mut()?;
            if let Some(place) = span.places.pop() {
                self.len -= 1;
                return Some(place);
            }
            self.bytes -= span.heap_bytes();
            self.spans.pop_front();
        }
    }

    /// What it costs.
    pub fn heap_bytes(&self) -> usize {
        block_bytes(self.spans.capacity() * size_of::<Span>()) + self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn place(hash: u64) -> Place {
        Place { hash, touched: 0, slot: 0, distance: 0 }
    }

    #[test]
    fn keys_leave_the_window_in_order_once_it_is_over_its_size() {
        let mut window = Window::default();
        assert_eq!(window.pop_over(64), None);
        (0..80).for_each(|turn| window.push(place(turn), turn));
        let left: Vec<u64> =
            std::iter::from_fn(|| window.pop_over(64)).map(|place| place.hash).collect();
        assert_eq!(left.len(), 16);
        // Within a span, the order is another.
        assert!(left.iter().all(|hash| *hash < 27), "{left:?}");
    }

    #[test]
    fn a_key_that_was_read_goes_where_its_access_belongs_not_to_the_end() {
        let mut window = Window::default();
        window.pop_over(160);
        (0..160).for_each(|turn| window.push(place(turn), turn));
        // One of the oldest was read in turn 80.
        let old = window.pop_over(159).unwrap();
        window.push(old, 80);
        window.push(place(160), 160);
        let mut at = 0;
        while window.pop_over(0).unwrap().hash != old.hash {
            at += 1;
        }
        assert!((60..100).contains(&at), "{at}");
    }

    #[test]
    fn s1_a_window_that_nobody_takes_from_is_bounded() {
        let mut window = Window::default();
        window.pop_over(100);
        (0..100_000).for_each(|hash| window.push(place(hash), hash));
        assert!(window.len <= 189);
        assert!(window.heap_bytes() < 16 * 1024);
    }

    proptest! {
        #[test]
        fn whatever_goes_in_and_out_its_accounts_are_right_and_its_spans_few(
            steps in proptest::collection::vec((0..3u8, 0..400usize, 0..200u64), 1..600),
        ) {
            let mut window = Window::default();
            let mut turn = 500;
            for (step, target, ago) in steps {
                if step == 0 {
                    window.pop_over(target);
                } else {
                    turn += 1;
                    window.push(place(turn), if step == 1 { turn } else { turn - ago });
                }
                let (mut len, mut bytes) = (0, 0);
                for span in &window.spans {
                    len += span.places.len();
                    bytes += span.heap_bytes();
                }
                prop_assert_eq!((window.len, window.bytes), (len, bytes));
                prop_assert!(window.spans.len() <= 4 * SPANS, "{}", window.spans.len());
                prop_assert!(window.spans.iter().is_sorted_by_key(|span| span.from));
            }
        }
    }
}
