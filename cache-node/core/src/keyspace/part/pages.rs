//! Where records stand: pages that are filled from the front, the last one no larger than it must.
//!
//! An *address* counts bytes over all pages. A record that is gone leaves a hole; the part writes
//! all its records anew, without holes, when these are an eighth of the whole.

use super::super::memory::{block_bytes, passing_block_bytes};
use super::record;
use smallvec::SmallVec;

/// A size class of jemalloc of which four fill 28 KiB without a rest.
pub const PAGE_BYTES: usize = 7168;
/// So many full pages need no block for their list.
const INLINE_PAGES: usize = 4;

/// How long the last page is for so many bytes. Few sizes: those that tables grow out of leave the
/// allocator's runs of them half empty. That is dearer than what a size too large costs.
fn tail_bytes(used: usize, is_first: bool) -> usize {
    match used {
        0..=2048 if is_first => passing_block_bytes(used),
        0..=1024 => 1024,
        1025..=2048 => 2048,
        2049..=4096 => 4096,
        _ => used.next_multiple_of(1024).min(PAGE_BYTES),
    }
}

/// Records, one behind the other.
#[derive(Default)]
pub struct Pages {
    full: SmallVec<[Box<[u8; PAGE_BYTES]>; INLINE_PAGES]>,
    tail: Box<[u8]>,
    /// How much of the tail is used.
    used: u32,
    /// Bytes of holes and paddings.
    dead: u32,
}

impl Pages {
    /// What stands on the heap for it.
    #[inline]
    pub fn heap_bytes(&self) -> usize {
        let list = if self.full.spilled() { self.full.capacity() * size_of::<usize>() } else { 0 };
        self.full.len() * block_bytes(PAGE_BYTES) + block_bytes(list) + block_bytes(self.tail.len())
    }

    /// Where the next record will stand, unless that needs another page.
    #[inline]
    pub fn end(&self) -> *const u8 {
        self.tail.as_ptr().wrapping_add(self.used as usize)
    }

    /// Bytes of holes.
    #[inline]
    pub fn dead_bytes(&self) -> usize {
        self.dead as usize
    }

    /// Bytes of records and holes.
    #[inline]
    pub fn used_bytes(&self) -> usize {
        self.full.len() * PAGE_BYTES + self.used as usize
    }

    /// Where a record of this length would stand.
    #[inline]
    fn next_address(&self, len: usize) -> usize {
        let used = self.used as usize;
        let place = if used + len <= PAGE_BYTES { used } else { PAGE_BYTES };
        self.full.len() * PAGE_BYTES + place
    }

    /// Whether a record of this length would stand at an address of no more than `max`.
    #[inline]
    pub fn has_room(&self, len: usize, max: u32) -> bool {
        self.next_address(len) <= max as usize
    }

    /// Takes room for a record; its address.
    #[inline]
    pub fn take(&mut self, len: usize) -> u32 {
        let address = self.next_address(len);
        if self.used as usize + len > self.tail.len() {
            self.grow(len);
        }
        self.used += len as u32;
        address as u32
    }

    #[cold]
    fn grow(&mut self, len: usize) {
        let used = self.used as usize;
        if used + len <= PAGE_BYTES {
            let mut tail = std::mem::take(&mut self.tail).into_vec();
            tail.truncate(used);
            let size = tail_bytes(used + len, self.full.is_empty());
            tail.reserve_exact(size - used);
            tail.resize(size, 0);
            self.tail = tail.into_boxed_slice();
            return;
        }
        let mut tail = std::mem::take(&mut self.tail).into_vec();
        tail.truncate(used);
        tail.resize(PAGE_BYTES, 0);
        if let Ok(page) = <Box<[u8; PAGE_BYTES]>>::try_from(tail.into_boxed_slice()) {
            self.full.push(page);
        }
        self.tail = vec![0; tail_bytes(len, self.full.is_empty())].into_boxed_slice();
        self.used = 0;
    }

    #[cold]
    fn fit_tail(&mut self) {
        let mut tail = std::mem::take(&mut self.tail).into_vec();
        tail.truncate(tail_bytes(self.used as usize, self.full.is_empty()));
        self.tail = tail.into_boxed_slice();
    }

    /// All bytes from an address to the end of its page.
    #[inline]
    pub fn at(&self, address: u32) -> &[u8] {
        let (page, at) = (address as usize / PAGE_BYTES, address as usize % PAGE_BYTES);
        match self.full.get(page) {
            Some(page) => page.get(at..).unwrap_or_default(),
            None => self.tail.get(at..self.used as usize).unwrap_or_default(),
        }
    }

    /// The same, to write there.
    #[inline]
    pub fn at_mut(&mut self, address: u32) -> &mut [u8] {
        let (page, at) = (address as usize / PAGE_BYTES, address as usize % PAGE_BYTES);
        match self.full.get_mut(page) {
            Some(page) => page.get_mut(at..).unwrap_or_default(),
            None => self.tail.get_mut(at..self.used as usize).unwrap_or_default(),
        }
    }

    /// The record at an address is none any more.
    pub fn free(&mut self, address: u32, len: usize) {
        let last = address as usize + len == self.used_bytes()
            && address as usize >= self.full.len() * PAGE_BYTES;
        if last {
            self.used -= len as u32;
            if self.used as usize * 2 < self.tail.len() {
                self.fit_tail();
            }
            return;
        }
        record::make_hole(self.at_mut(address), len);
        self.dead += len as u32;
    }

    /// A record became shorter: the bytes behind it are nothing.
    pub fn pad(&mut self, address: u32, len: usize) {
        self.at_mut(address)[..len].fill(0);
        self.dead += len as u32;
    }

    /// Calls `visit` with the address of each record and the bytes from there on, in their order.
    #[inline]
    pub fn visit<'a>(&'a self, mut visit: impl FnMut(u32, &'a [u8])) {
        let tail = self.tail.get(..self.used as usize).unwrap_or_default();
        let full = self.full.iter().map(|page| page.as_slice());
        for (index, page) in full.chain([tail]).enumerate() {
            let mut at = 0;
            while let Some((start, end)) = record::next(page, at) {
                visit((index * PAGE_BYTES + start) as u32, &page[start..]);
                at = end;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_a_block_without_a_rest() {
        assert_eq!(block_bytes(PAGE_BYTES), PAGE_BYTES);
        const { assert!(PAGE_BYTES > 4 * record::MAX_RECORD_BYTES) };
    }

    #[test]
    fn room_is_taken_page_after_page_and_the_last_one_is_small() {
        let mut pages = Pages::default();
        let mut last = None;
        for i in 0..500u32 {
            let len = 100 + i as usize % 7;
            let address = pages.take(len);
            assert!(last.is_none_or(|last| address > last));
            assert!(address as usize % PAGE_BYTES + len <= PAGE_BYTES);
            assert!(pages.at(address).len() >= len);
            last = Some(address);
            assert!(pages.heap_bytes() <= 2 * pages.used_bytes() + 200);
        }
        assert!(pages.has_room(100, u32::MAX) && !pages.has_room(100, last.unwrap()));
    }
}
