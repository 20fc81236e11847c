//! WAIT and WAITAOF: how many other members have what a connection has written.
//!
//! Each slot has owners of its own, so what counts is where it was written: of each of these places, how many others have
//! it, and of these numbers the least. A member that holds none of it has nothing to confirm, and counts for nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Acquire;
use std::time::Duration;

use futures::StreamExt;
use futures::future::join_all;
use futures::stream::FuturesUnordered;
use hypercache_core::cluster::{Member, MemberId, SLOTS, Slot};
use hypercache_core::log::Ticket;
use hypercache_core::replica::{Link, Losses};
use hypercache_core::store::{Acks, StoreNumber};
use smallvec::SmallVec;
use tokio::time::{Instant, sleep, timeout};

use super::handle::Handle;
use super::wire::{self, Head, Said};
use crate::peer::{self, Kind};

/// How often it is looked who has confirmed.
const LOOK: Duration = Duration::from_millis(2);
/// After so long it is looked anew whose the slots are.
const TURN: Duration = Duration::from_secs(1);
/// Between two attempts to ask a member that did not answer.
const AGAIN: Duration = Duration::from_millis(50);
/// A look at all slots takes a millisecond: so long after one there is another at the soonest.
const LOOK_AT_ALL: Duration = Duration::from_millis(50);
/// So much longer than it was asked to another member may take to answer.
const LATE: Duration = Duration::from_millis(500);
/// How long another member may take until what it has is on its disk, before it is asked again.
const ON_DISK: Duration = Duration::from_secs(2);
/// So many slots of a connection are remembered one by one.
const MOST_PLACES: usize = 64;

/// Where a connection has written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Written {
    places: Vec<(Slot, StoreNumber)>,
    /// In these stores, in slots that are not known, beside the places.
    stores: Vec<StoreNumber>,
    /// What was known of primaries that died when it wrote the first of that.
    since: u64,
    /// What was written before.
    settled: Option<Settled>,
}

/// What so many others have, in these stores.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Settled {
    have: usize,
    stores: Vec<StoreNumber>,
    since: u64,
}

impl Written {
    /// What another member asks about.
    pub(super) fn of(places: Vec<(Slot, StoreNumber)>, stores: Vec<StoreNumber>) -> Self {
        Self { places, stores, ..Self::default() }
    }

    /// It writes to a slot of a store; `losses`: what is known of primaries that died.
    #[inline]
    pub fn note(&mut self, slot: Slot, store: StoreNumber, losses: &Losses) {
        if self.places.last() == Some(&(slot, store)) || self.stores.contains(&store) {
            return;
        }
        self.note_another(slot, store, losses);
    }

    fn note_another(&mut self, slot: Slot, store: StoreNumber, losses: &Losses) {
        if self.places.len() >= MOST_PLACES {
            self.note_anywhere(store, losses);
        } else if !self.places.contains(&(slot, store)) {
            self.begin(losses);
            self.places.push((slot, store));
        }
    }

    /// Before the first of what nobody is known to have.
    fn begin(&mut self, losses: &Losses) {
        if self.is_empty() {
            self.since = losses.count();
        }
    }

    /// It writes to a store, in whatever slots.
    pub fn note_anywhere(&mut self, store: StoreNumber, losses: &Losses) {
        self.begin(losses);
        self.add_store(store);
    }

    fn add_store(&mut self, store: StoreNumber) {
        if !self.stores.contains(&store) {
            self.stores.push(store);
        }
        // The places of that store are among them.
        let stores = &self.stores;
        self.places.retain(|(_, of)| !stores.contains(of));
    }

    fn is_empty(&self) -> bool {
        self.places.is_empty() && self.stores.is_empty()
    }

    /// What is to be asked about where so many are wanted: of what as many are known to have already, nothing.
    pub fn where_wanted(&self, wanted: usize) -> Self {
        let mut asked = self.clone();
        match asked.settled.take() {
            Some(settled) if settled.have < wanted => {
                asked.since = match self.is_empty() {
                    true => settled.since,
                    false => asked.since.min(settled.since),
                };
                settled.stores.into_iter().for_each(|store| asked.add_store(store));
            }
            Some(settled) => asked.settled = Some(Settled { stores: Vec::new(), ..settled }),
            None => {}
        }
        asked
    }

