//! What a key can hold.

mod chunk;
pub mod commands;
pub mod cuckoo;
pub mod decode;
mod dict;
pub mod encode;
mod hash;
mod intset;
mod list;
mod member;
mod packed;
mod set;
mod sorted_set;
mod tree;
mod view;

pub use cuckoo::Cuckoo;
pub use hash::Hash;
pub use list::List;
pub use set::Set;
pub use sorted_set::SortedSet;
pub use view::ValueRef;

use super::entry::{INLINE_BYTES, inline};
use super::memory::block_bytes;
use crate::cache_line::line;
use crate::resp::parse_i64;

/// A string that is longer is slow to give back.
const LARGE_BYTES: usize = 1 << 20;
/// The longest string that Redis calls `embstr`.
const EMBSTR_BYTES: usize = 44;

/// A value.
#[derive(Clone)]
pub enum Value {
    /// A string that is an integer's decimal digits.
    Int(i64),
    /// A short string.
    Inline {
        /// How many of `bytes` are used.
        len: u8,
        /// The bytes.
        bytes: [u8; INLINE_BYTES],
    },
    /// A longer string.
    Str(Box<[u8]>),
    /// A string that was changed in place, and has room to grow.
    #[allow(clippy::box_collection, reason = "keeps a value at 24 bytes")]
    Raw(Box<Vec<u8>>),
    /// A list.
    List(Box<List>),
    /// A hash.
    Hash(Hash),
    /// A set.
    Set(Set),
    /// A sorted set.
    SortedSet(SortedSet),
    /// A cuckoo filter.
    Cuckoo(Box<Cuckoo>),
}

impl Value {
    /// The value of a string that is set: integers are recognised.
    #[inline]
    pub fn string(bytes: &[u8]) -> Self {
        if bytes.len() <= 20
            && let Some(value) = parse_i64(bytes)
        {
            return Self::Int(value);
        }
        Self::plain(bytes)
    }

    /// A string that is not looked at.
    #[inline]
    pub fn plain(bytes: &[u8]) -> Self {
        match inline(bytes) {
            Some((len, bytes)) => Self::Inline { len, bytes },
            None => Self::Str(bytes.into()),
        }
    }

    /// Asks for its block, or the beginning of that.
    #[inline]
    pub fn prefetch(&self) {
        match self {
            Self::Int(_) | Self::Inline { .. } => {}
            Self::Str(bytes) => line(bytes.as_ptr()),
            Self::Raw(bytes) => line(&raw const **bytes),
            Self::List(list) => line(&raw const **list),
            Self::Hash(hash) => line(hash.block()),
            Self::Set(set) => line(set.block()),
            Self::SortedSet(set) => line(set.block()),
            Self::Cuckoo(filter) => line(&raw const **filter),
        }
    }

    /// Asks for what look-ups of members with these hashes will read.
    pub fn prefetch_members(&self, hashes: impl Iterator<Item = u64> + Clone) {
        match self {
            Self::Hash(Hash::Table(table)) => table.prefetch(hashes),
            Self::Set(set) => set.prefetch(hashes),
            Self::SortedSet(set) => set.prefetch(hashes),
            _ => {}
        }
    }

