//! The entries of one store in one slot.
//!
//! A small table is one hash table. One that outgrows [`SEGMENT_ENTRIES`] (many keys behind one
//! hash tag) becomes a directory of segments that split one at a time, as in extendible hashing
//! (Fagin, Nievergelt, Pippenger, Strong 1979): no insert ever moves more than one segment, and a
//! segment holds a contiguous run of [`position`]s, so that SCAN and the expiry cycle can walk a
//! table in steps that growth does not disturb.

use super::entry::Entry;
use super::filter::Filter;
use super::hash::{KeyHasher, POSITION_BITS, position};
use super::memory::block_bytes;
use super::prefetch;
use hashbrown::HashTable;
use std::cell::Cell;

/// A segment splits rather than hold more.
pub const SEGMENT_ENTRIES: usize = 1792;
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
    /// The blocks of the table itself, without those of its entries and filters.
    bytes: usize,
    /// The filters' blocks.
    filter_bytes: usize,
    /// The bits of fingerprints in the filters; 0 for no filter.
    filter_bits: u8,
    asked: Cell<u64>,
    denied: Cell<u64>,
    mistaken: Cell<u64>,
}

/// What the filters of a table did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Filtered {
    /// Look-ups that asked a filter.
    pub checks: u64,
    /// Those to which it said that the key is surely absent.
    pub negatives: u64,
    /// Those to which it did not, though the key was absent.
    pub false_positives: u64,
}

enum Kind {
    Small(Part),
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
    part: Part,
}

/// Entries, and a filter of their keys if the store has one.
#[derive(Default)]
struct Part {
    table: HashTable<Entry>,
    filter: Option<Filter>,
}

impl Part {
    fn filter_bytes(&self) -> usize {
        self.filter.as_ref().map_or(0, Filter::heap_bytes)
    }

    /// Makes the filter from the entries; with no bits there is none.
    fn build_filter(&mut self, hasher: &KeyHasher, bits: u8) {
        // The old one goes first, so that both are never there together.
        self.filter = None;
        if bits > 0 && !self.table.is_empty() {
            let hashes = || self.table.iter().map(|entry| hasher.hash(entry.key.as_slice()));
            self.filter = Filter::build(bits, self.table.len(), hashes);
        }
    }

    /// The entry with this hash was added to the table.
    fn filter_added(&mut self, hasher: &KeyHasher, hash: u64, bits: u8) {
        let fitted = match &mut self.filter {
            Some(filter) => filter.insert(hash),
            // Without a filter all else is right: it is made with the first key, or by
            // `Table::tend_filter`.
            None => self.table.len() != 1,
        };
        if !fitted {
            self.build_filter(hasher, bits);
        }
    }

    /// An entry with this hash was taken from the table.
    fn filter_removed(&mut self, hasher: &KeyHasher, hash: u64) {
        if let Some(filter) = &mut self.filter {
            filter.remove(hash);
            if filter.is_sparse() {
                let bits = filter.bits();
                self.build_filter(hasher, bits);
            }
        }
    }
}

impl Directory {
    #[inline]
    fn segment_of(&self, hash: u64) -> usize {
        self.index[(position(hash) >> (POSITION_BITS - self.depth)) as usize] as usize
    }
}

impl Default for Table {
    fn default() -> Self {
        Self::new(0)
    }
}

impl Table {
    /// A table whose filters have fingerprints of so many bits; 0 for no filter.
    pub fn new(filter_bits: u8) -> Self {
        Self {
            kind: Kind::Small(Part::default()),
            len: 0,
            bytes: 0,
            filter_bytes: 0,
            filter_bits,
            asked: Cell::new(0),
            denied: Cell::new(0),
            mistaken: Cell::new(0),
        }
    }

    /// How many entries it has.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// What stands on the heap for the table, without its entries' own blocks.
    #[inline]
    pub fn heap_bytes(&self) -> usize {
        self.bytes + self.filter_bytes
    }

    /// What of [`Self::heap_bytes`] is for filters.
    #[inline]
    pub fn filter_bytes(&self) -> usize {
        self.filter_bytes
    }

    /// What the filters did so far.
    pub fn filtered(&self) -> Filtered {
        Filtered {
            checks: self.asked.get(),
            negatives: self.denied.get(),
            false_positives: self.mistaken.get(),
        }
    }

    /// Brings the filters to fingerprints of so many bits (0: to none), one part of the table at
    /// a time; true once all are.
    pub fn tend_filter(&mut self, hasher: &KeyHasher, bits: u8) -> bool {
        if self.filter_bits != bits {
            self.filter_bits = bits;
            if bits == 0 {
                self.parts_mut().for_each(|part| part.filter = None);
                self.filter_bytes = 0;
                return true;
            }
        }
        let wrong = |part: &&mut Part| {
            !part.table.is_empty() && part.filter.as_ref().is_none_or(|f| f.bits() != bits)
        };
        if bits == 0 {
            return true;
        }
        let Some(part) = self.parts_mut().find(wrong) else { return true };
        let before = part.filter_bytes();
        part.build_filter(hasher, bits);
        let after = part.filter_bytes();
        // A part that fits no filter is not tried for ever.
        let last = part.filter.is_none() || !self.parts_mut().any(|part| wrong(&part));
        self.filter_bytes = self.filter_bytes + after - before;
        last
    }

