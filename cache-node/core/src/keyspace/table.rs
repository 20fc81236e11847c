//! The entries of one store in one slot.
//!
//! A small table is one part. One that outgrows [`SEGMENT_ENTRIES`], or the addresses of a part
//! (many keys behind one hash tag), becomes a directory of segments that split one at a time, as
//! in extendible hashing (Fagin, Nievergelt, Pippenger, Strong 1979): no insert ever moves more
//! than one segment, and a segment holds a contiguous run of [`position`]s, so that SCAN and the
//! expiry cycle can walk a table in steps that growth does not disturb.

use super::entry::{Entry, Taken};
use super::eviction::usage::Usage;
use super::hash::{KeyHasher, POSITION_BITS, position};
use super::index::At;
use super::memory::block_bytes;
use super::moves::BeforeMove;
use super::part::{New, Part};
use super::values::Value;
use std::cell::Cell;

/// A segment splits rather than hold more.
pub const SEGMENT_ENTRIES: usize = 1792;
/// A directory whose entries are no more than this, and no larger than [`COLLAPSE_BYTES`],
/// becomes one small table again.
const COLLAPSE_ENTRIES: usize = 448;
const COLLAPSE_BYTES: usize = 24 * 1024;
/// A directory's index has at most 2^24 places; segments grow beyond that.
const MAX_DEPTH: u32 = 24;
/// Nor has it more than this many places for each segment: then too many keys are in one
/// position for chance, and the segment grows instead.
const MAX_PLACES_PER_SEGMENT: usize = 256;

/// Where an entry is, until one is added or removed.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    segment: u32,
    at: At,
}

/// A set of entries with different keys.
pub struct Table {
    kind: Kind,
    len: usize,
    /// The blocks of all that is here.
    bytes: usize,
    /// There if there ever was a filter.
    asked: Option<Box<Asked>>,
}

/// What is known of the filters, and what was asked of them.
#[derive(Default)]
struct Asked {
    /// The bits of their fingerprints; 0 for no filter.
    bits: u8,
    checks: Cell<u64>,
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

#[allow(clippy::large_enum_variant, reason = "nearly all tables are small: no block in between")]
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

impl Directory {
    #[inline]
    fn segment_of(&self, hash: u64) -> usize {
        self.index[(position(hash) >> (POSITION_BITS - self.depth)) as usize] as usize
    }

    fn own_bytes(&self) -> usize {
        block_bytes(size_of::<Self>())
            + block_bytes(self.index.capacity() * size_of::<u32>())
            + block_bytes(self.segments.capacity() * size_of::<Segment>())
    }

    /// Whether a segment may be cut in two.
    fn may_split(&self, segment: usize) -> bool {
        let places = self.segments.len().saturating_mul(MAX_PLACES_PER_SEGMENT);
        let deeper = self.segments[segment].depth == self.depth;
        !deeper || (self.depth < MAX_DEPTH && 2usize << self.depth <= places)
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
        let kind = Kind::Small(Part::default());
        let mut table = Self { kind, len: 0, bytes: 0, asked: None };
        table.set_filter_bits(filter_bits);
        table
    }

    /// The bits of fingerprints in the filters; 0 for no filter.
    #[inline]
    fn filter_bits(&self) -> u8 {
        self.asked.as_ref().map_or(0, |asked| asked.bits)
    }

    fn set_filter_bits(&mut self, bits: u8) {
        if bits != self.filter_bits() {
            self.asked.get_or_insert_default().bits = bits;
        }
    }

    /// How many entries it has.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// What stands on the heap for it and its entries.
    #[inline]
    pub fn heap_bytes(&self) -> usize {
        self.bytes
    }

    /// What of [`Self::heap_bytes`] is for filters.
    pub fn filter_bytes(&self) -> usize {
        self.parts().map(Part::filter_bytes).sum()
    }

    /// How many fingerprints the filters have, and how many there is room for.
    pub fn filter_load(&self) -> (u64, u64) {
        let filters = self.parts().filter_map(Part::filter);
        filters.fold((0, 0), |(len, places), it| (len + it.len(), places + it.places()))
    }

    /// What the filters did so far.
    pub fn filtered(&self) -> Filtered {
        self.asked.as_ref().map_or_else(Filtered::default, |asked| Filtered {
            checks: asked.checks.get(),
            negatives: asked.denied.get(),
            false_positives: asked.mistaken.get(),
        })
    }

