//! Copies of a slot compared with what its primary holds, at the same place in the stream of its records.
//!
//! Keys whose lifetime is over by the primary's clock do not count: whether they stand in a table yet is nobody's
//! concern. Stores of sessions are left out, as their primary alone knows which of their keys are over.

use super::Keyspace;
use super::applying::Applying;
use super::slot::State;
use super::snapshot::table_digest;
use super::stores::Store;
use crate::cluster::Slot;
use crate::replica::check::count;
use crate::replica::{Check, Feed, Role, SlotFeed, Synced};
use crate::store::{EvictionPolicy, StoreNumber};
use smallvec::SmallVec;

/// A slot that holds more is left out: it would be locked for too long.
const MOST_BYTES: usize = 4 << 20;

impl Store {
    fn is_checked(&self) -> bool {
        self.eviction != EvictionPolicy::Session
    }
}

/// What a store has in a slot, as a number.
fn digest(state: &State, number: StoreNumber, now_ms: u64) -> u64 {
    state.get(number).map_or(0, |table| {
        table_digest(&table.table, |entry| {
            (!entry.is_expired(now_ms)).then_some(entry.expires_at_ms)
        })
    })
}

impl Keyspace {
    /// Asks all owners that are in sync with a slot, whose primary this member is, whether they hold the same; how
    /// many are asked. Those that do not refuse it ([`crate::replica::Refused::Differs`]).
    pub fn check_copies(&self, slot: Slot, now_ms: u64) -> usize {
        let Some(cell) = self.cell(slot) else { return 0 };
        let is_asked = |feed: &SlotFeed| {
            let is_primary = matches!(feed.role, Role::Primary { .. });
            is_primary && feed.ways.iter().any(|way| way.synced == Synced::Yes)
        };
        if !self.is_serving(slot) || self.feed.look(slot, is_asked) != Some(true) {
            return 0;
        }
        let state = cell.state.lock();
        // Under the lock, as everywhere: who changes the stores then waits for it.
        let registry = self.registry.load();
        let fed = cell.fed.least();
        let stores: SmallVec<[&Store; 4]> = registry
            .stores
            .iter()
            .filter(|store| store.replication_factor >= fed && store.is_checked())
            .collect();
        let bytes = |store: &&Store| state.get(store.number).map_or(0, |table| table.heap_bytes());
        if stores.iter().map(bytes).sum::<usize>() > MOST_BYTES {
            count(&self.feed.checks().left_out);
            return 0;
        }
        let digests: SmallVec<[(u8, StoreNumber, u64); 4]> = stores
            .iter()
            .map(|s| (s.replication_factor, s.number, digest(&state, s.number, now_ms)))
            .collect();
        let asked = self.feed.change_known(slot, |feed| {
            let ways = feed.ways.iter_mut();
            let in_sync = ways.filter(|w| w.synced == Synced::Yes && w.is_whole && w.is_attached());
            let mut asked = 0;
            for way in in_sync {
                let goes = digests.iter().filter(|(factor, ..)| *factor >= way.least_factor);
                let digests = goes.map(|(_, number, digest)| (*number, *digest)).collect();
                if Feed::append_check(&way.link, way.session, slot, &Check { now_ms, digests }) {
                    asked += 1;
                } else {
                    way.detach();
                }
            }
            asked
        });
        asked.unwrap_or(0)
    }
}

impl Applying<'_> {
    /// A store of which this copy does not hold what its primary does; all that came before is done.
    pub fn differing(&self, check: &Check) -> Option<StoreNumber> {
        let checks = self.space.feed.checks();
        count(&checks.compared);
        let differs = check.digests.iter().find(|(number, theirs)| {
            // A store that is not here, or is here by another policy: one of both has not heard yet.
            let store = self.registry.get(*number).filter(|store| store.is_checked());
            store.is_some() && digest(&*self.state, *number, check.now_ms) != *theirs
        });
        let (number, _) = differs?;
        let is_new = self.feed(|feed| !std::mem::replace(&mut feed.differs, true));
        if is_new == Some(true) {
            count(&checks.differing);
        }
        Some(*number)
    }

    /// This copy has been replaced by what its primary holds.
    pub fn is_replaced(&self) {
        if self.feed(|feed| std::mem::take(&mut feed.differs)) == Some(true) {
            count(&self.space.feed.checks().repaired);
        }
    }
}
