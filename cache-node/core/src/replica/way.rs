//! Another owner of a slot, as its primary sees it: which stores go to it, and how far it is.

use super::link::Link;
use crate::log::Ticket;
use crate::mutation::{self, Mutation};
use std::sync::Arc;

/// What the cluster's table says of an owner, as far as the primary has to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Synced {
    /// It is not in sync.
    #[default]
    No,
    /// It may be: a change is proposed and its end not known. `all` waits for it, `quorum` does not count
    /// it.
    Perhaps,
    /// It is in sync.
    Yes,
}

/// Another owner of a slot, in the owners' order.
#[derive(Debug, Clone)]
pub struct Route {
    /// The link to it.
    pub link: Arc<Link>,
    /// What the table says of it. Of an owner that is [`Synced::Perhaps`] it is not looked at.
    pub synced: Synced,
    /// The stores of at least this replication factor go to it: the owner after the primary gets those of
    /// 2 and more, the next one those of 3 and more; one that is to be primary gets all (1).
    pub least_factor: u8,
}

/// How another owner stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// What the table says of it, as far as was told here.
    pub synced: Synced,
    /// Records go to it in the link's session.
    pub is_attached: bool,
    /// It has everything that was there when it was attached.
    pub is_whole: bool,
}

/// How far another owner is.
#[derive(Debug)]
pub(crate) struct Way {
    pub link: Arc<Link>,
    pub synced: Synced,
    pub least_factor: u8,
    /// The stores that go to it: a number for a set of stores.
    pub coverage: u64,
    /// The link's session in which it was attached; 0: it was not.
    pub session: u64,
    /// The cycle with the mark that attached it, or with the last of the backlog behind that.
    pub mark: Ticket,
    /// The last number that the peer was told of in the session.
    pub last: u64,
    /// The peer has all that was there at the mark.
    pub is_whole: bool,
    /// The number of the last attachment.
    pub attachment: u64,
    /// The peer's copy was found to be another one: how far it is says nothing, and it needs all of the slot.
    pub differs: bool,
}

impl Way {
    pub fn new(route: &Route, coverage: u64) -> Self {
        Self {
            link: Arc::clone(&route.link),
            synced: route.synced,
            least_factor: route.least_factor,
            coverage,
            session: 0,
            mark: Ticket::default(),
            last: 0,
            is_whole: false,
            attachment: 0,
            differs: false,
        }
    }

    /// Whether records go to it.
    #[inline]
    pub fn is_attached(&self) -> bool {
        if mutation::is(Mutation::KeptSession) {
            return self.session != 0;
        }
        self.session != 0 && self.session == self.link.session()
    }

    /// Whether its peer has all that was done in the slot up to a cycle of the link.
    #[inline]
    pub fn has(&self, ticket: Ticket) -> bool {
        let is_confirmed = self.link.has_confirmed(ticket.max(self.mark));
        let is_confirmed = is_confirmed || mutation::is(Mutation::SentIsConfirmed);
        self.is_whole && self.is_attached() && is_confirmed
    }

    pub fn detach(&mut self) {
        (self.session, self.is_whole) = (0, false);
    }
}