    /// Brings the filters to fingerprints of so many bits (0: to none), one part of the table at
    /// a time; true once all are.
    pub fn tend_filter(&mut self, hasher: &KeyHasher, bits: u8) -> bool {
        if self.filter_bits() != bits {
            self.set_filter_bits(bits);
            if bits == 0 {
                self.parts_mut().for_each(|part| part.build_filter(hasher, 0));
                self.recount();
                return true;
            }
        }
        let wrong = |part: &&mut Part| {
            part.len() > 0 && part.filter().is_none_or(|filter| filter.bits() != bits)
        };
        if bits == 0 {
            return true;
        }
        let Some(part) = self.parts_mut().find(wrong) else { return true };
        let before = part.filter_bytes();
        part.build_filter(hasher, bits);
        let after = part.filter_bytes();
        // A part that fits no filter is not tried for ever.
        let last = part.filter().is_none() || !self.parts_mut().any(|part| wrong(&part));
        self.bytes = self.bytes + after - before;
        last
    }

    fn parts(&self) -> impl Iterator<Item = &Part> {
        let (small, segments) = match &self.kind {
            Kind::Small(part) => (Some(part), &[][..]),
            Kind::Split(directory) => (None, directory.segments.as_slice()),
        };
        small.into_iter().chain(segments.iter().map(|segment| &segment.part))
    }

    fn parts_mut(&mut self) -> impl Iterator<Item = &mut Part> {
        let (small, segments) = match &mut self.kind {
            Kind::Small(part) => (Some(part), &mut [][..]),
            Kind::Split(directory) => (None, directory.segments.as_mut_slice()),
        };
        small.into_iter().chain(segments.iter_mut().map(|segment| &mut segment.part))
    }

    /// The part that has the entries of a hash.
    #[inline]
    fn part_of(&self, hash: u64) -> (u32, &Part) {
        match &self.kind {
            Kind::Small(part) => (0, part),
            Kind::Split(directory) => {
                let segment = directory.segment_of(hash);
                (segment as u32, &directory.segments[segment].part)
            }
        }
    }

    #[inline]
    fn part(&self, segment: u32) -> Option<&Part> {
        match &self.kind {
            Kind::Small(part) => Some(part),
            Kind::Split(directory) => directory.segments.get(segment as usize).map(|s| &s.part),
        }
    }

    #[inline]
    fn part_mut(&mut self, segment: u32) -> Option<&mut Part> {
        match &mut self.kind {
            Kind::Small(part) => Some(part),
            Kind::Split(directory) => {
                directory.segments.get_mut(segment as usize).map(|s| &mut s.part)
            }
        }
    }

    /// Changes a part and keeps the account of its blocks.
    #[inline]
    fn change_part<R>(&mut self, segment: u32, change: impl FnOnce(&mut Part) -> R) -> Option<R> {
        let part = self.part_mut(segment)?;
        let before = part.heap_bytes();
        let result = change(part);
        let after = part.heap_bytes();
        self.bytes = self.bytes + after - before;
        Some(result)
    }

    /// Whether a filter says that a key with this hash may be here; `None` without one.
    pub fn filter_says(&self, hash: u64) -> Option<bool> {
        self.part_of(hash).1.filter().map(|filter| filter.may_contain(hash))
    }

    /// Whether a part's filter says that a key is surely absent.
    #[inline]
    fn denies(&self, part: &Part, hash: u64) -> bool {
        let (Some(filter), Some(asked)) = (part.filter(), &self.asked) else { return false };
        asked.checks.set(asked.checks.get() + 1);
        if filter.may_contain(hash) {
            return false;
        }
        asked.denied.set(asked.denied.get() + 1);
        true
    }

    /// Where the entry of a key is.
    #[inline]
    pub fn find(&self, hash: u64, key: &[u8]) -> Option<Place> {
        let (segment, part) = self.part_of(hash);
        if self.denies(part, hash) {
            return None;
        }
        let found = part.find(hash, key);
        if found.is_none()
            && part.filter().is_some()
            && let Some(asked) = &self.asked
        {
            asked.mistaken.set(asked.mistaken.get() + 1);
        }
        Some(Place { segment, at: found? })
    }

    /// Where an entry with this hash is that `wanted` agrees to.
    pub fn find_where(&self, hash: u64, wanted: impl FnMut(&Entry<'_>) -> bool) -> Option<Place> {
        let (segment, part) = self.part_of(hash);
        let at = part.find_where(hash, wanted)?;
        Some(Place { segment, at })
    }

    /// The entry at a place.
    #[inline]
    pub fn get(&self, place: Place) -> Option<Entry<'_>> {
        self.part(place.segment)?.get(place.at)
    }

    /// Says how an entry was used.
    #[inline]
    pub fn set_usage(&mut self, place: Place, usage: Usage) {
        if let Some(part) = self.part_mut(place.segment) {
            part.set_usage(place.at, usage);
        }
    }

