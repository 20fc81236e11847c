//! Which address has the record of a hash: buckets of one cache line each. For the records of keys,
//! and for the members of large values.
//!
//! A bucket is eight bits of the hash (the tag, never 0) and the address for each of its records,
//! and how many records would stand in it but stand in a later bucket (255: too many to know).
//! Addresses have 16 bits; in a *wide* index, for parts that cannot be split, 32.

use super::hash::mix;
use super::memory::{block_bytes, passing_block_bytes};
use super::moves::{BeforeMove, move_block};

/// Records in a bucket with short addresses, and in one with wide ones.
const NARROW_WAYS: usize = 21;
const WIDE_WAYS: usize = 12;
/// So many of them are used on average before the index grows.
const NARROW_LOAD: usize = 20;
const WIDE_LOAD: usize = 11;
/// Where a bucket counts what it passed on.
const PASSED_AT: usize = 63;
/// A place is a bucket's number with a way in it.
const WAY_BITS: u32 = 5;

/// One cache line of the index.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
struct Bucket([u8; 64]);

/// Where a record's address stands in an index, until the index changes its size.
pub type At = u32;

/// Addresses by hash.
#[derive(Debug, Clone, Default)]
pub struct Index {
    buckets: Box<[Bucket]>,
    wide: bool,
}

#[inline]
fn tag(hash: u64) -> u8 {
    // The bits that neither choose a segment nor, mostly, a bucket.
    ((hash >> 56) as u8 & 0xfe | hash as u8 & 1).max(1)
}

/// The bucket of a hash in an index with short addresses.
#[inline]
pub fn narrow_home(hash: u64, buckets: usize) -> usize {
    (((hash & 0x3_ffff) * buckets as u64) >> 18) as usize
}

/// A bit 7 for each of eight bytes that is zero.
#[inline]
fn zeros(word: u64) -> u64 {
    const LOW: u64 = 0x7f7f_7f7f_7f7f_7f7f;
    !(((word & LOW) + LOW) | word | LOW)
}

impl Bucket {
    const EMPTY: Self = Self([0; 64]);

    /// The ways with a tag, a bit for each.
    #[inline]
    fn matches(&self, tag: u8, ways: usize) -> Ways {
        let pattern = u64::from(tag) * 0x0101_0101_0101_0101;
        let word = |at: usize| {
            let bytes = self.0.get(at..).and_then(|bytes| bytes.first_chunk::<8>());
            zeros(bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes)) ^ pattern)
        };
        let keep = |ways: usize| (1u64 << (8 * ways)).wrapping_sub(1);
        if ways == WIDE_WAYS {
            Ways([word(0), word(8) & keep(WIDE_WAYS - 8), 0])
        } else {
            Ways([word(0), word(8), word(16) & keep(NARROW_WAYS - 16)])
        }
    }

    #[inline]
    fn address(&self, way: usize, wide: bool) -> u32 {
        if wide {
            let at = WIDE_WAYS + 4 * way;
            let bytes = self.0.get(at..).and_then(|bytes| bytes.first_chunk::<4>());
            return bytes.map_or(0, |bytes| u32::from_le_bytes(*bytes));
        }
        let at = NARROW_WAYS + 2 * way;
        let bytes = self.0.get(at..).and_then(|bytes| bytes.first_chunk::<2>());
        bytes.map_or(0, |bytes| u32::from(u16::from_le_bytes(*bytes)))
    }

    #[inline]
    fn set_address(&mut self, way: usize, wide: bool, address: u32) {
        let bytes = address.to_le_bytes();
        let (at, len) = if wide { (WIDE_WAYS + 4 * way, 4) } else { (NARROW_WAYS + 2 * way, 2) };
        if let Some(place) = self.0.get_mut(at..at + len) {
            place.copy_from_slice(&bytes[..len]);
        }
    }
}

/// Ways of a bucket: bit 7 of each byte.
struct Ways([u64; 3]);

impl Iterator for Ways {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        for (index, word) in self.0.iter_mut().enumerate() {
            if *word != 0 {
                let way = index * 8 + (word.trailing_zeros() / 8) as usize;
                *word &= *word - 1;
                return Some(way);
            }
        }
        None
    }
}

impl Index {
    /// How many buckets an index for so many records has.
    fn buckets_for(records: usize, wide: bool) -> usize {
        let load = if wide { WIDE_LOAD } else { NARROW_LOAD };
        passing_block_bytes(records.div_ceil(load) * size_of::<Bucket>()) / size_of::<Bucket>()
    }

