//! What goes wrong with members and their connections, as far as what was answered must outlive it.

use super::process::Process;
use super::world::World;
use super::{Broken, OWNERS, SLOTS};
use crate::choice::Choice;
use hypercache_core::cluster::MemberId;

impl World {
    /// Kills, restarts, isolation, and connections that break.
    pub fn fault(&mut self) {
        let id = self.member();
        match self.dice.pick(15) {
            11 if self.shape.disks && self.dice.one(2) => self.kill_many(),
            14 if self.shape.late_tables => self.late = Some(id).filter(|_| self.late.is_none()),
            13 if self.shape.damage && self.dice.one(3) => self.damage(id),
            12 if self.network.is_whole() && self.may_lose(id) => {
                let slot = SLOTS[self.dice.pick(SLOTS.len())].0;
                let gave_up = self.processes.get(&id).is_some_and(|it| it.space.give_up_copy(slot));
                if gave_up {
                    self.weak = [true; SLOTS.len()];
                    self.say(&format!("{id}: its copy of {slot} does not count"));
                }
            }
            0 if self.shape.one_way && self.dice.one(2) => self.one_way(id),
            0 if self.network.is_whole() && self.may_lose(id) => {
                self.network.isolated = Some(id);
                self.network.cut(id);
                self.say(&format!("{id} is isolated"));
            }
            1 | 2 => {
                if let Some(id) = self.network.heal() {
                    self.say(&format!("{id} is back"));
                }
            }
            3..=5 if self.shape.disks && !self.dice.one(3) => self.start_again(),
            3..=5 if self.processes.contains_key(&id) && self.may_lose(id) => self.kill(id),
            6 | 7 => self.restart(id),
            8..=10 => {
                let pair = self.pair();
                if self.network.connections.remove(&pair).is_some() {
                    self.say(&format!("the connection {pair:?} breaks"));
                }
            }
            _ => {
                let (from, to) = self.pair();
                let session = self.processes.get(&from).map(|it| it.link(to).session());
                if self.dice.one(3)
                    && let Some(process) = self.processes.get(&from)
                {
                    process.link(to).close(session.unwrap_or(0));
                    self.network.connections.remove(&(from, to));
                    self.say(&format!("the session {from} to {to} ends"));
                }
            }
        }
    }

    /// What goes one way is lost: to a member, from it, or between two.
    fn one_way(&mut self, id: MemberId) {
        let kind = self.dice.pick(3);
        if kind == 2 {
            let pair = self.pair();
            self.network.one_way = Some(pair);
            self.say(&format!("nothing goes from {} to {}", pair.0, pair.1));
        } else if self.network.is_whole() && self.may_lose(id) {
            let (cut, what) = match kind {
                0 => (&mut self.network.deaf, "hears nothing"),
                _ => (&mut self.network.mute, "is not heard"),
            };
            *cut = Some(id);
            self.say(&format!("{id} {what}"));
        }
    }

    /// A member is killed right after it did something, and before others hear of it.
    pub fn sudden(&mut self) -> Result<(), String> {
        let id = self.member();
        if !self.processes.contains_key(&id) || !self.may_lose(id) {
            return Ok(());
        }
        for _ in 0..6 {
            self.command_at(id)?;
        }
        self.answer()?;
        self.kill(id);
        Ok(())
    }

    /// Whether a member may be lost: the others have everything, and nothing else is wrong.
    fn may_lose(&mut self, id: MemberId) -> bool {
        // What was answered is on the disks.
        if self.shape.disks {
            return true;
        }
        for index in 0..SLOTS.len() {
            let is_whole = self.table.latest().placements[index]
                .in_sync
                .iter()
                .all(|member| self.processes.contains_key(member) && self.counts(*member, index));
            if is_whole && !self.stays_weak(index) {
                self.weak[index] = false;
            }
        }
        let latest = self.table.latest();
        let is_well = |member: &MemberId| {
            let process = self.processes.get(member);
            process.is_some_and(|it| it.lease || !self.has_clocks())
                && process
                    .is_some_and(|it| Some(&it.incarnation) == latest.incarnations.get(member))
                && self.network.is_connected(*member)
        };
        self.shape.ids().iter().filter(|member| **member != id).all(is_well)
            && latest.placements.iter().enumerate().all(|(index, placement)| {
                placement.in_sync.iter().all(is_well)
                    && self.is_held_twice(placement)
                    && placement.in_sync.iter().all(|member| self.counts(*member, index))
                    && !self.is_mistaken(index)
                    && !(self.weak[index] && self.stays_weak(index))
            })
    }

    fn stays_weak(&self, index: usize) -> bool {
        let in_sync = self.table.latest().placements[index].in_sync.len();
        in_sync < OWNERS && !self.are_equal(index)
    }

    /// Whether a slot's primary takes an owner for one that has everything, and it gave that up: it may be in sync by the
    /// primary's word before that is noticed.
    fn is_mistaken(&self, index: usize) -> bool {
        let placement = &self.table.latest().placements[index];
        let Some(primary) = placement.primary().and_then(|id| self.processes.get(&id)) else {
            return false;
        };
        let mut others = placement.replicas().iter();
        others.any(|id| primary.takes_for_whole(index, *id) && !self.counts(*id, index))
    }

    /// Whether what a member has of a slot counts.
    fn counts(&self, id: MemberId, index: usize) -> bool {
        let process = self.processes.get(&id);
        process.is_some_and(|it| it.space.feed().position(SLOTS[index].0).epoch != 0)
    }

    /// Whether all that are in sync of a slot have everything.
    fn are_equal(&self, index: usize) -> bool {
        let (slot, placement) = (SLOTS[index].0, &self.table.latest().placements[index]);
        let Some(primary) = placement.primary().and_then(|id| self.processes.get(&id)) else {
            return false;
        };
        placement.in_sync.iter().skip(1).all(|member| {
            let link = primary.link(*member);
            let ticket = primary.space.ticket_of(slot, &link);
            ticket.is_some_and(|ticket| primary.space.has(slot, &link, ticket))
        })
    }

    pub fn kill(&mut self, id: MemberId) {
        self.say(&format!("{id} is killed"));
        if let Some(process) = self.processes.remove(&id) {
            self.leave(&process);
        }
        self.weak = [true; SLOTS.len()];
        // Nobody takes the word of who is dead on who is in sync.
        self.proposals.retain(|proposal| proposal.by.0 != id || !proposal.is_of_sync);
        self.network.cut(id);
        self.ran.kills += 1;
    }

    pub fn restart(&mut self, id: MemberId) {
        if self.processes.contains_key(&id) {
            return;
        }
        self.incarnations += 1;
        self.say(&format!("{id} starts"));
        let leaves_alone = self.options.broken == Some(Broken::LeavesAlone);
        let before = self.table.latest().incarnations.get(&id).copied();
        let incarnation = match self.options.broken {
            Some(Broken::KeptNumber) => before.unwrap_or_default(),
            _ => self.incarnations,
        };
        let Some(process) = self.new_process(id, incarnation) else { return };
        let lease = self.leases.starts(id);
        self.processes.insert(id, Process { leaves_alone, lease, ..process });
    }

    /// A copy becomes another one, as by memory that fails.
    fn damage(&mut self, id: MemberId) {
        let index = self.dice.pick(SLOTS.len());
        if self.processes.get(&id).is_some_and(|process| process.damage(index)) {
            self.damaged[index] = true;
            self.say(&format!("slot {index}: the copy of {id} is another one"));
        }
    }
}
