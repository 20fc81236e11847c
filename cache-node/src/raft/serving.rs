//! From the table to the keyspace: which slots this member serves, and what stores it has.
//!
//! It serves the slots of which the table says that it is the primary, once the table knows this
//! process. A slot that is to be handed over is *fenced* first: it is not served any more, from
//! then on until the slot's epoch is another one. So nothing is written to it after it was looked
//! at, and a hand-over that comes late (refused once the epoch is another one) and a member that
//! serves again cannot meet.

use hypercache_core::{
    cluster::{ClusterState, MemberId, SLOTS, Slot},
    keyspace::{FilterStats, Keyspace, StoreStats, Verdict},
    store::{StoreNumber, StorePolicy},
};
use parking_lot::Mutex;
use std::{collections::BTreeMap, sync::Arc};

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

struct Inner {
    state: Arc<ClusterState>,
    /// Slots that are to be handed over, and the epoch in which they were fenced.
    fenced: BTreeMap<Slot, u64>,
    serving: Box<[bool]>,
}

/// Keeps the keyspace as the table says.
pub struct Serving {
    me: MemberId,
    incarnation: u64,
    slots: Arc<dyn Slots>,
    inner: Mutex<Inner>,
}

impl Serving {
    /// Nothing is served yet.
    pub fn new(me: MemberId, incarnation: u64, slots: Arc<dyn Slots>) -> Self {
        let serving = vec![false; usize::from(SLOTS)].into_boxed_slice();
        let inner = Inner { state: Arc::default(), fenced: BTreeMap::new(), serving };
        Self { me, incarnation, slots, inner: Mutex::new(inner) }
    }

    /// What the cluster wants of the keyspace.
    pub fn slots(&self) -> &Arc<dyn Slots> {
        &self.slots
    }

    /// Whether a table knows this process.
    pub fn is_known(&self, state: &ClusterState) -> bool {
        state.members.get(&self.me).is_some_and(|me| me.incarnation == self.incarnation)
    }

    /// The table after an entry of the log. Must be called in the log's order.
    pub fn apply(&self, state: &Arc<ClusterState>) {
        let mut inner = self.inner.lock();
        if inner.state.stores != state.stores {
            self.slots.set_stores(&state.stores);
        }
        let before = std::mem::replace(&mut inner.state, state.clone());
        inner.fenced.retain(|slot, epoch| state.assignment.epoch_of(*slot) == *epoch);
        let known = self.is_known(state);
        for slot in 0..SLOTS {
            let at = usize::from(slot);
            let (then, now) = (before.assignment.placement(slot), state.assignment.placement(slot));
            let mine = now.is_some_and(|now| now.primary() == Some(self.me));
            let serve = known && mine && !inner.fenced.contains_key(&slot);
            if inner.serving[at] && !serve {
                self.slots.set_serving(slot, false);
            }
            // It is no owner any more; or it begins anew what it did not have whole.
            let gave_up = then.is_some_and(|then| then.owns(self.me))
                && !now.is_some_and(|now| now.owns(self.me));
            let anew = mine && then.is_some_and(|then| !then.is_in_sync(self.me));
            if gave_up || anew {
                self.slots.clear_slot(slot);
            }
            if !inner.serving[at] && serve {
                self.slots.set_serving(slot, true);
            }
            inner.serving[at] = serve;
        }
    }

    /// Stops serving slots to hand them over to another owner, those that are empty; tells which
    /// these are, and their epochs.
    pub fn fence(&self, slots: &[Slot], to: MemberId, now_ms: u64) -> Vec<(Slot, u64)> {
        let mut inner = self.inner.lock();
        let mut fenced = Vec::new();
        for slot in slots {
            let Some(placement) = inner.state.assignment.placement(*slot) else { continue };
            let epoch = placement.epoch;
            let fits = placement.primary() == Some(self.me) && placement.replicas().contains(&to);
            let serves = inner.serving.get(usize::from(*slot)).is_some_and(|serving| *serving);
            if fits && serves && self.slots.fence_if_empty(*slot, now_ms) {
                inner.serving[usize::from(*slot)] = false;
                inner.fenced.insert(*slot, epoch);
                fenced.push((*slot, epoch));
            }
        }
        fenced
    }
}

#[cfg(test)]
#[path = "serving_tests.rs"]
pub(crate) mod tests;
