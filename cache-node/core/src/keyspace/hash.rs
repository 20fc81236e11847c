//! The hash of a key: computed once a command, with a key that clients cannot guess.

use foldhash::SharedSeed;
use foldhash::quality::FoldHasher;
use std::hash::Hasher;

/// How many bits of a hash order the keys of a slot: for tables' segments and SCAN's cursor.
pub const POSITION_BITS: u32 = 39;
/// These bits lie under the seven that an index tags its entries with.
const POSITION_SHIFT: u32 = 64 - 7 - POSITION_BITS;

/// The keyed hash function of one keyspace.
#[derive(Debug, Clone)]
pub struct KeyHasher {
    seed: u64,
    shared: SharedSeed,
}

impl KeyHasher {
    /// The hash function that belongs to a seed.
    pub fn new(seed: u64) -> Self {
        Self { seed: mix(seed), shared: SharedSeed::from_u64(mix(seed ^ 0x5851_f42d_4c95_7f2d)) }
    }

    /// The hash of a key.
    #[inline]
    pub fn hash(&self, key: &[u8]) -> u64 {
        let mut hasher = FoldHasher::with_seed(self.seed, &self.shared);
        hasher.write(key);
        hasher.finish()
    }
}

/// Where a hash stands in the order of its slot, below 2^[`POSITION_BITS`].
#[inline]
pub fn position(hash: u64) -> u64 {
    (hash >> POSITION_SHIFT) & ((1 << POSITION_BITS) - 1)
}

/// The finalizer of SplitMix64 (Steele, Lea, Flood 2014): spreads a counter over 64 bits.
#[inline]
pub fn mix(counter: u64) -> u64 {
    let mut z = counter.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
