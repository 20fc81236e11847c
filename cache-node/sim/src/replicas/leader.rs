//! What the leader decides: who may serve, who is promoted, which owners come and go.

use super::process::Process;
use super::stores::holds;
use super::table::step;
use super::world::World;
use super::{Broken, OWNERS, SLOTS};
use crate::choice::Choice;
use hypercache_core::cluster::{Act, Change, MemberId, Step};
use hypercache_core::replica::quorum_links;
use hypercache_core::store::StorePolicy;

impl World {
    /// Leases end for who is isolated, and begin again for who is not.
    pub fn lease(&mut self) -> Result<(), String> {
        let id = self.member();
        if self.has_clocks() {
            return self.renew(id);
        }
        let is_isolated = !self.network.is_connected(id);
        let Some(process) = self.processes.get_mut(&id) else { return Ok(()) };
        let lease = !is_isolated;
        if process.lease != lease {
            process.lease = lease;
            if !lease && self.options.broken == Some(Broken::ServesWithoutLease) {
                return Ok(());
            }
            if lease {
                // Whoever gives it says of which table it is.
                let last = self.table.versions.len() - 1;
                process.see_up_to(last, &self.table.versions)?;
            }
            process.serve();
            self.say(&format!("{id}: lease {lease}"));
        }
        Ok(())
    }

    /// The leader promotes where a primary cannot serve.
    pub fn leader(&mut self) {
        if self.shape.disks {
            return self.fail_over();
        }
        let index = self.dice.pick(SLOTS.len());
        let latest = self.table.latest();
        let placement = latest.placements[index].clone();
        let Some(primary) = placement.primary() else { return };
        let is_itself = |id: MemberId| {
            let process = self.processes.get(&id)?;
            (Some(&process.incarnation) == latest.incarnations.get(&id)).then_some(process)
        };
        let waits_longer = self.options.broken != Some(Broken::WaitsNoLonger);
        let may_serve = |process: &Process| match self.has_clocks() {
            true => !self.leases.is_over(primary, waits_longer),
            false => process.lease,
        };
        if is_itself(primary).is_some_and(may_serve) {
            return;
        }
        let heard = placement.in_sync.iter().copied().filter(|id| *id != primary);
        let heard = heard.filter(|id| self.network.is_connected(*id));
        let candidates: Vec<_> = heard
            .filter_map(|id| {
                let position = is_itself(id)?.space.feed().position(SLOTS[index].0);
                let stores = latest.stores.iter().filter(|store| holds(&placement, id, store));
                (position.epoch != 0).then_some((stores.count(), position, id))
            })
            .collect();
        // Who was not heard may have confirmed no quorum with each other.
        let unheard = placement.in_sync.len() - candidates.len();
        if unheard > usize::from(quorum_links(3)) {
            return;
        }
        // Nor has anybody a store that only who was not heard holds, and others should.
        let is_heard =
            |store: &StorePolicy| candidates.iter().any(|(_, _, id)| holds(&placement, *id, store));
        let mut shared = latest.stores.iter().filter(|store| store.replication_factor > 1);
        if !shared.all(is_heard) {
            return;
        }
        let furthest = match self.options.broken {
            Some(Broken::AnyOwner) => candidates.first(),
            _ => candidates.iter().max(),
        };
        let Some((_, _, to)) = furthest.copied() else { return };
        self.say(&format!("slot {index}: {to} is promoted in the place of {primary}"));
        self.table.commit(&step(index, Act::Promote { epoch: placement.epoch, to }));
        self.ran.promoted += 1;
    }

    /// The leader brings a slot to another owner, and lets one go that is too many.
    pub fn move_slot(&mut self) {
        let (id, index) = (self.member(), self.dice.pick(SLOTS.len()));
        let placement = self.table.latest().placements[index].clone();
        let Some(primary) = placement.primary().filter(|primary| *primary != id) else { return };
        let is_more = placement.owners.len() > OWNERS;
        let act = match (placement.owns(id), placement.is_in_sync(id)) {
            (false, _) if !is_more && self.processes.contains_key(&id) => Act::AddOwner(id),
            (true, false) if is_more => Act::RemoveOwner(id),
            (true, true) if placement.in_sync.len() > OWNERS => {
                // Its primary lets it go.
                if let Some(process) = self.processes.get_mut(&primary) {
                    process.drop_owner(index, id, true);
                }
                return;
            }
            _ => return,
        };
        self.say(&format!("slot {index}: {act:?}"));
        self.table.commit(&self.moved(index, act));
        self.ran.moves += 1;
        if matches!(act, Act::RemoveOwner(_)) && self.dice.one(3) {
            // It is wanted again, before anybody may have heard that it was not.
            self.table.commit(&step(index, Act::AddOwner(id)));
            self.ran.moves += 1;
        }
    }

    /// An owner comes or goes. One that goes leaves a new epoch behind, by which a word that it is in sync is refused
    /// that is on its way.
    fn moved(&self, index: usize, act: Act) -> Change {
        let mut steps = step(index, act);
        if let (Change::Place(steps), Act::RemoveOwner(_)) = (&mut steps, act)
            && self.options.broken != Some(Broken::RemovedQuietly)
        {
            let (slot, epoch) = (SLOTS[index].0, self.table.latest().placements[index].epoch);
            steps.push(Step::new(vec![(slot, slot)], Act::Keep { epoch }));
        }
        steps
    }
}
