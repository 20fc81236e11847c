//! Steps: how placements change, each on condition that a slot is as the step says.

use super::{Assignment, MemberId, Placement, Slot};
use crate::store::{MAX_REPLICATION_FACTOR, StorePolicy};
use serde::{Deserialize, Serialize};

/// What is done with some slots. A slot that is not, or no longer, as the act says is left alone;
/// who proposed the step sees in the table what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Runs of slots `first..=last`.
    pub runs: Vec<(Slot, Slot)>,
    /// What is done with each.
    pub act: Act,
}

/// What is done with a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Act {
    /// One more owner, the last one, not in sync; at most one more than a replication factor can
    /// be. By the leader.
    AddOwner(MemberId),
    /// An owner goes. Never the primary; and none that is in sync while, of those that stay,
    /// fewer are in sync than the stores' replication factor asks for. By the leader.
    RemoveOwner(MemberId),
    /// An owner has everything, or no longer. By the slot's primary.
    InSync {
        /// The primary.
        primary: MemberId,
        /// The slot's epoch.
        epoch: u64,
        /// The owner, not the primary itself.
        member: MemberId,
        /// The incarnation of the owner's process that has everything: read from the table before
        /// that process was asked for anything. Not looked at when `in_sync` is false.
        incarnation: u64,
        /// Whether it has everything.
        in_sync: bool,
    },
    /// An owner that is in sync is the primary, and in sync alone, at a new epoch. By the leader,
    /// when the primary cannot serve any more.
    Promote {
        /// The slot's epoch.
        epoch: u64,
        /// The owner.
        to: MemberId,
    },
    /// An owner that is in sync is the primary; who is in sync stays so, unless it holds more stores by that;
    /// a new epoch. By the primary, which has stopped serving the slot.
    HandOver {
        /// The slot's epoch.
        epoch: u64,
        /// The owner.
        to: MemberId,
    },
    /// A new epoch and nothing else, so that a hand-over, or a word of who is in sync, that is
    /// still on its way is refused. By the primary, or by the leader as it removes an owner.
    Keep {
        /// The slot's epoch.
        epoch: u64,
    },
    /// A member is the only owner, and begins with nothing, at a new epoch. By the leader, where
    /// the last owner in sync is gone and all that it held may be lost.
    Restart {
        /// The slot's epoch.
        epoch: u64,
        /// The member.
        to: MemberId,
    },
    /// As [`Act::RemoveOwner`], by the slot's primary: should its end not be known, a new epoch ends it. From
    /// [`REMOVES_BY_EPOCH`](super::REMOVES_BY_EPOCH) on.
    RemoveOwnerAt {
        /// The slot's epoch.
        epoch: u64,
        /// The owner.
        member: MemberId,
    },
}

/// What a step needs to know of the table.
pub(super) struct Around<'a> {
    /// The table's epoch after the change.
    pub epoch: u64,
    /// The greatest replication factor of all stores.
    pub replication_factor: usize,
    /// The stores.
    pub stores: &'a [StorePolicy],
    /// The incarnation of a member of the table.
    pub incarnation: &'a dyn Fn(MemberId) -> Option<u64>,
    /// Whether an owner of a slot may not come to be in sync, see [`NextFactors`](super::NextFactors).
    pub steps_aside: &'a dyn Fn(&Placement, MemberId) -> bool,
}

impl Step {
    /// One act on runs of slots.
    pub fn new(runs: Vec<(Slot, Slot)>, act: Act) -> Self {
        Self { runs, act }
    }

    /// Whether somebody comes to own slots by it.
    pub fn gives_slots(&self) -> bool {
        match self.act {
            Act::AddOwner(_) | Act::Restart { .. } => true,
            Act::RemoveOwner(_)
            | Act::RemoveOwnerAt { .. }
            | Act::InSync { .. }
            | Act::Promote { .. }
            | Act::HandOver { .. }
            | Act::Keep { .. } => false,
        }
    }

    pub(super) fn apply(&self, assignment: &mut Assignment, around: &Around) {
        assignment.update(&self.runs, |placement| self.act.apply(placement, around));
    }
}

impl Act {
    /// The slot after it; `None`: it is left alone.
    fn apply(&self, slot: &Placement, around: &Around) -> Option<Placement> {
        let incarnation = around.incarnation;
        let primary = slot.primary()?;
        match *self {
            Self::AddOwner(member) => {
                let room = slot.owners.len() <= usize::from(MAX_REPLICATION_FACTOR);
                (incarnation(member).is_some() && !slot.owns(member) && room).then(|| {
                    let mut after = slot.clone();
                    after.owners.push(member);
                    after
                })
            }
            Self::RemoveOwnerAt { epoch, member } => match slot.epoch == epoch {
                true => Self::RemoveOwner(member).apply(slot, around),
                false => None,
            },
            Self::RemoveOwner(member) => {
                let after = slot.without(member);
                let enough = around.replication_factor.min(after.owners.len());
                let spared = !slot.is_in_sync(member) || after.in_sync.len() >= enough;
                let goes = member != primary && slot.owns(member) && spared;
                goes.then(|| slot.removed(member, around.stores))
            }
            Self::InSync { primary: by, epoch, member, incarnation: known, in_sync } => {
                let same = !in_sync || incarnation(member) == Some(known);
                let fits = primary == by && slot.epoch == epoch && member != by;
                let same = same && !(in_sync && (around.steps_aside)(slot, member));
                (fits && same && slot.owns(member)).then(|| slot.with_in_sync(member, in_sync))
            }
            Self::Promote { epoch, to } => {
                let fits = slot.epoch == epoch && slot.is_in_sync(to) && to != primary;
                fits.then(|| slot.with_primary(to, &[to], around.epoch))
            }
            Self::HandOver { epoch, to } => {
                let fits = slot.epoch == epoch && slot.is_in_sync(to) && to != primary;
                fits.then(|| slot.handed_over(to, around.epoch, around.stores))
            }
            Self::Keep { epoch } => {
                (slot.epoch == epoch).then(|| Placement { epoch: around.epoch, ..slot.clone() })
            }
            Self::Restart { epoch, to } => {
                let fits = slot.epoch == epoch && incarnation(to).is_some();
                fits.then(|| Placement::new([to].into_iter().collect(), around.epoch))
            }
        }
    }
}

#[cfg(test)]
#[path = "step_tests.rs"]
mod tests;
