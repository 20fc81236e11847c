//! Fail-over: another primary for the slots of one that cannot serve any more.
//!
//! The owner that is furthest ahead is the primary, of those that are in sync; so each of these is
//! asked first, as far as it is there. A store of `quorum` says that a majority of its owners has
//! what it acknowledged: where those that cannot be heard may have been that majority, and one of them
//! may come back with it, the slot waits for it. So it does where nobody that is heard holds a store at all.
//! Who is silent may come back with all that it had, as only the way to it may be gone; a process that is
//! gone comes back with its disk. A primary that was started again remembers nothing, and has on its disk all that was
//! acknowledged, if all replicated stores are forced to it and it was read as a whole: it says so, and stays where those
//! that remember something are too few to prove that they have all of it.

use super::steps;
use crate::cluster::{Act, ClusterState, MemberId, Placement, Ring, SLOTS, Slot, Step, slot_runs};
use crate::mutation::{self, Mutation};
use crate::store::{Acks, Mode, StorePolicy};
use std::collections::{BTreeMap, BTreeSet};

/// What members said of how far they have slots: epoch and sequence. Who is not in it was not
/// asked, or did not answer; a slot that is not in an answer is not there at all.
pub type Positions = BTreeMap<MemberId, BTreeMap<Slot, (u64, u64)>>;

/// What a primary that was started again says of how far it is, if its disk has all that was acknowledged.
pub const WHOLE_ON_DISK: (u64, u64) = (0, 1);

/// Slots that nobody serves until a member is back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Members; it takes any that has the slots' data.
    pub members: Vec<MemberId>,
    /// How many slots wait for these.
    pub slots: u32,
}

/// Members that cannot serve.
#[derive(Debug, Clone, Copy)]
pub struct Away<'a> {
    /// All of them.
    pub dead: &'a BTreeSet<MemberId>,
    /// Those whose processes are known to be gone, and their memory with them; the others are silent.
    pub gone: &'a BTreeSet<MemberId>,
    /// Those that never come back, as an operator says: nobody waits for them.
    pub lost: &'a BTreeSet<MemberId>,
}

/// What to do about members that cannot serve.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Failover {
    /// To be proposed.
    pub steps: Vec<Step>,
    /// What waits, and for whom.
    pub waiting: Vec<Waiting>,
}

/// What becomes of one slot.
enum Fate {
    Act(Act),
    /// The primary itself, which was started again, has the most; the others are not in sync.
    Stays(Vec<Act>),
    /// Somebody has yet to answer.
    Unheard,
    WaitsFor(Vec<MemberId>),
}

struct Failing<'a> {
    state: &'a ClusterState,
    away: Away<'a>,
    /// This one is there again, with what its disk has; it may not be a primary as if nothing
    /// had happened.
    restarted: Option<MemberId>,
    positions: &'a Positions,
    /// Nothing of any store need be kept: no store is replicated, or on disk.
    nothing_is_kept: bool,
    /// Something is on a primary's disk alone.
    has_single_copies: bool,
}

/// Who is to be asked for [`Positions`], and of which slots, before [`fail_over`] can decide.
pub fn to_be_asked(
    state: &ClusterState,
    dead: &BTreeSet<MemberId>,
    restarted: Option<MemberId>,
) -> BTreeMap<MemberId, Vec<(Slot, Slot)>> {
    let (positions, none) = (Positions::new(), BTreeSet::new());
    let away = Away { dead, gone: &none, lost: &none };
    let failing = Failing::new(state, away, restarted, &positions);
    let mut asked: BTreeMap<MemberId, Vec<Slot>> = BTreeMap::new();
    for (slot, placement) in failing.slots() {
        let heirs = failing.heirs(placement);
        // Also one that is alone: it may have been started again, and have forgotten how far it is.
        heirs.into_iter().for_each(|id| asked.entry(id).or_default().push(slot));
    }
    asked.into_iter().map(|(id, slots)| (id, slot_runs(slots))).collect()
}

/// What becomes of the slots of members that are dead, or of one that was restarted and asks to be
/// let in again. `alive` says who could begin a slot anew.
pub fn fail_over(
    state: &ClusterState,
    away: Away<'_>,
    restarted: Option<MemberId>,
    positions: &Positions,
    alive: impl Fn(MemberId) -> bool,
) -> Failover {
    let failing = Failing::new(state, away, restarted, positions);
    let ring = Ring::new(
        state
            .members
            .values()
            .filter(|m| !state.is_leaving(&m.name) && alive(m.id) && !away.dead.contains(&m.id)),
    );
    let mut acts: BTreeMap<Act, Vec<Slot>> = BTreeMap::new();
    let mut waiting: BTreeMap<Vec<MemberId>, u32> = BTreeMap::new();
    for (slot, placement) in failing.slots() {
        match failing.fate(slot, placement, &ring) {
            Fate::Act(act) => acts.entry(act).or_default().push(slot),
            Fate::Stays(others) => {
                others.into_iter().for_each(|act| acts.entry(act).or_default().push(slot));
            }
            Fate::Unheard => {}
            Fate::WaitsFor(members) => *waiting.entry(members).or_default() += 1,
        }
    }
    let waiting = waiting.into_iter().map(|(members, slots)| Waiting { members, slots }).collect();
    Failover { steps: steps(acts), waiting }
}