    fn parts_mut(&mut self) -> impl Iterator<Item = &mut Part> {
        let (small, segments) = match &mut self.kind {
            Kind::Small(part) => (Some(part), &mut [][..]),
            Kind::Split(directory) => (None, directory.segments.as_mut_slice()),
        };
        small.into_iter().chain(segments.iter_mut().map(|segment| &mut segment.part))
    }

    /// Whether a filter says that a key with this hash may be here; `None` without one.
    pub fn filter_says(&self, hash: u64) -> Option<bool> {
        let part = match &self.kind {
            Kind::Small(part) => part,
            Kind::Split(directory) => &directory.segments[directory.segment_of(hash)].part,
        };
        part.filter.as_ref().map(|filter| filter.may_contain(hash))
    }

    /// Whether a part's filter says that a key is surely absent.
    #[inline]
    fn denies(&self, part: &Part, hash: u64) -> bool {
        let Some(filter) = &part.filter else { return false };
        self.asked.set(self.asked.get() + 1);
        if filter.may_contain(hash) {
            return false;
        }
        self.denied.set(self.denied.get() + 1);
        true
    }

    /// Where the entry of a key is.
    #[inline]
    pub fn find(&self, hash: u64, key: &[u8]) -> Option<Place> {
        let (segment, part) = match &self.kind {
            Kind::Small(part) => (0, part),
            Kind::Split(directory) => {
                let segment = directory.segment_of(hash);
                (segment as u32, &directory.segments[segment].part)
            }
        };
        if self.denies(part, hash) {
            return None;
        }
        let same = |entry: &Entry| entry.key.as_slice() == key;
        match part.table.find_bucket_index(hash, same) {
            Some(bucket) => Some(Place { segment, bucket }),
            None => {
                if part.filter.is_some() {
                    self.mistaken.set(self.mistaken.get() + 1);
                }
                None
            }
        }
    }

    /// Asks for the line of the index where a key's place is.
    #[inline]
    pub fn prefetch_index(&self, _hash: u64) {
        // `HashTable` does not show where its index is.
    }

    /// Asks for the block of the value of a key with this hash.
    #[inline]
    pub fn prefetch_entry(&self, hash: u64) {
        if let Some(place) = self.find_where(hash, |_| true)
            && let Some(entry) = self.get(place)
            && let Some(block) = entry.value.block()
        {
            prefetch::line(block);
        }
    }

    /// Where an entry with this hash is that `wanted` agrees to.
    pub fn find_where(&self, hash: u64, wanted: impl FnMut(&Entry) -> bool) -> Option<Place> {
        let (segment, table) = match &self.kind {
            Kind::Small(part) => (0, &part.table),
            Kind::Split(directory) => {
                let segment = directory.segment_of(hash);
                (segment as u32, &directory.segments[segment].part.table)
            }
        };
        let bucket = table.find_bucket_index(hash, wanted)?;
        Some(Place { segment, bucket })
    }

    #[inline]
    fn segment(&self, index: u32) -> Option<&HashTable<Entry>> {
        match &self.kind {
            Kind::Small(part) => Some(&part.table),
            Kind::Split(directory) => directory.segments.get(index as usize).map(|s| &s.part.table),
        }
    }

