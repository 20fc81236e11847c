//! A cuckoo filter that a client keeps under a key (CF.*): fingerprints of one byte in buckets, in
//! up to 32 sub-filters of which each may be larger than the one before.
//!
//! "Cuckoo Filter: Practically Better Than Bloom" (Fan, Andersen, Kaminsky, Mitzenmacher 2014). Hash,
//! fingerprint and dump are those of RedisBloom, as far as its documentation of CF.SCANDUMP shows
//! them, so that what one dumps the other loads; the hash has no secret key, because a dump must mean
//! the same on every member. Cells come in pages that are made when they are first written, so that
//! no filter, and no header that a client sends, allocates more than is used.

use super::super::memory::block_bytes;

pub mod murmur;
mod sub_filter;

use murmur::murmur64a;
use sub_filter::SubFilter;

/// What a filter gets whose capacity nobody says.
pub const DEFAULT_CAPACITY: u64 = 1024;
/// The largest capacity, and the most cells of one sub-filter.
pub const MAX_CAPACITY: u64 = 1 << 30;
/// The most sub-filters.
pub const MAX_FILTERS: u64 = 32;
/// The length of a dump's header.
pub const HEADER_BYTES: usize = 46;
/// The most cells in one chunk of a dump.
const CHUNK_BYTES: u64 = 1 << 20;

/// How a filter is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Cells in a bucket.
    pub bucket_size: u8,
    /// How often an insert moves a fingerprint before the filter counts as full.
    pub max_iterations: u16,
    /// How much larger each sub-filter is than the one before; 0: there is only one.
    pub expansion: u16,
}

impl Default for Shape {
    fn default() -> Self {
        Self { bucket_size: 2, max_iterations: 20, expansion: 1 }
    }
}

/// Why an item was not added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// It has no room and may not grow.
    Fixed,
    /// It has grown as far as it may.
    Grown,
}

/// What moves an insert may still make, over all items of one command.
#[derive(Debug)]
pub struct Patience(u32);

impl Default for Patience {
    /// A million moves: some milliseconds.
    fn default() -> Self {
        Self(1 << 20)
    }
}

/// A filter.
#[derive(Debug, Clone)]
pub struct Cuckoo {
    shape: Shape,
    filters: Vec<SubFilter>,
    items: u64,
    deleted: u64,
    /// What the sub-filters have on the heap.
    bytes: usize,
}

/// An item's fingerprint, and where it may be.
#[derive(Debug, Clone, Copy)]
struct Place {
    fingerprint: u8,
    one: u64,
    two: u64,
}

impl Place {
    fn of(item: &[u8]) -> Self {
        let hash = murmur64a(item);
        let fingerprint = (hash % 255 + 1) as u8;
        Self { fingerprint, one: hash, two: other(hash, fingerprint) }
    }
}

/// The other place of a fingerprint.
fn other(hash: u64, fingerprint: u8) -> u64 {
    hash ^ (u64::from(fingerprint) * 0x5bd1_e995)
}

impl Cuckoo {
    /// An empty filter; the capacity is [`MAX_CAPACITY`] at most.
    pub fn new(capacity: u64, shape: Shape) -> Self {
        let expansion = match shape.expansion {
            0 => 0,
            expansion => expansion.checked_next_power_of_two().unwrap_or(1 << 15),
        };
        let shape = Shape { expansion, bucket_size: shape.bucket_size.max(1), ..shape };
        let buckets = (capacity.clamp(1, MAX_CAPACITY) / u64::from(shape.bucket_size)).max(1);
        let mut made = Self { shape, filters: Vec::new(), items: 0, deleted: 0, bytes: 0 };
        made.push(buckets.next_power_of_two());
        made
    }

    /// How it is laid out.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// Items that were added, less those that were deleted.
    pub fn items(&self) -> u64 {
        self.items
    }

    /// Items that were deleted.
    pub fn deleted(&self) -> u64 {
        self.deleted
    }

    /// Buckets of the first sub-filter.
    pub fn buckets(&self) -> u64 {
        self.filters.first().map_or(0, SubFilter::buckets)
    }

    /// How many sub-filters there are.
    pub fn filters(&self) -> usize {
        self.filters.len()
    }

    /// What stands on the heap for it, but for its own block.
    pub fn heap_bytes(&self) -> usize {
        self.bytes + block_bytes(self.filters.capacity() * size_of::<SubFilter>())
    }

    fn push(&mut self, buckets: u64) {
        let filter = SubFilter::new(buckets, self.shape.bucket_size);
        self.bytes += filter.heap_bytes();
        self.filters.push(filter);
    }

    /// Does something to a sub-filter and accounts for its pages.
    fn with<R>(&mut self, index: usize, run: impl FnOnce(&mut SubFilter) -> R) -> Option<R> {
        let filter = self.filters.get_mut(index)?;
        let before = filter.heap_bytes();
        let result = run(filter);
        self.bytes = self.bytes + filter.heap_bytes() - before;
        Some(result)
    }

    /// Whether the item may be in it; false: it surely is not.
    pub fn contains(&self, item: &[u8]) -> bool {
        let place = Place::of(item);
        self.filters.iter().any(|filter| filter.has(place))
    }

    /// About how often the item was added: not too low.
    pub fn count(&self, item: &[u8]) -> u64 {
        let place = Place::of(item);
        self.filters.iter().map(|filter| filter.count(place)).sum()
    }

