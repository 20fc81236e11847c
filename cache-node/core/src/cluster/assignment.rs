//! The assignment in force: which members own each slot, the primary first.

use super::{MemberId, SLOTS, Slot};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use smallvec::SmallVec;
use std::collections::BTreeMap;

/// The owners of a slot, the primary first. Empty: nobody.
pub type Owners = SmallVec<[MemberId; 3]>;

/// A run of slots `first..=last` with the same owners.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// The first slot.
    pub first: Slot,
    /// The last slot, inclusive.
    pub last: Slot,
    /// The owners, the primary first; never empty.
    pub owners: Vec<MemberId>,
}

/// Slots → owner lists, and the epoch at which they came into force. Serialised as runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// The cluster's epoch when this assignment came into force.
    pub epoch: u64,
    /// Index into `lists` by slot; 0 is the empty list.
    slots: Box<[u16]>,
    lists: Vec<Owners>,
}

impl Default for Assignment {
    fn default() -> Self {
        Self {
            epoch: 0,
            slots: vec![0; usize::from(SLOTS)].into_boxed_slice(),
            lists: vec![Owners::new()],
        }
    }
}

impl Assignment {
    /// An assignment of one owner list a slot, slot 0 first; what is missing at the end has no
    /// owner, what is too much is left out.
    pub fn from_lists(epoch: u64, owners: impl IntoIterator<Item = Owners>) -> Self {
        let mut made = Self { epoch, ..Self::default() };
        let mut known: BTreeMap<Owners, u16> = BTreeMap::new();
        known.insert(Owners::new(), 0);
        for (slot, list) in made.slots.iter_mut().zip(owners) {
            let next = made.lists.len() as u16;
            *slot = *known.entry(list).or_insert_with_key(|list| {
                made.lists.push(list.clone());
                next
            });
        }
        made
    }

    /// The owners of a slot, the primary first.
    pub fn owners(&self, slot: Slot) -> &[MemberId] {
        self.slots
            .get(usize::from(slot))
            .and_then(|index| self.lists.get(usize::from(*index)))
            .map_or(&[], SmallVec::as_slice)
    }

    /// The primary of a slot: who answers for it.
    pub fn primary(&self, slot: Slot) -> Option<MemberId> {
        self.owners(slot).first().copied()
    }

    /// Every slot that a member is the primary of, in order.
    pub fn slots_of(&self, member: MemberId) -> impl Iterator<Item = Slot> + '_ {
        (0..SLOTS).filter(move |slot| self.primary(*slot) == Some(member))
    }

    /// How many slots each owner is the primary of.
    pub fn counts(&self) -> BTreeMap<MemberId, u32> {
        let mut counts = BTreeMap::new();
        for slot in 0..SLOTS {
            if let Some(member) = self.primary(slot) {
                *counts.entry(member).or_insert(0) += 1;
            }
        }
        counts
    }

    /// Whether a member stands in any owner list.
    pub fn owns(&self, member: MemberId) -> bool {
        (0..SLOTS).any(|slot| self.owners(slot).contains(&member))
    }

    /// How many slots have an owner.
    pub fn assigned(&self) -> u32 {
        (0..SLOTS).map(|slot| u32::from(!self.owners(slot).is_empty())).sum()
    }

    /// The runs of slots that have owners, in order.
    pub fn runs(&self) -> Vec<Run> {
        let mut runs: Vec<Run> = Vec::new();
        for slot in 0..SLOTS {
            let owners = self.owners(slot);
            match runs.last_mut() {
                _ if owners.is_empty() => {}
                Some(run) if run.last + 1 == slot && run.owners == owners => run.last = slot,
                _ => runs.push(Run { first: slot, last: slot, owners: owners.to_vec() }),
            }
        }
        runs
    }

    /// The runs of slots whose primary a member is.
    pub fn runs_of(&self, member: MemberId) -> Vec<(Slot, Slot)> {
        let mut runs: Vec<(Slot, Slot)> = Vec::new();
        for slot in self.slots_of(member) {
            match runs.last_mut() {
                Some((_, last)) if *last + 1 == slot => *last = slot,
                _ => runs.push((slot, slot)),
            }
        }
        runs
    }

    /// Whether the owner lists are the same, whatever the epochs.
    pub fn same_owners(&self, other: &Self) -> bool {
        (0..SLOTS).all(|slot| self.owners(slot) == other.owners(slot))
    }

    /// What leaves each primary on the way to `target`: member → slots whose primary it stops
    /// being. Slots that nobody owns are free to give and stand under nobody.
    pub fn leaving(&self, target: &Self) -> BTreeMap<MemberId, Vec<Slot>> {
        let mut leaving: BTreeMap<MemberId, Vec<Slot>> = BTreeMap::new();
        for slot in 0..SLOTS {
            if let Some(primary) = self.primary(slot)
                && target.primary(slot) != Some(primary)
            {
                leaving.entry(primary).or_default().push(slot);
            }
        }
        leaving
    }

    /// Puts one member in another's place in every owner list.
    pub(super) fn replace(&mut self, old: MemberId, new: MemberId) {
        for list in &mut self.lists {
            for owner in list.iter_mut() {
                if *owner == old {
                    *owner = new;
                }
            }
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Wire {
    epoch: u64,
    runs: Vec<Run>,
}

impl Serialize for Assignment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Wire { epoch: self.epoch, runs: self.runs() }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Assignment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wire = Wire::deserialize(deserializer)?;
        let mut owners = vec![Owners::new(); usize::from(SLOTS)];
        for run in wire.runs {
            let range = usize::from(run.first)..usize::from(run.last) + 1;
            let (first, last) = (run.first, run.last);
            let slots = owners.get_mut(range).ok_or_else(|| {
                D::Error::custom(format!("slots {first} to {last} are not a run below {SLOTS}"))
            })?;
            slots.fill(Owners::from_vec(run.owners));
        }
        Ok(Self::from_lists(wire.epoch, owners))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use smallvec::smallvec;

    fn halves() -> Assignment {
        Assignment::from_lists(
            3,
            (0..SLOTS).map(|slot| if slot < 8192 { smallvec![1] } else { smallvec![2, 1] }),
        )
    }

    #[test]
    fn runs_are_what_is_assigned() {
        let assignment = halves();
        assert_eq!(
            assignment.runs(),
            [
                Run { first: 0, last: 8191, owners: vec![1] },
                Run { first: 8192, last: 16383, owners: vec![2, 1] }
            ]
        );
        assert_eq!(assignment.runs_of(2), [(8192, 16383)]);
        assert_eq!(assignment.counts(), BTreeMap::from([(1, 8192), (2, 8192)]));
        assert_eq!(Assignment::default().runs(), []);
        assert_eq!(Assignment::default().primary(0), None);
    }

    #[test]
    fn what_leaves_a_primary_is_named_with_it() {
        let target = Assignment::from_lists(4, (0..SLOTS).map(|_| smallvec![1]));
        let leaving = halves().leaving(&target);
        assert_eq!(leaving.len(), 1);
        assert_eq!(leaving[&2].len(), 8192);
        assert!(Assignment::default().leaving(&target).is_empty());
    }

    #[test]
    fn a_slot_number_that_cannot_be_has_no_owner() {
        assert_eq!(halves().primary(SLOTS), None);
    }
}