    /// So many others have all of it.
    pub fn settle(&mut self, have: usize) {
        let is_new = !self.is_empty();
        let Self { places, stores, since, settled } = std::mem::take(self);
        let before = settled.unwrap_or_else(|| Settled { since: u64::MAX, ..Settled::default() });
        let all = before.stores.into_iter().chain(stores);
        let mut stores: Vec<StoreNumber> =
            all.chain(places.into_iter().map(|(_, store)| store)).collect();
        stores.sort_unstable();
        stores.dedup();
        let since = if is_new { since.min(before.since) } else { before.since };
        self.settled = (!stores.is_empty()).then_some(Settled { have, stores, since });
    }

    /// At most as many as have what is not asked about.
    fn at_most(&self, have: usize) -> usize {
        self.settled.as_ref().map_or(have, |settled| have.min(settled.have))
    }
}

/// What each link had to confirm when that was asked, and who holds what.
struct Asked {
    links: Vec<(Arc<Link>, Ticket)>,
    /// The links to the holders of something that was written, each of these sets once. `None`: nothing was, and
    /// everybody counts.
    holders: Option<Vec<SmallVec<[u16; 2]>>>,
}

impl Asked {
    /// How many have it, if those have what is theirs. Of what nothing was written here, as many as there may be.
    fn count(&self, there: &[u16]) -> usize {
        match &self.holders {
            None => there.len(),
            Some(sets) => {
                let have = |set: &SmallVec<[u16; 2]>| {
                    set.iter().filter(|index| there.contains(index)).count()
                };
                sets.iter().map(have).min().unwrap_or(usize::MAX)
            }
        }
    }
}

impl Handle {
    fn asked(&self, written: &Written, is_any: bool) -> Asked {
        let keyspace = self.keyspace();
        let links = keyspace.feed().links();
        let links = links.iter().map(|link| (Arc::clone(link), link.ticket())).collect();
        if is_any {
            return Asked { links, holders: None };
        }
        let policies = keyspace.policies();
        let factor = |store: StoreNumber| {
            policies.iter().find(|policy| policy.number == store).map(|it| it.replication_factor)
        };
        let mut holders: Vec<SmallVec<[u16; 2]>> = Vec::new();
        let mut add = |slot, factor| {
            let set = keyspace.feed().holders(slot, factor);
            if !holders.contains(&set) {
                holders.push(set);
            }
        };
        // (A store that was dropped has nothing any more.)
        for (slot, store) in &written.places {
            if let Some(factor) = factor(*store) {
                add(*slot, factor);
            }
        }
        if let Some(least) = written.stores.iter().filter_map(|store| factor(*store)).min() {
            let view = self.cluster().view();
            (0..SLOTS).filter(|slot| view.is_mine(*slot)).for_each(|slot| add(slot, least));
        }
        Asked { links, holders: Some(holders) }
    }

    /// A member of the table with the newest address that is known.
    fn reach(&self, member: MemberId) -> Option<Member> {
        let cluster = self.cluster();
        cluster.view().member(member).map(|member| cluster.reach(member))
    }

    fn is_up(&self, link: &Link) -> bool {
        self.state_of(link.member()).is_up.load(Acquire)
    }

    fn confirmed_now(&self, asked: &Asked) -> usize {
        let has =
            |(link, ticket): &&(Arc<Link>, Ticket)| self.is_up(link) && link.has_confirmed(*ticket);
        let there: Vec<u16> =
            asked.links.iter().filter(has).map(|(link, _)| link.index()).collect();
        asked.count(&there)
    }

    /// What of it is this member's, and what is whose else. Of what nobody answers for it is said here that nobody has it.
    fn split(&self, written: &Written) -> (Written, BTreeMap<MemberId, Written>) {
        let view = self.cluster().view();
        let (mut here, mut elsewhere) = (Written::default(), BTreeMap::<_, Written>::new());
        for (slot, store) in &written.places {
            match view.owner(*slot).filter(|owner| *owner != view.me) {
                Some(owner) => elsewhere.entry(owner).or_default().places.push((*slot, *store)),
                None => here.places.push((*slot, *store)),
            }
        }
        if !written.stores.is_empty() {
            for owner in view.state.assignment.counts().into_keys() {
                let of = match owner == view.me {
                    true => &mut here,
                    false => elsewhere.entry(owner).or_default(),
                };
                of.stores.clone_from(&written.stores);
            }
        }
        (here, elsewhere)
    }

    /// Whether some of what a connection has written may be gone: in a store of acks `one` it may have been with a primary
    /// alone that died since, and the next one cannot know of it.
    pub fn is_lost(&self, written: &Written) -> bool {
        let losses = self.keyspace().feed().losses();
        let policies = self.keyspace().policies();
        let may_be = |store: StoreNumber| {
            policies.iter().any(|policy| policy.number == store && policy.acks == Acks::One)
        };
        let lost = |(slot, store): &(Slot, StoreNumber)| {
            losses.is_lost_since(*slot, written.since) && may_be(*store)
        };
        written.places.iter().any(lost)
            || losses.count() > written.since && written.stores.iter().any(|store| may_be(*store))
    }

