//! Short strings one after the other in one block: how small hashes, sets and sorted sets are kept.

use super::super::hash::KeyHasher;
use super::super::memory::block_bytes;
use smallvec::SmallVec;

/// The longest string that is packed (Redis's `*-max-listpack-value`).
pub const MAX_PACKED_BYTES: usize = 64;
/// The count of strings stands in front.
const HEAD: usize = size_of::<u16>();

/// Strings of at most [`MAX_PACKED_BYTES`], each behind its length, in a block without spare room.
#[derive(Debug, Clone, Default)]
pub struct Packed(Box<[u8]>);

/// Where a string stands: the offset of its length, and the string's length.
#[derive(Debug, Clone, Copy)]
pub struct At {
    offset: usize,
    len: usize,
}

impl At {
    fn end(self) -> usize {
        self.offset + 1 + self.len
    }
}

/// Whether no two of these strings are the same. It may say no of others, by chance.
pub fn are_distinct<'a>(hasher: &KeyHasher, strings: impl Iterator<Item = &'a [u8]>) -> bool {
    let mut hashes: SmallVec<[u64; 128]> = strings.map(|string| hasher.hash(string)).collect();
    hashes.sort_unstable();
    hashes.windows(2).all(|pair| pair[0] != pair[1])
}

impl Packed {
    /// Takes so many strings from the front of `bytes`, where each stands behind its length as here; `None`,
    /// with nothing taken, if there are not as many, or one is too long to be packed.
    pub fn take(bytes: &mut &[u8], strings: usize) -> Option<Self> {
        let mut end = 0;
        for _ in 0..strings {
            let len = usize::from(*bytes.get(end)?);
            if len > MAX_PACKED_BYTES {
                return None;
            }
            end += 1 + len;
        }
        let (body, rest) = bytes.split_at_checked(end)?;
        let count = u16::try_from(strings).ok()?;
        let mut block = Vec::with_capacity(HEAD + body.len());
        block.extend_from_slice(&count.to_le_bytes());
        block.extend_from_slice(body);
        *bytes = rest;
        Some(Self(block.into_boxed_slice()))
    }

    /// How many strings it holds.
    #[inline]
    pub fn len(&self) -> usize {
        match *self.0 {
            [low, high, ..] => usize::from(u16::from_le_bytes([low, high])),
            _ => 0,
        }
    }

    /// What stands on the heap for it.
    #[inline]
    pub fn heap_bytes(&self) -> usize {
        block_bytes(self.0.len())
    }

    /// Where its block is.
    #[inline]
    pub fn as_ptr(&self) -> *const u8 {
        self.0.as_ptr()
    }

    /// The strings with their places.
    #[inline]
    pub fn places(&self) -> impl Iterator<Item = (At, &[u8])> {
        let bytes = &*self.0;
        let mut offset = HEAD;
        std::iter::from_fn(move || {
            let len = usize::from(*bytes.get(offset)?);
            let at = At { offset, len };
            offset = at.end();
            Some((at, bytes.get(at.offset + 1..offset)?))
        })
    }

    /// The strings.
    #[inline]
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.places().map(|(_, string)| string)
    }

    /// Replaces the bytes from `from` to `to` by these strings; `delta` strings more or fewer.
    fn splice(&mut self, from: usize, to: usize, strings: &[&[u8]], delta: isize) {
        let added: usize = strings.iter().map(|string| string.len() + 1).sum();
        let count = self.len().saturating_add_signed(delta);
        if count == 0 {
            self.0 = Box::default();
            return;
        }
        let mut new = Vec::with_capacity(self.0.len().max(HEAD) - (to - from) + added);
        new.extend_from_slice(&(count as u16).to_le_bytes());
        new.extend_from_slice(self.0.get(HEAD..from).unwrap_or_default());
        for string in strings {
            // At most 64 bytes, as all who call see to.
            new.push(string.len() as u8);
            new.extend_from_slice(string);
        }
        new.extend_from_slice(self.0.get(to..).unwrap_or_default());
        self.0 = new.into_boxed_slice();
    }

    /// Adds strings at the end.
    pub fn push(&mut self, strings: &[&[u8]]) {
        let added: usize = strings.iter().map(|string| string.len() + 1).sum();
        let count = self.len() + strings.len();
        // The block grows in place if its size class has room.
        let mut block = std::mem::take(&mut self.0).into_vec();
        block.reserve_exact(added + HEAD.saturating_sub(block.len()));
        block.resize(block.len().max(HEAD), 0);
        for string in strings {
            block.push(string.len() as u8);
            block.extend_from_slice(string);
        }
        block[..HEAD].copy_from_slice(&(count as u16).to_le_bytes());
        self.0 = block.into_boxed_slice();
    }

    /// Puts strings before a place.
    pub fn insert(&mut self, before: At, strings: &[&[u8]]) {
        self.splice(before.offset, before.offset, strings, strings.len() as isize);
    }

    /// Puts another string in the place of one.
    pub fn replace(&mut self, at: At, string: &[u8]) {
        if at.len == string.len() {
            self.0[at.offset + 1..at.end()].copy_from_slice(string);
        } else {
            self.splice(at.offset, at.end(), &[string], 0);
        }
    }

    /// Takes the strings from `first` to `last` away, which are `count`.
    pub fn remove(&mut self, first: At, last: At, count: usize) {
        self.splice(first.offset, last.end(), &[], -(count as isize));
    }
}
