//! A list: chunks of packed elements, so that both ends are cheap and the middle is reached by
//! skipping chunks.

use super::super::memory::block_bytes;
use super::chunk::Chunk;
use std::collections::VecDeque;

/// A list of byte strings. Its cost on the heap is kept up to date by every change.
#[derive(Debug, Clone, Default)]
pub struct List {
    chunks: VecDeque<Chunk>,
    len: usize,
    /// The blocks of all chunks.
    chunk_bytes: usize,
}

impl List {
    /// How many elements it has.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// What stands on the heap for it.
    #[inline]
    pub fn heap_bytes(&self) -> usize {
        block_bytes(self.chunks.capacity() * size_of::<Chunk>()) + self.chunk_bytes
    }

    /// Changes one chunk and keeps the accounts.
    #[inline]
    fn edit<R>(&mut self, chunk: usize, change: impl FnOnce(&mut Chunk) -> R) -> Option<R> {
        let chunk = self.chunks.get_mut(chunk)?;
        let before = chunk.heap_bytes();
        let result = change(chunk);
        self.chunk_bytes = self.chunk_bytes + chunk.heap_bytes() - before;
        Some(result)
    }

    /// Takes a chunk away if it is empty, else gives its spare room back.
    fn settle(&mut self, chunk: usize) {
        match self.chunks.get(chunk) {
            Some(found) if found.len() == 0 => {
                self.chunk_bytes -= found.heap_bytes();
                self.chunks.remove(chunk);
                if self.chunks.capacity() > 4 * self.chunks.len().max(4) {
                    self.chunks.shrink_to_fit();
                }
            }
            Some(_) => {
                self.edit(chunk, Chunk::tighten);
            }
            None => {}
        }
    }

    /// The chunk of an element and its index there; the nearer end is searched from.
    fn locate(&self, index: usize) -> Option<(usize, usize)> {
        if index >= self.len {
            return None;
        }
        if index <= self.len / 2 {
            let mut rest = index;
            for (i, chunk) in self.chunks.iter().enumerate() {
                if rest < chunk.len() {
                    return Some((i, rest));
                }
                rest -= chunk.len();
            }
        } else {
            let mut end = self.len;
            for (i, chunk) in self.chunks.iter().enumerate().rev() {
                let start = end - chunk.len();
                if index >= start {
                    return Some((i, index - start));
                }
                end = start;
            }
        }
        None
    }

    /// Adds an element at the tail.
    pub fn push_back(&mut self, element: &[u8]) {
        if !self.chunks.back().is_some_and(|chunk| chunk.has_room(element.len())) {
            self.chunks.push_back(Chunk::default());
        }
        self.edit(self.chunks.len() - 1, |chunk| chunk.push_back(element));
        self.len += 1;
    }

    /// Adds an element at the head.
    pub fn push_front(&mut self, element: &[u8]) {
        if !self.chunks.front().is_some_and(|chunk| chunk.has_room(element.len())) {
            self.chunks.push_front(Chunk::default());
        }
        self.edit(0, |chunk| chunk.push_front(element));
        self.len += 1;
    }

    /// The element at the head.
    pub fn front(&self) -> Option<&[u8]> {
        self.chunks.front()?.get(0)
    }

    /// The element at the tail.
    pub fn back(&self) -> Option<&[u8]> {
        let chunk = self.chunks.back()?;
        chunk.get(chunk.len().checked_sub(1)?)
    }

    /// Takes the element at the head away.
    pub fn drop_front(&mut self) {
        if self.edit(0, Chunk::drop_front).is_some() {
            self.len -= 1;
            self.settle(0);
        }
    }

    /// Takes the element at the tail away.
    pub fn drop_back(&mut self) {
        let Some(last) = self.chunks.len().checked_sub(1) else { return };
        if self.edit(last, Chunk::drop_back).is_some() {
            self.len -= 1;
            self.settle(last);
        }
    }

    /// An element.
    pub fn get(&self, index: usize) -> Option<&[u8]> {
        let (chunk, inside) = self.locate(index)?;
        self.chunks.get(chunk)?.get(inside)
    }

    /// Replaces an element; false if there is none at `index`.
    pub fn set(&mut self, index: usize, element: &[u8]) -> bool {
        let Some((chunk, inside)) = self.locate(index) else { return false };
        self.edit(chunk, |chunk| chunk.set(inside, element));
        self.settle(chunk);
        true
    }

