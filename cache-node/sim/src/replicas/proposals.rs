//! What members propose for the table, and how they come to know what became of it.

use super::duties::{Duty, Wants};
use super::stores::holds;
use super::world::{Proposal, World};
use super::{Broken, SLOTS};
use crate::choice::Choice;
use hypercache_core::cluster::{Act, Change, MemberId, Placement};

impl World {
    pub fn want(&mut self, by: (MemberId, u64), wants: Wants) {
        match wants {
            Wants::Nothing => {}
            Wants::Send(message) => self.post(message),
            Wants::Propose(change, duties) => {
                let says = |act: &Act| matches!(act, Act::InSync { .. });
                let is_of_sync = match &change {
                    Change::Place(steps) => steps.iter().any(|step| says(&step.act)),
                    _ => false,
                };
                self.proposals.push(Proposal { by, change, is_of_sync, duties });
            }
        }
    }

    /// A member does what is to be done for another owner of a slot, or for a hand-over.
    pub fn attend(&mut self) {
        let ((id, other), index) = (self.pair(), self.dice.pick(SLOTS.len()));
        let slow = self.dice.one(self.shape.patience);
        let (gives_up, repeats) = (self.dice.one(10), self.dice.one(8));
        let is_connected = self.network.connections.contains_key(&(id, other));
        let Some(process) = self.processes.get_mut(&id) else { return };
        let by = (id, process.incarnation);
        if !process.is_known && self.shape.disks {
            let incarnation = process.incarnation;
            self.let_in(id, incarnation);
            return;
        }
        if !process.is_known {
            // What the table says of its slots has to be settled first: who is furthest is not known to
            // it alone.
            let leads = |placement: &Placement| {
                placement.primary() == Some(id) && placement.in_sync.len() > 1
            };
            let latest = self.table.latest();
            let asks = self.proposals.iter().any(|proposal| proposal.by == by);
            if !asks && !latest.placements.iter().any(leads) {
                let change = Change::Restarted { member: id, incarnation: process.incarnation };
                self.proposals.push(Proposal { by, change, is_of_sync: false, duties: Vec::new() });
            }
            return;
        }
        let Some(version) = process.version.and_then(|at| self.table.versions.get(at)) else {
            return;
        };
        // An answer that was lost is asked for again.
        if repeats && matches!(process.duties.get(&(index, other)), Some(Duty::Asks { .. })) {
            process.duties.remove(&(index, other));
        }
        let wants = match process.handing.contains_key(&index) {
            true if self.dice.one(2) => process.go_on_handing(index, gives_up),
            _ if slow || !is_connected && gives_up => {
                process.drop_owner(index, other, false);
                Wants::Nothing
            }
            _ => process.attend(index, other, version),
        };
        self.want(by, wants);
    }

    pub fn hand_over(&mut self) {
        let (id, index) = (self.member(), self.dice.pick(SLOTS.len()));
        let other = self.member();
        let Some(process) = self.processes.get_mut(&id) else { return };
        let Some(version) = process.version.and_then(|at| self.table.versions.get(at)) else {
            return;
        };
        let placement = &version.placements[index];
        let has_all = version.stores.iter().all(|store| holds(placement, other, store));
        if process.serves(index) && placement.is_in_sync(other) && other != id && has_all {
            process.hand_over(index, other, placement.epoch);
            self.say(&format!("slot {index}: {id} hands it over to {other}"));
        }
    }

    /// Hand-overs that cannot come to their end are given up.
    pub fn keep(&mut self) {
        let id = self.member();
        let Some(process) = self.processes.get_mut(&id) else { return };
        let Some(index) = process.handing.keys().next().copied() else { return };
        let (by, wants) = ((id, process.incarnation), process.go_on_handing(index, true));
        self.want(by, wants);
    }

    /// A proposal comes to its end.
    pub fn commit(&mut self) {
        if self.proposals.is_empty() {
            return;
        }
        let at = self.dice.pick(self.proposals.len());
        if !self.network.is_heard(self.proposals[at].by.0) {
            return;
        }
        let Proposal { by, change, duties, .. } = self.proposals.swap_remove(at);
        self.say(&format!("{} proposed {change:?}", by.0));
        self.table.commit(&change);
        let last = self.table.versions.len() - 1;
        let process = self.processes.get_mut(&by.0).filter(|it| it.incarnation == by.1);
        let Some(process) = process else { return };
        for key in duties {
            if let Some(Duty::Proposed { end }) = process.duties.get_mut(&key) {
                *end = Some(last);
            }
        }
    }

    /// A member sees another version of the table.
    pub fn see(&mut self) -> Result<(), String> {
        let id = self.member();
        let last = self.table.versions.len() - 1;
        if !self.network.hears(id) || self.late == Some(id) {
            return Ok(());
        }
        let Some(process) = self.processes.get_mut(&id) else { return Ok(()) };
        let next = process.version.map_or(0, |version| (version + 1).min(last));
        let next = next + self.dice.pick(last - next + 1);
        // What is between two versions may have been compacted by then.
        let far = process.version.is_some_and(|seen| seen + 3 < next);
        if self.shape.snapshots && far && self.dice.one(2) {
            let keeps = self.options.broken == Some(Broken::KeptOverSnapshot);
            process.jump(next, &self.table.versions, keeps)?;
            if !keeps {
                // Its sessions are over.
                self.network.connections.retain(|(from, _), _| *from != id);
            }
        } else {
            process.see_up_to(next, &self.table.versions)?;
        }
        if self.options.broken == Some(Broken::ServesUnknown) {
            process.pretend(&self.table.versions[next]);
        }
        Ok(())
    }
}
