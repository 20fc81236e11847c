//! How often keys that left were used: a small table of counters that remembers without keys.
//!
//! A count-min sketch (Cormode, Muthukrishnan 2005) of 4-bit counters as in TinyLFU (Einziger,
//! Friedman, Manes 2017), with one difference: entries count their own accesses while they are
//! here, so the sketch is written only when a key leaves, with its count. Counters take the
//! maximum, so keys that share one do not add up.

use super::usage::halved;
use crate::keyspace::hash::mix;
use crate::keyspace::memory::block_bytes;

/// Counters in a word.
const COUNTERS: u64 = 16;
/// Counters that a key has.
const ROWS: u32 = 4;
/// The highest count; frequencies above it are remembered as this.
const MAX: u8 = 15;
/// The least size in words.
const MIN_WORDS: usize = 64;

/// Both counters of a byte, halved.
const HALVED: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = halved(byte as u8 & 15, 1) | halved(byte as u8 >> 4, 1) << 4;
        byte += 1;
    }
    table
};

/// Frequencies of keys that are not here.
#[derive(Debug, Default)]
pub struct Sketch {
    words: Box<[u64]>,
    /// So many words, from the first, are still to be halved.
    to_halve: usize,
}

impl Sketch {
    /// Makes it as large as so many keys need, 4.5 bytes for each; it forgets all when its size
    /// changes, so that happens only where keys became an eighth more, or a quarter.
    pub fn fit(&mut self, keys: u64) {
        let words = usize::try_from(keys / 2).unwrap_or(usize::MAX).max(MIN_WORDS);
        if words > self.words.len() || words < self.words.len() / 4 {
            let spare = words / 8;
            self.words = vec![0; words.saturating_add(spare)].into();
            self.to_halve = 0;
        }
    }

    /// What it costs.
    pub fn heap_bytes(&self) -> usize {
        block_bytes(self.words.len() * size_of::<u64>())
    }

    /// The word and shift of a key's counter.
    fn counter(&self, hash: u64, row: u32) -> Option<(usize, u64)> {
        let spread = mix(hash ^ u64::from(row) << 56);
        let word = (((spread & 0xffff_ffff) * self.words.len() as u64) >> 32) as usize;
        Some((word, (spread >> 60) % COUNTERS * 4))
    }

    /// How often a key was used, as far as it is remembered.
    pub fn frequency(&self, hash: u64) -> u8 {
        let counters = (0..ROWS).filter_map(|row| {
            let (word, shift) = self.counter(hash, row)?;
            Some((self.words.get(word)? >> shift & 15) as u8)
        });
        counters.min().unwrap_or(0)
    }

    /// A key leaves that was used so often.
    pub fn remember(&mut self, hash: u64, frequency: u8) {
        let frequency = u64::from(frequency.min(MAX));
        for row in 0..ROWS {
            let Some((word, shift)) = self.counter(hash, row) else { return };
            let Some(word) = self.words.get_mut(word) else { return };
            if *word >> shift & 15 < frequency {
                *word = *word & !(15 << shift) | frequency << shift;
            }
        }
    }

    /// All counters halve, in the steps of [`Self::tend`].
    pub fn halve(&mut self) {
        self.tend(usize::MAX);
        self.to_halve = self.words.len();
    }

    /// Goes on with a halving that is under way, for so many words.
    pub fn tend(&mut self, words: usize) {
        let from = self.to_halve.saturating_sub(words);
        if let Some(words) = self.words.get_mut(from..self.to_halve) {
            for word in words {
                *word = u64::from_ne_bytes(word.to_ne_bytes().map(|b| HALVED[usize::from(b)]));
            }
        }
        self.to_halve = from;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_key_is_never_remembered_as_less_than_it_was(
            keys in proptest::collection::vec((any::<u64>(), 0..=31u8), 1..300),
        ) {
            let mut sketch = Sketch::default();
            sketch.fit(100);
            for (hash, frequency) in &keys {
                sketch.remember(*hash, *frequency);
            }
            for (hash, frequency) in &keys {
                prop_assert!(sketch.frequency(*hash) >= (*frequency).min(MAX));
            }
            let before: Vec<u8> = keys.iter().map(|(hash, _)| sketch.frequency(*hash)).collect();
            sketch.halve();
            sketch.tend(usize::MAX);
            for ((hash, _), before) in keys.iter().zip(before) {
                prop_assert_eq!(sketch.frequency(*hash), halved(before, 1));
            }
        }
    }

    #[test]
    fn few_keys_are_taken_for_others() {
        let mut sketch = Sketch::default();
        sketch.fit(10_000);
        assert!(sketch.heap_bytes() <= 5 * 10_000);
        (0..5000).for_each(|key| sketch.remember(mix(key), 9));
        let wrong = (0..10_000).filter(|key| sketch.frequency(mix(key + 1_000_000)) > 0).count();
        assert!(wrong < 1000, "{wrong}");
    }

    #[test]
    fn an_empty_sketch_remembers_nothing() {
        let mut sketch = Sketch::default();
        sketch.remember(1, 5);
        sketch.halve();
        assert_eq!(sketch.frequency(1), 0);
        assert_eq!(sketch.heap_bytes(), 0);
    }
}
