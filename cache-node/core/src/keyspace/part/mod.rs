//! Part of a table: up to a few hundred keys, close together.
//!
//! A record holds a key, its value and all else that is known of it; pages hold records without
//! gaps; the `index` says where the record of a key stands. Only what is larger than a record has a
//! heap block of its own. `docs/decisions/0013-memory-layout.md` has the reasons and the figures.
//!
//! | file | what it is about |
//! |---|---|
//! | `record` | one key as bytes |
//! | `pages` | where records stand |
//! | `objects` | values, and keys, that are larger than a record |

mod objects;
mod pages;
pub mod record;

use super::entry::Entry;
use super::eviction::usage::Usage;
use super::filter::Filter;
use super::hash::KeyHasher;
use super::index::{At, Index};
use super::memory::block_bytes;
use super::moves::BeforeMove;
use super::values::{Value, ValueRef};
use crate::cache_line::{LINE_BYTES, line};
use objects::Objects;
use pages::{PAGE_BYTES, Pages};
use record::{Draft, Ends, Head, MAX_RECORD_BYTES, ObjectNumber};
use smallvec::SmallVec;

/// Holes are worth closing if they are more than this, and an eighth of all.
const MIN_HOLES_BYTES: usize = 24;
/// A part has no more bytes of records: whatever their order, with what is left free at the ends
/// of pages, their addresses then have 16 bits.
const MAX_LIVE_BYTES: usize =
    (1 << 16) / PAGE_BYTES * (PAGE_BYTES - MAX_RECORD_BYTES + 1) + MAX_RECORD_BYTES;
/// The bytes of a record whose lines are asked for before it is needed: 128 bytes, wherever in a
/// line they begin.
const PREFETCHED: [usize; 3] = [0, LINE_BYTES, 2 * LINE_BYTES - 1];
/// The base of a part's lifetimes is so long before the first of them.
const BASE_BEFORE_MS: u64 = 1 << 30;

/// A value that is to be kept.
pub enum New<'a> {
    /// A string that is no integer.
    Str(&'a [u8]),
    /// Any value.
    Value(Value),
}

/// Records and their index, and a filter of their keys if the store has one.
#[derive(Default)]
pub struct Part {
    pages: Pages,
    index: Index,
    objects: Option<Box<Objects>>,
    filter: Option<Box<Filter>>,
    len: u32,
    /// What near lifetimes are counted from; 0 before there is one.
    base_ms: u64,
}

/// What a record's kind and value will be.
struct Content {
    kind: u8,
    /// An integer or an object's number.
    bytes: [u8; 8],
    len: usize,
}

impl Content {
    fn object(number: ObjectNumber) -> Self {
        let mut bytes = [0; 8];
        bytes[..4].copy_from_slice(&number.to_le_bytes());
        Self { kind: record::OBJECT, bytes, len: 4 }
    }
}

/// The object's number in a record's bytes.
#[inline]
fn number(bytes: &[u8]) -> ObjectNumber {
    bytes.first_chunk().map_or(ObjectNumber::MAX, |bytes| ObjectNumber::from_le_bytes(*bytes))
}

impl Part {
    /// How many records it has.
    #[inline]
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// What stands on the heap for it, with its values and its filter.
    #[inline]
    pub fn heap_bytes(&self) -> usize {
        self.pages.heap_bytes()
            + self.index.heap_bytes()
            + self.objects.as_ref().map_or(0, |objects| objects.heap_bytes())
            + self.filter_bytes()
    }

    /// What of it is for the filter.
    #[inline]
    pub fn filter_bytes(&self) -> usize {
        match &self.filter {
            Some(filter) => filter.heap_bytes() + block_bytes(size_of::<Filter>()),
            None => 0,
        }
    }

    /// The filter of its keys.
    #[inline]
    pub fn filter(&self) -> Option<&Filter> {
        self.filter.as_deref()
    }

