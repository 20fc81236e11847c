//! A run of a list's elements, packed into one block.

use super::super::memory::block_bytes;
use std::collections::VecDeque;

/// A chunk takes no further element beyond this many bytes, unless it is empty.
pub const CHUNK_BYTES: usize = 4096;
/// A chunk takes no further element beyond this many.
pub const CHUNK_ELEMENTS: usize = 128;

/// Elements one after the other in `bytes[start..]`, with room in front for pushes to the head.
#[derive(Debug, Clone, Default)]
pub struct Chunk {
    bytes: Vec<u8>,
    start: usize,
    lens: VecDeque<u32>,
}

impl Chunk {
    /// How many elements it holds.
    #[inline]
    pub fn len(&self) -> usize {
        self.lens.len()
    }

    /// Whether an element of so many bytes may be added.
    #[inline]
    pub fn has_room(&self, bytes: usize) -> bool {
        self.lens.is_empty()
            || (self.lens.len() < CHUNK_ELEMENTS && self.used() + bytes <= CHUNK_BYTES)
    }

    /// What stands on the heap for it.
    #[inline]
    pub fn heap_bytes(&self) -> usize {
        block_bytes(self.bytes.capacity()) + block_bytes(self.lens.capacity() * size_of::<u32>())
    }

    fn used(&self) -> usize {
        self.bytes.len() - self.start
    }

    /// Where an element's bytes start.
    fn offset(&self, index: usize) -> usize {
        // Sum from the nearer end.
        if index <= self.lens.len() / 2 {
            self.start + self.lens.range(..index).map(|len| *len as usize).sum::<usize>()
        } else {
            self.bytes.len() - self.lens.range(index..).map(|len| *len as usize).sum::<usize>()
        }
    }

    /// An element.
    #[inline]
    pub fn get(&self, index: usize) -> Option<&[u8]> {
        let len = *self.lens.get(index)? as usize;
        let start = self.offset(index);
        self.bytes.get(start..start + len)
    }

    /// Adds an element at the tail.
    pub fn push_back(&mut self, element: &[u8]) {
        self.bytes.extend_from_slice(element);
        self.lens.push_back(element.len() as u32);
    }

    /// Adds an element at the head.
    pub fn push_front(&mut self, element: &[u8]) {
        if self.start < element.len() {
            // New room in front, as much as is used already (and never much more than a chunk).
            let room = element.len().max(self.used().min(CHUNK_BYTES));
            let mut bytes = Vec::with_capacity(room + self.used());
            bytes.resize(room, 0);
            bytes.extend_from_slice(&self.bytes[self.start..]);
            self.bytes = bytes;
            self.start = room;
        }
        let start = self.start - element.len();
        self.bytes[start..self.start].copy_from_slice(element);
        self.start = start;
        self.lens.push_front(element.len() as u32);
    }

    /// Takes the element at the head away, after [`Self::get`] read it.
    pub fn drop_front(&mut self) {
        if let Some(len) = self.lens.pop_front() {
            self.start += len as usize;
        }
    }

    /// Takes the element at the tail away, after [`Self::get`] read it.
    pub fn drop_back(&mut self) {
        if let Some(len) = self.lens.pop_back() {
            self.bytes.truncate(self.bytes.len() - len as usize);
        }
    }

    /// Replaces an element that exists.
    pub fn set(&mut self, index: usize, element: &[u8]) {
        let Some(old) = self.lens.get(index).map(|len| *len as usize) else { return };
        let start = self.offset(index);
        if old == element.len() {
            self.bytes[start..start + old].copy_from_slice(element);
        } else {
            self.bytes.splice(start..start + old, element.iter().copied());
        }
        self.lens[index] = element.len() as u32;
    }

    /// Puts an element before the one at `index`, which is at most the length.
    pub fn insert(&mut self, index: usize, element: &[u8]) {
        let start = self.offset(index);
        self.bytes.splice(start..start, element.iter().copied());
        self.lens.insert(index, element.len() as u32);
    }

    /// Cuts off the elements from `index` on and returns them as a chunk.
    pub fn split_off(&mut self, index: usize) -> Self {
        let start = self.offset(index);
        let bytes = self.bytes.split_off(start);
        Self { bytes, start: 0, lens: self.lens.split_off(index) }
    }

    /// Takes the first `count` elements away.
    pub fn drop_head(&mut self, count: usize) {
        self.start = self.offset(count.min(self.lens.len()));
        self.lens.drain(..count.min(self.lens.len()));
    }

    /// Keeps the first `count` elements.
    pub fn truncate(&mut self, count: usize) {
        if count < self.lens.len() {
            let end = self.offset(count);
            self.bytes.truncate(end);
            self.lens.truncate(count);
        }
    }

    /// Keeps the elements that `keep` says, in order from the head.
    pub fn retain(&mut self, mut keep: impl FnMut(&[u8]) -> bool) {
        let (mut read, mut write) = (self.start, self.start);
        let bytes = &mut self.bytes;
        self.lens.retain(|len| {
            let len = *len as usize;
            let kept = keep(&bytes[read..read + len]);
            if kept {
                bytes.copy_within(read..read + len, write);
                write += len;
            }
            read += len;
            kept
        });
        self.bytes.truncate(write);
    }

    /// Gives room back that is far more than is used.
    pub fn tighten(&mut self) {
        let used = self.used();
        if self.bytes.capacity() > 4 * used.max(64) {
            self.bytes = self.bytes[self.start..].to_vec();
            self.start = 0;
        }
        if self.lens.capacity() > 4 * self.lens.len().max(16) {
            self.lens.shrink_to_fit();
        }
    }

    /// The elements from `index` on, head first.
    pub fn iter_from(&self, index: usize) -> impl Iterator<Item = &[u8]> {
        let mut at = self.offset(index.min(self.len()));
        self.lens.range(index.min(self.len())..).map(move |len| {
            let start = at;
            at += *len as usize;
            &self.bytes[start..at]
        })
    }
}