    /// An empty index for so many records.
    pub fn for_records(records: usize, wide: bool) -> Self {
        Self { buckets: vec![Bucket::EMPTY; Self::buckets_for(records, wide)].into(), wide }
    }

    /// Whether an index for so many records would be smaller.
    #[inline]
    pub fn is_too_large_for(&self, records: usize) -> bool {
        Self::buckets_for(records, self.wide) < self.buckets.len()
    }

    /// Whether addresses have 32 bits.
    #[inline]
    pub fn is_wide(&self) -> bool {
        self.wide
    }

    /// The highest address that it can hold.
    #[inline]
    pub fn max_address(&self) -> u32 {
        if self.wide { u32::MAX } else { u32::from(u16::MAX) }
    }

    /// How many records it should hold at most.
    #[inline]
    pub fn capacity(&self) -> usize {
        self.buckets.len() * if self.wide { WIDE_LOAD } else { NARROW_LOAD }
    }

    /// What stands on the heap for it.
    #[inline]
    pub fn heap_bytes(&self) -> usize {
        block_bytes(self.buckets.len() * size_of::<Bucket>())
    }

    #[inline]
    fn ways(&self) -> usize {
        if self.wide { WIDE_WAYS } else { NARROW_WAYS }
    }

    /// The bucket where a hash belongs.
    #[inline]
    fn home(&self, hash: u64) -> usize {
        if self.wide {
            return ((u128::from(mix(hash)) * self.buckets.len() as u128) >> 64) as usize;
        }
        narrow_home(hash, self.buckets.len())
    }

    #[inline]
    fn after(&self, bucket: usize) -> usize {
        if bucket + 1 == self.buckets.len() { 0 } else { bucket + 1 }
    }

    /// Where it begins and how many buckets it has, if its addresses are short.
    #[inline]
    pub fn narrow(&self) -> Option<(*const u8, u32)> {
        (!self.wide).then(|| (self.buckets.as_ptr().cast(), self.buckets.len() as u32))
    }

    /// Where the bucket of a hash is.
    #[inline]
    pub fn home_line(&self, hash: u64) -> *const u8 {
        let buckets = self.buckets.as_ptr();
        match self.buckets.is_empty() {
            true => buckets.cast(),
            false => buckets.wrapping_add(self.home(hash)).cast(),
        }
    }

    /// The addresses in its own bucket that a hash may be at.
    #[inline]
    pub fn likely(&self, hash: u64) -> impl Iterator<Item = u32> {
        let bucket = self.buckets.get(self.home(hash)).copied().unwrap_or(Bucket::EMPTY);
        let wide = self.wide;
        bucket.matches(tag(hash), self.ways()).map(move |way| bucket.address(way, wide))
    }

    /// Where the record with this hash is that `wanted` agrees to, given its address.
    #[inline]
    pub fn find(&self, hash: u64, mut wanted: impl FnMut(u32) -> bool) -> Option<At> {
        let mut at = self.home(hash);
        for _ in 0..self.buckets.len() {
            let bucket = self.buckets.get(at)?;
            for way in bucket.matches(tag(hash), self.ways()) {
                if wanted(bucket.address(way, self.wide)) {
                    return Some((at as u32) << WAY_BITS | way as u32);
                }
            }
            if bucket.0[PASSED_AT] == 0 {
                return None;
            }
            at = self.after(at);
        }
        None
    }

    /// The address at a place; `None` if nothing is there.
    #[inline]
    pub fn address(&self, at: At) -> Option<u32> {
        let (bucket, way) = ((at >> WAY_BITS) as usize, (at & ((1 << WAY_BITS) - 1)) as usize);
        let bucket = self.buckets.get(bucket)?;
        (way < self.ways() && bucket.0[way] != 0).then(|| bucket.address(way, self.wide))
    }

    /// Another address at a place.
    #[inline]
    pub fn set_address(&mut self, at: At, address: u32) {
        let (bucket, way) = ((at >> WAY_BITS) as usize, (at & ((1 << WAY_BITS) - 1)) as usize);
        let wide = self.wide;
        if let Some(bucket) = self.buckets.get_mut(bucket) {
            bucket.set_address(way, wide, address);
        }
    }