    /// Adds an item, once more if it is there already.
    ///
    /// # Errors
    /// There is no room. Nothing was changed then.
    pub fn insert(&mut self, item: &[u8], patience: &mut Patience) -> Result<(), Full> {
        let place = Place::of(item);
        for index in (0..self.filters.len()).rev() {
            if self.with(index, |filter| filter.put(place)) == Some(true) {
                self.items = self.items.saturating_add(1);
                return Ok(());
            }
        }
        let moves = u32::from(self.shape.max_iterations).min(patience.0);
        let last = self.filters.len().saturating_sub(1);
        let (placed, moved) =
            self.with(last, |filter| filter.kick(place, moves)).unwrap_or((false, 0));
        patience.0 -= moved.min(patience.0);
        if !placed {
            self.grow()?;
            self.with(self.filters.len() - 1, |filter| filter.put(place));
        }
        self.items = self.items.saturating_add(1);
        Ok(())
    }

    fn grow(&mut self) -> Result<(), Full> {
        if self.shape.expansion == 0 {
            return Err(Full::Fixed);
        }
        let last = self.filters.last().map_or(1, SubFilter::buckets);
        let buckets = last.saturating_mul(u64::from(self.shape.expansion));
        let cells = buckets.saturating_mul(u64::from(self.shape.bucket_size));
        // As a first sub-filter of the largest capacity would have.
        let most = MAX_CAPACITY.next_power_of_two() * 2;
        if self.filters.len() as u64 >= MAX_FILTERS || cells > most {
            return Err(Full::Grown);
        }
        self.push(buckets);
        Ok(())
    }

    /// Takes an item out once; false if it surely is not there.
    pub fn remove(&mut self, item: &[u8]) -> bool {
        let place = Place::of(item);
        for filter in self.filters.iter_mut().rev() {
            if filter.take(place) {
                self.items = self.items.saturating_sub(1);
                self.deleted = self.deleted.saturating_add(1);
                return true;
            }
        }
        false
    }

    /// The header of a dump: counts and shape, with the lowest bytes first.
    pub fn header(&self) -> [u8; HEADER_BYTES] {
        let mut header = [0; HEADER_BYTES];
        let words = [self.items, self.buckets(), self.deleted, self.filters.len() as u64];
        for (at, word) in header.chunks_exact_mut(8).zip(words) {
            at.copy_from_slice(&word.to_le_bytes());
        }
        let Shape { bucket_size, max_iterations, expansion } = self.shape;
        let halves = [u16::from(bucket_size), max_iterations, expansion];
        for (at, half) in header[32..38].chunks_exact_mut(2).zip(halves) {
            at.copy_from_slice(&half.to_le_bytes());
        }
        header
    }

    /// A filter as a dump's header describes it, its cells empty; `None` if there can be none.
    pub fn from_header(header: &[u8]) -> Option<Self> {
        let header: &[u8; HEADER_BYTES] = header.try_into().ok()?;
        let word = |at: usize| {
            let bytes = header[at..at + 8].iter().rev();
            bytes.fold(0u64, |word, byte| word << 8 | u64::from(*byte))
        };
        let half = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
        let [items, buckets, deleted, filters] = [0, 8, 16, 24].map(word);
        let shape = Shape {
            bucket_size: u8::try_from(half(32)).ok().filter(|size| *size > 0)?,
            max_iterations: Some(half(34)).filter(|most| *most > 0)?,
            expansion: Some(half(36)).filter(|by| *by == 0 || by.is_power_of_two())?,
        };
        if !buckets.is_power_of_two()
            || buckets > MAX_CAPACITY
            || !(1..=MAX_FILTERS).contains(&filters)
            || (filters > 1 && shape.expansion == 0)
        {
            return None;
        }
        let mut made = Self::new(buckets * u64::from(shape.bucket_size), shape);
        if made.buckets() != buckets {
            return None;
        }
        while (made.filters.len() as u64) < filters {
            made.grow().ok()?;
        }
        let cells: u64 = made.filters.iter().map(SubFilter::cells).sum();
        if items > cells {
            return None;
        }
        (made.items, made.deleted) = (items, deleted);
        Some(made)
    }

    /// The pages in which something is or was: of which sub-filter, which page of it, and its cells.
    pub fn pages(&self) -> impl Iterator<Item = (usize, usize, &[u8])> {
        let filters = self.filters.iter().enumerate();
        filters.flat_map(|(at, filter)| filter.pages().map(move |(page, cells)| (at, page, cells)))
    }

    /// Puts a page where it was; false if there is no such page, or it has another length.
    pub fn load_page(&mut self, filter: usize, page: usize, cells: &[u8]) -> bool {
        self.with(filter, |filter| filter.load_page(page, cells)) == Some(true)
    }

    /// The part of a dump after a position (1 for the first), with the position after it; `None`
    /// behind the end. All sub-filters' cells are counted one after the other.
    pub fn chunk(&self, position: u64) -> Option<(u64, Vec<u8>)> {
        let mut from = position.checked_sub(1)?;
        for filter in &self.filters {
            match from.checked_sub(filter.cells()) {
                Some(rest) => from = rest,
                None => {
                    let len = (filter.cells() - from).min(CHUNK_BYTES);
                    return Some((position + len, filter.read(from, len as usize)));
                }
            }
        }
        None
    }

    /// Puts a chunk of a dump where it was, given the position after it; false if it does not fit
    /// there.
    pub fn load(&mut self, position: u64, chunk: &[u8]) -> bool {
        let len = chunk.len() as u64;
        let Some(mut from) = position.checked_sub(len).and_then(|at| at.checked_sub(1)) else {
            return false;
        };
        if len == 0 {
            return false;
        }
        for index in 0..self.filters.len() {
            let cells = self.filters[index].cells();
            match from.checked_sub(cells) {
                Some(rest) => from = rest,
                None if len > cells - from => return false,
                None => return self.with(index, |filter| filter.write(from, chunk)).is_some(),
            }
        }
        false
    }
}

#[cfg(test)]
#[path = "cuckoo/cuckoo_tests.rs"]
mod tests;
