//! A hash table of a large value's members.
//!
//! As the keyspace's tables, it is a directory of segments that split one at a time (extendible
//! hashing, Fagin, Nievergelt, Pippenger, Strong 1979): no insert moves more than one segment, and a
//! segment holds a contiguous run of [`position`]s, so that the SCAN family can walk it while it
//! changes. A segment's items stand side by side, and an index as the keyspace's says where: where
//! a look-up reads is known before it reads, so that it can be asked for ahead.

use super::super::hash::{KeyHasher, POSITION_BITS, position};
use super::super::index::{At, Index};
use super::super::memory::block_bytes;
use crate::cache_line::line;

/// A segment splits rather than hold more.
const SEGMENT_ITEMS: usize = 448;
/// A directory whose items are no more than this becomes one segment again.
const COLLAPSE_ITEMS: usize = 112;
/// A directory's index has at most 2^24 places; segments grow beyond that.
const MAX_DEPTH: u32 = 24;
/// Addresses of more have 32 bits: an index has room for more than it was asked for, but not twice
/// as much.
const MAX_NARROW_ITEMS: usize = 1 << 15;
/// A random segment is tried so often before any other that is not empty is taken.
const RANDOM_TRIES: usize = 64;

/// What stands in a [`Dict`].
pub trait Keyed {
    /// What it is found by.
    fn key(&self) -> &[u8];
    /// What stands on the heap for it.
    fn heap_bytes(&self) -> usize;
    /// Where the key stands; nothing is read there.
    #[inline]
    fn block(&self) -> *const u8 {
        self.key().as_ptr()
    }
}

/// Items by their keys.
#[derive(Debug, Clone)]
pub struct Dict<T> {
    /// Where each prefix of positions lives.
    index: Vec<u32>,
    segments: Vec<Segment<T>>,
    depth: u32,
    len: usize,
    /// The blocks of items and tables.
    bytes: usize,
}

#[derive(Debug, Clone)]
struct Segment<T> {
    depth: u32,
    /// Which place among the items a key has.
    index: Index,
    items: Vec<T>,
}

fn index_for(items: usize) -> Index {
    Index::for_records(items, items > MAX_NARROW_ITEMS)
}

impl<T> Segment<T> {
    fn new(depth: u32, items: usize) -> Self {
        Self { depth, index: index_for(items), items: Vec::new() }
    }

    /// What stands on the heap for it without the items' own blocks.
    #[inline]
    fn own_bytes(&self) -> usize {
        self.index.heap_bytes() + block_bytes(self.items.capacity() * size_of::<T>())
    }
}

impl<T: Keyed> Segment<T> {
    #[inline]
    fn find(&self, hash: u64, key: &[u8]) -> Option<(At, usize)> {
        let mut place = 0;
        let is_it = |address: u32| {
            place = address as usize;
            self.items.get(place).is_some_and(|item| item.key() == key)
        };
        Some((self.index.find(hash, is_it)?, place))
    }

    fn insert(&mut self, hasher: &KeyHasher, hash: u64, item: T) {
        let len = self.items.len();
        if len >= self.index.capacity() {
            self.index_anew(hasher, (len + len / 2).clamp(len + 1, SEGMENT_ITEMS.max(len + 1)));
        }
        if len == self.items.capacity() {
            let bytes = block_bytes((len + len / 4 + 1) * size_of::<T>());
            self.items.reserve_exact((bytes / size_of::<T>().max(1)).saturating_sub(len).max(1));
        }
        self.items.push(item);
        self.index.insert(hash, len as u32);
    }

    fn remove(&mut self, hasher: &KeyHasher, hash: u64, key: &[u8]) -> Option<T> {
        let (at, place) = self.find(hash, key)?;
        self.index.remove(hash, at);
        let item = self.items.swap_remove(place);
        // The last one took its place.
        if let Some(moved) = self.items.get(place) {
            let last = self.items.len() as u32;
            let hash = hasher.hash(moved.key());
            if let Some(at) = self.index.find(hash, |address| address == last) {
                self.index.set_address(at, place as u32);
            }
        }
        let len = self.items.len();
        if len * 8 < self.index.capacity() && self.index.is_too_large_for(2 * len) {
            self.index_anew(hasher, 2 * len);
        }
        if len * 4 < self.items.capacity() {
            self.items.shrink_to(2 * len);
        }
        Some(item)
    }

    #[cold]
    fn index_anew(&mut self, hasher: &KeyHasher, items: usize) {
        self.index = index_for(items);
        for (place, item) in self.items.iter().enumerate() {
            self.index.insert(hasher.hash(item.key()), place as u32);
        }
    }