    /// Adds a record; there is room below [`Self::capacity`].
    #[inline]
    pub fn insert(&mut self, hash: u64, address: u32) -> At {
        let (ways, wide) = (self.ways(), self.wide);
        let mut at = self.home(hash);
        for _ in 0..self.buckets.len() {
            let bucket = &mut self.buckets[at];
            if let Some(way) = bucket.matches(0, ways).next() {
                bucket.0[way] = tag(hash);
                bucket.set_address(way, wide, address);
                return (at as u32) << WAY_BITS | way as u32;
            }
            let passed = &mut bucket.0[PASSED_AT];
            *passed = passed.saturating_add(1);
            at = self.after(at);
        }
        At::MAX
    }

    /// Takes the record with this hash at a place out.
    pub fn remove(&mut self, hash: u64, at: At) {
        let (last, way) = ((at >> WAY_BITS) as usize, (at & ((1 << WAY_BITS) - 1)) as usize);
        let mut on_the_way = self.home(hash);
        for _ in 0..self.buckets.len() {
            if on_the_way == last {
                self.buckets[last].0[way] = 0;
                return;
            }
            let passed = &mut self.buckets[on_the_way].0[PASSED_AT];
            if *passed != u8::MAX {
                *passed -= 1;
            }
            on_the_way = self.after(on_the_way);
        }
    }

    /// Puts its block elsewhere; how many bytes that has.
    pub fn move_blocks(&mut self, before: BeforeMove<'_>) -> usize {
        move_block(&mut self.buckets, before)
    }

    /// The place after the last.
    #[inline]
    pub fn end(&self) -> At {
        (self.buckets.len() as u32) << WAY_BITS
    }

    /// The next place at or behind one that holds a record, and its address.
    #[inline]
    pub fn next(&self, at: At) -> Option<(At, u32)> {
        let (mut bucket, mut way) =
            ((at >> WAY_BITS) as usize, (at & ((1 << WAY_BITS) - 1)) as usize);
        loop {
            let found = self.buckets.get(bucket)?;
            while way < self.ways() {
                if found.0[way] != 0 {
                    let at = (bucket as u32) << WAY_BITS | way as u32;
                    return Some((at, found.address(way, self.wide)));
                }
                way += 1;
            }
            (bucket, way) = (bucket + 1, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn every_record_is_found_at_any_load(
            steps in proptest::collection::vec((0..400u64, any::<bool>()), 1..600),
            spread in 0..3u64,
            wide: bool,
        ) {
            // With few different hashes, buckets overflow.
            let hash = |key: u64| mix(key % [u64::MAX, 17, 2][spread as usize]);
            let mut index = Index::for_records(300, wide);
            let mut model = BTreeMap::new();
            for (key, add) in steps {
                let address = key as u32 + 1;
                let found = index.find(hash(key), |at| at == address);
                prop_assert_eq!(found.is_some(), model.contains_key(&key));
                match found {
                    Some(at) if !add => {
                        index.remove(hash(key), at);
                        model.remove(&key);
                    }
                    None if add && model.len() < index.capacity() => {
                        let at = index.insert(hash(key), address);
                        prop_assert_eq!(index.address(at), Some(address));
                        model.insert(key, ());
                    }
                    _ => {}
                }
            }
            let mut seen = Vec::new();
            let mut at = 0;
            while let Some((found, address)) = index.next(at) {
                seen.push(u64::from(address) - 1);
                at = found + 1;
            }
            seen.sort_unstable();
            prop_assert_eq!(seen, model.into_keys().collect::<Vec<_>>());
        }
    }

    #[test]
    fn sizes_are_whole_blocks_and_grow_in_small_steps() {
        let mut before = 0;
        for records in 1..2000 {
            let index = Index::for_records(records, false);
            assert!(index.capacity() >= records);
            assert_eq!(index.heap_bytes(), size_of_val(&*index.buckets));
            assert!(records < 100 || index.capacity() * 3 <= records * 4 + 4);
            assert!(index.capacity() >= before);
            before = index.capacity();
        }
    }

    #[test]
    fn most_records_stand_in_their_own_bucket() {
        let mut index = Index::for_records(320, false);
        (0..320).for_each(|key| _ = index.insert(mix(key), key as u32));
        let own = (0..320).filter(|key| index.likely(mix(*key)).any(|at| at == *key as u32));
        assert!(own.count() > 280);
    }
}
