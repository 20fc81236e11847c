//! Members whose stores are on disks, and who may be killed at any moment, all of them together as well: what was
//! answered is on the disks of those who have to have it.
//!
//! A process that is killed leaves what it wrote; a machine whose power is cut leaves what was forced to its disk, and
//! any part of the rest.

use super::network::{Body, Message};
use super::process::Process;
use super::world::{Proposal, World};
use super::{Broken, SLOTS};
use crate::disk::{Disk, Faults};
use hypercache_core::cluster::{
    Away, Change, MemberId, Positions, Slot, WHOLE_ON_DISK, fail_over, still_counted, to_be_asked,
};
use hypercache_core::log::Ticket;
use std::collections::{BTreeMap, BTreeSet};

/// So often a write fails, and forcing one to the disk, where disks fail.
const FAULTS: Faults = Faults { writes: 150, syncs: 150 };

impl Process {
    /// Whether something is on its disk, if it has to be anywhere.
    pub fn is_on_disk(&self, ticket: Option<Ticket>) -> bool {
        let journal = self.space.journal();
        self.kept.is_none() || ticket.is_none_or(|ticket| journal.is_durable(ticket))
    }

    /// What it holds and has yet to be on its disk.
    pub fn unforced(&self) -> Option<Ticket> {
        self.space.unforced(SLOTS.map(|(slot, _)| slot))
    }

    /// Whether all that it holds is on its disk, if it has to be anywhere.
    pub fn is_all_on_disk(&self) -> bool {
        self.is_on_disk(self.unforced())
    }

    /// A step of what brings its data to its disk; what may be said by now.
    fn force(&mut self) -> Vec<Message> {
        let Some(kept) = &self.kept else { return Vec::new() };
        kept.now_ms.set(self.now_ms);
        kept.sync();
        kept.regain(|_, _| {});
        let journal = self.space.journal();
        self.unsaid
            .extract_if(.., |(ticket, _)| journal.is_durable(*ticket))
            .map(|(_, it)| it)
            .collect()
    }
}

impl World {
    /// A new process of a member, with what is on its disk; `None` if that cannot be read now.
    pub fn new_process(&mut self, id: MemberId, incarnation: u64) -> Option<Process> {
        let policies = self.shape.policies();
        let disk = self.shape.disks.then(|| {
            self.disks.remove(&id).unwrap_or_else(|| Disk::new(self.seed ^ id.rotate_left(32)))
        });
        let Some(disk) = disk else {
            return Process::start(id, incarnation, self.seed, &policies, None).ok();
        };
        let before = disk.copy();
        match Process::start(id, incarnation, self.seed, &policies, Some(disk)) {
            Ok(process) => {
                if let Some(kept) = process.kept.as_ref().filter(|_| self.disks_fail()) {
                    kept.disk.set_faults(FAULTS);
                }
                Some(process)
            }
            Err(wrong) => {
                self.say(&format!("{id} does not start: {wrong}"));
                self.disks.insert(id, before);
                None
            }
        }
    }

    fn disks_fail(&self) -> bool {
        self.shape.disks_fail && !self.is_healing
    }

    /// What a process that is killed leaves on its disk.
    pub fn leave(&mut self, process: &Process) {
        let Some(kept) = &process.kept else { return };
        let loses_power = self.dice.one(2);
        let seed = self.dice.next_u64();
        let disk = match loses_power {
            true => kept.disk.after_crash(&mut self.dice, seed),
            false => kept.disk.copy(),
        };
        if loses_power {
            self.say(&format!("{} loses its power", process.id));
        }
        self.disks.insert(process.id, disk);
    }

    /// Disks fail no more.
    pub fn mend_disks(&mut self) {
        self.is_healing = true;
        let kept = self.processes.values().filter_map(|process| process.kept.as_ref());
        kept.for_each(|kept| kept.disk.set_faults(Faults::default()));
    }

    /// All members are killed at once, but for one perhaps.
    pub fn kill_all(&mut self, but: Option<MemberId>) {
        for id in self.shape.ids().iter().copied().filter(|id| Some(*id) != but) {
            if self.processes.contains_key(&id) {
                self.kill(id);
            }
        }
    }

    pub fn kill_many(&mut self) {
        let but = (!self.dice.one(3)).then(|| self.member());
        self.kill_all(but);
    }

    /// Who was killed starts again, if anybody was.
    pub fn start_again(&mut self) {
        let ids = self.shape.ids().iter();
        if let Some(id) = ids.copied().find(|id| !self.processes.contains_key(id)) {
            self.restart(id);
        }
    }

