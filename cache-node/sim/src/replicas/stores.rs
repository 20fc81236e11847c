//! What stores a world has, who holds them, and how they change.

use super::world::World;
use super::{OWNERS, STORES};
use crate::choice::Choice;
use hypercache_core::cluster::{Change, MemberId, Placement};
use hypercache_core::store::{Acks, StoreNumber, StorePolicy};

/// The stores of a world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stores {
    /// All owners hold all of them.
    Even,
    /// One is held by fewer owners than the others.
    Mixed,
    /// The same, and factors and acks are other ones every now and then.
    Changing,
    /// One is held by the primary alone, and by who is to be it.
    Single,
}

impl Stores {
    /// The first policies.
    pub fn policies(self) -> Vec<StorePolicy> {
        let acks = [Acks::All, Acks::Quorum, Acks::One];
        let policies = STORES.iter().zip(acks).map(|(number, acks)| {
            let name = if *number == 0 { "default".to_owned() } else { format!("store{number}") };
            let replication_factor = match (self, *number) {
                (Self::Mixed | Self::Changing, 0) => 2,
                (Self::Single, 2) => 1,
                _ => 3,
            };
            StorePolicy { replication_factor, acks, ..StorePolicy::new(name, *number) }
        });
        policies.collect()
    }
}

/// Whether an owner of a slot holds a store: the first ones do, as many as its factor says, and one that is on its way
/// to take another one's place.
pub fn holds(placement: &Placement, id: MemberId, store: &StorePolicy) -> bool {
    let rank = placement.owners.iter().position(|owner| *owner == id);
    rank.is_some_and(|rank| rank < usize::from(store.replication_factor) || rank >= OWNERS)
}

impl World {
    /// A store has another replication factor, or another acks. One keeps the greatest factor, so that slots have as
    /// many owners as before.
    pub fn change_store(&mut self) {
        let number = self.dice.pick(2) as StoreNumber;
        let factor = self.dice.one(2);
        let stores = &self.table.latest().stores;
        let Some(mut policy) = stores.iter().find(|store| store.number == number).cloned() else {
            return;
        };
        match factor {
            true => policy.replication_factor = 5 - policy.replication_factor,
            false if policy.acks == Acks::All => policy.acks = Acks::Quorum,
            false => policy.acks = Acks::All,
        }
        let StorePolicy { replication_factor, acks, .. } = &policy;
        self.say(&format!("store {number} has the factor {replication_factor} and {acks:?}"));
        self.table.commit(&Change::ChangeStore(policy));
    }

    /// Whether, of each store whose answers say that something stays, more than one owner in sync has what there is.
    pub fn is_held_twice(&self, placement: &Placement) -> bool {
        let stores = self.table.latest().stores.iter().filter(|store| store.acks != Acks::One);
        stores.into_iter().all(|store| {
            let holders = placement.in_sync.iter().filter(|id| holds(placement, **id, store));
            holders.count() > 1
        })
    }
}
