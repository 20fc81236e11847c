//! Where a slot is: its owners, which of them have everything, and since when that is so.

use super::{MemberId, Slot};
use smallvec::SmallVec;

/// Owners of a slot, the primary first. Empty: nobody.
pub type Owners = SmallVec<[MemberId; 3]>;

/// Where a slot is. Changed by steps only, see [`Act`](super::Act).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Placement {
    /// Who holds the slot, or shall; the primary, which answers for it, first.
    pub owners: Owners,
    /// The owners that have all that a store with acks `all` has acknowledged, in the order of
    /// `owners`: so the primary is the first of these, too.
    pub in_sync: Owners,
    /// The table's epoch at which the slot got its primary, or its primary was confirmed.
    pub epoch: u64,
}

/// A run of slots `first..=last` that are at the same place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacementRun {
    /// The first slot.
    pub first: Slot,
    /// The last slot, inclusive.
    pub last: Slot,
    /// Where they are.
    pub placement: Placement,
}

impl Placement {
    /// Owners of whom only the primary is known to have everything.
    pub fn new(owners: Owners, epoch: u64) -> Self {
        let in_sync = owners.first().copied().into_iter().collect();
        Self { owners, in_sync, epoch }
    }

    /// Who answers for the slot.
    pub fn primary(&self) -> Option<MemberId> {
        self.owners.first().copied()
    }

    /// The owners that do not answer, but hold what the primary has, or get it.
    pub fn replicas(&self) -> &[MemberId] {
        self.owners.get(1..).unwrap_or_default()
    }

    /// Whether a member is an owner.
    pub fn owns(&self, member: MemberId) -> bool {
        self.owners.contains(&member)
    }

    /// Whether a member has everything.
    pub fn is_in_sync(&self, member: MemberId) -> bool {
        self.in_sync.contains(&member)
    }

    /// What a table may hold: an owner at least, each once, the primary in sync, nobody in sync who
    /// is no owner.
    pub(super) fn is_sound(&self) -> bool {
        let distinct =
            |list: &Owners| list.iter().enumerate().all(|(i, member)| !list[..i].contains(member));
        !self.owners.is_empty()
            && self.in_sync.first() == self.owners.first()
            && distinct(&self.owners)
            && distinct(&self.in_sync)
            && self.in_sync.iter().all(|member| self.owners.contains(member))
    }

    /// The same with another primary, an owner. The one before stands last: the stores that have
    /// fewer owners than the slot are on the first ones.
    pub(super) fn with_primary(&self, to: MemberId, in_sync: &[MemberId], epoch: u64) -> Self {
        let before = self.primary().filter(|primary| *primary != to);
        let others = self.replicas().iter().copied().filter(|member| *member != to);
        let owners: Owners = [to].into_iter().chain(others).chain(before).collect();
        let in_sync = owners.iter().copied().filter(|member| in_sync.contains(member)).collect();
        Self { owners, in_sync, epoch }
    }

    /// The same with a member more, or fewer, in sync.
    pub(super) fn with_in_sync(&self, member: MemberId, is: bool) -> Self {
        let stays = |m: &MemberId| if *m == member { is } else { self.is_in_sync(*m) };
        Self { in_sync: self.owners.iter().copied().filter(stays).collect(), ..self.clone() }
    }

    /// The same without an owner that is not the primary.
    pub(super) fn without(&self, member: MemberId) -> Self {
        let rest = |list: &Owners| list.iter().copied().filter(|m| *m != member).collect();
        Self { owners: rest(&self.owners), in_sync: rest(&self.in_sync), epoch: self.epoch }
    }

    /// After an owner has lost what it had in memory, at `epoch`: it is in sync only where nobody
    /// else is, and is not the primary where somebody else can be. As what the others have of each
    /// other is not known, the new primary is in sync alone.
    pub(super) fn after_loss(&self, member: MemberId, epoch: u64) -> Option<Self> {
        if !self.is_in_sync(member) {
            return None;
        }
        if self.primary() != Some(member) {
            return Some(self.with_in_sync(member, false));
        }
        match self.in_sync.get(1) {
            Some(heir) => Some(self.with_primary(*heir, &[*heir], epoch)),
            None => Some(Self { epoch, ..self.clone() }),
        }
    }

    /// The same with another member in an owner's place.
    pub(super) fn with_instead(&self, old: MemberId, new: MemberId) -> Self {
        let swap = |list: &Owners| list.iter().map(|m| if *m == old { new } else { *m }).collect();
        Self { owners: swap(&self.owners), in_sync: swap(&self.in_sync), epoch: self.epoch }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use smallvec::smallvec;

    fn placed(owners: &[MemberId], in_sync: &[MemberId]) -> Placement {
        Placement { owners: owners.into(), in_sync: in_sync.into(), epoch: 3 }
    }

    #[test]
    fn a_new_primary_stands_first_and_the_old_one_last() {
        let moved = placed(&[1, 2, 3], &[1, 2, 3]).with_primary(2, &[2], 4);
        assert_eq!(moved.owners, Owners::from_slice(&[2, 3, 1]));
        assert_eq!((moved.in_sync, moved.epoch), (smallvec![2], 4));
    }

    #[test]
    fn who_lost_its_memory_is_in_sync_only_where_nobody_else_is() {
        let three = placed(&[1, 2, 3], &[1, 2, 3]);
        assert_eq!(three.after_loss(3, 9), Some(placed(&[1, 2, 3], &[1, 2])));
        let promoted = three.after_loss(1, 9).unwrap();
        assert_eq!(
            (promoted.owners.as_slice(), promoted.in_sync.as_slice()),
            (&[2, 3, 1][..], &[2][..])
        );
        assert_eq!(promoted.epoch, 9);
        let alone = placed(&[1, 2], &[1]);
        assert_eq!(alone.after_loss(1, 9), Some(Placement { epoch: 9, ..alone.clone() }));
        assert_eq!(alone.after_loss(2, 9), None);
    }

    #[test]
    fn in_sync_keeps_the_order_of_owners() {
        let placed = placed(&[1, 2, 3], &[1, 3]).with_in_sync(2, true);
        assert_eq!(placed.in_sync.as_slice(), [1, 2, 3]);
    }
}