    /// Some member's disk gets on.
    pub fn force(&mut self) {
        let id = self.member();
        let said = self.processes.get_mut(&id).map(Process::force).unwrap_or_default();
        said.into_iter().for_each(|message| self.post(message));
    }

    /// Says something once what it is about is on the disk.
    pub fn say_on_disk(&mut self, by: MemberId, ticket: Option<Ticket>, message: Message) {
        let waits = match &message.body {
            Body::Position { .. } => self.options.broken != Some(Broken::UnforcedPosition),
            _ => self.options.broken != Some(Broken::UnforcedConfirmed),
        };
        let process = self.processes.get_mut(&by).filter(|it| waits && !it.is_on_disk(ticket));
        match (process, ticket) {
            (Some(process), Some(ticket)) => process.unsaid.push((ticket, message)),
            _ => self.post(message),
        }
    }

    /// Those that cannot serve, as the leader knows it.
    fn dead(&self) -> BTreeSet<MemberId> {
        let is_dead = |id: &MemberId| match self.processes.get(id) {
            Some(process) => !process.lease && !self.network.is_connected(*id),
            None => true,
        };
        self.shape.ids().iter().copied().filter(is_dead).collect()
    }

    /// What members say of how far they are, of those that are asked: who is there, and has it on its disk.
    fn positions(&self, asked: impl Iterator<Item = MemberId>) -> Positions {
        let mut positions = Positions::new();
        for id in asked.filter(|id| self.network.is_connected(*id)) {
            let Some(process) = self.processes.get(&id) else { continue };
            let waits = self.options.broken != Some(Broken::UnforcedPosition);
            if waits && !process.is_all_on_disk() {
                continue;
            }
            let placements = &self.table.latest().placements;
            let of = |(index, (slot, _)): (usize, &(Slot, _))| match process
                .space
                .feed()
                .position(*slot)
            {
                at if at.epoch > 0 => Some((*slot, (at.epoch, at.sequence))),
                _ => {
                    let was_primary = placements[index].primary() == Some(id);
                    (was_primary && !process.is_known).then_some((*slot, WHOLE_ON_DISK))
                }
            };
            let there = SLOTS.iter().enumerate().filter_map(of);
            positions.insert(id, there.collect::<BTreeMap<_, _>>());
        }
        positions
    }

    /// The leader promotes where primaries cannot serve; or lets a process in that was started again, once its slots
    /// are with who has the most of them. Whether nothing is in its way any more.
    fn decide(&mut self, restarted: Option<MemberId>) -> bool {
        let mut dead = self.dead();
        if let Some(id) = restarted {
            dead.remove(&id);
        }
        let asked = to_be_asked(self.table.state(), &dead, restarted);
        if let Some(id) = restarted.filter(|_| asked.is_empty()) {
            return still_counted(self.table.state(), id) == 0;
        }
        let positions = self.positions(asked.into_keys());
        let (gone, lost) = (self.gone(), BTreeSet::new());
        let away = Away { dead: &dead, gone: &gone, lost: &lost };
        let decided = fail_over(self.table.state(), away, restarted, &positions, |_| false);
        if !decided.steps.is_empty() {
            self.say(&format!("the leader, for {restarted:?}: {:?}", decided.steps));
            self.ran.promoted += decided.steps.len() as u64;
            let change = Change::Place(decided.steps);
            match self.dice.one(3) {
                // What was decided is written a while later.
                true => self.proposals.push(Proposal {
                    by: (0, 0),
                    change,
                    is_of_sync: false,
                    duties: Vec::new(),
                }),
                false => self.table.commit(&change),
            }
        }
        false
    }

    fn gone(&self) -> BTreeSet<MemberId> {
        let ids = self.shape.ids().iter().copied();
        ids.filter(|id| !self.processes.contains_key(id)).collect()
    }

    /// The leader looks at all slots.
    pub fn fail_over(&mut self) {
        self.decide(None);
    }

    /// A process that the table does not know asks to be let in.
    pub fn let_in(&mut self, id: MemberId, incarnation: u64) {
        let by = (id, incarnation);
        let asks = self.proposals.iter().any(|proposal| proposal.by == by);
        if !asks && self.network.is_connected(id) && self.decide(Some(id)) {
            let change = Change::Restarted { member: id, incarnation };
            self.proposals.push(Proposal { by, change, is_of_sync: false, duties: Vec::new() });
        }
    }
}
