//! Between the cluster's table and the keyspace: slots are served only once they are read from the
//! disk, and what stores there are is noted on it before they are used.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::*};
use std::task::Waker;

use hypercache_core::cluster::{MemberId, SLOTS, Slot};
use hypercache_core::keyspace::{FilterStats, Keyspace, StoreStats, Verdict};
use hypercache_core::log::{LANES, lane_of};
use hypercache_core::replica::{Link, Quiet, Role, Route, Synced};
use hypercache_core::store::{Mode, StoreNumber, StorePolicy};
use parking_lot::Mutex;

use super::shared::Shared;
use crate::raft::Slots;

/// See the module.
pub struct Gate {
    keyspace: Arc<Keyspace>,
    /// `None`: nothing is on disk.
    disk: Option<Arc<Shared>>,
    /// The table said what stores there are.
    pub(super) told: AtomicBool,
    /// What is on the disk is read, or is being read: stores that come now are new.
    pub(super) follows: AtomicBool,
    inner: Mutex<Inner>,
}

struct Inner {
    wanted: Box<[bool]>,
    ready: [bool; LANES],
}

impl Gate {
    /// All that is wanted is served, unless there is a disk to be read first.
    pub(super) fn new(keyspace: Arc<Keyspace>, disk: Option<Arc<Shared>>) -> Self {
        let ready = [disk.is_none(); LANES];
        let wanted = vec![false; usize::from(SLOTS)].into_boxed_slice();
        let inner = Mutex::new(Inner { wanted, ready });
        let (told, follows) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { keyspace, disk, told, follows, inner }
    }

    /// The slots of a lane are read: those that are wanted are served from now on.
    pub(super) fn lane_is_ready(&self, lane: usize) {
        let mut inner = self.inner.lock();
        if let Some(ready) = inner.ready.get_mut(lane) {
            *ready = true;
        }
        for (slot, wanted) in (0..SLOTS).zip(inner.wanted.iter()) {
            if *wanted && lane_of(slot) == lane {
                self.keyspace.set_serving(slot, true);
            }
        }
    }

    fn is_ready(inner: &Inner, slot: Slot) -> bool {
        inner.ready.get(lane_of(slot)).is_some_and(|ready| *ready)
    }
}

impl Slots for Gate {
    fn set_serving(&self, slot: Slot, serving: bool) {
        let mut inner = self.inner.lock();
        if let Some(wanted) = inner.wanted.get_mut(usize::from(slot)) {
            *wanted = serving;
        }
        let serves = serving && Self::is_ready(&inner, slot);
        self.keyspace.set_serving(slot, serves);
    }

    fn fence_if_empty(&self, slot: Slot, now_ms: u64) -> bool {
        let mut inner = self.inner.lock();
        let empty = Self::is_ready(&inner, slot) && self.keyspace.fence_if_empty(slot, now_ms);
        if empty && let Some(wanted) = inner.wanted.get_mut(usize::from(slot)) {
            *wanted = false;
        }
        empty
    }

    fn clear_slot(&self, slot: Slot) {
        self.keyspace.clear_slot(slot);
    }

    fn set_stores(&self, policies: &[StorePolicy]) {
        self.told.store(true, Release);
        let mut begins = Vec::new();
        let changing = self.disk.as_ref().map(|disk| disk.changing.lock());
        match &self.disk {
            // Before the keyspace knows: what it logs from then on is a store's own.
            Some(disk) if self.follows.load(Acquire) => begins = disk.follow(policies),
            Some(_) => {}
            None => {
                let kept = policies.iter().filter(|p| p.durability.mode != Mode::Disabled);
                kept.for_each(|policy| {
                    tracing::error!(
                        action = "store-not-kept",
                        store = policy.name,
                        mode = policy.durability.mode.as_str(),
                        "the store is to be kept on disk, and node.data_dir is not set: it is not kept"
                    );
                });
            }
        }
        self.keyspace.set_stores(policies);
        drop(changing);
        if let Some(disk) = &self.disk {
            disk.policies_changed(begins);
        }
    }

    fn keys_in_slots(&self, slots: &[Slot]) -> u64 {
        self.keyspace.keys_in_slots(slots.iter().copied())
    }
    fn held_in_slots(&self, slots: &[Slot]) -> BTreeMap<StoreNumber, u64> {
        self.keyspace.held_in_slots(slots.iter().copied())
    }
    fn stats(&self) -> Vec<StoreStats> {
        self.keyspace.stats()
    }
    fn filter_stats(&self, store: StoreNumber) -> Option<FilterStats> {
        self.keyspace.filter_stats(store)
    }
    fn filter_check(&self, store: StoreNumber, key: &[u8]) -> Option<Verdict> {
        self.keyspace.filter_check(store, key)
    }
    fn link(&self, member: MemberId, sender: &dyn Fn() -> Waker) -> Option<Arc<Link>> {
        Some(self.keyspace.feed().link_to(member, sender))
    }
    fn place(&self, slot: Slot, role: Role, route: &[Route], handed_over: bool) -> bool {
        self.keyspace.place(slot, role, route, handed_over)
    }
    fn narrow(&self, slot: Slot, least_factor: u8) {
        self.keyspace.narrow(slot, least_factor);
    }
    fn set_synced(&self, slot: Slot, link: &Link, synced: Synced) -> bool {
        self.keyspace.set_synced(slot, link, synced)
    }
    fn is_read(&self, slot: Slot) -> bool {
        Self::is_ready(&self.inner.lock(), slot)
    }
    fn lose(&self, slots: &[Slot]) {
        Slots::lose(&*self.keyspace, slots);
    }

    fn end_sessions(&self) {
        Slots::end_sessions(&*self.keyspace);
    }

    fn quietly(&self) -> Option<Quiet<'_>> {
        Some(self.keyspace.feed().quietly())
    }
}
