//! A cuckoo filter: says of most keys that are not here that they are not, without the table.
//!
//! "Cuckoo Filter: Practically Better Than Bloom" (Fan, Andersen, Kaminsky, Mitzenmacher 2014),
//! with buckets of four, and with any number of buckets instead of a power of two: the other
//! bucket of a fingerprint is `h(fingerprint) - bucket` modulo their number, which is its own
//! inverse. There is one filter for each part of a table (a slot, or a segment of a large one),
//! made from the part's own entries whenever it is full or nearly empty. So it can always hold
//! what the table holds, and no step is longer than a segment is large.

mod stores;

pub use stores::{FilterStats, Verdict};

use super::hash::mix;
use super::memory::block_bytes;

/// Fingerprints in a bucket.
const WAYS: u32 = 4;
/// An insert moves so many fingerprints before the filter is made anew, larger.
const MAX_KICKS: u32 = 192;
/// A new filter is made for this load, in percent; the last few that fit are found by kicks.
const LOAD_PERCENT: usize = 95;
/// A filter is made in so many sizes before the part goes without.
const SIZES: usize = 12;
/// A check compares this many fingerprints in millionths: two buckets, full but for a little.
const COMPARED_PPM: u64 = 7_800_000;

/// How many bits a fingerprint needs for a rate of false positives in parts per million.
pub fn fingerprint_bits(rate_ppm: u32) -> u8 {
    let rate = u64::from(rate_ppm);
    (4..=16u8).find(|bits| ((1u64 << bits) - 1) * rate >= COMPARED_PPM).unwrap_or(16)
}

/// The fingerprints of a set of keys.
#[derive(Debug)]
pub struct Filter {
    /// Buckets, bit after bit.
    cells: Box<[u64]>,
    buckets: u32,
    len: u32,
    bits: u8,
}

impl Filter {
    /// A filter of the keys with these hashes; `None` if they do not fit any reasonable size.
    pub fn build<I: Iterator<Item = u64>>(
        bits: u8,
        keys: usize,
        hashes: impl Fn() -> I,
    ) -> Option<Self> {
        let per_key = usize::from(bits);
        let least = (keys.max(1) * per_key * 100).div_ceil(LOAD_PERCENT * 8);
        let mut bytes = block_bytes(least.next_multiple_of(8));
        for _ in 0..SIZES {
            let mut filter = Self::empty(bits, bytes / 8)?;
            if hashes().all(|hash| filter.insert(hash)) {
                return Some(filter);
            }
            // The next size of block.
            bytes = block_bytes(bytes + 8);
        }
        None
    }

    fn empty(bits: u8, words: usize) -> Option<Self> {
        let width = usize::from(bits) * WAYS as usize;
        let buckets = u32::try_from(words * 64 / width).ok().filter(|buckets| *buckets > 0)?;
        Some(Self { cells: vec![0; words].into(), buckets, len: 0, bits })
    }

    /// The bits of its fingerprints.
    pub fn bits(&self) -> u8 {
        self.bits
    }

    /// What stands on the heap for it.
    pub fn heap_bytes(&self) -> usize {
        block_bytes(self.cells.len() * size_of::<u64>())
    }

    /// How many fingerprints it has.
    pub fn len(&self) -> u64 {
        u64::from(self.len)
    }

    /// How many there is room for, if all buckets are full.
    pub fn places(&self) -> u64 {
        u64::from(self.buckets) * u64::from(WAYS)
    }

    /// Whether it is so empty that a smaller one should take its place.
    pub fn is_sparse(&self) -> bool {
        self.cells.len() > 4 && self.len < self.buckets
    }

    #[inline]
    fn width(&self) -> u32 {
        u32::from(self.bits) * WAYS
    }

    /// The fingerprint of a key, never 0, and its first bucket.
    #[inline]
    fn place(&self, hash: u64) -> (u64, u32) {
        // The high bits of a hash are the same for all keys of a segment, the low ones choose a
        // place in the table.
        let spread = mix(hash);
        let bucket = ((spread & 0xffff_ffff) * u64::from(self.buckets)) >> 32;
        let kinds = (1u64 << self.bits) - 1;
        let fingerprint = (((spread >> 32) * kinds) >> 32) + 1;
        (fingerprint, bucket as u32)
    }

