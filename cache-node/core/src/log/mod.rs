//! The durable log, as bytes and decisions: no files here.
//!
//! What commands do to data becomes *records*: Redis commands that say the effect (`SET key value
//! PXAT …`, `DEL key` for a key that expired or left for room, a pop's `LPOP`), each of one slot of one
//! store, in the order in which they were done there. Records that must be there together or not at all
//! (a transaction's, a script's) are a *batch*. Batches wait in the [`Journal`], and who writes the log
//! takes them as *frames*: each has a header with sequence, time, store, range of slots and checksums.
//! Segments are files of frames. A snapshot is a file of slots, each with the sequence up to which the
//! records of that slot are in it. docs/formats.md has every byte.
//!
//! | file | what it is about |
//! |---|---|
//! | `record` | one slot's effect as bytes |
//! | `frame` | records with a header and checksums: whole or not there |
//! | `journal` | what waits to be written, and who waits for that |
//! | `awaits` | what the commands that a thread runs have to wait for |
//! | `until` | waiting until it is on the disk |
//! | `segment` | files of frames, and how one is stepped over when parts of it are damaged |
//! | `segments` | the writer's files in their folder |
//! | `writer` | which bytes go where, and what is done when a disk fails |
//! | `cut` | what of a frame stays when the log is cut at a sequence |
//! | `snapshot` | files of one store's slots |
//! | `directory` | the files under `durable/`, as the rest here uses them |
//! | `data_set`, `catalog` | `DATASET` and `STORES`: whose data it is, and which stores' |
//! | `draft` | a snapshot's file as it is written |
//! | `commit` | when what is written is forced to the disk, and what is done when that fails |
//! | `recovery` | what is read at start |
//! | `retention` | which files are not needed any more |
//! | `read_at` | bytes that are read at a place |

pub mod awaits;
pub mod catalog;
pub mod commit;
pub mod cut;
pub mod data_set;
pub mod directory;
pub mod draft;
pub mod frame;
pub mod journal;
pub mod read_at;
pub mod record;
pub mod recovery;
pub mod retention;
pub mod segment;
pub mod segments;
pub mod snapshot;
mod until;
pub mod writer;

pub use frame::{Frame, FrameHeader};
pub use journal::{Failed, Journal, Taken, Ticket};
pub use read_at::ReadAt;
pub use record::{Batch, Record};
pub use segment::DataSet;
pub use until::UntilDurable;

use crate::cluster::{SLOTS, Slot};

/// A number that grows with every record of a member.
pub type Sequence = u64;

/// The slots are dealt into so many lanes, which wait, are written and are recovered one by one.
pub const LANES: usize = 16;

/// The lane of a slot.
#[inline]
pub fn lane_of(slot: Slot) -> usize {
    usize::from(slot >> 10) % LANES
}

/// The slots of a lane.
pub fn slots_of(lane: usize) -> std::ops::Range<Slot> {
    const EACH: usize = SLOTS as usize / LANES;
    let first = |lane: usize| (lane * EACH).min(usize::from(SLOTS)) as Slot;
    first(lane)..first(lane + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_slot_is_of_one_lane() {
        let slots = (0..LANES).flat_map(|lane| slots_of(lane).map(move |slot| (lane, slot)));
        let slots: Vec<_> = slots.collect();
        assert!(slots.iter().all(|(lane, slot)| lane_of(*slot) == *lane));
        assert_eq!(slots.len(), usize::from(SLOTS));
        assert!(slots_of(LANES).is_empty());
    }
}
