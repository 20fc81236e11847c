//! How slots are moved, as an operator steers it. It stands in the cluster's table, so that every
//! leader does the same.

use super::{ClusterState, MAX_WEIGHT, MemberId, Placement};
use crate::store::{Invalid, StorePolicy};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The least rate that can be asked for, in bytes a second: slower ones would never end.
pub const MIN_MOVE_BYTES_PER_SECOND: u64 = 64 << 10;

/// How slots are moved.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Steering {
    /// No slot begins to move. Owners that are missing are still replaced, and members that fail are.
    pub paused: bool,
    /// Members by name that have another weight than they say themselves.
    pub weights: BTreeMap<String, u32>,
    /// Members by name that shall own no slots.
    pub drained: BTreeSet<String>,
    /// The bytes of slots on their way from a member to another one in a second; `None`: as each
    /// member is configured.
    pub max_bytes_per_second: Option<u64>,
}

/// A change of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Steer {
    /// No slot begins to move from now on, or slots move again.
    Pause(bool),
    /// Weights by name; `None`: as the member says itself.
    Weights(BTreeMap<String, Option<u32>>),
    /// A member shall own no slots, or may again.
    Drain {
        /// Its name.
        name: String,
        /// Whether it shall own none.
        drained: bool,
    },
    /// The bytes in a second, see [`Steering::max_bytes_per_second`].
    MoveRate(Option<u64>),
    /// What is under way is given up: of the owners that a slot has more than the stores ask for,
    /// those go that are not in sync; and it is paused.
    Abort,
}

impl ClusterState {
    /// The weight of a member: what the operator gave it, else its own.
    pub fn weight(&self, id: MemberId) -> u32 {
        let Some(member) = self.members.get(&id) else { return 1 };
        self.steering.weights.get(&member.name).copied().unwrap_or(member.weight)
    }

    /// Whether a member of that name shall own slots.
    pub fn may_own(&self, name: &str) -> bool {
        !self.is_leaving(name) && !self.steering.drained.contains(name)
    }

    /// How many owners a slot should have, of the members that may own slots.
    pub fn owners_wanted(&self) -> usize {
        let may = self.members.values().filter(|member| self.may_own(&member.name)).count();
        self.replication_factor().min(may.max(1))
    }

    pub(super) fn steer(&mut self, steer: &Steer) -> Result<(), Invalid> {
        match steer {
            Steer::Pause(paused) => self.steering.paused = *paused,
            Steer::Weights(weights) => self.set_weights(weights)?,
            Steer::Drain { name, drained } => self.drain(name, *drained)?,
            Steer::MoveRate(rate) => {
                if rate.is_some_and(|rate| rate < MIN_MOVE_BYTES_PER_SECOND) {
                    return Err(Invalid {
                        field: "max_bytes_per_second".into(),
                        message: format!("it is at least {MIN_MOVE_BYTES_PER_SECOND}, or null"),
                    });
                }
                self.steering.max_bytes_per_second = *rate;
            }
            Steer::Abort => {
                self.steering.paused = true;
                let wanted = self.owners_wanted();
                let held = self.held().to_vec();
                self.assignment
                    .update(&super::state::EVERY_SLOT, |slot| given_up(slot, wanted, &held));
            }
        }
        Ok(())
    }

    fn set_weights(&mut self, weights: &BTreeMap<String, Option<u32>>) -> Result<(), Invalid> {
        for (name, weight) in weights {
            let wrong = |message| Invalid { field: format!("weights.{name}"), message };
            self.known_name(name).map_err(wrong)?;
            match weight {
                Some(weight) if !(1..=MAX_WEIGHT).contains(weight) => {
                    return Err(wrong(format!("{weight} is not one of 1 to {MAX_WEIGHT}")));
                }
                Some(weight) => drop(self.steering.weights.insert(name.clone(), *weight)),
                None => drop(self.steering.weights.remove(name)),
            }
        }
        Ok(())
    }

    fn drain(&mut self, name: &str, drained: bool) -> Result<(), Invalid> {
        let wrong = |message| Invalid { field: "member".into(), message };
        self.known_name(name).map_err(wrong)?;
        if !drained {
            self.steering.drained.remove(name);
            return Ok(());
        }
        let stays = |other: &str| other != name && self.may_own(other);
        if !self.members.values().any(|other| stays(&other.name)) {
            let message = format!("nobody would be left to own the slots of '{name}'");
            return Err(wrong(message));
        }
        self.steering.drained.insert(name.to_owned());
        Ok(())
    }

    fn known_name(&self, name: &str) -> Result<(), String> {
        if self.member_named(name).is_some() {
            return Ok(());
        }
        let names: Vec<&str> = self.members.values().map(|m| m.name.as_str()).collect();
        Err(format!("no member is named '{name}'; there are: {}", names.join(", ")))
    }

    /// Forgets what is said of members that are no more.
    pub(super) fn forget_the_gone(&mut self) {
        let steering = std::mem::take(&mut self.steering);
        let is = |name: &String| self.member_named(name).is_some();
        self.steering = Steering {
            weights: steering.weights.into_iter().filter(|(name, _)| is(name)).collect(),
            drained: steering.drained.into_iter().filter(is).collect(),
            ..steering
        };
    }
}

/// A slot without owners that are not in sync, the last ones first, as long as it has more owners than
/// are wanted. One that is in sync may be the only other one that has what was acknowledged last: it
/// stays until the primary gives it away.
fn given_up(slot: &Placement, wanted: usize, stores: &[StorePolicy]) -> Option<Placement> {
    let mut after = slot.clone();
    for member in slot.replicas().iter().rev() {
        if after.owners.len() > wanted && !slot.is_in_sync(*member) {
            after = after.removed(*member, stores);
        }
    }
    (after != *slot).then_some(after)
}

#[cfg(test)]
#[path = "steering_tests.rs"]
mod tests;
