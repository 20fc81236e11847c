//! Which stores an owner of a slot holds: the first owners hold each, as many as its replication factor says; and one
//! that is more than any store asks for, as it is on its way to take another one's place, holds all.
//!
//! Who is in sync has all that was acknowledged of the stores that it holds. So an owner that comes to hold one more,
//! because it comes to stand before another or because the store asks for more owners, is not in sync until it has
//! that too: it might be promoted, and the store would be empty.

use super::placement::Owners;
use super::{MemberId, Placement};
use crate::store::StorePolicy;

fn holds(stores: &[StorePolicy], store: &StorePolicy, place: usize) -> bool {
    let factor = |store: &StorePolicy| usize::from(store.replication_factor);
    let most = stores.iter().map(factor).max().unwrap_or(1).max(1);
    place < factor(store).max(1) || place >= most
}

/// How many of the stores that are replicated an owner holds: who holds more is the next primary before others.
fn held(owners: &Owners, stores: &[StorePolicy], id: MemberId) -> usize {
    let Some(place) = owners.iter().position(|owner| *owner == id) else { return 0 };
    let is_held =
        |store: &&StorePolicy| store.replication_factor > 1 && holds(stores, store, place);
    stores.iter().filter(is_held).count()
}

/// The stores that come after some, none with a lower replication factor than before: those in force until all know who
/// owns what. While a slot's records go by the places before, and a store by its lower factor already, an owner that is
/// to hold it may get nothing of it, and would take itself for one that does not hold it.
pub fn not_lowered(before: &[StorePolicy], after: &[StorePolicy]) -> Vec<StorePolicy> {
    let factor = |policy: &StorePolicy| {
        let same = |old: &&StorePolicy| (old.number, &old.name) == (policy.number, &policy.name);
        let old = before.iter().find(same).map_or(0, |old| old.replication_factor);
        policy.replication_factor.max(old)
    };
    let raised = after
        .iter()
        .map(|policy| StorePolicy { replication_factor: factor(policy), ..policy.clone() });
    raised.collect()
}

/// Whether an owner that was at one place with some stores, and is at another one with others, holds one of them that it
/// did not hold. Of a store that was not there nobody lacks anything.
fn gains(was: (&[StorePolicy], usize), is: (&[StorePolicy], usize)) -> bool {
    let before = |store: &StorePolicy| was.0.iter().find(|old| old.number == store.number);
    is.0.iter().any(|store| {
        holds(is.0, store, is.1) && before(store).is_some_and(|old| !holds(was.0, old, was.1))
    })
}

/// Whether somebody is in sync, beside the primary, who holds more than before.
fn is_more(
    (old, before): (&[StorePolicy], &Placement),
    (new, after): (&[StorePolicy], &Placement),
    id: MemberId,
) -> bool {
    let place = |of: &Placement| of.owners.iter().position(|owner| *owner == id);
    match (place(before), place(after)) {
        (Some(was), Some(is)) => is > 0 && gains((old, was), (new, is)),
        _ => false,
    }
}

impl Placement {
    /// The same, in which nobody is in sync who holds more than in an earlier one.
    fn where_held(mut self, before: &Self, stores: &[StorePolicy]) -> Self {
        let after = self.clone();
        self.in_sync.retain(|id| !is_more((stores, before), (stores, &after), *id));
        self
    }

    /// The same without an owner that is not the primary. Others may come to stand where that holds more: where those
    /// that are in sync would lack something by that, or hold less than before, the last owner takes the place, or who
    /// is in sync stands before who is not.
    pub(super) fn removed(&self, member: MemberId, stores: &[StorePolicy]) -> Self {
        let after = self.without(member);
        let mut filled = after.owners.clone();
        if self.owners.last() != Some(&member)
            && let Some(last) = filled.pop()
            && let Some(place) = self.owners.iter().position(|owner| *owner == member)
        {
            filled.insert(place.min(filled.len()), last);
        }
        let sorted = after.in_sync_first();
        self.best(after, [filled, sorted], stores)
    }

    /// The same with another primary, to which this one hands it over with everything. It goes last, unless it holds by
    /// that less than others have.
    pub(super) fn handed_over(&self, to: MemberId, epoch: u64, stores: &[StorePolicy]) -> Self {
        let after = self.with_primary(to, &self.in_sync, epoch);
        let others = self.owners.iter().copied().filter(|owner| *owner != to);
        let second = [to].into_iter().chain(others).collect();
        self.best(after, [second], stores)
    }

