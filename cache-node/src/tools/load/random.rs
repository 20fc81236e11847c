//! Chance that a seed determines: which key, how large, how long.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// A sequence of chances.
#[derive(Debug)]
pub struct Chance(StdRng);

impl Chance {
    /// The sequence of a seed.
    pub fn new(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(seed))
    }

    /// At least 0, below 1.
    pub fn unit(&mut self) -> f64 {
        self.0.random()
    }

    /// Below `end`; 0 if that is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        if end == 0 { 0 } else { self.0.random_range(0..end) }
    }

    /// Both ends can come. `last` is at least `first`.
    pub fn between(&mut self, first: u64, last: u64) -> u64 {
        first.saturating_add(self.below(last.saturating_sub(first).saturating_add(1)))
    }
}

/// Things with weights, of which one is drawn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Weighted<T> {
    items: Vec<(T, u64)>,
    total: u64,
}

impl<T: Copy> Weighted<T> {
    /// `None` if no weight is above 0, or all together are more than can be counted.
    pub fn new(items: impl IntoIterator<Item = (T, u64)>) -> Option<Self> {
        let items: Vec<(T, u64)> = items.into_iter().filter(|(_, weight)| *weight > 0).collect();
        let total = items.iter().try_fold(0u64, |sum, (_, weight)| sum.checked_add(*weight))?;
        (total > 0).then_some(Self { items, total })
    }

    /// One of them, as often as its weight says.
    pub fn draw(&self, chance: &mut Chance) -> T {
        self.at(chance.below(self.total))
    }

    /// Dealt out in turn: of as many deals as all weights together, each has its weight.
    pub fn deal(&self, number: u64) -> T {
        self.at(number % self.total)
    }

    fn at(&self, mut place: u64) -> T {
        for (item, weight) in &self.items {
            if place < *weight {
                return *item;
            }
            place -= weight;
        }
        // The weights sum to more than any place.
        self.items[0].0
    }

    /// What can be drawn.
    pub fn items(&self) -> impl Iterator<Item = &(T, u64)> {
        self.items.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_sequence() {
        let draw = |seed| {
            let mut chance = Chance::new(seed);
            (0..100).map(|_| chance.below(1_000_000)).collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    #[test]
    fn both_ends_of_a_range_come() {
        let mut chance = Chance::new(1);
        let drawn: Vec<u64> = (0..200).map(|_| chance.between(3, 5)).collect();
        assert!((3..=5).all(|n| drawn.contains(&n)));
        assert!(drawn.iter().all(|n| (3..=5).contains(n)));
        assert_eq!(chance.between(9, 9), 9);
    }

    #[test]
    fn what_is_weighted_comes_as_often_as_its_weight() {
        let weighted = Weighted::new([('a', 3), ('b', 0), ('c', 1)]).unwrap();
        let dealt: String = (0..8).map(|n| weighted.deal(n)).collect();
        assert_eq!(dealt, "aaacaaac");
        let mut chance = Chance::new(1);
        let of_a = (0..4000).filter(|_| weighted.draw(&mut chance) == 'a').count();
        assert!((2800..3200).contains(&of_a), "{of_a}");
    }

    #[test]
    fn without_a_weight_there_is_nothing_to_draw() {
        assert_eq!(Weighted::new([('a', 0)]), None);
        assert_eq!(Weighted::new([('a', u64::MAX), ('b', 1)]), None);
    }
}
