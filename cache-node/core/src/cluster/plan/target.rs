//! Where slots should be: every member has its share of primaries and of replicas, the owners of a
//! slot are in different zones, and a slot moves only where that asks for it.
//!
//! Shares are exact (the largest remainders get what is left over); but while nobody is more than
//! [`TOLERANCE_PERCENT`] away from its share, nothing moves for balance. Where a slot must go
//! somewhere, it goes to one that holds it already, else to the first on the ring that has room.

use super::super::{Assignment, Member, MemberId, Owners, Ring, SLOTS, Slot};
use std::collections::BTreeMap;

/// How far from its share a member may be, in hundredths, before slots move: so the most loaded
/// has less than 1.10 of what the least loaded has.
pub const TOLERANCE_PERCENT: u64 = 4;

/// After so many looks through all slots for an exchange that found none, none is looked for: each
/// costs a step for every slot, and thousands of slots may want one.
const MOST_IN_VAIN: u32 = 64;
/// So many times at most what was found is bettered.
const MOST_PASSES: usize = 3;

/// What a member has of one kind (primaries, or replicas), and what it should have.
struct Load {
    share: u32,
    has: u32,
}

impl Load {
    fn room(&self) -> bool {
        self.has < self.share
    }
}

type Loads = BTreeMap<MemberId, Load>;

struct Targeting<'a> {
    ring: Ring<'a>,
    members: BTreeMap<MemberId, &'a Member>,
    /// How many members, at most, can be in different zones.
    zones: usize,
    now: &'a Assignment,
    slots: Vec<Owners>,
    /// Where the last exchange was, of replicas that have yet to be brought and of others.
    exchanged: [Slot; 2],
    /// How often there was none.
    in_vain: [u32; 2],
}

/// The owner lists for these members, from those that are; the table's epoch is of no meaning here.
/// No member: no owner.
pub fn target(members: &[Member], replication_factor: usize, now: &Assignment) -> Assignment {
    let mut made = nearer(members, replication_factor, now);
    // One pass may leave what the next one betters: so that the same is wanted again, it is done here.
    for _ in 0..MOST_PASSES {
        let next = nearer(members, replication_factor, &made);
        if next.same_owners(&made) {
            break;
        }
        made = next;
    }
    made
}

/// One pass of [`target`].
fn nearer(members: &[Member], replication_factor: usize, now: &Assignment) -> Assignment {
    let mut zones: Vec<Option<&str>> = members.iter().map(|m| m.zone.as_deref()).collect();
    zones.sort_unstable();
    zones.dedup_by(|a, b| a.is_some() && a == b);
    let mut targeting = Targeting {
        ring: Ring::new(members),
        members: members.iter().map(|member| (member.id, member)).collect(),
        zones: zones.len(),
        now,
        slots: vec![Owners::new(); usize::from(SLOTS)],
        exchanged: [0; 2],
        in_vain: [0; 2],
    };
    let wanted = replication_factor.clamp(1, members.len().max(1));
    targeting.primaries();
    if wanted > 1 {
        targeting.replicas(wanted - 1);
    }
    Assignment::from_lists(0, targeting.slots)
}

