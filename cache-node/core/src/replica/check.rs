//! Whether a copy of a slot holds what its primary does: the primary says in the stream of the slot's records what
//! it holds there, as a number for each store, and the copy finds its own at the same place.

use crate::log::record::{put_varint, take_varint};
use crate::store::{MAX_STORE_NUMBER, StoreNumber};
use smallvec::SmallVec;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The store of records that are checks.
pub const CHECK: StoreNumber = u16::MAX - 3;

/// What a slot holds at a place in the stream of its records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// By whose clock keys whose lifetime is over are left out: the primary's, in Unix milliseconds.
    pub now_ms: u64,
    /// Each store, and the digest of what it has in the slot.
    pub digests: SmallVec<[(StoreNumber, u64); 4]>,
}

impl Check {
    /// Appends it: its numbers as varints.
    pub fn put(&self, out: &mut Vec<u8>) {
        put_varint(out, self.now_ms);
        for (store, digest) in &self.digests {
            put_varint(out, u64::from(*store));
            put_varint(out, *digest);
        }
    }

    /// Reads one that stands alone; `None` if it makes no sense.
    pub fn read(mut bytes: &[u8]) -> Option<Self> {
        let now_ms = take_varint(&mut bytes)?;
        let mut digests = SmallVec::new();
        while !bytes.is_empty() {
            let store = StoreNumber::try_from(take_varint(&mut bytes)?).ok()?;
            let digest = take_varint(&mut bytes)?;
            if store > MAX_STORE_NUMBER {
                return None;
            }
            digests.push((store, digest));
        }
        Some(Self { now_ms, digests })
    }
}

/// How copies were found, since the start.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    pub compared: AtomicU64,
    pub differing: AtomicU64,
    pub repaired: AtomicU64,
    pub left_out: AtomicU64,
}

/// How copies were found, since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CheckCounts {
    /// Copies here that were compared with what their primaries have.
    pub compared: u64,
    /// Of these, those that were not the same.
    pub differing: u64,
    /// Of these, those that their primaries have replaced.
    pub repaired: u64,
    /// Slots that were not compared, as they hold too much to be read at once.
    pub left_out: u64,
}

impl Checks {
    pub fn now(&self) -> CheckCounts {
        CheckCounts {
            compared: self.compared.load(Relaxed),
            differing: self.differing.load(Relaxed),
            repaired: self.repaired.load(Relaxed),
            left_out: self.left_out.load(Relaxed),
        }
    }
}

/// One more.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_is_read_as_it_was_written_and_a_cut_one_is_none() {
        let digests = [(0, u64::MAX), (MAX_STORE_NUMBER, 0)].into_iter().collect();
        let check = Check { now_ms: 1 << 41, digests };
        let mut bytes = Vec::new();
        check.put(&mut bytes);
        assert_eq!(Check::read(&bytes), Some(check));
        assert_eq!(Check::read(&bytes[..bytes.len() - 1]), None);
        assert_eq!(Check::read(&[]), None);
        put_varint(&mut bytes, u64::from(MAX_STORE_NUMBER) + 1);
        put_varint(&mut bytes, 1);
        assert_eq!(Check::read(&bytes), None, "no store has that number");
    }
}
