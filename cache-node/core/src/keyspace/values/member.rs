//! A member's bytes, which two structures of a sorted set share.

use super::super::entry::{INLINE_BYTES, inline};
use super::super::memory::block_bytes;
use std::sync::Arc;

/// Bytes that do not change; short ones stand inside, longer ones are shared by all copies.
#[derive(Debug, Clone)]
pub enum Member {
    /// Up to [`INLINE_BYTES`].
    Inline {
        /// How many of `bytes` are used.
        len: u8,
        /// The bytes.
        bytes: [u8; INLINE_BYTES],
    },
    /// Longer ones.
    Shared(Arc<[u8]>),
}

impl Member {
    /// A copy of `bytes`.
    #[inline]
    pub fn new(bytes: &[u8]) -> Self {
        match inline(bytes) {
            Some((len, bytes)) => Self::Inline { len, bytes },
            None => Self::Shared(bytes.into()),
        }
    }

    /// The bytes.
    #[inline]
    pub fn as_slice(&self) -> &[u8] {
        match self {
            Self::Inline { len, bytes } => &bytes[..usize::from(*len).min(INLINE_BYTES)],
            Self::Shared(bytes) => bytes,
        }
    }

    /// What stands on the heap for it and all its copies together.
    #[inline]
    pub fn heap_bytes(&self) -> usize {
        match self {
            Self::Inline { .. } => 0,
            // Two counters stand before the bytes.
            Self::Shared(bytes) => block_bytes((2 * size_of::<usize>() + bytes.len() + 7) & !7),
        }
    }
}
