//! Where data is: one lock and one small table per store in every slot.

use crate::cluster::Slot;
use crate::command::Spec;
use crate::resp::Writer;
use crate::store::{StoreNumber, StorePolicy};
use std::sync::Arc;

/// What a keyspace is built from.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// The key of the hash function, from a source clients cannot guess.
    pub hash_seed: u64,
    /// The start of the sampling sequence of eviction and RANDOMKEY.
    pub eviction_seed: u64,
}

/// A slot that this member does not serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("slot {slot} is not served here")]
pub struct NotServing {
    /// The slot.
    pub slot: Slot,
}

/// What one store holds and did on this member.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[allow(missing_docs, reason = "named as INFO names them")]
pub struct StoreStats {
    pub number: StoreNumber,
    pub name: String,
    pub keys: u64,
    pub keys_with_ttl: u64,
    pub used_memory_bytes: u64,
    pub max_memory_bytes: Option<u64>,
    pub hits: u64,
    pub misses: u64,
    pub evicted_keys: u64,
    pub expired_keys: u64,
    pub oom_errors: u64,
}

/// One key in its locked slot.
#[derive(Debug)]
pub struct Access<'a> {
    #[allow(dead_code)]
    key: &'a [u8],
}

/// Several keys in their locked slots.
#[derive(Debug)]
pub struct Locked<'a> {
    #[allow(dead_code)]
    space: &'a Keyspace,
}

/// All data of one member.
#[derive(Debug)]
pub struct Keyspace {
    policies: arc_swap::ArcSwap<Vec<StorePolicy>>,
}

impl Keyspace {
    /// An empty keyspace with the store `default`. It serves no slot at first.
    pub fn new(options: Options) -> Self {
        let _ = options;
        Self {
            policies: arc_swap::ArcSwap::from_pointee(vec![StorePolicy::new(
                crate::store::DEFAULT_STORE,
                0,
            )]),
        }
    }

    /// Puts these policies in force, with data in place. A store that is not listed is dropped
    /// with its data; `default` never is.
    pub fn set_stores(&self, policies: &[StorePolicy]) {
        self.policies.store(Arc::new(policies.to_vec()));
    }

    /// Starts or stops serving a slot. Its data stays.
    pub fn set_serving(&self, slot: Slot, serving: bool) {
        let _ = (slot, serving);
    }

    /// Whether a slot is served here.
    pub fn is_serving(&self, slot: Slot) -> bool {
        let _ = slot;
        false
    }

    /// Stops serving a slot if no store has a live key in it, under the slot's lock; tells
    /// whether it did.
    pub fn fence_if_empty(&self, slot: Slot, now_ms: u64) -> bool {
        let _ = (slot, now_ms);
        false
    }

    /// Drops a slot's data in all stores.
    pub fn clear_slot(&self, slot: Slot) {
        let _ = slot;
    }

    /// Runs a `Run::Keys` or `Run::Keyspace` command. All slots of its keys must be served here;
    /// that is checked under their locks before anything changes.
    ///
    /// # Errors
    /// The first slot that is not served; nothing was changed or written then.
    pub fn execute(
        &self,
        spec: &'static Spec,
        store: StoreNumber,
        args: &[&[u8]],
        now_ms: u64,
        out: &mut Writer<'_>,
    ) -> Result<(), NotServing> {
        let _ = (spec, store, args, now_ms, out);
        Ok(())
    }

    /// Whether a store has this number.
    pub fn has_store(&self, number: StoreNumber) -> bool {
        self.policies.load().iter().any(|policy| policy.number == number)
    }

    /// The policies in force.
    pub fn policies(&self) -> Arc<Vec<StorePolicy>> {
        self.policies.load_full()
    }

    /// How many keys a store has on this member (expired ones that were not yet removed are counted).
    pub fn keys(&self, store: StoreNumber) -> u64 {
        let _ = store;
        0
    }

    /// How many keys a store has in a slot.
    pub fn count_keys_in_slot(&self, store: StoreNumber, slot: Slot) -> u64 {
        let _ = (store, slot);
        0
    }

    /// How many keys all stores have in these slots.
    pub fn keys_in_slots(&self, slots: impl Iterator<Item = Slot>) -> u64 {
        let _ = slots;
        0
    }

    /// Removes expired keys, looking at about `budget` keys at most; tells how many left. Call
    /// again soon when that is a good part of the budget.
    pub fn expire_cycle(&self, now_ms: u64, budget: usize) -> usize {
        let _ = (now_ms, budget);
        0
    }

    /// What every store holds and did.
    pub fn stats(&self) -> Vec<StoreStats> {
        Vec::new()
    }
}

/// The slot where a SCAN goes on.
pub fn scan_slot(cursor: u64) -> Slot {
    ((cursor >> scan::POSITION_BITS) & 0x3fff) as Slot
}

mod scan {
    /// A cursor's low bits: how far SCAN is inside a slot, by key hash.
    pub const POSITION_BITS: u32 = 39;
}