    /// The items that a look-up of this hash probably compares.
    #[inline]
    fn likely(&self, hash: u64) -> impl Iterator<Item = &T> {
        self.index.likely(hash).filter_map(|place| self.items.get(place as usize))
    }
}

impl<T> Default for Dict<T> {
    fn default() -> Self {
        Self { index: vec![0], segments: vec![Segment::new(0, 0)], depth: 0, len: 0, bytes: 0 }
    }
}

impl<T: Keyed> Dict<T> {
    /// How many items it has.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// What stands on the heap for it.
    #[inline]
    pub fn heap_bytes(&self) -> usize {
        self.bytes
            + block_bytes(self.index.capacity() * size_of::<u32>())
            + block_bytes(self.segments.capacity() * size_of::<Segment<T>>())
    }

    #[inline]
    fn segment_of(&self, hash: u64) -> usize {
        self.index[(position(hash) >> (POSITION_BITS - self.depth)) as usize] as usize
    }

    #[inline]
    fn segment(&self, hash: u64) -> &Segment<T> {
        &self.segments[self.segment_of(hash)]
    }

    /// The item of a key.
    #[inline]
    pub fn get(&self, hasher: &KeyHasher, key: &[u8]) -> Option<&T> {
        let hash = hasher.hash(key);
        let segment = self.segment(hash);
        let (_, place) = segment.find(hash, key)?;
        segment.items.get(place)
    }

    /// Asks for what look-ups of these hashes will read, step by step for all together.
    pub fn prefetch(&self, hashes: impl Iterator<Item = u64> + Clone) {
        hashes.clone().for_each(|hash| line(self.segment(hash).index.home_line(hash)));
        for item in hashes.clone().flat_map(|hash| self.segment(hash).likely(hash)) {
            line(&raw const *item);
        }
        for item in hashes.flat_map(|hash| self.segment(hash).likely(hash)) {
            let block = item.block();
            line(block);
            line(block.wrapping_add(64));
        }
    }

    /// Changes the item of a key, anything but the key; `None` if it is not there.
    #[inline]
    pub fn change<R>(
        &mut self,
        hasher: &KeyHasher,
        key: &[u8],
        change: impl FnOnce(&mut T) -> R,
    ) -> Option<R> {
        self.change_hashed(hasher.hash(key), key, change)
    }

    fn change_hashed<R>(
        &mut self,
        hash: u64,
        key: &[u8],
        change: impl FnOnce(&mut T) -> R,
    ) -> Option<R> {
        let at = self.segment_of(hash);
        let segment = &mut self.segments[at];
        let (_, place) = segment.find(hash, key)?;
        let item = segment.items.get_mut(place)?;
        let before = item.heap_bytes();
        let result = change(item);
        self.bytes = self.bytes + item.heap_bytes() - before;
        Some(result)
    }

    /// Changes the item of a key, or adds the one that `make` gives; what `change` returned.
    pub fn upsert<R>(
        &mut self,
        hasher: &KeyHasher,
        key: &[u8],
        change: impl FnOnce(&mut T) -> R,
        make: impl FnOnce() -> T,
    ) -> Option<R> {
        let hash = hasher.hash(key);
        let changed = self.change_hashed(hash, key, change);
        if changed.is_none() {
            self.insert_hashed(hasher, hash, make());
        }
        changed
    }

    /// Adds an item whose key is not there yet.
    pub fn insert(&mut self, hasher: &KeyHasher, item: T) {
        let hash = hasher.hash(item.key());
        self.insert_hashed(hasher, hash, item);
    }

    fn insert_hashed(&mut self, hasher: &KeyHasher, hash: u64, item: T) {
        self.len += 1;
        self.bytes += item.heap_bytes();
        loop {
            let at = self.segment_of(hash);
            let segment = &mut self.segments[at];
            if segment.items.len() < SEGMENT_ITEMS || segment.depth >= MAX_DEPTH {
                let before = segment.own_bytes();
                segment.insert(hasher, hash, item);
                self.bytes = self.bytes + segment.own_bytes() - before;
                return;
            }
            self.split(at, hasher);
        }
    }

    /// Takes the item of a key out.
    pub fn remove(&mut self, hasher: &KeyHasher, key: &[u8]) -> Option<T> {
        let hash = hasher.hash(key);
        let at = self.segment_of(hash);
        let segment = &mut self.segments[at];
        let before = segment.own_bytes();
        let item = segment.remove(hasher, hash, key)?;
        self.len -= 1;
        self.bytes = self.bytes + segment.own_bytes() - before - item.heap_bytes();
        if self.segments.len() > 1 && self.len <= COLLAPSE_ITEMS {
            self.collapse(hasher);
        }
        Some(item)
    }