impl Targeting<'_> {
    fn shares(&self, things: u32) -> Loads {
        let total: u64 = self.members.values().map(|m| u64::from(m.weight.max(1))).sum();
        let mut rests = Vec::with_capacity(self.members.len());
        let mut loads = Loads::new();
        let mut left = things;
        for (id, member) in &self.members {
            let exact = u64::from(things) * u64::from(member.weight.max(1));
            let share = (exact / total.max(1)) as u32;
            left -= share.min(left);
            rests.push((std::cmp::Reverse(exact % total.max(1)), &member.name, *id));
            loads.insert(*id, Load { share, has: 0 });
        }
        rests.sort_unstable();
        for (_, _, id) in rests.into_iter().take(left as usize) {
            loads.entry(id).and_modify(|load| load.share += 1);
        }
        loads
    }

    /// Who stays the primary, and who gets what the others must not keep.
    fn primaries(&mut self) {
        let mut loads = self.shares(u32::from(SLOTS));
        let mut free = Vec::new();
        for slot in 0..SLOTS {
            match self.now.primary(slot).and_then(|id| loads.get_mut(&id).map(|load| (id, load))) {
                Some((id, load)) => {
                    load.has += 1;
                    self.slots[usize::from(slot)].push(id);
                }
                None => free.push(slot),
            }
        }
        if free.is_empty() && balanced(&loads) {
            return;
        }
        free.extend(self.excess(&mut loads, 0));
        // First those for which a replica is there; what is left goes by the ring.
        let mut rest = Vec::new();
        for slot in free {
            let holder = self.holders(slot).find(|id| loads.get(id).is_some_and(Load::room));
            match holder.filter(|_| loads.len() > 1) {
                Some(id) => self.give(slot, id, &mut loads),
                None => rest.push(slot),
            }
        }
        for slot in rest {
            let next = self.ring.walk(slot).find(|id| loads.get(id).is_some_and(Load::room));
            if let Some(id) = next {
                self.give(slot, id, &mut loads);
            }
        }
    }

    /// Who holds a slot now, the primary not counted.
    fn holders(&self, slot: Slot) -> impl Iterator<Item = MemberId> + '_ {
        self.now.owners(slot).iter().skip(1).copied()
    }

    fn give(&mut self, slot: Slot, to: MemberId, loads: &mut Loads) {
        loads.entry(to).and_modify(|load| load.has += 1);
        self.slots[usize::from(slot)].push(to);
    }

    /// Takes from every member what it has over its share, from the place `from` of the owner lists
    /// on: first slots that one with room holds already, then the last ones, which keeps what is
    /// left in few runs. Tells which slots that are, one for each that was taken.
    fn excess(&mut self, loads: &mut Loads, from: usize) -> Vec<Slot> {
        let mut taken = Vec::new();
        for held in [true, false] {
            for slot in (0..SLOTS).rev() {
                let owners = &self.slots[usize::from(slot)];
                let over = |id: &&MemberId| loads.get(id).is_some_and(|load| load.has > load.share);
                let Some(id) = owners.iter().skip(from).find(over).copied() else { continue };
                let with_room =
                    |id: &MemberId| !owners.contains(id) && loads.get(id).is_some_and(Load::room);
                if held && !self.now.owners(slot).iter().any(with_room) {
                    continue;
                }
                loads.entry(id).and_modify(|load| load.has -= 1);
                self.slots[usize::from(slot)].retain(|owner| *owner != id);
                taken.push(slot);
            }
        }
        taken
    }

    /// Who stays a replica, and who becomes one.
    fn replicas(&mut self, wanted: usize) {
        let mut loads = self.shares(u32::from(SLOTS) * wanted as u32);
        for slot in 0..SLOTS {
            // In their order, which says which stores they hold; the primary that was comes last.
            let before = self.now.owners(slot);
            for id in before.iter().skip(1).chain(before.first()) {
                let full = self.slots[usize::from(slot)].len() > wanted;
                if !full && self.fits(slot, *id) {
                    self.give(slot, *id, &mut loads);
                }
            }
        }
        let complete = self.slots.iter().all(|owners| owners.len() > wanted);
        if complete && balanced(&loads) {
            return;
        }
        let before = complete.then(|| (unevenness(&loads), self.slots.clone()));
        self.excess(&mut loads, 1);
        let mut unfilled = Vec::new();
        for slot in 0..SLOTS {
            while self.slots[usize::from(slot)].len() <= wanted {
                let Some(id) = self.with_room(slot, &loads) else {
                    unfilled.push(slot);
                    break;
                };
                self.give(slot, id, &mut loads);
            }
        }
        for slot in unfilled {
            while self.slots[usize::from(slot)].len() <= wanted {
                if self.exchange(slot, &mut loads) {
                    continue;
                }
                let Some(id) = self.anybody(slot, &loads) else { break };
                self.give(slot, id, &mut loads);
            }
        }
        // Nothing moves for nothing.
        if let Some((was, slots)) = before
            && unevenness(&loads) >= was
        {
            self.slots = slots;
        }
    }

    /// A replica that has room and fits: one that holds the slot, else the first on the ring.
    fn with_room(&self, slot: Slot, loads: &Loads) -> Option<MemberId> {
        let good = |id: &MemberId| loads.get(id).is_some_and(Load::room) && self.fits(slot, *id);
        let held = self.now.owners(slot).iter().copied();
        held.chain(self.ring.walk(slot)).find(good)
    }

    /// Who has room does not fit this slot, but another one, of which a replica fits this: rather
    /// one that has yet to be brought there.
    fn exchange(&mut self, slot: Slot, loads: &mut Loads) -> bool {
        let with_room: Vec<MemberId> =
            loads.iter().filter(|(_, load)| load.room()).map(|(id, _)| *id).collect();
        for held in [false, true] {
            if self.in_vain[usize::from(held)] >= MOST_IN_VAIN {
                continue;
            }
            for step in 0..SLOTS {
                // From where the last one was found: what did not fit then hardly does now.
                let other = (self.exchanged[usize::from(held)] + step) % SLOTS;
                let owners = &self.slots[usize::from(other)];
                let leaves =
                    owners.iter().skip(1).copied().find(|id| {
                        self.now.owners(other).contains(id) == held && self.fits(slot, *id)
                    });
                let Some(leaves) = leaves else { continue };
                let comes = with_room.iter().copied().find(|id| {
                    self.fits_beside(owners.iter().filter(|o| **o != leaves), owners.len() - 1, *id)
                });
                let Some(comes) = comes.filter(|comes| *comes != leaves) else { continue };
                for owner in self.slots[usize::from(other)].iter_mut().skip(1) {
                    if *owner == leaves {
                        *owner = comes;
                    }
                }
                self.exchanged[usize::from(held)] = other;
                self.slots[usize::from(slot)].push(leaves);
                loads.entry(comes).and_modify(|load| load.has += 1);
                return true;
            }
            self.in_vain[usize::from(held)] += 1;
        }
        false
    }

    /// Where there is no even spread: anybody in a zone of its own (surviving a zone goes before
    /// balance), else anybody; of these the one that has the least.
    fn anybody(&self, slot: Slot, loads: &Loads) -> Option<MemberId> {
        let owners = &self.slots[usize::from(slot)];
        let least = |fits: &dyn Fn(&MemberId) -> bool| {
            loads.keys().copied().filter(fits).max_by_key(|id| free(loads, *id))
        };
        least(&|id| self.fits(slot, *id)).or_else(|| least(&|id| !owners.contains(id)))
    }

    /// Whether a member may own a slot beside those that do.
    fn fits(&self, slot: Slot, id: MemberId) -> bool {
        let owners = &self.slots[usize::from(slot)];
        self.fits_beside(owners.iter(), owners.len(), id)
    }

    /// Whether a member may be an owner beside others: it is another one, and in another zone, as
    /// far as there are enough.
    fn fits_beside<'b>(
        &self,
        mut owners: impl Iterator<Item = &'b MemberId>,
        count: usize,
        id: MemberId,
    ) -> bool {
        let Some(zone) = self.members.get(&id).map(|member| &member.zone) else { return false };
        let distinct = zone.is_some() && count < self.zones;
        owners.all(|owner| {
            let same = || self.members.get(owner).is_some_and(|member| member.zone == *zone);
            *owner != id && !(distinct && same())
        })
    }
}

/// How much less than its share a member has.
fn free(loads: &Loads, id: MemberId) -> i64 {
    loads.get(&id).map_or(i64::MIN, |load| i64::from(load.share) - i64::from(load.has))
}

/// How far from its share the worst is, in thousandths of that.
fn unevenness(loads: &Loads) -> u64 {
    let of = |load: &Load| {
        u64::from(load.has.abs_diff(load.share)) * 1000 / u64::from(load.share.max(1))
    };
    loads.values().map(of).max().unwrap_or(0)
}

fn balanced(loads: &Loads) -> bool {
    loads.values().all(|Load { share, has }| {
        u64::from(has.abs_diff(*share)) * 100 <= u64::from(*share) * TOLERANCE_PERCENT
    })
}

#[cfg(test)]
#[path = "target_tests.rs"]
mod tests;