    /// Adds an entry whose key is not there yet.
    #[inline]
    pub fn insert(
        &mut self,
        hasher: &KeyHasher,
        hash: u64,
        key: &[u8],
        value: New<'_>,
        expires_at_ms: u64,
        usage: Usage,
    ) {
        let segment = self.segment_with_room(hasher, hash, 1);
        let bits = self.filter_bits();
        self.len += 1;
        self.change_part(segment, |part| {
            part.insert(hasher, hash, key, value, expires_at_ms, usage);
            if bits > 0 {
                part.filter_added(hasher, hash, bits);
            }
        });
    }

    /// The segment for a hash, where there is room for a record, and for so many more entries.
    #[inline]
    fn segment_with_room(&mut self, hasher: &KeyHasher, hash: u64, entries: usize) -> u32 {
        let (segment, part) = self.part_of(hash);
        if (part.len() + entries <= SEGMENT_ENTRIES && part.has_room()) || part.is_wide() {
            return segment;
        }
        self.make_room(hasher, hash, entries)
    }

    #[cold]
    fn make_room(&mut self, hasher: &KeyHasher, hash: u64, entries: usize) -> u32 {
        loop {
            let (segment, part) = self.part_of(hash);
            let few = part.len() + entries <= SEGMENT_ENTRIES;
            if (few && part.has_room()) || part.is_wide() {
                return segment;
            }
            if few && self.change_part(segment, Part::squeeze) == Some(true) {
                continue;
            }
            if let Kind::Small(part) = &mut self.kind {
                let part = std::mem::take(part);
                self.kind = Kind::Split(Box::new(Directory {
                    depth: 0,
                    index: vec![0],
                    segments: vec![Segment { depth: 0, part }],
                }));
            }
            let bits = self.filter_bits();
            let Kind::Split(directory) = &mut self.kind else { return segment };
            if directory.may_split(segment as usize) {
                directory.split(segment as usize, hasher, bits);
            } else {
                directory.segments[segment as usize].part.widen(hasher);
            }
            self.recount();
        }
    }

    /// Adds up the blocks; only after segments came or went.
    fn recount(&mut self) {
        let own = match &self.kind {
            Kind::Small(_) => 0,
            Kind::Split(directory) => directory.own_bytes(),
        };
        self.bytes = own + self.parts().map(Part::heap_bytes).sum::<usize>();
    }

    /// Takes the entry at a place out; its value, if it has blocks of its own.
    #[inline]
    pub fn remove(&mut self, hasher: &KeyHasher, place: Place) -> Option<Value> {
        let hash = hasher.hash(self.get(place)?.key);
        self.len -= 1;
        let (value, few) = self.change_part(place.segment, |part| {
            let value = part.remove(hasher, hash, place.at);
            part.filter_removed(hasher, hash);
            (value, part.len() <= COLLAPSE_ENTRIES / 8)
        })?;
        if self.len == 0 {
            self.kind = Kind::Small(Part::default());
            self.bytes = 0;
        } else if few && self.len <= COLLAPSE_ENTRIES {
            self.collapse(hasher);
        }
        value
    }

    /// Takes the entry at a place out.
    pub fn take(&mut self, hasher: &KeyHasher, place: Place) -> Option<Taken> {
        let entry = self.get(place)?;
        let (expires_at_ms, short) = (entry.expires_at_ms, entry.value.object().is_none());
        let short = short.then(|| entry.value.to_value());
        let object = self.remove(hasher, place);
        Some(Taken { value: short.or(object)?, expires_at_ms })
    }

    /// A directory with few entries becomes a small table.
    #[cold]
    fn collapse(&mut self, hasher: &KeyHasher) {
        let live: usize = self.parts().map(Part::live_bytes).sum();
        if live > COLLAPSE_BYTES {
            return;
        }
        let filter_bits = self.filter_bits();
        let Kind::Split(directory) = &mut self.kind else { return };
        let mut whole = Part::for_records(self.len);
        for segment in directory.segments.drain(..) {
            segment.part.scatter(hasher, std::slice::from_mut(&mut whole), |_| 0);
        }
        whole.build_filter(hasher, filter_bits);
        self.kind = Kind::Small(whole);
        self.recount();
    }

    /// Gives an entry another value, use and, if it is told, end; the old value, if it had blocks
    /// of its own.
    #[inline]
    pub fn replace(
        &mut self,
        hasher: &KeyHasher,
        place: Place,
        value: New<'_>,
        usage: Usage,
        expires_at_ms: Option<u64>,
    ) -> Option<Value> {
        let place = self.with_room(hasher, place)?;
        self.change_part(place.segment, |part| part.replace(place.at, value, usage, expires_at_ms))?
    }