    /// A placement that comes after this one, or the same with its owners in another order: the first of those in which
    /// stores are with the most that are in sync.
    fn best<const N: usize>(
        &self,
        after: Self,
        orders: [Owners; N],
        stores: &[StorePolicy],
    ) -> Self {
        let with = |owners: Owners| {
            let in_sync = owners.iter().copied().filter(|id| after.is_in_sync(*id)).collect();
            Self { owners, in_sync, epoch: after.epoch }
        };
        let mut best = after.clone().where_held(self, stores);
        for owners in orders {
            let other = with(owners).where_held(self, stores);
            if other.copies(stores) > best.copies(stores) {
                best = other;
            }
        }
        best
    }

    /// With how many that are in sync the stores are, all together.
    fn copies(&self, stores: &[StorePolicy]) -> usize {
        let places = (0..).zip(&self.owners).filter(|(_, owner)| self.is_in_sync(**owner));
        let of = |place| stores.iter().filter(|store| holds(stores, store, place)).count();
        places.map(|(place, _)| of(place)).sum()
    }

    /// The same with other stores, at a new epoch: a word that somebody is in sync may be on its way, who is so with
    /// what he held before. Where a store asks for fewer owners than before, who is in sync stands before who is not if
    /// more is held in sync by that. `None`: nobody holds more, and all stand where they did.
    pub(super) fn with_stores(
        &self,
        old: &[StorePolicy],
        new: &[StorePolicy],
        epoch: u64,
    ) -> Option<Self> {
        let with = |owners: Owners| {
            let in_sync = owners.iter().copied().filter(|id| self.is_in_sync(*id)).collect();
            let mut after = Self { owners, in_sync, epoch };
            let all = after.clone();
            after.in_sync.retain(|id| !is_more((old, self), (new, &all), *id));
            after
        };
        let (stays, sorted) = (with(self.owners.clone()), with(self.in_sync_first()));
        if sorted.copies(new) > stays.copies(new) {
            return Some(sorted);
        }
        let holds_more = |id: &MemberId| is_more((old, self), (new, self), *id);
        self.owners.iter().any(holds_more).then_some(stays)
    }

    /// Who is in sync, and must not be when other stores come into force: who holds more by them than it has; and who
    /// stood beside another one as the next primary, and stands behind it then. What a majority acknowledged may be with
    /// the one and not with the other.
    pub(super) fn aside(&self, old: &[StorePolicy], new: &[StorePolicy]) -> Owners {
        let after = self.with_stores(old, new, self.epoch);
        let after = after.as_ref().map_or(&self.owners, |after| &after.owners);
        let gains = |id: MemberId| {
            let place = |of: &Owners| of.iter().position(|owner| *owner == id);
            place(&self.owners)
                .zip(place(after))
                .is_some_and(|(was, is)| gains((old, was), (new, is)))
        };
        let yields = |id: MemberId, to: MemberId| {
            let behind =
                |owners: &Owners, stores| held(owners, stores, id) < held(owners, stores, to);
            behind(after, new) && !behind(&self.owners, old)
        };
        let others = || self.in_sync.iter().skip(1).copied();
        let goes = |id: &MemberId| {
            gains(*id) || others().any(|to| to != *id && !gains(to) && yields(*id, to))
        };
        others().filter(goes).collect()
    }

    /// The same at a new epoch, where an owner in sync holds less by other stores: a hand-over to it that is on its way
    /// is refused, as it may drop what it holds no more.
    pub(super) fn where_less(
        &self,
        old: &[StorePolicy],
        new: &[StorePolicy],
        epoch: u64,
    ) -> Option<Self> {
        let mut places = (0..).zip(&self.owners).skip(1);
        let loses =
            places.any(|(place, id)| self.is_in_sync(*id) && gains((new, place), (old, place)));
        loses.then(|| Self { epoch, ..self.clone() })
    }

