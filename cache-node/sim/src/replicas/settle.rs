//! The end of a run: everything heals, and is compared.

use super::process::Process;
use super::stores::{Stores, holds};
use super::world::World;
use super::{SLOTS, STORES};
use hypercache_core::cluster::{MemberId, Slot};
use hypercache_core::store::StorePolicy;

/// So many steps everything may take to heal.
const MOST_STEPS: usize = 60_000;
/// How often it is looked whether it has.
const LOOK: usize = 50;

impl World {
    /// Nothing goes wrong any more, until all is well; then all members hold the same, and what was answered
    /// is there.
    pub fn settle(&mut self) -> Result<(), String> {
        self.network.heal();
        self.late = None;
        self.mend_disks();
        self.rest()?;
        if self.shape.disks {
            // What is at rest is on the disks as well.
            self.kill_all(None);
            self.rest()?;
        }
        Ok(())
    }

    /// All members run until all is well; then they are compared.
    fn rest(&mut self) -> Result<(), String> {
        for id in self.shape.ids() {
            self.restart(*id);
        }
        let mut steps = 0;
        while let Some(unwell) = self.unwell() {
            if steps >= MOST_STEPS {
                let placements = &self.table.latest().placements;
                return Err(format!("it does not heal: {unwell}; {placements:?}"));
            }
            for _ in 0..LOOK {
                steps += 1;
                self.tick();
                self.progress()?;
                if steps % 10 == 0 {
                    self.leader();
                    self.renew_leases()?;
                    self.keep();
                    self.touch();
                }
            }
        }
        self.compare()
    }

    fn renew_leases(&mut self) -> Result<(), String> {
        if self.has_clocks() {
            return self.shape.ids().iter().try_for_each(|id| self.renew(*id));
        }
        let last = self.table.versions.len() - 1;
        for process in self.processes.values_mut().filter(|process| !process.lease) {
            process.lease = true;
            process.see_up_to(last, &self.table.versions)?;
            process.serve();
        }
        Ok(())
    }

    /// Something is written where a copy does not count, so that its primary hears of that; and copies are compared
    /// where one may be another one.
    fn touch(&self) {
        // One that goes to all owners.
        let store = if self.shape.stores == Stores::Single { 0 } else { 2 };
        for (index, (slot, tag)) in SLOTS.iter().enumerate() {
            if self.damaged[index] && !self.is_equal(index) {
                self.processes.values().for_each(Process::check_copies);
            }
            let lacks = |process: &&Process| process.space.feed().position(*slot).epoch == 0;
            let serving = self.processes.values().find(|process| process.serves(index));
            let owners = &self.table.latest().placements[index].owners;
            if let Some(serving) = serving
                && owners.iter().filter_map(|id| self.processes.get(id)).any(|it| lacks(&it))
            {
                let key = format!("{{{tag}}}touched");
                serving.call(store, &[b"SET", key.as_bytes(), b"1"]);
            }
        }
    }

