//! A key with its value, lifetime and use: 64 bytes, so that one cache line holds it.

pub use super::eviction::usage::{CLOCK_UNIT_MS, clock};

use super::eviction::usage::Usage;
use super::memory::block_bytes;
use super::values::Value;

/// The longest bytes that need no heap block.
pub const INLINE_BYTES: usize = 22;

/// Bytes that do not grow; short ones stand inside.
#[derive(Clone)]
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

/// One key of a store.
pub struct Entry {
    /// The key.
    pub key: Bytes,
    /// The value.
    pub value: Value,
    /// When it ends, in Unix milliseconds; 0 for never.
    pub expires_at_ms: u64,
    /// How it was used.
    pub usage: Usage,
}

impl Entry {
    /// Whether its lifetime is over.
    #[inline]
    pub fn is_expired(&self, now_ms: u64) -> bool {
        self.expires_at_ms != 0 && self.expires_at_ms <= now_ms
    }

    /// What stands on the heap for it, beside its place in the table.
    #[inline]
    pub fn heap_bytes(&self) -> usize {
        self.key.heap_bytes() + self.value.heap_bytes()
    }

    /// How long it was not used, in units of [`clock`].
    #[inline]
    pub fn idle(&self, now: u32) -> u32 {
        self.usage.idle(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_one_cache_line() {
        assert_eq!(size_of::<Entry>(), 64);
    }

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