    /// How many other members have what a connection has written, of each slot beside its primary: once they are so
    /// many, or after a time. `None`: some of it may be lost.
    pub async fn confirmed_by(
        &self,
        written: &Written,
        wanted: usize,
        timeout: Option<Duration>,
    ) -> Option<usize> {
        let until = timeout.map(|timeout| Instant::now() + timeout);
        loop {
            let turn = Instant::now() + TURN;
            let turn = until.map_or(turn, |until| until.min(turn));
            let (here, elsewhere) = self.split(written);
            let is_any = written.is_empty();
            let there = elsewhere
                .iter()
                .map(|(member, places)| self.confirmed_at(*member, places, wanted, turn));
            let (here, there) =
                tokio::join!(self.confirmed_here(&here, is_any, wanted, turn), join_all(there));
            let have = there.into_iter().fold(here, usize::min);
            // After it was counted: by a primary that is another one, that is known by now.
            if self.is_lost(written) {
                return None;
            }
            let is_over = until.is_some_and(|until| Instant::now() >= until);
            if have >= wanted || is_over {
                // (All of it was in stores that are gone.)
                let is_gone = have == usize::MAX;
                let have = if is_gone { self.now(&Written::default())? } else { have };
                return Some(written.at_most(have));
            }
            sleep(AGAIN).await;
        }
    }

    /// How many are known to have it by now, without a wait. `None`: some of it may be lost.
    pub fn now(&self, written: &Written) -> Option<usize> {
        let (here, elsewhere) = self.split(written);
        let have = match elsewhere.is_empty() {
            true => written.at_most(self.confirmed_now(&self.asked(&here, written.is_empty()))),
            false => 0,
        };
        (!self.is_lost(written)).then_some(have)
    }

    /// As [`Self::confirmed_by`], of what is this member's.
    pub(super) async fn confirmed_here(
        &self,
        written: &Written,
        is_any: bool,
        wanted: usize,
        until: Instant,
    ) -> usize {
        let feed = self.keyspace().feed();
        let mut changes = feed.changes();
        let mut asked = self.asked(written, is_any);
        let mut looked = Instant::now();
        let pause = if written.stores.is_empty() { LOOK } else { LOOK_AT_ALL };
        loop {
            let have = self.confirmed_now(&asked);
            if have >= wanted || Instant::now() >= until {
                return have;
            }
            sleep(LOOK).await;
            // Somebody else may hold it now.
            let now = feed.changes();
            if now != changes && looked.elapsed() >= pause {
                (changes, asked) = (now, self.asked(written, is_any));
                looked = Instant::now();
            }
        }
    }

    /// The same, of what is another member's; 0 where that does not say it.
    async fn confirmed_at(
        &self,
        member: MemberId,
        written: &Written,
        wanted: usize,
        until: Instant,
    ) -> usize {
        let Some(to) = self.reach(member) else { return 0 };
        let left = until.saturating_duration_since(Instant::now());
        let timeout_ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
        let replicas = u32::try_from(wanted).unwrap_or(u32::MAX);
        let Written { places, stores, .. } = written.clone();
        let ask = async |head: Head| {
            let request = wire::request(&head, |_| {}).ok()?;
            match self.peers().call(&to, Kind::Replicate, request, until + LATE).await {
                Ok(reply) => Some(wire::said(&reply)),
                // It did not understand: it is of an earlier release.
                Err(peer::Error::Refused(_)) => None,
                Err(_) => Some(None),
            }
        };
        let said = match ask(Head::Copies { places, stores, replicas, timeout_ms }).await {
            Some(said) => said,
            None => ask(Head::Wait { replicas, timeout_ms: timeout_ms.max(1) }).await.flatten(),
        };
        match said {
            Some(Said::Have(u32::MAX)) => usize::MAX,
            Some(Said::Have(have)) => have as usize,
            _ => 0,
        }
    }

    /// Waits until so many others have on their disks what a connection has written on this member; `told` hears each time
    /// how many have. Where they are too few, it waits for ever.
    pub async fn until_on_disk(&self, written: &Written, wanted: usize, told: impl Fn(usize)) {
        loop {
            let (here, _) = self.split(written);
            let asked = self.asked(&here, here.is_empty());
            // Somebody else may hold it after that.
            if timeout(TURN, self.until_these_have(&asked, wanted, &told)).await.is_ok() {
                return;
            }
        }
    }

