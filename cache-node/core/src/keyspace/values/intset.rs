//! A small set of integers: sorted, in one block, as wide as its widest needs.

use super::super::memory::block_bytes;

/// The width stands in front.
const HEAD: usize = 1;

/// Sorted integers of 2, 4 or 8 bytes each.
#[derive(Debug, Clone, Default)]
pub struct IntSet(Box<[u8]>);

fn width_of(value: i64) -> usize {
    if i16::try_from(value).is_ok() {
        2
    } else if i32::try_from(value).is_ok() {
        4
    } else {
        8
    }
}

fn read(bytes: &[u8]) -> i64 {
    match *bytes {
        [a, b] => i64::from(i16::from_le_bytes([a, b])),
        [a, b, c, d] => i64::from(i32::from_le_bytes([a, b, c, d])),
        [a, b, c, d, e, f, g, h] => i64::from_le_bytes([a, b, c, d, e, f, g, h]),
        _ => 0,
    }
}

impl IntSet {
    fn width(&self) -> usize {
        self.0.first().map_or(2, |width| usize::from(*width))
    }

    /// How many integers it has.
    #[inline]
    pub fn len(&self) -> usize {
        self.0.len().saturating_sub(HEAD) / self.width()
    }

    /// What stands on the heap for it.
    #[inline]
    pub fn heap_bytes(&self) -> usize {
        block_bytes(self.0.len())
    }

    /// The integer at an index.
    pub fn get(&self, index: usize) -> Option<i64> {
        let width = self.width();
        let start = HEAD + index.checked_mul(width)?;
        self.0.get(start..start + width).map(read)
    }

    /// The integers in order.
    pub fn iter(&self) -> impl Iterator<Item = i64> {
        self.0.get(HEAD..).unwrap_or_default().chunks_exact(self.width()).map(read)
    }

    fn search(&self, value: i64) -> Result<usize, usize> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = (low + high) / 2;
            match self.get(middle) {
                Some(found) if found == value => return Ok(middle),
                Some(found) if found < value => low = middle + 1,
                _ => high = middle,
            }
        }
        Err(low)
    }

    /// Whether an integer is in it.
    pub fn contains(&self, value: i64) -> bool {
        self.search(value).is_ok()
    }

    /// Adds an integer; false if it was there.
    pub fn insert(&mut self, value: i64) -> bool {
        let Err(at) = self.search(value) else { return false };
        let width = self.width().max(width_of(value));
        let mut new = Vec::with_capacity(HEAD + (self.len() + 1) * width);
        new.push(width as u8);
        if width == self.width() {
            let old = self.0.get(HEAD..).unwrap_or_default();
            let (before, after) = old.split_at(at * width);
            new.extend_from_slice(before);
            new.extend_from_slice(&value.to_le_bytes()[..width]);
            new.extend_from_slice(after);
        } else {
            let all = self.iter().take(at).chain([value]).chain(self.iter().skip(at));
            all.for_each(|value| new.extend_from_slice(&value.to_le_bytes()[..width]));
        }
        self.0 = new.into_boxed_slice();
        true
    }

    /// Takes an integer out; false if it was not there.
    pub fn remove(&mut self, value: i64) -> bool {
        let Ok(at) = self.search(value) else { return false };
        let width = self.width();
        if self.len() == 1 {
            self.0 = Box::default();
            return true;
        }
        let start = HEAD + at * width;
        let mut new = Vec::with_capacity(self.0.len() - width);
        new.extend_from_slice(&self.0[..start]);
        new.extend_from_slice(&self.0[start + width..]);
        self.0 = new.into_boxed_slice();
        true
    }
}