    /// The name of its type.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::List(_) => "list",
            Self::Hash(_) => "hash",
            Self::Set(_) => "set",
            Self::SortedSet(_) => "zset",
            Self::Cuckoo(_) => "MBbloomCF",
            _ => "string",
        }
    }

    /// How it is kept, in Redis's words.
    pub fn encoding(&self) -> &'static str {
        match self {
            Self::Int(_) => "int",
            Self::Inline { .. } => "embstr",
            Self::Str(bytes) if bytes.len() <= EMBSTR_BYTES => "embstr",
            Self::Str(_) | Self::Raw(_) | Self::Cuckoo(_) => "raw",
            Self::List(_) => "quicklist",
            Self::Hash(Hash::Packed(_)) | Self::SortedSet(SortedSet::Packed(_)) => "listpack",
            Self::Set(set) if set.is_ints() => "intset",
            Self::Hash(_) | Self::Set(_) => "hashtable",
            Self::SortedSet(_) => "skiplist",
        }
    }

    /// A string's bytes (an integer's digits are written to `buffer`); `None` for other types.
    #[inline]
    pub fn as_bytes<'a>(&'a self, buffer: &'a mut itoa::Buffer) -> Option<&'a [u8]> {
        Some(match self {
            Self::Int(value) => buffer.format(*value).as_bytes(),
            Self::Inline { len, bytes } => &bytes[..usize::from(*len).min(INLINE_BYTES)],
            Self::Str(bytes) => bytes,
            Self::Raw(bytes) => bytes,
            Self::List(_) | Self::Hash(_) | Self::Set(_) | Self::SortedSet(_) | Self::Cuckoo(_) => {
                return None;
            }
        })
    }

    /// A string's length; `None` for other types.
    #[inline]
    pub fn string_len(&self) -> Option<usize> {
        self.as_bytes(&mut itoa::Buffer::new()).map(<[u8]>::len)
    }

    /// A string's bytes to change in place; from then on it is `Raw`. `None` for other types.
    pub fn as_raw(&mut self) -> Option<&mut Vec<u8>> {
        if !matches!(self, Self::Raw(_)) {
            let bytes = self.as_bytes(&mut itoa::Buffer::new())?.to_vec();
            *self = Self::Raw(Box::new(bytes));
        }
        match self {
            Self::Raw(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The list, if it is one.
    #[inline]
    pub fn as_list(&self) -> Option<&List> {
        match self {
            Self::List(list) => Some(list),
            _ => None,
        }
    }

    /// Whether it is a collection without a member. That is none: whoever empties one takes it out.
    #[inline]
    pub fn is_empty_collection(&self) -> bool {
        match self {
            Self::List(list) => list.is_empty(),
            Self::Hash(hash) => hash.is_empty(),
            Self::Set(set) => set.is_empty(),
            Self::SortedSet(set) => set.is_empty(),
            _ => false,
        }
    }

    /// The list to change, if it is one.
    #[inline]
    pub fn as_list_mut(&mut self) -> Option<&mut List> {
        match self {
            Self::List(list) => Some(list),
            _ => None,
        }
    }

    /// Whether it stands in many blocks, or in many pages, which are better given back outside of a
    /// lock.
    #[inline]
    pub fn is_large(&self) -> bool {
        match self {
            Self::List(_) | Self::Hash(Hash::Table(_)) | Self::SortedSet(SortedSet::Full(_)) => {
                true
            }
            Self::Set(set) => set.is_table(),
            Self::Cuckoo(_) => true,
            Self::Str(bytes) => bytes.len() >= LARGE_BYTES,
            Self::Raw(bytes) => bytes.capacity() >= LARGE_BYTES,
            _ => false,
        }
    }

    /// Where a string's block on the heap begins, if it has one.
    #[inline]
    pub fn block(&self) -> Option<*const u8> {
        match self {
            Self::Str(bytes) => Some(bytes.as_ptr()),
            Self::Raw(bytes) => Some(bytes.as_ptr()),
            _ => None,
        }
    }

    /// What stands on the heap for it.
    #[inline]
    pub fn heap_bytes(&self) -> usize {
        match self {
            Self::Int(_) | Self::Inline { .. } => 0,
            Self::Str(bytes) => block_bytes(bytes.len()),
            Self::Raw(bytes) => block_bytes(bytes.capacity()) + block_bytes(size_of::<Vec<u8>>()),
            Self::List(list) => block_bytes(size_of::<List>()) + list.heap_bytes(),
            Self::Hash(hash) => hash.heap_bytes(),
            Self::Set(set) => set.heap_bytes(),
            Self::SortedSet(set) => set.heap_bytes(),
            Self::Cuckoo(filter) => block_bytes(size_of::<Cuckoo>()) + filter.heap_bytes(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings_have_the_words_of_redis() {
        let long = [b'a'; 45];
        for (bytes, encoding) in [
            (&b"12"[..], "int"),
            (b"-9223372036854775808", "int"),
            (b"012", "embstr"),
            (b"9223372036854775808", "embstr"),
            (b"", "embstr"),
            (&long[..44], "embstr"),
            (&long, "raw"),
        ] {
            let value = Value::string(bytes);
            assert_eq!(value.encoding(), encoding);
            assert_eq!(value.as_bytes(&mut itoa::Buffer::new()), Some(bytes));
        }
        let mut changed = Value::string(b"12");
        changed.as_raw().unwrap().push(b'3');
        assert_eq!(changed.encoding(), "raw");
        assert_eq!(changed.as_bytes(&mut itoa::Buffer::new()), Some(&b"123"[..]));
    }
}

#[cfg(test)]
#[path = "collections_tests.rs"]
mod collections_tests;