    async fn until_these_have(&self, asked: &Asked, wanted: usize, told: impl Fn(usize)) {
        let mut ready: FuturesUnordered<_> = asked
            .links
            .iter()
            .map(async |(link, ticket)| {
                self.on_disk(link, *ticket).await;
                link.index()
            })
            .collect();
        let mut there = Vec::new();
        loop {
            let have = match asked.count(&there) {
                usize::MAX => there.len(),
                have => have,
            };
            told(have);
            if have >= wanted {
                return;
            }
            match ready.next().await {
                Some(index) => there.push(index),
                None => std::future::pending().await,
            }
        }
    }

    /// Waits until a link's member has it on its disk.
    async fn on_disk(&self, link: &Link, ticket: Ticket) {
        loop {
            if self.is_up(link)
                && link.has_confirmed(ticket)
                && self.is_on_disk(link).await == Some(true)
            {
                return;
            }
            sleep(LOOK).await;
        }
    }

    async fn is_on_disk(&self, link: &Link) -> Option<bool> {
        let to = self.reach(link.member())?;
        let timeout_ms = ON_DISK.as_millis() as u64;
        let request = wire::request(&Head::OnDisk { timeout_ms }, |_| {}).ok()?;
        let deadline = Instant::now() + 2 * ON_DISK;
        let reply = self.peers().call(&to, Kind::Replicate, request, deadline).await;
        match wire::said(&reply.ok()?) {
            Some(Said::OnDisk(false)) => {
                // It keeps nothing, or its disk is slow or full: that may change.
                sleep(ON_DISK / 4).await;
                Some(false)
            }
            Some(Said::OnDisk(true)) => Some(true),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_places_are_remembered_one_by_one_and_of_many_only_the_stores() {
        let (mut written, losses) = (Written::default(), Losses::default());
        for slot in 0..64 {
            written.note(slot, 1, &losses);
            written.note(slot, 1, &losses);
        }
        assert_eq!((written.places.len(), &written.stores[..]), (64, &[][..]));
        written.note(64, 1, &losses);
        written.note(65, 1, &losses);
        assert_eq!((written.places.len(), &written.stores[..]), (0, &[1][..]));
        written.note(7, 2, &losses);
        assert_eq!((&written.places[..], &written.stores[..]), (&[(7, 2)][..], &[1][..]));
        written.note_anywhere(2, &losses);
        assert_eq!((written.places.len(), &written.stores[..]), (0, &[1, 2][..]));
    }

    #[test]
    fn what_others_are_known_to_have_is_asked_about_again_only_where_more_are_wanted() {
        let (mut written, losses) = (Written::default(), Losses::default());
        written.note(1, 3, &losses);
        written.note(2, 4, &losses);
        written.settle(1);
        assert!(written.where_wanted(1).is_empty() && written.where_wanted(1).at_most(2) == 1);
        written.note(5, 3, &losses);
        let once = written.where_wanted(1);
        assert_eq!((&once.places[..], &once.stores[..]), (&[(5, 3)][..], &[][..]));
        let twice = written.where_wanted(2);
        assert_eq!((&twice.places[..], &twice.stores[..]), (&[][..], &[3, 4][..]));
        assert_eq!(twice.at_most(2), 2);
    }

    #[test]
    fn what_was_written_first_says_since_when_a_loss_counts_also_where_more_are_wanted_later() {
        let (mut written, losses) = (Written::default(), Losses::default());
        written.note(1, 3, &losses);
        losses.note(&[1]);
        written.note(2, 3, &losses);
        assert_eq!(written.since, 0, "of the first of what nobody is known to have");
        written.settle(1);
        losses.note(&[2]);
        written.note(2, 3, &losses);
        assert_eq!((written.where_wanted(1).since, written.where_wanted(2).since), (2, 0));
        written.settle(2);
        assert_eq!(written.where_wanted(3).since, 0);
    }

    #[test]
    fn what_the_fewest_have_counts_and_who_holds_nothing_of_it_does_not() {
        let asked = |holders| Asked { links: vec![], holders };
        let sets =
            |sets: &[&[u16]]| Some(sets.iter().map(|set| SmallVec::from_slice(set)).collect());
        assert_eq!(asked(None).count(&[0, 1]), 2);
        assert_eq!(asked(sets(&[&[0, 1]])).count(&[1, 2]), 1);
        assert_eq!(asked(sets(&[&[0, 1], &[2]])).count(&[0, 1]), 0);
        assert_eq!(asked(sets(&[&[]])).count(&[0, 1]), 0, "it has no copies");
        assert_eq!(asked(sets(&[])).count(&[]), usize::MAX);
    }
}
