//! Puts blocks elsewhere, so that the allocator can give memory back that is used in part.
//!
//! An allocator keeps blocks of a size together in runs, and a run goes back only when its last
//! block is free. After many keys went here and there, or many tables grew out of a size at about
//! the same time, most runs have few blocks in use. Nothing but their owner can move these: a pass
//! takes each block of the tables anew, copies it and lets the old one go. As the allocator gives
//! the free places of the fullest or the oldest runs first, the others become empty.
//!
//! Not moved are collections, and strings so long that they are in runs of their own.

use super::Keyspace;
use crate::cluster::SLOTS;

/// Blocks above this are in runs of their own, or nearly (jemalloc's largest small size).
pub(super) const MAX_BLOCK_BYTES: usize = 14 << 10;

/// Hears of each block before it is moved: where it is. Nothing may be read there.
pub type BeforeMove<'a> = &'a mut dyn FnMut(*const u8);

/// Where a pass goes on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MoveCursor {
    slot: u16,
    table: usize,
    position: u64,
}

/// Moves one block; how many bytes it has.
pub(super) fn move_block<T: Clone>(block: &mut Box<[T]>, before: BeforeMove<'_>) -> usize {
    let bytes = size_of_val(&**block);
    if bytes == 0 || bytes > MAX_BLOCK_BYTES {
        return 0;
    }
    before(block.as_ptr().cast());
    let moved = block.clone();
    *block = moved;
    bytes
}

/// Moves the block of a list with all that it has; how many bytes that is.
pub(super) fn move_list<T>(list: &mut Vec<T>, before: BeforeMove<'_>) -> usize {
    let bytes = list.capacity() * size_of::<T>();
    if bytes == 0 || bytes > MAX_BLOCK_BYTES {
        return 0;
    }
    before(list.as_ptr().cast());
    let mut moved = Vec::with_capacity(list.capacity());
    moved.append(list);
    *list = moved;
    bytes
}

impl Keyspace {
    /// Goes on with a pass over all blocks until about `budget_bytes` were copied; where the next
    /// call goes on, `None` at the end. A slot's lock is held for one segment, a part of it that
    /// others hold is left out, and no key, place or account changes.
    pub fn move_blocks(
        &self,
        from: MoveCursor,
        budget_bytes: usize,
        before: BeforeMove<'_>,
    ) -> Option<MoveCursor> {
        let mut at = from;
        let mut moved = 0;
        while at.slot < SLOTS {
            if moved >= budget_bytes {
                return Some(at);
            }
            let state = self.cell(at.slot).and_then(|cell| cell.state.try_lock());
            let step = state.and_then(|mut state| {
                let table = state.tables.get_mut(at.table)?;
                Some(table.table.move_segment(at.position, before))
            });
            at = match step {
                Some((bytes, next)) => {
                    moved += bytes;
                    match next {
                        Some(position) => MoveCursor { position, ..at },
                        None => MoveCursor { table: at.table + 1, position: 0, ..at },
                    }
                }
                None => MoveCursor { slot: at.slot + 1, ..MoveCursor::default() },
            };
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Lifetime, Options, Value};
    use super::*;
    use crate::store::{DEFAULT_STORE, StorePolicy};

    #[test]
    fn a_pass_moves_each_block_and_changes_nothing_that_is_seen() {
        let space = Keyspace::new(Options { hash_seed: 3, eviction_seed: 3 });
        (0..SLOTS).for_each(|slot| space.set_serving(slot, true));
        space.set_stores(&[StorePolicy::new(DEFAULT_STORE, 0)]);
        let value = |number: usize| vec![b'v'; number % 3000];
        let name = |number: usize| match number % 2 {
            0 => format!("{{one slot}}{number}"),
            _ => format!("key {number}"),
        };
        for number in 0..6000 {
            let set = space.with_key(0, name(number).as_bytes(), 1, true, |key| {
                key.set(Value::plain(&value(number)), Lifetime::At(1000 + number as u64));
            });
            assert!(set.is_ok());
        }
        let used = space.used_bytes();
        let (mut cursor, mut seen, mut steps) = (Some(MoveCursor::default()), Vec::new(), 0);
        while let Some(at) = cursor {
            cursor = space.move_blocks(at, 10_000, &mut |block| seen.push(block as usize));
            steps += 1;
        }
        // All but the tables themselves, the long keys' strings and their directory is moved.
        assert!(steps > 100 && seen.len() > 6000, "{steps} steps, {} blocks", seen.len());
        assert_eq!(space.used_bytes(), used);
        for number in 0..6000 {
            let same = space.with_key(0, name(number).as_bytes(), 1, false, |key| {
                let ends = key.expires_at_ms();
                let entry = key.look().map(|entry| entry.value.to_value());
                let bytes =
                    entry.map(|entry| entry.as_bytes(&mut itoa::Buffer::new()).map(<[u8]>::to_vec));
                ends == Some(1000 + number as u64) && bytes == Some(Some(value(number)))
            });
            assert_eq!(same, Ok(true), "{number}");
        }
    }

    #[test]
    fn a_slot_that_others_hold_is_left_out() {
        let space = Keyspace::new(Options { hash_seed: 3, eviction_seed: 3 });
        (0..SLOTS).for_each(|slot| space.set_serving(slot, true));
        let mut blocks = 0;
        let set = space.with_key(0, b"a", 1, false, |key| {
            key.set(Value::Int(1), Lifetime::Default);
            space.move_blocks(MoveCursor::default(), usize::MAX, &mut |_| blocks += 1)
        });
        assert_eq!((set, blocks), (Ok(None), 0));
        space.move_blocks(MoveCursor::default(), usize::MAX, &mut |_| blocks += 1);
        assert_eq!(blocks, 2, "the index and the page");
    }
}
