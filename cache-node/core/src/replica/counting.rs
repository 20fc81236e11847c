//! Who has to have what was written to a slot before it is answered, and who has it. Called under the slot's lock.

use super::feed::Fed;
use super::need::{Need, Progress};
use super::quorum_links;
use super::slot::SlotFeed;
use super::way::{Synced, Way};
use crate::cluster::Slot;
use crate::mutation::{self, Mutation};
use crate::store::Acks;
use smallvec::SmallVec;

impl SlotFeed {
    /// The ways that a majority of a store's replication factor is among.
    fn first_ways(&self, replication_factor: u8) -> impl Iterator<Item = &Way> {
        let most = usize::from(replication_factor.saturating_sub(1));
        self.ways.iter().take(most).filter(move |way| way.least_factor <= replication_factor)
    }

    /// Of the ways that a store goes, those to owners that may be in sync and hold stores that another one of those does not
    /// that a majority is among: they are the next primary before it, and so have to have what a majority has. So does
    /// one that is more than any store asks for, as it holds all.
    fn first_heirs(&self, replication_factor: u8) -> impl Iterator<Item = &Way> {
        let least = self.first_ways(replication_factor).last().map(|way| way.coverage);
        let ways = self.ways.iter().filter(move |way| way.least_factor <= replication_factor);
        ways.filter(move |way| Some(way.coverage) != least && way.synced != Synced::No)
    }

    /// Whether everything that anybody waits for here is confirmed: before a slot is handed over, all who
    /// are in sync have to have everything.
    pub fn is_settled(&self) -> bool {
        self.pending.iter().all(|need| self.progress(need) != Progress::Waits)
    }

    /// How many owners are in sync, this one counted.
    pub fn in_sync(&self, replication_factor: u8) -> usize {
        let ways = self.first_ways(replication_factor);
        1 + ways.filter(|way| way.synced == Synced::Yes).count()
    }

    /// See [`Feed::holders`].
    pub(super) fn holders(&self, replication_factor: u8) -> SmallVec<[u16; 2]> {
        let ways = self.ways.iter().filter(|way| way.least_factor <= replication_factor);
        let whole = ways.filter(|way| way.is_whole && way.is_attached());
        whole.map(|way| way.link.index()).collect()
    }

    /// Whether a majority of a replication factor is in sync.
    pub fn has_quorum(&self, replication_factor: u8) -> bool {
        if mutation::is(Mutation::NoRefusal) {
            return true;
        }
        self.in_sync(replication_factor) > usize::from(quorum_links(replication_factor))
    }

    /// How far a need is.
    pub(crate) fn progress(&self, need: &Need) -> Progress {
        if mutation::is(Mutation::EarlyAck) {
            return Progress::Met;
        }
        if need.tenure != self.tenure {
            let is_there = self.handed_over == Some(need.tenure);
            return if is_there { Progress::Met } else { Progress::Lost };
        }
        let factor = need.replication_factor;
        let has = |way: &&Way| way.has(need.ticket_of(&way.link));
        let is_met = match need.acks {
            Acks::One => true,
            Acks::Quorum => {
                let sure = self.first_ways(factor).filter(|way| way.synced == Synced::Yes);
                let mut heirs = self.first_heirs(factor);
                (heirs.all(|way| has(&way)) || mutation::is(Mutation::AnyMajority))
                    && sure.filter(has).count() >= usize::from(quorum_links(factor))
            }
            Acks::All => {
                let all = self.ways.iter().filter(|way| way.least_factor <= factor);
                all.filter(|way| way.synced != Synced::No).all(|way| has(&way))
            }
        };
        if is_met { Progress::Met } else { Progress::Waits }
    }

    /// A record of a store is about to go out: what those wait for who wait for it; `None` if it goes to
    /// nobody.
    #[inline]
    pub(crate) fn begin(&self, slot: Slot, store: Fed) -> Option<Need> {
        self.feeds(store.replication_factor).then(|| Need {
            slot,
            tenure: self.tenure,
            acks: store.acks,
            replication_factor: store.replication_factor,
            tickets: SmallVec::new(),
        })
    }

    /// Whoever reads the slot waits for this, until it is confirmed.
    #[inline]
    pub(crate) fn wait_for(&mut self, need: Need) {
        if need.acks == Acks::One {
            return;
        }
        self.is_new = true;
        match self.pending.iter_mut().find(|known| known.is_like(&need)) {
            // A later record is in no earlier cycle.
            Some(known) => *known = need,
            None => self.pending.push(need),
        }
    }

    /// Forgets what is confirmed by now.
    pub(crate) fn settle(&mut self) {
        let mut pending = std::mem::take(&mut self.pending);
        pending.retain(|need| self.progress(need) == Progress::Waits);
        self.pending = pending;
    }
}