    /// Puts an element before the one at `index`; at the tail if that is the length.
    pub fn insert(&mut self, index: usize, element: &[u8]) {
        let Some((at, inside)) = self.locate(index) else { return self.push_back(element) };
        let fits = self.chunks.get(at).is_some_and(|chunk| chunk.has_room(element.len()));
        self.len += 1;
        if fits {
            self.edit(at, |chunk| chunk.insert(inside, element));
            return;
        }
        // Cut the chunk in two, and put the element between.
        if inside > 0
            && let Some(tail) = self.edit(at, |chunk| chunk.split_off(inside))
        {
            self.chunk_bytes += tail.heap_bytes();
            self.chunks.insert(at + 1, tail);
            self.settle(at);
        }
        let place = if inside > 0 { at + 1 } else { at };
        let mut chunk = Chunk::default();
        chunk.push_back(element);
        self.chunk_bytes += chunk.heap_bytes();
        self.chunks.insert(place, chunk);
    }

    /// Takes up to `count` elements that equal `element` away, from the tail if `from_tail`; how
    /// many it took.
    pub fn remove_equal(&mut self, element: &[u8], count: usize, from_tail: bool) -> usize {
        let mut left = count;
        let step = |list: &mut Self, at: usize, left: &mut usize| {
            let matching = list
                .chunks
                .get(at)
                .map_or(0, |chunk| chunk.iter_from(0).filter(|found| *found == element).count());
            if matching == 0 {
                return;
            }
            // From the tail, the first matches of the chunk stay if not all may go.
            let mut spare = if from_tail { matching.saturating_sub(*left) } else { 0 };
            let mut take = (*left).min(matching);
            *left -= take;
            let removed = take;
            list.edit(at, |chunk| {
                chunk.retain(|found| {
                    if found != element || take == 0 {
                        return true;
                    }
                    if spare > 0 {
                        spare -= 1;
                        return true;
                    }
                    take -= 1;
                    false
                });
            });
            list.len -= removed;
        };
        if from_tail {
            let mut at = self.chunks.len();
            while at > 0 && left > 0 {
                at -= 1;
                step(self, at, &mut left);
            }
        } else {
            let mut at = 0;
            while at < self.chunks.len() && left > 0 {
                step(self, at, &mut left);
                at += 1;
            }
        }
        if left < count {
            self.drop_empty();
        }
        count - left
    }

    /// Takes the chunks away that have no element.
    fn drop_empty(&mut self) {
        self.chunks.retain(|chunk| chunk.len() > 0);
        for chunk in &mut self.chunks {
            chunk.tighten();
        }
        self.chunks.shrink_to(2 * self.chunks.len());
        self.chunk_bytes = self.chunks.iter().map(Chunk::heap_bytes).sum();
    }

    /// Keeps the elements from `start` to before `end`.
    pub fn keep(&mut self, start: usize, end: usize) {
        let end = end.min(self.len);
        if start >= end {
            *self = Self::default();
            return;
        }
        let mut cut = self.len - end;
        while cut > 0
            && let Some(last) = self.chunks.back()
        {
            if last.len() <= cut {
                cut -= last.len();
                self.chunk_bytes -= last.heap_bytes();
                self.chunks.pop_back();
            } else {
                let kept = last.len() - cut;
                let at = self.chunks.len() - 1;
                self.edit(at, |chunk| chunk.truncate(kept));
                self.settle(at);
                cut = 0;
            }
        }
        let mut cut = start;
        while cut > 0
            && let Some(first) = self.chunks.front()
        {
            if first.len() <= cut {
                cut -= first.len();
                self.chunk_bytes -= first.heap_bytes();
                self.chunks.pop_front();
            } else {
                self.edit(0, |chunk| chunk.drop_head(cut));
                self.settle(0);
                cut = 0;
            }
        }
        if self.chunks.capacity() > 4 * self.chunks.len().max(4) {
            self.chunks.shrink_to_fit();
        }
        self.len = end - start;
    }

    /// Calls `visit` with index and element from `from` to the tail until it returns false.
    #[inline]
    pub fn visit(&self, from: usize, mut visit: impl FnMut(usize, &[u8]) -> bool) {
        let Some((first, mut inside)) = self.locate(from) else { return };
        let mut index = from;
        for chunk in self.chunks.range(first..) {
            for element in chunk.iter_from(inside) {
                if !visit(index, element) {
                    return;
                }
                index += 1;
            }
            inside = 0;
        }
    }

    /// Calls `visit` with index and element from the tail to the head until it returns false.
    pub fn visit_backwards(&self, mut visit: impl FnMut(usize, &[u8]) -> bool) {
        let mut end = self.len;
        for chunk in self.chunks.iter().rev() {
            let start = end - chunk.len();
            let elements: smallvec::SmallVec<[&[u8]; 128]> = chunk.iter_from(0).collect();
            for (i, element) in elements.iter().enumerate().rev() {
                if !visit(start + i, element) {
                    return;
                }
            }
            end = start;
        }
    }
}

#[cfg(test)]
#[path = "list_tests.rs"]
mod tests;
