//! The window of W-TinyLFU: keys that came in of late, in order, and how large it should be.
//!
//! The size is found by hill climbing, as in "Adaptive Software Cache Management" (Einziger,
//! Eytan, Friedman, Manes 2018): it goes on in the direction that made the hit ratio better.

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
}

/// Keys in the order in which they came.
#[derive(Debug, Default)]
pub struct Window {
    keys: VecDeque<Place>,
    /// No more are kept; the oldest are forgotten, and so become keys as all others.
    bound: usize,
}

impl Window {
    /// Adds a key.
    pub fn push(&mut self, place: Place) {
        while self.keys.len() >= self.bound.max(1) {
            self.keys.pop_front();
        }
        self.keys.push_back(place);
    }

    /// Takes the oldest key out if more than `target` are here.
    pub fn pop_over(&mut self, target: usize) -> Option<Place> {
        self.bound = target + target / 4 + 64;
        if self.keys.capacity() > 8 * (self.bound + 1) {
            self.keys.shrink_to(2 * self.bound);
        }
        if self.keys.len() > target { self.keys.pop_front() } else { None }
    }

    /// How many keys it holds.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.keys.len()
    }

    /// Forgets all keys.
    pub fn clear(&mut self) {
        self.keys = VecDeque::new();
    }

    /// What it costs.
    pub fn heap_bytes(&self) -> usize {
        block_bytes(self.keys.capacity() * size_of::<Place>())
    }
}

/// The window's share of a store's keys at first.
const FIRST_SHARE: f32 = 0.1;
/// Its bounds.
const SHARES: std::ops::RangeInclusive<f32> = 0.005..=0.8;
/// The first step.
const STEP: f32 = 0.0625;
/// Steps become smaller, so that a good size is kept.
const DECAY: f32 = 0.98;
/// A change of the hit ratio that says: this is another load; begin anew with large steps.
const RESTART: f32 = 0.05;
/// A sample is so many accesses for every key.
const SAMPLE: u64 = 10;

/// Finds the window's share.
#[derive(Debug)]
pub struct Climber {
    share: f32,
    step: f32,
    ratio: f32,
    hits: u64,
    misses: u64,
}

impl Default for Climber {
    fn default() -> Self {
        Self { share: FIRST_SHARE, step: STEP, ratio: 0.0, hits: 0, misses: 0 }
    }
}

impl Climber {
    /// How many of so many keys belong in the window.
    pub fn target(&self, keys: u64) -> usize {
        ((keys as f64 * f64::from(self.share)) as usize).max(1)
    }

    /// Whether a sample is complete, given all hits and misses so far; then the window changes.
    pub fn sample(&mut self, hits: u64, misses: u64, keys: u64) -> bool {
        let (new_hits, new_misses) =
            (hits.wrapping_sub(self.hits), misses.wrapping_sub(self.misses));
        let accesses = new_hits.saturating_add(new_misses);
        if accesses < SAMPLE * keys.max(64) {
            return false;
        }
        let ratio = (new_hits as f64 / accesses as f64) as f32;
        let first = self.hits == 0 && self.misses == 0;
        (self.hits, self.misses) = (hits, misses);
        let change = ratio - self.ratio;
        self.ratio = ratio;
        if first {
            return true;
        }
        let amount = if change >= 0.0 { self.step } else { -self.step };
        self.step = if change.abs() >= RESTART { STEP.copysign(amount) } else { DECAY * amount };
        self.share = (self.share + amount).clamp(*SHARES.start(), *SHARES.end());
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(hash: u64) -> Place {
        Place { hash, touched: 0, slot: 0 }
    }

    #[test]
    fn keys_leave_the_window_in_order_once_it_is_over_its_size() {
        let mut window = Window::default();
        assert_eq!(window.pop_over(2), None);
        (0..4).for_each(|hash| window.push(place(hash)));
        assert_eq!(window.pop_over(2), Some(place(0)));
        assert_eq!(window.pop_over(2), Some(place(1)));
        assert_eq!(window.pop_over(2), None);
        assert_eq!(window.len(), 2);
    }

    #[test]
    fn s1_a_window_that_nobody_takes_from_is_bounded() {
        let mut window = Window::default();
        window.pop_over(100);
        (0..100_000).for_each(|hash| window.push(place(hash)));
        assert!(window.len() <= 189);
        assert!(window.heap_bytes() < 16 * 1024);
    }

    #[test]
    fn the_window_grows_where_that_helps_and_shrinks_where_it_does_not() {
        for (best, low, high) in [(0.6, 0.4, 0.8), (0.0, 0.0, 0.15)] {
            let mut climber = Climber::default();
            let (mut hits, mut misses) = (0, 0);
            for _ in 0..400 {
                let ratio = 0.5 - 0.2 * (climber.share - best).abs();
                hits += (1000.0 * ratio) as u64;
                misses += 1000 - (1000.0 * ratio) as u64;
                assert!(climber.sample(hits, misses, 100));
                assert!(!climber.sample(hits, misses, 100));
            }
            assert!((low..=high).contains(&climber.share), "{best}: {}", climber.share);
        }
    }
}
