//! Who owns what: members, slots, the ring, and the cluster's table that Raft keeps.

mod slot;
pub use slot::{SLOTS, Slot, slot_of};