    /// How many bytes its records have, without holes.
    pub fn live_bytes(&self) -> usize {
        self.pages.used_bytes() - self.pages.dead_bytes()
    }

    #[inline]
    fn object(&self, number: ObjectNumber) -> Option<&Value> {
        self.objects.as_ref()?.get(number)
    }

    #[inline]
    fn key_of<'a>(&'a self, head: &Head, bytes: &'a [u8]) -> &'a [u8] {
        let key = head.key(bytes);
        if head.has_long_key() {
            return match self.object(number(key)) {
                Some(Value::Str(key)) => key,
                _ => &[],
            };
        }
        key
    }

    #[inline]
    fn entry_of<'a>(&'a self, bytes: &'a [u8]) -> Option<Entry<'a>> {
        let head = Head::read(bytes)?;
        let value = head.value(bytes);
        let value = match head.kind() {
            record::INT => ValueRef::Int(record::unpack_int(value)),
            record::STR => ValueRef::Str(value),
            record::RAW => ValueRef::Raw(value),
            _ => ValueRef::Object(self.object(number(value))?),
        };
        Some(Entry {
            key: self.key_of(&head, bytes),
            value,
            expires_at_ms: head.expires_at_ms(self.base_ms),
            usage: head.usage(),
            record_bytes: head.len(),
        })
    }

    /// Where the record of a key is.
    #[inline]
    pub fn find(&self, hash: u64, key: &[u8]) -> Option<At> {
        self.index.find(hash, |address| {
            let bytes = self.pages.at(address);
            Head::read(bytes).is_some_and(|head| self.key_of(&head, bytes) == key)
        })
    }

    /// Where a record with this hash is that `wanted` agrees to.
    pub fn find_where(&self, hash: u64, mut wanted: impl FnMut(&Entry<'_>) -> bool) -> Option<At> {
        self.index.find(hash, |address| {
            self.entry_of(self.pages.at(address)).is_some_and(|entry| wanted(&entry))
        })
    }

    /// What is at a place.
    #[inline]
    pub fn get(&self, at: At) -> Option<Entry<'_>> {
        self.entry_of(self.pages.at(self.index.address(at)?))
    }

    /// Where its index begins and how many buckets that has, if its addresses are short.
    #[inline]
    pub fn narrow_index(&self) -> Option<(*const u8, u32)> {
        self.index.narrow()
    }

    /// Asks for the records that a look-up probably reads; where there is none, for the place of a
    /// new one. The index is near by now.
    #[inline]
    pub fn prefetch(&self, hash: u64) {
        let mut is_new = true;
        for record in self.likely_records(hash) {
            is_new = false;
            for at in PREFETCHED {
                line(record.as_ptr().wrapping_add(at));
            }
        }
        if is_new {
            line(self.pages.end());
            line(self.pages.end().wrapping_add(LINE_BYTES));
        }
    }

    /// The beginnings of the records that a look-up probably reads.
    #[inline]
    fn likely_records(&self, hash: u64) -> impl Iterator<Item = &[u8]> {
        self.index.likely(hash).map(|address| self.pages.at(address))
    }

    /// Whether any value, or key, has blocks of its own.
    #[inline]
    pub fn has_objects(&self) -> bool {
        self.objects.is_some()
    }

    /// The value of the record that a look-up probably reads, if that has blocks of its own.
    #[inline]
    pub fn likely_object(&self, hash: u64) -> Option<&Value> {
        if !self.has_objects() {
            return None;
        }
        self.likely_records(hash).find_map(|bytes| match self.entry_of(bytes)?.value {
            ValueRef::Object(value) => Some(value),
            _ => None,
        })
    }

    /// Says how a record was used.
    #[inline]
    pub fn set_usage(&mut self, at: At, usage: Usage) {
        if let Some(address) = self.index.address(at) {
            record::set_usage(self.pages.at_mut(address), usage);
        }
    }

