//! The entries of one store in one slot.
//!
//! A small table is one hash table. One that outgrows [`SEGMENT_ENTRIES`] (many keys behind one
//! hash tag) becomes a directory of segments that split one at a time, as in extendible hashing
//! (Fagin, Nievergelt, Pippenger, Strong 1979): no insert ever moves more than one segment, and a
//! segment holds a contiguous run of [`position`]s, so that SCAN and the expiry cycle can walk a
//! table in steps that growth does not disturb.

use super::entry::Entry;
use super::hash::{KeyHasher, POSITION_BITS, position};
use super::memory::block_bytes;
use hashbrown::HashTable;

/// A segment splits rather than hold more.
const SEGMENT_ENTRIES: usize = 1792;
/// A directory whose entries are no more than this becomes one small table again.
const COLLAPSE_ENTRIES: usize = 448;
/// A directory's index has at most 2^24 places; segments grow beyond that.
const MAX_DEPTH: u32 = 24;

/// Where an entry is, until the table is changed.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    segment: u32,
    bucket: usize,
}

/// A set of entries with different keys.
pub struct Table {
    kind: Kind,
    len: usize,
    /// The blocks of the table itself, without those of its entries.
    bytes: usize,
}

enum Kind {
    Small(HashTable<Entry>),
    Split(Box<Directory>),
}

struct Directory {
    /// `index` has 2^depth places: the segment of each prefix of positions.
    depth: u32,
    index: Vec<u32>,
    segments: Vec<Segment>,
}

struct Segment {
    /// How many bits of a position all its entries share.
    depth: u32,
    table: HashTable<Entry>,
}

impl Directory {
    #[inline]
    fn segment_of(&self, hash: u64) -> usize {
        self.index[(position(hash) >> (POSITION_BITS - self.depth)) as usize] as usize
    }
}

impl Default for Table {
    fn default() -> Self {
        Self { kind: Kind::Small(HashTable::new()), len: 0, bytes: 0 }
    }
}

impl Table {
    /// How many entries it has.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// What stands on the heap for the table, without its entries' own blocks.
    #[inline]
    pub fn heap_bytes(&self) -> usize {
        self.bytes
    }

    /// Where the entry of a key is.
    #[inline]
    pub fn find(&self, hash: u64, key: &[u8]) -> Option<Place> {
        let same = |entry: &Entry| entry.key.as_slice() == key;
        match &self.kind {
            Kind::Small(table) => {
                table.find_bucket_index(hash, same).map(|bucket| Place { segment: 0, bucket })
            }
            Kind::Split(directory) => {
                let segment = directory.segment_of(hash);
                directory.segments[segment]
                    .table
                    .find_bucket_index(hash, same)
                    .map(|bucket| Place { segment: segment as u32, bucket })
            }
        }
    }

    /// Where an entry with this hash is that `wanted` agrees to.
    pub fn find_where(&self, hash: u64, wanted: impl FnMut(&Entry) -> bool) -> Option<Place> {
        let (segment, table) = match &self.kind {
            Kind::Small(table) => (0, table),
            Kind::Split(directory) => {
                let segment = directory.segment_of(hash);
                (segment as u32, &directory.segments[segment].table)
            }
        };
        let bucket = table.find_bucket_index(hash, wanted)?;
        Some(Place { segment, bucket })
    }

    #[inline]
    fn segment(&self, index: u32) -> Option<&HashTable<Entry>> {
        match &self.kind {
            Kind::Small(table) => Some(table),
            Kind::Split(directory) => directory.segments.get(index as usize).map(|s| &s.table),
        }
    }

    #[inline]
    fn segment_mut(&mut self, index: u32) -> Option<&mut HashTable<Entry>> {
        match &mut self.kind {
            Kind::Small(table) => Some(table),
            Kind::Split(directory) => {
                directory.segments.get_mut(index as usize).map(|s| &mut s.table)
            }
        }
    }

    /// The entry at a place.
    #[inline]
    pub fn get(&self, place: Place) -> Option<&Entry> {
        self.segment(place.segment)?.get_bucket(place.bucket)
    }

