//! The assignment in force: where each slot is.

use super::{MemberId, Owners, Placement, PlacementRun, SLOTS, Slot, slot_runs};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::collections::BTreeMap;

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

/// Slots → placements, and the epoch at which the newest of these came into force. Serialised as
/// runs of slots at the same place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// The cluster's epoch when this assignment came into force.
    pub epoch: u64,
    /// Index into `places` by slot; 0 is nowhere.
    slots: Box<[u16]>,
    /// Each once, in the order in which they are first needed: so equal assignments are equal here.
    places: Vec<Placement>,
}

/// So many pairs of places are remembered, as compared, at most.
const MOST_PAIRS: usize = 1 << 18;

impl Default for Assignment {
    fn default() -> Self {
        Self {
            epoch: 0,
            slots: vec![0; usize::from(SLOTS)].into_boxed_slice(),
            places: vec![Placement::default()],
        }
    }
}

impl Assignment {
    /// An assignment of one owner list a slot, slot 0 first; what is missing at the end has no
    /// owner, what is too much is left out. Only primaries are in sync.
    pub fn from_lists(epoch: u64, owners: impl IntoIterator<Item = Owners>) -> Self {
        let place = |owners: Owners| match owners.is_empty() {
            true => Placement::default(),
            false => Placement::new(owners, epoch),
        };
        Self::from_placements(epoch, owners.into_iter().map(place))
    }

    /// An assignment of one placement a slot, as [`Self::from_lists`].
    pub fn from_placements(epoch: u64, placements: impl IntoIterator<Item = Placement>) -> Self {
        let mut made = Self { epoch, ..Self::default() };
        let mut known: BTreeMap<Placement, u16> = BTreeMap::new();
        known.insert(Placement::default(), 0);
        let mut last = 0;
        for (slot, placement) in made.slots.iter_mut().zip(placements) {
            // Mostly a slot is where the one before it is.
            if made.places.get(usize::from(last)) == Some(&placement) {
                *slot = last;
                continue;
            }
            let next = made.places.len() as u16;
            *slot = *known.entry(placement).or_insert_with_key(|placement| {
                made.places.push(placement.clone());
                next
            });
            last = *slot;
        }
        made
    }

    /// Tells of a slot whether it is at the same place in another assignment, at a step a slot: no two places are compared
    /// twice, unless there are very many.
    pub fn is_same_in<'a>(&'a self, other: &'a Self) -> impl FnMut(Slot) -> bool + 'a {
        // There are few places, as a rule.
        let pairs = self.places.len().saturating_mul(other.places.len());
        let mut known: Vec<Option<bool>> = vec![None; if pairs > MOST_PAIRS { 0 } else { pairs }];
        move |slot| {
            let index = |of: &Self| of.slots.get(usize::from(slot)).copied().map(usize::from);
            let (Some(mine), Some(theirs)) = (index(self), index(other)) else { return true };
            let are_same = || self.places.get(mine) == other.places.get(theirs);
            match known.get_mut(mine * other.places.len() + theirs) {
                Some(known) => *known.get_or_insert_with(are_same),
                None => are_same(),
            }
        }
    }

    /// Where a slot is; `None`: nobody owns it.
    pub fn placement(&self, slot: Slot) -> Option<&Placement> {
        let index = self.slots.get(usize::from(slot)).filter(|index| **index != 0)?;
        self.places.get(usize::from(*index))
    }

    /// The owners of a slot, the primary first.
    pub fn owners(&self, slot: Slot) -> &[MemberId] {
        self.placement(slot).map_or(&[], |placement| &placement.owners)
    }

    /// The owners of a slot that have everything, the primary first.
    pub fn in_sync(&self, slot: Slot) -> &[MemberId] {
        self.placement(slot).map_or(&[], |placement| &placement.in_sync)
    }

    /// The epoch of a slot: that at which it got its primary, or its primary was confirmed.
    pub fn epoch_of(&self, slot: Slot) -> u64 {
        self.placement(slot).map_or(0, |placement| placement.epoch)
    }

