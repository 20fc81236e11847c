//! A key with its value, lifetime and use, as it is looked at; and short bytes.

use super::eviction::usage::Usage;
use super::memory::block_bytes;
use super::values::{Value, ValueRef};

/// The longest bytes that need no heap block.
pub const INLINE_BYTES: usize = 22;

/// Bytes that do not grow; short ones stand inside.
#[derive(Debug, Clone)]
pub enum Bytes {
    /// Up to [`INLINE_BYTES`].
    Inline {
        /// How many of `bytes` are used.
        len: u8,
        /// The bytes.
        bytes: [u8; INLINE_BYTES],
    },
    /// Longer ones.
    Heap(Box<[u8]>),
}

impl Bytes {
    /// A copy of `bytes`.
    #[inline]
    pub fn new(bytes: &[u8]) -> Self {
        match inline(bytes) {
            Some((len, bytes)) => Self::Inline { len, bytes },
            None => Self::Heap(bytes.into()),
        }
    }

    /// The bytes.
    #[inline]
    pub fn as_slice(&self) -> &[u8] {
        match self {
            Self::Inline { len, bytes } => &bytes[..usize::from(*len).min(INLINE_BYTES)],
            Self::Heap(bytes) => bytes,
        }
    }

    /// What stands on the heap for it.
    #[inline]
    pub fn heap_bytes(&self) -> usize {
        match self {
            Self::Inline { .. } => 0,
            Self::Heap(bytes) => block_bytes(bytes.len()),
        }
    }
}

/// A short string's length and bytes.
#[inline]
pub fn inline(source: &[u8]) -> Option<(u8, [u8; INLINE_BYTES])> {
    if source.len() > INLINE_BYTES {
        return None;
    }
    let mut bytes = [0; INLINE_BYTES];
    bytes[..source.len()].copy_from_slice(source);
    Some((source.len() as u8, bytes))
}

/// One key of a store, where it is kept.
#[derive(Clone, Copy)]
pub struct Entry<'a> {
    /// The key.
    pub key: &'a [u8],
    /// The value.
    pub value: ValueRef<'a>,
    /// When it ends, in Unix milliseconds; 0 for never.
    pub expires_at_ms: u64,
    /// How it was used.
    pub usage: Usage,
    /// The bytes of its record.
    pub(super) record_bytes: usize,
}

/// An index line has this many bytes for each of its keys, on average.
const INDEX_BYTES: usize = 4;

impl Entry<'_> {
    /// Whether its lifetime is over.
    #[inline]
    pub fn is_expired(&self, now_ms: u64) -> bool {
        self.expires_at_ms != 0 && self.expires_at_ms <= now_ms
    }

    /// What it costs: its record, its share in the index, and the blocks of what is larger.
    pub fn memory_bytes(&self) -> usize {
        let value = match self.value {
            ValueRef::Object(value) => value.heap_bytes() + size_of::<Value>(),
            _ => 0,
        };
        let key = if super::part::record::is_long(self.key.len()) {
            block_bytes(self.key.len()) + size_of::<Value>()
        } else {
            0
        };
        self.record_bytes + INDEX_BYTES + value + key
    }
}

/// A key's value and lifetime, out of the table.
pub struct Taken {
    /// The value.
    pub value: Value,
    /// When it ends, in Unix milliseconds; 0 for never.
    pub expires_at_ms: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_kept_at_every_length() {
        for len in 0..60 {
            let source: Vec<u8> = (0..len).collect();
            let bytes = Bytes::new(&source);
            assert_eq!(bytes.as_slice(), source);
            assert_eq!(bytes.heap_bytes() == 0, source.len() <= INLINE_BYTES);
        }
    }
}