    #[inline]
    fn part_mut(&mut self, index: u32) -> Option<&mut Part> {
        match &mut self.kind {
            Kind::Small(part) => Some(part),
            Kind::Split(directory) => {
                directory.segments.get_mut(index as usize).map(|s| &mut s.part)
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
        self.part_mut(place.segment)?.table.get_bucket_mut(place.bucket)
    }

    /// Adds an entry whose key is not there yet.
    #[inline]
    pub fn insert(&mut self, hasher: &KeyHasher, hash: u64, entry: Entry) {
        self.len += 1;
        let rehash = |entry: &Entry| hasher.hash(entry.key.as_slice());
        match &mut self.kind {
            Kind::Small(part) if part.table.len() < SEGMENT_ENTRIES => {
                let grows = part.table.len() == part.table.capacity();
                part.table.insert_unique(hash, entry, rehash);
                if grows {
                    self.bytes = block_bytes(part.table.allocation_size());
                }
                if self.filter_bits > 0 {
                    part.filter_added(hasher, hash, self.filter_bits);
                    self.filter_bytes = part.filter_bytes();
                }
            }
            _ => self.insert_split(hasher, hash, entry),
        }
    }

    fn insert_split(&mut self, hasher: &KeyHasher, hash: u64, entry: Entry) {
        if let Kind::Small(part) = &mut self.kind {
            let part = std::mem::take(part);
            self.kind = Kind::Split(Box::new(Directory {
                depth: 0,
                index: vec![0],
                segments: vec![Segment { depth: 0, part }],
            }));
        }
        let Kind::Split(directory) = &mut self.kind else { return };
        let rehash = |entry: &Entry| hasher.hash(entry.key.as_slice());
        loop {
            let segment = directory.segment_of(hash);
            let found = &mut directory.segments[segment];
            if found.part.table.len() < SEGMENT_ENTRIES || found.depth >= MAX_DEPTH {
                let part = &mut found.part;
                let before = part.table.allocation_size();
                part.table.insert_unique(hash, entry, rehash);
                let grew = part.table.allocation_size() != before;
                if self.filter_bits > 0 {
                    let before = part.filter_bytes();
                    part.filter_added(hasher, hash, self.filter_bits);
                    self.filter_bytes = self.filter_bytes + part.filter_bytes() - before;
                }
                if !grew && self.bytes != 0 {
                    return;
                }
                break;
            }
            directory.split(segment, hasher, self.filter_bits);
            self.bytes = 0;
        }
        self.recount();
    }

    /// Adds up the blocks; only after a block came or went.
    fn recount(&mut self) {
        (self.bytes, self.filter_bytes) = match &self.kind {
            Kind::Small(part) => (block_bytes(part.table.allocation_size()), part.filter_bytes()),
            Kind::Split(directory) => {
                let parts = || directory.segments.iter().map(|segment| &segment.part);
                let tables: usize =
                    parts().map(|part| block_bytes(part.table.allocation_size())).sum();
                let bytes = tables
                    + block_bytes(size_of::<Directory>())
                    + block_bytes(directory.index.capacity() * size_of::<u32>())
                    + block_bytes(directory.segments.capacity() * size_of::<Segment>());
                (bytes, parts().map(Part::filter_bytes).sum())
            }
        };
    }

    /// Takes the entry at a place out.
    #[inline]
    pub fn remove(&mut self, hasher: &KeyHasher, place: Place) -> Option<Entry> {
        let part = self.part_mut(place.segment)?;
        let entry = part.table.get_bucket_entry(place.bucket).ok()?.remove().0;
        let (len, capacity) = (part.table.len(), part.table.capacity());
        let freed = match part.filter {
            Some(_) => {
                let before = part.filter_bytes();
                part.filter_removed(hasher, hasher.hash(entry.key.as_slice()));
                before - part.filter_bytes()
            }
            None => 0,
        };
        self.filter_bytes -= freed;
        self.len -= 1;
        if self.len == 0 {
            self.kind = Kind::Small(Part::default());
            (self.bytes, self.filter_bytes) = (0, 0);
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
                for entry in old.part.table.drain() {
                    table.insert_unique(rehash(&entry), entry, rehash);
                }
            }
            let mut part = Part { table, filter: None };
            part.build_filter(hasher, self.filter_bits);
            self.kind = Kind::Small(part);
        } else if let Some(part) = self.part_mut(segment) {
            let before = part.table.allocation_size();
            part.table.shrink_to(2 * part.table.len(), rehash);
            if part.table.allocation_size() == before {
                return;
            }
        }
        self.recount();
    }

    /// Every entry.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        let (small, segments) = match &self.kind {
            Kind::Small(part) => (Some(&part.table), &[][..]),
            Kind::Split(directory) => (None, directory.segments.as_slice()),
        };
        small.into_iter().chain(segments.iter().map(|s| &s.part.table)).flat_map(HashTable::iter)
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
    fn split(&mut self, segment: usize, hasher: &KeyHasher, filter_bits: u8) {
        let depth = self.segments[segment].depth;
        if depth == self.depth {
            self.index = self.index.iter().flat_map(|&s| [s, s]).collect();
            self.depth += 1;
        }
        let rehash = |entry: &Entry| hasher.hash(entry.key.as_slice());
        let bit = POSITION_BITS - depth - 1;
        let old = std::mem::take(&mut self.segments[segment].part).table;
        let mut low = HashTable::with_capacity(old.len() / 2 + old.len() / 8);
        let mut high = HashTable::with_capacity(old.len() / 2 + old.len() / 8);
        for entry in old {
            let hash = rehash(&entry);
            let half = if position(hash) >> bit & 1 == 0 { &mut low } else { &mut high };
            half.insert_unique(hash, entry, rehash);
        }
        let filtered = |table| {
            let mut part = Part { table, filter: None };
            part.build_filter(hasher, filter_bits);
            Segment { depth: depth + 1, part }
        };
        self.segments[segment] = filtered(low);
        let new = self.segments.len() as u32;
        self.segments.push(filtered(high));
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
