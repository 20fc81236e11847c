//! Which stores an owner of a slot holds: the first owners hold each, as many as its replication factor says; and one
//! that is more than any store asks for, as it is on its way to take another one's place, holds all.
//!
//! Who is in sync has all that was acknowledged of the stores that it holds. So an owner that comes to hold one more,
//! because it comes to stand before another or because the store asks for more owners, is not in sync until it has
//! that too: it might be promoted, and the store would be empty.

use super::{MemberId, Placement};
use crate::store::StorePolicy;

fn holds(stores: &[StorePolicy], store: &StorePolicy, place: usize) -> bool {
    let factor = |store: &StorePolicy| usize::from(store.replication_factor);
    let most = stores.iter().map(factor).max().unwrap_or(1).max(1);
    place < factor(store).max(1) || place >= most
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
    pub(super) fn where_held(mut self, before: &Self, stores: &[StorePolicy]) -> Self {
        let after = self.clone();
        self.in_sync.retain(|id| !is_more((stores, before), (stores, &after), *id));
        self
    }

    /// The same without an owner that is not the primary. If by that somebody who is in sync held more, the last owner
    /// takes the place, and only who holds more even so is not in sync any more.
    pub(super) fn removed(&self, member: MemberId, stores: &[StorePolicy]) -> Self {
        let after = self.without(member);
        let held = after.clone().where_held(self, stores);
        if held == after {
            return after;
        }
        let mut filled = after;
        if self.owners.last() != Some(&member)
            && let Some(last) = filled.owners.pop()
            && let Some(place) = self.owners.iter().position(|owner| *owner == member)
        {
            filled.owners.insert(place.min(filled.owners.len()), last);
        }
        let in_sync = filled.owners.iter().copied().filter(|id| filled.is_in_sync(*id)).collect();
        filled.in_sync = in_sync;
        filled.where_held(self, stores)
    }

    /// The same with other stores, at a new epoch: a word that somebody is in sync may be on its way, who is so with
    /// what he held before. `None`: nobody holds more.
    pub(super) fn with_stores(
        &self,
        old: &[StorePolicy],
        new: &[StorePolicy],
        epoch: u64,
    ) -> Option<Self> {
        let holds_more = |id: &MemberId| is_more((old, self), (new, self), *id);
        self.owners.iter().any(holds_more).then(|| {
            let in_sync = self.in_sync.iter().copied().filter(|id| !holds_more(id)).collect();
            Self { in_sync, epoch, ..self.clone() }
        })
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
    fn who_comes_to_stand_before_another_and_holds_a_store_more_is_not_in_sync() {
        let before = placed(&[1, 2, 3], &[1, 2, 3]);
        let after =
            before.with_primary(2, &before.in_sync, 4).where_held(&before, &stores(&[2, 3]));
        assert_eq!((after.owners.to_vec(), after.in_sync.to_vec()), (vec![2, 3, 1], vec![2, 1]));
        let even = before.with_primary(2, &before.in_sync, 4).where_held(&before, &stores(&[3, 3]));
        assert_eq!(even.in_sync.to_vec(), [2, 3, 1], "all hold all");
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
}