    /// The entry at a place, to change anything but its key.
    #[inline]
    pub fn get_mut(&mut self, place: Place) -> Option<&mut Entry> {
        self.segment_mut(place.segment)?.get_bucket_mut(place.bucket)
    }

    /// Adds an entry whose key is not there yet.
    #[inline]
    pub fn insert(&mut self, hasher: &KeyHasher, hash: u64, entry: Entry) {
        self.len += 1;
        let rehash = |entry: &Entry| hasher.hash(entry.key.as_slice());
        match &mut self.kind {
            Kind::Small(table) if table.len() < table.capacity() => {
                table.insert_unique(hash, entry, rehash);
            }
            Kind::Small(table) if table.len() < SEGMENT_ENTRIES => {
                table.insert_unique(hash, entry, rehash);
                self.bytes = block_bytes(table.allocation_size());
            }
            _ => self.insert_split(hasher, hash, entry),
        }
    }

    fn insert_split(&mut self, hasher: &KeyHasher, hash: u64, entry: Entry) {
        if let Kind::Small(table) = &mut self.kind {
            let table = std::mem::take(table);
            self.kind = Kind::Split(Box::new(Directory {
                depth: 0,
                index: vec![0],
                segments: vec![Segment { depth: 0, table }],
            }));
        }
        let Kind::Split(directory) = &mut self.kind else { return };
        let rehash = |entry: &Entry| hasher.hash(entry.key.as_slice());
        loop {
            let segment = directory.segment_of(hash);
            let found = &mut directory.segments[segment];
            if found.table.len() < SEGMENT_ENTRIES || found.depth >= MAX_DEPTH {
                let before = found.table.allocation_size();
                found.table.insert_unique(hash, entry, rehash);
                if found.table.allocation_size() == before && self.bytes != 0 {
                    return;
                }
                break;
            }
            directory.split(segment, hasher);
            self.bytes = 0;
        }
        self.recount();
    }

    /// Adds up the blocks; only after a block came or went.
    fn recount(&mut self) {
        self.bytes = match &self.kind {
            Kind::Small(table) => block_bytes(table.allocation_size()),
            Kind::Split(directory) => {
                let tables: usize = directory
                    .segments
                    .iter()
                    .map(|segment| block_bytes(segment.table.allocation_size()))
                    .sum();
                tables
                    + block_bytes(size_of::<Directory>())
                    + block_bytes(directory.index.capacity() * size_of::<u32>())
                    + block_bytes(directory.segments.capacity() * size_of::<Segment>())
            }
        };
    }

    /// Takes the entry at a place out.
    #[inline]
    pub fn remove(&mut self, hasher: &KeyHasher, place: Place) -> Option<Entry> {
        let table = self.segment_mut(place.segment)?;
        let entry = table.get_bucket_entry(place.bucket).ok()?.remove().0;
        let (len, capacity) = (table.len(), table.capacity());
        self.len -= 1;
        if self.len == 0 {
            *self = Self::default();
        } else if len * 8 < capacity {
            self.shrink(hasher, place.segment);
        }
        Some(entry)
    }

    #[cold]
    fn shrink(&mut self, hasher: &KeyHasher, segment: u32) {
        let rehash = |entry: &Entry| hasher.hash(entry.key.as_slice());
        if let Kind::Split(directory) = &mut self.kind
            && self.len <= COLLAPSE_ENTRIES
        {
            let mut table = HashTable::with_capacity(self.len + 1);
            for mut old in directory.segments.drain(..) {
                for entry in old.table.drain() {
                    table.insert_unique(rehash(&entry), entry, rehash);
                }
            }
            self.kind = Kind::Small(table);
        } else if let Some(table) = self.segment_mut(segment) {
            let before = table.allocation_size();
            table.shrink_to(2 * table.len(), rehash);
            if table.allocation_size() == before {
                return;
            }
        }
        self.recount();
    }

