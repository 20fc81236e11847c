//! Slots that are given to another owner, with everything: they are served no more, the other confirms all,
//! and then the table names it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering::Acquire;
use std::time::Duration;

use hypercache_core::cluster::{MemberId, Slot};
use hypercache_core::log::Ticket;
use hypercache_core::replica::{Link, SlotFeed};
use tokio::time::{Instant, sleep};

use super::Context;

/// How long slots may not be served for that.
const PATIENCE: Duration = Duration::from_millis(500);
/// How long it is waited for the owners beside the heir: who has everything then goes on with the new primary at
/// once, and who has not needs the slot anew.
const FOR_OTHERS: Duration = Duration::from_millis(100);
/// So long slots that may go wait for others: one that is late keeps nobody longer.
const GATHERS: Duration = Duration::from_millis(20);
const LOOK: Duration = Duration::from_millis(1);
/// So many slots are handed over at once: how long they are not served is how long a change of the table takes, whatever
/// their number, and a client that waits for one of them waits once.
const MOST_SLOTS: usize = 4096;

/// An owner beside the heir.
struct Other {
    link: Arc<Link>,
    /// All that was written is in no later cycle.
    ticket: Ticket,
    /// The slots in which it is in sync.
    slots: BTreeSet<Slot>,
}

impl Context {
    /// Hands slots over to a member; how many it has then. Those in which it is not in sync, or that this
    /// member does not serve, stay as they are; where it is in doubt, a slot is kept.
    pub async fn hand_over(&self, slots: &[Slot], to: MemberId) -> usize {
        let mut handed = 0;
        for some in slots.chunks(MOST_SLOTS) {
            handed += self.hand_some_over(some, to).await;
        }
        handed
    }

    async fn hand_some_over(&self, slots: &[Slot], to: MemberId) -> usize {
        let Some(link) = self.serving.link(to) else { return 0 };
        // What it has confirmed before says nothing of a process that is gone.
        let state = self.handle.state_of(to);
        if !state.is_up.load(Acquire) || self.cluster.is_stopping(to) {
            return 0;
        }
        let lacks = |slot: &Slot| {
            let holds = |store| self.keyspace.count_keys_in_slot(store, *slot) > 0;
            self.serving.lacks(*slot, to, holds)
        };
        // Stores of fewer copies are not with every owner: who is to be the primary gets them first.
        let (later, slots): (Vec<Slot>, Vec<Slot>) = slots.iter().partition(|slot| lacks(slot));
        if !later.is_empty() {
            self.serving.give_all(&later, to);
        }
        let is_whole = |slot: &Slot| {
            let owner = self.keyspace.feed().look(*slot, |feed| feed.owner(&link)).flatten();
            owner.is_some_and(|owner| owner.is_whole)
        };
        let slots: Vec<Slot> = slots.into_iter().filter(is_whole).collect();
        let fenced = self.serving.fence_for(&slots, to);
        if fenced.is_empty() {
            return 0;
        }
        let began = Instant::now();
        // Nothing is written to them any more.
        let ticket = link.ticket();
        let others = self.others_in_sync(&fenced, to);
        let has_all = |slot: &Slot| {
            self.keyspace.has(*slot, &link, ticket)
                && self.keyspace.feed().look(*slot, SlotFeed::is_settled) != Some(false)
        };
        let have_all = |slot: &Slot| {
            let mut of = others.iter().filter(|other| other.slots.contains(slot));
            of.all(|other| self.keyspace.has(*slot, &other.link, other.ticket))
        };
        let (mut waits, mut there) = (fenced.clone(), Vec::new());
        let mut goes = began + GATHERS;
        loop {
            let now = Instant::now();
            let for_others = now < began + FOR_OTHERS;
            let is_ready = |slot: &Slot| has_all(slot) && (!for_others || have_all(slot));
            let (ready, not): (Vec<Slot>, Vec<Slot>) = waits.into_iter().partition(is_ready);
            waits = not;
            there.extend(ready);
            let is_last = waits.is_empty() || now >= began + PATIENCE;
            if is_last || now >= goes {
                // Nothing comes any more: what is lacked now was written since it was looked at first.
                there.retain(|slot| !lacks(slot));
                if !there.is_empty() && state.is_up.load(Acquire) {
                    self.propose(&there, self.serving.hand_over(&there, to)).await;
                }
                there.clear();
                goes = Instant::now() + GATHERS;
            }
            if is_last {
                break;
            }
            tokio::select! {
                // At once, and not when a timer has gone off: nobody serves these slots meanwhile.
                _ = link.until_confirmed(ticket), if !link.has_confirmed(ticket) => {}
                () = sleep(LOOK) => {}
            }
        }
        let state = self.serving.state();
        let owner = |slot: &Slot| state.assignment.primary(*slot);
        let handed = fenced.iter().filter(|slot| owner(slot) == Some(to)).count();
        let kept: Vec<Slot> =
            fenced.iter().copied().filter(|slot| owner(slot) == Some(self.me)).collect();
        if !kept.is_empty() {
            // What was proposed may be done yet: not after this.
            self.propose(&kept, self.serving.keep(&kept)).await;
        }
        self.handle.handed_over(handed);
        tracing::info!(
            action = "hand-over-done",
            member = self.name_of(to),
            slots = handed,
            kept = kept.len(),
            took_ms = began.elapsed().as_millis() as u64,
            "slots were handed over"
        );
        handed
    }

    /// Who else is in sync in slots that are served no more.
    fn others_in_sync(&self, slots: &[Slot], to: MemberId) -> Vec<Other> {
        let table = self.serving.state();
        let mut others: BTreeMap<MemberId, BTreeSet<Slot>> = BTreeMap::new();
        for slot in slots {
            let Some(placement) = table.assignment.placement(*slot) else { continue };
            let replicas = placement.replicas().iter();
            for id in replicas.filter(|id| **id != to && placement.is_in_sync(**id)) {
                others.entry(*id).or_default().insert(*slot);
            }
        }
        let other = |(id, slots)| {
            let link = self.serving.link(id)?;
            Some(Other { ticket: link.ticket(), link, slots })
        };
        others.into_iter().filter_map(other).collect()
    }
}
