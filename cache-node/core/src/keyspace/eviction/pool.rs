//! The best candidates for eviction that a store's hand has met so far.

use super::usage::idle_turns;
use crate::cluster::Slot;
use smallvec::SmallVec;

/// How many candidates a pool keeps (Redis's `EVPOOL_SIZE`).
const POOL: usize = 16;

/// A key that may leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// What its policy says of it: a higher class leaves first.
    pub class: u64,
    /// The turn of its last access: within a class, the longest ago leaves first.
    pub touched: u32,
    /// Its frequency when it was seen.
    pub frequency: u8,
    /// Where it is.
    pub slot: Slot,
    /// The hash of its key.
    pub hash: u64,
}

impl Candidate {
    fn rank(&self, turn: u64) -> (u64, u32) {
        (self.class, idle_turns(self.touched, turn))
    }
}

/// Some candidates, the best last.
#[derive(Debug, Default)]
pub struct Pool {
    candidates: SmallVec<[Candidate; 0]>,
}

impl Pool {
    /// Keeps a candidate if it is better than what there is, or if there is room. One that is
    /// there already is seen anew.
    pub fn offer(&mut self, candidate: Candidate, turn: u64) {
        let same = |c: &Candidate| c.hash == candidate.hash && c.slot == candidate.slot;
        if let Some(at) = self.candidates.iter().position(same) {
            self.candidates.remove(at);
        }
        let rank = candidate.rank(turn);
        let at = self.candidates.partition_point(|c| c.rank(turn) < rank);
        if self.candidates.len() < POOL {
            self.candidates.insert(at, candidate);
        } else if at > 0 {
            self.candidates.remove(0);
            self.candidates.insert(at - 1, candidate);
        }
    }

    /// The best candidate.
    pub fn best(&self) -> Option<&Candidate> {
        self.candidates.last()
    }

    /// Takes the best candidate out.
    pub fn pop(&mut self) -> Option<Candidate> {
        self.candidates.pop()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn candidate(class: u64, touched: u32, hash: u64) -> Candidate {
        Candidate { class, touched, frequency: 0, slot: 0, hash }
    }

    #[test]
    fn a_key_stands_in_the_pool_once() {
        let mut pool = Pool::default();
        pool.offer(candidate(5, 1, 7), 10);
        pool.offer(candidate(1, 9, 7), 10);
        assert_eq!(pool.pop(), Some(candidate(1, 9, 7)));
        assert_eq!(pool.pop(), None);
    }

    proptest! {
        #[test]
        fn what_leaves_first_is_the_best_of_all_that_were_offered(
            offers in proptest::collection::vec((0..4u64, 0..1000u32), 1..60),
        ) {
            let mut pool = Pool::default();
            let mut all = Vec::new();
            for (hash, (class, touched)) in offers.into_iter().enumerate() {
                all.push((class, 1000 - touched));
                pool.offer(candidate(class, touched, hash as u64), 1000);
            }
            all.sort_unstable();
            for expected in all.iter().rev().take(POOL) {
                let best = pool.pop().unwrap();
                prop_assert_eq!((best.class, 1000 - best.touched), *expected);
            }
            prop_assert_eq!(pool.pop(), None);
        }
    }
}