    /// The runs of slots at the same place, in order; slots without an owner are in none.
    pub fn placements(&self) -> Vec<PlacementRun> {
        let mut runs: Vec<PlacementRun> = Vec::new();
        let mut before = 0;
        for (slot, index) in (0..SLOTS).zip(self.slots.iter()) {
            match runs.last_mut() {
                Some(run) if before == *index && *index != 0 => run.last = slot,
                _ => {
                    if let Some(placement) = self.placement(slot) {
                        let placement = placement.clone();
                        runs.push(PlacementRun { first: slot, last: slot, placement });
                    }
                }
            }
            before = *index;
        }
        runs
    }

    /// Gives every slot of some runs another placement; `None` leaves it as it is. Slots without
    /// an owner are not asked for.
    pub(super) fn update(
        &mut self,
        runs: &[(Slot, Slot)],
        change: impl Fn(&Placement) -> Option<Placement>,
    ) {
        let mut moved: BTreeMap<u16, u16> = BTreeMap::from([(0, 0)]);
        for (first, last) in runs {
            for slot in *first..=(*last).min(SLOTS - 1) {
                let Some(index) = self.slots.get_mut(usize::from(slot)) else { break };
                let places = &mut self.places;
                *index = *moved.entry(*index).or_insert_with_key(|old| {
                    match places.get(usize::from(*old)).and_then(&change) {
                        Some(placement) => {
                            places.push(placement);
                            (places.len() - 1) as u16
                        }
                        None => *old,
                    }
                });
            }
        }
        self.compact();
    }

    /// Leaves out the placements that no slot has, and puts equal ones together.
    fn compact(&mut self) {
        let old = std::mem::replace(&mut self.places, vec![Placement::default()]);
        let nowhere = Placement::default();
        let mut known: BTreeMap<&Placement, u16> = BTreeMap::from([(&nowhere, 0)]);
        let mut moved: Vec<Option<u16>> = vec![None; old.len()];
        for index in &mut self.slots {
            let (Some(new), Some(placement)) =
                (moved.get_mut(usize::from(*index)), old.get(usize::from(*index)))
            else {
                continue;
            };
            let next = self.places.len() as u16;
            *index = *new.get_or_insert_with(|| {
                *known.entry(placement).or_insert_with(|| {
                    self.places.push(placement.clone());
                    next
                })
            });
        }
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
        slot_runs(self.slots_of(member))
    }

    /// Whether every slot has the same primary and the same other owners, in whatever order.
    pub fn same_owners(&self, other: &Self) -> bool {
        (0..SLOTS).all(|slot| self.has_same_owners(other, slot))
    }

    /// How many slots have another primary, or others among their other owners.
    pub fn differing(&self, other: &Self) -> u32 {
        (0..SLOTS).map(|slot| u32::from(!self.has_same_owners(other, slot))).sum()
    }

    fn has_same_owners(&self, other: &Self, slot: Slot) -> bool {
        let (these, those) = (self.owners(slot), other.owners(slot));
        these.first() == those.first()
            && these.len() == those.len()
            && these.iter().all(|owner| those.contains(owner))
    }
}