    /// The same entry, where there is room for a record.
    #[inline]
    fn with_room(&mut self, hasher: &KeyHasher, place: Place) -> Option<Place> {
        if self.part(place.segment)?.has_room() {
            return Some(place);
        }
        let key = self.get(place)?.key.to_vec();
        let hash = hasher.hash(&key);
        self.segment_with_room(hasher, hash, 0);
        self.find_where(hash, |entry| entry.key == key)
    }

    /// Changes a value in place if it has blocks of its own; `None` if it has not.
    #[inline]
    pub fn change_object<R>(
        &mut self,
        place: Place,
        change: impl FnOnce(&mut Value) -> R,
    ) -> Option<R> {
        self.change_part(place.segment, |part| part.change_object(place.at, change))?
    }

    /// Says when an entry ends; 0 for never. Where it is then.
    #[inline]
    pub fn set_expiry(
        &mut self,
        hasher: &KeyHasher,
        place: Place,
        expires_at_ms: u64,
    ) -> Option<Place> {
        let place = self.with_room(hasher, place)?;
        self.change_part(place.segment, |part| part.set_expiry(place.at, expires_at_ms))?;
        Some(place)
    }

    /// Visits every entry.
    pub fn visit(&self, mut visit: impl FnMut(Entry<'_>)) {
        self.parts().for_each(|part| part.visit(&mut visit));
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
    pub fn visit_segment(&self, from: u64, visit: impl FnMut(Entry<'_>)) -> Option<u64> {
        let (segment, next) = self.segment_at(from);
        if let Some(part) = self.part(segment) {
            part.visit(visit);
        }
        next
    }

    /// Puts the blocks of the one segment that holds position `from` elsewhere: how many bytes they
    /// have, and the position to go on from (`None` at the end).
    pub fn move_segment(&mut self, from: u64, before: BeforeMove<'_>) -> (usize, Option<u64>) {
        let (segment, next) = self.segment_at(from);
        let bytes = self.part_mut(segment).map_or(0, |part| part.move_blocks(before));
        (bytes, next)
    }

    /// Visits entries in the order of their places, from a position on, until none are `left`;
    /// the position to go on from, `None` at the end. Positions lose their meaning when the
    /// table grows: who follows them meets most entries once a round, not each.
    pub fn sweep(
        &self,
        from: u64,
        left: &mut usize,
        mut visit: impl FnMut(Entry<'_>),
    ) -> Option<u64> {
        let (mut segment, mut at) = ((from >> 32) as u32, (from & 0xffff_ffff) as At);
        loop {
            let part = self.part(segment)?;
            while let Some((found, entry)) = part.next(at) {
                if *left == 0 {
                    return Some(u64::from(segment) << 32 | u64::from(found));
                }
                visit(entry);
                *left -= 1;
                at = found + 1;
            }
            segment = match &self.kind {
                Kind::Small(_) => return None,
                Kind::Split(_) => segment + 1,
            };
            at = 0;
        }
    }

    /// Up to `count` entries that stand next to each other from a random place on.
    pub fn sample(&self, random: u64, count: usize, mut visit: impl FnMut(Entry<'_>)) {
        let (_, part) = self.part_of(random);
        if part.len() == 0 {
            return;
        }
        // The low half: clear of the segment's bits.
        let mut at = (random & 0xffff_ffff) as At % part.end();
        for _ in 0..count.min(part.len()) {
            let found = part.next(at).or_else(|| part.next(0));
            let Some((found, entry)) = found else { return };
            visit(entry);
            at = found + 1;
        }
    }

    /// Where its index begins and how many buckets that has, if it is one part with short
    /// addresses.
    #[inline]
    pub fn narrow_index(&self) -> Option<(*const u8, u32)> {
        match &self.kind {
            Kind::Small(part) => part.narrow_index(),
            Kind::Split(_) => None,
        }
    }

    /// Whether a key with this hash may have a value with blocks of its own.
    #[inline]
    pub fn may_be_object(&self, hash: u64) -> bool {
        self.part_of(hash).1.has_objects()
    }

    /// The value that a key with this hash probably has, if it has blocks of its own.
    #[inline]
    pub fn object(&self, hash: u64) -> Option<&Value> {
        self.part_of(hash).1.likely_object(hash)
    }

    /// Asks for the records that a key with this hash may have, or the place where it would get
    /// one; the index is near by now.
    #[inline]
    pub fn prefetch_entry(&self, hash: u64) {
        self.part_of(hash).1.prefetch(hash);
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
        let bit = POSITION_BITS - depth - 1;
        let old = std::mem::take(&mut self.segments[segment].part);
        let half = old.len() / 2 + old.len() / 16;
        let mut halves = [Part::for_records(half), Part::for_records(half)];
        old.scatter(hasher, &mut halves, |hash| (position(hash) >> bit & 1) as usize);
        let [low, high] = halves;
        let filtered = |mut part: Part| {
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
