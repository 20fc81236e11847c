//! Slots that are given to another owner, with everything: they are served no more, the other confirms all,
//! and then the table names it.

use std::sync::atomic::Ordering::Acquire;
use std::time::Duration;

use hypercache_core::cluster::{MemberId, Slot};
use hypercache_core::replica::SlotFeed;
use tokio::time::{Instant, sleep};

use super::Context;

/// How long slots may not be served for that.
const PATIENCE: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(1);
/// So many slots are handed over at once: as long as they are not served is how long that takes.
const MOST_SLOTS: usize = 1024;

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
        if !state.is_up.load(Acquire) {
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
        let until = began + PATIENCE;
        // Nothing is written to them any more.
        let ticket = link.ticket();
        let has_all = |slot: &Slot| {
            self.keyspace.has(*slot, &link, ticket)
                && self.keyspace.feed().look(*slot, SlotFeed::is_settled) != Some(false)
        };
        let there = loop {
            let (there, not): (Vec<Slot>, Vec<Slot>) =
                fenced.iter().partition(|slot| has_all(slot));
            if not.is_empty() || Instant::now() >= until {
                break there;
            }
            sleep(LOOK).await;
        };
        // Nothing comes any more: what is lacked now was written since it was looked at first.
        let there: Vec<Slot> = there.into_iter().filter(|slot| !lacks(slot)).collect();
        if !there.is_empty() && state.is_up.load(Acquire) {
            self.propose(&there, self.serving.hand_over(&there, to)).await;
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
}