/// In how many slots of other primaries a member that was started again still counts as in sync. Where a majority says
/// what stays, and disks keep it, it is let in once those have seen to it that all have everything who are in sync
/// without it, or once others have taken over from them: what it confirmed before may be nowhere else but with a primary
/// that is dead, and comes back.
pub fn still_counted(state: &ClusterState, restarted: MemberId) -> u32 {
    let comes_back = |store: &StorePolicy| {
        store.replication_factor > 1
            && store.acks == Acks::Quorum
            && store.durability.mode != Mode::Disabled
    };
    if !state.stores.iter().any(comes_back) || mutation::is(Mutation::CountedOut) {
        return 0;
    }
    let placements = (0..SLOTS).filter_map(|slot| state.assignment.placement(slot));
    let counts = |placement: &&Placement| {
        placement.is_in_sync(restarted) && placement.primary() != Some(restarted)
    };
    placements.filter(counts).count() as u32
}

impl<'a> Failing<'a> {
    fn new(
        state: &'a ClusterState,
        away: Away<'a>,
        restarted: Option<MemberId>,
        positions: &'a Positions,
    ) -> Self {
        let kept = |store: &StorePolicy| {
            store.replication_factor > 1 || store.durability.mode != Mode::Disabled
        };
        let single = |store: &StorePolicy| store.replication_factor == 1 && kept(store);
        Self {
            state,
            away,
            restarted,
            positions,
            nothing_is_kept: !state.stores.iter().any(kept),
            has_single_copies: state.stores.iter().any(single),
        }
    }