    /// What is not well.
    fn unwell(&self) -> Option<String> {
        let latest = self.table.latest();
        let coming = &self.table.state().coming;
        if !coming.is_empty() {
            return Some(format!("factors are on their way: {coming:?}"));
        }
        for (id, process) in &self.processes {
            if process.version.map(|version| version + 1) != Some(self.table.versions.len()) {
                return Some(format!("{id} has not seen the table"));
            }
            if !process.is_known || !process.lease {
                return Some(format!("{id} is not known, or has no lease"));
            }
            if let Some((index, other)) = process.duties.keys().next() {
                return Some(format!("slot {index}: {id} has to do with {other}"));
            }
            let has_more = |slot: &&Slot| !process.space.unheld(**slot).is_empty();
            if let Some(slot) = SLOTS.iter().map(|(slot, _)| slot).find(has_more) {
                return Some(format!("{id} has something in {slot} that it is not to have"));
            }
            let is_busy = |other: MemberId| {
                let link = process.link(other);
                other != *id && link.session() != 0 && (link.pending().0 || link.bytes() > 0)
            };
            if let Some(other) = self.shape.ids().iter().find(|other| is_busy(**other)) {
                return Some(format!("{id} sends to {other}"));
            }
        }
        for (index, placement) in latest.placements.iter().enumerate() {
            let primary = placement.primary().and_then(|id| self.processes.get(&id));
            if !primary.is_some_and(|process| process.serves(index)) {
                return Some(format!("slot {index} is not served: {placement:?}"));
            }
            if placement.in_sync.len() != placement.owners.len() {
                return Some(format!("slot {index}: {placement:?}"));
            }
            let is_whole =
                |other: MemberId| primary.is_some_and(|it| it.takes_for_whole(index, other));
            let lacks = placement.replicas().iter().find(|other| !is_whole(**other));
            if let Some(other) = lacks {
                return Some(format!("slot {index}: {other} is not attached"));
            }
        }
        let damaged = (0..SLOTS.len()).filter(|index| self.damaged[*index]);
        if let Some(index) = damaged.into_iter().find(|index| !self.is_equal(*index)) {
            return Some(format!("slot {index}: a copy that became another one is one yet"));
        }
        match self.history.waiting() {
            0 => None,
            count => Some(format!("{count} answers wait")),
        }
    }

    /// How far each owner is with a slot, and what it holds, by the latest of their clocks.
    fn copies(&self, index: usize) -> Vec<(u64, u32, [u64; STORES.len()])> {
        let (slot, now_ms) = (SLOTS[index].0, self.now_ms());
        let of = |process: &Process| {
            let digests = STORES.map(|store| process.space.slot_digest(store, slot, now_ms));
            let position = process.space.feed().position(slot);
            // A primary whose stores may go to more owners than before skips sequences, which those hear of with its
            // next record.
            (position.epoch, position.sequence as u32, digests)
        };
        let owners = &self.table.latest().placements[index].owners;
        owners.iter().filter_map(|id| self.processes.get(id)).map(of).collect()
    }

    fn is_equal(&self, index: usize) -> bool {
        let (copies, latest) = (self.copies(index), self.table.latest());
        let placement = &latest.placements[index];
        let Some(first) = copies.first() else { return true };
        placement.owners.iter().zip(&copies).all(|(id, copy)| {
            let holds = |store: &StorePolicy| holds(placement, *id, store);
            let same = |store: &StorePolicy| {
                let number = usize::from(store.number);
                !holds(store) || copy.2.get(number) == first.2.get(number)
            };
            // Who does not hold all is not told of all records.
            let has_all = latest.stores.iter().all(holds);
            copy.0 == first.0 && (!has_all || copy.1 == first.1) && latest.stores.iter().all(same)
        })
    }

    fn now_ms(&self) -> u64 {
        self.processes.values().map(|process| process.now_ms).max().unwrap_or(0)
    }

    fn compare(&mut self) -> Result<(), String> {
        // The clocks of all are set to the same, and nothing expires meanwhile.
        let now_ms = self.now_ms();
        self.processes.values_mut().for_each(|process| process.now_ms = now_ms);
        for index in 0..SLOTS.len() {
            if !self.is_equal(index) {
                let all = self.copies(index);
                return Err(format!("slot {index} is not the same everywhere: {all:?}"));
            }
        }
        let placements = &self.table.latest().placements;
        let read = |store, words: &[&[u8]]| {
            let slot = hypercache_core::cluster::slot_of(words[1]);
            let index = SLOTS.iter().position(|(of, _)| *of == slot).unwrap_or(0);
            let primary = placements[index].primary().and_then(|id| self.processes.get(&id));
            let called = primary.and_then(|process| process.call(store, words));
            called.map(|called| called.reply).unwrap_or_default()
        };
        self.history.check(read)
    }
}