    /// The other bucket of a fingerprint.
    #[inline]
    fn other(&self, fingerprint: u64, bucket: u32) -> u32 {
        let spread = fingerprint.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let sum = ((spread * u64::from(self.buckets)) >> 32) as u32;
        if sum >= bucket { sum - bucket } else { sum + (self.buckets - bucket) }
    }

    #[inline]
    fn bucket(&self, bucket: u32) -> u64 {
        let width = self.width();
        let at = u64::from(bucket) * u64::from(width);
        let (word, shift) = ((at >> 6) as usize, (at & 63) as u32);
        let low = self.cells.get(word).copied().unwrap_or(0) >> shift;
        let high = match self.cells.get(word + 1) {
            Some(next) if shift + width > 64 => next << (64 - shift),
            _ => 0,
        };
        (low | high) & ((1 << width) - 1)
    }

    fn set_bucket(&mut self, bucket: u32, value: u64) {
        let width = self.width();
        let at = u64::from(bucket) * u64::from(width);
        let (word, shift) = ((at >> 6) as usize, (at & 63) as u32);
        let mask = (1u64 << width) - 1;
        if let Some(low) = self.cells.get_mut(word) {
            *low = (*low & !(mask << shift)) | (value << shift);
        }
        if shift + width > 64
            && let Some(high) = self.cells.get_mut(word + 1)
        {
            let shift = 64 - shift;
            *high = (*high & !(mask >> shift)) | (value >> shift);
        }
    }

    /// Whether a bucket has a fingerprint.
    #[inline]
    fn has(&self, bucket: u64, fingerprint: u64) -> bool {
        let bits = u32::from(self.bits);
        let ones = 1u64 | 1 << bits | 1 << (2 * bits) | 1 << (3 * bits);
        let difference = bucket ^ (fingerprint * ones);
        // A lane that is zero borrows from its highest bit.
        difference.wrapping_sub(ones) & !difference & (ones << (bits - 1)) != 0
    }

    /// False if no key with this hash is in the set.
    #[inline]
    pub fn may_contain(&self, hash: u64) -> bool {
        let (fingerprint, first) = self.place(hash);
        let second = self.other(fingerprint, first);
        // Both are read before either is looked at, so that their cache misses overlap.
        let (one, two) = (self.bucket(first), self.bucket(second));
        self.has(one, fingerprint) | self.has(two, fingerprint)
    }

    fn put(&mut self, bucket: u32, fingerprint: u64) -> bool {
        let value = self.bucket(bucket);
        let bits = u32::from(self.bits);
        let mask = (1u64 << bits) - 1;
        for way in 0..WAYS {
            if (value >> (way * bits)) & mask == 0 {
                self.set_bucket(bucket, value | fingerprint << (way * bits));
                return true;
            }
        }
        false
    }

    /// Adds a key that is not in it. After false the filter is of no use any more and must be
    /// made anew.
    #[must_use]
    pub fn insert(&mut self, hash: u64) -> bool {
        let (mut fingerprint, first) = self.place(hash);
        let mut bucket = self.other(fingerprint, first);
        self.len += 1;
        if self.put(first, fingerprint) || self.put(bucket, fingerprint) {
            return true;
        }
        let bits = u32::from(self.bits);
        let mask = (1u64 << bits) - 1;
        let mut random = mix(hash);
        for _ in 0..MAX_KICKS {
            random = mix(random);
            let shift = (random >> 62) as u32 * bits;
            let value = self.bucket(bucket);
            let moved = (value >> shift) & mask;
            self.set_bucket(bucket, (value & !(mask << shift)) | fingerprint << shift);
            fingerprint = moved;
            bucket = self.other(fingerprint, bucket);
            if self.put(bucket, fingerprint) {
                return true;
            }
        }
        false
    }

    /// Takes out a key that is in it.
    pub fn remove(&mut self, hash: u64) {
        let (fingerprint, first) = self.place(hash);
        let bits = u32::from(self.bits);
        let mask = (1u64 << bits) - 1;
        for bucket in [first, self.other(fingerprint, first)] {
            let value = self.bucket(bucket);
            for way in 0..WAYS {
                if (value >> (way * bits)) & mask == fingerprint {
                    self.set_bucket(bucket, value & !(mask << (way * bits)));
                    self.len -= 1;
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
#[path = "filter_tests.rs"]
mod tests;
