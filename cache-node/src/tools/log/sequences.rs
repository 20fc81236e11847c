//! Which sequences are there. The records of a cycle stand in the file lane by lane, so that they are out
//! of order for a while and whole at its end; what stays open is missing.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use hypercache_core::log::Sequence;

/// Sets of sequences that follow one another: first to last, with the segment of the last.
#[derive(Debug, Default)]
pub struct Sequences(BTreeMap<Sequence, Run>);

#[derive(Debug, Clone, Copy)]
struct Run {
    last: Sequence,
    /// The segments in which its first and its last record are.
    segments: (u64, u64),
}

/// Sequences that nobody has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// Which.
    pub missing: RangeInclusive<Sequence>,
    /// The segments in which the records before and after it are.
    pub segments: (u64, u64),
}

impl Sequences {
    /// Adds a record's; false if it was there already.
    pub fn add(&mut self, sequence: Sequence, segment: u64) -> bool {
        let before = self.0.range(..=sequence).next_back().map(|(first, run)| (*first, *run));
        if before.is_some_and(|(_, run)| run.last >= sequence) {
            return false;
        }
        let (mut first, mut run) = (sequence, Run { last: sequence, segments: (segment, segment) });
        if let Some((at, old)) = before.filter(|(_, old)| old.last + 1 == sequence) {
            (first, run.segments.0) = (at, old.segments.0);
        }
        if let Some(next) = sequence.checked_add(1).and_then(|next| self.0.remove(&next)) {
            run = Run { last: next.last, segments: (run.segments.0, next.segments.1) };
        }
        self.0.insert(first, run);
        true
    }

    /// What is missing between the first and the last.
    pub fn gaps(&self) -> impl Iterator<Item = Gap> {
        self.0.iter().zip(self.0.iter().skip(1)).map(|((_, before), (first, after))| Gap {
            missing: before.last + 1..=first - 1,
            segments: (before.segments.1, after.segments.0),
        })
    }

    /// The first and the last.
    pub fn ends(&self) -> Option<(Sequence, Sequence)> {
        let first = self.0.first_key_value().map(|(first, _)| *first);
        first.zip(self.0.last_key_value().map(|(_, run)| run.last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_out_of_order_is_whole_at_the_end_and_what_stays_open_is_a_gap() {
        let mut there = Sequences::default();
        for sequence in [5, 7, 6, 1, 3, 2, 20, 21] {
            assert!(there.add(sequence, sequence / 10), "{sequence}");
        }
        assert!(!there.add(6, 0) && !there.add(1, 0) && !there.add(21, 2));
        let gaps: Vec<_> = there.gaps().collect();
        assert_eq!(gaps[0], Gap { missing: 4..=4, segments: (0, 0) });
        assert_eq!(gaps[1], Gap { missing: 8..=19, segments: (0, 2) });
        assert_eq!((gaps.len(), there.ends()), (2, Some((1, 21))));
    }
}
