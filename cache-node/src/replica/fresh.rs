//! How old this member's copies of slots are at the most.
//!
//! While a client wants to read from copies, their primary is asked now and then what it has sent. What it
//! says was so at some moment after it was asked, by a clock of this member; once all that has come, the
//! copy is as the primary was then, or newer. So no two clocks are compared, and a primary that is cut off
//! (it answers under its lease only) makes nothing fresh.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::*};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use futures::future::join_all;
use hypercache_core::cluster::{MemberId, SLOTS, Slot, slot_runs, slots_in};
use hypercache_core::keyspace::Source;
use tokio::time::{Instant, sleep, timeout_at};

use super::Context;
use super::wire::{self, Head, Said};
use crate::clock::boot_ms;
use crate::peer::Kind;

/// Between two questions.
const EVERY: Duration = Duration::from_millis(100);
/// How long an answer, and what it tells of, may take.
const PATIENCE: Duration = Duration::from_secs(1);
/// A primary is asked for so long after somebody last wanted to read from its copies.
const WANTED_MS: u64 = 5000;
/// Between two looks whether what was sent has come.
const LOOK: Duration = Duration::from_millis(2);

/// What a primary said, once all that it told of has come.
#[derive(Debug)]
struct State {
    session: u64,
    /// The copies are as the primary was then, or newer: in milliseconds of [`boot_ms`].
    as_of_ms: u64,
    /// Slots of which everything goes to this member.
    slots: Box<[bool]>,
}

/// One primary, as it is for those who read.
#[derive(Debug, Default)]
struct Primary {
    state: ArcSwapOption<State>,
    wanted_ms: AtomicU64,
}

/// The primaries whose copies somebody reads.
#[derive(Debug, Default)]
pub struct Fresh(ArcSwap<BTreeMap<MemberId, Arc<Primary>>>);

impl Fresh {
    /// Where this member's copy of a slot comes from, if it is surely no older than that. From the first call
    /// on its primary is asked, so the first ones give `None`.
    pub fn source(&self, primary: MemberId, slot: Slot, max_stale_ms: u64) -> Option<Source> {
        let known = self.0.load();
        let Some(of) = known.get(&primary) else {
            self.0.rcu(|known| {
                let mut more = BTreeMap::clone(known);
                let of = more.entry(primary).or_default();
                of.wanted_ms.store(boot_ms(), Relaxed);
                more
            });
            return None;
        };
        let now_ms = boot_ms();
        of.wanted_ms.store(now_ms, Relaxed);
        let state = of.state.load();
        let state = state.as_ref()?;
        let is_fresh = now_ms.saturating_sub(state.as_of_ms) <= max_stale_ms;
        let is_there = is_fresh && state.slots.get(usize::from(slot)) == Some(&true);
        is_there.then_some(Source { primary, session: state.session })
    }
}

impl Context {
    /// Asks the primaries whose copies somebody reads, until the member stops.
    pub(super) async fn keep_fresh(self: Arc<Self>) {
        let mut stop = self.stop.clone();
        loop {
            let known = self.handle.fresh().0.load_full();
            let now_ms = boot_ms();
            let wanted = known.iter().filter(|(_, primary)| {
                now_ms.saturating_sub(primary.wanted_ms.load(Relaxed)) <= WANTED_MS
            });
            let asked = join_all(wanted.map(|(id, primary)| self.ask(*id, primary)));
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                _ = asked => {}
            }
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                () = sleep(EVERY) => {}
            }
        }
    }

    async fn ask(&self, id: MemberId, primary: &Primary) -> Option<()> {
        let deadline = Instant::now() + PATIENCE;
        let to = self.reach(id)?;
        let as_of_ms = boot_ms();
        let request = wire::request(&Head::Fresh, |_| {}).ok()?;
        let reply = self.peers.call(&to, Kind::Replicate, request, deadline).await.ok()?;
        let Some(Said::Fresh { session, number, runs }) = wire::said(&reply) else { return None };
        let came = async {
            while !self.handle.has_come(id, session, number) {
                sleep(LOOK).await;
            }
        };
        timeout_at(deadline, came).await.ok()?;
        let mut slots = vec![false; usize::from(SLOTS)].into_boxed_slice();
        for slot in slots_in(&runs) {
            if let Some(is_there) = slots.get_mut(usize::from(slot)) {
                *is_there = true;
            }
        }
        primary.state.store(Some(Arc::new(State { session, as_of_ms, slots })));
        Some(())
    }

    /// What this member, as a primary, says of what it has sent to another; `None`: nothing that counts.
    pub(super) fn sent_to(&self, member: MemberId) -> Option<Said> {
        let lease = self.cluster.lease();
        if !self.cluster.view().quorum {
            return None;
        }
        let links = self.keyspace.feed().links();
        let link = links.iter().find(|link| link.member() == member)?;
        let session = link.session();
        let is_whole = |slot: &Slot| {
            let owner = self.keyspace.feed().look(*slot, |feed| feed.owner(link)).flatten();
            owner.is_some_and(|owner| owner.is_whole)
        };
        let runs = slot_runs((0..SLOTS).filter(is_whole));
        // What was done in these slots until they were looked at is in no later cycle.
        let number = link.ticket().cycle();
        let holds = session != 0 && link.session() == session && self.cluster.holds(lease);
        holds.then_some(Said::Fresh { session, number, runs })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_read_while_it_is_surely_young_enough_and_its_slot_comes() {
        let fresh = Fresh::default();
        assert_eq!(fresh.source(2, 5, 60_000), None, "its primary has yet to be asked");
        let known = fresh.0.load_full();
        let primary = known.get(&2).unwrap();
        let mut slots = vec![false; usize::from(SLOTS)].into_boxed_slice();
        slots[5] = true;
        let as_of_ms = boot_ms().saturating_sub(100);
        primary.state.store(Some(Arc::new(State { session: 7, as_of_ms, slots })));
        assert_eq!(fresh.source(2, 5, 60_000), Some(Source { primary: 2, session: 7 }));
        assert_eq!(fresh.source(2, 6, 60_000), None, "nothing says that this slot comes");
        assert_eq!(fresh.source(2, 5, 50), None, "it may be older");
        assert_eq!(fresh.source(3, 5, 60_000), None);
    }
}
