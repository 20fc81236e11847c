//! From the table to the keyspace: which slots this member serves, and what stores it has.
//!
//! A slot moves only when its primary has *fenced* it for the open move: it found the slot empty
//! and stopped serving it, under the slot's lock. It serves the slot again only after a table in
//! which that move is closed, and then exactly if that table gives the slot to it. So a delayed
//! assignment (refused once the move is closed) and a member that serves again cannot meet.

use hypercache_core::{
    cluster::{ClusterState, MemberId, SLOTS, Slot},
    keyspace::{FilterStats, Keyspace, StoreStats, Verdict},
    store::{StoreNumber, StorePolicy},
};
use parking_lot::Mutex;
use std::{collections::BTreeSet, sync::Arc};

/// What the cluster wants of the keyspace.
pub trait Slots: Send + Sync + 'static {
    /// From now on the slot is served, or not.
    fn set_serving(&self, slot: Slot, serving: bool);
    /// Stops serving the slot if no live key is in it; whether it did.
    fn fence_if_empty(&self, slot: Slot, now_ms: u64) -> bool;
    /// Forgets what is in the slot.
    fn clear_slot(&self, slot: Slot);
    /// From now on these are the stores.
    fn set_stores(&self, policies: &[StorePolicy]);
    /// How many keys are in these slots, over all stores.
    fn keys_in_slots(&self, slots: &[Slot]) -> u64;
    /// What the stores hold.
    fn stats(&self) -> Vec<StoreStats>;
    /// What a store's filter is and did; `None` if there is no such store.
    fn filter_stats(&self, store: StoreNumber) -> Option<FilterStats>;
    /// What a store's filter says of a key; `None` if there is no such store.
    fn filter_check(&self, store: StoreNumber, key: &[u8]) -> Option<Verdict>;
}

impl Slots for Keyspace {
    fn set_serving(&self, slot: Slot, serving: bool) {
        Keyspace::set_serving(self, slot, serving);
    }
    fn fence_if_empty(&self, slot: Slot, now_ms: u64) -> bool {
        Keyspace::fence_if_empty(self, slot, now_ms)
    }
    fn clear_slot(&self, slot: Slot) {
        Keyspace::clear_slot(self, slot);
    }
    fn set_stores(&self, policies: &[StorePolicy]) {
        Keyspace::set_stores(self, policies);
    }
    fn keys_in_slots(&self, slots: &[Slot]) -> u64 {
        Keyspace::keys_in_slots(self, slots.iter().copied())
    }
    fn stats(&self) -> Vec<StoreStats> {
        Keyspace::stats(self)
    }
    fn filter_stats(&self, store: StoreNumber) -> Option<FilterStats> {
        Keyspace::filter_stats(self, store)
    }
    fn filter_check(&self, store: StoreNumber, key: &[u8]) -> Option<Verdict> {
        Keyspace::filter_check(self, store, key)
    }
}

/// Why slots were not fenced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotFenced {
    /// The move is not open in the table that this member knows.
    MoveNotOpen,
    /// This member is not the primary of one of the slots.
    NotMine,
    /// One of the slots holds keys. Those fenced before it stay so until the move is closed.
    HoldsKeys,
}

enum Fenced {
    /// This process does not know what the one before it had fenced: all of it.
    All,
    Slots(BTreeSet<Slot>),
}

struct Inner {
    state: Arc<ClusterState>,
    fence: Option<(u64, Fenced)>,
    serving: Box<[bool]>,
    owned: Box<[bool]>,
}

/// Keeps the keyspace as the table says.
pub struct Serving {
    me: MemberId,
    slots: Arc<dyn Slots>,
    /// Entries of the log up to this one were there when the process started.
    replayed_to: u64,
    inner: Mutex<Inner>,
}

impl Serving {
    /// Nothing is served yet.
    pub fn new(me: MemberId, slots: Arc<dyn Slots>, replayed_to: u64) -> Self {
        let none = || vec![false; usize::from(SLOTS)].into_boxed_slice();
        let inner = Inner { state: Arc::default(), fence: None, serving: none(), owned: none() };
        Self { me, slots, replayed_to, inner: Mutex::new(inner) }
    }

    /// What the cluster wants of the keyspace.
    pub fn slots(&self) -> &Arc<dyn Slots> {
        &self.slots
    }

    /// The table after entry `index` of the log. Must be called in the log's order.
    pub fn apply(&self, index: u64, state: &Arc<ClusterState>) {
        let mut inner = self.inner.lock();
        if inner.state.stores != state.stores {
            self.slots.set_stores(&state.stores);
        }
        match (&inner.fence, state.open_move) {
            (Some((fenced, _)), Some(open)) if *fenced == open => {}
            (_, Some(open)) if index <= self.replayed_to => {
                inner.fence = Some((open, Fenced::All));
            }
            _ => inner.fence = None,
        }
        inner.state = state.clone();
        for slot in 0..SLOTS {
            let at = usize::from(slot);
            let mine = state.assignment.primary(slot) == Some(self.me);
            let fenced = match &inner.fence {
                Some((_, Fenced::All)) => true,
                Some((_, Fenced::Slots(slots))) => slots.contains(&slot),
                None => false,
            };
            let serve = mine && !fenced;
            if inner.serving[at] != serve {
                self.slots.set_serving(slot, serve);
                inner.serving[at] = serve;
            }
            if inner.owned[at] && !mine {
                self.slots.clear_slot(slot);
            }
            inner.owned[at] = mine;
        }
    }

    /// Fences slots for the open move.
    ///
    /// # Errors
    /// See [`NotFenced`].
    pub fn fence(&self, move_id: u64, slots: &[Slot], now_ms: u64) -> Result<(), NotFenced> {
        let mut inner = self.inner.lock();
        if inner.state.open_move != Some(move_id) {
            return Err(NotFenced::MoveNotOpen);
        }
        if slots.iter().any(|slot| inner.state.assignment.primary(*slot) != Some(self.me)) {
            return Err(NotFenced::NotMine);
        }
        match &inner.fence {
            Some((_, Fenced::All)) => return Ok(()), // nothing was written since the start
            Some(_) => {}
            None => inner.fence = Some((move_id, Fenced::Slots(BTreeSet::new()))),
        }
        for slot in slots {
            if !self.slots.fence_if_empty(*slot, now_ms) {
                return Err(NotFenced::HoldsKeys);
            }
            inner.serving[usize::from(*slot)] = false;
            if let Some((_, Fenced::Slots(fenced))) = &mut inner.fence {
                fenced.insert(*slot);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "serving_tests.rs"]
pub(crate) mod tests;
