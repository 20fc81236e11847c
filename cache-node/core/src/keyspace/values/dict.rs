//! A hash table of a large value's members.
//!
//! As the keyspace's tables, it is a directory of segments that split one at a time (extendible
//! hashing, Fagin, Nievergelt, Pippenger, Strong 1979): no insert moves more than one segment, and a
//! segment holds a contiguous run of [`position`]s, so that the SCAN family can walk it while it
//! changes.

use super::super::hash::{KeyHasher, POSITION_BITS, position};
use super::super::memory::block_bytes;
use super::super::prefetch::line;
use hashbrown::HashTable;

/// A segment splits rather than hold more.
const SEGMENT_ITEMS: usize = 448;
/// A directory whose items are no more than this becomes one segment again.
const COLLAPSE_ITEMS: usize = 112;
/// A directory's index has at most 2^24 places; segments grow beyond that.
const MAX_DEPTH: u32 = 24;
/// A random bucket is tried so often before the next used one is taken.
const RANDOM_TRIES: usize = 64;

/// What stands in a [`Dict`].
pub trait Keyed {
    /// What it is found by.
    fn key(&self) -> &[u8];
    /// What stands on the heap for it.
    fn heap_bytes(&self) -> usize;
    /// Where the key stands.
    fn block(&self) -> *const u8;
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
    table: HashTable<T>,
}

impl<T> Default for Dict<T> {
    fn default() -> Self {
        let segments = vec![Segment { depth: 0, table: HashTable::new() }];
        Self { index: vec![0], segments, depth: 0, len: 0, bytes: 0 }
    }
}

fn table_bytes<T>(table: &HashTable<T>) -> usize {
    block_bytes(table.allocation_size())
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

    /// The item of a key.
    #[inline]
    pub fn get(&self, hasher: &KeyHasher, key: &[u8]) -> Option<&T> {
        let hash = hasher.hash(key);
        self.segments[self.segment_of(hash)].table.find(hash, |item| item.key() == key)
    }

    /// Asks for the keys that a look-up of this hash compares.
    #[inline]
    pub fn prefetch(&self, hash: u64) {
        let ask = |item: &T| {
            line(item.block());
            false
        };
        let _ = self.segments[self.segment_of(hash)].table.find(hash, ask);
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
        let segment = self.segment_of(hash);
        let item = self.segments[segment].table.find_mut(hash, |item| item.key() == key)?;
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
        let rehash = |item: &T| hasher.hash(item.key());
        loop {
            let at = self.segment_of(hash);
            let segment = &mut self.segments[at];
            if segment.table.len() < SEGMENT_ITEMS || segment.depth >= MAX_DEPTH {
                let before = table_bytes(&segment.table);
                segment.table.insert_unique(hash, item, rehash);
                self.bytes = self.bytes + table_bytes(&segment.table) - before;
                return;
            }
            self.split(at, hasher);
        }
    }

    /// Takes the item of a key out.
    pub fn remove(&mut self, hasher: &KeyHasher, key: &[u8]) -> Option<T> {
        let hash = hasher.hash(key);
        let segment = self.segment_of(hash);
        let table = &mut self.segments[segment].table;
        let item = table.find_entry(hash, |item| item.key() == key).ok()?.remove().0;
        let (len, capacity) = (table.len(), table.capacity());
        self.len -= 1;
        self.bytes -= item.heap_bytes();
        if self.segments.len() > 1 && self.len <= COLLAPSE_ITEMS {
            self.collapse(hasher);
        } else if len * 8 < capacity {
            let table = &mut self.segments[segment].table;
            let before = table_bytes(table);
            table.shrink_to(2 * len, |item| hasher.hash(item.key()));
            self.bytes = self.bytes + table_bytes(table) - before;
        }
        Some(item)
    }

    /// Every item.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.segments.iter().flat_map(|segment| segment.table.iter())
    }

    /// An item that `random` chooses: each is as likely as any other within its segment, and
    /// segments are chosen by the share of positions that they hold. `None` if there is none.
    pub fn random(&self, mut random: impl FnMut() -> u64) -> Option<&T> {
        if self.len == 0 {
            return None;
        }
        for _ in 0..RANDOM_TRIES {
            let segment = &self.segments[self.segment_of(random())].table;
            let buckets = segment.num_buckets() as u64;
            if buckets > 0
                && let Some(item) = segment.get_bucket((random() % buckets) as usize)
            {
                return Some(item);
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
                .table
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
        let rehash = |item: &T| hasher.hash(item.key());
        let bit = POSITION_BITS - depth - 1;
        let old = std::mem::take(&mut self.segments[at].table);
        self.bytes -= table_bytes(&old);
        let room = old.len() / 2 + old.len() / 8;
        let (mut low, mut high) = (HashTable::with_capacity(room), HashTable::with_capacity(room));
        for item in old {
            let hash = rehash(&item);
            let half = if position(hash) >> bit & 1 == 0 { &mut low } else { &mut high };
            half.insert_unique(hash, item, rehash);
        }
        self.bytes += table_bytes(&low) + table_bytes(&high);
        self.segments[at] = Segment { depth: depth + 1, table: low };
        let new = self.segments.len() as u32;
        self.segments.push(Segment { depth: depth + 1, table: high });
        let odd = 1usize << (self.depth - depth - 1);
        for (prefix, place) in self.index.iter_mut().enumerate() {
            if *place as usize == at && prefix & odd != 0 {
                *place = new;
            }
        }
    }

    #[cold]
    fn collapse(&mut self, hasher: &KeyHasher) {
        let rehash = |item: &T| hasher.hash(item.key());
        let mut table = HashTable::with_capacity(self.len + 1);
        for mut segment in self.segments.drain(..) {
            self.bytes -= table_bytes(&segment.table);
            for item in segment.table.drain() {
                table.insert_unique(rehash(&item), item, rehash);
            }
        }
        self.bytes += table_bytes(&table);
        self.segments = vec![Segment { depth: 0, table }];
        self.index = vec![0];
        self.depth = 0;
    }

    /// What [`Self::heap_bytes`] must be, counted anew.
    #[cfg(test)]
    pub fn counted_bytes(&self) -> usize {
        let tables: usize = self.segments.iter().map(|s| table_bytes(&s.table)).sum();
        let items: usize = self.iter().map(Keyed::heap_bytes).sum();
        tables
            + items
            + block_bytes(self.index.capacity() * size_of::<u32>())
            + block_bytes(self.segments.capacity() * size_of::<Segment<T>>())
    }
}
