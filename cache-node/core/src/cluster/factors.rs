//! How replication factors become other ones, so that nothing is lost that was acknowledged.
//!
//! A write of a `quorum` store may be with the primary and the third owner, and not with the second one yet. A factor that
//! changes may make the second one alone the next primary: the third one lacks a store that it holds from then on, or
//! comes to hold less than the other. Should the primary die then, the write is gone. So such an owner leaves the in-sync
//! set first, as one that fails does: its primary sees to it that those who stay have everything. Until it has left, the
//! factor that was asked for is only on its way ([`ClusterState::coming`]); it comes into force by the change of the table
//! with which the last one leaves.
//!
//! Factors that fall do so at once, and those that rise after that, by one and only those of the fewest copies: so one
//! owner at a time begins anew, and the others have what it had.

use super::state::EVERY_SLOT;
use super::{ClusterState, MemberId, Owners, Placement};
use crate::mutation::{self, Mutation};
use crate::store::StorePolicy;

/// A slot of more owners than this keeps as many in sync while others step aside.
const KEPT_IN_SYNC: usize = 2;

/// The next step on the way to the factors that are asked for.
#[derive(Debug, Clone)]
pub struct NextFactors<'a> {
    old: &'a [StorePolicy],
    new: Vec<StorePolicy>,
}

impl NextFactors<'_> {
    /// Who has to be out of sync in a slot before the step is done, and may not come back until then.
    pub fn aside(&self, placement: &Placement) -> Owners {
        placement.aside(self.old, &self.new)
    }

    /// Whether an owner is to leave the in-sync set now, or may not come to it yet.
    pub fn keeps_out(&self, placement: &Placement, id: MemberId) -> bool {
        match placement.is_in_sync(id) {
            true => self.leave(placement).contains(&id),
            false => self.bars(placement, id),
        }
    }

    /// Whether an owner that is not in sync may not be so yet.
    pub(super) fn bars(&self, placement: &Placement, id: MemberId) -> bool {
        self.aside(&placement.with_in_sync(id, true)).contains(&id)
    }

    /// Those of them that may leave now: enough others are in sync, where there can be.
    pub fn leave(&self, placement: &Placement) -> Owners {
        let aside = self.aside(placement);
        let kept = if placement.owners.len() > KEPT_IN_SYNC { KEPT_IN_SYNC } else { 1 };
        match placement.in_sync.len() >= aside.len() + kept {
            true => aside,
            false => Owners::new(),
        }
    }
}

impl ClusterState {
    /// The policy that is asked for, of a store whose factor in force may be another one yet.
    pub fn asked_for(&self, store: &StorePolicy) -> StorePolicy {
        StorePolicy { replication_factor: self.factor_asked_for(store), ..store.clone() }
    }

    fn factor_asked_for(&self, store: &StorePolicy) -> u8 {
        self.coming.get(&store.number).copied().unwrap_or(store.replication_factor)
    }

    /// What the factors that are asked for wait for; `None`: they are in force.
    pub fn next_factors(&self) -> Option<NextFactors<'_>> {
        // It is asked with every change of the table.
        if self.coming.is_empty() {
            return None;
        }
        let wanted = |store: &StorePolicy| self.factor_asked_for(store);
        let falls = |store: &StorePolicy| wanted(store) < store.replication_factor;
        let rises = |store: &&StorePolicy| wanted(store) > store.replication_factor;
        let fewest = self.stores.iter().filter(rises).map(|store| store.replication_factor).min();
        let any_falls = self.stores.iter().any(falls);
        let next = |store: &StorePolicy| {
            let now = store.replication_factor;
            let replication_factor = match any_falls {
                true => now.min(wanted(store)),
                false if rises(&store) && Some(now) == fewest => now + 1,
                false => now,
            };
            StorePolicy { replication_factor, ..store.clone() }
        };
        (any_falls || fewest.is_some())
            .then(|| NextFactors { old: &self.stores, new: self.stores.iter().map(next).collect() })
    }

    /// How many slots have yet to be ready for factors that are asked for.
    pub fn slots_before_factors(&self) -> u32 {
        let Some(next) = self.next_factors() else { return 0 };
        let runs = self.assignment.placements().into_iter();
        let waits = runs.filter(|run| !next.aside(&run.placement).is_empty());
        waits.map(|run| u32::from(run.last - run.first) + 1).sum()
    }

    /// Stores were made, changed or dropped: factors that are other ones than before are on their way from now on. A
    /// new store begins with as many copies as any other has, so that its owners are the same.
    pub(super) fn postpone(&mut self, before: &[StorePolicy]) {
        let most = before.iter().map(|store| store.replication_factor).max().unwrap_or(1);
        let was = |store: &StorePolicy| before.iter().find(|old| old.number == store.number);
        let mut coming = std::mem::take(&mut self.coming);
        coming.retain(|number, _| self.stores.iter().any(|store| store.number == *number));
        for store in &mut self.stores {
            let wanted = store.replication_factor;
            let now = was(store).map_or_else(|| wanted.max(most), |old| old.replication_factor);
            if now == wanted {
                coming.remove(&store.number);
            } else {
                coming.insert(store.number, wanted);
            }
            store.replication_factor = now;
        }
        self.coming = coming;
    }

    /// Factors that are asked for come into force, as far as nobody has to leave for them any more.
    pub(super) fn come_into_force(&mut self) {
        while let Some(next) = self.next_factors() {
            let mut runs = self.assignment.placements().into_iter();
            let waits = runs.any(|run| !next.aside(&run.placement).is_empty());
            if waits && !mutation::is(Mutation::HastyFactor) {
                return;
            }
            let new = next.new;
            let before = std::mem::replace(&mut self.stores, new);
            self.hold(&before);
            let (epoch, stores) = (self.epoch + 1, &self.stores);
            self.assignment.update(&EVERY_SLOT, |slot| slot.where_less(&before, stores, epoch));
            self.coming.retain(|number, wanted| {
                stores.iter().any(|s| s.number == *number && s.replication_factor != *wanted)
            });
        }
    }

    /// Other stores are in force: nobody is in sync who holds more than before.
    pub(super) fn hold(&mut self, before: &[StorePolicy]) {
        let (epoch, stores) = (self.epoch + 1, &self.stores);
        self.assignment.update(&EVERY_SLOT, |slot| slot.with_stores(before, stores, epoch));
    }
}

#[cfg(test)]
#[path = "factors_tests.rs"]
mod tests;