    /// The slots that need another primary: all of the dead ones; of one that was restarted those
    /// in which it is not alone.
    fn slots(&self) -> impl Iterator<Item = (Slot, &'a Placement)> + '_ {
        let placed =
            (0..SLOTS).filter_map(|slot| Some((slot, self.state.assignment.placement(slot)?)));
        placed.filter(|(_, placement)| match (placement.primary(), self.restarted) {
            (primary, Some(_)) if primary == self.restarted => placement.in_sync.len() > 1,
            (Some(primary), None) => self.away.dead.contains(&primary),
            _ => false,
        })
    }

    /// The owners that could be the primary, in the owners' order.
    fn heirs(&self, placement: &Placement) -> Vec<MemberId> {
        let there = |id: &&MemberId| !self.away.dead.contains(id);
        placement.in_sync.iter().filter(there).copied().collect()
    }

    fn fate(&self, slot: Slot, placement: &Placement, ring: &Ring) -> Fate {
        let heirs = self.heirs(placement);
        let epoch = placement.epoch;
        if heirs.is_empty() {
            let is_lost = placement.in_sync.iter().all(|id| self.away.lost.contains(id));
            if (self.nothing_is_kept || is_lost)
                && let Some(to) = ring.walk(slot).next()
            {
                return Fate::Act(Act::Restart { epoch, to });
            }
            return Fate::WaitsFor(placement.in_sync.to_vec());
        }
        if heirs.iter().any(|id| !self.positions.contains_key(id)) {
            return Fate::Unheard;
        }
        let whole = placement.primary().filter(|id| self.is_whole_on_disk(slot, *id));
        let needed = self.needed(slot, placement);
        if !needed.is_empty() && whole.is_none() {
            return Fate::WaitsFor(needed);
        }
        // The first of the best. One that was restarted stands behind the others, which have their
        // memory; but before them if there are stores that only its disk has, or if nobody remembers anything:
        // then all have what is on their disks, and the primary's has what was acknowledged.
        let rank = |id: &MemberId| {
            let stores = self.stores_of(placement, *id);
            let at = self.position(slot, *id).unwrap_or_default();
            let restarted = Some(*id) == self.restarted;
            (stores, at, restarted == (self.has_single_copies || at.0 == 0))
        };
        let best = heirs.iter().rev().max_by_key(|id| rank(id)).copied();
        let best = whole.filter(|_| !self.is_proven_without(slot, placement)).or(best);
        match (best, placement.primary()) {
            (Some(to), Some(primary)) if to == primary => {
                let others = placement.in_sync.iter().filter(|id| **id != primary);
                let leaves = |id: &MemberId| Act::InSync {
                    primary,
                    epoch,
                    member: *id,
                    incarnation: 0,
                    in_sync: false,
                };
                Fate::Stays(others.map(leaves).collect())
            }
            (Some(to), _) => Fate::Act(Act::Promote { epoch, to }),
            (None, _) => Fate::WaitsFor(placement.in_sync.to_vec()),
        }
    }

    /// How far an owner said that it is; `None`: it did not, or it has forgotten it: it was started anew, and the table
    /// does not know yet.
    fn position(&self, slot: Slot, id: MemberId) -> Option<(u64, u64)> {
        self.positions.get(&id)?.get(&slot).copied().filter(|at| *at != WHOLE_ON_DISK)
    }

    /// Whether all that was acknowledged is on the disk of one that was started again.
    fn is_whole_on_disk(&self, slot: Slot, id: MemberId) -> bool {
        let said = self.positions.get(&id).and_then(|said| said.get(&slot));
        Some(id) == self.restarted
            && said == Some(&WHOLE_ON_DISK)
            && !mutation::is(Mutation::YieldsToFew)
    }

    /// Whether those that remember how far they are have all that was acknowledged of replicated stores, whatever the
    /// one that was started again had confirmed.
    fn is_proven_without(&self, slot: Slot, placement: &Placement) -> bool {
        let remembers = |id: &MemberId| self.position(slot, *id).is_some();
        self.state.stores.iter().filter(|store| store.replication_factor > 1).all(|store| {
            let lost = holders_in_sync(placement, store).filter(|id| !remembers(id)).count();
            match store.acks {
                Acks::Quorum => lost <= usize::from(store.replication_factor) / 2,
                // Whoever is in sync has all.
                Acks::All | Acks::One => true,
            }
        })
    }

    /// Those that cannot be heard, and may come back with what nobody else may have of a replicated store.
    fn needed(&self, slot: Slot, placement: &Placement) -> Vec<MemberId> {
        let mut needed = Vec::new();
        for store in self.state.stores.iter().filter(|store| store.replication_factor > 1) {
            let factor = usize::from(store.replication_factor);
            let is_on_disk = store.durability.mode != Mode::Disabled;
            let holders: Vec<_> = holders_in_sync(placement, store).collect();
            // Who has forgotten how far it is proves nothing for what others may have acknowledged with it.
            let has_forgotten = |id: &MemberId| {
                self.positions.contains_key(id) && self.position(slot, *id).is_none()
            };
            let is_lost = |id: &MemberId| match Some(*id) == self.restarted {
                true => !is_on_disk,
                false => self.away.dead.contains(id) || has_forgotten(id),
            };
            let lost = holders.iter().filter(|id| is_lost(id)).count();
            // One that is more than any store asks for has all of it.
            let others = placement.owners.iter().skip(self.state.replication_factor());
            let is_elsewhere = others
                .filter(|id| placement.is_in_sync(**id) && !holders.contains(id))
                .any(|id| !is_lost(id));
            let may_lack = match store.acks {
                Acks::Quorum => lost > factor / 2,
                // Whoever is in sync has all that was acknowledged.
                Acks::All | Acks::One => lost == holders.len() && !is_elsewhere,
            };
            let comes_back = |id: &MemberId| {
                let Away { dead, gone, lost } = self.away;
                dead.contains(id) && !lost.contains(id) && (is_on_disk || !gone.contains(id))
            };
            if may_lack {
                needed.extend(holders.into_iter().filter(comes_back));
            }
        }
        needed.sort_unstable();
        needed.dedup();
        needed
    }

    /// How many of the replicated stores an owner holds: a store is with the first owners, as many as
    /// its replication factor says. One that is more than any store asks for holds all.
    fn stores_of(&self, placement: &Placement, id: MemberId) -> usize {
        let at = placement.owners.iter().position(|owner| *owner == id).unwrap_or(usize::MAX);
        let at = if at >= self.state.replication_factor() { 0 } else { at };
        let holds = |store: &&StorePolicy| usize::from(store.replication_factor) > at.max(1);
        self.state.stores.iter().filter(holds).count()
    }
}

/// The owners of a slot that hold a store by its replication factor, and are in sync.
fn holders_in_sync(placement: &Placement, store: &StorePolicy) -> impl Iterator<Item = MemberId> {
    let holders = placement.owners.iter().take(usize::from(store.replication_factor)).copied();
    holders.filter(|id| placement.is_in_sync(*id))
}

#[cfg(test)]
#[path = "failover_tests.rs"]
mod tests;