#[derive(Serialize, Deserialize)]
struct Wire {
    epoch: u64,
    runs: Vec<WireRun>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct WireRun {
    first: Slot,
    last: Slot,
    owners: Vec<MemberId>,
    in_sync: Vec<MemberId>,
    epoch: u64,
}

impl Serialize for Assignment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let run = |run: PlacementRun| WireRun {
            first: run.first,
            last: run.last,
            owners: run.placement.owners.into_vec(),
            in_sync: run.placement.in_sync.into_vec(),
            epoch: run.placement.epoch,
        };
        let runs = self.placements().into_iter().map(run).collect();
        Wire { epoch: self.epoch, runs }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Assignment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wire = Wire::deserialize(deserializer)?;
        let mut placements = vec![Placement::default(); usize::from(SLOTS)];
        for run in wire.runs {
            let range = usize::from(run.first)..usize::from(run.last) + 1;
            let (first, last) = (run.first, run.last);
            let slots = placements.get_mut(range).ok_or_else(|| {
                D::Error::custom(format!("slots {first} to {last} are not a run below {SLOTS}"))
            })?;
            let placement = Placement {
                owners: Owners::from_vec(run.owners),
                in_sync: Owners::from_vec(run.in_sync),
                epoch: run.epoch,
            };
            if !placement.is_sound() {
                let message = format!("slots {first} to {last} cannot be at {placement:?}");
                return Err(D::Error::custom(message));
            }
            slots.fill(placement);
        }
        Ok(Self::from_placements(wire.epoch, placements))
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
    fn a_slot_number_that_cannot_be_has_no_owner() {
        assert_eq!(halves().primary(SLOTS), None);
    }

    #[test]
    fn changed_slots_are_kept_short_and_equal_to_those_that_were_made_so() {
        let mut assignment = halves();
        let epoch = |epoch| move |p: &Placement| Some(Placement { epoch, ..p.clone() });
        assignment.update(&[(100, 200), (8000, 9000)], epoch(9));
        assert_eq!(assignment.placements().len(), 6);
        assert_eq!((assignment.epoch_of(8191), assignment.owners(8191)), (9, &[1][..]));
        assignment.update(&[(0, u16::MAX)], epoch(9));
        let halves = halves();
        let made = Assignment::from_placements(
            3,
            (0..SLOTS).map(|slot| Placement::new(halves.owners(slot).into(), 9)),
        );
        assert_eq!(assignment, made);
        assert_eq!(assignment.places.len(), 3);
    }

    #[test]
    fn s6_what_was_written_is_read_and_a_table_that_cannot_be_is_refused() {
        let mut assignment = halves();
        assignment.update(&[(9000, 9001)], |p| Some(p.with_in_sync(1, true)));
        let bytes = postcard::to_stdvec(&assignment).unwrap();
        assert_eq!(postcard::from_bytes::<Assignment>(&bytes).unwrap(), assignment);
        let run = |first, last, owners: &[MemberId], in_sync: &[MemberId]| WireRun {
            first,
            last,
            owners: owners.to_vec(),
            in_sync: in_sync.to_vec(),
            epoch: 1,
        };
        for run in [
            run(0, SLOTS, &[1], &[1]),
            run(7, 3, &[1], &[1]),
            run(0, 1, &[], &[]),
            run(0, 1, &[1], &[]),
            run(0, 1, &[1, 2], &[2]),
            run(0, 1, &[1], &[1, 2]),
            run(0, 1, &[1, 1], &[1]),
        ] {
            let bytes = postcard::to_stdvec(&Wire { epoch: 1, runs: vec![run.clone()] }).unwrap();
            assert!(postcard::from_bytes::<Assignment>(&bytes).is_err(), "{run:?}");
        }
    }

    #[test]
    fn slots_at_the_same_place_are_told_from_those_that_are_not() {
        let place = |owners: &[MemberId], epoch| Placement::new(owners.into(), epoch);
        let placements = |other| {
            (0..SLOTS).map(move |slot| match slot {
                0..100 => Placement::default(),
                100..8192 => place(&[1, 2], 1),
                8192..9000 => place(other, 2),
                _ => place(&[2], 2),
            })
        };
        let (a, b) = (placements(&[2, 1]), placements(&[2, 3]));
        let (a, b) = (Assignment::from_placements(1, a), Assignment::from_placements(9, b));
        let mut is_same = a.is_same_in(&b);
        let found: Vec<Slot> = (0..SLOTS).filter(|slot| !is_same(*slot)).collect();
        assert_eq!(slot_runs(found), [(8192, 8999)]);
        for slot in 0..SLOTS {
            assert_eq!(is_same(slot), a.placement(slot) == b.placement(slot), "{slot}");
        }
    }
}