    /// Every entry.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        let (small, segments) = match &self.kind {
            Kind::Small(table) => (Some(table), &[][..]),
            Kind::Split(directory) => (None, directory.segments.as_slice()),
        };
        small.into_iter().chain(segments.iter().map(|s| &s.table)).flat_map(HashTable::iter)
    }

    /// The segment that holds a position, and the first position behind it (`None`: there is none).
    fn segment_at(&self, from: u64) -> (u32, Option<u64>) {
        match &self.kind {
            Kind::Small(_) => (0, None),
            Kind::Split(directory) => {
                let from = from.min((1 << POSITION_BITS) - 1);
                let segment = directory.index[(from >> (POSITION_BITS - directory.depth)) as usize];
                let width = POSITION_BITS - directory.segments[segment as usize].depth;
                let next = ((from >> width) + 1) << width;
                (segment, (next < 1 << POSITION_BITS).then_some(next))
            }
        }
    }

    /// Calls `visit` with each entry of the one segment that holds position `from`; the position
    /// to go on from, `None` at the end. From 0 to the end, every entry that stays is visited,
    /// whatever is added or removed between the calls.
    pub fn visit_segment(&self, from: u64, mut visit: impl FnMut(&Entry)) -> Option<u64> {
        let (segment, next) = self.segment_at(from);
        self.segment(segment).into_iter().flat_map(HashTable::iter).for_each(&mut visit);
        next
    }

    /// Visits entries in the order of their places, from a position on, until none are `left`;
    /// the position to go on from, `None` at the end. Positions lose their meaning when the
    /// table grows: who follows them meets most entries once a round, not each.
    pub fn sweep(&self, from: u64, left: &mut usize, mut visit: impl FnMut(&Entry)) -> Option<u64> {
        let (mut segment, mut bucket) = ((from >> 32) as u32, (from & 0xffff_ffff) as usize);
        loop {
            let table = self.segment(segment)?;
            while bucket < table.num_buckets() {
                if *left == 0 {
                    return Some(u64::from(segment) << 32 | bucket as u64);
                }
                if let Some(entry) = table.get_bucket(bucket) {
                    visit(entry);
                    *left -= 1;
                }
                bucket += 1;
            }
            segment = match &self.kind {
                Kind::Small(_) => return None,
                Kind::Split(_) => segment + 1,
            };
            bucket = 0;
        }
    }

    /// Up to `count` entries that stand next to each other from a random place on.
    pub fn sample(&self, random: u64, count: usize, mut visit: impl FnMut(&Entry)) {
        let segment = match &self.kind {
            Kind::Small(_) => 0,
            Kind::Split(directory) => directory.segment_of(random) as u32,
        };
        let Some(table) = self.segment(segment) else { return };
        let buckets = table.num_buckets();
        if buckets == 0 {
            return;
        }
        // The high half: the low bits chose nothing yet, but stay clear of the segment's bits.
        let start = (random & 0xffff_ffff) as usize % buckets;
        let mut left = count;
        for step in 0..buckets {
            if left == 0 {
                return;
            }
            if let Some(entry) = table.get_bucket((start + step) % buckets) {
                visit(entry);
                left -= 1;
            }
        }
    }
}

impl Directory {
    /// Cuts a segment in two by the next bit of its entries' positions.
    fn split(&mut self, segment: usize, hasher: &KeyHasher) {
        let depth = self.segments[segment].depth;
        if depth == self.depth {
            self.index = self.index.iter().flat_map(|&s| [s, s]).collect();
            self.depth += 1;
        }
        let rehash = |entry: &Entry| hasher.hash(entry.key.as_slice());
        let bit = POSITION_BITS - depth - 1;
        let old = std::mem::take(&mut self.segments[segment].table);
        let mut low = HashTable::with_capacity(old.len() / 2 + old.len() / 8);
        let mut high = HashTable::with_capacity(old.len() / 2 + old.len() / 8);
        for entry in old {
            let hash = rehash(&entry);
            let half = if position(hash) >> bit & 1 == 0 { &mut low } else { &mut high };
            half.insert_unique(hash, entry, rehash);
        }
        self.segments[segment] = Segment { depth: depth + 1, table: low };
        let new = self.segments.len() as u32;
        self.segments.push(Segment { depth: depth + 1, table: high });
        let odd = 1usize << (self.depth - depth - 1);
        for (prefix, place) in self.index.iter_mut().enumerate() {
            if *place as usize == segment && prefix & odd != 0 {
                *place = new;
            }
        }
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