    /// Its owners, those that are in sync before those that are not.
    fn in_sync_first(&self) -> Owners {
        let (ahead, behind): (Vec<_>, Vec<_>) =
            self.owners.iter().partition(|owner| self.is_in_sync(**owner));
        ahead.into_iter().chain(behind).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stores(factors: &[u8]) -> Vec<StorePolicy> {
        let store = |(number, factor): (u16, &u8)| StorePolicy {
            replication_factor: *factor,
            ..StorePolicy::new(format!("s{number}"), number)
        };
        (0..).zip(factors).map(store).collect()
    }

    fn placed(owners: &[MemberId], in_sync: &[MemberId]) -> Placement {
        Placement { owners: owners.into(), in_sync: in_sync.into(), epoch: 3 }
    }

    #[test]
    fn a_primary_that_hands_over_goes_on_to_hold_what_another_owner_would_lack() {
        let before = placed(&[1, 2, 3], &[1, 2, 3]);
        let after = |slot: &Placement, to, factors| slot.handed_over(to, 3, &stores(factors));
        assert_eq!(after(&before, 2, &[2, 3]), placed(&[2, 1, 3], &[2, 1, 3]));
        assert_eq!(after(&before, 2, &[3, 3]), placed(&[2, 3, 1], &[2, 3, 1]), "all hold all");
        // Whether the other one is in sync or not, the primary has what is with few.
        let late = placed(&[1, 2, 3], &[1, 2]);
        assert_eq!(after(&late, 2, &[2, 3]), placed(&[2, 1, 3], &[2, 1]));
        let moves = placed(&[1, 2, 3, 4], &[1, 2, 3, 4]);
        assert_eq!(after(&moves, 4, &[2, 3]), placed(&[4, 2, 3, 1], &[4, 2, 3, 1]));
    }

    #[test]
    fn who_is_in_sync_does_not_hold_less_by_an_owner_that_goes() {
        let slot = placed(&[1, 4, 3, 2], &[1, 2]);
        assert_eq!(slot.removed(3, &stores(&[2, 3])), placed(&[1, 2, 4], &[1, 2]));
        assert_eq!(slot.removed(3, &stores(&[3, 3])), placed(&[1, 4, 2], &[1, 2]));
    }

    #[test]
    fn who_has_everything_takes_the_place_of_an_owner_that_goes() {
        let before = placed(&[3, 4, 1, 2], &[3, 1, 2]);
        assert_eq!(before.removed(4, &stores(&[2, 3])), placed(&[3, 2, 1], &[3, 2, 1]));
        assert_eq!(before.removed(4, &stores(&[3, 3])), placed(&[3, 1, 2], &[3, 1, 2]));
        let late = placed(&[3, 4, 1, 2], &[3, 1]);
        assert_eq!(late.removed(4, &stores(&[2, 3])), placed(&[3, 2, 1], &[3, 1]));
        let alone = placed(&[3, 4, 1], &[3, 1]);
        assert_eq!(alone.removed(4, &stores(&[2, 3])), placed(&[3, 1], &[3]), "1 lacks a store");
    }

    #[test]
    fn who_holds_a_store_more_by_a_greater_factor_is_not_in_sync() {
        let slot = placed(&[1, 2, 3], &[1, 2, 3]);
        let (few, many) = (stores(&[2, 3]), stores(&[3, 3]));
        let after = slot.with_stores(&few, &many, 9).unwrap();
        assert_eq!((after.in_sync.to_vec(), after.epoch), (vec![1, 2], 9));
        assert_eq!(slot.with_stores(&many, &few, 9), None);
        assert_eq!(slot.with_stores(&stores(&[3]), &many, 9), None, "a new store has nothing");
    }

    #[test]
    fn who_would_hold_more_or_stand_behind_another_one_steps_aside_before_factors_change() {
        let (few, many) = (stores(&[2, 3]), stores(&[3, 3]));
        let slot = placed(&[1, 2, 3], &[1, 2, 3]);
        let aside = |slot: &Placement, old: &[_], new: &[_]| slot.aside(old, new).to_vec();
        assert_eq!(aside(&slot, &few, &many), [3], "it lacks a store");
        assert_eq!(aside(&slot, &many, &few), [3], "the other one may lack what it confirmed");
        assert_eq!(aside(&slot, &many, &stores(&[1, 3])), [], "they stay side by side");
        assert_eq!(aside(&slot, &stores(&[3]), &stores(&[2])), [], "it holds all until it goes");
        // It takes the place of one that is not in sync.
        assert_eq!(aside(&placed(&[1, 2, 3], &[1, 3]), &many, &few), []);
        assert_eq!(aside(&placed(&[1, 2, 3], &[1, 3]), &few, &many), [3]);
        assert_eq!(aside(&placed(&[1, 2, 3], &[1]), &few, &many), []);
    }

    #[test]
    fn who_is_in_sync_goes_on_to_hold_a_store_that_asks_for_fewer_owners() {
        let (few, many) = (stores(&[2, 3]), stores(&[3, 3]));
        let slot = placed(&[1, 4, 3], &[1, 3]);
        let after = Placement { epoch: 9, ..placed(&[1, 3, 4], &[1, 3]) };
        assert_eq!(slot.with_stores(&many, &few, 9), Some(after));
        // With as many stores in sync as before, all stand where they did.
        assert_eq!(placed(&[1, 4, 3], &[1, 4]).with_stores(&many, &few, 9), None);
    }
}
