//! What an answer waits for, of one slot.

use super::{link::Link, quorum_links};
use crate::cluster::Slot;
use crate::log::Ticket;
use crate::store::Acks;
use smallvec::SmallVec;

/// What has to be confirmed of a slot before an answer is given: what a write did, or what a read may have
/// seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    pub(crate) slot: Slot,
    /// The slot's tenure in which it was done.
    pub(crate) tenure: u64,
    /// Of whom.
    pub(crate) acks: Acks,
    pub(crate) replication_factor: u8,
    /// The cycle of each link, by its index, in which it is or would be.
    pub(crate) tickets: SmallVec<[(u16, Ticket); 2]>,
}

/// How far that is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// It is confirmed.
    Met,
    /// It is not.
    Waits,
    /// The slot was lost before it was: nobody here can know any more.
    Lost,
}

/// The slot is another member's by now, and not by a hand-over: whether what was written is there, and
/// whether what was read stays, is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("slot {slot} was lost to another member before its replicas confirmed")]
pub struct Lost {
    /// The slot.
    pub slot: Slot,
}

impl Need {
    /// The slot that it is of.
    pub fn slot(&self) -> Slot {
        self.slot
    }

    /// How many owners beside the primary have to confirm it; with `all`, the most that there may be.
    pub fn confirmations(&self) -> u8 {
        match self.acks {
            Acks::One => 0,
            Acks::Quorum => quorum_links(self.replication_factor),
            Acks::All => self.replication_factor.saturating_sub(1),
        }
    }

    /// The cycle of a link that it waits for; the first one of all for a link that came later, which has
    /// it from the moment on in which it has everything.
    pub(crate) fn ticket_of(&self, link: &Link) -> Ticket {
        let found = self.tickets.iter().find(|(index, _)| *index == link.index());
        found.map_or_else(Ticket::default, |(_, ticket)| *ticket)
    }

    /// Whether both wait for the same, but for how far.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        (self.slot, self.tenure, self.acks, self.replication_factor)
            == (other.slot, other.tenure, other.acks, other.replication_factor)
    }

    /// Waits for what another one that is like it waits for, as well.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (index, ticket) in &other.tickets {
            match self.tickets.iter_mut().find(|(known, _)| known == index) {
                Some((_, mine)) => *mine = (*mine).max(*ticket),
                None => self.tickets.push((*index, *ticket)),
            }
        }
    }
}