    /// Calls `visit` with every record, in the order in which they stand.
    #[inline]
    pub fn visit(&self, mut visit: impl FnMut(Entry<'_>)) {
        self.pages.visit(|_, bytes| {
            if let Some(entry) = self.entry_of(bytes) {
                visit(entry);
            }
        });
    }

    /// The next record at or behind a place of the index, and its place.
    #[inline]
    pub fn next(&self, at: At) -> Option<(At, Entry<'_>)> {
        let mut from = at;
        loop {
            let (at, address) = self.index.next(from)?;
            if let Some(entry) = self.entry_of(self.pages.at(address)) {
                return Some((at, entry));
            }
            from = at + 1;
        }
    }

    /// The place behind the last in the index.
    #[inline]
    pub fn end(&self) -> At {
        self.index.end()
    }

    /// Whether any record can be added.
    #[inline]
    pub fn has_room(&self) -> bool {
        self.index.is_wide()
            || (self.live_bytes() + MAX_RECORD_BYTES <= MAX_LIVE_BYTES
                && self.pages.has_room(MAX_RECORD_BYTES, self.index.max_address()))
    }

    /// Whether its addresses are wide; then it always has room.
    pub fn is_wide(&self) -> bool {
        self.index.is_wide()
    }

    /// Makes room by closing holes; false if there are few.
    pub fn squeeze(&mut self) -> bool {
        let squeezes = self.pages.dead_bytes() * 16 > self.pages.used_bytes();
        if squeezes {
            self.compact();
        }
        squeezes
    }

    /// Makes addresses wide, for a part that cannot be split.
    pub fn widen(&mut self, hasher: &KeyHasher) {
        self.index_anew(hasher, self.len(), true);
    }

    /// The number of a new object.
    fn put_object(&mut self, value: Value) -> ObjectNumber {
        self.objects.get_or_insert_default().put(value)
    }

    fn take_object(&mut self, number: ObjectNumber) -> Option<Value> {
        let objects = self.objects.as_mut()?;
        let value = objects.take(number);
        if objects.len() == 0 {
            self.objects = None;
        }
        value
    }

    fn ends(&mut self, expires_at_ms: u64) -> Ends {
        if self.base_ms == 0 && expires_at_ms != 0 {
            self.base_ms = expires_at_ms.saturating_sub(BASE_BEFORE_MS).max(1);
        }
        Ends::of(expires_at_ms, self.base_ms)
    }

    /// What a record will have of a value, or what makes it an object.
    fn content(&mut self, value: Value) -> Content {
        match value {
            Value::Int(value) => {
                let (bytes, len) = record::pack_int(value);
                Content { kind: record::INT, bytes, len }
            }
            value => Content::object(self.put_object(value)),
        }
    }

    /// Calls `run` with the kind and the bytes of a value that fits beside a key, and with those
    /// of the number of the object that any other value becomes.
    fn with_content<R>(
        &mut self,
        key_len: usize,
        new: New<'_>,
        run: impl FnOnce(&mut Self, u8, &[u8]) -> R,
    ) -> R {
        let value = match new {
            New::Str(bytes) if record::fits(key_len, bytes.len()) => {
                return run(self, record::STR, bytes);
            }
            New::Str(bytes) => Value::Str(bytes.into()),
            New::Value(value) => value,
        };
        let kind = if matches!(value, Value::Raw(_)) { record::RAW } else { record::STR };
        match &value {
            Value::Inline { .. } | Value::Str(_) | Value::Raw(_) => {
                let mut buffer = itoa::Buffer::new();
                if let Some(bytes) = value.as_bytes(&mut buffer)
                    && record::fits(key_len, bytes.len())
                {
                    return run(self, kind, bytes);
                }
            }
            _ => {}
        }
        let content = self.content(value);
        run(self, content.kind, &content.bytes[..content.len])
    }

    /// Adds a key that is not there. There is room ([`Self::has_room`]).
    pub fn insert(
        &mut self,
        hasher: &KeyHasher,
        hash: u64,
        key: &[u8],
        new: New<'_>,
        expires_at_ms: u64,
        usage: Usage,
    ) {
        if self.len() >= self.index.capacity() {
            self.index_anew(hasher, self.len() + 1, self.index.is_wide());
        }
        let ends = self.ends(expires_at_ms);
        let long_key = record::is_long(key.len());
        let long = long_key.then(|| self.put_object(Value::Str(key.into())).to_le_bytes());
        let stored = long.as_ref().map_or(key, |number| number.as_slice());
        self.with_content(key.len(), new, |part, kind, value| {
            let draft = Draft { kind, long_key, key: stored, value, ends, usage };
            let len = draft.len();
            let address = part.pages.take(len);
            draft.write(part.pages.at_mut(address));
            part.index.insert(hash, address);
        });
        self.len += 1;
    }

    /// Takes the record with this hash at a place out; its value, if it was an object.
    pub fn remove(&mut self, hasher: &KeyHasher, hash: u64, at: At) -> Option<Value> {
        let address = self.index.address(at)?;
        let bytes = self.pages.at(address);
        let head = Head::read(bytes)?;
        let key = head.has_long_key().then(|| number(head.key(bytes)));
        let value = (head.kind() == record::OBJECT).then(|| number(head.value(bytes)));
        self.pages.free(address, head.len());
        self.index.remove(hash, at);
        self.len -= 1;
        if let Some(key) = key {
            self.take_object(key);
        }
        let value = value.and_then(|value| self.take_object(value));
        if self.len == 0 {
            let filter = self.filter.take();
            *self = Self { filter, ..Self::default() };
            return value;
        }
        self.tidy();
        if self.len() * 8 < self.index.capacity() * 5 {
            let fit = self.len() + self.len() / 8;
            if self.index.is_too_large_for(fit) {
                self.index_anew(hasher, fit, self.index.is_wide());
            }
        }
        value
    }

    /// Closes holes if there are many.
    #[inline]
    fn tidy(&mut self) {
        let dead = self.pages.dead_bytes();
        if dead > MIN_HOLES_BYTES && dead * 8 > self.pages.used_bytes() {
            self.compact();
        }
    }

    /// Writes all records anew, in the order of the index.
    #[cold]
    fn compact(&mut self) {
        if self.objects.as_ref().is_some_and(|objects| objects.is_sparse()) {
            self.renumber();
        }
        let base_ms = self.better_base_ms();
        let mut pages = Pages::default();
        let mut at = 0;
        while let Some((place, address)) = self.index.next(at) {
            at = place + 1;
            let bytes = self.pages.at(address);
            let Some(head) = Head::read(bytes) else { continue };
            let new = match base_ms {
                None => {
                    let new = pages.take(head.len());
                    pages.at_mut(new)[..head.len()].copy_from_slice(&bytes[..head.len()]);
                    new
                }
                Some(base_ms) => {
                    let ends = Ends::of(head.expires_at_ms(self.base_ms), base_ms);
                    let draft = head.draft(bytes, ends);
                    let new = pages.take(draft.len());
                    draft.write(pages.at_mut(new));
                    new
                }
            };
            self.index.set_address(place, new);
        }
        self.pages = pages;
        self.base_ms = base_ms.unwrap_or(self.base_ms);
    }

    /// Another base for lifetimes, if theirs is so old that new ones are far from it.
    fn better_base_ms(&self) -> Option<u64> {
        if self.base_ms == 0 {
            return None;
        }
        let mut least = u64::MAX;
        self.pages.visit(|_, bytes| {
            let ends_at_ms = Head::read(bytes).map_or(0, |head| head.expires_at_ms(self.base_ms));
            if ends_at_ms != 0 {
                least = least.min(ends_at_ms);
            }
        });
        let base_ms = least.saturating_sub(BASE_BEFORE_MS).max(1);
        (least != u64::MAX && base_ms.abs_diff(self.base_ms) > BASE_BEFORE_MS).then_some(base_ms)
    }

    /// Gives objects new numbers, without free ones between them.
    fn renumber(&mut self) {
        let Some(mut old) = self.objects.take() else { return };
        let mut new = Objects::default();
        let mut at = 0;
        while let Some((place, address)) = self.index.next(at) {
            at = place + 1;
            let bytes = self.pages.at_mut(address);
            let Some(head) = Head::read(bytes) else { continue };
            let mut change = |bytes: &mut [u8]| {
                if let Some(value) = old.take(number(bytes)) {
                    bytes.copy_from_slice(&new.put(value).to_le_bytes());
                }
            };
            if head.has_long_key() {
                change(head.key_mut(bytes));
            }
            if head.kind() == record::OBJECT {
                change(head.value_mut(bytes));
            }
        }
        self.objects = Some(Box::new(new));
    }

    /// Makes the index anew, for so many records.
    #[cold]
    fn index_anew(&mut self, hasher: &KeyHasher, records: usize, wide: bool) {
        let mut index = Index::for_records(records, wide);
        self.pages.visit(|address, bytes| {
            if let Some(head) = Head::read(bytes) {
                index.insert(hasher.hash(self.key_of(&head, bytes)), address);
            }
        });
        self.index = index;
    }

    /// Gives a record another value; the old one, if it was an object. There is room
    /// ([`Self::has_room`]).
    pub fn replace(
        &mut self,
        at: At,
        new: New<'_>,
        usage: Usage,
        expires_at_ms: Option<u64>,
    ) -> Option<Value> {
        let address = self.index.address(at)?;
        let bytes = self.pages.at(address);
        let head = Head::read(bytes)?;
        let old = (head.kind() == record::OBJECT).then(|| number(head.value(bytes)));
        let long_key = head.has_long_key();
        let key: SmallVec<[u8; 64]> = SmallVec::from_slice(head.key(bytes));
        let ends = match expires_at_ms {
            Some(at_ms) => self.ends(at_ms),
            None => head.ends(),
        };
        // Gone before the new one comes, so that it can take its number.
        let old = old.and_then(|old| self.take_object(old));
        let key_len = if long_key { usize::MAX / 2 } else { key.len() };
        self.with_content(key_len, new, |part, kind, value| {
            let draft = Draft { kind, long_key, key: &key, value, ends, usage };
            part.rewrite(at, address, head.len(), &draft);
        });
        self.tidy();
        old
    }

    /// Puts a record in the place of one.
    fn rewrite(&mut self, at: At, address: u32, old_len: usize, draft: &Draft<'_>) {
        let len = draft.len();
        if len <= old_len {
            draft.write(self.pages.at_mut(address));
            if len < old_len {
                self.pages.pad(address + len as u32, old_len - len);
            }
            return;
        }
        self.pages.free(address, old_len);
        let new = self.pages.take(len);
        draft.write(self.pages.at_mut(new));
        self.index.set_address(at, new);
    }

    /// Changes a value that is an object in place; `None` if it is not.
    #[inline]
    pub fn change_object<R>(&mut self, at: At, change: impl FnOnce(&mut Value) -> R) -> Option<R> {
        let bytes = self.pages.at(self.index.address(at)?);
        let head = Head::read(bytes)?;
        if head.kind() != record::OBJECT {
            return None;
        }
        let number = number(head.value(bytes));
        self.objects.as_mut()?.change(number, change)
    }

    /// Says when a record ends, 0 for never. There is room ([`Self::has_room`]).
    pub fn set_expiry(&mut self, at: At, expires_at_ms: u64) {
        let ends = self.ends(expires_at_ms);
        let Some(address) = self.index.address(at) else { return };
        let bytes = self.pages.at_mut(address);
        let Some(head) = Head::read(bytes) else { return };
        if head.set_ends(bytes, ends) {
            return;
        }
        let old: SmallVec<[u8; MAX_RECORD_BYTES]> = SmallVec::from_slice(&bytes[..head.len()]);
        self.rewrite(at, address, head.len(), &head.draft(&old, ends));
        self.tidy();
    }

    /// Puts its blocks elsewhere; how many bytes they have. No place changes.
    pub fn move_blocks(&mut self, before: BeforeMove<'_>) -> usize {
        self.pages.move_blocks(before)
            + self.index.move_blocks(before)
            + self.objects.as_mut().map_or(0, |objects| objects.move_blocks(before))
    }

    /// Moves all records to other parts: `choose` says to which of them those of a hash go.
    pub fn scatter(mut self, hasher: &KeyHasher, into: &mut [Self], choose: impl Fn(u64) -> usize) {
        let pages = std::mem::take(&mut self.pages);
        pages.visit(|_, bytes| {
            let Some(head) = Head::read(bytes) else { return };
            let key = head.key(bytes);
            let long_key = match head.has_long_key() {
                true => self.take_object(number(key)),
                false => None,
            };
            let object = match head.kind() {
                record::OBJECT => self.take_object(number(head.value(bytes))),
                _ => None,
            };
            let full_key = match &long_key {
                Some(Value::Str(key)) => key,
                _ => key,
            };
            let hash = hasher.hash(full_key);
            let Some(to) = into.get_mut(choose(hash)) else { return };
            let object = object.map(|object| to.put_object(object).to_le_bytes());
            let long_key = long_key.map(|key| to.put_object(key).to_le_bytes());
            let draft = Draft {
                kind: head.kind(),
                long_key: head.has_long_key(),
                key: long_key.as_ref().map_or(key, |number| number.as_slice()),
                value: object.as_ref().map_or(head.value(bytes), |number| number.as_slice()),
                ends: to.ends(head.expires_at_ms(self.base_ms)),
                usage: head.usage(),
            };
            if to.len() >= to.index.capacity() {
                to.index_anew(hasher, to.len() + 1, to.index.is_wide());
            }
            let address = to.pages.take(draft.len());
            draft.write(to.pages.at_mut(address));
            to.index.insert(hash, address);
            to.len += 1;
        });
    }

    /// A part with room in its index for so many records.
    pub fn for_records(records: usize) -> Self {
        Self { index: Index::for_records(records, false), ..Self::default() }
    }

    /// Makes the filter from the records; with no bits there is none.
    pub fn build_filter(&mut self, hasher: &KeyHasher, bits: u8) {
        // The old one goes first, so that both are never there together.
        self.filter = None;
        if bits > 0 && self.len > 0 {
            let mut hashes = Vec::with_capacity(self.len());
            self.visit(|entry| hashes.push(hasher.hash(entry.key)));
            self.filter = Filter::build(bits, self.len(), || hashes.iter().copied()).map(Box::new);
        }
    }

    /// A record with this hash was added.
    pub fn filter_added(&mut self, hasher: &KeyHasher, hash: u64, bits: u8) {
        let fitted = match &mut self.filter {
            Some(filter) => filter.insert(hash),
            // Without a filter all else is right: it is made with the first key, or by
            // `Table::tend_filter`.
            None => self.len != 1,
        };
        if !fitted {
            self.build_filter(hasher, bits);
        }
    }

    /// A record with this hash was taken out.
    pub fn filter_removed(&mut self, hasher: &KeyHasher, hash: u64) {
        if let Some(filter) = &mut self.filter {
            filter.remove(hash);
            if filter.is_sparse() {
                let bits = filter.bits();
                self.build_filter(hasher, bits);
            }
        }
    }
}

#[cfg(test)]
#[path = "part_tests.rs"]
mod tests;
