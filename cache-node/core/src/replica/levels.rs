//! How far who has only some of a slot's stores is.
//!
//! A slot's records have one number after the other, whatever their store, and an owner gets those of some of the stores:
//! the last number that it was told may be less than its primary's, and it has everything nevertheless. So who counts
//! keeps for each least replication factor the number of the last record that goes by it.

use crate::mutation::{self, Mutation};
use crate::store::MAX_REPLICATION_FACTOR;

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Levels([u64; MAX_REPLICATION_FACTOR as usize]);

impl Levels {
    /// All are at one number.
    pub fn all(sequence: u64) -> Self {
        Self([sequence; MAX_REPLICATION_FACTOR as usize])
    }

    /// How far an owner is that gets the stores of at least a replication factor, if it has everything.
    #[inline]
    pub fn of(&self, least_factor: u8) -> u64 {
        let index = usize::from(least_factor.clamp(1, MAX_REPLICATION_FACTOR)) - 1;
        self.0.get(index).copied().unwrap_or_default()
    }

    /// A record of a store of this replication factor was counted.
    #[inline]
    pub fn count(&mut self, replication_factor: u8, sequence: u64) {
        let gets = usize::from(replication_factor);
        self.0.iter_mut().take(gets).for_each(|last| *last = sequence);
    }

    /// As [`Self::count`], of what came from the slot's primary.
    #[inline]
    pub fn take(&mut self, replication_factor: u8, sequence: u64) {
        if !mutation::is(Mutation::UncountedLevel) {
            self.count(replication_factor, sequence);
        }
    }

    /// Stores of less than a replication factor are not here any more: what is here is as far as the others are.
    pub fn narrow(&mut self, least_factor: u8) {
        self.skip_below(least_factor, self.of(least_factor));
    }

    /// Who gets stores of less than a replication factor may be anywhere: those are at a number that nobody was told.
    pub fn skip_below(&mut self, least_factor: u8, sequence: u64) {
        self.count(least_factor.saturating_sub(1), sequence);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_counts_for_those_who_get_its_store_and_for_nobody_else() {
        let mut levels = Levels::all(7);
        levels.count(2, 8);
        assert_eq!([1, 2, 3, 5].map(|least| levels.of(least)), [8, 8, 7, 7]);
        levels.count(u8::MAX, 9);
        assert_eq!(levels, Levels::all(9));
    }

    #[test]
    fn a_number_is_skipped_for_those_only_who_get_more_than_others_did() {
        let mut levels = Levels::all(7);
        levels.skip_below(2, 99);
        assert_eq!([1, 2, 3].map(|least| levels.of(least)), [99, 7, 7]);
        levels.skip_below(u8::MAX, 100);
        assert_eq!(levels, Levels::all(100));
    }

    #[test]
    fn who_has_no_more_than_some_stores_is_as_far_as_these() {
        let mut levels = Levels::all(7);
        levels.count(1, 9);
        levels.count(2, 8);
        levels.narrow(3);
        assert_eq!(levels, Levels::all(7));
    }

    #[test]
    fn who_gets_no_store_at_all_is_like_who_gets_those_of_the_highest_factor() {
        let mut levels = Levels::all(7);
        levels.count(MAX_REPLICATION_FACTOR, 8);
        assert_eq!([0, MAX_REPLICATION_FACTOR, u8::MAX].map(|least| levels.of(least)), [8; 3]);
    }
}
