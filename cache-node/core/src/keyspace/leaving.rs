//! How an owner leaves the in-sync set, so that nothing is lost that a majority confirmed.
//!
//! What a `quorum` store acknowledged is with the primary and some of those that are in sync, not with all.
//! While enough of them are in sync, whoever is furthest of those that live has it. But if one that has it
//! leaves, and one that has not stays, the one that stays might be promoted. So the owner is not counted
//! any more from the moment at which it begins to leave; and before that is proposed, all who stay have what
//! there was at that moment, or leave with it.

use super::Keyspace;
use crate::cluster::{MemberId, Slot};
use crate::log::Ticket;
use crate::replica::{Link, Synced};
use std::sync::Arc;

/// Owners that are to leave a slot's in-sync set together.
#[derive(Debug)]
pub struct Leaving {
    slot: Slot,
    leave: Vec<Arc<Link>>,
    /// Who stays, and what they have to have.
    stay: Vec<(Arc<Link>, Ticket)>,
}

impl Keyspace {
    /// An owner is to leave the in-sync set: it is not counted any more, and still waited for. `None`: it is
    /// not in it, or a change is proposed of which the end is not known, or this member is not primary.
    pub fn begin_leaving(&self, slot: Slot, link: &Arc<Link>) -> Option<Leaving> {
        let state = self.cell(slot)?.state.lock();
        let leaving = self.feed.change_known(slot, |feed| {
            let way = feed.way(link).filter(|way| way.synced == Synced::Yes)?;
            way.synced = Synced::Perhaps;
            let others = feed.ways.iter().filter(|way| way.synced == Synced::Yes);
            let stay = others.map(|way| (Arc::clone(&way.link), way.link.ticket())).collect();
            Some(Leaving { slot, leave: vec![Arc::clone(link)], stay })
        });
        drop(state);
        self.feed.changed();
        leaving.flatten()
    }
}

impl Leaving {
    /// Who has to leave, in one change of the table, once that may be proposed; each of them is told to
    /// [`Keyspace::set_synced`] with what came of it. `None`: somebody who stays has not everything yet,
    /// and is on the way to it. An owner that has to leave as well because it is not is added here.
    pub fn ready(&mut self, space: &Keyspace) -> Option<Vec<MemberId>> {
        let slot = self.slot;
        let mut waits = false;
        self.stay.retain(|(link, ticket)| {
            if space.has(slot, link, *ticket) {
                return true;
            }
            let owner = space.feed.look(slot, |feed| feed.owner(link)).flatten();
            let comes = owner.is_some_and(|owner| owner.is_whole);
            waits |= comes;
            if !comes && owner.is_some_and(|owner| owner.synced == Synced::Yes) {
                space.set_synced(slot, link, Synced::Perhaps);
                self.leave.push(Arc::clone(link));
            }
            comes
        });
        (!waits).then(|| self.leave.iter().map(|link| link.member()).collect())
    }

    /// Somebody who stays does not come on: it is to leave as well, if it has not everything.
    pub fn add_late(&mut self, space: &Keyspace) {
        let slot = self.slot;
        self.stay.retain(|(link, ticket)| {
            let has = space.has(slot, link, *ticket);
            if !has {
                space.set_synced(slot, link, Synced::Perhaps);
                self.leave.push(Arc::clone(link));
            }
            has
        });
    }

    /// The links of those who leave so far.
    pub fn links(&self) -> &[Arc<Link>] {
        &self.leave
    }
}