    /// Every item.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.segments.iter().flat_map(|segment| segment.items.iter())
    }

    /// An item that `random` chooses: each is as likely as any other within its segment, and
    /// segments are chosen by the share of positions that they hold. `None` if there is none.
    pub fn random(&self, mut random: impl FnMut() -> u64) -> Option<&T> {
        if self.len == 0 {
            return None;
        }
        for _ in 0..RANDOM_TRIES {
            let items = &self.segment(random()).items;
            if !items.is_empty() {
                return items.get((random() % items.len() as u64) as usize);
            }
        }
        // Very sparse, for once.
        let skip = (random() % self.len as u64) as usize;
        self.iter().nth(skip)
    }

    /// Visits about `count` items from position `from` on; the position to go on from, `None` at
    /// the end. From 0 to the end, every item that stays is visited, whatever is added or removed
    /// between the calls.
    pub fn scan(
        &self,
        hasher: &KeyHasher,
        from: u64,
        count: u64,
        mut visit: impl FnMut(&T),
    ) -> Option<u64> {
        let mut from = from.min((1 << POSITION_BITS) - 1);
        let mut left = usize::try_from(count).unwrap_or(usize::MAX).max(1);
        loop {
            let at = self.index[(from >> (POSITION_BITS - self.depth)) as usize];
            let segment = &self.segments[at as usize];
            let width = POSITION_BITS - segment.depth;
            let next = ((from >> width) + 1) << width;
            let mut items: Vec<(u64, &T)> = segment
                .items
                .iter()
                .map(|item| (position(hasher.hash(item.key())), item))
                .filter(|(at, _)| *at >= from)
                .collect();
            items.sort_unstable_by_key(|(at, _)| *at);
            // Items at one position go together: the cursor cannot tell them apart.
            let mut taken = left.min(items.len());
            while taken > 0 && taken < items.len() && items[taken].0 == items[taken - 1].0 {
                taken += 1;
            }
            items[..taken].iter().for_each(|(_, item)| visit(item));
            left = left.saturating_sub(taken);
            match items.get(taken) {
                Some((at, _)) => return Some(*at),
                None if next >= 1 << POSITION_BITS => return None,
                None if left == 0 => return Some(next),
                None => from = next,
            }
        }
    }

    /// Cuts a segment in two by the next bit of its items' positions.
    fn split(&mut self, at: usize, hasher: &KeyHasher) {
        let depth = self.segments[at].depth;
        if depth == self.depth {
            self.index = self.index.iter().flat_map(|&s| [s, s]).collect();
            self.depth += 1;
        }
        let bit = POSITION_BITS - depth - 1;
        let old = std::mem::replace(&mut self.segments[at], Segment::new(0, 0));
        self.bytes -= old.own_bytes();
        // Neither half grows again before it is split.
        let half = || Segment::new(depth + 1, SEGMENT_ITEMS);
        let (mut low, mut high) = (half(), half());
        for item in old.items {
            let hash = hasher.hash(item.key());
            let half = if position(hash) >> bit & 1 == 0 { &mut low } else { &mut high };
            half.insert(hasher, hash, item);
        }
        self.bytes += low.own_bytes() + high.own_bytes();
        self.segments[at] = low;
        let new = self.segments.len() as u32;
        self.segments.push(high);
        let odd = 1usize << (self.depth - depth - 1);
        for (prefix, place) in self.index.iter_mut().enumerate() {
            if *place as usize == at && prefix & odd != 0 {
                *place = new;
            }
        }
    }

    #[cold]
    fn collapse(&mut self, hasher: &KeyHasher) {
        let mut whole = Segment::new(0, self.len + 1);
        for segment in self.segments.drain(..) {
            self.bytes -= segment.own_bytes();
            for item in segment.items {
                whole.insert(hasher, hasher.hash(item.key()), item);
            }
        }
        self.bytes += whole.own_bytes();
        self.segments = vec![whole];
        self.index = vec![0];
        self.depth = 0;
    }

    /// What [`Self::heap_bytes`] must be, counted anew.
    #[cfg(test)]
    pub fn counted_bytes(&self) -> usize {
        let tables: usize = self.segments.iter().map(Segment::own_bytes).sum();
        let items: usize = self.iter().map(Keyed::heap_bytes).sum();
        tables
            + items
            + block_bytes(self.index.capacity() * size_of::<u32>())
            + block_bytes(self.segments.capacity() * size_of::<Segment<T>>())
    }
}
